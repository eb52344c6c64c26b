//! What derivations give back: classified outputs, messages and transactions.

use alloy_primitives::{Address, B256, FixedBytes, keccak256};
use serde::{Deserialize, Serialize};
use thiserror::Error;
use uuid::Uuid;

use crate::mask::MaskPair;
use crate::message::Posted;
use crate::operation::{bounce_memo, refund_memo};
use crate::trace::{ChainId, Trace};
use crate::{Amount, AssetId, Mix};

/// What became of one output (DERIVATION.md A).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// The output.
    pub output: Uuid,
    /// Its place in the order: its own sequence, or that of the decision that admitted it.
    pub sequence: u64,
    /// Which rule took it.
    pub class: Class,
    /// Messages that it put into mailboxes, at most one.
    pub posted: Vec<Posted>,
    /// Transactions that it calls for, at most one.
    pub derived: Vec<Derived>,
    /// The mailbox that it opened.
    pub registered: Option<Registered>,
}

/// The rule that took an output, with its tag in the state digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Class {
    /// A1: of a transaction that spends the group's coins.
    Internal = 0,
    /// A1: what comes back from a payout that could not be made.
    Bounce = 1,
    /// A2: a collectible that goes back.
    Return = 2,
    /// A3: a decision that acted.
    Decision = 3,
    /// Kept: nobody can or may get it back.
    Unclaimed = 4,
    /// A6: goes back in full.
    Refund = 5,
    /// A7: opened a mailbox.
    Register = 6,
    /// A7: a call of a process.
    Call = 7,
}

/// A mailbox that came to be. Leaves of the frontier are numbered in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Registered {
    /// The process, that is the UUID of the user who registered it.
    pub process: Uuid,
    /// Its chain.
    pub chain: ChainId,
    /// Its contract there.
    pub address: Address,
}

/// What a record or the passing of ledger time leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// A transaction to build and sign.
    Derived(Derived),
    /// B3: outbound `k` can never be paid, for the contract asked for more than its process has. Somebody should look.
    Parked {
        /// The chain.
        chain: ChainId,
        /// The outbound.
        k: u64,
    },
}

/// A ledger transaction that all members build alike. Its bytes exist when all its inputs are final.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Derived {
    /// Its name, for ever.
    pub trace: Trace,
    /// The asset of all inputs and outputs.
    pub asset: AssetId,
    /// What it spends, in this order.
    pub inputs: Vec<CoinRef>,
    /// What it pays, in this order. The sums of inputs and outputs are equal.
    pub outputs: Vec<(Payee, Amount)>,
    /// What its extra says.
    pub memo: DerivedMemo,
    /// The group's key as of its place in the order, compressed: the one that a decision made it, `None` for the group's
    /// first. With it the group signs for this transaction whatever others must not know. No part of the state digest, for
    /// it follows from the place.
    #[serde(default)]
    pub key: Option<Box<FixedBytes<96>>>,
}

/// A coin of the group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum CoinRef {
    /// An output that was applied.
    Output(Uuid),
    /// An output of a derived transaction, known before that one is final.
    Virtual {
        /// The parent.
        trace: Trace,
        /// Index of the output.
        index: u16,
    },
}

/// Who gets an output of a derived transaction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Payee {
    /// A ledger user or set.
    Mix(Mix),
    /// The group's own address of a generation.
    Group(u32),
}

/// What a derived transaction's extra says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum DerivedMemo {
    /// Nothing: the group pays itself.
    Internal,
    /// Goes back to who paid, or where a decision releases it, marked so that nobody refunds it again (purpose 13).
    Refund,
    /// Comes back to a process (purpose 14).
    Bounce(Uuid),
    /// The memo of the outbound as it is.
    Pay(Vec<u8>),
}

/// Domain of the state digest.
const STATE_DOMAIN: &[u8] = b"lockstep/v1/state";

/// The digest of a core that has applied nothing.
pub(super) fn first_state_digest() -> B256 {
    keccak256(STATE_DOMAIN)
}

/// state' = keccak(state ‖ keccak(canonical bytes of `applied`)).
pub(super) fn next_state_digest(state: B256, applied: &Applied) -> B256 {
    let mut bytes = Vec::new();
    applied.write(&mut bytes);
    keccak256([state.0, keccak256(bytes).0].concat())
}

/// A length as u32; nothing that is written here comes near 2³².
fn write_length(bytes: &mut Vec<u8>, length: usize) {
    bytes.extend_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes());
}

fn write_bytes(bytes: &mut Vec<u8>, value: &[u8]) {
    write_length(bytes, value.len());
    bytes.extend_from_slice(value);
}

impl Applied {
    /// Canonical bytes, frozen; lengths and counts are u32, all numbers big endian:
    /// output 16 ‖ sequence u64 ‖ class u8
    /// ‖ count × (process 16 ‖ kind u8 ‖ nonce u64 ‖ sequence u64 ‖ timestamp u64 ‖ sender 32 ‖ asset 32 ‖ amount u128
    ///   ‖ length ‖ payload)
    /// ‖ count × transaction ([`Derived::write`])
    /// ‖ 0, or 1 ‖ process 16 ‖ chain u64 ‖ address 20.
    fn write(&self, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(self.output.as_bytes());
        bytes.extend_from_slice(&self.sequence.to_be_bytes());
        bytes.push(self.class as u8);
        write_length(bytes, self.posted.len());
        for Posted { process, message } in &self.posted {
            bytes.extend_from_slice(process.as_bytes());
            bytes.push(message.kind as u8);
            bytes.extend_from_slice(&message.nonce.to_be_bytes());
            bytes.extend_from_slice(&message.sequence.to_be_bytes());
            bytes.extend_from_slice(&message.timestamp.to_be_bytes());
            bytes.extend_from_slice(message.sender.0.as_slice());
            bytes.extend_from_slice(&message.asset.0);
            bytes.extend_from_slice(&message.amount.units().to_be_bytes());
            write_bytes(bytes, &message.payload);
        }
        write_length(bytes, self.derived.len());
        for derived in &self.derived {
            derived.write(bytes);
        }
        bytes.push(u8::from(self.registered.is_some()));
        if let Some(Registered { process, chain, address }) = &self.registered {
            bytes.extend_from_slice(process.as_bytes());
            bytes.extend_from_slice(&chain.to_be_bytes());
            bytes.extend_from_slice(address.as_slice());
        }
    }
}

impl Derived {
    /// The extra of the transaction: nothing, the outbound's own memo, or a raw operation of ours. `None` for a refund
    /// whose trace names no output, which no rule derives.
    pub fn extra(&self) -> Option<Vec<u8>> {
        match (&self.memo, &self.trace) {
            (DerivedMemo::Internal, _) => Some(Vec::new()),
            (DerivedMemo::Pay(memo), _) => Some(memo.clone()),
            (DerivedMemo::Bounce(process), _) => Some(bounce_memo(*process)),
            (DerivedMemo::Refund, Trace::Refund { output } | Trace::Return { output } | Trace::Release { output }) => {
                Some(refund_memo(*output))
            }
            (DerivedMemo::Refund, _) => None,
        }
    }

    /// Canonical bytes, frozen:
    /// trace ‖ asset 32 ‖ count × (0 ‖ output 16, or 1 ‖ trace ‖ index u16)
    /// ‖ count × (0 ‖ length ‖ MIX payload, or 1 ‖ generation u32; then amount u128)
    /// ‖ 0 internal, 1 refund, 2 ‖ process 16 bounce, 3 ‖ length ‖ memo pay.
    fn write(&self, bytes: &mut Vec<u8>) {
        write_trace(bytes, &self.trace);
        bytes.extend_from_slice(&self.asset.0);
        write_length(bytes, self.inputs.len());
        for input in &self.inputs {
            match input {
                CoinRef::Output(output) => {
                    bytes.push(0);
                    bytes.extend_from_slice(output.as_bytes());
                }
                CoinRef::Virtual { trace, index } => {
                    bytes.push(1);
                    write_trace(bytes, trace);
                    bytes.extend_from_slice(&index.to_be_bytes());
                }
            }
        }
        write_length(bytes, self.outputs.len());
        for (payee, amount) in &self.outputs {
            match payee {
                Payee::Mix(mix) => {
                    bytes.push(0);
                    write_bytes(bytes, &mix.to_payload());
                }
                Payee::Group(generation) => {
                    bytes.push(1);
                    bytes.extend_from_slice(&generation.to_be_bytes());
                }
            }
            bytes.extend_from_slice(&amount.units().to_be_bytes());
        }
        match &self.memo {
            DerivedMemo::Internal => bytes.push(0),
            DerivedMemo::Refund => bytes.push(1),
            DerivedMemo::Bounce(process) => {
                bytes.push(2);
                bytes.extend_from_slice(process.as_bytes());
            }
            DerivedMemo::Pay(memo) => {
                bytes.push(3);
                write_bytes(bytes, memo);
            }
        }
    }
}

/// A tag, then the parts: outputs 16, chain and k u64, generation and j u32, asset 32.
fn write_trace(bytes: &mut Vec<u8>, trace: &Trace) {
    let tagged = |bytes: &mut Vec<u8>, tag: u8, parts: &[&[u8]]| {
        bytes.push(tag);
        parts.iter().for_each(|part| bytes.extend_from_slice(part));
    };
    match trace {
        Trace::Refund { output } => tagged(bytes, 0, &[output.as_bytes()]),
        Trace::Return { output } => tagged(bytes, 1, &[output.as_bytes()]),
        Trace::Forward { output } => tagged(bytes, 2, &[output.as_bytes()]),
        Trace::Pay { chain, k } => tagged(bytes, 3, &[&chain.to_be_bytes(), &k.to_be_bytes()]),
        Trace::Escrow { chain, k } => tagged(bytes, 4, &[&chain.to_be_bytes(), &k.to_be_bytes()]),
        Trace::Settle { chain, k } => tagged(bytes, 5, &[&chain.to_be_bytes(), &k.to_be_bytes()]),
        Trace::Move { chain, k, generation } => {
            tagged(bytes, 6, &[&chain.to_be_bytes(), &k.to_be_bytes(), &generation.to_be_bytes()]);
        }
        Trace::Consolidate { chain, k, j } => {
            tagged(bytes, 7, &[&chain.to_be_bytes(), &k.to_be_bytes(), &j.to_be_bytes()]);
        }
        Trace::Migrate { chain, generation, asset, j } => {
            tagged(bytes, 8, &[&chain.to_be_bytes(), &generation.to_be_bytes(), &asset.0, &j.to_be_bytes()]);
        }
        Trace::Release { output } => tagged(bytes, 9, &[output.as_bytes()]),
    }
}

/// Why a core stopped. Each is a contradiction between what the member was given and what it was promised; trying again
/// cannot help.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum DeriveError {
    /// The ledger's order went back, or stood still.
    #[error("output {output} has sequence {sequence}, but {applied} is applied already")]
    OutputOrder {
        /// The output.
        output: Uuid,
        /// Its sequence.
        sequence: u64,
        /// The highest sequence before it.
        applied: u64,
    },
    /// A chain that the group file does not name.
    #[error("chain {0} is not configured")]
    UnknownChain(ChainId),
    /// A gap or a repetition among the outbounds of a chain.
    #[error("chain {chain}: outbound {found} where {expected} is due")]
    OutboundOrder {
        /// The chain.
        chain: ChainId,
        /// The next number.
        expected: u64,
        /// What came.
        found: u64,
    },
    /// A record's accepted sequence or its block time lies before that of an earlier record.
    #[error("chain {chain}: {what} went back from {before} to {found}")]
    RecordOrder {
        /// The chain.
        chain: ChainId,
        /// `accepted sequence` or `block time`.
        what: &'static str,
        /// Of the record before.
        before: u64,
        /// Of this one.
        found: u64,
    },
    /// The coin list holds less than the books allow. The rules exclude it.
    #[error("chain {chain}: the coins of {asset} do not cover outbound {k}, though the book does")]
    Uncovered {
        /// The chain.
        chain: ChainId,
        /// The outbound.
        k: u64,
        /// The asset.
        asset: AssetId,
    },
    /// A message for a private process whose sender has no mask yet. Who applies asks for it before.
    #[error("account {} of private process {} has no mask", .0.account.0, .0.process)]
    Unmasked(MaskPair),
    /// A number left its range: more of an asset than can exist, or a time beyond the year 2554.
    #[error("{0} left its range")]
    Overflow(&'static str),
}
