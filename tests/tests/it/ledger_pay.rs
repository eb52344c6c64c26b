//! A ledger's users and a group of them pay each other, with the production client against the embedded ledger.

use std::sync::Arc;
use std::time::Duration;

use lockstep::ledger::wire::Hex32;
use lockstep::ledger::{
    KernelNodes, PayError, Payment, SafeApi, Watcher, balance, final_coins, look_up, pay, request_id, store,
};
use lockstep::world::ledger::{
    IssueKeys, LedgerFault, ReadError, ReadKernel, ReadLedger, Registered, SendTransaction, SubmitPayout,
};
use lockstep_core::bls::SecretKey;
use lockstep_core::derive::{CoinRef, Derived, DerivedMemo, Payee};
use lockstep_core::group::Addresses;
use lockstep_core::mixin::{CoinKeys, Output as KernelOutput, PrivateKey, Transaction};
use lockstep_core::operation::{
    Decision, DecisionBody, Memo, MemoKind, MemoRules, Operation, SignedDecision, decision_digest,
};
use lockstep_core::output::Output;
use lockstep_core::payout::{self, Attempts, InputSignature, Plan, ResolvedCoin, Seed, Verdict, guard};
use lockstep_core::trace::Trace;
use lockstep_core::{Amount, AssetId, B256, Bytes, Mix, Uuid};

use crate::ledger_rules::bench::{BTC, Bench, User, XIN, spend};

const PATIENCE: Duration = Duration::from_secs(5);
const GROUP_ID: B256 = B256::repeat_byte(0x6d);

fn units(text: &str) -> Amount {
    text.parse().expect("an amount")
}

fn xin() -> AssetId {
    AssetId::from_uuid(XIN)
}

fn payment(receivers: Mix, amount: &str, extra: &[u8]) -> Payment {
    Payment {
        receivers,
        asset: xin(),
        amount: units(amount),
        extra: extra.to_vec(),
        references: Vec::new(),
        trace: Uuid::new_v4(),
    }
}

/// A 3-of-4 group with its watcher, and alice and bob with 10 XIN and 1 BTC of alice's.
struct Scene {
    /// Serves until it is dropped.
    bench: Bench,
    alice: User,
    bob: User,
    members: Vec<Arc<SafeApi>>,
    kernel: Arc<KernelNodes>,
    group: Mix,
}

impl Scene {
    async fn start(delay: Duration) -> Self {
        let bench = Bench::start(delay).await;
        let [alice, bob, a, b, c, d] = bench.users().await;
        bench.coin(XIN, "10", &[&alice], 1).await;
        bench.coin(BTC, "1", &[&alice], 1).await;
        let members: Vec<_> = [a, b, c, d].into_iter().map(|member| Arc::new(member.api)).collect();
        let group = Mix::of_users(members.iter().map(|member| member.user()), 3);
        let kernel = KernelNodes::new(&bench.running.kernel_urls(), 2).expect("three nodes");
        Self { bench, alice, bob, members, kernel: Arc::new(kernel), group }
    }

    fn watcher(&self, member: usize) -> Watcher<Arc<SafeApi>, Arc<KernelNodes>> {
        Watcher::new(Arc::clone(&self.members[member]), Arc::clone(&self.kernel))
    }

    fn addresses(&self) -> Addresses {
        Addresses::new(self.group.clone())
    }

    /// Alice pays the group, and the group sees it.
    async fn fund(&self, amount: &str) -> Output {
        let before = self
            .watcher(0)
            .next_outputs(&self.addresses(), 0)
            .await
            .expect("outputs")
            .last()
            .map_or(0, |last| last.sequence);
        let to_group = payment(self.group.clone(), amount, b"fund");
        pay(&self.alice.api, &to_group, PATIENCE).await.expect("a payment");
        self.watcher(0)
            .next_outputs(&self.addresses(), before)
            .await
            .expect("outputs")
            .first()
            .expect("the payment")
            .clone()
    }

    /// A payout of 2 XIN to bob out of `coin`.
    fn derived(&self, coin: &Output) -> Derived {
        let change = coin.amount.checked_sub(units("2")).expect("enough");
        let bob = Mix::of_users([self.bob.id()], 1);
        Derived {
            trace: Trace::Pay { chain: 1, k: 0 },
            asset: xin(),
            inputs: vec![CoinRef::Output(coin.id)],
            outputs: vec![(Payee::Mix(bob), units("2")), (Payee::Group(0), change)],
            memo: DerivedMemo::Pay(b"out".to_vec()),
            key: None,
        }
    }

    /// What member number `member` builds for an attempt at the payout.
    async fn build(&self, member: usize, trace: Uuid, coin: &Output, attempt: u32) -> Transaction {
        let resolved = |_: &CoinRef| Some(ResolvedCoin { id: coin.coin, amount: coin.amount });
        let seed = Seed::new([7; 32]);
        let group = |generation| (generation == 0).then(|| self.group.clone());
        let plan = Plan::new(&self.derived(coin), (trace, attempt), resolved, group).expect("a plan");
        let senders = self.group.users().expect("users only");
        let keys = self.members[member].issue_keys(&senders, &plan.key_requests(&seed)).await.expect("keys");
        plan.build(&seed, &keys).expect("a payout")
    }

    async fn coin_keys(&self, coin: &Output) -> Vec<CoinKeys> {
        let coins = final_coins(&*self.kernel, &[coin.coin]).await.expect("read").expect("final");
        coins.into_iter().map(|coin| coin.keys).collect()
    }

    /// Registers and signs the payout as one member.
    async fn part(&self, member: usize, request: Uuid, payout: &Transaction, keys: &[CoinKeys]) -> Vec<InputSignature> {
        let api = &self.members[member];
        let registered: Registered = api.register(request, payout).await.expect("a request");
        let spend = PrivateKey::from_ed25519_seed(api.keystore().spend_private_key.expose());
        payout::sign(payout, keys, &registered.views, &spend).expect("views that fit")
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_paid_should_say_why_and_move_nothing() {
    let scene = Scene::start(Duration::ZERO).await;
    let bob = Mix::of_users([scene.bob.id()], 1);
    let too_much = pay(&scene.alice.api, &payment(bob.clone(), "10.00000001", b""), PATIENCE).await;
    assert!(matches!(too_much, Err(PayError::Insufficient { have, .. }) if have == units("10")));
    let nobody = Mix::of_users([Uuid::from_u128(1)], 1);
    let unknown = pay(&scene.alice.api, &payment(nobody, "1", b""), PATIENCE).await.expect_err("not registered");
    assert!(!unknown.retryable(), "{unknown}");
    let nothing = pay(&scene.alice.api, &payment(bob.clone(), "0", b""), PATIENCE).await;
    assert!(matches!(nothing, Err(PayError::Plan(_))));
    let unpaid = Payment { asset: AssetId::from_uuid(BTC), ..payment(bob, "0.5", &[0; 257]) };
    let long = pay(&scene.alice.api, &unpaid, PATIENCE).await;
    assert!(matches!(long, Err(PayError::Plan(_))), "only XIN pays for storage");
    assert_eq!(balance(&scene.alice.api, xin()).await.expect("a balance"), units("10"));
}

/// The longest decision there is: its memo pays for storage in its own transaction, and is read like any other.
#[tokio::test(flavor = "multi_thread")]
async fn a_switch_to_sixty_four_members_should_arrive_in_one_payment() {
    let scene = Scene::start(Duration::ZERO).await;
    let key = SecretKey::derive(&[1; 32], b"test").expect("a key");
    let body = DecisionBody::Switch { group: Mix::of_users((1..=64).map(Uuid::from_u128), 43) };
    let signature = key.sign_digest(&decision_digest(&GROUP_ID, 7, &body.encode())).compress();
    let decision = SignedDecision { number: 7, body: body.clone(), signature };
    let memo = Operation::decision(&decision).expect("short fields").encode().expect("short fields");
    assert!(memo.len() > 1_024, "two steps of storage");
    let payment = payment(scene.group.clone(), "0.00000001", &memo);
    let paid = pay(&scene.alice.api, &payment, PATIENCE).await.expect("a payment");
    assert_eq!(pay(&scene.alice.api, &payment, PATIENCE).await.expect("the same payment"), paid);
    assert_eq!(balance(&scene.alice.api, xin()).await.expect("a balance"), units("9.99979999"), "0.0002 are burnt");

    let outputs = scene.watcher(1).next_outputs(&scene.addresses(), 0).await.expect("outputs");
    let [output] = outputs.as_slice() else { panic!("{outputs:?}") };
    let rules = MemoRules { group_id: GROUP_ID, group_key: Some(key.public_key()), ..MemoRules::default() };
    assert_eq!(Memo::decode(&output.extra, &rules).kind, MemoKind::Decision(Decision { number: 7, valid: true, body }));
}

/// A payload of the length that contracts take at most: alice stores it once, and refers to it from her payment.
#[tokio::test(flavor = "multi_thread")]
async fn a_payload_of_sixty_four_kib_should_arrive_by_reference() {
    let scene = Scene::start(Duration::ZERO).await;
    let payload: Vec<u8> = (0..65_536_u32).map(|at| at.to_le_bytes()[0] ^ at.to_le_bytes()[1]).collect();
    let process = Uuid::from_u128(5);
    let trace = Uuid::new_v4();
    let stored = store(&scene.alice.api, &payload, trace, PATIENCE).await.expect("stored");
    assert_eq!(store(&scene.alice.api, &payload, trace, PATIENCE).await.expect("the same"), stored);
    assert_eq!(balance(&scene.alice.api, xin()).await.expect("a balance"), units("9.9935"), "65 steps are burnt, once");
    let other = store(&scene.alice.api, b"something else", Uuid::new_v4(), PATIENCE).await.expect("stored");

    // At most 16 references; the payload is the last of them, and the memo may name what it is not.
    let mut references = vec![other; 15];
    references.push(stored);
    let named = |reference, payload: &[u8]| Operation::stored_call(process, reference, payload);
    for (operation, found) in [
        (named(15, &payload), Some(payload.clone())),
        (named(0, b"something else"), Some(b"something else".to_vec())),
        (named(0, &payload), None),
        (named(16, &payload), None),
        (Operation::call(process, b"of its own".to_vec()), None),
    ] {
        let memo = operation.encode().expect("short fields");
        let payment = Payment {
            asset: AssetId::from_uuid(BTC),
            references: references.clone(),
            ..payment(scene.group.clone(), "0.01", &memo)
        };
        pay(&scene.alice.api, &payment, PATIENCE).await.expect("a payment");
        assert_eq!(pay(&scene.alice.api, &payment, PATIENCE).await.expect("once").outputs.len(), 2);
        let outputs = scene.watcher(1).next_outputs(&scene.addresses(), 0).await.expect("outputs");
        let output = outputs.last().expect("the payment");
        assert_eq!(output.stored, found.clone().map(Bytes::from));
        let kind = Memo::of(output, &MemoRules::default()).kind;
        let expected = found.or((!operation.extra.is_empty()).then_some(operation.extra));
        assert_eq!(matches!(kind, MemoKind::StoredCall { .. }), expected.is_none());
        assert!(expected.is_none_or(|payload| kind == MemoKind::Call { process, payload }));
    }
    let beyond = Payment { references: vec![stored; 17], ..payment(scene.group.clone(), "0.01", b"") };
    assert!(pay(&scene.alice.api, &beyond, PATIENCE).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collectible_should_not_be_spent_as_money() {
    let scene = Scene::start(Duration::ZERO).await;
    let coin = scene.bench.coin(XIN, "100", &[&scene.alice], 1).await;
    scene.bench.operator.inscribe(coin.output_id, Hex32([7; 32])).await.expect("a collectible");
    assert_eq!(balance(&scene.alice.api, xin()).await.expect("a balance"), units("10"));
    let bob = Mix::of_users([scene.bob.id()], 1);
    let refused = pay(&scene.alice.api, &payment(bob, "11", b""), PATIENCE).await;
    assert!(matches!(refused, Err(PayError::Insufficient { have, .. }) if have == units("10")));
}

#[tokio::test(flavor = "multi_thread")]
async fn alice_should_pay_bob_once_however_often_she_asks() {
    let scene = Scene::start(Duration::from_millis(50)).await;
    let first = payment(Mix::of_users([scene.bob.id()], 1), "3.5", b"hello");
    let paid = pay(&scene.alice.api, &first, PATIENCE).await.expect("a payment");
    assert_eq!(pay(&scene.alice.api, &first, PATIENCE).await.expect("the same payment"), paid);
    let other = Payment { amount: units("1"), ..first };
    let refused = pay(&scene.alice.api, &other, PATIENCE).await;
    assert!(matches!(refused, Err(PayError::TraceTaken(trace)) if trace == other.trace));
    assert_eq!(balance(&scene.alice.api, xin()).await.expect("a balance"), units("6.5"));
    assert_eq!(balance(&scene.bob.api, xin()).await.expect("a balance"), units("3.5"));
    let view = ReadKernel::transaction(&*scene.kernel, paid.transaction).await.expect("read").expect("known");
    assert!(view.is_final && view.transaction.transaction().extra() == b"hello");
    assert_eq!(scene.bob.api.output(paid.outputs[0]).await.expect("an output").amount, units("3.5"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_group_should_see_what_alice_paid_in_order_and_checked() {
    let scene = Scene::start(Duration::ZERO).await;
    for amount in ["1", "0.00000001", "2"] {
        let memo = amount.as_bytes();
        pay(&scene.alice.api, &payment(scene.group.clone(), amount, memo), PATIENCE).await.expect("a payment");
    }
    let outputs = scene.watcher(0).next_outputs(&scene.addresses(), 0).await.expect("outputs");
    assert_eq!(outputs.iter().map(|output| output.amount).collect::<Vec<_>>(), ["1", "0.00000001", "2"].map(units));
    let first = &outputs[0];
    assert_eq!(first.senders, Some(Mix::of_users([scene.alice.id()], 1)));
    assert_eq!((first.extra.as_slice(), first.asset, first.generation), (b"1".as_slice(), xin(), 0));
    assert_eq!(outputs[1].spends[0].transaction, first.coin.transaction, "the change of the first payment");
    assert_eq!(
        scene.watcher(3).next_outputs(&scene.addresses(), 0).await.expect("outputs"),
        outputs,
        "every member sees the same"
    );
    let rest = scene.watcher(1).next_outputs(&scene.addresses(), first.sequence).await.expect("outputs");
    assert_eq!(rest, outputs[1..]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unreachable_kernel_should_stop_the_watcher_and_skip_nothing() {
    let scene = Scene::start(Duration::ZERO).await;
    scene.fund("1").await;
    let nowhere = KernelNodes::new(&["http://127.0.0.1:1".to_owned()], 1).expect("an address");
    let watcher = Watcher::new(Arc::clone(&scene.members[0]), nowhere);
    let error = watcher.next_outputs(&scene.addresses(), 0).await;
    assert!(matches!(error, Err(ReadError::Fault(fault)) if fault.retryable()));
}

#[tokio::test(flavor = "multi_thread")]
async fn three_members_should_pay_bob_through_the_api() {
    let scene = Scene::start(Duration::ZERO).await;
    let coin = scene.fund("5").await;
    let trace = Uuid::new_v4();
    let payout = scene.build(0, trace, &coin, 0).await;
    for member in 1..4 {
        assert_eq!(scene.build(member, trace, &coin, 0).await, payout, "the same keys for every member");
    }
    let (request, keys) = (request_id(trace, 0, 0), scene.coin_keys(&coin).await);
    let mut attempts = Attempts::default();
    attempts.build(&payout).expect("the first attempt");
    assert_eq!(guard(&[coin.coin], payout.hash(), &[], |_| None).expect("free"), [coin.coin]);
    for (member, api) in scene.members.iter().take(3).enumerate() {
        assert!(matches!(look_up(&*scene.kernel, &mut attempts).await, Ok(Verdict::Unrelated)));
        let part = scene.part(member, request, &payout, &keys).await;
        let mine = payout::with_part(&payout, &keys, &part).expect("a part");
        let registered = api.add_signatures(request, &mine).await.expect("signed");
        assert_eq!(registered.signers.len(), member + 1);
        api.add_signatures(request, &mine).await.expect("signed again");
    }
    assert!(matches!(look_up(&*scene.kernel, &mut attempts).await, Ok(Verdict::Paid)));
    assert_eq!(balance(&scene.bob.api, xin()).await.expect("a balance"), units("2"));
    let change = scene.watcher(3).next_outputs(&scene.addresses(), coin.sequence).await.expect("outputs").remove(0);
    assert_eq!((change.amount, change.spends.clone()), (units("3"), vec![coin.coin]));
    assert_eq!(scene.members[3].register(request, &payout).await.expect("read back").signers.len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_for_another_payload_should_be_a_conflict() {
    let scene = Scene::start(Duration::ZERO).await;
    let coin = scene.fund("5").await;
    let trace = Uuid::new_v4();
    let payout = scene.build(0, trace, &coin, 0).await;
    let other = scene.build(1, trace, &coin, 1).await;
    scene.members[0].register(trace, &payout).await.expect("a request");
    let refused = scene.members[1].register(trace, &other).await;
    assert!(matches!(refused, Err(LedgerFault::Conflict { theirs, .. }) if theirs == payout.hash()));
    let again = scene.members[1].register(request_id(trace, 1, 0), &other).await.expect("an id of its own");
    assert!(again.views.len() == 1 && again.threshold == 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn merged_parts_should_pay_past_the_api_and_too_few_should_not() {
    let scene = Scene::start(Duration::ZERO).await;
    let coin = scene.fund("5").await;
    let trace = Uuid::new_v4();
    let payout = scene.build(0, trace, &coin, 0).await;
    let keys = scene.coin_keys(&coin).await;
    let mut parts = Vec::new();
    for member in [3, 0, 2] {
        parts.push(scene.part(member, trace, &payout, &keys).await);
    }
    assert!(payout::merge(&payout, &keys, &parts[..2]).is_err());
    let alone = payout::with_part(&payout, &keys, &parts[0]).expect("a part");
    let refused = scene.kernel.send_transaction(0, &alone).await.expect_err("one of three");
    assert!(matches!(refused, LedgerFault::Refused { .. }));
    let signed = payout::merge(&payout, &keys, &parts).expect("three of four");
    for turn in 0..3 {
        scene.kernel.send_transaction(turn, &signed).await.expect("admitted, again and again");
    }
    let mut attempts = Attempts::default();
    attempts.build(&payout).expect("the first attempt");
    assert!(matches!(look_up(&*scene.kernel, &mut attempts).await, Ok(Verdict::Paid)));
    assert_eq!(balance(&scene.bob.api, xin()).await.expect("a balance"), units("2"));
    let change = scene.watcher(0).next_outputs(&scene.addresses(), coin.sequence).await.expect("outputs").remove(0);
    assert_eq!(change.spends, [coin.coin], "the change is told by what it spends, with senders or without");
}

/// Somebody takes an output key of the payout with a transaction of its own: the payload is dead, and the next attempt with
/// other keys over the same coin pays.
#[tokio::test(flavor = "multi_thread")]
async fn a_stolen_output_key_should_cost_one_attempt_and_no_money() {
    let scene = Scene::start(Duration::ZERO).await;
    let coin = scene.fund("5").await;
    let trace = Uuid::new_v4();
    let first = scene.build(0, trace, &coin, 0).await;
    let mut attempts = Attempts::default();
    attempts.build(&first).expect("the first attempt");

    let own = scene.alice.coins(&[scene.alice.id()], 1).await.into_iter().rev().find(|row| row.amount == units("5"));
    let own = own.expect("alice's change");
    let stolen = &first.outputs()[0];
    let theft = KernelOutput::of_keys(own.amount, stolen.keys.clone(), stolen.mask, 1);
    let theft = spend(&[&own], vec![theft]);
    scene.alice.pay(Uuid::new_v4(), &own, theft).await;

    let request = request_id(trace, 0, 0);
    assert!(matches!(scene.members[0].register(request, &first).await, Err(LedgerFault::KeyUsed { .. })));
    assert!(matches!(look_up(&*scene.kernel, &mut attempts).await, Ok(Verdict::Dead)));
    assert_eq!(attempts.number(), 1);
    let second = scene.build(1, trace, &coin, attempts.number()).await;
    attempts.build(&second).expect("the second attempt");
    let bound = |_: &_| Some(first.hash());
    assert!(guard(&[coin.coin], second.hash(), &[], bound).is_err(), "not without the proof");
    assert_eq!(guard(&[coin.coin], second.hash(), attempts.dead(), bound).expect("the proof"), [coin.coin]);
    let (request, keys) = (request_id(trace, attempts.number(), 0), scene.coin_keys(&coin).await);
    for (member, api) in scene.members.iter().take(3).enumerate() {
        let part = scene.part(member, request, &second, &keys).await;
        let mine = payout::with_part(&second, &keys, &part).expect("a part");
        api.add_signatures(request, &mine).await.expect("signed");
    }
    assert!(matches!(look_up(&*scene.kernel, &mut attempts).await, Ok(Verdict::Paid)));
}
