//! Payouts of coins that this member has no keys of: it came later, or left. It cannot build their bytes, for the key
//! service answers only who spends, and it need not: a coin is spent once, and the kernel shows by what.

use lockstep_core::B256;
use lockstep_core::derive::Derived;
use lockstep_core::output::CoinId;
use lockstep_core::payout::AttemptError;
use tracing::info;

use super::PayoutError;
use super::origin::address_of;
use super::step::{Job, Moved, Steps};
use crate::rosters::Spenders;
use crate::world::ledger::{IssueKeys, LedgerFault, ReadKernel, SendTransaction, SubmitPayout};
use crate::world::peer::PullPayouts;

impl<L: IssueKeys + SubmitPayout, K: ReadKernel + SendTransaction, P: PullPayouts> Steps<L, K, P> {
    /// Who can spend the coins of a derived transaction. All of them lie at one address: a list of coins moves as a whole.
    pub(super) async fn spenders(&self, derived: &Derived) -> Result<Spenders, PayoutError> {
        let generation = address_of(&self.store, &self.owner.group, derived).await?.ok_or(PayoutError::Origin)?;
        self.owner.rosters.spenders(generation).ok_or(PayoutError::Strangers { generation })
    }

    /// Asks the kernel what spent the coins. Whoever signed it: if it pays what is derived here, this is the payout.
    pub(super) async fn observe(&self, open: &Job) -> Result<Moved, PayoutError> {
        let Some(coins) = self.coins(&open.derived).await? else { return Ok(Moved::AwaitsInputs) };
        let plan = self.plan(open, 0, &coins)?;
        let Some(coin) = plan.coins().first().copied() else { return Err(PayoutError::Origin) };
        let Some((hash, is_ours)) = self.spender_of(coin, |transaction| plan.is_paid_by(transaction)).await? else {
            return Ok(Moved::Waits);
        };
        if !is_ours {
            let source = AttemptError::ForeignSpend { coin, by: hash };
            return Err(PayoutError::Attempt { payout: open.id, attempt: open.attempts.number(), source });
        }
        self.store.mark_final(open.id, hash).await?;
        info!(payout = %open.id, trace = ?open.derived.trace, %hash, "payout of others final");
        Ok(Moved::Final)
    }

    /// The final transaction that spends `coin`, and what `judge` says of it.
    async fn spender_of(
        &self,
        coin: CoinId,
        judge: impl Fn(&lockstep_core::mixin::Transaction) -> bool,
    ) -> Result<Option<(B256, bool)>, LedgerFault> {
        for hash in self.kernel.coin_holders(coin).await? {
            let Some(view) = self.kernel.transaction(hash).await?.filter(|view| view.is_final) else { continue };
            let transaction = view.transaction.transaction();
            if transaction.inputs().iter().any(|input| input.is_coin() && input.coin == coin) {
                return Ok(Some((hash, judge(transaction))));
            }
        }
        Ok(None)
    }
}
