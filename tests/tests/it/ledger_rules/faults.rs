//! Setting, listing and clearing faults; calls that fail or hang.

use std::time::{Duration, Instant};

use lockstep::devnet::ledger::{Answer, Disturbance, Fault, FaultOrder, Lie, OperatorError};
use lockstep::http::{http_client, read_body};
use lockstep::ledger::{LedgerError, Refusal};
use lockstep_core::{B256, Uuid};
use serde_json::{Value, json};

use super::bench::{Bench, XIN, raw};
use super::payment::refusal;

async fn post(bench: &Bench, body: &Value) -> Value {
    let http = http_client(Duration::from_secs(10)).expect("a client");
    let response = http.post(format!("http://{}/admin/faults", bench.running.api)).json(body).send().await;
    let body = read_body(response.expect("an answer"), 1 << 16).await.expect("a body");
    serde_json::from_slice(&body).expect("json")
}

fn disturb(answer: Answer) -> Disturbance {
    Disturbance { answer, pause_ms: 0, applied: false, method: None, path: None }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_cannot_be_carried_out_should_be_refused_and_change_nothing() {
    let bench = Bench::start(Duration::ZERO).await;
    for (body, code) in [
        (json!({}), 400),
        (json!({ "fault": { "kind": "unheard_of" } }), 400),
        (json!({ "fault": { "kind": "stall" }, "also": 1 }), 400),
        (json!({ "fault": { "kind": "omit", "output": "x" } }), 400),
        (json!({ "fault": { "kind": "lie", "about": "final" } }), 10_002),
        (json!({ "fault": { "kind": "lie", "about": "final" }, "node": 4 }), 10_002),
        (json!({ "fault": { "kind": "revoke" } }), 10_002),
        (json!({ "fault": { "kind": "stall" }, "next": 1 }), 10_002),
        (json!({ "fault": { "kind": "equivocate" }, "user": Uuid::nil() }), 10_002),
        (json!({ "fault": { "kind": "disturb", "answer": "right", "pause_ms": 25_001 } }), 10_002),
    ] {
        assert_eq!(post(&bench, &body).await["error"]["code"], code, "{body}");
    }
    let unknown = bench.operator.clear_fault(1).await;
    assert!(matches!(unknown, Err(OperatorError::Refused { code: 404, .. })), "{unknown:?}");
    assert!(bench.operator.release(B256::repeat_byte(1)).await.is_err(), "nothing is held");
    assert_eq!(bench.operator.faults().await.expect("none"), []);
    for _ in 0..64 {
        bench.fault(FaultOrder::new(Fault::Stall)).await;
    }
    assert!(bench.operator.set_fault(&FaultOrder::new(Fault::Stall)).await.is_err(), "the list is bounded");
}

#[tokio::test(flavor = "multi_thread")]
async fn faults_should_be_listed_with_their_counts_and_forgotten_by_a_restart() {
    let bench = Bench::start(Duration::ZERO).await;
    let [alice, bob] = bench.users().await;
    let body = json!({ "fault": { "kind": "disturb", "answer": "bad_gateway" }, "user": alice.id(), "next": 2 });
    let set = post(&bench, &body).await;
    assert_eq!((&set["data"]["id"], &set["data"]["acted"], &set["data"]["next"]), (&json!(1), &json!(0), &json!(2)));
    bob.api.me().await.expect("bob is not meant");
    assert!(alice.api.me().await.is_err());
    let row = bench.operator.faults().await.expect("one").pop().expect("one");
    assert_eq!((row.acted, row.order.next, row.order.user), (1, Some(1), Some(alice.id())));
    assert!(alice.api.me().await.is_err());
    alice.api.me().await.expect("twice was ordered");
    let cleared = bench.operator.clear_fault(row.id).await.expect("cleared");
    assert_eq!(cleared.iter().map(|row| (row.acted, row.order.next)).collect::<Vec<_>>(), [(2, Some(0))]);

    bench.fault(FaultOrder::new(Fault::Disturb(disturb(Answer::ServerError)))).await;
    bench.fault(FaultOrder::new(Fault::Stall)).await;
    assert!(bob.api.me().await.is_err());
    let bench = bench.restart().await;
    let [bob] = bench.users().await;
    bob.api.me().await.expect("an honest ledger");
    assert_eq!(bench.operator.faults().await.expect("none"), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_failure_should_look_to_the_client_as_it_is() {
    let bench = Bench::start(Duration::ZERO).await;
    let [alice] = bench.users().await;
    for answer in [Answer::ServerError, Answer::BadGateway, Answer::TooMany, Answer::Cut] {
        bench.fault(FaultOrder::new(Fault::Disturb(disturb(answer))).times(1)).await;
        let error = alice.api.me().await.expect_err("disturbed");
        assert!(error.retryable(), "{error:?}");
        match answer {
            Answer::ServerError => assert!(matches!(error, LedgerError::Status { status: 500, .. })),
            Answer::BadGateway => assert!(matches!(error, LedgerError::Status { status: 502, .. })),
            Answer::TooMany => assert_eq!(error.refusal(), Some(Refusal::TooMany)),
            Answer::Cut | Answer::Right => assert!(matches!(error, LedgerError::Http { .. }), "{error:?}"),
        }
        alice.api.me().await.expect("once was ordered");
    }
    let slow = Disturbance { pause_ms: 300, ..disturb(Answer::Right) };
    bench.fault(FaultOrder::new(Fault::Disturb(slow)).times(1)).await;
    let started = Instant::now();
    alice.api.me().await.expect("only slow");
    assert!(started.elapsed() >= Duration::from_millis(300));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_should_meet_only_the_calls_that_it_names() {
    let bench = Bench::start(Duration::ZERO).await;
    let [alice] = bench.users().await;
    let coin = bench.coin(XIN, "1", &[&alice], 1).await;
    let only = |method: &str, path: &str| {
        let (method, path) = (Some(method.to_owned()), Some(path.to_owned()));
        FaultOrder::new(Fault::Disturb(Disturbance { method, path, ..disturb(Answer::BadGateway) }))
    };
    let posts = bench.fault(only("POST", "/safe/outputs")).await;
    let rows = bench.fault(only("GET", "/safe/outputs")).await;
    alice.api.me().await.expect("another path");
    assert!(alice.page(&[alice.id()], 1).await.is_err());
    assert!(alice.api.output(coin.output_id).await.is_err(), "below the path");
    assert_eq!((bench.acted(&posts).await, bench.acted(&rows).await), (0, 2));
    assert!(bench.rpc("getinfo", json!([])).await.is_ok(), "no node is named");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_may_be_done_although_its_answer_is_lost() {
    let bench = Bench::start(Duration::ZERO).await;
    let [alice, bob] = bench.users().await;
    let coin = bench.coin(XIN, "10", &[&alice], 1).await;
    let lost = Disturbance { applied: true, path: Some("/safe/transactions".into()), ..disturb(Answer::Cut) };
    bench.fault(FaultOrder::new(Fault::Disturb(lost)).times(1)).await;
    let transaction = alice.payment(&coin, &[bob.id()], 1, "4").await;
    let id = Uuid::new_v4();
    let row = alice.api.request_transaction(&raw(id, &transaction.clone().unsigned())).await.expect("a request");
    let mut signed = transaction.unsigned();
    alice.sign(&mut signed, &[&coin], &row.views);
    assert!(alice.api.send_transaction(&raw(id, &signed)).await.is_err(), "no answer");
    assert_eq!(bob.own_coins().await.len(), 1, "and yet");
    alice.api.send_transaction(&raw(id, &signed)).await.expect("the same again");
    assert_eq!(bob.own_coins().await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disturbed_kernel_node_should_leave_the_others_alone() {
    let bench = Bench::start(Duration::ZERO).await;
    let [alice] = bench.users().await;
    let coin = bench.coin(XIN, "1", &[&alice], 1).await;
    let hash = B256::new(coin.transaction_hash.0);
    let reads = Disturbance { method: Some("gettransaction".into()), ..disturb(Answer::TooMany) };
    bench.fault(FaultOrder::new(Fault::Disturb(reads)).at_node(2)).await;
    let kernel = bench.kernel(2);
    assert!(kernel.transaction(hash).await.expect("two nodes").expect("known").is_final);
    let hangs = Disturbance { pause_ms: 20_000, ..disturb(Answer::Right) };
    bench.fault(FaultOrder::new(Fault::Disturb(hangs)).at_node(3).times(1)).await;
    let fail = bench.kernel(1).transaction(hash).await.expect("the first node").expect("known");
    assert!(fail.is_final);
    let broken = disturb(Answer::ServerError);
    bench.fault(FaultOrder::new(Fault::Disturb(broken)).at_node(1)).await;
    let error = kernel.transaction(hash).await.expect_err("one of three answers");
    assert!(error.retryable());
    assert_eq!(refusal(alice.api.transaction(Uuid::nil()).await), Refusal::NotFound, "the API goes on");
    let lie = FaultOrder::new(Fault::Lie { about: Lie::Unknown, transaction: None }).at_node(1);
    bench.operator.clear_faults().await.expect("cleared");
    bench.fault(lie).await;
    assert!(bench.kernel(3).transaction(hash).await.expect("three answers").is_some(), "two know it");
}
