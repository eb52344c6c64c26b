//! A member of a Lockstep group: the shell around `lockstep-core`, and the only place with IO.
//!
//! ```text
//! ledger watcher ─► core: operation ─► mailbox ─► frontier ─► checkpoint ─► peer (pull) ─► evm submitter
//! evm watcher ─► proof ─► core: outbound ─► book ─► coins ─► payout ─► peer (pull) ─► ledger sender
//! ```

pub mod answers;
pub mod api;
pub mod backoff;
pub mod ceremony;
pub mod checkpoints;
pub mod cli;
pub mod clock;
pub mod config;
pub mod devnet;
pub mod divergence;
pub mod driver;
pub mod evm;
pub mod exit;
pub mod generations;
pub mod govern;
pub mod harden;
pub mod http;
pub mod keys;
pub mod ledger;
pub mod masks;
pub mod member;
pub mod offer;
pub mod payouts;
pub mod peer;
pub mod rosters;
pub mod secrets;
pub mod signer;
pub mod startup;
pub mod store;
pub mod supervisor;
pub mod telemetry;
pub mod ticks;
pub mod wanted;
pub mod watch;
pub mod witnesses;
pub mod world;
