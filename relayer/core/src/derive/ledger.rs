//! Everything that the ledger's order alone decides: processes, who has been seen, groups, limits, times.
//!
//! Outbounds look back at it *as of* a sequence, so what they read is kept with the sequence since which it holds.

use std::collections::{BTreeMap, BTreeSet};

use alloy_primitives::{Address, B256, FixedBytes};
use uuid::Uuid;

use super::config::{AssetRule, Config};
use super::effect::{DeriveError, first_state_digest};
use crate::mask::MaskPair;
use crate::operation::{Caps, Memo, Policy};
use crate::output::{CoinId, Output};
use crate::trace::ChainId;
use crate::{Account, Amount, AssetId, Mix};

/// A developer contract with its mailbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// Its chain.
    pub chain: ChainId,
    /// Its contract there.
    pub address: Address,
    /// Senders are shown masked.
    pub private: bool,
    /// What happens to a failing call.
    pub policy: Policy,
    /// Gas limit of one call.
    pub gas: u32,
    /// Accepted assets and their minimums; `None` accepts all.
    pub assets: Option<BTreeMap<AssetId, Amount>>,
    /// Takes no more calls.
    pub closed: bool,
    /// Messages in its mailbox, that is the nonce of the next one.
    pub next_nonce: u64,
}

#[derive(Clone, Debug)]
pub(super) struct Ledger {
    pub(super) config: Config,
    /// Sequence of the last applied output; 0 before the first.
    pub(super) applied: u64,
    /// Digest over the effects of all applied outputs.
    pub(super) digest: B256,
    /// Unclaimed coins: a decision can pay each of them out, once.
    pub(super) unclaimed: BTreeMap<Uuid, (AssetId, Amount)>,
    /// Every coin that the group ever held.
    pub(super) held: BTreeSet<CoinId>,
    /// Outputs behind the cursor that wait for a decision.
    pub(super) late: BTreeMap<Uuid, (Output, Memo)>,

    pub(super) processes: BTreeMap<Uuid, Process>,
    /// One process per (chain, address), closed ones included.
    pub(super) addresses: BTreeSet<(ChainId, Address)>,
    /// Set → first sequence as a sender of anything.
    pub(super) known: BTreeMap<Account, u64>,
    /// (process, account as its contract sees it) → first sequence as a sender.
    pub(super) seen: BTreeMap<(Uuid, Account), u64>,
    /// What the accounts in `seen` stand for, where the account itself does not say.
    pub(super) sets: BTreeMap<Account, Mix>,
    /// The accounts that private processes see. What is here was made by the group before its first use.
    pub(super) masks: BTreeMap<MaskPair, Account>,

    /// Numbers of decisions that acted.
    pub(super) numbers: BTreeSet<u64>,
    /// Sequence since which a decision made a key the group's, with the generation and the key. All columns ascend but the
    /// last.
    pub(super) keys: Vec<(u64, (u32, FixedBytes<96>))>,
    /// Outbound → sequence of the first `bounce` or `refused`.
    pub(super) verdicts: BTreeMap<(ChainId, u64), u64>,
    /// The group by generation; never empty.
    pub(super) groups: Vec<Mix>,
    /// Sequence of the switch to generation i + 1.
    pub(super) switches: Vec<u64>,
    /// Minimums decided last; deposits read them only at the newest sequence.
    pub(super) rules: BTreeMap<AssetId, AssetRule>,
    /// Caps with the sequence since which they hold.
    pub(super) caps: BTreeMap<(ChainId, AssetId), Vec<(u64, Caps)>>,
    /// (ledger time, sequence) wherever the time of applied outputs reached a new maximum. Both columns ascend.
    pub(super) times: Vec<(u64, u64)>,
}

impl Ledger {
    pub(super) fn new(config: Config) -> Self {
        Self {
            groups: vec![config.group.clone()],
            config,
            applied: 0,
            digest: first_state_digest(),
            unclaimed: BTreeMap::new(),
            held: BTreeSet::new(),
            late: BTreeMap::new(),
            processes: BTreeMap::new(),
            addresses: BTreeSet::new(),
            known: BTreeMap::new(),
            seen: BTreeMap::new(),
            sets: BTreeMap::new(),
            masks: BTreeMap::new(),
            numbers: BTreeSet::new(),
            keys: Vec::new(),
            verdicts: BTreeMap::new(),
            switches: Vec::new(),
            rules: BTreeMap::new(),
            caps: BTreeMap::new(),
            times: Vec::new(),
        }
    }

    /// The minimum and the floor of an asset in force.
    pub(super) fn rule(&self, asset: &AssetId) -> AssetRule {
        let decided = self.rules.get(asset).or_else(|| self.config.assets.get(asset));
        decided.copied().unwrap_or(self.config.default)
    }

    /// The caps of payouts in force at `sequence`; `None` caps nothing.
    pub(super) fn caps_at(&self, chain: ChainId, asset: AssetId, sequence: u64) -> Option<Caps> {
        let decided = self.caps.get(&(chain, asset)).and_then(|past| last_at(past, sequence));
        decided.or_else(|| self.config.caps.get(&chain)?.get(&asset).copied())
    }

    /// How many switches acted up to `sequence`.
    ///
    /// # Errors
    /// When generations leave 32 bits.
    pub(super) fn generation_at(&self, sequence: u64) -> Result<u32, DeriveError> {
        let switches = self.switches.partition_point(|switch| *switch <= sequence);
        u32::try_from(switches).map_err(|_| DeriveError::Overflow("the group's generation"))
    }

    /// The key that decisions made the group's up to `sequence`; `None` while it is that of the group file.
    pub(super) fn key_at(&self, sequence: u64) -> Option<Box<FixedBytes<96>>> {
        last_at(&self.keys, sequence).map(|(_, key)| Box::new(key))
    }

    /// The sequence of the switch that ends `generation`.
    pub(super) fn switch_after(&self, generation: u32) -> Option<u64> {
        self.switches.get(usize::try_from(generation).ok()?).copied()
    }

    /// The set is the group's at any generation so far.
    pub(super) fn is_group(&self, mix: &Mix) -> bool {
        self.groups.contains(mix)
    }

    /// The set is the group's at any generation known at `sequence`.
    pub(super) fn is_group_at(&self, mix: &Mix, sequence: u64) -> bool {
        let switches = self.switches.partition_point(|switch| *switch <= sequence);
        self.groups.iter().take(switches.saturating_add(1)).any(|group| group == mix)
    }

    /// The set paid something, whatever it was, at a sequence up to `sequence`.
    pub(super) fn is_known_at(&self, mix: &Mix, sequence: u64) -> bool {
        self.known.get(&Account::of(mix)).is_some_and(|first| *first <= sequence)
    }

    /// Whom `account` stands for, if `process` saw it at a sequence up to `sequence`.
    pub(super) fn seen_at(&self, process: Uuid, account: Account, sequence: u64) -> Option<Mix> {
        self.seen.get(&(process, account)).filter(|first| **first <= sequence)?;
        self.sets.get(&account).cloned().or_else(|| user_of(account))
    }

    /// The ledger's time at `sequence`: the latest of the outputs applied up to it.
    pub(super) fn time_at(&self, sequence: u64) -> u64 {
        let after = self.times.partition_point(|(_, at)| *at <= sequence);
        after.checked_sub(1).and_then(|last| self.times.get(last)).map_or(0, |(time, _)| *time)
    }

    /// q*: the sequence of the first applied output whose ledger time is not before `due`.
    pub(super) fn first_at(&self, due: u64) -> Option<u64> {
        let first = self.times.partition_point(|(time, _)| *time < due);
        self.times.get(first).map(|(_, sequence)| *sequence)
    }
}

/// The value that holds at `sequence`.
fn last_at<T: Copy>(past: &[(u64, T)], sequence: u64) -> Option<T> {
    let after = past.partition_point(|(since, _)| *since <= sequence);
    past.get(after.checked_sub(1)?).map(|(_, value)| *value)
}

/// The user that an account of one user spells out.
fn user_of(Account(account): Account) -> Option<Mix> {
    let (high, low) = account.split_at(16);
    let user = Uuid::from_slice(low).ok()?;
    high.iter().all(|byte| *byte == 0).then(|| Mix::of_users([user], 1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::derive::tests::{amount, asset, config, user};

    #[test]
    fn a_value_should_hold_from_its_own_sequence_on() {
        let past = [(5, 'a'), (7, 'b'), (7, 'c'), (9, 'd')];
        let held: Vec<_> = (4..=10).map(|sequence| last_at(&past, sequence)).collect();
        assert_eq!(held, [None, Some('a'), Some('a'), Some('c'), Some('c'), Some('d'), Some('d')]);
    }

    #[test]
    fn an_account_should_be_resolved_only_for_the_process_that_saw_it() {
        let mut ledger = Ledger::new(config());
        let set = Mix::of_users([user("u1"), user("u2")], 2);
        for mix in [set.clone(), Mix::of_users([user("u3")], 1)] {
            let account = Account::of(&mix);
            ledger.seen.insert((user("p1"), account), 7);
            if user_of(account).is_none() {
                ledger.sets.insert(account, mix.clone());
            }
            assert_eq!(ledger.seen_at(user("p1"), account, 6), None);
            assert_eq!(ledger.seen_at(user("p2"), account, 7), None);
            assert_eq!(ledger.seen_at(user("p1"), account, 7), Some(mix));
        }
        assert_eq!(ledger.seen_at(user("p1"), Account::ZERO, 9), None);
    }

    #[test]
    fn ledger_time_should_be_a_running_maximum() {
        let mut ledger = Ledger::new(config());
        assert_eq!((ledger.time_at(9), ledger.first_at(0)), (0, None));
        ledger.times = vec![(100, 3), (150, 8)];
        assert_eq!([2, 3, 7, 8, 9].map(|sequence| ledger.time_at(sequence)), [0, 100, 100, 150, 150]);
        assert_eq!([0, 100, 101, 150, 151].map(|due| ledger.first_at(due)), [Some(3), Some(3), Some(8), Some(8), None]);
    }

    #[test]
    fn caps_should_be_those_of_the_sequence() {
        let mut ledger = Ledger::new(config());
        let caps = |payout| Caps { payout: amount(payout), hour: amount(9), day: amount(9) };
        ledger.caps.insert((1, asset("Q")), vec![(5, caps(1)), (8, caps(2))]);
        let held = [4, 5, 7, 8].map(|at| ledger.caps_at(1, asset("Q"), at).map(|caps| caps.payout.units()));
        assert_eq!(held, [None, Some(1), Some(1), Some(2)]);
        assert_eq!(ledger.caps_at(2, asset("Q"), 9), None);
    }
}
