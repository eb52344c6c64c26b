//! One member's folder on a development network: its keys, its configuration, its ports.

use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use alloy::primitives::U256;
use alloy::providers::Provider;
use anyhow::{Context, Result};
use lockstep_core::B256;

use super::network::{CHAIN, Ports};
use super::process::MemberProcess;
use crate::ceremony::Candidate;
use crate::evm::provider::EvmProvider;
use crate::keys::{Cost, KEY_FILE, Keyring, MemberKeys, Passphrase, PublicKeys, system_entropy};
use crate::ledger::Keystore;

/// Gas money of a member: 100 ether of the development chain.
const GAS_MONEY_WEI: u128 = 100_000_000_000_000_000_000;
/// Whose turn it is changes each second, so that a dead member delays nobody for long.
const TAKEOVER_MS: u64 = 1_000;
/// Readings forward for each look back.
const REREAD_POLLS: u64 = 10;
/// Readings in the time that an answer of the ledger may take: seconds, and longer where many members share a machine.
const TIMEOUT_POLLS: u64 = 50;
/// Two dozen members on one machine may keep each other waiting.
const PEER_TIMEOUT_MS: u64 = 10_000;

/// What all members of a network reach in the same way.
#[derive(Clone, Debug)]
pub(super) struct Wiring {
    pub(super) ledger: String,
    pub(super) kernel: Vec<String>,
    pub(super) chain: String,
    pub(super) poll_ms: u64,
}

/// Where a member listens.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    index: u8,
    peer: SocketAddr,
    api: SocketAddr,
}

impl Place {
    /// The place of the member with an index from 1.
    pub(super) fn new(index: u8, ports: Ports) -> Result<Self> {
        let fixed = |port: u16| loopback(port.saturating_add(index.into()));
        let (peer, api) = match ports {
            Ports::Fixed => (fixed(7700), fixed(7800)),
            Ports::Free => (free_address()?, free_address()?),
        };
        Ok(Self { index, peer, api })
    }
}

/// A port of this machine.
pub(super) fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

/// An address that is free now; another process may still take it before the member does, who then says so.
fn free_address() -> Result<SocketAddr> {
    Ok(std::net::TcpListener::bind(loopback(0))?.local_addr()?)
}

/// A member's folder.
#[derive(Clone, Debug)]
pub struct Home {
    /// Where it is.
    pub folder: PathBuf,
    keys: PublicKeys,
    place: Place,
}

impl Home {
    /// Makes a folder with new keys for a ledger user, and gives them gas money.
    pub(super) async fn make(
        folder: PathBuf,
        name: &str,
        keystore: &Keystore,
        place: Place,
        chain: &EvmProvider,
    ) -> Result<Self> {
        let keys = MemberKeys::generate(name, Some(keystore.clone()), &mut system_entropy)?;
        let money = (keys.evm.address(), U256::from(GAS_MONEY_WEI));
        chain.raw_request::<_, ()>("anvil_setBalance".into(), money).await.context("cannot give gas money")?;
        let public = keys.public();
        std::fs::create_dir_all(folder.join("keys"))?;
        save_keys(&folder.join("keys"), keys)?;
        Ok(Self { folder, keys: public, place })
    }

    /// What goes into a proposal.
    pub fn candidate(&self) -> Candidate {
        Candidate {
            name: self.keys.name.clone(),
            user: self.keys.user,
            identity: self.keys.identity.clone(),
            peer: format!("http://{}", self.place.peer),
        }
    }

    /// What it is called.
    pub fn name(&self) -> &str {
        &self.keys.name
    }

    /// The member's configuration file.
    pub fn config(&self) -> PathBuf {
        self.folder.join("member.toml")
    }

    /// Writes the configuration. Before a ceremony there is no group whose digest could be meant.
    pub(super) fn configure(&self, wiring: &Wiring, group: &str, digest: Option<B256>) -> Result<()> {
        let Place { index, peer, api } = self.place;
        let Wiring { ledger, kernel, chain, poll_ms } = wiring;
        let reread_ms = poll_ms.saturating_mul(REREAD_POLLS);
        let timeout_ms = poll_ms.saturating_mul(TIMEOUT_POLLS);
        let digest = digest.map_or_else(String::new, |digest| format!("group_digest = \"{digest}\"\n"));
        let text = format!(
            "# Member {index} of a development network.\n\
             data = \".\"\n\
             group = \"{group}\"\n\
             {digest}\
             member = {index}\n\
             passphrase_file = \"keys/passphrase\"\n\n\
             [ledger]\n\
             api = \"{ledger}\"\n\
             kernel = {kernel:?}\n\
             settle_ms = {poll_ms}\n\
             poll_ms = {poll_ms}\n\
             reread_ms = {reread_ms}\n\
             timeout_ms = {timeout_ms}\n\n\
             [listen]\n\
             peer = \"{peer}\"\n\
             api = \"{api}\"\n\n\
             [peer]\n\
             timeout_ms = {PEER_TIMEOUT_MS}\n\n\
             [submit]\n\
             takeover_ms = {TAKEOVER_MS}\n\n\
             [chains.{CHAIN}]\n\
             rpc = [\"{chain}\"]\n\
             poll_ms = {poll_ms}\n",
        );
        std::fs::write(self.config(), text).with_context(|| format!("cannot write {}", self.config().display()))
    }

    /// Starts the member's service.
    pub(super) fn start(&self, binary: &Path) -> Result<MemberProcess> {
        let Place { index, peer, api } = self.place;
        MemberProcess::start(index, binary, &self.config(), peer, api)
    }
}

/// Writes a member's key file and its passphrase beside it: quick to open, and worth nothing.
fn save_keys(folder: &Path, keys: MemberKeys) -> Result<()> {
    let passphrase = Passphrase::random(&mut system_entropy);
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(folder.join("passphrase"))
        .with_context(|| format!("cannot write a passphrase into {}", folder.display()))?;
    file.write_all(passphrase.expose().as_bytes())?;
    Keyring::create(&folder.join(KEY_FILE), &passphrase, Cost::QUICK, keys)?;
    Ok(())
}
