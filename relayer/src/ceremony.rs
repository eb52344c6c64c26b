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

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use lockstep_core::dkg::{Kind, Record};
use lockstep_core::group::roster::{Mark, Marks, Roster};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::govern::Governance;
use crate::keys::Keyring;
use crate::peer::{Directory, Local, PeerClient, PeerConfig, PeerError};
use crate::rosters::Rosters;
use crate::store::{CeremonyRow, Leave, Store, StoreError};

use run::{Brings, Made, Means, Part};

pub use keep::{KeepError, check_free};
pub use plan::{Candidate, Draft, Plan, PlanError, Terms};
pub use progress::{Ended, Report, Shown, ShownMember};
pub use run::CeremonyError;
pub use speak::{Speaker, Traffic};

/// How often the running service looks for a ceremony that was approved.
const LOOK: Duration = Duration::from_millis(300);
/// How often it is tried to empty the database's log; each try waits for readers by itself.
const EMPTY_TRIES: u32 = 20;
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
    /// What the running service knows besides; a command knows its database only.
    service: Option<(Rosters, Governance)>,
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
        Ok(Self { means: Means { store, speaker, peers, wait }, ring, places, service: None })
    }

    /// The same for the running service: it sees which generation signs, and where the contracts stand.
    pub fn of_service(self, rosters: Rosters, governance: Governance) -> Self {
        Self { service: Some((rosters, governance)), ..self }
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
        let (mut last, mut signed) = (None, 0);
        self.tidy().await?;
        while !stop.is_cancelled() {
            self.give_up_overtaken().await?;
            if self.signed_round() > signed {
                signed = self.signed_round();
                self.tidy().await?;
            }
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
        self.tidy().await?;
        self.supersede(row).await?;
        let plan = Plan::parse(&row.proposal)?;
        let before = self.means.store.ceremony_outcome::<Ended>(row.digest).await?;
        if let Some(ended) = before.clone().filter(|ended| !matches!(ended, Ended::Done { .. })) {
            return Err(CeremonyError::GivenUp(ended));
        }
        let brings = self.brings(&plan, before.is_none()).await?;
        let mut part = Part::begin(self.means.clone(), row.clone(), &plan, brings).await?;
        let ended = match before {
            // Others may still need what it said, and be shown what they lack.
            Some(ended) => ended,
            None => {
                let Some(made) = part.until_made(Some(LINGER_COMMAND), stop).await? else { return Ok(None) };
                self.keep(row, &plan, &made).await?
            }
        };
        part.linger(LINGER_COMMAND, stop).await?;
        Ok(Some(ended))
    }

    async fn take_part(
        &self,
        row: &CeremonyRow,
        made: &(impl Fn(Roster) + Send),
        stop: &CancellationToken,
    ) -> Result<(), CeremonyError> {
        let plan = Plan::parse(&row.proposal)?;
        if let Some(ended) = self.means.store.ceremony_outcome::<Ended>(row.digest).await? {
            if let Ended::Done { .. } = ended {
                // What was said stays to be heard by who was away.
                let participants = plan.participants(self.places.previous(&plan)?.as_ref());
                self.directory().admit(row.digest, participants);
            }
            return Ok(());
        }
        let brings = self.brings(&plan, true).await?;
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

    /// Ends a ceremony when the operator approves a later one, or when the group signs with what a later one made.
    async fn until_superseded(&self, row: &CeremonyRow, over: &CancellationToken) -> Result<(), StoreError> {
        while !over.is_cancelled() {
            let newest = self.means.store.ceremonies().await?.pop();
            if newest.is_some_and(|newest| newest.digest != row.digest) || self.is_overtaken(row) {
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
                self.give_up(&row, &Ended::Superseded { by: newest.digest }).await?;
            }
        }
        Ok(())
    }

    /// True where the group has signed with the outcome of a later round, in which this member may have no part.
    fn is_overtaken(&self, row: &CeremonyRow) -> bool {
        self.signed_round() > row.round
    }

    /// The latest round whose outcome has signed, since the start of the service.
    fn signed_round(&self) -> u32 {
        self.service.as_ref().map_or(0, |(rosters, _)| rosters.signed_round())
    }

    async fn give_up_overtaken(&self) -> Result<(), StoreError> {
        let Some((rosters, _)) = &self.service else { return Ok(()) };
        let round = rosters.signed_round();
        if round == 0 || !self.means.store.may_promise() {
            return Ok(());
        }
        for row in self.means.store.open_ceremonies().await? {
            if row.round < round {
                self.give_up(&row, &Ended::Overtaken { round }).await?;
            }
        }
        Ok(())
    }

    /// Ends a ceremony without an outcome for this member, and forgets what may be forgotten of it.
    async fn give_up(&self, row: &CeremonyRow, ended: &Ended) -> Result<(), StoreError> {
        let leave = self.leave(row, ended).await?;
        self.means.store.finish_ceremony(row.digest, ended, leave).await?;
        self.empty_log().await?;
        self.directory().dismiss(row.digest);
        info!(ceremony = %row.digest, ?ended, "ceremony given up");
        Ok(())
    }

    /// What may stay of a ceremony that has ended. Of one that was given up for a later one all stays if this member had said
    /// that it holds the outcome: the others may have finished it with that word, and then need this member's share, until
    /// the outcome of a later round has signed.
    async fn leave(&self, row: &CeremonyRow, ended: &Ended) -> Result<Leave, StoreError> {
        Ok(match ended {
            Ended::Done { .. } => Leave::Public,
            Ended::Superseded { .. } if !self.is_overtaken(row) => {
                let records = self.means.store.ceremony_records(row.digest).await?;
                let is_promised = records.into_iter().any(|body| Record::from_bytes(body).is_outcome());
                if is_promised { Leave::Everything } else { Leave::Nothing }
            }
            Ended::Superseded { .. } | Ended::Overtaken { .. } => Leave::Nothing,
        })
    }

    /// Forgets what a crash left of ceremonies that have ended, between their outcome and the end of what gives secrets back.
    async fn tidy(&self) -> Result<(), StoreError> {
        let store = &self.means.store;
        let mut any = false;
        for row in store.ceremonies().await? {
            let Some(ended) = store.ceremony_outcome::<Ended>(row.digest).await? else { continue };
            any = true;
            if store.forget_ceremony(row.digest, self.leave(&row, &ended).await?).await? {
                warn!(ceremony = %row.digest, "secrets of an ended ceremony were still there: forgotten now");
            }
        }
        // The crash may have come behind the deletion, too.
        if any { self.empty_log().await } else { Ok(()) }
    }

    /// Takes deleted rows out of the files.
    async fn empty_log(&self) -> Result<(), StoreError> {
        for _ in 0..EMPTY_TRIES {
            if self.means.store.empty_log().await? {
                return Ok(());
            }
            tokio::time::sleep(LOOK).await;
        }
        warn!("the database's log cannot be emptied, for it is read all the time: the next start does it");
        Ok(())
    }

    /// What this member brings; its share only where it may still have to deal.
    async fn brings(&self, plan: &Plan, deals: bool) -> Result<Brings, CeremonyError> {
        let previous = self.places.previous(plan)?;
        let keys = self.ring.keys();
        let old = previous.as_ref().filter(|_| plan.proposal.kind() == Kind::Reshare);
        let is_old = old.is_some_and(|old| old.member_by_identity(keys.identity.verifying_key().as_bytes()).is_some());
        let generation = old.map_or(0, Roster::generation);
        let share = (is_old && deals)
            .then(|| self.ring.share(generation).ok_or(CeremonyError::NoShare { generation }))
            .transpose()?;
        Ok(Brings {
            identity: keys.identity.clone(),
            share: share.map(|share| share.secret),
            previous,
            marks: self.marks().await?,
        })
    }

    /// What the group signed, as far as this member knows. A decision's number counts as soon as it was promised, for the next
    /// one can be taken. A contract's nonce counts when the group has signed for it and for all before: a nonce cannot be left
    /// out, so one that too few have promised must stay free for who promised nothing.
    async fn marks(&self) -> Result<Marks, StoreError> {
        let store = &self.means.store;
        let newest = store.newest_signed().await?;
        let checkpoint = newest.map(|(checkpoint, signature)| Mark { checkpoint, signature });
        let counted = self.service.iter().flat_map(|(_, governance)| governance.contracts());
        let mut governance: BTreeMap<_, _> = counted.map(|(chain, state)| (chain, state.nonce)).collect();
        for (chain, signed) in store.signed_nonces().await? {
            let next = governance.entry(chain).or_default();
            while signed.contains(next) {
                *next = next.saturating_add(1);
            }
        }
        governance.retain(|_, next| *next > 0);
        Ok(Marks { checkpoint, decision: store.highest_decision().await?, governance })
    }

    async fn keep(&self, row: &CeremonyRow, plan: &Plan, made: &Made) -> Result<Ended, CeremonyError> {
        let ended = keep::keep(&self.places, &self.ring, plan, made)?;
        self.means.store.finish_ceremony(row.digest, &ended, Leave::Public).await?;
        self.empty_log().await?;
        info!(ceremony = %row.digest, generation = made.roster.generation(), roster = %made.roster.digest(), "ceremony done");
        Ok(ended)
    }

    const fn directory(&self) -> &Directory {
        self.means.peers.directory()
    }
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
