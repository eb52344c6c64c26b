//! What is proposed: who shares which key among whom, and by when.

use std::collections::BTreeSet;

use alloy_primitives::{B256, keccak256};
use serde::{Deserialize, Serialize};
use thiserror::Error;
use uuid::Uuid;

use super::bytes::push_member;
use crate::bls::{GroupKeyError, check_size};
use crate::group::file::{self, Person};
use crate::group::roster::Roster;
use crate::group::{GroupError, Member};

/// Domain of a proposal's digest.
const DOMAIN: &[u8] = b"lockstep/v1/dkg/proposal";
/// Longest phase: thirty days, in seconds. A longer one is a slip of the unit.
pub const PHASE_MAX_S: u32 = 30 * 24 * 3600;

/// How many members of a set may be bad, at most, for its ceremony to be safe: ⌊(n − 1) / 3⌋ (two quorums of n − f share an
/// honest member), n − t (the others can sign), ⌊(t − 1) / 2⌋ (their shares and as many published ones give nothing away).
pub fn tolerated(members: usize, threshold: u8) -> usize {
    let threshold = usize::from(threshold);
    let third = members.saturating_sub(1) / 3;
    third.min(members.saturating_sub(threshold)).min(threshold.saturating_sub(1) / 2)
}

/// What a ceremony makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// The first key of a group: Joint-Feldman (Pedersen 1991) among the members.
    First,
    /// New shares of the same key for other members or another threshold: Desmedt-Jajodia 1997, dealt by the old members.
    Reshare,
    /// A new key for the same or other members, made like the first.
    Fresh,
}

/// How long each phase may take, in seconds. They are counted one after the other from when everybody has joined.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Deadlines {
    /// From the start until everybody has joined.
    pub join: u32,
    /// Until the dealers have the players' receipts.
    pub deal: u32,
    /// Until the leader has the dealers' logs.
    pub log: u32,
    /// Until a quorum has signed one set of logs.
    pub agree: u32,
    /// Until a quorum has its shares.
    pub finish: u32,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self { join: 24 * 3600, deal: 600, log: 300, agree: 300, finish: 300 }
    }
}

/// `proposal.toml`: the same file at every operator. Unknown keys are refused; byte strings are hex with or without `0x`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProposalFile {
    /// The group, 32 bytes.
    pub group_id: String,
    /// Counts ceremonies of the group, failed ones too. Never used twice.
    pub round: u32,
    /// What is made.
    pub kind: Kind,
    /// The generation that is made.
    pub generation: u32,
    /// How many of the new members must sign.
    pub threshold: u8,
    /// Digest of the roster before; left out in a first ceremony.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<String>,
    /// Indexes of old members that are known to be gone, so that nobody waits for their dealing. Reshares only.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub absent: Vec<u8>,
    /// How long each phase may take.
    #[serde(default)]
    pub deadlines: Deadlines,
    /// The new members, in any order.
    pub members: Vec<ProposalMember>,
}

/// An entry of `members`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProposalMember {
    /// 1 to n.
    pub index: u8,
    /// Lower-case letters, digits and hyphens.
    pub name: String,
    /// Ledger user.
    pub user: Uuid,
    /// ed25519 public key, 32 bytes.
    pub identity: String,
    /// `http://host:port` or `https://host`.
    pub peer: String,
}

/// A valid proposal. Made only by [`Proposal::parse`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proposal {
    group_id: B256,
    round: u32,
    kind: Kind,
    generation: u32,
    threshold: u8,
    previous: Option<B256>,
    absent: BTreeSet<u8>,
    deadlines: Deadlines,
    members: Vec<Member>,
}

impl Proposal {
    /// Validates a file: every rule that can be checked without the roster before.
    ///
    /// # Errors
    /// The first rule that is broken, with the place in the file.
    pub fn parse(file: &ProposalFile) -> Result<Self, ProposalError> {
        let people = file.members.iter().map(|member| Person {
            index: member.index,
            name: &member.name,
            user: member.user,
            identity: &member.identity,
            peer: &member.peer,
        });
        let proposal = Self {
            group_id: file::hash("group_id", &file.group_id)?,
            round: file.round,
            kind: file.kind,
            generation: file.generation,
            threshold: file.threshold,
            previous: file.previous.as_deref().map(|text| file::hash("previous", text)).transpose()?,
            absent: file.absent.iter().copied().collect(),
            deadlines: file.deadlines,
            members: file::people(people)?,
        };
        proposal.check()?;
        Ok(proposal)
    }

    fn check(&self) -> Result<(), ProposalError> {
        if self.group_id.is_zero() {
            return Err(GroupError::Zero { field: "group_id".into() }.into());
        }
        check_size(self.threshold, self.members.len())?;
        let first = self.kind == Kind::First;
        if first != self.previous.is_none() || first != (self.generation == 0) {
            return Err(ProposalError::Kind { kind: self.kind, generation: self.generation });
        }
        if !self.absent.is_empty() && self.kind != Kind::Reshare {
            return Err(ProposalError::Absent);
        }
        let Deadlines { join, deal, log, agree, finish } = self.deadlines;
        let phases = [("join", join), ("deal", deal), ("log", log), ("agree", agree), ("finish", finish)];
        for (phase, seconds) in phases {
            file::bounds(format!("deadlines.{phase}"), seconds.into(), 1, PHASE_MAX_S.into())?;
        }
        Ok(())
    }

    /// Checks the proposal against the roster that it follows.
    ///
    /// # Errors
    /// Another roster, another group, a generation that does not follow, or too few dealers left for the old threshold.
    pub fn check_previous(&self, previous: Option<&Roster>) -> Result<(), ProposalError> {
        if self.previous != previous.map(Roster::digest) {
            return Err(ProposalError::Previous { named: self.previous, known: previous.map(Roster::digest) });
        }
        let Some(previous) = previous else { return Ok(()) };
        if self.group_id != previous.group_id() {
            return Err(ProposalError::Group { named: self.group_id, known: previous.group_id() });
        }
        if previous.generation().checked_add(1) != Some(self.generation) {
            return Err(ProposalError::Generation { named: self.generation, known: previous.generation() });
        }
        if let Some(index) = self.absent.iter().find(|index| previous.member(**index).is_none()) {
            return Err(ProposalError::Unknown { index: *index });
        }
        let left = previous.members().len().saturating_sub(self.absent.len());
        let need = usize::from(previous.key().threshold());
        if left < need {
            return Err(ProposalError::Dealers { left, need });
        }
        Ok(())
    }

    /// The group.
    pub const fn group_id(&self) -> B256 {
        self.group_id
    }

    /// Counts the group's ceremonies.
    pub const fn round(&self) -> u32 {
        self.round
    }

    /// What is made.
    pub const fn kind(&self) -> Kind {
        self.kind
    }

    /// The generation that is made.
    pub const fn generation(&self) -> u32 {
        self.generation
    }

    /// How many of the new members must sign.
    pub const fn threshold(&self) -> u8 {
        self.threshold
    }

    /// Digest of the roster before.
    pub const fn previous(&self) -> Option<B256> {
        self.previous
    }

    /// Indexes of old members that are known to be gone.
    pub const fn absent(&self) -> &BTreeSet<u8> {
        &self.absent
    }

    /// How long each phase may take.
    pub const fn deadlines(&self) -> Deadlines {
        self.deadlines
    }

    /// The new members by ascending index; the one with index i stands at i − 1.
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// Names the ceremony: keccak(domain ‖ group id ‖ round u32 ‖ kind u8 ‖ generation u32 ‖ threshold u8 ‖ previous: 0, or
    /// 1 ‖ 32 ‖ count u8 and absent indexes ‖ five deadlines u32 ‖ count u8 and members), where a member is index u8 ‖ name
    /// ‖ user 16 ‖ identity 32 ‖ peer, and a text is preceded by its length u16.
    pub fn digest(&self) -> B256 {
        let mut bytes = keccak256(DOMAIN).to_vec();
        bytes.extend_from_slice(self.group_id.as_slice());
        bytes.extend_from_slice(&self.round.to_be_bytes());
        bytes.push(match self.kind {
            Kind::First => 0,
            Kind::Reshare => 1,
            Kind::Fresh => 2,
        });
        bytes.extend_from_slice(&self.generation.to_be_bytes());
        bytes.push(self.threshold);
        match &self.previous {
            None => bytes.push(0),
            Some(digest) => {
                bytes.push(1);
                bytes.extend_from_slice(digest.as_slice());
            }
        }
        bytes.push(u8::try_from(self.absent.len()).unwrap_or(u8::MAX));
        bytes.extend(self.absent.iter());
        let Deadlines { join, deal, log, agree, finish } = self.deadlines;
        for seconds in [join, deal, log, agree, finish] {
            bytes.extend_from_slice(&seconds.to_be_bytes());
        }
        bytes.push(u8::try_from(self.members.len()).unwrap_or(u8::MAX));
        for member in &self.members {
            push_member(&mut bytes, member);
        }
        keccak256(bytes)
    }

    /// The proposal as it is written to a file.
    pub fn to_file(&self) -> ProposalFile {
        let member = |member: &Member| ProposalMember {
            index: member.index,
            name: member.name.clone(),
            user: member.user,
            identity: hex::encode(member.identity.as_bytes()),
            peer: member.peer.clone(),
        };
        ProposalFile {
            group_id: self.group_id.to_string(),
            round: self.round,
            kind: self.kind,
            generation: self.generation,
            threshold: self.threshold,
            previous: self.previous.map(|digest| digest.to_string()),
            absent: self.absent.iter().copied().collect(),
            deadlines: self.deadlines,
            members: self.members.iter().map(member).collect(),
        }
    }
}

/// Why a proposal is refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ProposalError {
    /// A field, as in a group file.
    #[error(transparent)]
    Field(#[from] GroupError),
    /// A threshold without a majority, or too many members.
    #[error("`threshold` and the number of `members` do not fit together")]
    Size(#[from] GroupKeyError),
    /// A first ceremony makes generation 0 and follows nothing; the others make a later one and follow a roster.
    #[error(
        "a ceremony of kind {kind:?} cannot make generation {generation}, or `previous` is there or missing wrongly"
    )]
    Kind {
        /// What is made.
        kind: Kind,
        /// The generation.
        generation: u32,
    },
    /// Absent dealers where the new members deal.
    #[error("`absent` names old members, who deal in a reshare only")]
    Absent,
    /// It follows another roster than this member's.
    #[error("the proposal follows roster {named:?}, this member's is {known:?}")]
    Previous {
        /// What the proposal names.
        named: Option<B256>,
        /// The member's own.
        known: Option<B256>,
    },
    /// Another group.
    #[error("the proposal is for group {named}, this member's is {known}")]
    Group {
        /// What the proposal names.
        named: B256,
        /// The member's own.
        known: B256,
    },
    /// A generation that does not follow.
    #[error("the proposal makes generation {named}, but the current one is {known}")]
    Generation {
        /// What the proposal names.
        named: u32,
        /// The member's own.
        known: u32,
    },
    /// An absent member that the old roster does not have.
    #[error("`absent` names {index}, which is no index of an old member")]
    Unknown {
        /// The index.
        index: u8,
    },
    /// The old key cannot be shared anew by so few.
    #[error("without the absent ones {left} old members can deal, {need} are needed")]
    Dealers {
        /// Who can deal.
        left: usize,
        /// The old threshold.
        need: usize,
    },
}

#[cfg(test)]
mod tests;
