//! Promises: rows that bind this member before a signature exists, and a witness of them outside of the database.
//!
//! Every promise goes through [`Promise`]: one transaction that reads the lease's token, writes the guard rows and moves the
//! guard head, then one synced append to the guard log ([`log`]). Only then does the caller sign. So whatever was signed is in
//! both, and a database that was restored from a backup is older than the log; peers remember how far they saw it, too, for
//! when both were restored ([`heads`]).

mod heads;
mod log;
mod restore;

use std::path::{Path, PathBuf};

use sqlx::{Row, Sqlite, SqliteConnection, Transaction};
use thiserror::Error;
use tokio::sync::OwnedMutexGuard;

use super::governance::check_signing;
use super::{Store, StoreError, hash, signed, unsigned};

pub use log::{LogError, Pledge};
pub use restore::Restored;

use crate::world::witness::Reach;
pub(super) use log::Writer;
use log::{Head, Log};

/// The guard log of a database.
fn log_path(database: &Path) -> PathBuf {
    database.with_extension("guards.log")
}

/// The newest promise, as the database knows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Latest {
    head: Head,
    /// The lines of the last promise.
    lines: String,
    /// The highest checkpoint that was promised.
    checkpoint: u64,
    /// How many promises of a coin there were.
    coins: u64,
}

impl Latest {
    async fn read(connection: &mut SqliteConnection) -> Result<Self, StoreError> {
        let query = "select count, hash, lines, checkpoint, coins from guard_head";
        let Some(row) = sqlx::query(query).fetch_optional(connection).await? else { return Ok(Self::default()) };
        Ok(Self {
            head: Head { count: unsigned(row.try_get(0)?, "guard count")?, hash: hash(row.try_get(1)?, "guard head")? },
            lines: row.try_get(2)?,
            checkpoint: unsigned(row.try_get(3)?, "guard checkpoint")?,
            coins: unsigned(row.try_get(4)?, "guard coins")?,
        })
    }

    async fn write(&self, connection: &mut SqliteConnection) -> Result<(), StoreError> {
        let write = "insert into guard_head (id, count, hash, lines, checkpoint, coins) values (1, $1, $2, $3, $4, $5) \
                     on conflict (id) do update set count = $1, hash = $2, lines = $3, checkpoint = $4, coins = $5";
        sqlx::query(write)
            .bind(signed(self.head.count, "guard count")?)
            .bind(self.head.hash.as_slice())
            .bind(&self.lines)
            .bind(signed(self.checkpoint, "guard checkpoint")?)
            .bind(signed(self.coins, "guard coins")?)
            .execute(connection)
            .await?;
        Ok(())
    }

    const fn reach(&self) -> Reach {
        Reach { count: self.head.count, hash: self.head.hash, checkpoint: self.checkpoint, coins: self.coins }
    }

    /// The state after more pledges.
    fn after(&self, pledges: &[Pledge]) -> Result<Self, StoreError> {
        let mut next = Self { lines: String::new(), ..self.clone() };
        for pledge in pledges {
            next.head = next.head.extend(pledge, &mut next.lines).ok_or(StoreError::Corrupt { what: "guard count" })?;
            match pledge {
                Pledge::Checkpoint { sequence, .. } => next.checkpoint = next.checkpoint.max(*sequence),
                Pledge::Coin { .. } => next.coins = next.coins.saturating_add(1),
                Pledge::Other { .. } => {}
            }
        }
        Ok(next)
    }
}

/// A promise in the making: the one way to write a guard row. Dropped without a commit, nothing was promised.
pub(super) struct Promise {
    tx: Transaction<'static, Sqlite>,
    log: Option<OwnedMutexGuard<Writer>>,
    latest: Latest,
    pledges: Vec<Pledge>,
}

impl Promise {
    /// The transaction of the guard rows.
    pub(super) const fn tx(&mut self) -> &mut Transaction<'static, Sqlite> {
        &mut self.tx
    }

    /// Names what is promised. Only what was not promised before.
    pub(super) fn pledge(&mut self, pledge: Pledge) {
        self.pledges.push(pledge);
    }

    /// Makes it durable in the database and in the log. When this returns, a signature may be made.
    ///
    /// # Errors
    /// What SQLite or the disk reports; then nothing may be signed. The next promise mends the log first.
    pub(super) async fn commit(mut self) -> Result<(), StoreError> {
        if self.pledges.is_empty() {
            return Ok(self.tx.commit().await?);
        }
        let next = self.latest.after(&self.pledges)?;
        next.write(&mut self.tx).await?;
        self.tx.commit().await?;
        match self.log {
            Some(log) => Ok(log::append(log, next.lines, next.head).await?),
            None => Ok(()),
        }
    }
}

impl Store {
    /// Begins a promise.
    ///
    /// # Errors
    /// Refuses without the lease, while the operator wants nothing signed, and while it is not certain that this database is
    /// the newest (see [`Store::may_promise`]).
    pub(super) async fn promise(&self) -> Result<Promise, StoreError> {
        // The lock is held until the lines are on the disk: they go there in the order of their numbers.
        let log = match &self.log {
            Some(log) => Some(std::sync::Arc::clone(log).lock_owned().await),
            None => None,
        };
        let mut log = log;
        let mut tx = self.fenced().await?;
        check_signing(&mut tx).await?;
        if !self.may_promise() {
            return Err(GuardError::Unsure.into());
        }
        let latest = Latest::read(&mut tx).await?;
        // A full disk, a request that was given up half-way, a long log. Without an await, or that could be given up as well.
        if let Some(log) = log.as_mut().filter(|log| !log.may_go_on(&latest.head)) {
            **log = Writer::open(&log_path(&self.path), &latest)?;
        }
        Ok(Promise { tx, log, latest, pledges: Vec::new() })
    }

    /// Compares the log with the database and opens it. For who has the lease.
    ///
    /// # Errors
    /// [`GuardError`] where the two do not belong together.
    pub(super) async fn open_log(&mut self) -> Result<(), StoreError> {
        let path = log_path(&self.path);
        // Nobody else has the log while this lasts; what it reads is given up at the end.
        let mut tx = self.fenced().await?;
        let latest = Latest::read(&mut tx).await?;
        let seen = heads::own_seen(&mut tx).await?;
        let writer = Writer::open(&path, &latest)?;
        let behind = match seen {
            Some(seen) => heads::contradiction(&latest, Log::read(&path, &latest.lines)?.as_ref(), &seen),
            None => None,
        };
        tx.rollback().await?;
        match behind {
            Some(error) => Err(error.into()),
            None => {
                self.log = Some(std::sync::Arc::new(tokio::sync::Mutex::new(writer)));
                Ok(())
            }
        }
    }
}

/// The log, written anew so that no other process has it open, where it agrees with the database.
fn compare(path: &Path, latest: &Latest, log: Option<&Log>) -> Result<Writer, GuardError> {
    let path_shown = || path.display().to_string();
    let Some(log) = log else {
        if latest.head.count > 0 {
            return Err(GuardError::Missing { path: path_shown(), own: latest.reach() });
        }
        return Ok(Writer::create(path, &Log::default())?);
    };
    let (own, witnessed) = (latest.head, log.head());
    if own == witnessed {
        return Ok(Writer::create(path, log)?);
    }
    if own.count > witnessed.count {
        // A crash between the commit and the append leaves out lines of the last promise, and no more.
        return match log.completed(&latest.lines) {
            Some(whole) if whole.head() == own => Ok(Writer::create(path, &whole)?),
            Some(_) | None => {
                Err(GuardError::Truncated { path: path_shown(), ends: witnessed.count, own: latest.reach() })
            }
        };
    }
    if log.hash_at(own.count).is_some_and(|hash| hash != own.hash) {
        return Err(GuardError::Forked { path: path_shown(), own: latest.reach() });
    }
    if own.count == witnessed.count {
        return Err(GuardError::Forked { path: path_shown(), own: latest.reach() });
    }
    Err(GuardError::Older { lacks: log.words_after(own.count), count: witnessed.count, own: latest.reach() })
}

/// What an operator can do about each of these.
const ACCEPT: &str = "Put the newer files back; or, if they are lost and no other copy of this member runs, wait until the \
                      others have finished their payouts and run `lockstep keys accept-restore --reason …`";

/// Why this member makes no promises.
#[derive(Debug, Error)]
pub enum GuardError {
    /// The log is ahead of the database.
    #[error(
        "this database is older than what this member has signed: it lacks {lacks}. It holds {own}, the guard log {count}. \
         {ACCEPT}"
    )]
    Older {
        /// Which promises, in words.
        lacks: String,
        /// The last promise of the log.
        count: u64,
        /// How far the database goes.
        own: Reach,
    },
    /// Peers have seen more than database and log know.
    #[error(
        "this database is older than what this member has signed: it lacks the promises {lacks} to {}, for it holds {own}, and \
         peers have seen {seen}, signed by this member. {ACCEPT}",
        seen.count
    )]
    Behind {
        /// The first promise that it lacks.
        lacks: u64,
        /// What they have seen, signed by this member.
        seen: Reach,
        /// How far the database goes.
        own: Reach,
    },
    /// Both went on from the same place.
    #[error(
        "the guard log `{path}` has other promises than the database: two copies of this member have signed. The \
         database holds {own}. {ACCEPT}"
    )]
    Forked {
        /// The log.
        path: String,
        /// How far the database goes.
        own: Reach,
    },
    /// Peers have seen other promises than those of this database.
    #[error(
        "peers have seen another promise {} of this member than its guard log holds: two copies of this member have signed. \
         {ACCEPT}",
        seen.count
    )]
    ForkSeen {
        /// What they have seen.
        seen: Reach,
    },
    /// There is no log, and there must be one.
    #[error("the guard log `{path}` is missing, and the database holds {own}. {ACCEPT}")]
    Missing {
        /// The log.
        path: String,
        /// How far the database goes.
        own: Reach,
    },
    /// The log ends before the database.
    #[error("the guard log `{path}` was cut off: it ends with promise {ends}, and the database holds {own}. {ACCEPT}")]
    Truncated {
        /// The log.
        path: String,
        /// Its last promise.
        ends: u64,
        /// How far the database goes.
        own: Reach,
    },
    /// The log is damaged, or cannot be written.
    #[error(transparent)]
    Log(#[from] LogError),
    /// Nobody has said yet how far this member went.
    #[error("too few peers have said how far they saw this member: nothing is promised yet")]
    Unsure,
    /// A restore that is none.
    #[error("nothing to accept: database, guard log and what peers have seen agree")]
    NothingLost,
    /// A reason that says nothing.
    #[error("a reason has 10 to 500 characters on one line")]
    Reason,
}

impl GuardError {
    /// Whether a person must look.
    pub const fn is_for_a_person(&self) -> bool {
        match self {
            Self::Older { .. }
            | Self::Behind { .. }
            | Self::Forked { .. }
            | Self::ForkSeen { .. }
            | Self::Missing { .. }
            | Self::Truncated { .. }
            | Self::Log(LogError::Broken { .. }) => true,
            Self::Log(LogError::Io { .. } | LogError::Unchained { .. } | LogError::Failed)
            | Self::Unsure
            | Self::NothingLost
            | Self::Reason => false,
        }
    }
}

impl From<LogError> for StoreError {
    fn from(error: LogError) -> Self {
        GuardError::from(error).into()
    }
}

#[cfg(test)]
mod tests;
