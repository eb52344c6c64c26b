//! Why a payout does not go on.

use lockstep_core::bls::RecoverError;
use lockstep_core::mixin::DecodeError;
use lockstep_core::payout::{AttemptError, PartError, PlanError};
use lockstep_core::{B256, Uuid};
use thiserror::Error;

use crate::ledger::LookupError;
use crate::store::StoreError;
use crate::world::ledger::LedgerFault;

/// Why a payout does not go on.
#[derive(Debug, Error)]
pub enum PayoutError {
    /// The store refused, perhaps because of a contradiction.
    #[error("the payout's promise cannot be kept")]
    Store(#[from] StoreError),
    /// The ledger did not do what was asked.
    #[error("the ledger does not go along")]
    Ledger(#[from] LedgerFault),
    /// The ledger did what its rules exclude, or this member built two payloads for one attempt.
    #[error("contradiction: payout {payout} at attempt {attempt}")]
    Attempt {
        /// The payout.
        payout: Uuid,
        /// Which attempt was in hand.
        attempt: u32,
        /// What cannot be.
        #[source]
        source: AttemptError,
    },
    /// The group's own next attempt is on the ledger before this member can prove the one in hand dead. Its nodes lag.
    #[error("attempt {attempt} is on the ledger as {by}; the proof that the one before is dead is still to come")]
    Ahead {
        /// The later attempt.
        attempt: u32,
        /// Its payload hash.
        by: B256,
    },
    /// Somebody spent a coin of this payout in a way that this member does not derive. It has promised nothing here, and no t
    /// members have its bytes: it may have been shown another order than the others, which its look back finds out
    /// (`divergence.rs`).
    #[error("a coin of payout {payout}, of transaction {coin}, was spent by {by}, which this member derives otherwise")]
    Outrun {
        /// The payout.
        payout: Uuid,
        /// The transaction that made the coin.
        coin: B256,
        /// The one that spent it.
        by: B256,
    },
    /// A payment of the same amounts has spent the coins, and nobody has said whether it is the group's later attempt.
    #[error("{by} spent the coins for the same payment; no member said yet whether it is a later attempt of the group")]
    Unjudged {
        /// Its payload hash.
        by: B256,
    },
    /// Good parts that do not make the group's signature: the group file is wrong.
    #[error("contradiction: the seed of a payout's keys cannot be made")]
    Seed(#[from] RecoverError),
    /// The bytes cannot be built.
    #[error("the payout cannot be built")]
    Plan(#[from] PlanError),
    /// It cannot be signed.
    #[error("the payout cannot be signed")]
    Sign(#[from] PartError),
    /// Stored bytes are no transaction.
    #[error("the stored payload is no transaction")]
    Payload(#[from] DecodeError),
    /// The group file names members that are no ledger users, or the payload spends what is no coin.
    #[error("the payout is not one of a group of ledger users")]
    Group,
    /// Inputs that are no coins of one address of the group, which no rule derives.
    #[error("the payout spends what is not at one address of the group")]
    Origin,
    /// Nobody told this member who the others at that address are.
    #[error("the members of ledger generation {generation}, who can spend these coins, are not known here")]
    Strangers {
        /// Of the address that the coins lie at.
        generation: u32,
    },
    /// t members agree on other bytes: this member's view is wrong, or t members are traitors.
    #[error("members {members:?} derive payload {theirs} for payout {payout}, this member {ours}")]
    Diverged {
        /// The payout.
        payout: Uuid,
        /// This member's payload hash.
        ours: B256,
        /// Theirs.
        theirs: B256,
        /// Who.
        members: Vec<u8>,
        /// True where this member has promised coins to its own payload: then it halts. Otherwise it holds this payout.
        promised: bool,
    },
}

impl PayoutError {
    /// What a look at the kernel came to.
    pub(super) fn of_lookup(error: LookupError, payout: Uuid, attempt: u32) -> Self {
        match error {
            LookupError::Fault(fault) => Self::Ledger(fault),
            LookupError::Contradiction(source) => Self::Attempt { payout, attempt, source },
        }
    }

    /// What a foreign spend is to a member that has promised nothing.
    pub(super) fn without_promise(self) -> Self {
        if let Self::Attempt { payout, source: AttemptError::ForeignSpend { coin, by }, .. } = self {
            return Self::Outrun { payout, coin: coin.transaction, by };
        }
        self
    }

    /// True where this member must stop signing (exit code 70).
    pub const fn is_contradiction(&self) -> bool {
        match self {
            Self::Store(error) => error.is_contradiction(),
            Self::Attempt { .. } | Self::Seed(_) => true,
            Self::Diverged { promised, .. } => *promised,
            Self::Ledger(_)
            | Self::Ahead { .. }
            | Self::Outrun { .. }
            | Self::Unjudged { .. }
            | Self::Plan(_)
            | Self::Sign(_)
            | Self::Payload(_)
            | Self::Group
            | Self::Origin
            | Self::Strangers { .. } => false,
        }
    }

    /// True where waiting alone does not help: it is worth a warning, and a slow pace.
    pub(super) const fn is_held(&self) -> bool {
        match self {
            Self::Ledger(fault) => !fault.retryable() && !matches!(fault, LedgerFault::KeyUsed { .. }),
            Self::Ahead { .. } => false,
            Self::Store(_)
            | Self::Attempt { .. }
            | Self::Outrun { .. }
            | Self::Unjudged { .. }
            | Self::Seed(_)
            | Self::Plan(_)
            | Self::Sign(_)
            | Self::Payload(_)
            | Self::Group
            | Self::Origin
            | Self::Strangers { .. }
            | Self::Diverged { .. } => true,
        }
    }

    /// True where the payload may be dead, which only the kernel can prove.
    pub(super) const fn asks_for_proof(&self) -> bool {
        matches!(
            self,
            Self::Ledger(LedgerFault::KeyUsed { .. } | LedgerFault::InputLocked { .. } | LedgerFault::Refused { .. })
        )
    }
}
