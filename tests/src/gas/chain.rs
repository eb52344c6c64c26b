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
/// Processes that one transaction seeds: two fresh slots each.
const SEEDED_AT_ONCE: usize = 350;
/// Status of a process that is called.
const ALIVE: u8 = 1;
/// A local chain mines a transaction in milliseconds; the block that seeds takes seconds.
const MINED_TIMEOUT: Duration = Duration::from_secs(90);
const MINED_POLL: Duration = Duration::from_millis(4);

mod generated {
    alloy::sol!(
        #[sol(rpc)]
        Recorder,
        "../contracts/abi/Recorder.json"
    );
    alloy::sol!(
        #[sol(rpc)]
        Storage,
        "../contracts/abi/Storage.json"
    );
    alloy::sol!(
        #[sol(rpc)]
        Accounts,
        "../contracts/abi/Accounts.json"
    );
    alloy::sol!(Asset, "../contracts/abi/Asset.json");
    alloy::sol!(
        #[sol(rpc)]
        Seeder,
        "../contracts/abi/Seeder.json"
    );
}
pub(super) use generated::{Accounts, Asset};
use generated::{Recorder, Seeder, Storage};

/// With the highest gas limit, and no tip.
fn priced(request: TransactionRequest) -> TransactionRequest {
    request.gas_limit(GAS_LIMIT).max_fee_per_gas(MAX_FEE).max_priority_fee_per_gas(0)
}

/// Anvil with a group contract and a receiver for each process, whose slots are in use.
pub(super) struct Chain {
    anvil: Anvil,
    provider: EvmProvider,
    /// The group contract.
    pub(super) group: Address,
    /// The receivers, in the order of [`PROCESSES`].
    pub(super) receivers: Vec<Address>,
    /// The process that gives each user a smart account, bound to the first of [`PROCESSES`].
    pub(super) accounts: Address,
    beginning: U256,
}

impl Chain {
    /// Starts a chain with the rules of Osaka that mines when there are transactions, and deploys the contracts.
    pub(super) async fn start(key: &PublicKey) -> Result<Self> {
        let anvil = Anvil::start(&AnvilConfig { block_time_s: None, ..AnvilConfig::new(CHAIN_ID) }).await?;
        let provider = provider(&anvil.url())?;
        let (group, accounts) = (Address::ZERO, Address::ZERO);
        let mut chain = Self { anvil, provider, group, receivers: Vec::new(), accounts, beginning: U256::ZERO };
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
        let [process, _] = PROCESSES.map(|process| Account::of_user(process).0);
        let storage = Storage::deploy_builder(&chain.provider).into_transaction_request();
        let storage = chain.deploy(storage).await.context("the payload storage")?;
        let accounts = Accounts::deploy_builder(&chain.provider, chain.group, process, storage);
        chain.accounts = chain.deploy(accounts.into_transaction_request()).await.context("the accounts process")?;
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

    /// Writes what the group contract holds of `count` processes, named 1 and so on: to register them, as many
    /// contracts would have to be deployed. For that another contract has the group's place for one block.
    pub(super) async fn seed(&self, count: u32) -> Result<()> {
        let (target, last) = (*self.receivers.first().context("a receiver")?, U256::from(count));
        let code = self.provider.get_code_at(self.group).await?;
        let seeder = self.deploy(Seeder::deploy_builder(&self.provider).into_transaction_request()).await?;
        self.rpc::<()>("anvil_setCode", (self.group, self.provider.get_code_at(seeder).await?)).await?;
        self.rpc::<()>("evm_setAutomine", (false,)).await?;
        self.rpc::<bool>("evm_setBlockGasLimit", (U256::from(u64::MAX / 2),)).await?;
        let mut sent = Vec::new();
        for first in (1..=count).step_by(SEEDED_AT_ONCE) {
            let size = U256::from(SEEDED_AT_ONCE).min(last.saturating_sub(U256::from(first)).saturating_add(U256::ONE));
            let call = Seeder::seedCall { first: U256::from(first), count: size, target }.abi_encode();
            let request = priced(TransactionRequest::default().from(DEVELOPER).to(self.group).input(call.into()));
            sent.push(*self.provider.send_transaction(request).await?.tx_hash());
        }
        self.rpc::<()>("anvil_mine", ("0x1",)).await?;
        for hash in sent {
            self.mined(hash).await?;
        }
        self.rpc::<()>("evm_setAutomine", (true,)).await?;
        self.rpc::<()>("anvil_setCode", (self.group, code)).await?;
        for process in [U256::from(count.min(1)), last].into_iter().filter(|process| !process.is_zero()) {
            let info = Group::new(self.group, &self.provider).processInfo(B256::from(process)).call().await?;
            ensure!((info.target, info.status) == (target, ALIVE) && !info.head.is_zero(), "the seed did not come up");
        }
        Ok(())
    }

    /// A transaction of anybody to anything.
    pub(super) async fn call(&self, from: Address, to: Address, calldata: Vec<u8>) -> Result<TransactionReceipt> {
        self.mine(TransactionRequest::default().from(from).to(to).input(calldata.into())).await
    }

    /// The token of an asset.
    pub(super) async fn token(&self, asset: B256) -> Result<Address> {
        Ok(Accounts::new(self.accounts, &self.provider).tokenOf(asset).call().await?)
    }

    /// Calls the group contract from an account of nobody special, or from a contract; answers with the receipt.
    pub(super) async fn call_group(&self, from: Address, calldata: Vec<u8>) -> Result<TransactionReceipt> {
        self.call(from, self.group, calldata).await
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
        let sent = self.provider.send_transaction(priced(request)).await?;
        self.mined(*sent.tx_hash()).await
    }

    async fn mined(&self, hash: B256) -> Result<TransactionReceipt> {
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
