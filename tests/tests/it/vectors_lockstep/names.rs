//! Accounts, memos, traces and hints.

use std::collections::BTreeMap;

use alloy_primitives::{Address, B256};
use lockstep_core::operation::{
    Memo, MemoKind, MemoRules, Operation, Policy, Registration, StoredPayload, inspect_memo,
};
use lockstep_core::trace::{Trace, hint, seed};
use lockstep_core::{Account, Amount, AssetId, Mix, Uuid};
use serde_json::{Value, json};

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

pub(super) fn hints() -> Value {
    let trace = Trace::Pay { chain: 31_337, k: 7 }.id(&group_id(), |_| Address::repeat_byte(0x6c));
    let row = |(attempt, index): (u32, u16)| {
        let seed = seed(&group_id(), trace, attempt);
        json!({
            "trace": trace.to_string(),
            "attempt": attempt,
            "index": index,
            "seed": hexed(seed),
            "hint": hint(trace, attempt, index, &seed).to_string(),
        })
    };
    [(0, 0), (0, 1), (1, 0), (u32::MAX, 255)].map(row).into_iter().collect()
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

#[test]
fn a_seed_of_another_payout_or_attempt_should_differ() {
    let trace = Uuid::from_u128(1);
    let base = seed(&group_id(), trace, 0);
    for other in [seed(&B256::ZERO, trace, 0), seed(&group_id(), Uuid::nil(), 0), seed(&group_id(), trace, 1)] {
        assert_ne!(other, base);
    }
}
