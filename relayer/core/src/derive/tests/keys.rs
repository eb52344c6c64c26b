//! Which key of the group a transaction belongs to.

use super::*;

fn switch() -> DecisionBody {
    DecisionBody::Switch { group: set(&["m5"], 1) }
}

fn decided_key(byte: u8) -> DecisionBody {
    DecisionBody::Key { generation: byte.into(), key: [byte; 96], possession: [0; 48] }
}

/// The names of transactions, with the first byte of the group's key at their places; 0 for its first key.
fn keys_of(effects: Vec<Effect>) -> Vec<(Trace, u8)> {
    let found = effects.into_iter().map(|effect| only(vec![effect]));
    found.map(|derived| (derived.trace, derived.key.map_or(0, |key| key[0]))).collect()
}

/// With that key its secrets are signed, so it must not depend on who is ahead, nor on what somebody knows of a ceremony.
#[test]
fn a_transaction_should_have_the_key_of_its_place() {
    let mut core = core();
    core.apply(&output(2), &call()).expect("applies");
    core.apply(&output(5), &decision(1, switch())).expect("applies");
    let mut refund = |sequence| {
        let derived = core.apply(&output(sequence), &memo(MemoKind::Undecodable)).expect("applies").remove(0).derived;
        keys_of(derived.into_iter().map(Effect::Derived).collect())
    };
    assert_eq!(refund(6), [(Trace::Refund { output: output(6).id }, 0)], "a switch decides no key");
    core.apply(&output(7), &decision(2, decided_key(1))).expect("applies");
    let mut refund = |sequence| {
        let derived = core.apply(&output(sequence), &memo(MemoKind::Undecodable)).expect("applies").remove(0).derived;
        keys_of(derived.into_iter().map(Effect::Derived).collect())
    };
    assert_eq!(refund(8), [(Trace::Refund { output: output(8).id }, 1)]);
    core.apply(&output(9), &call()).expect("applies");
    core.feed(1, Record::Outbound(outbound())).expect("in order");
    assert_eq!(keys_of(core.advance().expect("pays")), [(Trace::Pay { chain: 1, k: 0 }, 0)], "though more is applied");
    core.feed(1, Record::Accepted { s: 6, time: 1600 }).expect("in order");
    let migrated = Trace::Migrate { chain: 1, generation: 1, asset: asset("X"), j: 0 };
    assert_eq!(keys_of(core.advance().expect("moves")), [(migrated, 0)], "the switch comes before the key");
    core.feed(1, Record::Accepted { s: 9, time: 1700 }).expect("in order");
    assert_eq!(keys_of(core.advance().expect("forwards")), [(Trace::Forward { output: output(9).id }, 1)]);
}

/// What an escrow leads to has its place in the ledger's order, not among the records.
#[test]
fn what_follows_an_escrow_should_have_the_key_of_its_end() {
    let mut core = core();
    core.apply(&output(2), &call()).expect("applies");
    let stranger = Outbound { recipient: set(&["u9"], 1).to_payload(), ..outbound() };
    core.feed(1, Record::Outbound(stranger)).expect("in order");
    assert_eq!(keys_of(core.advance().expect("waits")), [(Trace::Escrow { chain: 1, k: 0 }, 0)]);
    let verdict = DecisionBody::Refused { chain: 1, k: 0 };
    for (number, body) in [(5, switch()), (6, decided_key(1)), (7, verdict), (8, decided_key(2))] {
        core.apply(&output(number), &decision(number, body)).expect("applies");
    }
    let settled = [(Trace::Move { chain: 1, k: 0, generation: 1 }, 0), (Trace::Settle { chain: 1, k: 0 }, 1)];
    assert_eq!(keys_of(core.advance().expect("settles")), settled);
}

/// Shares of a key are kept while something may still be derived for which the group signs with it.
#[test]
fn keys_to_come_should_begin_with_that_of_the_slowest_chain() {
    let mut core = core();
    let to_come =
        |core: &Core| -> Vec<_> { core.keys_to_come().iter().map(|key| key.map_or(0, |key| key[0])).collect() };
    assert_eq!(to_come(&core), [0]);
    core.apply(&output(2), &decision(1, decided_key(1))).expect("applies");
    core.apply(&output(3), &decision(2, decided_key(2))).expect("applies");
    assert_eq!(to_come(&core), [0, 1, 2]);
    for (s, left) in [(1, vec![0, 1, 2]), (2, vec![1, 2]), (3, vec![2])] {
        for chain in core.chains().collect::<Vec<_>>() {
            core.feed(chain, Record::Accepted { s, time: 1 }).expect("in order");
            core.advance().expect("nothing to pay");
        }
        assert_eq!(to_come(&core), left);
    }
}
