//! The one place that knows `commonware-cryptography`: secret polynomials, and the check of a share.
//!
//! Its scalars are those of `blst`, in constant time, and wipe themselves. What is taken from it: [`Poly`] (evaluation,
//! commitment, exact degree), [`Scalar`] and [`Interpolator`]. Its state machines (`dkg::feldman_desmedt`) are not run here:
//! they derive the threshold from a fault model that is one type for the whole life of a key, so they cannot change it, and
//! they sign and encode receipts and logs their own way. They are the oracle of this module's tests instead: whole ceremonies
//! of theirs, whose dealings must give the same keys and shares here.
//!
//! A member's index is its place on the polynomial (`Mode::NonZeroCounter` there).

#![expect(clippy::arithmetic_side_effects, reason = "a finite field and a group have no overflow")]

use std::fmt;
use std::num::NonZeroU32;

use alloy_primitives::B256;
use commonware_codec::{Copying, Decode, RangeCfg, Write};
use commonware_cryptography::bls12381::primitives::group::{G2, Scalar, ScalarReadCfg};
use commonware_math::algebra::{Additive, CryptoGroup};
use commonware_math::poly::{Interpolator, Poly};
use commonware_parallel::Sequential;
use commonware_utils::ordered::Map;
use zeroize::Zeroizing;

use super::report::FaultKind;
use crate::account::MEMBERS_MAX;
use crate::bls::{BlsError, PublicKey, SecretKey};

/// Separates coefficients from other keys of one seed (KeyGen of draft-irtf-cfrg-bls-signature).
const COEFFICIENT: &[u8] = b"lockstep/v1/dkg/coefficient";

/// A dealer's secret polynomial. Wiped when dropped, never shown.
pub(super) struct Polynomial {
    secret: Poly<Scalar>,
    constant: SecretKey,
}

impl fmt::Debug for Polynomial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Polynomial(hidden)")
    }
}

impl Polynomial {
    /// The polynomial with `threshold` coefficients that follows from a seed; the constant may be given. The seed must be
    /// used for one `context` only, which names the ceremony and the dealer.
    pub(super) fn derive(
        seed: &[u8; 32],
        context: &B256,
        threshold: u8,
        constant: Option<&SecretKey>,
    ) -> Result<Self, BlsError> {
        let derived = |place: u8| SecretKey::derive(seed, &[COEFFICIENT, context.as_slice(), &[place]].concat());
        let constant = match constant {
            Some(constant) => SecretKey::from_bytes(constant.to_bytes().as_slice())?,
            None => derived(0)?,
        };
        // Room for all at once: a buffer that grows would leave secrets behind.
        let mut bytes = Zeroizing::new(Vec::with_capacity(usize::from(threshold).saturating_mul(32).saturating_add(8)));
        usize::from(threshold).write(&mut *bytes);
        bytes.extend_from_slice(constant.to_bytes().as_slice());
        for place in 1..threshold {
            bytes.extend_from_slice(derived(place)?.to_bytes().as_slice());
        }
        let secret = poly(&bytes, ScalarReadCfg::RejectZero).ok_or(BlsError::SecretRange)?;
        Ok(Self { secret, constant })
    }

    /// The constant term.
    pub(super) const fn constant(&self) -> &SecretKey {
        &self.constant
    }

    /// The coefficients times the generator of G2, constant first.
    pub(super) fn commit(&self) -> Vec<[u8; 96]> {
        let mut bytes = Vec::new();
        let public: Poly<G2> = Poly::commit(self.secret.clone());
        public.write(&mut bytes);
        // The points stand behind their number.
        let points = bytes.len().saturating_sub(bytes.len() % 96);
        bytes.get(bytes.len().saturating_sub(points)..).unwrap_or_default().as_chunks().0.to_vec()
    }

    /// The share of the member with an index.
    pub(super) fn at(&self, index: u8) -> Result<SecretKey, BlsError> {
        to_key(&self.secret.eval(&Scalar::from(u64::from(index))))
    }
}

/// Checks a dealing as its receiver: the exact degree, each point in the subgroup, the constant if it is known, and the
/// share against the polynomial at `index`.
///
/// # Errors
/// What is wrong with it.
pub fn check_dealing(
    points: &[[u8; 96]],
    threshold: u8,
    constant: Option<&PublicKey>,
    index: u8,
    share: &SecretKey,
) -> Result<(), FaultKind> {
    let degree = FaultKind::Degree { expected: threshold, got: points.len() };
    if points.len() != usize::from(threshold) {
        return Err(degree);
    }
    let mut bytes = Vec::new();
    points.len().write(&mut bytes);
    bytes.extend(points.iter().flatten());
    let Some(public) = poly::<G2>(&bytes, ()) else {
        return Err(points.iter().find_map(point_fault).unwrap_or(degree));
    };
    if public.degree_exact() != u32::from(threshold.saturating_sub(1)) {
        return Err(degree);
    }
    if constant.is_some_and(|constant| points.first() != Some(&constant.compress())) {
        return Err(FaultKind::Constant);
    }
    let expected = public.eval_msm(&Scalar::from(u64::from(index)), &Sequential);
    let fits = to_scalar(share).is_some_and(|share| G2::generator() * &share == expected);
    if fits { Ok(()) } else { Err(FaultKind::Share) }
}

/// What is wrong with a point, if anything.
pub(super) fn point_fault(point: &[u8; 96]) -> Option<FaultKind> {
    let reason = match PublicKey::from_bytes(point).err()? {
        BlsError::OutsideSubgroup { .. } => "is outside the subgroup",
        BlsError::Infinity { .. } => "is the point at infinity",
        BlsError::NotOnCurve { .. } => "is not on the curve",
        BlsError::NotHex { .. }
        | BlsError::Length { .. }
        | BlsError::Encoding { .. }
        | BlsError::SecretRange
        | BlsError::EmptyTag => "is not canonically encoded",
    };
    Some(FaultKind::Point { reason })
}

/// The sum of shares of several polynomials.
pub(super) fn sum(parts: &[(u8, SecretKey)]) -> Option<SecretKey> {
    let mut sum = Scalar::zero();
    for (_, part) in parts {
        sum += &to_scalar(part)?;
    }
    to_key(&sum).ok()
}

/// The value at 0 of the polynomial that has these values at these dealers' indexes: a share of the key that they share.
pub(super) fn interpolate(parts: &[(u8, SecretKey)]) -> Option<SecretKey> {
    let places = parts.iter().map(|(dealer, _)| (*dealer, Scalar::from(u64::from(*dealer))));
    let weights = Interpolator::new(places);
    let values = parts.iter().map(|(dealer, part)| Some((*dealer, to_scalar(part)?)));
    let values = Map::try_from(values.collect::<Option<Vec<_>>>()?).ok()?;
    to_key(&weights.interpolate(&values, &Sequential)?).ok()
}

fn poly<K: Decode>(bytes: &[u8], cfg: K::Cfg) -> Option<Poly<K>> {
    let most = u32::try_from(MEMBERS_MAX).ok()?.try_into().ok()?;
    Poly::decode_cfg(Copying(bytes), &(RangeCfg::from(NonZeroU32::MIN..=most), cfg)).ok()
}

fn to_scalar(key: &SecretKey) -> Option<Scalar> {
    Scalar::decode_cfg(Copying(key.to_bytes().as_slice()), &ScalarReadCfg::RejectZero).ok()
}

fn to_key(scalar: &Scalar) -> Result<SecretKey, BlsError> {
    let mut bytes = Zeroizing::new([0; 32]);
    scalar.write(&mut bytes.as_mut_slice());
    SecretKey::from_bytes(bytes.as_slice())
}

#[cfg(test)]
mod tests;
