//! Which of the group's keys are still asked for: once nobody asks for an old one, its shares can be forgotten.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use crate::driver::Progress;
use crate::evm::watcher::ChainReader;
use crate::signer::Signer;
use crate::world::chain::ChainError;

/// Between two looks. There is only something to look for between a fresh key and the end of the old one.
const LOOK: Duration = Duration::from_secs(5);

/// Asks the contracts for their keys while this member holds shares of an older one.
#[derive(Debug)]
pub struct Wanted {
    /// Holds the shares.
    pub signer: Signer,
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
                        Err(error) => debug!(%error, "it is not known which group keys are asked for"),
                    }
                }
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(LOOK) => {}
            }
        }
    }

    /// The key of decisions, and each contract's in its newest final block. A chain that does not answer leaves it unknown.
    async fn ask(&self) -> Result<BTreeSet<[u8; 96]>, ChainError> {
        let decided = self.progress.borrow().decided_key;
        let first = || self.signer.rosters().genesis().key().key().compress();
        let mut keys = BTreeSet::from([decided.unwrap_or_else(first)]);
        for contract in &self.contracts {
            keys.insert(contract.key().await?.compress());
        }
        Ok(keys)
    }
}
