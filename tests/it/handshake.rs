//! The WebSocket handshake: what it must look like, whom it lets in, and how it says no.

use lethewire::metrics::{Count, Refusal};
use serde_json::json;
use tokio_tungstenite::tungstenite::{self, Message};

use crate::harness::{Answered, Heard, Member, Talk, TestRelay, TestRoom, random};

/// A well-formed handshake's head, with these lines in place of the ones of the same name; an empty
/// line leaves one out.
fn handshake(request: &str, lines: &[&str]) -> String {
    let mut head = vec![
        "Host: relay.example".to_owned(),
        "Upgrade: websocket".to_owned(),
        "Connection: Upgrade".to_owned(),
        "Sec-WebSocket-Version: 13".to_owned(),
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==".to_owned(),
        "Sec-WebSocket-Protocol: lethewire.v1".to_owned(),
    ];
    for line in lines {
        let name = line.split(':').next().unwrap();
        head.retain(|known| known.split(':').next() != Some(name));
        head.extend((!line.ends_with(':')).then(|| (*line).to_owned()));
    }
    format!("{request} HTTP/1.1\r\n{}\r\n\r\n", head.join("\r\n"))
}

async fn answer_to(relay: &TestRelay, head: &str) -> (Talk, Answered) {
    let mut talk = relay.talk().await;
    talk.say(head).await;
    let answer = talk.answer().await;
    (talk, answer)
}

#[tokio::test]
async fn the_answer_is_that_of_rfc_6455_and_never_shows_the_token() {
    let relay = TestRelay::start(|_| ()).await;
    let room = relay.create_room().await;
    let token = relay.token(&room).await;
    let protocols = format!("Sec-WebSocket-Protocol: lethewire.bearer.{token} , lethewire.v1");
    let (_talk, answer) = answer_to(&relay, &handshake("GET /v1/ws", &[&protocols])).await;
    assert_eq!(answer.status, 101);
    // The key and its answer are those of RFC 6455, section 1.3.
    assert_eq!(answer.header("sec-websocket-accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    assert_eq!(answer.header("upgrade"), Some("websocket"));
    assert_eq!(answer.header("sec-websocket-protocol"), Some("lethewire.v1"));
    assert_eq!(answer.header("sec-websocket-extensions"), None);
    assert_eq!(answer.header("content-length"), None);
    assert_eq!(answer.header("x-content-type-options"), None, "there is no document");
    assert!(!format!("{answer:?}").contains(&token));
    assert_eq!(relay.count(Count::Upgrades), 1);
    relay.stop().await;
}

#[tokio::test]
async fn a_malformed_handshake_is_refused_in_plain_http() {
    let relay = TestRelay::start(|_| ()).await;
    let duplicate = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
        Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==";
    let cases: [(u16, &[&str]); 21] = [
        (426, &["Upgrade:"]),
        (426, &["Upgrade: h2c"]),
        (426, &["Connection:"]),
        (426, &["Connection: keep-alive"]),
        (426, &["Sec-WebSocket-Version:"]),
        (426, &["Sec-WebSocket-Version: 8"]),
        (426, &["Sec-WebSocket-Version: 777"]),
        (426, &["Sec-WebSocket-Version: 13, 8"]),
        (426, &["Sec-WebSocket-Version: 13\r\nSec-WebSocket-Version: 13"]),
        (400, &["Sec-WebSocket-Key:"]),
        (400, &[duplicate]),
        (400, &["Sec-WebSocket-Key: AAAA"]),
        (400, &["Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ"]),
        (400, &["Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZR=="]),
        (400, &["Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAAA="]),
        (400, &["Sec-WebSocket-Key: -_-_-_-_-_-_-_-_-_-_-w=="]),
        (400, &["Content-Length: 0"]),
        (400, &["Content-Length: 5"]),
        (411, &["Transfer-Encoding: chunked"]),
        (400, &["Host:"]),
        (403, &["Origin: https://evil.example"]),
    ];
    for (status, lines) in cases {
        let (_talk, answer) = answer_to(&relay, &handshake("GET /v1/ws", lines)).await;
        assert_eq!(answer.status, status, "{lines:?}");
        assert_eq!(answer.header("content-type"), Some("application/problem+json"));
        if status == 426 {
            assert_eq!(answer.header("sec-websocket-version"), Some("13"));
            assert_eq!(answer.header("upgrade"), Some("websocket"));
        }
    }
    // Host, body and origin are refused before anybody looks for a handshake.
    assert_eq!(relay.totals().refused(Refusal::Upgrade), 17);
    for (status, request) in
        [(405, "POST /v1/ws"), (400, "GET /v1/ws?token=x"), (400, "GET /v1/ws?")]
    {
        let (_talk, answer) = answer_to(&relay, &handshake(request, &[])).await;
        assert_eq!(answer.status, status, "{request}");
    }
    let old = handshake("GET /v1/ws", &[]).replace("HTTP/1.1", "HTTP/1.0");
    assert_eq!(answer_to(&relay, &old).await.1.status, 400);
    assert_eq!(relay.count(Count::Upgrades), 0);
    relay.stop().await;
}

#[tokio::test]
async fn a_request_hidden_behind_a_refused_handshake_is_not_served() {
    let relay = TestRelay::start(|_| ()).await;
    let hidden = "GET /live HTTP/1.1\r\nHost: a\r\n\r\n";
    let length = format!("Content-Length: {}", hidden.len());
    let (talk, answer) =
        answer_to(&relay, &format!("{}{hidden}", handshake("GET /v1/ws", &[&length]))).await;
    assert_eq!((answer.status, answer.header("connection")), (400, Some("close")));
    assert_eq!(talk.ended().await, b"");
    relay.stop().await;
}

#[tokio::test]
async fn header_names_and_lists_are_read_as_http_says() {
    let relay = TestRelay::start(|_| ()).await;
    let room = relay.create_room().await;
    let token = relay.token(&room).await;
    let bearer = format!(
        "Sec-WebSocket-Protocol: chat\r\nSec-WebSocket-Protocol: lethewire.v1\r\n\
         Sec-WebSocket-Protocol:lethewire.bearer.{token}"
    );
    let lines = ["Connection: keep-alive, UPGRADE", "Upgrade: foo, WebSocket", &bearer];
    let (_talk, answer) = answer_to(&relay, &handshake("GET /v1/ws", &lines)).await;
    assert_eq!(answer.status, 101);
    relay.until("the member", |now| now.count(Count::Joins) == 1).await;
    relay.stop().await;
}

#[tokio::test]
async fn pages_of_listed_origins_and_native_clients_may_connect() {
    let relay = TestRelay::start(|config| {
        config.cors.allowed_origins = vec!["https://chat.example".to_owned()];
    })
    .await;
    for (origin, status) in [
        ("Origin: https://chat.example", 101),
        ("Origin:", 101),
        ("Origin: null", 403),
        ("Origin: http://chat.example", 403),
        ("Origin: https://chat.example, https://chat.example", 403),
        ("Origin: https://chat.example\r\nOrigin: https://chat.example", 403),
    ] {
        let (_talk, answer) = answer_to(&relay, &handshake("GET /v1/ws", &[origin])).await;
        assert_eq!(answer.status, status, "{origin}");
    }
    relay.stop().await;
}

/// Completes a handshake with these subprotocols and says how it was closed.
async fn closed_for(relay: &TestRelay, protocols: &str) -> (u16, String) {
    let fields = [("sec-websocket-protocol", protocols)];
    // The test client insists on an answer when it offers something, like browsers; so it offers
    // nothing that it could miss.
    let (mut member, _) = relay.handshake(&fields).await.expect("upgraded");
    member.closed().await
}

#[tokio::test]
async fn another_version_is_told_after_the_handshake() {
    let relay = TestRelay::start(|_| ()).await;
    let room = relay.create_room().await;
    for offer in
        ["lethewire.v2, lethewire.bearer.", "lethewire.bearer.", "LETHEWIRE.V1, lethewire.bearer."]
    {
        let token = relay.token(&room).await;
        let line = format!("Sec-WebSocket-Protocol: {offer}{token}");
        let (mut talk, answer) = answer_to(&relay, &handshake("GET /v1/ws", &[&line])).await;
        assert_eq!(answer.status, 101, "{offer}");
        assert_eq!(answer.header("sec-websocket-protocol"), None, "nothing was agreed on");
        let expected = [&[0x88, 21, 0x0f, 0xa1][..], b"unsupported_version"].concat();
        assert_eq!(talk.next(expected.len()).await, expected, "{offer}");
        relay.join_with(&token).await;
    }
    let (mut member, _) = relay.handshake(&[]).await.expect("upgraded");
    assert_eq!(member.closed().await, (4001, "unsupported_version".to_owned()));
    assert_eq!(relay.totals().refused(Refusal::Version), 4);
    relay.stop().await;
}

#[tokio::test]
async fn a_token_may_come_as_authorization() {
    let relay = TestRelay::start(|_| ()).await;
    let room = relay.create_room().await;
    for scheme in ["Bearer", "bearer"] {
        let value = format!("{scheme} {}", relay.token(&room).await);
        let fields = [("sec-websocket-protocol", "lethewire.v1"), ("authorization", &*value)];
        let (mut member, headers) = relay.handshake(&fields).await.expect("upgraded");
        assert_eq!(headers["sec-websocket-protocol"], "lethewire.v1");
        member.control_of("welcome").await;
    }
    relay.stop().await;
}

#[tokio::test]
async fn token_faults_are_told_after_the_handshake() {
    let relay = TestRelay::start(|_| ()).await;
    let room = relay.create_room().await;
    let good = relay.token(&room).await;
    let (missing, invalid) =
        ((4100, "token_missing".to_owned()), (4101, "token_invalid".to_owned()));
    assert_eq!(closed_for(&relay, "lethewire.v1").await, missing);

    let mut flipped = good.clone().into_bytes();
    let last = flipped.last_mut().unwrap();
    *last = if *last == b'A' { b'E' } else { b'A' };
    let flipped = String::from_utf8(flipped).unwrap();
    assert_eq!(relay.refused_with("").await, missing);
    for token in ["x", "a.b.c", &flipped, &format!("{good}="), &"x".repeat(2000)] {
        assert_eq!(relay.refused_with(token).await, invalid, "{token}");
    }

    let two = format!("lethewire.v1, lethewire.bearer.{good}, lethewire.bearer.{good}");
    assert_eq!(closed_for(&relay, &two).await, invalid);
    let basic = [("sec-websocket-protocol", "lethewire.v1"), ("authorization", "Basic eDp5")];
    let (mut member, _) = relay.handshake(&basic).await.expect("upgraded");
    assert_eq!(member.closed().await, missing);

    let mut old = crate::harness::unix_now();
    old.0 -= 1000;
    let expired = relay.mint_at(&room.id, "sr", old, None);
    assert_eq!(relay.refused_with(&expired).await, (4102, "token_expired".to_owned()));

    let nowhere = relay.mint(&TestRoom::new().id, "sr");
    assert_eq!(relay.refused_with(&nowhere).await, invalid, "a room that is not there");

    relay.join_with(&good).await;
    assert_eq!(relay.refused_with(&good).await, (4104, "token_used".to_owned()));
    assert_eq!(relay.totals().refused(Refusal::TokenUsed), 1);
    relay.stop().await;
}

#[tokio::test]
async fn of_many_uses_of_a_token_at_once_one_succeeds() {
    let relay = TestRelay::start(|_| ()).await;
    let room = relay.create_room().await;
    let token = relay.token(&room).await;
    let outcomes = futures_util::future::join_all((0..8).map(|_| async {
        let mut member = relay.connect(&token).await;
        let heard = member.hear().await;
        (member, heard)
    }))
    .await;
    let welcomed = outcomes.iter().filter(|(_, heard)| matches!(heard, Heard::Control(_)));
    assert_eq!(welcomed.count(), 1);
    let used = Heard::Closed(4104, "token_used".to_owned());
    assert_eq!(outcomes.iter().filter(|(_, heard)| *heard == used).count(), 7);
    relay.stop().await;
}

#[tokio::test]
async fn a_refusal_for_another_reason_does_not_use_the_token_up() {
    let relay = TestRelay::start(|_| ()).await;
    let room = relay.create_room_with(json!({ "members_max": 2 })).await;
    let token = relay.token(&room).await;
    let (first, mut second) = (relay.join(&room).await, relay.join(&room).await);
    let full = relay.connect(&token).await.closed().await;
    assert_eq!(full.0, 4204, "{}", full.1);
    assert!(full.1.starts_with("room_full"), "{}", full.1);

    first.leave().await;
    second.control_of("leave").await;
    relay.join_with(&token).await;
    relay.stop().await;
}

#[tokio::test]
async fn without_replay_protection_a_token_is_good_until_it_expires() {
    let relay = TestRelay::start(|config| config.feature.token_replay_protection = false).await;
    let room = relay.create_room().await;
    let token = relay.token(&room).await;
    relay.join_with(&token).await;
    relay.join_with(&token).await;
    relay.stop().await;
}

#[tokio::test]
async fn when_no_more_used_tokens_can_be_remembered_nobody_gets_in() {
    let relay = TestRelay::start(|config| config.token.replay_entries_max = 1).await;
    let room = relay.create_room().await;
    let mut first = relay.join(&room).await;
    let token = relay.token(&room).await;
    let (code, reason) = relay.refused_with(&token).await;
    assert_eq!(code, 1013, "{reason}");
    assert_eq!(relay.totals().refused(Refusal::ReplayFull), 1);
    let sent = first.id();
    first.send(Member::ECHO, 0, b"alone").await;
    let heard = first.data().await;
    assert_eq!((heard.from, heard.seq), (sent, 2), "nobody had joined");
    relay.stop().await;
}

#[tokio::test]
async fn a_token_that_may_create_makes_its_room() {
    let relay = TestRelay::start(|config| {
        config.room.admission = lethewire::config::Admission::Backend;
    })
    .await;
    let room = lethewire::core::id::RoomId::new(&random::<32>()).unwrap();
    let (code, _) = relay.refused_with(&relay.mint(&room, "sr")).await;
    assert_eq!(code, 4101);
    let member = relay.join_with(&relay.mint(&room, "src")).await;
    assert_eq!(member.welcome["cap"], "src");
    relay.join_with(&relay.mint(&room, "sr")).await;
    assert_eq!(relay.count(Count::RecordsMade), 1);
    relay.stop().await;
}

#[tokio::test]
async fn a_room_that_a_token_made_learns_its_owner_from_the_certificate() {
    let relay = TestRelay::start(|_| ()).await;
    let room = TestRoom::new();
    let _member = relay.join_with(&relay.mint(&room.id, "src")).await;
    relay.post("/v1/tokens", &room.ask()).await.assert_problem(403, "admission-failed");
    relay.post("/v1/owner", &room.rule("lock")).await.assert_problem(403, "admission-failed");
    let found = relay.post("/v1/rooms", &room.creation(serde_json::Value::Null)).await;
    assert_eq!(found.status, 200);
    assert_eq!(relay.post("/v1/tokens", &room.ask()).await.status, 200);
    assert_eq!(relay.post("/v1/owner", &room.rule("lock")).await.status, 204);
    relay.stop().await;
}

#[tokio::test]
async fn what_follows_the_handshake_at_once_is_not_lost() {
    let relay = TestRelay::start(|_| ()).await;
    let room = relay.create_room().await;
    let token = relay.token(&room).await;
    let line = format!("Sec-WebSocket-Protocol: lethewire.v1, lethewire.bearer.{token}");
    let ping = br#"{"type":"ping","n":7}"#;
    // A masked text frame whose mask is zero.
    let mut bytes = handshake("GET /v1/ws", &[&line]).into_bytes();
    bytes.extend([0x81, 0x80 | u8::try_from(ping.len()).unwrap(), 0, 0, 0, 0]);
    bytes.extend(ping);
    let mut talk = relay.talk().await;
    talk.say(&bytes).await;
    assert_eq!(talk.head().await.status, 101);
    talk.until(br#"{"type":"pong","n":7}"#).await;
    relay.stop().await;
}

#[tokio::test]
async fn behind_a_proxy_the_client_is_who_the_proxy_says() {
    let relay = TestRelay::start(|config| {
        config.server.trust_proxy = 1.into();
        config.limit.connections_per_address = 1;
        config.limit.room_creates_per_min = 1;
    })
    .await;
    assert_eq!(relay.get("/v1/info").await.status, 200, "needs no client");
    for (method, path) in [("POST", "/v1/rooms"), ("POST", "/v1/tokens"), ("GET", "/v1/ws")] {
        relay.call(method, path, "", "").await.assert_problem(400, "bad-request");
        let junk = "X-Forwarded-For: nobody\r\n";
        relay.call(method, path, junk, "").await.assert_problem(400, "bad-request");
    }
    assert_eq!(relay.totals().refused(Refusal::Forwarded), 6);

    let from = |client: &str| format!("X-Forwarded-For: 198.51.100.1, {client}");
    let connect = async |client: &str| {
        let head = handshake("GET /v1/ws", &[&from(client), &bearer(&relay)]);
        answer_to(&relay, &head).await
    };
    let (one, answer) = connect("203.0.113.1").await;
    assert_eq!(answer.status, 101);
    let (_, answer) = connect("203.0.113.1").await;
    assert_eq!((answer.status, answer.header("retry-after").is_some()), (429, true));
    let (_two, answer) = connect("203.0.113.2").await;
    assert_eq!(answer.status, 101, "another client behind the same proxy");
    drop(one);
    relay.until("the first to be gone", |now| now.members == 1).await;
    relay.until("its place to be free", |now| now.connections == 1).await;
    let (_again, answer) = connect("203.0.113.1").await;
    assert_eq!(answer.status, 101);
    relay.stop().await;
}

#[tokio::test]
async fn who_is_no_listed_proxy_cannot_say_who_the_client_is() {
    let relay = TestRelay::start(|config| {
        config.server.trust_proxy = 1.into();
        config.server.trust_proxy_from = vec!["192.0.2.0/24".parse().unwrap()];
    })
    .await;
    assert_eq!(relay.get("/v1/info").await.status, 200, "needs no client");
    let claims = "X-Forwarded-For: 203.0.113.1\r\n";
    for (method, path) in [("POST", "/v1/rooms"), ("POST", "/v1/tokens"), ("GET", "/v1/ws")] {
        relay.call(method, path, claims, "").await.assert_problem(400, "bad-request");
    }
    assert_eq!(relay.totals().refused(Refusal::Forwarded), 3);
    relay.stop().await;
}

/// The subprotocols of a handshake with a fresh token for a fresh room.
fn bearer(relay: &TestRelay) -> String {
    let room = lethewire::core::id::RoomId::new(&random::<16>()).unwrap();
    let token = relay.mint(&room, "src");
    format!("Sec-WebSocket-Protocol: lethewire.v1, lethewire.bearer.{token}")
}

#[tokio::test]
async fn a_second_upgrade_on_a_member_is_not_http_any_more() {
    let relay = TestRelay::start(|_| ()).await;
    let room = relay.create_room().await;
    let mut member = relay.join(&room).await;
    member.message(Message::text("GET /live HTTP/1.1\r\n\r\n")).await;
    assert_eq!(member.closed().await.0, 4000);
    relay.stop().await;
}

#[tokio::test]
async fn a_plain_refusal_is_what_a_client_library_sees() {
    let relay = TestRelay::start(|_| ()).await;
    let refused = relay.handshake(&[("origin", "https://evil.example")]).await;
    let Err(tungstenite::Error::Http(answer)) = refused else { panic!("not refused") };
    assert_eq!(answer.status(), 403);
    relay.stop().await;
}
