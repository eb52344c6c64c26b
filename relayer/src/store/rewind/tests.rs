use lockstep_core::checkpoint::Checkpoint;
use lockstep_core::derive::{CoinRef, Derived, DerivedMemo, Payee};
use lockstep_core::frontier::{NodeChange, NodePlace};
use lockstep_core::machine::{Named, Step};
use lockstep_core::mixin::{Input, Output as KernelOutput, RawKey, Transaction};
use lockstep_core::output::CoinId;
use lockstep_core::payout::Attempts;
use lockstep_core::trace::Trace;
use lockstep_core::{Amount, AssetId};
use tempfile::TempDir;

use super::*;
use crate::store::{Commit, Identity, Payload};

const GROUP: B256 = B256::repeat_byte(6);

async fn open(folder: &TempDir) -> Store {
    let us = Identity { group_digest: [7; 32], member: 1 };
    Store::open(&folder.path().join("lockstep.db"), us).await.expect("a database")
}

fn output(sequence: u64) -> Output {
    Output {
        id: Uuid::from_u128(u128::from(sequence)),
        sequence,
        created_at: 1,
        coin: CoinId { transaction: B256::repeat_byte(3), index: 0 },
        asset: AssetId([1; 32]),
        amount: Amount::from_units(5),
        senders: None,
        extra: Vec::new(),
        stored: None,
        inscription: None,
        spends: Vec::new(),
        generation: 0,
        late: false,
    }
}

fn refund(sequence: u64) -> Named {
    let output = Uuid::from_u128(u128::from(sequence));
    let derived = Derived {
        trace: Trace::Refund { output },
        asset: AssetId([1; 32]),
        inputs: vec![CoinRef::Output(output)],
        outputs: vec![(Payee::Group(0), Amount::from_units(5))],
        memo: DerivedMemo::Refund,
        key: None,
    };
    Named { id: Uuid::from_u128(0xff00 + u128::from(sequence)), derived }
}

fn checkpoint(sequence: u64) -> Checkpoint {
    let hash = B256::left_padding_from(&sequence.to_be_bytes());
    Checkpoint { sequence, history: hash, root: hash }
}

/// Sequences, each with a refund.
async fn apply(store: &Store, sequences: &[u64]) {
    let step = |sequence: u64| Step {
        checkpoint: checkpoint(sequence),
        leaves: 1,
        classes: Vec::new(),
        opened: Vec::new(),
        gas: Vec::new(),
        posted: Vec::new(),
        nodes: vec![NodeChange { place: NodePlace { level: 0, index: 0 }, hash: checkpoint(sequence).root }],
        derived: vec![refund(sequence)],
    };
    let steps = sequences.iter().map(|sequence| (output(*sequence), Some(step(*sequence)))).collect();
    store.commit(&Commit { steps, ..Commit::default() }).await.expect("a turn");
}

async fn sequences(store: &Store) -> Vec<(u64, bool)> {
    let rows = store.replay().outputs(0).await.expect("rows");
    rows.into_iter().map(|(_, output)| (output.sequence, output.late)).collect()
}

#[tokio::test]
async fn what_was_not_promised_should_be_given_up_from_there_on() {
    let folder = TempDir::new().expect("a folder");
    let store = open(&folder).await;
    apply(&store, &[10, 20, 30, 40]).await;
    store.guard_checkpoint(20, checkpoint(20).digest(&GROUP)).await.expect("a promise");
    for first in [10, 20] {
        assert!(store.has_promised_from(first, &GROUP).await.expect("read"));
        assert_eq!(store.rewind(first, None, &GROUP).await.expect("read"), None, "it stays");
    }
    assert_eq!(sequences(&store).await.len(), 4);

    for _ in 0..2 {
        let given_up = store.rewind(30, Some(&output(30)), &GROUP).await.expect("nothing is promised there");
        assert!(given_up.is_some());
        assert_eq!(sequences(&store).await, [(10, false), (20, false), (30, true)], "asked for twice, done once");
    }
    assert_eq!(store.last_step().await.expect("read").map(|step| step.checkpoint), Some(checkpoint(20)));
    assert_eq!(store.step_before(99).await.expect("read").map(|step| step.checkpoint), Some(checkpoint(20)));
    assert_eq!(store.output_after(20).await.expect("read"), None, "what is set aside is in nobody's order");
    assert_eq!(store.output_after(10).await.expect("read"), Some(output(20)));
    let root = NodePlace { level: 0, index: 0 };
    assert_eq!(store.node(root, 99).await.expect("read"), Some(checkpoint(20).root));
    let window: Vec<_> = store.outputs_up_to(30, 2).await.expect("read").iter().map(|row| row.sequence).collect();
    assert_eq!(window, [20, 30]);
}

/// A member without its database knows from its guard log what it has promised. That is no reason to stay where it is now.
#[tokio::test]
async fn a_promise_of_something_else_should_not_hold_a_member() {
    let folder = TempDir::new().expect("a folder");
    let store = open(&folder).await;
    apply(&store, &[10, 20, 30]).await;
    store.guard_checkpoint(20, B256::repeat_byte(9)).await.expect("a promise");
    store.guard_checkpoint(70, B256::repeat_byte(9)).await.expect("a promise of what is still to come");
    assert!(!store.has_promised_from(20, &GROUP).await.expect("read"));
    assert!(store.has_guarded(20, B256::repeat_byte(9)).await.expect("read"));
    assert!(!store.has_guarded(20, checkpoint(20).digest(&GROUP)).await.expect("read"));
    assert!(store.rewind(20, None, &GROUP).await.expect("read").is_some());
    apply(&store, &[15]).await;
    store.save_signature(15, &[1; 48]).await.expect("the group has signed it");
    assert!(store.has_promised_from(15, &GROUP).await.expect("read"));
}

#[tokio::test]
async fn what_follows_from_nothing_should_be_forgotten_but_for_what_was_promised() {
    let folder = TempDir::new().expect("a folder");
    let store = open(&folder).await;
    apply(&store, &[10, 20, 30]).await;
    let keys = vec![RawKey([5; 32])];
    let coin = CoinId { transaction: B256::repeat_byte(3), index: 0 };
    let paid = KernelOutput::of_keys(Amount::from_units(5), keys, RawKey([6; 32]), 1);
    let transaction =
        Transaction::new(AssetId([1; 32]), vec![Input::of_coin(coin)], vec![paid], Vec::new(), Vec::new());
    let transaction = transaction.expect("in bounds");
    let mut attempts = Attempts::default();
    attempts.build(&transaction).expect("a first payload");
    let payload = Payload { hash: transaction.hash(), raw: transaction.unsigned().encode() };
    for sequence in [20, 30] {
        store.fix_payload(refund(sequence).id, &attempts, &payload).await.expect("fixed");
    }
    assert!(store.unfix_payload(refund(20).id, 0, payload.hash).await.expect("nothing is promised to it"));
    assert_eq!(store.payload(refund(20).id, 0).await.expect("read"), None);
    store.fix_payload(refund(20).id, &Attempts::default(), &payload).await.expect_err("no attempt has it");
    store.guard_coins(refund(30).id, 0, payload.hash, &[coin]).await.expect("a promise");
    assert!(store.is_coin_promised_to(payload.hash).await.expect("read"));
    assert!(!store.unfix_payload(refund(30).id, 0, payload.hash).await.expect("read"), "it is promised");

    store.rewind(20, None, &GROUP).await.expect("read");
    let forgotten = store.forget_underived([refund(10).id].into()).await.expect("forgotten");
    assert_eq!(forgotten, [refund(20).id], "nothing is promised to it");
    let open: Vec<_> = store.open_payouts(0, 9).await.expect("read").into_iter().map(|(_, id)| id).collect();
    assert_eq!(open, [refund(10).id, refund(30).id]);
    // Who was working on it meanwhile finds it gone, and that is no contradiction.
    let gone = refund(20).id;
    for refused in [
        store.mark_final(gone, payload.hash).await,
        store.fix_payload(gone, &attempts, &payload).await,
        store.next_attempt(gone, 0, &attempts).await,
        store.guard_coins(gone, 0, payload.hash, &[coin]).await,
    ] {
        assert!(matches!(refused, Err(StoreError::Forgotten(trace)) if trace == gone), "{refused:?}");
    }
    apply(&store, &[20, 30]).await;
    assert_eq!(store.open_payout_count().await.expect("read"), 3, "it is derived again as it was");
    store.rewind(30, None, &GROUP).await.expect("read");
    let otherwise = Named { derived: refund(99).derived, ..refund(30) };
    let differs = store.commit(&Commit { derived: vec![otherwise], ..Commit::default() }).await;
    assert!(differs.expect_err("a trace names one transaction").is_contradiction());
}
