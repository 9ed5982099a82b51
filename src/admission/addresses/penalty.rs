//! A price that rises with each offence: the first are free, then there is a wait, and it doubles.
//!
//! Pure, and eight bytes wide. While a wait runs nothing more is counted: what an address began
//! before it was told to wait must not make the wait longer.

use std::time::Duration;

use crate::core::limit::Instant;

/// How long waits are.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ladder {
    /// The first wait, in seconds.
    pub(super) first: u32,
    /// The longest wait, in seconds.
    pub(super) most: u32,
    /// How long after the last offence, or the end of its wait, all is forgotten, in seconds.
    pub(super) memory: u32,
}

/// What an address has on its record. The default is nothing.
#[derive(Clone, Copy, Default)]
pub(super) struct Penalty {
    /// The second in which the wait ends or, without one, of the last offence.
    until_s: u32,
    /// Offences since the last wait.
    offences: u16,
    /// Waits so far; each doubles the next.
    waits: u8,
}

impl Penalty {
    /// How long is still to wait, if at all.
    pub(super) fn wait(self, now: Instant) -> Option<Duration> {
        let left = second(self.until_s).since(now);
        (self.waits > 0 && !left.is_zero()).then_some(left)
    }

    /// Counts an offence, of which so many are free.
    pub(super) fn offend(&mut self, ladder: &Ladder, free: u32, now: Instant) {
        if self.wait(now).is_some() {
            return;
        }
        if self.forgotten_at(ladder) <= now {
            *self = Self::default();
        }
        self.offences = self.offences.saturating_add(1);
        self.until_s = seconds(now);
        if u32::from(self.offences) > free {
            let doubled = 1_u32.checked_shl(u32::from(self.waits)).unwrap_or(u32::MAX);
            let wait = ladder.first.saturating_mul(doubled).min(ladder.most);
            self.offences = 0;
            self.waits = self.waits.saturating_add(1);
            // One more second, because the current one has begun.
            self.until_s = self.until_s.saturating_add(wait).saturating_add(1);
        }
    }

    /// When there is nothing left to remember; in the past if there is nothing.
    pub(super) fn forgotten_at(self, ladder: &Ladder) -> Instant {
        if self.offences == 0 && self.waits == 0 {
            return Instant::START;
        }
        second(self.until_s.saturating_add(ladder.memory))
    }
}

fn seconds(now: Instant) -> u32 {
    u32::try_from(now.since(Instant::START).as_secs()).unwrap_or(u32::MAX)
}

fn second(at: u32) -> Instant {
    Instant::START.after(Duration::from_secs(u64::from(at)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LADDER: Ladder = Ladder { first: 60, most: 900, memory: 600 };

    fn at(seconds: u64) -> Instant {
        Instant::START.after(Duration::from_secs(seconds))
    }

    fn waits(penalty: Penalty, now: Instant) -> u64 {
        penalty.wait(now).unwrap_or_default().as_secs()
    }

    #[test]
    fn the_first_are_free_and_then_the_wait_doubles_up_to_the_longest() {
        let mut penalty = Penalty::default();
        let mut now = 1000;
        for expected in [60, 120, 240, 480, 900, 900, 900] {
            for _ in 0..3 {
                penalty.offend(&LADDER, 3, at(now));
                assert_eq!(waits(penalty, at(now)), 0);
            }
            penalty.offend(&LADDER, 3, at(now));
            assert_eq!(waits(penalty, at(now)), expected + 1);
            now += expected;
            assert_eq!(waits(penalty, at(now)), 1);
            now += 1;
            assert_eq!(waits(penalty, at(now)), 0);
        }
    }

    #[test]
    fn a_wait_is_not_made_longer_by_what_happens_in_it() {
        let mut penalty = Penalty::default();
        for second in 0..60 {
            penalty.offend(&LADDER, 0, at(second));
        }
        assert_eq!(waits(penalty, at(60)), 1);
        assert_eq!(waits(penalty, at(61)), 0);
        penalty.offend(&LADDER, 0, at(61));
        assert_eq!(waits(penalty, at(61)), 121, "only the second of its kind");
    }

    #[test]
    fn after_a_quiet_time_all_is_forgotten() {
        let mut penalty = Penalty::default();
        penalty.offend(&LADDER, 1, at(0));
        assert_eq!(penalty.forgotten_at(&LADDER), at(600));
        penalty.offend(&LADDER, 1, at(600));
        assert_eq!(waits(penalty, at(600)), 0, "the one before is forgotten");
        penalty.offend(&LADDER, 1, at(1199));
        assert_eq!(waits(penalty, at(1199)), 61, "this one is not");
        assert_eq!(penalty.forgotten_at(&LADDER), at(1260 + 600));
        penalty.offend(&LADDER, 1, at(1859));
        penalty.offend(&LADDER, 1, at(1859));
        assert_eq!(waits(penalty, at(1859)), 121);
        let late = 1859 + 121 + 600;
        penalty.offend(&LADDER, 0, at(late));
        assert_eq!(waits(penalty, at(late)), 61);
    }

    #[test]
    fn nothing_overflows() {
        let mut penalty = Penalty::default();
        let ladder = Ladder { first: u32::MAX, most: u32::MAX, memory: u32::MAX };
        let end = Instant::START.after(Duration::MAX);
        for _ in 0..300 {
            penalty.offend(&ladder, 0, at(u64::from(u32::MAX)));
            penalty.offend(&ladder, 0, end);
        }
        for _ in 0..70_000 {
            penalty.offend(&LADDER, u32::MAX, end);
        }
    }
}
