//! Aggregated signatures (kernel `crypto/aggregation.go`): one signature of many keys. Lockstep never makes one, but other
//! users' transactions carry them.

use alloy_primitives::B256;
use curve25519_dalek::{EdwardsPoint, Scalar};
use sha2::{Digest, Sha512};

use super::key::{PublicKey, RawKey};
use super::signature::Signature;

const COEFFICIENT_DOMAIN: &[u8] = b"mixin-aggregate-coefficient-v1";

/// True if the keys at `signers`, which must ascend and exist, signed `hash` together.
pub fn verify(signature: &Signature, keys: &[RawKey], signers: &[u16], hash: &B256) -> bool {
    aggregated_key(keys, signers).is_some_and(|key| signature.verify(&key, hash))
}

/// Σ cᵢ·Pᵢ with cᵢ = SHA-512(domain ‖ transcript ‖ index ‖ key), the transcript naming every signer and its key.
#[expect(clippy::arithmetic_side_effects, reason = "curve and scalar operations are total")]
fn aggregated_key(keys: &[RawKey], signers: &[u16]) -> Option<PublicKey> {
    if signers.is_empty() || !signers.is_sorted_by(|a, b| a < b) {
        return None;
    }
    let mut transcript = u32::try_from(signers.len()).ok()?.to_be_bytes().to_vec();
    let mut chosen = Vec::with_capacity(signers.len());
    for signer in signers {
        let key = keys.get(usize::from(*signer))?.check().ok()?;
        let index = u32::from(*signer).to_be_bytes();
        transcript.extend_from_slice(&index);
        transcript.extend_from_slice(&key.to_bytes());
        chosen.push((index, key));
    }
    let prefix = Sha512::new().chain_update(COEFFICIENT_DOMAIN).chain_update(&transcript);
    let weighted = chosen.iter().map(|(index, key)| {
        let digest = prefix.clone().chain_update(index).chain_update(key.to_bytes());
        Scalar::from_hash(digest) * key.point()
    });
    PublicKey::from_point(weighted.sum::<EdwardsPoint>()).ok()
}
