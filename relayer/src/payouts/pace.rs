//! How often a payout is looked at. A restart may forget all of it.

use std::time::{Duration, Instant};

use crate::backoff::Backoff;

/// The first pause after a look that changed nothing; each further one doubles it.
const FIRST: Duration = Duration::from_millis(50);
/// Longest pause of a payout that waits for others: the ledger, peers, its own inputs.
const WAITS_MAX: Duration = Duration::from_secs(5);
/// Longest pause of a payout that is held until somebody does something.
const HELD_MAX: Duration = Duration::from_secs(60);
/// Longest pause between two searches for a proof that a payload is dead: many questions to the kernel each.
const SEARCH_MAX: Duration = Duration::from_secs(60);
/// A payout that is not final by then is worth a warning; it is held all the same, however long it takes.
const STUCK_AFTER: Duration = Duration::from_secs(300);

/// What this member remembers of an open payout between two looks.
#[derive(Debug)]
pub(super) struct Pace {
    since: Instant,
    next: Instant,
    looks: Backoff,
    search: Instant,
    searches: Backoff,
    /// When it may be pushed, and how often it was.
    push: Option<Instant>,
    pub(super) pushes: u32,
    /// True while inputs are not final: whatever becomes final next may be one of them.
    pub(super) awaits_inputs: bool,
    warned: bool,
    warned_stuck: bool,
}

impl Pace {
    /// A payout that is seen for the first time, with a first search for proofs after `search`.
    pub(super) fn new(now: Instant, search: Duration) -> Self {
        let search_pause = search.max(FIRST);
        Self {
            since: now,
            next: now,
            looks: Backoff::new(FIRST, WAITS_MAX),
            search: after(now, search_pause),
            searches: Backoff::new(search_pause, SEARCH_MAX),
            push: None,
            pushes: 0,
            awaits_inputs: false,
            warned: false,
            warned_stuck: false,
        }
    }

    pub(super) fn is_due(&self, now: Instant) -> bool {
        now >= self.next
    }

    /// Something happened, to it or to its inputs: look again at once.
    pub(super) fn wake(&mut self, now: Instant) {
        self.next = now;
        self.looks.reset();
    }

    /// Nothing happened.
    pub(super) fn wait(&mut self, now: Instant, held: bool) {
        let pause = if held { self.looks.pause_within(HELD_MAX) } else { self.looks.pause() };
        self.next = after(now, pause);
    }

    /// True once in a while, and each time farther apart.
    pub(super) fn may_search(&mut self, now: Instant) -> bool {
        let due = now >= self.search;
        if due {
            self.search = after(now, self.searches.pause());
        }
        due
    }

    /// True when it is this member's turn to push, which comes again after each `pause`.
    pub(super) fn may_push(&mut self, now: Instant, pause: Duration) -> bool {
        let at = *self.push.get_or_insert_with(|| after(now, pause));
        let due = now >= at;
        if due {
            self.push = Some(after(now, pause));
            self.pushes = self.pushes.saturating_add(1);
        }
        due
    }

    /// The next attempt starts anew.
    pub(super) fn restart(&mut self, now: Instant) {
        self.push = None;
        self.warned = false;
        self.wake(now);
    }

    /// True the first time.
    pub(super) fn warns(&mut self) -> bool {
        !std::mem::replace(&mut self.warned, true)
    }

    /// True once, when it has waited for too long.
    pub(super) fn warns_stuck(&mut self, now: Instant) -> bool {
        let stuck = now.duration_since(self.since) > STUCK_AFTER;
        stuck && !std::mem::replace(&mut self.warned_stuck, true)
    }
}

/// A moment so far away that it cannot be named is as good as now: looking early harms nothing.
fn after(now: Instant, pause: Duration) -> Instant {
    now.checked_add(pause).unwrap_or(now)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_should_be_looked_at_less_and_less_often() {
        let mut now = Instant::now();
        let mut pace = Pace::new(now, Duration::from_secs(1));
        assert!(pace.is_due(now));
        let mut looks = |pace: &mut Pace, held| {
            let end = now + Duration::from_secs(600);
            let mut looks = 0;
            while now < end {
                if pace.is_due(now) {
                    pace.wait(now, held);
                    looks += 1;
                }
                now += Duration::from_millis(50);
            }
            looks
        };
        assert_eq!((looks(&mut pace, false), looks(&mut pace, true)), (126, 13));
        pace.wake(now);
        assert!(pace.is_due(now));
    }

    #[test]
    fn each_warning_should_come_once() {
        let now = Instant::now();
        let mut pace = Pace::new(now, Duration::ZERO);
        assert!(pace.warns() && !pace.warns() && !pace.warns_stuck(now));
        let late = now + Duration::from_secs(301);
        assert!(pace.warns_stuck(late) && !pace.warns_stuck(late));
    }

    #[test]
    fn a_push_should_wait_its_turn_each_time() {
        let (now, turn) = (Instant::now(), Duration::from_secs(2));
        let mut pace = Pace::new(now, Duration::ZERO);
        assert!(!pace.may_push(now, turn) && pace.may_push(now + turn, turn) && !pace.may_push(now + turn, turn));
        assert!(pace.may_push(now + turn * 2, turn));
        assert_eq!(pace.pushes, 2);
    }
}
