//! The line with the totals of a minute: how much of everything, and nothing of anybody.
//!
//! What was nothing is left out. The numbers are differences of totals as they may be shown, so that
//! a line says no more than two readings of the metrics.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::MissedTickBehavior;
use tracing::info;

use crate::core::close::Close;
use crate::http::App;
use crate::metrics::{Aggregate, BusRefusal, Count, Dropped, LimitHit, Refusal, Verdict};

/// Writes a line with the totals of the time since the line before.
pub(super) async fn log(app: Arc<App>, interval: Duration) {
    let mut tick = tokio::time::interval(interval);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    tick.tick().await;
    let mut before = app.totals();
    loop {
        tick.tick().await;
        let now = app.totals();
        line(&now.since(&before), now.queued_bytes, app.lag.take_peak());
        before = now;
    }
}

fn line(total: &Aggregate, queued_bytes: u64, lag: Duration) {
    let count = |count| some(total.count(count));
    info!(
        connections = total.connections,
        members = total.members,
        rooms = total.rooms,
        queued_bytes = some(queued_bytes),
        loop_lag_ms = some(u64::try_from(lag.as_millis()).unwrap_or(u64::MAX)),
        joins = count(Count::Joins),
        leaves = count(Count::Leaves),
        messages = some(total.accepted_in_all()),
        deliveries = count(Count::CopiesDelivered),
        refused = some(total.refused_in_all()),
        refusals = listed(Refusal::ALL.map(|why| (why.name(), total.refused(why)))),
        closed = some(total.closed_in_all()),
        closes = listed(Close::ALL.map(|why| (why.name(), total.closed(why)))),
        drops = listed(Dropped::ALL.map(|why| (why.name(), total.dropped(why)))),
        limits = listed(LimitHit::ALL.map(|limit| (limit.name(), total.limit_hits(limit)))),
        tokens = listed(REFUSED_TOKENS.map(|why| (why.name(), total.judged(why)))),
        security = listed(SECURITY.map(|count| (count.name(), total.count(count)))),
        bus = listed(BUS.map(|count| (count.name(), total.count(count)))),
        bus_refusals = listed(BusRefusal::ALL.map(|why| (why.name(), total.bus_refused(why)))),
        accept_errors = count(Count::AcceptErrors),
        log_lines_suppressed = count(Count::LogLinesSuppressed),
        panics = count(Count::Panics),
        "totals"
    );
}

/// What somebody did who broke the rules, or what was done about it; refusals, limits and tokens tell
/// the rest.
const SECURITY: [Count; 5] = [
    Count::FramesRefused,
    Count::PaddingViolations,
    Count::HeartbeatsLost,
    Count::Evictions,
    Count::Kicks,
];

/// What was found to be wrong with tokens.
const REFUSED_TOKENS: [Verdict; 10] = [
    Verdict::Missing,
    Verdict::Several,
    Verdict::Malformed,
    Verdict::Algorithm,
    Verdict::Key,
    Verdict::Signature,
    Verdict::Claims,
    Verdict::Audience,
    Verdict::Expired,
    Verdict::Used,
];

/// What went wrong between nodes.
const BUS: [Count; 7] = [
    Count::BusRetried,
    Count::BusGaps,
    Count::BusResets,
    Count::BusMessagesVoided,
    Count::BusInboxesDropped,
    Count::BusLinksLost,
    Count::BusReconnects,
];

/// A number that is worth a field.
fn some(n: u64) -> Option<u64> {
    (n > 0).then_some(n)
}

/// `name=3 other=8`, of those that are not zero; nothing if all are.
fn listed<const N: usize>(values: [(&'static str, u64); N]) -> Option<String> {
    let mut text = String::new();
    for (name, n) in values.into_iter().filter(|(_, n)| *n > 0) {
        let gap = if text.is_empty() { "" } else { " " };
        write!(text, "{gap}{name}={n}").expect("writing to a String");
    }
    (!text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::{MessageClass, Metrics};
    use crate::telemetry::tests::{Value, json_lines};

    fn logged(metrics: &Metrics, queued_bytes: u64, lag: Duration) -> Value {
        let mut lines = json_lines(|| line(&metrics.aggregate(), queued_bytes, lag));
        assert_eq!(lines.len(), 1);
        lines.remove(0)
    }

    #[test]
    fn what_was_nothing_is_not_mentioned() {
        let quiet = logged(&Metrics::new(), 0, Duration::ZERO);
        let names: Vec<_> = quiet.as_object().unwrap().keys().map(String::as_str).collect();
        let expected =
            ["connections", "level", "members", "message", "rooms", "target", "timestamp"];
        assert_eq!(names, expected);
    }

    #[test]
    fn everything_else_is_there_by_its_metrics_name() {
        let metrics = Metrics::new();
        for count in Count::ALL {
            metrics.add(count, 2);
        }
        for refusal in [Refusal::Token, Refusal::Origin, Refusal::Token] {
            metrics.refused(refusal);
        }
        metrics.closed(Close::SlowConsumer);
        metrics.bus_refused(BusRefusal::Replayed);
        metrics.accepted(MessageClass::Room, 2, 100);
        metrics.dropped(Dropped::Left, 3);
        metrics.limit_hit(LimitHit::Fanout);
        for verdict in [Verdict::Valid, Verdict::Expired] {
            metrics.judged(verdict);
        }
        let line = logged(&metrics, 4096, Duration::from_millis(7));
        for (name, value) in [
            ("queued_bytes", 4096),
            ("loop_lag_ms", 7),
            ("joins", 2),
            ("messages", 2),
            ("deliveries", 2),
            ("refused", 3),
            ("closed", 1),
            ("accept_errors", 2),
            ("log_lines_suppressed", 2),
            ("panics", 2),
        ] {
            assert_eq!(line[name], value, "{name}: {line}");
        }
        for (name, text) in [
            ("refusals", "origin=1 token=2"),
            ("closes", "slow_consumer=1"),
            ("drops", "left=3"),
            ("limits", "fanout=1"),
            ("tokens", "expired=1"),
            (
                "security",
                "frames_refused=2 padding_violations=2 heartbeats_lost=2 evictions=2 kicks=2",
            ),
            ("bus_refusals", "replayed=1"),
        ] {
            assert_eq!(line[name], text, "{name}: {line}");
        }
        assert!(line["bus"].as_str().unwrap().contains("bus_gaps=2"), "{line}");
    }
}
