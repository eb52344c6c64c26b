//! Seeds of payouts' keys, and what a member must know of a payout to give its part of one.

use std::collections::BTreeSet;

use lockstep_core::derive::Derived;
use lockstep_core::payout::Attempts;
use lockstep_core::{FixedBytes, Uuid};
use sqlx::Row;

use super::payouts::attempts;
use super::{Store, StoreError, body};

impl Store {
    /// Keeps the group's signature (48 bytes, verified under `key`) that is the seed of an attempt. There is only one.
    ///
    /// # Errors
    /// Reports what SQLite reports.
    pub async fn save_seed(
        &self,
        (trace, attempt): (Uuid, u32),
        key: &[u8; 96],
        signature: &[u8; 48],
    ) -> Result<(), StoreError> {
        let mut tx = self.writing().await?;
        let query =
            "insert into seeds (trace, attempt, group_key, signature) values ($1, $2, $3, $4) on conflict do nothing";
        sqlx::query(query)
            .bind(trace.as_bytes().as_slice())
            .bind(attempt)
            .bind(key.as_slice())
            .bind(signature.as_slice())
            .execute(&mut *tx)
            .await?;
        Ok(tx.commit().await?)
    }

    /// The signature under a group key that is the seed of an attempt, if it was recovered before.
    ///
    /// # Errors
    /// Reports an unreadable row.
    pub async fn seed(&self, (trace, attempt): (Uuid, u32), key: &[u8; 96]) -> Result<Option<[u8; 48]>, StoreError> {
        let row = sqlx::query("select signature from seeds where trace = $1 and attempt = $2 and group_key = $3")
            .bind(trace.as_bytes().as_slice())
            .bind(attempt)
            .bind(key.as_slice())
            .fetch_optional(&self.reader)
            .await?;
        let Some(row) = row else { return Ok(None) };
        let bytes: Vec<u8> = row.try_get(0)?;
        bytes.try_into().map(Some).map_err(|_| StoreError::Corrupt { what: "seed" })
    }

    /// A derived transaction and its attempts, whether it is final or not.
    ///
    /// # Errors
    /// Reports an unreadable row.
    pub async fn payout(&self, trace: Uuid) -> Result<Option<(Derived, Attempts)>, StoreError> {
        let row = sqlx::query("select body, attempts from derived where trace = $1")
            .bind(trace.as_bytes().as_slice())
            .fetch_optional(&self.reader)
            .await?;
        let Some(row) = row else { return Ok(None) };
        Ok(Some((body(row.try_get(0)?, "derived transaction")?, attempts(row.try_get(1)?)?)))
    }

    /// The group's keys as of the places of the derived transactions that are not final ([`Derived::key`]).
    ///
    /// # Errors
    /// Reports an unreadable row.
    pub async fn open_keys(&self) -> Result<BTreeSet<Option<FixedBytes<96>>>, StoreError> {
        let query = "select distinct json_extract(body, '$.key') from derived where final_hash is null";
        let read = |key: &str| key.parse().map_err(|_| StoreError::Corrupt { what: "key of a derived transaction" });
        let rows = sqlx::query(query).fetch_all(&self.reader).await?;
        rows.iter().map(|row| row.try_get::<Option<String>, _>(0)?.as_deref().map(read).transpose()).collect()
    }
}
