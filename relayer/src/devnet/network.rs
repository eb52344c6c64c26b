//! A whole development network on one machine: a chain, a ledger, users, a group that makes its key in a ceremony, its contract, and its members as
//! processes of their own.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use alloy::primitives::Address;
use anyhow::{Context, Result, bail};
use lockstep_core::group::{Group, GroupFile};
use lockstep_core::trace::ChainId;
use lockstep_core::{Amount, Uuid};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio_util::sync::CancellationToken;

use super::anvil::{Anvil, AnvilConfig, DEVELOPER, ForgeScript, run_forge_script};
use super::ceremony::{self, Cost};
use super::home::{Home, Place, Wiring, loopback};
use super::ledger::{self, LedgerConfig, Operator, RunningLedger};
use super::process::MemberProcess;
use crate::config;
use crate::evm::provider::{EvmProvider, provider};
use crate::keys::{XIN, system_entropy};
use crate::ledger::{Keystore, SafeApi, Seed};

/// The chain of every development network (DESIGN.md section 9).
pub const CHAIN: ChainId = 31_337;
/// BTC on the ledger's API: what the demo pays with.
pub const BTC: Uuid = Uuid::from_u128(0xc6d0_c728_2624_429b_8e0d_d9d1_9b65_92fa);
/// Members of a development group.
pub const MEMBERS: u8 = 4;
/// Where the nodes of the kernel listen, on fixed ports; of three, two must agree that something is final.
const KERNEL_PORTS: [u16; 3] = [7690, 7691, 7692];
/// Users that a development network knows, each with money from the faucet.
pub const USERS: [&str; 5] = ["alice", "bob", "vault", "reverter", "accounts"];
/// What the faucet gives each user: of XIN for fees, of BTC to play with.
const GIFT: [(Uuid, u128); 2] = [(XIN, 100_000_000), (BTC, 10_000_000_000)];
/// A script compiles the contracts first, where that was not done yet.
const SCRIPT_TIMEOUT: Duration = Duration::from_secs(180);
/// How long a member may take until it answers.
const MEMBER_TIMEOUT: Duration = Duration::from_secs(120);
/// How often each member looks at ledger and chain: together they look this often, however many they are, so that the idle
/// ones leave the machine to those that work.
const POLL_MS: u64 = 25;

/// Which ports a network takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ports {
    /// Those of DESIGN.md section 9, so that commands can be typed from a page.
    Fixed,
    /// Free ones of the system, so that two networks never meet.
    Free,
}

/// What a network is started with.
#[derive(Clone, Debug)]
pub struct NetworkConfig {
    /// Where everything is kept; empty or new.
    pub folder: PathBuf,
    /// The `lockstep` binary that members run.
    pub binary: PathBuf,
    /// Which ports.
    pub ports: Ports,
    /// How many members.
    pub members: u8,
}

/// A running network. [`Network::stop`] ends it in order; dropping it kills the processes.
#[derive(Debug)]
pub struct Network {
    /// Where everything is kept.
    pub folder: PathBuf,
    /// The group file.
    pub group_path: PathBuf,
    /// The group.
    pub group: Group,
    /// Members' processes, in the order of their indexes.
    pub members: Vec<MemberProcess>,
    /// Members' folders, in the order of their indexes.
    pub homes: Vec<Home>,
    /// What the ceremony of the group's key cost each of them.
    pub costs: Vec<Cost>,
    /// Credentials of the users, by name.
    pub users: BTreeMap<String, Keystore>,
    /// The chain.
    pub chain: EvmProvider,
    /// The ledger's operator.
    pub operator: Operator,
    anvil: Anvil,
    ledger: RunningLedger,
    poll_ms: u64,
    stop: CancellationToken,
}

/// What the deploy script writes.
#[derive(Debug, Deserialize)]
struct Deployed {
    contract: Address,
    block: u64,
}

impl Network {
    /// Sets up everything in the folder and starts it.
    ///
    /// # Errors
    /// Says which part did not come up, and why.
    pub async fn start(config: NetworkConfig, say: &mut dyn FnMut(&str)) -> Result<Self> {
        let NetworkConfig { folder, binary, ports, members } = config;
        std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let folder = folder.canonicalize()?;
        let stop = CancellationToken::new();
        let port = |fixed: u16| if ports == Ports::Fixed { fixed } else { 0 };

        let anvil = Anvil::start(&AnvilConfig { port: port(8545), ..AnvilConfig::new(CHAIN) }).await?;
        let chain = provider(&anvil.url())?;
        say(&format!("chain     anvil, chain id {CHAIN}, {}", anvil.url()));
        let config = LedgerConfig {
            database: folder.join("ledger.db"),
            api: loopback(port(7700)),
            kernel: KERNEL_PORTS.map(|fixed| loopback(port(fixed))).to_vec(),
            seed: system_entropy(),
            finality_delay: Duration::ZERO,
        };
        let ledger = ledger::serve(config, stop.clone()).await.context("the embedded ledger does not start")?;
        let nodes = ledger.kernel_urls().join(", ");
        say(&format!("ledger    Safe API http://{}, kernel nodes {nodes}", ledger.api));
        let operator = Operator::new(&format!("http://{}", ledger.api))?;

        let users = make_users(&operator, &folder, &USERS).await?;
        let names: Vec<String> = (1..=members).map(|index| format!("member-{index}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let accounts = make_users(&operator, &folder, &names).await?;
        let poll_ms = if ports == Ports::Free { POLL_MS.saturating_mul(members.max(MEMBERS).into()) } else { 250 };
        let wiring = Wiring {
            ledger: format!("http://{}", ledger.api),
            kernel: ledger.kernel_urls(),
            chain: anvil.url(),
            poll_ms,
        };
        let mut homes = Vec::new();
        for (index, name) in (1..=members).zip(&names) {
            let keystore = accounts.get(*name).context("an account for each member")?;
            let home = Home::make(folder.join(name), name, keystore, Place::new(index, ports)?, &chain).await?;
            home.configure(&wiring, "group.toml", None)?;
            homes.push(home);
        }
        let (begun, before) = (Instant::now(), ceremony::processor_time_of_children());
        let mut file = ceremony::first(&folder, &homes, &binary).await?;
        let cpu = ceremony::processor_time_of_children().saturating_sub(before);
        let costs = ceremony::first_costs(&homes, begun.elapsed(), cpu).await?;
        let (threshold, took) = (file.threshold, begun.elapsed().as_secs_f32());
        say(&format!("ceremony  {members} members made a key in {took:.1} s, {threshold} of them must sign"));

        let group_path = folder.join("group.toml");
        write_group(&group_path, &file)?;
        deploy_group(&folder, &group_path, &mut file, &anvil.url()).await?;
        write_group(&group_path, &file)?;
        let group = config::read_group(&group_path)?;
        let contract = group.contract(CHAIN).context("no contract after the deployment")?;
        say(&format!("contract  group contract {contract} deployed by forge script"));

        let mut members = Vec::new();
        for home in &homes {
            home.configure(&wiring, "../group.toml", Some(group.digest()))?;
            members.push(home.start(&binary)?);
        }
        let mut network = Self {
            folder,
            group_path,
            group,
            members,
            homes,
            costs,
            users,
            chain,
            operator,
            anvil,
            ledger,
            poll_ms,
            stop,
        };
        for member in &mut network.members {
            member.ready(MEMBER_TIMEOUT).await?;
            say(&format!("member {}  peer {}, status http://{}/status", member.index(), member.peer(), member.api()));
        }
        Ok(network)
    }

    /// The ledger's API as one of the users.
    ///
    /// # Errors
    /// For a name that is no user's.
    pub fn as_user(&self, name: &str) -> Result<SafeApi> {
        let keystore = self.users.get(name).with_context(|| format!("no user {name}"))?;
        Ok(SafeApi::new(&self.ledger_url(), keystore.clone())?)
    }

    /// Ledger id of a user.
    ///
    /// # Errors
    /// For a name that is no user's.
    pub fn user(&self, name: &str) -> Result<Uuid> {
        Ok(self.users.get(name).with_context(|| format!("no user {name}"))?.app_id)
    }

    /// Where the ledger's API is.
    pub fn ledger_url(&self) -> String {
        format!("http://{}", self.ledger.api)
    }

    /// Where the chain's RPC is.
    pub fn chain_url(&self) -> String {
        self.anvil.url()
    }

    /// Where the nodes of the ledger's kernel are.
    pub fn kernel_urls(&self) -> Vec<String> {
        self.ledger.kernel_urls()
    }

    /// The running service of a member.
    ///
    /// # Errors
    /// Where none was started.
    pub fn service(&self, home: &Home) -> Result<&MemberProcess> {
        let service = self.members.iter().find(|member| member.config() == home.config());
        service.with_context(|| format!("{} does not run", home.name()))
    }

    /// The same, to be killed and started.
    ///
    /// # Errors
    /// As [`Self::service`].
    pub fn service_mut(&mut self, home: &Home) -> Result<&mut MemberProcess> {
        let service = self.members.iter_mut().find(|member| member.config() == home.config());
        service.with_context(|| format!("{} does not run", home.name()))
    }

    /// Starts the service of a member that came later.
    ///
    /// # Errors
    /// When it does not answer in time.
    pub async fn take_in(&mut self, home: &Home, binary: &Path) -> Result<()> {
        let mut member = home.start(binary)?;
        member.ready(MEMBER_TIMEOUT).await?;
        self.members.push(member);
        Ok(())
    }

    /// Takes a service out of those that [`Self::stop`] ends.
    ///
    /// # Errors
    /// As [`Self::service`].
    pub fn release(&mut self, home: &Home) -> Result<MemberProcess> {
        let place = self.members.iter().position(|member| member.config() == home.config());
        Ok(self.members.remove(place.with_context(|| format!("{} does not run", home.name()))?))
    }

    /// What members must know to reach ledger and chain.
    pub(super) fn wiring(&self) -> Wiring {
        Wiring { ledger: self.ledger_url(), kernel: self.kernel_urls(), chain: self.chain_url(), poll_ms: self.poll_ms }
    }

    /// Ends members, ledger and chain, in this order.
    ///
    /// # Errors
    /// What did not stop in time or failed on the way.
    pub async fn stop(self) -> Result<()> {
        let Self { members, anvil, ledger, stop, .. } = self;
        for member in members {
            member.stop().await?;
        }
        stop.cancel();
        ledger.stopped().await?;
        Ok(anvil.stop().await?)
    }
}

pub(super) async fn make_users(
    operator: &Operator,
    folder: &Path,
    names: &[&str],
) -> Result<BTreeMap<String, Keystore>> {
    let mut users = BTreeMap::new();
    for name in names {
        let (session, spend) = (Seed::new(system_entropy()), Seed::new(system_entropy()));
        let keystore = operator.add_user(name, session, spend).await?;
        for (asset, units) in GIFT {
            let request = Uuid::new_v5(&keystore.app_id, asset.as_bytes());
            let receivers: &[Uuid] = &[keystore.app_id];
            operator.mint(request, asset, Amount::from_units(units), (receivers, 1), &[]).await?;
        }
        super::users::save(&folder.join("users"), name, &keystore)?;
        users.insert((*name).to_owned(), keystore);
    }
    Ok(users)
}

fn write_group(path: &Path, file: &GroupFile) -> Result<()> {
    let text = toml::to_string(file).context("the group file cannot be written as TOML")?;
    std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

async fn deploy_group(folder: &Path, group: &Path, file: &mut GroupFile, url: &str) -> Result<()> {
    let out = folder.join("deployed.json");
    let variables =
        [("LOCKSTEP_GROUP_FILE", group.display().to_string()), ("LOCKSTEP_DEPLOY_OUT", out.display().to_string())];
    let deployed: Deployed = run_script("script/Deploy.s.sol:Deploy", &variables, url, &out).await?;
    for chain in file.chains.iter_mut().filter(|chain| chain.id == CHAIN) {
        chain.contract = Some(deployed.contract);
        chain.start_block = deployed.block;
    }
    Ok(())
}

/// Runs a script of contracts/ and reads the JSON that it writes to `out`.
pub(super) async fn run_script<T: DeserializeOwned>(
    script: &str,
    variables: &[(&str, String)],
    url: &str,
    out: &Path,
) -> Result<T> {
    let project = contracts_folder()?;
    let forge =
        ForgeScript { project: &project, script, rpc_url: url, sender: DEVELOPER, variables, timeout: SCRIPT_TIMEOUT };
    run_forge_script(&forge).await?;
    let text = std::fs::read_to_string(out).with_context(|| format!("{script} wrote no {}", out.display()))?;
    serde_json::from_str(&text).with_context(|| format!("{script} wrote something else into {}", out.display()))
}

/// The foundry project: beside the working directory, or where this binary was built.
fn contracts_folder() -> Result<PathBuf> {
    let built = Path::new(env!("CARGO_MANIFEST_DIR")).join("../contracts");
    for folder in [PathBuf::from("contracts"), built] {
        if folder.join("foundry.toml").is_file() {
            return Ok(folder.canonicalize()?);
        }
    }
    bail!("no contracts/foundry.toml here: run this in the project's folder")
}
