//! Shares, and other short secrets, on their way to their receiver: X25519 with the receiver's identity key (RFC 7748; the Edwards key in its
//! Montgomery form) and XChaCha20-Poly1305 under a key that is used once.
//!
//! ```text
//! sealed = ephemeral public key 32 ‖ ciphertext, 32 of a share ‖ tag 16
//! key    = BLAKE3-KDF("lockstep/v1/dkg/seal", shared point 32 ‖ ephemeral key 32 ‖ receiver's identity 32 ‖ context 32)
//! ```
//!
//! The nonce is zero: the key is bound to its ephemeral key, and the ephemeral key to seed, context and receiver, so that
//! the same key never meets another plaintext, also after a restart from the seed. The context is a hash of everything
//! that the share belongs to.

use alloy_primitives::B256;
use chacha20poly1305::aead::AeadInOut;
use chacha20poly1305::{KeyInit, Tag, XChaCha20Poly1305, XNonce};
use curve25519_dalek::MontgomeryPoint;
use ed25519_dalek::{SigningKey, VerifyingKey};
use zeroize::Zeroizing;

/// Bytes of a sealed share.
pub const SEALED: usize = 80;
/// Bytes of a sealed secret above those of the secret.
const AROUND: usize = 48;
/// KDF contexts (BLAKE3, derive_key mode).
const KEY: &str = "lockstep/v1/dkg/seal";
const EPHEMERAL: &str = "lockstep/v1/dkg/ephemeral";

/// Encrypts a share to the holder of an identity key. The same seed, receiver and context give the same bytes, so they must
/// never be used for two secrets.
pub fn seal(secret: &[u8; 32], receiver: &VerifyingKey, context: &B256, seed: &[u8; 32]) -> [u8; SEALED] {
    let mut sealed = [0; SEALED];
    for (to, from) in sealed.iter_mut().zip(seal_bytes(secret, receiver, context, seed)) {
        *to = from;
    }
    sealed
}

/// Decrypts what was sealed to `identity` under the same context; `None` if it was not, or was changed.
pub fn open(sealed: &[u8; SEALED], identity: &SigningKey, context: &B256) -> Option<Zeroizing<[u8; 32]>> {
    let text = open_bytes(sealed, identity, context)?;
    Some(Zeroizing::new(text.as_slice().try_into().ok()?))
}

/// Encrypts a short secret of any length, as [`seal`] does.
pub fn seal_bytes(secret: &[u8], receiver: &VerifyingKey, context: &B256, seed: &[u8; 32]) -> Vec<u8> {
    let material = Zeroizing::new([&seed[..], context.as_slice(), receiver.as_bytes()].concat());
    let ephemeral = Zeroizing::new(blake3::derive_key(EPHEMERAL, &material));
    let public = MontgomeryPoint::mul_base_clamped(*ephemeral);
    let shared = Zeroizing::new(receiver.to_montgomery().mul_clamped(*ephemeral).to_bytes());
    let mut text = Zeroizing::new(secret.to_vec());
    let cipher = cipher(&shared, &public, receiver.as_bytes(), context);
    // A short secret is never too long to encrypt.
    match cipher.encrypt_inout_detached(&XNonce::default(), &[], text.as_mut_slice().into()) {
        Ok(tag) => [public.as_bytes().as_slice(), text.as_slice(), tag.as_slice()].concat(),
        Err(_) => Vec::new(),
    }
}

/// Decrypts a short secret of any length, as [`open`] does.
pub fn open_bytes(sealed: &[u8], identity: &SigningKey, context: &B256) -> Option<Zeroizing<Vec<u8>>> {
    let (public, rest) = sealed.split_first_chunk::<32>()?;
    let (text, tag) = rest.split_at_checked(sealed.len().checked_sub(AROUND)?)?;
    let public = MontgomeryPoint(*public);
    let own = Zeroizing::new(identity.to_scalar_bytes());
    let shared = Zeroizing::new(public.mul_clamped(*own).to_bytes());
    // A point of low order makes a secret that everybody knows (RFC 7748 section 6.1).
    if *shared == [0; 32] {
        return None;
    }
    let mut text = Zeroizing::new(text.to_vec());
    let cipher = cipher(&shared, &public, identity.verifying_key().as_bytes(), context);
    let tag = Tag::try_from(tag).ok()?;
    cipher.decrypt_inout_detached(&XNonce::default(), &[], text.as_mut_slice().into(), &tag).ok()?;
    Some(text)
}

fn cipher(shared: &[u8; 32], public: &MontgomeryPoint, receiver: &[u8; 32], context: &B256) -> XChaCha20Poly1305 {
    let material = Zeroizing::new([&shared[..], public.as_bytes(), receiver, context.as_slice()].concat());
    let key = Zeroizing::new(blake3::derive_key(KEY, &material));
    XChaCha20Poly1305::new((&*key).into())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const CONTEXT: B256 = B256::repeat_byte(7);

    fn key(byte: u8) -> SigningKey {
        SigningKey::from_bytes(&[byte; 32])
    }

    #[test]
    fn another_receiver_context_or_byte_should_not_open() {
        let sealed = seal(&[9; 32], &key(1).verifying_key(), &CONTEXT, &[3; 32]);
        assert_eq!(open(&sealed, &key(2), &CONTEXT), None);
        assert_eq!(open(&sealed, &key(1), &B256::ZERO), None);
        for place in 0..SEALED {
            let mut changed = sealed;
            changed[place] ^= 1;
            assert_eq!(open(&changed, &key(1), &CONTEXT), None, "{place}");
        }
        assert_eq!(open(&[0; SEALED], &key(1), &CONTEXT), None);
    }

    /// Points whose multiples by a clamped scalar are all zero: u of the points of order 1, 2, 4 and 8 (RFC 7748 section 6.1,
    /// and cr.yp.to/ecdh.html).
    const LOW_ORDER: [&str; 5] = [
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0100000000000000000000000000000000000000000000000000000000000000",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
        "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
    ];

    #[test]
    fn what_everybody_could_read_should_not_open() {
        let receiver = key(1).verifying_key();
        for point in LOW_ORDER {
            let public = MontgomeryPoint(hex::decode(point).expect("hex").try_into().expect("32 bytes"));
            let shared = public.mul_clamped([7; 32]).to_bytes();
            assert_eq!(shared, [0; 32], "{point}");
            let mut text = [9; 32];
            let cipher = cipher(&shared, &public, receiver.as_bytes(), &CONTEXT);
            let tag =
                cipher.encrypt_inout_detached(&XNonce::default(), &[], text.as_mut_slice().into()).expect("short");
            let sealed: Vec<u8> = public.as_bytes().iter().chain(&text).chain(&tag).copied().collect();
            let sealed: [u8; SEALED] = sealed.try_into().expect("as many bytes");
            assert_eq!(open(&sealed, &key(1), &CONTEXT), None, "{point}");
        }
    }

    #[test]
    fn the_receiver_should_open_what_the_seed_gives() {
        let sealed = seal(&[9; 32], &key(1).verifying_key(), &CONTEXT, &[3; 32]);
        assert_eq!(open(&sealed, &key(1), &CONTEXT), Some(Zeroizing::new([9; 32])));
        assert_eq!(sealed, seal(&[9; 32], &key(1).verifying_key(), &CONTEXT, &[3; 32]));
        let others = [
            seal(&[9; 32], &key(1).verifying_key(), &CONTEXT, &[4; 32]),
            seal(&[9; 32], &key(2).verifying_key(), &CONTEXT, &[3; 32]),
            seal(&[9; 32], &key(1).verifying_key(), &B256::ZERO, &[3; 32]),
        ];
        // Nothing is shared between them, the ephemeral keys least of all.
        assert!(others.iter().all(|other| other[..32] != sealed[..32] && other[32..] != sealed[32..]));
    }

    proptest! {
        #[test]
        fn secrets_should_be_opened_and_nothing_that_was_changed(
            secret in proptest::collection::vec(any::<u8>(), 0..80),
            receiver: u8,
            context: [u8; 32],
            seed: [u8; 32],
            place in any::<prop::sample::Index>(),
            bits in 1..=u8::MAX,
        ) {
            let sealed = seal_bytes(&secret, &key(receiver).verifying_key(), &context.into(), &seed);
            let opened = open_bytes(&sealed, &key(receiver), &context.into());
            prop_assert_eq!(opened.as_deref(), Some(&secret));
            let mut changed = sealed.clone();
            changed[place.index(sealed.len())] ^= bits;
            for other in [&changed[..], &sealed[..place.index(sealed.len())], &[&sealed[..], &[bits]].concat()] {
                prop_assert_eq!(open_bytes(other, &key(receiver), &context.into()), None);
            }
        }
    }

    #[test]
    fn secrets_of_other_lengths_should_be_opened_by_their_receiver_alone() {
        for length in [0, 1, 48] {
            let secret = vec![9; length];
            let sealed = seal_bytes(&secret, &key(1).verifying_key(), &CONTEXT, &[3; 32]);
            assert_eq!(sealed.len(), length + AROUND);
            assert_eq!(open_bytes(&sealed, &key(1), &CONTEXT).as_deref(), Some(&secret));
            assert_eq!(open_bytes(&sealed, &key(2), &CONTEXT), None);
            assert_eq!(open_bytes(&sealed[..sealed.len() - 1], &key(1), &CONTEXT), None);
        }
        assert_eq!(open_bytes(&[1; AROUND - 1], &key(1), &CONTEXT), None);
    }
}
