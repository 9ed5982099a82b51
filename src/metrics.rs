//! Every number the relay exports.
//!
//! One struct, one constructor, and one table that knows the names. Counters are striped: each
//! worker thread adds to cells of its own, on cache lines of its own, and a scrape sums them; so
//! counting a message costs no line that another core owns. Gauges move only by guards, so what was
//! counted in is counted out. Labels are closed enums: none ever holds a room, a member, an address
//! or anything else that a peer chose, which bounds both the memory and the leak. No clock is read
//! here.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::{Registry, Unit};

use crate::core::close::Close;
use crate::core::limit::{Instant, UnixSeconds};

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

    fn cell(&self, at: usize) -> u64 {
        self.cells.get(at).copied().unwrap_or(0)
    }
}

/// Keeps one in a gauge for as long as it lives.
#[must_use = "dropping the guard counts it out"]
pub struct GaugeGuard(Arc<AtomicU64>);

/// Keeps one connection in the `connections` gauge.
pub type ConnectionGauge = GaugeGuard;
/// Keeps one member in the `members` gauge.
pub type MemberGauge = GaugeGuard;
/// Keeps one room in the `rooms` gauge.
pub type RoomGauge = GaugeGuard;

impl GaugeGuard {
    fn new(gauge: &Arc<AtomicU64>) -> Self {
        gauge.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(gauge))
    }
}

impl Drop for GaugeGuard {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Declares a closed enum together with the fixed text of each variant.
macro_rules! closed_enum {
    ($(#[$doc:meta])* $name:ident { $($variant:ident: $row:expr => $help:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(usize)]
        pub enum $name { $(#[doc = $help] $variant,)+ }

        impl $name {
            /// Every variant, in the order of declaration.
            pub const ALL: [Self; [$(stringify!($variant)),+].len()] = [$(Self::$variant),+];

            fn row(self) -> (&'static str, Option<Unit>, &'static str) {
                let (row, help): ((_, Option<Unit>), _) = match self {
                    $(Self::$variant => ($row, $help),)+
                };
                (row.0, row.1, help)
            }
        }
    };
}

closed_enum!(
    /// A counter without labels.
    Count {
        MessagesAccepted: ("messages_accepted", None) =>
            "Messages that members sent and a room took in.",
        PayloadBytesAccepted: ("payload_accepted", Some(Unit::Bytes)) =>
            "Payload of the accepted messages.",
        DirectsAccepted: ("directs_accepted", None) =>
            "Accepted messages that were for one member.",
        MessagesDelivered: ("messages_delivered", None) =>
            "Copies of messages handed to members' sockets or backlogs.",
        BytesWritten: ("socket_written", Some(Unit::Bytes)) => "Bytes that members' sockets took.",
        Writes: ("socket_writes", None) => "System calls that wrote to members' sockets.",
        Flushes: ("room_flushes", None) => "Batches of rooms that were sent out.",
        BacklogBytesQueued: ("backlog_queued", Some(Unit::Bytes)) =>
            "Bytes that a socket did not take at once.",
        DroppedVolatile: ("volatile_dropped", None) =>
            "Volatile frames that gave way in a full backlog.",
        DroppedOnClose: ("frames_dropped_on_close", None) =>
            "Frames still queued when their connection ended.",
        Evictions: ("evictions", None) =>
            "Slow members closed because too much waited for all together.",
        FramesRefused: ("frames_refused", None) => "Frames over a limit, refused with an error.",
        PaddingViolations: ("padding_violations", None) =>
            "Messages whose size is not announced, delivered in rooms that warn of it.",
        PingsSent: ("pings_sent", None) => "Heartbeat pings to members.",
        PongsReceived: ("pongs_received", None) => "Answers to heartbeat pings.",
        Joins: ("joins", None) => "Members that joined a room.",
        Leaves: ("leaves", None) => "Members that left a room, for any reason.",
        Kicks: ("kicks", None) => "Members that an owner removed.",
        RoomsOpened: ("rooms_opened", None) => "Rooms that got their first member.",
        RoomsClosed: ("rooms_closed", None) => "Rooms that an owner or operator closed.",
        RecordsMade: ("records_made", None) => "Room records that were made or restored.",
        RecordsExpired: ("records_expired", None) => "Room records whose time was over.",
        TokensMinted: ("tokens_minted", None) => "Join tokens handed out.",
        Upgrades: ("upgrades", None) => "WebSocket handshakes answered with 101.",
        ConnectionsAccepted: ("connections_accepted", None) =>
            "Sockets accepted on the public listener.",
        AcceptErrors: ("accept_errors", None) =>
            "Failed attempts to accept a socket, such as no free descriptors.",
        Panics: ("panics", None) => "Connections that ended because of a bug.",
    }
);

closed_enum!(
    /// Why somebody was not let in before there was a member; the label `reason`.
    Refusal {
        Capacity: ("capacity", None) => "The relay has as many connections as it takes.",
        Memory: ("memory", None) => "The process has as much resident memory as it may.",
        AddressConnections: ("address_connections", None) =>
            "The address has as many connections as it may.",
        AddressHandshakes: ("address_handshakes", None) =>
            "The address did WebSocket handshakes too quickly.",
        AddressRequests: ("address_requests", None) => "The address sent requests too quickly.",
        AddressTokens: ("address_tokens", None) => "The address asked for tokens too quickly.",
        AddressPace: ("address_pace", None) =>
            "The address used much of its rooms or tokens and did not wait between two.",
        AddressFailures: ("address_failures", None) =>
            "Another failed admission of an address that had too many.",
        AddressFaults: ("address_faults", None) =>
            "Too many connections of the address were closed for cause.",
        Addresses: ("addresses", None) => "More addresses than the relay keeps track of.",
        Forwarded: ("forwarded", None) => "The proxies' part of X-Forwarded-For is missing, malformed or from somebody else.",
        ProxyHeader: ("proxy_header", None) =>
            "A connection that did not begin with a PROXY protocol header of version 2.",
        UntrustedProxy: ("untrusted_proxy", None) =>
            "A peer that is no trusted proxy, where only those may connect.",
        Origin: ("origin", None) => "The page's origin is not listed.",
        Request: ("request", None) => "A malformed HTTP request or body.",
        Upgrade: ("upgrade", None) => "A malformed WebSocket handshake.",
        Admission: ("admission", None) => "Unknown room or wrong key.",
        RoomCreations: ("room_creations", None) => "The address made rooms too quickly.",
        Rooms: ("rooms", None) => "The relay keeps as many rooms as it takes.",
        RoomFull: ("room_full", None) => "The room has as many members as it takes.",
        RoomLocked: ("room_locked", None) => "The room takes no new members.",
        RoomClosed: ("room_closed", None) => "The room was closed by its owner.",
        Version: ("version", None) => "The protocol's version was not offered.",
        Token: ("token", None) => "A missing, invalid or expired join token.",
        TokenUsed: ("token_used", None) => "A join token that was used before.",
        ReplayFull: ("replay_full", None) => "The list of used tokens is full.",
        Draining: ("draining", None) => "The relay is about to stop.",
    }
);

closed_enum!(
    /// A bounded table of the relay.
    Level {
        Records: ("room_records", None) => "Room records kept, tombstones included.",
        Addresses: ("addresses_tracked", None) => "Address prefixes kept for limits.",
        ReplayEntries: ("replay_entries", None) => "Used join tokens kept until they expire.",
    }
);

const PREFIX: &str = "lethewire";
const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

/// Where the labelled counters begin in a stripe, behind those of [`Count`].
const CLOSED: usize = Count::ALL.len();
const REFUSED: usize = CLOSED + Close::ALL.len();
const ANSWERED: usize = REFUSED + Refusal::ALL.len();
const CELLS: usize = ANSWERED + CLASSES.len();

/// A thread's own counters. 128 bytes, because processors fetch lines in pairs.
#[repr(align(128))]
struct Stripe([AtomicU64; CELLS]);

struct Source {
    /// A power of two of them, at least one per worker thread up to [`STRIPES_MAX`].
    stripes: Box<[Stripe]>,
    connections: Arc<AtomicU64>,
    members: Arc<AtomicU64>,
    rooms: Arc<AtomicU64>,
    levels: [AtomicU64; Level::ALL.len()],
    uptime_s: AtomicU64,
}

/// 64 stripes are about 70 KiB; more workers share, which is slower and still right.
const STRIPES_MAX: usize = 64;

impl Source {
    fn new() -> Self {
        let workers = std::thread::available_parallelism().map_or(1, usize::from);
        let stripes = workers.min(STRIPES_MAX).next_power_of_two();
        let stripe = |_| Stripe([const { AtomicU64::new(0) }; CELLS]);
        Self {
            stripes: (0..stripes).map(stripe).collect(),
            connections: Arc::default(),
            members: Arc::default(),
            rooms: Arc::default(),
            levels: [const { AtomicU64::new(0) }; Level::ALL.len()],
            uptime_s: AtomicU64::new(0),
        }
    }

    fn add(&self, cell: usize, n: u64) {
        let stripe = stripe_of_thread() & (self.stripes.len() - 1);
        if let Some(cell) = self.stripes.get(stripe).and_then(|stripe| stripe.0.get(cell)) {
            cell.fetch_add(n, Ordering::Relaxed);
        }
    }

    fn sums(&self) -> [u64; CELLS] {
        let mut sums = [0_u64; CELLS];
        for stripe in &self.stripes {
            for (sum, cell) in sums.iter_mut().zip(&stripe.0) {
                *sum = sum.wrapping_add(cell.load(Ordering::Relaxed));
            }
        }
        sums
    }

    fn set_uptime(&self, now: Instant) {
        let seconds = now.since(Instant::START).as_secs();
        self.uptime_s.store(seconds, Ordering::Relaxed);
    }

    /// Every metric with its current value: the one list behind all forms of output.
    fn families(&self) -> Vec<Family> {
        let sums = self.sums();
        let sum = |cell: usize| sums.get(cell).copied().unwrap_or(0);
        let gauge = |value: &AtomicU64| value.load(Ordering::Relaxed);
        let mut families = vec![
            Family::gauge("connections", None, "Sockets open right now.", gauge(&self.connections)),
            Family::gauge("members", None, "Members in rooms right now.", gauge(&self.members)),
            Family::gauge("rooms", None, "Rooms with members right now.", gauge(&self.rooms)),
            Family::gauge(
                "uptime",
                Some(Unit::Seconds),
                "Time since the start.",
                gauge(&self.uptime_s),
            ),
        ];
        for (level, value) in Level::ALL.into_iter().zip(&self.levels) {
            let (name, unit, help) = level.row();
            families.push(Family::gauge(name, unit, help, gauge(value)));
        }
        for count in Count::ALL {
            let (name, unit, help) = count.row();
            let samples = vec![(None, sum(count as usize))];
            let kind = MetricType::Counter;
            families.push(Family { name, unit, help, kind, label: None, samples });
        }
        let closes = Close::ALL.map(Close::name);
        let refusals = Refusal::ALL.map(|refusal| refusal.row().0);
        for (name, help, label, values, first) in [
            (
                "websockets_closed",
                "WebSockets that ended, by close code.",
                "reason",
                &closes[..],
                CLOSED,
            ),
            ("refusals", "Who was not let in, by reason.", "reason", &refusals[..], REFUSED),
            ("http_answers", "HTTP answers, by class of status.", "class", &CLASSES[..], ANSWERED),
        ] {
            let samples =
                values.iter().zip(first..).map(|(value, cell)| (Some(*value), sum(cell))).collect();
            let kind = MetricType::Counter;
            families.push(Family { name, unit: None, help, kind, label: Some(label), samples });
        }
        families
    }
}

/// The stripe that this thread adds to: given out in turn, so that workers get one each.
fn stripe_of_thread() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local!(static MINE: Cell<usize> = const { Cell::new(usize::MAX) });
    MINE.with(|mine| {
        if mine.get() == usize::MAX {
            mine.set(NEXT.fetch_add(1, Ordering::Relaxed) & (STRIPES_MAX - 1));
        }
        mine.get()
    })
}

/// One metric with all its samples, ready for output.
struct Family {
    name: &'static str,
    unit: Option<Unit>,
    help: &'static str,
    kind: MetricType,
    label: Option<&'static str>,
    samples: Vec<(Option<&'static str>, u64)>,
}

impl Family {
    fn gauge(name: &'static str, unit: Option<Unit>, help: &'static str, value: u64) -> Self {
        let samples = vec![(None, value)];
        Self { name, unit, help, kind: MetricType::Gauge, label: None, samples }
    }

    /// The name that a sample has in the text form.
    fn series_name(&self) -> String {
        let unit =
            self.unit.as_ref().map_or_else(String::new, |unit| format!("_{}", unit.as_str()));
        let total = if matches!(self.kind, MetricType::Counter) { "_total" } else { "" };
        format!("{PREFIX}_{}{unit}{total}", self.name)
    }
}

/// Hands the families to the registry at each scrape.
struct Summed(Arc<Source>);

impl Collector for Summed {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> std::fmt::Result {
        for family in self.0.families() {
            let unit = family.unit.as_ref();
            let mut metric =
                encoder.encode_descriptor(family.name, family.help, unit, family.kind)?;
            for (label, value) in family.samples {
                match family.label.zip(label) {
                    Some(pair) => sample(&mut metric.encode_family(&[pair])?, family.kind, value)?,
                    None => sample(&mut metric, family.kind, value)?,
                }
            }
        }
        Ok(())
    }
}

fn sample(metric: &mut MetricEncoder<'_>, kind: MetricType, value: u64) -> std::fmt::Result {
    match kind {
        MetricType::Counter => metric.encode_counter::<NoLabelSet, _, u64>(&value, None),
        _ => metric.encode_gauge(&value),
    }
}

impl std::fmt::Debug for Summed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Summed")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use std::time::Duration;

    fn at(seconds: u64) -> Instant {
        Instant::START.after(Duration::from_secs(seconds))
    }

    /// The samples of the text form: name with labels, and value.
    fn samples(text: &str) -> Vec<(String, u64)> {
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let pair = |line: &str| {
            let (name, value) = line.rsplit_once(' ').expect("name and value");
            (name.to_owned(), value.parse().expect("a number"))
        };
        lines.map(pair).collect()
    }

    #[test]
    fn every_counter_shows_up_with_its_own_value() {
        let metrics = Metrics::new();
        for (count, n) in Count::ALL.into_iter().zip(1000..) {
            metrics.add(count, n);
        }
        let shown = samples(&metrics.encode(at(0)));
        for (count, n) in Count::ALL.into_iter().zip(1000..) {
            assert_eq!(metrics.aggregate().count(count), n, "{count:?}");
            let found: Vec<_> = shown.iter().filter(|(_, value)| *value == n).collect();
            let [(name, _)] = found[..] else { panic!("{count:?} is shown as {found:?}") };
            assert!(name.starts_with(&format!("lethewire_{}", count.row().0)), "{name}");
            assert!(name.ends_with("_total"), "{name}");
        }
    }

    #[test]
    fn labels_are_closed_and_each_is_there_before_it_is_used() {
        let metrics = Metrics::new();
        let names =
            |text: &str| samples(text).into_iter().map(|(name, _)| name).collect::<Vec<_>>();
        let before = names(&metrics.encode(at(0)));
        for close in Close::ALL {
            metrics.closed(close);
            assert_eq!(metrics.aggregate().closed(close), 1, "{close:?}");
        }
        for refusal in Refusal::ALL {
            metrics.refused(refusal);
            assert_eq!(metrics.aggregate().refused(refusal), 1, "{refusal:?}");
        }
        for status in [0, 101, 200, 304, 404, 503, 999, u16::MAX] {
            metrics.answered(status);
        }
        let after = names(&metrics.encode(at(0)));
        assert_eq!(before, after, "using a label makes no new series");
        assert_eq!(before.iter().collect::<BTreeSet<_>>().len(), before.len(), "names are unique");
        let labelled = before.iter().filter(|name| name.contains('{')).count();
        assert_eq!(labelled, Close::ALL.len() + Refusal::ALL.len() + CLASSES.len());
        assert!(
            samples(&metrics.encode(at(0)))
                .iter()
                .all(|(name, value)| { !name.contains("reason=") || *value == 1 })
        );
    }

    #[test]
    fn stripes_of_several_threads_are_summed() {
        let metrics = Metrics::new();
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| (0..1000).for_each(|_| metrics.add(Count::Joins, 1)));
            }
        });
        assert_eq!(metrics.aggregate().count(Count::Joins), 8000);
    }

    #[test]
    fn gauges_count_in_and_out() {
        let metrics = Metrics::new();
        let guards = (metrics.connection_opened(), metrics.member_joined(), metrics.room_opened());
        let now = metrics.aggregate();
        assert_eq!((now.connections, now.members, now.rooms), (1, 1, 1));
        drop(guards);
        let now = metrics.aggregate();
        assert_eq!((now.connections, now.members, now.rooms), (0, 0, 0));
        assert_eq!(now.count(Count::ConnectionsAccepted), 1, "the counter stays");
    }

    #[test]
    fn the_difference_of_two_moments_is_what_happened_between() {
        let metrics = Metrics::new();
        metrics.add(Count::Joins, 5);
        let earlier = metrics.aggregate();
        metrics.add(Count::Joins, 2);
        metrics.closed(Close::Kicked);
        metrics.refused(Refusal::Origin);
        let between = metrics.aggregate().since(&earlier);
        assert_eq!(between.count(Count::Joins), 2);
        assert_eq!((between.closed_in_all(), between.refused_in_all()), (1, 1));
    }

    #[test]
    fn the_text_is_open_metrics() {
        let metrics = Metrics::new();
        metrics.set_level(Level::Records, 7);
        let text = metrics.encode(at(90));
        assert!(text.ends_with("# EOF\n"));
        assert!(text.contains("\nlethewire_uptime_seconds 90\n"));
        assert!(text.contains("\nlethewire_room_records 7\n"));
        assert!(text.contains("# UNIT lethewire_payload_accepted_bytes bytes\n"));
        for family in metrics.source.families() {
            assert!(family.help.ends_with('.'), "{}", family.name);
        }
    }

    #[test]
    fn json_and_text_show_the_same() {
        let metrics = Metrics::new();
        metrics.add(Count::BytesWritten, 12);
        metrics.closed(Close::RoomFull);
        let json = metrics.encode_json(at(3), UnixSeconds(1_234_567_890));
        let json: serde_json::Value = serde_json::from_str(&json).expect("JSON");
        assert_eq!(json["timestamp"], 1_234_567_890);
        let series = json["metrics"].as_object().expect("an object");
        let shown = samples(&metrics.encode(at(3)));
        assert_eq!(series.len(), shown.len());
        for (name, value) in shown {
            assert_eq!(series[&name]["value"], value, "{name}");
            let kind = if name.contains("_total") { "counter" } else { "gauge" };
            assert_eq!(series[&name]["type"], kind, "{name}");
        }
    }
}
