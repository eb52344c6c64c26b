//! What a payout's driver asks the kernel: are the coins final, and what became of the payload?

use std::collections::BTreeSet;

use futures_util::stream::{self, StreamExt, TryStreamExt};
use lockstep_core::mixin::CoinKeys;
use lockstep_core::output::CoinId;
use lockstep_core::payout::{AttemptError, Attempts, Verdict};
use lockstep_core::{Amount, B256};
use thiserror::Error;

use crate::world::ledger::{LedgerFault, ReadKernel};

/// Questions that are asked at the same time.
const READS_AT_ONCE: usize = 16;

/// A coin whose transaction is final: what it holds and who can spend it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FinalCoin {
    /// Its place.
    pub id: CoinId,
    /// What it holds.
    pub amount: Amount,
    /// Its keys and script, to sign and verify with.
    pub keys: CoinKeys,
}

/// The coins in the order of `ids`, or `None` while one of them is not final, or does not exist.
///
/// # Errors
/// Where the kernel was not read.
pub async fn final_coins(kernel: &impl ReadKernel, ids: &[CoinId]) -> Result<Option<Vec<FinalCoin>>, LedgerFault> {
    let one = |id: &CoinId| {
        let id = *id;
        async move {
            let view = kernel.transaction(id.transaction).await?.filter(|view| view.is_final);
            let output =
                view.and_then(|view| view.transaction.transaction().outputs().get(usize::from(id.index)).cloned());
            Ok(output.map(|output| FinalCoin { id, amount: output.amount, keys: CoinKeys::from(&output) }))
        }
    };
    stream::iter(ids.iter().map(one))
        .buffered(READS_AT_ONCE)
        .try_collect::<Vec<_>>()
        .await
        .map(|coins| coins.into_iter().collect())
}

/// Looks on the kernel for what settles the payload in hand: itself, a final transaction that has one of its keys, a final
/// transaction that spends one of its coins. [`Verdict::Unrelated`] means that it waits on.
///
/// Keys come first: where a key is lost, the next attempt of other members may have spent the coins already, and that is no
/// foreign spend.
///
/// # Errors
/// [`LookupError::Contradiction`] halts the member; a fault may be asked again.
pub async fn look_up(kernel: &impl ReadKernel, attempts: &mut Attempts) -> Result<Verdict, LookupError> {
    let Some(payload) = attempts.payload() else { return Ok(Verdict::Unrelated) };
    let verdict = observe_all(kernel, attempts, [payload].into()).await?;
    if verdict != Verdict::Unrelated {
        return Ok(verdict);
    }
    let keys: Vec<[u8; 32]> = attempts.keys().map(|key| key.0).collect();
    let by_key = stream::iter(keys).map(|key| kernel.key_holders(key)).buffered(READS_AT_ONCE);
    let holders = by_key.try_concat().await?.into_iter().collect();
    let verdict = observe_all(kernel, attempts, holders).await?;
    if verdict != Verdict::Unrelated {
        return Ok(verdict);
    }
    let coins: Vec<CoinId> = attempts.coins().copied().collect();
    let by_coin = stream::iter(coins).map(|coin| kernel.coin_holders(coin)).buffered(READS_AT_ONCE);
    let holders = by_coin.try_concat().await?.into_iter().collect();
    observe_all(kernel, attempts, holders).await
}

/// What the final ones among `hashes` mean for the payout.
async fn observe_all(
    kernel: &impl ReadKernel,
    attempts: &mut Attempts,
    hashes: BTreeSet<B256>,
) -> Result<Verdict, LookupError> {
    for hash in hashes {
        let Some(view) = kernel.transaction(hash).await?.filter(|view| view.is_final) else { continue };
        match attempts.observe(view.transaction.transaction())? {
            Verdict::Unrelated => {}
            verdict @ (Verdict::Paid | Verdict::Dead) => return Ok(verdict),
        }
    }
    Ok(Verdict::Unrelated)
}

/// Why a payload's fate is not known.
#[derive(Debug, Error)]
pub enum LookupError {
    /// The kernel was not read.
    #[error("the kernel was not read")]
    Fault(#[from] LedgerFault),
    /// The ledger did what its rules exclude.
    #[error("the ledger contradicts the payout")]
    Contradiction(#[from] AttemptError),
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use lockstep_core::AssetId;
    use lockstep_core::mixin::{Input, Output, RawKey, Transaction};

    use super::*;
    use crate::world::ledger::KernelView;

    #[derive(Default)]
    struct Kernel {
        finals: BTreeMap<B256, Transaction>,
        announced: BTreeMap<B256, Transaction>,
    }

    impl Kernel {
        fn holders(&self, has: impl Fn(&Transaction) -> bool) -> Vec<B256> {
            self.finals.values().chain(self.announced.values()).filter(|tx| has(tx)).map(Transaction::hash).collect()
        }
    }

    impl ReadKernel for Kernel {
        async fn transaction(&self, hash: B256) -> Result<Option<KernelView>, LedgerFault> {
            let is_final = self.finals.contains_key(&hash);
            let found = self.finals.get(&hash).or(self.announced.get(&hash)).cloned();
            Ok(found.map(|found| KernelView { transaction: found.unsigned(), is_final }))
        }

        async fn key_holders(&self, key: [u8; 32]) -> Result<Vec<B256>, LedgerFault> {
            Ok(self.holders(|tx| tx.outputs().iter().any(|output| output.keys.contains(&RawKey(key)))))
        }

        async fn coin_holders(&self, coin: CoinId) -> Result<Vec<B256>, LedgerFault> {
            Ok(self.holders(|tx| tx.coins().is_some_and(|coins| coins.contains(&coin))))
        }
    }

    fn coin(index: u16) -> CoinId {
        CoinId { transaction: B256::ZERO, index }
    }

    fn transaction(index: u16, key: u8) -> Transaction {
        let output = Output::of_keys(Amount::from_units(3), vec![RawKey([key; 32])], RawKey::ZERO, 1);
        let inputs = vec![Input::of_coin(coin(index))];
        Transaction::new(AssetId([1; 32]), inputs, vec![output], Vec::new(), Vec::new()).expect("in bounds")
    }

    fn attempts() -> Attempts {
        let mut attempts = Attempts::default();
        attempts.build(&transaction(0, 1)).expect("the first attempt");
        attempts
    }

    fn with(map: &mut BTreeMap<B256, Transaction>, transaction: &Transaction) {
        map.insert(transaction.hash(), transaction.clone());
    }

    #[tokio::test]
    async fn what_is_only_announced_should_settle_nothing() {
        let mut kernel = Kernel::default();
        for foreign in [transaction(0, 1), transaction(0, 2), transaction(5, 1)] {
            with(&mut kernel.announced, &foreign);
        }
        let mut attempts = attempts();
        assert!(matches!(look_up(&kernel, &mut attempts).await, Ok(Verdict::Unrelated)));
        assert_eq!(attempts.number(), 0);
        assert_eq!(
            final_coins(&kernel, &[CoinId { transaction: transaction(0, 1).hash(), index: 0 }]).await.ok(),
            Some(None)
        );
    }

    #[tokio::test]
    async fn a_foreign_final_spend_should_be_a_contradiction() {
        let mut kernel = Kernel::default();
        with(&mut kernel.finals, &transaction(0, 2));
        let refused = look_up(&kernel, &mut attempts()).await;
        assert!(matches!(refused, Err(LookupError::Contradiction(AttemptError::ForeignSpend { .. }))));
    }

    #[tokio::test]
    async fn a_final_holder_of_a_key_should_end_the_attempt_and_the_payload_itself_the_payout() {
        let mut kernel = Kernel::default();
        with(&mut kernel.finals, &transaction(5, 1));
        let mut dead = attempts();
        assert!(matches!(look_up(&kernel, &mut dead).await, Ok(Verdict::Dead)));
        assert_eq!(dead.number(), 1);
        let mut kernel = Kernel::default();
        with(&mut kernel.finals, &transaction(0, 1));
        let mut paid = attempts();
        assert!(matches!(look_up(&kernel, &mut paid).await, Ok(Verdict::Paid)) && paid.is_final());
    }

    #[tokio::test]
    async fn a_lost_key_should_be_found_before_the_spend_that_follows_from_it() {
        // Whatever the order of the hashes.
        for next in 2..20 {
            let mut kernel = Kernel::default();
            with(&mut kernel.finals, &transaction(5, 1));
            with(&mut kernel.finals, &transaction(0, next));
            assert!(matches!(look_up(&kernel, &mut attempts()).await, Ok(Verdict::Dead)));
        }
    }

    #[tokio::test]
    async fn coins_should_come_in_the_order_asked_for() {
        let mut kernel = Kernel::default();
        let (first, second) = (transaction(1, 1), transaction(2, 2));
        with(&mut kernel.finals, &first);
        with(&mut kernel.finals, &second);
        let ids = [&second, &first].map(|tx| CoinId { transaction: tx.hash(), index: 0 });
        let coins = final_coins(&kernel, &ids).await.expect("read").expect("final");
        assert_eq!(coins.iter().map(|coin| coin.id).collect::<Vec<_>>(), ids);
        assert_eq!(coins[0].keys.keys, [RawKey([2; 32])]);
        let none = CoinId { index: 1, ..ids[0] };
        assert_eq!(final_coins(&kernel, &[ids[0], none]).await.expect("read"), None);
    }
}
