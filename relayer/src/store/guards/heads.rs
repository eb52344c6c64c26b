//! Guard heads of members, as far as they were seen.

use sqlx::{Row, SqliteConnection};

use super::{GuardError, Latest, Log, log_path};
use crate::store::{Store, StoreError, body, signed, text};
use crate::world::witness::{GuardHead, Reach};

impl Store {
    /// How far this member's promises go.
    ///
    /// # Errors
    /// Reports an unreadable row.
    pub async fn reach(&self) -> Result<Reach, StoreError> {
        Ok(Latest::read(&mut *self.reader.acquire().await?).await?.reach())
    }

    /// Keeps the furthest head of another member. The head must be authentic. False where the member said something else of
    /// the same promise before: it runs twice, or was restored.
    ///
    /// # Errors
    /// Reports what SQLite reports.
    pub async fn see_head(&self, head: &GuardHead) -> Result<bool, StoreError> {
        self.keep_head(head, false).await?;
        let query = "select body from guard_seen where identity = $1 and count = $2";
        let row = sqlx::query(query)
            .bind(head.identity.as_slice())
            .bind(signed(head.reach.count, "guard count")?)
            .fetch_optional(&self.reader)
            .await?;
        let Some(row) = row else { return Ok(true) };
        let kept: GuardHead = body(row.try_get(0)?, "guard head")?;
        Ok(kept.reach == head.reach)
    }

    async fn keep_head(&self, head: &GuardHead, own: bool) -> Result<(), StoreError> {
        let keep = "insert into guard_seen (identity, count, body, own) values ($1, $2, $3, $4) \
                    on conflict (identity) do update set count = $2, body = $3 where count < $2";
        let mut tx = self.writing().await?;
        sqlx::query(keep)
            .bind(head.identity.as_slice())
            .bind(signed(head.reach.count, "guard count")?)
            .bind(text(head, "guard head")?)
            .bind(own)
            .execute(&mut *tx)
            .await?;
        Ok(tx.commit().await?)
    }

    /// The furthest heads of other members, for whom they are of.
    ///
    /// # Errors
    /// Reports an unreadable row.
    pub async fn heads_seen(&self) -> Result<Vec<GuardHead>, StoreError> {
        let query = "select body from guard_seen where not own order by identity";
        let rows = sqlx::query(query).fetch_all(&self.reader).await?;
        rows.iter().map(|row| body(row.try_get(0)?, "guard head")).collect()
    }

    /// Compares authentic heads of this member, as peers remember them, with its own promises.
    ///
    /// # Errors
    /// [`GuardError::Behind`] or [`GuardError::ForkSeen`] where a peer has seen what this database and log do not know. It
    /// is remembered until a person accepts it.
    pub async fn check_own_heads(&self, heads: &[GuardHead]) -> Result<(), StoreError> {
        let latest = Latest::read(&mut *self.reader.acquire().await?).await?;
        let older: Vec<_> = heads.iter().filter(|head| head.reach != latest.reach()).collect();
        if older.is_empty() {
            return Ok(());
        }
        let log = Log::read(&log_path(&self.path), &latest.lines)?;
        for head in older {
            if let Some(error) = contradiction(&latest, log.as_ref(), head) {
                self.keep_head(head, true).await?;
                return Err(error.into());
            }
        }
        Ok(())
    }
}

/// This member's own head as peers have shown it, where that was further than its database.
pub(super) async fn own_seen(connection: &mut SqliteConnection) -> Result<Option<GuardHead>, StoreError> {
    let row = sqlx::query("select body from guard_seen where own").fetch_optional(connection).await?;
    row.map(|row| body(row.try_get(0)?, "guard head")).transpose()
}

/// What a head of this member says against its own promises.
pub(super) fn contradiction(latest: &Latest, log: Option<&Log>, seen: &GuardHead) -> Option<GuardError> {
    if seen.reach.count > latest.head.count {
        return Some(GuardError::Behind {
            lacks: latest.head.count.saturating_add(1),
            seen: seen.reach,
            own: latest.reach(),
        });
    }
    let is_last = seen.reach.count == latest.head.count;
    let known = if is_last { Some(latest.head.hash) } else { log.and_then(|log| log.hash_at(seen.reach.count)) };
    known.filter(|hash| *hash != seen.reach.hash).map(|_| GuardError::ForkSeen { seen: seen.reach })
}
