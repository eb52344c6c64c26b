//! Faults of what members read: outputs, their order, and what kernel nodes say of them.

use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use lockstep::devnet::ledger::{Answer, Disguise, Disturbance, Fault, FaultOrder, Lie, PAUSE_MS_MAX};
use lockstep::http::http_client;
use lockstep::world::doubt::LedgerDoubts;
use lockstep_core::Uuid;

use super::super::btc;
use super::super::governance::govern;
use super::super::town::{PATIENCE, until};
use super::{HONEST, Knobs, LIED};
use crate::ledger_rules::caller::{now_s, token};

/// So long that only the operator ends it.
const FOR_EVER_MS: u64 = 3_600_000;

fn disturb(answer: Answer) -> Disturbance {
    Disturbance { answer, pause_ms: 0, applied: false, method: None, path: None }
}

/// One member has no API, everybody one kernel node less.
pub(super) async fn failing_calls_should_stop_one_member_and_nobody_else(knobs: &mut Knobs) -> Result<()> {
    let lied = knobs.user(LIED)?;
    let too_late = Disturbance { pause_ms: PAUSE_MS_MAX, ..disturb(Answer::Right) };
    for (how, payload) in [
        (disturb(Answer::ServerError), "through errors"),
        (disturb(Answer::BadGateway), "past a proxy"),
        (disturb(Answer::TooMany), "without a hurry"),
        (disturb(Answer::Cut), "with half an answer"),
        (too_late, "without an answer"),
    ] {
        knobs.set(FaultOrder::new(Fault::Disturb(how.clone())).for_user(lied)).await?;
        knobs.set(FaultOrder::new(Fault::Disturb(how)).at_node(1)).await?;
        let before = knobs.status(LIED).await?.sequence;
        knobs.goes_in(payload.as_bytes()).await?;
        let doubts = knobs.doubts("a member without the API", LIED, |doubts| doubts.waits.is_some()).await?;
        let waits = doubts.waits.unwrap_or_default();
        ensure!(waits.contains("no answer from the ledger") || waits.contains("refused"), "{waits}");
        assert_eq!(knobs.status(LIED).await?.sequence, before, "it reads nothing");
        knobs.clear().await?;
        knobs.settled().await?;
    }
    knobs.set(FaultOrder::new(Fault::Disturb(disturb(Answer::ServerError))).for_user(lied)).await?;
    knobs.goes_out().await?;
    knobs.clear().await?;
    knobs.settled().await
}

/// The ledger lists a row before its transaction is final, and then finality stands still.
pub(super) async fn what_is_not_final_should_be_waited_for_and_named(knobs: &mut Knobs) -> Result<()> {
    knobs.set(FaultOrder::new(Fault::Stall)).await?;
    knobs.set(FaultOrder::new(Fault::Delay { rows_ms: Some(0), final_ms: 1, jitter_ms: 1 })).await?;
    let before = knobs.status(HONEST).await?;
    let paid = async { knobs.pay(1, b"not final yet").await };
    let seen = async {
        let mut named = Vec::new();
        for member in 0..4 {
            let doubts = knobs.doubts("a member that waits", member, |doubts| doubts.waits.is_some()).await?;
            named.push(doubts.waits.unwrap_or_default());
        }
        assert_eq!(knobs.status(HONEST).await?.history, before.history, "nothing is passed over, and nothing applied");
        anyhow::Ok((named, knobs.town.network.operator.clear_faults().await?))
    };
    let (paid, (named, cleared)) = tokio::try_join!(paid, seen)?;
    let output = paid.outputs.first().context("an output")?.to_string();
    ensure!(named.iter().all(|named| named.contains(&output) && named.contains("is not final")), "{output}: {named:?}");
    knobs.count(cleared);
    knobs.arrives(b"not final yet").await?;
    knobs.settled().await
}

/// Two of three nodes must say that something is final.
pub(super) async fn lying_nodes_should_move_nobody(knobs: &mut Knobs) -> Result<()> {
    for (about, payload) in [
        (Lie::NotFinal, "although one node says no"),
        (Lie::Unknown, "although one node knows nothing"),
        (Lie::OtherBytes, "although one node has other bytes"),
        (Lie::Taken, "although one node throws away what it gets"),
    ] {
        knobs.set(FaultOrder::new(Fault::Lie { about, transaction: None }).at_node(2)).await?;
        knobs.goes_in(payload.as_bytes()).await?;
        if about == Lie::Taken {
            knobs.goes_out().await?;
        }
        knobs.clear().await?;
    }

    knobs.set(FaultOrder::new(Fault::Lie { about: Lie::Final, transaction: None }).at_node(1)).await?;
    knobs.set(FaultOrder::new(Fault::Delay { rows_ms: Some(0), final_ms: FOR_EVER_MS, jitter_ms: 0 })).await?;
    let paid = async { knobs.pay(1, b"final in one node's view").await };
    let seen = async {
        let not_final = |doubts: &LedgerDoubts| doubts.waits.as_ref().is_some_and(|why| why.contains("is not final"));
        for member in 0..4 {
            knobs.doubts("a member that believes no single node", member, not_final).await?;
        }
        knobs.town.network.operator.advance().await?;
        anyhow::Ok(())
    };
    tokio::try_join!(paid, seen)?;
    knobs.arrives(b"final in one node's view").await?;
    knobs.clear().await?;
    knobs.settled().await
}

/// Members key everything on payload hashes, and use no token twice.
pub(super) async fn own_snapshots_and_used_tokens_should_not_matter(knobs: &mut Knobs) -> Result<()> {
    knobs.set(FaultOrder::new(Fault::OwnSnapshots)).await?;
    let reuse = knobs.set(FaultOrder::new(Fault::ReuseTokens)).await?;
    knobs.goes_in(b"under snapshots of each node's own").await?;
    knobs.goes_out().await?;
    assert_eq!(knobs.acted(&reuse).await?, 0, "members and users have a fresh token for each call");
    // Who listens on the line could use one again. It says what was asked, so it shows what it showed.
    let me = ("GET", "/safe/me", "");
    let used = token(knobs.town.alice.keystore(), me, "heard on the line", now_s());
    let http = http_client(Duration::from_secs(20))?;
    for _ in 0..2 {
        let url = format!("{}{}", knobs.town.network.ledger_url(), me.1);
        let response = http.get(url).bearer_auth(&used).send().await?;
        assert_eq!(response.status().as_u16(), 200);
    }
    knobs.clear().await?;
    knobs.settled().await
}

/// The ledger's API knows nothing of a coin that it has not listed. The payout that spends it is held and named; what comes in
/// goes on, and so does the payout when the coin is listed.
pub(super) async fn unlisted_change_should_hold_what_spends_it_and_nothing_else(knobs: &mut Knobs) -> Result<()> {
    let fault = knobs.set(FaultOrder::new(Fault::UnlistedChange).for_user(knobs.user(HONEST)?)).await?;
    knobs.goes_out().await?;
    ensure!(knobs.acted(&fault).await? > 0, "there was no change");
    let expected = super::sum([knobs.town.balance(&knobs.town.alice).await?, btc(1)])?;
    knobs.town.pay_out(knobs.place, btc(1), &knobs.town.alice, Vec::new()).await?;
    for member in 0..4 {
        let doubts = knobs.doubts("a payout that is held", member, |doubts| !doubts.held.is_empty()).await?;
        ensure!(doubts.held.iter().all(|held| held.reason.contains("the ledger does not go along")), "{doubts:?}");
    }
    knobs.town.call(&knobs.town.bob, knobs.place, btc(1), b"beside unlisted change").await?;
    knobs.arrives(b"beside unlisted change").await?;
    knobs.clear().await?;
    let balance = async || knobs.town.balance(&knobs.town.alice).await;
    until("the payout", balance, |found| *found == expected).await?;
    knobs.settled().await
}

/// Pays what the ledger does not list yet, so that a fault can name it before anybody reads it.
async fn unlisted(knobs: &Knobs, payload: &[u8]) -> Result<Uuid> {
    let delay = Fault::Delay { rows_ms: Some(FOR_EVER_MS), final_ms: 0, jitter_ms: 0 };
    let delay = knobs.set(FaultOrder::new(delay)).await?;
    let paid = knobs.pay(2, payload).await?;
    knobs.town.network.operator.clear_fault(delay.id).await?;
    paid.outputs.first().copied().context("an output")
}

/// The ledger's API shows one member another amount than the kernel has.
pub(super) async fn a_contradicted_row_should_be_waited_for_and_named(knobs: &mut Knobs) -> Result<()> {
    let output = unlisted(knobs, b"another amount").await?;
    let disguise = Disguise { output: Some(output), amount: Some(btc(3)), ..Disguise::default() };
    knobs.set(FaultOrder::new(Fault::Equivocate(disguise)).for_user(knobs.user(LIED)?)).await?;
    knobs.town.network.operator.advance().await?;
    knobs.arrives(b"another amount").await?;
    let doubts = knobs.doubts("the contradiction", LIED, |doubts| doubts.waits.is_some()).await?;
    let waits = doubts.waits.unwrap_or_default();
    for part in [&output.to_string(), "amount is 0.03", "0.02"] {
        ensure!(waits.contains(part), "{waits} lacks {part}");
    }
    ensure!(knobs.log(LIED)?.contains("this member stands still"), "the log says so");
    knobs.goes_in(b"without the fourth").await?;
    knobs.goes_out().await?;
    knobs.clear().await?;
    knobs.settled().await
}

/// The ledger's API shows one member other senders, once. Nothing but the second reading can tell, and nothing false is applied.
pub(super) async fn a_row_that_reads_otherwise_once_should_be_read_again(knobs: &mut Knobs) -> Result<()> {
    for attempt in 1..=8 {
        let payload = format!("false for a moment, {attempt}");
        let output = unlisted(knobs, payload.as_bytes()).await?;
        let senders = Some(vec![knobs.town.alice.user()]);
        let disguise = Disguise { output: Some(output), senders, ..Disguise::default() };
        let order = FaultOrder::new(Fault::Equivocate(disguise)).for_user(knobs.user(LIED)?).times(1);
        let fault = knobs.set(order).await?;
        knobs.town.network.operator.advance().await?;
        until("the member to be shown it", async || knobs.acted(&fault).await, |acted| *acted == 1).await?;
        knobs.arrives(payload.as_bytes()).await?;
        knobs.clear().await?;
        knobs.settled().await?;
        if knobs.log(LIED)?.contains("the ledger lists otherwise than before") {
            return Ok(());
        }
        // It was the look back that met the fault. It reads the same rows, and believes nothing that it sees once.
    }
    bail!("the member was never shown it by its first reading")
}

/// One member passes a row that the others apply. It can sign nothing behind it, says which one it is, and takes it in when
/// it is shown.
pub(super) async fn a_hidden_row_should_be_found_and_taken_in(knobs: &mut Knobs) -> Result<()> {
    let output = unlisted(knobs, b"hidden from one").await?;
    knobs.set(FaultOrder::new(Fault::Omit { output: Some(output) }).for_user(knobs.user(LIED)?)).await?;
    knobs.town.network.operator.advance().await?;
    knobs.arrives(b"hidden from one").await?;
    knobs.goes_in(b"behind what is hidden").await?;
    knobs.goes_out().await?;
    let doubts = knobs.doubts("the hidden row to be missed", LIED, |doubts| doubts.differences.len() == 3).await?;
    for difference in &doubts.differences {
        assert_eq!(difference.what(), "this member lacks it");
        assert_eq!(difference.theirs.as_ref().map(|seen| seen.id), Some(output), "{difference:?}");
    }
    let doubts = knobs.doubts("others to see who differs", HONEST, |doubts| !doubts.differences.is_empty()).await?;
    assert_eq!(doubts.differences.iter().map(|difference| difference.member).collect::<Vec<_>>(), [4]);
    ensure!(knobs.log(LIED)?.contains(&output.to_string()), "its log names it");
    let applied = knobs.status(LIED).await?;
    assert_ne!(applied.history, knobs.status(HONEST).await?.history, "it went on without it");
    knobs.clear().await?;
    knobs.settled().await?;
    ensure!(knobs.log(LIED)?.contains("went back"), "without hands");
    Ok(())
}

/// The ledger lists a row below rows that everybody has applied.
pub(super) async fn a_row_that_comes_late_should_wait_for_a_decision(knobs: &mut Knobs) -> Result<()> {
    let late = FaultOrder::new(Fault::LateRow { behind: 1 }).for_user(knobs.user(HONEST)?).times(1);
    let late = knobs.set(late).await?;
    let paid = knobs.pay(2, b"late").await?;
    let output = paid.outputs.first().copied().context("an output")?;
    assert_eq!(knobs.acted(&late).await?, 1);
    for member in 0..4 {
        let doubts = knobs.doubts("the late row", member, |doubts| !doubts.late.is_empty()).await?;
        assert_eq!(doubts.late.iter().map(|late| late.output).collect::<Vec<_>>(), [output]);
    }
    knobs.goes_in(b"past what is late").await?;
    ensure!(!knobs.town.payloads(knobs.place).await?.contains(&b"late".to_vec()), "nobody applied it");
    let nothing = ["admit", "--output", &Uuid::max().to_string()].map(str::to_owned);
    let nothing: Vec<_> = nothing.iter().map(String::as_str).collect();
    let refused = govern(&knobs.town, "nothing", &nothing).await.expect_err("nobody has set that aside").to_string();
    ensure!(refused.contains("has set no output") && refused.contains("aside"), "{refused}");
    govern(&knobs.town, "admit", &["admit", "--output", &output.to_string()]).await?;
    knobs.arrives(b"late").await?;
    knobs.clear().await?;
    knobs.settled().await?;

    // A member that begins anew reads it in its place, where the group does not have it.
    reborn(knobs, HONEST, "its disk was replaced by an empty one").await?;
    knobs.settled().await?;
    ensure!(knobs.log(HONEST)?.contains("the others went on without this row"), "it finds out by itself");
    knobs.goes_in(b"with the reborn one").await
}

/// A member loses its database, and its operator says so.
async fn reborn(knobs: &mut Knobs, member: usize, why: &str) -> Result<()> {
    let folder = knobs.folder(member);
    let process = &mut knobs.town.network.members[member];
    if process.ended()?.is_none() {
        process.kill().await?;
    }
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with("lockstep.db") {
            std::fs::remove_file(entry.path())?;
        }
    }
    // It knows that it has signed more than its database says, and waits for a person.
    let refused = process.restart(PATIENCE).await.err().context("it has lost its promises, and goes on")?;
    ensure!(format!("{refused:#}").contains("it lacks"), "{refused:#}");
    process.accept_restore(why).await?;
    process.restart(PATIENCE).await
}

/// Senders are the API's word alone. A member that was told others applies something false; it signs nothing of it, and when
/// the ledger takes its word back, that is a contradiction for a person.
pub(super) async fn a_false_row_that_was_applied_should_halt_the_member(knobs: &mut Knobs) -> Result<()> {
    let output = unlisted(knobs, b"by whom").await?;
    let senders = Some(vec![knobs.town.alice.user()]);
    let disguise = Disguise { output: Some(output), senders, ..Disguise::default() };
    knobs.set(FaultOrder::new(Fault::Equivocate(disguise)).for_user(knobs.user(LIED)?)).await?;
    knobs.town.network.operator.advance().await?;
    knobs.arrives(b"by whom").await?;
    let doubts = knobs.doubts("the others' senders", LIED, |doubts| doubts.differences.len() == 3).await?;
    for difference in &doubts.differences {
        assert_eq!((difference.what(), difference.ours.as_ref().map(|seen| seen.id)), ("senders", Some(output)));
    }
    knobs.goes_in(b"beside what is false").await?;
    knobs.goes_out().await?;
    knobs.promises_should_agree()?;

    knobs.clear().await?;
    let process = &mut knobs.town.network.members[LIED];
    let status = tokio::time::timeout(PATIENCE, process.wait()).await.context("it runs on")??;
    let line = knobs.log(LIED)?.lines().last().unwrap_or_default().to_owned();
    assert_eq!(status.code(), Some(70), "{line}");
    let (told, true_one) = (knobs.town.alice.user().to_string(), knobs.town.bob.user().to_string());
    for part in [&output.to_string(), "senders", &told, &true_one] {
        ensure!(line.contains(part), "{line} lacks {part}");
    }
    // Others do without, and a person gives the member a new beginning.
    knobs.goes_in(b"without the halted one").await?;
    reborn(knobs, LIED, "the ledger had shown it false senders").await?;
    knobs.settled().await
}
