//! Distributions: a few buckets, a sum and a count, in cells like those of the counters.
//!
//! Few and coarse on purpose: a fine bucket with one observation in it tells of one event.

use std::time::Duration;

use prometheus_client::registry::Unit;

use super::closed::closed_enum;

closed_enum!(
    /// A distribution of times.
    Timed {
        RelayLatency: ("relay_latency", Some(Unit::Seconds)) =>
            "From the first byte read of a batch, or its coming from the bus, until it was written.",
        BusPublish: ("bus_publish", Some(Unit::Seconds)) =>
            "From handing a batch to Redis until its answer.",
        EventLoopLag: ("event_loop_lag", Some(Unit::Seconds)) =>
            "How late a task that sleeps for a fixed time is woken.",
    }
);

/// Buckets of each distribution, without the one for all that is above.
pub(super) const BUCKETS: usize = 6;
/// Cells of each: the buckets, what is above, and the sum.
pub(super) const CELLS_EACH: usize = BUCKETS + 2;
/// Where the sum is among the cells of one.
pub(super) const SUM: usize = BUCKETS + 1;
/// How many there are: those of times, and the fan-out.
pub(super) const HISTOGRAMS: usize = Timed::ALL.len() + 1;

impl Timed {
    /// Upper bounds, in microseconds.
    pub(super) const fn bounds_us(self) -> [u64; BUCKETS] {
        match self {
            Self::RelayLatency => [100, 1_000, 5_000, 25_000, 100_000, 1_000_000],
            Self::BusPublish => [500, 1_000, 5_000, 25_000, 100_000, 1_000_000],
            Self::EventLoopLag => [1_000, 5_000, 25_000, 100_000, 500_000, 1_000_000],
        }
    }

    /// The bucket of a time, and what it adds to the sum, in nanoseconds.
    pub(super) fn place(self, time: Duration) -> (usize, u64) {
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let is_above = |bound: &&u64| nanos > **bound * 1000;
        (self.bounds_us().iter().take_while(is_above).count(), nanos)
    }
}

/// Upper bounds of the buckets of receivers: powers of four.
pub(super) const RECEIVERS: [u64; BUCKETS] = [1, 4, 16, 64, 256, 1024];

/// To how many members each of several messages went; added up where they are, and told to the
/// counters at once.
#[derive(Clone, Copy, Default)]
pub struct Spread {
    /// Messages by bucket.
    pub(super) buckets: [u32; BUCKETS + 1],
    /// Receivers of all of them together.
    pub(super) sum: u64,
}

impl Spread {
    /// Adds a message with so many receivers.
    pub fn add(&mut self, receivers: u64) {
        let bucket = RECEIVERS.iter().take_while(|bound| receivers > **bound).count();
        if let Some(messages) = self.buckets.get_mut(bucket) {
            *messages += 1;
        }
        self.sum += receivers;
    }

    /// Receivers of all messages together.
    pub const fn copies(&self) -> u64 {
        self.sum
    }

    /// Whether there was no message.
    pub fn is_empty(&self) -> bool {
        self.buckets == [0; BUCKETS + 1]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_is_in_its_bucket() {
        for (time, bucket) in
            [(0, 0), (100_000, 0), (100_001, 1), (1_000_000_000, 5), (u64::MAX, 6)]
        {
            assert_eq!(Timed::RelayLatency.place(Duration::from_nanos(time)), (bucket, time));
        }
        let mut spread = Spread::default();
        assert!(spread.is_empty());
        for receivers in [0, 1, 2, 4, 5, 1024, 1025] {
            spread.add(receivers);
        }
        assert_eq!(spread.buckets, [2, 2, 1, 0, 0, 1, 1]);
        assert_eq!(spread.copies(), 2061);
    }

    #[test]
    fn buckets_ascend() {
        for timed in Timed::ALL {
            assert!(timed.bounds_us().is_sorted());
        }
        assert!(RECEIVERS.is_sorted());
    }
}
