//! `lockstep statement`: what came in and went out for a ledger user, as the ledger itself lists it. Whoever pays a group sees
//! there what became of it: the payment, and what the group paid back.

use std::collections::BTreeMap;

use clap::Args;
use lockstep_core::Uuid;
use serde::Serialize;

use super::pay::{UserArgs, asset_uuid};
use super::{Exit, Failure, print_json};
use crate::ledger::wire::{ForeignText, LedgerTime, PAGE_ROWS_MAX, SnapshotRow};
use crate::ledger::{LedgerError, Refusal, SafeApi, SnapshotQuery, Statement};

/// Whose statement, and what of it.
#[derive(Debug, Args)]
pub struct StatementArgs {
    /// Whose, and of which group.
    #[command(flatten)]
    pub user: UserArgs,
    /// Only this asset: a symbol of the group file, or the asset's UUID
    #[arg(long, value_name = "ASSET")]
    pub asset: Option<String>,
    /// Only payments from or to this ledger user
    #[arg(long, value_name = "UUID", conflicts_with = "asset")]
    pub with: Option<Uuid>,
    /// Only what was before: the `created_at` of the last row that was shown gives the next page
    #[arg(long, value_name = "TIME")]
    pub before: Option<LedgerTime>,
    /// How many rows, the newest first
    #[arg(long, value_name = "ROWS", default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=PAGE_ROWS_MAX as i64))]
    pub limit: u16,
    /// Only the row with this id
    #[arg(long, value_name = "UUID", conflicts_with_all = ["asset", "with", "before"])]
    pub snapshot: Option<Uuid>,
}

/// A row as it is printed.
#[derive(Debug, Serialize)]
struct Shown {
    /// What the ledger calls the asset; null where it does not know it.
    symbol: Option<ForeignText>,
    #[serde(flatten)]
    row: SnapshotRow,
}

pub(super) async fn statement(args: &StatementArgs) -> Result<Exit, Failure> {
    let (group, api) = args.user.open().map_err(Failure::bad_input)?;
    let of = match (&args.asset, args.with) {
        (Some(asset), _) => Statement::OfAsset(asset_uuid(&group, asset).map_err(Failure::bad_input)?),
        (None, Some(user)) => Statement::WithUser(user),
        (None, None) => Statement::Whole,
    };
    let rows = match args.snapshot {
        Some(id) => api.snapshot(id).await.map(|row| vec![row]),
        None => api.snapshots(&SnapshotQuery { of, before: args.before, limit: args.limit.into() }).await,
    };
    let shown = match rows {
        Ok(rows) => with_symbols(&api, rows).await,
        Err(error) => Err(error),
    };
    print_json(&shown.map_err(Failure::of_ledger)?)?;
    Ok(Exit::Done)
}

/// Asks once for each asset, however many rows have it.
async fn with_symbols(api: &SafeApi, rows: Vec<SnapshotRow>) -> Result<Vec<Shown>, LedgerError> {
    let mut symbols = BTreeMap::new();
    let mut shown = Vec::with_capacity(rows.len());
    for row in rows {
        let symbol = match symbols.get(&row.asset_id) {
            Some(symbol) => Option::clone(symbol),
            None => match api.asset(row.asset_id).await {
                Ok(asset) => Some(asset.symbol),
                Err(error) if error.refusal() == Some(Refusal::NotFound) => None,
                Err(error) => return Err(error),
            },
        };
        symbols.insert(row.asset_id, symbol.clone());
        shown.push(Shown { symbol, row });
    }
    Ok(shown)
}
