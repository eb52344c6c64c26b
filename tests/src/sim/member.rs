//! One member: a disk that survives and a machine that does not. `Member::step` does one effect.

mod answers;
mod certify;
mod generations;
mod payouts;
mod secrets;
mod seeds;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use lockstep_core::group::roster::Roster;
use lockstep_core::group::{Addresses, Generations};
use lockstep_core::machine::Machine;
use lockstep_core::mask::MaskPair;
use lockstep_core::trace::ChainId;
use lockstep_core::{B256, Uuid};
use rand::RngExt as _;
use rand::rngs::StdRng;

pub(super) use self::certify::delivery;
pub(super) use self::payouts::{request_ids, resolve as payouts_resolve};

use self::certify::Certify;
use self::payouts::Signing;
use self::secrets::Masking;
use super::chain::Chain;
use super::checks::Watch;
use super::disk::{Commit, Disk};
use super::ledger::Ledger;
use super::network::{Ask, Network, Packet, Said};
use super::setup::{CHAINS, PERSONS, index_in};
use super::{Checked, Fault, Tally, broken};

/// Everything that a member can reach.
pub(super) struct Outside<'a> {
    pub(super) ledger: &'a mut Ledger,
    pub(super) chains: &'a mut BTreeMap<ChainId, Chain>,
    pub(super) network: &'a mut Network,
    pub(super) watch: &'a mut Watch,
    pub(super) random: &'a mut StdRng,
    pub(super) tally: &'a mut Tally,
    /// Deliveries may be lost.
    pub(super) faults: bool,
    /// Outcomes of ceremonies.
    pub(super) made: &'a [Roster],
}

impl Outside<'_> {
    pub(super) fn chance(&mut self, percent: u32) -> bool {
        self.random.random_range(0..100) < percent
    }
}

pub(super) struct Member {
    pub(super) index: u8,
    pub(super) disk: Disk,
    pub(super) alive: Option<Alive>,
    /// It has taken part in a ceremony, and runs since.
    pub(super) is_enrolled: bool,
    pub(super) is_liar: bool,
    pub(super) fault: Option<Fault>,
    /// The newest generation that this member saw sign: for the checks.
    pub(super) has_proved: Option<u32>,
}

/// What a crash takes.
pub(super) struct Alive {
    pub(super) machine: Machine,
    /// The group's addresses as of the last commit, and the rosters on the disk.
    pub(super) addresses: Addresses,
    known: Generations,
    /// Derived and not committed yet.
    staged: Option<Commit>,
    /// Questions of peers, and whether the promise behind the answer is durable.
    asked: VecDeque<(u8, Ask, bool)>,
    certify: Option<Certify>,
    signing: BTreeMap<Uuid, Signing>,
    /// By roster and index.
    suspects: BTreeSet<(B256, u8)>,
    /// Of payouts of others' coins: the latest attempt that each of them asked for.
    vouchers: BTreeMap<Uuid, BTreeMap<u8, u32>>,
    masking: Option<Masking>,
}

impl Member {
    pub(super) fn new(index: u8, is_liar: bool, fault: Option<Fault>) -> Self {
        let mut disk = Disk::default();
        disk.shares.extend(index_in(0, index).map(|_| 0));
        Self { index, disk, alive: None, is_enrolled: index_in(0, index).is_some(), is_liar, fault, has_proved: None }
    }

    /// Derives the volatile half from the disk.
    pub(super) fn start(&mut self, watch: &Watch) -> Checked {
        let machine = self.disk.replay()?;
        if !self.is_liar {
            watch.promises_outlive_crashes(self.index, &self.disk)?;
        }
        self.alive = Some(Alive {
            addresses: Addresses::of(machine.core()),
            known: generations::known(&self.disk),
            machine,
            staged: None,
            asked: VecDeque::new(),
            certify: None,
            signing: BTreeMap::new(),
            suspects: BTreeSet::new(),
            vouchers: BTreeMap::new(),
            masking: None,
        });
        Ok(())
    }

    /// Loses what is not on the disk.
    pub(super) fn crash(&mut self) {
        let staged = self.alive.take().and_then(|alive| alive.staged);
        match (self.fault, staged) {
            (Some(Fault::TearsCommits), Some(staged)) => self.disk.commit_inputs(&staged),
            (Some(Fault::ForgetsGuards), _) => {
                self.disk.checkpoint_guards.clear();
                self.disk.coin_guards.clear();
            }
            (Some(Fault::ForgetsPayloads), _) => self.disk.payloads.clear(),
            _ => {}
        }
    }

    /// One effect of one of its tasks, chosen at random.
    pub(super) fn step(&mut self, out: &mut Outside<'_>) -> Checked {
        if self.alive.is_none() {
            return Ok(());
        }
        let is_asked = self.alive.as_ref().is_some_and(|alive| !alive.asked.is_empty());
        match out.random.random_range(0..12) {
            0 if out.chance(10) => {
                self.learn(out.made, out.tally);
                Ok(())
            }
            0..2 if self.alive.as_ref().is_some_and(|alive| alive.masking.is_some()) && out.chance(70) => {
                self.seek_mask(out)
            }
            0..2 => self.drive(out),
            2..6 if is_asked => self.answer(out),
            2..9 => self.certify(out),
            _ => self.pay(out),
        }
    }

    /// The driver: read and derive, then commit; two effects.
    fn drive(&mut self, out: &mut Outside<'_>) -> Checked {
        let Some(alive) = &mut self.alive else { return Ok(()) };
        if let Some(commit) = alive.staged.take() {
            if !self.is_liar {
                out.watch.members_derive_alike(self.index, &commit)?;
            }
            self.disk.commit(commit)?;
            alive.addresses = Addresses::of(alive.machine.core());
            return Ok(());
        }
        let mut commit = Commit::default();
        let page = out.random.random_range(1..=5);
        for mut output in generations::page(out.ledger, &self.disk, &alive.addresses, page, self.fault) {
            if self.fault == Some(Fault::OwnClock) {
                output.created_at += 1;
            }
            commit.unmasked = self.disk.tell_masks(&mut alive.machine, &output);
            if commit.unmasked.is_some() {
                break;
            }
            match alive.machine.apply(&output) {
                Ok(step) => commit.steps.push((output, step)),
                Err(error) => return broken("contradiction", error.to_string()),
            }
        }
        for chain in CHAINS {
            let known = self.disk.records.get(&chain).map_or(0, Vec::len);
            for record in out.chains[&chain].final_records().iter().skip(known).take(page) {
                if let Err(error) = alive.machine.feed(chain, record.clone()) {
                    return broken("contradiction", error.to_string());
                }
                commit.records.push((chain, record.clone()));
            }
        }
        let is_new = |pair: &MaskPair| !self.disk.masks.contains_key(pair);
        if let Some(pair) = commit.unmasked
            && alive.masking.as_ref().is_none_or(|masking| masking.pair != pair)
            && !is_new(&pair)
        {
            alive.masking = Some(Masking::of(pair));
        }
        commit.unmasked = commit.unmasked.filter(is_new);
        if commit.steps.is_empty() && commit.records.is_empty() && commit.unmasked.is_none() {
            return Ok(());
        }
        match alive.machine.advance() {
            Ok(advance) => (commit.derived, commit.parked) = (advance.derived, advance.parked),
            Err(error) => return broken("contradiction", error.to_string()),
        }
        alive.staged = Some(commit);
        Ok(())
    }

    /// A packet that the network brings. Questions wait for the task that answers; answers go to who asked, if it still
    /// wants to know.
    pub(super) fn receive(&mut self, packet: Packet) {
        let Some(alive) = &mut self.alive else { return };
        match (packet.said, packet.ask) {
            // A member bounds what its peers may ask of it at once.
            // The order waits for masks.
            (None, ask @ Ask::Mask(_)) if alive.asked.len() < 4 * usize::from(PERSONS) => {
                alive.asked.push_front((packet.from, ask, false));
            }
            (None, ask) if alive.asked.len() < 4 * usize::from(PERSONS) => {
                alive.asked.push_back((packet.from, ask, false));
            }
            (Some(Said::Partial(Some(partial))), Ask::Partial(sequence)) => {
                if let Some(certify) = alive.certify.as_mut().filter(|certify| certify.checkpoint.sequence == sequence)
                {
                    certify.hear(packet.from, partial);
                }
            }
            (Some(Said::Seed(Some(part))), Ask::Seed(id, attempt)) => {
                if let Some(signing) = alive.signing.get_mut(&id).filter(|signing| signing.attempt == attempt) {
                    signing.seed_parts.insert(packet.from, part);
                }
            }
            (Some(Said::Mask(part)), Ask::Mask(pair)) => {
                if let Some(masking) = alive.masking.as_mut().filter(|masking| masking.pair == pair) {
                    masking.asked.remove(&packet.from);
                    masking.parts.extend(part.map(|part| (packet.from, part)));
                }
            }
            (Some(Said::Hash(Some(hash))), Ask::Hash(id, attempt)) => {
                if let Some(signing) = alive.signing.get_mut(&id).filter(|signing| signing.attempt == attempt) {
                    signing.hashes.insert(packet.from, hash);
                }
            }
            (Some(Said::Signatures(Some(part))), Ask::Signatures(id, attempt)) => {
                if let Some(signing) = alive.signing.get_mut(&id).filter(|signing| signing.attempt == attempt) {
                    signing.parts.insert(packet.from, part);
                }
            }
            _ => {}
        }
    }

    /// Asks one of `among` that is another and not in `known`, and says whom.
    fn ask(&self, ask: Ask, among: &[u8], known: &BTreeSet<u8>, out: &mut Outside<'_>) -> Option<u8> {
        let is_other = |other: &u8| *other != self.index && !known.contains(other);
        let others: Vec<u8> = among.iter().copied().filter(is_other).collect();
        if others.is_empty() || out.network.len() > 200 {
            return None;
        }
        let to = others[out.random.random_range(0..others.len())];
        out.network.send(Packet { from: self.index, to, ask, said: None });
        Some(to)
    }

    /// Nothing staged, everything read.
    pub(super) fn has_read_all(&self, ledger: &Ledger, chains: &BTreeMap<ChainId, Chain>) -> bool {
        let staged = self.alive.as_ref().is_none_or(|alive| alive.staged.is_some());
        let records = |chain: &ChainId| self.disk.records.get(chain).map_or(0, Vec::len);
        let read = CHAINS.iter().all(|chain| records(chain) == chains[chain].final_records().len());
        !staged && read && self.disk.outputs.len() == ledger.listed.len()
    }

    /// It should run and does not.
    pub(super) fn is_down(&self) -> bool {
        self.is_enrolled && self.alive.is_none()
    }

    /// How many switches it has derived.
    pub(super) fn switches(&self) -> usize {
        self.alive.as_ref().map_or(0, |alive| alive.machine.core().switches().len())
    }

    /// Outputs that came too early and wait for a decision.
    pub(super) fn set_aside(&self) -> Vec<Uuid> {
        self.alive.iter().flat_map(|alive| alive.machine.core().late()).map(|output| output.id).collect()
    }

    /// Outbounds that wait in escrow.
    pub(super) fn waiting(&self) -> Vec<(ChainId, u64)> {
        let Some(alive) = &self.alive else { return Vec::new() };
        let core = alive.machine.core();
        CHAINS.iter().flat_map(|chain| core.waiting(*chain).map(|(k, _)| (*chain, k))).collect()
    }
}
