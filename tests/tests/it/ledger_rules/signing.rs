//! Faults of the key service and of requests.

use std::time::Duration;

use lockstep::devnet::ledger::{Fault, FaultOrder};
use lockstep::ledger::wire::{KeyRequest, KeysBody, OutputRow, OutputState};
use lockstep::ledger::{LedgerError, Refusal};
use lockstep_core::Uuid;
use lockstep_core::mixin::{Output, RawKey, SignedTransaction, Transaction};
use lockstep_core::output::CoinId;
use serde_json::json;

use super::bench::{Bench, User, XIN, keys, raw, spend};
use super::caller::{call, now_s, send, token};
use super::payment::refusal;

/// A 2-of-3 group with a coin of 10 XIN, bob, and a payment of 4 XIN to him.
struct Scene {
    bench: Bench,
    members: [User; 3],
    bob: User,
    coin: OutputRow,
    transaction: Transaction,
}

impl Scene {
    async fn start() -> Self {
        let bench = Bench::start(Duration::ZERO).await;
        let [a, b, c, bob] = bench.users().await;
        let coin = bench.coin(XIN, "10", &[&a, &b, &c], 2).await;
        let transaction = a.payment(&coin, &[bob.id()], 1, "4").await;
        Self { bench, members: [a, b, c], bob, coin, transaction }
    }

    async fn create(&self, member: usize, id: Uuid) -> Result<SignedTransaction, LedgerError> {
        let member = &self.members[member];
        let row = member.api.create_multisig(&raw(id, &self.transaction.clone().unsigned())).await?;
        let mut signed = self.transaction.clone().unsigned();
        if !row.views.is_empty() {
            member.sign(&mut signed, &[&self.coin], &row.views);
        }
        Ok(signed)
    }

    /// Makes the request, if nobody did, and signs as one member.
    async fn sign(&self, member: usize, id: Uuid) -> Result<Vec<Uuid>, LedgerError> {
        let signed = self.create(member, id).await?;
        Ok(self.members[member].api.sign_multisig(&raw(id, &signed)).await?.signers)
    }

    async fn row(&self) -> OutputRow {
        self.members[2].api.output(self.coin.output_id).await.expect("the coin")
    }

    async fn revoked_by(&self, id: Uuid) -> Option<Uuid> {
        self.members[2].api.multisig(id).await.expect("the request").revoked_by
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_views_should_open_nothing_for_one_member() {
    let scene = Scene::start().await;
    let [a, b, _] = &scene.members;
    let fault = scene.bench.fault(FaultOrder::new(Fault::WrongViews).for_user(a.id()).times(1)).await;
    let unsigned = raw(Uuid::new_v4(), &scene.transaction.clone().unsigned());
    let wrong = a.api.create_multisig(&unsigned).await.expect("a request").views;
    let right = a.api.create_multisig(&unsigned).await.expect("the request").views;
    assert_ne!(wrong, right);
    let opens = |user: &User, view: &lockstep::ledger::wire::View| {
        let spend = lockstep_core::mixin::PrivateKey::from_ed25519_seed(user.api.keystore().spend_private_key.expose());
        let key =
            lockstep_core::mixin::GhostScalar::from_bytes(view.0).expect("a scalar").private(&spend).expect("a key");
        keys(&scene.coin).keys.contains(&key.public().raw())
    };
    assert!(!opens(a, &wrong[0]) && opens(a, &right[0]));
    let of_b = b.api.create_multisig(&unsigned).await.expect("the request").views;
    assert!(opens(b, &of_b[0]));
    assert_eq!(scene.bench.acted(&fault).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_should_differ_from_call_to_call_for_one_user() {
    let bench = Bench::start(Duration::ZERO).await;
    let [a, b, bob] = bench.users().await;
    let request = KeyRequest { receivers: vec![bob.id()], index: 0, hint: Uuid::new_v4() };
    let question = KeysBody::Senders { keys: vec![request], senders: vec![a.id(), b.id()] };
    let right = a.api.keys(&question).await.expect("keys");
    bench.fault(FaultOrder::new(Fault::FreshKeys).for_user(b.id()).times(2)).await;
    let (one, two) = (b.api.keys(&question).await.expect("keys"), b.api.keys(&question).await.expect("keys"));
    assert!(one != right && two != right && one != two);
    assert_eq!(a.api.keys(&question).await.expect("keys"), right);
    assert_eq!(b.api.keys(&question).await.expect("keys"), right, "twice was ordered");

    // What was given is good all the same.
    let coin = bench.coin(XIN, "1", &[&a], 1).await;
    let given = one[0].keys.iter().map(|key| RawKey(key.0)).collect();
    let output = Output::of_keys(coin.amount, given, RawKey(one[0].mask.0), 1);
    a.pay(Uuid::new_v4(), &coin, spend(&[&coin], vec![output])).await;
    assert_eq!(bob.own_coins().await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stolen_key_should_belong_to_a_strangers_final_transaction() {
    let bench = Bench::start(Duration::from_secs(3600)).await;
    let [alice, bob] = bench.users().await;
    let coin = bench.coin(XIN, "10", &[&alice], 1).await;
    let fault = bench.fault(FaultOrder::new(Fault::StealKeys { index: 0 }).for_user(alice.id()).times(1)).await;
    let request = |index| KeyRequest { receivers: vec![bob.id()], index, hint: Uuid::from_u128(9) };
    let question = KeysBody::Own(vec![request(1), request(0)]);
    let rows = alice.api.keys(&question).await.expect("keys");
    assert_eq!(alice.api.keys(&question).await.expect("keys"), rows, "the same keys are not stolen twice");
    assert_eq!(bench.acted(&fault).await, 1);

    let kernel = bench.kernel(2);
    assert!(kernel.key_holders(rows[0].keys[0].0).await.expect("read").is_empty(), "the other index is free");
    let holders = kernel.key_holders(rows[1].keys[0].0).await.expect("read");
    let [thief] = holders.as_slice() else { panic!("{holders:?}") };
    let view = kernel.transaction(*thief).await.expect("read").expect("known");
    assert!(view.is_final && view.transaction.transaction().coins().is_none(), "a deposit of somebody's");
    let given = rows[1].keys.iter().map(|key| RawKey(key.0)).collect();
    let output = Output::of_keys(coin.amount, given, RawKey(rows[1].mask.0), 1);
    let payment = raw(Uuid::new_v4(), &spend(&[&coin], vec![output]).unsigned());
    assert_eq!(refusal(alice.api.request_transaction(&payment).await), Refusal::OutputKeyUsed);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_may_take_its_coins_when_it_is_made() {
    let scene = Scene::start().await;
    let [a, b, _] = &scene.members;
    scene.bench.fault(FaultOrder::new(Fault::LockAtCreate).for_user(a.id())).await;
    let id = Uuid::new_v4();
    scene.create(0, id).await.expect("a request");
    let held = scene.row().await;
    assert_eq!((held.state, held.signed_by.map(|by| by.0)), (OutputState::Signed, Some(scene.transaction.hash().0)));
    let rival = b.payment(&scene.coin, &[scene.bob.id()], 1, "5").await.unsigned();
    assert_eq!(refusal(b.api.create_multisig(&raw(Uuid::new_v4(), &rival)).await), Refusal::InputLocked);
    a.api.unlock_multisig(id).await.expect("unlocked");
    assert_eq!(scene.row().await.signed_by, None);
    b.api.create_multisig(&raw(Uuid::new_v4(), &rival)).await.expect("the coin is free");
    scene.sign(0, id).await.expect("one");
    assert_eq!(scene.sign(1, id).await.expect("two").len(), 2, "the payment itself is not hindered");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hostile_owner_should_revoke_what_has_a_signature_and_not_what_is_complete() {
    let scene = Scene::start().await;
    let hostile = scene.members[2].id();
    let fault = scene.bench.fault(FaultOrder::new(Fault::Revoke).for_user(hostile).times(2)).await;
    for _ in 0..2 {
        let id = Uuid::new_v4();
        scene.create(0, id).await.expect("a request");
        assert_eq!(scene.revoked_by(id).await, None, "nothing to spoil yet");
        assert!(scene.sign(0, id).await.expect("a dead request").is_empty());
        assert_eq!(scene.revoked_by(id).await, Some(hostile));
        assert_eq!(scene.row().await.signed_by, None, "the coin is free");
        let late = scene.create(1, id).await.expect("still readable");
        assert!(scene.members[1].api.sign_multisig(&raw(id, &late)).await.is_err());
    }
    assert_eq!(scene.bench.acted(&fault).await, 2);
    scene.bench.fault(FaultOrder::new(Fault::Revoke).for_user(scene.bob.id())).await;
    let id = Uuid::new_v4();
    assert_eq!(scene.sign(0, id).await.expect("bob owns nothing here").len(), 1);
    assert_eq!(scene.sign(1, id).await.expect("complete").len(), 2);
    assert_eq!(scene.bob.own_coins().await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn taking_a_signature_back_may_end_the_request() {
    let scene = Scene::start().await;
    let [_, b, _] = &scene.members;
    scene.bench.fault(FaultOrder::new(Fault::UnlockRevokes)).await;
    let id = Uuid::new_v4();
    scene.create(0, id).await.expect("a request");
    b.api.unlock_multisig(id).await.expect("no signature, no harm");
    assert_eq!(scene.revoked_by(id).await, None);
    scene.sign(0, id).await.expect("a signature");
    let row = b.api.unlock_multisig(id).await.expect("by one who did not sign");
    assert_eq!((row.revoked_by, row.signers.len(), scene.row().await.signed_by), (Some(b.id()), 0, None));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_owner_may_be_allowed_to_revoke() {
    let scene = Scene::start().await;
    let [_, b, _] = &scene.members;
    let id = Uuid::new_v4();
    scene.sign(0, id).await.expect("a signature");
    let uri = format!("/safe/multisigs/{id}/revoke");
    assert_eq!(call(&scene.bench, b, "POST", &uri, "").await.code(), 403);
    scene.bench.fault(FaultOrder::new(Fault::AnyoneRevokes).for_user(b.id())).await;
    assert_eq!(call(&scene.bench, &scene.members[2], "POST", &uri, "").await.code(), 403);
    assert_eq!(call(&scene.bench, b, "POST", &uri, "").await.data()["revoked_by"], json!(b.id()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_broadcast_should_wait_for_whoever_sends_the_transaction_to_a_node() {
    let scene = Scene::start().await;
    let [a, b, _] = &scene.members;
    let fault = scene.bench.fault(FaultOrder::new(Fault::LoseBroadcast).for_user(b.id())).await;
    let id = Uuid::new_v4();
    scene.sign(0, id).await.expect("one");
    assert_eq!(scene.sign(1, id).await.expect("two").len(), 2);
    let row = a.api.transaction(id).await.expect("the request");
    assert_eq!((row.state, scene.bench.acted(&fault).await), (OutputState::Signed, 1));
    let kernel = scene.bench.kernel(2);
    assert!(kernel.transaction(scene.transaction.hash()).await.expect("read").is_none());
    let coin = CoinId { transaction: lockstep_core::B256::new(scene.coin.transaction_hash.0), index: 0 };
    assert!(kernel.coin_holders(coin).await.expect("read").is_empty());

    let bench = scene.bench.restart().await;
    let [a, _, _, bob] = bench.users().await;
    let kernel = bench.kernel(2);
    assert!(kernel.transaction(scene.transaction.hash()).await.expect("read").is_none(), "lost for good");
    kernel.send(1, &row.raw_transaction.0).await.expect("admitted");
    assert_eq!(a.api.transaction(id).await.expect("the request").state, OutputState::Spent);
    let received = bob.own_coins().await.pop().expect("a coin");
    assert_eq!((received.request_id, received.senders.len()), (Some(id), 3));
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_may_be_good_more_than_once() {
    let bench = Bench::start(Duration::ZERO).await;
    let [alice] = bench.users().await;
    let me = ("GET", "/safe/me", "");
    let used = token(alice.api.keystore(), me, "one", now_s());
    send(&bench, &used, me).await.data();
    assert_eq!(send(&bench, &used, me).await.code(), 401);
    bench.fault(FaultOrder::new(Fault::ReuseTokens).for_user(alice.id()).times(1)).await;
    send(&bench, &used, me).await.data();
    assert_eq!(send(&bench, &used, me).await.code(), 401, "once was ordered");
}
