//! Signatures of the group that stay among its members: what the keys of payouts come from (seeds), and the accounts that
//! private processes see (masks).
//!
//! Made like every signature of the group, from t parts, recovered optimistically and verified once. They differ in two things:
//! whoever has one gives it whole, for it is the same whichever t members made it; and it may have to be made with a key that
//! is not the group's any more, so it is asked of those who hold shares of that one.

use std::collections::BTreeSet;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt};
use lockstep_core::B256;
use lockstep_core::bls::{PartialSignature, PublicKey, RecoverError, Signature};
use lockstep_core::group::roster::Roster;
use thiserror::Error;
use tokio::time::sleep;
use tracing::{debug, warn};

use crate::signer::Signer;
use crate::store::StoreError;
use crate::world::chain::Cause;
use crate::world::peer::{Seat, SecretPart};

/// Sharings of a key that are tried: the one that signs, and the one before, whose members may not know it yet.
pub const SHARINGS_MAX: usize = 2;

/// One kind of them, as this member gathers it. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Secrets {
    signer: Signer,
    /// For the log.
    kind: &'static str,
    /// Ciphersuite.
    dst: &'static [u8],
    /// Seats that once gave something wrong: their parts are used last and checked first, and it is said once.
    suspects: Arc<Mutex<BTreeSet<Seat>>>,
}

/// Why nothing is given, where that says nothing about the secret.
#[derive(Debug, Error)]
pub enum Refusal {
    /// Its operator stopped this member.
    #[error("this member signs nothing, as its operator said")]
    Stopped,
    /// The store, or a history other than the group's.
    #[error("this member cannot say")]
    Store(#[from] StoreError),
}

/// What is gathered.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// What the group signs.
    pub digest: &'a B256,
    /// With which key.
    pub key: &'a PublicKey,
    /// The sharing of that key whose parts are asked for; `None` where no holder of one is known here, and others may only tell
    /// what they have.
    pub roster: Option<&'a Roster>,
    /// How long answers are waited for while they are too few.
    pub patience: Duration,
}

/// What members said.
#[derive(Debug, Default)]
pub struct Heard {
    /// The group's signature, verified.
    pub signature: Option<Signature>,
    /// All of them answered, and none gave anything.
    pub is_nowhere: bool,
}

impl Secrets {
    /// Secrets of a `kind`, under the ciphersuite `dst`.
    pub fn new(signer: Signer, kind: &'static str, dst: &'static [u8]) -> Self {
        Self { signer, kind, dst, suspects: Arc::default() }
    }

    /// The generations, and this member's shares.
    pub const fn signer(&self) -> &Signer {
        &self.signer
    }

    /// This member's part under its share in a sharing, if it has one and may sign.
    ///
    /// # Errors
    /// As [`Signer::share_of`].
    pub async fn own_part(&self, roster: &Roster, digest: &B256) -> Result<Option<PartialSignature>, StoreError> {
        let share = self.signer.share_of(roster).await?;
        Ok(share.map(|share| share.sign(digest.as_slice(), self.dst)))
    }

    /// The others who hold shares of a sharing.
    pub fn holders(&self, roster: &Roster) -> BTreeSet<Seat> {
        let (generation, own) = (roster.generation(), self.signer.rosters().index_in(roster));
        let others = roster.members().iter().map(|member| member.index).filter(|index| Some(*index) != own);
        others.map(|index| Seat { generation, index }).collect()
    }

    /// Asks `seats` all at once, until one gives the signature whole or t have given parts.
    ///
    /// # Errors
    /// Good parts that do not make the group's signature: the group file is wrong.
    pub async fn gather<F>(
        &self,
        wanted: Wanted<'_>,
        own: Option<PartialSignature>,
        seats: BTreeSet<Seat>,
        ask: impl Fn(Seat) -> F,
    ) -> Result<Heard, RecoverError>
    where
        F: Future<Output = Result<Option<SecretPart>, Cause>>,
    {
        let Wanted { digest, key, roster, patience } = wanted;
        let asked = seats.into_iter().map(|seat| {
            let answer = ask(seat);
            async move { (seat, answer.await) }
        });
        let mut answers = asked.collect::<FuturesUnordered<_>>().take_until(Box::pin(sleep(patience)));
        let (mut parts, mut is_nowhere) = (own.into_iter().collect::<Vec<_>>(), true);
        while let Some((seat, answer)) = answers.next().await {
            match answer {
                Ok(None) => {}
                Err(error) => {
                    is_nowhere = false;
                    debug!(member = seat.index, kind = self.kind, error, "no answer about a secret");
                }
                Ok(Some(SecretPart::Whole { signature })) => match Signature::from_bytes(&signature) {
                    Ok(signature) if key.verify(digest.as_slice(), self.dst, &signature) => {
                        return Ok(Heard { signature: Some(signature), is_nowhere: false });
                    }
                    Ok(_) | Err(_) => self.suspect(seat),
                },
                Ok(Some(SecretPart::Part { signature })) => {
                    is_nowhere = false;
                    let Some(roster) = roster.filter(|roster| roster.generation() == seat.generation) else { continue };
                    parts.push(PartialSignature { index: seat.index, signature });
                    if self.trusted(&parts, seat.generation) >= usize::from(roster.key().threshold()) {
                        break;
                    }
                }
            }
        }
        is_nowhere &= answers.take_result().is_none();
        let Some(roster) = roster else { return Ok(Heard { signature: None, is_nowhere }) };
        Ok(Heard { signature: self.recover(roster, digest, &parts)?, is_nowhere })
    }

    fn recover(
        &self,
        roster: &Roster,
        digest: &B256,
        parts: &[PartialSignature],
    ) -> Result<Option<Signature>, RecoverError> {
        let generation = roster.generation();
        let of_roster = |seat: &Seat| (seat.generation == generation).then_some(seat.index);
        let suspects = self.suspects().iter().filter_map(of_roster).collect();
        let (signature, culprits) = match roster.key().recover(digest.as_slice(), self.dst, parts, &suspects) {
            Ok(recovered) => (Some(recovered.signature), recovered.culprits),
            Err(RecoverError::TooFew { need, good, culprits }) => {
                debug!(kind = self.kind, good, need, "too few parts of a secret yet");
                (None, culprits)
            }
            Err(error @ RecoverError::Inconsistent) => return Err(error),
        };
        culprits.into_iter().for_each(|index| self.suspect(Seat { generation, index }));
        Ok(signature)
    }

    /// How many parts come from members that never gave a wrong one.
    fn trusted(&self, parts: &[PartialSignature], generation: u32) -> usize {
        let suspects = self.suspects();
        parts.iter().filter(|part| !suspects.contains(&Seat { generation, index: part.index })).count()
    }

    fn suspect(&self, seat: Seat) {
        if self.suspects().insert(seat) {
            warn!(
                member = seat.index,
                generation = seat.generation,
                kind = self.kind,
                "member gave a wrong part of a secret"
            );
        }
    }

    fn suspects(&self) -> MutexGuard<'_, BTreeSet<Seat>> {
        self.suspects.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
