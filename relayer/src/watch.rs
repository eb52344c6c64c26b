//! The tasks that bring the world in: the ledger's outputs and each chain's records, for the driver.

use std::sync::Arc;
use std::time::Duration;

use lockstep_core::Uuid;
use lockstep_core::bls::PublicKey;
use lockstep_core::group::Addresses;
use lockstep_core::operation::{Decision, DecisionBody, Memo, MemoKind, MemoRules};
use lockstep_core::output::Output;
use lockstep_core::trace::ChainId;
use thiserror::Error;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, warn};

use crate::backoff::Backoff;
use crate::divergence::Doubts;
use crate::driver::{Input, Progress, Unmasked};
use crate::world::chain::{ChainError, Cursor, ReadChain};
use crate::world::ledger::{ReadError, ReadLedger};

/// Blocks in one page of a chain: common endpoints refuse longer ranges of logs.
const BLOCKS_AT_ONCE: u64 = 500;
/// Attempts that fail in a row before a failure is a warning: one lost answer is nothing to look at.
const PATIENCE: u32 = 5;

/// How often a source is read.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Pause between two readings when there is nothing new. While nobody answers it doubles.
    pub poll: Duration,
    /// How long an output must have been seen before it is applied. It decides when, never what.
    pub settle: Duration,
}

/// What the driver makes of what it is brought.
#[derive(Clone, Debug)]
pub struct Echo {
    /// How far it has applied the ledger.
    pub progress: watch::Receiver<Progress>,
    /// The group's addresses as of then; never older than `progress`.
    pub addresses: watch::Receiver<Arc<Addresses>>,
    /// How memos are read before a decision changes the group's key.
    pub memo: MemoRules,
}

impl Echo {
    /// How memos are read now.
    fn rules(&self) -> MemoRules {
        let decided = self.progress.borrow().decided_key;
        let decided = decided.and_then(|key| PublicKey::from_bytes(&key).ok());
        MemoRules { group_key: decided.or(self.memo.group_key), ..self.memo.clone() }
    }
}

/// Brings the group's outputs behind `after` to the driver until told to stop.
///
/// A decision can give the group another address, whose outputs belong right behind it. So a page ends with what may be
/// such a decision, and the next one is read when the driver has applied it and says which addresses there are.
///
/// An output that is not final, or of which the ledger's API and the kernel say different things, stops the queue and is never
/// passed over; `doubts` then names it.
///
/// # Errors
/// An address of the group that cannot be listed.
pub async fn ledger<L: ReadLedger>(
    ledger: L,
    pace: Pace,
    echo: Echo,
    inputs: mpsc::Sender<Input>,
    doubts: Doubts,
    stop: CancellationToken,
) -> Result<(), WatchError> {
    let Progress { sequence: after, rewinds, .. } = *echo.progress.borrow();
    let mut task = LedgerTask { ledger, after, rewinds, pace, echo, inputs, early_read: 0, early_after: 0 };
    let (mut failures, mut answered) = (0, Instant::now());
    let mut backoff = Backoff::of_endpoint(pace.poll);
    loop {
        let brought = tokio::select! {
            () = stop.cancelled() => return Ok(()),
            // Cancel-safe: what was read is either sent or read again at the next start.
            brought = task.bring() => brought,
        };
        let wait = match brought {
            Ok(Brought::Something) => false,
            Ok(Brought::Nothing) => true,
            // The driver has stopped, and the service with it.
            Ok(Brought::Refused) => return Ok(()),
            Err(error @ ReadError::Unlistable { .. }) => return Err(error.into()),
            Err(error) => {
                // By time, not by number: each answer that never comes takes long.
                let is_told = error.is_of_an_output() || answered.elapsed() >= pace.poll.saturating_mul(PATIENCE);
                if doubts.wait(is_told.then(|| in_words(&error))) && error.is_of_an_output() {
                    error!(%error, "the next output cannot be applied: this member stands still until it can");
                }
                failures = note(failures, &error, "ledger");
                if !pause(backoff.pause_after(error.is_fault()), &stop).await {
                    return Ok(());
                }
                continue;
            }
        };
        (failures, answered) = (0, Instant::now());
        backoff.reset();
        doubts.wait(None);
        if wait && !pause(pace.poll, &stop).await {
            return Ok(());
        }
    }
}

/// What came of one look at the ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Brought {
    Something,
    Nothing,
    Refused,
}

struct LedgerTask<L> {
    ledger: L,
    after: u64,
    /// How often the driver has gone back, as far as this task has followed.
    rewinds: u64,
    pace: Pace,
    echo: Echo,
    inputs: mpsc::Sender<Input>,
    /// Generations up to this one need no more look for early outputs.
    early_read: u32,
    /// How far the early outputs of the generation behind it are read.
    early_after: u64,
}

impl<L: ReadLedger> LedgerTask<L> {
    /// Reads one page and hands it to the driver.
    async fn bring(&mut self) -> Result<Brought, ReadError> {
        self.wait_for_mask().await?;
        self.follow();
        let group = Arc::clone(&self.echo.addresses.borrow_and_update());
        if self.early_read < group.newest() {
            return self.bring_early(&group).await;
        }
        let mut outputs = settled(&self.ledger, &group, self.after, self.pace.settle).await?;
        let turn = outputs.iter().position(may_turn);
        outputs.truncate(turn.map_or(usize::MAX, |turn| turn.saturating_add(1)));
        let Some(last) = outputs.last().cloned() else { return Ok(Brought::Nothing) };
        // What is before the decision need not wait for what the decision names.
        if let Some(admitted) = admitted(&last, &self.echo.rules()) {
            outputs.pop();
            if outputs.is_empty() {
                return self.bring_admission(&group, last, admitted).await;
            }
        }
        let Some(last) = outputs.last().map(|output| output.sequence) else { return Ok(Brought::Nothing) };
        self.hand_in(outputs, last, turn.is_some()).await
    }

    /// Hands a page to the driver, and waits until it is applied where the next one may need that.
    async fn hand_in(&mut self, outputs: Vec<Output>, last: u64, waits: bool) -> Result<Brought, ReadError> {
        if self.inputs.send(Input::Outputs { after: self.after, outputs }).await.is_err() {
            return Ok(Brought::Refused);
        }
        self.after = last;
        let rewinds = self.rewinds;
        let through = |progress: &Progress| progress.read >= last || progress.rewinds != rewinds;
        if waits && self.echo.progress.wait_for(through).await.is_err() {
            return Ok(Brought::Refused);
        }
        Ok(Brought::Something)
    }

    /// A decision that gives an output its place, behind that output: without it this member would derive something else.
    async fn bring_admission(
        &mut self,
        group: &Addresses,
        decision: Output,
        admitted: Uuid,
    ) -> Result<Brought, ReadError> {
        let sequence = decision.sequence;
        let Some(output) = self.ledger.output(group, admitted).await? else {
            return Err(ReadError::WaitForAdmitted { output: admitted, sequence });
        };
        // The driver knows what it has; what is above the decision was never behind a cursor.
        let late = (output.sequence < sequence).then_some(Output { late: true, ..output });
        if let Some(late) = late
            && self.inputs.send(Input::Late(vec![late])).await.is_err()
        {
            return Ok(Brought::Refused);
        }
        self.hand_in(vec![decision], sequence, true).await
    }

    /// Lets the driver come to the end of what it has before more is read. An error where that takes long.
    async fn wait_for_mask(&mut self) -> Result<(), ReadError> {
        let is_masked = self.echo.progress.wait_for(|progress| progress.unmasked.is_none());
        if timeout(self.pace.poll, is_masked).await.is_ok() {
            return Ok(());
        }
        let unmasked = self.echo.progress.borrow().unmasked.clone();
        let in_words = |Unmasked { output, sequence, pair, .. }: Unmasked| ReadError::WaitForMask {
            output,
            sequence,
            process: pair.process,
        };
        unmasked.map_or(Ok(()), |unmasked| Err(in_words(unmasked)))
    }

    /// Begins again where the driver went back to.
    fn follow(&mut self) {
        let Progress { sequence, rewinds, .. } = *self.echo.progress.borrow_and_update();
        if rewinds != self.rewinds {
            (self.after, self.rewinds) = (sequence, rewinds);
            (self.early_read, self.early_after) = (0, 0);
        }
    }

    /// A page of what came to the next address before it was the group's. It is read again after each start: the driver
    /// knows what it has.
    async fn bring_early(&mut self, group: &Addresses) -> Result<Brought, ReadError> {
        let generation = self.early_read.saturating_add(1);
        let outputs = self.ledger.early_outputs(group, generation, self.early_after).await?;
        let Some(last) = outputs.last().map(|output| output.sequence) else {
            (self.early_read, self.early_after) = (generation, 0);
            return Ok(Brought::Something);
        };
        if self.inputs.send(Input::Late(outputs)).await.is_err() {
            return Ok(Brought::Refused);
        }
        self.early_after = last;
        Ok(Brought::Something)
    }
}

/// True for what may change how the next outputs are read: a switch to another address, another key for decisions, or the
/// admission of an output that may be one of these. Whether the decision is valid and acts, the driver finds out.
fn may_turn(output: &Output) -> bool {
    let Memo { kind, .. } = Memo::decode(&output.extra, &MemoRules::default());
    let MemoKind::Decision(Decision { body, .. }) = kind else { return false };
    matches!(body, DecisionBody::Switch { .. } | DecisionBody::Admit { .. } | DecisionBody::Key { .. })
}

/// The output that a validly signed decision admits. Anybody can write one that is not, and nobody waits for that.
fn admitted(output: &Output, rules: &MemoRules) -> Option<Uuid> {
    let MemoKind::Decision(Decision { valid: true, body, .. }) = Memo::decode(&output.extra, rules).kind else {
        return None;
    };
    if let DecisionBody::Admit { output } = body { Some(output) } else { None }
}

/// Outputs that read the same twice, `settle` apart.
async fn settled<L: ReadLedger>(
    ledger: &L,
    group: &Addresses,
    after: u64,
    settle: Duration,
) -> Result<Vec<Output>, ReadError> {
    let mut first = ledger.next_outputs(group, after).await?;
    if settle.is_zero() {
        return Ok(first);
    }
    while !first.is_empty() {
        tokio::time::sleep(settle).await;
        let second = ledger.next_outputs(group, after).await?;
        if second.starts_with(&first) {
            break;
        }
        warn!(after, "the ledger lists otherwise than before: waiting again");
        first = second;
    }
    Ok(first)
}

/// Brings a chain's final records behind `cursor` to the driver until told to stop.
///
/// # Errors
/// A final block that changed, or numbering that cannot be: a contradiction.
pub async fn chain<C: ReadChain>(
    chain: ChainId,
    source: C,
    mut cursor: Cursor,
    poll: Duration,
    inputs: mpsc::Sender<Input>,
    stop: CancellationToken,
) -> Result<(), WatchError> {
    let (mut failures, mut backoff) = (0, Backoff::of_endpoint(poll));
    loop {
        let page = tokio::select! {
            () = stop.cancelled() => return Ok(()),
            // Cancel-safe: reading changes nothing.
            page = source.records(cursor, BLOCKS_AT_ONCE) => page,
        };
        let mut behind = false;
        // An endpoint that answers, and is behind, is asked as often as ever.
        let rest = backoff.pause_after(matches!(page, Err(ChainError::Endpoint { .. })));
        match page {
            Ok(page) => {
                failures = 0;
                behind = page.cursor.block < page.final_block;
                // Rows and cursor move together; an empty page is worth a row only now and then.
                let far = page.cursor.block.saturating_sub(cursor.block) >= BLOCKS_AT_ONCE;
                if !page.records.is_empty() || far {
                    cursor = page.cursor;
                    let input = Input::Records { chain, records: page.records, cursor };
                    if inputs.send(input).await.is_err() {
                        return Ok(());
                    }
                }
            }
            Err(ChainError::Contradiction(contradiction)) => {
                error!(chain, %contradiction, "the chain contradicts itself");
                return Err(ChainError::Contradiction(contradiction).into());
            }
            Err(error) => failures = note(failures, &error, "chain"),
        }
        if !behind && !pause(rest, &stop).await {
            return Ok(());
        }
    }
}

/// An error with its cause.
fn in_words(error: &ReadError) -> String {
    let cause = std::error::Error::source(error);
    cause.map_or_else(|| error.to_string(), |cause| format!("{error}: {cause}"))
}

/// False when told to stop.
async fn pause(period: Duration, stop: &CancellationToken) -> bool {
    tokio::select! {
        () = stop.cancelled() => false,
        () = tokio::time::sleep(period) => true,
    }
}

fn note(failures: u32, error: &dyn std::error::Error, source: &'static str) -> u32 {
    let cause = error.source().map(ToString::to_string);
    if failures.checked_rem(PATIENCE.saturating_mul(12)) == Some(PATIENCE) {
        warn!(source, failures, %error, cause, "cannot be read");
    } else {
        debug!(source, failures, %error, cause, "cannot be read");
    }
    failures.saturating_add(1)
}

/// What no waiting helps against.
#[derive(Debug, Error)]
pub enum WatchError {
    /// An address of the group cannot be listed.
    #[error("contradiction on the ledger")]
    Ledger(#[from] ReadError),
    /// A final chain changed.
    #[error("contradiction on a chain")]
    Chain(#[from] ChainError),
}

#[cfg(test)]
mod tests;
