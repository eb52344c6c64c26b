//! `govern propose`: one subcommand for each thing that can be decided.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, anyhow};
use clap::{Args, Subcommand};
use lockstep_core::bls::PartialSignature;
use lockstep_core::govern::{Action, Place, Subject};
use lockstep_core::group::roster::Roster;
use lockstep_core::mixin::MixAddress;
use lockstep_core::operation::{Caps, DecisionBody, Policy};
use lockstep_core::trace::ChainId;
use lockstep_core::{Amount, AssetId, Mix, Uuid};

use super::super::pay::asset;
use super::super::service::MemberArgs;
use super::super::{Exit, Failure, print_line};
use super::desk::Desk;
use super::store;
use crate::clock::unix_seconds;
use crate::config::read_roster;
use crate::govern::ProposalFile;
use crate::peer::{AskGovernance, Directory, GovernanceAnswer, Local, PeerClient};
use crate::startup::unlock;

/// What to propose.
#[derive(Debug, Args)]
pub struct ProposeArgs {
    /// Which member.
    #[command(flatten)]
    pub member: MemberArgs,
    /// Where to write the proposal [default: its number or nonce, in this folder]
    #[arg(long, global = true, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// The decision's number, or the contract's governance nonce [default: the next]
    #[arg(long, global = true, value_name = "N")]
    pub number: Option<u64>,
    /// What.
    #[command(subcommand)]
    pub what: What,
}

/// What can be decided: the first group enters the ledger's order, the second is told to one contract.
#[derive(Debug, Subcommand)]
pub enum What {
    /// Decision: a payout that waits in escrow goes back to its process
    Bounce(OutboundArgs),
    /// Decision: a payout whose recipient the ledger refuses goes back to its process
    Refused(OutboundArgs),
    /// Decision: the members of a roster take over the group's address on the ledger
    Switch {
        /// The outcome of their ceremony
        #[arg(long, value_name = "FILE")]
        roster: PathBuf,
    },
    /// Decision: above which amounts payouts of an asset wait in escrow
    Limits {
        /// Of which chain
        #[arg(long, value_name = "ID")]
        chain: ChainId,
        /// A symbol of the group file, or the asset's UUID
        #[arg(long)]
        asset: String,
        /// Most per payout
        #[arg(long, value_name = "DECIMAL")]
        payout: Amount,
        /// Most per hour
        #[arg(long, value_name = "DECIMAL")]
        hour: Amount,
        /// Most per day
        #[arg(long, value_name = "DECIMAL")]
        day: Amount,
    },
    /// Decision: the least that becomes a message, and the least that is refunded
    Minimum {
        /// A symbol of the group file, or the asset's UUID
        #[arg(long)]
        asset: String,
        /// The least that becomes a message
        #[arg(long, value_name = "DECIMAL")]
        minimum: Amount,
        /// The least that is refunded
        #[arg(long, value_name = "DECIMAL")]
        floor: Amount,
    },
    /// Decision: which assets a process accepts
    Assets {
        /// The process
        #[arg(long, value_name = "UUID")]
        process: Uuid,
        /// An asset and its minimum, such as BTC=0.001; may be repeated. Without any, every asset is accepted
        #[arg(long = "accept", value_name = "ASSET=DECIMAL")]
        accept: Vec<String>,
    },
    /// Decision: a process takes no more calls
    Close {
        /// The process
        #[arg(long, value_name = "UUID")]
        process: Uuid,
    },
    /// Decision: a late output gets a place in the order
    Admit {
        /// The output
        #[arg(long, value_name = "UUID")]
        output: Uuid,
    },
    /// Decision: what happens to a process's failing calls, and its gas limit
    Policy {
        /// The process
        #[arg(long, value_name = "UUID")]
        process: Uuid,
        /// refund, park or strict
        #[arg(long, value_parser = policy)]
        policy: Policy,
        /// Gas limit of one call; 0 leaves it
        #[arg(long, value_name = "GAS", default_value_t = 0)]
        gas: u32,
    },
    /// Decision: an unclaimed coin is paid out
    Release {
        /// The output that is unclaimed
        #[arg(long, value_name = "UUID")]
        output: Uuid,
        /// Who gets it: a ledger user or a MIX… address
        #[arg(long, value_name = "UUID|MIX", value_parser = recipient)]
        to: Mix,
    },
    /// Decision: the group key of a fresh-key ceremony verifies the decisions after this one
    Key {
        /// The outcome of the ceremony; its members' services must run, to prove that they hold the key
        #[arg(long, value_name = "FILE")]
        roster: PathBuf,
    },
    /// Contract: no more deliveries and payouts
    Halt(ChainArgs),
    /// Contract: deliveries and payouts go on
    Resume(ChainArgs),
    /// Contract: the group key of a fresh-key ceremony replaces the old one
    Rotate {
        /// Where
        #[command(flatten)]
        at: ChainArgs,
        /// The outcome of the ceremony; its members' services must run, to prove that they hold the key
        #[arg(long, value_name = "FILE")]
        roster: PathBuf,
    },
    /// Contract: name and symbol of an asset's token
    AssetName {
        /// Where
        #[command(flatten)]
        at: ChainArgs,
        /// A symbol of the group file, or the asset's UUID
        #[arg(long)]
        asset: String,
        /// At most 64 bytes
        #[arg(long)]
        name: String,
        /// At most 16 bytes
        #[arg(long)]
        symbol: String,
    },
    /// Contract: what tanks repay at most
    Repay {
        /// Where
        #[command(flatten)]
        at: ChainArgs,
        /// Fixed tip of one delivery
        #[arg(long, value_name = "WEI")]
        tip_wei: u64,
        /// Gas for each byte of a delivery
        #[arg(long, value_name = "GAS")]
        gas_per_byte: u32,
    },
}

/// Which payout.
#[derive(Debug, Args)]
pub struct OutboundArgs {
    /// Its chain
    #[arg(long, value_name = "ID")]
    pub chain: ChainId,
    /// Its number there
    #[arg(long, value_name = "NONCE")]
    pub outbound: u64,
}

/// Which contract.
#[derive(Debug, Args)]
pub struct ChainArgs {
    /// Its chain
    #[arg(long, value_name = "ID")]
    pub chain: ChainId,
}

pub(super) async fn propose(args: &ProposeArgs) -> Result<Exit, Failure> {
    let desk = Desk::open(&args.member).await?;
    let subject = match target(&desk, &args.what).await? {
        Target::Ledger(body) => {
            let number = match args.number {
                Some(number) => number,
                None => next_number(&desk).await?,
            };
            Subject::Decision { group_id: desk.constitution.group_id, number, body }
        }
        Target::Contract(place, action) => {
            let nonce = match args.number {
                Some(nonce) => nonce,
                None => desk.contract(place.chain).await?.1.nonce,
            };
            Subject::Action { place, nonce, action }
        }
    };
    let digest = desk.judge(&subject)?;
    let path = args.out.clone().unwrap_or_else(|| file_name(&subject));
    let file = desk.file(subject.clone(), digest);
    write_new(&path, &file).map_err(Failure::bad_input)?;
    desk.store.keep_proposal(&subject, unix_seconds()).await.map_err(store)?;
    print_line(&format!("proposal {digest}"))?;
    desk.say(&subject)?;
    print_line(&format!("Written to {}. Nobody has approved it yet: `lockstep govern approve`.", path.display()))?;
    Ok(Exit::Done)
}

fn file_name(subject: &Subject) -> PathBuf {
    match subject {
        Subject::Decision { number, .. } => format!("decision-{number}.json"),
        Subject::Action { place, nonce, .. } => format!("action-{}-{nonce}.json", place.chain),
    }
    .into()
}

fn write_new(path: &Path, file: &ProposalFile) -> anyhow::Result<()> {
    let text = serde_json::to_string_pretty(file)?;
    let written = OpenOptions::new().write(true).create_new(true).open(path);
    let written = written.and_then(|mut file| writeln!(file, "{text}").and_then(|()| file.sync_all()));
    written.with_context(|| format!("cannot write `{}`", path.display()))
}

/// One above all that acted, were approved here, or may have been signed before this member came. What others say that they
/// approved does not count: one of them could use up all numbers.
async fn next_number(desk: &Desk) -> Result<u64, Failure> {
    let acted = desk.acted().await?.into_iter().map(|decision| decision.number);
    let rows = desk.store.proposals().await.map_err(store)?;
    let approved = rows.into_iter().filter(|row| row.approved_at.is_some());
    let proposed = approved.filter_map(|row| match row.subject {
        Subject::Decision { number, .. } => Some(number),
        Subject::Action { .. } => None,
    });
    let known = desk.known()?;
    let marks = known.all().map(|roster| roster.marks().decision);
    Ok(acted.chain(proposed).chain(marks).max().unwrap_or(0).saturating_add(1))
}

enum Target {
    Ledger(DecisionBody),
    Contract(Place, Action),
}

async fn target(desk: &Desk, what: &What) -> Result<Target, Failure> {
    let id = |text: &str| asset(&desk.group, text).map_err(Failure::bad_input);
    let at = |at: &ChainArgs| {
        let known = desk.constitution.places.get(&at.chain);
        let known = known.with_context(|| format!("chain {} is not in the group file", at.chain));
        Ok::<_, Failure>(Place::new(desk.constitution.group_id, at.chain, *known.map_err(Failure::bad_input)?))
    };
    Ok(match what {
        What::Bounce(OutboundArgs { chain, outbound }) => {
            Target::Ledger(DecisionBody::Bounce { chain: *chain, k: *outbound })
        }
        What::Refused(OutboundArgs { chain, outbound }) => {
            Target::Ledger(DecisionBody::Refused { chain: *chain, k: *outbound })
        }
        What::Switch { roster } => Target::Ledger(DecisionBody::Switch { group: roster_of(desk, roster)?.mix() }),
        What::Limits { chain, asset, payout, hour, day } => {
            let caps = Caps { payout: *payout, hour: *hour, day: *day };
            Target::Ledger(DecisionBody::Limits { chain: *chain, asset: id(asset)?, caps })
        }
        What::Minimum { asset, minimum, floor } => {
            Target::Ledger(DecisionBody::Minimum { asset: id(asset)?, minimum: *minimum, floor: *floor })
        }
        What::Assets { process, accept } => {
            let assets = accepted(accept, id)?;
            Target::Ledger(DecisionBody::Update { process: *process, assets })
        }
        What::Close { process } => Target::Ledger(DecisionBody::Close { process: *process }),
        What::Admit { output } => Target::Ledger(DecisionBody::Admit { output: *output }),
        What::Policy { process, policy, gas } => {
            let body = DecisionBody::Policy { process: *process, policy: *policy, gas: *gas };
            // What no member would read must not be signed.
            Target::Ledger(DecisionBody::decode(&body.encode()).map_err(Failure::bad_input)?)
        }
        What::Release { output, to } => Target::Ledger(DecisionBody::Release { output: *output, to: to.clone() }),
        What::Key { roster } => {
            let (generation, key, possession) = possession(desk, None, roster).await?;
            Target::Ledger(DecisionBody::Key { generation, key, possession })
        }
        What::Halt(chain) => Target::Contract(at(chain)?, Action::Halt),
        What::Resume(chain) => Target::Contract(at(chain)?, Action::Resume),
        What::Rotate { at: chain, roster } => {
            let (generation, key, possession) = possession(desk, Some(chain.chain), roster).await?;
            Target::Contract(at(chain)?, Action::Rotate { generation, key, possession })
        }
        What::AssetName { at: chain, asset, name, symbol } => {
            let (asset, name, symbol) = (id(asset)?, name.clone(), symbol.clone());
            Target::Contract(at(chain)?, Action::Asset { asset, name, symbol })
        }
        What::Repay { at: chain, tip_wei, gas_per_byte } => {
            Target::Contract(at(chain)?, Action::Repay { tip_wei: *tip_wei, gas_per_byte: *gas_per_byte })
        }
    })
}

fn accepted(
    accept: &[String],
    id: impl Fn(&str) -> Result<AssetId, Failure>,
) -> Result<Option<BTreeMap<AssetId, Amount>>, Failure> {
    let mut assets = BTreeMap::new();
    for text in accept {
        let parts = text.split_once('=').with_context(|| format!("--accept `{text}` is not ASSET=DECIMAL"));
        let (asset, minimum) = parts.map_err(Failure::bad_input)?;
        let minimum = minimum.parse().map_err(Failure::bad_input)?;
        if assets.insert(id(asset)?, minimum).is_some() {
            return Err(Failure::bad_input(anyhow!("--accept names `{asset}` twice")));
        }
    }
    Ok((!assets.is_empty()).then_some(assets))
}

fn policy(text: &str) -> Result<Policy, String> {
    match text {
        "refund" => Ok(Policy::Refund),
        "park" => Ok(Policy::Park),
        "strict" => Ok(Policy::Strict),
        other => Err(format!("`{other}` is neither refund, park nor strict")),
    }
}

fn recipient(text: &str) -> Result<Mix, String> {
    if let Ok(user) = text.parse::<Uuid>() {
        return Ok(Mix::of_users([user], 1));
    }
    let MixAddress { threshold, members } = text.parse().map_err(|error| format!("{error}"))?;
    Ok(Mix::new(members, threshold))
}

/// The outcome of one of this group's ceremonies.
fn roster_of(desk: &Desk, path: &Path) -> Result<Roster, Failure> {
    let roster = read_roster(path).map_err(Failure::bad_input)?;
    if roster.group_id() != desk.constitution.group_id {
        return Err(Failure::bad_input(anyhow!("`{}` is a roster of another group", path.display())));
    }
    Ok(roster)
}

/// The new key with the proof that its holders hold it, gathered from them.
async fn possession(desk: &Desk, chain: Option<ChainId>, path: &Path) -> Result<(u32, [u8; 96], [u8; 48]), Failure> {
    let roster = roster_of(desk, path)?;
    let (generation, key) = (roster.generation(), roster.key().key().compress());
    let digest =
        desk.constitution.possession(chain, generation, &key).context("the key cannot be proved for that chain");
    let digest = digest.map_err(Failure::bad_input)?;
    let keys = unlock(&desk.config, &desk.group).map_err(Failure::configuration)?;
    let directory = Directory::of_group(&desk.group);
    directory.seat(generation, roster.members().iter().map(|member| (member.index, member.into())));
    let local = Local::new(directory, keys.keys().identity.clone(), Arc::new(unix_seconds));
    let local = local.map_err(Failure::configuration)?;
    let peers = PeerClient::new(local, &desk.config.peer).map_err(Failure::configuration)?.of_generation(generation);
    let ask = AskGovernance::Possession { chain, roster: roster.digest(), key };
    let mut parts = Vec::new();
    let mut missing = Vec::new();
    // This member's own service answers like the others.
    for member in roster.members() {
        match peers.pull_governance(member.index, &ask).await {
            Ok(Some(GovernanceAnswer::Part { signature })) => {
                parts.push(PartialSignature { index: member.index, signature });
            }
            Ok(_) => missing.push(format!("{}: holds no share of that key, or signs nothing now", member.name)),
            Err(error) => missing.push(format!("{}: {error}", member.name)),
        }
    }
    let recovered = roster.key().recover_digest(&digest, &parts, &Default::default());
    let recovered = recovered.with_context(|| format!("too few prove that they hold the key ({})", missing.join("; ")));
    let recovered = recovered.map_err(|error| Failure::new(Exit::TryAgain, error))?;
    Ok((generation, key, recovered.signature.compress()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recipient_should_be_a_user_or_an_address() {
        assert!(recipient("nobody").is_err() && recipient("XINabc").is_err());
        let user = Uuid::from_u128(7);
        assert_eq!(recipient(&user.to_string()), Ok(Mix::of_users([user], 1)));
        let set = Mix::of_users([Uuid::from_u128(2), user], 2);
        assert_eq!(recipient(&MixAddress::from(&set).to_string()), Ok(set));
    }

    #[test]
    fn an_asset_list_should_name_each_asset_once() {
        let id = |text: &str| Ok(AssetId([text.bytes().next().unwrap_or_default(); 32]));
        let list = |texts: &[&str]| accepted(&texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>(), id);
        for refused in [&["a"][..], &["a=x"], &["a=1", "a=2"]] {
            assert!(list(refused).is_err(), "{refused:?}");
        }
        assert_eq!(list(&[]).ok(), Some(None));
        let found = list(&["b=0.5", "a=1"]).ok().flatten().map(|assets| assets.len());
        assert_eq!(found, Some(2));
    }
}
