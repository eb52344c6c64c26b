//! A ledger coin paid to the group, as every member applies it.

use alloy_primitives::{B256, Bytes};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{Amount, AssetId, Mix};

/// An output's place on the ledger: transaction hash and output index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct CoinId {
    /// Payload hash of the transaction (BLAKE3-256).
    pub transaction: B256,
    /// Index of the output.
    pub index: u16,
}

/// An output of the group. Amount, asset, inputs and extra were checked on the kernel before it becomes this type;
/// sequence, senders and time are the ledger API's word (DERIVATION.md D).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Output {
    /// Identity on the ledger's API: MD5-UUID of `hash:index`.
    pub id: Uuid,
    /// Place in the order that all members share.
    pub sequence: u64,
    /// Ledger time in nanoseconds since 1970.
    pub created_at: u64,
    /// Where the coin lies.
    pub coin: CoinId,
    /// Kernel asset id.
    pub asset: AssetId,
    /// What the coin holds.
    pub amount: Amount,
    /// Who paid, where the ledger's API says so.
    pub senders: Option<Mix>,
    /// The transaction's extra: a memo, shared by all its outputs.
    pub extra: Vec<u8>,
    /// The payload that the memo names, where it was found: the extra of one of the transaction's references. Nothing that is
    /// not in the transaction's hash already.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stored: Option<Bytes>,
    /// Set for a collectible.
    pub inscription: Option<B256>,
    /// The coins that its transaction spends.
    pub spends: Vec<CoinId>,
    /// Generation of the group's ledger address that it was paid to.
    pub generation: u32,
    /// Found behind the cursor under a signed checkpoint: waits for a decision that admits it.
    pub late: bool,
}
