//! What must be true of a chain before a member starts to work on it. Each refusal has words of its own.

use alloy::primitives::{Address, B256, address, hex};
use alloy::providers::Provider;
use alloy::rpc::types::TransactionRequest;
use lockstep_core::group::{self, Recovery};
use thiserror::Error;

use crate::evm::abi::Group;
use crate::evm::provider::EvmProvider;
use crate::http::Url;
use crate::world::chain::Cause;

/// Pairing check of EIP-2537.
const PAIRING: Address = address!("000000000000000000000000000000000000000f");
/// Map of a field element to G1 of EIP-2537.
const MAP_TO_G1: Address = address!("0000000000000000000000000000000000000010");

const G1_X: [u8; 64] = hex!(
    "00000000000000000000000000000000"
    "17f1d3a73197d7942695638c4fa9ac0fc3688c4f9774b905a14e3a3f171bac586c55e83ff97a1aeffb3af00adb22c6bb"
);
const G1_Y: [u8; 64] = hex!(
    "00000000000000000000000000000000"
    "08b3f481e3aaa0f1a09e30ed741d8ae4fcf5e095d5d00af600db18cb2c04b3edd03cc744a2888ae40caa232946c5e7e1"
);
const G1_Y_NEGATED: [u8; 64] = hex!(
    "00000000000000000000000000000000"
    "114d1d6855d545a8aa7d76c8cf2e21f267816aef1db507c96655b9d5caac42364e6f38ba0ecb751bad54dcd6b939c2ca"
);
const G2: [u8; 256] = hex!(
    "00000000000000000000000000000000"
    "024aa2b2f08f0a91260805272dc51051c6e47ad4fa403b02b4510b647ae3d1770bac0326a805bbefd48056c8c121bdb8"
    "00000000000000000000000000000000"
    "13e02b6052719f607dacd3a088274f65596bd0d09920b61ab5da61bbdc7f5049334cf11213945d57e5ac7d055d042b7e"
    "00000000000000000000000000000000"
    "0ce5d527727d6e118cc9cdc6da2e351aadfd9baa8cbdd3a76d429a695160d12c923ac9cc3baca289e193548608b82801"
    "00000000000000000000000000000000"
    "0606c4a02ea734cc32acd2b02bc28b99cb3e287e85a763af267492ab572e99ab3f370d275cec1da1aaa9075ff05f79be"
);
/// The image of the field element 1: `map_fp_to_G1` must answer exactly this (EIP-2537, RFC 9380 section 6.6.3).
const MAPPED_ONE: [u8; 128] = hex!(
    "00000000000000000000000000000000"
    "1073311196f8ef19477219ccee3a48035ff432295aa9419eed45d186027d88b90832e14c4f0e2aa4d15f54d1c3ed0f93"
    "00000000000000000000000000000000"
    "034d6e3755a2073039d609db4cf3aef548283b5cc92f1021cbdb276414bcd8072b112d80a2b0a7dbf22bdaf17e006d45"
);

/// What the group file says of a chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExpectedChain {
    /// EIP-155 id.
    pub chain_id: u64,
    /// The group contract.
    pub contract: Address,
    /// The group that it belongs to.
    pub group_id: B256,
    /// The random bytes of its deployment.
    pub instance: B256,
    /// The group key in G2, in the form of EIP-2537, that the contract was deployed with.
    pub group_key: [u8; 256],
    /// Who may replace the key after a long silence.
    pub recovery: Option<Recovery>,
}

impl ExpectedChain {
    /// What the group file says of a chain; nothing before its contract is deployed.
    pub fn of(group: &group::Group, chain: &group::Chain) -> Option<Self> {
        Some(Self {
            chain_id: chain.id,
            contract: chain.contract?,
            group_id: group.id(),
            instance: chain.instance,
            group_key: group.key().key().to_eip2537(),
            recovery: chain.recovery,
        })
    }
}

/// A chain that passed all checks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChainIdentity {
    /// EIP-155 id.
    pub chain_id: u64,
    /// The group contract.
    pub contract: Address,
    /// The newest block at the time of the check.
    pub latest_block: u64,
    /// The ledger sequence that the contract had accepted by then.
    pub accepted: u64,
}

/// Why a member does not start on a chain.
#[derive(Debug, Error)]
pub enum CheckError {
    /// Nobody answers.
    #[error("chain {chain_id}: the RPC endpoint {url} cannot be reached")]
    Unreachable {
        /// The chain that was to be checked.
        chain_id: u64,
        /// The address without its path and credentials.
        url: String,
        /// What failed.
        #[source]
        source: Cause,
    },
    /// The endpoint answers, but not to what we ask.
    #[error("chain {chain_id}: the RPC endpoint refuses {doing}")]
    Refused {
        /// The chain that was to be checked.
        chain_id: u64,
        /// What was asked.
        doing: &'static str,
        /// What it said.
        #[source]
        source: Cause,
    },
    /// Another chain.
    #[error("the group file says chain {expected} but the RPC endpoint serves chain {found}")]
    ChainId {
        /// By the group file.
        expected: u64,
        /// By the endpoint.
        found: u64,
    },
    /// A chain on which no signature of the group can be checked.
    #[error("chain {chain_id} has no EIP-2537 precompile at {precompile}: it cannot check BLS12-381 signatures")]
    NoBls {
        /// The chain.
        chain_id: u64,
        /// The precompile that gave no or a wrong answer.
        precompile: Address,
    },
    /// Nothing at the address.
    #[error("chain {chain_id}: there is no contract at {contract}")]
    NoCode {
        /// The chain.
        chain_id: u64,
        /// The address of the group file.
        contract: Address,
    },
    /// Something else at the address.
    #[error("chain {chain_id}: the contract at {contract} is not a Lockstep group contract ({view} has no answer)")]
    NotOurs {
        /// The chain.
        chain_id: u64,
        /// The address of the group file.
        contract: Address,
        /// The view that could not be read.
        view: &'static str,
    },
    /// A group contract of another group.
    #[error("chain {chain_id}: the contract at {contract} belongs to group {found}, expected {expected}")]
    Group {
        /// The chain.
        chain_id: u64,
        /// The address of the group file.
        contract: Address,
        /// By the group file.
        expected: B256,
        /// By the contract.
        found: B256,
    },
    /// Our group, another deployment.
    #[error("chain {chain_id}: the contract at {contract} is deployment {found}, expected {expected}")]
    Instance {
        /// The chain.
        chain_id: u64,
        /// The address of the group file.
        contract: Address,
        /// By the group file.
        expected: B256,
        /// By the contract.
        found: B256,
    },
    /// Our deployment, but somebody may take the group over who was not agreed on.
    #[error(
        "chain {chain_id}: after a silence the contract at {contract} falls to {}, by the group file to {}",
        shown_recovery(.found), shown_recovery(.expected)
    )]
    Recovery {
        /// The chain.
        chain_id: u64,
        /// The address of the group file.
        contract: Address,
        /// By the group file.
        expected: Option<Recovery>,
        /// By the contract.
        found: Option<Recovery>,
    },
    /// Our deployment, another key: nothing the members sign would be accepted.
    #[error("chain {chain_id}: the contract at {contract} holds another group key than the group file")]
    Key {
        /// The chain.
        chain_id: u64,
        /// The address of the group file.
        contract: Address,
    },
}

impl CheckError {
    /// Whether the chain answered, and what it has there is wrong.
    pub const fn is_negative(&self) -> bool {
        match self {
            Self::NoBls { .. }
            | Self::NoCode { .. }
            | Self::NotOurs { .. }
            | Self::Group { .. }
            | Self::Instance { .. }
            | Self::Recovery { .. }
            | Self::Key { .. } => true,
            Self::Unreachable { .. } | Self::Refused { .. } | Self::ChainId { .. } => false,
        }
    }
}

/// Checks everything that can be wrong with a chain before work starts on it.
///
/// # Errors
/// The first thing that is wrong, in the order of [`CheckError`]'s variants.
pub async fn check_chain(
    provider: &EvmProvider,
    url: &str,
    expected: &ExpectedChain,
) -> Result<ChainIdentity, CheckError> {
    let (chain_id, contract) = (expected.chain_id, expected.contract);
    let found = provider.get_chain_id().await.map_err(|error| {
        if error.is_error_resp() {
            CheckError::Refused { chain_id, doing: "to name its chain id", source: Box::new(error) }
        } else {
            CheckError::Unreachable { chain_id, url: shown(url), source: Box::new(error) }
        }
    })?;
    if found != chain_id {
        return Err(CheckError::ChainId { expected: chain_id, found });
    }
    check_precompiles(provider, chain_id).await?;
    let refused = |doing| move |error| CheckError::Refused { chain_id, doing, source: Box::new(error) };
    let code = provider.get_code_at(contract).await.map_err(refused("to show a contract's code"))?;
    if code.is_empty() {
        return Err(CheckError::NoCode { chain_id, contract });
    }
    let accepted = check_contract(provider, expected).await?;
    let latest_block = provider.get_block_number().await.map_err(refused("to name its newest block"))?;
    Ok(ChainIdentity { chain_id, contract, latest_block, accepted })
}

async fn check_contract(provider: &EvmProvider, expected: &ExpectedChain) -> Result<u64, CheckError> {
    let (chain_id, contract) = (expected.chain_id, expected.contract);
    let group = Group::new(contract, provider);
    let view = |view| move |error| contract_error(chain_id, contract, view, error);
    let found = group.groupId().call().await.map_err(view("groupId()"))?;
    if found != expected.group_id {
        return Err(CheckError::Group { chain_id, contract, expected: expected.group_id, found });
    }
    let found = group.instance().call().await.map_err(view("instance()"))?;
    if found != expected.instance {
        return Err(CheckError::Instance { chain_id, contract, expected: expected.instance, found });
    }
    let address = group.recovery().call().await.map_err(view("recovery()"))?;
    let silence_days = group.silenceDays().call().await.map_err(view("silenceDays()"))?;
    let found = (!address.is_zero()).then_some(Recovery { address, silence_days });
    if found != expected.recovery {
        return Err(CheckError::Recovery { chain_id, contract, expected: expected.recovery, found });
    }
    // Once the group has rotated the key, it is not the group file's any more; only who held the old one could do that.
    let generation = group.keyGeneration().call().await.map_err(view("keyGeneration()"))?;
    let found = group.key().call().await.map_err(view("key()"))?;
    if generation == 0 && found.as_ref() != expected.group_key {
        return Err(CheckError::Key { chain_id, contract });
    }
    group.outboundNonce().call().await.map_err(view("outboundNonce()"))?;
    group.sequence().call().await.map_err(view("sequence()"))
}

/// A view that reverts, answers nothing or something of another type is another contract's; a transport that fails is not.
fn contract_error(chain_id: u64, contract: Address, view: &'static str, error: alloy::contract::Error) -> CheckError {
    if let alloy::contract::Error::TransportError(error) = error
        && !error.is_error_resp()
    {
        return CheckError::Refused { chain_id, doing: "a call of the group contract", source: Box::new(error) };
    }
    CheckError::NotOurs { chain_id, contract, view }
}

async fn check_precompiles(provider: &EvmProvider, chain_id: u64) -> Result<(), CheckError> {
    let pairing = [&G1_X[..], &G1_Y, &G2, &G1_X, &G1_Y_NEGATED, &G2].concat();
    let mut one = [0; 64];
    one[63] = 1;
    let mut yes = [0; 32];
    yes[31] = 1;
    let probes = [(MAP_TO_G1, one.to_vec(), &MAPPED_ONE[..]), (PAIRING, pairing, &yes[..])];
    for (precompile, input, answer) in probes {
        let request = TransactionRequest::default().to(precompile).input(input.into());
        let found = match provider.call(request).await {
            Ok(found) => found,
            Err(error) if error.is_error_resp() => return Err(CheckError::NoBls { chain_id, precompile }),
            Err(error) => {
                return Err(CheckError::Refused { chain_id, doing: "a call of a precompile", source: Box::new(error) });
            }
        };
        // A chain without the precompile sees an empty account there: the call succeeds with no bytes.
        if found.as_ref() != answer {
            return Err(CheckError::NoBls { chain_id, precompile });
        }
    }
    Ok(())
}

fn shown_recovery(recovery: &Option<Recovery>) -> String {
    match recovery {
        None => "nobody".to_owned(),
        Some(Recovery { address, silence_days }) => format!("{address} ({silence_days} days)"),
    }
}

/// Scheme, host and port: paths and user names of RPC endpoints often are keys.
fn shown(url: &str) -> String {
    Url::parse(url).map(|url| url.origin().ascii_serialization()).unwrap_or_else(|_| "(no address)".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoints_key_should_not_be_shown() {
        assert_eq!(shown("https://user:pass@rpc.example:8545/v3/secret?key=1"), "https://rpc.example:8545");
        assert_eq!(shown("nonsense"), "(no address)");
    }
}
