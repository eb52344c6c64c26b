//! What operators see of a ceremony: who is how far, and who is missing, by name.

use std::fmt;

use lockstep_core::dkg::{Phase, Progress, Step};
use lockstep_core::{B256, Uuid};
use serde::{Deserialize, Serialize};

use super::listen::{Line, Lines};

/// How far a ceremony is, as it is kept and shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shown {
    /// What this member waits for.
    pub phase: String,
    /// When everybody had joined, in seconds since 1970.
    pub begun_at: Option<u64>,
    /// Everybody, dealers first.
    pub members: Vec<ShownMember>,
    /// Names of those whom this phase waits for.
    pub missing: Vec<String>,
    /// Who did something wrong, and what.
    pub faults: Vec<String>,
    /// Why it failed, if it did.
    pub failure: Option<String>,
    /// Bytes that this member pulled since it started.
    pub bytes_received: u64,
    /// Bytes that others pulled from it since it started.
    pub bytes_sent: u64,
}

/// One participant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShownMember {
    /// Its name.
    pub name: String,
    /// Its index among those who deal.
    pub dealer: Option<u8>,
    /// Its index among those who get a share.
    pub player: Option<u8>,
    /// The last thing that it is known to have done.
    pub step: String,
    /// Whether it answers.
    pub line: String,
}

impl Shown {
    /// What the protocol and the connections say.
    pub(super) fn new(progress: &Progress, lines: &Lines, own: &[u8; 32], begun_at: Option<u64>) -> Self {
        let member = |member: &lockstep_core::dkg::MemberProgress| ShownMember {
            name: member.name.clone(),
            dealer: member.dealer,
            player: member.player,
            step: step(member.step).into(),
            line: if member.identity == *own { "this member" } else { line(lines.of(&member.identity)) }.into(),
        };
        Self {
            phase: phase(progress.phase).into(),
            begun_at,
            members: progress.members.iter().map(member).collect(),
            missing: progress.missing.clone(),
            faults: progress.faults.iter().map(ToString::to_string).collect(),
            failure: None,
            bytes_received: 0,
            bytes_sent: 0,
        }
    }
}

const fn phase(phase: Phase) -> &'static str {
    match phase {
        Phase::Join => "join",
        Phase::Deal => "deal",
        Phase::Log => "log",
        Phase::Agree => "agree",
        Phase::Finish => "finish",
        Phase::Done => "done",
    }
}

const fn step(step: Step) -> &'static str {
    match step {
        Step::Silent => "silent",
        Step::Joined => "joined",
        Step::Dealt => "dealt",
        Step::Acknowledged => "acknowledged",
        Step::Logged => "logged",
        Step::Voted => "voted",
        Step::Ready => "ready",
    }
}

const fn line(line: Line) -> &'static str {
    match line {
        Line::Silent => "does not answer",
        Line::Open => "answers",
        Line::Absent => "answers, but has not approved",
        Line::Lost => "answered before, not now",
    }
}

/// How a ceremony ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "ended", rename_all = "lowercase")]
pub enum Ended {
    /// A certified roster is there, and this member's share where it has one.
    Done {
        /// Digest of the roster: the same at all members.
        roster: B256,
        /// The group's key, compressed, hex.
        group_key: String,
        /// Where the roster, or the group file, was written.
        file: String,
        /// The member's index; none for one that leaves.
        index: Option<u8>,
    },
    /// The operator approved a later round.
    Superseded {
        /// That round's ceremony.
        by: B256,
    },
    /// The group signs with what a later round made, and this member was not asked to take part in it.
    Overtaken {
        /// That round.
        round: u32,
    },
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Done { file, .. } => write!(f, "the ceremony has ended: see `{file}`"),
            Self::Superseded { by } => write!(f, "the operator approved the later ceremony {by} instead"),
            Self::Overtaken { round } => write!(f, "the group signs with the outcome of round {round}"),
        }
    }
}

/// One ceremony, all that `lockstep ceremony status` knows of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Its name.
    pub ceremony: B256,
    /// The group.
    pub group_id: B256,
    /// Counts the group's ceremonies.
    pub round: u32,
    /// `first`, `reshare` or `fresh`.
    pub kind: String,
    /// The generation that it makes.
    pub generation: u32,
    /// How many of the new members must sign.
    pub threshold: u8,
    /// When the operator approved it, in seconds since 1970.
    pub approved_at: u64,
    /// The new members' ledger users, by index.
    pub users: Vec<Uuid>,
    /// How far it is; none before the member took part.
    pub progress: Option<Shown>,
    /// How it ended; none while it has not.
    pub outcome: Option<Ended>,
}
