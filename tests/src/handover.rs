//! A group that makes its key and hands it on twice, as real processes on one machine, while payments flow both ways.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use lockstep::devnet::ceremony::Cost;
use lockstep::devnet::examples::Examples;
use lockstep::devnet::network::{BTC, Network, NetworkConfig, Ports};
use lockstep::evm::abi::Vault;
use lockstep::ledger::pay::balance;
use lockstep_core::operation::Operation;
use lockstep_core::{Account, Amount, AssetId, B256};
use tokio_util::sync::CancellationToken;

/// No payment may take longer.
const DELAY_MAX: Duration = Duration::from_secs(60);
/// Between two looks at what is awaited.
const LOOK: Duration = Duration::from_millis(50);
/// What each payment moves: 0.01 BTC.
const STEP: Amount = Amount::from_units(1_000_000);

/// How large, and where.
#[derive(Clone, Debug)]
pub struct Options {
    /// Members at first.
    pub members: u8,
    /// How many join in the second handover; none leaves it out.
    pub added: u8,
    /// Where everything is kept; empty or new.
    pub folder: PathBuf,
    /// The `lockstep` binary.
    pub binary: PathBuf,
}

/// What it took.
#[derive(Clone, Debug)]
pub struct Report {
    /// Each ceremony's name with what it cost each participant.
    pub ceremonies: Vec<(String, Vec<Cost>)>,
    /// Payments in and out that flowed meanwhile.
    pub payments: u32,
    /// The slowest of them.
    pub slowest: Duration,
}

/// Runs it all, and checks it all.
///
/// # Errors
/// A ceremony that does not end, a key that changes, a payment that is lost, doubled or late.
pub async fn run(options: Options, say: &mut dyn FnMut(&str)) -> Result<Report> {
    let Options { members, added, folder, binary } = options;
    let config = NetworkConfig { folder, binary: binary.clone(), ports: Ports::Free, members };
    let network = Box::pin(Network::start(config, say)).await?;
    let Examples { vault, .. } = network.deploy_examples().await?;
    network.register("vault", vault).await?;
    let over = CancellationToken::new();
    let handed = async {
        let ceremonies = Box::pin(hand_on_twice(&network, added, &binary, say)).await;
        over.cancel();
        ceremonies
    };
    let (ceremonies, flowed) = tokio::join!(handed, flow(&network, vault, &over));
    let mut all = vec![(format!("first, {members} members"), network.costs.clone())];
    all.extend(ceremonies?);
    let (payments, slowest) = flowed?;
    network.stop().await?;
    Ok(Report { ceremonies: all, payments, slowest })
}

/// The last member is replaced; then others join.
async fn hand_on_twice(
    network: &Network,
    added: u8,
    binary: &std::path::Path,
    say: &mut dyn FnMut(&str),
) -> Result<Vec<(String, Vec<Cost>)>> {
    let mut next = u8::try_from(network.homes.len())?;
    let mut newcomer = async || {
        next = next.checked_add(1).context("too many members")?;
        network.newcomer(next).await
    };
    let (old, genesis) = (network.homes.clone(), network.group.roster());
    let mut new = old.clone();
    new.pop();
    new.push(newcomer().await?);
    let first = network.hand_on(&genesis, &old, &new, binary).await?;
    say(&format!("handed on to generation 1: one of {} replaced, roster {}", new.len(), first.roster.digest()));
    let mut ceremonies = vec![("one replaced".to_owned(), first.costs)];
    if added > 0 {
        let old = new.clone();
        for _ in 0..added {
            new.push(newcomer().await?);
        }
        let second = network.hand_on(&first.roster, &old, &new, binary).await?;
        say(&format!("handed on to generation 2: {added} added, roster {}", second.roster.digest()));
        ceremonies.push((format!("{added} added"), second.costs));
    }
    Ok(ceremonies)
}

/// Alice pays into the vault and takes out again, one after the other, until it is over. Everything arrives, once, in time.
async fn flow(network: &Network, vault: lockstep_core::Address, over: &CancellationToken) -> Result<(u32, Duration)> {
    let (alice, btc) = (network.as_user("alice")?, AssetId::from_uuid(BTC));
    let contract = Vault::new(vault, &network.chain);
    let process = network.user("vault")?;
    let credit = async || -> Result<Amount> {
        let held = contract.balanceOf(Account::of_user(alice.user()).0, B256::from(btc.0)).call().await?;
        Ok(Amount::from_units(u128::try_from(held)?))
    };
    let had = balance(&alice, btc).await?;
    let (mut payments, mut slowest) = (0_u32, Duration::ZERO);
    while !over.is_cancelled() {
        for (payload, in_vault) in [(vec![1], STEP), (take_out(), Amount::ZERO)] {
            let begun = Instant::now();
            let memo = Operation::call(process, payload).encode()?;
            network.pay(&alice, btc, STEP, memo).await?;
            arrived(&credit, in_vault, begun).await?;
            slowest = slowest.max(begun.elapsed());
            payments = payments.saturating_add(1);
        }
        let begun = Instant::now();
        while balance(&alice, btc).await? != had {
            ensure!(begun.elapsed() < DELAY_MAX, "a payout is lost, doubled or late");
            tokio::time::sleep(LOOK).await;
        }
        slowest = slowest.max(begun.elapsed());
    }
    Ok((payments, slowest))
}

/// The vault's command: 02, amount. What the command itself pays is credited first.
fn take_out() -> Vec<u8> {
    [&[2], STEP.units().saturating_mul(2).to_be_bytes().as_slice()].concat()
}

/// Waits until the vault has credited exactly so much.
async fn arrived(credit: &impl AsyncFn() -> Result<Amount>, wanted: Amount, begun: Instant) -> Result<()> {
    loop {
        let found = credit().await?;
        if found == wanted {
            return Ok(());
        }
        ensure!(begun.elapsed() < DELAY_MAX, "a payment is lost, doubled or late: the vault has {found}, not {wanted}");
        tokio::time::sleep(LOOK).await;
    }
}
