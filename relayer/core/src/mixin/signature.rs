//! Signatures of scalars, verified by ordinary ed25519 rules (kernel `crypto/signature.go`).

use std::fmt;
use std::str::FromStr;

use alloy_primitives::B256;
use ed25519_dalek::VerifyingKey;
use ed25519_dalek::hazmat::{ExpandedSecretKey, raw_sign};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest, Sha512};
use zeroize::Zeroizing;

use super::key::{PrivateKey, PublicKey};

/// R ‖ s, 64 bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Signature(pub [u8; 64]);

impl Signature {
    /// Signs a 32-byte hash. The nonce is SHA-512(second half of SHA-512(key) ‖ hash), so equal inputs give equal
    /// signatures and different hashes never share a nonce.
    pub fn sign(key: &PrivateKey, hash: &B256) -> Self {
        let mut digest = Zeroizing::new([0; 64]);
        digest.copy_from_slice(&Sha512::digest(key.to_bytes().as_slice()));
        let hash_prefix = *digest.last_chunk::<32>().map_or(&[0; 32], |half| half);
        let secret = ExpandedSecretKey { scalar: *key.scalar(), hash_prefix };
        let public = VerifyingKey::from(*key.public().point());
        Self(raw_sign::<Sha512>(&secret, hash.as_slice(), &public).to_bytes())
    }

    /// True if `key` signed `hash`: canonical s, and R equal to s·B − c·A and not the identity. The kernel also asks that
    /// R is canonical and of prime order, which follows since A is.
    pub fn verify(&self, key: &PublicKey, hash: &B256) -> bool {
        let signature = ed25519_dalek::Signature::from_bytes(&self.0);
        VerifyingKey::from(*key.point()).verify_strict(hash.as_slice(), &signature).is_ok()
    }
}

impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signature({self})")
    }
}

impl FromStr for Signature {
    type Err = hex::FromHexError;

    fn from_str(text: &str) -> Result<Self, hex::FromHexError> {
        let mut bytes = [0; 64];
        hex::decode_to_slice(text, &mut bytes)?;
        Ok(Self(bytes))
    }
}

impl Serialize for Signature {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Signature {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> PrivateKey {
        PrivateKey::from_ed25519_seed(&[9; 32])
    }

    #[test]
    fn any_changed_byte_should_break_a_signature() {
        let (hash, public) = (B256::repeat_byte(1), key().public());
        let good = Signature::sign(&key(), &hash);
        assert!(good.verify(&public, &hash));
        for at in 0..64 {
            let mut bad = good;
            bad.0[at] ^= 1;
            assert!(!bad.verify(&public, &hash), "byte {at}");
        }
        assert!(!good.verify(&public, &B256::repeat_byte(2)));
        assert!(!good.verify(&PrivateKey::from_ed25519_seed(&[8; 32]).public(), &hash));
    }

    #[test]
    fn a_nonce_point_at_the_identity_should_be_refused() {
        // s = c·a and R = identity satisfies the plain equation; the kernel refuses the point.
        let (hash, key) = (B256::repeat_byte(1), key());
        let mut nonce = [0; 32];
        nonce[0] = 1;
        let challenge = Sha512::new().chain_update(nonce).chain_update(key.public().to_bytes()).chain_update(hash);
        let challenge = curve25519_dalek::Scalar::from_hash(challenge);
        let mut forged = Signature([0; 64]);
        forged.0[..32].copy_from_slice(&nonce);
        forged.0[32..].copy_from_slice((challenge * key.scalar()).as_bytes());
        assert!(!forged.verify(&key.public(), &hash));
    }
}
