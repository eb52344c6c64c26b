//! What comes out of a ceremony, made durable: the share in the key file, the roster in a file that all can compare.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lockstep_core::B256;
use lockstep_core::dkg::Kind;
use lockstep_core::group::roster::Roster;
use thiserror::Error;

use super::plan::Plan;
use super::progress::Ended;
use super::run::Made;
use super::{Places, folder};
use crate::config::{self, ConfigError, read_roster, roster_path};
use crate::keys::{HeldShare, KeyError, Keyring};

/// The roster that a ceremony follows.
pub(super) fn previous(places: &Places, plan: &Plan) -> Result<Option<Roster>, KeepError> {
    let Some(named) = plan.proposal.previous() else { return Ok(None) };
    let generation = plan.proposal.generation().saturating_sub(1);
    let (path, roster) = if generation == 0 {
        (places.group.clone(), config::read_group(&places.group)?.roster())
    } else {
        let path = roster_path(&places.data, generation);
        let roster = read_roster(&path)?;
        (path, roster)
    };
    let found = roster.digest();
    if found != named {
        return Err(KeepError::OtherRoster { path: path.display().to_string(), named, found });
    }
    Ok(Some(roster))
}

/// Keeps the share first, then the file: a member with a share and without a file does the ceremony's end again.
///
/// Where an earlier round of the same generation came to an end for this member, though the others went on to this one, both
/// give way: of two rosters of a generation the later round counts.
pub(super) fn keep(places: &Places, ring: &Keyring, plan: &Plan, made: &Made) -> Result<Ended, KeepError> {
    let Made { roster, share } = made;
    let (path, text) = match (&plan.terms, plan.proposal.kind()) {
        (Some(terms), Kind::First) => (places.group.clone(), toml::to_string(&terms.group_file(roster))?),
        _ => {
            let file = roster.to_file().ok_or(KeepError::NoCertificate)?;
            (roster_path(&places.data, roster.generation()), toml::to_string(&file)?)
        }
    };
    let before = read_roster(&path).ok();
    // The same outcome may have come as a file of another member, with other signatures in its certificate.
    let is_same =
        before.as_ref().is_some_and(|before| (before.digest(), before.round()) == (roster.digest(), roster.round()));
    if !is_same && !before.is_some_and(|before| roster.supersedes(&before)) {
        check_same(&path, &text)?;
    }
    if let Some(secret) = share {
        ring.renew_share(&HeldShare {
            group_id: roster.group_id(),
            generation: roster.generation(),
            threshold: roster.key().threshold(),
            group_key: *roster.key().key(),
            secret: Arc::clone(secret),
        })?;
    }
    if !is_same {
        write_whole(&path, &text)?;
    }
    Ok(Ended::Done {
        roster: roster.digest(),
        group_key: hex::encode(roster.key().key().compress()),
        file: path.display().to_string(),
        index: share.as_ref().map(|share| share.index()),
    })
}

/// Whether a first ceremony may write the group file: nothing is there, or this group's.
///
/// # Errors
/// Another group's file, or something else.
pub fn check_free(path: &Path, group_id: B256) -> Result<(), KeepError> {
    let is_free = !path.exists() || config::read_group(path)?.id() == group_id;
    if is_free { Ok(()) } else { Err(KeepError::Exists { path: path.display().to_string() }) }
}

/// Refuses a file that is there and has another text.
fn check_same(path: &Path, text: &str) -> Result<(), KeepError> {
    match std::fs::read_to_string(path) {
        Ok(found) if found != text => Err(KeepError::Exists { path: path.display().to_string() }),
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(KeepError::Write { path: path.display().to_string(), source })
        }
        Ok(_) | Err(_) => Ok(()),
    }
}

/// Writes a file whole or not at all.
fn write_whole(path: &Path, text: &str) -> Result<(), KeepError> {
    let write = |source| KeepError::Write { path: path.display().to_string(), source };
    let parent = folder(path);
    std::fs::create_dir_all(parent).map_err(write)?;
    let mut beside = path.as_os_str().to_owned();
    beside.push(format!(".{}.new", std::process::id()));
    let beside = PathBuf::from(beside);
    let moved = write_synced(&beside, text).and_then(|()| std::fs::rename(&beside, path));
    if moved.is_err() {
        let _ = std::fs::remove_file(&beside);
    }
    moved.and_then(|()| File::open(parent)?.sync_all()).map_err(write)
}

fn write_synced(path: &Path, text: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

/// Why the outcome of a ceremony cannot be kept, or that of the one before not be found.
#[derive(Debug, Error)]
pub enum KeepError {
    /// A group file, or a file that cannot be read.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Another roster than the proposal follows.
    #[error("the proposal follows roster {named}, but `{path}` is roster {found}")]
    OtherRoster {
        /// The file.
        path: String,
        /// The proposal's.
        named: B256,
        /// The file's.
        found: B256,
    },
    /// The key file.
    #[error("the share cannot be kept")]
    Keys(#[from] KeyError),
    /// A roster without a certificate that is no group file either.
    #[error("the roster is not certified")]
    NoCertificate,
    /// Cannot be written as TOML.
    #[error("the outcome cannot be written as TOML")]
    Text(#[from] toml::ser::Error),
    /// The file system.
    #[error("cannot write `{path}`")]
    Write {
        /// The file.
        path: String,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// Another file is there.
    #[error("`{path}` exists and is another one: move it away, and join again")]
    Exists {
        /// The file.
        path: String,
    },
}
