//! A member's secrets: what is in its key file, and how that is made.
//!
//! The file is encrypted under a passphrase (`envelope`), readable by its owner only (`disk`), and changed whole or not
//! at all ([`Keyring`]). No secret is ever shown: not by `Debug`, not in an error, not in a log.

mod cost;
#[cfg(any(test, feature = "test-dealer"))]
mod deal;
mod disk;
mod envelope;
mod error;
mod passphrase;
mod ring;
mod secrets;
mod share;
mod web3;

use std::collections::BTreeMap;

use alloy::signers::local::PrivateKeySigner;
use ed25519_dalek::SigningKey;
use lockstep_core::group::Generations;
use lockstep_core::{Address, Uuid};
use serde::{Deserialize, Serialize};

use crate::ledger::{Keystore, Seed};

pub use cost::{Cost, CostError, Floor};
#[cfg(any(test, feature = "test-dealer"))]
pub use deal::{DealError, DealMember, DealTerms, Dealt, deal};
pub use disk::FileError;
pub use envelope::{EnvelopeError, named_keys};
pub use error::KeyError;
pub use passphrase::{LEAST_BYTES, Passphrase, PassphraseError, Source, VARIABLE};
pub use ring::Keyring;
pub use share::{HeldShare, PublicShare};
pub use web3::{Web3Error, Web3File, read_web3};

/// What a member's key file is called.
pub const KEY_FILE: &str = "member.keys";

/// XIN on the ledger's API: what a registration is paid in unless a group says otherwise.
pub const XIN: Uuid = Uuid::from_u128(0xc94a_c88f_4671_3976_b60a_0906_4f18_11e8);

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
            is_spend_private_sum: false,
        });
        let identity = SigningKey::from_bytes(&random());
        // One value in 2¹²⁸ is no key of secp256k1; entropy that gives several in a row is broken.
        let evm = (0..4).find_map(|_| PrivateKeySigner::from_bytes(&random().into()).ok()).ok_or(KeyError::Entropy)?;
        Ok(Self { name: name.to_owned(), identity, evm, ledger, shares: BTreeMap::new() })
    }

    /// What others may know.
    pub fn public(&self) -> PublicKeys {
        PublicKeys {
            name: self.name.clone(),
            user: self.ledger.app_id,
            identity: hex::encode(self.identity.verifying_key().as_bytes()),
            spend_public_key: hex::encode(self.ledger.spend_key().public().to_bytes()),
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

    /// The secrets of the member with `index` in some generation, after checking that they are its own, and that each share
    /// belongs to its generation.
    ///
    /// A share that is not there is refused only where the group has never handed its key on: a member that left has erased
    /// its own, and one that missed a ceremony still signs for coins.
    ///
    /// # Errors
    /// What does not fit, each told apart.
    pub fn member_of(&self, known: &Generations, index: u8) -> Result<MemberSecrets, KeyError> {
        let other = |what| KeyError::OtherMember { index, what };
        let mut seats = known.all().rev().filter_map(|roster| roster.member(index)).peekable();
        seats.peek().ok_or(other("index"))?;
        let identity = self.identity.verifying_key();
        let member = seats.find(|member| member.identity == identity).ok_or(other("identity key"))?;
        if self.ledger.app_id != member.user {
            return Err(other("ledger user"));
        }
        let group_id = known.genesis().group_id();
        if let Some(share) = self.shares.values().find(|share| share.group_id != group_id) {
            return Err(KeyError::OtherGroup { expected: group_id, found: share.group_id });
        }
        let expected = known.newest().generation();
        if expected == 0 && self.shares.is_empty() {
            return Err(KeyError::NoShare);
        }
        if expected == 0 && !self.shares.contains_key(&0) {
            return Err(KeyError::OtherGeneration { expected, found: self.shares.keys().copied().collect() });
        }
        for (generation, share) in &self.shares {
            let Some(roster) = known.all().find(|roster| roster.generation() == *generation) else { continue };
            let seat = roster.member_by_identity(identity.as_bytes()).ok_or(KeyError::WrongShare { index })?;
            if share.secret.index() != seat.index {
                return Err(other("index of the share"));
            }
            let key = roster.key();
            let is_ours = key.share(seat.index) == Some(&share.secret.public_key());
            if !is_ours || share.group_key != *key.key() || share.threshold != key.threshold() {
                return Err(KeyError::WrongShare { index });
            }
        }
        Ok(MemberSecrets { identity: self.identity.clone(), evm: self.evm.clone(), ledger: self.ledger.clone() })
    }
}

/// The secrets of a member, proven to be those that a roster of the group names. Its shares stay in the [`Keyring`].
#[derive(Debug)]
pub struct MemberSecrets {
    /// Signs what the member says to peers.
    pub identity: SigningKey,
    /// Pays for gas.
    pub evm: PrivateKeySigner,
    /// Acts on the ledger.
    pub ledger: Keystore,
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
#[cfg(test)]
mod wiped;
