//! The share that this member signs with: which generation's, from when on, and when an older one is forgotten.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lockstep_core::B256;
use lockstep_core::bls::{PublicKey, SecretShare};
use lockstep_core::group::roster::Roster;
use thiserror::Error;
use tracing::{info, warn};

use crate::keys::{HeldShare, KeyError, Keyring};
use crate::rosters::Rosters;
use crate::store::{Erasure, Store, StoreError};

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
    /// The group keys that are still asked for, compressed, as far as that is known.
    wanted: Option<BTreeSet<[u8; 96]>>,
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

    /// Says which group keys are still asked for: those of the chains' contracts in final blocks, and that of decisions. Until
    /// it is known, only shares of the key that signs now are known to be of no use.
    pub fn want(&self, keys: BTreeSet<[u8; 96]>) {
        self.memory().wanted = Some(keys);
    }

    /// True while this member holds shares of another key than that which signs now, of earlier generations.
    pub fn holds_other_keys(&self) -> bool {
        let roster = self.rosters.active();
        let is_other =
            |held: &HeldShare| held.generation < roster.generation() && held.group_key != *roster.key().key();
        self.ring.shares().iter().any(is_other)
    }

    /// True while this member holds shares that the generation which signs now has made worthless.
    pub fn holds_old_shares(&self) -> bool {
        !self.superseded(&self.rosters.active()).is_empty()
    }

    /// The shares of earlier generations that nobody asks for any more.
    fn superseded(&self, roster: &Roster) -> Vec<HeldShare> {
        let mut held = self.ring.shares();
        let memory = self.memory();
        let is_wanted = |key: &PublicKey| memory.wanted.as_ref().is_none_or(|wanted| wanted.contains(&key.compress()));
        held.retain(|held| {
            let is_same_key = held.group_key == *roster.key().key();
            held.generation < roster.generation() && (is_same_key || !is_wanted(&held.group_key))
        });
        held
    }

    /// Forgets the shares of earlier generations: this one made the signature of the checkpoint at `sequence` alone, so it
    /// works. A row says so before and after.
    ///
    /// # Errors
    /// Where the key file or the row cannot be written.
    pub async fn erase_before(&self, roster: &Roster, sequence: u64) -> Result<(), EraseError> {
        self.rosters.note_signed(roster);
        for held in self.superseded(roster) {
            let (generation, group_key) = (held.generation, held.group_key.compress());
            // The last clone of this process but that in the ring.
            drop(held);
            let erasure = Erasure { generation, group_key, roster: roster.digest(), sequence };
            self.store.begin_erasure(&erasure).await?;
            if self.ring.erase_share(generation)? {
                info!(generation, by = roster.generation(), sequence, "share of an earlier generation erased");
            }
            self.store.end_erasure(generation).await?;
        }
        Ok(())
    }

    /// Ends what a crash interrupted, and erases once more what a backup of the key file brought back.
    ///
    /// # Errors
    /// Where the key file or a row cannot be written.
    pub async fn erase_again(&self) -> Result<(), EraseError> {
        for (Erasure { generation, group_key, .. }, is_done) in self.store.erasures().await? {
            let held = self.ring.share(generation).map(|held| held.group_key.compress());
            if held == Some(group_key) && self.ring.erase_share(generation)? {
                warn!(
                    generation,
                    "share erased that was to be erased before: by a crash or a backup it was still there"
                );
            }
            if !is_done && held.is_none_or(|held| held == group_key) {
                self.store.end_erasure(generation).await?;
            }
        }
        Ok(())
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why a share is still there.
#[derive(Debug, Error)]
pub enum EraseError {
    /// The key file.
    #[error("the share of an earlier generation cannot be erased")]
    Keys(#[from] KeyError),
    /// The row that says so.
    #[error("it cannot be noted that the share of an earlier generation is erased")]
    Store(#[from] StoreError),
}

#[cfg(test)]
pub(crate) mod tests;
