//! Going back: what was applied and never promised can be given up, so that it is read again in the group's order.

use std::collections::BTreeSet;

use lockstep_core::output::Output;
use lockstep_core::trace::ChainId;
use lockstep_core::{B256, Uuid};
use sqlx::sqlite::SqliteConnection;
use sqlx::{Row, Sqlite, Transaction};

use super::inputs::{insert_output, insert_parked};
use super::reads::step_row;
use super::{Store, StoreError, hash, signed};

/// What a sequence led to, in an order in which it can be deleted. Derived transactions are left to the next replay.
const GIVE_UP: [&str; 6] = [
    "delete from mailboxes where process in (select process from messages where nonce = 0 and sequence >= $1)",
    "delete from messages where sequence >= $1",
    "delete from nodes where sequence >= $1",
    "delete from classes where sequence >= $1",
    "delete from steps where sequence >= $1",
    // What was set aside was not applied.
    "delete from outputs where sequence >= $1 and not json_extract(body, '$.late')",
];

impl Store {
    /// True where this member has promised, or holds the group's signature of, a checkpoint at or above `first` as it derives
    /// it now. A promise of something else is no reason to stay: it was made before the member lost its database.
    ///
    /// # Errors
    /// Reports an unreadable row.
    pub async fn has_promised_from(&self, first: u64, group_id: &B256) -> Result<bool, StoreError> {
        let mut connection = self.reader.acquire().await?;
        has_promised(&mut connection, first, group_id).await
    }

    /// Gives up everything that was applied at or above `first`, in one transaction, and sets `aside` aside. How many outputs
    /// were given up; `None`, and nothing is changed, where [`Self::has_promised_from`].
    ///
    /// # Errors
    /// What SQLite reports.
    pub async fn rewind(&self, first: u64, aside: Option<&Output>, group_id: &B256) -> Result<Option<u64>, StoreError> {
        let mut tx = self.fenced().await?;
        if has_promised(&mut tx, first, group_id).await? {
            return Ok(None);
        }
        let mut given_up = 0;
        for delete in GIVE_UP {
            let deleted = sqlx::query(delete).bind(signed(first, "sequence")?).execute(&mut *tx).await?;
            given_up = deleted.rows_affected();
        }
        if let Some(aside) = aside {
            // It was set aside already where going back is asked for twice.
            let known: bool = sqlx::query_scalar("select exists (select 1 from outputs where id = $1)")
                .bind(aside.id.as_bytes().as_slice())
                .fetch_one(&mut *tx)
                .await?;
            if !known {
                insert_output(&mut tx, &Output { late: true, ..aside.clone() }).await?;
            }
        }
        tx.commit().await?;
        Ok(Some(given_up))
    }

    /// After [`Self::rewind`], brings what is kept beside the order back to where the derivation stands: gas limits, which
    /// decisions change, and alarms.
    ///
    /// # Errors
    /// What SQLite reports.
    pub async fn mend(
        &self,
        gas: impl Iterator<Item = (Uuid, u32)>,
        parked: &[(ChainId, u64)],
    ) -> Result<(), StoreError> {
        let mut tx = self.fenced().await?;
        for (process, gas) in gas {
            sqlx::query("update mailboxes set gas = $2 where process = $1")
                .bind(process.as_bytes().as_slice())
                .bind(i64::from(gas))
                .execute(&mut *tx)
                .await?;
        }
        sqlx::query("delete from parked").execute(&mut *tx).await?;
        insert_parked(&mut tx, parked).await?;
        Ok(tx.commit().await?)
    }

    /// Forgets open derived transactions that are not among `derived`, but for those that a coin was promised to: t members
    /// had the same bytes, so they will be derived again. Which ones were forgotten.
    ///
    /// # Errors
    /// What SQLite reports.
    pub async fn forget_underived(&self, derived: BTreeSet<Uuid>) -> Result<Vec<Uuid>, StoreError> {
        let query = "select trace from derived where final_hash is null \
                     and not exists (select 1 from coin_guards where coin_guards.trace = derived.trace)";
        let rows = sqlx::query(query).fetch_all(&self.reader).await?;
        let mut left = Vec::new();
        for row in rows {
            let trace: Vec<u8> = row.try_get(0)?;
            let id = Uuid::from_slice(&trace).map_err(|_| StoreError::Corrupt { what: "trace" })?;
            if !derived.contains(&id) {
                left.push(id);
            }
        }
        if left.is_empty() {
            return Ok(left);
        }
        let mut tx = self.fenced().await?;
        for id in &left {
            forget(&mut tx, *id).await?;
        }
        tx.commit().await?;
        Ok(left)
    }

    /// True where this member has promised a coin to a payload.
    ///
    /// # Errors
    /// What SQLite reports.
    pub async fn is_coin_promised_to(&self, payload: B256) -> Result<bool, StoreError> {
        let query = "select exists (select 1 from coin_guards where payload_hash = $1)";
        Ok(sqlx::query_scalar(query).bind(payload.as_slice()).fetch_one(&self.reader).await?)
    }

    /// Forgets the bytes of the attempt in hand of a payout that were built from other answers of the key service than t
    /// members had, so that they are built again. False, and nothing is changed, where a coin is promised to them.
    ///
    /// # Errors
    /// What SQLite reports.
    pub async fn unfix_payload(&self, trace: Uuid, attempt: u32, payload: B256) -> Result<bool, StoreError> {
        let mut tx = self.fenced().await?;
        let guards: i64 = sqlx::query_scalar("select count(*) from coin_guards where payload_hash = $1")
            .bind(payload.as_slice())
            .fetch_one(&mut *tx)
            .await?;
        if guards > 0 || attempt > 0 {
            return Ok(false);
        }
        sqlx::query("delete from payloads where trace = $1 and attempt = 0 and hash = $2")
            .bind(trace.as_bytes().as_slice())
            .bind(payload.as_slice())
            .execute(&mut *tx)
            .await?;
        sqlx::query("update derived set attempts = null where trace = $1 and attempt = 0 and final_hash is null")
            .bind(trace.as_bytes().as_slice())
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;
        Ok(true)
    }
}

async fn forget(tx: &mut Transaction<'_, Sqlite>, trace: Uuid) -> Result<(), StoreError> {
    for delete in ["delete from payloads where trace = $1", "delete from derived where trace = $1"] {
        sqlx::query(delete).bind(trace.as_bytes().as_slice()).execute(&mut **tx).await?;
    }
    Ok(())
}

/// The first promise at or above `first` decides: history is a chain, so what differs there differs ever after.
async fn has_promised(connection: &mut SqliteConnection, first: u64, group_id: &B256) -> Result<bool, StoreError> {
    let first = signed(first, "sequence")?;
    let signatures: i64 = sqlx::query_scalar("select count(*) from checkpoint_signatures where sequence >= $1")
        .bind(first)
        .fetch_one(&mut *connection)
        .await?;
    if signatures > 0 {
        return Ok(true);
    }
    let query = "select steps.sequence, history, root, leaves, digest from checkpoint_guards \
                 left join steps using (sequence) where checkpoint_guards.sequence >= $1 \
                 and checkpoint_guards.sequence <= (select coalesce(max(sequence), 0) from steps) \
                 order by checkpoint_guards.sequence limit 1";
    let Some(row) = sqlx::query(query).bind(first).fetch_optional(connection).await? else { return Ok(false) };
    if row.try_get::<Option<i64>, _>(0)?.is_none() {
        return Ok(false);
    }
    Ok(step_row(&row)?.checkpoint.digest(group_id) == hash(row.try_get(4)?, "checkpoint digest")?)
}

#[cfg(test)]
mod tests;
