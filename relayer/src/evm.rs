//! EVM chains: start-up checks, what is read of them, and what is submitted to them.
//!
//! Reads that lead to a signature take only final blocks and wait on any doubt; there is no fallback to another endpoint.

pub mod abi;
pub mod account;
pub mod accounts;
pub mod calldata;
pub mod check;
pub mod code;
pub mod fees;
pub mod governance;
pub mod heads;
pub mod plan;
pub mod provider;
pub mod quarantine;
pub mod submission;
pub mod submitter;
pub mod watcher;
