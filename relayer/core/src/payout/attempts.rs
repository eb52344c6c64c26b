//! When a payout may be built a second time (DERIVATION.md C5).
//!
//! An output key belongs to one transaction for ever. If somebody else's *final* transaction has taken a key of ours, our
//! payload can never be admitted, and the next attempt, with other keys over the same coins, is safe. Nothing else makes
//! an attempt: a payload that is merely stuck may still become final tomorrow, so it is held, however long it takes.

use std::collections::BTreeSet;

use alloy_primitives::B256;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::mixin::{RawKey, Transaction};
use crate::output::CoinId;

/// The attempts at one payout: the one in hand, and those that are proven dead.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempts {
    number: u32,
    dead: Vec<DeadPayload>,
    open: Option<Open>,
    is_final: bool,
}

/// The payload in hand.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Open {
    payload: B256,
    coins: BTreeSet<CoinId>,
    keys: BTreeSet<RawKey>,
}

/// A payload that can never become final, with the proof: any member can look it up on the ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadPayload {
    payload: B256,
    key: RawKey,
    holder: B256,
}

impl DeadPayload {
    /// The payload hash.
    pub const fn payload(&self) -> B256 {
        self.payload
    }

    /// The output key that it can never have.
    pub const fn key(&self) -> RawKey {
        self.key
    }

    /// The final transaction that has the key.
    pub const fn holder(&self) -> B256 {
        self.holder
    }

    #[cfg(test)]
    pub(super) const fn for_test(payload: B256) -> Self {
        Self { payload, key: RawKey::ZERO, holder: B256::ZERO }
    }
}

/// What a final transaction means for a payout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is the payout: done.
    Paid,
    /// It killed the payload in hand; the next attempt is to be built.
    Dead,
    /// It has nothing to do with it. What waits, waits on.
    Unrelated,
}

impl Attempts {
    /// The number of the attempt in hand or to be built, from 0.
    pub const fn number(&self) -> u32 {
        self.number
    }

    /// The payload in hand, once built.
    pub fn payload(&self) -> Option<B256> {
        self.open.as_ref().map(|open| open.payload)
    }

    /// The attempts that are proven dead, oldest first.
    pub fn dead(&self) -> &[DeadPayload] {
        &self.dead
    }

    /// True once the payout is final on the ledger.
    pub const fn is_final(&self) -> bool {
        self.is_final
    }

    /// The keys to look up on the ledger when the payload in hand does not become final.
    pub fn keys(&self) -> impl Iterator<Item = &RawKey> {
        self.open.iter().flat_map(|open| &open.keys)
    }

    /// The coins that the payload in hand spends.
    pub fn coins(&self) -> impl Iterator<Item = &CoinId> {
        self.open.iter().flat_map(|open| &open.coins)
    }

    /// Takes `transaction` as the payload of the attempt in hand. Again the same one changes nothing.
    ///
    /// # Errors
    /// [`AttemptError::Rebuilt`] for a second payload of one attempt, [`AttemptError::NoCommonCoins`] for inputs that
    /// differ from those of the attempt before, [`AttemptError::NotCoins`] for an input that is no coin.
    pub fn build(&mut self, transaction: &Transaction) -> Result<(), AttemptError> {
        let coins: BTreeSet<CoinId> = transaction.coins().ok_or(AttemptError::NotCoins)?.into_iter().collect();
        let payload = transaction.hash();
        if self.dead.iter().any(|dead| dead.payload == payload) {
            return Err(AttemptError::DeadAgain { payload });
        }
        match &self.open {
            Some(open) if open.payload == payload => return Ok(()),
            Some(open) if self.dead.last().is_none_or(|dead| dead.payload != open.payload) => {
                return Err(AttemptError::Rebuilt { attempt: self.number, first: open.payload, second: payload });
            }
            Some(open) if open.coins != coins => return Err(AttemptError::NoCommonCoins { attempt: self.number }),
            Some(_) | None => {}
        }
        let keys = transaction.outputs().iter().flat_map(|output| output.keys.iter().copied()).collect();
        self.open = Some(Open { payload, coins, keys });
        Ok(())
    }

    /// Judges a transaction that is final on the ledger.
    ///
    /// # Errors
    /// A contradiction, on which the member halts: [`AttemptError::ForeignSpend`], [`AttemptError::DeadPaid`],
    /// [`AttemptError::KeyTwice`].
    pub fn observe(&mut self, final_transaction: &Transaction) -> Result<Verdict, AttemptError> {
        let hash = final_transaction.hash();
        if let Some(dead) = self.dead.iter().find(|dead| dead.payload == hash) {
            return Err(AttemptError::DeadPaid { payload: hash, holder: dead.holder });
        }
        let Some(open) = self.open.as_ref().filter(|open| !self.dead.iter().any(|dead| dead.payload == open.payload))
        else {
            return self.observe_unbuilt(final_transaction);
        };
        if open.payload == hash {
            self.is_final = true;
            return Ok(Verdict::Paid);
        }
        refuse_foreign_spend(&open.coins, final_transaction)?;
        let mut keys = final_transaction.outputs().iter().flat_map(|output| &output.keys);
        let Some(key) = keys.find(|key| open.keys.contains(key)).copied() else {
            return Ok(Verdict::Unrelated);
        };
        if self.is_final {
            return Err(AttemptError::KeyTwice { key, payload: open.payload, holder: hash });
        }
        let next = self.number.checked_add(1).ok_or(AttemptError::TooMany)?;
        self.dead.push(DeadPayload { payload: open.payload, key, holder: hash });
        self.number = next;
        Ok(Verdict::Dead)
    }

    /// Between two attempts only the coins of the dead one matter.
    fn observe_unbuilt(&self, final_transaction: &Transaction) -> Result<Verdict, AttemptError> {
        if let Some(open) = &self.open {
            refuse_foreign_spend(&open.coins, final_transaction)?;
        }
        Ok(Verdict::Unrelated)
    }
}

fn refuse_foreign_spend(coins: &BTreeSet<CoinId>, transaction: &Transaction) -> Result<(), AttemptError> {
    let spent = transaction.inputs().iter().find(|input| input.is_coin() && coins.contains(&input.coin));
    match spent {
        Some(input) => Err(AttemptError::ForeignSpend { coin: input.coin, by: transaction.hash() }),
        None => Ok(()),
    }
}

/// What cannot be while the rules hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum AttemptError {
    /// One attempt has two payloads: the derivation is not deterministic.
    #[error("attempt {attempt} was built as {first} and again as {second}")]
    Rebuilt {
        /// Which attempt.
        attempt: u32,
        /// The payload in hand.
        first: B256,
        /// The other one.
        second: B256,
    },
    /// Attempts share all inputs; only so can at most one of them become final.
    #[error("attempt {attempt} does not spend the coins of the attempt before")]
    NoCommonCoins {
        /// Which attempt.
        attempt: u32,
    },
    /// A payload that is proven dead was built again: the keys did not change.
    #[error("payload {payload} is dead and was built again")]
    DeadAgain {
        /// The payload.
        payload: B256,
    },
    /// An input that is a deposit, mint or genesis.
    #[error("a payout spends coins only")]
    NotCoins,
    /// A final transaction that the group did not derive spends its coin.
    #[error("coin {}:{} was spent by {by}, which is not the payout", coin.transaction, coin.index)]
    ForeignSpend {
        /// The coin.
        coin: CoinId,
        /// The transaction.
        by: B256,
    },
    /// A payload that was proven dead became final.
    #[error("payload {payload} was dead, since {holder} has one of its keys, and is final nevertheless")]
    DeadPaid {
        /// The payload.
        payload: B256,
        /// The transaction that has the key.
        holder: B256,
    },
    /// Two final transactions have one output key.
    #[error("both {payload} and {holder} are final and have the key {}", hex::encode(key.0))]
    KeyTwice {
        /// The key.
        key: RawKey,
        /// The payout.
        payload: B256,
        /// The other transaction.
        holder: B256,
    },
    /// Every number is used up.
    #[error("more attempts than can be counted")]
    TooMany,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mixin::{Input, Output};
    use crate::{Amount, AssetId};

    /// A transaction that spends `coins` (indexes of one transaction) and has an output under `key`.
    fn transaction(coins: &[u16], key: u8) -> Transaction {
        let coin = |index: &u16| Input::of_coin(CoinId { transaction: B256::ZERO, index: *index });
        let output = Output::of_keys(Amount::from_units(1), vec![RawKey([key; 32])], RawKey([99; 32]), 1);
        Transaction::new(AssetId([1; 32]), coins.iter().map(coin).collect(), vec![output], Vec::new(), Vec::new())
            .expect("a transaction")
    }

    fn attempts(first: &Transaction) -> Attempts {
        let mut attempts = Attempts::default();
        attempts.build(first).expect("the first attempt");
        attempts
    }

    #[test]
    fn a_second_payload_should_be_refused_while_the_first_is_not_dead() {
        let mut attempts = attempts(&transaction(&[0, 1], 1));
        let second = transaction(&[0, 1], 2);
        assert!(matches!(attempts.build(&second), Err(AttemptError::Rebuilt { attempt: 0, .. })));
        assert_eq!(attempts.observe(&transaction(&[7], 7)), Ok(Verdict::Unrelated));
        assert!(attempts.build(&second).is_err() && attempts.number() == 0);
    }

    #[test]
    fn a_foreign_spend_of_an_input_should_be_a_contradiction() {
        let first = transaction(&[0, 1], 1);
        let foreign = transaction(&[1], 9);
        let refusal = attempts(&first).observe(&foreign);
        let coin = CoinId { transaction: B256::ZERO, index: 1 };
        assert_eq!(refusal, Err(AttemptError::ForeignSpend { coin, by: foreign.hash() }));
    }

    #[test]
    fn a_taken_key_should_allow_the_next_attempt_over_the_same_coins_only() {
        let first = transaction(&[0, 1], 1);
        let thief = transaction(&[7], 1);
        let mut attempts = attempts(&first);
        assert_eq!(attempts.observe(&thief), Ok(Verdict::Dead));
        assert_eq!((attempts.number(), attempts.dead().len()), (1, 1));
        assert_eq!((attempts.dead()[0].payload(), attempts.dead()[0].holder()), (first.hash(), thief.hash()));
        assert_eq!(attempts.observe(&thief), Ok(Verdict::Unrelated), "seen again between two attempts");
        assert_eq!(attempts.build(&transaction(&[0], 2)), Err(AttemptError::NoCommonCoins { attempt: 1 }));
        let second = transaction(&[1, 0], 2);
        assert_eq!(attempts.build(&second), Ok(()));
        assert_eq!(attempts.observe(&thief), Ok(Verdict::Unrelated), "seen again after the next attempt");
        assert_eq!(attempts.observe(&second), Ok(Verdict::Paid));
        assert!(attempts.is_final() && attempts.payload() == Some(second.hash()));
    }

    #[test]
    fn a_dead_payload_should_neither_come_back_nor_become_final() {
        let first = transaction(&[0], 1);
        let mut attempts = attempts(&first);
        assert_eq!(attempts.observe(&transaction(&[7], 1)), Ok(Verdict::Dead));
        assert!(matches!(attempts.observe(&first), Err(AttemptError::DeadPaid { .. })));
        assert_eq!(attempts.build(&first), Err(AttemptError::DeadAgain { payload: first.hash() }));
        attempts.build(&transaction(&[0], 2)).expect("the second attempt");
        assert_eq!(attempts.build(&first), Err(AttemptError::DeadAgain { payload: first.hash() }));
    }

    #[test]
    fn the_same_payload_should_be_paid_once_however_often_it_is_seen() {
        let first = transaction(&[0], 1);
        let mut attempts = attempts(&first);
        attempts.build(&first).expect("the same again");
        assert_eq!(attempts.observe(&first), Ok(Verdict::Paid));
        assert_eq!(attempts.observe(&first), Ok(Verdict::Paid));
        assert!(matches!(attempts.observe(&transaction(&[7], 1)), Err(AttemptError::KeyTwice { .. })));
    }

    #[test]
    fn what_is_stored_should_come_back_equal() {
        let mut attempts = attempts(&transaction(&[0], 1));
        attempts.observe(&transaction(&[7], 1)).expect("dead");
        let text = serde_json::to_string(&attempts).expect("json");
        assert_eq!(serde_json::from_str::<Attempts>(&text).expect("attempts"), attempts);
    }
}
