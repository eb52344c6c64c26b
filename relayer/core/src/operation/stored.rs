//! Payloads that do not fit a memo: the extra of a transaction that the payment names as a reference.

use alloy_primitives::{B256, Bytes, keccak256};
use serde::Serialize;

use super::frame::Operation;
use super::{Memo, MemoKind, MemoRules};
use crate::group::PAYLOAD_MAX;
use crate::output::Output;
use crate::reader::Reader;

/// Where the payload of a call is, and what it is. The kernel's references are part of the transaction's hash, and so is
/// each one's extra of its own: nobody can change what a payment that is on the ledger asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct StoredPayload {
    /// Place among the references of the payment, from 0. A kernel transaction has at most 16.
    pub reference: u8,
    /// keccak256 of the payload, so that a wallet that orders references otherwise calls nothing with other bytes.
    pub hash: B256,
}

impl StoredPayload {
    /// Says that `payload` is the extra of the payment's reference number `reference`.
    pub fn new(reference: u8, payload: &[u8]) -> Self {
        Self { reference, hash: keccak256(payload) }
    }

    /// What a memo says of a stored payload; `None` for any that has none, or is no call.
    pub fn of_memo(extra: &[u8]) -> Option<Self> {
        let (_, operation) = Operation::from_memo(extra).ok()?;
        match operation.meaning(&MemoRules::default()) {
            Ok(MemoKind::StoredCall { stored, .. }) => Some(stored),
            _ => None,
        }
    }

    /// The payload, if `extra` of the transaction that is referred to is it. What is longer than any contract takes is left
    /// where it is.
    pub fn find(&self, extra: &[u8]) -> Option<Bytes> {
        let longest = usize::try_from(PAYLOAD_MAX).unwrap_or(usize::MAX);
        (extra.len() <= longest && keccak256(extra) == self.hash).then(|| Bytes::copy_from_slice(extra))
    }

    /// reference u8 ‖ keccak256 32.
    pub(super) fn to_bytes(self) -> Vec<u8> {
        [&[self.reference][..], self.hash.as_slice()].concat()
    }

    /// Reads what [`Self::to_bytes`] wrote, and nothing else.
    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(bytes);
        let ([reference], hash) = (reader.array()?, B256::new(reader.array()?));
        reader.is_empty().then_some(Self { reference, hash })
    }
}

impl Memo {
    /// What the payment of `output` asks for: its memo, with the payload that was found where it says. One that was not
    /// found stays [`MemoKind::StoredCall`], and is refunded.
    pub fn of(output: &Output, rules: &MemoRules) -> Self {
        let memo = Self::decode(&output.extra, rules);
        match (memo.kind, &output.stored) {
            (MemoKind::StoredCall { process, stored }, Some(payload)) if stored.hash == keccak256(payload) => {
                Self { kind: MemoKind::Call { process, payload: payload.to_vec() }, ..memo }
            }
            (kind, _) => Self { kind, ..memo },
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::super::{MeaningError, purpose};
    use super::*;

    const PROCESS: Uuid = Uuid::from_u128(5);

    #[test]
    fn only_a_call_without_a_payload_of_its_own_should_name_a_stored_one() {
        let payload = vec![7; 300];
        let operation = Operation::stored_call(PROCESS, 3, &payload);
        let stored = StoredPayload { reference: 3, hash: keccak256(&payload) };
        let text = operation.to_memo_text().expect("short fields");
        let raw = operation.encode().expect("short fields");
        for memo in [text.as_bytes(), &raw] {
            assert_eq!(
                Memo::decode(memo, &MemoRules::default()).kind,
                MemoKind::StoredCall { process: PROCESS, stored }
            );
            assert_eq!(StoredPayload::of_memo(memo), Some(stored));
        }
        let both = Operation { extra: vec![1], ..operation.clone() };
        assert_eq!(both.meaning(&MemoRules::default()), Err(MeaningError::Stored));
        for purpose in [purpose::REFUND, purpose::TICK, purpose::BOUNCE, 99] {
            let other = Operation { purpose, ..operation.clone() };
            assert_eq!(other.meaning(&MemoRules::default()), Err(MeaningError::Stored), "{purpose}");
            assert_eq!(StoredPayload::of_memo(&other.encode().expect("short fields")), None);
        }
        let plain = Operation::call(PROCESS, payload).encode().expect("short fields");
        assert_eq!(StoredPayload::of_memo(&plain), None);
        assert_eq!(StoredPayload::of_memo(b""), None);
    }

    proptest! {
        #[test]
        fn places_should_read_back_and_nothing_else(reference: u8, hash: [u8; 32], bytes in vec(any::<u8>(), 0..70)) {
            let stored = StoredPayload { reference, hash: hash.into() };
            prop_assert_eq!(StoredPayload::from_bytes(&stored.to_bytes()), Some(stored));
            let read = StoredPayload::from_bytes(&bytes);
            prop_assert_eq!(read.map(StoredPayload::to_bytes), (bytes.len() == 33).then_some(bytes));
        }

        #[test]
        fn memos_should_name_the_place_and_only_its_bytes(reference: u8, payload in vec(any::<u8>(), 0..70), other in vec(any::<u8>(), 0..70)) {
            let memo = Operation::stored_call(PROCESS, reference, &payload).to_memo_text().expect("short fields");
            let stored = StoredPayload::of_memo(memo.as_bytes()).expect("a place");
            prop_assert_eq!(stored, StoredPayload::new(reference, &payload));
            prop_assert_eq!(stored.find(&other).is_some(), other == payload);
            prop_assert_eq!(stored.find(&payload), Some(payload.into()));
        }
    }

    #[test]
    fn only_the_bytes_that_are_named_should_be_found_and_no_longer_ones() {
        let longest = vec![9; 65_536];
        assert_eq!(StoredPayload::new(0, &longest).find(&longest), Some(Bytes::from(longest.clone())));
        let longer = vec![9; 65_537];
        assert_eq!(StoredPayload::new(0, &longer).find(&longer), None);
        assert_eq!(StoredPayload::new(0, &longest).find(&longest[1..]), None);
        assert_eq!(StoredPayload::new(0, b"").find(b""), Some(Bytes::new()));
    }
}
