//! Every rule of Lockstep as plain functions and state machines.
//!
//! Nothing here reads a clock, a file, a socket or entropy, and nothing iterates in an unordered way: the same input gives
//! the same bytes at every member. Data flows one way, and the modules read in that order:
//!
//! ```text
//! output ─► operation ─► derive (inbound) ─► message ─► frontier ─► checkpoint ─► bls
//! record ─► derive (outbound) ─► book, coins ─► payout ─► mixin (kernel transaction)
//! ```

pub mod account;
pub mod amount;
pub mod asset;
pub mod bls;
pub mod checkpoint;
pub mod derive;
pub mod dkg;
pub mod frontier;
pub mod govern;
pub mod group;
pub mod history;
pub mod machine;
pub mod mailbox;
pub mod mask;
pub mod message;
pub mod mixin;
pub mod operation;
pub mod output;
pub mod payout;
mod reader;
pub mod smart_account;
pub mod trace;

pub use account::{Account, Mix, MixMember};
pub use alloy_primitives::{Address, B256, Bytes, FixedBytes};
pub use amount::Amount;
pub use asset::AssetId;
pub use uuid::Uuid;
