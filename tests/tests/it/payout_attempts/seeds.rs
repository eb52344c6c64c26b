//! What the keys of payouts are made from is a secret of the members, and making it needs t of them.

use lockstep::store::{Payload, SigningSwitch};
use lockstep_core::payout::Attempts;

use super::*;

impl Scene {
    /// The seed that a member has kept.
    async fn kept(&self, number: u8, attempt: u32) -> Option<[u8; 48]> {
        let key = self.group.roster().key().key().compress();
        self.neighbours.store(number).seed((self.payout.id, attempt), &key).await.expect("rows")
    }

    /// The rows of a member that has promised the coin to the first attempt, and signed nothing yet.
    pub(super) async fn promise(&self, number: u8) {
        let (transaction, mut attempts) = (self.build(0).await, Attempts::default());
        attempts.build(&transaction).expect("the first one");
        let payload = Payload { hash: transaction.hash(), raw: transaction.unsigned().encode() };
        let (store, id) = (self.neighbours.store(number), self.payout.id);
        store.fix_payload(id, &attempts, &payload).await.expect("a row");
        store.guard_coins(id, 0, payload.hash, &[self.coin.coin]).await.expect("a row");
    }
}

/// Rounds of members that never pay as long as it is looked.
async fn rounds(members: &mut [Driver], count: usize) {
    for _ in 0..count {
        for member in members.iter_mut() {
            member.round().await.expect("no contradiction");
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Group, trace, attempt and receivers are public. Whoever made hints of them took the keys of a payout with a coin of dust;
/// now he takes keys that nobody wants.
#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_should_not_find_the_keys_of_a_payout() {
    let scene = Scene::start().await;
    let public = Seed::new(seed_digest(&scene.group.id(), scene.payout.id, 0).0);
    let guessed = scene.build_of(0, &public).await;
    let _theft = scene.steal_key(&guessed).await;
    let mut members = scene.members([1, 2, 3, 4]);
    scene.until_final(&mut members, &[1, 2, 3, 4], scene.payout.id).await;
    scene.assert_paid(&[1, 2, 3, 4], 0).await;
    assert_eq!(scene.hash(1, 0).await, Some(scene.build(0).await.hash()), "what three members make is what all build");
    for number in 1..=4 {
        assert_eq!(scene.hash(number, 1).await, None, "no attempt was lost");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_of_a_seed_should_be_given_to_who_can_spend_and_for_attempts_that_are_open() {
    let scene = Scene::start().await;
    let (roster, id, asker) = (scene.group.roster().digest(), scene.payout.id, scene.identity(2));
    let seeds = scene.neighbours.seeds(1);
    let given = async |asker: [u8; 32], trace, attempt, roster| {
        let question = SeedQuestion { trace, attempt, is_open: true, roster };
        seeds.answer(&asker, question).await.expect("rows")
    };
    assert_eq!(given([7; 32], id, 0, roster).await, None, "a stranger");
    assert_eq!(given(asker, Uuid::from_u128(1), 0, roster).await, None, "nothing that is derived here");
    assert_eq!(given(asker, id, 1, roster).await, None, "the first attempt is not dead");
    assert_eq!(given(asker, id, 0, B256::ZERO).await, None, "no sharing of the group's key");
    let Some(SecretPart::Part { .. }) = given(asker, id, 0, roster).await else { panic!("a part") };

    let mut members = scene.members([1, 2, 3]);
    for member in &mut members[..2] {
        member.round().await.expect("built");
    }
    let Some(SecretPart::Whole { signature }) = given(asker, id, 0, roster).await else { panic!("all of it") };
    assert_eq!(given([7; 32], id, 0, roster).await, None, "still a stranger");
    assert_eq!(scene.kept(2, 0).await, Some(signature), "the same for everybody");
    assert_eq!(scene.kept(1, 1).await, None);

    // The proof that the first attempt is dead opens the second: to each member when it has the proof itself.
    scene.steal_key(&scene.build(0).await).await;
    scene.until_final(&mut members, &[1, 2, 3], id).await;
    assert!(given(asker, id, 1, roster).await.is_some());
    assert_eq!(given(asker, id, 2, roster).await, None);
    for number in 1..=3 {
        let question = SeedQuestion { trace: id, attempt: 1, is_open: true, roster };
        let sleeper = scene.neighbours.seeds(4).answer(&scene.identity(number), question).await.expect("rows");
        assert_eq!(sleeper, None, "it has not looked, and can");
    }
    let switch = SigningSwitch { at: 1, stopped: true, reason: "a test".into() };
    scene.neighbours.store(1).switch_signing(&switch).await.expect("a row");
    for attempt in [0, 7] {
        let question = SeedQuestion { trace: id, attempt, is_open: true, roster };
        let refused = seeds.answer(&asker, question).await.expect_err("it signs nothing");
        assert!(matches!(refused, Refusal::Stopped), "{refused}");
    }
}

/// No bytes without t members; with them, the payout goes on where it stood, also after a start.
#[tokio::test(flavor = "multi_thread")]
async fn a_payout_should_wait_for_t_members_to_make_its_keys() {
    let scene = Scene::start().await;
    scene.neighbours.set_up(3, false);
    scene.neighbours.set_up(4, false);
    let mut members = scene.members([1, 2]);
    rounds(&mut members, 20).await;
    for number in [1, 2] {
        assert_eq!(scene.hash(number, 0).await, None);
        assert_eq!(scene.kept(number, 0).await, None);
    }
    scene.neighbours.set_up(3, true);
    let mut members = scene.members([1, 2, 3]);
    scene.until_final(&mut members, &[1, 2, 3], scene.payout.id).await;
    scene.assert_paid(&[1, 2, 3], 0).await;
    // Who comes last gets it from any one of them, when no t of them answer any more.
    for away in [2, 3] {
        scene.neighbours.set_up(away, false);
    }
    let mut late = scene.members([4]);
    scene.until_final(&mut late, &[4], scene.payout.id).await;
    scene.assert_paid(&[1, 2, 3, 4], 0).await;
}

/// Where nobody can say any more what the keys were made from, the kernel still shows that the payout was made.
#[tokio::test(flavor = "multi_thread")]
async fn who_cannot_make_the_keys_any_more_should_see_that_others_paid() {
    let scene = Scene::start().await;
    let mut members = scene.members([1, 2, 3]);
    scene.until_final(&mut members, &[1, 2, 3], scene.payout.id).await;
    for away in [1, 2, 3] {
        scene.neighbours.set_up(away, false);
    }
    let mut late = scene.members([4]);
    scene.until_final(&mut late, &[4], scene.payout.id).await;
    let hash = async |number| scene.neighbours.store(number).final_hash(scene.payout.id).await.expect("a row");
    assert_eq!(hash(4).await, hash(1).await);
    assert_eq!(scene.hash(4, 0).await, None, "it never had its bytes");
}

/// A foreign spend that pays the same amounts could be a later attempt, as long as a member that may know it is silent.
#[tokio::test(flavor = "multi_thread")]
async fn a_spend_should_be_judged_when_all_who_may_know_it_have_spoken() {
    let scene = Scene::start().await;
    let mut members = scene.members([1, 2, 3]);
    for member in &mut members[..2] {
        member.round().await.expect("built");
    }
    let foreign = scene.build(99).await;
    let signed = scene.with_parts(&foreign, &[2, 3, 4]).await;
    scene.kernel.send_transaction(0, &signed).await.expect("admitted");
    scene.promise(3).await;
    scene.neighbours.set_up(4, false);
    rounds(&mut members[2..], 30).await;
    assert!(!scene.is_final(3, scene.payout.id).await, "held, and not taken for the group's");
    scene.neighbours.set_up(4, true);
    // Who was stopped may have signed a later attempt before: that it says nothing means nothing.
    let switch = |stopped| SigningSwitch { at: 1, stopped, reason: "a test".into() };
    scene.neighbours.store(4).switch_signing(&switch(true)).await.expect("a row");
    rounds(&mut members[2..], 30).await;
    assert!(!scene.is_final(3, scene.payout.id).await);
    scene.neighbours.store(4).switch_signing(&switch(false)).await.expect("a row");
    let start = Instant::now();
    let refused = loop {
        match members[2].round().await {
            Err(refused) => break refused,
            Ok(()) => assert!(start.elapsed() < PATIENCE, "never judged"),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    let PayoutError::Attempt { source: AttemptError::ForeignSpend { by, .. }, .. } = refused else {
        panic!("{refused:?}");
    };
    assert_eq!(by, foreign.hash());
}
