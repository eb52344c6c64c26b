//! The asking end.

use std::time::Duration;

use lockstep_core::mixin::Signature;
use lockstep_core::{B256, Uuid, payout};
use reqwest::{Client, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use thiserror::Error;

use super::secret::Subject;
use super::signature::{self, Nonce, RequestParts, SIGNATURE, SignatureError, Signed};
use super::wire::{
    AskCeremony, AskHistory, AskMask, AskPartial, AskPayout, AskSeed, AskStatus, CEREMONY, GOVERNANCE, HISTORY, MASK,
    PARTIAL, PAYOUT_HASH, PAYOUT_SEED, PAYOUT_SIGNATURE, PayoutHash, PayoutSignatures, Refusal, STATUS, SealedPart,
};
use crate::http::{HttpError, http_client, read_body};
use crate::world::chain::Cause;
use crate::world::doubt::HistoryAt;
use crate::world::peer::{MaskQuestion, PullPayouts, Seat, SecretPart, SeedQuestion};

use super::{
    AskGovernance, BODY_MAX, CeremonyPage, Directory, GovernanceAnswer, IdentityKey, InputSignature, Local, Partial,
    Peer, PeerConfig, Status, WINDOW_S,
};

/// Asks other members, by their index. Cheap to clone; clones share their connections.
#[derive(Clone, Debug)]
pub struct PeerClient {
    local: Local,
    http: Client,
    /// The generation whose indexes are meant; the directory's current one where none is named.
    generation: Option<u32>,
}

impl PeerClient {
    /// A client that asks as `local`.
    ///
    /// # Errors
    /// When no HTTP client can be made on this system.
    pub fn new(local: Local, config: &PeerConfig) -> Result<Self, PeerError> {
        Ok(Self { local, http: http_client(config.timeout()).map_err(PeerError::Client)?, generation: None })
    }

    /// The same client, whose indexes are those of the members of `generation`, also after the group has turned to another.
    #[must_use]
    pub fn of_generation(&self, generation: u32) -> Self {
        Self { generation: Some(generation), ..self.clone() }
    }

    /// All that this client can ask.
    pub const fn directory(&self) -> &Directory {
        self.local.directory()
    }

    /// The one that an index means.
    fn seat(&self, member: u8) -> Result<Peer, PeerError> {
        let directory = self.local.directory();
        let generation = self.generation.unwrap_or_else(|| directory.current());
        directory.by_seat(generation, member).ok_or(PeerError::NotAMember { member, generation })
    }

    /// A member's partial signature of the checkpoint at an applied sequence, or `None` while it has none. The signature
    /// itself is not verified.
    ///
    /// # Errors
    /// See [`PeerError::fault`].
    pub async fn pull_partial(&self, member: u8, sequence: u64) -> Result<Option<Partial>, PeerError> {
        let peer = self.seat(member)?;
        let answer: Option<Partial> = self.ask(&peer, PARTIAL, &AskPartial { sequence }).await?;
        checked(&peer, answer, |partial| partial.sequence == sequence)
    }

    /// The payload hash that a member derives for an attempt of a payout, or `None` while it has none.
    ///
    /// # Errors
    /// See [`PeerError::fault`].
    pub async fn pull_payout_hash(&self, member: u8, trace: Uuid, attempt: u32) -> Result<Option<B256>, PeerError> {
        let peer = self.seat(member)?;
        let answer: Option<PayoutHash> = self.ask(&peer, PAYOUT_HASH, &AskPayout { trace, attempt }).await?;
        let answer = checked(&peer, answer, |answer| (answer.trace, answer.attempt) == (trace, attempt))?;
        Ok(answer.map(|answer| answer.hash))
    }

    /// A member's signatures of an attempt of a payout, or `None` while it gives none. They are not verified.
    ///
    /// # Errors
    /// See [`PeerError::fault`].
    pub async fn pull_payout_signature(
        &self,
        member: u8,
        trace: Uuid,
        attempt: u32,
    ) -> Result<Option<Vec<InputSignature>>, PeerError> {
        let peer = self.seat(member)?;
        let answer: Option<PayoutSignatures> = self.ask(&peer, PAYOUT_SIGNATURE, &AskPayout { trace, attempt }).await?;
        let answer = checked(&peer, answer, |answer| (answer.trace, answer.attempt) == (trace, attempt))?;
        Ok(answer.map(|answer| answer.signatures))
    }

    /// What a member gives of the seed of an attempt's keys, or `None` while it gives nothing. It is not verified.
    ///
    /// # Errors
    /// See [`PeerError::fault`].
    pub async fn pull_payout_seed(&self, member: u8, question: SeedQuestion) -> Result<Option<SecretPart>, PeerError> {
        let peer = self.seat(member)?;
        let (ask, group_id) = (AskSeed::from(question), self.local.directory().group_id());
        self.ask_secret(&peer, PAYOUT_SEED, &ask, ask.subject(&group_id)).await
    }

    /// What a member gives of the mask of a sender, or `None` while it gives nothing. It is not verified.
    ///
    /// # Errors
    /// Where the member does not answer.
    pub async fn pull_mask(&self, member: Seat, question: MaskQuestion) -> Result<Option<SecretPart>, Cause> {
        let seated = self.of_generation(member.generation);
        let peer = seated.seat(member.index)?;
        let (ask, group_id) = (AskMask::from(question), self.local.directory().group_id());
        Ok(self.ask_secret(&peer, MASK, &ask, ask.subject(&group_id)).await?)
    }

    async fn ask_secret(
        &self,
        peer: &Peer,
        path: &'static str,
        ask: &(impl Serialize + Sync),
        subject: Subject,
    ) -> Result<Option<SecretPart>, PeerError> {
        let Some(answer) = self.ask::<SealedPart>(peer, path, ask).await? else { return Ok(None) };
        let opened = subject.open(&answer, &self.local.identity);
        opened.map(Some).ok_or_else(|| PeerError::wrong_answer(peer))
    }

    /// How far a member is.
    ///
    /// # Errors
    /// See [`PeerError::fault`].
    pub async fn pull_status(&self, member: u8) -> Result<Status, PeerError> {
        let peer = self.seat(member)?;
        self.ask(&peer, STATUS, &AskStatus {}).await?.ok_or_else(|| PeerError::wrong_answer(&peer))
    }

    /// Where a member's history stands at a place in the order. What it says is not verified.
    ///
    /// # Errors
    /// See [`PeerError::fault`].
    pub async fn pull_history(&self, member: u8, at: u64) -> Result<HistoryAt, PeerError> {
        let peer = self.seat(member)?;
        let answer: Option<HistoryAt> = self.ask(&peer, HISTORY, &AskHistory { at }).await?;
        let fits = |answer: &HistoryAt| {
            let next = answer.next.as_ref().is_none_or(|next| next.sequence > at);
            answer.at == at && answer.sequence <= at && answer.sequence <= answer.applied && next
        };
        checked(&peer, answer, fits)?.ok_or_else(|| PeerError::wrong_answer(&peer))
    }

    /// What a member says about governance, or `None` where it has nothing to say. Parts of signatures are not verified.
    ///
    /// # Errors
    /// See [`PeerError::fault`].
    pub async fn pull_governance(
        &self,
        member: u8,
        ask: &AskGovernance,
    ) -> Result<Option<GovernanceAnswer>, PeerError> {
        let peer = self.seat(member)?;
        let answer: Option<GovernanceAnswer> = self.ask(&peer, GOVERNANCE, ask).await?;
        checked(&peer, answer, |answer| match answer {
            GovernanceAnswer::Approved { .. } => matches!(ask, AskGovernance::Approved { .. }),
            GovernanceAnswer::Part { .. } => !matches!(ask, AskGovernance::Approved { .. }),
        })
    }

    /// What a participant has said in a ceremony behind a position, or `None` while it does not take part. Where there is
    /// nothing new, the answer comes after `wait`, which must be less than the configured time-out. The items are not verified.
    ///
    /// # Errors
    /// See [`PeerError::fault`].
    pub async fn pull_ceremony(
        &self,
        identity: &IdentityKey,
        ceremony: B256,
        after: u64,
        wait: Duration,
    ) -> Result<Option<CeremonyPage>, PeerError> {
        let peer = self.local.directory().by_identity(identity).ok_or(PeerError::Unknown)?;
        let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
        let answer: Option<CeremonyPage> = self.ask(&peer, CEREMONY, &AskCeremony { ceremony, after, wait_ms }).await?;
        checked(&peer, answer, |page| page.ceremony == ceremony && page.next >= after)
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        peer: &Peer,
        path: &'static str,
        question: &(impl Serialize + Sync),
    ) -> Result<Option<T>, PeerError> {
        let body = serde_json::to_vec(question).map_err(PeerError::Question)?;
        let (group, nonce) = (hex::encode(self.local.directory.group_id()), rand::random::<Nonce>());
        let parts = RequestParts { method: "POST", path, group: &group, to: peer.key() };
        let headers = signature::sign_request(&self.local.identity, (self.local.clock)(), nonce, parts, &body);
        let mut request = self.http.post(format!("{}{path}", peer.url));
        let mut asked = String::new();
        for (name, value) in headers {
            if name == SIGNATURE {
                asked.clone_from(&value);
            }
            request = request.header(name, value);
        }
        let request = request.header("content-type", "application/json").body(body);
        let response = request.send().await.map_err(|source| PeerError::http(peer, source.into()))?;

        let (status, headers) = (response.status(), response.headers().clone());
        let body = read_body(response, BODY_MAX).await.map_err(|source| PeerError::http(peer, source))?;
        let untrusted = |source| PeerError::Untrusted { peer: peer.name.clone(), source };
        let signed = match Signed::answer(&headers) {
            Ok(signed) => signed,
            // A member signs only for members: this one does not know us, or something stands between us.
            Err(_) if !status.is_success() => return Err(PeerError::refused(peer, status, &body)),
            Err(source) => return Err(untrusted(source)),
        };
        signed.check_time((self.local.clock)(), WINDOW_S).map_err(untrusted)?;
        signed.verify_answer(&peer.identity, status.as_u16(), &asked, &body).map_err(untrusted)?;
        match status {
            StatusCode::OK => {
                let answer = serde_json::from_slice(&body);
                answer.map(Some).map_err(|source| PeerError::Malformed { peer: peer.name.clone(), source })
            }
            StatusCode::NOT_FOUND => Ok(None),
            StatusCode::CONFLICT => Err(PeerError::Halted { peer: peer.name.clone() }),
            _ => Err(PeerError::refused(peer, status, &body)),
        }
    }
}

impl PullPayouts for PeerClient {
    async fn pull_seed(&self, member: Seat, question: SeedQuestion) -> Result<Option<SecretPart>, Cause> {
        let seated = self.of_generation(member.generation);
        Ok(seated.pull_payout_seed(member.index, question).await?)
    }

    async fn pull_payout_hash(&self, member: Seat, trace: Uuid, attempt: u32) -> Result<Option<B256>, Cause> {
        let seated = self.of_generation(member.generation);
        Ok(Self::pull_payout_hash(&seated, member.index, trace, attempt).await?)
    }

    async fn pull_payout_signatures(
        &self,
        member: Seat,
        trace: Uuid,
        attempt: u32,
    ) -> Result<Option<Vec<payout::InputSignature>>, Cause> {
        let seated = self.of_generation(member.generation);
        let Some(signed) = seated.pull_payout_signature(member.index, trace, attempt).await? else { return Ok(None) };
        let one = |(input, signed): (u16, &InputSignature)| {
            let signature = Signature(signed.signature);
            (signed.input == input).then_some(payout::InputSignature { key: signed.key, signature })
        };
        let part = (0..).zip(&signed).map(one).collect::<Option<_>>();
        let Some(part) = part else { return Err(PeerError::wrong_answer(&seated.seat(member.index)?).into()) };
        Ok(Some(part))
    }
}

/// What was answered must be what was asked.
fn checked<T>(peer: &Peer, answer: Option<T>, fits: impl FnOnce(&T) -> bool) -> Result<Option<T>, PeerError> {
    match answer {
        Some(answer) if !fits(&answer) => Err(PeerError::wrong_answer(peer)),
        Some(_) | None => Ok(answer),
    }
}

/// Whose fault an error is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Our own, or our configuration's.
    Us,
    /// The network's, or a member that is just not there. Ask again later.
    Nobody,
    /// What arrived is authentic and wrong, or cannot be authentic: the member, or whoever holds its address, is to blame.
    Peer,
}

/// Why a member's answer is not there.
#[derive(Debug, Error)]
pub enum PeerError {
    /// No HTTP client on this system.
    #[error("cannot make an HTTP client")]
    Client(#[source] HttpError),
    /// An index that the generation does not have.
    #[error("generation {generation} has no member {member}")]
    NotAMember {
        /// The index.
        member: u8,
        /// The generation.
        generation: u32,
    },
    /// An identity that is not in the directory.
    #[error("the identity is in no list of members or participants")]
    Unknown,
    /// Our own question cannot be written.
    #[error("cannot write the question")]
    Question(#[source] serde_json::Error),
    /// No connection, or none that lasted, or nothing within the time-out.
    #[error("member {peer} cannot be reached")]
    Unreachable {
        /// Whom we asked.
        peer: String,
        /// What happened.
        #[source]
        source: HttpError,
    },
    /// An error, in words that are not to be trusted.
    #[error("member {peer} refused with status {status}: {reason}")]
    Refused {
        /// Whom we asked.
        peer: String,
        /// The HTTP status.
        status: u16,
        /// What it said, shortened.
        reason: String,
    },
    /// The member met a contradiction: a person must look at it.
    #[error("member {peer} has halted")]
    Halted {
        /// Whom we asked.
        peer: String,
    },
    /// Not signed by the member, or not for this question.
    #[error("the answer of member {peer} cannot be believed")]
    Untrusted {
        /// Whom we asked.
        peer: String,
        /// What is wrong.
        #[source]
        source: SignatureError,
    },
    /// More than 64 KiB.
    #[error("the answer of member {peer} is larger than 64 KiB")]
    TooLarge {
        /// Whom we asked.
        peer: String,
    },
    /// Signed by the member, and not what the protocol says.
    #[error("the answer of member {peer} is malformed")]
    Malformed {
        /// Whom we asked.
        peer: String,
        /// Where.
        #[source]
        source: serde_json::Error,
    },
    /// Signed by the member, and an answer to something else.
    #[error("member {peer} answered another question")]
    WrongAnswer {
        /// Whom we asked.
        peer: String,
    },
}

impl PeerError {
    /// Whose fault it is.
    pub const fn fault(&self) -> Fault {
        match self {
            Self::Client(_) | Self::NotAMember { .. } | Self::Unknown | Self::Question(_) => Fault::Us,
            Self::Unreachable { .. } | Self::Refused { .. } | Self::Halted { .. } => Fault::Nobody,
            Self::Untrusted { .. } | Self::TooLarge { .. } | Self::Malformed { .. } | Self::WrongAnswer { .. } => {
                Fault::Peer
            }
        }
    }

    /// Whether asking again may help.
    pub const fn is_worth_retrying(&self) -> bool {
        matches!(self.fault(), Fault::Nobody)
    }

    fn wrong_answer(peer: &Peer) -> Self {
        Self::WrongAnswer { peer: peer.name.clone() }
    }

    fn http(peer: &Peer, source: HttpError) -> Self {
        let peer = peer.name.clone();
        match source {
            HttpError::BodyTooLong { .. } => Self::TooLarge { peer },
            HttpError::Timeout(_)
            | HttpError::Connect(_)
            | HttpError::Tls(_)
            | HttpError::Broken(_)
            | HttpError::Unsendable(_) => Self::Unreachable { peer, source },
        }
    }

    fn refused(peer: &Peer, status: StatusCode, body: &[u8]) -> Self {
        let said = serde_json::from_slice(body).map(|refusal: Refusal| refusal.error).unwrap_or_default();
        let reason = said.chars().filter(|c| !c.is_control()).take(120).collect();
        Self::Refused { peer: peer.name.clone(), status: status.as_u16(), reason }
    }
}
