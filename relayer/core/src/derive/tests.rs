//! Edges of the rules that scenarios do not reach, and the frozen state digest.

mod masks;

use alloy_primitives::{Address, FixedBytes};

use super::*;
use crate::message::{Message, MessageKind, Posted};
use crate::operation::{Caps, Decision, DecisionBody, MemoKind, MemoRules, Policy, Registration};
use crate::output::CoinId;
use crate::trace::Trace;

mod keys;

pub(super) fn bytes<const N: usize>(name: &str) -> [u8; N] {
    let mut bytes = [0; N];
    bytes[..name.len()].copy_from_slice(name.as_bytes());
    bytes
}

pub(super) fn user(name: &str) -> Uuid {
    Uuid::from_bytes(bytes(name))
}

pub(super) fn asset(name: &str) -> AssetId {
    AssetId(bytes(name))
}

pub(super) const fn amount(units: u128) -> Amount {
    Amount::from_units(units)
}

/// Two chains, a fee of 100 X, minimum and floor 10 of everything.
pub(super) fn config() -> Config {
    let chain = ChainRule { payload_max: 8, gas_max: 5_000_000 };
    Config {
        group: Mix::of_users(["m1", "m2", "m3", "m4"].map(user), 3),
        fee: Fee { asset: asset("X"), amount: amount(100) },
        default: AssetRule { minimum: amount(10), floor: amount(10) },
        assets: BTreeMap::new(),
        chains: BTreeMap::from([(1, chain), (2, chain)]),
        caps: BTreeMap::new(),
        delay_unknown_ns: 60,
        delay_over_ns: 600,
        window_hour_ns: HOUR_NS,
        window_day_ns: DAY_NS,
        inputs_max: INPUTS_MAX,
        sweep_max: SWEEP_MAX,
        memo_max: MEMO_MAX,
    }
}

fn set(users: &[&str], threshold: u8) -> Mix {
    Mix::of_users(users.iter().copied().map(user), threshold)
}

/// A coin of 1000 X from `u1` at ledger time 1000 + sequence.
fn output(sequence: u64) -> Output {
    Output {
        id: Uuid::from_u128(sequence.into()),
        sequence,
        created_at: sequence.saturating_add(1000),
        coin: CoinId { transaction: B256::left_padding_from(&sequence.to_be_bytes()), index: 0 },
        asset: asset("X"),
        amount: amount(1000),
        senders: Some(set(&["u1"], 1)),
        extra: Vec::new(),
        stored: None,
        inscription: None,
        spends: Vec::new(),
        generation: 0,
        late: false,
    }
}

fn memo(kind: MemoKind) -> Memo {
    Memo { kind, return_address: None }
}

fn call() -> Memo {
    memo(MemoKind::Call { process: user("p1"), payload: b"go".to_vec() })
}

fn decision(number: u64, body: DecisionBody) -> Memo {
    memo(MemoKind::Decision(Decision { number, valid: true, body }))
}

fn registration() -> Registration {
    let (private, policy) = (false, Policy::Strict);
    Registration { chain: 1, address: Address::repeat_byte(0xaa), private, policy, gas: 300_000, assets: None }
}

/// A core with `p1` registered on chain 1 at sequence 1.
fn core() -> Core {
    let mut core = Core::new(config()).expect("a sound configuration");
    let output = Output { senders: Some(set(&["p1"], 1)), ..output(1) };
    let [applied] = &core.apply(&output, &memo(MemoKind::Register(registration()))).expect("applies")[..] else {
        panic!("one output, one entry");
    };
    assert_eq!(applied.class, Class::Register);
    core
}

/// Outbound 0: 400 X of `p1` to `u1`, which the contract sent after accepting sequence 2.
fn outbound() -> Outbound {
    let recipient = set(&["u1"], 1).to_payload();
    let (process, asset, amount) = (user("p1"), asset("X"), amount(400));
    Outbound { k: 0, process, asset, amount, recipient, memo: b"hi".to_vec(), s: 2, time: 1500 }
}

/// What `outbound` leads to, after a call of `paid` by `u1` at sequence 2.
fn answer(paid: u128, outbound: Outbound) -> Result<Vec<Effect>, DeriveError> {
    let mut core = core();
    core.apply(&Output { amount: amount(paid), ..output(2) }, &call()).expect("applies");
    core.feed(1, Record::Outbound(outbound)).expect("in order");
    core.advance()
}

fn only(effects: Vec<Effect>) -> Derived {
    match <[Effect; 1]>::try_from(effects) {
        Ok([Effect::Derived(derived)]) => derived,
        other => panic!("one transaction, not {other:?}"),
    }
}

#[test]
fn the_ledgers_order_should_not_stand_still_or_go_back() {
    for sequence in [0, 1, 4, 5] {
        let mut core = core();
        core.apply(&output(5), &call()).expect("ascends");
        let error = DeriveError::OutputOrder { output: output(sequence).id, sequence, applied: 5 };
        assert_eq!(core.apply(&output(sequence), &call()), Err(error.clone()));
        assert_eq!(core.apply(&output(6), &call()), Err(error.clone()), "halted");
        assert_eq!(core.advance(), Err(error.clone()), "halted");
        assert_eq!(core.halted(), Some(&error));
    }
}

/// Nobody could pay such a group, or no list of its coins could be asked for.
#[test]
fn a_switch_to_a_group_that_cannot_be_paid_should_change_nothing() {
    let bare = Mix::new(vec![crate::MixMember::Address([1; 32], [2; 32])], 1);
    for group in [set(&["m5"], 2), set(&["m5"], 0), set(&["m5", "m5"], 1), set(&[], 0), bare] {
        let mut core = core();
        core.apply(&output(5), &decision(1, DecisionBody::Switch { group })).expect("applies");
        assert_eq!((core.groups(), core.switches()), (&[config().group][..], &[][..]));
    }
    let (mut core, group) = (core(), set(&["m5"], 1));
    core.apply(&output(5), &decision(1, DecisionBody::Switch { group: group.clone() })).expect("applies");
    assert_eq!((core.groups(), core.switches()), (&[config().group, group][..], &[5][..]));
}

#[test]
fn records_out_of_order_should_be_contradictions() {
    let accepted = |s, time| Record::Accepted { s, time };
    let fed = |records: &[Record]| {
        let mut core = core();
        records.iter().try_for_each(|record| core.feed(1, record.clone()))
    };
    let gap = |expected, found| Err(DeriveError::OutboundOrder { chain: 1, expected, found });
    assert_eq!(fed(&[Record::Outbound(Outbound { k: 1, ..outbound() })]), gap(0, 1));
    assert_eq!(fed(&[Record::Outbound(outbound()), Record::Outbound(outbound())]), gap(1, 0));
    let back = |what, before, found| Err(DeriveError::RecordOrder { chain: 1, what, before, found });
    assert_eq!(fed(&[accepted(7, 9), accepted(6, 9)]), back("accepted sequence", 7, 6));
    assert_eq!(fed(&[accepted(7, 9), accepted(7, 8)]), back("block time", 9, 8));
    assert_eq!(fed(&[accepted(7, 9), accepted(7, 9)]), Ok(()));

    assert_eq!(core().feed(9, accepted(0, 0)), Err(DeriveError::UnknownChain(9)));
    assert_eq!(core().step(9), Err(DeriveError::UnknownChain(9)));
}

#[test]
fn more_than_can_be_counted_should_go_back_and_not_halt() {
    let mut core = core();
    let classes =
        [(2, u128::MAX), (3, u128::MAX - 1), (4, AMOUNT_MAX.units() + 1), (5, AMOUNT_MAX.units())].map(|(at, paid)| {
            let applied = core.apply(&Output { amount: amount(paid), ..output(at) }, &call()).expect("applies");
            applied.into_iter().map(|applied| applied.class).collect::<Vec<_>>()
        });
    assert_eq!(classes, [[Class::Unclaimed], [Class::Refund], [Class::Refund], [Class::Call]]);
    let release = DecisionBody::Release { output: output(2).id, to: set(&["u1"], 1) };
    let decision = memo(MemoKind::Decision(Decision { number: 1, valid: true, body: release }));
    let decided = core.apply(&output(6), &decision).expect("applies");
    assert!(decided.iter().all(|applied| applied.derived.is_empty()), "nobody knows how much it is");
    core.feed(1, Record::Accepted { s: 6, time: 0 }).expect("in order");
    assert_eq!(core.advance(), Ok(Vec::new()), "anybody can issue an asset and pay any amount of it");
    assert_eq!(core.book(1, user("p1"), asset("X")), AMOUNT_MAX);
}

#[test]
fn numbers_beyond_their_range_should_halt_and_not_panic() {
    let unknown = Outbound { recipient: set(&["n1"], 1).to_payload(), time: u64::MAX, ..outbound() };
    assert_eq!(answer(1000, unknown), Err(DeriveError::Overflow("the end of an escrow")));

    let most = Outbound { amount: AMOUNT_MAX, ..outbound() };
    assert_eq!(answer(1000, most.clone()), Ok(vec![Effect::Parked { chain: 1, k: 0 }]));
    assert_eq!(only(answer(AMOUNT_MAX.units(), most).expect("pays all")).outputs.len(), 1);

    let last = Output { created_at: u64::MAX, ..output(u64::MAX) };
    assert!(self::core().apply(&last, &call()).is_ok());
}

#[test]
fn a_window_should_count_beyond_the_largest_amount() {
    let caps = Caps { payout: AMOUNT_MAX, hour: AMOUNT_MAX, day: AMOUNT_MAX };
    let caps = BTreeMap::from([(1, BTreeMap::from([(asset("X"), caps)]))]);
    let mut core = Core::new(Config { caps, ..config() }).expect("a sound configuration");
    let register = Output { senders: Some(set(&["p1"], 1)), ..output(1) };
    core.apply(&register, &memo(MemoKind::Register(registration()))).expect("applies");
    let most = AMOUNT_MAX;
    let mut traces = Vec::new();
    for k in 0..2 {
        let s = k + 2;
        core.apply(&Output { amount: most, ..output(s) }, &call()).expect("applies");
        core.feed(1, Record::Outbound(Outbound { k, s, amount: most, ..outbound() })).expect("in order");
        traces.push(only(core.advance().expect("pays all")).trace);
    }
    assert_eq!(traces, [Trace::Pay { chain: 1, k: 0 }, Trace::Escrow { chain: 1, k: 1 }]);
}

#[test]
fn only_an_unclaimed_coin_should_be_released_and_only_once() {
    let mut core = core();
    core.apply(&Output { amount: amount(9), ..output(2) }, &call()).expect("dust");
    core.apply(&output(3), &call()).expect("a call");
    assert_eq!(core.unclaimed().len(), 1);
    let mut number = 0;
    let mut released = |core: &mut Core, output: u128, to: Mix| {
        number += 1;
        let body = DecisionBody::Release { output: Uuid::from_u128(output), to };
        let applied = core.apply(&self::output(10 + number), &decision(number, body)).expect("applies");
        assert_eq!(applied[0].class, Class::Decision);
        applied[0].derived.clone()
    };
    let to = set(&["u7"], 1);
    for (output, to) in [(3, to.clone()), (99, to.clone()), (2, config().group), (2, set(&["u7"], 2))] {
        assert_eq!(released(&mut core, output, to), [], "{output}");
    }
    let [paid] = &released(&mut core, 2, to.clone())[..] else { panic!("one transaction") };
    assert_eq!(paid.trace, Trace::Release { output: Uuid::from_u128(2) });
    assert_eq!(paid.inputs, [CoinRef::Output(Uuid::from_u128(2))]);
    assert_eq!(paid.outputs, [(Payee::Mix(to.clone()), amount(9))]);
    assert_eq!(paid.extra(), Some(crate::operation::refund_memo(Uuid::from_u128(2))));
    assert_eq!(released(&mut core, 2, to), [], "a coin is paid out once");
    assert_eq!(core.unclaimed().len(), 0);
}

#[test]
fn a_policy_should_tell_the_contract_what_holds_from_then_on() {
    let mut core = core();
    let mut number = 0;
    let mut decided = |core: &mut Core, body: DecisionBody| {
        number += 1;
        let applied = core.apply(&output(10 + number), &decision(number, body)).expect("applies");
        applied[0].posted.iter().map(|posted| (posted.message.kind, posted.message.payload.clone())).collect::<Vec<_>>()
    };
    let policy = |process, policy, gas| DecisionBody::Policy { process: user(process), policy, gas };
    assert_eq!(decided(&mut core, policy("p2", Policy::Park, 0)), [], "no such process");
    assert_eq!(decided(&mut core, policy("p1", Policy::Park, 5_000_001)), [], "more gas than its chain allows");
    assert_eq!(decided(&mut core, policy("p1", Policy::Park, 0)), [(MessageKind::Update, vec![2, 0, 4, 0x93, 0xe0])]);
    assert_eq!(
        decided(&mut core, policy("p1", Policy::Refund, 60_000)),
        [(MessageKind::Update, vec![0, 0, 0, 0xea, 0x60])]
    );
    assert_eq!(core.process(&user("p1")).map(|process| (process.policy, process.gas)), Some((Policy::Refund, 60_000)));
    let _ = decided(&mut core, DecisionBody::Close { process: user("p1") });
    assert_eq!(decided(&mut core, policy("p1", Policy::Park, 0)), [], "closed");
}

#[test]
fn a_decided_key_should_be_newer_than_the_last() {
    let mut core = core();
    let key = |generation, byte| DecisionBody::Key { generation, key: [byte; 96], possession: [0; 48] };
    let held =
        [(1, key(0, 1)), (2, key(2, 2)), (3, key(2, 3)), (4, key(1, 4)), (5, key(3, 5))].map(|(number, body)| {
            core.apply(&output(10 + number), &decision(number, body)).expect("applies");
            core.decided_key().map(|(generation, key)| (generation, key[0]))
        });
    assert_eq!(held, [None, Some((2, 2)), Some((2, 2)), Some((2, 2)), Some((3, 5))]);
}

#[test]
fn recipients_that_cannot_be_paid_should_bounce() {
    let illegal = [
        Vec::new(),
        vec![0; 31],
        vec![0; 32],
        vec![0; 33],
        vec![2, 1],
        vec![3, 1, 0],
        vec![2, 0, 0],
        user("u1").as_bytes().to_vec(),
        crate::Account::of(&set(&["u2"], 1)).0.to_vec(),
        set(&["u1", "u2"], 3).to_payload(),
        set(&["u1", "u1"], 1).to_payload(),
        set(&["u1"], 0).to_payload(),
        config().group.to_payload(),
    ];
    for recipient in illegal {
        let derived = only(answer(1000, Outbound { recipient: recipient.clone(), ..outbound() }).expect("bounces"));
        assert_eq!(derived.memo, DerivedMemo::Bounce(user("p1")), "{recipient:?}");
        assert_eq!(derived.outputs, [(Payee::Group(0), amount(400)), (Payee::Group(0), amount(600))]);
    }
    for recipient in [crate::Account::of(&set(&["u1"], 1)).0.to_vec(), set(&["u1"], 1).to_payload()] {
        let derived = only(answer(1000, Outbound { recipient, ..outbound() }).expect("pays"));
        assert_eq!(derived.outputs[0], (Payee::Mix(set(&["u1"], 1)), amount(400)));
        assert_eq!(derived.memo, DerivedMemo::Pay(b"hi".to_vec()));
    }
}

#[test]
fn a_record_should_wait_for_the_ledger() {
    let mut core = core();
    core.feed(1, Record::Outbound(outbound())).expect("in order");
    assert_eq!(core.step(1), Ok(None));
    assert_eq!((core.pending(1), core.next_k(1)), (1, 1));
    core.apply(&output(2), &call()).expect("applies");
    core.apply(&output(3), &call()).expect("applies");
    assert_eq!(only(core.advance().expect("pays")).inputs, [CoinRef::Output(output(2).id)], "not the coin behind s");
    assert_eq!((core.book(1, user("p1"), asset("X")), core.pending(1)), (amount(600), 0));
}

#[test]
fn messages_should_carry_what_the_contract_reads() {
    let mut core = Core::new(config()).expect("a sound configuration");
    let register = Output { senders: Some(set(&["p1"], 1)), ..output(1) };
    let update = DecisionBody::Update { process: user("p1"), assets: Some(BTreeMap::from([(asset("X"), amount(7))])) };
    let close = DecisionBody::Close { process: user("p1") };
    let steps = [
        (register, memo(MemoKind::Register(registration()))),
        (output(2), call()),
        (Output { senders: Some(Mix::of_users([], 0)), ..output(3) }, call()),
        (output(4), decision(1, update)),
        (output(5), decision(2, close)),
    ];
    let (zero, none) = (crate::Account::ZERO, AssetId::NONE);
    let (p1, u1) = (crate::Account::of_user(user("p1")), crate::Account::of_user(user("u1")));
    let registered = [&[0xaa; 20][..], &[0b100], &300_000_u32.to_be_bytes()].concat();
    let expected = [
        (MessageKind::Register, p1, none, 0, registered.clone()),
        (MessageKind::Call, u1, asset("X"), 1000, b"go".to_vec()),
        (MessageKind::Call, zero, asset("X"), 1000, b"go".to_vec()),
        (MessageKind::Update, zero, none, 0, registered[20..].to_vec()),
        (MessageKind::Close, zero, none, 0, Vec::new()),
    ];
    for (nonce, ((output, memo), expected)) in (0..).zip(steps.into_iter().zip(expected)) {
        let applied = core.apply(&output, &memo).expect("applies").remove(0);
        let (kind, sender, asset, units, payload) = expected;
        let (sequence, timestamp) = (nonce + 1, nonce + 1001);
        let amount = amount(units);
        let message = Message { kind, nonce, sequence, timestamp, sender, asset, amount, payload };
        assert_eq!(applied.posted, [Posted { process: user("p1"), message }]);
        assert_eq!(applied.registered.is_some(), nonce == 0);
    }
    let process = core.process(&user("p1")).expect("registered");
    assert!(process.closed && process.next_nonce == 5 && process.assets.is_some());
    assert_eq!(core.apply(&output(6), &call()).expect("applies")[0].class, Class::Refund);
}

#[test]
fn an_admitted_output_should_follow_its_decision_with_its_own_time() {
    let mut core = core();
    let late = |sequence| Output { late: true, ..output(sequence) };
    let admit = |sequence| DecisionBody::Admit { output: output(sequence).id };
    // Behind the cursor, and one of them admits the other.
    core.apply(&output(9), &call()).expect("applies");
    assert_eq!(core.apply(&late(3), &call()), Ok(Vec::new()));
    assert_eq!(core.apply(&late(4), &decision(1, admit(3))), Ok(Vec::new()));
    assert!(core.is_late(&output(3).id) && core.late().count() == 2);
    let digest = core.state_digest();

    let nothing = core.apply(&output(10), &decision(2, admit(77))).expect("applies");
    assert_eq!(nothing.iter().map(|applied| applied.class).collect::<Vec<_>>(), [Class::Decision]);
    let all = core.apply(&output(11), &decision(3, admit(4))).expect("applies");
    let places: Vec<_> = all.iter().map(|applied| (applied.output, applied.sequence, applied.class)).collect();
    let expected = [(11, 11, Class::Decision), (4, 11, Class::Decision), (3, 11, Class::Call)]
        .map(|(id, at, class)| (output(id).id, at, class));
    assert_eq!(places, expected);
    let message = &all[2].posted[0].message;
    assert_eq!((message.sequence, message.timestamp), (11, 1003));
    assert!(core.late().next().is_none() && core.applied() == 11 && core.state_digest() != digest);
    assert_eq!(core.apply(&output(12), &decision(4, admit(3))).expect("once only").len(), 1);
}

#[test]
fn extras_should_be_the_groups_own_operations() {
    let trace = Trace::Refund { output: output(2).id };
    let derived =
        |trace, memo| Derived { trace, asset: asset("X"), inputs: Vec::new(), outputs: Vec::new(), memo, key: None };
    let decoded = |derived: Derived| Memo::decode(&derived.extra().expect("an extra"), &MemoRules::default()).kind;
    assert_eq!(derived(Trace::Pay { chain: 1, k: 0 }, DerivedMemo::Refund).extra(), None);
    assert_eq!(decoded(derived(trace, DerivedMemo::Refund)), MemoKind::RefundMark);
    let process = user("p1");
    assert_eq!(decoded(derived(trace, DerivedMemo::Bounce(process))), MemoKind::Bounce { process });
    assert_eq!(derived(trace, DerivedMemo::Internal).extra(), Some(Vec::new()));
    assert_eq!(derived(trace, DerivedMemo::Pay(b"hi".to_vec())).extra(), Some(b"hi".to_vec()));
    let refund = derived(trace, DerivedMemo::Refund).extra().expect("an extra");
    assert_eq!(hex::encode(refund), format!("000d{:032}00000000{:04x}{:032x}", 0, 16, 2));
}

/// Frozen: the digest is leaf 0 of the frontier, so it is in every checkpoint.
#[test]
fn the_state_digest_should_never_change() {
    assert_eq!(
        Core::new(config()).expect("a sound configuration").state_digest(),
        alloy_primitives::keccak256("lockstep/v1/state")
    );
    let mut core = core();
    let mut digests = vec![core.state_digest()];
    for (sequence, memo) in [(2, call()), (3, memo(MemoKind::Undecodable)), (4, memo(MemoKind::Tick))] {
        core.apply(&output(sequence), &memo).expect("applies");
        digests.push(core.state_digest());
    }
    let digests: Vec<String> = digests.iter().map(hex::encode).collect();
    let frozen = [
        "08f7a67d3f22ad36056911346af0ef3e1c25ea0f2cfcfb884f48efc058ad2eae",
        "e68693b7d41fd4b31a032a95fcb36ef7841a2e061690db3f1ee186f6a7a89393",
        "145d4609b1c268620c342ffb3407f0973d643dc138d541af6f6457511fb9600c",
        "52bb91defb7696df7f95ac4e4faaeb1988899b2c8121e277d0d4267c9a2e203f",
    ];
    assert_eq!(digests, frozen);
}

/// Tags of every kind of trace, payee, coin and memo are in the frozen bytes.
#[test]
fn the_bytes_of_transactions_should_never_change() {
    let (id, asset) = (Uuid::from_u128(1), asset("X"));
    let traces = [
        Trace::Refund { output: id },
        Trace::Return { output: id },
        Trace::Forward { output: id },
        Trace::Pay { chain: 2, k: 3 },
        Trace::Escrow { chain: 2, k: 3 },
        Trace::Settle { chain: 2, k: 3 },
        Trace::Move { chain: 2, k: 3, generation: 4 },
        Trace::Consolidate { chain: 2, k: 3, j: 4 },
        Trace::Migrate { chain: 2, generation: 4, asset, j: 5 },
    ];
    let memos = [DerivedMemo::Internal, DerivedMemo::Refund, DerivedMemo::Bounce(id), DerivedMemo::Pay(vec![9])];
    let transactions: Vec<Derived> = traces
        .iter()
        .zip(memos.into_iter().cycle())
        .map(|(trace, memo)| Derived {
            trace: *trace,
            asset,
            inputs: vec![CoinRef::Output(id), CoinRef::Virtual { trace: *trace, index: 1 }],
            outputs: vec![(Payee::Mix(set(&["u1"], 1)), amount(7)), (Payee::Group(2), amount(8))],
            memo,
            key: Some(Box::new(FixedBytes::repeat_byte(9))),
        })
        .collect();
    let applied = Applied {
        output: id,
        sequence: 6,
        class: Class::Call,
        posted: Vec::new(),
        derived: transactions,
        registered: None,
    };
    let digest = effect::next_state_digest(B256::ZERO, &applied);
    assert_eq!(hex::encode(digest), "f684832fd4992eb55a4f90de24fbf742ccb8b615318e40ed39a3e414df3f795a");
}

/// One thing that happens to a core, from a few numbers that proptest shrinks.
type Event = (u8, u8, u8, u8);

const AMOUNTS: [u128; 8] = [0, 1, 10, 150, 1000, 5000, AMOUNT_MAX.units(), u128::MAX];

fn choose<T: Clone>(from: &[T], by: u8) -> T {
    from.iter().cycle().nth(by.into()).cloned().expect("something to choose from")
}

fn hostile_output(sequence: u64, (what, who, how_much, when): Event) -> (Output, Memo) {
    let senders = [
        Some(set(&["u1"], 1)),
        Some(set(&["p1"], 1)),
        Some(set(&["u1", "u1"], 3)),
        Some(Mix::of_users([], 0)),
        Some(config().group),
        None,
    ];
    let process = user(choose(&["p1", "zz"], who));
    let bodies = [
        DecisionBody::Switch { group: set(&["m5"], who.min(2)) },
        DecisionBody::Bounce { chain: u64::from(who % 3), k: u64::from(when % 4) },
        DecisionBody::Close { process },
        DecisionBody::Update { process, assets: Some(BTreeMap::new()) },
        DecisionBody::Minimum { asset: asset("X"), minimum: amount(u128::MAX), floor: amount(0) },
        DecisionBody::Admit { output: Uuid::from_u128(u128::from(when)) },
    ];
    let kinds = [
        MemoKind::Register(registration()),
        MemoKind::Call { process, payload: vec![0; usize::from(when % 10)] },
        MemoKind::Bounce { process },
        MemoKind::Decision(Decision { number: u64::from(when), valid: true, body: choose(&bodies, how_much) }),
        MemoKind::Call { process, payload: Vec::new() },
        MemoKind::Undecodable,
    ];
    let spent = output(sequence.saturating_sub(u64::from(when % 5))).coin;
    let output = Output {
        created_at: choose(&[0, 1500, 1600, 9000, u64::MAX], when),
        amount: amount(choose(&AMOUNTS, how_much)),
        senders: choose(&senders, who),
        spends: if when % 7 == 0 { vec![spent] } else { Vec::new() },
        late: when % 11 == 0,
        generation: u32::from(who % 3),
        ..output(sequence)
    };
    let return_address = Some(vec![2, 1, who]);
    (output, Memo { kind: choose(&kinds, what), return_address })
}

/// Follows the record before, `s` and `time`, except where a rare event makes it go back.
fn hostile_record(k: u64, last: &mut (u64, u64), (what, who, how_much, when): Event) -> Record {
    let jump = if when == 255 { u64::MAX } else { u64::from(when % 16) };
    *last = (last.0.wrapping_add(jump % 4), last.1.wrapping_add(jump.wrapping_mul(200)));
    let (s, time) = *last;
    if what % 3 == 0 {
        return Record::Accepted { s, time };
    }
    let recipient = [set(&["u1"], 1).to_payload(), set(&["n1"], 1).to_payload(), vec![0; 32], vec![who]];
    Record::Outbound(Outbound {
        k,
        amount: amount(choose(&AMOUNTS, how_much)),
        recipient: choose(&recipient, who),
        s,
        time,
        ..outbound()
    })
}

proptest::proptest! {
    /// Whatever comes: no panic; until a contradiction halts it, coins are worth what the books say and every
    /// transaction pays what it spends.
    #[test]
    fn hostile_input_should_never_break_the_books(events in proptest::collection::vec(proptest::prelude::any::<(u8, Event)>(), 1..60)) {
        let mut core = core();
        let (mut k, mut last) = (0, (0, 0));
        for (sequence, (kind, event)) in (2..).zip(events) {
            let (output, memo) = hostile_output(sequence, event);
            let effects = match kind % 4 {
                0 | 1 => core.apply(&output, &memo).map(|_| Vec::new()),
                2 => core.feed(1, hostile_record(k, &mut last, event)).map(|()| Vec::new()),
                _ => core.advance(),
            };
            let Ok(effects) = effects else {
                proptest::prop_assert!(core.halted().is_some());
                break;
            };
            k = core.next_k(1);
            for effect in effects {
                if let Effect::Derived(derived) = effect {
                    proptest::prop_assert!(!derived.inputs.is_empty() && derived.outputs.iter().all(|(_, amount)| !amount.is_zero()));
                }
            }
            let books = core.books(1).try_fold(0_u128, |sum, (_, _, amount)| sum.checked_add(amount.units()));
            let coins = core.coins(1).try_fold(0_u128, |sum, (_, _, amount)| sum.checked_add(amount.units()));
            proptest::prop_assert_eq!(books, coins);
        }
    }
}
