//! The Rust core and the contracts on the same random cases: what members derive and what the chain derives must be the
//! same bytes. `LOCKSTEP_DIFFERENTIAL_CASES` says how many cases of each kind (`make differential` takes 10,000),
//! `LOCKSTEP_DIFFERENTIAL_SEED` which ones.

#![expect(clippy::arithmetic_side_effects, reason = "a panic is how a test fails")]

mod deliveries;
mod harness;
mod payloads;
mod random;
mod signatures;
mod trees;
