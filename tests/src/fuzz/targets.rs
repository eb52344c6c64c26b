//! The decoders, and bytes that they take.

use std::collections::BTreeMap;

use alloy_primitives::{Address, B256};
use ed25519_dalek::Signer as _;
use lockstep::ledger::wire::{
    Envelope, GhostKeyRow, KernelTransaction, KernelUtxo, MultisigRow, OutputRow, RpcReply, TransactionRow,
};
use lockstep_core::account::{Mix, MixMember};
use lockstep_core::bls::{Dealing, SecretKey};
use lockstep_core::dkg::item::digest_of;
use lockstep_core::dkg::{Binding, Body, Item};
use lockstep_core::govern::Action;
use lockstep_core::group::Member;
use lockstep_core::group::roster::{Certificate, Marks, Roster, RosterFile};
use lockstep_core::mixin::structure::{extra_limit, validate_signed};
use lockstep_core::mixin::{
    Deposit, Input, MixAddress, Output, PrivateKey, Signature, Signatures, SignedTransaction, Transaction, Withdrawal,
    XinAddress, amount,
};
use lockstep_core::operation::{DecisionBody, Form, Memo, MemoRules, Operation, Policy, Registration, SignedDecision};
use lockstep_core::output::CoinId;
use lockstep_core::smart_account::{Call, Order, Payload};
use lockstep_core::{Amount, AssetId, Uuid};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::{Target, Verdict};
use crate::ceremony::Person;

/// All of them.
pub fn targets() -> Vec<Target> {
    binary().into_iter().chain(addresses()).chain(groups()).chain(rows()).collect()
}

/// What payments, decisions and orders carry.
fn binary() -> Vec<Target> {
    vec![
        target("kernel transaction", transactions(), |bytes| {
            let Ok(signed) = SignedTransaction::decode(bytes) else { return Verdict::Refused };
            let _ = (validate_signed(&signed), extra_limit(signed.transaction()), signed.hash());
            same(signed.encode() == bytes)
        }),
        target("kernel amount", vec![amount::encode(Amount::from_units(1_234_567))], |bytes| {
            amount::decode(bytes).map_or(Verdict::Refused, |read| same(amount::encode(read) == bytes))
        }),
        target("operation", operations(), |bytes| {
            let Ok(operation) = Operation::decode(bytes) else { return Verdict::Refused };
            same(operation.encode().is_ok_and(|again| again == bytes))
        }),
        target("memo", memos(), read_memo),
        target("decision", decisions(), |bytes| {
            let Ok(decision) = SignedDecision::decode(bytes) else { return Verdict::Refused };
            same(decision.encode().is_ok_and(|again| again == bytes))
        }),
        target("governance call", vec![governance()], |bytes| {
            let Some((kind, data)) = bytes.split_first() else { return Verdict::Refused };
            let Ok(action) = Action::decode(*kind, data) else { return Verdict::Refused };
            same(action.kind() == *kind && action.data().is_ok_and(|again| again == data))
        }),
        target("account order", orders(), |bytes| {
            let _ = Payload::decode(bytes, Uuid::from_u128(7));
            let Ok(order) = Order::decode(bytes) else { return Verdict::Refused };
            same(order.encode().is_ok_and(|again| again == bytes))
        }),
    ]
}

/// Who is paid, and how much, as people write it.
fn addresses() -> Vec<Target> {
    vec![
        // A payload lists members in any order, and is read as a set.
        target("MIX payload", mixes().iter().map(Mix::to_payload).collect(), |bytes| {
            let Ok(mix) = Mix::from_payload(bytes) else { return Verdict::Refused };
            same(
                Mix::from_payload(&mix.to_payload())
                    .is_ok_and(|again| again == mix && mix.is_legal() == again.is_legal()),
            )
        }),
        target(
            "MIX address",
            mixes().iter().map(|mix| MixAddress::from(mix).to_string().into_bytes()).collect(),
            |bytes| {
                text(bytes)
                    .and_then(|text| text.parse::<MixAddress>().ok())
                    .map_or(Verdict::Refused, |address| same(address.to_string().as_bytes() == bytes))
            },
        ),
        target("XIN address", vec![xin(1).to_string().into_bytes(), xin(2).to_string().into_bytes()], |bytes| {
            text(bytes)
                .and_then(|text| text.parse::<XinAddress>().ok())
                .map_or(Verdict::Refused, |address| same(address.to_string().as_bytes() == bytes))
        }),
        target("amount as text", vec![b"12.5".to_vec(), b"0.00000001".to_vec()], |bytes| {
            let Some(read) = text(bytes).and_then(|text| text.parse::<Amount>().ok()) else { return Verdict::Refused };
            same(read.to_string().parse() == Ok(read))
        }),
    ]
}

/// What members hand to one another.
fn groups() -> Vec<Target> {
    vec![
        target("roster", vec![roster().encode().unwrap_or_default()], |bytes| {
            let Ok(roster) = Roster::decode(bytes) else { return Verdict::Refused };
            same(roster.encode().is_some_and(|again| again == bytes))
        }),
        target("roster file", vec![roster_file()], |bytes| {
            let file = text(bytes).and_then(|text| toml::from_str::<RosterFile>(text).ok());
            let Some(roster) = file.and_then(|file| Roster::parse(&file).ok()) else { return Verdict::Refused };
            same(roster.to_file().is_some_and(|file| Roster::parse(&file) == Ok(roster)))
        }),
        target("ceremony item", items(), |bytes| {
            Item::decode(bytes, &binding()).map_or(Verdict::Refused, |item| same(item.bytes() == bytes))
        }),
    ]
}

/// What the ledger's services answer.
fn rows() -> Vec<Target> {
    vec![
        json_target::<Envelope<Vec<OutputRow>>>("API outputs", json!({ "data": [output_row()] })),
        json_target::<Envelope<Vec<GhostKeyRow>>>("API keys", ghost_keys()),
        json_target::<Envelope<Vec<MultisigRow>>>("API multisigs", json!({ "data": [request_row("kernel_asset_id")] })),
        json_target::<Envelope<TransactionRow>>("API transactions", json!({ "data": request_row("asset") })),
        json_target::<RpcReply<KernelTransaction>>("RPC gettransaction", kernel_transaction()),
        json_target::<RpcReply<KernelUtxo>>("RPC getutxo", json!({ "data": utxo() })),
    ]
}

fn target(
    name: &'static str,
    samples: Vec<Vec<u8>>,
    read: impl Fn(&[u8]) -> Verdict + Send + Sync + 'static,
) -> Target {
    Target { name, samples, read: Box::new(read) }
}

fn same(is_same: bool) -> Verdict {
    if is_same { Verdict::Taken } else { Verdict::Broken("what was read does not encode back") }
}

fn text(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok()
}

/// Rows of the services: other fields and spellings are read, so what was read must be stable from then on.
fn json_target<T: Serialize + DeserializeOwned + PartialEq + 'static>(name: &'static str, sample: Value) -> Target {
    target(name, vec![sample.to_string().into_bytes()], |bytes| {
        let Ok(read) = serde_json::from_slice::<T>(bytes) else { return Verdict::Refused };
        let again = serde_json::to_vec(&read).ok().and_then(|bytes| serde_json::from_slice::<T>(&bytes).ok());
        same(again.is_some_and(|again| again == read))
    })
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

fn key(number: u8) -> PrivateKey {
    PrivateKey::from_ed25519_seed(&[number; 32])
}

fn xin(number: u8) -> XinAddress {
    XinAddress { spend: key(number).public(), view: key(number | 0x80).public() }
}

fn mixes() -> Vec<Mix> {
    let users = (1..=4).map(Uuid::from_u128);
    let addresses = (1..=3).map(|number| xin(number).member());
    vec![Mix::of_users(users, 3), Mix::new(addresses.collect(), 2), Mix::new(vec![MixMember::User(Uuid::max())], 1)]
}

fn transactions() -> Vec<Vec<u8>> {
    let pay = |number: u8, units| {
        Output::of_keys(
            Amount::from_units(units),
            vec![key(number).public().raw()],
            key(number | 0x40).public().raw(),
            1,
        )
    };
    let coin = |index| Input::of_coin(CoinId { transaction: B256::repeat_byte(5), index });
    let deposit = Input::of_deposit(Deposit {
        chain: B256::repeat_byte(1),
        asset_key: b"btc".to_vec(),
        transaction: b"0xabc".to_vec(),
        index: 3,
        amount: Amount::from_units(9),
    });
    let mut withdrawal = pay(4, 4);
    withdrawal.withdrawal = Some(Withdrawal { address: b"0xdef".to_vec(), tag: b"7".to_vec() });
    let made = |inputs: Vec<Input>, outputs: Vec<Output>| {
        let references = vec![B256::repeat_byte(2), B256::repeat_byte(3)];
        Transaction::new(AssetId([7; 32]), inputs, outputs, references, b"memo".to_vec()).ok()
    };
    let signature = Signature([9; 64]);
    let maps =
        Signatures::Map(vec![BTreeMap::from([(0, signature), (2, signature)]), BTreeMap::from([(1, signature)])]);
    let aggregated = |signers| Signatures::Aggregated { signature, signers };
    [
        (made(vec![coin(0), coin(1)], vec![pay(1, 5), pay(2, u128::MAX >> 1)]), maps),
        (made(vec![deposit], vec![withdrawal]), aggregated(vec![0, 1, 5])),
        (made(vec![coin(2)], vec![pay(3, 1)]), aggregated(vec![700])),
    ]
    .into_iter()
    .filter_map(|(transaction, signatures)| SignedTransaction::new(transaction?, signatures).ok())
    .map(|signed| signed.encode())
    .collect()
}

fn operations() -> Vec<Vec<u8>> {
    operation_list().iter().filter_map(|operation| operation.encode().ok()).collect()
}

fn memos() -> Vec<Vec<u8>> {
    let texts = operation_list().into_iter().filter_map(|operation| operation.to_memo_text().ok());
    texts.map(String::into_bytes).chain(operations()).collect()
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

fn decision_list() -> Vec<SignedDecision> {
    let asset = AssetId([3; 32]);
    let assets = Some(BTreeMap::from([(asset, Amount::from_units(2))]));
    let (process, output) = (Uuid::from_u128(1), Uuid::from_u128(2));
    let key = SecretKey::derive(&[4; 32], b"fuzz").expect("a key");
    let mut bodies = vec![
        DecisionBody::Bounce { chain: 1, k: 2 },
        DecisionBody::Minimum { asset, minimum: Amount::from_units(3), floor: Amount::from_units(1) },
        DecisionBody::Update { process, assets },
        DecisionBody::Policy { process, policy: Policy::Strict, gas: 60_000 },
        DecisionBody::Key { generation: 3, key: key.public_key().compress(), possession: [5; 48] },
    ];
    bodies.extend(mixes().into_iter().map(|group| DecisionBody::Switch { group }));
    bodies.extend(mixes().into_iter().take(1).map(|to| DecisionBody::Release { output, to }));
    bodies.into_iter().map(|body| SignedDecision { number: 6, body, signature: [7; 48] }).collect()
}

fn decisions() -> Vec<Vec<u8>> {
    decision_list().iter().filter_map(|decision| decision.encode().ok()).collect()
}

fn governance() -> Vec<u8> {
    let action = Action::Asset { asset: AssetId([3; 32]), name: "Bitcoin".into(), symbol: "BTC".into() };
    [vec![action.kind()], action.data().unwrap_or_default()].concat()
}

fn orders() -> Vec<Vec<u8>> {
    let call = |byte, length| Call { target: Address::repeat_byte(byte), data: vec![byte; length] };
    let plain = Order { keep: false, spender: None, calls: vec![call(1, 4)] };
    let named = Order { keep: true, spender: Some(Address::repeat_byte(9)), calls: vec![call(2, 0), call(3, 36)] };
    [plain, named].iter().filter_map(|order| order.encode().ok()).collect()
}

fn binding() -> Binding {
    let (group_id, proposal) = (B256::repeat_byte(9), B256::repeat_byte(8));
    Binding { group_id, round: 3, generation: 2, proposal }
}

fn items() -> Vec<Vec<u8>> {
    let bodies = [
        Body::Join,
        Body::Ack { dealer: 1, commitment: B256::repeat_byte(7) },
        Body::Set { logs: vec![(1, B256::repeat_byte(1)), (3, B256::repeat_byte(3))] },
        Body::Ready { set: B256::repeat_byte(1), roster: B256::repeat_byte(2), marks: B256::repeat_byte(3) },
    ];
    bodies.into_iter().map(|body| Item::sign(&binding(), body, &Person::new(1).identity).bytes().to_vec()).collect()
}

/// A certified roster of one member: the rules are those of any number, and its keys are quick to check.
fn roster() -> Roster {
    let identity = Person::new(1).identity;
    let member = Member {
        index: 1,
        name: "one".to_owned(),
        user: Uuid::from_u128(1),
        identity: identity.verifying_key(),
        peer: "http://127.0.0.1:7701".to_owned(),
    };
    let key = Dealing::from_seed(&[3; 32], 1, 1).expect("a key of one member").group;
    let (group_id, generation) = (binding().group_id, binding().generation);
    let roster = Roster::uncertified(group_id, generation, vec![member], key);
    let (set, marks) = (B256::repeat_byte(6), Marks::default());
    let ready = Body::Ready { set, roster: roster.digest(), marks: marks.digest() };
    let digest = digest_of(&binding(), identity.verifying_key().as_bytes(), &ready);
    let ready = BTreeMap::from([(1, identity.sign(digest.as_slice()).to_bytes())]);
    let certificate = Certificate { round: binding().round, proposal: binding().proposal, set, marks, ready };
    roster.certified(certificate).expect("the member vouches for it")
}

fn roster_file() -> Vec<u8> {
    toml::to_string(&roster().to_file()).expect("a file").into_bytes()
}

const HASH: &str = "0707070707070707070707070707070707070707070707070707070707070707";

fn output_row() -> Value {
    let id = Uuid::from_u128(1);
    json!({
        "type": "kernel_output", "output_id": id, "transaction_hash": HASH, "output_index": 0, "asset_id": id,
        "kernel_asset_id": HASH, "amount": "0.01", "mask": HASH, "keys": [HASH], "senders": [id], "senders_hash": HASH,
        "senders_threshold": 1, "receivers": [id], "receivers_hash": HASH, "receivers_threshold": 1, "extra": "abcd",
        "state": "unspent", "sequence": 4_655_227, "request_id": id, "created_at": "2024-05-06T07:08:09.123456789Z",
        "updated_at": "2024-05-06T07:08:09Z", "signed_by": "", "signers": null,
    })
}

fn request_row(asset: &str) -> Value {
    let id = Uuid::from_u128(2);
    json!({
        "type": "transaction_request", "request_id": id, "transaction_hash": HASH, asset: HASH, "amount": "1",
        "senders": [id], "senders_threshold": 1, "signers": [], "extra": "", "raw_transaction": "7777", "state": "signed",
        "receivers": [{ "members": [id], "members_hash": HASH, "threshold": 1 }], "views": [HASH], "revoked_by": "",
        "created_at": "2024-05-06T07:08:09Z", "updated_at": "2024-05-06T07:08:09Z",
    })
}

fn ghost_keys() -> Value {
    json!({ "data": [{ "type": "ghost_key", "mask": HASH, "keys": [HASH, HASH] }] })
}

fn kernel_transaction() -> Value {
    let deposit = json!({ "chain": HASH, "asset_key": "k", "transaction": "t", "index": 1, "amount": "2" });
    json!({ "data": {
        "version": 5, "asset": HASH, "inputs": [{ "hash": HASH, "index": 1 }, { "deposit": deposit }],
        "outputs": [{ "type": 0, "amount": "2", "keys": [HASH], "mask": HASH, "script": "fffe01" }],
        "references": null, "extra": "", "hash": HASH, "hex": "7777", "snapshot": HASH,
    } })
}

fn utxo() -> Value {
    json!({
        "type": 0, "hash": HASH, "index": 1, "amount": "2", "keys": [HASH], "mask": HASH, "script": "fffe01", "lock": HASH,
    })
}
