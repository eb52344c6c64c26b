//! Files that hold secrets: read only where nobody else can, replaced whole or not at all.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use thiserror::Error;
use zeroize::Zeroizing;

/// Writing takes milliseconds, a new passphrase a second: who holds the lock longer is stopped or lost.
const LOCK_TRIES: u32 = 60;
const LOCK_PAUSE: Duration = Duration::from_millis(50);

/// Reads a whole file of at most `most` bytes.
///
/// # Errors
/// Refuses a file that the group or the world has any right to, and what is no plain file of that size.
pub(super) fn read_private(path: &Path, most: u64) -> Result<Zeroizing<Vec<u8>>, FileError> {
    let file = File::open(path)?;
    let metadata = file.metadata()?;
    let mode = metadata.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(FileError::Exposed { mode });
    }
    if !metadata.is_file() || metadata.len() > most {
        return Err(FileError::Size { most });
    }
    // Room for all of it, so that growing leaves no copies behind.
    let room = usize::try_from(most).unwrap_or(usize::MAX).saturating_add(1);
    let mut bytes = Zeroizing::new(Vec::with_capacity(room));
    file.take(most.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() >= room { Err(FileError::Size { most }) } else { Ok(bytes) }
}

/// Writes a file that its owner alone can read, whole or not at all, also after a power cut.
///
/// # Errors
/// Where it exists already.
pub(super) fn create(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let (folder, beside) = write_beside(path, bytes)?;
    let moved = std::fs::hard_link(&beside, path);
    let _ = std::fs::remove_file(&beside);
    moved?;
    File::open(folder)?.sync_all()
}

/// As [`create`], over what is there. What was there is overwritten with zeros as well: on a file system that writes in
/// place it is gone, on others (copy on write, flash, snapshots, backups) it is not.
///
/// # Errors
/// Where the system refuses; then the old file stands.
pub(super) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let (folder, beside) = write_beside(path, bytes)?;
    let old = OpenOptions::new().write(true).open(path);
    if let Err(error) = std::fs::rename(&beside, path) {
        let _ = std::fs::remove_file(&beside);
        return Err(error);
    }
    File::open(folder)?.sync_all()?;
    match old {
        Ok(old) => wipe(old),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// Overwrites a file that has no name any more.
fn wipe(mut file: File) -> io::Result<()> {
    let length = file.metadata()?.len();
    file.rewind()?;
    io::copy(&mut io::repeat(0).take(length), &mut file)?;
    file.sync_all()
}

/// Writes and syncs the bytes under another name in the same folder; both paths.
fn write_beside(path: &Path, bytes: &[u8]) -> io::Result<(PathBuf, PathBuf)> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
    std::fs::create_dir_all(folder)?;
    let beside = with_suffix(path, ".new");
    // What a crash left behind may hold a share that is erased by now.
    if let Ok(left) = OpenOptions::new().write(true).open(&beside) {
        wipe(left)?;
        std::fs::remove_file(&beside)?;
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    Ok((folder.to_path_buf(), beside))
}

/// Holds off other processes that write the same file, until it is dropped. Waits a little for one that is writing.
///
/// # Errors
/// [`FileError::Busy`] where another one goes on writing.
pub(super) fn lock(path: &Path) -> Result<File, FileError> {
    let lock =
        OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(with_suffix(path, ".lock"))?;
    for _ in 0..LOCK_TRIES {
        match lock.try_lock() {
            Ok(()) => return Ok(lock),
            Err(TryLockError::WouldBlock) => std::thread::sleep(LOCK_PAUSE),
            Err(TryLockError::Error(error)) => return Err(error.into()),
        }
    }
    Err(FileError::Busy)
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// Why a file of secrets is not used.
#[derive(Debug, Error)]
pub enum FileError {
    /// Not there, or not readable.
    #[error("the file cannot be read or written")]
    Io(#[from] io::Error),
    /// Somebody else can read or change it.
    #[error("others have access to it (mode {mode:03o}): chmod 600 it, and think about who read it")]
    Exposed {
        /// Its permission bits.
        mode: u32,
    },
    /// No plain file, or too large.
    #[error("it is no plain file of at most {most} bytes")]
    Size {
        /// Most bytes.
        most: u64,
    },
    /// Another process is about to replace it.
    #[error("another process is writing it")]
    Busy,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replaced_file_should_be_whole_and_its_old_bytes_gone() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("keys/file");
        create(&path, b"old secret").expect("created");
        assert_eq!(create(&path, b"other").expect_err("there").kind(), io::ErrorKind::AlreadyExists);
        // A second name shows what happens to the old bytes.
        let witness = folder.path().join("witness");
        std::fs::hard_link(&path, &witness).expect("linked");
        replace(&path, b"new").expect("replaced");
        assert_eq!(read_private(&path, 3).expect("read").as_slice(), b"new");
        assert_eq!(std::fs::read(&witness).expect("read"), [0; 10]);
        let names: Vec<_> = std::fs::read_dir(folder.path().join("keys")).expect("a folder").collect();
        assert_eq!(names.len(), 1, "nothing is left beside it");

        std::fs::write(with_suffix(&path, ".new"), b"written before a crash").expect("written");
        let left = folder.path().join("left");
        std::fs::hard_link(with_suffix(&path, ".new"), &left).expect("linked");
        replace(&path, b"newest").expect("replaced");
        assert_eq!(std::fs::read(&left).expect("read"), [0; 22]);
    }

    #[test]
    fn what_is_no_private_file_should_be_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("file");
        assert!(matches!(read_private(&path, 10), Err(FileError::Io(_))));
        create(&path, b"0123456789").expect("created");
        assert!(matches!(read_private(&path, 9), Err(FileError::Size { most: 9 })));
        for mode in [0o640, 0o604, 0o620, 0o602, 0o610, 0o601] {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).expect("changed");
            assert!(matches!(read_private(&path, 10), Err(FileError::Exposed { mode: found }) if found == mode));
        }
        let folder_mode = std::fs::Permissions::from_mode(0o700);
        std::fs::set_permissions(folder.path(), folder_mode).expect("changed");
        assert!(read_private(folder.path(), 1 << 20).is_err(), "a folder is no file");
    }

    #[test]
    fn one_writer_should_hold_off_another() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("file");
        let first = lock(&path).expect("free");
        assert!(matches!(lock(&path), Err(FileError::Busy)));
        drop(first);
        assert!(lock(&path).is_ok());
    }
}
