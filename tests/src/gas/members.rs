//! The members of a group, without their service: what they sign and what one of them would deliver.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result};
use lockstep::world::chain::{Batch, Delivery, SignedCheckpoint};
use lockstep_core::bls::Dealing;
use lockstep_core::checkpoint::Checkpoint;
use lockstep_core::frontier::{Frontier, state_leaf};
use lockstep_core::history;
use lockstep_core::mailbox::{Mailbox, MailboxPlace};
use lockstep_core::message::{Message, MessageKind, register_payload};
use lockstep_core::operation::Policy;
use lockstep_core::{Account, Address, Amount, AssetId, B256, Mix, Uuid};
use sha2::{Digest as _, Sha256};

/// A chain id of development.
pub(super) const CHAIN_ID: u64 = 31_337;
/// The group.
pub(super) const GROUP_ID: B256 = B256::repeat_byte(0xa1);
/// Its deployment.
pub(super) const INSTANCE: B256 = B256::repeat_byte(0xb2);
/// The processes that are measured.
pub(super) const PROCESSES: [Uuid; 2] = [
    Uuid::from_u128(0x8f1a_2b3c_4d5e_4f60_9172_83a4_b5c6_d7e8),
    Uuid::from_u128(0x5d21_77ce_9b04_4a3f_8e66_12f0_c3a9_541b),
];
/// Most messages of a process in one case: the one that brings its slots into use, and those that are measured.
pub(super) const MESSAGES_MAX: u32 = 101;

/// Gas that each call may use: the default of a registration.
const CALL_GAS: u32 = 300_000;
/// Ledger sequence and time before the first message.
const FIRST_SEQUENCE: u64 = 20_000_000;
const FIRST_TIMESTAMP: u64 = 1_790_000_000_123_456_789;
const OUTPUT_INTERVAL_NS: u64 = 1_003_000_001;

/// Whether a message brings a payment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Payment {
    /// An amount of the one asset of the benchmark.
    Some,
    /// Nothing, to tell what booking costs.
    None,
}

/// Mailboxes of one group on one chain and the frontier over them.
pub(super) struct Members<'a> {
    dealing: &'a Dealing,
    sequence: u64,
    history: B256,
    frontier: Frontier,
    open: BTreeMap<Uuid, Open>,
}

/// A mailbox that is measured.
struct Open {
    index: u32,
    place: MailboxPlace,
    newest: Mailbox,
    delivered: Mailbox,
    waiting: Vec<Message>,
}

impl<'a> Members<'a> {
    /// A group with the state leaf and `mailboxes` mailboxes. Those that are measured stand in the middle, so that the
    /// proofs hold no empty subtree; of a single one, it is the first process.
    pub(super) fn new(dealing: &'a Dealing, contract: Address, mailboxes: u32) -> Result<Self> {
        let place = |process| MailboxPlace { chain: CHAIN_ID, contract, instance: INSTANCE, process };
        let others = (1..=u128::from(mailboxes)).map(|number| place(Uuid::from_u128(number)).leaf(&Mailbox::EMPTY));
        let leaves = [state_leaf(&word("state", 0))].into_iter().chain(others);
        let mut members = Self {
            dealing,
            sequence: FIRST_SEQUENCE,
            history: history::genesis(&GROUP_ID, &word("group file", 0)),
            frontier: Frontier::from_leaves(leaves).context("a frontier has leaves")?,
            open: BTreeMap::new(),
        };
        let middle = mailboxes.div_ceil(2);
        for (process, index) in PROCESSES.into_iter().zip([middle, middle / 2]).filter(|(_, index)| *index != 0) {
            let (place, newest) = (place(process), Mailbox::EMPTY);
            members.frontier.update(index, place.leaf(&newest))?;
            members.open.insert(process, Open { index, place, newest, delivered: newest, waiting: Vec::new() });
        }
        Ok(members)
    }

    /// The processes that are measured.
    pub(super) fn processes(&self) -> impl Iterator<Item = Uuid> + '_ {
        PROCESSES.into_iter().filter(|process| self.open.contains_key(process))
    }

    /// Registers a process at `target`.
    pub(super) fn register(&mut self, process: Uuid, target: Address) -> Result<()> {
        let payload = register_payload(target, false, Policy::Refund, CALL_GAS);
        self.post(process, MessageKind::Register, Payment::None, payload)
    }

    /// Posts call `number` to a process: it writes [`value_of`] under [`key_of`].
    pub(super) fn call(&mut self, process: Uuid, number: u32, payment: Payment) -> Result<()> {
        self.post(process, MessageKind::Call, payment, [key_of(number), value_of(number)].concat())
    }

    /// Posts a call with `length` bytes of payload, none of them zero. The receiver refuses it.
    pub(super) fn call_with(&mut self, process: Uuid, length: usize) -> Result<()> {
        self.post(process, MessageKind::Call, Payment::None, vec![0xa5; length])
    }

    /// Posts a payment with a payload of its own.
    pub(super) fn pay(&mut self, process: Uuid, payload: Vec<u8>) -> Result<()> {
        self.post(process, MessageKind::Call, Payment::Some, payload)
    }

    /// The checkpoint of now, signed by just as many members as it takes.
    pub(super) fn sign(&self) -> Result<SignedCheckpoint> {
        let checkpoint = Checkpoint { sequence: self.sequence, history: self.history, root: self.frontier.root() };
        let digest = checkpoint.digest(&GROUP_ID);
        let group = &self.dealing.group;
        let signers = self.dealing.shares.iter().rev().take(group.threshold().into());
        let parts: Vec<_> = signers.map(|share| share.sign_digest(&digest)).collect();
        let signature = group.recover_digest(&digest, &parts, &BTreeSet::new())?.signature.to_eip2537();
        Ok(SignedCheckpoint { checkpoint, signature })
    }

    /// What waits in a mailbox, proved against the checkpoint of now.
    pub(super) fn take(&mut self, process: Uuid) -> Result<Batch> {
        let open = self.open.get_mut(&process).context("a mailbox that is measured")?;
        let proof = self.frontier.proof(open.index)?;
        let head = open.delivered.head;
        open.delivered = open.newest;
        Ok(Batch { process, index: open.index, head, messages: std::mem::take(&mut open.waiting), proof })
    }

    /// All that waits for these processes under a new checkpoint.
    pub(super) fn delivery(&mut self, processes: &[Uuid]) -> Result<Delivery> {
        let batches = processes.iter().map(|process| self.take(*process)).collect::<Result<_>>()?;
        Ok(Delivery { checkpoint: self.sign()?, batches })
    }

    fn post(&mut self, process: Uuid, kind: MessageKind, payment: Payment, payload: Vec<u8>) -> Result<()> {
        self.sequence = self.sequence.saturating_add(1);
        let passed = self.sequence.saturating_sub(FIRST_SEQUENCE).saturating_mul(OUTPUT_INTERVAL_NS);
        let open = self.open.get_mut(&process).context("a mailbox that is measured")?;
        let (asset, amount) = match payment {
            Payment::Some => (asset(), amount()),
            Payment::None => (AssetId::NONE, Amount::ZERO),
        };
        let message = Message {
            kind,
            nonce: open.newest.next_nonce,
            sequence: self.sequence,
            timestamp: FIRST_TIMESTAMP.saturating_add(passed),
            sender: if kind == MessageKind::Call { sender() } else { Account::ZERO },
            asset,
            amount,
            payload,
        };
        open.newest = open.newest.after(&message)?;
        open.waiting.push(message);
        self.frontier.update(open.index, open.place.leaf(&open.newest))?;
        self.history = word_of(&[self.history.as_slice(), &self.sequence.to_be_bytes()]);
        Ok(())
    }

    /// The head of a mailbox after its newest message.
    pub(super) fn head(&self, process: Uuid) -> Option<B256> {
        self.open.get(&process).map(|open| open.newest.head)
    }
}

/// The asset of all payments.
pub(super) fn asset() -> AssetId {
    AssetId::from_uuid(Uuid::from_u128(0xc94a_c88f_4671_3976_b60a_0906_4f1e_8c97))
}

/// How much each payment brings.
pub(super) const fn amount() -> Amount {
    Amount::from_units(0x0123_4567_89ab_cdef)
}

/// Who pays: two users together, whose account has 32 bytes of hash. A single user's has 16 zeros and costs less.
pub(super) fn sender() -> Account {
    Account::of(&Mix::of_users(PROCESSES, 2))
}

/// The slot that call `number` writes, as the receiver knows it.
pub(super) fn key_of(number: u32) -> B256 {
    word("key", number)
}

/// What it writes there.
pub(super) fn value_of(number: u32) -> B256 {
    word("value", number)
}

/// 32 bytes, none of them zero: those cost the most.
fn word(what: &str, number: u32) -> B256 {
    let mut word = word_of(&[what.as_bytes(), &number.to_be_bytes()]);
    for byte in word.iter_mut().filter(|byte| **byte == 0) {
        *byte = 0xff;
    }
    word
}

fn word_of(parts: &[&[u8]]) -> B256 {
    B256::new(Sha256::digest(parts.concat()).into())
}
