//! Reads the group's outputs in the ledger's order and checks each on the kernel.
//!
//! The API's word alone decides sequence, senders and time. Amount, asset, keys, script, extra and what is spent come from
//! the transaction itself, whose bytes hash to the id that the row names. A row that does not fit stops everything behind
//! it: nothing is ever passed over.

use std::future::Future;
use std::sync::Arc;

use futures_util::stream::{self, StreamExt};
use lockstep_core::mixin::OutputType;
use lockstep_core::mixin::ids::{members_hash, output_id};
use lockstep_core::mixin::script::Script;
use lockstep_core::output::{CoinId, Output};
use lockstep_core::{AssetId, B256, Mix, Uuid};

use super::error::LedgerError;
use super::safe::{OutputQuery, SafeApi};
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

/// The ledger address of the group in one generation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupAddress {
    users: Vec<Uuid>,
    threshold: u8,
    generation: u32,
}

impl GroupAddress {
    /// The address of `group` in `generation`, or `None` if it has members that are no ledger users.
    pub fn new(group: &Mix, generation: u32) -> Option<Self> {
        Some(Self { users: group.users()?, threshold: group.threshold(), generation })
    }

    /// How its outputs are listed.
    fn query(&self, offset: u64, limit: usize) -> OutputQuery {
        let members = hex::encode(members_hash(&self.users));
        OutputQuery { members, threshold: self.threshold, offset, limit, asset: None, state: None }
    }
}

/// The watcher of one group address.
#[derive(Debug)]
pub struct Watcher<L, K> {
    rows: L,
    kernel: K,
    group: GroupAddress,
}

impl<L: ListOutputs, K: ReadKernel> Watcher<L, K> {
    /// Watches `group` by the rows of `rows`, checked on `kernel`.
    pub const fn new(rows: L, kernel: K, group: GroupAddress) -> Self {
        Self { rows, kernel, group }
    }

    /// The rows behind `after`, a page at most. A page that is longer than a client reads is asked for again in halves:
    /// extras can have 4 MiB each, and nobody may stop the group by paying it.
    async fn rows_after(&self, after: u64) -> Result<Vec<OutputRow>, ReadError> {
        let mut limit = PAGE_ROWS_MAX;
        let rows = loop {
            match self.rows.list(&self.group.query(after, limit)).await {
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
        // Whether the offset is inclusive is not certain, so the row at it may be there again.
        Ok(rows.into_iter().filter(|row| row.sequence > after).collect())
    }

    async fn check(&self, row: OutputRow) -> Result<Output, ReadError> {
        let hash = B256::new(row.transaction_hash.0);
        match self.kernel.transaction(hash).await? {
            Some(view) if view.is_final => verify(&row, &view, &self.group),
            Some(_) | None => Err(ReadError::WaitNotFinal { output: row.output_id, sequence: row.sequence }),
        }
    }
}

impl<L: ListOutputs, K: ReadKernel> ReadLedger for Watcher<L, K> {
    async fn next_outputs(&self, after: u64) -> Result<Vec<Output>, ReadError> {
        let rows = self.rows_after(after).await?;
        let mut checked = stream::iter(rows).map(|row| self.check(row)).buffered(READS_AT_ONCE);
        let mut outputs = Vec::new();
        while let Some(output) = checked.next().await {
            match output {
                Ok(output) => outputs.push(output),
                Err(error) if outputs.is_empty() => return Err(error),
                // What lies before it can be applied; the next call meets it first.
                Err(_) => break,
            }
        }
        Ok(outputs)
    }
}

/// Compares a row with its transaction and the group it was listed for.
fn verify(row: &OutputRow, view: &KernelView, group: &GroupAddress) -> Result<Output, ReadError> {
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
    same(row, "number of keys", row.keys.len(), group.users.len())?;
    same(row, "script", Script::of_threshold(group.threshold), output.script.clone())?;
    same(row, "receivers_threshold", row.receivers_threshold, group.threshold)?;
    let mut receivers = row.receivers.clone();
    receivers.sort_unstable();
    same(row, "receivers", listed(&receivers), listed(&group.users))?;
    if row.extra.0 != transaction.extra() {
        return Err(mismatch(row, "extra", start_of(&row.extra.0), start_of(transaction.extra())));
    }
    let spends = transaction.inputs().iter().filter(|input| input.is_coin()).map(|input| input.coin).collect();
    let senders = (!row.senders.is_empty()).then(|| Mix::of_users(row.senders.iter().copied(), row.senders_threshold));
    Ok(Output {
        id: row.output_id,
        sequence: row.sequence,
        created_at: row.created_at.0,
        coin,
        asset: transaction.asset(),
        amount: output.amount,
        senders,
        extra: transaction.extra().to_vec(),
        inscription: row.inscription_hash.map(|hash| B256::new(hash.0)),
        spends,
        generation: group.generation,
        late: false,
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
    }

    impl ListOutputs for &Canned {
        async fn list(&self, query: &OutputQuery) -> Result<Vec<OutputRow>, LedgerError> {
            assert_eq!((query.threshold, query.members.len()), (2, 64));
            if self.longest.is_some_and(|longest| query.limit > longest) {
                let source = HttpError::BodyTooLong { bytes_max: 1 };
                return Err(LedgerError::Http { call: "outputs".to_owned(), source });
            }
            let rows = self.rows.iter().filter(|row| row.sequence >= query.offset).take(query.limit);
            Ok(rows.cloned().collect())
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

    async fn next(canned: &Canned, after: u64) -> Result<Vec<Output>, ReadError> {
        let address = GroupAddress::new(&group(), 3).expect("users only");
        Watcher::new(canned, canned, address).next_outputs(after).await
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
        assert_eq!((output.spends.clone(), output.generation, output.late), (vec![spent()], 3, false));
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
}
