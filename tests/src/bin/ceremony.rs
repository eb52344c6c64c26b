//! `ceremony --seeds N`: simulates N runs of key ceremonies. `ceremony --seed S`: replays one. `ceremony --members N`: a
//! ceremony and two reshares of N members in one process, and what they cost.

use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, bail};
use lockstep_tests::ceremony::{Outcomes, Row, Tally, bench, run};

/// With so many seeds each way to misbehave must have been tried.
const ENOUGH: u64 = 500;
/// Runs at once.
const WORKERS: usize = 2;

#[expect(clippy::print_stdout, reason = "the table is what this program is for")]
fn main() -> anyhow::Result<ExitCode> {
    let mut arguments = std::env::args().skip(1);
    let name = arguments.next().unwrap_or_default();
    let number: u64 = arguments.next().with_context(|| format!("{name} needs a number"))?.parse()?;
    match name.as_str() {
        "--seeds" => Ok(simulate(number)),
        "--seed" => {
            let tally = run(number).map_err(anyhow::Error::msg)?;
            show(&tally);
            Ok(ExitCode::SUCCESS)
        }
        "--members" => {
            let members = u8::try_from(number).ok().filter(|members| (1..=64).contains(members));
            let rows = bench(members.context("a group has 1 to 64 members")?).map_err(anyhow::Error::msg)?;
            println!("{}", table(&rows));
            Ok(ExitCode::SUCCESS)
        }
        _ => bail!("unknown argument {name}; there are --seeds N, --seed S, --members N"),
    }
}

#[expect(clippy::print_stdout, reason = "the table is what this program is for")]
fn show(tally: &Tally) {
    println!("{:<16} {:>6} {:>6} {:>6} {:>6}", "misbehaviour", "done", "key", "retry", "named");
    for (bad, Outcomes { done, key, retry, named }) in &tally.misbehaviour {
        println!("{bad:<16} {done:>6} {key:>6} {retry:>6} {named:>6}");
    }
    println!();
    for (what, number) in &tally.counts {
        println!("{number:>8}  {what}");
    }
}

#[expect(clippy::print_stdout, reason = "the table is what this program is for")]
fn simulate(seeds: u64) -> ExitCode {
    let (next, failed, sums) = (AtomicU64::new(0), AtomicU64::new(0), Mutex::new(Tally::default()));
    let worker = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds {
                return;
            }
            match run(seed) {
                Ok(tally) => sums.lock().unwrap_or_else(std::sync::PoisonError::into_inner).add(&tally),
                Err(broken) => {
                    failed.fetch_add(1, Ordering::Relaxed);
                    eprintln!("seed {seed} failed: {broken}\n  replay: ceremony --seed {seed}");
                }
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(worker);
        }
    });
    let sums = sums.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    show(&sums);
    let untried = sums.untried();
    if !untried.is_empty() {
        println!("no seed tried {}", untried.join(", "));
    }
    match failed.into_inner() {
        0 if seeds >= ENOUGH && !untried.is_empty() => return ExitCode::FAILURE,
        0 => println!("{seeds} seeds: one key or a clean retry in each, every fault named"),
        failed => {
            println!("{failed} of {seeds} seeds failed");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

/// One line a ceremony.
fn table(rows: &[Row]) -> String {
    let line = |cells: [String; 7]| {
        let [what, members, wall, cpu, sent, read, kept] = cells;
        format!("{what:<14} {members:>8} {wall:>10} {cpu:>20} {sent:>20} {read:>20} {kept:>20}")
    };
    let heads = ["", "members", "all, wall", "CPU (most)", "bytes shown (most)", "bytes read (most)", "kept (most)"];
    let mut lines = vec![line(heads.map(str::to_owned))];
    let milliseconds = |time: Duration| format!("{:.0} ms", time.as_secs_f64() * 1e3);
    let bytes = |(mean, most): (usize, usize)| format!("{mean} ({most})");
    for row in rows {
        lines.push(line([
            row.what.to_owned(),
            format!("{}/{}", row.members.1, row.members.0),
            milliseconds(row.wall),
            format!("{} ({})", milliseconds(row.cpu.0), milliseconds(row.cpu.1)),
            bytes(row.sent),
            bytes(row.read),
            bytes(row.kept),
        ]));
    }
    if let Some(row) = rows.first() {
        let key = hex::encode(row.key);
        lines.push(format!(
            "per member, in one process without a network; group key {}… throughout",
            key.get(..16).unwrap_or_default()
        ));
    }
    lines.join("\n")
}
