//! Kernel nodes: three that know the same, one that lies, and nodes that are split.

use std::time::Duration;

use lockstep::devnet::ledger::{Fault, FaultOrder, Lie};
use lockstep::ledger::LedgerError;
use lockstep::ledger::wire::{Hex32, OutputRow};
use lockstep_core::mixin::{SignedTransaction, Transaction};
use lockstep_core::{B256, Uuid};
use serde_json::{Value, json};

use super::bench::{Bench, User, XIN, place, raw};

/// The whole transaction of alice, signed and not sent.
async fn signed(alice: &User, coin: &OutputRow, transaction: Transaction) -> SignedTransaction {
    let row = alice.api.request_transaction(&raw(Uuid::new_v4(), &transaction.clone().unsigned())).await;
    let mut signed = transaction.unsigned();
    alice.sign(&mut signed, &[coin], &row.expect("a request").views);
    signed
}

async fn send(bench: &Bench, node: usize, signed: &SignedTransaction) -> Result<Value, String> {
    bench.rpc_at(node, "sendrawtransaction", json!([hex::encode(signed.encode())])).await
}

async fn seen(bench: &Bench, node: usize, hash: B256) -> Value {
    bench.rpc_at(node, "gettransaction", json!([hex::encode(hash)])).await.expect("an answer")
}

fn lie(about: Lie, hash: B256, node: u16) -> FaultOrder {
    FaultOrder::new(Fault::Lie { about, transaction: Some(Hex32(hash.0)) }).at_node(node)
}

#[tokio::test(flavor = "multi_thread")]
async fn honest_nodes_should_know_the_same_and_have_names_of_their_own() {
    let bench = Bench::start(Duration::ZERO).await;
    let [alice] = bench.users().await;
    let hash = place(&bench.coin(XIN, "1", &[&alice], 1).await).transaction;
    let first = seen(&bench, 1, hash).await;
    assert!(first["snapshot"].is_string());
    let mut names = Vec::new();
    for node in 1..=3 {
        assert_eq!(seen(&bench, node, hash).await, first);
        let info = bench.rpc_at(node, "getinfo", json!([])).await.expect("an answer");
        names.push((info["network"].clone(), info["node"].clone()));
    }
    assert!(names.windows(2).all(|pair| pair[0].0 == pair[1].0 && pair[0].1 != pair[1].1), "{names:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_lies_about_finality_should_not_move_a_quorum() {
    let bench = Bench::start(Duration::from_secs(3600)).await;
    let [alice, bob] = bench.users().await;
    let coin = bench.coin(XIN, "10", &[&alice], 1).await;
    let parent = place(&coin).transaction;
    bench.fault(lie(Lie::NotFinal, parent, 1)).await;
    assert!(seen(&bench, 1, parent).await["snapshot"].is_null());
    assert!(bench.kernel(2).transaction(parent).await.expect("read").expect("known").is_final);
    assert!(!bench.kernel(3).transaction(parent).await.expect("read").expect("known").is_final);

    let paid = alice.pay(Uuid::new_v4(), &coin, alice.payment(&coin, &[bob.id()], 1, "4").await).await;
    bench.fault(lie(Lie::Final, paid.hash(), 2)).await;
    assert!(seen(&bench, 2, paid.hash()).await["snapshot"].is_string());
    assert!(seen(&bench, 3, paid.hash()).await["snapshot"].is_null());
    assert!(bench.kernel(1).transaction(paid.hash()).await.expect("read").expect("known").is_final, "who asks for one");
    assert!(!bench.kernel(2).transaction(paid.hash()).await.expect("read").expect("known").is_final);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_gives_other_bytes_should_be_found_out() {
    let bench = Bench::start(Duration::ZERO).await;
    let [alice] = bench.users().await;
    let hash = place(&bench.coin(XIN, "1", &[&alice], 1).await).transaction;
    bench.fault(lie(Lie::OtherBytes, hash, 1)).await;
    let told = seen(&bench, 1, hash).await;
    assert_eq!(told["hash"], hex::encode(hash), "it claims to be the right one");
    assert_ne!(told["hex"], seen(&bench, 2, hash).await["hex"]);
    let error = bench.kernel(3).transaction(hash).await.expect_err("one answer is none");
    assert!(matches!(error, LedgerError::Malformed { .. }), "{error:?}");
    assert!(bench.kernel(2).transaction(hash).await.expect("two answers").expect("known").is_final);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_may_know_nothing_and_throw_away_what_it_is_sent() {
    let bench = Bench::start(Duration::ZERO).await;
    let [alice, bob] = bench.users().await;
    let coin = bench.coin(XIN, "10", &[&alice], 1).await;
    let (parent, key) = (place(&coin).transaction, coin.keys[0].to_string());
    for fault in
        [lie(Lie::Unknown, parent, 1), FaultOrder::new(Fault::Lie { about: Lie::Taken, transaction: None }).at_node(1)]
    {
        bench.fault(fault).await;
    }
    assert!(seen(&bench, 1, parent).await.is_null());
    assert!(bench.rpc("getutxo", json!([hex::encode(parent), 0])).await.expect("an answer").is_null());
    assert!(bench.rpc("getkey", json!([key])).await.expect("an answer")["transaction"].is_null());
    assert_eq!(bench.rpc_at(2, "getkey", json!([key])).await.expect("an answer")["transaction"], hex::encode(parent));

    let payment = signed(&alice, &coin, alice.payment(&coin, &[bob.id()], 1, "4").await).await;
    let kernel = bench.kernel(2);
    assert_eq!(kernel.send(0, &payment.encode()).await.expect("it says so"), payment.hash());
    assert!(kernel.transaction(payment.hash()).await.expect("read").is_none());
    assert!(bob.own_coins().await.is_empty());
    kernel.send(1, &payment.encode()).await.expect("by another node");
    assert_eq!(bob.own_coins().await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn snapshots_may_differ_between_nodes_and_mean_the_same() {
    let bench = Bench::start(Duration::ZERO).await;
    let [alice] = bench.users().await;
    let hash = place(&bench.coin(XIN, "1", &[&alice], 1).await).transaction;
    let common = seen(&bench, 3, hash).await["snapshot"].clone();
    bench.fault(FaultOrder::new(Fault::OwnSnapshots).at_node(2)).await;
    assert_eq!(seen(&bench, 1, hash).await["snapshot"], common);
    let own = seen(&bench, 2, hash).await["snapshot"].clone();
    assert!(own.is_string() && own != common);
    bench.operator.clear_faults().await.expect("cleared");
    bench.fault(FaultOrder::new(Fault::OwnSnapshots)).await;
    let mut snapshots = Vec::new();
    for node in 1..=3 {
        snapshots.push(seen(&bench, node, hash).await["snapshot"].as_str().expect("final").to_owned());
    }
    snapshots.sort_unstable();
    snapshots.dedup();
    assert_eq!(snapshots.len(), 3);
    assert!(bench.kernel(3).transaction(hash).await.expect("read").expect("known").is_final);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_should_become_final_while_finality_stands_still() {
    let bench = Bench::start(Duration::ZERO).await;
    let [alice, bob] = bench.users().await;
    let coin = bench.coin(XIN, "10", &[&alice], 1).await;
    let fault = bench.fault(FaultOrder::new(Fault::Stall)).await;
    let paid = alice.pay(Uuid::new_v4(), &coin, alice.payment(&coin, &[bob.id()], 1, "4").await).await;
    assert_eq!(bench.operator.advance().await.expect("nothing"), 0);
    assert!(!bench.kernel(1).transaction(paid.hash()).await.expect("read").expect("announced").is_final);
    assert!(bob.own_coins().await.is_empty());
    bench.operator.clear_fault(fault.id).await.expect("cleared");
    assert!(bench.kernel(3).transaction(paid.hash()).await.expect("read").expect("known").is_final);
    assert_eq!(bob.own_coins().await.len(), 1);
}

/// Two payloads over one coin, at nodes 1 and 2, and a third at none.
async fn split(bench: &Bench) -> (OutputRow, [SignedTransaction; 3], User) {
    let [alice, bob] = bench.users().await;
    let coin = bench.coin(XIN, "10", &[&alice], 1).await;
    let one = signed(&alice, &coin, alice.payment(&coin, &[bob.id()], 1, "4").await).await;
    let two = signed(&alice, &coin, alice.payment(&coin, &[bob.id()], 1, "5").await).await;
    let third = signed(&alice, &coin, alice.payment(&coin, &[bob.id()], 1, "1").await).await;
    bench.fault(FaultOrder::new(Fault::SplitLocks)).await;
    send(bench, 1, &one).await.expect("the first node");
    send(bench, 2, &two).await.expect("the second node knows nothing of it");
    (coin, [one, two, third], bob)
}

#[tokio::test(flavor = "multi_thread")]
async fn rivals_at_split_nodes_should_lock_the_coin_for_ever() {
    let bench = Bench::start(Duration::ZERO).await;
    let (coin, [one, two, third], _) = split(&bench).await;
    assert!(seen(&bench, 1, one.hash()).await["snapshot"].is_null());
    assert!(seen(&bench, 1, two.hash()).await.is_null() && seen(&bench, 2, one.hash()).await.is_null());
    let coin_at = place(&coin);
    for (node, holder) in [(1, one.hash()), (2, two.hash())] {
        let utxo = bench.rpc_at(node, "getutxo", json!([hex::encode(coin_at.transaction), coin_at.index])).await;
        assert_eq!(utxo.expect("the coin")["lock"], hex::encode(holder));
        let key = one.transaction().outputs()[0].keys[0].to_string();
        let known = bench.rpc_at(node, "getkey", json!([key])).await.expect("an answer");
        assert_eq!(known["transaction"].is_null(), node == 2);
    }
    // Whoever sends the other one is told why not; the same one again is nothing new.
    let refused = send(&bench, 2, &one).await.expect_err("the second node has promised the coin");
    assert_eq!(refused, format!("input locked for transaction {}", hex::encode(two.hash())));
    send(&bench, 1, &one).await.expect("the same again");
    send(&bench, 3, &two).await.expect("the third node is free");

    bench.operator.clear_faults().await.expect("cleared");
    assert_eq!(bench.operator.advance().await.expect("nothing"), 0);
    for node in 1..=3 {
        assert!(send(&bench, node, &third).await.expect_err("locked").starts_with("input locked for transaction"));
    }
    let bench = bench.restart().await;
    let kernel = bench.kernel(1);
    for hash in [one.hash(), two.hash()] {
        assert!(!kernel.transaction(hash).await.expect("read").expect("announced").is_final, "a restart helps nobody");
    }
    assert_eq!(kernel.coin_holders(coin_at).await.expect("read").len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn operators_should_be_able_to_end_a_split_in_favour_of_one_payload() {
    let bench = Bench::start(Duration::ZERO).await;
    let (coin, [one, two, _], bob) = split(&bench).await;
    bench.operator.clear_faults().await.expect("cleared");
    bench.operator.release(two.hash()).await.expect("released");
    let kernel = bench.kernel(3);
    assert!(kernel.transaction(two.hash()).await.expect("read").expect("known").is_final);
    assert!(kernel.transaction(one.hash()).await.expect("read").is_none());
    assert_eq!(kernel.coin_holders(place(&coin)).await.expect("read"), [two.hash()]);
    assert!(send(&bench, 1, &one).await.is_err(), "its coin is spent");
    let amounts: Vec<_> = bob.own_coins().await.iter().map(|row| row.amount.to_string()).collect();
    assert_eq!(amounts, ["5.00000000"]);
    assert!(bench.operator.release(two.hash()).await.is_err(), "it is held no more");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payload_without_a_rival_should_go_on_when_nodes_meet_again() {
    let bench = Bench::start(Duration::ZERO).await;
    let [alice, bob] = bench.users().await;
    let coin = bench.coin(XIN, "10", &[&alice], 1).await;
    bench.fault(FaultOrder::new(Fault::SplitLocks)).await;
    let paid = alice.pay(Uuid::new_v4(), &coin, alice.payment(&coin, &[bob.id()], 1, "4").await).await;
    assert!(seen(&bench, 2, paid.hash()).await.is_null(), "the API sends to the first node");
    assert!(bob.own_coins().await.is_empty());
    bench.operator.clear_faults().await.expect("cleared");
    assert!(bench.kernel(3).transaction(paid.hash()).await.expect("read").expect("known").is_final);
    let received = bob.own_coins().await;
    assert_eq!(received.iter().map(|row| row.senders.as_slice()).collect::<Vec<_>>(), [[alice.id()].as_slice()]);
}
