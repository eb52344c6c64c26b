use std::collections::BTreeMap;

use super::*;
use crate::bls::default_threshold;
use crate::checkpoint::Checkpoint;
use crate::dkg::proposal::{Deadlines, ProposalFile, ProposalMember};
use crate::group::roster::Mark;

const CHECKPOINT: Checkpoint = Checkpoint { sequence: 1, history: B256::ZERO, root: B256::ZERO };

/// Members of a ceremony that pull everything from one another at once.
struct Network {
    nodes: BTreeMap<u8, Ceremony>,
    shown: Vec<(Receivers, Vec<u8>)>,
    done: BTreeMap<u8, (Roster, Option<SecretShare>)>,
    failed: BTreeMap<u8, Vec<String>>,
    records: BTreeMap<u8, Vec<Record>>,
}

fn key(number: u8) -> SigningKey {
    SigningKey::from_bytes(&[number; 32])
}

/// Members are numbers; their index is their place.
fn proposal(kind: Kind, round: u32, members: &[u8], threshold: u8, previous: Option<&Roster>) -> Proposal {
    let member = |(index, number): (u8, &u8)| ProposalMember {
        index,
        name: format!("m{number}"),
        user: uuid::Uuid::from_u128((*number).into()),
        identity: hex::encode(key(*number).verifying_key().as_bytes()),
        peer: format!("http://127.0.0.1:77{number:02}"),
    };
    let file = ProposalFile {
        group_id: hex::encode([9; 32]),
        round,
        kind,
        generation: previous.map_or(0, |previous| previous.generation() + 1),
        threshold,
        previous: previous.map(|previous| previous.digest().to_string()),
        absent: Vec::new(),
        deadlines: Deadlines::default(),
        members: (1..).zip(members).map(member).collect(),
    };
    Proposal::parse(&file).expect("a proposal")
}

fn setup(number: u8, proposal: &Proposal, previous: Option<&Roster>, share: Option<&SecretShare>) -> Setup {
    let copy = |share: &SecretShare| {
        let secret = SecretKey::from_bytes(share.secret().to_bytes().as_slice()).expect("a key");
        SecretShare::new(share.index(), secret).expect("a share")
    };
    Setup {
        proposal: proposal.clone(),
        previous: previous.cloned(),
        identity: key(number),
        share: share.map(copy),
        marks: Marks::default(),
    }
}

impl Network {
    fn start(numbers: &[u8], setup: impl Fn(u8) -> Setup) -> Self {
        let empty = BTreeMap::new();
        let (done, failed, records) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        let mut network = Self { nodes: empty, shown: Vec::new(), done, failed, records };
        for number in numbers {
            let (ceremony, effects) = Ceremony::start(setup(*number), &[*number; 32]).expect("a ceremony");
            network.nodes.insert(*number, ceremony);
            network.act(*number, effects);
        }
        network
    }

    fn act(&mut self, number: u8, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Persist(record) => self.records.entry(number).or_default().push(record),
                Effect::Publish { to, item } => self.shown.push((to, item)),
                Effect::Begun => {}
                Effect::Done { roster, share } => {
                    self.done.insert(number, (*roster, share));
                }
                Effect::Failed(failure) => {
                    let faults = failure.faults.iter().map(ToString::to_string).collect();
                    self.failed.insert(number, faults);
                }
            }
        }
    }

    /// Everybody hears everything, until nobody has anything new to say.
    fn pump(&mut self) {
        let mut next = 0;
        while let Some((to, item)) = self.shown.get(next).cloned() {
            next += 1;
            for number in self.nodes.keys().copied().collect::<Vec<_>>() {
                let me = key(number).verifying_key().to_bytes();
                if to == Receivers::All || to == Receivers::One(me) {
                    let heard = self.nodes.get_mut(&number).expect("a node").receive(&item);
                    self.act(number, heard.expect("an item"));
                }
            }
        }
        self.shown.clear();
    }

    fn deadline(&mut self, phase: Phase) {
        for number in self.nodes.keys().copied().collect::<Vec<_>>() {
            let effects = self.nodes.get_mut(&number).expect("a node").deadline(phase);
            self.act(number, effects);
        }
        self.pump();
    }
}

fn first(numbers: &[u8], threshold: u8) -> Network {
    let proposal = proposal(Kind::First, 1, numbers, threshold, None);
    let mut network = Network::start(numbers, |number| setup(number, &proposal, None, None));
    network.pump();
    network
}

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
    let mark = Mark { checkpoint: CHECKPOINT, signature: [0; 48] };
    let marks = Marks { checkpoint: Some(mark), ..Marks::default() };
    assert_eq!(start(Setup { marks, ..setup(1, &reshare, Some(roster), share.as_ref()) }), CeremonyError::Marks);

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
