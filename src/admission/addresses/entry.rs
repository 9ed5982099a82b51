//! What is kept of one prefix, and what it may do next.
//!
//! Pure: the time comes in, a refusal goes out. An entry is [`Entry::BYTES_MAX`] bytes at most, and
//! nothing in it has to be refilled or expires by itself, so nobody has to look at it until its
//! address comes again.

use std::time::Duration;

use super::limits::Ceilings;
use super::penalty::{Ladder, Penalty};
use crate::core::limit::{Bucket, Instant, Limit};

/// What an address used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quota {
    /// Connections at the same time.
    Connections,
    /// WebSocket handshakes.
    Handshakes,
    /// HTTP requests.
    Requests,
    /// New rooms.
    Rooms,
    /// Tokens asked for.
    Tokens,
    /// The pace at which rooms and tokens may follow each other when many were asked for.
    Pace,
    /// Admissions that failed.
    Failures,
    /// Connections that were closed for cause.
    Faults,
    /// The table of addresses, by all of them together.
    Addresses,
}

/// A quota is used up. The address may come again after `wait`; zero if there is no telling.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused {
    /// What was used up.
    pub quota: Quota,
    /// When there is some again, from now.
    pub wait: Duration,
}

impl Quota {
    /// Refuses with no telling when there is some again.
    pub(super) const fn refused(self) -> Refused {
        Refused { quota: self, wait: Duration::ZERO }
    }

    const fn after(self, wait: Duration) -> Refused {
        Refused { quota: self, wait }
    }
}

/// What is kept of one prefix. The default is one of which nothing is known.
#[derive(Clone, Copy, Default)]
pub(super) struct Entry {
    handshakes: Bucket,
    requests: Bucket,
    rooms: Bucket,
    tokens: Bucket,
    failures: Bucket,
    failing: Penalty,
    faulty: Penalty,
    connections: u32,
    /// The millisecond before which no room and no token is given out, counted around: a stale one
    /// is far away and means nothing.
    paced_until_ms: u32,
}

impl Entry {
    /// Most bytes of an entry.
    const BYTES_MAX: usize = 64;

    /// Counts a connection in.
    pub(super) fn connect(&mut self, most: &Ceilings) -> Result<(), Refused> {
        if self.connections >= most.connections {
            return Err(Quota::Connections.refused());
        }
        self.connections += 1;
        Ok(())
    }

    /// Counts a connection out.
    pub(super) const fn disconnect(&mut self) {
        self.connections = self.connections.saturating_sub(1);
    }

    /// Whether connections count on this entry.
    pub(super) const fn is_connected(&self) -> bool {
        self.connections > 0
    }

    /// Takes a handshake.
    pub(super) fn handshake(&mut self, most: &Ceilings, now: Instant) -> Result<(), Refused> {
        self.serve_penalty(now)?;
        take(&mut self.handshakes, &most.handshakes, Quota::Handshakes, now)
    }

    /// Takes a request.
    pub(super) fn request(&mut self, most: &Ceilings, now: Instant) -> Result<(), Refused> {
        take(&mut self.requests, &most.requests, Quota::Requests, now)
    }

    /// Takes a new room.
    pub(super) fn room(&mut self, most: &Ceilings, now: Instant) -> Result<(), Refused> {
        self.serve_penalty(now)?;
        self.rooms = self.next(self.rooms, &most.rooms, Quota::Rooms, most, now)?;
        self.slow_down(self.rooms.used(&most.rooms, now), &most.rooms, most, now);
        Ok(())
    }

    /// Takes a token.
    pub(super) fn token(&mut self, most: &Ceilings, now: Instant) -> Result<(), Refused> {
        self.serve_penalty(now)?;
        self.tokens = self.next(self.tokens, &most.tokens, Quota::Tokens, most, now)?;
        self.slow_down(self.tokens.used(&most.tokens, now), &most.tokens, most, now);
        Ok(())
    }

    /// Counts a failed admission. An error says that it was one too many.
    pub(super) fn fail(
        &mut self,
        most: &Ceilings,
        ladder: &Ladder,
        now: Instant,
    ) -> Result<(), Refused> {
        if self.failing.wait(now).is_none() && self.failures.take(&most.failures, 1, now).is_err() {
            self.failing.offend(ladder, 0, now);
        }
        match self.failing.wait(now) {
            Some(wait) => Err(Quota::Failures.after(wait)),
            None => Ok(()),
        }
    }

    /// Counts a connection that was closed for cause.
    pub(super) fn blame(&mut self, most: &Ceilings, ladder: &Ladder, now: Instant) {
        self.faulty.offend(ladder, most.faults, now);
    }

    /// When nothing is left to limit, as far as that does not take connections; in the past if
    /// there is nothing.
    pub(super) fn idle_at(&self, ladder: &Ladder) -> Instant {
        let buckets = [self.handshakes, self.requests, self.rooms, self.tokens, self.failures];
        let full = buckets.iter().map(Bucket::full_at).max().unwrap_or_default();
        let forgotten = self.failing.forgotten_at(ladder).max(self.faulty.forgotten_at(ladder));
        full.max(forgotten)
    }

    /// Whether nothing is left to limit.
    pub(super) fn is_idle(&self, ladder: &Ladder, now: Instant) -> bool {
        !self.is_connected() && self.idle_at(ladder) <= now
    }

    /// No handshake while connections that were closed for cause are paid for; and no token for one,
    /// because a browser is shown why a token was refused, but not why a handshake was.
    fn serve_penalty(&self, now: Instant) -> Result<(), Refused> {
        match self.faulty.wait(now) {
            Some(wait) => Err(Quota::Faults.after(wait)),
            None => Ok(()),
        }
    }

    /// The bucket of rooms or tokens after the next one. Where both the bucket and the pace ask for
    /// a wait, the longer is told: who comes back after it must not be sent away again.
    fn next(
        &self,
        mut bucket: Bucket,
        limit: &Limit,
        quota: Quota,
        most: &Ceilings,
        now: Instant,
    ) -> Result<Bucket, Refused> {
        let taken = take(&mut bucket, limit, quota, now);
        match (taken, self.keep_pace(most, now)) {
            (Ok(()), Ok(())) => Ok(bucket),
            (Err(used_up), Err(paced)) if used_up.wait >= paced.wait => Err(used_up),
            (_, Err(refused)) | (Err(refused), Ok(())) => Err(refused),
        }
    }

    fn keep_pace(&self, most: &Ceilings, now: Instant) -> Result<(), Refused> {
        let left = self.paced_until_ms.wrapping_sub(millis(now));
        let left = Duration::from_millis(u64::from(left));
        if left.is_zero() || left > most.gap_max {
            return Ok(());
        }
        Err(Quota::Pace.after(left))
    }

    /// Sets the gap to the next room or token, if more than the free part of the limit is used: the
    /// closer to the limit, the longer.
    fn slow_down(&mut self, used: u64, limit: &Limit, most: &Ceilings, now: Instant) {
        let amount = limit.amount();
        let free = amount * u64::from(most.free_percent) / 100;
        let (over, span) = (used.saturating_sub(free), amount.saturating_sub(free).max(1));
        let most_ms = u64::try_from(most.gap_max.as_millis()).unwrap_or(u64::MAX);
        let gap_ms = most_ms.saturating_mul(over.min(span)) / span;
        if gap_ms > 0 {
            let gap_ms = u32::try_from(gap_ms).unwrap_or(u32::MAX);
            self.paced_until_ms = millis(now).wrapping_add(gap_ms);
        }
    }
}

const _: () = assert!(size_of::<Entry>() <= Entry::BYTES_MAX);

fn take(bucket: &mut Bucket, limit: &Limit, quota: Quota, now: Instant) -> Result<(), Refused> {
    bucket.take(limit, 1, now).map_err(|wait| quota.after(wait))
}

/// The millisecond of the process' clock, counted around.
fn millis(now: Instant) -> u32 {
    let ms = now.since(Instant::START).as_millis() & u128::from(u32::MAX);
    u32::try_from(ms).unwrap_or_default()
}
