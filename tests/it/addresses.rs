//! Each limit on addresses: tripped by one, told to it, counted, and not felt by another.
//!
//! The relay is behind one proxy here, so that a test can be anybody; one test uses the addresses
//! that loopback has.

use std::net::Ipv4Addr;

use lethewire::config::{Config, Limits};
use lethewire::metrics::Refusal;
use serde_json::{Value, json};
use tokio::net::{TcpSocket, TcpStream};
use tokio_tungstenite::tungstenite::{self, Message};

use crate::harness::{Answered, JSON, Member, TestRelay, TestRoom};

/// Who misbehaves, and another client.
const ROGUE: &str = "203.0.113.1";
const NEIGHBOUR: &str = "203.0.113.2";

async fn relay(adjust: impl FnOnce(&mut Limits)) -> TestRelay {
    TestRelay::start(|config: &mut Config| {
        config.server.trust_proxy = 1.into();
        adjust(&mut config.limit);
    })
    .await
}

async fn post(relay: &TestRelay, from: &str, path: &str, body: &Value) -> Answered {
    let head = format!("X-Forwarded-For: {from}\r\n{JSON}");
    relay.call("POST", path, &head, &body.to_string()).await
}

async fn create(relay: &TestRelay, from: &str) -> (TestRoom, Answered) {
    let room = TestRoom::new();
    let answer = post(relay, from, "/v1/rooms", &room.creation(Value::Null)).await;
    (room, answer)
}

/// A handshake with this token, and what plain HTTP said if it was refused.
async fn connect(relay: &TestRelay, from: &str, token: &str) -> Result<Member, Answered> {
    let protocols = format!("lethewire.v1, lethewire.bearer.{token}");
    let fields = [("sec-websocket-protocol", protocols.as_str()), ("x-forwarded-for", from)];
    match relay.handshake(&fields).await {
        Ok((member, _)) => Ok(member),
        Err(tungstenite::Error::Http(answer)) => {
            let text = |value: &tungstenite::http::HeaderValue| value.to_str().unwrap().to_owned();
            let headers = answer.headers().iter();
            Err(Answered {
                status: answer.status().as_u16(),
                headers: headers.map(|(name, value)| (name.to_string(), text(value))).collect(),
                body: answer.body().clone().unwrap_or_default(),
            })
        }
        Err(other) => panic!("{other}"),
    }
}

/// A member with a room of its own, which nobody else can disturb.
async fn join(relay: &TestRelay, from: &str) -> Member {
    let token = relay.mint(&TestRoom::new().id, "src");
    let mut member = connect(relay, from, &token).await.expect("let in");
    assert_eq!(member.control_of("welcome").await["type"], "welcome");
    member
}

/// Checks everything that a refusal tells: policy, and a wait of so many seconds before jitter.
#[track_caller]
fn assert_told(answer: &Answered, policy: &str, wait_s: std::ops::RangeInclusive<u64>) {
    let field = |name: &str| answer.header(name).unwrap_or_default().to_owned();
    assert_eq!(answer.status, 429, "{}", answer.text());
    assert_eq!(field("ratelimit-policy"), policy);
    let seconds: u64 = field("retry-after").parse().unwrap();
    let jittered = *wait_s.start()..=(wait_s.end() * 3 / 2 + 1).max(wait_s.end() + 1);
    assert!(jittered.contains(&seconds), "{seconds} for {wait_s:?}");
    let (name, _) = policy.split_once(';').unwrap();
    assert_eq!(field("ratelimit"), format!("{name};r=0;t={seconds}"));
    // The library of the test reads no body behind a refused handshake.
    if !answer.body.is_empty() {
        answer.assert_problem(429, "#quota-exceeded");
        let exact = answer.json()["retry_after_ms"].as_u64().unwrap();
        assert_eq!(exact.div_ceil(1000), seconds);
    }
}

#[tokio::test]
async fn handshakes_have_a_rate() {
    let relay = relay(|limit| limit.handshakes_per_10s = 2).await;
    let _members = [join(&relay, ROGUE).await, join(&relay, ROGUE).await];
    let token = relay.mint(&TestRoom::new().id, "src");
    let refused = connect(&relay, ROGUE, &token).await.err().expect("refused");
    assert_told(&refused, "\"handshakes\";q=2;w=10", 1..=5);
    assert_eq!(relay.totals().refused(Refusal::AddressHandshakes), 1);
    join(&relay, NEIGHBOUR).await;
    // The token was not looked at, let alone used up.
    let _member = connect(&relay, NEIGHBOUR, &token).await.expect("let in");
    relay.stop().await;
}

#[tokio::test]
async fn calls_have_a_rate() {
    let relay = relay(|limit| limit.requests_per_min = 3).await;
    let (room, _) = create(&relay, ROGUE).await;
    for _ in 0..2 {
        let answer = post(&relay, ROGUE, "/v1/owner", &room.rule("lock")).await;
        assert_eq!((answer.status, answer.header("ratelimit")), (204, None));
    }
    for path in ["/v1/rooms", "/v1/tokens", "/v1/owner"] {
        let refused = post(&relay, ROGUE, path, &room.rule("unlock")).await;
        assert_told(&refused, "\"requests\";q=3;w=60", 19..=20);
    }
    assert_eq!(relay.totals().refused(Refusal::AddressRequests), 3);
    let answer = post(&relay, NEIGHBOUR, "/v1/owner", &room.rule("unlock")).await;
    assert_eq!(answer.status, 204);
    relay.stop().await;
}

#[tokio::test]
async fn rooms_and_tokens_have_rates_and_a_token_for_a_new_room_is_free() {
    let relay = relay(|limit| (limit.room_creates_per_min, limit.tokens_per_min) = (2, 3)).await;
    let (room, made) = create(&relay, ROGUE).await;
    assert_eq!(made.status, 201);
    assert_eq!(create(&relay, ROGUE).await.1.status, 201);
    assert_told(&create(&relay, ROGUE).await.1, "\"room-creations\";q=2;w=60", 29..=30);
    // A room that is there costs what a token costs.
    for path in ["/v1/tokens", "/v1/rooms", "/v1/tokens"] {
        let body = if path == "/v1/rooms" { room.creation(Value::Null) } else { room.ask() };
        assert_eq!(post(&relay, ROGUE, path, &body).await.status, 200);
    }
    let refused = post(&relay, ROGUE, "/v1/tokens", &room.ask()).await;
    assert_told(&refused, "\"tokens\";q=3;w=60", 19..=20);
    let refused = post(&relay, ROGUE, "/v1/rooms", &room.creation(Value::Null)).await;
    assert_told(&refused, "\"tokens\";q=3;w=60", 19..=20);
    let totals = relay.totals();
    assert_eq!(totals.refused(Refusal::RoomCreations), 1);
    assert_eq!(totals.refused(Refusal::AddressTokens), 2);
    assert_eq!(create(&relay, NEIGHBOUR).await.1.status, 201);
    assert_eq!(post(&relay, NEIGHBOUR, "/v1/tokens", &room.ask()).await.status, 200);
    relay.stop().await;
}

#[tokio::test]
async fn who_asks_too_fast_is_told_to_slow_down_before_it_is_refused() {
    let relay = relay(|limit| {
        (limit.room_creates_per_min, limit.tokens_per_min) = (4, 100);
        (limit.slow_after_percent, limit.slow_max_ms) = (50, 60_000);
    })
    .await;
    for _ in 0..3 {
        assert_eq!(create(&relay, ROGUE).await.1.status, 201, "the gap comes behind the third");
    }
    let (room, slowed) = create(&relay, ROGUE).await;
    assert_told(&slowed, "\"pace\";q=1;w=60", 29..=30);
    let slowed = post(&relay, ROGUE, "/v1/tokens", &room.ask()).await;
    assert_told(&slowed, "\"pace\";q=1;w=60", 29..=30);
    assert_eq!(relay.totals().refused(Refusal::AddressPace), 2);
    assert_eq!(create(&relay, NEIGHBOUR).await.1.status, 201);
    relay.stop().await;
}

#[tokio::test]
async fn who_fails_too_often_is_told_less_and_whoever_is_right_gets_in_all_the_same() {
    let relay = relay(|limit| limit.failed_admissions_per_min = 3).await;
    let (room, _) = create(&relay, NEIGHBOUR).await;
    let mut wrong = room.ask();
    wrong["key"] = json!(TestRoom::new().key());
    let mut not_owner = room.rule("lock");
    not_owner["owner_secret"] = json!(TestRoom::new().owner_secret());
    let unknown = TestRoom::new().ask();

    post(&relay, ROGUE, "/v1/tokens", &wrong).await.assert_problem(403, "admission-failed");
    post(&relay, ROGUE, "/v1/owner", &not_owner).await.assert_problem(403, "admission-failed");
    let mut told = connect(&relay, ROGUE, "rubbish").await.expect("told by a close");
    assert_eq!(told.closed().await, (4101, "token_invalid".to_owned()));
    let policy = "\"failed-admissions\";q=3;w=60";
    for (path, body) in
        [("/v1/tokens", &unknown), ("/v1/tokens", &wrong), ("/v1/owner", &not_owner)]
    {
        assert_told(&post(&relay, ROGUE, path, body).await, policy, 60..=61);
    }
    let refused = connect(&relay, ROGUE, "rubbish").await.err().expect("refused");
    assert_told(&refused, policy, 60..=61);
    let totals = relay.totals();
    assert_eq!(totals.refused(Refusal::AddressFailures), 4);
    assert_eq!((totals.refused(Refusal::Admission), totals.refused(Refusal::Token)), (2, 1));

    // Somebody in the same office, and somebody elsewhere.
    assert_eq!(post(&relay, ROGUE, "/v1/tokens", &room.ask()).await.status, 200);
    join(&relay, ROGUE).await;
    assert_eq!(post(&relay, NEIGHBOUR, "/v1/tokens", &wrong).await.status, 403);
    let mut told = connect(&relay, NEIGHBOUR, "rubbish").await.expect("told by a close");
    assert_eq!(told.closed().await.0, 4101);
    relay.stop().await;
}

#[tokio::test]
async fn closes_for_cause_raise_the_price_of_the_next_handshake() {
    let relay = relay(|limit| (limit.faults, limit.penalty_s) = (1, 60)).await;
    let mut honest = join(&relay, ROGUE).await;
    let mut neighbour = join(&relay, NEIGHBOUR).await;
    let (room, _) = create(&relay, NEIGHBOUR).await;
    for _ in 0..2 {
        let mut rogue = join(&relay, ROGUE).await;
        rogue.raw(&[0xff]).await;
        assert_eq!(rogue.closed().await.0, 4000);
    }
    let token = relay.mint(&TestRoom::new().id, "src");
    // The close frame is on its way before the address answers for it.
    let refused = crate::harness::soon("the price", async {
        loop {
            match connect(&relay, ROGUE, &token).await {
                Err(refused) => break refused,
                Ok(member) => member.leave().await,
            }
        }
    })
    .await;
    assert_told(&refused, "\"closes-for-cause\";q=1;w=600", 58..=61);
    // A browser hears it from the calls that lead to a handshake.
    let policy = "\"closes-for-cause\";q=1;w=600";
    assert_told(&post(&relay, ROGUE, "/v1/tokens", &room.ask()).await, policy, 58..=61);
    assert_told(&create(&relay, ROGUE).await.1, policy, 58..=61);
    assert_eq!(relay.totals().refused(Refusal::AddressFaults), 3);
    // Who is connected stays, wherever it is; owners rule on; others come in.
    for member in [&mut honest, &mut neighbour] {
        member.tell(&json!({ "type": "ping", "n": 1 })).await;
        member.control_of("pong").await;
    }
    assert_eq!(post(&relay, ROGUE, "/v1/owner", &room.rule("lock")).await.status, 204);
    join(&relay, NEIGHBOUR).await;
    relay.stop().await;
}

#[tokio::test]
async fn a_client_that_behaves_pays_nothing_for_coming_and_going() {
    let relay = relay(|limit| limit.faults = 0).await;
    for _ in 0..5 {
        join(&relay, ROGUE).await.leave().await;
    }
    let member = join(&relay, ROGUE).await;
    drop(member);
    relay.until("all to be gone", |now| now.connections == 0).await;
    let mut told = connect(&relay, ROGUE, "rubbish").await.expect("told by a close");
    assert_eq!(told.closed().await.0, 4101);
    relay.until("that one to be gone", |now| now.connections == 0).await;
    join(&relay, ROGUE).await;
    relay.stop().await;
}

#[tokio::test]
async fn an_ipv6_site_has_more_than_one_network_but_not_all_of_them() {
    let relay = relay(|limit| {
        limit.connections_per_address = 1;
        limit.ipv6_56_factor = 2;
        limit.ipv6_48_factor = 3;
    })
    .await;
    let mut members = Vec::new();
    let token = || relay.mint(&TestRoom::new().id, "src");
    for (from, fits) in [
        ("2001:db8:1:100::1", true),
        ("2001:db8:1:100::2", false),
        ("2001:db8:1:101::1", true),
        ("2001:db8:1:102::1", false),
        ("[2001:db8:1:200::1]:4711", true),
        ("2001:db8:1:300::1", false),
        ("2001:db8:2:300::1", true),
        ("::ffff:203.0.113.1", true),
        ("203.0.113.1", false),
    ] {
        match connect(&relay, from, &token()).await {
            Ok(member) => {
                assert!(fits, "{from}");
                members.push(member);
            }
            Err(refused) => {
                assert!(!fits, "{from}");
                assert_told(&refused, "\"connections\";q=1;w=5", 5..=5);
            }
        }
    }
    assert_eq!(relay.totals().refused(Refusal::AddressConnections), 4);
    relay.stop().await;
}

#[tokio::test]
async fn without_a_proxy_the_sockets_address_counts() {
    let relay = TestRelay::start(|config| {
        config.limit.handshakes_per_10s = 1;
        config.limit.requests_per_min = 1;
    })
    .await;
    let ask = async |from: [u8; 4], head: &str| {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind((Ipv4Addr::from(from), 0).into()).unwrap();
        let stream: TcpStream = socket.connect(relay.addr).await.unwrap();
        let mut talk = crate::harness::Talk::over(stream);
        talk.say(format!("{head} HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 1.2.3.4\r\n\r\n")).await;
        talk.answer().await.status
    };
    for (head, status) in [("GET /v1/ws", 426), ("POST /v1/tokens", 415)] {
        assert_eq!(ask([127, 0, 0, 2], head).await, status);
        assert_eq!(ask([127, 0, 0, 2], head).await, 429);
        assert_eq!(ask([127, 0, 0, 3], head).await, status);
    }
    // What is the same for everybody costs nothing.
    for head in ["GET /live", "GET /ready", "GET /v1/info", "GET /nowhere"] {
        assert!([200, 404].contains(&ask([127, 0, 0, 2], head).await), "{head}");
    }
    relay.stop().await;
}

#[tokio::test]
async fn a_page_can_read_when_to_come_back() {
    let relay = relay(|limit| limit.requests_per_min = 1).await;
    let head = format!(
        "Origin: http://localhost:3000\r\nX-Forwarded-For: {ROGUE}\r\n\
         Access-Control-Request-Method: POST\r\n"
    );
    for status in [415, 429] {
        let preflight = relay.call("OPTIONS", "/v1/rooms", &head, "").await;
        assert_eq!(preflight.status, 204, "a preflight is free");
        let answer = relay.call("POST", "/v1/rooms", &head, "").await;
        assert_eq!(answer.status, status);
        assert_eq!(answer.header("access-control-allow-origin"), Some("http://localhost:3000"));
        let exposed = answer.header("access-control-expose-headers").unwrap();
        for name in ["retry-after", "ratelimit", "ratelimit-policy"] {
            assert!(exposed.split(", ").any(|known| known == name), "{exposed}");
        }
    }
    relay.stop().await;
}

#[tokio::test]
async fn without_tracking_nobody_is_limited_and_nothing_is_kept() {
    let relay = TestRelay::start(|config| {
        config.feature.ip_tracking = false;
        config.limit.connections_per_address = 1;
        config.limit.handshakes_per_10s = 1;
        config.limit.requests_per_min = 1;
        config.limit.room_creates_per_min = 1;
        config.limit.failed_admissions_per_min = 1;
        config.limit.faults = 0;
    })
    .await;
    let mut members = Vec::new();
    for _ in 0..3 {
        members.push(relay.join(&relay.create_room().await).await);
        let unknown = TestRoom::new().ask();
        assert_eq!(relay.post("/v1/tokens", &unknown).await.status, 403);
        let mut rogue = relay.join(&relay.create_room().await).await;
        rogue.message(Message::binary(vec![0xff])).await;
        assert_eq!(rogue.closed().await.0, 4000);
    }
    relay.stop().await;
}
