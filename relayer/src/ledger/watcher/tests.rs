use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use lockstep_core::Amount;
use lockstep_core::mixin::{Input, Output as KernelOutput, OutputType as Kind, RawKey, Transaction};

use super::*;
use crate::http::HttpError;
use crate::ledger::wire::{Hex32, HexBytes, LedgerTime, OUTPUT_TYPE, OutputState};

const ASSET: Uuid = Uuid::from_u128(0xa55e7);

fn group() -> Mix {
    Mix::of_users((1..=3).map(Uuid::from_u128), 2)
}

fn spent() -> CoinId {
    CoinId { transaction: B256::repeat_byte(8), index: 4 }
}

fn transaction(extra: u8) -> Transaction {
    let keys = (1..=3).map(|i| RawKey([i; 32])).collect();
    let output = KernelOutput::of_keys(Amount::from_units(15), keys, RawKey([9; 32]), 2);
    let parts = (vec![Input::of_coin(spent())], vec![output]);
    Transaction::new(AssetId::from_uuid(ASSET), parts.0, parts.1, Vec::new(), vec![extra]).expect("in bounds")
}

fn row(transaction: &Transaction, sequence: u64) -> OutputRow {
    let output = &transaction.outputs()[0];
    OutputRow {
        kind: OUTPUT_TYPE.to_owned(),
        output_id: output_id(&CoinId { transaction: transaction.hash(), index: 0 }),
        request_id: None,
        transaction_hash: Hex32(transaction.hash().0),
        output_index: 0,
        asset_id: ASSET,
        kernel_asset_id: transaction.asset(),
        amount: output.amount,
        mask: Hex32(output.mask.0),
        keys: output.keys.iter().map(|key| Hex32(key.0)).collect(),
        senders_hash: None,
        senders_threshold: 1,
        senders: vec![Uuid::from_u128(7)],
        receivers_hash: Hex32::default(),
        receivers_threshold: 2,
        receivers: (1..=3).map(Uuid::from_u128).collect(),
        extra: HexBytes(transaction.extra().to_vec()),
        state: OutputState::Spent,
        sequence,
        created_at: LedgerTime(sequence.saturating_add(1_000)),
        updated_at: LedgerTime(0),
        signers: Vec::new(),
        signed_by: None,
        inscription_hash: None,
    }
}

/// Rows that are listed, and transactions that the kernel knows.
#[derive(Default)]
struct Canned {
    rows: Vec<OutputRow>,
    longest: Option<usize>,
    views: BTreeMap<B256, KernelView>,
    /// How often it was listed, and from which time on rows of a sequence are there.
    listed: AtomicUsize,
    appears: BTreeMap<u64, usize>,
    /// Rows at another address than the first, by output.
    elsewhere: BTreeMap<Uuid, Mix>,
}

impl ListOutputs for &Canned {
    async fn list(&self, query: &OutputQuery) -> Result<Vec<OutputRow>, LedgerError> {
        let time = self.listed.fetch_add(1, Ordering::Relaxed);
        if self.longest.is_some_and(|longest| query.limit > longest) {
            let source = HttpError::BodyTooLong { bytes_max: 1 };
            return Err(LedgerError::Http { call: "outputs".to_owned(), source });
        }
        let of_query = |row: &&OutputRow| {
            let at = self.elsewhere.get(&row.output_id).cloned().unwrap_or_else(group);
            let users = at.users().expect("users only");
            (hex::encode(members_hash(&users)), at.threshold()) == (query.members.clone(), query.threshold)
        };
        let is_there = |row: &&OutputRow| self.appears.get(&row.sequence).is_none_or(|since| *since <= time);
        let rows = self.rows.iter().filter(of_query).filter(is_there);
        Ok(rows.filter(|row| row.sequence >= query.offset).take(query.limit).cloned().collect())
    }

    async fn find(&self, id: Uuid) -> Result<OutputRow, LedgerError> {
        let row = self.rows.iter().find(|row| row.output_id == id);
        row.cloned().ok_or_else(|| {
            let (call, description) = ("outputs".to_owned(), "not found".to_owned());
            LedgerError::Refused { call, refusal: Refusal::NotFound, code: 404, description }
        })
    }
}

impl ReadKernel for &Canned {
    async fn transaction(&self, hash: B256) -> Result<Option<KernelView>, LedgerFault> {
        Ok(self.views.get(&hash).cloned())
    }

    async fn key_holders(&self, _key: [u8; 32]) -> Result<Vec<B256>, LedgerFault> {
        Ok(Vec::new())
    }

    async fn coin_holders(&self, _coin: CoinId) -> Result<Vec<B256>, LedgerFault> {
        Ok(Vec::new())
    }
}

/// Outputs at sequences 10, 20, 30, …, final up to `finals` of them.
fn canned(count: u8, finals: u8) -> Canned {
    let mut canned = Canned::default();
    for i in 1..=count {
        let transaction = transaction(i);
        canned.rows.push(row(&transaction, u64::from(i) * 10));
        let view = KernelView { transaction: transaction.clone().unsigned(), is_final: i <= finals };
        canned.views.insert(transaction.hash(), view);
    }
    canned
}

/// The second address: of members 1, 2 and 4.
fn second() -> Mix {
    Mix::of_users([1, 2, 4].map(Uuid::from_u128), 2)
}

impl Canned {
    /// Moves the rows of `sequences` to the second address.
    fn with_second(mut self, sequences: &[u64]) -> Self {
        for row in self.rows.iter_mut().filter(|row| sequences.contains(&row.sequence)) {
            row.receivers = second().users().expect("users only");
            self.elsewhere.insert(row.output_id, second());
        }
        self
    }
}

/// The first address, the second since `since`, then the first again since 1,000.
fn switched(since: u64) -> Addresses {
    Addresses::from_parts(group(), vec![(since, second()), (1_000, group())])
}

async fn sequences(canned: &Canned, group: &Addresses, after: u64) -> Vec<u64> {
    let outputs = Watcher::new(canned, canned).next_outputs(group, after).await.expect("outputs");
    outputs.iter().map(|output| output.sequence).collect()
}

async fn next(canned: &Canned, after: u64) -> Result<Vec<Output>, ReadError> {
    Watcher::new(canned, canned).next_outputs(&Addresses::new(group()), after).await
}

#[tokio::test]
async fn every_field_that_the_kernel_contradicts_should_be_named() {
    type Change = fn(&mut OutputRow);
    let changes: [(&str, Change); 12] = [
        ("output_id", |row| row.output_id = Uuid::nil()),
        ("output_id", |row| row.output_index = 1),
        ("amount", |row| row.amount = Amount::from_units(16)),
        ("kernel_asset_id", |row| row.kernel_asset_id = AssetId([0; 32])),
        ("asset_id", |row| row.asset_id = Uuid::nil()),
        ("mask", |row| row.mask = Hex32([0; 32])),
        ("keys", |row| row.keys[1] = Hex32([0; 32])),
        ("keys", |row| row.keys.truncate(2)),
        ("receivers_threshold", |row| row.receivers_threshold = 1),
        ("receivers", |row| row.receivers[0] = Uuid::nil()),
        ("extra", |row| row.extra.0.push(0)),
        ("extra", |row| row.extra.0.clear()),
    ];
    for (expected, change) in changes {
        let mut canned = canned(1, 1);
        change(&mut canned.rows[0]);
        let error = next(&canned, 0).await.expect_err(expected);
        assert!(matches!(error, ReadError::Mismatch { field, .. } if field == expected), "{expected}: {error}");
    }
}

#[tokio::test]
async fn a_coin_under_other_conditions_should_not_pass_as_the_groups() {
    let good = transaction(1);
    type Change = fn(&mut KernelOutput);
    let changes: [(&str, Change); 3] = [
        ("script", |output| output.script = Script::of_threshold(1)),
        ("type", |output| output.kind = Kind::NODE_PLEDGE),
        ("number of keys", |output| output.keys.push(RawKey([7; 32]))),
    ];
    for (expected, change) in changes {
        let mut output = good.outputs()[0].clone();
        change(&mut output);
        let inputs = good.inputs().to_vec();
        let changed = Transaction::new(good.asset(), inputs, vec![output], Vec::new(), vec![1]).expect("in bounds");
        let mut canned = Canned::default();
        canned.rows.push(row(&changed, 10));
        let view = KernelView { transaction: changed.clone().unsigned(), is_final: true };
        canned.views.insert(changed.hash(), view);
        let error = next(&canned, 0).await.expect_err(expected);
        assert!(matches!(error, ReadError::Mismatch { field, .. } if field == expected), "{expected}: {error}");
    }
}

#[tokio::test]
async fn rows_out_of_order_should_be_refused() {
    let mut canned = canned(3, 3);
    canned.rows.swap(1, 2);
    let error = next(&canned, 0).await.expect_err("30 before 20");
    assert!(matches!(error, ReadError::Mismatch { field: "sequence", .. }));
    canned.rows[2].sequence = canned.rows[1].sequence;
    assert!(next(&canned, 0).await.is_err(), "one sequence twice");
}

#[tokio::test]
async fn a_row_that_is_not_final_should_stop_the_queue_and_never_be_skipped() {
    let mut canned = canned(3, 3);
    canned.views.values_mut().for_each(|view| view.is_final = view.transaction.transaction().extra() != [2]);
    assert_eq!(next(&canned, 0).await.expect("what lies before it").len(), 1);
    let error = next(&canned, 10).await.expect_err("not final");
    assert!(matches!(error, ReadError::WaitNotFinal { sequence: 20, .. }));
    canned.views.clear();
    assert!(matches!(next(&canned, 10).await, Err(ReadError::WaitNotFinal { sequence: 20, .. })), "unknown");
}

#[tokio::test]
async fn outputs_should_come_in_order_whole_and_once() {
    let canned = canned(200, 200);
    let first = next(&canned, 0).await.expect("outputs");
    assert_eq!(
        first.iter().map(|output| output.sequence).collect::<Vec<_>>(),
        (1..=200).map(|i| i * 10).collect::<Vec<_>>()
    );
    let again = next(&canned, 20).await.expect("outputs");
    assert_eq!(again, first[2..]);
    let output = &first[0];
    assert_eq!((output.spends.clone(), output.generation, output.late), (vec![spent()], 0, false));
    assert_eq!((output.created_at, output.extra.clone()), (1_010, vec![1]));
    assert_eq!(output.senders, Some(Mix::of_users([Uuid::from_u128(7)], 1)));
    assert!(next(&canned, 2_000).await.expect("nothing yet").is_empty());
}

#[tokio::test]
async fn a_page_too_long_to_read_should_be_asked_for_in_parts() {
    let canned = Canned { longest: Some(2), ..canned(5, 5) };
    assert_eq!(next(&canned, 10).await.expect("the next one").len(), 1);
    let stuck = Canned { longest: Some(1), ..canned };
    assert!(matches!(next(&stuck, 10).await, Err(ReadError::Fault(fault)) if !fault.retryable()));
}

#[tokio::test]
async fn two_addresses_should_be_read_as_one_order() {
    let canned = canned(12, 12).with_second(&[40, 60, 70, 120]);
    let outputs = Watcher::new(&canned, &canned).next_outputs(&switched(30), 30).await.expect("outputs");
    let found: Vec<_> = outputs.iter().map(|output| (output.sequence, output.generation)).collect();
    let expected = [(40, 1), (50, 0), (60, 1), (70, 1), (80, 0), (90, 0), (100, 0), (110, 0), (120, 1)];
    assert_eq!(found, expected);
    assert!(outputs.iter().all(|output| !output.late));
    assert_eq!(sequences(&canned, &switched(30), 70).await, [80, 90, 100, 110, 120]);
}

/// Row 30 of the first address comes into being after that was listed, and before the second one lists row 40.
#[tokio::test]
async fn a_row_that_comes_between_two_lists_should_not_be_skipped() {
    let mut canned = canned(5, 5).with_second(&[20, 40]);
    canned.appears = BTreeMap::from([(30, 1), (40, 1), (50, 3)]);
    assert_eq!(sequences(&canned, &switched(5), 5).await, [10, 20, 30, 40], "50 came with the second reading");
    assert_eq!(sequences(&canned, &switched(5), 40).await, [50]);
}

#[tokio::test]
async fn a_page_that_ends_should_hold_back_what_the_other_address_lists_behind_its_end() {
    let mut canned = canned(9, 9).with_second(&[20, 60, 90]);
    // A page of two rows: the first address lists 10 and 30, and 40 stands before 60.
    canned.longest = Some(2);
    let (mut after, mut all) = (5, Vec::new());
    loop {
        let page = sequences(&canned, &switched(5), after).await;
        let Some(last) = page.last().copied() else { break };
        all.extend(page);
        after = last;
    }
    assert_eq!(all, [10, 20, 30, 40, 50, 60, 70, 80, 90]);
}

#[tokio::test]
async fn one_sequence_at_two_addresses_should_be_refused() {
    let mut canned = canned(3, 3).with_second(&[20]);
    canned.rows[1].sequence = 10;
    let refused = Watcher::new(&canned, &canned).next_outputs(&switched(5), 5).await;
    assert!(matches!(refused, Err(ReadError::Mismatch { field: "sequence", .. })), "{refused:?}");
}

#[tokio::test]
async fn what_came_before_its_address_was_the_groups_should_be_late_and_wait() {
    let canned = canned(9, 9).with_second(&[20, 40, 60, 80]);
    assert_eq!(sequences(&canned, &switched(50), 50).await, [60, 70, 80, 90], "an address begins at its switch");
    let watcher = Watcher::new(&canned, &canned);
    let early = async |generation, after| {
        let outputs = watcher.early_outputs(&switched(50), generation, after).await.expect("outputs");
        assert!(outputs.iter().all(|output| output.late));
        outputs.iter().map(|output| (output.sequence, output.generation)).collect::<Vec<_>>()
    };
    assert_eq!(early(1, 0).await, [(20, 1), (40, 1)]);
    assert_eq!(early(1, 20).await, [(40, 1)]);
    assert_eq!(early(1, 40).await, []);
    assert_eq!(early(2, 0).await, [], "the first address again: what came to it was applied in its place");
    assert_eq!(early(3, 0).await, [], "no such generation");
}

#[tokio::test]
async fn what_reads_otherwise_behind_the_cursor_should_be_named_and_what_is_new_given() {
    let canned = canned(5, 5);
    let known = next(&canned, 0).await.expect("outputs");
    let reread = async |canned: &Canned, known: &[Output], after: u64, to: u64| {
        let range = after.saturating_add(1)..=to;
        let known: Vec<_> = known.iter().filter(|output| range.contains(&output.sequence)).cloned().collect();
        Watcher::new(canned, canned).reread(&Addresses::new(group()), after, to, &known).await.expect("read")
    };
    assert_eq!(reread(&canned, &known, 0, 50).await, Reread::default(), "nothing new");
    let lacking: Vec<_> = known.iter().filter(|output| output.sequence != 30).cloned().collect();
    let found = reread(&canned, &lacking, 0, 40).await;
    assert_eq!((found.changed, found.behind), (Vec::new(), vec![known[2].clone()]));
    assert_eq!(reread(&canned, &lacking, 30, 40).await, Reread::default(), "only behind the start of the window");
    assert_eq!(reread(&canned, &lacking, 0, 20).await, Reread::default(), "only up to its end");

    let pending = Canned { rows: canned.rows.clone(), ..self::canned(5, 2) };
    assert_eq!(reread(&pending, &lacking, 0, 50).await, Reread::default(), "not final yet");
    let halved = Canned { longest: Some(2), ..self::canned(5, 5) };
    assert_eq!(reread(&halved, &lacking, 0, 50).await.behind, [known[2].clone()], "page by page");

    let mut otherwise = self::canned(5, 5);
    otherwise.rows[1].senders = vec![Uuid::max()];
    otherwise.rows.remove(3);
    let changed = reread(&otherwise, &known, 0, 50).await.changed;
    let named: Vec<_> = changed.iter().map(|changed| (changed.sequence, changed.field)).collect();
    assert_eq!(named, [(20, "senders"), (40, "listed")]);
    assert!(changed[0].to_string().contains(&Uuid::max().to_string()), "{}", changed[0]);
    let aside: Vec<_> = known.iter().map(|output| Output { late: true, ..output.clone() }).collect();
    assert_eq!(reread(&otherwise, &aside, 0, 50).await.changed, [], "what was set aside was not applied");
}

#[tokio::test]
async fn an_output_should_be_found_by_its_id_and_only_if_it_is_the_groups() {
    let mut canned = canned(2, 1);
    let group = Addresses::new(group());
    let ids = [0, 1].map(|row| canned.rows[row].output_id);
    canned.rows[0].receivers.reverse();
    let find = async |canned: &Canned, id| Watcher::new(canned, canned).output(&group, id).await;
    assert_eq!(find(&canned, ids[0]).await.expect("read").map(|output| output.sequence), Some(10));
    assert!(matches!(find(&canned, ids[1]).await, Err(ReadError::WaitNotFinal { sequence: 20, .. })));
    assert_eq!(find(&canned, Uuid::nil()).await.expect("read"), None);
    canned.rows[0].receivers_threshold = 1;
    assert_eq!(find(&canned, ids[0]).await.expect("read"), None, "somebody else's");
}
