//! Thousands of payments of every kind through a whole development network, and an account of each: every output of the
//! group ends as exactly one of message, refund and unclaimed, and money is equal on both sides to the last unit.

#![expect(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm,
    reason = "amounts and places of this town are small, a panic of the driver fails the run and is seen, and most kinds of \
              payments are like a deposit"
)]

mod books;
mod mix;
mod town;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use lockstep::api::Status;
use lockstep::devnet::examples::Examples;
use lockstep::devnet::network::{MEMBERS, Network, NetworkConfig, Ports};
use tokio::time::sleep;

pub use self::books::{AssetBooks, Report};
pub use self::mix::{Ending, Kind};

use self::books::Books;
use self::mix::Order;
use self::town::{Made, Town};

/// Nothing may stand still for longer while something is open.
const STANDSTILL: Duration = Duration::from_secs(240);
/// Between two looks at members and contract.
const LOOK: Duration = Duration::from_millis(250);
/// Between two lines about how far it is.
const WORD: Duration = Duration::from_secs(30);

/// How much, and where.
#[derive(Clone, Debug)]
pub struct Options {
    /// Payments; at least 60, so that each kind is among them.
    pub payments: usize,
    /// Decides who pays what.
    pub seed: u64,
    /// Where everything is kept; empty or new.
    pub folder: PathBuf,
    /// The `lockstep` binary.
    pub binary: PathBuf,
}

/// Runs it all, and checks it all.
///
/// # Errors
/// A payment that cannot be made, members that stand still or differ, and whatever is not accounted for.
pub async fn run(options: &Options, say: &mut dyn FnMut(&str)) -> Result<Report> {
    let config = NetworkConfig {
        folder: options.folder.clone(),
        binary: options.binary.clone(),
        ports: Ports::Free,
        members: MEMBERS,
    };
    let network = Box::pin(Network::start(config, say)).await?;
    let report = Box::pin(soak(options, &network, say)).await;
    let stopped = Box::pin(network.stop()).await;
    let report = report?;
    stopped?;
    Ok(report)
}

async fn soak(options: &Options, network: &Network, say: &mut dyn FnMut(&str)) -> Result<Report> {
    let Examples { vault, reverter } = network.deploy_examples().await?;
    network.register("vault", vault).await?;
    // What it refuses goes back to masks.
    network.register_private("reverter", reverter).await?;
    let orders = mix::orders(options.payments, options.seed);
    let town = Town::build(network, options, &orders).await?;
    say(&format!("{} payments by {} parties in {} assets", orders.len(), mix::PARTIES, mix::ASSETS));

    let begun = Instant::now();
    let made = pay_all(&town, &orders, say).await?;
    let paying = begun.elapsed();
    say(&format!("all paid in {:.1} s", paying.as_secs_f64()));
    let books = Books::new(network, &town, vault, &made);
    settle(network, &books, say).await?;
    let settling = begun.elapsed();
    books.audit(paying, settling).await
}

/// Each party makes its payments one after the other, all parties at the same time; the first payment goes alone.
async fn pay_all(town: &Town, orders: &[Order], say: &mut dyn FnMut(&str)) -> Result<Vec<Made>> {
    let (first, rest) = orders.split_first().context("no payment")?;
    let mut made = vec![town.make(first).await?];
    let mut queues = BTreeMap::<usize, Vec<&Order>>::new();
    for order in rest {
        queues.entry(order.party).or_default().push(order);
    }
    let (done, mut each) = tokio::sync::mpsc::unbounded_channel();
    let pay = async |queue: Vec<&Order>| {
        for order in queue {
            done.send(town.make(order).await?).context("nobody counts payments")?;
        }
        anyhow::Ok(())
    };
    let mut paying: FuturesUnordered<_> = queues.into_values().map(pay).collect();
    let mut word = Instant::now();
    while let Some(ended) = paying.next().await {
        ended?;
        if word.elapsed() >= WORD {
            word = Instant::now();
            say(&format!("{} parties still pay", paying.len()));
        }
    }
    drop(paying);
    each.close();
    while let Some(one) = each.recv().await {
        made.push(one);
    }
    ensure!(made.len() == orders.len(), "{} payments were made of {}", made.len(), orders.len());
    Ok(made)
}

/// Waits until members, contract and ledger have nothing left to do.
async fn settle(network: &Network, books: &Books<'_>, say: &mut dyn FnMut(&str)) -> Result<()> {
    let (mut moved, mut before, mut word) = (Instant::now(), String::new(), Instant::now());
    loop {
        let statuses = statuses(network).await?;
        let open = statuses.iter().map(|status| status.open_payouts).max().unwrap_or_default();
        let applied = statuses.iter().map(|status| status.sequence).min().unwrap_or_default();
        let all = statuses.len() == network.members.len();
        let same =
            statuses.windows(2).all(|pair| (pair[0].sequence, pair[0].history) == (pair[1].sequence, pair[1].history));
        let outbounds = books.outbounds().await?;
        let done = all && same && open == 0 && outbounds == books.expected_outbounds();
        if done && books.is_settled(applied).await? {
            return Ok(());
        }
        let sequences: Vec<_> = statuses.iter().map(|status| status.sequence).collect();
        let now = format!("sequences {sequences:?}, {outbounds} outbounds, {open} payouts open");
        if now != before {
            (moved, before) = (Instant::now(), now.clone());
        } else if moved.elapsed() > STANDSTILL {
            // What is missing shows better in the account than here.
            say(&format!("nothing moves any more: {now}"));
            return Ok(());
        }
        if word.elapsed() >= WORD {
            word = Instant::now();
            say(&now);
        }
        sleep(LOOK).await;
    }
}

async fn statuses(network: &Network) -> Result<Vec<Status>> {
    let mut statuses = Vec::new();
    for member in &network.members {
        // A member that is busy may not answer in time; the next look asks again.
        if let Ok(status) = member.status().await {
            ensure!(status.parked.is_empty(), "member {} parked {:?}", status.member, status.parked);
            statuses.push(status);
        }
    }
    ensure!(!statuses.is_empty(), "no member answers");
    Ok(statuses)
}
