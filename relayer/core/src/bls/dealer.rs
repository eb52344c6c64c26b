//! A dealer, for tests only: one party makes the group key and all shares, which takes a moment where a ceremony takes many.
//! Members make theirs with [`crate::dkg`], and the binary has no dealer.

use alloy_primitives::U256;
use zeroize::Zeroize;

use super::scalar::ORDER;
use super::threshold::check_size;
use super::{BlsError, GroupKey, GroupKeyError, PublicKey, SecretKey, SecretShare};

/// Domain of the coefficients derived from a seed.
const DOMAIN: &[u8] = b"lockstep/v1/dealer";

/// A dealt group key. Shares are wiped when dropped.
#[derive(Debug)]
pub struct Dealing {
    /// The public side.
    pub group: GroupKey,
    /// The shares of members 1 to n, in order.
    pub shares: Vec<SecretShare>,
    /// The polynomial's coefficients times the generator; the first is the group key.
    pub commitments: Vec<PublicKey>,
}

impl Dealing {
    /// Deals for `members` members of which `threshold` sign, from 32 bytes of entropy of the caller.
    ///
    /// # Errors
    /// Refuses sizes that [`GroupKey::new`] refuses.
    pub fn from_seed(seed: &[u8; 32], threshold: u8, members: u8) -> Result<Self, GroupKeyError> {
        check_size(threshold, usize::from(members))?;
        let coefficient = |place: u8| SecretKey::derive(seed, &[DOMAIN, &[place]].concat());
        let coefficients = (0..threshold).map(coefficient).collect::<Result<Vec<_>, BlsError>>()?;
        Self::from_coefficients(&coefficients, members)
    }

    /// Deals the polynomial with these coefficients, constant first; the threshold is their number.
    ///
    /// # Errors
    /// Refuses sizes that [`GroupKey::new`] refuses.
    pub fn from_coefficients(coefficients: &[SecretKey], members: u8) -> Result<Self, GroupKeyError> {
        let threshold = u8::try_from(coefficients.len()).unwrap_or(u8::MAX);
        check_size(threshold, usize::from(members))?;
        let share = |index: u8| SecretShare::new(index, evaluate(coefficients, index)?);
        let shares = (1..=members).map(share).collect::<Result<Vec<_>, GroupKeyError>>()?;
        let commitments: Vec<_> = coefficients.iter().map(SecretKey::public_key).collect();
        let key = commitments.first().copied().ok_or(GroupKeyError::Size { threshold, members: members.into() })?;
        let group = GroupKey::new(threshold, key, shares.iter().map(SecretShare::public_key).collect())?;
        Ok(Self { group, shares, commitments })
    }
}

/// The polynomial at `x`, by Horner's rule.
fn evaluate(coefficients: &[SecretKey], x: u8) -> Result<SecretKey, BlsError> {
    let mut sum = U256::ZERO;
    for coefficient in coefficients.iter().rev() {
        let coefficient = U256::from_be_bytes(*coefficient.to_bytes());
        sum = sum.mul_mod(U256::from(x), ORDER).add_mod(coefficient, ORDER);
    }
    let mut bytes = sum.to_be_bytes::<32>();
    let share = SecretKey::from_bytes(&bytes);
    bytes.zeroize();
    share
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_without_a_majority_should_be_refused() {
        for (threshold, members) in [(0, 1), (1, 2), (2, 4), (5, 4), (33, 65), (1, 0)] {
            let refused = Dealing::from_seed(&[1; 32], threshold, members).err();
            assert_eq!(refused, Some(GroupKeyError::Size { threshold, members: members.into() }));
        }
    }

    #[test]
    fn dealing_should_be_a_function_of_the_seed() {
        let deal = |seed| Dealing::from_seed(&[seed; 32], 3, 4).expect("a dealing");
        assert_eq!(deal(1).group, deal(1).group);
        assert_ne!(deal(1).group.key(), deal(2).group.key());
    }

    #[test]
    fn commitments_should_give_the_public_shares() {
        let dealing = Dealing::from_seed(&[1; 32], 3, 5).expect("a dealing");
        assert_eq!(GroupKey::from_commitments(&dealing.commitments, 5), Ok(dealing.group));
    }
}
