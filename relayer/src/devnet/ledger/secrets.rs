//! Everything that the server keeps to itself or draws at random, as functions of its seed: the same seed and the same
//! calls give the same ledger.

use std::fmt;

use lockstep_core::mixin::{GhostScalar, KeyError, PrivateKey, PublicKey};
use lockstep_core::{B256, Uuid};
use sha2::{Digest, Sha256, Sha512};
use zeroize::Zeroizing;

use super::refusal::CallError;
use super::users::User;

/// Steps between two sequences are 1 to this.
const GAP_MAX: u64 = 9;

/// The seed.
pub(crate) struct Secrets(Zeroizing<[u8; 32]>);

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secrets(…)")
    }
}

impl Secrets {
    pub(crate) fn new(seed: [u8; 32]) -> Self {
        Self(Zeroizing::new(seed))
    }

    /// What a database keeps to know its seed again, without holding it.
    pub(crate) fn fingerprint(&self) -> String {
        hex::encode(Sha256::digest(self.seed_for("fingerprint", &[]).as_slice()))
    }

    /// The private view key of a user, which the API computes `views` with.
    pub(crate) fn view_key(&self, user: Uuid) -> Result<PrivateKey, CallError> {
        self.key("view", &[user.as_bytes()])
    }

    /// The mask secret r of the keys for one question.
    pub(crate) fn mask_secret(&self, scope: &str, hint: Uuid, index: u16) -> Result<PrivateKey, CallError> {
        self.key("mask", &[scope.as_bytes(), hint.as_bytes(), &index.to_be_bytes()])
    }

    /// The key that pays `user` under the mask secret `r`.
    pub(crate) fn one_time_key(&self, r: &PrivateKey, user: &User, index: u16) -> Result<PublicKey, CallError> {
        let unreadable = |_: KeyError| CallError::Corrupt("spend key");
        let view = self.view_key(user.id)?.public();
        let spend = PublicKey::from_bytes(user.spend_public).map_err(unreadable)?;
        GhostScalar::of_sender(r, &view, index.into()).public(&spend).map_err(unreadable)
    }

    /// What `user` adds to its spend key to sign for a coin (`views`).
    pub(crate) fn view(&self, user: Uuid, mask: &PublicKey, index: u16) -> Result<[u8; 32], CallError> {
        let scalar = GhostScalar::of_receiver(&self.view_key(user)?, mask, index.into());
        Ok(*scalar.to_bytes())
    }

    /// The key that vouches for deposits.
    pub(crate) fn custodian(&self) -> Result<PrivateKey, CallError> {
        self.key("custodian", &[])
    }

    /// The key that clients know the server by.
    pub(crate) fn server_public(&self) -> Result<PublicKey, CallError> {
        Ok(self.key("server", &[])?.public())
    }

    /// The name of this network.
    pub(crate) fn network(&self) -> [u8; 32] {
        self.name("network", &[])
    }

    /// The name of one of its nodes.
    pub(crate) fn node(&self, number: u16) -> [u8; 32] {
        self.name("node", &[&number.to_be_bytes()])
    }

    /// The step from the sequence `last` to the next one.
    pub(crate) fn gap(&self, last: u64) -> u64 {
        let draw = self.seed_for("gap", &[&last.to_be_bytes()]);
        let byte = draw.first().copied().unwrap_or_default();
        u64::from(byte).rem_euclid(GAP_MAX).saturating_add(1)
    }

    /// A share of 0 to `max` for a transaction.
    pub(crate) fn share(&self, transaction: B256, max: u64) -> u64 {
        let draw = self.seed_for("share", &[transaction.as_slice()]);
        let draw = draw.first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes));
        max.checked_add(1).map_or(draw, |steps| draw.rem_euclid(steps))
    }

    /// The snapshot that makes a transaction final.
    pub(crate) fn snapshot(&self, transaction: B256) -> [u8; 32] {
        self.name("snapshot", &[transaction.as_slice()])
    }

    /// The snapshot by which one node has a transaction that reached several nodes at once.
    pub(crate) fn snapshot_at(&self, node: u16, transaction: B256) -> [u8; 32] {
        self.name("snapshot of node", &[&node.to_be_bytes(), transaction.as_slice()])
    }

    fn name(&self, purpose: &str, parts: &[&[u8]]) -> [u8; 32] {
        *self.seed_for(purpose, parts).first_chunk().unwrap_or(&[0; 32])
    }

    fn key(&self, purpose: &str, parts: &[&[u8]]) -> Result<PrivateKey, CallError> {
        PrivateKey::from_seed(&self.seed_for(purpose, parts)).map_err(|_| CallError::Corrupt("seed"))
    }

    /// SHA-512 of purpose, seed and parts, each with its length, so that no two questions meet.
    fn seed_for(&self, purpose: &str, parts: &[&[u8]]) -> Zeroizing<[u8; 64]> {
        let mut hash = Sha512::new();
        for part in [purpose.as_bytes(), self.0.as_slice()].iter().chain(parts) {
            hash.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
            hash.update(part);
        }
        let mut bytes = Zeroizing::new([0; 64]);
        bytes.copy_from_slice(&hash.finalize());
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_and_steps_should_stay_within_their_bounds() {
        let secrets = Secrets::new([1; 32]);
        let of = |byte: u8, max| secrets.share(B256::repeat_byte(byte), max);
        assert!((0..=u8::MAX).all(|byte| of(byte, 0) == 0 && of(byte, 9) <= 9));
        let drawn: std::collections::BTreeSet<u64> = (0..=u8::MAX).map(|byte| of(byte, 9)).collect();
        assert_eq!(drawn.len(), 10, "all of them come");
        assert_ne!(of(1, u64::MAX), of(2, u64::MAX));
        let steps: std::collections::BTreeSet<u64> = (0..1_000).map(|last| secrets.gap(last)).collect();
        assert_eq!(steps, (1..=GAP_MAX).collect());
    }
}
