//! Seeds of payouts' keys (DERIVATION.md C1): a member's part of one for those who need it, and the whole from t parts.
//!
//! A seed is the group's signature over (payout, attempt) under a ciphersuite of its own, made with the key that verified
//! decisions at the payout's place in the order ([`Derived::key`]). The ledger's order alone says which that is, whatever
//! ceremonies somebody knows of: so every member comes to the same seed, whichever t of them answer, before and after a
//! handover. Shares of a key are kept for as long as a payout may need one (`wanted.rs`).
//!
//! Whoever knows a seed can ask the key service for the keys before they are used, and spoil the attempt with a coin of its
//! own. So a part is given only to members who can spend the payout's coins, only for a payout that was derived here, and for
//! an attempt that is open here: for the next one, after this member itself has seen the proof that the one before is dead.
//! A member that came after the coins' address never has the dead payload, and so no proof of its own: it goes by more of
//! those who have than may be faulty. Nothing of it is logged.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use lockstep_core::bls::{PublicKey, Signature};
use lockstep_core::derive::Derived;
use lockstep_core::group::Group;
use lockstep_core::group::roster::Roster;
use lockstep_core::payout::{SEED_DST, Seed, seed_digest};
use lockstep_core::{B256, Uuid};
use tracing::{debug, warn};

use super::PayoutError;
use super::origin::address_of;
use super::step::Job;
use crate::secrets::{Refusal, SHARINGS_MAX, Secrets, Wanted};
use crate::signer::Signer;
use crate::store::{Store, StoreError};
use crate::world::peer::{PullPayouts, SecretPart, SeedQuestion};

/// Payouts of others of which it is remembered who asked for a later attempt.
const VOUCHED_MAX: usize = 4_096;

/// The latest attempt that is open to each who said so, by identity key.
type Vouchers = BTreeMap<[u8; 32], u32>;

/// This member's hand in seeds. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Seeds {
    group: Arc<Group>,
    secrets: Secrets,
    store: Store,
    /// Of payouts whose coins this member cannot spend: the latest attempt that is open to each who asked. A restart may forget
    /// it, for they ask again.
    vouchers: Arc<Mutex<BTreeMap<Uuid, Vouchers>>>,
    /// Keys of whose holders nothing is known here: said once.
    strangers: Arc<Mutex<BTreeSet<[u8; 96]>>>,
}

/// What came of looking for a seed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Sought {
    /// Here it is.
    Found(Seed),
    /// Everybody else answered, and nobody gives a part: the attempt is open nowhere.
    Nowhere,
    /// Not enough members gave a part.
    Waits,
}

impl Seeds {
    /// The seeds of the payouts in `store`, with the shares of `signer`.
    pub fn new(group: Arc<Group>, signer: Signer, store: Store) -> Self {
        let (vouchers, strangers) = Default::default();
        Self { group, secrets: Secrets::new(signer, "seed", SEED_DST), store, vouchers, strangers }
    }

    /// What a member is given of the seed of an attempt: all of it where it is known here, else this member's part under its
    /// share in the sharing `roster`. `None` where that member or this attempt has no claim, or there is no such share.
    ///
    /// # Errors
    /// A member that was stopped, for nobody must take its silence for word that it knows nothing; what the store reports; a
    /// history other than the group's, as [`Signer::share_of`].
    pub async fn answer(&self, asker: &[u8; 32], question: SeedQuestion) -> Result<Option<SecretPart>, Refusal> {
        let SeedQuestion { trace, attempt, roster, .. } = question;
        if self.store.signing_stopped().await?.is_some() {
            return Err(Refusal::Stopped);
        }
        let Some((derived, attempts)) = self.store.payout(trace).await? else { return Ok(None) };
        let Some(address) = address_of(&self.store, &self.group, &derived).await? else { return Ok(None) };
        if !self.signer().rosters().may_spend(asker, address) {
            debug!(payout = %trace, "a member that cannot spend its coins asked for a seed");
            return Ok(None);
        }
        if attempt > attempts.number() && !self.is_vouched(asker, question, address) {
            return Ok(None);
        }
        let key = self.key_of(&derived)?;
        if let Some(signature) = self.store.seed((trace, attempt), &key.compress()).await? {
            return Ok(Some(SecretPart::Whole { signature }));
        }
        let sharings = self.signer().rosters().sharings(&key);
        let Some(roster) = sharings.iter().find(|sharing| sharing.digest() == roster) else { return Ok(None) };
        let digest = seed_digest(&self.group.id(), trace, attempt);
        let part = self.secrets.own_part(roster, &digest).await?;
        Ok(part.map(|part| SecretPart::Part { signature: part.signature }))
    }

    /// Whether so many who can spend the coins have this attempt open that one of them must be honest. Only where this member
    /// itself cannot spend them, and so cannot look for the proof.
    fn is_vouched(&self, asker: &[u8; 32], question: SeedQuestion, address: u32) -> bool {
        let SeedQuestion { trace, attempt, is_open, .. } = question;
        let spenders = self.signer().rosters().spenders(address);
        let Some(spenders) = spenders.filter(|spenders| is_open && spenders.own.is_none()) else { return false };
        let faulty = spenders.group.members().len().saturating_sub(spenders.threshold);
        let mut vouchers = self.vouchers.lock().unwrap_or_else(PoisonError::into_inner);
        if vouchers.len() >= VOUCHED_MAX && !vouchers.contains_key(&trace) {
            vouchers.pop_first();
        }
        let vouched = vouchers.entry(trace).or_default();
        let latest = vouched.entry(*asker).or_default();
        *latest = attempt.max(*latest);
        vouched.values().filter(|latest| **latest >= attempt).count() > faulty
    }

    /// The key that the seeds of a derived transaction are made with.
    fn key_of(&self, derived: &Derived) -> Result<PublicKey, StoreError> {
        let decided = derived.key.as_ref().map(|key| PublicKey::from_bytes(key.as_slice())).transpose();
        let decided = decided.map_err(|_| StoreError::Corrupt { what: "key of a derived transaction" })?;
        Ok(decided.unwrap_or_else(|| *self.signer().rosters().genesis().key().key()))
    }

    const fn signer(&self) -> &Signer {
        self.secrets.signer()
    }

    /// The seed of an attempt: as kept, as another member has it, or from t parts. What is found is verified, and kept. Of an
    /// attempt that is not open here this member gives no part of its own.
    pub(super) async fn seek<P: PullPayouts>(
        &self,
        open: &Job,
        attempt: u32,
        peers: &P,
    ) -> Result<Sought, PayoutError> {
        let key = self.key_of(&open.derived)?;
        if let Some(signature) = self.store.seed((open.id, attempt), &key.compress()).await? {
            let signature = Signature::from_bytes(&signature).map_err(|_| StoreError::Corrupt { what: "seed" })?;
            return Ok(Sought::Found(Seed::of_signature(&signature)));
        }
        let digest = seed_digest(&self.group.id(), open.id, attempt);
        let is_open = attempt <= open.attempts.number() && self.store.signing_stopped().await?.is_none();
        let sharings = self.signer().rosters().sharings(&key);
        // Who holds the shares may be unknown here, to who left before a fresh key. Others who can spend the coins know.
        let is_known = !sharings.is_empty();
        let sharings = sharings.iter().map(Some).take(SHARINGS_MAX).chain((!is_known).then_some(None));
        let mut is_nowhere = is_known;
        for roster in sharings.map(|roster| roster.map(Arc::as_ref)) {
            let own = match roster {
                Some(roster) if is_open => self.secrets.own_part(roster, &digest).await?,
                Some(_) | None => None,
            };
            let question =
                SeedQuestion { trace: open.id, attempt, is_open, roster: roster.map_or(B256::ZERO, Roster::digest) };
            let mut seats: BTreeSet<_> = roster.map(|roster| self.secrets.holders(roster)).unwrap_or_default();
            // They may have made it already.
            seats.extend(open.set.others.iter().copied());
            let wanted = Wanted { digest: &digest, key: &key, roster, patience: Duration::MAX };
            let heard = self.secrets.gather(wanted, own, seats, |seat| peers.pull_seed(seat, question)).await?;
            is_nowhere &= heard.is_nowhere;
            let Some(signature) = heard.signature else { continue };
            self.store.save_seed((open.id, attempt), &key.compress(), &signature.compress()).await?;
            debug!(payout = %open.id, attempt, "the seed of its keys is known");
            return Ok(Sought::Found(Seed::of_signature(&signature)));
        }
        if !is_known && self.strangers.lock().unwrap_or_else(PoisonError::into_inner).insert(key.compress()) {
            warn!(payout = %open.id, key = hex::encode(key.compress()),
                "nobody told this member who holds the group's key that was decided, which the payout needs, and no other \
                 member that can spend its coins knows its seed: put the generation-<g>.toml of that key into the folder");
        }
        Ok(if is_nowhere { Sought::Nowhere } else { Sought::Waits })
    }
}
