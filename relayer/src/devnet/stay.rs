//! A development network that stays up until it is interrupted.

use std::io::Write;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::examples::Examples;
use super::network::{MEMBERS, Network, NetworkConfig, Ports};
use crate::supervisor::stop_signal;

/// Between two looks at the members.
const LOOK: Duration = Duration::from_millis(500);

/// Sets up a network in `folder`, prints what to try, and stays until SIGINT or SIGTERM.
///
/// # Errors
/// What did not come up, or which member ended.
pub async fn run(folder: &Path) -> Result<()> {
    let interrupted = stop_signal()?;
    let binary = std::env::current_exe().context("cannot find this binary")?;
    let config = NetworkConfig { folder: folder.to_path_buf(), binary, ports: Ports::Fixed, members: MEMBERS };
    let mut network = Box::pin(Network::start(config, &mut |line| print(line))).await?;
    let prepared = Box::pin(prepare(&network)).await;
    let ended = match prepared {
        Ok(()) => tokio::select! {
            signal = interrupted => {
                print(&format!("{signal}: stopping"));
                Ok(())
            }
            ended = first_to_end(&mut network) => ended,
        },
        Err(error) => Err(error),
    };
    let stopped = Box::pin(network.stop()).await;
    ended?;
    stopped
}

fn print(line: &str) {
    // Nobody listening is no reason to stop a network.
    let _ = writeln!(std::io::stdout().lock(), "{line}");
}

/// Opens the examples, so that the first payment already has somewhere to go.
async fn prepare(network: &Network) -> Result<()> {
    let Examples { vault, reverter } = network.deploy_examples().await?;
    for (name, address) in [("vault", vault), ("reverter", reverter)] {
        network.register(name, address).await?;
        print(&format!("process   {} ({name}) at {address}", network.user(name)?));
    }
    let here = std::env::current_dir()?;
    let short = |path: &Path| path.strip_prefix(&here).unwrap_or(path).display().to_string();
    let (folder, lockstep) = (short(&network.folder), short(&std::env::current_exe()?));
    let pay = |what: &str, user: &str, process, payload: &str| {
        print(&format!("# {what}"));
        print(&format!(
            "{lockstep} pay --user {folder}/users/{user}.json --group {folder}/group.toml --asset BTC --amount 0.5 \
             --process {process} --payload {payload}\n"
        ));
    };
    print("\nUp. Interrupt to stop. To try, in another terminal:\n");
    let (vault, reverter) = (network.user("vault")?, network.user("reverter")?);
    pay("alice deposits into the vault", "alice", vault, "0x01");
    pay(
        "alice withdraws 0.25 BTC: command 02, amount in 16 bytes",
        "alice",
        vault,
        &format!("0x02{:032x}", 25_000_000),
    );
    pay("a payment that fails is refunded", "bob", reverter, "0xdeadbeef");
    print("# what a user holds");
    print(&format!("{lockstep} balance --user {folder}/users/alice.json --group {folder}/group.toml --asset BTC\n"));
    print("# how far a member is");
    if let Some(member) = network.members.first() {
        print(&format!("curl http://{}/status", member.api()));
    }
    Ok(())
}

/// A network of which a member has ended is not what it says it is.
async fn first_to_end(network: &mut Network) -> Result<()> {
    loop {
        for member in &mut network.members {
            if let Some(status) = member.ended()? {
                bail!("member {} ended with {status}: see its member.log", member.index());
            }
        }
        tokio::time::sleep(LOOK).await;
    }
}
