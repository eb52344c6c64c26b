//! `gas --out FILE`: measures gas per message on a local chain, prints a table and writes the rows as JSON. Ends with 1
//! when a figure is over its bar.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use lockstep_tests::gas::{measure, missed_bars, table};

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

#[expect(clippy::print_stdout, reason = "the table is what this program is for")]
async fn run() -> Result<()> {
    let out = arguments()?;
    let rows = measure().await?;
    println!("{}", table(&rows));
    if let Some(path) = out {
        let doing = || format!("writing {}", path.display());
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).with_context(doing)?;
        }
        let text = serde_json::to_string_pretty(&rows).with_context(doing)?;
        std::fs::write(&path, text + "\n").with_context(doing)?;
        println!("written to {}", path.display());
    }
    let missed = missed_bars(&rows);
    if missed.is_empty() { Ok(()) } else { bail!("over the bar:\n  {}", missed.join("\n  ")) }
}

fn arguments() -> Result<Option<PathBuf>> {
    let mut arguments = std::env::args_os().skip(1);
    let out = match arguments.next() {
        None => return Ok(None),
        Some(name) if name == "--out" => arguments.next().context("--out needs a file")?,
        Some(name) => bail!("unknown argument {}; there is --out FILE", name.display()),
    };
    if let Some(more) = arguments.next() {
        bail!("unexpected argument {}", more.display());
    }
    Ok(Some(out.into()))
}
