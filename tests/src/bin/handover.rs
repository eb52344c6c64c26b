//! `handover --members N`: a key ceremony and two handovers by real processes, while payments flow; prints what it took.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use lockstep_tests::handover::{self, DELAY_MAX, Options, Report};

/// Members that join in the second handover.
const ADDED: u8 = 2;

fn arguments() -> Result<Options> {
    let folder = PathBuf::from("target/ceremony");
    let binary = PathBuf::from("target/debug/lockstep");
    let mut options = Options { members: 20, added: ADDED, kill: false, delay_max: DELAY_MAX, folder, binary };
    let mut rest = std::env::args().skip(1);
    while let Some(name) = rest.next() {
        let value = rest.next().with_context(|| format!("{name} needs a value"))?;
        match name.as_str() {
            "--members" => options.members = value.parse().with_context(|| format!("{name} needs a number"))?,
            "--folder" => options.folder = value.into(),
            "--binary" => options.binary = value.into(),
            _ => bail!("unknown argument {name}; there are --members N, --folder DIR, --binary FILE"),
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
    println!(
        "\n{:<22} {:<12} {:>9} {:>9} {:>12} {:>12}",
        "ceremony", "member", "wall s", "CPU s", "received B", "sent B"
    );
    for (ceremony, costs) in &report.ceremonies {
        for cost in costs {
            let seconds = |time: Duration| format!("{:.2}", time.as_secs_f64());
            println!(
                "{ceremony:<22} {:<12} {:>9} {:>9} {:>12} {:>12}",
                cost.name,
                seconds(cost.wall),
                seconds(cost.cpu),
                cost.received,
                cost.sent
            );
        }
    }
    let Report { payments, late, slowest, .. } = report;
    println!(
        "\n{payments} payments meanwhile, none lost or doubled, {late} of them forwarded from an old address, the slowest took \
         {:.1} s",
        slowest.as_secs_f64()
    );
}

#[expect(clippy::print_stdout, reason = "a program for people")]
fn main() -> ExitCode {
    let run = || -> Result<Report> {
        let options = arguments()?;
        let runtime = tokio::runtime::Runtime::new()?;
        runtime.block_on(Box::pin(handover::run(&options, &mut |line| println!("{line}"))))
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
