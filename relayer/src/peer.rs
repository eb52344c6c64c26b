//! What members ask each other: JSON over HTTP, every request and every answer signed.
//!
//! Nothing is pushed. A member answers what it has already promised by a row of its own: its partial signature of the
//! checkpoint at a sequence, the hash of a payout it has derived, its part of the seed of that payout's keys, its signatures
//! of it, and how far it is. Only where its history stands is told without a promise: members compare histories before they
//! promise. So any question may be asked any number of times, by any member, in any order.
//!
//! Requests and answers carry HTTP message signatures (RFC 9421) with the members' identity keys; see [`signature`]. Who
//! asks is the owner of the key, never what a body says. Who may ask stands in a [`Directory`], which grows and shrinks
//! with the group.

mod client;
mod directory;
mod guard;
pub mod secret;
mod server;
pub mod signature;
pub mod wire;

use std::collections::BTreeMap;
use std::error::Error;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use ed25519_dalek::SigningKey;
use lockstep_core::govern::Subject;
use lockstep_core::trace::ChainId;
use lockstep_core::{B256, Uuid};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::world::doubt::HistoryAt;
use crate::world::peer::{MaskQuestion, SecretPart, SeedQuestion};
use crate::world::witness::GuardHead;

pub use client::{Fault, PeerClient, PeerError};
pub use directory::{Directory, IdentityKey, Listing, Peer};
pub use server::{ceremony_router, router, serve_ceremony};

/// What a page of a ceremony may hold, in bytes before they are written as hex: half a body and some room.
pub const PAGE_MAX: usize = 28 * 1024;
/// Largest body of a request or an answer, in bytes (DESIGN.md section 9). The largest real one, the signatures of 255
/// inputs, has about 50 KB.
pub const BODY_MAX: usize = 64 * 1024;
/// How far a signature's time may be from the receiver's clock, in seconds.
pub const WINDOW_S: u64 = 60;

/// Seconds since 1970. Passed in, so that tests decide what time it is.
pub type Clock = Arc<dyn Fn() -> u64 + Send + Sync>;

/// The section `peer`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PeerConfig {
    /// Longest wait for one answer.
    pub timeout_ms: u64,
}

impl Default for PeerConfig {
    fn default() -> Self {
        Self { timeout_ms: 3_000 }
    }
}

impl PeerConfig {
    /// Longest wait for one answer.
    pub const fn timeout(&self) -> Duration {
        Duration::from_millis(self.timeout_ms)
    }
}

/// A member's own end of every conversation.
#[derive(Clone)]
pub struct Local {
    directory: Directory,
    identity: SigningKey,
    clock: Clock,
}

impl Local {
    /// The one in `directory` whose identity key this is.
    ///
    /// # Errors
    /// When the key is nobody's there.
    pub fn new(directory: Directory, identity: SigningKey, clock: Clock) -> Result<Self, NotAMember> {
        directory.by_identity(identity.verifying_key().as_bytes()).ok_or(NotAMember)?;
        Ok(Self { directory, identity, clock })
    }

    /// All that this end talks to.
    pub const fn directory(&self) -> &Directory {
        &self.directory
    }

    /// This end's own identity key.
    pub fn key(&self) -> IdentityKey {
        self.identity.verifying_key().to_bytes()
    }
}

impl std::fmt::Debug for Local {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Local").field("identity", &hex::encode(self.key())).finish_non_exhaustive()
    }
}

/// An identity key that is not in the directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the identity key belongs to no member of the group")]
pub struct NotAMember;

/// A member's signature of the checkpoint at a sequence, with what it signed: a difference shows where views part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Partial {
    /// The applied ledger sequence.
    pub sequence: u64,
    /// The generation whose share signed: parts of two never make a signature.
    pub generation: u32,
    /// Digest of its roster.
    pub roster: B256,
    /// History after it.
    pub history: B256,
    /// Root of the frontier after it.
    pub root: B256,
    /// Compressed G1, not verified by anyone yet.
    #[serde(with = "hex::serde")]
    pub signature: [u8; 48],
}

/// One signature of a payout: by the key at `key` of input `input`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InputSignature {
    /// Index of the input.
    pub input: u16,
    /// Index of the key among that input's keys.
    pub key: u16,
    /// ed25519, not verified by anyone yet.
    #[serde(with = "hex::serde")]
    pub signature: [u8; 64],
}

/// How far a member is. For people and for the choice whom to ask; nothing is derived from it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The last applied ledger sequence.
    pub sequence: u64,
    /// History after it.
    pub history: B256,
    /// Whether the member met a contradiction and signs nothing any more.
    pub halted: bool,
    /// How far each chain is read.
    pub chains: BTreeMap<ChainId, ChainStatus>,
    /// How far its own promises go.
    pub guard: Option<GuardHead>,
    /// How far it has seen the promises of others, each in their own words.
    #[serde(default)]
    pub seen: Vec<GuardHead>,
}

/// How far one chain is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChainStatus {
    /// The last final block that was read.
    pub block: u64,
    /// The ledger sequence that the contract had accepted there.
    pub accepted: u64,
    /// The nonce of the next outbound.
    pub next_outbound: u64,
}

/// What a member asks about governance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "snake_case", deny_unknown_fields)]
pub enum AskGovernance {
    /// The proposals that the member's operator approved, by digest, behind one.
    Approved {
        /// The last digest that the asker has.
        after: Option<B256>,
    },
    /// The member's part of the group's signature over an approved proposal.
    Partial {
        /// What is signed.
        digest: B256,
        /// The roster that the part belongs to: parts of two sharings of one key do not fit together.
        roster: B256,
        /// The group key that the part belongs to, compressed.
        #[serde(with = "hex::serde")]
        key: [u8; 96],
    },
    /// The member's part of the proof that a group key is held.
    Possession {
        /// The contract that is to be given the key; `None` for decisions in the ledger's order.
        chain: Option<ChainId>,
        /// The roster whose members hold it.
        roster: B256,
        /// The key, compressed.
        #[serde(with = "hex::serde")]
        key: [u8; 96],
    },
}

/// What a member says about governance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "snake_case")]
pub enum GovernanceAnswer {
    /// A page of approved proposals, by digest; empty behind the last one.
    Approved {
        /// The proposals.
        proposals: Vec<Subject>,
    },
    /// A part of a signature, not verified by anyone yet.
    Part {
        /// Compressed G1.
        #[serde(with = "hex::serde")]
        signature: [u8; 48],
    },
}

/// Answers peers from what is durably promised. `None` means "not yet": the peer asks again.
pub trait AnswerPeers: Send + Sync + 'static {
    /// This member's partial signature of the checkpoint at an applied sequence.
    fn partial(&self, sequence: u64) -> impl Future<Output = Result<Option<Partial>, AnswerError>> + Send;

    /// The payload hash that this member derives for an attempt of a payout.
    fn payout_hash(&self, trace: Uuid, attempt: u32) -> impl Future<Output = Result<Option<B256>, AnswerError>> + Send;

    /// This member's signatures of an attempt of a payout, given only behind its guard rows.
    fn payout_signature(
        &self,
        trace: Uuid,
        attempt: u32,
    ) -> impl Future<Output = Result<Option<Vec<InputSignature>>, AnswerError>> + Send;

    /// Where this member's history stands at a place in the order. It promises nothing.
    fn history(&self, at: u64) -> impl Future<Output = Result<HistoryAt, AnswerError>> + Send;

    /// What this member gives the owner of an identity key of the seed of an attempt's keys. A secret of those who can spend
    /// the payout's coins.
    fn payout_seed(
        &self,
        from: &IdentityKey,
        question: SeedQuestion,
    ) -> impl Future<Output = Result<Option<SecretPart>, AnswerError>> + Send;

    /// What this member gives of the mask of a sender of a private process, where it has met that sender in a payment.
    fn mask(&self, question: MaskQuestion) -> impl Future<Output = Result<Option<SecretPart>, AnswerError>> + Send;

    /// What this member's operator approved, and its parts of signatures over that, given only behind a guard row.
    fn governance(
        &self,
        ask: AskGovernance,
    ) -> impl Future<Output = Result<Option<GovernanceAnswer>, AnswerError>> + Send;

    /// How far this member is.
    fn status(&self) -> impl Future<Output = Result<Status, AnswerError>> + Send;
}

/// What a participant has said in a ceremony, behind a position.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CeremonyPage {
    /// Digest of the proposal.
    pub ceremony: B256,
    /// Signed items in the order in which they were said.
    pub items: Vec<HexBytes>,
    /// The position of the last of them, or the one that was asked for: where to go on.
    pub next: u64,
}

/// Bytes that are written as hex.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct HexBytes(#[serde(with = "hex::serde")] pub Vec<u8>);

/// Answers the participants of ceremonies with what is durably said.
pub trait AnswerCeremony: Send + Sync + 'static {
    /// What was said in `ceremony` to `from` behind position `after`, at most [`PAGE_MAX`] bytes of items. Where there is
    /// nothing new it may wait so long. `None` where this end does not take part, or `from` does not.
    fn page(
        &self,
        from: &Peer,
        ceremony: B256,
        after: u64,
        wait: Duration,
    ) -> impl Future<Output = Result<Option<CeremonyPage>, AnswerError>> + Send;
}

/// Why a member cannot answer, beyond "not yet".
#[derive(Debug, Error)]
pub enum AnswerError {
    /// It met a contradiction and signs nothing any more.
    #[error("this member has halted")]
    Halted,
    /// Its operator stopped it.
    #[error("this member was stopped by its operator")]
    Stopped,
    /// Its store failed. The cause is logged and not told.
    #[error("this member cannot answer now")]
    Unavailable(#[source] Box<dyn Error + Send + Sync>),
}

#[cfg(test)]
mod tests;
