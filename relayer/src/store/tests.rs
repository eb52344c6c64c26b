//! The promises of the store: what is written is kept, what is promised cannot change.

use lockstep_core::checkpoint::Checkpoint;
use lockstep_core::derive::{CoinRef, Derived, DerivedMemo, Payee, Record};
use lockstep_core::frontier::{NodeChange, NodePlace};
use lockstep_core::govern::Subject;
use lockstep_core::machine::{Named, Step};
use lockstep_core::mask::MaskPair;
use lockstep_core::mixin::{GhostScalar, Input, Output as KernelOutput, RawKey, Signature, Transaction};
use lockstep_core::operation::DecisionBody;
use lockstep_core::output::{CoinId, Output};
use lockstep_core::payout::{Attempts, InputSignature, Verdict};
use lockstep_core::trace::Trace;
use lockstep_core::{Account, Amount, AssetId, B256, FixedBytes, Mix, Uuid};
use tempfile::TempDir;

use super::{Commit, GroupSigned, Identity, MaskRow, Payload, ProposalRow, SigningSwitch, Store, StoreError};

const US: Identity = Identity { group_digest: [7; 32], member: 1 };

async fn open(folder: &TempDir) -> Store {
    Store::open(&folder.path().join("lockstep.db"), US).await.expect("a database")
}

fn output(sequence: u64) -> Output {
    Output {
        id: Uuid::from_u128(u128::from(sequence)),
        sequence,
        created_at: 1,
        coin: CoinId { transaction: B256::repeat_byte(3), index: 0 },
        asset: AssetId([1; 32]),
        amount: Amount::from_units(5),
        senders: Some(Mix::of_users([Uuid::from_u128(9)], 1)),
        extra: vec![1, 2],
        stored: None,
        inscription: None,
        spends: Vec::new(),
        generation: 0,
        late: false,
    }
}

fn refund(sequence: u64, amount: u128) -> Named {
    let output = Uuid::from_u128(u128::from(sequence));
    let derived = Derived {
        trace: Trace::Refund { output },
        asset: AssetId([1; 32]),
        inputs: vec![CoinRef::Output(output)],
        outputs: vec![(Payee::Group(0), Amount::from_units(amount))],
        memo: DerivedMemo::Refund,
        key: None,
    };
    Named { id: Uuid::from_u128(0xff00 + u128::from(sequence)), derived }
}

fn step(sequence: u64) -> Step {
    let hash = B256::repeat_byte(u8::try_from(sequence).expect("a small sequence"));
    Step {
        checkpoint: Checkpoint { sequence, history: hash, root: hash },
        leaves: 1,
        classes: Vec::new(),
        opened: Vec::new(),
        gas: Vec::new(),
        posted: Vec::new(),
        nodes: vec![NodeChange { place: NodePlace { level: 0, index: 0 }, hash }],
        derived: vec![refund(sequence, 5)],
    }
}

fn turn(sequences: &[u64]) -> Commit {
    let steps = sequences.iter().map(|sequence| (output(*sequence), Some(step(*sequence)))).collect();
    Commit { steps, ..Commit::default() }
}

/// Each has connections of its own, as processes have.
#[tokio::test]
async fn a_database_may_be_made_by_two_at_once() {
    let folder = TempDir::new().expect("a folder");
    for round in 0..40 {
        let path = folder.path().join(format!("{round}.db"));
        let both = tokio::join!(Store::open_unclaimed(&path), Store::open_unclaimed(&path));
        assert!(both.0.is_ok() && both.1.is_ok(), "{both:?}");
    }
}

#[tokio::test]
async fn a_database_of_somebody_else_should_be_refused() {
    let folder = TempDir::new().expect("a folder");
    open(&folder).await.close().await;
    let path = folder.path().join("lockstep.db");
    for other in [Identity { group_digest: [8; 32], ..US }, Identity { member: 2, ..US }] {
        assert!(matches!(Store::open(&path, other).await, Err(StoreError::Identity { .. })));
    }
    open(&folder).await;
}

/// As [`refund`], of a place at which the group had this key; `None`: its first.
fn keyed(sequence: u64, key: Option<u8>) -> Named {
    let Named { id, derived } = refund(sequence, 5);
    Named { id, derived: Derived { key: key.map(|byte| Box::new(FixedBytes::repeat_byte(byte))), ..derived } }
}

#[tokio::test]
async fn nobody_else_should_be_able_to_read_the_database() {
    use std::os::unix::fs::PermissionsExt;
    let folder = TempDir::new().expect("a folder");
    let store = open(&folder).await;
    store.commit(&turn(&[3])).await.expect("ok");
    for file in std::fs::read_dir(folder.path()).expect("a folder") {
        let file = file.expect("an entry");
        let mode = file.metadata().expect("a file").permissions().mode();
        assert_eq!(mode & 0o077, 0, "{:?}", file.file_name());
    }
}

/// Shares of a key are kept while a payout may need them.
#[tokio::test]
async fn open_payouts_should_say_which_keys_they_need() {
    let folder = TempDir::new().expect("a folder");
    let store = open(&folder).await;
    let derived = vec![keyed(1, None), keyed(2, Some(2)), keyed(3, Some(3)), keyed(4, Some(3))];
    store.commit(&Commit { derived: derived.clone(), ..Commit::default() }).await.expect("a turn");
    store.mark_final(derived[1].id, B256::ZERO).await.expect("final");
    assert_eq!(store.open_keys().await.expect("rows"), [None, Some(FixedBytes::repeat_byte(3))].into());
    store.replay().check_derived(&derived[2]).await.expect("the same");
    for other in [None, Some(2)] {
        assert!(store.replay().check_derived(&keyed(3, other)).await.is_err(), "it had another key");
    }
}

/// A database of before the keys of payouts were a secret: its rows do not say which key was the group's. The replay tells.
#[tokio::test]
async fn a_row_of_before_keys_should_be_taken_for_what_it_is() {
    let folder = TempDir::new().expect("a folder");
    let store = open(&folder).await;
    let derived = vec![keyed(1, None), keyed(2, Some(2))];
    store.commit(&Commit { derived: derived.clone(), ..Commit::default() }).await.expect("a turn");
    let forget = "update derived set body = json_remove(body, '$.key')";
    sqlx::query(forget).execute(&store.writer).await.expect("rows");
    for named in &derived {
        let inputs = Vec::new();
        let other = Named { derived: Derived { inputs, ..named.derived.clone() }, ..named.clone() };
        assert!(store.replay().check_derived(&other).await.is_err(), "all else must be the same");
        store.replay().check_derived(named).await.expect("a row of before");
    }
    assert_eq!(store.open_keys().await.expect("rows"), [None, Some(FixedBytes::repeat_byte(2))].into());
    let told = store.replay().check_derived(&keyed(2, Some(3))).await;
    assert!(told.is_err(), "from then on the row says it");
}

#[tokio::test]
async fn a_seed_should_be_kept_for_its_attempt_and_its_key() {
    let folder = TempDir::new().expect("a folder");
    let store = open(&folder).await;
    let attempt = (Uuid::from_u128(1), 2);
    store.save_seed(attempt, &[1; 96], &[7; 48]).await.expect("kept");
    store.save_seed(attempt, &[1; 96], &[7; 48]).await.expect("again");
    store.save_seed(attempt, &[2; 96], &[8; 48]).await.expect("under another key");
    store.close().await;
    let store = open(&folder).await;
    let mut found = Vec::new();
    for (trace, attempt, key) in [(1, 2, 1), (1, 2, 2), (1, 2, 3), (1, 1, 1), (2, 2, 1)] {
        found.push(store.seed((Uuid::from_u128(trace), attempt), &[key; 96]).await.expect("rows"));
    }
    assert_eq!(found, [Some([7; 48]), Some([8; 48]), None, None, None]);
}

#[tokio::test]
async fn a_mask_should_be_kept_for_its_sender_and_its_key() {
    let folder = TempDir::new().expect("a folder");
    let store = open(&folder).await;
    let pair = MaskPair { process: Uuid::from_u128(1), account: Account::of_user(Uuid::from_u128(2)) };
    let stranger = MaskPair { account: Account::ZERO, ..pair };
    let met = Commit { unmasked: vec![(pair, [1; 96]), (pair, [2; 96])], ..Commit::default() };
    store.commit(&met).await.expect("met");
    store.save_mask(&pair, &[1; 96], &[7; 48]).await.expect("made");
    store.save_mask(&pair, &[1; 96], &[8; 48]).await.expect("again");
    store.commit(&met).await.expect("met again");
    store.close().await;
    let store = open(&folder).await;
    let mut found = Vec::new();
    for (pair, key) in [(pair, 1), (pair, 2), (pair, 3), (stranger, 1)] {
        found.push(store.mask(&pair, &[key; 96]).await.expect("rows"));
    }
    assert_eq!(found, [Some(MaskRow::Made([7; 48])), Some(MaskRow::Wanted), None, None]);
}

#[tokio::test]
async fn a_turn_should_be_all_or_nothing_and_survive_a_restart() {
    let folder = TempDir::new().expect("a folder");
    let store = open(&folder).await;
    store.commit(&turn(&[3, 5])).await.expect("a first turn");
    // The second output repeats an id, so nothing of the turn may stay.
    store.commit(&turn(&[7, 5])).await.expect_err("a repeated output");
    store.close().await;
    let store = open(&folder).await;
    let outputs = store.replay().outputs(0).await.expect("rows");
    assert_eq!(outputs, [(1, output(3)), (2, output(5))]);
    assert_eq!(store.last_step().await.expect("a row").expect("a step").checkpoint, step(5).checkpoint);
    assert_eq!(store.step(7).await.expect("no error"), None);
    let root = NodePlace { level: 0, index: 0 };
    assert_eq!(store.node(root, 4).await.expect("ok"), Some(B256::repeat_byte(3)));
    assert_eq!(store.node(root, 2).await.expect("ok"), None);
}

#[tokio::test]
async fn records_should_keep_their_order() {
    let folder = TempDir::new().expect("a folder");
    let store = open(&folder).await;
    let record = |s| Record::Accepted { s, time: s };
    let records = |range: std::ops::Range<u64>| range.map(|at| (1, at, record(at))).collect();
    store.commit(&Commit { records: records(0..2), ..Commit::default() }).await.expect("ok");
    store.commit(&Commit { records: records(1..3), ..Commit::default() }).await.expect_err("a position twice");
    store.commit(&Commit { records: records(2..3), ..Commit::default() }).await.expect("ok");
    assert_eq!(store.replay().records(1, 1).await.expect("ok"), [record(1), record(2)]);
    assert_eq!(store.replay().records(2, 0).await.expect("ok"), []);
}

#[tokio::test]
async fn a_replay_that_derives_otherwise_should_be_a_contradiction() {
    let folder = TempDir::new().expect("a folder");
    let store = open(&folder).await;
    store.commit(&turn(&[3])).await.expect("ok");
    store.replay().check_derived(&refund(3, 5)).await.expect("the same");
    for other in [refund(3, 6), refund(4, 5)] {
        let error = store.replay().check_derived(&other).await.expect_err("another");
        assert!(error.is_contradiction());
    }
}

#[tokio::test]
async fn a_promise_should_never_change() {
    let folder = TempDir::new().expect("a folder");
    let store = open(&folder).await;
    let (one, two) = (B256::repeat_byte(1), B256::repeat_byte(2));
    store.guard_checkpoint(5, one).await.expect("a first promise");
    store.guard_checkpoint(5, one).await.expect("the same again");
    assert!(store.guard_checkpoint(5, two).await.expect_err("another").is_contradiction());

    store.commit(&turn(&[3, 5])).await.expect("ok");
    let (first, other) = (refund(3, 5).id, refund(5, 5).id);
    let payload = |transaction: &Transaction| Payload { hash: transaction.hash(), raw: vec![1] };
    let (one, two) = (transaction(&[0, 1], 1), transaction(&[2, 1], 2));
    store.fix_payload(first, &attempts(&one), &payload(&one)).await.expect("first bytes");
    store.fix_payload(first, &attempts(&one), &payload(&one)).await.expect("the same again");
    let refused = store.fix_payload(first, &attempts(&two), &payload(&two)).await;
    assert!(refused.expect_err("others").is_contradiction());

    let guard = |id, payload: &Transaction| {
        let (store, hash, coins) = (store.clone(), payload.hash(), payload.coins().expect("coins"));
        async move { store.guard_coins(id, 0, hash, &coins).await }
    };
    guard(first, &one).await.expect("free coins");
    guard(first, &one).await.expect("the same again");
    assert!(guard(first, &two).await.expect_err("not the payload in hand").is_contradiction());
    store.fix_payload(other, &attempts(&two), &payload(&two)).await.expect("first bytes");
    assert!(guard(other, &two).await.expect_err("a coin of another payload").is_contradiction());
    // The refused turn promised nothing: no signature over coin 2 can be kept.
    let signatures = [InputSignature { key: 2, signature: Signature([5; 64]) }];
    let unguarded = store.save_payload_signatures(other, 0, two.hash(), &signatures).await;
    assert!(unguarded.expect_err("no guard").is_contradiction());
}

/// A coin passes on only with the stored proof that the payload before is dead, and then that one's signatures are silent.
#[tokio::test]
async fn a_coin_should_pass_to_the_next_attempt_only_with_the_proof() {
    let folder = TempDir::new().expect("a folder");
    let store = open(&folder).await;
    store.commit(&turn(&[3])).await.expect("ok");
    let id = refund(3, 5).id;
    let (old, new) = (transaction(&[0], 1), transaction(&[0], 2));
    let payload = |transaction: &Transaction| Payload { hash: transaction.hash(), raw: vec![1] };
    let coins = old.coins().expect("coins");
    let mut held = attempts(&old);
    store.fix_payload(id, &held, &payload(&old)).await.expect("first bytes");
    store.guard_coins(id, 0, old.hash(), &coins).await.expect("free");
    let signatures = [InputSignature { key: 2, signature: Signature([5; 64]) }];
    store.save_payload_signatures(id, 0, old.hash(), &signatures).await.expect("guarded");

    assert!(store.next_attempt(id, 0, &held).await.expect_err("no proof").is_contradiction());
    assert!(store.guard_coins(id, 1, new.hash(), &coins).await.expect_err("not in hand").is_contradiction());
    assert_eq!(held.observe(&transaction(&[7], 1)), Ok(Verdict::Dead));
    assert!(store.next_attempt(id, 1, &held).await.expect_err("not there yet").is_contradiction());
    store.next_attempt(id, 0, &held).await.expect("the proof");
    assert!(store.guard_coins(id, 1, old.hash(), &coins).await.expect_err("dead").is_contradiction());
    store.close().await;

    let store = open(&folder).await;
    let mut held = store.open_payout(id).await.expect("ok").expect("open").attempts;
    assert_eq!((held.number(), held.dead().len()), (1, 1));
    held.build(&new).expect("the second attempt");
    store.fix_payload(id, &held, &payload(&new)).await.expect("second bytes");
    assert_eq!(store.payload_signatures(id, 0).await.expect("ok"), signatures, "nobody promised anything else yet");
    store.guard_coins(id, 1, new.hash(), &coins).await.expect("passed on");
    assert!(store.payload_signatures(id, 0).await.expect("ok").is_empty());
    assert_eq!(store.payload(id, 0).await.expect("ok"), Some(payload(&old)));
}

#[tokio::test]
async fn views_should_come_back_for_all_coins_or_none() {
    let folder = TempDir::new().expect("a folder");
    let store = open(&folder).await;
    let coins = transaction(&[0, 1], 1).coins().expect("coins");
    let view = |byte| {
        let mut bytes = [0; 32];
        bytes[0] = byte;
        GhostScalar::from_bytes(bytes).expect("a scalar")
    };
    store.save_views(&coins[..1], &[view(1)]).await.expect("ok");
    assert_eq!(store.views(&coins).await.expect("ok"), None);
    store.save_views(&coins[1..], &[view(2)]).await.expect("ok");
    assert_eq!(store.views(&coins).await.expect("ok"), Some(vec![view(1), view(2)]));
}

/// A transaction that spends `coins` (indexes of one transaction) and has an output under `key`.
fn transaction(coins: &[u16], key: u8) -> Transaction {
    let coin = |index: &u16| Input::of_coin(CoinId { transaction: B256::ZERO, index: *index });
    let output = KernelOutput::of_keys(Amount::from_units(1), vec![RawKey([key; 32])], RawKey([99; 32]), 1);
    Transaction::new(AssetId([1; 32]), coins.iter().map(coin).collect(), vec![output], Vec::new(), Vec::new())
        .expect("in bounds")
}

fn attempts(first: &Transaction) -> Attempts {
    let mut attempts = Attempts::default();
    attempts.build(first).expect("the first attempt");
    attempts
}

#[tokio::test]
async fn a_payout_should_be_open_until_it_is_final_under_one_hash() {
    let folder = TempDir::new().expect("a folder");
    let store = open(&folder).await;
    store.commit(&turn(&[3, 5])).await.expect("ok");
    let open = store.open_payouts(0, 10).await.expect("ok");
    assert_eq!(open, [(1, refund(3, 5).id), (2, refund(5, 5).id)]);
    assert_eq!(store.open_payouts(0, 1).await.expect("ok"), open[..1]);
    assert_eq!(store.open_payouts(1, 10).await.expect("ok"), open[1..]);
    let (id, hash) = (refund(3, 5).id, B256::repeat_byte(1));
    let found = store.open_payout(id).await.expect("ok").expect("open");
    assert_eq!((found.derived, found.attempts), (refund(3, 5).derived, Attempts::default()));
    store.mark_final(id, hash).await.expect("ok");
    store.mark_final(id, hash).await.expect("the same again");
    assert!(store.mark_final(id, B256::repeat_byte(2)).await.expect_err("another").is_contradiction());
    assert_eq!(store.open_payout_count().await.expect("ok"), 1);
    assert_eq!(store.final_hash(id).await.expect("ok"), Some(hash));
    assert!(store.open_payout(id).await.expect("ok").is_none());
}

fn subject(number: u64, k: u64) -> Subject {
    Subject::Decision { group_id: B256::repeat_byte(1), number, body: DecisionBody::Bounce { chain: 31_337, k } }
}

#[tokio::test]
async fn one_number_should_be_approved_and_signed_for_one_proposal() {
    let folder = TempDir::new().expect("a folder");
    let store = open(&folder).await;
    let [first, second, next] = [subject(7, 1), subject(7, 2), subject(8, 2)];
    let digest = |subject: &Subject| subject.digest().expect("well formed");
    assert!(store.keep_proposal(&second, 5).await.expect("kept"));
    assert!(!store.keep_proposal(&second, 6).await.expect("known"));
    store.approve_proposal(&first, 10).await.expect("approved");
    store.approve_proposal(&first, 11).await.expect("approved again");
    let refused = store.approve_proposal(&second, 12).await.expect_err("another for the number").to_string();
    for part in ["decision/7", &digest(&first).to_string(), &digest(&second).to_string()] {
        assert!(refused.contains(part), "{refused}");
    }
    store.guard_governance(first.slot(), digest(&first)).await.expect("promised");
    store.guard_governance(first.slot(), digest(&first)).await.expect("promised again");
    let error = store.guard_governance(second.slot(), digest(&second)).await.expect_err("another");
    assert!(
        matches!(error, StoreError::Taken { held, refused, .. } if (held, refused) == (digest(&first), digest(&second)))
    );
    store.approve_proposal(&next, 13).await.expect("the next number");
    store.note_approval(digest(&first), 3).await.expect("noted");
    let signed = GroupSigned { signature: [4; 48], key: [5; 96] };
    store.save_group_signature(digest(&first), &signed).await.expect("saved");
    store.note_submission(digest(&first), "sent").await.expect("noted");
    store.close().await;

    // All of it is durable.
    let store = open(&folder).await;
    let row = store.proposal(digest(&first)).await.expect("readable").expect("a row");
    let approvals = std::collections::BTreeSet::from([3]);
    let submission = Some("sent".to_owned());
    let expected = ProposalRow {
        subject: first.clone(),
        digest: digest(&first),
        approved_at: Some(10),
        approvals,
        signature: Some(signed),
        submission,
    };
    assert_eq!(row, expected);
    assert!(matches!(store.guard_governance(second.slot(), digest(&second)).await, Err(StoreError::Taken { .. })));
    assert_eq!(store.proposals().await.expect("readable").len(), 3);
}

#[tokio::test]
async fn proposals_of_strangers_should_be_bounded() {
    let folder = TempDir::new().expect("a folder");
    let store = open(&folder).await;
    let mut kept = 0_usize;
    for k in 0..300 {
        kept += usize::from(store.keep_proposal(&subject(k, k), k).await.expect("kept or not"));
    }
    assert_eq!(kept, 256);
    store.approve_proposal(&subject(900, 1), 1).await.expect("an operator's own always fits");
}

#[tokio::test]
async fn a_member_that_is_told_to_stop_should_promise_nothing() {
    let folder = TempDir::new().expect("a folder");
    let store = open(&folder).await;
    let switch = |stopped, at, reason: &str| SigningSwitch { stopped, at, reason: reason.to_owned() };
    let digest = B256::repeat_byte(9);
    store.guard_checkpoint(1, digest).await.expect("signs");
    store.switch_signing(&switch(true, 5, "a key may have leaked")).await.expect("stopped");
    store.close().await;

    let store = open(&folder).await;
    let told = |result: Result<(), StoreError>| match result {
        Err(StoreError::Stopped { reason }) => reason,
        other => panic!("not stopped: {other:?}"),
    };
    assert_eq!(told(store.guard_checkpoint(2, digest).await), "a key may have leaked");
    assert_eq!(told(store.guard_checkpoint(1, digest).await), "a key may have leaked", "nor what it signed before");
    assert_eq!(told(store.guard_governance(subject(1, 1).slot(), digest).await), "a key may have leaked");
    let coins = store.guard_coins(Uuid::nil(), 0, digest, &[]).await;
    assert_eq!(told(coins), "a key may have leaked");
    assert_eq!(store.signing_stopped().await.expect("readable"), Some(switch(true, 5, "a key may have leaked")));

    store.switch_signing(&switch(false, 6, "it had not")).await.expect("resumed");
    store.guard_checkpoint(2, digest).await.expect("signs again");
    assert_eq!(store.signing_stopped().await.expect("readable"), None);
    let reasons: Vec<_> = store.signing_switches().await.expect("readable").into_iter().map(|one| one.reason).collect();
    assert_eq!(reasons, ["a key may have leaked", "it had not"]);
}

/// A command and the service are two processes with one database: neither may fail because the other writes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_beside_the_service_should_disturb_no_promise() {
    const TIMES: u64 = 200;
    let folder = TempDir::new().expect("a folder");
    let service = open(&folder).await;
    let command = Store::beside(&folder.path().join("lockstep.db"), US).await.expect("the same database");
    let promises = async {
        for sequence in 1..=TIMES {
            service.guard_checkpoint(sequence, B256::repeat_byte(1)).await.expect("no other process in the way");
        }
    };
    let words = tokio::spawn(async move {
        for k in 1..=TIMES {
            command.approve_proposal(&subject(k, k), k).await.expect("no other process in the way");
        }
    });
    let ((), words) = tokio::join!(promises, words);
    words.expect("all approved");
}

#[tokio::test]
async fn a_command_should_find_whose_database_it_is() {
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("lockstep.db");
    let other = Identity { member: 2, ..US };
    Store::beside(&path, US).await.expect("nobody's yet");
    assert!(matches!(Store::beside(&path, other).await, Err(StoreError::Identity { .. })));
    assert!(matches!(Store::open(&path, other).await, Err(StoreError::Identity { .. })));
    Store::open(&path, US).await.expect("its own");
}
