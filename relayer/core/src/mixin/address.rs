//! Addresses as text: XIN (one pair of keys, kernel `common/address.go`) and MIX (a set of members,
//! `bot-api-go-client mix.go`).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;
use uuid::Uuid;
use zeroize::Zeroizing;

use super::hash::sha3_256;
use super::key::{KeyError, PrivateKey, PublicKey};
use crate::account::{MEMBERS_MAX, Mix, MixError, MixMember};

const XIN_PREFIX: &str = "XIN";
const MIX_PREFIX: &str = "MIX";
/// Version byte of a MIX payload.
const MIX_VERSION: u8 = 2;
/// Bytes of a MIX payload before its members: version, threshold, count.
const HEADER_LEN: usize = 3;
const CHECKSUM_LEN: usize = 4;
/// Longest text that is tried: a MIX of 64 addresses has 4,103 bytes, 5,604 digits of base 58 and the prefix.
const TEXT_MAX: usize = 5_700;

/// A kernel address: who holds the spend key owns what is paid to it, who holds the view key sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct XinAddress {
    /// Public spend key.
    pub spend: PublicKey,
    /// Public view key.
    pub view: PublicKey,
}

impl XinAddress {
    /// Checks the two keys of an address member.
    ///
    /// # Errors
    /// Names the key that is invalid.
    pub fn from_bytes(spend: [u8; 32], view: [u8; 32]) -> Result<Self, AddressError> {
        let spend = PublicKey::from_bytes(spend).map_err(AddressError::SpendKey)?;
        let view = PublicKey::from_bytes(view).map_err(AddressError::ViewKey)?;
        Ok(Self { spend, view })
    }

    /// The kernel's hash of an address: SHA3-256 of spend ‖ view.
    pub fn hash(&self) -> alloy_primitives::B256 {
        sha3_256(&[self.spend.to_bytes(), self.view.to_bytes()].concat())
    }

    /// The address as a member of a set.
    pub const fn member(&self) -> MixMember {
        MixMember::Address(self.spend.to_bytes(), self.view.to_bytes())
    }
}

/// Both private keys of an address made from a 64-byte seed: spend from the seed itself, view from
/// SHA3(seed) ‖ SHA3(SHA3(seed)) (kernel `NewAddressFromSeed`).
#[derive(Clone, Debug)]
pub struct XinKeys {
    /// Private spend key.
    pub spend: PrivateKey,
    /// Private view key.
    pub view: PrivateKey,
}

impl XinKeys {
    /// The keys of a seed.
    ///
    /// # Errors
    /// [`KeyError::Zero`] for a seed that is a multiple of the group order, such as the former storage address.
    pub fn from_seed(seed: &[u8; 64]) -> Result<Self, KeyError> {
        Ok(Self { spend: PrivateKey::from_seed(seed)?, view: view_of_seed(seed)? })
    }

    /// The address of the keys.
    pub fn address(&self) -> XinAddress {
        XinAddress { spend: self.spend.public(), view: self.view.public() }
    }
}

/// The view key that belongs to a 64-byte seed.
///
/// # Errors
/// [`KeyError::Zero`], which no known seed gives.
pub fn view_of_seed(seed: &[u8; 64]) -> Result<PrivateKey, KeyError> {
    let left = sha3_256(seed);
    let mut view = Zeroizing::new([0; 64]);
    view.copy_from_slice(&[left.0, sha3_256(left.as_slice()).0].concat());
    PrivateKey::from_seed(&view)
}

/// The text of any 64 bytes as an address, valid keys or not: members of a MIX may be anything.
pub fn xin_text(spend: &[u8; 32], view: &[u8; 32]) -> String {
    encode_text(XIN_PREFIX, &[*spend, *view].concat())
}

impl fmt::Display for XinAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&xin_text(&self.spend.to_bytes(), &self.view.to_bytes()))
    }
}

impl FromStr for XinAddress {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let payload = decode_text(XIN_PREFIX, text)?;
        let ([spend, view], []) = payload.as_chunks::<32>() else {
            return Err(AddressError::Length(payload.len()));
        };
        Self::from_bytes(*spend, *view)
    }
}

/// A MIX address: members in the order of its text, which need not be sorted; [`Mix`] is the set itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MixAddress {
    /// Signatures needed; storage addresses ask for more than there are members.
    pub threshold: u8,
    /// The members: all users or all addresses, 1 to 64.
    pub members: Vec<MixMember>,
}

impl MixAddress {
    /// The set, in which order does not count.
    pub fn to_mix(&self) -> Mix {
        Mix::new(self.members.clone(), self.threshold)
    }

    fn check(&self) -> Result<(), AddressError> {
        if self.threshold == 0 {
            return Err(AddressError::Threshold);
        }
        if self.members.is_empty() || self.members.len() > MEMBERS_MAX {
            return Err(AddressError::Members(self.members.len()));
        }
        Ok(())
    }

    /// version ‖ threshold ‖ count ‖ members, in the given order.
    fn payload(&self) -> Vec<u8> {
        let count = u8::try_from(self.members.len()).unwrap_or(u8::MAX);
        let mut payload = vec![MIX_VERSION, self.threshold, count];
        for member in &self.members {
            match member {
                MixMember::User(user) => payload.extend_from_slice(user.as_bytes()),
                MixMember::Address(spend, view) => payload.extend_from_slice(&[*spend, *view].concat()),
            }
        }
        payload
    }
}

impl From<&Mix> for MixAddress {
    fn from(mix: &Mix) -> Self {
        Self { threshold: mix.threshold(), members: mix.members().to_vec() }
    }
}

impl fmt::Display for MixAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&encode_text(MIX_PREFIX, &self.payload()))
    }
}

impl FromStr for MixAddress {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let payload = decode_text(MIX_PREFIX, text)?;
        let mix = Mix::from_payload(&payload)?;
        // The set is sorted; the text's own order is read again from the payload that was just found well-formed.
        let bytes = payload.get(HEADER_LEN..).unwrap_or_default();
        let members = if mix.users().is_some() {
            bytes.as_chunks::<16>().0.iter().map(|user| MixMember::User(Uuid::from_bytes(*user))).collect()
        } else {
            bytes.as_chunks::<32>().0.as_chunks::<2>().0.iter().map(|[a, b]| MixMember::Address(*a, *b)).collect()
        };
        let address = Self { threshold: mix.threshold(), members };
        address.check()?;
        Ok(address)
    }
}

macro_rules! serde_as_text {
    ($type:ty) => {
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

serde_as_text!(XinAddress);
serde_as_text!(MixAddress);

fn encode_text(prefix: &str, payload: &[u8]) -> String {
    let checksum = checksum(prefix, payload);
    format!("{prefix}{}", bs58::encode([payload, checksum.as_slice()].concat()).into_string())
}

fn decode_text(prefix: &'static str, text: &str) -> Result<Vec<u8>, AddressError> {
    let digits = text.strip_prefix(prefix).ok_or(AddressError::Prefix(prefix))?;
    if text.len() > TEXT_MAX {
        return Err(AddressError::TooLong(text.len()));
    }
    let bytes = bs58::decode(digits).into_vec().map_err(AddressError::Base58)?;
    let Some((payload, found)) = bytes.split_last_chunk::<CHECKSUM_LEN>() else {
        return Err(AddressError::Length(bytes.len()));
    };
    if checksum(prefix, payload) != *found {
        return Err(AddressError::Checksum);
    }
    Ok(payload.to_vec())
}

fn checksum(prefix: &str, payload: &[u8]) -> [u8; CHECKSUM_LEN] {
    let hash = sha3_256(&[prefix.as_bytes(), payload].concat());
    let mut checksum = [0; CHECKSUM_LEN];
    checksum.iter_mut().zip(hash).for_each(|(to, from)| *to = from);
    checksum
}

/// Why a text is not an address.
#[derive(Clone, Copy, Debug, PartialEq, Error)]
pub enum AddressError {
    /// Another kind of text.
    #[error("an address of this kind starts with {0}")]
    Prefix(&'static str),
    /// More characters than any address has.
    #[error("{0} characters are more than any address has")]
    TooLong(usize),
    /// A character that is no digit of base 58.
    #[error("the address is not base 58: {0}")]
    Base58(bs58::decode::Error),
    /// Another number of bytes.
    #[error("an address of this kind cannot have {0} bytes")]
    Length(usize),
    /// A checksum that does not fit: a typing error.
    #[error("the checksum of the address is wrong")]
    Checksum,
    /// An invalid spend key.
    #[error("the spend key of the address is invalid: {0}")]
    SpendKey(#[source] KeyError),
    /// An invalid view key.
    #[error("the view key of the address is invalid: {0}")]
    ViewKey(#[source] KeyError),
    /// A malformed MIX payload.
    #[error(transparent)]
    Mix(#[from] MixError),
    /// No signature needed.
    #[error("the threshold of a MIX address must not be 0")]
    Threshold,
    /// None or more than the ledger can pay.
    #[error("a MIX address has 1 to 64 members, not {0}")]
    Members(usize),
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn user(byte: u8) -> MixMember {
        MixMember::User(Uuid::from_bytes([byte; 16]))
    }

    #[test]
    fn sets_that_the_ledger_cannot_pay_should_be_refused() {
        let text = |threshold, members| MixAddress { threshold, members }.to_string().parse::<MixAddress>();
        assert_eq!(text(0, vec![user(1)]), Err(AddressError::Threshold));
        assert_eq!(text(1, Vec::new()), Err(AddressError::Members(0)));
        assert_eq!(text(1, vec![user(1); 65]), Err(AddressError::Members(65)));
        let mixed = vec![user(1), MixMember::Address([1; 32], [2; 32])];
        assert_eq!(text(1, mixed), Err(AddressError::Mix(MixError::Length { count: 2, bytes: 80 })));
        assert_eq!("XIN".parse::<MixAddress>(), Err(AddressError::Prefix("MIX")));
        assert_eq!("MIX".parse::<MixAddress>(), Err(AddressError::Length(0)));
        assert_eq!(format!("MIX{}", "z".repeat(6_000)).parse::<MixAddress>(), Err(AddressError::TooLong(6_003)));
        assert!(matches!("MIX0".parse::<MixAddress>(), Err(AddressError::Base58(_))));
    }

    #[test]
    fn a_changed_character_should_break_the_checksum() {
        let good = MixAddress { threshold: 1, members: vec![user(7)] }.to_string();
        let mut bad = good.clone();
        let last = bad.pop();
        bad.push(if last == Some('2') { '3' } else { '2' });
        assert_eq!(bad.parse::<MixAddress>(), Err(AddressError::Checksum));
    }

    #[test]
    fn the_largest_address_should_be_read() {
        let members = vec![MixMember::Address([0xff; 32], [0xff; 32]); MEMBERS_MAX];
        let address = MixAddress { threshold: 64, members };
        assert_eq!(address.to_string().parse(), Ok(address));
    }

    proptest! {
        #[test]
        fn mix_addresses_should_keep_their_order(
            threshold in 1_u8..,
            users in proptest::collection::vec(any::<[u8; 16]>(), 1..10),
            keys in proptest::collection::vec(any::<([u8; 32], [u8; 32])>(), 1..5),
        ) {
            let users = users.into_iter().map(|user| MixMember::User(Uuid::from_bytes(user))).collect();
            let keys = keys.into_iter().map(|(spend, view)| MixMember::Address(spend, view)).collect();
            for members in [users, keys] {
                let address = MixAddress { threshold, members };
                prop_assert_eq!(address.to_string().parse::<MixAddress>(), Ok(address.clone()));
                let sorted = MixAddress::from(&address.to_mix());
                prop_assert_eq!(sorted.to_mix(), address.to_mix());
            }
        }

        #[test]
        fn xin_addresses_should_read_back_and_nothing_else(
            seeds in any::<([u8; 32], [u8; 32])>(),
            place in any::<prop::sample::Index>(),
            digit in "[1-9A-HJ-NP-Za-km-z]",
        ) {
            let key = |seed| PrivateKey::from_ed25519_seed(&seed).public();
            let address = XinAddress { spend: key(seeds.0), view: key(seeds.1) };
            let text = address.to_string();
            prop_assert_eq!(text.parse(), Ok(address));
            prop_assert_eq!(XinAddress::from_bytes(address.spend.to_bytes(), address.view.to_bytes()), Ok(address));
            let mut changed = text.clone();
            let digits = text.strip_prefix(XIN_PREFIX).expect("its prefix");
            let at = place.index(digits.len()).saturating_add(XIN_PREFIX.len());
            changed.replace_range(at..=at, &digit);
            prop_assert_eq!(changed.parse::<XinAddress>().is_ok(), changed == text);
        }

        #[test]
        fn any_text_should_not_panic(text in "(XIN|MIX)?[1-9A-Za-z]{0,150}") {
            if let Ok(address) = text.parse::<XinAddress>() {
                prop_assert_eq!(address.to_string(), text.as_str());
            }
            if let Ok(address) = text.parse::<MixAddress>() {
                prop_assert_eq!(address.to_string(), text.as_str());
            }
        }
    }
}
