//! The bytes that are frozen: `vectors/lockstep.json`, read by the contract tests too.
//!
//! The file must be what this code computes. After a deliberate change of a format, `LOCKSTEP_WRITE_VECTORS=1` writes it
//! anew. So that it does not merely repeat the code, the encodings are also compared with those of a Solidity ABI library.

mod govern;
mod masks;
mod names;
mod signed;
mod tree;

use std::fs;

use alloy::sol;
use alloy::sol_types::SolValue;
use alloy_primitives::{Address, B256, U256, keccak256};
use lockstep_core::message::{
    FIRST_HEAD, Message, MessageKind, chain_head, pack, register_payload, unpack, update_payload,
};
use lockstep_core::operation::Policy;
use lockstep_core::{Account, Amount, AssetId, Mix, Uuid};
use serde_json::{Value, json};

use crate::figures::{load, rows, text};

const ABOUT: &str = "Frozen bytes of Lockstep. Hexadecimal with 0x; numbers that may exceed 2^53 are decimal strings. \
    Written by the tests with LOCKSTEP_WRITE_VECTORS=1.";

/// A hex string as all readers take it.
fn hexed(bytes: impl AsRef<[u8]>) -> String {
    format!("0x{}", hex::encode(bytes))
}

const fn group_id() -> B256 {
    B256::repeat_byte(0x6c)
}

const fn process() -> Uuid {
    Uuid::from_u128(0xfcb8_7491_4fa0_4c2f_b387_262b_63cb_c112)
}

/// One mailbox with messages of every kind, short and long, in order.
fn messages() -> Vec<Message> {
    let contract = Address::repeat_byte(0xc0);
    let user = Account::of_user(Uuid::from_u128(0xeb15_555b_fc93_3b2c_a899_5a87_d294_22ec));
    let set = Account::of(&Mix::of_users((1..=3).map(Uuid::from_u128), 2));
    let long = (0..1000_u32).map(|number| number.to_be_bytes()[3]).collect();
    let coin = AssetId::from_uuid(Uuid::from_u128(0xc94a_c88f_4671_3976_b60a_0906_4f18_11e8));
    let parts = [
        (MessageKind::Register, user, 0, register_payload(contract, false, Policy::Refund, 300_000)),
        (MessageKind::Call, user, 10_000, vec![]),
        (MessageKind::Call, set, 1, vec![0xff]),
        (MessageKind::Call, Account::ZERO, u128::MAX, vec![0xab; 32]),
        (MessageKind::Call, user, 150_000_000, vec![0xcd; 33]),
        (MessageKind::Call, user, 2, long),
        (MessageKind::Bounce, Account::ZERO, 99, vec![]),
        (MessageKind::Update, Account::ZERO, 0, update_payload(true, Policy::Strict, 5_000_000)),
        (MessageKind::Close, Account::ZERO, 0, vec![]),
    ];
    let message = |(nonce, (kind, sender, amount, payload)): (u64, (_, _, _, _))| Message {
        kind,
        nonce,
        sequence: nonce | 0x1000,
        timestamp: nonce | 0x18de_76e2_2a1e_0000,
        sender,
        asset: if amount == 0 { AssetId::NONE } else { coin },
        amount: Amount::from_units(amount),
        payload,
    };
    (0..).zip(parts).map(message).collect()
}

fn message_vectors() -> Value {
    let mut head = FIRST_HEAD;
    let message = |message: &Message| {
        head = chain_head(head, message.leaf());
        json!({
            "kind": message.kind as u8,
            "nonce": message.nonce,
            "sequence": message.sequence,
            "timestamp": message.timestamp.to_string(),
            "sender": hexed(message.sender.0),
            "asset": hexed(message.asset.0),
            "amount": message.amount.units().to_string(),
            "payload": hexed(&message.payload),
            "encoded": hexed(message.abi_encode()),
            "leaf": hexed(message.leaf()),
            "record": hexed(pack(std::slice::from_ref(message))),
            "head": hexed(head),
        })
    };
    messages().iter().map(message).collect()
}

fn registrations() -> Value {
    let cases = [
        (false, Policy::Refund, 300_000),
        (true, Policy::Refund, 50_000),
        (false, Policy::Park, 5_000_000),
        (true, Policy::Strict, 123_456),
    ];
    let registration = |(private, policy, gas)| {
        json!({
            "address": hexed(Address::repeat_byte(0xc0)),
            "private": private,
            "policy": policy as u8,
            "gas": gas,
            "register_payload": hexed(register_payload(Address::repeat_byte(0xc0), private, policy, gas)),
            "update_payload": hexed(update_payload(private, policy, gas)),
        })
    };
    cases.map(registration).into_iter().collect()
}

fn vectors() -> Value {
    json!({
        "about": ABOUT,
        "group_id": hexed(group_id()),
        "process": hexed(process().as_bytes()),
        "messages": message_vectors(),
        "registrations": registrations(),
        "accounts": names::accounts(),
        "mailbox_leaves": tree::mailbox_leaves(),
        "state_leaf": tree::state_leaf_vector(),
        "nodes": tree::nodes(),
        "trees": tree::trees(),
        "history": signed::history(),
        "checkpoint": signed::checkpoint_vector(),
        "bls": signed::bls(),
        "decisions": signed::decisions(),
        "governance": govern::governance(),
        "memos": names::memos(),
        "traces": names::traces(),
        "seeds": names::seeds(),
        "hints": names::hints(),
        "masked_senders": names::masked_senders(),
        "masks": masks::masks(),
    })
}

#[test]
fn frozen_bytes_should_not_change() {
    let computed = vectors();
    if std::env::var("LOCKSTEP_WRITE_VECTORS").is_ok_and(|value| value == "1") {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/vectors/lockstep.json");
        let pretty = serde_json::to_string_pretty(&computed).expect("JSON");
        fs::write(path, pretty + "\n").expect("a writable file");
        return;
    }
    let frozen = load("lockstep.json");
    let names = |value: &Value| value.as_object().expect("sections").keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&frozen), names(&computed));
    for name in names(&frozen) {
        assert_eq!(frozen[&name], computed[&name], "section `{name}`");
    }
}

sol! {
    /// The contract's struct, for an encoding that is not ours.
    struct AbiMessage {
        uint8 kind;
        uint64 nonce;
        uint64 sequence;
        uint64 timestamp;
        bytes32 sender;
        bytes32 asset;
        uint256 amount;
        bytes payload;
    }
}

#[test]
fn messages_should_be_encoded_as_solidity_does() {
    let mut head = B256::ZERO;
    for (message, row) in messages().into_iter().zip(rows(&load("lockstep.json")["messages"])) {
        let abi = AbiMessage {
            kind: message.kind as u8,
            nonce: message.nonce,
            sequence: message.sequence,
            timestamp: message.timestamp,
            sender: message.sender.0,
            asset: B256::from(message.asset.0),
            amount: U256::from(message.amount.units()),
            payload: message.payload.clone().into(),
        };
        assert_eq!(text(row, "encoded"), hexed(abi.abi_encode()));
        assert_eq!(text(row, "leaf"), hexed(keccak256(abi.abi_encode())));
        head = keccak256((head, keccak256(abi.abi_encode())).abi_encode());
        assert_eq!(text(row, "head"), hexed(head));
        let record = hex::decode(&text(row, "record")[2..]).expect("hex");
        assert_eq!(unpack(&record, message.nonce), Ok(vec![message]));
    }
}
