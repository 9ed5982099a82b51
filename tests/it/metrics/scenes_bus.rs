//! Scenes of nodes that share rooms over a real Redis.

use super::scenes::free;
use super::seen::Seen;
use crate::bus::node::Node;
use crate::bus::redis::Redis;
use crate::harness::{ClusterSecrets, TestRelay, soon};
use lethewire::bus::{Batch, BusSettings, Servers};
use lethewire::config::Config;
use lethewire::core::entry::Entry;
use lethewire::core::id::MemberId;
use lethewire::core::wire::Gone;
use lethewire::metrics::{Count, LimitHit, Refusal};
use serde_json::json;

async fn node(
    redis: &Redis,
    secrets: &ClusterSecrets,
    adjust: impl FnOnce(&mut Config),
) -> TestRelay {
    let node = TestRelay::start_node(secrets, &redis.url(), |config| {
        free(config);
        adjust(config);
    })
    .await;
    until_ready(&node, 200).await;
    node
}

async fn until_ready(node: &TestRelay, status: u16) {
    soon("readiness", async {
        while node.get("/ready").await.status != status {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

/// Redis stands still, so that what is said waits; before, a node that has just started and a token
/// for another relay.
pub(super) async fn standstill(seen: &Seen) {
    let (redis, secrets) = (Redis::start(), ClusterSecrets::new());
    let one = node(&redis, &secrets, |config| {
        config.bus.outgoing_bytes = 100_000;
        config.bus.timeout_ms = 500;
    })
    .await;
    let elsewhere = node(&redis, &secrets, |config| {
        "elsewhere".clone_into(&mut config.token.audience);
        config.bus.warm_up_s = 3600;
        config.limit.connections = 100;
    })
    .await;
    let (mut alice, mut bob) = one.two_members().await;
    alice.say(b"x").await;
    bob.data().await;
    let room = one.create_room().await;
    assert_eq!(one.refused_with(&elsewhere.mint(&room.id, "sr")).await.0, 4101);
    let mut members = Vec::new();
    while elsewhere.totals().refused(Refusal::WarmUp) == 0 {
        let protocols = format!("lethewire.v1, lethewire.bearer.{}", elsewhere.token(&room).await);
        members.push(elsewhere.handshake(&[("sec-websocket-protocol", &protocols)]).await.ok());
    }
    seen.look(&elsewhere).await;
    drop(members);

    redis.freeze();
    let tell = async |alice: &mut crate::harness::Member| {
        while one.totals().limit_hits(LimitHit::BusOutgoing) == 0 {
            alice.say(&[7; 10_000]).await;
        }
    };
    soon("too much to wait", tell(&mut alice)).await;
    seen.until(&one, &["bus_links{state=\"down\"}", "bus_up", "bus_links_lost_total"]).await;
    while one.totals().refused(Refusal::Bus) == 0 {
        assert_eq!(one.post("/v1/rooms", &room.creation(json!(null))).await.status, 503);
    }
    seen.look(&one).await;
    redis.thaw();
    let back = ["bus_links{state=\"up\"}", "bus_reconnects_total", "bus_round_trip_seconds"];
    seen.until(&one, &back).await;
    until_ready(&one, 200).await;
    seen.until(&one, &["bus_retried_total"]).await;
    for node in [one, elsewhere] {
        node.stop().await;
    }
}

/// One node is cut off while the other goes on; then Redis forgets everything.
pub(super) async fn losses(seen: &Seen) {
    let (redis, secrets) = (Redis::start(), ClusterSecrets::new());
    let two = node(&redis, &secrets, |_| {}).await;
    let keep = ids(&redis).await;
    let one = node(&redis, &secrets, |_| {}).await;
    let room = one.create_room().await;
    let mut alice = one.join(&room).await;
    let mut bob = two.join_with(&one.token(&room).await).await;
    alice.control_of("join").await;
    while one.count(Count::BusGaps) == 0 {
        for id in ids(&redis).await.iter().filter(|id| !keep.contains(id)) {
            let _: i64 = redis.ask(&["CLIENT", "KILL", "ID", id]).await;
        }
        bob.say(b"missed").await;
        until_ready(&one, 200).await;
    }
    while one.count(Count::BusMessagesVoided) == 0 {
        let () = redis.ask(&["FLUSHALL"]).await;
        alice.say(b"into the void").await;
        until_ready(&one, 200).await;
    }
    seen.until(&one, &["bus_gaps_total", "bus_resets_total", "bus_messages_voided_total"]).await;
    for node in [one, two] {
        node.stop().await;
    }
}

/// Another node takes this one for dead, and publishes what follows: its member is gone.
pub(super) async fn given_up(seen: &Seen) {
    let (redis, secrets) = (Redis::start(), ClusterSecrets::new());
    let one = node(&redis, &secrets, |_| {}).await;
    let room = one.create_room().await;
    let mut alice = one.join(&room).await;
    let settings = BusSettings::new(Servers::Single(redis.url()));
    let other = Node::knowing(&secrets.of_bus(), settings).await;
    let member = MemberId::from_base64url(&alice.id()).unwrap();
    let mut entries = Vec::new();
    Entry::Leave { member, why: Gone::Lost }.put(&mut entries).unwrap();
    let lost = Batch { entries, numbers: 1, leaves: vec![member], ..Batch::default() };
    assert_eq!(other.bus.announce(&room.id, lost).await, Ok(Ok(())));
    assert_eq!(alice.closed().await.0, 4205);
    seen.until(&one, &["websockets_closed_total{reason=\"order_lost\"}"]).await;
    other.die().await;
    one.stop().await;
}

/// The connections of everybody but whoever asks.
async fn ids(redis: &Redis) -> Vec<String> {
    let list: String = redis.ask(&["CLIENT", "LIST"]).await;
    let id = |line: &str| line.split_once("id=")?.1.split_once(' ').map(|(id, _)| id.to_owned());
    list.lines().filter_map(id).collect()
}
