//! What one flush did, added up before it is told to the counters: once per flush, not per member.

use std::time::Duration;

use crate::metrics::{Count, Dropped, LimitHit, Metrics, Spread, Timed};
use crate::outbox::{Fate, Sent};

/// Sums over the members of one flush.
#[derive(Default)]
pub(super) struct Tally {
    writes: u64,
    /// Messages in the members' shares.
    given: u64,
    /// Those that the sockets took at once.
    delivered: u64,
    /// Those for members whose connections were ending.
    refused: u64,
    written: u64,
    queued: u64,
    given_up: u64,
}

impl Tally {
    /// Adds what became of one member's share, which had this many messages. What waits, or was
    /// given up with what waited, is counted by the outbox.
    pub(super) const fn add(&mut self, sent: Sent, messages: u64) {
        self.writes += 1;
        self.given += messages;
        match sent.fate {
            Fate::Written => self.delivered += messages,
            Fate::Refused => self.refused += messages,
            Fate::Waiting => {}
            Fate::GivenUp => self.given_up += 1,
        }
        self.written += sent.written as u64;
        self.queued += sent.queued as u64;
    }

    /// Tells the counters; `spread` is to whom the messages were addressed, and `age` how old the
    /// first of them is now.
    pub(super) fn report(self, spread: &Spread, age: Option<Duration>, metrics: &Metrics) {
        metrics.add(Count::Flushes, 1);
        for (count, n) in [
            (Count::Writes, self.writes),
            (Count::CopiesDelivered, self.delivered),
            (Count::BytesWritten, self.written),
            (Count::BacklogBytesQueued, self.queued),
        ] {
            if n > 0 {
                metrics.add(count, n);
            }
        }
        if let Some(age) = age {
            metrics.observe(Timed::RelayLatency, age);
            metrics.addressed(spread);
        }
        // Who leaves after a message was accepted has no share of the batch any more.
        let left = spread.copies().saturating_sub(self.given);
        for (why, copies) in [(Dropped::Closed, self.refused), (Dropped::Left, left)] {
            if copies > 0 {
                metrics.dropped(why, copies);
            }
        }
        for _ in 0..self.given_up {
            metrics.limit_hit(LimitHit::Outbox);
        }
    }
}
