//! A member's secrets: what is in its key file, and how that is made.
//!
//! The file is encrypted under a passphrase ([`envelope`]), readable by its owner only ([`disk`]), and changed whole or not
//! at all ([`Keyring`]). No secret is ever shown: not by `Debug`, not in an error, not in a log.

mod cost;
mod deal;
mod disk;
mod envelope;
mod error;
mod passphrase;
mod ring;
mod secrets;
mod share;

use std::collections::BTreeMap;
use std::sync::Arc;

use alloy::signers::local::PrivateKeySigner;
use ed25519_dalek::SigningKey;
use lockstep_core::bls::SecretShare;
use lockstep_core::group::Group;
use lockstep_core::{Address, Uuid};
use serde::{Deserialize, Serialize};

use crate::ledger::{Keystore, Seed};

pub use cost::{Cost, CostError, Floor};
pub use deal::{DealError, DealMember, DealTerms, Dealt, XIN, deal};
pub use disk::FileError;
pub use envelope::EnvelopeError;
pub use error::KeyError;
pub use passphrase::{LEAST_BYTES, Passphrase, PassphraseError, Source, VARIABLE};
pub use ring::Keyring;
pub use share::{HeldShare, PublicShare};

/// What a member's key file is called.
pub const KEY_FILE: &str = "member.keys";

/// Gives 32 random bytes at each call. Passed in, so that tests can repeat what happened.
pub type Entropy<'a> = &'a mut dyn FnMut() -> [u8; 32];

/// The operating system's entropy.
pub fn system_entropy() -> [u8; 32] {
    rand::random()
}

/// All secrets of one member.
#[derive(Clone, Debug)]
pub struct MemberKeys {
    /// For people; stands in the group file.
    pub name: String,
    /// Signs what the member says to peers.
    pub identity: SigningKey,
    /// Pays for gas.
    pub evm: PrivateKeySigner,
    /// Acts on the ledger.
    pub ledger: Keystore,
    /// Shares of the group's key by generation: the one that signs, the one before until it is erased, the next until it is
    /// active. All of one group.
    pub shares: BTreeMap<u32, HeldShare>,
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
        Ok(Self { name: name.to_owned(), identity, evm, ledger, shares: BTreeMap::new() })
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
            shares: self.shares.values().map(HeldShare::public).collect(),
        }
    }

    /// Takes a share in. False where it is held already.
    ///
    /// # Errors
    /// Refuses another share of a generation that is held, and a share of another group than those that are.
    pub fn hold(&mut self, share: HeldShare) -> Result<bool, KeyError> {
        if let Some(other) = self.shares.values().find(|held| held.group_id != share.group_id) {
            return Err(KeyError::OtherGroup { expected: other.group_id, found: share.group_id });
        }
        if let Some(held) = self.shares.get(&share.generation) {
            let is_same = held.public() == share.public();
            return if is_same { Ok(false) } else { Err(KeyError::ShareExists { generation: share.generation }) };
        }
        self.shares.insert(share.generation, share);
        Ok(true)
    }

    /// What member `index` of `group` signs with, after checking that these are its secrets and that its share belongs to the
    /// group's generation.
    ///
    /// # Errors
    /// What does not fit, each told apart.
    pub fn member_of(&self, group: &Group, index: u8) -> Result<MemberSecrets, KeyError> {
        let other = |what| KeyError::OtherMember { index, what };
        let member = group.member(index).ok_or(other("index"))?;
        if self.identity.verifying_key() != member.identity {
            return Err(other("identity key"));
        }
        if self.ledger.app_id != member.user {
            return Err(other("ledger user"));
        }
        let any = self.shares.values().next().ok_or(KeyError::NoShare)?;
        if any.group_id != group.id() {
            return Err(KeyError::OtherGroup { expected: group.id(), found: any.group_id });
        }
        let expected = group.generation();
        let found = || KeyError::OtherGeneration { expected, found: self.shares.keys().copied().collect() };
        let share = self.shares.get(&expected).ok_or_else(found)?;
        if share.secret.index() != index {
            return Err(other("index of the share"));
        }
        let is_ours = group.key().share(index) == Some(&share.secret.public_key());
        if !is_ours || share.group_key != *group.key().key() || share.threshold != group.threshold() {
            return Err(KeyError::WrongShare { index });
        }
        Ok(MemberSecrets {
            identity: self.identity.clone(),
            evm: self.evm.clone(),
            ledger: self.ledger.clone(),
            share: Arc::clone(&share.secret),
        })
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
    pub share: Arc<SecretShare>,
}

/// What others may know of a member's keys.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
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
    /// The shares of the group's key that it holds, oldest generation first.
    #[serde(default)]
    pub shares: Vec<PublicShare>,
}

#[cfg(test)]
pub(crate) mod tests;
