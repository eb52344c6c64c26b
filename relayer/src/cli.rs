//! The command line: results as JSON on standard output, one line on standard error when something is wrong, and an exit
//! code that says what kind of wrong.

mod account;
mod ceremony;
mod devnet;
mod govern;
mod group;
mod inspect;
mod keygen;
mod keys;
mod link;
mod memo;
mod pay;
mod service;
mod statement;

use std::ffi::OsString;
use std::io::{self, Write};
use std::process::ExitCode;

use anyhow::Context;
use clap::{Parser, Subcommand};
use serde::Serialize;

pub use account::{AccountCommand, AddressArgs, OrderArgs};
pub use ceremony::{CeremonyCommand, JoinArgs, StartArgs, StatusArgs};
pub use devnet::{DemoArgs, DevnetArgs};
pub use govern::{
    ApproveArgs, ChainArgs, GovernCommand, ListArgs, OutboundArgs, ProposeArgs, SubmitArgs, SwitchArgs, UnclaimedArgs,
    What,
};
pub use group::{CodeArgs, GroupCommand};
pub use inspect::{InspectCommand, MemoArgs, VerifySignatureArgs};
pub use keygen::{KeygenCommand, KeygenMemberArgs};
pub use keys::{
    AcceptArgs, BackupArgs, ChangeArgs, ExportArgs, Import, ImportArgs, KeyFileArgs, KeysCommand, NewPassphraseArgs,
    ShowArgs,
};
pub use link::LinkArgs;
pub use memo::{CallArgs, EncodeCommand, MemoCommand, PolicyArg, RegisterMemoArgs, RegistrationArgs};
pub use pay::{BalanceArgs, OnceArgs, PayArgs, RegisterArgs, UserArgs};
pub use service::MemberArgs;
pub use statement::StatementArgs;

pub use crate::exit::Exit;
use crate::harden::keep_memory_private;
use crate::ledger::LedgerError;

/// Arguments of the binary.
#[derive(Debug, Parser)]
#[command(name = "lockstep", version, about, long_about = None, after_help = AFTER_HELP)]
pub struct Args {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What scripts must know, at the foot of the help.
const AFTER_HELP: &str = "Exit codes: 0 done, 1 bad input, 2 negative answer (such as an invalid signature), 64 wrong \
configuration, 70 halted at a contradiction: a person must look, 75 try again later.";

/// What the binary can do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make a member's own keys
    #[command(subcommand)]
    Keygen(KeygenCommand),
    /// Look after a member's keys: passphrase, backup, export, import, and a restored database
    #[command(subcommand)]
    Keys(KeysCommand),
    /// Make the group's key together with the other members, or hand it on to other members
    #[command(subcommand)]
    Ceremony(CeremonyCommand),
    /// Run one member until SIGTERM or SIGINT
    Run(MemberArgs),
    /// Run everything on this machine until interrupted: a chain, a ledger, four members, two example contracts
    Devnet(DevnetArgs),
    /// Pay a group on the ledger, with a memo for one of its processes
    Pay(PayArgs),
    /// Register a contract as this ledger user's process, by a payment of the fee
    Register(RegisterArgs),
    /// Print the memo of a payment, or a link or QR code, for any wallet of the ledger; or show what a memo means
    #[command(subcommand)]
    Memo(MemoCommand),
    /// Tell where the smart account of a ledger user is, and write orders for it
    #[command(subcommand)]
    Account(AccountCommand),
    /// Show what a ledger user holds of an asset
    Balance(BalanceArgs),
    /// Show what a ledger user paid and got, newest first
    Statement(StatementArgs),
    /// Run the whole loop on this machine and check every balance: a chain, a ledger, four members, payments both ways
    Demo(DemoArgs),
    /// Check all that `run` needs, without starting anything
    Check(MemberArgs),
    /// Propose, approve, list and submit what the group decides about itself and its contracts
    #[command(subcommand)]
    Govern(GovernCommand),
    /// Sign nothing any more, from now on and after restarts: checkpoints, payouts, governance. Needs nobody else
    StopSigning(SwitchArgs),
    /// Sign again
    ResumeSigning(SwitchArgs),
    /// Check a group file, or print its digest
    #[command(subcommand)]
    Group(GroupCommand),
    /// Show a transaction, memo, address or amount as JSON
    #[command(subcommand)]
    Inspect(InspectCommand),
    /// Check a BLS12-381 signature (key in G2, signature in G1): prints whether it is valid, exits with 2 if not
    VerifySignature(VerifySignatureArgs),
}

/// Runs the binary: reads the arguments, does what they say, reports.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let args = match Args::try_parse_from(arguments) {
        Ok(args) => args,
        Err(error) => {
            // Help and version are what was asked for; anything else is bad input, not clap's own code 2.
            let exit = if error.use_stderr() { Exit::BadInput } else { Exit::Done };
            let _ = error.print();
            return exit.into();
        }
    };
    // Before anything secret is read, and before there are threads.
    let outcome = keep_memory_private()
        .context("cannot keep the memory of this process private")
        .map_err(|error| Failure::new(Exit::TryAgain, error))
        .and_then(|()| tokio::runtime::Runtime::new().map_err(|error| Failure::new(Exit::TryAgain, error)))
        .and_then(|runtime| runtime.block_on(run(args.command)));
    match outcome {
        Ok(exit) => exit.into(),
        Err(failure) => {
            let _ = writeln!(io::stderr(), "error: {:#}", failure.error);
            failure.exit.into()
        }
    }
}

/// Does what one command says.
///
/// # Errors
/// What went wrong, with the exit code that tells its kind.
pub async fn run(command: Command) -> Result<Exit, Failure> {
    match command {
        Command::Keygen(command) => keygen::run(command),
        Command::Keys(command) => keys::run(command).await,
        Command::Ceremony(command) => Box::pin(ceremony::run(command)).await,
        Command::Run(args) => service::run(&args).await,
        Command::Devnet(args) => devnet::devnet(&args).await,
        Command::Pay(args) => pay::pay(&args).await,
        Command::Register(args) => pay::register(&args).await,
        Command::Memo(command) => memo::run(command),
        Command::Account(command) => account::run(&command),
        Command::Balance(args) => pay::balance(&args).await,
        Command::Statement(args) => statement::statement(&args).await,
        Command::Demo(args) => devnet::demo(&args).await,
        Command::Check(args) => service::check(&args).await,
        Command::Govern(command) => Box::pin(govern::run(command)).await,
        Command::StopSigning(args) => govern::stop_signing(&args).await,
        Command::ResumeSigning(args) => govern::resume_signing(&args).await,
        Command::Group(command) => group::run(command).await,
        Command::Inspect(command) => inspect::run(command),
        Command::VerifySignature(args) => inspect::verify_signature(&args),
    }
}

/// Why a command failed.
#[derive(Debug)]
pub struct Failure {
    /// Which kind.
    pub exit: Exit,
    /// What and why; shown in one line.
    pub error: anyhow::Error,
}

impl Failure {
    /// An error of a kind.
    pub fn new(exit: Exit, error: impl Into<anyhow::Error>) -> Self {
        Self { exit, error: error.into() }
    }

    /// Malformed input.
    pub fn bad_input(error: impl Into<anyhow::Error>) -> Self {
        Self::new(Exit::BadInput, error)
    }

    /// What the ledger did not answer: later perhaps, or never.
    pub fn of_ledger(error: LedgerError) -> Self {
        Self::new(if error.retryable() { Exit::TryAgain } else { Exit::BadInput }, error)
    }

    /// A wrong configuration.
    pub fn configuration(error: impl Into<anyhow::Error>) -> Self {
        Self::new(Exit::Configuration, error)
    }
}

/// Writes a result to standard output as JSON.
///
/// # Errors
/// Where standard output is closed or full.
pub fn print_json(result: &impl Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(result).map_err(|error| Failure::new(Exit::TryAgain, error))?;
    print_line(&text)
}

/// Writes one line to standard output.
///
/// # Errors
/// Where standard output is closed or full.
pub fn print_line(line: &str) -> Result<(), Failure> {
    writeln!(io::stdout(), "{line}").map_err(|error| Failure::new(Exit::TryAgain, error))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn arguments_should_be_consistent() {
        Args::command().debug_assert();
    }
}
