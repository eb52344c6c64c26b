//! The coins of one (chain, asset) in list order, and DERIVATION.md B5: which of them pay for an outbound.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use super::effect::{CoinRef, DeriveError, Effect};
use super::outbound::{Lane, Reading};
use crate::trace::Trace;
use crate::{Amount, AssetId};

/// Coins in the order in which they were appended. Nothing is ever inserted between two of them.
#[derive(Clone, Debug, Default)]
pub(super) struct CoinList {
    /// Place of the next coin.
    next: u64,
    coins: BTreeMap<u64, (CoinRef, Amount)>,
    /// The same places by (amount descending, place).
    by_size: BTreeSet<(Reverse<Amount>, u64)>,
    total: Amount,
}

impl CoinList {
    /// Appends a coin.
    pub(super) fn push(&mut self, coin: CoinRef, amount: Amount) -> Result<(), DeriveError> {
        let next = self.next.checked_add(1).ok_or(DeriveError::Overflow("a coin list's length"))?;
        self.total = self.total.checked_add(amount).ok_or(DeriveError::Overflow("a coin list's total"))?;
        self.coins.insert(self.next, (coin, amount));
        self.by_size.insert((Reverse(amount), self.next));
        self.next = next;
        Ok(())
    }

    /// The coins in list order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (CoinRef, Amount)> {
        self.coins.values().copied()
    }

    /// The places of the largest coins, until they cover `need` or are `most`, and their sum.
    fn largest(&self, need: Amount, most: usize) -> Result<(BTreeSet<u64>, Amount), DeriveError> {
        let (mut places, mut sum) = (BTreeSet::new(), Amount::ZERO);
        for (Reverse(amount), place) in self.by_size.iter().take(most) {
            if sum >= need {
                break;
            }
            places.insert(*place);
            sum = sum.checked_add(*amount).ok_or(DeriveError::Overflow("a sum of coins"))?;
        }
        Ok((places, sum))
    }

    /// Adds up to `room` more places in list order, passing over what would bring the sum above twice `need`.
    fn sweep(&self, places: &mut BTreeSet<u64>, sum: &mut Amount, need: Amount, mut room: usize) {
        for (place, (_, amount)) in &self.coins {
            if room == 0 {
                break;
            }
            if places.contains(place) {
                continue;
            }
            // sum + amount ≤ 2 × need, written so that nothing can overflow.
            let above = sum.checked_sub(need).and_then(|change| change.checked_add(*amount));
            let Some(more) = sum.checked_add(*amount).filter(|_| above.is_some_and(|above| above <= need)) else {
                continue;
            };
            places.insert(*place);
            *sum = more;
            room = room.saturating_sub(1);
        }
    }

    /// Removes the coins at `places`, in list order.
    fn take(&mut self, places: &BTreeSet<u64>) -> Vec<(CoinRef, Amount)> {
        let taken: Vec<_> = places.iter().filter_map(|place| Some((*place, self.coins.remove(place)?))).collect();
        for (place, (_, amount)) in &taken {
            self.by_size.remove(&(Reverse(*amount), *place));
            // Never below zero: each coin is part of the total.
            self.total = self.total.checked_sub(*amount).unwrap_or(Amount::ZERO);
        }
        taken.into_iter().map(|(_, coin)| coin).collect()
    }

    /// Removes all coins, in list order.
    pub(super) fn drain(&mut self) -> Vec<(CoinRef, Amount)> {
        let places = self.coins.keys().copied().collect();
        self.take(&places)
    }
}

impl Lane {
    /// Largest first (equal ones by place) until covered. When `inputs_max` of them do not cover, those are consolidated
    /// into one coin, as often as needed. Then a sweep of small ones. Returns the inputs in list order and their sum.
    pub(super) fn b5_coins(
        &mut self,
        at: Reading<'_>,
        asset: AssetId,
        need: Amount,
        k: u64,
        effects: &mut Vec<Effect>,
    ) -> Result<(Vec<CoinRef>, Amount), DeriveError> {
        let (inputs_max, sweep_max) = (at.ledger.config.inputs_max, at.ledger.config.sweep_max);
        let mut j: u32 = 0;
        loop {
            let list = self.coins.entry(asset).or_default();
            if list.total < need {
                return Err(DeriveError::Uncovered { chain: at.chain, k, asset });
            }
            let (mut places, mut sum) = list.largest(need, inputs_max)?;
            if sum >= need {
                let room = sweep_max.min(inputs_max.saturating_sub(places.len()));
                list.sweep(&mut places, &mut sum, need, room);
                let inputs = list.take(&places).into_iter().map(|(coin, _)| coin).collect();
                return Ok((inputs, sum));
            }
            let part = list.take(&places);
            self.merge(at, Trace::Consolidate { chain: at.chain, k, j }, (asset, &part), effects)?;
            j = j.checked_add(1).ok_or(DeriveError::Overflow("the consolidations of an outbound"))?;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Uuid;
    use crate::derive::tests::amount;

    fn list(amounts: &[u128]) -> CoinList {
        let mut list = CoinList::default();
        for (place, units) in amounts.iter().enumerate() {
            list.push(coin(place), amount(*units)).expect("small amounts");
        }
        list
    }

    fn coin(place: usize) -> CoinRef {
        CoinRef::Output(Uuid::from_u128(place as u128))
    }

    fn swept(amounts: &[u128], need: u128, most: usize, room: usize) -> (Vec<u64>, u128) {
        let list = list(amounts);
        let (mut places, mut sum) = list.largest(amount(need), most).expect("small amounts");
        list.sweep(&mut places, &mut sum, amount(need), room);
        (places.into_iter().collect(), sum.units())
    }

    #[test]
    fn more_of_an_asset_than_can_exist_should_be_an_error() {
        let mut list = list(&[u128::MAX]);
        assert_eq!(list.push(coin(1), amount(1)), Err(DeriveError::Overflow("a coin list's total")));
        assert_eq!(swept(&[u128::MAX - 5, 5], u128::MAX, 9, 9), (vec![0, 1], u128::MAX));
        assert_eq!(swept(&[u128::MAX - 5, 5], u128::MAX - 5, 9, 9), (vec![0, 1], u128::MAX));
    }

    #[test]
    fn the_largest_coins_should_be_taken_and_equal_ones_by_place() {
        assert_eq!(swept(&[5, 9, 9, 7], 9, 255, 0), (vec![1], 9));
        assert_eq!(swept(&[5, 9, 9, 7], 10, 255, 0), (vec![1, 2], 18));
        assert_eq!(swept(&[5, 9, 9, 7], 30, 3, 0), (vec![1, 2, 3], 25));
    }

    #[test]
    fn a_sweep_should_pass_over_what_exceeds_twice_the_need() {
        assert_eq!(swept(&[3, 11, 4, 2, 9], 10, 255, 16), (vec![0, 1, 2, 3], 20));
        assert_eq!(swept(&[10, 11, 9], 10, 255, 16), (vec![1, 2], 20));
        assert_eq!(swept(&[1, 1, 1, 11], 10, 255, 2), (vec![0, 1, 3], 13));
    }

    #[test]
    fn taken_coins_should_leave_the_rest_in_order() {
        let mut list = list(&[5, 9, 9, 7]);
        assert_eq!(list.take(&BTreeSet::from([3, 1])), [(coin(1), amount(9)), (coin(3), amount(7))]);
        assert_eq!(list.total, amount(14));
        list.push(coin(9), amount(6)).expect("small amounts");
        assert_eq!(list.drain(), [(coin(0), amount(5)), (coin(2), amount(9)), (coin(9), amount(6))]);
        assert!(list.by_size.is_empty() && list.total.is_zero());
    }
}
