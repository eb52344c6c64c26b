//! Shares, partial signatures and their recovery.

use std::collections::{BTreeMap, BTreeSet};

use alloy_primitives::B256;
use blst::min_sig as blst_keys;
use blst::{BLST_ERROR, MultiPoint};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::scalar::{BITS, lagrange, powers, to_blst};
use super::{BlsError, DST, PublicKey, SecretKey, Signature};
use crate::account::MEMBERS_MAX;

/// The threshold of a group of `members`: n − ⌊(n − 1) / 3⌋ (DESIGN.md section 5).
pub const fn default_threshold(members: u8) -> u8 {
    members.saturating_sub(members.saturating_sub(1) / 3)
}

/// A majority must sign, and the ledger's scripts hold at most 64 members.
pub(crate) fn check_size(threshold: u8, members: usize) -> Result<(), GroupKeyError> {
    let majority = usize::from(threshold).saturating_mul(2) > members;
    if members == 0 || members > MEMBERS_MAX || usize::from(threshold) > members || !majority {
        return Err(GroupKeyError::Size { threshold, members });
    }
    Ok(())
}

/// The share of one member: the polynomial at its index.
#[derive(Debug)]
pub struct SecretShare {
    index: u8,
    secret: SecretKey,
}

impl SecretShare {
    /// The share of member `index` (1 to 64).
    ///
    /// # Errors
    /// Refuses other indexes.
    pub fn new(index: u8, secret: SecretKey) -> Result<Self, GroupKeyError> {
        if !(1..=MEMBERS_MAX).contains(&usize::from(index)) {
            return Err(GroupKeyError::Index(index));
        }
        Ok(Self { index, secret })
    }

    /// The member, counted from 1.
    pub const fn index(&self) -> u8 {
        self.index
    }

    /// The secret, to be written to a key file.
    pub const fn secret(&self) -> &SecretKey {
        &self.secret
    }

    /// What the group key file lists for this member.
    pub fn public_key(&self) -> PublicKey {
        self.secret.public_key()
    }

    /// This member's part of the group's signature.
    pub fn sign(&self, message: &[u8], dst: &[u8]) -> PartialSignature {
        PartialSignature { index: self.index, signature: self.secret.sign(message, dst).compress() }
    }

    /// This member's part of the group's signature over a digest under [`DST`].
    pub fn sign_digest(&self, digest: &B256) -> PartialSignature {
        self.sign(digest.as_slice(), DST)
    }
}

/// A member's part of a signature, as it came: nothing is checked yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartialSignature {
    /// The member, counted from 1.
    pub index: u8,
    /// A compressed point in G1.
    #[serde(with = "hex::serde")]
    pub signature: [u8; 48],
}

/// A recovered signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recovered {
    /// The group's signature, verified.
    pub signature: Signature,
    /// Members whose part was bad; suspects from now on. Empty when nobody had to be checked.
    pub culprits: BTreeSet<u8>,
}

/// The public side of a group's key: the key, the threshold, and each member's public share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupKey {
    threshold: u8,
    key: PublicKey,
    shares: Vec<PublicKey>,
}

impl GroupKey {
    /// The group key with the public shares of members 1 to n, in order. They must lie on one polynomial through the key,
    /// so that any `threshold` shares give the same signature.
    ///
    /// # Errors
    /// Refuses a threshold without majority, more than 64 members, and shares that do not belong to the key.
    pub fn new(threshold: u8, key: PublicKey, shares: Vec<PublicKey>) -> Result<Self, GroupKeyError> {
        check_size(threshold, shares.len())?;
        let group = Self { threshold, key, shares };
        // The key (at 0) and the first t − 1 shares fix the polynomial; every other share must lie on it.
        let places: Vec<u8> = (0..threshold).collect();
        let basis: Vec<_> =
            std::iter::once(&group.key).chain(&group.shares).take(places.len()).map(|key| *key.inner()).collect();
        for (index, share) in (1..).zip(&group.shares).skip(places.len().saturating_sub(1)) {
            let coefficients = lagrange(&places, index).ok_or(GroupKeyError::Shares { index })?;
            if basis.mult(&to_blst(&coefficients), BITS).to_public_key() != *share.inner() {
                return Err(GroupKeyError::Shares { index });
            }
        }
        Ok(group)
    }

    /// The group key of a polynomial whose coefficients are known times the generator; the first is the key, and their
    /// number is the threshold.
    ///
    /// # Errors
    /// As [`GroupKey::new`].
    pub fn from_commitments(commitments: &[PublicKey], members: u8) -> Result<Self, GroupKeyError> {
        let threshold = u8::try_from(commitments.len()).unwrap_or(u8::MAX);
        check_size(threshold, usize::from(members))?;
        let key = commitments.first().ok_or(GroupKeyError::Size { threshold, members: members.into() })?;
        let points: Vec<_> = commitments.iter().map(|key| *key.inner()).collect();
        let share = |index: u8| {
            let scalars = to_blst(&powers(index, points.len()));
            let share = points.mult(&scalars, BITS).to_public_key();
            // Commitments that cancel would give a share at infinity, which is no key.
            PublicKey::from_bytes(&share.compress()).map_err(GroupKeyError::from)
        };
        let shares = (1..=members).map(share).collect::<Result<_, _>>()?;
        Self::new(threshold, *key, shares)
    }

    /// Signatures needed.
    pub const fn threshold(&self) -> u8 {
        self.threshold
    }

    /// The key that the contracts hold.
    pub const fn key(&self) -> &PublicKey {
        &self.key
    }

    /// The public shares of members 1 to n.
    pub fn shares(&self) -> &[PublicKey] {
        &self.shares
    }

    /// The public share of a member, counted from 1.
    pub fn share(&self, index: u8) -> Option<&PublicKey> {
        self.shares.get(usize::from(index).checked_sub(1)?)
    }

    /// True if the part is its member's over `message`: one pairing.
    pub fn verify_partial(&self, message: &[u8], dst: &[u8], partial: &PartialSignature) -> bool {
        let signature = Signature::from_bytes(&partial.signature);
        let share = self.share(partial.index);
        share.zip(signature.ok()).is_some_and(|(share, signature)| share.verify(message, dst, &signature))
    }

    /// Recovers the group's signature over a digest under [`DST`]; see [`GroupKey::recover`].
    ///
    /// # Errors
    /// As [`GroupKey::recover`].
    pub fn recover_digest(
        &self,
        digest: &B256,
        partials: &[PartialSignature],
        suspects: &BTreeSet<u8>,
    ) -> Result<Recovered, RecoverError> {
        self.recover(digest.as_slice(), DST, partials, suspects)
    }

    /// Recovers the group's signature, optimistically: the first `threshold` parts are combined unchecked and the result
    /// is verified once. Only when that fails is each part checked against its member's public share; the bad ones are
    /// named, and the rest is used if it suffices. Parts of `suspects` (culprits of earlier recoveries) are used last and
    /// checked first, so that one liar slows the group down only once.
    ///
    /// Of two parts of one member the first counts; parts of nobody are passed over.
    ///
    /// # Errors
    /// Too few good parts; names the culprits found on the way.
    pub fn recover(
        &self,
        message: &[u8],
        dst: &[u8],
        partials: &[PartialSignature],
        suspects: &BTreeSet<u8>,
    ) -> Result<Recovered, RecoverError> {
        let need = usize::from(self.threshold);
        let mut culprits = BTreeSet::new();
        let (mut open, mut doubtful) = (Vec::new(), Vec::new());
        for part in self.decompress(partials, &mut culprits) {
            if suspects.contains(&part.index) { doubtful.push(part) } else { open.push(part) }
        }
        let mut doubtful = doubtful.into_iter();
        let mut chosen: Vec<_> = open.iter().take(need).copied().collect();
        self.top_up(&mut chosen, &mut doubtful, message, dst, &mut culprits);
        if chosen.len() >= need
            && let Some(signature) = self.combine(&chosen, message, dst)
        {
            return Ok(Recovered { signature, culprits });
        }
        // Someone lied, or parts are missing. Check them all, once, and go on with the good ones.
        let known: Vec<_> = chosen.into_iter().filter(|part| suspects.contains(&part.index)).collect();
        let mut good = Vec::new();
        self.top_up_all(&mut good, open, message, dst, &mut culprits);
        good.extend(known);
        self.top_up(&mut good, &mut doubtful, message, dst, &mut culprits);
        if good.len() < need {
            return Err(RecoverError::TooFew { need, good: good.len(), culprits });
        }
        good.truncate(need);
        let signature = self.combine(&good, message, dst).ok_or(RecoverError::Inconsistent)?;
        Ok(Recovered { signature, culprits })
    }

    /// One part per member, as points of the curve. What is not even that makes a culprit.
    fn decompress(&self, partials: &[PartialSignature], culprits: &mut BTreeSet<u8>) -> Vec<Part> {
        let mut seen = BTreeMap::new();
        let mut parts = Vec::new();
        for PartialSignature { index, signature } in partials {
            if self.share(*index).is_none() || seen.insert(*index, ()).is_some() {
                continue;
            }
            match Signature::uncompress_unchecked(signature) {
                Ok(point) => parts.push(Part { index: *index, point }),
                Err(_) => {
                    culprits.insert(*index);
                }
            }
        }
        parts
    }

    /// Checks parts until there are enough good ones.
    fn top_up(
        &self,
        good: &mut Vec<Part>,
        doubtful: &mut impl Iterator<Item = Part>,
        message: &[u8],
        dst: &[u8],
        culprits: &mut BTreeSet<u8>,
    ) {
        while good.len() < usize::from(self.threshold)
            && let Some(part) = doubtful.next()
        {
            self.top_up_all(good, [part], message, dst, culprits);
        }
    }

    /// Checks each part: into `good`, or its member into `culprits`.
    fn top_up_all(
        &self,
        good: &mut Vec<Part>,
        parts: impl IntoIterator<Item = Part>,
        message: &[u8],
        dst: &[u8],
        culprits: &mut BTreeSet<u8>,
    ) {
        for part in parts {
            let share = self.share(part.index);
            let status = share.map(|key| part.point.verify(true, message, dst, &[], key.inner(), false));
            if status == Some(BLST_ERROR::BLST_SUCCESS) {
                good.push(part);
            } else {
                culprits.insert(part.index);
            }
        }
    }

    /// The signature that these parts give, if it is the group's.
    fn combine(&self, parts: &[Part], message: &[u8], dst: &[u8]) -> Option<Signature> {
        let places: Vec<_> = parts.iter().map(|part| part.index).collect();
        let points: Vec<_> = parts.iter().map(|part| part.point).collect();
        if points.is_empty() {
            return None;
        }
        let sum = points.mult(&to_blst(&lagrange(&places, 0)?), BITS).to_signature();
        Signature::validated(sum).ok().filter(|signature| self.key.verify(message, dst, signature))
    }
}

/// A part as a point of the curve, perhaps outside the subgroup.
#[derive(Clone, Copy)]
struct Part {
    index: u8,
    point: blst_keys::Signature,
}

/// Why a group key cannot be.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum GroupKeyError {
    /// A threshold without majority or above the members, or a number of members that is not 1 to 64.
    #[error("{threshold} of {members} is not a majority of 1 to 64 members")]
    Size {
        /// Signatures needed.
        threshold: u8,
        /// Members.
        members: usize,
    },
    /// An index that no member has.
    #[error("member index {0} is not 1 to 64")]
    Index(u8),
    /// A share that does not lie on the polynomial of the key and the shares before it.
    #[error("the public share of member {index} does not belong to the group key")]
    Shares {
        /// The first such member.
        index: u8,
    },
    /// A key that is none.
    #[error(transparent)]
    Key(#[from] BlsError),
}

/// Why a signature could not be recovered.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum RecoverError {
    /// Not enough good parts: pull more, but not from the culprits.
    #[error("{good} good partial signatures of {need} needed; bad ones from members {culprits:?}")]
    TooFew {
        /// The threshold.
        need: usize,
        /// Parts that are good, checked or not.
        good: usize,
        /// Members whose part was bad.
        culprits: BTreeSet<u8>,
    },
    /// Good parts that do not give the group's signature: the public shares do not belong to the group key.
    #[error("good partial signatures do not give a signature of the group key")]
    Inconsistent,
}

#[cfg(test)]
#[expect(clippy::arithmetic_side_effects, reason = "small numbers of a test")]
mod tests {
    use super::super::Dealing;
    use super::*;

    const DIGEST: B256 = B256::repeat_byte(0xd1);

    fn dealing() -> Dealing {
        Dealing::from_seed(&[9; 32], 3, 5).expect("a dealing")
    }

    fn parts(dealing: &Dealing, indexes: &[u8]) -> Vec<PartialSignature> {
        indexes.iter().map(|index| dealing.shares[usize::from(*index) - 1].sign_digest(&DIGEST)).collect()
    }

    fn recover(dealing: &Dealing, parts: &[PartialSignature], suspects: &[u8]) -> Result<Recovered, RecoverError> {
        dealing.group.recover_digest(&DIGEST, parts, &suspects.iter().copied().collect())
    }

    /// Every kind of bad part: another message, another member's, outside the subgroup, infinity, no point.
    fn bad_parts(dealing: &Dealing, index: u8) -> Vec<PartialSignature> {
        let own = |signature| PartialSignature { index, signature };
        let (mut outside, mut infinity) = ([0; 48], [0; 48]);
        (outside[0], outside[47], infinity[0]) = (0x80, 4, 0xc0);
        let other = dealing.shares[usize::from(index) % 5].sign_digest(&DIGEST);
        vec![
            dealing.shares[usize::from(index) - 1].sign_digest(&B256::ZERO),
            own(other.signature),
            own(outside),
            own(infinity),
            own([0xff; 48]),
        ]
    }

    #[test]
    fn too_few_parts_should_be_refused() {
        let dealing = dealing();
        assert_eq!(
            recover(&dealing, &[], &[]),
            Err(RecoverError::TooFew { need: 3, good: 0, culprits: BTreeSet::new() })
        );
        // Repetitions and parts of nobody do not count.
        let mut parts = parts(&dealing, &[1, 1, 2]);
        parts.extend([0, 6, 255].map(|index| PartialSignature { index, ..parts[0] }));
        assert_eq!(
            recover(&dealing, &parts, &[]),
            Err(RecoverError::TooFew { need: 3, good: 2, culprits: BTreeSet::new() })
        );
    }

    #[test]
    fn bad_parts_should_name_their_member() {
        let dealing = dealing();
        for bad in bad_parts(&dealing, 2) {
            let few = [parts(&dealing, &[1, 4]), vec![bad]].concat();
            let culprits = BTreeSet::from([2]);
            let refused = RecoverError::TooFew { need: 3, good: 2, culprits: culprits.clone() };
            assert_eq!(recover(&dealing, &few, &[]), Err(refused.clone()));
            assert_eq!(recover(&dealing, &few, &[2]), Err(refused));
            let enough = [vec![bad], parts(&dealing, &[1, 3, 4])].concat();
            let recovered = recover(&dealing, &enough, &[]).expect("three good parts");
            assert_eq!(recovered.culprits, culprits);
            assert!(dealing.group.key().verify_digest(&DIGEST, &recovered.signature));
            assert!(!dealing.group.verify_partial(DIGEST.as_slice(), DST, &bad));
        }
    }

    #[test]
    fn suspects_should_be_used_last() {
        let dealing = dealing();
        let bad = bad_parts(&dealing, 2)[0];
        let parts = [vec![bad], parts(&dealing, &[1, 3, 4])].concat();
        // Nobody is checked, so nobody is named.
        assert_eq!(recover(&dealing, &parts, &[2]).expect("good parts").culprits, BTreeSet::new());
        // Needed, so checked first.
        assert_eq!(recover(&dealing, &parts, &[2, 4]).expect("good parts").culprits, BTreeSet::from([2]));
        assert_eq!(recover(&dealing, &parts, &[1, 2, 3, 4]).expect("good parts").culprits, BTreeSet::from([2]));
        // A bad part of somebody trusted beside a good one of a suspect.
        let recovered = recover(&dealing, &[parts, super::tests::parts(&dealing, &[5])].concat(), &[1, 3]);
        assert_eq!(recovered.expect("good parts").culprits, BTreeSet::from([2]));
    }

    #[test]
    fn any_threshold_of_parts_should_give_one_signature() {
        let dealing = dealing();
        let expected = recover(&dealing, &parts(&dealing, &[1, 2, 3]), &[]).expect("three parts").signature;
        for indexes in [[5, 4, 3], [1, 3, 5], [4, 1, 2]] {
            assert_eq!(recover(&dealing, &parts(&dealing, &indexes), &[]).expect("three parts").signature, expected);
        }
        assert!(dealing.group.key().verify_digest(&DIGEST, &expected));
    }

    #[test]
    fn the_largest_group_and_the_smallest_should_recover() {
        for (threshold, members) in [(43, 64), (1, 1), (64, 64)] {
            assert!(threshold >= default_threshold(members));
            let dealing = Dealing::from_seed(&[1; 32], threshold, members).expect("a dealing");
            let parts: Vec<_> = dealing.shares.iter().map(|share| share.sign_digest(&DIGEST)).collect();
            assert_eq!(recover(&dealing, &parts, &[]).expect("all parts").culprits, BTreeSet::new());
        }
    }

    #[test]
    fn shares_of_another_key_should_be_refused() {
        let (one, two) = (dealing(), Dealing::from_seed(&[8; 32], 3, 5).expect("a dealing"));
        let shares = one.group.shares().to_vec();
        let refused = GroupKey::new(3, *two.group.key(), shares.clone());
        assert_eq!(refused, Err(GroupKeyError::Shares { index: 3 }));
        let mut swapped = shares;
        swapped.swap(3, 4);
        let refused = GroupKey::new(3, *one.group.key(), swapped);
        assert_eq!(refused, Err(GroupKeyError::Shares { index: 4 }));
        let secret = SecretKey::derive(&[1; 32], b"").expect("a key");
        assert_eq!(SecretShare::new(0, secret).err(), Some(GroupKeyError::Index(0)));
    }

    #[test]
    fn default_thresholds_should_be_those_of_the_design() {
        for (members, threshold) in [(1, 1), (4, 3), (5, 4), (7, 5), (10, 7), (20, 14), (64, 43)] {
            assert_eq!(default_threshold(members), threshold);
        }
    }
}
