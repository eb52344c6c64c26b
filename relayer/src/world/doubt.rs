//! What a member is in doubt about: outputs that it and others see differently, and what it waits for meanwhile.
//!
//! For people, and for the choice what to ask next; nothing is derived from any of it.

use alloy::primitives::keccak256;
use lockstep_core::output::{CoinId, Output};
use lockstep_core::{Amount, AssetId, B256, Mix, Uuid};
use serde::{Deserialize, Serialize};

/// An applied output as a member sees it, without its extra, which may have 4 MiB.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// Identity on the ledger's API.
    pub id: Uuid,
    /// Place in the order.
    pub sequence: u64,
    /// Ledger time, in nanoseconds since 1970.
    pub created_at: u64,
    /// Where the coin lies.
    pub coin: CoinId,
    /// Kernel asset id.
    pub asset: AssetId,
    /// What the coin holds.
    pub amount: Amount,
    /// Who paid, where the ledger's API says so.
    pub senders: Option<Mix>,
    /// keccak256 of the extra.
    pub extra: B256,
    /// Set for a collectible.
    pub inscription: Option<B256>,
}

impl From<&Output> for Seen {
    fn from(output: &Output) -> Self {
        Self {
            id: output.id,
            sequence: output.sequence,
            created_at: output.created_at,
            coin: output.coin,
            asset: output.asset,
            amount: output.amount,
            senders: output.senders.clone(),
            extra: keccak256(&output.extra),
            inscription: output.inscription,
        }
    }
}

/// Where a member's history stands at a place in the order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryAt {
    /// The place that was asked for.
    pub at: u64,
    /// The newest sequence that the member has applied, 0 before the first.
    pub applied: u64,
    /// The newest applied sequence that is not above `at`, 0 if there is none.
    pub sequence: u64,
    /// The history after it; zero if there is none.
    pub history: B256,
    /// The first output that it applied behind `at`.
    pub next: Option<Seen>,
}

/// The first output that two members see differently. Up to `agreed` their histories are equal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    /// The other member's index.
    pub member: u8,
    /// The newest sequence at which both have the same history.
    pub agreed: u64,
    /// The next output that this member applied.
    pub ours: Option<Seen>,
    /// The next output that the other one applied.
    pub theirs: Option<Seen>,
}

impl Difference {
    /// The first sequence at which they part.
    pub fn first(&self) -> u64 {
        let sequences = [&self.ours, &self.theirs].into_iter().flatten().map(|seen| seen.sequence);
        sequences.min().unwrap_or(self.agreed)
    }

    /// What differs, in a word: a field of the same output, or which of them has one that the other has not.
    pub fn what(&self) -> &'static str {
        let (Some(ours), Some(theirs)) = (&self.ours, &self.theirs) else { return "the end of the order" };
        if ours.id != theirs.id {
            return if ours.sequence < theirs.sequence { "only this member has it" } else { "this member lacks it" };
        }
        let fields = [
            (ours.sequence == theirs.sequence, "sequence"),
            (ours.created_at == theirs.created_at, "created_at"),
            (ours.senders == theirs.senders, "senders"),
            (ours.amount == theirs.amount, "amount"),
            (ours.asset == theirs.asset, "asset"),
            (ours.coin == theirs.coin, "coin"),
            (ours.extra == theirs.extra, "extra"),
            (ours.inscription == theirs.inscription, "inscription"),
        ];
        fields.into_iter().find(|(same, _)| !same).map_or("the group's configuration", |(_, field)| field)
    }
}

/// An output behind the cursor that is not applied: only a decision gives it a place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetAside {
    /// The output.
    pub output: Uuid,
    /// Where the ledger lists it.
    pub sequence: u64,
    /// Kernel asset id.
    pub asset: AssetId,
    /// What it holds.
    pub amount: Amount,
}

impl From<&Output> for SetAside {
    fn from(output: &Output) -> Self {
        Self { output: output.id, sequence: output.sequence, asset: output.asset, amount: output.amount }
    }
}

/// A payout that time alone does not move.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldPayout {
    /// Its trace as the ledger's API knows it.
    pub payout: Uuid,
    /// Why, in words.
    pub reason: String,
}

/// Everything that keeps a member from going on with the ledger.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LedgerDoubts {
    /// Why the next output cannot be applied; it names the output and its sequence.
    pub waits: Option<String>,
    /// Outputs behind the cursor of which it is not settled yet whether the group goes on with or without them, and outputs
    /// that read otherwise than when they were applied.
    pub behind: Vec<String>,
    /// Outputs that were set aside and wait for a decision.
    pub late: Vec<SetAside>,
    /// Where other members see something else.
    pub differences: Vec<Difference>,
    /// Payouts that are held.
    pub held: Vec<HeldPayout>,
}

/// A row behind the cursor that reads otherwise than when it was applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changed {
    /// The output.
    pub output: Uuid,
    /// Where it was applied.
    pub sequence: u64,
    /// What differs; `listed` where the ledger lists it no more.
    pub field: &'static str,
    /// As it was applied.
    pub applied: String,
    /// As it is listed now.
    pub listed: String,
}

impl std::fmt::Display for Changed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { output, sequence, field, applied, listed } = self;
        write!(
            f,
            "output {output} at sequence {sequence}: {field} was {applied} when it was applied and is {listed} now"
        )
    }
}

/// What a second reading of rows behind the cursor shows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reread {
    /// Applied rows that read otherwise, or are listed no more.
    pub changed: Vec<Changed>,
    /// Final outputs that are listed and were not applied.
    pub behind: Vec<Output>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(id: u128, sequence: u64) -> Seen {
        Seen {
            id: Uuid::from_u128(id),
            sequence,
            created_at: 1,
            coin: CoinId { transaction: B256::ZERO, index: 0 },
            asset: AssetId([1; 32]),
            amount: Amount::from_units(1),
            senders: None,
            extra: B256::ZERO,
            inscription: None,
        }
    }

    fn what(ours: Option<Seen>, theirs: Option<Seen>) -> (&'static str, u64) {
        let difference = Difference { member: 2, agreed: 5, ours, theirs };
        (difference.what(), difference.first())
    }

    #[test]
    fn a_difference_should_be_told_in_a_word_and_named_by_its_first_sequence() {
        assert_eq!(what(Some(seen(1, 9)), Some(seen(2, 7))), ("this member lacks it", 7));
        assert_eq!(what(Some(seen(1, 7)), Some(seen(2, 9))), ("only this member has it", 7));
        assert_eq!(what(Some(seen(1, 7)), None), ("the end of the order", 7));
        let otherwise = Seen { senders: Some(Mix::of_users([Uuid::max()], 1)), ..seen(1, 7) };
        assert_eq!(what(Some(seen(1, 7)), Some(otherwise)), ("senders", 7));
        assert_eq!(what(Some(seen(1, 7)), Some(Seen { sequence: 8, ..seen(1, 7) })), ("sequence", 7));
        assert_eq!(what(Some(seen(1, 7)), Some(seen(1, 7))), ("the group's configuration", 7));
    }
}
