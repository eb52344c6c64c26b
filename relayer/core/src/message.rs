//! Messages of a mailbox, their hash chain, and the records that carry them to the group contract.

use alloy_primitives::{Address, B256, keccak256};
use serde::{Deserialize, Serialize};
use thiserror::Error;
use uuid::Uuid;

use crate::operation::Policy;
use crate::reader::Reader;
use crate::{Account, Amount, AssetId};

/// Kind tag of a message, as the group contract reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[repr(u8)]
pub enum MessageKind {
    /// Message 0: payload = address 20 ‖ flags u8 (bit 0 private, bits 1–2 policy) ‖ gas u32.
    Register = 0,
    /// A payment with a payload, for the developer contract.
    Call = 1,
    /// A payout that could not be made comes back to its process.
    Bounce = 2,
    /// Something of the process changed by decision: payload = flags u8 ‖ gas u32, as they are from now on.
    Update = 3,
    /// The mailbox takes no more calls.
    Close = 4,
}

impl MessageKind {
    const fn from_tag(tag: u8) -> Option<Self> {
        match tag {
            0 => Some(Self::Register),
            1 => Some(Self::Call),
            2 => Some(Self::Bounce),
            3 => Some(Self::Update),
            4 => Some(Self::Close),
            _ => None,
        }
    }
}

/// One message of one mailbox.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// What it is.
    pub kind: MessageKind,
    /// Place in the mailbox, from 0.
    pub nonce: u64,
    /// Ledger sequence it was made at.
    pub sequence: u64,
    /// Ledger time in nanoseconds.
    pub timestamp: u64,
    /// Who paid; [`Account::ZERO`] for nobody and for the group.
    pub sender: Account,
    /// What was paid; [`AssetId::NONE`] for nothing.
    pub asset: AssetId,
    /// How much, in 10⁻⁸ units; 0 for Register, Update and Close.
    pub amount: Amount,
    /// What the contract reads.
    pub payload: Vec<u8>,
}

impl Message {
    /// `abi.encode` of the contract's `Message` struct: the offset word 0x20, eight words, then the payload.
    pub fn abi_encode(&self) -> Vec<u8> {
        let words = [
            B256::left_padding_from(&[0x20]),
            B256::left_padding_from(&[self.kind as u8]),
            B256::left_padding_from(&self.nonce.to_be_bytes()),
            B256::left_padding_from(&self.sequence.to_be_bytes()),
            B256::left_padding_from(&self.timestamp.to_be_bytes()),
            self.sender.0,
            B256::from(self.asset.0),
            B256::left_padding_from(&self.amount.units().to_be_bytes()),
            B256::left_padding_from(&[0x01, 0x00]),
            B256::left_padding_from(&self.payload.len().to_be_bytes()),
        ];
        let mut encoded = words.concat();
        encoded.extend_from_slice(&self.payload);
        encoded.resize(encoded.len().next_multiple_of(32), 0);
        encoded
    }

    /// What the hash chain takes in: the hash of the encoding, which begins with the kind.
    pub fn leaf(&self) -> B256 {
        keccak256(self.abi_encode())
    }

    fn pack_into(&self, records: &mut Vec<u8>) {
        // kind 1 ‖ sequence 8 ‖ timestamp 8 ‖ sender 32 ‖ asset 32 ‖ amount 16 ‖ length 4 ‖ payload
        records.push(self.kind as u8);
        records.extend_from_slice(&self.sequence.to_be_bytes());
        records.extend_from_slice(&self.timestamp.to_be_bytes());
        records.extend_from_slice(self.sender.0.as_slice());
        records.extend_from_slice(&self.asset.0);
        records.extend_from_slice(&self.amount.units().to_be_bytes());
        // A payload is bounded far below 2³² bytes (DESIGN.md section 9: 64 KiB).
        records.extend_from_slice(&u32::try_from(self.payload.len()).unwrap_or(u32::MAX).to_be_bytes());
        records.extend_from_slice(&self.payload);
    }
}

/// A message with its mailbox.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Posted {
    /// The process, that is the UUID of the user who registered it.
    pub process: Uuid,
    /// The message.
    pub message: Message,
}

/// Head of a mailbox that has no message yet.
pub const FIRST_HEAD: B256 = B256::ZERO;

/// The head of a mailbox after one more message: keccak(head ‖ leaf).
pub fn chain_head(head: B256, leaf: B256) -> B256 {
    keccak256([head, leaf].concat())
}

/// The flags byte of a process in registrations and messages: bit 0 private, bits 1–2 policy.
pub const fn flags(private: bool, policy: Policy) -> u8 {
    private as u8 | (policy as u8) << 1
}

/// The payload of a Register message: address 20 ‖ flags ‖ gas u32.
pub fn register_payload(address: Address, private: bool, policy: Policy, gas: u32) -> Vec<u8> {
    [address.as_slice(), &update_payload(private, policy, gas)].concat()
}

/// The payload of an Update message: flags ‖ gas u32 of the process as it is from now on.
pub fn update_payload(private: bool, policy: Policy, gas: u32) -> Vec<u8> {
    let mut payload = vec![flags(private, policy)];
    payload.extend_from_slice(&gas.to_be_bytes());
    payload
}

/// The records of consecutive messages as `Batch.messages` carries them. Nonces are not in the bytes: they count up from
/// the batch's `first`.
pub fn pack(messages: &[Message]) -> Vec<u8> {
    let mut records = Vec::new();
    for message in messages {
        message.pack_into(&mut records);
    }
    records
}

/// Reads the records of a batch whose first message has nonce `first`: what [`pack`] wrote, and nothing else.
///
/// # Errors
/// Names the record that is cut short, has an unknown kind, or would exceed the last nonce.
pub fn unpack(records: &[u8], first: u64) -> Result<Vec<Message>, RecordError> {
    let (mut messages, mut rest, mut nonce) = (Vec::new(), records, Some(first));
    while !rest.is_empty() {
        let at = records.len().saturating_sub(rest.len());
        let mut reader = Reader::new(rest);
        let nonce_here = nonce.ok_or(RecordError::Nonce)?;
        messages.push(unpack_one(&mut reader, at, nonce_here)?);
        (rest, nonce) = (reader.rest(), nonce_here.checked_add(1));
    }
    Ok(messages)
}

fn unpack_one(reader: &mut Reader<'_>, at: usize, nonce: u64) -> Result<Message, RecordError> {
    let short = RecordError::Short { at };
    let [kind] = reader.array().ok_or(short)?;
    let kind = MessageKind::from_tag(kind).ok_or(RecordError::Kind { at, kind })?;
    let sequence = u64::from_be_bytes(reader.array().ok_or(short)?);
    let timestamp = u64::from_be_bytes(reader.array().ok_or(short)?);
    let sender = Account(B256::new(reader.array().ok_or(short)?));
    let asset = AssetId(reader.array().ok_or(short)?);
    let amount = Amount::from_units(u128::from_be_bytes(reader.array().ok_or(short)?));
    let length = u32::from_be_bytes(reader.array().ok_or(short)?);
    let payload = usize::try_from(length).ok().and_then(|length| reader.slice(length)).ok_or(short)?.to_vec();
    Ok(Message { kind, nonce, sequence, timestamp, sender, asset, amount, payload })
}

/// Why bytes are not the records of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum RecordError {
    /// The bytes end inside a record.
    #[error("the record at byte {at} is cut short")]
    Short {
        /// Where the record begins.
        at: usize,
    },
    /// A kind that does not exist.
    #[error("the record at byte {at} has unknown kind {kind}")]
    Kind {
        /// Where the record begins.
        at: usize,
        /// The tag found.
        kind: u8,
    },
    /// More messages than nonces.
    #[error("the batch runs past the last nonce")]
    Nonce,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn message(payload: Vec<u8>) -> Message {
        Message {
            kind: MessageKind::Call,
            nonce: 7,
            sequence: 8,
            timestamp: 9,
            sender: Account::of_user(Uuid::from_u128(10)),
            asset: AssetId([11; 32]),
            amount: Amount::from_units(12),
            payload,
        }
    }

    #[test]
    fn every_truncation_should_be_refused() {
        let records = pack(&[message(vec![1; 5])]);
        for cut in 1..records.len() {
            assert_eq!(unpack(&records[..cut], 0), Err(RecordError::Short { at: 0 }), "{cut}");
        }
    }

    #[test]
    fn unknown_kinds_and_nonces_past_the_last_should_be_refused() {
        let mut records = pack(&[message(vec![])]);
        assert_eq!(unpack(&records.repeat(2), u64::MAX), Err(RecordError::Nonce));
        records[0] = 5;
        assert_eq!(unpack(&records, 0), Err(RecordError::Kind { at: 0, kind: 5 }));
    }

    #[test]
    fn the_encoding_should_be_whole_words() {
        for (length, words) in [(0, 10), (1, 11), (32, 11), (33, 12)] {
            assert_eq!(message(vec![0xff; length]).abi_encode().len(), words * 32);
        }
    }

    #[test]
    fn flags_should_hold_privacy_and_policy() {
        assert_eq!([flags(false, Policy::Refund), flags(true, Policy::Park), flags(false, Policy::Strict)], [0, 3, 4]);
        assert_eq!(register_payload(Address::ZERO, true, Policy::Strict, 300_000).len(), 25);
    }

    proptest! {
        #[test]
        fn records_should_round_trip(first in 0..u64::MAX / 2, payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..80), 0..5)) {
            let messages: Vec<_> = payloads.into_iter().zip(first..)
                .map(|(payload, nonce)| Message { nonce, ..message(payload) }).collect();
            prop_assert_eq!(unpack(&pack(&messages), first), Ok(messages));
        }

        #[test]
        fn any_bytes_should_be_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            if let Ok(messages) = unpack(&bytes, 0) {
                prop_assert_eq!(pack(&messages), bytes);
            }
        }
    }
}
