//! Tests of the metrics as a whole: names, labels, sums, forms of output.

use super::export::PREFIX;
use super::*;
use std::collections::BTreeSet;
use std::time::Duration;

fn at(seconds: u64) -> Instant {
    Instant::START.after(Duration::from_secs(seconds))
}

/// The samples of the text form: name with labels, and value.
fn samples(text: &str) -> Vec<(String, f64)> {
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
    for (count, n) in Count::ALL.into_iter().zip(1000_u32..) {
        metrics.add(count, n.into());
    }
    let shown = samples(&metrics.encode(at(0)));
    for (count, n) in Count::ALL.into_iter().zip(1000_u32..) {
        assert_eq!(metrics.aggregate().count(count), u64::from(n), "{count:?}");
        let (name, unit, _) = count.row();
        let unit = unit.map_or_else(String::new, |unit| format!("_{}", unit.as_str()));
        let name = format!("lethewire_{name}{unit}_total");
        let found: Vec<_> = shown.iter().filter(|(shown, _)| *shown == name).collect();
        let values: Vec<_> = found.iter().map(|(_, value)| value.to_string()).collect();
        assert_eq!(values, [n.to_string()], "{name}");
    }
}

/// Adds one under each label that there is.
fn use_all_labels(metrics: &Metrics) {
    for close in Close::ALL {
        metrics.closed(close);
    }
    for refusal in Refusal::ALL {
        metrics.refused(refusal);
    }
    for refusal in BusRefusal::ALL {
        metrics.bus_refused(refusal);
    }
    for class in MessageClass::ALL {
        metrics.accepted(class, 1, 1);
    }
    for why in Dropped::ALL {
        metrics.dropped(why, 1);
    }
    for verdict in Verdict::ALL {
        metrics.judged(verdict);
    }
    for limit in LimitHit::ALL {
        metrics.limit_hit(limit);
    }
    for operation in OwnerOperation::ALL {
        metrics.owner_did(operation);
    }
    for operation in RoomOperation::ALL {
        metrics.room_did(operation);
    }
    for route in Route::ALL {
        for status in [101, 200, 304, 404, 503] {
            metrics.answered(route, status);
        }
    }
    metrics.set_links(1, 1);
}

#[test]
fn labels_are_closed_and_each_is_there_before_it_is_used() {
    let metrics = Metrics::new();
    let names = |text: &str| samples(text).into_iter().map(|(name, _)| name).collect::<Vec<_>>();
    let before = names(&metrics.encode(at(0)));
    use_all_labels(&metrics);
    for status in [0, 999, u16::MAX] {
        metrics.answered(Route::Other, status);
    }
    metrics.observe(Timed::EventLoopLag, Duration::MAX);
    let shown = samples(&metrics.encode(at(0)));
    let after: Vec<_> = shown.iter().map(|(name, _)| name.clone()).collect();
    assert_eq!(before, after, "using a label makes no new series");
    assert_eq!(before.iter().collect::<BTreeSet<_>>().len(), before.len(), "names are unique");
    for (name, value) in shown.iter().filter(|(name, _)| name.contains('{')) {
        assert!(*value >= 1.0 || name.contains("_bucket"), "{name} was used");
    }
    for close in Close::ALL {
        assert_eq!(metrics.aggregate().closed(close), 1, "{close:?}");
    }
    for refusal in Refusal::ALL {
        assert_eq!(metrics.aggregate().refused(refusal), 1, "{refusal:?}");
    }
}

#[test]
fn a_distribution_has_a_sum_a_count_and_all_of_its_buckets() {
    let metrics = Metrics::new();
    for millis in [1, 2, 3, 700, 5000] {
        metrics.observe(Timed::EventLoopLag, Duration::from_millis(millis));
    }
    let mut spread = Spread::default();
    for receivers in [1, 9, 9, 2000] {
        spread.add(receivers);
    }
    metrics.addressed(&spread);
    let text = metrics.encode(at(0));
    for line in [
        "event_loop_lag_seconds_sum 5.706",
        "event_loop_lag_seconds_count 5",
        "event_loop_lag_seconds_bucket{le=\"0.001\"} 1",
        "event_loop_lag_seconds_bucket{le=\"0.005\"} 3",
        "event_loop_lag_seconds_bucket{le=\"0.5\"} 3",
        "event_loop_lag_seconds_bucket{le=\"1.0\"} 4",
        "event_loop_lag_seconds_bucket{le=\"+Inf\"} 5",
        "relay_latency_seconds_bucket{le=\"0.0001\"} 0",
        "fanout_receivers_sum 2019.0",
        "fanout_receivers_bucket{le=\"1.0\"} 1",
        "fanout_receivers_bucket{le=\"16.0\"} 3",
        "fanout_receivers_bucket{le=\"+Inf\"} 4",
        "copies_addressed_total 2019",
    ] {
        assert!(text.contains(&format!("\nlethewire_{line}\n")), "{line}: {text}");
    }
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
    let version = env!("CARGO_PKG_VERSION");
    assert!(text.contains(&format!("\nlethewire_build_info{{version=\"{version}\",commit=\"")));
    assert!(text.contains("\nprocess_start_time_seconds 1"), "a conventional name");
    let helps = text.lines().filter(|line| line.starts_with("# HELP "));
    assert!(helps.clone().count() > 70);
    for help in helps {
        assert!(help.ends_with('.'), "{help}");
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
        if !name.starts_with("process_") {
            assert_eq!(series[&name]["value"].as_f64(), Some(value), "{name}");
        }
        let kind = match &name {
            name if name.contains("_total") => "counter",
            name if name.contains("_bucket{") => "histogram",
            name if name.ends_with("_sum") || name.ends_with("_count") => "histogram",
            name if name.contains("_info{") => "info",
            _ => "gauge",
        };
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
    shows(["links{state=\"up\"} 0", "links{state=\"down\"} 0", "round_trip_seconds 0.0"]);
    metrics.set_links(2, 1);
    metrics.set_round_trip(Some(Duration::from_micros(1500)));
    shows(["links{state=\"up\"} 2", "links{state=\"down\"} 1", "round_trip_seconds 0.0015"]);
    metrics.set_round_trip(Some(Duration::ZERO));
    shows(["links{state=\"up\"} 2", "links{state=\"down\"} 1", "round_trip_seconds 0.000001"]);
    metrics.set_round_trip(None);
    shows(["links{state=\"up\"} 2", "links{state=\"down\"} 1", "round_trip_seconds 0.0"]);
}

/// The list of `docs/metrics.md`, as the code has it: a table of all metrics, and one of the values
/// of each label.
fn document() -> String {
    let reading = Metrics::new().source.read(at(0));
    let mut lines = vec![
        "| metric | type | unit | labels | meaning |".to_owned(),
        "|---|---|---|---|---|".to_owned(),
    ];
    let relay = families::of_relay(&reading).into_iter().map(|family| (PREFIX, family));
    let process = families::of_process(&reading.process).into_iter().map(|family| ("", family));
    for (prefix, family) in relay.chain(process) {
        let unit = family.unit.as_ref().map_or("", |unit| unit.as_str());
        let joined = [prefix, family.name, unit].map(ToOwned::to_owned);
        let mut name =
            joined.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("_");
        let kind = family.kind.as_str();
        name += match kind {
            "counter" => "_total",
            "info" => "_info",
            _ => "",
        };
        let mut labels: Vec<_> = family
            .samples
            .iter()
            .flat_map(|(labels, _)| labels.iter().map(|label| label.0))
            .collect();
        labels.dedup();
        let labels: BTreeSet<_> = labels.into_iter().map(|label| format!("`{label}`")).collect();
        let labels = labels.into_iter().collect::<Vec<_>>().join(", ");
        lines.push(format!("| `{name}` | {kind} | {unit} | {labels} | {} |", family.help));
    }
    let closes = Close::ALL.map(|close| (close.name(), ""));
    let mut values = |title: &str, rows: &[(&str, &str)]| {
        lines.push(format!("\n### {title}\n"));
        for (value, meaning) in rows {
            let meaning = if meaning.is_empty() { String::new() } else { format!(": {meaning}") };
            lines.push(format!("- `{value}`{meaning}"));
        }
    };
    macro_rules! rows {
        ($labels:ident) => {
            $labels::ALL.map(|label| (label.row().0, label.row().2)).as_slice()
        };
    }
    values("`class` of messages and payload", rows!(MessageClass));
    values("`reason` of dropped copies", rows!(Dropped));
    values("`reason` of refusals", rows!(Refusal));
    values("`reason` of closed WebSockets", &closes);
    values("`reason` of what the bus refused", rows!(BusRefusal));
    values("`limit`", rows!(LimitHit));
    values("`verdict`", rows!(Verdict));
    values("`operation` of owners", rows!(OwnerOperation));
    values("`operation` on rooms", rows!(RoomOperation));
    values("`route` of HTTP answers", rows!(Route));
    values("`state` of links", rows!(LinkState));
    lines.join("\n")
}

#[test]
fn the_document_is_the_list_of_the_code() {
    let text = include_str!("../../docs/metrics.md");
    let (_, rest) = text.split_once("<!-- list -->\n\n").expect("where the list begins");
    let (list, _) = rest.split_once("\n\n<!-- end -->").expect("where the list ends");
    let expected = document();
    for (ours, theirs) in expected.lines().zip(list.lines()) {
        assert_eq!(ours, theirs, "the whole list should be:\n{expected}");
    }
    assert_eq!(expected.lines().count(), list.lines().count(), "{expected}");
}
