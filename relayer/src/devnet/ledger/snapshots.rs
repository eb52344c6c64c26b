//! `GET /safe/snapshots`: a user's statement, ordered by time.

use lockstep_core::{AssetId, Uuid};
use serde::{Deserialize, Serialize};
use sqlx::SqliteConnection;

use super::assets;
use super::refusal::{CallError, Refusal};
use super::store::{from_hex, signed, unsigned};
use crate::ledger::wire::{Hex32, HexBytes, LedgerTime, PAGE_ROWS_MAX};

/// Rows of a page where the caller does not say.
const PAGE_ROWS: usize = 100;

/// Query of `GET /safe/snapshots`. The caller's own rows, whatever `app` says.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Page {
    /// Rows after this time, or before it in descending order.
    offset: Option<LedgerTime>,
    limit: Option<usize>,
    order: Option<String>,
    asset: Option<String>,
    opponent: Option<Uuid>,
}

/// One movement. The amount is negative for what went out.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct SnapshotRow {
    snapshot_id: Uuid,
    user_id: Uuid,
    opponent_id: Option<Uuid>,
    transaction_hash: Hex32,
    kernel_asset_id: AssetId,
    asset_id: Uuid,
    amount: String,
    memo: HexBytes,
    request_id: Option<Uuid>,
    created_at: LedgerTime,
}

type Row = (String, Option<String>, String, String, String, String, String, Option<String>, i64);

const ASCENDING: &str = "select id, opponent, hash, asset, uuid, amount, memo, request, created_at
    from snapshot join asset on kernel_id = asset
    where user = $1 and asset = coalesce($2, asset) and ($3 is null or opponent = $3) and created_at > $4
    order by created_at asc limit $5";
const DESCENDING: &str = "select id, opponent, hash, asset, uuid, amount, memo, request, created_at
    from snapshot join asset on kernel_id = asset
    where user = $1 and asset = coalesce($2, asset) and ($3 is null or opponent = $3) and created_at < $4
    order by created_at desc limit $5";

/// One page of the caller's rows; the newest first unless asked otherwise.
pub(crate) async fn list(db: &mut SqliteConnection, caller: Uuid, page: &Page) -> Result<Vec<SnapshotRow>, CallError> {
    let limit = page.limit.unwrap_or(PAGE_ROWS);
    if limit == 0 || limit > PAGE_ROWS_MAX {
        return Err(Refusal::Field(format!("limit is 1 to {PAGE_ROWS_MAX}")).into());
    }
    let (query, offset) = match page.order.as_deref() {
        Some("ASC") => (ASCENDING, page.offset.map_or(0, |at| at.0)),
        Some("DESC") | None => (DESCENDING, page.offset.map_or(u64::MAX, |at| at.0)),
        Some(_) => return Err(Refusal::Field("order is ASC or DESC".into()).into()),
    };
    let asset = match page.asset.as_deref() {
        Some(name) => {
            let id = assets::kernel_id(name);
            Some(id.ok_or_else(|| Refusal::Field("asset is neither a UUID nor a kernel id".into()))?.to_string())
        }
        None => None,
    };
    let rows: Vec<Row> = sqlx::query_as(query)
        .bind(caller.to_string())
        .bind(asset)
        .bind(page.opponent.map(|user| user.to_string()))
        .bind(signed(offset))
        .bind(i64::try_from(limit).unwrap_or(i64::MAX))
        .fetch_all(db)
        .await?;
    rows.into_iter().map(|row| read(caller, row)).collect()
}

fn read(user: Uuid, row: Row) -> Result<SnapshotRow, CallError> {
    let (id, opponent, hash, asset, asset_id, amount, memo, request, created_at) = row;
    let uuid = |text: String| Uuid::try_parse(&text).map_err(|_| CallError::Corrupt("id"));
    Ok(SnapshotRow {
        snapshot_id: uuid(id)?,
        user_id: user,
        opponent_id: opponent.map(uuid).transpose()?,
        transaction_hash: Hex32(from_hex(&hash, "hash")?),
        kernel_asset_id: AssetId(from_hex(&asset, "asset")?),
        asset_id: uuid(asset_id)?,
        amount,
        memo: HexBytes(hex::decode(memo).map_err(|_| CallError::Corrupt("memo"))?),
        request_id: request.map(uuid).transpose()?,
        created_at: LedgerTime(unsigned(created_at)),
    })
}
