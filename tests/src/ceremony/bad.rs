//! How members misbehave. A bad member runs the real state machine and changes what it shows.

#![expect(clippy::wildcard_enum_match_arm, reason = "each way to misbehave changes one kind of item, the rest stays")]

use alloy_primitives::{B256, U256, keccak256, uint};
use ed25519_dalek::VerifyingKey;
use lockstep_core::bls::{PublicKey, SecretKey};
use lockstep_core::dkg::seal::{open, seal};
use lockstep_core::dkg::{Binding, Body, Commitment, FaultKind, Item, Kind, Phase, Proposal, Receipt, Receivers};
use rand::RngExt as _;
use rand::rngs::StdRng;

use super::Person;

/// The order of G1 and G2.
pub(super) const ORDER: U256 = uint!(0x73eda753299d7d483339d80809a1d80553bda402fffe5bfeffffffff00000001_U256);

/// One way to misbehave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Bad {
    /// Says nothing at all.
    Silent,
    /// Joins, and says nothing more.
    JoinsOnly,
    /// Never acknowledges a share.
    NoAcks,
    /// Deals, but publishes no log.
    NoLog,
    /// Shows everything only after the deadline of a phase, or everything but that it joins.
    Late(Phase),
    /// Sends shares that do not fit to the first so many others.
    BadShares(u8),
    /// Deals another polynomial to the first so many others.
    Equivocates(u8),
    /// Commits to one coefficient more.
    HigherDegree,
    /// Commits to one coefficient less.
    LowerDegree,
    /// Deals another secret, consistently.
    Constant,
    /// Commits to a point outside the subgroup.
    OutsideSubgroup,
    /// Commits to the point at infinity.
    Infinity,
    /// Proves nothing, or proves in a reshare.
    Possession,
    /// Signs two logs, and shows one to some and the other to others.
    TwoLogs,
    /// Its log has a receipt that the player did not sign.
    ForgedReceipt,
    /// Its log reveals a share that does not fit.
    ForgedReveal,
    /// Its log forgets a player.
    ShortLog,
    /// Its log claims marks that the group did not sign.
    ForgedMarks,
    /// Leads and proposes nothing.
    NoSet,
    /// Leads and proposes too few logs.
    SmallSet,
    /// Leads and proposes a log that does not exist.
    UnknownLog,
    /// Leads and shows one set to some, another to others.
    TwoSets,
    /// Leads and shows its set to one member.
    HiddenSet,
    /// Votes twice.
    TwoVotes,
    /// Is ready with another outcome.
    OtherOutcome,
    /// Shows changed copies of everything.
    Noise,
    /// Shows everything that it hears, also what is not meant for all.
    Replays,
    /// Joins, and says the rest in the round before.
    StaleRound,
}

/// What must come of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// The others make a key, and name it.
    KeyAndNamed,
    /// The others make a key; whether they notice depends on the order of things, or there is nothing to notice.
    Key,
    /// A key or a clean retry, and it is named in both.
    Named,
    /// A key, or a clean retry in which it is named.
    RetryNamed,
}

/// What a misbehaving member is in its ceremony.
#[derive(Clone, Copy, Debug)]
pub(super) struct Role {
    /// It deals.
    pub(super) deals: bool,
    /// It gets a share.
    pub(super) plays: bool,
    /// It proposes the set of logs.
    pub(super) leads: bool,
    /// Its victims, if it has any, and how many of them are honest.
    pub(super) victims: (usize, usize),
    /// Bad players that the ceremony survives.
    pub(super) bad_players: usize,
}

impl Bad {
    /// Some way. Some are for the leader only.
    pub fn random(random: &mut StdRng, kind: Kind, leads: bool) -> Self {
        let leading = [Self::NoSet, Self::SmallSet, Self::UnknownLog, Self::TwoSets, Self::HiddenSet];
        if leads && random.random_bool(0.7) {
            return leading[random.random_range(0..leading.len())].clone();
        }
        let phase = [Phase::Join, Phase::Deal, Phase::Log, Phase::Agree, Phase::Finish][random.random_range(0..5)];
        let all = [
            Self::Silent,
            Self::JoinsOnly,
            Self::NoAcks,
            Self::NoLog,
            Self::Late(phase),
            Self::BadShares(random.random_range(1..4)),
            Self::Equivocates(random.random_range(1..4)),
            Self::HigherDegree,
            Self::LowerDegree,
            Self::Constant,
            Self::OutsideSubgroup,
            Self::Infinity,
            Self::Possession,
            Self::TwoLogs,
            Self::ForgedReceipt,
            Self::ForgedReveal,
            Self::ShortLog,
            Self::ForgedMarks,
            Self::TwoVotes,
            Self::OtherOutcome,
            Self::Noise,
            Self::Replays,
            Self::StaleRound,
        ];
        let chosen = all[random.random_range(0..all.len())].clone();
        // Another constant is what a first dealer may choose freely.
        if chosen == Self::Constant && kind != Kind::Reshare { Self::Possession } else { chosen }
    }

    /// All ways by name, to see that each is tried.
    pub const NAMES: [&str; 32] = [
        "Silent",
        "JoinsOnly",
        "NoAcks",
        "NoLog",
        "Late(Join)",
        "Late(Deal)",
        "Late(Log)",
        "Late(Agree)",
        "Late(Finish)",
        "BadShares",
        "Equivocates",
        "HigherDegree",
        "LowerDegree",
        "Constant",
        "OutsideSubgroup",
        "Infinity",
        "Possession",
        "TwoLogs",
        "ForgedReceipt",
        "ForgedReveal",
        "ShortLog",
        "ForgedMarks",
        "NoSet",
        "SmallSet",
        "UnknownLog",
        "TwoSets",
        "HiddenSet",
        "TwoVotes",
        "OtherOutcome",
        "Noise",
        "Replays",
        "StaleRound",
    ];

    /// Its name, without how many it harms.
    pub fn name(&self) -> String {
        match self {
            Self::BadShares(_) => "BadShares".into(),
            Self::Equivocates(_) => "Equivocates".into(),
            other => format!("{other:?}"),
        }
    }

    /// True if this is what it is blamed for, by those who see it happen. One that is careless in passing, and named for
    /// that, would not show that the check of the thing itself works.
    pub(super) fn is_blamed_for(&self, kind: &FaultKind) -> bool {
        match self {
            Self::NoLog => matches!(kind, FaultKind::NoLog),
            Self::BadShares(_) => matches!(kind, FaultKind::Share),
            // With another one that reveals it has no log to compare with.
            Self::Equivocates(_) => matches!(kind, FaultKind::TwoDealings | FaultKind::NoLog),
            Self::HigherDegree | Self::LowerDegree => matches!(kind, FaultKind::Degree { .. }),
            Self::Constant => matches!(kind, FaultKind::Constant),
            Self::OutsideSubgroup | Self::Infinity => matches!(kind, FaultKind::Point { .. }),
            Self::Possession => matches!(kind, FaultKind::Possession),
            Self::TwoLogs | Self::ForgedReceipt => matches!(kind, FaultKind::TwoLogs | FaultKind::Receipt { .. }),
            Self::ForgedReveal => matches!(kind, FaultKind::Reveal { .. } | FaultKind::Reveals { .. }),
            Self::ShortLog => matches!(kind, FaultKind::Players { .. }),
            Self::ForgedMarks => matches!(kind, FaultKind::Marks),
            Self::TwoVotes => matches!(kind, FaultKind::TwoVotes),
            _ => true,
        }
    }

    /// How many it harms, where it chooses.
    pub(super) const fn victims(&self) -> u8 {
        match self {
            Self::BadShares(victims) | Self::Equivocates(victims) => *victims,
            _ => 0,
        }
    }

    /// What must come of it.
    pub(super) fn effect(&self, role: &Role) -> Effect {
        let (victims, honest) = role.victims;
        match self {
            Self::Silent | Self::JoinsOnly | Self::StaleRound => Effect::Named,
            Self::Late(phase) if *phase > Phase::Join => Effect::Named,
            Self::NoAcks if role.plays => Effect::Named,
            Self::TwoVotes if role.plays => Effect::KeyAndNamed,
            Self::NoAcks | Self::Late(_) | Self::HiddenSet | Self::TwoVotes | Self::OtherOutcome => Effect::Key,
            Self::Noise | Self::Replays => Effect::Key,
            // Only those notice who were sent something bad, and only honest ones say so.
            Self::BadShares(_) if role.deals && honest > 0 => Effect::KeyAndNamed,
            // One that deceives more than can be bad has no log, and then nobody can compare.
            Self::Equivocates(_) if role.deals && honest > 0 && victims <= role.bad_players => Effect::KeyAndNamed,
            Self::Equivocates(_) if role.deals && victims > role.bad_players => Effect::Named,
            Self::BadShares(_) | Self::Equivocates(_) => Effect::Key,
            // A leader proposes its own log, and so one that nobody else holds as it is.
            _ if role.leads => Effect::RetryNamed,
            // What is left is about logs, or for leaders.
            _ if role.deals => Effect::KeyAndNamed,
            _ => Effect::Key,
        }
    }

    pub(super) fn has_twin(&self) -> bool {
        matches!(self, Self::Equivocates(_))
    }

    /// How many of its items are all that can be seen yet, if not all of them.
    pub(super) fn shows_only(&self, passed: Option<Phase>) -> Option<usize> {
        match self {
            Self::Silent => Some(0),
            // That it joins is the first thing it says.
            Self::Late(until) => (passed < Some(*until)).then_some(usize::from(*until > Phase::Join)),
            _ => None,
        }
    }

    /// Of a twin only dealings are shown, to victims.
    pub(super) fn of_twin(&self, proposal: &Proposal, to: Receivers, bytes: Vec<u8>) -> Option<(Receivers, Vec<u8>)> {
        let item = decode(proposal, &bytes)?;
        let Body::Dealing { player, .. } = item.body else { return None };
        self.harms(proposal, &item.author, player).then_some((to, bytes))
    }

    /// True if this player is one of those that a dealer chose.
    pub(super) fn harms(&self, proposal: &Proposal, dealer: &[u8; 32], player: u8) -> bool {
        let others = proposal.members().iter().filter(|member| member.identity.as_bytes() != dealer);
        others.take(self.victims().into()).any(|member| member.index == player)
    }

    /// What is shown instead of an item.
    pub(super) fn tamper(
        &self,
        person: &Person,
        proposal: &Proposal,
        to: Receivers,
        bytes: Vec<u8>,
    ) -> Vec<(Receivers, Vec<u8>)> {
        // What it hands on of others it cannot change, unless it is silent altogether.
        let item = decode(proposal, &bytes).filter(|item| item.author == person.public());
        let Some(item) = item else {
            let shows = !matches!(self, Self::Silent | Self::JoinsOnly);
            return if shows { vec![(to, bytes)] } else { Vec::new() };
        };
        let sign = |body: Body| Item::sign(&binding(proposal), body, &person.identity).bytes().to_vec();
        let same = vec![(to.clone(), bytes.clone())];
        match (self, item.body) {
            (Self::Silent, _)
            | (Self::NoAcks, Body::Ack { .. } | Body::Vote { .. })
            | (Self::NoLog, Body::Log { .. })
            | (Self::NoSet, Body::Set { .. }) => Vec::new(),
            (Self::JoinsOnly, Body::Join) => same,
            (Self::JoinsOnly, _) => Vec::new(),
            (Self::StaleRound, Body::Join) => same,
            (Self::StaleRound, body) => {
                let binding = Binding { round: proposal.round().saturating_sub(1), ..binding(proposal) };
                vec![(to, Item::sign(&binding, body, &person.identity).bytes().to_vec())]
            }
            (Self::Equivocates(_), Body::Dealing { player, .. }) if self.harms(proposal, &person.public(), player) => {
                Vec::new()
            }
            (Self::Noise, _) => noise(to, &bytes),
            (Self::TwoVotes, Body::Vote { set }) => {
                let other = sign(Body::Vote { set: keccak256(set) });
                [same, vec![(Receivers::All, other)]].concat()
            }
            (Self::OtherOutcome, Body::Ready { set, roster, marks }) => {
                vec![(to, sign(Body::Ready { set, roster: keccak256(roster), marks }))]
            }
            (_, Body::Dealing { player, commitment, sealed }) => {
                let dealing = Dealing { person, proposal, player, commitment, sealed };
                dealing.tampered(self).map_or(same, |body| vec![(to, sign(body))])
            }
            (_, body @ Body::Log { .. }) => self.log(proposal, &sign, body, same),
            (_, Body::Set { logs }) => self.set(proposal, &sign, logs, same),
            _ => same,
        }
    }

    fn log(
        &self,
        proposal: &Proposal,
        sign: &impl Fn(Body) -> Vec<u8>,
        body: Body,
        same: Vec<(Receivers, Vec<u8>)>,
    ) -> Vec<(Receivers, Vec<u8>)> {
        let Body::Log { mut commitment, mut receipts, mut marks } = body else { return same };
        match self {
            Self::ForgedReceipt | Self::TwoLogs => receipts[0] = Receipt::Ack([7; 64]),
            Self::ForgedReveal => receipts[0] = Receipt::Reveal([7; 32].into()),
            Self::ShortLog => {
                receipts.pop();
            }
            Self::ForgedMarks => {
                let checkpoint =
                    lockstep_core::checkpoint::Checkpoint { sequence: 1 << 40, history: B256::ZERO, root: B256::ZERO };
                marks.checkpoint = Some(lockstep_core::group::roster::Mark { checkpoint, signature: [0xaa; 48] });
            }
            _ => {
                let Some(changed) = points(self, &commitment) else { return same };
                commitment = changed;
            }
        }
        let other = sign(Body::Log { commitment, receipts, marks });
        if *self != Self::TwoLogs {
            return vec![(Receivers::All, other)];
        }
        let half = proposal.members().len() / 2;
        let to = |(place, member): (usize, &lockstep_core::group::Member)| {
            let bytes = if place < half { same[0].1.clone() } else { other.clone() };
            (Receivers::One(*member.identity.as_bytes()), bytes)
        };
        proposal.members().iter().enumerate().map(to).collect()
    }

    fn set(
        &self,
        proposal: &Proposal,
        sign: &impl Fn(Body) -> Vec<u8>,
        mut logs: Vec<(u8, B256)>,
        same: Vec<(Receivers, Vec<u8>)>,
    ) -> Vec<(Receivers, Vec<u8>)> {
        let one = |place: usize, bytes: &[u8]| {
            (Receivers::One(*proposal.members()[place].identity.as_bytes()), bytes.to_vec())
        };
        match self {
            Self::SmallSet => logs.truncate(1),
            Self::UnknownLog => logs[0].1 = keccak256(logs[0].1),
            Self::HiddenSet => return vec![one(0, &same[0].1), one(1, &same[0].1)],
            Self::TwoSets => {
                logs.pop();
                let other = sign(Body::Set { logs });
                let places = 0..proposal.members().len();
                return places.map(|place| one(place, if place % 2 == 0 { &same[0].1 } else { &other })).collect();
            }
            _ => return same,
        }
        vec![(Receivers::All, sign(Body::Set { logs }))]
    }
}

/// The item itself, and copies with one bit changed, or cut.
fn noise(to: Receivers, bytes: &[u8]) -> Vec<(Receivers, Vec<u8>)> {
    let flipped = |place: usize| {
        let mut bytes = bytes.to_vec();
        bytes[place] ^= 1;
        (Receivers::All, bytes)
    };
    let cut = (Receivers::All, bytes[..bytes.len() / 2].to_vec());
    let long = (Receivers::All, [bytes, &[0; 20_000]].concat());
    vec![flipped(0), flipped(40), flipped(170), (to, bytes.to_vec()), flipped(bytes.len() - 1), cut, long]
}

/// A dealing to change.
struct Dealing<'a> {
    person: &'a Person,
    proposal: &'a Proposal,
    player: u8,
    commitment: Commitment,
    sealed: [u8; 80],
}

impl Dealing<'_> {
    fn tampered(self, bad: &Bad) -> Option<Body> {
        let binding = binding(self.proposal);
        let dealer = self.person.public();
        let receiver = self.proposal.members()[usize::from(self.player) - 1].identity;
        let context = self.commitment.digest(&binding, &dealer);
        if matches!(bad, Bad::BadShares(_)) {
            if !bad.harms(self.proposal, &dealer, self.player) {
                return None;
            }
            let sealed = seal(&[3; 32], &receiver, &context, &[self.player; 32]);
            return Some(Body::Dealing { player: self.player, commitment: self.commitment, sealed });
        }
        let commitment = points(bad, &self.commitment)?;
        let share = self.share(&receiver, &context)?;
        // The other constant is one more, and so is every share: a good polynomial, but not of the dealer's old share.
        let share = if *bad == Bad::Constant { share.add_mod(U256::ONE, ORDER) } else { share };
        let context = commitment.digest(&binding, &dealer);
        let sealed = seal(&share.to_be_bytes(), &receiver, &context, &[self.player; 32]);
        Some(Body::Dealing { player: self.player, commitment, sealed })
    }

    /// The world knows everybody's key.
    fn share(&self, receiver: &VerifyingKey, context: &B256) -> Option<U256> {
        let person = (1..=12).map(Person::new).find(|person| person.identity.verifying_key() == *receiver)?;
        open(&self.sealed, &person.identity, context).map(|share| U256::from_be_bytes(*share))
    }
}

/// Other points, or another proof.
fn points(bad: &Bad, commitment: &Commitment) -> Option<Commitment> {
    let mut changed = commitment.clone();
    let generator = SecretKey::from_bytes(&U256::ONE.to_be_bytes::<32>()).expect("one").public_key();
    let last = changed.points.last_mut()?;
    match bad {
        Bad::HigherDegree => changed.points.push(generator.compress()),
        Bad::LowerDegree => {
            changed.points.pop();
        }
        Bad::Infinity => (*last, last[0]) = ([0; 96], 0xc0),
        Bad::OutsideSubgroup => {
            // x = 2 is on the curve, but no point of it is in the subgroup.
            *last = [0; 96];
            (last[0], last[95]) = (0x80, 2);
        }
        Bad::Constant => {
            let constant = PublicKey::from_bytes(&changed.points[0]).ok()?;
            changed.points[0] = lockstep_core::bls::commitment::sum(&[&[constant], &[generator]])?.first()?.compress();
        }
        Bad::Possession => {
            changed.possession = if changed.possession.is_some() { None } else { Some([7; 48]) };
        }
        _ => return None,
    }
    Some(changed)
}

pub(super) fn binding(proposal: &Proposal) -> Binding {
    Binding {
        group_id: proposal.group_id(),
        round: proposal.round(),
        generation: proposal.generation(),
        proposal: proposal.digest(),
    }
}

fn decode(proposal: &Proposal, bytes: &[u8]) -> Option<Item> {
    Item::decode(bytes, &binding(proposal)).ok()
}
