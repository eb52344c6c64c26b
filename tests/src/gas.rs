//! Gas of deliveries: `gasUsed` of transactions mined by a local chain, with the calldata that a member would send.
//!
//! Every figure is a function of the contracts' bytecode alone: keys, ids, payloads and account nonces are fixed, and each
//! case starts from the same state of the chain.

mod cases;
mod chain;
mod members;
mod rows;
mod table;

pub use cases::measure;
pub use rows::{Bar, Row, differences, missed_bars};
pub use table::{markdown, table};
