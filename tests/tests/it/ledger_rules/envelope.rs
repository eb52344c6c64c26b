//! The form of the API's answers, and the calls that need no token.

use std::time::{Duration, Instant};

use lockstep::http::{http_client, read_body};
use lockstep_core::{AssetId, Uuid};
use serde_json::{Value, json};

use super::bench::{BTC, Bench, XIN};

/// Status, echoed request id and body of a call.
async fn call(bench: &Bench, method: &str, path: &str, body: Option<(&str, Vec<u8>)>) -> (u16, String, Value) {
    let http = http_client(Duration::from_secs(20)).expect("a client");
    let method = method.parse().expect("a method");
    let mut request = http.request(method, format!("http://{}{path}", bench.running.api));
    request = request.header("x-request-id", "the-id");
    if let Some((kind, bytes)) = body {
        request = request.header("content-type", kind).body(bytes);
    }
    let response = request.send().await.expect("a reply");
    let status = response.status().as_u16();
    let id = response.headers().get("x-request-id").map(|id| id.to_str().expect("text").to_owned());
    let body = read_body(response, 1 << 20).await.expect("a body");
    (status, id.unwrap_or_default(), serde_json::from_slice(&body).unwrap_or_default())
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_should_come_as_202_with_a_code_and_the_requests_id() {
    let bench = Bench::start(Duration::ZERO).await;
    let json_body = |text: &str| Some(("application/json", text.as_bytes().to_vec()));
    for (method, path, body, code) in [
        ("GET", "/safe/me", None, 401),
        ("GET", "/safe/outputs?limit=1", None, 401),
        ("POST", "/safe/multisigs", json_body("[]"), 401),
        ("GET", "/nowhere", None, 404),
        ("GET", "/network/assets/00000000-0000-0000-0000-000000000001", None, 404),
        ("GET", "/network/assets/xin", None, 10_002),
        ("POST", "/admin/faucet", json_body("{}"), 400),
        ("POST", "/admin/users", Some(("text/plain", b"{}".to_vec())), 400),
        ("POST", "/admin/users", json_body(r#"{"session_public_key":"00","spend_public_key":"00"}"#), 400),
        ("POST", "/admin/assets", Some(("application/json", vec![b' '; 10 << 20])), 400),
    ] {
        let (status, id, reply) = call(&bench, method, path, body).await;
        assert_eq!((status, id.as_str(), &reply["error"]["code"]), (202, "the-id", &json!(code)), "{path} {reply}");
        assert_eq!(reply["error"]["status"], 202);
    }
    let weak = format!(r#"{{"session_public_key":"{0}","spend_public_key":"{0}"}}"#, "00".repeat(32));
    let (_, _, reply) = call(&bench, "POST", "/admin/users", json_body(&weak)).await;
    assert_eq!(reply["error"]["code"], 10_002, "a key outside the group");
}

#[tokio::test(flavor = "multi_thread")]
async fn assets_should_be_known_by_both_their_names() {
    let bench = Bench::start(Duration::ZERO).await;
    for asset in [XIN, BTC] {
        let kernel = AssetId::from_uuid(asset).to_string();
        for name in [asset.to_string(), kernel.clone()] {
            let (status, _, reply) = call(&bench, "GET", &format!("/network/assets/{name}"), None).await;
            assert_eq!((status, &reply["data"]["asset_id"]), (200, &json!(asset)));
            assert_eq!((&reply["data"]["kernel_asset_id"], &reply["data"]["precision"]), (&json!(kernel), &json!(8)));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn transactions_should_become_final_after_the_delay_by_themselves() {
    let delay = Duration::from_millis(300);
    let bench = Bench::start(delay).await;
    let [alice] = bench.users().await;
    let started = Instant::now();
    let amount = "1".parse().expect("an amount");
    bench.operator.mint(Uuid::new_v4(), XIN, amount, (&[alice.id()], 1), b"").await.expect("a deposit");
    while alice.coins(&[alice.id()], 1).await.is_empty() {
        assert!(started.elapsed() < Duration::from_secs(20), "never final");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(started.elapsed() >= delay);
}
