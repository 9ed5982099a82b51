//! The bus against a real Redis: one order, recovery from whatever happens to the server, and shared
//! truth.

mod modes;
pub(crate) mod node;
mod pace;
pub(crate) mod redis;
mod secrecy;

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use lethewire::bus::{Batch, BusSettings, Refused, Servers, Topic};
use lethewire::core::id::{MemberId, RoomId};
use lethewire::metrics::{BusRefusal, Count, LimitHit};

use self::node::{Node, Room, until};
use self::redis::Redis;

const MULTI: usize = 200;

fn room(name: u8) -> RoomId {
    RoomId::new(&[name; 16]).unwrap()
}

/// Both rooms heard the same, as far as both have heard anything.
fn same_order(one: &Room, two: &Room) {
    let (one, two) = (one.state().heard.clone(), two.state().heard.clone());
    let common = one.len().min(two.len());
    assert!(one[..common] == two[..common]);
}

#[tokio::test(flavor = "multi_thread")]
async fn all_nodes_hear_one_order_their_own_included() {
    let redis = Redis::start();
    let (one, two) = (Node::start(&redis.url()).await, Node::start(&redis.url()).await);
    let (here, there) = (one.room(1).await, two.room(1).await);
    for n in 0..MULTI {
        here.say(format!("here {n}").as_bytes());
        there.say(format!("there {n}").as_bytes());
    }
    for room in [&here, &there] {
        room.until(|state| state.heard.len() == 2 * MULTI).await;
        let state = room.state();
        assert_eq!(state.own, MULTI);
        for (at, (_, position, seq_before, _)) in state.heard.iter().enumerate() {
            assert_eq!((*position, *seq_before), (at as u64 + 1, at as u64));
        }
        assert_eq!(state.attached, 1);
    }
    same_order(&here, &there);
    let from = |prefix: &str| {
        let heard = here.state().heard.clone();
        let text = heard.into_iter().map(|(.., text)| String::from_utf8(text).unwrap());
        text.filter(|text| text.starts_with(prefix)).collect::<Vec<_>>()
    };
    assert_eq!(from("there"), (0..MULTI).map(|n| format!("there {n}")).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_attaches_late_learns_where_the_order_is_and_who_is_there() {
    let redis = Redis::start();
    let (one, two) = (Node::start(&redis.url()).await, Node::start(&redis.url()).await);
    let here = one.room(1).await;
    here.changes(&[11, 12], &[], 9);
    here.say(b"before");
    here.changes(&[], &[12], 9);
    here.until(|state| state.heard.len() == 3).await;
    let there = two.room(1).await;
    {
        let state = there.state();
        assert!(state.at == here.state().at && state.seq == 1);
        let [peer] = state.roster.as_slice() else { panic!("one member") };
        assert!(peer.member == MemberId::from_bytes([11; 8]) && peer.hears);
        assert!(peer.node == one.bus.node());
    }
    here.say(b"after");
    there.until(|state| state.heard.len() == 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_happens_as_a_whole_or_is_refused() {
    let redis = Redis::start();
    let node = Node::start(&redis.url()).await;
    let here = node.room(1).await;
    here.changes(&[1, 2], &[], 2);
    here.changes(&[3], &[], 2);
    here.changes(&[], &[9], 2);
    here.changes(&[3], &[1], 2);
    here.changes(&[4], &[4], 3);
    // What is published and what is answered come over connections of their own.
    here.until(|state| state.heard.len() == 3 && state.refused.len() == 2).await;
    assert_eq!(here.state().refused, [Refused::Full, Refused::Absent]);
    let counted = node.metrics.aggregate();
    for (refusal, times) in [(BusRefusal::Full, 1), (BusRefusal::Absent, 1), (BusRefusal::Void, 0)]
    {
        assert_eq!(counted.bus_refused(refusal), times, "{refusal:?}");
    }
    let count: usize = roster_len(&redis).await;
    assert_eq!(count, 2);
}

async fn roster_len(redis: &Redis) -> usize {
    let keys: Vec<String> = redis.ask(&["KEYS", "*}:m*"]).await;
    redis.ask(&["HLEN", &keys[0]]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_room_can_be_told_something_by_a_node_that_is_not_in_it() {
    let redis = Redis::start();
    let (one, two) = (Node::start(&redis.url()).await, Node::start(&redis.url()).await);
    let here = one.room(1).await;
    here.changes(&[1], &[], 9);
    here.until(|state| state.heard.len() == 1).await;
    let leave = |name| Batch {
        entries: b"kick".to_vec(),
        leaves: vec![MemberId::from_bytes([name; 8])],
        ..Batch::default()
    };
    assert_eq!(two.bus.announce(&room(1), leave(1)).await, Ok(Ok(())));
    assert_eq!(two.bus.announce(&room(1), leave(1)).await, Ok(Err(Refused::Absent)));
    assert_eq!(two.bus.announce(&room(2), leave(1)).await, Ok(Err(Refused::Absent)));
    assert_eq!(two.bus.announce(&room(2), Batch::default()).await, Ok(Ok(())));
    here.until(|state| state.heard.len() == 2).await;
    let state = here.state();
    assert_eq!(state.heard[1].3, b"kick");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_was_flushed_begins_anew_with_another_epoch() {
    let redis = Redis::start();
    let (one, two) = (Node::start(&redis.url()).await, Node::start(&redis.url()).await);
    let (here, there) = (one.room(1).await, two.room(1).await);
    here.say(b"before");
    there.until(|state| state.heard.len() == 1).await;
    let before = there.state().at.unwrap().0;
    let () = redis.ask(&["FLUSHALL"]).await;
    // Nobody says anything: the lease tells.
    for room in [&here, &there] {
        room.until(|state| state.at.unwrap().0 != before).await;
    }
    until(|| here.state().at.unwrap().0 == there.state().at.unwrap().0).await;
    assert_eq!((here.state().detached, there.state().detached), (0, 0));
    here.say(b"after");
    there.until(|state| state.heard.last().unwrap().3 == b"after").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_said_into_a_flushed_order_is_refused_as_void() {
    let redis = Redis::start();
    let node = Node::start(&redis.url()).await;
    let here = node.room(1).await;
    let before = here.state().at.unwrap().0;
    let () = redis.ask(&["FLUSHALL"]).await;
    here.say(b"into the void");
    here.until(|state| !state.refused.is_empty() && state.attached > 1).await;
    let state = here.state();
    assert_eq!(state.refused, [Refused::Void]);
    assert_eq!(node.metrics.aggregate().bus_refused(BusRefusal::Void), 1);
    assert!(state.at.unwrap().0 != before && state.heard.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_was_killed_and_comes_back_empty_is_found_again() {
    let mut redis = Redis::start();
    let (one, two) = (Node::start(&redis.url()).await, Node::start(&redis.url()).await);
    let (here, there) = (one.room(1).await, two.room(1).await);
    let before = here.state().at.unwrap().0;
    redis.kill();
    for room in [&here, &there] {
        room.until(|state| state.detached == 1).await;
    }
    assert!(!one.bus.is_up() && one.bus.round_trip().is_none());
    assert!(one.bus.load(&room(1)).await.is_err(), "asking fails at once");
    assert!(one.bus.announce(&room(1), Batch::default()).await.is_err());
    here.say(b"kept until it is back");
    redis.restart();
    let back = |state: &node::State| state.is_attached && state.at.unwrap().0 != before;
    for room in [&here, &there] {
        room.until(back).await;
    }
    here.until(|state| state.heard.len() == 1).await;
    assert!(one.metrics.aggregate().count(Count::BusLinksLost) >= 1);
    one.until_up().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_stands_still_is_noticed_and_its_order_goes_on() {
    let redis = Redis::start();
    let node = Node::start(&redis.url()).await;
    let here = node.room(1).await;
    let before = here.state().at.unwrap().0;
    redis.freeze();
    here.say(b"on its way");
    here.until(|state| state.detached == 1).await;
    redis.thaw();
    here.until(|state| state.is_attached && state.attached > 1).await;
    {
        let state = here.state();
        assert!(state.at.unwrap().0 == before, "nothing was lost");
    }
    // Whether it was done before the break or after it, it was done once.
    here.say(b"later");
    here.until(|state| state.heard.iter().any(|heard| heard.3 == b"later")).await;
    let state = here.state();
    let copies = state.heard.iter().filter(|heard| heard.3 == b"on its way").count();
    let (_, position, ..) = state.heard.last().unwrap();
    assert_eq!(*position, 2);
    assert!(copies <= 1 && state.refused.is_empty());
}

// One thread: whoever held it up would hold up all.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
#[expect(clippy::await_holding_lock, reason = "the room is held up until its inbox overflows")]
async fn an_inbox_that_overflows_leads_to_attaching_anew() {
    let redis = Redis::start();
    let mut settings = BusSettings::new(Servers::Single(redis.url()));
    settings.inbox_bytes_max = 64 * 1024;
    let (slow, quick) = (Node::with(settings).await, Node::start(&redis.url()).await);
    let (here, there) = (slow.room(1).await, quick.room(1).await);
    {
        let gate = Arc::clone(&here);
        let gate = gate.gate.lock().unwrap();
        for _ in 0..100 {
            there.say(&[7; 4000]);
        }
        until(|| slow.metrics.aggregate().count(Count::BusInboxesDropped) > 0).await;
        drop(gate);
    }
    here.until(|state| state.at.is_some_and(|(_, position)| position == 100)).await;
    assert!(here.state().attached > 1 && here.state().heard.len() < 100);
    there.say(b"after");
    here.until(|state| state.heard.last().is_some_and(|heard| heard.3 == b"after")).await;
    // All is here by now, so that nothing is between its two numbers.
    let counted = slow.metrics.aggregate();
    assert_eq!(counted.limit_hits(LimitHit::BusInbox), counted.count(Count::BusInboxesDropped));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_replayed_or_forged_is_not_delivered() {
    let redis = Redis::start();
    let node = Node::start(&redis.url()).await;
    let here = node.room(1).await;
    let keys: Vec<String> = redis.ask(&["KEYS", "*}:o*"]).await;
    let mut tap = redis.client_with_tap(&keys[0]).await;
    here.say(b"once");
    here.until(|state| state.heard.len() == 1).await;
    let payload = tap.recv().await.unwrap();
    let refused = |refusal| node.metrics.aggregate().bus_refused(refusal);
    // As if it had the next position.
    let mut replayed = payload.clone();
    replayed[15] += 1;
    let mut forged = replayed.clone();
    *forged.last_mut().unwrap() ^= 1;
    for (payload, refusal) in [(replayed, BusRefusal::Replayed), (forged, BusRefusal::Unsealed)] {
        let mut cmd = ::redis::Cmd::new();
        cmd.arg("SPUBLISH").arg(&keys[0]).arg(payload);
        let () = cmd.query_async(&mut redis.client().await).await.unwrap();
        until(|| refused(refusal) == 1).await;
    }
    here.say(b"twice");
    here.until(|state| state.heard.len() == 2).await;
    assert_eq!(here.state().heard[1].3, b"twice");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_300_who_burn_a_name_on_three_nodes_one_is_first() {
    let redis = Redis::start();
    let mut nodes = Vec::new();
    for _ in 0..3 {
        nodes.push(Node::start(&redis.url()).await);
    }
    let life = Duration::from_secs(60);
    let calls = (0..300).map(|n| nodes[n % 3].bus.burn(b"token", life));
    let firsts = join_all(calls).await.into_iter().filter(|first| first.unwrap()).count();
    assert_eq!(firsts, 1);
    assert_eq!(nodes[0].bus.burn(b"another", life).await, Ok(true));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_is_made_once_and_changed_by_whoever_knows_its_version() {
    let redis = Redis::start();
    let (one, two) = (Node::start(&redis.url()).await, Node::start(&redis.url()).await);
    let minute = Duration::from_secs(60);
    assert!(one.bus.load(&room(1)).await.unwrap().is_none());
    assert_eq!(one.bus.replace(&room(1), 1, b"x", None).await, Ok(false));
    assert_eq!(one.bus.extend(&room(1), minute).await, Ok(false));
    let (first, is_new) = one.bus.create(&room(1), b"first", minute).await.unwrap();
    assert!(is_new && first.value == b"first");
    let (again, is_new) = two.bus.create(&room(1), b"second", minute).await.unwrap();
    assert!(!is_new && again.value == b"first" && again.version == first.version);
    assert!(again.left <= minute && again.left > minute / 2);
    let () = redis.ask(&["SCRIPT", "FLUSH"]).await;
    assert_eq!(two.bus.replace(&room(1), first.version, b"second", None).await, Ok(true));
    assert_eq!(one.bus.replace(&room(1), first.version, b"third", None).await, Ok(false));
    assert_eq!(one.bus.extend(&room(1), 2 * minute).await, Ok(true));
    let stored = one.bus.load(&room(1)).await.unwrap().unwrap();
    assert!(stored.value == b"second" && stored.version > first.version && stored.left > minute);
    assert_eq!(one.bus.extend(&room(1), minute).await, Ok(true));
    assert!(one.bus.load(&room(1)).await.unwrap().unwrap().left > minute, "never less");
    let now = Duration::from_millis(1);
    assert_eq!(one.bus.replace(&room(1), stored.version, b"x", Some(now)).await, Ok(true));
    let keys = || async { redis.ask::<Vec<String>>(&["KEYS", "*}:c*"]).await };
    while !keys().await.is_empty() {}
    assert!(one.bus.load(&room(1)).await.unwrap().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_forgot_the_scripts_is_told_them_again() {
    let redis = Redis::start();
    let node = Node::start(&redis.url()).await;
    let here = node.room(1).await;
    for n in 1..=3 {
        let () = redis.ask(&["SCRIPT", "FLUSH"]).await;
        here.say(b"said");
        here.until(|state| state.heard.len() == n).await;
    }
    let () = redis.ask(&["SCRIPT", "FLUSH"]).await;
    assert_eq!(node.bus.announce(&room(1), Batch::default()).await, Ok(Ok(())));
    let () = redis.ask(&["SCRIPT", "FLUSH"]).await;
    node.room(2).await;
    assert_eq!(here.state().detached, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_died_is_known_to_be_dead_and_one_that_lives_to_live() {
    let redis = Redis::start();
    let (one, two) = (Node::start(&redis.url()).await, Node::start(&redis.url()).await);
    let three = Node::start(&redis.url()).await;
    let (dead, gone) = (two.bus.node(), three.bus.node());
    let alive = |node| one.bus.is_alive(&room(1), node);
    assert!(alive(dead) && alive(gone) && alive(one.bus.node()));
    three.bus.finish().await;
    two.die().await;
    let wait = async {
        let mut ticks = tokio::time::interval(Duration::from_millis(50));
        while alive(dead) || alive(gone) {
            ticks.tick().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(15), wait).await.expect("within 15 s");
    assert!(alive(one.bus.node()));
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_was_detached_hears_nothing_and_can_come_back() {
    let redis = Redis::start();
    let (one, two) = (Node::start(&redis.url()).await, Node::start(&redis.url()).await);
    let (here, there) = (one.room(1).await, two.room(1).await);
    for round in 1..20 {
        one.bus.detach(&here.topic());
        let topic: Arc<dyn Topic> = Arc::clone(&here) as Arc<dyn Topic>;
        there.say(b"meanwhile");
        one.bus.attach(topic).await.unwrap();
        there.say(b"together");
        let end = here.until(|state| state.heard.last().is_some_and(|h| h.3 == b"together"));
        end.await;
        there.until(|state| state.heard.len() == 2 * round).await;
        here.state().heard.clear();
    }
    one.bus.detach(&here.topic());
    let none = || async { redis.ask::<Vec<String>>(&["PUBSUB", "SHARDCHANNELS", "*}:o*"]).await };
    two.bus.detach(&there.topic());
    while !none().await.is_empty() {}
}
