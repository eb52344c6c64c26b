//! Masks of the senders of private processes (DERIVATION.md A): a member's part of one for the others, and the whole from t.
//!
//! An output that needs a mask is not applied before the mask is known, so whoever is to make it has read, settled and verified
//! the payment: a part is given only for a sender that this member met like that. The group's key is the one in force at its place.
//! Every member comes to the same mask, whichever t of them answer; later it is told whole.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::TryStreamExt as _;
use futures_util::stream;
use lockstep_core::B256;
use lockstep_core::bls::{PublicKey, RecoverError};
use lockstep_core::group::roster::Roster;
use lockstep_core::mask::{MASK_DST, MaskPair};
use thiserror::Error;
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use crate::driver::{Input, Progress, Unmasked};
use crate::peer::PeerClient;
use crate::secrets::{Refusal, SHARINGS_MAX, Secrets, Wanted};
use crate::signer::Signer;
use crate::store::{MaskRow, Store, StoreError};
use crate::world::peer::{MaskQuestion, SecretPart};

/// Between two rounds of questions while a mask is wanted: others may still be on their way to its place.
const PAUSE: Duration = Duration::from_millis(250);
/// How long the first round waits for answers, while too few have come. It doubles from round to round, for a slow member may be
/// one of the t.
const PATIENCE: Duration = Duration::from_millis(500);
/// Doublings of that; peers that say nothing are given up before.
const DOUBLINGS_MAX: u32 = 4;
/// Masks of following outputs that are sought at once.
const SEEKS_AT_ONCE: usize = 4;
/// Rounds after which an operator is told that nobody is known who could make the mask.
const ROUNDS_UNTIL_TOLD: u32 = 20;
/// How long following outputs may keep the one that could go on.
const FOLLOWING_WITHIN: Duration = Duration::from_secs(1);

/// This member's hand in masks. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Masks {
    group_id: B256,
    secrets: Secrets,
    store: Store,
}

impl Masks {
    /// The masks of a group, with the shares of `signer`.
    pub fn new(group_id: B256, signer: Signer, store: Store) -> Self {
        Self { group_id, secrets: Secrets::new(signer, "mask", MASK_DST), store }
    }

    /// What a member is given of a mask: all of it where it is known here, else this member's part under its share in the
    /// sharing `roster`. `None` where the sender was not met here yet, or there is no such share.
    ///
    /// # Errors
    /// A member that was stopped; what the store reports; a history other than the group's, as [`Signer::share_of`].
    pub async fn answer(&self, question: MaskQuestion) -> Result<Option<SecretPart>, Refusal> {
        let MaskQuestion { pair, key, roster } = question;
        if self.store.signing_stopped().await?.is_some() {
            return Err(Refusal::Stopped);
        }
        match self.store.mask(&pair, &key).await? {
            None => return Ok(None),
            Some(MaskRow::Made(signature)) => return Ok(Some(SecretPart::Whole { signature })),
            Some(MaskRow::Wanted) => {}
        }
        let Ok(key) = PublicKey::from_bytes(&key) else { return Ok(None) };
        let sharings = self.secrets.signer().rosters().sharings(&key);
        let Some(roster) = sharings.iter().find(|sharing| sharing.digest() == roster) else { return Ok(None) };
        let part = self.secrets.own_part(roster, &pair.digest(&self.group_id)).await?;
        Ok(part.map(|part| SecretPart::Part { signature: part.signature }))
    }

    /// Seeks the masks that outputs wait for until told to stop.
    ///
    /// # Errors
    /// What the store reports, and good parts that do not make the group's signature.
    pub async fn run(
        self,
        peers: PeerClient,
        mut progress: watch::Receiver<Progress>,
        inputs: mpsc::Sender<Input>,
        stop: CancellationToken,
    ) -> Result<(), MaskError> {
        let seeking = async {
            let mut round = Round::default();
            while let Some(wanted) = next_wanted(&mut progress).await {
                if !self.seek(wanted.pair, &wanted, &peers, round.of(&wanted)).await? {
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
                // Whoever has that one has come to the same place, and probably to what is behind it.
                if let Ok(sought) = timeout(FOLLOWING_WITHIN, self.seek_following(&wanted, &peers)).await {
                    sought?;
                }
                // A driver that is gone takes the service with it.
                let _ = inputs.send(Input::Masked).await;
                let _ = progress.wait_for(|progress| progress.unmasked.as_ref() != Some(&wanted)).await;
            }
            Ok(())
        };
        // Cancel-safe: what is found is kept at once, and anything else can be asked again.
        tokio::select! {
            () = stop.cancelled() => Ok(()),
            ended = seeking => ended,
        }
    }

    async fn seek_following(&self, wanted: &Unmasked, peers: &PeerClient) -> Result<(), MaskError> {
        let following = stream::iter(wanted.following.iter().map(Ok));
        let seek = async |pair: &MaskPair| self.seek(*pair, wanted, peers, 0).await.map(drop);
        following.try_for_each_concurrent(SEEKS_AT_ONCE, seek).await
    }

    /// True once a mask is kept: as another member has it, or from t parts. What is found is verified.
    async fn seek(&self, pair: MaskPair, wanted: &Unmasked, peers: &PeerClient, round: u32) -> Result<bool, MaskError> {
        let Unmasked { key, output, .. } = wanted;
        let (digest, compressed) = (pair.digest(&self.group_id), key.compress());
        if let Some(MaskRow::Made(_)) = self.store.mask(&pair, &compressed).await? {
            return Ok(true);
        }
        let is_stopped = self.store.signing_stopped().await?.is_some();
        let sharings = self.secrets.signer().rosters().sharings(key);
        // Who holds the shares may be unknown here. Who signs now may have applied the output, and tells the mask whole.
        let is_known = !sharings.is_empty();
        let patience = PATIENCE.saturating_mul(2_u32.saturating_pow(round.min(DOUBLINGS_MAX)));
        let sharings = sharings.iter().map(Some).take(SHARINGS_MAX).chain((!is_known).then_some(None));
        for roster in sharings.map(|roster| roster.map(Arc::as_ref)) {
            let own = match roster {
                Some(roster) if !is_stopped => self.secrets.own_part(roster, &digest).await?,
                Some(_) | None => None,
            };
            let mut seats: BTreeSet<_> = roster.map(|roster| self.secrets.holders(roster)).unwrap_or_default();
            seats.extend(self.secrets.holders(&self.secrets.signer().rosters().active()));
            let question = MaskQuestion { pair, key: compressed, roster: roster.map_or(B256::ZERO, Roster::digest) };
            let ask = |seat| peers.pull_mask(seat, question);
            let heard = self.secrets.gather(Wanted { digest: &digest, key, roster, patience }, own, seats, ask).await?;
            let Some(signature) = heard.signature else { continue };
            self.store.save_mask(&pair, &compressed, &signature.compress()).await?;
            info!(process = %pair.process, "a new sender of a private process has a mask");
            return Ok(true);
        }
        if !is_known && round == ROUNDS_UNTIL_TOLD {
            warn!(%output, key = hex::encode(compressed),
                "nobody told this member who holds the group's key that was decided, which this output and all behind it wait \
                 for, and no other member tells the mask: put the generation-<g>.toml of that key into the folder");
        }
        debug!(process = %pair.process, is_known, round, "no mask yet");
        Ok(false)
    }
}

/// How often the members were asked for a mask.
#[derive(Debug, Default)]
struct Round {
    pair: Option<MaskPair>,
    number: u32,
}

impl Round {
    /// The number of the next round for what is wanted, from 0.
    fn of(&mut self, wanted: &Unmasked) -> u32 {
        let again = self.pair.replace(wanted.pair) == Some(wanted.pair);
        self.number = if again { self.number.saturating_add(1) } else { 0 };
        self.number
    }
}

/// The next sender without a mask; `None` when the driver is gone.
async fn next_wanted(progress: &mut watch::Receiver<Progress>) -> Option<Unmasked> {
    let progress = progress.wait_for(|progress| progress.unmasked.is_some()).await.ok()?;
    progress.unmasked.clone()
}

/// Why no masks are sought any more.
#[derive(Debug, Error)]
pub enum MaskError {
    /// The store, or a history other than the group's.
    #[error("a mask cannot be kept")]
    Store(#[from] StoreError),
    /// Good parts that do not make the group's signature: the group file is wrong.
    #[error("contradiction: a mask cannot be made")]
    Recover(#[from] RecoverError),
}

impl MaskError {
    /// True where a person must look before this member goes on (exit code 70).
    pub const fn is_contradiction(&self) -> bool {
        match self {
            Self::Store(error) => error.is_contradiction(),
            Self::Recover(_) => true,
        }
    }
}

#[cfg(test)]
mod tests;
