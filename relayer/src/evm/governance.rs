//! Governance of a group contract: where it stands, and how an action reaches it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use alloy::eips::BlockId;
use alloy::primitives::{Address, B256};
use alloy::providers::Provider;
use alloy::rpc::types::{Filter, Log, TransactionRequest};
use alloy::signers::local::PrivateKeySigner;
use alloy::sol_types::{SolCall, SolEvent};
use alloy::transports::TransportError;
use lockstep_core::group::Finality;
use thiserror::Error;

use crate::evm::abi::Group;
use crate::evm::account::Account;
use crate::evm::fees::FeePolicy;
use crate::evm::provider::EvmProvider;
use crate::world::chain::{Cause, ChainError, Purpose, Submission};

/// Between two looks whether a transaction is mined.
const LOOK: Duration = Duration::from_millis(200);

const DOING: &str = "reading the contract's governance";

/// Where a contract stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContractState {
    /// Nonce of the next action.
    pub nonce: u64,
    /// Takes no deliveries and sends no outbounds.
    pub halted: bool,
    /// Generation of its key.
    pub generation: u64,
    /// Its key, EIP-2537.
    pub key: Vec<u8>,
}

/// Whether the contract is halted at a block.
///
/// # Errors
/// Where the endpoint fails.
pub async fn read_halted(provider: &EvmProvider, contract: Address, block: BlockId) -> Result<bool, ChainError> {
    Group::new(contract, provider).halted().block(block).call().await.map_err(failed)
}

/// Where the contract stands in the newest block.
///
/// # Errors
/// Where the endpoint fails.
pub async fn read_contract(provider: &EvmProvider, contract: Address) -> Result<ContractState, ChainError> {
    let group = Group::new(contract, provider);
    Ok(ContractState {
        nonce: group.governanceNonce().call().await.map_err(failed)?,
        halted: group.halted().call().await.map_err(failed)?,
        generation: group.keyGeneration().call().await.map_err(failed)?,
        key: group.key().call().await.map_err(failed)?.to_vec(),
    })
}

/// The action, kind and data, that used a governance nonce.
///
/// # Errors
/// Where the endpoint fails.
pub async fn read_governed(
    provider: &EvmProvider,
    contract: Address,
    nonce: u64,
    from_block: u64,
) -> Result<Option<(u8, Vec<u8>)>, ChainError> {
    let topic = B256::left_padding_from(&nonce.to_be_bytes());
    let filter =
        Filter::new().address(contract).from_block(from_block).event_signature(Group::Governed::SIGNATURE_HASH);
    let logs = provider.get_logs(&filter.topic1(topic)).await;
    let logs = logs.map_err(|error| ChainError::Endpoint { doing: DOING, source: Box::new(error) })?;
    Ok(governed(&logs))
}

/// The action, kind and data, that the first of these logs that tells of one names.
pub fn governed(logs: &[Log]) -> Option<(u8, Vec<u8>)> {
    let events = logs.iter().filter_map(|log| Group::Governed::decode_log_data_validate(&log.inner.data).ok());
    events.map(|event| (event.kind, event.data.to_vec())).next()
}

fn failed(error: alloy::contract::Error) -> ChainError {
    ChainError::Endpoint { doing: DOING, source: Box::new(error) }
}

/// A signed action on its way to a contract. Anybody may send it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedAction {
    /// The contract.
    pub contract: Address,
    /// Its governance nonce.
    pub nonce: u64,
    /// The action's kind.
    pub kind: u8,
    /// The action's data.
    pub data: Vec<u8>,
    /// The group's signature, EIP-2537.
    pub signature: [u8; 128],
}

/// Sends an action from an account, behind what that has pending, and waits until it is mined.
///
/// # Errors
/// See [`GovernTxError`].
pub async fn send_action(
    provider: &EvmProvider,
    signer: PrivateKeySigner,
    (chain_id, finality): (u64, Finality),
    action: &SignedAction,
    patience: Duration,
) -> Result<B256, GovernTxError> {
    let SignedAction { contract, nonce, kind, data, signature } = action.clone();
    let call = Group::governCall { nonce, kind, data: data.into(), signature: signature.to_vec().into() };
    let calldata = call.abi_encode();
    let account = Account::new(provider.clone(), signer, chain_id, contract, finality);
    let request = TransactionRequest::default().from(account.address()).to(contract).input(calldata.clone().into());
    let endpoint = |error: TransportError| GovernTxError::Endpoint(Box::new(error));
    let estimate = provider.estimate_gas(request).await.map_err(|error| {
        let answer = error.as_error_resp();
        match answer.and_then(|answer| answer.as_decoded_interface_error::<Group::GroupErrors>()) {
            Some(reason) => GovernTxError::Refused(format!("{reason:?}")),
            None => endpoint(error),
        }
    })?;
    let view = account.view().await.map_err(|error| GovernTxError::Endpoint(Box::new(error)))?;
    let price = FeePolicy::default().price(view.market).ok_or(GovernTxError::TooDear(view.market.base_fee))?;
    // The service may have deliveries under way from the same account: this one goes behind them.
    let account_nonce = provider.get_transaction_count(account.address()).pending().await.map_err(endpoint)?;
    let submission = Submission {
        account_nonce,
        purpose: Purpose::Deliver { calldata, heads: BTreeMap::new() },
        gas_limit: estimate.saturating_add(estimate.div_ceil(5)),
        max_fee: price.max_fee,
        tip: price.tip,
        first_sent_at: 0,
        last_sent_at: 0,
        hashes: Vec::new(),
    };
    let signed = account.sign(&submission).map_err(|error| GovernTxError::Endpoint(Box::new(error)))?;
    account.send(&signed).await.map_err(endpoint)?;
    let started = Instant::now();
    while started.elapsed() < patience {
        let mined = account.receipt(&[signed.hash]).await.map_err(|error| GovernTxError::Endpoint(Box::new(error)))?;
        match mined {
            Some(mined) if mined.success => return Ok(mined.hash),
            Some(mined) => return Err(GovernTxError::Reverted(mined.hash)),
            None => tokio::time::sleep(LOOK).await,
        }
    }
    Err(GovernTxError::NotMined(signed.hash))
}

/// Why an action did not reach its contract.
#[derive(Debug, Error)]
pub enum GovernTxError {
    /// The endpoint failed.
    #[error("the RPC endpoint failed")]
    Endpoint(#[source] Cause),
    /// The contract says no.
    #[error("the contract refuses the action: {0}")]
    Refused(String),
    /// More than this member pays for gas.
    #[error("gas costs {0} wei, more than this member pays")]
    TooDear(u128),
    /// Sent, and not seen in a block.
    #[error("transaction {0} was sent and is not mined yet; look again later")]
    NotMined(B256),
    /// Something else was faster.
    #[error("transaction {0} was mined and reverted: somebody used the nonce meanwhile")]
    Reverted(B256),
}
