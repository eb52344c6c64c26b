//! The exact bytes that a request signs (`reference/mixin.md` 1.1), as they arrive at a server.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::{Signature, SigningKey};
use lockstep::ledger::wire::{HexBytes, KeyRequest, KeysBody, LedgerTime, RawRequest};
use lockstep::ledger::{OutputQuery, SafeApi, SnapshotQuery, Statement};
use lockstep_core::Uuid;
use serde_json::json;
use sha2::{Digest, Sha256};

use super::player::{Player, Seen};
use super::scene::Scene;
use crate::ledger_rules::caller::now_s;

/// Checks the token of one request against what arrived; gives its id.
#[track_caller]
fn check(api: &SafeApi, seen: &Seen, (method, uri, body): (&str, &str, &str)) -> String {
    let text = |name: &str| seen.headers.get(name).expect("a header").to_str().expect("text").to_owned();
    assert_eq!((seen.method.as_str(), seen.uri.as_str()), (method, uri));
    assert_eq!(std::str::from_utf8(&seen.body).expect("text"), body);
    assert_eq!(text("content-type"), "application/json");
    let token = text("authorization").strip_prefix("Bearer ").expect("a token").to_owned();
    let parts: Vec<&str> = token.split('.').collect();
    let decoded = |part: &str| URL_SAFE_NO_PAD.decode(part).expect("base64url without padding");
    assert_eq!(decoded(parts[0]), br#"{"alg":"EdDSA","typ":"JWT"}"#);

    // Method, path with query, body: the very bytes that were sent, in this order, hashed with SHA-256.
    let digest = hex::encode(Sha256::digest([method.as_bytes(), uri.as_bytes(), &seen.body].concat()));
    let claims = String::from_utf8(decoded(parts[1])).expect("text");
    let values: serde_json::Value = serde_json::from_str(&claims).expect("json");
    let iat = values["iat"].as_u64().expect("a time");
    let exp = iat.saturating_add(60);
    assert!(iat <= now_s() && exp >= now_s(), "{iat}");
    let (uid, sid, jti) = (api.user(), api.keystore().session_id, text("x-request-id"));
    let expected = format!(
        r#"{{"uid":"{uid}","sid":"{sid}","iat":{iat},"exp":{exp},"jti":"{jti}","sig":"{digest}","scp":"FULL"}}"#
    );
    assert_eq!(claims, expected);

    let session = SigningKey::from_bytes(api.keystore().session_private_key.expose()).verifying_key();
    let signature = Signature::from_slice(&decoded(parts[2])).expect("64 bytes");
    let signed = format!("{}.{}", parts[0], parts[1]);
    session.verify_strict(signed.as_bytes(), &signature).expect("signed by the session key");
    assert_eq!(parts.len(), 3);
    jti
}

#[tokio::test(flavor = "multi_thread")]
async fn each_request_should_sign_exactly_what_it_sends() {
    let scene = Scene::new();
    let nothing = json!([{ "call": "GET /", "replies": [{ "status": 200, "body": {} }] },
        { "call": "POST /", "replies": [{ "status": 200, "body": {} }] }]);
    let player = Player::start(&nothing, scene.names()).await;
    let api = scene.service(&player.url, &player.url).alice;
    let hint = Uuid::from_u128(5);
    let query = OutputQuery { members: "ab".into(), threshold: 2, offset: 7, limit: 9, asset: None, state: None };
    let key = KeyRequest { receivers: vec![hint], index: 1, hint };
    let keys = KeysBody::Own(vec![key.clone()]);
    let shared = KeysBody::Senders { keys: vec![key], senders: vec![hint, Uuid::max()] };
    let before = Some(LedgerTime(1_714_979_289_120_000_000));
    let statement = SnapshotQuery { of: Statement::WithUser(hint), before, limit: 9 };
    let request = RawRequest { request_id: hint, raw: HexBytes(super::spend_nothing().encode()) };
    // What comes back says nothing that these calls could use; what they sent is the matter.
    assert!(api.me().await.is_err() && api.outputs(&query).await.is_err() && api.keys(&keys).await.is_err());
    assert!(api.create_multisig(&request).await.is_err() && api.sign_multisig(&request).await.is_err());
    assert!(api.unlock_multisig(hint).await.is_err() && api.keys(&shared).await.is_err());
    assert!(api.request_transaction(&request).await.is_err() && api.send_transaction(&request).await.is_err());
    assert!(api.snapshots(&statement).await.is_err() && api.asset(hint).await.is_err());

    let raw = hex::encode(&request.raw.0);
    let expected = [
        ("GET", "/safe/me".to_owned(), String::new()),
        ("GET", "/safe/outputs?members=ab&threshold=2&offset=7&limit=9&order=ASC".to_owned(), String::new()),
        ("POST", "/safe/keys".to_owned(), format!(r#"[{{"receivers":["{hint}"],"index":1,"hint":"{hint}"}}]"#)),
        ("POST", "/safe/multisigs".to_owned(), format!(r#"[{{"request_id":"{hint}","raw":"{raw}"}}]"#)),
        ("POST", format!("/safe/multisigs/{hint}/sign"), format!(r#"{{"request_id":"{hint}","raw":"{raw}"}}"#)),
        ("POST", format!("/safe/multisigs/{hint}/unlock"), String::new()),
        (
            "POST",
            "/safe/keys".to_owned(),
            format!(
                r#"{{"keys":[{{"receivers":["{hint}"],"index":1,"hint":"{hint}"}}],"senders":["{hint}","{}"]}}"#,
                Uuid::max()
            ),
        ),
        ("POST", "/safe/transaction/requests".to_owned(), format!(r#"[{{"request_id":"{hint}","raw":"{raw}"}}]"#)),
        ("POST", "/safe/transactions".to_owned(), format!(r#"[{{"request_id":"{hint}","raw":"{raw}"}}]"#)),
        (
            "GET",
            format!("/safe/snapshots?limit=9&order=DESC&opponent={hint}&offset=2024-05-06T07:08:09.12Z"),
            String::new(),
        ),
        ("GET", format!("/safe/assets/{hint}"), String::new()),
    ];
    let seen = player.seen();
    assert_eq!(seen.len(), expected.len());
    let mut ids = Vec::new();
    for (seen, (method, uri, body)) in seen.iter().zip(&expected) {
        ids.push(check(&api, seen, (*method, uri.as_str(), body.as_str())));
    }
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), expected.len(), "each request has an id of its own");
}
