//! Simulated key ceremonies: one key or a clean retry, whoever misbehaves is named, and t − 1 shares never sign.

use lockstep_tests::ceremony::{Tally, bench, crash_everywhere, run};

/// Seeds of a plain `cargo test`; `make sim-ceremony SEEDS=n` runs more.
const SEEDS: u64 = 8;

fn seeds(seeds: std::ops::Range<u64>) -> Tally {
    let mut sums = Tally::default();
    for seed in seeds {
        match run(seed) {
            Ok(tally) => sums.add(&tally),
            Err(broken) => panic!("seed {seed}: {broken}"),
        }
    }
    sums
}

#[test]
fn ceremonies_should_end_with_one_key_or_a_clean_retry() {
    let sums = seeds(0..SEEDS);
    assert!(sums.counts.get("First made") == Some(&SEEDS), "{sums:?}");
    assert!(sums.counts.keys().any(|what| what.starts_with("key handed on")), "{sums:?}");
    assert!(sums.counts.keys().any(|what| what.starts_with("crash ")), "{sums:?}");
}

/// A seed, four dealings, four logs, a set, a vote, an outcome and a roster are kept in the first ceremony alone.
const RECORDS: usize = 12;

#[test]
fn a_crash_before_any_record_should_change_nothing() {
    let crashes = crash_everywhere(false).expect("a key after every crash");
    assert!(crashes > 2 * RECORDS, "{crashes}");
}

#[test]
fn a_crash_after_any_record_should_change_nothing() {
    let crashes = crash_everywhere(true).expect("a key after every crash");
    assert!(crashes > 2 * RECORDS, "{crashes}");
}

#[test]
fn ten_members_should_keep_their_key_through_two_reshares() {
    let rows = bench(10).expect("three ceremonies");
    assert_eq!(rows.iter().map(|row| row.members).collect::<Vec<_>>(), [(10, 7), (10, 7), (12, 9)]);
    assert!(rows.iter().all(|row| row.key == rows[0].key && row.sent.1 < 200_000 && row.read.1 < 200_000));
}
