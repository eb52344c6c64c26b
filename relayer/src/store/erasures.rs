//! Shares that were erased: that it was begun, before the key file is replaced, and that it is done.

use lockstep_core::B256;
use sqlx::Row;

use super::{Store, StoreError, hash, signed, unsigned};
use crate::clock::unix_millis;

/// A share that is erased, or about to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Erasure {
    /// The generation of the share.
    pub generation: u32,
    /// The group key that it was a share of, compressed.
    pub group_key: [u8; 96],
    /// The roster that signed without it.
    pub roster: B256,
    /// What that signed first: the checkpoint at this sequence.
    pub sequence: u64,
}

impl Store {
    /// Keeps that a share is to be erased. The first word on a generation stays.
    ///
    /// # Errors
    /// Reports what SQLite reports.
    pub async fn begin_erasure(&self, erasure: &Erasure) -> Result<(), StoreError> {
        let mut tx = self.writing().await?;
        let begin = "insert into erasures (generation, group_key, roster, sequence, begun_at_ms) \
                     values ($1, $2, $3, $4, $5) on conflict do nothing";
        sqlx::query(begin)
            .bind(erasure.generation)
            .bind(erasure.group_key.as_slice())
            .bind(erasure.roster.as_slice())
            .bind(signed(erasure.sequence, "sequence")?)
            .bind(signed(unix_millis(), "time")?)
            .execute(&mut *tx)
            .await?;
        Ok(tx.commit().await?)
    }

    /// Keeps that the key file holds it no more.
    ///
    /// # Errors
    /// Reports what SQLite reports.
    pub async fn end_erasure(&self, generation: u32) -> Result<(), StoreError> {
        let mut tx = self.writing().await?;
        sqlx::query("update erasures set ended_at_ms = $2 where generation = $1 and ended_at_ms is null")
            .bind(generation)
            .bind(signed(unix_millis(), "time")?)
            .execute(&mut *tx)
            .await?;
        Ok(tx.commit().await?)
    }

    /// All shares that were erased, oldest first, each with whether that is done.
    ///
    /// # Errors
    /// Reports an unreadable row.
    pub async fn erasures(&self) -> Result<Vec<(Erasure, bool)>, StoreError> {
        let query = "select generation, group_key, roster, sequence, ended_at_ms is not null from erasures \
                     order by generation";
        let rows = sqlx::query(query).fetch_all(&self.reader).await?;
        let read = |row: &sqlx::sqlite::SqliteRow| {
            let group_key = <[u8; 96]>::try_from(row.try_get::<&[u8], _>(1)?);
            let erasure = Erasure {
                generation: row.try_get(0)?,
                group_key: group_key.map_err(|_| StoreError::Corrupt { what: "group key" })?,
                roster: hash(row.try_get(2)?, "roster")?,
                sequence: unsigned(row.try_get(3)?, "sequence")?,
            };
            Ok((erasure, row.try_get(4)?))
        };
        rows.iter().map(read).collect()
    }
}
