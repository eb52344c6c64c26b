//! Where a passphrase comes from: a file, the environment, or a person at the terminal.

use std::fmt;
use std::io::{self, BufRead, IsTerminal, Read, Write};
use std::path::{Path, PathBuf};

use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
use thiserror::Error;
use zeroize::Zeroizing;

use super::disk::{self, FileError};

/// The variable that holds the passphrase of a member's keys; the same name with `_FILE` names a file of it. A variable can
/// be read by whoever may read the process, and is inherited by children: prefer a file.
pub const VARIABLE: &str = "LOCKSTEP_KEYSTORE_PASSPHRASE";
/// Fewest bytes of a new passphrase. What it is made of is the operator's affair; `openssl rand -hex 32` is good.
pub const LEAST_BYTES: usize = 12;
/// Most bytes of a passphrase.
const MOST_BYTES: u64 = 1_024;

/// A passphrase. Wiped when dropped, never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Passphrase(Zeroizing<String>);

impl Passphrase {
    /// Takes a text as it stands.
    pub fn new(text: impl Into<String>) -> Self {
        Self(Zeroizing::new(text.into()))
    }

    /// 32 random bytes in hex, for files that a machine makes and reads.
    pub fn random(random: super::Entropy<'_>) -> Self {
        let bytes = Zeroizing::new(random());
        let mut text = Zeroizing::new([0; 64]);
        // The text has room for each byte twice, and hex is ASCII.
        let _ = hex::encode_to_slice(bytes.as_slice(), text.as_mut_slice());
        Self(Zeroizing::new(std::str::from_utf8(text.as_slice()).unwrap_or_default().to_owned()))
    }

    /// The text, for the one function that derives the key.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Passphrase(..)")
    }
}

/// Which passphrase is wanted, and where it may be.
#[derive(Clone, Debug, Default)]
pub struct Source {
    /// A file that a flag or the configuration names; it wins.
    pub file: Option<PathBuf>,
    /// The variable, and with `_FILE` the variable of a file.
    pub variable: Option<&'static str>,
    /// What a person is asked for; nobody is asked if it is empty or the standard input is no terminal.
    pub prompt: String,
}

impl Source {
    /// The passphrase of a member's keys: `file` if there is one, else [`VARIABLE`] or its file, else a person.
    pub fn of_keys(file: Option<&Path>) -> Self {
        let prompt = "Passphrase of the member's keys".to_owned();
        Self { file: file.map(Path::to_path_buf), variable: Some(VARIABLE), prompt }
    }

    /// Reads the passphrase of a file that exists.
    ///
    /// # Errors
    /// Where it cannot be read, is given twice, or nobody is there to ask.
    pub fn read(&self) -> Result<Passphrase, PassphraseError> {
        match self.given()? {
            Some(passphrase) => Ok(passphrase),
            None => ask(&self.prompt),
        }
    }

    /// Reads the passphrase of a file that is to be made. A person types it twice.
    ///
    /// # Errors
    /// As [`Self::read`]; also for one that is too short, or typed in two ways.
    pub fn read_new(&self) -> Result<Passphrase, PassphraseError> {
        let passphrase = match self.given()? {
            Some(passphrase) => passphrase,
            None => {
                let first = ask(&self.prompt)?;
                if first != ask(&format!("{}, again", self.prompt))? {
                    return Err(PassphraseError::Mistyped);
                }
                first
            }
        };
        let bytes = passphrase.expose().len();
        if bytes < LEAST_BYTES {
            return Err(PassphraseError::Short { bytes });
        }
        Ok(passphrase)
    }

    /// What needs no person.
    fn given(&self) -> Result<Option<Passphrase>, PassphraseError> {
        if let Some(file) = &self.file {
            return read_file(file).map(Some);
        }
        let Some(variable) = self.variable else { return Ok(None) };
        let file = std::env::var_os(format!("{variable}_FILE"));
        match (std::env::var_os(variable), file) {
            (Some(_), Some(_)) => Err(PassphraseError::Twice { variable }),
            (None, Some(file)) => read_file(Path::new(&file)).map(Some),
            (Some(text), None) => {
                let text = text.into_string().map_err(|_| PassphraseError::NotText { place: variable.to_owned() })?;
                checked(Zeroizing::new(text), variable).map(Some)
            }
            (None, None) => Ok(None),
        }
    }
}

/// One line of a file that nobody else may read.
fn read_file(path: &Path) -> Result<Passphrase, PassphraseError> {
    let place = path.display().to_string();
    let bytes = disk::read_private(path, MOST_BYTES)
        .map_err(|source| PassphraseError::File { path: place.clone(), source: Box::new(source) })?;
    let text = std::str::from_utf8(&bytes).map_err(|_| PassphraseError::NotText { place: place.clone() })?;
    checked(Zeroizing::new(text.strip_suffix('\n').unwrap_or(text).to_owned()), &place)
}

fn checked(text: Zeroizing<String>, place: &str) -> Result<Passphrase, PassphraseError> {
    let text = Zeroizing::new(text.strip_suffix('\r').unwrap_or(&text).to_owned());
    if text.is_empty() {
        return Err(PassphraseError::Empty { place: place.to_owned() });
    }
    if text.contains(['\n', '\0']) {
        return Err(PassphraseError::NotText { place: place.to_owned() });
    }
    Ok(Passphrase(text))
}

/// Asks at the terminal, without an echo.
fn ask(prompt: &str) -> Result<Passphrase, PassphraseError> {
    let input = io::stdin();
    if prompt.is_empty() || !input.is_terminal() {
        return Err(PassphraseError::NobodyToAsk);
    }
    let terminal = |source: io::Error| PassphraseError::Terminal { source };
    let before = tcgetattr(&input).map_err(|errno| terminal(errno.into()))?;
    let mut silent = before.clone();
    silent.local_modes.remove(LocalModes::ECHO);
    silent.local_modes.insert(LocalModes::ECHONL);
    tcsetattr(&input, OptionalActions::Flush, &silent).map_err(|errno| terminal(errno.into()))?;
    let mut output = io::stderr();
    let _ = write!(output, "{prompt}: ").and_then(|()| output.flush());
    // Room for all of it, so that growing leaves no copies behind.
    let mut line = Zeroizing::new(String::with_capacity(usize::try_from(MOST_BYTES).unwrap_or_default()));
    let read = input.lock().take(MOST_BYTES).read_line(&mut line);
    let restored = tcsetattr(&input, OptionalActions::Flush, &before);
    read.map_err(terminal)?;
    restored.map_err(|errno| terminal(errno.into()))?;
    checked(Zeroizing::new(line.strip_suffix('\n').unwrap_or(&line).to_owned()), "the terminal")
}

/// Why there is no passphrase.
#[derive(Debug, Error)]
pub enum PassphraseError {
    /// Its file cannot be used.
    #[error("cannot read the passphrase from `{path}`")]
    File {
        /// The file.
        path: String,
        /// Why.
        #[source]
        source: Box<FileError>,
    },
    /// Not one line of text.
    #[error("{place} holds no passphrase: expected one line of text")]
    NotText {
        /// The file or variable.
        place: String,
    },
    /// Nothing there.
    #[error("{place} holds an empty passphrase")]
    Empty {
        /// The file or variable.
        place: String,
    },
    /// Which one is meant?
    #[error("{variable} and {variable}_FILE are both set: one of them, please")]
    Twice {
        /// The variable.
        variable: &'static str,
    },
    /// A new one that is too short.
    #[error(
        "a passphrase needs at least {LEAST_BYTES} bytes, this one has {bytes}: `openssl rand -hex 32` makes a good one"
    )]
    Short {
        /// Its length.
        bytes: usize,
    },
    /// Two different ones.
    #[error("the two passphrases differ")]
    Mistyped,
    /// The terminal cannot be made silent, or was closed.
    #[error("cannot ask for the passphrase at the terminal")]
    Terminal {
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// No file, no variable, no terminal.
    #[error(
        "no passphrase for the member's keys: set `passphrase_file` in member.toml, {VARIABLE}_FILE or {VARIABLE}, or run \
         this at a terminal"
    )]
    NobodyToAsk,
}

#[cfg(test)]
mod tests {
    use std::fs::{Permissions, write};
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn from_file(text: &[u8], mode: u32) -> Result<Passphrase, PassphraseError> {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("passphrase");
        write(&path, text).expect("written");
        std::fs::set_permissions(&path, Permissions::from_mode(mode)).expect("changed");
        Source { file: Some(path), ..Source::default() }.read_new()
    }

    #[test]
    fn files_without_a_usable_line_or_open_to_others_should_be_refused() {
        assert!(matches!(from_file(b"correct horse", 0o640), Err(PassphraseError::File { .. })));
        assert!(matches!(from_file(b"\n", 0o600), Err(PassphraseError::Empty { .. })));
        assert!(matches!(from_file(b"correct horse\nbattery\n", 0o600), Err(PassphraseError::NotText { .. })));
        assert!(matches!(from_file(b"correct horse \xff", 0o600), Err(PassphraseError::NotText { .. })));
        assert!(matches!(from_file(b"short", 0o600), Err(PassphraseError::Short { bytes: 5 })));
        assert!(matches!(from_file(&[b'a'; 1_025], 0o600), Err(PassphraseError::File { .. })));
        assert!(matches!(Source::default().read(), Err(PassphraseError::NobodyToAsk)));
    }

    #[test]
    fn a_line_should_be_read_without_its_end_and_never_shown() {
        for text in [&b"correct horse"[..], b"correct horse\n", b"correct horse\r\n"] {
            let passphrase = from_file(text, 0o400).expect("a passphrase");
            assert_eq!(passphrase.expose(), "correct horse");
            assert_eq!(format!("{passphrase:?}"), "Passphrase(..)");
        }
        let random = Passphrase::random(&mut || [0xab; 32]);
        assert_eq!(random.expose(), "ab".repeat(32));
    }
}
