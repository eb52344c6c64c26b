//! What payments ask for, and what the group decides: memos, decisions, actions, orders, records.

use std::collections::BTreeMap;

use lockstep_core::account::Mix;
use lockstep_core::bls::SecretKey;
use lockstep_core::govern::{Action, Place, Subject};
use lockstep_core::message::{Message, MessageKind, pack, unpack};
use lockstep_core::operation::{
    Caps, DecisionBody, Form, Memo, MemoRules, Operation, Policy, Registration, SignedDecision, inspect_memo,
};
use lockstep_core::smart_account::{Call, Order, Payload, StoredOrder};
use lockstep_core::{Account, Address, Amount, AssetId, B256, Uuid};

use super::{Target, Verdict, binding, json_target, mixes, same, target, text};

/// The accounts process that orders are for.
const ACCOUNTS: Uuid = Uuid::from_u128(7);

pub(super) fn targets() -> Vec<Target> {
    vec![
        target("operation", operations(), |bytes| {
            let Ok(operation) = Operation::decode(bytes) else { return Verdict::Refused };
            same(operation.encode().is_ok_and(|again| again == bytes))
        }),
        target("memo", memos(), read_memo),
        target("inspected memo", pasted(), |bytes| {
            let read = text(bytes).is_some_and(|text| inspect_memo(text).is_ok());
            if read { Verdict::Taken } else { Verdict::Refused }
        }),
        target("decision", decision_list().iter().filter_map(|decision| decision.encode().ok()).collect(), |bytes| {
            let Ok(decision) = SignedDecision::decode(bytes) else { return Verdict::Refused };
            same(decision.encode().is_ok_and(|again| again == bytes))
        }),
        target("governance call", action_list().iter().map(call_of).collect(), |bytes| {
            let Some((kind, data)) = bytes.split_first() else { return Verdict::Refused };
            let Ok(action) = Action::decode(*kind, data) else { return Verdict::Refused };
            same(action.kind() == *kind && action.data().is_ok_and(|again| again == data))
        }),
        json_target("governance subject", subjects()),
        target("account order", orders(), |bytes| {
            let Ok(order) = Order::decode(bytes) else { return Verdict::Refused };
            same(order.encode().is_ok_and(|again| again == bytes))
        }),
        target("account payload", [orders(), pointers()].concat(), |bytes| {
            let again = match Payload::decode(bytes, ACCOUNTS) {
                Err(_) => return Verdict::Refused,
                Ok(Payload::Deposit) => Some(Vec::new()),
                Ok(Payload::Order(order)) => order.encode().ok(),
                Ok(Payload::Stored(stored)) => Some(stored.encode()),
            };
            same(again.is_some_and(|again| again == bytes))
        }),
        // The nonce of the first one is no part of the bytes.
        target("message records", records(), |bytes| {
            let Some((first, records)) = bytes.split_first_chunk() else { return Verdict::Refused };
            let first = u64::from_be_bytes(*first);
            let Ok(messages) = unpack(records, first) else { return Verdict::Refused };
            let counted = messages.iter().zip(first..=u64::MAX).all(|(message, nonce)| message.nonce == nonce);
            same(counted && pack(&messages) == records)
        }),
    ]
}

/// Every memo has a meaning; one that is an operation has one text.
fn read_memo(bytes: &[u8]) -> Verdict {
    let meaning = Memo::decode(bytes, &rules());
    let Ok((form, operation)) = Operation::from_memo(bytes) else { return Verdict::Refused };
    let again = match form {
        Form::Raw => operation.encode().ok(),
        Form::Base64Url => operation.to_memo_text().ok().map(String::into_bytes),
    };
    let kept = meaning.return_address == operation.return_address;
    same(kept && again.is_some_and(|again| again == bytes))
}

fn rules() -> MemoRules {
    MemoRules { aliases: BTreeMap::from([("quorum".to_owned(), 83_927)]), ..MemoRules::default() }
}

fn operations() -> Vec<Vec<u8>> {
    operation_list().iter().filter_map(|operation| operation.encode().ok()).collect()
}

fn memos() -> Vec<Vec<u8>> {
    let texts = operation_list().into_iter().filter_map(|operation| operation.to_memo_text().ok());
    texts.map(String::into_bytes).chain(operations()).collect()
}

/// Memos as people have them: as text, or the bytes in hex.
fn pasted() -> Vec<Vec<u8>> {
    let texts = operation_list().into_iter().filter_map(|operation| operation.to_memo_text().ok());
    // A text that could be hex is read as hex.
    let texts = texts.filter(|text| hex::decode(text).is_err());
    let bytes = operations().into_iter().map(|bytes| format!("0x{}", hex::encode(bytes)));
    texts.chain(bytes).map(String::into_bytes).collect()
}

fn operation_list() -> Vec<Operation> {
    let assets = BTreeMap::from([(AssetId([1; 32]), Amount::from_units(5)), (AssetId([2; 32]), Amount::ZERO)]);
    let registration = Registration {
        chain: 31_337,
        address: Address::repeat_byte(0xab),
        private: true,
        policy: Policy::Park,
        gas: 300_000,
        assets: Some(assets),
    };
    let mut call = Operation::call(Uuid::from_u128(9), b"payload".to_vec());
    call.return_address = mixes().first().map(Mix::to_payload);
    let stored = Operation {
        return_address: call.return_address.clone(),
        ..Operation::stored_call(call.process, 15, b"stored")
    };
    let mut list = vec![call, stored, Operation::bounce(Uuid::from_u128(4)), Operation::tick()];
    list.extend(Operation::register(Uuid::from_u128(8), &registration));
    list.extend(decision_list().iter().filter_map(|decision| Operation::decision(decision).ok()));
    list
}

/// One of each kind.
fn bodies() -> Vec<DecisionBody> {
    let asset = AssetId([3; 32]);
    let assets = Some(BTreeMap::from([(asset, Amount::from_units(2))]));
    let (process, output) = (Uuid::from_u128(1), Uuid::from_u128(2));
    let [payout, hour, day] = [3, 4, 5].map(Amount::from_units);
    let key = SecretKey::derive(&[4; 32], b"fuzz").expect("a key");
    let mut bodies = vec![
        DecisionBody::Bounce { chain: 1, k: 2 },
        DecisionBody::Refused { chain: 1, k: 3 },
        DecisionBody::Limits { chain: 1, asset, caps: Caps { payout, hour, day } },
        DecisionBody::Minimum { asset, minimum: Amount::from_units(3), floor: Amount::from_units(1) },
        DecisionBody::Update { process, assets },
        DecisionBody::Update { process, assets: None },
        DecisionBody::Close { process },
        DecisionBody::Admit { output },
        DecisionBody::Policy { process, policy: Policy::Strict, gas: 60_000 },
        DecisionBody::Key { generation: 3, key: key.public_key().compress(), possession: [5; 48] },
    ];
    bodies.extend(mixes().into_iter().map(|group| DecisionBody::Switch { group }));
    bodies.extend(mixes().into_iter().take(1).map(|to| DecisionBody::Release { output, to }));
    bodies
}

fn decision_list() -> Vec<SignedDecision> {
    bodies().into_iter().map(|body| SignedDecision { number: 6, body, signature: [7; 48] }).collect()
}

/// One of each kind.
fn action_list() -> Vec<Action> {
    let key = SecretKey::derive(&[4; 32], b"fuzz").expect("a key");
    let (possession, key) = (key.sign_digest(&B256::ZERO).compress(), key.public_key().compress());
    vec![
        Action::Halt,
        Action::Resume,
        Action::Rotate { generation: 2, key, possession },
        Action::Asset { asset: AssetId([3; 32]), name: "Bitcoin".into(), symbol: "BTC".into() },
        Action::Repay { tip_wei: 1_000, gas_per_byte: 16 },
    ]
}

fn call_of(action: &Action) -> Vec<u8> {
    [vec![action.kind()], action.data().unwrap_or_default()].concat()
}

/// What operators propose, as files and answers of peers hold it.
pub(super) fn subjects() -> Vec<Subject> {
    let group_id = binding().group_id;
    let place = Place { group_id, chain: 1, contract: Address::repeat_byte(2), instance: B256::repeat_byte(3) };
    let decisions = bodies().into_iter().map(|body| Subject::Decision { group_id, number: 6, body });
    let actions = action_list().into_iter().map(|action| Subject::Action { place, nonce: 4, action });
    decisions.chain(actions).collect()
}

fn orders() -> Vec<Vec<u8>> {
    let call = |byte, length| Call { target: Address::repeat_byte(byte), data: vec![byte; length] };
    let plain = Order { keep: false, spender: None, calls: vec![call(1, 4)] };
    let named = Order { keep: true, spender: Some(Address::repeat_byte(9)), calls: vec![call(2, 0), call(3, 36)] };
    [plain, named].iter().filter_map(|order| order.encode().ok()).collect()
}

fn pointers() -> Vec<Vec<u8>> {
    vec![StoredOrder::of(ACCOUNTS, Address::repeat_byte(5), b"order").encode(), Vec::new()]
}

fn records() -> Vec<Vec<u8>> {
    let message = |kind, nonce, payload: &[u8]| Message {
        kind,
        nonce,
        sequence: 8,
        timestamp: 9,
        sender: Account::of_user(Uuid::from_u128(10)),
        asset: AssetId([11; 32]),
        amount: Amount::from_units(12),
        payload: payload.to_vec(),
    };
    let kinds =
        [MessageKind::Register, MessageKind::Call, MessageKind::Bounce, MessageKind::Update, MessageKind::Close];
    let all: Vec<_> = kinds.into_iter().zip(3..).map(|(kind, nonce)| message(kind, nonce, &[1; 5])).collect();
    let last = [message(MessageKind::Call, u64::MAX, b"")];
    let first = |nonce: u64, messages: &[Message]| [&nonce.to_be_bytes()[..], &pack(messages)].concat();
    vec![first(3, &all), first(u64::MAX, &last)]
}
