//! Payments that go round while members come and go: in, out again, to the last unit and in time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use lockstep::devnet::network::{BTC, CHAIN, Network};
use lockstep::evm::abi::{Group, Vault};
use lockstep::evm::calldata::process_word;
use lockstep::evm::provider::EvmProvider;
use lockstep::ledger::SafeApi;
use lockstep::ledger::pay::{Payment, balance, pay};
use lockstep_core::operation::Operation;
use lockstep_core::{Account, Address, Amount, AssetId, B256, Mix, Uuid};
use tokio::sync::{Mutex, MutexGuard, watch};
use tokio_util::sync::CancellationToken;

use super::{DELAY_MAX, LOOK};

/// What each payment moves: 0.01 BTC.
const STEP: Amount = Amount::from_units(1_000_000);
/// What stays in the vault all the time: 0.5 BTC.
pub(super) const KEPT: Amount = Amount::from_units(50_000_000);

/// Who pays whom.
#[derive(Clone)]
pub(super) struct Payments {
    pub(super) alice: Arc<SafeApi>,
    bob: Arc<SafeApi>,
    chain: EvmProvider,
    group: Address,
    vault: Address,
    process: Uuid,
    /// The address that people pay.
    receivers: watch::Receiver<Mix>,
    count: Arc<AtomicU32>,
    over: CancellationToken,
    /// Held while a round is under way.
    turn: Arc<Mutex<()>>,
}

impl Payments {
    pub(super) fn new(network: &Network, vault: Address, receivers: watch::Receiver<Mix>) -> Result<Self> {
        Ok(Self {
            alice: Arc::new(network.as_user("alice")?),
            bob: Arc::new(network.as_user("bob")?),
            chain: network.chain.clone(),
            group: network.group.contract(CHAIN).context("no group contract")?,
            vault,
            process: network.user("vault")?,
            receivers,
            count: Arc::default(),
            over: CancellationToken::new(),
            turn: Arc::default(),
        })
    }

    /// Ends the round.
    pub(super) fn over(&self) -> CancellationToken {
        self.over.clone()
    }

    /// Payments that have arrived.
    pub(super) fn count(&self) -> u32 {
        self.count.load(Ordering::Relaxed)
    }

    /// Bob's money stays: it must move with the members.
    pub(super) async fn deposit(&self) -> Result<()> {
        let begun = Instant::now();
        self.pay(&self.bob, KEPT, vec![1]).await?;
        self.arrived(&self.bob, KEPT, begun).await
    }

    /// Alice pays into the vault and takes out again, one after the other, until it is over. Everything arrives, once, in
    /// time. How long the slowest took.
    pub(super) async fn run(self) -> Result<Duration> {
        let had = balance(&self.alice, btc()).await?;
        let mut slowest = Duration::ZERO;
        while !self.over.is_cancelled() {
            let turn = self.turn.lock().await;
            for (payload, in_vault) in [(vec![1], STEP), (take_out(), Amount::ZERO)] {
                let begun = Instant::now();
                self.pay(&self.alice, STEP, payload).await?;
                self.arrived(&self.alice, in_vault, begun).await?;
                slowest = slowest.max(begun.elapsed());
                self.count.fetch_add(1, Ordering::Relaxed);
            }
            let begun = Instant::now();
            while balance(&self.alice, btc()).await? != had {
                ensure!(begun.elapsed() < DELAY_MAX, "a payout is lost, doubled or late");
                tokio::time::sleep(LOOK).await;
            }
            slowest = slowest.max(begun.elapsed());
            self.count.fetch_add(1, Ordering::Relaxed);
            drop(turn);
        }
        Ok(slowest)
    }

    /// No payment is under way while this is held.
    pub(super) async fn pause(&self) -> MutexGuard<'_, ()> {
        self.turn.lock().await
    }

    async fn pay(&self, user: &SafeApi, amount: Amount, payload: Vec<u8>) -> Result<()> {
        let receivers = self.receivers.borrow().clone();
        let extra = Operation::call(self.process, payload).encode()?;
        let payment = Payment { receivers, asset: btc(), amount, extra, trace: Uuid::new_v4() };
        pay(user, &payment, DELAY_MAX).await?;
        Ok(())
    }

    /// Waits until the vault has credited a user exactly so much.
    async fn arrived(&self, user: &SafeApi, wanted: Amount, begun: Instant) -> Result<()> {
        let vault = Vault::new(self.vault, &self.chain);
        loop {
            let held = vault.balanceOf(Account::of_user(user.user()).0, B256::from(btc().0)).call().await?;
            let found = Amount::from_units(u128::try_from(held)?);
            if found == wanted {
                return Ok(());
            }
            ensure!(
                begun.elapsed() < DELAY_MAX,
                "a payment is lost, doubled or late: the vault has {found}, not {wanted}"
            );
            tokio::time::sleep(LOOK).await;
        }
    }

    /// What the vault's process has in its custody.
    pub(super) async fn custody(&self) -> Result<Amount> {
        let group = Group::new(self.group, &self.chain);
        let held = group.custody(process_word(self.process), B256::from(btc().0)).call().await?;
        Ok(Amount::from_units(u128::try_from(held)?))
    }
}

/// What is paid.
pub(super) fn btc() -> AssetId {
    AssetId::from_uuid(BTC)
}

/// The vault's command: 02, amount. What the command itself pays is credited first.
fn take_out() -> Vec<u8> {
    [&[2], STEP.units().saturating_mul(2).to_be_bytes().as_slice()].concat()
}
