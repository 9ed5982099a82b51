//! How many handshakes a node takes that has just started.
//!
//! When a node comes, its balancer may send it everybody at once whom another node has sent away. So
//! the rate rises: by each moment of the warm-up it has let in at most as large a part of all that
//! it may as the square of the part of the time that is over. What was not used is not saved up for
//! longer than a second.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::core::limit::Instant;

/// The warm-up of one node.
pub struct WarmUp {
    since: Instant,
    over: Duration,
    /// Handshakes that the whole warm-up would take.
    in_all: u64,
    taken: AtomicU64,
}

impl WarmUp {
    /// Begins the warm-up of a node that takes `in_all` handshakes until it is `over`.
    pub const fn new(in_all: u64, over: Duration, now: Instant) -> Self {
        Self { since: now, over, in_all, taken: AtomicU64::new(0) }
    }

    /// Whether one more handshake may be taken; then it is counted.
    pub fn take(&self, now: Instant) -> bool {
        let age = now.since(self.since);
        if age >= self.over {
            return true;
        }
        let least = self.budget(age.saturating_sub(SAVED));
        let most = self.budget(age).saturating_add(AT_ONCE_MIN);
        let one_more = |taken: u64| {
            let taken = taken.max(least);
            (taken < most).then_some(taken + 1)
        };
        self.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).is_ok()
    }

    /// Handshakes that are taken until this age.
    fn budget(&self, age: Duration) -> u64 {
        let (age, over) = (age.as_millis(), self.over.as_millis().max(1));
        let part = u128::from(self.in_all) * age * age / (over * over);
        u64::try_from(part).unwrap_or(u64::MAX)
    }
}

/// Handshakes that are always taken within a second, so that a small node starts as well.
const AT_ONCE_MIN: u64 = 10;

/// For how long what was not used is saved.
const SAVED: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    fn at_ms(ms: u64) -> Instant {
        Instant::START.after(Duration::from_millis(ms))
    }

    /// How many of `tries` are taken at a moment.
    fn taken(warm_up: &WarmUp, tries: u64, ms: u64) -> usize {
        (0..tries).filter(|_| warm_up.take(at_ms(ms))).count()
    }

    #[test]
    fn the_rate_rises_until_there_is_no_limit() {
        let warm_up = WarmUp::new(9000, Duration::from_secs(30), at_ms(0));
        assert_eq!(taken(&warm_up, 100, 0), 10);
        assert_eq!(taken(&warm_up, 100, 1000), 10);
        let mut before = 20;
        for second in 2..30 {
            let now = taken(&warm_up, 10_000, second * 1000);
            assert!(now > before || second == 2, "second {second}: {now} after {before}");
            before = now;
        }
        assert_eq!(before, 570, "9000 * (29^2 - 28^2) / 30^2, and what was at once is used up");
        assert_eq!(taken(&warm_up, 20_000, 30_000), 20_000);
    }

    #[test]
    fn what_nobody_used_is_not_saved() {
        let warm_up = WarmUp::new(9000, Duration::from_secs(30), at_ms(0));
        // In the 15th second: 9000 * (15^2 - 14^2) / 30^2, and those that are always taken.
        assert_eq!(taken(&warm_up, 9000, 15_000), 290 + 10);
        assert_eq!(taken(&warm_up, 9000, 15_000), 0);
    }
}
