//! Masks of the senders of private processes.

use lockstep_core::mask::MaskPair;
use sqlx::{Row, Sqlite, Transaction};

use super::{Store, StoreError};

/// What is kept of the mask of a sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MaskRow {
    /// The sender was met in a payment, and its mask is still to be made.
    Wanted,
    /// The group's signature, verified.
    Made([u8; 48]),
}

impl Store {
    /// Keeps the group's signature (48 bytes, verified under `key`) that a sender's mask is made from. There is only one.
    ///
    /// # Errors
    /// Reports what SQLite reports.
    pub async fn save_mask(&self, pair: &MaskPair, key: &[u8; 96], signature: &[u8; 48]) -> Result<(), StoreError> {
        let mut tx = self.writing().await?;
        let query = "insert into masks (process, account, group_key, signature) values ($1, $2, $3, $4) \
                     on conflict (process, account, group_key) do update set signature = coalesce(signature, $4)";
        sqlx::query(query)
            .bind(pair.process.as_bytes().as_slice())
            .bind(pair.account.0.as_slice())
            .bind(key.as_slice())
            .bind(signature.as_slice())
            .execute(&mut *tx)
            .await?;
        Ok(tx.commit().await?)
    }

    /// What is kept of a sender's mask under a group key; `None` for a sender that was not met.
    ///
    /// # Errors
    /// Reports an unreadable row.
    pub async fn mask(&self, pair: &MaskPair, key: &[u8; 96]) -> Result<Option<MaskRow>, StoreError> {
        let row = sqlx::query("select signature from masks where process = $1 and account = $2 and group_key = $3")
            .bind(pair.process.as_bytes().as_slice())
            .bind(pair.account.0.as_slice())
            .bind(key.as_slice())
            .fetch_optional(&self.reader)
            .await?;
        let Some(row) = row else { return Ok(None) };
        let bytes: Option<Vec<u8>> = row.try_get(0)?;
        let Some(bytes) = bytes else { return Ok(Some(MaskRow::Wanted)) };
        bytes
            .try_into()
            .map(|signature| Some(MaskRow::Made(signature)))
            .map_err(|_| StoreError::Corrupt { what: "mask" })
    }
}

/// A sender that was met in a payment: from here on others are given this member's part.
pub(super) async fn insert_wanted(
    tx: &mut Transaction<'_, Sqlite>,
    pair: &MaskPair,
    key: &[u8; 96],
) -> Result<(), StoreError> {
    sqlx::query("insert into masks (process, account, group_key) values ($1, $2, $3) on conflict do nothing")
        .bind(pair.process.as_bytes().as_slice())
        .bind(pair.account.0.as_slice())
        .bind(key.as_slice())
        .execute(&mut **tx)
        .await?;
    Ok(())
}
