//! Many at once: 2000, or as many as `FLOOD_CROWD` says, as far as descriptors allow:
//! `FLOOD_CROWD=10000 cargo test --test it floods::crowds -- --test-threads 1`.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::Scene;
use crate::harness::{Ending, Rogue, handshake, within};
use lethewire::core::close::Close;
use lethewire::metrics::{Aggregate, Count, Refusal};

/// How many come. Each takes two descriptors here, one at each end.
#[expect(clippy::disallowed_methods, reason = "how hard to test is no configuration of the relay")]
fn crowd() -> usize {
    let limit = getrlimit(Resource::Nofile);
    // As the relay does for itself. A limit that cannot be raised makes the crowd smaller.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
    let descriptors = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let descriptors = usize::try_from(descriptors).unwrap_or(usize::MAX);
    match std::env::var("FLOOD_CROWD") {
        // Whoever asks for more runs these tests one at a time.
        Ok(asked) => {
            asked.parse::<usize>().expect("a number").min((descriptors / 2).saturating_sub(200))
        }
        Err(_) => 2000.min(descriptors / 8),
    }
}

/// All of them connect and write this; what they answer is not read.
async fn come(scene: &Scene, mut bytes: impl FnMut() -> Vec<u8>) -> Vec<Rogue> {
    let size = crowd();
    let mut crowd = Vec::with_capacity(size);
    for _ in 0..size {
        let mut rogue = Rogue::connect(scene.relay.addr).await;
        rogue.write(&bytes()).await;
        crowd.push(rogue);
    }
    crowd
}

#[tokio::test]
async fn upgrades_that_never_read() {
    let scene = Scene::with(|config| {
        config.heartbeat.ping_interval_ms = 1000;
        config.heartbeat.misses = 1;
    })
    .await;
    let rooms = [scene.relay.create_room().await, scene.relay.create_room().await];
    let mut turns = (0..).map(|turn: usize| &rooms[turn % 2]);
    let mut next = || scene.relay.mint(&turns.next().unwrap().id, "s");
    let crowd = come(&scene, || handshake(&next()).into_bytes()).await;
    scene.relay.until("their end", |now| now.connections == 2).await;
    let totals = scene.relay.totals();
    assert_eq!(totals.count(Count::Joins), crowd.len() as u64 + 2);
    assert_eq!(totals.closed(Close::HeartbeatLost), crowd.len() as u64);
    scene.ends_well().await;
}

#[tokio::test]
async fn upgrades_with_bad_tokens_that_never_read() {
    let scene = Scene::with(|_| ()).await;
    let crowd = come(&scene, || handshake("x").into_bytes()).await;
    scene.relay.until("their end", |now| now.connections == 2).await;
    assert_eq!(scene.relay.totals().refused(Refusal::Token), crowd.len() as u64);
    scene.ends_well().await;
}

#[tokio::test]
async fn half_open_requests() {
    let scene = Scene::with(|config| config.http.header_timeout_ms = 1000).await;
    let crowd = come(&scene, || b"GET /v1/ws HTTP/1.1\r\nHo".to_vec()).await;
    within("their end", scene.relay.until("their end", |now| now.connections == 2)).await;
    assert_eq!(scene.relay.totals().refused(Refusal::Request), crowd.len() as u64);
    scene.ends_well().await;
}

#[tokio::test]
async fn connections_that_come_and_go() {
    let mut scene = Scene::with(|_| ()).await;
    for round in 0..crowd() {
        let rogue = Rogue::connect(scene.relay.addr).await;
        match round % 3 {
            0 => rogue.reset(),
            _ => drop(rogue),
        }
        if round % 100 == 0 {
            scene.pair.goes_on().await;
        }
    }
    scene.ends_well().await;
}

#[tokio::test]
async fn more_connections_than_there_are_places() {
    let mut scene = Scene::with(|config| config.limit.connections = PLACES).await;
    let mut crowd = come(&scene, Vec::new).await;
    scene.pair.goes_on().await;
    // Some sit in the other places, some wait for an answer that says so, and the rest is dropped.
    let open = u64::from(PLACES) + ANSWERED_MAX;
    let dropped = (crowd.len() as u64 + 2).saturating_sub(open);
    assert!(dropped > 0, "the crowd is too small");
    let refused = |now: &Aggregate| now.refused(Refusal::Capacity);
    scene.relay.until("the rest to be dropped", |now| refused(now) >= dropped).await;
    assert!(scene.relay.totals().connections <= open);
    assert_eq!(crowd.pop().unwrap().ending().await, Ending::Cut);
    drop(crowd);
    scene.ends_well().await;
}

const PLACES: u32 = 50;
/// Connections above the limit that the relay answers at the same time.
const ANSWERED_MAX: u64 = 128;
