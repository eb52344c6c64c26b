//! History, checkpoint, decisions and the signatures over them.

use std::collections::{BTreeMap, BTreeSet};

use alloy::sol_types::SolValue;
use alloy_primitives::{B256, keccak256};
use lockstep_core::bls::{DST, Dealing, Recovered, SecretKey, Signature, hash_to_g1};
use lockstep_core::checkpoint::Checkpoint;
use lockstep_core::history::{extend, genesis};
use lockstep_core::operation::{
    Caps, DecisionBody, Memo, MemoKind, MemoRules, Operation, Policy, SignedDecision, decision_digest, group_key_digest,
};
use lockstep_core::output::{CoinId, Output};
use lockstep_core::{Amount, AssetId, Mix, Uuid};
use serde_json::{Value, json};

use super::{group_id, hexed, tree};
use crate::figures::{load, rows, text};

/// A key for these figures alone.
pub(super) fn key() -> SecretKey {
    SecretKey::from_bytes(&[0x4c; 32]).expect("a scalar below the order")
}

fn outputs() -> Vec<Output> {
    let user = |number| Uuid::from_u128(number);
    let first = Output {
        id: user(0xa1),
        sequence: 1000,
        created_at: 1_792_000_000_000_000_000,
        coin: CoinId { transaction: B256::repeat_byte(0x7a), index: 0 },
        asset: AssetId([0xaa; 32]),
        amount: Amount::from_units(150_000_000),
        senders: Some(Mix::of_users([user(5)], 1)),
        extra: b"AAE".to_vec(),
        stored: None,
        inscription: None,
        spends: Vec::new(),
        generation: 0,
        late: false,
    };
    let set = Output {
        id: user(0xa2),
        sequence: 1007,
        coin: CoinId { transaction: B256::repeat_byte(0x7b), index: 65_535 },
        senders: Some(Mix::of_users([user(9), user(7), user(8)], 2)),
        extra: vec![0; 600],
        ..first.clone()
    };
    let bare = Output { id: user(0xa3), sequence: u64::MAX, senders: None, extra: Vec::new(), ..first.clone() };
    let collectible = Output { id: user(0xa4), inscription: Some(B256::repeat_byte(0x1c)), ..first.clone() };
    let largest = Output { id: user(0xa5), amount: Amount::from_units(u128::MAX), ..first.clone() };
    vec![first, set, bare, collectible, largest]
}

/// The digest of the group file in the first history.
fn group_digest() -> B256 {
    B256::repeat_byte(0x6d)
}

fn last_history() -> B256 {
    outputs().iter().fold(genesis(&group_id(), &group_digest()), |history, output| extend(&history, output))
}

pub(super) fn history() -> Value {
    let mut history = genesis(&group_id(), &group_digest());
    let first = hexed(history);
    let step = |output: &Output| {
        history = extend(&history, output);
        let senders = output.senders.as_ref();
        let users = senders.and_then(Mix::users).unwrap_or_default();
        json!({
            "output": hexed(output.id.as_bytes()),
            "transaction": hexed(output.coin.transaction),
            "index": output.coin.index,
            "asset": hexed(output.asset.0),
            "amount": output.amount.units().to_string(),
            "senders": users.iter().map(|user| hexed(user.as_bytes())).collect::<Vec<_>>(),
            "threshold": senders.map_or(0, Mix::threshold),
            "extra": hexed(&output.extra),
            "inscription": output.inscription.map(hexed),
            "sequence": output.sequence.to_string(),
            "created_at": output.created_at.to_string(),
            "history": hexed(history),
        })
    };
    let steps: Vec<_> = outputs().iter().map(step).collect();
    json!({ "group_digest": hexed(group_digest()), "genesis": first, "steps": steps })
}

fn checkpoint() -> Checkpoint {
    Checkpoint { sequence: 1_234_567, history: last_history(), root: tree::root() }
}

pub(super) fn checkpoint_vector() -> Value {
    let checkpoint = checkpoint();
    json!({
        "sequence": checkpoint.sequence,
        "history": hexed(checkpoint.history),
        "root": hexed(checkpoint.root),
        "digest": hexed(checkpoint.digest(&group_id())),
    })
}

fn forms(signature: &Signature) -> Value {
    json!({
        "compressed": hexed(signature.compress()),
        "uncompressed": hexed(signature.serialize()),
        "eip2537": hexed(signature.to_eip2537()),
    })
}

/// The checkpoint's signature by the key alone, and by three of four members.
pub(super) fn bls() -> Value {
    let (key, digest) = (key(), checkpoint().digest(&group_id()));
    let public = key.public_key();
    let dealing = dealing();
    let parts: Vec<_> = dealing.shares.iter().map(|share| share.sign_digest(&digest)).collect();
    let Recovered { signature, .. } =
        dealing.group.recover_digest(&digest, &parts, &BTreeSet::new()).expect("four good parts");
    json!({
        "dst": std::str::from_utf8(DST).expect("ASCII"),
        "secret_key": hexed(key.to_bytes()),
        "public_key": {
            "compressed": hexed(public.compress()),
            "uncompressed": hexed(public.serialize()),
            "eip2537": hexed(public.to_eip2537()),
        },
        "message": hexed(digest),
        "hash_point": hexed(hash_to_g1(digest.as_slice(), DST).expect("a tag").to_eip2537()),
        "signature": forms(&key.sign_digest(&digest)),
        "group": {
            "seed": hexed([0x5e; 32]),
            "threshold": dealing.group.threshold(),
            "public_key": hexed(dealing.group.key().to_eip2537()),
            "commitments": dealing.commitments.iter().map(|key| hexed(key.compress())).collect::<Vec<_>>(),
            "shares": dealing.shares.iter().map(|share| hexed(share.secret().to_bytes())).collect::<Vec<_>>(),
            "public_shares": dealing.group.shares().iter().map(|key| hexed(key.compress())).collect::<Vec<_>>(),
            "partials": parts.iter().map(|part| hexed(part.signature)).collect::<Vec<_>>(),
            "signature": forms(&signature),
        },
    })
}

fn dealing() -> Dealing {
    Dealing::from_seed(&[0x5e; 32], 3, 4).expect("a majority")
}

/// A new group key that proves that it is held.
fn new_key() -> DecisionBody {
    let new = SecretKey::from_bytes(&[0x4e; 32]).expect("a scalar below the order");
    let (generation, key) = (2, new.public_key().compress());
    let possession = new.sign_digest(&group_key_digest(&group_id(), generation, &key)).compress();
    DecisionBody::Key { generation, key, possession }
}

fn bodies() -> Vec<(&'static str, DecisionBody)> {
    let (asset, amount) = (|byte| AssetId([byte; 32]), Amount::from_units);
    let process = super::process();
    let assets = BTreeMap::from([(asset(1), amount(10_000)), (asset(2), amount(u128::MAX))]);
    let caps = Caps { payout: amount(100), hour: amount(1000), day: amount(10_000) };
    vec![
        ("bounce", DecisionBody::Bounce { chain: 31_337, k: 7 }),
        ("refused", DecisionBody::Refused { chain: u64::MAX, k: u64::MAX }),
        ("switch", DecisionBody::Switch { group: Mix::of_users((1..=4).map(Uuid::from_u128), 3) }),
        ("limits", DecisionBody::Limits { chain: 1, asset: asset(3), caps }),
        ("minimum", DecisionBody::Minimum { asset: asset(3), minimum: amount(20_000), floor: amount(10_000) }),
        ("update", DecisionBody::Update { process, assets: Some(assets) }),
        ("update: any asset", DecisionBody::Update { process, assets: None }),
        ("close", DecisionBody::Close { process }),
        ("admit", DecisionBody::Admit { output: Uuid::from_u128(0xa2) }),
        ("policy", DecisionBody::Policy { process, policy: Policy::Strict, gas: 5_000_000 }),
        ("policy: the same gas", DecisionBody::Policy { process, policy: Policy::Park, gas: 0 }),
        (
            "release",
            DecisionBody::Release { output: Uuid::from_u128(0xa1), to: Mix::of_users([Uuid::from_u128(5)], 1) },
        ),
        ("key", new_key()),
    ]
}

pub(super) fn decisions() -> Value {
    let decision = |(number, (what, body)): (u64, (&str, DecisionBody))| {
        let digest = decision_digest(&group_id(), number, &body.encode());
        let signature = key().sign_digest(&digest).compress();
        let signed = SignedDecision { number, body, signature };
        let operation = Operation::decision(&signed).expect("a short body");
        json!({
            "what": what,
            "number": number,
            "body": hexed(signed.body.encode()),
            "digest": hexed(digest),
            "signature": hexed(signature),
            "memo": operation.to_memo_text().expect("a short body"),
        })
    };
    (1..).zip(bodies()).map(decision).collect()
}

#[test]
fn checkpoints_should_be_encoded_as_solidity_does() {
    let row = &load("lockstep.json")["checkpoint"];
    let word = |field| text(row, field).parse::<B256>().expect("32 bytes");
    let sequence = row["sequence"].as_u64().expect("a number");
    let domain = keccak256("lockstep/v1/checkpoint");
    let encoded = (domain, group_id(), sequence, word("history"), word("root")).abi_encode();
    assert_eq!(word("digest"), keccak256(encoded));
}

#[test]
fn signatures_should_verify_and_be_those_of_the_members() {
    let digest = checkpoint().digest(&group_id());
    let dealing = dealing();
    for used in [[0, 1, 2], [3, 1, 0]] {
        let parts = used.map(|member: usize| dealing.shares[member].sign_digest(&digest));
        let recovered = dealing.group.recover_digest(&digest, &parts, &BTreeSet::new()).expect("three good parts");
        assert_eq!(forms(&recovered.signature), load("lockstep.json")["bls"]["group"]["signature"]);
    }
}

#[test]
fn decisions_should_be_valid_for_their_group_alone() {
    let rules = MemoRules { group_id: group_id(), group_key: Some(key().public_key()), aliases: BTreeMap::new() };
    let other = MemoRules { group_id: B256::ZERO, ..rules.clone() };
    for (row, (_, body)) in rows(&load("lockstep.json")["decisions"]).iter().zip(bodies()) {
        for (rules, expected) in [(&rules, true), (&other, false)] {
            let MemoKind::Decision(decision) = Memo::decode(text(row, "memo").as_bytes(), rules).kind else {
                panic!("a decision");
            };
            assert_eq!((decision.valid, &decision.body), (expected, &body));
        }
    }
}

#[test]
fn histories_should_be_the_hash_of_the_fields_as_listed() {
    let history = &load("lockstep.json")["history"];
    let bytes = |value: &Value| hex::decode(&value.as_str().expect("hex")[2..]).expect("hex");
    let number = |row: &Value, field: &str| text(row, field).parse::<u128>().expect("a number");
    let domain = keccak256("lockstep/v1/history").to_vec();
    let first = [domain, group_id().to_vec(), bytes(&history["group_digest"])].concat();
    let mut last = keccak256(first).to_vec();
    assert_eq!(last, bytes(&history["genesis"]));
    for row in rows(&history["steps"]) {
        let senders: Vec<_> = rows(&row["senders"]).iter().map(bytes).collect();
        let inscription = row["inscription"].as_str().map(|_| bytes(&row["inscription"]));
        let low = |value: u128, size: usize| value.to_be_bytes()[16_usize.saturating_sub(size)..].to_vec();
        let index = row["index"].as_u64().expect("a number").into();
        let threshold = row["threshold"].as_u64().expect("a number").into();
        let fields = [
            last,
            bytes(&row["output"]),
            bytes(&row["transaction"]),
            low(index, 2),
            bytes(&row["asset"]),
            low(number(row, "amount"), 16),
            low(senders.len() as u128, 2),
            senders.concat(),
            low(threshold, 1),
            low(bytes(&row["extra"]).len() as u128, 4),
            bytes(&row["extra"]),
            vec![u8::from(inscription.is_some())],
            inscription.unwrap_or_default(),
            low(number(row, "sequence"), 8),
            low(number(row, "created_at"), 8),
        ];
        last = keccak256(fields.concat()).to_vec();
        assert_eq!(last, bytes(&row["history"]));
    }
}
