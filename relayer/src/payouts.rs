//! From a derived transaction to a final one: fix its bytes, agree with t members, promise the coins, sign, see it final.
//!
//! A reconciler: it takes no input, reads what is open, and moves each payout as far as it can go now. Every step may be
//! repeated, and every promise is a row before it leaves this member (DERIVATION.md C).
//!
//! ```text
//! round ─► what is due, 8 at a time ─► step: final? ─► dead? ─► seed ─► build ─► agree ─► guard ─► sign ─► save ─► hand in ─► push
//!   ▲                                                    └─ attempt + 1 ─┘
//!   └── pace: what waits is asked about less and less often, and holds up nothing else
//! ```

mod error;
mod observe;
mod origin;
mod pace;
mod seeds;
mod step;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::stream::{self, StreamExt};
use lockstep_core::Uuid;
use lockstep_core::derive::{Derived, Payee};
use lockstep_core::group::Group;
use lockstep_core::mixin::{MixAddress, PrivateKey};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::divergence::Doubts;
use crate::driver::Progress;
use crate::rosters::Rosters;
use crate::store::{Store, StoreError};
use crate::world::ledger::{IssueKeys, LedgerFault, ReadKernel, SendTransaction, SubmitPayout};
use crate::world::peer::PullPayouts;

pub use error::PayoutError;
pub use seeds::Seeds;

use pace::Pace;
use step::{Moved, Steps};

/// Payouts that are worked on at the same time: a slow ledger must not make them wait for each other.
const AT_ONCE: usize = 8;
/// Steps of one payout in a round: build and sign, after a dead attempt as well.
const STEPS_MAX: usize = 3;
/// Rows of open payouts that are read at a time.
const PAGE: u32 = 256;

/// Moves payouts. `L` is the ledger's API as this member's user, `K` the kernel, `P` the other members.
#[derive(Debug)]
pub struct Payouts<L, K, P> {
    steps: Steps<L, K, P>,
    paces: BTreeMap<Uuid, Pace>,
    doubts: Doubts,
}

/// What a payout driver belongs to.
#[derive(Debug)]
pub struct Owner {
    /// The group.
    pub group: Arc<Group>,
    /// Its members by generation, among them this one.
    pub rosters: Rosters,
    /// What the keys of payouts are made from.
    pub seeds: Seeds,
    /// This member's spend key on the ledger.
    pub spend: PrivateKey,
    /// How long a rank waits for the one before it.
    pub takeover: Duration,
}

impl<L: IssueKeys + SubmitPayout, K: ReadKernel + SendTransaction, P: PullPayouts> Payouts<L, K, P> {
    /// A driver of this member's payouts.
    pub fn new(owner: Owner, ledger: L, kernel: K, peers: P, store: Store) -> Self {
        let steps = Steps { owner, ledger, kernel, peers, store };
        Self { steps, paces: BTreeMap::new(), doubts: Doubts::default() }
    }

    /// The same, which says in `doubts` which payouts are held, and why.
    #[must_use]
    pub fn telling(self, doubts: Doubts) -> Self {
        Self { doubts, ..self }
    }

    /// Runs rounds, at each progress and every `period`, until told to stop.
    ///
    /// # Errors
    /// A contradiction: the service halts.
    pub async fn run(
        mut self,
        mut progress: watch::Receiver<Progress>,
        period: Duration,
        stop: CancellationToken,
    ) -> Result<(), PayoutError> {
        loop {
            self.round().await?;
            // Cancel-safe: a missed signal is caught by the period.
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                _ = progress.changed() => {}
                () = tokio::time::sleep(period) => {}
            }
        }
    }

    /// Moves each open payout that is due as far as it goes now.
    ///
    /// # Errors
    /// A contradiction, which ends the round at once: what is under way may be dropped at any point, for every step can be
    /// repeated. A payout that cannot go on now is logged and waits.
    pub async fn round(&mut self) -> Result<(), PayoutError> {
        let due = self.due().await?;
        let steps = &self.steps;
        let work = due.into_iter().map(|(id, mut pace)| async move {
            let mut moved = steps.step(id, &mut pace).await;
            for _ in 1..STEPS_MAX {
                if matches!(moved, Ok(Moved::Again)) {
                    moved = steps.step(id, &mut pace).await;
                }
            }
            (id, pace, moved)
        });
        let mut working = stream::iter(work).buffer_unordered(AT_ONCE);
        let (mut paces, mut any_final) = (Vec::new(), false);
        while let Some((id, mut pace, moved)) = working.next().await {
            let now = Instant::now();
            pace.awaits_inputs = matches!(moved, Ok(Moved::AwaitsInputs));
            let reason = moved.as_ref().err().filter(|error| error.is_held()).map(words);
            self.doubts.hold(id, reason);
            match moved {
                Ok(Moved::Final) => {
                    any_final = true;
                    continue;
                }
                Ok(Moved::Again) => pace.wake(now),
                Ok(Moved::AwaitsInputs | Moved::Waits) => pace.wait(now, false),
                Err(error) if error.is_contradiction() => return Err(error),
                Err(error) => steps.note(id, &mut pace, &error).await?,
            }
            if pace.warns_stuck(now) {
                warn!(payout = %id, "payout is not final for a long time; it is held");
            }
            paces.push((id, pace));
        }
        drop(working);
        self.paces.extend(paces);
        if any_final {
            let now = Instant::now();
            self.paces.values_mut().filter(|pace| pace.awaits_inputs).for_each(|pace| pace.wake(now));
        }
        Ok(())
    }

    /// The open payouts whose time has come, taken out of `paces`; those that are not open any more are forgotten.
    async fn due(&mut self) -> Result<Vec<(Uuid, Pace)>, StoreError> {
        let now = Instant::now();
        let (mut due, mut rest, mut after) = (Vec::new(), BTreeMap::new(), 0);
        loop {
            let page = self.steps.store.open_payouts(after, PAGE).await?;
            let Some((last, _)) = page.last() else { break };
            after = *last;
            for (_, id) in page {
                let first_search = self.steps.owner.takeover;
                let pace = self.paces.remove(&id).unwrap_or_else(|| Pace::new(now, first_search));
                if pace.is_due(now) {
                    due.push((id, pace));
                } else {
                    rest.insert(id, pace);
                }
            }
        }
        self.paces = rest;
        self.doubts.keep_held(|id| self.paces.contains_key(id) || due.iter().any(|(due, _)| due == id));
        Ok(due)
    }
}

/// An error with its cause.
fn words(error: &PayoutError) -> String {
    match std::error::Error::source(error) {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}

impl<L, K, P> Steps<L, K, P> {
    /// The first refusal of a payout is worth a warning, its repetitions are not; nor is what time alone may mend.
    async fn note(&self, id: Uuid, pace: &mut Pace, error: &PayoutError) -> Result<(), StoreError> {
        pace.wait(Instant::now(), error.is_held());
        let cause = std::error::Error::source(error).map(ToString::to_string);
        if !error.is_held() || !pace.warns() {
            debug!(payout = %id, %error, cause, "payout waits");
            return Ok(());
        }
        let Some(Derived { trace, outputs, .. }) = self.store.derived(id).await? else { return Ok(()) };
        let recipient = |(payee, _): &(Payee, _)| match payee {
            Payee::Mix(mix) => Some(MixAddress::from(mix).to_string()),
            Payee::Group(_) => None,
        };
        let recipients: Vec<_> = outputs.iter().filter_map(recipient).collect();
        if matches!(error, PayoutError::Ledger(LedgerFault::NotRegistered { .. })) {
            warn!(payout = %id, outbound = ?trace, ?recipients, "a recipient is no ledger user; the payout is held");
        } else {
            warn!(payout = %id, outbound = ?trace, ?recipients, %error, cause, "payout is held");
        }
        Ok(())
    }
}
