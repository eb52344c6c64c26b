//! Messages of a mailbox and their hash chain.

use alloy_primitives::B256;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

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
    /// Something of the process changed by decision.
    Update = 3,
    /// The mailbox takes no more calls.
    Close = 4,
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
