//! That every series moves: scenes that make each happen what it is about, and a walk over the whole
//! list behind them.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::task::JoinSet;

use super::seen::Seen;
use super::{scenes, scenes_bus, scenes_doors, scenes_limits};
use crate::harness::soon;

/// What no scene here moves, by the beginning of the name, and why.
const ELSEWHERE: &[(&str, &str)] = &[
    ("process_", "the system's own figures; src/metrics/process.rs tests that they are read"),
    ("lethewire_build_info", "always 1"),
    ("lethewire_panics_total", "not moved by a test: only a bug makes one"),
    (
        "lethewire_accept_errors_total",
        "not moved by a test: sockets of this process would fail, too",
    ),
    (
        "lethewire_log_lines_suppressed_total",
        "not moved by a test: src/telemetry/throttle.rs tests what is told to it",
    ),
    ("lethewire_copies_dropped_total{reason=\"left\"}", "not moved by a test: microseconds wide"),
    ("lethewire_runtime_global_queue", "may be empty whenever somebody looks"),
    ("lethewire_bus_refusals_total", "tests/it/bus.rs, on a bus without sockets"),
    ("lethewire_bus_inboxes_dropped_total", "tests/it/bus.rs fills one"),
    ("lethewire_limit_hits_total{limit=\"bus_inbox\"}", "tests/it/bus.rs fills one"),
    (
        "lethewire_websockets_closed_total{reason=\"bug\"}",
        "not moved by a test: only a bug makes one",
    ),
    ("lethewire_websockets_closed_total{reason=\"unsupported\"}", "reserved: nobody sends it"),
    ("lethewire_websockets_closed_total{reason=\"blocked\"}", "reserved: nobody sends it"),
    ("lethewire_websockets_closed_total{reason=\"idle\"}", "reserved: nobody sends it"),
];

/// Whether it is one of a family of which some need to move and not all.
fn of_a_family(name: &str) -> bool {
    // Which bucket a time falls into is the machine's affair; sums and counts move.
    name.contains("_bucket{") || name.starts_with("lethewire_http_answers_total{")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn every_series_is_moved_by_what_it_is_about() {
    let seen = Arc::new(Seen::nothing());
    let (mut running, mut names) = (JoinSet::new(), HashMap::new());
    macro_rules! play {
        ($($scene:path),+ $(,)?) => {$({
            let seen = Arc::clone(&seen);
            let scene = async move { soon(stringify!($scene), $scene(&seen)).await };
            names.insert(running.spawn(scene).id(), stringify!($scene));
        })+};
    }
    play!(
        scenes::conversation,
        scenes::endings,
        scenes::slow_reader,
        scenes::breaking_off,
        scenes::old_frames,
        scenes::eviction,
        scenes::silence,
        scenes::drain,
        scenes_limits::of_members,
        scenes_limits::of_addresses,
        scenes_limits::of_behaviour,
        scenes_limits::of_tables,
        scenes_doors::requests,
        scenes_doors::rooms,
        scenes_doors::tokens,
        scenes_doors::proxies,
        scenes_bus::standstill,
        scenes_bus::losses,
        scenes_bus::given_up,
    );
    while let Some(played) = running.join_next().await {
        assert!(played.is_ok(), "{} fails, see above", names[&played.unwrap_err().id()]);
    }

    let is_excused = |name: &str| ELSEWHERE.iter().any(|(begin, _)| name.starts_with(begin));
    for (begin, why) in ELSEWHERE {
        assert!(seen.names().any(|name| name.starts_with(begin)), "no series {begin}: {why}");
    }
    let unmoved = seen.unmoved();
    let left: Vec<_> =
        unmoved.iter().filter(|name| !is_excused(name) && !of_a_family(name)).collect();
    assert!(left.is_empty(), "no scene moves {left:#?}");

    // Each route has answered, and each class was answered.
    for route in ["rooms", "tokens", "owner", "ws", "info", "page", "live", "ready", "health"]
        .iter()
        .chain(&["metrics", "admin", "other"])
        .map(|route| format!("route=\"{route}\""))
        .chain(["1xx", "2xx", "4xx", "5xx"].map(|class| format!("class=\"{class}\"")))
    {
        let is_one = |name: &&str| name.contains("http_answers") && name.contains(&route);
        let all = seen.names().filter(is_one).count();
        assert!(all > 0 && unmoved.iter().filter(|name| is_one(name)).count() < all, "{route}");
    }
}
