//! One member's part in one ceremony: items come in from the others, the protocol decides, rows are written, items are
//! shown.

use std::sync::Arc;
use std::time::Duration;

use ed25519_dalek::SigningKey;
use lockstep_core::bls::{SecretKey, SecretShare};
use lockstep_core::dkg::{self, Ceremony, Effect, Failure, Phase, Receivers, Record, Setup, Step};
use lockstep_core::group::roster::{Marks, Roster};
use thiserror::Error;
use tokio::sync::mpsc;
use tokio::task::{JoinError, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};
use zeroize::Zeroizing;

use super::keep::KeepError;
use super::listen::{Heard, Line, Lines, farewell, listen};
use super::plan::{Plan, PlanError};
use super::progress::{Ended, Shown};
use super::speak::Speaker;
use crate::clock;
use crate::keys::system_entropy;
use crate::peer::{IdentityKey, PeerClient};
use crate::store::{CeremonyRow, CeremonyStep, Store, StoreError};

/// Items that wait to be looked at.
const HEARD_MAX: usize = 256;
/// Between two looks at deadlines, and at who has heard everything.
const LOOK: Duration = Duration::from_millis(100);
/// The phases that have a deadline, in their order.
const PHASES: [Phase; 5] = [Phase::Join, Phase::Deal, Phase::Log, Phase::Agree, Phase::Finish];

/// What a member brings to a ceremony.
#[derive(Debug)]
pub(super) struct Brings {
    pub(super) identity: SigningKey,
    /// The roster before; none in a first ceremony.
    pub(super) previous: Option<Roster>,
    /// Its share of that; none for a new member.
    pub(super) share: Option<Arc<SecretShare>>,
    /// What the group signed, as far as this member knows.
    pub(super) marks: Marks,
}

/// What a ceremony is run with.
#[derive(Clone, Debug)]
pub(super) struct Means {
    pub(super) store: Store,
    pub(super) speaker: Speaker,
    pub(super) peers: PeerClient,
    /// How long an answer may wait for news.
    pub(super) wait: Duration,
}

/// A ceremony that brought forth a roster.
#[derive(Debug)]
pub(super) struct Made {
    pub(super) roster: Roster,
    pub(super) share: Option<Arc<SecretShare>>,
}

/// A member's part in a ceremony that goes on.
pub(super) struct Part {
    means: Means,
    row: CeremonyRow,
    ceremony: Option<Ceremony>,
    own: IdentityKey,
    others: Vec<IdentityKey>,
    lines: Lines,
    heard: mpsc::Receiver<Heard>,
    /// When everybody had joined, for operators.
    begun_at: Option<u64>,
    /// From when on the time to join is counted, and that of the later phases. After a restart time counts anew, for all has
    /// to be pulled again.
    joins_from: u64,
    counts_from: Option<u64>,
    reported: usize,
    failure: Option<Failure>,
    /// What was made before a restart.
    made: Option<Made>,
    shown: Option<Shown>,
    /// Ends the listeners with the part.
    _listeners: JoinSet<()>,
}

impl Part {
    /// Joins a ceremony, or goes on where the rows say that this member stopped.
    ///
    /// # Errors
    /// A proposal that does not fit what the member brings, and records that are not its own.
    pub(super) async fn begin(
        means: Means,
        row: CeremonyRow,
        plan: &Plan,
        brings: Brings,
    ) -> Result<Self, CeremonyError> {
        let own = brings.identity.verifying_key().to_bytes();
        let participants = plan.participants(brings.previous.as_ref());
        means.peers.directory().admit(row.digest, participants.iter().cloned());
        let others: Vec<_> =
            participants.iter().map(|other| other.identity.to_bytes()).filter(|key| *key != own).collect();
        let records = means.store.ceremony_records(row.digest).await?;
        let records: Vec<_> = records.into_iter().map(Record::from_bytes).collect();
        let shown: Option<Shown> = means.store.ceremony_progress(row.digest).await?;
        let proposal = plan.proposal.clone();
        let started = compute(move || -> Result<_, CeremonyError> {
            let Brings { identity, previous, share, marks } = brings;
            let share = share.as_deref().and_then(copied);
            let setup = Setup { proposal, previous, identity, share, marks };
            if records.is_empty() {
                return Ok(Ceremony::start(setup, &Zeroizing::new(system_entropy()))?);
            }
            Ok(Ceremony::restore(setup, &records)?)
        });
        let (ceremony, effects) = started.await??;

        let (said, heard) = mpsc::channel(HEARD_MAX);
        let (lines, mut listeners) = (Lines::default(), JoinSet::new());
        for other in &others {
            let (lines, speaker, said) = (lines.clone(), means.speaker.clone(), said.clone());
            listeners.spawn(listen(means.peers.clone(), row.digest, *other, means.wait, lines, speaker, said));
        }
        let begun_at = shown.as_ref().and_then(|shown| shown.begun_at);
        let joins_from = if begun_at.is_some() { clock::unix_seconds() } else { row.approved_at };
        let mut part = Self {
            means,
            row,
            joins_from,
            counts_from: None,
            ceremony: Some(ceremony),
            own,
            others,
            lines,
            heard,
            begun_at,
            reported: 0,
            failure: None,
            made: None,
            shown,
            _listeners: listeners,
        };
        part.made = part.carry_out(effects).await?;
        Ok(part)
    }

    /// Goes on until the ceremony brings forth a roster, `None` if it is stopped before. A failed ceremony goes on, too: the
    /// others may still finish it; with `give_up` only for so long.
    ///
    /// # Errors
    /// The store, faults of this program, and [`CeremonyError::Failed`].
    pub(super) async fn until_made(
        &mut self,
        give_up: Option<Duration>,
        stop: &CancellationToken,
    ) -> Result<Option<Made>, CeremonyError> {
        if let Some(made) = self.made.take() {
            return Ok(Some(made));
        }
        let mut failed_at = None;
        while !stop.is_cancelled() {
            if let Some(made) = self.step(stop).await? {
                return Ok(Some(made));
            }
            let (Some(failure), Some(give_up)) = (&self.failure, give_up) else { continue };
            let failed_at = *failed_at.get_or_insert_with(Instant::now);
            if failed_at.elapsed() >= give_up || self.all_have_heard().await? {
                return Err(CeremonyError::Failed(Box::new(failure.clone())));
            }
        }
        Ok(None)
    }

    /// Goes on answering until everybody who is there has heard everything and is ready, for at most `patience`.
    ///
    /// # Errors
    /// As [`Self::until_made`].
    pub(super) async fn linger(&mut self, patience: Duration, stop: &CancellationToken) -> Result<(), CeremonyError> {
        let begun = Instant::now();
        while !stop.is_cancelled() && begun.elapsed() < patience && !self.all_have_heard().await? {
            self.step(stop).await?;
        }
        farewell(&self.means.peers, self.row.digest, &self.others, &self.lines).await;
        Ok(())
    }

    /// Takes what came in, or lets a while pass.
    async fn step(&mut self, stop: &CancellationToken) -> Result<Option<Made>, CeremonyError> {
        let mut items = Vec::new();
        tokio::select! {
            () = stop.cancelled() => return Ok(None),
            Some(heard) = self.heard.recv() => items.push(heard),
            () = tokio::time::sleep(LOOK) => {}
        }
        while let Ok(heard) = self.heard.try_recv() {
            items.push(heard);
        }
        let due = self.due();
        if items.is_empty() && due.is_empty() {
            self.show().await?;
            return Ok(None);
        }
        let effects = self.think(items, due).await?;
        self.carry_out(effects).await
    }

    /// The deadlines that have passed since the last look.
    fn due(&mut self) -> Vec<Phase> {
        let Some(ceremony) = &self.ceremony else { return Vec::new() };
        let (deadlines, now) = (ceremony.proposal().deadlines(), clock::unix_seconds());
        let mut due = Vec::new();
        for phase in PHASES.iter().skip(self.reported) {
            let from = if *phase == Phase::Join { Some(self.joins_from) } else { self.counts_from };
            let (Some(from), Some(ends_s)) = (from, phase.ends_s(&deadlines)) else { break };
            if now < from.saturating_add(ends_s) {
                break;
            }
            due.push(*phase);
        }
        self.reported = self.reported.saturating_add(due.len());
        due
    }

    /// Verifying takes a processor for milliseconds, so it is done beside the threads that serve.
    async fn think(&mut self, items: Vec<Heard>, due: Vec<Phase>) -> Result<Vec<Effect>, CeremonyError> {
        let Some(mut ceremony) = self.ceremony.take() else { return Ok(Vec::new()) };
        let thought = compute(move || {
            let mut effects = Vec::new();
            let mut refused = Vec::new();
            for Heard { from, item } in items {
                match ceremony.receive(&item) {
                    Ok(more) => effects.extend(more),
                    Err(error) => refused.push((from, error)),
                }
            }
            for phase in due {
                effects.extend(ceremony.deadline(phase));
            }
            (ceremony, effects, refused)
        });
        let (ceremony, effects, refused) = thought.await?;
        self.ceremony = Some(ceremony);
        for (from, error) in refused {
            let name = self.means.peers.directory().by_identity(&from).map(|peer| peer.name);
            warn!(participant = name, %error, "item refused");
        }
        Ok(effects)
    }

    /// Writes what must be kept, then lets others see what is said.
    async fn carry_out(&mut self, effects: Vec<Effect>) -> Result<Option<Made>, CeremonyError> {
        let (mut step, mut made) = (CeremonyStep::default(), None);
        for effect in effects {
            match effect {
                Effect::Persist(record) => step.records.push(record.as_bytes().to_vec()),
                Effect::Publish { to: Receivers::All, item } => step.items.push((None, item)),
                Effect::Publish { to: Receivers::One(to), item } => step.items.push((Some(to), item)),
                Effect::Begun => {
                    let now = clock::unix_seconds();
                    self.counts_from = Some(now);
                    self.begun_at.get_or_insert(now);
                    info!(ceremony = %self.row.digest, "everybody has joined the ceremony");
                }
                Effect::Done { roster, share } => {
                    made = Some(Made { roster: *roster, share: share.map(Arc::new) });
                }
                Effect::Failed(failure) => {
                    warn!(ceremony = %self.row.digest, %failure, "ceremony failed");
                    self.failure = Some(failure);
                }
            }
        }
        if !step.is_empty() {
            self.means.store.advance_ceremony(self.row.digest, &step).await?;
        }
        if !step.items.is_empty() {
            self.means.speaker.announce();
        }
        self.show().await?;
        Ok(made)
    }

    /// Keeps what operators are shown, where it changed.
    async fn show(&mut self) -> Result<(), CeremonyError> {
        let Some(ceremony) = &self.ceremony else { return Ok(()) };
        let mut shown = Shown::new(&ceremony.progress(), &self.lines, &self.own, self.begun_at);
        shown.failure = self.failure.as_ref().map(ToString::to_string);
        (shown.bytes_received, shown.bytes_sent) = self.means.speaker.traffic().totals();
        if self.shown.as_ref() != Some(&shown) {
            self.means.store.save_ceremony_progress(self.row.digest, &shown).await?;
            self.shown = Some(shown);
        }
        Ok(())
    }

    /// True when each of the others that is there has all that was said to it, and has nothing left to say.
    async fn all_have_heard(&self) -> Result<bool, CeremonyError> {
        let progress = self.ceremony.as_ref().map(Ceremony::progress);
        let has_failed = self.failure.is_some();
        for member in progress.iter().flat_map(|progress| &progress.members) {
            let other = &member.identity;
            if self.lines.of(other) != Line::Open {
                continue;
            }
            if !has_failed && member.player.is_some() && member.step != Step::Ready {
                return Ok(false);
            }
            let heard = self.means.speaker.heard_by(self.row.digest, other);
            let left = self.means.store.ceremony_items(self.row.digest, other, heard, 0).await?;
            if left.is_some_and(|left| !left.is_empty()) {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

async fn compute<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, CeremonyError> {
    tokio::task::spawn_blocking(work).await.map_err(CeremonyError::Panicked)
}

/// A second owner of a share: the protocol wipes its own.
fn copied(share: &SecretShare) -> Option<SecretShare> {
    let secret = SecretKey::from_bytes(share.secret().to_bytes().as_slice()).ok()?;
    SecretShare::new(share.index(), secret).ok()
}

/// Why a member takes no part in a ceremony any more.
#[derive(Debug, Error)]
pub enum CeremonyError {
    /// The store refused.
    #[error("the ceremony's rows cannot be kept")]
    Store(#[from] StoreError),
    /// The proposal, as it was approved.
    #[error("the approved proposal is refused")]
    Plan(#[from] PlanError),
    /// The roster before, or what was made.
    #[error(transparent)]
    Keep(#[from] KeepError),
    /// An old member without its share.
    #[error("the key file holds no share of generation {generation}, which this member must deal anew")]
    NoShare {
        /// The generation before.
        generation: u32,
    },
    /// What the member brings does not fit the proposal, or its rows are not its own.
    #[error("this member cannot take part in the ceremony")]
    Protocol(#[from] dkg::CeremonyError),
    /// A ceremony that this member takes no part in any more.
    #[error("{0}: what this member had of it is gone")]
    GivenUp(Ended),
    /// Too many did wrong, or nothing.
    #[error("{0}")]
    Failed(Box<Failure>),
    /// A fault of this program.
    #[error("the ceremony's computation broke off")]
    Panicked(#[source] JoinError),
}
