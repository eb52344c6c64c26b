use std::sync::LazyLock;

use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};
use proptest::sample::Index;

use super::*;
use crate::dkg::testing::{Network, first, key, proposal, roster};

/// The logs that members of a first ceremony showed, and its terms.
fn logs(network: &Network) -> (Terms, Vec<Item>) {
    let terms = Terms::new(proposal(Kind::First, 1, &[1, 2, 3, 4], 3, None), None).expect("terms");
    let items = network.said.iter().map(|(_, item)| Item::decode(item, &terms.binding).expect("an item"));
    let logs: Vec<_> = items.filter(|item| matches!(item.body, Body::Log { .. })).collect();
    assert_eq!(logs.len(), 4);
    (terms, logs)
}

fn bytes(logs: &[Item]) -> Vec<Vec<u8>> {
    logs.iter().map(|log| log.bytes().to_vec()).collect()
}

/// The log of the first dealer, changed and signed again.
fn changed(network: &Network, change: impl FnOnce(&mut Commitment, &mut Vec<Receipt>, &mut Marks)) -> FaultKind {
    let (terms, logs) = logs(network);
    let dealer = terms.dealer_index(&logs[0].author).expect("a dealer");
    let Body::Log { mut commitment, mut receipts, mut marks } = logs[0].body.clone() else { panic!("no log") };
    change(&mut commitment, &mut receipts, &mut marks);
    let number = (1..=4).find(|number| key(*number).verifying_key().to_bytes() == logs[0].author).expect("a member");
    let item = Item::sign(&terms.binding, Body::Log { commitment, receipts, marks }, &key(number));
    let refused = CheckedLog::new(&terms, dealer, &item).map(|_| ()).expect_err("a void log");
    // An observer sees the same, and says who.
    let mut all = bytes(&logs);
    all[0] = item.bytes().to_vec();
    let observed = observe(terms.proposal.clone(), None, &all).map(|_| ());
    assert_eq!(observed, Err(ObserveError::Fault(terms.fault(&item.author, refused.clone()))));
    refused
}

#[test]
fn logs_for_other_players_or_with_too_many_shares_should_be_refused() {
    let network = first(&[1, 2, 3, 4], 3);
    let short = changed(&network, |_, receipts, _| {
        receipts.pop();
    });
    assert_eq!(short, FaultKind::Players { expected: 4, got: 3 });
    let long = changed(&network, |_, receipts, _| receipts.push(receipts[0].clone()));
    assert_eq!(long, FaultKind::Players { expected: 4, got: 5 });
    let reveals = changed(&network, |_, receipts, _| receipts[..2].fill(Receipt::Reveal([7; 32].into())));
    assert_eq!(reveals, FaultKind::Reveals { count: 2, most: 1 });
}

#[test]
fn receipts_and_shares_that_do_not_fit_should_be_refused() {
    let network = first(&[1, 2, 3, 4], 3);
    let forged = changed(&network, |_, receipts, _| receipts[2] = Receipt::Ack([7; 64]));
    assert_eq!(forged, FaultKind::Receipt { player: 3 });
    // Another player's receipt.
    let swapped = changed(&network, |_, receipts, _| receipts.swap(0, 1));
    assert_eq!(swapped, FaultKind::Receipt { player: 1 });
    for share in [[7; 32], [0; 32], [0xff; 32]] {
        let revealed = changed(&network, |_, receipts, _| receipts[3] = Receipt::Reveal(share.into()));
        assert_eq!(revealed, FaultKind::Reveal { player: 4 });
    }
    let degree = changed(&network, |commitment, _, _| {
        commitment.points.pop();
    });
    assert_eq!(degree, FaultKind::Degree { expected: 3, got: 2 });
    // Nobody acknowledged this one, good as it is.
    let other = changed(&network, |commitment, _, _| commitment.points.swap(1, 2));
    assert_eq!(other, FaultKind::Receipt { player: 1 });
    let marks = changed(&network, |_, _, marks| marks.decision = 1);
    assert_eq!(marks, FaultKind::Marks);
}

#[test]
fn sets_that_are_too_small_or_foreign_should_give_no_outcome() {
    let network = first(&[1, 2, 3, 4], 3);
    let (terms, logs) = logs(&network);
    let all = bytes(&logs);
    let seen = |logs: &[Vec<u8>]| observe(terms.proposal.clone(), None, logs);
    assert_eq!(seen(&[]), Err(ObserveError::TooFew { need: 3, got: 0 }));
    // The same log twice is one.
    let twice = [all[0].clone(), all[1].clone(), all[0].clone()];
    assert_eq!(seen(&twice), Err(ObserveError::TooFew { need: 3, got: 2 }));
    let vote = Item::sign(&terms.binding, Body::Vote { set: B256::ZERO }, &key(1));
    let no_log = ObserveError::Fault(terms.fault(&vote.author, FaultKind::NoLog));
    assert_eq!(seen(&[vote.bytes().to_vec()]), Err(no_log));
    let stranger = Item::sign(&terms.binding, logs[0].body.clone(), &key(9));
    let error = ItemError::Stranger { what: "log", author: stranger.author };
    assert_eq!(seen(&[stranger.bytes().to_vec()]), Err(ObserveError::Item(error)));
    let later = proposal(Kind::First, 2, &[1, 2, 3, 4], 3, None);
    assert!(matches!(observe(later, None, &all), Err(ObserveError::Item(ItemError::Other { round: 1, .. }))));
    let follows = observe(terms.proposal.clone(), Some(roster(&network).clone()), &all);
    assert!(matches!(follows, Err(ObserveError::Proposal(_))));
    let (made, marks) = seen(&all).expect("an outcome");
    assert_eq!((made.digest(), marks), (roster(&network).digest(), Marks::default()));
    // Fewer logs make another key, which is why a quorum signs one set.
    let (other, _) = seen(&all[..3]).expect("an outcome");
    assert_ne!(other.key().key(), made.key().key());
}

#[test]
fn players_whose_shares_are_public_should_be_named() {
    let network = first(&[1, 2, 3, 4], 3);
    let (terms, logs) = logs(&network);
    let mut checked: Vec<_> = (logs.iter())
        .map(|log| {
            let dealer = terms.dealer_index(&log.author).expect("a dealer");
            (dealer, CheckedLog::new(&terms, dealer, log).expect("a good log"))
        })
        .collect();
    let outcome = |checked: &[(u8, CheckedLog)]| {
        public(&terms, &checked.iter().map(|(dealer, log)| (*dealer, log)).collect()).map(|(roster, _)| roster.digest())
    };
    let good = outcome(&checked).expect("an outcome");
    checked[0].1.receipts[1] = Receipt::Reveal([7; 32].into());
    assert_eq!(outcome(&checked), Ok(good), "one dealer may be bad");
    checked[3].1.receipts[1] = Receipt::Reveal([7; 32].into());
    let named = terms.fault(&key(2).verifying_key().to_bytes(), FaultKind::Revealed { count: 2 });
    assert_eq!(outcome(&checked), Err(BTreeSet::from([named])));
}

static MADE: LazyLock<Vec<u8>> = LazyLock::new(|| roster(&first(&[1, 2, 3, 4], 3)).encode().expect("certified"));

proptest! {
    /// A roster says one thing in one way, and nobody else's signatures stand under it.
    #[test]
    fn rosters_should_have_one_encoding(place in any::<Index>(), bits in 1..=u8::MAX) {
        let made = Roster::decode(&MADE);
        prop_assert_eq!(made.map(|made| made.encode()), Ok(Some(MADE.clone())));
        let place = place.index(MADE.len());
        let mut changed = MADE.clone();
        changed[place] ^= bits;
        // All of it is signed by each member.
        prop_assert!(Roster::decode(&changed).is_err());
        prop_assert!(Roster::decode(&MADE[..place]).is_err());
        prop_assert!(Roster::decode(&[&MADE[..], &[bits]].concat()).is_err());
    }
}
