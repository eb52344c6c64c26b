//! Why there are no keys, or not these.

use lockstep_core::B256;
use thiserror::Error;

use super::disk::FileError;
use super::envelope::EnvelopeError;
use super::passphrase::PassphraseError;

/// Why there are no keys, or not these.
#[derive(Debug, Error)]
pub enum KeyError {
    /// Not there, not readable, or readable by others.
    #[error("cannot use the key file `{path}`")]
    File {
        /// The file.
        path: String,
        /// Why.
        #[source]
        source: Box<FileError>,
    },
    /// It does not open: damage, another passphrase, tampering, weak parameters.
    #[error("cannot open the key file `{path}`")]
    Open {
        /// The file.
        path: String,
        /// Which of them.
        #[source]
        source: EnvelopeError,
    },
    /// Encrypted by somebody who knows the passphrase, and yet wrong.
    #[error(
        "the key file `{path}` holds secrets that do not belong to its public keys: it was not made by this program"
    )]
    Inconsistent {
        /// The file.
        path: String,
    },
    /// No passphrase.
    #[error(transparent)]
    Passphrase(#[from] PassphraseError),
    /// Not written.
    #[error("cannot write the key file `{path}`")]
    Write {
        /// The file.
        path: String,
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
    /// Random bytes that are no keys.
    #[error("the system's entropy gives no keys")]
    Entropy,
    /// A member before its group.
    #[error("the key file holds no share of a group key")]
    NoShare,
    /// Another share of a generation is there already, and it may have signed.
    #[error(
        "the key file holds another share of generation {generation} already: a share is never replaced, only erased"
    )]
    ShareExists {
        /// The generation.
        generation: u32,
    },
    /// Another member's file, or another index in the configuration.
    #[error("the key file is not that of member {index}: its {what} differs from the group file")]
    OtherMember {
        /// The configured index.
        index: u8,
        /// What differs.
        what: &'static str,
    },
    /// A share of another group.
    #[error("the share in the key file belongs to group {found}, expected {expected}")]
    OtherGroup {
        /// The group file's, or that of the shares that are there.
        expected: B256,
        /// The share's.
        found: B256,
    },
    /// Shares from before or after a reshare.
    #[error("the key file holds a share of generation {}, expected {expected}", numbers(found))]
    OtherGeneration {
        /// The wanted one.
        expected: u32,
        /// Those that are there.
        found: Vec<u32>,
    },
    /// A share of another key.
    #[error("the share in the key file does not fit the group key: member {index} has another public share there")]
    WrongShare {
        /// The member.
        index: u8,
    },
}

fn numbers(generations: &[u32]) -> String {
    generations.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
