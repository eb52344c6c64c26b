//! The JSON of the Safe API and of the kernel's RPC, with the field names of the real services.
//!
//! Both sides of the wire use these types: the client here and the embedded ledger of the devnet. What a client does not
//! read is left out; unknown fields are ignored, because the real services add some without notice.
//! Sources: `bot-api-go-client` and `mixin-sdk-go` for the API, the kernel's `rpc/` for the RPC.

use std::fmt;

use lockstep_core::{Amount, AssetId};
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use uuid::Uuid;

mod kernel;
mod statement;

pub use kernel::{
    KernelDeposit, KernelInput, KernelKey, KernelMint, KernelOutput, KernelTransaction, KernelUtxo, RpcReply,
    RpcRequest, SentTransaction,
};
pub use statement::{AssetRow, FOREIGN_CHARS_MAX, ForeignText, Movement, SnapshotRow, WithdrawalRow};

/// Rows that one page may hold; every known client asks for this many.
pub const PAGE_ROWS_MAX: usize = 500;
/// HTTP status of a reply that carries an API error.
pub const ERROR_STATUS: u16 = 202;

/// 32 bytes as 64 hex digits: a hash, a key, a scalar.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Hex32(#[serde(with = "hex::serde")] pub [u8; 32]);

impl fmt::Display for Hex32 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for Hex32 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hex32({self})")
    }
}

/// Bytes as hex digits, perhaps none.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct HexBytes(#[serde(with = "hex::serde")] pub Vec<u8>);

impl fmt::Debug for HexBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HexBytes({})", hex::encode(&self.0))
    }
}

/// A secret scalar as 64 hex digits: the part of an input's private key that the key service computes. It is not shown
/// by `Debug`, because view scalars link a member's coins.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct View(#[serde(with = "hex::serde")] pub [u8; 32]);

impl fmt::Debug for View {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("View(..)")
    }
}

/// A ledger time: nanoseconds since 1970, on the wire as RFC 3339 in UTC. Years before 1970 and after 2262 (Go's zero
/// time among them) are not times of the ledger and are refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LedgerTime(pub u64);

impl fmt::Display for LedgerTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = OffsetDateTime::from_unix_timestamp_nanos(i128::from(self.0)).map_err(|_| fmt::Error)?;
        f.write_str(&time.format(&Rfc3339).map_err(|_| fmt::Error)?)
    }
}

impl std::str::FromStr for LedgerTime {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let shown = || text.chars().take(40).collect::<String>();
        let time = OffsetDateTime::parse(text, &Rfc3339).map_err(|error| format!("time `{}`: {error}", shown()))?;
        let nanos = u64::try_from(time.unix_timestamp_nanos());
        nanos.map(Self).map_err(|_| format!("time `{}` lies outside 1970 to 2262", shown()))
    }
}

impl Serialize for LedgerTime {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for LedgerTime {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

/// A field that is absent, null or `""` where it has no value.
pub mod blank {
    use super::{Deserialize, DeserializeOwned, Deserializer, Serialize, Serializer};
    use serde::de::IntoDeserializer;

    /// Writes the value, or null.
    ///
    /// # Errors
    /// Those of the serializer.
    pub fn serialize<T: Serialize, S: Serializer>(value: &Option<T>, serializer: S) -> Result<S::Ok, S::Error> {
        value.serialize(serializer)
    }

    /// Reads the value; null and the empty string are none.
    ///
    /// # Errors
    /// A string that is not a `T`.
    pub fn deserialize<'de, T: DeserializeOwned, D: Deserializer<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
        match Option::<String>::deserialize(deserializer)? {
            Some(text) if !text.is_empty() => T::deserialize(text.into_deserializer()).map(Some),
            Some(_) | None => Ok(None),
        }
    }
}

/// A list that may be null.
fn null_as_empty<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<T>, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// The amount of what anybody may have paid in any asset: more than can be counted must not spoil the page it is on.
fn saturated<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Amount, D::Error> {
    Amount::parse_saturated(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
}

/// Every reply of the Safe API: `{"data": …}` or `{"error": …}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Envelope<T> {
    /// The answer.
    Data(T),
    /// The refusal, with HTTP status [`ERROR_STATUS`].
    Error(ErrorBody),
}

/// Why the API refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorBody {
    /// Always [`ERROR_STATUS`].
    pub status: u16,
    /// See [`code`].
    pub code: u32,
    /// For people.
    pub description: String,
    /// Details, for example the wrong field.
    #[serde(default, skip_serializing_if = "serde_json::Value::is_null")]
    pub extra: serde_json::Value,
}

/// Error codes of the Safe API (`mixin-sdk-go error.go`).
#[expect(missing_docs, reason = "the names say it")]
pub mod code {
    pub const BAD_REQUEST: u32 = 400;
    pub const UNAUTHORIZED: u32 = 401;
    pub const FORBIDDEN: u32 = 403;
    pub const NOT_FOUND: u32 = 404;
    pub const TOO_MANY_REQUESTS: u32 = 429;
    pub const SERVER: u32 = 500;
    pub const INVALID_FIELD: u32 = 10002;
    pub const OUTPUT_LOCKED: u32 = 10105;
    pub const NOT_REGISTERED: u32 = 10404;
    pub const INSUFFICIENT: u32 = 20117;
    pub const TRACE_TAKEN: u32 = 20125;
    pub const BAD_RECEIVERS: u32 = 20150;
    pub const OUTPUT_KEY_USED: u32 = 2_000_001;
    pub const INPUT_LOCKED: u32 = 2_000_002;
    pub const BAD_SIGNATURE: u32 = 2_000_003;
}

/// `GET /safe/me`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserRow {
    /// The ledger user.
    pub user_id: Uuid,
    /// Registered with the Sequencer.
    #[serde(default)]
    pub has_safe: bool,
    /// The spend key the Sequencer knows.
    #[serde(default, with = "blank")]
    pub spend_public_key: Option<Hex32>,
}

/// Where an output stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OutputState {
    /// Free.
    Unspent,
    /// Spent by a request that has signatures.
    Signed,
    /// Spent by a final transaction.
    Spent,
}

impl OutputState {
    /// The word on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unspent => "unspent",
            Self::Signed => "signed",
            Self::Spent => "spent",
        }
    }
}

/// `type` of an [`OutputRow`].
pub const OUTPUT_TYPE: &str = "kernel_output";

/// A row of `GET /safe/outputs`: a coin paid to a set of users.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutputRow {
    /// [`OUTPUT_TYPE`].
    #[serde(rename = "type")]
    pub kind: String,
    /// MD5-UUID of `hash:index`.
    pub output_id: Uuid,
    /// The request it came from, where the API made it.
    #[serde(default, with = "blank")]
    pub request_id: Option<Uuid>,
    /// Payload hash of its transaction.
    pub transaction_hash: Hex32,
    /// Index in its transaction.
    pub output_index: u16,
    /// The asset's UUID, for display.
    pub asset_id: Uuid,
    /// The asset as the kernel knows it.
    pub kernel_asset_id: AssetId,
    /// What it holds; [`Amount::MAX`] also for more.
    #[serde(deserialize_with = "saturated")]
    pub amount: Amount,
    /// The mask R of its one-time keys.
    pub mask: Hex32,
    /// One-time keys, one a receiver.
    pub keys: Vec<Hex32>,
    /// Hash of the senders, blank without.
    #[serde(default, with = "blank")]
    pub senders_hash: Option<Hex32>,
    /// 0 without senders.
    #[serde(default)]
    pub senders_threshold: u8,
    /// Who paid, where the API knows.
    #[serde(default, deserialize_with = "null_as_empty")]
    pub senders: Vec<Uuid>,
    /// Members hash of the receivers.
    pub receivers_hash: Hex32,
    /// Signatures needed to spend it.
    pub receivers_threshold: u8,
    /// Who owns it.
    pub receivers: Vec<Uuid>,
    /// The transaction's extra.
    #[serde(default)]
    pub extra: HexBytes,
    /// Where it stands.
    pub state: OutputState,
    /// Place in the Sequencer's order; global, with gaps.
    pub sequence: u64,
    /// When the Sequencer made it.
    pub created_at: LedgerTime,
    /// When the row changed last.
    pub updated_at: LedgerTime,
    /// Receivers that signed the request that spends it.
    #[serde(default, deserialize_with = "null_as_empty")]
    pub signers: Vec<Uuid>,
    /// Payload hash of the transaction that spends it, once signed.
    #[serde(default, with = "blank")]
    pub signed_by: Option<Hex32>,
    /// Set for a collectible.
    #[serde(default, with = "blank")]
    pub inscription_hash: Option<Hex32>,
}

/// `GET /safe/outputs/:id/deposit`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DepositRow {
    /// The deposit's transaction on its own chain.
    pub deposit_hash: String,
    /// Its index there.
    pub deposit_index: u64,
    /// Who sent it there.
    #[serde(default)]
    pub sender: String,
    /// The address it was sent to.
    #[serde(default)]
    pub destination: String,
    /// A memo or tag of that address.
    #[serde(default)]
    pub tag: String,
}

/// One output's keys, asked of `POST /safe/keys`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyRequest {
    /// Sorted; the keys come in this order.
    pub receivers: Vec<Uuid>,
    /// Index of the output the keys are for.
    pub index: u16,
    /// The same hint gives the same keys.
    pub hint: Uuid,
}

/// Body of `POST /safe/keys`: a bare list, or a list with the senders that the keys are scoped to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum KeysBody {
    /// For the caller alone.
    Own(Vec<KeyRequest>),
    /// For a group; every member gets the same keys.
    Senders {
        /// What is asked.
        keys: Vec<KeyRequest>,
        /// The group, sorted.
        senders: Vec<Uuid>,
    },
}

/// `type` of a [`GhostKeyRow`].
pub const GHOST_KEY_TYPE: &str = "ghost_key";

/// A reply row of `POST /safe/keys`, in the order of the requests.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GhostKeyRow {
    /// [`GHOST_KEY_TYPE`].
    #[serde(rename = "type")]
    pub kind: String,
    /// R = r·B.
    pub mask: Hex32,
    /// One a receiver, in sorted order.
    pub keys: Vec<Hex32>,
}

/// What is posted to `/safe/transaction/requests`, `/safe/transactions` and `/safe/multisigs` (in a list of these).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RawRequest {
    /// Names the request for ever.
    pub request_id: Uuid,
    /// The transaction, unsigned or signed.
    pub raw: HexBytes,
}

/// Body of `POST /safe/multisigs/:id/sign`; some clients leave the id out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignBody {
    /// The id of the path again.
    #[serde(default, with = "blank", skip_serializing_if = "Option::is_none")]
    pub request_id: Option<Uuid>,
    /// The transaction with at least the caller's signatures.
    pub raw: HexBytes,
}

/// Who gets an output of a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReceiverRow {
    /// The users.
    #[serde(default, deserialize_with = "null_as_empty")]
    pub members: Vec<Uuid>,
    /// Their members hash.
    #[serde(default, with = "blank")]
    pub members_hash: Option<Hex32>,
    /// Signatures needed.
    #[serde(default)]
    pub threshold: u8,
}

/// `type` of a [`TransactionRow`].
pub const TRANSACTION_TYPE: &str = "kernel_transaction_request";

/// A request as `/safe/transaction/requests` and `/safe/transactions` show it. Multisig requests can be read here too.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TransactionRow {
    /// [`TRANSACTION_TYPE`].
    #[serde(rename = "type")]
    pub kind: String,
    /// Names the request.
    pub request_id: Uuid,
    /// Payload hash.
    pub transaction_hash: Hex32,
    /// Who made it.
    #[serde(default, with = "blank")]
    pub user_id: Option<Uuid>,
    /// Kernel asset id.
    pub asset: AssetId,
    /// What output 0 holds.
    pub amount: Amount,
    /// The transaction's extra.
    #[serde(default)]
    pub extra: HexBytes,
    /// One an output.
    #[serde(default, deserialize_with = "null_as_empty")]
    pub receivers: Vec<ReceiverRow>,
    /// Owners of the inputs.
    #[serde(default, deserialize_with = "null_as_empty")]
    pub senders: Vec<Uuid>,
    /// Their members hash.
    #[serde(default, with = "blank")]
    pub senders_hash: Option<Hex32>,
    /// Signatures needed.
    #[serde(default)]
    pub senders_threshold: u8,
    /// Who signed.
    #[serde(default, deserialize_with = "null_as_empty")]
    pub signers: Vec<Uuid>,
    /// Where it stands.
    pub state: OutputState,
    /// With the signatures collected so far.
    pub raw_transaction: HexBytes,
    /// When it was made.
    pub created_at: LedgerTime,
    /// When it changed last.
    pub updated_at: LedgerTime,
    /// The kernel snapshot, once final.
    #[serde(default, with = "blank")]
    pub snapshot_hash: Option<Hex32>,
    /// Its time.
    #[serde(default, with = "blank")]
    pub snapshot_at: Option<LedgerTime>,
    /// One an input, for the caller; empty when there is nothing left to sign.
    #[serde(default, deserialize_with = "null_as_empty")]
    pub views: Vec<View>,
    /// Who killed it.
    #[serde(default, with = "blank")]
    pub revoked_by: Option<Uuid>,
}

/// `type` of a [`MultisigRow`].
pub const MULTISIG_TYPE: &str = "transaction_request";

/// A request as `/safe/multisigs` shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MultisigRow {
    /// [`MULTISIG_TYPE`]; clients do not look at it.
    #[serde(rename = "type")]
    pub kind: String,
    /// Names the request.
    pub request_id: Uuid,
    /// Payload hash.
    pub transaction_hash: Hex32,
    /// The asset's UUID, for display.
    #[serde(default, with = "blank")]
    pub asset_id: Option<Uuid>,
    /// Kernel asset id.
    pub kernel_asset_id: AssetId,
    /// What output 0 holds.
    pub amount: Amount,
    /// The group.
    pub senders: Vec<Uuid>,
    /// Its members hash.
    #[serde(default, with = "blank")]
    pub senders_hash: Option<Hex32>,
    /// Signatures needed.
    pub senders_threshold: u8,
    /// Members that signed every input.
    #[serde(default, deserialize_with = "null_as_empty")]
    pub signers: Vec<Uuid>,
    /// The transaction's extra.
    #[serde(default)]
    pub extra: HexBytes,
    /// With the signatures collected so far.
    pub raw_transaction: HexBytes,
    /// One an output.
    #[serde(default, deserialize_with = "null_as_empty")]
    pub receivers: Vec<ReceiverRow>,
    /// When it was made.
    pub created_at: LedgerTime,
    /// When it changed last.
    pub updated_at: LedgerTime,
    /// One an input, for the calling member; empty once complete or signed by it.
    #[serde(default, deserialize_with = "null_as_empty")]
    pub views: Vec<View>,
    /// Who killed it.
    #[serde(default, with = "blank")]
    pub revoked_by: Option<Uuid>,
    /// Set for a collectible.
    #[serde(default, with = "blank")]
    pub inscription_hash: Option<Hex32>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::{from_value, json, to_value};

    #[test]
    fn times_outside_the_ledgers_years_should_be_refused() {
        for text in ["0001-01-01T00:00:00Z", "2600-01-01T00:00:00Z", "2024-01-01", "", "1969-12-31T23:59:59Z"] {
            assert!(text.parse::<LedgerTime>().is_err(), "{text}");
        }
    }

    #[test]
    fn times_should_keep_every_nanosecond() {
        let time: LedgerTime = "2024-05-06T07:08:09.123456789Z".parse().expect("a time");
        assert_eq!(time, LedgerTime(1_714_979_289_123_456_789));
        assert_eq!(time.to_string(), "2024-05-06T07:08:09.123456789Z");
        assert_eq!("2024-05-06T08:08:09.123456789+01:00".parse(), Ok(time));
    }

    proptest! {
        #[test]
        fn every_time_should_read_back_from_its_text(nanos: u64) {
            let time = LedgerTime(nanos);
            prop_assert_eq!(time.to_string().parse(), Ok(time));
        }
    }

    #[test]
    fn a_row_with_wrong_parts_should_be_refused() {
        let mut row = row();
        row["amount"] = json!("0.000000001");
        assert!(from_value::<OutputRow>(row.clone()).is_err());
        row["amount"] = json!("9".repeat(60));
        assert_eq!(from_value::<OutputRow>(row.clone()).expect("a row").amount, Amount::MAX);
        row["amount"] = json!("1");
        row["mask"] = json!("abcd");
        assert!(from_value::<OutputRow>(row).is_err());
    }

    #[test]
    fn a_row_of_a_deposit_should_read_without_senders() {
        let read: OutputRow = from_value(row()).expect("a row");
        assert_eq!(read.senders, Vec::<Uuid>::new());
        assert_eq!((read.signed_by, read.request_id, read.inscription_hash), (None, None, None));
        assert_eq!(from_value::<OutputRow>(to_value(&read).expect("json")).expect("a row"), read);
    }

    #[test]
    fn both_bodies_of_the_key_service_should_read() {
        let key = json!({"receivers": [Uuid::nil()], "index": 1, "hint": Uuid::max()});
        assert!(matches!(from_value(json!([key])), Ok(KeysBody::Own(keys)) if keys.len() == 1));
        let body = json!({"keys": [key], "senders": [Uuid::nil()]});
        assert!(matches!(from_value(body), Ok(KeysBody::Senders { senders, .. }) if senders.len() == 1));
    }

    #[test]
    fn a_reply_should_be_data_or_error() {
        let error = json!({"error": {"status": 202, "code": 10105, "description": "locked", "extra": {}}});
        assert!(matches!(from_value(error), Ok(Envelope::<Hex32>::Error(body)) if body.code == code::OUTPUT_LOCKED));
        assert!(from_value::<Envelope<Hex32>>(json!({})).is_err());
        assert!(matches!(
            from_value(json!({"data": null})),
            Ok(RpcReply::<SentTransaction> { data: None, error: None, .. })
        ));
        assert_eq!(format!("{:?}", View([7; 32])), "View(..)");
    }

    fn row() -> serde_json::Value {
        let hash = "07".repeat(32);
        json!({"type": OUTPUT_TYPE, "output_id": Uuid::nil(), "transaction_hash": hash, "output_index": 0,
            "asset_id": Uuid::nil(), "kernel_asset_id": hash, "amount": "0.01", "mask": hash, "keys": [hash],
            "senders_hash": "", "senders_threshold": 0, "senders": null, "receivers": [Uuid::nil()],
            "receivers_hash": hash, "receivers_threshold": 1, "extra": "", "state": "unspent", "sequence": 4_655_227,
            "request_id": "", "created_at": "2024-05-06T07:08:09.12Z", "updated_at": "2024-05-06T07:08:09Z",
            "signed_by": "", "new_field": {"of": "tomorrow"}})
    }
}
