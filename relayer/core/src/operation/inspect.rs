//! What `lockstep inspect memo` shows.

use alloy_primitives::B256;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use thiserror::Error;
use uuid::Uuid;

use super::decision::SignedDecision;
use super::frame::{Form, MEMO_MAX, Operation, OperationError};
use super::{DecisionBody, MemoKind, MemoRules, Registration};
use crate::Mix;

/// An operation with MVM's field names, and what it means.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MemoView {
    /// How the bytes given carry the operation.
    pub form: Form,
    /// What is asked.
    pub purpose: u16,
    /// The process addressed.
    pub process: Uuid,
    /// The chain of a registration, as text; 0x-hex where it is no UTF-8.
    pub platform: String,
    /// The contract of a registration, as text; 0x-hex where it is no UTF-8.
    pub address: String,
    /// Hexadecimal.
    pub extra: String,
    /// Where a refund goes if the payment has no senders.
    pub return_address: Option<ReturnAddress>,
    /// What the group would do with it.
    pub meaning: Meaning,
}

/// A return address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ReturnAddress {
    /// The bytes, in hexadecimal.
    pub payload: String,
    /// What they say, if they are a MIX payload.
    pub mix: Option<Mix>,
    /// Whether the ledger can pay it.
    pub legal: bool,
}

/// What an operation asks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Meaning {
    /// Cannot be read; the payment is refunded.
    Undecodable {
        /// What is malformed.
        reason: String,
    },
    /// A message for a process.
    Call {
        /// The addressed process.
        process: Uuid,
        /// Hexadecimal.
        payload: String,
    },
    /// A message for a process, whose payload is the extra of a transaction that the payment names.
    StoredCall {
        /// The addressed process.
        process: Uuid,
        /// Place among the payment's references, from 0.
        reference: u8,
        /// keccak256 of the payload.
        payload_hash: B256,
    },
    /// A new process.
    Register(Registration),
    /// A refund.
    RefundMark {
        /// The refunded output, if the mark names one.
        output: Option<Uuid>,
        /// The message refunded by a contract, if the mark names one.
        nonce: Option<u64>,
    },
    /// A payout that comes back.
    Bounce {
        /// The process that gets it back.
        process: Uuid,
    },
    /// A governance message.
    Decision {
        /// Acts once.
        number: u64,
        /// What is decided.
        body: DecisionBody,
        /// Hexadecimal.
        signature: String,
        /// Whether the group signed it; `None` where no group is known.
        valid: Option<bool>,
    },
    /// Dust that moves ledger time.
    Tick,
    /// A purpose that is not ours; the payment is refunded.
    Other,
}

/// Reads a memo as somebody pasted it: hexadecimal with or without 0x, else base64url. What can be read as hexadecimal is.
/// The bytes are a raw operation, or the text of one as the ledger's API shows it.
///
/// # Errors
/// Says in one line why there is no operation in it. A malformed registration or decision is no error: its meaning is
/// [`Meaning::Undecodable`].
pub fn inspect_memo(text: &str) -> Result<MemoView, InspectError> {
    inspect_memo_with(text, &MemoRules::default())
}

/// [`inspect_memo`] under the rules of a group, which know its aliases and its key.
///
/// # Errors
/// As [`inspect_memo`].
pub fn inspect_memo_with(text: &str, rules: &MemoRules) -> Result<MemoView, InspectError> {
    let (form, operation) = read(text)?;
    let meaning = meaning(&operation, rules);
    Ok(MemoView {
        form,
        purpose: operation.purpose,
        process: operation.process,
        platform: readable(operation.platform),
        address: readable(operation.address),
        extra: hex::encode(operation.extra),
        return_address: operation.return_address.map(|payload| {
            let mix = Mix::from_payload(&payload).ok();
            let legal = mix.as_ref().is_some_and(Mix::is_legal);
            ReturnAddress { payload: hex::encode(payload), mix, legal }
        }),
        meaning,
    })
}

fn read(text: &str) -> Result<(Form, Operation), InspectError> {
    // Two digits a byte, and 0x.
    if text.len() > MEMO_MAX.saturating_mul(2).saturating_add(2) {
        return Err(InspectError::TooLong(text.len()));
    }
    if let Ok(bytes) = hex::decode(text.strip_prefix("0x").unwrap_or(text)) {
        return Ok(read_bytes(&bytes)?);
    }
    let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| InspectError::NotText)?;
    Ok((Form::Base64Url, read_bytes(&bytes)?.1))
}

fn read_bytes(bytes: &[u8]) -> Result<(Form, Operation), OperationError> {
    // An operation of a purpose from 256 up does not begin with 0x00, so it is no raw memo, but still worth showing.
    Operation::from_memo(bytes).or_else(|error| match Operation::decode(bytes) {
        Ok(operation) => Ok((Form::Raw, operation)),
        Err(cause) if error == OperationError::NotText && !bytes.is_ascii() => Err(cause),
        Err(_) => Err(error),
    })
}

fn meaning(operation: &Operation, rules: &MemoRules) -> Meaning {
    let extra = operation.extra.as_slice();
    match operation.meaning(rules) {
        Err(error) => Meaning::Undecodable { reason: error.to_string() },
        Ok(MemoKind::Undecodable) => Meaning::Undecodable { reason: "the operation has no meaning".to_owned() },
        Ok(MemoKind::Call { process, payload }) => Meaning::Call { process, payload: hex::encode(payload) },
        Ok(MemoKind::StoredCall { process, stored }) => {
            Meaning::StoredCall { process, reference: stored.reference, payload_hash: stored.hash }
        }
        Ok(MemoKind::Register(registration)) => Meaning::Register(registration),
        Ok(MemoKind::RefundMark) => Meaning::RefundMark {
            output: Uuid::from_slice(extra).ok(),
            nonce: extra.try_into().ok().map(u64::from_be_bytes),
        },
        Ok(MemoKind::Bounce { process }) => Meaning::Bounce { process },
        Ok(MemoKind::Decision(decision)) => Meaning::Decision {
            number: decision.number,
            body: decision.body,
            signature: SignedDecision::decode(extra).map(|signed| hex::encode(signed.signature)).unwrap_or_default(),
            valid: rules.group_key.is_some().then_some(decision.valid),
        },
        Ok(MemoKind::Tick) => Meaning::Tick,
        Ok(MemoKind::Other(_)) => Meaning::Other,
    }
}

fn readable(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap_or_else(|error| format!("0x{}", hex::encode(error.as_bytes())))
}

/// Why there is no operation in a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum InspectError {
    /// Neither hexadecimal nor base64url.
    #[error("a memo is given as hexadecimal or as unpadded base64url")]
    NotText,
    /// More text than any memo has.
    #[error("a text of {0} bytes is longer than any memo")]
    TooLong(usize),
    /// Bytes that are no operation.
    #[error(transparent)]
    Operation(#[from] OperationError),
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn operation() -> Operation {
        let back = Mix::of_users([Uuid::from_u128(8)], 1).to_payload();
        Operation { return_address: Some(back), ..Operation::call(Uuid::from_u128(7), vec![0xca, 0xfe]) }
    }

    #[test]
    fn malformed_texts_should_be_refused_in_one_line() {
        let bytes = operation().encode().expect("short");
        let inner = hex::encode(operation().to_memo_text().expect("short"));
        let whole = hex::encode(&bytes);
        // Without its last part the operation is still whole: 26 bytes, 35 characters of text.
        for (text, still_whole) in [(whole.as_str(), 2 * 26), (&inner, 2 * 35)] {
            for cut in (0..text.len()).step_by(2).filter(|cut| *cut != still_whole) {
                let error = inspect_memo(&text[..cut]).expect_err("cut short").to_string();
                assert!(!error.contains('\n'), "{error}");
            }
            assert!(inspect_memo(&format!("{text}00")).is_err());
            assert!(inspect_memo(&format!("{text}0")).is_err());
        }
        assert_eq!(inspect_memo(""), Err(InspectError::Operation(OperationError::Empty)));
        assert_eq!(inspect_memo("0x"), Err(InspectError::Operation(OperationError::Empty)));
        for text in ["?", "0xzz=", "AA==", " 00", "\u{e9}"] {
            assert_eq!(inspect_memo(text), Err(InspectError::NotText), "{text}");
        }
        let long = "0".repeat(MEMO_MAX * 2 + 3);
        assert_eq!(inspect_memo(&long), Err(InspectError::TooLong(long.len())));
    }

    #[test]
    fn hexadecimal_should_win() {
        // As base64url this is a whole operation of zeros; as hexadecimal it is 16 bytes of nothing.
        let both = URL_SAFE_NO_PAD.encode(Operation { purpose: 1, ..Operation::default() }.encode().expect("short"));
        assert!(hex::decode(&both).is_ok());
        assert_eq!(inspect_memo(&both), Err(InspectError::Operation(OperationError::Short { field: "process" })));
    }

    #[test]
    fn every_form_should_show_one_operation() {
        let bytes = hex::encode(operation().encode().expect("short"));
        let text = operation().to_memo_text().expect("short");
        let raw = inspect_memo(&bytes).expect("an operation");
        assert_eq!(raw.form, Form::Raw);
        assert_eq!(raw.return_address.as_ref().map(|address| address.legal), Some(true));
        assert_eq!(inspect_memo(&format!("0x{}", bytes.to_uppercase())).as_ref(), Ok(&raw));
        let ledger = MemoView { form: Form::Base64Url, ..raw };
        assert_eq!(inspect_memo(&text).as_ref(), Ok(&ledger));
        assert_eq!(inspect_memo(&hex::encode(text)), Ok(ledger));
        let high = Operation { purpose: 0x0f00, ..operation() }.encode().expect("short");
        assert_eq!(inspect_memo(&hex::encode(high)).map(|view| view.meaning), Ok(Meaning::Other));
    }

    #[test]
    fn views_should_have_the_field_names_of_mvm() {
        let view = inspect_memo(&hex::encode(operation().encode().expect("short"))).expect("an operation");
        let json = serde_json::to_value(&view).expect("JSON");
        assert_eq!(json["purpose"], 1);
        assert_eq!(json["process"], "00000000-0000-0000-0000-000000000007");
        assert_eq!((&json["platform"], &json["address"]), (&"".into(), &"".into()));
        assert_eq!(json["extra"], "cafe");
        assert_eq!(json["meaning"]["kind"], "call");
        let register = Operation { purpose: 11, platform: vec![0xff], ..Operation::default() };
        let view = inspect_memo(&hex::encode(register.encode().expect("short"))).expect("an operation");
        assert_eq!(view.platform, "0xff");
        assert!(matches!(view.meaning, Meaning::Undecodable { .. }));
    }

    #[test]
    fn decisions_should_be_shown_without_a_group() {
        let body = DecisionBody::Bounce { chain: 1, k: 2 };
        let decision = SignedDecision { number: 3, body, signature: [4; 48] };
        let text = Operation::decision(&decision).expect("short").to_memo_text().expect("short");
        let json = serde_json::to_value(inspect_memo(&text).expect("an operation")).expect("JSON");
        assert_eq!(json["meaning"]["body"], serde_json::json!({ "decides": "bounce", "chain": 1, "k": 2 }));
        assert_eq!(json["meaning"]["valid"], serde_json::Value::Null);
    }

    proptest! {
        #[test]
        fn any_text_should_be_read_or_refused(text in "(0x)?[0-9a-zA-Z_-]{0,120}") {
            if let Ok(view) = inspect_memo(&text) {
                prop_assert!(serde_json::to_string(&view).is_ok());
            }
        }
    }
}
