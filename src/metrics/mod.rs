//! Every number the relay exports.
//!
//! One struct, one constructor, and one table that knows the names. Counters are striped: each
//! worker thread adds to cells of its own, on cache lines of its own, and a scrape sums them; so
//! counting a message costs no line that another core owns. Gauges move only by guards, so what was
//! counted in is counted out. Labels are closed enums: none ever holds a room, a member, an address
//! or anything else that a peer chose, which bounds both the memory and the leak. No clock is read
//! here.

mod bus;
mod closed;
mod count;
mod export;
mod gauge;
mod refusal;
mod source;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use prometheus_client::encoding::text;
use prometheus_client::registry::Registry;

use self::export::{PREFIX, Summed};
use self::source::{ANSWERED, BUS_REFUSED, CELLS, CLASSES, CLOSED, REFUSED, Source};
use crate::core::close::Close;
use crate::core::limit::{Instant, UnixSeconds};

pub use self::bus::{BusRefusal, LinkState};
pub use self::count::{Count, Level};
pub use self::gauge::{ConnectionGauge, GaugeGuard, MemberGauge, RoomGauge};
pub use self::refusal::Refusal;

/// All metrics of one relay. Each relay has its own, so that tests can run side by side.
pub struct Metrics {
    registry: Registry,
    source: Arc<Source>,
}

impl Metrics {
    /// Creates all metrics at zero.
    pub fn new() -> Self {
        let source = Arc::new(Source::new());
        let mut registry = Registry::with_prefix(PREFIX);
        registry.register_collector(Box::new(Summed(Arc::clone(&source))));
        Self { registry, source }
    }

    /// Adds `n` to a counter, on the calling thread's own stripe.
    pub fn add(&self, count: Count, n: u64) {
        self.source.add(count as usize, n);
    }

    /// Counts a WebSocket that ended, by the code it was closed with.
    pub fn closed(&self, close: Close) {
        let at = Close::ALL.iter().position(|known| *known == close).unwrap_or(0);
        self.source.add(CLOSED + at, 1);
    }

    /// Counts somebody who was not let in.
    pub fn refused(&self, refusal: Refusal) {
        self.source.add(REFUSED + refusal as usize, 1);
    }

    /// Counts a batch or an envelope of the bus that took no effect.
    pub fn bus_refused(&self, refusal: BusRefusal) {
        self.source.add(BUS_REFUSED + refusal as usize, 1);
    }

    /// Notes how many links to Redis servers are up, and how many are not.
    pub fn set_links(&self, up: usize, down: usize) {
        self.source.bus.set_links(up, down);
    }

    /// Notes how long the last probe of the bus was on its way; `None` while it is down.
    pub fn set_round_trip(&self, round_trip: Option<Duration>) {
        self.source.bus.set_round_trip(round_trip);
    }

    /// Counts an HTTP answer by the first digit of its status.
    pub fn answered(&self, status: u16) {
        let class = usize::from(status / 100).clamp(1, CLASSES.len()) - 1;
        self.source.add(ANSWERED + class, 1);
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

    /// Notes how full one of the relay's bounded tables is.
    pub fn set_level(&self, level: Level, entries: usize) {
        if let Some(cell) = self.source.levels.get(level as usize) {
            cell.store(entries as u64, Ordering::Relaxed);
        }
    }

    /// The current values, as `OpenMetrics` 1.0 text. `now` gives the time since the start.
    #[expect(clippy::missing_panics_doc, reason = "formatting into a String cannot fail")]
    pub fn encode(&self, now: Instant) -> String {
        self.source.set_uptime(now);
        let mut out = String::new();
        text::encode(&mut out, &self.registry).expect("writing to a String cannot fail");
        out
    }

    /// The current values, as `{"timestamp":<s>,"metrics":{<series>:{"type":…,"value":…}}}`.
    pub fn encode_json(&self, now: Instant, at: UnixSeconds) -> String {
        self.source.set_uptime(now);
        let mut metrics = serde_json::Map::new();
        for family in self.source.families() {
            let name = family.series_name();
            for (label, value) in family.samples {
                let series = match family.label.zip(label) {
                    Some((key, label)) => format!("{name}{{{key}=\"{label}\"}}"),
                    None => name.clone(),
                };
                let kind = family.kind.as_str();
                metrics.insert(series, serde_json::json!({ "type": kind, "value": value }));
            }
        }
        serde_json::json!({ "timestamp": at.0, "metrics": metrics }).to_string()
    }

    /// All values at this moment, for the periodic log line and for tests.
    pub fn aggregate(&self) -> Aggregate {
        Aggregate {
            cells: self.source.sums(),
            connections: self.source.connections.load(Ordering::Relaxed),
            members: self.source.members.load(Ordering::Relaxed),
            rooms: self.source.rooms.load(Ordering::Relaxed),
        }
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
    /// Sockets open at that moment.
    pub connections: u64,
    /// Members in rooms at that moment.
    pub members: u64,
    /// Rooms with members at that moment.
    pub rooms: u64,
}

impl Aggregate {
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

    fn cell(&self, at: usize) -> u64 {
        self.cells.get(at).copied().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests;
