//! An older database, taken on by a person.

use std::path::Path;

use alloy::primitives::keccak256;
use lockstep_core::B256;
use serde::Serialize;
use sqlx::Row;

use super::heads::{contradiction, own_seen};
use super::log::{Head, Log, LogError, Pledge, Writer};
use super::{GuardError, Latest, compare, log_path};
use crate::clock::unix_millis;
use crate::store::{Identity, Store, StoreError, hash, signed};
use crate::world::witness::Reach;

/// Bounds of a reason, in characters.
const REASON: std::ops::RangeInclusive<usize> = 10..=500;

/// What was taken on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Restored {
    /// Why this member had refused.
    pub refusal: String,
    /// How far the database went.
    pub database: Reach,
    /// How far it goes now, as if it had made the lost promises.
    pub now: Reach,
    /// Checkpoints that the guard log still told of: their promises are back.
    pub checkpoints: usize,
}

impl Store {
    /// Lets a member sign again that refuses because its database, its guard log and its peers disagree. What the log still
    /// tells of checkpoints is promised again; promises of coins are lost. The reason is kept.
    ///
    /// # Errors
    /// [`GuardError::NothingLost`] where they agree, [`GuardError::Reason`] for a reason that says nothing, and a
    /// contradiction where the log and the database promise different digests for one checkpoint.
    pub async fn accept_restore(path: &Path, identity: Identity, reason: &str) -> Result<Restored, StoreError> {
        if !REASON.contains(&reason.trim().chars().count()) || reason.contains(char::is_control) {
            return Err(GuardError::Reason.into());
        }
        let store = Self::open_unclaimed(path).await?;
        store.claim_for(identity).await?;
        let store = store.take_lease().await?;
        let accepted = store.accept(reason.trim()).await;
        store.close().await;
        accepted
    }

    async fn accept(&self, reason: &str) -> Result<Restored, StoreError> {
        let path = log_path(&self.path);
        let mut tx = self.fenced().await?;
        let latest = Latest::read(&mut tx).await?;
        let read = Log::read(&path, &latest.lines);
        let seen = own_seen(&mut tx).await?;
        let refusal = match &read {
            Err(LogError::Broken { .. }) => read.as_ref().err().map(ToString::to_string),
            Err(_) | Ok(_) => None,
        };
        let log = match read {
            Ok(log) => log,
            Err(LogError::Broken { .. }) => None,
            Err(error) => return Err(error.into()),
        };
        let refusal = refusal
            .or_else(|| compare(&path, &latest, log.as_ref()).err().map(|error| error.to_string()))
            .or_else(|| contradiction(&latest, log.as_ref(), seen.as_ref()?).map(|error| error.to_string()))
            .ok_or(GuardError::NothingLost)?;

        let told = log.as_ref().map(|log| log.checkpoints_after(latest.head.count)).unwrap_or_default();
        for (sequence, digest) in &told {
            promise_again(&mut tx, *sequence, *digest).await?;
        }
        let base = furthest(&latest, log.as_ref(), seen.as_ref().map(|seen| seen.reach));
        let number = base.head.count.saturating_add(1);
        let pledge = Pledge::Other { kind: "restore", scope: String::new(), number, value: keccak256(reason) };
        let next = base.after(std::slice::from_ref(&pledge))?;
        next.write(&mut tx).await?;
        let keep = "insert into restores (at_ms, from_count, to_count, reason) values ($1, $2, $3, $4)";
        sqlx::query(keep)
            .bind(signed(unix_millis(), "time")?)
            .bind(signed(latest.head.count, "guard count")?)
            .bind(signed(next.head.count, "guard count")?)
            .bind(reason)
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;
        let log = Log::behind(base.head, base.checkpoint).completed(&next.lines);
        let unchained = || LogError::Unchained { path: path.display().to_string() };
        Writer::create(&path, &log.ok_or_else(unchained)?)?;
        Ok(Restored { refusal, database: latest.reach(), now: next.reach(), checkpoints: told.len() })
    }
}

/// Where whoever went furthest stands: nothing that was promised has a number behind it.
fn furthest(latest: &Latest, log: Option<&Log>, seen: Option<Reach>) -> Latest {
    let mut base = latest.clone();
    if let Some(log) = log {
        let told = log.checkpoints_after(0).into_iter().map(|(sequence, _)| sequence).max();
        base.checkpoint = base.checkpoint.max(told.unwrap_or_default());
        if log.head().count > base.head.count {
            base.head = log.head();
        }
    }
    if let Some(seen) = seen {
        base.checkpoint = base.checkpoint.max(seen.checkpoint);
        base.coins = base.coins.max(seen.coins);
        if seen.count > base.head.count {
            base.head = Head { count: seen.count, hash: seen.hash };
        }
    }
    base
}

async fn promise_again(tx: &mut sqlx::SqliteConnection, sequence: u64, digest: B256) -> Result<(), StoreError> {
    sqlx::query("insert into checkpoint_guards (sequence, digest) values ($1, $2) on conflict do nothing")
        .bind(signed(sequence, "sequence")?)
        .bind(digest.as_slice())
        .execute(&mut *tx)
        .await?;
    let row = sqlx::query("select digest from checkpoint_guards where sequence = $1")
        .bind(signed(sequence, "sequence")?)
        .fetch_one(tx)
        .await?;
    let promised = hash(row.try_get(0)?, "checkpoint digest")?;
    if promised == digest {
        return Ok(());
    }
    let words = format!("checkpoint {sequence}: the guard log says {digest}, the database {promised}");
    Err(StoreError::Contradiction(words))
}
