//! DERIVATION.md B7: payouts that wait, because their recipient was never seen or their amount is above a cap.

use alloy_primitives::FixedBytes;
use uuid::Uuid;

use super::effect::{CoinRef, DeriveError, Derived, DerivedMemo, Effect, Payee};
use super::ledger::Ledger;
use super::outbound::{Lane, Outbound, Reading};
use crate::trace::{ChainId, Trace};
use crate::{Amount, AssetId, Mix};

/// A payout whose coin is set apart until its delay is over or a decision turns it back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Escrow {
    /// The coin that holds exactly the amount.
    pub coin: CoinRef,
    /// Who pays, and gets it back.
    pub process: Uuid,
    /// Kernel asset id.
    pub asset: AssetId,
    /// What is paid.
    pub amount: Amount,
    /// Whom.
    pub to: Mix,
    /// What the recipient reads.
    pub memo: Vec<u8>,
    /// Ledger time in nanoseconds: the first applied output that is not earlier releases the payment.
    pub due: u64,
    /// Generation of the address where the coin lies.
    pub generation: u32,
}

impl Lane {
    /// How long a payout waits, in nanoseconds; `None`: not at all. The recipient was never a sender at a sequence ≤ s, or
    /// the amount is over a cap of s per payout, hour or day. Only payouts within the caps fill the windows.
    pub(super) fn b7_wait(
        &mut self,
        at: Reading<'_>,
        outbound: &Outbound,
        to: &Mix,
    ) -> Result<Option<u64>, DeriveError> {
        let config = &at.ledger.config;
        let Outbound { asset, amount, s, time, .. } = outbound;
        let unknown = (!at.ledger.is_known_at(to, *s)).then_some(config.delay_unknown_ns);
        let past = self.window.entry(*asset).or_default();
        // Block time never falls, so nobody asks again for what is older than both windows.
        let longest = config.window_hour_ns.max(config.window_day_ns);
        while past.pop_front_if(|(paid, _)| !is_within(*paid, *time, longest)).is_some() {}
        let over = |window, cap: Amount| {
            let recent = past.iter().filter(|(paid, _)| is_within(*paid, *time, window));
            let sum = recent.map(|(_, amount)| amount).try_fold(*amount, |sum, amount| sum.checked_add(*amount));
            sum.is_none_or(|sum| sum > cap)
        };
        let capped = at.ledger.caps_at(at.chain, *asset, *s).is_some_and(|caps| {
            *amount > caps.payout || over(config.window_hour_ns, caps.hour) || over(config.window_day_ns, caps.day)
        });
        if capped {
            return Ok(Some(config.delay_over_ns.max(unknown.unwrap_or_default())));
        }
        past.push_back((*time, *amount));
        Ok(unknown)
    }

    /// What follows the escrows of this chain. The place of an end is R = the verdict if that lies before q*, else q*. For
    /// every switch S with s_k < S ≤ R the coin moves first, then it settles. All of it is a function of k and the
    /// ledger; records play no part, so members that are ahead on either side build the same.
    pub(super) fn settle(
        &mut self,
        chain: ChainId,
        ledger: &Ledger,
        effects: &mut Vec<Effect>,
    ) -> Result<(), DeriveError> {
        let mut ended = Vec::new();
        for (k, escrow) in &mut self.escrow {
            let reached = ledger.first_at(escrow.due);
            let refused = ledger.verdicts.get(&(chain, *k)).copied();
            let bounce = refused.filter(|verdict| reached.is_none_or(|reached| *verdict < reached));
            let place = bounce.or(reached);
            let generation = ledger.generation_at(place.unwrap_or(ledger.applied))?;
            while escrow.generation < generation {
                effects.push(escrow.follow(chain, *k, ledger)?);
            }
            if let Some(place) = place {
                effects.push(escrow.end(chain, *k, bounce.is_some(), ledger.key_at(place)));
                ended.push(*k);
            }
        }
        for k in ended {
            self.escrow.remove(&k);
        }
        Ok(())
    }
}

impl Escrow {
    /// The coin moves to the address of the next generation.
    fn follow(&mut self, chain: ChainId, k: u64, ledger: &Ledger) -> Result<Effect, DeriveError> {
        let generation = self.generation.checked_add(1).ok_or(DeriveError::Overflow("the group's generation"))?;
        let trace = Trace::Move { chain, k, generation };
        let key = ledger.switch_after(self.generation).and_then(|switch| ledger.key_at(switch));
        let moved = self.spend(trace, Payee::Group(generation), DerivedMemo::Internal, key);
        self.generation = generation;
        self.coin = CoinRef::Virtual { trace, index: 0 };
        Ok(moved)
    }

    /// The payment, or the bounce to the process.
    fn end(&self, chain: ChainId, k: u64, bounce: bool, key: Option<Box<FixedBytes<96>>>) -> Effect {
        let (payee, memo) = if bounce {
            (Payee::Group(self.generation), DerivedMemo::Bounce(self.process))
        } else {
            (Payee::Mix(self.to.clone()), DerivedMemo::Pay(self.memo.clone()))
        };
        self.spend(Trace::Settle { chain, k }, payee, memo, key)
    }

    fn spend(&self, trace: Trace, payee: Payee, memo: DerivedMemo, key: Option<Box<FixedBytes<96>>>) -> Effect {
        let (asset, inputs, outputs) = (self.asset, vec![self.coin], vec![(payee, self.amount)]);
        Effect::Derived(Derived { trace, asset, inputs, outputs, memo, key })
    }
}

/// `paid` is younger than `window` at `now`.
fn is_within(paid: u64, now: u64, window: u64) -> bool {
    now.checked_sub(window).is_none_or(|edge| paid > edge)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payout_as_old_as_the_window_should_have_left_it() {
        assert!(!is_within(100, 150, 50));
        assert!(is_within(101, 150, 50));
        assert!(!is_within(0, 50, 50));
        assert!(is_within(0, 49, 50));
        assert!(is_within(0, 0, u64::MAX));
    }
}
