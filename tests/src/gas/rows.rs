//! Figures, the bars they must stay under, and the snapshot they must agree with.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A payment with custody among 1,023 mailboxes, 10 levels with the state leaf: the case that the bars are for.
pub(super) const PAYMENT: &str = "payment";
/// Another mailbox under the checkpoint that a transaction before has brought.
pub(super) const SECOND: &str = "payment, second under the checkpoint";
/// The first case with a tank that repays the deliverer.
pub(super) const TANK: &str = "payment, tank";
/// A payment that stays in the smart account of its sender: mints an ERC-20.
pub(super) const DEPOSIT: &str = "account: deposit (mint)";
/// A payment with an order that spends half of it.
pub(super) const ORDER: &str = "account: order, half returned";
/// A transaction that gives tokens back to the ledger.
pub(super) const BURN: &str = "ERC-20 to the ledger (burn)";
/// Most gas that a tank may add to a delivery.
const TANK_MAX: u64 = 11_000;
/// Members of the two groups with one key.
pub(super) const MEMBERS: [&str; 2] = ["payment, 4 members", "payment, 64 members"];
/// How far a figure may be from the snapshot, in percent (DESIGN.md section 9).
const TOLERANCE_PERCENT: u64 = 2;

/// One figure.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    /// What was measured.
    pub case: String,
    /// Messages in the transaction.
    pub n: u32,
    /// Gas of the whole transaction for each of them, rounded up.
    pub gas_per_message: u64,
}

impl Row {
    pub(super) fn new(case: impl Into<String>, n: u32, gas: u64) -> Self {
        Self { case: case.into(), n, gas_per_message: gas.div_ceil(u64::from(n.max(1))) }
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`, N = {}", self.case, self.n)
    }
}

/// Most gas a message that a case may take (DESIGN.md section 7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bar {
    /// The case.
    pub case: &'static str,
    /// Messages in the transaction.
    pub n: u32,
    /// Most gas a message.
    pub gas: u64,
}

/// All bars.
const BARS: [Bar; 4] = [
    Bar { case: PAYMENT, n: 1, gas: 195_000 },
    Bar { case: PAYMENT, n: 10, gas: 29_000 },
    Bar { case: PAYMENT, n: 100, gas: 12_000 },
    Bar { case: SECOND, n: 1, gas: 75_000 },
];

/// The bar of a row, if it has one.
pub(super) fn bar(row: &Row) -> Option<u64> {
    BARS.iter().find(|bar| (bar.case, bar.n) == (row.case.as_str(), row.n)).map(|bar| bar.gas)
}

/// What others take for the same work: a 64-byte message whose receiver checks the caller and writes a used slot, in batches
/// of 1, 10 and 100. Measured once by gasUsed on anvil 1.7.1 with the rules of Osaka, with the peers' own contracts (MVM:
/// trusted-group@5991a187; npm: @hyperlane-xyz/core 12.1.0, @axelar-network/axelar-gmp-sdk-solidity 6.2.0,
/// @layerzerolabs/lz-evm-protocol-v2 3.0.168; wormhole@640e1848), and not by this program.
pub(super) const PEERS: [(&str, [u64; 3]); 8] = [
    (MVM, [199_755, 160_856, 157_420]),
    (CHEAPEST, [91_886, 62_353, 58_852]),
    ("Hyperlane 5-of-8", [110_183, 80_652, 77_152]),
    ("Hyperlane 13-of-19", [158_138, 128_662, 125_159]),
    ("Axelar 13-of-19", [219_618, 73_940, 59_027]),
    ("Wormhole 13-of-19", [193_669, 126_550, 119_295]),
    ("LayerZero V2, 2 DVNs of 2-of-3", [276_265, 152_874, 143_657]),
    (REGISTRY, [273_126, 273_126, 273_126]),
];
/// What Lockstep takes the place of.
pub(super) const MVM: &str = "MVM MixinProcess";
/// Who takes least among those that were measured.
pub(super) const CHEAPEST: &str = "Hyperlane 2-of-3";
/// MVM's user contracts: each message mints, approves, claims and burns an asset. It has no batches.
pub(super) const REGISTRY: &str = "MVM Registry";

/// What MVM, and the cheapest other, take for the work of a row; nothing where nobody does it, or nobody measured it.
pub(super) fn peers(row: &Row) -> [Option<u64>; 2] {
    let figure = |peer| {
        let (_, figures) = PEERS.iter().find(|(name, _)| *name == peer)?;
        [1, 10, 100].into_iter().zip(figures).find_map(|(n, figure)| (n == row.n).then_some(*figure))
    };
    match row.case.as_str() {
        // Who gives back what was not spent does all that MVM's row has in it; a deposit only mints.
        ORDER | DEPOSIT => [figure(REGISTRY), None],
        case if case.starts_with(PAYMENT) => [figure(MVM), figure(CHEAPEST)],
        _ => [None, None],
    }
}

/// What is over its bar or was not measured, and whether the group's size shows; empty when all is well.
pub fn missed_bars(rows: &[Row]) -> Vec<String> {
    let mut missed = Vec::new();
    for Bar { case, n, gas } in BARS {
        match find(rows, case, n) {
            None => missed.push(format!("`{case}`, N = {n}: not measured")),
            Some(row) if row.gas_per_message > gas => {
                missed.push(format!("{row}: {} gas a message, the bar is {gas}", row.gas_per_message));
            }
            Some(_) => {}
        }
    }
    for n in BARS.iter().filter(|bar| bar.case == PAYMENT).map(|bar| bar.n) {
        let whole = |case| find(rows, case, n).map(|row| row.gas_per_message.saturating_mul(n.into()));
        // Both were rounded up to a message.
        let most = TANK_MAX.saturating_add(n.into());
        if !matches!((whole(PAYMENT), whole(TANK)), (Some(plain), Some(tank)) if tank.saturating_sub(plain) <= most) {
            missed.push(format!("`{TANK}`, N = {n}: a tank may add {TANK_MAX} gas to a delivery"));
        }
    }
    let [few, many] = MEMBERS.map(|case| find(rows, case, 1).map(|row| row.gas_per_message));
    if few.is_none() || few != many {
        missed.push(format!("4 and 64 members must cost the same gas, not {few:?} and {many:?}"));
    }
    missed
}

/// Where `measured` and `snapshot` differ by more than 2 %, or one has a row that the other lacks; names the rows.
pub fn differences(measured: &[Row], snapshot: &[Row]) -> Vec<String> {
    let mut found = Vec::new();
    for row in measured {
        match find(snapshot, &row.case, row.n) {
            None => found.push(format!("{row}: not in the snapshot")),
            Some(kept) if is_off(row.gas_per_message, kept.gas_per_message) => found.push(format!(
                "{row}: {} gas a message, the snapshot has {}",
                row.gas_per_message, kept.gas_per_message
            )),
            Some(_) => {}
        }
    }
    let gone = snapshot.iter().filter(|row| find(measured, &row.case, row.n).is_none());
    found.extend(gone.map(|row| format!("{row}: in the snapshot, not measured")));
    found
}

fn find<'a>(rows: &'a [Row], case: &str, n: u32) -> Option<&'a Row> {
    rows.iter().find(|row| row.case == case && row.n == n)
}

const fn is_off(measured: u64, kept: u64) -> bool {
    measured.abs_diff(kept).saturating_mul(100) > kept.saturating_mul(TOLERANCE_PERCENT)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows() -> Vec<Row> {
        let barred = BARS.iter().map(|bar| Row::new(bar.case, bar.n, bar.gas.saturating_mul(bar.n.into())));
        let tanks = BARS.iter().filter(|bar| bar.case == PAYMENT).map(|bar| {
            let whole = bar.gas.saturating_mul(bar.n.into()).saturating_add(TANK_MAX);
            Row::new(TANK, bar.n, whole)
        });
        barred.chain(MEMBERS.map(|case| Row::new(case, 1, 100_000))).chain(tanks).collect()
    }

    #[test]
    fn a_figure_over_its_bar_should_be_named() {
        assert_eq!(missed_bars(&rows()), Vec::<String>::new());
        let mut over = rows();
        over[1].gas_per_message += 1;
        assert_eq!(missed_bars(&over), ["`payment`, N = 10: 29001 gas a message, the bar is 29000"]);
        over.remove(1);
        assert_eq!(missed_bars(&over)[0], "`payment`, N = 10: not measured");
        let mut dear = rows();
        dear[6].gas_per_message += 2;
        assert_eq!(missed_bars(&dear), ["`payment, tank`, N = 1: a tank may add 11000 gas to a delivery"]);
        dear.truncate(6);
        assert_eq!(missed_bars(&dear).len(), 3, "not measured");
        let mut unequal = rows();
        unequal[5].gas_per_message += 1;
        assert!(missed_bars(&unequal)[0].starts_with("4 and 64 members"));
    }

    #[test]
    fn what_is_off_by_more_than_two_percent_should_be_named() {
        let kept = rows();
        for (gas, off) in [(97_999, true), (98_000, false), (102_000, false), (102_001, true)] {
            let mut measured = rows();
            measured[4].gas_per_message = gas;
            let found = differences(&measured, &kept);
            assert_eq!(!found.is_empty(), off, "{gas}");
            assert!(found.iter().all(|line| line.starts_with("`payment, 4 members`, N = 1: ")), "{found:?}");
        }
    }

    #[test]
    fn rows_that_only_one_side_has_should_be_named() {
        let (all, fewer) = (rows(), &rows()[1..]);
        assert_eq!(differences(fewer, &all), ["`payment`, N = 1: in the snapshot, not measured"]);
        assert_eq!(differences(&all, fewer), ["`payment`, N = 1: not in the snapshot"]);
    }

    #[test]
    fn shares_of_a_transaction_should_be_rounded_up() {
        assert_eq!(Row::new("a", 10, 101).gas_per_message, 11);
    }
}
