//! `soak --payments N`: payments of every kind through a development network; prints a table of what became of them and
//! fails where anything is not accounted for.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use lockstep_core::Amount;
use lockstep_tests::soak::{self, Ending, Options, Report};

fn arguments() -> Result<Options> {
    let (folder, binary) = (PathBuf::from("target/soak"), PathBuf::from("target/debug/lockstep"));
    let mut options = Options { payments: 10_000, seed: 1, folder, binary };
    let mut rest = std::env::args().skip(1);
    while let Some(name) = rest.next() {
        let value = rest.next().with_context(|| format!("{name} needs a value"))?;
        let number = || format!("{name} needs a number");
        match name.as_str() {
            "--payments" => options.payments = value.parse().with_context(number)?,
            "--seed" => options.seed = value.parse().with_context(number)?,
            "--folder" => options.folder = value.into(),
            "--binary" => options.binary = value.into(),
            _ => bail!("unknown argument {name}; there are --payments N, --seed N, --folder DIR, --binary FILE"),
        }
    }
    if options.folder.exists() {
        std::fs::remove_dir_all(&options.folder).context("cannot remove what the last run left")?;
    }
    options.binary = options.binary.canonicalize().context("no lockstep binary: make build")?;
    Ok(options)
}

#[expect(clippy::print_stdout, reason = "the table is what this program is for")]
fn show(report: &Report) {
    println!("\n{:<28} {:>9} {:>9} {:>9} {:>9}", "kind", "payments", "message", "refund", "unclaimed");
    let count =
        |endings: &std::collections::BTreeMap<Ending, usize>, ending| endings.get(&ending).copied().unwrap_or_default();
    let mut sums = [0_usize; 4];
    for (kind, endings) in &report.kinds {
        let payments = report.payments.get(kind).copied().unwrap_or_default();
        let row = [
            payments,
            count(endings, Ending::Message),
            count(endings, Ending::Refund),
            count(endings, Ending::Unclaimed),
        ];
        println!("{:<28} {:>9} {:>9} {:>9} {:>9}", kind.label(), row[0], row[1], row[2], row[3]);
        sums.iter_mut().zip(row).for_each(|(sum, count)| *sum = sum.saturating_add(count));
    }
    println!("{:<28} {:>9} {:>9} {:>9} {:>9}", "all", sums[0], sums[1], sums[2], sums[3]);

    println!("\n{:<38} {:>18} {:>18} {:>15} {:>12}", "asset", "coins of the group", "custody", "unclaimed", "fees");
    for books in &report.assets {
        let amount = |units: u128| Amount::from_units(units).to_string();
        let cells = [books.coins, books.custody, books.unclaimed, books.fees].map(amount);
        println!("{:<38} {:>18} {:>18} {:>15} {:>12}", books.asset.to_string(), cells[0], cells[1], cells[2], cells[3]);
    }
    let minutes = |seconds: f64, count: usize| count as f64 / seconds * 60.0;
    let (paying, settling) = (report.paying.as_secs_f64(), report.settling.as_secs_f64());
    println!("\npaid in {paying:.1} s ({:.0} a minute), settled in {settling:.1} s", minutes(paying, sums[0]));
    println!(
        "outputs settled {:.0} a minute: {:.0} messages, {:.0} refunds; {} outbounds paid, {:.0} a minute",
        minutes(settling, sums[1].saturating_add(sums[2]).saturating_add(sums[3])),
        minutes(settling, sums[1]),
        minutes(settling, sums[2]),
        report.outbounds,
        minutes(settling, usize::try_from(report.outbounds).unwrap_or(usize::MAX)),
    );
    println!("each output ended once, and both sides are equal to the last unit");
}

#[expect(clippy::print_stdout, reason = "a program for people")]
fn main() -> ExitCode {
    let run = || -> Result<Report> {
        let options = arguments()?;
        let runtime = tokio::runtime::Runtime::new()?;
        runtime.block_on(Box::pin(soak::run(&options, &mut |line| println!("{line}"))))
    };
    match run() {
        Ok(report) => {
            show(&report);
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
