//! The group's members by generation, as this member knows them: who signs checkpoints now, and who can spend which coins.
//!
//! Two things make a generation: its certified roster, which a ceremony leaves, and the switch in the ledger's order, which
//! the driver applies. Either may come first. Tasks ask here and remember nothing, so a switch needs no restart and no
//! signal: the next question has another answer.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use lockstep_core::bls::PublicKey;
use lockstep_core::group::roster::Roster;
use lockstep_core::group::{Addresses, Generations, LearnError, Member};
use lockstep_core::{Mix, Uuid};
use tokio::sync::watch;

use crate::peer::{Directory, IdentityKey, Listing};
use crate::world::peer::Seat;

/// The rosters that a member knows, against the switches that it has applied. Cheap to clone; clones learn together.
#[derive(Clone, Debug)]
pub struct Rosters {
    identity: IdentityKey,
    known: Arc<RwLock<Generations>>,
    addresses: watch::Receiver<Arc<Addresses>>,
    directory: Directory,
    signed_round: Arc<AtomicU32>,
}

/// Who can spend the coins at one of the group's addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spenders {
    /// The address.
    pub group: Mix,
    /// How many must sign.
    pub threshold: usize,
    /// This member's own seat, where it is one of them.
    pub own: Option<Seat>,
    /// The others' seats.
    pub others: Vec<Seat>,
}

/// What a member is to the group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It signs checkpoints.
    Active,
    /// It will, once the switch to its generation is applied.
    Joining,
    /// It did. It goes on signing for the coins of the addresses that it is a part of.
    Leaving,
}

impl Role {
    /// As it stands in the status.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Joining => "joining",
            Self::Leaving => "leaving",
        }
    }
}

/// How far the members have changed since the group's key was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Turnover {
    /// Members that left.
    pub left: usize,
    /// With so many the key should be made anew.
    pub most: usize,
}

impl Turnover {
    /// What the switches at `addresses` made of the sharings in `known`.
    pub fn of(known: &Generations, addresses: &Addresses) -> Self {
        let active = known.active(addresses);
        let (members, threshold) = (active.members().len(), usize::from(active.key().threshold()));
        let faulty = members.saturating_sub(1).checked_div(3).unwrap_or(0);
        Self { left: addresses.turnover(known.key_since(addresses)), most: threshold.saturating_sub(faulty) }
    }

    /// True if it is time for a fresh key.
    pub const fn is_too_far(self) -> bool {
        self.left >= self.most
    }
}

impl Rosters {
    /// The rosters of `known` for the owner of `identity`, under the addresses that the driver publishes. Members of all of
    /// them are entered in `directory`.
    pub fn new(
        identity: IdentityKey,
        known: Generations,
        addresses: watch::Receiver<Arc<Addresses>>,
        directory: Directory,
    ) -> Self {
        known.all().for_each(|roster| enter(&directory, roster));
        let rosters =
            Self { identity, known: Arc::new(RwLock::new(known)), addresses, directory, signed_round: Arc::default() };
        rosters.turn();
        rosters
    }

    /// Takes in the outcome of a ceremony, which is kept durably before. False if it says nothing new.
    ///
    /// # Errors
    /// Refuses what is no outcome of this group's ceremonies.
    pub fn learn(&self, roster: Roster) -> Result<bool, LearnError> {
        let is_new = self.known.write().unwrap_or_else(PoisonError::into_inner).learn(roster.clone())?;
        if is_new {
            enter(&self.directory, &roster);
            self.turn();
        }
        Ok(is_new)
    }

    /// Lets members be asked by the indexes of the generation that signs now.
    pub fn turn(&self) {
        let generation = self.active().generation();
        if self.directory.current() != generation {
            self.directory.turn_to(generation);
        }
    }

    /// Tells when the group has another address.
    pub fn changes(&self) -> watch::Receiver<Arc<Addresses>> {
        self.addresses.clone()
    }

    /// The addresses that the group has had.
    pub fn addresses(&self) -> Arc<Addresses> {
        Arc::clone(&self.addresses.borrow())
    }

    /// The roster that signs checkpoints now.
    pub fn active(&self) -> Arc<Roster> {
        Arc::clone(self.known().active(&self.addresses()))
    }

    /// The roster whose members sign with a group key now, where that is asked for ([`Generations::signing`]).
    pub fn signing(&self, key: &PublicKey) -> Option<Arc<Roster>> {
        self.known().signing(&self.addresses(), key).cloned()
    }

    /// Notes that the members of a roster made a signature alone.
    pub fn note_signed(&self, roster: &Roster) {
        self.signed_round.fetch_max(roster.round(), Ordering::Relaxed);
    }

    /// The latest round whose outcome has signed, since the start; 0 before that.
    pub fn signed_round(&self) -> u32 {
        self.signed_round.load(Ordering::Relaxed)
    }

    /// The rosters whose members hold shares of a group key, those whose turn it is first ([`Generations::sharings`]).
    pub fn sharings(&self, key: &PublicKey) -> Vec<Arc<Roster>> {
        self.known().sharings(&self.addresses(), key).into_iter().cloned().collect()
    }

    /// Whether the owner of an identity key can spend what lies at the group's address of a ledger generation.
    pub fn may_spend(&self, identity: &IdentityKey, generation: u32) -> bool {
        let addresses = self.addresses();
        let Some(users) = addresses.group(generation).and_then(Mix::users) else { return false };
        let known = self.known();
        let mut members = known.all().filter_map(|roster| roster.member_by_identity(identity));
        members.any(|member| users.contains(&member.user))
    }

    /// All rosters, oldest first.
    pub fn all(&self) -> Vec<Arc<Roster>> {
        self.known().all().cloned().collect()
    }

    /// The opening of the group.
    pub fn genesis(&self) -> Arc<Roster> {
        Arc::clone(self.known().genesis())
    }

    /// This member's index in a roster.
    pub fn index_in(&self, roster: &Roster) -> Option<u8> {
        roster.member_by_identity(&self.identity).map(|member| member.index)
    }

    /// This member's own entry in the newest roster that has it.
    pub fn own(&self) -> Option<Member> {
        self.known().all().rev().find_map(|roster| roster.member_by_identity(&self.identity).cloned())
    }

    /// Its ledger user.
    pub fn user(&self) -> Option<Uuid> {
        self.own().map(|member| member.user)
    }

    /// What this member is to the group now.
    pub fn role(&self) -> Role {
        let (known, addresses) = (self.known(), self.addresses());
        let active = known.active(&addresses);
        if active.member_by_identity(&self.identity).is_some() {
            return Role::Active;
        }
        let mut newer = known.all().filter(|roster| roster.generation() > active.generation());
        if newer.any(|roster| roster.member_by_identity(&self.identity).is_some()) {
            Role::Joining
        } else {
            Role::Leaving
        }
    }

    /// How far the members have changed since the group's key was made. Who left has erased its share by honesty alone: with
    /// t − f such shares, f traitors among the members have t.
    pub fn turnover(&self) -> Turnover {
        Turnover::of(&self.known(), &self.addresses())
    }

    /// Who can spend what came to the group's address of a ledger generation. `None` where this member is one of them and does
    /// not know the others.
    pub fn spenders(&self, generation: u32) -> Option<Spenders> {
        let (known, addresses) = (self.known(), self.addresses());
        let Some(roster) = known.spenders(&addresses, generation) else {
            let group = addresses.group(generation)?.clone();
            let is_own = |user: &Uuid| group.users().is_some_and(|users| users.contains(user));
            drop(known);
            // Nobody is asked about coins of others.
            let is_stranger = !self.user().as_ref().is_some_and(is_own);
            let threshold = usize::from(group.threshold());
            return is_stranger.then(|| Spenders { threshold, own: None, others: Vec::new(), group });
        };
        let seat = |member: &Member| Seat { generation: roster.generation(), index: member.index };
        let is_own = |member: &&Member| member.identity.as_bytes() == &self.identity;
        Some(Spenders {
            group: roster.mix(),
            threshold: usize::from(roster.key().threshold()),
            own: roster.members().iter().find(is_own).map(seat),
            others: roster.members().iter().filter(|member| !is_own(member)).map(seat).collect(),
        })
    }

    fn known(&self) -> RwLockReadGuard<'_, Generations> {
        self.known.read().unwrap_or_else(PoisonError::into_inner)
    }
}

fn enter(directory: &Directory, roster: &Roster) {
    let members = roster.members().iter().map(|member| (member.index, Listing::from(member)));
    directory.seat(roster.generation(), members);
}
