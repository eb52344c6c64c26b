//! Where another member's history parts from this one's.
//!
//! Histories are hashes over everything before, so two of them are equal up to one place and differ ever after: that place is
//! found by halving. Nothing that a member says is verified, and it cannot do more than claim a difference.

use std::collections::{BTreeMap, BTreeSet};

use lockstep_core::output::Output;
use lockstep_core::{B256, Uuid};
use tokio::task::JoinSet;
use tracing::debug;

use crate::peer::{PeerClient, PeerError};
use crate::store::{Store, StoreError};
use crate::world::doubt::{Difference, HistoryAt, Seen};

/// Halvings: sequences have 63 bits.
const HALVINGS_MAX: u32 = 64;

/// Where this member's history stands at `at`.
///
/// # Errors
/// Reports an unreadable row.
pub async fn history_at(store: &Store, at: u64) -> Result<HistoryAt, StoreError> {
    let applied = store.last_step().await?.map_or(0, |step| step.checkpoint.sequence);
    // SQLite's integers end below u64's; nobody has applied anything there.
    let at_row = at.min(i64::MAX.unsigned_abs());
    let step = store.step_before(at_row).await?;
    let (sequence, history) = step.map_or((0, B256::ZERO), |step| (step.checkpoint.sequence, step.checkpoint.history));
    let next = store.output_after(at_row).await?.as_ref().map(Seen::from);
    Ok(HistoryAt { at, applied: applied.max(sequence), sequence, history, next })
}

/// How another member's history compares with this one's.
#[derive(Clone, Debug, PartialEq, Eq)]
enum View {
    /// Equal up to where the shorter one ends.
    Same { through: u64 },
    /// Other outputs.
    Differs(Box<Difference>),
}

/// How all members that answer compare.
#[derive(Debug, Default)]
pub(super) struct Views(BTreeMap<u8, View>);

impl Views {
    pub(super) fn differences(&self) -> impl Iterator<Item = &Difference> {
        self.0.values().filter_map(|view| match view {
            View::Differs(difference) => Some(&**difference),
            View::Same { .. } => None,
        })
    }

    /// Members that applied `row` where this one has something else or nothing.
    pub(super) fn with(&self, row: &Output) -> usize {
        let seen = Some(Seen::from(row));
        self.differences().filter(|difference| difference.theirs == seen).count()
    }

    /// Members that have this member's history at `sequence` and beyond.
    pub(super) fn without(&self, sequence: u64) -> usize {
        self.0.values().filter(|view| matches!(view, View::Same { through } if *through >= sequence)).count()
    }

    /// The first sequence at which `enough` members differ: fewer may lie about any place.
    pub(super) fn first_difference(&self, enough: usize) -> Option<u64> {
        let firsts: BTreeSet<_> = self.differences().map(Difference::first).collect();
        firsts.into_iter().find(|first| self.differing_at(*first).len() >= enough)
    }

    pub(super) fn differing_at(&self, first: u64) -> BTreeSet<u8> {
        self.differences()
            .filter(|difference| difference.first() == first)
            .map(|difference| difference.member)
            .collect()
    }

    /// The output that this member applied at `first`, and how many have gone beyond that place without any.
    pub(super) fn only_here(&self, first: u64) -> Option<(Uuid, usize)> {
        let passed = |difference: &&Difference| match (&difference.ours, &difference.theirs) {
            (Some(ours), Some(theirs)) => ours.sequence == first && theirs.sequence > first && theirs.id != ours.id,
            _ => false,
        };
        let row = self.differences().find(passed)?.ours.as_ref()?.id;
        Some((row, self.differences().filter(passed).count()))
    }
}

/// Asks all of `members`. Who does not answer is left out.
pub(super) async fn compare(
    store: &Store,
    peers: &PeerClient,
    members: &[u8],
    before: &Views,
) -> Result<Views, StoreError> {
    let mut asked = JoinSet::new();
    for member in members.iter().copied() {
        let (store, peers) = (store.clone(), peers.clone());
        let known = match before.0.get(&member) {
            Some(View::Differs(difference)) => Some(Difference::clone(difference)),
            Some(View::Same { .. }) | None => None,
        };
        asked.spawn(async move { (member, view(&store, Peer { peers, member }, known).await) });
    }
    let mut views = Views::default();
    while let Some(answer) = asked.join_next().await {
        match answer {
            Ok((member, Ok(view))) => {
                views.0.insert(member, view);
            }
            Ok((_, Err(Unanswered::Store(error)))) => return Err(error),
            Ok((member, Err(Unanswered::Peer(error)))) => debug!(member, %error, "no history to compare with"),
            Err(error) => debug!(%error, "a comparison was dropped"),
        }
    }
    Ok(views)
}

/// Why there is no view.
enum Unanswered {
    Store(StoreError),
    Peer(PeerError),
}

impl From<StoreError> for Unanswered {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<PeerError> for Unanswered {
    fn from(error: PeerError) -> Self {
        Self::Peer(error)
    }
}

struct Peer {
    peers: PeerClient,
    member: u8,
}

impl Peer {
    async fn at(&self, at: u64) -> Result<HistoryAt, PeerError> {
        self.peers.pull_history(self.member, at).await
    }
}

async fn view(store: &Store, peer: Peer, known: Option<Difference>) -> Result<View, Unanswered> {
    if let Some(known) = known {
        let (ours, theirs) = (history_at(store, known.agreed).await?, peer.at(known.agreed).await?);
        if alike(&ours, &theirs) && (&ours.next, &theirs.next) == (&known.ours, &known.theirs) {
            return Ok(View::Differs(known.into()));
        }
    }
    let own = history_at(store, u64::MAX).await?;
    let theirs = peer.at(own.sequence).await?;
    if alike(&own, &theirs) {
        return Ok(View::Same { through: own.sequence });
    }
    let ours = history_at(store, theirs.sequence).await?;
    if alike(&ours, &theirs) {
        // It has all that this member has up to there. Has it gone further without what this member has next?
        return Ok(if theirs.applied > own.sequence {
            difference(peer.member, ours, theirs)
        } else {
            View::Same { through: theirs.sequence }
        });
    }
    let (mut low, mut high) = (0, theirs.sequence.max(1));
    for _ in 0..HALVINGS_MAX {
        if high.saturating_sub(low) <= 1 {
            break;
        }
        let middle = low.midpoint(high);
        if alike(&history_at(store, middle).await?, &peer.at(middle).await?) { low = middle } else { high = middle }
    }
    Ok(difference(peer.member, history_at(store, low).await?, peer.at(low).await?))
}

fn alike(ours: &HistoryAt, theirs: &HistoryAt) -> bool {
    (ours.sequence, ours.history) == (theirs.sequence, theirs.history)
}

fn difference(member: u8, ours: HistoryAt, theirs: HistoryAt) -> View {
    View::Differs(Box::new(Difference { member, agreed: ours.sequence, ours: ours.next, theirs: theirs.next }))
}

#[cfg(test)]
mod tests {
    use lockstep_core::output::CoinId;
    use lockstep_core::{Amount, AssetId};

    use super::*;

    fn output(id: u128, sequence: u64) -> Output {
        Output {
            id: Uuid::from_u128(id),
            sequence,
            created_at: 1,
            coin: CoinId { transaction: B256::ZERO, index: 0 },
            asset: AssetId([1; 32]),
            amount: Amount::from_units(1),
            senders: None,
            extra: Vec::new(),
            stored: None,
            inscription: None,
            spends: Vec::new(),
            generation: 0,
            late: false,
        }
    }

    fn differs(member: u8, ours: (u128, u64), theirs: (u128, u64)) -> (u8, View) {
        let [ours, theirs] = [ours, theirs].map(|(id, sequence)| Some(Seen::from(&output(id, sequence))));
        (member, View::Differs(Box::new(Difference { member, agreed: 5, ours, theirs })))
    }

    #[test]
    fn members_should_be_counted_for_what_they_have() {
        let same = |member, through| (member, View::Same { through });
        let views = Views(BTreeMap::from([
            same(2, 20),
            same(3, 9),
            differs(4, (8, 12), (7, 10)),
            differs(5, (8, 12), (7, 10)),
        ]));
        assert_eq!((views.without(10), views.without(9)), (1, 2), "who lags has not gone by yet");
        assert_eq!((views.with(&output(7, 10)), views.with(&output(7, 11))), (2, 0));
        assert_eq!((views.first_difference(2), views.differing_at(10)), (Some(10), BTreeSet::from([4, 5])));
        assert_eq!(views.first_difference(3), None, "two members are too few");
        assert_eq!(views.only_here(10), None, "they have something there");
    }

    #[test]
    fn a_row_should_count_as_only_here_where_others_went_on_without_it() {
        let views = Views(BTreeMap::from([
            differs(2, (7, 10), (8, 12)),
            differs(3, (7, 10), (8, 12)),
            // The same output at another place is no output that they lack.
            differs(4, (7, 10), (7, 13)),
            // What one member says of an earlier place does not keep this one from hearing the others.
            differs(5, (6, 8), (9, 9)),
        ]));
        assert_eq!((views.first_difference(3), views.first_difference(1)), (Some(10), Some(8)));
        assert_eq!(views.only_here(10), Some((Uuid::from_u128(7), 2)));
        assert_eq!(views.differing_at(10).len(), 3);
    }
}
