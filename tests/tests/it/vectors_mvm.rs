//! Every figure of `mvm.json`: operations encoded and decoded by MVM's own code.

use std::collections::{BTreeMap, BTreeSet};

use lockstep_core::Uuid;
use lockstep_core::operation::{Form, Operation, inspect_memo};
use serde_json::Value;

use crate::figures::{bytes, load, number, only, parsed, rows, text};

/// Figures that have no counterpart here.
const SKIPPED: [(&str, &str); 2] = [
    ("event", "MVM's Event and its amounts: the group's messages are ABI-encoded, so no such codec exists here"),
    (
        "operation platform 257 (decodes, cannot be encoded)",
        "only its `reencode_error` and `reencoded`: MVM's encoder panics above 256 bytes, ours writes up to 65,535",
    ),
];

const OPERATION: [&str; 5] = ["purpose", "process", "platform", "address", "extra"];

/// The operation in the fields of `row`; the texts must say the same.
fn operation(row: &Value) -> Operation {
    for field in ["platform", "address"] {
        assert_eq!(bytes(row, field), text(row, &format!("{field}_text")).as_bytes(), "{row}");
    }
    Operation {
        purpose: u16::try_from(number(row, "purpose")).expect("a purpose"),
        process: parsed::<Uuid>(row, "process"),
        platform: bytes(row, "platform"),
        address: bytes(row, "address"),
        extra: bytes(row, "extra"),
        return_address: None,
        stored: None,
    }
}

#[test]
fn operations_should_encode_as_mvm_does() {
    let file = load("mvm.json");
    for row in rows(&file["operations"]) {
        let known = [
            &OPERATION[..],
            &["platform_text", "address_text", "decoded", "encode_error", "hex", "kind", "reencode_same"],
        ];
        only(row, &known.concat());
        only(&row["decoded"], &[&OPERATION[..], &["platform_text", "address_text"]].concat());
        let (operation, encoded) = (operation(row), bytes(row, "hex"));
        assert_eq!((text(row, "kind"), text(row, "encode_error")), ("valid", ""));
        assert_eq!(operation.encode().as_ref(), Ok(&encoded));
        let decoded = Operation::decode(&encoded).expect("a valid operation");
        assert_eq!(decoded, self::operation(&row["decoded"]));
        assert_eq!(row["reencode_same"], Value::Bool(decoded.encode() == Ok(encoded.clone())));
        let memo = operation.to_memo_text().expect("short fields");
        assert_eq!(Operation::from_memo(memo.as_bytes()), Ok((Form::Base64Url, operation)));
        let view = serde_json::to_value(inspect_memo(&memo).expect("a valid operation")).expect("JSON");
        let shown = [&row["purpose"], &row["process"], &row["platform_text"], &row["address_text"], &row["extra"]];
        assert_eq!(OPERATION.map(|field| &view[field]), shown);
    }
}

#[test]
fn other_bytes_should_be_judged_as_mvm_does() {
    let file = load("mvm.json");
    let mut skipped: BTreeMap<&str, &str> = SKIPPED.into_iter().collect();
    let skipped_kinds: BTreeSet<&str> = skipped.keys().copied().collect();
    for row in rows(&file["decodes"]) {
        only(row, &["decoded", "error", "hex", "kind", "reencode_error", "reencoded", "what"]);
        match (text(row, "what"), text(row, "error")) {
            ("event", _) => {
                skipped.remove("event");
            }
            ("operation", "") => {
                let decoded = Operation::decode(&bytes(row, "hex")).expect("MVM decodes it");
                assert_eq!(decoded, operation(&row["decoded"]));
                // The figures about encoding again are skipped by name; others would be new here.
                assert!(skipped_kinds.contains(text(row, "kind")), "{row}");
                skipped.remove(text(row, "kind"));
            }
            ("operation", _) => {
                let error = inspect_memo(text(row, "hex")).expect_err("MVM refuses it").to_string();
                assert!(!error.is_empty() && !error.contains('\n'), "{error}");
                assert!(Operation::decode(&bytes(row, "hex")).is_err(), "{row}");
            }
            other => panic!("no check knows {other:?}"),
        }
    }
    assert!(skipped.is_empty(), "skipped, but not there any more: {skipped:?}");
}

#[test]
fn the_file_should_hold_nothing_else() {
    only(&load("mvm.json"), &["about", "operations", "decodes"]);
}
