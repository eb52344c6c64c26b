//! `fuzz --inputs N --seconds S --seed X`: damaged bytes for every decoder, N each or as many as fit S seconds. Prints a
//! table; ends with 1, and the input, when one breaks a decoder. `fuzz --target NAME --hex BYTES` reads one input again.

use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context as _, bail};
use lockstep_tests::fuzz::{Effort, Row, Target, attempt, run, targets};

/// Decoders that are tried at once.
const WORKERS: usize = 2;

struct Arguments {
    effort: Effort,
    target: Option<String>,
    hex: Option<Vec<u8>>,
}

fn arguments() -> anyhow::Result<Arguments> {
    let effort = Effort { inputs: 1_000_000, time: Duration::from_secs(120), seed: 1 };
    let mut parsed = Arguments { effort, target: None, hex: None };
    let mut rest = std::env::args().skip(1);
    while let Some(name) = rest.next() {
        let value = rest.next().with_context(|| format!("{name} needs a value"))?;
        let number = || value.parse::<u64>().with_context(|| format!("{name} needs a number, not `{value}`"));
        match name.as_str() {
            "--inputs" => parsed.effort.inputs = number()?,
            "--seconds" => parsed.effort.time = Duration::from_secs(number()?),
            "--seed" => parsed.effort.seed = number()?,
            "--target" => parsed.target = Some(value),
            "--hex" => parsed.hex = Some(hex::decode(&value).context("--hex needs hexadecimal digits")?),
            _ => bail!("unknown argument {name}; there are --inputs, --seconds, --seed, --target, --hex"),
        }
    }
    Ok(parsed)
}

#[expect(clippy::print_stdout, reason = "the table is what this program is for")]
fn main() -> anyhow::Result<ExitCode> {
    let Arguments { effort, target, hex } = arguments()?;
    let mut chosen = targets();
    if let Some(name) = &target {
        chosen.retain(|target| target.name == name);
        let names: Vec<_> = targets().iter().map(|target| target.name).collect();
        anyhow::ensure!(!chosen.is_empty(), "no decoder is called `{name}`; there are {}", names.join(", "));
    }
    // A panic is shown once, with its input, and not by the hook as well.
    std::panic::set_hook(Box::new(|_| {}));
    if let Some(input) = hex {
        let [target] = chosen.as_slice() else { bail!("--hex needs --target") };
        println!("{:?}", attempt(target, &input));
        return Ok(ExitCode::SUCCESS);
    }
    println!("{:<26} {:>9} {:>9} {:>8}", "decoder", "inputs", "taken", "seconds");
    let rows = run_all(&chosen, effort);
    let (failed, early) =
        (rows.iter().filter(|row| row.failure.is_some()), rows.iter().filter(|row| row.inputs < effort.inputs));
    let (failed, early) = (failed.count(), early.count());
    let total: u64 = rows.iter().map(|row| row.inputs).sum();
    println!("{total} inputs for {} decoders, seed {}: {failed} broken", rows.len(), effort.seed);
    if early > failed {
        println!("the time was up for {}; more with --seconds", early.saturating_sub(failed));
    }
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Tries all decoders, and prints each row when it is done.
fn run_all(targets: &[Target], effort: Effort) -> Vec<Row> {
    let (next, rows) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(|| {
                while let Some(target) = targets.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let row = run(target, effort);
                    show(&row);
                    rows.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(row);
                }
            });
        }
    });
    rows.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner)
}

#[expect(clippy::print_stdout, reason = "the table is what this program is for")]
fn show(row: &Row) {
    println!("{:<26} {:>9} {:>9} {:>8.1}", row.name, row.inputs, row.taken, row.time.as_secs_f64());
    if let Some((input, how)) = &row.failure {
        let input = hex::encode(input);
        println!(
            "  {how}\n  again: cargo run --locked -p lockstep-tests --bin fuzz -- --target '{}' --hex {input}",
            row.name
        );
    }
}
