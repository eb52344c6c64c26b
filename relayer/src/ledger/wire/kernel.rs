//! The kernel's RPC (`rpc/internal/server`): one POST, always HTTP 200, `{"data": …}` or `{"error": "text"}`.

use lockstep_core::{Amount, AssetId};
use serde::{Deserialize, Serialize};

use super::{Hex32, HexBytes, blank, null_as_empty};

/// A call.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RpcRequest {
    /// Must be a string where present; a number is a decoding error at the kernel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// `gettransaction`, `sendrawtransaction`, `getutxo`, `getkey`, …
    pub method: String,
    /// By position.
    #[serde(default)]
    pub params: Vec<serde_json::Value>,
}

/// An answer. Unknown things are `{"data": null}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RpcReply<T> {
    /// The echoed id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The result; null where the thing is not known.
    #[serde(default = "Option::default")]
    pub data: Option<T>,
    /// The refusal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// Result of `sendrawtransaction`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SentTransaction {
    /// Payload hash. It says admitted, not final.
    pub hash: Hex32,
}

/// Result of `gettransaction`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KernelTransaction {
    /// 5.
    pub version: u8,
    /// Kernel asset id.
    pub asset: AssetId,
    /// What it spends.
    pub inputs: Vec<KernelInput>,
    /// What it makes.
    pub outputs: Vec<KernelOutput>,
    /// Transactions it names.
    #[serde(default, deserialize_with = "null_as_empty")]
    pub references: Vec<Hex32>,
    /// The memo.
    #[serde(default)]
    pub extra: HexBytes,
    /// Payload hash.
    pub hash: Hex32,
    /// The signed bytes; they differ between nodes, so nothing may hash them.
    pub hex: HexBytes,
    /// Present once final; it differs between nodes, so only its presence counts.
    #[serde(default, with = "blank", skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<Hex32>,
}

/// What a transaction spends: one of the forms is set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KernelInput {
    /// The spent output's transaction.
    #[serde(default, with = "blank", skip_serializing_if = "Option::is_none")]
    pub hash: Option<Hex32>,
    /// The spent output's index.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub index: Option<u16>,
    /// Value from another chain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deposit: Option<KernelDeposit>,
    /// Value from nowhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mint: Option<KernelMint>,
    /// The first transaction of all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub genesis: Option<HexBytes>,
}

/// A deposit input.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KernelDeposit {
    /// The chain it comes from.
    pub chain: Hex32,
    /// The asset there.
    pub asset_key: String,
    /// The transaction there.
    pub transaction: String,
    /// The index there.
    pub index: u64,
    /// How much.
    pub amount: Amount,
}

/// A mint input.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KernelMint {
    /// Who it is for.
    pub group: String,
    /// Which one.
    pub batch: u64,
    /// How much.
    pub amount: Amount,
}

/// What a transaction makes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KernelOutput {
    /// 0 for a coin that a script guards.
    #[serde(rename = "type")]
    pub kind: u8,
    /// How much.
    pub amount: Amount,
    /// One-time keys.
    #[serde(default, deserialize_with = "null_as_empty")]
    pub keys: Vec<Hex32>,
    /// R = r·B.
    #[serde(default, with = "blank", skip_serializing_if = "Option::is_none")]
    pub mask: Option<Hex32>,
    /// `fffe` and the threshold.
    #[serde(default)]
    pub script: HexBytes,
}

/// Result of `getutxo`. Spent outputs stay readable; there is no asset.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KernelUtxo {
    /// 0 for a coin that a script guards.
    #[serde(rename = "type")]
    pub kind: u8,
    /// Its transaction.
    pub hash: Hex32,
    /// Its index.
    pub index: u16,
    /// How much.
    pub amount: Amount,
    /// One-time keys.
    #[serde(default, deserialize_with = "null_as_empty")]
    pub keys: Vec<Hex32>,
    /// R = r·B.
    #[serde(default, with = "blank", skip_serializing_if = "Option::is_none")]
    pub mask: Option<Hex32>,
    /// `fffe` and the threshold.
    #[serde(default)]
    pub script: HexBytes,
    /// The payload it is reserved for; no proof that it is spent.
    #[serde(default, with = "blank", skip_serializing_if = "Option::is_none")]
    pub lock: Option<Hex32>,
}

/// Result of `getkey`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KernelKey {
    /// The transaction that reserved the key, at admission and before finality.
    #[serde(default, with = "blank")]
    pub transaction: Option<Hex32>,
}
