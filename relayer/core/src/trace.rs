//! Names of derived transactions (DERIVATION.md B8).

use alloy_primitives::Address;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::AssetId;

/// An EVM chain by its EIP-155 id.
pub type ChainId = u64;

/// The name of a derived transaction: kind and parts, no time, no attempt. One trace names one transaction for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the parts are those of DERIVATION.md B8")]
pub enum Trace {
    /// What could not become a message goes back.
    Refund { output: Uuid },
    /// A collectible goes back.
    Return { output: Uuid },
    /// A coin at an address already left goes to the new one.
    Forward { output: Uuid },
    /// An unclaimed coin that a decision pays out.
    Release { output: Uuid },
    /// The payment that answers outbound `k`.
    Pay { chain: ChainId, k: u64 },
    /// The exact amount of outbound `k`, set apart at the group until its delay is over.
    Escrow { chain: ChainId, k: u64 },
    /// What follows an escrow: the payment or the bounce.
    Settle { chain: ChainId, k: u64 },
    /// An escrow coin follows a switch of membership.
    Move { chain: ChainId, k: u64, generation: u32 },
    /// Too many small coins become one, the `j`th time for outbound `k`.
    Consolidate { chain: ChainId, k: u64, j: u32 },
    /// The `j`th part of an asset's coins follows a switch of membership.
    Migrate { chain: ChainId, generation: u32, asset: AssetId, j: u32 },
}

impl Trace {
    /// The trace as the ledger's API knows it: UUIDv5 in the group's namespace (first 16 bytes of the group id) of
    /// the parts, joined by `/`: `pay/eip155:1/0x…/7`. `contract` gives the group contract of a chain.
    pub fn id(&self, group_id: &[u8; 32], contract: impl Fn(ChainId) -> Address) -> Uuid {
        let place = |chain: ChainId| format!("eip155:{chain}/0x{}", hex::encode(contract(chain)));
        let name = match self {
            Self::Refund { output } => format!("refund/{output}"),
            Self::Return { output } => format!("return/{output}"),
            Self::Forward { output } => format!("forward/{output}"),
            Self::Release { output } => format!("release/{output}"),
            Self::Pay { chain, k } => format!("pay/{}/{k}", place(*chain)),
            Self::Escrow { chain, k } => format!("escrow/{}/{k}", place(*chain)),
            Self::Settle { chain, k } => format!("settle/{}/{k}", place(*chain)),
            Self::Move { chain, k, generation } => format!("move/{}/{k}/{generation}", place(*chain)),
            Self::Consolidate { chain, k, j } => format!("consolidate/{}/{k}/{j}", place(*chain)),
            Self::Migrate { chain, generation, asset, j } => {
                format!("migrate/{}/{generation}/{asset}/{j}", place(*chain))
            }
        };
        let mut namespace = [0; 16];
        namespace.copy_from_slice(group_id.first_chunk::<16>().map_or(&[0; 16], |first| first));
        Uuid::new_v5(&Uuid::from_bytes(namespace), name.as_bytes())
    }
}
