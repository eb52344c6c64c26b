//! Who pays and who is paid: user sets, MIX payloads and the 32-byte accounts that contracts see.

use alloy_primitives::{B256, keccak256};
use serde::{Deserialize, Serialize};
use thiserror::Error;
use uuid::Uuid;

/// Version byte of a MIX payload (`bot-api-go-client mix.go`).
const MIX_VERSION: u8 = 2;
/// Most members of a set that the ledger can pay: the kernel's script holds a threshold of at most 64.
pub const MEMBERS_MAX: usize = 64;

/// One member of a [`Mix`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum MixMember {
    /// A ledger user.
    User(Uuid),
    /// A bare kernel address: public spend key, public view key.
    Address(#[serde(with = "hex::serde")] [u8; 32], #[serde(with = "hex::serde")] [u8; 32]),
}

/// A set of members with a threshold. Members are sorted, so equal sets are equal values. It may be *illegal* (see
/// [`Mix::is_legal`]): a contract or a memo can name such a set, and derivations must treat it alike everywhere.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Mix {
    threshold: u8,
    members: Vec<MixMember>,
}

impl Mix {
    /// The set of `members` of which `threshold` must sign.
    pub fn new(mut members: Vec<MixMember>, threshold: u8) -> Self {
        members.sort_unstable();
        Self { threshold, members }
    }

    /// A set of ledger users.
    pub fn of_users(users: impl IntoIterator<Item = Uuid>, threshold: u8) -> Self {
        Self::new(users.into_iter().map(MixMember::User).collect(), threshold)
    }

    /// Signatures needed.
    pub const fn threshold(&self) -> u8 {
        self.threshold
    }

    /// The members, sorted.
    pub fn members(&self) -> &[MixMember] {
        &self.members
    }

    /// The members as ledger users, or `None` where one is a bare address.
    pub fn users(&self) -> Option<Vec<Uuid>> {
        let user = |member: &MixMember| match member {
            MixMember::User(user) => Some(*user),
            MixMember::Address(..) => None,
        };
        self.members.iter().map(user).collect()
    }

    /// 1 ≤ threshold ≤ members ≤ 64, all different (DERIVATION.md A6, B4).
    pub fn is_legal(&self) -> bool {
        let distinct = self.members.windows(2).all(|pair| pair.first() != pair.last());
        (1..=self.members.len()).contains(&usize::from(self.threshold)) && self.members.len() <= MEMBERS_MAX && distinct
    }

    /// The payload of a MIX address: version, threshold, count, then 16 bytes a user or 64 bytes an address.
    pub fn to_payload(&self) -> Vec<u8> {
        let count = u8::try_from(self.members.len()).unwrap_or(u8::MAX);
        let mut payload = vec![MIX_VERSION, self.threshold, count];
        for member in &self.members {
            match member {
                MixMember::User(user) => payload.extend_from_slice(user.as_bytes()),
                MixMember::Address(spend, view) => {
                    payload.extend_from_slice(spend);
                    payload.extend_from_slice(view);
                }
            }
        }
        payload
    }

    /// Reads a MIX payload. Only its form is judged: an illegal set can be read and is then refused where that matters.
    ///
    /// # Errors
    /// Names the first byte count or version that is wrong.
    pub fn from_payload(payload: &[u8]) -> Result<Self, MixError> {
        let [version, threshold, count, rest @ ..] = payload else {
            return Err(MixError::Short(payload.len()));
        };
        if *version != MIX_VERSION {
            return Err(MixError::Version(*version));
        }
        let count = usize::from(*count);
        let members = if rest.len() == count.saturating_mul(16) {
            rest.chunks_exact(16).filter_map(|id| Uuid::from_slice(id).ok()).map(MixMember::User).collect()
        } else if rest.len() == count.saturating_mul(64) {
            rest.as_chunks::<64>().0.iter().map(address_member).collect()
        } else {
            return Err(MixError::Length { count, bytes: rest.len() });
        };
        Ok(Self::new(members, *threshold))
    }
}

fn address_member(keys: &[u8; 64]) -> MixMember {
    let (mut spend, mut view) = ([0; 32], [0; 32]);
    let (left, right) = keys.split_at(32);
    spend.copy_from_slice(left);
    view.copy_from_slice(right);
    MixMember::Address(spend, view)
}

/// Why bytes are not a MIX payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum MixError {
    /// Fewer than the three header bytes.
    #[error("a MIX payload has at least 3 bytes, got {0}")]
    Short(usize),
    /// A version other than 2.
    #[error("MIX payload version {0}, expected 2")]
    Version(u8),
    /// A length that fits neither users nor addresses.
    #[error("a MIX payload of {count} members cannot have {bytes} bytes of members")]
    Length {
        /// Members announced.
        count: usize,
        /// Bytes that follow the header.
        bytes: usize,
    },
}

/// A payer or payee as contracts see it: 32 bytes (DESIGN.md section 9).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Account(pub B256);

impl Account {
    /// The sender of a message without senders, and of one that the group itself posts.
    pub const ZERO: Self = Self(B256::ZERO);

    /// A single user is its UUID right-aligned; any other set is keccak(u16 n ‖ sorted UUIDs ‖ u16 threshold).
    pub fn of(mix: &Mix) -> Self {
        if let ([MixMember::User(user)], 1) = (mix.members.as_slice(), mix.threshold) {
            return Self::of_user(*user);
        }
        let count = u16::try_from(mix.members.len()).unwrap_or(u16::MAX);
        let mut bytes = count.to_be_bytes().to_vec();
        for member in &mix.members {
            match member {
                MixMember::User(user) => bytes.extend_from_slice(user.as_bytes()),
                MixMember::Address(spend, view) => {
                    bytes.extend_from_slice(spend);
                    bytes.extend_from_slice(view);
                }
            }
        }
        bytes.extend_from_slice(&u16::from(mix.threshold).to_be_bytes());
        Self(keccak256(bytes))
    }

    /// One ledger user.
    pub fn of_user(user: Uuid) -> Self {
        Self(B256::left_padding_from(user.as_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn mixes() -> impl Strategy<Value = Mix> {
        let users =
            vec(any::<u128>(), 0..70).prop_map(|users| users.into_iter().map(Uuid::from_u128).map(MixMember::User));
        let keys = vec(any::<([u8; 32], [u8; 32])>(), 1..70);
        let keys = keys.prop_map(|keys| keys.into_iter().map(|(spend, view)| MixMember::Address(spend, view)));
        let members = prop_oneof![users.prop_map(Vec::from_iter), keys.prop_map(Vec::from_iter)];
        (members, any::<u8>()).prop_map(|(members, threshold)| Mix::new(members, threshold))
    }

    proptest! {
        #[test]
        fn payloads_should_read_back(mix in mixes()) {
            prop_assert_eq!(Mix::from_payload(&mix.to_payload()), Ok(mix));
        }

        /// A payload may list members in any order; the set that it names has one payload.
        #[test]
        fn changed_payloads_should_be_refused_or_name_a_set(
            mix in mixes(),
            place in any::<prop::sample::Index>(),
            byte in any::<u8>(),
            cut in any::<prop::sample::Index>(),
        ) {
            let mut changed = mix.to_payload();
            let at = place.index(changed.len());
            changed[at] = byte;
            let cut = mix.to_payload()[..cut.index(mix.to_payload().len())].to_vec();
            for payload in [changed, cut, [mix.to_payload(), vec![byte]].concat()] {
                if let Ok(read) = Mix::from_payload(&payload) {
                    let again = read.to_payload();
                    let (mut left, mut right) = (again.clone(), payload);
                    left.sort_unstable();
                    right.sort_unstable();
                    prop_assert_eq!(left, right, "as many bytes of each value");
                    prop_assert_eq!(Mix::from_payload(&again), Ok(read));
                }
            }
        }
    }
}
