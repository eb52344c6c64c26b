//! The figures to look at.

use std::fmt::Write as _;

use super::rows::{Row, bar};

/// What others take for the same work (64-byte payload, the receiver checks the caller and writes a used slot), for
/// batches of 1, 10 and 100. Cited: measured once on anvil 1.7.1 with the rules of Osaka, not by this program.
const PEERS: [(&str, [u64; 3]); 6] = [
    ("MVM MixinProcess", [199_755, 160_856, 157_420]),
    ("Hyperlane 2-of-3", [91_886, 62_353, 58_852]),
    ("Hyperlane 13-of-19", [158_138, 128_662, 125_159]),
    ("Axelar 13-of-19", [219_618, 73_940, 59_027]),
    ("Wormhole 13-of-19", [193_669, 126_550, 119_295]),
    ("LayerZero V2, 2 DVNs of 2-of-3", [276_265, 152_874, 143_657]),
];

/// A table for the terminal, with bars and peers.
pub fn table(rows: &[Row]) -> String {
    let mut text = format!("{:<38} {:>4} {:>12} {:>9}\n", "gas a message", "N", "measured", "bar");
    for row in rows {
        let bar = bar(row).map_or_else(|| "-".to_owned(), thousands);
        let _ = writeln!(text, "{:<38} {:>4} {:>12} {bar:>9}", row.case, row.n, thousands(row.gas_per_message));
    }
    let _ =
        writeln!(text, "\n{:<38} {:>9} {:>9} {:>9}", "peers, same work (cited, not measured)", "N=1", "N=10", "N=100");
    for (name, figures) in PEERS {
        let [one, ten, hundred] = figures.map(thousands);
        let _ = writeln!(text, "{name:<38} {one:>9} {ten:>9} {hundred:>9}");
    }
    text
}

/// The same for `docs/gas.md`, measured figures and bars only.
pub fn markdown(rows: &[Row]) -> String {
    let mut text = "| case | N | gas a message | bar |\n|---|---:|---:|---:|\n".to_owned();
    for row in rows {
        let bar = bar(row).map_or_else(String::new, thousands);
        let _ = writeln!(text, "| {} | {} | {} | {bar} |", row.case, row.n, thousands(row.gas_per_message));
    }
    text
}

/// Digits in groups of three.
fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let groups: Vec<_> = digits.as_bytes().rchunks(3).rev().map(String::from_utf8_lossy).collect();
    groups.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_should_be_grouped() {
        assert_eq!([0, 999, 1_000, 1_234_567].map(thousands), ["0", "999", "1,000", "1,234,567"]);
    }
}
