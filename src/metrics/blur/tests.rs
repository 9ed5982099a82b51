//! That one act, and one message of any size to any number of members, changes nothing that is shown.

use std::time::Duration;

use crate::core::limit::{Instant, UnixSeconds};
use crate::metrics::{
    Count, Dropped, Level, MessageClass, Metrics, Privacy, Refusal, Spread, Timed, Verdict,
};

const MINUTE: Duration = Duration::from_secs(60);

fn at(minute: u32) -> Instant {
    Instant::START.after(minute * MINUTE)
}

fn blurred() -> Metrics {
    Metrics::with(Privacy::Blurred(MINUTE))
}

/// What a scrape shows that people move: all but the process' own figures, its age and its lag.
fn shown(metrics: &Metrics, now: Instant) -> Vec<String> {
    let own = ["process_", "lethewire_uptime", "lethewire_runtime", "lethewire_event_loop"];
    let text = metrics.encode(now);
    let lines = text.lines().filter(|line| !own.iter().any(|own| line.starts_with(own)));
    lines.filter(|line| !line.starts_with('#')).map(ToOwned::to_owned).collect()
}

/// One message of 64 KiB to so many members, with everything that it moves.
fn message(metrics: &Metrics, receivers: u64) {
    metrics.accepted(MessageClass::Room, 1, 65_536);
    metrics.add(Count::BytesRead, 65_600);
    let mut spread = Spread::default();
    spread.add(receivers);
    metrics.addressed(&spread);
    metrics.observe(Timed::RelayLatency, Duration::from_millis(3));
    metrics.add(Count::CopiesDelivered, receivers - 1);
    metrics.dropped(Dropped::Left, 1);
    metrics.add(Count::BytesWritten, receivers * 65_600);
    metrics.add(Count::Writes, receivers);
    metrics.add(Count::Flushes, 1);
}

#[test]
fn behind_whatever_changes_are_eight_messages_and_one_alone_cannot_be_seen() {
    for before in 0..40 {
        let metrics = blurred();
        for _ in 0..before {
            message(&metrics, 10);
        }
        let first = shown(&metrics, at(1));
        // Fewer than eight are not shown yet.
        let gathered = if before < 8 { before } else { 0 };
        for more in 1..=8 - gathered {
            message(&metrics, 1000);
            let is_the_same = shown(&metrics, at(1 + more)) == first;
            assert_eq!(is_the_same, gathered + more < 8, "{more} after {before}");
        }
    }
}

#[test]
fn eight_can_and_all_that_people_move_is_a_multiple_of_eight() {
    let metrics = blurred();
    let first = shown(&metrics, at(1));
    let _guards: Vec<_> =
        (0..9).map(|_| (metrics.connection_opened(), metrics.member_joined())).collect();
    for _ in 0..9 {
        message(&metrics, 1000);
        metrics.refused(Refusal::Origin);
        metrics.judged(Verdict::Expired);
    }
    let later = shown(&metrics, at(2));
    assert_ne!(later, first);
    for wanted in [
        "lethewire_members 16",
        "lethewire_messages_accepted_total{class=\"room\"} 16",
        "lethewire_copies_addressed_total 9000",
        "lethewire_copies_delivered_total 8992",
        "lethewire_refusals_total{reason=\"origin\"} 16",
        "lethewire_relay_latency_seconds_count 16",
        "lethewire_fanout_receivers_sum 9000.0",
    ] {
        assert!(later.iter().any(|line| line == wanted), "{wanted}: {later:#?}");
    }
    for line in later {
        let (series, value) = line.rsplit_once(' ').expect("a sample");
        let value: f64 = value.parse().expect("a number");
        let is_state = ["_max", "_up", "ready", "drain", "build", "bus_"]
            .iter()
            .any(|state| series.contains(state));
        let is_sum_of_times = series.ends_with("_seconds_sum");
        let unit = if is_sum_of_times { 1000.0 } else { 1.0 };
        assert!(is_state || (value * unit).rem_euclid(8.0) < 1e-6, "{series} {value}");
    }
}

#[test]
fn a_snapshot_lasts_a_minute_for_everybody_who_asks() {
    let metrics = blurred();
    let first = shown(&metrics, at(1));
    for _ in 0..100 {
        message(&metrics, 10);
    }
    for second in [1, 30, 59] {
        assert_eq!(shown(&metrics, at(1).after(Duration::from_secs(second))), first);
        let aggregate = metrics.published(at(1).after(Duration::from_secs(second)));
        assert_eq!(aggregate.accepted_in_all(), 0);
        assert_eq!(metrics.aggregate().accepted_in_all(), 100, "what the relay itself goes by");
    }
    let json = metrics.encode_json(at(2), UnixSeconds(0));
    assert!(
        json.contains("\"lethewire_copies_addressed_total\":{\"type\":\"counter\",\"value\":1000}")
    );
    assert_eq!(metrics.published(at(2)).accepted(MessageClass::Room), 104);
}

#[test]
fn states_and_what_nobody_did_are_shown_at_once_or_as_they_are() {
    let metrics = blurred();
    shown(&metrics, at(1));
    metrics.set_level(Level::Ready, 1);
    metrics.set_level(Level::RecordsMax, 12_345);
    metrics.set_links(1, 2);
    metrics.drain_began(at(1));
    let soon = shown(&metrics, at(1).after(Duration::from_secs(3)));
    for wanted in [
        "lethewire_ready 1",
        "lethewire_room_records_max 12345",
        "lethewire_bus_links{state=\"down\"} 2",
        "lethewire_draining 1",
        "lethewire_drain_seconds 3.0",
    ] {
        assert!(soon.iter().any(|line| line == wanted), "{wanted}");
    }
    metrics.add(Count::Panics, 1);
    assert!(shown(&metrics, at(2)).iter().any(|line| line == "lethewire_panics_total 1"));
}

#[test]
fn who_asks_for_exact_figures_gets_them() {
    let metrics = Metrics::with(Privacy::Exact);
    message(&metrics, 3);
    assert!(shown(&metrics, at(0)).iter().any(|line| line == "lethewire_copies_addressed_total 3"));
    assert_eq!((metrics.rounded(9), blurred().rounded(9), blurred().rounded(8)), (9, 16, 8));
}
