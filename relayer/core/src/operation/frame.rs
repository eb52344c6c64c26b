//! The bytes of an operation: purpose u16 ‖ process 16 ‖ platform ‖ address ‖ extra, each of the three behind a u16 length
//! (MVM `encoding/operation.go`), then perhaps TLVs of ours: type u8 ‖ length u16 ‖ value.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use thiserror::Error;
use uuid::Uuid;

use super::stored::StoredPayload;
use crate::reader::Reader;

/// Most bytes of one field: its length is a u16.
pub const FIELD_MAX: usize = 65_535;
/// Most bytes of an operation: two fixed fields, three variable ones and two TLVs.
pub const OPERATION_MAX: usize = 18 + 3 * (2 + FIELD_MAX) + 3 + FIELD_MAX + 3 + 33;
/// Most bytes of a memo that can hold an operation: its base64url text.
pub const MEMO_MAX: usize = OPERATION_MAX.div_ceil(3) * 4;
/// Type of the TLV that holds a return address, a MIX payload.
const RETURN_ADDRESS: u8 = 1;
/// Type of the TLV that says where the payload of a call is.
const STORED: u8 = 2;

/// An operation as its bytes say, whatever it means.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Operation {
    /// What is asked; see [`super::purpose`].
    pub purpose: u16,
    /// The process addressed.
    pub process: Uuid,
    /// The chain of a registration.
    pub platform: Vec<u8>,
    /// The contract of a registration, as text.
    pub address: Vec<u8>,
    /// Payload of a call, flags of a registration, …
    pub extra: Vec<u8>,
    /// Where a refund goes if the payment has no senders.
    pub return_address: Option<Vec<u8>>,
    /// Where the payload of a call is, if it is not in `extra`.
    pub stored: Option<StoredPayload>,
}

/// How a memo carries its operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Form {
    /// The bytes themselves; the first one is 0x00.
    Raw,
    /// Canonical unpadded base64url of the bytes.
    Base64Url,
}

impl Operation {
    /// The bytes.
    ///
    /// # Errors
    /// Refuses a field of more than [`FIELD_MAX`] bytes.
    pub fn encode(&self) -> Result<Vec<u8>, OperationError> {
        let return_address = self.return_address.as_deref().unwrap_or_default();
        let fields = [
            ("platform", self.platform.as_slice()),
            ("address", self.address.as_slice()),
            ("extra", self.extra.as_slice()),
            ("return address", return_address),
        ];
        match fields.into_iter().find(|(_, bytes)| bytes.len() > FIELD_MAX) {
            Some((field, bytes)) => Err(OperationError::TooLong { field, bytes: bytes.len() }),
            None => Ok(self.frame()),
        }
    }

    /// The bytes as text: what users put into a memo.
    ///
    /// # Errors
    /// As [`Operation::encode`].
    pub fn to_memo_text(&self) -> Result<String, OperationError> {
        self.encode().map(|bytes| URL_SAFE_NO_PAD.encode(bytes))
    }

    /// Reads the bytes of an operation, and nothing else.
    ///
    /// # Errors
    /// Names the field that is cut short, or the first thing wrong behind the fields.
    pub fn decode(bytes: &[u8]) -> Result<Self, OperationError> {
        if bytes.len() > OPERATION_MAX {
            return Err(OperationError::TooLong { field: "operation", bytes: bytes.len() });
        }
        let short = |field| move || OperationError::Short { field };
        let mut reader = Reader::new(bytes);
        let mut operation = Self {
            purpose: u16::from_be_bytes(reader.array().ok_or_else(short("purpose"))?),
            process: Uuid::from_bytes(reader.array().ok_or_else(short("process"))?),
            platform: reader.prefixed().ok_or_else(short("platform"))?.to_vec(),
            address: reader.prefixed().ok_or_else(short("address"))?.to_vec(),
            extra: reader.prefixed().ok_or_else(short("extra"))?.to_vec(),
            return_address: None,
            stored: None,
        };
        let mut last = 0;
        while let Some([kind]) = reader.array() {
            match kind {
                RETURN_ADDRESS | STORED if kind <= last => return Err(OperationError::Repeated),
                RETURN_ADDRESS => {
                    operation.return_address = Some(reader.prefixed().ok_or_else(short("return address"))?.to_vec());
                }
                STORED => {
                    let value = reader.prefixed().ok_or_else(short("stored payload"))?;
                    operation.stored = Some(StoredPayload::from_bytes(value).ok_or(OperationError::Stored)?);
                }
                _ => return Err(OperationError::Trailing { kind }),
            }
            last = kind;
        }
        Ok(operation)
    }

    /// Reads the memo of a payment: raw if the first byte is 0x00, else canonical unpadded base64url.
    ///
    /// # Errors
    /// As [`Operation::decode`]; refuses an empty memo and other text.
    pub fn from_memo(memo: &[u8]) -> Result<(Form, Self), OperationError> {
        match memo.first() {
            None => Err(OperationError::Empty),
            Some(0) => Ok((Form::Raw, Self::decode(memo)?)),
            Some(_) if memo.len() > MEMO_MAX => Err(OperationError::TooLong { field: "memo", bytes: memo.len() }),
            Some(_) => {
                // This engine refuses padding and non-zero bits behind the last byte, so that one operation has one text.
                let bytes = URL_SAFE_NO_PAD.decode(memo).map_err(|_| OperationError::NotText)?;
                Ok((Form::Base64Url, Self::decode(&bytes)?))
            }
        }
    }

    /// The bytes of an operation whose fields are known to be short enough.
    pub(super) fn frame(&self) -> Vec<u8> {
        let mut bytes = self.purpose.to_be_bytes().to_vec();
        bytes.extend_from_slice(self.process.as_bytes());
        for field in [&self.platform, &self.address, &self.extra] {
            push_prefixed(&mut bytes, field);
        }
        if let Some(address) = &self.return_address {
            bytes.push(RETURN_ADDRESS);
            push_prefixed(&mut bytes, address);
        }
        if let Some(stored) = self.stored {
            bytes.push(STORED);
            push_prefixed(&mut bytes, &stored.to_bytes());
        }
        bytes
    }
}

/// Adds a field behind its u16 length; callers have checked that it fits.
pub(super) fn push_prefixed(bytes: &mut Vec<u8>, field: &[u8]) {
    bytes.extend_from_slice(&u16::try_from(field.len()).unwrap_or(u16::MAX).to_be_bytes());
    bytes.extend_from_slice(field);
}

/// Why bytes are not an operation, or an operation has no bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum OperationError {
    /// No memo at all.
    #[error("the memo is empty")]
    Empty,
    /// The bytes end before or inside a field.
    #[error("the operation is cut short in its {field}")]
    Short {
        /// The field that is not whole.
        field: &'static str,
    },
    /// More bytes than any operation or field can have.
    #[error("the {field} has {bytes} bytes, which is too long")]
    TooLong {
        /// What is too long.
        field: &'static str,
        /// How long it is.
        bytes: usize,
    },
    /// Something behind the fields that is no TLV we know.
    #[error("trailing bytes behind the operation (unknown type {kind})")]
    Trailing {
        /// The type byte found.
        kind: u8,
    },
    /// A TLV twice, or behind one of a higher type.
    #[error("a part behind the operation is there twice or not in its place")]
    Repeated,
    /// Not a place and a hash.
    #[error("the stored payload is not named by a reference and a hash of 32 bytes")]
    Stored,
    /// Neither raw nor base64url.
    #[error("the memo is neither a raw operation nor canonical unpadded base64url")]
    NotText,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn operation() -> Operation {
        Operation {
            purpose: 11,
            process: Uuid::from_u128(7),
            platform: b"eip155:1".to_vec(),
            address: b"0x".to_vec(),
            extra: vec![1, 2, 3],
            return_address: Some(vec![2, 1, 0]),
            stored: None,
        }
    }

    #[test]
    fn every_truncation_should_be_refused_with_its_field() {
        let bytes = operation().encode().expect("short fields");
        let fields =
            [(2, "purpose"), (18, "process"), (28, "platform"), (32, "address"), (37, "extra"), (43, "return address")];
        for cut in 0..bytes.len() {
            let field = fields.iter().find(|(end, _)| cut < *end).expect("a field").1;
            if cut == 37 {
                assert!(Operation::decode(&bytes[..cut]).is_ok_and(|operation| operation.return_address.is_none()));
            } else {
                assert_eq!(Operation::decode(&bytes[..cut]), Err(OperationError::Short { field }), "{cut}");
            }
        }
    }

    #[test]
    fn what_trails_should_be_refused() {
        let bytes = operation().encode().expect("short fields");
        let with = |tail: &[u8]| Operation::decode(&[&bytes[..], tail].concat());
        assert_eq!(with(&[0]), Err(OperationError::Trailing { kind: 0 }));
        assert_eq!(with(&[3, 0, 0]), Err(OperationError::Trailing { kind: 3 }));
        assert_eq!(with(&[1, 0, 0]), Err(OperationError::Repeated));
        assert_eq!(with(&[2, 0, 0]), Err(OperationError::Stored));
        assert_eq!(with(&[2, 0, 33, 1]), Err(OperationError::Short { field: "stored payload" }));
        let stored = [&[2, 0, 33][..], &[5; 33]].concat();
        assert!(with(&stored).is_ok_and(|operation| operation.stored.is_some_and(|stored| stored.reference == 5)));
        assert_eq!(with(&[&stored[..], &stored].concat()), Err(OperationError::Repeated));
        let plain = Operation { return_address: None, ..operation() }.encode().expect("short fields");
        let swapped = Operation::decode(&[&plain[..], &stored, &[1, 0, 0]].concat());
        assert_eq!(swapped, Err(OperationError::Repeated), "one operation has one encoding");
    }

    #[test]
    fn text_should_be_canonical() {
        let text = operation().to_memo_text().expect("short fields");
        assert_eq!(Operation::from_memo(text.as_bytes()), Ok((Form::Base64Url, operation())));
        let padded = format!("{text}=");
        let spaced = format!("{text}\n");
        let standard = text.replace('_', "/").replace('-', "+") + "+";
        for other in [padded.as_str(), &spaced, &standard, " ", "\u{fc}"] {
            assert_eq!(Operation::from_memo(other.as_bytes()), Err(OperationError::NotText), "{other}");
        }
        // 43 bytes need 58 characters, and the last one carries two bits of nothing.
        assert_eq!(text.len(), 58);
        let last = text.chars().last().expect("text");
        let others = ('A'..='Z').filter(|other| {
            *other != last && Operation::from_memo([&text[..57], &other.to_string()].concat().as_bytes()).is_ok()
        });
        assert!(others.count() <= 6, "only one text in four is canonical");
        assert_eq!(Operation::from_memo(b""), Err(OperationError::Empty));
    }

    #[test]
    fn lengths_should_be_bounded() {
        let long = Operation { extra: vec![0; FIELD_MAX + 1], ..operation() };
        assert_eq!(long.encode(), Err(OperationError::TooLong { field: "extra", bytes: 65_536 }));
        let too_long = OperationError::TooLong { field: "operation", bytes: OPERATION_MAX + 1 };
        assert_eq!(Operation::decode(&vec![0; OPERATION_MAX + 1]), Err(too_long));
        let too_long = OperationError::TooLong { field: "memo", bytes: MEMO_MAX + 1 };
        assert_eq!(Operation::from_memo(&vec![b'A'; MEMO_MAX + 1]), Err(too_long));
        let field = vec![0; FIELD_MAX];
        let longest = Operation {
            platform: field.clone(),
            address: field.clone(),
            extra: field.clone(),
            return_address: Some(field),
            stored: Some(StoredPayload::new(0, b"")),
            ..operation()
        };
        let bytes = longest.encode().expect("fields at their limit");
        assert_eq!(bytes.len(), OPERATION_MAX);
        let text = longest.to_memo_text().expect("fields at their limit");
        assert_eq!(Operation::from_memo(text.as_bytes()), Ok((Form::Base64Url, longest)));
    }

    proptest! {
        #[test]
        fn operations_should_round_trip(
            purpose: u16, process: u128, fields: [Vec<u8>; 3], back: Option<Vec<u8>>, stored: Option<(u8, Vec<u8>)>,
        ) {
            let [platform, address, extra] = fields;
            let process = Uuid::from_u128(process);
            let stored = stored.map(|(reference, payload)| StoredPayload::new(reference, &payload));
            let operation = Operation { purpose, process, platform, address, extra, return_address: back, stored };
            let (bytes, text) = (operation.encode().unwrap(), operation.to_memo_text().unwrap());
            prop_assert_eq!(Operation::decode(&bytes), Ok(operation.clone()));
            prop_assert_eq!(Operation::from_memo(text.as_bytes()), Ok((Form::Base64Url, operation)));
        }

        #[test]
        fn any_bytes_should_be_read_or_refused(mut bytes in prop::collection::vec(any::<u8>(), 0..120), small in any::<bool>()) {
            if small {
                // Short lengths, so that more than the first field is reached.
                bytes.iter_mut().skip(18).for_each(|byte| *byte &= 3);
            }
            if let Ok(operation) = Operation::decode(&bytes) {
                prop_assert_eq!(operation.encode(), Ok(bytes.clone()));
            }
            let _ = Operation::from_memo(&bytes);
        }
    }
}
