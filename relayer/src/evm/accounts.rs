//! Whether the contracts of smart accounts on a chain are those of this build, and were made for one another.
//!
//! A token and an account are clones, whose address says whose clone they are: to know what they are clones of is enough.

use alloy::primitives::{Address, B256};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::evm::code::{CodeError, Comparison, Contract, LocalBuild, code_at};
use crate::evm::provider::EvmProvider;
use crate::world::chain::Cause;

mod generated {
    alloy::sol! {
        #[sol(rpc)]
        interface Registry {
            function process() external view returns (bytes32);
            function assetImplementation() external view returns (address);
            function accountImplementation() external view returns (address);
        }
    }
}
use self::generated::Registry;

/// What `DeployAccounts.s.sol` has deployed on a chain, as it writes it down.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DeployedAccounts {
    /// EIP-155 id.
    pub chain: u64,
    /// The payload storage.
    pub storage: Address,
    /// The accounts process.
    pub accounts: Address,
    /// The wrapped coin.
    pub coin: Address,
    /// The same if it was deployed, too; zero for a coin of the chain, whose code is not known here.
    pub own_coin: Address,
    /// The bridge.
    pub bridge: Address,
}

/// One contract, and what is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The contract's name.
    pub name: &'static str,
    /// Where it is.
    pub address: Address,
    /// `None` where it is as it should be.
    pub differs: Option<String>,
}

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Findings {
    /// The ledger user, as 32 bytes, who must register the accounts process; `None` where that has other code.
    pub process: Option<B256>,
    /// Contract by contract.
    pub contracts: Vec<Finding>,
}

/// Why contracts could not be compared.
#[derive(Debug, Error)]
pub enum AccountsError {
    /// This build cannot say what they should be.
    #[error(transparent)]
    Build(#[from] CodeError),
    /// The endpoint fails.
    #[error("asking the contracts of smart accounts")]
    Endpoint(#[source] Cause),
}

impl AccountsError {
    fn endpoint(error: impl Into<Cause>) -> Self {
        Self::Endpoint(error.into())
    }
}

/// Compares all of them with this build, and what they were made with with one another: the accounts process must be one of
/// `group`.
///
/// # Errors
/// Where the endpoint fails, or this build is broken.
pub async fn check_accounts(
    provider: &EvmProvider,
    group: Address,
    deployed: &DeployedAccounts,
) -> Result<Findings, AccountsError> {
    let DeployedAccounts { storage, accounts, coin, own_coin, bridge, .. } = *deployed;
    let (of_group, of_storage, of_accounts) =
        (("group", group.into_word()), ("storage", storage.into_word()), ("accounts process", accounts.into_word()));
    let of_coin = ("coin", coin.into_word());
    let mut contracts = vec![
        judge(provider, Contract::Storage, storage, &[]).await?,
        judge(provider, Contract::Accounts, accounts, &[of_group, of_storage]).await?,
        judge(provider, Contract::Bridge, bridge, &[of_accounts, of_coin]).await?,
    ];
    if !own_coin.is_zero() {
        contracts.push(judge(provider, Contract::WrappedCoin, own_coin, &[]).await?);
    }
    // Only the right code tells the truth about the rest.
    let is_right =
        contracts.iter().all(|finding| finding.name != Contract::Accounts.name() || finding.differs.is_none());
    if !is_right {
        return Ok(Findings { process: None, contracts });
    }
    let registry = Registry::new(accounts, provider);
    let process = registry.process().call().await.map_err(AccountsError::endpoint)?;
    let token = registry.assetImplementation().call().await.map_err(AccountsError::endpoint)?;
    let account = registry.accountImplementation().call().await.map_err(AccountsError::endpoint)?;
    contracts.push(judge(provider, Contract::Asset, token, &[of_accounts, of_group]).await?);
    let of_process = ("process", process);
    contracts.push(judge(provider, Contract::Account, account, &[of_accounts, of_storage, of_process]).await?);
    Ok(Findings { process: Some(process), contracts })
}

/// Compares the code of a contract, and looks for what it must have been made with among its immutables.
async fn judge(
    provider: &EvmProvider,
    contract: Contract,
    address: Address,
    made_with: &[(&str, B256)],
) -> Result<Finding, AccountsError> {
    let found = code_at(provider, address).await.map_err(AccountsError::endpoint)?;
    let build = LocalBuild::load(contract)?;
    let differs = match build.compare(&found) {
        Comparison::Same => {
            let written = build.written(&found);
            let missing = made_with.iter().find(|(_, value)| !written.contains(value));
            missing.map(|(what, value)| format!("it was made with another {what} than {value}"))
        }
        other @ (Comparison::None | Comparison::Length { .. } | Comparison::Differs { .. }) => Some(other.to_string()),
    };
    Ok(Finding { name: contract.name(), address, differs })
}
