//! One user's coins: keys, requests, payments, restarts.

use std::time::Duration;

use lockstep::devnet::ledger::{LedgerError as ServeError, serve};
use lockstep::ledger::wire::{KeyRequest, KeysBody, OutputState};
use lockstep::ledger::{LedgerError, Refusal};
use lockstep_core::mixin::{SignedTransaction, Transaction};
use lockstep_core::{AssetId, B256, Uuid};
use tokio_util::sync::CancellationToken;

use super::bench::{BTC, Bench, User, XIN, config, raw, spend};

/// The class of a refusal.
#[track_caller]
pub(super) fn refusal<T: std::fmt::Debug>(result: Result<T, LedgerError>) -> Refusal {
    let error = result.expect_err("a refusal");
    let LedgerError::Refused { refusal, .. } = error else { panic!("not refused but {error:?}") };
    refusal
}

async fn request(user: &User, transaction: Transaction) -> Refusal {
    refusal(user.api.request_transaction(&raw(Uuid::new_v4(), &transaction.unsigned())).await)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_draft_that_the_kernel_would_refuse_should_be_refused_before_signing() {
    let bench = Bench::start(Duration::ZERO).await;
    let [alice, bob] = bench.users().await;
    let coin = bench.coin(XIN, "10", &[&alice], 1).await;
    let bitcoin = bench.coin(BTC, "1", &[&alice], 1).await;
    let bob_only = [bob.id()];
    let to_bob = |amount: &'static str| alice.output(0, &bob_only, 1, amount);

    assert_eq!(request(&alice, spend(&[&coin], vec![to_bob("11").await])).await, Refusal::Insufficient);
    assert_eq!(request(&alice, spend(&[&coin], vec![to_bob("9").await])).await, Refusal::Invalid);
    assert_eq!(request(&bob, spend(&[&coin], vec![to_bob("10").await])).await, Refusal::Unauthorized);
    assert_eq!(request(&alice, spend(&[&coin, &coin], vec![to_bob("20").await])).await, Refusal::Invalid);
    assert_eq!(request(&alice, spend(&[&coin, &bitcoin], vec![to_bob("11").await])).await, Refusal::Invalid);
    assert_eq!(request(&alice, spend(&[&coin], vec![to_bob("0").await])).await, Refusal::Invalid);
    let mut unknown = coin.clone();
    unknown.output_index = 9;
    assert_eq!(request(&alice, spend(&[&unknown], vec![to_bob("10").await])).await, Refusal::Invalid);
    let mut foreign = coin.clone();
    foreign.kernel_asset_id = AssetId::from_uuid(BTC);
    assert_eq!(request(&alice, spend(&[&foreign], vec![to_bob("10").await])).await, Refusal::Invalid);
    let twice = to_bob("5").await;
    assert_eq!(request(&alice, spend(&[&coin], vec![twice.clone(), twice])).await, Refusal::Invalid);
    let good = spend(&[&coin], vec![to_bob("10").await]);
    let reference = Transaction::new(
        good.asset(),
        good.inputs().to_vec(),
        good.outputs().to_vec(),
        vec![B256::repeat_byte(1)],
        Vec::new(),
    );
    assert_eq!(request(&alice, reference.expect("a transaction")).await, Refusal::Invalid);
    let mut trailing = raw(Uuid::new_v4(), &good.unsigned());
    trailing.raw.0.push(0);
    assert_eq!(refusal(alice.api.request_transaction(&trailing).await), Refusal::Invalid);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_without_the_right_signature_should_be_refused() {
    let bench = Bench::start(Duration::ZERO).await;
    let [alice, bob] = bench.users().await;
    let coin = bench.coin(XIN, "10", &[&alice], 1).await;
    let transaction = alice.payment(&coin, &[bob.id()], 1, "3").await;
    let id = Uuid::new_v4();
    let row = alice.api.request_transaction(&raw(id, &transaction.clone().unsigned())).await.expect("a request");
    let unsigned = raw(id, &transaction.clone().unsigned());
    assert_eq!(refusal(alice.api.send_transaction(&unsigned).await), Refusal::Invalid);

    // A signature over another transaction.
    let mut other = alice.payment(&coin, &[bob.id()], 1, "4").await.unsigned();
    alice.sign(&mut other, &[&coin], &row.views);
    let forged = SignedTransaction::new(transaction.clone(), other.signatures().clone()).expect("a transaction");
    assert_eq!(refusal(alice.api.send_transaction(&raw(id, &forged)).await), Refusal::BadSignature);
    // A stranger's key opens nothing.
    assert_eq!(refusal(bob.api.send_transaction(&raw(id, &forged)).await), Refusal::TraceTaken);
    let stored = alice.api.transaction(id).await.expect("the request");
    assert_eq!((stored.state, stored.signers), (OutputState::Unspent, Vec::new()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_id_should_stand_for_one_transaction_of_one_user() {
    let bench = Bench::start(Duration::ZERO).await;
    let [alice, bob] = bench.users().await;
    let coin = bench.coin(XIN, "10", &[&alice], 1).await;
    let bobs = bench.coin(XIN, "10", &[&bob], 1).await;
    let (first, second) = (
        alice.payment(&coin, &[bob.id()], 1, "3").await.unsigned(),
        alice.payment(&coin, &[bob.id()], 1, "4").await.unsigned(),
    );
    let id = Uuid::new_v4();
    let row = alice.api.request_transaction(&raw(id, &first)).await.expect("a request");
    assert_eq!(refusal(alice.api.request_transaction(&raw(id, &second)).await), Refusal::Invalid);
    let theirs = bob.payment(&bobs, &[alice.id()], 1, "1").await.unsigned();
    assert_eq!(refusal(bob.api.request_transaction(&raw(id, &theirs)).await), Refusal::TraceTaken);
    assert_eq!(refusal(alice.api.create_multisig(&raw(id, &first)).await), Refusal::Invalid);
    assert_eq!(refusal(alice.api.transaction(Uuid::new_v4()).await), Refusal::NotFound);
    assert_eq!(alice.api.request_transaction(&raw(id, &first)).await.expect("the same again"), row);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_coin_and_an_output_key_should_be_used_once() {
    let bench = Bench::start(Duration::ZERO).await;
    let [alice, bob] = bench.users().await;
    let coin = bench.coin(XIN, "10", &[&alice], 1).await;
    let other = bench.coin(XIN, "10", &[&alice], 1).await;
    let paid = alice.output(0, &[bob.id()], 1, "10").await;
    let signed = alice.pay(Uuid::new_v4(), &coin, spend(&[&coin], vec![paid.clone()])).await;

    let again = alice.payment(&coin, &[bob.id()], 1, "10").await;
    assert_eq!(request(&alice, again).await, Refusal::InputLocked);
    let reused = spend(&[&other], vec![paid]);
    assert_eq!(request(&alice, reused).await, Refusal::OutputKeyUsed);
    // The same transaction under another id is no second payment.
    let row = alice.api.request_transaction(&raw(Uuid::new_v4(), &signed)).await.expect("the same transaction");
    assert_eq!((row.state, row.views.len()), (OutputState::Spent, 0));
    assert_eq!(bob.coins(&[bob.id()], 1).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_should_be_the_same_for_the_same_question_only() {
    let bench = Bench::start(Duration::ZERO).await;
    let [alice, bob, carol] = bench.users().await;
    let ask = |receivers: Vec<Uuid>, index, hint| KeyRequest { receivers, index, hint };
    let own = |request: &KeyRequest| KeysBody::Own(vec![request.clone()]);
    let hint = Uuid::new_v4();
    let question = ask(vec![bob.id()], 0, hint);
    let answer = alice.api.keys(&own(&question)).await.expect("keys");

    let stranger = ask(vec![Uuid::new_v4()], 0, Uuid::new_v4());
    assert_eq!(refusal(alice.api.keys(&own(&stranger)).await), Refusal::NotRegistered);
    let others = ask(vec![carol.id()], 0, hint);
    assert_eq!(refusal(alice.api.keys(&own(&others)).await), Refusal::Invalid);
    assert_eq!(refusal(alice.api.keys(&own(&ask(Vec::new(), 0, hint))).await), Refusal::Invalid);
    assert_eq!(refusal(alice.api.keys(&own(&ask(vec![bob.id(); 2], 0, hint))).await), Refusal::Invalid);
    assert_eq!(refusal(alice.api.keys(&KeysBody::Own(Vec::new())).await), Refusal::Invalid);

    assert_eq!(alice.api.keys(&own(&question)).await.expect("keys"), answer);
    assert_ne!(alice.api.keys(&own(&ask(vec![bob.id()], 1, hint))).await.expect("keys"), answer);
    assert_ne!(carol.api.keys(&own(&question)).await.expect("keys"), answer);
    let shared = |senders: Vec<Uuid>| KeysBody::Senders { keys: vec![question.clone()], senders };
    let group = alice.api.keys(&shared(vec![alice.id(), carol.id()])).await.expect("keys");
    assert_eq!(carol.api.keys(&shared(vec![carol.id(), alice.id()])).await.expect("keys"), group);
    assert_ne!(group, answer);
    let outsider = bob.api.keys(&shared(vec![alice.id(), carol.id()])).await;
    assert_eq!(refusal(outsider), Refusal::Unauthorized);
}

#[tokio::test(flavor = "multi_thread")]
async fn alice_should_pay_bob() {
    let bench = Bench::start(Duration::ZERO).await;
    let [alice, bob] = bench.users().await;
    let coin = bench.coin(XIN, "10", &[&alice], 1).await;
    assert_eq!((coin.senders.len(), coin.senders_threshold, coin.state), (0, 0, OutputState::Unspent));
    assert_eq!(alice.api.deposit(coin.output_id).await.expect("a deposit").deposit_index, 0);
    assert!(alice.api.me().await.expect("a user").has_safe);

    let id = Uuid::new_v4();
    let signed = alice.pay(id, &coin, alice.payment(&coin, &[bob.id()], 1, "3.5").await).await;
    let row = alice.api.transaction(id).await.expect("the request");
    assert_eq!((row.state, row.signers), (OutputState::Spent, vec![alice.id()]));
    let kernel = bench.transaction(signed.hash()).await.expect("a transaction");
    assert_eq!((kernel.snapshot, kernel.hex.0), (row.snapshot_hash, signed.encode()));
    assert!(kernel.snapshot.is_some());

    let received = bob.coins(&[bob.id()], 1).await;
    let [received] = received.as_slice() else { panic!("one coin") };
    assert_eq!(received.amount.to_string(), "3.50000000");
    assert_eq!((received.senders.as_slice(), received.senders_threshold), ([alice.id()].as_slice(), 1));
    assert_eq!((received.extra.0.as_slice(), received.request_id), (b"memo".as_slice(), Some(id)));
    let mine = alice.coins(&[alice.id()], 1).await;
    let [spent, change] = mine.as_slice() else { panic!("two coins") };
    assert_eq!((spent.state, spent.signed_by), (OutputState::Spent, Some(row.transaction_hash)));
    assert_eq!((change.amount.to_string().as_str(), change.output_index), ("6.50000000", 1));
    let sequences: Vec<u64> = [spent, received, change].iter().map(|row| row.sequence).collect();
    assert!(sequences.windows(2).all(|pair| (1..=9).contains(&(pair[1] - pair[0]))), "{sequences:?}");
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_coin_should_be_listed_when_final_and_a_restart_should_keep_everything() {
    let bench = Bench::start(Duration::from_secs(3600)).await;
    let [alice, bob] = bench.users().await;
    let coin = bench.coin(XIN, "10", &[&alice], 1).await;
    let hint = KeyRequest { receivers: vec![bob.id()], index: 3, hint: Uuid::new_v4() };
    let keys = alice.api.keys(&KeysBody::Own(vec![hint.clone()])).await.expect("keys");
    let id = Uuid::new_v4();
    let signed = alice.pay(id, &coin, alice.payment(&coin, &[bob.id()], 1, "4").await).await;

    let bench = bench.restart().await;
    let [alice, bob] = bench.users().await;
    let row = alice.api.transaction(id).await.expect("the request");
    assert_eq!((row.state, row.snapshot_hash), (OutputState::Signed, None));
    assert_eq!(bench.transaction(signed.hash()).await.expect("a transaction").snapshot, None);
    assert!(bob.coins(&[bob.id()], 1).await.is_empty());
    assert_eq!(alice.api.output(coin.output_id).await.expect("the coin").state, OutputState::Signed);

    assert_eq!(bench.operator.advance().await.expect("finality"), 1);
    let bench = bench.restart().await;
    let [alice, bob] = bench.users().await;
    assert_eq!(alice.api.transaction(id).await.expect("the request").state, OutputState::Spent);
    assert_eq!(bob.coins(&[bob.id()], 1).await.len(), 1);
    assert_eq!(alice.api.keys(&KeysBody::Own(vec![hint])).await.expect("keys"), keys);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_start_should_be_refused_with_its_cause() {
    let bench = Bench::start(Duration::ZERO).await;
    let taken = bench.running.api;
    let folder = bench.stop().await;
    let start = |config| serve(config, CancellationToken::new());

    let other = start(config(folder.path(), Duration::ZERO, [8; 32])).await;
    assert!(matches!(other, Err(ServeError::OtherSeed)), "{other:?}");
    let mut public = config(folder.path(), Duration::ZERO, [7; 32]);
    public.api = "0.0.0.0:0".parse().expect("an address");
    assert!(matches!(start(public).await, Err(ServeError::NotLoopback(_))));
    let mut headless = config(folder.path(), Duration::ZERO, [7; 32]);
    headless.kernel.clear();
    assert!(matches!(start(headless).await, Err(ServeError::NoNode)));
    let guard = std::net::TcpListener::bind(taken).expect("a free port");
    let mut used = config(folder.path(), Duration::ZERO, [7; 32]);
    used.api = taken;
    assert!(matches!(start(used).await, Err(ServeError::Bind { .. })));
    drop(guard);
    let first = start(config(folder.path(), Duration::ZERO, [7; 32])).await.expect("a ledger");
    let second = start(config(folder.path(), Duration::ZERO, [7; 32])).await;
    assert!(matches!(second, Err(ServeError::Open { .. } | ServeError::Migrate { .. })), "{second:?}");
    drop(first);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_faucet_should_refuse_what_is_no_coin_and_mint_each_id_once() {
    let bench = Bench::start(Duration::ZERO).await;
    let [alice] = bench.users().await;
    let (id, one) = (Uuid::new_v4(), "1".parse().expect("an amount"));
    let mint = |id, asset, amount, threshold| {
        let operator = bench.operator.clone();
        let owner = alice.id();
        async move { operator.mint(id, asset, amount, (&[owner], threshold), b"hello").await }
    };
    assert!(mint(id, Uuid::new_v4(), one, 1).await.is_err());
    assert!(mint(id, XIN, one, 2).await.is_err());
    assert!(mint(id, XIN, "0".parse().expect("an amount"), 1).await.is_err());
    let minted = mint(id, XIN, one, 1).await.expect("a coin");
    assert_eq!(mint(id, XIN, one, 1).await.expect("the same coin"), minted);
    assert!(mint(id, XIN, "2".parse().expect("an amount"), 1).await.is_err());
    bench.operator.add_asset(Uuid::max(), "TEST").await.expect("an asset");
    mint(Uuid::new_v4(), Uuid::max(), one, 1).await.expect("a coin of a new asset");
    let coins = alice.coins(&[alice.id()], 1).await;
    assert_eq!(coins.len(), 2);
    assert_eq!(coins.first().expect("a coin").extra.0, b"hello");
}
