//! Moves ledger time while an escrow waits and the ledger is quiet: dust to the group (DERIVATION.md B7).
//!
//! A tick changes when an escrow ends, never how. So this member's own clock may decide when to send one.

use std::sync::Arc;
use std::time::Duration;

use lockstep_core::group::Group;
use lockstep_core::operation::tick_memo;
use lockstep_core::{Amount, AssetId, Uuid};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::clock::since_1970;
use crate::driver::Progress;
use crate::ledger::SafeApi;
use crate::ledger::pay::{Payment, pay};
use crate::rosters::Rosters;

/// The smallest coin there is.
const DUST: Amount = Amount::from_units(1);
/// How long a tick may take to be final before it is tried again.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often the clock is looked at.
const LOOK: Duration = Duration::from_millis(250);

/// Who sends ticks, and when.
#[derive(Clone, Debug)]
pub struct Ticker {
    /// The group.
    pub group: Arc<Group>,
    /// Its members by generation: those that sign now send ticks, to the address that is the group's now.
    pub rosters: Rosters,
    /// How long a rank waits for the one before it.
    pub takeover: Duration,
    /// The ledger as this member's user, who pays the dust.
    pub ledger: Arc<SafeApi>,
}

impl Ticker {
    /// Sends a tick whenever an escrow is due, nothing newer was applied, and it is this member's turn.
    pub async fn run(self, progress: watch::Receiver<Progress>, stop: CancellationToken) {
        let mut ticked_at = None;
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(LOOK) => {}
            }
            let now = progress.borrow().clone();
            if ticked_at == Some(now.sequence) || !self.is_due(&now) {
                continue;
            }
            tokio::select! {
                // Cancel-safe: the payment has a name, so the next start finishes the same one.
                () = stop.cancelled() => return,
                sent = self.send(now.sequence) => if sent {
                    ticked_at = Some(now.sequence);
                },
            }
        }
    }

    fn is_due(&self, now: &Progress) -> bool {
        let Some(due) = now.escrow_due.filter(|due| *due > now.ledger_time) else { return false };
        let active = self.rosters.active();
        let Some(index) = self.rosters.index_in(&active) else { return false };
        let members = u64::try_from(active.members().len()).unwrap_or(u64::MAX).max(1);
        let rank = now.sequence.saturating_add(index.into()).checked_rem(members).unwrap_or(0);
        let turn = self.takeover.saturating_mul(u32::try_from(rank).unwrap_or(u32::MAX));
        since_1970() >= Duration::from_nanos(due).saturating_add(turn)
    }

    /// One tick for each applied sequence: another one would say nothing new.
    async fn send(&self, sequence: u64) -> bool {
        // The name is this user's own; another address would make another payment of it.
        let (addresses, user) = (self.rosters.addresses(), self.ledger.user());
        let name = format!("tick/{}/{sequence}", addresses.newest());
        let payment = Payment {
            receivers: addresses.current().clone(),
            asset: AssetId::from_uuid(self.group.fee().asset),
            amount: DUST,
            extra: tick_memo(),
            references: Vec::new(),
            trace: Uuid::new_v5(&user, name.as_bytes()),
        };
        match pay(&self.ledger, &payment, PATIENCE).await {
            Ok(paid) => {
                info!(sequence, transaction = %paid.transaction, "tick sent: an escrow waits and the ledger is quiet");
                true
            }
            Err(error) => {
                warn!(sequence, %error, "no tick could be sent; another member will");
                tokio::time::sleep(self.takeover).await;
                false
            }
        }
    }
}
