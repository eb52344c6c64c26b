//! The bytes of a key file.
//!
//! ```text
//! lockstep-keys 1          what this is, and its version
//! {"kdf":…,"shares":…}     everything that is no secret, one line of JSON
//! 8f3a…                    the secrets, XChaCha20-Poly1305, in hex
//! 51bc…                    checksum: SHA-256 of the three lines above
//! ```
//!
//! The key comes from the passphrase by Argon2id. The first two lines are authenticated with the secrets (as additional
//! data), so that nobody can give a share another index, generation or group, or the file cheaper parameters. Three checks
//! tell three causes apart, in this order: the checksum finds what happens to files by itself, and every careless change;
//! `check`, a hash of the derived key, finds a wrong passphrase; the tag finds a change by somebody who mended the checksum.

use chacha20poly1305::aead::AeadInOut;
use chacha20poly1305::{Key, KeyInit, XChaCha20Poly1305, XNonce};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use thiserror::Error;
use zeroize::Zeroizing;

use super::cost::{Cost, CostError, Floor, SALT_BYTES};
use super::passphrase::Passphrase;
use super::{Entropy, PublicKeys};

/// What the first line begins with.
const MAGIC: &str = "lockstep-keys ";
/// The version that this program writes, and the only one that it reads.
const VERSION: &str = "1";
/// Bytes of an authentication tag.
const TAG_BYTES: usize = 16;

/// Everything in the file that is no secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Header {
    kdf: Kdf,
    cipher: Cipher,
    #[serde(with = "hex::serde")]
    nonce: [u8; 24],
    /// What belongs to the secrets.
    pub(super) keys: PublicKeys,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kdf {
    name: KdfName,
    #[serde(with = "hex::serde")]
    salt: [u8; SALT_BYTES],
    cost: Cost,
    /// First half of a hash of the derived key: tells a wrong passphrase from a changed file. The tag alone would let an
    /// attacker test a guess just as well, so it gives nothing away.
    #[serde(with = "hex::serde")]
    check: [u8; 16],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum KdfName {
    Argon2id,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Cipher {
    XChaCha20Poly1305,
}

/// The key of a file, as derived from its passphrase. With it the file can be written again without the passphrase.
pub(super) struct Sealer {
    kdf: Kdf,
    key: Zeroizing<[u8; 32]>,
}

impl Sealer {
    /// A key for a new file, with a new salt.
    pub(super) fn new(passphrase: &Passphrase, cost: Cost, random: Entropy<'_>) -> Result<Self, EnvelopeError> {
        let salt = random().first_chunk().copied().unwrap_or_default();
        let root = cost.derive(passphrase.expose(), &salt)?;
        let check = expand(&root, b"check").first_chunk().copied().unwrap_or_default();
        let kdf = Kdf { name: KdfName::Argon2id, salt, cost, check };
        Ok(Self { kdf, key: expand(&root, b"encrypt") })
    }

    /// What a guess at the passphrase costs.
    pub(super) const fn cost(&self) -> Cost {
        self.kdf.cost
    }

    /// The bytes of a file with these public and secret parts.
    pub(super) fn seal(
        &self,
        keys: &PublicKeys,
        secrets: &[u8],
        random: Entropy<'_>,
    ) -> Result<Vec<u8>, EnvelopeError> {
        let nonce: [u8; 24] = random().first_chunk().copied().unwrap_or_default();
        let header = Header { kdf: self.kdf.clone(), cipher: Cipher::XChaCha20Poly1305, nonce, keys: keys.clone() };
        let header = serde_json::to_string(&header).map_err(|_| EnvelopeError::Malformed("its second line"))?;
        let mut text = format!("{MAGIC}{VERSION}\n{header}\n");
        let mut sealed = Zeroizing::new(Vec::with_capacity(secrets.len().saturating_add(TAG_BYTES)));
        sealed.extend_from_slice(secrets);
        self.cipher()
            .encrypt_in_place(&XNonce::from(nonce), text.as_bytes(), &mut *sealed)
            .map_err(|_| EnvelopeError::Malformed("its secrets"))?;
        text.push_str(&hex::encode(sealed.as_slice()));
        text.push('\n');
        let sum = hex::encode(Sha256::digest(text.as_bytes()));
        text.push_str(&sum);
        text.push('\n');
        Ok(text.into_bytes())
    }

    /// The secrets of a file that was sealed with this key.
    ///
    /// # Errors
    /// [`EnvelopeError::Resealed`] where it was sealed with another one since.
    pub(super) fn open(&self, file: &Parsed<'_>) -> Result<Zeroizing<Vec<u8>>, EnvelopeError> {
        if file.header.kdf != self.kdf {
            return Err(EnvelopeError::Resealed);
        }
        let mut secrets = Zeroizing::new(file.sealed.clone());
        self.cipher()
            .decrypt_in_place(&XNonce::from(file.header.nonce), file.authenticated.as_bytes(), &mut *secrets)
            .map_err(|_| EnvelopeError::Tampered)?;
        Ok(secrets)
    }

    fn cipher(&self) -> XChaCha20Poly1305 {
        XChaCha20Poly1305::new(&Key::from(*self.key))
    }
}

impl std::fmt::Debug for Sealer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sealer").field("cost", &self.kdf.cost).finish_non_exhaustive()
    }
}

/// A key for one purpose from what Argon2id gave.
fn expand(root: &[u8; 32], purpose: &[u8]) -> Zeroizing<[u8; 32]> {
    let mut hash = Sha256::new();
    for part in [b"lockstep/v1/keystore/".as_slice(), purpose, &[0], root] {
        hash.update(part);
    }
    Zeroizing::new(hash.finalize().into())
}

/// A file of which everything is known that needs no passphrase.
#[derive(Debug)]
pub(super) struct Parsed<'a> {
    pub(super) header: Header,
    authenticated: &'a str,
    sealed: Vec<u8>,
}

/// The public keys that a key file's bytes name, without its passphrase. Nothing vouches for them.
///
/// # Errors
/// Damage, and what is no key file.
pub fn named_keys(bytes: &[u8]) -> Result<PublicKeys, EnvelopeError> {
    Ok(Parsed::read(bytes)?.header.keys)
}

impl<'a> Parsed<'a> {
    /// Takes a file apart.
    ///
    /// # Errors
    /// Damage, and what is no key file of this version.
    pub(super) fn read(bytes: &'a [u8]) -> Result<Self, EnvelopeError> {
        let text = std::str::from_utf8(bytes).map_err(|_| whole(bytes))?;
        let body = text.strip_suffix('\n').and_then(|text| text.rfind('\n')).and_then(|end| end.checked_add(1));
        let (body, sum) = body.and_then(|end| text.split_at_checked(end)).ok_or_else(|| whole(bytes))?;
        if sum.strip_suffix('\n') != Some(&hex::encode(Sha256::digest(body.as_bytes()))) {
            return Err(whole(bytes));
        }
        let mut lines = body.split_inclusive('\n');
        let (first, second, third) = (lines.next(), lines.next(), lines.next());
        let (Some(first), Some(second), Some(third), None) = (first, second, third, lines.next()) else {
            return Err(EnvelopeError::Malformed("its lines"));
        };
        let version = first.strip_prefix(MAGIC).ok_or(EnvelopeError::NoKeyFile)?.trim_end();
        if version != VERSION {
            return Err(EnvelopeError::Version(version.chars().take(16).collect()));
        }
        let authenticated = body.split_at_checked(first.len().saturating_add(second.len())).map(|(lines, _)| lines);
        let authenticated = authenticated.ok_or(EnvelopeError::Malformed("its lines"))?;
        let header = serde_json::from_str(second).map_err(|_| EnvelopeError::Malformed("its second line"))?;
        let sealed = hex::decode(third.trim_end()).map_err(|_| EnvelopeError::Malformed("its third line"))?;
        Ok(Self { header, authenticated, sealed })
    }

    /// Opens it with a passphrase: the key, for writing it again, and the secrets.
    ///
    /// # Errors
    /// Parameters below `floor`, a wrong passphrase, a changed file.
    pub(super) fn unlock(
        &self,
        passphrase: &Passphrase,
        floor: Floor,
    ) -> Result<(Sealer, Zeroizing<Vec<u8>>), EnvelopeError> {
        let kdf = self.header.kdf.clone();
        kdf.cost.check(floor)?;
        let root = kdf.cost.derive(passphrase.expose(), &kdf.salt)?;
        if expand(&root, b"check").first_chunk() != Some(&kdf.check) {
            return Err(EnvelopeError::WrongPassphrase);
        }
        let sealer = Sealer { kdf, key: expand(&root, b"encrypt") };
        let secrets = sealer.open(self)?;
        Ok((sealer, secrets))
    }
}

/// Why a file without a right checksum is none: it was changed, or it never was one.
fn whole(bytes: &[u8]) -> EnvelopeError {
    let has_sum = bytes.strip_suffix(b"\n").and_then(|bytes| bytes.rsplit(|byte| *byte == b'\n').next());
    let has_sum = has_sum.is_some_and(|line| line.len() == 64 && line.iter().all(u8::is_ascii_hexdigit));
    if bytes.starts_with(MAGIC.as_bytes()) || has_sum { EnvelopeError::Damaged } else { EnvelopeError::NoKeyFile }
}

/// Why a key file does not open.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum EnvelopeError {
    /// Something else, such as the unencrypted JSON of the first versions.
    #[error("it is no encrypted key file of this program")]
    NoKeyFile,
    /// A file of a later program.
    #[error("it is of version {0:?}, and this program reads version {VERSION}")]
    Version(String),
    /// The checksum does not fit.
    #[error("it was changed or damaged: its checksum does not fit. Restore it from a backup")]
    Damaged,
    /// The checksum fits, and yet the form is wrong.
    #[error("it was changed: {0} cannot be read")]
    Malformed(&'static str),
    /// Parameters of the key derivation that are refused.
    #[error(transparent)]
    Cost(#[from] CostError),
    /// The derived key is not that of the file.
    #[error("wrong passphrase (or its salt, parameters or check value were changed together with the checksum)")]
    WrongPassphrase,
    /// The passphrase is right, and the tag is not.
    #[error("it was tampered with: the passphrase is right, but its contents are not what was encrypted")]
    Tampered,
    /// The passphrase was changed behind an open keystore.
    #[error("its passphrase or key was changed since this process opened it: start again")]
    Resealed,
}
