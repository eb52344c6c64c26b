//! One step of one payout. Which one is read from the rows, so a restart goes on where the rows stand.
//!
//! | a crash after | leaves | and the next step |
//! |---|---|---|
//! | seed | nothing, or the seed row | asks the members again, whose parts make the same |
//! | build | nothing, or the payload row | asks the key service again, which answers the same |
//! | agree | the payload row | agrees again |
//! | guard | guard rows | signs the same payload, for the guard admits no other |
//! | sign | guard rows; nobody saw a signature | signs again |
//! | save | own signatures | hands the saved ones in and serves them to peers |
//! | hand in | the same | pushes: a repetition is harmless |
//!
//! Nothing is ever shown before its row is durable: the payload hash is served from the payload row, signatures from
//! rows that are written only where a guard row stands for each input.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use futures_util::stream::{FuturesUnordered, StreamExt};
use lockstep_core::derive::{CoinRef, Derived};
use lockstep_core::mixin::{CoinKeys, GhostScalar, SignedTransaction, Transaction};
use lockstep_core::output::CoinId;
use lockstep_core::payout::{self, AttemptError, Attempts, InputSignature, Plan, ResolvedCoin, Verdict};
use lockstep_core::{B256, Uuid};
use tracing::{debug, info, warn};

use super::origin::trace_id;
use super::pace::Pace;
use super::seeds::Sought;
use super::{Owner, PayoutError};
use crate::ledger::{LookupError, REVOCATIONS_MAX, final_coins, look_up, request_id};
use crate::rosters::Spenders;
use crate::store::{OpenPayout, Payload, Store};
use crate::world::ledger::{IssueKeys, LedgerFault, ReadKernel, Registered, SendTransaction, SubmitPayout};
use crate::world::peer::{PullPayouts, Seat};

/// Attempts of the group that may be on the ledger before this member's nodes show why.
const AHEAD_MAX: u32 = 4;

/// What a payout is moved with.
#[derive(Debug)]
pub(super) struct Steps<L, K, P> {
    pub(super) owner: Owner,
    pub(super) ledger: L,
    pub(super) kernel: K,
    pub(super) peers: P,
    pub(super) store: Store,
}

/// How far a step came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Moved {
    /// It is final, and done.
    Final,
    /// It moved, and may move again at once.
    Again,
    /// An input is not final.
    AwaitsInputs,
    /// It waits for peers, for its turn or for finality.
    Waits,
}

/// An open payout, and who can spend its coins.
#[derive(Clone, Debug)]
pub(super) struct Job {
    pub(super) id: Uuid,
    pub(super) derived: Derived,
    pub(super) attempts: Attempts,
    pub(super) set: Spenders,
}

/// What members have fixed.
enum Agreement {
    /// t of them the same bytes as this one.
    Same,
    /// t of them other bytes.
    Other { theirs: B256, members: Vec<u8> },
    /// Nothing yet.
    None,
}

/// What came of building an attempt.
#[derive(Clone, Debug, PartialEq)]
enum Built {
    /// Its bytes.
    Ready(Box<Transaction>),
    /// An input is not final.
    AwaitsInputs,
    /// The seed of its keys is not known. `is_nowhere`: nobody gives a part of it, and everybody answered.
    AwaitsSeed { is_nowhere: bool },
}

/// A payload with everything that signing needs.
struct Signable {
    transaction: Transaction,
    ids: Vec<CoinId>,
    coins: Vec<CoinKeys>,
}

impl<L: IssueKeys + SubmitPayout, K: ReadKernel + SendTransaction, P: PullPayouts> Steps<L, K, P> {
    pub(super) async fn step(&self, id: Uuid, pace: &mut Pace) -> Result<Moved, PayoutError> {
        let Some(OpenPayout { id, derived, attempts }) = self.store.open_payout(id).await? else {
            return Ok(Moved::Final);
        };
        let set = self.spenders(&derived).await?;
        let open = Job { id, derived, attempts, set };
        if open.set.own.is_none() {
            return self.observe(&open).await;
        }
        let Some(payload) = self.store.payload(open.id, open.attempts.number()).await? else {
            return self.fix(open, pace).await;
        };
        if self.kernel.transaction(payload.hash).await?.is_some_and(|view| view.is_final) {
            return self.finish(&open, payload.hash).await;
        }
        if pace.may_search(Instant::now())
            && let Some(moved) = self.search(&open, pace).await?
        {
            return Ok(moved);
        }
        let moved = self.sign_or_push(&open, &payload, pace).await;
        match moved {
            Err(error) if error.asks_for_proof() => self.search(&open, pace).await?.ok_or(error),
            Ok(_) | Err(_) => moved,
        }
    }

    async fn finish(&self, open: &Job, hash: B256) -> Result<Moved, PayoutError> {
        self.store.mark_final(open.id, hash).await?;
        info!(payout = %open.id, trace = ?open.derived.trace, attempt = open.attempts.number(), %hash, "payout final");
        Ok(Moved::Final)
    }

    /// Fixes the bytes of the attempt in hand, for ever. Where there are not t members any more who give a part of the seed,
    /// others have long paid: that shows as it does to who has no keys of the coins.
    async fn fix(&self, mut open: Job, pace: &mut Pace) -> Result<Moved, PayoutError> {
        let attempt = open.attempts.number();
        let transaction = match self.build(&open, attempt).await? {
            Built::Ready(transaction) => transaction,
            Built::AwaitsInputs => return Ok(Moved::AwaitsInputs),
            Built::AwaitsSeed { .. } if pace.may_search(Instant::now()) => {
                return self.observe(&open).await.map_err(PayoutError::without_promise);
            }
            Built::AwaitsSeed { .. } => return Ok(Moved::Waits),
        };
        let contradiction = |source| PayoutError::Attempt { payout: open.id, attempt, source };
        open.attempts.build(&transaction).map_err(contradiction)?;
        let hash = transaction.hash();
        let payload = Payload { hash, raw: transaction.unsigned().encode() };
        self.store.fix_payload(open.id, &open.attempts, &payload).await?;
        info!(payout = %open.id, trace = ?open.derived.trace, attempt, %hash, "payout built");
        Ok(Moved::Again)
    }

    /// The transaction of an attempt.
    async fn build(&self, open: &Job, attempt: u32) -> Result<Built, PayoutError> {
        let Some(coins) = self.coins(&open.derived).await? else { return Ok(Built::AwaitsInputs) };
        let plan = self.plan(open, attempt, &coins)?;
        let seed = match self.owner.seeds.seek(open, attempt, &self.peers).await? {
            Sought::Found(seed) => seed,
            Sought::Nowhere => return Ok(Built::AwaitsSeed { is_nowhere: true }),
            Sought::Waits => return Ok(Built::AwaitsSeed { is_nowhere: false }),
        };
        let requests = plan.key_requests(&seed);
        let senders = open.set.group.users().ok_or(PayoutError::Group)?;
        let keys = if requests.is_empty() { Vec::new() } else { self.ledger.issue_keys(&senders, &requests).await? };
        Ok(Built::Ready(Box::new(plan.build(&seed, &keys)?)))
    }

    /// What is to be paid at an attempt, out of which coins; everything but the keys.
    pub(super) fn plan(
        &self,
        open: &Job,
        attempt: u32,
        coins: &BTreeMap<CoinRef, ResolvedCoin>,
    ) -> Result<Plan, PayoutError> {
        let addresses = self.owner.rosters.addresses();
        Ok(Plan::new(
            &open.derived,
            (open.id, attempt),
            |reference| coins.get(reference).copied(),
            |generation| addresses.group(generation).cloned(),
        )?)
    }

    /// The coins that a derived transaction spends; `None` while one of them is not final.
    pub(super) async fn coins(
        &self,
        derived: &Derived,
    ) -> Result<Option<BTreeMap<CoinRef, ResolvedCoin>>, PayoutError> {
        let mut coins = BTreeMap::new();
        for reference in &derived.inputs {
            let Some(coin) = self.resolve(reference).await? else { return Ok(None) };
            coins.insert(*reference, coin);
        }
        Ok(Some(coins))
    }

    async fn resolve(&self, reference: &CoinRef) -> Result<Option<ResolvedCoin>, PayoutError> {
        match reference {
            CoinRef::Output(id) => {
                let output = self.store.output(*id).await?;
                Ok(output.map(|output| ResolvedCoin { id: output.coin, amount: output.amount }))
            }
            CoinRef::Virtual { trace, index } => {
                let parent = trace_id(&self.owner.group, trace);
                let Some(transaction) = self.store.final_hash(parent).await? else { return Ok(None) };
                let amount =
                    self.store.derived(parent).await?.and_then(|Derived { outputs, .. }| {
                        outputs.get(usize::from(*index)).map(|(_, amount)| *amount)
                    });
                Ok(amount.map(|amount| ResolvedCoin { id: CoinId { transaction, index: *index }, amount }))
            }
        }
    }

    /// Looks on the kernel for what settles the payload in hand. Only the kernel's proof makes a next attempt, never a
    /// peer's word: a member that lags finds the same proof.
    async fn search(&self, open: &Job, pace: &mut Pace) -> Result<Option<Moved>, PayoutError> {
        let (attempt, mut attempts) = (open.attempts.number(), open.attempts.clone());
        match look_up(&self.kernel, &mut attempts).await {
            Ok(Verdict::Unrelated) => Ok(None),
            Ok(Verdict::Paid) => match attempts.payload() {
                Some(hash) => self.finish(open, hash).await.map(Some),
                None => Ok(None),
            },
            Ok(Verdict::Dead) => {
                self.store.next_attempt(open.id, attempt, &attempts).await?;
                pace.restart(Instant::now());
                warn!(payout = %open.id, trace = ?open.derived.trace, attempt, proof = ?attempts.dead().last(),
                    "somebody took an output key of the payload, which is dead; the next attempt takes other keys");
                Ok(Some(Moved::Again))
            }
            Err(LookupError::Contradiction(AttemptError::ForeignSpend { coin, by })) => {
                let error = self.judge_spend(open, coin, by).await?;
                let is_open = error.is_contradiction() || matches!(error, PayoutError::Unjudged { .. });
                if !is_open || self.has_promised(open).await? {
                    return Err(error);
                }
                if self.is_paid_otherwise(open, by).await? {
                    warn!(payout = %open.id, ours = ?open.attempts.payload(), %by,
                        "the others paid this with other keys than this member was given");
                    return self.finish(open, by).await.map(Some);
                }
                match self.store.payload(open.id, attempt).await? {
                    Some(payload) if matches!(self.agreed(open, &payload).await?, Agreement::Same) => Err(error),
                    Some(_) | None => Err(PayoutError::Outrun { payout: open.id, coin: coin.transaction, by }),
                }
            }
            Err(error) => Err(PayoutError::of_lookup(error, open.id, attempt)),
        }
    }

    /// True where a final transaction pays exactly what is derived here: the key service gave this member other keys than those
    /// of t members.
    async fn is_paid_otherwise(&self, open: &Job, by: B256) -> Result<bool, PayoutError> {
        let Some(coins) = self.coins(&open.derived).await? else { return Ok(false) };
        let plan = self.plan(open, open.attempts.number(), &coins)?;
        let view = self.kernel.transaction(by).await?.filter(|view| view.is_final);
        Ok(view.is_some_and(|view| plan.is_paid_by(view.transaction.transaction())))
    }

    /// True where this member has promised coins to the payload in hand.
    async fn has_promised(&self, open: &Job) -> Result<bool, PayoutError> {
        match open.attempts.payload() {
            Some(payload) => Ok(self.store.is_coin_promised_to(payload).await?),
            None => Ok(false),
        }
    }

    /// A final transaction that spends an input is foreign, unless it is what this member would build next: then others
    /// had the proof earlier, and its own will follow. Its seed they have as well, and tell it. While somebody does not answer
    /// who may have it, a payment of the same amounts is not judged.
    async fn judge_spend(&self, open: &Job, coin: CoinId, by: B256) -> Result<PayoutError, PayoutError> {
        let attempt = open.attempts.number();
        let foreign =
            PayoutError::Attempt { payout: open.id, attempt, source: AttemptError::ForeignSpend { coin, by } };
        let Some(coins) = self.coins(&open.derived).await? else { return Ok(foreign) };
        let (plan, view) = (self.plan(open, attempt, &coins)?, self.kernel.transaction(by).await?);
        if view.is_some_and(|view| !plan.is_paid_by(view.transaction.transaction())) {
            return Ok(foreign);
        }
        let mut is_certain = true;
        for ahead in 1..=AHEAD_MAX {
            let next = attempt.saturating_add(ahead);
            match self.build(open, next).await? {
                Built::Ready(transaction) if transaction.hash() == by => {
                    return Ok(PayoutError::Ahead { attempt: next, by });
                }
                Built::Ready(_) | Built::AwaitsInputs => {}
                Built::AwaitsSeed { is_nowhere } => is_certain &= is_nowhere,
            }
        }
        Ok(if is_certain { foreign } else { PayoutError::Unjudged { by } })
    }

    async fn sign_or_push(&self, open: &Job, payload: &Payload, pace: &mut Pace) -> Result<Moved, PayoutError> {
        if self.store.signing_stopped().await?.is_some() {
            return Ok(Moved::Waits);
        }
        let own = self.store.payload_signatures(open.id, open.attempts.number()).await?;
        if own.is_empty() {
            return self.sign(open, payload).await;
        }
        let turns = open.rank(&payload.hash).saturating_add(1);
        // Even where nobody has to wait for a turn, a push asks all peers: not at every look.
        let turn = self.owner.takeover.saturating_mul(turns).max(Duration::from_millis(50));
        if pace.may_push(Instant::now(), turn) { self.push(open, payload, own, pace).await } else { Ok(Moved::Waits) }
    }

    /// Once t members have fixed the same bytes: promises the coins, signs, and only then shows the signatures.
    async fn sign(&self, open: &Job, payload: &Payload) -> Result<Moved, PayoutError> {
        let attempt = open.attempts.number();
        let Some(signable) = self.signable(payload).await? else { return Ok(Moved::AwaitsInputs) };
        if !self.store.may_promise() {
            return Ok(Moved::Waits);
        }
        match self.agreed(open, payload).await? {
            Agreement::Same => {}
            Agreement::None => return Ok(Moved::Waits),
            Agreement::Other { theirs, members } => return self.yield_to(open, payload, theirs, members).await,
        }
        // Write: from here on this member signs nothing else over these coins.
        self.store.guard_coins(open.id, attempt, payload.hash, &signable.ids).await?;
        let Some((request, views)) = self.views(open, &signable).await? else { return Ok(Moved::Waits) };
        // Sign: in memory only. It fails for views that do not open every coin.
        let own = payout::sign(&signable.transaction, &signable.coins, &views, &self.owner.spend)?;
        // Save: the store refuses signatures without guards.
        self.store.save_views(&signable.ids, &views).await?;
        self.store.save_payload_signatures(open.id, attempt, payload.hash, &own).await?;
        info!(payout = %open.id, attempt, hash = %payload.hash, inputs = own.len(), "payout signed");
        // Speak: peers read the rows; the API gets them here. Without it, parts go from peer to peer and to the kernel.
        match request {
            Some(request) => self.hand_in(request, &signable, &own).await?,
            None => self.register_and_hand_in(open, &signable, &own).await?,
        }
        Ok(Moved::Waits)
    }

    /// t members have fixed other bytes than this one. Where nothing is promised to its own, the key service may have answered
    /// it otherwise: it asks once more. Otherwise the payout is held here; the others can do without.
    async fn yield_to(
        &self,
        open: &Job,
        payload: &Payload,
        theirs: B256,
        members: Vec<u8>,
    ) -> Result<Moved, PayoutError> {
        let (attempt, ours) = (open.attempts.number(), payload.hash);
        let is_theirs = |built| matches!(built, Built::Ready(transaction) if transaction.hash() == theirs);
        let promised = self.store.is_coin_promised_to(ours).await?;
        if !promised
            && is_theirs(self.build(open, attempt).await?)
            && self.store.unfix_payload(open.id, attempt, ours).await?
        {
            warn!(payout = %open.id, attempt, %ours, %theirs, ?members,
                "the key service now answers as it did to others: the payout is built anew");
            return Ok(Moved::Again);
        }
        Err(PayoutError::Diverged { payout: open.id, ours, theirs, members, promised })
    }

    /// Whether t members, this one among them, have fixed the same bytes.
    async fn agreed(&self, open: &Job, payload: &Payload) -> Result<Agreement, PayoutError> {
        let need = open.set.threshold;
        let (ours, attempt) = (payload.hash, open.attempts.number());
        let mut hashes =
            BTreeMap::from([(ours, open.set.own.map(|own| own.index).into_iter().collect::<BTreeSet<_>>())]);
        let ask = |seat: Seat| async move { (seat.index, self.peers.pull_payout_hash(seat, open.id, attempt).await) };
        let mut answers: FuturesUnordered<_> = open.set.others.iter().copied().map(ask).collect();
        while let Some((member, answer)) = answers.next().await {
            let hash = match answer {
                Ok(Some(hash)) => hash,
                Ok(None) => continue,
                Err(error) => {
                    debug!(member, payout = %open.id, error, "no payload hash");
                    continue;
                }
            };
            let same = hashes.entry(hash).or_default();
            same.insert(member);
            if same.len() < need {
                continue;
            }
            if hash == ours {
                return Ok(Agreement::Same);
            }
            return Ok(Agreement::Other { theirs: hash, members: same.iter().copied().collect() });
        }
        if hashes.len() > 1 {
            warn!(payout = %open.id, trace = ?open.derived.trace, attempt, %ours, ?hashes,
                "members derive different payloads");
        }
        Ok(if need <= 1 { Agreement::Same } else { Agreement::None })
    }

    /// What opens this member's keys: as kept from an earlier attempt, as a shared request at the ledger's API gives them,
    /// or as a request of its own gives them, which nobody else can take or revoke beforehand. `None` where enough others
    /// signed already.
    async fn views(
        &self,
        open: &Job,
        signable: &Signable,
    ) -> Result<Option<(Option<Uuid>, Vec<GhostScalar>)>, PayoutError> {
        if let Some(kept) = self.store.views(&signable.ids).await? {
            return Ok(Some((None, kept)));
        }
        match self.register(open, &signable.transaction).await {
            Ok(Some((request, registered))) if !registered.views.is_empty() => {
                return Ok(Some((Some(request), registered.views)));
            }
            Ok(Some((_, registered))) if registered.signers.len() >= usize::from(registered.threshold) => {
                return Ok(None);
            }
            // Whoever signed something else over a coin there has locked it there, not on the kernel.
            Ok(_) | Err(PayoutError::Ledger(LedgerFault::InputLocked { .. })) => {}
            Err(error) => return Err(error),
        }
        let views = self.ledger.views(&signable.transaction).await?;
        warn!(payout = %open.id, "no shared request can be used; signatures go from peer to peer");
        Ok((!views.is_empty()).then_some((None, views)))
    }

    /// Registers the payload with the ledger's API, under the next request id where one is revoked or taken. `None` if all
    /// are: a hostile member can do that, and stops nothing by it.
    async fn register(&self, open: &Job, transaction: &Transaction) -> Result<Option<(Uuid, Registered)>, PayoutError> {
        for revocations in 0..=REVOCATIONS_MAX {
            let request = request_id(open.id, open.attempts.number(), revocations);
            match self.ledger.register(request, transaction).await {
                Ok(registered) if registered.revoked_by.is_none() => return Ok(Some((request, registered))),
                Ok(registered) => debug!(payout = %open.id, %request, by = ?registered.revoked_by, "request revoked"),
                Err(LedgerFault::Conflict { theirs, .. }) => {
                    debug!(payout = %open.id, %request, %theirs, "request stands for another payload");
                }
                Err(fault) => return Err(fault.into()),
            }
        }
        Ok(None)
    }

    async fn register_and_hand_in(
        &self,
        open: &Job,
        signable: &Signable,
        own: &[InputSignature],
    ) -> Result<(), PayoutError> {
        match self.register(open, &signable.transaction).await? {
            Some((request, _)) => self.hand_in(request, signable, own).await,
            None => Ok(()),
        }
    }

    async fn hand_in(&self, request: Uuid, signable: &Signable, own: &[InputSignature]) -> Result<(), PayoutError> {
        let signed = payout::with_part(&signable.transaction, &signable.coins, own)?;
        self.ledger.add_signatures(request, &signed).await?;
        Ok(())
    }

    /// A signed payout that is not final in time: hands in again, and gives the full transaction to the kernel, whatever
    /// the API said.
    async fn push(
        &self,
        open: &Job,
        payload: &Payload,
        own: Vec<InputSignature>,
        pace: &Pace,
    ) -> Result<Moved, PayoutError> {
        let Some(signable) = self.signable(payload).await? else { return Ok(Moved::AwaitsInputs) };
        let handed_in = self.register_and_hand_in(open, &signable, &own).await;
        if let Err(error) = &handed_in {
            debug!(payout = %open.id, %error, "the ledger's API does not take the signatures");
        }
        let parts = self.parts(open, &signable, own).await;
        if parts.len() < open.set.threshold {
            return handed_in.map(|()| Moved::Waits);
        }
        let signed = payout::merge(&signable.transaction, &signable.coins, &parts)?;
        let turn = usize::try_from(pace.pushes).unwrap_or(usize::MAX);
        self.kernel.send_transaction(turn, &signed).await?;
        info!(payout = %open.id, hash = %payload.hash, "payout handed to the kernel");
        Ok(Moved::Waits)
    }

    /// The signatures of t members if so many give them. One bad signature spoils a transaction, so each is verified.
    async fn parts(&self, open: &Job, signable: &Signable, own: Vec<InputSignature>) -> Vec<Vec<InputSignature>> {
        let (need, attempt) = (open.set.threshold, open.attempts.number());
        let ask =
            |seat: Seat| async move { (seat.index, self.peers.pull_payout_signatures(seat, open.id, attempt).await) };
        let mut answers: FuturesUnordered<_> = open.set.others.iter().copied().map(ask).collect();
        let mut parts = vec![own];
        while parts.len() < need
            && let Some((member, answer)) = answers.next().await
        {
            match answer {
                Ok(Some(part)) => match payout::verify_part(&signable.transaction, &signable.coins, &part) {
                    Ok(()) => parts.push(part),
                    Err(error) => warn!(member, payout = %open.id, %error, "member gave bad payout signatures"),
                },
                Ok(None) => {}
                Err(error) => debug!(member, payout = %open.id, error, "no payout signatures"),
            }
        }
        parts
    }

    /// The payload with the keys of its coins; `None` unless all of these are final on the kernel.
    async fn signable(&self, payload: &Payload) -> Result<Option<Signable>, PayoutError> {
        let transaction = SignedTransaction::decode(&payload.raw)?.transaction().clone();
        let ids = transaction.coins().ok_or(PayoutError::Group)?;
        let Some(coins) = final_coins(&self.kernel, &ids).await? else { return Ok(None) };
        let coins = coins.into_iter().map(|coin| coin.keys).collect();
        Ok(Some(Signable { transaction, ids, coins }))
    }
}

impl Job {
    /// Who submits first differs from payout to payout: (index + first bytes of the hash) mod n.
    fn rank(&self, hash: &B256) -> u32 {
        let members = u32::try_from(self.set.others.len()).unwrap_or(u32::MAX).saturating_add(1);
        let first = hash.first_chunk::<2>().map_or(0, |bytes| u32::from(u16::from_be_bytes(*bytes)));
        let own = self.set.own.map_or(0, |own| own.index);
        first.saturating_add(own.into()).checked_rem(members).unwrap_or(0)
    }
}
