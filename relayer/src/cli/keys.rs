//! `keys`: what an operator does with a member's key file, and with a database that is older than its signatures.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use clap::{Args, Subcommand};
use serde_json::json;

use super::keygen::read_keystore;
use super::{Exit, Failure, MemberArgs, print_json};
use crate::keys::{self, Cost, Floor, Keyring, Passphrase, Source};
use crate::store::{Identity, Store};
use crate::telemetry;

/// The variable of a passphrase that is to be, and with `_FILE` of a file of it.
const NEW_VARIABLE: &str = "LOCKSTEP_KEYSTORE_NEW_PASSPHRASE";

/// What to do with keys.
#[derive(Debug, Subcommand)]
pub enum KeysCommand {
    /// Print the public parts of a key file
    Show(ShowArgs),
    /// Write all keys to another file, under a passphrase of its own
    Export(ExportArgs),
    /// Read keys into a key file: a whole export, or the ledger user's or the EVM account's keystore
    Import(ImportArgs),
    /// Encrypt a key file anew, under another passphrase
    ChangePassphrase(ChangeArgs),
    /// Copy a key file as it is, after checking that its passphrase opens it
    Backup(BackupArgs),
    /// Let a member sign again that refuses because its database is older than what it has signed
    #[command(long_about = "Lets a member sign again that refuses because its database, its guard log and its peers \
                            disagree. Only when the newer files are lost for good, no other copy of this member runs, and \
                            the others have finished the payouts that it may have signed: it will not remember which \
                            payload it promised a coin to. The reason is kept in the database and logged.")]
    AcceptRestore(AcceptArgs),
}

/// Which key file, and how it opens.
#[derive(Debug, Args)]
pub struct KeyFileArgs {
    /// The key file
    #[arg(long, value_name = "FILE", default_value = "keys/member.keys")]
    keys: PathBuf,
    /// File of its passphrase, readable by its owner only; without it the variables LOCKSTEP_KEYSTORE_PASSPHRASE_FILE and
    /// LOCKSTEP_KEYSTORE_PASSPHRASE are read, else you are asked
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
    /// Accept the quick key derivation of development networks, whose files anybody could open
    #[arg(long)]
    development: bool,
}

impl KeyFileArgs {
    fn passphrase(&self) -> Result<Passphrase, Failure> {
        Source::of_keys(self.passphrase_file.as_deref()).read().map_err(Failure::configuration)
    }

    fn floor(&self) -> Floor {
        if self.development { Floor::Development } else { Floor::Standard }
    }

    fn open(&self) -> Result<Keyring, Failure> {
        Keyring::open(&self.keys, &self.passphrase()?, self.floor()).map_err(Failure::configuration)
    }
}

/// A passphrase that is to be.
#[derive(Debug, Args)]
pub struct NewPassphraseArgs {
    /// File of the new passphrase; without it the variables LOCKSTEP_KEYSTORE_NEW_PASSPHRASE_FILE and
    /// LOCKSTEP_KEYSTORE_NEW_PASSPHRASE are read, else you are asked twice
    #[arg(long, value_name = "FILE")]
    new_passphrase_file: Option<PathBuf>,
}

impl NewPassphraseArgs {
    fn read(&self) -> Result<Passphrase, Failure> {
        let prompt = "New passphrase".to_owned();
        let source = Source { file: self.new_passphrase_file.clone(), variable: Some(NEW_VARIABLE), prompt };
        source.read_new().map_err(Failure::configuration)
    }
}

/// Options of `keys show`.
#[derive(Debug, Args)]
pub struct ShowArgs {
    #[command(flatten)]
    file: KeyFileArgs,
    /// Do not ask for the passphrase: nothing then vouches for what is shown
    #[arg(long)]
    locked: bool,
}

/// Options of `keys export`.
#[derive(Debug, Args)]
pub struct ExportArgs {
    #[command(flatten)]
    file: KeyFileArgs,
    /// The file to write; it must not exist
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    #[command(flatten)]
    new: NewPassphraseArgs,
}

/// Options of `keys import`.
#[derive(Debug, Args)]
pub struct ImportArgs {
    #[command(flatten)]
    file: KeyFileArgs,
    #[command(flatten)]
    what: Import,
    #[command(flatten)]
    new: NewPassphraseArgs,
}

/// What is imported.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub struct Import {
    /// An export or backup, opened with the passphrase; it becomes the key file, which must not exist, under the new one
    #[arg(long, value_name = "FILE")]
    from: Option<PathBuf>,
    /// Keystore file of the ledger user, as the ledger's dashboard gives it: takes the place of the one in the key file
    #[arg(long, value_name = "FILE")]
    ledger_keystore: Option<PathBuf>,
    /// Web3 keystore file (version 3) of the EVM account, opened with the new passphrase: takes the place of the one in the
    /// key file
    #[arg(long, value_name = "FILE")]
    evm_keystore: Option<PathBuf>,
}

/// Options of `keys change-passphrase`.
#[derive(Debug, Args)]
pub struct ChangeArgs {
    #[command(flatten)]
    file: KeyFileArgs,
    #[command(flatten)]
    new: NewPassphraseArgs,
}

/// Options of `keys backup`.
#[derive(Debug, Args)]
pub struct BackupArgs {
    #[command(flatten)]
    file: KeyFileArgs,
    /// The copy to write; it must not exist
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

/// Options of `keys accept-restore`.
#[derive(Debug, Args)]
pub struct AcceptArgs {
    #[command(flatten)]
    member: MemberArgs,
    /// What happened, in one line of 10 to 500 characters
    #[arg(long, value_name = "TEXT")]
    reason: String,
}

pub(super) async fn run(command: KeysCommand) -> Result<Exit, Failure> {
    match command {
        KeysCommand::Show(args) => show(&args),
        KeysCommand::Export(args) => export(&args),
        KeysCommand::Import(args) => import(&args),
        KeysCommand::ChangePassphrase(args) => change_passphrase(&args),
        KeysCommand::Backup(args) => backup(&args),
        KeysCommand::AcceptRestore(args) => accept_restore(&args).await,
    }
}

fn show(args: &ShowArgs) -> Result<Exit, Failure> {
    let public = if args.locked {
        let _ = writeln!(io::stderr(), "warning: shown without the passphrase; anybody could have written this");
        Keyring::peek(&args.file.keys).map_err(Failure::configuration)?
    } else {
        args.file.open()?.keys().public()
    };
    print_json(&public)?;
    Ok(Exit::Done)
}

fn export(args: &ExportArgs) -> Result<Exit, Failure> {
    refuse_existing(&args.out)?;
    let ring = args.file.open()?;
    let keys = ring.keys();
    Keyring::create(&args.out, &args.new.read()?, Cost::STANDARD, (*keys).clone()).map_err(Failure::configuration)?;
    print_json(&json!({ "written": args.out, "keys": keys.public() }))?;
    Ok(Exit::Done)
}

fn import(args: &ImportArgs) -> Result<Exit, Failure> {
    let Import { from, ledger_keystore, evm_keystore } = &args.what;
    if let Some(from) = from {
        refuse_existing(&args.file.keys)?;
        let other = Keyring::open(from, &args.file.passphrase()?, args.file.floor()).map_err(Failure::configuration)?;
        let keys = other.keys();
        let made = Keyring::create(&args.file.keys, &args.new.read()?, Cost::STANDARD, (*keys).clone());
        made.map_err(Failure::configuration)?;
        print_json(&keys.public())?;
        return Ok(Exit::Done);
    }
    let ring = args.file.open()?;
    if let Some(path) = ledger_keystore {
        let keystore = read_keystore(path).map_err(Failure::configuration)?;
        ring.set_ledger(keystore).map_err(Failure::configuration)?;
    }
    if let Some(path) = evm_keystore {
        let prompt = "Passphrase of the EVM account's keystore".to_owned();
        let file = args.new.new_passphrase_file.clone();
        let passphrase = Source { file, variable: Some(NEW_VARIABLE), prompt }.read();
        let passphrase = passphrase.map_err(Failure::configuration)?;
        let signer = keys::read_web3(path, &passphrase).map_err(Failure::configuration)?;
        ring.set_evm(signer).map_err(Failure::configuration)?;
    }
    print_json(&ring.keys().public())?;
    Ok(Exit::Done)
}

fn change_passphrase(args: &ChangeArgs) -> Result<Exit, Failure> {
    // A file that is too weak may be made strong.
    let ring = Keyring::open(&args.file.keys, &args.file.passphrase()?, Floor::Development);
    let ring = ring.map_err(Failure::configuration)?;
    ring.reseal(&args.new.read()?, Cost::STANDARD).map_err(Failure::configuration)?;
    print_json(&json!({ "changed": args.file.keys, "cost": ring.cost() }))?;
    Ok(Exit::Done)
}

fn backup(args: &BackupArgs) -> Result<Exit, Failure> {
    let ring = args.file.open()?;
    ring.copy_to(&args.out).map_err(Failure::configuration)?;
    // What was written is what opens.
    let copy = Keyring::open(&args.out, &args.file.passphrase()?, args.file.floor()).map_err(Failure::configuration)?;
    print_json(&json!({ "written": args.out, "keys": copy.keys().public() }))?;
    Ok(Exit::Done)
}

async fn accept_restore(args: &AcceptArgs) -> Result<Exit, Failure> {
    let config = args.member.load().map_err(Failure::configuration)?;
    telemetry::init(&config.log).map_err(Failure::configuration)?;
    let group = config.load_group().map_err(Failure::configuration)?;
    let identity = Identity { group_digest: group.digest().0, member: config.member.into() };
    if !config.database().exists() {
        let missing = anyhow!("there is no database `{}`", config.database().display());
        return Err(Failure::configuration(missing));
    }
    let restored = Store::accept_restore(&config.database(), identity, &args.reason).await;
    let restored = restored.context("nothing was accepted").map_err(Failure::configuration)?;
    tracing::warn!(reason = args.reason, lost = restored.refusal, "an older database was accepted");
    print_json(&restored)?;
    Ok(Exit::Done)
}

fn refuse_existing(path: &Path) -> Result<(), Failure> {
    if path.exists() {
        return Err(Failure::configuration(anyhow!("`{}` exists already", path.display())));
    }
    Ok(())
}
