//! Identifiers that the ledger's API and its clients derive.

use alloy_primitives::B256;
use md5::{Digest, Md5};
use uuid::{Builder, Uuid};

use super::hash::sha3_256;
use crate::Amount;
use crate::output::CoinId;

/// UUID of the XIN asset.
pub const XIN: Uuid = Uuid::from_u128(0xc94a_c88f_4671_3976_b60a_0906_4f18_11e8);
/// XIN units that buy one step of extra (kernel `ExtraStoragePriceStep`, 0.0001 XIN).
pub const STORAGE_PRICE_STEP: u128 = 10_000;
/// Bytes of extra in one step (kernel `ExtraSizeStorageStep`).
pub const STORAGE_STEP: usize = 1_024;

/// The hash that names a set of users at the API: SHA3-256 of the sorted UUIDs as text.
pub fn members_hash(members: &[Uuid]) -> B256 {
    members_text_hash(members.iter().map(Uuid::to_string).collect())
}

/// [`members_hash`] of members in any text form.
pub(super) fn members_text_hash(mut members: Vec<String>) -> B256 {
    members.sort_unstable();
    sha3_256(members.concat().as_bytes())
}

/// The id of an output at the API: the MD5 UUID of `hash:index`.
pub fn output_id(coin: &CoinId) -> Uuid {
    unique_object_id(&[&format!("{}:{}", hex::encode(coin.transaction), coin.index)])
}

/// The id that two others make, in any order: the MD5 UUID of the smaller and then the larger text.
pub fn unique_id(a: &str, b: &str) -> Uuid {
    unique_object_id(&if a <= b { [a, b] } else { [b, a] })
}

/// The MD5 UUID (version 3 bits, no namespace) of texts in a row.
pub fn unique_object_id(parts: &[&str]) -> Uuid {
    Builder::from_md5_bytes(Md5::digest(parts.concat().as_bytes()).into()).into_uuid()
}

/// Bytes of extra that a storage output of this much XIN pays for.
pub fn storage_room(paid: Amount) -> usize {
    let steps = usize::try_from(paid.units().div_euclid(STORAGE_PRICE_STEP)).unwrap_or(usize::MAX);
    steps.saturating_mul(STORAGE_STEP)
}

/// What a storage transaction costs in XIN: 0.0001 for each full KiB and one more (`bot-api-go-client`, `safe:mtg`).
pub fn storage_cost(extra_len: usize) -> Amount {
    let steps = extra_len.div_euclid(STORAGE_STEP).saturating_add(1);
    Amount::from_units(u128::try_from(steps).unwrap_or(u128::MAX).saturating_mul(STORAGE_PRICE_STEP))
}
