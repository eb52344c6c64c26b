//! Coins that the group keeps because nobody could or may get them back. For people; nothing is derived from it.

use std::collections::BTreeMap;

use lockstep_core::{Amount, AssetId};
use serde::{Deserialize, Serialize};

/// The coins that no decision has released yet. Anybody can make assets and pay dust of each, so only those of the group file
/// are told apart here; `lockstep govern unclaimed` lists every coin.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unclaimed {
    /// How many.
    pub coins: u64,
    /// What they hold of each asset that the group file lists, by kernel asset id.
    pub sums: BTreeMap<AssetId, Amount>,
    /// How many of them are of other assets.
    pub unlisted: u64,
}

impl Unclaimed {
    /// Adds up coins. A sum beyond every amount is the largest one.
    pub fn of(coins: impl IntoIterator<Item = (AssetId, Amount)>, is_listed: impl Fn(&AssetId) -> bool) -> Self {
        let mut all = Self::default();
        for (asset, amount) in coins {
            all.coins = all.coins.saturating_add(1);
            if is_listed(&asset) {
                let sum = all.sums.entry(asset).or_default();
                *sum = sum.checked_add(amount).unwrap_or(Amount::MAX);
            } else {
                all.unlisted = all.unlisted.saturating_add(1);
            }
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_assets_of_the_group_file_should_be_told_apart() {
        let asset = |id: u8| AssetId([id; 32]);
        let coins = [(1, 5), (2, 7), (1, 6), (3, 1)].map(|(id, units)| (asset(id), Amount::from_units(units)));
        let unclaimed = Unclaimed::of(coins, |id| *id != asset(3));
        let sums = BTreeMap::from([(asset(1), Amount::from_units(11)), (asset(2), Amount::from_units(7))]);
        assert_eq!(unclaimed, Unclaimed { coins: 4, sums, unlisted: 1 });
        let text = serde_json::to_string(&unclaimed).expect("JSON");
        assert!(text.contains(&format!("\"{}\":\"0.00000011\"", asset(1))), "{text}");
        assert_eq!(serde_json::from_str::<Unclaimed>(&text).expect("the same"), unclaimed);
        let wide = Unclaimed::of([(asset(1), Amount::MAX), (asset(1), Amount::MAX)], |_| true);
        assert_eq!(wide.sums[&asset(1)], Amount::MAX);
    }
}
