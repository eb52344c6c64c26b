//! The embedded ledger over HTTP, with the production client: each rule's refusal, what it lets
//! through, and what each fault does.

pub(crate) mod bench;
pub(crate) mod caller;
mod calls;
mod envelope;
mod faults;
mod group;
mod kernel;
mod nodes;
mod payment;
mod reading;
mod signing;
mod storage;
