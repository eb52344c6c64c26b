//! The share that this member signs with: which generation's, from when on, and when an older one is forgotten.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lockstep_core::B256;
use lockstep_core::bls::{PublicKey, SecretShare};
use lockstep_core::group::roster::Roster;
use tracing::{info, warn};

use crate::keys::{KeyError, Keyring};
use crate::rosters::Rosters;
use crate::store::{Store, StoreError};

/// Gives this member's share to what signs with it. Cheap to clone. Nobody keeps a share for longer than a signature: after
/// a switch it is another one, and the old one is erased.
#[derive(Clone, Debug)]
pub struct Signer {
    rosters: Rosters,
    ring: Keyring,
    store: Store,
    memory: Arc<Mutex<Memory>>,
}

/// What may be forgotten.
#[derive(Debug, Default)]
struct Memory {
    /// Rosters whose high-water mark this member's own history meets.
    cleared: BTreeSet<B256>,
    /// Rosters for which this member was found to hold no share that fits: said once.
    shareless: BTreeSet<B256>,
}

impl Signer {
    /// The shares in `ring` under the generations of `rosters`, for the history in `store`.
    pub fn new(rosters: Rosters, ring: Keyring, store: Store) -> Self {
        Self { rosters, ring, store, memory: Arc::default() }
    }

    /// The generations.
    pub const fn rosters(&self) -> &Rosters {
        &self.rosters
    }

    /// The roster that signs now, and this member's share in it, if it may sign.
    ///
    /// # Errors
    /// As [`Self::share_of`].
    pub async fn now(&self) -> Result<Option<(Arc<Roster>, Arc<SecretShare>)>, StoreError> {
        let roster = self.rosters.active();
        let share = self.share_of(&roster).await?;
        Ok(share.map(|share| (roster, share)))
    }

    /// The share that this member signs with in a roster; `None` where it has no seat, lacks the share, or has not come as
    /// far as the group had signed when the roster was made.
    ///
    /// # Errors
    /// A history other than that.
    pub async fn share_of(&self, roster: &Roster) -> Result<Option<Arc<SecretShare>>, StoreError> {
        let Some(index) = self.rosters.index_in(roster) else { return Ok(None) };
        if !self.is_cleared(roster).await? {
            return Ok(None);
        }
        let held = self.ring.share(roster.generation()).map(|held| held.secret);
        let fits =
            |share: &Arc<SecretShare>| share.index() == index && roster.key().share(index) == Some(&share.public_key());
        let share = held.filter(fits);
        if share.is_none() && self.memory().shareless.insert(roster.digest()) {
            warn!(
                generation = roster.generation(),
                index, "this member has a seat and holds no share that fits: it signs nothing"
            );
        }
        Ok(share)
    }

    /// True once this member's own history holds exactly the checkpoint that the group had signed when `roster` was made.
    /// All history before it is then the same as well, and the ledger's state with it (leaf 0 of the frontier).
    async fn is_cleared(&self, roster: &Roster) -> Result<bool, StoreError> {
        let digest = roster.digest();
        let Some(mark) = roster.marks().checkpoint else { return Ok(true) };
        if self.memory().cleared.contains(&digest) {
            return Ok(true);
        }
        let signed = mark.checkpoint;
        match self.store.step(signed.sequence).await? {
            Some(step) if step.checkpoint == signed => {
                if self.memory().cleared.insert(digest) {
                    info!(
                        generation = roster.generation(),
                        sequence = signed.sequence,
                        "history meets the checkpoint that the group had signed: this member may sign"
                    );
                }
                Ok(true)
            }
            None if self.store.last_step().await?.is_none_or(|last| last.checkpoint.sequence < signed.sequence) => {
                Ok(false)
            }
            step => Err(StoreError::Contradiction(format!(
                "the group signed history {} at sequence {} before generation {}, this member derives {:?} there",
                signed.history,
                signed.sequence,
                roster.generation(),
                step.map(|step| step.checkpoint.history)
            ))),
        }
    }

    /// True while this member holds shares that the generation which signs now has made worthless.
    pub fn holds_old_shares(&self) -> bool {
        let roster = self.rosters.active();
        self.ring.shares().iter().any(|held| is_superseded(held.generation, &held.group_key, &roster))
    }

    /// Forgets the shares of earlier generations of the key: a signature was made from parts of this one alone, so it works.
    ///
    /// # Errors
    /// Where the key file cannot be written.
    pub fn erase_before(&self, roster: &Roster) -> Result<(), KeyError> {
        for held in self.ring.shares() {
            if is_superseded(held.generation, &held.group_key, roster) && self.ring.erase_share(held.generation)? {
                info!(generation = held.generation, "share of an earlier generation erased");
            }
        }
        Ok(())
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// True for a share of the same key that an earlier generation signed with. A share of another key is worth keeping: contracts
/// may still ask for that key.
fn is_superseded(generation: u32, key: &PublicKey, roster: &Roster) -> bool {
    generation < roster.generation() && key == roster.key().key()
}

#[cfg(test)]
mod tests;
