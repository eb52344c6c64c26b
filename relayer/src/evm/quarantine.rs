//! Mailboxes whose delivery failed wait, each time twice as long: they cost neither gas nor the turn of another.

use std::collections::BTreeMap;

use lockstep_core::Uuid;

/// The first wait.
const FIRST_MS: u64 = 10_000;
/// The longest wait of a mailbox whose failures cost nothing: an hour.
const LONGEST_MS: u64 = 3_600_000;

/// Who waits, and until when.
#[derive(Clone, Debug, Default)]
pub struct Quarantine {
    strikes: BTreeMap<Uuid, Strike>,
}

#[derive(Clone, Copy, Debug)]
struct Strike {
    wait_ms: u64,
    until: u64,
}

impl Quarantine {
    /// Lets a mailbox wait from `now` (milliseconds since 1970) on, because an estimate says that the contract would refuse
    /// it; returns when it may go on.
    pub fn add(&mut self, process: Uuid, now: u64) -> u64 {
        let longest = self.strikes.get(&process).map_or(LONGEST_MS, |strike| strike.wait_ms.max(LONGEST_MS));
        self.strike(process, now, longest)
    }

    /// The same because its delivery, which held nothing else, reverted in a block. That cost gas, so the waits have no
    /// longest: all that it can ever burn grows with the logarithm of time.
    pub fn add_reverted(&mut self, process: Uuid, now: u64) -> u64 {
        self.strike(process, now, u64::MAX)
    }

    fn strike(&mut self, process: Uuid, now: u64, longest: u64) -> u64 {
        let wait_ms = self.strikes.get(&process).map_or(FIRST_MS, |strike| strike.wait_ms.saturating_mul(2));
        let wait_ms = wait_ms.min(longest);
        let until = now.saturating_add(wait_ms);
        self.strikes.insert(process, Strike { wait_ms, until });
        until
    }

    /// True while a mailbox waits.
    pub fn holds(&self, process: Uuid, now: u64) -> bool {
        self.strikes.get(&process).is_some_and(|strike| now < strike.until)
    }

    /// Forgets what a mailbox did: something of it was delivered.
    pub fn release(&mut self, process: Uuid) {
        self.strikes.remove(&process);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_should_double_up_to_an_hour_until_something_is_delivered() {
        let (mut quarantine, process) = (Quarantine::default(), Uuid::from_u128(1));
        assert_eq!(quarantine.add(process, 0), FIRST_MS);
        assert!(quarantine.holds(process, FIRST_MS - 1) && !quarantine.holds(process, FIRST_MS));
        assert_eq!(quarantine.add(process, 0), 2 * FIRST_MS);
        for _ in 0..20 {
            assert!(quarantine.add(process, 0) <= LONGEST_MS);
        }
        assert_eq!(quarantine.add(process, 5), 5 + LONGEST_MS);
        quarantine.release(process);
        assert_eq!(quarantine.add(process, 0), FIRST_MS);
    }

    #[test]
    fn waits_for_what_cost_gas_should_have_no_longest() {
        let (mut quarantine, process) = (Quarantine::default(), Uuid::from_u128(1));
        let waits: Vec<u64> = (0..20).map(|_| quarantine.add_reverted(process, 0)).collect();
        assert!(waits.windows(2).all(|pair| pair[1] == 2 * pair[0]));
        assert_eq!(quarantine.add(process, 0), waits[19], "what costs nothing does not shorten it");
    }
}
