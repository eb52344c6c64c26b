//! `group`: what a group file says.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow, ensure};
use clap::{Args, Subcommand};
use lockstep_core::group::{Chain, Group};
use serde_json::{Value, json};

use super::{Exit, Failure, print_json, print_line};
use crate::config::read_group;
use crate::evm::accounts::{DeployedAccounts, check_accounts};
use crate::evm::check::{ExpectedChain, check_chain};
use crate::evm::code::{Comparison, Contract, LocalBuild, chain_served, code_at};
use crate::evm::provider::{EvmProvider, provider};

/// What to do with a group file.
#[derive(Debug, Subcommand)]
pub enum GroupCommand {
    /// Print the digest that all members must agree on: `group_digest` in each member.toml
    Digest {
        /// The group file
        #[arg(value_name = "FILE", default_value = "group.toml")]
        file: PathBuf,
    },
    /// Check the file by every rule that needs no network, and print what it says
    Check {
        /// The group file
        #[arg(value_name = "FILE", default_value = "group.toml")]
        file: PathBuf,
    },
    /// Compare the code of each chain's group contract, and of the contracts of smart accounts, with this build, and what they
    /// were deployed with with the file; exits with 2 where they differ
    Code(CodeArgs),
}

/// Which group, and where its chains are.
#[derive(Debug, Args)]
pub struct CodeArgs {
    /// The group file
    #[arg(value_name = "FILE", default_value = "group.toml")]
    pub file: PathBuf,
    /// An RPC endpoint of one of its chains; once for each of them
    #[arg(long, value_name = "URL", required = true)]
    pub rpc: Vec<String>,
    /// What DeployAccounts.s.sol wrote down of a chain; once for each chain with smart accounts
    #[arg(long, value_name = "FILE")]
    pub accounts: Vec<PathBuf>,
}

pub(super) async fn run(command: GroupCommand) -> Result<Exit, Failure> {
    match command {
        GroupCommand::Code(args) => return code(&args).await,
        GroupCommand::Digest { file } => {
            print_line(&read_group(&file).map_err(Failure::configuration)?.digest().to_string())?;
        }
        GroupCommand::Check { file } => print_json(&summary(&read_group(&file).map_err(Failure::configuration)?))?,
    }
    Ok(Exit::Done)
}

async fn code(args: &CodeArgs) -> Result<Exit, Failure> {
    let group = read_group(&args.file).map_err(Failure::configuration)?;
    let local = LocalBuild::load(Contract::Group).map_err(Failure::configuration)?;
    let mut deployed = Vec::new();
    for path in &args.accounts {
        let found = read_accounts(path, &group).map_err(Failure::bad_input)?;
        deployed.push(found);
    }
    let mut endpoints = Vec::new();
    for url in &args.rpc {
        let provider = provider(url).map_err(Failure::bad_input)?;
        let id = chain_served(&provider).await.with_context(|| "an --rpc endpoint does not name its chain");
        endpoints.push((id.map_err(|error| Failure::new(Exit::TryAgain, error))?, provider, url));
    }
    let (mut answers, mut all) = (Vec::new(), true);
    for chain in group.chains().values() {
        let endpoint = endpoints.iter().find(|(id, ..)| *id == chain.id);
        let (_, provider, url) =
            endpoint.with_context(|| format!("no --rpc serves chain {}", chain.id)).map_err(Failure::bad_input)?;
        let (same, mut answer) = code_on(provider, url, &group, chain, &local).await?;
        all &= same;
        for deployed in deployed.iter().filter(|deployed| deployed.chain == chain.id) {
            let contract = chain.contract.unwrap_or_default();
            let found = check_accounts(provider, contract, deployed).await;
            let found = found.map_err(|error| Failure::new(Exit::TryAgain, error))?;
            all &= found.contracts.iter().all(|finding| finding.differs.is_none());
            if let Some(answer) = answer.as_object_mut() {
                answer.insert("accounts".to_owned(), json!(found));
            }
        }
        answers.push(answer);
    }
    print_json(&json!({ "same": all, "chains": answers }))?;
    Ok(if all { Exit::Done } else { Exit::Negative })
}

/// What is deployed of smart accounts, on one of the group's chains.
fn read_accounts(path: &Path, group: &Group) -> Result<DeployedAccounts, anyhow::Error> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let doing = || format!("{} is not what DeployAccounts.s.sol wrote", path.display());
    let deployed: DeployedAccounts = serde_json::from_str(&text).with_context(doing)?;
    let known = group.chains().contains_key(&deployed.chain);
    ensure!(known, "{}: the group file has no chain {}", path.display(), deployed.chain);
    Ok(deployed)
}

/// What one chain has, and whether that is what it should be.
async fn code_on(
    provider: &EvmProvider,
    url: &str,
    group: &Group,
    chain: &Chain,
    local: &LocalBuild,
) -> Result<(bool, Value), Failure> {
    let undeployed = || Failure::configuration(anyhow!("chain {} has no `contract` in the group file", chain.id));
    let expected = ExpectedChain::of(group, chain).ok_or_else(undeployed)?;
    let found = code_at(provider, expected.contract).await.map_err(|error| Failure::new(Exit::TryAgain, error))?;
    let differs = match local.compare(&found) {
        other @ (Comparison::None | Comparison::Length { .. } | Comparison::Differs { .. }) => Some(other.to_string()),
        // What the constructor wrote into the code is not compared there; the contract tells it.
        Comparison::Same => match check_chain(provider, url, &expected).await {
            Ok(_) => None,
            Err(error) if error.is_negative() => Some(error.to_string()),
            Err(error) => return Err(Failure::new(Exit::TryAgain, error)),
        },
    };
    let answer = json!({
        "id": chain.id,
        "contract": expected.contract,
        "same": differs.is_none(),
        "differs": differs,
        "code_hash": local.hash_of(&found),
        "expected_code_hash": local.hash(),
        "recovery": chain.recovery,
    });
    Ok((differs.is_none(), answer))
}

/// The group in short, for people to compare.
pub(super) fn summary(group: &Group) -> Value {
    let member = |member: &lockstep_core::group::Member| json!({ "index": member.index, "name": member.name, "user": member.user, "peer": member.peer });
    let chain = |chain: &lockstep_core::group::Chain| json!({ "id": chain.id, "contract": chain.contract, "start_block": chain.start_block });
    json!({
        "group_id": group.id(),
        "digest": group.digest(),
        "generation": group.generation(),
        "threshold": group.threshold(),
        "key": hex::encode(group.key().key().compress()),
        "members": group.members().iter().map(member).collect::<Vec<_>>(),
        "chains": group.chains().values().map(chain).collect::<Vec<_>>(),
    })
}
