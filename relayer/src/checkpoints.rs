//! Signed checkpoints: this member's own partial, and the group's signature recovered from pulled ones.
//!
//! Who signs follows from the ledger ([`crate::rosters::Rosters::active`]). Parts of two generations never mix: each names the roster that it
//! belongs to, and whoever recovers takes parts of its own active roster only. The guard stands per sequence, whichever
//! generation signs: the digest does not change with the members.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lockstep_core::B256;
use lockstep_core::bls::{BlsError, PartialSignature, PublicKey, RecoverError, Signature};
use lockstep_core::checkpoint::Checkpoint;
use lockstep_core::group::roster::Roster;
use thiserror::Error;
use tokio::task::JoinSet;
use tracing::{debug, info, warn};

use crate::peer::{Partial, PeerClient, PeerError};
use crate::signer::{EraseError, Signer};
use crate::store::{StepRow, Store, StoreError};
use crate::world::doubt::HistoryAt;

/// Signs checkpoints for this member and recovers the group's signature. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Checkpoints {
    group_id: B256,
    signer: Signer,
    store: Store,
    peers: PeerClient,
    /// Members that once gave a bad partial, by roster: theirs are used last and checked first.
    suspects: Arc<Mutex<BTreeSet<(B256, u8)>>>,
    /// The newest sequence, with its history, that t members were found to share.
    shared: Arc<Mutex<(u64, B256)>>,
}

impl Checkpoints {
    /// The checkpoints of the group as the owner of `signer` signs them.
    pub fn new(group_id: B256, signer: Signer, store: Store, peers: PeerClient) -> Self {
        Self { group_id, signer, store, peers, suspects: Arc::default(), shared: Arc::default() }
    }

    /// This member's partial signature for the checkpoint at `sequence`; `None` while that is not applied here, where fewer
    /// than t members have its history, or where this member may not sign. The promise is durable before the signature exists.
    ///
    /// # Errors
    /// Another digest once signed for the same sequence is a contradiction, and so is a history other than the one that the
    /// group had signed when this generation was made.
    pub async fn own(&self, sequence: u64) -> Result<Option<Partial>, StoreError> {
        let Some(StepRow { checkpoint, .. }) = self.store.step(sequence).await? else { return Ok(None) };
        self.own_of(&self.signer.rosters().active(), &checkpoint).await
    }

    async fn own_of(&self, roster: &Roster, checkpoint: &Checkpoint) -> Result<Option<Partial>, StoreError> {
        // Nobody has said yet how far this member was seen: not yet.
        if !self.store.may_promise() {
            return Ok(None);
        }
        let Some(share) = self.signer.share_of(roster).await? else { return Ok(None) };
        let digest = checkpoint.digest(&self.group_id);
        // A promise binds for ever. A member that was shown something else than the others finds out before it makes one.
        if !self.store.has_guarded(checkpoint.sequence, digest).await? && !self.is_shared(roster, checkpoint).await? {
            return Ok(None);
        }
        match self.store.guard_checkpoint(checkpoint.sequence, digest).await {
            Err(StoreError::Stopped { .. }) => return Ok(None),
            guarded => guarded?,
        }
        let PartialSignature { signature, .. } = share.sign_digest(&digest);
        let Checkpoint { sequence, history, root } = *checkpoint;
        let (generation, roster) = (roster.generation(), roster.digest());
        Ok(Some(Partial { sequence, generation, roster, history, root, signature }))
    }

    /// True where t members of `roster`, this one among them, have the history of `checkpoint`. Nobody promises anything by
    /// saying so, and fewer could not make a signature anyway. Whoever has a history has all that it begins with.
    async fn is_shared(&self, roster: &Roster, checkpoint: &Checkpoint) -> Result<bool, StoreError> {
        let sequence = checkpoint.sequence;
        let (through, history) = *self.held_shared();
        if sequence <= through && self.store.step(through).await?.is_some_and(|step| step.checkpoint.history == history)
        {
            return Ok(true);
        }
        let own_index = self.signer.rosters().index_in(roster);
        let peers = self.peers.of_generation(roster.generation());
        let mut asked = JoinSet::new();
        for member in roster.members().iter().map(|member| member.index).filter(|index| Some(*index) != own_index) {
            let peers = peers.clone();
            asked.spawn(async move { (member, peers.pull_history(member, sequence).await) });
        }
        let need = usize::from(roster.key().threshold());
        let same = alike(checkpoint, need, asked).await;
        if same < need {
            debug!(sequence, same, need, "too few members have this history yet");
            return Ok(false);
        }
        *self.held_shared() = (sequence, checkpoint.history);
        Ok(true)
    }

    fn held_shared(&self) -> MutexGuard<'_, (u64, B256)> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The checkpoint at `sequence` with the group's signature; `None` while it is not applied here or fewer than t members
    /// answer alike. Also who is no member of the generation that signs can ask: what comes back is verified.
    ///
    /// # Errors
    /// A contradiction in this member's own promises, or t members that see another history than this one does.
    pub async fn signed(&self, sequence: u64) -> Result<Option<(Checkpoint, Signature)>, CheckpointError> {
        let Some(StepRow { checkpoint, .. }) = self.store.step(sequence).await? else { return Ok(None) };
        let roster = self.signer.rosters().active();
        let own = self.own_of(&roster, &checkpoint).await?;
        let digest = checkpoint.digest(&self.group_id);
        if let Some(signature) = self.kept(sequence, &digest, roster.key().key()).await? {
            return Ok(Some((checkpoint, signature)));
        }
        let signature = self.recover(&roster, &checkpoint, own).await?;
        Ok(signature.map(|signature| (checkpoint, signature)))
    }

    /// Makes a signature of the newest checkpoint from parts of the generation that signs now, whatever is kept, so that the
    /// shares of earlier ones can be forgotten. False while that does not succeed.
    ///
    /// # Errors
    /// As [`Self::signed`].
    pub async fn prove(&self) -> Result<bool, CheckpointError> {
        let Some(StepRow { checkpoint, .. }) = self.store.last_step().await? else { return Ok(false) };
        let roster = self.signer.rosters().active();
        let own = self.own_of(&roster, &checkpoint).await?;
        Ok(self.recover(&roster, &checkpoint, own).await?.is_some())
    }

    async fn recover(
        &self,
        roster: &Roster,
        checkpoint: &Checkpoint,
        own: Option<Partial>,
    ) -> Result<Option<Signature>, CheckpointError> {
        let (sequence, digest) = (checkpoint.sequence, checkpoint.digest(&self.group_id));
        let partials = self.pull(roster, checkpoint, own).await?;
        match roster.key().recover_digest(&digest, &partials, &self.suspects(roster)) {
            Ok(recovered) => {
                self.suspect(roster, recovered.culprits);
                self.store.save_signature(sequence, &recovered.signature.compress()).await?;
                info!(sequence, generation = roster.generation(), "checkpoint signed");
                self.signer.erase_before(roster, sequence).await?;
                Ok(Some(recovered.signature))
            }
            Err(RecoverError::TooFew { need, good, culprits }) => {
                self.suspect(roster, culprits);
                debug!(sequence, good, need, "too few partial signatures yet");
                Ok(None)
            }
            Err(error @ RecoverError::Inconsistent) => Err(error.into()),
        }
    }

    /// A signature that was recovered before. One by a key that is not the group's any more is none.
    async fn kept(&self, sequence: u64, digest: &B256, key: &PublicKey) -> Result<Option<Signature>, CheckpointError> {
        let Some(bytes) = self.store.signature(sequence).await? else { return Ok(None) };
        let signature = Signature::from_bytes(&bytes)?;
        let is_same_key = self.signer.rosters().genesis().key().key() == key;
        Ok((is_same_key || key.verify_digest(digest, &signature)).then_some(signature))
    }

    /// Partials of all members of `roster` that answer and see what this member sees; stops at t.
    async fn pull(
        &self,
        roster: &Roster,
        checkpoint: &Checkpoint,
        own: Option<Partial>,
    ) -> Result<Vec<PartialSignature>, CheckpointError> {
        let (need, digest) = (usize::from(roster.key().threshold()), roster.digest());
        let (own_index, suspects) = (self.signer.rosters().index_in(roster), self.suspects(roster));
        let seated = self.peers.of_generation(roster.generation());
        let mut asked = JoinSet::new();
        for member in roster.members().iter().map(|member| member.index).filter(|index| Some(*index) != own_index) {
            let (peers, sequence) = (seated.clone(), checkpoint.sequence);
            asked.spawn(async move { (member, peers.pull_partial(member, sequence).await) });
        }
        let has_promised = own.is_some();
        let own = own_index.zip(own).map(|(index, own)| PartialSignature { index, signature: own.signature });
        let mut partials: Vec<_> = own.into_iter().collect();
        let mut others = BTreeMap::<(B256, B256), BTreeSet<u8>>::new();
        // Suspects do not count: what they say may be worthless again.
        while let Some(answer) = asked.join_next().await {
            let Ok((member, answer)) = answer else { continue };
            match answer {
                Ok(Some(partial)) if partial.roster != digest => {
                    debug!(
                        member,
                        theirs = partial.generation,
                        ours = roster.generation(),
                        "part of another generation"
                    );
                }
                Ok(Some(partial)) if (partial.history, partial.root) == (checkpoint.history, checkpoint.root) => {
                    partials.push(PartialSignature { index: member, signature: partial.signature });
                    if trusted(&partials, &suspects) >= need {
                        break;
                    }
                }
                Ok(Some(partial)) => {
                    warn!(member, sequence = checkpoint.sequence, ours = %checkpoint.history,
                        theirs = %partial.history, "member sees another history");
                    let same = others.entry((partial.history, partial.root)).or_default();
                    same.insert(member);
                    // Who has promised nothing stands still and looks where the views part (`divergence.rs`).
                    if same.len() >= need && has_promised {
                        let members = same.iter().copied().collect();
                        return Err(CheckpointError::Diverged { sequence: checkpoint.sequence, members });
                    }
                }
                Ok(None) => {}
                Err(error) => debug!(member, %error, "no partial signature"),
            }
        }
        Ok(partials)
    }

    fn suspects(&self, roster: &Roster) -> BTreeSet<u8> {
        let digest = roster.digest();
        let of_roster = |(roster, index): &(B256, u8)| (*roster == digest).then_some(*index);
        self.held_suspects().iter().filter_map(of_roster).collect()
    }

    fn suspect(&self, roster: &Roster, culprits: BTreeSet<u8>) {
        let digest = roster.digest();
        for member in culprits {
            warn!(member, generation = roster.generation(), "member gave a bad partial signature");
            self.held_suspects().insert((digest, member));
        }
    }

    fn held_suspects(&self) -> MutexGuard<'_, BTreeSet<(B256, u8)>> {
        self.suspects.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How many members, this one among them, have the history of `checkpoint`, as soon as there are `need` of them. Who lags or has
/// something else does not count and decides nothing, and who is silent is not waited for while others are enough.
async fn alike(checkpoint: &Checkpoint, need: usize, mut asked: JoinSet<(u8, Result<HistoryAt, PeerError>)>) -> usize {
    let (mut same, sequence) = (1_usize, checkpoint.sequence);
    while same < need
        && let Some(answer) = asked.join_next().await
    {
        match answer {
            Ok((_, Ok(at))) if (at.sequence, at.history) == (sequence, checkpoint.history) => {
                same = same.saturating_add(1);
            }
            Ok((member, Ok(at))) => debug!(member, sequence, applied = at.applied, "member has not the same history"),
            Ok((member, Err(error))) => debug!(member, %error, "no history"),
            Err(_) => {}
        }
    }
    same
}

/// How many parts come from members that never gave a bad one.
fn trusted(partials: &[PartialSignature], suspects: &BTreeSet<u8>) -> usize {
    partials.iter().filter(|partial| !suspects.contains(&partial.index)).count()
}

/// Why no checkpoint can be signed.
#[derive(Debug, Error)]
pub enum CheckpointError {
    /// The store refused, perhaps because of a contradiction.
    #[error("the checkpoint's promise cannot be kept")]
    Store(#[from] StoreError),
    /// A stored signature is none.
    #[error("a stored group signature is not a point of the curve")]
    Signature(#[from] BlsError),
    /// The signature is made, and an old share is still there.
    #[error("the new generation signs, and the old share is still there")]
    Erase(#[from] EraseError),
    /// Good partials that do not make the group's signature: the group file is wrong.
    #[error("contradiction: {0}")]
    Recover(#[from] RecoverError),
    /// t members agree on another history than the one that this member has signed: its view of the ledger was wrong, or t
    /// members are traitors.
    #[error("contradiction: members {members:?} agree on another history at sequence {sequence} than this member")]
    Diverged {
        /// Where.
        sequence: u64,
        /// Who.
        members: Vec<u8>,
    },
}

impl CheckpointError {
    /// True where this member must stop signing (exit code 70).
    pub const fn is_contradiction(&self) -> bool {
        match self {
            Self::Store(error) => error.is_contradiction(),
            Self::Erase(EraseError::Store(error)) => error.is_contradiction(),
            Self::Signature(_) | Self::Erase(EraseError::Keys(_)) => false,
            Self::Recover(_) | Self::Diverged { .. } => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// What one of the others does when it is asked where its history stands at sequence 9.
    #[derive(Clone, Copy)]
    enum Other {
        Same,
        Lags,
        Lies,
        Silent,
    }

    async fn counted(others: [Other; 3], wait: Duration) -> Option<usize> {
        let checkpoint = Checkpoint { sequence: 9, history: B256::repeat_byte(1), root: B256::ZERO };
        let mut asked = JoinSet::new();
        for (member, other) in (2..).zip(others) {
            asked.spawn(async move {
                let (sequence, history) = match other {
                    Other::Same => (9, B256::repeat_byte(1)),
                    Other::Lags => (7, B256::repeat_byte(2)),
                    Other::Lies => (9, B256::repeat_byte(3)),
                    Other::Silent => std::future::pending().await,
                };
                (member, Ok(HistoryAt { at: 9, applied: sequence, sequence, history, next: None }))
            });
        }
        tokio::time::timeout(wait, alike(&checkpoint, 3, asked)).await.ok()
    }

    #[tokio::test]
    async fn one_that_is_silent_lags_or_lies_should_not_keep_three_from_signing() {
        use Other::{Lags, Lies, Same, Silent};
        let long = Duration::from_secs(60);
        for other in [Silent, Lags, Lies] {
            for others in [[other, Same, Same], [Same, other, Same], [Same, Same, other]] {
                assert_eq!(counted(others, long).await, Some(3));
            }
        }
        assert_eq!(counted([Same, Lags, Lies], long).await, Some(2), "two have not signed for three");
        assert_eq!(counted([Same, Lags, Silent], Duration::from_millis(20)).await, None, "it might still say so");
    }

    #[test]
    fn a_liar_that_answers_first_should_not_make_us_wait_for_everybody() {
        let partials = [3, 1, 2, 4].map(|index| PartialSignature { index, signature: [0; 48] });
        let liar = BTreeSet::from([3]);
        assert_eq!([1, 3, 4].map(|answers| trusted(&partials[..answers], &liar)), [0, 2, 3]);
    }
}
