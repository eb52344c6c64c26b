//! The ledger as a client sees it: the Safe API and the kernel's RPC.

pub mod wire;
