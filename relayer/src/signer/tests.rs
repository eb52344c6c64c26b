//! When a share may sign, and when it is forgotten.

use lockstep_core::bls::{Dealing, SecretKey};
use lockstep_core::checkpoint::Checkpoint;
use lockstep_core::derive::Class;
use lockstep_core::dkg::{Binding, Body, Item};
use lockstep_core::group::roster::{Certificate, Mark, Marks};
use lockstep_core::group::{Addresses, Generations, Member};
use lockstep_core::machine::Step;
use lockstep_core::output::{CoinId, Output};
use lockstep_core::{Amount, AssetId, Mix, Uuid};
use tempfile::TempDir;
use tokio::sync::watch;

use super::*;
use crate::keys::{Cost, Floor, HeldShare, MemberKeys, Passphrase, system_entropy};
use crate::peer::Directory;
use crate::rosters::Role;
use crate::store::{Commit, Identity};

pub(crate) const GROUP: B256 = B256::repeat_byte(7);
/// The switch to generation 1.
const SWITCH: u64 = 20;

/// Members 1 to 4, then 1, 2, 3 and 5, three of whom sign, with one key.
pub(crate) struct Group {
    keys: Vec<MemberKeys>,
    pub(crate) dealings: [Dealing; 2],
}

const SEATS: [[usize; 4]; 2] = [[0, 1, 2, 3], [0, 1, 2, 4]];

impl Group {
    pub(crate) fn new() -> Self {
        Self::with_keys([9, 9])
    }

    /// With a key of each generation.
    pub(crate) fn with_keys(keys: [u8; 2]) -> Self {
        let dealing = |key: u8, other: u8| {
            let coefficients = [(key, 0), (other, 1), (other, 2)];
            let derive = |(seed, place): (u8, u8)| SecretKey::derive(&[seed; 32], &[place]).expect("a scalar");
            Dealing::from_coefficients(&coefficients.map(derive), 4).expect("a dealing")
        };
        let dealings = [dealing(keys[0], 1), dealing(keys[1], 2)];
        let mut keys: Vec<_> =
            (0..5).map(|_| MemberKeys::generate("m", None, &mut system_entropy).expect("keys")).collect();
        for (generation, (seats, dealing)) in (0..).zip(SEATS.iter().zip(&dealings)) {
            for (seat, share) in seats.iter().zip(&dealing.shares) {
                let secret = SecretKey::from_bytes(share.secret().to_bytes().as_slice()).expect("a scalar");
                let secret = Arc::new(SecretShare::new(share.index(), secret).expect("a share"));
                let (threshold, group_key) = (3, *dealing.group.key());
                let held = HeldShare { group_id: GROUP, generation, threshold, group_key, secret };
                keys[*seat].hold(held).expect("its share");
            }
        }
        Self { keys, dealings }
    }

    fn roster(&self, generation: u32, marks: Marks) -> Roster {
        let place = usize::try_from(generation).expect("small");
        let keys = SEATS[place].map(|seat| &self.keys[seat]);
        let member = |(index, keys): (u8, &MemberKeys)| Member {
            index,
            name: format!("m{index}"),
            user: keys.ledger.app_id,
            identity: keys.identity.verifying_key(),
            peer: "http://127.0.0.1:1".to_owned(),
        };
        let members = (1..).zip(keys).map(member).collect();
        let roster = Roster::uncertified(GROUP, generation, members, self.dealings[place].group.clone());
        if generation == 0 {
            return roster;
        }
        let (round, proposal, set) = (1, B256::repeat_byte(1), B256::repeat_byte(2));
        let binding = Binding { group_id: GROUP, round, generation, proposal };
        let ready = Body::Ready { set, roster: roster.digest(), marks: marks.digest() };
        let sign = |keys: &MemberKeys| Item::sign(&binding, ready.clone(), &keys.identity).signature;
        let ready = (1..).zip(keys.map(sign)).collect();
        roster.certified(Certificate { round, proposal, set, marks, ready }).expect("all vouch")
    }

    /// The group signed this checkpoint before its members changed.
    pub(crate) fn marks(&self, checkpoint: Checkpoint) -> Marks {
        let digest = checkpoint.digest(&GROUP);
        let parts: Vec<_> = self.dealings[0].shares[..3].iter().map(|share| share.sign_digest(&digest)).collect();
        let recovered = self.dealings[0].group.recover_digest(&digest, &parts, &BTreeSet::new()).expect("three");
        Marks { checkpoint: Some(Mark { checkpoint, signature: recovered.signature.compress() }), ..Marks::default() }
    }
}

pub(crate) fn checkpoint(sequence: u64, history: u8) -> Checkpoint {
    Checkpoint { sequence, history: B256::repeat_byte(history), root: B256::repeat_byte(history) }
}

/// One member's signer, with what it reads.
pub(crate) struct Bench {
    _folder: TempDir,
    pub(crate) store: Store,
    pub(crate) signer: Signer,
    addresses: watch::Sender<Arc<Addresses>>,
    switched: Addresses,
}

impl Bench {
    /// The owner of the keys at `place`, who knows of a generation 1 that follows `mark`. Nothing is switched yet.
    async fn new(group: &Group, place: usize, mark: Checkpoint) -> Self {
        Self::with_marks(group, place, group.marks(mark)).await
    }

    /// The same, where generation 1 follows all of these marks.
    pub(crate) async fn with_marks(group: &Group, place: usize, marks: Marks) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("keys");
        let ring = Keyring::create(&path, &Passphrase::new("correct horse"), Cost::QUICK, group.keys[place].clone());
        let identity = Identity { group_digest: [1; 32], member: 1 };
        let store = Store::open(&folder.path().join("lockstep.db"), identity).await.expect("a database");
        let next = group.roster(1, marks);
        let genesis = group.roster(0, Marks::default());
        let switched = Addresses::from_parts(genesis.mix(), vec![(SWITCH, next.mix())]);
        let (addresses, changing) = watch::channel(Arc::new(Addresses::new(genesis.mix())));
        let mut known = Generations::new(genesis);
        known.learn(next).expect("an outcome");
        let own = group.keys[place].identity.verifying_key().to_bytes();
        let rosters = Rosters::new(own, known, changing, Directory::new(GROUP));
        let signer = Signer::new(rosters, ring.expect("a key file"), store.clone());
        Self { _folder: folder, store, signer, addresses, switched }
    }

    pub(crate) fn switch(&self) {
        self.addresses.send_replace(Arc::new(self.switched.clone()));
    }

    pub(crate) async fn apply(&self, checkpoint: Checkpoint) {
        let id = Uuid::from_u128(checkpoint.sequence.into());
        let output = Output {
            id,
            sequence: checkpoint.sequence,
            created_at: 1,
            coin: CoinId { transaction: checkpoint.history, index: 0 },
            asset: AssetId([1; 32]),
            amount: Amount::from_units(1),
            senders: Some(Mix::of_users([id], 1)),
            extra: Vec::new(),
            stored: None,
            inscription: None,
            spends: Vec::new(),
            generation: 0,
            late: false,
        };
        let step = Step {
            checkpoint,
            leaves: 1,
            classes: vec![(id, Class::Unclaimed)],
            opened: Vec::new(),
            gas: Vec::new(),
            posted: Vec::new(),
            nodes: Vec::new(),
            derived: Vec::new(),
        };
        let commit = Commit { steps: vec![(output, Some(step))], ..Commit::default() };
        self.store.commit(&commit).await.expect("a turn");
    }

    /// The generation that signs now has signed a checkpoint.
    async fn erase(&self, sequence: u64) {
        self.signer.erase_before(&self.signer.rosters().active(), sequence).await.expect("erased");
    }

    /// The generations whose shares it holds, in the file as well.
    fn held(&self) -> Vec<u32> {
        let held = |ring: &Keyring| ring.shares().iter().map(|share| share.generation).collect::<Vec<_>>();
        let path = self._folder.path().join("keys");
        let file = Keyring::open(&path, &Passphrase::new("correct horse"), Floor::Development).expect("a key file");
        assert_eq!(held(&self.signer.ring), held(&file));
        held(&file)
    }

    async fn erasures(&self) -> Vec<(Erasure, bool)> {
        self.store.erasures().await.expect("rows")
    }

    /// Generation and index that it signs with now.
    async fn signs(&self) -> Option<(u32, u8)> {
        let now = self.signer.now().await.expect("no contradiction");
        now.map(|(roster, share)| (roster.generation(), share.index()))
    }
}

#[tokio::test]
async fn a_new_member_should_sign_once_the_switch_is_applied_and_its_history_meets_the_mark() {
    let group = Group::new();
    let bench = Bench::new(&group, 4, checkpoint(10, 1)).await;
    assert_eq!((bench.signs().await, bench.signer.rosters().role()), (None, Role::Joining));
    bench.apply(checkpoint(10, 1)).await;
    assert_eq!(bench.signs().await, None, "not before its switch");
    bench.switch();
    assert_eq!((bench.signs().await, bench.signer.rosters().role()), (Some((1, 4)), Role::Active));

    let behind = Bench::new(&group, 4, checkpoint(10, 1)).await;
    behind.switch();
    behind.apply(checkpoint(9, 1)).await;
    assert_eq!(behind.signs().await, None, "not before it has come as far as the group");
}

#[tokio::test]
async fn another_history_than_the_groups_should_be_a_contradiction() {
    let group = Group::new();
    for wrong in [checkpoint(10, 2), checkpoint(11, 1)] {
        let bench = Bench::new(&group, 4, checkpoint(10, 1)).await;
        bench.switch();
        bench.apply(wrong).await;
        let error = bench.signer.now().await.expect_err("a step that the group did not sign");
        assert!(error.is_contradiction() && error.to_string().contains("at sequence 10"), "{error}");
    }
}

#[tokio::test]
async fn who_stays_should_change_shares_with_the_switch_and_who_leaves_should_stop() {
    let group = Group::new();
    let (stays, leaves) =
        (Bench::new(&group, 2, checkpoint(10, 1)).await, Bench::new(&group, 3, checkpoint(10, 1)).await);
    for bench in [&stays, &leaves] {
        bench.apply(checkpoint(10, 1)).await;
    }
    assert_eq!([stays.signs().await, leaves.signs().await], [Some((0, 3)), Some((0, 4))]);
    stays.switch();
    leaves.switch();
    assert_eq!([stays.signs().await, leaves.signs().await], [Some((1, 3)), None]);
    assert_eq!(leaves.signer.rosters().role(), Role::Leaving);
    // Both know who can spend what lies at either address.
    let seats = |bench: &Bench, generation| {
        let spenders = bench.signer.rosters().spenders(generation).expect("known");
        (spenders.own.map(|seat| (seat.generation, seat.index)), spenders.others.len(), spenders.threshold)
    };
    assert_eq!([seats(&stays, 0), seats(&stays, 1)], [(Some((0, 3)), 3, 3), (Some((1, 3)), 3, 3)]);
    assert_eq!([seats(&leaves, 0), seats(&leaves, 1)], [(Some((0, 4)), 3, 3), (None, 4, 3)]);
}

#[tokio::test]
async fn old_shares_should_go_when_the_new_generation_has_signed_and_not_before_its_switch() {
    let group = Group::new();
    let bench = Bench::new(&group, 0, checkpoint(10, 1)).await;
    assert!(!bench.signer.holds_old_shares(), "the older one signs still");
    bench.erase(30).await;
    assert_eq!((bench.held(), bench.erasures().await), (vec![0, 1], vec![]));
    bench.switch();
    assert!(bench.signer.holds_old_shares());
    bench.erase(31).await;
    assert_eq!((bench.held(), bench.signer.holds_old_shares()), (vec![1], false));
    bench.erase(32).await;
    let next = bench.signer.rosters().active().digest();
    let key = group.dealings[0].group.key().compress();
    let erasure = Erasure { generation: 0, group_key: key, roster: next, sequence: 31 };
    assert_eq!(bench.erasures().await, [(erasure, true)], "once, by what was signed first");
}

#[tokio::test]
async fn share_that_a_crash_left_or_a_backup_brought_back_should_be_erased_at_the_next_start() {
    let group = Group::new();
    let key = group.dealings[0].group.key().compress();
    let erasure = Erasure { generation: 0, group_key: key, roster: B256::ZERO, sequence: 31 };
    let bench = Bench::new(&group, 0, checkpoint(10, 1)).await;
    bench.signer.erase_again().await.expect("nothing was erased yet");
    assert_eq!(bench.held(), [0, 1]);
    bench.store.begin_erasure(&erasure).await.expect("a row, and a crash");
    bench.signer.erase_again().await.expect("erased");
    assert_eq!((bench.held(), bench.erasures().await), (vec![1], vec![(erasure.clone(), true)]));

    let other = Bench::new(&group, 0, checkpoint(10, 1)).await;
    other.store.begin_erasure(&erasure).await.expect("a row");
    assert!(other.signer.ring.erase_share(0).expect("erased"), "and a crash");
    assert_eq!(other.erasures().await, [(erasure.clone(), false)]);
    other.signer.erase_again().await.expect("noted");
    assert_eq!(other.erasures().await, [(erasure, true)]);

    let backup = group.keys[0].shares[&0].clone();
    bench.signer.ring.save_share(&backup).expect("restored");
    bench.signer.erase_again().await.expect("erased");
    assert_eq!(bench.held(), [1]);
}

#[tokio::test]
async fn share_of_another_key_should_go_when_nobody_asks_for_that_key_any_more() {
    let group = Group::with_keys([9, 8]);
    let bench = Bench::new(&group, 0, checkpoint(10, 1)).await;
    let [old, new] = [0, 1].map(|place| group.dealings[place].group.key().compress());
    assert_ne!(old, new);
    assert!(!bench.signer.holds_other_keys(), "the old one signs");
    bench.switch();
    assert!(bench.signer.holds_other_keys());
    for wanted in [None, Some(BTreeSet::from([old, new])), Some(BTreeSet::from([old]))] {
        wanted.into_iter().for_each(|keys| bench.signer.want(keys));
        bench.erase(31).await;
        assert_eq!((bench.held(), bench.signer.holds_old_shares()), (vec![0, 1], false), "a contract may ask for it");
    }
    bench.signer.want(BTreeSet::from([new]));
    assert!(bench.signer.holds_old_shares());
    bench.erase(32).await;
    assert_eq!(bench.held(), [1]);
    assert_eq!((bench.erasures().await.len(), bench.signer.holds_other_keys()), (1, false));
}
