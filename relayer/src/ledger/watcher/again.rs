//! Rows behind the cursor, read again: an applied row must read as it did.

use std::collections::BTreeMap;

use alloy::primitives::keccak256;
use lockstep_core::output::Output;
use lockstep_core::{B256, Mix};

use crate::ledger::wire::OutputRow;
use crate::world::doubt::Changed;

/// What differs between `known` and the rows that the ledger lists in the same range. What was set aside was not applied, and
/// may go.
pub(super) fn changed<'a>(known: &[Output], rows: impl Iterator<Item = &'a OutputRow>) -> Vec<Changed> {
    let rows: BTreeMap<_, _> = rows.map(|row| (row.output_id, row)).collect();
    let applied = known.iter().filter(|output| !output.late);
    applied.filter_map(|output| compare(output, rows.get(&output.id).copied())).collect()
}

fn compare(output: &Output, row: Option<&OutputRow>) -> Option<Changed> {
    let differs = |field, applied: String, listed: String| {
        let Output { id, sequence, .. } = *output;
        (applied != listed).then_some(Changed { output: id, sequence, field, applied, listed })
    };
    let Some(row) = row else { return differs("listed", "listed".to_owned(), "listed no more there".to_owned()) };
    let listed = (!row.senders.is_empty()).then(|| Mix::of_users(row.senders.iter().copied(), row.senders_threshold));
    let inscription = row.inscription_hash.map(|hash| B256::new(hash.0));
    let coin = (B256::new(row.transaction_hash.0), row.output_index);
    differs("sequence", output.sequence.to_string(), row.sequence.to_string())
        .or_else(|| differs("created_at", output.created_at.to_string(), row.created_at.0.to_string()))
        .or_else(|| differs("senders", payers(output.senders.as_ref()), payers(listed.as_ref())))
        .or_else(|| differs("amount", output.amount.to_string(), row.amount.to_string()))
        .or_else(|| differs("kernel_asset_id", output.asset.to_string(), row.kernel_asset_id.to_string()))
        .or_else(|| differs("coin", format!("{:?}", (output.coin.transaction, output.coin.index)), format!("{coin:?}")))
        .or_else(|| differs("extra", extra(&output.extra), extra(&row.extra.0)))
        .or_else(|| differs("inscription", format!("{:?}", output.inscription), format!("{inscription:?}")))
}

/// Short enough to be shown, and another for any other bytes.
fn extra(extra: &[u8]) -> String {
    format!("{} with keccak256 {}", super::start_of(extra), keccak256(extra))
}

fn payers(senders: Option<&Mix>) -> String {
    let Some(senders) = senders else { return "nobody".to_owned() };
    let users = senders.users().unwrap_or_default();
    format!("{} of {}", senders.threshold(), super::listed(&users))
}
