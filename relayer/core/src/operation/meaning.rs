//! What an operation means under the rules of a group.

use std::collections::BTreeMap;

use alloy_primitives::{Address, B256};
use thiserror::Error;

use super::decision::{DecisionError, SignedDecision};
use super::frame::{Operation, OperationError, push_prefixed};
use super::{Memo, MemoKind, Policy, Registration, purpose};
use crate::bls::PublicKey;
use crate::message::flags;
use crate::reader::Reader;
use crate::trace::ChainId;
use crate::{Amount, AssetId};

/// Gas limit of a call where the registration names none.
pub const GAS_DEFAULT: u32 = 300_000;
/// Least gas limit that can be registered: below it a call cannot do anything.
pub const GAS_MIN: u32 = 50_000;
/// Highest gas limit that can be registered; a chain's own maximum may be lower.
pub const GAS_MAX: u32 = 5_000_000;
/// First byte of a registration's extra.
const VERSION: u8 = 1;
/// Type of the TLV that holds an asset list.
const ASSETS: u8 = 1;
/// Flag bits that have a meaning: private, policy.
const FLAGS: u8 = 0b111;

/// What of the group's configuration decoding reads.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MemoRules {
    /// The group that decisions must name.
    pub group_id: B256,
    /// The key that decisions must be signed by; `None` holds every decision for invalid.
    pub group_key: Option<PublicKey>,
    /// Other names of chains, such as MVM's `quorum`.
    pub aliases: BTreeMap<String, ChainId>,
}

impl Memo {
    /// What the memo of a payment asks for. Total: what cannot be read is [`MemoKind::Undecodable`].
    pub fn decode(extra: &[u8], rules: &MemoRules) -> Self {
        match Operation::from_memo(extra) {
            Err(_) => Self { kind: MemoKind::Undecodable, return_address: None },
            Ok((_, operation)) => {
                let kind = operation.meaning(rules).unwrap_or(MemoKind::Undecodable);
                Self { kind, return_address: operation.return_address }
            }
        }
    }
}

impl Operation {
    /// What the operation asks for.
    ///
    /// # Errors
    /// Says which part of a registration or decision is malformed.
    pub fn meaning(&self, rules: &MemoRules) -> Result<MemoKind, MeaningError> {
        if let Some(stored) = self.stored {
            let whole = self.purpose == purpose::CALL && self.extra.is_empty();
            let call = MemoKind::StoredCall { process: self.process, stored };
            return whole.then_some(call).ok_or(MeaningError::Stored);
        }
        Ok(match self.purpose {
            purpose::CALL => MemoKind::Call { process: self.process, payload: self.extra.clone() },
            purpose::REGISTER => MemoKind::Register(self.registration(rules)?),
            purpose::REFUND => MemoKind::RefundMark,
            purpose::BOUNCE => MemoKind::Bounce { process: self.process },
            purpose::DECISION => {
                let decision = SignedDecision::decode(&self.extra)?;
                MemoKind::Decision(decision.judge(&rules.group_id, rules.group_key.as_ref()))
            }
            purpose::TICK => MemoKind::Tick,
            other => MemoKind::Other(other),
        })
    }

    fn registration(&self, rules: &MemoRules) -> Result<Registration, MeaningError> {
        let mut registration = Registration {
            chain: parse_platform(&self.platform, rules)?,
            address: parse_address(&self.address)?,
            private: false,
            policy: Policy::Refund,
            gas: GAS_DEFAULT,
            assets: None,
        };
        if !self.extra.is_empty() {
            registration.read_extra(&self.extra)?;
        }
        Ok(registration)
    }
}

impl Registration {
    /// The extra that asks for this: empty for the defaults, else version ‖ flags ‖ gas u32 ‖ TLVs.
    ///
    /// # Errors
    /// Refuses what [`Memo::decode`] would not read back: gas out of range, an empty or too long asset list.
    pub fn to_extra(&self) -> Result<Vec<u8>, MeaningError> {
        check_gas(self.gas)?;
        if (self.private, self.policy, self.gas, &self.assets) == (false, Policy::Refund, GAS_DEFAULT, &None) {
            return Ok(Vec::new());
        }
        let mut extra = vec![VERSION, flags(self.private, self.policy)];
        extra.extend_from_slice(&self.gas.to_be_bytes());
        if let Some(assets) = &self.assets {
            let list = encode_assets(assets);
            if list.is_empty() || list.len() > super::FIELD_MAX {
                return Err(MeaningError::Assets);
            }
            extra.push(ASSETS);
            push_prefixed(&mut extra, &list);
        }
        Ok(extra)
    }

    fn read_extra(&mut self, extra: &[u8]) -> Result<(), MeaningError> {
        let mut reader = Reader::new(extra);
        let [version, flags] = reader.array().ok_or(MeaningError::Short)?;
        if version != VERSION {
            return Err(MeaningError::Version(version));
        }
        self.private = flags & 1 == 1;
        self.policy = match (flags & !FLAGS, flags >> 1) {
            (0, 0) => Policy::Refund,
            (0, 1) => Policy::Park,
            (0, 2) => Policy::Strict,
            _ => return Err(MeaningError::Flags(flags)),
        };
        self.gas = u32::from_be_bytes(reader.array().ok_or(MeaningError::Short)?);
        check_gas(self.gas)?;
        while let Some([kind]) = reader.array() {
            let value = reader.prefixed().ok_or(MeaningError::Short)?;
            if kind != ASSETS || self.assets.is_some() {
                return Err(MeaningError::Tlv(kind));
            }
            self.assets = Some(decode_assets(value).filter(|list| !list.is_empty()).ok_or(MeaningError::Assets)?);
        }
        Ok(())
    }
}

const fn check_gas(gas: u32) -> Result<(), MeaningError> {
    if gas < GAS_MIN || gas > GAS_MAX { Err(MeaningError::Gas(gas)) } else { Ok(()) }
}

/// n × (asset 32 ‖ minimum u128), assets ascending.
pub(super) fn encode_assets(assets: &BTreeMap<AssetId, Amount>) -> Vec<u8> {
    let entry = |(asset, minimum): (&AssetId, &Amount)| [&asset.0[..], &minimum.units().to_be_bytes()].concat();
    assets.iter().flat_map(entry).collect()
}

/// Reads what [`encode_assets`] wrote, and nothing else: one list has one encoding.
pub(super) fn decode_assets(bytes: &[u8]) -> Option<BTreeMap<AssetId, Amount>> {
    let mut reader = Reader::new(bytes);
    let mut assets = BTreeMap::new();
    while !reader.is_empty() {
        let asset = AssetId(reader.array()?);
        let minimum = Amount::from_units(u128::from_be_bytes(reader.array()?));
        if assets.last_key_value().is_some_and(|(last, _)| *last >= asset) {
            return None;
        }
        assets.insert(asset, minimum);
    }
    Some(assets)
}

/// A CAIP-2 id of an EVM chain, or an alias from configuration.
fn parse_platform(platform: &[u8], rules: &MemoRules) -> Result<ChainId, MeaningError> {
    let refused = || MeaningError::Platform(printable(platform));
    let text = std::str::from_utf8(platform).map_err(|_| refused())?;
    let Some(number) = text.strip_prefix("eip155:") else {
        return rules.aliases.get(text).copied().ok_or_else(refused);
    };
    // No sign, no leading zero (so no chain 0): one chain has one name.
    let canonical = number.bytes().all(|byte| byte.is_ascii_digit()) && !number.starts_with('0');
    number.parse().ok().filter(|_| canonical).ok_or_else(refused)
}

/// `0x` and 40 digits; in mixed case they must be EIP-55.
fn parse_address(address: &[u8]) -> Result<Address, MeaningError> {
    let refused = || MeaningError::Address(printable(address));
    let text = std::str::from_utf8(address).map_err(|_| refused())?;
    let digits = text.strip_prefix("0x").filter(|digits| digits.len() == 40).ok_or_else(refused)?;
    let mut bytes = [0; 20];
    hex::decode_to_slice(digits, &mut bytes).map_err(|_| refused())?;
    let address = Address::from(bytes);
    let mixed = digits.bytes().any(|b| b.is_ascii_lowercase()) && digits.bytes().any(|b| b.is_ascii_uppercase());
    if mixed && address.to_checksum(None) != text {
        return Err(MeaningError::Checksum(address));
    }
    Ok(address)
}

/// A short printable form of hostile bytes, for one line of an error.
fn printable(bytes: &[u8]) -> String {
    let short = bytes.get(..64).unwrap_or(bytes);
    short.escape_ascii().to_string()
}

/// Why the parts of an operation are malformed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum MeaningError {
    /// Neither `eip155:N` nor an alias.
    #[error("platform `{0}` is neither eip155:N nor a configured alias")]
    Platform(String),
    /// Not an address at all.
    #[error("address `{0}` is not 0x and 40 hexadecimal digits")]
    Address(String),
    /// Mixed case with a wrong checksum; the right one is shown.
    #[error("the address is in mixed case but not in that of EIP-55, which is {0}")]
    Checksum(Address),
    /// The extra of a registration ends early.
    #[error("the registration's extra is cut short")]
    Short,
    /// A version of the extra that is not 1.
    #[error("the registration's extra has version {0}, expected 1")]
    Version(u8),
    /// Unknown bits, or policy 3.
    #[error("the registration's flags {0:#04x} have unknown bits or an unknown policy")]
    Flags(u8),
    /// Out of range.
    #[error("gas limit {0} is not within {GAS_MIN} to {GAS_MAX}")]
    Gas(u32),
    /// An unknown or repeated TLV.
    #[error("the registration's extra has an unknown or repeated part of type {0}")]
    Tlv(u8),
    /// An asset list that is empty, not ascending, or not whole.
    #[error("the asset list is empty, not ascending or not whole")]
    Assets,
    /// A stored payload beside another, or of what takes none.
    #[error("only a call without a payload of its own can name a stored one")]
    Stored,
    /// A decision that is malformed.
    #[error(transparent)]
    Decision(#[from] DecisionError),
    /// An operation that has no bytes.
    #[error(transparent)]
    Operation(#[from] OperationError),
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;

    const ADDRESS: &str = "0x9d99ca29f627fe0fa07b3b13e72596499cdc5eb2";

    fn rules() -> MemoRules {
        MemoRules { aliases: BTreeMap::from([("quorum".to_owned(), 83_927)]), ..MemoRules::default() }
    }

    fn register(platform: &str, address: &str, extra: &[u8]) -> Result<Registration, MeaningError> {
        let operation = Operation {
            purpose: purpose::REGISTER,
            platform: platform.into(),
            address: address.into(),
            extra: extra.to_vec(),
            ..Operation::default()
        };
        operation.registration(&rules())
    }

    #[test]
    fn platforms_should_have_one_name_or_an_alias() {
        for platform in [
            "",
            "eip155",
            "eip155:",
            "eip155:0",
            "eip155:01",
            "eip155:+1",
            "eip155:1 ",
            "EIP155:1",
            "eip155:18446744073709551616",
            "Quorum",
        ] {
            assert_eq!(register(platform, ADDRESS, &[]), Err(MeaningError::Platform(platform.into())));
        }
        for (platform, chain) in [("eip155:1", 1), ("eip155:18446744073709551615", u64::MAX), ("quorum", 83_927)] {
            assert_eq!(register(platform, ADDRESS, &[]).map(|registration| registration.chain), Ok(chain));
        }
    }

    #[test]
    fn addresses_in_mixed_case_should_have_their_checksum() {
        for address in [
            "",
            "0x",
            "9d99ca29f627fe0fa07b3b13e72596499cdc5eb2",
            "0X9d99ca29f627fe0fa07b3b13e72596499cdc5eb2",
            "0x9d99ca29f627fe0fa07b3b13e72596499cdc5eb",
            "0x9d99ca29f627fe0fa07b3b13e72596499cdc5eb2a",
            "0x9d99ca29f627fe0fa07b3b13e72596499cdc5eg2",
        ] {
            assert_eq!(register("eip155:1", address, &[]), Err(MeaningError::Address(address.into())));
        }
        let wrong = ADDRESS.replace("9d99ca", "9D99ca");
        assert!(matches!(register("eip155:1", &wrong, &[]), Err(MeaningError::Checksum(_))));
        let expected = ADDRESS.parse::<Address>().expect("an address");
        let upper = format!("0x{}", ADDRESS[2..].to_uppercase());
        for address in [ADDRESS, &upper, &expected.to_checksum(None)] {
            assert_eq!(register("eip155:1", address, &[]).map(|registration| registration.address), Ok(expected));
        }
    }

    #[test]
    fn malformed_extras_should_be_refused() {
        let gas = GAS_DEFAULT.to_be_bytes();
        let with = |flags: u8, gas: [u8; 4], tail: &[u8]| [&[1, flags][..], &gas, tail].concat();
        let entry = |asset: u8| [vec![asset; 32], vec![0; 16]].concat();
        let list = |assets: &[u8]| {
            let mut tlv = vec![ASSETS];
            push_prefixed(&mut tlv, &assets.iter().flat_map(|asset| entry(*asset)).collect::<Vec<_>>());
            tlv
        };
        let cases = [
            (vec![1], MeaningError::Short),
            (vec![2, 0], MeaningError::Version(2)),
            (vec![1, 0, 0, 0, 0], MeaningError::Short),
            (with(0b110, gas, &[]), MeaningError::Flags(0b110)),
            (with(0b1000, gas, &[]), MeaningError::Flags(0b1000)),
            (with(0x80, gas, &[]), MeaningError::Flags(0x80)),
            (with(0, 49_999_u32.to_be_bytes(), &[]), MeaningError::Gas(49_999)),
            (with(0, 5_000_001_u32.to_be_bytes(), &[]), MeaningError::Gas(5_000_001)),
            (with(0, gas, &[2, 0, 0]), MeaningError::Tlv(2)),
            (with(0, gas, &[1, 0]), MeaningError::Short),
            (with(0, gas, &[1, 0, 0]), MeaningError::Assets),
            (with(0, gas, &[1, 0, 1, 0]), MeaningError::Assets),
            (with(0, gas, &list(&[2, 1])), MeaningError::Assets),
            (with(0, gas, &list(&[1, 1])), MeaningError::Assets),
            (with(0, gas, &[list(&[1]), list(&[2])].concat()), MeaningError::Tlv(1)),
        ];
        for (extra, error) in cases {
            assert_eq!(register("eip155:1", ADDRESS, &extra), Err(error), "{extra:?}");
        }
        assert!(register("eip155:1", ADDRESS, &with(0b101, gas, &list(&[1, 2]))).is_ok());
    }

    #[test]
    fn malformed_parts_should_keep_the_return_address() {
        let operation = Operation { purpose: purpose::REGISTER, return_address: Some(vec![1]), ..Operation::default() };
        let memo = Memo::decode(&operation.encode().expect("short fields"), &rules());
        assert_eq!(memo, Memo { kind: MemoKind::Undecodable, return_address: Some(vec![1]) });
        let memo = Memo::decode(b"", &rules());
        assert_eq!(memo, Memo { kind: MemoKind::Undecodable, return_address: None });
    }

    #[test]
    fn each_purpose_should_have_its_meaning() {
        let process = Uuid::from_u128(5);
        let cases = [
            (0, MemoKind::Other(0)),
            (1, MemoKind::Call { process, payload: vec![9] }),
            (12, MemoKind::Other(12)),
            (13, MemoKind::RefundMark),
            (14, MemoKind::Bounce { process }),
            (20, MemoKind::Undecodable),
            (21, MemoKind::Tick),
            (u16::MAX, MemoKind::Other(u16::MAX)),
        ];
        for (purpose, kind) in cases {
            let operation = Operation { purpose, process, extra: vec![9], ..Operation::default() };
            let text = operation.to_memo_text().expect("short fields");
            assert_eq!(Memo::decode(text.as_bytes(), &rules()).kind, kind);
        }
    }

    proptest! {
        #[test]
        fn registrations_should_round_trip(
            chain in 1..u64::MAX, address: [u8; 20], private: bool, policy in 0..3_u8, gas in GAS_MIN..=GAS_MAX,
            assets in prop::option::of(prop::collection::btree_map(any::<[u8; 32]>().prop_map(AssetId), any::<u128>().prop_map(Amount::from_units), 1..4)),
        ) {
            let policy = [Policy::Refund, Policy::Park, Policy::Strict][usize::from(policy)];
            let registration = Registration { chain, address: address.into(), private, policy, gas, assets };
            let operation = Operation::register(Uuid::nil(), &registration).unwrap();
            let memo = Memo::decode(operation.to_memo_text().unwrap().as_bytes(), &rules());
            prop_assert_eq!(memo.kind, MemoKind::Register(registration));
        }

        #[test]
        fn any_extra_should_be_read_or_refused(mut extra in prop::collection::vec(any::<u8>(), 0..160), purpose in 0..24_u16) {
            if let Some(first) = extra.first_mut() { *first &= 3; }
            let operation = Operation { purpose, platform: b"quorum".into(), address: ADDRESS.into(), extra, ..Operation::default() };
            let memo = Memo::decode(&operation.encode().unwrap(), &rules());
            prop_assert_eq!(memo.kind, operation.meaning(&rules()).unwrap_or(MemoKind::Undecodable));
        }
    }
}
