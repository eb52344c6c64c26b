//! A member's durable half: the tables of `relayer/src/store`, each method one transaction.

use std::collections::{BTreeMap, BTreeSet};

use lockstep_core::bls::Signature;
use lockstep_core::checkpoint::Checkpoint;
use lockstep_core::derive::{Class, CoinRef, Derived, Record};
use lockstep_core::frontier::VersionedNodes;
use lockstep_core::group::roster::Roster;
use lockstep_core::machine::{Machine, Named, Opened, Step};
use lockstep_core::mask::{MaskPair, masked};
use lockstep_core::message::Message;
use lockstep_core::mixin::Transaction;
use lockstep_core::output::{CoinId, Output};
use lockstep_core::payout::{self, Attempts, InputSignature};
use lockstep_core::trace::ChainId;
use lockstep_core::{Amount, B256, Uuid};

use super::setup::{CHAINS, rules, trace_id};
use super::{Checked, broken};

/// Everything of one turn of the driver.
#[derive(Clone, Debug, Default)]
pub(super) struct Commit {
    pub(super) steps: Vec<(Output, Option<Step>)>,
    pub(super) records: Vec<(ChainId, Record)>,
    pub(super) derived: Vec<Named>,
    pub(super) parked: Vec<(ChainId, u64)>,
    /// The sender that must be masked before the next output.
    pub(super) unmasked: Option<MaskPair>,
}

/// A derived transaction on its way.
#[derive(Clone, Debug)]
pub(super) struct Payout {
    pub(super) derived: Derived,
    /// Payouts that must be final before its bytes exist.
    pub(super) parents: Vec<Uuid>,
    pub(super) attempts: Attempts,
    pub(super) final_hash: Option<B256>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Disk {
    pub(super) outputs: Vec<Output>,
    /// Outcomes of ceremonies, and the generations whose share is in the key file.
    pub(super) rosters: Vec<Roster>,
    pub(super) shares: BTreeSet<u32>,
    /// Where the applied outputs lie, what they hold, and of which generation's address they are.
    pub(super) coins: BTreeMap<Uuid, (CoinId, Amount, u32)>,
    pub(super) steps: BTreeMap<u64, Checkpoint>,
    pub(super) classes: BTreeMap<Uuid, Class>,
    pub(super) nodes: VersionedNodes,
    pub(super) mailboxes: BTreeMap<Uuid, Opened>,
    /// Each message with the head after it.
    pub(super) messages: BTreeMap<Uuid, Vec<(Message, B256)>>,
    pub(super) records: BTreeMap<ChainId, Vec<Record>>,
    pub(super) parked: Vec<(ChainId, u64)>,
    pub(super) payouts: BTreeMap<Uuid, Payout>,
    pub(super) checkpoint_guards: BTreeMap<u64, B256>,
    pub(super) certificates: BTreeMap<u64, Signature>,
    pub(super) seeds: BTreeMap<(Uuid, u32), Signature>,
    /// Senders of the private process that were met, with their masks once they are known.
    pub(super) masks: BTreeMap<MaskPair, Option<Signature>>,
    pub(super) payloads: BTreeMap<(Uuid, u32), Transaction>,
    pub(super) coin_guards: BTreeMap<CoinId, B256>,
    pub(super) signatures: BTreeMap<(Uuid, u32), Vec<InputSignature>>,
}

/// A contradiction that a member finds in its own rows: it would halt.
fn contradiction<T>(what: impl Into<String>) -> Checked<T> {
    broken("contradiction", what)
}

impl Disk {
    /// `Store::commit`.
    pub(super) fn commit(&mut self, commit: Commit) -> Checked {
        self.commit_inputs(&commit);
        for named in commit.steps.into_iter().filter_map(|(_, step)| step).flat_map(|step| step.derived) {
            self.insert_derived(named)?;
        }
        for named in commit.derived {
            self.insert_derived(named)?;
        }
        self.parked.extend(commit.parked);
        Ok(())
    }

    /// What a disk keeps that tears a commit: the inputs and what outputs did, but no derived transaction.
    pub(super) fn commit_inputs(&mut self, commit: &Commit) {
        for (output, step) in &commit.steps {
            self.outputs.push(output.clone());
            self.coins.insert(output.id, (output.coin, output.amount, output.generation));
            if let Some(step) = step {
                self.insert_step(step);
            }
        }
        if let Some(pair) = commit.unmasked {
            self.masks.entry(pair).or_default();
        }
        for (chain, record) in &commit.records {
            self.records.entry(*chain).or_default().push(record.clone());
        }
    }

    fn insert_step(&mut self, step: &Step) {
        let sequence = step.checkpoint.sequence;
        self.steps.insert(sequence, step.checkpoint);
        self.classes.extend(step.classes.iter().copied());
        self.nodes.record(sequence, step.leaves, step.nodes.iter().copied());
        for opened in &step.opened {
            self.mailboxes.insert(opened.process, *opened);
        }
        for (posted, head) in &step.posted {
            self.messages.entry(posted.process).or_default().push((posted.message.clone(), *head));
        }
    }

    fn insert_derived(&mut self, named: Named) -> Checked {
        let parent = |coin: &CoinRef| match coin {
            CoinRef::Virtual { trace, .. } => Some(trace_id(trace)),
            CoinRef::Output(_) => None,
        };
        let parents = named.derived.inputs.iter().filter_map(parent).collect();
        let payout = Payout { derived: named.derived, parents, attempts: Attempts::default(), final_hash: None };
        match self.payouts.insert(named.id, payout) {
            None => Ok(()),
            Some(before) => contradiction(format!("{:?} derived twice", before.derived.trace)),
        }
    }

    /// `Driver::restore`: derives everything again and compares.
    pub(super) fn replay(&self) -> Checked<Machine> {
        let Ok(mut machine) = Machine::new(rules()) else { return contradiction("the rules") };
        let mut named = Vec::new();
        for output in &self.outputs {
            if let Some(pair) = self.tell_masks(&mut machine, output) {
                return contradiction(format!("{pair:?} has no mask, and its output was applied"));
            }
            match machine.apply(output) {
                Ok(Some(step)) => named.extend(step.derived),
                Ok(None) => {}
                Err(error) => return contradiction(error.to_string()),
            }
        }
        for chain in CHAINS {
            for record in self.records.get(&chain).into_iter().flatten() {
                machine.feed(chain, record.clone()).or_else(|error| contradiction(error.to_string()))?;
            }
        }
        match machine.advance() {
            Ok(advance) => named.extend(advance.derived),
            Err(error) => return contradiction(error.to_string()),
        }
        for named in &named {
            if self.payouts.get(&named.id).map(|payout| &payout.derived) != Some(&named.derived) {
                return contradiction(format!("the replay derives {:?} otherwise", named.derived.trace));
            }
        }
        match self.steps.last_key_value() {
            Some((_, last)) if last.history != machine.history() => contradiction("the replay has another history"),
            Some(_) | None => Ok(machine),
        }
    }

    /// Tells the machine the masks that an output needs. The first sender that has none yet.
    pub(super) fn tell_masks(&self, machine: &mut Machine, output: &Output) -> Option<MaskPair> {
        let memo = machine.read(output);
        while let Some(pair) = machine.unmasked(output, &memo) {
            let Some(signature) = self.masks.get(&pair).copied().flatten() else { return Some(pair) };
            machine.mask(pair, masked(&signature));
        }
        None
    }

    /// Nonce after the message with this head; `None` for a head that this member does not know.
    pub(super) fn nonce_at(&self, process: Uuid, head: B256) -> Option<usize> {
        if head == lockstep_core::message::FIRST_HEAD {
            return Some(0);
        }
        let messages = self.messages.get(&process)?;
        messages.iter().position(|(_, after)| *after == head).map(|place| place + 1)
    }

    /// The payouts that can move now. What waits for a parent is passed over, or a long line of changes would take for ever.
    pub(super) fn open_payouts(&self) -> Vec<Uuid> {
        let is_final = |id: &Uuid| self.payouts.get(id).is_some_and(|payout| payout.final_hash.is_some());
        let open = self.payouts.iter().filter(|(_, payout)| payout.final_hash.is_none());
        open.filter(|(_, payout)| payout.parents.iter().all(is_final)).map(|(id, _)| *id).collect()
    }

    /// `Store::guard_checkpoint`.
    pub(super) fn guard_checkpoint(&mut self, sequence: u64, digest: B256) -> Checked {
        let promised = *self.checkpoint_guards.entry(sequence).or_insert(digest);
        if promised == digest { Ok(()) } else { contradiction(format!("checkpoint {sequence} was promised otherwise")) }
    }

    /// `Store::fix_payload`, with the attempt's row.
    pub(super) fn fix_payload(&mut self, id: Uuid, transaction: Transaction) -> Checked {
        let Some(payout) = self.payouts.get_mut(&id) else { return contradiction("a payload without its payout") };
        let attempt = payout.attempts.number();
        payout.attempts.build(&transaction).or_else(|error| contradiction(error.to_string()))?;
        match self.payloads.insert((id, attempt), transaction.clone()) {
            Some(before) if before != transaction => contradiction(format!("payout {id} had other bytes")),
            Some(_) | None => Ok(()),
        }
    }

    /// `Store::guard_coins`.
    pub(super) fn guard_coins(&mut self, id: Uuid, payload: &Transaction) -> Checked {
        let (coins, hash) = (payload.coins().unwrap_or_default(), payload.hash());
        let dead = self.payouts.get(&id).map_or(&[][..], |payout| payout.attempts.dead());
        let unbound = payout::guard(&coins, hash, dead, |coin| self.coin_guards.get(coin).copied())
            .or_else(|conflict| contradiction(conflict.to_string()))?;
        self.coin_guards.extend(unbound.into_iter().map(|coin| (coin, hash)));
        Ok(())
    }

    /// `Store::mark_final`.
    pub(super) fn mark_final(&mut self, id: Uuid, hash: B256) -> Checked {
        let Some(payout) = self.payouts.get_mut(&id) else { return contradiction("finality without a payout") };
        match payout.final_hash.replace(hash) {
            Some(before) if before != hash => contradiction(format!("payout {id} is final twice")),
            Some(_) | None => Ok(()),
        }
    }
}
