//! What the relay says about itself to everybody: alive, ready, its limits.
//!
//! Booleans, the second of the answer, and a static page of facts: no counts, no names.

use hyper::StatusCode;
use hyper::body::Bytes;
use serde_json::json;

use super::handshake::SUBPROTOCOL;
use super::problem::Problem;
use super::ready::Readiness;
use super::{Answer, App, answer, json};
use crate::clock;
use crate::config::{Admission, Config};

/// `GET /live`: the process runs.
pub(super) fn live() -> Answer {
    json(StatusCode::OK, &json!({ "alive": true, "timestamp": clock::unix_now().0 }))
}

/// `GET /ready`: whether new members should be sent here. Why not is a detail, which the public
/// listener leaves out in production.
pub(super) fn ready(app: &App) -> Result<Answer, Problem> {
    match Readiness::of(app) {
        (ready, None) => Ok(json(StatusCode::OK, &ready)),
        (ready, Some(failed)) => Err(Problem::not_ready(ready, failed)),
    }
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
}
