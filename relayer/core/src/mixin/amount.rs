//! Amounts in transactions: a u16 length and the minimal big-endian magnitude in 10⁻⁸ units (kernel `common/integer.go`).
//!
//! The kernel bounds a magnitude by its length field alone, and whoever issues an asset on another chain chooses how much of
//! it there is. So a transaction may carry more than [`Amount`] holds. It has to be read nevertheless, or a payment of such an
//! asset to a group would stop it: the amount is then [`Amount::MAX`], and the transaction keeps the magnitude for its bytes.

use std::collections::BTreeMap;

use super::encoding::{DecodeError, Fault, Reader, Writer};
use crate::Amount;

/// Bytes of the largest amount that [`Amount`] holds.
const MAGNITUDE_MAX: usize = 16;

/// The encoding of one amount.
pub fn encode(amount: Amount) -> Vec<u8> {
    let mut writer = Writer::default();
    write(&mut writer, amount);
    writer.into_bytes()
}

/// Reads one amount and nothing else.
///
/// # Errors
/// Refuses truncated, trailing, non-minimal and larger than 128-bit magnitudes.
pub fn decode(bytes: &[u8]) -> Result<Amount, DecodeError> {
    let mut reader = Reader::new(bytes);
    let mut wide = Wide::default();
    let amount = read(&mut reader, &mut wide, "amount")?;
    if let Some(magnitude) = wide.0.values().next() {
        return Err(DecodeError::new(0, "amount", Fault::AmountTooLarge(magnitude.len())));
    }
    reader.finish()?;
    Ok(amount)
}

/// The magnitudes of more than 128 bits in one transaction, by the offset in its bytes at which they stand.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Wide(BTreeMap<usize, Vec<u8>>);

impl Wide {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Writes the amount of a transaction, whole even where it is a wide one.
    pub(super) fn write(&self, writer: &mut Writer, amount: Amount) {
        match self.0.get(&writer.len()) {
            Some(magnitude) => writer.bytes_u16(magnitude),
            None => write(writer, amount),
        }
    }
}

fn write(writer: &mut Writer, amount: Amount) {
    let bytes = amount.units().to_be_bytes();
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    writer.bytes_u16(bytes.get(zeros..).unwrap_or_default());
}

/// Reads an amount; more than 128 bits of it are noted in `wide`.
pub(super) fn read(reader: &mut Reader<'_>, wide: &mut Wide, what: &'static str) -> Result<Amount, DecodeError> {
    let offset = reader.offset();
    let bytes = reader.bytes_u16(what)?;
    if bytes.first() == Some(&0) {
        return Err(DecodeError::new(offset, what, Fault::LeadingZero));
    }
    if bytes.len() > MAGNITUDE_MAX {
        wide.0.insert(offset, bytes.to_vec());
        return Ok(Amount::MAX);
    }
    let units = bytes.iter().fold(0_u128, |units, byte| (units << 8) | u128::from(*byte));
    Ok(Amount::from_units(units))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn other_than_the_minimal_form_should_be_refused() {
        for (hex, fault) in [
            ("", Fault::Truncated { need: 2, left: 0 }),
            ("00", Fault::Truncated { need: 2, left: 1 }),
            ("0001", Fault::Truncated { need: 1, left: 0 }),
            ("000100", Fault::LeadingZero),
            ("00020001", Fault::LeadingZero),
            ("000000", Fault::Trailing(1)),
            ("00110100000000000000000000000000000000", Fault::AmountTooLarge(17)),
        ] {
            assert_eq!(decode(&hex::decode(hex).expect("hex")).map_err(|error| error.fault), Err(fault), "{hex}");
        }
    }

    proptest! {
        #[test]
        fn amounts_should_round_trip(units: u128, shift in 0_u32..128) {
            let amount = Amount::from_units(units >> shift);
            prop_assert_eq!(decode(&encode(amount)), Ok(amount));
        }

        #[test]
        fn any_bytes_should_fail_or_encode_back(bytes in proptest::collection::vec(0_u8..3, 0..20)) {
            if let Ok(amount) = decode(&bytes) {
                prop_assert_eq!(encode(amount), bytes);
            }
        }
    }
}
