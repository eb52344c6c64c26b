use std::collections::BTreeMap;

use alloy_primitives::{U256, uint};

use super::*;
use crate::bls::default_threshold;
use crate::dkg::carries_share;
use crate::dkg::testing::{Network, first, key, next, proposal, proposal_file, roster, setup, signed};

/// The order of G1 and G2.
const ORDER: U256 = uint!(0x73eda753299d7d483339d80809a1d80553bda402fffe5bfeffffffff00000001_U256);

#[test]
fn strangers_missing_shares_and_foreign_records_should_be_refused() {
    let network = first(&[1, 2, 3, 4], 3);
    let (roster, share) = &network.done[&1];
    let reshare = proposal(Kind::Reshare, 2, &[1, 2, 3, 5], 3, Some(roster));
    let start = |setup: Setup| Ceremony::start(setup, &[1; 32]).map(|_| ()).expect_err("refused");
    assert_eq!(start(setup(9, &reshare, Some(roster), None)), CeremonyError::Stranger);
    assert_eq!(start(setup(1, &reshare, Some(roster), None)), CeremonyError::NoShare);
    let other = start(setup(2, &reshare, Some(roster), share.as_ref()));
    assert_eq!(other, CeremonyError::OtherShare { index: 2 });
    assert!(matches!(start(setup(1, &reshare, None, share.as_ref())), CeremonyError::Proposal(_)));

    let restore = |records: &[Record]| {
        Ceremony::restore(setup(1, &reshare, Some(roster), share.as_ref()), records).map(|_| ()).expect_err("refused")
    };
    assert_eq!(restore(&[]), CeremonyError::Record { place: 0 });
    // Its seed is sealed for the first ceremony.
    assert_eq!(restore(&network.records[&1]), CeremonyError::Seed);
}

#[test]
fn members_should_make_a_key_and_hand_it_on() {
    let network = first(&[1, 2, 3, 4], 3);
    let (roster, _) = &network.done[&1];
    assert!(network.done.values().all(|(other, _)| other.digest() == roster.digest()));
    let file = roster.to_file().expect("a certified roster");
    assert_eq!(Roster::parse(&file).as_ref(), Ok(roster));
    assert_eq!(Roster::decode(&roster.encode().expect("bytes")).as_ref(), Ok(roster));

    // Member 4 leaves, 5 and 6 join.
    let members = [1, 2, 3, 5, 6];
    let proposal = proposal(Kind::Reshare, 2, &members, default_threshold(5), Some(roster));
    let share = |number: u8| network.done.get(&number).and_then(|(_, share)| share.as_ref());
    let mut next = Network::start(&[1, 2, 3, 4, 5, 6], |number| setup(number, &proposal, Some(roster), share(number)));
    next.pump();
    assert_eq!(next.failed, BTreeMap::new());
    let (new, _) = &next.done[&1];
    assert_eq!((new.generation(), new.key().key()), (1, roster.key().key()));
    assert!(new.supersedes(roster) && !roster.supersedes(new));
    for (number, (other, share)) in &next.done {
        assert_eq!(other.digest(), new.digest());
        assert_eq!(share.is_some(), *number != 4);
        let public = share.as_ref().map(|share| (share.public_key(), share.index()));
        assert!(public.is_none_or(|(public, index)| new.key().share(index) == Some(&public)));
    }
}

/// With an outcome, a member's secret records are worth nothing to anybody but a thief: it goes on without.
#[test]
fn a_member_should_go_on_showing_what_others_lack_after_its_secrets_are_gone() {
    let network = first(&[1, 2, 3, 4], 3);
    let (roster, share) = &network.done[&1];
    let reshare = proposal(Kind::Reshare, 2, &[1, 2, 3, 5], 3, Some(roster));
    let share_of = |number: u8| network.done.get(&number).and_then(|(_, share)| share.as_ref());
    let mut next = Network::start(&[1, 2, 3, 4, 5], |number| setup(number, &reshare, Some(roster), share_of(number)));
    next.pump();
    let (public, secret): (Vec<_>, Vec<_>) = next.records[&1].iter().cloned().partition(|record| !record.is_secret());
    assert_eq!(secret.len(), 1 + 4, "its seed and what four dealt to it");
    assert!(next.said.iter().filter(|(_, item)| carries_share(item)).count() >= 3 * 4, "each to the others");
    // The old share is erased by then.
    let reopened = Ceremony::restore(setup(1, &reshare, Some(roster), None), &public);
    let (mut ceremony, effects) = reopened.expect("it has its outcome");
    let all: Vec<_> = next.said.iter().filter(|(to, _)| *to == Receivers::All).map(|(_, item)| item.clone()).collect();
    for effect in &effects {
        let Effect::Publish { item, .. } = effect else { panic!("no promise, no share, no end: {effect:?}") };
        assert!(all.contains(item), "nothing that it had not said");
    }
    assert_eq!(ceremony.phase(), Phase::Done);
    // Somebody else asks for what makes the outcome, and tells everything once more.
    let logs: Vec<_> =
        public.iter().filter_map(|record| record.as_bytes().split_first()).map(|(_, item)| item).collect();
    let log = |bytes: &[u8]| {
        Item::decode(bytes, &ceremony.terms.binding).ok().filter(|item| matches!(item.body, Body::Log { .. }))
    };
    let wanted = logs.iter().find_map(|bytes| log(bytes)).expect("a log");
    let want = Item::sign(&ceremony.terms.binding, Body::Want { digests: vec![wanted.digest()] }, &key(5));
    let told = next.said.iter().filter(|(to, _)| *to != Receivers::One(key(2).verifying_key().to_bytes()));
    let mut answered = Vec::new();
    for item in told.map(|(_, item)| item.as_slice()).chain([want.bytes()]) {
        answered.extend(ceremony.receive(item).unwrap_or_default());
    }
    let shown = |effect: &Effect| matches!(effect, Effect::Publish { to: Receivers::One(to), item } if *to == key(5).verifying_key().to_bytes() && item == wanted.bytes());
    assert!(answered.iter().any(shown), "{answered:?}");
    let quiet = |effect: &Effect| matches!(effect, Effect::Publish { .. } | Effect::Begun);
    assert!(answered.iter().all(quiet), "nothing is kept or promised any more: {answered:?}");

    let unfinished: Vec<_> = public.into_iter().filter(|record| record.as_bytes()[0] != ROSTER).collect();
    let refused = Ceremony::restore(setup(1, &reshare, Some(roster), share.as_ref()), &unfinished);
    assert_eq!(refused.map(|_| ()), Err(CeremonyError::Unfinished));
}

#[test]
fn a_silent_player_should_be_named_and_no_key_made() {
    let numbers = [1, 2, 3, 4];
    let proposal = proposal(Kind::First, 1, &numbers, 3, None);
    let mut network = Network::start(&numbers, |number| setup(number, &proposal, None, None));
    let joined: Vec<_> = network.shown.clone();
    network.nodes.remove(&4);
    network.shown = joined;
    network.pump();
    for phase in [Phase::Deal, Phase::Log, Phase::Agree] {
        network.deadline(phase);
    }
    assert_eq!(network.done.len(), 0);
    assert_eq!(network.failed.len(), 3);
    for faults in network.failed.values() {
        assert!(faults.contains(&"m4 has not acknowledged its share".to_owned()), "{faults:?}");
        assert!(faults.iter().all(|fault| fault.starts_with("m4 ")), "{faults:?}");
    }
}

#[test]
fn secrets_should_not_be_shown() {
    let proposal = proposal(Kind::First, 1, &[1, 2, 3, 4], 3, None);
    let (ceremony, effects) = Ceremony::start(setup(1, &proposal, None, None), &[0xab; 32]).expect("a ceremony");
    let shown = format!("{ceremony:?} {effects:?} {:?}", ceremony.own.as_ref().map(|own| &own.polynomial));
    assert!(!shown.contains("abab") && !shown.contains("171, 171"), "{shown}");
}

#[test]
fn marks_should_never_fall_below_those_of_the_roster_before() {
    let first = first(&[1, 2, 3, 4], 3);
    let marks = Marks { checkpoint: Some(signed(&first, 7)), decision: 3, governance: BTreeMap::from([(31_337, 2)]) };
    let second = next(Kind::Reshare, 2, &[1, 2, 3, 5], &first, &marks);
    assert_eq!(roster(&second).marks(), marks);
    // Dealers that know nothing, as if none of them had caught up.
    let third = next(Kind::Reshare, 3, &[2, 3, 5, 6], &second, &Marks::default());
    assert_eq!(roster(&third).marks(), marks);
    let higher =
        Marks { checkpoint: Some(signed(&third, 8)), decision: 1, governance: BTreeMap::from([(1, 1), (31_337, 1)]) };
    let fourth = next(Kind::Reshare, 4, &[2, 3, 5, 6], &third, &higher);
    let governance = BTreeMap::from([(1, 1), (31_337, 2)]);
    assert_eq!(roster(&fourth).marks(), Marks { checkpoint: higher.checkpoint, decision: 3, governance });
}

#[test]
fn checkpoints_of_another_key_should_be_left_out() {
    let first = first(&[1, 2, 3, 4], 3);
    let old = Marks { checkpoint: Some(signed(&first, 7)), ..Marks::default() };
    let fresh = next(Kind::Fresh, 2, &[1, 2, 3, 4], &first, &old);
    assert_ne!(roster(&fresh).key().key(), roster(&first).key().key());
    assert_eq!(roster(&fresh).marks(), old);
    // Nothing was signed with the new key yet, and the old one went on.
    let newer = Marks { checkpoint: Some(signed(&first, 9)), ..Marks::default() };
    let reshared = next(Kind::Reshare, 3, &[1, 2, 3, 5], &fresh, &newer);
    assert_eq!(roster(&reshared).marks(), old);
    assert_eq!(roster(&reshared).key().key(), roster(&fresh).key().key());
}

#[test]
fn absent_dealers_should_not_be_waited_for() {
    let first = first(&[1, 2, 3, 4], 3);
    let (old, _) = &first.done[&1];
    let mut file = proposal_file(Kind::Reshare, 2, &[1, 2, 3, 4], 3, Some(old));
    file.absent = vec![4];
    let proposal = Proposal::parse(&file).expect("a proposal");
    let share = |number: u8| first.done.get(&number).and_then(|(_, share)| share.as_ref()).filter(|_| number != 4);
    // Member 4 has lost its share: it gets one, but deals none.
    let mut network = Network::start(&[1, 2, 3, 4], |number| setup(number, &proposal, Some(old), share(number)));
    network.pump();
    assert_eq!((network.failed.len(), network.done.len()), (0, 4));
    assert_eq!(roster(&network).key().key(), old.key().key());
    let dealers = network.nodes[&4].terms.dealers.iter().map(|member| member.index).collect::<Vec<_>>();
    assert_eq!(dealers, [1, 2, 3]);
    // What it says as a dealer is refused, and without it none of the others may be bad.
    let terms = &network.nodes[&1].terms;
    assert_eq!((terms.logs_needed, terms.bad_dealers, terms.bad_players), (3, 0, 1));
    let body = Body::Set { logs: Vec::new() };
    let log = Body::Log {
        commitment: Commitment { points: Vec::new(), possession: None },
        receipts: Vec::new(),
        marks: Marks::default(),
    };
    for body in [log, body] {
        let what = body.what();
        let item = Item::sign(&terms.binding, body, &key(4));
        let author = key(4).verifying_key().to_bytes();
        let mut node = Ceremony::start(setup(1, &proposal, Some(old), share(1)), &[1; 32]).expect("a ceremony").0;
        assert_eq!(node.receive(item.bytes()).map(|_| ()), Err(ItemError::Stranger { what, author }));
    }
}

/// Who deals last knows all parts of its own share, and can cancel them. Nobody could prove that the others kept theirs.
#[test]
fn a_player_that_makes_its_own_share_zero_should_be_named() {
    let numbers = [1, 2, 3, 4];
    let proposal = proposal(Kind::First, 1, &numbers, 3, None);
    let mut network = Network::start(&numbers, |number| setup(number, &proposal, None, None));
    let mut last = network.nodes.remove(&4).expect("a node");
    network.pump();
    let number = |key: &SecretKey| U256::from_be_bytes(*key.to_bytes());
    // It reads what the others dealt to it before it deals.
    let part = |(_, bytes): &(Receivers, Vec<u8>)| {
        let item = Item::decode(bytes, &last.terms.binding).expect("an item");
        let Body::Dealing { player: 4, commitment, sealed } = item.body else { return None };
        let share = open(&sealed, &last.identity, &commitment.digest(&last.terms.binding, &item.author));
        Some(U256::from_be_bytes(*share.expect("a share")))
    };
    let parts: Vec<_> = network.said.iter().filter_map(part).collect();
    assert_eq!(parts.len(), 3);
    let parts = parts.into_iter().fold(U256::ZERO, |sum, part| sum.add_mod(part, ORDER));
    let derive = |constant: U256| {
        let constant = SecretKey::from_bytes(&constant.to_be_bytes::<32>()).expect("a key");
        Polynomial::derive(&[9; 32], &B256::ZERO, 3, Some(&constant)).expect("a polynomial")
    };
    let others = number(&derive(U256::ONE).at(4).expect("a share")).add_mod(parts, ORDER);
    let polynomial = derive(U256::ONE.add_mod(ORDER - others, ORDER));
    let possession = last.terms.possession(4, polynomial.constant());
    let commitment = Commitment { points: polynomial.commit(), possession };
    let digest = commitment.digest(&last.terms.binding, &last.me);
    last.own = Some(OwnDealing { polynomial, commitment, digest, dealt: false, logged: false });
    network.nodes.insert(4, last);
    network.shown = std::mem::take(&mut network.said);
    network.pump();
    assert_eq!((network.done.len(), network.failed.len()), (0, 4));
    for faults in network.failed.values() {
        assert_eq!(*faults, ["m4 would have a zero share, which nobody else can bring about"]);
    }
}

#[test]
fn whoever_is_late_should_be_named_though_the_others_can_do_without() {
    let first = first(&[1, 2, 3, 4], 3);
    let (old, _) = &first.done[&1];
    // Member 4 leaves, and is not there to deal.
    let proposal = proposal(Kind::Reshare, 2, &[1, 2, 3], 2, Some(old));
    let share = |number: u8| first.done.get(&number).and_then(|(_, share)| share.as_ref());
    let mut network = Network::start(&[1, 2, 3], |number| setup(number, &proposal, Some(old), share(number)));
    network.pump();
    for phase in [Phase::Join, Phase::Deal, Phase::Log] {
        network.deadline(phase);
    }
    assert_eq!(network.done.len(), 3);
    for node in network.nodes.values() {
        let faults: Vec<_> = node.progress().faults.iter().map(ToString::to_string).collect();
        assert_eq!(faults, ["m4 has not joined", "m4 has not published its log"]);
    }
}

#[test]
fn records_that_were_changed_should_be_refused_or_say_the_same() {
    let network = first(&[1, 2, 3, 4], 3);
    let (made, records) = (roster(&network).digest(), &network.records[&2]);
    let proposal = proposal(Kind::First, 1, &[1, 2, 3, 4], 3, None);
    let restore = |records: &[Record]| Ceremony::restore(setup(2, &proposal, None, None), records);
    let (_, effects) = restore(records).expect("its own records");
    let done = |effect: &Effect| matches!(effect, Effect::Done { roster, share: Some(_) } if roster.digest() == made);
    assert!(effects.iter().any(done));
    for place in 0..records.len() {
        let bytes = records[place].as_bytes();
        let change = |bytes: Vec<u8>| {
            let mut changed = records.clone();
            changed[place] = Record::from_bytes(bytes);
            restore(&changed).map(|_| ())
        };
        let refused = if place == 0 { CeremonyError::Seed } else { CeremonyError::Record { place } };
        let malformed = CeremonyError::Record { place };
        let kind = change([&[9], &bytes[1..]].concat());
        assert_eq!(kind, Err(malformed.clone()), "{place}");
        assert_eq!(change(Vec::new()), Err(malformed.clone()), "{place}");
        assert_eq!(change(bytes[..bytes.len() - 1].to_vec()), Err(malformed), "{place}");
        // Votes and outcomes are bare hashes: of another one this member holds nothing.
        if !matches!(bytes[0], VOTE | OUTCOME) {
            let mut flipped = bytes.to_vec();
            flipped[40] ^= 1;
            assert_eq!(change(flipped), Err(refused), "{place}");
        }
    }
    // Somebody else's, and those of another round.
    assert_eq!(restore(&network.records[&1]).map(|_| ()), Err(CeremonyError::Seed));
    let later = crate::dkg::testing::proposal(Kind::First, 2, &[1, 2, 3, 4], 3, None);
    let replayed = Ceremony::restore(setup(2, &later, None, None), records).map(|_| ());
    assert_eq!(replayed, Err(CeremonyError::Seed));
}
