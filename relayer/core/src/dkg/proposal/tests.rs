use serde_json::json;

use super::*;
use crate::dkg::testing::{first, proposal_file, roster};

fn file() -> ProposalFile {
    proposal_file(Kind::First, 1, &[1, 2, 3, 4], 3, None)
}

fn refused(change: impl FnOnce(&mut ProposalFile)) -> ProposalError {
    let mut file = file();
    change(&mut file);
    Proposal::parse(&file).expect_err("refused")
}

#[test]
fn kinds_that_follow_nothing_or_follow_wrongly_should_be_refused() {
    let digest = || Some(hex::encode([7; 32]));
    let kind = |kind, generation| ProposalError::Kind { kind, generation };
    assert_eq!(refused(|file| file.generation = 1), kind(Kind::First, 1));
    assert_eq!(refused(|file| file.previous = digest()), kind(Kind::First, 0));
    for later in [Kind::Reshare, Kind::Fresh] {
        assert_eq!(refused(|file| file.kind = later), kind(later, 0));
        assert_eq!(refused(|file| (file.kind, file.generation) = (later, 1)), kind(later, 1));
        let generation_0 = |file: &mut ProposalFile| (file.kind, file.previous) = (later, digest());
        assert_eq!(refused(generation_0), kind(later, 0));
    }
}

#[test]
fn thresholds_without_majority_and_groups_without_members_should_be_refused() {
    for threshold in [0, 1, 2, 5, u8::MAX] {
        assert!(matches!(refused(|file| file.threshold = threshold), ProposalError::Size(_)), "{threshold}");
    }
    assert!(matches!(refused(|file| file.members.clear()), ProposalError::Field(GroupError::Count { .. })));
    let many: Vec<u8> = (1..=65).collect();
    let file = proposal_file(Kind::First, 1, &many, 45, None);
    assert!(matches!(Proposal::parse(&file), Err(ProposalError::Field(GroupError::Count { .. }))));
}

#[test]
fn members_that_are_there_twice_should_be_refused() {
    let changes: [fn(&mut ProposalMember, &ProposalMember); 5] = [
        |second, first| second.index = first.index,
        |second, first| second.name.clone_from(&first.name),
        |second, first| second.user = first.user,
        |second, first| second.identity.clone_from(&first.identity),
        |second, first| second.peer.clone_from(&first.peer),
    ];
    for change in changes {
        let error = refused(|file| {
            let first = file.members[0].clone();
            change(&mut file.members[1], &first);
        });
        assert!(matches!(error, ProposalError::Field(GroupError::Duplicate { .. })), "{error}");
    }
    let gap = refused(|file| file.members[3].index = 5);
    assert_eq!(gap, ProposalError::Field(GroupError::MissingIndex { members: 4, index: 4 }));
}

#[test]
fn identities_that_verify_anything_or_nothing_should_be_refused() {
    let mut neutral = [0; 32];
    neutral[0] = 1;
    // No point has this y.
    let mut nothing = [0; 32];
    nothing[0] = 2;
    for identity in [hex::encode(neutral), hex::encode(nothing), hex::encode([7; 31]), "no hex".into(), String::new()] {
        let error = refused(|file| file.members[1].identity.clone_from(&identity));
        assert!(matches!(error, ProposalError::Field(_)), "{identity}: {error}");
        assert!(error.to_string().contains("members[1].identity"), "{error}");
    }
}

#[test]
fn phases_without_time_and_far_too_long_ones_should_be_refused() {
    let phases: [fn(&mut Deadlines, u32); 5] = [
        |deadlines, seconds| deadlines.join = seconds,
        |deadlines, seconds| deadlines.deal = seconds,
        |deadlines, seconds| deadlines.log = seconds,
        |deadlines, seconds| deadlines.agree = seconds,
        |deadlines, seconds| deadlines.finish = seconds,
    ];
    for (phase, name) in phases.into_iter().zip(["join", "deal", "log", "agree", "finish"]) {
        for seconds in [0, PHASE_MAX_S + 1, u32::MAX] {
            let error = refused(|file| phase(&mut file.deadlines, seconds));
            assert!(error.to_string().contains(&format!("deadlines.{name}")), "{error}");
        }
    }
}

#[test]
fn files_with_unknown_keys_and_groups_without_id_should_be_refused() {
    let mut value = serde_json::to_value(file()).expect("a file");
    assert!(serde_json::from_value::<ProposalFile>(value.clone()).is_ok());
    value["dealer"] = json!(true);
    assert!(serde_json::from_value::<ProposalFile>(value).is_err());
    assert_eq!(
        refused(|file| file.group_id = hex::encode([0; 32])),
        ProposalError::Field(GroupError::Zero { field: "group_id".into() })
    );
    assert!(matches!(refused(|file| file.previous = Some("12".into())), ProposalError::Field(_)));
}

#[test]
fn proposals_that_do_not_follow_the_roster_should_be_refused() {
    let network = first(&[1, 2, 3, 4], 3);
    let known = roster(&network);
    let check = |change: &dyn Fn(&mut ProposalFile)| {
        let mut file = proposal_file(Kind::Reshare, 2, &[1, 2, 3, 5], 3, Some(known));
        change(&mut file);
        Proposal::parse(&file).and_then(|proposal| proposal.check_previous(Some(known)))
    };
    let (zero, one) = (B256::ZERO, B256::repeat_byte(1));
    let another = Err(ProposalError::Previous { named: Some(zero), known: Some(known.digest()) });
    assert_eq!(check(&|file| file.previous = Some(hex::encode(zero))), another);
    let group = Err(ProposalError::Group { named: one, known: known.group_id() });
    assert_eq!(check(&|file| file.group_id = hex::encode(one)), group);
    assert_eq!(check(&|file| file.generation = 2), Err(ProposalError::Generation { named: 2, known: 0 }));
    for index in [0, 5, u8::MAX] {
        assert_eq!(check(&|file| file.absent = vec![1, index]), Err(ProposalError::Unknown { index }));
    }
    assert_eq!(check(&|file| file.absent = vec![1, 2]), Err(ProposalError::Dealers { left: 2, need: 3 }));
    assert_eq!(check(&|file| file.absent = vec![4, 4]), Ok(()));
    assert_eq!(check(&|file| file.kind = Kind::Fresh), Ok(()));
    let fresh = |file: &mut ProposalFile| (file.kind, file.absent) = (Kind::Fresh, vec![4]);
    assert_eq!(check(&fresh), Err(ProposalError::Absent));
    assert_eq!(refused(|file| file.absent = vec![1]), ProposalError::Absent);
    // A first ceremony follows nothing, others cannot begin from nothing.
    let start = Proposal::parse(&file()).expect("a proposal");
    assert!(matches!(start.check_previous(Some(known)), Err(ProposalError::Previous { named: None, .. })));
    let reshare = Proposal::parse(&proposal_file(Kind::Reshare, 2, &[1, 2], 2, Some(known))).expect("a proposal");
    assert!(matches!(reshare.check_previous(None), Err(ProposalError::Previous { known: None, .. })));
}

#[test]
fn digests_should_name_all_of_a_proposal() {
    let network = first(&[1, 2, 3, 4], 3);
    let known = roster(&network);
    let file = proposal_file(Kind::Reshare, 2, &[1, 2, 3, 5], 3, Some(known));
    let digest = |file: &ProposalFile| Proposal::parse(file).expect("a proposal").digest();
    let changes: [fn(&mut ProposalFile); 17] = [
        |file| file.group_id = hex::encode([1; 32]),
        |file| file.round = 3,
        |file| file.kind = Kind::Fresh,
        |file| file.generation = 2,
        |file| file.threshold = 4,
        |file| file.previous = Some(hex::encode([1; 32])),
        |file| file.absent = vec![1],
        |file| file.deadlines.join += 1,
        |file| file.deadlines.deal += 1,
        |file| file.deadlines.log += 1,
        |file| file.deadlines.agree += 1,
        |file| file.deadlines.finish += 1,
        |file| file.members[0].name = "other".into(),
        |file| file.members[0].user = Uuid::from_u128(99),
        |file| file.members[0].identity = hex::encode(crate::dkg::testing::key(9).verifying_key().as_bytes()),
        |file| file.members[0].peer = "http://127.0.0.1:9".into(),
        |file| (file.members[0].index, file.members[1].index) = (2, 1),
    ];
    let mut digests = BTreeSet::from([digest(&file)]);
    for (place, change) in changes.into_iter().enumerate() {
        let mut changed = file.clone();
        change(&mut changed);
        assert!(digests.insert(digest(&changed)), "change {place} changes nothing");
    }
    // The order in the file is of no meaning, and what is written is read again.
    let mut turned = file.clone();
    turned.members.reverse();
    assert_eq!(digest(&turned), digest(&file));
    let proposal = Proposal::parse(&file).expect("a proposal");
    assert_eq!(Proposal::parse(&proposal.to_file()), Ok(proposal));
}

/// For every size and threshold: two quorums share an honest member, the honest ones can sign, and the bad ones cannot,
/// not with as many published shares on top.
#[test]
fn tolerated_members_should_neither_sign_nor_stop_the_others() {
    for members in 1..=64_u8 {
        for threshold in members / 2 + 1..=members {
            let (n, t) = (usize::from(members), usize::from(threshold));
            let f = tolerated(n, threshold);
            let quorum = n - f;
            assert!(2 * quorum > n + f, "{t} of {n}: quorums without a common honest member");
            assert!(quorum >= t && 2 * f < t, "{t} of {n}");
        }
        let default = crate::bls::default_threshold(members);
        assert_eq!(tolerated(members.into(), default), usize::from(members - 1) / 3);
    }
    // Numbers that no group has.
    assert_eq!((tolerated(0, 0), tolerated(3, 200), tolerated(9, 0)), (0, 0, 0));
}
