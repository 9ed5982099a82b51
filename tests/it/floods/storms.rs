//! Members who keep to the rules, but all the time.

use serde_json::json;
use tokio::task::JoinSet;

use super::Scene;
use crate::harness::{JSON, Member};
use lethewire::metrics::Count;

/// How often.
const TIMES: usize = 150;

#[tokio::test]
async fn a_storm_of_joins_and_leaves() {
    let mut scene = Scene::with(|_| ()).await;
    for _ in 0..TIMES {
        let mut three = Vec::new();
        for _ in 0..3 {
            three.push(scene.relay.join_with(&scene.token("sr")).await);
        }
        for member in three {
            member.leave().await;
        }
    }
    scene.pair.goes_on().await;
    let totals = scene.relay.totals();
    assert_eq!(totals.count(Count::Joins), 2 + 3 * TIMES as u64);
    assert_eq!(totals.count(Count::Leaves), 3 * TIMES as u64);
    scene.ends_well().await;
}

#[tokio::test]
async fn a_storm_of_kicks() {
    let scene = Scene::with(|_| ()).await;
    let mut owner = scene.relay.join_with(&scene.token("so")).await;
    for _ in 0..TIMES {
        let mut guest = scene.relay.join_with(&scene.token("s")).await;
        owner.tell(&json!({ "type": "owner", "op": "kick", "member": guest.id() })).await;
        assert_eq!(guest.closed().await, (4004, "kicked".to_owned()));
    }
    owner.leave().await;
    assert_eq!(scene.relay.count(Count::Kicks), TIMES as u64);
    scene.ends_well().await;
}

#[tokio::test]
async fn a_storm_of_messages_from_many() {
    let scene = Scene::with(|_| ()).await;
    let mut storm = JoinSet::new();
    for _ in 0..8 {
        let mut member = scene.relay.join_with(&scene.token("s")).await;
        storm.spawn(async move {
            for _ in 0..TIMES {
                member.send(Member::ACK, 0, b"hello").await;
                member.control_of("ack").await;
            }
            member.leave().await;
        });
    }
    storm.join_all().await;
    scene.ends_well().await;
}

#[tokio::test]
async fn a_storm_of_wrong_keys() {
    let scene = Scene::with(|_| ()).await;
    let mut wrong = scene.room.ask();
    wrong["key"] = json!("A".repeat(43));
    let mut talk = scene.relay.talk().await;
    let body = wrong.to_string();
    for _ in 0..TIMES {
        let length = body.len();
        talk.say(format!(
            "POST /v1/tokens HTTP/1.1\r\nHost: a\r\n{JSON}Content-Length: {length}\r\n\r\n{body}"
        ))
        .await;
        talk.answer().await.assert_problem(403, "admission-failed");
    }
    drop(talk);
    scene.ends_well().await;
}
