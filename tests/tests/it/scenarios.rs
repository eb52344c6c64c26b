//! Scenarios of the executable model: the derivation core must reproduce each `expected`, in every interleaving of the
//! ledger's order with the orders of the chains.
//!
//! `tests/scenarios` holds the model's own twenty. `make test-scenarios DIR=folder` runs any other folder of such files
//! through the environment variable `LOCKSTEP_SCENARIOS`.

#![expect(clippy::indexing_slicing, reason = "a panic is how a test fails; JSON answers null to a missing key")]

mod model;
pub(crate) mod names;

use std::collections::{BTreeMap, VecDeque};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use lockstep_core::derive::{Applied, Core, Derived, Effect, Outbound, Record};
use lockstep_core::message::Message;
use lockstep_core::operation::Memo;
use lockstep_core::output::Output;
use lockstep_core::trace::{ChainId, Trace};
use lockstep_core::{B256, Uuid};
use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::Value;

use self::model::Scenario;

/// Random interleavings of each file, besides the plain order.
const INTERLEAVINGS: u64 = 40;

/// One member that is given a scenario, with everything that it derived.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) core: Core,
    pub(crate) applied: Vec<Applied>,
    pub(crate) mailboxes: BTreeMap<Uuid, Vec<Message>>,
    /// Refunds and returns, in ledger order.
    pub(crate) of_ledger: Vec<Derived>,
    /// By chain, in derivation order; what follows an escrow is apart.
    pub(crate) of_chains: BTreeMap<ChainId, Vec<Derived>>,
    /// Moves and settlements by (chain, k), moves first.
    pub(crate) of_escrows: BTreeMap<(ChainId, u64), Vec<Derived>>,
    /// From effects, to be compared with the core's own list.
    parked: BTreeMap<ChainId, Vec<u64>>,
}

impl Member {
    fn new(scenario: &Scenario) -> Result<Self> {
        let core = Core::new(scenario.config.clone())?;
        let of_chains = core.chains().map(|chain| (chain, Vec::new())).collect();
        let parked = core.chains().map(|chain| (chain, Vec::new())).collect();
        Ok(Self {
            core,
            applied: Vec::new(),
            mailboxes: BTreeMap::new(),
            of_ledger: Vec::new(),
            of_chains,
            of_escrows: BTreeMap::new(),
            parked,
        })
    }

    fn apply(&mut self, output: &Output, memo: &Memo, times: &BTreeMap<Uuid, u64>) -> Result<()> {
        for applied in self.core.apply(output, memo)? {
            for posted in &applied.posted {
                let mailbox = self.mailboxes.entry(posted.process).or_default();
                ensure!(posted.message.nonce == mailbox.len() as u64, "a gap in a mailbox");
                ensure!(Some(&posted.message.timestamp) == times.get(&applied.output), "a timestamp of another output");
                mailbox.push(posted.message.clone());
            }
            self.of_ledger.extend(applied.derived.iter().cloned());
            self.applied.push(applied);
        }
        Ok(())
    }

    fn step(&mut self, chain: ChainId) -> Result<bool> {
        let Some(effects) = self.core.step(chain)? else {
            return Ok(false);
        };
        for effect in effects {
            match effect {
                Effect::Derived(derived) => self.of_chains.entry(chain).or_default().push(derived),
                Effect::Parked { chain, k } => self.parked.entry(chain).or_default().push(k),
            }
        }
        Ok(true)
    }

    fn settle(&mut self) -> Result<()> {
        for effect in self.core.settle()? {
            let Effect::Derived(derived) = effect else {
                bail!("an escrow's end parked something");
            };
            let (Trace::Settle { chain, k } | Trace::Move { chain, k, .. }) = derived.trace else {
                bail!("{:?} does not follow an escrow", derived.trace);
            };
            self.of_escrows.entry((chain, k)).or_default().push(derived);
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<()> {
        for chain in self.core.chains().collect::<Vec<_>>() {
            while self.step(chain)? {}
            ensure!(self.core.pending(chain) == 0, "records left behind");
            ensure!(self.core.parked(chain) == self.parked[&chain], "parked without saying so");
        }
        self.settle()?;
        ensure!(self.core.advance()?.is_empty(), "effects after the end");
        Ok(())
    }
}

/// Everything first, then the records; or, with a seed, any interleaving that keeps each order.
fn play(scenario: &Scenario, seed: Option<u64>) -> Result<Member> {
    let mut member = Member::new(scenario)?;
    let times = scenario.ledger.iter().map(|(output, _)| (output.id, output.created_at)).collect();
    let mut rows: VecDeque<_> = scenario.ledger.iter().collect();
    let mut records: BTreeMap<ChainId, VecDeque<&Record>> =
        scenario.records.iter().map(|(chain, records)| (*chain, records.iter().collect())).collect();
    let chains: Vec<ChainId> = records.keys().copied().collect();
    let Some(seed) = seed else {
        for (output, memo) in rows {
            member.apply(output, memo, &times)?;
        }
        for (chain, records) in records {
            for record in records {
                member.core.feed(chain, record.clone())?;
            }
        }
        member.finish()?;
        return Ok(member);
    };
    let mut random = SmallRng::seed_from_u64(seed);
    while !rows.is_empty() || records.values().any(|left| !left.is_empty()) {
        let chain = chains.get(random.random_range(0..chains.len().max(1))).copied();
        match (random.random_range(0..8), chain) {
            (0..=2, _) | (_, None) => {
                if let Some((output, memo)) = rows.pop_front() {
                    member.apply(output, memo, &times)?;
                }
            }
            (3..=5, Some(chain)) => {
                if let Some(record) = records.get_mut(&chain).and_then(VecDeque::pop_front) {
                    member.core.feed(chain, record.clone())?;
                }
            }
            (6, Some(chain)) => {
                member.step(chain)?;
            }
            (_, Some(_)) => member.settle()?,
        }
    }
    member.finish()?;
    Ok(member)
}

/// The first place where two values differ.
fn first_difference(path: &str, expected: &Value, found: &Value) -> Option<String> {
    match (expected, found) {
        (Value::Object(left), Value::Object(right)) => {
            let missing = |key: &String| Some(format!("{path}.{key}: expected {}, found nothing", left[key]));
            let differ = left.iter().find_map(|(key, value)| match right.get(key) {
                Some(other) => first_difference(&format!("{path}.{key}"), value, other),
                None => missing(key),
            });
            let extra = |(key, value)| format!("{path}.{key}: expected nothing, found {value}");
            differ.or_else(|| right.iter().find(|(key, _)| !left.contains_key(*key)).map(extra))
        }
        (Value::Array(left), Value::Array(right)) => {
            let nothing = Value::from("nothing");
            (0..left.len().max(right.len())).find_map(|i| {
                let (left, right) = (left.get(i).unwrap_or(&nothing), right.get(i).unwrap_or(&nothing));
                first_difference(&format!("{path}[{i}]"), left, right)
            })
        }
        _ => (expected != found).then(|| format!("{path}: expected {expected}, found {found}")),
    }
}

/// Every interleaving of one file.
fn check(file: &Path) -> Result<String> {
    let scenario = Scenario::read(file)?;
    let mut digest: Option<B256> = None;
    for seed in std::iter::once(None).chain((0..INTERLEAVINGS).map(Some)) {
        let order = seed.map_or("plain order".to_owned(), |seed| format!("interleaving {seed}"));
        let member = play(&scenario, seed).context(order.clone())?;
        if let Some(difference) = first_difference("expected", &scenario.expected, &scenario.state(&member)?) {
            bail!("{order}: {difference}");
        }
        ensure!(
            *digest.get_or_insert(member.core.state_digest()) == member.core.state_digest(),
            "{order}: state digest"
        );
        let unclaimed = scenario.expected["unclaimed"].as_array().map_or(0, Vec::len);
        ensure!(member.core.unclaimed().len() == unclaimed, "{order}: number of unclaimed outputs");
    }
    Ok(scenario.about)
}

fn folder() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    match std::env::var_os("LOCKSTEP_SCENARIOS") {
        // `cargo test` runs in the package; whoever names a folder stands in the workspace.
        Some(folder) => here.parent().unwrap_or(here).join(folder),
        None => here.join("scenarios"),
    }
}

#[test]
fn every_scenario_should_match_in_any_interleaving() {
    let folder = folder();
    let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("a directory entry").path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "json"));
    files.sort();
    assert!(!files.is_empty(), "no scenarios in {}", folder.display());
    let mut failed = 0;
    for file in &files {
        match check(file) {
            Ok(about) => println!("ok      {}: {about}", file.display()),
            Err(error) => {
                failed += 1;
                println!("FAILED  {}: {error:#}", file.display());
            }
        }
    }
    println!("{} scenarios, {failed} failed, 1 + {INTERLEAVINGS} interleavings each", files.len());
    assert_eq!(failed, 0, "scenarios failed");
}

/// A scenario that expects something else must not pass.
#[test]
fn a_changed_expectation_should_be_noticed() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios/s01.json");
    let scenario = Scenario::read(&file).expect("a scenario");
    let state = scenario.state(&play(&scenario, None).expect("plays")).expect("names");
    for field in scenario.expected.as_object().expect("fields").keys() {
        let mut changed = scenario.expected.clone();
        changed[field] = Value::from("other");
        let difference = first_difference("expected", &changed, &state).expect("a difference");
        assert!(difference.starts_with(&format!("expected.{field}: ")), "{difference}");
    }
    let mut longer = scenario.expected.clone();
    longer["unclaimed"].as_array_mut().expect("a list").push(Value::from("o0"));
    assert!(first_difference("expected", &longer, &state).is_some_and(|text| text.contains("unclaimed[")));
}

/// What a contract had accepted decides what its outbounds may use.
#[test]
fn a_record_with_another_accepted_sequence_should_lead_elsewhere() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios/s01.json");
    let mut scenario = Scenario::read(&file).expect("a scenario");
    for record in scenario.records.values_mut().flatten() {
        let (Record::Accepted { s, .. } | Record::Outbound(Outbound { s, .. })) = record;
        *s = 0;
    }
    let state = scenario.state(&play(&scenario, None).expect("plays")).expect("names");
    assert!(first_difference("expected", &scenario.expected, &state).is_some());
}
