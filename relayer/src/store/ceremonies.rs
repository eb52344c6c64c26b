//! Ceremonies: what the operator approved, what the member resumes from, and what it has said.

use alloy::primitives::keccak256;
use lockstep_core::B256;
use serde::Serialize;
use serde::de::DeserializeOwned;
use sqlx::Row;

use super::{Pledge, Store, StoreError, body, hash, signed, text, unsigned};

mod forget;

pub use forget::Leave;

/// A ceremony that the operator approved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CeremonyRow {
    /// Digest of the proposal.
    pub digest: B256,
    /// The generation it is to make.
    pub generation: u32,
    /// Its round, which no other ceremony of the group has.
    pub round: u32,
    /// The proposal as the operator's file had it.
    pub proposal: String,
    /// When it was approved, in seconds since 1970.
    pub approved_at: u64,
}

/// What one step of a ceremony leaves behind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CeremonyStep {
    /// Records to resume from, in order.
    pub records: Vec<Vec<u8>>,
    /// What is said from now on, and to whom; to all where nobody is named.
    pub items: Vec<(Option<[u8; 32]>, Vec<u8>)>,
}

impl CeremonyStep {
    /// Whether there is nothing to write.
    pub const fn is_empty(&self) -> bool {
        self.records.is_empty() && self.items.is_empty()
    }
}

/// Something that this member said, with its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CeremonyItem {
    /// From 1, ascending, with gaps where others were addressed.
    pub position: u64,
    /// What was said.
    pub body: Vec<u8>,
}

const COLUMNS: &str = "select digest, generation, round, proposal, approved_at from ceremonies";

impl Store {
    /// Approves a ceremony. Approving the same again changes nothing.
    ///
    /// # Errors
    /// [`StoreError::RoundTaken`] where another ceremony has this round or a later one: rounds are never used twice.
    pub async fn approve_ceremony(&self, row: &CeremonyRow) -> Result<(), StoreError> {
        let mut tx = self.writing().await?;
        let newest = "select digest, round from ceremonies order by round desc limit 1";
        let last = sqlx::query(newest).fetch_optional(&mut *tx).await?;
        let known = sqlx::query("select 1 from ceremonies where digest = $1").bind(row.digest.as_slice());
        if known.fetch_optional(&mut *tx).await?.is_some() {
            return Ok(());
        }
        if let Some(last) = last {
            let last_round = number(last.try_get(1)?, "round")?;
            if last_round >= row.round {
                let last = hash(last.try_get(0)?, "ceremony digest")?;
                return Err(StoreError::RoundTaken { round: row.round, last_round, last });
            }
        }
        let insert =
            "insert into ceremonies (digest, generation, round, proposal, approved_at) values ($1, $2, $3, $4, $5)";
        sqlx::query(insert)
            .bind(row.digest.as_slice())
            .bind(i64::from(row.generation))
            .bind(i64::from(row.round))
            .bind(&row.proposal)
            .bind(signed(row.approved_at, "time")?)
            .execute(&mut *tx)
            .await?;
        Ok(tx.commit().await?)
    }

    /// All ceremonies, in the order of their rounds.
    ///
    /// # Errors
    /// Reports an unreadable row.
    pub async fn ceremonies(&self) -> Result<Vec<CeremonyRow>, StoreError> {
        let rows =
            sqlx::query(sqlx::AssertSqlSafe(format!("{COLUMNS} order by round"))).fetch_all(&self.reader).await?;
        rows.iter().map(ceremony).collect()
    }

    /// The ceremonies without an outcome, in the order of their rounds.
    ///
    /// # Errors
    /// Reports an unreadable row.
    pub async fn open_ceremonies(&self) -> Result<Vec<CeremonyRow>, StoreError> {
        let query = format!("{COLUMNS} where outcome is null order by round");
        let rows = sqlx::query(sqlx::AssertSqlSafe(query)).fetch_all(&self.reader).await?;
        rows.iter().map(ceremony).collect()
    }

    /// Keeps what one step of a ceremony leaves behind: all of it, or nothing. Each record is a promise: what the member said
    /// in a ceremony binds it, so it needs the lease, and the guard log has a line of it.
    ///
    /// # Errors
    /// As [`Self::guard_checkpoint`], but for the contradiction.
    pub async fn advance_ceremony(&self, digest: B256, step: &CeremonyStep) -> Result<(), StoreError> {
        let mut promise = self.promise().await?;
        let insert = "insert into ceremony_records (ceremony, position, body) select $1, \
                      coalesce(max(position), 0) + 1, $2 from ceremony_records where ceremony = $1 returning position";
        for record in &step.records {
            let insert = sqlx::query(insert).bind(digest.as_slice()).bind(record.as_slice());
            let position = insert.fetch_one(&mut **promise.tx()).await?.try_get(0)?;
            let (scope, number) = (hex::encode(digest), unsigned(position, "ceremony position")?);
            promise.pledge(Pledge::Other { kind: "ceremony", scope, number, value: keccak256(record) });
        }
        // What is said again after a restart stays where it was said first.
        let item = "insert into ceremony_items (ceremony, position, receiver, body) select $1, \
                    coalesce(max(position), 0) + 1, $2, $3 from ceremony_items where ceremony = $1 \
                    having not exists (select 1 from ceremony_items where ceremony = $1 and receiver is $2 and body = $3)";
        for (receiver, body) in &step.items {
            let receiver = receiver.as_ref().map(|receiver| receiver.as_slice());
            let said = sqlx::query(item).bind(digest.as_slice()).bind(receiver).bind(body.as_slice());
            said.execute(&mut **promise.tx()).await?;
        }
        promise.commit().await
    }

    /// The records of a ceremony, in order.
    ///
    /// # Errors
    /// Reports an unreadable row.
    pub async fn ceremony_records(&self, digest: B256) -> Result<Vec<Vec<u8>>, StoreError> {
        let query = "select body from ceremony_records where ceremony = $1 order by position";
        let rows = sqlx::query(query).bind(digest.as_slice()).fetch_all(&self.reader).await?;
        rows.iter().map(|row| Ok(row.try_get(0)?)).collect()
    }

    /// What this member has said to `receiver` behind position `after`: at most `bytes_max` bytes, but one item at least
    /// where there is one. `None` for a ceremony that the operator did not approve.
    ///
    /// # Errors
    /// Reports an unreadable row.
    pub async fn ceremony_items(
        &self,
        digest: B256,
        receiver: &[u8; 32],
        after: u64,
        bytes_max: usize,
    ) -> Result<Option<Vec<CeremonyItem>>, StoreError> {
        let known = sqlx::query("select 1 from ceremonies where digest = $1").bind(digest.as_slice());
        if known.fetch_optional(&self.reader).await?.is_none() {
            return Ok(None);
        }
        let query = "select position, body from ceremony_items where ceremony = $1 and position > $2 \
                     and (receiver is null or receiver = $3) order by position limit 256";
        let rows = sqlx::query(query)
            .bind(digest.as_slice())
            .bind(signed(after, "position")?)
            .bind(receiver.as_slice())
            .fetch_all(&self.reader)
            .await?;
        let (mut items, mut bytes) = (Vec::new(), 0_usize);
        for row in &rows {
            let item = CeremonyItem { position: unsigned(row.try_get(0)?, "position")?, body: row.try_get(1)? };
            bytes = bytes.saturating_add(item.body.len());
            if bytes > bytes_max && !items.is_empty() {
                break;
            }
            items.push(item);
        }
        Ok(Some(items))
    }

    /// Keeps how far a ceremony is, for people.
    ///
    /// # Errors
    /// Reports what SQLite reports.
    pub async fn save_ceremony_progress(
        &self,
        digest: B256,
        progress: &(impl Serialize + Sync),
    ) -> Result<(), StoreError> {
        let update = sqlx::query("update ceremonies set progress = $2 where digest = $1");
        let mut tx = self.writing().await?;
        update.bind(digest.as_slice()).bind(text(progress, "progress")?).execute(&mut *tx).await?;
        Ok(tx.commit().await?)
    }

    /// How far a ceremony is, for people; `None` before anything happened.
    ///
    /// # Errors
    /// Reports an unreadable row.
    pub async fn ceremony_progress<T: DeserializeOwned>(&self, digest: B256) -> Result<Option<T>, StoreError> {
        self.ceremony_text("select progress from ceremonies where digest = $1", digest, "progress").await
    }

    /// How a ceremony ended; `None` while it has not.
    ///
    /// # Errors
    /// Reports an unreadable row.
    pub async fn ceremony_outcome<T: DeserializeOwned>(&self, digest: B256) -> Result<Option<T>, StoreError> {
        self.ceremony_text("select outcome from ceremonies where digest = $1", digest, "outcome").await
    }

    async fn ceremony_text<T: DeserializeOwned>(
        &self,
        query: &'static str,
        digest: B256,
        what: &'static str,
    ) -> Result<Option<T>, StoreError> {
        let row = sqlx::query(query).bind(digest.as_slice()).fetch_optional(&self.reader).await?;
        let Some(row) = row else { return Ok(None) };
        let found: Option<&str> = row.try_get(0)?;
        found.map(|found| body(found, what)).transpose()
    }
}

fn ceremony(row: &sqlx::sqlite::SqliteRow) -> Result<CeremonyRow, StoreError> {
    Ok(CeremonyRow {
        digest: hash(row.try_get(0)?, "ceremony digest")?,
        generation: number(row.try_get(1)?, "generation")?,
        round: number(row.try_get(2)?, "round")?,
        proposal: row.try_get(3)?,
        approved_at: unsigned(row.try_get(4)?, "time")?,
    })
}

fn number(value: i64, what: &'static str) -> Result<u32, StoreError> {
    u32::try_from(value).map_err(|_| StoreError::Corrupt { what })
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    pub(super) fn approval(round: u32) -> CeremonyRow {
        CeremonyRow {
            digest: B256::left_padding_from(&round.to_be_bytes()),
            generation: 1,
            round,
            proposal: format!("round = {round}"),
            approved_at: 7,
        }
    }

    async fn store() -> (TempDir, Store) {
        let folder = TempDir::new().expect("a folder");
        let store = Store::open_unclaimed(&folder.path().join("lockstep.db")).await.expect("a database");
        (folder, store)
    }

    #[tokio::test]
    async fn round_should_be_used_once_and_never_go_back() {
        let (_folder, store) = store().await;
        store.approve_ceremony(&approval(5)).await.expect("the first");
        store.approve_ceremony(&approval(5)).await.expect("the same again");
        for round in [4, 5] {
            let other = CeremonyRow { digest: B256::repeat_byte(9), ..approval(round) };
            let refused = store.approve_ceremony(&other).await;
            assert!(matches!(refused, Err(StoreError::RoundTaken { last_round: 5, .. })), "{refused:?}");
        }
        store.approve_ceremony(&approval(6)).await.expect("the next");
        assert_eq!(store.ceremonies().await.expect("rows"), [approval(5), approval(6)]);
    }

    #[tokio::test]
    async fn item_should_be_shown_to_its_receiver_only_and_in_pages() {
        let (_folder, store) = store().await;
        let store = store.hold().await.expect("nobody else has it");
        let row = approval(1);
        assert_eq!(store.ceremony_items(row.digest, &[1; 32], 0, 10).await.expect("readable"), None, "not approved");
        store.approve_ceremony(&row).await.expect("approved");
        let items =
            vec![(None, vec![1; 8]), (Some([2; 32]), vec![2; 8]), (Some([1; 32]), vec![3; 30]), (None, vec![4])];
        let step = CeremonyStep { records: vec![vec![9]], items };
        store.advance_ceremony(row.digest, &step).await.expect("kept");
        let again = CeremonyStep { records: Vec::new(), ..step };
        store.advance_ceremony(row.digest, &again).await.expect("said already");
        let page = async |receiver: u8, after| {
            let items = store.ceremony_items(row.digest, &[receiver; 32], after, 10).await.expect("readable");
            items.expect("approved").into_iter().map(|item| (item.position, item.body[0])).collect::<Vec<_>>()
        };
        assert_eq!(page(1, 0).await, [(1, 1)], "the next would be too much");
        assert_eq!(page(1, 1).await, [(3, 3)], "too large, and yet told");
        assert_eq!(page(1, 3).await, [(4, 4)]);
        assert_eq!(page(1, 4).await, []);
        assert_eq!(page(2, 1).await, [(2, 2), (4, 4)]);
        assert_eq!(store.ceremony_records(row.digest).await.expect("records"), [[9]]);
    }

    #[tokio::test]
    async fn outcome_should_end_a_ceremony_and_stay() {
        let (_folder, store) = store().await;
        let row = approval(1);
        store.approve_ceremony(&row).await.expect("approved");
        assert_eq!(store.open_ceremonies().await.expect("rows"), std::slice::from_ref(&row));
        assert_eq!(store.ceremony_outcome::<String>(row.digest).await.expect("none"), None);
        store.save_ceremony_progress(row.digest, &"dealing").await.expect("kept");
        for outcome in ["done", "failed"] {
            store.finish_ceremony(row.digest, &outcome, Leave::Public).await.expect("kept");
        }
        assert_eq!(store.ceremony_outcome(row.digest).await.expect("one"), Some("done".to_owned()));
        assert_eq!(store.ceremony_progress(row.digest).await.expect("one"), Some("dealing".to_owned()));
        assert_eq!(store.open_ceremonies().await.expect("rows"), []);
    }
}
