//! The ledger as a client sees it: the Safe API and the kernel's RPC.

mod auth;
pub mod error;
pub mod kernel;
pub mod keystore;
pub mod lookup;
pub mod multisig;
pub mod pay;
pub mod safe;
mod stored;
pub mod watcher;
pub mod wire;

pub use error::{LedgerError, Refusal};
pub use kernel::KernelNodes;
pub use keystore::{Keystore, KeystoreError, Seed};
pub use lookup::{FinalCoin, LookupError, final_coins, look_up};
pub use multisig::{REVOCATIONS_MAX, request_id};
pub use pay::{Paid, PayError, Payment, balance, pay, store};
pub use safe::{ClientError, OutputQuery, SafeApi, SnapshotQuery, Statement};
pub use watcher::{ListOutputs, Watcher};
