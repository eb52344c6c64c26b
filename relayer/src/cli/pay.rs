//! A ledger user's commands: pay a group, register a contract, see a balance.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::Args;
use lockstep_core::group::Group;
use lockstep_core::operation::Operation;
use lockstep_core::{Amount, AssetId, Mix, Uuid};
use serde_json::json;

use super::memo::RegistrationArgs;
use super::{Exit, Failure, print_json};
use crate::config::{read_group, read_roster};
use crate::devnet::users;
use crate::ledger::SafeApi;
use crate::ledger::pay::{self, PayError, Payment};

/// Most bytes of a memo that fits any ledger transaction (kernel: 256 bytes of extra).
pub(super) const EXTRA_MAX: usize = 256;

/// Who, on which ledger, and of which group.
#[derive(Debug, Args)]
pub struct UserArgs {
    /// The user's keystore file, as the ledger issues it
    #[arg(long, value_name = "FILE")]
    pub user: PathBuf,
    /// The group file
    #[arg(long, value_name = "FILE", default_value = ".devnet/group.toml")]
    pub group: PathBuf,
    /// The group's newest roster, `generation-<g>.toml`, once its members have changed: what is paid to the address of before
    /// arrives as well, one ledger transaction later
    #[arg(long, value_name = "FILE")]
    pub roster: Option<PathBuf>,
    /// The ledger's API
    #[arg(long, value_name = "URL", env = "LOCKSTEP_LEDGER", default_value = "http://127.0.0.1:7700")]
    pub ledger: String,
}

/// What to pay.
#[derive(Debug, Args)]
pub struct PayArgs {
    /// Who pays whom.
    #[command(flatten)]
    pub user: UserArgs,
    /// A symbol of the group file, or the asset's UUID
    #[arg(long, value_name = "ASSET")]
    pub asset: String,
    /// How much, with at most 8 decimals
    #[arg(long, value_name = "DECIMAL")]
    pub amount: Amount,
    /// The process to call
    #[arg(long, value_name = "UUID")]
    pub process: Uuid,
    /// What its contract gets: hex after 0x
    #[arg(long, value_name = "0xHEX", default_value = "0x")]
    pub payload: String,
    /// How long it may take, and how to go on.
    #[command(flatten)]
    pub once: OnceArgs,
}

/// Which contract to register.
#[derive(Debug, Args)]
pub struct RegisterArgs {
    /// Who owns the process, and of which group.
    #[command(flatten)]
    pub user: UserArgs,
    /// Where it is, and how it wants to be called.
    #[command(flatten)]
    pub registration: RegistrationArgs,
    /// How long it may take, and how to go on.
    #[command(flatten)]
    pub once: OnceArgs,
}

/// A payment that is made once, however often it is asked for.
#[derive(Debug, Args)]
pub struct OnceArgs {
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
    /// Whose, and of which group.
    #[command(flatten)]
    pub user: UserArgs,
    /// A symbol of the group file, or the asset's UUID
    #[arg(long, value_name = "ASSET")]
    pub asset: String,
}

impl UserArgs {
    fn open(&self) -> Result<(Group, SafeApi)> {
        let group = read_group(&self.group)?;
        Ok((group, SafeApi::new(&self.ledger, users::load(&self.user)?)?))
    }
}

/// The ledger address that is paid: the newest one, where a roster names it.
pub(super) fn receivers(group: &Group, roster: Option<&Path>) -> Result<Mix> {
    let Some(path) = roster else { return Ok(group.mix()) };
    let roster = read_roster(path)?;
    let found = roster.group_id();
    ensure!(found == group.id(), "`{}` belongs to group {found}, not to {}", path.display(), group.id());
    Ok(roster.mix())
}

pub(super) async fn pay(args: &PayArgs) -> Result<Exit, Failure> {
    let (group, api) = args.user.open().map_err(Failure::bad_input)?;
    let asset = asset(&group, &args.asset).map_err(Failure::bad_input)?;
    let extra = memo(args.process, &args.payload).map_err(Failure::bad_input)?;
    let receivers = receivers(&group, args.user.roster.as_deref()).map_err(Failure::bad_input)?;
    send(receivers, &api, &args.once, (asset, args.amount, extra, args.process)).await
}

pub(super) async fn register(args: &RegisterArgs) -> Result<Exit, Failure> {
    let (group, api) = args.user.open().map_err(Failure::bad_input)?;
    let process = api.user();
    let extra = Operation::register(process, &args.registration.registration()).map_err(Failure::bad_input)?;
    let extra = extra.encode().map_err(Failure::bad_input)?;
    let fee = group.fee();
    let receivers = receivers(&group, args.user.roster.as_deref()).map_err(Failure::bad_input)?;
    send(receivers, &api, &args.once, (AssetId::from_uuid(fee.asset), fee.amount, extra, process)).await
}

async fn send(
    receivers: Mix,
    api: &SafeApi,
    once: &OnceArgs,
    (asset, amount, extra, process): (AssetId, Amount, Vec<u8>, Uuid),
) -> Result<Exit, Failure> {
    let trace = once.trace.unwrap_or_else(Uuid::new_v4);
    let payment = Payment { receivers, asset, amount, extra, trace };
    let paid = pay::pay(api, &payment, Duration::from_secs(once.wait)).await.map_err(|error| {
        let exit = exit(&error);
        let hint = format!("payment {trace} was not seen to be final; the same command with --trace {trace} goes on");
        Failure::new(exit, anyhow::Error::new(error).context(hint))
    })?;
    print_json(&json!({
        "trace": trace,
        "transaction_hash": paid.transaction,
        "output_id": paid.outputs.first(),
        "asset_id": asset,
        "amount": amount,
        "process": process,
    }))?;
    Ok(Exit::Done)
}

pub(super) async fn balance(args: &BalanceArgs) -> Result<Exit, Failure> {
    let (group, api) = args.user.open().map_err(Failure::bad_input)?;
    let asset = asset(&group, &args.asset).map_err(Failure::bad_input)?;
    let amount = pay::balance(&api, asset).await.map_err(|error| Failure::new(exit(&error), error))?;
    print_json(&json!({ "user": api.user(), "asset_id": asset, "amount": amount }))?;
    Ok(Exit::Done)
}

fn exit(error: &PayError) -> Exit {
    if error.retryable() { Exit::TryAgain } else { Exit::BadInput }
}

pub(super) fn asset(group: &Group, text: &str) -> Result<AssetId> {
    asset_uuid(group, text).map(AssetId::from_uuid)
}

/// The asset that a symbol of the group file, or a UUID, names.
pub(super) fn asset_uuid(group: &Group, text: &str) -> Result<Uuid> {
    let known = group.assets().values().find(|asset| asset.symbol.eq_ignore_ascii_case(text));
    match known {
        Some(asset) => Ok(asset.uuid),
        None => text.parse().with_context(|| format!("`{text}` is no symbol of the group file and no UUID")),
    }
}

pub(super) fn call_operation(process: Uuid, payload: &str) -> Result<Operation> {
    let digits = payload.strip_prefix("0x").context("--payload is hex and begins with 0x")?;
    let payload = hex::decode(digits).with_context(|| format!("--payload `0x{digits}` is no hex"))?;
    Ok(Operation::call(process, payload))
}

fn memo(process: Uuid, payload: &str) -> Result<Vec<u8>> {
    let extra = call_operation(process, payload)?.encode()?;
    ensure!(extra.len() <= EXTRA_MAX, "the memo has {} bytes; a ledger transaction carries {EXTRA_MAX}", extra.len());
    Ok(extra)
}
