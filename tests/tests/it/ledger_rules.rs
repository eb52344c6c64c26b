//! The embedded ledger over HTTP, with the production client: each rule's refusal, and what it lets through.

pub(crate) mod bench;
mod envelope;
mod group;
mod kernel;
mod payment;
