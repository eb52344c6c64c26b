//! Delivers to one chain: chooses, waits its turn, writes down what it will send, sends, and sees it through.
//!
//! One delivery is under way at a time: what the next one may hold depends on where the mailboxes stand after it. Several
//! members may deliver the same at once; the contract passes over what is done, so that costs gas and nothing else.

use std::collections::BTreeMap;
use std::time::Duration;

use alloy::eips::BlockId;
use alloy::primitives::Address;
use alloy::providers::Provider;
use alloy::rpc::types::TransactionRequest;
use alloy::signers::local::PrivateKeySigner;
use alloy::transports::TransportError;
use lockstep_core::group::Finality;
use lockstep_core::{B256, Uuid};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

use crate::backoff::Backoff;
use crate::clock::unix_millis;
use crate::evm::abi::Group;
use crate::evm::account::{Account, AccountView};
use crate::evm::calldata::deliver_calldata;
use crate::evm::fees::{FeePolicy, Funds, Price, funds};
use crate::evm::governance::read_halted;
use crate::evm::heads::read_heads;
use crate::evm::plan::{Fairness, Limits, Plan};
use crate::evm::provider::EvmProvider;
use crate::evm::quarantine::Quarantine;
use crate::evm::submission::{ChainView, Decision, Patience, Turns, decide, next_account_nonce};
use crate::world::chain::{
    Backlog, ChainError, Delivery, OfferDeliveries, Outcome, Purpose, SaveSubmission, Submission,
};

/// Highest gas limit of a transaction, below the 2²⁴ of EIP-7825.
pub const GAS_LIMIT_MAX: u64 = 16_777_215;
/// Gas that the contract keeps back from a call, at most: a 63rd of the highest limit, and what it takes to record a failure.
const RESERVE_GAS: u64 = 150_000;
/// Gas of an empty transfer.
const TRANSFER_GAS: u64 = 21_000;
/// Most messages of one mailbox that are looked at for one delivery: more never fit into 128 KiB.
const BACKLOG_MAX: usize = 1_300;
/// Depth of the frontier that plans count with: 2¹⁶ mailboxes. Deeper proofs only make plans a little too small.
const PLANNED_DEPTH: u8 = 16;

/// How this member submits on one chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubmitterConfig {
    /// EIP-155 id.
    pub chain_id: u64,
    /// The group contract.
    pub contract: Address,
    /// When a block is final.
    pub finality: Finality,
    /// When to send again.
    pub patience: Patience,
    /// What to pay.
    pub fees: FeePolicy,
    /// Weights of mailboxes that are not 1.
    pub weights: BTreeMap<Uuid, u32>,
}

/// What one pass of the submitter came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Everything is delivered, or nothing that is left may go now.
    Idle,
    /// A submission is not mined yet.
    UnderWay {
        /// Its account nonce.
        account_nonce: u64,
    },
    /// Another member goes first.
    NotYet {
        /// This member's turn, in milliseconds since 1970; the end of time for who is no member of the generation that
        /// signs.
        due_at: u64,
    },
    /// The group has halted its contract: nothing is delivered until it resumes.
    Halted,
    /// Fewer than t members have answered for the checkpoint.
    Unsigned {
        /// Its sequence.
        sequence: u64,
    },
    /// Somebody delivered it meanwhile.
    Overtaken,
    /// The contract would refuse it; its mailboxes wait.
    Refused,
    /// Gas costs more than this member's bound.
    TooDear,
    /// The account cannot pay for it.
    NoFunds,
    /// Written down and sent.
    Sent {
        /// Its account nonce.
        account_nonce: u64,
        /// Sequence of its checkpoint.
        sequence: u64,
    },
}

/// The submitter of one chain.
#[derive(Debug)]
pub struct Submitter<S, O> {
    // Interfaces.
    provider: EvmProvider,
    account: Account,
    store: S,
    offers: O,
    // Limits.
    config: SubmitterConfig,
    turns: watch::Receiver<Option<Turns>>,
    // State: `pending` is a copy of the store's rows, the rest is rebuilt.
    pending: Option<BTreeMap<u64, Submission>>,
    fairness: Fairness,
    quarantine: Quarantine,
    delivered: BTreeMap<Uuid, B256>,
    waiting_since: Option<(u64, u64)>,
    under_way: Option<(u64, Plan)>,
    funds: Funds,
    halted: bool,
}

impl<S: SaveSubmission, O: OfferDeliveries> Submitter<S, O> {
    /// A submitter that has not looked at anything yet. `turns` says whose turn it is, as members come and go; without any,
    /// it begins nothing and only sees through what it has begun.
    pub fn new(
        provider: EvmProvider,
        signer: PrivateKeySigner,
        store: S,
        offers: O,
        config: SubmitterConfig,
        turns: watch::Receiver<Option<Turns>>,
    ) -> Self {
        let account = Account::new(provider.clone(), signer, config.chain_id, config.contract, config.finality);
        let fairness = Fairness::new(config.weights.clone());
        Self {
            provider,
            account,
            store,
            offers,
            config,
            turns,
            pending: None,
            fairness,
            quarantine: Quarantine::default(),
            delivered: BTreeMap::new(),
            waiting_since: None,
            under_way: None,
            funds: Funds::Enough,
            halted: false,
        }
    }

    /// The address that pays for gas.
    pub const fn address(&self) -> Address {
        self.account.address()
    }

    /// Works until cancelled, one pass every `pause`. An endpoint that fails is tried again.
    ///
    /// # Errors
    /// Where the store fails: what cannot be written down must not be sent.
    pub async fn run(mut self, cancel: CancellationToken, pause: Duration) -> Result<(), ChainError> {
        let mut backoff = Backoff::of_endpoint(pause);
        loop {
            let pass = tokio::select! {
                () = cancel.cancelled() => return Ok(()),
                // Cut off anywhere: rows are written before anything is sent, so the next start goes on from them.
                pass = self.step(unix_millis()) => pass,
            };
            let rest = backoff.pause_after(matches!(pass, Err(ChainError::Endpoint { .. })));
            match pass {
                Ok(step) => debug!(chain = self.config.chain_id, ?step, "submitter pass"),
                Err(error @ (ChainError::Store { .. } | ChainError::Contradiction(_))) => return Err(error),
                Err(error @ (ChainError::Endpoint { .. } | ChainError::Incomplete { .. })) => {
                    warn!(chain = self.config.chain_id, error = error_chain(&error), "submitter pass failed");
                }
            }
            tokio::select! {
                () = cancel.cancelled() => return Ok(()),
                () = tokio::time::sleep(rest) => {}
            }
        }
    }

    /// One pass at `now` (milliseconds since 1970): sees submissions through, then makes the next delivery.
    ///
    /// # Errors
    /// Where the endpoint or the store fails; the next pass goes on from the rows.
    pub async fn step(&mut self, now: u64) -> Result<Step, ChainError> {
        self.load().await?;
        let view = self.account.view().await?;
        for account_nonce in self.pending().keys().copied().collect::<Vec<_>>() {
            self.see_through(account_nonce, now, &view).await?;
        }
        if let Some(account_nonce) = self.blocked_at(&view) {
            return self.fill_gap(account_nonce, now, &view).await;
        }
        let unmined = self.pending().keys().copied().find(|account_nonce| *account_nonce >= view.latest_count);
        if let Some(account_nonce) = unmined {
            return Ok(Step::UnderWay { account_nonce });
        }
        if let Some(account_nonce) = self.unseen(now, &view).await? {
            return Ok(Step::UnderWay { account_nonce });
        }
        if self.is_halted(BlockId::hash(view.latest)).await? {
            return Ok(Step::Halted);
        }
        self.deliver_next(now, &view).await
    }

    /// Says once that the contract halted, and once that it goes on.
    async fn is_halted(&mut self, block: BlockId) -> Result<bool, ChainError> {
        let halted = read_halted(&self.provider, self.config.contract, block).await?;
        if halted != std::mem::replace(&mut self.halted, halted) {
            let chain = self.config.chain_id;
            if halted {
                warn!(chain, "the group halted its contract: deliveries wait until it resumes");
            } else {
                info!(chain, "the group resumed its contract: deliveries go on");
            }
        }
        Ok(halted)
    }

    async fn load(&mut self) -> Result<(), ChainError> {
        if self.pending.is_none() {
            let rows = self.store.load_submissions(self.config.chain_id).await;
            let rows = rows.map_err(|source| ChainError::Store { doing: "reading submissions", source })?;
            self.pending = Some(rows.into_iter().map(|row| (row.account_nonce, row)).collect());
        }
        Ok(())
    }

    fn pending(&self) -> &BTreeMap<u64, Submission> {
        static NONE: BTreeMap<u64, Submission> = BTreeMap::new();
        self.pending.as_ref().unwrap_or(&NONE)
    }

    /// Decides about one submission and does it.
    async fn see_through(&mut self, account_nonce: u64, now: u64, view: &AccountView) -> Result<(), ChainError> {
        let Some(mut submission) = self.pending().get(&account_nonce).cloned() else { return Ok(()) };
        let seen = self.observe(&submission, view).await?;
        match decide(&submission, now, &seen, self.config.patience, &self.config.fees) {
            Decision::Wait => Ok(()),
            Decision::Send => {
                info!(chain = self.config.chain_id, account_nonce, "sending a submission again");
                self.send_again(submission, now).await
            }
            Decision::Bump(price) => {
                info!(
                    chain = self.config.chain_id,
                    account_nonce,
                    max_fee_wei = price.max_fee,
                    "raising a submission's fee"
                );
                (submission.max_fee, submission.tip) = (price.max_fee, price.tip);
                self.save_and_send(submission, now).await
            }
            Decision::Cancel(price) => {
                info!(chain = self.config.chain_id, account_nonce, "others delivered: cancelling a submission");
                (submission.max_fee, submission.tip) = (price.max_fee, price.tip);
                submission.purpose = Purpose::Cancel;
                submission.gas_limit = TRANSFER_GAS;
                self.save_and_send(submission, now).await
            }
            Decision::Done(outcome) => self.settle(account_nonce, outcome).await,
        }
    }

    async fn observe(&self, submission: &Submission, view: &AccountView) -> Result<ChainView, ChainError> {
        let mined = view.latest_count > submission.account_nonce;
        let is_final = view.final_count > submission.account_nonce;
        let receipt = if is_final { self.account.receipt(&submission.hashes).await? } else { None };
        let receipt = receipt.map(|mined| (mined.hash, mined.success));
        let known = match submission.hashes.last() {
            Some(hash) if !mined => self.account.is_known(*hash).await?,
            Some(_) | None => mined,
        };
        let useful = match &submission.purpose {
            Purpose::Deliver { heads, .. } if !mined => self.still_at(heads, BlockId::hash(view.latest)).await?,
            Purpose::Deliver { .. } | Purpose::Cancel => true,
        };
        let AccountView { latest_count, final_count, market, .. } = *view;
        Ok(ChainView { latest_count, final_count, receipt, known, useful, market })
    }

    /// True while one of the mailboxes has the head given, at `block`.
    async fn still_at(&self, heads: &BTreeMap<Uuid, B256>, block: BlockId) -> Result<bool, ChainError> {
        let processes: Vec<Uuid> = heads.keys().copied().collect();
        let found = read_heads(&self.provider, self.config.contract, &processes, block).await?;
        Ok(heads.iter().any(|(process, head)| found.get(process) == Some(head)))
    }

    async fn settle(&mut self, account_nonce: u64, outcome: Outcome) -> Result<(), ChainError> {
        let chain = self.config.chain_id;
        match outcome {
            Outcome::Mined(hash) => info!(chain, account_nonce, %hash, "submission is final"),
            Outcome::Reverted(hash) => warn!(chain, account_nonce, %hash, "submission reverted"),
            Outcome::Foreign => {
                error!(chain, account_nonce, "another transaction took our account nonce: is the key used elsewhere?");
            }
        }
        let settled = self.store.settle_submission(chain, account_nonce, outcome).await;
        settled.map_err(|source| ChainError::Store { doing: "settling a submission", source })?;
        if let Some(pending) = &mut self.pending {
            pending.remove(&account_nonce);
        }
        Ok(())
    }

    /// The lowest account nonce without a row that keeps a row above it from being mined.
    fn blocked_at(&self, view: &AccountView) -> Option<u64> {
        let rows: Vec<Submission> = self.pending().values().cloned().collect();
        let next = next_account_nonce(view.latest_count, &rows);
        self.pending().keys().any(|account_nonce| *account_nonce > next).then_some(next)
    }

    async fn fill_gap(&mut self, account_nonce: u64, now: u64, view: &AccountView) -> Result<Step, ChainError> {
        warn!(chain = self.config.chain_id, account_nonce, "a row is missing below a submission: filling its place");
        let Some(price) = self.config.fees.price(view.market) else { return Ok(Step::TooDear) };
        let filler = fresh(account_nonce, Purpose::Cancel, TRANSFER_GAS, price, now);
        self.save_and_send(filler, now).await?;
        Ok(Step::UnderWay { account_nonce })
    }

    /// The account nonce of the last submission while it counts as mined but its effect need not show in the state that
    /// the next plan reads. An endpoint may be ahead with one answer and behind with the next; planning then would deliver
    /// the same again. Also looks at how it ran: a delivery that reverted must not be repeated at once.
    async fn unseen(&mut self, now: u64, view: &AccountView) -> Result<Option<u64>, ChainError> {
        let Some(last) = self.pending().values().next_back().cloned() else { return Ok(None) };
        let mined = self.account.receipt(&last.hashes).await?.filter(|mined| mined.block <= view.latest_number);
        let Some(mined) = mined else { return Ok(Some(last.account_nonce)) };
        let Some((account_nonce, plan)) = self.under_way.take() else { return Ok(None) };
        let delivered = account_nonce == last.account_nonce && matches!(last.purpose, Purpose::Deliver { .. });
        if delivered && mined.success {
            self.fairness.delivered(&plan);
            plan.shares.iter().for_each(|share| self.quarantine.release(share.process));
        } else if delivered {
            let (chain, hash) = (self.config.chain_id, mined.hash);
            warn!(chain, account_nonce, %hash, "a delivery reverted although its estimate ran");
            // Perhaps too little gas; else one of several mailboxes; else this one.
            if !self.fairness.distrust(&plan) && !self.fairness.separate(&plan) {
                for share in &plan.shares {
                    self.quarantine.add_reverted(share.process, now);
                }
            }
        }
        Ok(None)
    }

    fn hold(&mut self, plan: &Plan, now: u64) {
        for share in &plan.shares {
            self.quarantine.add(share.process, now);
        }
    }

    /// Plans, waits its turn, gets signatures, estimates, writes, sends.
    async fn deliver_next(&mut self, now: u64, view: &AccountView) -> Result<Step, ChainError> {
        let (heads, backlogs) = self.backlogs(now, BlockId::hash(view.latest)).await?;
        let planned = self.fairness.plan(&backlogs, &Limits::of_depth(PLANNED_DEPTH));
        for process in &planned.set_aside {
            warn!(chain = self.config.chain_id, %process, "the next message of a mailbox fits no transaction");
        }
        let Some(plan) = planned.plan else { return Ok(Step::Idle) };
        let due_at = self.turn(&backlogs, &planned.set_aside, now);
        if now < due_at {
            return Ok(Step::NotYet { due_at });
        }
        let Some(price) = self.config.fees.price(view.market) else {
            warn!(chain = self.config.chain_id, base_fee_wei = view.market.base_fee, "gas costs more than our bound");
            return Ok(Step::TooDear);
        };
        let starts: BTreeMap<Uuid, B256> = plan
            .shares
            .iter()
            .filter_map(|share| heads.get(&share.process).map(|head| (share.process, *head)))
            .collect();
        let wanted: Vec<(Uuid, B256)> = starts.iter().map(|(process, head)| (*process, *head)).collect();
        let delivery = self.offers.delivery(self.config.chain_id, plan.sequence, &wanted).await;
        let delivery = delivery.map_err(|source| ChainError::Store { doing: "asking for a delivery", source })?;
        let Some(delivery) = delivery else { return Ok(Step::Unsigned { sequence: plan.sequence }) };
        // Pulling signatures takes a while; another member may have been faster.
        if !self.still_at(&starts, BlockId::latest()).await? {
            return Ok(Step::Overtaken);
        }
        self.submit(now, view, price, &plan, &backlogs, &delivery, starts).await
    }

    /// Where all open mailboxes stand, and what follows there.
    async fn backlogs(&mut self, now: u64, block: BlockId) -> Result<(BTreeMap<Uuid, B256>, Vec<Backlog>), ChainError> {
        let failed = |source| ChainError::Store { doing: "looking for what to deliver", source };
        let open = self.offers.open_mailboxes(self.config.chain_id, &self.delivered).await.map_err(failed)?;
        let open: Vec<Uuid> = open.into_iter().filter(|process| !self.quarantine.holds(*process, now)).collect();
        let heads = read_heads(&self.provider, self.config.contract, &open, block).await?;
        let (mut backlogs, mut drained) = (Vec::new(), Vec::new());
        for (process, head) in &heads {
            // Without a backlog, others have applied more of the ledger than we have: not ours to deliver.
            let Some(backlog) = self.offers.backlog(*process, *head, BACKLOG_MAX).await.map_err(failed)? else {
                continue;
            };
            if backlog.waiting.is_empty() {
                drained.push(*process);
            } else {
                backlogs.push(backlog);
            }
        }
        if !drained.is_empty() {
            let last_final = self.account.last_final().await?;
            let finals = read_heads(&self.provider, self.config.contract, &drained, last_final).await?;
            self.delivered.extend(finals);
        }
        Ok((heads, backlogs))
    }

    /// When this member may deliver what waits. All members count from the oldest message that waits.
    fn turn(&mut self, backlogs: &[Backlog], set_aside: &[Uuid], now: u64) -> u64 {
        let able = backlogs.iter().filter(|backlog| !set_aside.contains(&backlog.process));
        let oldest = able.filter_map(|backlog| backlog.waiting.first()).map(|waiting| waiting.sequence).min();
        let oldest = oldest.unwrap_or(0);
        let since = match self.waiting_since {
            Some((sequence, since)) if sequence == oldest => since,
            Some(_) | None => now,
        };
        self.waiting_since = Some((oldest, since));
        let turns = *self.turns.borrow();
        turns.map_or(u64::MAX, |turns| turns.due_at(oldest, since))
    }

    #[expect(clippy::too_many_arguments, reason = "the last part of one sequence of steps")]
    async fn submit(
        &mut self,
        now: u64,
        view: &AccountView,
        price: Price,
        plan: &Plan,
        backlogs: &[Backlog],
        delivery: &Delivery,
        heads: BTreeMap<Uuid, B256>,
    ) -> Result<Step, ChainError> {
        let calldata = match deliver_calldata(delivery) {
            Ok(calldata) => calldata,
            Err(error) => {
                error!(chain = self.config.chain_id, %error, "a delivery cannot be encoded");
                self.hold(plan, now);
                return Ok(Step::Refused);
            }
        };
        let Some(estimate) = self.estimate(&calldata, plan, now).await? else { return Ok(Step::Refused) };
        self.fairness.learn(plan, backlogs, estimate);
        let gas_limit = gas_limit(estimate, plan.gas);
        if estimate > gas_limit {
            // What was learned makes the next plan smaller.
            warn!(chain = self.config.chain_id, estimate, "a delivery needs more gas than a transaction may have");
            return Ok(Step::Refused);
        }
        if !self.can_pay(view, gas_limit, price) {
            return Ok(Step::NoFunds);
        }
        let rows: Vec<Submission> = self.pending().values().cloned().collect();
        let account_nonce = next_account_nonce(view.latest_count, &rows);
        let (sequence, bytes) = (plan.sequence, calldata.len());
        let submission = fresh(account_nonce, Purpose::Deliver { calldata, heads }, gas_limit, price, now);
        self.save_and_send(submission, now).await?;
        self.fairness.serve(plan);
        self.under_way = Some((account_nonce, plan.clone()));
        let mailboxes = plan.shares.len();
        info!(chain = self.config.chain_id, account_nonce, sequence, mailboxes, bytes, gas_limit, "delivery sent");
        Ok(Step::Sent { account_nonce, sequence })
    }

    /// The gas of a delivery, or `None` when the contract refuses it: then the mailbox at fault waits, or all of them.
    async fn estimate(&mut self, calldata: &[u8], plan: &Plan, now: u64) -> Result<Option<u64>, ChainError> {
        let request = TransactionRequest::default()
            .from(self.account.address())
            .to(self.config.contract)
            .input(calldata.to_vec().into());
        let error = match self.provider.estimate_gas(request).await {
            Ok(estimate) => return Ok(Some(estimate)),
            Err(error) if error.is_error_resp() => error,
            Err(error) => return Err(ChainError::Endpoint { doing: "estimating a delivery", source: Box::new(error) }),
        };
        let reason = error.as_error_resp().and_then(|answer| answer.as_decoded_interface_error::<Group::GroupErrors>());
        if matches!(reason, Some(Group::GroupErrors::Halted(_))) {
            return Ok(None);
        }
        warn!(chain = self.config.chain_id, ?reason, %error, "the contract refuses a delivery");
        match reason.as_ref().and_then(culprit).filter(|culprit| plan.shares.iter().any(|s| s.process == *culprit)) {
            Some(culprit) => {
                self.quarantine.add(culprit, now);
            }
            None => {
                self.fairness.forget(plan);
                self.hold(plan, now);
            }
        }
        Ok(None)
    }

    /// Warns once when the account runs low, and says whether it can pay.
    fn can_pay(&mut self, view: &AccountView, gas_limit: u64, price: Price) -> bool {
        let before = std::mem::replace(&mut self.funds, funds(view.balance, gas_limit, price));
        let (chain, address, balance_wei) = (self.config.chain_id, self.account.address(), view.balance);
        match self.funds {
            Funds::Empty if before != Funds::Empty => {
                error!(chain, %address, %balance_wei, "the submitting account cannot pay for a delivery");
            }
            Funds::Low if before == Funds::Enough => {
                warn!(chain, %address, %balance_wei, "the submitting account runs low");
            }
            Funds::Empty | Funds::Low | Funds::Enough => {}
        }
        self.funds != Funds::Empty
    }

    /// Writes a submission down with the hash of what will be sent, then sends it.
    async fn save_and_send(&mut self, mut submission: Submission, now: u64) -> Result<(), ChainError> {
        submission.last_sent_at = now;
        let signed = self.account.sign(&submission)?;
        submission.hashes.push(signed.hash);
        self.save(submission).await?;
        self.hand_over(self.account.send(&signed).await);
        Ok(())
    }

    async fn send_again(&mut self, mut submission: Submission, now: u64) -> Result<(), ChainError> {
        submission.last_sent_at = now;
        let signed = self.account.sign(&submission)?;
        self.save(submission).await?;
        self.hand_over(self.account.send(&signed).await);
        Ok(())
    }

    async fn save(&mut self, submission: Submission) -> Result<(), ChainError> {
        let saved = self.store.save_submission(self.config.chain_id, &submission).await;
        saved.map_err(|source| ChainError::Store { doing: "saving a submission", source })?;
        if let Some(pending) = &mut self.pending {
            pending.insert(submission.account_nonce, submission);
        }
        Ok(())
    }

    /// An endpoint's refusal ("already known", "underpriced", "nonce too low") changes nothing: the next pass looks at the
    /// chain and decides again.
    fn hand_over(&self, sent: Result<(), TransportError>) {
        if let Err(error) = sent {
            warn!(chain = self.config.chain_id, %error, "the endpoint did not take a transaction");
        }
    }
}

const fn fresh(account_nonce: u64, purpose: Purpose, gas_limit: u64, price: Price, now: u64) -> Submission {
    let Price { max_fee, tip } = price;
    let hashes = Vec::new();
    Submission { account_nonce, purpose, gas_limit, max_fee, tip, first_sent_at: now, last_sent_at: now, hashes }
}

/// A fifth above the estimate, for state that changes until the transaction is mined, and not below the plan with what the
/// contract keeps back from its last call: a plan with registered limits then runs whatever the called contracts do.
fn gas_limit(estimate: u64, planned: u64) -> u64 {
    let estimated = estimate.saturating_add(estimate.div_ceil(5)).saturating_add(50_000);
    let planned = planned.saturating_add(planned.div_ceil(8)).saturating_add(RESERVE_GAS);
    estimated.max(planned).min(GAS_LIMIT_MAX)
}

/// The mailbox that the contract blames.
fn culprit(reason: &Group::GroupErrors) -> Option<Uuid> {
    let word = if let Group::GroupErrors::InvalidProof(error) = reason {
        error.process
    } else if let Group::GroupErrors::MalformedMessages(error) = reason {
        error.process
    } else if let Group::GroupErrors::InsufficientGas(error) = reason {
        error.process
    } else if let Group::GroupErrors::StrictBlocked(error) = reason {
        error.process
    } else {
        return None;
    };
    Uuid::from_slice(word.0.get(16..)?).ok()
}

fn error_chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
