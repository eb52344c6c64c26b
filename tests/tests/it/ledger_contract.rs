//! What a group's member expects of the ledger's services, as one suite. It runs against the embedded ledger, and against
//! answers in the form of the real services (`tests/recorded`), with the same production client.

mod limits;
mod player;
mod scene;
mod tokens;

use std::time::{Duration, Instant};

use lockstep::devnet::ledger::{Fault, FaultOrder};
use lockstep::ledger::wire::{KeyRequest, KeysBody, MultisigRow, OutputRow, OutputState, SnapshotRow, View};
use lockstep::ledger::{KernelNodes, LedgerError, OutputQuery, Refusal, SafeApi, SnapshotQuery, Statement};
use lockstep_core::mixin::ids::{XIN, members_hash, output_id};
use lockstep_core::mixin::{GhostScalar, Output, PrivateKey, RawKey, SignedTransaction, Transaction};
use lockstep_core::{AssetId, B256, Uuid};

use crate::ledger_rules::bench::{Bench, keys, place, raw, spend};
use player::Player;
use scene::Scene;

/// Ids of the suite's requests.
const PAYMENT: Uuid = Uuid::from_u128(0x0a11_ce00);
const PAYOUT: Uuid = Uuid::from_u128(0x6000_0000);
const REVOKED: Uuid = Uuid::from_u128(0x6000_0001);
/// Nothing has this id.
const UNKNOWN: Uuid = Uuid::from_u128(404);

/// Services, and the users of the suite: alice has a coin of 10 XIN from a deposit, the members a and b share another. The first
/// time that b takes a signature back, that ends the request: the real service may do so (`safe:cmd/mtg.go`).
struct Service {
    alice: SafeApi,
    members: [SafeApi; 2],
    bob: Uuid,
    kernel: KernelNodes,
}

impl Service {
    fn group(&self) -> Vec<Uuid> {
        let mut users: Vec<_> = self.members.iter().map(SafeApi::user).collect();
        users.sort_unstable();
        users
    }
}

async fn coins(api: &SafeApi, owners: &[Uuid], threshold: u8) -> Vec<OutputRow> {
    let members = hex::encode(members_hash(owners));
    let query = OutputQuery { members, threshold, offset: 0, limit: 500, asset: None, state: None };
    api.outputs(&query).await.expect("a page")
}

#[track_caller]
fn refusal<T: std::fmt::Debug>(result: Result<T, LedgerError>) -> Refusal {
    result.expect_err("a refusal").refusal().expect("a refusal by code")
}

/// The key service's answer for bob, as an output.
async fn output_for_bob(service: &Service, api: &SafeApi, body: &KeysBody, coin: &OutputRow) -> Output {
    let rows = api.keys(body).await.expect("keys");
    let [row] = rows.as_slice() else { panic!("one output, {} rows for {}", rows.len(), service.bob) };
    let keys = row.keys.iter().map(|key| RawKey(key.0)).collect();
    Output::of_keys(coin.amount, keys, RawKey(row.mask.0), 1)
}

/// Signs the only input, with the key that the view opens; it must be one of the coin's.
fn sign(api: &SafeApi, signed: &mut SignedTransaction, coin: &OutputRow, views: &[View]) {
    let [view] = views else { panic!("one view for one input, not {}", views.len()) };
    let spend = PrivateKey::from_ed25519_seed(api.keystore().spend_private_key.expose());
    let key = GhostScalar::from_bytes(view.0).expect("a scalar").private(&spend).expect("a key");
    assert!(coin.keys.iter().any(|of_coin| of_coin.0 == key.public().to_bytes()), "the view opens a key of the coin");
    signed.sign_input(0, &keys(coin), &key).expect("a signature");
}

async fn until_spent(api: &SafeApi, id: Uuid) {
    let started = Instant::now();
    loop {
        let row = api.transaction(id).await.expect("the request");
        if row.state == OutputState::Spent {
            assert!(row.snapshot_hash.is_some(), "final where a snapshot says so");
            return;
        }
        assert_eq!(row.state, OutputState::Signed);
        assert!(started.elapsed() < Duration::from_secs(20), "never final");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Who the user is.
async fn identity(service: &Service) {
    let me = service.alice.me().await.expect("a user");
    let spend = PrivateKey::from_ed25519_seed(service.alice.keystore().spend_private_key.expose());
    assert_eq!((me.user_id, me.has_safe), (service.alice.user(), true));
    assert_eq!(me.spend_public_key.map(|key| key.0), Some(spend.public().to_bytes()));
}

/// Rows name their owners, have ids of their own, and say where a deposit came from.
async fn listing(service: &Service) -> (OutputRow, OutputRow) {
    let own = coins(&service.alice, &[service.alice.user()], 1).await;
    let shared = coins(&service.members[0], &service.group(), 2).await;
    let ([coin], [shared]) = (own.as_slice(), shared.as_slice()) else { panic!("{} {}", own.len(), shared.len()) };
    for (row, owners) in [(coin, vec![service.alice.user()]), (shared, service.group())] {
        assert_eq!((row.state, row.kernel_asset_id), (OutputState::Unspent, AssetId::from_uuid(XIN)));
        assert_eq!((row.output_id, row.amount.to_string().as_str()), (output_id(&place(row)), "10.00000000"));
        assert_eq!(row.receivers_hash.0, members_hash(&owners).0);
        assert_eq!((&row.receivers, row.keys.len()), (&owners, owners.len()));
        assert_eq!((row.senders.len(), row.senders_hash, row.signed_by, row.request_id), (0, None, None, None));
    }
    assert!(coin.sequence != shared.sequence);
    let deposit = service.alice.deposit(coin.output_id).await.expect("a deposit");
    assert!(!deposit.deposit_hash.is_empty());
    assert_eq!(&service.alice.output(coin.output_id).await.expect("the row"), coin);
    assert_eq!(refusal(service.alice.output(UNKNOWN).await), Refusal::NotFound);
    (coin.clone(), shared.clone())
}

/// Nodes have the transaction behind a row, and nothing that does not exist.
async fn kernel(service: &Service, coin: &OutputRow) {
    let hash = place(coin).transaction;
    let view = service.kernel.transaction(hash).await.expect("an answer").expect("known");
    assert!(view.is_final && view.transaction.hash() == hash);
    let output = &view.transaction.transaction().outputs()[0];
    assert_eq!((output.amount, output.mask.0, output.keys[0].0), (coin.amount, coin.mask.0, coin.keys[0].0));
    assert!(service.kernel.transaction(B256::repeat_byte(0xee)).await.expect("an answer").is_none());
    assert_eq!(service.kernel.key_holders(coin.keys[0].0).await.expect("an answer"), vec![hash]);
    assert!(service.kernel.key_holders([0xee; 32]).await.expect("an answer").is_empty());
    assert!(service.kernel.coin_holders(place(coin)).await.expect("an answer").is_empty());
    let refused = service.kernel.send(0, &[0]).await.expect_err("no transaction");
    assert!(matches!(refused, LedgerError::Kernel { .. }) && !refused.retryable());
}

/// The same question has the same answer; unknown receivers have none.
async fn ghost_keys(service: &Service, coin: &OutputRow) -> Output {
    let ask = |receiver| KeysBody::Own(vec![KeyRequest { receivers: vec![receiver], index: 0, hint: PAYMENT }]);
    let first = output_for_bob(service, &service.alice, &ask(service.bob), coin).await;
    assert_eq!(output_for_bob(service, &service.alice, &ask(service.bob), coin).await, first);
    let stranger = KeyRequest { receivers: vec![UNKNOWN], index: 0, hint: PAYOUT };
    let nobody = service.alice.keys(&KeysBody::Own(vec![stranger])).await;
    assert_eq!(refusal(nobody), Refusal::NotRegistered);
    first
}

/// One user's payment: registered, signed by what the views open, sent, final; then its coin is taken.
async fn payment(service: &Service, coin: &OutputRow, output: Output) -> B256 {
    let transaction = spend(&[coin], vec![output]);
    let row = service.alice.request_transaction(&raw(PAYMENT, &transaction.clone().unsigned())).await;
    let row = row.expect("a request");
    assert_eq!((row.request_id, row.transaction_hash.0), (PAYMENT, transaction.hash().0));
    assert_eq!((row.state, row.signers.len(), row.revoked_by), (OutputState::Unspent, 0, None));
    assert_eq!((row.senders.as_slice(), row.senders_threshold), ([service.alice.user()].as_slice(), 1));
    assert_eq!(row.receivers[0].members, [service.bob]);
    let mut signed = transaction.clone().unsigned();
    sign(&service.alice, &mut signed, coin, &row.views);
    let sent = service.alice.send_transaction(&raw(PAYMENT, &signed)).await.expect("sent");
    assert!(sent.views.is_empty() && sent.state != OutputState::Unspent);
    until_spent(&service.alice, PAYMENT).await;

    assert_eq!(refusal(service.alice.transaction(UNKNOWN).await), Refusal::NotFound);
    let parts = (transaction.inputs().to_vec(), transaction.outputs().to_vec());
    let rival = Transaction::new(transaction.asset(), parts.0, parts.1, Vec::new(), b"rival".to_vec()).expect("bounds");
    let rival = service.alice.request_transaction(&raw(Uuid::from_u128(405), &rival.unsigned())).await;
    assert_eq!(refusal(rival), Refusal::InputLocked);
    transaction.hash()
}

/// The ledger knows its assets by name.
async fn assets(service: &Service) {
    let xin = service.alice.asset(XIN).await.expect("an asset");
    assert_eq!((xin.asset_id, xin.kernel_asset_id), (XIN, AssetId::from_uuid(XIN)));
    assert_eq!(xin.chain_id, Uuid::from_u128(0x43d6_1dcd_e413_450d_80b8_101d_5e90_3357), "it comes from Ethereum");
    assert_eq!((xin.symbol.as_str(), xin.name.as_str()), ("XIN", "Mixin"));
    assert_eq!((xin.display_symbol.as_str(), xin.display_name.as_str()), ("XIN", "Mixin"));
    assert!(xin.precision >= 8 && !xin.dust.is_zero() && xin.confirmations > 0);
    assert_eq!(refusal(service.alice.asset(UNKNOWN).await), Refusal::NotFound);
}

/// What alice was credited and what she paid, newest first; each row by itself, and part of the rows.
async fn statement(service: &Service, coin: &OutputRow, paid: B256) {
    let page = async |of, before, limit| -> Vec<SnapshotRow> {
        service.alice.snapshots(&SnapshotQuery { of, before, limit }).await.expect("a page")
    };
    let rows = page(Statement::Whole, None, 500).await;
    let [payment, deposit] = rows.as_slice() else { panic!("two movements, not {}", rows.len()) };
    for (row, hash) in [(payment, paid), (deposit, place(coin).transaction)] {
        assert_eq!((row.user_id, row.transaction_hash.0), (service.alice.user(), hash.0));
        assert_eq!((row.asset_id, row.kernel_asset_id), (XIN, coin.kernel_asset_id));
        assert_eq!((&row.withdrawal, row.inscription_hash), (&None, None));
        assert_eq!(row.amount.amount, coin.amount);
    }
    assert!(payment.amount.is_out && !deposit.amount.is_out && payment.created_at > deposit.created_at);
    assert_eq!((payment.opponent_id, payment.request_id), (Some(service.bob), Some(PAYMENT)));
    assert_eq!((payment.memo.0.as_slice(), &payment.deposit), (b"memo".as_slice(), &None));
    assert_eq!((deposit.opponent_id, deposit.request_id, deposit.memo.0.len()), (None, None, 0));
    let origin = service.alice.deposit(coin.output_id).await.expect("a deposit");
    assert_eq!(deposit.deposit.as_ref().map(|from| &from.deposit_hash), Some(&origin.deposit_hash));

    assert_eq!(page(Statement::OfAsset(XIN), None, 1).await, rows[..1]);
    assert_eq!(page(Statement::OfAsset(XIN), Some(payment.created_at), 500).await, rows[1..]);
    assert_eq!(page(Statement::WithUser(service.bob), None, 500).await, rows[..1]);
    assert_eq!(&service.alice.snapshot(deposit.snapshot_id).await.expect("a row"), deposit);
    assert_eq!(refusal(service.alice.snapshot(UNKNOWN).await), Refusal::NotFound);
}

/// The signatures that a request has collected.
fn collected(row: &MultisigRow) -> usize {
    let signed = SignedTransaction::decode(&row.raw_transaction.0).expect("a transaction");
    signed.input_signatures(0).map_or(0, std::collections::BTreeMap::len)
}

/// A request that a member ends stays readable and dead, also for who asks for it again.
async fn revoked(service: &Service, coin: &OutputRow, transaction: &Transaction) {
    let [_, member] = &service.members;
    let unsigned = raw(REVOKED, &transaction.clone().unsigned());
    let row = member.create_multisig(&unsigned).await.expect("the request");
    let mut signed = transaction.clone().unsigned();
    sign(member, &mut signed, coin, &row.views);
    let row = member.sign_multisig(&raw(REVOKED, &signed)).await.expect("a signature");
    assert_eq!((row.signers.as_slice(), collected(&row)), ([member.user()].as_slice(), 1));
    for row in
        [member.unlock_multisig(REVOKED).await, member.multisig(REVOKED).await, member.create_multisig(&unsigned).await]
    {
        let row = row.expect("the request");
        assert_eq!((row.request_id, row.transaction_hash.0), (REVOKED, transaction.hash().0));
        assert_eq!((row.revoked_by, row.signers.len()), (Some(member.user()), 0));
        assert_eq!((row.views.len(), collected(&row)), (0, 0));
    }
}

/// A member takes its signature back; the request, by its id and by its payload's hash, lives on.
async fn unlocked(member: &SafeApi, created: &MultisigRow) {
    for row in [member.multisig(PAYOUT).await, member.multisig_of(B256::new(created.transaction_hash.0)).await] {
        let row = row.expect("the request");
        assert_eq!((row.request_id, row.transaction_hash), (PAYOUT, created.transaction_hash));
        assert_eq!((row.signers.as_slice(), collected(&row)), ([member.user()].as_slice(), 1));
        assert_eq!((row.views.len(), row.revoked_by), (0, None));
    }
    let row = member.unlock_multisig(PAYOUT).await.expect("below the threshold");
    assert_eq!((row.request_id, row.signers.len(), collected(&row)), (PAYOUT, 0, 0));
    assert_eq!((&row.views, row.revoked_by), (&created.views, None));
}

/// A group's payout: each member finds the others' signatures, and the last one completes it. The first one thinks twice.
async fn payout(service: &Service, coin: &OutputRow) {
    let question = KeyRequest { receivers: vec![service.bob], index: 0, hint: PAYOUT };
    let body = KeysBody::Senders { keys: vec![question], senders: service.group() };
    let output = output_for_bob(service, &service.members[0], &body, coin).await;
    let transaction = spend(&[coin], vec![output]);
    revoked(service, coin, &transaction).await;
    let unsigned = raw(PAYOUT, &transaction.clone().unsigned());
    let mut signers = Vec::new();
    for member in &service.members {
        let created = member.create_multisig(&unsigned).await.expect("the request");
        assert_eq!((created.request_id, created.transaction_hash.0), (PAYOUT, transaction.hash().0));
        assert_eq!((&created.signers, created.senders_threshold), (&signers, 2));
        assert_eq!((&created.senders, created.revoked_by), (&service.group(), None));
        assert_eq!(collected(&created), signers.len(), "the others' signatures are in it");
        let mut signed = SignedTransaction::decode(&created.raw_transaction.0).expect("a transaction");
        assert_eq!(signed.hash(), transaction.hash());
        sign(member, &mut signed, coin, &created.views);
        let request = raw(PAYOUT, &signed);
        if signers.is_empty() {
            member.sign_multisig(&request).await.expect("a signature");
            unlocked(member, &created).await;
        }
        let row = member.sign_multisig(&request).await.expect("a signature");
        signers.push(member.user());
        signers.sort_unstable();
        assert_eq!((&row.signers, row.views.len(), row.revoked_by), (&signers, 0, None));
    }
    until_spent(&service.members[0], PAYOUT).await;
    let late = service.members[0].unlock_multisig(PAYOUT).await.expect_err("it has all its signatures");
    assert!(late.refusal().is_some() && !late.retryable(), "{late}");
}

/// Some transaction.
fn spend_nothing() -> SignedTransaction {
    Transaction::new(AssetId::NONE, Vec::new(), Vec::new(), Vec::new(), Vec::new()).expect("bounds").unsigned()
}

async fn suite(service: &Service) {
    identity(service).await;
    let (coin, shared) = listing(service).await;
    kernel(service, &coin).await;
    assets(service).await;
    let output = ghost_keys(service, &coin).await;
    let paid = payment(service, &coin, output).await;
    statement(service, &coin, paid).await;
    payout(service, &shared).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_embedded_ledger_should_keep_the_contract() {
    let bench = Bench::start(Duration::from_millis(30)).await;
    let [alice, a, b, bob] = bench.users().await;
    bench.coin(XIN, "10", &[&alice], 1).await;
    bench.coin(XIN, "10", &[&a, &b], 2).await;
    let kernel = bench.kernel(2);
    let members = if a.id() < b.id() { [a.api, b.api] } else { [b.api, a.api] };
    bench.fault(FaultOrder::new(Fault::UnlockRevokes).for_user(members[1].user()).times(1)).await;
    suite(&Service { alice: alice.api, members, bob: bob.api.user(), kernel }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_in_the_form_of_the_real_services_should_keep_the_contract() {
    let scene = Scene::new();
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/recorded/ledger.json")).expect("the file");
    let recorded: serde_json::Value = serde_json::from_str(&text).expect("json");
    let api = Player::start(&recorded["api"], scene.names()).await;
    let node = Player::start(&recorded["kernel"], scene.names()).await;
    suite(&scene.service(&api.url, &node.url)).await;
    assert_eq!((api.unplayed(), node.unplayed()), (Vec::new(), Vec::new()), "every answer was needed");
}

/// Failures of the service, in each of the forms that were seen, and whether asking again may help.
#[tokio::test(flavor = "multi_thread")]
async fn failures_should_be_told_apart_in_every_form() {
    let refused =
        |code: u32| serde_json::json!({ "error": { "status": 202, "code": code, "description": "no", "extra": {} } });
    for (status, body, expected) in [
        (202, refused(400), (Some(Refusal::Invalid), false)),
        (202, refused(401), (Some(Refusal::Unauthorized), false)),
        (202, refused(403), (Some(Refusal::Unauthorized), false)),
        (202, refused(404), (Some(Refusal::NotFound), false)),
        (202, refused(429), (Some(Refusal::TooMany), true)),
        (202, refused(500), (Some(Refusal::Server), true)),
        (202, refused(10_002), (Some(Refusal::Invalid), false)),
        (202, refused(10_104), (Some(Refusal::Other), false)),
        (202, refused(20_117), (Some(Refusal::Insufficient), false)),
        (202, refused(20_125), (Some(Refusal::TraceTaken), false)),
        (202, refused(20_150), (Some(Refusal::BadReceivers), false)),
        (202, refused(2_000_001), (Some(Refusal::OutputKeyUsed), false)),
        (202, refused(2_000_002), (Some(Refusal::InputLocked), false)),
        (202, refused(2_000_003), (Some(Refusal::BadSignature), false)),
        (500, refused(500), (None, true)),
        (502, "<html><body>502 Bad Gateway</body></html>".into(), (None, true)),
        (200, "<html></html>".into(), (None, false)),
        (200, serde_json::json!({ "data": null }), (None, false)),
        (200, serde_json::json!({}), (None, false)),
    ] {
        let shown = body.to_string();
        let replies = serde_json::json!([{ "call": "GET /safe/me", "replies": [{ "status": status, "body": body }] }]);
        let scene = Scene::new();
        let player = Player::start(&replies, scene.names()).await;
        let error = scene.service(&player.url, &player.url).alice.me().await.expect_err("a failure");
        assert_eq!((error.refusal(), error.retryable()), expected, "{status} {shown}");
    }
}
