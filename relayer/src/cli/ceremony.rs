//! `ceremony`: how the members make the group's key, and hand it on.

mod show;

use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow};
use clap::{Args, Subcommand};
use lockstep_core::dkg::{Deadlines, Kind};
use lockstep_core::group::FeeFile;
use lockstep_core::group::roster::Roster;
use lockstep_core::trace::ChainId;
use lockstep_core::{Amount, B256, Uuid};
use serde_json::json;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::service::MemberArgs;
use super::{Exit, Failure, print_json};
use crate::ceremony::{
    self, Candidate, Ceremonies, CeremonyError, Draft, Ended, Places, Plan, PlanError, Shown, Terms,
};
use crate::config::{self, MemberConfig, read_roster};
use crate::keys::{self, KEY_FILE, Keyring, PublicKeys, XIN};
use crate::peer::{self, Directory, Local};
use crate::store::{BEAT, Store};
use crate::supervisor::stop_signal;
use crate::{clock, startup, telemetry};

/// Largest proposal and public file: far above any real one.
const FILE_BYTES_MAX: u64 = 1024 * 1024;
/// Between two looks at how far a ceremony is.
const LOOK: Duration = Duration::from_millis(200);

/// What to do about a ceremony.
#[derive(Debug, Subcommand)]
pub enum CeremonyCommand {
    /// Write a proposal: who is to hold the group's key. Give the file to every operator
    #[command(
        long_about = "Writes a proposal file: who is to hold the group's key, and how many of them sign. Every operator gets \
                      the same file, looks at it, and approves it with `lockstep ceremony join`. It decides nothing by itself."
    )]
    Start(StartArgs),
    /// Approve a proposal, and take part until the key is made
    #[command(
        long_about = "Approves a proposal and takes part. Where the member's service runs, it takes part by itself and \
                            this command returns at once; otherwise this command listens on the member's peer port until the \
                            ceremony has ended. It may be interrupted and started again at any time."
    )]
    Join(JoinArgs),
    /// Show who is in which phase, and who is missing. Exits with 75 while no ceremony has ended
    Status(StatusArgs),
}

/// Options of `ceremony start`.
#[derive(Debug, Args)]
pub struct StartArgs {
    /// Members of a new group, in the order of their indexes: what `keygen member` printed, saved to a file, or the folder
    /// that it made; and where the others reach the member [default: http://127.0.0.1:7701 and up]
    #[arg(long, value_name = "FILE[@URL]", num_args = 1.., required_unless_present_any = ["from", "again"], conflicts_with = "from")]
    members: Vec<MemberFile>,
    /// Hand on the key of this group: its newest roster, group.toml or `generation-<g>.toml`
    #[arg(long, value_name = "FILE")]
    from: Option<PathBuf>,
    /// Propose this proposal once more, for the same members and terms: after a round that failed
    #[arg(long, value_name = "FILE", conflicts_with_all = ["members", "from"])]
    again: Option<PathBuf>,
    /// A new member in the place of an old one
    #[arg(long, value_name = "NAME=FILE@URL", num_args = 1.., requires = "from")]
    replace: Vec<Replacement>,
    /// A new member
    #[arg(long, value_name = "FILE@URL", num_args = 1.., requires = "from")]
    add: Vec<MemberFile>,
    /// A member that leaves
    #[arg(long, value_name = "NAME", num_args = 1.., requires = "from")]
    remove: Vec<String>,
    /// An old member that is known to be gone, so that nobody waits for it
    #[arg(long, value_name = "NAME", num_args = 1.., requires = "from")]
    absent: Vec<String>,
    /// Make a new key instead of handing on the old one; the contracts must then be told
    #[arg(long, requires = "from")]
    fresh: bool,
    /// How many must sign [default: n − ⌊(n−1)/3⌋]
    #[arg(long, value_name = "T")]
    threshold: Option<u8>,
    /// Number of the ceremony, above all before it, failed ones too [default: the one after the roster's, or after that of
    /// the proposal that is repeated]
    #[arg(long, value_name = "N")]
    round: Option<u32>,
    /// How long all members together may take to join, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = Deadlines::default().join)]
    join_s: u32,
    /// How long each later phase may take, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = Deadlines::default().deal)]
    phase_s: u32,
    /// Chains that a new group serves
    #[arg(long, value_name = "ID", num_args = 1.., default_value = "31337")]
    chains: Vec<ChainId>,
    /// Asset in which a registration is paid in a new group [default: XIN]
    #[arg(long, value_name = "UUID", default_value_t = XIN, hide_default_value = true)]
    fee_asset: Uuid,
    /// What a registration costs in a new group
    #[arg(long, value_name = "AMOUNT", default_value = "0.01")]
    fee_amount: Amount,
    /// The proposal to write; it must not exist
    #[arg(long, value_name = "FILE", default_value = "proposal.toml")]
    out: PathBuf,
}

/// Options of `ceremony join`.
#[derive(Debug, Args)]
pub struct JoinArgs {
    /// The proposal, the same file at every operator
    #[arg(value_name = "PROPOSAL")]
    proposal: PathBuf,
    /// The roster before, for a new member that does not have it yet: `generation-<g>.toml` of any old member
    #[arg(long, value_name = "FILE")]
    previous: Option<PathBuf>,
    /// Which member
    #[command(flatten)]
    member: MemberArgs,
}

/// Options of `ceremony status`.
#[derive(Debug, Args)]
pub struct StatusArgs {
    /// Show everything that is known as JSON
    #[arg(long)]
    json: bool,
    /// Which member
    #[command(flatten)]
    member: MemberArgs,
}

/// A member to be, by its public file.
#[derive(Clone, Debug)]
struct MemberFile {
    path: PathBuf,
    url: Option<String>,
}

impl FromStr for MemberFile {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (path, url) = match text.rsplit_once('@') {
            None => (text, None),
            Some((path, url)) => (path, Some(url.to_owned())),
        };
        if path.is_empty() {
            return Err("expected a file, or FILE@URL".into());
        }
        Ok(Self { path: path.into(), url })
    }
}

/// Somebody new in somebody's place.
#[derive(Clone, Debug)]
struct Replacement {
    name: String,
    by: MemberFile,
}

impl FromStr for Replacement {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, by) = text.split_once('=').ok_or("expected NAME=FILE@URL")?;
        Ok(Self { name: name.into(), by: by.parse()? })
    }
}

pub(super) async fn run(command: CeremonyCommand) -> Result<Exit, Failure> {
    match command {
        CeremonyCommand::Start(args) => start(&args),
        CeremonyCommand::Join(args) => Box::pin(join(&args)).await,
        CeremonyCommand::Status(args) => status(&args).await,
    }
}

fn start(args: &StartArgs) -> Result<Exit, Failure> {
    let plan = draft(args)?;
    let text = plan.to_text().map_err(Failure::bad_input)?;
    super::keygen::write_new(&args.out, &text).map_err(Failure::configuration)?;
    let proposal = &plan.proposal;
    print_json(&json!({
        "proposal": args.out,
        "ceremony": plan.id(),
        "group_id": proposal.group_id(),
        "kind": plan.kind(),
        "round": proposal.round(),
        "generation": proposal.generation(),
        "threshold": proposal.threshold(),
        "members": proposal.members().iter().map(|member| &member.name).collect::<Vec<_>>(),
    }))?;
    Ok(Exit::Done)
}

fn draft(args: &StartArgs) -> Result<Plan, Failure> {
    if let Some(failed) = &args.again {
        let text = read_text(failed).map_err(Failure::configuration)?;
        let failed = Plan::parse(&text).and_then(|plan| plan.again(args.round));
        return failed.map_err(Failure::bad_input);
    }
    let deadlines = Deadlines {
        join: args.join_s,
        deal: args.phase_s,
        log: args.phase_s,
        agree: args.phase_s,
        finish: args.phase_s,
    };
    let refused = |error: PlanError| Failure::bad_input(error);
    let draft = |members, round| Draft { members, threshold: args.threshold, round, deadlines };
    let Some(from) = &args.from else {
        let default = |i: usize| format!("http://127.0.0.1:{}", 7701_usize.saturating_add(i));
        let members = args.members.iter().enumerate().map(|(i, file)| candidate(file, Some(default(i))));
        let members = members.collect::<anyhow::Result<_>>().map_err(Failure::configuration)?;
        let fee = FeeFile { asset: args.fee_asset, amount: args.fee_amount };
        let terms = Terms::new(&args.chains, fee, &mut keys::system_entropy);
        return draft(members, args.round.unwrap_or(1)).first(terms, &mut keys::system_entropy).map_err(refused);
    };
    let previous = read_previous(from).map_err(Failure::configuration)?;
    let members = changed(&previous, args).map_err(Failure::bad_input)?;
    let absent = args.absent.iter().map(|name| index_of(&previous, name)).collect::<anyhow::Result<_>>();
    let round = args.round.unwrap_or_else(|| previous.round().saturating_add(1).max(2));
    draft(members, round).after(&previous, args.fresh, absent.map_err(Failure::bad_input)?).map_err(refused)
}

/// The roster in a group file or in the file of a later generation.
fn read_previous(path: &Path) -> anyhow::Result<Roster> {
    match read_roster(path) {
        Ok(roster) => Ok(roster),
        // A group file has other keys than a roster: that error says more.
        Err(error) => match config::read_group(path) {
            Ok(group) => Ok(group.roster()),
            Err(other) => Err(anyhow!("{error:#}; and as a group file: {other:#}")),
        },
    }
}

/// The members of `previous` after the changes that the arguments ask for.
fn changed(previous: &Roster, args: &StartArgs) -> anyhow::Result<Vec<Candidate>> {
    for name in args.remove.iter().chain(args.replace.iter().map(|replacement| &replacement.name)) {
        index_of(previous, name)?;
    }
    let mut members = Vec::new();
    for member in previous.members() {
        let replaced = args.replace.iter().find(|replacement| replacement.name == member.name);
        if let Some(replacement) = replaced {
            members.push(candidate(&replacement.by, None)?);
        } else if !args.remove.contains(&member.name) {
            members.push(Candidate {
                name: member.name.clone(),
                user: member.user,
                identity: hex::encode(member.identity.as_bytes()),
                peer: member.peer.clone(),
            });
        }
    }
    for file in &args.add {
        members.push(candidate(file, None)?);
    }
    Ok(members)
}

fn index_of(previous: &Roster, name: &str) -> anyhow::Result<u8> {
    let member = previous.members().iter().find(|member| member.name == name);
    let names = || previous.members().iter().map(|member| member.name.as_str()).collect::<Vec<_>>().join(", ");
    member.map(|member| member.index).ok_or_else(|| anyhow!("no old member is called `{name}`: there are {}", names()))
}

fn candidate(file: &MemberFile, default: Option<String>) -> anyhow::Result<Candidate> {
    let path = file.path.display();
    let keys = public_keys(&file.path)?;
    let peer = file.url.clone().or(default);
    let peer = peer.ok_or_else(|| anyhow!("`{path}` needs an address, such as {path}@http://10.0.0.5:7701"))?;
    Ok(Candidate { name: keys.name, user: keys.user, identity: keys.identity, peer })
}

/// What `keygen member` printed, or what stands readable in a key file that it made.
fn public_keys(path: &Path) -> anyhow::Result<PublicKeys> {
    if path.is_dir() {
        return Ok(Keyring::peek(&path.join(KEY_FILE))?);
    }
    let shown = path.display();
    serde_json::from_str(&read_text(path)?)
        .with_context(|| format!("`{shown}` is not what `lockstep keygen member` prints"))
}

fn read_text(path: &Path) -> anyhow::Result<String> {
    let context = || format!("cannot read `{}`", path.display());
    let length = std::fs::metadata(path).with_context(context)?.len();
    if length > FILE_BYTES_MAX {
        return Err(anyhow!("`{}` has {length} bytes, which is too much", path.display()));
    }
    std::fs::read_to_string(path).with_context(context)
}

async fn join(args: &JoinArgs) -> Result<Exit, Failure> {
    let config = args.member.load().map_err(Failure::configuration)?;
    telemetry::init(&config.log).map_err(Failure::configuration)?;
    let text = read_text(&args.proposal).map_err(Failure::configuration)?;
    let shown = args.proposal.display().to_string();
    let plan = Plan::parse(&text).with_context(|| format!("`{shown}` is refused")).map_err(Failure::bad_input)?;
    if let Some(previous) = &args.previous {
        take_over(previous, &config).map_err(Failure::configuration)?;
    }
    let places = Places { group: config.group.clone(), data: config.data.clone() };
    let previous = places.previous(&plan).map_err(Failure::configuration)?;
    plan.proposal.check_previous(previous.as_ref()).map_err(Failure::bad_input)?;
    if plan.proposal.kind() == Kind::First {
        let free = ceremony::check_free(&config.group, plan.proposal.group_id());
        free.map_err(Failure::configuration)?;
    }
    let ring = unlock(&plan, &config).map_err(Failure::configuration)?;
    let own = ring.keys().identity.verifying_key();
    let participants = plan.participants(previous.as_ref());
    if !participants.iter().any(|one| one.identity == own) {
        let error =
            anyhow!("the member of `{}` is neither an old nor a new member in `{shown}`", config.keys.display());
        return Err(Failure::bad_input(error));
    }
    // Before the service can know of it: then whoever has the port is there for good.
    let listener = match TcpListener::bind(config.listen_peer).await {
        Ok(listener) => Some(listener),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => None,
        Err(error) => {
            let context = format!("`listen.peer`: cannot listen on {}", config.listen_peer);
            return Err(Failure::configuration(anyhow::Error::new(error).context(context)));
        }
    };
    let store = Store::open_unclaimed(&config.database()).await.map_err(Failure::configuration)?;
    let row = ceremony::approval(&plan, text, clock::unix_seconds());
    store.approve_ceremony(&row).await.map_err(Failure::configuration)?;
    let Some(listener) = listener else {
        approved(&config.listen_peer, row.digest)?;
        return Ok(Exit::Done);
    };
    let directory = Directory::new(plan.proposal.group_id());
    directory.admit(row.digest, participants);
    let seconds: peer::Clock = Arc::new(clock::unix_seconds);
    let local = Local::new(directory, ring.keys().identity.clone(), seconds).map_err(Failure::configuration)?;
    let store = store.hold().await.map_err(Failure::configuration)?;
    let made = Ceremonies::new(store.clone(), local.clone(), &config.peer, ring, places);
    let ceremonies = made.map_err(Failure::configuration)?;
    take_part(listener, local, ceremonies, store, row).await
}

/// Opens the key file by the rules of the group's chains.
fn unlock(plan: &Plan, config: &MemberConfig) -> anyhow::Result<Keyring> {
    let chains: Vec<_> = match &plan.terms {
        Some(terms) => terms.chains.iter().map(|chain| chain.id).collect(),
        None => config::read_group(&config.group)?.chains().keys().copied().collect(),
    };
    Ok(startup::unlock_for_chains(config, chains)?)
}

/// Copies the roster before into the member's folder.
fn take_over(path: &Path, config: &MemberConfig) -> anyhow::Result<()> {
    let roster = read_roster(path)?;
    let place = config::roster_path(&config.data, roster.generation());
    if !place.exists() {
        std::fs::create_dir_all(&config.data)?;
        std::fs::copy(path, &place).with_context(|| format!("cannot write `{}`", place.display()))?;
    }
    Ok(())
}

fn approved(address: &SocketAddr, ceremony: B256) -> Result<(), Failure> {
    let _ = writeln!(
        io::stderr(),
        "approved. Something listens on {address} already: if it is this member's service, it takes part now; \
         `lockstep ceremony status` shows how far it is"
    );
    print_json(&json!({ "approved": true, "ceremony": ceremony, "service_runs": true }))
}

/// Serves the ceremony on the member's port until it has ended.
async fn take_part(
    listener: TcpListener,
    local: Local,
    ceremonies: Ceremonies,
    store: Store,
    row: crate::store::CeremonyRow,
) -> Result<Exit, Failure> {
    let interrupted = stop_signal().map_err(|error| Failure::new(Exit::TryAgain, error))?;
    let stop = CancellationToken::new();
    let keeper = tokio::spawn(keep_lease(store.clone(), stop.clone()));
    let server = tokio::spawn(peer::serve_ceremony(listener, local, ceremonies.speaker()));
    let teller = tokio::spawn(tell(store.clone(), row.digest));
    let finished = async {
        let finish = ceremonies.finish(&row, &stop);
        tokio::pin!(finish, interrupted);
        tokio::select! {
            ended = &mut finish => ended,
            _ = &mut interrupted => {
                stop.cancel();
                finish.await
            }
        }
    };
    let ended = Box::pin(finished).await;
    teller.abort();
    // Who still waits for an answer sees that this end is gone.
    server.abort();
    keeper.abort();
    store.close().await;
    match ended {
        Ok(Some(ended @ Ended::Done { .. })) => {
            print_json(&ended)?;
            Ok(Exit::Done)
        }
        Ok(_) => Err(Failure::new(Exit::TryAgain, anyhow!("interrupted: join again to go on where this stopped"))),
        Err(error @ CeremonyError::GivenUp(_)) => Err(Failure::new(Exit::Negative, error)),
        Err(error @ (CeremonyError::Failed(_) | CeremonyError::Store(_))) => Err(Failure::new(Exit::TryAgain, error)),
        Err(error) => Err(Failure::configuration(error)),
    }
}

/// Says that this process lives. Without the lease it stops: then nothing more can be promised.
async fn keep_lease(store: Store, stop: CancellationToken) {
    loop {
        tokio::time::sleep(BEAT).await;
        if store.beat().await.is_err_and(|error| error.is_lost_lease()) {
            return stop.cancel();
        }
    }
}

/// Says on standard error what a waiting operator wants to know, each time that it changes.
async fn tell(store: Store, ceremony: B256) {
    let mut last = String::new();
    loop {
        if let Ok(Some(shown)) = store.ceremony_progress::<Shown>(ceremony).await {
            let line = show::line(&shown);
            if line != last {
                let _ = writeln!(io::stderr(), "{line}");
                last = line;
            }
        }
        tokio::time::sleep(LOOK).await;
    }
}

async fn status(args: &StatusArgs) -> Result<Exit, Failure> {
    let config = args.member.load().map_err(Failure::configuration)?;
    let path = config.database();
    let reports = if path.exists() {
        let store = Store::open_unclaimed(&path).await.map_err(Failure::configuration)?;
        let reports = ceremony::reports(&store).await.map_err(Failure::configuration)?;
        store.close().await;
        reports
    } else {
        Vec::new()
    };
    if args.json {
        print_json(&reports)?;
    } else {
        super::print_line(&show::table(reports.last()))?;
    }
    let over = reports.last().is_some_and(|report| report.outcome.is_some());
    Ok(if over { Exit::Done } else { Exit::TryAgain })
}
