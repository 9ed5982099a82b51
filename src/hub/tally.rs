//! What one flush did, added up before it is told to the counters: once per flush, not per member.

use crate::metrics::{Count, Dropped, Metrics};
use crate::outbox::Sent;

/// Sums over the members of one flush.
#[derive(Default)]
pub(super) struct Tally {
    writes: u64,
    messages: u64,
    written: u64,
    queued: u64,
    dropped_volatile: u64,
    dropped: u64,
}

impl Tally {
    /// Adds what became of one member's share, which had this many messages.
    pub(super) const fn add(&mut self, sent: Sent, messages: u64) {
        self.writes += 1;
        if sent.accepted {
            self.messages += messages;
        }
        self.written += sent.written as u64;
        self.queued += sent.queued as u64;
        self.dropped_volatile += sent.dropped_volatile;
        self.dropped += sent.dropped;
    }

    /// Tells the counters.
    pub(super) fn report(self, metrics: &Metrics) {
        metrics.add(Count::Flushes, 1);
        for (count, n) in [
            (Count::Writes, self.writes),
            (Count::CopiesDelivered, self.messages),
            (Count::BytesWritten, self.written),
            (Count::BacklogBytesQueued, self.queued),
        ] {
            if n > 0 {
                metrics.add(count, n);
            }
        }
        metrics.dropped(Dropped::Volatile, self.dropped_volatile);
        metrics.dropped(Dropped::SlowConsumer, self.dropped);
    }
}
