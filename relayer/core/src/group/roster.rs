//! The outcome of a key ceremony: who holds which share of which key from a generation on, and who vouches for it.
//!
//! Two rosters of one generation can exist only when a ceremony was repeated although a quorum had finished it; then the
//! later round counts ([`Roster::supersedes`]). Parts of signatures must therefore name the roster's digest, not only its
//! generation.

mod file;
mod marks;

use std::collections::BTreeMap;

use alloy_primitives::{B256, keccak256};
use thiserror::Error;

use super::{GroupError, Member};
use crate::bls::{BlsError, GroupKey, GroupKeyError, PublicKey};
use crate::dkg::bytes::{check_members, push_count, push_member, read_member};
use crate::dkg::item::{Binding, Body, digest_of, verify};
use crate::dkg::proposal::tolerated;
use crate::reader::Reader;
use crate::{Mix, account};

pub use file::{CheckpointFile, MarksFile, ReadyFile, RosterFile};
pub use marks::{Mark, Marks};

/// Domain of a roster's digest.
const DOMAIN: &[u8] = b"lockstep/v1/dkg/roster";
/// Domain of a roster with its certificate.
const CERTIFIED: &[u8] = b"lockstep/v1/dkg/certified-roster";

/// One generation's public outcome.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Roster {
    group_id: B256,
    generation: u32,
    members: Vec<Member>,
    key: GroupKey,
    certificate: Option<Certificate>,
}

/// Who vouches for a roster, and from where on its members may sign.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// The ceremony's number.
    pub round: u32,
    /// Digest of its proposal.
    pub proposal: B256,
    /// Digest of the set of logs that made the shares.
    pub set: B256,
    /// What the group had signed before.
    pub marks: Marks,
    /// Signatures of [`Body::Ready`] items by the index of the member.
    pub ready: BTreeMap<u8, [u8; 64]>,
}

impl Roster {
    /// The members of a group at its opening. Nobody signed for it: the group file is trusted by itself.
    pub(crate) const fn genesis(group_id: B256, members: Vec<Member>, key: GroupKey) -> Self {
        Self { group_id, generation: 0, members, key, certificate: None }
    }

    /// What a ceremony made, before anybody vouches for it.
    pub const fn uncertified(group_id: B256, generation: u32, members: Vec<Member>, key: GroupKey) -> Self {
        Self { group_id, generation, members, key, certificate: None }
    }

    /// The roster with those who vouch for it.
    ///
    /// # Errors
    /// Signatures that are not those of enough members over exactly this.
    pub fn certified(mut self, certificate: Certificate) -> Result<Self, RosterError> {
        let binding = Binding {
            group_id: self.group_id,
            round: certificate.round,
            generation: self.generation,
            proposal: certificate.proposal,
        };
        let ready = Body::Ready { set: certificate.set, roster: self.digest(), marks: certificate.marks.digest() };
        for (index, signature) in &certificate.ready {
            let member = self.member(*index).ok_or(RosterError::Stranger { index: *index })?;
            let author = member.identity.as_bytes();
            if !verify(author, &digest_of(&binding, author, &ready), signature) {
                return Err(RosterError::Signature { index: *index, name: member.name.clone() });
            }
        }
        let (need, got) = (self.quorum(), certificate.ready.len());
        if got < need {
            return Err(RosterError::Quorum { need, got });
        }
        self.certificate = Some(certificate);
        Ok(self)
    }

    /// The group; fixed for ever.
    pub const fn group_id(&self) -> B256 {
        self.group_id
    }

    /// How often the key was shared anew.
    pub const fn generation(&self) -> u32 {
        self.generation
    }

    /// The group key, the threshold and the public shares.
    pub const fn key(&self) -> &GroupKey {
        &self.key
    }

    /// The members by ascending index; the one with index i stands at i − 1.
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// The member with an index from 1.
    pub fn member(&self, index: u8) -> Option<&Member> {
        self.members.get(usize::from(index.checked_sub(1)?))
    }

    /// The member with an identity key.
    pub fn member_by_identity(&self, identity: &[u8; 32]) -> Option<&Member> {
        self.members.iter().find(|member| member.identity.as_bytes() == identity)
    }

    /// The members as the ledger knows them.
    pub fn mix(&self) -> Mix {
        Mix::of_users(self.members.iter().map(|member| member.user), self.key.threshold())
    }

    /// Who vouches for it; `None` at the opening of a group.
    pub const fn certificate(&self) -> Option<&Certificate> {
        self.certificate.as_ref()
    }

    /// The ceremony that made it; 0 at the opening of a group.
    pub fn round(&self) -> u32 {
        self.certificate.as_ref().map_or(0, |certificate| certificate.round)
    }

    /// What the group had signed before; empty at the opening of a group.
    pub fn marks(&self) -> Marks {
        self.certificate.as_ref().map(|certificate| certificate.marks.clone()).unwrap_or_default()
    }

    /// How many members must vouch for it: n less the faults that a ceremony survives, never less than the threshold.
    pub fn quorum(&self) -> usize {
        let members = self.members.len();
        members.saturating_sub(tolerated(members, self.key.threshold()))
    }

    /// True if this roster counts instead of the other.
    pub fn supersedes(&self, other: &Self) -> bool {
        (self.generation, self.round()) > (other.generation, other.round())
    }

    /// Names the outcome, however it came about: keccak(domain ‖ group id ‖ generation u32 ‖ threshold u8 ‖ key 96 ‖ count u8
    /// and members), where a member is as in a proposal, followed by its public share 96.
    pub fn digest(&self) -> B256 {
        let mut bytes = keccak256(DOMAIN).to_vec();
        self.push(&mut bytes);
        keccak256(bytes)
    }

    fn push(&self, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(self.group_id.as_slice());
        bytes.extend_from_slice(&self.generation.to_be_bytes());
        bytes.push(self.key.threshold());
        bytes.extend_from_slice(&self.key.key().compress());
        push_count(bytes, self.members.len());
        for (member, share) in self.members.iter().zip(self.key.shares()) {
            push_member(bytes, member);
            bytes.extend_from_slice(&share.compress());
        }
    }

    /// The one encoding of a certified roster: keccak(domain) ‖ what the digest covers ‖ round u32 ‖ proposal 32 ‖ set 32 ‖
    /// marks ‖ list of: index u8 ‖ signature 64. `None` at the opening of a group, whose file is the group file.
    pub fn encode(&self) -> Option<Vec<u8>> {
        let certificate = self.certificate.as_ref()?;
        let mut bytes = keccak256(CERTIFIED).to_vec();
        self.push(&mut bytes);
        bytes.extend_from_slice(&certificate.round.to_be_bytes());
        bytes.extend_from_slice(certificate.proposal.as_slice());
        bytes.extend_from_slice(certificate.set.as_slice());
        certificate.marks.push(&mut bytes);
        push_count(&mut bytes, certificate.ready.len());
        for (index, signature) in &certificate.ready {
            bytes.push(*index);
            bytes.extend_from_slice(signature);
        }
        Some(bytes)
    }

    /// Reads a certified roster and checks all of it.
    ///
    /// # Errors
    /// Malformed bytes, keys that are none, shares that do not belong to the key, signatures that are wrong or too few.
    pub fn decode(bytes: &[u8]) -> Result<Self, RosterError> {
        let mut reader = Reader::new(bytes);
        let raw = RawRoster::read(&mut reader).filter(|_| reader.is_empty()).ok_or(RosterError::Malformed)?;
        let shares = raw.shares.iter().map(|share| PublicKey::from_bytes(share)).collect::<Result<_, _>>()?;
        let key = GroupKey::new(raw.threshold, PublicKey::from_bytes(&raw.key)?, shares)?;
        let members = check_members(&raw.members)?;
        Self::uncertified(raw.group_id, raw.generation, members, key).certified(raw.certificate)
    }
}

struct RawRoster {
    group_id: B256,
    generation: u32,
    threshold: u8,
    key: [u8; 96],
    members: Vec<crate::dkg::bytes::RawMember>,
    shares: Vec<[u8; 96]>,
    certificate: Certificate,
}

impl RawRoster {
    fn read(reader: &mut Reader<'_>) -> Option<Self> {
        if reader.array()? != keccak256(CERTIFIED).0 {
            return None;
        }
        let group_id = B256::new(reader.array()?);
        let generation = u32::from_be_bytes(reader.array()?);
        let [threshold] = reader.array()?;
        let key = reader.array()?;
        let [count] = reader.array()?;
        if usize::from(count) > account::MEMBERS_MAX {
            return None;
        }
        let (mut members, mut shares) = (Vec::new(), Vec::new());
        for _ in 0..count {
            members.push(read_member(reader)?);
            shares.push(reader.array()?);
        }
        let round = u32::from_be_bytes(reader.array()?);
        let (proposal, set) = (B256::new(reader.array()?), B256::new(reader.array()?));
        let marks = Marks::read(reader)?;
        let [count] = reader.array()?;
        let mut ready = BTreeMap::new();
        let mut last = 0;
        for _ in 0..count {
            let [index] = reader.array()?;
            // Ascending, so that one certificate has one encoding.
            if index <= last {
                return None;
            }
            last = index;
            ready.insert(index, reader.array()?);
        }
        let certificate = Certificate { round, proposal, set, marks, ready };
        Some(Self { group_id, generation, threshold, key, members, shares, certificate })
    }
}

/// Why a roster is refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum RosterError {
    /// A field, as in a group file.
    #[error(transparent)]
    Field(#[from] GroupError),
    /// Not the one encoding of a roster.
    #[error("not a well-formed roster")]
    Malformed,
    /// A key that is none.
    #[error("the roster holds what is no key")]
    PublicKey(#[from] BlsError),
    /// Shares that do not belong to the key.
    #[error("`threshold`, `key` and the members' `public_share` do not fit together")]
    Key(#[from] GroupKeyError),
    /// A signature of nobody.
    #[error("the roster is signed by index {index}, which no member has")]
    Stranger {
        /// The index.
        index: u8,
    },
    /// A signature that is not the member's over this roster.
    #[error("the signature of member {index} ({name}) under the roster is wrong")]
    Signature {
        /// The member.
        index: u8,
        /// Its name.
        name: String,
    },
    /// Too few vouch for it.
    #[error("{got} members vouch for the roster, {need} are needed")]
    Quorum {
        /// Needed.
        need: usize,
        /// Found.
        got: usize,
    },
    /// A chain that is none.
    #[error("`marks.governance` names what is no chain id")]
    Chain,
}
