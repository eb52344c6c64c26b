//! The simulator: five members over the real core, with everything else in memory and under one seeded hand.
//!
//! ```text
//! users ─► ledger ─► members (durable disk + volatile machine) ─► chains ─► members ─► ledger
//!                        └───── network of pulls: loses, delays, repeats ─────┘
//! ```
//!
//! Every effect (a commit, a guard, a packet, a call of the ledger or of a chain) is one step of the scheduler, so that a
//! crash falls between any two of them. A crash takes the volatile half of a member; a restart derives it again from the
//! disk. Members do what the service does, in its order: `member.rs` stands for `driver.rs`, `member/certify.rs` for
//! `checkpoints.rs` and `offer.rs`, `member/payouts.rs` for `payouts.rs`, `member/answers.rs` for `answers.rs`,
//! `member/generations.rs` for `rosters.rs`, `signer.rs` and `watch.rs`. The ceremonies between two generations are not
//! simulated here: their outcomes are dealt, and reach each member at a time of its own, before or after the switch.
//!
//! Faults stop after a while, lies in answers do not; then everything must drain. `checks.rs` holds the invariants, one
//! function each. A run is a function of its options: own generator, ordered maps, no clock, no threads.

#![expect(
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    clippy::indexing_slicing,
    reason = "the numbers of this world are small, and a panic is one way to fail a seed"
)]

mod chain;
mod checks;
mod disk;
mod ledger;
mod liar;
mod member;
mod network;
mod setup;
mod users;
mod world;

use std::collections::BTreeMap;
use std::fmt;

/// Scheduler steps with faults in a run that does not say otherwise.
pub const STEPS: u64 = 6_000;

/// What one run is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Seed of all randomness.
    pub seed: u64,
    /// Steps during which faults happen and users act.
    pub steps: u64,
    /// Members that lie, together where it helps them. One of five is what the group must bear.
    pub liars: u8,
    /// Members come and go, up to three times.
    pub members_change: bool,
    /// The process of the first developer sees masks in the place of its users.
    pub has_private: bool,
    /// How an honest member (or its disk) breaks the discipline; the run must fail then.
    pub fault: Option<Fault>,
    /// Prints what happens.
    pub verbose: bool,
}

impl Options {
    /// A run of `seed` as the group must bear it: one liar, sound disks. Every third world has a private process.
    pub const fn of_seed(seed: u64) -> Self {
        let has_private = seed % 3 == 2;
        Self { seed, steps: STEPS, liars: 1, members_change: true, has_private, fault: None, verbose: false }
    }
}

/// A broken discipline, to show that the checks can fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// A disk that forgets its guard rows in a crash.
    ForgetsGuards,
    /// A member that answers with a partial signature and writes its guard afterwards.
    SpeaksFirst,
    /// A member that signs a payout without having promised its coins.
    SignsUnguarded,
    /// A disk that keeps one half of a commit when the member crashes in it.
    TearsCommits,
    /// A member that reads another time than the ledger's.
    OwnClock,
    /// A disk that forgets in a crash which bytes it had fixed for a payout.
    ForgetsPayloads,
    /// A member that reads on behind a switch before it knows which addresses there are.
    ReadsPastSwitch,
    /// All members register payouts only under the request ids that everybody can compute.
    PublicRequestsOnly,
    /// A member that gives its part of a seed before it has seen the proof that the attempt before is dead.
    GivesSeedsAhead,
    /// A member that gives its part of a mask before it has met the sender in its place.
    GivesMasksAhead,
}

impl Fault {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::ForgetsGuards,
        Self::SpeaksFirst,
        Self::SignsUnguarded,
        Self::TearsCommits,
        Self::OwnClock,
        Self::ForgetsPayloads,
        Self::ReadsPastSwitch,
        Self::PublicRequestsOnly,
        Self::GivesSeedsAhead,
        Self::GivesMasksAhead,
    ];
}

/// A broken invariant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    /// Name of the function in `checks.rs`, or `contradiction` where a member itself found out.
    pub invariant: &'static str,
    /// What was seen.
    pub what: String,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.invariant, self.what)
    }
}

impl std::error::Error for Broken {}

/// The result of everything that can break an invariant.
type Checked<T = ()> = Result<T, Broken>;

fn broken<T>(invariant: &'static str, what: impl Into<String>) -> Checked<T> {
    Err(Broken { invariant, what: what.into() })
}

/// What happened in a run, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally(pub BTreeMap<&'static str, u64>);

impl Tally {
    fn count(&mut self, what: &'static str) {
        *self.0.entry(what).or_default() += 1;
    }

    fn set(&mut self, what: &'static str, number: usize) {
        self.0.insert(what, number.try_into().unwrap_or(u64::MAX));
    }

    /// Adds the figures of another run.
    pub fn add(&mut self, other: &Self) {
        for (what, number) in &other.0 {
            *self.0.entry(what).or_default() += number;
        }
    }
}

/// Runs one world to its end.
///
/// # Errors
/// The first broken invariant, with everything that happened before it.
pub fn run(options: Options) -> Result<Tally, (Broken, Tally)> {
    let mut world = match world::World::new(options) {
        Ok(world) => world,
        Err(broken) => return Err((broken, Tally::default())),
    };
    match world.run() {
        Ok(()) => Ok(world.tally()),
        Err(broken) => Err((broken, world.tally())),
    }
}
