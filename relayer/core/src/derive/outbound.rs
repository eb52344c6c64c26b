//! DERIVATION.md B1 to B4 and B6: the records of one chain, in their order. One function per rule.

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::coins::CoinList;
use super::effect::{CoinRef, DeriveError, Derived, DerivedMemo, Effect, Payee};
use super::escrow::Escrow;
use super::ledger::Ledger;
use crate::trace::{ChainId, Trace};
use crate::{Account, Amount, AssetId, Mix};

/// What a chain's group contract did, in final order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Record {
    /// A checkpoint with a higher sequence was accepted.
    Accepted {
        /// The sequence accepted now.
        s: u64,
        /// Block time in nanoseconds.
        time: u64,
    },
    /// A process asked the group to pay.
    Outbound(Outbound),
}

/// A numbered event that asks the group to pay.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outbound {
    /// Number on its chain, from 0, without gaps.
    pub k: u64,
    /// Who pays.
    pub process: Uuid,
    /// Kernel asset id.
    pub asset: AssetId,
    /// In 10⁻⁸ units. The contract's 256 bits are custody that came in as u128.
    pub amount: Amount,
    /// Exactly 32 bytes: an account that the process has seen; else a MIX payload; anything else cannot be paid.
    pub recipient: Vec<u8>,
    /// What the recipient reads.
    pub memo: Vec<u8>,
    /// The ledger sequence that the contract had accepted.
    pub s: u64,
    /// Block time in nanoseconds.
    pub time: u64,
}

impl Record {
    /// The ledger sequence that the contract had accepted.
    const fn s(&self) -> u64 {
        match self {
            Self::Accepted { s, .. } | Self::Outbound(Outbound { s, .. }) => *s,
        }
    }

    /// Block time in nanoseconds.
    const fn time(&self) -> u64 {
        match self {
            Self::Accepted { time, .. } | Self::Outbound(Outbound { time, .. }) => *time,
        }
    }
}

/// A coin that a record will add to the list and the book of its chain.
#[derive(Clone, Copy, Debug)]
pub(super) struct Credit {
    pub(super) sequence: u64,
    pub(super) process: Uuid,
    pub(super) asset: AssetId,
    pub(super) amount: Amount,
    pub(super) output: Uuid,
    /// Of the address that it was paid to.
    pub(super) generation: u32,
}

/// What the rules of a lane read and never change.
#[derive(Clone, Copy)]
pub(super) struct Reading<'a> {
    pub(super) chain: ChainId,
    pub(super) ledger: &'a Ledger,
}

/// Everything that one chain owns. Only records of this chain, in their order, change it.
#[derive(Clone, Debug, Default)]
pub(super) struct Lane {
    /// Records fed and not processed.
    pub(super) records: VecDeque<Record>,
    /// Number of the next outbound to be fed.
    pub(super) next_k: u64,
    /// Accepted sequence and block time of the last record fed.
    last: (u64, u64),
    /// Accepted sequence of the last record worked off: what follows of it sees nothing later.
    reached: u64,
    /// Coins applied and not credited, in ledger order.
    pub(super) credits: VecDeque<Credit>,
    pub(super) generation: u32,
    /// What each process may still pay; no zeros.
    pub(super) book: BTreeMap<(Uuid, AssetId), Amount>,
    pub(super) coins: BTreeMap<AssetId, CoinList>,
    /// (block time, amount) of payouts within the caps that a window may still hold.
    pub(super) window: BTreeMap<AssetId, VecDeque<(u64, Amount)>>,
    /// Payouts that wait for a verdict or for q*, by k.
    pub(super) escrow: BTreeMap<u64, Escrow>,
    pub(super) parked: Vec<u64>,
}

impl Lane {
    /// Appends a record, if it can follow the one before.
    pub(super) fn feed(&mut self, chain: ChainId, record: Record) -> Result<(), DeriveError> {
        let went_back = |what, before, found| DeriveError::RecordOrder { chain, what, before, found };
        let (s, time) = self.last;
        if record.s() < s {
            return Err(went_back("accepted sequence", s, record.s()));
        }
        if record.time() < time {
            return Err(went_back("block time", time, record.time()));
        }
        if let Record::Outbound(outbound) = &record {
            if outbound.k != self.next_k {
                return Err(DeriveError::OutboundOrder { chain, expected: self.next_k, found: outbound.k });
            }
            self.next_k = self.next_k.checked_add(1).ok_or(DeriveError::Overflow("the outbounds of a chain"))?;
        }
        self.last = (record.s(), record.time());
        self.records.push_back(record);
        Ok(())
    }

    /// One record, when the ledger is applied up to its s. False: none, or wait; never guess.
    pub(super) fn step(&mut self, at: Reading<'_>, effects: &mut Vec<Effect>) -> Result<bool, DeriveError> {
        let Some(record) = self.records.pop_front_if(|record| record.s() <= at.ledger.applied) else {
            return Ok(false);
        };
        self.reached = record.s();
        self.b2_switch(at, record.s(), effects)?;
        self.b1_credit(at, |sequence| sequence <= record.s(), effects)?;
        if let Record::Outbound(outbound) = record {
            self.outbound(at, outbound, effects)?;
        }
        Ok(true)
    }

    /// Credits calls and bounces in ledger order, as long as `due` says so of their sequence. A coin at an address that
    /// was left already is forwarded (B2).
    fn b1_credit(
        &mut self,
        at: Reading<'_>,
        due: impl Fn(u64) -> bool,
        effects: &mut Vec<Effect>,
    ) -> Result<(), DeriveError> {
        while let Some(credit) = self.credits.pop_front_if(|credit| due(credit.sequence)) {
            let Credit { process, asset, amount, output, generation, .. } = credit;
            let balance = self.book.entry((process, asset)).or_default();
            *balance = balance.checked_add(amount).ok_or(DeriveError::Overflow("a book"))?;
            let mut coin = CoinRef::Output(output);
            if generation < self.generation {
                let trace = Trace::Forward { output };
                effects.push(Effect::Derived(Derived {
                    trace,
                    asset,
                    inputs: vec![coin],
                    outputs: vec![(self.us(), amount)],
                    memo: DerivedMemo::Internal,
                    key: at.ledger.key_at(self.reached),
                }));
                coin = CoinRef::Virtual { trace, index: 0 };
            }
            self.coins.entry(asset).or_default().push(coin, amount)?;
        }
        Ok(())
    }

    /// At the first record that knows of a switch: credit what lies before it, then migrate each asset's list, assets
    /// ascending, in list order, `inputs_max` coins a transaction. Escrow coins move by ledger order ([`Lane::settle`]).
    fn b2_switch(&mut self, at: Reading<'_>, s: u64, effects: &mut Vec<Effect>) -> Result<(), DeriveError> {
        let target = at.ledger.generation_at(s)?;
        while self.generation < target {
            if let Some(switch) = at.ledger.switch_after(self.generation) {
                self.b1_credit(at, |sequence| sequence < switch, effects)?;
            }
            self.generation = self.generation.checked_add(1).ok_or(DeriveError::Overflow("the group's generation"))?;
            let (chain, generation) = (at.chain, self.generation);
            let assets: Vec<AssetId> = self.coins.keys().copied().collect();
            for asset in assets {
                let coins = self.coins.get_mut(&asset).map(CoinList::drain).unwrap_or_default();
                for (j, part) in (0..).zip(coins.chunks(at.ledger.config.inputs_max)) {
                    self.merge(at, Trace::Migrate { chain, generation, asset, j }, (asset, part), effects)?;
                }
            }
        }
        Ok(())
    }

    /// Turns coins into one, which is appended at once as a virtual coin.
    pub(super) fn merge(
        &mut self,
        at: Reading<'_>,
        trace: Trace,
        (asset, coins): (AssetId, &[(CoinRef, Amount)]),
        effects: &mut Vec<Effect>,
    ) -> Result<(), DeriveError> {
        let total = coins.iter().try_fold(Amount::ZERO, |sum, (_, amount)| sum.checked_add(*amount));
        let total = total.ok_or(DeriveError::Overflow("a sum of coins"))?;
        let inputs = coins.iter().map(|(coin, _)| *coin).collect();
        let outputs = vec![(self.us(), total)];
        let (memo, key) = (DerivedMemo::Internal, at.ledger.key_at(self.reached));
        effects.push(Effect::Derived(Derived { trace, asset, inputs, outputs, memo, key }));
        self.coins.entry(asset).or_default().push(CoinRef::Virtual { trace, index: 0 }, total)
    }

    /// Accepted sequence of the last record worked off.
    pub(super) const fn reached(&self) -> u64 {
        self.reached
    }

    /// The group as this chain's records know it.
    pub(super) const fn us(&self) -> Payee {
        Payee::Group(self.generation)
    }

    fn outbound(&mut self, at: Reading<'_>, outbound: Outbound, effects: &mut Vec<Effect>) -> Result<(), DeriveError> {
        let Some(rest) = self.b3_book(&outbound) else {
            self.parked.push(outbound.k);
            effects.push(Effect::Parked { chain: at.chain, k: outbound.k });
            return Ok(());
        };
        let to = b4_recipient(at.ledger, &outbound);
        let wait = match &to {
            Some(to) => self.b7_wait(at, &outbound, to)?,
            None => None,
        };
        let picked = self.b5_coins(at, outbound.asset, outbound.amount, outbound.k, effects)?;
        let entry = (outbound.process, outbound.asset);
        if rest.is_zero() {
            self.book.remove(&entry);
        } else {
            self.book.insert(entry, rest);
        }
        self.b6_outputs(at, outbound, to, wait, picked, effects)
    }

    /// What the debit leaves, or `None`: parked for good, without a debit and without coins. So is a zero amount, which
    /// no ledger transaction can carry.
    fn b3_book(&self, outbound: &Outbound) -> Option<Amount> {
        let balance = self.book.get(&(outbound.process, outbound.asset)).copied().unwrap_or_default();
        balance.checked_sub(outbound.amount).filter(|_| !outbound.amount.is_zero())
    }

    /// Output 0 is the payment; an illegal one goes to the group as BOUNCE, one that waits goes to the group, reserved to
    /// k. Output 1 is the change, appended at once.
    fn b6_outputs(
        &mut self,
        at: Reading<'_>,
        outbound: Outbound,
        to: Option<Mix>,
        wait: Option<u64>,
        (inputs, sum): (Vec<CoinRef>, Amount),
        effects: &mut Vec<Effect>,
    ) -> Result<(), DeriveError> {
        let (chain, k, us) = (at.chain, outbound.k, self.us());
        let Outbound { process, asset, amount, memo, .. } = outbound;
        let mut trace = Trace::Pay { chain, k };
        let (payee, derived_memo) = match (to, wait) {
            (None, _) => (us.clone(), DerivedMemo::Bounce(process)),
            (Some(to), None) => (Payee::Mix(to), DerivedMemo::Pay(memo)),
            (Some(to), Some(wait)) => {
                trace = Trace::Escrow { chain, k };
                let start = outbound.time.max(at.ledger.time_at(outbound.s));
                let due = start.checked_add(wait).ok_or(DeriveError::Overflow("the end of an escrow"))?;
                let coin = CoinRef::Virtual { trace, index: 0 };
                let generation = self.generation;
                self.escrow.insert(k, Escrow { coin, process, asset, amount, to, memo, due, generation });
                (us.clone(), DerivedMemo::Internal)
            }
        };
        let mut outputs = vec![(payee, amount)];
        if let Some(change) = sum.checked_sub(amount).filter(|change| !change.is_zero()) {
            outputs.push((us, change));
            self.coins.entry(asset).or_default().push(CoinRef::Virtual { trace, index: 1 }, change)?;
        }
        let (memo, key) = (derived_memo, at.ledger.key_at(self.reached));
        effects.push(Effect::Derived(Derived { trace, asset, inputs, outputs, memo, key }));
        Ok(())
    }
}

/// Whom to pay, or `None` for an illegal payout: the memo too long, an illegal set, an account that this process has not
/// seen at a sequence ≤ s, the group itself at any generation known at s.
fn b4_recipient(ledger: &Ledger, outbound: &Outbound) -> Option<Mix> {
    if outbound.memo.len() > ledger.config.memo_max {
        return None;
    }
    let to = match <[u8; 32]>::try_from(outbound.recipient.as_slice()) {
        Ok(account) => ledger.seen_at(outbound.process, Account(account.into()), outbound.s)?,
        Err(_) => Mix::from_payload(&outbound.recipient).ok()?,
    };
    (to.is_legal() && !ledger.is_group_at(&to, outbound.s)).then_some(to)
}
