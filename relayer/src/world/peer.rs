//! The other members, as far as payouts ask them.

use std::future::Future;

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

/// Asks members about an attempt at a payout. No answer is trusted: hashes are counted, signatures verified.
pub trait PullPayouts: Send + Sync {
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
