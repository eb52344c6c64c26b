//! `group`: what a group file says.

use std::path::PathBuf;

use clap::Subcommand;
use lockstep_core::group::Group;
use serde_json::{Value, json};

use super::{Exit, Failure, print_json, print_line};
use crate::config::read_group;

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
}

pub(super) fn run(command: GroupCommand) -> Result<Exit, Failure> {
    match command {
        GroupCommand::Digest { file } => {
            print_line(&read_group(&file).map_err(Failure::configuration)?.digest().to_string())?;
        }
        GroupCommand::Check { file } => print_json(&summary(&read_group(&file).map_err(Failure::configuration)?))?,
    }
    Ok(Exit::Done)
}

/// The group in short, for people to compare.
pub(super) fn summary(group: &Group) -> Value {
    let member = |member: &lockstep_core::group::Member| json!({ "index": member.index, "name": member.name, "user": member.user, "peer": member.peer });
    let chain = |chain: &lockstep_core::group::Chain| json!({ "id": chain.id, "contract": chain.contract, "start_block": chain.start_block });
    json!({
        "group_id": group.id(),
        "digest": group.digest(),
        "generation": group.generation(),
        "dealer": group.is_dealer_made(),
        "threshold": group.threshold(),
        "key": hex::encode(group.key().key().compress()),
        "members": group.members().iter().map(member).collect::<Vec<_>>(),
        "chains": group.chains().values().map(chain).collect::<Vec<_>>(),
    })
}
