//! The bytes of an order: MVM's `User.run` payload, with what MVM left zero used as flags.
//!
//! ```text
//! flags u8 (bit 0: leftovers stay; bit 1: a spender is named) ‖ count u8, 1 to 16 ‖ [spender 20]
//! ‖ count × { target 20 ‖ length u16 ‖ calldata }                                              and nothing else
//! pointer to a stored order: process 16 ‖ storage contract 20 ‖ keccak256(order) 32
//! ```

use alloy_primitives::{Address, B256, keccak256};
use thiserror::Error;
use uuid::Uuid;

use crate::reader::Reader;

/// Most calls of an order.
pub const CALLS_MAX: usize = 16;
/// Most bytes of one call's data: its length is a u16.
pub const DATA_MAX: usize = 65_535;

const KEEP: u8 = 1;
const NAMED: u8 = 2;
/// Flags and count.
const HEADER: usize = 2;
const ADDRESS: usize = 20;
/// Target and length.
const CALL: usize = 22;
/// Bytes of a pointer to a stored order.
const POINTER: usize = 68;

/// What a smart account is told to do: all of the calls in turn, or none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// Whether what is left of the payment stays in the account, instead of going back to the ledger.
    pub keep: bool,
    /// Who may spend the payment while the order runs: the first target, or who is named here. Zero names nobody.
    pub spender: Option<Address>,
    /// 1 to [`CALLS_MAX`] of them.
    pub calls: Vec<Call>,
}

/// One call of an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// A contract: an address without code makes the order fail.
    pub target: Address,
    /// At most [`DATA_MAX`] bytes.
    pub data: Vec<u8>,
}

impl Order {
    /// The payload that gives this order.
    ///
    /// # Errors
    /// Refuses no calls, too many, and one whose data is too long.
    pub fn encode(&self) -> Result<Vec<u8>, OrderError> {
        let count = u8::try_from(self.calls.len()).map_err(|_| OrderError::Count(self.calls.len()))?;
        if !(1..=CALLS_MAX).contains(&self.calls.len()) {
            return Err(OrderError::Count(self.calls.len()));
        }
        let keep = if self.keep { KEEP } else { 0 };
        let named = if self.spender.is_some() { NAMED } else { 0 };
        let mut bytes = vec![keep | named, count];
        bytes.extend(self.spender.iter().flat_map(|spender| spender.as_slice()));
        for (index, call) in self.calls.iter().enumerate() {
            let length = u16::try_from(call.data.len())
                .map_err(|_| OrderError::DataTooLong { index, bytes: call.data.len() })?;
            bytes.extend_from_slice(call.target.as_slice());
            bytes.extend_from_slice(&length.to_be_bytes());
            bytes.extend_from_slice(&call.data);
        }
        Ok(bytes)
    }

    /// Reads an order as an account does, and refuses what it refuses, for the same reason.
    ///
    /// # Errors
    /// Names the first thing that is wrong.
    pub fn decode(bytes: &[u8]) -> Result<Self, OrderError> {
        let ends = |offset: usize| OrderError::Malformed { offset, length: bytes.len() };
        let [flags, count, rest @ ..] = bytes else {
            return Err(ends(HEADER));
        };
        if flags & !(KEEP | NAMED) != 0 {
            return Err(OrderError::Flags(*flags));
        }
        let count = usize::from(*count);
        if !(1..=CALLS_MAX).contains(&count) {
            return Err(OrderError::Count(count));
        }
        if rest.len() < ADDRESS {
            return Err(ends(HEADER.saturating_add(ADDRESS)));
        }
        let mut reader = Reader::new(rest);
        let spender = if flags & NAMED == 0 { None } else { reader.array().map(Address::from) };
        let mut calls = Vec::with_capacity(count);
        for _ in 0..count {
            calls.push(read_call(&mut reader, bytes.len())?);
        }
        if !reader.is_empty() {
            return Err(ends(offset_of(reader, bytes.len())));
        }
        Ok(Self { keep: flags & KEEP != 0, spender, calls })
    }
}

fn read_call(reader: &mut Reader<'_>, length: usize) -> Result<Call, OrderError> {
    let start = offset_of(*reader, length);
    let head = start.saturating_add(CALL);
    let (Some(target), Some(size)) = (reader.array::<ADDRESS>(), reader.array::<2>()) else {
        return Err(OrderError::Malformed { offset: head, length });
    };
    let size = usize::from(u16::from_be_bytes(size));
    let data = reader.slice(size).ok_or(OrderError::Malformed { offset: head.saturating_add(size), length })?;
    Ok(Call { target: Address::from(target), data: data.to_vec() })
}

/// How much of `length` bytes was read.
const fn offset_of(reader: Reader<'_>, length: usize) -> usize {
    length.saturating_sub(reader.rest().len())
}

/// An order that does not fit a memo: its bytes are in the storage contract, under their hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoredOrder {
    /// The accounts process that is paid.
    pub process: Uuid,
    /// Its storage contract; an account refuses any other.
    pub storage: Address,
    /// keccak256 of the order's bytes.
    pub key: B256,
}

impl StoredOrder {
    /// The pointer to an order, given its bytes.
    pub fn of(process: Uuid, storage: Address, order: &[u8]) -> Self {
        Self { process, storage, key: keccak256(order) }
    }

    /// The payload that points to the order.
    pub fn encode(&self) -> Vec<u8> {
        [self.process.as_bytes().as_slice(), self.storage.as_slice(), self.key.as_slice()].concat()
    }
}

/// What a payment to an accounts process asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Payload {
    /// Nothing: the payment stays in the account.
    Deposit,
    /// The calls of an order.
    Order(Order),
    /// The calls of an order that is stored.
    Stored(StoredOrder),
}

impl Payload {
    /// Reads what a payment to the accounts process `process` says.
    ///
    /// # Errors
    /// As [`Order::decode`]: such a payment goes back to its sender.
    pub fn decode(bytes: &[u8], process: Uuid) -> Result<Self, OrderError> {
        if bytes.is_empty() {
            return Ok(Self::Deposit);
        }
        match stored(bytes, process) {
            Some(stored) => Ok(Self::Stored(stored)),
            None => Order::decode(bytes).map(Self::Order),
        }
    }
}

fn stored(bytes: &[u8], process: Uuid) -> Option<StoredOrder> {
    if bytes.len() != POINTER {
        return None;
    }
    let mut reader = Reader::new(bytes);
    if reader.array::<16>()? != *process.as_bytes() {
        return None;
    }
    Some(StoredOrder { process, storage: Address::from(reader.array()?), key: B256::from(reader.array()?) })
}

/// Why bytes are not an order, or an order has no bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum OrderError {
    /// Bits that mean nothing are set.
    #[error("an order has the flags 1 and 2, got {0:#04x}")]
    Flags(u8),
    /// Too few or too many calls.
    #[error("an order has 1 to 16 calls, got {0}")]
    Count(usize),
    /// The bytes end before `offset`, or go on after it.
    #[error("an order of {length} bytes should end at, or have bytes up to, {offset}")]
    Malformed {
        /// Where the bytes should end, or where they should at least go to.
        offset: usize,
        /// How many there are.
        length: usize,
    },
    /// The data of a call does not fit its length.
    #[error("call {index} has {bytes} bytes of data, at most 65535 fit")]
    DataTooLong {
        /// Which call, from 0.
        index: usize,
        /// Its bytes.
        bytes: usize,
    },
}
