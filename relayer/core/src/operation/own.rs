//! Operations that we make: memos of the group's own transactions, and what users and tools send.

use uuid::Uuid;

use super::decision::SignedDecision;
use super::frame::Operation;
use super::meaning::MeaningError;
use super::stored::StoredPayload;
use super::{Registration, purpose};

impl Operation {
    /// A payment with a payload to a process.
    pub fn call(process: Uuid, payload: Vec<u8>) -> Self {
        Self { purpose: purpose::CALL, process, extra: payload, ..Self::default() }
    }

    /// A payment to a process with a payload that is the extra of another transaction: of the one that the payment names as
    /// its reference number `reference`, from 0.
    pub fn stored_call(process: Uuid, reference: u8, payload: &[u8]) -> Self {
        let stored = Some(StoredPayload::new(reference, payload));
        Self { purpose: purpose::CALL, process, stored, ..Self::default() }
    }

    /// A registration. The group reads the process from the sender; `process` says the same for readers of the memo.
    ///
    /// # Errors
    /// Refuses what would not be read back.
    pub fn register(process: Uuid, registration: &Registration) -> Result<Self, MeaningError> {
        Ok(Self {
            purpose: purpose::REGISTER,
            process,
            platform: format!("eip155:{}", registration.chain).into_bytes(),
            address: registration.address.to_checksum(None).into_bytes(),
            extra: registration.to_extra()?,
            ..Self::default()
        })
    }

    /// The mark on a refund of `output`.
    pub fn refund(output: Uuid) -> Self {
        Self { purpose: purpose::REFUND, extra: output.as_bytes().to_vec(), ..Self::default() }
    }

    /// The mark on what a contract refunds: message `nonce` of `process` was refused there.
    pub fn contract_refund(process: Uuid, nonce: u64) -> Self {
        Self { purpose: purpose::REFUND, process, extra: nonce.to_be_bytes().to_vec(), ..Self::default() }
    }

    /// The mark on a payout that comes back to `process`.
    pub fn bounce(process: Uuid) -> Self {
        Self { purpose: purpose::BOUNCE, process, ..Self::default() }
    }

    /// Dust that moves ledger time.
    pub fn tick() -> Self {
        Self { purpose: purpose::TICK, ..Self::default() }
    }

    /// A governance message.
    ///
    /// # Errors
    /// Refuses a body that is too long for a memo.
    pub fn decision(decision: &SignedDecision) -> Result<Self, MeaningError> {
        Ok(Self { purpose: purpose::DECISION, extra: decision.encode()?, ..Self::default() })
    }
}

/// The raw memo of a refund of `output`.
pub fn refund_memo(output: Uuid) -> Vec<u8> {
    Operation::refund(output).frame()
}

/// The raw memo that the group contract writes into its own refund of message `nonce` of `process`.
pub fn contract_refund_memo(process: Uuid, nonce: u64) -> Vec<u8> {
    Operation::contract_refund(process, nonce).frame()
}

/// The raw memo of a payout that comes back to `process`.
pub fn bounce_memo(process: Uuid) -> Vec<u8> {
    Operation::bounce(process).frame()
}

/// The raw memo of a tick.
pub fn tick_memo() -> Vec<u8> {
    Operation::tick().frame()
}

#[cfg(test)]
mod tests {
    use super::super::{Memo, MemoKind, MemoRules};
    use super::*;

    #[test]
    fn our_own_memos_should_be_raw_and_understood() {
        let process = Uuid::from_u128(3);
        let cases = [
            (refund_memo(Uuid::from_u128(1)), MemoKind::RefundMark),
            (contract_refund_memo(process, 2), MemoKind::RefundMark),
            (bounce_memo(process), MemoKind::Bounce { process }),
            (tick_memo(), MemoKind::Tick),
        ];
        for (memo, kind) in cases {
            assert_eq!(memo.first(), Some(&0));
            assert_eq!(Memo::decode(&memo, &MemoRules::default()), Memo { kind, return_address: None });
        }
    }
}
