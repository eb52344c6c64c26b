//! A whole network with processes of every temper, and what happens in it.

use std::time::{Duration, Instant};

use alloy::primitives::{Address, Bytes, U256};
use alloy::providers::Provider;
use alloy::rpc::types::TransactionRequest;
use anyhow::{Context as _, Result, ensure};
use futures_util::future::try_join_all;
use lockstep::api::Status;
use lockstep::devnet::anvil::DEVELOPER;
use lockstep::devnet::network::{BTC, CHAIN, MEMBERS, Network, NetworkConfig, Ports};
use lockstep::evm::abi::Group;
use lockstep::evm::calldata::process_word;
use lockstep::keys::{XIN, system_entropy};
use lockstep::ledger::pay::balance;
use lockstep::ledger::wire::{OutputRow, OutputState, PAGE_ROWS_MAX};
use lockstep::ledger::{OutputQuery, SafeApi, Seed};
use lockstep_core::mixin::ids::members_hash;
use lockstep_core::operation::{Operation, Policy, Registration};
use lockstep_core::{Account, Amount, AssetId, B256, Uuid};
use tempfile::TempDir;

use crate::binary::lockstep_binary;

use self::generated::MockProcess;
use self::generated::MockProcess::Message;

mod generated {
    alloy::sol!(
        #[sol(rpc, all_derives)]
        MockProcess,
        "../contracts/abi/MockProcess.json"
    );
}

/// Far more than anything takes, on a machine that does ten other things.
pub(super) const PATIENCE: Duration = Duration::from_secs(120);
/// Between two looks at what is awaited.
const LOOK: Duration = Duration::from_millis(100);
/// What each process's owner has for the fee.
const FEE_MONEY: u128 = 10_000_000;

/// What a process does when it is called, as `MockProcess.Mode` counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Temper {
    /// Keeps the message and the payment.
    Keeps = 0,
    /// Reverts.
    Reverts = 1,
    /// Takes all the gas there is.
    BurnsGas = 2,
    /// Returns a megabyte, for which the default gas is too little.
    ReturnsMegabyte = 3,
    /// Reverts with a megabyte.
    RevertsMegabyte = 4,
}

/// A process to be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    temper: Temper,
    gas: u32,
    binds: bool,
    private: bool,
}

impl Plan {
    /// With the gas that a call has by default.
    pub(super) const fn new(temper: Temper) -> Self {
        Self { temper, gas: 300_000, binds: true, private: false }
    }

    /// With gas for a megabyte of memory: 31,250 words cost 3 each and their square over 512.
    pub(super) const fn with_gas(self) -> Self {
        Self { gas: 3_000_000, ..self }
    }

    /// Without the consent of the contract.
    pub(super) const fn unbound(self) -> Self {
        Self { binds: false, ..self }
    }

    /// It sees masks in the place of its users.
    pub(super) const fn private(self) -> Self {
        Self { private: true, ..self }
    }
}

/// A process and its contract.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) process: Uuid,
    pub(super) contract: Address,
}

/// The network.
pub(super) struct Town {
    pub(super) network: Network,
    pub(super) alice: SafeApi,
    pub(super) bob: SafeApi,
    pub(super) btc: AssetId,
    group: Address,
    _folder: TempDir,
}

impl Town {
    pub(super) async fn start() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let config = NetworkConfig {
            folder: folder.path().join("town"),
            binary: lockstep_binary()?,
            ports: Ports::Free,
            members: MEMBERS,
        };
        let network = Box::pin(Network::start(config, &mut |_| ())).await?;
        network.chain.client().set_poll_interval(Duration::from_millis(50));
        Ok(Self {
            alice: network.as_user("alice")?,
            bob: network.as_user("bob")?,
            btc: AssetId::from_uuid(BTC),
            group: network.group.contract(CHAIN).context("a contract")?,
            network,
            _folder: folder,
        })
    }

    /// Deploys and registers processes, each by a user of its own.
    pub(super) async fn settle<const N: usize>(&self, plans: [Plan; N]) -> Result<[Place; N]> {
        let mut places = Vec::new();
        for (index, plan) in plans.into_iter().enumerate() {
            let owner = self.owner(&format!("process-{index}")).await?;
            let process = owner.user();
            let word = if plan.binds { process_word(process) } else { B256::ZERO };
            let mock = MockProcess::deploy_builder(&self.network.chain, self.group, word);
            let contract = self.send(mock.into_transaction_request()).await?.context("a deployment")?;
            let mock = MockProcess::new(contract, &self.network.chain);
            self.send(mock.setMode(plan.temper as u8).into_transaction_request()).await?;
            let (chain, policy) = (CHAIN, Policy::Refund);
            let Plan { private, gas, .. } = plan;
            let wanted = Registration { chain, address: contract, private, policy, gas, assets: None };
            let memo = Operation::register(process, &wanted)?.encode()?;
            let fee = self.network.group.fee().amount;
            self.network.pay(&owner, AssetId::from_uuid(XIN), fee, memo).await?;
            places.push(Place { process, contract });
        }
        for place in &places {
            until("a registration to be delivered", async || self.standing(*place).await, |standing| *standing != 0)
                .await?;
        }
        places.try_into().ok().context("as many places as plans")
    }

    /// A new user with money for a registration.
    async fn owner(&self, name: &str) -> Result<SafeApi> {
        let (session, spend) = (Seed::new(system_entropy()), Seed::new(system_entropy()));
        let keystore = self.network.operator.add_user(name, session, spend).await?;
        let (request, receivers) = (Uuid::new_v5(&keystore.app_id, b"fee"), [keystore.app_id]);
        self.network.operator.mint(request, XIN, Amount::from_units(FEE_MONEY), (&receivers, 1), &[]).await?;
        Ok(SafeApi::new(&self.network.ledger_url(), keystore)?)
    }

    /// Sends from an account that the chain holds the key of.
    pub(super) async fn send(&self, request: TransactionRequest) -> Result<Option<Address>> {
        let sent = self.network.chain.send_transaction(request.from(DEVELOPER)).await?;
        let receipt = sent.with_timeout(Some(PATIENCE)).get_receipt().await?;
        ensure!(receipt.status(), "a transaction of the test reverted");
        Ok(receipt.contract_address)
    }

    /// Makes the contract of a process pay out to a user.
    pub(super) async fn pay_out(&self, from: Place, amount: Amount, to: &SafeApi, memo: Vec<u8>) -> Result<()> {
        self.pay_account(from, amount, Account::of_user(to.user()), memo).await
    }

    /// Makes it pay out to an account.
    pub(super) async fn pay_account(&self, from: Place, amount: Amount, to: Account, memo: Vec<u8>) -> Result<()> {
        let mock = MockProcess::new(from.contract, &self.network.chain);
        let account = Bytes::copy_from_slice(to.0.as_slice());
        let send = mock.send(B256::from(self.btc.0), U256::from(amount.units()), account, memo.into());
        self.send(send.into_transaction_request()).await.map(|_| ())
    }

    /// A payment with a payload for a process.
    pub(super) async fn call(&self, user: &SafeApi, place: Place, amount: Amount, payload: &[u8]) -> Result<()> {
        let memo = Operation::call(place.process, payload.to_vec()).encode()?;
        self.network.pay(user, self.btc, amount, memo).await.map(|_| ())
    }

    /// The messages that a process kept, in the order that it got them in.
    pub(super) async fn received(&self, place: Place) -> Result<Vec<Message>> {
        let mock = MockProcess::new(place.contract, &self.network.chain);
        let count: u64 = mock.received().call().await?.try_into()?;
        let mut messages = Vec::new();
        for index in 0..count {
            messages.push(mock.receivedAt(U256::from(index)).call().await?);
        }
        Ok(messages)
    }

    /// Their payloads.
    pub(super) async fn payloads(&self, place: Place) -> Result<Vec<Vec<u8>>> {
        Ok(self.received(place).await?.into_iter().map(|message| message.payload.to_vec()).collect())
    }

    /// Status of a process at the group contract: 1 alive, 2 rejected.
    pub(super) async fn standing(&self, place: Place) -> Result<u8> {
        let group = Group::new(self.group, &self.network.chain);
        Ok(group.processInfo(process_word(place.process)).call().await?.status)
    }

    /// True where a message of a process is set apart for a retry.
    pub(super) async fn is_parked(&self, place: Place, nonce: u64) -> Result<bool> {
        let group = Group::new(self.group, &self.network.chain);
        Ok(group.parked(process_word(place.process), nonce).call().await?.hash != B256::ZERO)
    }

    /// What a process may pay out.
    pub(super) async fn custody(&self, place: Place) -> Result<Amount> {
        let group = Group::new(self.group, &self.network.chain);
        let held = group.custody(process_word(place.process), B256::from(self.btc.0)).call().await?;
        Ok(Amount::from_units(u128::try_from(held)?))
    }

    /// Name and symbol that the contract has for BTC.
    pub(super) async fn asset_name(&self) -> Result<(String, String)> {
        let info = Group::new(self.group, &self.network.chain).assetInfo(B256::from(self.btc.0)).call().await?;
        Ok((info.name, info.symbol))
    }

    /// The most that tanks repay: tip in wei, and gas for a byte.
    pub(super) async fn repay_limits(&self) -> Result<(u64, u32)> {
        let limits = Group::new(self.group, &self.network.chain).repayLimits().call().await?;
        Ok((limits.tipWei, limits.gasPerByte))
    }

    /// What a user has on the ledger.
    pub(super) async fn balance(&self, user: &SafeApi) -> Result<Amount> {
        Ok(balance(user, self.btc).await?)
    }

    /// The group's outputs of BTC, spent ones too.
    pub(super) async fn group_outputs(&self) -> Result<Vec<OutputRow>> {
        self.outputs_of(self.btc).await
    }

    /// The group's outputs of an asset, spent ones too.
    pub(super) async fn outputs_of(&self, asset: AssetId) -> Result<Vec<OutputRow>> {
        let group = self.network.group.mix();
        let query = OutputQuery {
            members: hex::encode(members_hash(&group.users().context("members are users")?)),
            threshold: group.threshold(),
            offset: 0,
            limit: PAGE_ROWS_MAX,
            asset: Some(asset.to_string()),
            state: None,
        };
        Ok(self.alice.outputs(&query).await?)
    }

    /// What the group holds on the ledger.
    pub(super) async fn unspent(&self) -> Result<Amount> {
        let outputs = self.group_outputs().await?;
        let unspent = outputs.iter().filter(|row| row.state == OutputState::Unspent);
        let sum = unspent.map(|row| row.amount).try_fold(Amount::ZERO, Amount::checked_add);
        sum.context("the group's coins add up to too much")
    }

    /// All members at one history that covers everything so far, with nothing left to pay.
    pub(super) async fn agreed(&self) -> Result<Status> {
        let newest = self.group_outputs().await?.iter().map(|row| row.sequence).max().unwrap_or(0);
        let look = async || {
            let all = try_join_all(self.network.members.iter().map(|member| member.status())).await?;
            let first = all.first().cloned().context("no members")?;
            let alike = |status: &Status| status.history == first.history && status.open_payouts == 0;
            anyhow::Ok(if first.sequence >= newest && all.iter().all(alike) { Ok(first) } else { Err(all) })
        };
        until("the members to agree", look, |found| found.is_ok()).await?.map_err(|all| anyhow::anyhow!("{all:?}"))
    }
}

/// Looks until what is found is `good`.
pub(super) async fn until<T: std::fmt::Debug>(
    what: &str,
    look: impl AsyncFn() -> Result<T>,
    good: impl Fn(&T) -> bool,
) -> Result<T> {
    let begun = Instant::now();
    loop {
        let found = look().await?;
        if good(&found) {
            return Ok(found);
        }
        let waited = begun.elapsed();
        ensure!(waited < PATIENCE, "waited {} s for {what}, found {found:?}", waited.as_secs());
        tokio::time::sleep(LOOK).await;
    }
}
