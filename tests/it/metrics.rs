//! That every copy of every message is accounted for, and that the numbers are those of what
//! happened. `TestRelay::stop` checks the accounts at the end of every other test too.

#[cfg(target_os = "linux")]
mod moves;
#[cfg(target_os = "linux")]
mod scenes;
#[cfg(target_os = "linux")]
mod scenes_bus;
#[cfg(target_os = "linux")]
mod scenes_doors;
#[cfg(target_os = "linux")]
mod scenes_limits;
#[cfg(target_os = "linux")]
mod seen;

use futures_util::StreamExt as _;
use lethewire::config::MetricsPrivacy;
use lethewire::metrics::{Count, Dropped, MessageClass};
use serde_json::json;

use crate::harness::{Heard, Member, TestRelay, TestRoom, call};

/// Copies of messages that a member hears until its connection ends or the last one comes.
async fn copies_until(member: &mut Member, last: &[u8]) -> u64 {
    let mut copies = 0;
    loop {
        match member.hear().await {
            Heard::Data(data) => {
                copies += 1;
                if data.payload == last {
                    return copies;
                }
            }
            Heard::Control(_) => {}
            Heard::Closed(..) | Heard::Lost => return copies,
        }
    }
}

#[tokio::test]
async fn every_copy_is_delivered_or_dropped_for_a_reason_or_waits() {
    let relay = TestRelay::start(|config| {
        config.limit.messages_per_10s = 100_000;
        config.limit.frames_per_10s = 100_000;
        config.limit.bytes_per_10s = u32::MAX / 2;
        config.limit.raw_bytes_per_10s = u32::MAX / 2;
        config.limit.fanout_bytes_per_10s = u64::MAX / 2;
        config.limit.room_fanout_bytes_per_10s = u64::MAX / 2;
        config.limit.outbox_bytes = 1_000_000;
    })
    .await;
    let room = relay.create_room().await;
    let mut owner = relay.join_as_owner(&room).await;
    let mut healthy = relay.join(&room).await;
    let leaver = relay.join(&room).await;
    let mut kicked = relay.join(&room).await;

    for (member, joins) in [(&mut owner, 3), (&mut healthy, 2)] {
        for _ in 0..joins {
            member.control_of("join").await;
        }
    }
    // Three receivers, an echo, and a copy for one.
    owner.send(Member::ECHO, 1, b"to all").await;
    assert_eq!(owner.data().await.payload, b"to all");
    healthy.data().await;
    kicked.data().await;
    owner.send_to(&healthy.id(), 0, 0, b"to one").await;
    assert_eq!(healthy.data().await.payload, b"to one");
    let now = relay.totals();
    assert_eq!((now.accepted(MessageClass::Room), now.accepted(MessageClass::Direct)), (1, 1));
    relay.until("all of it", |now| now.count(Count::CopiesDelivered) == 5).await;
    assert_eq!((now.count(Count::CopiesAddressed), now.dropped_in_all()), (5, 0));

    // Some go: what is said afterwards is not for them.
    leaver.leave().await;
    relay.until("one left", |now| now.members == 3).await;
    let kick = json!({ "type": "owner", "op": "kick", "member": kicked.id() });
    owner.tell(&kick).await;
    assert_eq!(copies_until(&mut kicked, b"none").await, 0);
    relay.until("one was removed", |now| now.members == 2).await;
    owner.say(b"after").await;
    assert_eq!(copies_until(&mut healthy, b"after").await, 1);
    relay.until("one copy more", |now| now.count(Count::CopiesDelivered) == 6).await;

    // One reads nothing: volatile messages give way in its queue, the others overflow it.
    let mut slow = relay.join(&room).await;
    healthy.control_of("join").await;
    let payload = vec![7; 60_000];
    let mut volatile = 0;
    while relay.totals().dropped(Dropped::Volatile) == 0 {
        owner.send(Member::VOLATILE, 0, &payload).await;
        healthy.data().await;
        volatile += 1;
        assert!(volatile < 1000, "the kernel takes all of it");
    }
    let waiting = relay.totals();
    assert!(waiting.copies_queued > 0);
    let accounted = waiting.count(Count::CopiesDelivered) + waiting.dropped_in_all();
    assert_eq!(waiting.count(Count::CopiesAddressed), accounted + waiting.copies_queued);
    let mut said = 0;
    while relay.totals().dropped(Dropped::SlowConsumer) == 0 {
        owner.say(&payload).await;
        assert_eq!(copies_until(&mut healthy, &payload).await, 1);
        said += 1;
        assert!(said < 1000, "nobody is slow");
    }
    let heard_by_slow = copies_until(&mut slow, b"none").await;
    relay.until("the slow one left", |now| now.members == 2).await;
    let now = relay.totals();
    let heard_by_others = 6 + volatile + said;
    assert_eq!(now.count(Count::CopiesDelivered), heard_by_others + heard_by_slow);
    assert_eq!(now.count(Count::CopiesAddressed), heard_by_others + volatile + said);
    assert_eq!(now.accepted(MessageClass::Volatile), volatile);
    assert_eq!(now.dropped(Dropped::Closed) + now.dropped(Dropped::Left), 0);
    relay.stop().await;
}

#[tokio::test]
async fn what_is_for_somebody_who_breaks_off_is_dropped_and_counted() {
    let relay = TestRelay::start(|config| {
        config.limit.messages_per_10s = 100_000;
        config.limit.bytes_per_10s = u32::MAX / 2;
        config.limit.fanout_bytes_per_10s = u64::MAX / 2;
        config.limit.outbox_bytes = 100_000_000;
        config.limit.outbox_frames = 60_000;
    })
    .await;
    let room = relay.create_room().await;
    let mut alice = relay.join(&room).await;
    let bob = relay.join(&room).await;
    let payload = vec![7; 60_000];
    while relay.totals().copies_queued < 3 {
        alice.say(&payload).await;
    }
    drop(bob.into_stream());
    relay.until("he is gone", |now| now.members == 1).await;
    relay.until("nothing waits", |now| now.copies_queued == 0).await;
    assert!(relay.totals().dropped(Dropped::Closed) >= 3);
    relay.stop().await;
}

/// Names of all series with their labels, and values.
async fn series(relay: &TestRelay) -> Vec<(String, f64)> {
    samples(&call(relay.ops, "GET", "/metrics", "", "").await.text())
}

fn samples(text: &str) -> Vec<(String, f64)> {
    let samples = text.lines().filter(|line| !line.starts_with('#'));
    let pair = |line: &str| {
        let (name, value) = line.rsplit_once(' ').expect("a sample");
        (name.to_owned(), value.parse().expect("a number"))
    };
    samples.map(pair).collect()
}

#[tokio::test]
async fn whatever_clients_do_makes_no_new_series() {
    let relay = TestRelay::start(|config| {
        config.limit.room_creates_per_min = 100_000;
        config.limit.requests_per_min = 100_000;
    })
    .await;
    let names = async || {
        let shown = series(&relay).await;
        shown.into_iter().map(|(name, _)| name).collect::<Vec<_>>()
    };
    let before = names().await;
    // Ten thousand rooms, made over a few connections.
    let makers = (0..16).map(|_| async {
        let mut talk = relay.talk().await;
        for _ in 0..625 {
            let body = TestRoom::new().creation(json!(null)).to_string();
            let length = body.len();
            talk.say(format!(
                "POST /v1/rooms HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n\
                 Content-Length: {length}\r\n\r\n{body}"
            ))
            .await;
            assert_eq!(talk.answer().await.status, 201);
        }
    });
    futures_util::stream::iter(makers).for_each_concurrent(16, |maker| maker).await;
    assert_eq!(relay.count(Count::RecordsMade), 10_000);
    for number in 0..50 {
        let room = relay.create_room().await;
        let (mut alice, mut bob) = (relay.join(&room).await, relay.join(&room).await);
        alice.control_of("join").await;
        alice.say(b"x").await;
        bob.data().await;
        let odd =
            format!("X-{number}: {number}\r\nUser-Agent: {number}\r\nOrigin: http://{number}\r\n");
        relay.call("GET", &format!("/{number}?{number}"), &odd, "").await;
        relay.call("POST", "/v1/rooms", &odd, &number.to_string()).await;
        relay.call(&format!("M{number}"), "/v1/info", &odd, "").await;
    }
    assert_eq!(names().await, before);
    relay.stop().await;
}

#[tokio::test]
async fn a_single_message_does_not_show_where_numbers_are_blurred() {
    let relay = TestRelay::start(|config| config.metrics.privacy = MetricsPrivacy::Blurred).await;
    let (mut alice, mut bob) = relay.two_members().await;
    alice.say(b"one").await;
    bob.data().await;
    relay.until("it is counted", |now| now.count(Count::CopiesDelivered) == 1).await;
    let about_people = |name: &str| {
        let of_the_relay = ["uptime", "runtime", "event_loop", "_max", "ready", "bus_up", "build"];
        name.starts_with("lethewire_") && !of_the_relay.iter().any(|own| name.contains(own))
    };
    for (name, value) in series(&relay).await {
        assert!(!about_people(&name) || value.abs() < 1e-9, "{name} {value}");
    }
    relay.stop().await;
}
