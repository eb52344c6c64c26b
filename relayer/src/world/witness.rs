//! What members remember of each other's promises: how far each one's go, in its own words and signed by it.

use std::fmt;

use alloy::primitives::keccak256;
use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use lockstep_core::B256;
use serde::{Deserialize, Serialize};

/// What the signed bytes begin with.
const TAG: &[u8] = b"lockstep/v1/guard-head";

/// How far a member's promises go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reach {
    /// How many promises there were; each has a number.
    pub count: u64,
    /// Hash of the chain of all of them; zero before the first.
    pub hash: B256,
    /// The highest checkpoint among them.
    pub checkpoint: u64,
    /// How many of them were about a coin.
    pub coins: u64,
}

impl fmt::Display for Reach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.count {
            0 => f.write_str("no promise at all"),
            count => write!(f, "{count} promises (checkpoints up to {}, {} of coins)", self.checkpoint, self.coins),
        }
    }
}

/// A member's own word on how far its promises go. It may be handed on: nobody else can say it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GuardHead {
    /// ed25519 public key of who says it.
    #[serde(with = "hex::serde")]
    pub identity: [u8; 32],
    /// How far.
    pub reach: Reach,
    /// ed25519 over the rest, within a group.
    #[serde(with = "hex::serde")]
    pub signature: [u8; 64],
}

impl GuardHead {
    /// Says how far this member's promises go.
    pub fn sign(group_id: B256, reach: Reach, identity: &SigningKey) -> Self {
        let key = identity.verifying_key().to_bytes();
        let signature = identity.sign(digest(group_id, &key, &reach).as_slice()).to_bytes();
        Self { identity: key, reach, signature }
    }

    /// True for a head that the owner of [`Self::identity`] signed for this group.
    pub fn is_authentic(&self, group_id: B256) -> bool {
        let digest = digest(group_id, &self.identity, &self.reach);
        let signature = Signature::from_bytes(&self.signature);
        VerifyingKey::from_bytes(&self.identity)
            .is_ok_and(|key| key.verify_strict(digest.as_slice(), &signature).is_ok())
    }
}

fn digest(group_id: B256, identity: &[u8; 32], reach: &Reach) -> B256 {
    let Reach { count, hash, checkpoint, coins } = reach;
    let (count, checkpoint, coins) = (count.to_be_bytes(), checkpoint.to_be_bytes(), coins.to_be_bytes());
    keccak256([TAG, group_id.as_slice(), identity, &count, hash.as_slice(), &checkpoint, &coins].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn head_that_its_member_did_not_sign_should_be_refused() {
        let (group, identity) = (B256::repeat_byte(7), SigningKey::from_bytes(&[1; 32]));
        let reach = Reach { count: 5, hash: B256::repeat_byte(5), checkpoint: 130, coins: 2 };
        let head = GuardHead::sign(group, reach, &identity);
        assert!(head.is_authentic(group));
        assert!(!head.is_authentic(B256::ZERO), "of another group");
        for reach in [
            Reach { count: 6, ..reach },
            Reach { hash: B256::ZERO, ..reach },
            Reach { checkpoint: 131, ..reach },
            Reach { coins: 3, ..reach },
        ] {
            assert!(!GuardHead { reach, ..head.clone() }.is_authentic(group));
        }
        let other = SigningKey::from_bytes(&[2; 32]).verifying_key().to_bytes();
        assert!(!GuardHead { identity: other, ..head }.is_authentic(group));
    }
}
