//! The frozen bytes as the Solidity tests read them, made by a program that shares nothing with the core: both halves of
//! the bridge hash the same.

use lockstep_core::account::Account;
use lockstep_core::checkpoint::Checkpoint;
use lockstep_core::frontier::{Frontier, state_leaf, verify_proof};
use lockstep_core::mailbox::{Mailbox, MailboxPlace};
use lockstep_core::message::{Message, MessageKind, chain_head, pack, unpack};
use lockstep_core::operation::contract_refund_memo;
use lockstep_core::{Address, Amount, AssetId, B256, Uuid};
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Frozen {
    #[serde(rename = "note")]
    _note: String,
    chain: u64,
    contract: Address,
    instance: B256,
    group_id: B256,
    process: B256,
    messages: Vec<Row>,
    next: u64,
    mailbox_leaf: B256,
    state_digest: B256,
    state_leaf: B256,
    leaves: Vec<B256>,
    index: u32,
    proof: Vec<B256>,
    root: B256,
    history: B256,
    sequence: u64,
    digest: B256,
    refund_nonce: u64,
    refund_memo: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    kind: u8,
    nonce: u64,
    sequence: u64,
    timestamp: u64,
    sender: B256,
    asset: B256,
    amount: String,
    payload: String,
    record: String,
    leaf: B256,
    head: B256,
}

/// Kinds in the order of their tags.
const KINDS: [MessageKind; 5] =
    [MessageKind::Register, MessageKind::Call, MessageKind::Bounce, MessageKind::Update, MessageKind::Close];

fn bytes(text: &str) -> Vec<u8> {
    hex::decode(text.trim_start_matches("0x")).expect("hex")
}

fn message(row: &Row) -> Message {
    Message {
        kind: KINDS[usize::from(row.kind)],
        nonce: row.nonce,
        sequence: row.sequence,
        timestamp: row.timestamp,
        sender: Account(row.sender),
        asset: AssetId(row.asset.0),
        amount: Amount::from_units(row.amount.parse().expect("a number")),
        payload: bytes(&row.payload),
    }
}

#[test]
fn the_core_should_make_the_bytes_that_the_contract_checks() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../contracts/test/vectors/frozen.json");
    let frozen: Frozen = serde_json::from_str(&std::fs::read_to_string(path).expect("a file")).expect("known fields");
    let mut mailbox = Mailbox::EMPTY;
    for row in &frozen.messages {
        let message = message(row);
        assert_eq!(message.leaf(), row.leaf);
        assert_eq!(chain_head(mailbox.head, row.leaf), row.head);
        mailbox = mailbox.after(&message).expect("gap-free");
        assert_eq!(pack(std::slice::from_ref(&message)), bytes(&row.record));
        assert_eq!(unpack(&bytes(&row.record), row.nonce).expect("a record"), [message]);
    }
    assert_eq!(mailbox.next_nonce, frozen.next);
    let process = Uuid::from_slice(&frozen.process[16..]).expect("16 bytes");
    let place = MailboxPlace { chain: frozen.chain, contract: frozen.contract, instance: frozen.instance, process };
    assert_eq!(place.leaf(&mailbox), frozen.mailbox_leaf);
    assert_eq!(state_leaf(&frozen.state_digest), frozen.state_leaf);
    let frontier = Frontier::from_leaves(frozen.leaves.iter().copied()).expect("leaves");
    assert_eq!(frontier.root(), frozen.root);
    assert_eq!(frontier.proof(frozen.index).expect("a leaf"), frozen.proof);
    assert!(verify_proof(&frozen.mailbox_leaf, frozen.index, &frozen.proof, &frozen.root));
    let checkpoint = Checkpoint { sequence: frozen.sequence, history: frozen.history, root: frozen.root };
    assert_eq!(checkpoint.digest(&frozen.group_id), frozen.digest);
    assert_eq!(contract_refund_memo(process, frozen.refund_nonce), bytes(&frozen.refund_memo));
}
