//! Looks for secrets in whatever form they could have got out.

use std::collections::BTreeMap;

use alloy::primitives::{U256, keccak256};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use lockstep::keys::{MemberKeys, Passphrase};
use lockstep::ledger::Keystore;
use lockstep_core::Uuid;
use lockstep_core::mixin::PrivateKey;

/// A secret and all forms of it.
pub(super) struct Secret {
    name: String,
    forms: Vec<(&'static str, Vec<u8>)>,
}

impl Secret {
    fn new(name: String, bytes: &[u8]) -> Self {
        let (mut reversed, text) = (bytes.to_vec(), hex::encode(bytes));
        reversed.reverse();
        let mut forms = vec![
            ("raw bytes", bytes.to_vec()),
            ("raw bytes, reversed", reversed.clone()),
            ("hex, reversed", hex::encode(&reversed).into_bytes()),
            ("upper hex", text.to_uppercase().into_bytes()),
            ("hex", text.into_bytes()),
            ("a list of numbers", format!("{bytes:?}").trim_matches(['[', ']']).as_bytes().to_vec()),
        ];
        // Where the secret does not begin at a multiple of three, base64 shows it shifted by one or two bytes.
        for shift in 0..3 {
            let padded = [&vec![0; shift][..], bytes].concat();
            let skip = usize::from(shift > 0) * (shift + 1);
            for (name, text) in
                [("base64", STANDARD_NO_PAD.encode(&padded)), ("base64url", URL_SAFE_NO_PAD.encode(&padded))]
            {
                let whole = text.len() - 1;
                forms.push((name, text.as_bytes()[skip..whole].to_vec()));
            }
        }
        if bytes.len() == 32 {
            for (name, number) in
                [("decimal", U256::from_be_slice(bytes)), ("decimal, little endian", U256::from_le_slice(bytes))]
            {
                forms.push((name, number.to_string().into_bytes()));
            }
        }
        Self { name, forms }
    }
}

impl Secret {
    /// What each token begins with that a user or member shows to the ledger's API.
    pub(super) fn token() -> Self {
        let header = URL_SAFE_NO_PAD.encode(r#"{"alg":"EdDSA","typ":"JWT"}"#);
        Self { name: "a token of the ledger's API".into(), forms: vec![("text", header.into_bytes())] }
    }
}

/// All that a member must keep to itself.
pub(super) fn secrets_of(keys: &MemberKeys, passphrase: &Passphrase) -> Vec<Secret> {
    let of = |what: &str, bytes: &[u8]| Secret::new(format!("{}'s {what}", keys.name), bytes);
    let ledger = &keys.ledger;
    let mut secrets = vec![
        of("identity seed", keys.identity.as_bytes()),
        of("EVM key", keys.evm.to_bytes().as_slice()),
        of("ledger session seed", ledger.session_private_key.expose()),
        of("ledger spend seed", ledger.spend_private_key.expose()),
        of(
            "ledger spend scalar",
            PrivateKey::from_ed25519_seed(ledger.spend_private_key.expose()).to_bytes().as_slice(),
        ),
        of("passphrase", passphrase.expose().as_bytes()),
    ];
    secrets.extend(keys.shares.values().map(|share| of("BLS share", share.secret.secret().to_bytes().as_slice())));
    secrets
}

/// What a user's keystore file holds.
pub(super) fn secrets_of_user(name: &str, keystore: &Keystore) -> Vec<Secret> {
    let of = |what: &str, bytes: &[u8]| Secret::new(format!("{name}'s {what}"), bytes);
    let spend = keystore.spend_private_key.expose();
    vec![
        of("session seed", keystore.session_private_key.expose()),
        of("spend seed", spend),
        of("spend scalar", PrivateKey::from_ed25519_seed(spend).to_bytes().as_slice()),
    ]
}

/// What the keys of a payout are made from: the group's signature, and the seed that it gives.
pub(super) fn secrets_of_payout(id: Uuid, signature: &[u8; 48]) -> [Secret; 2] {
    let seed = keccak256(signature);
    [("signature", signature.as_slice()), ("seed", seed.as_slice())]
        .map(|(what, bytes)| Secret::new(format!("{what} of payout {id}"), bytes))
}

/// Which secrets stand in these bytes, and in which form.
pub(super) fn find(text: &[u8], secrets: &[Secret]) -> Vec<String> {
    // One pass over the bytes: the first eight of each form lead to the forms that begin so.
    let mut beginnings = BTreeMap::<&[u8], Vec<(&Secret, &str, &[u8])>>::new();
    for secret in secrets {
        for (form, bytes) in &secret.forms {
            beginnings.entry(&bytes[..8]).or_default().push((secret, form, bytes));
        }
    }
    // Most places are passed over for their first two bytes.
    let pair = |bytes: &[u8]| usize::from(bytes[0]) << 8 | usize::from(bytes[1]);
    let mut pairs = vec![false; 1 << 16];
    beginnings.keys().for_each(|key| pairs[pair(key)] = true);
    let mut found = Vec::new();
    for (place, window) in text.windows(8).enumerate() {
        if !pairs[pair(window)] {
            continue;
        }
        for (secret, form, bytes) in beginnings.get(window).into_iter().flatten() {
            if text[place..].starts_with(bytes) {
                found.push(format!("{} as {form} at byte {place}", secret.name));
            }
        }
    }
    found
}

#[test]
fn search_should_find_a_secret_in_every_form() {
    let bytes: [u8; 32] = std::array::from_fn(|place| u8::try_from(place * 7 + 1).expect("a byte"));
    let secrets = [Secret::new("the secret".into(), &bytes)];
    assert_eq!(find(b"nothing of that kind is here, however long one looks", &secrets), [""; 0]);
    let texts: [Vec<u8>; 7] = [
        Vec::from(bytes),
        hex::encode(bytes).into_bytes(),
        format!("{:?}", U256::from_be_bytes(bytes)).into_bytes(),
        format!("Some({bytes:?})").into_bytes(),
        STANDARD_NO_PAD.encode(bytes).into_bytes(),
        URL_SAFE_NO_PAD.encode([&[9][..], &bytes].concat()).into_bytes(),
        STANDARD_NO_PAD.encode([&[9, 9][..], &bytes, &[1]].concat()).into_bytes(),
    ];
    for text in &texts {
        let hidden = [b"before ".as_slice(), text, b" after"].concat();
        assert_ne!(find(&hidden, &secrets), [""; 0], "{}", String::from_utf8_lossy(&hidden));
    }
}
