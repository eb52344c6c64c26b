//! An open key file: what a running member has of its secrets, and how they change.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use alloy::signers::local::PrivateKeySigner;

use super::cost::{Cost, Floor};
use super::disk::{self, FileError};
use super::envelope::{EnvelopeError, Parsed, Sealer, named_keys};
use super::passphrase::Passphrase;
use crate::ledger::Keystore;

use super::{HeldShare, KeyError, MemberKeys, PublicKeys, secrets, system_entropy};

/// Largest key file; one with 20 shares has about 15 KB.
const FILE_BYTES_MAX: u64 = 256 * 1024;

/// A member's unlocked key file. Cheap to clone. It keeps the key of the file, not the passphrase, so that shares can be
/// saved and erased while the member runs.
///
/// Each change reads the file again under a lock, applies itself and replaces the file whole, with a sync of file and
/// folder, before it returns: what another process wrote meanwhile stays, and what is saved is durable.
#[derive(Clone)]
pub struct Keyring(Arc<Inner>);

struct Inner {
    path: PathBuf,
    state: Mutex<State>,
}

struct State {
    sealer: Sealer,
    keys: Arc<MemberKeys>,
}

impl Keyring {
    /// Writes a new key file.
    ///
    /// # Errors
    /// Where it cannot be written, or is there already.
    pub fn create(path: &Path, passphrase: &Passphrase, cost: Cost, keys: MemberKeys) -> Result<Self, KeyError> {
        let ring = Self::sealed(path, passphrase, cost, keys)?;
        let bytes = ring.bytes(&ring.state())?;
        disk::create(path, &bytes).map_err(|source| KeyError::Write { path: shown(path), source })?;
        Ok(ring)
    }

    /// Writes the key file anew under a passphrase and cost of its own.
    ///
    /// # Errors
    /// Where it cannot be written; then the old file stands.
    pub fn reseal(&self, passphrase: &Passphrase, cost: Cost) -> Result<(), KeyError> {
        let path = &self.0.path;
        let _lock = self.lock()?;
        let mut state = self.state();
        let keys = self.reread(&state)?;
        let sealer = Sealer::new(passphrase, cost, &mut system_entropy).map_err(|source| opening(path, source))?;
        let next = State { sealer, keys: Arc::new(keys) };
        let bytes = self.bytes(&next)?;
        disk::replace(path, &bytes).map_err(|source| KeyError::Write { path: shown(path), source })?;
        *state = next;
        Ok(())
    }

    fn sealed(path: &Path, passphrase: &Passphrase, cost: Cost, keys: MemberKeys) -> Result<Self, KeyError> {
        let sealer = Sealer::new(passphrase, cost, &mut system_entropy).map_err(|source| opening(path, source))?;
        let state = Mutex::new(State { sealer, keys: Arc::new(keys) });
        Ok(Self(Arc::new(Inner { path: path.to_path_buf(), state })))
    }

    /// Opens a key file. Each public key in it, and each public share, is computed again from its secret and compared.
    ///
    /// # Errors
    /// Each cause told apart: rights of others, damage, a wrong passphrase, tampering, parameters below `floor`.
    pub fn open(path: &Path, passphrase: &Passphrase, floor: Floor) -> Result<Self, KeyError> {
        let bytes = read(path)?;
        let parsed = Parsed::read(&bytes).map_err(|source| opening(path, source))?;
        let (sealer, plain) = parsed.unlock(passphrase, floor).map_err(|source| opening(path, source))?;
        let keys = secrets::decode(&parsed.header.keys, &plain);
        let keys = keys.ok_or_else(|| KeyError::Inconsistent { path: shown(path) })?;
        let state = Mutex::new(State { sealer, keys: Arc::new(keys) });
        Ok(Self(Arc::new(Inner { path: path.to_path_buf(), state })))
    }

    /// The public keys that a file names, without its passphrase. Nothing vouches for them.
    ///
    /// # Errors
    /// Rights of others, damage, and what is no key file.
    pub fn peek(path: &Path) -> Result<PublicKeys, KeyError> {
        let bytes = read(path)?;
        named_keys(&bytes).map_err(|source| opening(path, source))
    }

    /// Where the file is.
    pub fn path(&self) -> &Path {
        &self.0.path
    }

    /// What a guess at the passphrase costs.
    pub fn cost(&self) -> Cost {
        self.state().sealer.cost()
    }

    /// All secrets as they are now.
    pub fn keys(&self) -> Arc<MemberKeys> {
        Arc::clone(&self.state().keys)
    }

    /// The share of a generation, where it is held.
    pub fn share(&self, generation: u32) -> Option<HeldShare> {
        self.state().keys.shares.get(&generation).cloned()
    }

    /// All shares that are held, oldest generation first.
    pub fn shares(&self) -> Vec<HeldShare> {
        self.state().keys.shares.values().cloned().collect()
    }

    /// Keeps a share; it is durable when this returns. The same share again is fine.
    ///
    /// # Errors
    /// Refuses another share of a generation that is held, and a share of another group than those that are.
    pub fn save_share(&self, share: &HeldShare) -> Result<(), KeyError> {
        self.change(|keys| keys.hold(share.clone()))
    }

    /// Keeps a share in the place of another one of the same generation and key, which an earlier round of its ceremony made.
    /// None gives way to another key: a fresh key needs nobody's old share, so a proposal that names an old roster could
    /// otherwise take the place of the key that signs now.
    ///
    /// # Errors
    /// Refuses a share of another group than those that are held, and one of another key in the place of one that is held.
    pub fn renew_share(&self, share: &HeldShare) -> Result<(), KeyError> {
        self.change(|keys| {
            let gives_way = |held: &HeldShare| held.public() != share.public() && held.group_key == share.group_key;
            if keys.shares.get(&share.generation).is_some_and(gives_way) {
                keys.shares.remove(&share.generation);
            }
            keys.hold(share.clone())
        })
    }

    /// Forgets the share of a generation, here and in the file, whose old bytes are overwritten where the file system allows
    /// it; backups keep theirs. False where there was none. Other clones of the share must be dropped by who holds them.
    ///
    /// # Errors
    /// Where the file cannot be written.
    pub fn erase_share(&self, generation: u32) -> Result<bool, KeyError> {
        let mut erased = false;
        self.change(|keys| {
            erased = keys.shares.remove(&generation).is_some();
            Ok(erased)
        })?;
        Ok(erased)
    }

    /// Puts another ledger user's keys in the place of those that are held.
    ///
    /// # Errors
    /// Where the file cannot be written.
    pub fn set_ledger(&self, ledger: Keystore) -> Result<(), KeyError> {
        self.change(|keys| {
            keys.ledger = ledger;
            Ok(true)
        })
    }

    /// Puts another EVM account's key in the place of the one that is held.
    ///
    /// # Errors
    /// Where the file cannot be written.
    pub fn set_evm(&self, evm: PrivateKeySigner) -> Result<(), KeyError> {
        self.change(|keys| {
            keys.evm = evm;
            Ok(true)
        })
    }

    /// Copies the file as it is, still encrypted.
    ///
    /// # Errors
    /// Where the copy cannot be written, or is there already.
    pub fn copy_to(&self, copy: &Path) -> Result<(), KeyError> {
        let _lock = self.lock()?;
        let bytes = read(&self.0.path)?;
        disk::create(copy, &bytes).map_err(|source| KeyError::Write { path: shown(copy), source })
    }

    /// Reads the file again, applies a change and, where that says so, replaces the file.
    fn change(&self, change: impl FnOnce(&mut MemberKeys) -> Result<bool, KeyError>) -> Result<(), KeyError> {
        let path = &self.0.path;
        let _lock = self.lock()?;
        let mut state = self.state();
        let mut keys = self.reread(&state)?;
        let is_changed = change(&mut keys)?;
        let sealer = &state.sealer;
        if is_changed {
            let bytes = seal(path, sealer, &keys)?;
            disk::replace(path, &bytes).map_err(|source| KeyError::Write { path: shown(path), source })?;
        }
        state.keys = Arc::new(keys);
        Ok(())
    }

    /// The secrets that the file holds now.
    fn reread(&self, state: &State) -> Result<MemberKeys, KeyError> {
        let path = &self.0.path;
        let bytes = read(path)?;
        let parsed = Parsed::read(&bytes).map_err(|source| opening(path, source))?;
        let plain = state.sealer.open(&parsed).map_err(|source| opening(path, source))?;
        secrets::decode(&parsed.header.keys, &plain).ok_or_else(|| KeyError::Inconsistent { path: shown(path) })
    }

    fn bytes(&self, state: &State) -> Result<Vec<u8>, KeyError> {
        seal(&self.0.path, &state.sealer, &state.keys)
    }

    fn lock(&self) -> Result<std::fs::File, KeyError> {
        let path = &self.0.path;
        disk::lock(path).map_err(|source| KeyError::File { path: shown(path), source: Box::new(source) })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Keyring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keyring").field("path", &self.0.path).finish_non_exhaustive()
    }
}

fn seal(path: &Path, sealer: &Sealer, keys: &MemberKeys) -> Result<Vec<u8>, KeyError> {
    let plain = secrets::encode(keys);
    sealer.seal(&keys.public(), &plain, &mut system_entropy).map_err(|source| opening(path, source))
}

fn read(path: &Path) -> Result<zeroize::Zeroizing<Vec<u8>>, KeyError> {
    let file = |source: FileError| KeyError::File { path: shown(path), source: Box::new(source) };
    disk::read_private(path, FILE_BYTES_MAX).map_err(file)
}

fn opening(path: &Path, source: EnvelopeError) -> KeyError {
    KeyError::Open { path: shown(path), source }
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}
