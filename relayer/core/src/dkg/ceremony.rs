//! One member's part in a ceremony, without IO.
//!
//! A member that restarts gives the same records back and pulls the others' items again: all it says follows from its seed
//! and from what it kept, so it says the same. It promises four things, each a record first: one dealing of each dealer
//! (before the ack), one log of its own, one set of logs as leader, one vote.

mod handle;
mod progress;
mod steps;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use alloy_primitives::{B256, keccak256};
use ed25519_dalek::SigningKey;
use thiserror::Error;
use zeroize::Zeroizing;

use super::adapter::Polynomial;
use super::item::{Body, Commitment, Item, ItemError};
use super::outcome::CheckedLog;
use super::proposal::{Kind, Proposal, ProposalError};
use super::report::{Effect, Fault, FaultKind, ITEM, OUTCOME, Phase, ROSTER, Receivers, Record, SEED, VOTE};
use super::seal::{SEALED, open, seal};
use super::terms::Terms;
use crate::bls::{BlsError, SecretKey, SecretShare};
use crate::group::roster::{Marks, Roster, RosterError};

/// What a member brings along.
pub struct Setup {
    /// What its operator approved.
    pub proposal: Proposal,
    /// The roster that the proposal follows; none in a first ceremony.
    pub previous: Option<Roster>,
    /// The member's identity key. Shares are sealed to it as well.
    pub identity: SigningKey,
    /// The member's share of that roster. An old member needs it in a reshare; others pass none.
    pub share: Option<SecretShare>,
    /// What the group has signed, as far as this member knows; counts if it deals. A checkpoint that the key before did not
    /// sign, such as one of before a rotation, is left out for that of the roster before.
    pub marks: Marks,
}

impl fmt::Debug for Setup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Setup").field("proposal", &self.proposal).finish_non_exhaustive()
    }
}

/// One member's part.
pub struct Ceremony {
    terms: Terms,
    identity: SigningKey,
    me: [u8; 32],
    dealer: Option<u8>,
    player: Option<u8>,
    share: Option<SecretShare>,
    marks: Marks,
    seed: Zeroizing<[u8; 32]>,
    own: Option<OwnDealing>,
    /// Hashes of records that are kept already.
    kept: BTreeSet<B256>,
    /// The last phase whose deadline has passed.
    passed: Option<Phase>,
    begun: bool,
    /// It votes no more: its time is over, or the outcome is refused.
    abandoned: bool,
    joined: BTreeSet<[u8; 32]>,
    dealings: BTreeMap<u8, HeldDealing>,
    acks: BTreeMap<u8, [u8; 64]>,
    logs: BTreeMap<u8, Vec<HeldLog>>,
    sets: BTreeMap<B256, Item>,
    votes: BTreeMap<u8, BTreeSet<B256>>,
    ready: BTreeMap<u8, Item>,
    voted: Option<B256>,
    /// A set that a quorum voted for.
    agreed: Option<B256>,
    /// The outcome of the set that it voted for.
    candidate: Option<Outcome>,
    outcome: Option<Outcome>,
    roster: Option<Roster>,
    faults: BTreeSet<Fault>,
    done: bool,
    /// What this member has asked for.
    wanted: BTreeSet<B256>,
    /// What others asked for, and whether they have it.
    wants: BTreeMap<[u8; 32], BTreeMap<B256, bool>>,
    effects: Vec<Effect>,
}

impl fmt::Debug for Ceremony {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ceremony")
            .field("binding", &self.terms.binding)
            .field("phase", &self.phase())
            .finish_non_exhaustive()
    }
}

/// What this member deals.
struct OwnDealing {
    polynomial: Polynomial,
    commitment: Commitment,
    digest: B256,
    /// It is published.
    dealt: bool,
    /// The log is published, or cannot be.
    logged: bool,
}

/// What a dealer dealt to this member.
struct HeldDealing {
    item: B256,
    commitment: B256,
    /// `None` if it is bad.
    share: Option<SecretKey>,
}

struct HeldLog {
    item: Item,
    checked: Result<CheckedLog, FaultKind>,
}

struct Outcome {
    set: B256,
    roster: Roster,
    marks: Marks,
    share: Option<SecretKey>,
    /// What a player says that holds its share of this outcome.
    ready: Body,
}

impl Ceremony {
    /// Takes part from now on. The seed is 32 bytes of entropy for this ceremony alone: with it the member's secrets of the
    /// ceremony are known. It is kept as a record, sealed to the member's identity key.
    ///
    /// # Errors
    /// A proposal that does not follow the roster, a member that has no part in it, or a share that is missing or another's.
    pub fn start(setup: Setup, seed: &[u8; 32]) -> Result<(Self, Vec<Effect>), CeremonyError> {
        let mut ceremony = Self::new(setup, seed)?;
        ceremony.prepare()?;
        let context = seed_context(&ceremony.terms);
        let sealed = seal(seed, &ceremony.identity.verifying_key(), &context, seed);
        ceremony.keep(SEED, &sealed);
        ceremony.say(Body::Join, Receivers::All);
        ceremony.advance();
        let effects = ceremony.take();
        Ok((ceremony, effects))
    }

    /// Goes on after a restart, from the records in the order in which they came. Publishes again what it had published.
    ///
    /// A ceremony that had an outcome may have lost its secret records ([`Record::is_secret`]). It needs no share then, and
    /// gives none: it goes on showing to others what they lack.
    ///
    /// # Errors
    /// As [`Ceremony::start`], and records that are not this ceremony's.
    pub fn restore(setup: Setup, records: &[Record]) -> Result<(Self, Vec<Effect>), CeremonyError> {
        if !records.is_empty() && !records.iter().any(Record::is_secret) {
            return Self::reopen(setup, records);
        }
        let (first, rest) = records.split_first().ok_or(CeremonyError::Record { place: 0 })?;
        let sealed: &[u8; SEALED] = match first.as_bytes().split_first() {
            Some((&SEED, sealed)) => sealed.try_into().map_err(|_| CeremonyError::Record { place: 0 })?,
            _ => return Err(CeremonyError::Record { place: 0 }),
        };
        let terms = Terms::new(setup.proposal.clone(), setup.previous.clone())?;
        let seed = open(sealed, &setup.identity, &seed_context(&terms)).ok_or(CeremonyError::Seed)?;
        let mut ceremony = Self::new(setup, &seed)?;
        ceremony.prepare()?;
        ceremony.recall(1, records, rest)?;
        ceremony.advance();
        let effects = ceremony.take();
        Ok((ceremony, effects))
    }

    /// Goes on without secrets, behind the end.
    fn reopen(setup: Setup, records: &[Record]) -> Result<(Self, Vec<Effect>), CeremonyError> {
        let mut ceremony = Self::new(Setup { share: None, ..setup }, &[0; 32])?;
        ceremony.done = true;
        ceremony.recall(0, records, records)?;
        let roster = ceremony.roster.as_ref().ok_or(CeremonyError::Unfinished)?;
        let ready = ceremony.agreed.filter(|_| ceremony.player.is_some()).map(|set| Body::Ready {
            set,
            roster: roster.digest(),
            marks: roster.marks().digest(),
        });
        if let Some(ready) = ready {
            ceremony.say(ready, Receivers::All);
        }
        ceremony.advance();
        let effects = ceremony.take();
        Ok((ceremony, effects))
    }

    /// Takes records back in, the first of them at `place`.
    fn recall(&mut self, place: usize, all: &[Record], rest: &[Record]) -> Result<(), CeremonyError> {
        self.kept.extend(all.iter().map(|record| keccak256(record.as_bytes())));
        self.say(Body::Join, Receivers::All);
        for (place, record) in (place..).zip(rest) {
            self.remember(record).ok_or(CeremonyError::Record { place })?;
        }
        Ok(())
    }

    fn new(setup: Setup, seed: &[u8; 32]) -> Result<Self, CeremonyError> {
        let Setup { proposal, previous, identity, share, marks } = setup;
        let terms = Terms::new(proposal, previous)?;
        let me = identity.verifying_key().to_bytes();
        let (dealer, player) = (terms.dealer_index(&me), terms.player_index(&me));
        if dealer.is_none() && player.is_none() {
            return Err(CeremonyError::Stranger);
        }
        Ok(Self {
            identity,
            me,
            dealer,
            player,
            share: share.filter(|_| terms.proposal.kind() == Kind::Reshare && dealer.is_some()),
            marks: terms.known_marks(marks),
            seed: Zeroizing::new(*seed),
            own: None,
            kept: BTreeSet::new(),
            passed: None,
            begun: false,
            abandoned: false,
            joined: BTreeSet::new(),
            dealings: BTreeMap::new(),
            acks: BTreeMap::new(),
            logs: BTreeMap::new(),
            sets: BTreeMap::new(),
            votes: BTreeMap::new(),
            ready: BTreeMap::new(),
            voted: None,
            agreed: None,
            candidate: None,
            outcome: None,
            roster: None,
            faults: BTreeSet::new(),
            done: false,
            wanted: BTreeSet::new(),
            wants: BTreeMap::new(),
            effects: Vec::new(),
            terms,
        })
    }

    /// Makes the own polynomial. Nothing of it is said yet.
    fn prepare(&mut self) -> Result<(), CeremonyError> {
        let Some(dealer) = self.dealer else { return Ok(()) };
        if let Some(public) = self.terms.constant(dealer) {
            let share = self.share.as_ref().ok_or(CeremonyError::NoShare)?;
            if share.index() != dealer || share.public_key() != *public {
                return Err(CeremonyError::OtherShare { index: dealer });
            }
        }
        let context = self.terms.dealer_context(dealer);
        let constant = self.share.as_ref().map(SecretShare::secret);
        let polynomial = Polynomial::derive(&self.seed, &context, self.terms.proposal.threshold(), constant)?;
        let possession = self.terms.possession(dealer, polynomial.constant());
        let commitment = Commitment { points: polynomial.commit(), possession };
        let digest = commitment.digest(&self.terms.binding, &self.me);
        self.own = Some(OwnDealing { polynomial, commitment, digest, dealt: false, logged: false });
        Ok(())
    }

    /// An item came, from whomever: its own signature counts. Repeated and late ones change nothing.
    ///
    /// # Errors
    /// Not an item of this ceremony, or nothing that its author may say. Nothing has changed then.
    pub fn receive(&mut self, item: &[u8]) -> Result<Vec<Effect>, ItemError> {
        let item = Item::decode(item, &self.terms.binding)?;
        self.check_author(&item)?;
        self.handle(&item);
        self.advance();
        Ok(self.take())
    }

    /// The time of a phase is over ([`Phase::ends_s`]).
    pub fn deadline(&mut self, phase: Phase) -> Vec<Effect> {
        let late = self.passed.is_some_and(|passed| passed >= phase);
        // Later phases are counted from when everybody has joined.
        if !late && (self.begun || phase == Phase::Join) {
            self.passed = Some(phase);
            self.note_absent(phase);
            self.advance();
            self.judge(phase);
        }
        self.take()
    }

    /// The proposal that this ceremony carries out.
    pub const fn proposal(&self) -> &Proposal {
        &self.terms.proposal
    }

    /// Identity keys of everybody who may ask for items: dealers, then players that do not deal.
    pub fn participants(&self) -> Vec<[u8; 32]> {
        self.terms.everybody().map(|member| member.identity.to_bytes()).collect()
    }

    fn take(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.effects)
    }

    /// Makes a record durable before whatever follows.
    fn keep(&mut self, kind: u8, bytes: &[u8]) {
        let record = [&[kind], bytes].concat();
        if self.kept.insert(keccak256(&record)) {
            self.effects.push(Effect::Persist(Record(record)));
        }
    }

    /// Signs and publishes, and hears it oneself if it is for oneself, too.
    fn say(&mut self, body: Body, to: Receivers) {
        let item = Item::sign(&self.terms.binding, body, &self.identity);
        let heard = to == Receivers::All || to == Receivers::One(self.me);
        self.publish(&item, to);
        if heard {
            self.handle(&item);
        }
    }

    fn publish(&mut self, item: &Item, to: Receivers) {
        if to != Receivers::One(self.me) {
            self.effects.push(Effect::Publish { to, item: item.bytes().to_vec() });
        }
    }

    fn fault(&mut self, identity: &[u8; 32], kind: FaultKind) {
        self.faults.insert(self.terms.fault(identity, kind));
    }

    /// Takes a record back in.
    fn remember(&mut self, record: &Record) -> Option<()> {
        let (kind, bytes) = record.as_bytes().split_first()?;
        match *kind {
            ITEM => {
                let item = Item::decode(bytes, &self.terms.binding).ok()?;
                self.check_author(&item).ok()?;
                self.handle(&item);
                if item.author == self.me && !matches!(item.body, Body::Dealing { .. }) {
                    self.publish(&item, Receivers::All);
                }
            }
            VOTE => {
                let set = B256::try_from(bytes).ok()?;
                self.voted = Some(set);
                self.say(Body::Vote { set }, Receivers::All);
            }
            OUTCOME => self.agreed = Some(B256::try_from(bytes).ok()?),
            ROSTER => self.roster = Some(Roster::decode(bytes).ok()?),
            _ => return None,
        }
        Some(())
    }
}

/// Separates the sealed seed from sealed shares and from other ceremonies.
fn seed_context(terms: &Terms) -> B256 {
    keccak256([keccak256(b"lockstep/v1/dkg/seed").as_slice(), terms.binding.proposal.as_slice()].concat())
}

/// Why a ceremony cannot begin or go on.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum CeremonyError {
    /// A proposal that does not follow the roster.
    #[error(transparent)]
    Proposal(#[from] ProposalError),
    /// An identity that is neither an old nor a new member.
    #[error("this member's identity key is not in the proposal, nor in the roster before")]
    Stranger,
    /// An old member without its share.
    #[error("this member deals its share anew, but has none")]
    NoShare,
    /// A share that is not the roster's.
    #[error("this member's share is not that of index {index} in the roster before")]
    OtherShare {
        /// The member's index there.
        index: u8,
    },
    /// A seed that this identity key does not open.
    #[error("the ceremony's seed is sealed to another identity key, or belongs to another proposal")]
    Seed,
    /// Neither a seed nor an outcome.
    #[error("the ceremony's secrets are gone, and it has no outcome")]
    Unfinished,
    /// A record that is not of this ceremony.
    #[error("record {place} of the ceremony is not one")]
    Record {
        /// Which, counted from 0.
        place: usize,
    },
    /// A key that is none.
    #[error(transparent)]
    Key(#[from] BlsError),
    /// A roster that is none.
    #[error(transparent)]
    Roster(#[from] RosterError),
}

#[cfg(test)]
mod tests;
