//! What a development network runs beside its members: a chain of its own, and a ledger.

pub mod anvil;
pub mod ledger;
