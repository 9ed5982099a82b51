//! Each limit on members: tripped by one, told to it with its code, and not felt by another.

use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::{Error, Message};

use crate::harness::{Heard, JSON, Member, TestRelay, TestRoom, call, masked, soon};
use lethewire::config::Config;
use lethewire::metrics::{Count, Dropped};

/// A relay, and a room with somebody who misbehaves and two who talk to each other.
struct Scene {
    relay: TestRelay,
    room: TestRoom,
    rogue: Member,
    alice: Member,
    bob: Member,
}

impl Scene {
    async fn with(adjust: impl FnOnce(&mut Config)) -> Self {
        let relay = TestRelay::start(adjust).await;
        let room = relay.create_room().await;
        let mut alice = relay.join(&room).await;
        let mut bob = relay.join(&room).await;
        let rogue = relay.join(&room).await;
        for _ in 0..2 {
            alice.control_of("join").await;
        }
        bob.control_of("join").await;
        Self { relay, room, rogue, alice, bob }
    }

    /// The rogue is closed with this code, the others hear that it is gone and go on.
    async fn ends_with(mut self, code: u16, name: &str) {
        let (told, reason) = loop {
            match self.rogue.hear().await {
                Heard::Closed(code, reason) => break (code, reason),
                Heard::Lost => panic!("lost without a word"),
                Heard::Data(_) | Heard::Control(_) => {}
            }
        };
        assert_eq!((told, reason.split(';').next()), (code, Some(name)));
        for member in [&mut self.alice, &mut self.bob] {
            assert_eq!(next_leave(member).await["member"], self.rogue.id());
        }
        self.neighbours_talk().await;
        self.relay.stop().await;
    }

    async fn neighbours_talk(&mut self) {
        self.alice.say(b"still here?").await;
        while self.bob.data().await.payload != b"still here?" {}
        self.bob.say(b"yes").await;
        while self.alice.data().await.payload != b"yes" {}
    }
}

/// The next `leave`, past whatever was said before it.
async fn next_leave(member: &mut Member) -> serde_json::Value {
    loop {
        match member.hear().await {
            Heard::Control(control) if control["type"] == "leave" => return control,
            Heard::Data(_) => {}
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_payload_has_a_largest_size() {
    let mut scene = Scene::with(|config| config.limit.payload_bytes = 1000).await;
    scene.rogue.say(&[1; 1000]).await;
    assert_eq!(scene.alice.data().await.payload.len(), 1000);
    scene.rogue.say(&[1; 1001]).await;
    scene.ends_with(1009, "too_large").await;
}

#[tokio::test]
async fn a_direct_message_may_be_as_large_as_any() {
    let mut scene = Scene::with(|config| config.limit.payload_bytes = 1000).await;
    scene.rogue.send_to(&scene.alice.id(), 0, 0, &[1; 1000]).await;
    assert_eq!(scene.alice.data().await.payload.len(), 1000);
    scene.rogue.send_to(&scene.alice.id(), 0, 0, &[1; 1001]).await;
    scene.ends_with(1009, "too_large").await;
}

#[tokio::test]
async fn messages_over_the_rate_are_refused_and_then_the_member_is() {
    let mut scene = Scene::with(|config| config.limit.messages_per_10s = 5).await;
    for i in 0..5 {
        scene.rogue.send(0, i, b"x").await;
    }
    for reference in [5, 6] {
        scene.rogue.send(0, reference, b"x").await;
        let error = scene.rogue.control_of("error").await;
        assert_eq!((&error["code"], &error["ref"]), (&json!("rate_limited"), &json!(reference)));
        let wait = error["retry_after_ms"].as_u64().unwrap();
        assert!((1..=2001).contains(&wait), "{wait}");
    }
    scene.rogue.send(0, 7, b"x").await;
    scene.ends_with(4201, "rate_limited").await;
}

#[tokio::test]
async fn as_many_messages_as_are_allowed_may_come_in_one_go() {
    let mut scene = Scene::with(|_| ()).await;
    let allowed = Config::default().limit.messages_per_10s;
    // Together they are one read, so that all are looked at in the same moment.
    let messages = 0..=u16::try_from(allowed).unwrap();
    let burst: Vec<u8> = messages
        .map(|reference| [&[1, 0][..], &reference.to_be_bytes(), b"x"].concat())
        .flat_map(|message| masked(0x82, &message))
        .collect();
    let id = scene.rogue.id();
    let mut rogue = scene.rogue.into_stream();
    rogue.write_all(&burst).await.unwrap();
    for _ in 0..allowed {
        assert_eq!(scene.alice.data().await.from, id);
    }
    assert_eq!(scene.relay.count(Count::FramesRefused), 1);
    scene.relay.stop().await;
}

#[tokio::test]
async fn bytes_over_the_rate_are_refused() {
    let mut scene = Scene::with(|config| config.limit.bytes_per_10s = 1000).await;
    scene.rogue.send(0, 1, &[0; 900]).await;
    scene.rogue.send(0, 2, &[0; 200]).await;
    assert_eq!(scene.rogue.control_of("error").await["ref"], 2);
    // Less than that fits, and the refusal did not cost anything.
    scene.rogue.send(Member::ACK, 3, &[0; 100]).await;
    assert_eq!(scene.rogue.control_of("ack").await["ref"], 3);
    assert_eq!(scene.relay.count(Count::FramesRefused), 1);
    scene.neighbours_talk().await;
    scene.relay.stop().await;
}

#[tokio::test]
async fn fan_out_over_the_rate_is_refused_and_then_the_member_is() {
    let mut scene = Scene::with(|config| config.limit.fanout_bytes_per_10s = 1000).await;
    // Two receivers: 800 of the 1000. Then 300 more are too many, but not for one receiver.
    scene.rogue.send(0, 1, &[1; 400]).await;
    scene.rogue.send(0, 2, &[2; 150]).await;
    let error = scene.rogue.control_of("error").await;
    assert_eq!((&error["code"], &error["ref"]), (&json!("rate_limited"), &json!(2)));
    assert!((1..=1001).contains(&error["retry_after_ms"].as_u64().unwrap()), "{error}");
    scene.rogue.send_to(&scene.alice.id(), Member::ACK, 3, &[3; 150]).await;
    assert_eq!(scene.rogue.control_of("ack").await["ref"], 3);
    let heard = [scene.alice.data().await, scene.alice.data().await].map(|data| data.payload.len());
    assert_eq!(heard, [400, 150]);
    for reference in [4, 5] {
        scene.rogue.send(0, reference, &[4; 400]).await;
    }
    scene.ends_with(4201, "rate_limited").await;
}

#[tokio::test]
async fn the_fan_out_of_a_room_is_nobodys_fault() {
    let mut scene = Scene::with(|config| {
        config.limit.fanout_bytes_per_10s = 1000;
        config.limit.room_fanout_bytes_per_10s = 1500;
    })
    .await;
    let other_room = scene.relay.create_room().await;
    let mut carol = scene.relay.join(&other_room).await;
    let mut dave = scene.relay.join(&other_room).await;
    scene.rogue.send(0, 1, &[1; 500]).await;
    assert_eq!(scene.alice.data().await.payload.len(), 500);
    // Alice keeps to her own limit, and is refused as often as she likes to try.
    for reference in 0..5 {
        scene.alice.send(0, reference, &[2; 400]).await;
        let error = scene.alice.control_of("error").await;
        assert_eq!((&error["code"], &error["ref"]), (&json!("rate_limited"), &json!(reference)));
    }
    scene.neighbours_talk().await;
    // A message that alone costs more than the limit goes when the bucket is full.
    carol.control_of("join").await;
    carol.send(0, 1, &[3; 2000]).await;
    assert_eq!(dave.data().await.payload.len(), 2000);
    scene.relay.stop().await;
}

#[tokio::test]
async fn the_raw_socket_is_metered_in_bytes() {
    let mut scene = Scene::with(|config| config.limit.raw_bytes_per_10s = 10_000).await;
    for _ in 0..11 {
        scene.rogue.say(&[0; 1000]).await;
    }
    scene.ends_with(4201, "rate_limited").await;
}

#[tokio::test]
async fn the_raw_socket_is_metered_in_frames() {
    let mut scene = Scene::with(|config| config.limit.frames_per_10s = 20).await;
    for _ in 0..21 {
        scene.rogue.message(Message::Pong(Vec::new().into())).await;
    }
    scene.ends_with(4201, "rate_limited").await;
}

#[tokio::test]
async fn pings_are_answered_up_to_a_limit() {
    let mut scene = Scene::with(|_| ()).await;
    for _ in 0..5 {
        scene.rogue.message(Message::Ping(b"x".to_vec().into())).await;
        scene.rogue.tell(&json!({ "type": "ping", "n": 1 })).await;
    }
    for _ in 0..5 {
        scene.rogue.control_of("pong").await;
    }
    scene.rogue.message(Message::Ping(Vec::new().into())).await;
    scene.ends_with(4201, "rate_limited").await;
}

/// Sends raw bytes as the rogue, and returns the close frame that it gets, and the socket.
async fn answer_to_bytes(rogue: Member, bytes: &[u8]) -> (u16, Vec<u8>, TcpStream) {
    let mut stream = rogue.into_stream();
    stream.write_all(bytes).await.unwrap();
    let mut heard = Vec::new();
    loop {
        let mut buffer = [0; 4096];
        let count = soon("the close frame", stream.read(&mut buffer)).await.unwrap();
        heard.extend_from_slice(&buffer[..count]);
        // Behind whatever came before: the only frame whose first byte is that of a close.
        if let Some(at) = heard.iter().position(|byte| *byte == 0x88) {
            let len = usize::from(heard[at + 1]);
            if let Some(close) = heard.get(at + 2..at + 2 + len) {
                return (u16::from_be_bytes([close[0], close[1]]), close[2..].to_vec(), stream);
            }
        }
        assert!(count > 0, "ended without a close frame");
    }
}

#[tokio::test]
async fn what_breaks_the_protocol_is_told_so() {
    let unmasked = [&[0x82, 5][..], &[1, 0, 0, 0, b'x']].concat();
    let endless: Vec<u8> = std::iter::once(masked(0x02, b""))
        .chain(std::iter::repeat_n(masked(0x00, b""), 16))
        .flatten()
        .collect();
    for (why, bytes, code, name) in [
        ("unmasked", unmasked, 1002, "protocol"),
        ("reserved bit", masked(0xC2, &[1, 0, 0, 0, b'x']), 1002, "protocol"),
        ("orphan continuation", masked(0x80, b"x"), 1002, "protocol"),
        ("too many fragments", endless, 1009, "too_large"),
        ("not UTF-8", masked(0x81, b"\xFF"), 1007, "bad_utf8"),
        ("empty data frame", masked(0x82, b""), 4000, "bad_frame"),
        ("empty payload", masked(0x82, &[1, 0, 0, 0]), 4000, "bad_frame"),
        ("unknown operation", masked(0x82, &[9, 0, 0, 0, 1]), 4000, "bad_frame"),
        ("unknown flag", masked(0x82, &[1, 8, 0, 0, 1]), 4000, "bad_frame"),
        ("no JSON", masked(0x81, b"hello"), 4000, "bad_frame"),
        ("unknown control frame", masked(0x81, br#"{"type":"dance"}"#), 4000, "bad_frame"),
        ("empty text", masked(0x81, b""), 4000, "bad_frame"),
    ] {
        // The relay does not need this time: who broke the framing is shown the end at once.
        let mut scene = Scene::with(|config| config.heartbeat.close_timeout_ms = 60_000).await;
        let rogue = std::mem::replace(&mut scene.rogue, scene.relay.join(&scene.room).await);
        let rogue_id = rogue.id();
        let (told, reason, mut stream) = answer_to_bytes(rogue, &bytes).await;
        assert_eq!((told, reason.as_slice()), (code, name.as_bytes()), "{why}");
        if code < 4000 {
            assert_eq!(soon("the end", stream.read(&mut [0; 1])).await.unwrap(), 0, "{why}");
        }
        assert_eq!(scene.alice.control_of("join").await["member"], scene.rogue.id());
        assert_eq!(scene.alice.control_of("leave").await["member"], rogue_id);
        scene.bob.control_of("join").await;
        scene.bob.control_of("leave").await;
        scene.neighbours_talk().await;
        scene.relay.stop().await;
    }
}

#[tokio::test]
async fn who_is_told_to_go_cannot_go_on_sending() {
    let scene = Scene::with(|config| {
        config.heartbeat.close_timeout_ms = 60_000;
        config.limit.raw_bytes_per_10s = 200_000;
    })
    .await;
    // An orphan continuation: from here on the relay only reads to the end.
    let (code, _, mut stream) = answer_to_bytes(scene.rogue, &masked(0x80, b"x")).await;
    assert_eq!(code, 1002);
    let noise = vec![0; 64 * 1024];
    let mut pieces = 0;
    while soon("sending", stream.write_all(&noise)).await.is_ok() {
        pieces += 1;
        assert!(pieces < 2000, "the relay reads on and on");
    }
    scene.relay.stop().await;
}

#[tokio::test]
async fn text_frames_have_a_limit_of_their_own() {
    let mut scene = Scene::with(|_| ()).await;
    scene.rogue.message(Message::text(" ".repeat(1025))).await;
    scene.ends_with(1009, "too_large").await;
}

#[tokio::test]
async fn who_does_not_read_is_closed_as_slow_consumer_and_nobody_else_notices() {
    let mut scene = Scene::with(|config| {
        config.limit.messages_per_10s = 100_000;
        config.limit.frames_per_10s = 100_000;
        config.limit.bytes_per_10s = u32::MAX / 2;
        config.limit.raw_bytes_per_10s = u32::MAX / 2;
        config.limit.outbox_bytes = 100_000;
    })
    .await;
    // The rogue reads nothing from here on, until it is asked for its close frame.
    let payload = vec![7; 60_000];
    let mut sent = 0;
    let left = loop {
        scene.alice.say(&payload).await;
        sent += 1;
        assert!(sent < 1000, "the kernel takes all of it");
        match scene.bob.hear().await {
            Heard::Data(data) => assert_eq!(data.payload.len(), payload.len()),
            Heard::Control(control) => break control,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(left["member"], scene.rogue.id());
    assert_eq!(left["why"], "lost");
    let (mut whole, mut closed) = (0, None);
    while closed.is_none() {
        match scene.rogue.hear().await {
            Heard::Data(data) => {
                assert_eq!(data.payload.len(), payload.len(), "a frame was cut");
                whole += 1;
            }
            Heard::Closed(code, reason) => closed = Some((code, reason)),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(closed, Some((4200, "slow_consumer".to_owned())));
    assert!(whole > 0);
    assert!(scene.relay.totals().dropped(Dropped::SlowConsumer) > 0);
    scene.relay.stop().await;
}

#[tokio::test]
async fn when_too_much_waits_for_all_the_worst_goes_and_nobody_new_comes() {
    let mut scene = Scene::with(|config| {
        config.limit.messages_per_10s = 100_000;
        config.limit.frames_per_10s = 100_000;
        config.limit.bytes_per_10s = u32::MAX / 2;
        config.limit.raw_bytes_per_10s = u32::MAX / 2;
        config.limit.fanout_bytes_per_10s = u64::MAX / 2;
        config.limit.room_fanout_bytes_per_10s = u64::MAX / 2;
        config.limit.outbox_bytes = 100_000_000;
        config.limit.outbox_frames = 100_000;
        config.limit.buffered_bytes = 10_000_000;
    })
    .await;
    let token = scene.relay.token(&scene.room).await;
    // The rogue reads nothing. Until its queue is three quarters of what may wait, all can join.
    let payload = vec![7; 60_000];
    while scene.relay.call("POST", "/v1/rooms", JSON, "{}").await.status == 400 {
        scene.alice.say(&payload).await;
        assert_eq!(scene.bob.data().await.payload.len(), payload.len());
    }
    assert_eq!(scene.relay.call("POST", "/v1/rooms", JSON, "{}").await.status, 503);
    assert_eq!(scene.relay.get("/ready").await.status, 503);
    let queue =
        call(scene.relay.ops, "GET", "/health", "", "").await.json()["checks"]["queue"].clone();
    assert_eq!(queue["status"], "fail");
    assert!(queue["observedValue"].as_u64().unwrap() >= 7_500_000, "{queue}");
    let bearer = format!("Bearer {token}");
    let refused = scene.relay.handshake(&[("authorization", &bearer)]).await;
    let Err(Error::Http(answer)) = refused else { panic!("a handshake is not taken") };
    assert_eq!(answer.status(), 503);
    let left = loop {
        scene.alice.say(&payload).await;
        match scene.bob.hear().await {
            Heard::Data(data) => assert_eq!(data.payload.len(), payload.len()),
            Heard::Control(control) => break control,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(left["member"], scene.rogue.id());
    assert_eq!(scene.relay.count(Count::Evictions), 1);
    // There is room again.
    assert_eq!(scene.relay.get("/ready").await.status, 200);
    let mut carol = scene.relay.join_with(&token).await;
    scene.alice.say(b"welcome").await;
    assert_eq!(carol.data().await.payload, b"welcome");
    let closed = loop {
        match scene.rogue.hear().await {
            Heard::Data(_) | Heard::Control(_) => {}
            other => break other,
        }
    };
    assert!(matches!(closed, Heard::Closed(4200, _)), "{closed:?}");
    scene.relay.stop().await;
}

#[tokio::test]
async fn a_room_takes_only_so_many_members() {
    let relay = TestRelay::start(|config| config.room.members_max = 2).await;
    let room = relay.create_room().await;
    let tokens = [relay.token(&room).await, relay.token(&room).await, relay.token(&room).await];
    let mut alice = relay.join_with(&tokens[0]).await;
    let bob = relay.join_with(&tokens[1]).await;
    alice.control_of("join").await;
    let (code, reason) = relay.refused_with(&tokens[2]).await;
    assert_eq!((code, reason.as_str()), (4204, "room_full"));
    // The place is free again as soon as somebody leaves, and the token was not used up.
    bob.leave().await;
    alice.control_of("leave").await;
    relay.join_with(&tokens[2]).await;
    alice.control_of("join").await;
    relay.stop().await;
}

#[tokio::test]
async fn a_refused_handshake_gives_its_place_back() {
    let relay = TestRelay::start(|config| config.room.members_max = 2).await;
    let room = relay.create_room().await;
    let token = relay.token(&room).await;
    let other = relay.token(&room).await;
    let mut alice = relay.join_with(&token).await;
    // This one is promised a place before its token turns out to be used.
    assert_eq!(relay.refused_with(&token).await, (4104, "token_used".to_owned()));
    relay.join_with(&other).await;
    alice.control_of("join").await;
    relay.stop().await;
}
