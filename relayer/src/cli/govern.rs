//! `govern`: propose, approve, list and submit what the group decides; `stop-signing` and `resume-signing`: one member's own
//! switch. Everything works beside the running service, which signs what was approved, and without it.

mod desk;
mod propose;
mod submit;
mod unclaimed;

use clap::{Args, Subcommand};
use lockstep_core::group::roster::Roster;
use serde_json::{Value, json};

use super::service::MemberArgs;
use super::{Exit, Failure, print_json, print_line};
use crate::clock::unix_seconds;
use crate::rosters::Turnover;
use crate::store::{ProposalRow, SigningSwitch, StoreError};

use self::desk::{Desk, State};

pub use propose::{ChainArgs, OutboundArgs, ProposeArgs, What};
pub use submit::SubmitArgs;
pub use unclaimed::UnclaimedArgs;

/// What to do about governance.
#[derive(Debug, Subcommand)]
pub enum GovernCommand {
    /// Write a proposal into a file, for the operators of all members
    Propose(Box<ProposeArgs>),
    /// Approve exactly what a proposal says: this member signs it, and nothing else under its number or nonce, ever
    Approve(ApproveArgs),
    /// Show all proposals that this member knows, who approved them, and what became of them
    List(ListArgs),
    /// Send what the group has signed: a decision as a payment to the group, an action to its contract
    Submit(SubmitArgs),
    /// Show the coins that the group keeps because nobody could or may get them back: a decision can release each
    Unclaimed(UnclaimedArgs),
}

/// What to approve.
#[derive(Debug, Args)]
pub struct ApproveArgs {
    /// A file made by `propose`, or the digest of a proposal that `list` shows (its first 8 digits are enough)
    #[arg(value_name = "FILE|DIGEST")]
    pub proposal: String,
    /// Approve without being asked again
    #[arg(long)]
    pub yes: bool,
    /// Which member.
    #[command(flatten)]
    pub member: MemberArgs,
}

/// How to list.
#[derive(Debug, Args)]
pub struct ListArgs {
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Which member.
    #[command(flatten)]
    pub member: MemberArgs,
}

/// Why this member stops signing, or starts again.
#[derive(Debug, Args)]
pub struct SwitchArgs {
    /// Kept in the database, logged, and shown by /status
    #[arg(long, value_name = "TEXT")]
    pub reason: String,
    /// Which member.
    #[command(flatten)]
    pub member: MemberArgs,
}

pub(super) async fn run(command: GovernCommand) -> Result<Exit, Failure> {
    match command {
        GovernCommand::Propose(args) => propose::propose(&args).await,
        GovernCommand::Approve(args) => approve(&args).await,
        GovernCommand::List(args) => list(&args).await,
        GovernCommand::Submit(args) => submit::submit(&args).await,
        GovernCommand::Unclaimed(args) => unclaimed::unclaimed(&args).await,
    }
}

async fn approve(args: &ApproveArgs) -> Result<Exit, Failure> {
    let desk = Desk::open(&args.member).await?;
    let subject = desk.find(&args.proposal).await?;
    let digest = desk.judge(&subject)?;
    desk.expect_roster(&subject).await?;
    desk.expect_free(&subject, digest).await?;
    desk.expect_late(&subject).await?;
    desk.say(&subject)?;
    if !args.yes && !desk::confirmed(digest)? {
        print_line("not approved")?;
        return Ok(Exit::Negative);
    }
    desk.store.approve_proposal(&subject, unix_seconds()).await.map_err(store)?;
    print_line(&format!("approved {digest}"))?;
    print_line("This member signs it while its service runs; `lockstep govern list` shows when enough do.")?;
    Ok(Exit::Done)
}

async fn list(args: &ListArgs) -> Result<Exit, Failure> {
    let desk = Desk::open(&args.member).await?;
    let (turnover, signing) = (desk.turnover().await?, desk.signing().await?);
    let rows = desk.store.proposals().await.map_err(store)?;
    let mut all = Vec::new();
    for row in &rows {
        all.push((row, desk.state(row).await?));
    }
    if args.json {
        let shown: Vec<Value> = all.iter().map(|(row, state)| json_row(&desk, row, state, &signing)).collect();
        let Turnover { left, most } = turnover;
        print_json(&json!({ "proposals": shown, "turnover": left, "turnover_max": most }))?;
        return Ok(Exit::Done);
    }
    print_line(&of_turnover(turnover))?;
    if all.is_empty() {
        print_line("no proposals")?;
    }
    for (row, state) in all {
        let needed = signing.key().threshold();
        print_line(&format!("{}  {}", row.digest, state.words()))?;
        desk.say(&row.subject)?;
        let approvals = desk.approvals(row, &signing);
        print_line(&format!("  approved by {} of {needed} needed: {}", approvals.len(), names(&approvals)))?;
        if let Some(how) = &row.submission {
            print_line(&format!("  submitted: {how}"))?;
        }
    }
    Ok(Exit::Done)
}

/// Where the group stands with those who left (DESIGN.md section 5).
fn of_turnover(turnover: Turnover) -> String {
    let Turnover { left, most } = turnover;
    let text = format!("{left} of at most {most} members left since the group's key was made");
    if turnover.is_too_far() {
        format!("DUE: {text}. Make a fresh key, then `govern propose rotate` for each chain and `govern propose key`")
    } else {
        text
    }
}

fn names(approvals: &[String]) -> String {
    if approvals.is_empty() { "nobody".to_owned() } else { approvals.join(", ") }
}

fn json_row(desk: &Desk, row: &ProposalRow, state: &State, signing: &Roster) -> Value {
    json!({
        "digest": row.digest,
        "slot": row.subject.slot().to_string(),
        "state": state.name(),
        "says": desk.words(&row.subject),
        "approved_here": row.approved_at.is_some(),
        "approved_by": desk.approvals(row, signing),
        "needed": signing.key().threshold(),
        "submission": row.submission,
        "proposal": row.subject,
    })
}

pub(super) async fn stop_signing(args: &SwitchArgs) -> Result<Exit, Failure> {
    switch(args, true).await
}

pub(super) async fn resume_signing(args: &SwitchArgs) -> Result<Exit, Failure> {
    switch(args, false).await
}

async fn switch(args: &SwitchArgs, stopped: bool) -> Result<Exit, Failure> {
    let reason = args.reason.trim();
    if reason.is_empty() {
        return Err(Failure::bad_input(anyhow::anyhow!("--reason says why, for those who read it later")));
    }
    let desk = Desk::open(&args.member).await?;
    let (at, reason) = (unix_seconds(), reason.to_owned());
    desk.store.switch_signing(&SigningSwitch { stopped, at, reason }).await.map_err(store)?;
    let history = desk.store.signing_switches().await.map_err(store)?;
    let shown = history
        .iter()
        .map(|switch| json!({ "at": switch.at, "stopped": switch.stopped, "reason": switch.reason }))
        .collect::<Vec<_>>();
    print_json(&json!({ "signing": !stopped, "history": shown }))?;
    Ok(Exit::Done)
}

/// A refusal by what is promised is an answer; anything else may pass.
fn store(error: StoreError) -> Failure {
    let exit = match &error {
        StoreError::Taken { .. } | StoreError::Stopped { .. } | StoreError::RoundTaken { .. } => Exit::Negative,
        StoreError::Identity { .. } => Exit::Configuration,
        StoreError::Contradiction(_) | StoreError::Guards(_) => Exit::Halted,
        StoreError::Open { .. }
        | StoreError::Migrate { .. }
        | StoreError::Sql(_)
        | StoreError::Body { .. }
        | StoreError::Corrupt { .. }
        | StoreError::Lease(_)
        | StoreError::Forgotten(_) => Exit::TryAgain,
    };
    Failure::new(exit, error)
}
