//! The harness does what the tests rely on: links, servers that forget, clocks that jump.

use std::process::Command;
use std::time::Duration;

use super::process::{Clock, Process};
use super::proxy::{Link, State};
use super::redis::{Redis, Sentinel, cluster};
use super::{PATIENCE, Resp, until};

/// What a connection over the link is answered, if it is within a short time.
async fn pinged(talk: &mut Resp) -> Option<String> {
    tokio::time::timeout(Duration::from_millis(200), talk.ask("PING")).await.ok()?
}

#[tokio::test]
async fn a_link_is_cut_clogged_slowed_and_recorded() {
    let folder = tempfile::tempdir().unwrap();
    let redis = Redis::start(folder.path(), &[]).await;
    let link = Link::to(redis.port).await;
    link.record();
    let mut talk = Resp::connect(link.port).await.unwrap();
    assert_eq!(pinged(&mut talk).await.as_deref(), Some("PONG"));

    link.set(State::Clogged);
    assert_eq!(pinged(&mut talk).await, None, "clogged");
    link.set(State::Open(Duration::ZERO));
    // The answer to what was held back comes first.
    assert_eq!(talk.line().await.as_deref(), Some("+PONG"));
    link.set(State::Open(Duration::from_millis(300)));
    assert_eq!(pinged(&mut talk).await, None, "slow");
    assert_eq!(talk.line().await.as_deref(), Some("+PONG"));

    link.set(State::Cut);
    assert_eq!(talk.line().await, None, "cut");
    let mut cut = Resp::connect(link.port).await.unwrap();
    assert_eq!(cut.ask("PING").await, None, "new ones too");
    let passed = link.recorded();
    assert!(passed.windows(4).any(|four| four == b"PING"), "there");
    assert!(passed.windows(4).any(|four| four == b"PONG"), "and back");
}

#[tokio::test]
async fn redis_that_was_killed_has_forgotten() {
    let folder = tempfile::tempdir().unwrap();
    let mut redis = Redis::start(folder.path(), &[]).await;
    redis.ask("SET a 1").await;
    redis.kill();
    assert!(Resp::connect(redis.port).await.is_none());
    redis.restart().await;
    assert_eq!(redis.ask("GET a").await, "");
}

#[tokio::test]
async fn a_failover_loses_what_the_replica_did_not_hear() {
    let folder = tempfile::tempdir().unwrap();
    let mut sentinel = Sentinel::start(folder.path()).await;
    sentinel.master.ask("SET heard 1").await;
    until(PATIENCE, "the replica to hear it", async || {
        sentinel.replica.ask("GET heard").await == "1"
    })
    .await;
    sentinel.part().await;
    sentinel.master.ask("SET lost 1").await;
    sentinel.master.kill();
    sentinel.failed_over().await;
    assert_eq!(sentinel.replica.ask("GET heard").await, "1");
    assert_eq!(sentinel.replica.ask("GET lost").await, "");
}

#[tokio::test]
async fn a_cluster_has_three_masters() {
    let folder = tempfile::tempdir().unwrap();
    for master in cluster(folder.path()).await {
        let told = master.ask("CLUSTER INFO").await;
        assert!(told.contains("cluster_slots_ok:16384") && told.contains("cluster_size:3"));
    }
}

#[tokio::test]
async fn a_clock_jumps() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Clock::new(folder.path(), "date").expect("libfaketime is installed");
    clock.jump("+3600");
    let mut command = Command::new("date");
    command.arg("+%s").envs(clock.environment());
    let process = Process::start(&command, folder.path(), "date");
    let mut said = None;
    until(PATIENCE, "the date", async || {
        said = process.said().trim().parse::<u64>().ok();
        said.is_some()
    })
    .await;
    let ahead = said.unwrap() - lethewire::clock::unix_now().0;
    assert!((3500..3700).contains(&ahead), "{ahead}");
}
