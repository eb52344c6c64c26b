//! The other members, as far as payouts ask them.

use std::fmt;
use std::future::Future;

use lockstep_core::mask::MaskPair;
use lockstep_core::payout::InputSignature;
use lockstep_core::{B256, Uuid};

use super::chain::Cause;

/// A place in a roster: the generation of the roster, and the member's index there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Seat {
    /// Of the roster.
    pub generation: u32,
    /// From 1.
    pub index: u8,
}

/// What a member gives of a secret of the group, the seed of a payout's keys or a mask: compressed in G1 and not verified by
/// anyone yet. Never shown.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum SecretPart {
    /// The group's signature, which it has recovered before.
    Whole {
        /// 48 bytes.
        signature: [u8; 48],
    },
    /// Its own part, under its share in the sharing that it was asked for.
    Part {
        /// 48 bytes.
        signature: [u8; 48],
    },
}

impl fmt::Debug for SecretPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Whole { .. } => "Whole(hidden)",
            Self::Part { .. } => "Part(hidden)",
        })
    }
}

/// What is asked about the seed of an attempt's keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SeedQuestion {
    /// The payout.
    pub trace: Uuid,
    /// Which attempt.
    pub attempt: u32,
    /// Whether the attempt is open to the asker: it has the proof that the one before is dead. False while it only wants to
    /// know whether others do.
    pub is_open: bool,
    /// Digest of the roster of the sharing whose part is wanted.
    pub roster: B256,
}

/// What is asked about the mask of a sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MaskQuestion {
    /// The private process and the sender.
    pub pair: MaskPair,
    /// The group's key in force at the first use, compressed.
    pub key: [u8; 96],
    /// Digest of the roster of the sharing whose part is wanted.
    pub roster: B256,
}

/// Asks members about an attempt at a payout. No answer is trusted: hashes are counted, signatures verified.
pub trait PullPayouts: Send + Sync {
    /// What a member gives of the seed of an attempt's keys; `None` while it gives nothing.
    ///
    /// # Errors
    /// Where the member does not answer.
    fn pull_seed(
        &self,
        member: Seat,
        question: SeedQuestion,
    ) -> impl Future<Output = Result<Option<SecretPart>, Cause>> + Send;

    /// The payload hash that a member has fixed, or `None` while it has none.
    ///
    /// # Errors
    /// Where the member does not answer.
    fn pull_payout_hash(
        &self,
        member: Seat,
        trace: Uuid,
        attempt: u32,
    ) -> impl Future<Output = Result<Option<B256>, Cause>> + Send;

    /// A member's signatures, one for each input in order, or `None` while it gives none.
    ///
    /// # Errors
    /// Where the member does not answer, or leaves out an input.
    fn pull_payout_signatures(
        &self,
        member: Seat,
        trace: Uuid,
        attempt: u32,
    ) -> impl Future<Output = Result<Option<Vec<InputSignature>>, Cause>> + Send;
}
