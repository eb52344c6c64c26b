//! The kernel's RPC: what is sent there is judged like everything else, and has no senders.

use std::time::Duration;

use lockstep::ledger::wire::{KernelUtxo, OutputRow, OutputState, View};
use lockstep_core::Uuid;
use lockstep_core::mixin::{Signatures, SignedTransaction, Transaction};
use serde_json::{Value, json};

use super::bench::{Bench, User, XIN, place, raw, spend};

/// Each member's views of a transaction's coins.
async fn views(members: &[&User], transaction: &Transaction) -> Vec<Vec<View>> {
    let request = raw(Uuid::new_v4(), &transaction.clone().unsigned());
    let mut views = Vec::new();
    for member in members {
        views.push(member.api.create_multisig(&request).await.expect("a request").views);
    }
    views
}

fn signed(members: &[&User], views: &[Vec<View>], coin: &OutputRow, transaction: &Transaction) -> SignedTransaction {
    let mut signed = transaction.clone().unsigned();
    for (member, views) in members.iter().zip(views) {
        member.sign(&mut signed, &[coin], views);
    }
    signed
}

async fn send(bench: &Bench, signed: &SignedTransaction) -> Result<Value, String> {
    bench.rpc("sendrawtransaction", json!([hex::encode(signed.encode())])).await
}

#[tokio::test(flavor = "multi_thread")]
async fn malformed_calls_should_be_refused() {
    let bench = Bench::start(Duration::ZERO).await;
    for (method, params) in [
        ("listtransactions", json!([])),
        ("sendrawtransaction", json!([])),
        ("sendrawtransaction", json!(["zz"])),
        ("sendrawtransaction", json!(["7777"])),
        ("gettransaction", json!(["00"])),
        ("getutxo", json!(["00".repeat(32)])),
        ("getkey", json!([7])),
    ] {
        assert!(bench.rpc(method, params.clone()).await.is_err(), "{method} {params}");
    }
    for method in ["gettransaction", "getkey"] {
        let data = bench.rpc(method, json!(["07".repeat(32)])).await.expect("an answer");
        assert!(data.is_null() || data == json!({ "transaction": null }), "{data}");
    }
    assert_eq!(bench.rpc("getutxo", json!(["07".repeat(32), 0])).await, Ok(Value::Null));
    assert!(bench.rpc("getinfo", json!([])).await.expect("an answer")["network"].is_string());
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_sets_of_signatures_should_be_refused() {
    let bench = Bench::start(Duration::ZERO).await;
    let [a, b, c, d, bob] = bench.users().await;
    let members = [&a, &b, &c, &d];
    let coin = bench.coin(XIN, "10", &members, 3).await;
    let transaction = a.payment(&coin, &[bob.id()], 1, "4").await;
    let views = views(&members, &transaction).await;

    let none = send(&bench, &transaction.clone().unsigned()).await.expect_err("unsigned");
    assert!(none.contains("invalid tx signature number"), "{none}");
    let two = signed(&members[..2], &views, &coin, &transaction);
    let two = send(&bench, &two).await.expect_err("below the threshold");
    assert!(two.contains("invalid signature keys 2 3"), "{two}");
    // Three good ones and a bad one.
    let Signatures::Map(mut maps) = signed(&members, &views, &coin, &transaction).signatures().clone() else {
        panic!("single signatures")
    };
    let copied = *maps[0].get(&0).expect("a signature");
    maps[0].insert(3, copied);
    let spoiled = SignedTransaction::new(transaction.clone(), Signatures::Map(maps.clone())).expect("a transaction");
    assert!(send(&bench, &spoiled).await.is_err());
    maps[0].remove(&3);
    maps[0].insert(4, copied);
    let beyond = SignedTransaction::new(transaction.clone(), Signatures::Map(maps)).expect("a transaction");
    assert!(send(&bench, &beyond).await.is_err());

    // Bytes after the end are another byte string for the same transaction, which must not exist.
    let good = signed(&members[1..], &views[1..], &coin, &transaction);
    let mut bytes = good.encode();
    bytes.push(0);
    assert!(bench.rpc("sendrawtransaction", json!([hex::encode(bytes)])).await.is_err());
    assert!(bench.transaction(transaction.hash()).await.is_none());
    send(&bench, &good).await.expect("a valid transaction");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_payload_should_keep_its_coins_and_keys_and_its_first_signatures() {
    let bench = Bench::start(Duration::from_secs(3600)).await;
    let [a, b, c, d, bob] = bench.users().await;
    let members = [&a, &b, &c, &d];
    let coin = bench.coin(XIN, "10", &members, 3).await;
    let other_coin = bench.coin(XIN, "10", &members, 3).await;
    let transaction = a.payment(&coin, &[bob.id()], 1, "4").await;
    let rival = a.payment(&coin, &[bob.id()], 1, "5").await;
    let thief = spend(&[&other_coin], vec![transaction.outputs()[0].clone(), a.output(1, &[a.id()], 1, "6").await]);
    let mut kept = Vec::new();
    for (coin, transaction) in [(&coin, &transaction), (&coin, &rival), (&other_coin, &thief)] {
        let views = views(&members, transaction).await;
        kept.push((
            signed(&members[..3], &views, coin, transaction),
            signed(&members[1..], &views[1..], coin, transaction),
        ));
    }
    let [(first, again), (rival, _), (thief, _)] = kept.as_slice() else { panic!("three") };
    send(&bench, first).await.expect("the first");

    let refused = send(&bench, rival).await.expect_err("a locked coin");
    assert_eq!(refused, format!("input locked for transaction {}", hex::encode(first.hash())));
    let refused = send(&bench, thief).await.expect_err("a used key");
    assert!(refused.contains("invalid output key"), "{refused}");
    let hash = send(&bench, again).await.expect("the same payload");
    assert_eq!(hash["hash"], hex::encode(first.hash()));
    let stored = bench.transaction(first.hash()).await.expect("a transaction");
    assert_eq!((stored.hex.0, stored.snapshot), (first.encode(), None));

    // What is not final cannot be spent or named.
    let key = first.transaction().outputs()[0].keys[0].to_string();
    let holder = bench.rpc("getkey", json!([key])).await.expect("an answer");
    assert_eq!(holder["transaction"], hex::encode(first.hash()));
    assert_eq!(bench.rpc("getutxo", json!([hex::encode(first.hash()), 0])).await, Ok(Value::Null));
    let parent = place(&coin);
    let utxo = bench.rpc("getutxo", json!([hex::encode(parent.transaction), parent.index])).await.expect("an answer");
    let utxo: KernelUtxo = serde_json::from_value(utxo).expect("an output");
    assert_eq!(utxo.lock.map(|lock| lock.0), Some(first.hash().0));
    assert_eq!(bench.operator.advance().await.expect("finality"), 1);
    assert!(bench.transaction(first.hash()).await.expect("a transaction").snapshot.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_passes_the_api_by_should_arrive_without_senders() {
    let bench = Bench::start(Duration::ZERO).await;
    let [a, b, c, d, bob] = bench.users().await;
    let members = [&a, &b, &c, &d];
    let coin = bench.coin(XIN, "10", &members, 3).await;
    let transaction = a.payment(&coin, &[bob.id()], 1, "4").await;
    let views = views(&members, &transaction).await;
    send(&bench, &signed(&members[..3], &views, &coin, &transaction)).await.expect("a transaction");

    let received = bob.coins(&[bob.id()], 1).await;
    let [received] = received.as_slice() else { panic!("one coin") };
    assert_eq!((received.senders.len(), received.senders_threshold, received.request_id), (0, 0, None));
    let spent = a.api.output(coin.output_id).await.expect("the coin");
    assert_eq!((spent.state, spent.signed_by.map(|hash| hash.0)), (OutputState::Spent, Some(transaction.hash().0)));
    // The API can still be told afterwards.
    let row = a.api.create_multisig(&raw(Uuid::new_v4(), &transaction.unsigned())).await.expect("a request");
    assert_eq!(row.views.len(), 0);
    assert_eq!(a.api.transaction(row.request_id).await.expect("the request").state, OutputState::Spent);
}
