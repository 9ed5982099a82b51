//! The drain: not ready at once, nobody new, everybody told before they are closed, and an end.

use lethewire::config::Config;
use lethewire::metrics::{Count, Refusal};
use serde_json::Value;
use tokio_tungstenite::tungstenite;

use crate::harness::{Heard, Member, Talk, TestRelay, TestRoom, call, soon};

/// A relay that drains one member a second.
async fn slowly_draining() -> TestRelay {
    TestRelay::start(|config: &mut Config| {
        config.feature.graceful_shutdown = true;
        config.server.drain_rate_per_s = 1;
    })
    .await
}

/// What a member hears of the drain: the hint, then the close. Joins and leaves of others may come
/// in between.
async fn sent_away(member: &mut Member) -> (u64, u16, String) {
    let mut hint = None;
    loop {
        match member.hear().await {
            Heard::Control(told) if told["type"] == "drain" => {
                assert!(hint.is_none(), "told once");
                hint = told["reconnect_after_ms"].as_u64();
            }
            Heard::Control(told) => {
                assert!(told["type"] == "join" || told["type"] == "leave", "{told}");
            }
            Heard::Closed(code, reason) => return (hint.expect("told before"), code, reason),
            other => panic!("heard {other:?}"),
        }
    }
}

#[tokio::test]
async fn members_are_told_when_to_come_back_and_then_closed() {
    let mut relay = slowly_draining().await;
    let room = relay.create_room().await;
    let (mut one, mut two) = (relay.join(&room).await, relay.join(&room).await);
    one.control_of("join").await;
    relay.begin_stop();
    for ended in futures_util::future::join_all([sent_away(&mut one), sent_away(&mut two)]).await {
        let (_hint, code, reason) = ended;
        assert_eq!(code, 1012);
        assert!(reason.starts_with("restart"), "{reason}");
    }
    drop((one, two));
    relay.ended().await;
}

#[tokio::test]
async fn while_draining_probes_are_answered_and_nobody_gets_in() {
    let mut relay = slowly_draining().await;
    let room = relay.create_room().await;
    let token = relay.token(&room).await;
    let mut members = Vec::new();
    for _ in 0..3 {
        members.push(relay.join(&room).await);
    }
    let mut idle = relay.talk().await;
    idle.say("GET /live HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(idle.answer().await.status, 200);
    let before = relay.count(Count::ConnectionsAccepted);
    let silent = relay.talk().await;
    relay.until("the connection", |now| now.count(Count::ConnectionsAccepted) > before).await;
    // Who came later has an answer, so it is waited for; who comes during the drain may still speak.
    assert_eq!(relay.get("/live").await.status, 200);

    relay.begin_stop();
    assert_eq!(idle.ended().await, b"", "a connection between requests ends at once");
    assert_eq!(silent.ended().await, b"", "and so does one that has said nothing");
    for addr in [relay.addr, relay.ops] {
        let ready = call(addr, "GET", "/ready", "", "").await;
        ready.assert_problem(503, "temporary-reduced-capacity");
        assert_eq!(ready.json()["ready"], false);
        assert!(ready.json()["detail"].as_str().unwrap().starts_with("draining: "));
        assert_eq!(ready.header("connection"), Some("close"));
        assert_eq!(call(addr, "GET", "/live", "", "").await.status, 200);
    }
    let health = call(relay.ops, "GET", "/health", "", "").await;
    assert_eq!((health.status, &health.json()["status"]), (200, &serde_json::json!("degraded")));
    for (path, body) in
        [("/v1/rooms", TestRoom::new().creation(Value::Null)), ("/v1/tokens", room.ask())]
    {
        let answer = relay.post(path, &body).await;
        answer.assert_problem(503, "temporary-reduced-capacity");
        assert!(answer.header("retry-after").is_some());
    }
    let protocols = format!("lethewire.v1, lethewire.bearer.{token}");
    let refused = relay.handshake(&[("sec-websocket-protocol", &protocols)]).await;
    let Err(tungstenite::Error::Http(answer)) = refused else { panic!("not refused") };
    assert_eq!(answer.status(), 503);
    assert_eq!(relay.totals().refused(Refusal::Draining), 3);
    assert!(relay.totals().members > 0, "the drain was still on");

    futures_util::future::join_all(members.iter_mut().map(sent_away)).await;
    drop(members);
    relay.ended().await;
}

#[tokio::test]
async fn balancers_may_notice_before_it_begins() {
    let relay = TestRelay::start(|config| {
        config.feature.graceful_shutdown = true;
        config.server.drain_notice_ms = 600_000;
    })
    .await;
    let room = relay.create_room().await;
    let mut member = relay.join(&room).await;
    relay.begin_stop();
    soon("not ready", async { while relay.get("/ready").await.status != 503 {} }).await;
    assert_eq!(call(relay.ops, "GET", "/ready", "", "").await.status, 503);
    let mut late = relay.join(&room).await;
    assert_eq!(member.control().await["type"], "join", "whoever comes is let in as ever");
    late.tell(&serde_json::json!({ "type": "ping", "n": 1 })).await;
    assert_eq!(late.control().await["type"], "pong", "and nobody is sent away");
}

#[tokio::test]
async fn an_operator_can_ask_for_it() {
    let mut relay = slowly_draining().await;
    let room = relay.create_room().await;
    let mut member = relay.join(&room).await;
    let answer = call(relay.ops, "POST", "/admin/drain", "", "").await;
    assert_eq!((answer.status, answer.json()), (202, serde_json::json!({ "draining": true })));
    assert_eq!(sent_away(&mut member).await.1, 1012);
    drop(member);
    relay.ended().await;
}

#[tokio::test]
async fn without_members_it_is_over_at_once() {
    let mut relay = slowly_draining().await;
    let silent = Talk::to(relay.addr).await;
    relay.until("the connection", |now| now.connections == 1).await;
    relay.begin_stop();
    relay.ended().await;
    assert_eq!(silent.ended().await, b"");
}

#[tokio::test]
async fn it_ends_in_time_even_if_members_remain() {
    let mut relay = TestRelay::start(|config| {
        config.feature.graceful_shutdown = true;
        config.server.drain_rate_per_s = 1;
        config.server.shutdown_timeout_s = 1;
    })
    .await;
    let room = relay.create_room().await;
    let mut members = Vec::new();
    for _ in 0..8 {
        members.push(relay.join(&room).await);
    }
    relay.begin_stop();
    relay.ended().await;
    assert!(relay.totals().members > 0, "one a second, and one second");
}

#[tokio::test]
async fn switched_off_it_does_not_wait() {
    let mut relay = TestRelay::start(|config| {
        config.feature.graceful_shutdown = false;
        config.server.drain_rate_per_s = 1;
    })
    .await;
    let room = relay.create_room().await;
    let _member = relay.join(&room).await;
    relay.begin_stop();
    relay.ended().await;
    assert_eq!(relay.totals().members, 1);
}
