//! The token that authenticates one API request (`bot-api-go-client auth.go`, `mixin-sdk-go keystore.go`).
//!
//! A JWT with an Ed25519 signature by the session key. It commits to method, path, query and body, so it is good for this
//! request only; the request id is its `jti`.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::{Signer, SigningKey};
use serde::Serialize;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::keystore::Keystore;

/// `{"alg":"EdDSA","typ":"JWT"}`, always these bytes.
const HEADER: &str = r#"{"alg":"EdDSA","typ":"JWT"}"#;
/// Seconds a token lives: the clocks of member and server may differ by half of it.
const LIFE_S: u64 = 60;
/// Everything the user may do.
const SCOPE: &str = "FULL";

/// The request that a token is made for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Signed<'a> {
    /// `GET` or `POST`.
    pub(super) method: &'a str,
    /// Path and query exactly as sent.
    pub(super) uri: &'a str,
    /// Exactly as sent; empty for a GET.
    pub(super) body: &'a str,
}

impl Signed<'_> {
    /// hex(SHA-256(method ‖ uri ‖ body)): real SHA-256, unlike most hashes of this ledger.
    fn digest(&self) -> String {
        let mut hasher = Sha256::new();
        for part in [self.method, self.uri, self.body] {
            hasher.update(part.as_bytes());
        }
        hex::encode(hasher.finalize())
    }
}

#[derive(Serialize)]
struct Claims<'a> {
    uid: Uuid,
    sid: Uuid,
    iat: u64,
    exp: u64,
    jti: Uuid,
    sig: String,
    scp: &'a str,
}

/// The token for `request`, made at `now_s` (seconds since 1970) under the fresh id `request_id`.
pub(super) fn token(keystore: &Keystore, request: Signed<'_>, request_id: Uuid, now_s: u64) -> String {
    let claims = Claims {
        uid: keystore.app_id,
        sid: keystore.session_id,
        iat: now_s,
        exp: now_s.saturating_add(LIFE_S),
        jti: request_id,
        sig: request.digest(),
        scp: SCOPE,
    };
    // Identifiers, numbers and hex: there is nothing in it that could fail to be written as JSON.
    let claims = serde_json::to_string(&claims).unwrap_or_default();
    let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(HEADER), URL_SAFE_NO_PAD.encode(claims));
    let key = SigningKey::from_bytes(keystore.session_private_key.expose());
    let signature = key.sign(signed.as_bytes());
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature.to_bytes()))
}

#[cfg(test)]
mod tests {
    use ed25519_dalek::Verifier;

    use super::*;
    use crate::ledger::keystore::Seed;
    use crate::ledger::wire::Hex32;

    fn keystore() -> Keystore {
        Keystore {
            app_id: Uuid::from_u128(1),
            session_id: Uuid::from_u128(2),
            session_private_key: Seed::new([3; 32]),
            server_public_key: Hex32([4; 32]),
            spend_private_key: Seed::new([5; 32]),
            is_spend_private_sum: false,
        }
    }

    #[test]
    fn a_token_should_have_exactly_these_parts() {
        let request = Signed { method: "POST", uri: "/safe/keys?a=b", body: "[{}]" };
        let token = token(&keystore(), request, Uuid::from_u128(9), 1_700_000_000);
        let parts: Vec<&str> = token.split('.').collect();
        let text = |part: &str| String::from_utf8(URL_SAFE_NO_PAD.decode(part).expect("base64url")).expect("text");
        assert_eq!(text(parts[0]), HEADER);
        let digest = hex::encode(Sha256::digest("POST/safe/keys?a=b[{}]"));
        let claims = format!(
            concat!(
                r#"{{"uid":"00000000-0000-0000-0000-000000000001","sid":"00000000-0000-0000-0000-000000000002","#,
                r#""iat":1700000000,"exp":1700000060,"jti":"00000000-0000-0000-0000-000000000009","#,
                r#""sig":"{}","scp":"FULL"}}"#
            ),
            digest
        );
        assert_eq!(text(parts[1]), claims);
        let signature = URL_SAFE_NO_PAD.decode(parts[2]).expect("base64url");
        let signature = ed25519_dalek::Signature::from_slice(&signature).expect("64 bytes");
        let key = SigningKey::from_bytes(&[3; 32]).verifying_key();
        let (signed, _) = token.rsplit_once('.').expect("three parts");
        key.verify(signed.as_bytes(), &signature).expect("signed by the session");
        assert_eq!(parts.len(), 3);
    }

    #[test]
    fn another_method_path_or_body_should_give_another_digest() {
        let request = Signed { method: "GET", uri: "/safe/me", body: "" };
        let others =
            [Signed { method: "POST", ..request }, Signed { uri: "/", ..request }, Signed { body: "x", ..request }];
        assert!(others.iter().all(|other| other.digest() != request.digest()));
    }
}
