//! Ledger amounts: whole numbers of 10⁻⁸ units.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;

/// Units in one whole coin: the ledger counts in 10⁻⁸ (kernel `common/integer.go`).
const UNITS_PER_COIN: u128 = 100_000_000;
/// Decimal places that the ledger keeps.
const DECIMALS: usize = 8;

/// An amount of one asset in 10⁻⁸ units. Arithmetic is checked; there is no negative amount.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Amount(u128);

impl Amount {
    /// Nothing.
    pub const ZERO: Self = Self(0);
    /// 2¹²⁸ − 1 units. As the amount of something on the ledger it stands for that or more; see
    /// [`crate::mixin::Transaction::has_wide_amounts`].
    pub const MAX: Self = Self(u128::MAX);

    /// An amount of `units` × 10⁻⁸.
    pub const fn from_units(units: u128) -> Self {
        Self(units)
    }

    /// The number of 10⁻⁸ units.
    pub const fn units(self) -> u128 {
        self.0
    }

    /// True for the zero amount, which no ledger transaction can carry.
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }

    /// The sum, or `None` above 2¹²⁸ − 1 units.
    pub const fn checked_add(self, other: Self) -> Option<Self> {
        match self.0.checked_add(other.0) {
            Some(units) => Some(Self(units)),
            None => None,
        }
    }

    /// The difference, or `None` where it would be negative.
    pub const fn checked_sub(self, other: Self) -> Option<Self> {
        match self.0.checked_sub(other.0) {
            Some(units) => Some(Self(units)),
            None => None,
        }
    }

    /// As [`str::parse`], but what is larger than any amount is [`Self::MAX`].
    ///
    /// # Errors
    /// Refuses what is no plain decimal and more than eight decimals.
    pub fn parse_saturated(text: &str) -> Result<Self, AmountError> {
        match text.parse() {
            Err(AmountError::TooLarge(_)) => Ok(Self::MAX),
            other => other,
        }
    }

    /// Parses a plain decimal such as `0.015`. Places beyond the eighth are cut off and the second value says so, as the
    /// kernel does.
    ///
    /// # Errors
    /// Refuses signs, exponents, separators, empty parts and what exceeds 2¹²⁸ − 1 units.
    pub fn parse_floored(text: &str) -> Result<(Self, bool), AmountError> {
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        let plain = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
        if whole.is_empty() || !plain(whole) || !plain(fraction) || (fraction.is_empty() && text.contains('.')) {
            return Err(AmountError::NotDecimal(text.chars().take(64).collect()));
        }
        let kept = fraction.get(..DECIMALS).unwrap_or(fraction);
        let floored = fraction.len() > DECIMALS && fraction.bytes().skip(DECIMALS).any(|b| b != b'0');
        let too_large = || AmountError::TooLarge(text.chars().take(64).collect());
        let whole: u128 = whole.parse().map_err(|_| too_large())?;
        let fraction: u128 = format!("{kept:0<8}").parse().map_err(|_| too_large())?;
        let units = whole.checked_mul(UNITS_PER_COIN).and_then(|units| units.checked_add(fraction));
        units.map(|units| (Self(units), floored)).ok_or_else(too_large)
    }
}

impl FromStr for Amount {
    type Err = AmountError;

    fn from_str(text: &str) -> Result<Self, AmountError> {
        match Self::parse_floored(text)? {
            (amount, false) => Ok(amount),
            (_, true) => Err(AmountError::TooPrecise(text.chars().take(64).collect())),
        }
    }
}

/// The kernel's form: always eight decimals.
impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, fraction) = (self.0.div_euclid(UNITS_PER_COIN), self.0.rem_euclid(UNITS_PER_COIN));
        write!(f, "{whole}.{fraction:08}")
    }
}

impl Serialize for Amount {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Amount {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// Why a text is not an amount.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum AmountError {
    /// Something other than digits with at most one point between them.
    #[error("`{0}` is not a plain decimal number")]
    NotDecimal(String),
    /// More than eight decimals where none may be lost.
    #[error("`{0}` has more than 8 decimals")]
    TooPrecise(String),
    /// More than 2¹²⁸ − 1 units.
    #[error("`{0}` is larger than any ledger amount")]
    TooLarge(String),
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn amounts_should_read_back_from_their_text(units: u128, text in "[0-9]{0,45}(\\.[0-9]{0,12})?") {
            let amount = Amount::from_units(units);
            prop_assert_eq!(amount.to_string().parse(), Ok(amount));
            if let Ok(read) = text.parse::<Amount>() {
                prop_assert_eq!(read.to_string().parse(), Ok(read));
                prop_assert_eq!(Amount::parse_saturated(&text), Ok(read));
                prop_assert_eq!(Amount::parse_floored(&text), Ok((read, false)));
            }
        }
    }

    #[test]
    fn decimals_should_round_trip_in_the_kernels_form() {
        for (text, shown) in [("0", "0.00000000"), ("10.5", "10.50000000"), ("0.00000001", "0.00000001")] {
            let amount: Amount = text.parse().expect("a plain decimal");
            assert_eq!(amount.to_string(), shown);
            assert_eq!(shown.parse(), Ok(amount));
        }
    }

    #[test]
    fn other_forms_should_be_refused() {
        for text in ["", ".", "1.", ".5", "-1", "+1", "1e3", "1_0", " 1", "0x1", "1.0.0"] {
            assert!(matches!(text.parse::<Amount>(), Err(AmountError::NotDecimal(_))), "{text}");
        }
        assert!(matches!("0.000000001".parse::<Amount>(), Err(AmountError::TooPrecise(_))));
        assert!(matches!("4e".repeat(9).parse::<Amount>(), Err(AmountError::NotDecimal(_))));
        assert!(matches!("9".repeat(40).parse::<Amount>(), Err(AmountError::TooLarge(_))));
        assert_eq!(Amount::parse_saturated(&"9".repeat(40)), Ok(Amount::MAX));
        assert_eq!(Amount::parse_saturated("0.5"), Ok(Amount::from_units(50_000_000)));
        assert!(Amount::parse_saturated("0.000000001").is_err() && Amount::parse_saturated("-1").is_err());
    }

    #[test]
    fn places_beyond_the_eighth_should_be_floored_and_reported() {
        assert_eq!(Amount::parse_floored("10.000000019"), Ok((Amount::from_units(1_000_000_001), true)));
        assert_eq!(Amount::parse_floored("10.000000010"), Ok((Amount::from_units(1_000_000_001), false)));
    }
}
