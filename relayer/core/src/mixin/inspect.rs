//! What `lockstep inspect` shows of transactions, addresses and amounts. Field names follow the kernel's RPC
//! (`gettransaction`).

use std::collections::BTreeMap;

use alloy_primitives::B256;
use serde::Serialize;
use thiserror::Error;

use super::address::{AddressError, MixAddress, XinAddress, xin_text};
use super::encoding::DecodeError;
use super::ids::members_text_hash;
use super::key::RawKey;
use super::signature::Signature;
use super::transaction::{Input, Output, Signatures, SignedTransaction, Withdrawal};
use super::{amount as integer, transaction as kernel};
use crate::account::MixMember;
use crate::amount::AmountError;
use crate::{Amount, AssetId};

/// A transaction, signed or not, as the kernel's RPC shows it, and its signatures.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TransactionView {
    /// Always 5.
    pub version: u8,
    /// Kernel asset id.
    pub asset: AssetId,
    /// What is spent.
    pub inputs: Vec<InputView>,
    /// What is made.
    pub outputs: Vec<OutputView>,
    /// Transactions referred to; null for none, as the kernel says.
    pub references: Option<Vec<Hex>>,
    /// Extra in hex.
    pub extra: String,
    /// The payload hash, which names the transaction.
    pub hash: Hex,
    /// The bytes inspected.
    pub hex: String,
    /// For each input, signatures by key index.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signatures: Option<Vec<BTreeMap<u16, Signature>>>,
    /// An aggregated signature, where it has one instead.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub aggregated: Option<AggregatedView>,
}

/// A hash, shown without 0x as the ledger does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Hex(#[serde(with = "hex::serde")] pub [u8; 32]);

impl From<B256> for Hex {
    fn from(hash: B256) -> Self {
        Self(hash.0)
    }
}

/// One input: what is there of hash and index, genesis, deposit and mint.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct InputView {
    /// Transaction of the spent coin.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hash: Option<Hex>,
    /// Output index of the spent coin.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub index: Option<u16>,
    /// Genesis data in hex.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub genesis: Option<String>,
    /// Money from another chain.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deposit: Option<DepositView>,
    /// Money that the kernel makes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mint: Option<MintView>,
}

impl From<&Input> for InputView {
    fn from(input: &Input) -> Self {
        let spends = input.is_coin() || !input.coin.transaction.is_zero();
        Self {
            hash: spends.then_some(input.coin.transaction.into()),
            index: spends.then_some(input.coin.index),
            genesis: (!input.genesis.is_empty()).then(|| hex::encode(&input.genesis)),
            deposit: input.deposit.as_ref().map(DepositView::from),
            mint: input.mint.as_ref().map(MintView::from),
        }
    }
}

/// A deposit input.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DepositView {
    /// Kernel asset id of the other chain.
    pub chain: Hex,
    /// The asset's name there.
    pub asset_key: String,
    /// The transaction there.
    pub transaction: String,
    /// Output or event index there.
    pub index: u64,
    /// What came.
    pub amount: Amount,
}

impl From<&kernel::Deposit> for DepositView {
    fn from(deposit: &kernel::Deposit) -> Self {
        Self {
            chain: deposit.chain.into(),
            asset_key: text(&deposit.asset_key),
            transaction: text(&deposit.transaction),
            index: deposit.index,
            amount: deposit.amount,
        }
    }
}

/// A mint input.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct MintView {
    /// Who it is for.
    pub group: String,
    /// Number of the day.
    pub batch: u64,
    /// What is made.
    pub amount: Amount,
}

impl From<&kernel::Mint> for MintView {
    fn from(mint: &kernel::Mint) -> Self {
        Self { group: text(&mint.group), batch: mint.batch, amount: mint.amount }
    }
}

/// One output; empty fields are left out, as the kernel does.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct OutputView {
    /// What it is for: 0 is a coin under a script, 161 a withdrawal.
    #[serde(rename = "type")]
    pub kind: u8,
    /// What it holds.
    pub amount: Amount,
    /// One-time keys.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub keys: Vec<RawKey>,
    /// The sender's mask.
    #[serde(skip_serializing_if = "RawKey::is_zero")]
    pub mask: RawKey,
    /// Script in hex.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub script: String,
    /// Where a withdrawal goes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub withdrawal: Option<WithdrawalView>,
}

impl From<&Output> for OutputView {
    fn from(output: &Output) -> Self {
        Self {
            kind: output.kind.0,
            amount: output.amount,
            keys: output.keys.clone(),
            mask: output.mask,
            script: output.script.to_string(),
            withdrawal: output.withdrawal.as_ref().map(WithdrawalView::from),
        }
    }
}

/// Where a withdrawal goes.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct WithdrawalView {
    /// Address on the other chain.
    pub address: String,
    /// Its tag; empty for none.
    pub tag: String,
}

impl From<&Withdrawal> for WithdrawalView {
    fn from(withdrawal: &Withdrawal) -> Self {
        Self { address: text(&withdrawal.address), tag: text(&withdrawal.tag) }
    }
}

/// An aggregated signature.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AggregatedView {
    /// The signature.
    pub signature: Signature,
    /// Indexes into the keys of all inputs in a row.
    pub signers: Vec<u16>,
}

impl From<&SignedTransaction> for TransactionView {
    fn from(signed: &SignedTransaction) -> Self {
        let transaction = signed.transaction();
        let references: Vec<Hex> = transaction.references().iter().map(|hash| Hex(hash.0)).collect();
        let (signatures, aggregated) = match signed.signatures() {
            Signatures::Map(maps) => (Some(maps.clone()), None),
            Signatures::Aggregated { signature, signers } => {
                (None, Some(AggregatedView { signature: *signature, signers: signers.clone() }))
            }
        };
        Self {
            version: kernel::VERSION,
            asset: transaction.asset(),
            inputs: transaction.inputs().iter().map(InputView::from).collect(),
            outputs: transaction.outputs().iter().map(OutputView::from).collect(),
            references: (!references.is_empty()).then_some(references),
            extra: hex::encode(transaction.extra()),
            hash: transaction.hash().into(),
            hex: hex::encode(signed.encode()),
            signatures,
            aggregated,
        }
    }
}

/// Reads a transaction in hex, with or without 0x.
///
/// # Errors
/// One line that says at which byte and why.
pub fn transaction(text: &str) -> Result<TransactionView, InspectError> {
    let bytes = hex::decode(without_0x(text)).map_err(InspectError::Hex)?;
    Ok(TransactionView::from(&SignedTransaction::decode(&bytes)?))
}

/// An address of either kind.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "type")]
pub enum AddressView {
    /// One pair of keys.
    #[serde(rename = "XIN")]
    Xin(XinView),
    /// A set of members.
    #[serde(rename = "MIX")]
    Mix {
        /// The text itself.
        address: String,
        /// Signatures needed.
        threshold: u8,
        /// Members in the order of the text: UUIDs or XIN addresses.
        members: Vec<String>,
        /// The keys of members that are addresses.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        keys: Vec<MemberKeys>,
        /// SHA3-256 of the sorted members: `members_hash` at the ledger's API.
        hash: Hex,
    },
}

/// A XIN address.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct XinView {
    /// The text itself.
    pub address: String,
    /// Public spend key.
    pub spend_public: RawKey,
    /// Public view key.
    pub view_public: RawKey,
    /// SHA3-256 of both.
    pub hash: Hex,
}

/// The keys of a member, valid or not.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct MemberKeys {
    /// Public spend key.
    pub spend_public: RawKey,
    /// Public view key.
    pub view_public: RawKey,
    /// False for keys that the kernel would refuse to pay.
    pub valid: bool,
}

impl From<&XinAddress> for AddressView {
    fn from(address: &XinAddress) -> Self {
        Self::Xin(XinView {
            address: address.to_string(),
            spend_public: address.spend.raw(),
            view_public: address.view.raw(),
            hash: address.hash().into(),
        })
    }
}

impl From<&MixAddress> for AddressView {
    fn from(address: &MixAddress) -> Self {
        let name = |member: &MixMember| match member {
            MixMember::User(user) => user.to_string(),
            MixMember::Address(spend, view) => xin_text(spend, view),
        };
        let keys = |member: &MixMember| match member {
            MixMember::User(_) => None,
            MixMember::Address(spend, view) => Some(MemberKeys {
                spend_public: RawKey(*spend),
                view_public: RawKey(*view),
                valid: XinAddress::from_bytes(*spend, *view).is_ok(),
            }),
        };
        let members: Vec<String> = address.members.iter().map(name).collect();
        Self::Mix {
            address: address.to_string(),
            threshold: address.threshold,
            hash: members_text_hash(members.clone()).into(),
            keys: address.members.iter().filter_map(keys).collect(),
            members,
        }
    }
}

/// Reads a XIN or MIX address.
///
/// # Errors
/// One line that says why it is none.
pub fn address(text: &str) -> Result<AddressView, InspectError> {
    if text.starts_with("XIN") {
        return Ok(AddressView::from(&text.parse::<XinAddress>()?));
    }
    if text.starts_with("MIX") {
        return Ok(AddressView::from(&text.parse::<MixAddress>()?));
    }
    Err(InspectError::AddressKind)
}

/// An amount in its forms.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AmountView {
    /// Decimal with eight places, as the kernel writes it.
    pub amount: Amount,
    /// Number of 10⁻⁸ units.
    pub units: String,
    /// The kernel's encoding in hex: u16 length, magnitude.
    pub encoded: String,
    /// True if places beyond the eighth were cut off.
    pub floored: bool,
}

/// Reads a decimal, or a kernel encoding in hex after 0x.
///
/// # Errors
/// One line that says why it is neither; other than minimal encodings are refused.
pub fn amount(text: &str) -> Result<AmountView, InspectError> {
    let (amount, floored) = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(digits) => (integer::decode(&hex::decode(digits).map_err(InspectError::Hex)?)?, false),
        None => Amount::parse_floored(text)?,
    };
    let encoded = hex::encode(integer::encode(amount));
    Ok(AmountView { amount, units: amount.units().to_string(), encoded, floored })
}

fn without_0x(text: &str) -> &str {
    text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")).unwrap_or(text)
}

/// The kernel keeps texts as bytes; what is no UTF-8 is shown with marks of replacement.
fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Why something cannot be shown; each is one line.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum InspectError {
    /// Not hex.
    #[error("not hex: {0}")]
    Hex(hex::FromHexError),
    /// Bytes that are no canonical transaction or amount.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// No valid address.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// Neither kind of address.
    #[error("an address starts with XIN or MIX")]
    AddressKind,
    /// Not a decimal amount.
    #[error(transparent)]
    Amount(#[from] AmountError),
}

#[cfg(test)]
mod tests {
    use super::*;

    const XIN: &str =
        "XINSwYaJPnKiwBWqXm4i3e3My9GKguReMRyB1sRSexeHcQ7V66RWsicAiR2dokcQ5kiJsfY5QbEjTcqRQRCxkEyENBaz4AeB";
    const TX: &str = concat!(
        "77770005b9f49cf777dc4d03bc54cd1367eebca319f8603ea1ce18910d09e2c540c630d80001c513ffcc684e9585c76bd76245aa7d2def3b",
        "9f147422b59ab91db7852c9d97dd000000000000000000010000000405f5e1000001a6c306c3137c2bf4a8bfc95ea5165f7777020916aa36",
        "ee6ec394beb9a1e6a164286d4f092015ea327ba12145edd40ddede1bdd80f777c249128d38176e352a130003fffe01000000000000000974",
        "6573742d6d656d6f0000",
    );

    #[test]
    fn every_truncation_and_extension_should_be_refused_in_one_line() {
        let whole = transaction(TX).expect("a transaction");
        assert_eq!(whole.hex, TX);
        for end in 0..TX.len() {
            let error = transaction(&TX[..end]).expect_err("truncated").to_string();
            assert!(!error.is_empty() && !error.contains('\n'), "{error}");
        }
        let error = transaction(&format!("{TX}00")).expect_err("trailing").to_string();
        assert_eq!(error, format!("at byte {}, end: 1 bytes too many", TX.len() / 2));
        for end in 0..XIN.len() {
            assert!(address(&XIN[..end]).is_err());
        }
        assert!(address(&format!("{XIN}1")).is_err());
        assert_eq!(address("bitcoin"), Err(InspectError::AddressKind));
    }

    #[test]
    fn non_canonical_amounts_should_be_refused() {
        for text in ["0x", "0x0", "0x0001", "0x000100", "0x000000", "0x0101", "0xzz", "1e8", "-1", ""] {
            let error = amount(text).expect_err(text).to_string();
            assert!(!error.contains('\n'), "{error}");
        }
    }

    #[test]
    fn amounts_should_show_both_forms_and_flooring() {
        let view = amount("10.000000019").expect("a decimal");
        let json = serde_json::to_value(&view).expect("json");
        let expected = r#"{"amount":"10.00000001","units":"1000000001","encoded":"00043b9aca01","floored":true}"#;
        assert_eq!(json, serde_json::from_str::<serde_json::Value>(expected).expect("json"));
        let back = amount("0x00043b9aca01").expect("an encoding");
        assert_eq!(back, AmountView { floored: false, ..view });
    }
}
