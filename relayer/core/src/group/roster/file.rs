//! `generation-<g>.toml`: a certified roster as it is written to a file.

use std::collections::BTreeMap;

use alloy_primitives::B256;
use serde::{Deserialize, Serialize};

use super::{Certificate, Mark, Marks, Roster, RosterError};
use crate::bls::GroupKey;
use crate::checkpoint::Checkpoint;
use crate::group::file::{bytes, hash, members, public_key};
use crate::group::{GroupError, MemberFile};

/// The file. Unknown keys are refused; byte strings are hex with or without `0x`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RosterFile {
    /// The group, 32 bytes.
    pub group_id: String,
    /// How often the key was shared anew.
    pub generation: u32,
    /// How many members must sign.
    pub threshold: u8,
    /// The group's BLS public key in G2.
    pub key: String,
    /// Number of the ceremony.
    pub round: u32,
    /// Digest of its proposal.
    pub proposal: String,
    /// Digest of the set of logs that made the shares.
    pub set: String,
    /// What the group had signed before.
    pub marks: MarksFile,
    /// The members, in any order.
    pub members: Vec<MemberFile>,
    /// Who vouches for it, in any order.
    pub ready: Vec<ReadyFile>,
}

/// The table `marks`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MarksFile {
    /// Number of the last decision.
    pub decision: u64,
    /// The newest signed checkpoint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checkpoint: Option<CheckpointFile>,
    /// Next governance nonce by chain.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub governance: BTreeMap<String, u64>,
}

/// The table `marks.checkpoint`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CheckpointFile {
    /// Ledger sequence.
    pub sequence: u64,
    /// 32 bytes.
    pub history: String,
    /// 32 bytes.
    pub root: String,
    /// The group's signature, 48 bytes.
    pub signature: String,
}

/// An entry of `ready`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReadyFile {
    /// The member.
    pub index: u8,
    /// Its ed25519 signature, 64 bytes.
    pub signature: String,
}

impl Roster {
    /// Validates a file, all of it.
    ///
    /// # Errors
    /// The first rule that is broken, with the place in the file.
    pub fn parse(file: &RosterFile) -> Result<Self, RosterError> {
        let (members, shares) = members(&file.members)?;
        let key = GroupKey::new(file.threshold, public_key("key", &file.key)?, shares)?;
        let mut ready = BTreeMap::new();
        for (i, entry) in file.ready.iter().enumerate() {
            let signature = bytes(&format!("ready[{i}].signature"), &entry.signature)?;
            if ready.insert(entry.index, signature).is_some() {
                let value = entry.index.to_string();
                return Err(GroupError::Duplicate { field: "ready.index".into(), value }.into());
            }
        }
        let certificate = Certificate {
            round: file.round,
            proposal: hash("proposal", &file.proposal)?,
            set: hash("set", &file.set)?,
            marks: marks(&file.marks)?,
            ready,
        };
        let group_id = hash("group_id", &file.group_id)?;
        Self::uncertified(group_id, file.generation, members, key).certified(certificate)
    }

    /// The roster as it is written to a file; `None` at the opening of a group, whose file is the group file.
    pub fn to_file(&self) -> Option<RosterFile> {
        let certificate = self.certificate()?;
        let shares = self.members().iter().zip(self.key().shares());
        let members = shares.map(|(member, share)| MemberFile {
            index: member.index,
            name: member.name.clone(),
            user: member.user,
            identity: hex::encode(member.identity.as_bytes()),
            peer: member.peer.clone(),
            public_share: hex::encode(share.to_eip2537()),
        });
        let checkpoint = certificate.marks.checkpoint.map(|mark| CheckpointFile {
            sequence: mark.checkpoint.sequence,
            history: mark.checkpoint.history.to_string(),
            root: mark.checkpoint.root.to_string(),
            signature: hex::encode(mark.signature),
        });
        let governance =
            certificate.marks.governance.iter().map(|(chain, nonce)| (chain.to_string(), *nonce)).collect();
        let ready = certificate.ready.iter().map(|(index, by)| ReadyFile { index: *index, signature: hex::encode(by) });
        Some(RosterFile {
            group_id: self.group_id().to_string(),
            generation: self.generation(),
            threshold: self.key().threshold(),
            key: hex::encode(self.key().key().to_eip2537()),
            round: certificate.round,
            proposal: certificate.proposal.to_string(),
            set: certificate.set.to_string(),
            marks: MarksFile { decision: certificate.marks.decision, checkpoint, governance },
            members: members.collect(),
            ready: ready.collect(),
        })
    }
}

fn marks(file: &MarksFile) -> Result<Marks, RosterError> {
    let mark = |file: &CheckpointFile| -> Result<Mark, GroupError> {
        let of = |text: &str, key: &str| -> Result<B256, GroupError> { hash(&format!("marks.checkpoint.{key}"), text) };
        let (history, root) = (of(&file.history, "history")?, of(&file.root, "root")?);
        let checkpoint = Checkpoint { sequence: file.sequence, history, root };
        Ok(Mark { checkpoint, signature: bytes("marks.checkpoint.signature", &file.signature)? })
    };
    let mut governance = BTreeMap::new();
    for (chain, nonce) in &file.governance {
        let id = chain.parse().map_err(|_| RosterError::Chain)?;
        governance.insert(id, *nonce);
    }
    Ok(Marks { checkpoint: file.checkpoint.as_ref().map(mark).transpose()?, decision: file.decision, governance })
}
