//! Scenes of rooms and members: what is said, how members go, who does not read.

use serde_json::json;

use super::seen::Seen;
use crate::harness::{Heard, Member, TestRelay, masked};
use lethewire::config::Config;
use lethewire::metrics::{Count, Dropped};

/// Waits for the close frame, whatever comes before it.
pub(super) async fn ends_with(member: &mut Member, code: u16) {
    loop {
        match member.hear().await {
            Heard::Closed(told, _) => return assert_eq!(told, code),
            Heard::Lost => panic!("lost without a word"),
            Heard::Data(_) | Heard::Control(_) => {}
        }
    }
}

/// As much as one likes may be sent, and many rooms be made.
pub(super) fn free(config: &mut Config) {
    config.limit.messages_per_10s = 1_000_000;
    config.limit.frames_per_10s = 1_000_000;
    config.limit.bytes_per_10s = u32::MAX / 2;
    config.limit.raw_bytes_per_10s = u32::MAX / 2;
    config.limit.fanout_bytes_per_10s = u64::MAX / 2;
    config.limit.room_fanout_bytes_per_10s = u64::MAX / 2;
    config.limit.connections_per_address = 1000;
    config.limit.room_creates_per_min = 100_000;
}

/// Messages of all classes, and all that an owner does.
pub(super) async fn conversation(seen: &Seen) {
    let relay = TestRelay::start(free).await;
    let room = relay.create_room_with(json!({ "padding": "warn" })).await;
    assert_eq!(relay.post("/v1/rooms", &room.creation(json!(null))).await.status, 200);
    let mut owner = relay.join_as_owner(&room).await;
    let mut guest = relay.join(&room).await;
    owner.control_of("join").await;
    owner.say(b"x").await;
    owner.send_to(&guest.id(), 0, 0, b"y").await;
    owner.send(Member::VOLATILE, 0, b"z").await;
    for payload in [b"x", b"y", b"z"] {
        assert_eq!(guest.data().await.payload, payload);
    }
    seen.look(&relay).await;
    let mut limits = room.rule("limits");
    limits["options"] = json!({ "ttl_s": 1000 });
    let mut kick = room.rule("kick");
    kick["member"] = json!(guest.id());
    for rule in [room.rule("lock"), room.rule("unlock"), limits, kick, room.rule("close")] {
        assert_eq!(relay.post("/v1/owner", &rule).await.status, 204, "{rule}");
    }
    ends_with(&mut guest, 4004).await;
    ends_with(&mut owner, 4002).await;
    seen.until(&relay, &["websockets_closed_total{reason=\"kicked\"}"]).await;
    seen.until(&relay, &["websockets_closed_total{reason=\"room_closed\"}"]).await;
    relay.stop().await;
}

/// Every way in which a member's connection ends by its own doing.
pub(super) async fn endings(seen: &Seen) {
    let relay = TestRelay::start(free).await;
    let room = relay.create_room_with(json!({ "members_max": 64 })).await;
    relay.join(&room).await.leave().await;
    drop(relay.join(&room).await.into_stream());
    for (bytes, code) in [
        (masked(0x80, b"x"), 1002),
        (masked(0x81, b"\xFF"), 1007),
        (masked(0x82, &[0xFF]), 4000),
        (masked(0x82, &[&[1, 0, 0, 0][..], &vec![7; 65_537]].concat()), 1009),
    ] {
        let mut rogue = crate::harness::Rogue::join(relay.addr, &relay.mint(&room.id, "sr")).await;
        let crate::harness::Ending::Closed(told, _) = rogue.strikes(&bytes).await else {
            panic!("no close frame");
        };
        assert_eq!(told, code);
    }
    let mut deaf = relay.join_with(&relay.mint(&room.id, "r")).await;
    deaf.say(b"x").await;
    ends_with(&mut deaf, 4006).await;
    let padded = relay.create_room_with(json!({ "padding": "enforce" })).await;
    let mut careless = relay.join(&padded).await;
    careless.say(b"x").await;
    ends_with(&mut careless, 4007).await;
    let short = relay.mint_at(&room.id, "sr", crate::harness::unix_now(), Some(1));
    ends_with(&mut relay.join_with(&short).await, 4103).await;
    let brief = relay.create_room_with(json!({ "ttl_s": 1 })).await;
    ends_with(&mut relay.join(&brief).await, 4002).await;
    relay.until("the broken one to be counted", |now| now.members == 0).await;
    let names = ["websockets_closed_total{reason=\"going_away\"}", "records_expired_total"];
    seen.until(&relay, &names).await;
    seen.until(&relay, &["room_operations_total{operation=\"expire\"}", "uptime_seconds"]).await;
    relay.stop().await;
}

/// One who reads nothing: volatile messages give way, others overflow its queue.
pub(super) async fn slow_reader(seen: &Seen) {
    let relay = TestRelay::start(|config| {
        free(config);
        config.limit.outbox_bytes = 1_000_000;
    })
    .await;
    let (mut alice, slow) = relay.two_members().await;
    let payload = vec![7; 60_000];
    while relay.totals().dropped(Dropped::Volatile) == 0 {
        alice.send(Member::VOLATILE, 0, &payload).await;
    }
    seen.until(&relay, &["copies_queued", "queued_bytes", "backlog_queued_bytes_total"]).await;
    while relay.totals().dropped(Dropped::SlowConsumer) == 0 {
        alice.say(&payload).await;
    }
    seen.until(&relay, &["limit_hits_total{limit=\"outbox\"}"]).await;
    drop(slow);
    relay.until("its end", |now| now.members == 1 && now.copies_queued == 0).await;
    relay.stop().await;
}

/// Says so much that it waits for one who reads nothing: more than the kernel takes later on.
async fn back_up(relay: &TestRelay, alice: &mut Member) {
    let payload = vec![7; 60_000];
    while relay.totals().copies_queued < 20 {
        alice.say(&payload).await;
    }
}

/// Somebody breaks off while something waits.
pub(super) async fn breaking_off(seen: &Seen) {
    let relay = TestRelay::start(|config| {
        free(config);
        config.limit.outbox_bytes = 100_000_000;
        config.limit.outbox_frames = 100_000;
    })
    .await;
    let (mut alice, gone) = relay.two_members().await;
    back_up(&relay, &mut alice).await;
    drop(gone.into_stream());
    relay.until("nothing waits", |now| now.copies_queued == 0).await;
    seen.until(&relay, &["copies_dropped_total{reason=\"closed\"}"]).await;
    relay.stop().await;
}

/// Frames that get too old.
pub(super) async fn old_frames(seen: &Seen) {
    let relay = TestRelay::start(|config| {
        free(config);
        config.limit.outbox_bytes = 100_000_000;
        config.limit.outbox_frames = 100_000;
        config.limit.outbox_age_ms = 1500;
    })
    .await;
    let (mut alice, slow) = relay.two_members().await;
    back_up(&relay, &mut alice).await;
    let names = ["queue_oldest_seconds", "limit_hits_total{limit=\"outbox_age\"}"];
    seen.until(&relay, &names).await;
    // Gone before the relay has given it up, it would be one that broke off.
    seen.until(&relay, &["websockets_closed_total{reason=\"slow_consumer\"}"]).await;
    drop(slow);
    relay.until("nothing waits", |now| now.copies_queued == 0).await;
    relay.stop().await;
}

/// More waits than may for all together.
pub(super) async fn eviction(seen: &Seen) {
    let relay = TestRelay::start(|config| {
        free(config);
        config.limit.outbox_bytes = 100_000_000;
        config.limit.outbox_frames = 100_000;
        config.limit.buffered_bytes = 3_000_000;
    })
    .await;
    let (mut alice, slow) = relay.two_members().await;
    let payload = vec![7; 60_000];
    while relay.count(Count::Evictions) == 0 {
        alice.say(&payload).await;
    }
    seen.until(&relay, &["evictions_total", "limit_hits_total{limit=\"buffered_bytes\"}"]).await;
    drop(slow);
    relay.until("nothing waits", |now| now.copies_queued == 0).await;
    relay.stop().await;
}

/// Nobody says anything: pings, answers, and one who gives none. What is looked at once a second is
/// seen here, too.
pub(super) async fn silence(seen: &Seen) {
    let relay = TestRelay::start(|config| {
        config.heartbeat.ping_interval_ms = 1000;
        config.heartbeat.misses = 2;
    })
    .await;
    let (mut alice, silent) = relay.two_members().await;
    let _silent = silent.into_stream();
    // Reading answers pings.
    let reading = async { while alice.hear().await != Heard::Lost {} };
    let pings = ["pings_sent_total", "pongs_received_total", "heartbeats_lost_total"];
    tokio::select! {
        () = seen.until(&relay, &pings) => {}
        () = reading => seen.until(&relay, &pings).await,
    }
    let tables =
        ["room_records", "addresses_tracked", "replay_entries", "event_loop_lag_seconds_sum"];
    seen.until(&relay, &tables).await;
    seen.until(&relay, &["websockets_closed_total{reason=\"heartbeat_lost\"}"]).await;
    relay.stop().await;
}

/// The relay is about to stop.
pub(super) async fn drain(seen: &Seen) {
    let mut relay = TestRelay::start(|config| {
        config.feature.graceful_shutdown = true;
        config.server.drain_rate_per_s = 1;
    })
    .await;
    let room = relay.create_room().await;
    let mut members = Vec::new();
    for _ in 0..8 {
        members.push(relay.join(&room).await);
    }
    let mut idle = relay.talk().await;
    idle.say("GET /live HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(idle.answer().await.status, 200);
    relay.begin_stop();
    // A connection between requests ends when the drain begins.
    assert_eq!(idle.ended().await, b"");
    assert_eq!(relay.post("/v1/tokens", &room.ask()).await.status, 503);
    seen.look(&relay).await;
    let ends = members.iter_mut().map(async |member| {
        ends_with(member, 1012).await;
        while member.hear().await != Heard::Lost {}
    });
    tokio::select! {
        () = seen.until(&relay, &["websockets_closed_total{reason=\"restart\"}"]) => {}
        _all = futures_util::future::join_all(ends) => panic!("not one is counted"),
    }
    drop(members);
    relay.ended().await;
}
