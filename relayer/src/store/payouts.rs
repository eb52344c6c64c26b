//! Derived transactions on their way: payloads, guards, own signatures, finality.

use std::collections::BTreeMap;

use lockstep_core::derive::Derived;
use lockstep_core::mixin::{GhostScalar, Signature};
use lockstep_core::output::{CoinId, Output};
use lockstep_core::payout::{self, Attempts, InputSignature};
use lockstep_core::{B256, Uuid};
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, Sqlite, Transaction};

use super::{Pledge, Store, StoreError, body, hash, signed, text, unsigned};

/// A derived transaction that is not final yet.
#[derive(Clone, Debug)]
pub struct OpenPayout {
    /// Its trace as the ledger's API knows it.
    pub id: Uuid,
    /// What is to be paid.
    pub derived: Derived,
    /// The attempt in hand, and those that are proven dead (DERIVATION.md C5).
    pub attempts: Attempts,
}

/// The bytes of a derived transaction at one attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payload {
    /// BLAKE3-256 of the unsigned transaction.
    pub hash: B256,
    /// The unsigned transaction.
    pub raw: Vec<u8>,
}

impl Store {
    /// The traces of derived transactions that are not final yet, in order of derivation, at most `limit` behind `after`,
    /// each with its position; 0 is before the first.
    ///
    /// # Errors
    /// Reports an unreadable row.
    pub async fn open_payouts(&self, after: u64, limit: u32) -> Result<Vec<(u64, Uuid)>, StoreError> {
        let query = "select position, trace from derived where final_hash is null and position > $1 \
                     order by position limit $2";
        let after = signed(after, "position")?;
        let rows = sqlx::query(query).bind(after).bind(limit).fetch_all(&self.reader).await?;
        let read = |row: &SqliteRow| Ok((unsigned(row.try_get(0)?, "position")?, uuid(row.try_get(1)?)?));
        rows.iter().map(read).collect()
    }

    /// A derived transaction by its trace, or `None` once it is final.
    ///
    /// # Errors
    /// Reports an unreadable row.
    pub async fn open_payout(&self, trace: Uuid) -> Result<Option<OpenPayout>, StoreError> {
        let row = sqlx::query("select body, attempts from derived where trace = $1 and final_hash is null")
            .bind(trace.as_bytes().as_slice())
            .fetch_optional(&self.reader)
            .await?;
        let Some(row) = row else { return Ok(None) };
        let derived = body(row.try_get(0)?, "derived transaction")?;
        Ok(Some(OpenPayout { id: trace, derived, attempts: attempts(row.try_get(1)?)? }))
    }

    /// How many derived transactions are not final yet.
    ///
    /// # Errors
    /// Reports what SQLite reports.
    pub async fn open_payout_count(&self) -> Result<u64, StoreError> {
        let query = "select count(*) from derived where final_hash is null";
        unsigned(sqlx::query(query).fetch_one(&self.reader).await?.try_get(0)?, "count")
    }

    /// The derived transaction of a trace.
    ///
    /// # Errors
    /// Reports an unreadable row.
    pub async fn derived(&self, trace: Uuid) -> Result<Option<Derived>, StoreError> {
        let row = sqlx::query("select body from derived where trace = $1")
            .bind(trace.as_bytes().as_slice())
            .fetch_optional(&self.reader)
            .await?;
        row.map(|row| body(row.try_get(0)?, "derived transaction")).transpose()
    }

    /// The payload hash under which the transaction of a trace became final.
    ///
    /// # Errors
    /// Reports an unreadable row.
    pub async fn final_hash(&self, trace: Uuid) -> Result<Option<B256>, StoreError> {
        let row = sqlx::query("select final_hash from derived where trace = $1")
            .bind(trace.as_bytes().as_slice())
            .fetch_optional(&self.reader)
            .await?;
        let Some(row) = row else { return Ok(None) };
        row.try_get::<Option<Vec<u8>>, _>(0)?.map(|bytes| hash(&bytes, "final hash")).transpose()
    }

    /// Marks a derived transaction as final on the ledger.
    ///
    /// # Errors
    /// Finality under two hashes is a contradiction.
    pub async fn mark_final(&self, trace: Uuid, payload: B256) -> Result<(), StoreError> {
        let query = "update derived set final_hash = $2 where trace = $1 and (final_hash is null or final_hash = $2)";
        let mut tx = self.writing().await?;
        expect_derived(&mut tx, trace).await?;
        let done =
            sqlx::query(query).bind(trace.as_bytes().as_slice()).bind(payload.as_slice()).execute(&mut *tx).await?;
        tx.commit().await?;
        if done.rows_affected() == 1 {
            return Ok(());
        }
        Err(StoreError::Contradiction(format!("payout {trace} is final under another payload than {payload}")))
    }

    /// An applied output by its id.
    ///
    /// # Errors
    /// Reports an unreadable row.
    pub async fn output(&self, id: Uuid) -> Result<Option<Output>, StoreError> {
        let row = sqlx::query("select body from outputs where id = $1")
            .bind(id.as_bytes().as_slice())
            .fetch_optional(&self.reader)
            .await?;
        row.map(|row| body(row.try_get(0)?, "output")).transpose()
    }

    /// Fixes the bytes of the attempt in hand, together with `attempts` that names them. What is fixed is served to peers,
    /// so it never changes.
    ///
    /// # Errors
    /// Other bytes already fixed, or another attempt in hand, are a contradiction; then nothing is written.
    pub async fn fix_payload(&self, trace: Uuid, attempts: &Attempts, payload: &Payload) -> Result<(), StoreError> {
        let attempt = attempts.number();
        let mut tx = self.writing().await?;
        expect_derived(&mut tx, trace).await?;
        let insert = "insert into payloads (trace, attempt, hash, raw) values ($1, $2, $3, $4) \
                      on conflict (trace, attempt) do update set raw = $4 where hash = $3 and raw = $4";
        let written = sqlx::query(insert)
            .bind(trace.as_bytes().as_slice())
            .bind(attempt)
            .bind(payload.hash.as_slice())
            .bind(payload.raw.as_slice())
            .execute(&mut *tx)
            .await?;
        let held = write_attempts(&mut tx, trace, attempt, attempts).await?;
        if written.rows_affected() != 1 || !held || attempts.payload() != Some(payload.hash) {
            return Err(StoreError::Contradiction(format!("payout {trace} attempt {attempt} already has other bytes")));
        }
        tx.commit().await?;
        Ok(())
    }

    /// Goes on from attempt `from`, whose payload `attempts` proves dead, to the next one.
    ///
    /// # Errors
    /// An attempt in hand that is not `from` is a contradiction: there is one driver, and attempts never go back.
    pub async fn next_attempt(&self, trace: Uuid, from: u32, attempts: &Attempts) -> Result<(), StoreError> {
        let mut tx = self.writing().await?;
        expect_derived(&mut tx, trace).await?;
        let follows = from.checked_add(1) == Some(attempts.number());
        if !follows || !write_attempts(&mut tx, trace, from, attempts).await? {
            return Err(StoreError::Contradiction(format!("payout {trace} does not stand at attempt {from}")));
        }
        tx.commit().await?;
        Ok(())
    }

    /// The fixed bytes of a derived transaction at an attempt.
    ///
    /// # Errors
    /// Reports an unreadable row.
    pub async fn payload(&self, trace: Uuid, attempt: u32) -> Result<Option<Payload>, StoreError> {
        let row = sqlx::query("select hash, raw from payloads where trace = $1 and attempt = $2")
            .bind(trace.as_bytes().as_slice())
            .bind(attempt)
            .fetch_optional(&self.reader)
            .await?;
        row.map(|row| Ok(Payload { hash: hash(row.try_get(0)?, "payload hash")?, raw: row.try_get(1)? })).transpose()
    }

    /// Promises each of `coins` to the payload of the attempt in hand, durably, before a signature over it may exist
    /// (DERIVATION.md C2). A coin passes from an earlier attempt only where the stored attempts prove that one dead; proof
    /// and promise are read and written in one transaction.
    ///
    /// # Errors
    /// A coin promised to another payload is a contradiction, and so is a payload that is not in hand; then nothing is
    /// written. [`StoreError::Stopped`] while this member signs nothing.
    pub async fn guard_coins(
        &self,
        trace: Uuid,
        attempt: u32,
        payload: B256,
        coins: &[CoinId],
    ) -> Result<(), StoreError> {
        let mut promise = self.promise().await?;
        let tx = promise.tx();
        expect_derived(tx, trace).await?;
        let held = read_attempts(tx, trace).await?;
        let is_dead = held.dead().iter().any(|dead| dead.payload() == payload);
        if (held.number(), held.payload()) != (attempt, Some(payload)) || is_dead {
            return Err(StoreError::Contradiction(format!("payout {trace}: {payload} is not the payload in hand")));
        }
        let mut promised = BTreeMap::new();
        for coin in coins {
            let row = sqlx::query("select payload_hash from coin_guards where coin_hash = $1 and coin_index = $2")
                .bind(coin.transaction.as_slice())
                .bind(coin.index)
                .fetch_optional(&mut **tx)
                .await?;
            if let Some(row) = row {
                promised.insert(*coin, hash(row.try_get(0)?, "guarded payload hash")?);
            }
        }
        let unbound = payout::guard(coins, payload, held.dead(), |coin| promised.get(coin).copied())
            .map_err(|conflict| StoreError::Contradiction(format!("payout {trace}: {conflict}")))?;
        for coin in &unbound {
            let bind = "insert into coin_guards (coin_hash, coin_index, payload_hash, trace, attempt) \
                        values ($1, $2, $3, $4, $5) on conflict (coin_hash, coin_index) \
                        do update set payload_hash = $3, trace = $4, attempt = $5";
            sqlx::query(bind)
                .bind(coin.transaction.as_slice())
                .bind(coin.index)
                .bind(payload.as_slice())
                .bind(trace.as_bytes().as_slice())
                .bind(attempt)
                .execute(&mut **tx)
                .await?;
        }
        for coin in unbound {
            promise.pledge(Pledge::Coin { coin, payload });
        }
        promise.commit().await
    }

    /// Keeps this member's own signatures over `payload`, one for each input.
    ///
    /// # Errors
    /// Signatures without a guard row for each input are a contradiction, and are not kept.
    pub async fn save_payload_signatures(
        &self,
        trace: Uuid,
        attempt: u32,
        payload: B256,
        signatures: &[InputSignature],
    ) -> Result<(), StoreError> {
        let mut tx = self.writing().await?;
        let guards: i64 = sqlx::query("select count(*) from coin_guards where payload_hash = $1")
            .bind(payload.as_slice())
            .fetch_one(&mut *tx)
            .await?
            .try_get(0)?;
        if usize::try_from(guards).ok() != Some(signatures.len()) || signatures.is_empty() {
            return Err(StoreError::Contradiction(format!("payout {trace}: {payload} was signed without a guard")));
        }
        for (input, signature) in (0_u16..).zip(signatures) {
            let insert = "insert into payload_signatures (trace, attempt, input, key_index, signature) \
                          values ($1, $2, $3, $4, $5) on conflict do nothing";
            sqlx::query(insert)
                .bind(trace.as_bytes().as_slice())
                .bind(attempt)
                .bind(input)
                .bind(signature.key)
                .bind(signature.signature.0.as_slice())
                .execute(&mut *tx)
                .await?;
        }
        tx.commit().await?;
        Ok(())
    }

    /// This member's own signatures over the payload of an attempt, in input order; empty if it has not signed, or where
    /// the coins are promised to another payload by now.
    ///
    /// # Errors
    /// Reports an unreadable row.
    pub async fn payload_signatures(&self, trace: Uuid, attempt: u32) -> Result<Vec<InputSignature>, StoreError> {
        let query = "select key_index, signature, \
                     (select count(*) from coin_guards join payloads on hash = payload_hash \
                      where payloads.trace = $1 and payloads.attempt = $2) \
                     from payload_signatures where trace = $1 and attempt = $2 order by input";
        let rows = sqlx::query(query).bind(trace.as_bytes().as_slice()).bind(attempt).fetch_all(&self.reader).await?;
        let guards = rows.first().map_or(Ok(0), |row| row.try_get::<i64, _>(2))?;
        if usize::try_from(guards).ok() != Some(rows.len()) {
            return Ok(Vec::new());
        }
        rows.iter().map(input_signature).collect()
    }

    /// Keeps what turns this member's spend key into its keys of `coins`.
    ///
    /// # Errors
    /// Reports what SQLite reports.
    pub async fn save_views(&self, coins: &[CoinId], views: &[GhostScalar]) -> Result<(), StoreError> {
        let mut tx = self.writing().await?;
        for (coin, view) in coins.iter().zip(views) {
            let insert = "insert into coin_views (coin_hash, coin_index, scalar) values ($1, $2, $3) \
                          on conflict do nothing";
            sqlx::query(insert)
                .bind(coin.transaction.as_slice())
                .bind(coin.index)
                .bind(view.to_bytes().as_slice())
                .execute(&mut *tx)
                .await?;
        }
        tx.commit().await?;
        Ok(())
    }

    /// What turns this member's spend key into its keys of `coins`, in their order; `None` if one was never asked for.
    ///
    /// # Errors
    /// Reports an unreadable row.
    pub async fn views(&self, coins: &[CoinId]) -> Result<Option<Vec<GhostScalar>>, StoreError> {
        let mut views = Vec::with_capacity(coins.len());
        for coin in coins {
            let row = sqlx::query("select scalar from coin_views where coin_hash = $1 and coin_index = $2")
                .bind(coin.transaction.as_slice())
                .bind(coin.index)
                .fetch_optional(&self.reader)
                .await?;
            let Some(row) = row else { return Ok(None) };
            let scalar = hash(row.try_get(0)?, "view")?;
            views.push(GhostScalar::from_bytes(scalar.0).map_err(|_| StoreError::Corrupt { what: "view" })?);
        }
        Ok(Some(views))
    }

    /// The outbounds of all chains that were parked for good: each is an alarm.
    ///
    /// # Errors
    /// Reports an unreadable row.
    pub async fn parked(&self) -> Result<Vec<(u64, u64)>, StoreError> {
        let rows = sqlx::query("select chain, k from parked order by chain, k").fetch_all(&self.reader).await?;
        let read = |row: &SqliteRow| {
            Ok((unsigned(row.try_get(0)?, "chain id")?, unsigned(row.try_get(1)?, "outbound nonce")?))
        };
        rows.iter().map(read).collect()
    }
}

/// Refuses a payout that was forgotten while somebody worked on it (`rewind.rs`).
async fn expect_derived(tx: &mut Transaction<'_, Sqlite>, trace: Uuid) -> Result<(), StoreError> {
    let query = "select exists (select 1 from derived where trace = $1)";
    let is_there: bool = sqlx::query_scalar(query).bind(trace.as_bytes().as_slice()).fetch_one(&mut **tx).await?;
    if is_there { Ok(()) } else { Err(StoreError::Forgotten(trace)) }
}

/// Writes the attempts of a payout that stands at attempt `at` and is not final; false if it does not.
async fn write_attempts(
    tx: &mut Transaction<'_, Sqlite>,
    trace: Uuid,
    at: u32,
    attempts: &Attempts,
) -> Result<bool, StoreError> {
    let update = "update derived set attempt = $3, attempts = $4 \
                  where trace = $1 and attempt = $2 and final_hash is null";
    let written = sqlx::query(update)
        .bind(trace.as_bytes().as_slice())
        .bind(at)
        .bind(attempts.number())
        .bind(text(attempts, "attempts")?)
        .execute(&mut **tx)
        .await?;
    Ok(written.rows_affected() == 1)
}

async fn read_attempts(tx: &mut Transaction<'_, Sqlite>, trace: Uuid) -> Result<Attempts, StoreError> {
    let row = sqlx::query("select attempts from derived where trace = $1")
        .bind(trace.as_bytes().as_slice())
        .fetch_optional(&mut **tx)
        .await?;
    row.map_or(Ok(Attempts::default()), |row| attempts(row.try_get(0)?))
}

/// Nothing is attempted before the first payload.
pub(super) fn attempts(stored: Option<&str>) -> Result<Attempts, StoreError> {
    stored.map_or_else(|| Ok(Attempts::default()), |stored| body(stored, "attempts"))
}

fn uuid(bytes: &[u8]) -> Result<Uuid, StoreError> {
    Uuid::from_slice(bytes).map_err(|_| StoreError::Corrupt { what: "trace" })
}

fn input_signature(row: &SqliteRow) -> Result<InputSignature, StoreError> {
    let signature: Vec<u8> = row.try_get(1)?;
    let signature = <[u8; 64]>::try_from(signature).map_err(|_| StoreError::Corrupt { what: "payload signature" })?;
    Ok(InputSignature { key: row.try_get(0)?, signature: Signature(signature) })
}
