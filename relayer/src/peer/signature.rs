//! HTTP message signatures (RFC 9421) with ed25519 and a content digest (RFC 9530): the profile that members speak.
//!
//! A request covers its method, path, body digest, group and receiver; an answer covers its status, its body digest and
//! the signature of the request it answers (`"signature";req`, RFC 9421 section 2.4), so it fits no other request:
//!
//! ```text
//! content-digest: sha-256=:<base64>:
//! lockstep-group: <group id, hex>
//! lockstep-to: <identity of the receiver, hex>
//! signature-input: lockstep=("@method" "@path" "content-digest" "lockstep-group" "lockstep-to");created=1700000000;
//!                  keyid="<identity, hex>";alg="ed25519";nonce="<16 bytes, hex>";tag="lockstep-peer"
//! signature: lockstep=:<base64>:
//!
//! signature-input: lockstep=("@status" "content-digest" "signature";req);created=1700000000;
//!                  keyid="<identity, hex>";alg="ed25519";tag="lockstep-peer-answer"
//! ```
//!
//! The profile leaves no choice: components, parameters and their order are fixed, everything has a fixed or bounded
//! length, and a message in any other form is refused before anything is computed.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use sha2::{Digest, Sha256};
use thiserror::Error;

/// Digest of the body.
pub const CONTENT_DIGEST: HeaderName = HeaderName::from_static("content-digest");
/// What a signature covers, and its parameters.
pub const SIGNATURE_INPUT: HeaderName = HeaderName::from_static("signature-input");
/// The signature.
pub const SIGNATURE: HeaderName = HeaderName::from_static("signature");
/// The group that both ends belong to.
pub const GROUP: HeaderName = HeaderName::from_static("lockstep-group");
/// The member that is asked.
pub const TO: HeaderName = HeaderName::from_static("lockstep-to");

/// The only label of a signature.
const LABEL: &str = "lockstep=";
const REQUEST_COVERS: &str = r#"("@method" "@path" "content-digest" "lockstep-group" "lockstep-to")"#;
const REQUEST_TAG: &str = "lockstep-peer";
const ANSWER_COVERS: &str = r#"("@status" "content-digest" "signature";req)"#;
const ANSWER_TAG: &str = "lockstep-peer-answer";
/// Longest header that is looked at; the longest legal one has about 270 bytes.
const HEADER_MAX: usize = 400;

/// Makes a request once: a random value that its sender never uses again.
pub type Nonce = [u8; 16];

/// What a signature says about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameters {
    /// When it was made, in seconds since 1970.
    pub created: u64,
    /// The ed25519 public key of the signer.
    pub key: [u8; 32],
    /// Present in requests.
    pub nonce: Option<Nonce>,
}

impl Parameters {
    /// The value of `signature-input` behind the label: of a request where there is a nonce, else of an answer.
    pub fn serialize(&self) -> String {
        let (created, key) = (self.created, hex::encode(self.key));
        match self.nonce {
            Some(nonce) => {
                let nonce = hex::encode(nonce);
                format!(
                    r#"{REQUEST_COVERS};created={created};keyid="{key}";alg="ed25519";nonce="{nonce}";tag="{REQUEST_TAG}""#
                )
            }
            None => format!(r#"{ANSWER_COVERS};created={created};keyid="{key}";alg="ed25519";tag="{ANSWER_TAG}""#),
        }
    }

    /// Reads what [`Self::serialize`] wrote, and nothing else.
    pub fn parse(text: &str, is_request: bool) -> Option<Self> {
        let rest = text.strip_prefix(if is_request { REQUEST_COVERS } else { ANSWER_COVERS })?;
        let (created, rest) = rest.strip_prefix(";created=")?.split_once(r#";keyid=""#)?;
        let (key, rest) = rest.split_once(r#"";alg="ed25519""#)?;
        let (nonce, tag) = if is_request {
            let (nonce, rest) = rest.strip_prefix(r#";nonce=""#)?.split_once('"')?;
            (Some(fixed::<16>(nonce)?), rest)
        } else {
            (None, rest)
        };
        let parameters = Self { created: created.parse().ok()?, key: fixed(key)?, nonce };
        let expected = if is_request { REQUEST_TAG } else { ANSWER_TAG };
        let tag = tag.strip_prefix(r#";tag=""#)?.strip_suffix('"')?;
        // One value has one form: no leading zeros or signs, no upper-case hex.
        (tag == expected && parameters.serialize() == text).then_some(parameters)
    }
}

fn fixed<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    hex::decode_to_slice(text, &mut bytes).ok()?;
    Some(bytes)
}

/// A request's parts that are signed beside its headers.
#[derive(Clone, Copy, Debug)]
pub struct RequestParts<'a> {
    /// `POST`.
    pub method: &'a str,
    /// The path of the URL.
    pub path: &'a str,
    /// The group of both ends.
    pub group: &'a str,
    /// The receiver's identity key.
    pub to: &'a [u8; 32],
}

/// A signed message's headers as they were found, in their only legal form, nothing verified yet.
#[derive(Clone, Debug)]
pub struct Signed {
    /// What the signature says about itself.
    pub parameters: Parameters,
    digest: String,
    input: String,
    signature: [u8; 64],
}

impl Signed {
    /// Reads the headers of a request.
    ///
    /// # Errors
    /// The first header that is missing, repeated or of another form.
    pub fn request(headers: &HeaderMap) -> Result<Self, SignatureError> {
        Self::read(headers, true)
    }

    /// Reads the headers of an answer.
    ///
    /// # Errors
    /// As [`Signed::request`].
    pub fn answer(headers: &HeaderMap) -> Result<Self, SignatureError> {
        Self::read(headers, false)
    }

    fn read(headers: &HeaderMap, is_request: bool) -> Result<Self, SignatureError> {
        let input = single(headers, &SIGNATURE_INPUT)?;
        let form = SignatureError::Form(SIGNATURE_INPUT.as_str().into());
        let input = input.strip_prefix(LABEL).ok_or(form.clone())?;
        let parameters = Parameters::parse(input, is_request).ok_or(form)?;
        let signature = single(headers, &SIGNATURE)?;
        let signature = unwrap_signature(signature).ok_or(SignatureError::Form(SIGNATURE.as_str().into()))?;
        let digest = single(headers, &CONTENT_DIGEST)?.to_owned();
        Ok(Self { parameters, digest, input: input.to_owned(), signature })
    }

    /// Whether the signature was made within `window_s` of `now`.
    ///
    /// # Errors
    /// [`SignatureError::Stale`].
    pub fn check_time(&self, now: u64, window_s: u64) -> Result<(), SignatureError> {
        let off_s = self.parameters.created.abs_diff(now);
        if off_s <= window_s { Ok(()) } else { Err(SignatureError::Stale { off_s }) }
    }

    /// Whether this is a request with `body`, signed by `key`.
    ///
    /// # Errors
    /// Another body, or a wrong signature.
    pub fn verify_request(
        &self,
        key: &VerifyingKey,
        parts: RequestParts<'_>,
        body: &[u8],
    ) -> Result<(), SignatureError> {
        self.verify(key, &request_base(parts, &self.digest, &self.input), body)
    }

    /// Whether this is the answer with `status` and `body` to the request with the header `request_signature`, signed by `key`.
    ///
    /// # Errors
    /// Another body, or a wrong signature.
    pub fn verify_answer(
        &self,
        key: &VerifyingKey,
        status: u16,
        request_signature: &str,
        body: &[u8],
    ) -> Result<(), SignatureError> {
        self.verify(key, &answer_base(status, request_signature, &self.digest, &self.input), body)
    }

    fn verify(&self, key: &VerifyingKey, base: &str, body: &[u8]) -> Result<(), SignatureError> {
        if self.parameters.key != *key.as_bytes() {
            return Err(SignatureError::OtherKey);
        }
        if self.digest != content_digest(body) {
            return Err(SignatureError::Digest);
        }
        let signature = Signature::from_bytes(&self.signature);
        key.verify_strict(base.as_bytes(), &signature).map_err(|_| SignatureError::Wrong)
    }
}

/// The headers of a signed request.
pub fn sign_request(
    key: &SigningKey,
    created: u64,
    nonce: Nonce,
    parts: RequestParts<'_>,
    body: &[u8],
) -> [(HeaderName, String); 5] {
    let digest = content_digest(body);
    let parameters = Parameters { created, key: key.verifying_key().to_bytes(), nonce: Some(nonce) }.serialize();
    let signature = wrap_signature(key, &request_base(parts, &digest, &parameters));
    [
        (CONTENT_DIGEST, digest),
        (GROUP, parts.group.to_owned()),
        (TO, hex::encode(parts.to)),
        (SIGNATURE_INPUT, format!("{LABEL}{parameters}")),
        (SIGNATURE, signature),
    ]
}

/// The headers of a signed answer to the request with the header `request_signature`.
pub fn sign_answer(
    key: &SigningKey,
    created: u64,
    status: u16,
    request_signature: &str,
    body: &[u8],
) -> [(HeaderName, String); 3] {
    let digest = content_digest(body);
    let parameters = Parameters { created, key: key.verifying_key().to_bytes(), nonce: None }.serialize();
    let signature = wrap_signature(key, &answer_base(status, request_signature, &digest, &parameters));
    [(CONTENT_DIGEST, digest), (SIGNATURE_INPUT, format!("{LABEL}{parameters}")), (SIGNATURE, signature)]
}

/// The only value of a header, as a text of bounded length.
///
/// # Errors
/// Missing, repeated, or of another form.
pub fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<&'a str, SignatureError> {
    let mut values = headers.get_all(name).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return Err(SignatureError::Missing(name.as_str().into()));
    };
    let text =
        Some(value).filter(|value| value.len() <= HEADER_MAX).and_then(|value: &HeaderValue| value.to_str().ok());
    text.ok_or_else(|| SignatureError::Form(name.as_str().into()))
}

fn request_base(parts: RequestParts<'_>, digest: &str, parameters: &str) -> String {
    let to = hex::encode(parts.to);
    signature_base(
        &[
            (r#""@method""#, parts.method),
            (r#""@path""#, parts.path),
            (r#""content-digest""#, digest),
            (r#""lockstep-group""#, parts.group),
            (r#""lockstep-to""#, &to),
        ],
        parameters,
    )
}

fn answer_base(status: u16, request_signature: &str, digest: &str, parameters: &str) -> String {
    let status = status.to_string();
    signature_base(
        &[(r#""@status""#, &status), (r#""content-digest""#, digest), (r#""signature";req"#, request_signature)],
        parameters,
    )
}

/// RFC 9421 section 2.5: one line for each component, the parameters last, no line end at the end.
fn signature_base(components: &[(&str, &str)], parameters: &str) -> String {
    let mut base = String::new();
    for (identifier, value) in components {
        base.extend([identifier, ": ", value, "\n"]);
    }
    base.extend([r#""@signature-params": "#, parameters]);
    base
}

fn wrap_signature(key: &SigningKey, base: &str) -> String {
    format!("{LABEL}:{}:", STANDARD.encode(key.sign(base.as_bytes()).to_bytes()))
}

fn unwrap_signature(text: &str) -> Option<[u8; 64]> {
    let encoded = text.strip_prefix(LABEL)?.strip_prefix(':')?.strip_suffix(':')?;
    STANDARD.decode(encoded).ok()?.try_into().ok()
}

/// RFC 9530: the digest of a body as a structured field.
fn content_digest(body: &[u8]) -> String {
    format!("sha-256=:{}:", STANDARD.encode(Sha256::digest(body)))
}

/// Why a message is not believed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SignatureError {
    /// Not there, or more than once.
    #[error("header `{0}` must stand once")]
    Missing(String),
    /// Another form than the profile's.
    #[error("header `{0}` has another form than expected")]
    Form(String),
    /// Too long ago, or in the future.
    #[error("the signature's time is {off_s} s off")]
    Stale {
        /// Distance from our clock.
        off_s: u64,
    },
    /// Signed by another key than the one it must be.
    #[error("signed by another key")]
    OtherKey,
    /// The body is not what was signed.
    #[error("the body does not match its digest")]
    Digest,
    /// The signature is wrong.
    #[error("the signature is wrong")]
    Wrong,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BODY: &[u8] = br#"{"sequence":7}"#;
    const PARTS: RequestParts<'_> =
        RequestParts { method: "POST", path: "/v1/peer/partial", group: "00ff", to: &[2; 32] };

    fn key(seed: u8) -> SigningKey {
        SigningKey::from_bytes(&[seed; 32])
    }

    fn map<const N: usize>(headers: [(HeaderName, String); N]) -> HeaderMap {
        headers.into_iter().map(|(name, value)| (name, value.parse().expect("a header"))).collect()
    }

    fn request() -> HeaderMap {
        map(sign_request(&key(1), 1_700_000_000, [9; 16], PARTS, BODY))
    }

    /// RFC 9421 appendix B.2.6, with the key of B.1.4.
    #[test]
    fn base_and_signature_should_be_those_of_the_rfc() {
        let base = signature_base(
            &[
                (r#""date""#, "Tue, 20 Apr 2021 02:07:55 GMT"),
                (r#""@method""#, "POST"),
                (r#""@path""#, "/foo"),
                (r#""@authority""#, "example.com"),
                (r#""content-type""#, "application/json"),
                (r#""content-length""#, "18"),
            ],
            r#"("date" "@method" "@path" "@authority" "content-type" "content-length");created=1618884473;keyid="test-key-ed25519""#,
        );
        let seed = "9f8362f87a484a954e6e740c5b4c0e84229139a20aa8ab56ff66586f6a7d29c5";
        let key = SigningKey::from_bytes(&fixed(seed).expect("32 bytes"));
        let expected = "wqcAqbmYJ2ji2glfAMaRy4gruYYnx2nEFN2HN6jrnDnQCK1u02Gb04v9EDgwUPiu4A0w6vuQv5lIp5WPpBKRCw==";
        assert_eq!(wrap_signature(&key, &base), format!("lockstep=:{expected}:"));
    }

    /// RFC 9530 appendix D, also RFC 9421 appendix B.2.
    #[test]
    fn digest_should_be_that_of_the_rfc() {
        assert_eq!(content_digest(br#"{"hello": "world"}"#), "sha-256=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=:");
    }

    #[test]
    fn every_covered_part_should_matter() {
        let signed = Signed::request(&request()).expect("the form is right");
        let verify = |parts, body| signed.verify_request(&key(1).verifying_key(), parts, body);
        assert_eq!(verify(RequestParts { method: "GET", ..PARTS }, BODY), Err(SignatureError::Wrong));
        assert_eq!(verify(RequestParts { path: "/v1/peer/status", ..PARTS }, BODY), Err(SignatureError::Wrong));
        assert_eq!(verify(RequestParts { group: "00fe", ..PARTS }, BODY), Err(SignatureError::Wrong));
        assert_eq!(verify(RequestParts { to: &[3; 32], ..PARTS }, BODY), Err(SignatureError::Wrong));
        assert_eq!(verify(PARTS, br#"{"sequence":8}"#), Err(SignatureError::Digest));
        assert_eq!(signed.verify_request(&key(2).verifying_key(), PARTS, BODY), Err(SignatureError::OtherKey));
        assert_eq!(verify(PARTS, BODY), Ok(()));
    }

    #[test]
    fn changed_parameters_should_be_refused() {
        for (from, to) in [
            ("created=1700000000", "created=1700000001"),
            ("created=1700000000", "created=+1700000000"),
            ("created=1700000000", "created=01700000000"),
            (r#"alg="ed25519""#, r#"alg="none""#),
            (r#""content-digest" "#, ""),
            ("0909", "0a09"),
            (REQUEST_TAG, ANSWER_TAG),
            ("lockstep=(", "other=("),
        ] {
            let mut headers = request();
            let input = headers.get(SIGNATURE_INPUT).expect("signed").to_str().expect("text").replacen(from, to, 1);
            headers.insert(SIGNATURE_INPUT, input.parse().expect("a header"));
            let outcome = Signed::request(&headers)
                .and_then(|signed| signed.verify_request(&key(1).verifying_key(), PARTS, BODY));
            assert!(outcome.is_err(), "{input}");
        }
    }

    #[test]
    fn missing_and_repeated_headers_should_be_refused() {
        for name in [CONTENT_DIGEST, SIGNATURE_INPUT, SIGNATURE] {
            let mut headers = request();
            headers.append(&name, "again".parse().expect("a header"));
            assert_eq!(Signed::request(&headers).err(), Some(SignatureError::Missing(name.as_str().into())));
            headers.remove(&name);
            assert_eq!(Signed::request(&headers).err(), Some(SignatureError::Missing(name.as_str().into())));
            headers.insert(&name, "x".repeat(HEADER_MAX + 1).parse().expect("a header"));
            assert_eq!(Signed::request(&headers).err(), Some(SignatureError::Form(name.as_str().into())));
        }
    }

    #[test]
    fn answer_should_fit_its_request_only() {
        let headers = map(sign_answer(&key(2), 1_700_000_000, 200, "lockstep=:one:", BODY));
        let signed = Signed::answer(&headers).expect("the form is right");
        let verify = |status, request| signed.verify_answer(&key(2).verifying_key(), status, request, BODY);
        assert_eq!(verify(200, "lockstep=:two:"), Err(SignatureError::Wrong));
        assert_eq!(verify(404, "lockstep=:one:"), Err(SignatureError::Wrong));
        assert_eq!(verify(200, "lockstep=:one:"), Ok(()));
        assert!(Signed::request(&headers).is_err(), "an answer is no request");
    }

    proptest! {
        /// What is read is what would be written, so that nobody says one thing in two ways.
        #[test]
        fn parameters_should_have_one_text(
            created: u64,
            key: [u8; 32],
            nonce in any::<Option<Nonce>>(),
            place in any::<prop::sample::Index>(),
            other in "[ -~]",
        ) {
            let parameters = Parameters { created, key, nonce };
            let (text, is_request) = (parameters.serialize(), nonce.is_some());
            prop_assert_eq!(Parameters::parse(&text, is_request), Some(parameters));
            prop_assert_eq!(Parameters::parse(&text, !is_request), None);
            let (at, mut changed) = (place.index(text.len()), text.clone());
            changed.replace_range(at..=at, &other);
            for text in [changed, text[..at].to_owned(), format!("{text}{other}")] {
                if let Some(read) = Parameters::parse(&text, is_request) {
                    prop_assert_eq!(read.serialize(), text);
                }
            }
        }
    }

    #[test]
    fn time_should_be_within_the_window() {
        let signed = Signed::request(&request()).expect("the form is right");
        assert_eq!(signed.check_time(1_700_000_061, 60), Err(SignatureError::Stale { off_s: 61 }));
        assert_eq!(signed.check_time(1_699_999_939, 60), Err(SignatureError::Stale { off_s: 61 }));
        assert_eq!(signed.check_time(1_700_000_060, 60), Ok(()));
    }
}
