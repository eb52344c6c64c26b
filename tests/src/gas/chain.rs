//! A chain with the contracts of the benchmark, which goes back to where it began.

use std::time::Duration;

use alloy::primitives::{Address, B256, Bytes, U256};
use alloy::providers::Provider;
use alloy::rpc::json_rpc::{RpcRecv, RpcSend};
use alloy::rpc::types::{TransactionReceipt, TransactionRequest};
use alloy::sol_types::SolCall as _;
use anyhow::{Context as _, Result, ensure};
use lockstep::devnet::anvil::{Anvil, AnvilConfig, DEVELOPER};
use lockstep::evm::abi::Group;
use lockstep::evm::provider::{EvmProvider, provider};
use lockstep_core::bls::PublicKey;
use lockstep_core::{Account, Uuid};

use super::members::{CHAIN_ID, GROUP_ID, INSTANCE, MESSAGES_MAX, PROCESSES, key_of};

/// Below the 2²⁴ that a transaction may have (EIP-7825); what is left is not used.
const GAS_LIMIT: u64 = 16_000_000;
/// No tip is paid, so that the price of gas is the base fee; this is above any base fee of the chain.
const MAX_FEE: u128 = 100_000_000_000;
/// A local chain mines a transaction in milliseconds.
const MINED_TIMEOUT: Duration = Duration::from_secs(30);
const MINED_POLL: Duration = Duration::from_millis(4);

mod generated {
    alloy::sol!(
        #[sol(rpc)]
        Recorder,
        "../contracts/abi/Recorder.json"
    );
}
use generated::Recorder;

/// Anvil with a group contract and a receiver for each process, whose slots are in use.
pub(super) struct Chain {
    anvil: Anvil,
    provider: EvmProvider,
    /// The group contract.
    pub(super) group: Address,
    /// The receivers, in the order of [`PROCESSES`].
    pub(super) receivers: Vec<Address>,
    beginning: U256,
}

impl Chain {
    /// Starts a chain with the rules of Osaka that mines when there are transactions, and deploys the contracts.
    pub(super) async fn start(key: &PublicKey) -> Result<Self> {
        let anvil = Anvil::start(&AnvilConfig { block_time_s: None, ..AnvilConfig::new(CHAIN_ID) }).await?;
        let provider = provider(&anvil.url())?;
        let mut chain = Self { anvil, provider, group: Address::ZERO, receivers: Vec::new(), beginning: U256::ZERO };
        let key = Bytes::copy_from_slice(&key.to_eip2537());
        let group = Group::deploy_builder(&chain.provider, GROUP_ID, INSTANCE, key, Address::ZERO, 0)
            .into_transaction_request();
        chain.group = chain.deploy(group).await.context("the group contract")?;
        let keys: Vec<B256> = (0..MESSAGES_MAX).map(key_of).collect();
        for process in PROCESSES {
            let word = Account::of_user(process).0;
            let receiver = Recorder::deploy_builder(&chain.provider, chain.group, word, keys.clone());
            let receiver = chain.deploy(receiver.into_transaction_request()).await.context("a receiver")?;
            chain.receivers.push(receiver);
        }
        chain.beginning = chain.rpc("evm_snapshot", ()).await?;
        Ok(chain)
    }

    /// Goes back to the state in which nothing but the contracts exists.
    pub(super) async fn rewind(&mut self) -> Result<()> {
        let done: bool = self.rpc("evm_revert", (self.beginning,)).await?;
        ensure!(done, "the chain did not go back");
        self.beginning = self.rpc("evm_snapshot", ()).await?;
        Ok(())
    }

    /// Calls the group contract from an account of nobody special, or from a contract; answers with the receipt.
    pub(super) async fn call_group(&self, from: Address, calldata: Vec<u8>) -> Result<TransactionReceipt> {
        self.mine(TransactionRequest::default().from(from).to(self.group).input(calldata.into())).await
    }

    /// Fills the tank of a process.
    pub(super) async fn fund(&self, process: Uuid, wei: U256) -> Result<()> {
        let call = Group::fundCall { process: Account::of_user(process).0 }.abi_encode();
        let request = TransactionRequest::default().from(DEVELOPER).to(self.group).value(wei).input(call.into());
        self.mine(request).await.map(|_| ())
    }

    /// What a deliverer may withdraw, in wei.
    pub(super) async fn credit(&self, deliverer: Address) -> Result<U256> {
        Ok(Group::new(self.group, &self.provider).credit(deliverer).call().await?)
    }

    /// Lets a contract be the sender of transactions, and pays for them.
    pub(super) async fn impersonate(&self, contract: Address) -> Result<()> {
        self.rpc::<()>("anvil_impersonateAccount", (contract,)).await?;
        self.rpc("anvil_setBalance", (contract, U256::from(10).pow(U256::from(20)))).await
    }

    /// The head of a mailbox in the contract.
    pub(super) async fn head(&self, process: Uuid) -> Result<B256> {
        Ok(Group::new(self.group, &self.provider).head(Account::of_user(process).0).call().await?)
    }

    /// What a receiver holds under a key.
    pub(super) async fn value_of(&self, receiver: Address, key: B256) -> Result<B256> {
        Ok(Recorder::new(receiver, &self.provider).valueOf(key).call().await?)
    }

    /// Stops the chain.
    pub(super) async fn stop(self) -> Result<()> {
        Ok(self.anvil.stop().await?)
    }

    async fn deploy(&self, request: TransactionRequest) -> Result<Address> {
        self.mine(request.from(DEVELOPER)).await?.contract_address.context("a deployment has an address")
    }

    /// Sends a transaction from an account whose key the chain holds, and waits for its receipt. Polls for the receipt
    /// itself: what watches blocks does not take it well that their numbers go back.
    async fn mine(&self, request: TransactionRequest) -> Result<TransactionReceipt> {
        let request = request.gas_limit(GAS_LIMIT).max_fee_per_gas(MAX_FEE).max_priority_fee_per_gas(0);
        let sent = self.provider.send_transaction(request).await?;
        let hash = *sent.tx_hash();
        let receipt = tokio::time::timeout(MINED_TIMEOUT, async {
            loop {
                if let Some(receipt) = self.provider.get_transaction_receipt(hash).await? {
                    return anyhow::Ok(receipt);
                }
                tokio::time::sleep(MINED_POLL).await;
            }
        });
        let receipt = receipt.await.with_context(|| format!("transaction {hash} was not mined"))??;
        ensure!(receipt.status(), "transaction {hash} reverted");
        Ok(receipt)
    }

    async fn rpc<T: RpcRecv>(&self, method: &'static str, params: impl RpcSend) -> Result<T> {
        Ok(self.provider.raw_request(method.into(), params).await?)
    }
}
