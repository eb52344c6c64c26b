//! Governance of one chain's group contract: what the group signs to halt it, to resume it, or to give it another key.
//!
//! What a derivation reads changes by a decision ([`crate::operation::DecisionBody`]). What a contract must know at once is
//! an [`Action`] here: signed for one chain, one contract, one deployment and one governance nonce, so that it is worth
//! nothing anywhere else and nothing after its use. Each action names the state that holds after it and never toggles.

mod subject;

use alloy_primitives::{Address, B256, keccak256};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::AssetId;
use crate::bls::{PublicKey, Signature};
use crate::machine::ContractPlace;
use crate::trace::ChainId;

pub use self::subject::{Slot, Subject, SubjectError};

/// Domain of the signed digest.
const DOMAIN: &[u8] = b"lockstep/v1/govern";
/// Domain of what a new contract key signs.
const POSSESSION_DOMAIN: &[u8] = b"lockstep/v1/possession";
/// Longest name of an asset, in bytes.
pub const NAME_MAX: usize = 64;
/// Longest symbol of an asset, in bytes.
pub const SYMBOL_MAX: usize = 16;
/// Highest fixed tip that a tank may repay a deliverer: one tenth of a native coin.
pub const TIP_WEI_MAX: u64 = 100_000_000_000_000_000;
/// Most gas that a tank may repay for one byte of a delivery: above this no chain charges (EIP-7623 has 40).
pub const GAS_PER_BYTE_MAX: u32 = 1_000;
/// One word of the contract ABI.
const WORD: usize = 32;

/// Where an action counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Place {
    /// Identity of the group.
    pub group_id: B256,
    /// EIP-155 id.
    pub chain: ChainId,
    /// The group contract.
    pub contract: Address,
    /// The deployment's own 32 bytes.
    pub instance: B256,
}

impl Place {
    /// The place of a group's contract on a chain.
    pub const fn new(group_id: B256, chain: ChainId, at: ContractPlace) -> Self {
        Self { group_id, chain, contract: at.contract, instance: at.instance }
    }

    /// Group id, chain id, contract and instance: one word each.
    fn words(&self) -> [B256; 4] {
        let chain = B256::left_padding_from(&self.chain.to_be_bytes());
        [self.group_id, chain, B256::left_padding_from(self.contract.as_slice()), self.instance]
    }
}

/// What a contract is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "action", rename_all = "snake_case")]
pub enum Action {
    /// Takes no more deliveries and sends no more outbounds.
    Halt,
    /// Does both again.
    Resume,
    /// Another key of the group.
    Rotate {
        /// Above the contract's generation.
        generation: u32,
        /// The key in G2, compressed.
        #[serde(with = "hex::serde")]
        key: [u8; 96],
        /// Its signature over [`possession_digest`], compressed.
        #[serde(with = "hex::serde")]
        possession: [u8; 48],
    },
    /// Name and symbol of an asset's token.
    Asset {
        /// Kernel asset id.
        asset: AssetId,
        /// At most [`NAME_MAX`] bytes.
        name: String,
        /// At most [`SYMBOL_MAX`] bytes.
        symbol: String,
    },
    /// What a tank repays at most.
    Repay {
        /// Fixed tip of one delivery, in wei.
        tip_wei: u64,
        /// Gas for one byte of a delivery.
        gas_per_byte: u32,
    },
}

/// The digest that a new key signs, so that nobody gives a contract a key that he does not hold: keccak(abi.encode(domain,
/// group id, chain id, contract, instance, uint64 generation, keccak(key 256))).
pub fn possession_digest(place: &Place, generation: u32, key: &PublicKey) -> B256 {
    let [group, chain, contract, instance] = place.words();
    let generation = B256::left_padding_from(&generation.to_be_bytes());
    let domain = keccak256(POSSESSION_DOMAIN);
    keccak256([domain, group, chain, contract, instance, generation, keccak256(key.to_eip2537())].concat())
}

impl Action {
    /// The kind as the contract counts it.
    pub const fn kind(&self) -> u8 {
        match self {
            Self::Halt => 1,
            Self::Resume => 2,
            Self::Rotate { .. } => 3,
            Self::Asset { .. } => 4,
            Self::Repay { .. } => 5,
        }
    }

    /// Refuses what no contract would take or nobody could mean.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn check(&self, place: &Place) -> Result<(), GovernError> {
        match self {
            Self::Halt | Self::Resume => Ok(()),
            Self::Rotate { generation, key, possession } => check_key(place, *generation, key, possession),
            Self::Asset { asset, name, symbol } => {
                check_text("name", name, NAME_MAX)?;
                check_text("symbol", symbol, SYMBOL_MAX)?;
                if *asset == AssetId::NONE { Err(GovernError::NoAsset) } else { Ok(()) }
            }
            Self::Repay { tip_wei, .. } if *tip_wei > TIP_WEI_MAX => Err(GovernError::Tip(*tip_wei)),
            Self::Repay { gas_per_byte, .. } if *gas_per_byte > GAS_PER_BYTE_MAX => {
                Err(GovernError::GasPerByte(*gas_per_byte))
            }
            Self::Repay { .. } => Ok(()),
        }
    }

    /// What the contract reads: `abi.encode` of the action's parts.
    ///
    /// # Errors
    /// Refuses a rotation whose key or proof is no point.
    pub fn data(&self) -> Result<Vec<u8>, GovernError> {
        Ok(match self {
            Self::Halt | Self::Resume => Vec::new(),
            Self::Rotate { generation, key, possession } => {
                let (key, possession) = points(key, possession)?;
                let words = [number(u64::from(*generation)), number(0x60), number(0x60 + 32 + 256)];
                [words.concat(), bytes(&key.to_eip2537()), bytes(&possession.to_eip2537())].concat()
            }
            Self::Asset { asset, name, symbol } => {
                let name = bytes(name.as_bytes());
                let after = u64::try_from(name.len()).unwrap_or(u64::MAX).saturating_add(0x60);
                let words = [B256::from(asset.0), number(0x60), number(after)];
                [words.concat(), name, bytes(symbol.as_bytes())].concat()
            }
            Self::Repay { tip_wei, gas_per_byte } => [number(*tip_wei), number(u64::from(*gas_per_byte))].concat(),
        })
    }

    /// Reads what [`Action::data`] wrote, and nothing else: one action has one encoding.
    ///
    /// # Errors
    /// Says what is malformed.
    pub fn decode(kind: u8, data: &[u8]) -> Result<Self, GovernError> {
        let action = match kind {
            1 => Self::Halt,
            2 => Self::Resume,
            3 => decode_rotate(data)?,
            4 => decode_asset(data)?,
            5 => Self::Repay { tip_wei: word_number(data, 0)?, gas_per_byte: small(word_number(data, 1)?)? },
            other => return Err(GovernError::Kind(other)),
        };
        // Whatever the parser was lenient about shows here.
        if action.data()? == data { Ok(action) } else { Err(GovernError::Malformed) }
    }

    /// The 32 bytes that the group signs: keccak(abi.encode(domain, group id, chain id, contract, instance, uint64 nonce,
    /// uint8 kind, keccak(data))).
    ///
    /// # Errors
    /// As [`Action::data`].
    pub fn digest(&self, place: &Place, nonce: u64) -> Result<B256, GovernError> {
        let [group, chain, contract, instance] = place.words();
        let (nonce, kind) = (number(nonce), number(u64::from(self.kind())));
        let domain = keccak256(DOMAIN);
        Ok(keccak256([domain, group, chain, contract, instance, nonce, kind, keccak256(self.data()?)].concat()))
    }
}

fn points(key: &[u8; 96], possession: &[u8; 48]) -> Result<(PublicKey, Signature), GovernError> {
    let key = PublicKey::from_bytes(key).map_err(|_| GovernError::Key)?;
    Ok((key, Signature::from_bytes(possession).map_err(|_| GovernError::Possession)?))
}

fn check_key(place: &Place, generation: u32, key: &[u8; 96], possession: &[u8; 48]) -> Result<(), GovernError> {
    if generation == 0 {
        return Err(GovernError::Generation);
    }
    let (key, possession) = points(key, possession)?;
    let proved = key.verify_digest(&possession_digest(place, generation, &key), &possession);
    if proved { Ok(()) } else { Err(GovernError::Possession) }
}

/// Printable and not empty: names are shown to people who decide by them.
fn check_text(what: &'static str, text: &str, longest: usize) -> Result<(), GovernError> {
    let printable = text.chars().all(|letter| !letter.is_control());
    if text.is_empty() || text.len() > longest || !printable {
        return Err(GovernError::Text { what, bytes: text.len(), longest });
    }
    Ok(())
}

fn number(value: u64) -> B256 {
    B256::left_padding_from(&value.to_be_bytes())
}

/// Length word, the bytes, zeros to whole words.
fn bytes(value: &[u8]) -> Vec<u8> {
    let length = number(u64::try_from(value.len()).unwrap_or(u64::MAX));
    let mut encoded = [length.as_slice(), value].concat();
    encoded.resize(encoded.len().next_multiple_of(WORD), 0);
    encoded
}

fn word(data: &[u8], at: usize) -> Result<[u8; WORD], GovernError> {
    let word = data.get(at..).and_then(|rest| rest.first_chunk::<WORD>());
    word.copied().ok_or(GovernError::Malformed)
}

/// The `index`th word as a number.
fn word_number(data: &[u8], index: usize) -> Result<u64, GovernError> {
    to_number(word(data, index.saturating_mul(WORD))?)
}

fn to_number(word: [u8; WORD]) -> Result<u64, GovernError> {
    let (high, low) = word.split_at(24);
    let low = low.first_chunk::<8>().filter(|_| high.iter().all(|byte| *byte == 0));
    low.map(|low| u64::from_be_bytes(*low)).ok_or(GovernError::Malformed)
}

fn small(value: u64) -> Result<u32, GovernError> {
    u32::try_from(value).map_err(|_| GovernError::Malformed)
}

/// The bytes whose place the `index`th word gives.
fn dynamic(data: &[u8], index: usize) -> Result<&[u8], GovernError> {
    let at = usize::try_from(word_number(data, index)?).map_err(|_| GovernError::Malformed)?;
    let length = usize::try_from(to_number(word(data, at)?)?).map_err(|_| GovernError::Malformed)?;
    let start = at.checked_add(WORD).ok_or(GovernError::Malformed)?;
    let end = start.checked_add(length).ok_or(GovernError::Malformed)?;
    data.get(start..end).ok_or(GovernError::Malformed)
}

fn decode_rotate(data: &[u8]) -> Result<Action, GovernError> {
    let generation = small(word_number(data, 0)?)?;
    let key = PublicKey::from_bytes(dynamic(data, 1)?).map_err(|_| GovernError::Key)?;
    let possession = Signature::from_bytes(dynamic(data, 2)?).map_err(|_| GovernError::Possession)?;
    Ok(Action::Rotate { generation, key: key.compress(), possession: possession.compress() })
}

fn decode_asset(data: &[u8]) -> Result<Action, GovernError> {
    let text = |index| {
        let text = std::str::from_utf8(dynamic(data, index)?).map_err(|_| GovernError::Malformed)?;
        Ok::<_, GovernError>(text.to_owned())
    };
    Ok(Action::Asset { asset: AssetId(word(data, 0)?), name: text(1)?, symbol: text(2)? })
}

/// Why something is no governance action, or not one to sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum GovernError {
    /// A kind that no contract knows.
    #[error("kind {0} is no governance action")]
    Kind(u8),
    /// Bytes that are not the one encoding of an action.
    #[error("the action's data is not in the one form that it has")]
    Malformed,
    /// No key.
    #[error("the new group key is not a key in G2")]
    Key,
    /// A key that nobody proved to hold.
    #[error("the new group key does not sign for itself at this chain, contract, instance and generation")]
    Possession,
    /// The first generation is the deployment's own.
    #[error("a new group key has a generation above 0")]
    Generation,
    /// Too long, empty, or with letters that do not print.
    #[error("the {what} has {bytes} bytes; it has 1 to {longest}, all printable")]
    Text {
        /// Name or symbol.
        what: &'static str,
        /// How long it is.
        bytes: usize,
        /// How long it may be.
        longest: usize,
    },
    /// The id of nothing.
    #[error("an asset id of zeros names no asset")]
    NoAsset,
    /// A tip that would drain tanks.
    #[error("a tip of {0} wei for one delivery is above {TIP_WEI_MAX}")]
    Tip(u64),
    /// More gas for a byte than a chain charges.
    #[error("{0} gas for one byte is above {GAS_PER_BYTE_MAX}")]
    GasPerByte(u32),
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::bls::SecretKey;

    const PLACE: Place = Place {
        group_id: B256::repeat_byte(1),
        chain: 31_337,
        contract: Address::repeat_byte(2),
        instance: B256::repeat_byte(3),
    };

    fn rotate(place: &Place, generation: u32) -> Action {
        let new = SecretKey::derive(&[2; 32], b"test").expect("a key");
        let key = new.public_key();
        let possession = new.sign_digest(&possession_digest(place, generation, &key)).compress();
        Action::Rotate { generation, key: key.compress(), possession }
    }

    fn asset(name: &str, symbol: &str) -> Action {
        Action::Asset { asset: AssetId([7; 32]), name: name.into(), symbol: symbol.into() }
    }

    fn actions() -> Vec<Action> {
        let repay = Action::Repay { tip_wei: TIP_WEI_MAX, gas_per_byte: GAS_PER_BYTE_MAX };
        vec![
            Action::Halt,
            Action::Resume,
            rotate(&PLACE, 2),
            asset("Bitcoin", "BTC"),
            asset(&"x".repeat(64), "é"),
            repay,
        ]
    }

    #[test]
    fn what_no_contract_would_take_should_be_refused() {
        let text = |what, bytes, longest| Err(GovernError::Text { what, bytes, longest });
        assert_eq!(asset(&"x".repeat(65), "BTC").check(&PLACE), text("name", 65, 64));
        assert_eq!(asset("Bitcoin", &"é".repeat(9)).check(&PLACE), text("symbol", 18, 16));
        assert_eq!(asset("", "BTC").check(&PLACE), text("name", 0, 64));
        assert_eq!(asset("Bit\u{7}coin", "BTC").check(&PLACE), text("name", 8, 64));
        let none = Action::Asset { asset: AssetId::NONE, name: "a".into(), symbol: "b".into() };
        assert_eq!(none.check(&PLACE), Err(GovernError::NoAsset));
        let repay = |tip_wei, gas_per_byte| Action::Repay { tip_wei, gas_per_byte }.check(&PLACE);
        assert_eq!(repay(TIP_WEI_MAX + 1, 0), Err(GovernError::Tip(TIP_WEI_MAX + 1)));
        assert_eq!(repay(0, 1_001), Err(GovernError::GasPerByte(1_001)));
        let Action::Rotate { key, possession, .. } = rotate(&PLACE, 2) else { return };
        let of = |generation, key, possession| Action::Rotate { generation, key, possession }.check(&PLACE);
        assert_eq!(of(0, key, possession), Err(GovernError::Generation));
        assert_eq!(of(3, key, possession), Err(GovernError::Possession));
        assert_eq!(of(2, [1; 96], possession), Err(GovernError::Key));
        assert_eq!(of(2, key, [1; 48]), Err(GovernError::Possession));
        let elsewhere = [
            Place { group_id: B256::ZERO, ..PLACE },
            Place { chain: 1, ..PLACE },
            Place { contract: Address::ZERO, ..PLACE },
            Place { instance: B256::ZERO, ..PLACE },
        ];
        for place in elsewhere {
            assert_eq!(rotate(&PLACE, 2).check(&place), Err(GovernError::Possession));
        }
        actions().iter().for_each(|action| assert_eq!(action.check(&PLACE), Ok(()), "{action:?}"));
    }

    #[test]
    fn each_part_should_change_the_digest() {
        let digest = |place: &Place, nonce, action: &Action| action.digest(place, nonce).expect("well formed");
        let first = digest(&PLACE, 0, &Action::Halt);
        let others = [
            digest(&Place { group_id: B256::ZERO, ..PLACE }, 0, &Action::Halt),
            digest(&Place { chain: 1, ..PLACE }, 0, &Action::Halt),
            digest(&Place { contract: Address::ZERO, ..PLACE }, 0, &Action::Halt),
            digest(&Place { instance: B256::ZERO, ..PLACE }, 0, &Action::Halt),
            digest(&PLACE, 1, &Action::Halt),
            digest(&PLACE, 0, &Action::Resume),
            digest(&PLACE, 0, &rotate(&PLACE, 2)),
        ];
        assert!(others.iter().all(|other| *other != first));
        assert_ne!(digest(&PLACE, 0, &asset("a", "b")), digest(&PLACE, 0, &asset("a", "c")));
    }

    #[test]
    fn truncations_trailing_bytes_and_unknown_kinds_should_be_refused() {
        for action in actions() {
            let data = action.data().expect("well formed");
            assert_eq!(Action::decode(action.kind(), &data), Ok(action.clone()));
            for cut in (0..data.len()).step_by(8) {
                assert!(Action::decode(action.kind(), &data[..cut]).is_err(), "{action:?} {cut}");
            }
            assert!(Action::decode(action.kind(), &[&data[..], &[0; 32]].concat()).is_err(), "{action:?}");
        }
        for kind in [0, 6, 255] {
            assert_eq!(Action::decode(kind, &[]), Err(GovernError::Kind(kind)));
        }
    }

    proptest! {
        #[test]
        fn actions_should_round_trip(asset: [u8; 32], name in ".{0,40}", symbol in ".{0,8}", tip_wei: u64, gas_per_byte: u32) {
            for action in [Action::Asset { asset: AssetId(asset), name, symbol }, Action::Repay { tip_wei, gas_per_byte }] {
                let data = action.data().unwrap();
                prop_assert_eq!(Action::decode(action.kind(), &data), Ok(action));
            }
        }

        #[test]
        fn any_data_should_be_read_or_refused(kind in 0..7_u8, words in prop::collection::vec((0..8_u8, any::<bool>()), 0..12)) {
            // Small words are offsets and lengths that lead somewhere.
            let word = |(value, odd): (u8, bool)| {
                let mut word = [0; 32];
                word[31] = if odd { value } else { value << 5 };
                word
            };
            let data: Vec<u8> = words.into_iter().flat_map(word).collect();
            if let Ok(action) = Action::decode(kind, &data) {
                prop_assert_eq!(action.data().unwrap(), data);
            }
        }
    }
}
