//! The operations listener: what operators see and can do, and that nobody else gets there.

use lethewire::config::{Config, Deployment};
use lethewire::metrics::Refusal;
use serde_json::{Value, json};
use tokio::net::TcpStream;

use crate::harness::{Answered, JSON, TestRelay, TestRoom, call};

async fn get(relay: &TestRelay, path: &str) -> Answered {
    call(relay.ops, "GET", path, "", "").await
}

#[tokio::test]
async fn health_is_what_is_used_of_what_there_is() {
    let relay = TestRelay::start(|config| {
        config.server.instance_id = "node-1".to_owned();
        config.room.rooms_max = 10;
        config.limit.room_creates_per_min = 100;
        calm(config);
    })
    .await;
    let room = relay.create_room().await;
    let _member = relay.join(&room).await;
    relay.until("the calls to end", |now| now.connections == 1).await;
    let health = get(&relay, "/health").await;
    assert_eq!(health.status, 200);
    let health = health.json();
    assert_eq!(health["status"], "healthy");
    assert_eq!(health["instanceId"], "node-1");
    assert_eq!(health["version"], env!("CARGO_PKG_VERSION"));
    assert!(health["timestamp"].as_u64().unwrap() > 1_700_000_000);
    assert!(health["uptime"].is_u64());
    let connections = &health["checks"]["connections"];
    assert_eq!(connections["status"], "pass");
    assert_eq!(
        (&connections["observedValue"], &connections["observedUnit"]),
        (&json!(1), &json!("connections"))
    );
    assert_eq!(health["checks"]["rooms"]["observedValue"], 1);
    assert!(health["checks"]["memory"]["observedValue"].as_u64().unwrap() > 0);
    let queue = json!({ "status": "pass", "observedValue": 0, "observedUnit": "bytes" });
    assert_eq!(health["checks"]["queue"], queue);
    let event_loop = &health["checks"]["event_loop"];
    assert_eq!(
        (&event_loop["status"], &event_loop["observedUnit"]),
        (&json!("pass"), &json!("ms"))
    );
    assert_eq!(health["checks"].get("bus"), None, "no rooms are shared");

    for (rooms, code, status, check) in
        [(9, 200, "degraded", "warn"), (10, 503, "unhealthy", "fail")]
    {
        while get(&relay, "/health").await.json()["checks"]["rooms"]["observedValue"] != rooms {
            relay.create_room().await;
        }
        let health = get(&relay, "/health").await;
        assert_eq!(health.status, code);
        let health = health.json();
        assert_eq!(
            (&health["status"], &health["checks"]["rooms"]["status"]),
            (&json!(status), &json!(check))
        );
    }
    relay.stop().await;
}

#[tokio::test]
async fn health_warns_when_few_connections_are_left_and_fails_when_none_is() {
    let relay = TestRelay::start(|config| {
        config.limit.connections = 10;
        calm(config);
    })
    .await;
    let mut open = Vec::new();
    for (count, code, check) in [(8, 200, "pass"), (9, 200, "warn"), (10, 503, "fail")] {
        while open.len() < count {
            open.push(TcpStream::connect(relay.addr).await.unwrap());
        }
        relay.until("all to be in", |now| now.connections == count as u64).await;
        let health = get(&relay, "/health").await;
        assert_eq!(health.status, code, "{count}");
        assert_eq!(health.json()["checks"]["connections"]["status"], check, "{count}");
    }
    relay.stop().await;
}

/// The event loop may be as late as it likes: many tests share this machine.
fn calm(config: &mut Config) {
    config.health.loop_lag_warn_ms = 60_000;
    config.health.loop_lag_fail_ms = 60_000;
}

#[tokio::test]
async fn in_production_healths_numbers_are_blurred_and_its_statuses_are_not() {
    let relay = TestRelay::start(|config| {
        config.server.deployment_env = Deployment::Production;
        config.room.rooms_max = 2;
        calm(config);
    })
    .await;
    relay.create_room().await;
    let rooms = async || get(&relay, "/health").await.json()["checks"]["rooms"].clone();
    // One is not shown before seven others are there too.
    let one = json!({ "status": "pass", "observedValue": 0, "observedUnit": "rooms" });
    assert_eq!(rooms().await, one);
    relay.create_room().await;
    assert_eq!(rooms().await["status"], "fail");
    let memory = get(&relay, "/health").await.json()["checks"]["memory"].clone();
    assert_eq!(memory["observedValue"].as_u64().unwrap() % 8, 0);
    relay.stop().await;
}

#[tokio::test]
async fn metrics_are_open_metrics_or_json() {
    let relay = TestRelay::start(|_| ()).await;
    let room = relay.create_room().await;
    let _member = relay.join(&room).await;
    let text = get(&relay, "/metrics").await;
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    assert_eq!(text.header("content-type"), Some(kind));
    let text = text.text();
    assert!(text.ends_with("# EOF\n"));
    for line in [
        "lethewire_members 1",
        "lethewire_rooms 1",
        "lethewire_tokens_minted_total 2",
        "lethewire_joins_total 1",
    ] {
        assert!(text.lines().any(|found| found == line), "{line}");
    }
    let shown =
        call(relay.ops, "GET", "/metrics", "Accept: text/html, application/json;q=0.9\r\n", "")
            .await;
    assert_eq!(shown.header("content-type"), Some("application/json"));
    let shown = shown.json();
    assert!(shown["timestamp"].is_u64());
    assert_eq!(shown["metrics"]["lethewire_members"], json!({ "type": "gauge", "value": 1 }));
    assert_eq!(shown["metrics"]["lethewire_joins_total"], json!({ "type": "counter", "value": 1 }));
    for scraper in ["application/openmetrics-text;version=1.0.0,*/*;q=0.1", "*/*"] {
        let answer =
            call(relay.ops, "GET", "/metrics", &format!("Accept: {scraper}\r\n"), "").await;
        assert_eq!(answer.header("content-type"), Some(kind));
    }
    relay.stop().await;
}

#[tokio::test]
async fn the_configuration_is_shown_without_secrets() {
    let relay = TestRelay::start(|config| config.info.operator = "Example".to_owned()).await;
    let answer = get(&relay, "/admin/config").await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), Some("application/toml; charset=utf-8"));
    let text = answer.text();
    assert!(text.contains("operator = \"Example\"") && text.contains("[limit]"), "{text}");
    relay.stop().await;
}

#[tokio::test]
async fn a_reported_room_is_closed_by_its_name() {
    let relay = TestRelay::start(|_| ()).await;
    let room = relay.create_room().await;
    let forgotten = TestRoom::new();
    let mut member = relay.join(&room).await;
    for id in [&room.id, &forgotten.id, &room.id] {
        let body = json!({ "room": id.to_base64url() }).to_string();
        let answer = call(relay.ops, "POST", "/admin/rooms/close", JSON, &body).await;
        assert_eq!(answer.status, 204, "{}", answer.text());
    }
    member.control_of("closed").await;
    assert_eq!(member.closed().await.0, 4002);
    for room in [&room, &forgotten] {
        let answer = relay.post("/v1/rooms", &room.creation(Value::Null)).await;
        answer.assert_problem(410, "room-closed");
    }
    for bad in ["{}", "{\"room\":\"AAAA\"}", "{\"room\":1}", "[]"] {
        let answer = call(relay.ops, "POST", "/admin/rooms/close", JSON, bad).await;
        answer.assert_problem(400, "bad-request");
    }
    let answer = call(relay.ops, "POST", "/admin/rooms/close", "", "{}").await;
    answer.assert_problem(415, "about:blank");
    relay.stop().await;
}

#[tokio::test]
async fn no_page_in_an_operators_browser_gets_there() {
    let relay = TestRelay::start(|_| ()).await;
    for (method, path) in
        [("POST", "/admin/drain"), ("POST", "/admin/rooms/close"), ("GET", "/health")]
    {
        for origin in ["http://localhost", "null", &format!("http://{}", relay.ops)] {
            let answer = call(relay.ops, method, path, &format!("Origin: {origin}\r\n"), "").await;
            answer.assert_problem(403, "origin-denied");
            assert_eq!(answer.header("access-control-allow-origin"), None);
        }
    }
    assert_eq!(relay.get("/ready").await.status, 200, "no drain began");
    relay.stop().await;
}

#[tokio::test]
async fn each_listener_has_its_own_paths() {
    let relay = TestRelay::start(|_| ()).await;
    for path in ["/health", "/metrics", "/admin/config", "/admin/drain", "/admin/rooms/close"] {
        relay.get(path).await.assert_problem(404, "about:blank");
    }
    for path in ["/v1/rooms", "/v1/ws", "/v1/info", "/", "/admin", "/nothing"] {
        get(&relay, path).await.assert_problem(404, "about:blank");
    }
    for (method, path, allow) in [
        ("POST", "/health", "GET, HEAD"),
        ("POST", "/metrics", "GET, HEAD"),
        ("GET", "/admin/drain", "POST"),
        ("PUT", "/admin/rooms/close", "POST"),
    ] {
        let answer = call(relay.ops, method, path, "", "").await;
        assert_eq!((answer.status, answer.header("allow")), (405, Some(allow)), "{method} {path}");
    }
    relay.stop().await;
}

#[tokio::test]
async fn endpoints_can_be_switched_off() {
    let relay = TestRelay::start(|config| {
        config.feature.health_endpoint = false;
        config.feature.metrics_endpoint = false;
        config.feature.readiness_endpoint = false;
    })
    .await;
    for path in ["/health", "/metrics", "/ready"] {
        get(&relay, path).await.assert_problem(404, "about:blank");
    }
    assert_eq!(get(&relay, "/live").await.status, 200);
    relay.stop().await;

    let without = TestRelay::start(|config| config.server.ops_listen = None).await;
    assert_eq!(without.ops, without.addr, "there is no second listener");
    without.get("/metrics").await.assert_problem(404, "about:blank");
    without.stop().await;
}

#[tokio::test]
async fn an_operators_request_that_is_broken_does_not_count_as_a_members() {
    let relay = TestRelay::start(|_| ()).await;
    get(&relay, "/nothing").await.assert_problem(404, "about:blank");
    assert_eq!(relay.totals().refused(Refusal::Request), 0);
    relay.stop().await;
}
