//! What one peer may do: so many questions a second, and each of them once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use super::signature::Nonce;
use super::{IdentityKey, WINDOW_S};

/// Questions a second that a peer may keep up. A busy submitter asks a few for each batch, a payer a few for each payout.
const RATE_PER_S: u64 = 100;
/// Questions that a peer may ask at once after a silence, for example when it catches up.
const BURST: u64 = 1_000;

/// Counters and nonces of all peers. Their number is bounded by [`RATE_PER_S`] × twice the window + [`BURST`] a peer.
#[derive(Debug, Default)]
pub(super) struct Guard(Mutex<BTreeMap<IdentityKey, Books>>);

/// Why an authentic question is not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// The peer asks too often.
    TooMany,
    /// The question was asked before.
    Replayed,
}

#[derive(Debug)]
struct Books {
    tokens: u64,
    refilled_at: u64,
    seen: BTreeSet<(u64, Nonce)>,
}

impl Guard {
    /// Admits a question of `peer` once. Only for questions whose signature is right and recent: nobody else may fill the
    /// books of a peer.
    pub(super) fn admit(&self, peer: &IdentityKey, created: u64, nonce: Nonce, now: u64) -> Result<(), Refused> {
        let mut peers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let peer = peers.entry(*peer).or_insert(Books { tokens: BURST, refilled_at: now, seen: BTreeSet::new() });
        peer.forget(now);
        peer.refill(now);
        peer.tokens = peer.tokens.checked_sub(1).ok_or(Refused::TooMany)?;
        if peer.seen.insert((created, nonce)) { Ok(()) } else { Err(Refused::Replayed) }
    }
}

impl Books {
    /// What is older than the window is refused for its time alone.
    fn forget(&mut self, now: u64) {
        while self.seen.first().is_some_and(|(created, _)| created.saturating_add(WINDOW_S) < now) {
            self.seen.pop_first();
        }
    }

    fn refill(&mut self, now: u64) {
        let elapsed_s = now.saturating_sub(self.refilled_at);
        self.tokens = elapsed_s.saturating_mul(RATE_PER_S).saturating_add(self.tokens).min(BURST);
        self.refilled_at = self.refilled_at.max(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nonce(n: u64) -> Nonce {
        u128::from(n).to_be_bytes()
    }

    #[test]
    fn question_should_be_admitted_once() {
        let guard = Guard::default();
        assert_eq!(guard.admit(&[1; 32], 1_000, nonce(1), 1_000), Ok(()));
        assert_eq!(guard.admit(&[1; 32], 1_000, nonce(1), 1_060), Err(Refused::Replayed));
        assert_eq!(guard.admit(&[2; 32], 1_000, nonce(1), 1_000), Ok(()), "another peer's nonces are its own");
        assert_eq!(guard.admit(&[1; 32], 1_001, nonce(1), 1_000), Ok(()));
    }

    #[test]
    fn nonces_should_be_forgotten_after_the_window_only() {
        let guard = Guard::default();
        for n in 0..BURST {
            assert_eq!(guard.admit(&[1; 32], 1_000, nonce(n), 1_000), Ok(()));
        }
        let remembered = || guard.0.lock().expect("no panic").get(&[1; 32]).map(|peer| peer.seen.len());
        assert_eq!(guard.admit(&[1; 32], 1_060, nonce(0), 1_060), Ok(()));
        assert_eq!(remembered(), Some(1_001));
        assert_eq!(guard.admit(&[1; 32], 1_061, nonce(0), 1_061), Ok(()));
        assert_eq!(remembered(), Some(2));
    }

    #[test]
    fn one_peer_should_not_use_up_anothers_questions() {
        let guard = Guard::default();
        for n in 0..BURST {
            assert_eq!(guard.admit(&[1; 32], 1_000, nonce(n), 1_000), Ok(()));
        }
        assert_eq!(guard.admit(&[1; 32], 1_000, nonce(BURST), 1_000), Err(Refused::TooMany));
        assert_eq!(guard.admit(&[2; 32], 1_000, nonce(0), 1_000), Ok(()));
        for n in 0..RATE_PER_S {
            assert_eq!(guard.admit(&[1; 32], 1_001, nonce(n), 1_001), Ok(()));
        }
        assert_eq!(guard.admit(&[1; 32], 1_001, nonce(BURST), 1_001), Err(Refused::TooMany));
        assert_eq!(
            guard.admit(&[1; 32], 999, nonce(BURST), 999),
            Err(Refused::TooMany),
            "a clock set back gives nothing"
        );
    }
}
