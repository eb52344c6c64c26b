//! One EVM chain as a member reads it and speaks to it.

use std::collections::BTreeMap;
use std::future::Future;

use lockstep_core::checkpoint::Checkpoint;
use lockstep_core::derive::Record;
use lockstep_core::message::Message;
use lockstep_core::{B256, Uuid};
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// What stands behind an error of another crate.
pub type Cause = Box<dyn std::error::Error + Send + Sync>;

/// How far a chain was read: everything up to and with `block`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cursor {
    /// The last block that was read.
    pub block: u64,
    /// Its hash, or `None` before the first page.
    pub hash: Option<B256>,
    /// Nonce of the next outbound.
    pub next_outbound: u64,
    /// The ledger sequence that the contract had accepted at the end of `block`.
    pub accepted: u64,
}

impl Cursor {
    /// Nothing read yet of a contract that was deployed in block `deployed`.
    pub const fn before(deployed: u64) -> Self {
        Self { block: deployed.saturating_sub(1), hash: None, next_outbound: 0, accepted: 0 }
    }
}

/// Records behind a cursor, and where to go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordPage {
    /// In the order of the chain; may be empty.
    pub records: Vec<Record>,
    /// Where the next page begins. Rows and cursor belong into one database transaction.
    pub cursor: Cursor,
    /// The newest final block that was seen. The page is complete up to it when `cursor.block` equals it.
    pub final_block: u64,
}

/// Reads final records of one chain.
pub trait ReadChain: Send + Sync {
    /// The records of at most `blocks` blocks behind `from`.
    ///
    /// # Errors
    /// [`ChainError::is_contradiction`] says whether to halt; anything else is to be tried again later.
    fn records(&self, from: Cursor, blocks: u64) -> impl Future<Output = Result<RecordPage, ChainError>> + Send;
}

/// Why a chain could not be read or spoken to.
#[derive(Debug, Error)]
pub enum ChainError {
    /// The endpoint does not answer, or answers with an error.
    #[error("{doing}: the RPC endpoint failed")]
    Endpoint {
        /// What was asked.
        doing: &'static str,
        /// What it said.
        #[source]
        source: Cause,
    },
    /// The endpoint's answer does not fit together with itself: it lags, leaves something out, or mixes two nodes.
    #[error("{doing}: the RPC endpoint's answer is incomplete: {what}")]
    Incomplete {
        /// What was asked.
        doing: &'static str,
        /// What is missing.
        what: String,
    },
    /// A final block, or the contract's numbering, changed under us.
    #[error("the chain contradicts what was read from it before: {0}")]
    Contradiction(#[from] Contradiction),
    /// What must be persisted before it is sent could not be.
    #[error("{doing}: the store failed")]
    Store {
        /// What was to be saved or read.
        doing: &'static str,
        /// What it said.
        #[source]
        source: Cause,
    },
}

impl ChainError {
    /// True when a person must look before anything more is signed; false when trying again is right.
    pub const fn is_contradiction(&self) -> bool {
        match self {
            Self::Contradiction(_) => true,
            Self::Endpoint { .. } | Self::Incomplete { .. } | Self::Store { .. } => false,
        }
    }
}

/// What must never happen on a final chain. Each variant says exactly where the views differ.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Contradiction {
    /// The block of the cursor was final and now has another hash.
    #[error("final block {block} had the hash {was} and now has {is}")]
    BlockChanged {
        /// Its number.
        block: u64,
        /// What was read before.
        was: B256,
        /// What the endpoint says now.
        is: B256,
    },
    /// An outbound whose nonce does not follow the last one.
    #[error("block {block} holds outbound {found} where {expected} must follow")]
    OutboundGap {
        /// Where it stands.
        block: u64,
        /// The nonce that must follow.
        expected: u64,
        /// The nonce that is there.
        found: u64,
    },
    /// Accepted sequences only grow, and an outbound carries the one in force.
    #[error("block {block} holds ledger sequence {found} after {accepted} was accepted")]
    Sequence {
        /// Where it stands.
        block: u64,
        /// What was accepted before.
        accepted: u64,
        /// What is there.
        found: u64,
    },
    /// The contract counted fewer outbounds than its logs show.
    #[error("at block {block} the contract counts {counted} outbounds but its logs show {seen}")]
    Counter {
        /// The block of the count.
        block: u64,
        /// The contract's next nonce.
        counted: u64,
        /// The next nonce by its logs.
        seen: u64,
    },
    /// A log that the group contract cannot have written.
    #[error("block {block}, log {index}: {what}")]
    Log {
        /// Where it stands.
        block: u64,
        /// Its index in the block.
        index: u64,
        /// What is wrong with it.
        what: &'static str,
    },
}

/// A checkpoint with the group's signature, ready for the contract.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedCheckpoint {
    /// What was signed.
    pub checkpoint: Checkpoint,
    /// Signature in G1, in the form of EIP-2537.
    pub signature: [u8; 128],
}

/// Messages of one mailbox up to a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// The mailbox.
    pub process: Uuid,
    /// Its leaf in the frontier.
    pub index: u32,
    /// The head before the first message.
    pub head: B256,
    /// All messages from there to the checkpoint, at least one.
    pub messages: Vec<Message>,
    /// The siblings of its leaf, bottom up.
    pub proof: Vec<B256>,
}

/// One call of `deliver`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// What proves all batches.
    pub checkpoint: SignedCheckpoint,
    /// One a mailbox.
    pub batches: Vec<Batch>,
}

/// A message that waits for its delivery, by what planning needs of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// Ledger sequence that made it: rising within a mailbox.
    pub sequence: u64,
    /// Bytes of its payload.
    pub payload_len: u32,
}

/// What of one mailbox is not delivered yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backlog {
    /// The mailbox.
    pub process: Uuid,
    /// Gas that each of its calls may use.
    pub call_gas: u64,
    /// The messages behind the delivered head, in order.
    pub waiting: Vec<Waiting>,
    /// True when there are more than were listed.
    pub more: bool,
}

/// What a member has to deliver. The member's rows stand behind it; nothing here reads a chain.
pub trait OfferDeliveries: Send + Sync {
    /// The mailboxes of `chain` whose newest head is not the one in `delivered`, which holds what is known to be
    /// delivered for good. A mailbox that is missing there counts as not delivered.
    ///
    /// # Errors
    /// Where the store fails.
    fn open_mailboxes(
        &self,
        chain: u64,
        delivered: &BTreeMap<Uuid, B256>,
    ) -> impl Future<Output = Result<Vec<Uuid>, Cause>> + Send;

    /// What follows `head` in the mailbox of `process`, at most `limit` messages; `None` where this member does not know
    /// the head, because others have applied more of the ledger.
    ///
    /// # Errors
    /// Where the store fails.
    fn backlog(
        &self,
        process: Uuid,
        head: B256,
        limit: usize,
    ) -> impl Future<Output = Result<Option<Backlog>, Cause>> + Send;

    /// The signed checkpoint at `sequence` and, for each mailbox, all messages from the head given to that checkpoint.
    /// `None` while fewer than t partial signatures answered.
    ///
    /// # Errors
    /// Where the store or the signing fails.
    fn delivery(
        &self,
        chain: u64,
        sequence: u64,
        mailboxes: &[(Uuid, B256)],
    ) -> impl Future<Output = Result<Option<Delivery>, Cause>> + Send;
}

/// What a submission is for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Purpose {
    /// A call of `deliver` on the group contract.
    Deliver {
        /// The calldata, kept so that a restarted member sends the same bytes.
        #[serde(with = "hex::serde")]
        calldata: Vec<u8>,
        /// The mailboxes with the heads that their batches began at: it is useful while one of them still stands there.
        heads: BTreeMap<Uuid, B256>,
    },
    /// An empty transfer to the member itself that takes the place of a delivery others were faster with.
    Cancel,
}

/// A transaction of this member with its own account nonce, from before it is first sent until it is final.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Submission {
    /// Nonce of the member's EVM account; never that of a message.
    pub account_nonce: u64,
    /// What it does.
    pub purpose: Purpose,
    /// Gas limit.
    pub gas_limit: u64,
    /// Highest price of one gas, in wei.
    pub max_fee: u128,
    /// Tip of one gas, in wei.
    pub tip: u128,
    /// When it was first sent, in milliseconds since 1970.
    pub first_sent_at: u64,
    /// When it was last sent or re-priced, in milliseconds since 1970.
    pub last_sent_at: u64,
    /// Transaction hashes of all prices it was sent with: any of them may be mined.
    pub hashes: Vec<B256>,
}

/// How a submission ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// Mined and final.
    Mined(B256),
    /// Mined, and reverted: it did nothing.
    Reverted(B256),
    /// Another transaction of the same account took the nonce: a second process uses the key, or a store was lost.
    Foreign,
}

/// Keeps submissions: written before they are sent, so that a restart takes the same path as a retry.
pub trait SaveSubmission: Send + Sync {
    /// All that are not settled, in any order.
    ///
    /// # Errors
    /// Where the store fails.
    fn load_submissions(&self, chain: u64) -> impl Future<Output = Result<Vec<Submission>, Cause>> + Send;

    /// Inserts or replaces the one of the same account nonce, durably.
    ///
    /// # Errors
    /// Where the store fails: then nothing is sent.
    fn save_submission(&self, chain: u64, submission: &Submission) -> impl Future<Output = Result<(), Cause>> + Send;

    /// Drops the one of this account nonce, which is final.
    ///
    /// # Errors
    /// Where the store fails.
    fn settle_submission(
        &self,
        chain: u64,
        account_nonce: u64,
        outcome: Outcome,
    ) -> impl Future<Output = Result<(), Cause>> + Send;
}
