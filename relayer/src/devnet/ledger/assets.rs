//! The assets that the ledger knows by name.

use lockstep_core::{Amount, AssetId, Uuid};
use serde::Deserialize;
use sqlx::SqliteConnection;
use uuid::uuid;

use super::refusal::{CallError, Refusal};
use crate::ledger::wire::{AssetRow, ForeignText};

/// Longest symbol or name.
const NAME_BYTES_MAX: usize = 64;
const ETHEREUM: Uuid = uuid!("43d61dcd-e413-450d-80b8-101d5e903357");
const BITCOIN: Uuid = uuid!("c6d0c728-2624-429b-8e0d-d9d19b6592fa");

/// Assets of a new ledger, with their ids at the real one: UUID, chain, symbol, name.
const KNOWN: [(Uuid, Uuid, &str, &str); 5] = [
    (uuid!("c94ac88f-4671-3976-b60a-09064f1811e8"), ETHEREUM, "XIN", "Mixin"),
    (BITCOIN, BITCOIN, "BTC", "Bitcoin"),
    (ETHEREUM, ETHEREUM, "ETH", "Ether"),
    (uuid!("4d8c508b-91c5-375b-92b0-ee702ed2dac5"), ETHEREUM, "USDT", "Tether USD"),
    (uuid!("9b180ab6-6abe-3dc0-a13f-04169eb34bfa"), ETHEREUM, "USDC", "USD Coin"),
];

/// Body of `POST /admin/assets`.
#[derive(Debug, Deserialize)]
pub(crate) struct NewAsset {
    asset_id: Uuid,
    chain_id: Option<Uuid>,
    symbol: String,
    #[serde(default)]
    name: String,
}

/// Registers an asset; what is known stays as it is.
pub(crate) async fn register(db: &mut SqliteConnection, new: &NewAsset) -> Result<AssetRow, CallError> {
    if new.symbol.is_empty() || new.symbol.len() > NAME_BYTES_MAX || new.name.len() > NAME_BYTES_MAX {
        return Err(Refusal::Field(format!("symbol and name have at most {NAME_BYTES_MAX} bytes")).into());
    }
    let name = if new.name.is_empty() { &new.symbol } else { &new.name };
    insert(db, new.asset_id, new.chain_id.unwrap_or(new.asset_id), &new.symbol, name).await?;
    find(db, &new.asset_id.to_string()).await
}

/// Registers the assets of every new ledger.
pub(crate) async fn register_known(db: &mut SqliteConnection) -> Result<(), CallError> {
    for (uuid, chain, symbol, name) in KNOWN {
        insert(db, uuid, chain, symbol, name).await?;
    }
    Ok(())
}

async fn insert(db: &mut SqliteConnection, uuid: Uuid, chain: Uuid, symbol: &str, name: &str) -> Result<(), CallError> {
    sqlx::query(
        "insert into asset (kernel_id, uuid, chain, symbol, name) values ($1, $2, $3, $4, $5) on conflict do nothing",
    )
    .bind(AssetId::from_uuid(uuid).to_string())
    .bind(uuid.to_string())
    .bind(chain.to_string())
    .bind(symbol)
    .bind(name)
    .execute(db)
    .await?;
    Ok(())
}

/// The asset that a UUID or a kernel id names.
pub(crate) async fn find(db: &mut SqliteConnection, name: &str) -> Result<AssetRow, CallError> {
    let kernel_id = kernel_id(name).ok_or_else(|| Refusal::Field("asset is neither a UUID nor a kernel id".into()))?;
    let row: Option<(String, String, String, String)> =
        sqlx::query_as("select uuid, chain, symbol, name from asset where kernel_id = $1")
            .bind(kernel_id.to_string())
            .fetch_optional(db)
            .await?;
    let (uuid, chain, symbol, name) = row.ok_or(Refusal::NotFound("asset"))?;
    let parse = |text: &str| Uuid::try_parse(text).map_err(|_| CallError::Corrupt("asset"));
    let (symbol, name) = (ForeignText::new(&symbol), ForeignText::new(&name));
    Ok(AssetRow {
        asset_id: parse(&uuid)?,
        chain_id: parse(&chain)?,
        kernel_asset_id: kernel_id,
        display_symbol: symbol.clone(),
        display_name: name.clone(),
        symbol,
        name,
        precision: 8,
        dust: Amount::from_units(1),
        confirmations: 1,
    })
}

/// The kernel id behind a UUID or a kernel id as text.
pub(crate) fn kernel_id(name: &str) -> Option<AssetId> {
    name.parse::<AssetId>().ok().or_else(|| Uuid::try_parse(name).ok().map(AssetId::from_uuid))
}
