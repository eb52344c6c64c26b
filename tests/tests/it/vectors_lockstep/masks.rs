//! Mask secrets: what makes the keys of a payout to bare kernel addresses.

use alloy_primitives::{B256, U512, keccak256};
use lockstep_core::mixin::{Output, PrivateKey, XinAddress};
use lockstep_core::{Amount, Mix, Uuid};
use serde_json::{Value, json};

use super::hexed;
use super::names::seed;
use crate::figures::{load, rows, text};

/// An address whose private keys anybody can make: ed25519 seeds of 1s and of 2s.
fn address() -> XinAddress {
    let public = |byte| PrivateKey::from_ed25519_seed(&[byte; 32]).public().to_bytes();
    XinAddress::from_bytes(public(1), public(2)).expect("two keys")
}

pub(super) fn masks() -> Value {
    let trace = Uuid::from_u128(0xaaaa);
    let row = |(attempt, index): (u32, u16)| {
        let (seed, to) = (seed(trace, attempt).1, Mix::new(vec![address().member()], 1));
        let secret = seed.mask_secret(trace, index, &to).expect("a secret");
        let output = Output::of_addresses(Amount::from_units(1), &[address()], 1, &secret, index).expect("keys");
        json!({
            "trace": trace.to_string(),
            "attempt": attempt,
            "index": index,
            "seed": hexed(seed.expose()),
            "receivers": hexed(to.to_payload()),
            "secret": hexed(*secret.to_bytes()),
            "mask": hexed(output.mask.0),
            "address": address().to_string(),
            "key": output.keys.iter().map(|key| hexed(key.0)).collect::<String>(),
        })
    };
    [(0, 0), (0, 1), (1, 0), (0, 255)].map(row).into_iter().collect()
}

/// The formula again, with the arithmetic of another library.
#[test]
fn mask_secrets_should_be_reduced_hashes() {
    // ℓ = 2²⁵² + 27742317777372353535851937790883648493 (RFC 8032, section 5.1).
    let order =
        (U512::from(1) << 252_usize).wrapping_add(U512::from(27_742_317_777_372_353_535_851_937_790_883_648_493_u128));
    for row in rows(&load("lockstep.json")["masks"]) {
        let seed: B256 = text(row, "seed").parse().expect("a hash");
        let trace: Uuid = text(row, "trace").parse().expect("a uuid");
        let index = u16::try_from(row["index"].as_u64().expect("an index")).expect("16 bits");
        let to = hex::decode(&text(row, "receivers")[2..]).expect("hex");
        let half = |half: u8| {
            let domain = keccak256("lockstep/v1/mask");
            let place = [&index.to_be_bytes()[..], &[half], &to].concat();
            keccak256([domain.as_slice(), seed.as_slice(), trace.as_bytes(), &place].concat())
        };
        let reduced = U512::from_le_slice(&[half(0).0, half(1).0].concat()).wrapping_rem(order);
        let bytes: [u8; 64] = reduced.to_le_bytes();
        assert_eq!(text(row, "secret"), hexed(&bytes[..32]));
        assert_eq!(bytes[32..], [0; 32]);
    }
}
