//! A whole development network on one machine: a chain, a ledger, users, a dealt group, its contract, and its members as
//! processes of their own.

use std::collections::BTreeMap;
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use alloy::primitives::{Address, U256};
use alloy::providers::Provider;
use anyhow::{Context, Result, bail, ensure};
use lockstep_core::group::{AssetFile, Group, GroupFile};
use lockstep_core::trace::ChainId;
use lockstep_core::{Amount, Uuid};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio_util::sync::CancellationToken;

use super::anvil::{Anvil, AnvilConfig, DEVELOPER, ForgeScript, run_forge_script};
use super::ledger::{self, LedgerConfig, Operator, RunningLedger};
use super::process::MemberProcess;
use crate::config;
use crate::evm::provider::{EvmProvider, provider};
use crate::keys::{Cost, DealMember, DealTerms, KEY_FILE, Keyring, MemberKeys, Passphrase, XIN, deal, system_entropy};
use crate::ledger::{Keystore, SafeApi, Seed};

/// The chain of every development network (DESIGN.md section 9).
pub const CHAIN: ChainId = 31_337;
/// BTC on the ledger's API: what the demo pays with.
pub const BTC: Uuid = Uuid::from_u128(0xc6d0_c728_2624_429b_8e0d_d9d1_9b65_92fa);
/// Members of a development group.
pub const MEMBERS: u8 = 4;
/// Users that a development network knows, each with money from the faucet.
pub const USERS: [&str; 4] = ["alice", "bob", "vault", "reverter"];
/// What the faucet gives each user: of XIN for fees, of BTC to play with.
const GIFT: [(Uuid, u128); 2] = [(XIN, 100_000_000), (BTC, 10_000_000_000)];
/// Gas money of a member: 100 ether of the development chain.
const GAS_MONEY_WEI: u128 = 100_000_000_000_000_000_000;
/// A script compiles the contracts first, where that was not done yet.
const SCRIPT_TIMEOUT: Duration = Duration::from_secs(180);
/// How long a member may take until it answers.
const MEMBER_TIMEOUT: Duration = Duration::from_secs(30);

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
    /// Credentials of the users, by name.
    pub users: BTreeMap<String, Keystore>,
    /// The chain.
    pub chain: EvmProvider,
    /// The ledger's operator.
    pub operator: Operator,
    anvil: Anvil,
    ledger: RunningLedger,
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
        let NetworkConfig { folder, binary, ports } = config;
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
            kernel: loopback(port(7690)),
            seed: system_entropy(),
            finality_delay: Duration::ZERO,
        };
        let ledger = ledger::serve(config, stop.clone()).await.context("the embedded ledger does not start")?;
        say(&format!("ledger    Safe API http://{}, kernel RPC http://{}", ledger.api, ledger.kernel));
        let operator = Operator::new(&format!("http://{}", ledger.api))?;

        let users = make_users(&operator, &folder, &USERS).await?;
        let names: Vec<String> = (1..=MEMBERS).map(|index| format!("member-{index}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let accounts = make_users(&operator, &folder, &names).await?;
        let places = (0..u16::from(MEMBERS)).map(|index| Place::new(index, ports)).collect::<Result<Vec<_>>>()?;
        let mut keys = make_members(&accounts, &chain).await?;
        let mut file = deal_group(&mut keys, &places)?;
        say(&format!("group     {} members, threshold {}, key by a trusted dealer", MEMBERS, file.threshold));

        let group_path = folder.join("group.toml");
        write_group(&group_path, &file)?;
        deploy_group(&folder, &group_path, &mut file, &anvil.url()).await?;
        write_group(&group_path, &file)?;
        let group = config::read_group(&group_path)?;
        let contract = group.contract(CHAIN).context("no contract after the deployment")?;
        say(&format!("contract  group contract {contract} deployed by forge script"));

        let mut network =
            Self { group_path, group, members: Vec::new(), users, chain, operator, anvil, ledger, stop, folder };
        for (keys, place) in keys.iter().zip(&places) {
            let process = network.start_member(keys, place, &binary, ports)?;
            network.members.push(process);
        }
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

    fn start_member(&self, keys: &MemberKeys, place: &Place, binary: &Path, ports: Ports) -> Result<MemberProcess> {
        let index = place.index;
        let folder = self.folder.join(format!("member-{index}"));
        std::fs::create_dir_all(folder.join("keys"))?;
        save_keys(&folder.join("keys"), keys)?;
        let takeover_ms = 1_000;
        let poll_ms = if ports == Ports::Free { 100 } else { 250 };
        let text = format!(
            "# Member {index} of a development network.\n\
             data = \".\"\n\
             group = \"../group.toml\"\n\
             passphrase_file = \"keys/passphrase\"\n\
             group_digest = \"{digest}\"\n\
             member = {index}\n\n\
             [ledger]\n\
             api = \"{api}\"\n\
             kernel = [\"http://{kernel}\"]\n\
             settle_ms = 0\n\
             poll_ms = {poll_ms}\n\n\
             [listen]\n\
             peer = \"{peer}\"\n\
             api = \"{status}\"\n\n\
             [submit]\n\
             takeover_ms = {takeover_ms}\n\n\
             [chains.{CHAIN}]\n\
             rpc = [\"{chain}\"]\n\
             poll_ms = {poll_ms}\n",
            digest = self.group.digest(),
            api = self.ledger_url(),
            kernel = self.ledger.kernel,
            peer = place.peer,
            status = place.api,
            chain = self.chain_url(),
        );
        let config = folder.join("member.toml");
        std::fs::write(&config, text)?;
        MemberProcess::start(index, binary, &config, place.peer, place.api)
    }
}

/// Where a member listens.
#[derive(Clone, Copy, Debug)]
struct Place {
    index: u8,
    peer: SocketAddr,
    api: SocketAddr,
}

impl Place {
    fn new(index: u16, ports: Ports) -> Result<Self> {
        let (peer, api) = match ports {
            Ports::Fixed => (loopback(7701_u16.saturating_add(index)), loopback(7801_u16.saturating_add(index))),
            Ports::Free => (free_address()?, free_address()?),
        };
        Ok(Self { index: u8::try_from(index)?.saturating_add(1), peer, api })
    }
}

fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

/// An address that is free now; another process may still take it before the member does, who then says so.
fn free_address() -> Result<SocketAddr> {
    Ok(std::net::TcpListener::bind(loopback(0))?.local_addr()?)
}

async fn make_users(operator: &Operator, folder: &Path, names: &[&str]) -> Result<BTreeMap<String, Keystore>> {
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

async fn make_members(accounts: &BTreeMap<String, Keystore>, chain: &EvmProvider) -> Result<Vec<MemberKeys>> {
    let mut members = Vec::new();
    for (name, keystore) in accounts {
        let keys = MemberKeys::generate(name, Some(keystore.clone()), &mut system_entropy)?;
        let money = (keys.evm.address(), U256::from(GAS_MONEY_WEI));
        chain.raw_request::<_, ()>("anvil_setBalance".into(), money).await.context("cannot give gas money")?;
        members.push(keys);
    }
    Ok(members)
}

/// Writes a member's key file and its passphrase beside it: quick to open, and worth nothing.
fn save_keys(folder: &Path, keys: &MemberKeys) -> Result<()> {
    let passphrase = Passphrase::random(&mut system_entropy);
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(folder.join("passphrase"))
        .with_context(|| format!("cannot write a passphrase into {}", folder.display()))?;
    file.write_all(passphrase.expose().as_bytes())?;
    Keyring::create(&folder.join(KEY_FILE), &passphrase, Cost::QUICK, keys.clone())?;
    Ok(())
}

fn deal_group(keys: &mut [MemberKeys], places: &[Place]) -> Result<GroupFile> {
    let member = |(keys, place): (&MemberKeys, &Place)| DealMember {
        keys: keys.public(),
        peer: format!("http://{}", place.peer),
    };
    let members: Vec<_> = keys.iter().zip(places).map(member).collect();
    let terms =
        DealTerms { threshold: None, chains: vec![CHAIN], fee_asset: XIN, fee_amount: Amount::from_units(1_000_000) };
    let dealt = deal(&members, &terms, &mut system_entropy)?;
    ensure!(dealt.shares.len() == keys.len(), "the dealer made another number of shares");
    for (keys, share) in keys.iter_mut().zip(dealt.shares) {
        keys.hold(share)?;
    }
    let mut file = dealt.file;
    // Nobody waits a minute for a demonstration.
    file.delays.unknown = 2;
    let asset = |uuid, symbol: &str| {
        let least = Amount::from_units(10_000);
        AssetFile { id: uuid, symbol: symbol.into(), minimum: least, floor: least }
    };
    file.assets = vec![asset(XIN, "XIN"), asset(BTC, "BTC")];
    Ok(file)
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
