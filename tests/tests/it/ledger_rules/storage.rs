//! Storage transactions: payloads beyond a memo, which payments then name as references.

use std::time::Duration;

use lockstep::devnet::ledger::{Fault, FaultOrder};
use lockstep::ledger::Refusal;
use lockstep::ledger::wire::OutputRow;
use lockstep_core::mixin::address::{XinKeys, view_of_seed};
use lockstep_core::mixin::ids::storage_cost;
use lockstep_core::mixin::structure::STORAGE_THRESHOLD;
use lockstep_core::mixin::{GhostScalar, Output, PrivateKey, SignedTransaction, Transaction};
use lockstep_core::{Amount, B256, Uuid};

use super::bench::{BTC, Bench, User, XIN, raw, spend};
use super::payment::refusal;

/// The largest extra that a transaction of one input, a storage output and its change can carry: the whole has 4 MiB.
const EXTRA_MAX: usize = (4 << 20) - 512;

/// Who storage is paid to today: the address of the seed of 64 ones.
fn todays(amount: Amount, secret: u8) -> Output {
    let r = PrivateKey::from_ed25519_seed(&[secret; 32]);
    let to = XinKeys::from_seed(&[1; 64]).expect("keys").address();
    Output::of_addresses(amount, &[to], STORAGE_THRESHOLD, &r, 0).expect("an output")
}

/// Who it was paid to before, and still is by some: the address of the seed of zeros, whose spend key is the identity.
fn former(amount: Amount, secret: u8) -> Output {
    let r = PrivateKey::from_ed25519_seed(&[secret; 32]);
    let view = view_of_seed(&[0; 64]).expect("a view key").public();
    let key = PrivateKey::from_bytes(*GhostScalar::of_sender(&r, &view, 0).to_bytes()).expect("a key").public();
    Output::of_keys(amount, vec![key.raw()], r.public().raw(), STORAGE_THRESHOLD)
}

/// `output` and the change of `coin`, with an extra and references.
async fn stored(user: &User, coin: &OutputRow, output: Output, extra: Vec<u8>, references: Vec<B256>) -> Transaction {
    let mut outputs = vec![output];
    let change = coin.amount.checked_sub(outputs[0].amount).expect("enough");
    if !change.is_zero() {
        outputs.push(user.output(1, &[user.id()], 1, &change.to_string()).await);
    }
    let plain = spend(&[coin], outputs);
    Transaction::new(plain.asset(), plain.inputs().to_vec(), plain.outputs().to_vec(), references, extra)
        .expect("bounds")
}

async fn refused(user: &User, transaction: Transaction) -> Refusal {
    refusal(user.api.request_transaction(&raw(Uuid::new_v4(), &transaction.unsigned())).await)
}

#[tokio::test(flavor = "multi_thread")]
async fn storage_that_is_not_paid_for_should_be_refused() {
    let bench = Bench::start(Duration::ZERO).await;
    let [alice, bob] = bench.users().await;
    let coin = bench.coin(XIN, "1", &[&alice], 1).await;
    let bitcoin = bench.coin(BTC, "1", &[&alice], 1).await;
    let cost = storage_cost(2_000);
    let extra = || vec![7; 2_000];
    let store = async |coin: &OutputRow, output: Output, extra: Vec<u8>| {
        refused(&alice, stored(&alice, coin, output, extra, Vec::new()).await).await
    };
    let one_step = Amount::from_units(10_000);
    assert_eq!(store(&coin, todays(one_step, 1), extra()).await, Refusal::Invalid, "1,024 bytes were bought");
    assert_eq!(store(&coin, todays(Amount::from_units(9_999), 1), vec![7; 257]).await, Refusal::Invalid);
    assert_eq!(store(&bitcoin, todays(cost, 1), extra()).await, Refusal::Invalid, "in XIN only");
    let other = Output::of_keys(cost, todays(cost, 1).keys, todays(cost, 1).mask, 1);
    assert_eq!(store(&coin, other, extra()).await, Refusal::Invalid, "somebody could spend it");
    let both = [todays(cost, 1).keys, todays(cost, 2).keys].concat();
    let two_keys = Output::of_keys(cost, both, todays(cost, 1).mask, STORAGE_THRESHOLD);
    assert_eq!(store(&coin, two_keys, extra()).await, Refusal::Invalid, "of one key only");
    let to_bob = alice.output(0, &[bob.id()], 1, &cost.to_string()).await;
    assert_eq!(store(&coin, to_bob, extra()).await, Refusal::Invalid);
    assert!(alice.own_coins().await.iter().all(|row| row.signed_by.is_none()));
}

#[tokio::test(flavor = "multi_thread")]
async fn both_storage_recipients_should_buy_an_extra_that_nobody_is_listed_for() {
    let bench = Bench::start(Duration::ZERO).await;
    let [alice] = bench.users().await;
    for (output, length) in [(todays(storage_cost(3_000), 3), 3_000), (former(storage_cost(2_047), 4), 2_047)] {
        let coin = bench.coin(XIN, "1", &[&alice], 1).await;
        let before = alice.own_coins().await.len();
        let transaction = stored(&alice, &coin, output, vec![5; length], Vec::new()).await;
        let sent = alice.pay(Uuid::new_v4(), &coin, transaction).await;
        let rows = alice.own_coins().await;
        assert_eq!(rows.len(), before + 1, "the change alone");
        let change = rows.last().expect("the change");
        assert_eq!((change.transaction_hash.0, change.extra.0.len()), (sent.hash().0, length));
        let view = bench.kernel(2).transaction(sent.hash()).await.expect("read").expect("known");
        assert!(view.is_final && view.transaction.transaction().extra() == vec![5; length]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_largest_payload_should_fit_and_one_byte_more_should_not() {
    let bench = Bench::start(Duration::ZERO).await;
    let [alice] = bench.users().await;
    let coin = bench.coin(XIN, "1", &[&alice], 1).await;
    let large: Vec<u8> = (0..EXTRA_MAX).map(|at| u8::try_from(at % 251).expect("small")).collect();
    let cost = storage_cost(EXTRA_MAX);
    assert_eq!(cost.to_string(), "0.40960000");
    let output = todays(cost, 1);
    let plain = spend(&[&coin], vec![output.clone()]);
    let beyond = vec![0; 4 << 20];
    let parts = (plain.inputs().to_vec(), plain.outputs().to_vec());
    assert!(Transaction::new(plain.asset(), parts.0, parts.1, Vec::new(), beyond).is_err(), "no such transaction");

    let transaction = stored(&alice, &coin, output, large.clone(), Vec::new()).await;
    let sent = alice.pay(Uuid::new_v4(), &coin, transaction).await;
    let view = bench.kernel(1).transaction(sent.hash()).await.expect("read").expect("known");
    assert!(view.is_final && view.transaction.transaction().extra() == large);
    let change = alice.own_coins().await.pop().expect("the change, with all of it");
    assert_eq!(change.extra.0.len(), EXTRA_MAX);
}

/// A storage transaction of alice's, and a coin of hers to pay with.
async fn stored_payload(bench: &Bench, alice: &User, length: usize) -> (SignedTransaction, OutputRow) {
    let coin = bench.coin(XIN, "1", &[alice], 1).await;
    let transaction = stored(alice, &coin, todays(storage_cost(length), 9), vec![6; length], Vec::new()).await;
    let sent = alice.pay(Uuid::new_v4(), &coin, transaction).await;
    (sent, bench.coin(BTC, "1", &[alice], 1).await)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_should_name_final_transactions_only_and_sixteen_at_most() {
    let bench = Bench::start(Duration::ZERO).await;
    let [alice, bob] = bench.users().await;
    let (storage, coin) = stored_payload(&bench, &alice, 10_000).await;
    let to_bob = async || alice.output(0, &[bob.id()], 1, "1").await;
    let naming =
        async |references: Vec<B256>| stored(&alice, &coin, to_bob().await, b"memo".to_vec(), references).await;
    assert_eq!(refused(&alice, naming(vec![B256::repeat_byte(7)]).await).await, Refusal::Invalid);
    assert_eq!(refused(&alice, naming(vec![storage.hash(); 17]).await).await, Refusal::Invalid);
    bench.fault(FaultOrder::new(Fault::Stall)).await;
    let xin = alice.own_coins().await.into_iter().rev().find(|row| row.transaction_hash.0 == storage.hash().0);
    let xin = xin.expect("the change");
    let open = stored(&alice, &xin, todays(storage_cost(300), 8), vec![6; 300], Vec::new()).await;
    let open = alice.pay(Uuid::new_v4(), &xin, open).await;
    assert_eq!(refused(&alice, naming(vec![storage.hash(), open.hash()]).await).await, Refusal::Invalid, "not final");
    bench.operator.clear_faults().await.expect("cleared");

    let mut references = vec![storage.hash(), open.hash()];
    references.resize(16, storage.hash());
    let paid = alice.pay(Uuid::new_v4(), &coin, naming(references.clone()).await).await;
    let received = bob.own_coins().await.pop().expect("a coin");
    assert_eq!(received.extra.0, b"memo", "the payload stays where it is");
    let view = bench.kernel(2).transaction(paid.hash()).await.expect("read").expect("known");
    assert_eq!(view.transaction.transaction().references(), references);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_should_store_a_payload_and_name_it_in_its_payout() {
    let bench = Bench::start(Duration::ZERO).await;
    let [a, b, bob] = bench.users().await;
    let owners = [a.id(), b.id()];
    let coin = bench.coin(XIN, "1", &[&a, &b], 2).await;
    let complete = async |coin: &OutputRow, transaction: Transaction| {
        let id = Uuid::new_v4();
        let mut signed = transaction.clone().unsigned();
        for user in [&a, &b] {
            let row = user.api.create_multisig(&raw(id, &transaction.clone().unsigned())).await.expect("a request");
            user.sign(&mut signed, &[coin], &row.views);
        }
        a.api.sign_multisig(&raw(id, &signed)).await.expect("complete");
        signed
    };
    let cost = storage_cost(5_000);
    let change = coin.amount.checked_sub(cost).expect("enough");
    let outputs = vec![todays(cost, 1), a.output(1, &owners, 2, &change.to_string()).await];
    let plain = spend(&[&coin], outputs);
    let parts = (plain.inputs().to_vec(), plain.outputs().to_vec());
    let storage = Transaction::new(plain.asset(), parts.0, parts.1, Vec::new(), vec![4; 5_000]).expect("bounds");
    let storage = complete(&coin, storage).await;

    let rest = a.coins(&owners, 2).await.pop().expect("the change");
    assert_eq!((rest.amount, rest.senders_threshold), (change, 2));
    let payout =
        stored(&a, &rest, a.output(0, &[bob.id()], 1, &change.to_string()).await, Vec::new(), vec![storage.hash()]);
    let payout = complete(&rest, payout.await).await;
    let view = bench.kernel(2).transaction(payout.hash()).await.expect("read").expect("known");
    assert!(view.is_final);
    assert_eq!(bob.own_coins().await.pop().expect("a coin").amount, change);
}
