//! From a derived transaction to bytes that the ledger takes (DERIVATION.md C).
//!
//! ```text
//! Derived ─► Plan (coins, receivers, extra) ─► key service ─► Transaction ─► guard ─► sign ─► merge
//!                                                                  └► attempts (again, with other keys)
//! ```
//!
//! Everything here is a function of what all members share, so all of them build the same payload. The seed of the keys,
//! which only t of them can make, is handed in.

mod attempts;
mod guard;
mod plan;
mod seed;
mod sign;

pub use attempts::{AttemptError, Attempts, DeadPayload, Verdict};
pub use guard::{GuardConflict, guard};
pub use plan::{GhostKeys, GhostRequest, Plan, PlanError, PlannedOutput, ResolvedCoin};
pub use seed::{SEED_DST, Seed, seed_digest};
pub use sign::{InputSignature, PartError, merge, own_key, sign, verify_part, with_part};
