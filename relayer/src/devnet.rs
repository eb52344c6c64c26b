//! A development network on one machine, and what it runs beside its members: a chain of its own, and a ledger.

pub mod anvil;
pub mod ceremony;
pub mod demo;
pub mod examples;
pub mod home;
pub mod ledger;
pub mod network;
pub mod process;
pub mod stay;
pub mod users;
