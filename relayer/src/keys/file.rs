//! The key file.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use alloy::signers::local::PrivateKeySigner;
use ed25519_dalek::SigningKey;
use lockstep_core::B256;
use lockstep_core::bls::{SecretKey, SecretShare};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::{HeldShare, KeyError, MemberKeys};
use crate::ledger::{Keystore, Seed};

/// The only version so far.
const VERSION: u32 = 1;
/// Largest key file; a real one has about 1 KB.
const FILE_BYTES_MAX: u64 = 64 * 1024;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyFile {
    version: u32,
    protection: Protection,
    name: String,
    identity_seed: Seed,
    evm_secret_key: Seed,
    ledger: Keystore,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    bls: Option<ShareFile>,
}

/// How the secrets in the file are protected at rest.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Protection {
    /// By the permissions of the file alone.
    None,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ShareFile {
    group_id: B256,
    generation: u32,
    index: u8,
    share: Seed,
}

pub(super) fn load(path: &Path) -> Result<MemberKeys, KeyError> {
    let shown = || path.display().to_string();
    let read = |source| KeyError::Read { path: shown(), source };
    let malformed = |what: &str| KeyError::Malformed { path: shown(), what: what.to_owned() };
    let file = File::open(path).map_err(read)?;
    let metadata = file.metadata().map_err(read)?;
    let mode = metadata.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(KeyError::Exposed { path: shown(), mode });
    }
    if !metadata.is_file() || metadata.len() > FILE_BYTES_MAX {
        return Err(malformed("it is too large, or no file"));
    }
    let mut text = Zeroizing::new(String::new());
    file.take(FILE_BYTES_MAX).read_to_string(&mut text).map_err(read)?;
    // serde_json's own message can quote what it found, so only the place is told.
    let parsed: Result<KeyFile, _> = serde_json::from_str(&text);
    let parsed = parsed.map_err(|error| malformed(&format!("line {}, column {}", error.line(), error.column())))?;
    let KeyFile { version, protection: Protection::None, name, identity_seed, evm_secret_key, ledger, bls } = parsed;
    if version != VERSION {
        return Err(malformed(&format!("version {version}, expected {VERSION}")));
    }
    let evm = PrivateKeySigner::from_bytes(&B256::from(*evm_secret_key.expose()));
    let evm = evm.map_err(|_| malformed("`evm_secret_key` is no key"))?;
    let share = |bls: ShareFile| {
        let secret = SecretKey::from_bytes(bls.share.expose()).map_err(|_| malformed("`bls.share` is no key"))?;
        let secret = SecretShare::new(bls.index, secret).map_err(|_| malformed("`bls.index` is no index"))?;
        Ok(HeldShare { group_id: bls.group_id, generation: bls.generation, secret })
    };
    let share = bls.map(share).transpose()?;
    Ok(MemberKeys { name, identity: SigningKey::from_bytes(identity_seed.expose()), evm, ledger, share })
}

pub(super) fn save(keys: &MemberKeys, path: &Path, replace: bool) -> Result<(), KeyError> {
    let file = KeyFile {
        version: VERSION,
        protection: Protection::None,
        name: keys.name.clone(),
        identity_seed: Seed::new(keys.identity.to_bytes()),
        evm_secret_key: Seed::new(keys.evm.to_bytes().0),
        ledger: keys.ledger.clone(),
        bls: keys.share.as_ref().map(|share| ShareFile {
            group_id: share.group_id,
            generation: share.generation,
            index: share.secret.index(),
            share: Seed::new(*share.secret.secret().to_bytes()),
        }),
    };
    let write = |source| KeyError::Write { path: path.display().to_string(), source };
    let text = serde_json::to_string_pretty(&file).map(Zeroizing::new).map_err(|error| write(error.into()))?;
    write_whole(path, text.as_bytes(), replace).map_err(write)
}

/// Writes beside the file first, so that a crash leaves the old file or the new one.
fn write_whole(path: &Path, bytes: &[u8], replace: bool) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
    std::fs::create_dir_all(folder)?;
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    let beside = PathBuf::from(beside);
    let _ = std::fs::remove_file(&beside);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    let moved = if replace { std::fs::rename(&beside, path) } else { std::fs::hard_link(&beside, path) };
    if !replace || moved.is_err() {
        let _ = std::fs::remove_file(&beside);
    }
    moved?;
    File::open(folder)?.sync_all()
}
