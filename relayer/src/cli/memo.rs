//! `memo`: what a payment must carry, as text, so that any wallet of the ledger can make it.

use clap::{Args, Subcommand, ValueEnum};
use lockstep_core::operation::{GAS_DEFAULT, Operation, Policy, Registration};
use lockstep_core::{Address, Uuid};
use serde_json::json;

use super::pay::call_operation;
use super::{Exit, Failure, print_json};

/// What the memo is for.
#[derive(Debug, Subcommand)]
pub enum MemoCommand {
    /// A payment to a process
    Call {
        /// The process to call
        #[arg(long, value_name = "UUID")]
        process: Uuid,
        /// What its contract gets: hex after 0x
        #[arg(long, value_name = "0xHEX", default_value = "0x")]
        payload: String,
    },
    /// A registration: whoever pays the fee with it owns the process
    Register(RegistrationArgs),
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
        Registration { chain: self.chain, address: self.address, private: false, policy, gas: self.gas, assets: None }
    }
}

pub(super) fn run(command: &MemoCommand) -> Result<Exit, Failure> {
    let operation = match command {
        MemoCommand::Call { process, payload } => call_operation(*process, payload).map_err(Failure::bad_input)?,
        // Its process is whoever pays, so none is named.
        MemoCommand::Register(args) => {
            Operation::register(Uuid::nil(), &args.registration()).map_err(Failure::bad_input)?
        }
    };
    let memo = operation.to_memo_text().map_err(Failure::bad_input)?;
    print_json(&json!({ "bytes": memo.len(), "memo": memo }))?;
    Ok(Exit::Done)
}
