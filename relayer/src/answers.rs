//! What this member tells its peers and its operator: only what is a row of its own already.

use std::sync::Arc;

use lockstep_core::{B256, Uuid};
use tokio::sync::{mpsc, watch};

use crate::api;
use crate::checkpoints::Checkpoints;
use crate::divergence::{self, Doubts};
use crate::evm::governance::ContractState;
use crate::govern::Governance;
use crate::masks::Masks;
use crate::payouts::Seeds;
use crate::peer::{
    AnswerError, AnswerPeers, AskGovernance, ChainStatus, GovernanceAnswer, IdentityKey, InputSignature, Partial,
    Status,
};
use crate::rosters::Rosters;
use crate::secrets::Refusal;
use crate::store::{Store, StoreError};
use crate::witnesses::Word;
use crate::world::doubt::{HistoryAt, LedgerDoubts, SetAside};
use crate::world::peer::{MaskQuestion, SecretPart, SeedQuestion};
use crate::world::unclaimed::Unclaimed;

/// Answers from the store.
#[derive(Clone, Debug)]
pub struct Answers {
    store: Store,
    checkpoints: Checkpoints,
    seeds: Seeds,
    masks: Masks,
    governance: Governance,
    chains: Arc<[u64]>,
    word: Word,
    halt: mpsc::Sender<StoreError>,
}

impl Answers {
    /// Answers of this member. A contradiction met while answering goes to `halt`, which stops the service.
    pub fn new(
        store: Store,
        checkpoints: Checkpoints,
        (seeds, masks): (Seeds, Masks),
        governance: Governance,
        chains: Arc<[u64]>,
        word: Word,
        halt: mpsc::Sender<StoreError>,
    ) -> Self {
        Self { store, checkpoints, seeds, masks, governance, chains, word, halt }
    }

    /// A contradiction stops the member, and so does another process in its place; anything else is for the peer to try
    /// again.
    fn refuse(&self, error: StoreError) -> AnswerError {
        if error.is_contradiction() || error.is_lost_lease() {
            // Full means that another contradiction is stopping the service already.
            let _ = self.halt.try_send(error);
            return AnswerError::Halted;
        }
        AnswerError::Unavailable(Box::new(error))
    }

    fn refuse_secret(&self, refusal: Refusal) -> AnswerError {
        match refusal {
            Refusal::Stopped => AnswerError::Stopped,
            Refusal::Store(error) => self.refuse(error),
        }
    }
}

impl AnswerPeers for Answers {
    async fn partial(&self, sequence: u64) -> Result<Option<Partial>, AnswerError> {
        self.checkpoints.own(sequence).await.map_err(|error| self.refuse(error))
    }

    async fn payout_hash(&self, trace: Uuid, attempt: u32) -> Result<Option<B256>, AnswerError> {
        let payload = self.store.payload(trace, attempt).await.map_err(|error| self.refuse(error))?;
        Ok(payload.map(|payload| payload.hash))
    }

    async fn payout_signature(&self, trace: Uuid, attempt: u32) -> Result<Option<Vec<InputSignature>>, AnswerError> {
        if self.store.signing_stopped().await.map_err(|error| self.refuse(error))?.is_some() {
            return Ok(None);
        }
        let signatures = self.store.payload_signatures(trace, attempt).await.map_err(|error| self.refuse(error))?;
        let numbered = (0_u16..).zip(signatures);
        let signatures: Vec<_> = numbered
            .map(|(input, signed)| InputSignature { input, key: signed.key, signature: signed.signature.0 })
            .collect();
        Ok((!signatures.is_empty()).then_some(signatures))
    }

    async fn history(&self, at: u64) -> Result<HistoryAt, AnswerError> {
        divergence::history_at(&self.store, at).await.map_err(|error| self.refuse(error))
    }

    async fn payout_seed(&self, from: &IdentityKey, question: SeedQuestion) -> Result<Option<SecretPart>, AnswerError> {
        self.seeds.answer(from, question).await.map_err(|refusal| self.refuse_secret(refusal))
    }

    async fn mask(&self, question: MaskQuestion) -> Result<Option<SecretPart>, AnswerError> {
        self.masks.answer(question).await.map_err(|refusal| self.refuse_secret(refusal))
    }

    async fn governance(&self, ask: AskGovernance) -> Result<Option<GovernanceAnswer>, AnswerError> {
        self.governance.answer(ask).await.map_err(|error| self.refuse(error))
    }

    async fn status(&self) -> Result<Status, AnswerError> {
        let step = self.store.last_step().await.map_err(|error| self.refuse(error))?;
        let mut chains = std::collections::BTreeMap::new();
        for chain in self.chains.iter() {
            let cursor = self.store.chain_cursor(*chain).await.map_err(|error| self.refuse(error))?;
            if let Some(cursor) = cursor {
                let status =
                    ChainStatus { block: cursor.block, accepted: cursor.accepted, next_outbound: cursor.next_outbound };
                chains.insert(*chain, status);
            }
        }
        let (sequence, history) =
            step.map_or((0, B256::ZERO), |step| (step.checkpoint.sequence, step.checkpoint.history));
        let guard = self.word.on(&self.store).await.map_err(|error| self.refuse(error))?;
        let seen = self.store.heads_seen().await.map_err(|error| self.refuse(error))?;
        Ok(Status { sequence, history, halted: false, chains, guard: Some(guard), seen })
    }
}

fn contract((chain, state): (u64, ContractState)) -> (u64, api::ContractStatus) {
    let ContractState { nonce, halted, generation, .. } = state;
    (chain, api::ContractStatus { halted, governance_nonce: nonce, key_generation: generation })
}

/// What the operator is told, from the store.
#[derive(Clone, Debug)]
pub struct OwnStatus {
    member: u32,
    rosters: Rosters,
    store: Store,
    governance: Governance,
    doubts: Doubts,
    late: watch::Receiver<Vec<SetAside>>,
    unclaimed: watch::Receiver<Unclaimed>,
}

impl OwnStatus {
    /// The status of the member with this index, 1..=n.
    pub const fn new(
        member: u32,
        rosters: Rosters,
        store: Store,
        governance: Governance,
        doubts: Doubts,
        late: watch::Receiver<Vec<SetAside>>,
        unclaimed: watch::Receiver<Unclaimed>,
    ) -> Self {
        Self { member, rosters, store, governance, doubts, late, unclaimed }
    }
}

impl api::ReadStatus for OwnStatus {
    type Error = StoreError;

    async fn status(&self) -> Result<api::Status, StoreError> {
        let step = self.store.last_step().await?;
        let turnover = self.rosters.turnover();
        Ok(api::Status {
            member: self.member,
            generation: self.rosters.active().generation(),
            role: self.rosters.role().name().to_owned(),
            turnover: turnover.left,
            turnover_max: turnover.most,
            sequence: step.map_or(0, |step| step.checkpoint.sequence),
            history: step.map_or(B256::ZERO, |step| step.checkpoint.history),
            open_payouts: self.store.open_payout_count().await?,
            parked: self.store.parked().await?,
            signing_stopped: self.store.signing_stopped().await?.map(|switch| switch.reason),
            unclaimed: self.unclaimed.borrow().clone(),
            contracts: self.governance.contracts().into_iter().map(contract).collect(),
            ledger: LedgerDoubts { late: self.late.borrow().clone(), ..self.doubts.all() },
        })
    }
}
