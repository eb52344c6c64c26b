//! Who calls: the EdDSA token of the Safe API (`reference/mixin.md` 1.1), checked over the exact bytes that arrived.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use axum::http::request::Parts;
use axum::http::{Method, header};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::{Signature, VerifyingKey};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use uuid::Uuid;

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

fn parse(parts: &Parts) -> Result<Token, Refusal> {
    let value = parts.headers.get(header::AUTHORIZATION).ok_or(Refusal::Unauthorized("no token"))?;
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
    let Token { signed, signature, claims } = parse(parts)?;
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
    if used.rows_affected() == 0 {
        return Err(Refusal::Unauthorized("the token was used before").into());
    }
    tx.commit().await?;
    Ok(claims.uid)
}
