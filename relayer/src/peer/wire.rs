//! The JSON of requests and answers. What is read here is signed by a member, and no more than that is known of it.

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
pub struct AskPartial {
    /// The sequence.
    pub sequence: u64,
}

/// Asks where the member's history stands at a place in the order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AskHistory {
    /// The place.
    pub at: u64,
}

/// Asks about one attempt of a payout.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AskPayout {
    /// The payout.
    pub trace: Uuid,
    /// Which attempt, from 0.
    pub attempt: u32,
}

/// Asks for a part of the seed of an attempt's keys, under the share in a sharing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AskSeed {
    /// The payout.
    pub trace: Uuid,
    /// Which attempt, from 0.
    pub attempt: u32,
    /// Whether the attempt is open to the asker.
    pub is_open: bool,
    /// Digest of the sharing's roster.
    pub roster: B256,
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
pub struct AskMask {
    /// The private process.
    pub process: Uuid,
    /// As every other process sees the sender.
    pub account: Account,
    /// The group's key in force at the first use.
    #[serde(with = "hex::serde")]
    pub key: [u8; 96],
    /// Digest of the sharing's roster.
    pub roster: B256,
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
pub struct AskStatus {}

/// Asks what the peer has said in a ceremony behind a position; waits so long where there is nothing new yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AskCeremony {
    /// Digest of the proposal.
    pub ceremony: B256,
    /// The position of the last item that the asker has, 0 before the first.
    pub after: u64,
    /// How long, in milliseconds.
    pub wait_ms: u64,
}

/// The payload hash of an attempt of a payout.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PayoutHash {
    /// The payout.
    pub trace: Uuid,
    /// Which attempt, from 0.
    pub attempt: u32,
    /// The hash.
    pub hash: B256,
}

/// The signatures of an attempt of a payout.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PayoutSignatures {
    /// The payout.
    pub trace: Uuid,
    /// Which attempt, from 0.
    pub attempt: u32,
    /// One for each input, in order.
    pub signatures: Vec<InputSignature>,
}

/// What the member gives of a secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SealedPart {
    /// Whether it is all of it, or the member's part.
    pub is_whole: bool,
    /// The signature, sealed to who asked.
    pub sealed: HexBytes,
}

/// Any answer that is not the one asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// Why, in words that are not to be trusted.
    pub error: String,
}
