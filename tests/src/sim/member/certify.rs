//! A checkpoint for a chain that lags: own promise, pulled partials, the group's signature, a delivery
//! (`relayer/src/checkpoints.rs`, `relayer/src/offer.rs`).

use std::collections::{BTreeMap, BTreeSet};

use lockstep_core::B256;
use lockstep_core::bls::{PartialSignature, RecoverError, Signature};
use lockstep_core::checkpoint::Checkpoint;
use lockstep_core::message::{self, FIRST_HEAD};
use lockstep_core::trace::ChainId;
use rand::RngExt as _;

use super::super::chain::{Batch, Delivery, State};
use super::super::disk::Disk;
use super::super::network::{Ask, Partial};
use super::super::setup::{CHAINS, GROUP_ID, THRESHOLD, dealing};
use super::super::{Checked, broken};
use super::{Member, Outside};

/// What a crash forgets of it.
pub(super) struct Certify {
    chain: ChainId,
    pub(super) checkpoint: Checkpoint,
    is_promised: bool,
    partials: BTreeMap<u8, PartialSignature>,
    /// Other views of the same sequence, and who has them.
    others: BTreeMap<(B256, B256), BTreeSet<u8>>,
}

impl Certify {
    pub(super) fn hear(&mut self, from: u8, partial: Partial) {
        let Partial { history, root, signature } = partial;
        if (history, root) == (self.checkpoint.history, self.checkpoint.root) {
            self.partials.insert(from, PartialSignature { index: from, ..signature });
        } else {
            self.others.entry((history, root)).or_default().insert(from);
        }
    }
}

impl Member {
    pub(super) fn certify(&mut self, out: &mut Outside<'_>) -> Checked {
        let Some(alive) = &mut self.alive else { return Ok(()) };
        let Some(mut certify) = alive.certify.take() else {
            alive.certify = begin(&self.disk, out);
            return Ok(());
        };
        let Certify { chain, checkpoint, .. } = certify;
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
            let own = dealing().shares[usize::from(self.index - 1)].sign_digest(&digest);
            certify.is_promised = true;
            certify.partials.insert(self.index, own);
        } else if certify.partials.len() >= usize::from(THRESHOLD) {
            let partials: Vec<_> = certify.partials.values().copied().collect();
            let culprits = match dealing().group.recover_digest(&digest, &partials, &alive.suspects) {
                Ok(recovered) => {
                    self.disk.certificates.insert(checkpoint.sequence, recovered.signature);
                    out.tally.count("checkpoints recovered");
                    out.watch.one_checkpoint_per_sequence(checkpoint.sequence, digest)?;
                    recovered.culprits
                }
                Err(RecoverError::TooFew { culprits, .. }) => culprits,
                Err(error @ RecoverError::Inconsistent) => return broken("contradiction", error.to_string()),
            };
            for culprit in &culprits {
                out.tally.count("bad partials named");
                certify.partials.remove(culprit);
            }
            alive.suspects.extend(culprits);
        } else if let Some(((history, _), who)) =
            certify.others.iter().find(|(_, who)| who.len() >= usize::from(THRESHOLD))
        {
            return broken("contradiction", format!("members {who:?} agree on another history {history}"));
        } else {
            let known = certify.partials.keys().copied().collect();
            // Now and then the chain has moved on: begin anew.
            if out.chance(98) {
                self.ask(Ask::Partial(checkpoint.sequence), &known, out);
            } else {
                return Ok(());
            }
        }
        if let Some(alive) = &mut self.alive {
            alive.certify = Some(certify);
        }
        Ok(())
    }
}

/// A chain that has not seen all, and a sequence to bring it to: mostly the newest, sometimes an older one.
fn begin(disk: &Disk, out: &mut Outside<'_>) -> Option<Certify> {
    let chain = CHAINS[out.random.random_range(0..CHAINS.len())];
    open(disk, chain, out.chains[&chain].head()).next()?;
    let behind = if out.chance(30) { out.random.random_range(0..4) } else { 0 };
    let checkpoint = *disk.steps.values().rev().nth(behind)?;
    Some(Certify { chain, checkpoint, is_promised: false, partials: BTreeMap::new(), others: BTreeMap::new() })
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
