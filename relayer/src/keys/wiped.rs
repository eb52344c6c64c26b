//! What held a secret holds it no more when it is dropped. The process reads its own memory through `/proc/self/mem`, which
//! needs no unsafe code.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use alloy::signers::local::PrivateKeySigner;
use ed25519_dalek::SigningKey;
use lockstep_core::bls::{SecretKey, SecretShare};
use lockstep_core::mixin::{GhostScalar, PrivateKey};
use zeroize::Zeroizing;

use super::tests::dealt;
use super::{HeldShare, Passphrase};
use crate::ledger::Seed;

/// What stands in memory where `value` stood, after it was dropped.
fn left_behind<T>(value: T) -> Vec<u8> {
    let memory = File::open("/proc/self/mem").expect("one's own memory");
    let mut bytes = vec![0; size_of::<T>()];
    let boxed = Box::new(value);
    let place = std::ptr::from_ref(&*boxed).addr();
    drop(boxed);
    memory.read_exact_at(&mut bytes, u64::try_from(place).expect("an address")).expect("mapped");
    bytes
}

/// True where eight bytes in a row of the secret are there, in either order. Freed memory is written over at its beginning by
/// the allocator, so not all of a secret that was left would be found.
fn holds(memory: &[u8], secret: &[u8; 32]) -> bool {
    let reversed: Vec<u8> = secret.iter().rev().copied().collect();
    memory.windows(8).any(|found| secret.windows(8).chain(reversed.windows(8)).any(|part| part == found))
}

/// No two bytes alike, and a scalar of every field, from either end.
fn secret() -> [u8; 32] {
    std::array::from_fn(|place| if place == 31 { 3 } else { u8::try_from(place).expect("a byte") | 0x40 })
}

#[test]
fn plain_bytes_should_be_found_after_they_are_dropped() {
    assert!(holds(&left_behind(secret()), &secret()), "or else the other tests could not fail");
}

#[test]
fn secrets_should_be_gone_when_they_are_dropped() {
    let bytes = secret();
    let bls = || SecretKey::from_bytes(&bytes).expect("a key");
    let mixin = PrivateKey::from_bytes(bytes).expect("a key");
    let ghost = GhostScalar::from_bytes(bytes).expect("a scalar");
    let evm = PrivateKeySigner::from_slice(&bytes).expect("a key");
    let expanded: [u8; 32] = *mixin.to_bytes();
    for (what, left) in [
        ("seed", left_behind(Seed::new(bytes))),
        ("identity key", left_behind(SigningKey::from_bytes(&bytes))),
        ("EVM key", left_behind(evm)),
        ("BLS key", left_behind(bls())),
        ("BLS share", left_behind(SecretShare::new(1, bls()).expect("a share"))),
        ("ledger key", left_behind(mixin)),
        ("view of a coin", left_behind(ghost)),
        ("bytes for storage", left_behind(Zeroizing::new(bytes))),
    ] {
        assert!(!left.is_empty() && !holds(&left, &bytes) && !holds(&left, &expanded), "{what}: {left:?}");
    }
}

#[test]
fn keys_of_a_member_should_be_gone_when_they_are_dropped() {
    let mut keys = dealt(1).members.remove(0);
    let held = keys.shares.remove(&0).expect("dealt");
    let share = *held.secret.secret().to_bytes();
    let (identity, spend) = (keys.identity.to_bytes(), *keys.ledger.spend_private_key.expose());
    let (session, evm) = (*keys.ledger.session_private_key.expose(), keys.evm.to_bytes().0);
    // These repeat one byte, so only what is not zero tells them.
    let left = left_behind(keys);
    for secret in [identity, spend, session, evm] {
        assert!(!left.windows(8).any(|found| found == &secret[..8]), "{left:?}");
    }
    let HeldShare { secret, .. } = held;
    assert!(!holds(&left_behind(Arc::into_inner(secret).expect("the last one")), &share));
}

#[test]
fn passphrase_should_be_gone_when_it_is_dropped() {
    let memory = File::open("/proc/self/mem").expect("one's own memory");
    let text = "correct horse battery staple and more";
    let mut bytes = vec![0; text.len()];
    let passphrase = Passphrase::new(text);
    let place = passphrase.expose().as_ptr().addr();
    drop(passphrase);
    memory.read_exact_at(&mut bytes, u64::try_from(place).expect("an address")).expect("mapped");
    assert!(!bytes.windows(8).any(|found| text.as_bytes().windows(8).any(|part| part == found)), "{bytes:?}");
}
