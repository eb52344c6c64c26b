//! Five members, two chains, one ledger, random interleavings: the adversarial simulator of the executable model over the
//! real derivation core. Every seed is a world of its own; every check is made in each.
//!
//! | check | what must never happen |
//! |---|---|
//! | D | two members derive different transactions under one trace, or end in different states |
//! | C | one coin in two transactions |
//! | S | something is stuck: a record, an escrow, a transaction that never becomes final, an outbound without its answer |
//! | V | coins and books differ, sums differ, money comes from nowhere |
//! | T | a coin is credited that is neither a deposit nor a bounce |
//! | W | a bounce that was decided in time is ignored |
//!
//! `LOCKSTEP_SEED=n` replays one seed, `LOCKSTEP_SEEDS=n` runs so many.

#![expect(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "a panic is how a test fails; the amounts of this world are small"
)]

mod checks;
mod ledger;
mod world;

use std::collections::BTreeMap;
use std::fmt;

use self::world::{Fault, World};

/// Seeds of a plain `cargo test`.
const SEEDS: u64 = 2_000;
/// Seeds within which a faulty member must be found out.
const FAULTY_SEEDS: u64 = 40;

/// A broken promise.
#[derive(Clone, Debug)]
pub(crate) struct Broken {
    check: char,
    what: String,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "check {}: {}", self.check, self.what)
    }
}

pub(crate) type Checked<T = ()> = Result<T, Broken>;

pub(crate) fn broken<T>(check: char, what: impl Into<String>) -> Checked<T> {
    Err(Broken { check, what: what.into() })
}

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable} is a number, not `{text}`")))
}

#[test]
fn members_should_agree_in_every_interleaving() {
    let seeds = match number("LOCKSTEP_SEED") {
        Some(seed) => seed..=seed,
        None => 0..=number("LOCKSTEP_SEEDS").unwrap_or(SEEDS).saturating_sub(1),
    };
    let (mut count, mut kinds) = (0, BTreeMap::<&str, u64>::new());
    for seed in seeds {
        let mut world = World::new(seed, None);
        if let Err(broken) = world.run() {
            panic!("{broken}\nreplay with LOCKSTEP_SEED={seed}");
        }
        count += 1;
        for kind in world.kinds() {
            *kinds.entry(kind).or_default() += 1;
        }
    }
    println!("{count} seeds: {kinds:?}");
    if count >= 100 {
        for kind in ["refund", "return", "forward", "pay", "escrow", "settle", "move", "consolidate", "migrate"] {
            assert!(kinds.contains_key(kind), "no seed derived a {kind}");
        }
        assert!(kinds.contains_key("bounce") && kinds.contains_key("parked"));
    }
}

/// The checks can fail: one member that breaks the rule of rules is found out, and by divergence.
#[test]
fn a_member_with_another_view_should_be_found_out() {
    for fault in [Fault::Order, Fault::Knowledge, Fault::Clock] {
        let found = (0..FAULTY_SEEDS).filter_map(|seed| World::new(seed, Some(fault)).run().err());
        let found: Vec<Broken> = found.collect();
        let by_divergence = found.iter().filter(|broken| broken.check == 'D').count();
        println!("{fault:?}: {} of {FAULTY_SEEDS} seeds break, {by_divergence} by divergence", found.len());
        assert!(by_divergence > 0, "{fault:?} was never found out");
    }
}

#[test]
fn a_seed_should_replay() {
    let run = |seed| {
        let mut world = World::new(seed, None);
        world.run().expect("a sound world");
        (world.kinds(), world.digest())
    };
    assert_eq!(run(7), run(7));
    assert_ne!(run(7).1, run(8).1);
}
