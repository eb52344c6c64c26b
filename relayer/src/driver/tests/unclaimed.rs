//! What the driver says of coins that nobody gets back.

use lockstep_core::operation::{DecisionBody, SignedDecision, decision_digest};

use super::*;
use crate::store::Release;

/// Too little to be given back.
fn dust(sequence: u64, asset: u8) -> Output {
    let call = Operation::call(Uuid::from_u128(1), Vec::new());
    Output { asset: AssetId([asset; 32]), amount: Amount::from_units(7), ..output(sequence, 60, &call) }
}

fn released(sequence: u64, coin: &Output, to: &Mix) -> Output {
    let body = DecisionBody::Release { output: coin.id, to: to.clone() };
    let digest = decision_digest(&GROUP_ID, 1, &body.encode());
    let signed = SignedDecision { number: 1, body, signature: key().sign_digest(&digest).compress() };
    output(sequence, 61, &Operation::decision(&signed).expect("a short decision"))
}

async fn kept(store: &Store) -> Vec<(u64, Uuid)> {
    let mut kept = Vec::new();
    store.each_unclaimed(|sequence, output| kept.push((sequence, output.id))).await.expect("readable");
    kept
}

#[tokio::test]
async fn unclaimed_coins_should_be_counted_until_they_are_released() {
    let folder = TempDir::new().expect("a folder");
    let us = Identity { group_digest: [7; 32], member: 1 };
    let store = Store::open(&folder.path().join("lockstep.db"), us).await.expect("a database");
    let rules = || {
        let mut rules = rules();
        let rule = rules.derive.default;
        rules.derive.assets.insert(AssetId([1; 32]), rule);
        rules
    };
    let mut driver = Driver::restore(rules(), store.clone()).await.expect("sound");
    let unclaimed = driver.unclaimed();
    assert_eq!(*unclaimed.borrow(), Unclaimed::default());
    let (first, second, foreign) = (dust(3, 1), dust(5, 1), dust(7, 2));
    let outputs = vec![first.clone(), second.clone(), foreign.clone()];
    driver.turn(vec![Input::Outputs { after: 0, outputs }]).await.expect("a turn");
    let of = |coins: u64, units: u128| {
        let sums = BTreeMap::from([(AssetId([1; 32]), Amount::from_units(units))]);
        Unclaimed { coins, sums, unlisted: 1 }
    };
    assert_eq!(*unclaimed.borrow(), of(3, 14));
    assert_eq!(kept(&store).await, [(3, first.id), (5, second.id), (7, foreign.id)]);
    assert_eq!(store.releases().await.expect("readable"), BTreeMap::new());

    let to = Mix::of_users([Uuid::from_u128(62)], 1);
    let outputs = vec![released(9, &first, &to)];
    driver.turn(vec![Input::Outputs { after: 7, outputs }]).await.expect("a turn");
    assert_eq!(*unclaimed.borrow(), of(2, 7));
    assert_eq!(kept(&store).await.len(), 3, "it was unclaimed once, and that stays known");
    let release = Release { to, is_final: false };
    assert_eq!(store.releases().await.expect("readable"), BTreeMap::from([(first.id, release)]));

    // The same after a restart, and what is given up is counted no more.
    drop(driver);
    let mut driver = Driver::restore(rules(), store.clone()).await.expect("sound");
    let unclaimed = driver.unclaimed();
    assert_eq!(*unclaimed.borrow(), of(2, 7));
    driver.turn(vec![Input::Rewind { first: 5, aside: None }]).await.expect("a turn");
    assert_eq!(unclaimed.borrow().coins, 1);
    assert_eq!(kept(&store).await, [(3, first.id)]);
}
