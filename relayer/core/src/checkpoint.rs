//! Checkpoints: what the group signs, once for all mailboxes on all chains.

use alloy_primitives::{B256, keccak256};
use serde::{Deserialize, Serialize};

/// Domain of the signed digest.
const DOMAIN: &[u8] = b"lockstep/v1/checkpoint";

/// The state of the group after the applied output at `sequence`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Checkpoint {
    /// Ledger sequence of the last applied output.
    pub sequence: u64,
    /// Hash over all outputs up to there ([`crate::history`]).
    pub history: B256,
    /// Root of the frontier there ([`crate::frontier`]).
    pub root: B256,
}

impl Checkpoint {
    /// The 32 bytes that the group signs: keccak(abi.encode(domain, group id, uint64 sequence, history, root)).
    pub fn digest(&self, group_id: &B256) -> B256 {
        let sequence = B256::left_padding_from(&self.sequence.to_be_bytes());
        keccak256([keccak256(DOMAIN), *group_id, sequence, self.history, self.root].concat())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_part_should_change_the_digest() {
        let base = Checkpoint { sequence: 1, history: B256::repeat_byte(2), root: B256::repeat_byte(3) };
        let group = B256::repeat_byte(4);
        let others = [
            Checkpoint { sequence: 9, ..base }.digest(&group),
            Checkpoint { history: B256::ZERO, ..base }.digest(&group),
            Checkpoint { root: B256::ZERO, ..base }.digest(&group),
            base.digest(&B256::ZERO),
        ];
        assert!(others.iter().all(|other| *other != base.digest(&group)));
    }
}
