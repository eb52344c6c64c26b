//! Calls of the Safe API that the production client does not make, or makes otherwise, signed by hand.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::{Signer, SigningKey};
use lockstep::http::{http_client, read_body};
use lockstep::ledger::Keystore;
use lockstep_core::Uuid;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::bench::{Bench, User};

/// Status and body of an answer.
#[derive(Debug)]
pub(crate) struct Answered {
    pub(crate) status: u16,
    pub(crate) body: Value,
}

impl Answered {
    /// The data of a good answer.
    #[track_caller]
    pub(crate) fn data(self) -> Value {
        assert_eq!(self.status, 200, "{}", self.body);
        self.body["data"].clone()
    }

    /// The code of a refusal.
    #[track_caller]
    pub(crate) fn code(&self) -> u64 {
        assert_eq!(self.status, 202, "{}", self.body);
        self.body["error"]["code"].as_u64().expect("a code")
    }
}

/// A token for one request, as `reference/mixin.md` 1.1 writes it, made at `now_s`.
pub(crate) fn token(keystore: &Keystore, (method, uri, body): (&str, &str, &str), jti: &str, now_s: u64) -> String {
    let digest = hex::encode(Sha256::digest(format!("{method}{uri}{body}")));
    let claims = json!({
        "uid": keystore.app_id, "sid": keystore.session_id, "iat": now_s, "exp": now_s.saturating_add(60), "jti": jti,
        "sig": digest, "scp": "FULL",
    });
    let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = format!("{}.{}", encode(&json!({ "alg": "EdDSA", "typ": "JWT" })), encode(&claims));
    let key = SigningKey::from_bytes(keystore.session_private_key.expose());
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(key.sign(signed.as_bytes()).to_bytes()))
}

pub(crate) fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs()
}

/// One call of the user with a token of its own.
pub(crate) async fn call(bench: &Bench, user: &User, method: &str, uri: &str, body: &str) -> Answered {
    let jti = Uuid::new_v4().to_string();
    send(bench, &token(user.api.keystore(), (method, uri, body), &jti, now_s()), (method, uri, body)).await
}

/// One call with a token.
pub(crate) async fn send(bench: &Bench, token: &str, (method, uri, body): (&str, &str, &str)) -> Answered {
    let http = http_client(Duration::from_secs(20)).expect("a client");
    let request = http.request(method.parse().expect("a method"), format!("http://{}{uri}", bench.running.api));
    let request = request.bearer_auth(token).header("content-type", "application/json").body(body.to_owned());
    let response = request.send().await.expect("an answer");
    let status = response.status().as_u16();
    let body = read_body(response, 1 << 24).await.expect("a body");
    Answered { status, body: serde_json::from_slice(&body).unwrap_or_default() }
}
