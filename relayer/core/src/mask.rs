//! The accounts under which private processes see their users (DERIVATION.md A, "Masked sender").
//!
//! A contract of a private process, and whoever reads its chain, sees keccak of the group's signature over (process, account)
//! in the place of the account. Fewer than t members cannot compute it, so nobody can tell who a user is, nor that users of
//! two processes are the same one. It never changes: a mask that was used is kept, whatever key comes after.

use alloy_primitives::{B256, keccak256};
use uuid::Uuid;

use crate::Account;
use crate::bls::Signature;

/// Ciphersuite of masks. It differs from [`crate::bls::DST`] and from that of seeds, so a part of a mask is a part of nothing
/// else.
pub const MASK_DST: &[u8] = b"BLS_SIG_BLS12381G1_XMD:SHA-256_SSWU_RO_LOCKSTEP-V1-MASK_";
/// Domain of the digests that masks are made from signatures over.
const DOMAIN: &[u8] = b"lockstep/v1/masked-sender";

/// A sender of a private process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct MaskPair {
    /// The private process.
    pub process: Uuid,
    /// The sender as every other process would see it.
    pub account: Account,
}

impl MaskPair {
    /// What the group signs under [`MASK_DST`]: keccak(keccak("lockstep/v1/masked-sender") ‖ group id 32 ‖ process 16 ‖
    /// account 32). Frozen in `vectors/lockstep.json`.
    pub fn digest(&self, group_id: &B256) -> B256 {
        let domain = keccak256(DOMAIN);
        let Self { process, account } = self;
        keccak256([domain.as_slice(), group_id.as_slice(), process.as_bytes(), account.0.as_slice()].concat())
    }
}

/// The account that is shown: keccak of the group's compressed signature over [`MaskPair::digest`] under [`MASK_DST`], which
/// the caller has verified.
pub fn masked(signature: &Signature) -> Account {
    Account(keccak256(signature.compress()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bls::{DST, Dealing};

    #[test]
    fn every_part_should_change_the_digest() {
        let (group, process) = (B256::repeat_byte(1), Uuid::from_u128(2));
        let account = Account::of_user(Uuid::from_u128(3));
        let pair = MaskPair { process, account };
        let digests = [
            pair.digest(&group),
            pair.digest(&B256::repeat_byte(9)),
            MaskPair { process: Uuid::from_u128(9), ..pair }.digest(&group),
            MaskPair { account: Account::of_user(Uuid::from_u128(9)), ..pair }.digest(&group),
        ];
        assert_eq!(digests.iter().collect::<std::collections::BTreeSet<_>>().len(), digests.len());
    }

    /// Any t members make the same mask, fewer none, and what they sign for it is no signature of anything else.
    #[test]
    fn a_mask_should_need_t_members_and_depend_on_none_of_them() {
        let dealing = Dealing::from_seed(&[3; 32], 3, 4).expect("a dealing");
        let pair = MaskPair { process: Uuid::from_u128(1), account: Account::of_user(Uuid::from_u128(2)) };
        let digest = pair.digest(&B256::repeat_byte(7));
        let parts: Vec<_> = dealing.shares.iter().map(|share| share.sign(digest.as_slice(), MASK_DST)).collect();
        let signature = |parts: &[_]| {
            let recovered = dealing.group.recover(digest.as_slice(), MASK_DST, parts, &Default::default());
            recovered.ok().map(|recovered| recovered.signature)
        };
        let whole = signature(&parts[..3]).expect("three of three");
        assert_eq!(signature(&parts[1..]).as_ref().map(masked), Some(masked(&whole)));
        assert_eq!(signature(&parts[..2]), None);
        assert!(!dealing.group.key().verify(digest.as_slice(), DST, &whole));
    }
}
