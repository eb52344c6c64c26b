//! Accounts, memos, traces and hints.

use std::collections::{BTreeMap, BTreeSet};

use alloy_primitives::{Address, keccak256};
use lockstep_core::bls::{PublicKey, Signature};
use lockstep_core::mask::{MASK_DST, MaskPair, masked};
use lockstep_core::operation::{
    Memo, MemoKind, MemoRules, Operation, Policy, Registration, StoredPayload, inspect_memo,
};
use lockstep_core::payout::{SEED_DST, Seed, seed_digest};
use lockstep_core::trace::Trace;
use lockstep_core::{Account, Amount, AssetId, Mix, Uuid};
use serde_json::{Value, json};

use super::signed::key;
use super::{group_id, hexed, process};
use crate::figures::{load, rows, text};

pub(super) fn accounts() -> Value {
    let users = |numbers: &[u128], threshold| Mix::of_users(numbers.iter().copied().map(Uuid::from_u128), threshold);
    let sets = [users(&[1], 1), users(&[1, 2], 1), users(&[3, 1, 2], 2), users(&[1], 2)];
    let account = |mix: &Mix| {
        json!({
            "users": mix.users().unwrap_or_default().iter().map(|user| hexed(user.as_bytes())).collect::<Vec<_>>(),
            "threshold": mix.threshold(),
            "account": hexed(Account::of(mix).0),
            "mix": hexed(mix.to_payload()),
        })
    };
    sets.iter().map(account).collect()
}

fn registration() -> Registration {
    Registration {
        chain: 31_337,
        address: Address::repeat_byte(0xc0),
        private: false,
        policy: Policy::Refund,
        gas: 300_000,
        assets: None,
    }
}

/// Each memo with what it must mean.
fn operations() -> Vec<(&'static str, Operation, MemoKind)> {
    let process = process();
    let listed = Registration {
        private: true,
        policy: Policy::Park,
        gas: 500_000,
        assets: Some(BTreeMap::from([(AssetId([1; 32]), Amount::from_units(10_000))])),
        ..registration()
    };
    let register = |asked: &Registration| Operation::register(process, asked).expect("gas within range");
    let call = Operation::call(process, vec![0xca, 0xfe]);
    let back = Mix::of_users([Uuid::from_u128(5)], 1).to_payload();
    let (payload, long) = (vec![0xca, 0xfe], vec![0xab; 1_000]);
    vec![
        ("call", call.clone(), MemoKind::Call { process, payload: payload.clone() }),
        ("call without payload", Operation::call(process, vec![]), MemoKind::Call { process, payload: vec![] }),
        (
            "call with a return address",
            Operation { return_address: Some(back), ..call },
            MemoKind::Call { process, payload },
        ),
        (
            "call with a stored payload",
            Operation::stored_call(process, 1, &long),
            MemoKind::StoredCall { process, stored: StoredPayload::new(1, &long) },
        ),
        ("register", register(&registration()), MemoKind::Register(registration())),
        ("register with flags and assets", register(&listed), MemoKind::Register(listed)),
        ("refund", Operation::refund(Uuid::from_u128(0xa1)), MemoKind::RefundMark),
        ("refund by a contract", Operation::contract_refund(process, 7), MemoKind::RefundMark),
        ("bounce", Operation::bounce(process), MemoKind::Bounce { process }),
        ("tick", Operation::tick(), MemoKind::Tick),
        ("other", Operation { purpose: 12, ..Operation::default() }, MemoKind::Other(12)),
    ]
}

pub(super) fn memos() -> Value {
    let memo = |(what, operation, _): (&str, Operation, MemoKind)| {
        json!({
            "what": what,
            "raw": hexed(operation.encode().expect("short fields")),
            "text": operation.to_memo_text().expect("short fields"),
        })
    };
    operations().into_iter().map(memo).collect()
}

pub(super) fn traces() -> Value {
    let output = Uuid::from_u128(0xa1);
    let (chain, k, generation, j) = (31_337, 7, 2, 3);
    let traces = [
        ("refund", Trace::Refund { output }),
        ("return", Trace::Return { output }),
        ("forward", Trace::Forward { output }),
        ("release", Trace::Release { output }),
        ("pay", Trace::Pay { chain, k }),
        ("escrow", Trace::Escrow { chain, k }),
        ("settle", Trace::Settle { chain, k }),
        ("move", Trace::Move { chain, k, generation }),
        ("consolidate", Trace::Consolidate { chain, k, j }),
        ("migrate", Trace::Migrate { chain, generation, asset: AssetId([0xaa; 32]), j }),
    ];
    let id = |trace: &Trace| trace.id(&group_id(), |_| Address::repeat_byte(0x6c)).to_string();
    traces.iter().map(|(what, trace)| json!({ "what": what, "trace": trace, "id": id(trace) })).collect()
}

/// The group's signature over an attempt's digest, with the key that signs everything in the vectors, and its seed.
pub(super) fn seed(trace: Uuid, attempt: u32) -> (Signature, Seed) {
    let digest = seed_digest(&group_id(), trace, attempt);
    let signature = key().sign(digest.as_slice(), SEED_DST);
    (signature, Seed::of_signature(&signature))
}

pub(super) fn seeds() -> Value {
    let row = |(trace, attempt): (Uuid, u32)| {
        let (signature, seed) = seed(trace, attempt);
        json!({
            "trace": trace.to_string(),
            "attempt": attempt,
            "digest": hexed(seed_digest(&group_id(), trace, attempt)),
            "ciphersuite": String::from_utf8_lossy(SEED_DST),
            "public_key": hexed(key().public_key().compress()),
            "signature": hexed(signature.compress()),
            "seed": hexed(seed.expose()),
        })
    };
    let trace = Uuid::from_u128(0xaaaa);
    [(trace, 0), (trace, 1), (trace, u32::MAX), (Uuid::nil(), 0)].map(row).into_iter().collect()
}

pub(super) fn masked_senders() -> Value {
    let row = |(process, sender): (Uuid, Mix)| {
        let pair = MaskPair { process, account: Account::of(&sender) };
        let digest = pair.digest(&group_id());
        let signature = key().sign(digest.as_slice(), MASK_DST);
        json!({
            "process": process.to_string(),
            "account": hexed(pair.account.0),
            "digest": hexed(digest),
            "ciphersuite": String::from_utf8_lossy(MASK_DST),
            "public_key": hexed(key().public_key().compress()),
            "signature": hexed(signature.compress()),
            "masked": hexed(masked(&signature).0),
        })
    };
    let [alice, bob] = [1, 2].map(|user| Mix::of_users([Uuid::from_u128(user)], 1));
    let both = Mix::of_users([1, 2].map(Uuid::from_u128), 2);
    let other = Uuid::from_u128(0xbbbb);
    [(process(), alice.clone()), (process(), bob), (process(), both), (other, alice)].map(row).into_iter().collect()
}

pub(super) fn hints() -> Value {
    let trace = Trace::Pay { chain: 31_337, k: 7 }.id(&group_id(), |_| Address::repeat_byte(0x6c));
    let bob = Mix::of_users([Uuid::from_u128(77)], 1);
    let row = |(attempt, index, to): (u32, u16, Mix)| {
        let seed = seed(trace, attempt).1;
        json!({
            "trace": trace.to_string(),
            "attempt": attempt,
            "index": index,
            "seed": hexed(seed.expose()),
            "receivers": hexed(to.to_payload()),
            "hint": seed.hint(trace, attempt, index, &to).to_string(),
        })
    };
    let set = Mix::of_users((1..=4).map(Uuid::from_u128), 3);
    [(0, 0, bob.clone()), (0, 1, set), (1, 0, bob.clone()), (u32::MAX, 255, bob)].map(row).into_iter().collect()
}

#[test]
fn memos_should_mean_the_same_in_both_forms() {
    for (row, (what, _, kind)) in rows(&load("lockstep.json")["memos"]).iter().zip(operations()) {
        let raw: Vec<u8> = hex::decode(&text(row, "raw")[2..]).expect("hex");
        let decoded = Memo::decode(&raw, &MemoRules::default());
        assert_eq!((text(row, "what"), &decoded.kind), (what, &kind));
        assert_eq!(Memo::decode(text(row, "text").as_bytes(), &MemoRules::default()), decoded);
        assert!(inspect_memo(text(row, "raw")).is_ok() && inspect_memo(text(row, "text")).is_ok());
    }
}

/// The formulas again, from the parts in the file.
#[test]
fn seeds_should_be_hashes_of_the_groups_signatures_under_their_own_tag() {
    let vectors = load("lockstep.json");
    let bytes = |row: &Value, name| hex::decode(&text(row, name)[2..]).expect("hex");
    let mut digests = BTreeSet::new();
    for row in rows(&vectors["seeds"]) {
        let trace: Uuid = text(row, "trace").parse().expect("a uuid");
        let attempt = u32::try_from(row["attempt"].as_u64().expect("a number")).expect("32 bits");
        let (domain, group_id) = (keccak256("lockstep/v1/seed"), group_id());
        let parts = [domain.as_slice(), group_id.as_slice(), trace.as_bytes(), &attempt.to_be_bytes()];
        let digest = keccak256(parts.concat());
        assert_eq!(text(row, "digest"), hexed(digest));
        assert!(digests.insert(digest), "another payout or attempt has another seed");
        let key = PublicKey::from_bytes(&bytes(row, "public_key")).expect("a key");
        let signature = Signature::from_bytes(&bytes(row, "signature")).expect("a signature");
        assert!(key.verify(digest.as_slice(), text(row, "ciphersuite").as_bytes(), &signature));
        assert!(!key.verify_digest(&digest, &signature), "good for no checkpoint");
        assert_eq!(text(row, "seed"), hexed(keccak256(bytes(row, "signature"))));
    }
    for row in rows(&vectors["hints"]) {
        let trace: Uuid = text(row, "trace").parse().expect("a uuid");
        let name = format!(
            "hint/{}/{}/{}/{}",
            row["attempt"],
            row["index"],
            &text(row, "seed")[2..],
            &text(row, "receivers")[2..]
        );
        assert_eq!(text(row, "hint"), Uuid::new_v5(&trace, name.as_bytes()).to_string());
    }
}
