//! `GET /safe/snapshots` and `/safe/snapshots/:id`: a user's statement, ordered by time.

use lockstep_core::{AssetId, Uuid};
use serde::Deserialize;
use sqlx::sqlite::SqliteRow;
use sqlx::{FromRow, Row, SqliteConnection};

use super::assets;
use super::refusal::{CallError, Refusal};
use super::store::{from_hex, signed, unsigned};
use crate::ledger::wire::{DepositRow, Hex32, HexBytes, LedgerTime, PAGE_ROWS_MAX, SnapshotRow};

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

const ASCENDING: &str = "select * from statement
    where user = $1 and asset = coalesce($2, asset) and ($3 is null or opponent = $3) and created_at > $4
    order by created_at asc limit $5";
const DESCENDING: &str = "select * from statement
    where user = $1 and asset = coalesce($2, asset) and ($3 is null or opponent = $3) and created_at < $4
    order by created_at desc limit $5";
const BY_ID: &str = "select * from statement where user = $1 and id = $2";

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
    let rows: Vec<Listed> = sqlx::query_as(query)
        .bind(caller.to_string())
        .bind(asset)
        .bind(page.opponent.map(|user| user.to_string()))
        .bind(signed(offset))
        .bind(i64::try_from(limit).unwrap_or(i64::MAX))
        .fetch_all(db)
        .await?;
    Ok(rows.into_iter().map(|row| row.0).collect())
}

/// The caller's row with this id; another user's is not found.
pub(crate) async fn find(db: &mut SqliteConnection, caller: Uuid, id: &str) -> Result<SnapshotRow, CallError> {
    let row: Option<Listed> = sqlx::query_as(BY_ID).bind(caller.to_string()).bind(id).fetch_optional(db).await?;
    Ok(row.ok_or(Refusal::NotFound("snapshot"))?.0)
}

/// A row as the database holds it.
struct Listed(SnapshotRow);

impl FromRow<'_, SqliteRow> for Listed {
    fn from_row(row: &SqliteRow) -> sqlx::Result<Self> {
        read(row).map(Self).map_err(|error| match error {
            CallError::Store(error) => error,
            other @ (CallError::Refused(_) | CallError::Corrupt(_)) => sqlx::Error::Decode(other.into()),
        })
    }
}

fn read(row: &SqliteRow) -> Result<SnapshotRow, CallError> {
    let text = |column: &str| -> Result<&str, CallError> { Ok(row.try_get(column)?) };
    let optional = |column: &str| -> Result<Option<&str>, CallError> { Ok(row.try_get(column)?) };
    let uuid = |text: &str| Uuid::try_parse(text).map_err(|_| CallError::Corrupt("id"));
    let hash = |text: &str| from_hex(text, "hash").map(Hex32);
    Ok(SnapshotRow {
        snapshot_id: uuid(text("id")?)?,
        user_id: uuid(text("user")?)?,
        opponent_id: optional("opponent")?.map(uuid).transpose()?,
        transaction_hash: hash(text("hash")?)?,
        asset_id: uuid(text("uuid")?)?,
        kernel_asset_id: AssetId(hash(text("asset")?)?.0),
        amount: text("amount")?.parse().map_err(|_| CallError::Corrupt("amount"))?,
        memo: HexBytes(hex::decode(text("memo")?).map_err(|_| CallError::Corrupt("memo"))?),
        request_id: optional("request")?.map(uuid).transpose()?,
        created_at: LedgerTime(unsigned(row.try_get("created_at")?)),
        deposit: deposit(row)?,
        withdrawal: None,
        inscription_hash: optional("inscription")?.map(hash).transpose()?,
    })
}

/// The deposit that the row credits, if it is one.
fn deposit(row: &SqliteRow) -> Result<Option<DepositRow>, CallError> {
    let Some(deposit_hash) = row.try_get("deposit_hash")? else { return Ok(None) };
    Ok(Some(DepositRow {
        deposit_hash,
        deposit_index: unsigned(row.try_get("deposit_index")?),
        sender: row.try_get("sender")?,
        destination: row.try_get("destination")?,
        tag: row.try_get("tag")?,
    }))
}
