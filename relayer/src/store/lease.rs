//! One process a member: a lease in the database, with a fencing token.
//!
//! Every holder has a token of its own, higher than those before it. Who makes a promise reads the token in the same
//! transaction, so a process that was paused while another took the lease can write nothing when it wakes up, whatever its
//! clock says. Time only decides when a lease may be taken: at once where the holder's lock file is free, for then the holder
//! is gone; else when its last sign of life is [`EXPIRY_MS`] old by the clock on the wall, and it gives none for as long as
//! [`WATCH`] by a clock that never jumps.

use std::fs::{File, OpenOptions, TryLockError};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection, Row, Sqlite, SqliteConnection, Transaction};
use thiserror::Error;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::{Store, StoreError, body, signed, text, unsigned};
use crate::clock::unix_millis;

/// Between two signs of life.
pub const BEAT: Duration = Duration::from_secs(2);
/// Silence after which a holder may be taken for lost, in milliseconds: several beats, for a machine may be busy.
const EXPIRY_MS: u64 = 12_000;
/// How long a silent holder is watched before its lease is taken: the clock on the wall may have jumped.
const WATCH: Duration = Duration::from_secs(6);
/// Between two looks at it.
const LOOK: Duration = Duration::from_millis(200);
/// SQLite's code for a write lock that somebody else keeps.
const BUSY: &str = "5";

/// Who holds a lease, for people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// The process id.
    pub process: u32,
    /// The machine.
    pub host: String,
    /// Names the lock file.
    id: String,
}

impl Holder {
    fn this_process() -> Self {
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        let id = hex::encode(rand::random::<[u8; 8]>());
        Self { process: std::process::id(), host: host.trim().chars().take(64).collect(), id }
    }
}

impl std::fmt::Display for Holder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let host = if self.host.is_empty() { "an unnamed machine" } else { &self.host };
        write!(f, "process {} on {host}", self.process)
    }
}

/// This process's lease. Its lock file shows other processes of this machine that it lives.
#[derive(Clone, Debug)]
pub(super) struct Lease {
    token: u64,
    _lock: Arc<LockFile>,
}

#[derive(Debug)]
struct LockFile {
    path: PathBuf,
    _locked: File,
}

impl LockFile {
    fn take(database: &Path, holder: &Holder) -> std::io::Result<Self> {
        let path = lock_path(database, holder);
        let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&path)?;
        file.try_lock()?;
        Ok(Self { path, _locked: file })
    }
}

impl Drop for LockFile {
    fn drop(&mut self) {
        // A file that stays is free, and says the same.
        let _ = std::fs::remove_file(&self.path);
    }
}

fn lock_path(database: &Path, holder: &Holder) -> PathBuf {
    database.with_extension(format!("lease-{}", holder.id))
}

/// The row of the lease.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Held {
    token: u64,
    holder: Option<Holder>,
    since_ms: u64,
    beat_ms: u64,
}

impl Held {
    async fn read(connection: &mut SqliteConnection) -> Result<Option<Self>, StoreError> {
        let query = "select token, holder, since_ms, beat_ms from lease";
        let Some(row) = sqlx::query(query).fetch_optional(connection).await? else { return Ok(None) };
        let holder: Option<&str> = row.try_get(1)?;
        Ok(Some(Self {
            token: unsigned(row.try_get(0)?, "lease token")?,
            holder: holder.map(|holder| body(holder, "lease holder")).transpose()?,
            since_ms: unsigned(row.try_get(2)?, "lease time")?,
            beat_ms: unsigned(row.try_get(3)?, "lease time")?,
        }))
    }

    /// Who has it, and is not known to be gone.
    fn living(&self, database: &Path) -> Option<&Holder> {
        let holder = self.holder.as_ref()?;
        let lock = OpenOptions::new().write(true).open(lock_path(database, holder));
        let is_gone = lock.is_ok_and(|lock| !matches!(lock.try_lock(), Err(TryLockError::WouldBlock)));
        (!is_gone).then_some(holder)
    }

    /// Why nobody else may take it now.
    fn refusal(&self, database: &Path, now_ms: u64) -> Option<LeaseError> {
        let holder = self.living(database)?.clone();
        let silent_ms = now_ms.abs_diff(self.beat_ms);
        (silent_ms <= EXPIRY_MS).then(|| LeaseError::Held { holder, since: shown(self.since_ms), silent_ms })
    }

    /// That it gave a sign of life while it was watched.
    fn alive(&self, watched: Duration) -> Option<LeaseError> {
        let silent_ms = u64::try_from(watched.as_millis()).unwrap_or(u64::MAX);
        Some(LeaseError::Held { holder: self.holder.clone()?, since: shown(self.since_ms), silent_ms })
    }
}

impl Store {
    /// Says who runs the member of this database, where somebody does. Changes nothing, and does not need a database.
    ///
    /// # Errors
    /// [`LeaseError::Held`], and what SQLite reports.
    pub async fn check_free(path: &Path) -> Result<(), StoreError> {
        if !path.exists() {
            return Ok(());
        }
        let opening = |source| StoreError::Open { path: path.to_path_buf(), source };
        let options = SqliteConnectOptions::new().filename(path).read_only(true);
        let mut connection = options.connect().await.map_err(opening)?;
        let exists = "select 1 from sqlite_master where type = 'table' and name = 'lease'";
        let held = match sqlx::query(exists).fetch_optional(&mut connection).await? {
            Some(_) => Held::read(&mut connection).await,
            None => Ok(None),
        };
        connection.close().await?;
        match held?.and_then(|held| held.refusal(path, unix_millis())) {
            Some(refusal) => Err(refusal.into()),
            None => Ok(()),
        }
    }

    /// Takes the lease: from here on this process, and no other, may make promises.
    ///
    /// # Errors
    /// [`LeaseError::Held`] while another process has it, [`LeaseError::Locked`] where one was stopped in the middle of a
    /// transaction.
    pub async fn take_lease(self) -> Result<Self, StoreError> {
        self.take_lease_after(WATCH).await
    }

    async fn take_lease_after(mut self, watch: Duration) -> Result<Self, StoreError> {
        let watched = self.watch(watch).await?;
        let mut tx = match self.writer.begin_with("BEGIN IMMEDIATE").await {
            Ok(tx) => tx,
            Err(sqlx::Error::Database(error)) if error.code().is_some_and(|code| code == BUSY) => {
                let holder = watched.and_then(|held| held.holder);
                return Err(LeaseError::Locked {
                    holder: holder.map_or("somebody".into(), |holder| holder.to_string()),
                }
                .into());
            }
            Err(error) => return Err(error.into()),
        };
        let now_ms = unix_millis();
        let held = Held::read(&mut tx).await?;
        let other = held.as_ref().filter(|_| held != watched).filter(|held| held.living(&self.path).is_some());
        if let Some(refusal) = other.and_then(|held| held.alive(Duration::ZERO)) {
            return Err(refusal.into());
        }
        let token = held
            .as_ref()
            .map_or(0, |held| held.token)
            .checked_add(1)
            .ok_or(StoreError::Corrupt { what: "lease token" })?;
        let holder = Holder::this_process();
        let lock = LockFile::take(&self.path, &holder).map_err(LeaseError::Lock)?;
        let take = "insert into lease (id, token, holder, since_ms, beat_ms) values (1, $1, $2, $3, $3) \
                    on conflict (id) do update set token = $1, holder = $2, since_ms = $3, beat_ms = $3";
        sqlx::query(take)
            .bind(signed(token, "lease token")?)
            .bind(text(&holder, "lease holder")?)
            .bind(signed(now_ms, "lease time")?)
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;
        if let Some(before) = held.and_then(|held| held.holder) {
            let _ = std::fs::remove_file(lock_path(&self.path, &before));
        }
        self.lease = Some(Lease { token, _lock: Arc::new(lock) });
        Ok(self)
    }

    /// The lease as it stands, once nobody has it or whoever has it gave no sign of life for as long as `watch`.
    async fn watch(&self, watch: Duration) -> Result<Option<Held>, StoreError> {
        let Some(held) = Held::read(&mut *self.reader.acquire().await?).await? else { return Ok(None) };
        if let Some(refusal) = held.refusal(&self.path, unix_millis()) {
            return Err(refusal.into());
        }
        let begun = Instant::now();
        while held.living(&self.path).is_some() && begun.elapsed() < watch {
            tokio::time::sleep(LOOK.min(watch)).await;
            let now = Held::read(&mut *self.reader.acquire().await?).await?;
            if let Some(alive) = now.filter(|now| *now != held).and_then(|now| now.alive(begun.elapsed())) {
                return Err(alive.into());
            }
        }
        Ok(Some(held))
    }

    /// Gives a sign of life. To be called every [`BEAT`].
    ///
    /// # Errors
    /// [`LeaseError::Lost`] where another process has taken the lease: this one must stop.
    pub async fn beat(&self) -> Result<(), StoreError> {
        let mut tx = self.fenced().await?;
        let beat = "update lease set beat_ms = $1";
        sqlx::query(beat).bind(signed(unix_millis(), "lease time")?).execute(&mut *tx).await?;
        Ok(tx.commit().await?)
    }

    /// Lets go of the lease, so that the next process need not wait. What is not ours is left alone.
    pub(super) async fn release(&self) {
        if self.lease.is_some()
            && let Ok(mut tx) = self.fenced().await
            && sqlx::query("update lease set holder = null").execute(&mut *tx).await.is_ok()
        {
            let _ = tx.commit().await;
        }
    }

    /// Begins a transaction that only the holder of the lease may commit: nobody else can write before it ends, and the token
    /// is read in it.
    pub(super) async fn fenced(&self) -> Result<Transaction<'static, Sqlite>, StoreError> {
        let mut tx = self.writer.begin_with("BEGIN IMMEDIATE").await?;
        let held = Held::read(&mut tx).await?;
        match (&self.lease, held) {
            (Some(lease), Some(held)) if lease.token == held.token => Ok(tx),
            (Some(_), Some(Held { holder: Some(holder), since_ms, .. })) => {
                Err(LeaseError::Lost { holder, since: shown(since_ms) }.into())
            }
            (Some(_), _) => Err(LeaseError::Gone.into()),
            (None, _) => Err(LeaseError::NotTaken.into()),
        }
    }

    /// Begins a transaction for what is no promise. With a lease only its holder may commit it; a command beside the service
    /// has none. It waits for other processes here: at its first statement that writes SQLite would end it at once, if it had
    /// read before what another one changed.
    pub(super) async fn writing(&self) -> Result<Transaction<'static, Sqlite>, StoreError> {
        match self.lease {
            Some(_) => self.fenced().await,
            None => Ok(self.writer.begin_with("BEGIN IMMEDIATE").await?),
        }
    }
}

fn shown(ms: u64) -> String {
    let time = OffsetDateTime::from_unix_timestamp(i64::try_from(ms.div_euclid(1_000)).unwrap_or_default()).ok();
    time.and_then(|time| time.format(&Rfc3339).ok()).unwrap_or_else(|| "an unknown time".to_owned())
}

/// Why this process may not act for its member.
#[derive(Debug, Error)]
pub enum LeaseError {
    /// Another process acts for it.
    #[error(
        "this member runs already: {holder} has its lease since {since}, and gave a sign of life {silent_ms} ms ago. Two \
         processes with one share could sign against each other"
    )]
    Held {
        /// Who.
        holder: Holder,
        /// Since when.
        since: String,
        /// How long ago it was heard of.
        silent_ms: u64,
    },
    /// Another process took over while this one was silent.
    #[error(
        "{holder} took this member's lease at {since}, while this process was silent: nothing is written, and it stops"
    )]
    Lost {
        /// Who.
        holder: Holder,
        /// When.
        since: String,
    },
    /// A holder that was stopped in the middle of a transaction: nobody can write before it goes on or ends.
    #[error(
        "this member runs already: {holder} keeps the write lock of its database. If it is stopped, let it go on or end it"
    )]
    Locked {
        /// Who, as far as it is known.
        holder: String,
    },
    /// Only who has the lease makes promises.
    #[error("this process has not taken the member's lease, and makes no promises")]
    NotTaken,
    /// The row is not there any more.
    #[error("this member's lease was given up or removed behind this process")]
    Gone,
    /// The lock file cannot be made.
    #[error("cannot make the lock file of the lease")]
    Lock(#[source] std::io::Error),
}

#[cfg(test)]
mod tests {
    use lockstep_core::B256;
    use tempfile::TempDir;

    use super::*;
    use crate::store::Commit;

    async fn unleased(folder: &TempDir) -> Store {
        Store::open_unclaimed(&folder.path().join("lockstep.db")).await.expect("a database")
    }

    /// A moment, in which nobody gives a sign of life.
    const MOMENT: Duration = Duration::from_millis(300);

    /// As if the clock on the wall said this at the holder's last sign of life.
    async fn heard_at(store: &Store, beat_ms: u64) {
        let update = sqlx::query("update lease set beat_ms = $1").bind(i64::try_from(beat_ms).expect("a time"));
        update.execute(&store.writer).await.expect("changed");
    }

    fn lease_error<T: std::fmt::Debug>(result: Result<T, StoreError>) -> LeaseError {
        let error = result.expect_err("refused");
        let StoreError::Lease(error) = error else { panic!("another refusal: {error}") };
        *error
    }

    #[tokio::test]
    async fn second_holder_should_be_told_who_is_first() {
        let folder = TempDir::new().expect("a folder");
        let first = unleased(&folder).await.take_lease().await.expect("free");
        let refused = lease_error(unleased(&folder).await.take_lease().await);
        let words = refused.to_string();
        assert!(words.contains(&format!("process {} on ", std::process::id())), "{words}");
        assert!(lease_error(Store::check_free(&first.path).await).to_string().starts_with("this member runs already"));
        // A command without a lease may read, and promise nothing.
        let beside = unleased(&folder).await;
        assert!(matches!(lease_error(beside.guard_checkpoint(1, B256::ZERO).await), LeaseError::NotTaken));
        first.close().await;
        Store::check_free(&first.path).await.expect("free");
        unleased(&folder).await.take_lease().await.expect("given back");
    }

    #[tokio::test]
    async fn lease_of_a_dead_process_should_be_free_at_once() {
        let folder = TempDir::new().expect("a folder");
        // Dropped, not closed: as after a kill.
        drop(unleased(&folder).await.take_lease().await.expect("free"));
        let row = unleased(&folder).await;
        // A kill leaves the file behind, without its lock.
        let held = Held::read(&mut row.writer.acquire().await.expect("free")).await.expect("ok").expect("a row");
        std::fs::write(lock_path(&row.path, &held.holder.expect("a holder")), b"").expect("written");
        row.take_lease().await.expect("the holder is gone");
    }

    #[tokio::test]
    async fn silent_holder_should_lose_its_lease_and_never_commit_again() {
        let folder = TempDir::new().expect("a folder");
        let paused = unleased(&folder).await.take_lease().await.expect("free");
        paused.guard_checkpoint(1, B256::ZERO).await.expect("its own");
        paused.beat().await.expect("alive");
        heard_at(&paused, 1).await;
        let next = unleased(&folder).await.take_lease_after(MOMENT).await.expect("silent for too long");
        for refused in [paused.guard_checkpoint(2, B256::ZERO).await, paused.beat().await] {
            assert!(matches!(lease_error(refused), LeaseError::Lost { .. }));
        }
        next.guard_checkpoint(2, B256::repeat_byte(1)).await.expect("nothing stands in its way");
        // Nor anything that is no promise.
        assert!(matches!(lease_error(paused.save_signature(2, &[1; 48]).await), LeaseError::Lost { .. }));
        assert!(matches!(lease_error(paused.commit(&Commit::default()).await), LeaseError::Lost { .. }));
        // Its end does not end the other's lease.
        paused.close().await;
        next.beat().await.expect("alive");
    }

    #[tokio::test]
    async fn living_holder_should_keep_its_lease_whatever_the_clock_on_the_wall_says() {
        let folder = TempDir::new().expect("a folder");
        let first = unleased(&folder).await.take_lease().await.expect("free");
        // It has jumped ahead by a day, or back, since the holder was heard of.
        for beat_ms in [unix_millis().saturating_sub(86_400_000), unix_millis().saturating_add(86_400_000)] {
            heard_at(&first, beat_ms).await;
            let other = unleased(&folder).await;
            let taking = tokio::spawn(other.take_lease_after(Duration::from_secs(60)));
            // It watches, and hears the next sign of life.
            tokio::time::sleep(MOMENT).await;
            first.beat().await.expect("alive");
            let refused = lease_error(taking.await.expect("no panic"));
            assert!(matches!(refused, LeaseError::Held { silent_ms, .. } if silent_ms < EXPIRY_MS), "{refused}");
            first.guard_checkpoint(1, B256::ZERO).await.expect("it goes on");
        }
    }

    #[tokio::test]
    async fn holder_that_was_stopped_in_a_transaction_should_be_named() {
        let folder = TempDir::new().expect("a folder");
        let first = unleased(&folder).await.take_lease().await.expect("free");
        heard_at(&first, 1).await;
        let stopped = first.fenced().await.expect("its own");
        let refused = lease_error(unleased(&folder).await.take_lease_after(MOMENT).await);
        let words = refused.to_string();
        assert!(words.contains(&format!("process {} on ", std::process::id())), "{words}");
        assert!(words.contains("keeps the write lock of its database"), "{words}");
        drop(stopped);
        unleased(&folder).await.take_lease_after(MOMENT).await.expect("silent, and out of the way");
    }
}
