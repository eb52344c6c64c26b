//! What one operator decides: `member.toml`, the environment and the command line, in rising rank.
//!
//! Nothing here may enter a derivation: what all members must agree on is in the group file. Relative paths are relative
//! to the file's directory, wherever they were given.

mod layers;
mod secret;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use lockstep_core::B256;
use lockstep_core::group::roster::{Roster, RosterError, RosterFile};
use lockstep_core::group::{DEVELOPMENT_CHAINS, Group, GroupError, GroupFile, MEMBERS_MAX};
use lockstep_core::trace::ChainId;
use serde::Deserialize;
use thiserror::Error;

use crate::keys::KEY_FILE;
use crate::peer::PeerConfig;
use crate::telemetry::LogConfig;

pub use layers::Setting;
pub use secret::SecretUrl;

/// Largest configuration and group file: far above any real one, far below what would hurt.
const FILE_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// What a file with the roster of a generation is called, before and behind its number.
const ROSTER_PREFIX: &str = "generation-";
const ROSTER_SUFFIX: &str = ".toml";
/// Bounds of every interval and time-out, in milliseconds: no busy loop, no wait that looks like a standstill.
const INTERVAL_BOUNDS_MS: (u64, u64) = (10, 600_000);

/// One member's configuration, complete and checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberConfig {
    /// Where the database and, unless `keys` says otherwise, the keys are.
    pub data: PathBuf,
    /// The group file.
    pub group: PathBuf,
    /// The group file that is meant; another one is refused.
    pub group_digest: Option<B256>,
    /// Which member this is, from 1.
    pub member: u8,
    /// The key file.
    pub keys: PathBuf,
    /// The file of its passphrase; without one the environment or a person gives it.
    pub passphrase_file: Option<PathBuf>,
    /// How to reach the ledger.
    pub ledger: LedgerConfig,
    /// How to reach each chain.
    pub chains: BTreeMap<ChainId, ChainConfig>,
    /// Where peers reach this member.
    pub listen_peer: SocketAddr,
    /// Where its operator reaches it.
    pub listen_api: SocketAddr,
    /// When it submits.
    pub submit: SubmitConfig,
    /// How it speaks to peers.
    pub peer: PeerConfig,
    /// What it logs.
    pub log: LogConfig,
}

impl MemberConfig {
    /// Reads `path`, then applies the `LOCKSTEP__…` variables among `environment`, then `flags`.
    ///
    /// # Errors
    /// A file that cannot be read, a key that is not known (with the place it came from), a value that cannot be.
    pub fn load(
        path: &Path,
        environment: impl IntoIterator<Item = (String, String)>,
        flags: &[Setting],
    ) -> Result<Self, ConfigError> {
        Self::parse(&read_text(path)?, path, environment, flags)
    }

    /// As [`Self::load`], from the text of the file at `path`, which is named in errors and not read.
    ///
    /// # Errors
    /// As [`Self::load`], but for reading.
    pub fn parse(
        text: &str,
        path: &Path,
        environment: impl IntoIterator<Item = (String, String)>,
        flags: &[Setting],
    ) -> Result<Self, ConfigError> {
        let raw: layers::Raw = layers::read(text, path, environment, flags)?;
        let base = path.parent().unwrap_or_else(|| Path::new(""));
        Self::from_raw(raw, base)
    }

    fn from_raw(raw: layers::Raw, base: &Path) -> Result<Self, ConfigError> {
        bounds("member", raw.member.into(), (1, MEMBERS_MAX as u64))?;
        let data = base.join(raw.data);
        let port =
            |first: u16| SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), first.saturating_add(raw.member.into()));
        let config = Self {
            group: base.join(raw.group),
            group_digest: raw.group_digest.map(|text| digest(&text)).transpose()?,
            member: raw.member,
            keys: raw.keys.map_or_else(|| data.join("keys").join(KEY_FILE), |keys| base.join(keys)),
            passphrase_file: raw.passphrase_file.map(|file| base.join(file)),
            ledger: raw.ledger,
            chains: raw.chains,
            // Ports 7701 + i and 7801 + i for the ith member from 0 (DESIGN.md section 9).
            listen_peer: raw.listen.peer.unwrap_or_else(|| port(7700)),
            listen_api: raw.listen.api.unwrap_or_else(|| port(7800)),
            submit: raw.submit,
            peer: raw.peer,
            log: raw.log,
            data,
        };
        config.check()?;
        Ok(config)
    }

    fn check(&self) -> Result<(), ConfigError> {
        let Self { ledger, chains, submit, peer, .. } = self;
        interval("ledger.poll_ms", ledger.poll_ms)?;
        interval("ledger.reread_ms", ledger.reread_ms)?;
        interval("ledger.timeout_ms", ledger.timeout_ms)?;
        bounds("ledger.settle_ms", ledger.settle_ms, (0, INTERVAL_BOUNDS_MS.1))?;
        bounds("submit.takeover_ms", submit.takeover_ms, (0, INTERVAL_BOUNDS_MS.1))?;
        interval("peer.timeout_ms", peer.timeout_ms)?;
        distinct("ledger.kernel", &ledger.kernel)?;
        if let Some(quorum) = ledger.kernel_quorum {
            bounds("ledger.kernel_quorum", quorum as u64, (1, ledger.kernel.len() as u64))?;
        }
        for (id, chain) in chains {
            interval(&format!("chains.{id}.poll_ms"), chain.poll_ms)?;
            interval(&format!("chains.{id}.timeout_ms"), chain.timeout_ms)?;
            let key = format!("chains.{id}.rpc");
            distinct(&key, &chain.rpc)?;
            if let (true, Some(url)) =
                (DEVELOPMENT_CHAINS.contains(id), chain.rpc.iter().find(|url| !url.is_loopback()))
            {
                return Err(ConfigError::NotLoopback { key, url: url.clone() });
            }
        }
        if self.listen_peer == self.listen_api && self.listen_peer.port() != 0 {
            return Err(ConfigError::SameAddress(self.listen_peer));
        }
        Ok(())
    }

    /// The database.
    pub fn database(&self) -> PathBuf {
        self.data.join("lockstep.db")
    }

    /// The rosters of later generations: every `generation-<g>.toml` in the member's folder, oldest first. There are none
    /// before a ceremony has ended.
    ///
    /// # Errors
    /// A file that cannot be read, or is no roster.
    pub fn load_rosters(&self) -> Result<Vec<Roster>, ConfigError> {
        let failed = |source| ConfigError::Read { path: self.data.clone(), source };
        let entries = match std::fs::read_dir(&self.data) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(failed)?,
        };
        let mut rosters = Vec::new();
        for entry in entries {
            let name = entry.map_err(failed)?.file_name();
            let name = name.to_string_lossy();
            let number = name.strip_prefix(ROSTER_PREFIX).and_then(|rest| rest.strip_suffix(ROSTER_SUFFIX));
            if let Some(generation) = number.and_then(|number| number.parse().ok()) {
                rosters.push(read_roster(&roster_path(&self.data, generation))?);
            }
        }
        rosters.sort_by_key(Roster::generation);
        Ok(rosters)
    }

    /// Reads the group file, and checks that it is the one that is meant and that this member and its chains are in it.
    ///
    /// # Errors
    /// Each of these, told apart.
    pub fn load_group(&self) -> Result<Group, ConfigError> {
        let group = read_group(&self.group)?;
        let found = group.digest();
        if let Some(expected) = self.group_digest.filter(|expected| *expected != found) {
            return Err(ConfigError::OtherGroup { path: self.group.clone(), expected, found });
        }
        // Who came later has its seat in a roster of the member's folder.
        let has_seat = |roster: &Roster| roster.member(self.member).is_some();
        if group.member(self.member).is_none() && !self.load_rosters()?.iter().any(has_seat) {
            let members = group.members().len();
            return Err(ConfigError::NotAMember { member: self.member, members, path: self.group.clone() });
        }
        if let Some(chain) = group.chains().keys().find(|id| !self.chains.contains_key(id)) {
            return Err(ConfigError::NoEndpoint { chain: *chain });
        }
        if let Some(chain) = self.chains.keys().find(|id| !group.chains().contains_key(id)) {
            return Err(ConfigError::ForeignChain { chain: *chain, path: self.group.clone() });
        }
        Ok(group)
    }
}

/// Reads and validates a group file.
///
/// # Errors
/// When it cannot be read, is not the TOML of a group, or breaks a rule.
pub fn read_group(path: &Path) -> Result<Group, ConfigError> {
    let at = || path.to_path_buf();
    Group::parse(&read_group_file(path)?).map_err(|source| ConfigError::Group { path: at(), source })
}

/// Where the roster of a later generation is in a member's folder.
pub fn roster_path(data: &Path, generation: u32) -> PathBuf {
    data.join(format!("{ROSTER_PREFIX}{generation}{ROSTER_SUFFIX}"))
}

/// Reads and validates the file of a later generation.
///
/// # Errors
/// When it cannot be read, is not the TOML of a roster, or breaks a rule.
pub fn read_roster(path: &Path) -> Result<Roster, ConfigError> {
    let text = read_text(path)?;
    let file: RosterFile = toml::from_str(&text).map_err(|error| ConfigError::syntax(path, &text, &error))?;
    Roster::parse(&file).map_err(|source| ConfigError::Roster { path: path.to_path_buf(), source: Box::new(source) })
}

/// Reads a group file without judging its values, for the tools that change it.
///
/// # Errors
/// When it cannot be read or is not the TOML of a group.
pub fn read_group_file(path: &Path) -> Result<GroupFile, ConfigError> {
    let text = read_text(path)?;
    toml::from_str(&text).map_err(|error| ConfigError::syntax(path, &text, &error))
}

pub(crate) fn read_text(path: &Path) -> Result<String, ConfigError> {
    let at = || path.to_path_buf();
    let metadata = std::fs::metadata(path).map_err(|source| ConfigError::Read { path: at(), source })?;
    if metadata.len() > FILE_BYTES_MAX {
        return Err(ConfigError::TooLarge { path: at(), bytes: metadata.len() });
    }
    std::fs::read_to_string(path).map_err(|source| ConfigError::Read { path: at(), source })
}

fn digest(text: &str) -> Result<B256, ConfigError> {
    text.parse().map_err(|_| ConfigError::Digest { text: text.chars().take(80).collect() })
}

fn interval(key: &str, value: u64) -> Result<(), ConfigError> {
    bounds(key, value, INTERVAL_BOUNDS_MS)
}

fn bounds(key: &str, value: u64, (least, most): (u64, u64)) -> Result<(), ConfigError> {
    let refused = || ConfigError::Bounds { key: key.into(), value, least, most };
    if (least..=most).contains(&value) { Ok(()) } else { Err(refused()) }
}

/// Endpoints count as independent, so none may stand twice.
fn distinct(key: &str, urls: &[SecretUrl]) -> Result<(), ConfigError> {
    if urls.is_empty() {
        return Err(ConfigError::NoUrl { key: key.into() });
    }
    for (i, url) in urls.iter().enumerate() {
        if urls.iter().skip(i.saturating_add(1)).any(|other| other == url) {
            return Err(ConfigError::RepeatedUrl { key: key.into(), url: url.clone() });
        }
    }
    Ok(())
}

/// The section `ledger`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LedgerConfig {
    /// The Safe API.
    pub api: SecretUrl,
    /// Kernel nodes of different operators.
    #[serde(deserialize_with = "secret::one_or_many")]
    pub kernel: Vec<SecretUrl>,
    /// How many of them must agree on a transaction; more than half unless given.
    #[serde(default)]
    pub kernel_quorum: Option<usize>,
    /// How long a row must have been seen before it is applied: when, never what.
    #[serde(default = "settle_ms")]
    pub settle_ms: u64,
    /// Time between two readings.
    #[serde(default = "ledger_poll_ms")]
    pub poll_ms: u64,
    /// Time between two looks back at rows that were applied, and at the histories of the others.
    #[serde(default = "reread_ms")]
    pub reread_ms: u64,
    /// A request is given up where the API or a node says nothing for so long.
    #[serde(default = "timeout_ms")]
    pub timeout_ms: u64,
}

const fn reread_ms() -> u64 {
    10_000
}

const fn settle_ms() -> u64 {
    5_000
}

const fn ledger_poll_ms() -> u64 {
    500
}

const fn timeout_ms() -> u64 {
    10_000
}

impl LedgerConfig {
    /// How many kernel nodes must agree.
    pub fn kernel_quorum(&self) -> usize {
        self.kernel_quorum.unwrap_or_else(|| self.kernel.len().div_euclid(2).saturating_add(1))
    }

    /// Time between two readings.
    pub const fn poll(&self) -> Duration {
        Duration::from_millis(self.poll_ms)
    }

    /// Time between two looks back.
    pub const fn reread(&self) -> Duration {
        Duration::from_millis(self.reread_ms)
    }

    /// How long a row must have been seen before it is applied.
    pub const fn settle(&self) -> Duration {
        Duration::from_millis(self.settle_ms)
    }

    /// Longest silence of the API and of nodes.
    pub const fn timeout(&self) -> Duration {
        Duration::from_millis(self.timeout_ms)
    }
}

/// A section `chains.ID`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChainConfig {
    /// Endpoints of different operators, the preferred one first.
    #[serde(deserialize_with = "secret::one_or_many")]
    pub rpc: Vec<SecretUrl>,
    /// Time between two readings.
    #[serde(default = "chain_poll_ms")]
    pub poll_ms: u64,
    /// Longest wait for one answer.
    #[serde(default = "timeout_ms")]
    pub timeout_ms: u64,
}

const fn chain_poll_ms() -> u64 {
    1_000
}

impl ChainConfig {
    /// Time between two readings.
    pub const fn poll(&self) -> Duration {
        Duration::from_millis(self.poll_ms)
    }

    /// Longest wait for one answer.
    pub const fn timeout(&self) -> Duration {
        Duration::from_millis(self.timeout_ms)
    }
}

/// The section `submit`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SubmitConfig {
    /// How long each rank waits before it takes over from the one before.
    pub takeover_ms: u64,
}

impl Default for SubmitConfig {
    fn default() -> Self {
        Self { takeover_ms: 12_000 }
    }
}

impl SubmitConfig {
    /// How long each rank waits before it takes over from the one before.
    pub const fn takeover(&self) -> Duration {
        Duration::from_millis(self.takeover_ms)
    }
}

/// Why a configuration is refused.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// Not there, not readable, or not UTF-8.
    #[error("cannot read `{path}`")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
    /// More than a configuration can hold.
    #[error("`{path}` has {bytes} bytes: that is no configuration file")]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its size.
        bytes: u64,
    },
    /// A roster that breaks a rule.
    #[error("`{path}` is not a valid roster")]
    Roster {
        /// The file.
        path: PathBuf,
        /// Which.
        #[source]
        source: Box<RosterError>,
    },
    /// Not TOML, or not of the right shape.
    #[error("`{path}` cannot be understood at line {line}: {what}")]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Where, from 1.
        line: usize,
        /// Why, without the text that stands there: it may hold a key.
        what: String,
    },
    /// Nobody reads this key: a slip of the pen, or of another version.
    #[error("unknown key `{key}` in {place}: {known}")]
    UnknownKey {
        /// The key with its sections.
        key: String,
        /// The file, variable or flag.
        place: String,
        /// Which keys there are instead, in words.
        known: String,
    },
    /// A flag that is not `key=value`.
    #[error("`{0}` is not section.key=value")]
    Flag(String),
    /// A key that must be there is not, or a value of another type.
    #[error("the configuration from `{path}` is incomplete or has a value that cannot be")]
    Value {
        /// The file.
        path: PathBuf,
        /// Which key.
        #[source]
        source: Box<config::ConfigError>,
    },
    /// A number out of bounds.
    #[error("`{key}` is {value}, expected {least} to {most}")]
    Bounds {
        /// The key.
        key: String,
        /// What was given.
        value: u64,
        /// Smallest.
        least: u64,
        /// Largest.
        most: u64,
    },
    /// Not 32 bytes of hex.
    #[error("`group_digest` is `{text}`, expected 32 bytes of hex as `lockstep group digest` prints them")]
    Digest {
        /// What was given.
        text: String,
    },
    /// A list that must not be empty.
    #[error("`{key}` names no endpoint")]
    NoUrl {
        /// The key.
        key: String,
    },
    /// The same endpoint twice is no quorum.
    #[error("`{key}` names {url} twice")]
    RepeatedUrl {
        /// The key.
        key: String,
        /// The endpoint.
        url: SecretUrl,
    },
    /// A development chain elsewhere is somebody else's.
    #[error("`{key}` names {url}: chains 31337 to 31346 are for development, on loopback only")]
    NotLoopback {
        /// The key.
        key: String,
        /// The endpoint.
        url: SecretUrl,
    },
    /// One address cannot serve two interfaces.
    #[error("`listen.peer` and `listen.api` are both {0}")]
    SameAddress(SocketAddr),
    /// A group file that breaks a rule.
    #[error("the group file `{path}` is refused")]
    Group {
        /// The file.
        path: PathBuf,
        /// Which rule.
        #[source]
        source: GroupError,
    },
    /// A group file other than the pinned one.
    #[error("the group file `{path}` has digest {found}, but `group_digest` expects {expected}")]
    OtherGroup {
        /// The file.
        path: PathBuf,
        /// The pinned digest.
        expected: B256,
        /// The file's.
        found: B256,
    },
    /// A member index that the group does not have.
    #[error("`member` is {member}, but the group in `{path}` has members 1 to {members}")]
    NotAMember {
        /// The index.
        member: u8,
        /// How many members.
        members: usize,
        /// The group file.
        path: PathBuf,
    },
    /// Every member serves every chain.
    #[error("`chains.{chain}.rpc` is missing: the group serves this chain")]
    NoEndpoint {
        /// The chain.
        chain: ChainId,
    },
    /// A chain that the group does not serve.
    #[error("`chains.{chain}` is configured, but the group in `{path}` does not serve this chain")]
    ForeignChain {
        /// The chain.
        chain: ChainId,
        /// The group file.
        path: PathBuf,
    },
}

impl ConfigError {
    fn syntax(path: &Path, text: &str, error: &toml::de::Error) -> Self {
        let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
        let line = before.matches('\n').count().saturating_add(1);
        Self::Syntax { path: path.to_path_buf(), line, what: error.message().replace('\n', ", ") }
    }
}

#[cfg(test)]
mod tests;
