//! What this member has said about checkpoints.

use lockstep_core::B256;
use sqlx::Row;

use super::{Pledge, Store, StoreError, hash, signed};

impl Store {
    /// Promises `digest` for `sequence`, durably, before a partial signature over it may exist.
    ///
    /// # Errors
    /// Another digest already promised for the same sequence is a contradiction. [`StoreError::Stopped`] while this member
    /// signs nothing.
    pub async fn guard_checkpoint(&self, sequence: u64, digest: B256) -> Result<(), StoreError> {
        let mut promise = self.promise().await?;
        let insert = "insert into checkpoint_guards (sequence, digest) values ($1, $2) on conflict do nothing";
        let sequence_column = signed(sequence, "sequence")?;
        let inserted =
            sqlx::query(insert).bind(sequence_column).bind(digest.as_slice()).execute(&mut **promise.tx()).await?;
        if inserted.rows_affected() == 1 {
            promise.pledge(Pledge::Checkpoint { sequence, digest });
            return promise.commit().await;
        }
        let row = sqlx::query("select digest from checkpoint_guards where sequence = $1")
            .bind(sequence_column)
            .fetch_one(&mut **promise.tx())
            .await?;
        let promised = hash(row.try_get(0)?, "checkpoint digest")?;
        if promised == digest {
            return Ok(());
        }
        Err(StoreError::Contradiction(format!(
            "checkpoint {sequence}: this member once signed digest {promised}, now derives {digest}"
        )))
    }

    /// True if exactly `digest` was promised for `sequence`.
    ///
    /// # Errors
    /// Reports an unreadable row.
    pub async fn has_guarded(&self, sequence: u64, digest: B256) -> Result<bool, StoreError> {
        let row = sqlx::query("select digest from checkpoint_guards where sequence = $1")
            .bind(signed(sequence, "sequence")?)
            .fetch_optional(&self.reader)
            .await?;
        Ok(row.map(|row| hash(row.try_get(0)?, "checkpoint digest")).transpose()? == Some(digest))
    }

    /// Keeps a recovered and verified group signature (48 bytes) for the checkpoint at `sequence`. One by a fresh key
    /// replaces that of the key before.
    ///
    /// # Errors
    /// Reports what SQLite reports.
    pub async fn save_signature(&self, sequence: u64, signature: &[u8; 48]) -> Result<(), StoreError> {
        let mut tx = self.writing().await?;
        sqlx::query(
            "insert into checkpoint_signatures (sequence, signature) values ($1, $2) \
                     on conflict (sequence) do update set signature = $2",
        )
        .bind(signed(sequence, "sequence")?)
        .bind(signature.as_slice())
        .execute(&mut *tx)
        .await?;
        Ok(tx.commit().await?)
    }

    /// The group signature for the checkpoint at `sequence`, if it was recovered before.
    ///
    /// # Errors
    /// Reports an unreadable row.
    pub async fn signature(&self, sequence: u64) -> Result<Option<[u8; 48]>, StoreError> {
        let row = sqlx::query("select signature from checkpoint_signatures where sequence = $1")
            .bind(signed(sequence, "sequence")?)
            .fetch_optional(&self.reader)
            .await?;
        let Some(row) = row else { return Ok(None) };
        let bytes: Vec<u8> = row.try_get(0)?;
        bytes.try_into().map(Some).map_err(|_| StoreError::Corrupt { what: "group signature" })
    }
}
