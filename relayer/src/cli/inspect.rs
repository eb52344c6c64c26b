//! `inspect` and `verify-signature`: what bytes mean.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use lockstep_core::mixin::inspect as ledger;
use lockstep_core::operation::{MemoRules, inspect_memo_with};
use serde_json::json;

use super::{Exit, Failure, print_json};
use crate::config::read_group;

/// What to show.
#[derive(Debug, Subcommand)]
pub enum InspectCommand {
    /// Show a kernel transaction of version 5, signed or not
    Tx {
        /// The bytes in hex, with or without 0x
        #[arg(value_name = "HEX", allow_hyphen_values = true)]
        bytes: String,
    },
    /// Show a memo: the operation in it, and what it asks for
    Memo(MemoArgs),
    /// Show the keys or members of a ledger address
    Address {
        /// XIN… or MIX…
        #[arg(value_name = "ADDRESS", allow_hyphen_values = true)]
        address: String,
    },
    /// Show an amount and its kernel encoding; what is beyond 8 decimals is cut off, and "floored" says so
    Amount {
        /// A decimal such as 0.5, or the kernel's encoding in hex after 0x
        #[arg(value_name = "AMOUNT", allow_hyphen_values = true)]
        amount: String,
    },
}

/// A memo, and who reads it.
#[derive(Debug, Args)]
pub struct MemoArgs {
    /// Hex, with or without 0x, or base64url; hex where both are possible
    #[arg(value_name = "MEMO", allow_hyphen_values = true)]
    memo: String,
    /// Read it as this group does: with its aliases, and its key for decisions
    #[arg(long, value_name = "FILE")]
    group: Option<PathBuf>,
}

/// A signature, its key and its message.
#[derive(Debug, Args)]
pub struct VerifySignatureArgs {
    /// G2 key in hex: 96 (compressed), 192 or 256 bytes (EIP-2537)
    #[arg(long, value_name = "HEX", allow_hyphen_values = true)]
    public_key: String,
    /// Message in hex, of any length; a checkpoint's is its 32-byte digest
    #[arg(long, value_name = "HEX", allow_hyphen_values = true)]
    message: String,
    /// G1 signature in hex: 48 (compressed), 96 or 128 bytes (EIP-2537)
    #[arg(long, value_name = "HEX", allow_hyphen_values = true)]
    signature: String,
    /// Domain separation tag
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true, default_value = DST)]
    dst: String,
}

/// The tag of everything that group contracts check.
const DST: &str = "BLS_SIG_BLS12381G1_XMD:SHA-256_SSWU_RO_NUL_";

pub(super) fn run(command: InspectCommand) -> Result<Exit, Failure> {
    match command {
        InspectCommand::Tx { bytes } => print_json(&ledger::transaction(&bytes).map_err(Failure::bad_input)?)?,
        InspectCommand::Address { address } => print_json(&ledger::address(&address).map_err(Failure::bad_input)?)?,
        InspectCommand::Amount { amount } => print_json(&ledger::amount(&amount).map_err(Failure::bad_input)?)?,
        InspectCommand::Memo(args) => return memo(args),
    }
    Ok(Exit::Done)
}

pub(super) fn memo(MemoArgs { memo, group }: MemoArgs) -> Result<Exit, Failure> {
    let rules = match group {
        Some(path) => read_group(&path).map_err(Failure::configuration)?.memo_rules(),
        None => MemoRules::default(),
    };
    print_json(&inspect_memo_with(&memo, &rules).map_err(Failure::bad_input)?)?;
    Ok(Exit::Done)
}

pub(super) fn verify_signature(args: &VerifySignatureArgs) -> Result<Exit, Failure> {
    let VerifySignatureArgs { public_key, message, signature, dst } = args;
    let valid = lockstep_core::bls::inspect::verify_signature(public_key, message, signature, Some(dst));
    let valid = valid.map_err(Failure::bad_input)?;
    super::print_line(&json!({ "valid": valid }).to_string())?;
    Ok(if valid { Exit::Done } else { Exit::Negative })
}
