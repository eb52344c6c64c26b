//! Governance in the running service: signs what this member's operator approved, and nothing else, and gathers the others'
//! parts until the group has signed.
//!
//! Nothing is pushed. A proposal travels as a file between operators, or is seen by pulling what others approved; it is
//! signed here only after this operator's own command. For each number and nonce one digest is signed, ever.

mod file;
pub mod seat;
pub mod words;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt};
use lockstep_core::B256;
use lockstep_core::bls::{PartialSignature, PublicKey, RecoverError};
use lockstep_core::govern::{Place, Slot, Subject, possession_digest};
use lockstep_core::group::roster::Marks;
use lockstep_core::machine::ContractPlace;
use lockstep_core::operation::{DecisionBody, group_key_digest};
use lockstep_core::trace::ChainId;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

use crate::backoff::Backoff;
use crate::clock::unix_seconds;
use crate::evm::governance::{ContractState, read_contract};
use crate::evm::provider::EvmProvider;
use crate::peer::{AskGovernance, GovernanceAnswer, PeerClient};
use crate::signer::Signer;
use crate::store::{ActedDecision, GroupSigned, ProposalRow, SigningSwitch, Store, StoreError};

use self::seat::Seat;

pub use file::{ProposalFile, ProposalFileError};

/// Between two rounds: operators wait for what they approved.
const ROUND: Duration = Duration::from_secs(1);
/// Other members are asked for proposals each so many rounds.
const LIST_ROUNDS: u32 = 5;
/// Pages of proposals that are asked of one member at a time.
const PAGES_MAX: usize = 16;
/// Bytes of proposals in one answer: below what a body may have.
const PAGE_BYTES_MAX: usize = 48 * 1024;
/// How far a decision's number may lie above the last one that acted or that a roster's marks name.
const NUMBERS_AHEAD: u64 = 1_024;

/// What governance reads that never changes.
#[derive(Clone, Debug)]
pub struct Constitution {
    /// The group.
    pub group_id: B256,
    /// Its contracts.
    pub places: BTreeMap<ChainId, ContractPlace>,
    /// The key that the group began with.
    pub first_key: PublicKey,
}

impl Constitution {
    /// The key that decisions are verified with, after those that acted.
    pub fn decision_key(&self, acted: &[ActedDecision]) -> [u8; 96] {
        let newer = |held: (u32, [u8; 96]), decision: &ActedDecision| {
            if let DecisionBody::Key { generation, key, .. } = decision.body
                && generation > held.0
            {
                (generation, key)
            } else {
                held
            }
        };
        acted.iter().fold((0, self.first_key.compress()), newer).1
    }

    /// What a new key signs to prove that it is held; `None` for a chain that the group does not serve, or no key.
    pub fn possession(&self, chain: Option<ChainId>, generation: u32, key: &[u8; 96]) -> Option<B256> {
        let Some(chain) = chain else { return Some(group_key_digest(&self.group_id, generation, key)) };
        let place = Place::new(self.group_id, chain, *self.places.get(&chain)?);
        Some(possession_digest(&place, generation, &PublicKey::from_bytes(key).ok()?))
    }
}

/// Signs and gathers. Cheap to clone; clones share what they know of the contracts.
#[derive(Clone, Debug)]
pub struct Governance {
    constitution: Arc<Constitution>,
    signer: Signer,
    store: Store,
    contracts: Arc<RwLock<BTreeMap<ChainId, ContractState>>>,
}

impl Governance {
    /// The governance of a group as the owner of `signer` takes part in it.
    pub fn new(constitution: Constitution, signer: Signer, store: Store) -> Self {
        Self { constitution: Arc::new(constitution), signer, store, contracts: Arc::default() }
    }

    /// Where each contract stands, as last seen.
    pub fn contracts(&self) -> BTreeMap<ChainId, ContractState> {
        self.contracts.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What a member asks; `None` where there is nothing to say.
    ///
    /// # Errors
    /// What the store reports.
    pub async fn answer(&self, ask: AskGovernance) -> Result<Option<GovernanceAnswer>, StoreError> {
        let part = match ask {
            AskGovernance::Approved { after } => return self.approved(after).await.map(Some),
            AskGovernance::Partial { digest, roster, key } => match self.seat(&key, roster).await? {
                Some(seat) => self.own_part(digest, &key, &seat).await?,
                None => None,
            },
            AskGovernance::Possession { chain, roster, key } => match self.seat(&key, roster).await? {
                Some(seat) => self.possession(chain, &key, &seat).await?,
                None => None,
            },
        };
        Ok(part.map(|part| GovernanceAnswer::Part { signature: part.signature }))
    }

    async fn approved(&self, after: Option<B256>) -> Result<GovernanceAnswer, StoreError> {
        let mut rows = self.store.proposals().await?;
        rows.retain(|row| row.approved_at.is_some() && after.is_none_or(|after| row.digest > after));
        rows.sort_by_key(|row| row.digest);
        let (mut proposals, mut bytes) = (Vec::new(), 0_usize);
        for ProposalRow { subject, .. } in rows {
            let length = serde_json::to_vec(&subject).map_or(PAGE_BYTES_MAX, |text| text.len());
            bytes = bytes.saturating_add(length);
            // A body for 64 members has 2 KB, so at least one always fits.
            if bytes > PAGE_BYTES_MAX {
                break;
            }
            proposals.push(subject);
        }
        Ok(GovernanceAnswer::Approved { proposals })
    }

    /// This member's seat among those who sign with a key, if they are the members of the roster that is asked for.
    async fn seat(&self, key: &[u8; 96], roster: B256) -> Result<Option<Seat>, StoreError> {
        Ok(Seat::of_key(&self.signer, key).await?.filter(|seat| seat.roster() == roster))
    }

    /// This member's part over what its operator approved, by its seat among those who sign with the key that the proposal
    /// needs. The promise is durable before the part exists.
    async fn own_part(
        &self,
        digest: B256,
        key: &[u8; 96],
        seat: &Seat,
    ) -> Result<Option<PartialSignature>, StoreError> {
        let Some(row) = self.store.proposal(digest).await?.filter(|row| row.approved_at.is_some()) else {
            return Ok(None);
        };
        // What has been used up is signed no more, and no key signs for what it cannot decide.
        let acted = self.store.acted_decisions().await?;
        if self.key_wanted(&row, &acted, &self.contracts()) != Some(*key) {
            return Ok(None);
        }
        let Constitution { group_id, places, .. } = &*self.constitution;
        if let Err(error) = row.subject.check(group_id, places) {
            warn!(%digest, %error, "an approved proposal is not to be signed");
            return Ok(None);
        }
        let slot = row.subject.slot();
        if is_out_of_reach(slot, &acted, &seat.marks()) {
            debug!(%digest, %slot, "not signed: too far above the last decision");
            return Ok(None);
        }
        if slot.is_covered_by(&seat.marks()) && self.store.promised_governance(slot).await? != Some(digest) {
            debug!(%digest, %slot, "not signed: the members before may have signed something else for it");
            return Ok(None);
        }
        // Nobody has said yet how far this member was seen: not yet.
        if !self.store.may_promise() {
            return Ok(None);
        }
        match self.store.guard_governance(slot, digest).await {
            Ok(()) => Ok(Some(seat.sign(&digest))),
            Err(error @ (StoreError::Taken { .. } | StoreError::Stopped { .. })) => {
                debug!(%digest, %error, "not signed");
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// This member's part of the proof that a key is held whose share it has. Says nothing but that, so it needs nobody's
    /// approval; what gives the key its power does.
    async fn possession(
        &self,
        chain: Option<ChainId>,
        key: &[u8; 96],
        seat: &Seat,
    ) -> Result<Option<PartialSignature>, StoreError> {
        if self.store.signing_stopped().await?.is_some() {
            return Ok(None);
        }
        let digest = self.constitution.possession(chain, seat.generation(), key);
        Ok(digest.map(|digest| seat.sign(&digest)))
    }

    /// Looks after proposals until told to stop.
    ///
    /// # Errors
    /// What the store reports.
    pub async fn run(self, peers: PeerClient, stop: CancellationToken) -> Result<(), StoreError> {
        let (mut round, mut stopped) = (0_u32, None);
        loop {
            let switch = self.store.signing_stopped().await?;
            if switch != stopped {
                note_switch(switch.as_ref(), &self.store).await?;
                stopped = switch;
            }
            // Cut off anywhere: a guard row stands before a part exists, and everything else is asked for again.
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                done = self.round(&peers, round.is_multiple_of(LIST_ROUNDS)) => done?,
            }
            round = round.wrapping_add(1);
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                () = tokio::time::sleep(ROUND) => {}
            }
        }
    }

    /// One round: sees what others approved, and gathers signatures for what this operator approved.
    ///
    /// # Errors
    /// What the store reports.
    pub async fn round(&self, peers: &PeerClient, list: bool) -> Result<(), StoreError> {
        if list {
            self.look_around(peers).await?;
        }
        if self.store.signing_stopped().await?.is_some() {
            return Ok(());
        }
        let acted = self.store.acted_decisions().await?;
        let contracts = self.contracts();
        for row in self.store.proposals().await? {
            let Some(key) = self.key_wanted(&row, &acted, &contracts) else { continue };
            if row.approved_at.is_some() && row.signature.is_none_or(|signed| signed.key != key) {
                self.gather(&row, &key, peers).await?;
            }
        }
        Ok(())
    }

    /// The group key that must sign a proposal now; `None` where it can have no effect any more.
    fn key_wanted(
        &self,
        row: &ProposalRow,
        acted: &[ActedDecision],
        contracts: &BTreeMap<ChainId, ContractState>,
    ) -> Option<[u8; 96]> {
        match &row.subject {
            Subject::Decision { number, .. } => {
                let open = acted.iter().all(|decision| decision.number != *number);
                open.then(|| self.constitution.decision_key(acted))
            }
            Subject::Action { place, nonce, .. } => match contracts.get(&place.chain) {
                Some(state) if *nonce < state.nonce => None,
                Some(state) => PublicKey::from_bytes(&state.key).ok().map(|key| key.compress()),
                None => Some(self.constitution.first_key.compress()),
            },
        }
    }

    async fn gather(&self, row: &ProposalRow, key: &[u8; 96], peers: &PeerClient) -> Result<(), StoreError> {
        let digest = row.digest;
        let Some(seat) = Seat::of_key(&self.signer, key).await? else { return Ok(()) };
        let Some(own) = self.own_part(digest, key, &seat).await? else { return Ok(()) };
        let ask = AskGovernance::Partial { digest, roster: seat.roster(), key: *key };
        let mut parts = vec![own];
        for part in pull(&seat, &ask, peers).await {
            self.store.note_approval(digest, part.index).await?;
            parts.push(part);
        }
        match seat.key().recover_digest(&digest, &parts, &BTreeSet::new()) {
            Ok(recovered) => {
                let signature = recovered.signature.compress();
                self.store.save_group_signature(digest, &GroupSigned { signature, key: *key }).await?;
                info!(%digest, slot = %row.subject.slot(), "the group signed a proposal; it can be submitted");
                blame(digest, &recovered.culprits);
            }
            Err(RecoverError::TooFew { good, need, culprits }) => {
                debug!(%digest, good, need, "too few members approve yet");
                blame(digest, &culprits);
            }
            Err(error @ RecoverError::Inconsistent) => error!(%digest, %error, "a proposal cannot be signed"),
        }
        Ok(())
    }

    /// Keeps what other members approved, for this operator to see.
    async fn look_around(&self, peers: &PeerClient) -> Result<(), StoreError> {
        let Constitution { group_id, places, .. } = &*self.constitution;
        let rosters = self.signer.rosters();
        let roster = rosters.active();
        let (own, peers) = (rosters.index_in(&roster), peers.of_generation(roster.generation()));
        for member in roster.members().iter().map(|member| member.index).filter(|index| Some(*index) != own) {
            for subject in approved_by(member, &peers).await {
                let Ok(digest) = subject.digest() else { continue };
                if let Err(error) = subject.check(group_id, places) {
                    debug!(member, %digest, %error, "a member approved what is no proposal of this group");
                    continue;
                }
                if self.store.keep_proposal(&subject, unix_seconds()).await? {
                    info!(member, %digest, slot = %subject.slot(), "a member approved a proposal: see `lockstep govern list`");
                }
                self.store.note_approval(digest, member).await?;
            }
        }
        Ok(())
    }

    /// Watches where a contract stands until told to stop. What changes is logged.
    pub async fn watch(
        self,
        chain: ChainId,
        contract: lockstep_core::Address,
        provider: EvmProvider,
        poll: Duration,
        stop: CancellationToken,
    ) {
        let mut backoff = Backoff::of_endpoint(poll.max(ROUND));
        loop {
            let state = tokio::select! {
                () = stop.cancelled() => return,
                state = read_contract(&provider, contract) => state,
            };
            let rest = backoff.pause_after(state.is_err());
            match state {
                Ok(state) => self.note_state(chain, state),
                Err(error) => debug!(chain, %error, "the contract's governance cannot be read"),
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(rest) => {}
            }
        }
    }

    fn note_state(&self, chain: ChainId, state: ContractState) {
        let mut contracts = self.contracts.write().unwrap_or_else(PoisonError::into_inner);
        let before = contracts.insert(chain, state.clone());
        if before.as_ref() != Some(&state) {
            let ContractState { nonce, halted, generation, .. } = state;
            info!(chain, nonce, halted, generation, "the contract's governance");
        }
    }
}

async fn note_switch(switch: Option<&SigningSwitch>, store: &Store) -> Result<(), StoreError> {
    match switch {
        Some(SigningSwitch { reason, .. }) => warn!(reason, "this member signs nothing: its operator stopped it"),
        None => {
            let reason = store.signing_switches().await?.pop().map(|switch| switch.reason);
            warn!(reason, "this member signs again");
        }
    }
    Ok(())
}

fn blame(digest: B256, culprits: &BTreeSet<u8>) {
    for member in culprits {
        warn!(%digest, member, "member gave a bad part of a signature over a proposal");
    }
}

/// The parts of all other members that answer.
async fn pull(seat: &Seat, ask: &AskGovernance, peers: &PeerClient) -> Vec<PartialSignature> {
    let peers = peers.of_generation(seat.generation());
    let one = |index: u8| {
        let peers = peers.clone();
        async move { (index, peers.pull_governance(index, ask).await) }
    };
    let mut answers: FuturesUnordered<_> = seat.others().map(one).collect();
    let mut parts = Vec::new();
    while let Some((index, answer)) = answers.next().await {
        match answer {
            Ok(Some(GovernanceAnswer::Part { signature })) => parts.push(PartialSignature { index, signature }),
            Ok(Some(GovernanceAnswer::Approved { .. }) | None) => {}
            Err(error) => debug!(member = index, %error, "no part of a signature over a proposal"),
        }
    }
    parts
}

/// All that a member says it approves.
async fn approved_by(member: u8, peers: &PeerClient) -> Vec<Subject> {
    let (mut all, mut after) = (Vec::new(), None);
    for _ in 0..PAGES_MAX {
        let page = match peers.pull_governance(member, &AskGovernance::Approved { after }).await {
            Ok(Some(GovernanceAnswer::Approved { proposals })) => proposals,
            Ok(_) => break,
            Err(error) => {
                debug!(member, %error, "no proposals");
                break;
            }
        };
        let last = page.iter().filter_map(|subject| subject.digest().ok()).max();
        // A page that does not get on would be asked for for ever.
        if last.is_none() || last <= after {
            break;
        }
        after = last;
        all.extend(page);
    }
    all
}

/// Whether a decision's number is so high that nobody signs for it: the next members sign for no number up to the highest that
/// was promised, so a huge one would be the last decision ever.
pub fn is_out_of_reach(slot: Slot, acted: &[ActedDecision], marks: &Marks) -> bool {
    let last = acted.iter().map(|decision| decision.number).chain([marks.decision]).max().unwrap_or_default();
    matches!(slot, Slot::Number(number) if number > last.saturating_add(NUMBERS_AHEAD))
}

#[cfg(test)]
mod tests;
