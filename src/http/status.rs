//! What the relay says about itself: alive, ready, its limits, and, to operators, its health.
//!
//! The public answers are two booleans and a static page of facts: no counts, no times, no names.

use hyper::StatusCode;
use hyper::body::Bytes;
use serde::Serialize;
use serde_json::json;

use super::handshake::SUBPROTOCOL;
use super::memory::resident_bytes;
use super::problem::Problem;
use super::{Answer, App, answer, json};
use crate::clock;
use crate::config::{Admission, Config};
use crate::core::limit::Instant;

/// `GET /live`: the process runs.
pub(super) fn live() -> Answer {
    json(StatusCode::OK, &json!({ "alive": true }))
}

/// `GET /ready`: whether new members should be sent here. Why not is a detail, which the public
/// listener leaves out in production.
pub(super) fn ready(app: &App) -> Result<Answer, Problem> {
    if app.is_draining() || app.is_leaving() {
        return Err(Problem::not_ready("draining: the relay is about to stop"));
    }
    if app.memory.is_short() {
        return Err(Problem::not_ready("memory: more is resident than limit.memory_bytes"));
    }
    if app.hub.is_short_of_memory() {
        return Err(Problem::not_ready(
            "queues: three quarters of limit.buffered_bytes are waiting",
        ));
    }
    if app.config.bus.ready_check && app.is_cut_off() {
        return Err(Problem::not_ready("bus: what this node publishes does not come back"));
    }
    Ok(json(StatusCode::OK, &json!({ "ready": true })))
}

/// `GET /v1/info`.
pub(super) fn info(app: &App) -> Answer {
    answer(StatusCode::OK, "application/json", app.info.clone())
}

/// The body of `GET /v1/info`, which depends on the configuration alone.
pub(super) fn info_body(config: &Config) -> Bytes {
    let Config { limit, room, info, .. } = config;
    let given = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    let facts = json!({
        "name": env!("CARGO_PKG_NAME"),
        "version": env!("CARGO_PKG_VERSION"),
        "build": BUILD,
        "source": given(&info.source_url),
        "protocols": [SUBPROTOCOL],
        "admission": match room.admission {
            Admission::Open => "open",
            Admission::Backend => "backend",
        },
        "limits": {
            "payload_bytes": limit.payload_bytes,
            "messages": [limit.messages_per_10s, 10],
            "bytes": [limit.bytes_per_10s, 10],
            "fanout": [limit.fanout_bytes_per_10s, 10],
            "members_max": room.members_max,
            "ttl_s": room.ttl_s,
            "idle_s": room.idle_s,
            "padding": room.padding,
            "padding_policy": room.padding_policy,
        },
        "retention": RETENTION,
        "operator": given(&info.operator),
        "abuse_contact": given(&info.abuse_contact),
    });
    facts.to_string().into()
}

/// `GET /health` on the operations listener: what is used of what there is.
pub(super) fn health(app: &App) -> Answer {
    let now = app.metrics.aggregate();
    let limit = |limit: u32| u64::from(limit);
    let room_records = u64::try_from(app.records.len()).unwrap_or(u64::MAX);
    let connections =
        Check::of(now.connections, limit(app.config.limit.connections), "connections");
    let rooms = Check::of(room_records, limit(app.config.room.rooms_max), "rooms");
    let draining = app.is_draining();
    let short = app.memory.is_short();
    let bus = app.shared.as_ref().map(|shared| {
        let round_trip = shared.bus().round_trip();
        let status = if shared.bus().is_up() { PASS } else { WARN };
        let millis = round_trip.map_or(0, |time| time.as_millis());
        Check { status, value: u64::try_from(millis).unwrap_or(u64::MAX), unit: "ms" }
    });
    let degraded =
        app.is_cut_off() || draining || short || connections.status == WARN || rooms.status == WARN;
    let memory = resident_bytes().map(|bytes| Check {
        status: if short { WARN } else { PASS },
        value: bytes / MIB,
        unit: "MB",
    });
    let health = Health {
        status: if degraded { "degraded" } else { "healthy" },
        timestamp: clock::unix_now().0,
        uptime: clock::now().since(Instant::START).as_secs(),
        checks: Checks { connections, rooms, memory, bus },
        draining,
        version: env!("CARGO_PKG_VERSION"),
        instance_id: &app.config.server.instance_id,
    };
    json(StatusCode::OK, &health)
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Health<'a> {
    status: &'static str,
    timestamp: u64,
    uptime: u64,
    checks: Checks,
    draining: bool,
    version: &'static str,
    instance_id: &'a str,
}

#[derive(Serialize)]
struct Checks {
    connections: Check,
    rooms: Check,
    #[serde(skip_serializing_if = "Option::is_none")]
    memory: Option<Check>,
    /// The time that the last probe took to come back; 0 while it does not.
    #[serde(skip_serializing_if = "Option::is_none")]
    bus: Option<Check>,
}

#[derive(Serialize)]
struct Check {
    status: &'static str,
    #[serde(rename = "observedValue")]
    value: u64,
    #[serde(rename = "observedUnit")]
    unit: &'static str,
}

impl Check {
    /// Warns from nine tenths of the limit on.
    fn of(value: u64, limit: u64, unit: &'static str) -> Self {
        let status = if value >= limit - limit / 10 { WARN } else { PASS };
        Self { status, value, unit }
    }
}

const MIB: u64 = 1024 * 1024;

const PASS: &str = "pass";
const WARN: &str = "warn";

/// Set by whoever builds a release, to what can be compared with the published source.
const BUILD: Option<&str> = option_env!("LETHEWIRE_BUILD");

const RETENTION: &str = "Messages are relayed and not kept. Rooms and limits live in memory until \
    they end; addresses are kept as keyed hashes under a key that changes every 24 hours. Nothing \
    is written to disk, and logs hold totals only.";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_facts_are_those_of_the_configuration() {
        let mut config = Config::default();
        config.info.operator = "Example".to_owned();
        let facts: serde_json::Value = serde_json::from_slice(&info_body(&config)).unwrap();
        assert_eq!(facts["protocols"], json!(["lethewire.v1"]));
        assert_eq!(facts["operator"], "Example");
        assert_eq!(facts["abuse_contact"], serde_json::Value::Null);
        assert_eq!(facts["limits"]["payload_bytes"], config.limit.payload_bytes);
        assert_eq!(facts["limits"]["padding"], json!(config.room.padding));
        assert_eq!(facts["limits"]["padding_policy"], "off");
        assert!(facts["retention"].as_str().unwrap().contains("not kept"));
    }

    #[test]
    fn a_table_that_is_nearly_full_warns() {
        assert_eq!(Check::of(89, 100, "rooms").status, PASS);
        assert_eq!(Check::of(90, 100, "rooms").status, WARN);
        assert_eq!(Check::of(1, 1, "rooms").status, WARN);
        assert_eq!(Check::of(0, 1, "rooms").status, PASS);
    }
}
