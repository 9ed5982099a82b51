//! The connections on this node, and what is done to them by time: pings, stalls, ends.
//!
//! There is no timer per connection. One sweep a second walks the table, in which every connection
//! is entered from its upgrade to its end by a guard, and acts on those whose moment has come. Its
//! resolution is a second, which is enough for deadlines of several. It goes in steps, between which
//! messages have their turn.

use std::io::IoSlice;
use std::os::fd::AsRawFd as _;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use slab::Slab;
use tokio::net::TcpStream;

use crate::core::close::Close;
use crate::core::frame::{Opcode, frame};
use crate::core::limit::Instant;
use crate::core::wire;
use crate::hub::random::Random;
use crate::metrics::{Count, LimitHit, Metrics};
use crate::outbox::{Bounds, FrameKind, Mark, Outbox};

/// One upgraded connection: its socket, and whether it shows signs of life.
pub struct Session {
    outbox: Outbox<TcpStream>,
    /// Pings since the last sign of life.
    unanswered: AtomicU8,
}

impl Session {
    pub(super) const fn new(outbox: Outbox<TcpStream>) -> Self {
        Self { outbox, unanswered: AtomicU8::new(0) }
    }

    /// The socket, for writing.
    pub const fn outbox(&self) -> &Outbox<TcpStream> {
        &self.outbox
    }

    /// Has the processor fetch what a send looks at, and does not wait for it.
    #[inline]
    pub(super) fn prefetch(&self) {
        self.outbox.prefetch();
        std::hint::black_box(self.outbox.socket().as_raw_fd());
    }

    /// Notes that something came from the peer.
    pub fn heard(&self) {
        self.unanswered.store(0, Ordering::Relaxed);
    }

    /// Sends one control frame by itself.
    pub fn tell(&self, text: &[u8], now: Instant) {
        self.send_frame(Opcode::Text, text, now);
    }

    /// Sends one frame of the WebSocket layer.
    pub fn send_frame(&self, opcode: Opcode, payload: &[u8], now: Instant) {
        let bytes = frame(opcode, payload);
        let mark = Mark { len: bytes.len(), kind: FrameKind::Control };
        self.outbox.send(&[IoSlice::new(&bytes)], std::iter::once(mark), now);
    }
}

/// What the table knows of a connection beside the session itself.
struct Entry {
    session: Arc<Session>,
    next_ping: Instant,
    /// When the token's `ses` is over.
    ends_at: Option<Instant>,
    /// Since when it is closing.
    closing_since: Option<Instant>,
    /// When it was told to reconnect elsewhere.
    hinted_at: Option<Instant>,
}

/// The periods that the sweep enforces.
#[derive(Clone, Copy)]
pub(super) struct Periods {
    pub(super) ping: Duration,
    pub(super) misses: u8,
    pub(super) stall: Duration,
    pub(super) age: Duration,
    pub(super) close: Duration,
}

/// The table of connections, in parts with a lock each.
pub(super) struct Sessions {
    parts: [Mutex<Slab<Entry>>; PARTS],
    periods: Periods,
    /// What may wait for them.
    bounds: Arc<Bounds>,
    /// Held by whoever evicts.
    evicting: Mutex<()>,
}

/// How far a sweep is. The default is its beginning.
#[derive(Default)]
pub struct Sweep {
    part: usize,
    key: usize,
    /// Since when the oldest of what waits has waited, of those who were looked at.
    oldest: Option<Instant>,
}

/// Enough that handshakes on all workers seldom meet.
const PARTS: usize = 16;
/// Connections that a step of a sweep looks at. In each second one in twenty-five is pinged, so that a step
/// takes some 0.2 ms.
const STEP: usize = 512;
/// Between the hint of a drain and the close, so that clients can leave by themselves.
const DRAIN_GRACE: Duration = Duration::from_secs(1);

/// Takes the connection out of the table when dropped.
pub(super) struct Registered {
    part: usize,
    key: usize,
}

impl Sessions {
    pub(super) fn new(periods: Periods, bounds: Bounds) -> Self {
        Self {
            parts: [const { Mutex::new(Slab::new()) }; PARTS],
            periods,
            bounds: Arc::new(bounds),
            evicting: Mutex::new(()),
        }
    }

    /// What may wait for them.
    pub(super) const fn bounds(&self) -> &Arc<Bounds> {
        &self.bounds
    }

    /// Keeps what waits for all together within its bound: the one with the most waiting goes, until
    /// the rest fits. Costs nothing while it does; a walk through the table for each that goes.
    pub(super) fn keep_within_bounds(&self, metrics: &Metrics, now: Instant) {
        if !self.bounds.is_exceeded() {
            return;
        }
        let Ok(_one_at_a_time) = self.evicting.try_lock() else { return };
        while self.bounds.is_exceeded()
            && let Some(worst) = self.most_queued()
        {
            metrics.add(Count::Evictions, 1);
            metrics.limit_hit(LimitHit::BufferedBytes);
            worst.outbox.evict(now);
        }
    }

    fn most_queued(&self) -> Option<Arc<Session>> {
        let (mut most, mut worst) = (0, None);
        self.each(|entry| {
            let queued = entry.session.outbox.queued();
            if queued > most {
                (most, worst) = (queued, Some(Arc::clone(&entry.session)));
            }
        });
        worst
    }

    /// Enters a connection. The first ping comes at a random moment, so that connections which
    /// came together are not pinged together for ever.
    pub(super) fn enter(
        &self,
        session: Arc<Session>,
        ends_at: Option<Instant>,
        random: &mut Random,
        now: Instant,
    ) -> Registered {
        let part = random.below(PARTS);
        let entry = Entry {
            session,
            next_ping: now.after(random.up_to(self.periods.ping)),
            ends_at,
            closing_since: None,
            hinted_at: None,
        };
        let key = self.with_part(part, |table| table.insert(entry)).unwrap_or(usize::MAX);
        Registered { part, key }
    }

    /// The counterpart of [`Sessions::enter`].
    pub(super) fn remove(&self, entered: &Registered) {
        self.with_part(entered.part, |table| table.try_remove(entered.key));
    }

    fn with_part<R>(&self, part: usize, act: impl FnOnce(&mut Slab<Entry>) -> R) -> Option<R> {
        let part = self.parts.get(part)?;
        Some(act(&mut part.lock().unwrap_or_else(PoisonError::into_inner)))
    }

    fn each(&self, mut act: impl FnMut(&mut Entry)) {
        for part in 0..PARTS {
            self.with_part(part, |table| table.iter_mut().for_each(|(_, entry)| act(entry)));
        }
    }

    /// How many connections there are.
    pub(super) fn count(&self) -> usize {
        (0..PARTS).filter_map(|part| self.with_part(part, |table| table.len())).sum()
    }

    /// One step of a sweep: pings who is due, and closes who is lost, stalled or over. Returns whether
    /// there are more.
    pub(super) fn sweep(
        &self,
        at: &mut Sweep,
        random: &mut Random,
        metrics: &Metrics,
        now: Instant,
    ) -> bool {
        let mut left = STEP;
        while left > 0 && at.part < PARTS {
            let is_done = self.with_part(at.part, |table| {
                let keys = at.key..table.capacity().min(at.key + left);
                left -= keys.len();
                at.key += keys.len();
                for key in keys {
                    let Some(entry) = table.get_mut(key) else { continue };
                    self.periods.tend(entry, random, metrics, now);
                    at.oldest = at.oldest.into_iter().chain(entry.session.outbox.oldest()).min();
                }
                at.key >= table.capacity()
            });
            if is_done != Some(false) {
                (at.part, at.key) = (at.part + 1, 0);
            }
        }
        self.keep_within_bounds(metrics, now);
        if at.part < PARTS {
            return true;
        }
        let Sweep { oldest, .. } = std::mem::take(at);
        let age = oldest.map_or(Duration::ZERO, |oldest| now.since(oldest));
        metrics.set_queue_oldest(age);
        false
    }

    /// One step of a drain: tells up to `budget` more connections to come back after a random time
    /// up to `spread`, and closes those that were told a while ago.
    pub(super) fn drain(
        &self,
        mut budget: u64,
        spread: Duration,
        random: &mut Random,
        now: Instant,
    ) {
        self.each(|entry| match entry.hinted_at {
            None if budget > 0 => {
                budget -= 1;
                entry.hinted_at = Some(now);
                let hint = random.up_to(spread);
                entry.session.tell(&wire::drain(millis(hint)), now);
            }
            Some(at) if now.since(at) >= DRAIN_GRACE => {
                let hint = random.up_to(spread);
                entry.session.outbox.close(Close::Restart, Some(hint), now);
            }
            _ => {}
        });
    }
}

impl Periods {
    fn tend(self, entry: &mut Entry, random: &mut Random, metrics: &Metrics, now: Instant) {
        let session = &entry.session;
        if session.outbox.is_ending() {
            let since = *entry.closing_since.get_or_insert(now);
            if now.since(since) >= self.close {
                session.outbox.abort();
            }
        } else if entry.ends_at.is_some_and(|end| end <= now) {
            session.outbox.close(Close::SessionExpired, None, now);
        } else if session.outbox.is_late(self.stall, self.age, now) {
            if session.outbox.evict(now) {
                metrics.limit_hit(LimitHit::OutboxAge);
            }
        } else if entry.next_ping <= now {
            entry.next_ping = now.after(self.ping.mul_f64(random.between(0.8, 1.2)));
            if session.unanswered.fetch_add(1, Ordering::Relaxed) >= self.misses {
                if session.outbox.close(Close::HeartbeatLost, None, now) {
                    metrics.add(Count::HeartbeatsLost, 1);
                }
            } else {
                metrics.add(Count::PingsSent, 1);
                session.send_frame(Opcode::Ping, b"", now);
            }
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
