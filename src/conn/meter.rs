//! What one member may send, and what happens when it sends more.
//!
//! Two layers. The *socket's* buckets count raw bytes, frames and pings, because limits on messages
//! never see what is no message (empty fragments, pings); over them the connection ends. The
//! *member's* buckets count messages and their bytes; over them a message is refused and the member
//! told, and who goes on regardless is ended too. Pure: time comes in.

use std::time::Duration;

use crate::config::Limits;
use crate::core::limit::{Bucket, Instant, Limit};
use crate::metrics::LimitHit;

/// The buckets of one connection.
#[derive(Default)]
pub(super) struct Meter {
    raw_bytes: Bucket,
    frames: Bucket,
    pings: Bucket,
    messages: Bucket,
    bytes: Bucket,
    strikes: Strikes,
}

/// Refusals in the current window.
#[derive(Default)]
struct Strikes {
    count: u32,
    since: Instant,
}

/// A limit is exceeded; it would do again after this time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Exceeded {
    /// The connection has to end.
    End(Duration),
    /// The message is refused.
    Refuse(Duration),
}

const PERIOD: Duration = Duration::from_secs(10);

impl Meter {
    /// Charges bytes as they come from the socket.
    pub(super) fn raw(
        &mut self,
        limits: &Limits,
        count: usize,
        now: Instant,
    ) -> Result<(), Exceeded> {
        end_over(&mut self.raw_bytes, limits.raw_bytes_per_10s, count as u64, now)
    }

    /// Charges a frame of any kind.
    pub(super) fn frame(&mut self, limits: &Limits, now: Instant) -> Result<(), Exceeded> {
        end_over(&mut self.frames, limits.frames_per_10s, 1, now)
    }

    /// Charges a ping, of the WebSocket layer or the control frame.
    pub(super) fn ping(&mut self, limits: &Limits, now: Instant) -> Result<(), Exceeded> {
        end_over(&mut self.pings, limits.pings_per_10s, 1, now)
    }

    /// Charges a message with so many bytes of payload.
    pub(super) fn message(
        &mut self,
        limits: &Limits,
        payload: usize,
        now: Instant,
    ) -> Result<(), (LimitHit, Exceeded)> {
        let messages = Limit::new(u64::from(limits.messages_per_10s), PERIOD);
        let bytes = Limit::new(u64::from(limits.bytes_per_10s), PERIOD);
        // On copies, so that what one bucket refuses costs nothing from the other.
        let (mut after_messages, mut after_bytes) = (self.messages, self.bytes);
        let taken = after_messages
            .take(&messages, 1, now)
            .map_err(|wait| (LimitHit::Messages, wait))
            .and_then(|()| {
                let taken = after_bytes.take(&bytes, payload as u64, now);
                taken.map_err(|wait| (LimitHit::Bytes, wait))
            });
        match taken {
            Ok(()) => {
                (self.messages, self.bytes) = (after_messages, after_bytes);
                Ok(())
            }
            Err((limit, wait)) => Err((limit, self.over(limits, wait, now))),
        }
    }

    /// Counts a message that is refused for now; one too many ends the connection.
    pub(super) fn over(&mut self, limits: &Limits, wait: Duration, now: Instant) -> Exceeded {
        if self.strikes.add(limits, now) { Exceeded::End(wait) } else { Exceeded::Refuse(wait) }
    }
}

impl Strikes {
    /// Counts a refusal; true if it was one too many within the window.
    fn add(&mut self, limits: &Limits, now: Instant) -> bool {
        if self.count == 0 || now.since(self.since) >= limits.strike_window() {
            *self = Self { count: 0, since: now };
        }
        self.count += 1;
        self.count >= limits.strikes
    }
}

fn end_over(bucket: &mut Bucket, limit: u32, amount: u64, now: Instant) -> Result<(), Exceeded> {
    bucket.take(&Limit::new(u64::from(limit), PERIOD), amount, now).map_err(Exceeded::End)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    const NOW: Instant = Instant::START;
    const SECOND: Duration = Duration::from_secs(1);

    fn limits() -> Limits {
        Limits {
            messages_per_10s: 2,
            bytes_per_10s: 1000,
            frames_per_10s: 5,
            raw_bytes_per_10s: 100,
            pings_per_10s: 1,
            strikes: 3,
            strike_window_s: 30,
            ..Config::default().limit
        }
    }

    #[test]
    fn the_socket_is_metered_and_over_it_the_connection_ends() {
        let (limits, mut meter) = (limits(), Meter::default());
        assert_eq!(meter.raw(&limits, 100, NOW), Ok(()));
        assert_eq!(meter.raw(&limits, 1, NOW), Err(Exceeded::End(SECOND / 10)));
        for _ in 0..5 {
            assert_eq!(meter.frame(&limits, NOW), Ok(()));
        }
        assert_eq!(meter.frame(&limits, NOW), Err(Exceeded::End(2 * SECOND)));
        assert_eq!(meter.ping(&limits, NOW), Ok(()));
        assert_eq!(meter.ping(&limits, NOW), Err(Exceeded::End(10 * SECOND)));
    }

    #[test]
    fn a_message_too_many_is_refused_and_the_third_refusal_ends_it() {
        let (limits, mut meter) = (limits(), Meter::default());
        assert_eq!(meter.message(&limits, 1, NOW), Ok(()));
        assert_eq!(meter.message(&limits, 1, NOW), Ok(()));
        let over = |exceeded| Err((LimitHit::Messages, exceeded));
        assert_eq!(meter.message(&limits, 1, NOW), over(Exceeded::Refuse(5 * SECOND)));
        assert_eq!(meter.message(&limits, 1, NOW), over(Exceeded::Refuse(5 * SECOND)));
        assert_eq!(meter.message(&limits, 1, NOW), over(Exceeded::End(5 * SECOND)));
    }

    #[test]
    fn strikes_are_forgotten_after_their_window() {
        let (limits, mut meter) = (limits(), Meter::default());
        for at in [0, 29, 30, 59, 60] {
            let now = NOW.after(at * SECOND);
            let over = meter.message(&limits, 1001, now);
            assert!(matches!(over, Err((_, Exceeded::Refuse(_)))), "{at}");
        }
        let over = meter.message(&limits, 1001, NOW.after(61 * SECOND));
        assert!(matches!(over, Err((_, Exceeded::Refuse(_)))));
        let over = meter.message(&limits, 1001, NOW.after(62 * SECOND));
        assert!(matches!(over, Err((_, Exceeded::End(_)))));
    }

    #[test]
    fn bytes_count_as_well_and_a_refusal_costs_nothing() {
        let (limits, mut meter) = (limits(), Meter::default());
        assert_eq!(meter.message(&limits, 900, NOW), Ok(()));
        let over = Err((LimitHit::Bytes, Exceeded::Refuse(SECOND)));
        assert_eq!(meter.message(&limits, 200, NOW), over);
        assert_eq!(meter.message(&limits, 100, NOW), Ok(()));
    }
}
