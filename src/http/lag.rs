//! How late the event loop's turns came in the last seconds.
//!
//! Whoever measures tells each measurement; whoever asks hears the worst of the last ten seconds, a
//! turn that is late at this moment included. No clock is read and nothing waits here.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::core::limit::Instant;

/// The worst delays of the last seconds.
#[derive(Default)]
pub struct LoopLag(Mutex<Measured>);

#[derive(Default)]
struct Measured {
    /// The worst of a second each, at the second's number modulo their count.
    seconds: [Worst; KEPT],
    /// When the next measurement is due; unknown before the first and after the last one.
    due: Option<Instant>,
    /// The worst since it was last taken.
    peak: Duration,
}

#[derive(Clone, Copy, Default)]
struct Worst {
    second: u64,
    lag: Duration,
}

/// Seconds that are kept: the last ten, and the one that has begun.
const KEPT: usize = 11;

impl LoopLag {
    /// Notes that a turn came `lag` late, and when the next one is due.
    pub fn note(&self, lag: Duration, now: Instant, next: Instant) {
        let second = second_of(now);
        let mut measured = self.measured();
        measured.due = Some(next);
        measured.peak = measured.peak.max(lag);
        let slot = usize::try_from(second).unwrap_or(0) % KEPT;
        if let Some(worst) = measured.seconds.get_mut(slot) {
            if worst.second != second {
                *worst = Worst { second, lag };
            }
            worst.lag = worst.lag.max(lag);
        }
    }

    /// The worst delay of the last ten seconds.
    pub fn worst(&self, now: Instant) -> Duration {
        let measured = self.measured();
        let pending = measured.due.map_or(Duration::ZERO, |due| now.since(due));
        let oldest = second_of(now).saturating_sub(KEPT as u64 - 1);
        let kept = measured.seconds.iter().filter(|worst| worst.second >= oldest);
        kept.map(|worst| worst.lag).fold(pending, Duration::max)
    }

    /// The worst delay since this was last asked.
    pub fn take_peak(&self) -> Duration {
        std::mem::take(&mut self.measured().peak)
    }

    /// Says that nobody measures any more, so that nothing is overdue.
    pub fn end(&self) {
        self.measured().due = None;
    }

    fn measured(&self) -> MutexGuard<'_, Measured> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn second_of(at: Instant) -> u64 {
    at.since(Instant::START).as_secs()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn at(ms: u32) -> Instant {
        Instant::START.after(ms * MS)
    }

    #[test]
    fn the_worst_of_the_last_ten_seconds_is_kept_and_then_forgotten() {
        let lag = LoopLag::default();
        assert_eq!(lag.worst(at(5000)), Duration::ZERO);
        for (ms, late) in [(5100, 3), (5400, 70), (5900, 9), (6100, 20)] {
            lag.note(late * MS, at(ms), at(ms + 60_000));
        }
        for (asked, worst) in [(6200, 70), (15_999, 70), (16_000, 20), (17_000, 0)] {
            assert_eq!(lag.worst(at(asked)), worst * MS, "{asked}");
        }
        lag.note(5 * MS, at(16_500), at(60_000));
        assert_eq!(lag.worst(at(16_600)), 20 * MS, "the slot of second 5 is used again");
        assert_eq!(lag.worst(at(17_100)), 5 * MS);
        assert_eq!((lag.take_peak(), lag.take_peak()), (70 * MS, Duration::ZERO));
    }

    #[test]
    fn a_turn_that_has_not_come_yet_counts_while_somebody_measures() {
        let lag = LoopLag::default();
        lag.note(MS, at(1000), at(1250));
        assert_eq!(lag.worst(at(1250)), MS);
        assert_eq!(lag.worst(at(4250)), 3000 * MS);
        lag.end();
        assert_eq!(lag.worst(at(4250)), MS);
    }
}
