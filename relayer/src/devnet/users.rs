//! Users of a development network: one keystore file each, `users/NAME.json`.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::{Context, Result, ensure};

use crate::ledger::Keystore;

/// Largest keystore file: a real one has less than 1 KiB.
const KEYSTORE_BYTES_MAX: u64 = 16 * 1024;

/// Writes `name`'s keystore, readable by its owner only.
///
/// # Errors
/// When the file exists or cannot be written.
pub fn save(folder: &Path, name: &str, keystore: &Keystore) -> Result<()> {
    std::fs::create_dir_all(folder)?;
    let path = folder.join(format!("{name}.json"));
    let text = serde_json::to_string_pretty(keystore)?;
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
    let written = file.and_then(|mut file| file.write_all(text.as_bytes()));
    written.with_context(|| format!("cannot write {}", path.display()))
}

/// Reads a keystore.
///
/// # Errors
/// Says what is wrong with the file.
pub fn load(path: &Path) -> Result<Keystore> {
    let size = std::fs::metadata(path).with_context(|| format!("cannot read {}", path.display()))?.len();
    ensure!(size <= KEYSTORE_BYTES_MAX, "{} is too large for a keystore", path.display());
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    Keystore::parse(&text).with_context(|| format!("{} is no keystore", path.display()))
}
