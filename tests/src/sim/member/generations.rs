//! Who signs now, and who can spend what (`relayer/src/rosters.rs`, `relayer/src/signer.rs`, `relayer/src/watch.rs`).

use std::sync::Arc;

use lockstep_core::bls::SecretShare;
use lockstep_core::derive::{CoinRef, Derived, Payee};
use lockstep_core::group::roster::Roster;
use lockstep_core::group::{Addresses, Generations};
use lockstep_core::operation::{Decision, DecisionBody, Memo, MemoKind, MemoRules};
use lockstep_core::output::Output;

use super::super::disk::Disk;
use super::super::ledger::Ledger;
use super::super::setup::{GENERATIONS, identity_key, index_in, persons_of, roster, share, trace_id};
use super::super::{Checked, Fault, Tally, broken};
use super::Member;

/// The rosters on a disk.
pub(super) fn known(disk: &Disk) -> Generations {
    let mut known = Generations::new(roster(0, Default::default()));
    for roster in &disk.rosters {
        known.learn(roster.clone()).expect("it was learnt before");
    }
    known
}

/// The next outputs that a member reads, at the addresses that it knows: early ones of an address first, then the order of
/// all, up to what may give the group another address.
pub(super) fn page(
    ledger: &Ledger,
    disk: &Disk,
    addresses: &Addresses,
    most: usize,
    fault: Option<Fault>,
) -> Vec<Output> {
    let applied = disk.steps.last_key_value().map_or(0, |(sequence, _)| *sequence);
    let (mut early, mut next) = (Vec::new(), Vec::new());
    for output in &ledger.listed {
        let Some(arrival) = ledger.places.get(&output.id).and_then(|at| addresses.arrival(at, output.sequence)) else {
            continue;
        };
        let output = Output { generation: arrival.generation, late: arrival.is_early, ..output.clone() };
        if output.late && !disk.coins.contains_key(&output.id) {
            early.push(output);
        } else if !output.late && output.sequence > applied {
            next.push(output);
        }
    }
    if !early.is_empty() {
        early.truncate(most);
        return early;
    }
    next.truncate(most);
    if fault != Some(Fault::ReadsPastSwitch)
        && let Some(turn) = next.iter().position(may_turn)
    {
        next.truncate(turn + 1);
    }
    next
}

fn may_turn(output: &Output) -> bool {
    let MemoKind::Decision(Decision { body, .. }) = Memo::decode(&output.extra, &MemoRules::default()).kind else {
        return false;
    };
    matches!(body, DecisionBody::Switch { .. } | DecisionBody::Admit { .. })
}

/// The persons who can spend what a derived transaction spends, and how many of them sign.
pub(super) fn spenders(disk: &Disk, addresses: &Addresses, derived: &Derived) -> Option<(Vec<u8>, usize)> {
    let generation = match derived.inputs.first()? {
        CoinRef::Output(id) => disk.coins.get(id)?.2,
        CoinRef::Virtual { trace, index } => {
            match disk.payouts.get(&trace_id(trace))?.derived.outputs.get(usize::from(*index))? {
                (Payee::Group(generation), _) => *generation,
                (Payee::Mix(_), _) => return None,
            }
        }
    };
    addresses.group(generation).map(persons_of)
}

impl Member {
    /// The roster that signs now, by what is on the disk.
    pub(super) fn active(&self) -> Option<Arc<Roster>> {
        let alive = self.alive.as_ref()?;
        Some(Arc::clone(alive.known.active(&alive.addresses)))
    }

    /// This member's share in `roster`, if it has a seat and the share, and its history meets the roster's mark.
    pub(super) fn share_of(&self, roster: &Roster) -> Checked<Option<&'static SecretShare>> {
        let generation = roster.generation();
        let Some(share) = share(generation, self.index).filter(|_| self.disk.shares.contains(&generation)) else {
            return Ok(None);
        };
        let Some(mark) = roster.marks().checkpoint else { return Ok(Some(share)) };
        match self.disk.steps.get(&mark.checkpoint.sequence) {
            Some(own) if *own == mark.checkpoint => Ok(Some(share)),
            Some(_) => broken("contradiction", format!("member {} misses the mark of {generation}", self.index)),
            None => Ok(None),
        }
    }

    /// A ceremony's end reaches a member that took part in it: its share first, then its roster.
    pub(super) fn learn(&mut self, made: &[Roster], tally: &mut Tally) {
        let Some(alive) = &mut self.alive else { return };
        let has = |generation| self.disk.rosters.iter().any(|roster| roster.generation() == generation);
        let took_part = |roster: &&Roster| {
            let generation = roster.generation();
            let before = GENERATIONS[generation as usize - 1];
            before.contains(&self.index) || index_in(generation, self.index).is_some()
        };
        let Some(roster) = made.iter().filter(took_part).find(|roster| !has(roster.generation())) else {
            return;
        };
        if roster.member_by_identity(&identity_key(self.index)).is_some() {
            self.disk.shares.insert(roster.generation());
        }
        self.disk.rosters.push(roster.clone());
        alive.known = known(&self.disk);
        tally.count("rosters learnt");
    }

    /// A signature was made by the generation that signs now alone: older shares are forgotten.
    pub(super) fn erase_before(&mut self, roster: &Roster, tally: &mut Tally) {
        self.has_proved = self.has_proved.max(Some(roster.generation()));
        let before = self.disk.shares.len();
        self.disk.shares.retain(|generation| *generation >= roster.generation());
        if self.disk.shares.len() < before {
            tally.count("old shares erased");
        }
    }
}
