//! `memo`: what a payment must carry, as text, so that any wallet of the ledger can make it.

use anyhow::{Result, bail};
use clap::{Args, Subcommand, ValueEnum};
use lockstep_core::operation::{GAS_DEFAULT, Operation, Policy, Registration};
use lockstep_core::{Address, Amount, Uuid};
use serde_json::{Value, json};

use super::inspect::{self, MemoArgs};
use super::link::{Link, LinkArgs};
use super::pay::{asset_uuid, payload};
use super::{Exit, Failure, print_json, print_line};

/// What to do with a memo.
#[derive(Debug, Subcommand)]
pub enum MemoCommand {
    /// Print the memo of a payment; with a group file also as a link or QR code that wallets open
    #[command(subcommand)]
    Encode(EncodeCommand),
    /// Show what a memo means; the same as `inspect memo`
    Decode(MemoArgs),
}

/// What the memo is for.
#[derive(Debug, Subcommand)]
pub enum EncodeCommand {
    /// A payment to a process
    Call(CallArgs),
    /// A registration: whoever pays the fee with it owns the process
    Register(RegisterMemoArgs),
}

/// Which process to pay, and what to tell it.
#[derive(Debug, Args)]
pub struct CallArgs {
    /// The process to call
    #[arg(long, value_name = "UUID")]
    process: Uuid,
    /// What its contract gets: hex after 0x
    #[arg(long, value_name = "0xHEX", default_value = "0x")]
    payload: String,
    /// The payload is not in the memo, but the extra of the transaction that the payment refers to at this place, from 0
    #[arg(long, value_name = "PLACE", conflicts_with = "group")]
    reference: Option<u8>,
    /// For a link: a symbol of the group file, or the asset's UUID
    #[arg(long, value_name = "ASSET", requires = "group", requires = "amount")]
    asset: Option<String>,
    /// For a link: how much, with at most 8 decimals
    #[arg(long, value_name = "DECIMAL", requires = "asset")]
    amount: Option<Amount>,
    #[command(flatten)]
    link: LinkArgs,
}

/// Which contract to register, with which group.
#[derive(Debug, Args)]
pub struct RegisterMemoArgs {
    #[command(flatten)]
    registration: RegistrationArgs,
    #[command(flatten)]
    link: LinkArgs,
}

/// Which contract, and how it wants to be called.
#[derive(Debug, Args)]
pub struct RegistrationArgs {
    /// The chain of the contract
    #[arg(long, value_name = "EIP-155 ID")]
    pub chain: u64,
    /// The contract, which must have called `bind` for the process of the user who pays
    #[arg(long, value_name = "0xADDRESS")]
    pub address: Address,
    /// Gas limit of one call
    #[arg(long, value_name = "GAS", default_value_t = GAS_DEFAULT)]
    pub gas: u32,
    /// What becomes of a call that fails
    #[arg(long, value_enum, default_value_t = PolicyArg::Refund)]
    pub policy: PolicyArg,
    /// The contract sees an account of its own for each user, which nobody can trace to the user or to another contract
    #[arg(long)]
    pub private: bool,
}

/// A [`Policy`] on the command line.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum PolicyArg {
    /// Its payment goes back to the sender
    Refund,
    /// It is kept: anyone may retry it, and later claim the payment for its sender
    Park,
    /// The mailbox waits until it succeeds
    Strict,
}

impl RegistrationArgs {
    pub(super) fn registration(&self) -> Registration {
        let policy = match self.policy {
            PolicyArg::Refund => Policy::Refund,
            PolicyArg::Park => Policy::Park,
            PolicyArg::Strict => Policy::Strict,
        };
        let Self { chain, address, gas, private, .. } = *self;
        Registration { chain, address, private, policy, gas, assets: None }
    }
}

pub(super) fn run(command: MemoCommand) -> Result<Exit, Failure> {
    match command {
        MemoCommand::Encode(EncodeCommand::Call(args)) => call(&args).map_err(Failure::bad_input)?.print(),
        MemoCommand::Encode(EncodeCommand::Register(args)) => register(&args).map_err(Failure::bad_input)?.print(),
        MemoCommand::Decode(args) => inspect::memo(args),
    }
}

fn call(args: &CallArgs) -> Result<Shown> {
    let payload = payload(&args.payload)?;
    let operation = match args.reference {
        Some(reference) => Operation::stored_call(args.process, reference, &payload),
        None => Operation::call(args.process, payload),
    };
    let memo = operation.to_memo_text()?;
    let Some(group) = args.link.group()? else { return Ok(Shown::memo(&memo)) };
    let (Some(asset), Some(amount)) = (&args.asset, args.amount) else {
        bail!("a link names what it pays: --asset and --amount");
    };
    let link = args.link.link(&group, (asset_uuid(&group, asset)?, amount), &memo)?;
    Shown::link(&link, args.link.qr)
}

fn register(args: &RegisterMemoArgs) -> Result<Shown> {
    // Its process is whoever pays, so none is named.
    let memo = Operation::register(Uuid::nil(), &args.registration.registration())?.to_memo_text()?;
    let Some(group) = args.link.group()? else { return Ok(Shown::memo(&memo)) };
    let fee = group.fee();
    Shown::link(&args.link.link(&group, (fee.asset, fee.amount), &memo)?, args.link.qr)
}

/// What a command prints.
enum Shown {
    Json(Value),
    Qr(String),
}

impl Shown {
    fn memo(memo: &str) -> Self {
        Self::Json(json!({ "bytes": memo.len(), "memo": memo }))
    }

    fn link(link: &Link, qr: bool) -> Result<Self> {
        Ok(if qr { Self::Qr(link.to_qr()?) } else { Self::Json(link.to_json()) })
    }

    fn print(self) -> Result<Exit, Failure> {
        match self {
            Self::Json(value) => print_json(&value)?,
            Self::Qr(code) => print_line(&code)?,
        }
        Ok(Exit::Done)
    }
}
