//! Shares of the group's key, as a member holds them.

use std::sync::Arc;

use lockstep_core::B256;
use lockstep_core::bls::{PublicKey, SecretShare};
use serde::{Deserialize, Serialize};

/// A share of a group's key, with everything that says which one it is. Clones share the secret, which is wiped when the
/// last one is dropped.
#[derive(Clone, Debug)]
pub struct HeldShare {
    /// The group.
    pub group_id: B256,
    /// The sharing of its key.
    pub generation: u32,
    /// How many members of that generation must sign.
    pub threshold: u8,
    /// The group's key, the same in every generation unless it was made anew.
    pub group_key: PublicKey,
    /// The secret and the member's index.
    pub secret: Arc<SecretShare>,
}

impl HeldShare {
    /// What others may know.
    pub fn public(&self) -> PublicShare {
        PublicShare {
            group_id: self.group_id,
            generation: self.generation,
            index: self.secret.index(),
            threshold: self.threshold,
            group_key: self.group_key.compress(),
            public_share: self.secret.public_key().compress(),
        }
    }
}

/// What others may know of a share.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PublicShare {
    /// The group.
    pub group_id: B256,
    /// The sharing of its key.
    pub generation: u32,
    /// The member's index, from 1.
    pub index: u8,
    /// How many must sign.
    pub threshold: u8,
    /// The group's key, compressed.
    #[serde(with = "hex::serde")]
    pub group_key: [u8; 96],
    /// The public share, compressed.
    #[serde(with = "hex::serde")]
    pub public_share: [u8; 96],
}
