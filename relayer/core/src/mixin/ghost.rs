//! One-time ("ghost") keys of outputs (kernel `crypto/key.go`).
//!
//! The sender of output i draws r, shows the mask R = r·B and pays to P = B_spend + x·B with x = H(r·A_view, i). The
//! receiver finds the same x from its view key a, because a·R = r·A, and signs with p = b + x. A ledger user has no view
//! key of its own: the ledger's API hands it x for each coin (`views`).

use curve25519_dalek::{EdwardsPoint, Scalar};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use super::hash::blake3;
use super::key::{KeyError, PrivateKey, PublicKey};

/// What separates a one-time key from the spend key behind it; the API's `views[j]`. Not a signing key, but it links a
/// coin to its owner, so it is wiped and never printed.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct GhostScalar(Scalar);

impl GhostScalar {
    /// The scalar of output `index` from the sender's mask secret `r` and the receiver's public view key.
    pub fn of_sender(r: &PrivateKey, view: &PublicKey, index: u64) -> Self {
        hash_scalar(&shared_point(r, view), index)
    }

    /// The same scalar from the receiver's private view key and the output's mask.
    pub fn of_receiver(view: &PrivateKey, mask: &PublicKey, index: u64) -> Self {
        hash_scalar(&shared_point(view, mask), index)
    }

    /// Reads the canonical 32 bytes, as the ledger's API gives them.
    ///
    /// # Errors
    /// [`KeyError::Unreduced`].
    pub fn from_bytes(bytes: [u8; 32]) -> Result<Self, KeyError> {
        Option::from(Scalar::from_canonical_bytes(bytes)).map(Self).ok_or(KeyError::Unreduced)
    }

    /// The canonical bytes; they are wiped when dropped.
    pub fn to_bytes(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.0.to_bytes())
    }

    /// P = B + x·G: the one-time key that pays `spend`.
    ///
    /// # Errors
    /// [`KeyError::Identity`], where the spend key was chosen to cancel the scalar.
    #[expect(clippy::arithmetic_side_effects, reason = "curve addition is total")]
    pub fn public(&self, spend: &PublicKey) -> Result<PublicKey, KeyError> {
        checked(spend.point() + EdwardsPoint::mul_base(&self.0))
    }

    /// p = b + x: the private key of [`Self::public`].
    ///
    /// # Errors
    /// [`KeyError::Zero`], where the two cancel.
    #[expect(clippy::arithmetic_side_effects, reason = "scalar addition is total")]
    pub fn private(&self, spend: &PrivateKey) -> Result<PrivateKey, KeyError> {
        PrivateKey::from_scalar(spend.scalar() + self.0)
    }

    /// B = P − x·G: the spend key that the one-time key `key` would pay if this is its scalar.
    ///
    /// # Errors
    /// [`KeyError::Identity`], where `key` is the scalar's own point.
    #[expect(clippy::arithmetic_side_effects, reason = "curve subtraction is total")]
    pub fn spend(&self, key: &PublicKey) -> Result<PublicKey, KeyError> {
        checked(key.point() - EdwardsPoint::mul_base(&self.0))
    }
}

impl std::fmt::Debug for GhostScalar {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("GhostScalar(…)")
    }
}

/// a·P: what sender and receiver share.
#[expect(clippy::arithmetic_side_effects, reason = "scalar multiplication is total")]
pub fn shared_point(private: &PrivateKey, public: &PublicKey) -> PublicKey {
    // A non-zero scalar and a point of prime order: never the identity.
    PublicKey::trusted(private.scalar() * public.point())
}

/// Hashes a shared point and an output index to the scalar of a one-time key (kernel `HashScalar`).
pub fn hash_scalar(shared: &PublicKey, index: u64) -> GhostScalar {
    let mut bytes = Zeroizing::new(shared.to_bytes().to_vec());
    push_uvarint(&mut bytes, index);
    let inner = Zeroizing::new(wide_hash(&bytes).to_bytes());
    GhostScalar(wide_hash(inner.as_slice()))
}

/// The one-time key of output `index` that pays an address.
///
/// # Errors
/// [`KeyError::Identity`], which an address cannot aim at without knowing `r`.
pub fn derive_public(r: &PrivateKey, view: &PublicKey, spend: &PublicKey, index: u64) -> Result<PublicKey, KeyError> {
    GhostScalar::of_sender(r, view, index).public(spend)
}

/// The private key of a coin that pays an address whose two private keys are known.
///
/// # Errors
/// [`KeyError::Zero`], which a random mask does not give.
pub fn derive_private(
    mask: &PublicKey,
    view: &PrivateKey,
    spend: &PrivateKey,
    index: u64,
) -> Result<PrivateKey, KeyError> {
    GhostScalar::of_receiver(view, mask, index).private(spend)
}

/// True if the one-time key `key` of output `index` under `mask` pays `spend`, seen with its private view key.
pub fn recognise(view: &PrivateKey, mask: &PublicKey, key: &PublicKey, index: u64, spend: &PublicKey) -> bool {
    GhostScalar::of_receiver(view, mask, index).public(spend).is_ok_and(|expected| expected == *key)
}

/// Sums and differences of points of the prime-order group stay in it; only the identity must be refused.
fn checked(point: EdwardsPoint) -> Result<PublicKey, KeyError> {
    use curve25519_dalek::traits::IsIdentity;
    if point.is_identity() { Err(KeyError::Identity) } else { Ok(PublicKey::trusted(point)) }
}

/// BLAKE3(bytes) ‖ BLAKE3(BLAKE3(bytes)) as a scalar, reduced.
fn wide_hash(bytes: &[u8]) -> Scalar {
    let left = blake3(bytes);
    let mut wide = Zeroizing::new([0; 64]);
    wide.copy_from_slice(&[left.0, blake3(left.as_slice()).0].concat());
    Scalar::from_bytes_mod_order_wide(&wide)
}

/// Go's `binary.PutUvarint`: seven bits a byte, low bits first.
fn push_uvarint(bytes: &mut Vec<u8>, mut value: u64) {
    loop {
        let low = u8::try_from(value & 0x7f).unwrap_or_default();
        value >>= 7;
        if value == 0 {
            return bytes.push(low);
        }
        bytes.push(low | 0x80);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(byte: u8) -> PrivateKey {
        PrivateKey::from_seed(&[byte; 64]).expect("a non-zero seed")
    }

    #[test]
    fn a_strangers_view_key_should_not_recognise_a_coin() {
        let (r, view, spend, stranger) = (key(1), key(2), key(3), key(4));
        let paid = derive_public(&r, &view.public(), &spend.public(), 7).expect("a key");
        assert!(!recognise(&stranger, &r.public(), &paid, 7, &spend.public()));
        assert!(!recognise(&view, &r.public(), &paid, 8, &spend.public()));
        assert!(recognise(&view, &r.public(), &paid, 7, &spend.public()));
    }

    #[test]
    fn a_cancelling_spend_key_should_be_refused() {
        let scalar = GhostScalar::of_sender(&key(1), &key(2).public(), 0);
        let negated = PrivateKey::from_scalar(-scalar.0).expect("non-zero");
        assert_eq!(scalar.public(&negated.public()), Err(KeyError::Identity));
        assert_eq!(scalar.private(&negated).unwrap_err(), KeyError::Zero);
    }

    #[test]
    fn receiver_and_sender_should_agree_on_keys() {
        let (r, view, spend) = (key(1), key(2), key(3));
        for index in [0, 127, 128, 255, 16_384, u64::MAX] {
            let public = derive_public(&r, &view.public(), &spend.public(), index).expect("a key");
            let private = derive_private(&r.public(), &view, &spend, index).expect("a key");
            assert_eq!(private.public(), public);
            let scalar = GhostScalar::of_receiver(&view, &r.public(), index);
            assert_eq!(scalar.spend(&public), Ok(spend.public()));
            assert_eq!(GhostScalar::from_bytes(*scalar.to_bytes()), Ok(scalar));
        }
    }
}
