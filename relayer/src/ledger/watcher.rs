//! Reads the group's outputs, at all its addresses, in the ledger's order and checks each on the kernel.
//!
//! The API's word alone decides sequence, senders and time. Amount, asset, keys, script, extra and what is spent come from
//! the transaction itself, whose bytes hash to the id that the row names. A row that does not fit stops everything behind
//! it: nothing is ever passed over.

mod again;

use std::future::Future;
use std::sync::Arc;

use futures_util::stream::{self, StreamExt, TryStreamExt};
use lockstep_core::group::Addresses;
use lockstep_core::mixin::OutputType;
use lockstep_core::mixin::ids::{members_hash, output_id};
use lockstep_core::mixin::script::Script;
use lockstep_core::output::{CoinId, Output};
use lockstep_core::{AssetId, B256, Mix, Uuid};
use tracing::debug;

use super::error::{LedgerError, Refusal};
use super::safe::{OutputQuery, SafeApi};
use super::stored::StoredPayloads;
use super::wire::{OutputRow, PAGE_ROWS_MAX};
use crate::world::doubt::Reread;
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

    /// One output, whoever owns it.
    ///
    /// # Errors
    /// Those of the ledger's API, among them that it knows none.
    fn find(&self, id: Uuid) -> impl Future<Output = Result<OutputRow, LedgerError>> + Send;
}

impl ListOutputs for SafeApi {
    fn list(&self, query: &OutputQuery) -> impl Future<Output = Result<Vec<OutputRow>, LedgerError>> + Send {
        self.outputs(query)
    }

    fn find(&self, id: Uuid) -> impl Future<Output = Result<OutputRow, LedgerError>> + Send {
        self.output(id)
    }
}

impl<T: ListOutputs> ListOutputs for Arc<T> {
    fn list(&self, query: &OutputQuery) -> impl Future<Output = Result<Vec<OutputRow>, LedgerError>> + Send {
        T::list(self, query)
    }

    fn find(&self, id: Uuid) -> impl Future<Output = Result<OutputRow, LedgerError>> + Send {
        T::find(self, id)
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

    /// The rows of one address above `after` and not above `to`, each with the address.
    async fn between(
        &self,
        address: Arc<Address>,
        after: u64,
        to: u64,
    ) -> Result<Vec<(Arc<Address>, OutputRow)>, ReadError> {
        let (mut after, mut all) = (after.max(address.since), Vec::new());
        loop {
            let page = self.page(Arc::clone(&address), after).await?;
            let (last, is_full) = (page.last(), page.is_full);
            all.extend(page.rows.into_iter().filter(|row| row.sequence <= to).map(|row| (Arc::clone(&address), row)));
            match last {
                Some(last) if is_full && last < to => after = last,
                Some(_) | None => return Ok(all),
            }
        }
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

    async fn reread(&self, group: &Addresses, after: u64, to: u64, known: &[Output]) -> Result<Reread, ReadError> {
        let mut rows = Vec::new();
        for address in Address::all(group)? {
            rows.extend(self.between(address, after, to).await?);
        }
        let mut reread = Reread { changed: again::changed(known, rows.iter().map(|(_, row)| row)), behind: Vec::new() };
        rows.retain(|(_, row)| !known.iter().any(|known| known.id == row.output_id));
        for (address, row) in rows {
            match self.check(group, address, row).await {
                Ok(output) => reread.behind.push(output),
                Err(error @ ReadError::Fault(_)) => return Err(error),
                // Nothing is known of it before it is final, and what is no output of the group is none behind the cursor.
                Err(error) => debug!(%error, "a row behind the cursor cannot be taken yet"),
            }
        }
        Ok(reread)
    }

    async fn output(&self, group: &Addresses, id: Uuid) -> Result<Option<Output>, ReadError> {
        let row = match self.rows.find(id).await {
            Err(error) if error.refusal() == Some(Refusal::NotFound) => return Ok(None),
            row => row.map_err(|error| error.during("output"))?,
        };
        let mut receivers = row.receivers.clone();
        receivers.sort_unstable();
        let owned =
            |address: &Arc<Address>| address.users == receivers && address.group.threshold() == row.receivers_threshold;
        match Address::all(group)?.into_iter().find(owned) {
            Some(address) => self.check(group, address, row).await.map(Some),
            None => Ok(None),
        }
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
mod tests;
