//! `sim --seeds N`: runs N worlds. `sim --seed S`: replays one, telling what happens.

use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context as _, bail};
use lockstep_tests::sim::{self, Options, STEPS, Tally};

/// Worlds that run at once. Each of them is single-threaded, so this changes nothing but the time it takes.
const WORKERS: usize = 2;

struct Arguments {
    seeds: u64,
    seed: Option<u64>,
    steps: u64,
}

fn arguments() -> anyhow::Result<Arguments> {
    let mut parsed = Arguments { seeds: 20, seed: None, steps: STEPS };
    let mut rest = std::env::args().skip(1);
    while let Some(name) = rest.next() {
        let value = rest.next().with_context(|| format!("{name} needs a number"))?;
        let number = value.parse().with_context(|| format!("{name} needs a number, not `{value}`"))?;
        match name.as_str() {
            "--seeds" => parsed.seeds = number,
            "--seed" => parsed.seed = Some(number),
            "--steps" => parsed.steps = number,
            _ => bail!("unknown argument {name}; there are --seeds N, --seed S, --steps N"),
        }
    }
    Ok(parsed)
}

/// The command that shows a failing seed again.
fn replay(seed: u64, steps: u64) -> String {
    format!("cargo run --locked -p lockstep-tests --bin sim -- --seed {seed} --steps {steps}")
}

#[expect(clippy::print_stdout, reason = "the table is what this program is for")]
fn show(tally: &Tally) {
    for (what, number) in &tally.0 {
        println!("{number:>10}  {what}");
    }
}

/// Runs seeds 0 to `count` − 1 and returns the sums and how many failed.
fn run_all(count: u64, steps: u64) -> (Tally, u64) {
    let (next, failed, sums) = (AtomicU64::new(0), AtomicU64::new(0), Mutex::new(Tally::default()));
    std::thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= count {
                        return;
                    }
                    let result = sim::run(Options { steps, ..Options::of_seed(seed) });
                    if let Err((broken, _)) = &result {
                        failed.fetch_add(1, Ordering::Relaxed);
                        eprintln!("seed {seed} failed: {broken}\n  replay: {}", replay(seed, steps));
                    }
                    let tally = result.unwrap_or_else(|(_, tally)| tally);
                    sums.lock().unwrap_or_else(std::sync::PoisonError::into_inner).add(&tally);
                }
            });
        }
    });
    let sums = sums.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    (sums, failed.into_inner())
}

#[expect(clippy::print_stdout, reason = "the table is what this program is for")]
fn main() -> anyhow::Result<ExitCode> {
    let Arguments { seeds, seed, steps } = arguments()?;
    let (tally, failed) = match seed {
        Some(seed) => match sim::run(Options { steps, verbose: true, ..Options::of_seed(seed) }) {
            Ok(tally) => (tally, 0),
            Err((broken, tally)) => {
                eprintln!("seed {seed} failed: {broken}\n  replay: {}", replay(seed, steps));
                (tally, 1)
            }
        },
        None => run_all(seeds, steps),
    };
    show(&tally);
    match (failed, seed) {
        (0, Some(seed)) => println!("seed {seed} holds all invariants"),
        (0, None) => println!("{seeds} seeds hold all invariants"),
        (failed, _) => println!("{failed} failed"),
    }
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
