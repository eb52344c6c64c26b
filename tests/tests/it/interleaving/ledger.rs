//! The simulated ledger: final transactions, and the listed outputs of the group.

use std::collections::BTreeMap;

use alloy_primitives::keccak256;
use lockstep_core::derive::{CoinRef, Derived, Payee};
use lockstep_core::operation::{Memo, MemoKind, MemoRules, Operation};
use lockstep_core::output::{CoinId, Output};
use lockstep_core::trace::Trace;
use lockstep_core::{Amount, AssetId, B256, Mix, Uuid};
use rand::RngExt as _;
use rand::rngs::SmallRng;

use super::{Checked, broken};
use crate::scenarios::names::user;

/// The five members, as the ledger names the senders of what they pay.
pub(crate) fn group() -> Mix {
    Mix::of_users((1..=5).map(|n| id(&format!("m{n}"))), 4)
}

pub(crate) fn id(name: &str) -> Uuid {
    user(name).expect("a short name")
}

pub(crate) fn single(name: &str) -> Mix {
    Mix::of_users([id(name)], 1)
}

/// The key service refuses to give keys for it.
pub(crate) fn is_ghost(payee: &Payee) -> bool {
    *payee == Payee::Mix(single("ghost"))
}

pub(crate) const fn plain(kind: MemoKind) -> Memo {
    Memo { kind, return_address: None }
}

/// What is listed, apart from what the ledger itself decides.
#[derive(Clone, Debug)]
pub(crate) struct Listing {
    pub(crate) asset: AssetId,
    pub(crate) amount: Amount,
    pub(crate) senders: Option<Mix>,
    pub(crate) memo: Memo,
    pub(crate) generation: u32,
    pub(crate) inscription: Option<B256>,
}

#[derive(Debug, Default)]
pub(crate) struct SimLedger {
    sequence: u64,
    pub(crate) rows: Vec<(Output, Memo)>,
    pub(crate) finals: BTreeMap<Trace, Derived>,
    by_hash: BTreeMap<B256, Trace>,
    pub(crate) spent: BTreeMap<CoinId, Trace>,
    pub(crate) coins: BTreeMap<CoinId, Amount>,
    places: BTreeMap<Uuid, CoinId>,
    /// What left the group.
    pub(crate) gone: BTreeMap<AssetId, u128>,
}

impl SimLedger {
    /// Lists an output; of a derived transaction when `parent` names its coin and what it spends.
    pub(crate) fn add(
        &mut self,
        random: &mut SmallRng,
        time: u64,
        listing: Listing,
        parent: Option<(CoinId, Vec<CoinId>)>,
    ) -> u64 {
        self.sequence += random.random_range(1..=3);
        let id = Uuid::from_u128(self.sequence.into());
        let foreign = CoinId { transaction: keccak256(id.as_bytes()), index: 0 };
        let (coin, spends) = parent.unwrap_or((foreign, Vec::new()));
        self.coins.insert(coin, listing.amount);
        self.places.insert(id, coin);
        let output = Output {
            id,
            sequence: self.sequence,
            created_at: time,
            coin,
            asset: listing.asset,
            amount: listing.amount,
            senders: listing.senders,
            extra: Vec::new(),
            stored: None,
            inscription: listing.inscription,
            spends,
            generation: listing.generation,
            late: false,
        };
        self.rows.push((output, listing.memo));
        self.sequence
    }

    /// Where a coin lies, whether it is known by its output or by its parent.
    pub(crate) fn coin(&self, coin: &CoinRef) -> CoinId {
        match coin {
            CoinRef::Output(output) => self.places[output],
            CoinRef::Virtual { trace, index } => CoinId { transaction: hash(trace), index: *index },
        }
    }

    /// The derived transaction that a coin comes from.
    pub(crate) fn parent(&self, coin: &CoinId) -> Option<&Derived> {
        self.finals.get(self.by_hash.get(&coin.transaction)?)
    }

    /// Any member, any number of times: final once. Nothing happens while an input is not final yet, or when a recipient
    /// has no keys.
    pub(crate) fn send(&mut self, random: &mut SmallRng, tx: &Derived, time: u64) -> Checked {
        if self.finals.contains_key(&tx.trace) || tx.outputs.iter().any(|(payee, _)| is_ghost(payee)) {
            return Ok(());
        }
        let inputs: Vec<CoinId> = tx.inputs.iter().map(|coin| self.coin(coin)).collect();
        if inputs.iter().any(|coin| !self.coins.contains_key(coin)) {
            return Ok(());
        }
        let sum: u128 = inputs.iter().map(|coin| self.coins[coin].units()).sum();
        if sum != tx.outputs.iter().map(|(_, amount)| amount.units()).sum::<u128>() {
            return broken('V', format!("sums of {:?} differ", tx.trace));
        }
        for coin in &inputs {
            if let Some(other) = self.spent.insert(*coin, tx.trace) {
                return broken('C', format!("{other:?} and {:?} spend one coin", tx.trace));
            }
        }
        let transaction = hash(&tx.trace);
        self.finals.insert(tx.trace, tx.clone());
        self.by_hash.insert(transaction, tx.trace);
        let extra = tx.extra().unwrap_or_default();
        for (index, (payee, amount)) in (0..).zip(&tx.outputs) {
            let Payee::Group(generation) = payee else {
                *self.gone.entry(tx.asset).or_default() += amount.units();
                continue;
            };
            let listing = Listing {
                asset: tx.asset,
                amount: *amount,
                senders: Some(group()),
                memo: Memo::decode(&extra, &MemoRules::default()),
                generation: *generation,
                inscription: None,
            };
            self.add(random, time, listing, Some((CoinId { transaction, index }, inputs.clone())));
        }
        Ok(())
    }
}

fn hash(trace: &Trace) -> B256 {
    keccak256(format!("{trace:?}"))
}

/// A payout's memo that is itself an operation; all outputs of the transaction carry it.
pub(crate) fn operation(purpose: u16, process: Uuid) -> Vec<u8> {
    Operation { purpose, process, ..Operation::default() }.encode().expect("a short operation")
}
