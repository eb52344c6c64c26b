//! Reads the group's outputs, at all its addresses, in the ledger's order and checks each on the kernel.
//!
//! The API's word alone decides sequence, senders and time. Amount, asset, keys, script, extra and what is spent come from
//! the transaction itself, whose bytes hash to the id that the row names. A row that does not fit stops everything behind
//! it: nothing is ever passed over.

use std::future::Future;
use std::sync::Arc;

use futures_util::stream::{self, StreamExt, TryStreamExt};
use lockstep_core::group::Addresses;
use lockstep_core::mixin::OutputType;
use lockstep_core::mixin::ids::{members_hash, output_id};
use lockstep_core::mixin::script::Script;
use lockstep_core::output::{CoinId, Output};
use lockstep_core::{AssetId, B256, Mix, Uuid};

use super::error::LedgerError;
use super::safe::{OutputQuery, SafeApi};
use super::stored::StoredPayloads;
use super::wire::{OutputRow, PAGE_ROWS_MAX};
use crate::world::ledger::{KernelView, LedgerFault, ReadError, ReadKernel, ReadLedger};

/// Kernel transactions that are read at the same time: enough to hide the latency, few enough for a public node.
const READS_AT_ONCE: usize = 16;

/// Lists outputs by ascending sequence.
pub trait ListOutputs: Send + Sync {
    /// One page.
    ///
    /// # Errors
    /// Those of the ledger's API.
    fn list(&self, query: &OutputQuery) -> impl Future<Output = Result<Vec<OutputRow>, LedgerError>> + Send;
}

impl ListOutputs for SafeApi {
    fn list(&self, query: &OutputQuery) -> impl Future<Output = Result<Vec<OutputRow>, LedgerError>> + Send {
        self.outputs(query)
    }
}

impl<T: ListOutputs> ListOutputs for Arc<T> {
    fn list(&self, query: &OutputQuery) -> impl Future<Output = Result<Vec<OutputRow>, LedgerError>> + Send {
        T::list(self, query)
    }
}

/// One ledger address of the group.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Address {
    group: Mix,
    users: Vec<Uuid>,
    /// Sequence of the switch that made it the group's first; 0 for the group's first address.
    since: u64,
}

impl Address {
    /// Each address that the group has had, once.
    fn all(group: &Addresses) -> Result<Vec<Arc<Self>>, ReadError> {
        group.distinct().map(|(generation, since, at)| Self::new(generation, since, at).map(Arc::new)).collect()
    }

    fn new(generation: u32, since: u64, group: &Mix) -> Result<Self, ReadError> {
        let users = group.users().ok_or(ReadError::Unlistable { generation })?;
        Ok(Self { group: group.clone(), users, since })
    }

    /// How its outputs are listed.
    fn query(&self, offset: u64, limit: usize) -> OutputQuery {
        let members = hex::encode(members_hash(&self.users));
        OutputQuery { members, threshold: self.group.threshold(), offset, limit, asset: None, state: None }
    }
}

/// What one address lists behind a place in the order.
struct Page {
    address: Arc<Address>,
    rows: Vec<OutputRow>,
    /// There may be more behind the last row.
    is_full: bool,
}

impl Page {
    fn last(&self) -> Option<u64> {
        self.rows.last().map(|row| row.sequence)
    }
}

/// The watcher of the group's addresses. Between two calls it keeps nothing but payloads it read, which never change.
#[derive(Debug)]
pub struct Watcher<L, K> {
    rows: L,
    kernel: K,
    stored: StoredPayloads,
}

impl<L: ListOutputs, K: ReadKernel> Watcher<L, K> {
    /// Reads rows from `rows` and checks them on `kernel`.
    pub fn new(rows: L, kernel: K) -> Self {
        Self { rows, kernel, stored: StoredPayloads::default() }
    }

    /// The rows of one address behind `after`, a page at most. A page that is longer than a client reads is asked for
    /// again in halves: extras can have 4 MiB each, and nobody may stop the group by paying it.
    async fn page(&self, address: Arc<Address>, after: u64) -> Result<Page, ReadError> {
        let mut limit = PAGE_ROWS_MAX;
        let rows = loop {
            match self.rows.list(&address.query(after, limit)).await {
                Err(error) if error.is_too_long() && limit > 2 => limit = limit.div_ceil(2),
                other => break other.map_err(|error| error.during("outputs"))?,
            }
        };
        let mut last = None;
        for row in &rows {
            if last.is_some_and(|last| row.sequence <= last) || row.sequence < after {
                let kernel = format!("above {}", last.unwrap_or(after));
                return Err(mismatch(row, "sequence", row.sequence, kernel));
            }
            last = Some(row.sequence);
        }
        let is_full = rows.len() >= limit;
        // Whether the offset is inclusive is not certain, so the row at it may be there again.
        Ok(Page { address, rows: rows.into_iter().filter(|row| row.sequence > after).collect(), is_full })
    }

    async fn pages(&self, addresses: &[Arc<Address>], after: u64) -> Result<Vec<Page>, ReadError> {
        let addresses: Vec<_> =
            addresses.iter().map(|address| (after.max(address.since), Arc::clone(address))).collect();
        let pages = stream::iter(addresses).map(|(after, address)| self.page(address, after));
        pages.buffered(READS_AT_ONCE).try_collect().await
    }

    /// The rows of all addresses behind `after` in one order, each with the address that lists it.
    ///
    /// Sequences are global, but each address is listed by itself: while one list is read, rows may come into another.
    /// So lists are read twice. Whatever the first reading shows was there before the second began, and with it all that
    /// has a lower sequence at any address; up to there the second reading is whole, unless a page of it ends earlier.
    async fn merged(
        &self,
        addresses: &[Arc<Address>],
        after: u64,
    ) -> Result<Vec<(Arc<Address>, OutputRow)>, ReadError> {
        let mut pages = self.pages(addresses, after).await?;
        let Some(newest) = pages.iter().filter_map(Page::last).max() else { return Ok(Vec::new()) };
        if addresses.len() > 1 {
            pages = self.pages(addresses, after).await?;
        }
        let ends = pages.iter().filter(|page| page.is_full).filter_map(Page::last);
        let horizon = ends.fold(newest, u64::min);
        let rows = pages
            .into_iter()
            .flat_map(|Page { address, rows, .. }| rows.into_iter().map(move |row| (Arc::clone(&address), row)));
        let mut rows: Vec<_> = rows.filter(|(_, row)| row.sequence <= horizon).collect();
        rows.sort_by_key(|(_, row)| row.sequence);
        let twice = |pair: &[(Arc<Address>, OutputRow)]| match pair {
            [(_, one), (_, other)] if one.sequence == other.sequence => Some(other.clone()),
            _ => None,
        };
        match rows.windows(2).find_map(twice) {
            Some(row) => Err(mismatch(&row, "sequence", row.sequence, "one output for each")),
            None => Ok(rows),
        }
    }

    /// Checks rows in their order. What lies before a doubtful one can be applied; the next call meets that one first.
    async fn checked(&self, group: &Addresses, rows: Vec<(Arc<Address>, OutputRow)>) -> Result<Vec<Output>, ReadError> {
        let mut checked =
            stream::iter(rows).map(|(address, row)| self.check(group, address, row)).buffered(READS_AT_ONCE);
        let mut outputs = Vec::new();
        while let Some(output) = checked.next().await {
            match output {
                Ok(output) => outputs.push(output),
                Err(error) if outputs.is_empty() => return Err(error),
                Err(_) => break,
            }
        }
        Ok(outputs)
    }

    async fn check(&self, group: &Addresses, address: Arc<Address>, row: OutputRow) -> Result<Output, ReadError> {
        let hash = B256::new(row.transaction_hash.0);
        match self.kernel.transaction(hash).await? {
            Some(view) if view.is_final => {
                let output = verify(&row, &view, &address, group)?;
                self.stored.find(&self.kernel, output, view.transaction.transaction()).await
            }
            Some(_) | None => Err(ReadError::WaitNotFinal { output: row.output_id, sequence: row.sequence }),
        }
    }
}

impl<L: ListOutputs, K: ReadKernel> ReadLedger for Watcher<L, K> {
    async fn next_outputs(&self, group: &Addresses, after: u64) -> Result<Vec<Output>, ReadError> {
        let addresses = Address::all(group)?;
        let rows = self.merged(&addresses, after).await?;
        self.checked(group, rows).await
    }

    async fn early_outputs(&self, group: &Addresses, generation: u32, after: u64) -> Result<Vec<Output>, ReadError> {
        let (Some(at), Some(since)) = (group.group(generation), group.since(generation)) else { return Ok(Vec::new()) };
        let address = Arc::new(Address::new(generation, since, at)?);
        let page = self.page(Arc::clone(&address), after).await?;
        let early = |row: &OutputRow| {
            row.sequence < since && group.arrival(at, row.sequence).is_some_and(|arrival| arrival.is_early)
        };
        let rows = page.rows.into_iter().take_while(early).map(|row| (Arc::clone(&address), row)).collect();
        self.checked(group, rows).await
    }
}

/// Compares a row with its transaction and the address it was listed for.
fn verify(row: &OutputRow, view: &KernelView, address: &Address, group: &Addresses) -> Result<Output, ReadError> {
    let transaction = view.transaction.transaction();
    let coin = CoinId { transaction: transaction.hash(), index: row.output_index };
    same(row, "transaction_hash", B256::new(row.transaction_hash.0), coin.transaction)?;
    same(row, "output_id", row.output_id, output_id(&coin))?;
    let Some(output) = transaction.outputs().get(usize::from(row.output_index)) else {
        return Err(mismatch(row, "output_index", row.output_index, transaction.outputs().len()));
    };
    same(row, "type", format!("{:#04x}", OutputType::SCRIPT.0), format!("{:#04x}", output.kind.0))?;
    same(row, "amount", row.amount, output.amount)?;
    same(row, "kernel_asset_id", row.kernel_asset_id, transaction.asset())?;
    same(row, "asset_id", AssetId::from_uuid(row.asset_id), transaction.asset())?;
    same(row, "mask", hex::encode(row.mask.0), hex::encode(output.mask.0))?;
    let row_keys = row.keys.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
    let keys = output.keys.iter().map(|key| hex::encode(key.0)).collect::<Vec<_>>().join(",");
    same(row, "keys", row_keys, keys)?;
    same(row, "number of keys", row.keys.len(), address.users.len())?;
    same(row, "script", Script::of_threshold(address.group.threshold()), output.script.clone())?;
    same(row, "receivers_threshold", row.receivers_threshold, address.group.threshold())?;
    let mut receivers = row.receivers.clone();
    receivers.sort_unstable();
    same(row, "receivers", listed(&receivers), listed(&address.users))?;
    if row.extra.0 != transaction.extra() {
        return Err(mismatch(row, "extra", start_of(&row.extra.0), start_of(transaction.extra())));
    }
    let spends = transaction.inputs().iter().filter(|input| input.is_coin()).map(|input| input.coin).collect();
    let senders = (!row.senders.is_empty()).then(|| Mix::of_users(row.senders.iter().copied(), row.senders_threshold));
    let Some(arrival) = group.arrival(&address.group, row.sequence) else {
        return Err(mismatch(row, "receivers", listed(&receivers), "never an address of the group"));
    };
    Ok(Output {
        id: row.output_id,
        sequence: row.sequence,
        created_at: row.created_at.0,
        coin,
        asset: transaction.asset(),
        amount: output.amount,
        senders,
        extra: transaction.extra().to_vec(),
        stored: None,
        inscription: row.inscription_hash.map(|hash| B256::new(hash.0)),
        spends,
        generation: arrival.generation,
        late: arrival.is_early,
    })
}

fn same<T: PartialEq + std::fmt::Display>(
    row: &OutputRow,
    field: &'static str,
    api: T,
    kernel: T,
) -> Result<(), ReadError> {
    if api == kernel { Ok(()) } else { Err(mismatch(row, field, api, kernel)) }
}

fn mismatch(
    row: &OutputRow,
    field: &'static str,
    api: impl std::fmt::Display,
    kernel: impl std::fmt::Display,
) -> ReadError {
    ReadError::Mismatch { output: row.output_id, field, api: api.to_string(), kernel: kernel.to_string() }
}

fn listed(users: &[Uuid]) -> String {
    users.iter().map(Uuid::to_string).collect::<Vec<_>>().join(",")
}

/// The length and the first bytes of an extra, which may be 4 MiB long.
fn start_of(extra: &[u8]) -> String {
    format!("{} bytes {}…", extra.len(), hex::encode(extra.get(..64).unwrap_or(extra)))
}

impl From<LedgerError> for LedgerFault {
    fn from(error: LedgerError) -> Self {
        error.during("ledger")
    }
}

#[cfg(test)]
mod tests {
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
}
