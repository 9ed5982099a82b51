//! Several nodes and nothing that breaks: one order, and everything that one node does.

use std::time::Duration;

use crate::checker::{Event, Log, check};
use crate::harness::{Cluster, Crowd, Room, Setup, join, open, soon};
use crate::size::sized;
use crate::verdicts::{assert_good, report};

const NODES: usize = 3;
const ROOMS: usize = 4;
const PER_NODE: usize = 2;
/// How long the long form may take.
const LONG: Duration = Duration::from_secs(1800);

/// Members of several rooms at three nodes talk in all the ways that there are, while others come
/// and go.
async fn calm(setup: Setup, order: u32, what: &str, share: u64) {
    let nodes = if setup == Setup::Alone { 1 } else { NODES };
    let cluster = Cluster::start(setup, nodes).await;
    let addrs = cluster.addrs();
    let mut crowd = Crowd::gather(&addrs, ROOMS, PER_NODE * NODES / nodes).await;
    crowd.talk(Duration::from_millis(sized(10, 2)));
    let part = sized(2_000, 1_000_000) / share / 8;
    for turn in 0..8 {
        crowd.until_acked(part, LONG).await;
        // Somebody new, at another node each time; and somebody who does not stay.
        let (room, node) = (turn % ROOMS, turn % nodes);
        crowd.add(room, node, addrs[node]).await.expect("let in");
        let token = crowd.rooms[room].token(addrs[node]).await;
        drop(open(addrs[(node + 1) % nodes], &token).await.expect("let in"));
    }
    let mut logs = crowd.end().await;
    let verdict = assert_good(what, &logs);
    assert_eq!((verdict.gaps, verdict.resets, verdict.pauses), (0, 0, 0), "nothing broke");
    report(order, what, &verdict, None);
    one_less_is_found(&mut logs);
}

/// The control: what these logs would be like if one message had been lost.
fn one_less_is_found(logs: &mut [Log]) {
    let is_message = |event: &Event| matches!(event, Event::Message { .. });
    let events = &mut logs[0].events;
    let at = events.iter().rposition(is_message).expect("it heard something");
    events.remove(at);
    assert_eq!(check(logs).undetected(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_redis() {
    calm(Setup::Alone, 0, "nothing, one node without Redis", 10).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_redis() {
    calm(Setup::Single, 1, "nothing, one Redis", 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_tls() {
    calm(Setup::Tls, 5, "nothing, one Redis over TLS", 10).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_cluster() {
    calm(Setup::Cluster, 2, "nothing, Redis Cluster of three masters", 10).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_shards() {
    calm(Setup::Shards, 3, "nothing, three shards", 10).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn under_a_sentinel() {
    calm(Setup::Sentinel, 4, "nothing, a master under a sentinel", 10).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_owner_rules_from_any_node() {
    let cluster = Cluster::start(Setup::Single, NODES).await;
    let addrs = cluster.addrs();
    let mut crowd = Crowd::gather(&addrs, 1, 1).await;
    let room = crowd.rooms[0].clone();
    // The last node's only member is kicked by way of the first one.
    let victim = crowd.names()[2];
    let text = lethewire::core::id::to_base64url(&victim.to_be_bytes());
    assert_eq!(room.rule(addrs[0], "kick", Some(&text)).await, 204);
    crowd.until_all(Duration::from_secs(5), "the kick", |member| member.members == 2).await;
    assert_eq!(crowd.living().len(), 2);
    assert_eq!(room.rule(addrs[1], "lock", None).await, 204);
    assert_eq!(room.ask_token(addrs[2]).await, Err(423), "locked for all nodes");
    assert_eq!(room.rule(addrs[2], "unlock", None).await, 204);
    crowd.add(0, 0, addrs[0]).await.expect("unlocked for all nodes");
    crowd.in_order(Duration::from_secs(5)).await;
    assert_eq!(room.rule(addrs[2], "close", None).await, 204);
    let logs = crowd.ended().await;
    assert_eq!(room.ask_token(addrs[0]).await, Err(410), "closed for all nodes");
    let ends: Vec<_> = logs.iter().map(|log| log.events.last().unwrap().clone()).collect();
    assert_eq!(
        ends,
        [Event::End(4002), Event::End(4002), Event::End(4004), Event::End(4002)],
        "all are told why"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_room_has_one_member_limit() {
    let cluster = Cluster::start_with(Setup::Single, NODES, &[("ROOM_MEMBERS_MAX", "10")]).await;
    let addrs = cluster.addrs();
    let room = Room::create(addrs[0]).await;
    let mut tokens = Vec::new();
    for number in 0..30 {
        tokens.push((number, room.token(addrs[number % NODES]).await));
    }
    let mut joins = tokio::task::JoinSet::new();
    for (number, token) in tokens {
        let addr = addrs[number % NODES];
        joins.spawn(async move { join(addr, &token, (0, 0, number)).await });
    }
    let (mut inside, mut refused) = (Vec::new(), Vec::new());
    while let Some(joined) = soon("a join", joins.join_next()).await {
        match joined.unwrap() {
            Ok(member) => inside.push(member),
            Err(code) => refused.push(code),
        }
    }
    assert_eq!(inside.len(), 10, "refused: {refused:?}");
    assert!(refused.iter().all(|code| *code == 4204), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drained_node_sends_its_members_to_the_others() {
    let cluster = Cluster::start(Setup::Single, NODES).await;
    let mut addrs = cluster.addrs();
    let mut crowd = Crowd::gather(&addrs, 2, 2).await;
    crowd.talk(Duration::from_millis(10));
    crowd.until_acked(200, LONG).await;
    cluster.nodes[2].drain();
    let limit = Duration::from_secs(20);
    crowd.until_all(limit, "the drain", |member| member.node != 2 && member.members == 4).await;
    addrs.truncate(2);
    for (number, room) in [0, 0, 1, 1].into_iter().enumerate() {
        crowd.add(room, number % 2, addrs[number % 2]).await.expect("let in elsewhere");
    }
    crowd.in_order(limit).await;
    let verdict = assert_good("a drain", &crowd.end().await);
    assert_eq!(verdict.ends.get(&1012), Some(&4), "its members are told: {:?}", verdict.ends);
    assert_eq!((verdict.gaps, verdict.resets), (0, 0), "nothing was lost");
    report(5, "drain of one node", &verdict, None);
}
