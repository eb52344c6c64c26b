//! One chain with a model of the group contract (`contracts/src/Group.sol`): blocks that may be taken back until they are
//! final, custody, mailbox heads with real proofs, the accepted sequence, numbered outbounds.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use lockstep_core::bls::Signature;
use lockstep_core::checkpoint::Checkpoint;
use lockstep_core::derive::{Outbound, Record};
use lockstep_core::frontier::verify_proof;
use lockstep_core::mailbox::{Mailbox, MailboxPlace};
use lockstep_core::message::{self, FIRST_HEAD, Message, MessageKind, chain_head};
use lockstep_core::operation::contract_refund_memo;
use lockstep_core::trace::ChainId;
use lockstep_core::{Account, Amount, AssetId, B256, Uuid};

use super::setup::{GROUP_ID, dealing, has_bound, place};

/// A call with this payload fails.
pub(super) const FAIL: &[u8] = b"fail";
/// A call with this payload pays half of it back within the call.
pub(super) const ECHO: &[u8] = b"echo";

/// Messages of one mailbox, as the calldata carries them.
#[derive(Clone, Debug)]
pub(super) struct Batch {
    pub(super) process: Uuid,
    pub(super) index: u32,
    pub(super) first: u64,
    pub(super) head: B256,
    pub(super) records: Vec<u8>,
    pub(super) proof: Vec<B256>,
}

#[derive(Clone, Debug)]
pub(super) struct Delivery {
    pub(super) checkpoint: Checkpoint,
    pub(super) signature: Signature,
    pub(super) batches: Vec<Batch>,
}

/// What a block may hold.
#[derive(Clone, Debug)]
pub(super) enum Call {
    Deliver(Box<Delivery>),
    /// A process asks the group to pay.
    Send {
        process: Uuid,
        asset: AssetId,
        amount: u128,
        recipient: Vec<u8>,
        memo: Vec<u8>,
    },
}

impl From<Delivery> for Call {
    fn from(delivery: Delivery) -> Self {
        Self::Deliver(Box::new(delivery))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Status {
    Unknown,
    Alive,
    Rejected,
    Closed,
}

#[derive(Clone, Debug)]
pub(super) struct Process {
    pub(super) head: B256,
    pub(super) status: Status,
    /// Everything that ran, for the checks.
    pub(super) ran: Vec<Message>,
}

/// The contract after a block.
#[derive(Clone, Debug)]
pub(super) struct State {
    pub(super) chain: ChainId,
    pub(super) accepted: u64,
    digest: Option<B256>,
    pub(super) processes: BTreeMap<Uuid, Process>,
    pub(super) custody: BTreeMap<(Uuid, AssetId), u128>,
    /// Booked and debited so far, for the checks.
    pub(super) booked: BTreeMap<(Uuid, AssetId), (u128, u128)>,
    next_outbound: u64,
    pub(super) records: Vec<Record>,
    time: u64,
}

/// Why a call reverts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reverted {
    Signature,
    Malformed,
    Proof,
    NotLive,
    Custody,
}

pub(super) struct Chain {
    /// The first is final, the last is the head.
    blocks: VecDeque<State>,
    pool: Vec<Call>,
    /// Signatures that were verified once.
    verified: BTreeSet<(B256, [u8; 48])>,
}

impl Chain {
    pub(super) fn new(chain: ChainId) -> Self {
        let genesis = State {
            chain,
            accepted: 0,
            digest: None,
            processes: BTreeMap::new(),
            custody: BTreeMap::new(),
            booked: BTreeMap::new(),
            next_outbound: 0,
            records: Vec::new(),
            time: 0,
        };
        Self { blocks: VecDeque::from([genesis]), pool: Vec::new(), verified: BTreeSet::new() }
    }

    pub(super) fn head(&self) -> &State {
        &self.blocks[self.blocks.len() - 1]
    }

    pub(super) fn final_state(&self) -> &State {
        &self.blocks[0]
    }

    pub(super) fn final_records(&self) -> &[Record] {
        &self.final_state().records
    }

    pub(super) fn submit(&mut self, call: Call) {
        self.pool.push(call);
    }

    /// Everything that was sent is mined and final.
    pub(super) fn is_quiet(&self) -> bool {
        self.pool.is_empty() && self.blocks.len() == 1
    }

    /// A block with everything that was sent, if there is anything; what reverts does nothing. Returns the checkpoints that
    /// it verified, and why calls reverted.
    pub(super) fn mine(&mut self, now: u64) -> (Vec<(u64, B256)>, Vec<Reverted>) {
        let mut state = self.head().clone();
        if self.pool.is_empty() {
            return (Vec::new(), Vec::new());
        }
        // Block time has a coarser grain than the ledger's.
        state.time = state.time.max(now - now % 1_000_000_000);
        let (mut certified, mut reverted) = (Vec::new(), Vec::new());
        for call in std::mem::take(&mut self.pool) {
            let mut after = state.clone();
            match self.execute(&mut after, call) {
                Ok(checkpoint) => {
                    certified.extend(checkpoint);
                    state = after;
                }
                Err(why) => reverted.push(why),
            }
        }
        self.blocks.push_back(state);
        (certified, reverted)
    }

    /// The oldest block that is not final becomes so. Returns whether there was one.
    pub(super) fn finalize(&mut self) -> bool {
        self.blocks.len() > 1 && self.blocks.pop_front().is_some()
    }

    /// The newest block never was; what it held is lost. Returns whether there was one.
    pub(super) fn reorganise(&mut self) -> bool {
        self.blocks.len() > 1 && self.blocks.pop_back().is_some()
    }

    fn execute(&mut self, state: &mut State, call: Call) -> Result<Option<(u64, B256)>, Reverted> {
        match call {
            Call::Send { process, asset, amount, recipient, memo } => {
                let live = state.processes.get(&process).map(|process| process.status);
                if !matches!(live, Some(Status::Alive | Status::Closed)) {
                    return Err(Reverted::NotLive);
                }
                state.send(process, asset, amount, recipient, memo)?;
                Ok(None)
            }
            Call::Deliver(delivery) => {
                let certified = self.accept(state, &delivery)?;
                for batch in &delivery.batches {
                    state.deliver(batch, delivery.checkpoint.root)?;
                }
                Ok(Some(certified))
            }
        }
    }

    fn accept(&mut self, state: &mut State, delivery: &Delivery) -> Result<(u64, B256), Reverted> {
        let Delivery { checkpoint, signature, .. } = delivery;
        let digest = checkpoint.digest(&GROUP_ID);
        if state.digest == Some(digest) {
            return Ok((checkpoint.sequence, digest));
        }
        let known = (digest, signature.compress());
        if !self.verified.contains(&known) {
            if !dealing(0).group.key().verify_digest(&digest, signature) {
                return Err(Reverted::Signature);
            }
            self.verified.insert(known);
        }
        if checkpoint.sequence > state.accepted {
            state.accepted = checkpoint.sequence;
            state.digest = Some(digest);
            state.records.push(Record::Accepted { s: state.accepted, time: state.time });
        }
        Ok((checkpoint.sequence, digest))
    }
}

impl State {
    /// Proves a batch, then runs what the mailbox has not run yet.
    fn deliver(&mut self, batch: &Batch, root: B256) -> Result<(), Reverted> {
        let Batch { process, index, first, records, proof, .. } = batch;
        let messages = message::unpack(records, *first).map_err(|_| Reverted::Malformed)?;
        let stored = self.processes.get(process).map_or(FIRST_HEAD, |process| process.head);
        let mut head = batch.head;
        let mut start = (head == stored).then_some(0);
        for (place, message) in messages.iter().enumerate() {
            head = chain_head(head, message.leaf());
            if head == stored {
                start = Some(place + 1);
            }
        }
        let at = place(self.chain);
        let place = MailboxPlace { chain: self.chain, contract: at.contract, instance: at.instance, process: *process };
        let next_nonce = first.checked_add(messages.len() as u64).ok_or(Reverted::Malformed)?;
        if !verify_proof(&place.leaf(&Mailbox { next_nonce, head }), *index, proof, &root) {
            return Err(Reverted::Proof);
        }
        let Some(start) = start.filter(|start| *start < messages.len()) else { return Ok(()) };
        let empty = Process { head, status: Status::Unknown, ran: Vec::new() };
        self.processes.entry(*process).or_insert(empty).head = head;
        for message in messages.into_iter().skip(start) {
            self.run(*process, message);
        }
        Ok(())
    }

    fn run(&mut self, id: Uuid, message: Message) {
        let Some(process) = self.processes.get_mut(&id) else { return };
        process.ran.push(message.clone());
        match message.kind {
            MessageKind::Register if message.nonce == 0 => {
                process.status = if has_bound(id) { Status::Alive } else { Status::Rejected };
            }
            MessageKind::Close if process.status == Status::Alive => process.status = Status::Closed,
            MessageKind::Register | MessageKind::Update | MessageKind::Close => {}
            MessageKind::Bounce => self.book(id, message.asset, message.amount.units()),
            MessageKind::Call => {
                let alive = process.status == Status::Alive;
                self.call(id, &message, alive);
            }
        }
    }

    fn call(&mut self, id: Uuid, message: &Message, alive: bool) {
        let Message { sender, asset, nonce, .. } = *message;
        let amount = message.amount.units();
        let refundable = amount != 0 && sender != Account::ZERO;
        if alive || !refundable {
            self.book(id, asset, amount);
        }
        let recipient = sender.0.to_vec();
        if alive && message.payload != FAIL {
            if message.payload == ECHO && refundable {
                // What the process cannot send, it keeps.
                let _ = self.send(id, asset, amount / 2, recipient, b"echo".to_vec());
            }
            return;
        }
        if refundable {
            if alive {
                self.debit(id, asset, amount);
            }
            self.outbound(id, asset, amount, recipient, contract_refund_memo(id, nonce));
        }
    }

    fn send(
        &mut self,
        id: Uuid,
        asset: AssetId,
        amount: u128,
        recipient: Vec<u8>,
        memo: Vec<u8>,
    ) -> Result<(), Reverted> {
        if amount == 0 || self.custody.get(&(id, asset)).is_none_or(|held| *held < amount) {
            return Err(Reverted::Custody);
        }
        self.debit(id, asset, amount);
        self.outbound(id, asset, amount, recipient, memo);
        Ok(())
    }

    fn book(&mut self, id: Uuid, asset: AssetId, amount: u128) {
        *self.custody.entry((id, asset)).or_default() += amount;
        self.booked.entry((id, asset)).or_default().0 += amount;
    }

    fn debit(&mut self, id: Uuid, asset: AssetId, amount: u128) {
        *self.custody.entry((id, asset)).or_default() -= amount;
        self.booked.entry((id, asset)).or_default().1 += amount;
    }

    fn outbound(&mut self, process: Uuid, asset: AssetId, amount: u128, recipient: Vec<u8>, memo: Vec<u8>) {
        let (k, s, time) = (self.next_outbound, self.accepted, self.time);
        self.next_outbound += 1;
        let amount = Amount::from_units(amount);
        self.records.push(Record::Outbound(Outbound { k, process, asset, amount, recipient, memo, s, time }));
    }
}
