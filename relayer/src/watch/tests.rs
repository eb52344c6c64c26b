//! What the watcher brings, in which order, and how long it waits.

#![expect(clippy::arithmetic_side_effects, reason = "a panic is how a test fails")]

use std::sync::Mutex;

use lockstep_core::bls::SecretKey;
use lockstep_core::operation::{Operation, SignedDecision, decision_digest};
use lockstep_core::output::CoinId;
use lockstep_core::{Amount, AssetId, B256, Mix};

use super::*;
use crate::world::chain::RecordPage;
use crate::world::doubt::Reread;
use crate::world::ledger::LedgerFault;

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
            let Some(arrival) = group.arrival(at, output.sequence).filter(|arrival| arrival.is_early == early) else {
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

    async fn early_outputs(&self, group: &Addresses, generation: u32, after: u64) -> Result<Vec<Output>, ReadError> {
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
        Self::paced(listed, PACE, after, addresses, memo)
    }

    /// At the beginning of what a ledger says, in turn.
    fn of(script: &Arc<Scripted>, pace: Pace) -> Self {
        Self::paced(Arc::clone(script), pace, 0, Addresses::new(group(3)), MemoRules::default())
    }

    fn paced(ledger: impl ReadLedger + 'static, pace: Pace, after: u64, addresses: Addresses, memo: MemoRules) -> Self {
        let (to_driver, inputs) = mpsc::channel(8);
        let start = Progress { sequence: after, read: after, ..Progress::default() };
        let (progress, progressed) = watch::channel(start);
        let (addresses, changed) = watch::channel(Arc::new(addresses));
        let (doubts, stop) = (Doubts::default(), CancellationToken::new());
        let echo = Echo { progress: progressed, addresses: changed, memo };
        let task = tokio::spawn(super::ledger(ledger, pace, echo, to_driver, doubts.clone(), stop.clone()));
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

    /// Applies the next page, and says when it came and which sequences and senders it has. The clock is paused, so waiting
    /// for one that never comes takes no time.
    async fn takes(&mut self, begun: Instant) -> (Duration, Vec<(u64, Option<Mix>)>) {
        let next = timeout(Duration::from_secs(600), self.next()).await;
        let (outputs, _) = next.expect("a page in ten minutes");
        let came = begun.elapsed();
        self.applied(outputs.last().map_or(0, |output| output.sequence));
        (came, outputs.into_iter().map(|output| (output.sequence, output.senders)).collect())
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

/// What a ledger answers once.
enum Answer {
    Rows(Vec<Output>),
    NotFinal,
    Nothing,
}

/// A ledger that gives one answer after the other, and then the last one for ever.
struct Scripted {
    answers: Vec<Answer>,
    asked: Asked,
}

/// When something was asked.
#[derive(Default)]
struct Asked(Mutex<Vec<Instant>>);

impl Asked {
    /// How often before.
    fn note(&self) -> usize {
        let mut asked = self.0.lock().expect("no panic");
        asked.push(Instant::now());
        asked.len() - 1
    }

    /// Milliseconds between one question and the next, of `count` such.
    async fn gaps(&self, count: usize) -> Vec<u128> {
        while self.0.lock().expect("no panic").len() <= count {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let asked = self.0.lock().expect("no panic").clone();
        asked.windows(2).take(count).map(|pair| (pair[1] - pair[0]).as_millis()).collect()
    }
}

impl Scripted {
    fn new(answers: impl IntoIterator<Item = Answer>) -> Arc<Self> {
        Arc::new(Self { answers: answers.into_iter().collect(), asked: Asked::default() })
    }
}

impl ReadLedger for Scripted {
    async fn next_outputs(&self, _: &Addresses, after: u64) -> Result<Vec<Output>, ReadError> {
        let turn = self.asked.note();
        match self.answers.get(turn).or(self.answers.last()).expect("an answer") {
            Answer::Rows(rows) => Ok(rows.iter().filter(|row| row.sequence > after).cloned().collect()),
            Answer::NotFinal => Err(ReadError::WaitNotFinal { output: Uuid::nil(), sequence: 10 }),
            Answer::Nothing => Err(ReadError::Fault(no_answer())),
        }
    }

    async fn early_outputs(&self, _: &Addresses, _: u32, _: u64) -> Result<Vec<Output>, ReadError> {
        Ok(Vec::new())
    }

    async fn reread(&self, _: &Addresses, _: u64, _: u64, _: &[Output]) -> Result<Reread, ReadError> {
        Ok(Reread::default())
    }

    async fn output(&self, _: &Addresses, _: Uuid) -> Result<Option<Output>, ReadError> {
        Ok(None)
    }
}

fn no_answer() -> LedgerFault {
    LedgerFault::Transport { doing: "outputs", retryable: true, source: "429".into() }
}

/// A row by a sender.
fn by(sender: u128, sequence: u64) -> Output {
    Output { senders: Some(user(sender)), ..output(sequence, Vec::new()) }
}

fn user(id: u128) -> Mix {
    Mix::of_users([Uuid::from_u128(id)], 1)
}

const SETTLE: Duration = Duration::from_secs(5);
const SETTLED: Pace = Pace { poll: Duration::from_millis(100), settle: SETTLE };

#[tokio::test(start_paused = true)]
async fn nothing_should_be_handed_in_before_the_lag_has_passed() {
    let script = Scripted::new([Answer::Rows(vec![]), Answer::Rows(vec![by(1, 10)])]);
    let mut bench = Bench::of(&script, SETTLED);
    let begun = Instant::now();
    assert_eq!(bench.takes(begun).await, (SETTLED.poll + SETTLE, vec![(10, Some(user(1)))]), "seen at the second look");
    assert_eq!(script.asked.gaps(2).await, [100, 5_000], "and read once more when it has settled");
    bench.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_row_that_reads_otherwise_should_wait_until_two_readings_agree() {
    let script = Scripted::new([1, 2, 1, 3].map(|sender| Answer::Rows(vec![by(1, 5), by(sender, 10)])));
    let mut bench = Bench::of(&script, SETTLED);
    let begun = Instant::now();
    let both = vec![(5, Some(user(1))), (10, Some(user(3)))];
    assert_eq!(bench.takes(begun).await, (SETTLE * 4, both), "the fifth reading is as the fourth");
    bench.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_row_that_vanishes_should_not_be_applied() {
    let script = Scripted::new([vec![by(1, 10)], vec![], vec![], vec![by(2, 20)]].map(Answer::Rows));
    let mut bench = Bench::of(&script, SETTLED);
    let begun = Instant::now();
    let (came, rows) = bench.takes(begun).await;
    assert_eq!(rows, [(20, Some(user(2)))]);
    assert_eq!(came, SETTLE + SETTLED.poll * 2 + SETTLE);
    bench.end().await;
}

/// A row that comes in before one that was seen already changes what stands where, so all of it is read once more.
#[tokio::test(start_paused = true)]
async fn a_row_that_comes_before_others_should_wait_with_them() {
    let script = Scripted::new([vec![by(1, 20)], vec![by(2, 10), by(1, 20)]].map(Answer::Rows));
    let mut bench = Bench::of(&script, SETTLED);
    let begun = Instant::now();
    assert_eq!(bench.takes(begun).await, (SETTLE * 2, vec![(10, Some(user(2))), (20, Some(user(1)))]));
    bench.end().await;
}

#[tokio::test(start_paused = true)]
async fn new_rows_should_not_delay_those_before_them() {
    let script = Scripted::new((1..=8).map(|rows| Answer::Rows((1..=rows).map(|row| by(1, row * 10)).collect())));
    let mut bench = Bench::of(&script, SETTLED);
    let begun = Instant::now();
    let mut pages = Vec::new();
    for _ in 0..3 {
        let (came, rows) = bench.takes(begun).await;
        pages.push((came, rows.into_iter().map(|(sequence, _)| sequence).collect::<Vec<_>>()));
    }
    let expected = [(SETTLE, vec![10]), (SETTLE * 2, vec![20, 30]), (SETTLE * 3, vec![40, 50])];
    assert_eq!(pages, expected, "each page is what was seen a lag ago");
    bench.end().await;
}

/// Who does not answer is asked less and less often; who answers that something is not there yet, as often as ever.
#[tokio::test(start_paused = true)]
async fn a_ledger_that_does_not_answer_should_be_left_alone_for_longer_each_time() {
    let silence = || (0..7).map(|_| Answer::Nothing);
    let waits = (0..6).map(|_| Answer::NotFinal);
    let script =
        Scripted::new(silence().chain([Answer::Rows(vec![by(1, 10)])]).chain(silence()).chain(waits).chain(silence()));
    let pace = Pace { settle: Duration::ZERO, ..SETTLED };
    let mut bench = Bench::of(&script, pace);
    assert_eq!(bench.next().await.0.len(), 1);
    bench.applied(10);
    let gaps = script.asked.gaps(27).await;
    let doubling = [100, 200, 400, 800, 1_600, 3_200, 3_200];
    let expected = [&doubling[..], &[0], &doubling, &[100; 6], &doubling[..6]].concat();
    assert_eq!(gaps, expected, "an answer ends it at once");
    bench.end().await;
}

/// A chain that fails so many times, then answers, then lags, then fails again.
struct Chain(Arc<Asked>);

impl ReadChain for Chain {
    async fn records(&self, from: Cursor, _: u64) -> Result<RecordPage, ChainError> {
        let doing = "test";
        match self.0.note() {
            0..=3 | 12.. => Err(ChainError::Endpoint { doing, source: "429".into() }),
            4..=7 => Ok(RecordPage { records: Vec::new(), cursor: from, final_block: from.block }),
            8..=11 => Err(ChainError::Incomplete { doing, what: "it lags".to_owned() }),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_fails_should_be_left_alone_for_longer_each_time() {
    let (asked, stop) = (Arc::new(Asked::default()), CancellationToken::new());
    let (inputs, _from_watcher) = mpsc::channel(8);
    let poll = Duration::from_secs(1);
    let task = chain(1, Chain(Arc::clone(&asked)), Cursor::before(1), poll, inputs, stop.clone());
    let task = tokio::spawn(task);
    let gaps = asked.gaps(18).await;
    let expected = [&[1_000, 2_000, 4_000, 8_000][..], &[1_000; 8], &[1_000, 2_000, 4_000, 8_000, 15_000, 15_000]];
    assert_eq!(gaps, expected.concat());
    stop.cancel();
    task.await.expect("no panic").expect("no contradiction");
}
