//! BLS12-381 threshold signatures: keys in G2, signatures in G1 (DESIGN.md section 5, reference: RFC 9380 and
//! draft-irtf-cfrg-bls-signature, on `blst`).
//!
//! Everything that is parsed is validated at once: canonical encoding, on the curve, in the subgroup, not infinity. The one
//! exception is a [`PartialSignature`], which stays bytes until [`GroupKey::recover`] has checked the aggregate.
//!
//! Only safe parts of `blst` are used. What they lack is arithmetic of public scalars, for Lagrange coefficients and for
//! the dealer of tests; that is done with `U256` modulo the group order.

use std::fmt;

use alloy_primitives::B256;
use blst::BLST_ERROR;
use blst::min_sig as blst_keys;
use thiserror::Error;
use zeroize::{Zeroize, Zeroizing};

pub mod commitment;
#[cfg(any(test, feature = "test-dealer"))]
mod dealer;
pub mod inspect;
mod point;
mod scalar;
mod threshold;

#[cfg(any(test, feature = "test-dealer"))]
pub use dealer::Dealing;
pub use point::{PublicKey, Signature};
pub(crate) use threshold::check_size;
pub use threshold::{
    GroupKey, GroupKeyError, PartialSignature, RecoverError, Recovered, SecretShare, default_threshold,
};

/// Ciphersuite of everything that the group contract checks: min-sig, basic scheme. Messages are 32-byte digests that bind
/// their own domain.
pub const DST: &[u8] = b"BLS_SIG_BLS12381G1_XMD:SHA-256_SSWU_RO_NUL_";

/// A signing key: a non-zero scalar below the group order. Wiped when dropped, never shown.
pub struct SecretKey(blst_keys::SecretKey);

impl SecretKey {
    /// Reads 32 big-endian bytes.
    ///
    /// # Errors
    /// Refuses another length, zero, and the group order and above.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, BlsError> {
        if bytes.len() != 32 {
            return Err(BlsError::Length { what: "a secret key", expected: "32", got: bytes.len() });
        }
        blst_keys::SecretKey::from_bytes(bytes).map(Self).map_err(|_| BlsError::SecretRange)
    }

    /// Derives a key from 32 bytes of entropy of the caller (KeyGen of draft-irtf-cfrg-bls-signature, `info` separates
    /// keys of one entropy).
    ///
    /// # Errors
    /// Fails only if the derivation meets zero, which has negligible probability.
    pub fn derive(entropy: &[u8; 32], info: &[u8]) -> Result<Self, BlsError> {
        blst_keys::SecretKey::key_gen(entropy, info).map(Self).map_err(|_| BlsError::SecretRange)
    }

    /// The 32 big-endian bytes; they wipe themselves.
    pub fn to_bytes(&self) -> Zeroizing<[u8; 32]> {
        let mut bytes = self.0.to_bytes();
        let kept = Zeroizing::new(bytes);
        bytes.zeroize();
        kept
    }

    /// The key that verifies.
    pub fn public_key(&self) -> PublicKey {
        PublicKey::trusted(self.0.sk_to_pk())
    }

    /// Signs `message` under the tag `dst`.
    pub fn sign(&self, message: &[u8], dst: &[u8]) -> Signature {
        Signature::trusted(self.0.sign(message, dst, &[]))
    }

    /// Signs a digest under [`DST`].
    pub fn sign_digest(&self, digest: &B256) -> Signature {
        self.sign(digest.as_slice(), DST)
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretKey(hidden)")
    }
}

/// The point in G1 that `message` hashes to under `dst` (RFC 9380, `…_XMD:SHA-256_SSWU_RO_`): what the key 1 would sign.
///
/// # Errors
/// Refuses an empty tag, which RFC 9380 section 3.1 forbids.
pub fn hash_to_g1(message: &[u8], dst: &[u8]) -> Result<Signature, BlsError> {
    let mut one = [0; 32];
    if let Some(last) = one.last_mut() {
        *last = 1;
    }
    if dst.is_empty() {
        return Err(BlsError::EmptyTag);
    }
    Ok(SecretKey::from_bytes(&one)?.sign(message, dst))
}

/// Why bytes are not a key or a signature.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum BlsError {
    /// No hexadecimal text.
    #[error("{what} is not hexadecimal")]
    NotHex {
        /// What was read.
        what: &'static str,
    },
    /// A byte count that no encoding has.
    #[error("{what} has {expected} bytes, got {got}")]
    Length {
        /// What was read.
        what: &'static str,
        /// The byte counts that exist.
        expected: &'static str,
        /// The byte count given.
        got: usize,
    },
    /// Wrong flag bits, non-zero padding, or a coordinate that is not below the field's modulus.
    #[error("{what} is not canonically encoded")]
    Encoding {
        /// What was read.
        what: &'static str,
    },
    /// Coordinates that do not fulfil the curve's equation.
    #[error("{what} is not on the curve")]
    NotOnCurve {
        /// What was read.
        what: &'static str,
    },
    /// A point of the curve outside the subgroup of prime order.
    #[error("{what} is outside the subgroup")]
    OutsideSubgroup {
        /// What was read.
        what: &'static str,
    },
    /// The neutral element, which would verify anything.
    #[error("{what} is the point at infinity")]
    Infinity {
        /// What was read.
        what: &'static str,
    },
    /// A scalar that is zero or not below the group order.
    #[error("a secret key is zero or not below the group order")]
    SecretRange,
    /// An empty domain separation tag.
    #[error("the domain separation tag is empty")]
    EmptyTag,
}

impl BlsError {
    fn from_blst(error: BLST_ERROR, what: &'static str) -> Self {
        match error {
            BLST_ERROR::BLST_POINT_NOT_ON_CURVE => Self::NotOnCurve { what },
            BLST_ERROR::BLST_POINT_NOT_IN_GROUP => Self::OutsideSubgroup { what },
            BLST_ERROR::BLST_PK_IS_INFINITY => Self::Infinity { what },
            BLST_ERROR::BLST_BAD_SCALAR => Self::SecretRange,
            BLST_ERROR::BLST_SUCCESS
            | BLST_ERROR::BLST_BAD_ENCODING
            | BLST_ERROR::BLST_AGGR_TYPE_MISMATCH
            | BLST_ERROR::BLST_VERIFY_FAIL => Self::Encoding { what },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: u8) -> SecretKey {
        SecretKey::derive(&[number; 32], b"test").expect("a key")
    }

    #[test]
    fn secret_keys_out_of_range_should_be_refused() {
        let order = hex::decode("73eda753299d7d483339d80809a1d80553bda402fffe5bfeffffffff00000001").expect("hex");
        for bytes in [&[0; 32][..], &[0xff; 32], &order] {
            assert_eq!(SecretKey::from_bytes(bytes).err(), Some(BlsError::SecretRange));
        }
        assert!(matches!(SecretKey::from_bytes(&[1; 31]), Err(BlsError::Length { got: 31, .. })));
        let mut below = order;
        below[31] = 0;
        assert_eq!(SecretKey::from_bytes(&below).expect("order − 1").to_bytes().as_slice(), below);
    }

    #[test]
    fn signatures_of_another_key_message_or_tag_should_not_verify() {
        let (key, digest) = (key(1), B256::repeat_byte(7));
        let signature = key.sign_digest(&digest);
        assert!(key.public_key().verify_digest(&digest, &signature));
        assert!(!super::tests::key(2).public_key().verify_digest(&digest, &signature));
        assert!(!key.public_key().verify_digest(&B256::ZERO, &signature));
        assert!(!key.public_key().verify(digest.as_slice(), b"other", &signature));
    }

    #[test]
    fn secrets_should_not_be_shown() {
        assert_eq!(format!("{:?}", key(1)), "SecretKey(hidden)");
    }

    #[test]
    fn an_empty_tag_should_be_refused() {
        assert_eq!(hash_to_g1(b"", b""), Err(BlsError::EmptyTag));
    }
}
