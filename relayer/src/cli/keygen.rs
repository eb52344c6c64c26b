//! `keygen`: a member's own keys, and a group's by a trusted dealer.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use clap::{Args, Subcommand};
use lockstep_core::group::Group;
use lockstep_core::trace::ChainId;
use lockstep_core::{Amount, Uuid};

use super::group::summary;
use super::{Exit, Failure, print_json};
use crate::keys::{
    self, Cost, DealMember, DealTerms, Dealt, Floor, HeldShare, KEY_FILE, KeyError, Keyring, MemberKeys, PublicKeys,
    Source, XIN,
};
use crate::ledger::Keystore;

/// Which keys to make.
#[derive(Debug, Subcommand)]
pub enum KeygenCommand {
    /// Make a member's own keys: identity, EVM account, ledger user
    Member(KeygenMemberArgs),
    /// Make a group key as a trusted dealer, for development chains (31337 to 31346) only
    #[command(
        long_about = "Makes a group key and gives each member its share: a trusted dealer. Whoever runs this could \
                            keep the key, so the group it makes is refused on any chain but 31337 to 31346."
    )]
    Group(KeygenGroupArgs),
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

/// Options of `keygen group`.
#[derive(Debug, Args)]
pub struct KeygenGroupArgs {
    /// Folders made by `keygen member`, in the order of the indexes 1, 2, …
    #[arg(long, value_name = "DIR", required = true, num_args = 1..)]
    members: Vec<PathBuf>,
    /// File of the passphrase of all these key files; without it the variables LOCKSTEP_KEYSTORE_PASSPHRASE_FILE and
    /// LOCKSTEP_KEYSTORE_PASSPHRASE are read, else you are asked
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
    /// How many must sign [default: n − ⌊(n−1)/3⌋]
    #[arg(long, value_name = "T")]
    threshold: Option<u8>,
    /// Where each member listens for the others, in the same order [default: http://127.0.0.1:7701 and up]
    #[arg(long, value_name = "URL", num_args = 1..)]
    peers: Vec<String>,
    /// Chains to serve
    #[arg(long, value_name = "ID", num_args = 1.., default_value = "31337")]
    chains: Vec<ChainId>,
    /// Asset in which a registration is paid [default: XIN]
    #[arg(long, value_name = "UUID", default_value_t = XIN, hide_default_value = true)]
    fee_asset: Uuid,
    /// What a registration costs
    #[arg(long, value_name = "AMOUNT", default_value = "0.01")]
    fee_amount: Amount,
    /// The group file to write; it must not exist
    #[arg(long, value_name = "FILE", default_value = "group.toml")]
    out: PathBuf,
    /// Take also members that already hold a share of another group: they lose it for ever
    #[arg(long)]
    replace_shares: bool,
}

pub(super) fn run(command: KeygenCommand) -> Result<Exit, Failure> {
    match command {
        KeygenCommand::Member(args) => member(&args),
        KeygenCommand::Group(args) => group(&args),
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
    // The parser's own message can quote what it found: only the place is told.
    serde_json::from_str(&text).map_err(|error| {
        anyhow!("`{}` is not a ledger keystore: line {}, column {}", path.display(), error.line(), error.column())
    })
}

fn group(args: &KeygenGroupArgs) -> Result<Exit, Failure> {
    let paths: Vec<_> = args.members.iter().map(|folder| folder.join(KEY_FILE)).collect();
    let passphrase = Source::of_keys(args.passphrase_file.as_deref()).read().map_err(Failure::configuration)?;
    let mut members = Vec::new();
    for path in &paths {
        // The group works on development chains only, and so may its members' files.
        let ring = Keyring::open(path, &passphrase, Floor::Development).map_err(Failure::configuration)?;
        if !ring.shares().is_empty() && !args.replace_shares {
            let held = anyhow!("`{}` holds a share already: --replace-shares gives it up", path.display());
            return Err(Failure::configuration(held));
        }
        members.push(ring);
    }
    let terms = DealTerms {
        threshold: args.threshold,
        chains: args.chains.clone(),
        fee_asset: args.fee_asset,
        fee_amount: args.fee_amount,
    };
    let public: Vec<_> = members.iter().map(|ring| ring.keys().public()).collect();
    let public = with_peers(&public, &args.peers).map_err(Failure::bad_input)?;
    let Dealt { file, shares } = keys::deal(&public, &terms, &mut keys::system_entropy).map_err(Failure::bad_input)?;
    let group = Group::parse(&file).map_err(Failure::bad_input)?;

    let text = toml::to_string(&file).map_err(Failure::bad_input)?;
    // The group file first: members without a share are refused at start, shares without a group would be lost.
    write_new(&args.out, &text).map_err(Failure::configuration)?;
    for (ring, share) in members.iter().zip(&shares) {
        hand_out(ring, share).map_err(Failure::configuration)?;
    }
    let _ = writeln!(
        io::stderr(),
        "warning: this group key was made by a trusted dealer. Whoever ran this could have kept it: the group works on \
         development chains (31337 to 31346) only, and members refuse to run it on any other."
    );
    print_json(&summary(&group))?;
    Ok(Exit::Done)
}

/// Gives a member its share, in the place of those that it gives up.
fn hand_out(ring: &Keyring, share: &HeldShare) -> Result<(), KeyError> {
    for held in ring.shares() {
        ring.erase_share(held.generation)?;
    }
    ring.save_share(share)
}

fn with_peers(members: &[PublicKeys], peers: &[String]) -> anyhow::Result<Vec<DealMember>> {
    if !peers.is_empty() && peers.len() != members.len() {
        return Err(anyhow!("{} --peers for {} --members", peers.len(), members.len()));
    }
    let default = |port: u16| format!("http://127.0.0.1:{port}");
    let with_peer = |(i, keys): (usize, &PublicKeys)| {
        let port = u16::try_from(i).unwrap_or_default().saturating_add(7701);
        DealMember { keys: keys.clone(), peer: peers.get(i).cloned().unwrap_or_else(|| default(port)) }
    };
    Ok(members.iter().enumerate().map(with_peer).collect())
}

fn write_new(path: &Path, text: &str) -> anyhow::Result<()> {
    let written = OpenOptions::new().write(true).create_new(true).open(path);
    let written = written.and_then(|mut file| file.write_all(text.as_bytes()).and_then(|()| file.sync_all()));
    written.with_context(|| format!("cannot write `{}`", path.display()))
}
