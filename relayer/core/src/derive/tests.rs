//! Edges of the rules that scenarios do not reach, and the frozen state digest.

use super::*;

pub(super) fn bytes<const N: usize>(name: &str) -> [u8; N] {
    let mut bytes = [0; N];
    bytes[..name.len()].copy_from_slice(name.as_bytes());
    bytes
}

pub(super) fn user(name: &str) -> Uuid {
    Uuid::from_bytes(bytes(name))
}

pub(super) fn asset(name: &str) -> AssetId {
    AssetId(bytes(name))
}

pub(super) const fn amount(units: u128) -> Amount {
    Amount::from_units(units)
}

/// Two chains, a fee of 100 X, minimum and floor 10 of everything.
pub(super) fn config() -> Config {
    let chain = ChainRule { payload_max: 8, gas_max: 5_000_000 };
    Config {
        group: Mix::of_users(["m1", "m2", "m3", "m4"].map(user), 3),
        fee: Fee { asset: asset("X"), amount: amount(100) },
        default: AssetRule { minimum: amount(10), floor: amount(10) },
        assets: BTreeMap::new(),
        chains: BTreeMap::from([(1, chain), (2, chain)]),
        caps: BTreeMap::new(),
        delay_unknown_ns: 60,
        delay_over_ns: 600,
        window_hour_ns: HOUR_NS,
        window_day_ns: DAY_NS,
        inputs_max: INPUTS_MAX,
        sweep_max: SWEEP_MAX,
        memo_max: MEMO_MAX,
    }
}
