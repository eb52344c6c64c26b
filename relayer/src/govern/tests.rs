//! Whose part counts when, and what is never signed a second time by others.

use lockstep_core::Address;
use lockstep_core::bls::PartialSignature;
use lockstep_core::govern::{Action, Slot};
use lockstep_core::group::roster::Marks;

use super::*;
use crate::signer::tests::{Bench, GROUP, Group, checkpoint};

const CHAIN: ChainId = 31_337;
const AT: ContractPlace = ContractPlace { contract: Address::repeat_byte(2), instance: B256::repeat_byte(3) };

/// A member's governance in the group of [`Group`], whose generation 1 follows a checkpoint at 10.
struct Office {
    bench: Bench,
    governance: Governance,
}

impl Office {
    async fn new(group: &Group, place: usize) -> Self {
        Self::with_marks(group, place, Marks::default()).await
    }

    async fn with_marks(group: &Group, place: usize, marks: Marks) -> Self {
        let marks = Marks { checkpoint: group.marks(checkpoint(10, 1)).checkpoint, ..marks };
        let bench = Bench::with_marks(group, place, marks).await;
        bench.apply(checkpoint(10, 1)).await;
        let first_key = *group.dealings[0].group.key();
        let constitution = Constitution { group_id: GROUP, places: BTreeMap::from([(CHAIN, AT)]), first_key };
        let governance = Governance::new(constitution, bench.signer.clone(), bench.store.clone());
        Self { bench, governance }
    }

    fn roster(&self, generation: u32) -> B256 {
        let all = self.bench.signer.rosters().all();
        all.iter().find(|roster| roster.generation() == generation).expect("known").digest()
    }

    async fn approve(&self, subject: &Subject) -> B256 {
        self.bench.store.approve_proposal(subject, 1).await.expect("approved");
        subject.digest().expect("a digest")
    }

    async fn ask(&self, ask: AskGovernance) -> Option<[u8; 48]> {
        match self.governance.answer(ask).await.expect("an answer") {
            Some(GovernanceAnswer::Part { signature }) => Some(signature),
            Some(GovernanceAnswer::Approved { .. }) => panic!("nobody asked for that"),
            None => None,
        }
    }

    /// Its part for the members of a generation under the key that the group began with.
    async fn part(&self, digest: B256, generation: u32) -> Option<[u8; 48]> {
        let key = self.governance.constitution.first_key.compress();
        self.ask(AskGovernance::Partial { digest, roster: self.roster(generation), key }).await
    }
}

fn decision(number: u64, body: DecisionBody) -> Subject {
    Subject::Decision { group_id: GROUP, number, body }
}

fn close(number: u64) -> Subject {
    decision(number, DecisionBody::Close { process: lockstep_core::Uuid::from_u128(number.into()) })
}

fn halt(nonce: u64) -> Subject {
    Subject::Action { place: Place::new(GROUP, CHAIN, AT), nonce, action: Action::Halt }
}

/// The members before the switch sign it, t of them; shares of the next generation are silent until it acts, and those of
/// the last one after it.
#[tokio::test]
async fn a_switch_should_be_signed_by_the_members_before_it_and_what_follows_by_those_after() {
    let group = Group::new();
    let [stays, other, leaves, joins] = [
        Office::new(&group, 0).await,
        Office::new(&group, 1).await,
        Office::new(&group, 3).await,
        Office::new(&group, 4).await,
    ];
    let next = stays.bench.signer.rosters().all().pop().expect("a roster").mix();
    let switch = decision(1, DecisionBody::Switch { group: next });
    let mut parts = Vec::new();
    for (index, office) in [(1, &stays), (2, &other), (4, &leaves)] {
        let digest = office.approve(&switch).await;
        assert_eq!(office.part(digest, 1).await, None, "the next generation is silent");
        let signature = office.part(digest, 0).await.expect("a part of one that signs now");
        parts.push(PartialSignature { index, signature });
    }
    let digest = joins.approve(&switch).await;
    assert_eq!([joins.part(digest, 0).await, joins.part(digest, 1).await], [None, None], "it has no seat yet");
    let recover = |parts: &[PartialSignature]| group.dealings[0].group.recover_digest(&digest, parts, &BTreeSet::new());
    assert!(recover(&parts[..2]).is_err(), "three of the old members are needed");
    recover(&parts).expect("they are enough");

    for office in [&stays, &other, &leaves, &joins] {
        office.bench.switch();
    }
    let after = close(2);
    let mut parts = Vec::new();
    for (index, office) in [(1, &stays), (2, &other), (4, &joins)] {
        let digest = office.approve(&after).await;
        assert_eq!(office.part(digest, 0).await, None, "its share of before counts no more, though it is still there");
        let signature = office.part(digest, 1).await.expect("a part of one that signs now");
        parts.push(PartialSignature { index, signature });
    }
    let digest = leaves.approve(&after).await;
    assert_eq!([leaves.part(digest, 0).await, leaves.part(digest, 1).await], [None, None], "it has left");
    group.dealings[1].group.recover_digest(&digest, &parts, &BTreeSet::new()).expect("one generation's parts fit");
}

#[tokio::test]
async fn who_came_later_should_sign_nothing_for_what_may_be_signed_already() {
    let group = Group::new();
    let marks = Marks { checkpoint: None, decision: 5, governance: BTreeMap::from([(CHAIN, 2)]) };
    let joins = Office::with_marks(&group, 4, marks.clone()).await;
    let stays = Office::with_marks(&group, 0, marks).await;
    // It promised this one before the members changed, and says the same for ever.
    let promised = stays.approve(&close(5)).await;
    assert!(stays.part(promised, 0).await.is_some());
    for office in [&joins, &stays] {
        office.bench.switch();
        for covered in [close(4), halt(0), halt(1)] {
            let digest = office.approve(&covered).await;
            assert_eq!(office.part(digest, 1).await, None, "{}", covered.slot());
        }
        for free in [close(6), halt(2)] {
            let digest = office.approve(&free).await;
            assert!(office.part(digest, 1).await.is_some(), "{}", free.slot());
        }
    }
    assert!(stays.part(promised, 1).await.is_some());
    let digest = joins.approve(&close(5)).await;
    assert_eq!((digest, joins.part(digest, 1).await), (promised, None), "it cannot know that");
}

#[tokio::test]
async fn marks_for_the_next_members_should_say_what_was_promised_and_signed() {
    let group = Group::new();
    let office = Office::new(&group, 0).await;
    let store = &office.bench.store;
    assert_eq!(
        (store.highest_decision().await.expect("none"), store.signed_nonces().await.expect("none")),
        (0, BTreeMap::new())
    );
    for subject in [close(3), close(12), close(7), halt(4)] {
        let digest = office.approve(&subject).await;
        assert!(office.part(digest, 0).await.is_some());
    }
    office.approve(&close(40)).await;
    assert_eq!(store.highest_decision().await.expect("rows"), 12, "an approval alone is no promise");
    assert_eq!(store.signed_nonces().await.expect("rows"), BTreeMap::new(), "too few may have promised it");
    let digest = halt(4).digest().expect("a digest");
    let signed = GroupSigned { signature: [1; 48], key: [2; 96] };
    store.save_group_signature(digest, &signed).await.expect("kept");
    assert_eq!(store.signed_nonces().await.expect("rows"), BTreeMap::from([(CHAIN, BTreeSet::from([4]))]));
    assert_eq!(store.promised_governance(Slot::Number(7)).await.expect("rows"), close(7).digest().ok());
}

/// The next members sign for no number up to the highest that was promised.
#[tokio::test]
async fn a_number_that_would_use_up_all_others_should_not_be_signed() {
    let group = Group::new();
    let office = Office::new(&group, 0).await;
    for (number, is_signed) in [(1_025, false), (u64::MAX, false), (1_024, true)] {
        let digest = office.approve(&close(number)).await;
        assert_eq!(office.part(digest, 0).await.is_some(), is_signed, "{number}");
    }
    assert_eq!(office.bench.store.highest_decision().await.expect("rows"), 1_024);
}

/// A fresh key is proved to be held before anything gives it power; until then nothing is signed with it.
#[tokio::test]
async fn a_key_should_sign_for_nothing_before_it_is_the_groups() {
    let group = Group::with_keys([9, 8]);
    let office = Office::new(&group, 0).await;
    let [old, new] = [0, 1].map(|place| group.dealings[place].group.key().compress());
    let digest = office.approve(&close(1)).await;
    let partial = |generation, key| AskGovernance::Partial { digest, roster: office.roster(generation), key };
    assert_eq!(office.ask(partial(1, new)).await, None);
    assert_eq!(office.ask(partial(0, new)).await, None, "another generation than the key's");
    assert!(office.ask(partial(0, old)).await.is_some());
    let halt = office.approve(&halt(0)).await;
    let action = |generation, key| AskGovernance::Partial { digest: halt, roster: office.roster(generation), key };
    let state = |key: [u8; 96], nonce| {
        let key = PublicKey::from_bytes(&key).expect("a key").to_eip2537().to_vec();
        ContractState { nonce, halted: false, generation: 0, key }
    };
    assert_eq!(office.ask(action(1, new)).await, None);
    office.governance.note_state(CHAIN, state(new, 0));
    assert!(office.ask(action(1, new)).await.is_some(), "the contract has been given it");
    assert_eq!(office.ask(action(0, old)).await, None);
    office.governance.note_state(CHAIN, state(new, 1));
    assert_eq!(office.ask(action(1, new)).await, None, "the nonce has been used");

    let possession =
        |generation, key| AskGovernance::Possession { chain: Some(CHAIN), roster: office.roster(generation), key };
    assert!(office.ask(possession(1, new)).await.is_some());
    assert_eq!(office.ask(possession(0, new)).await, None);
    let same = Office::new(&Group::new(), 0).await;
    let silent = AskGovernance::Possession { chain: None, roster: same.roster(1), key: old };
    assert_eq!(same.ask(silent).await, None, "new shares of the same key prove nothing before their switch");
}
