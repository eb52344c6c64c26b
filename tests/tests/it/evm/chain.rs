//! A local chain with a group contract, and the handles that tests turn on it.

use std::time::Duration;

use alloy::primitives::{Address, B256, Bytes};
use alloy::providers::Provider;
use alloy::rpc::types::TransactionRequest;
use anyhow::{Context as _, Result, ensure};
use lockstep::devnet::anvil::{Anvil, AnvilConfig};
use lockstep::evm::abi::Group;
use lockstep::evm::check::ExpectedChain;
use lockstep::evm::provider::{EvmProvider, provider};
use lockstep_core::bls::SecretKey;
use lockstep_core::message::Message;
use lockstep_core::{Account, Uuid};

/// A chain id of development.
pub(super) const CHAIN_ID: u64 = 31_337;
/// The group of all tests.
pub(super) const GROUP_ID: B256 = B256::repeat_byte(0x11);
/// The deployment of all tests.
pub(super) const INSTANCE: B256 = B256::repeat_byte(0x22);

mod generated {
    alloy::sol!(
        #[sol(rpc)]
        Vault,
        "../contracts/abi/Vault.json"
    );
}
pub(super) use self::generated::Vault;

/// A chain that mines each transaction at once and nothing else.
pub(super) struct Chain {
    pub(super) anvil: Anvil,
    pub(super) provider: EvmProvider,
    pub(super) group_key: SecretKey,
    pub(super) contract: Address,
    deployer: Address,
}

impl Chain {
    pub(super) async fn start() -> Result<Self> {
        Self::start_as(CHAIN_ID).await
    }

    /// The same with another chain id: deployer, addresses, group, instance and key are all the same.
    pub(super) async fn start_as(chain_id: u64) -> Result<Self> {
        let anvil = Anvil::start(&AnvilConfig { block_time_s: None, ..AnvilConfig::new(chain_id) }).await?;
        let provider = provider(&anvil.url())?;
        provider.client().set_poll_interval(Duration::from_millis(10));
        let accounts = provider.get_accounts().await?;
        let deployer = *accounts.first().context("anvil has accounts")?;
        let group_key = SecretKey::derive(&[7; 32], b"test")?;
        let mut chain = Self { anvil, provider, group_key, contract: Address::ZERO, deployer };
        chain.contract = chain.deploy_group(GROUP_ID, INSTANCE).await?;
        Ok(chain)
    }

    /// Deploys a group contract with the key of all tests.
    pub(super) async fn deploy_group(&self, group_id: B256, instance: B256) -> Result<Address> {
        let group = Group::deploy_builder(&self.provider, group_id, instance, self.key(), Address::ZERO, 0);
        self.deploy(group.into_transaction_request()).await
    }

    /// Deploys the group contract of all tests with a recovery address.
    pub(super) async fn deploy_recoverable(&self, recovery: Address, silence_days: u16) -> Result<Address> {
        let group = Group::deploy_builder(&self.provider, GROUP_ID, INSTANCE, self.key(), recovery, silence_days);
        self.deploy(group.into_transaction_request()).await
    }

    fn key(&self) -> Bytes {
        Bytes::copy_from_slice(&self.group_key.public_key().to_eip2537())
    }

    pub(super) fn expected(&self) -> ExpectedChain {
        ExpectedChain {
            chain_id: CHAIN_ID,
            contract: self.contract,
            group_id: GROUP_ID,
            instance: INSTANCE,
            group_key: self.group_key.public_key().to_eip2537(),
            recovery: None,
        }
    }

    /// Sends from an account that anvil holds.
    pub(super) async fn send(&self, request: TransactionRequest) -> Result<()> {
        self.mined(request).await.map(drop)
    }

    pub(super) async fn deploy(&self, request: TransactionRequest) -> Result<Address> {
        self.mined(request).await?.context("a deployment")
    }

    async fn mined(&self, request: TransactionRequest) -> Result<Option<Address>> {
        let sent = self.provider.send_transaction(request.from(self.deployer)).await?;
        let receipt = sent.with_timeout(Some(Duration::from_secs(20))).get_receipt().await?;
        ensure!(receipt.status(), "a transaction of the test reverted");
        Ok(receipt.contract_address)
    }

    /// Deploys a vault that binds itself to `process`.
    pub(super) async fn vault(&self, process: Uuid) -> Result<Address> {
        let word = Account::of_user(process).0;
        let vault = Vault::deploy_builder(&self.provider, self.contract, word);
        self.deploy(vault.into_transaction_request()).await
    }

    pub(super) async fn balance_of(&self, vault: Address, message: &Message) -> Result<u128> {
        let vault = Vault::new(vault, &self.provider);
        let balance = vault.balanceOf(message.sender.0, B256::from(message.asset.0)).call().await?;
        Ok(u128::try_from(balance)?)
    }

    pub(super) async fn mine(&self, blocks: u64) -> Result<()> {
        self.rpc::<()>("anvil_mine", (format!("{blocks:#x}"),)).await
    }

    pub(super) async fn rpc<T: alloy::rpc::json_rpc::RpcRecv>(
        &self,
        method: &'static str,
        params: impl alloy::rpc::json_rpc::RpcSend,
    ) -> Result<T> {
        Ok(self.provider.raw_request(method.into(), params).await?)
    }
}
