//! Whether the code on a chain is the code of this build.
//!
//! Immutables are written into the code by the constructor, so their places are left out: their values are compared where
//! the contract tells them ([`super::check`]).

use alloy::primitives::{Address, B256, Bytes, keccak256};
use alloy::providers::Provider;
use alloy::transports::TransportError;
use serde::Deserialize;
use thiserror::Error;

use crate::evm::provider::EvmProvider;

/// What the compiler exported of the group contract (`make abi`).
const EXPORTED: &str = include_str!("../../../contracts/abi/Group.json");

/// The group contract as this build knows it.
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

/// The export cannot be read: this binary was built from a broken source tree.
#[derive(Debug, Error)]
pub enum CodeError {
    /// No JSON, or without the code.
    #[error("contracts/abi/Group.json does not hold the deployed code: run `make abi` and build again")]
    Export(#[source] serde_json::Error),
    /// A place of an immutable that is none.
    #[error("contracts/abi/Group.json names `{0}` as the place of an immutable")]
    Place(String),
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
    /// The group contract that this binary was built with.
    ///
    /// # Errors
    /// Where the export of the compiler is broken.
    pub fn load() -> Result<Self, CodeError> {
        Self::parse(EXPORTED)
    }

    fn parse(exported: &str) -> Result<Self, CodeError> {
        let Export { deployed_bytecode: Deployed { object: code, immutables } } =
            serde_json::from_str(exported).map_err(CodeError::Export)?;
        let place = |text: &str| {
            let (start, length) = text.split_once('+')?;
            let (start, length) = (start.parse::<usize>().ok()?, length.parse::<usize>().ok()?);
            (start.checked_add(length)? <= code.len()).then_some((start, length))
        };
        let immutables = immutables
            .split_ascii_whitespace()
            .map(|text| place(text).ok_or_else(|| CodeError::Place(text.to_owned())))
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
        LocalBuild::load().expect("the export of this source tree")
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
    }

    #[test]
    fn broken_exports_should_be_refused() {
        assert!(matches!(LocalBuild::parse("{}"), Err(CodeError::Export(_))));
        for place in ["5", "x+1", "1+x", "0+3", "2+1", "18446744073709551615+1"] {
            let text = format!(r#"{{"deployedBytecode":{{"object":"0x0102","immutables":"{place}"}}}}"#);
            assert!(matches!(LocalBuild::parse(&text), Err(CodeError::Place(named)) if named == place), "{place}");
        }
    }

    #[test]
    fn the_group_contract_should_fit_a_chain() {
        let build = build();
        assert!(build.code.len() <= CODE_MAX, "{} bytes", build.code.len());
        assert!(crate::evm::abi::Group::BYTECODE.len() <= 2 * CODE_MAX);
    }
}
