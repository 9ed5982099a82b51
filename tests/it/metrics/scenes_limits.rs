//! Scenes of limits: each is hit by one who does too much.

use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use super::scenes::{ends_with, free};
use super::seen::Seen;
use crate::harness::{Member, TestRelay, TestRoom};
use lethewire::config::Config;

/// What a member may send.
pub(super) async fn of_members(seen: &Seen) {
    let relay = TestRelay::start(|config| {
        free(config);
        config.limit.payload_bytes = 3000;
        config.limit.messages_per_10s = 5;
        config.limit.bytes_per_10s = 4000;
        config.limit.frames_per_10s = 10;
        config.limit.pings_per_10s = 5;
        config.limit.raw_bytes_per_10s = 8000;
        config.limit.fanout_bytes_per_10s = 2000;
        config.limit.room_fanout_bytes_per_10s = 2000;
    })
    .await;
    let (mut rogue, _) = relay.two_members().await;
    for _ in 0..8 {
        rogue.say(b"x").await;
    }
    ends_with(&mut rogue, 4201).await;
    let (mut rogue, _other) = relay.two_members().await;
    // Each is so much over its limit that what comes back in the seconds of a slow machine is less.
    for _ in 0..2 {
        rogue.say(&[1; 2900]).await;
    }
    rogue.control_of("error").await;
    let (mut rogue, mut other) = relay.two_members().await;
    for payload in [1600, 1600] {
        rogue.say(&vec![1; payload]).await;
    }
    rogue.control_of("error").await;
    other.data().await;
    other.say(&[2; 1600]).await;
    other.control_of("error").await;
    let (mut frames, mut pings) = relay.two_members().await;
    // Some more than may be, for there is one a second again.
    for _ in 0..14 {
        frames.message(Message::Pong(Vec::new().into())).await;
    }
    for _ in 0..8 {
        pings.message(Message::Ping(Vec::new().into())).await;
    }
    ends_with(&mut frames, 4201).await;
    ends_with(&mut pings, 4201).await;
    let (mut raw, mut large) = relay.two_members().await;
    // Refused for their bytes, of which the third refusal would be the end: this limit comes first,
    // however they are cut into reads.
    for _ in 0..4 {
        raw.say(&[1; 2900]).await;
    }
    large.say(&[1; 3001]).await;
    ends_with(&mut raw, 4201).await;
    ends_with(&mut large, 1009).await;
    let limits = ["messages", "strikes", "bytes", "fanout", "room_fanout", "frames", "pings"];
    for limit in limits.iter().chain(&["raw_bytes", "payload_bytes"]) {
        seen.until(&relay, &[&format!("limit_hits_total{{limit=\"{limit}\"}}")]).await;
    }
    seen.until(&relay, &["websockets_closed_total{reason=\"rate_limited\"}"]).await;
    relay.stop().await;
}

/// A relay behind a proxy, and the status of a request of somebody's.
async fn relay(adjust: impl FnOnce(&mut Config)) -> TestRelay {
    TestRelay::start(|config| {
        config.server.trust_proxy = 1.into();
        adjust(config);
    })
    .await
}

async fn create(relay: &TestRelay) -> u16 {
    let body = TestRoom::new().creation(Value::Null).to_string();
    let head = format!("X-Forwarded-For: 203.0.113.1\r\n{}", crate::harness::JSON);
    relay.call("POST", "/v1/rooms", &head, &body).await.status
}

async fn joins(relay: &TestRelay, from: &str) -> Option<Member> {
    let token = relay.mint(&TestRoom::new().id, "src");
    let protocols = format!("lethewire.v1, lethewire.bearer.{token}");
    let fields = [("sec-websocket-protocol", protocols.as_str()), ("x-forwarded-for", from)];
    relay.handshake(&fields).await.ok().map(|(member, _)| member)
}

const ROGUE: &str = "203.0.113.1";

/// How often an address may come.
pub(super) async fn of_addresses(seen: &Seen) {
    let handshakes = relay(|config| config.limit.handshakes_per_10s = 1).await;
    let _member = joins(&handshakes, ROGUE).await.expect("let in");
    assert!(joins(&handshakes, ROGUE).await.is_none());
    seen.look(&handshakes).await;
    handshakes.stop().await;

    let connections = relay(|config| config.limit.connections_per_address = 1).await;
    let _member = joins(&connections, ROGUE).await.expect("let in");
    assert!(joins(&connections, ROGUE).await.is_none());
    seen.look(&connections).await;
    connections.stop().await;

    let requests = relay(|config| config.limit.requests_per_min = 1).await;
    assert_eq!((create(&requests).await, create(&requests).await), (201, 429));
    seen.look(&requests).await;
    requests.stop().await;

    let rooms = relay(|config| config.limit.room_creates_per_min = 1).await;
    assert_eq!((create(&rooms).await, create(&rooms).await), (201, 429));
    let unnamed = rooms.call("POST", "/v1/rooms", crate::harness::JSON, "{}").await;
    assert_eq!(unnamed.status, 400, "no X-Forwarded-For");
    seen.look(&rooms).await;
    rooms.stop().await;

    let known = relay(|config| config.limit.addresses = 1).await;
    let _member = joins(&known, ROGUE).await.expect("let in");
    assert!(joins(&known, "203.0.113.2").await.is_none());
    seen.look(&known).await;
    known.stop().await;
}

/// How an address behaves.
pub(super) async fn of_behaviour(seen: &Seen) {
    let pace = relay(|config| {
        (config.limit.room_creates_per_min, config.limit.tokens_per_min) = (4, 100);
        (config.limit.slow_after_percent, config.limit.slow_max_ms) = (50, 60_000);
    })
    .await;
    for status in [201, 201, 201, 429] {
        assert_eq!(create(&pace).await, status);
    }
    seen.look(&pace).await;
    pace.stop().await;

    let failures = TestRelay::start(|config| config.limit.failed_admissions_per_min = 1).await;
    for status in [403, 429] {
        assert_eq!(failures.post("/v1/tokens", &TestRoom::new().ask()).await.status, status);
    }
    seen.look(&failures).await;
    failures.stop().await;

    let tokens = TestRelay::start(|config| config.limit.tokens_per_min = 1).await;
    let room = tokens.create_room().await;
    for status in [200, 429] {
        assert_eq!(tokens.post("/v1/tokens", &room.ask()).await.status, status);
    }
    seen.look(&tokens).await;
    tokens.stop().await;

    let faults = relay(|config| (config.limit.faults, config.limit.penalty_s) = (0, 60)).await;
    while let Some(mut rogue) = joins(&faults, ROGUE).await {
        rogue.raw(&[0xff]).await;
        ends_with(&mut rogue, 4000).await;
    }
    seen.until(&faults, &["limit_hits_total{limit=\"address_faults\"}"]).await;
    faults.stop().await;
}

/// How much there may be of something.
pub(super) async fn of_tables(seen: &Seen) {
    let sockets = TestRelay::start(|config| config.limit.connections = 1).await;
    let _one = sockets.talk().await;
    sockets.until("it is there", |now| now.connections == 1).await;
    assert_eq!(sockets.get("/v1/info").await.status, 503);
    seen.look(&sockets).await;
    sockets.stop().await;

    let memory = TestRelay::start(|config| config.limit.memory_bytes = 1 << 20).await;
    assert_eq!(memory.post("/v1/rooms", &json!({})).await.status, 503);
    seen.look(&memory).await;
    memory.stop().await;

    let records = TestRelay::start(|config| config.room.rooms_max = 1).await;
    let _room = records.create_room().await;
    let more = records.post("/v1/rooms", &TestRoom::new().creation(Value::Null)).await;
    assert_eq!(more.status, 503);
    seen.look(&records).await;
    records.stop().await;

    let used = TestRelay::start(|config| config.token.replay_entries_max = 1).await;
    let room = used.create_room().await;
    let _member = used.join(&room).await;
    let token = used.token(&room).await;
    assert_eq!(used.refused_with(&token).await.0, 1013);
    seen.look(&used).await;
    used.stop().await;
}
