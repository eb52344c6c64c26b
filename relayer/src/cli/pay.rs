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
    /// What its contract gets: hex after 0x. One that does not fit the memo is stored first, for 0.0001 XIN a KiB begun
    #[arg(long, value_name = "0xHEX", default_value = "0x")]
    pub payload: String,
    /// What its contract gets: the bytes of this file
    #[arg(long, value_name = "FILE", conflicts_with = "payload")]
    pub payload_file: Option<PathBuf>,
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
    pub(super) fn open(&self) -> Result<(Group, SafeApi)> {
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
    let payload = args.payload(&group).map_err(Failure::bad_input)?;
    let receivers = receivers(&group, args.user.roster.as_deref()).map_err(Failure::bad_input)?;
    let mut extra = Operation::call(args.process, payload.clone()).encode().map_err(Failure::bad_input)?;
    let trace = args.once.trace.unwrap_or_else(Uuid::new_v4);
    let mut references = Vec::new();
    if extra.len() > EXTRA_MAX {
        let stored = pay::store(&api, &payload, trace, args.once.patience()).await;
        references.push(stored.map_err(|error| unseen(error, trace))?);
        extra = Operation::stored_call(args.process, 0, &payload).encode().map_err(Failure::bad_input)?;
    }
    let payment = Payment { receivers, asset, amount: args.amount, extra, references, trace };
    send(&api, &args.once, &payment, args.process).await
}

impl PayArgs {
    /// What the contract is to get, if any contract of the group can take it.
    fn payload(&self, group: &Group) -> Result<Vec<u8>> {
        let longest = group.chains().values().map(|chain| chain.payload_max).max().unwrap_or_default();
        let fits = |length: u64| {
            ensure!(
                length <= longest.into(),
                "the payload has {length} bytes; this group's contracts take at most {longest}"
            );
            Ok(())
        };
        let payload = match &self.payload_file {
            Some(path) => {
                let unreadable = || format!("cannot read {}", path.display());
                fits(std::fs::metadata(path).with_context(unreadable)?.len())?;
                std::fs::read(path).with_context(unreadable)?
            }
            None => payload(&self.payload)?,
        };
        fits(u64::try_from(payload.len())?)?;
        Ok(payload)
    }
}

pub(super) async fn register(args: &RegisterArgs) -> Result<Exit, Failure> {
    let (group, api) = args.user.open().map_err(Failure::bad_input)?;
    let process = api.user();
    let extra = Operation::register(process, &args.registration.registration()).map_err(Failure::bad_input)?;
    let extra = extra.encode().map_err(Failure::bad_input)?;
    let fee = group.fee();
    let receivers = receivers(&group, args.user.roster.as_deref()).map_err(Failure::bad_input)?;
    let (asset, trace) = (AssetId::from_uuid(fee.asset), args.once.trace.unwrap_or_else(Uuid::new_v4));
    let payment = Payment { receivers, asset, amount: fee.amount, extra, references: Vec::new(), trace };
    send(&api, &args.once, &payment, process).await
}

async fn send(api: &SafeApi, once: &OnceArgs, payment: &Payment, process: Uuid) -> Result<Exit, Failure> {
    let paid = pay::pay(api, payment, once.patience()).await.map_err(|error| unseen(error, payment.trace))?;
    let mut shown = json!({
        "trace": payment.trace,
        "transaction_hash": paid.transaction,
        "output_id": paid.outputs.first(),
        "asset_id": payment.asset,
        "amount": payment.amount,
        "process": process,
    });
    if let (Some(shown), Some(stored)) = (shown.as_object_mut(), payment.references.first()) {
        shown.insert("payload_transaction".to_owned(), json!(stored));
    }
    print_json(&shown)?;
    Ok(Exit::Done)
}

fn unseen(error: PayError, trace: Uuid) -> Failure {
    let exit = exit(&error);
    let hint = format!("payment {trace} was not seen to be final; the same command with --trace {trace} goes on");
    Failure::new(exit, anyhow::Error::new(error).context(hint))
}

impl OnceArgs {
    const fn patience(&self) -> Duration {
        Duration::from_secs(self.wait)
    }
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

/// The bytes that `--payload` stands for.
pub(super) fn payload(text: &str) -> Result<Vec<u8>> {
    let digits = text.strip_prefix("0x").context("--payload is hex and begins with 0x")?;
    hex::decode(digits).with_context(|| format!("--payload `0x{digits}` is no hex"))
}
