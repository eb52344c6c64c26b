//! What a set of logs gives: computed on `blst` alone, by members and by anybody who holds the logs.

use std::collections::{BTreeMap, BTreeSet};

use alloy_primitives::B256;
use thiserror::Error;

use super::item::{Body, Commitment, Item, ItemError, Receipt, digest_of, verify};
use super::proposal::{Kind, Proposal, ProposalError};
use super::report::{Fault, FaultKind};
use super::terms::Terms;
use crate::bls::{GroupKey, GroupKeyError, PublicKey, SecretKey, commitment};
use crate::group::roster::{Marks, Roster};

/// A log that keeps every rule.
#[derive(Clone, Debug)]
pub(super) struct CheckedLog {
    pub(super) commitment: B256,
    pub(super) points: Vec<PublicKey>,
    pub(super) receipts: Vec<Receipt>,
    pub(super) marks: Marks,
}

impl CheckedLog {
    /// Checks a dealer's log: exact degree, subgroup, constant or possession, each player's signature or share, and no
    /// more revealed shares than there can be bad players.
    pub(super) fn new(terms: &Terms, dealer: u8, item: &Item) -> Result<Self, FaultKind> {
        let Body::Log { commitment, receipts, marks } = &item.body else {
            return Err(FaultKind::NoLog);
        };
        let (expected, got) = (terms.players().len(), receipts.len());
        if got != expected {
            return Err(FaultKind::Players { expected, got });
        }
        let count = receipts.iter().filter(|receipt| matches!(receipt, Receipt::Reveal(_))).count();
        if count > terms.bad_players {
            return Err(FaultKind::Reveals { count, most: terms.bad_players });
        }
        let points = terms.check_commitment(dealer, commitment)?;
        let digest = Commitment::digest(commitment, &terms.binding, &item.author);
        for (player, receipt) in terms.players().iter().zip(receipts) {
            let identity = player.identity.as_bytes();
            match receipt {
                Receipt::Ack(signature) => {
                    let ack = Body::Ack { dealer, commitment: digest };
                    if !verify(identity, &digest_of(&terms.binding, identity, &ack), signature) {
                        return Err(FaultKind::Receipt { player: player.index });
                    }
                }
                Receipt::Reveal(share) => {
                    let share = SecretKey::from_bytes(share.as_slice()).ok().map(|share| share.public_key());
                    if share.is_none() || share != commitment::evaluate(&points, player.index) {
                        return Err(FaultKind::Reveal { player: player.index });
                    }
                }
            }
        }
        if !terms.check_marks(marks) {
            return Err(FaultKind::Marks);
        }
        Ok(Self { commitment: digest, points, receipts: receipts.clone(), marks: marks.clone() })
    }

    /// The share that the log reveals of a player.
    pub(super) fn revealed(&self, player: u8) -> Option<SecretKey> {
        let place = usize::from(player.checked_sub(1)?);
        match self.receipts.get(place)? {
            Receipt::Reveal(share) => SecretKey::from_bytes(share.as_slice()).ok(),
            Receipt::Ack(_) => None,
        }
    }
}

/// The public outcome of a set of checked logs, before anybody vouches for it.
///
/// A player's new share is no secret if the bad dealers' parts and the revealed ones make it up. As long as no more dealers
/// revealed theirs than can be bad, they do not; beyond that the outcome is refused and the player is named.
pub(super) fn public(terms: &Terms, logs: &BTreeMap<u8, &CheckedLog>) -> Result<(Roster, Marks), BTreeSet<Fault>> {
    let mut faults = BTreeSet::new();
    for player in terms.players() {
        let count = logs.values().filter(|log| log.revealed(player.index).is_some()).count();
        if count > terms.bad_dealers {
            faults.insert(terms.fault(player.identity.as_bytes(), FaultKind::Revealed { count }));
        }
    }
    if !faults.is_empty() || logs.len() < terms.logs_needed {
        return Err(faults);
    }
    let Ok(key) = group_key(terms, logs) else { return Err(zero_shares(terms, logs)) };
    let (group_id, generation) = (terms.binding.group_id, terms.binding.generation);
    let roster = Roster::uncertified(group_id, generation, terms.players().to_vec(), key);
    let marks = terms.combine_marks(logs.values().map(|log| &log.marks));
    Ok((roster, marks))
}

/// Players whose share of the outcome would be zero, so that its public share is no key. To bring that about one must know
/// what all others dealt to that player: it is the player itself, or told somebody.
fn zero_shares(terms: &Terms, logs: &BTreeMap<u8, &CheckedLog>) -> BTreeSet<Fault> {
    let Some(points) = polynomial(terms, logs) else { return BTreeSet::new() };
    let zero = terms.players().iter().filter(|player| commitment::evaluate(&points, player.index).is_none());
    zero.map(|player| terms.fault(player.identity.as_bytes(), FaultKind::ZeroShare)).collect()
}

/// The public polynomial whose constant is the group's key.
fn polynomial(terms: &Terms, logs: &BTreeMap<u8, &CheckedLog>) -> Option<Vec<PublicKey>> {
    if terms.proposal.kind() == Kind::Reshare {
        let parts: Vec<_> = logs.iter().map(|(dealer, log)| (*dealer, log.points.as_slice())).collect();
        commitment::interpolate(&parts)
    } else {
        let parts: Vec<_> = logs.values().map(|log| log.points.as_slice()).collect();
        commitment::sum(&parts)
    }
}

fn group_key(terms: &Terms, logs: &BTreeMap<u8, &CheckedLog>) -> Result<GroupKey, ObserveError> {
    let reshare = terms.proposal.kind() == Kind::Reshare;
    let points = polynomial(terms, logs);
    let members = u8::try_from(terms.players().len()).unwrap_or(u8::MAX);
    let key = GroupKey::from_commitments(&points.ok_or(ObserveError::Cancelled)?, members)?;
    let kept = terms.previous.as_ref().is_none_or(|previous| previous.key().key() == key.key());
    if reshare && !kept { Err(ObserveError::OtherKey) } else { Ok(key) }
}

/// Computes the outcome from nothing but the proposal, the roster before, and the logs of the certified set, as anybody can
/// who holds these.
///
/// # Errors
/// A proposal that does not follow the roster, something that is no good log of a dealer, too few logs, or an outcome that
/// members refuse.
pub fn observe(
    proposal: Proposal,
    previous: Option<Roster>,
    logs: &[impl AsRef<[u8]>],
) -> Result<(Roster, Marks), ObserveError> {
    let terms = Terms::new(proposal, previous)?;
    let mut checked = BTreeMap::new();
    for bytes in logs {
        let item = Item::decode(bytes.as_ref(), &terms.binding)?;
        let stranger = ItemError::Stranger { what: item.body.what(), author: item.author };
        let dealer = terms.dealer_index(&item.author).ok_or(stranger)?;
        let log = CheckedLog::new(&terms, dealer, &item);
        let log = log.map_err(|kind| ObserveError::Fault(terms.fault(&item.author, kind)))?;
        checked.insert(dealer, log);
    }
    let logs: BTreeMap<_, _> = checked.iter().map(|(dealer, log)| (*dealer, log)).collect();
    if logs.len() < terms.logs_needed {
        return Err(ObserveError::TooFew { need: terms.logs_needed, got: logs.len() });
    }
    public(&terms, &logs).map_err(ObserveError::Refused)
}

/// Why logs give no outcome.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ObserveError {
    /// A proposal that does not follow the roster.
    #[error(transparent)]
    Proposal(#[from] ProposalError),
    /// Not an item of the ceremony, or not of a dealer.
    #[error(transparent)]
    Item(#[from] ItemError),
    /// A void log.
    #[error("{0}")]
    Fault(Fault),
    /// Too few logs.
    #[error("{got} logs of {need} needed")]
    TooFew {
        /// Needed.
        need: usize,
        /// Found.
        got: usize,
    },
    /// An outcome that members refuse.
    #[error("the outcome is refused: {}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Refused(BTreeSet<Fault>),
    /// Coefficients that add up to nothing, which no honest choice makes likely.
    #[error("the dealers' coefficients cancel out")]
    Cancelled,
    /// Another key than before.
    #[error("the logs do not give the old key")]
    OtherKey,
    /// A key that no group can have.
    #[error(transparent)]
    Key(#[from] GroupKeyError),
}

#[cfg(test)]
mod tests;
