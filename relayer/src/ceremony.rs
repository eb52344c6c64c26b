//! Key ceremonies: how the members make the group's key together, and hand it on to other members.
//!
//! The protocol is `lockstep_core::dkg`; this is its shell. An operator approves a proposal ([`Plan`]) by
//! `lockstep ceremony join`, which makes a row. The running service ([`Ceremonies::serve`]), or the command itself where none
//! runs, then takes part: `run` writes what the protocol wants kept, `speak` shows the others what was said to them,
//! `listen` pulls what they say. Nothing is pushed. A member that is killed goes on from its rows.

mod keep;
mod listen;
pub mod plan;
pub mod progress;
mod run;
mod speak;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use lockstep_core::dkg::Kind;
use lockstep_core::group::roster::{Mark, Marks, Roster};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::keys::Keyring;
use crate::peer::{Directory, Local, PeerClient, PeerConfig, PeerError};
use crate::store::{CeremonyRow, Store, StoreError};

use run::{Brings, Made, Means, Part};

pub use keep::{KeepError, check_free};
pub use plan::{Candidate, Draft, Plan, PlanError, Terms};
pub use progress::{Ended, Report, Shown, ShownMember};
pub use run::CeremonyError;
pub use speak::{Speaker, Traffic};

/// How often the running service looks for a ceremony that was approved.
const LOOK: Duration = Duration::from_millis(300);
/// How long a service goes on answering in a ceremony that has ended for it.
const LINGER_SERVICE: Duration = Duration::from_secs(600);
/// How long the command does so, when somebody has not heard everything yet.
const LINGER_COMMAND: Duration = Duration::from_secs(30);

/// Where a member keeps what comes out of ceremonies.
#[derive(Clone, Debug)]
pub struct Places {
    /// The group file.
    pub group: PathBuf,
    /// The member's folder: later generations are `generation-<g>.toml` there.
    pub data: PathBuf,
}

impl Places {
    /// The roster that a ceremony follows: none for a first one.
    ///
    /// # Errors
    /// Where its file is missing or is not the roster that the proposal names.
    pub fn previous(&self, plan: &Plan) -> Result<Option<Roster>, KeepError> {
        keep::previous(self, plan)
    }
}

/// One member's ceremonies. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Ceremonies {
    means: Means,
    ring: Keyring,
    places: Places,
}

impl Ceremonies {
    /// The ceremonies of the owner of `ring`, who speaks as `local`.
    ///
    /// # Errors
    /// When no HTTP client can be made on this system.
    pub fn new(
        store: Store,
        local: Local,
        config: &PeerConfig,
        ring: Keyring,
        places: Places,
    ) -> Result<Self, PeerError> {
        let speaker = Speaker::new(store.clone(), local.directory().clone());
        // Well within the time-out, so that a late answer is a silent participant and not a slow one.
        let wait = config.timeout().checked_div(2).unwrap_or_default();
        let peers = PeerClient::new(local, config)?;
        Ok(Self { means: Means { store, speaker, peers, wait }, ring, places })
    }

    /// What answers the participants.
    pub fn speaker(&self) -> Arc<Speaker> {
        Arc::new(self.means.speaker.clone())
    }

    /// Takes part in each ceremony that the operator approves, until it is stopped; while this member signs nothing, it waits.
    /// `made` is told each roster as soon as it is durable.
    ///
    /// # Errors
    /// Where the store fails, and where another process has this member's lease. A ceremony that cannot be carried out is
    /// logged and shown, and stops nothing else.
    pub async fn serve(self, made: impl Fn(Roster) + Send, stop: CancellationToken) -> Result<(), StoreError> {
        let mut last = None;
        while !stop.is_cancelled() {
            let newest = self.means.store.ceremonies().await?.pop().filter(|row| last != Some(row.digest));
            let row = match newest {
                Some(row) if self.may_promise().await? => row,
                Some(_) | None => tokio::select! {
                    () = stop.cancelled() => break,
                    () = tokio::time::sleep(LOOK) => continue,
                },
            };
            last = Some(row.digest);
            self.supersede(&row).await?;
            match Box::pin(self.take_part(&row, &made, &stop)).await {
                Ok(()) => {}
                // It goes on where it stopped, when the operator lets this member sign again.
                Err(CeremonyError::Store(error @ StoreError::Stopped { .. })) => {
                    warn!(ceremony = %row.digest, %error, "this member waits in the ceremony");
                    last = None;
                }
                Err(CeremonyError::Store(error)) if error.is_contradiction() || error.is_lost_lease() => {
                    return Err(error);
                }
                Err(error) => {
                    let (ceremony, cause) = (row.digest, anyhow::Error::new(error));
                    error!(%ceremony, error = format!("{cause:#}"), "this member takes no part in the ceremony");
                }
            }
        }
        Ok(())
    }

    async fn may_promise(&self) -> Result<bool, StoreError> {
        let store = &self.means.store;
        Ok(store.may_promise() && store.signing_stopped().await?.is_none())
    }

    /// Takes part in one ceremony until it ends, and as long as others need this member for it.
    ///
    /// # Errors
    /// Why this member cannot take part, or what failed: [`CeremonyError::Failed`] names who is to blame.
    pub async fn finish(&self, row: &CeremonyRow, stop: &CancellationToken) -> Result<Option<Ended>, CeremonyError> {
        self.supersede(row).await?;
        let (plan, brings) = self.prepare(row).await?;
        let mut part = Part::begin(self.means.clone(), row.clone(), &plan, brings).await?;
        let Some(made) = part.until_made(Some(LINGER_COMMAND), stop).await? else { return Ok(None) };
        let ended = self.keep(row, &plan, &made).await?;
        drop(made);
        part.linger(LINGER_COMMAND, stop).await?;
        Ok(Some(ended))
    }

    async fn take_part(
        &self,
        row: &CeremonyRow,
        made: &(impl Fn(Roster) + Send),
        stop: &CancellationToken,
    ) -> Result<(), CeremonyError> {
        let (plan, brings) = self.prepare(row).await?;
        if self.means.store.ceremony_outcome::<Ended>(row.digest).await?.is_some() {
            // What was said stays to be heard by who was away.
            let participants = plan.participants(brings.previous.as_ref());
            self.directory().admit(row.digest, participants);
            return Ok(());
        }
        info!(ceremony = %row.digest, round = row.round, generation = row.generation, "taking part in a ceremony");
        let over = stop.child_token();
        let part = async {
            let mut part = Part::begin(self.means.clone(), row.clone(), &plan, brings).await?;
            if let Some(done) = part.until_made(None, &over).await? {
                self.keep(row, &plan, &done).await?;
                made(done.roster);
                part.linger(LINGER_SERVICE, &over).await?;
            }
            over.cancel();
            Ok(())
        };
        let (outcome, watched) = tokio::join!(part, self.until_superseded(row, &over));
        watched?;
        outcome
    }

    /// Ends a ceremony when the operator approves a later one.
    async fn until_superseded(&self, row: &CeremonyRow, over: &CancellationToken) -> Result<(), StoreError> {
        while !over.is_cancelled() {
            let newest = self.means.store.ceremonies().await?.pop();
            if newest.is_some_and(|newest| newest.digest != row.digest) {
                over.cancel();
            }
            tokio::select! {
                () = over.cancelled() => {}
                () = tokio::time::sleep(LOOK) => {}
            }
        }
        Ok(())
    }

    /// Closes what came before a ceremony.
    async fn supersede(&self, newest: &CeremonyRow) -> Result<(), StoreError> {
        for row in self.means.store.open_ceremonies().await? {
            if row.round < newest.round {
                self.means.store.finish_ceremony(row.digest, &Ended::Superseded { by: newest.digest }).await?;
                self.directory().dismiss(row.digest);
            }
        }
        Ok(())
    }

    async fn prepare(&self, row: &CeremonyRow) -> Result<(Plan, Brings), CeremonyError> {
        let plan = Plan::parse(&row.proposal)?;
        let previous = self.places.previous(&plan)?;
        let keys = self.ring.keys();
        let old = previous.as_ref().filter(|_| plan.proposal.kind() == Kind::Reshare);
        let is_old = old.is_some_and(|old| old.member_by_identity(keys.identity.verifying_key().as_bytes()).is_some());
        let generation = old.map_or(0, Roster::generation);
        let share =
            is_old.then(|| self.ring.share(generation).ok_or(CeremonyError::NoShare { generation })).transpose()?;
        let brings = Brings {
            identity: keys.identity.clone(),
            share: share.map(|share| share.secret),
            previous,
            marks: marks(&self.means.store).await?,
        };
        Ok((plan, brings))
    }

    async fn keep(&self, row: &CeremonyRow, plan: &Plan, made: &Made) -> Result<Ended, CeremonyError> {
        let ended = keep::keep(&self.places, &self.ring, plan, made)?;
        self.means.store.finish_ceremony(row.digest, &ended).await?;
        info!(ceremony = %row.digest, generation = made.roster.generation(), roster = %made.roster.digest(), "ceremony done");
        Ok(ended)
    }

    const fn directory(&self) -> &Directory {
        self.means.peers.directory()
    }
}

/// What the group signed, as far as this member knows.
async fn marks(store: &Store) -> Result<Marks, StoreError> {
    let newest = store.newest_signed().await?;
    let checkpoint = newest.map(|(checkpoint, signature)| Mark { checkpoint, signature });
    Ok(Marks { checkpoint, ..Marks::default() })
}

/// All ceremonies that a member's database knows, oldest first.
///
/// # Errors
/// Unreadable rows.
pub async fn reports(store: &Store) -> Result<Vec<Report>, CeremonyError> {
    let mut reports = Vec::new();
    for row in store.ceremonies().await? {
        let plan = Plan::parse(&row.proposal)?;
        reports.push(Report {
            ceremony: row.digest,
            group_id: plan.proposal.group_id(),
            round: row.round,
            kind: plan.kind().into(),
            generation: row.generation,
            threshold: plan.proposal.threshold(),
            approved_at: row.approved_at,
            users: plan.proposal.members().iter().map(|member| member.user).collect(),
            progress: store.ceremony_progress(row.digest).await?,
            outcome: store.ceremony_outcome(row.digest).await?,
        });
    }
    Ok(reports)
}

/// The row of a proposal that the operator approves now.
pub fn approval(plan: &Plan, text: String, approved_at: u64) -> CeremonyRow {
    CeremonyRow {
        digest: plan.id(),
        generation: plan.proposal.generation(),
        round: plan.proposal.round(),
        proposal: text,
        approved_at,
    }
}

/// The folder that a file is in.
fn folder(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."))
}

#[cfg(test)]
mod tests;
