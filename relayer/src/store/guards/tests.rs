//! What a restored database, log or both are told by, and that nothing is promised before a person has looked.

use std::path::PathBuf;
use std::time::Duration;

use ed25519_dalek::SigningKey;
use lockstep_core::B256;
use tempfile::TempDir;

use super::{GuardError, LogError, log_path};
use crate::store::{Identity, Store, StoreError};
use crate::world::witness::GuardHead;

const US: Identity = Identity { group_digest: [7; 32], member: 1 };
const GROUP: B256 = B256::repeat_byte(7);
const REASON: &str = "the disk died, and this is the newest backup";

/// A member's folder, with a copy of what it was at each step.
struct Member {
    folder: TempDir,
}

impl Member {
    fn new() -> Self {
        Self { folder: TempDir::new().expect("a folder") }
    }

    fn database(&self) -> PathBuf {
        self.folder.path().join("lockstep.db")
    }

    fn log(&self) -> PathBuf {
        log_path(&self.database())
    }

    async fn open(&self) -> Result<Store, StoreError> {
        Store::open(&self.database(), US).await
    }

    /// Promises the checkpoints, in a run of its own.
    async fn promise(&self, sequences: std::ops::RangeInclusive<u64>) {
        let store = self.open().await.expect("opened");
        for sequence in sequences {
            store.guard_checkpoint(sequence, digest(sequence)).await.expect("promised");
        }
        store.close().await;
    }

    fn read(&self) -> (Vec<u8>, Vec<u8>) {
        (std::fs::read(self.database()).expect("a database"), std::fs::read(self.log()).expect("a log"))
    }

    fn restore_database(&self, bytes: &[u8]) {
        for suffix in ["db-wal", "db-shm"] {
            let _ = std::fs::remove_file(self.database().with_extension(suffix));
        }
        std::fs::write(self.database(), bytes).expect("restored");
    }

    async fn refusal(&self) -> GuardError {
        guard_error(self.open().await)
    }

    async fn accept(&self) -> Result<super::Restored, StoreError> {
        Store::accept_restore(&self.database(), US, REASON).await
    }
}

fn guard_error<T: std::fmt::Debug>(result: Result<T, StoreError>) -> GuardError {
    let error = result.expect_err("it must refuse");
    let StoreError::Guards(error) = error else { panic!("another refusal: {error}") };
    *error
}

fn digest(sequence: u64) -> B256 {
    B256::left_padding_from(&sequence.to_be_bytes())
}

fn identity() -> SigningKey {
    SigningKey::from_bytes(&[1; 32])
}

async fn head(store: &Store) -> GuardHead {
    GuardHead::sign(GROUP, store.reach().await.expect("a head"), &identity())
}

#[tokio::test]
async fn database_from_before_the_last_signature_should_refuse_and_name_the_gap() {
    let member = Member::new();
    member.promise(100..=101).await;
    let (older, _) = member.read();
    member.promise(102..=130).await;
    member.restore_database(&older);
    let refused = member.refusal().await;
    assert!(refused.is_for_a_person());
    let words = refused.to_string();
    assert!(words.contains("it lacks 29 checkpoints between 102 and 130."), "{words}");
    assert!(words.contains("It holds 2 promises (checkpoints up to 101, 0 of coins), the guard log 31."), "{words}");
    assert!(words.contains("`lockstep keys accept-restore --reason …`"), "{words}");
    assert!(matches!(member.refusal().await, GuardError::Older { count: 31, .. }), "asking again changes nothing");

    for reason in ["", "too short", "two\nlines of a reason", &"long".repeat(126)] {
        let refused = Store::accept_restore(&member.database(), US, reason).await;
        assert!(matches!(guard_error(refused), GuardError::Reason), "{reason}");
    }
    let restored = member.accept().await.expect("accepted");
    assert_eq!((restored.database.count, restored.now.count, restored.checkpoints), (2, 32, 29));
    assert_eq!(restored.now.checkpoint, 130);
    assert!(matches!(guard_error(member.accept().await), GuardError::NothingLost));
    let store = member.open().await.expect("it signs again");
    store.guard_checkpoint(131, digest(131)).await.expect("promised");
    store.guard_checkpoint(120, digest(120)).await.expect("as it was");
    let other = store.guard_checkpoint(121, digest(9)).await.expect_err("the log remembered");
    assert!(other.is_contradiction());
    store.close().await;
    member.open().await.expect("and so on").close().await;
}

#[tokio::test]
async fn empty_database_beside_a_log_should_refuse() {
    let member = Member::new();
    member.promise(1..=3).await;
    member.restore_database(b"");
    let words = member.refusal().await.to_string();
    assert!(words.contains("it lacks 3 checkpoints between 1 and 3. It holds no promise at all"), "{words}");
}

#[tokio::test]
async fn missing_cut_changed_and_foreign_logs_should_be_told_apart() {
    let member = Member::new();
    member.promise(1..=3).await;
    let (_, three) = member.read();
    member.promise(4..=6).await;
    let (database, six) = member.read();
    // Three lines of a run of its own, cut: not what a crash does.
    std::fs::write(member.log(), &three).expect("cut");
    assert!(matches!(member.refusal().await, GuardError::Truncated { ends: 3, .. }));
    std::fs::remove_file(member.log()).expect("removed");
    assert!(matches!(member.refusal().await, GuardError::Missing { .. }));
    let mut changed = six.clone();
    let place = changed.len().saturating_sub(300);
    changed[place] ^= 1;
    std::fs::write(member.log(), changed).expect("changed");
    let refused = member.refusal().await;
    assert!(matches!(refused, GuardError::Log(LogError::Broken { .. })) && refused.is_for_a_person());
    member.accept().await.expect("a changed log is given up");

    // The database of another life of the same member: as long, and longer.
    let other = Member::new();
    for last in [6, 7] {
        for sequence in 1..=last {
            let store = other.open().await.expect("opened");
            store.guard_checkpoint(sequence, digest(sequence + 1)).await.expect("promised");
            store.close().await;
        }
        let (_, log) = other.read();
        member.restore_database(&database);
        std::fs::write(member.log(), log).expect("exchanged");
        assert!(matches!(member.refusal().await, GuardError::Forked { .. }), "{last}");
    }
    std::fs::write(member.log(), six).expect("put back");
    member.open().await.expect("the right one").close().await;
}

#[tokio::test]
async fn crash_between_database_and_log_should_be_mended() {
    let member = Member::new();
    member.promise(1..=3).await;
    let (_, log) = member.read();
    member.promise(4..=4).await;
    let whole = member.read().1;
    let line = whole.len() - log.len();
    // Nothing, a part, the whole line but its end; and what a machine without power leaves: nothing that was written.
    let torn = [Vec::new(), b"4 checkpoint 4 0x00".to_vec(), whole[log.len()..whole.len() - 1].to_vec()];
    let lost = [vec![0; line], vec![b'\n'; line], vec![0xff; line], b"zz\n4 checkpoint 4\n".to_vec()];
    for behind in torn.iter().chain(&lost) {
        std::fs::write(member.log(), [&log[..], behind].concat()).expect("as a crash leaves it");
        member.open().await.expect("mended").close().await;
        assert_eq!(member.read().1, whole);
    }
    // More than the last promise is no crash, nor is anything behind what the database has.
    for behind in [[vec![b'\n'; line], vec![0]].concat(), [&whole[log.len()..], b"zz\n"].concat()] {
        std::fs::write(member.log(), [&log[..], &behind].concat()).expect("changed");
        assert!(matches!(member.refusal().await, GuardError::Log(LogError::Broken { .. })));
    }
}

#[tokio::test]
async fn promise_that_was_given_up_half_way_should_not_stop_the_next() {
    let member = Member::new();
    let store = member.open().await.expect("opened");
    for sequence in 1..=40 {
        // Cut off at every await there is, one after the other: before the commit, in it, behind it.
        let mut promise = Box::pin(store.guard_checkpoint(sequence, digest(sequence)));
        for _ in 0..sequence {
            if futures_util::poll!(&mut promise).is_ready() {
                break;
            }
            tokio::task::yield_now().await;
        }
        drop(promise);
        store.guard_checkpoint(sequence, digest(sequence)).await.expect("the same again");
    }
    store.close().await;
    let lines = member.read().1;
    assert_eq!(lines.iter().filter(|byte| **byte == b'\n').count(), 41, "each promise once");
    member.open().await.expect("they agree").close().await;
}

#[tokio::test]
async fn full_disk_should_stop_promises_and_not_the_member() {
    let member = Member::new();
    let store = member.open().await.expect("opened");
    store.guard_checkpoint(1, digest(1)).await.expect("promised");
    // The disk takes no more: what is written to this device fails with the error of a full one.
    let log = std::sync::Arc::clone(store.log.as_ref().expect("open"));
    log.lock().await.write_to(std::path::Path::new("/dev/full"));
    std::fs::create_dir(member.log().with_extension("log.new")).expect("nor a new file");
    for _ in 0..3 {
        let refused = guard_error(store.guard_checkpoint(2, digest(2)).await);
        assert!(matches!(refused, GuardError::Log(LogError::Io { .. })) && !refused.is_for_a_person(), "{refused}");
    }
    let other = store.guard_checkpoint(3, digest(3)).await;
    assert!(matches!(guard_error(other), GuardError::Log(LogError::Io { .. })), "nor anything else");
    std::fs::remove_dir(member.log().with_extension("log.new")).expect("there is room again");
    store.guard_checkpoint(3, digest(3)).await.expect("without a restart");
    store.guard_checkpoint(2, digest(2)).await.expect("it stands");
    assert_eq!(
        store.guard_checkpoint(2, digest(9)).await.expect_err("it stands").to_string().split(':').next(),
        Some("contradiction")
    );
    store.close().await;
    member.open().await.expect("they agree").close().await;
}

#[tokio::test]
async fn folder_restored_as_a_whole_should_be_told_by_what_peers_saw() {
    let member = Member::new();
    member.promise(1..=3).await;
    let (database, log) = member.read();
    let store = member.open().await.expect("opened");
    let early = head(&store).await;
    store.guard_checkpoint(4, digest(4)).await.expect("promised");
    let seen = head(&store).await;
    store.check_own_heads(&[early]).await.expect("of before");
    store.check_own_heads(std::slice::from_ref(&seen)).await.expect("of now");
    store.close().await;
    member.restore_database(&database);
    std::fs::write(member.log(), log).expect("restored");

    // Database and log agree, and only the peers know better.
    let store = member.open().await.expect("nothing is amiss here");
    let error = store.check_own_heads(std::slice::from_ref(&seen)).await.expect_err("behind");
    assert!(error.is_contradiction());
    let words = error.to_string();
    assert!(words.contains("it lacks the promises 4 to 4, for it holds 3 promises (checkpoints up to 3,"), "{words}");
    assert!(words.contains("peers have seen 4 promises (checkpoints up to 4,"), "{words}");
    store.close().await;
    assert!(matches!(member.refusal().await, GuardError::Behind { .. }), "it is remembered without the peers");
    assert_eq!(member.accept().await.expect("accepted").now.count, 5);
    let store = member.open().await.expect("it signs again");
    store.check_own_heads(&[seen]).await.expect("passed");

    // Another copy of this member has promised something else under a number that this one knows.
    store.guard_checkpoint(5, digest(5)).await.expect("promised");
    let now = head(&store).await;
    let forked = GuardHead::sign(GROUP, crate::world::witness::Reach { hash: digest(9), ..now.reach }, &identity());
    let error = store.check_own_heads(&[now, forked]).await.expect_err("forked");
    assert!(matches!(guard_error::<()>(Err(error)), GuardError::ForkSeen { .. }));
}

#[tokio::test]
async fn nothing_should_be_promised_until_peers_were_asked() {
    let member = Member::new();
    let store = member.open().await.expect("opened");
    store.hold_back();
    let refused = guard_error(store.guard_checkpoint(1, digest(1)).await);
    assert!(matches!(refused, GuardError::Unsure) && !refused.is_for_a_person());
    store.go_ahead();
    store.guard_checkpoint(1, digest(1)).await.expect("promised");
}

#[tokio::test]
async fn heads_of_others_should_only_grow() {
    let member = Member::new();
    let store = member.open().await.expect("opened");
    let of = |count, hash: u8| {
        let reach = crate::world::witness::Reach { count, hash: B256::repeat_byte(hash), checkpoint: count, coins: 0 };
        GuardHead::sign(GROUP, reach, &identity())
    };
    assert!(store.see_head(&of(5, 5)).await.expect("kept"));
    assert!(store.see_head(&of(4, 4)).await.expect("older"));
    assert_eq!(store.heads_seen().await.expect("rows"), [of(5, 5)]);
    assert!(!store.see_head(&of(5, 6)).await.expect("another word on the same promise"));
    assert!(store.see_head(&of(6, 6)).await.expect("newer"));
    assert_eq!(store.heads_seen().await.expect("rows"), [of(6, 6)]);
}

/// A peer that has heard enough hangs up, and with it ends whatever was about to answer it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_promise_that_nobody_waits_for_any_more_should_be_whole_or_nothing() {
    let member = Member::new();
    let store = member.open().await.expect("opened");
    for sequence in 1..=300 {
        let patience = Duration::from_micros(20 * sequence);
        let _ = tokio::time::timeout(patience, store.guard_checkpoint(sequence, digest(sequence))).await;
    }
    store.guard_checkpoint(1_000, digest(1_000)).await.expect("database and log agree");
    store.close().await;
    member.open().await.expect("and still do").close().await;
}
