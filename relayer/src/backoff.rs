//! How long to wait before something that failed is tried again: each time twice as long, until it works.

use std::time::Duration;

/// Longest pause before an endpoint that fails is asked again. An endpoint that tells a member to slow down is left alone for
/// so long, and a member is back soon after its endpoint is.
const ENDPOINT_MAX: Duration = Duration::from_secs(15);
/// No endpoint waits for more than so many of its periods: what is asked often is also asked again soon.
const PERIODS_MAX: u32 = 32;

/// Pauses that double.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    first: Duration,
    next: Duration,
    longest: Duration,
}

impl Backoff {
    /// Pauses from `first` to `longest`, which is never shorter than `first`.
    pub fn new(first: Duration, longest: Duration) -> Self {
        Self { first, next: first, longest: longest.max(first) }
    }

    /// The pauses of a task that asks an endpoint once in each `period`.
    pub fn of_endpoint(period: Duration) -> Self {
        Self::new(period, period.saturating_mul(PERIODS_MAX).min(ENDPOINT_MAX))
    }

    /// The pause now; the next one is twice as long.
    pub fn pause(&mut self) -> Duration {
        self.pause_within(self.longest)
    }

    /// The same, with another longest pause than usual.
    pub fn pause_within(&mut self, longest: Duration) -> Duration {
        let pause = self.next.min(longest);
        self.next = pause.saturating_mul(2).min(longest);
        pause
    }

    /// The pause after a try: the first one unless it failed.
    pub fn pause_after(&mut self, failed: bool) -> Duration {
        if failed {
            return self.pause();
        }
        self.reset();
        self.first
    }

    /// It works: after the next failure the pauses begin anew.
    pub const fn reset(&mut self) {
        self.next = self.first;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn pauses_should_double_until_something_works() {
        let mut backoff = Backoff::new(ms(50), ms(300));
        let tries = [true, true, true, true, true, false, false, true, true];
        let pauses = tries.map(|failed| backoff.pause_after(failed));
        assert_eq!(pauses, [50, 100, 200, 300, 300, 50, 50, 50, 100].map(ms));
    }

    #[test]
    fn the_longest_pause_should_follow_what_is_waited_for() {
        let mut backoff = Backoff::new(ms(50), ms(200));
        let pauses = [200, 800, 800, 800, 800, 200, 200].map(|longest| backoff.pause_within(ms(longest)));
        assert_eq!(pauses, [50, 100, 200, 400, 800, 200, 200].map(ms));
    }

    #[test]
    fn an_endpoint_should_be_left_alone_for_seconds_and_never_asked_more_often_than_usual() {
        let longest = |period| {
            let mut backoff = Backoff::of_endpoint(period);
            (0..64).map(|_| backoff.pause()).last()
        };
        for (period, expected) in [(10, 320), (100, 3_200), (500, 15_000), (10_000, 15_000), (60_000, 60_000)] {
            assert_eq!(longest(ms(period)), Some(ms(expected)), "{period} ms");
        }
        assert_eq!(longest(Duration::MAX), Some(Duration::MAX));
    }
}
