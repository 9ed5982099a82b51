//! Randomness: names from the kernel, jitter from a small generator that the kernel seeds.

use std::cell::RefCell;
use std::time::Duration;

/// Eight bytes of the kernel's generator, which every worker asks for many at once.
///
/// # Panics
///
/// When the kernel has no randomness, which Linux gives from early boot on.
pub(super) fn bytes() -> [u8; 8] {
    AHEAD.with_borrow_mut(|ahead| {
        if ahead.is_empty() {
            let mut bytes = [0; 8 * AHEAD_MAX];
            getrandom::fill(&mut bytes).expect("the kernel gives random bytes");
            ahead.extend(bytes.as_chunks().0);
        }
        // Each is handed out once.
        ahead.pop().expect("it was filled")
    })
}

/// Names that a worker has ahead: a join needs one or two, and a system call for each of them is a
/// fiftieth of what it costs.
const AHEAD_MAX: usize = 32;

thread_local! {
    static AHEAD: RefCell<Vec<[u8; 8]>> = const { RefCell::new(Vec::new()) };
}

/// Spreads moments in time. Not for anything that must not be guessed.
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new() -> Self {
        Self(u64::from_ne_bytes(bytes()) | 1)
    }

    /// xorshift64: three shifts, period 2^64 - 1.
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// A number below `end`, which is at least 1.
    pub(super) fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end.max(1) as u64).unwrap_or(0)
    }

    /// A fraction between the two.
    pub(super) fn between(&mut self, low: f64, high: f64) -> f64 {
        let unit = f64::from(u32::try_from(self.next() >> 32).unwrap_or(0)) / f64::from(u32::MAX);
        (high - low).mul_add(unit, low)
    }

    /// A time of up to `most`.
    pub(super) fn up_to(&mut self, most: Duration) -> Duration {
        most.mul_f64(self.between(0.0, 1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_is_handed_out_twice() {
        let names: std::collections::HashSet<_> = (0..5 * AHEAD_MAX).map(|_| bytes()).collect();
        assert_eq!(names.len(), 5 * AHEAD_MAX);
    }

    #[test]
    fn what_it_gives_stays_within_the_bounds_and_is_spread() {
        let mut random = Random::new();
        let mut low = 0;
        for _ in 0..1000 {
            assert!(random.below(7) < 7);
            let x = random.between(0.8, 1.2);
            assert!((0.8..=1.2).contains(&x));
            low += usize::from(x < 1.0);
            assert!(random.up_to(Duration::from_secs(3)) <= Duration::from_secs(3));
        }
        assert!((300..700).contains(&low), "{low}");
    }
}
