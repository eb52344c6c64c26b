//! The tasks that bring the world in: the ledger's outputs and each chain's records, for the driver.

use std::time::Duration;

use lockstep_core::output::Output;
use lockstep_core::trace::ChainId;
use thiserror::Error;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, warn};

use crate::driver::Input;
use crate::world::chain::{ChainError, Cursor, ReadChain};
use crate::world::ledger::{ReadError, ReadLedger};

/// Blocks in one page of a chain: common endpoints refuse longer ranges of logs.
const BLOCKS_AT_ONCE: u64 = 500;
/// Attempts that fail in a row before a failure is a warning: one lost answer is nothing to look at.
const PATIENCE: u32 = 5;

/// How often a source is read.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Pause between two readings when there is nothing new, or after a failure.
    pub poll: Duration,
    /// How long an output must have been seen before it is applied. It decides when, never what.
    pub settle: Duration,
}

/// Brings the group's outputs behind `after` to the driver until told to stop.
///
/// # Errors
/// What the ledger's API and the kernel say differently of one output: a contradiction.
pub async fn ledger<L: ReadLedger>(
    ledger: L,
    mut after: u64,
    pace: Pace,
    inputs: mpsc::Sender<Input>,
    stop: CancellationToken,
) -> Result<(), WatchError> {
    let mut failures = 0;
    loop {
        let outputs = tokio::select! {
            () = stop.cancelled() => return Ok(()),
            // Cancel-safe: reading changes nothing.
            outputs = settled(&ledger, after, pace.settle) => outputs,
        };
        let pause = match outputs {
            Ok(outputs) => {
                failures = 0;
                let Some(last) = outputs.last() else {
                    if pause(pace.poll, &stop).await { continue } else { return Ok(()) }
                };
                after = last.sequence;
                // A closed channel means that the driver has stopped, and the service with it.
                if inputs.send(Input::Outputs(outputs)).await.is_err() {
                    return Ok(());
                }
                Duration::ZERO
            }
            Err(error @ ReadError::Mismatch { .. }) => return Err(error.into()),
            Err(error) => {
                failures = note(failures, &error, "ledger");
                pace.poll
            }
        };
        if !pause.is_zero() && !self::pause(pause, &stop).await {
            return Ok(());
        }
    }
}

/// Outputs that read the same twice, `settle` apart.
async fn settled<L: ReadLedger>(ledger: &L, after: u64, settle: Duration) -> Result<Vec<Output>, ReadError> {
    let mut first = ledger.next_outputs(after).await?;
    if settle.is_zero() {
        return Ok(first);
    }
    while !first.is_empty() {
        tokio::time::sleep(settle).await;
        let second = ledger.next_outputs(after).await?;
        if second.starts_with(&first) {
            break;
        }
        warn!(after, "the ledger lists otherwise than before: waiting again");
        first = second;
    }
    Ok(first)
}

/// Brings a chain's final records behind `cursor` to the driver until told to stop.
///
/// # Errors
/// A final block that changed, or numbering that cannot be: a contradiction.
pub async fn chain<C: ReadChain>(
    chain: ChainId,
    source: C,
    mut cursor: Cursor,
    poll: Duration,
    inputs: mpsc::Sender<Input>,
    stop: CancellationToken,
) -> Result<(), WatchError> {
    let mut failures = 0;
    loop {
        let page = tokio::select! {
            () = stop.cancelled() => return Ok(()),
            // Cancel-safe: reading changes nothing.
            page = source.records(cursor, BLOCKS_AT_ONCE) => page,
        };
        let mut behind = false;
        match page {
            Ok(page) => {
                failures = 0;
                behind = page.cursor.block < page.final_block;
                // Rows and cursor move together; an empty page is worth a row only now and then.
                let far = page.cursor.block.saturating_sub(cursor.block) >= BLOCKS_AT_ONCE;
                if !page.records.is_empty() || far {
                    cursor = page.cursor;
                    let input = Input::Records { chain, records: page.records, cursor };
                    if inputs.send(input).await.is_err() {
                        return Ok(());
                    }
                }
            }
            Err(ChainError::Contradiction(contradiction)) => {
                error!(chain, %contradiction, "the chain contradicts itself");
                return Err(ChainError::Contradiction(contradiction).into());
            }
            Err(error) => failures = note(failures, &error, "chain"),
        }
        if !behind && !pause(poll, &stop).await {
            return Ok(());
        }
    }
}

/// False when told to stop.
async fn pause(period: Duration, stop: &CancellationToken) -> bool {
    tokio::select! {
        () = stop.cancelled() => false,
        () = tokio::time::sleep(period) => true,
    }
}

fn note(failures: u32, error: &dyn std::error::Error, source: &'static str) -> u32 {
    let cause = error.source().map(ToString::to_string);
    if failures.checked_rem(PATIENCE.saturating_mul(12)) == Some(PATIENCE) {
        warn!(source, failures, %error, cause, "cannot be read");
    } else {
        debug!(source, failures, %error, cause, "cannot be read");
    }
    failures.saturating_add(1)
}

/// What no waiting helps against.
#[derive(Debug, Error)]
pub enum WatchError {
    /// The ledger's API and the kernel differ.
    #[error("contradiction on the ledger")]
    Ledger(#[from] ReadError),
    /// A final chain changed.
    #[error("contradiction on a chain")]
    Chain(#[from] ChainError),
}
