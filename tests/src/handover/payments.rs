//! Payments that go round while members come and go: in, out again, to the last unit and in time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use lockstep::devnet::network::{BTC, CHAIN, Network};
use lockstep::evm::abi::{Group, Vault};
use lockstep::evm::calldata::process_word;
use lockstep::evm::provider::EvmProvider;
use lockstep::ledger::SafeApi;
use lockstep::ledger::pay::{Payment, balance, pay};
use lockstep_core::mixin::ids::output_id;
use lockstep_core::operation::Operation;
use lockstep_core::output::CoinId;
use lockstep_core::{Account, Address, Amount, AssetId, B256, Mix, Uuid};
use tokio::sync::{Mutex, MutexGuard, watch};
use tokio_util::sync::CancellationToken;

use super::{PATIENCE, until_in};

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
    /// No payment may take longer.
    delay_max: Duration,
    count: Arc<AtomicU32>,
    over: CancellationToken,
    /// Held while a round is under way.
    turn: Arc<Mutex<()>>,
}

/// What came to an address before it was the group's.
pub(super) struct Early {
    /// The output, as the ledger names it.
    pub(super) output: String,
    /// What its payer had before.
    pub(super) had: Amount,
}

impl Payments {
    /// Bob pays people who are no members yet, and says nothing.
    pub(super) async fn too_early(&self, to: &Mix) -> Result<Early> {
        let had = self.bobs().await?;
        let (receivers, trace) = (to.clone(), Uuid::new_v4());
        let payment = Payment {
            receivers,
            asset: btc(),
            amount: STEP,
            extra: b"too early".to_vec(),
            references: Vec::new(),
            trace,
        };
        let paid = pay(&self.bob, &payment, PATIENCE).await?;
        let coin = CoinId { transaction: paid.transaction, index: 0 };
        Ok(Early { output: output_id(&coin).to_string(), had })
    }

    /// What Bob has on the ledger.
    pub(super) async fn bobs(&self) -> Result<Amount> {
        Ok(balance(&self.bob, btc()).await?)
    }

    pub(super) fn new(
        network: &Network,
        vault: Address,
        receivers: watch::Receiver<Mix>,
        delay_max: Duration,
    ) -> Result<Self> {
        Ok(Self {
            alice: Arc::new(network.as_user("alice")?),
            bob: Arc::new(network.as_user("bob")?),
            chain: network.chain.clone(),
            group: network.group.contract(CHAIN).context("no group contract")?,
            vault,
            process: network.user("vault")?,
            receivers,
            delay_max,
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
            let look = async || Ok(balance(&self.alice, btc()).await?);
            until_in(self.delay_max, "a payout that is neither lost, doubled nor late", look, |has| *has == had)
                .await?;
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
        let payment = Payment { receivers, asset: btc(), amount, extra, references: Vec::new(), trace: Uuid::new_v4() };
        pay(user, &payment, self.delay_max).await?;
        Ok(())
    }

    /// Waits until the vault has credited a user exactly so much.
    async fn arrived(&self, user: &SafeApi, wanted: Amount, begun: Instant) -> Result<()> {
        let vault = Vault::new(self.vault, &self.chain);
        let look = async || {
            let held = vault.balanceOf(Account::of_user(user.user()).0, B256::from(btc().0)).call().await?;
            Ok(Amount::from_units(u128::try_from(held)?))
        };
        let left = self.delay_max.saturating_sub(begun.elapsed());
        until_in(left, "a payment that is neither lost, doubled nor late", look, |found| *found == wanted)
            .await
            .map(drop)
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
