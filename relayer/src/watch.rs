//! The tasks that bring the world in: the ledger's outputs and each chain's records, for the driver.

use std::sync::Arc;
use std::time::{Duration, Instant};

use lockstep_core::Uuid;
use lockstep_core::bls::PublicKey;
use lockstep_core::group::Addresses;
use lockstep_core::operation::{Decision, DecisionBody, Memo, MemoKind, MemoRules};
use lockstep_core::output::Output;
use lockstep_core::trace::ChainId;
use thiserror::Error;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, warn};

use crate::divergence::Doubts;
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
                if !pause(pace.poll, &stop).await {
                    return Ok(());
                }
                continue;
            }
        };
        (failures, answered) = (0, Instant::now());
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
mod tests {
    use lockstep_core::bls::SecretKey;
    use lockstep_core::operation::{Operation, SignedDecision, decision_digest};
    use lockstep_core::output::CoinId;
    use lockstep_core::{Amount, AssetId, B256, Mix};

    use super::*;
    use crate::world::doubt::Reread;

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

        async fn reread(&self, _: &Addresses, _: u64, _: u64, _: &[Output]) -> Result<Reread, ReadError> {
            Ok(Reread::default())
        }

        async fn output(&self, _: &Addresses, id: Uuid) -> Result<Option<Output>, ReadError> {
            Ok(self.0.iter().map(|(_, output)| output).find(|output| output.id == id).cloned())
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

    /// A driver that has applied up to `after`, and the task that brings it outputs.
    struct Bench {
        inputs: mpsc::Receiver<Input>,
        progress: watch::Sender<Progress>,
        addresses: watch::Sender<Arc<Addresses>>,
        doubts: Doubts,
        stop: CancellationToken,
        task: tokio::task::JoinHandle<Result<(), WatchError>>,
    }

    impl Bench {
        fn start(listed: Arc<Listed>, after: u64, addresses: Addresses, memo: MemoRules) -> Self {
            let (to_driver, inputs) = mpsc::channel(8);
            let start = Progress { sequence: after, read: after, ..Progress::default() };
            let (progress, progressed) = watch::channel(start);
            let (addresses, changed) = watch::channel(Arc::new(addresses));
            let (doubts, stop) = (Doubts::default(), CancellationToken::new());
            let echo = Echo { progress: progressed, addresses: changed, memo };
            let task = tokio::spawn(ledger(listed, PACE, echo, to_driver, doubts.clone(), stop.clone()));
            Self { inputs, progress, addresses, doubts, stop, task }
        }

        /// The next outputs, and whether they are late.
        async fn next(&mut self) -> (Vec<Output>, bool) {
            match self.inputs.recv().await {
                Some(Input::Outputs { after, outputs }) => {
                    assert_eq!(after, self.progress.borrow().read, "a page follows what was read");
                    (outputs, false)
                }
                Some(Input::Late(outputs)) => (outputs, true),
                other => panic!("only outputs, not {other:?}"),
            }
        }

        fn applied(&self, sequence: u64) {
            self.progress.send_modify(|progress| (progress.sequence, progress.read) = (sequence, sequence));
        }

        async fn end(self) {
            self.stop.cancel();
            drop(self.inputs);
            self.task.await.expect("no panic").expect("no contradiction");
        }
    }

    /// What a driver that starts at `after` is brought, until it has applied 60: sequence, generation, late.
    async fn brought(after: u64, addresses: Addresses) -> Vec<(u64, u32, bool)> {
        let mut bench = Bench::start(listed(), after, addresses, MemoRules::default());
        let mut all = Vec::new();
        while bench.progress.borrow().read < 60 {
            let (outputs, late) = bench.next().await;
            // A driver that takes its time: the watcher could read on meanwhile.
            tokio::time::sleep(Duration::from_millis(5)).await;
            for output in outputs {
                all.push((output.sequence, output.generation, output.late));
                assert_eq!(output.late, late);
                if late {
                    continue;
                }
                if may_turn(&output) {
                    let addresses = Addresses::from_parts(group(3), vec![(output.sequence, group(4))]);
                    bench.addresses.send_replace(Arc::new(addresses));
                }
                bench.applied(output.sequence);
            }
        }
        bench.end().await;
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

    #[tokio::test]
    async fn what_follows_should_be_read_again_where_the_driver_went_back() {
        let mut bench = Bench::start(listed(), 0, Addresses::new(group(3)), MemoRules::default());
        assert_eq!(bench.next().await.0.iter().map(|output| output.sequence).collect::<Vec<_>>(), [10, 20]);
        // It waits for what may be a switch. The driver goes back to before it instead.
        bench.progress.send_modify(|progress| {
            (progress.sequence, progress.read, progress.rewinds) = (5, 5, 1);
        });
        assert_eq!(bench.next().await.0.iter().map(|output| output.sequence).collect::<Vec<_>>(), [10, 20]);
        bench.end().await;
    }

    /// A key, and the decision with number 1 that it signed: to admit an output.
    fn admission(output: u128) -> (MemoRules, Vec<u8>) {
        let key = SecretKey::derive(&[7; 32], b"test").expect("a key");
        let body = DecisionBody::Admit { output: Uuid::from_u128(output) };
        let rules = MemoRules { group_key: Some(key.public_key()), ..MemoRules::default() };
        let digest = decision_digest(&rules.group_id, 1, &body.encode());
        let signed = SignedDecision { number: 1, body, signature: key.sign_digest(&digest).compress() };
        (rules, Operation::decision(&signed).expect("a short decision").encode().expect("a short memo"))
    }

    #[tokio::test]
    async fn an_admitted_output_should_be_brought_before_the_decision_and_waited_for() {
        let (rules, memo) = admission(7);
        let plain = |sequence| (group(3), output(sequence, Vec::new()));
        let outputs = |others: Vec<(Mix, Output)>| {
            let all = [plain(10), (group(3), output(20, memo.clone())), plain(30)].into_iter().chain(others);
            Arc::new(Listed(all.collect()))
        };
        // The row that it admits was listed behind this member's cursor.
        let addresses = Addresses::new(group(3));
        let late = outputs(vec![plain(7)]);
        let mut bench = Bench::start(late, 8, addresses.clone(), rules.clone());
        let mut brought = Vec::new();
        for _ in 0..4 {
            let (outputs, late) = bench.next().await;
            brought.extend(outputs.iter().map(|output| (output.sequence, late)));
            bench.applied(outputs.last().filter(|_| !late).map_or(10, |output| output.sequence));
        }
        assert_eq!(brought, [(10, false), (7, true), (20, false), (30, false)]);
        bench.end().await;

        // It is not there: nothing passes the decision, and the operator is told what it waits for.
        let mut bench = Bench::start(outputs(Vec::new()), 8, addresses.clone(), rules);
        assert_eq!(bench.next().await.0.len(), 1);
        bench.applied(10);
        let waits = async {
            loop {
                if let Some(waits) = bench.doubts.all().waits {
                    return waits;
                }
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        let waits = tokio::time::timeout(Duration::from_secs(60), waits).await.expect("it is told");
        assert!(waits.contains("sequence 20 admits output") && waits.contains("0000-000000000007"), "{waits}");
        assert!(bench.inputs.try_recv().is_err(), "and nothing is passed over");
        bench.end().await;

        // Anybody can write a decision that nobody signed. Nobody waits for that.
        let mut bench = Bench::start(outputs(Vec::new()), 8, addresses, MemoRules::default());
        let mut brought = Vec::new();
        while brought.len() < 3 {
            let (outputs, _) = bench.next().await;
            brought.extend(outputs.iter().map(|output| output.sequence));
            bench.applied(brought.last().copied().unwrap_or_default());
        }
        assert_eq!(brought, [10, 20, 30]);
        bench.end().await;
    }

    #[test]
    fn only_what_can_change_the_addresses_should_end_a_page() {
        let of = |body| may_turn(&output(1, decision(body)));
        assert!(of(DecisionBody::Switch { group: group(4) }) && of(DecisionBody::Admit { output: Uuid::nil() }));
        assert!(!of(DecisionBody::Close { process: Uuid::nil() }) && !may_turn(&output(1, b"no operation".to_vec())));
    }
}
