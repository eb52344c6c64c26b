//! The submitter: one delivery at a time, through crashes, stuck fees, races and reorganisations, and never twice.

use std::collections::BTreeMap;
use std::time::Duration;

use alloy::primitives::B256;
use alloy::providers::Provider as _;
use alloy::signers::local::PrivateKeySigner;
use anyhow::{Context as _, Result, bail};
use lockstep::evm::fees::FeePolicy;
use lockstep::evm::submission::{Patience, Turns};
use lockstep::evm::submitter::{Step, Submitter, SubmitterConfig};
use lockstep::world::chain::{ChainError, Outcome, Purpose};
use lockstep_core::Uuid;
use lockstep_core::bls::SecretKey;
use lockstep_core::group::Finality;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::chain::{CHAIN_ID, Chain};
use super::members::{Ledger, Rows};

/// Keys of the accounts that anvil funds, from its well-known mnemonic.
const KEYS: [&str; 2] = [
    "59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d",
    "5de4111afa1a4b94908f83103eb1f1706367c2e68ca870fc3fb9a804cdab365a",
];
pub(super) const START: u64 = 1_000_000;
const PATIENCE: Patience = Patience { resend_ms: 100, bump_ms: 1_000 };
const A: Uuid = Uuid::from_u128(0xa);
const B: Uuid = Uuid::from_u128(0xb);

/// The submitter of account 0 or 1, whose turn it always is.
pub(super) fn submitter(chain: &Chain, ledger: &Ledger, rows: &Rows, member: u16) -> Submitter<Rows, Ledger> {
    let turns = Turns { member: 1, members: 1, step_ms: 0 };
    with_turns(chain, ledger, rows, member, watch::channel(Some(turns)).1)
}

fn with_turns(
    chain: &Chain,
    ledger: &Ledger,
    rows: &Rows,
    member: u16,
    turns: watch::Receiver<Option<Turns>>,
) -> Submitter<Rows, Ledger> {
    let key: PrivateKeySigner = KEYS[usize::from(member)].parse().expect("a key");
    let config = SubmitterConfig {
        chain_id: CHAIN_ID,
        contract: chain.contract,
        finality: Finality::Finalized,
        patience: PATIENCE,
        fees: FeePolicy::default(),
        weights: BTreeMap::new(),
    };
    Submitter::new(chain.provider.clone(), key, rows.clone(), ledger.clone(), config, turns)
}

/// Passes until there is nothing more to deliver; returns how many deliveries it took.
pub(super) async fn deliver_all(submitter: &mut Submitter<Rows, Ledger>) -> Result<usize> {
    let mut sent = 0;
    for _ in 0..1_000 {
        match submitter.step(START).await? {
            Step::Sent { .. } => sent += 1,
            Step::UnderWay { .. } => tokio::time::sleep(Duration::from_millis(10)).await,
            Step::Idle => return Ok(sent),
            other => bail!("{other:?}"),
        }
    }
    bail!("no end of deliveries")
}

/// Passes at `now` until nothing is under way any more.
pub(super) async fn settled(submitter: &mut Submitter<Rows, Ledger>, now: u64) -> Result<Step> {
    for _ in 0..1_000 {
        match submitter.step(now).await? {
            Step::UnderWay { .. } => tokio::time::sleep(Duration::from_millis(10)).await,
            step => return Ok(step),
        }
    }
    bail!("no end of what is under way")
}

async fn chain_and_ledger() -> Result<(Chain, Ledger, alloy::primitives::Address)> {
    let chain = Chain::start().await?;
    let ledger = Ledger::of(&chain)?;
    let vault = chain.vault(A).await?;
    ledger.register(A, vault);
    Ok((chain, ledger, vault))
}

/// What a pending transaction offers for gas.
async fn pool_price(chain: &Chain, hash: B256) -> Result<u128> {
    let found = chain.provider.get_transaction_by_hash(hash).await?.context("a pending transaction")?;
    Ok(alloy::consensus::Transaction::max_fee_per_gas(&found))
}

#[tokio::test]
async fn everything_should_be_delivered_once_and_in_order() -> Result<()> {
    let (chain, ledger, vault) = chain_and_ledger().await?;
    let other = chain.vault(B).await?;
    ledger.register(B, other);
    let mut last = ledger.pay(A, 1, vec![]);
    for units in 2..=120 {
        last = ledger.pay(A, units, vec![]);
        if units % 40 == 0 {
            ledger.pay(B, units, vec![]);
        }
    }
    let rows = Rows::default();
    let mut submitter = submitter(&chain, &ledger, &rows, 0);
    let sent = deliver_all(&mut submitter).await?;
    assert!((2..=8).contains(&sent), "{sent} deliveries");
    assert_eq!(chain.balance_of(vault, &last).await?, (1..=120).sum::<u128>());
    assert_eq!(chain.balance_of(other, &last).await?, 240);
    assert_eq!(settled(&mut submitter, START).await?, Step::Idle);

    chain.mine(3).await?;
    assert_eq!(settled(&mut submitter, START).await?, Step::Idle);
    assert!(rows.rows().is_empty());
    assert_eq!(rows.settled().len(), sent);
    assert!(rows.settled().iter().all(|(_, outcome)| matches!(outcome, Outcome::Mined(_))));
    Ok(())
}

#[tokio::test]
async fn a_crash_between_save_and_send_should_send_the_same_bytes_once() -> Result<()> {
    let (chain, ledger, vault) = chain_and_ledger().await?;
    let paid = ledger.pay(A, 5, vec![]);
    let rows = Rows::default();
    rows.crash_after_save();
    let mut first = submitter(&chain, &ledger, &rows, 0);
    assert!(matches!(first.step(START).await, Err(ChainError::Store { .. })));
    let address = first.address();
    drop(first);
    assert_eq!(chain.provider.get_transaction_count(address).await?, 0, "nothing was sent");
    let saved = rows.rows();

    let mut second = submitter(&chain, &ledger, &rows, 0);
    assert_eq!(second.step(START).await?, Step::UnderWay { account_nonce: 0 });
    assert_eq!(second.step(START + PATIENCE.resend_ms).await?, Step::UnderWay { account_nonce: 0 });
    assert_eq!(settled(&mut second, START + PATIENCE.resend_ms).await?, Step::Idle);
    assert_eq!(chain.balance_of(vault, &paid).await?, 5);
    assert_eq!(chain.provider.get_transaction_count(address).await?, 1);

    chain.mine(3).await?;
    assert_eq!(settled(&mut second, START).await?, Step::Idle);
    assert_eq!(rows.settled(), [(0, Outcome::Mined(saved[0].hashes[0]))]);
    Ok(())
}

#[tokio::test]
async fn a_stuck_delivery_should_be_bumped_and_never_doubled() -> Result<()> {
    let (chain, ledger, vault) = chain_and_ledger().await?;
    let paid = ledger.pay(A, 5, vec![]);
    let rows = Rows::default();
    chain.rpc::<()>("evm_setAutomine", (false,)).await?;
    let mut first = submitter(&chain, &ledger, &rows, 0);
    assert!(matches!(first.step(START).await?, Step::Sent { account_nonce: 0, .. }));
    assert_eq!(first.step(START + 999).await?, Step::UnderWay { account_nonce: 0 });
    assert_eq!(rows.rows()[0].hashes.len(), 1);

    // A restart in between changes nothing: the row knows what was sent and when.
    drop(first);
    let mut second = submitter(&chain, &ledger, &rows, 0);
    let mut last = pool_price(&chain, rows.rows()[0].hashes[0]).await?;
    for round in 1..=3 {
        assert_eq!(second.step(START + round * PATIENCE.bump_ms).await?, Step::UnderWay { account_nonce: 0 });
        let row = rows.rows().remove(0);
        let hash = *row.hashes.last().context("a hash")?;
        let price = pool_price(&chain, hash).await?;
        assert!(price * 8 >= last * 9, "{price} after {last}");
        last = price;
    }
    assert_eq!(rows.rows()[0].hashes.len(), 4);
    chain.mine(4).await?;
    assert_eq!(settled(&mut second, START).await?, Step::Idle);
    assert_eq!(chain.balance_of(vault, &paid).await?, 5);
    assert_eq!(chain.provider.get_transaction_count(second.address()).await?, 1);
    assert_eq!(rows.settled().len(), 1);
    Ok(())
}

#[tokio::test]
async fn the_slower_of_two_members_should_cancel() -> Result<()> {
    let (chain, ledger, vault) = chain_and_ledger().await?;
    let paid = ledger.pay(A, 5, vec![]);
    let (slow_rows, fast_rows) = (Rows::default(), Rows::default());
    chain.rpc::<()>("evm_setAutomine", (false,)).await?;
    let mut slow = submitter(&chain, &ledger, &slow_rows, 0);
    assert!(matches!(slow.step(START).await?, Step::Sent { .. }));
    let dropped = slow_rows.rows()[0].hashes[0];
    chain.rpc::<B256>("anvil_dropTransaction", (dropped,)).await?;

    let mut fast = submitter(&chain, &ledger, &fast_rows, 1);
    assert!(matches!(fast.step(START).await?, Step::Sent { .. }));
    chain.mine(1).await?;
    assert_eq!(slow.step(START + 1).await?, Step::UnderWay { account_nonce: 0 });
    assert_eq!(slow_rows.rows()[0].purpose, Purpose::Cancel);
    chain.mine(4).await?;
    assert_eq!(settled(&mut slow, START + 2).await?, Step::Idle);
    let cancel = slow_rows.settled();
    assert!(matches!(cancel[..], [(0, Outcome::Mined(hash))] if hash != dropped), "{cancel:?}");
    assert_eq!(chain.balance_of(vault, &paid).await?, 5);
    Ok(())
}

#[tokio::test]
async fn members_should_take_turns() -> Result<()> {
    let (chain, ledger, _) = chain_and_ledger().await?;
    // The registration has sequence 103: of four members the third has rank 2 there.
    let (turns, changing) = watch::channel(None);
    let mut late = with_turns(&chain, &ledger, &Rows::default(), 0, changing);
    assert_eq!(late.step(START).await?, Step::NotYet { due_at: u64::MAX }, "it is no member yet");
    turns.send_replace(Some(Turns { member: 3, members: 4, step_ms: 12_000 }));
    assert_eq!(late.step(START).await?, Step::NotYet { due_at: START + 24_000 });
    assert_eq!(late.step(START + 23_999).await?, Step::NotYet { due_at: START + 24_000 });
    assert!(matches!(late.step(START + 24_000).await?, Step::Sent { .. }));
    Ok(())
}

#[tokio::test]
async fn what_the_contract_refuses_should_not_be_sent() -> Result<()> {
    let (chain, _, vault) = chain_and_ledger().await?;
    let forged = Ledger::with(chain.contract, SecretKey::derive(&[9; 32], b"forger")?);
    forged.register(A, vault);
    let rows = Rows::default();
    let mut submitter = submitter(&chain, &forged, &rows, 0);
    assert_eq!(submitter.step(START).await?, Step::Refused);
    assert_eq!(submitter.step(START + 1).await?, Step::Idle, "it waits before it tries again");
    assert_eq!(submitter.step(START + 60_000).await?, Step::Refused);
    assert!(rows.rows().is_empty());
    assert_eq!(chain.provider.get_transaction_count(submitter.address()).await?, 0);
    Ok(())
}

#[tokio::test]
async fn a_delivery_that_a_reorganisation_dropped_should_be_sent_again() -> Result<()> {
    let (chain, ledger, vault) = chain_and_ledger().await?;
    let paid = ledger.pay(A, 5, vec![]);
    let rows = Rows::default();
    let mut submitter = submitter(&chain, &ledger, &rows, 0);
    // Blocks come between passes only: while anvil mines, it shows a block's successor state under the block's own hash, and
    // a submitter that reads just then takes its own delivery for another member's.
    chain.rpc::<()>("evm_setAutomine", (false,)).await?;
    assert!(matches!(submitter.step(START).await?, Step::Sent { account_nonce: 0, .. }));
    chain.mine(1).await?;
    assert_eq!(submitter.step(START).await?, Step::Idle);
    assert_eq!(chain.balance_of(vault, &paid).await?, 5);
    let nothing: [[u64; 0]; 0] = [];
    chain.rpc::<()>("anvil_reorg", (1_u64, nothing)).await?;
    assert_eq!(chain.balance_of(vault, &paid).await?, 0);

    assert_eq!(submitter.step(START + PATIENCE.resend_ms).await?, Step::UnderWay { account_nonce: 0 });
    chain.mine(1).await?;
    assert_eq!(submitter.step(START + PATIENCE.resend_ms).await?, Step::Idle);
    assert_eq!(chain.balance_of(vault, &paid).await?, 5);
    assert_eq!(chain.provider.get_transaction_count(submitter.address()).await?, 1);
    Ok(())
}

#[tokio::test]
async fn an_empty_account_should_send_nothing() -> Result<()> {
    let (chain, ledger, _) = chain_and_ledger().await?;
    let rows = Rows::default();
    let mut submitter = submitter(&chain, &ledger, &rows, 0);
    chain.rpc::<()>("anvil_setBalance", (submitter.address(), "0x1")).await?;
    assert_eq!(submitter.step(START).await?, Step::NoFunds);
    assert!(rows.rows().is_empty());
    Ok(())
}

#[tokio::test]
async fn a_mailbox_that_the_contract_refuses_should_not_hold_up_another() -> Result<()> {
    let (chain, ledger, vault) = chain_and_ledger().await?;
    ledger.register(B, chain.vault(B).await?);
    ledger.corrupt(B);
    let paid = ledger.pay(A, 5, vec![]);
    let mut submitter = submitter(&chain, &ledger, &Rows::default(), 0);
    assert_eq!(submitter.step(START).await?, Step::Refused, "the contract names the mailbox at fault");
    assert_eq!(deliver_all(&mut submitter).await?, 1);
    assert_eq!(chain.balance_of(vault, &paid).await?, 5);
    Ok(())
}

#[tokio::test]
async fn calls_that_burn_more_than_was_estimated_should_not_hold_up_another() -> Result<()> {
    let (chain, ledger, vault) = chain_and_ledger().await?;
    let hostile = chain.vault(B).await?;
    ledger.register(B, hostile);
    let mut submitter = submitter(&chain, &ledger, &Rows::default(), 0);
    // Cheap calls, so that far less than the registered gas is planned for the next ones.
    for _ in 0..2 {
        (0..20).for_each(|_| drop(ledger.pay(B, 1, vec![])));
        deliver_all(&mut submitter).await?;
    }
    chain.rpc::<()>("evm_setAutomine", (false,)).await?;
    (0..20).for_each(|_| drop(ledger.pay(B, 1, vec![])));
    let paid = ledger.pay(A, 5, vec![]);
    assert!(matches!(settled(&mut submitter, START).await?, Step::Sent { .. }));
    // Between estimate and block the contract turns: from now on each call burns all the gas it gets.
    chain.rpc::<()>("anvil_setCode", (hostile, "0x5b5f56")).await?;
    chain.mine(1).await?;
    chain.rpc::<()>("evm_setAutomine", (true,)).await?;
    assert_eq!(chain.balance_of(vault, &paid).await?, 0, "the delivery reverted");

    deliver_all(&mut submitter).await?;
    assert_eq!(chain.balance_of(vault, &paid).await?, 5, "and was repeated at once, with the gas that was registered");

    // Calls that turn cheap and dear again are not trusted a second time.
    (0..20).for_each(|_| drop(ledger.pay(B, 1, vec![])));
    let paid = ledger.pay(A, 6, vec![]);
    chain.rpc::<()>("anvil_setCode", (hostile, "0x00")).await?;
    chain.rpc::<()>("evm_setAutomine", (false,)).await?;
    assert!(matches!(settled(&mut submitter, START).await?, Step::Sent { .. }));
    chain.rpc::<()>("anvil_setCode", (hostile, "0x5b5f56")).await?;
    chain.mine(1).await?;
    assert_eq!(chain.balance_of(vault, &paid).await?, 11);
    Ok(())
}

#[tokio::test]
async fn a_lost_row_below_another_should_be_filled() -> Result<()> {
    let (chain, ledger, vault) = chain_and_ledger().await?;
    let paid = ledger.pay(A, 5, vec![]);
    let rows = Rows::default();
    chain.rpc::<()>("evm_setAutomine", (false,)).await?;
    let mut first = submitter(&chain, &ledger, &rows, 0);
    assert!(matches!(first.step(START).await?, Step::Sent { account_nonce: 0, .. }));
    // As if the row of nonce 0 was lost and the delivery had nonce 1: nothing there can be mined.
    chain.rpc::<B256>("anvil_dropTransaction", (rows.rows()[0].hashes[0],)).await?;
    let mut row = rows.rows().remove(0);
    let rows = Rows::default();
    row.account_nonce = 1;
    rows.insert(row);
    chain.rpc::<()>("evm_setAutomine", (true,)).await?;

    let mut second = submitter(&chain, &ledger, &rows, 0);
    let now = START + PATIENCE.bump_ms;
    assert_eq!(second.step(now).await?, Step::UnderWay { account_nonce: 0 });
    assert_eq!(settled(&mut second, now).await?, Step::Idle);
    assert_eq!(chain.balance_of(vault, &paid).await?, 5);
    Ok(())
}

#[tokio::test]
async fn a_submitter_should_work_until_it_is_cancelled() -> Result<()> {
    let (chain, ledger, vault) = chain_and_ledger().await?;
    let paid = ledger.pay(A, 5, vec![]);
    let submitter = submitter(&chain, &ledger, &Rows::default(), 0);
    let cancel = CancellationToken::new();
    let task = tokio::spawn(submitter.run(cancel.clone(), Duration::from_millis(20)));
    for _ in 0..500 {
        if chain.balance_of(vault, &paid).await? == 5 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    cancel.cancel();
    task.await??;
    assert_eq!(chain.balance_of(vault, &paid).await?, 5);
    Ok(())
}
