//! The one list of everything that is shown: name, unit, help, labels and where its values are.
//!
//! `docs/metrics.md` has the same list for people; a test compares them.

use std::time::Duration;

use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Unit;

use super::bus::{BusRefusal, LinkState};
use super::count::{Count, Level};
use super::export::{Family, Labels, Value};
use super::histogram::{RECEIVERS, SUM, Timed};
use super::labels::{
    Dropped, LimitHit, MessageClass, OwnerOperation, RoomOperation, Route, Verdict,
};
use super::process::Process;
use super::refusal::Refusal;
use super::source::{
    ACCEPTED, ACCEPTED_BYTES, ANSWERED, BUS_REFUSED, CLASSES, CLOSED, DROPPED, LIMITS, OWNER,
    REFUSED, ROOM, Reading, SPREAD, TIMED, VERDICTS,
};
use crate::core::close::Close;

/// Every metric of the relay itself.
pub(super) fn of_relay(now: &Reading) -> Vec<Family> {
    let mut families = vec![
        gauge("connections", None, "Sockets open right now.", now.connections),
        gauge("members", None, "Members in rooms right now.", now.members),
        gauge("rooms", None, "Rooms with members right now.", now.rooms),
        gauge("uptime", Some(Unit::Seconds), "Time since the start.", now.uptime_s),
    ];
    for (level, value) in Level::ALL.into_iter().zip(now.levels) {
        let (name, unit, help) = level.row();
        families.push(gauge(name, unit, help, value));
    }
    families.extend(queue_and_drain(now));
    for count in Count::ALL {
        let (name, unit, help) = count.row();
        let samples = vec![(Labels::new(), Value::Whole(cell(now, count as usize)))];
        families.push(Family { name, unit, help, kind: MetricType::Counter, samples });
    }
    families.extend(labelled(now));
    families.push(answers(now));
    families.extend(bus(now));
    families.extend(histograms(now));
    families.extend(runtime(now));
    families.push(Family {
        name: "build",
        unit: None,
        help: "What was built; always 1.",
        kind: MetricType::Info,
        samples: vec![(vec![("version", VERSION), ("commit", COMMIT)], Value::Info)],
    });
    families
}

/// Set by whoever builds a release, to what can be compared with the published source.
const COMMIT: &str = match option_env!("LETHEWIRE_BUILD") {
    Some(build) => build,
    None => "unknown",
};
const VERSION: &str = env!("CARGO_PKG_VERSION");

fn gauge(name: &'static str, unit: Option<Unit>, help: &'static str, value: u64) -> Family {
    shown(name, unit, help, MetricType::Gauge, Value::Whole(value))
}

fn shown(
    name: &'static str,
    unit: Option<Unit>,
    help: &'static str,
    kind: MetricType,
    value: Value,
) -> Family {
    Family { name, unit, help, kind, samples: vec![(Labels::new(), value)] }
}

fn seconds(name: &'static str, help: &'static str, kind: MetricType, time: Duration) -> Family {
    shown(name, Some(Unit::Seconds), help, kind, Value::Real(time.as_secs_f64()))
}

#[expect(clippy::cast_precision_loss, reason = "nobody needs the last bit of a large sum")]
const fn real(value: u64) -> f64 {
    value as f64
}

fn cell(now: &Reading, at: usize) -> u64 {
    now.cells.get(at).copied().unwrap_or(0)
}

fn queue_and_drain(now: &Reading) -> [Family; 5] {
    const GAUGE: MetricType = MetricType::Gauge;
    let bytes = Some(Unit::Bytes);
    let oldest = Duration::from_millis(now.queue_oldest_ms);
    let since = now.drain.unwrap_or_default();
    let draining = u64::from(now.drain.is_some());
    [
        gauge("queued", bytes, "Bytes that wait for slow members.", now.queued_bytes),
        gauge("copies_queued", None, "Copies that wait for slow members.", now.copies_queued),
        seconds("queue_oldest", "How long the oldest waiting frame has waited.", GAUGE, oldest),
        gauge("draining", None, "Whether the relay is about to stop.", draining),
        seconds("drain", "Time since the drain began; 0 when there is none.", GAUGE, since),
    ]
}

/// The counters with one label, all but those of HTTP answers.
fn labelled(now: &Reading) -> Vec<Family> {
    let closes = Close::ALL.map(Close::name);
    let bus = BusRefusal::ALL.map(|refusal| refusal.row().0);
    let refusals = Refusal::ALL.map(|refusal| refusal.row().0);
    let classes = MessageClass::ALL.map(|class| class.row().0);
    let dropped = Dropped::ALL.map(|reason| reason.row().0);
    let verdicts = Verdict::ALL.map(|verdict| verdict.row().0);
    let limits = LimitHit::ALL.map(|limit| limit.row().0);
    let owner = OwnerOperation::ALL.map(|operation| operation.row().0);
    let room = RoomOperation::ALL.map(|operation| operation.row().0);
    let family = |name, unit, help, label, values: &[&'static str], first| {
        let sample = |(value, at)| (vec![(label, value)], Value::Whole(cell(now, at)));
        let samples = values.iter().copied().zip(first..).map(sample).collect();
        Family { name, unit, help, kind: MetricType::Counter, samples }
    };
    let ended = "WebSockets that ended, by close code.";
    let accepted = "Messages that members sent and a room took in.";
    let payload = "Payload of the accepted messages.";
    let copies = "Copies of messages that were not delivered, by reason.";
    let void = "Batches and envelopes of the bus that took no effect, by reason.";
    let bytes = Some(Unit::Bytes);
    vec![
        family("websockets_closed", None, ended, "reason", &closes, CLOSED),
        family("refusals", None, "Who was not let in, by reason.", "reason", &refusals, REFUSED),
        family("bus_refusals", None, void, "reason", &bus, BUS_REFUSED),
        family("messages_accepted", None, accepted, "class", &classes, ACCEPTED),
        family("payload_accepted", bytes, payload, "class", &classes, ACCEPTED_BYTES),
        family("copies_dropped", None, copies, "reason", &dropped, DROPPED),
        family(
            "token_verdicts",
            None,
            "Join tokens that were looked at.",
            "verdict",
            &verdicts,
            VERDICTS,
        ),
        family("limit_hits", None, "Times that a limit was hit.", "limit", &limits, LIMITS),
        family("owner_operations", None, "What owners had done.", "operation", &owner, OWNER),
        family(
            "room_operations",
            None,
            "What happened to rooms' records.",
            "operation",
            &room,
            ROOM,
        ),
    ]
}

/// HTTP answers by route and class of status.
fn answers(now: &Reading) -> Family {
    let mut samples = Vec::new();
    let mut at = ANSWERED;
    for route in Route::ALL {
        for class in CLASSES {
            let labels = vec![("route", route.row().0), ("class", class)];
            samples.push((labels, Value::Whole(cell(now, at))));
            at += 1;
        }
    }
    let help = "HTTP answers, by route and class of status.";
    Family { name: "http_answers", unit: None, help, kind: MetricType::Counter, samples }
}

/// How the bus is right now.
fn bus(now: &Reading) -> [Family; 2] {
    let links = LinkState::ALL.into_iter().zip(now.links);
    let links = links.map(|(state, links)| (vec![("state", state.row().0)], Value::Whole(links)));
    let help = "How long the last probe of the bus was on its way; 0 while it is down.";
    let round_trip = Duration::from_micros(now.round_trip_us);
    [
        Family {
            name: "bus_links",
            unit: None,
            help: "Links to Redis servers right now, by state.",
            kind: MetricType::Gauge,
            samples: links.collect(),
        },
        seconds("bus_round_trip", help, MetricType::Gauge, round_trip),
    ]
}

fn histograms(now: &Reading) -> Vec<Family> {
    let family = |name, unit, help, first: usize, bounds: Vec<f64>, unit_of_sum: f64| {
        let bounds = bounds.into_iter().chain([f64::INFINITY]);
        let buckets = bounds.zip(first..).map(|(bound, at)| (bound, cell(now, at))).collect();
        let sum = real(cell(now, first + SUM)) * unit_of_sum;
        let kind = MetricType::Histogram;
        shown(name, unit, help, kind, Value::Histogram { sum, buckets })
    };
    let help = "To how many members here a message went.";
    let bounds = RECEIVERS.map(real).to_vec();
    let mut families = vec![family("fanout_receivers", None, help, SPREAD, bounds, 1.0)];
    for timed in Timed::ALL {
        let (name, unit, help) = timed.row();
        let bounds = timed.bounds_us().map(|bound| real(bound) / 1e6).to_vec();
        families.push(family(name, unit, help, timed.first_cell(), bounds, 1e-9));
    }
    families
}

impl Timed {
    /// Where its cells begin.
    pub(super) const fn first_cell(self) -> usize {
        TIMED + self as usize * super::histogram::CELLS_EACH
    }
}

fn runtime(now: &Reading) -> [Family; 4] {
    let runtime = now.runtime;
    let busy = Duration::from_micros(runtime.busy_us);
    let help = "Time that the worker threads were busy, all together.";
    [
        gauge("runtime_workers", None, "Worker threads.", runtime.workers),
        gauge("runtime_tasks", None, "Tasks that have not ended.", runtime.tasks),
        gauge("runtime_global_queue", None, "Tasks in the shared queue.", runtime.global_queue),
        seconds("runtime_busy", help, MetricType::Counter, busy),
    ]
}

/// Figures of the process, under the names that they have everywhere.
pub(super) fn of_process(process: &Process) -> Vec<Family> {
    const GAUGE: MetricType = MetricType::Gauge;
    let centis = |centis: u64| Duration::from_millis(centis.saturating_mul(10));
    let bytes = || Some(Unit::Bytes);
    let start = "When the process was started, since 1970.";
    let cpu = "Processor time of all threads.";
    vec![
        seconds("process_cpu", cpu, MetricType::Counter, centis(process.cpu_centis)),
        gauge(
            "process_resident_memory",
            bytes(),
            "Memory that is resident.",
            process.resident_bytes,
        ),
        gauge(
            "process_virtual_memory",
            bytes(),
            "Memory that is addressed.",
            process.virtual_bytes,
        ),
        gauge("process_open_fds", None, "Descriptors that are open.", process.open_fds),
        gauge("process_max_fds", None, "Descriptors that may be open.", process.max_fds),
        seconds("process_start_time", start, GAUGE, centis(process.start_centis)),
        gauge("process_threads", None, "Threads of the process.", process.threads),
    ]
}
