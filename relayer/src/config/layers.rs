//! File < environment < flag, with every key accounted for.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use config::{Config, Environment, File, FileFormat};
use lockstep_core::trace::ChainId;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

use super::{ChainConfig, ConfigError, LedgerConfig, SubmitConfig};
use crate::peer::PeerConfig;
use crate::telemetry::LogConfig;

/// What a variable begins with; then sections and key, separated by two underscores too.
const PREFIX: &str = "LOCKSTEP__";

/// Every key there is; `*` stands for any name of a section.
pub(super) const KEYS: &[&str] = &[
    "data",
    "group",
    "group_digest",
    "member",
    "keys",
    "passphrase_file",
    "ledger.api",
    "ledger.kernel",
    "ledger.kernel_quorum",
    "ledger.settle_ms",
    "ledger.poll_ms",
    "ledger.reread_ms",
    "ledger.timeout_ms",
    "chains.*.rpc",
    "chains.*.poll_ms",
    "chains.*.timeout_ms",
    "listen.peer",
    "listen.api",
    "submit.takeover_ms",
    "peer.timeout_ms",
    "log.format",
    "log.filter",
];

/// `section.key=value` of the command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// The key with its sections.
    pub key: String,
    /// What it is to be.
    pub value: String,
}

impl Setting {
    /// A key and its value.
    pub fn new(key: impl Into<String>, value: impl Into<String>) -> Self {
        Self { key: key.into(), value: value.into() }
    }
}

impl FromStr for Setting {
    type Err = ConfigError;

    fn from_str(text: &str) -> Result<Self, ConfigError> {
        match text.split_once('=') {
            Some((key, value)) if !key.is_empty() => Ok(Self::new(key.trim(), value)),
            // What stands behind a missing `=` may be a secret; a text without one is a key at most.
            Some(_) | None => {
                Err(ConfigError::Flag(text.split('=').next().unwrap_or_default().chars().take(80).collect()))
            }
        }
    }
}

/// The merged layers, before paths are resolved and bounds are checked.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Raw {
    pub(super) data: PathBuf,
    pub(super) group: PathBuf,
    pub(super) group_digest: Option<String>,
    pub(super) member: u8,
    pub(super) keys: Option<PathBuf>,
    pub(super) passphrase_file: Option<PathBuf>,
    pub(super) ledger: LedgerConfig,
    #[serde(default, deserialize_with = "by_chain")]
    pub(super) chains: BTreeMap<ChainId, ChainConfig>,
    #[serde(default)]
    pub(super) listen: Listen,
    #[serde(default)]
    pub(super) submit: SubmitConfig,
    #[serde(default)]
    pub(super) peer: PeerConfig,
    #[serde(default)]
    pub(super) log: LogConfig,
}

/// The section `listen`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Listen {
    pub(super) peer: Option<SocketAddr>,
    pub(super) api: Option<SocketAddr>,
}

/// Keys of a table are texts.
fn by_chain<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<ChainId, ChainConfig>, D::Error> {
    let chains = BTreeMap::<String, ChainConfig>::deserialize(deserializer)?;
    let mut by_id = BTreeMap::new();
    for (name, chain) in chains {
        let id = name.parse().map_err(|_| D::Error::custom(format!("`chains.{name}`: expected a chain id")))?;
        by_id.insert(id, chain);
    }
    Ok(by_id)
}

pub(super) fn read(
    text: &str,
    path: &Path,
    environment: impl IntoIterator<Item = (String, String)>,
    flags: &[Setting],
) -> Result<Raw, ConfigError> {
    let refused = |source| ConfigError::Value { path: path.to_path_buf(), source: Box::new(source) };
    check_file(path, text)?;
    let ours: HashMap<_, _> = environment.into_iter().filter(|(name, _)| name.starts_with(PREFIX)).collect();
    check_environment(&ours)?;

    let variables = Environment::with_prefix("LOCKSTEP").prefix_separator("__").separator("__").source(Some(ours));
    let mut layers = Config::builder().add_source(File::from_str(text, FileFormat::Toml)).add_source(variables);
    for Setting { key, value } in flags {
        check(key, || format!("`--set {key}`"))?;
        layers = layers.set_override(key, value.as_str()).map_err(refused)?;
    }
    layers.build().and_then(Config::try_deserialize).map_err(refused)
}

fn check_file(path: &Path, text: &str) -> Result<(), ConfigError> {
    let table: toml::Table = toml::from_str(text).map_err(|error| ConfigError::syntax(path, text, &error))?;
    let mut pending: Vec<_> = table.iter().map(|(key, value)| (key.clone(), value)).collect();
    while let Some((key, value)) = pending.pop() {
        match value.as_table() {
            Some(section) => pending.extend(section.iter().map(|(inner, value)| (format!("{key}.{inner}"), value))),
            None => check(&key, || format!("`{}`", path.display()))?,
        }
    }
    Ok(())
}

fn check_environment(variables: &HashMap<String, String>) -> Result<(), ConfigError> {
    for name in variables.keys() {
        let key = name.strip_prefix(PREFIX).unwrap_or(name).to_ascii_lowercase().replace("__", ".");
        check(&key, || format!("the environment variable `{name}`"))?;
    }
    Ok(())
}

fn check(key: &str, place: impl FnOnce() -> String) -> Result<(), ConfigError> {
    let fits = |pattern: &&str| {
        let (mut pattern, mut key) = (pattern.split('.'), key.split('.'));
        loop {
            match (pattern.next(), key.next()) {
                (None, None) => return true,
                (Some("*"), Some(part)) if !part.is_empty() => {}
                (Some(expected), Some(part)) if expected == part => {}
                (_, _) => return false,
            }
        }
    };
    if KEYS.iter().any(fits) {
        return Ok(());
    }
    Err(ConfigError::UnknownKey { key: key.chars().take(80).collect(), place: place(), known: known(key) })
}

/// The keys of the section that `key` names, or of the top where it names none.
fn known(key: &str) -> String {
    let (section, _) = key.split_once('.').unwrap_or(("", key));
    let (mut keys, mut sections) = (Vec::new(), BTreeSet::new());
    for known in KEYS {
        match known.split_once('.') {
            Some((name, key)) if name == section => keys.push(key),
            Some((name, _)) => drop(sections.insert(name)),
            None if section.is_empty() => keys.push(known),
            None => {}
        }
    }
    match (section, keys.join(", ")) {
        ("", keys) => format!("there are {keys}, and the sections {}", in_words(&sections)),
        (_, keys) if keys.is_empty() => format!("the sections are {}", in_words(&sections)),
        (section, keys) => format!("`{section}` has {}", keys.replace('*', "ID")),
    }
}

fn in_words(sections: &BTreeSet<&str>) -> String {
    sections.iter().copied().collect::<Vec<_>>().join(", ")
}
