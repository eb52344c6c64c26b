//! A ledger user's commands: pay a group, see a balance.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::Args;
use lockstep_core::group::Group;
use lockstep_core::operation::Operation;
use lockstep_core::{Amount, AssetId, Uuid};
use serde_json::json;

use super::{Exit, Failure, print_json};
use crate::config::read_group;
use crate::devnet::users;
use crate::ledger::SafeApi;
use crate::ledger::pay::{self, PayError, Payment};

/// Most bytes of a memo that fits any ledger transaction (kernel: 256 bytes of extra).
const EXTRA_MAX: usize = 256;

/// Who, and of which ledger and group.
#[derive(Debug, Args)]
pub struct UserArgs {
    /// The user's keystore file, as the ledger issues it
    #[arg(long, value_name = "FILE")]
    pub user: PathBuf,
    /// The group file
    #[arg(long, value_name = "FILE", default_value = ".devnet/group.toml")]
    pub group: PathBuf,
    /// The ledger's API
    #[arg(long, value_name = "URL", env = "LOCKSTEP_LEDGER", default_value = "http://127.0.0.1:7700")]
    pub ledger: String,
    /// A symbol of the group file, or the asset's UUID
    #[arg(long, value_name = "ASSET")]
    pub asset: String,
}

/// What to pay.
#[derive(Debug, Args)]
pub struct PayArgs {
    /// Who pays whom, and in what.
    #[command(flatten)]
    pub user: UserArgs,
    /// How much, with at most 8 decimals
    #[arg(long, value_name = "DECIMAL")]
    pub amount: Amount,
    /// The process to call
    #[arg(long, value_name = "UUID")]
    pub process: Uuid,
    /// What its contract gets: hex after 0x
    #[arg(long, value_name = "0xHEX", default_value = "0x")]
    pub payload: String,
    /// Names the payment for ever: repeating a command with the same trace never pays twice
    #[arg(long, value_name = "UUID")]
    pub trace: Option<Uuid>,
    /// Seconds to wait until the payment is final
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    pub wait: u64,
}

/// Whose balance.
#[derive(Debug, Args)]
pub struct BalanceArgs {
    /// Who, and of what.
    #[command(flatten)]
    pub user: UserArgs,
}

impl UserArgs {
    fn open(&self) -> Result<(Group, SafeApi, AssetId)> {
        let group = read_group(&self.group)?;
        let api = SafeApi::new(&self.ledger, users::load(&self.user)?)?;
        let asset = asset(&group, &self.asset)?;
        Ok((group, api, asset))
    }
}

pub(super) async fn pay(args: &PayArgs) -> Result<Exit, Failure> {
    let (group, api, asset) = args.user.open().map_err(Failure::bad_input)?;
    let extra = memo(args.process, &args.payload).map_err(Failure::bad_input)?;
    let trace = args.trace.unwrap_or_else(Uuid::new_v4);
    let payment = Payment { receivers: group.mix(), asset, amount: args.amount, extra, trace };
    let patience = Duration::from_secs(args.wait);
    let paid = pay::pay(&api, &payment, patience).await.map_err(|error| {
        let exit = exit(&error);
        let hint = format!("payment {trace} was not seen to be final; the same command with --trace {trace} goes on");
        Failure::new(exit, anyhow::Error::new(error).context(hint))
    })?;
    print_json(&json!({
        "trace": trace,
        "transaction_hash": paid.transaction,
        "output_id": paid.outputs.first(),
        "asset_id": asset,
        "amount": args.amount,
        "process": args.process,
    }))?;
    Ok(Exit::Done)
}

pub(super) async fn balance(args: &BalanceArgs) -> Result<Exit, Failure> {
    let (_, api, asset) = args.user.open().map_err(Failure::bad_input)?;
    let amount = pay::balance(&api, asset).await.map_err(|error| Failure::new(exit(&error), error))?;
    print_json(&json!({ "user": api.user(), "asset_id": asset, "amount": amount }))?;
    Ok(Exit::Done)
}

fn exit(error: &PayError) -> Exit {
    if error.retryable() { Exit::TryAgain } else { Exit::BadInput }
}

fn asset(group: &Group, text: &str) -> Result<AssetId> {
    let known = group.assets().values().find(|asset| asset.symbol.eq_ignore_ascii_case(text));
    if let Some(asset) = known {
        return Ok(AssetId::from_uuid(asset.uuid));
    }
    let uuid: Uuid = text.parse().with_context(|| format!("`{text}` is no symbol of the group file and no UUID"))?;
    Ok(AssetId::from_uuid(uuid))
}

fn memo(process: Uuid, payload: &str) -> Result<Vec<u8>> {
    let digits = payload.strip_prefix("0x").context("--payload is hex and begins with 0x")?;
    let payload = hex::decode(digits).with_context(|| format!("--payload `0x{digits}` is no hex"))?;
    let extra = Operation::call(process, payload).encode()?;
    ensure!(extra.len() <= EXTRA_MAX, "the memo has {} bytes; a ledger transaction carries {EXTRA_MAX}", extra.len());
    Ok(extra)
}
