//! The secret that a payout's output keys come from (DERIVATION.md C1).
//!
//! The ledger's keys are unique for ever, and one that is used first by somebody else kills the payload that pays to it. So
//! the hints under which the key service makes keys, and the secrets of keys that are made here, come from a *seed*: the
//! group's BLS signature over (payout, attempt). It is the same whichever t members make it, and fewer cannot.

use std::fmt;

use alloy_primitives::{B256, keccak256};
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::Mix;
use crate::bls::Signature;
use crate::mixin::{KeyError, PrivateKey};

/// Ciphersuite of seeds. It differs from [`crate::bls::DST`], so a part of a seed is a part of nothing that a contract or a
/// decision is verified with, and the other way round.
pub const SEED_DST: &[u8] = b"BLS_SIG_BLS12381G1_XMD:SHA-256_SSWU_RO_LOCKSTEP-V1-SEED_";
/// Domain of the digests that seeds are signatures over.
const SEED_DOMAIN: &[u8] = b"lockstep/v1/seed";
/// Domain of the mask secrets of outputs to bare kernel addresses.
const MASK_DOMAIN: &[u8] = b"lockstep/v1/mask";

/// What the group signs under [`SEED_DST`] to make the seed of an attempt: keccak(keccak("lockstep/v1/seed") ‖ group id 32 ‖
/// trace 16 ‖ attempt u32). Frozen in `vectors/lockstep.json`.
pub fn seed_digest(group_id: &B256, trace: Uuid, attempt: u32) -> B256 {
    let domain = keccak256(SEED_DOMAIN);
    keccak256([domain.as_slice(), group_id.as_slice(), trace.as_bytes(), &attempt.to_be_bytes()].concat())
}

/// 32 bytes that outsiders cannot know. Wiped when dropped, never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Seed(Zeroizing<[u8; 32]>);

impl Seed {
    /// The seed of a payout's attempt: keccak of the group's compressed signature over [`seed_digest`] under [`SEED_DST`],
    /// which the caller has verified.
    pub fn of_signature(signature: &Signature) -> Self {
        Self::new(keccak256(signature.compress()).0)
    }

    /// The seed of a payment that one party makes alone, from its own secret.
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// The bytes, to be compared with what is frozen.
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }

    /// The hint under which the key service makes the keys of output `index` for `receivers`: UUIDv5 in the namespace of the
    /// trace, of `hint/<attempt>/<index>/<seed in hex>/<MIX payload of the receivers in hex>`. Another attempt, output or
    /// receiver never shares keys with this one. As secret as the seed, until the payment is on the ledger.
    pub fn hint(&self, trace: Uuid, attempt: u32, index: u16, receivers: &Mix) -> Uuid {
        let seed = Zeroizing::new(hex::encode(self.expose()));
        let name = format!("hint/{attempt}/{index}/{}/{}", *seed, hex::encode(receivers.to_payload()));
        Uuid::new_v5(&trace, Zeroizing::new(name).as_bytes())
    }

    /// The secret r behind the mask R = r·B of output `index` to `receivers`, who are bare addresses: the 64 bytes of two
    /// keccak halves of keccak("lockstep/v1/mask") ‖ seed ‖ trace 16 ‖ output index u16 ‖ half u8 (0, 1) ‖ MIX payload of
    /// the receivers, reduced as one little-endian number. The attempt is in the seed. Frozen in `vectors/lockstep.json`.
    ///
    /// # Errors
    /// [`KeyError::Zero`], which no hash gives.
    pub fn mask_secret(&self, trace: Uuid, index: u16, receivers: &Mix) -> Result<PrivateKey, KeyError> {
        let (domain, payload) = (keccak256(MASK_DOMAIN), receivers.to_payload());
        let half = |number: u8| {
            let place = [&index.to_be_bytes()[..], &[number], &payload].concat();
            let bytes = [domain.as_slice(), self.expose(), trace.as_bytes(), &place].concat();
            keccak256(Zeroizing::new(bytes))
        };
        let mut wide = Zeroizing::new([0; 64]);
        wide.copy_from_slice(&[half(0).0, half(1).0].concat());
        PrivateKey::from_seed(&wide)
    }
}

impl fmt::Debug for Seed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Seed(hidden)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MixMember;
    use crate::bls::{DST, Dealing, SecretKey};

    const TRACE: Uuid = Uuid::from_u128(0xaaaa);

    fn user(number: u128) -> Mix {
        Mix::of_users([Uuid::from_u128(number)], 1)
    }

    #[test]
    fn a_seed_should_not_be_shown() {
        assert_eq!(format!("{:?}", Seed::new([7; 32])), "Seed(hidden)");
    }

    #[test]
    fn every_part_should_change_the_hint_and_the_mask() {
        let (seed, to) = (Seed::new([7; 32]), user(1));
        let hints = [
            seed.hint(TRACE, 0, 0, &to),
            Seed::new([8; 32]).hint(TRACE, 0, 0, &to),
            seed.hint(Uuid::nil(), 0, 0, &to),
            seed.hint(TRACE, 1, 0, &to),
            seed.hint(TRACE, 0, 1, &to),
            seed.hint(TRACE, 0, 0, &user(2)),
            seed.hint(TRACE, 0, 0, &Mix::of_users([Uuid::from_u128(1)], 2)),
        ];
        assert_eq!(hints.iter().collect::<std::collections::BTreeSet<_>>().len(), hints.len());
        let address = |byte| Mix::new(vec![MixMember::Address([byte; 32], [byte; 32])], 1);
        let mask =
            |seed: &Seed, trace, index, to: &Mix| *seed.mask_secret(trace, index, to).expect("a secret").to_bytes();
        let masks = [
            mask(&seed, TRACE, 0, &address(1)),
            mask(&Seed::new([8; 32]), TRACE, 0, &address(1)),
            mask(&seed, Uuid::nil(), 0, &address(1)),
            mask(&seed, TRACE, 1, &address(1)),
            mask(&seed, TRACE, 0, &address(2)),
        ];
        assert_eq!(masks.iter().collect::<std::collections::BTreeSet<_>>().len(), masks.len());
    }

    /// Any t members make the same seed, and fewer none.
    #[test]
    fn a_seed_should_need_t_members_and_depend_on_none_of_them() {
        let dealing = Dealing::from_seed(&[3; 32], 3, 4).expect("a dealing");
        let digest = seed_digest(&B256::repeat_byte(7), TRACE, 0);
        let parts: Vec<_> = dealing.shares.iter().map(|share| share.sign(digest.as_slice(), SEED_DST)).collect();
        let seed = |parts: &[_]| {
            let recovered = dealing.group.recover(digest.as_slice(), SEED_DST, parts, &Default::default());
            recovered.ok().map(|recovered| Seed::of_signature(&recovered.signature))
        };
        assert!(seed(&parts[..3]).is_some());
        assert_eq!(seed(&parts[..3]), seed(&parts[1..]));
        assert_eq!(seed(&parts[..2]), None);
    }

    /// Whoever gets members to sign a seed has no signature of a checkpoint, a decision or an action of governance by it,
    /// even over the same 32 bytes; and a published checkpoint's signature is no seed.
    #[test]
    fn a_seeds_signature_should_be_good_for_nothing_else() {
        let (key, digest) = (SecretKey::derive(&[1; 32], b"test").expect("a key"), B256::repeat_byte(9));
        let (public, seed) = (key.public_key(), key.sign(digest.as_slice(), SEED_DST));
        assert!(public.verify(digest.as_slice(), SEED_DST, &seed));
        assert!(!public.verify_digest(&digest, &seed));
        assert!(!public.verify(digest.as_slice(), SEED_DST, &key.sign_digest(&digest)));
        assert_ne!(SEED_DST, DST);
    }
}
