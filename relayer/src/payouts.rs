//! From a derived transaction to a final one: fix its bytes, agree with t members, promise the coins, sign, see it final.
//!
//! A reconciler: it takes no input, reads what is open, and moves each payout as far as it can go now. Every step may be
//! repeated, and every promise is a row before it leaves this member (DERIVATION.md C).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use lockstep_core::derive::{CoinRef, Derived};
use lockstep_core::group::Group;
use lockstep_core::mixin::{CoinKeys, PrivateKey, SignedTransaction, Transaction};
use lockstep_core::output::CoinId;
use lockstep_core::payout::{self, InputSignature, PartError, Plan, PlanError, ResolvedCoin};
use lockstep_core::trace::{Trace, seed};
use lockstep_core::{Address, B256, Uuid};
use thiserror::Error;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use crate::driver::Progress;
use crate::peer::PeerClient;
use crate::store::{OpenPayout, Payload, Store, StoreError};
use crate::world::ledger::{IssueKeys, LedgerFault, ReadKernel, Registered, SendTransaction, SubmitPayout};

/// Payouts that are looked at in one round: enough to keep the ledger busy, few enough that a round is short.
const OPEN_MAX: u32 = 64;
/// A request that somebody revoked or took is registered again under the next id, at most so often (DERIVATION.md C6).
const REQUESTS_MAX: u8 = 3;

/// Moves payouts. `L` is the ledger's API as this member's user, `K` the kernel.
#[derive(Debug)]
pub struct Payouts<L, K> {
    // Interfaces.
    ledger: L,
    kernel: K,
    peers: PeerClient,
    store: Store,
    // What is fixed.
    group: Arc<Group>,
    member: u8,
    spend: PrivateKey,
    takeover: Duration,
    // What a restart may forget.
    signed_at: BTreeMap<Uuid, Instant>,
    warned: BTreeSet<Uuid>,
    turn: usize,
}

/// What a payout driver belongs to.
#[derive(Debug)]
pub struct Owner {
    /// The group.
    pub group: Arc<Group>,
    /// This member, 1..=n.
    pub member: u8,
    /// Its spend key on the ledger.
    pub spend: PrivateKey,
    /// How long a rank waits for the one before it.
    pub takeover: Duration,
}

/// A payload with everything that signing needs.
struct Signable {
    transaction: Transaction,
    coins: Vec<CoinKeys>,
}

impl<L: IssueKeys + SubmitPayout, K: ReadKernel + SendTransaction> Payouts<L, K> {
    /// A driver of this member's payouts.
    pub fn new(owner: Owner, ledger: L, kernel: K, peers: PeerClient, store: Store) -> Self {
        let Owner { group, member, spend, takeover } = owner;
        let (signed_at, warned) = (BTreeMap::new(), BTreeSet::new());
        Self { ledger, kernel, peers, store, group, member, spend, takeover, signed_at, warned, turn: 0 }
    }

    /// Runs rounds, at each progress and every `period`, until told to stop.
    ///
    /// # Errors
    /// A contradiction: the service halts.
    pub async fn run(
        mut self,
        mut progress: watch::Receiver<Progress>,
        period: Duration,
        stop: CancellationToken,
    ) -> Result<(), PayoutError> {
        loop {
            self.round().await?;
            // Cancel-safe: a missed signal is caught by the period.
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                _ = progress.changed() => {}
                () = tokio::time::sleep(period) => {}
            }
        }
    }

    /// Looks at each open payout once.
    ///
    /// # Errors
    /// A contradiction. A payout that cannot go on now is logged and waits.
    pub async fn round(&mut self) -> Result<(), PayoutError> {
        self.turn = self.turn.wrapping_add(1);
        for open in self.store.open_payouts(OPEN_MAX).await? {
            match self.advance(&open).await {
                Ok(()) => {}
                Err(error) if error.is_contradiction() => return Err(error),
                Err(error) => self.note(&open, &error),
            }
        }
        Ok(())
    }

    /// The first refusal of a payout is worth a warning, its repetitions are not.
    fn note(&mut self, open: &OpenPayout, error: &PayoutError) {
        let cause = std::error::Error::source(error).map(ToString::to_string);
        if error.retryable() || !self.warned.insert(open.id) {
            debug!(payout = %open.id, trace = ?open.derived.trace, %error, cause, "payout waits");
        } else {
            warn!(payout = %open.id, trace = ?open.derived.trace, %error, cause, "payout is held");
        }
    }

    async fn advance(&mut self, open: &OpenPayout) -> Result<(), PayoutError> {
        let Some(payload) = self.payload(open).await? else { return Ok(()) };
        if self.kernel.transaction(payload.hash).await?.is_some_and(|view| view.is_final) {
            self.store.mark_final(open.id, payload.hash).await?;
            self.signed_at.remove(&open.id);
            self.warned.remove(&open.id);
            info!(payout = %open.id, trace = ?open.derived.trace, hash = %payload.hash, "payout final");
            return Ok(());
        }
        let own = self.store.payload_signatures(open.id, open.attempt).await?;
        if own.is_empty() {
            return self.sign(open, &payload).await;
        }
        let signed_at = *self.signed_at.entry(open.id).or_insert_with(Instant::now);
        let rank = self.rank(&payload.hash);
        if signed_at.elapsed() > self.takeover.saturating_mul(rank.saturating_add(1)) {
            self.push(open, &payload, own).await?;
        }
        Ok(())
    }

    /// The payout's bytes, fixed for ever; `None` while an input is not final.
    async fn payload(&self, open: &OpenPayout) -> Result<Option<Payload>, PayoutError> {
        if let Some(payload) = self.store.payload(open.id, open.attempt).await? {
            return Ok(Some(payload));
        }
        let mut coins = BTreeMap::new();
        for reference in &open.derived.inputs {
            let Some(coin) = self.resolve(reference).await? else { return Ok(None) };
            coins.insert(*reference, coin);
        }
        let seed = seed(&self.group.id(), open.id, open.attempt);
        let address = |generation| (generation == 0).then(|| self.group.mix());
        let plan = Plan::new(
            &open.derived,
            (open.id, open.attempt, seed),
            |reference| coins.get(reference).copied(),
            address,
        )?;
        let keys = self.ledger.issue_keys(&self.senders()?, &plan.key_requests()).await?;
        let transaction = plan.build(&keys)?;
        let payload = Payload { hash: transaction.hash(), raw: transaction.unsigned().encode() };
        self.store.fix_payload(open.id, open.attempt, &payload).await?;
        info!(payout = %open.id, trace = ?open.derived.trace, hash = %payload.hash, "payout built");
        Ok(Some(payload))
    }

    async fn resolve(&self, reference: &CoinRef) -> Result<Option<ResolvedCoin>, PayoutError> {
        match reference {
            CoinRef::Output(id) => {
                let output = self.store.output(*id).await?;
                Ok(output.map(|output| ResolvedCoin { id: output.coin, amount: output.amount }))
            }
            CoinRef::Virtual { trace, index } => {
                let parent = self.trace_id(trace);
                let Some(transaction) = self.store.final_hash(parent).await? else { return Ok(None) };
                let amount =
                    self.store.derived(parent).await?.and_then(|Derived { outputs, .. }| {
                        outputs.get(usize::from(*index)).map(|(_, amount)| *amount)
                    });
                Ok(amount.map(|amount| ResolvedCoin { id: CoinId { transaction, index: *index }, amount }))
            }
        }
    }

    /// Once t members have fixed the same bytes: promise the coins, sign, hand the signatures to the ledger.
    async fn sign(&mut self, open: &OpenPayout, payload: &Payload) -> Result<(), PayoutError> {
        if !self.agreed(open, payload).await? {
            return Ok(());
        }
        let signable = self.signable(payload).await?;
        let coins = signable.transaction.coins().ok_or(PayoutError::Payload)?;
        self.store.guard_coins(open.id, open.attempt, payload.hash, &coins).await?;
        let (request, registered) = self.register(open, &signable.transaction).await?;
        if registered.views.is_empty() {
            return Ok(());
        }
        let own = payout::sign(&signable.transaction, &signable.coins, &registered.views, &self.spend)?;
        self.store.save_payload_signatures(open.id, open.attempt, &own).await?;
        self.signed_at.insert(open.id, Instant::now());
        info!(payout = %open.id, hash = %payload.hash, inputs = own.len(), "payout signed");
        self.hand_in(request, &signable, &own).await
    }

    /// True when t members, this one among them, have fixed the same bytes.
    async fn agreed(&self, open: &OpenPayout, payload: &Payload) -> Result<bool, PayoutError> {
        let need = usize::from(self.group.threshold());
        let mut hashes = BTreeMap::<B256, BTreeSet<u8>>::from([(payload.hash, BTreeSet::from([self.member]))]);
        for member in self.others() {
            match self.peers.pull_payout_hash(member, open.id, open.attempt).await {
                Ok(Some(hash)) => {
                    let same = hashes.entry(hash).or_default();
                    same.insert(member);
                    if same.len() < need {
                        continue;
                    }
                    if hash == payload.hash {
                        return Ok(true);
                    }
                    let members = same.iter().copied().collect();
                    return Err(PayoutError::Diverged { payout: open.id, ours: payload.hash, theirs: hash, members });
                }
                Ok(None) => {}
                Err(error) => debug!(member, payout = %open.id, %error, "no payload hash"),
            }
        }
        if hashes.len() > 1 {
            warn!(payout = %open.id, trace = ?open.derived.trace, ours = %payload.hash, hashes = ?hashes,
                "members derive different payloads");
        }
        Ok(false)
    }

    /// Registers the payload with the ledger's API, under the next request id where one is dead or taken.
    async fn register(&self, open: &OpenPayout, transaction: &Transaction) -> Result<(Uuid, Registered), PayoutError> {
        let mut request = open.id;
        for number in 1..=REQUESTS_MAX {
            match self.ledger.register(request, transaction).await {
                Ok(registered) if registered.revoked_by.is_none() => return Ok((request, registered)),
                Ok(registered) => warn!(payout = %open.id, by = ?registered.revoked_by, "request revoked"),
                Err(LedgerFault::Conflict { theirs, .. }) => {
                    warn!(payout = %open.id, %request, %theirs, "somebody registered another payload under our request");
                }
                Err(fault) => return Err(fault.into()),
            }
            request = Uuid::new_v5(&open.id, format!("request/{number}").as_bytes());
        }
        Err(PayoutError::Requests)
    }

    async fn hand_in(&self, request: Uuid, signable: &Signable, own: &[InputSignature]) -> Result<(), PayoutError> {
        let signed = payout::with_part(&signable.transaction, &signable.coins, own)?;
        self.ledger.add_signatures(request, &signed).await?;
        Ok(())
    }

    /// A signed payout that is not final in time: hand in again, and give the full transaction to the kernel.
    async fn push(&self, open: &OpenPayout, payload: &Payload, own: Vec<InputSignature>) -> Result<(), PayoutError> {
        let signable = self.signable(payload).await?;
        match self.register(open, &signable.transaction).await {
            Ok((request, registered)) if !registered.views.is_empty() => {
                self.hand_in(request, &signable, &own).await?;
            }
            Ok(_) => {}
            Err(error) => debug!(payout = %open.id, %error, "request cannot be registered again"),
        }
        let mut parts = vec![own];
        for member in self.others() {
            if parts.len() >= usize::from(self.group.threshold()) {
                break;
            }
            let part = match self.peers.pull_payout_signature(member, open.id, open.attempt).await {
                Ok(Some(part)) => part,
                Ok(None) => continue,
                Err(error) => {
                    debug!(member, payout = %open.id, %error, "no payout signatures");
                    continue;
                }
            };
            // One bad signature spoils a transaction, so each is checked before it is merged.
            match in_order(&part) {
                Some(part) if payout::verify_part(&signable.transaction, &signable.coins, &part).is_ok() => {
                    parts.push(part);
                }
                Some(_) | None => warn!(member, payout = %open.id, "member gave bad payout signatures"),
            }
        }
        if parts.len() < usize::from(self.group.threshold()) {
            return Ok(());
        }
        let signed: SignedTransaction = payout::merge(&signable.transaction, &signable.coins, &parts)?;
        self.kernel.send_transaction(self.turn, &signed).await?;
        info!(payout = %open.id, hash = %payload.hash, "payout handed to the kernel");
        Ok(())
    }

    async fn signable(&self, payload: &Payload) -> Result<Signable, PayoutError> {
        let decoded = SignedTransaction::decode(&payload.raw).map_err(|_| PayoutError::Payload)?;
        let transaction = decoded.transaction().clone();
        let mut coins = Vec::new();
        for coin in transaction.coins().ok_or(PayoutError::Payload)? {
            let parent = self.kernel.transaction(coin.transaction).await?.ok_or(PayoutError::Parent(coin))?;
            let output = parent.transaction.transaction().outputs().get(usize::from(coin.index));
            let output = output.ok_or(PayoutError::Parent(coin))?;
            coins.push(CoinKeys { keys: output.keys.clone(), script: output.script.clone() });
        }
        Ok(Signable { transaction, coins })
    }

    fn senders(&self) -> Result<Vec<Uuid>, PayoutError> {
        self.group.mix().users().ok_or(PayoutError::Payload)
    }

    fn trace_id(&self, trace: &Trace) -> Uuid {
        trace.id(&self.group.id(), |chain| self.group.contract(chain).unwrap_or(Address::ZERO))
    }

    fn others(&self) -> impl Iterator<Item = u8> {
        self.group.members().iter().map(|member| member.index).filter(|index| *index != self.member)
    }

    /// Who submits first differs from payout to payout: (index + first bytes of the hash) mod n.
    fn rank(&self, hash: &B256) -> u32 {
        let members = u32::try_from(self.group.members().len()).unwrap_or(u32::MAX).max(1);
        let first = hash.first_chunk::<2>().map_or(0, |bytes| u32::from(u16::from_be_bytes(*bytes)));
        first.saturating_add(self.member.into()).checked_rem(members).unwrap_or(0)
    }
}

/// A peer's signatures as one for each input, in order; `None` where an input is missing or named twice.
fn in_order(part: &[crate::peer::InputSignature]) -> Option<Vec<InputSignature>> {
    let numbered = (0_u16..).zip(part);
    numbered
        .map(|(input, signed)| {
            let signature = lockstep_core::mixin::Signature(signed.signature);
            (signed.input == input).then_some(InputSignature { key: signed.key, signature })
        })
        .collect()
}

/// Why a payout does not go on.
#[derive(Debug, Error)]
pub enum PayoutError {
    /// The store refused, perhaps because of a contradiction.
    #[error("the payout's promise cannot be kept")]
    Store(#[from] StoreError),
    /// The ledger did not do what was asked.
    #[error("the ledger does not go along")]
    Ledger(#[from] LedgerFault),
    /// The bytes cannot be built.
    #[error("the payout cannot be built")]
    Plan(#[from] PlanError),
    /// It cannot be signed.
    #[error("the payout cannot be signed")]
    Sign(#[from] PartError),
    /// Stored bytes are no transaction over coins of the group.
    #[error("the stored payload is no transaction of the group")]
    Payload,
    /// The kernel does not show the transaction that made an input.
    #[error("the kernel does not show coin {}:{}", .0.transaction, .0.index)]
    Parent(CoinId),
    /// Every request id was revoked or taken.
    #[error("all {REQUESTS_MAX} requests of the payout were revoked or taken")]
    Requests,
    /// t members agree on other bytes: this member's view is wrong, or t members are traitors.
    #[error("contradiction: members {members:?} derive payload {theirs} for payout {payout}, this member {ours}")]
    Diverged {
        /// The payout.
        payout: Uuid,
        /// This member's payload hash.
        ours: B256,
        /// Theirs.
        theirs: B256,
        /// Who.
        members: Vec<u8>,
    },
}

impl PayoutError {
    /// True where this member must stop signing (exit code 70).
    pub const fn is_contradiction(&self) -> bool {
        match self {
            Self::Store(error) => error.is_contradiction(),
            Self::Diverged { .. } => true,
            Self::Ledger(_) | Self::Plan(_) | Self::Sign(_) | Self::Payload | Self::Parent(_) | Self::Requests => false,
        }
    }

    /// True where the next round may succeed without anybody's doing.
    const fn retryable(&self) -> bool {
        match self {
            Self::Ledger(fault) => fault.retryable(),
            Self::Parent(_) => true,
            Self::Store(_) | Self::Plan(_) | Self::Sign(_) | Self::Payload | Self::Requests | Self::Diverged { .. } => {
                false
            }
        }
    }
}
