//! What a transaction may cost, when a stuck one costs more, and when the account runs low.

use alloy::primitives::U256;
use serde::{Deserialize, Serialize};

/// A replacement must offer at least 10 % more on both prices (geth's pool); an eighth leaves room for rounding.
const BUMP_DIVISOR: u128 = 8;

/// The price of one gas, in wei.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Price {
    /// Highest price in all.
    pub max_fee: u128,
    /// What of it goes to the block's proposer.
    pub tip: u128,
}

/// What the chain asks now, in wei a gas.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Market {
    /// Base fee of the newest block.
    pub base_fee: u128,
    /// The tip that the endpoint suggests.
    pub tip: u128,
}

/// Bounds of what this member pays, in wei a gas.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FeePolicy {
    /// Never pays more than this.
    pub max_fee_max: u128,
    /// Lowest tip to offer, for endpoints that suggest none.
    pub tip_min: u128,
    /// Highest tip of a first attempt; a stuck transaction may exceed it up to `max_fee_max`.
    pub tip_max: u128,
}

impl Default for FeePolicy {
    /// 500 gwei at most, a tip of 0.01 to 5 gwei.
    fn default() -> Self {
        Self { max_fee_max: 500_000_000_000, tip_min: 10_000_000, tip_max: 5_000_000_000 }
    }
}

impl FeePolicy {
    /// The price of a new transaction: room for the base fee to double. `None` while the chain asks more than the policy
    /// allows: waiting is free, and another member may have a higher bound.
    pub fn price(&self, market: Market) -> Option<Price> {
        let tip = market.tip.max(self.tip_min).min(self.tip_max.max(self.tip_min));
        if market.base_fee.saturating_add(tip) > self.max_fee_max {
            return None;
        }
        let max_fee = market.base_fee.saturating_mul(2).saturating_add(tip).min(self.max_fee_max);
        Some(Price { max_fee, tip })
    }

    /// The price that takes the place of `old`: an eighth more on both parts, or the market's where that is higher. `None`
    /// where the policy allows no such price.
    pub fn bumped(&self, old: Price, market: Market) -> Option<Price> {
        let market = self.price(market).unwrap_or(old);
        let max_fee = raised(old.max_fee).max(market.max_fee);
        let tip = raised(old.tip).max(market.tip).min(max_fee);
        (max_fee <= self.max_fee_max).then_some(Price { max_fee, tip })
    }
}

const fn raised(price: u128) -> u128 {
    price.saturating_add(price.div_ceil(BUMP_DIVISOR)).saturating_add(1)
}

/// How an account's balance compares with what it is needed for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Funds {
    /// Enough for many transactions.
    Enough,
    /// Fewer than [`LOW_TRANSACTIONS`] are paid for: an operator should fill the account.
    Low,
    /// Not even one: nothing can be sent.
    Empty,
}

/// A balance for fewer transactions than this is low.
pub const LOW_TRANSACTIONS: u64 = 20;

/// Compares `balance` (wei) with a transaction of `gas` at `price`.
pub fn funds(balance: U256, gas: u64, price: Price) -> Funds {
    let one = U256::from(gas).saturating_mul(U256::from(price.max_fee));
    if balance < one {
        Funds::Empty
    } else if balance < one.saturating_mul(U256::from(LOW_TRANSACTIONS)) {
        Funds::Low
    } else {
        Funds::Enough
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: FeePolicy = FeePolicy { max_fee_max: 1_000, tip_min: 5, tip_max: 50 };

    #[test]
    fn no_price_should_exceed_the_policy() {
        assert_eq!(POLICY.price(Market { base_fee: 996, tip: 0 }), None);
        assert_eq!(POLICY.price(Market { base_fee: u128::MAX, tip: u128::MAX }), None);
        assert_eq!(POLICY.bumped(Price { max_fee: 900, tip: 5 }, Market { base_fee: 1, tip: 1 }), None);
        let high = POLICY.price(Market { base_fee: 900, tip: 70 });
        assert_eq!(high, Some(Price { max_fee: 1_000, tip: 50 }));
    }

    #[test]
    fn a_bump_should_raise_both_prices_by_an_eighth_or_more() {
        for old in [Price { max_fee: 0, tip: 0 }, Price { max_fee: 1, tip: 1 }, Price { max_fee: 801, tip: 33 }] {
            let new = POLICY.bumped(old, Market { base_fee: 0, tip: 0 }).expect("below the bound");
            assert!(new.max_fee * 8 >= old.max_fee * 9 && new.max_fee > old.max_fee, "{old:?} {new:?}");
            assert!(new.tip * 8 >= old.tip * 9 && new.tip > old.tip, "{old:?} {new:?}");
        }
    }

    #[test]
    fn a_bump_should_follow_a_market_that_ran_away() {
        let new = POLICY.bumped(Price { max_fee: 10, tip: 5 }, Market { base_fee: 100, tip: 20 });
        assert_eq!(new, Some(Price { max_fee: 220, tip: 20 }));
    }

    #[test]
    fn funds_should_be_counted_in_transactions() {
        let price = Price { max_fee: 10, tip: 1 };
        assert_eq!(funds(U256::from(99), 10, price), Funds::Empty);
        assert_eq!(funds(U256::from(1_999), 10, price), Funds::Low);
        assert_eq!(funds(U256::from(2_000), 10, price), Funds::Enough);
        assert_eq!(funds(U256::MAX, u64::MAX, Price { max_fee: u128::MAX, tip: 0 }), Funds::Enough);
    }
}
