//! Points and their encodings: ZCash (compressed, uncompressed) and EIP-2537.
//!
//! ZCash: 48-byte coordinates, big-endian; the first three bits are flags (compressed, infinity, y is the larger); an
//! element of Fp² is c1 ‖ c0. EIP-2537: each coordinate has 16 zero bytes in front and no flags; an element of Fp² is
//! c0 ‖ c1, the other way round.

use std::fmt;

use alloy_primitives::B256;
use blst::BLST_ERROR;
use blst::min_sig as blst_keys;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{BlsError, DST};

/// Bytes of one coordinate in Fp.
const FP: usize = 48;
/// Zero bytes before each coordinate in EIP-2537.
const PADDING: [u8; 16] = [0; 16];
/// Flag bits of the first byte.
const COMPRESSED: u8 = 0x80;
const INFINITY: u8 = 0x40;
const LARGER: u8 = 0x20;
const KEY: &str = "a public key";
const SIGNATURE: &str = "a signature";

/// A verifying key in G2: in the subgroup and not infinity.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct PublicKey(blst_keys::PublicKey);

impl PublicKey {
    /// Reads a key: 96 bytes compressed, 192 uncompressed, or 256 as EIP-2537 has them.
    ///
    /// # Errors
    /// A wrong length, a non-canonical encoding, a point off the curve, outside the subgroup or at infinity.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, BlsError> {
        let read = |error| BlsError::from_blst(error, KEY);
        let key = match bytes.len() {
            96 => {
                check_flags(bytes, true, KEY)?;
                blst_keys::PublicKey::uncompress(bytes).map_err(read)?
            }
            192 => {
                check_flags(bytes, false, KEY)?;
                blst_keys::PublicKey::deserialize(bytes).map_err(read)?
            }
            256 => {
                let zcash = swap_pairs(&from_eip2537(bytes, KEY)?);
                blst_keys::PublicKey::deserialize(&zcash).map_err(read)?
            }
            got => return Err(BlsError::Length { what: KEY, expected: "96, 192 or 256", got }),
        };
        key.validate().map_err(read)?;
        Ok(Self(key))
    }

    /// 96 bytes, ZCash.
    pub fn compress(&self) -> [u8; 96] {
        self.0.compress()
    }

    /// 192 bytes, ZCash.
    pub fn serialize(&self) -> [u8; 192] {
        self.0.serialize()
    }

    /// 256 bytes, as the group contract takes it.
    pub fn to_eip2537(&self) -> [u8; 256] {
        let mut padded = [0; 256];
        pad_into(&mut padded, &swap_pairs(&self.serialize()));
        padded
    }

    /// True if `signature` is this key's over `message` under the tag `dst`.
    pub fn verify(&self, message: &[u8], dst: &[u8], signature: &Signature) -> bool {
        // Both points were checked when they were read.
        signature.0.verify(false, message, dst, &[], &self.0, false) == BLST_ERROR::BLST_SUCCESS
    }

    /// True if `signature` is this key's over `digest` under [`DST`].
    pub fn verify_digest(&self, digest: &B256, signature: &Signature) -> bool {
        self.verify(digest.as_slice(), DST, signature)
    }

    /// A point that our own arithmetic made from validated ones.
    pub(super) const fn trusted(key: blst_keys::PublicKey) -> Self {
        Self(key)
    }

    pub(super) const fn inner(&self) -> &blst_keys::PublicKey {
        &self.0
    }
}

/// A signature in G1: in the subgroup and not infinity.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Signature(blst_keys::Signature);

impl Signature {
    /// Reads a signature: 48 bytes compressed, 96 uncompressed, or 128 as EIP-2537 has them.
    ///
    /// # Errors
    /// A wrong length, a non-canonical encoding, a point off the curve, outside the subgroup or at infinity.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, BlsError> {
        let read = |error| BlsError::from_blst(error, SIGNATURE);
        let signature = match bytes.len() {
            48 => Self::uncompress_unchecked(bytes)?,
            96 => {
                check_flags(bytes, false, SIGNATURE)?;
                blst_keys::Signature::deserialize(bytes).map_err(read)?
            }
            128 => blst_keys::Signature::deserialize(&from_eip2537(bytes, SIGNATURE)?).map_err(read)?,
            got => return Err(BlsError::Length { what: SIGNATURE, expected: "48, 96 or 128", got }),
        };
        Self::validated(signature)
    }

    /// 48 bytes, ZCash.
    pub fn compress(&self) -> [u8; 48] {
        self.0.compress()
    }

    /// 96 bytes, ZCash.
    pub fn serialize(&self) -> [u8; 96] {
        self.0.serialize()
    }

    /// 128 bytes, as the group contract takes it.
    pub fn to_eip2537(&self) -> [u8; 128] {
        let mut padded = [0; 128];
        pad_into(&mut padded, &self.serialize());
        padded
    }

    /// A point that our own arithmetic made from validated ones.
    pub(super) const fn trusted(signature: blst_keys::Signature) -> Self {
        Self(signature)
    }

    /// Checks the subgroup and refuses infinity.
    pub(super) fn validated(signature: blst_keys::Signature) -> Result<Self, BlsError> {
        signature.validate(true).map_err(|error| BlsError::from_blst(error, SIGNATURE))?;
        Ok(Self(signature))
    }

    /// A point on the curve and not infinity, perhaps outside the subgroup.
    pub(super) fn uncompress_unchecked(bytes: &[u8]) -> Result<blst_keys::Signature, BlsError> {
        check_flags(bytes, true, SIGNATURE)?;
        blst_keys::Signature::uncompress(bytes).map_err(|error| BlsError::from_blst(error, SIGNATURE))
    }
}

/// Refuses flags that do not fit the form, and names infinity as such.
fn check_flags(bytes: &[u8], compressed: bool, what: &'static str) -> Result<(), BlsError> {
    let Some((first, rest)) = bytes.split_first() else {
        return Err(BlsError::Encoding { what });
    };
    if (first & COMPRESSED != 0) != compressed {
        return Err(BlsError::Encoding { what });
    }
    if first & INFINITY != 0 {
        let plain = first & !(COMPRESSED | INFINITY) == 0 && rest.iter().all(|byte| *byte == 0);
        return Err(if plain { BlsError::Infinity { what } } else { BlsError::Encoding { what } });
    }
    if !compressed && first & LARGER != 0 {
        return Err(BlsError::Encoding { what });
    }
    Ok(())
}

/// Takes the padding out of EIP-2537 coordinates. Only canonical ones pass: no flag bit can hide in them, and `blst` then
/// refuses what is not below the modulus.
fn from_eip2537(bytes: &[u8], what: &'static str) -> Result<Vec<u8>, BlsError> {
    if bytes.iter().all(|byte| *byte == 0) {
        return Err(BlsError::Infinity { what });
    }
    let mut coordinates = Vec::with_capacity(bytes.len());
    for padded in bytes.chunks(64) {
        let coordinate = padded.strip_prefix(&PADDING).ok_or(BlsError::Encoding { what })?;
        // The modulus has 381 bits, so these three are never set below it.
        if coordinate.first().is_none_or(|first| first & (COMPRESSED | INFINITY | LARGER) != 0) {
            return Err(BlsError::Encoding { what });
        }
        coordinates.extend_from_slice(coordinate);
    }
    Ok(coordinates)
}

/// Swaps the two halves of each element of Fp².
fn swap_pairs(coordinates: &[u8]) -> Vec<u8> {
    let swapped = |pair: &[u8]| {
        let (left, right) = pair.split_at_checked(FP).unwrap_or((pair, &[]));
        [right, left].concat()
    };
    coordinates.chunks(2 * FP).flat_map(swapped).collect()
}

fn pad_into(padded: &mut [u8], coordinates: &[u8]) {
    for (place, coordinate) in padded.chunks_mut(64).zip(coordinates.chunks(FP)) {
        for (to, from) in place.iter_mut().skip(PADDING.len()).zip(coordinate) {
            *to = *from;
        }
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({})", hex::encode(self.compress()))
    }
}

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signature({})", hex::encode(self.compress()))
    }
}

/// As the hex of the compressed form.
impl Serialize for PublicKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        hex::serde::serialize(self.compress(), serializer)
    }
}

impl<'de> Deserialize<'de> for PublicKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let bytes: Vec<u8> = hex::serde::deserialize(deserializer)?;
        Self::from_bytes(&bytes).map_err(serde::de::Error::custom)
    }
}

/// As the hex of the compressed form.
impl Serialize for Signature {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        hex::serde::serialize(self.compress(), serializer)
    }
}

impl<'de> Deserialize<'de> for Signature {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let bytes: Vec<u8> = hex::serde::deserialize(deserializer)?;
        Self::from_bytes(&bytes).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::SecretKey;
    use super::*;

    fn pair() -> (PublicKey, Signature) {
        let key = SecretKey::derive(&[3; 32], b"test").expect("a key");
        (key.public_key(), key.sign(b"message", DST))
    }

    /// All encodings of one key or one signature.
    fn forms() -> (Vec<Vec<u8>>, Vec<Vec<u8>>) {
        let (key, signature) = pair();
        (
            vec![key.compress().to_vec(), key.serialize().to_vec(), key.to_eip2537().to_vec()],
            vec![signature.compress().to_vec(), signature.serialize().to_vec(), signature.to_eip2537().to_vec()],
        )
    }

    #[test]
    fn other_lengths_should_be_refused() {
        let (keys, signatures) = forms();
        for form in keys {
            for cut in (0..form.len()).filter(|cut| ![96, 192].contains(cut)) {
                assert!(matches!(PublicKey::from_bytes(&form[..cut]), Err(BlsError::Length { .. })), "{cut}");
            }
            assert!(matches!(PublicKey::from_bytes(&[&form[..], &[0]].concat()), Err(BlsError::Length { .. })));
        }
        for form in signatures {
            for cut in (0..form.len()).filter(|cut| ![48, 96].contains(cut)) {
                assert!(matches!(Signature::from_bytes(&form[..cut]), Err(BlsError::Length { .. })), "{cut}");
            }
            assert!(matches!(Signature::from_bytes(&[&form[..], &[0]].concat()), Err(BlsError::Length { .. })));
        }
    }

    #[test]
    fn infinity_should_be_refused_by_name() {
        let zero = |length: usize, first: u8| [vec![first], vec![0; length.saturating_sub(1)]].concat();
        for bytes in [zero(96, 0xc0), zero(192, 0x40), zero(256, 0)] {
            assert_eq!(PublicKey::from_bytes(&bytes), Err(BlsError::Infinity { what: KEY }));
        }
        for bytes in [zero(48, 0xc0), zero(96, 0x40), zero(128, 0)] {
            assert_eq!(Signature::from_bytes(&bytes), Err(BlsError::Infinity { what: SIGNATURE }));
        }
        for (length, first) in [(48, 0xe0), (48, 0xc1), (96, 0x60), (96, 0x41)] {
            assert_eq!(Signature::from_bytes(&zero(length, first)), Err(BlsError::Encoding { what: SIGNATURE }));
        }
    }

    #[test]
    fn points_off_the_curve_should_be_refused() {
        let (keys, signatures) = forms();
        for mut form in keys.into_iter().skip(1) {
            *form.last_mut().expect("bytes") ^= 1;
            assert_eq!(PublicKey::from_bytes(&form), Err(BlsError::NotOnCurve { what: KEY }));
        }
        for mut form in signatures.into_iter().skip(1) {
            *form.last_mut().expect("bytes") ^= 1;
            assert_eq!(Signature::from_bytes(&form), Err(BlsError::NotOnCurve { what: SIGNATURE }));
        }
        // x = 1: 1 + 4 is no square in Fp.
        let mut x = [0; 48];
        (x[0], x[47]) = (0x80, 1);
        assert_eq!(Signature::from_bytes(&x), Err(BlsError::NotOnCurve { what: SIGNATURE }));
        let mut zero_y = [0; 96];
        zero_y[95] = 1;
        assert_eq!(Signature::from_bytes(&zero_y), Err(BlsError::NotOnCurve { what: SIGNATURE }));
    }

    #[test]
    fn points_outside_the_subgroup_should_be_refused() {
        // x = 4 is on the curve, and nearly no point of it is in the subgroup.
        let mut x = [0; 48];
        (x[0], x[47]) = (0x80, 4);
        let outside = BlsError::OutsideSubgroup { what: SIGNATURE };
        assert_eq!(Signature::from_bytes(&x), Err(outside.clone()));
        let unchecked = Signature::uncompress_unchecked(&x).expect("on the curve");
        let mut padded = [0; 128];
        pad_into(&mut padded, &unchecked.serialize());
        assert_eq!(Signature::from_bytes(&unchecked.serialize()), Err(outside.clone()));
        assert_eq!(Signature::from_bytes(&padded), Err(outside));
        let mut x = [0; 96];
        x[0] = 0x80;
        x[95] = 2;
        assert_eq!(PublicKey::from_bytes(&x), Err(BlsError::OutsideSubgroup { what: KEY }));
    }

    #[test]
    fn coordinates_above_the_modulus_flags_and_padding_should_be_refused() {
        let modulus = hex::decode(concat!(
            "1a0111ea397fe69a4b1ba7b6434bacd764774b84f38512bf",
            "6730d2a0f6b0f6241eabfffeb153ffffb9feffffffffaaab"
        ))
        .expect("hex");
        let (_, signature) = pair();
        let encoding = Err(BlsError::Encoding { what: SIGNATURE });
        let mut above = signature.to_eip2537();
        above[16..64].copy_from_slice(&modulus);
        assert_eq!(Signature::from_bytes(&above), encoding);
        for place in [0, 15, 16, 64, 79, 80] {
            let mut form = signature.to_eip2537();
            form[place] |= 0x80;
            assert_eq!(Signature::from_bytes(&form), encoding, "{place}");
        }
        for flag in [0x80, 0x20] {
            let mut form = signature.serialize();
            form[0] |= flag;
            assert_eq!(Signature::from_bytes(&form), encoding, "{flag:x}");
        }
        let mut form = signature.compress();
        form[0] &= 0x7f;
        assert_eq!(Signature::from_bytes(&form), encoding);
    }

    #[test]
    fn all_forms_should_be_one_point() {
        let (key, signature) = pair();
        let (keys, signatures) = forms();
        assert!(keys.iter().all(|form| PublicKey::from_bytes(form).as_ref() == Ok(&key)));
        assert!(signatures.iter().all(|form| Signature::from_bytes(form).as_ref() == Ok(&signature)));
        let text = serde_json::to_string(&(&key, &signature)).expect("JSON");
        assert_eq!(serde_json::from_str::<(PublicKey, Signature)>(&text).expect("JSON"), (key, signature));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn every_form_should_read_back_and_no_changed_one(
            seed: [u8; 32],
            place in any::<prop::sample::Index>(),
            bits in 1..=u8::MAX,
        ) {
            let secret = SecretKey::derive(&seed, b"test").expect("a key");
            let (key, signature) = (secret.public_key(), secret.sign(b"message", DST));
            let changed = |form: &[u8]| {
                let mut changed = form.to_vec();
                changed[place.index(form.len())] ^= bits;
                changed
            };
            for form in [key.compress().to_vec(), key.serialize().to_vec(), key.to_eip2537().to_vec()] {
                prop_assert_eq!(PublicKey::from_bytes(&form), Ok(key));
                if let Ok(other) = PublicKey::from_bytes(&changed(&form)) {
                    // The flag of the larger y gives the negative point, which is a key too.
                    prop_assert!(form.len() == 96 && other.compress().as_slice() == changed(&form));
                }
            }
            for form in [signature.compress().to_vec(), signature.serialize().to_vec(), signature.to_eip2537().to_vec()] {
                prop_assert_eq!(Signature::from_bytes(&form), Ok(signature));
                if let Ok(other) = Signature::from_bytes(&changed(&form)) {
                    prop_assert!(form.len() == 48 && other.compress().as_slice() == changed(&form));
                }
            }
        }
    }

    proptest! {
        #[test]
        fn any_bytes_should_be_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 257), form in 0..6_usize) {
            let length = [48, 96, 128, 96, 192, 256][form];
            if form < 3 {
                prop_assert!(Signature::from_bytes(&bytes[..length]).is_err());
            } else {
                prop_assert!(PublicKey::from_bytes(&bytes[..length]).is_err());
            }
        }
    }
}
