//! Tests of the metrics as a whole: names, labels, sums, forms of output.

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
    let names = |text: &str| samples(text).into_iter().map(|(name, _)| name).collect::<Vec<_>>();
    let before = names(&metrics.encode(at(0)));
    for close in Close::ALL {
        metrics.closed(close);
        assert_eq!(metrics.aggregate().closed(close), 1, "{close:?}");
    }
    for refusal in Refusal::ALL {
        metrics.refused(refusal);
        assert_eq!(metrics.aggregate().refused(refusal), 1, "{refusal:?}");
    }
    for refusal in BusRefusal::ALL {
        metrics.bus_refused(refusal);
        assert_eq!(metrics.aggregate().bus_refused(refusal), 1, "{refusal:?}");
    }
    for status in [0, 101, 200, 304, 404, 503, 999, u16::MAX] {
        metrics.answered(status);
    }
    let after = names(&metrics.encode(at(0)));
    assert_eq!(before, after, "using a label makes no new series");
    assert_eq!(before.iter().collect::<BTreeSet<_>>().len(), before.len(), "names are unique");
    let labelled = before.iter().filter(|name| name.contains('{')).count();
    assert_eq!(
        labelled,
        Close::ALL.len()
            + Refusal::ALL.len()
            + CLASSES.len()
            + BusRefusal::ALL.len()
            + LinkState::ALL.len()
    );
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

#[test]
fn the_bus_is_up_or_down_and_its_round_trip_is_measured() {
    let metrics = Metrics::new();
    let shows = |lines: [&str; 3]| {
        let text = metrics.encode(at(0));
        for line in lines {
            assert!(text.contains(&format!("\nlethewire_bus_{line}\n")), "{line}: {text}");
        }
    };
    shows(["links{state=\"up\"} 0", "links{state=\"down\"} 0", "round_trip_microseconds 0"]);
    metrics.set_links(2, 1);
    metrics.set_round_trip(Some(Duration::from_micros(1500)));
    shows(["links{state=\"up\"} 2", "links{state=\"down\"} 1", "round_trip_microseconds 1500"]);
    metrics.set_round_trip(Some(Duration::ZERO));
    shows(["links{state=\"up\"} 2", "links{state=\"down\"} 1", "round_trip_microseconds 1"]);
    metrics.set_round_trip(None);
    shows(["links{state=\"up\"} 2", "links{state=\"down\"} 1", "round_trip_microseconds 0"]);
}
