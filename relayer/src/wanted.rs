//! Which of the group's keys are still asked for, by contracts, decisions and payouts: once nobody asks for an old one, its
//! shares can be forgotten.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use crate::driver::Progress;
use crate::evm::watcher::ChainReader;
use crate::signer::Signer;
use crate::store::Store;
use crate::world::chain::Cause;

/// Between two looks. There is only something to look for between a fresh key and the end of the old one.
const LOOK: Duration = Duration::from_secs(5);

/// Asks the contracts for their keys while this member holds shares of an older one.
#[derive(Debug)]
pub struct Wanted {
    /// Holds the shares.
    pub signer: Signer,
    /// Has the payouts.
    pub store: Store,
    /// The contracts of all chains that the group serves.
    pub contracts: Vec<ChainReader>,
    /// Which key decisions are verified with.
    pub progress: watch::Receiver<Progress>,
}

impl Wanted {
    /// Looks until told to stop.
    pub async fn run(self, stop: CancellationToken) {
        loop {
            if self.signer.holds_other_keys() {
                tokio::select! {
                    () = stop.cancelled() => return,
                    asked = self.ask() => match asked {
                        Ok(keys) => self.signer.want(keys),
                        Err(error) => debug!(error, "it is not known which group keys are asked for"),
                    }
                }
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(LOOK) => {}
            }
        }
    }

    /// The key of decisions, each contract's in its newest final block, and those that the seeds of payouts are made with which
    /// are open or may still be derived. A chain that does not answer leaves it unknown.
    async fn ask(&self) -> Result<BTreeSet<[u8; 96]>, Cause> {
        // Before the rows: a payout that is derived meanwhile is either still to come in what is read here, or a row there.
        let Progress { decided_key, keys_to_come, .. } = self.progress.borrow().clone();
        let mut seeds = self.store.open_keys().await?;
        seeds.extend(keys_to_come.iter().copied());
        let first = self.signer.rosters().genesis().key().key().compress();
        let mut keys: BTreeSet<_> = seeds.into_iter().map(|key| key.map_or(first, |key| key.0)).collect();
        keys.insert(decided_key.unwrap_or(first));
        for contract in &self.contracts {
            keys.insert(contract.key().await?.compress());
        }
        Ok(keys)
    }
}
