//! One member's durable state: SQLite in WAL mode, synchronous FULL, one transaction for everything of one step.
//!
//! The inputs (outputs, records) are kept as they were applied, so a restart is a replay: it derives again and compares.
//! What this member has promised (guards, payloads, signatures, submissions) is a row before anyone can see it.

mod ceremonies;
mod erasures;
mod governance;
mod guards;
mod inputs;
mod lease;
mod masks;
mod payouts;
mod promises;
mod reads;
mod rewind;
mod seeds;
mod submissions;
mod unclaimed;

use std::fs::{OpenOptions, Permissions};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use lockstep_core::B256;
use sqlx::migrate::{MigrateError, Migration, MigrationType, Migrator};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{Row, SqlStr};
use thiserror::Error;

pub use ceremonies::{CeremonyItem, CeremonyRow, CeremonyStep, Leave};
pub use erasures::Erasure;
pub use governance::{ActedDecision, GroupSigned, ProposalRow, SigningSwitch};
pub use guards::{GuardError, LogError, Pledge, Restored};
pub use inputs::{Commit, Replay};
pub use lease::{BEAT, Holder, LeaseError};
pub use masks::MaskRow;
pub use payouts::{OpenPayout, Payload};
pub use reads::{MailboxRow, QueuedMessage, StepRow};
pub use unclaimed::Release;

use lease::Lease;

/// Connections that read beside the one that writes: peers, planner and status at once, and one to spare.
const READERS: u32 = 4;
/// How long a statement waits for the lock of another process before it fails; a step's transaction takes milliseconds.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// Between two attempts to open a file that another process has locked.
const BUSY_PAUSE: Duration = Duration::from_millis(20);

/// A member's database. Cheap to clone; one connection writes, so writes are ordered by themselves.
#[derive(Clone, Debug)]
pub struct Store {
    path: PathBuf,
    writer: SqlitePool,
    reader: SqlitePool,
    lease: Option<Lease>,
    log: Option<Arc<tokio::sync::Mutex<guards::Writer>>>,
    /// False until peers have said how far they saw this member.
    is_sure: Arc<AtomicBool>,
}

/// Whom a database belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Digest of the group file it was made with.
    pub group_digest: [u8; 32],
    /// The member's index, 1..=n.
    pub member: u32,
}

impl Identity {
    fn facts(&self) -> [(&'static str, Vec<u8>); 2] {
        [("group file digest", self.group_digest.to_vec()), ("member index", self.member.to_be_bytes().to_vec())]
    }
}

impl Store {
    /// Opens or creates the database of `identity` at `path`, and takes its lease.
    ///
    /// # Errors
    /// Refuses a database that was made for another group file or another member, one that another process works on, and one
    /// that is older than what the member has signed; and reports what SQLite reports.
    pub async fn open(path: &Path, identity: Identity) -> Result<Self, StoreError> {
        let store = Self::open_unclaimed(path).await?;
        store.claim_for(identity).await?;
        store.hold().await
    }

    /// Takes the lease and opens the guard log: from here on this process, and no other, may make promises.
    ///
    /// # Errors
    /// [`LeaseError::Held`] while another process has the lease; [`GuardError`] where the database is older than the log.
    pub async fn hold(self) -> Result<Self, StoreError> {
        let mut store = self.take_lease().await?;
        if let Err(error) = store.open_log().await {
            store.close().await;
            return Err(error);
        }
        Ok(store)
    }

    /// Promises nothing until [`Self::go_ahead`].
    pub fn hold_back(&self) {
        self.is_sure.store(false, Ordering::Release);
    }

    /// Lets promises be made, after peers have said how far they saw this member.
    pub fn go_ahead(&self) {
        self.is_sure.store(true, Ordering::Release);
    }

    /// False while it is not certain that this database is the newest: who would sign waits.
    pub fn may_promise(&self) -> bool {
        self.is_sure.load(Ordering::Acquire)
    }

    async fn claim_for(&self, identity: Identity) -> Result<(), StoreError> {
        for (name, value) in identity.facts() {
            self.claim(name, &value).await?;
        }
        Ok(())
    }

    /// Opens the database of `identity` for a command beside the running service, or before its first start.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub async fn beside(path: &Path, identity: Identity) -> Result<Self, StoreError> {
        let store = Self::open_unclaimed(path).await?;
        store.claim_for(identity).await?;
        Ok(store)
    }

    /// Opens or creates a database without saying whose it is: for a ceremony, which comes before there is a group file.
    ///
    /// # Errors
    /// What SQLite reports.
    pub async fn open_unclaimed(path: &Path) -> Result<Self, StoreError> {
        let opening = |source| StoreError::Open { path: path.to_path_buf(), source };
        restrict(path).map_err(|source| opening(sqlx::Error::Io(source)))?;
        let options = SqliteConnectOptions::from_str("sqlite:").map_err(opening)?.filename(path);
        let options = options
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            // What is deleted is overwritten with zeros: sealed shares are among it.
            .pragma("secure_delete", "on")
            .busy_timeout(BUSY_TIMEOUT);
        let writer = connect(SqlitePoolOptions::new().max_connections(1), &options).await.map_err(opening)?;
        migrate(&writer)
            .await
            .map_err(|source| StoreError::Migrate { path: path.to_path_buf(), source: Box::new(source) })?;
        let options = options.read_only(true).create_if_missing(false);
        let reader = connect(SqlitePoolOptions::new().max_connections(READERS), &options).await.map_err(opening)?;
        let is_sure = Arc::new(AtomicBool::new(true));
        Ok(Self { path: path.to_path_buf(), writer, reader, lease: None, log: None, is_sure })
    }

    /// Writes a fact of identity the first time and compares it ever after.
    async fn claim(&self, name: &'static str, value: &[u8]) -> Result<(), StoreError> {
        // Where the service was here before there is nothing to write, and nobody need wait for another process.
        let found = match self.fact(name).await? {
            Some(found) => found,
            None => {
                let insert = "insert into identity (name, value) values ($1, $2) on conflict (name) do nothing";
                sqlx::query(insert).bind(name).bind(value).execute(&self.writer).await?;
                self.fact(name).await?.ok_or(StoreError::Corrupt { what: "identity" })?
            }
        };
        expect_fact(name, value, &found)
    }

    async fn fact(&self, name: &'static str) -> Result<Option<Vec<u8>>, StoreError> {
        let query = sqlx::query("select value from identity where name = $1").bind(name);
        Ok(query.fetch_optional(&self.writer).await?.map(|row| row.try_get(0)).transpose()?)
    }

    /// Lets go of the lease and closes all connections; what is committed stays.
    pub async fn close(&self) {
        self.release().await;
        self.reader.close().await;
        self.writer.close().await;
    }
}

fn expect_fact(name: &'static str, expected: &[u8], found: &[u8]) -> Result<(), StoreError> {
    if found == expected {
        return Ok(());
    }
    Err(StoreError::Identity { name, expected: hex::encode(expected), found: hex::encode(found) })
}

/// Opens connections. The first one turns to write-ahead logging, which takes the whole file for a moment, and SQLite does not
/// wait for that by itself.
async fn connect(pool: SqlitePoolOptions, options: &SqliteConnectOptions) -> Result<SqlitePool, sqlx::Error> {
    let begun = Instant::now();
    loop {
        match pool.clone().connect_with(options.clone()).await {
            Err(error) if is_busy(&error) && begun.elapsed() < BUSY_TIMEOUT => tokio::time::sleep(BUSY_PAUSE).await,
            opened => return opened,
        }
    }
}

/// Whether another process has the lock: SQLITE_BUSY is the low byte of its extended codes.
fn is_busy(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|error| error.code()?.parse::<u32>().ok());
    code.is_some_and(|code| code & 0xff == 5)
}

/// Brings the schema up to date. A service and a command may open a new database at the same moment, and sqlx takes no lock
/// on SQLite: what is missing is written in one transaction that waits for the other.
async fn migrate(writer: &SqlitePool) -> Result<(), MigrateError> {
    let sources = [
        (1, "member", include_str!("../../migrations/sqlite/0001_member.sql")),
        (2, "ceremony", include_str!("../../migrations/sqlite/0002_ceremony.sql")),
        (4, "governance", include_str!("../../migrations/sqlite/0004_governance.sql")),
        (5, "lease", include_str!("../../migrations/sqlite/0005_lease.sql")),
        (6, "erasures", include_str!("../../migrations/sqlite/0006_erasures.sql")),
        (7, "seeds", include_str!("../../migrations/sqlite/0007_seeds.sql")),
        (8, "masks", include_str!("../../migrations/sqlite/0008_masks.sql")),
    ];
    let newest = sources.map(|(version, ..)| version).into_iter().max();
    let migrations = sources.map(|(version, name, sql)| {
        Migration::new(version, name.into(), MigrationType::Simple, SqlStr::from_static(sql), false)
    });
    let migrator = Migrator::with_migrations(migrations.to_vec());
    // Fails before the first migration: then there is no such table.
    let reached = sqlx::query_scalar("select max(version) from _sqlx_migrations").fetch_one(writer).await;
    if reached.is_ok_and(|version: Option<i64>| version >= newest) {
        // Nothing to write, so nobody need wait for another process; only compared.
        return migrator.run(writer).await;
    }
    let mut transaction = writer.begin_with("begin immediate").await?;
    migrator.run_direct(None, &mut *transaction, false).await?;
    Ok(transaction.commit().await?)
}

/// Lets nobody but the owner read the database: it holds what links the group's coins. SQLite gives its side files the
/// same mode. A file that is there is not opened: closing it would let go of the locks that this process has on it.
fn restrict(path: &Path) -> std::io::Result<()> {
    match OpenOptions::new().append(true).create_new(true).mode(0o600).open(path) {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
        made => drop(made?),
    }
    std::fs::set_permissions(path, Permissions::from_mode(0o600))
}

/// A column as an unsigned number: SQLite's integers are signed, and every number here fits 63 bits.
fn unsigned(value: i64, what: &'static str) -> Result<u64, StoreError> {
    u64::try_from(value).map_err(|_| StoreError::Corrupt { what })
}

/// An unsigned number as a column.
fn signed(value: u64, what: &'static str) -> Result<i64, StoreError> {
    i64::try_from(value).map_err(|_| StoreError::Corrupt { what })
}

/// A blob column as a 32-byte hash.
fn hash(bytes: &[u8], what: &'static str) -> Result<lockstep_core::B256, StoreError> {
    lockstep_core::B256::try_from(bytes).map_err(|_| StoreError::Corrupt { what })
}

/// A text column as one of the core's types.
fn body<T: serde::de::DeserializeOwned>(text: &str, what: &'static str) -> Result<T, StoreError> {
    serde_json::from_str(text).map_err(|source| StoreError::Body { what, source })
}

/// One of the core's types as a text column.
fn text<T: serde::Serialize>(value: &T, what: &'static str) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|source| StoreError::Body { what, source })
}

/// Why the store refused.
#[derive(Debug, Error)]
pub enum StoreError {
    /// The file cannot be opened.
    #[error("cannot open the database {}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// What SQLite said.
        #[source]
        source: sqlx::Error,
    },
    /// The schema cannot be brought up to date.
    #[error("cannot migrate the database {}", path.display())]
    Migrate {
        /// The file.
        path: PathBuf,
        /// What the migrator said.
        #[source]
        source: Box<MigrateError>,
    },
    /// The database was made for somebody else.
    #[error("the database belongs to another {name}: it holds {found}, this service has {expected}")]
    Identity {
        /// Which fact differs.
        name: &'static str,
        /// Ours, hex.
        expected: String,
        /// The database's, hex.
        found: String,
    },
    /// A statement failed.
    #[error("the database refused a statement")]
    Sql(#[from] sqlx::Error),
    /// A row's body is not what this version writes.
    #[error("a stored {what} cannot be read")]
    Body {
        /// Which kind of row.
        what: &'static str,
        /// What the parser said.
        #[source]
        source: serde_json::Error,
    },
    /// A row holds a value that this service never writes.
    #[error("a stored {what} is out of range")]
    Corrupt {
        /// Which value.
        what: &'static str,
    },
    /// A ceremony's round that is not above all earlier ones.
    #[error(
        "round {round} is not new: ceremony {last} had round {last_round}, and a ceremony must have a higher round than all \
         before it"
    )]
    RoundTaken {
        /// The proposal's.
        round: u32,
        /// The highest that was approved here.
        last_round: u32,
        /// Its ceremony.
        last: lockstep_core::B256,
    },
    /// Another process acts for this member.
    #[error(transparent)]
    Lease(Box<LeaseError>),
    /// The database is not the newest, or the guard log is not as it was left.
    #[error(transparent)]
    Guards(Box<GuardError>),
    /// Something already promised would change. The service halts.
    #[error("contradiction: {0}")]
    Contradiction(String),
    /// Another proposal is approved or signed for the same number or nonce. Nothing is wrong with this member.
    #[error(
        "{slot}: this member approved or signed {held}, so it never signs {refused}; once the first has acted, propose \
         it again under the next number or nonce"
    )]
    Taken {
        /// The number or nonce.
        slot: String,
        /// The digest that has it.
        held: B256,
        /// The digest that cannot have it.
        refused: B256,
    },
    /// The payout was derived from what this member has given up since. Nothing is wrong: it is derived again, or never was.
    #[error("payout {0} is forgotten: what it followed from was given up")]
    Forgotten(uuid::Uuid),
    /// The operator wants nothing signed.
    #[error("this member signs nothing since `lockstep stop-signing`: {reason}")]
    Stopped {
        /// In the operator's words.
        reason: String,
    },
}

impl From<LeaseError> for StoreError {
    fn from(error: LeaseError) -> Self {
        Self::Lease(error.into())
    }
}

impl From<GuardError> for StoreError {
    fn from(error: GuardError) -> Self {
        Self::Guards(error.into())
    }
}

impl StoreError {
    /// True where a promise or an applied input would change: the service must halt (exit code 70).
    pub const fn is_contradiction(&self) -> bool {
        match self {
            Self::Contradiction(_) => true,
            Self::Guards(error) => error.is_for_a_person(),
            Self::Open { .. }
            | Self::Migrate { .. }
            | Self::Identity { .. }
            | Self::Sql(_)
            | Self::Body { .. }
            | Self::Corrupt { .. }
            | Self::RoundTaken { .. }
            | Self::Lease(_)
            | Self::Taken { .. }
            | Self::Forgotten(_)
            | Self::Stopped { .. } => false,
        }
    }

    /// True where another process has taken this one's place: it must stop.
    pub fn is_lost_lease(&self) -> bool {
        matches!(self, Self::Lease(error) if matches!(**error, LeaseError::Lost { .. } | LeaseError::Gone))
    }
}

#[cfg(test)]
mod tests;
