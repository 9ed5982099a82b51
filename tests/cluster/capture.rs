//! Redis sees nothing: `MONITOR` and every byte of the links, under load, hold no name, token, key or
//! payload in any spelling. A control shows that each would be found in both places.

mod spellings;

use std::time::Duration;

use lethewire::core::id::from_base64url;
use serde_json::Value;
use tokio::task::JoinSet;

use self::spellings::{Needles, spellings};
use crate::harness::{Cluster, Crowd, Link, MARK, Resp, Room, Setup, soon};
use crate::verdicts::assert_good;

const NODES: usize = 2;
/// What is captured at least, or it was no load.
const BYTES_MIN: usize = 200_000;
/// Ends what `MONITOR` is listened to.
const LAST_WORD: &str = "the-end-of-the-capture";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_sees_no_name_no_token_and_no_payload() {
    let cluster = Cluster::start(Setup::Single, NODES).await;
    let addrs = cluster.addrs();
    let mut monitor = cluster.redis[0].talk().await;
    assert_eq!(monitor.ask("MONITOR").await.as_deref(), Some("OK"));
    let mut watching = JoinSet::new();
    watching.spawn(watch(monitor));
    cluster.links.iter().for_each(Link::record);

    let mut crowd = Crowd::gather(&addrs, 2, 2).await;
    let mut canaries = vec![("payload", MARK.to_vec())];
    canaries.extend(crowd.names().iter().map(|name| ("member", name.to_be_bytes().to_vec())));
    canaries.extend(crowd.rooms.iter().flat_map(Room::secrets));
    canaries.extend(crowd.tokens().iter().flat_map(|token| parts_of(token)));
    crowd.talk(Duration::from_millis(5));
    crowd.until_acked(2_000, Duration::from_secs(60)).await;
    crowd.add(0, 1, addrs[1]).await.expect("let in");
    assert_eq!(crowd.rooms[0].rule(addrs[1], "lock", None).await, 204);
    assert_eq!(crowd.rooms[1].rule(addrs[0], "close", None).await, 204);
    assert_good("a capture", &crowd.end().await);

    cluster.redis[0].ask(&format!("ECHO {LAST_WORD}")).await;
    let monitored = soon("MONITOR", watching.join_next()).await.unwrap().unwrap();
    let passed = cluster.links.iter().map(Link::recorded).collect::<Vec<_>>().concat();
    for (place, bytes) in [("MONITOR", &monitored), ("the links", &passed)] {
        assert!(bytes.len() > BYTES_MIN, "{place}: {} bytes are no load", bytes.len());
        let found = Needles::of(&canaries).found_in(bytes);
        assert!(found.is_empty(), "{place}: {found:?}");
    }
    println!(
        "capture: none of {} canaries in {} bytes of MONITOR and {} bytes of the links",
        canaries.len(),
        monitored.len(),
        passed.len()
    );
    each_would_be_found(&cluster, &canaries).await;
}

/// The control: what is told to Redis through a link is found in both places.
async fn each_would_be_found(cluster: &Cluster, canaries: &[(&'static str, Vec<u8>)]) {
    let mut monitor = cluster.redis[0].talk().await;
    assert_eq!(monitor.ask("MONITOR").await.as_deref(), Some("OK"));
    let mut watching = JoinSet::new();
    watching.spawn(watch(monitor));
    cluster.links[0].record();
    let mut told =
        soon("the link", Resp::connect(cluster.links[0].port)).await.expect("it listens");
    for (_, canary) in canaries {
        told.ask_bytes(&[b"ECHO", canary]).await.expect("it answers");
    }
    told.ask(&format!("ECHO {LAST_WORD}")).await;
    let monitored = soon("MONITOR", watching.join_next()).await.unwrap().unwrap();
    let passed = cluster.links[0].recorded();
    for (field, canary) in canaries {
        let needles = Needles::of(&[(*field, canary.clone())]);
        for (place, bytes) in [("MONITOR", &monitored), ("the link", &passed)] {
            assert!(!needles.found_in(bytes).is_empty(), "{field} is not found in {place}");
        }
    }
}

/// What `MONITOR` shows until the last word.
async fn watch(mut monitor: Resp) -> Vec<u8> {
    let mut shown = Vec::new();
    while let Some(line) = monitor.line().await {
        shown.extend(line.as_bytes());
        shown.push(b'\n');
        if line.contains(LAST_WORD) {
            break;
        }
    }
    shown
}

/// A token, and what is in it.
fn parts_of(token: &str) -> Vec<(&'static str, Vec<u8>)> {
    let parts: Vec<_> =
        token.split('.').map(|part| from_base64url(part, 1024).expect("base64url")).collect();
    let claims: Value = serde_json::from_slice(&parts[1]).expect("claims");
    let jti = from_base64url(claims["jti"].as_str().unwrap(), 16).unwrap();
    vec![("token", token.as_bytes().to_vec()), ("signature", parts[2].clone()), ("jti", jti)]
}

#[test]
fn every_spelling_is_found_where_it_stands() {
    for canary in [MARK.to_vec(), vec![7, 0, 255, 128, 34, 92, 10, 200]] {
        let needles = Needles::of(&[("control", canary.clone())]);
        for (how, needle) in spellings(&canary) {
            assert!(needle.len() >= 8, "{how} is found everywhere");
            let text = [b"before", &needle[..], b"behind"].concat();
            assert!(!needles.found_in(&text).is_empty(), "{how}");
            let cut = [b"before", &needle[..needle.len() - 1], b"\xEE"].concat();
            let is_there = |found: &String| found.ends_with(how);
            assert!(!needles.found_in(&cut).iter().any(is_there), "{how} is found where it is not");
        }
    }
}
