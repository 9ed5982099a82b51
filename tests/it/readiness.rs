//! A relay that is short of memory: it says so, takes nobody new, and keeps whom it has.

use lethewire::config::Switch;
use lethewire::http::resident_bytes;
use lethewire::metrics::Refusal;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite;

use crate::harness::{TestRelay, TestRoom, call, soon};

const MIB: usize = 1024 * 1024;

/// Waits until `/ready` is answered with this status; the relay looks once a second.
async fn until_ready_is(relay: &TestRelay, status: u16) {
    soon("/ready to change", async {
        while relay.get("/ready").await.status != status {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

/// A handshake is refused in plain HTTP, before its token is looked at.
async fn assert_shut(relay: &TestRelay, token: &str) {
    let protocols = format!("lethewire.v1, lethewire.bearer.{token}");
    let refused = relay.handshake(&[("sec-websocket-protocol", &protocols)]).await;
    let Err(tungstenite::Error::Http(answer)) = refused else { panic!("not refused") };
    assert_eq!(answer.status(), 503);
    assert!(answer.headers().contains_key("retry-after"));
}

#[tokio::test]
async fn above_its_memory_a_relay_is_not_ready_and_says_why_to_its_operator() {
    let relay = TestRelay::start(|config| {
        config.limit.memory_bytes = 1;
        config.feature.detailed_errors = Switch::Off;
    })
    .await;
    until_ready_is(&relay, 503).await;
    let public = relay.get("/ready").await;
    public.assert_problem(503, "temporary-reduced-capacity");
    assert_eq!(public.json()["ready"], false);
    assert!(public.json()["timestamp"].is_u64());
    for inner in ["detail", "checks"] {
        assert_eq!(public.json().get(inner), None, "not everybody's business");
    }
    let inside = call(relay.ops, "GET", "/ready", "", "").await;
    inside.assert_problem(503, "temporary-reduced-capacity");
    assert_eq!(inside.json()["ready"], false);
    let detail = inside.json()["detail"].as_str().unwrap().to_owned();
    assert!(detail.starts_with("memory: "), "{detail}");
    let checks = inside.json()["checks"].clone();
    assert_eq!(
        checks,
        json!({ "configLoaded": true, "accepting": true, "memory": false, "queues": true })
    );
    let health = call(relay.ops, "GET", "/health", "", "").await;
    assert_eq!(health.status, 503);
    let health = health.json();
    assert_eq!(
        (&health["status"], &health["checks"]["memory"]["status"]),
        (&json!("unhealthy"), &json!("fail"))
    );

    let room = TestRoom::new();
    for (path, body) in [("/v1/rooms", room.creation(Value::Null)), ("/v1/tokens", room.ask())] {
        let answer = relay.post(path, &body).await;
        answer.assert_problem(503, "temporary-reduced-capacity");
        assert!(answer.header("retry-after").is_some());
    }
    assert_shut(&relay, &relay.mint(&room.id, "src")).await;
    assert_eq!(relay.totals().refused(Refusal::Memory), 3);
    for path in ["/live", "/v1/info"] {
        assert_eq!(relay.get(path).await.status, 200, "{path}");
    }
    relay.stop().await;
}

#[tokio::test]
async fn far_below_its_memory_a_relay_is_ready() {
    let relay = TestRelay::start(|config| config.limit.memory_bytes = 1 << 40).await;
    let ready = relay.get("/ready").await;
    assert_eq!((ready.status, &ready.json()["ready"]), (200, &json!(true)));
    let (mut alice, mut bob) = relay.two_members().await;
    bob.say(b"x").await;
    assert_eq!(alice.data().await.payload, b"x");
    assert_eq!(relay.totals().refused(Refusal::Memory), 0);
    relay.stop().await;
}

/// The relay runs in this process: what the test takes, it is short of.
#[tokio::test]
async fn members_stay_while_memory_is_short_and_others_come_when_it_is_not() {
    let limit = resident_bytes().unwrap() + 128 * MIB as u64;
    let relay = TestRelay::start(|config| config.limit.memory_bytes = limit).await;
    let room = relay.create_room().await;
    let token = relay.token(&room).await;
    let (mut alice, mut bob) = (relay.join(&room).await, relay.join(&room).await);
    alice.control_of("join").await;

    let mut ballast = Vec::new();
    while resident_bytes().unwrap() < limit + 64 * MIB as u64 {
        ballast.push(vec![1_u8; 64 * MIB]);
    }
    until_ready_is(&relay, 503).await;
    assert_shut(&relay, &token).await;
    bob.say(b"still here").await;
    assert_eq!(alice.data().await.payload, b"still here");
    assert_eq!(relay.totals().members, 2);
    let rule = room.rule("lock");
    assert_eq!(relay.post("/v1/owner", &rule).await.status, 204, "an owner rules on");
    assert_eq!(relay.post("/v1/owner", &room.rule("unlock")).await.status, 204);
    for _ in 0..2 {
        alice.control_of("room").await;
    }

    drop(ballast);
    until_ready_is(&relay, 200).await;
    relay.join_with(&token).await;
    alice.control_of("join").await;
    relay.stop().await;
}
