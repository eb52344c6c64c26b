//! The ledger as a member reads it and speaks to it.

use std::collections::BTreeSet;
use std::future::Future;
use std::sync::Arc;

use lockstep_core::group::Addresses;
use lockstep_core::mixin::{GhostScalar, SignedTransaction, Transaction};
use lockstep_core::output::{CoinId, Output};
use lockstep_core::payout::{GhostKeys, GhostRequest};
use lockstep_core::{B256, Uuid};
use thiserror::Error;

use super::chain::Cause;
use super::doubt::Reread;

/// Reads what was paid to the group, at all the addresses that it has had.
pub trait ReadLedger: Send + Sync {
    /// Outputs at the addresses of `group` with a sequence above `after`, in one ascending order, none of any address left
    /// out, each checked on the kernel. Empty where there are none yet. It is bounded: call again with the last sequence.
    ///
    /// # Errors
    /// [`ReadError`] concerns the first output behind `after`; what lies before a doubtful one is returned first.
    fn next_outputs(
        &self,
        group: &Addresses,
        after: u64,
    ) -> impl Future<Output = Result<Vec<Output>, ReadError>> + Send;

    /// Outputs above `after` at the address that became the group's with `generation`, of before that switch. Each is
    /// marked late: the order that all members share went on without it. Bounded and checked like
    /// [`Self::next_outputs`]; empty where there are no more.
    ///
    /// # Errors
    /// As [`Self::next_outputs`].
    fn early_outputs(
        &self,
        group: &Addresses,
        generation: u32,
        after: u64,
    ) -> impl Future<Output = Result<Vec<Output>, ReadError>> + Send;

    /// Reads the rows of all addresses above `after` and not above `to` again, and compares them with `known`: all outputs in
    /// that range that were applied or set aside. What is new is checked like [`Self::next_outputs`], and left out while it is
    /// not final or not what the kernel says.
    ///
    /// # Errors
    /// Where the ledger cannot be read.
    fn reread(
        &self,
        group: &Addresses,
        after: u64,
        to: u64,
        known: &[Output],
    ) -> impl Future<Output = Result<Reread, ReadError>> + Send;

    /// One output of the group by its id, checked like [`Self::next_outputs`]; `None` where the ledger does not know it.
    ///
    /// # Errors
    /// As [`Self::next_outputs`].
    fn output(&self, group: &Addresses, id: Uuid) -> impl Future<Output = Result<Option<Output>, ReadError>> + Send;
}

/// Several tasks of a member share one reader.
impl<T: ReadLedger> ReadLedger for Arc<T> {
    fn next_outputs(
        &self,
        group: &Addresses,
        after: u64,
    ) -> impl Future<Output = Result<Vec<Output>, ReadError>> + Send {
        T::next_outputs(self, group, after)
    }

    fn early_outputs(
        &self,
        group: &Addresses,
        generation: u32,
        after: u64,
    ) -> impl Future<Output = Result<Vec<Output>, ReadError>> + Send {
        T::early_outputs(self, group, generation, after)
    }

    fn reread(
        &self,
        group: &Addresses,
        after: u64,
        to: u64,
        known: &[Output],
    ) -> impl Future<Output = Result<Reread, ReadError>> + Send {
        T::reread(self, group, after, to, known)
    }

    fn output(&self, group: &Addresses, id: Uuid) -> impl Future<Output = Result<Option<Output>, ReadError>> + Send {
        T::output(self, group, id)
    }
}

/// Reads kernel transactions.
pub trait ReadKernel: Send + Sync {
    /// The transaction with this payload hash, or `None` if the kernel does not know it.
    ///
    /// # Errors
    /// Where too few nodes answer.
    fn transaction(&self, hash: B256) -> impl Future<Output = Result<Option<KernelView>, LedgerFault>> + Send;

    /// Transactions that may hold an output key: where to look for the proof that a payload is dead.
    ///
    /// # Errors
    /// Where no node answers.
    fn key_holders(&self, key: [u8; 32]) -> impl Future<Output = Result<Vec<B256>, LedgerFault>> + Send;

    /// Transactions that may spend a coin: nodes have reserved it for them.
    ///
    /// # Errors
    /// Where no node answers.
    fn coin_holders(&self, coin: CoinId) -> impl Future<Output = Result<Vec<B256>, LedgerFault>> + Send;
}

/// Several tasks of a member share one client.
impl<T: ReadKernel> ReadKernel for Arc<T> {
    fn transaction(&self, hash: B256) -> impl Future<Output = Result<Option<KernelView>, LedgerFault>> + Send {
        T::transaction(self, hash)
    }

    fn key_holders(&self, key: [u8; 32]) -> impl Future<Output = Result<Vec<B256>, LedgerFault>> + Send {
        T::key_holders(self, key)
    }

    fn coin_holders(&self, coin: CoinId) -> impl Future<Output = Result<Vec<B256>, LedgerFault>> + Send {
        T::coin_holders(self, coin)
    }
}

/// Gives transactions to the kernel past the ledger's API.
pub trait SendTransaction: Send + Sync {
    /// Hands a fully signed transaction to the node number `turn`, modulo their number. Repetition is harmless, and does
    /// something only at a node that does not have it yet.
    ///
    /// # Errors
    /// The node's refusal, or that it does not answer.
    fn send_transaction(
        &self,
        turn: usize,
        signed: &SignedTransaction,
    ) -> impl Future<Output = Result<(), LedgerFault>> + Send;
}

/// Gets one-time keys for outputs to ledger users.
pub trait IssueKeys: Send + Sync {
    /// Keys for `requests`, in their order. The same hints give the same keys to every one of `senders`.
    ///
    /// # Errors
    /// [`LedgerFault::NotRegistered`] if a receiver cannot be paid, and those of every call.
    fn issue_keys(
        &self,
        senders: &[Uuid],
        requests: &[GhostRequest],
    ) -> impl Future<Output = Result<Vec<GhostKeys>, LedgerFault>> + Send;
}

/// Registers a group's payout with the ledger's API and adds signatures to it. Every call may be repeated.
pub trait SubmitPayout: Send + Sync {
    /// Registers `transaction` under `request`, or finds it registered by another member.
    ///
    /// # Errors
    /// [`LedgerFault::Conflict`] if the request stands for another transaction: then nothing may be signed.
    fn register(
        &self,
        request: Uuid,
        transaction: &Transaction,
    ) -> impl Future<Output = Result<Registered, LedgerFault>> + Send;

    /// What turns this member's spend key into the key of each input, asked for past all shared requests. Empty where there
    /// is nothing to sign any more.
    ///
    /// # Errors
    /// Those of every call.
    fn views(&self, transaction: &Transaction) -> impl Future<Output = Result<Vec<GhostScalar>, LedgerFault>> + Send;

    /// Adds the member's signatures in `signed`. It broadcasts at the threshold.
    ///
    /// # Errors
    /// As [`Self::register`].
    fn add_signatures(
        &self,
        request: Uuid,
        signed: &SignedTransaction,
    ) -> impl Future<Output = Result<Registered, LedgerFault>> + Send;
}

/// A kernel transaction whose bytes hash to what was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KernelView {
    /// What it says.
    pub transaction: SignedTransaction,
    /// True if a quorum of nodes shows a snapshot for it.
    pub is_final: bool,
}

/// A payout as the ledger's API knows it. The payload was compared.
#[derive(Clone, Debug, PartialEq)]
pub struct Registered {
    /// What turns this member's spend key into the key of each input, in order. Empty once it has signed, or once enough
    /// have.
    pub views: Vec<GhostScalar>,
    /// Members whose signatures the API has.
    pub signers: BTreeSet<Uuid>,
    /// Signatures needed.
    pub threshold: u8,
    /// Who killed the request. The payload lives on: it can be registered under another request id.
    pub revoked_by: Option<Uuid>,
    /// The transaction with the signatures that the API has collected; not verified.
    pub collected: SignedTransaction,
}

/// Why the next output cannot be applied.
#[derive(Debug, Error)]
pub enum ReadError {
    /// The ledger listed it before the kernel made it final. It is waited for and never passed over.
    #[error("output {output} at sequence {sequence} is not final on the kernel yet")]
    WaitNotFinal {
        /// The output.
        output: Uuid,
        /// Its sequence.
        sequence: u64,
    },
    /// The ledger's API and the kernel say different things about it. Nothing of it was applied, so it is waited for like one
    /// that is not final: the member stands still and says why.
    #[error("output {output}: {field} is {api} at the ledger's API and {kernel} on the kernel")]
    Mismatch {
        /// The output.
        output: Uuid,
        /// What differs.
        field: &'static str,
        /// The API's word.
        api: String,
        /// The kernel's word, or what was asked for.
        kernel: String,
    },
    /// An address of the group that cannot be listed.
    #[error("the group of generation {generation} has members that are no ledger users")]
    Unlistable {
        /// Its generation.
        generation: u32,
    },
    /// A decision admits an output that the ledger does not show. Others have it, or it is nobody's: it is waited for, since
    /// without it this member would derive something else.
    #[error("the decision at sequence {sequence} admits output {output}, which the ledger does not show")]
    WaitForAdmitted {
        /// The output.
        output: Uuid,
        /// Sequence of the decision.
        sequence: u64,
    },
    /// The sender of a payment to a private process has no mask yet: t members make one when they have come to its place.
    #[error("output {output} at sequence {sequence} waits for t members to mask its sender for process {process}")]
    WaitForMask {
        /// The output.
        output: Uuid,
        /// Its sequence.
        sequence: u64,
        /// The private process.
        process: Uuid,
    },
    /// The ledger was not read.
    #[error(transparent)]
    Fault(#[from] LedgerFault),
}

impl ReadError {
    /// True where it names an output that somebody should look at. A mask is waited for often, and shortly.
    pub const fn is_of_an_output(&self) -> bool {
        match self {
            Self::WaitNotFinal { .. } | Self::Mismatch { .. } | Self::WaitForAdmitted { .. } => true,
            Self::Unlistable { .. } | Self::WaitForMask { .. } | Self::Fault(_) => false,
        }
    }

    /// True where the ledger or its nodes did not answer as they should: they are asked less often for a while. Everything else
    /// is an answer, and what the member waits for may be there the next time.
    pub const fn is_fault(&self) -> bool {
        matches!(self, Self::Fault(_))
    }
}

/// Why the ledger did not do what was asked.
#[derive(Debug, Error)]
pub enum LedgerFault {
    /// No usable answer.
    #[error("{doing}: no answer from the ledger")]
    Transport {
        /// What was asked.
        doing: &'static str,
        /// True if it may go away by itself.
        retryable: bool,
        /// What happened.
        #[source]
        source: Cause,
    },
    /// The service understood, and refused for a reason that waiting does not change.
    #[error("{doing}: the ledger refused")]
    Refused {
        /// What was asked.
        doing: &'static str,
        /// Its words.
        #[source]
        source: Cause,
    },
    /// A receiver is not registered and cannot be paid.
    #[error("{doing}: a receiver is not registered with the ledger")]
    NotRegistered {
        /// What was asked.
        doing: &'static str,
    },
    /// Another transaction holds an input. Where it is not ours, that is a matter for a person.
    #[error("{doing}: another transaction holds an input")]
    InputLocked {
        /// What was asked.
        doing: &'static str,
    },
    /// An output key belongs to another transaction: this payload may be dead, which the kernel has to prove.
    #[error("{doing}: an output key belongs to another transaction")]
    KeyUsed {
        /// What was asked.
        doing: &'static str,
    },
    /// The request id stands for another payload: some member derived something else.
    #[error("request {request} stands for {theirs}, not for {ours}")]
    Conflict {
        /// The request.
        request: Uuid,
        /// What this member derived.
        ours: B256,
        /// What the API holds.
        theirs: B256,
    },
}

impl LedgerFault {
    /// True where the same call may succeed later without anybody's doing.
    pub const fn retryable(&self) -> bool {
        match self {
            Self::Transport { retryable, .. } => *retryable,
            Self::InputLocked { .. } => true,
            Self::Refused { .. } | Self::NotRegistered { .. } | Self::KeyUsed { .. } | Self::Conflict { .. } => false,
        }
    }
}
