//! The ledger's kernel: keys, addresses and transactions (version 5), pure.
//!
//! Formats follow the Mixin kernel v0.19.2. A transaction is decoded strictly: what this module accepts it encodes back to
//! the same bytes, and its limits are the kernel's. What needs the ledger's state (coins, locks, finality) is not judged
//! here.
//!
//! ```text
//! hash ─► key ─► ghost (one-time keys) ─► signature ─► transaction ─► sign
//!                  address                 encoding, amount ┘        └► structure, inspect
//! ```

pub mod address;
pub mod aggregate;
pub mod amount;
pub mod encoding;
pub mod ghost;
pub mod hash;
pub mod ids;
pub mod inspect;
pub mod key;
pub mod script;
pub mod sign;
pub mod signature;
pub mod structure;
pub mod transaction;

pub use address::{AddressError, MixAddress, XinAddress};
pub use encoding::DecodeError;
pub use ghost::GhostScalar;
pub use key::{KeyError, PrivateKey, PublicKey, RawKey};
pub use script::Script;
pub use sign::{CoinKeys, SignError};
pub use signature::Signature;
pub use structure::{StructureError, TransactionKind};
pub use transaction::{
    Deposit, Input, Mint, Output, OutputType, Signatures, SignedTransaction, Transaction, TransactionError, Withdrawal,
};
