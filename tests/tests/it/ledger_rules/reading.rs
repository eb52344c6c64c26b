//! Faults of what the API shows: other contents, hidden rows, rows before finality, rows behind the cursor.

use std::time::Duration;

use lockstep::devnet::ledger::{Disguise, Fault, FaultOrder};
use lockstep::ledger::wire::{Hex32, HexBytes, LedgerTime, OutputRow};
use lockstep_core::{B256, Uuid};

use super::bench::{BTC, Bench, User, XIN, place};

fn sequences(rows: &[OutputRow]) -> Vec<u64> {
    rows.iter().map(|row| row.sequence).collect()
}

fn ids(rows: &[OutputRow]) -> Vec<Uuid> {
    rows.iter().map(|row| row.output_id).collect()
}

/// Two members with three coins of theirs.
async fn group(bench: &Bench) -> ([User; 3], Vec<OutputRow>) {
    let [a, b, bob] = bench.users().await;
    let mut rows = Vec::new();
    for amount in ["1", "2", "3"] {
        rows.push(bench.coin(XIN, amount, &[&a, &b], 2).await);
    }
    ([a, b, bob], rows)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_equivocating_api_should_show_one_user_something_else() {
    let bench = Bench::start(Duration::ZERO).await;
    let ([a, b, bob], rows) = group(&bench).await;
    let (owners, second) = ([a.id(), b.id()], &rows[1]);
    let disguise = Disguise {
        output: Some(second.output_id),
        amount: Some("20".parse().expect("an amount")),
        senders: Some(vec![bob.id()]),
        senders_threshold: Some(1),
        extra: Some(HexBytes(b"other".to_vec())),
        created_at: Some(LedgerTime(7)),
        inscription_hash: Some(Hex32([9; 32])),
        ..Disguise::default()
    };
    let fault = bench.fault(FaultOrder::new(Fault::Equivocate(disguise)).for_user(b.id())).await;

    assert_eq!(a.coins(&owners, 2).await, rows, "the others see what is");
    let seen = b.coins(&owners, 2).await;
    assert_eq!(ids(&seen), ids(&rows));
    assert_eq!((&seen[0], &seen[2]), (&rows[0], &rows[2]));
    let lie = &seen[1];
    assert_eq!((lie.amount.to_string().as_str(), lie.extra.0.as_slice()), ("20.00000000", b"other".as_slice()));
    assert_eq!((lie.senders.as_slice(), lie.senders_threshold), ([bob.id()].as_slice(), 1));
    assert_eq!((lie.created_at, lie.inscription_hash), (LedgerTime(7), Some(Hex32([9; 32]))));
    assert_eq!(b.api.output(second.output_id).await.expect("the row"), *lie, "by its id as in the list");
    assert_eq!(bench.acted(&fault).await, 2);
    bench.operator.clear_faults().await.expect("cleared");
    assert_eq!(b.coins(&owners, 2).await, rows);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_sequence_should_move_the_row_in_one_users_list() {
    let bench = Bench::start(Duration::ZERO).await;
    let ([a, b, _], rows) = group(&bench).await;
    let sequence = Some(rows[2].sequence + 1);
    let disguise = Disguise { output: Some(rows[0].output_id), sequence, ..Disguise::default() };
    bench.fault(FaultOrder::new(Fault::Equivocate(disguise)).for_user(b.id()).times(1)).await;
    let seen = b.coins(&[a.id(), b.id()], 2).await;
    assert_eq!(ids(&seen), [rows[1].output_id, rows[2].output_id, rows[0].output_id]);
    assert!(sequences(&seen).is_sorted());
    assert_eq!(b.coins(&[a.id(), b.id()], 2).await, rows, "once was ordered");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hidden_row_should_be_missing_for_one_user_until_the_fault_is_cleared() {
    let bench = Bench::start(Duration::ZERO).await;
    let ([a, b, _], rows) = group(&bench).await;
    let owners = [a.id(), b.id()];
    let omit = Fault::Omit { output: Some(rows[1].output_id) };
    let fault = bench.fault(FaultOrder::new(omit).for_user(b.id())).await;
    assert_eq!(ids(&b.coins(&owners, 2).await), [rows[0].output_id, rows[2].output_id]);
    assert!(b.api.output(rows[1].output_id).await.is_err());
    assert_eq!(a.coins(&owners, 2).await, rows);
    bench.operator.clear_fault(fault.id).await.expect("cleared");
    assert_eq!(b.coins(&owners, 2).await, rows);
    bench.fault(FaultOrder::new(Fault::Omit { output: None }).for_user(a.id())).await;
    assert_eq!(a.coins(&owners, 2).await, [], "all of them");
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_may_be_listed_before_their_transaction_is_final() {
    let bench = Bench::start(Duration::ZERO).await;
    let [alice, bob] = bench.users().await;
    let coin = bench.coin(XIN, "10", &[&alice], 1).await;
    let early = Fault::Delay { rows_ms: Some(0), final_ms: 3_600_000, jitter_ms: 1_000 };
    bench.fault(FaultOrder::new(early).times(1)).await;
    let paid = alice.pay(Uuid::new_v4(), &coin, alice.payment(&coin, &[bob.id()], 1, "4").await).await;

    let row = bob.own_coins().await.pop().expect("a row");
    assert_eq!((row.transaction_hash.0, row.senders.as_slice()), (paid.hash().0, [alice.id()].as_slice()));
    assert!(!bench.kernel(2).transaction(paid.hash()).await.expect("read").expect("announced").is_final);
    let child = bob.payment(&row, &[alice.id()], 1, "1").await;
    let refused = bob.api.request_transaction(&super::bench::raw(Uuid::new_v4(), &child.clone().unsigned())).await;
    assert!(refused.is_err(), "the kernel does not know the coin yet");

    let bench = bench.restart().await;
    assert_eq!(bench.operator.advance().await.expect("finality"), 1);
    let [alice, bob] = bench.users().await;
    assert!(bench.kernel(2).transaction(paid.hash()).await.expect("read").expect("known").is_final);
    assert_eq!(bob.own_coins().await, std::slice::from_ref(&row), "it is not listed twice");
    assert_eq!(alice.own_coins().await.len(), 2);
    bob.pay(Uuid::new_v4(), &row, child).await;
    assert_eq!(alice.own_coins().await.len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_may_be_listed_after_their_transaction_is_final() {
    let bench = Bench::start(Duration::ZERO).await;
    let [alice] = bench.users().await;
    let late = Fault::Delay { rows_ms: Some(3_600_000), final_ms: 0, jitter_ms: 0 };
    bench.fault(FaultOrder::new(late).times(1)).await;
    let amount = "1".parse().expect("an amount");
    let minted = bench.operator.mint(Uuid::new_v4(), XIN, amount, (&[alice.id()], 1), b"").await.expect("a deposit");
    let hash = B256::new(minted.transaction_hash.0);
    assert!(bench.kernel(3).transaction(hash).await.expect("read").expect("known").is_final);
    assert!(alice.own_coins().await.is_empty());
    bench.operator.advance().await.expect("all that waits");
    assert_eq!(ids(&alice.own_coins().await), [minted.output_id]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_row_should_stand_below_rows_that_were_listed_before() {
    let bench = Bench::start(Duration::ZERO).await;
    let ([a, b, bob], rows) = group(&bench).await;
    let owners = [a.id(), b.id()];
    let order = FaultOrder::new(Fault::LateRow { behind: 2 }).for_user(a.id()).times(1);
    let fault = bench.fault(order).await;
    bench.coin(BTC, "1", &[&bob], 1).await;
    assert_eq!(bench.acted(&fault).await, 0, "not for strangers");
    let late = bench.coin(XIN, "9", &[&a, &b], 2).await;
    assert!(late.sequence < rows[1].sequence, "{} {:?}", late.sequence, sequences(&rows));
    let next = bench.coin(XIN, "8", &[&a, &b], 2).await;
    assert!(next.sequence > rows[2].sequence, "once was ordered");
    let all = a.coins(&owners, 2).await;
    assert_eq!(all.len(), 5);
    assert!(sequences(&all).windows(2).all(|pair| pair[0] < pair[1]), "each sequence once");
}

#[tokio::test(flavor = "multi_thread")]
async fn unlisted_change_should_be_listed_when_the_fault_is_cleared() {
    let bench = Bench::start(Duration::ZERO).await;
    let [alice, bob] = bench.users().await;
    let coin = bench.coin(XIN, "10", &[&alice], 1).await;
    let fault = bench.fault(FaultOrder::new(Fault::UnlistedChange).for_user(alice.id())).await;
    let other = bench.coin(XIN, "5", &[&alice], 1).await;
    let paid = alice.pay(Uuid::new_v4(), &coin, alice.payment(&coin, &[bob.id()], 1, "4").await).await;
    assert_eq!(bob.own_coins().await.len(), 1);
    assert_eq!(ids(&alice.own_coins().await), [coin.output_id, other.output_id], "the change is missing");
    let change = bench.transaction(paid.hash()).await.expect("final").outputs[1].amount;
    assert_eq!(change.to_string(), "6.00000000", "though the kernel has it");

    bench.operator.clear_fault(fault.id).await.expect("cleared");
    let rows = alice.own_coins().await;
    let listed = rows.last().expect("the change");
    assert_eq!((place(listed).transaction, listed.amount), (paid.hash(), change));
    assert!(listed.sequence > other.sequence, "at the end of the order");
    assert_eq!(listed.senders, [alice.id()]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_withheld_should_be_listed_after_a_restart() {
    let bench = Bench::start(Duration::ZERO).await;
    let [alice, bob] = bench.users().await;
    let coin = bench.coin(XIN, "10", &[&alice], 1).await;
    bench.fault(FaultOrder::new(Fault::UnlistedChange)).await;
    alice.pay(Uuid::new_v4(), &coin, alice.payment(&coin, &[bob.id()], 1, "4").await).await;
    assert_eq!(alice.own_coins().await.len(), 1);
    let bench = bench.restart().await;
    let [alice] = bench.users().await;
    assert_eq!(alice.own_coins().await.len(), 2);
}
