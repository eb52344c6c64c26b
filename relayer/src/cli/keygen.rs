//! `keygen`: a member's own keys. The group's key is made in a ceremony.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use clap::{Args, Subcommand};

use super::{Exit, Failure, print_json};
use crate::keys::{self, Cost, KEY_FILE, Keyring, MemberKeys, Source};
use crate::ledger::Keystore;

/// Which keys to make.
#[derive(Debug, Subcommand)]
pub enum KeygenCommand {
    /// Make a member's own keys: identity, EVM account, ledger user
    Member(KeygenMemberArgs),
}

/// Options of `keygen member`.
#[derive(Debug, Args)]
pub struct KeygenMemberArgs {
    /// Folder for the key file `member.keys`, encrypted and readable by its owner only
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Name in the group file: a-z, 0-9 and -
    #[arg(long)]
    name: String,
    /// Keystore file of a ledger user, from the ledger's dashboard or a devnet's users/NAME.json; without it a user is made
    /// up that no ledger knows yet
    #[arg(long, value_name = "FILE")]
    ledger_keystore: Option<PathBuf>,
    /// File of the passphrase that encrypts the keys, readable by its owner only; without it the variables
    /// LOCKSTEP_KEYSTORE_PASSPHRASE_FILE and LOCKSTEP_KEYSTORE_PASSPHRASE are read, else you are asked
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
}

pub(super) fn run(command: KeygenCommand) -> Result<Exit, Failure> {
    match command {
        KeygenCommand::Member(args) => member(&args),
    }
}

fn member(args: &KeygenMemberArgs) -> Result<Exit, Failure> {
    let keystore = args.ledger_keystore.as_deref().map(read_keystore).transpose().map_err(Failure::configuration)?;
    let keys = MemberKeys::generate(&args.name, keystore, &mut keys::system_entropy).map_err(Failure::configuration)?;
    let path = args.out.join(KEY_FILE);
    if path.exists() {
        return Err(Failure::configuration(anyhow!("`{}` exists already", path.display())));
    }
    let passphrase = Source::of_keys(args.passphrase_file.as_deref()).read_new().map_err(Failure::configuration)?;
    let ring = Keyring::create(&path, &passphrase, Cost::STANDARD, keys).map_err(Failure::configuration)?;
    print_json(&ring.keys().public())?;
    Ok(Exit::Done)
}

pub(super) fn read_keystore(path: &Path) -> anyhow::Result<Keystore> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read `{}`", path.display()))?;
    Keystore::parse(&text).map_err(|error| anyhow!("`{}` is not a ledger keystore: {error}", path.display()))
}

/// Writes a file that must not be there yet.
pub(super) fn write_new(path: &Path, text: &str) -> anyhow::Result<()> {
    let written = OpenOptions::new().write(true).create_new(true).open(path);
    let written = written.and_then(|mut file| file.write_all(text.as_bytes()).and_then(|()| file.sync_all()));
    written.with_context(|| format!("cannot write `{}`", path.display()))
}
