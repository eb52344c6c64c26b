//! `GET /safe/outputs`: the coins of a set of users in the order that everybody shares.

use futures_util::TryStreamExt;
use lockstep_core::mixin::ids::members_hash;
use lockstep_core::{AssetId, Uuid};
use serde::Deserialize;
use sqlx::sqlite::SqliteRow;
use sqlx::{FromRow, Row, SqliteConnection};

use super::assets;
use super::faults::{Disguise, Fault, Place};
use super::refusal::{CallError, Refusal};
use super::store::{Ledger, from_hex, from_json, signed, unsigned};
use crate::ledger::wire::{
    DepositRow, Hex32, HexBytes, LedgerTime, OUTPUT_TYPE, OutputRow, OutputState, PAGE_ROWS_MAX,
};

/// Bytes of extra in one page. The largest extra has 4 MiB and clients bound what they read, so a page of such rows is
/// shorter than asked for; never empty.
const PAGE_EXTRA_BYTES_MAX: usize = 4 << 20;

/// The columns of a row, and the asset's UUID.
const ASCENDING: &str = "select output.*, asset.uuid from output join asset on kernel_id = asset
    where members_hash = $1 and threshold = coalesce($2, threshold) and asset = coalesce($3, asset)
        and state = coalesce($4, state) and sequence >= $5
    order by sequence asc limit $6";
const DESCENDING: &str = "select output.*, asset.uuid from output join asset on kernel_id = asset
    where members_hash = $1 and threshold = coalesce($2, threshold) and asset = coalesce($3, asset)
        and state = coalesce($4, state) and sequence <= $5
    order by sequence desc limit $6";
const BY_ID: &str = "select output.*, asset.uuid from output join asset on kernel_id = asset where id = $1";
const BY_COIN: &str =
    "select output.*, asset.uuid from output join asset on kernel_id = asset where hash = $1 and position = $2";

/// Query of `GET /safe/outputs`.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Page {
    /// Members hash of the owners; the caller's own without it.
    members: Option<String>,
    threshold: Option<u8>,
    /// First sequence of an ascending page, last of a descending one; inclusive.
    offset: Option<u64>,
    limit: Option<usize>,
    order: Option<Order>,
    state: Option<OutputState>,
    /// UUID or kernel id.
    asset: Option<String>,
}

/// Order of a page by sequence.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
enum Order {
    #[default]
    #[serde(rename = "ASC")]
    Ascending,
    #[serde(rename = "DESC")]
    Descending,
}

/// One page of rows. Anyone may ask for anyone's.
pub(crate) async fn list(
    ledger: &Ledger,
    db: &mut SqliteConnection,
    caller: Uuid,
    page: &Page,
) -> Result<Vec<OutputRow>, CallError> {
    let limit = page.limit.unwrap_or(PAGE_ROWS_MAX);
    if limit == 0 || limit > PAGE_ROWS_MAX {
        return Err(Refusal::Field(format!("limit is 1 to {PAGE_ROWS_MAX}")).into());
    }
    let members = match &page.members {
        Some(members) => members
            .parse::<AssetId>()
            .map(|hash| hash.0)
            .map_err(|_| CallError::from(Refusal::Field("members is the hash of the owners: 64 hex digits".into())))?,
        None => members_hash(&[caller]).0,
    };
    let asset = match &page.asset {
        Some(name) if !name.is_empty() => {
            let id = assets::kernel_id(name);
            Some(id.ok_or_else(|| Refusal::Field("asset is neither a UUID nor a kernel id".into()))?.to_string())
        }
        Some(_) | None => None,
    };
    let (query, offset) = match page.order.unwrap_or_default() {
        Order::Ascending => (ASCENDING, page.offset.unwrap_or(0)),
        Order::Descending => (DESCENDING, page.offset.filter(|offset| *offset > 0).unwrap_or(u64::MAX)),
    };
    let mut rows = sqlx::query_as::<_, Listed>(query)
        .bind(hex::encode(members))
        .bind(page.threshold)
        .bind(asset)
        .bind(page.state.map(OutputState::as_str))
        .bind(signed(offset))
        .bind(i64::try_from(limit).unwrap_or(i64::MAX))
        .fetch(db);
    let (mut listed, mut extra_bytes) = (Vec::new(), 0_usize);
    while let Some(Listed(row)) = rows.try_next().await? {
        extra_bytes = extra_bytes.saturating_add(row.extra.0.len());
        if extra_bytes > PAGE_EXTRA_BYTES_MAX && !listed.is_empty() {
            break;
        }
        listed.push(row);
    }
    let descends = matches!(page.order, Some(Order::Descending));
    let mut shown = shown(ledger, caller, listed);
    shown.sort_by_key(|row| if descends { u64::MAX.saturating_sub(row.sequence) } else { row.sequence });
    Ok(shown)
}

/// Rows as the caller is meant to see them: the only place where the API may say different things to different users.
fn shown(ledger: &Ledger, caller: Uuid, rows: Vec<OutputRow>) -> Vec<OutputRow> {
    let place = Place::of(std::slice::from_ref(&caller));
    let is_shown = |row: &OutputRow| {
        let omit = |fault: &Fault| {
            let Fault::Omit { output } = fault else { return None };
            output.is_none_or(|id| id == row.output_id).then_some(())
        };
        ledger.faults.act(place, omit).is_none()
    };
    let disguised = |row: OutputRow| {
        let meant = |fault: &Fault| {
            let Fault::Equivocate(disguise) = fault else { return None };
            disguise.output.is_none_or(|id| id == row.output_id).then(|| disguise.clone())
        };
        match ledger.faults.act(place, meant) {
            Some(act) => act.what.over(row),
            None => row,
        }
    };
    rows.into_iter().filter(is_shown).map(disguised).collect()
}

impl Disguise {
    fn over(self, row: OutputRow) -> OutputRow {
        let senders = self.senders.unwrap_or(row.senders);
        OutputRow {
            amount: self.amount.unwrap_or(row.amount),
            senders_hash: (!senders.is_empty()).then(|| Hex32(members_hash(&senders).0)),
            senders,
            senders_threshold: self.senders_threshold.unwrap_or(row.senders_threshold),
            extra: self.extra.unwrap_or(row.extra),
            sequence: self.sequence.unwrap_or(row.sequence),
            created_at: self.created_at.unwrap_or(row.created_at),
            inscription_hash: self.inscription_hash.or(row.inscription_hash),
            ..row
        }
    }
}

/// Body of `POST /safe/outputs/fetch`.
#[derive(Debug, Deserialize)]
pub(crate) struct Fetch {
    /// One of the owners.
    user_id: Uuid,
    ids: Vec<Uuid>,
}

/// Rows by their ids, in the order of the ids; those that are unknown, or none of the user's, are left out.
pub(crate) async fn fetch(
    ledger: &Ledger,
    db: &mut SqliteConnection,
    caller: Uuid,
    asked: &Fetch,
) -> Result<Vec<OutputRow>, CallError> {
    if asked.ids.is_empty() || asked.ids.len() > PAGE_ROWS_MAX {
        return Err(Refusal::Field(format!("ids are 1 to {PAGE_ROWS_MAX}")).into());
    }
    let mut rows = Vec::new();
    for id in &asked.ids {
        let row: Option<Listed> = sqlx::query_as(BY_ID).bind(id.to_string()).fetch_optional(&mut *db).await?;
        rows.extend(row.map(|row| row.0).filter(|row| row.receivers.contains(&asked.user_id)));
    }
    Ok(shown(ledger, caller, rows))
}

/// The row of an output by its id, or by `hash:index`, as the caller is meant to see it.
pub(crate) async fn find(
    ledger: &Ledger,
    db: &mut SqliteConnection,
    caller: Uuid,
    name: &str,
) -> Result<OutputRow, CallError> {
    let row = known(db, name).await?;
    Ok(shown(ledger, caller, vec![row]).pop().ok_or(Refusal::NotFound("output"))?)
}

async fn known(db: &mut SqliteConnection, name: &str) -> Result<OutputRow, CallError> {
    let row: Option<Listed> = match name.split_once(':') {
        Some((hash, index)) => {
            let index: u16 = index.parse().map_err(|_| Refusal::NotFound("output"))?;
            sqlx::query_as(BY_COIN).bind(hash).bind(index).fetch_optional(db).await?
        }
        None => sqlx::query_as(BY_ID).bind(name).fetch_optional(db).await?,
    };
    Ok(row.ok_or(Refusal::NotFound("output"))?.0)
}

/// The row of the coin, where its owners are known.
pub(crate) async fn of_coin(db: &mut SqliteConnection, hash: &str, index: u16) -> Result<Option<OutputRow>, CallError> {
    let row: Option<Listed> = sqlx::query_as(BY_COIN).bind(hash).bind(index).fetch_optional(db).await?;
    Ok(row.map(|row| row.0))
}

/// Where a deposited output came from.
pub(crate) async fn deposit(db: &mut SqliteConnection, name: &str) -> Result<DepositRow, CallError> {
    let output = known(db, name).await?;
    let row: Option<(String, i64, String, String, String)> = sqlx::query_as(
        r#"select "transaction", position, sender, destination, tag from kernel_deposit where hash = $1"#,
    )
    .bind(output.transaction_hash.to_string())
    .fetch_optional(db)
    .await?;
    let (deposit_hash, index, sender, destination, tag) = row.ok_or(Refusal::NotFound("deposit"))?;
    Ok(DepositRow { deposit_hash, deposit_index: unsigned(index), sender, destination, tag })
}

/// A row as the database holds it.
struct Listed(OutputRow);

impl FromRow<'_, SqliteRow> for Listed {
    fn from_row(row: &SqliteRow) -> sqlx::Result<Self> {
        read(row).map(Self).map_err(|error| match error {
            CallError::Store(error) => error,
            other @ (CallError::Refused(_) | CallError::Corrupt(_)) => sqlx::Error::Decode(other.into()),
        })
    }
}

fn read(row: &SqliteRow) -> Result<OutputRow, CallError> {
    let hash = |column: &str| -> Result<Hex32, CallError> { Ok(Hex32(from_hex(row.try_get(column)?, "hash")?)) };
    let optional_hash = |column: &str| -> Result<Option<Hex32>, CallError> {
        let text: Option<&str> = row.try_get(column)?;
        text.map(|text| from_hex(text, "hash").map(Hex32)).transpose()
    };
    let time = |column: &str| -> Result<LedgerTime, CallError> { Ok(LedgerTime(unsigned(row.try_get(column)?))) };
    let uuid = |text: &str| Uuid::try_parse(text).map_err(|_| CallError::Corrupt("id"));
    let users = |column: &str| -> Result<Vec<Uuid>, CallError> { from_json(row.try_get(column)?, "users") };
    let senders = users("senders")?;
    Ok(OutputRow {
        kind: OUTPUT_TYPE.into(),
        output_id: uuid(row.try_get("id")?)?,
        request_id: row.try_get::<Option<&str>, _>("request")?.map(uuid).transpose()?,
        transaction_hash: hash("hash")?,
        output_index: row.try_get("position")?,
        asset_id: uuid(row.try_get("uuid")?)?,
        kernel_asset_id: AssetId(hash("asset")?.0),
        amount: row.try_get::<&str, _>("amount")?.parse().map_err(|_| CallError::Corrupt("amount"))?,
        mask: hash("mask")?,
        keys: from_json(row.try_get("keys")?, "keys")?,
        senders_hash: (!senders.is_empty()).then(|| Hex32(members_hash(&senders).0)),
        senders_threshold: row.try_get("senders_threshold")?,
        senders,
        receivers_hash: hash("members_hash")?,
        receivers_threshold: row.try_get("threshold")?,
        receivers: users("receivers")?,
        extra: HexBytes(hex::decode(row.try_get::<&str, _>("extra")?).map_err(|_| CallError::Corrupt("extra"))?),
        state: from_json(&format!("\"{}\"", row.try_get::<&str, _>("state")?), "state")?,
        sequence: unsigned(row.try_get("sequence")?),
        created_at: time("created_at")?,
        updated_at: time("updated_at")?,
        signers: users("signers")?,
        signed_by: optional_hash("signed_by")?,
        inscription_hash: optional_hash("inscription")?,
    })
}
