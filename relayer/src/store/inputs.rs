//! The inputs of the derivation, what they led to, and their replay.

use lockstep_core::B256;
use lockstep_core::derive::{Derived, Record};
use lockstep_core::machine::{Named, Step};
use lockstep_core::mask::MaskPair;
use lockstep_core::message;
use lockstep_core::output::Output;
use lockstep_core::trace::ChainId;
use sqlx::{Row, Sqlite, Transaction};

use crate::world::chain::Cursor;

use super::{Store, StoreError, body, hash, masks, signed, text, unsigned};

/// Rows of a replay are read in pages, so that start-up holds no second copy of the history.
const REPLAY_PAGE: i64 = 2_000;

/// Everything that one turn of the driver persists, in one transaction.
#[derive(Debug, Default)]
pub struct Commit {
    /// Outputs with what they did, in the order in which they were applied; a late one waits and does nothing yet.
    pub steps: Vec<(Output, Option<Step>)>,
    /// New final records with their position in the chain's order.
    pub records: Vec<(ChainId, u64, Record)>,
    /// Where each chain's watcher goes on.
    pub cursors: Vec<(ChainId, Cursor)>,
    /// Transactions derived from records and escrows.
    pub derived: Vec<Named>,
    /// Outbounds parked for good.
    pub parked: Vec<(ChainId, u64)>,
    /// Senders that have to be masked before the next outputs can be applied, with the group key in force there.
    pub unmasked: Vec<(MaskPair, [u8; 96])>,
}

/// The stored inputs, page by page, and the last step to compare with.
#[derive(Clone, Copy, Debug)]
pub struct Replay<'a> {
    store: &'a Store,
}

impl Store {
    /// Persists one turn of the driver: all of it or nothing.
    ///
    /// # Errors
    /// A derived transaction that differs from the stored one of the same trace is a contradiction.
    pub async fn commit(&self, commit: &Commit) -> Result<(), StoreError> {
        let mut tx = self.fenced().await?;
        for (output, step) in &commit.steps {
            insert_output(&mut tx, output).await?;
            if let Some(step) = step {
                insert_step(&mut tx, step).await?;
            }
        }
        for (chain, position, record) in &commit.records {
            sqlx::query("insert into records (chain, position, body) values ($1, $2, $3)")
                .bind(signed(*chain, "chain id")?)
                .bind(signed(*position, "record position")?)
                .bind(text(record, "record")?)
                .execute(&mut *tx)
                .await?;
        }
        for (chain, cursor) in &commit.cursors {
            sqlx::query(
                "insert into chain_cursors (chain, body) values ($1, $2) on conflict (chain) do update set body = $2",
            )
            .bind(signed(*chain, "chain id")?)
            .bind(text(cursor, "chain cursor")?)
            .execute(&mut *tx)
            .await?;
        }
        for named in &commit.derived {
            insert_derived(&mut tx, named).await?;
        }
        insert_parked(&mut tx, &commit.parked).await?;
        for (pair, key) in &commit.unmasked {
            masks::insert_wanted(&mut tx, pair, key).await?;
        }
        tx.commit().await?;
        Ok(())
    }

    /// The stored inputs, to derive everything again.
    pub const fn replay(&self) -> Replay<'_> {
        Replay { store: self }
    }

    /// Where the watcher of `chain` goes on, or `None` at the first start.
    ///
    /// # Errors
    /// Reports what SQLite reports.
    pub async fn chain_cursor(&self, chain: ChainId) -> Result<Option<Cursor>, StoreError> {
        let row = sqlx::query("select body from chain_cursors where chain = $1")
            .bind(signed(chain, "chain id")?)
            .fetch_optional(&self.reader)
            .await?;
        row.map(|row| body(row.try_get(0)?, "chain cursor")).transpose()
    }
}

impl Replay<'_> {
    /// The next outputs after `position`, in the order in which they were applied; positions count from 1.
    ///
    /// # Errors
    /// Reports an unreadable row.
    pub async fn outputs(&self, position: u64) -> Result<Vec<(u64, Output)>, StoreError> {
        let rows = sqlx::query("select position, body from outputs where position > $1 order by position limit $2")
            .bind(signed(position, "output position")?)
            .bind(REPLAY_PAGE)
            .fetch_all(&self.store.reader)
            .await?;
        let read = |row: &sqlx::sqlite::SqliteRow| {
            let position = unsigned(row.try_get(0)?, "output position")?;
            Ok((position, body(row.try_get(1)?, "output")?))
        };
        rows.iter().map(read).collect()
    }

    /// The next records of `chain` from `position`, in final order; positions count from 0.
    ///
    /// # Errors
    /// Reports an unreadable row.
    pub async fn records(&self, chain: ChainId, position: u64) -> Result<Vec<Record>, StoreError> {
        let query = "select body from records where chain = $1 and position >= $2 order by position limit $3";
        let rows = sqlx::query(query)
            .bind(signed(chain, "chain id")?)
            .bind(signed(position, "record position")?)
            .bind(REPLAY_PAGE)
            .fetch_all(&self.store.reader)
            .await?;
        rows.iter().map(|row| body(row.try_get(0)?, "record")).collect()
    }

    /// Compares a derived transaction with the stored one of its trace. A row of before the group's key was written down does
    /// not say which it was; then what is derived now is written there.
    ///
    /// # Errors
    /// A difference, or a trace that was never stored, is a contradiction.
    pub async fn check_derived(&self, named: &Named) -> Result<(), StoreError> {
        let row = sqlx::query("select body, json_type(body, '$.key') is not null from derived where trace = $1")
            .bind(named.id.as_bytes().as_slice())
            .fetch_optional(&self.store.reader)
            .await?;
        let (stored, says_key): (Option<Derived>, bool) = match &row {
            Some(row) => (Some(body(row.try_get(0)?, "derived transaction")?), row.try_get(1)?),
            None => (None, true),
        };
        let is_same = |stored: Derived| {
            let key = if says_key { stored.key } else { named.derived.key.clone() };
            Derived { key, ..stored } == named.derived
        };
        if stored.is_some_and(is_same) {
            return if says_key { Ok(()) } else { self.rewrite(named).await };
        }
        Err(StoreError::Contradiction(format!(
            "the replay derives {:?} otherwise than this member once did",
            named.derived.trace
        )))
    }

    async fn rewrite(&self, named: &Named) -> Result<(), StoreError> {
        let mut tx = self.store.writing().await?;
        sqlx::query("update derived set body = $2 where trace = $1")
            .bind(named.id.as_bytes().as_slice())
            .bind(text(&named.derived, "derived transaction")?)
            .execute(&mut *tx)
            .await?;
        Ok(tx.commit().await?)
    }

    /// The history at the newest stored step.
    ///
    /// # Errors
    /// Reports an unreadable row.
    pub async fn last_history(&self) -> Result<Option<B256>, StoreError> {
        let row = sqlx::query("select history from steps order by sequence desc limit 1")
            .fetch_optional(&self.store.reader)
            .await?;
        row.map(|row| hash(row.try_get(0)?, "history")).transpose()
    }
}

pub(super) async fn insert_parked(
    tx: &mut Transaction<'_, Sqlite>,
    parked: &[(ChainId, u64)],
) -> Result<(), StoreError> {
    for (chain, k) in parked {
        sqlx::query("insert into parked (chain, k) values ($1, $2) on conflict do nothing")
            .bind(signed(*chain, "chain id")?)
            .bind(signed(*k, "outbound nonce")?)
            .execute(&mut **tx)
            .await?;
    }
    Ok(())
}

pub(super) async fn insert_output(tx: &mut Transaction<'_, Sqlite>, output: &Output) -> Result<(), StoreError> {
    sqlx::query("insert into outputs (id, sequence, body) values ($1, $2, $3)")
        .bind(output.id.as_bytes().as_slice())
        .bind(signed(output.sequence, "sequence")?)
        .bind(text(output, "output")?)
        .execute(&mut **tx)
        .await?;
    Ok(())
}

async fn insert_step(tx: &mut Transaction<'_, Sqlite>, step: &Step) -> Result<(), StoreError> {
    let sequence = signed(step.checkpoint.sequence, "sequence")?;
    sqlx::query("insert into steps (sequence, history, root, leaves) values ($1, $2, $3, $4)")
        .bind(sequence)
        .bind(step.checkpoint.history.as_slice())
        .bind(step.checkpoint.root.as_slice())
        .bind(i64::from(step.leaves))
        .execute(&mut **tx)
        .await?;
    for (id, class) in &step.classes {
        sqlx::query("insert into classes (output, sequence, class) values ($1, $2, $3)")
            .bind(id.as_bytes().as_slice())
            .bind(sequence)
            .bind(format!("{class:?}").to_lowercase())
            .execute(&mut **tx)
            .await?;
    }
    for node in &step.nodes {
        sqlx::query("insert into nodes (level, place, sequence, hash) values ($1, $2, $3, $4)")
            .bind(node.place.level)
            .bind(node.place.index)
            .bind(sequence)
            .bind(node.hash.as_slice())
            .execute(&mut **tx)
            .await?;
    }
    for opened in &step.opened {
        sqlx::query("insert into mailboxes (leaf, process, chain, address, gas) values ($1, $2, $3, $4, $5)")
            .bind(i64::from(opened.leaf))
            .bind(opened.process.as_bytes().as_slice())
            .bind(signed(opened.chain, "chain id")?)
            .bind(opened.address.as_slice())
            .bind(i64::from(opened.gas))
            .execute(&mut **tx)
            .await?;
    }
    for (process, gas) in &step.gas {
        sqlx::query("update mailboxes set gas = $2 where process = $1")
            .bind(process.as_bytes().as_slice())
            .bind(i64::from(*gas))
            .execute(&mut **tx)
            .await?;
    }
    for (posted, head) in &step.posted {
        sqlx::query("insert into messages (process, nonce, sequence, head, record) values ($1, $2, $3, $4, $5)")
            .bind(posted.process.as_bytes().as_slice())
            .bind(signed(posted.message.nonce, "message nonce")?)
            .bind(sequence)
            .bind(head.as_slice())
            .bind(message::pack(std::slice::from_ref(&posted.message)))
            .execute(&mut **tx)
            .await?;
    }
    for named in &step.derived {
        insert_derived(tx, named).await?;
    }
    Ok(())
}

/// A trace names its transaction for ever, so the row is written once. One that was kept when the member went back, because it
/// was promised, is derived again.
async fn insert_derived(tx: &mut Transaction<'_, Sqlite>, named: &Named) -> Result<(), StoreError> {
    let insert = "insert into derived (trace, body) values ($1, $2) \
                  on conflict (trace) do update set body = $2 where body = $2";
    let written = sqlx::query(insert)
        .bind(named.id.as_bytes().as_slice())
        .bind(text(&named.derived, "derived transaction")?)
        .execute(&mut **tx)
        .await?;
    if written.rows_affected() == 1 {
        return Ok(());
    }
    Err(StoreError::Contradiction(format!("{:?} is derived otherwise than this member once did", named.derived.trace)))
}
