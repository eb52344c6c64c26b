//! A checkpoint for a chain that lags: own promise, pulled partials, the group's signature, a delivery
//! (`relayer/src/checkpoints.rs`, `relayer/src/offer.rs`).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use lockstep_core::B256;
use lockstep_core::bls::{PartialSignature, RecoverError, Signature};
use lockstep_core::checkpoint::Checkpoint;
use lockstep_core::group::roster::Roster;
use lockstep_core::message::{self, FIRST_HEAD};
use lockstep_core::trace::ChainId;
use rand::RngExt as _;

use super::super::chain::{Batch, Delivery, State};
use super::super::disk::Disk;
use super::super::network::{Ask, Partial};
use super::super::setup::{CHAINS, GENERATIONS, GROUP_ID, index_in};
use super::super::{Checked, broken};
use super::{Member, Outside};

/// What a crash forgets of it.
pub(super) struct Certify {
    chain: ChainId,
    pub(super) checkpoint: Checkpoint,
    roster: Arc<Roster>,
    is_promised: bool,
    /// By index in the roster.
    partials: BTreeMap<u8, PartialSignature>,
    /// Parts of other generations that came.
    others_parts: u64,
    /// Other views of the same sequence, and who has them.
    others: BTreeMap<(B256, B256), BTreeSet<u8>>,
}

impl Certify {
    /// Another view that t members have, and who they are.
    fn diverged(&self) -> Option<(&(B256, B256), &BTreeSet<u8>)> {
        let need = usize::from(self.roster.key().threshold());
        self.others.iter().find(|(_, who)| who.len() >= need)
    }

    pub(super) fn hear(&mut self, from: u8, partial: Partial) {
        let Partial { roster, history, root, signature } = partial;
        let Some(from) = index_in(self.roster.generation(), from) else { return };
        if roster != self.roster.digest() {
            self.others_parts += 1;
        } else if (history, root) == (self.checkpoint.history, self.checkpoint.root) {
            self.partials.insert(from, PartialSignature { index: from, ..signature });
        } else {
            self.others.entry((history, root)).or_default().insert(from);
        }
    }
}

impl Member {
    pub(super) fn certify(&mut self, out: &mut Outside<'_>) -> Checked {
        let Some(roster) = self.active() else { return Ok(()) };
        let Some(share) = self.share_of(&roster)? else { return Ok(()) };
        let Some(alive) = &mut self.alive else { return Ok(()) };
        // What was begun before a switch is begun anew.
        let Some(mut certify) = alive.certify.take().filter(|certify| certify.roster == roster) else {
            alive.certify = begin(&self.disk, roster, out);
            return Ok(());
        };
        let Certify { chain, checkpoint, .. } = certify;
        for _ in 0..std::mem::take(&mut certify.others_parts) {
            out.tally.count("parts of another generation refused");
        }
        let digest = checkpoint.digest(&GROUP_ID);
        if let Some(signature) = self.disk.certificates.get(&checkpoint.sequence) {
            let delivery = delivery(&self.disk, out.chains[&chain].head(), checkpoint, *signature);
            // The endpoint takes it and loses it.
            let is_lost = out.faults && out.chance(10);
            if let (Some(delivery), Some(chain), false) = (delivery, out.chains.get_mut(&chain), is_lost) {
                out.tally.count("deliveries sent");
                chain.submit(delivery.into());
            }
            return Ok(());
        }
        if !certify.is_promised {
            self.disk.guard_checkpoint(checkpoint.sequence, digest)?;
            let own = share.sign_digest(&digest);
            certify.is_promised = true;
            certify.partials.insert(own.index, own);
        } else if certify.partials.len() >= usize::from(roster.key().threshold()) {
            self.recover(&mut certify, out)?;
        } else if let Some(((history, _), who)) = certify.diverged() {
            return broken("contradiction", format!("members {who:?} agree on another history {history}"));
        } else {
            let persons = GENERATIONS[roster.generation() as usize];
            let has = |person: &&u8| {
                index_in(roster.generation(), **person).is_some_and(|i| certify.partials.contains_key(&i))
            };
            let known = persons.iter().filter(has).copied().collect();
            // Now and then the chain has moved on: begin anew.
            if out.chance(98) {
                self.ask(Ask::Partial(checkpoint.sequence), persons, &known, out);
            } else {
                return Ok(());
            }
        }
        if let Some(alive) = &mut self.alive {
            alive.certify = Some(certify);
        }
        Ok(())
    }

    /// The group's signature from t parts, and the culprits where some are bad.
    fn recover(&mut self, certify: &mut Certify, out: &mut Outside<'_>) -> Checked {
        let Some(alive) = &mut self.alive else { return Ok(()) };
        let (checkpoint, roster) = (certify.checkpoint, Arc::clone(&certify.roster));
        let (digest, name) = (checkpoint.digest(&GROUP_ID), roster.digest());
        let partials: Vec<_> = certify.partials.values().copied().collect();
        let of_roster = |(of, index): &(B256, u8)| (*of == name).then_some(*index);
        let suspects = alive.suspects.iter().filter_map(of_roster).collect();
        let recovered = roster.key().recover_digest(&digest, &partials, &suspects);
        let culprits = match &recovered {
            Ok(recovered) => &recovered.culprits,
            Err(RecoverError::TooFew { culprits, .. }) => culprits,
            Err(error @ RecoverError::Inconsistent) => return broken("contradiction", error.to_string()),
        };
        for culprit in culprits {
            out.tally.count("bad partials named");
            certify.partials.remove(culprit);
            alive.suspects.insert((name, *culprit));
        }
        let Ok(recovered) = recovered else { return Ok(()) };
        self.disk.certificates.insert(checkpoint.sequence, recovered.signature);
        out.tally.count("checkpoints recovered");
        out.watch.one_checkpoint_per_sequence(checkpoint.sequence, digest)?;
        if roster.generation() > 0 {
            out.tally.count("checkpoints of a later generation");
        }
        self.erase_before(&roster, out.tally);
        Ok(())
    }
}

/// A chain that has not seen all, and a sequence to bring it to: mostly the newest, sometimes an older one.
fn begin(disk: &Disk, roster: Arc<Roster>, out: &mut Outside<'_>) -> Option<Certify> {
    let chain = CHAINS[out.random.random_range(0..CHAINS.len())];
    open(disk, chain, out.chains[&chain].head()).next()?;
    let behind = if out.chance(30) { out.random.random_range(0..4) } else { 0 };
    let checkpoint = *disk.steps.values().rev().nth(behind)?;
    let (partials, others) = (BTreeMap::new(), BTreeMap::new());
    Some(Certify { chain, checkpoint, roster, is_promised: false, partials, others_parts: 0, others })
}

/// The mailboxes of a chain that are not delivered, with the head that the chain has.
fn open(disk: &Disk, chain: ChainId, state: &State) -> impl Iterator<Item = (lockstep_core::Uuid, B256)> {
    let newest = |process| disk.messages.get(process).and_then(|messages| messages.last()).map(|(_, head)| *head);
    let here = disk.mailboxes.values().filter(move |opened| opened.chain == chain);
    here.filter_map(move |opened| {
        let head = state.processes.get(&opened.process).map_or(FIRST_HEAD, |process| process.head);
        (newest(&opened.process) != Some(head)).then_some((opened.process, head))
    })
}

/// Everything that `checkpoint` lets a chain run; `None` if that is nothing.
pub(crate) fn delivery(disk: &Disk, state: &State, checkpoint: Checkpoint, signature: Signature) -> Option<Delivery> {
    let mut batches = Vec::new();
    for (process, head) in open(disk, state.chain, state) {
        let Some(first) = disk.nonce_at(process, head) else { continue };
        let waiting = disk.messages[&process].iter().skip(first).map(|(message, _)| message.clone());
        let messages: Vec<_> = waiting.take_while(|message| message.sequence <= checkpoint.sequence).collect();
        if messages.is_empty() {
            continue;
        }
        let index = disk.mailboxes[&process].leaf;
        let proof = disk.nodes.proof(index, checkpoint.sequence).ok()?;
        let records = message::pack(&messages);
        batches.push(Batch { process, index, first: first.try_into().ok()?, head, records, proof });
    }
    (!batches.is_empty()).then_some(Delivery { checkpoint, signature, batches })
}
