//! The only clock of the shell. The core has none: ledger time and block time are inputs.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Time since 1970. A clock before that reads as 1970, and everything signed then is refused as stale.
pub fn since_1970() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// Whole seconds since 1970.
pub fn unix_seconds() -> u64 {
    since_1970().as_secs()
}

/// Whole milliseconds since 1970.
pub fn unix_millis() -> u64 {
    u64::try_from(since_1970().as_millis()).unwrap_or(u64::MAX)
}
