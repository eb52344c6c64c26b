//! Mailbox leaves, nodes, roots and proofs.

use alloy::sol_types::SolValue;
use alloy_primitives::{Address, B256, U256, keccak256};
use lockstep_core::Account;
use lockstep_core::frontier::{Frontier, depth, node, state_leaf, verify_proof};
use lockstep_core::mailbox::{Mailbox, MailboxPlace};
use serde_json::{Value, json};

use super::{hexed, messages, process};
use crate::figures::{load, rows, text};

fn place() -> MailboxPlace {
    MailboxPlace {
        chain: 31_337,
        contract: Address::repeat_byte(0x6c),
        instance: B256::repeat_byte(0x1a),
        process: process(),
    }
}

/// The mailbox before each message and after the last one.
fn mailboxes() -> Vec<Mailbox> {
    let mut states = vec![Mailbox::EMPTY];
    let mut mailbox = Mailbox::EMPTY;
    for message in messages() {
        mailbox = mailbox.after(&message).expect("the next message");
        states.push(mailbox);
    }
    states
}

pub(super) fn mailbox_leaves() -> Value {
    let other = MailboxPlace { chain: u64::MAX, instance: B256::repeat_byte(0x1b), ..place() };
    let places = mailboxes().into_iter().map(|mailbox| (place(), mailbox));
    let full = (other, Mailbox { next_nonce: u64::MAX, head: B256::repeat_byte(0xee) });
    let leaf = |(place, mailbox): (MailboxPlace, Mailbox)| {
        json!({
            "chain": place.chain.to_string(),
            "contract": hexed(place.contract),
            "instance": hexed(place.instance),
            "process": hexed(Account::of_user(place.process).0),
            "next_nonce": mailbox.next_nonce.to_string(),
            "head": hexed(mailbox.head),
            "leaf": hexed(place.leaf(&mailbox)),
        })
    };
    places.chain([full]).map(leaf).collect()
}

pub(super) fn state_leaf_vector() -> Value {
    let digest = B256::repeat_byte(0x57);
    json!({ "state_digest": hexed(digest), "leaf": hexed(state_leaf(&digest)) })
}

pub(super) fn nodes() -> Value {
    let (left, right) = (B256::repeat_byte(0x11), B256::repeat_byte(0x22));
    let mut empty = vec![B256::ZERO];
    for level in 0..6 {
        empty.push(node(&empty[level], &empty[level]));
    }
    json!({
        "left": hexed(left),
        "right": hexed(right),
        "node": hexed(node(&left, &right)),
        "empty": empty.iter().map(hexed).collect::<Vec<_>>(),
    })
}

/// The state leaf and then the mailbox at each of its states, as if each were a mailbox of its own.
fn leaves() -> Vec<B256> {
    let mailboxes = mailboxes();
    let heads = mailboxes.iter().map(|mailbox| place().leaf(mailbox));
    std::iter::once(state_leaf(&B256::repeat_byte(0x57))).chain(heads).take(9).collect()
}

/// The root of each tree, which a checkpoint may sign.
pub(super) fn root() -> B256 {
    Frontier::from_leaves(leaves()).expect("leaves").root()
}

pub(super) fn trees() -> Value {
    let tree = |count: usize| {
        let leaves: Vec<_> = leaves().into_iter().take(count).collect();
        let frontier = Frontier::from_leaves(leaves.clone()).expect("leaves");
        let proof = |index| frontier.proof(index).expect("a leaf").iter().map(hexed).collect::<Vec<_>>();
        json!({
            "depth": depth(frontier.leaves()),
            "leaves": leaves.iter().map(hexed).collect::<Vec<_>>(),
            "root": hexed(frontier.root()),
            "proofs": (0..frontier.leaves()).map(proof).collect::<Vec<_>>(),
        })
    };
    (1..=9).map(tree).collect()
}

fn word(value: &Value) -> B256 {
    value.as_str().expect("hex").parse().expect("32 bytes")
}

#[test]
fn leaves_should_be_encoded_as_solidity_does() {
    for row in rows(&load("lockstep.json")["mailbox_leaves"]) {
        let number = |field| text(row, field).parse::<U256>().expect("a number");
        let contract: Address = text(row, "contract").parse().expect("an address");
        let parts = (number("chain"), contract, word(&row["instance"]), word(&row["process"]), number("next_nonce"));
        let encoded = [&[0][..], &parts.abi_encode(), word(&row["head"]).as_slice()].concat();
        assert_eq!(word(&row["leaf"]), keccak256(encoded));
    }
}

#[test]
fn proofs_should_verify_and_no_other() {
    let file = load("lockstep.json");
    for tree in rows(&file["trees"]) {
        let root = word(&tree["root"]);
        for (index, (leaf, proof)) in (0..).zip(rows(&tree["leaves"]).iter().zip(rows(&tree["proofs"]))) {
            let proof: Vec<_> = rows(proof).iter().map(word).collect();
            assert!(verify_proof(&word(leaf), index, &proof, &root));
            assert!(!verify_proof(&B256::repeat_byte(1), index, &proof, &root));
            assert!(!verify_proof(&word(leaf), index + 16, &proof, &root));
        }
    }
}
