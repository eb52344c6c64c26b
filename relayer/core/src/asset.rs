//! Kernel asset ids.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha3::{Digest, Sha3_256};
use uuid::Uuid;

/// The 32-byte kernel id of an asset: SHA3-256 of its UUID as text (kernel `crypto.Sha256Hash`). UUIDs are for display only.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct AssetId(#[serde(with = "hex::serde")] pub [u8; 32]);

impl AssetId {
    /// The id that stands for "no payment" in a message.
    pub const NONE: Self = Self([0; 32]);

    /// The kernel id of the asset that the ledger's API names by `uuid`.
    pub fn from_uuid(uuid: Uuid) -> Self {
        Self(Sha3_256::digest(uuid.hyphenated().to_string().as_bytes()).into())
    }
}

impl FromStr for AssetId {
    type Err = hex::FromHexError;

    fn from_str(text: &str) -> Result<Self, hex::FromHexError> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(text, &mut bytes)?;
        Ok(Self(bytes))
    }
}

impl fmt::Display for AssetId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for AssetId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AssetId({self})")
    }
}
