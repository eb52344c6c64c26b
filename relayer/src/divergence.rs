//! Looks back: reads rows behind the cursor again, compares histories with the other members, and says where views part.
//!
//! A member that was shown something else than the others cannot sign, since fewer than t have its history (`checkpoints.rs`).
//! Here it finds out which output is the first that differs, and goes back by itself where that is safe: where it has promised
//! nothing of what it would give up. What is done about a row depends on who went on with it, n and t being the group's:
//!
//! | what this member has | what the others have | what it does |
//! |---|---|---|
//! | passed a row that is listed now | n − t + 1 applied it in its place: no t can be without it | goes back and takes it in |
//! | passed a row that is listed now | t with itself went on without it | sets it aside; a decision admits it |
//! | applied a row | t went on without it | goes back and sets it aside |
//! | applied a row that reads otherwise now, or is gone | whatever | halts |
//! | promised what t others contradict | t see something else | halts |
//!
//! The first and the third exclude each other, so members do not run past one another. Everything else waits, and is named in
//! the log and in the status.

mod compare;
mod doubts;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use lockstep_core::group::Addresses;
use lockstep_core::output::Output;
use lockstep_core::{B256, Uuid};
use thiserror::Error;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info};

use crate::backoff::Backoff;
use crate::driver::{Input, Progress};
use crate::peer::PeerClient;
use crate::rosters::Rosters;
use crate::store::{Store, StoreError};
use crate::world::doubt::{Changed, Difference, Reread};
use crate::world::ledger::{ReadError, ReadLedger};

pub use compare::history_at;
pub use doubts::Doubts;

use compare::{Views, compare};

/// Rows behind the cursor that are read again: within a page of the ledger's API, with room for late ones.
const WINDOW: u32 = 400;
/// Readings in a row that must show a changed row before that is believed: services have replicas that lag.
const READINGS: u32 = 3;

/// The task that looks back.
#[derive(Debug)]
pub struct LookBack<L> {
    /// The group's id, which promises are made under.
    pub group_id: B256,
    /// The ledger's API and the kernel.
    pub ledger: L,
    /// What was applied and promised.
    pub store: Store,
    /// Who signs now.
    pub rosters: Rosters,
    /// How they are asked.
    pub peers: PeerClient,
    /// How far the driver is.
    pub progress: watch::Receiver<Progress>,
    /// The group's addresses as of then.
    pub addresses: watch::Receiver<Arc<Addresses>>,
    /// The driver.
    pub inputs: mpsc::Sender<Input>,
    /// Where it says what it finds.
    pub doubts: Doubts,
    /// Time between two rounds. While the ledger does not answer it doubles.
    pub pause: Duration,
}

/// How many members make a difference.
#[derive(Clone, Copy, Debug)]
struct Weights {
    /// t.
    threshold: usize,
    /// n − t + 1: with so many against it, no t can be for something.
    blocking: usize,
}

impl<L: ReadLedger> LookBack<L> {
    /// Looks back, again and again, until told to stop.
    ///
    /// # Errors
    /// A contradiction: a row that was applied has changed, or this member has promised what t others contradict.
    pub async fn run(self, stop: CancellationToken) -> Result<(), DivergenceError> {
        let (mut views, mut changed) = (Views::default(), BTreeMap::new());
        let (mut backoff, mut failed) = (Backoff::of_endpoint(self.pause), false);
        loop {
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                () = tokio::time::sleep(backoff.pause_after(failed)) => {}
            }
            // Not dropped half-way: a round is short, and what it hands to the driver is whole.
            (views, failed) = self.round(views, &mut changed).await?;
        }
    }

    /// What the others see, and whether the ledger failed to answer.
    async fn round(&self, before: Views, changed: &mut BTreeMap<Uuid, u32>) -> Result<(Views, bool), DivergenceError> {
        let (progress, addresses) = (self.progress.borrow().clone(), Arc::clone(&self.addresses.borrow()));
        let roster = self.rosters.active();
        let own = self.rosters.index_in(&roster);
        let others: Vec<_> = roster.members().iter().map(|member| member.index).filter(|i| Some(*i) != own).collect();
        let threshold = usize::from(roster.key().threshold());
        let blocking = roster.members().len().saturating_sub(threshold).saturating_add(1);
        let weights = Weights { threshold, blocking };
        let peers = self.peers.of_generation(roster.generation());
        let views = compare(&self.store, &peers, &others, &before).await?;
        self.tell(&before, &views);

        let reread = self.reread(&addresses, progress.sequence).await?;
        let failed = reread.as_ref().is_err_and(ReadError::is_fault);
        if self.progress.borrow().rewinds != progress.rewinds {
            return Ok((views, failed));
        }
        let mut behind = Vec::new();
        if let Ok(reread) = reread {
            behind.extend(note_changed(&reread, changed)?);
            behind.extend(self.judge_behind(reread.behind, &views, weights).await?);
        }
        self.doubts.set_behind(behind);
        self.judge_applied(&views, weights).await?;
        Ok((views, failed))
    }

    /// Reads the window behind the cursor again, where the ledger can be read now.
    async fn reread(&self, addresses: &Addresses, to: u64) -> Result<Result<Reread, ReadError>, StoreError> {
        let known = self.store.outputs_up_to(to, WINDOW).await?;
        let is_cut = usize::try_from(WINDOW).is_ok_and(|window| known.len() >= window);
        let after = known.first().filter(|_| is_cut).map_or(0, |oldest| oldest.sequence);
        let known: Vec<_> = known.into_iter().filter(|output| output.sequence > after).collect();
        let reread = self.ledger.reread(addresses, after, to, &known).await;
        if let Err(error) = &reread {
            debug!(%error, "rows behind the cursor cannot be read again now");
        }
        Ok(reread)
    }

    /// Rows that this member passed. In words, those of which nothing is settled yet.
    async fn judge_behind(
        &self,
        mut rows: Vec<Output>,
        views: &Views,
        weights: Weights,
    ) -> Result<Vec<String>, DivergenceError> {
        rows.sort_by_key(|row| row.sequence);
        let mut open = Vec::new();
        for row in rows {
            let Output { id, sequence, .. } = row;
            let (with, without) = (views.with(&row), views.without(sequence).saturating_add(1));
            if with >= weights.blocking && !self.has_promised(sequence).await? {
                info!(output = %id, sequence, with, "the others applied this row, which was not listed here: going back");
                self.hand_in(Input::Rewind { first: sequence, aside: None }).await;
                return Ok(open);
            }
            if without >= weights.threshold {
                self.hand_in(Input::Late(vec![Output { late: true, ..row }])).await;
                continue;
            }
            open.push(format!(
                "output {id} at sequence {sequence} was not listed when this member passed it; {with} others have applied it, \
                 {without} with this member went on without it"
            ));
        }
        Ok(open)
    }

    /// What this member applied, and t others did not.
    async fn judge_applied(&self, views: &Views, weights: Weights) -> Result<(), DivergenceError> {
        let Some(first) = views.first_difference(weights.threshold) else { return Ok(()) };
        if self.has_promised(first).await? {
            let members = views.differing_at(first).into_iter().collect();
            return Err(DivergenceError::Promised { first, members });
        }
        let Some((row, count)) = views.only_here(first) else { return Ok(()) };
        if count < weights.threshold {
            return Ok(());
        }
        if let Some(output) = self.store.output(row).await?.filter(|output| !output.late) {
            info!(output = %row, sequence = first, "the others went on without this row: going back to set it aside");
            self.hand_in(Input::Rewind { first, aside: Some(Box::new(output)) }).await;
        }
        Ok(())
    }

    async fn has_promised(&self, first: u64) -> Result<bool, StoreError> {
        self.store.has_promised_from(first, &self.group_id).await
    }

    async fn hand_in(&self, input: Input) {
        // A driver that is gone takes the service with it.
        let _ = self.inputs.send(input).await;
    }

    /// Says once what is new.
    fn tell(&self, before: &Views, views: &Views) {
        for difference in views.differences().filter(|difference| !before.differences().any(|old| old == *difference)) {
            let Difference { member, agreed, ours, theirs } = difference;
            error!(member, agreed, first = difference.first(), what = difference.what(),
                ours = %shown(ours.as_ref()), theirs = %shown(theirs.as_ref()),
                "members see the ledger's order differently");
        }
        if views.differences().next().is_none() && before.differences().next().is_some() {
            info!("all members that answer see the same order again");
        }
        self.doubts.set_differences(views.differences().cloned().collect());
    }
}

/// Counts in how many readings in a row an applied row reads otherwise. In words, what is not believed yet.
fn note_changed(reread: &Reread, counts: &mut BTreeMap<Uuid, u32>) -> Result<Vec<String>, DivergenceError> {
    let now: BTreeSet<_> = reread.changed.iter().map(|changed| changed.output).collect();
    counts.retain(|output, _| now.contains(output));
    for changed in &reread.changed {
        let count = counts.entry(changed.output).or_default();
        *count = count.saturating_add(1);
        if *count >= READINGS {
            return Err(DivergenceError::Changed(changed.clone()));
        }
    }
    Ok(reread.changed.iter().map(ToString::to_string).collect())
}

fn shown(seen: Option<&crate::world::doubt::Seen>) -> String {
    let Some(seen) = seen else { return "nothing".to_owned() };
    serde_json::to_string(seen).unwrap_or_else(|_| seen.id.to_string())
}

/// Why looking back ends the service.
#[derive(Debug, Error)]
pub enum DivergenceError {
    /// An applied row reads otherwise, or is gone.
    #[error("contradiction: {0}")]
    Changed(Changed),
    /// This member has signed what t others see differently.
    #[error(
        "contradiction: members {members:?} see the ledger's order differently from sequence {first} on, where this member has signed"
    )]
    Promised {
        /// The first sequence that differs.
        first: u64,
        /// Who.
        members: Vec<u8>,
    },
    /// The store cannot be read.
    #[error("the store cannot be read")]
    Store(#[from] StoreError),
}

impl DivergenceError {
    /// True where a person must look before this member goes on (exit code 70).
    pub const fn is_contradiction(&self) -> bool {
        match self {
            Self::Changed(_) | Self::Promised { .. } => true,
            Self::Store(error) => error.is_contradiction(),
        }
    }
}
