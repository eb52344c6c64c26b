//! Every figure of `bls.json`: drand beacons, signatures of other libraries, and RFC 9380. None is skipped.

use alloy_primitives::U512;
use lockstep_core::bls::inspect::verify_signature;
use lockstep_core::bls::{DST, PublicKey, SecretKey, Signature, hash_to_g1};
use sha2::{Digest, Sha256};

use crate::figures::{array, bytes, load, only, rows, text};

fn sha256(message: &[u8]) -> [u8; 32] {
    Sha256::digest(message).into()
}

/// The modulus of the field, big-endian.
const MODULUS: &str =
    "1a0111ea397fe69a4b1ba7b6434bacd764774b84f38512bf6730d2a0f6b0f6241eabfffeb153ffffb9feffffffffaaab";

/// The `place`th field element that `message` hashes to: `hash_to_field` with `expand_message_xmd` of RFC 9380 section 5.
fn field_element(message: &str, tag: &str, place: usize) -> String {
    let tag = [tag.as_bytes(), &[u8::try_from(tag.len()).expect("a short tag")]].concat();
    let first = sha256(&[&[0; 64], message.as_bytes(), &[0, 128, 0], &tag].concat());
    let mut block = sha256(&[&first[..], &[1], &tag].concat());
    let mut uniform = block.to_vec();
    for number in 2..=4 {
        let mixed: Vec<u8> = first.iter().zip(block).map(|(left, right)| left ^ right).collect();
        block = sha256(&[&mixed[..], &[number], &tag].concat());
        uniform.extend_from_slice(&block);
    }
    let wide = U512::from_be_slice(&uniform.as_chunks::<64>().0[place]);
    let modulus = U512::from_str_radix(MODULUS, 16).expect("hex");
    format!("{:096x}", wide.reduce_mod(modulus))
}

/// −G2 in EIP-2537 form: the constant of the contract's pairing. x is that of the generator; each half of y is negated
/// modulo p.
fn negated(key: &PublicKey) -> Vec<u8> {
    let modulus = hex::decode(MODULUS).expect("hex");
    let mut point = key.to_eip2537().to_vec();
    for half in point.rchunks_mut(64).take(2) {
        let mut borrow = false;
        for (digit, modulus) in half.iter_mut().rev().zip(modulus.iter().rev()) {
            let (low, first) = modulus.overflowing_sub(*digit);
            let (low, second) = low.overflowing_sub(u8::from(borrow));
            (*digit, borrow) = (low, first || second);
        }
    }
    point
}

#[test]
fn beacons_should_verify_in_every_encoding() {
    let file = load("bls.json");
    let mut one = [0; 32];
    one[31] = 1;
    let generator = SecretKey::from_bytes(&one).expect("one").public_key();
    for row in rows(&file["beacons"]) {
        let known = ["chain", "round", "public_key_g2_compressed", "signature_g1_compressed", "message", "dst"];
        only(row, &[&known[..], &["randomness", "eip2537", "source"]].concat());
        let forms = &row["eip2537"];
        only(forms, &["hash_point_g1", "signature_g1", "public_key_g2", "neg_g2_generator"]);
        let key = PublicKey::from_bytes(&bytes(row, "public_key_g2_compressed")).expect("a key");
        let signature = Signature::from_bytes(&bytes(row, "signature_g1_compressed")).expect("a signature");
        let message = bytes(row, "message");
        let round = row["round"].as_u64().expect("a round").to_be_bytes();
        assert_eq!(sha256(&round), array(row, "message"));
        assert_eq!(sha256(&signature.compress()), array(row, "randomness"));
        assert_eq!(text(row, "dst").as_bytes(), DST);
        assert!(key.verify(&message, DST, &signature));
        assert_eq!(key.to_eip2537().to_vec(), bytes(forms, "public_key_g2"));
        assert_eq!(signature.to_eip2537().to_vec(), bytes(forms, "signature_g1"));
        assert_eq!(PublicKey::from_bytes(&bytes(forms, "public_key_g2")), Ok(key));
        assert_eq!(Signature::from_bytes(&bytes(forms, "signature_g1")), Ok(signature));
        let point = hash_to_g1(&message, DST).expect("a tag");
        assert_eq!(point.to_eip2537().to_vec(), bytes(forms, "hash_point_g1"));
        assert_eq!(negated(&generator), bytes(forms, "neg_g2_generator"));
        for signature in [text(row, "signature_g1_compressed"), text(forms, "signature_g1")] {
            let key = text(row, "public_key_g2_compressed");
            assert_eq!(verify_signature(key, text(row, "message"), signature, None), Ok(true));
            assert_eq!(verify_signature(key, text(row, "randomness"), signature, None), Ok(false));
        }
    }
}

#[test]
fn signatures_of_other_libraries_should_be_ours() {
    let file = load("bls.json");
    for row in rows(&file["raw_signatures"]) {
        let known = ["dst", "message", "public_key_g2_uncompressed", "hash_point_g1_uncompressed", "secret_key"];
        only(
            row,
            &[&known[..], &["signature_g1_compressed", "signature_g1_uncompressed", "application", "source"]].concat(),
        );
        let (dst, message) = (text(row, "dst").as_bytes(), bytes(row, "message"));
        let signature = Signature::from_bytes(&bytes(row, "signature_g1_compressed")).expect("a signature");
        if row.get("secret_key").is_some() {
            let key = SecretKey::from_bytes(&bytes(row, "secret_key")).expect("a key");
            assert_eq!(key.sign(&message, dst), signature);
            assert!(key.public_key().verify(&message, dst, &signature));
            continue;
        }
        assert_eq!(signature.serialize().to_vec(), bytes(row, "signature_g1_uncompressed"));
        let point = hash_to_g1(&message, dst).expect("a tag");
        assert_eq!(point.serialize().to_vec(), bytes(row, "hash_point_g1_uncompressed"));
        let key = PublicKey::from_bytes(&bytes(row, "public_key_g2_uncompressed")).expect("a key");
        assert!(key.verify(&message, dst, &signature));
        // The tag names the application.
        assert!(text(row, "dst").contains(text(row, "application")));
        for form in ["signature_g1_compressed", "signature_g1_uncompressed"] {
            let key = hex::encode(key.compress());
            let verified = |message: &str| verify_signature(&key, message, text(row, form), Some(text(row, "dst")));
            assert_eq!(verified(text(row, "message")), Ok(true));
            assert_eq!(verified("00"), Ok(false));
        }
    }
}

#[test]
fn hashes_should_be_those_of_rfc_9380() {
    let file = load("bls.json");
    for row in rows(&file["rfc9380_g1"]) {
        only(row, &["dst", "msg", "u", "x", "y", "source"]);
        let point = hash_to_g1(text(row, "msg").as_bytes(), text(row, "dst").as_bytes()).expect("a tag");
        let [x, y] = ["x", "y"].map(|field| text(row, field).trim_start_matches("0x").to_owned());
        assert_eq!(hex::encode(point.serialize()), x + &y);
        // The two field elements before the map; the point above is a function of them.
        for (place, u) in rows(&row["u"]).iter().enumerate() {
            let expected = u.as_str().expect("hex").trim_start_matches("0x");
            assert_eq!(field_element(text(row, "msg"), text(row, "dst"), place), expected);
        }
    }
}

#[test]
fn the_file_should_hold_nothing_else() {
    only(&load("bls.json"), &["scheme", "beacons", "raw_signatures", "rfc9380_g1"]);
}
