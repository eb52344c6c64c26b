//! Scalars and points of edwards25519 as the kernel uses them (kernel `crypto/key.go`, `crypto/point.go`).

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use curve25519_dalek::edwards::CompressedEdwardsY;
use curve25519_dalek::scalar::clamp_integer;
use curve25519_dalek::traits::IsIdentity;
use curve25519_dalek::{EdwardsPoint, Scalar};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest, Sha512};
use thiserror::Error;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use super::hash::sha3_256;

/// A private key: a non-zero scalar. It is wiped when dropped and never printed.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct PrivateKey(Scalar);

impl PrivateKey {
    /// The scalar of a 64-byte seed, reduced (kernel `NewKeyFromSeed`).
    ///
    /// # Errors
    /// [`KeyError::Zero`] for a seed that is a multiple of the group order.
    pub fn from_seed(seed: &[u8; 64]) -> Result<Self, KeyError> {
        Self::from_scalar(Scalar::from_bytes_mod_order_wide(seed))
    }

    /// The spend scalar of a ledger user: the clamped first half of SHA-512 of its ed25519 seed, reduced. Its public key is
    /// the seed's ordinary ed25519 public key.
    pub fn from_ed25519_seed(seed: &[u8; 32]) -> Self {
        let mut digest = Zeroizing::new([0; 64]);
        digest.copy_from_slice(&Sha512::digest(seed));
        let mut half = Zeroizing::new([0; 32]);
        half.copy_from_slice(digest.first_chunk::<32>().map_or(&[0; 32], |half| half));
        // A clamped integer is a multiple of 8 below 2²⁵⁵ < 8·L, hence never a multiple of the order L.
        Self(Scalar::from_bytes_mod_order(clamp_integer(*half)))
    }

    /// A scalar in its canonical 32 little-endian bytes.
    ///
    /// # Errors
    /// Refuses zero and what is not reduced.
    pub fn from_bytes(bytes: [u8; 32]) -> Result<Self, KeyError> {
        Option::from(Scalar::from_canonical_bytes(bytes)).ok_or(KeyError::Unreduced).and_then(Self::from_scalar)
    }

    pub(super) fn from_scalar(scalar: Scalar) -> Result<Self, KeyError> {
        if scalar == Scalar::ZERO { Err(KeyError::Zero) } else { Ok(Self(scalar)) }
    }

    pub(super) const fn scalar(&self) -> &Scalar {
        &self.0
    }

    /// The canonical bytes, for storage; they are wiped when dropped.
    pub fn to_bytes(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.0.to_bytes())
    }

    /// The public key.
    pub fn public(&self) -> PublicKey {
        // The scalar is neither zero nor a multiple of the order, so this is no identity, and it lies in the base's group.
        PublicKey::trusted(EdwardsPoint::mul_base(&self.0))
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PrivateKey(…)")
    }
}

/// A public key that was checked: canonical bytes of a point of prime order, not the identity (kernel `CheckKey`).
#[derive(Clone, Copy)]
pub struct PublicKey {
    bytes: [u8; 32],
    point: EdwardsPoint,
}

impl PublicKey {
    /// Checks 32 bytes.
    ///
    /// # Errors
    /// Names the rule that the bytes break.
    pub fn from_bytes(bytes: [u8; 32]) -> Result<Self, KeyError> {
        let point = CompressedEdwardsY(bytes).decompress().ok_or(KeyError::OffCurve)?;
        if point.compress().0 != bytes {
            return Err(KeyError::NonCanonical);
        }
        Self::from_point(point)
    }

    pub(super) fn from_point(point: EdwardsPoint) -> Result<Self, KeyError> {
        if point.is_identity() {
            return Err(KeyError::Identity);
        }
        if !point.is_torsion_free() {
            return Err(KeyError::Subgroup);
        }
        Ok(Self::trusted(point))
    }

    /// For points that are in the group by construction.
    pub(super) fn trusted(point: EdwardsPoint) -> Self {
        Self { bytes: point.compress().0, point }
    }

    pub(super) const fn point(&self) -> &EdwardsPoint {
        &self.point
    }

    /// The 32 bytes.
    pub const fn to_bytes(&self) -> [u8; 32] {
        self.bytes
    }

    /// The bytes as they stand in a transaction.
    pub const fn raw(&self) -> RawKey {
        RawKey(self.bytes)
    }

    /// The private key that the kernel derives from public bytes: nodes and custodians use it as view key of a spend key
    /// (kernel `DeterministicHashDerive`).
    ///
    /// # Errors
    /// [`KeyError::Zero`], which no known key gives.
    pub fn derive_private(&self) -> Result<PrivateKey, KeyError> {
        let half = sha3_256(&self.bytes).0;
        let mut seed = Zeroizing::new([0; 64]);
        seed.copy_from_slice(&[half, half].concat());
        PrivateKey::from_seed(&seed)
    }
}

impl PartialEq for PublicKey {
    fn eq(&self, other: &Self) -> bool {
        self.bytes == other.bytes
    }
}

impl Eq for PublicKey {}

impl PartialOrd for PublicKey {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for PublicKey {
    fn cmp(&self, other: &Self) -> Ordering {
        self.bytes.cmp(&other.bytes)
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.bytes))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({self})")
    }
}

impl FromStr for PublicKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        text.parse::<RawKey>()?.check()
    }
}

impl Serialize for PublicKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for PublicKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// Key bytes as they stand in a transaction, not checked: the decoder keeps what the kernel's decoder keeps.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RawKey(#[serde(with = "hex::serde")] pub [u8; 32]);

impl RawKey {
    /// The mask of an output that has no keys.
    pub const ZERO: Self = Self([0; 32]);

    /// True for the 32 zero bytes that stand for "none".
    pub fn is_zero(&self) -> bool {
        *self == Self::ZERO
    }

    /// The key, if it is a valid one.
    ///
    /// # Errors
    /// Names the rule that the bytes break.
    pub fn check(&self) -> Result<PublicKey, KeyError> {
        PublicKey::from_bytes(self.0)
    }
}

impl From<PublicKey> for RawKey {
    fn from(key: PublicKey) -> Self {
        key.raw()
    }
}

impl FromStr for RawKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(text, &mut bytes).map_err(KeyError::Hex)?;
        Ok(Self(bytes))
    }
}

impl fmt::Display for RawKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for RawKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RawKey({self})")
    }
}

/// Why bytes are no key.
#[derive(Clone, Copy, Debug, PartialEq, Error)]
pub enum KeyError {
    /// Not 64 hex digits.
    #[error("a key is 64 hex digits: {0}")]
    Hex(hex::FromHexError),
    /// A private key of zero.
    #[error("a private key must not be zero")]
    Zero,
    /// A private key that is not below the group order.
    #[error("a private key must be below the group order")]
    Unreduced,
    /// No point of the curve.
    #[error("the public key is no point of the curve")]
    OffCurve,
    /// A point written in another than its only canonical form.
    #[error("the public key is not in its canonical form")]
    NonCanonical,
    /// The neutral element.
    #[error("the public key is the identity")]
    Identity,
    /// A point outside the group of prime order.
    #[error("the public key is outside the prime-order group")]
    Subgroup,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weak_public_keys_should_be_refused_each_by_its_rule() {
        let mut identity = [0; 32];
        identity[0] = 1;
        assert_eq!(PublicKey::from_bytes(identity), Err(KeyError::Identity));
        // y = 0 is a point of order four.
        assert_eq!(PublicKey::from_bytes([0; 32]), Err(KeyError::Subgroup));
        // y = p + 1 is the identity in another form.
        let mut large = [0xff; 32];
        (large[0], large[31]) = (0xee, 0x7f);
        assert_eq!(PublicKey::from_bytes(large), Err(KeyError::NonCanonical));
        let mut off_curve = [0; 32];
        off_curve[0] = 2;
        assert_eq!(PublicKey::from_bytes(off_curve), Err(KeyError::OffCurve));
        assert!(matches!("00".parse::<PublicKey>(), Err(KeyError::Hex(_))));
    }

    #[test]
    fn private_keys_should_be_canonical_and_not_zero() {
        assert_eq!(PrivateKey::from_bytes([0; 32]).unwrap_err(), KeyError::Zero);
        assert_eq!(PrivateKey::from_seed(&[0; 64]).unwrap_err(), KeyError::Zero);
        assert_eq!(PrivateKey::from_bytes([0xff; 32]).unwrap_err(), KeyError::Unreduced);
    }

    #[test]
    fn a_users_public_key_should_be_the_ed25519_key_of_its_seed() {
        for byte in 0..16 {
            let seed = [byte; 32];
            let expected = ed25519_dalek::SigningKey::from_bytes(&seed).verifying_key().to_bytes();
            assert_eq!(PrivateKey::from_ed25519_seed(&seed).public().to_bytes(), expected);
        }
    }

    #[test]
    fn debug_output_should_hide_the_secret() {
        let key = PrivateKey::from_ed25519_seed(&[7; 32]);
        assert_eq!(format!("{key:?}"), "PrivateKey(…)");
    }
}
