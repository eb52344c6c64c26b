//! Kernel nodes that take what they are sent and throw it away.

use lockstep::devnet::ledger::{Fault, FaultOrder, FaultRow, Lie};

use super::*;

/// All nodes say that they took what they were sent, and do nothing.
async fn all_throw_away(scene: &Scene) -> Vec<FaultRow> {
    let mut liars = Vec::new();
    for node in 1..=3 {
        let lie = Fault::Lie { about: Lie::Taken, transaction: None };
        liars.push(scene.bench.fault(FaultOrder::new(lie).at_node(node)).await);
    }
    liars
}

async fn thrown_away(scene: &Scene, liars: &[FaultRow]) -> u64 {
    let mut acted = Vec::new();
    for liar in liars {
        acted.push(scene.bench.acted(liar).await);
    }
    acted.iter().sum()
}

/// The ledger's API takes no signature, so a payout comes to the kernel by the members' own pushes alone, and all nodes but one
/// throw it away: whichever that is, a member comes to it. It begins with the second node.
#[tokio::test(flavor = "multi_thread")]
async fn a_payout_should_be_handed_to_other_nodes_until_one_keeps_it() {
    for (honest, at_least) in [(2, 0), (3, 1), (1, 2)] {
        let scene = Scene::start().await;
        scene.lines.iter().for_each(|line| line.set(true, false));
        let mut liars = all_throw_away(&scene).await;
        scene.until_signed(&mut scene.members([1, 2, 3])).await;
        let truthful = liars.remove(honest - 1);
        scene.bench.operator.clear_fault(truthful.id).await.expect("an honest node");
        let before = thrown_away(&scene, &liars).await;

        let mut members = scene.members([1, 2, 3]);
        scene.until_final(&mut members, &[1, 2, 3], scene.payout.id).await;
        scene.assert_paid(&[1, 2, 3], 0).await;
        let more = thrown_away(&scene, &liars).await - before;
        assert!(more >= at_least && (at_least > 0 || more == 0), "{more} were thrown away, node {honest} kept one");
    }
}
