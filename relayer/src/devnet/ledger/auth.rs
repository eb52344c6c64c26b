//! Who calls: the EdDSA token of the Safe API (`reference/mixin.md` 1.1), checked over the exact bytes that arrived.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, header};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::{Signature, VerifyingKey};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::faults::{Fault, Place};
use super::refusal::{CallError, Refusal};
use super::store::{Ledger, signed as column};
use super::users;

/// Most bytes of a body: a transaction of 4 MiB in hex, and room for its envelope.
pub(crate) const BODY_BYTES_MAX: usize = 9 << 20;
/// Longest token read: real ones have about 400 bytes.
const TOKEN_BYTES_MAX: usize = 4096;
/// Longest token id kept.
const JTI_BYTES_MAX: usize = 64;
/// A token may be this much older than the server's clock says, whatever it claims about its expiry: so used ones need
/// not be remembered for longer.
const TOKEN_AGE_MAX_S: u64 = 600;
/// A token may come from a clock this much ahead.
const CLOCK_AHEAD_MAX_S: u64 = 60;

/// An authenticated call: its user and its body.
#[derive(Debug)]
pub(crate) struct Call {
    /// The calling user.
    pub(crate) user: Uuid,
    /// The exact bytes of the body.
    pub(crate) body: Bytes,
}

impl Call {
    /// The body as JSON of the shape that a call takes.
    pub(crate) fn json<'a, T: Deserialize<'a>>(&'a self) -> Result<T, CallError> {
        serde_json::from_slice(&self.body).map_err(|error| Refusal::Malformed(error.to_string()).into())
    }
}

impl FromRequest<Arc<Ledger>> for Call {
    type Rejection = CallError;

    async fn from_request(request: Request, ledger: &Arc<Ledger>) -> Result<Self, CallError> {
        let (parts, body) = request.into_parts();
        let body = axum::body::to_bytes(body, BODY_BYTES_MAX)
            .await
            .map_err(|_| Refusal::Malformed(format!("a body has at most {BODY_BYTES_MAX} bytes")))?;
        let user = authenticate(ledger, &parts, &body).await?;
        Ok(Self { user, body })
    }
}

#[derive(Deserialize)]
struct Header {
    alg: String,
}

#[derive(Deserialize)]
struct Claims {
    uid: Uuid,
    sid: Uuid,
    iat: u64,
    exp: u64,
    jti: String,
    sig: String,
}

/// A token whose form was read and whose signature was not yet checked.
struct Token {
    signed: String,
    signature: Signature,
    claims: Claims,
}

/// Whom a call's token claims to come from. Nothing is checked: good for a fault that meets one user, and nothing else.
pub(super) fn claimed_user(headers: &HeaderMap) -> Option<Uuid> {
    parse(headers).ok().map(|token| token.claims.uid)
}

fn parse(headers: &HeaderMap) -> Result<Token, Refusal> {
    let value = headers.get(header::AUTHORIZATION).ok_or(Refusal::Unauthorized("no token"))?;
    let malformed = || Refusal::Unauthorized("malformed token");
    let token = value.to_str().ok().and_then(|value| value.strip_prefix("Bearer ")).ok_or_else(malformed)?;
    if token.len() > TOKEN_BYTES_MAX {
        return Err(malformed());
    }
    let (signed, signature) = token.rsplit_once('.').ok_or_else(malformed)?;
    let (header, claims) = signed.split_once('.').ok_or_else(malformed)?;
    let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|_| malformed());
    let header: Header = serde_json::from_slice(&decode(header)?).map_err(|_| malformed())?;
    if header.alg != "EdDSA" {
        return Err(Refusal::Unauthorized("a token is signed with EdDSA"));
    }
    let claims = serde_json::from_slice(&decode(claims)?).map_err(|_| malformed())?;
    let signature = Signature::from_slice(&decode(signature)?).map_err(|_| malformed())?;
    Ok(Token { signed: signed.to_owned(), signature, claims })
}

/// What a token's `sig` claim holds: hex SHA-256 of method, path with query as sent, and body.
fn request_digest(method: &Method, uri: &str, body: &[u8]) -> String {
    let digest = Sha256::new().chain_update(method.as_str()).chain_update(uri).chain_update(body);
    hex::encode(digest.finalize())
}

/// Checks everything about a token and marks it used, so that it never works again.
async fn authenticate(ledger: &Ledger, parts: &Parts, body: &[u8]) -> Result<Uuid, CallError> {
    let Token { signed, signature, claims } = parse(&parts.headers)?;
    let now_s = ledger.clock.now().div_euclid(1_000_000_000);
    let earliest = now_s.saturating_sub(TOKEN_AGE_MAX_S);
    if claims.exp <= now_s || claims.iat < earliest || claims.iat > now_s.saturating_add(CLOCK_AHEAD_MAX_S) {
        return Err(Refusal::Unauthorized("the token is stale").into());
    }
    if claims.jti.is_empty() || claims.jti.len() > JTI_BYTES_MAX {
        return Err(Refusal::Unauthorized("malformed token").into());
    }
    let uri = parts.uri.path_and_query().map_or("/", |uri| uri.as_str());
    if claims.sig != request_digest(&parts.method, uri, body) {
        return Err(Refusal::Unauthorized("the token was signed for another request").into());
    }
    let mut tx = ledger.begin().await?;
    let unknown = Refusal::Unauthorized("unknown user or session");
    let user = users::find(&mut tx, claims.uid).await?.filter(|user| user.session == claims.sid).ok_or(unknown)?;
    let key = VerifyingKey::from_bytes(&user.session_public).map_err(|_| CallError::Corrupt("session key"))?;
    key.verify_strict(signed.as_bytes(), &signature)
        .map_err(|_| Refusal::Unauthorized("the token's signature is wrong"))?;

    let (now, forget_at) = (column(now_s), column(claims.iat.saturating_add(TOKEN_AGE_MAX_S)));
    sqlx::query("delete from token where forget_at < $1").bind(now).execute(&mut *tx).await?;
    let used = sqlx::query("insert into token (jti, forget_at) values ($1, $2) on conflict do nothing")
        .bind(format!("{}/{}", claims.uid, claims.jti))
        .bind(forget_at)
        .execute(&mut *tx)
        .await?;
    if used.rows_affected() == 0 && ledger.faults.acts(Place::of(&[claims.uid]), &Fault::ReuseTokens).is_none() {
        return Err(Refusal::Unauthorized("the token was used before").into());
    }
    tx.commit().await?;
    Ok(claims.uid)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use ed25519_dalek::{Signer, SigningKey};
    use serde_json::{Value, json};

    use super::*;

    const URI: &str = "/safe/outputs?limit=1";
    const BODY: &[u8] = b"[1]";

    struct Bench {
        ledger: Ledger,
        session: SigningKey,
        uid: String,
        sid: String,
        _folder: tempfile::TempDir,
    }

    impl Bench {
        async fn open() -> Self {
            let folder = tempfile::tempdir().expect("a folder");
            let path = folder.path().join("ledger.db");
            let ledger = Ledger::open(&path, &[1; 32], Duration::ZERO, 1).await.expect("a ledger");
            let (session, spend) = (SigningKey::from_bytes(&[2; 32]), SigningKey::from_bytes(&[3; 32]));
            let keys = [&session, &spend].map(|key| hex::encode(key.verifying_key().to_bytes()));
            let new = json!({ "session_public_key": keys[0], "spend_public_key": keys[1] });
            let new = serde_json::from_value(new).expect("a user");
            let mut tx = ledger.begin().await.expect("a transaction");
            let user = users::register(&ledger, &mut tx, &new).await.expect("a user");
            tx.commit().await.expect("a commit");
            let user = serde_json::to_value(user).expect("json");
            let text = |name: &str| user[name].as_str().expect("an id").to_owned();
            Self { ledger, session, uid: text("user_id"), sid: text("session_id"), _folder: folder }
        }

        /// The claims of a good token.
        fn claims(&self, jti: &str) -> Value {
            let now_s = self.ledger.clock.now().div_euclid(1_000_000_000);
            let sig = request_digest(&Method::POST, URI, BODY);
            let exp = now_s.saturating_add(60);
            json!({ "uid": self.uid, "sid": self.sid, "iat": now_s, "exp": exp, "jti": jti, "sig": sig })
        }

        fn token(&self, header: &Value, claims: &Value) -> String {
            let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
            let signed = format!("{}.{}", encode(header), encode(claims));
            let signature = self.session.sign(signed.as_bytes());
            format!("Bearer {signed}.{}", URL_SAFE_NO_PAD.encode(signature.to_bytes()))
        }

        async fn present(&self, claims: &Value) -> Result<Uuid, CallError> {
            self.send("POST", URI, BODY, &self.token(&json!({ "alg": "EdDSA" }), claims)).await
        }

        async fn send(&self, method: &str, uri: &str, body: &[u8], token: &str) -> Result<Uuid, CallError> {
            let request = Request::builder().method(method).uri(uri).header(header::AUTHORIZATION, token);
            let (parts, ()) = request.body(()).expect("a request").into_parts();
            authenticate(&self.ledger, &parts, body).await
        }
    }

    #[track_caller]
    fn refused(result: Result<Uuid, CallError>, cause: &str) {
        let error = result.expect_err("a refusal");
        let CallError::Refused(refusal @ Refusal::Unauthorized(_)) = &error else { panic!("{error:?}") };
        assert!(refusal.to_string().contains(cause), "{refusal}");
    }

    #[tokio::test]
    async fn a_token_should_be_good_for_one_request_once() {
        let bench = Bench::open().await;
        let header = json!({ "alg": "EdDSA" });
        let token = bench.token(&header, &bench.claims("a"));
        refused(bench.send("GET", URI, BODY, &token).await, "another request");
        refused(bench.send("POST", "/safe/outputs?limit=2", BODY, &token).await, "another request");
        refused(bench.send("POST", URI, b"[2]", &token).await, "another request");
        assert_eq!(bench.send("POST", URI, BODY, &token).await.expect("the user").to_string(), bench.uid);
        refused(bench.send("POST", URI, BODY, &token).await, "used before");
        refused(bench.present(&bench.claims("a")).await, "used before");
        bench.present(&bench.claims("b")).await.expect("another token");
    }

    #[tokio::test]
    async fn a_stale_token_should_be_refused() {
        let bench = Bench::open().await;
        let now_s = bench.ledger.clock.now().div_euclid(1_000_000_000);
        for (name, value) in [
            ("exp", now_s.saturating_sub(1)),
            ("iat", now_s.saturating_sub(TOKEN_AGE_MAX_S).saturating_sub(5)),
            ("iat", now_s.saturating_add(CLOCK_AHEAD_MAX_S).saturating_add(5)),
        ] {
            let mut claims = bench.claims("a");
            claims[name] = value.into();
            refused(bench.present(&claims).await, "stale");
        }
    }

    #[tokio::test]
    async fn a_token_of_nobody_or_of_another_form_should_be_refused() {
        let bench = Bench::open().await;
        for name in ["uid", "sid"] {
            let mut claims = bench.claims("a");
            claims[name] = Uuid::new_v4().to_string().into();
            refused(bench.present(&claims).await, "unknown user");
        }
        for jti in [String::new(), "x".repeat(JTI_BYTES_MAX.saturating_add(1))] {
            refused(bench.present(&bench.claims(&jti)).await, "malformed");
        }
        let header = json!({ "alg": "EdDSA" });
        let good = bench.token(&header, &bench.claims("a"));
        let none = bench.token(&json!({ "alg": "none" }), &bench.claims("a"));
        refused(bench.send("POST", URI, BODY, &none).await, "EdDSA");
        for token in ["", "Bearer", "Bearer a.b", "Basic x", &good.replace('.', ""), &good.replacen('.', "..", 1)] {
            refused(bench.send("POST", URI, BODY, token).await, "malformed");
        }
        let long = format!("Bearer {}", "a".repeat(TOKEN_BYTES_MAX));
        refused(bench.send("POST", URI, BODY, &long).await, "malformed");
        let other = Bench { session: SigningKey::from_bytes(&[9; 32]), ..bench };
        refused(other.present(&other.claims("a")).await, "signature is wrong");
    }
}
