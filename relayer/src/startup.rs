//! Everything that can be wrong when a member starts, checked before anything is started.
//!
//! In this order, cheapest and most local first; each refusal is a message of its own:
//!
//! 1. configuration, group file (its digest, this member, its chains), key file (whose it is, its share); whether this member
//!    runs already;
//! 2. the ledger: reachable, this member's session, its spend key; a quorum of kernel nodes;
//! 3. each chain: reachable, chain id, EIP-2537, the contract and that it is this group's with this key;
//! 4. the ports.
//!
//! Nothing is written and nothing listens until all of it has passed.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use lockstep_core::group::{self, Chain, DEVELOPMENT_CHAINS, Generations, Group, LearnError};
use lockstep_core::trace::ChainId;
use lockstep_core::{B256, Uuid};
use thiserror::Error;
use tokio::net::TcpListener;
use tracing::{info, warn};

use crate::config::{ChainConfig, ConfigError, MemberConfig};
use crate::evm::check::{ChainIdentity, CheckError, ExpectedChain, check_chain};
use crate::evm::provider::{EvmProvider, ProviderError, provider_within};
use crate::exit::Exit;
use crate::keys::{Floor, KeyError, Keyring, MemberSecrets, Source};
use crate::ledger::{ClientError, KernelNodes, LedgerError, SafeApi};
use crate::store::{Store, StoreError};

/// A member that may start.
#[derive(Debug)]
pub struct Ready {
    /// What the operator decided.
    pub config: MemberConfig,
    /// What all members agreed on.
    pub group: Arc<Group>,
    /// The member's key file, unlocked: shares of other generations are saved there and erased.
    pub keys: Keyring,
    /// The group's members by generation: the group file's, and those of the rosters in the member's folder.
    pub known: Generations,
    /// The member's secrets.
    pub secrets: MemberSecrets,
    /// The ledger's API, with the member's session.
    pub ledger: SafeApi,
    /// The kernel nodes, of which a quorum answers.
    pub kernel: KernelNodes,
    /// Every chain of the group.
    pub chains: BTreeMap<ChainId, ReadyChain>,
    /// Bound, not yet served: for peers.
    pub peer: TcpListener,
    /// Bound, not yet served: for the operator.
    pub api: TcpListener,
}

/// A chain that a member may work on.
#[derive(Debug)]
pub struct ReadyChain {
    /// What the group file says.
    pub chain: Chain,
    /// What the first endpoint says.
    pub identity: ChainIdentity,
    /// When an event counts.
    pub finality: group::Finality,
    /// The endpoints that passed all checks; the first one is the first that is configured.
    pub providers: Vec<EvmProvider>,
}

/// Checks all that `config` leads to.
///
/// # Errors
/// The first thing that is wrong.
pub async fn prepare(config: MemberConfig) -> Result<Ready, StartError> {
    let group = config.load_group()?;
    let keys = unlock(&config, &group)?;
    let known = known_generations(&group, &config)?;
    let secrets = keys.keys().member_of(&known, config.member)?;
    if let Some(chain) = group.chains().values().find(|chain| chain.contract.is_none()) {
        return Err(StartError::NotDeployed { chain: chain.id });
    }
    Store::check_free(&config.database()).await?;
    let ledger = SafeApi::new(config.ledger.api.expose().as_str(), secrets.ledger.clone())?;
    let ledger = ledger.within(config.ledger.timeout())?;
    check_ledger(&ledger, &config, &secrets).await?;
    let kernel = ready_kernel(&config).await?;
    let mut chains = BTreeMap::new();
    for (id, endpoints) in &config.chains {
        if let Some(chain) = group.chains().get(id) {
            chains.insert(*id, ready_chain(&group, chain, endpoints).await?);
        }
    }
    let peer = bind("listen.peer", config.listen_peer).await?;
    let api = bind("listen.api", config.listen_api).await?;
    info!(member = config.member, group = %group.id(), digest = %group.digest(), "all checks passed");
    Ok(Ready { group: Arc::new(group), config, keys, known, secrets, ledger, kernel, chains, peer, api })
}

/// The group file's members, and those of every `generation-<g>.toml` in the member's folder.
///
/// # Errors
/// Names the first roster that cannot be read or is no outcome of this group's ceremonies.
pub fn known_generations(group: &Group, config: &MemberConfig) -> Result<Generations, StartError> {
    let mut known = Generations::new(group.roster());
    for roster in config.load_rosters()? {
        let generation = roster.generation();
        known.learn(roster).map_err(|source| StartError::Roster { generation, source })?;
    }
    Ok(known)
}

/// Opens the key file of a member of a group.
///
/// # Errors
/// Says why it stays closed.
pub fn unlock(config: &MemberConfig, group: &Group) -> Result<Keyring, KeyError> {
    unlock_for_chains(config, group.chains().keys().copied())
}

/// Opens the key file of a member of a group that serves these chains. Quick key derivation is for groups of development
/// chains only.
///
/// # Errors
/// No passphrase, or a file that it does not open.
pub fn unlock_for_chains(
    config: &MemberConfig,
    chains: impl IntoIterator<Item = ChainId>,
) -> Result<Keyring, KeyError> {
    let mut chains = chains.into_iter().peekable();
    let is_development = chains.peek().is_some() && chains.all(|id| DEVELOPMENT_CHAINS.contains(&id));
    let floor = if is_development { Floor::Development } else { Floor::Standard };
    let passphrase = Source::of_keys(config.passphrase_file.as_deref()).read()?;
    Keyring::open(&config.keys, &passphrase, floor)
}

async fn check_ledger(ledger: &SafeApi, config: &MemberConfig, secrets: &MemberSecrets) -> Result<(), StartError> {
    let url = || config.ledger.api.to_string();
    let me = ledger.me().await.map_err(|source| match source.retryable() {
        true => StartError::LedgerUnreachable { url: url(), source: Box::new(source) },
        false => StartError::LedgerRefused { url: url(), source: Box::new(source) },
    })?;
    let expected = secrets.ledger.app_id;
    if me.user_id != expected {
        return Err(StartError::LedgerUser { expected, found: me.user_id });
    }
    let own = secrets.ledger.spend_key().public().to_bytes();
    match me.spend_public_key {
        Some(key) if me.has_safe && key.0 == own => Ok(()),
        Some(key) if me.has_safe && secrets.ledger.other_spend_public_key() == Some(key.0) => {
            let is_sum = !secrets.ledger.is_spend_private_sum;
            Err(StartError::SpendForm { user: expected, is_sum })
        }
        Some(_) if me.has_safe => Err(StartError::SpendKey { user: expected }),
        Some(_) | None => Err(StartError::NotRegistered { user: expected }),
    }
}

/// Asks for a transaction that nobody has: a quorum must say so.
async fn ready_kernel(config: &MemberConfig) -> Result<KernelNodes, StartError> {
    let urls: Vec<_> = config.ledger.kernel.iter().map(|url| url.expose().to_string()).collect();
    let quorum = config.ledger.kernel_quorum();
    let nodes = KernelNodes::new(&urls, quorum)?.within(config.ledger.timeout())?;
    let asked = nodes.transaction(B256::ZERO).await;
    asked.map_err(|source| StartError::Kernel { nodes: urls.len(), quorum, source: Box::new(source) })?;
    Ok(nodes)
}

async fn ready_chain(group: &Group, chain: &Chain, endpoints: &ChainConfig) -> Result<ReadyChain, StartError> {
    let expected = ExpectedChain::of(group, chain).ok_or(StartError::NotDeployed { chain: chain.id })?;
    let (mut providers, mut first) = (Vec::new(), None);
    for url in &endpoints.rpc {
        let provider = provider_within(url.expose().as_str(), endpoints.timeout()).map_err(StartError::Provider)?;
        match check_chain(&provider, url.expose().as_str(), &expected).await {
            Ok(identity) => {
                providers.push(provider);
                first.get_or_insert(identity);
            }
            // A spare endpoint that is down is no reason to stay down; one that says something else is.
            Err(error @ CheckError::Unreachable { .. }) if first.is_some() => {
                warn!(chain = chain.id, %url, %error, "spare endpoint is left out");
            }
            Err(error) => return Err(error.into()),
        }
    }
    let identity = first.ok_or(StartError::NoEndpoint { chain: chain.id })?;
    Ok(ReadyChain { chain: chain.clone(), identity, finality: chain.finality, providers })
}

async fn bind(key: &'static str, address: SocketAddr) -> Result<TcpListener, StartError> {
    TcpListener::bind(address).await.map_err(|source| {
        if source.kind() == io::ErrorKind::AddrInUse {
            return StartError::PortInUse { key, address, source };
        }
        StartError::Bind { key, address, source }
    })
}

/// Why a member does not start.
#[derive(Debug, Error)]
pub enum StartError {
    /// The configuration or the group file.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The key file.
    #[error(transparent)]
    Keys(#[from] KeyError),
    /// A roster of another group, or one that nobody vouches for.
    #[error("generation-{generation}.toml in the member's folder cannot be used")]
    Roster {
        /// Its generation.
        generation: u32,
        /// Why not.
        #[source]
        source: LearnError,
    },
    /// The member runs already, or its database cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The group file is from before the deployment.
    #[error("chain {chain} has no `contract` in the group file: deploy it first")]
    NotDeployed {
        /// The chain.
        chain: ChainId,
    },
    /// No client for the ledger.
    #[error("cannot make a client of the ledger")]
    LedgerClient(#[from] ClientError),
    /// No answer, or a server in trouble.
    #[error(
        "the ledger at {url} cannot be reached, and nothing was started: look at the network, the name, and `ledger.api` in \
         the configuration (deploy/ledger.md)"
    )]
    LedgerUnreachable {
        /// Scheme, host and port.
        url: String,
        /// What happened.
        #[source]
        source: Box<LedgerError>,
    },
    /// An answer, but no welcome.
    #[error("the ledger at {url} does not take this member's session")]
    LedgerRefused {
        /// Scheme, host and port.
        url: String,
        /// What it said.
        #[source]
        source: Box<LedgerError>,
    },
    /// A session of another user.
    #[error("the ledger takes the session in the key file for user {found}, expected {expected}")]
    LedgerUser {
        /// The key file's.
        expected: Uuid,
        /// The ledger's.
        found: Uuid,
    },
    /// A user that cannot be paid yet.
    #[error("ledger user {user} has no spend key registered")]
    NotRegistered {
        /// The user.
        user: Uuid,
    },
    /// The right spend key, read as a seed where it is a scalar, or the other way round.
    #[error(
        "the spend key in the key file is the one that ledger user {user} registered, in its other form: set \
         `is_spend_private_sum` to {is_sum} in the keystore file, and import it again with `lockstep keys import \
         --ledger-keystore`"
    )]
    SpendForm {
        /// The user.
        user: Uuid,
        /// What it must be.
        is_sum: bool,
    },
    /// A spend key that moves nothing.
    #[error("the spend key in the key file is not the one that ledger user {user} registered")]
    SpendKey {
        /// The user.
        user: Uuid,
    },
    /// Too few kernel nodes answer.
    #[error("fewer than {quorum} of the {nodes} kernel nodes answer")]
    Kernel {
        /// Nodes configured.
        nodes: usize,
        /// Nodes needed.
        quorum: usize,
        /// The first failure.
        #[source]
        source: Box<LedgerError>,
    },
    /// No client for a chain.
    #[error("cannot make a client of a chain")]
    Provider(#[source] ProviderError),
    /// No endpoint at all.
    #[error("chain {chain} has no RPC endpoint")]
    NoEndpoint {
        /// The chain.
        chain: ChainId,
    },
    /// A chain that is not as the group file says.
    #[error(transparent)]
    Chain(#[from] CheckError),
    /// Somebody listens there, perhaps this very member.
    #[error("`{key}`: {address} is in use: another process listens there, perhaps this member already runs")]
    PortInUse {
        /// The key.
        key: &'static str,
        /// The address.
        address: SocketAddr,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// An address that cannot be listened on.
    #[error("`{key}`: cannot listen on {address}")]
    Bind {
        /// The key.
        key: &'static str,
        /// The address.
        address: SocketAddr,
        /// What the system says.
        #[source]
        source: io::Error,
    },
}

impl StartError {
    /// [`Exit::TryAgain`] where only something outside is missing; else the configuration is wrong.
    pub const fn exit(&self) -> Exit {
        match self {
            Self::Store(_)
            | Self::LedgerUnreachable { .. }
            | Self::Kernel { .. }
            | Self::Chain(CheckError::Unreachable { .. } | CheckError::Refused { .. }) => Exit::TryAgain,
            Self::Config(_)
            | Self::Keys(_)
            | Self::Roster { .. }
            | Self::NotDeployed { .. }
            | Self::LedgerClient(_)
            | Self::LedgerRefused { .. }
            | Self::LedgerUser { .. }
            | Self::NotRegistered { .. }
            | Self::SpendForm { .. }
            | Self::SpendKey { .. }
            | Self::Provider(_)
            | Self::NoEndpoint { .. }
            | Self::Chain(
                CheckError::ChainId { .. }
                | CheckError::NoBls { .. }
                | CheckError::NoCode { .. }
                | CheckError::NotOurs { .. }
                | CheckError::Group { .. }
                | CheckError::Instance { .. }
                | CheckError::Recovery { .. }
                | CheckError::Key { .. },
            )
            | Self::PortInUse { .. }
            | Self::Bind { .. } => Exit::Configuration,
        }
    }
}
