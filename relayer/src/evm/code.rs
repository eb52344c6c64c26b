//! Whether the code on a chain is the code of this build.
//!
//! Immutables are written into the code by the constructor, so their places are left out: their values are compared where
//! the contract tells them ([`super::check`]).

use std::collections::BTreeSet;
use std::fmt;

use alloy::primitives::{Address, B256, Bytes, keccak256};
use alloy::providers::Provider;
use alloy::transports::TransportError;
use serde::Deserialize;
use thiserror::Error;

use crate::evm::provider::EvmProvider;

/// What is deployed for a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Contract {
    /// The group contract.
    Group,
    /// Payloads by their hash.
    Storage,
    /// The process of smart accounts.
    Accounts,
    /// What accounts are clones of.
    Account,
    /// What tokens are clones of.
    Asset,
    /// The chain's coin as an ERC-20.
    WrappedCoin,
    /// How wallets reach accounts.
    Bridge,
}

impl Contract {
    /// All of them.
    pub const ALL: [Self; 7] =
        [Self::Group, Self::Storage, Self::Accounts, Self::Account, Self::Asset, Self::WrappedCoin, Self::Bridge];

    /// Its name in the sources.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Group => "Group",
            Self::Storage => "Storage",
            Self::Accounts => "Accounts",
            Self::Account => "Account",
            Self::Asset => "Asset",
            Self::WrappedCoin => "WrappedCoin",
            Self::Bridge => "Bridge",
        }
    }

    /// What the compiler exported of it (`make abi`).
    const fn exported(self) -> &'static str {
        match self {
            Self::Group => include_str!("../../../contracts/abi/Group.json"),
            Self::Storage => include_str!("../../../contracts/abi/Storage.json"),
            Self::Accounts => include_str!("../../../contracts/abi/Accounts.json"),
            Self::Account => include_str!("../../../contracts/abi/Account.json"),
            Self::Asset => include_str!("../../../contracts/abi/Asset.json"),
            Self::WrappedCoin => include_str!("../../../contracts/abi/WrappedCoin.json"),
            Self::Bridge => include_str!("../../../contracts/abi/Bridge.json"),
        }
    }
}

/// A contract as this build knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalBuild {
    code: Bytes,
    /// Start and length of each place of an immutable.
    immutables: Vec<(usize, usize)>,
}

/// How the code on a chain compares with a local build.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// Equal, but for the values of immutables.
    Same,
    /// There is no code.
    None,
    /// Another length, in bytes.
    Length {
        /// Of the local build.
        expected: usize,
        /// On the chain.
        found: usize,
    },
    /// The same length, and this is the first byte that differs.
    Differs {
        /// Counted from 0.
        at: usize,
    },
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Same => f.write_str("the code is that of this build"),
            Self::None => f.write_str("there is no contract"),
            Self::Length { expected, found } => write!(f, "{found} bytes of code, {expected} in this build"),
            Self::Differs { at } => write!(f, "the code differs from this build at byte {at}"),
        }
    }
}

/// The export cannot be read: this binary was built from a broken source tree.
#[derive(Debug, Error)]
pub enum CodeError {
    /// No JSON, or without the code.
    #[error("contracts/abi/{name}.json does not hold the deployed code: run `make abi` and build again")]
    Export {
        /// The contract.
        name: &'static str,
        /// What is wrong.
        #[source]
        source: serde_json::Error,
    },
    /// A place of an immutable that is none.
    #[error("contracts/abi/{name}.json names `{place}` as the place of an immutable")]
    Place {
        /// The contract.
        name: &'static str,
        /// What stands there.
        place: String,
    },
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Export {
    deployed_bytecode: Deployed,
}

#[derive(Deserialize)]
struct Deployed {
    object: Bytes,
    immutables: String,
}

impl LocalBuild {
    /// A contract that this binary was built with.
    ///
    /// # Errors
    /// Where the export of the compiler is broken.
    pub fn load(contract: Contract) -> Result<Self, CodeError> {
        Self::parse(contract.name(), contract.exported())
    }

    fn parse(name: &'static str, exported: &str) -> Result<Self, CodeError> {
        let Export { deployed_bytecode: Deployed { object: code, immutables } } =
            serde_json::from_str(exported).map_err(|source| CodeError::Export { name, source })?;
        let place = |text: &str| {
            let (start, length) = text.split_once('+')?;
            let (start, length) = (start.parse::<usize>().ok()?, length.parse::<usize>().ok()?);
            (start.checked_add(length)? <= code.len()).then_some((start, length))
        };
        let immutables = immutables
            .split_ascii_whitespace()
            .map(|text| place(text).ok_or_else(|| CodeError::Place { name, place: text.to_owned() }))
            .collect::<Result<_, _>>()?;
        Ok(Self { code, immutables })
    }

    /// Compares the code at an address with this build.
    pub fn compare(&self, found: &[u8]) -> Comparison {
        let (expected, found) = (self.masked(&self.code), self.masked(found));
        if found.is_empty() {
            return Comparison::None;
        }
        if found.len() != expected.len() {
            return Comparison::Length { expected: expected.len(), found: found.len() };
        }
        let first = expected.iter().zip(&found).position(|(expected, found)| expected != found);
        first.map_or(Comparison::Same, |at| Comparison::Differs { at })
    }

    /// The words that the constructor of other code, equal but for them, wrote into the places of immutables.
    pub fn written(&self, code: &[u8]) -> BTreeSet<B256> {
        let word =
            |(start, length): &(usize, usize)| B256::try_from(code.get(*start..start.saturating_add(*length))?).ok();
        self.immutables.iter().filter_map(word).collect()
    }

    /// Hash of this build's code with zeros in the places of immutables.
    pub fn hash(&self) -> B256 {
        self.hash_of(&self.code)
    }

    /// Hash of other code with zeros in the same places.
    pub fn hash_of(&self, code: &[u8]) -> B256 {
        keccak256(self.masked(code))
    }

    fn masked(&self, code: &[u8]) -> Vec<u8> {
        let mut masked = code.to_vec();
        for (start, length) in &self.immutables {
            if let Some(place) = masked.get_mut(*start..start.saturating_add(*length)) {
                place.fill(0);
            }
        }
        masked
    }
}

/// The EIP-155 id of the chain that an endpoint serves.
///
/// # Errors
/// Where the endpoint fails.
pub async fn chain_served(provider: &EvmProvider) -> Result<u64, TransportError> {
    provider.get_chain_id().await
}

/// The code at an address in the newest block; empty where there is none.
///
/// # Errors
/// Where the endpoint fails.
pub async fn code_at(provider: &EvmProvider, address: Address) -> Result<Bytes, TransportError> {
    provider.get_code_at(address).await
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Largest code of a contract (EIP-170), and largest code that makes one (EIP-3860).
    const CODE_MAX: usize = 24_576;

    fn build() -> LocalBuild {
        LocalBuild::load(Contract::Group).expect("the export of this source tree")
    }

    /// Code as it is on a chain: with something in each immutable.
    fn deployed(build: &LocalBuild) -> Vec<u8> {
        let mut code = build.code.to_vec();
        for (start, length) in &build.immutables {
            code[*start..][..*length].fill(0xab);
        }
        code
    }

    #[test]
    fn other_code_should_be_told_apart() {
        let build = build();
        let good = deployed(&build);
        assert_eq!(build.compare(&[]), Comparison::None);
        let length = good.len();
        assert_eq!(build.compare(&good[..length - 1]), Comparison::Length { expected: length, found: length - 1 });
        let inside = |at: usize| build.immutables.iter().any(|(start, size)| at.wrapping_sub(*start) < *size);
        for at in [0, length / 2, length - 1].into_iter().filter(|at| !inside(*at)) {
            let mut other = good.clone();
            other[at] ^= 1;
            assert_eq!(build.compare(&other), Comparison::Differs { at });
            assert_ne!(build.hash_of(&other), build.hash());
        }
    }

    #[test]
    fn values_of_immutables_should_not_matter() {
        let build = build();
        assert!(!build.immutables.is_empty(), "group id and instance are immutables");
        let good = deployed(&build);
        assert_ne!(good, build.code.to_vec());
        assert_eq!((build.compare(&good), build.hash_of(&good)), (Comparison::Same, build.hash()));
        assert_eq!(build.written(&good), BTreeSet::from([B256::repeat_byte(0xab)]));
    }

    #[test]
    fn broken_exports_should_be_refused() {
        assert!(matches!(LocalBuild::parse("Group", "{}"), Err(CodeError::Export { .. })));
        for place in ["5", "x+1", "1+x", "0+3", "2+1", "18446744073709551615+1"] {
            let text = format!(r#"{{"deployedBytecode":{{"object":"0x0102","immutables":"{place}"}}}}"#);
            let parsed = LocalBuild::parse("Group", &text);
            assert!(matches!(parsed, Err(CodeError::Place { place: named, .. }) if named == place), "{place}");
        }
    }

    #[test]
    fn every_contract_should_fit_a_chain() {
        for contract in Contract::ALL {
            let build = LocalBuild::load(contract).expect("the export of this source tree");
            let bytes = build.code.len();
            assert!((1..=CODE_MAX).contains(&bytes), "{}: {bytes} bytes", contract.name());
        }
        assert!(crate::evm::abi::Group::BYTECODE.len() <= 2 * CODE_MAX);
    }
}
