//! The guard log: one line for each promise, each with the hash of the chain up to it.
//!
//! ```text
//! lockstep-guards 1 40 0x3f… 130 0x88…      how far the dropped beginning went, the highest checkpoint in it, a checksum
//! 41 checkpoint 131 0x77… 0x1a…             number, kind, what is promised, to what, hash of the chain
//! 42 coin 9c…:0 0x52… 0xe0…
//! ```
//!
//! The hash of a line is keccak of the hash before it and the line without its own. The log is bounded: it is written anew
//! without its older half when it is long, and at each start, so that a process that lost its lease holds a file that nobody
//! reads.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write as _};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use alloy::primitives::keccak256;
use lockstep_core::B256;
use lockstep_core::output::CoinId;
use thiserror::Error;
use tokio::sync::OwnedMutexGuard;

use super::{GuardError, Latest, compare};

/// What the first line begins with, with the version.
const MAGIC: &str = "lockstep-guards 1";
/// Lines at which the older half is dropped. A line has about 230 bytes.
const LINES_MAX: usize = 20_000;
/// Lines that are kept.
const LINES_KEPT: usize = LINES_MAX / 2;
/// Largest log that is read: far above any of ours.
const BYTES_MAX: u64 = 64 * 1024 * 1024;

/// One thing that this member binds itself to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pledge {
    /// The digest of a checkpoint.
    Checkpoint {
        /// Its sequence.
        sequence: u64,
        /// Its digest.
        digest: B256,
    },
    /// The payload that may spend a coin.
    Coin {
        /// The coin.
        coin: CoinId,
        /// Hash of the payload.
        payload: B256,
    },
    /// Anything else that is numbered within a scope: decisions, messages to a contract, steps of a ceremony.
    Other {
        /// One word, in the singular: what is counted.
        kind: &'static str,
        /// Within what, such as a chain id: no spaces.
        scope: String,
        /// Its number there.
        number: u64,
        /// What it is bound to.
        value: B256,
    },
}

impl Pledge {
    /// The line without number and hash.
    fn text(&self) -> String {
        match self {
            Self::Checkpoint { sequence, digest } => format!("checkpoint {sequence} {digest}"),
            Self::Coin { coin, payload } => format!("coin {}:{} {payload}", hex::encode(coin.transaction), coin.index),
            Self::Other { kind, scope, number, value } => format!("{kind} {scope}/{number} {value}"),
        }
    }
}

/// How far a chain of promises goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Head {
    /// How many promises.
    pub(super) count: u64,
    /// The hash of the chain; zero before the first.
    pub(super) hash: B256,
}

impl Head {
    /// The head after one more pledge, whose line is added to `lines`.
    pub(super) fn extend(self, pledge: &Pledge, lines: &mut String) -> Option<Self> {
        let count = self.count.checked_add(1)?;
        let text = format!("{count} {}", pledge.text());
        let hash = chained(self.hash, &text);
        // Writing into a String cannot fail.
        let _ = writeln!(lines, "{text} {hash}");
        Some(Self { count, hash })
    }
}

fn chained(before: B256, text: &str) -> B256 {
    keccak256([before.as_slice(), text.as_bytes()].concat())
}

/// The number that a line begins with.
fn number(line: &str) -> Option<u64> {
    line.split(' ').next()?.parse().ok()
}

fn split_line(bytes: &[u8]) -> Option<(&str, &[u8])> {
    let end = bytes.iter().position(|byte| *byte == b'\n')?;
    let (line, rest) = bytes.split_at_checked(end)?;
    Some((std::str::from_utf8(line).ok()?, rest.get(1..)?))
}

/// One line, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Line {
    head: Head,
    text: String,
}

/// A whole log, checked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Log {
    /// What came before the first line.
    base: Head,
    /// The highest checkpoint among that.
    base_checkpoint: u64,
    lines: Vec<Line>,
}

impl Log {
    /// A log that begins behind `base`.
    pub(super) const fn behind(base: Head, base_checkpoint: u64) -> Self {
        Self { base, base_checkpoint, lines: Vec::new() }
    }

    /// Reads a log; `None` where there is none. What a crash leaves behind is left out: a last line without an end, or, where a
    /// machine lost its power, anything in the place of the lines of the last promise. The database has those, as `last`.
    ///
    /// # Errors
    /// [`LogError::Broken`] for anything else that this program did not write.
    pub(super) fn read(path: &Path, last: &str) -> Result<Option<Self>, LogError> {
        let reading = |source| LogError::Io { path: path.display().to_string(), source };
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(reading(error)),
        };
        let mut bytes = Vec::new();
        file.take(BYTES_MAX).read_to_end(&mut bytes).map_err(reading)?;
        let broken = |line: usize| LogError::Broken { path: path.display().to_string(), line: line.saturating_add(1) };
        let (log, behind) = Self::parse(&bytes).ok_or_else(|| broken(0))?;
        if behind.contains(&b'\n') && behind.len() > log.missing(last) {
            return Err(broken(log.lines.len().saturating_add(1)));
        }
        Ok(Some(log))
    }

    /// The log that these bytes begin with, and what does not follow. `None` where they begin with no log.
    fn parse(bytes: &[u8]) -> Option<(Self, &[u8])> {
        let (first, mut behind) = split_line(bytes)?;
        let mut log = Self::first(first)?;
        while let Some((line, rest)) = split_line(behind) {
            if log.push(line).is_none() {
                break;
            }
            behind = rest;
        }
        Some((log, behind))
    }

    /// Bytes of those of these lines that it lacks.
    fn missing(&self, lines: &str) -> usize {
        let is_missing = |line: &&str| number(line).is_some_and(|count| count > self.head().count);
        lines.lines().filter(is_missing).map(|line| line.len().saturating_add(1)).sum()
    }

    fn first(line: &str) -> Option<Self> {
        let (stated, sum) = line.rsplit_once(' ')?;
        if sum.parse() != Ok(keccak256(stated)) {
            return None;
        }
        let mut parts = stated.strip_prefix(MAGIC)?.strip_prefix(' ')?.split(' ');
        let base = Head { count: parts.next()?.parse().ok()?, hash: parts.next()?.parse().ok()? };
        Some(Self::behind(base, parts.next()?.parse().ok()?)).filter(|_| parts.next().is_none())
    }

    /// Takes in the next line, where it is the next one.
    fn push(&mut self, line: &str) -> Option<()> {
        let (text, hash) = line.rsplit_once(' ')?;
        let before = self.head();
        let count = number(text)?;
        let head = Head { count, hash: hash.parse().ok()? };
        let is_next = Some(count) == before.count.checked_add(1) && head.hash == chained(before.hash, text);
        is_next.then(|| self.lines.push(Line { head, text: text.to_owned() }))
    }

    /// How far it goes.
    pub(super) fn head(&self) -> Head {
        self.lines.last().map_or(self.base, |line| line.head)
    }

    /// The hash of the chain at a number; `None` where that is not told any more, or not yet.
    pub(super) fn hash_at(&self, count: u64) -> Option<B256> {
        if count == self.base.count {
            return Some(self.base.hash);
        }
        let found = self.lines.binary_search_by_key(&count, |line| line.head.count).ok()?;
        self.lines.get(found).map(|line| line.head.hash)
    }

    /// The log with those of these lines that are missing at its end. `None` where they do not follow.
    pub(super) fn completed(&self, lines: &str) -> Option<Self> {
        let mut whole = self.clone();
        for line in lines.lines() {
            if number(line)? > self.head().count {
                whole.push(line)?;
            }
        }
        Some(whole)
    }

    /// The checkpoints that it tells of behind a number.
    pub(super) fn checkpoints_after(&self, count: u64) -> Vec<(u64, B256)> {
        let read = |line: &Line| {
            let mut parts = line.text.split(' ').skip(1);
            let (kind, sequence, digest) = (parts.next()?, parts.next()?, parts.next()?);
            Some((sequence.parse().ok()?, digest.parse().ok()?)).filter(|_| kind == "checkpoint")
        };
        self.lines.iter().filter(|line| line.head.count > count).filter_map(read).collect()
    }

    /// What it tells behind a number, for people: which checkpoints, coins and numbers.
    pub(super) fn words_after(&self, count: u64) -> String {
        let mut numbers = BTreeMap::<(&str, &str), Vec<u64>>::new();
        let mut names = BTreeMap::<&str, Vec<&str>>::new();
        for line in self.lines.iter().filter(|line| line.head.count > count) {
            let mut parts = line.text.split(' ').skip(1);
            let (Some(kind), Some(key)) = (parts.next(), parts.next()) else { continue };
            let (scope, number) = key.rsplit_once('/').unwrap_or(("", key));
            match number.parse() {
                Ok(number) => numbers.entry((kind, scope)).or_default().push(number),
                Err(_) => names.entry(kind).or_default().push(key),
            }
        }
        let mut words = Vec::new();
        let untold = self.base.count.saturating_sub(count);
        if untold > 0 {
            words.push(format!(
                "{untold} promises that the log tells no more, of checkpoints up to {}",
                self.base_checkpoint
            ));
        }
        for ((kind, scope), numbers) in numbers {
            let of = if scope.is_empty() { String::new() } else { format!(" of {scope}") };
            words.push(match (numbers.iter().min(), numbers.iter().max()) {
                (Some(least), Some(most)) if least != most => {
                    format!("{} {kind}s between {least} and {most}{of}", numbers.len())
                }
                (least, _) => format!("{kind} {}{of}", least.copied().unwrap_or_default()),
            });
        }
        for (kind, names) in names {
            let first = names.iter().take(3).copied().collect::<Vec<_>>().join(", ");
            let more = if names.len() > 3 { ", …" } else { "" };
            words.push(format!("{} promises of {kind}s ({first}{more})", names.len()));
        }
        words.join("; ")
    }

    /// Its bytes.
    fn encode(&self) -> String {
        let mut text = format!("{MAGIC} {} {} {}", self.base.count, self.base.hash, self.base_checkpoint);
        let sum = keccak256(&text);
        // Writing into a String cannot fail.
        let _ = writeln!(text, " {sum}");
        for Line { head, text: line } in &self.lines {
            let _ = writeln!(text, "{line} {}", head.hash);
        }
        text
    }

    /// Drops all but the last `kept` lines.
    fn shorten(&mut self, kept: usize) {
        let dropped = self.lines.len().saturating_sub(kept);
        let checkpoint = self.checkpoints_after(0).iter().map(|(sequence, _)| *sequence).max();
        if let Some(last) = dropped.checked_sub(1).and_then(|last| self.lines.get(last)) {
            self.base = last.head;
            self.base_checkpoint = self.base_checkpoint.max(checkpoint.unwrap_or_default());
            self.lines.drain(..dropped);
        }
    }
}

/// The log as it is written. One process has it, under its lease.
#[derive(Debug)]
pub(in crate::store) struct Writer {
    path: PathBuf,
    file: Arc<File>,
    head: Head,
    lines: usize,
    /// An append failed: how the file ends is not known.
    is_failed: bool,
}

impl Writer {
    /// Writes a log anew, whole or not at all, and goes on behind it.
    ///
    /// # Errors
    /// What the disk reports.
    pub(super) fn create(path: &Path, log: &Log) -> Result<Self, LogError> {
        let mut log = log.clone();
        if log.lines.len() >= LINES_MAX {
            log.shorten(LINES_KEPT);
        }
        let writing = |source| LogError::Io { path: path.display().to_string(), source };
        let beside = path.with_extension("log.new");
        let write = || {
            let mut file = OpenOptions::new().append(true).create(true).mode(0o600).open(&beside)?;
            // What a crash left behind.
            file.set_len(0)?;
            file.write_all(log.encode().as_bytes())?;
            file.sync_all()?;
            std::fs::rename(&beside, path)?;
            let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
            File::open(folder)?.sync_all()?;
            Ok(file)
        };
        let file = write().map_err(writing)?;
        let (head, lines) = (log.head(), log.lines.len());
        Ok(Self { path: path.to_path_buf(), file: Arc::new(file), head, lines, is_failed: false })
    }

    /// Opens the log of a database whose last promise is `latest`: written anew, so that no other process has it open.
    ///
    /// To be called while this process has the database's write lock under its lease, and ended before that: so another
    /// process cannot have a file of its own there.
    ///
    /// # Errors
    /// [`GuardError`] where the two do not belong together.
    pub(super) fn open(path: &Path, latest: &Latest) -> Result<Self, GuardError> {
        compare(path, latest, Log::read(path, &latest.lines)?.as_ref())
    }

    /// As if the disk were another one.
    #[cfg(test)]
    pub(super) fn write_to(&mut self, path: &Path) {
        self.file = Arc::new(OpenOptions::new().append(true).open(path).expect("a device"));
    }

    /// False where it must be opened again: it does not stand where the database stands (an append failed, or a promise was
    /// given up between the two), or it is long.
    pub(super) fn may_go_on(&self, head: &Head) -> bool {
        !self.is_failed && self.head == *head && self.lines < LINES_MAX
    }
}

/// Writes lines that lead to `head`, and waits until they are on the disk. It is done to its end also if nobody waits for it.
///
/// # Errors
/// What the disk reports. The log is then opened again before the next promise.
pub(super) async fn append(mut log: OwnedMutexGuard<Writer>, lines: String, head: Head) -> Result<(), LogError> {
    let done = tokio::task::spawn_blocking(move || {
        // Until it has succeeded.
        log.is_failed = true;
        let written = (&*log.file).write_all(lines.as_bytes()).and_then(|()| log.file.sync_data());
        written.map_err(|source| LogError::Io { path: log.path.display().to_string(), source })?;
        log.head = head;
        log.lines = log.lines.saturating_add(lines.lines().count());
        log.is_failed = false;
        Ok(())
    });
    done.await.unwrap_or(Err(LogError::Failed))
}

/// Why the log is not used.
#[derive(Debug, Error)]
pub enum LogError {
    /// What the disk reports.
    #[error("cannot read or write the guard log `{path}`")]
    Io {
        /// The log.
        path: String,
        /// What it says.
        #[source]
        source: io::Error,
    },
    /// A line that this program did not write there.
    #[error("the guard log `{path}` was changed or damaged: line {line} does not follow from the one before")]
    Broken {
        /// The log.
        path: String,
        /// The line, from 1.
        line: usize,
    },
    /// Lines that do not follow from one another.
    #[error("the guard log `{path}` cannot be continued")]
    Unchained {
        /// The log.
        path: String,
    },
    /// Nobody knows whether an append was done.
    #[error("the guard log could not be written: the task that did it ended")]
    Failed,
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use proptest::prelude::*;

    use super::*;

    fn checkpoint(sequence: u64) -> Pledge {
        Pledge::Checkpoint { sequence, digest: B256::left_padding_from(&sequence.to_be_bytes()) }
    }

    fn log_of(pledges: &[Pledge]) -> Log {
        let mut log = Log::default();
        for pledge in pledges {
            let mut line = String::new();
            log.head().extend(pledge, &mut line).expect("a line");
            log.push(line.trim_end()).expect("the next line");
        }
        log
    }

    fn written(log: &Log) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("lockstep.guards.log");
        Writer::create(&path, log).expect("written");
        (folder, path)
    }

    #[test]
    fn every_changed_byte_should_be_found() {
        let log = log_of(&[10, 11, 12].map(checkpoint));
        let (_folder, path) = written(&log);
        assert_eq!(Log::read(&path, "").expect("whole"), Some(log));
        let good = std::fs::read(&path).expect("bytes");
        for place in 0..good.len() {
            let mut bytes = good.clone();
            bytes[place] ^= 1;
            std::fs::write(&path, &bytes).expect("written");
            match Log::read(&path, "") {
                Err(LogError::Broken { .. }) => {}
                // Without its line end, the last line is one that a crash cut off.
                Ok(Some(read)) => assert_eq!((place, read.head().count), (good.len().saturating_sub(1), 2)),
                other => panic!("byte {place}: {other:?}"),
            }
        }
        // A line taken out, two lines changed about, a line twice.
        let text = String::from_utf8(good).expect("text");
        let lines: Vec<_> = text.lines().collect();
        for wrong in [vec![0, 2, 3], vec![0, 2, 1, 3], vec![0, 1, 1, 2, 3], vec![1, 2, 3]] {
            let wrong: String = wrong.into_iter().map(|line| format!("{}\n", lines[line])).collect();
            std::fs::write(&path, wrong).expect("written");
            assert!(matches!(Log::read(&path, ""), Err(LogError::Broken { .. })));
        }
    }

    /// Three lines, as they are kept.
    static KEPT: LazyLock<(Log, Vec<u8>)> = LazyLock::new(|| {
        let log = log_of(&[10, 11, 12].map(checkpoint));
        let (_folder, path) = written(&log);
        (log, std::fs::read(path).expect("bytes"))
    });

    proptest! {
        /// However a log is damaged, what is read of it is how the log began.
        #[test]
        fn a_damaged_log_should_read_as_its_beginning_or_not_at_all(
            place in any::<prop::sample::Index>(),
            length in 0..40_usize,
            with in prop::collection::vec(any::<u8>(), 0..40),
        ) {
            let (log, mut bytes) = (&KEPT.0, KEPT.1.clone());
            let from = place.index(bytes.len());
            bytes.splice(from..from.saturating_add(length).min(KEPT.1.len()), with);
            if let Some((read, _)) = Log::parse(&bytes) {
                prop_assert!(log.lines.starts_with(&read.lines));
                prop_assert_eq!((read.base, read.base_checkpoint), (log.base, log.base_checkpoint));
            }
        }
    }

    #[test]
    fn torn_line_should_be_left_out_and_completed() {
        let log = log_of(&[10, 11, 12].map(checkpoint));
        let (_folder, path) = written(&log);
        let text = std::fs::read_to_string(&path).expect("text");
        let last = text.lines().last().expect("a line");
        for cut in 1..=last.len().saturating_add(1) {
            std::fs::write(&path, &text[..text.len().saturating_sub(cut)]).expect("written");
            let torn = Log::read(&path, "").expect("readable").expect("there");
            assert_eq!(torn.head().count, 2);
            assert_eq!(torn.completed(&format!("{last}\n")), Some(log.clone()));
        }
        assert_eq!(log_of(&[checkpoint(10)]).completed(last), None, "a line between is missing");
        assert_eq!(log.completed(last), Some(log.clone()), "nothing is missing");
    }

    #[test]
    fn gap_should_be_named() {
        let coin = |byte: u8| {
            let coin = CoinId { transaction: B256::repeat_byte(byte), index: 0 };
            Pledge::Coin { coin, payload: B256::ZERO }
        };
        let other = |kind, scope: &str, number| Pledge::Other { kind, scope: scope.into(), number, value: B256::ZERO };
        let mut pledges = vec![checkpoint(3), checkpoint(9), checkpoint(7), coin(0xaa)];
        pledges.extend([other("message", "31337", 4), other("decision", "", 2), other("decision", "", 3)]);
        let mut log = log_of(&pledges);
        let coin_words = format!("1 promises of coins ({}:0)", "aa".repeat(32));
        let rest = "2 decisions between 2 and 3; message 4 of 31337";
        assert_eq!(log.words_after(0), format!("3 checkpoints between 3 and 9; {rest}; {coin_words}"));
        assert_eq!(log.words_after(2), format!("checkpoint 7; {rest}; {coin_words}"));
        log.shorten(2);
        let untold = "5 promises that the log tells no more, of checkpoints up to 9";
        assert_eq!(log.words_after(0), format!("{untold}; 2 decisions between 2 and 3"));
        let (_folder, path) = written(&log);
        assert_eq!(Log::read(&path, "").expect("whole"), Some(log));
    }

    #[tokio::test]
    async fn long_log_should_lose_its_beginning_and_keep_its_chain() {
        let (_folder, path) = written(&Log::default());
        let log = Log::read(&path, "").expect("whole").expect("there");
        let writer = Arc::new(tokio::sync::Mutex::new(Writer::create(&path, &log).expect("opened")));
        let mut latest = Latest::default();
        for batch in [LINES_MAX - 1, 1, 1] {
            let pledges: Vec<_> = (0..batch).map(|place| checkpoint(latest.checkpoint + 1 + place as u64)).collect();
            latest = latest.after(&pledges).expect("lines");
            append(Arc::clone(&writer).lock_owned().await, latest.lines.clone(), latest.head).await.expect("appended");
            let mut writer = writer.lock().await;
            let is_long = latest.head.count >= LINES_MAX as u64;
            assert_eq!(writer.may_go_on(&latest.head), !is_long || latest.head.count > LINES_MAX as u64);
            if !writer.may_go_on(&latest.head) {
                *writer = Writer::open(&path, &latest).expect("written anew");
            }
        }
        let log = Log::read(&path, "").expect("whole").expect("there");
        assert_eq!((log.lines.len(), log.head()), (LINES_KEPT + 1, latest.head));
        assert_eq!(log.base_checkpoint, 20_000, "of all that were there, for nothing lower is certain");
        assert!(!writer.lock().await.may_go_on(&Head::default()));
    }
}
