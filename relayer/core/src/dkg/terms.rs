//! What all members of a ceremony know before it begins.

use alloy_primitives::{B256, keccak256};

use super::adapter::point_fault;
use super::item::{Binding, Commitment};
use super::proposal::{Kind, Proposal, ProposalError, tolerated};
use super::report::{Fault, FaultKind};
use crate::bls::{PublicKey, SecretKey, Signature};
use crate::group::Member;
use crate::group::roster::{Marks, Roster};

/// Ciphersuite of a dealer's proof (draft-irtf-cfrg-bls-signature section 4.2.3, signatures in G1).
const POSSESSION_DST: &[u8] = b"BLS_POP_BLS12381G1_XMD:SHA-256_SSWU_RO_POP_";
/// Domain of its message.
const POSSESSION: &[u8] = b"lockstep/v1/dkg/possession";

/// A proposal with the roster that it follows.
#[derive(Clone, Debug)]
pub(super) struct Terms {
    pub(super) proposal: Proposal,
    pub(super) previous: Option<Roster>,
    pub(super) binding: Binding,
    /// Who deals, by ascending index.
    pub(super) dealers: Vec<Member>,
    /// Logs that a set must have at least.
    pub(super) logs_needed: usize,
    /// Dealers that may be bad.
    pub(super) bad_dealers: usize,
    /// Players that may be bad.
    pub(super) bad_players: usize,
}

impl Terms {
    pub(super) fn new(proposal: Proposal, previous: Option<Roster>) -> Result<Self, ProposalError> {
        proposal.check_previous(previous.as_ref())?;
        let binding = Binding {
            group_id: proposal.group_id(),
            round: proposal.round(),
            generation: proposal.generation(),
            proposal: proposal.digest(),
        };
        let (dealers, dealt): (Vec<_>, u8) = match (proposal.kind(), &previous) {
            (Kind::Reshare, Some(previous)) => {
                let present = |member: &&Member| !proposal.absent().contains(&member.index);
                (previous.members().iter().filter(present).cloned().collect(), previous.key().threshold())
            }
            _ => (proposal.members().to_vec(), proposal.threshold()),
        };
        let bad_dealers = tolerated(dealers.len(), dealt);
        let bad_players = tolerated(proposal.members().len(), proposal.threshold());
        let logs_needed = dealers.len().saturating_sub(bad_dealers);
        Ok(Self { proposal, previous, binding, dealers, logs_needed, bad_dealers, bad_players })
    }

    /// Who gets shares, by ascending index.
    pub(super) fn players(&self) -> &[Member] {
        self.proposal.members()
    }

    pub(super) fn player(&self, index: u8) -> Option<&Member> {
        self.players().get(usize::from(index.checked_sub(1)?))
    }

    pub(super) fn dealer(&self, index: u8) -> Option<&Member> {
        self.dealers.iter().find(|member| member.index == index)
    }

    pub(super) fn dealer_index(&self, identity: &[u8; 32]) -> Option<u8> {
        index_of(&self.dealers, identity)
    }

    pub(super) fn player_index(&self, identity: &[u8; 32]) -> Option<u8> {
        index_of(self.players(), identity)
    }

    /// Everybody once: dealers, then players that do not deal.
    pub(super) fn everybody(&self) -> impl Iterator<Item = &Member> {
        let others = self.players().iter().filter(|player| self.dealer_index(player.identity.as_bytes()).is_none());
        self.dealers.iter().chain(others)
    }

    /// True if the group signed what these marks claim: with the key before, or as the roster before says already.
    pub(super) fn check_marks(&self, marks: &Marks) -> bool {
        let Some(previous) = &self.previous else { return marks.is_empty() };
        let known = Marks { checkpoint: previous.marks().checkpoint, ..Marks::default() };
        let claimed =
            Marks { checkpoint: marks.checkpoint.filter(|mark| known.checkpoint != Some(*mark)), ..marks.clone() };
        claimed.verify(&previous.group_id(), previous.key().key())
    }

    /// What of a member's own marks it can show.
    pub(super) fn known_marks(&self, marks: Marks) -> Marks {
        let Some(previous) = &self.previous else { return Marks::default() };
        if self.check_marks(&marks) {
            return marks;
        }
        Marks { checkpoint: previous.marks().checkpoint, ..marks }
    }

    /// The marks of the outcome: what enough dealers claim, and never less than the roster before has. Members that joined
    /// in the generation before may not have caught up with it, but they deal.
    pub(super) fn combine_marks<'a>(&self, claimed: impl IntoIterator<Item = &'a Marks>) -> Marks {
        let Some(previous) = &self.previous else { return Marks::default() };
        // Absent ones cannot lie, but nobody knows whether they would have been the liars.
        let liars = match self.proposal.kind() {
            Kind::Reshare => tolerated(previous.members().len(), previous.key().threshold()),
            Kind::First | Kind::Fresh => self.bad_dealers,
        };
        Marks::combine(claimed, liars).at_least(&previous.marks())
    }

    /// Players whose word certifies something.
    pub(super) fn quorum(&self) -> usize {
        self.players().len().saturating_sub(self.bad_players)
    }

    /// The player that proposes the set of logs; another one in the next round.
    pub(super) fn leader(&self) -> Option<&Member> {
        let players = u32::try_from(self.players().len()).ok()?;
        let place = self.binding.round.checked_rem(players)?;
        self.players().get(usize::try_from(place).ok()?)
    }

    pub(super) fn fault(&self, identity: &[u8; 32], kind: FaultKind) -> Fault {
        let member = self.everybody().find(|member| member.identity.as_bytes() == identity);
        let name = member.map_or_else(|| hex::encode(identity), |member| member.name.clone());
        Fault { name, identity: *identity, kind }
    }

    /// The public share that a dealer must deal, in a reshare.
    pub(super) fn constant(&self, dealer: u8) -> Option<&PublicKey> {
        let previous = self.previous.as_ref().filter(|_| self.proposal.kind() == Kind::Reshare)?;
        previous.key().share(dealer)
    }

    /// Checks what a dealer commits to, all but the shares.
    pub(super) fn check_commitment(&self, dealer: u8, commitment: &Commitment) -> Result<Vec<PublicKey>, FaultKind> {
        let threshold = self.proposal.threshold();
        if commitment.points.len() != usize::from(threshold) {
            return Err(FaultKind::Degree { expected: threshold, got: commitment.points.len() });
        }
        let read = |point: &[u8; 96]| {
            let fault = || point_fault(point).unwrap_or(FaultKind::Point { reason: "is no key" });
            PublicKey::from_bytes(point).map_err(|_| fault())
        };
        let points = commitment.points.iter().map(read).collect::<Result<Vec<_>, _>>()?;
        let constant = points.first();
        if self.constant(dealer).is_some_and(|expected| Some(expected) != constant) {
            return Err(FaultKind::Constant);
        }
        self.check_possession(dealer, commitment)?;
        Ok(points)
    }

    /// Checks that a dealer of a new key knows its constant. In a reshare that follows from the old share, and a proof
    /// would be a second encoding.
    pub(super) fn check_possession(&self, dealer: u8, commitment: &Commitment) -> Result<(), FaultKind> {
        let due = self.proposal.kind() != Kind::Reshare;
        let proved = match (due, &commitment.possession, commitment.points.first()) {
            (false, None, _) => true,
            (true, Some(possession), Some(constant)) => {
                let message = self.possession_message(dealer, constant);
                let parts = (PublicKey::from_bytes(constant), Signature::from_bytes(possession));
                matches!(parts, (Ok(key), Ok(proof)) if key.verify(message.as_slice(), POSSESSION_DST, &proof))
            }
            _ => false,
        };
        if proved { Ok(()) } else { Err(FaultKind::Possession) }
    }

    /// The proof of a dealer's constant; `None` in a reshare.
    pub(super) fn possession(&self, dealer: u8, constant: &SecretKey) -> Option<[u8; 48]> {
        if self.proposal.kind() == Kind::Reshare {
            return None;
        }
        let message = self.possession_message(dealer, &constant.public_key().compress());
        Some(constant.sign(message.as_slice(), POSSESSION_DST).compress())
    }

    /// keccak(domain ‖ group id ‖ round ‖ generation ‖ proposal digest ‖ dealer u8 ‖ constant 96).
    fn possession_message(&self, dealer: u8, constant: &[u8; 96]) -> B256 {
        let Binding { group_id, round, generation, proposal } = self.binding;
        let (round, generation) = (round.to_be_bytes(), generation.to_be_bytes());
        let domain = keccak256(POSSESSION);
        let parts: [&[u8]; 7] =
            [domain.as_slice(), group_id.as_slice(), &round, &generation, proposal.as_slice(), &[dealer], constant];
        keccak256(parts.concat())
    }

    /// Separates the coefficients of a dealer from those of others and of other ceremonies.
    pub(super) fn dealer_context(&self, dealer: u8) -> B256 {
        keccak256([self.binding.proposal.as_slice(), &[dealer]].concat())
    }
}

fn index_of(members: &[Member], identity: &[u8; 32]) -> Option<u8> {
    members.iter().find(|member| member.identity.as_bytes() == identity).map(|member| member.index)
}

#[cfg(test)]
mod tests;
