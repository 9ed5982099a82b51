//! Several Redis servers: independent ones, a pair under a sentinel, a cluster.

use lethewire::bus::{Refused, Servers};

use super::node::{Node, until};
use super::redis::{Redis, free_port};

#[tokio::test(flavor = "multi_thread")]
async fn independent_servers_share_the_rooms_and_one_that_is_lost_takes_only_its_own() {
    let (stays, mut goes) = (Redis::start(), Redis::start());
    let mut urls = vec![stays.url(), goes.url()];
    let one = Node::on(Servers::Shards(urls.clone())).await;
    // Whoever lists them in another order means the same.
    urls.reverse();
    let two = Node::on(Servers::Shards(urls)).await;
    let (mut here, mut there) = (Vec::new(), Vec::new());
    for name in 0..40 {
        here.push(one.room(name).await);
        there.push(two.room(name).await);
    }
    for (speaker, hearer) in here.iter().zip(&there) {
        speaker.say(b"hello");
        hearer.until(|state| state.heard.len() == 1).await;
    }
    let count: Vec<String> = goes.ask(&["KEYS", "*}:o*"]).await;
    assert!((5..35).contains(&count.len()), "{}", count.len());
    goes.kill();
    let detached = || here.iter().filter(|room| room.state().detached == 1).count();
    until(|| detached() == count.len()).await;
    assert!(!one.bus.is_up());
    let others = here.iter().zip(&there).filter(|(room, _)| room.state().detached == 0);
    for (speaker, hearer) in others {
        speaker.say(b"still here");
        hearer.until(|state| state.heard.len() == 2).await;
    }
    goes.restart();
    until(|| here.iter().all(|room| room.state().is_attached)).await;
    one.until_up().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_master_that_sentinels_name_is_followed() {
    let mut master = Redis::on_port(&[]);
    let port = master.port.to_string();
    let replica = Redis::on_port(&["--replicaof", &format!("127.0.0.1 {port}")]);
    let linked = || async {
        let text: String = replica.ask(&["INFO", "replication"]).await;
        text.contains("master_link_status:up")
    };
    while !linked().await {}
    let sentinel = Redis::sentinel_of(&master);
    let knows_replica = || async {
        let text: String = sentinel.ask(&["INFO", "sentinel"]).await;
        text.contains("slaves=1")
    };
    while !knows_replica().await {}
    let node = Node::on(Servers::Sentinel {
        sentinels: vec!["redis://127.0.0.1:1".to_owned(), sentinel.url()],
        master: "main".to_owned(),
        login: None,
    })
    .await;
    let here = node.room(1).await;
    here.say(b"before");
    here.until(|state| state.heard.len() == 1).await;
    let before = here.state().at.unwrap().0;
    master.kill();
    // Sentinels take their time to agree.
    for _ in 0..3 {
        if let Ok(()) = here.in_time(|state| state.attached > 1 && state.is_attached).await {
            break;
        }
    }
    assert!(here.state().at.unwrap().0 != before, "what the replica has need not be all");
    here.say(b"after");
    here.until(|state| state.heard.last().is_some_and(|heard| heard.3 == b"after")).await;
    let keys: Vec<String> = replica.ask(&["KEYS", "*}:o*"]).await;
    assert_eq!(keys.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_is_followed_when_a_slot_moves() {
    let servers = cluster().await;
    let seeds = || Servers::Cluster(vec!["redis://127.0.0.1:1".to_owned(), servers[0].url()]);
    let (one, two) = (Node::on(seeds()).await, Node::on(seeds()).await);
    let (mut here, mut there) = (Vec::new(), Vec::new());
    for name in 0..20 {
        here.push(one.room(name).await);
        there.push(two.room(name).await);
    }
    for (speaker, hearer) in here.iter().zip(&there) {
        speaker.changes(&[1], &[], 1);
        speaker.changes(&[2], &[], 1);
        hearer.until(|state| state.heard.len() == 1).await;
        speaker.until(|state| state.refused == [Refused::Full]).await;
    }
    for server in &servers {
        let keys: Vec<String> = server.ask(&["KEYS", "*}:o*"]).await;
        assert!(!keys.is_empty());
    }
    // One room's slot moves from the first server to the second, keys and all.
    let keys: Vec<String> = servers[0].ask(&["KEYS", "*}:o*"]).await;
    move_slot(&servers, &keys[0]).await;
    until(|| here.iter().chain(&there).any(|room| room.state().attached > 1)).await;
    for room in here.iter().chain(&there) {
        room.until(|state| state.is_attached).await;
    }
    for (speaker, hearer) in here.iter().zip(&there) {
        until(|| speaker.state().at.map(|at| at.0) == hearer.state().at.map(|at| at.0)).await;
        speaker.say(b"after");
        let after = |state: &super::node::State| {
            state.heard.last().is_some_and(|heard| heard.3 == b"after")
        };
        hearer.until(after).await;
    }
    let moved: Vec<String> = servers[1].ask(&["KEYS", &keys[0]]).await;
    assert_eq!(moved, keys[..1]);
}

/// Three masters that have found each other.
async fn cluster() -> Vec<Redis> {
    let mut servers = Vec::new();
    for _ in 0..3 {
        let bus = free_port().to_string();
        let options = ["--cluster-enabled", "yes", "--cluster-port", &bus];
        let server = Redis::on_port(&options);
        servers.push((server, bus));
    }
    let ranges = [("0", "5460"), ("5461", "10922"), ("10923", "16383")];
    for (at, ((server, _), (first, last))) in servers.iter().zip(ranges).enumerate() {
        let () = server.ask(&["CLUSTER", "ADDSLOTSRANGE", first, last]).await;
        let () = server.ask(&["CLUSTER", "SET-CONFIG-EPOCH", &(at + 1).to_string()]).await;
    }
    for (server, bus) in &servers[1..] {
        let port = server.port.to_string();
        let () = servers[0].0.ask(&["CLUSTER", "MEET", "127.0.0.1", &port, bus]).await;
    }
    for (server, _) in &servers {
        let is_whole = || async {
            let text: String = server.ask(&["CLUSTER", "INFO"]).await;
            text.contains("cluster_state:ok") && text.contains("cluster_known_nodes:3")
        };
        while !is_whole().await {}
    }
    servers.into_iter().map(|(server, _)| server).collect()
}

async fn move_slot(servers: &[Redis], key: &str) {
    let (from, to) = (&servers[0], &servers[1]);
    let slot: i64 = from.ask(&["CLUSTER", "KEYSLOT", key]).await;
    let slot = slot.to_string();
    let source: String = from.ask(&["CLUSTER", "MYID"]).await;
    let target: String = to.ask(&["CLUSTER", "MYID"]).await;
    let () = to.ask(&["CLUSTER", "SETSLOT", &slot, "IMPORTING", &source]).await;
    let () = from.ask(&["CLUSTER", "SETSLOT", &slot, "MIGRATING", &target]).await;
    let keys: Vec<String> = from.ask(&["CLUSTER", "GETKEYSINSLOT", &slot, "100"]).await;
    let port = to.port.to_string();
    for key in &keys {
        let () = from.ask(&["MIGRATE", "127.0.0.1", &port, key, "0", "5000"]).await;
    }
    for server in [to, from, &servers[2]] {
        let () = server.ask(&["CLUSTER", "SETSLOT", &slot, "NODE", &target]).await;
    }
}
