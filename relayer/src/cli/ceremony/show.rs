//! Ceremonies as a person reads them.

use crate::ceremony::{Ended, Report, Shown, ShownMember};

/// One line: the phase, and who is missing.
pub(super) fn line(shown: &Shown) -> String {
    let Shown { phase, missing, failure, .. } = shown;
    if let Some(failure) = failure {
        return failure.clone();
    }
    match missing.as_slice() {
        [] => format!("phase {phase}"),
        names => format!("phase {phase}: waiting for {}", names.join(", ")),
    }
}

/// The newest ceremony in full.
pub(super) fn table(report: Option<&Report>) -> String {
    let Some(report) = report else {
        return "no ceremony: approve a proposal with `lockstep ceremony join`".into();
    };
    let (members, threshold) = (report.users.len(), report.threshold);
    let mut lines = vec![format!(
        "ceremony {}\nround {}: {} of generation {}, {threshold} of {members} must sign",
        report.ceremony, report.round, report.kind, report.generation
    )];
    match (&report.outcome, &report.progress) {
        (Some(Ended::Done { roster, file, .. }), _) => lines.push(format!("done: roster {roster} in {file}")),
        (Some(Ended::Superseded { by }), _) => lines.push(format!("given up for ceremony {by}")),
        (Some(Ended::Overtaken { round }), _) => lines.push(format!("given up: round {round} made what signs now")),
        (None, None) => lines.push("approved; this member has not taken part yet".into()),
        (None, Some(shown)) => lines.push(line(shown)),
    }
    if let Some(shown) = &report.progress {
        lines.push(format!("  {:<20} {:>6} {:>5}  {:<13} connection", "name", "deals", "gets", "step"));
        lines.extend(shown.members.iter().map(row));
        lines.extend(shown.faults.iter().map(|fault| format!("fault: {fault}")));
    }
    lines.join("\n")
}

fn row(member: &ShownMember) -> String {
    let index = |index: Option<u8>| index.map_or_else(|| "-".to_owned(), |index| index.to_string());
    let (dealer, player) = (index(member.dealer), index(member.player));
    format!("  {:<20} {dealer:>6} {player:>5}  {:<13} {}", member.name, member.step, member.line)
}

#[cfg(test)]
mod tests {
    use lockstep_core::B256;

    use super::*;

    fn report() -> Report {
        let member = |name: &str, step: &str, line: &str| ShownMember {
            name: name.into(),
            dealer: None,
            player: Some(1),
            step: step.into(),
            line: line.into(),
        };
        Report {
            ceremony: B256::repeat_byte(1),
            group_id: B256::repeat_byte(2),
            round: 3,
            kind: "reshare".into(),
            generation: 1,
            threshold: 3,
            approved_at: 7,
            users: vec![lockstep_core::Uuid::nil(); 4],
            progress: Some(Shown {
                phase: "deal".into(),
                begun_at: Some(8),
                members: vec![member("alice", "dealt", "this member"), member("bob", "silent", "does not answer")],
                missing: vec!["bob".into()],
                faults: vec!["carol signed two different logs".into()],
                failure: None,
                bytes_received: 0,
                bytes_sent: 0,
            }),
            outcome: None,
        }
    }

    #[test]
    fn missing_should_be_named() {
        let text = table(Some(&report()));
        assert!(text.contains("round 3: reshare of generation 1, 3 of 4 must sign"), "{text}");
        assert!(text.contains("phase deal: waiting for bob"), "{text}");
        assert!(text.contains("fault: carol signed two different logs"), "{text}");
        assert!(table(None).starts_with("no ceremony"));
    }

    #[test]
    fn end_should_be_shown_instead_of_the_phase() {
        let outcome = Ended::Done { roster: B256::ZERO, group_key: String::new(), file: "g.toml".into(), index: None };
        let text = table(Some(&Report { outcome: Some(outcome), ..report() }));
        assert!(text.contains("in g.toml") && !text.contains("waiting"), "{text}");
    }
}
