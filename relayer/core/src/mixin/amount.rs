//! Amounts in transactions: a u16 length and the minimal big-endian magnitude in 10⁻⁸ units (kernel `common/integer.go`).

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
    let amount = read(&mut reader, "amount")?;
    reader.finish()?;
    Ok(amount)
}

pub(super) fn write(writer: &mut Writer, amount: Amount) {
    let bytes = amount.units().to_be_bytes();
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    writer.bytes_u16(bytes.get(zeros..).unwrap_or_default());
}

pub(super) fn read(reader: &mut Reader<'_>, what: &'static str) -> Result<Amount, DecodeError> {
    let offset = reader.offset();
    let bytes = reader.bytes_u16(what)?;
    if bytes.first() == Some(&0) {
        return Err(DecodeError::new(offset, what, Fault::LeadingZero));
    }
    if bytes.len() > MAGNITUDE_MAX {
        return Err(DecodeError::new(offset, what, Fault::AmountTooLarge(bytes.len())));
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
