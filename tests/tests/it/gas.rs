//! Gas of deliveries on a real chain against the snapshot, the bars and the table in the documentation.
//! `LOCKSTEP_WRITE_SNAPSHOTS=1` writes snapshot and table anew.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use lockstep_tests::gas::{Row, differences, markdown, measure, missed_bars};

const BEGIN: &str = "<!-- figures: written by LOCKSTEP_WRITE_SNAPSHOTS=1 -->\n";
const END: &str = "<!-- end of figures -->";

#[tokio::test]
async fn gas_should_be_what_the_snapshot_has_and_under_the_bars() -> Result<()> {
    let measured = measure().await?;
    let missed = missed_bars(&measured);
    assert!(missed.is_empty(), "over the bar:\n{}", missed.join("\n"));
    if std::env::var_os("LOCKSTEP_WRITE_SNAPSHOTS").is_some_and(|value| value == "1") {
        fs::write(snapshot_path(), serde_json::to_string_pretty(&measured)? + "\n")?;
        fs::write(document_path(), with_table(&fs::read_to_string(document_path())?, &measured)?)?;
    }
    let snapshot: Vec<Row> = serde_json::from_str(&fs::read_to_string(snapshot_path())?)?;
    let off = differences(&measured, &snapshot);
    assert!(
        off.is_empty(),
        "gas is off by more than 2 % (LOCKSTEP_WRITE_SNAPSHOTS=1 writes the snapshot anew):\n{}",
        off.join("\n")
    );
    let document = fs::read_to_string(document_path())?;
    assert_eq!(document, with_table(&document, &snapshot)?, "docs/gas.md shows other figures than the snapshot");
    Ok(())
}

/// The document with a table of these figures in the place for it.
fn with_table(document: &str, rows: &[Row]) -> Result<String> {
    let (before, rest) = document.split_once(BEGIN).context("docs/gas.md has a place for the figures")?;
    let (_, after) = rest.split_once(END).context("the place for the figures ends")?;
    Ok(format!("{before}{BEGIN}\n{}\n{END}{after}", markdown(rows)))
}

fn snapshot_path() -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "snapshots", "gas.json"].iter().collect()
}

fn document_path() -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "..", "docs", "gas.md"].iter().collect()
}
