//! High-water marks: what a group had signed when its members changed.

use std::collections::BTreeMap;

use alloy_primitives::{B256, keccak256};

use crate::bls::{PublicKey, Signature};
use crate::checkpoint::Checkpoint;
use crate::dkg::bytes::push_count;
use crate::reader::Reader;
use crate::trace::ChainId;

/// Domain of the digest.
const DOMAIN: &[u8] = b"lockstep/v1/dkg/marks";
/// Most chains that marks may list.
const CHAINS_MAX: usize = 255;

/// What a new member may not sign again differently.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Marks {
    /// The newest checkpoint with the group's signature; `None` if there is none yet.
    pub checkpoint: Option<Mark>,
    /// Number of the last decision.
    pub decision: u64,
    /// The next governance nonce of each chain, where it is not 0.
    pub governance: BTreeMap<ChainId, u64>,
}

/// A signed checkpoint. Nobody has to be believed: the group's key says whether it is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// What was signed.
    pub checkpoint: Checkpoint,
    /// The group's signature, a compressed point in G1.
    pub signature: [u8; 48],
}

impl Mark {
    /// True if the group's key signed it.
    pub fn verify(&self, group_id: &B256, key: &PublicKey) -> bool {
        let digest = self.checkpoint.digest(group_id);
        Signature::from_bytes(&self.signature).is_ok_and(|signature| key.verify_digest(&digest, &signature))
    }
}

impl Marks {
    /// True if nothing was ever signed.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// True if the signed checkpoint, if any, is one, and there are not too many chains.
    pub fn verify(&self, group_id: &B256, key: &PublicKey) -> bool {
        let signed = self.checkpoint.as_ref().is_none_or(|mark| mark.verify(group_id, key));
        signed && self.governance.len() <= CHAINS_MAX
    }

    /// keccak(domain ‖ the marks as in a log).
    pub fn digest(&self) -> B256 {
        let mut bytes = keccak256(DOMAIN).to_vec();
        self.push(&mut bytes);
        keccak256(bytes)
    }

    /// The marks that follow from those of several members of whom at most `faulty` may lie: the newest checkpoint, because
    /// it is signed, and of each number the highest that `faulty` + 1 members reach, so that one of these is honest.
    pub fn combine<'a>(all: impl IntoIterator<Item = &'a Self>, faulty: usize) -> Self {
        let all: Vec<_> = all.into_iter().collect();
        let highest = |number: &dyn Fn(&Self) -> u64| {
            let mut numbers: Vec<_> = all.iter().map(|marks| number(marks)).collect();
            numbers.sort_unstable_by(|left, right| right.cmp(left));
            numbers.get(faulty).copied().unwrap_or_default()
        };
        let chains = all.iter().flat_map(|marks| marks.governance.keys());
        let nonce = |chain: &ChainId| {
            (*chain, highest(&|marks: &Self| marks.governance.get(chain).copied().unwrap_or_default()))
        };
        let checkpoints = all.iter().filter_map(|marks| marks.checkpoint);
        Self {
            checkpoint: checkpoints.max_by_key(|mark| mark.checkpoint),
            decision: highest(&|marks| marks.decision),
            governance: chains.map(nonce).filter(|(_, nonce)| *nonce > 0).collect(),
        }
    }

    /// These marks, where they are not below others.
    pub fn at_least(mut self, floor: &Self) -> Self {
        let newest = self.checkpoint.into_iter().chain(floor.checkpoint).max_by_key(|mark| mark.checkpoint);
        (self.checkpoint, self.decision) = (newest, self.decision.max(floor.decision));
        for (chain, nonce) in &floor.governance {
            let own = self.governance.entry(*chain).or_default();
            *own = (*own).max(*nonce);
        }
        self
    }

    pub(crate) fn push(&self, bytes: &mut Vec<u8>) {
        match &self.checkpoint {
            None => bytes.push(0),
            Some(Mark { checkpoint: Checkpoint { sequence, history, root }, signature }) => {
                bytes.push(1);
                bytes.extend_from_slice(&sequence.to_be_bytes());
                bytes.extend([history, root].into_iter().flatten());
                bytes.extend_from_slice(signature);
            }
        }
        bytes.extend_from_slice(&self.decision.to_be_bytes());
        push_count(bytes, self.governance.len());
        for (chain, nonce) in &self.governance {
            bytes.extend([chain, nonce].into_iter().flat_map(|number| number.to_be_bytes()));
        }
    }

    pub(crate) fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let checkpoint = match reader.array()? {
            [0] => None,
            [1] => {
                let sequence = u64::from_be_bytes(reader.array()?);
                let (history, root) = (B256::new(reader.array()?), B256::new(reader.array()?));
                let checkpoint = Checkpoint { sequence, history, root };
                Some(Mark { checkpoint, signature: reader.array()? })
            }
            _ => return None,
        };
        let decision = u64::from_be_bytes(reader.array()?);
        let [count] = reader.array()?;
        let mut governance = BTreeMap::new();
        for _ in 0..count {
            let [chain, nonce] = [reader.array()?, reader.array()?].map(u64::from_be_bytes);
            // Ascending, and none that says nothing: marks have one encoding.
            if nonce == 0 || governance.last_key_value().is_some_and(|(last, _)| *last >= chain) {
                return None;
            }
            governance.insert(chain, nonce);
        }
        Some(Self { checkpoint, decision, governance })
    }
}
