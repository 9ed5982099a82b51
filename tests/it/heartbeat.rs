//! Pings, sessions that end, sockets that stall: what the sweep does.

use futures_util::StreamExt as _;
use tokio_tungstenite::tungstenite::Message;

use crate::harness::{Heard, TestRelay, soon, unix_now};
use lethewire::config::Config;
use lethewire::core::close::Close;
use lethewire::metrics::{Aggregate, Count};

#[tokio::test]
async fn members_are_pinged_and_their_answers_counted() {
    let relay = TestRelay::start(|config| config.heartbeat.ping_interval_ms = 1000).await;
    let room = relay.create_room().await;
    let mut alice = relay.join(&room).await;
    // Reading answers pings; what it hears is the application's own pong.
    relay.until("a ping", |totals| totals.count(Count::PingsSent) > 0).await;
    alice.tell(&serde_json::json!({ "type": "ping", "n": 1 })).await;
    alice.control_of("pong").await;
    relay.until("its answer", |totals| totals.count(Count::PongsReceived) > 0).await;
    relay.stop().await;
}

#[tokio::test]
async fn who_answers_no_ping_is_lost() {
    let relay = TestRelay::start(|config| {
        config.heartbeat.ping_interval_ms = 1000;
        config.heartbeat.misses = 1;
    })
    .await;
    let room = relay.create_room().await;
    let mut alice = relay.join(&room).await;
    let silent = relay.join(&room).await;
    alice.control_of("join").await;
    // A socket that is open and says nothing, not even pong.
    let silent_id = silent.id();
    let silent = silent.into_stream();
    let leave = alice.control_of("leave").await;
    assert!(leave["member"] == silent_id.as_str() && leave["why"] == "lost");
    let mut silent =
        tokio_tungstenite::WebSocketStream::from_raw_socket(silent, role(), None).await;
    let closed = loop {
        match soon("the close frame", silent.next()).await.unwrap().unwrap() {
            Message::Close(frame) => break frame.unwrap(),
            other => assert!(!other.is_binary()),
        }
    };
    assert_eq!(u16::from(closed.code), 4203);
    assert_eq!(closed.reason.as_str(), "heartbeat_lost");
    silent.close(None).await.ok();
    relay.stop().await;
}

#[tokio::test]
async fn a_sweep_in_many_steps_misses_nobody() {
    // A step is 512 connections.
    const CROWD: u64 = 1200;
    let relay = TestRelay::start(|config| {
        config.heartbeat.ping_interval_ms = 1000;
        config.heartbeat.misses = 1;
        config.feature.ip_tracking = false;
    })
    .await;
    let mut crowd = Vec::new();
    for _ in 0..CROWD / 10 {
        let room = relay.create_room().await;
        for _ in 0..10 {
            // They read nothing, and so answer nothing.
            crowd.push(relay.join(&room).await);
        }
    }
    relay.until("all are lost", |totals| totals.count(Count::HeartbeatsLost) == CROWD).await;
    relay.stop().await;
}

const fn role() -> tokio_tungstenite::tungstenite::protocol::Role {
    tokio_tungstenite::tungstenite::protocol::Role::Client
}

#[tokio::test]
async fn a_session_ends_when_its_token_said_so() {
    let relay = TestRelay::start(|_| ()).await;
    let room = relay.create_room().await;
    let token = relay.mint_at(&room.id, "sr", unix_now(), Some(1));
    let mut alice = relay.join_with(&token).await;
    assert_eq!(alice.closed().await, (4103, "session_expired".to_owned()));
    relay.stop().await;
}

#[tokio::test]
async fn a_room_ends_with_its_time() {
    let relay = TestRelay::start(|_| ()).await;
    let room = relay.create_room_with(serde_json::json!({ "ttl_s": 1 })).await;
    let mut alice = relay.join(&room).await;
    alice.control_of("closed").await;
    assert_eq!(alice.closed().await, (4002, "room_closed".to_owned()));
    relay.stop().await;
}

#[tokio::test]
async fn a_room_is_forgotten_after_its_last_member_left_and_not_before() {
    let relay = TestRelay::start(|_| ()).await;
    let options = serde_json::json!({ "idle_s": 1 });
    let (room, other) = (
        relay.create_room_with(options.clone()).await,
        relay.create_room_with(options.clone()).await,
    );
    let mut alice = relay.join(&room).await;
    // The other room idles out while somebody is in the first one.
    relay.until("an idle room's end", |totals| totals.count(Count::RecordsExpired) == 1).await;
    let made = relay.post("/v1/rooms", &other.creation(options.clone())).await;
    assert_eq!(made.status, 201, "was forgotten");
    let there = relay.post("/v1/rooms", &room.creation(options.clone())).await;
    assert_eq!(there.status, 200, "somebody is in it");
    alice.tell(&serde_json::json!({ "type": "ping", "n": 1 })).await;
    alice.control_of("pong").await;
    alice.leave().await;
    relay.until("both rooms' end", |totals| totals.count(Count::RecordsExpired) == 3).await;
    let made = relay.post("/v1/rooms", &room.creation(options)).await;
    assert_eq!(made.status, 201);
    relay.stop().await;
}

#[tokio::test]
async fn a_peer_that_does_not_answer_a_close_is_given_up() {
    let relay = TestRelay::start(|config| config.heartbeat.close_timeout_ms = 1000).await;
    let room = relay.create_room().await;
    let mut owner = relay.join_as_owner(&room).await;
    let stubborn = relay.join(&room).await;
    owner.control_of("join").await;
    let id = stubborn.id();
    let mut stubborn = stubborn.into_stream();
    owner.tell(&serde_json::json!({ "type": "owner", "op": "kick", "member": id })).await;
    owner.control_of("leave").await;
    // It never closes its side; the relay does.
    let mut rest = Vec::new();
    let end = tokio::io::AsyncReadExt::read_to_end(&mut stubborn, &mut rest);
    soon("the end of the socket", end).await.ok();
    assert!(rest.windows(6).any(|bytes| bytes == b"kicked"));
    relay.stop().await;
}

/// A relay on which one member talks until the socket of another one, who does not read, is full;
/// the others hear that this one is lost. Returns how it was counted.
async fn stalled_with(adjust: impl FnOnce(&mut Config)) -> Aggregate {
    let relay = TestRelay::start(|config| {
        config.limit.outbox_bytes = 100_000_000;
        config.limit.outbox_frames = 100_000;
        config.limit.messages_per_10s = 100_000;
        config.limit.frames_per_10s = 100_000;
        config.limit.bytes_per_10s = u32::MAX / 2;
        config.limit.raw_bytes_per_10s = u32::MAX / 2;
        adjust(config);
    })
    .await;
    let room = relay.create_room().await;
    let mut alice = relay.join(&room).await;
    let stalled = relay.join(&room).await;
    alice.control_of("join").await;
    // More than the kernel takes for somebody who does not read.
    while relay.count(Count::BacklogBytesQueued) == 0 {
        alice.say(&vec![1; 60_000]).await;
    }
    let leave = loop {
        if let Heard::Control(control) = alice.hear().await {
            break control;
        }
    };
    assert!(leave["member"] == stalled.id().as_str() && leave["why"] == "lost");
    relay.until("the end of its connection", |now| now.connections == 1).await;
    drop(stalled);
    let totals = relay.totals();
    relay.stop().await;
    totals
}

#[tokio::test]
async fn a_stalled_socket_is_closed_before_its_backlog_is_full() {
    let totals = stalled_with(|config| {
        config.limit.write_stall_ms = 1000;
        config.heartbeat.close_timeout_ms = 1000;
    })
    .await;
    assert_eq!(totals.closed(Close::SlowConsumer), 1);
}

#[tokio::test]
async fn a_frame_that_gets_old_ends_its_receiver() {
    let totals = stalled_with(|config| {
        config.limit.write_stall_ms = 600_000;
        config.limit.outbox_age_ms = 1000;
        config.heartbeat.close_timeout_ms = 1000;
    })
    .await;
    assert_eq!(totals.closed(Close::SlowConsumer), 1);
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_window_that_stays_closed_ends_by_the_kernel() {
    let totals = stalled_with(|config| {
        config.limit.write_stall_ms = 600_000;
        config.limit.user_timeout_ms = 500;
    })
    .await;
    assert_eq!(totals.closed(Close::GoingAway), 1);
}
