//! Simulated key ceremonies: every member runs the real state machine, everything between them is under one seeded hand.
//!
//! A run makes a key, hands it on to another set of members, and makes a round anew when it failed. Items are pulled in any
//! order and more than once, members crash at any record and come back, up to f of them misbehave ([`bad`]), somebody holds
//! back what goes over some lines, and items of earlier rounds are replayed. `checks.rs` says what must hold. A run is a
//! function of its seed.
//!
//! That the checks can fail was tried with broken state machines, one fault at a time. Within 40 seeds these were found:
//! shares that are not checked against the commitment, receipts whose signature is not, a vote for every set that a leader
//! shows, a set elected by half a quorum, a seed forgotten in a crash, items forgotten in a crash. These need rarer
//! coincidences than 40 seeds have, and fail tests of `lockstep_core::dkg` at once: proofs of possession and constants of a
//! reshare that are not checked, and outcomes with shares that everybody knows.

#![expect(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    reason = "the numbers of this world are small, and a panic is one way to fail a seed"
)]

pub mod bad;
mod bench;
mod checks;
mod node;
mod people;
mod rotation;
mod world;

use std::collections::{BTreeMap, BTreeSet};

use lockstep_core::dkg::{Kind, Phase, Proposal, tolerated};
use rand::RngExt as _;
use rand::SeedableRng as _;
use rand::rngs::StdRng;

pub use bad::Bad;
pub use bench::{Row, bench};
pub use people::{Holder, Person, group_of, proposal};
pub use world::{Ending, World};

const PHASES: [Phase; 5] = [Phase::Join, Phase::Deal, Phase::Log, Phase::Agree, Phase::Finish];

/// What happened how often.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Endings, crashes, keys handed on.
    pub counts: BTreeMap<String, u64>,
    /// What came of each way to misbehave, by name.
    pub misbehaviour: BTreeMap<String, Outcomes>,
}

/// What came of one way to misbehave.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outcomes {
    /// Members that did it.
    pub done: u64,
    /// The others made a key.
    pub key: u64,
    /// The round had to be repeated.
    pub retry: u64,
    /// Honest members named it.
    pub named: u64,
}

impl Tally {
    fn count(&mut self, what: impl Into<String>) {
        *self.counts.entry(what.into()).or_default() += 1;
    }

    fn misbehaved(&mut self, bad: &Bad, made: bool, named: bool) {
        let outcomes = self.misbehaviour.entry(bad.name()).or_default();
        outcomes.done += 1;
        outcomes.key += u64::from(made);
        outcomes.retry += u64::from(!made);
        outcomes.named += u64::from(named);
    }

    /// Adds another run.
    pub fn add(&mut self, other: &Self) {
        for (what, number) in &other.counts {
            *self.counts.entry(what.clone()).or_default() += number;
        }
        for (bad, outcomes) in &other.misbehaviour {
            let Outcomes { done, key, retry, named } = self.misbehaviour.entry(bad.clone()).or_default();
            *done += outcomes.done;
            *key += outcomes.key;
            *retry += outcomes.retry;
            *named += outcomes.named;
        }
    }

    /// Ways to misbehave that nobody tried.
    pub fn untried(&self) -> Vec<&'static str> {
        Bad::NAMES.into_iter().filter(|name| !self.misbehaviour.contains_key(*name)).collect()
    }
}

/// One ceremony of a run: what is made, who misbehaves how.
struct Plan<'a> {
    proposal: Proposal,
    people: &'a [Person],
    holders: &'a BTreeMap<u8, Holder>,
    bad: BTreeMap<u8, Bad>,
    /// From whom to whom nothing comes until the receiver's deadline of a phase has passed.
    cuts: BTreeMap<(u8, u8), Phase>,
}

/// Runs a seed: a first key, then a reshare, each repeated without misbehaviour if it failed.
///
/// # Errors
/// The first thing that does not hold.
pub fn run(seed: u64) -> Result<Tally, String> {
    let mut random = StdRng::seed_from_u64(seed);
    let mut tally = Tally::default();
    let size = [3, 4, 4, 5, 7][random.random_range(0..5)];
    let people: Vec<Person> = (1..=12).map(Person::new).collect();
    let numbers: Vec<u8> = (1..=size).collect();
    let threshold = threshold(size, &mut random);
    let mut holders = BTreeMap::new();
    let mut round = 0;

    let members = pick(&people, &numbers);
    let make = |round, holders: &BTreeMap<u8, Holder>| proposal(Kind::First, round, &members, threshold, holders);
    holders = until_done(&mut random, &mut tally, &people, &holders, &mut round, make)?;
    let key = *group_of(&holders).key().key();

    let next = change(&numbers, &mut random);
    let threshold = self::threshold(u8::try_from(next.len()).unwrap_or(u8::MAX), &mut random);
    let kind = if random.random_bool(0.15) { Kind::Fresh } else { Kind::Reshare };
    let members = pick(&people, &next);
    let make = |round, holders: &BTreeMap<u8, Holder>| proposal(kind, round, &members, threshold, holders);
    let old = holders;
    let new = until_done(&mut random, &mut tally, &people, &old, &mut round, make)?;
    let kept = *group_of(&new).key().key() == key;
    if kept != (kind == Kind::Reshare) {
        return Err(format!("a {kind:?} ceremony and the key is {}", if kept { "the old one" } else { "another" }));
    }
    checks::generations_do_not_mix(&old, &new)?;
    if !kept {
        rotation::rotates(&old, &new)?;
        tally.count("rotation to a fresh key, proved by both");
    }
    tally.count(format!("key handed on ({kind:?}, {} to {} members)", numbers.len(), next.len()));
    Ok(tally)
}

/// Mostly the default, sometimes another majority.
fn threshold(size: u8, random: &mut StdRng) -> u8 {
    if random.random_bool(0.7) {
        return lockstep_core::group::default_threshold(size);
    }
    random.random_range(size / 2 + 1..=size)
}

fn pick(people: &[Person], numbers: &[u8]) -> Vec<Person> {
    numbers.iter().map(|number| people[usize::from(*number) - 1].clone()).collect()
}

/// Another set of members: some leave, some join, some are replaced, or nobody.
fn change(numbers: &[u8], random: &mut StdRng) -> Vec<u8> {
    let mut next = numbers.to_vec();
    if random.random_bool(0.5) {
        next.remove(random.random_range(0..next.len()));
    }
    let joining = if next.len() < 3 { 2 } else { random.random_range(0..=2) };
    next.extend((8..).take(joining));
    if next.len() > 7 {
        next.truncate(7);
    }
    next
}

/// Runs rounds until one succeeds. Only the first has misbehaving members; whatever was said in it is replayed later.
fn until_done(
    random: &mut StdRng,
    tally: &mut Tally,
    people: &[Person],
    holders: &BTreeMap<u8, Holder>,
    round: &mut u32,
    make: impl Fn(u32, &BTreeMap<u8, Holder>) -> Proposal,
) -> Result<BTreeMap<u8, Holder>, String> {
    let mut stale = Vec::new();
    for attempt in 0..2 {
        *round += random.random_range(1..4);
        let proposal = make(*round, holders);
        let bad = if attempt == 0 { choose_bad(&proposal, people, holders, random) } else { BTreeMap::new() };
        let is_cut = attempt == 0 && random.random_bool(0.15);
        let cuts = if is_cut { choose_cuts(&proposal, people, holders, random) } else { BTreeMap::new() };
        let plan = Plan { proposal, people, holders, bad, cuts };
        let mut world = World::new(&plan, random, &stale);
        let ending = world.run(random)?;
        checks::ending(&plan, &world, &ending, tally)?;
        stale = world.said();
        if let Ending::Key(holders) = ending {
            checks::thresholds(&holders)?;
            return Ok(holders);
        }
    }
    Err("two rounds failed, the second without anybody misbehaving".into())
}

/// Up to f misbehaving members, of the dealers as of the players.
fn choose_bad(
    proposal: &Proposal,
    people: &[Person],
    holders: &BTreeMap<u8, Holder>,
    random: &mut StdRng,
) -> BTreeMap<u8, Bad> {
    let players: Vec<u8> = number_of(proposal, people);
    let (dealers, dealt) = match proposal.kind() {
        Kind::Reshare => (holders.keys().copied().collect(), group_of(holders).key().threshold()),
        Kind::First | Kind::Fresh => (players.clone(), proposal.threshold()),
    };
    let (mut of_players, mut of_dealers) =
        (tolerated(players.len(), proposal.threshold()), tolerated(dealers.len(), dealt));
    let everybody: BTreeSet<u8> = players.iter().chain(&dealers).copied().collect();
    let leader = players[usize::try_from(proposal.round()).unwrap_or_default() % players.len()];
    let mut bad = BTreeMap::new();
    for _ in 0..2 {
        let number = if random.random_bool(0.2) {
            leader
        } else {
            *everybody.iter().nth(random.random_range(0..everybody.len())).unwrap_or(&leader)
        };
        let (plays, deals) = (players.contains(&number), dealers.contains(&number));
        if bad.contains_key(&number) || (plays && of_players == 0) || (deals && of_dealers == 0) {
            continue;
        }
        of_players -= usize::from(plays);
        of_dealers -= usize::from(deals);
        bad.insert(number, Bad::random(random, proposal.kind(), number == leader));
    }
    bad
}

/// Some lines on which somebody holds everything back, for a while each.
fn choose_cuts(
    proposal: &Proposal,
    people: &[Person],
    holders: &BTreeMap<u8, Holder>,
    random: &mut StdRng,
) -> BTreeMap<(u8, u8), Phase> {
    let everybody: BTreeSet<u8> = number_of(proposal, people).into_iter().chain(holders.keys().copied()).collect();
    let everybody: Vec<u8> = everybody.into_iter().collect();
    let mut one = || everybody[random.random_range(0..everybody.len())];
    let lines: Vec<_> = (0..3).map(|_| (one(), one())).collect();
    lines.into_iter().map(|line| (line, PHASES[random.random_range(0..PHASES.len())])).collect()
}

fn number_of(proposal: &Proposal, people: &[Person]) -> Vec<u8> {
    let number = |identity: &[u8; 32]| people.iter().find(|person| person.public() == *identity).map(|it| it.number);
    proposal.members().iter().filter_map(|member| number(member.identity.as_bytes())).collect()
}

/// Makes a key and hands it on once for each record that a member keeps, and lets the member crash there: before the record
/// is durable, or right after. Returns in how many ceremonies somebody crashed.
///
/// # Errors
/// A ceremony without a key, or a crash after which the member says something else.
pub fn crash_everywhere(after: bool) -> Result<usize, String> {
    let people: Vec<Person> = (1..=12).map(Person::new).collect();
    let mut crashes = 0;
    for at in 1.. {
        // The same hand each time, so that only the crash differs.
        let mut random = StdRng::seed_from_u64(7);
        let crash = node::Crash { at, after };
        let members = pick(&people, &[1, 2, 3, 4]);
        let first = proposal(Kind::First, 1, &members, 3, &BTreeMap::new());
        let (old, fell) = crash_once(first, &people, &BTreeMap::new(), crash, &mut random)?;
        let members = pick(&people, &[1, 2, 3, 5, 8]);
        let reshare = proposal(Kind::Reshare, 2, &members, 4, &old);
        let (new, fell_again) = crash_once(reshare, &people, &old, crash, &mut random)?;
        if group_of(&new).key().key() != group_of(&old).key().key() {
            return Err("a crash changed the key".into());
        }
        if !fell && !fell_again {
            break;
        }
        crashes += usize::from(fell) + usize::from(fell_again);
    }
    Ok(crashes)
}

fn crash_once(
    proposal: Proposal,
    people: &[Person],
    holders: &BTreeMap<u8, Holder>,
    crash: node::Crash,
    random: &mut StdRng,
) -> Result<(BTreeMap<u8, Holder>, bool), String> {
    let plan = Plan { proposal, people, holders, bad: BTreeMap::new(), cuts: BTreeMap::new() };
    let mut world = World::new(&plan, random, &[]);
    for (number, node) in &mut world.nodes {
        // Member 2 leads the first round, member 3 the second.
        node.crash = (*number == 2 || *number == 3).then_some(crash);
    }
    let ending = world.run(random)?;
    checks::ending(&plan, &world, &ending, &mut Tally::default())?;
    let fell = world.nodes.values().any(|node| node.crashes > 0);
    match ending {
        Ending::Key(holders) => Ok((holders, fell)),
        Ending::Retry => Err(format!("no key after {crash:?}")),
    }
}
