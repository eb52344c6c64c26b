//! Calldata of `deliver`. How messages travel is no consensus rule: the contract rebuilds the leaf from what it unpacks.

use alloy::primitives::Bytes;
use alloy::sol_types::SolCall;
use lockstep_core::message::pack;
use lockstep_core::{B256, Uuid};
use thiserror::Error;

use crate::evm::abi::Group;
use crate::world::chain::{Batch, Delivery};

/// Most bytes of a transaction that the public pool of common nodes takes.
pub const TRANSACTION_MAX: usize = 128 * 1024;
/// Bytes of a packed message before its payload: kind 1, sequence 8, timestamp 8, sender 32, asset 32, amount 16, length 4.
pub const RECORD_HEADER: usize = 101;

/// Why a delivery has no calldata.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum CalldataError {
    /// A batch without messages proves nothing new.
    #[error("the batch of process {0} is empty")]
    Empty(Uuid),
    /// The nonces of a batch do not follow one another.
    #[error("the batch of process {process} holds nonce {found} where {expected} must follow")]
    Gap {
        /// The mailbox.
        process: Uuid,
        /// The nonce that must follow.
        expected: u64,
        /// The nonce that is there.
        found: u64,
    },
    /// More than the pool takes.
    #[error("the calldata has {0} bytes, more than a transaction can carry")]
    TooLarge(usize),
}

/// The calldata of one call of `deliver`.
///
/// # Errors
/// Where a batch is not a run of messages, or the whole is larger than a transaction.
pub fn deliver_calldata(delivery: &Delivery) -> Result<Vec<u8>, CalldataError> {
    let checkpoint = &delivery.checkpoint.checkpoint;
    let batches = delivery.batches.iter().map(packed).collect::<Result<Vec<_>, _>>()?;
    let call = Group::deliverCall {
        checkpoint: Group::Checkpoint {
            sequence: checkpoint.sequence,
            history: checkpoint.history,
            root: checkpoint.root,
        },
        signature: Bytes::copy_from_slice(&delivery.checkpoint.signature),
        batches,
    };
    let calldata = call.abi_encode();
    if calldata.len() > TRANSACTION_MAX { Err(CalldataError::TooLarge(calldata.len())) } else { Ok(calldata) }
}

/// A process id on chain: the UUID, right-aligned in 32 bytes.
pub fn process_word(process: Uuid) -> B256 {
    B256::left_padding_from(process.as_bytes())
}

fn packed(batch: &Batch) -> Result<Group::Batch, CalldataError> {
    let first = batch.messages.first().ok_or(CalldataError::Empty(batch.process))?.nonce;
    let mut expected = first;
    for message in &batch.messages {
        if message.nonce != expected {
            return Err(CalldataError::Gap { process: batch.process, expected, found: message.nonce });
        }
        expected = expected.saturating_add(1);
        if message.payload.len() > TRANSACTION_MAX {
            return Err(CalldataError::TooLarge(message.payload.len()));
        }
    }
    Ok(Group::Batch {
        process: process_word(batch.process),
        index: batch.index,
        first,
        head: batch.head,
        messages: pack(&batch.messages).into(),
        proof: batch.proof.clone(),
    })
}

/// Bytes of calldata that a batch of so many messages with payloads of so many bytes in all adds, from above.
pub const fn batch_len(messages: usize, payload: usize, depth: usize) -> usize {
    // Offset, six words of the struct, two lengths, up to 31 bytes of padding; then the siblings.
    let fixed = 10_usize.saturating_mul(32).saturating_add(depth.saturating_mul(32));
    fixed.saturating_add(messages.saturating_mul(RECORD_HEADER)).saturating_add(payload)
}

/// Bytes of calldata without any batch, from above: selector, checkpoint, offsets, signature, count.
pub const CALL_LEN: usize = 4 + 3 * 32 + 2 * 32 + 32 + 128 + 32;

#[cfg(test)]
mod tests {
    use lockstep_core::checkpoint::Checkpoint;
    use lockstep_core::message::{FIRST_HEAD, Message, MessageKind};
    use lockstep_core::{Account, Amount, AssetId};

    use super::*;
    use crate::world::chain::SignedCheckpoint;

    fn message(nonce: u64, payload: usize) -> Message {
        Message {
            kind: MessageKind::Call,
            nonce,
            sequence: 7,
            timestamp: 8,
            sender: Account::of_user(Uuid::from_u128(9)),
            asset: AssetId([3; 32]),
            amount: Amount::from_units(5),
            payload: vec![0xaa; payload],
        }
    }

    fn delivery(messages: Vec<Message>) -> Delivery {
        let process = Uuid::from_u128(1);
        let batch = Batch { process, index: 1, head: FIRST_HEAD, messages, proof: vec![B256::ZERO; 3] };
        let checkpoint = SignedCheckpoint {
            checkpoint: Checkpoint { sequence: 7, history: B256::ZERO, root: B256::ZERO },
            signature: [0; 128],
        };
        Delivery { checkpoint, batches: vec![batch] }
    }

    #[test]
    fn what_is_no_run_of_messages_should_be_refused() {
        assert_eq!(deliver_calldata(&delivery(vec![])), Err(CalldataError::Empty(Uuid::from_u128(1))));
        let gap = CalldataError::Gap { process: Uuid::from_u128(1), expected: 5, found: 6 };
        assert_eq!(deliver_calldata(&delivery(vec![message(4, 0), message(6, 0)])), Err(gap));
        let large = deliver_calldata(&delivery(vec![message(0, 64 << 10), message(1, 64 << 10)]));
        assert!(matches!(large, Err(CalldataError::TooLarge(_))));
    }

    #[test]
    fn a_record_should_be_packed_in_the_contracts_order() {
        let calldata = deliver_calldata(&delivery(vec![message(4, 2)])).expect("a good delivery");
        let call = Group::deliverCall::abi_decode(&calldata).expect("our own encoding");
        let batch = &call.batches[0];
        assert_eq!((batch.first, batch.process), (4, B256::left_padding_from(&[1])));
        let record = &batch.messages;
        assert_eq!(record.len(), RECORD_HEADER + 2);
        assert_eq!((record[0], record[8], record[16], record[48]), (1, 7, 8, 9));
        assert_eq!((&record[49..81], record[96], &record[97..]), (&[3; 32][..], 5, &[0, 0, 0, 2, 0xaa, 0xaa][..]));
    }

    #[test]
    fn the_estimated_length_should_bound_the_real_one_closely() {
        for (count, payload) in [(1, 0), (1, 31), (10, 64), (3, 1000)] {
            let messages = (0..count).map(|nonce| message(nonce, payload)).collect();
            let real = deliver_calldata(&delivery(messages)).expect("a good delivery").len();
            let count = usize::try_from(count).expect("a small count");
            let estimate = CALL_LEN + batch_len(count, count * payload, 3);
            assert!(real <= estimate && estimate < real + 96, "{real} {estimate}");
        }
    }
}
