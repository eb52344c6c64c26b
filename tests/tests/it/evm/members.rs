//! What stands behind a submitter in these tests: a ledger whose every output is a message, and rows in memory.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::Context as _;
use lockstep::world::chain::{
    Backlog, Batch, Cause, Delivery, OfferDeliveries, Outcome, SaveSubmission, SignedCheckpoint, Submission, Waiting,
};
use lockstep_core::bls::SecretKey;
use lockstep_core::checkpoint::Checkpoint;

use lockstep_core::frontier::{Frontier, state_leaf};
use lockstep_core::mailbox::{Mailbox, MailboxPlace};
use lockstep_core::message::{Message, MessageKind, register_payload};
use lockstep_core::operation::Policy;
use lockstep_core::{Account, Address, Amount, AssetId, B256, Uuid};

use super::chain::{CHAIN_ID, Chain, GROUP_ID, INSTANCE};

/// Gas of each call in these tests.
const CALL_GAS: u32 = 300_000;

/// A ledger that all members of a test share.
#[derive(Clone)]
pub(super) struct Ledger(Arc<Mutex<State>>);

struct State {
    contract: Address,
    group_key: SecretKey,
    sequence: u64,
    mailboxes: Vec<(Uuid, Vec<Message>)>,
    corrupt: Option<Uuid>,
}

impl Ledger {
    pub(super) fn of(chain: &Chain) -> anyhow::Result<Self> {
        let group_key = SecretKey::from_bytes(chain.group_key.to_bytes().as_slice())?;
        Ok(Self::with(chain.contract, group_key))
    }

    pub(super) fn with(contract: Address, group_key: SecretKey) -> Self {
        Self(Arc::new(Mutex::new(State { contract, group_key, sequence: 100, mailboxes: Vec::new(), corrupt: None })))
    }

    pub(super) fn register(&self, process: Uuid, target: Address) {
        self.register_with(process, target, Policy::Refund);
    }

    pub(super) fn register_with(&self, process: Uuid, target: Address, policy: Policy) {
        let mut state = lock(&self.0);
        state.mailboxes.push((process, Vec::new()));
        let payload = register_payload(target, false, policy, CALL_GAS);
        state.post(process, MessageKind::Register, Amount::ZERO, payload);
    }

    pub(super) fn close(&self, process: Uuid) {
        lock(&self.0).post(process, MessageKind::Close, Amount::ZERO, Vec::new());
    }

    pub(super) fn pay(&self, process: Uuid, units: u128, payload: Vec<u8>) -> Message {
        lock(&self.0).post(process, MessageKind::Call, Amount::from_units(units), payload)
    }

    /// From now on the proofs of this mailbox are wrong.
    pub(super) fn corrupt(&self, process: Uuid) {
        lock(&self.0).corrupt = Some(process);
    }

    /// A payment that makes the vault pay `units` back to its sender.
    pub(super) fn withdraw(&self, process: Uuid, units: u128) -> Message {
        self.pay(process, units, [&[2][..], &units.to_be_bytes()].concat())
    }
}

impl State {
    fn post(&mut self, process: Uuid, kind: MessageKind, amount: Amount, payload: Vec<u8>) -> Message {
        self.sequence += 3;
        let (sender, asset) = match kind {
            MessageKind::Call => (Account::of_user(Uuid::from_u128(0xa11ce)), AssetId([5; 32])),
            _ => (Account::ZERO, AssetId::NONE),
        };
        let (_, messages) = self.mailboxes.iter_mut().find(|(id, _)| *id == process).expect("a registered process");
        let nonce = u64::try_from(messages.len()).expect("a small count");
        let timestamp = self.sequence * 1_000_000_000;
        let message = Message { kind, nonce, sequence: self.sequence, timestamp, sender, asset, amount, payload };
        messages.push(message.clone());
        message
    }

    /// The messages of a mailbox behind `head`.
    fn behind(&self, process: Uuid, head: B256) -> Option<&[Message]> {
        let (_, messages) = self.mailboxes.iter().find(|(id, _)| *id == process)?;
        let mut mailbox = Mailbox::EMPTY;
        for (place, message) in messages.iter().enumerate() {
            if mailbox.head == head {
                return messages.get(place..);
            }
            mailbox = mailbox.after(message).expect("nonces follow");
        }
        (mailbox.head == head).then_some(&[])
    }

    fn frontier(&self, sequence: u64) -> (Frontier, BTreeMap<Uuid, u32>) {
        let mut frontier = Frontier::new(state_leaf(&B256::repeat_byte(9)));
        let mut places = BTreeMap::new();
        for (process, messages) in &self.mailboxes {
            let applied = messages.iter().take_while(|message| message.sequence <= sequence);
            let mailbox =
                applied.fold(Mailbox::EMPTY, |mailbox, message| mailbox.after(message).expect("nonces follow"));
            if mailbox != Mailbox::EMPTY {
                let place =
                    MailboxPlace { chain: CHAIN_ID, contract: self.contract, instance: INSTANCE, process: *process };
                let (index, _) = frontier.append(place.leaf(&mailbox)).expect("few mailboxes");
                places.insert(*process, index);
            }
        }
        (frontier, places)
    }

    fn delivery(&self, sequence: u64, mailboxes: &[(Uuid, B256)]) -> anyhow::Result<Delivery> {
        let (frontier, places) = self.frontier(sequence);
        let mut batches = Vec::new();
        for (process, head) in mailboxes {
            let messages = self.behind(*process, *head).context("a known head")?;
            let messages = messages.iter().take_while(|message| message.sequence <= sequence).cloned().collect();
            let index = *places.get(process).context("a mailbox of that time")?;
            let mut proof = frontier.proof(index)?;
            if self.corrupt == Some(*process) {
                proof.push(B256::ZERO);
            }
            batches.push(Batch { process: *process, index, head: *head, messages, proof });
        }
        let checkpoint = Checkpoint { sequence, history: B256::repeat_byte(3), root: frontier.root() };
        let signature = self.group_key.sign_digest(&checkpoint.digest(&GROUP_ID)).to_eip2537();
        Ok(Delivery { checkpoint: SignedCheckpoint { checkpoint, signature }, batches })
    }
}

impl OfferDeliveries for Ledger {
    async fn open_mailboxes(&self, _: u64, delivered: &BTreeMap<Uuid, B256>) -> Result<Vec<Uuid>, Cause> {
        let state = lock(&self.0);
        let drained = |process: &Uuid| {
            let head = delivered.get(process).copied();
            head.and_then(|head| state.behind(*process, head)).is_some_and(<[Message]>::is_empty)
        };
        Ok(state.mailboxes.iter().map(|(process, _)| *process).filter(|process| !drained(process)).collect())
    }

    async fn backlog(&self, process: Uuid, head: B256, limit: usize) -> Result<Option<Backlog>, Cause> {
        let state = lock(&self.0);
        Ok(state.behind(process, head).map(|messages| Backlog {
            process,
            call_gas: u64::from(CALL_GAS),
            waiting: messages.iter().take(limit).map(waiting).collect(),
            more: messages.len() > limit,
        }))
    }

    async fn delivery(&self, _: u64, sequence: u64, mailboxes: &[(Uuid, B256)]) -> Result<Option<Delivery>, Cause> {
        Ok(Some(lock(&self.0).delivery(sequence, mailboxes)?))
    }
}

fn waiting(message: &Message) -> Waiting {
    let payload_len = u32::try_from(message.payload.len()).expect("a small payload");
    Waiting { sequence: message.sequence, payload_len }
}

/// Rows that survive a submitter, as a database would.
#[derive(Clone, Default)]
pub(super) struct Rows(Arc<Mutex<Table>>);

#[derive(Default)]
struct Table {
    rows: BTreeMap<u64, Submission>,
    settled: Vec<(u64, Outcome)>,
    crash_after_save: bool,
}

impl Rows {
    /// The next save is durable, and then the process dies.
    pub(super) fn crash_after_save(&self) {
        lock(&self.0).crash_after_save = true;
    }

    /// Puts a row there that no submitter wrote.
    pub(super) fn insert(&self, submission: Submission) {
        lock(&self.0).rows.insert(submission.account_nonce, submission);
    }

    pub(super) fn rows(&self) -> Vec<Submission> {
        lock(&self.0).rows.values().cloned().collect()
    }

    pub(super) fn settled(&self) -> Vec<(u64, Outcome)> {
        lock(&self.0).settled.clone()
    }
}

impl SaveSubmission for Rows {
    async fn load_submissions(&self, _: u64) -> Result<Vec<Submission>, Cause> {
        Ok(self.rows())
    }

    async fn save_submission(&self, _: u64, submission: &Submission) -> Result<(), Cause> {
        let mut table = lock(&self.0);
        table.rows.insert(submission.account_nonce, submission.clone());
        if std::mem::take(&mut table.crash_after_save) { Err("killed".into()) } else { Ok(()) }
    }

    async fn settle_submission(&self, _: u64, account_nonce: u64, outcome: Outcome) -> Result<(), Cause> {
        let mut table = lock(&self.0);
        table.rows.remove(&account_nonce);
        table.settled.push((account_nonce, outcome));
        Ok(())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
