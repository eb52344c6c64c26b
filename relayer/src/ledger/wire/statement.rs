//! A user's statement, and what the ledger calls its assets (`reference/mixin.md` 1.7; `mixin-sdk-go`'s `safe_snapshot.go` and
//! `safe_asset.go`).

use std::fmt;
use std::str::FromStr;

use lockstep_core::amount::AmountError;
use lockstep_core::{Amount, AssetId};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::Uuid;

use super::{DepositRow, Hex32, HexBytes, LedgerTime, blank};

/// Characters of a [`ForeignText`]: enough for every address of an outer chain.
pub const FOREIGN_CHARS_MAX: usize = 256;

/// A text that somebody else chose, such as the name of a token that anybody may list: cut after [`FOREIGN_CHARS_MAX`] characters
/// and without those that a terminal obeys, so that no name can spoil the page it is on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct ForeignText(String);

impl ForeignText {
    /// What may be shown of `text`.
    pub fn new(text: &str) -> Self {
        Self(text.chars().filter(|c| is_shown(*c)).take(FOREIGN_CHARS_MAX).collect())
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ForeignText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for ForeignText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self::new(&String::deserialize(deserializer)?))
    }
}

/// False for control characters and for those that turn the direction of what follows (Unicode annex 9).
fn is_shown(c: char) -> bool {
    !c.is_control()
        && !matches!(c, '\u{200e}' | '\u{200f}' | '\u{061c}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// How a movement changes what a user holds: a decimal, with a minus for what went out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Movement {
    /// True for what went out.
    pub is_out: bool,
    /// How much; [`Amount::MAX`] also for more.
    pub amount: Amount,
}

impl fmt::Display for Movement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", if self.is_out { "-" } else { "" }, self.amount)
    }
}

impl FromStr for Movement {
    type Err = AmountError;

    fn from_str(text: &str) -> Result<Self, AmountError> {
        let (is_out, amount) = text.strip_prefix('-').map_or((false, text), |amount| (true, amount));
        // Anybody may have paid any amount of an own asset: more than can be counted must not spoil the page it is on.
        Ok(Self { is_out, amount: Amount::parse_saturated(amount)? })
    }
}

impl Serialize for Movement {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Movement {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// A row of `GET /safe/snapshots`: one payment that a single user made or got.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotRow {
    /// Names the row.
    pub snapshot_id: Uuid,
    /// Whose statement it is in.
    pub user_id: Uuid,
    /// The other side, where it is a single user.
    #[serde(default, with = "blank")]
    pub opponent_id: Option<Uuid>,
    /// Payload hash of the transaction.
    pub transaction_hash: Hex32,
    /// The asset's UUID.
    pub asset_id: Uuid,
    /// The asset as the kernel knows it.
    pub kernel_asset_id: AssetId,
    /// What came in, or went out.
    pub amount: Movement,
    /// The transaction's extra.
    #[serde(default)]
    pub memo: HexBytes,
    /// The payment's trace, where the API made it.
    #[serde(default, with = "blank")]
    pub request_id: Option<Uuid>,
    /// When the Sequencer saw it.
    pub created_at: LedgerTime,
    /// Where it came from, if it was a deposit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deposit: Option<DepositRow>,
    /// Where it went, if it was a withdrawal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub withdrawal: Option<WithdrawalRow>,
    /// Set for a collectible.
    #[serde(default, with = "blank")]
    pub inscription_hash: Option<Hex32>,
}

/// What left the ledger for another chain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WithdrawalRow {
    /// The transaction on that chain, blank until it is sent.
    #[serde(default)]
    pub withdrawal_hash: ForeignText,
    /// The address there.
    #[serde(default)]
    pub receiver: ForeignText,
}

/// `GET /safe/assets/:id`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AssetRow {
    /// The asset's UUID.
    pub asset_id: Uuid,
    /// The asset of the chain that it comes from.
    pub chain_id: Uuid,
    /// The asset as the kernel knows it.
    pub kernel_asset_id: AssetId,
    /// Short name; anybody may list a token under any.
    pub symbol: ForeignText,
    /// Long name.
    pub name: ForeignText,
    /// The short name that wallets show.
    #[serde(default)]
    pub display_symbol: ForeignText,
    /// The long name that wallets show.
    #[serde(default)]
    pub display_name: ForeignText,
    /// Decimals on its own chain; the ledger has eight for all.
    pub precision: u8,
    /// Deposits below it are not credited.
    #[serde(default, deserialize_with = "floored")]
    pub dust: Amount,
    /// Blocks of its own chain until a deposit is credited.
    #[serde(default)]
    pub confirmations: u32,
}

/// An amount in decimals of another chain, of which the ledger keeps eight.
fn floored<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Amount, D::Error> {
    let text = String::deserialize(deserializer)?;
    Amount::parse_floored(&text).map(|(amount, _)| amount).map_err(serde::de::Error::custom)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{from_value, json, to_value};

    fn row() -> serde_json::Value {
        let hash = "07".repeat(32);
        json!({"snapshot_id": Uuid::nil(), "user_id": Uuid::nil(), "opponent_id": "", "transaction_hash": hash,
            "asset_id": Uuid::nil(), "kernel_asset_id": hash, "amount": "-0.01", "memo": "6869", "request_id": "",
            "created_at": "2024-05-06T07:08:09.12Z", "deposit": null, "inscription_hash": "", "level": 21})
    }

    #[test]
    fn a_movement_should_keep_its_sign_and_be_a_plain_decimal() {
        for text in ["--1", "+1", "-", "", "1e9", "0.000000001", "- 1"] {
            let mut row = row();
            row["amount"] = json!(text);
            assert!(from_value::<SnapshotRow>(row).is_err(), "{text}");
        }
        let movement = |text: &str| text.parse::<Movement>().expect("a movement");
        assert_eq!(movement("-0.01"), Movement { is_out: true, amount: Amount::from_units(1_000_000) });
        assert_eq!(
            (movement("-0.01").to_string(), movement("2").to_string()),
            ("-0.01000000".into(), "2.00000000".into())
        );
        assert_eq!(movement(&format!("-{}", "9".repeat(60))), Movement { is_out: true, amount: Amount::MAX });
    }

    #[test]
    fn a_row_should_read_with_and_without_its_origin() {
        let read: SnapshotRow = from_value(row()).expect("a row");
        assert_eq!((read.opponent_id, read.request_id, read.inscription_hash), (None, None, None));
        assert_eq!((read.deposit.as_ref(), read.withdrawal.as_ref()), (None, None));
        assert_eq!(from_value::<SnapshotRow>(to_value(&read).expect("json")).expect("a row"), read);
        let mut row = row();
        row["deposit"] =
            json!({"deposit_hash": "0x01", "deposit_index": 3, "sender": "a", "destination": "b", "tag": ""});
        row["withdrawal"] = json!({"withdrawal_hash": "", "receiver": "bc1q\u{1b}[2J"});
        let read: SnapshotRow = from_value(row).expect("a row");
        assert_eq!(read.deposit.as_ref().map(|deposit| deposit.deposit_index), Some(3));
        assert_eq!(read.withdrawal.as_ref().map(|sent| sent.receiver.as_str()), Some("bc1q[2J"));
        assert_eq!(from_value::<SnapshotRow>(to_value(&read).expect("json")).expect("a row"), read);
    }

    #[test]
    fn a_foreign_name_should_be_cut_and_obeyed_by_no_terminal() {
        let long = "\u{202e}".to_owned() + &"é".repeat(1000) + "\n\u{7f}";
        let asset = json!({"asset_id": Uuid::nil(), "chain_id": Uuid::nil(), "kernel_asset_id": "07".repeat(32),
            "symbol": long, "name": "N", "precision": 18, "dust": "0.0000000015", "icon_url": "https://a"});
        let read: AssetRow = from_value(asset.clone()).expect("an asset");
        assert_eq!(read.symbol.as_str(), "é".repeat(FOREIGN_CHARS_MAX));
        assert_eq!((read.dust, read.display_symbol.as_str()), (Amount::ZERO, ""));
        for (field, wrong) in [("precision", json!(256)), ("symbol", json!(null)), ("dust", json!("-1"))] {
            let mut asset = asset.clone();
            asset[field] = wrong;
            assert!(from_value::<AssetRow>(asset).is_err(), "{field}");
        }
    }
}
