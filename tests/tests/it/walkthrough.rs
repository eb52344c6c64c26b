//! `docs/contracts.md`, as a developer follows it: its files are written and its commands are run, in their order and just
//! as they stand there, against a network of real processes.

#![expect(clippy::arithmetic_side_effects, reason = "a panic is how a test fails")]

use std::fmt::Write as _;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use lockstep::devnet::network::{MEMBERS, Network, NetworkConfig, Ports};

use crate::binary::lockstep_binary;

/// The chain of `make devnet`, as the page names it.
const CHAIN_URL: &str = "http://127.0.0.1:8545";
/// For all commands together: they compile contracts and wait for members, on a machine that does ten other things.
const PATIENCE: Duration = Duration::from_secs(540);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_walk_through_should_work_as_it_is_written() -> Result<()> {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize()?;
    let page = std::fs::read_to_string(repository.join("docs/contracts.md"))?;
    let folder = tempfile::tempdir()?;
    let config = NetworkConfig {
        folder: folder.path().join("network"),
        binary: lockstep_binary()?,
        ports: Ports::Free,
        members: MEMBERS,
    };
    let network = Box::pin(Network::start(config, &mut |_| ())).await?;

    // What the page calls the place where this repository was cloned, with this network as its `make devnet`.
    let clone = folder.path().join("clone");
    std::fs::create_dir_all(clone.join("target/debug"))?;
    symlink(lockstep_binary()?, clone.join("target/debug/lockstep"))?;
    symlink(repository.join("contracts"), clone.join("contracts"))?;
    symlink(repository.join("node_modules"), clone.join("node_modules"))?;
    symlink(&network.folder, clone.join(".devnet"))?;
    let script = script(&page)?.replace(CHAIN_URL, &network.chain_url());

    let work = folder.path().join("work");
    std::fs::create_dir(&work)?;
    let mut shell = tokio::process::Command::new("bash");
    shell
        .args(["-euo", "pipefail", "-c", &script])
        .current_dir(&work)
        .env("LOCKSTEP", &clone)
        .env("LOCKSTEP_LEDGER", network.ledger_url())
        // The page needs no network; nothing here shall have one by accident.
        .env("npm_config_offline", "true")
        .env("npm_config_cache", folder.path().join("npm"))
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let ended = tokio::time::timeout(PATIENCE, shell.output()).await;
    let output = ended.context("the commands did not end in time")??;
    let said = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
    ensure!(output.status.success(), "the commands ended with {}:\n{said}", output.status);
    // The tests of the own contract, and then with those of the example.
    assert_eq!(said.matches("tests passed, 0 failed").count(), 2, "{said}");
    network.stop().await
}

/// The page's shell commands, and the making of its files in between.
fn script(page: &str) -> Result<String> {
    let mut script = String::new();
    let mut blocks = 0;
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        let Some(language) = line.strip_prefix("```") else { continue };
        let block: Vec<_> = lines.by_ref().take_while(|line| *line != "```").collect();
        match language {
            "sh" => block.iter().try_for_each(|line| writeln!(script, "{line}"))?,
            "toml" | "solidity" if block.first().is_some_and(|first| first.contains('.')) => {
                let first = block.first().context("a name")?;
                let path = first.trim_start_matches("// ").trim_start_matches("# ");
                // Compilers want a licence, readers do not.
                let text = format!("{}\n", block.join("\n"));
                let text =
                    if language == "solidity" { format!("// SPDX-License-Identifier: MIT\n{text}") } else { text };
                ensure!(!text.contains("END-OF-FILE"), "{path} cannot be written by the shell");
                writeln!(script, "mkdir -p \"$(dirname {path})\"\ncat > {path} <<'END-OF-FILE'\n{text}END-OF-FILE")?;
            }
            "text" | "solidity" | "console" => continue,
            other => bail!("a block of `{other}` in the page, which the test does not know"),
        }
        blocks += 1;
    }
    ensure!(blocks > 10, "only {blocks} blocks: the walk-through is gone");
    Ok(script)
}
