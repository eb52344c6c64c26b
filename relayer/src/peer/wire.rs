//! The JSON of requests and answers.

use lockstep_core::mask::MaskPair;
use lockstep_core::payout::seed_digest;
use lockstep_core::{Account, B256, Uuid};
use serde::{Deserialize, Serialize};

use super::secret::Subject;
use super::{HexBytes, InputSignature};
use crate::world::peer::{MaskQuestion, SeedQuestion};

pub(super) const PARTIAL: &str = "/v1/peer/partial";
pub(super) const PAYOUT_HASH: &str = "/v1/peer/payout-hash";
pub(super) const PAYOUT_SIGNATURE: &str = "/v1/peer/payout-signature";
pub(super) const PAYOUT_SEED: &str = "/v1/peer/payout-seed";
pub(super) const MASK: &str = "/v1/peer/mask";
pub(super) const STATUS: &str = "/v1/peer/status";
pub(super) const HISTORY: &str = "/v1/peer/history";
pub(super) const CEREMONY: &str = "/v1/peer/ceremony";
pub(super) const GOVERNANCE: &str = "/v1/peer/governance";

/// Asks for the partial at an applied sequence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AskPartial {
    pub(super) sequence: u64,
}

/// Asks where the member's history stands at a place in the order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AskHistory {
    pub(super) at: u64,
}

/// Asks about one attempt of a payout.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AskPayout {
    pub(super) trace: Uuid,
    pub(super) attempt: u32,
}

/// Asks for a part of the seed of an attempt's keys, under the share in a sharing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AskSeed {
    pub(super) trace: Uuid,
    pub(super) attempt: u32,
    /// Whether the attempt is open to the asker.
    pub(super) is_open: bool,
    /// Digest of the sharing's roster.
    pub(super) roster: B256,
}

impl From<SeedQuestion> for AskSeed {
    fn from(SeedQuestion { trace, attempt, is_open, roster }: SeedQuestion) -> Self {
        Self { trace, attempt, is_open, roster }
    }
}

impl AskSeed {
    pub(super) const fn question(&self) -> SeedQuestion {
        let Self { trace, attempt, is_open, roster } = *self;
        SeedQuestion { trace, attempt, is_open, roster }
    }

    pub(super) fn subject(&self, group_id: &B256) -> Subject {
        Subject { digest: seed_digest(group_id, self.trace, self.attempt), roster: self.roster }
    }
}

/// Asks for a part of the mask of a sender, under the share in a sharing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AskMask {
    pub(super) process: Uuid,
    /// As every other process sees the sender.
    pub(super) account: Account,
    /// The group's key in force at the first use.
    #[serde(with = "hex::serde")]
    pub(super) key: [u8; 96],
    /// Digest of the sharing's roster.
    pub(super) roster: B256,
}

impl From<MaskQuestion> for AskMask {
    fn from(MaskQuestion { pair: MaskPair { process, account }, key, roster }: MaskQuestion) -> Self {
        Self { process, account, key, roster }
    }
}

impl AskMask {
    pub(super) const fn question(&self) -> MaskQuestion {
        let Self { process, account, key, roster } = *self;
        MaskQuestion { pair: MaskPair { process, account }, key, roster }
    }

    pub(super) fn subject(&self, group_id: &B256) -> Subject {
        Subject { digest: self.question().pair.digest(group_id), roster: self.roster }
    }
}

/// Asks how far the member is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AskStatus {}

/// Asks what the peer has said in a ceremony behind a position; waits so long where there is nothing new yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AskCeremony {
    pub(super) ceremony: B256,
    pub(super) after: u64,
    pub(super) wait_ms: u64,
}

/// The payload hash of an attempt of a payout.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct PayoutHash {
    pub(super) trace: Uuid,
    pub(super) attempt: u32,
    pub(super) hash: B256,
}

/// The signatures of an attempt of a payout.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct PayoutSignatures {
    pub(super) trace: Uuid,
    pub(super) attempt: u32,
    pub(super) signatures: Vec<InputSignature>,
}

/// What the member gives of a secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SealedPart {
    /// Whether it is all of it, or the member's part.
    pub(super) is_whole: bool,
    /// The signature, sealed to who asked.
    pub(super) sealed: HexBytes,
}

/// Any answer that is not the one asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Refusal {
    pub(super) error: String,
}
