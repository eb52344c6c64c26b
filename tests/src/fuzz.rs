//! Random and damaged bytes for every decoder that reads what strangers write.
//!
//! Each [`Target`] has samples that its decoder takes. They are damaged over and over (`mutate.rs`) and read again: the
//! decoder must refuse, or give a value that encodes back to the same bytes, and must never panic. A run is a function of
//! its seed. The profile that it is built with checks overflows (`profile.release` in the workspace's `Cargo.toml`), so that
//! one is a panic here too.

#![expect(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    reason = "places in small inputs; a panic of the fuzzer ends the run and is seen"
)]

mod mutate;
mod targets;

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use rand::SeedableRng as _;
use rand::rngs::StdRng;

use mutate::Mutator;
pub use targets::targets;

/// Inputs between two looks at the clock.
const STRIDE: u64 = 256;

/// What a decoder made of some bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It does not take them.
    Refused,
    /// It takes them, and what it read encodes back to them.
    Taken,
    /// It takes them, and what it read is not what they say.
    Broken(&'static str),
}

/// Reads, and judges what it read.
pub type Read = dyn Fn(&[u8]) -> Verdict + Send + Sync;

/// A decoder under test.
pub struct Target {
    /// For people and for the seed.
    pub name: &'static str,
    /// Bytes that it takes.
    pub samples: Vec<Vec<u8>>,
    /// Reads, and judges what it read.
    pub read: Box<Read>,
}

impl std::fmt::Debug for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Target").field("name", &self.name).field("samples", &self.samples.len()).finish_non_exhaustive()
    }
}

/// How much to try.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    /// Inputs for each decoder.
    pub inputs: u64,
    /// No decoder is tried for longer.
    pub time: Duration,
    /// Of all randomness.
    pub seed: u64,
}

/// What came of one target.
#[derive(Clone, Debug)]
pub struct Row {
    /// The decoder.
    pub name: &'static str,
    /// Inputs tried.
    pub inputs: u64,
    /// Of these, taken.
    pub taken: u64,
    /// How long it took.
    pub time: Duration,
    /// The input that broke it, and how; the run ends there.
    pub failure: Option<(Vec<u8>, String)>,
}

/// Tries a decoder until the effort is spent or an input breaks it.
pub fn run(target: &Target, effort: Effort) -> Row {
    let started = Instant::now();
    let name = target.name.bytes().fold(effort.seed, |seed, byte| seed.rotate_left(7) ^ u64::from(byte));
    let mut mutator = Mutator::new(StdRng::seed_from_u64(name), &target.samples);
    let mut row = Row { name: target.name, inputs: 0, taken: 0, time: Duration::ZERO, failure: None };
    while row.inputs < effort.inputs && (!row.inputs.is_multiple_of(STRIDE) || started.elapsed() < effort.time) {
        let input = mutator.input();
        row.inputs += 1;
        match attempt(target, &input) {
            Ok(Verdict::Refused) => {}
            Ok(Verdict::Taken) => row.taken += 1,
            Ok(Verdict::Broken(how)) => row.failure = Some((input, how.to_owned())),
            Err(panic) => row.failure = Some((input, panic)),
        }
        if row.failure.is_some() {
            break;
        }
    }
    row.time = started.elapsed();
    row
}

/// Reads one input; a panic becomes its message.
pub fn attempt(target: &Target, input: &[u8]) -> Result<Verdict, String> {
    catch_unwind(AssertUnwindSafe(|| (target.read)(input))).map_err(|panic| message(panic.as_ref()))
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    format!("panic: {}", text.unwrap_or("without a message"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const EFFORT: Effort = Effort { inputs: 20_000, time: Duration::from_secs(60), seed: 1 };

    fn target(read: impl Fn(&[u8]) -> Verdict + Send + Sync + 'static) -> Target {
        Target { name: "test", samples: vec![vec![7; 40]], read: Box::new(read) }
    }

    #[test]
    fn a_panic_and_a_broken_promise_should_be_found_and_kept() {
        let panics = target(|bytes| {
            assert!(bytes.len() != 39, "a byte is missing");
            Verdict::Refused
        });
        let (input, how) = run(&panics, EFFORT).failure.expect("a failure");
        assert!(input.len() == 39 && how.contains("a byte is missing"), "{how}");
        assert!(attempt(&panics, &input).is_err(), "the input shows it again");
        let lies = target(|bytes| if bytes.first() == Some(&0xff) { Verdict::Broken("first") } else { Verdict::Taken });
        let row = run(&lies, EFFORT);
        assert_eq!(row.failure.map(|(_, how)| how), Some("first".to_owned()));
        assert!(row.taken > 0 && row.inputs < EFFORT.inputs);
    }

    #[test]
    fn a_run_should_be_a_function_of_its_seed_and_end_in_time() {
        let sum = |seed| {
            let seen = std::sync::Arc::new(std::sync::Mutex::new(0_u64));
            let sum = std::sync::Arc::clone(&seen);
            let reads = target(move |bytes| {
                let mut sum = sum.lock().expect("no panic");
                *sum = bytes.iter().fold(sum.rotate_left(3), |sum, byte| sum.wrapping_mul(31) ^ u64::from(*byte));
                Verdict::Refused
            });
            assert_eq!(run(&reads, Effort { inputs: 2_000, seed, ..EFFORT }).inputs, 2_000);
            *seen.lock().expect("no panic")
        };
        assert_eq!(sum(5), sum(5));
        assert_ne!(sum(5), sum(6));
        let late = run(&target(|_| Verdict::Refused), Effort { time: Duration::ZERO, ..EFFORT });
        assert_eq!(late.inputs, 0);
    }

    #[test]
    fn every_decoder_should_take_its_samples_and_bear_some_damage() {
        let names: std::collections::BTreeSet<_> = targets().iter().map(|target| target.name).collect();
        assert_eq!(names.len(), targets().len(), "a decoder is chosen by its name");
        let mut wrong = Vec::new();
        for target in targets() {
            assert!(!target.samples.is_empty(), "{}", target.name);
            for sample in &target.samples {
                let read = attempt(&target, sample);
                if read != Ok(Verdict::Taken) {
                    wrong.push(format!("{}: {read:?} of its sample {}", target.name, hex::encode(sample)));
                }
            }
            let row = run(&target, Effort { inputs: 1_000, time: Duration::from_secs(20), seed: 3 });
            if let Some((input, how)) = row.failure {
                wrong.push(format!("{}: {how} at {}", row.name, hex::encode(input)));
            } else if row.taken == row.inputs {
                wrong.push(format!("{}: damage must show", row.name));
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }
}
