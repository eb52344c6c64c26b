//! Ceremonies for tests of this folder: members that pull everything from one another at once.

#![expect(clippy::arithmetic_side_effects, reason = "small numbers of a test")]

use std::collections::{BTreeMap, BTreeSet};

use alloy_primitives::B256;
use ed25519_dalek::SigningKey;

use super::ceremony::{Ceremony, Setup};
use super::proposal::{Deadlines, Kind, Proposal, ProposalFile, ProposalMember};
use super::report::{Effect, Phase, Receivers, Record};
use crate::bls::{SecretKey, SecretShare, default_threshold};
use crate::checkpoint::Checkpoint;
use crate::group::roster::{Mark, Marks, Roster};

/// Members of a ceremony that pull everything from one another at once.
pub(super) struct Network {
    pub(super) nodes: BTreeMap<u8, Ceremony>,
    pub(super) shown: Vec<(Receivers, Vec<u8>)>,
    /// All that was ever shown.
    pub(super) said: Vec<(Receivers, Vec<u8>)>,
    pub(super) done: BTreeMap<u8, (Roster, Option<SecretShare>)>,
    pub(super) failed: BTreeMap<u8, Vec<String>>,
    pub(super) records: BTreeMap<u8, Vec<Record>>,
}

pub(super) fn key(number: u8) -> SigningKey {
    SigningKey::from_bytes(&[number; 32])
}

/// Members are numbers; their index is their place.
pub(super) fn proposal(kind: Kind, round: u32, members: &[u8], threshold: u8, previous: Option<&Roster>) -> Proposal {
    Proposal::parse(&proposal_file(kind, round, members, threshold, previous)).expect("a proposal")
}

pub(super) fn proposal_file(
    kind: Kind,
    round: u32,
    members: &[u8],
    threshold: u8,
    previous: Option<&Roster>,
) -> ProposalFile {
    let member = |(index, number): (u8, &u8)| ProposalMember {
        index,
        name: format!("m{number}"),
        user: uuid::Uuid::from_u128((*number).into()),
        identity: hex::encode(key(*number).verifying_key().as_bytes()),
        peer: format!("http://127.0.0.1:77{number:02}"),
    };
    ProposalFile {
        group_id: hex::encode([9; 32]),
        round,
        kind,
        generation: previous.map_or(0, |previous| previous.generation() + 1),
        threshold,
        previous: previous.map(|previous| previous.digest().to_string()),
        absent: Vec::new(),
        deadlines: Deadlines::default(),
        members: (1..).zip(members).map(member).collect(),
    }
}

pub(super) fn setup(number: u8, proposal: &Proposal, previous: Option<&Roster>, share: Option<&SecretShare>) -> Setup {
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
    pub(super) fn start(numbers: &[u8], setup: impl Fn(u8) -> Setup) -> Self {
        let empty = BTreeMap::new();
        let (done, failed, records) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        let mut network = Self { nodes: empty, shown: Vec::new(), said: Vec::new(), done, failed, records };
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
    pub(super) fn pump(&mut self) {
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
        self.said.append(&mut self.shown);
    }

    pub(super) fn deadline(&mut self, phase: Phase) {
        for number in self.nodes.keys().copied().collect::<Vec<_>>() {
            let effects = self.nodes.get_mut(&number).expect("a node").deadline(phase);
            self.act(number, effects);
        }
        self.pump();
    }
}

pub(super) fn first(numbers: &[u8], threshold: u8) -> Network {
    let proposal = proposal(Kind::First, 1, numbers, threshold, None);
    let mut network = Network::start(numbers, |number| setup(number, &proposal, None, None));
    network.pump();
    network
}

/// A ceremony after another one, in which each that deals brings these marks.
pub(super) fn next(kind: Kind, round: u32, members: &[u8], old: &Network, marks: &Marks) -> Network {
    let (roster, _) = old.done.values().next().expect("a roster");
    let proposal =
        proposal(kind, round, members, default_threshold(u8::try_from(members.len()).expect("few")), Some(roster));
    let share = |number: u8| old.done.get(&number).and_then(|(_, share)| share.as_ref());
    let everybody: BTreeSet<u8> = if kind == Kind::Reshare {
        old.done.keys().filter(|number| share(**number).is_some()).chain(members).copied().collect()
    } else {
        members.iter().copied().collect()
    };
    let everybody: Vec<_> = everybody.into_iter().collect();
    let mut network = Network::start(&everybody, |number| Setup {
        marks: marks.clone(),
        ..setup(number, &proposal, Some(roster), share(number))
    });
    network.pump();
    assert_eq!(network.failed, BTreeMap::new());
    assert_eq!(network.done.len(), everybody.len());
    network
}

/// The group's signature, by the first t.
pub(super) fn signed(network: &Network, sequence: u64) -> Mark {
    let (roster, _) = network.done.values().next().expect("a roster");
    let checkpoint = Checkpoint { sequence, history: B256::ZERO, root: B256::ZERO };
    let digest = checkpoint.digest(&roster.group_id());
    let shares = network.done.values().filter_map(|(_, share)| share.as_ref());
    let partials: Vec<_> = shares.map(|share| share.sign_digest(&digest)).collect();
    let recovered = roster.key().recover_digest(&digest, &partials, &BTreeSet::new()).expect("a signature");
    Mark { checkpoint, signature: recovered.signature.compress() }
}

pub(super) fn roster(network: &Network) -> &Roster {
    &network.done.values().next().expect("a roster").0
}
