//! The figures to look at.

use std::fmt::Write as _;

use super::rows::{CHEAPEST, PEERS, Row, bar, peers};

/// A table for the terminal: ours, the bar, and what others take for the same work.
pub fn table(rows: &[Row]) -> String {
    let mut text =
        format!("{:<38} {:>4} {:>9} {:>9} {:>9} {:>17}\n", "gas a message", "N", "measured", "bar", "MVM", CHEAPEST);
    for row in rows {
        let [mvm, cheapest] = peers(row).map(or_dash);
        let (measured, bar) = (thousands(row.gas_per_message), or_dash(bar(row)));
        let _ = writeln!(text, "{:<38} {:>4} {measured:>9} {bar:>9} {mvm:>9} {cheapest:>17}", row.case, row.n);
    }
    let _ =
        writeln!(text, "\n{:<38} {:>9} {:>9} {:>9}", "peers, same work (cited, docs/gas.md)", "N=1", "N=10", "N=100");
    for (name, figures) in PEERS {
        let [one, ten, hundred] = figures.map(thousands);
        let _ = writeln!(text, "{name:<38} {one:>9} {ten:>9} {hundred:>9}");
    }
    text
}

/// The same for `docs/gas.md`.
pub fn markdown(rows: &[Row]) -> String {
    let mut text = format!("| case | N | gas a message | bar | MVM | {CHEAPEST} |\n|---|---:|---:|---:|---:|---:|\n");
    for row in rows {
        let [mvm, cheapest] = peers(row).map(or_nothing);
        let (measured, bar) = (thousands(row.gas_per_message), or_nothing(bar(row)));
        let _ = writeln!(text, "| {} | {} | {measured} | {bar} | {mvm} | {cheapest} |", row.case, row.n);
    }
    text.push_str("\n| others, the same work | N = 1 | N = 10 | N = 100 |\n|---|---:|---:|---:|\n");
    for (name, figures) in PEERS {
        let [one, ten, hundred] = figures.map(thousands);
        let _ = writeln!(text, "| {name} | {one} | {ten} | {hundred} |");
    }
    text
}

fn or_dash(number: Option<u64>) -> String {
    number.map_or_else(|| "-".to_owned(), thousands)
}

fn or_nothing(number: Option<u64>) -> String {
    number.map_or_else(String::new, thousands)
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
