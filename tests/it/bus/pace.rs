//! How quick the bus is. Measured by hand, on a machine that does nothing else:
//! `cargo test --release --test it bus::pace -- --ignored --nocapture`.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use lethewire::bus::Topic;
use lethewire::clock;
use lethewire::core::id::RoomId;

use super::node::{Node, Room};
use super::redis::Redis;

const ROOMS: usize = 1000;
const EACH: usize = 300;

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
#[ignore = "a measurement"]
async fn batches_of_one_message_in_1000_rooms() {
    let redis = Redis::start();
    let node = Node::start(&redis.url()).await;
    let mut rooms = Vec::new();
    for n in 0..ROOMS {
        let mut name = [0; 16];
        name[..8].copy_from_slice(&n.to_be_bytes());
        rooms.push(Room::new(&node.bus, RoomId::new(&name).unwrap()));
    }
    for some in rooms.chunks(100) {
        let attach = some.iter().map(|room| node.bus.attach(Arc::clone(room) as Arc<dyn Topic>));
        assert!(join_all(attach).await.into_iter().all(|done| done.is_ok()));
    }
    let () = redis.ask(&["CONFIG", "RESETSTAT"]).await;
    let started = clock::now();
    for room in &rooms {
        for _ in 0..EACH {
            room.say(&[7; 100]);
        }
    }
    for room in &rooms {
        room.until(|state| state.heard.len() == EACH).await;
    }
    let took = clock::now().since(started);
    let stats: String = redis.ask(&["INFO", "commandstats"]).await;
    let calls = stats.lines().find(|line| line.starts_with("cmdstat_evalsha")).unwrap();
    let per_second = (ROOMS * EACH) as u128 * 1_000_000 / took.as_micros();
    let cpu: String = redis.ask(&["INFO", "cpu"]).await;
    let user: Vec<_> = cpu.lines().filter(|line| line.starts_with("used_cpu_")).collect();
    println!("{user:?}");
    println!("{per_second} messages/s; {calls}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
#[ignore = "a measurement"]
async fn one_message_at_a_time() {
    let redis = Redis::start();
    let node = Node::start(&redis.url()).await;
    let room = node.room(1).await;
    let mut times = Vec::new();
    for n in 1..=5000 {
        let started = clock::now();
        room.say(&[7; 100]);
        room.until(|state| state.heard.len() == n).await;
        times.push(clock::now().since(started));
    }
    times.sort();
    let at = |share: usize| times[times.len() * share / 100];
    println!("p50 {:?}, p99 {:?}", at(50), at(99));
    assert!(at(50) < Duration::from_millis(5));
}
