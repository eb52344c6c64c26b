//! What users, developers and governance do.

use lockstep_core::operation::{
    Caps, DecisionBody, Operation, Policy, Registration, SignedDecision, refund_memo, tick_memo,
};
use lockstep_core::trace::ChainId;
use lockstep_core::{Account, Amount, B256, Mix, Uuid};
use rand::RngExt as _;
use rand::rngs::StdRng;

use super::Tally;
use super::chain::{Call, Chain, ECHO, FAIL};
use super::ledger::{Ledger, Payment};
use super::setup::{
    ASSETS, CAP, DEVELOPERS, FEE, FEE_ASSET, FLOOR, GROUP_ID, MINIMUM, THRESHOLD, developer, group, group_of,
    group_signature, single, user,
};

fn pick<T: Clone>(random: &mut StdRng, of: &[T]) -> T {
    of[random.random_range(0..of.len())].clone()
}

/// The registration of a developer, or of anybody who wants its address.
pub(super) fn register(ledger: &mut Ledger, number: u8, sender: Mix, fee: u128) {
    let (process, chain, address) = developer(number);
    let private = ledger.has_private && number == 0;
    let registration = Registration { chain, address, private, policy: Policy::Refund, gas: 300_000, assets: None };
    let extra = Operation::register(process, &registration).ok().and_then(|operation| operation.encode().ok());
    let extra = extra.unwrap_or_default();
    ledger.pay(Payment { asset: FEE_ASSET, amount: fee, senders: Some(sender), extra, inscription: None });
}

/// Dust that moves ledger time.
pub(super) fn tick(ledger: &mut Ledger, member: u8) {
    let senders = Some(single(u128::from(member)));
    ledger.pay(Payment { asset: FEE_ASSET, amount: 1, senders, extra: tick_memo(), inscription: None });
}

/// Somebody pays: mostly a call, sometimes what must be refunded or kept. `most` is the newest generation there will be.
pub(super) fn act(ledger: &mut Ledger, most: usize, random: &mut StdRng, tally: &mut Tally) {
    tally.count("payments");
    let process = developer(random.random_range(0..DEVELOPERS)).0;
    let payload = pick(random, &[b"ok".to_vec(), b"ok".to_vec(), ECHO.to_vec(), FAIL.to_vec(), vec![7; 65]]);
    let amount = random.random_range(MINIMUM..=600);
    let set = Mix::of_users([user(100), user(101)], 2);
    let who = single(100 + random.random_range(0..5_u128));
    let call = Operation::call(process, payload);
    let mut payment = Payment {
        asset: pick(random, &ASSETS),
        amount,
        senders: Some(who.clone()),
        extra: Vec::new(),
        inscription: None,
    };
    // Many go on using an address that they know; somebody hears of the next one too early.
    let generation = match random.random_range(0..10) {
        0..2 => ledger.generation.saturating_sub(1),
        2 if ledger.generation < most => ledger.generation + 1,
        _ => ledger.generation,
    };
    let mut memo = Some(call.clone());
    match random.random_range(0..24) {
        0 => memo = Some(Operation::call(user(999), b"nobody".to_vec())),
        1 => memo = None,
        2 => payment.amount = MINIMUM - 1,
        3 => payment.amount = FLOOR - 1,
        4 => payment.senders = Some(set),
        5 => payment.senders = None,
        6 => {
            payment.senders = None;
            memo = Some(Operation { process: user(999), return_address: Some(who.to_payload()), ..call });
        }
        7 => payment.inscription = Some(B256::repeat_byte(9)),
        8 => memo = Some(Operation::refund(Uuid::nil())),
        9 => payment.senders = Some(group()),
        10 => return register(ledger, random.random_range(0..DEVELOPERS), who, FEE),
        11 => memo = Some(Operation::bounce(process)),
        _ => {}
    }
    payment.extra = memo.and_then(|memo| memo.encode().ok()).unwrap_or_else(|| b"no operation at all".to_vec());
    if generation != ledger.generation {
        tally.count(if generation > ledger.generation { "payments too early" } else { "payments to an old address" });
    }
    ledger.pay_at(payment, generation);
}

/// A process asks the group to pay somebody: known or unknown, a user or a set, or nobody that can be paid.
pub(super) fn send(chain: &mut Chain, random: &mut StdRng, tally: &mut Tally) {
    let funded: Vec<_> =
        chain.head().custody.iter().filter(|(_, held)| **held > 0).map(|(key, held)| (*key, *held)).collect();
    if funded.is_empty() {
        return;
    }
    let ((process, asset), held) = pick(random, &funded);
    let part = random.random_range(1..=held);
    let amount = pick(random, &[1, held, part, held.min(CAP + 1)]);
    let who = 100 + random.random_range(0..5_u128);
    let recipient = match random.random_range(0..10) {
        0..3 => Account::of(&single(who)).0.to_vec(),
        3..6 => single(who).to_payload(),
        6 => Mix::of_users([user(100), user(101)], 2).to_payload(),
        7 => single(300 + who).to_payload(),
        8 => pick(random, &[group().to_payload(), Account::of(&single(700)).0.to_vec(), b"?".to_vec()]),
        _ => single(400 + random.random_range(0..9_u128)).to_payload(),
    };
    // A memo that is an operation itself is carried by the change, too: nobody may be credited for it.
    let operation = |operation: Operation| operation.encode().unwrap_or_default();
    let memos = [
        Vec::new(),
        b"hi".to_vec(),
        operation(Operation::call(process, b"ok".to_vec())),
        operation(Operation::bounce(process)),
        refund_memo(process),
    ];
    let memo = pick(random, &memos);
    tally.count("sends asked for");
    chain.submit(Call::Send { process, asset, amount, recipient, memo });
}

/// Governance decides; now and then a copy of an old decision comes in.
pub(super) fn decide(
    ledger: &mut Ledger,
    waiting: &[(ChainId, u64)],
    late: &[Uuid],
    decided: &mut Vec<Vec<u8>>,
    random: &mut StdRng,
    tally: &mut Tally,
) {
    let units = Amount::from_units;
    let asset = pick(random, &ASSETS);
    let body = match (random.random_range(0..9), waiting.last()) {
        (8, _) if !late.is_empty() => DecisionBody::Admit { output: pick(random, late) },
        (6, _) if !ledger.listed.is_empty() => {
            // Most of them are not unclaimed: then nothing is paid.
            let output = ledger.listed[random.random_range(0..ledger.listed.len())].id;
            DecisionBody::Release { output, to: Mix::of_users([Uuid::from_u128(0x5e1f)], 1) }
        }
        (7, _) => {
            let process = developer(random.random_range(0..DEVELOPERS)).0;
            DecisionBody::Policy { process, policy: Policy::Strict, gas: 0 }
        }
        (0..3, Some((chain, k))) => DecisionBody::Bounce { chain: *chain, k: *k },
        (3, _) => {
            let (_, chain, _) = developer(random.random_range(0..DEVELOPERS));
            let caps = Caps { payout: units(random.random_range(50..CAP)), hour: units(CAP * 2), day: units(CAP * 3) };
            DecisionBody::Limits { chain, asset, caps }
        }
        (4, _) => DecisionBody::Minimum { asset, minimum: units(MINIMUM + 10), floor: units(FLOOR) },
        (5, _) if random.random_range(0..4) == 0 => {
            DecisionBody::Close { process: developer(random.random_range(0..DEVELOPERS)).0 }
        }
        _ => DecisionBody::Update { process: developer(random.random_range(0..DEVELOPERS)).0, assets: None },
    };
    let Some(memo) = signed(decided.len() as u64, body) else { return };
    let copy = !decided.is_empty() && random.random_range(0..5) == 0;
    let extra = if copy { pick(random, decided) } else { memo.clone() };
    if !copy {
        decided.push(memo);
    }
    tally.count("decisions");
    ledger.pay(Payment { asset: FEE_ASSET, amount: MINIMUM, senders: Some(single(1)), extra, inscription: None });
}

/// Governance hands the group on to the members of the next generation.
pub(super) fn switch(ledger: &mut Ledger, generation: usize, decided: &mut Vec<Vec<u8>>, tally: &mut Tally) {
    let Some(memo) = signed(decided.len() as u64, DecisionBody::Switch { group: group_of(generation) }) else { return };
    decided.push(memo.clone());
    tally.count("switches");
    let senders = Some(single(1));
    ledger.pay(Payment { asset: FEE_ASSET, amount: MINIMUM, senders, extra: memo, inscription: None });
    ledger.generation = generation;
}

/// A decision with the group's signature, as a memo.
fn signed(number: u64, body: DecisionBody) -> Option<Vec<u8>> {
    let unsigned = SignedDecision { number, body, signature: [0; 48] };
    let signers: Vec<u8> = (1..=THRESHOLD).collect();
    let signature = group_signature(&unsigned.digest(&GROUP_ID), &signers)?;
    let signed = SignedDecision { signature: signature.compress(), ..unsigned };
    Operation::decision(&signed).ok()?.encode().ok()
}
