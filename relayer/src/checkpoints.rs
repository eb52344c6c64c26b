//! Signed checkpoints: this member's own partial, and the group's signature recovered from pulled ones.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use lockstep_core::B256;
use lockstep_core::bls::{BlsError, PartialSignature, RecoverError, SecretShare, Signature};
use lockstep_core::checkpoint::Checkpoint;
use lockstep_core::group::Group;
use thiserror::Error;
use tokio::task::JoinSet;
use tracing::{debug, info, warn};

use crate::peer::{Partial, PeerClient};
use crate::store::{StepRow, Store, StoreError};

/// Signs checkpoints for this member and recovers the group's signature. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Checkpoints {
    group: Arc<Group>,
    share: Arc<SecretShare>,
    store: Store,
    peers: PeerClient,
    /// Members that once gave a bad partial: theirs are used last and checked first.
    suspects: Arc<Mutex<BTreeSet<u8>>>,
}

impl Checkpoints {
    /// The checkpoints of `group` as the owner of `share` signs them.
    pub fn new(group: Arc<Group>, share: Arc<SecretShare>, store: Store, peers: PeerClient) -> Self {
        Self { group, share, store, peers, suspects: Arc::default() }
    }

    /// This member's partial signature for the checkpoint at `sequence`; `None` while that is not applied here. The promise is
    /// durable before the signature exists.
    ///
    /// # Errors
    /// Another digest once signed for the same sequence is a contradiction.
    pub async fn own(&self, sequence: u64) -> Result<Option<Partial>, StoreError> {
        let Some(StepRow { checkpoint, .. }) = self.store.step(sequence).await? else { return Ok(None) };
        let digest = checkpoint.digest(&self.group.id());
        self.store.guard_checkpoint(sequence, digest).await?;
        let PartialSignature { signature, .. } = self.share.sign_digest(&digest);
        Ok(Some(Partial { sequence, history: checkpoint.history, root: checkpoint.root, signature }))
    }

    /// The checkpoint at `sequence` with the group's signature; `None` while fewer than t members answer alike.
    ///
    /// # Errors
    /// A contradiction in this member's own promises, or t members that see another history than this one does.
    pub async fn signed(&self, sequence: u64) -> Result<Option<(Checkpoint, Signature)>, CheckpointError> {
        let Some(own) = self.own(sequence).await? else { return Ok(None) };
        let checkpoint = Checkpoint { sequence, history: own.history, root: own.root };
        if let Some(bytes) = self.store.signature(sequence).await? {
            return Ok(Some((checkpoint, Signature::from_bytes(&bytes)?)));
        }
        let partials = self.pull(&checkpoint, own).await?;
        let suspects = self.suspects.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let digest = checkpoint.digest(&self.group.id());
        match self.group.key().recover_digest(&digest, &partials, &suspects) {
            Ok(recovered) => {
                self.suspect(recovered.culprits);
                self.store.save_signature(sequence, &recovered.signature.compress()).await?;
                info!(sequence, "checkpoint signed");
                Ok(Some((checkpoint, recovered.signature)))
            }
            Err(RecoverError::TooFew { need, good, culprits }) => {
                self.suspect(culprits);
                debug!(sequence, good, need, "too few partial signatures yet");
                Ok(None)
            }
            Err(error @ RecoverError::Inconsistent) => Err(error.into()),
        }
    }

    /// Partials of all members that answer and see what this member sees; stops at t.
    async fn pull(&self, checkpoint: &Checkpoint, own: Partial) -> Result<Vec<PartialSignature>, CheckpointError> {
        let need = usize::from(self.group.threshold());
        let mut asked = JoinSet::new();
        for member in self.group.members().iter().map(|member| member.index) {
            if member != self.share.index() {
                let (peers, sequence) = (self.peers.clone(), checkpoint.sequence);
                asked.spawn(async move { (member, peers.pull_partial(member, sequence).await) });
            }
        }
        let mut partials = vec![PartialSignature { index: self.share.index(), signature: own.signature }];
        let mut others = BTreeMap::<(B256, B256), BTreeSet<u8>>::new();
        // Suspects do not count: what they say may be worthless again.
        while let Some(answer) = asked.join_next().await {
            let Ok((member, answer)) = answer else { continue };
            match answer {
                Ok(Some(partial)) if (partial.history, partial.root) == (checkpoint.history, checkpoint.root) => {
                    partials.push(PartialSignature { index: member, signature: partial.signature });
                    let suspects = self.suspects.lock().unwrap_or_else(PoisonError::into_inner);
                    if trusted(&partials, &suspects) >= need {
                        break;
                    }
                }
                Ok(Some(partial)) => {
                    warn!(member, sequence = checkpoint.sequence, ours = %checkpoint.history,
                        theirs = %partial.history, "member sees another history");
                    let same = others.entry((partial.history, partial.root)).or_default();
                    same.insert(member);
                    if same.len() >= need {
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

    fn suspect(&self, culprits: BTreeSet<u8>) {
        for member in &culprits {
            warn!(member, "member gave a bad partial signature");
        }
        self.suspects.lock().unwrap_or_else(PoisonError::into_inner).extend(culprits);
    }
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
    /// Good partials that do not make the group's signature: the group file is wrong.
    #[error("contradiction: {0}")]
    Recover(#[from] RecoverError),
    /// t members agree on another history: this member's view of the ledger is wrong, or t members are traitors.
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
            Self::Signature(_) => false,
            Self::Recover(_) | Self::Diverged { .. } => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_liar_that_answers_first_should_not_make_us_wait_for_everybody() {
        let partials = [3, 1, 2, 4].map(|index| PartialSignature { index, signature: [0; 48] });
        let liar = BTreeSet::from([3]);
        assert_eq!([1, 3, 4].map(|answers| trusted(&partials[..answers], &liar)), [0, 2, 3]);
    }
}
