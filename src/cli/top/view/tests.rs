//! Screens as they are: exact, at three widths.

use std::time::Duration;

use super::*;
use crate::cli::top::look::Look;
use crate::cli::top::terminal::plain;
use crate::core::limit::Instant;

const HEALTH: &str = r#"{"status":"degraded","timestamp":1,"uptime":8005,"version":"0.1.0",
    "instanceId":"relay-1","draining":true,"checks":{
    "bus":{"status":"pass","observedValue":1,"observedUnit":"ms"},
    "connections":{"status":"warn","observedValue":912,"observedUnit":"connections"},
    "memory":{"status":"pass","observedValue":48,"observedUnit":"MB"},
    "event_loop":{"status":"fail","observedValue":900,"observedUnit":"ms"}}}"#;

const BEFORE: &str = "\
lethewire_messages_accepted_total{class=\"room\"} 1000\n\
lethewire_messages_accepted_total{class=\"direct\"} 0\n\
lethewire_payload_accepted_bytes_total{class=\"room\"} 0\n\
lethewire_copies_delivered_total 5000\n\
lethewire_joins_total 10\nlethewire_leaves_total 2\n\
process_cpu_seconds_total 1.0\n";

const NOW: &str = "\
lethewire_connections 912\nlethewire_connections_max 1000\n\
lethewire_room_records 30\nlethewire_room_records_max 10000\n\
lethewire_queued_bytes 80000000\nlethewire_queued_bytes_max 100000000\n\
lethewire_members 900\nlethewire_rooms 12\nlethewire_copies_queued 7\n\
lethewire_queue_oldest_seconds 0.25\nlethewire_memory_bytes_max 0\n\
lethewire_messages_accepted_total{class=\"room\"} 1200\n\
lethewire_messages_accepted_total{class=\"direct\"} 40\n\
lethewire_payload_accepted_bytes_total{class=\"room\"} 61440\n\
lethewire_copies_delivered_total 29000\n\
lethewire_joins_total 11\nlethewire_leaves_total 2\n\
lethewire_relay_latency_seconds_bucket{le=\"0.0001\"} 50\n\
lethewire_relay_latency_seconds_bucket{le=\"0.001\"} 100\n\
lethewire_relay_latency_seconds_bucket{le=\"+Inf\"} 100\n\
lethewire_copies_dropped_total{reason=\"volatile\"} 0\n\
lethewire_copies_dropped_total{reason=\"slow_consumer\"} 12\n\
lethewire_refusals_total{reason=\"token\"} 3\n\
lethewire_refusals_total{reason=\"origin\"} 12000\n\
lethewire_websockets_closed_total{reason=\"left\"} 20\n\
lethewire_bus_links{state=\"up\"} 2\nlethewire_bus_links{state=\"down\"} 0\n\
lethewire_bus_up 1\nlethewire_bus_round_trip_seconds 0.0004\n\
lethewire_bus_reconnects_total 1\n\
process_resident_memory_bytes 48000000\nprocess_cpu_seconds_total 1.5\n\
process_open_fds 930\nprocess_max_fds 20000\nprocess_threads 5\n\
lethewire_runtime_tasks 920\n";

fn look(seconds: u64, metrics: &str) -> Look {
    let at = Instant::START.after(Duration::from_secs(seconds));
    Look::new(at, HEALTH.as_bytes(), metrics.as_bytes()).unwrap()
}

const ABOUT: About<'_> =
    About { target: "127.0.0.1:9090", interval_s: 2, blurred: false, trouble: None };

fn screen(about: &About<'_>, width: usize) -> String {
    let (before, now) = (look(1, BEFORE), look(3, NOW));
    let lines = render(about, Some(Since { now: &now, before: Some(&before) }), width);
    for line in &lines {
        assert!(line.len() <= width, "{line:?}");
    }
    plain(&lines)
}

#[test]
fn everything_fits_eighty_columns_and_twenty_four_rows() {
    let screen = screen(&ABOUT, 80);
    let expected = "\
lethewire 0.1.0 degraded draining  up 2h 13m  relay-1\n\
127.0.0.1:9090 every 2 s\n\
checks     bus pass 1 ms  connections warn 912  event_loop fail 900 ms\n\
\x20          memory pass 48 MB\n\
sockets    [############################--]  91 %  912 of 1000\n\
records    [#-----------------------------]   0 %  30 of 10000\n\
queued     [########################------]  80 %  80.0 MB of 100.0 MB\n\
memory     48.0 MB\n\
inside     members 900  rooms 12  queued 7  oldest 250.0 ms\n\
messages        120/s  in     30.7 kB/s\n\
deliveries   12.0 k/s  out          -/s\n\
joins           0.5/s  read         -/s  leaves 0/s\n\
latency    relay p50 100 us p99 982 us\n\
dropped    slow_consumer 12\n\
refused    origin 12.0 k  token 3\n\
closed     left 20\n\
bus        up  links 2 up 0 down  round trip 400 us  reconnects 1\n\
process    cpu 25 %  files 930 of 20000  threads 5  tasks 920";
    assert!(screen.lines().count() <= 24);
    assert_eq!(screen, expected, "\n{screen}\n");
}

#[test]
fn a_narrow_terminal_wraps_lists_and_cuts_lines() {
    let screen = screen(&ABOUT, 40);
    let expected = "\
lethewire 0.1.0 degraded draining  up 2h\n\
127.0.0.1:9090 every 2 s\n\
checks     bus pass 1 ms\n\
\x20          connections warn 912\n\
\x20          event_loop fail 900 ms\n\
\x20          memory pass 48 MB\n\
sockets    [########]  91 %  912 of 1000\n\
records    [#-------]   0 %  30 of 10000\n\
queued     [#######-]  80 %  80.0 MB of\n\
memory     48.0 MB\n\
inside     members 900  rooms 12  queued\n\
messages        120/s  in     30.7 kB/s\n\
deliveries   12.0 k/s  out          -/s\n\
joins           0.5/s  read         -/s\n\
latency    relay p50 100 us p99 982 us\n\
dropped    slow_consumer 12\n\
refused    origin 12.0 k  token 3\n\
closed     left 20\n\
bus        up  links 2 up 0 down  round\n\
process    cpu 25 %  files 930 of 20000";
    assert_eq!(screen, expected, "\n{screen}\n");
}

#[test]
fn blurred_figures_and_a_relay_that_is_gone_are_said() {
    let blurred = screen(&About { blurred: true, ..ABOUT }, 80);
    assert!(blurred.contains("every 2 s  blurred: multiples of 8, new once a minute\n"));
    let gone = screen(&About { trouble: Some("cannot connect"), ..ABOUT }, 80);
    assert!(gone.contains("every 2 s  NO ANSWER: cannot connect\n"), "{gone}");
    let never = render(&About { trouble: Some("x"), ..ABOUT }, None, 80);
    assert_eq!(plain(&never), "lethewire\n127.0.0.1:9090 every 2 s  NO ANSWER: x");
}

#[test]
fn a_first_look_has_no_rates_and_strange_answers_are_no_panic() {
    let now = look(3, NOW);
    let first = plain(&render(&ABOUT, Some(Since { now: &now, before: None }), 80));
    assert!(first.contains("messages          -/s"), "{first}");
    for health in ["", "[]", "{\"checks\":{\"\\u001b[2J\":{\"observedValue\":\"\\u001b\"}}}"] {
        let now = Look::new(Instant::START, health.as_bytes(), b"").unwrap();
        for width in [0, 1, 7, 80] {
            let lines = render(&ABOUT, Some(Since { now: &now, before: None }), width);
            let text = plain(&lines);
            assert!(
                text.chars().all(|c| c == '\n' || c == ' ' || c.is_ascii_graphic()),
                "{text:?}"
            );
        }
    }
}
