//! The ledger's database: one SQLite file, one connection, one transaction a call.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteLockingMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{SqlSafeStr, Sqlite, SqliteConnection, SqlitePool, Transaction};

use super::LedgerError;
use super::assets;
use super::faults::Faults;
use super::refusal::CallError;
use super::secrets::Secrets;
use crate::clock::since_1970;

/// How long a call waits for the calls before it.
const QUEUE_WAIT_MAX: Duration = Duration::from_secs(30);

/// What every call works on.
#[derive(Debug)]
pub(crate) struct Ledger {
    pool: SqlitePool,
    /// Everything secret or random, derived from the server's seed.
    pub(crate) secrets: Secrets,
    /// The ledger's time.
    pub(crate) clock: Clock,
    /// From admission to finality.
    pub(crate) finality_delay: Duration,
    /// Ledger time of the start.
    pub(crate) started_at: u64,
    /// What goes wrong now.
    pub(crate) faults: Faults,
    /// Kernel nodes.
    pub(crate) nodes: u16,
    /// Something waits for its time.
    work: AtomicBool,
}

impl Ledger {
    /// Opens the database, or creates it, and holds it alone: a second server on the same file is refused. The kernel has
    /// so many nodes.
    pub(crate) async fn open(
        path: &Path,
        seed: &[u8; 32],
        finality_delay: Duration,
        nodes: u16,
    ) -> Result<Self, LedgerError> {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .foreign_keys(true)
            .locking_mode(SqliteLockingMode::Exclusive)
            .journal_mode(SqliteJournalMode::Wal)
            // A killed server loses nothing; only a power cut may take the last commits of this development ledger.
            .synchronous(SqliteSynchronous::Normal)
            .busy_timeout(Duration::from_secs(1));
        let pool = SqlitePoolOptions::new()
            .max_connections(1)
            .idle_timeout(None)
            .max_lifetime(None)
            .acquire_timeout(QUEUE_WAIT_MAX)
            .connect_with(options)
            .await
            .map_err(|source| LedgerError::Open { path: path.to_owned(), source })?;
        migrator().run(&pool).await.map_err(|source| LedgerError::Migrate { path: path.to_owned(), source })?;

        let secrets = Secrets::new(*seed);
        let mut tx = pool.begin().await.map_err(LedgerError::Database)?;
        claim_seed(&mut tx, &secrets.fingerprint()).await?;
        assets::register_known(&mut tx).await.map_err(LedgerError::Work)?;
        let latest: Option<i64> = sqlx::query_scalar("select max(created_at) from output")
            .fetch_one(&mut *tx)
            .await
            .map_err(LedgerError::Database)?;
        tx.commit().await.map_err(LedgerError::Database)?;

        let clock = Clock::after(latest.map_or(0, unsigned));
        let started_at = clock.now();
        let (faults, work) = (Faults::default(), AtomicBool::new(true));
        Ok(Self { pool, secrets, clock, finality_delay, started_at, faults, nodes, work })
    }

    /// Says that something is there which time will finish. Called inside of the transaction that leaves it.
    pub(crate) fn expect_work(&self) {
        self.work.store(true, Ordering::SeqCst);
    }

    /// True where somebody said so.
    pub(crate) fn has_work(&self) -> bool {
        self.work.load(Ordering::SeqCst)
    }

    /// Begins anew. Called inside of the transaction that then looks what is left: calls come one by one.
    pub(crate) fn forget_work(&self) {
        self.work.store(false, Ordering::SeqCst);
    }

    /// Starts the one transaction of a call. What is not committed never happened.
    pub(crate) async fn begin(&self) -> Result<Transaction<'static, Sqlite>, CallError> {
        Ok(self.pool.begin().await?)
    }

    /// Closes the database.
    pub(crate) async fn close(&self) {
        self.pool.close().await;
    }
}

fn migrator() -> Migrator {
    let migrations = [
        ("ledger", include_str!("../../../../migrations/ledger/0001_ledger.sql")),
        ("faults", include_str!("../../../../migrations/ledger/0002_faults.sql")),
        ("statement", include_str!("../../../../migrations/ledger/0003_statement.sql")),
    ];
    let numbered = (1..).zip(migrations).map(|(version, (name, sql))| {
        Migration::new(version, name.into(), MigrationType::Simple, sql.into_sql_str(), false)
    });
    Migrator::with_migrations(numbered.collect())
}

/// Binds a new database to its seed. With another seed the users' view keys would change under their coins.
async fn claim_seed(db: &mut SqliteConnection, fingerprint: &str) -> Result<(), LedgerError> {
    sqlx::query("insert into meta (name, value) values ('seed', $1) on conflict do nothing")
        .bind(fingerprint)
        .execute(&mut *db)
        .await
        .map_err(LedgerError::Database)?;
    let stored: String = sqlx::query_scalar("select value from meta where name = 'seed'")
        .fetch_one(&mut *db)
        .await
        .map_err(LedgerError::Database)?;
    if stored == fingerprint { Ok(()) } else { Err(LedgerError::OtherSeed) }
}

/// The ledger's time in nanoseconds since 1970: the system's, and strictly increasing.
#[derive(Debug)]
pub(crate) struct Clock {
    last: AtomicU64,
}

impl Clock {
    /// A clock that never shows `last` or less.
    const fn after(last: u64) -> Self {
        Self { last: AtomicU64::new(last) }
    }

    /// Now; never the same twice.
    pub(crate) fn now(&self) -> u64 {
        let system = u64::try_from(since_1970().as_nanos()).unwrap_or(u64::MAX);
        let next = |last: u64| system.max(last.saturating_add(1));
        let last = self.last.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |last| Some(next(last)));
        next(last.unwrap_or_else(|last| last))
    }
}

/// A list as a column holds it.
pub(crate) fn to_json<T: Serialize>(value: &T) -> Result<String, CallError> {
    serde_json::to_string(value).map_err(|_| CallError::Corrupt("value"))
}

/// A list from its column.
pub(crate) fn from_json<T: DeserializeOwned>(text: &str, what: &'static str) -> Result<T, CallError> {
    serde_json::from_str(text).map_err(|_| CallError::Corrupt(what))
}

/// A 32-byte value from its column.
pub(crate) fn from_hex(text: &str, what: &'static str) -> Result<[u8; 32], CallError> {
    let mut bytes = [0; 32];
    hex::decode_to_slice(text, &mut bytes).map_err(|_| CallError::Corrupt(what))?;
    Ok(bytes)
}

/// A time or sequence for its column.
pub(crate) fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// A time or sequence from its column.
pub(crate) fn unsigned(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}
