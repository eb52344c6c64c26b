//! What a ceremony asks of its caller, and what it tells an operator.

use std::collections::BTreeSet;
use std::fmt;

use thiserror::Error;

use super::item::carries_share;
use super::proposal::Deadlines;
use crate::bls::SecretShare;
use crate::group::roster::Roster;

/// What the caller must do, in this order. A [`Effect::Persist`] must be durable before the next effect is begun.
#[derive(Debug)]
pub enum Effect {
    /// Keep this, to restore the ceremony from, in the order in which they come.
    Persist(Record),
    /// Let these members pull this item, until the ceremony is forgotten.
    Publish {
        /// Who may have it.
        to: Receivers,
        /// The item's bytes, at most [`ITEM_MAX`](super::item::ITEM_MAX).
        item: Vec<u8>,
    },
    /// All have joined. From now on count [`Phase::ends_s`] for each later phase, and report each to the
    /// ceremony. Before that only [`Phase::Join`] has a deadline, counted
    /// from the start. After a restart this comes again, and time counts anew: everything has to be pulled again.
    Begun,
    /// It worked: a quorum vouches for the roster. Comes once.
    Done {
        /// Certified.
        roster: Box<Roster>,
        /// The member's share; `None` for an old member that leaves.
        share: Option<SecretShare>,
    },
    /// It did not work, or not in time. What was promised stays served, and if the others finish after all, a
    /// [`Effect::Done`] follows; otherwise the operators propose the next round.
    Failed(Failure),
}

/// Who may pull an item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Receivers {
    /// Every old and new member of the ceremony.
    All,
    /// The member with this identity key.
    One([u8; 32]),
}

/// Kinds of records: the first byte.
pub(super) const SEED: u8 = 0;
pub(super) const ITEM: u8 = 1;
pub(super) const VOTE: u8 = 2;
pub(super) const OUTCOME: u8 = 3;
pub(super) const ROSTER: u8 = 4;

/// A row of the member's memory of a ceremony. It holds no secret in the clear: seed and shares are sealed to the member's
/// own identity key.
#[derive(Clone, PartialEq, Eq)]
pub struct Record(pub(super) Vec<u8>);

impl Record {
    /// The row as it is stored.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// A row as it was stored; whoever restores from it judges it.
    pub const fn from_bytes(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    /// True for the seed and for dealings: with the member's identity key they give its share back, and with its own dealing
    /// the share before as well. Such a row must be gone once the ceremony has ended; a member that has its outcome goes on
    /// without it.
    pub fn is_secret(&self) -> bool {
        match self.0.split_first() {
            Some((&SEED, _)) => true,
            Some((&ITEM, item)) => carries_share(item),
            Some(_) | None => false,
        }
    }

    /// True for the row behind which this member says that it holds the outcome. The others may finish with that word, so
    /// they may count on this member's share.
    pub fn is_outcome(&self) -> bool {
        self.0.first() == Some(&OUTCOME)
    }
}

impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Record({} bytes)", self.0.len())
    }
}

/// Where a ceremony stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Waiting for everybody.
    Join,
    /// Shares and receipts go back and forth.
    Deal,
    /// Dealers publish their logs.
    Log,
    /// One set of logs is agreed on.
    Agree,
    /// Members say that they hold their shares.
    Finish,
    /// A certified roster is there.
    Done,
}

impl Phase {
    /// When the phase must be over, in seconds: [`Phase::Join`] from the start, later ones from [`Effect::Begun`].
    pub fn ends_s(self, deadlines: &Deadlines) -> Option<u64> {
        let Deadlines { join, deal, log, agree, finish } = *deadlines;
        let sum = |parts: &[u32]| parts.iter().map(|part| u64::from(*part)).sum();
        match self {
            Self::Join => Some(join.into()),
            Self::Deal => Some(deal.into()),
            Self::Log => Some(sum(&[deal, log])),
            Self::Agree => Some(sum(&[deal, log, agree])),
            Self::Finish => Some(sum(&[deal, log, agree, finish])),
            Self::Done => None,
        }
    }
}

/// How far a member is known to have come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// Nothing was heard of it.
    Silent,
    /// Its operator approved.
    Joined,
    /// It dealt to this member.
    Dealt,
    /// It acknowledged this member's dealing.
    Acknowledged,
    /// Its log is there.
    Logged,
    /// It signed the set of logs.
    Voted,
    /// It holds its share.
    Ready,
}

/// What an operator sees of one member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberProgress {
    /// Its name.
    pub name: String,
    /// Its identity key.
    pub identity: [u8; 32],
    /// Its index among the old members, if it deals.
    pub dealer: Option<u8>,
    /// Its index among the new members, if it gets a share.
    pub player: Option<u8>,
    /// The last thing that it is known to have done.
    pub step: Step,
}

/// What an operator sees of a ceremony.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Where this member stands.
    pub phase: Phase,
    /// Everybody, dealers first.
    pub members: Vec<MemberProgress>,
    /// Names of those whom this phase waits for.
    pub missing: Vec<String>,
    /// What went wrong so far.
    pub faults: Vec<Fault>,
}

/// Somebody did something wrong, or nothing.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Error)]
#[error("{name} {kind}")]
pub struct Fault {
    /// The member's name.
    pub name: String,
    /// The member's identity key.
    pub identity: [u8; 32],
    /// What it did.
    pub kind: FaultKind,
}

/// What a member did.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Error)]
pub enum FaultKind {
    /// It did not join in time.
    #[error("has not joined")]
    NotJoined,
    /// No receipt for a share in time.
    #[error("has not acknowledged its share")]
    NoAck,
    /// No log of a dealer in time.
    #[error("has not published its log")]
    NoLog,
    /// The leader proposed nothing.
    #[error("has not proposed a set of logs, although it leads this round")]
    NoSet,
    /// No vote in time.
    #[error("has not voted for the set of logs")]
    NoVote,
    /// No ready in time.
    #[error("has not said that it holds its share")]
    NotReady,
    /// A commitment with another number of coefficients than the threshold.
    #[error("committed to {got} coefficients instead of {expected}")]
    Degree {
        /// The threshold.
        expected: u8,
        /// Found.
        got: usize,
    },
    /// A coefficient that is no point of the subgroup.
    #[error("committed to a point that {reason}")]
    Point {
        /// What is wrong with it.
        reason: &'static str,
    },
    /// Another constant than the public share that the dealer holds.
    #[error("dealt another secret than its share of the old key")]
    Constant,
    /// No proof, or a wrong one, that the dealer knows its constant.
    #[error("did not prove that it knows its constant term")]
    Possession,
    /// A share that does not open or does not fit the commitment.
    #[error("sent a share that does not fit its commitment")]
    Share,
    /// Two commitments.
    #[error("signed two different dealings")]
    TwoDealings,
    /// Two logs.
    #[error("signed two different logs")]
    TwoLogs,
    /// Two sets.
    #[error("signed two different sets of logs")]
    TwoSets,
    /// Two votes.
    #[error("voted for two different sets of logs")]
    TwoVotes,
    /// A log for another number of players.
    #[error("published a log for {got} players instead of {expected}")]
    Players {
        /// New members.
        expected: usize,
        /// Found.
        got: usize,
    },
    /// A log with a signature that is not the player's.
    #[error("published a receipt of member {player} that is not signed by it")]
    Receipt {
        /// The player.
        player: u8,
    },
    /// A log with a share that does not fit.
    #[error("revealed a share of member {player} that does not fit its commitment")]
    Reveal {
        /// The player.
        player: u8,
    },
    /// A log that reveals more shares than there can be bad players.
    #[error("revealed {count} shares, at most {most} are allowed")]
    Reveals {
        /// Found.
        count: usize,
        /// Allowed.
        most: usize,
    },
    /// A log whose marks are not signed by the group.
    #[error("claims marks that the group did not sign")]
    Marks,
    /// A leader that proposes what no honest one would.
    #[error("proposed a set with too few logs, or with one that is void")]
    Set,
    /// A leader whose set names a log that nobody shows.
    #[error("proposed a log of dealer {dealer} that nobody shows")]
    UnseenLog {
        /// The dealer.
        dealer: u8,
    },
    /// A player whose share so many dealers published that it is no secret.
    #[error("acknowledged too few shares: {count} dealers had to reveal theirs")]
    Revealed {
        /// How many.
        count: usize,
    },
    /// A player whose share of the outcome is zero. Whoever deals last can do that to a share that it knows, its own.
    #[error("would have a zero share, which nobody else can bring about")]
    ZeroShare,
    /// A member that acknowledged a share and no longer has it: a database from before.
    #[error("has lost a share that it had acknowledged")]
    Lost,
    /// Another outcome from the same logs.
    #[error("is ready with another outcome than the logs give")]
    OtherOutcome,
}

/// Why a ceremony did not end with a key.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("the ceremony failed in phase {phase:?}: {}", list(.faults))]
pub struct Failure {
    /// Where.
    pub phase: Phase,
    /// Who is to blame, by name; empty only if too few answered for reasons that this member cannot know.
    pub faults: BTreeSet<Fault>,
}

fn list(faults: &BTreeSet<Fault>) -> String {
    let texts: Vec<_> = faults.iter().map(ToString::to_string).collect();
    texts.join("; ")
}
