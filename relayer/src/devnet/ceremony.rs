//! The key ceremony of a development network: real processes of the same commands that operators use.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use lockstep_core::dkg::Deadlines;
use lockstep_core::group::roster::Roster;
use lockstep_core::group::{AssetFile, FeeFile, GroupFile};
use lockstep_core::{Amount, Uuid};
use tokio::process::{Child, Command};

use super::home::{Home, Place};
use super::network::{BTC, CHAIN, Network, Ports, make_users};
use super::process::MemberProcess;
use crate::ceremony::{Draft, Terms, reports};
use crate::config::{read_group_file, read_roster, roster_path};
use crate::keys::{XIN, system_entropy};
use crate::store::Store;

/// How long the processes of a ceremony may take, on a slow machine.
const PATIENCE: Duration = Duration::from_secs(180);
/// Between two looks at what is awaited.
const LOOK: Duration = Duration::from_millis(50);
/// What the fee of a registration is: 0.01.
const FEE: Amount = Amount::from_units(1_000_000);

/// Makes the group's key: every member joins the same proposal with `lockstep ceremony join`. All group files that come out
/// of it are the same.
pub(super) async fn first(folder: &Path, homes: &[Home], binary: &Path) -> Result<GroupFile> {
    let mut terms = Terms::new(&[CHAIN], FeeFile { asset: XIN, amount: FEE }, &mut system_entropy);
    // Nobody waits a minute for a demonstration.
    terms.delays.unknown = 2;
    let asset = |uuid: Uuid, symbol: &str| {
        let least = Amount::from_units(10_000);
        AssetFile { id: uuid, symbol: symbol.into(), minimum: least, floor: least }
    };
    terms.assets = vec![asset(XIN, "XIN"), asset(BTC, "BTC")];
    let members = homes.iter().map(Home::candidate).collect();
    let draft = Draft { members, threshold: None, round: 1, deadlines: deadlines() };
    let plan = draft.first(terms, &mut system_entropy)?;
    let proposal = folder.join("proposal.toml");
    std::fs::write(&proposal, plan.to_text()?).context("cannot write the proposal")?;

    let joining = homes.iter().map(|home| join(home, &proposal, None, binary)).collect::<Result<Vec<_>>>()?;
    for (home, child) in homes.iter().zip(joining) {
        joined(home, child).await?;
    }
    let mut texts = homes.iter().map(|home| (home, std::fs::read_to_string(group_of(home))));
    let (_, expected) = texts.next().context("a group has members")?;
    let expected = expected.context("no group file came out of the ceremony")?;
    for (home, text) in texts {
        ensure!(text.is_ok_and(|text| text == expected), "the group file in {} is another one", home.folder.display());
    }
    let any = homes.first().context("a group has members")?;
    Ok(read_group_file(&group_of(any))?)
}

/// Where a member's ceremony writes the group file.
fn group_of(home: &Home) -> PathBuf {
    home.folder.join("group.toml")
}

/// Long enough for a machine with other work, short enough that a mistake does not look like a standstill.
pub(super) fn deadlines() -> Deadlines {
    let s = u32::try_from(PATIENCE.as_secs()).unwrap_or(u32::MAX);
    Deadlines { join: s, deal: s, log: s, agree: s, finish: s }
}

/// Starts `lockstep ceremony join`.
pub(super) fn join(home: &Home, proposal: &Path, previous: Option<&Path>, binary: &Path) -> Result<Child> {
    let mut command = Command::new(binary);
    command.args(["ceremony", "join", "--config"]).arg(home.config()).arg(proposal);
    if let Some(previous) = previous {
        command.arg("--previous").arg(previous);
    }
    command
        .kill_on_drop(true)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("cannot start a ceremony")
}

/// Waits for the end of a [`join`].
pub(super) async fn joined(home: &Home, child: Child) -> Result<()> {
    let ended = tokio::time::timeout(PATIENCE, child.wait_with_output()).await;
    let Output { status, stderr, .. } =
        ended.with_context(|| format!("the ceremony in {} does not end", home.folder.display()))??;
    let said = String::from_utf8_lossy(&stderr);
    ensure!(status.success(), "the ceremony in {} ended with {status}: {said}", home.folder.display());
    Ok(())
}

/// What a ceremony cost one member.
#[derive(Clone, Debug, PartialEq)]
pub struct Cost {
    /// Its name.
    pub name: String,
    /// From the first approval until it held the roster.
    pub wall: Duration,
    /// Processor time of its service meanwhile; of who took part by the command, its part of what all the commands took.
    pub cpu: Duration,
    /// Bytes that it pulled.
    pub received: u64,
    /// Bytes that others pulled from it.
    pub sent: u64,
}

/// A ceremony on a running network.
#[derive(Clone, Debug)]
pub struct HandedOn {
    /// What all members hold now.
    pub roster: Roster,
    /// What it cost each participant.
    pub costs: Vec<Cost>,
}

impl Network {
    /// A folder for somebody who is not a member yet, with a ledger user of its own; `seat` is the index that it will have.
    ///
    /// # Errors
    /// When the ledger or the chain does not take the new accounts.
    pub async fn newcomer(&self, number: u8, seat: u8) -> Result<Home> {
        let name = format!("member-{number}");
        let accounts = make_users(&self.operator, &self.folder, &[&name]).await?;
        let keystore = accounts.get(&name).context("an account for the new member")?;
        let place = Place::new(seat, Ports::Free)?;
        let home = Home::make(self.folder.join(&name), &name, keystore, place, &self.chain).await?;
        home.configure(&self.wiring(), "../group.toml", Some(self.group.digest()))?;
        Ok(home)
    }

    /// Hands the key on: every old and new member's operator approves the same proposal. Members whose services run take part
    /// there, the others by the command. `previous` is what `old` hold.
    ///
    /// # Errors
    /// When a participant does not come to the same roster with the same key.
    pub async fn hand_on(&self, previous: &Roster, old: &[Home], new: &[Home], binary: &Path) -> Result<HandedOn> {
        let round = previous.round().saturating_add(1).max(2);
        let members = new.iter().map(Home::candidate).collect();
        let draft = Draft { members, threshold: None, round, deadlines: deadlines() };
        let plan = draft.after(previous, false, Vec::new())?;
        let proposal = self.folder.join(format!("proposal-{round}.toml"));
        std::fs::write(&proposal, plan.to_text()?).context("cannot write the proposal")?;

        let begun = Instant::now();
        let newcomers = new.iter().filter(|home| !old.iter().any(|other| other.folder == home.folder));
        let everybody: Vec<_> = old.iter().chain(newcomers).collect();
        let before: Vec<_> = everybody.iter().map(|home| self.processor_time(home)).collect();
        let commands_before = processor_time_of_children();
        let roster_before =
            (previous.generation() > 0).then(|| roster_path(&self.place_of(old), previous.generation()));
        let mut joining = Vec::new();
        for home in &everybody {
            joining.push((home, join(home, &proposal, roster_before.as_deref(), binary)?));
        }
        for (home, child) in joining {
            joined(home, child).await?;
        }
        let commands = processor_time_of_children().saturating_sub(commands_before);
        let by_command = before.iter().filter(|before| before.is_none()).count();
        let of_command = commands.checked_div(u32::try_from(by_command)?).unwrap_or_default();
        let (mut rosters, mut costs) = (Vec::new(), Vec::new());
        for (home, before) in everybody.iter().zip(before) {
            let roster = outcome(home, plan.proposal.generation()).await?;
            let now = self.processor_time(home);
            let cpu = before.zip(now).map_or(of_command, |(before, now)| now.saturating_sub(before));
            costs.push(cost(home, begun.elapsed(), cpu).await?);
            rosters.push(roster);
        }
        let roster = rosters.first().context("somebody takes part")?.clone();
        ensure!(rosters.iter().all(|other| other.digest() == roster.digest()), "members hold different rosters");
        ensure!(roster.key().key() == previous.key().key(), "the group key has changed");
        Ok(HandedOn { roster, costs })
    }

    /// Moves the ledger side to the members of `roster`, which they hold already: `voters`, t of those that sign now, decide it.
    ///
    /// # Errors
    /// With the words of the command that failed.
    pub async fn switch(&self, roster: &Roster, voters: &[Home], binary: &Path) -> Result<()> {
        let first = voters.first().context("somebody proposes")?;
        let file = roster_path(&first.folder, roster.generation());
        let name = format!("switch-{}", roster.generation());
        let what: [&OsStr; 3] = ["switch".as_ref(), "--roster".as_ref(), file.as_os_str()];
        self.govern(&name, &what, voters, binary).await
    }

    /// One of `voters` proposes `what`, all of them approve it, the first one submits it. `name` is that of the file that goes
    /// round.
    ///
    /// # Errors
    /// With the words of the command that failed.
    pub async fn govern(&self, name: &str, what: &[&OsStr], voters: &[Home], binary: &Path) -> Result<()> {
        let first = voters.first().context("somebody proposes")?;
        let proposal = self.folder.join(format!("{name}.json"));
        let proposal = proposal.as_os_str();
        let [out, yes, wait, seconds]: [&OsStr; 4] = ["--out", "--yes", "--wait", "180"].map(OsStr::new);
        govern(binary, first, "propose", &[what, &[out, proposal]].concat()).await?;
        for home in voters {
            govern(binary, home, "approve", &[proposal, yes]).await?;
        }
        govern(binary, first, "submit", &[proposal, wait, seconds]).await
    }

    fn place_of(&self, homes: &[Home]) -> PathBuf {
        homes.first().map_or_else(|| self.folder.clone(), |home| home.folder.clone())
    }

    /// Of the member's service, if it runs.
    fn processor_time(&self, home: &Home) -> Option<Duration> {
        self.service(home).ok().and_then(MemberProcess::pid).map(processor_time_of)
    }
}

/// Runs a command of governance as the operator of a member.
async fn govern(binary: &Path, home: &Home, verb: &str, rest: &[&OsStr]) -> Result<()> {
    let mut command = Command::new(binary);
    command.args(["govern", verb, "--config"]).arg(home.config()).args(rest).kill_on_drop(true).stdin(Stdio::null());
    let said = tokio::time::timeout(PATIENCE, command.output()).await;
    let Output { status, stderr, .. } = said.with_context(|| format!("`govern {verb}` does not end"))??;
    let said = String::from_utf8_lossy(&stderr);
    ensure!(status.success(), "`govern {verb}` of {} ended with {status}: {said}", home.name());
    Ok(())
}

/// What the first ceremony cost each member, once all its processes have ended.
pub(super) async fn first_costs(homes: &[Home], wall: Duration, cpu_of_all: Duration) -> Result<Vec<Cost>> {
    let each = cpu_of_all.checked_div(u32::try_from(homes.len())?).unwrap_or_default();
    let mut costs = Vec::new();
    for home in homes {
        costs.push(cost(home, wall, each).await?);
    }
    Ok(costs)
}

async fn cost(home: &Home, wall: Duration, cpu: Duration) -> Result<Cost> {
    let store = Store::open_unclaimed(&home.folder.join("lockstep.db")).await?;
    let report = reports(&store).await?.pop().context("a ceremony in the member's database")?;
    store.close().await;
    let (received, sent) = report.progress.map_or((0, 0), |shown| (shown.bytes_received, shown.bytes_sent));
    Ok(Cost { name: home.name().to_owned(), wall, cpu, received, sent })
}

/// The roster that came out of a ceremony at one member.
async fn outcome(home: &Home, generation: u32) -> Result<Roster> {
    let (path, begun) = (roster_path(&home.folder, generation), Instant::now());
    while !path.exists() {
        ensure!(begun.elapsed() < PATIENCE, "no {} comes out of the ceremony", path.display());
        tokio::time::sleep(LOOK).await;
    }
    Ok(read_roster(&path)?)
}

/// User and system time of a process, from `/proc/<pid>/stat` (proc(5), fields 14 and 15).
fn processor_time_of(pid: u32) -> Duration {
    ticks(&pid.to_string(), 11)
}

/// User and system time of all children of this process that have ended (proc(5), fields 16 and 17).
pub(super) fn processor_time_of_children() -> Duration {
    ticks("self", 13)
}

/// Two fields in hundredths of a second, counted behind the name of the program, which may hold spaces.
fn ticks(process: &str, skip: usize) -> Duration {
    let text = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    let fields = text.rsplit_once(')').map_or("", |(_, fields)| fields);
    let sum = fields.split_whitespace().skip(skip).take(2).filter_map(|field| field.parse::<u64>().ok()).sum::<u64>();
    Duration::from_millis(sum.saturating_mul(10))
}
