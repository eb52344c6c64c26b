//! What this member can deliver to a chain: its rows, joined with the checkpoint that proves them.

use std::collections::BTreeMap;

use lockstep_core::frontier::{self, FrontierError};
use lockstep_core::message::Message;
use lockstep_core::{B256, Uuid};
use thiserror::Error;

use crate::checkpoints::Checkpoints;
use crate::store::{MailboxRow, Store, StoreError};
use crate::world::chain::{Backlog, Batch, Cause, Delivery, OfferDeliveries, SignedCheckpoint, Waiting};

/// Messages of one mailbox in one delivery: 100 KiB of calldata hold fewer (`evm::plan`).
const BATCH_MAX: u32 = 1_000;

/// Offers deliveries from the store and the members' signatures. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Offers {
    store: Store,
    checkpoints: Checkpoints,
}

impl Offers {
    /// Offers of this member.
    pub const fn new(store: Store, checkpoints: Checkpoints) -> Self {
        Self { store, checkpoints }
    }

    /// All messages of a mailbox from `head` up to `sequence`, with its proof there; `None` if there are none.
    async fn batch(
        &self,
        mailbox: &MailboxRow,
        head: B256,
        sequence: u64,
        leaves: u32,
    ) -> Result<Option<Batch>, OfferError> {
        let Some(nonce) = self.store.nonce_at(mailbox.process, head).await? else { return Ok(None) };
        let queued = self.store.queued(mailbox.process, nonce, BATCH_MAX).await?;
        let messages: Vec<Message> = queued
            .into_iter()
            .map(|queued| queued.message)
            .take_while(|message| message.sequence <= sequence)
            .collect();
        if messages.is_empty() {
            return Ok(None);
        }
        let mut nodes = BTreeMap::new();
        for place in frontier::proof_places(mailbox.leaf, leaves)?.into_iter().flatten() {
            if let Some(node) = self.store.node(place, sequence).await? {
                nodes.insert(place, node);
            }
        }
        let proof = frontier::proof(mailbox.leaf, leaves, |place| nodes.get(&place).copied())?;
        Ok(Some(Batch { process: mailbox.process, index: mailbox.leaf, head, messages, proof }))
    }

    async fn deliver(
        &self,
        chain: u64,
        sequence: u64,
        wanted: &[(Uuid, B256)],
    ) -> Result<Option<Delivery>, OfferError> {
        let Some(step) = self.store.step(sequence).await? else { return Ok(None) };
        let mailboxes = self.store.mailboxes(chain).await?;
        let mut batches = Vec::new();
        for (process, head) in wanted {
            let mailbox = mailboxes.iter().find(|mailbox| mailbox.process == *process);
            let mailbox = mailbox.ok_or(OfferError::NoMailbox { chain, process: *process })?;
            batches.extend(self.batch(mailbox, *head, sequence, step.leaves).await?);
        }
        if batches.is_empty() {
            return Ok(None);
        }
        let Some((checkpoint, signature)) = self.checkpoints.signed(sequence).await? else { return Ok(None) };
        let checkpoint = SignedCheckpoint { checkpoint, signature: signature.to_eip2537() };
        Ok(Some(Delivery { checkpoint, batches }))
    }
}

impl OfferDeliveries for Offers {
    async fn open_mailboxes(&self, chain: u64, delivered: &BTreeMap<Uuid, B256>) -> Result<Vec<Uuid>, Cause> {
        let mut open = Vec::new();
        for (process, head) in self.store.heads(chain).await? {
            if delivered.get(&process) != Some(&head) {
                open.push(process);
            }
        }
        Ok(open)
    }

    async fn backlog(&self, process: Uuid, head: B256, limit: usize) -> Result<Option<Backlog>, Cause> {
        let Some(nonce) = self.store.nonce_at(process, head).await? else { return Ok(None) };
        let Some(mailbox) = self.store.mailbox(process).await? else { return Ok(None) };
        let limit = u32::try_from(limit).unwrap_or(u32::MAX).min(BATCH_MAX);
        let queued = self.store.queued(process, nonce, limit.saturating_add(1)).await?;
        let more = queued.len() > usize::try_from(limit).unwrap_or(usize::MAX);
        let waiting = queued.iter().take(usize::try_from(limit).unwrap_or(usize::MAX)).map(|queued| Waiting {
            sequence: queued.message.sequence,
            payload_len: u32::try_from(queued.message.payload.len()).unwrap_or(u32::MAX),
        });
        Ok(Some(Backlog { process, call_gas: u64::from(mailbox.gas), waiting: waiting.collect(), more }))
    }

    async fn delivery(&self, chain: u64, sequence: u64, mailboxes: &[(Uuid, B256)]) -> Result<Option<Delivery>, Cause> {
        Ok(self.deliver(chain, sequence, mailboxes).await?)
    }
}

/// Why nothing can be offered.
#[derive(Debug, Error)]
pub enum OfferError {
    /// The store refused.
    #[error("the store cannot be read")]
    Store(#[from] StoreError),
    /// The checkpoint cannot be signed.
    #[error(transparent)]
    Checkpoint(#[from] crate::checkpoints::CheckpointError),
    /// A frontier node is missing.
    #[error("the frontier cannot be proved")]
    Frontier(#[from] FrontierError),
    /// A process that this member does not know.
    #[error("process {process} has no mailbox on chain {chain}")]
    NoMailbox {
        /// Chain asked for.
        chain: u64,
        /// Process asked for.
        process: Uuid,
    },
}

impl OfferError {
    /// True where this member must stop signing (exit code 70).
    pub const fn is_contradiction(&self) -> bool {
        match self {
            Self::Store(error) => error.is_contradiction(),
            Self::Checkpoint(error) => error.is_contradiction(),
            Self::Frontier(_) | Self::NoMailbox { .. } => false,
        }
    }
}
