//! Several nodes in this process that share rooms over a real Redis.

use futures_util::future::join_all;
use lethewire::config::Config;
use lethewire::metrics::Refusal;
use serde_json::json;

use crate::bus::redis::Redis;
use crate::harness::{ClusterSecrets, Heard, Member, TestRelay, call, soon};

/// Nodes of one cluster.
struct Cluster {
    redis: Redis,
    secrets: ClusterSecrets,
}

impl Cluster {
    fn new() -> Self {
        Self { redis: Redis::start(), secrets: ClusterSecrets::new() }
    }

    /// A node that is ready.
    async fn node(&self) -> TestRelay {
        self.node_with(|_| {}).await
    }

    async fn node_with(&self, adjust: impl FnOnce(&mut Config)) -> TestRelay {
        let node = TestRelay::start_node(&self.secrets, &self.redis.url(), adjust).await;
        until_ready(&node, 200).await;
        node
    }

    async fn two(&self) -> (TestRelay, TestRelay) {
        (self.node().await, self.node().await)
    }
}

/// Waits until `/ready` answers with this status.
async fn until_ready(node: &TestRelay, status: u16) {
    soon("readiness", async {
        while node.get("/ready").await.status != status {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

/// What a member is closed with, whatever it hears before.
async fn closing(member: &mut Member) -> u16 {
    loop {
        match member.hear().await {
            Heard::Closed(code, _) => return code,
            Heard::Control(_) => {}
            other => panic!("heard {other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_room_of_one_node_is_a_room_of_all() {
    let cluster = Cluster::new();
    let (one, two) = cluster.two().await;
    let room = one.create_room().await;
    let again = two.post("/v1/rooms", &room.creation(json!(null))).await;
    assert_eq!(again.status, 200, "it is there: {}", again.text());
    let mut here = one.join(&room).await;
    // A token of one node is good on another.
    let mut there = two.join_with(&one.token(&room).await).await;
    assert_eq!(there.welcome["members"].as_array().unwrap().len(), 2, "{}", there.welcome);
    assert_eq!(here.control_of("join").await["member"], there.id());
    here.say(b"from here").await;
    let heard = there.data().await;
    assert_eq!((heard.payload.as_slice(), heard.from), (b"from here".as_slice(), here.id()));
    there.say(b"from there").await;
    assert_eq!(here.data().await.payload, b"from there");
    one.stop().await;
    two.stop().await;
}

/// Two nodes, and rooms that one of them makes while the test lasts.
async fn two_with_many_rooms(cluster: &Cluster) -> (TestRelay, TestRelay) {
    let adjust = |config: &mut Config| {
        let limit = &mut config.limit;
        (limit.room_creates_per_min, limit.tokens_per_min) = (10_000, 10_000);
        (limit.requests_per_min, limit.handshakes_per_10s) = (10_000, 10_000);
    };
    (cluster.node_with(adjust).await, cluster.node_with(adjust).await)
}

/// The welcome says it, or what comes behind it.
#[tokio::test(flavor = "multi_thread")]
async fn who_comes_in_while_a_room_is_locked_knows_it() {
    let cluster = Cluster::new();
    let (one, two) = two_with_many_rooms(&cluster).await;
    for _ in 0..100 {
        let room = one.create_room().await;
        // Owners come into locked rooms too.
        let token = two.owner_token(&room).await;
        let rule = room.rule("lock");
        let (mut member, locked) =
            tokio::join!(two.join_with(&token), one.post("/v1/owner", &rule));
        assert_eq!(locked.status, 204);
        if member.welcome["locked"] == false {
            assert_eq!(member.control_of("room").await["locked"], true);
        }
    }
    one.stop().await;
    two.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_stays_who_comes_in_while_a_room_is_closed() {
    let cluster = Cluster::new();
    let (one, two) = two_with_many_rooms(&cluster).await;
    for _ in 0..100 {
        let room = one.create_room().await;
        let token = two.token(&room).await;
        let rule = room.rule("close");
        let (mut member, closed) = tokio::join!(two.connect(&token), one.post("/v1/owner", &rule));
        assert_eq!(closed.status, 204);
        assert_eq!(closing(&mut member).await, 4002);
    }
    one.stop().await;
    two.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_owner_rules_from_any_node() {
    let cluster = Cluster::new();
    let (one, two) = cluster.two().await;
    let room = one.create_room().await;
    let mut member = one.join(&room).await;
    let mut kicked = one.join(&room).await;
    member.control_of("join").await;
    let token = one.token(&room).await;

    assert_eq!(two.post("/v1/owner", &room.rule("lock")).await.status, 204);
    assert_eq!(member.control_of("room").await["locked"], true);
    assert_eq!(one.post("/v1/tokens", &room.ask()).await.status, 423);
    assert_eq!(one.refused_with(&token).await.0, 4003, "locked");
    assert_eq!(two.post("/v1/owner", &room.rule("unlock")).await.status, 204);
    assert_eq!(member.control_of("room").await["locked"], false);

    let mut kick = room.rule("kick");
    kick["member"] = json!(kicked.id());
    assert_eq!(two.post("/v1/owner", &kick).await.status, 204);
    let left = member.control_of("leave").await;
    assert_eq!((&left["member"], &left["why"]), (&json!(kicked.id()), &json!("kicked")), "{left}");
    assert_eq!(closing(&mut kicked).await, 4004);
    assert_eq!(two.post("/v1/owner", &kick).await.status, 404, "it is gone");

    let mut limits = room.rule("limits");
    limits["options"] = json!({ "ttl_s": 1000 });
    assert_eq!(two.post("/v1/owner", &limits).await.status, 204);
    let told = member.control_of("room").await;
    assert!(told["ttl_s"].as_u64().is_some_and(|ttl| (900..=1000).contains(&ttl)), "{told}");

    assert_eq!(two.post("/v1/owner", &room.rule("close")).await.status, 204);
    assert_eq!(closing(&mut member).await, 4002);
    for node in [&one, &two] {
        assert_eq!(node.post("/v1/tokens", &room.ask()).await.status, 410);
        let again = node.post("/v1/rooms", &room.creation(json!(null))).await;
        assert_eq!(again.status, 410, "nobody makes it again");
    }
    one.stop().await;
    two.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_good_once_on_all_nodes_together() {
    let cluster = Cluster::new();
    let node = || cluster.node_with(|config| config.limit.connections_per_address = 1000);
    let nodes = [node().await, node().await, node().await];
    let room = nodes[0].create_room().await;
    let token = nodes[0].token(&room).await;
    let sockets = (0..300).map(|n| {
        let (node, token) = (&nodes[n % 3], &token);
        async move {
            let mut member = node.connect(token).await;
            match member.hear().await {
                Heard::Control(told) => (told["type"] == "welcome").then_some(member),
                Heard::Closed(code, _) => {
                    assert_eq!(code, 4104, "used");
                    None
                }
                other => panic!("heard {other:?}"),
            }
        }
    });
    let let_in = join_all(sockets).await.into_iter().flatten().count();
    assert_eq!(let_in, 1);
    for node in nodes {
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_redis_nobody_new_comes_in_and_the_node_lives() {
    let mut cluster = Cluster::new();
    let node = cluster.node().await;
    let room = node.create_room().await;
    let token = node.token(&room).await;
    let bus =
        async || call(node.ops, "GET", "/health", "", "").await.json()["checks"]["bus"].clone();
    let up = bus().await;
    assert!(up["status"] == "pass" && up["observedValue"].as_u64().unwrap() > 0, "{up}");
    cluster.redis.kill();
    until_ready(&node, 503).await;
    assert_eq!(node.get("/ready").await.json()["checks"]["redis"], false);
    let lost = json!({ "status": "fail", "observedValue": 0, "observedUnit": "ms" });
    assert_eq!(bus().await, lost);
    assert_eq!(node.get("/live").await.status, 200);
    for (path, body) in [
        ("/v1/rooms", room.creation(json!(null))),
        ("/v1/tokens", room.ask()),
        ("/v1/owner", room.rule("close")),
    ] {
        let answer = node.post(path, &body).await;
        assert_eq!(answer.status, 503, "{path}: {}", answer.text());
        assert!(answer.header("retry-after").is_some(), "{path}");
    }
    let protocols = format!("lethewire.v1, lethewire.bearer.{token}");
    let refused = node.handshake(&[("sec-websocket-protocol", &protocols)]).await;
    let Err(tokio_tungstenite::tungstenite::Error::Http(answer)) = refused else {
        panic!("a handshake succeeded");
    };
    assert_eq!(answer.status(), 503);
    assert_eq!(node.totals().refused(Refusal::Bus), 4);

    cluster.redis.restart();
    until_ready(&node, 200).await;
    assert_eq!(node.create_room().await.id.as_bytes().len(), 16);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_room_is_put_back_when_redis_has_lost_it() {
    let cluster = Cluster::new();
    let (one, two) = cluster.two().await;
    let closed = one.create_room().await;
    assert_eq!(one.post("/v1/owner", &closed.rule("close")).await.status, 204);
    let _: String = cluster.redis.ask(&["FLUSHALL"]).await;
    // Asked first, the node that knows says so, and then all know again.
    assert_eq!(one.post("/v1/tokens", &closed.ask()).await.status, 410);
    assert_eq!(two.post("/v1/tokens", &closed.ask()).await.status, 410);

    // Made anew by a node that did not know, it is closed again by the one that does.
    let _: String = cluster.redis.ask(&["FLUSHALL"]).await;
    let three = cluster.node().await;
    assert_eq!(three.post("/v1/rooms", &closed.creation(json!(null))).await.status, 201);
    assert_eq!(one.post("/v1/tokens", &closed.ask()).await.status, 410);
    assert_eq!(three.post("/v1/tokens", &closed.ask()).await.status, 410);
    for node in [one, two, three] {
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_has_just_started_lets_in_fewer() {
    let cluster = Cluster::new();
    let node = cluster
        .node_with(|config| {
            config.bus.warm_up_s = 3600;
            config.limit.connections = 1000;
        })
        .await;
    let room = node.create_room().await;
    let mut members = Vec::new();
    for _ in 0..10 {
        members.push(node.join(&room).await);
    }
    let token = node.token(&room).await;
    let protocols = format!("lethewire.v1, lethewire.bearer.{token}");
    let refused = node.handshake(&[("sec-websocket-protocol", &protocols)]).await;
    let Err(tokio_tungstenite::tungstenite::Error::Http(answer)) = refused else {
        panic!("the eleventh handshake succeeded");
    };
    assert_eq!(answer.status(), 503);
    assert!(answer.headers().contains_key("retry-after"));
    assert_eq!(node.totals().refused(Refusal::WarmUp), 1);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn members_of_two_nodes_are_in_one_room() {
    let cluster = Cluster::new();
    let (one, two) = cluster.two().await;
    let room = one.create_room().await;
    let mut alice = one.join_as_owner(&room).await;
    let mut bob = two.join(&room).await;
    assert_eq!(bob.welcome["members"].as_array().unwrap().len(), 2);
    assert_eq!(bob.welcome["epoch"], alice.welcome["epoch"]);
    let joined = alice.control_of("join").await;
    assert_eq!((&joined["member"], &joined["seq"]), (&json!(bob.id()), &json!(2)));

    // Numbers are the same on both sides, small and large, and the sender is told its own.
    alice.send(Member::ACK, 7, b"hello").await;
    assert_eq!(alice.control().await, json!({ "type": "ack", "ref": 7, "seq": 3 }));
    let heard = bob.data().await;
    assert_eq!((heard.seq, &heard.payload[..]), (3, &b"hello"[..]));
    bob.send(Member::ECHO, 0, &vec![5; 20_000]).await;
    assert_eq!((bob.data().await.seq, alice.data().await.payload.len()), (4, 20_000));
    bob.send_to(&alice.id(), 0, 1, b"psst").await;
    let heard = alice.data().await;
    assert!(heard.direct && heard.seq == 4 && heard.payload == b"psst");
    bob.send_to("AAAAAAAAAAA", 0, 9, b"psst").await;
    assert_eq!(bob.control().await["code"], "no_such_member");

    // The owner rules wherever somebody is.
    alice.tell(&json!({ "type": "owner", "op": "lock" })).await;
    assert_eq!(bob.control_of("room").await["locked"], true);
    assert_eq!(alice.control_of("room").await["locked"], true);
    alice.tell(&json!({ "type": "owner", "op": "kick", "member": bob.id() })).await;
    assert_eq!(bob.closed().await.0, 4004);
    assert_eq!(alice.control_of("leave").await["why"], "kicked");
    alice.tell(&json!({ "type": "owner", "op": "close" })).await;
    alice.control_of("closed").await;
    assert_eq!(alice.closed().await.0, 4002);
    one.stop().await;
    two.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn members_stay_while_redis_is_away_and_are_told() {
    let mut cluster = Cluster::new();
    let (one, two) = cluster.two().await;
    let room = one.create_room().await;
    let mut alice = one.join(&room).await;
    let mut bob = two.join(&room).await;
    alice.control_of("join").await;
    cluster.redis.kill();
    alice.control_of("paused").await;
    bob.control_of("paused").await;
    alice.send(Member::ACK, 7, b"now?").await;
    let refused = alice.control_of("error").await;
    assert_eq!((&refused["code"], &refused["ref"]), (&json!("unavailable"), &json!(7)));

    // It has forgotten everything.
    cluster.redis.restart();
    let reset = alice.control_of("reset").await;
    assert_ne!(reset["epoch"], alice.welcome["epoch"]);
    assert_eq!(bob.control_of("reset").await["epoch"], reset["epoch"]);
    alice.control_of("resumed").await;
    bob.control_of("resumed").await;
    alice.say(b"again").await;
    let heard = loop {
        match bob.hear().await {
            Heard::Data(data) => break data,
            // Also how the room is now, because a change of it may have been missed.
            Heard::Control(control) => {
                assert!(control["type"] == "join" || control["type"] == "room");
            }
            other => panic!("heard {other:?}"),
        }
    };
    assert_eq!(heard.payload, b"again");
    one.stop().await;
    two.stop().await;
}
