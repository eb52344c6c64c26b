//! The memo of a payment: MVM's `Operation` with our flags.
//!
//! [`Operation`] is the frame, [`Memo`] what it means under the rules of a group. Decoding is total: every memo that
//! anybody can put on the ledger has exactly one meaning, and [`MemoKind::Undecodable`] is one of them.

use std::collections::BTreeMap;

use alloy_primitives::Address;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::trace::ChainId;
use crate::{Amount, AssetId, Mix};

mod decision;
mod frame;
mod inspect;
mod meaning;
mod own;
mod stored;

pub use decision::{DecisionError, SignedDecision, decision_digest, group_key_digest};
pub use frame::{FIELD_MAX, Form, MEMO_MAX, OPERATION_MAX, Operation, OperationError};
pub use inspect::{InspectError, Meaning, MemoView, ReturnAddress, inspect_memo, inspect_memo_with};
pub use meaning::{GAS_DEFAULT, GAS_MAX, GAS_MIN, MeaningError, MemoRules};
pub use own::{bounce_memo, contract_refund_memo, refund_memo, tick_memo};
pub use stored::StoredPayload;

/// What an operation asks for, as its first two bytes say.
pub mod purpose {
    /// A call of a process (MVM `GroupEvent`).
    pub const CALL: u16 = 1;
    /// Registers a process (MVM `AddProcess`).
    pub const REGISTER: u16 = 11;
    /// Marks a refund, so that nobody refunds it again.
    pub const REFUND: u16 = 13;
    /// A payout that comes back to its process.
    pub const BOUNCE: u16 = 14;
    /// A governance message signed by the group.
    pub const DECISION: u16 = 20;
    /// Dust that moves ledger time.
    pub const TICK: u16 = 21;
}

/// What a memo asks for, decoded in total: anything else is [`MemoKind::Undecodable`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Memo {
    /// What is asked.
    pub kind: MemoKind,
    /// The return-address TLV as found (a MIX payload, perhaps an illegal one); may stand in any operation.
    pub return_address: Option<Vec<u8>>,
}

/// The purposes that the group knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MemoKind {
    /// No operation at all, or one whose parts are malformed.
    Undecodable,
    /// Purpose 1.
    Call {
        /// The addressed process.
        process: Uuid,
        /// What its contract gets.
        payload: Vec<u8>,
    },
    /// Purpose 1 with a payload that is the extra of a transaction which the payment names. [`Memo::of`] makes a call of it
    /// where those bytes were found; else it is refunded.
    StoredCall {
        /// The addressed process.
        process: Uuid,
        /// Where its payload is.
        stored: StoredPayload,
    },
    /// Purpose 11: the process id is the sender.
    Register(Registration),
    /// Purpose 13: never refunded.
    RefundMark,
    /// Purpose 14: what comes back from an illegal or refused payout.
    Bounce {
        /// The process that gets it back.
        process: Uuid,
    },
    /// Purpose 20.
    Decision(Decision),
    /// Purpose 21.
    Tick,
    /// An operation of a purpose that is not ours.
    Other(u16),
}

/// What a registration asks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Registration {
    /// The chain, if the platform names one (`eip155:N` or an alias from configuration).
    pub chain: ChainId,
    /// The developer contract.
    pub address: Address,
    /// Senders are shown masked.
    pub private: bool,
    /// What happens to a failing call.
    pub policy: Policy,
    /// Gas limit of one call.
    pub gas: u32,
    /// Accepted assets and their minimums; `None` accepts all.
    pub assets: Option<BTreeMap<AssetId, Amount>>,
}

/// What happens to a call that fails (DESIGN.md section 3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum Policy {
    /// An outbound back to the sender.
    #[default]
    Refund = 0,
    /// Set apart for a later retry.
    Park = 1,
    /// The mailbox waits.
    Strict = 2,
}

/// A governance message that enters the ledger's order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Acts once.
    pub number: u64,
    /// The group signature over group, number and body verified.
    pub valid: bool,
    /// What is decided.
    pub body: DecisionBody,
}

/// What a decision can change: everything that a derivation reads and that is not fixed for ever.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "decides", rename_all = "snake_case")]
#[expect(missing_docs, reason = "the parts are those of DERIVATION.md A3 and B7")]
pub enum DecisionBody {
    /// Outbound k, if it still waits in escrow, goes back to its process.
    Bounce { chain: ChainId, k: u64 },
    /// The same effect: the key service refuses the recipient.
    Refused { chain: ChainId, k: u64 },
    /// A new member set, hence a new ledger address.
    Switch { group: Mix },
    /// New caps of payouts.
    Limits { chain: ChainId, asset: AssetId, caps: Caps },
    /// New minimum and refund floor of an asset.
    Minimum { asset: AssetId, minimum: Amount, floor: Amount },
    /// A new asset list of a process; `None` accepts all.
    Update { process: Uuid, assets: Option<BTreeMap<AssetId, Amount>> },
    /// A process takes no more messages.
    Close { process: Uuid },
    /// A late output gets its place: right after this decision.
    Admit { output: Uuid },
    /// What happens to a process's failing calls, and the gas limit of its calls; gas 0 leaves the limit.
    Policy { process: Uuid, policy: Policy, gas: u32 },
    /// Exactly that unclaimed coin is paid out.
    Release { output: Uuid, to: Mix },
    /// The key that later decisions are verified with, and its signature over [`group_key_digest`].
    Key {
        generation: u32,
        #[serde(with = "hex::serde")]
        key: [u8; 96],
        #[serde(with = "hex::serde")]
        possession: [u8; 48],
    },
}

/// Caps of one (chain, asset): above them a payout waits in escrow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Caps {
    /// Per payout.
    pub payout: Amount,
    /// Per hour of block time.
    pub hour: Amount,
    /// Per day of block time.
    pub day: Amount,
}
