//! The main job, for real, on one machine: pay, act, pay back, refund. It checks every balance to the last unit.

use std::io::Write;
use std::path::Path;
use std::time::Instant;

use alloy::primitives::{Address, U256};
use anyhow::{Context, Result, ensure};
use lockstep_core::mixin::ids::members_hash;
use lockstep_core::operation::Operation;
use lockstep_core::{Account, Amount, AssetId, B256, Mix, Uuid};

use super::examples::{Examples, LOOK, PATIENCE};
use super::network::{BTC, CHAIN, MEMBERS, Network, NetworkConfig, Ports};
use crate::api::Status;
use crate::evm::abi::{Group, Vault};
use crate::evm::calldata::process_word;
use crate::ledger::pay::{Paid, balance};
use crate::ledger::wire::{OutputState, PAGE_ROWS_MAX};
use crate::ledger::{OutputQuery, SafeApi};

/// The member that dies half-way.
const VICTIM: usize = 3;

/// Runs the demo in `folder`, from nothing to balances that agree.
///
/// # Errors
/// The first step that did not do what it must.
pub async fn run(folder: &Path) -> Result<()> {
    let begun = Instant::now();
    let mut say = |line: &str| print(begun, line);
    let config = NetworkConfig {
        folder: folder.to_path_buf(),
        binary: std::env::current_exe()?,
        ports: Ports::Free,
        members: MEMBERS,
    };
    let mut network = Box::pin(Network::start(config, &mut say)).await?;
    let outcome = Box::pin(Demo::new(begun, &mut network)?.play()).await;
    let stopped = network.stop().await;
    outcome?;
    stopped?;
    print(begun, "all stopped, all balances agree");
    Ok(())
}

fn print(begun: Instant, line: &str) {
    // Standard output is where a demo speaks; nobody listening is no reason to fail.
    let _ = writeln!(std::io::stdout().lock(), "{:7.2} s  {line}", begun.elapsed().as_secs_f64());
}

struct Demo<'a> {
    begun: Instant,
    network: &'a mut Network,
    alice: SafeApi,
    bob: SafeApi,
    btc: AssetId,
    group: Address,
}

/// BTC with two decimals, in units.
const fn btc(hundredths: u128) -> Amount {
    Amount::from_units(hundredths.saturating_mul(1_000_000))
}

impl<'a> Demo<'a> {
    fn new(begun: Instant, network: &'a mut Network) -> Result<Self> {
        Ok(Self {
            begun,
            alice: network.as_user("alice")?,
            bob: network.as_user("bob")?,
            btc: AssetId::from_uuid(BTC),
            group: network.group.contract(CHAIN).context("no group contract")?,
            network,
        })
    }

    async fn play(self) -> Result<()> {
        let alice_before = balance(&self.alice, self.btc).await?;
        let bob_before = balance(&self.bob, self.btc).await?;
        let vault_user = self.network.user("vault")?;
        let Examples { vault, reverter } = self.network.deploy_examples().await?;
        self.register("Vault", "vault", vault).await?;
        self.register("Reverter", "reverter", reverter).await?;

        self.say("alice pays 0.50 BTC with a memo: deposit");
        let paid = self.call(&self.alice, vault_user, btc(50), vec![0x01]).await?;
        self.until("the vault to credit alice", async |demo: &Self| demo.credit(vault).await, btc(50)).await?;
        self.say(&format!("  vault credited alice 0.50 BTC for ledger transaction {}", paid.transaction));

        let victim = self.network.members.get_mut(VICTIM).context("a fourth member")?;
        let pid = victim.pid().unwrap_or_default();
        victim.kill().await?;
        self.say(&format!("member {} (process {pid}) killed; nothing changes from here on", VICTIM + 1));

        self.say("alice pays 0.10 BTC with a memo: withdraw 0.30 to myself");
        self.call(&self.alice, vault_user, btc(10), withdraw(btc(30), &[])).await?;
        let expected = minus(alice_before, btc(30))?;
        let now = async |demo: &Self| anyhow::Ok(balance(&demo.alice, demo.btc).await?);
        self.until("the payout to reach alice", now, expected).await?;
        self.say("  the contract paid out: 0.30 BTC reached alice on the ledger");

        self.say("alice pays 0.10 BTC with a memo: withdraw 0.20 to bob, whom the group has never seen");
        let to_bob = Mix::of_users([self.bob.user()], 1).to_payload();
        self.call(&self.alice, vault_user, btc(10), withdraw(btc(20), &to_bob)).await?;
        let expected = plus(bob_before, btc(20))?;
        let now = async |demo: &Self| anyhow::Ok(balance(&demo.bob, demo.btc).await?);
        self.until("the payout to reach bob", now, expected).await?;
        self.say("  after its escrow of 2 s, 0.20 BTC reached bob on the ledger");

        self.refunded("bob pays 0.05 BTC with a bad memo", btc(5), b"buy high, sell low".to_vec()).await?;
        let reverter = Operation::call(self.network.user("reverter")?, b"try me".to_vec()).encode()?;
        self.refunded("bob pays 0.04 BTC to a process that reverts", btc(4), reverter).await?;

        self.say(&format!("member {} starts again and catches up", VICTIM + 1));
        self.network.members.get_mut(VICTIM).context("a fourth member")?.restart(PATIENCE).await?;
        let all = self.settled().await?;
        self.say(&format!("  all members at sequence {} with history {}", all.sequence, all.history));

        self.check(vault, minus(alice_before, btc(40))?, plus(bob_before, btc(20))?).await
    }

    fn say(&self, line: &str) {
        print(self.begun, line);
    }

    async fn register(&self, contract: &str, owner: &str, address: Address) -> Result<()> {
        let process = self.network.user(owner)?;
        self.say(&format!("{contract} deployed at {address}, bound to process {process}"));
        let paid = self.network.register(owner, address).await?;
        self.say(&format!("  process {process} registered by ledger transaction {}", paid.transaction));
        Ok(())
    }

    async fn call(&self, user: &SafeApi, process: Uuid, amount: Amount, payload: Vec<u8>) -> Result<Paid> {
        self.network.pay(user, self.btc, amount, Operation::call(process, payload).encode()?).await
    }

    /// Bob pays, and gets back exactly what he paid.
    async fn refunded(&self, what: &str, amount: Amount, extra: Vec<u8>) -> Result<()> {
        self.say(what);
        let before = balance(&self.bob, self.btc).await?;
        let paid = self.network.pay(&self.bob, self.btc, amount, extra).await?;
        let now = async |demo: &Self| anyhow::Ok(balance(&demo.bob, demo.btc).await?);
        self.until("the refund to reach bob", now, before).await?;
        self.say(&format!("  transaction {} refunded in full", paid.transaction));
        Ok(())
    }

    async fn credit(&self, vault: Address) -> Result<Amount> {
        let vault = Vault::new(vault, &self.network.chain);
        let account = Account::of_user(self.alice.user()).0;
        amount(vault.balanceOf(account, B256::from(self.btc.0)).call().await?)
    }

    async fn custody(&self, owner: &str, asset: AssetId) -> Result<Amount> {
        let group = Group::new(self.group, &self.network.chain);
        amount(group.custody(process_word(self.network.user(owner)?), B256::from(asset.0)).call().await?)
    }

    /// All members at one history, with nothing left to pay.
    async fn settled(&self) -> Result<Status> {
        let begun = Instant::now();
        loop {
            let mut all = Vec::new();
            for member in &self.network.members {
                all.push(member.status().await?);
            }
            let first = all.first().cloned().context("no members")?;
            let alike = |status: &Status| status.history == first.history && status.open_payouts == 0;
            if all.iter().all(alike) {
                return Ok(first);
            }
            ensure!(begun.elapsed() < PATIENCE, "members do not agree: {all:?}");
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Both sides, to the last unit.
    async fn check(&self, vault: Address, alice: Amount, bob: Amount) -> Result<()> {
        let group_btc = self.group_coins(self.btc).await?;
        let rows = [
            ("alice, ledger BTC", balance(&self.alice, self.btc).await?, alice),
            ("bob, ledger BTC", balance(&self.bob, self.btc).await?, bob),
            ("group, ledger BTC coins", group_btc, btc(20)),
            ("vault, contract custody", self.custody("vault", self.btc).await?, btc(20)),
            ("alice, credit in the vault", self.credit(vault).await?, btc(20)),
            ("reverter, contract custody", self.custody("reverter", self.btc).await?, Amount::ZERO),
        ];
        self.say("balances                              found      expected");
        for (what, found, expected) in rows {
            self.say(&format!("  {what:<26} {:>16} {:>13}", found.to_string(), expected.to_string()));
        }
        for (what, found, expected) in rows {
            ensure!(found == expected, "{what}: {found} instead of {expected}");
        }
        Ok(())
    }

    /// The sum of the group's unspent coins of an asset.
    async fn group_coins(&self, asset: AssetId) -> Result<Amount> {
        let group = self.network.group.mix();
        let members = hex::encode(members_hash(&group.users().context("members are users")?));
        let query = OutputQuery {
            members,
            threshold: group.threshold(),
            offset: 0,
            limit: PAGE_ROWS_MAX,
            asset: Some(asset.to_string()),
            state: Some(OutputState::Unspent),
        };
        let rows = self.alice.outputs(&query).await?;
        let sum = rows.iter().try_fold(Amount::ZERO, |sum, row| sum.checked_add(row.amount));
        sum.context("the group's coins add up to too much")
    }

    /// Waits until `look` gives `wanted`.
    async fn until<T: PartialEq + std::fmt::Debug>(
        &self,
        what: &str,
        look: impl AsyncFn(&Self) -> Result<T>,
        wanted: T,
    ) -> Result<()> {
        let begun = Instant::now();
        loop {
            let found = look(self).await?;
            if found == wanted {
                return Ok(());
            }
            let waited = begun.elapsed();
            ensure!(waited < PATIENCE, "waited {} s for {what}: {found:?} instead of {wanted:?}", waited.as_secs());
            tokio::time::sleep(LOOK).await;
        }
    }
}

/// The vault's command: 02, amount, recipient (empty: the sender).
fn withdraw(amount: Amount, recipient: &[u8]) -> Vec<u8> {
    [&[0x02], amount.units().to_be_bytes().as_slice(), recipient].concat()
}

/// A contract's number as an amount.
fn amount(units: U256) -> Result<Amount> {
    Ok(Amount::from_units(u128::try_from(units).context("a contract holds more than a ledger can")?))
}

fn plus(amount: Amount, more: Amount) -> Result<Amount> {
    amount.checked_add(more).context("too much money")
}

fn minus(amount: Amount, less: Amount) -> Result<Amount> {
    amount.checked_sub(less).context("too little money")
}
