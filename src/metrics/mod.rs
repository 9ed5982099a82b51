//! Every number the relay exports.
//!
//! One struct, one constructor, and one table that knows the names. Counters are striped: each
//! worker thread adds to cells of its own, on cache lines of its own, and a scrape sums them; so
//! counting a message costs no line that another core owns. Gauges move only by guards, so what was
//! counted in is counted out. Labels are closed enums: none ever holds a room, a member, an address
//! or anything else that a peer chose, which bounds both the memory and the leak. No clock is read
//! here.

mod blur;
mod bus;
mod closed;
mod count;
mod export;
mod families;
mod gauge;
mod histogram;
mod labels;
mod process;
mod refusal;
mod source;

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;

use self::blur::{Blur, STEP};
use self::histogram::SUM;
use self::process::{Process, Runtime};
use self::source::{
    ACCEPTED, ACCEPTED_BYTES, ANSWERED, BUS_REFUSED, CELLS, CLASSES, CLOSED, DROPPED, LIMITS,
    OWNER, REFUSED, ROOM, Reading, SPREAD, Source, VERDICTS,
};
use crate::core::close::Close;
use crate::core::limit::{Instant, UnixSeconds};
use crate::outbox::Bounds;

pub use self::bus::{BusRefusal, LinkState};
pub use self::count::{Count, Level};
pub use self::gauge::{ConnectionGauge, GaugeGuard, MemberGauge, RoomGauge};
pub use self::histogram::{Spread, Timed};
pub use self::labels::{
    Dropped, LimitHit, MessageClass, OwnerOperation, RoomOperation, Route, Verdict,
};
pub use self::refusal::Refusal;

/// All metrics of one relay. Each relay has its own, so that tests can run side by side.
pub struct Metrics {
    source: Source,
    /// The last snapshot, where single acts must not show.
    blur: Option<Mutex<Blur>>,
}

/// How closely numbers follow what people do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Privacy {
    /// As closely as there is: every number is that of the moment.
    Exact,
    /// A snapshot no more often than this, in multiples of eight; no single act shows.
    Blurred(Duration),
}

impl Metrics {
    /// Creates all metrics at zero, to be shown as they are.
    pub fn new() -> Self {
        Self::with(Privacy::Exact)
    }

    /// Creates all metrics at zero.
    pub fn with(privacy: Privacy) -> Self {
        let blur = match privacy {
            Privacy::Exact => None,
            Privacy::Blurred(every) => Some(Mutex::new(Blur::new(every))),
        };
        Self { source: Source::new(), blur }
    }

    /// Whether every number is shown as it is.
    pub const fn is_exact(&self) -> bool {
        self.blur.is_none()
    }

    /// A number that people move, as it may be shown: rounded up to a multiple of eight where
    /// single acts must not show. What [`Metrics::published`] has is better taken from there.
    pub const fn rounded(&self, value: u64) -> u64 {
        if self.blur.is_some() { value.next_multiple_of(STEP) } else { value }
    }

    /// Adds `n` to a counter, on the calling thread's own stripe.
    pub fn add(&self, count: Count, n: u64) {
        self.source.add(count as usize, n);
    }

    /// Counts a WebSocket that ended, by the code it was closed with.
    pub fn closed(&self, close: Close) {
        let at = Close::ALL.iter().position(|known| *known == close).unwrap_or(0);
        self.source.add(CLOSED + at, 1);
        if close == Close::TooLarge {
            self.limit_hit(LimitHit::PayloadBytes);
        }
    }

    /// Counts somebody who was not let in, and the limit that was hit by it, if one was.
    pub fn refused(&self, refusal: Refusal) {
        self.source.add(REFUSED + refusal as usize, 1);
        if let Some(limit) = LimitHit::behind(refusal) {
            self.limit_hit(limit);
        }
    }

    /// Counts a batch or an envelope of the bus that took no effect.
    pub fn bus_refused(&self, refusal: BusRefusal) {
        self.source.add(BUS_REFUSED + refusal as usize, 1);
    }

    /// Counts messages that a room took in, with so many bytes of payload together.
    pub fn accepted(&self, class: MessageClass, messages: u64, bytes: u64) {
        self.source.add(ACCEPTED + class as usize, messages);
        self.source.add(ACCEPTED_BYTES + class as usize, bytes);
    }

    /// Counts copies that were not delivered.
    pub fn dropped(&self, why: Dropped, copies: u64) {
        self.source.add(DROPPED + why as usize, copies);
    }

    /// Counts what was found about a join token.
    pub fn judged(&self, verdict: Verdict) {
        self.source.add(VERDICTS + verdict as usize, 1);
    }

    /// Counts that a limit was hit. Those behind a [`Refusal`] are counted by [`Metrics::refused`].
    pub fn limit_hit(&self, limit: LimitHit) {
        self.source.add(LIMITS + limit as usize, 1);
    }

    /// Counts what an owner had done.
    pub fn owner_did(&self, operation: OwnerOperation) {
        self.source.add(OWNER + operation as usize, 1);
    }

    /// Counts what happened to a room's record.
    pub fn room_did(&self, operation: RoomOperation) {
        self.source.add(ROOM + operation as usize, 1);
    }

    /// Adds one time to a distribution.
    pub fn observe(&self, timed: Timed, time: Duration) {
        let (bucket, nanos) = timed.place(time);
        self.source.add(timed.first_cell() + bucket, 1);
        self.source.add(timed.first_cell() + SUM, nanos);
    }

    /// Adds messages to the distribution of receivers, and their copies to those addressed.
    pub fn addressed(&self, spread: &Spread) {
        for (at, messages) in (SPREAD..).zip(spread.buckets) {
            if messages > 0 {
                self.source.add(at, u64::from(messages));
            }
        }
        self.source.add(SPREAD + SUM, spread.sum);
        self.add(Count::CopiesAddressed, spread.sum);
    }

    /// Notes how many links to Redis servers are up, and how many are not.
    pub fn set_links(&self, up: usize, down: usize) {
        self.source.bus.set_links(up, down);
    }

    /// Notes how long the last probe of the bus was on its way; `None` while it is down.
    pub fn set_round_trip(&self, round_trip: Option<Duration>) {
        self.source.bus.set_round_trip(round_trip);
    }

    /// Notes how long the oldest frame has waited that waits for any member.
    pub fn set_queue_oldest(&self, age: Duration) {
        let millis = u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
        self.source.queue_oldest_ms.store(millis, Ordering::Relaxed);
    }

    /// Shows from now on what waits within these bounds, and what became of it; only the first time
    /// counts.
    pub fn watch_queues(&self, bounds: Arc<Bounds>) {
        // Set before: those stay.
        let _ = self.source.bounds.set(bounds);
    }

    /// Notes that the relay is about to stop; only the first time counts.
    pub fn drain_began(&self, now: Instant) {
        // Set before: that one stays.
        let _ = self.source.drain_began.set(now);
    }

    /// Notes on what the connections run; only the first time counts.
    pub fn set_runtime(&self, runtime: Handle) {
        // Set before: that one stays.
        let _ = self.source.runtime.set(runtime);
    }

    /// Counts an HTTP answer by its route and the first digit of its status.
    pub fn answered(&self, route: Route, status: u16) {
        let class = usize::from(status / 100).clamp(1, CLASSES.len()) - 1;
        self.source.add(ANSWERED + route as usize * CLASSES.len() + class, 1);
    }

    /// Counts an accepted connection, and out again when the guard is dropped.
    pub fn connection_opened(&self) -> ConnectionGauge {
        self.add(Count::ConnectionsAccepted, 1);
        GaugeGuard::new(&self.source.connections)
    }

    /// Counts a member in, and out again when the guard is dropped.
    pub fn member_joined(&self) -> MemberGauge {
        GaugeGuard::new(&self.source.members)
    }

    /// Counts a room with members in, and out again when the guard is dropped.
    pub fn room_opened(&self) -> RoomGauge {
        GaugeGuard::new(&self.source.rooms)
    }

    /// Sets one of the gauges that are not counted.
    pub fn set_level(&self, level: Level, value: u64) {
        self.source.set_level(level, value);
    }

    /// The current values, as `OpenMetrics` 1.0 text. `now` gives the time since the start.
    pub fn encode(&self, now: Instant) -> String {
        export::encode(&self.reading(now))
    }

    /// The current values, as `{"timestamp":<s>,"metrics":{<series>:{"type":…,"value":…}}}`.
    pub fn encode_json(&self, now: Instant, at: UnixSeconds) -> String {
        let metrics = export::to_json(&self.encode(now));
        serde_json::json!({ "timestamp": at.0, "metrics": metrics }).to_string()
    }

    fn reading(&self, now: Instant) -> Reading {
        let mut reading = self.source.read(now);
        reading.process = Process::read();
        reading.runtime = self.source.runtime.get().map(Runtime::read).unwrap_or_default();
        match &self.blur {
            Some(blur) => blur.lock().unwrap_or_else(PoisonError::into_inner).show(&reading, now),
            None => reading,
        }
    }

    /// All values at this moment, for the relay itself and for tests; not to be shown to anybody.
    pub fn aggregate(&self) -> Aggregate {
        Aggregate::of(&self.source.read(Instant::START))
    }

    /// All values as they may be shown at this moment, for `/health` and the periodic log line: in
    /// the same snapshot as the metrics, where there are snapshots.
    pub fn published(&self, now: Instant) -> Aggregate {
        Aggregate::of(&self.reading(now))
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

/// The values of one moment, or, by [`Aggregate::since`], what happened between two moments.
#[derive(Clone)]
pub struct Aggregate {
    cells: [u64; CELLS],
    /// Copies of messages that waited for slow members at that moment.
    pub copies_queued: u64,
    /// Bytes that waited for slow members at that moment.
    pub queued_bytes: u64,
    /// Resident memory of the process at that moment, in bytes; 0 in [`Metrics::aggregate`].
    pub resident_bytes: u64,
    levels: [u64; Level::ALL.len()],
    /// Sockets open at that moment.
    pub connections: u64,
    /// Members in rooms at that moment.
    pub members: u64,
    /// Rooms with members at that moment.
    pub rooms: u64,
}

impl Aggregate {
    const fn of(reading: &Reading) -> Self {
        Self {
            cells: reading.cells,
            copies_queued: reading.copies_queued,
            queued_bytes: reading.queued_bytes,
            resident_bytes: reading.process.resident_bytes,
            levels: reading.levels,
            connections: reading.connections,
            members: reading.members,
            rooms: reading.rooms,
        }
    }

    /// How one of the gauges that are not counted stood.
    pub fn level(&self, level: Level) -> u64 {
        self.levels.get(level as usize).copied().unwrap_or(0)
    }

    /// What was counted after `earlier`. The gauges stay those of this moment.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let mut difference = self.clone();
        for (cell, before) in difference.cells.iter_mut().zip(&earlier.cells) {
            *cell = cell.saturating_sub(*before);
        }
        difference
    }

    /// The value of a counter.
    pub fn count(&self, count: Count) -> u64 {
        self.cell(count as usize)
    }

    /// How many upgraded connections ended with this code.
    pub fn closed(&self, close: Close) -> u64 {
        let at = Close::ALL.iter().position(|known| *known == close).unwrap_or(0);
        self.cell(CLOSED + at)
    }

    /// How many upgraded connections ended, with any code.
    pub fn closed_in_all(&self) -> u64 {
        Close::ALL.iter().map(|close| self.closed(*close)).sum()
    }

    /// How many were not let in, for this reason.
    pub fn refused(&self, refusal: Refusal) -> u64 {
        self.cell(REFUSED + refusal as usize)
    }

    /// How many were not let in, for any reason.
    pub fn refused_in_all(&self) -> u64 {
        Refusal::ALL.iter().map(|refusal| self.refused(*refusal)).sum()
    }

    /// How many batches or envelopes of the bus took no effect, for this reason.
    pub fn bus_refused(&self, refusal: BusRefusal) -> u64 {
        self.cell(BUS_REFUSED + refusal as usize)
    }

    /// How many messages of this class rooms took in.
    pub fn accepted(&self, class: MessageClass) -> u64 {
        self.cell(ACCEPTED + class as usize)
    }

    /// How many messages rooms took in.
    pub fn accepted_in_all(&self) -> u64 {
        MessageClass::ALL.iter().map(|class| self.accepted(*class)).sum()
    }

    /// How many copies were not delivered, for this reason.
    pub fn dropped(&self, why: Dropped) -> u64 {
        self.cell(DROPPED + why as usize)
    }

    /// How many copies were not delivered, for any reason.
    pub fn dropped_in_all(&self) -> u64 {
        Dropped::ALL.iter().map(|why| self.dropped(*why)).sum()
    }

    /// How many join tokens were judged so.
    pub fn judged(&self, verdict: Verdict) -> u64 {
        self.cell(VERDICTS + verdict as usize)
    }

    /// How often a limit was hit.
    pub fn limit_hits(&self, limit: LimitHit) -> u64 {
        self.cell(LIMITS + limit as usize)
    }

    fn cell(&self, at: usize) -> u64 {
        self.cells.get(at).copied().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests;
