//! A member's secrets: what is in its key file, and how that is made.
//!
//! The file is JSON, readable by its owner only, and says how it is protected; `none` is the only protection so far. No
//! secret is ever shown: not by `Debug`, not in an error, not in a log.

mod deal;
mod file;

use std::path::Path;

use alloy::signers::local::PrivateKeySigner;
use ed25519_dalek::SigningKey;
use lockstep_core::bls::SecretShare;
use lockstep_core::group::Group;
use lockstep_core::{Address, B256, Uuid};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::ledger::{Keystore, Seed};

pub use deal::{DealError, DealMember, DealTerms, Dealt, XIN, deal};

/// Gives 32 random bytes at each call. Passed in, so that tests can repeat what happened.
pub type Entropy<'a> = &'a mut dyn FnMut() -> [u8; 32];

/// The operating system's entropy.
pub fn system_entropy() -> [u8; 32] {
    rand::random()
}

/// All secrets of one member.
#[derive(Debug)]
pub struct MemberKeys {
    /// For people; stands in the group file.
    pub name: String,
    /// Signs what the member says to peers.
    pub identity: SigningKey,
    /// Pays for gas.
    pub evm: PrivateKeySigner,
    /// Acts on the ledger.
    pub ledger: Keystore,
    /// The share of the group's key, once there is one.
    pub share: Option<HeldShare>,
}

/// A share of a group's key, with the group it belongs to.
#[derive(Debug)]
pub struct HeldShare {
    /// The group.
    pub group_id: B256,
    /// The sharing of its key.
    pub generation: u32,
    /// The secret and the member's index.
    pub secret: SecretShare,
}

impl MemberKeys {
    /// New secrets without a share. `ledger` is what the ledger's dashboard gave; without it a user is made up that no
    /// ledger knows yet.
    ///
    /// # Errors
    /// [`KeyError::Entropy`] where the entropy gives no key at all.
    pub fn generate(name: &str, ledger: Option<Keystore>, random: Entropy<'_>) -> Result<Self, KeyError> {
        let uuid = |bytes: [u8; 32]| {
            let half = bytes.first_chunk::<16>().copied().unwrap_or_default();
            uuid::Builder::from_random_bytes(half).into_uuid()
        };
        let ledger = ledger.unwrap_or_else(|| Keystore {
            app_id: uuid(random()),
            session_id: uuid(random()),
            session_private_key: Seed::new(random()),
            server_public_key: crate::ledger::wire::Hex32([0; 32]),
            spend_private_key: Seed::new(random()),
        });
        let identity = SigningKey::from_bytes(&random());
        // One value in 2¹²⁸ is no key of secp256k1; entropy that gives several in a row is broken.
        let evm = (0..4).find_map(|_| PrivateKeySigner::from_bytes(&random().into()).ok()).ok_or(KeyError::Entropy)?;
        Ok(Self { name: name.to_owned(), identity, evm, ledger, share: None })
    }

    /// What others may know.
    pub fn public(&self) -> PublicKeys {
        let spend = SigningKey::from_bytes(self.ledger.spend_private_key.expose());
        PublicKeys {
            name: self.name.clone(),
            user: self.ledger.app_id,
            identity: hex::encode(self.identity.verifying_key().as_bytes()),
            spend_public_key: hex::encode(spend.verifying_key().as_bytes()),
            evm_address: self.evm.address(),
            index: self.share.as_ref().map(|share| share.secret.index()),
            public_share: self.share.as_ref().map(|share| hex::encode(share.secret.public_key().compress())),
        }
    }

    /// Reads a key file.
    ///
    /// # Errors
    /// Refuses a file that others can read, and one that is not a key file.
    pub fn load(path: &Path) -> Result<Self, KeyError> {
        file::load(path)
    }

    /// Writes a key file that only its owner can read. It is complete or not there, also after a power cut.
    ///
    /// # Errors
    /// Where it cannot be written; unless `replace`, also where it exists.
    pub fn save(&self, path: &Path, replace: bool) -> Result<(), KeyError> {
        file::save(self, path, replace)
    }

    /// Takes out the share, after checking that these are the secrets of member `index` of `group`.
    ///
    /// # Errors
    /// What does not fit, each told apart.
    pub fn into_member_of(self, group: &Group, index: u8) -> Result<MemberSecrets, KeyError> {
        let other = |what| KeyError::OtherMember { index, what };
        let member = group.member(index).ok_or(other("index"))?;
        if self.identity.verifying_key() != member.identity {
            return Err(other("identity key"));
        }
        if self.ledger.app_id != member.user {
            return Err(other("ledger user"));
        }
        let share = self.share.ok_or(KeyError::NoShare)?;
        if share.group_id != group.id() {
            return Err(KeyError::OtherGroup { expected: group.id(), found: share.group_id });
        }
        if share.generation != group.generation() {
            return Err(KeyError::OtherGeneration { expected: group.generation(), found: share.generation });
        }
        if share.secret.index() != index {
            return Err(other("index of the share"));
        }
        if group.key().share(index) != Some(&share.secret.public_key()) {
            return Err(KeyError::WrongShare { index });
        }
        Ok(MemberSecrets { identity: self.identity, evm: self.evm, ledger: self.ledger, share: share.secret })
    }
}

/// The secrets of a member, proven to be those that the group file names.
#[derive(Debug)]
pub struct MemberSecrets {
    /// Signs what the member says to peers.
    pub identity: SigningKey,
    /// Pays for gas.
    pub evm: PrivateKeySigner,
    /// Acts on the ledger.
    pub ledger: Keystore,
    /// Signs the member's part.
    pub share: SecretShare,
}

/// What others may know of a member's keys.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublicKeys {
    /// For people.
    pub name: String,
    /// Ledger user.
    pub user: Uuid,
    /// ed25519, hex.
    pub identity: String,
    /// The ledger's spend key, ed25519, hex.
    pub spend_public_key: String,
    /// Needs gas money.
    pub evm_address: Address,
    /// Index in the group, once there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub index: Option<u8>,
    /// BLS public share, compressed, hex.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub public_share: Option<String>,
}

/// Why there are no keys, or not these.
#[derive(Debug, Error)]
pub enum KeyError {
    /// Not there, or not readable.
    #[error("cannot read the key file `{path}`")]
    Read {
        /// The file.
        path: String,
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
    /// Somebody else can read it.
    #[error("the key file `{path}` can be read by others (mode {mode:03o}): chmod 600 it, and think about who read it")]
    Exposed {
        /// The file.
        path: String,
        /// Its permission bits.
        mode: u32,
    },
    /// Not a key file of a known form. The cause is not repeated: it might quote a secret.
    #[error("`{path}` is not a key file: {what}")]
    Malformed {
        /// The file.
        path: String,
        /// Which part, without its value.
        what: String,
    },
    /// Not written.
    #[error("cannot write the key file `{path}`")]
    Write {
        /// The file.
        path: String,
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
    /// Random bytes that are no keys.
    #[error("the system's entropy gives no keys")]
    Entropy,
    /// A member before its group.
    #[error("the key file holds no share of a group key: `lockstep keygen group` gives one")]
    NoShare,
    /// Another member's file, or another index in the configuration.
    #[error("the key file is not that of member {index}: its {what} differs from the group file")]
    OtherMember {
        /// The configured index.
        index: u8,
        /// What differs.
        what: &'static str,
    },
    /// A share of another group.
    #[error("the share in the key file belongs to group {found}, the group file is of {expected}")]
    OtherGroup {
        /// The group file's.
        expected: B256,
        /// The key file's.
        found: B256,
    },
    /// A share from before or after a reshare.
    #[error("the share in the key file is of generation {found}, the group file of {expected}")]
    OtherGeneration {
        /// The group file's.
        expected: u32,
        /// The key file's.
        found: u32,
    },
    /// A share of another key.
    #[error("the share in the key file does not fit the group key: member {index} has another public share there")]
    WrongShare {
        /// The member.
        index: u8,
    },
}

#[cfg(test)]
pub(crate) mod tests;
