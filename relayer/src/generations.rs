//! The task that follows the group from one generation to the next: whose turn it is, what this member is, how far the
//! members have changed since the key was made, and when the shares of earlier generations can be forgotten.

use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::checkpoints::{CheckpointError, Checkpoints};
use crate::evm::submission::Turns;
use crate::rosters::{Role, Rosters, Turnover};
use crate::signer::Signer;

/// How often it is looked whether a ceremony has ended; a switch is seen at once.
const LOOK: Duration = Duration::from_millis(250);
/// Pause between two tries to make a signature with the new generation alone: each asks all members.
const RETRY: Duration = Duration::from_secs(2);

/// Follows the generations.
#[derive(Debug)]
pub struct Follower {
    rosters: Rosters,
    signer: Signer,
    checkpoints: Checkpoints,
    proved_at: Option<Instant>,
    turns: watch::Sender<Option<Turns>>,
    step_ms: u64,
    seen: Option<(u32, Role, Turnover)>,
}

impl Follower {
    /// A follower, and the turns of this member as they change; ranks wait `step_ms` for each other.
    pub fn new(signer: Signer, checkpoints: Checkpoints, step_ms: u64) -> (Self, watch::Receiver<Option<Turns>>) {
        let (turns, changing) = watch::channel(None);
        let rosters = signer.rosters().clone();
        let mut follower = Self { rosters, signer, checkpoints, proved_at: None, turns, step_ms, seen: None };
        follower.look();
        (follower, changing)
    }

    /// Runs until told to stop.
    ///
    /// # Errors
    /// A contradiction met while making a signature.
    pub async fn run(mut self, stop: CancellationToken) -> Result<(), CheckpointError> {
        self.signer.erase_again().await?;
        let mut addresses = self.rosters.changes();
        loop {
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                // Where the driver is gone, the service stops anyway.
                Ok(()) = addresses.changed() => {}
                () = tokio::time::sleep(LOOK) => {}
            }
            self.look();
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                // Cancel-safe: the next start finds the same shares and tries again.
                proved = self.prove() => proved?,
            }
        }
    }

    /// The first signature that the new generation makes alone ends the use of the old shares, also those of a member that
    /// left. Until then they are kept: should the new ones be worth nothing, the old ones still are.
    async fn prove(&mut self) -> Result<(), CheckpointError> {
        if self.proved_at.is_some_and(|at| at.elapsed() < RETRY) || !self.signer.holds_old_shares() {
            return Ok(());
        }
        self.proved_at = Some(Instant::now());
        match self.checkpoints.prove().await {
            Err(error) if error.is_contradiction() => Err(error),
            Err(error) => {
                warn!(%error, "the share of an earlier generation is still there");
                Ok(())
            }
            Ok(_) => Ok(()),
        }
    }

    fn look(&mut self) {
        self.rosters.turn();
        let active = self.rosters.active();
        let turns = self.rosters.index_in(&active).map(|index| Turns {
            member: index.into(),
            members: u16::try_from(active.members().len()).unwrap_or(u16::MAX),
            step_ms: self.step_ms,
        });
        self.turns.send_if_modified(|held| std::mem::replace(held, turns) != turns);
        let (role, turnover) = (self.rosters.role(), self.rosters.turnover());
        let now = (active.generation(), role, turnover);
        if self.seen.replace(now) == Some(now) {
            return;
        }
        info!(
            generation = active.generation(),
            role = role.name(),
            members = active.members().len(),
            threshold = active.key().threshold(),
            "the generation that signs"
        );
        if turnover.is_too_far() {
            warn!(
                left = turnover.left,
                most = turnover.most,
                "so many members left since the group's key was made that it should be made anew: plan a fresh key"
            );
        }
    }
}
