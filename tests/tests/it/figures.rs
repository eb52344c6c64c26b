//! Reading files of figures.

use std::fmt::Debug;
use std::str::FromStr;

use serde_json::Value;

/// A file of `tests/vectors`.
pub(crate) fn load(name: &str) -> Value {
    let path = format!("{}/vectors/{name}", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The rows of a list.
pub(crate) fn rows(value: &Value) -> &Vec<Value> {
    value.as_array().unwrap_or_else(|| panic!("a list, not {value}"))
}

/// A text field.
pub(crate) fn text<'a>(row: &'a Value, field: &str) -> &'a str {
    row[field].as_str().unwrap_or_else(|| panic!("{field} of {row}"))
}

/// A text field in its own type.
pub(crate) fn parsed<T: FromStr<Err: Debug>>(row: &Value, field: &str) -> T {
    text(row, field).parse().unwrap_or_else(|error| panic!("{field} of {row}: {error:?}"))
}

/// A number field.
pub(crate) fn number(row: &Value, field: &str) -> u64 {
    row[field].as_u64().unwrap_or_else(|| panic!("{field} of {row}"))
}

/// A hex field.
pub(crate) fn bytes(row: &Value, field: &str) -> Vec<u8> {
    hex::decode(text(row, field)).unwrap_or_else(|error| panic!("{field} of {row}: {error}"))
}

/// A hex field of a fixed length.
pub(crate) fn array<const N: usize>(row: &Value, field: &str) -> [u8; N] {
    bytes(row, field).try_into().unwrap_or_else(|other: Vec<u8>| panic!("{field}: {} bytes", other.len()))
}

/// Fails on a field that no check knows: a new figure must not pass unseen.
pub(crate) fn only(row: &Value, known: &[&str]) {
    let fields = row.as_object().unwrap_or_else(|| panic!("an object, not {row}"));
    for field in fields.keys() {
        assert!(known.contains(&field.as_str()), "no check knows the figure `{field}`");
    }
}
