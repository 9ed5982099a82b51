//! Rate limiting: a token bucket that is one timestamp wide.
//!
//! A bucket that holds `amount` and refills it within `period` is fully described by the moment at
//! which it will next be full. Taking pushes that moment into the future; letting time pass brings
//! it closer. So there is nothing to refill, no float to drift and no timer to run, and a window's
//! edge never lets twice the limit through.

use std::num::NonZeroU64;
use std::time::Duration;

/// A moment of the process' monotonic clock, in nanoseconds since it started (584 years fit).
///
/// One more is kept than that, so that `Option<Instant>` is as small: members and rooms have many.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Instant(NonZeroU64);

impl Instant {
    /// The moment at which the process' clock started.
    pub const START: Self = Self(NonZeroU64::MIN);

    /// The moment `duration` later; the end of time at most.
    #[must_use]
    pub fn after(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(nanos(duration)))
    }

    /// The time that passed since `earlier`, zero if that is in the future.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.get().saturating_sub(earlier.0.get()))
    }
}

impl Default for Instant {
    fn default() -> Self {
        Self::START
    }
}

const _: () = assert!(size_of::<Option<Instant>>() == size_of::<Instant>());

/// Whole seconds since 1970, as tokens carry them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct UnixSeconds(pub u64);

/// How much is allowed: `amount` at once, and `amount` per `period` on average.
///
/// The unit is whatever the caller counts: messages, bytes, frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    amount: u64,
    period_ns: u64,
}

impl Limit {
    /// Allows `amount` per `period`. Both are at least one (unit, nanosecond).
    pub fn new(amount: u64, period: Duration) -> Self {
        Self { amount: amount.max(1), period_ns: nanos(period).max(1) }
    }

    /// The same with `factor` times the amount.
    #[must_use]
    pub const fn times(self, factor: u32) -> Self {
        Self { amount: self.amount.saturating_mul(factor as u64), period_ns: self.period_ns }
    }

    /// What can be taken at once from a full bucket.
    pub const fn amount(self) -> u64 {
        self.amount
    }

    /// The time it takes to refill `amount` in whole nanoseconds. Rounded down, so that all of a bucket
    /// can be taken at once in whatever parts: each is less than a nanosecond too cheap, but never free.
    fn refill_ns(self, amount: u64) -> u64 {
        // Almost always it fits, and dividing 128 bits costs ten times as much.
        if let Some(product) = amount.checked_mul(self.period_ns) {
            return (product / self.amount).max(amount.min(1));
        }
        let product = u128::from(amount) * u128::from(self.period_ns);
        u64::try_from(product / u128::from(self.amount)).unwrap_or(u64::MAX)
    }
}

/// A token bucket, eight bytes wide. The default is full.
///
/// The [`Limit`] is not stored: it is the same for all members and comes with each call.
#[derive(Clone, Copy, Debug, Default)]
pub struct Bucket {
    /// When the bucket will be full if nothing more is taken. In the past means full now.
    full_at: Instant,
}

impl Bucket {
    /// Takes `amount`, or says how long to wait before it would be available.
    ///
    /// A refused request takes nothing, so a peer that keeps knocking is not punished further. More
    /// than the bucket holds is never available: the wait is then the whole period.
    pub fn take(&mut self, limit: &Limit, amount: u64, now: Instant) -> Result<(), Duration> {
        if amount > limit.amount {
            return Err(Duration::from_nanos(limit.period_ns));
        }
        let full_at = self.full_at.max(now).0.saturating_add(limit.refill_ns(amount));
        let latest = now.0.saturating_add(limit.period_ns);
        if full_at <= latest {
            self.full_at = Instant(full_at);
            Ok(())
        } else {
            Err(Duration::from_nanos(full_at.get() - latest.get()))
        }
    }

    /// Takes `amount` for what has happened already, even if it is not there: whoever asks next then
    /// waits for it, but never longer than for two full buckets.
    pub fn charge(&mut self, limit: &Limit, amount: u64, now: Instant) {
        let full_at = self.full_at.max(now).0.saturating_add(limit.refill_ns(amount));
        let latest = now.0.saturating_add(limit.period_ns.saturating_mul(2));
        self.full_at = Instant(full_at.min(latest));
    }

    /// How much is missing now, rounded up.
    pub fn used(&self, limit: &Limit, now: Instant) -> u64 {
        let missing = self.full_at.0.get().saturating_sub(now.0.get());
        let missing = u128::from(missing) * u128::from(limit.amount);
        u64::try_from(missing.div_ceil(u128::from(limit.period_ns))).unwrap_or(u64::MAX)
    }

    /// When the bucket will be full if nothing more is taken; in the past if it is.
    pub const fn full_at(&self) -> Instant {
        self.full_at
    }

    /// Whether the bucket is full again, so that it need not be kept.
    pub fn is_full(&self, now: Instant) -> bool {
        self.full_at <= now
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_full_bucket_gives_its_amount_and_then_says_how_long_to_wait() {
        let limit = Limit::new(10, 10 * SECOND);
        let mut bucket = Bucket::default();
        let now = Instant::START.after(100 * SECOND);
        assert_eq!(bucket.take(&limit, 10, now), Ok(()));
        assert_eq!(bucket.take(&limit, 2, now), Err(2 * SECOND));
        assert_eq!(bucket.take(&limit, 2, now.after(2 * SECOND)), Ok(()));
        assert!(!bucket.is_full(now.after(11 * SECOND)));
        assert!(bucket.is_full(now.after(12 * SECOND)));
    }

    #[test]
    fn all_of_it_can_be_taken_at_once_in_whatever_parts() {
        for (amount, part) in [(3, 1), (30, 1), (600, 1), (7000, 7), (70_000, 1)] {
            let limit = Limit::new(amount, 10 * SECOND);
            let mut bucket = Bucket::default();
            for _ in 0..amount / part {
                assert_eq!(bucket.take(&limit, part, Instant::START), Ok(()), "{part} of {amount}");
            }
            assert!(bucket.take(&limit, part, Instant::START).is_err(), "{part} of {amount}");
        }
    }

    #[test]
    fn nothing_is_free_however_much_is_allowed() {
        for limit in [Limit::new(1 << 50, SECOND), Limit::new(u64::MAX, 30 * SECOND)] {
            let mut bucket = Bucket::default();
            assert_eq!(bucket.take(&limit, 1, Instant::START), Ok(()));
            assert!(!bucket.is_full(Instant::START));
        }
    }

    #[test]
    fn what_is_missing_comes_back_with_time() {
        let limit = Limit::new(5, 10 * SECOND).times(2);
        let mut bucket = Bucket::default();
        assert_eq!(bucket.used(&limit, Instant::START), 0);
        assert_eq!(bucket.take(&limit, 10, Instant::START), Ok(()));
        assert_eq!(bucket.used(&limit, Instant::START), 10);
        assert_eq!(bucket.used(&limit, Instant::START.after(SECOND / 2)), 10);
        assert_eq!(bucket.used(&limit, Instant::START.after(7 * SECOND)), 3);
        assert_eq!(bucket.full_at(), Instant::START.after(10 * SECOND));
    }

    #[test]
    fn what_has_happened_is_charged_beyond_what_is_there() {
        let limit = Limit::new(10, 10 * SECOND);
        let mut bucket = Bucket::default();
        let now = Instant::START.after(100 * SECOND);
        bucket.charge(&limit, 13, now);
        assert_eq!(bucket.take(&limit, 1, now), Err(4 * SECOND));
        bucket.charge(&limit, 1000, now);
        assert_eq!(bucket.take(&limit, 10, now), Err(20 * SECOND), "no longer than for two");
    }

    #[test]
    fn more_than_it_holds_is_never_available() {
        let limit = Limit::new(10, SECOND);
        assert_eq!(Bucket::default().take(&limit, 11, Instant::START), Err(SECOND));
    }

    proptest! {
        /// Against a model that keeps every grant: the sum within any period never exceeds twice
        /// the amount (one burst and one refill), and a wait that is honoured is granted. Two hundred
        /// nanoseconds, one for each step, are less than one more.
        #[test]
        fn grants_stay_within_the_limit(
            amount in 1..1000_u64,
            period_ms in 1..10_000_u64,
            steps in prop::collection::vec((0..2_000_u64, 1..1000_u64), 1..200),
        ) {
            let limit = Limit::new(amount, Duration::from_millis(period_ms));
            let mut bucket = Bucket::default();
            let mut now = Instant::START;
            let mut granted = 0_u128;
            for (wait_ms, want) in steps {
                now = now.after(Duration::from_millis(wait_ms));
                match bucket.take(&limit, want, now) {
                    Ok(()) => granted += u128::from(want),
                    Err(wait) if want <= amount => {
                        let mut later = bucket;
                        prop_assert_eq!(later.take(&limit, want, now.after(wait)), Ok(()));
                    }
                    Err(_) => {}
                }
                let elapsed_ns = now.since(Instant::START).as_nanos();
                let refilled = elapsed_ns * u128::from(amount) / u128::from(limit.period_ns);
                prop_assert!(granted <= u128::from(amount) + refilled + 1);
            }
        }
    }
}
