//! Commands that run everything on one machine.

use std::path::PathBuf;

use anyhow::Context;
use clap::Args;

use super::{Exit, Failure};
use crate::devnet::{demo, stay};
use crate::telemetry::{self, LogConfig};

/// Where the development network lives.
#[derive(Debug, Args)]
pub struct DevnetArgs {
    /// A folder for logs, databases and users' keys; it is emptied first and kept afterwards
    #[arg(long, value_name = "DIR", default_value = ".devnet")]
    pub folder: PathBuf,
}

/// Where the demo works.
#[derive(Debug, Args)]
pub struct DemoArgs {
    /// A folder for logs and databases; it is emptied first and kept afterwards
    #[arg(long, value_name = "DIR", default_value = "target/demo")]
    pub folder: PathBuf,
}

pub(super) async fn demo(args: &DemoArgs) -> Result<Exit, Failure> {
    telemetry::init(&LogConfig { filter: "warn".into(), ..LogConfig::default() }).map_err(Failure::configuration)?;
    empty(&args.folder).map_err(Failure::bad_input)?;
    // Everything of a network hangs off this one future.
    Box::pin(demo::run(&args.folder)).await.map_err(|error| Failure::new(Exit::TryAgain, error))?;
    Ok(Exit::Done)
}

pub(super) async fn devnet(args: &DevnetArgs) -> Result<Exit, Failure> {
    telemetry::init(&LogConfig { filter: "warn".into(), ..LogConfig::default() }).map_err(Failure::configuration)?;
    empty(&args.folder).map_err(Failure::bad_input)?;
    Box::pin(stay::run(&args.folder)).await.map_err(|error| Failure::new(Exit::TryAgain, error))?;
    Ok(Exit::Done)
}

/// Removes what an earlier network left, and nothing else: the folder must be absent, empty or a network's.
fn empty(folder: &std::path::Path) -> anyhow::Result<()> {
    if !folder.exists() {
        return Ok(());
    }
    let is_empty =
        std::fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?.next().is_none();
    anyhow::ensure!(
        is_empty || folder.join("ledger.db").exists(),
        "{} holds something else than a development network: choose another --folder",
        folder.display()
    );
    std::fs::remove_dir_all(folder).with_context(|| format!("cannot empty {}", folder.display()))
}
