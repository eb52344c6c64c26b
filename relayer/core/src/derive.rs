//! What every member must derive, to the byte (DERIVATION.md A and B): a pure state machine over two kinds of order.
//!
//! * [`Core::apply`] takes the group's outputs in ascending ledger sequence: messages, refunds, decisions (section A).
//! * [`Core::feed`] takes each chain's records in final order; [`Core::advance`] works them off as far as the ledger is
//!   applied, and ends escrows (section B).
//!
//! Members may mix the two as they like. Two of them that have been given the same outputs and records hold the same
//! state and have derived the same transactions, for every input of a decision has a place in one of those orders: a
//! record sees nothing of the ledger beyond the sequence that its contract had accepted.
//!
//! Messages and transactions are returned once and not kept. The core keeps what later derivations read: processes, who
//! was seen when, the coins ever held, books, coin lists, waiting escrows.
//!
//! Every rule is one function named after its paragraph: `a1_internal` to `a7_message` in `derive/inbound.rs`; `b1_credit`
//! to `b4_recipient` and `b6_outputs` in `outbound.rs`, `b5_coins` in `coins.rs`, `b7_wait` and `settle` in `escrow.rs`.
//! B8, the names of transactions, is [`crate::trace`].

mod coins;
mod config;
mod effect;
mod escrow;
mod inbound;
mod ledger;
mod outbound;

use std::collections::{BTreeMap, BTreeSet};

use alloy_primitives::{B256, FixedBytes};
use uuid::Uuid;

pub use self::config::{
    AMOUNT_MAX, AssetRule, ChainRule, Config, ConfigError, DAY_NS, Fee, HOUR_NS, INPUTS_MAX, MEMO_MAX, SWEEP_MAX,
};
pub use self::effect::{Applied, Class, CoinRef, DeriveError, Derived, DerivedMemo, Effect, Payee, Registered};
pub use self::escrow::Escrow;
pub use self::ledger::Process;
pub use self::outbound::{Outbound, Record};

use self::inbound::Arrival;
use self::ledger::Ledger;
use self::outbound::{Lane, Reading};
use crate::mask::MaskPair;
use crate::operation::{Decision, DecisionBody, Memo, MemoKind};
use crate::output::Output;
use crate::trace::ChainId;
use crate::{Account, Amount, AssetId, Mix};

/// One member's view. After an error it stays halted and answers every call that would change it with that error: what
/// it was given contradicts itself, and a person must look.
#[derive(Clone, Debug)]
pub struct Core {
    ledger: Ledger,
    lanes: BTreeMap<ChainId, Lane>,
    halted: Option<DeriveError>,
}

impl Core {
    /// A core that has seen nothing.
    ///
    /// # Errors
    /// When no derivation can start from `config`.
    pub fn new(config: Config) -> Result<Self, ConfigError> {
        config.check()?;
        let lanes = config.chains.keys().map(|chain| (*chain, Lane::default())).collect();
        Ok(Self { ledger: Ledger::new(config), lanes, halted: None })
    }

    /// Applies one output. `memo` is what [`crate::operation`] makes of its extra.
    ///
    /// Returns what became of it: nothing for an output flagged late, which is set aside; two entries for a decision that
    /// admits a late one, which is applied right after it (more, if that is such a decision again). An admitted output
    /// has the decision's sequence and its own timestamp. A decision that admits what was never set aside, or was
    /// admitted already, changes nothing: ask [`Core::is_late`] first, for a member that lacks the row must fetch it.
    ///
    /// # Errors
    /// When the sequence is not above the last one, or a number leaves its range.
    pub fn apply(&mut self, output: &Output, memo: &Memo) -> Result<Vec<Applied>, DeriveError> {
        self.unless_halted(|core| core.apply_in_order(output, memo))
    }

    /// The sender whose mask has to be told to [`Core::mask`] before `output` can be applied: one of a private process that
    /// has not been seen there. Ask until it is `None`, for a decision may admit outputs that need more.
    pub fn unmasked(&self, output: &Output, memo: &Memo) -> Option<MaskPair> {
        if output.late {
            return None;
        }
        let (mut next, mut numbers) = (Some((output, memo)), BTreeSet::new());
        while let Some((output, memo)) = next {
            let pair = self.ledger.unmasked(Arrival { output, memo, place: output.sequence });
            if pair.is_some() {
                return pair;
            }
            // An admitted output may be a decision that admits another one.
            let (number, admitted) = self.admits(output, memo)?;
            next = numbers.insert(number).then(|| self.ledger.late.get(&admitted)).flatten().map(|(o, memo)| (o, memo));
        }
        None
    }

    /// The number of the decision that `output` would act as, and the output that it admits.
    fn admits(&self, output: &Output, memo: &Memo) -> Option<(u64, Uuid)> {
        let MemoKind::Decision(Decision { number, valid: true, body: DecisionBody::Admit { output: admitted } }) =
            &memo.kind
        else {
            return None;
        };
        (!self.ledger.is_passed_over(output) && !self.has_acted(*number)).then_some((*number, *admitted))
    }

    /// The account that a private process sees for a sender, as the group made it ([`crate::mask`]).
    pub fn mask(&mut self, pair: MaskPair, masked: Account) {
        self.ledger.masks.insert(pair, masked);
    }

    fn apply_in_order(&mut self, output: &Output, memo: &Memo) -> Result<Vec<Applied>, DeriveError> {
        if output.late {
            self.ledger.late.insert(output.id, (output.clone(), memo.clone()));
            return Ok(Vec::new());
        }
        let Output { id, sequence, .. } = *output;
        if sequence <= self.ledger.applied {
            return Err(DeriveError::OutputOrder { output: id, sequence, applied: self.ledger.applied });
        }
        let (applied, mut admits) = self.apply_at(Arrival { output, memo, place: sequence })?;
        let mut all = vec![applied];
        while let Some((output, memo)) = admits.and_then(|admitted| self.ledger.late.remove(&admitted)) {
            let (applied, next) = self.apply_at(Arrival { output: &output, memo: &memo, place: sequence })?;
            all.push(applied);
            admits = next;
        }
        Ok(all)
    }

    fn apply_at(&mut self, arrival: Arrival<'_>) -> Result<(Applied, Option<Uuid>), DeriveError> {
        let arrived = self.ledger.arrive(arrival)?;
        self.ledger.digest = effect::next_state_digest(self.ledger.digest, &arrived.applied);
        if let Some((chain, credit)) = arrived.credit {
            self.lanes.get_mut(&chain).ok_or(DeriveError::UnknownChain(chain))?.credits.push_back(credit);
        }
        Ok((arrived.applied, arrived.admits))
    }

    /// Appends a record of `chain`. Nothing else happens until [`Core::advance`].
    ///
    /// # Errors
    /// When the chain is not configured, the outbound is not the next, or the accepted sequence or the block time falls.
    pub fn feed(&mut self, chain: ChainId, record: Record) -> Result<(), DeriveError> {
        self.unless_halted(|core| {
            core.lanes.get_mut(&chain).ok_or(DeriveError::UnknownChain(chain))?.feed(chain, record)
        })
    }

    /// Works off all records that the applied ledger covers, chain by chain, then ends escrows. Calling it at any time
    /// and any number of times changes when effects come, never which ones.
    ///
    /// # Errors
    /// When the coins do not cover what the books allow, or a number leaves its range.
    pub fn advance(&mut self) -> Result<Vec<Effect>, DeriveError> {
        self.unless_halted(|core| {
            let mut effects = Vec::new();
            for (chain, lane) in &mut core.lanes {
                while lane.step(Reading { chain: *chain, ledger: &core.ledger }, &mut effects)? {}
            }
            core.settle_all(&mut effects)?;
            Ok(effects)
        })
    }

    /// One record of `chain`; `None` when there is none or the ledger is not applied up to it. Part of
    /// [`Core::advance`], for tests of interleavings.
    ///
    /// # Errors
    /// As [`Core::advance`], and when the chain is not configured.
    pub fn step(&mut self, chain: ChainId) -> Result<Option<Vec<Effect>>, DeriveError> {
        self.unless_halted(|core| {
            let mut effects = Vec::new();
            let lane = core.lanes.get_mut(&chain).ok_or(DeriveError::UnknownChain(chain))?;
            let stepped = lane.step(Reading { chain, ledger: &core.ledger }, &mut effects)?;
            Ok(stepped.then_some(effects))
        })
    }

    /// Ends and moves escrows as far as the ledger is applied. Part of [`Core::advance`], for tests of interleavings.
    ///
    /// # Errors
    /// When a number leaves its range.
    pub fn settle(&mut self) -> Result<Vec<Effect>, DeriveError> {
        self.unless_halted(|core| {
            let mut effects = Vec::new();
            core.settle_all(&mut effects)?;
            Ok(effects)
        })
    }

    fn settle_all(&mut self, effects: &mut Vec<Effect>) -> Result<(), DeriveError> {
        self.lanes.iter_mut().try_for_each(|(chain, lane)| lane.settle(*chain, &self.ledger, effects))
    }

    /// An error may leave half a step behind, so the first one is the last answer.
    fn unless_halted<T>(&mut self, change: impl FnOnce(&mut Self) -> Result<T, DeriveError>) -> Result<T, DeriveError> {
        if let Some(error) = &self.halted {
            return Err(error.clone());
        }
        let result = change(self);
        self.halted = result.as_ref().err().cloned();
        result
    }
}

/// What views and the driver read.
impl Core {
    /// The error that halted it.
    pub const fn halted(&self) -> Option<&DeriveError> {
        self.halted.as_ref()
    }

    /// Sequence of the last applied output; 0 before the first.
    pub const fn applied(&self) -> u64 {
        self.ledger.applied
    }

    /// Leaf 0 of the frontier is made of this: state' = keccak(state ‖ keccak(effects of one applied output)), starting
    /// from keccak("lockstep/v1/state"). It covers everything that [`Core::apply`] returned, in order.
    pub const fn state_digest(&self) -> B256 {
        self.ledger.digest
    }

    /// A process and its mailbox.
    pub fn process(&self, process: &Uuid) -> Option<&Process> {
        self.ledger.processes.get(process)
    }

    /// All processes by id.
    pub fn processes(&self) -> impl Iterator<Item = (&Uuid, &Process)> {
        self.ledger.processes.iter()
    }

    /// The group by generation, from 0; the last one is the newest.
    pub fn groups(&self) -> &[Mix] {
        &self.ledger.groups
    }

    /// Sequences of the switches to the second group and to those after it, ascending.
    pub fn switches(&self) -> &[u64] {
        &self.ledger.switches
    }

    /// The unclaimed coins that no decision has paid out, by output.
    pub fn unclaimed(&self) -> impl ExactSizeIterator<Item = (&Uuid, &(AssetId, Amount))> {
        self.ledger.unclaimed.iter()
    }

    /// A decision of this number acted.
    pub fn has_acted(&self, number: u64) -> bool {
        self.ledger.numbers.contains(&number)
    }

    /// The number of the newest decision that acted, by number.
    pub fn last_decision(&self) -> Option<u64> {
        self.ledger.numbers.last().copied()
    }

    /// Generation and compressed key that a decision made the group's; `None` while it is that of the group file.
    pub fn decided_key(&self) -> Option<(u32, FixedBytes<96>)> {
        self.ledger.keys.last().map(|(_, decided)| *decided)
    }

    /// The keys of the transactions that can still be derived ([`Derived::key`]), the newest one last: the group's as of the
    /// slowest chain's records, and those decided since.
    pub fn keys_to_come(&self) -> Vec<Option<FixedBytes<96>>> {
        let slowest = self.lanes.values().map(Lane::reached).min().unwrap_or(self.ledger.applied);
        let later = self.ledger.keys.iter().filter(|(since, _)| *since > slowest).map(|(_, (_, key))| Some(*key));
        std::iter::once(self.ledger.key_at(slowest).map(|key| *key)).chain(later).collect()
    }

    /// Reads the memos of the outputs that are set aside again, for a decision has changed how memos are read.
    pub fn read_late_again(&mut self, read: impl Fn(&Output) -> Memo) {
        for (output, memo) in self.ledger.late.values_mut() {
            *memo = read(output);
        }
    }

    /// The output is set aside and waits for a decision.
    pub fn is_late(&self, output: &Uuid) -> bool {
        self.ledger.late.contains_key(output)
    }

    /// The outputs that are set aside, by id.
    pub fn late(&self) -> impl Iterator<Item = &Output> {
        self.ledger.late.values().map(|(output, _)| output)
    }

    /// The chains, ascending.
    pub fn chains(&self) -> impl Iterator<Item = ChainId> {
        self.lanes.keys().copied()
    }

    /// Number of the next outbound that can be fed.
    pub fn next_k(&self, chain: ChainId) -> u64 {
        self.lanes.get(&chain).map_or(0, |lane| lane.next_k)
    }

    /// Records that wait for the ledger.
    pub fn pending(&self, chain: ChainId) -> usize {
        self.lanes.get(&chain).map_or(0, |lane| lane.records.len())
    }

    /// What a process may still pay of an asset, as of the last record of its chain.
    pub fn book(&self, chain: ChainId, process: Uuid, asset: AssetId) -> Amount {
        let lane = self.lanes.get(&chain);
        lane.and_then(|lane| lane.book.get(&(process, asset))).copied().unwrap_or_default()
    }

    /// All balances of a chain that are not zero, by process and asset.
    pub fn books(&self, chain: ChainId) -> impl Iterator<Item = (Uuid, AssetId, Amount)> {
        let books = self.lanes.get(&chain).into_iter().flat_map(|lane| &lane.book);
        books.map(|((process, asset), amount)| (*process, *asset, *amount))
    }

    /// The coins that may pay for a chain's outbounds, by asset, in list order.
    pub fn coins(&self, chain: ChainId) -> impl Iterator<Item = (AssetId, CoinRef, Amount)> {
        let lists = self.lanes.get(&chain).into_iter().flat_map(|lane| &lane.coins);
        lists.flat_map(|(asset, list)| list.iter().map(|(coin, amount)| (*asset, coin, amount)))
    }

    /// Outbounds that can never be paid, ascending.
    pub fn parked(&self, chain: ChainId) -> &[u64] {
        self.lanes.get(&chain).map_or(&[], |lane| &lane.parked)
    }

    /// Outbounds that wait in escrow, ascending.
    pub fn waiting(&self, chain: ChainId) -> impl Iterator<Item = (u64, &Escrow)> {
        self.lanes.get(&chain).into_iter().flat_map(|lane| &lane.escrow).map(|(k, escrow)| (*k, escrow))
    }

    /// Generation of the group's address that a chain's coins are at, as of its last record.
    pub fn generation(&self, chain: ChainId) -> u32 {
        self.lanes.get(&chain).map_or(0, |lane| lane.generation)
    }
}

#[cfg(test)]
mod tests;
