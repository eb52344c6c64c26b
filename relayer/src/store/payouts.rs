//! Derived transactions on their way: payloads, guards, own signatures, finality.

use std::collections::BTreeMap;

use lockstep_core::derive::Derived;
use lockstep_core::mixin::Signature;
use lockstep_core::output::{CoinId, Output};
use lockstep_core::payout::{self, InputSignature};
use lockstep_core::{B256, Uuid};
use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use super::{Store, StoreError, body, hash, unsigned};

/// A derived transaction that is not final yet.
#[derive(Clone, Debug)]
pub struct OpenPayout {
    /// Its trace as the ledger's API knows it.
    pub id: Uuid,
    /// What is to be paid.
    pub derived: Derived,
    /// The attempt in force (DERIVATION.md C5).
    pub attempt: u32,
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
    /// The oldest derived transactions that are not final yet, at most `limit`.
    ///
    /// # Errors
    /// Reports an unreadable row.
    pub async fn open_payouts(&self, limit: u32) -> Result<Vec<OpenPayout>, StoreError> {
        let query = "select trace, body, attempt from derived where final_hash is null order by position limit $1";
        let rows = sqlx::query(query).bind(limit).fetch_all(&self.reader).await?;
        rows.iter().map(open_payout).collect()
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
        let done =
            sqlx::query(query).bind(trace.as_bytes().as_slice()).bind(payload.as_slice()).execute(&self.writer).await?;
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

    /// Fixes the bytes of a derived transaction at an attempt. What is fixed is served to peers, so it never changes.
    ///
    /// # Errors
    /// Other bytes already fixed are a contradiction.
    pub async fn fix_payload(&self, trace: Uuid, attempt: u32, payload: &Payload) -> Result<(), StoreError> {
        let insert = "insert into payloads (trace, attempt, hash, raw) values ($1, $2, $3, $4) on conflict do nothing";
        let written = sqlx::query(insert)
            .bind(trace.as_bytes().as_slice())
            .bind(attempt)
            .bind(payload.hash.as_slice())
            .bind(payload.raw.as_slice())
            .execute(&self.writer)
            .await?;
        if written.rows_affected() == 1 || self.payload(trace, attempt).await?.as_ref() == Some(payload) {
            return Ok(());
        }
        Err(StoreError::Contradiction(format!("payout {trace} attempt {attempt} already has other bytes")))
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

    /// Promises each of `coins` to one payload, durably, before a signature over it may exist (DERIVATION.md C2).
    ///
    /// # Errors
    /// A coin promised to another payload is a contradiction; then nothing is written.
    pub async fn guard_coins(
        &self,
        trace: Uuid,
        attempt: u32,
        payload: B256,
        coins: &[CoinId],
    ) -> Result<(), StoreError> {
        let mut tx = self.writer.begin().await?;
        let mut promised = BTreeMap::new();
        for coin in coins {
            let row = sqlx::query("select payload_hash from coin_guards where coin_hash = $1 and coin_index = $2")
                .bind(coin.transaction.as_slice())
                .bind(coin.index)
                .fetch_optional(&mut *tx)
                .await?;
            if let Some(row) = row {
                promised.insert(*coin, hash(row.try_get(0)?, "guarded payload hash")?);
            }
        }
        let unbound = payout::guard(coins, payload, &[], |coin| promised.get(coin).copied())
            .map_err(|conflict| StoreError::Contradiction(format!("payout {trace}: {conflict}")))?;
        for coin in unbound {
            let insert = "insert into coin_guards (coin_hash, coin_index, payload_hash, trace, attempt) \
                          values ($1, $2, $3, $4, $5)";
            sqlx::query(insert)
                .bind(coin.transaction.as_slice())
                .bind(coin.index)
                .bind(payload.as_slice())
                .bind(trace.as_bytes().as_slice())
                .bind(attempt)
                .execute(&mut *tx)
                .await?;
        }
        tx.commit().await?;
        Ok(())
    }

    /// Keeps this member's own signatures over a payload.
    ///
    /// # Errors
    /// Reports what SQLite reports.
    pub async fn save_payload_signatures(
        &self,
        trace: Uuid,
        attempt: u32,
        signatures: &[InputSignature],
    ) -> Result<(), StoreError> {
        let mut tx = self.writer.begin().await?;
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

    /// This member's own signatures over a payload, in input order; empty if it has not signed.
    ///
    /// # Errors
    /// Reports an unreadable row.
    pub async fn payload_signatures(&self, trace: Uuid, attempt: u32) -> Result<Vec<InputSignature>, StoreError> {
        let query = "select key_index, signature from payload_signatures \
                     where trace = $1 and attempt = $2 order by input";
        let rows = sqlx::query(query).bind(trace.as_bytes().as_slice()).bind(attempt).fetch_all(&self.reader).await?;
        rows.iter().map(input_signature).collect()
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

fn open_payout(row: &SqliteRow) -> Result<OpenPayout, StoreError> {
    let id: Vec<u8> = row.try_get(0)?;
    Ok(OpenPayout {
        id: Uuid::from_slice(&id).map_err(|_| StoreError::Corrupt { what: "trace" })?,
        derived: body(row.try_get(1)?, "derived transaction")?,
        attempt: row.try_get(2)?,
    })
}

fn input_signature(row: &SqliteRow) -> Result<InputSignature, StoreError> {
    let signature: Vec<u8> = row.try_get(1)?;
    let signature = <[u8; 64]>::try_from(signature).map_err(|_| StoreError::Corrupt { what: "payload signature" })?;
    Ok(InputSignature { key: row.try_get(0)?, signature: Signature(signature) })
}
