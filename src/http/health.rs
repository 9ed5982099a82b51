//! `GET /health`, for operators: what is used of what there is, check by check.
//!
//! One rule for every check: it warns at a share of what there is, and fails when nobody new gets in
//! because of it, or, for times, when members notice. Statuses are exact; the numbers beside them are
//! as exact as all exported numbers.

use std::time::Duration;

use hyper::StatusCode;
use serde::{Serialize, Serializer};

use super::memory::resident_bytes;
use super::{Answer, App, json};
use crate::clock;
use crate::config::Config;
use crate::core::limit::Instant;
use crate::metrics::{Aggregate, Level};

/// How a check went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// All is well.
    Pass,
    /// It will soon be enough, or is slow.
    Warn,
    /// Nobody new gets in, or members notice.
    Fail,
}

impl Status {
    /// The word in the answer.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Warn => "warn",
            Self::Fail => "fail",
        }
    }

    /// Fails from `limit` on, and warns from `percent` of it on.
    fn of(value: u64, limit: u64, percent: u32) -> Self {
        let warn = u128::from(value) * 100 >= u128::from(limit) * u128::from(percent);
        if value >= limit {
            Self::Fail
        } else if warn {
            Self::Warn
        } else {
            Self::Pass
        }
    }
}

/// One check of [`checks`].
#[derive(Clone, Copy, Serialize)]
pub struct Check {
    /// One of a few.
    #[serde(skip)]
    pub name: &'static str,
    /// How it went.
    pub status: Status,
    /// What was seen, in `unit`.
    #[serde(rename = "observedValue")]
    pub value: u64,
    /// Of the value.
    #[serde(rename = "observedUnit")]
    pub unit: &'static str,
}

/// Every check that there is on this node. `now` is for the event loop.
pub fn checks(app: &App, now: Instant) -> Vec<Check> {
    let shown = app.totals();
    [
        bus(app),
        memory(app, &shown),
        Some(connections(app, &shown)),
        Some(rooms(app, &shown)),
        Some(queue(app, &shown)),
        Some(event_loop(app.lag.worst(now), &app.config)),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// `GET /health`: 200, or 503 if a check fails.
pub(super) fn health(app: &App) -> Answer {
    let now = clock::now();
    let checks = checks(app, now);
    let draining = app.is_draining();
    let worst = checks.iter().map(|check| check.status).max().unwrap_or(Status::Pass);
    let (code, status) = match worst {
        Status::Fail => (StatusCode::SERVICE_UNAVAILABLE, "unhealthy"),
        Status::Warn => (StatusCode::OK, "degraded"),
        Status::Pass if draining => (StatusCode::OK, "degraded"),
        Status::Pass => (StatusCode::OK, "healthy"),
    };
    let health = Health {
        status,
        timestamp: clock::unix_now().0,
        uptime: now.since(Instant::START).as_secs(),
        checks,
        draining,
        version: env!("CARGO_PKG_VERSION"),
        instance_id: &app.config.server.instance_id,
    };
    json(code, &health)
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Health<'a> {
    status: &'static str,
    timestamp: u64,
    uptime: u64,
    #[serde(serialize_with = "by_name")]
    checks: Vec<Check>,
    draining: bool,
    version: &'static str,
    instance_id: &'a str,
}

fn by_name<S: Serializer>(checks: &[Check], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(checks.iter().map(|check| (check.name, check)))
}

/// How long the last probe took to come back; 0 while it does not. Whether that is a failure is what
/// the operator said about `/ready`.
fn bus(app: &App) -> Option<Check> {
    let round_trip = app.bus()?.round_trip();
    let status = bus_status(round_trip, &app.config);
    Some(Check { name: "bus", status, value: round_trip.map_or(0, millis), unit: "ms" })
}

fn bus_status(round_trip: Option<Duration>, config: &Config) -> Status {
    match round_trip {
        None if config.bus.ready_check => Status::Fail,
        None => Status::Warn,
        // Every message waits for as long, and twice that breaks the link.
        Some(time) if time >= config.bus.timeout() / 2 => Status::Warn,
        Some(_) => Status::Pass,
    }
}

/// The resident memory, where the system tells it.
fn memory(app: &App, shown: &Aggregate) -> Option<Check> {
    let resident = resident_bytes()?;
    let is_short = app.memory.is_short();
    let status = memory_status(resident, is_short, &app.config);
    let value = app.shown(shown.resident_bytes.div_ceil(MIB));
    Some(Check { name: "memory", status, value, unit: "MB" })
}

fn memory_status(resident: u64, is_short: bool, config: &Config) -> Status {
    let limit = config.limit.memory_bytes;
    if is_short {
        return Status::Fail;
    }
    if limit == 0 {
        return Status::Pass;
    }
    // Above the limit without being short is a moment before the next look.
    Status::of(resident, limit, config.health.warn_percent).min(Status::Warn)
}

fn connections(app: &App, shown: &Aggregate) -> Check {
    let value = app.metrics.aggregate().connections;
    let most = app.config.limit.connections.into();
    used(app, "connections", value, shown.connections, most, "connections")
}

fn rooms(app: &App, shown: &Aggregate) -> Check {
    let value = u64::try_from(app.records.len()).unwrap_or(u64::MAX);
    // The level is set once a second; where numbers are exact, this one is too.
    let shown = if app.metrics.is_exact() { value } else { shown.level(Level::Records) };
    used(app, "rooms", value, shown, app.config.room.rooms_max.into(), "rooms")
}

/// What waits for slow members, of what may until newcomers are turned away.
fn queue(app: &App, shown: &Aggregate) -> Check {
    let (value, limit) = app.hub.queued_bytes();
    used(app, "queue", value as u64, shown.queued_bytes, limit as u64, "bytes")
}

/// Judged by what it is, and shown as what it may be shown as.
fn used(
    app: &App,
    name: &'static str,
    value: u64,
    shown: u64,
    limit: u64,
    unit: &'static str,
) -> Check {
    let status = Status::of(value, limit, app.config.health.warn_percent);
    Check { name, status, value: shown, unit }
}

/// The latest turn of the last seconds.
fn event_loop(worst: Duration, config: &Config) -> Check {
    let status = if worst >= config.health.loop_lag_fail() {
        Status::Fail
    } else if worst >= config.health.loop_lag_warn() {
        Status::Warn
    } else {
        Status::Pass
    };
    Check { name: "event_loop", status, value: millis(worst), unit: "ms" }
}

/// Whole milliseconds; what is there at all is one at least.
fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX)
}

const MIB: u64 = 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn a_table_warns_from_a_share_on_and_fails_when_it_is_full() {
        for (value, limit, percent, status) in [
            (0, 1, 90, Status::Pass),
            (1, 1, 90, Status::Fail),
            (89, 100, 90, Status::Pass),
            (90, 100, 90, Status::Warn),
            (99, 100, 90, Status::Warn),
            (100, 100, 90, Status::Fail),
            (150, 100, 90, Status::Fail),
            (99, 100, 100, Status::Pass),
            (1, 100, 1, Status::Warn),
            (u64::MAX / 2, u64::MAX, 90, Status::Pass),
        ] {
            assert_eq!(Status::of(value, limit, percent), status, "{value} of {limit}");
        }
    }

    #[test]
    fn memory_fails_while_newcomers_are_turned_away_for_it() {
        let mut config = Config::default();
        assert_eq!(memory_status(1 << 40, false, &config), Status::Pass, "no limit");
        config.limit.memory_bytes = 1000;
        for (resident, is_short, status) in [
            (899, false, Status::Pass),
            (900, false, Status::Warn),
            (2000, false, Status::Warn),
            (2000, true, Status::Fail),
            (960, true, Status::Fail),
        ] {
            assert_eq!(memory_status(resident, is_short, &config), status, "{resident}");
        }
    }

    #[test]
    fn a_bus_warns_when_it_is_slow_and_fails_when_it_is_lost() {
        let mut config = Config::default();
        config.bus.timeout_ms = 2000;
        assert_eq!(bus_status(Some(999 * MS), &config), Status::Pass);
        assert_eq!(bus_status(Some(1000 * MS), &config), Status::Warn);
        assert_eq!(bus_status(None, &config), Status::Fail);
        config.bus.ready_check = false;
        assert_eq!(bus_status(None, &config), Status::Warn, "the node is ready all the same");
    }

    #[test]
    fn a_late_turn_warns_and_a_very_late_one_fails() {
        let config = Config::default();
        for (micros, value, status) in [
            (0, 0, Status::Pass),
            (1, 1, Status::Pass),
            (99_999, 100, Status::Pass),
            (100_000, 100, Status::Warn),
            (999_999, 1000, Status::Warn),
            (1_000_000, 1000, Status::Fail),
        ] {
            let check = event_loop(Duration::from_micros(micros), &config);
            assert_eq!((check.value, check.status), (value, status), "{micros}");
        }
    }
}
