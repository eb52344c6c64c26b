//! Calls that the production client does not make: rows by their ids, ends of requests, what a deposit came from.

use std::time::Duration;

use lockstep::http::{http_client, read_body};
use lockstep_core::Uuid;
use serde_json::{Value, json};

use super::bench::{Bench, XIN, raw};
use super::caller::{call, now_s, send, token};

#[tokio::test(flavor = "multi_thread")]
async fn a_token_should_not_work_again_nor_for_another_call() {
    let bench = Bench::start(Duration::ZERO).await;
    let [alice] = bench.users().await;
    let me = ("GET", "/safe/me", "");
    let of_alice = token(alice.api.keystore(), me, "one", now_s());
    assert_eq!(send(&bench, &of_alice, ("GET", "/safe/outputs", "")).await.code(), 401);
    assert_eq!(send(&bench, &of_alice, ("GET", "/safe/me?x=1", "")).await.code(), 401);
    assert_eq!(send(&bench, &of_alice, ("GET", "/safe/me", "{}")).await.code(), 401);
    assert_eq!(send(&bench, &of_alice, me).await.data()["user_id"], json!(alice.id()));
    assert_eq!(send(&bench, &of_alice, me).await.code(), 401);
    let old = token(alice.api.keystore(), me, "two", now_s() - 3600);
    assert_eq!(send(&bench, &old, me).await.code(), 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_should_be_fetched_by_their_ids_for_an_owner_only() {
    let bench = Bench::start(Duration::ZERO).await;
    let [alice, bob] = bench.users().await;
    let (one, two) = (bench.coin(XIN, "1", &[&alice], 1).await, bench.coin(XIN, "2", &[&alice, &bob], 2).await);
    let fetch = async |user: Uuid, ids: Value| {
        let body = json!({ "user_id": user, "ids": ids }).to_string();
        call(&bench, &alice, "POST", "/safe/outputs/fetch", &body).await
    };
    assert_eq!(fetch(alice.id(), json!([])).await.code(), 10_002);
    assert_eq!(fetch(alice.id(), json!(vec![one.output_id; 501])).await.code(), 10_002);
    assert_eq!(fetch(alice.id(), json!(["x"])).await.code(), 400);
    let ids = json!([two.output_id, Uuid::nil(), one.output_id]);
    let rows = fetch(alice.id(), ids.clone()).await.data();
    let amounts: Vec<_> = rows.as_array().expect("rows").iter().map(|row| row["amount"].clone()).collect();
    assert_eq!(amounts, ["2.00000000", "1.00000000"]);
    let rows = fetch(bob.id(), ids).await.data();
    assert_eq!(rows.as_array().expect("rows").len(), 1, "the other is none of bob's");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_its_creator_should_end_a_request_and_only_while_signatures_are_missing() {
    let bench = Bench::start(Duration::ZERO).await;
    let [a, b, bob] = bench.users().await;
    let coin = bench.coin(XIN, "10", &[&a, &b], 2).await;
    let transaction = a.payment(&coin, &[bob.id()], 1, "4").await;
    for end in ["revoke", "cancel"] {
        let id = Uuid::new_v4();
        let unsigned = raw(id, &transaction.clone().unsigned());
        let row = a.api.create_multisig(&unsigned).await.expect("a request");
        let mut signed = transaction.clone().unsigned();
        a.sign(&mut signed, &[&coin], &row.views);
        a.api.sign_multisig(&raw(id, &signed)).await.expect("a signature");
        let uri = format!("/safe/multisigs/{id}/{end}");
        assert_eq!(call(&bench, &b, "POST", &uri, "").await.code(), 403);
        assert_eq!(call(&bench, &bob, "POST", &uri, "").await.code(), 403);
        let row = call(&bench, &a, "POST", &uri, "").await.data();
        assert_eq!((&row["revoked_by"], &row["signers"], &row["views"]), (&json!(a.id()), &json!([]), &json!([])));
        assert!(b.api.sign_multisig(&raw(id, &signed)).await.is_err(), "a dead request takes nothing");
        assert_eq!(a.api.output(coin.output_id).await.expect("the coin").signed_by, None);
    }
    let id = Uuid::new_v4();
    let mut signed = transaction.clone().unsigned();
    for user in [&a, &b] {
        let row = user.api.create_multisig(&raw(id, &transaction.clone().unsigned())).await.expect("a request");
        user.sign(&mut signed, &[&coin], &row.views);
    }
    a.api.sign_multisig(&raw(id, &signed)).await.expect("both signatures");
    assert_eq!(call(&bench, &a, "POST", &format!("/safe/multisigs/{id}/revoke"), "").await.code(), 403);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deposit_should_say_where_it_came_from() {
    let bench = Bench::start(Duration::ZERO).await;
    let [alice, bob] = bench.users().await;
    let body = json!({
        "request_id": Uuid::from_u128(5), "asset": XIN.to_string(), "amount": "1", "receivers": [alice.id()],
        "sender": "0xabc", "destination": "0xdef", "tag": "7",
    });
    let http = http_client(Duration::from_secs(10)).expect("a client");
    let url = format!("http://{}/admin/faucet", bench.running.api);
    let poured = http.post(url).json(&body).send().await.expect("an answer");
    let poured: Value = serde_json::from_slice(&read_body(poured, 1 << 16).await.expect("a body")).expect("json");
    let id = poured["data"]["output_id"].as_str().expect("an id").parse().expect("an id");
    let deposit = alice.api.deposit(id).await.expect("a deposit");
    assert_eq!((deposit.deposit_hash, deposit.deposit_index), (Uuid::from_u128(5).to_string(), 0));
    assert_eq!((deposit.sender.as_str(), deposit.destination.as_str(), deposit.tag.as_str()), ("0xabc", "0xdef", "7"));

    let coin = alice.api.output(id).await.expect("the coin");
    let paid = alice.pay(Uuid::new_v4(), &coin, alice.payment(&coin, &[bob.id()], 1, "1").await).await;
    let received = bob.own_coins().await.pop().expect("a coin");
    assert_eq!(received.transaction_hash.0, paid.hash().0);
    assert!(bob.api.deposit(received.output_id).await.is_err(), "a payment is no deposit");
}
