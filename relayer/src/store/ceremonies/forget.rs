//! What is forgotten of a ceremony that has ended. Sealed seed, sealed shares and the member's identity key give a share back,
//! so an erased share is gone only when these are gone as well, in the database and in its write-ahead log.

use lockstep_core::B256;
use lockstep_core::dkg::{Record, carries_share};
use serde::Serialize;
use sqlx::{Row, Sqlite, Transaction};

use super::{Store, StoreError, text};

/// What stays of a ceremony that has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leave {
    /// What anybody may know: logs, set, votes and certificate, which participants that are behind still need. A share
    /// that this member dealt nobody needs any more: its receiver kept it before it acknowledged it, or it is in the log.
    Public,
    /// Nothing but that it was.
    Nothing,
    /// All of it.
    Everything,
}

/// A row of `ceremony_records` or `ceremony_items`.
struct Kept {
    ceremony: Vec<u8>,
    position: i64,
    receiver: Option<Vec<u8>>,
    body: Vec<u8>,
}

impl Store {
    /// Ends a ceremony, and forgets all but what is to be left of it, in one transaction. It keeps the first outcome it gets.
    /// [`Self::empty_log`] then takes it out of the files.
    ///
    /// # Errors
    /// Reports what SQLite reports.
    pub async fn finish_ceremony(
        &self,
        digest: B256,
        outcome: &(impl Serialize + Sync),
        leave: Leave,
    ) -> Result<(), StoreError> {
        let update = sqlx::query("update ceremonies set outcome = $2 where digest = $1 and outcome is null");
        let mut tx = self.writing().await?;
        update.bind(digest.as_slice()).bind(text(outcome, "outcome")?).execute(&mut *tx).await?;
        forget(&mut tx, digest, leave).await?;
        Ok(tx.commit().await?)
    }

    /// Forgets of an ended ceremony what a crash left there, or a version that kept it. False where there was nothing.
    ///
    /// # Errors
    /// Reports what SQLite reports.
    pub async fn forget_ceremony(&self, digest: B256, leave: Leave) -> Result<bool, StoreError> {
        let mut tx = self.writing().await?;
        let is_changed = forget(&mut tx, digest, leave).await?;
        tx.commit().await?;
        Ok(is_changed)
    }

    /// Moves the write-ahead log into the database and cuts it to nothing, so that deleted bytes stand in neither. False where
    /// another connection was reading all the time; to be tried again then.
    ///
    /// # Errors
    /// Reports what SQLite reports.
    pub async fn empty_log(&self) -> Result<bool, StoreError> {
        let row = sqlx::query("pragma wal_checkpoint(truncate)").fetch_one(&self.writer).await?;
        Ok(row.try_get::<i64, _>(0)? == 0)
    }
}

/// Deletes rows. Tables that lose any are written anew: pages that are freed whole are filled with zeros (`secure_delete`),
/// while a page that stays may keep copies of rows that were moved out of it.
async fn forget(tx: &mut Transaction<'_, Sqlite>, digest: B256, leave: Leave) -> Result<bool, StoreError> {
    if leave == Leave::Everything {
        return Ok(false);
    }
    let is_own = |row: &Kept| row.ceremony == digest.as_slice();
    let mut records = rows(tx, "select ceremony, position, null, body from ceremony_records").await?;
    let before = records.len();
    records.retain(|row| match leave {
        _ if !is_own(row) => true,
        Leave::Public => !Record::from_bytes(row.body.clone()).is_secret(),
        Leave::Nothing => false,
        Leave::Everything => true,
    });
    let records_changed = records.len() < before;
    if records_changed {
        sqlx::query("delete from ceremony_records").execute(&mut **tx).await?;
        let insert = "insert into ceremony_records (ceremony, position, body) values ($1, $2, $3)";
        for row in &records {
            let insert = sqlx::query(insert).bind(&row.ceremony).bind(row.position).bind(&row.body);
            insert.execute(&mut **tx).await?;
        }
    }

    let mut items = rows(tx, "select ceremony, position, receiver, body from ceremony_items").await?;
    let before = items.len();
    items.retain(|row| !is_own(row) || leave == Leave::Public);
    let mut items_changed = items.len() < before;
    for row in items.iter_mut().filter(|row| is_own(row) && carries_share(&row.body)) {
        // Nobody has this key. The place stays taken: participants go on behind the last one that they heard.
        (row.receiver, row.body) = (Some(Vec::new()), Vec::new());
        items_changed = true;
    }
    if items_changed {
        sqlx::query("delete from ceremony_items").execute(&mut **tx).await?;
        let insert = "insert into ceremony_items (ceremony, position, receiver, body) values ($1, $2, $3, $4)";
        for row in &items {
            let insert = sqlx::query(insert).bind(&row.ceremony).bind(row.position);
            insert.bind(&row.receiver).bind(&row.body).execute(&mut **tx).await?;
        }
    }
    Ok(records_changed || items_changed)
}

async fn rows(tx: &mut Transaction<'_, Sqlite>, query: &'static str) -> Result<Vec<Kept>, StoreError> {
    let rows = sqlx::query(query).fetch_all(&mut **tx).await?;
    let kept = |row: &sqlx::sqlite::SqliteRow| {
        let (ceremony, position) = (row.try_get(0)?, row.try_get(1)?);
        Ok(Kept { ceremony, position, receiver: row.try_get(2)?, body: row.try_get(3)? })
    };
    rows.iter().map(kept).collect()
}

#[cfg(test)]
mod tests {
    use lockstep_core::dkg::{Binding, Body, Commitment, Item};
    use tempfile::TempDir;

    use super::super::tests::approval;
    use super::super::{CeremonyRow, CeremonyStep};
    use super::*;

    /// What marks a body, so that it is found in a file.
    fn mark(ceremony: u32, place: u8) -> [u8; 32] {
        let text = format!("secret {place:03} of the {ceremony:03}th ceremony");
        text.as_bytes().first_chunk::<32>().copied().expect("32 letters")
    }

    fn dealing(ceremony: u32, place: u8) -> Vec<u8> {
        let binding = Binding { group_id: B256::ZERO, round: 1, generation: 0, proposal: B256::ZERO };
        let mut sealed = [0; 80];
        sealed[..32].copy_from_slice(&mark(ceremony, place));
        // Rows within a page, and such as go on in others.
        let points = if place.is_multiple_of(2) { 3 } else { 40 };
        let commitment = Commitment { points: vec![[3; 96]; points], possession: None };
        let key = ed25519_dalek::SigningKey::from_bytes(&[1; 32]);
        let body = Body::Dealing { player: 1, commitment, sealed };
        Item::sign(&binding, body, &key).bytes().to_vec()
    }

    /// A seed, six dealings and a roster are kept; seven dealings and something for all are said.
    async fn hold(store: &Store, row: &CeremonyRow) {
        store.approve_ceremony(row).await.expect("approved");
        for place in 0..=6 {
            let (kept, dealt) = (dealing(row.round, place), dealing(row.round, place | 0x80));
            let record = if place == 0 { [&[0], &mark(row.round, 0)[..]].concat() } else { [&[1], &kept[..]].concat() };
            let items = vec![(None, vec![place; 700]), (Some([place; 32]), dealt)];
            store.advance_ceremony(row.digest, &CeremonyStep { records: vec![record], items }).await.expect("kept");
        }
        let last = CeremonyStep { records: vec![vec![4; 900]], items: Vec::new() };
        store.advance_ceremony(row.digest, &last).await.expect("kept");
    }

    /// How many of a ceremony's secrets stand in the database or beside it.
    fn found(folder: &TempDir, row: &CeremonyRow) -> usize {
        let files: Vec<_> = std::fs::read_dir(folder.path()).expect("a folder").collect();
        let texts = files.into_iter().map(|file| std::fs::read(file.expect("a file").path()).expect("readable"));
        let text = texts.collect::<Vec<_>>().concat();
        let text = String::from_utf8_lossy(&text);
        let stands = |place: u8| text.contains(str::from_utf8(&mark(row.round, place)).expect("letters"));
        (0..=6).flat_map(|place| [place, place | 0x80]).filter(|place| stands(*place)).count()
    }

    #[tokio::test]
    async fn seed_and_shares_of_an_ended_ceremony_should_stand_in_no_file() {
        let folder = TempDir::new().expect("a folder");
        let store = Store::open_unclaimed(&folder.path().join("lockstep.db")).await.expect("a database");
        let store = store.hold().await.expect("nobody else has it");
        let (done, superseded, open) = (approval(1), approval(2), approval(3));
        for row in [&done, &superseded, &open] {
            hold(&store, row).await;
        }
        assert_eq!([&done, &superseded, &open].map(|row| found(&folder, row)), [14; 3], "the test can find them");
        store.finish_ceremony(done.digest, &"done", Leave::Public).await.expect("ended");
        store.finish_ceremony(superseded.digest, &"given up", Leave::Nothing).await.expect("ended");
        assert!(store.empty_log().await.expect("a log"));
        assert_eq!([&done, &superseded].map(|row| found(&folder, row)), [0, 0]);
        assert_eq!(found(&folder, &open), 14, "it goes on");

        let records = async |row: &CeremonyRow| store.ceremony_records(row.digest).await.expect("rows").len();
        assert_eq!([records(&done).await, records(&superseded).await, records(&open).await], [1, 0, 8]);
        let said = async |row: &CeremonyRow, to: u8| {
            let items = store.ceremony_items(row.digest, &[to; 32], 0, usize::MAX).await.expect("rows");
            items.expect("approved").iter().map(|item| item.position).collect::<Vec<_>>()
        };
        let public = [1, 3, 5, 7, 9, 11, 13];
        assert_eq!((said(&done, 6).await, said(&superseded, 6).await), (public.to_vec(), vec![]));
        // The last place was that of a share: what is said now comes behind it all the same.
        let step = CeremonyStep { records: Vec::new(), items: vec![(None, vec![9])] };
        store.advance_ceremony(done.digest, &step).await.expect("said");
        assert_eq!(said(&done, 6).await, [&public[..], &[15]].concat());
        assert_eq!(said(&open, 6).await.len(), 8);
        store.finish_ceremony(open.digest, &"given up", Leave::Everything).await.expect("ended");
        assert_eq!((records(&open).await, said(&open, 6).await.len()), (8, 8), "others may count on it");
    }

    #[tokio::test]
    async fn what_a_crash_left_of_an_ended_ceremony_should_go_later() {
        let folder = TempDir::new().expect("a folder");
        let store = Store::open_unclaimed(&folder.path().join("lockstep.db")).await.expect("a database");
        let store = store.hold().await.expect("nobody else has it");
        let row = approval(1);
        hold(&store, &row).await;
        assert!(store.forget_ceremony(row.digest, Leave::Public).await.expect("forgotten"));
        assert!(!store.forget_ceremony(row.digest, Leave::Public).await.expect("nothing is left"));
        assert!(store.empty_log().await.expect("a log"));
        assert_eq!(found(&folder, &row), 0);
    }
}
