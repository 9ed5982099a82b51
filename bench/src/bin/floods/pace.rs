//! How fast attackers attack: as fast as they can, or at a rate of all together.

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// When attackers may begin an attack. They share one, from its making on.
pub(crate) struct Pace {
    begun: Instant,
    /// Nothing if they may at any time.
    schedule: Option<Mutex<Schedule>>,
}

/// Moments at equal distances, counted from the beginning. Each is given away once.
struct Schedule {
    next: Duration,
    beat: Duration,
}

/// How late an attack may begin, so that the rate is kept when attackers were not let run for a
/// moment. What they miss by more than that is left out, so that it does not come as a burst.
const LATE_MAX: Duration = Duration::from_millis(10);
/// How soon who waits sees that it is over.
const GLANCE: Duration = Duration::from_millis(20);

impl Pace {
    /// So many attacks per second together, evenly spaced; or as many as they can.
    pub(crate) fn new(per_s: Option<NonZeroU32>) -> Self {
        let schedule = per_s.map(|per_s| Mutex::new(Schedule::new(per_s)));
        Self { begun: Instant::now(), schedule }
    }

    /// Waits for the moment of one more attack; false if it is over before.
    pub(crate) fn wait(&self, over: &AtomicBool) -> bool {
        if let Some(schedule) = &self.schedule {
            let now = self.begun.elapsed();
            let due = schedule.lock().unwrap_or_else(PoisonError::into_inner).take(now);
            while !over.load(Ordering::Relaxed)
                && let Some(wait) = due.checked_sub(self.begun.elapsed())
            {
                std::thread::sleep(wait.min(GLANCE));
            }
        }
        !over.load(Ordering::Relaxed)
    }
}

impl Schedule {
    fn new(per_s: NonZeroU32) -> Self {
        Self { next: Duration::ZERO, beat: Duration::from_secs(1) / per_s.get() }
    }

    /// The next moment, which may have passed already, but not by more than [`LATE_MAX`].
    fn take(&mut self, now: Duration) -> Duration {
        let due = self.next.max(now.saturating_sub(LATE_MAX));
        self.next = due + self.beat;
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn schedule(per_s: u32) -> Schedule {
        Schedule::new(NonZeroU32::new(per_s).unwrap())
    }

    #[test]
    fn attacks_are_evenly_spaced_however_late_each_one_comes() {
        let mut schedule = schedule(500);
        let due: Vec<_> = [0, 1, 9, 9, 9, 20].map(|now| schedule.take(ms(now))).into();
        assert_eq!(due, [0, 2, 4, 6, 8, 10].map(ms));
    }

    #[test]
    fn who_asks_early_waits_behind_the_others() {
        let mut schedule = schedule(4);
        let due: Vec<_> = (0..4).map(|_| schedule.take(ms(1))).collect();
        assert_eq!(due, [0, 250, 500, 750].map(ms));
    }

    #[test]
    fn what_was_missed_does_not_come_as_a_burst() {
        let mut schedule = schedule(1000);
        schedule.take(ms(0));
        let passed = (0..100).take_while(|_| schedule.take(ms(3000)) <= ms(3000)).count();
        assert_eq!(passed, 11, "those of the last 10 ms, and no more");
        assert_eq!(schedule.take(ms(3002)), ms(3002), "and then as before");
    }

    #[test]
    fn nobody_begins_when_it_is_over() {
        let (going, over) = (AtomicBool::new(false), AtomicBool::new(true));
        let slowest = Pace::new(NonZeroU32::new(1));
        assert!(slowest.wait(&going), "the first is due at once");
        assert!(!slowest.wait(&over), "the second is due in a second");
        let fastest = Pace::new(None);
        assert!(fastest.wait(&going) && fastest.wait(&going) && !fastest.wait(&over));
    }
}
