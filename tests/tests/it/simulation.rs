//! The simulator holds its invariants on sound members, and finds out each broken discipline.

use std::collections::BTreeSet;

use lockstep_tests::sim::{self, Fault, Options};

/// Seeds of a plain `cargo test`; `make sim SEEDS=n` runs more.
const SEEDS: u64 = 20;
/// Seeds within which a broken discipline must be found out.
const FAULTY_SEEDS: u64 = 4;
/// A shorter run is enough to find a fault that shows in each run.
const FAULTY_STEPS: u64 = 3_000;

#[test]
fn sound_members_should_hold_every_invariant() {
    let mut sums = sim::Tally::default();
    for seed in 0..SEEDS {
        match sim::run(Options::of_seed(seed)) {
            Ok(tally) => sums.add(&tally),
            Err((broken, _)) => panic!("seed {seed}: {broken}"),
        }
    }
    let happened = [
        "crashes",
        "packets lost",
        "packets repeated",
        "blocks taken back",
        "bad partials named",
        "secrets made",
        "secrets told",
        "bad parts of secrets named",
        "bad payout signatures refused",
        "attempts proven dead",
        "requests found taken",
        "switches",
        "rosters learnt",
        "old shares erased",
        "checkpoints of a later generation",
        "payouts of others seen final",
        "payments to an old address",
        "payments too early",
        "class: call",
        "class: bounce",
        "class: refund",
        "class: return",
        "class: decision",
        "class: unclaimed",
        "final: pay",
        "final: escrow",
        "final: settle",
        "final: bounce",
        "final: consolidate",
        "final: migrate",
        "final: forward",
    ];
    let missing: Vec<_> = happened.iter().filter(|what| sums.0.get(**what).is_none_or(|number| *number == 0)).collect();
    assert!(missing.is_empty(), "never happened: {missing:?}");
}

/// The invariants that a fault breaks within [`FAULTY_SEEDS`].
fn found(options: impl Fn(u64) -> Options) -> BTreeSet<&'static str> {
    (0..FAULTY_SEEDS).filter_map(|seed| sim::run(options(seed)).err()).map(|(broken, _)| broken.invariant).collect()
}

fn found_by_fault(fault: Fault) -> BTreeSet<&'static str> {
    found(|seed| Options { fault: Some(fault), steps: FAULTY_STEPS, ..Options::of_seed(seed) })
}

#[test]
fn a_disk_that_forgets_promises_should_be_found_out() {
    assert!(found_by_fault(Fault::ForgetsGuards).contains("promises_outlive_crashes"));
    // A payout has bytes only after its members have made their keys.
    let of = |seed| Options { fault: Some(Fault::ForgetsPayloads), steps: 2 * FAULTY_STEPS, ..Options::of_seed(seed) };
    assert!(found(of).contains("promises_outlive_crashes"));
}

#[test]
fn a_disk_that_tears_commits_should_contradict_its_own_replay() {
    assert!(found_by_fault(Fault::TearsCommits).contains("contradiction"));
}

#[test]
fn speaking_before_writing_should_be_found_out() {
    assert!(found_by_fault(Fault::SpeaksFirst).contains("writes_before_it_speaks"));
    assert!(found_by_fault(Fault::SignsUnguarded).contains("guards_coins_before_it_signs"));
}

/// Behind a switch there is another address, which a page that was read before it does not have.
#[test]
fn reading_on_behind_a_switch_should_be_found_out() {
    let of = |seed| Options { fault: Some(Fault::ReadsPastSwitch), ..Options::of_seed(seed) };
    let mut broken = (0..12).filter_map(|seed| sim::run(of(seed)).err()).map(|(broken, _)| broken.invariant);
    assert!(broken.any(|invariant| invariant == "members_derive_alike"), "never in twelve seeds");
}

/// Who has the proof earlier asks for the seed of the next attempt; who has it not must not help yet.
#[test]
fn giving_the_seed_of_an_attempt_that_is_not_open_should_be_found_out() {
    let of = |seed| Options { fault: Some(Fault::GivesSeedsAhead), ..Options::of_seed(seed) };
    let mut broken = (0..12).filter_map(|seed| sim::run(of(seed)).err()).map(|(broken, _)| broken.invariant);
    assert!(broken.any(|invariant| invariant == "gives_seeds_of_open_attempts"), "never in twelve seeds");
}

/// A mask that is made ahead of the order tells its first asker who somebody is.
#[test]
fn giving_the_mask_of_a_sender_that_was_not_met_should_be_found_out() {
    let of = |seed| Options {
        fault: Some(Fault::GivesMasksAhead),
        has_private: true,
        steps: FAULTY_STEPS,
        ..Options::of_seed(seed)
    };
    assert!(found(of).contains("writes_before_it_speaks"));
}

#[test]
fn a_member_with_its_own_clock_should_be_found_out() {
    assert!(found_by_fault(Fault::OwnClock).contains("members_derive_alike"));
}

/// One liar can take every request id that is computed from public data, and then no payout is ever signed.
#[test]
fn request_ids_that_a_liar_can_compute_should_stop_payouts() {
    assert!(found_by_fault(Fault::PublicRequestsOnly).contains("everything_drained"));
}

/// DERIVATION.md D: n − t liars stop nothing, t − 1 forge nothing, t do as they please, and the checks see it.
#[test]
fn a_quorum_of_liars_should_be_caught_and_fewer_should_get_nothing() {
    let of =
        |liars| move |seed| Options { liars, steps: FAULTY_STEPS, members_change: false, ..Options::of_seed(seed) };
    assert_eq!(found(of(3)), BTreeSet::new());
    let caught = found(of(4));
    let expected = ["one_checkpoint_per_sequence", "one_final_payout_per_outbound", "one_signed_payload_per_coin"];
    assert!(caught.iter().any(|invariant| expected.contains(invariant)), "{caught:?}");
}

#[test]
fn a_seed_should_replay() {
    let run = |seed| sim::run(Options { steps: 1_000, ..Options::of_seed(seed) });
    assert_eq!(run(7), run(7));
    assert_ne!(run(7), run(8));
}
