//! The tasks that bring the world in: the ledger's outputs and each chain's records, for the driver.

use std::sync::Arc;
use std::time::Duration;

use lockstep_core::group::Addresses;
use lockstep_core::operation::{Decision, DecisionBody, Memo, MemoKind, MemoRules};
use lockstep_core::output::Output;
use lockstep_core::trace::ChainId;
use thiserror::Error;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, warn};

use crate::driver::{Input, Progress};
use crate::world::chain::{ChainError, Cursor, ReadChain};
use crate::world::ledger::{ReadError, ReadLedger};

/// Blocks in one page of a chain: common endpoints refuse longer ranges of logs.
const BLOCKS_AT_ONCE: u64 = 500;
/// Attempts that fail in a row before a failure is a warning: one lost answer is nothing to look at.
const PATIENCE: u32 = 5;

/// How often a source is read.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Pause between two readings when there is nothing new, or after a failure.
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
}

/// Brings the group's outputs behind `after` to the driver until told to stop.
///
/// A decision can give the group another address, whose outputs belong right behind it. So a page ends with what may be
/// such a decision, and the next one is read when the driver has applied it and says which addresses there are.
///
/// # Errors
/// What the ledger's API and the kernel say differently of one output: a contradiction.
pub async fn ledger<L: ReadLedger>(
    ledger: L,
    after: u64,
    pace: Pace,
    echo: Echo,
    inputs: mpsc::Sender<Input>,
    stop: CancellationToken,
) -> Result<(), WatchError> {
    let mut task = LedgerTask { ledger, after, pace, echo, inputs, early_read: 0, early_after: 0 };
    let mut failures = 0;
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
            Err(error @ (ReadError::Mismatch { .. } | ReadError::Unlistable { .. })) => return Err(error.into()),
            Err(error) => {
                failures = note(failures, &error, "ledger");
                if !pause(pace.poll, &stop).await {
                    return Ok(());
                }
                continue;
            }
        };
        failures = 0;
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
        let group = Arc::clone(&self.echo.addresses.borrow_and_update());
        if self.early_read < group.newest() {
            return self.bring_early(&group).await;
        }
        let mut outputs = settled(&self.ledger, &group, self.after, self.pace.settle).await?;
        let turn = outputs.iter().position(may_turn);
        outputs.truncate(turn.map_or(usize::MAX, |turn| turn.saturating_add(1)));
        let Some(last) = outputs.last().map(|output| output.sequence) else { return Ok(Brought::Nothing) };
        if self.inputs.send(Input::Outputs(outputs)).await.is_err() {
            return Ok(Brought::Refused);
        }
        self.after = last;
        if turn.is_some() && self.echo.progress.wait_for(|progress| progress.sequence >= last).await.is_err() {
            return Ok(Brought::Refused);
        }
        Ok(Brought::Something)
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
        if self.inputs.send(Input::Outputs(outputs)).await.is_err() {
            return Ok(Brought::Refused);
        }
        self.early_after = last;
        Ok(Brought::Something)
    }
}

/// True for what may give the group another address: a switch, or the admission of an output that may be one. Whether
/// the decision is valid and acts, the driver finds out.
fn may_turn(output: &Output) -> bool {
    let Memo { kind, .. } = Memo::decode(&output.extra, &MemoRules::default());
    let MemoKind::Decision(Decision { body, .. }) = kind else { return false };
    matches!(body, DecisionBody::Switch { .. } | DecisionBody::Admit { .. })
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
    let mut failures = 0;
    loop {
        let page = tokio::select! {
            () = stop.cancelled() => return Ok(()),
            // Cancel-safe: reading changes nothing.
            page = source.records(cursor, BLOCKS_AT_ONCE) => page,
        };
        let mut behind = false;
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
        if !behind && !pause(poll, &stop).await {
            return Ok(());
        }
    }
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
    /// The ledger's API and the kernel differ.
    #[error("contradiction on the ledger")]
    Ledger(#[from] ReadError),
    /// A final chain changed.
    #[error("contradiction on a chain")]
    Chain(#[from] ChainError),
}

#[cfg(test)]
mod tests {
    use lockstep_core::operation::{Operation, SignedDecision};
    use lockstep_core::output::CoinId;
    use lockstep_core::{Amount, AssetId, B256, Mix, Uuid};

    use super::*;

    /// What follows the switch and its early outputs.
    const BEHIND: [(u64, u32, bool); 4] = [(30, 1, false), (40, 0, false), (50, 1, false), (60, 0, false)];
    const PACE: Pace = Pace { poll: Duration::from_millis(1), settle: Duration::ZERO };

    fn group(newest: u128) -> Mix {
        Mix::of_users([1, 2, newest].map(Uuid::from_u128), 2)
    }

    /// What the ledger lists, by address.
    struct Listed(Vec<(Mix, Output)>);

    impl Listed {
        fn read(&self, group: &Addresses, after: u64, early: bool) -> Vec<Output> {
            let mut outputs = Vec::new();
            for (at, output) in self.0.iter().filter(|(_, output)| output.sequence > after) {
                let Some(arrival) = group.arrival(at, output.sequence).filter(|arrival| arrival.is_early == early)
                else {
                    continue;
                };
                outputs.push(Output { generation: arrival.generation, late: early, ..output.clone() });
            }
            outputs.sort_by_key(|output| output.sequence);
            outputs.truncate(3);
            outputs
        }
    }

    impl ReadLedger for Arc<Listed> {
        async fn next_outputs(&self, group: &Addresses, after: u64) -> Result<Vec<Output>, ReadError> {
            Ok(self.read(group, after, false))
        }

        async fn early_outputs(
            &self,
            group: &Addresses,
            generation: u32,
            after: u64,
        ) -> Result<Vec<Output>, ReadError> {
            let early = self.read(group, after, true);
            Ok(early.into_iter().filter(|output| output.generation == generation).collect())
        }
    }

    fn output(sequence: u64, extra: Vec<u8>) -> Output {
        Output {
            id: Uuid::from_u128(sequence.into()),
            sequence,
            created_at: sequence,
            coin: CoinId { transaction: B256::ZERO, index: 0 },
            asset: AssetId([1; 32]),
            amount: Amount::from_units(1),
            senders: None,
            extra,
            stored: None,
            inscription: None,
            spends: Vec::new(),
            generation: 0,
            late: false,
        }
    }

    fn decision(body: DecisionBody) -> Vec<u8> {
        let unsigned = SignedDecision { number: 1, body, signature: [0; 48] };
        Operation::decision(&unsigned).expect("a short decision").encode().expect("a short memo")
    }

    /// Payments at the first address (3) and at the second (4), which is the group's from 20 on.
    fn listed() -> Arc<Listed> {
        let plain = |sequence| output(sequence, Vec::new());
        let switch = output(20, decision(DecisionBody::Switch { group: group(4) }));
        let first = [10, 40, 60].map(|sequence| (group(3), plain(sequence)));
        let second = [5, 7, 9, 15, 30, 50].map(|sequence| (group(4), plain(sequence)));
        Arc::new(Listed(first.into_iter().chain(second).chain([(group(3), switch)]).collect()))
    }

    /// What a driver that starts at `after` is brought, until it has applied 60: sequence, generation, late.
    async fn brought(after: u64, addresses: Addresses) -> Vec<(u64, u32, bool)> {
        let (inputs, mut from_watcher) = mpsc::channel(8);
        let (progress, progressed) = watch::channel(Progress { sequence: after, ..Progress::default() });
        let (changes, changed) = watch::channel(Arc::new(addresses));
        let stop = CancellationToken::new();
        let echo = Echo { progress: progressed, addresses: changed };
        let task = tokio::spawn(ledger(listed(), after, PACE, echo, inputs, stop.clone()));
        let mut all = Vec::new();
        while !stop.is_cancelled() {
            let Some(Input::Outputs(outputs)) = from_watcher.recv().await else { panic!("only outputs") };
            // A driver that takes its time: the watcher could read on meanwhile.
            tokio::time::sleep(Duration::from_millis(5)).await;
            for output in outputs {
                all.push((output.sequence, output.generation, output.late));
                if output.late {
                    continue;
                }
                if may_turn(&output) {
                    changes.send_replace(Arc::new(Addresses::from_parts(group(3), vec![(output.sequence, group(4))])));
                }
                progress.send_modify(|progress| progress.sequence = output.sequence);
                if output.sequence == 60 {
                    stop.cancel();
                }
            }
        }
        task.await.expect("no panic").expect("no contradiction");
        all
    }

    #[tokio::test]
    async fn a_page_should_end_at_a_switch_so_that_the_new_address_is_not_skipped() {
        let late = [(5, 1, true), (7, 1, true), (9, 1, true), (15, 1, true)];
        let expected = [&[(10, 0, false), (20, 0, false)][..], &late, &BEHIND].concat();
        assert_eq!(brought(0, Addresses::new(group(3))).await, expected);
    }

    /// A crash right behind the switch may have come before its early outputs were applied.
    #[tokio::test]
    async fn early_outputs_should_be_read_again_after_a_restart() {
        let addresses = Addresses::from_parts(group(3), vec![(20, group(4))]);
        let late = [(5, 1, true), (7, 1, true), (9, 1, true), (15, 1, true)];
        assert_eq!(brought(20, addresses).await, [&late[..], &BEHIND].concat());
    }

    #[test]
    fn only_what_can_change_the_addresses_should_end_a_page() {
        let of = |body| may_turn(&output(1, decision(body)));
        assert!(of(DecisionBody::Switch { group: group(4) }) && of(DecisionBody::Admit { output: Uuid::nil() }));
        assert!(!of(DecisionBody::Close { process: Uuid::nil() }) && !may_turn(&output(1, b"no operation".to_vec())));
    }
}
