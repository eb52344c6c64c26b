//! Public polynomials: coefficients times the generator of G2, constant first.

use blst::MultiPoint;

use super::scalar::{BITS, lagrange, powers, to_blst};
use super::{BlsError, PublicKey};

/// The polynomial at `index`, as the public key of the share there. `None` at infinity, or without coefficients.
pub fn evaluate(coefficients: &[PublicKey], index: u8) -> Option<PublicKey> {
    combine(coefficients, &to_blst(&powers(index, coefficients.len())))
}

/// The sum of polynomials of one degree. `None` if there are none, if their lengths differ or a coefficient is at infinity.
pub fn sum(polynomials: &[&[PublicKey]]) -> Option<Vec<PublicKey>> {
    columns(polynomials)?.map(|column| point(&points(&column).add().to_public_key().compress())).collect()
}

/// The polynomial whose coefficients are the values at 0 of those that go through these at these places: what shares of
/// the key become when each holder shares its own anew (Desmedt-Jajodia 1997). `None` if two places are equal, and as
/// [`sum`].
pub fn interpolate(polynomials: &[(u8, &[PublicKey])]) -> Option<Vec<PublicKey>> {
    let places: Vec<_> = polynomials.iter().map(|(place, _)| *place).collect();
    let weights = to_blst(&lagrange(&places, 0)?);
    let polynomials: Vec<_> = polynomials.iter().map(|(_, polynomial)| *polynomial).collect();
    columns(&polynomials)?.map(|column| combine(&column, &weights)).collect()
}

/// The coefficients of each degree, one of each polynomial.
fn columns<'a>(polynomials: &'a [&'a [PublicKey]]) -> Option<impl Iterator<Item = Vec<PublicKey>> + 'a> {
    let length = polynomials.first()?.len();
    if polynomials.iter().any(|polynomial| polynomial.len() != length) {
        return None;
    }
    let column = move |degree| polynomials.iter().filter_map(|polynomial| polynomial.get(degree).copied()).collect();
    Some((0..length).map(column))
}

fn combine(keys: &[PublicKey], scalars: &[u8]) -> Option<PublicKey> {
    if keys.is_empty() {
        return None;
    }
    point(&points(keys).mult(scalars, BITS).to_public_key().compress())
}

fn points(keys: &[PublicKey]) -> Vec<blst::min_sig::PublicKey> {
    keys.iter().map(|key| *key.inner()).collect()
}

/// Arithmetic can meet infinity, which is no key.
fn point(bytes: &[u8; 96]) -> Option<PublicKey> {
    let read: Result<_, BlsError> = PublicKey::from_bytes(bytes);
    read.ok()
}
