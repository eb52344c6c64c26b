//! Arithmetic modulo the group order. It is not constant-time: it serves public values, and secret ones only in
//! the dealer of tests.

use alloy_primitives::{U256, uint};

/// The order of G1 and G2.
pub(super) const ORDER: U256 = uint!(0x73eda753299d7d483339d80809a1d80553bda402fffe5bfeffffffff00000001_U256);
/// Bits of a scalar, as `blst` wants them for a multi-scalar multiplication.
pub(super) const BITS: usize = 255;

/// Coefficients that give f(`at`) from f at `places` (Lagrange), or `None` if two places are equal.
pub(super) fn lagrange(places: &[u8], at: u8) -> Option<Vec<U256>> {
    let coefficient = |place: &u8| {
        let (mut above, mut below) = (U256::ONE, U256::ONE);
        let mut same: usize = 0;
        for other in places {
            if other == place {
                same = same.saturating_add(1);
                continue;
            }
            above = above.mul_mod(difference(at, *other), ORDER);
            below = below.mul_mod(difference(*place, *other), ORDER);
        }
        let inverse = below.inv_mod(ORDER).filter(|_| same == 1)?;
        Some(above.mul_mod(inverse, ORDER))
    };
    places.iter().map(coefficient).collect()
}

/// 1, x, x², … : `count` powers.
pub(super) fn powers(x: u8, count: usize) -> Vec<U256> {
    let step = |power: &U256| Some(power.mul_mod(U256::from(x), ORDER));
    std::iter::successors(Some(U256::ONE), step).take(count).collect()
}

/// The scalars as `blst` reads them: 32 little-endian bytes each.
pub(super) fn to_blst(scalars: &[U256]) -> Vec<u8> {
    scalars.iter().flat_map(U256::to_le_bytes::<32>).collect()
}

fn difference(left: u8, right: u8) -> U256 {
    let negative = ORDER.wrapping_sub(U256::from(right));
    U256::from(left).add_mod(negative, ORDER)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_places_should_be_refused() {
        assert_eq!(lagrange(&[1, 2, 1], 0), None);
    }

    #[test]
    fn coefficients_should_interpolate() {
        // f(x) = 5 + 3x + 2x²: f(1) = 10, f(4) = 49, f(64) = 8389; f(0) = 5, f(7) = 124.
        for (at, value) in [(0, 5), (7, 124), (4, 49)] {
            let coefficients = lagrange(&[1, 4, 64], at).expect("different places");
            let sum = coefficients
                .iter()
                .zip([10, 49, 8389])
                .fold(U256::ZERO, |sum, (c, y)| sum.add_mod(c.mul_mod(U256::from(y), ORDER), ORDER));
            assert_eq!(sum, U256::from(value));
        }
        assert_eq!(powers(3, 4), [1, 3, 9, 27].map(U256::from));
    }
}
