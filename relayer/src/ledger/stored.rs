//! Payloads that a payment names instead of carrying: the extra of a transaction among its references.
//!
//! The kernel takes a payment only when what it refers to is final, and its hash covers the references, so that all members
//! find the same bytes or none. A transaction is read like the payment itself: its bytes must hash to its name, and a quorum
//! of nodes must say that it is final.

use std::collections::VecDeque;

use lockstep_core::group::PAYLOAD_MAX;
use lockstep_core::mixin::Transaction;
use lockstep_core::operation::StoredPayload;
use lockstep_core::output::Output;
use lockstep_core::{B256, Bytes};
use tokio::sync::Mutex;

use crate::world::ledger::{ReadError, ReadKernel};

/// Transactions whose extra is kept. Anybody may name the same one in payment after payment, with a hash that is never right,
/// and members should not read it as often.
const KEPT: usize = 64;
/// Transactions of which it is kept that their extra is longer than a payload: whoever names them has paid for 64 KiB each.
const KEPT_LONG: usize = 4_096;

/// What was read last. It is locked while one is read, so that a page of payments that all name transactions of 4 MiB needs the
/// memory of one.
#[derive(Debug, Default)]
pub(super) struct StoredPayloads {
    read: Mutex<Read>,
}

#[derive(Debug, Default)]
struct Read {
    /// Extras by transaction, oldest first.
    extras: VecDeque<(B256, Bytes)>,
    /// Those with a longer extra, oldest first.
    long: VecDeque<B256>,
}

impl Read {
    fn keep(&mut self, transaction: B256, extra: &[u8]) {
        if extra.len() > usize::try_from(PAYLOAD_MAX).unwrap_or(usize::MAX) {
            keep_newest(&mut self.long, transaction, KEPT_LONG);
        } else {
            keep_newest(&mut self.extras, (transaction, Bytes::copy_from_slice(extra)), KEPT);
        }
    }
}

fn keep_newest<T>(kept: &mut VecDeque<T>, newest: T, most: usize) {
    if kept.len() >= most {
        kept.pop_front();
    }
    kept.push_back(newest);
}

impl StoredPayloads {
    /// Looks for the payload that the memo of `output` names, a payment made by `transaction`.
    pub(super) async fn find(
        &self,
        kernel: &impl ReadKernel,
        mut output: Output,
        transaction: &Transaction,
    ) -> Result<Output, ReadError> {
        let Some(stored) = StoredPayload::of_memo(&output.extra) else { return Ok(output) };
        let Some(hash) = transaction.references().get(usize::from(stored.reference)).copied() else {
            return Ok(output);
        };
        let mut read = self.read.lock().await;
        if read.long.contains(&hash) {
            return Ok(output);
        }
        if let Some((_, extra)) = read.extras.iter().find(|(of, _)| *of == hash) {
            output.stored = stored.find(extra);
            return Ok(output);
        }
        // Where it is not final, the nodes that answer are behind those that took the payment.
        let view = kernel.transaction(hash).await?.filter(|view| view.is_final);
        let view = view.ok_or(ReadError::WaitNotFinal { output: output.id, sequence: output.sequence })?;
        let extra = view.transaction.transaction().extra();
        output.stored = stored.find(extra);
        read.keep(hash, extra);
        Ok(output)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use lockstep_core::mixin::{Input, Output as KernelOutput, RawKey};
    use lockstep_core::operation::Operation;
    use lockstep_core::output::CoinId;
    use lockstep_core::{Amount, AssetId, Uuid};

    use super::*;
    use crate::world::ledger::{KernelView, LedgerFault};

    fn transaction(extra: &[u8], references: Vec<B256>) -> Transaction {
        let output = KernelOutput::of_keys(Amount::from_units(1), vec![RawKey([1; 32])], RawKey([2; 32]), 1);
        let input = Input::of_coin(CoinId { transaction: B256::repeat_byte(3), index: 0 });
        Transaction::new(AssetId([4; 32]), vec![input], vec![output], references, extra.to_vec()).expect("in bounds")
    }

    fn output(transaction: &Transaction) -> Output {
        Output {
            id: Uuid::from_u128(1),
            sequence: 2,
            created_at: 3,
            coin: CoinId { transaction: transaction.hash(), index: 0 },
            asset: transaction.asset(),
            amount: Amount::from_units(1),
            senders: None,
            extra: transaction.extra().to_vec(),
            stored: None,
            inscription: None,
            spends: Vec::new(),
            generation: 0,
            late: false,
        }
    }

    /// A kernel with one transaction, which counts how often it is asked.
    struct One(Transaction, bool, AtomicUsize);

    impl ReadKernel for One {
        async fn transaction(&self, hash: B256) -> Result<Option<KernelView>, LedgerFault> {
            self.2.fetch_add(1, Ordering::Relaxed);
            let view = || KernelView { transaction: self.0.clone().unsigned(), is_final: self.1 };
            Ok((hash == self.0.hash()).then(view))
        }

        async fn key_holders(&self, _: [u8; 32]) -> Result<Vec<B256>, LedgerFault> {
            Ok(Vec::new())
        }

        async fn coin_holders(&self, _: CoinId) -> Result<Vec<B256>, LedgerFault> {
            Ok(Vec::new())
        }
    }

    fn kernel(extra: &[u8], is_final: bool) -> One {
        One(transaction(extra, Vec::new()), is_final, AtomicUsize::new(0))
    }

    /// A payment whose memo names `payload` at `reference`; the transaction of `kernel` is the third of four.
    fn payment(kernel: &One, reference: u8, payload: &[u8]) -> Transaction {
        let other = B256::repeat_byte(9);
        let memo = Operation::stored_call(Uuid::from_u128(5), reference, payload).encode().expect("short");
        transaction(&memo, vec![other, other, kernel.0.hash(), other])
    }

    async fn found(kernel: &One, payment: &Transaction) -> Option<Bytes> {
        let found = StoredPayloads::default().find(kernel, output(payment), payment).await;
        found.expect("read").stored
    }

    #[tokio::test]
    async fn a_payload_should_be_found_at_its_reference_or_nowhere() {
        let kernel = kernel(b"a payload", true);
        assert_eq!(found(&kernel, &payment(&kernel, 2, b"a payload")).await, Some(Bytes::from_static(b"a payload")));
        assert_eq!(found(&kernel, &payment(&kernel, 2, b"another")).await, None);
        assert_eq!(found(&kernel, &payment(&kernel, 4, b"a payload")).await, None, "no such reference");
        let plain = transaction(b"a payload", vec![kernel.0.hash()]);
        let before = kernel.2.load(Ordering::Relaxed);
        assert_eq!(found(&kernel, &plain).await, None);
        assert_eq!(kernel.2.load(Ordering::Relaxed), before, "nobody asks what no memo names");
    }

    #[tokio::test]
    async fn what_is_longer_than_a_contract_takes_should_not_be_found() {
        let kernel = kernel(&vec![1; 65_537], true);
        assert_eq!(found(&kernel, &payment(&kernel, 2, &vec![1; 65_537])).await, None);
    }

    #[tokio::test]
    async fn a_reference_that_is_not_final_or_not_there_should_be_waited_for() {
        let young = kernel(b"a payload", false);
        for reference in [2, 3] {
            let payment = payment(&young, reference, b"a payload");
            let waits = StoredPayloads::default().find(&young, output(&payment), &payment).await;
            assert!(matches!(waits, Err(ReadError::WaitNotFinal { sequence: 2, .. })), "{waits:?}");
        }
    }

    #[tokio::test]
    async fn one_transaction_should_not_be_read_for_each_payment_that_names_it() {
        for length in [65_536, 65_537] {
            let kernel = kernel(&vec![1; length], true);
            let stored = StoredPayloads::default();
            let find = async |payload: &[u8]| {
                let payment = payment(&kernel, 2, payload);
                stored.find(&kernel, output(&payment), &payment).await.expect("read").stored
            };
            let right = vec![1; length];
            let found = tokio::join!(find(b"wrong"), find(&right), find(b"wrong again"));
            assert_eq!(found, (None, (length == 65_536).then(|| right.into()), None), "{length}");
            assert_eq!(kernel.2.load(Ordering::Relaxed), 1, "{length}");
        }
    }
}
