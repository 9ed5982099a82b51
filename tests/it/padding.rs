//! The three policies about payload sizes that are not announced.

use lethewire::metrics::Count;
use serde_json::json;

use crate::harness::{Member, TestRelay};

#[tokio::test]
async fn a_room_that_enforces_padding_closes_who_does_not_pad() {
    let relay = TestRelay::start(|_| ()).await;
    let (mut alice, mut bob) = two_who_pad(&relay, "enforce").await;
    bob.say(&[0; 1024]).await;
    assert_eq!(alice.data().await.payload.len(), 1024);
    bob.say(&[0; 1023]).await;
    assert_eq!(bob.closed().await, (4007, "padding_violation".to_owned()));
    alice.control_of("leave").await;
    assert_eq!(relay.count(Count::PaddingViolations), 0, "it is counted as a close");
    relay.stop().await;
}

#[tokio::test]
async fn a_room_that_warns_of_padding_delivers_and_tells_the_sender_once() {
    let relay = TestRelay::start(|_| ()).await;
    let (mut alice, mut bob) = two_who_pad(&relay, "warn").await;
    bob.send(0, 7, &[0; 1024]).await;
    bob.send(0, 8, &[0; 1023]).await;
    bob.send_to(&alice.id(), 0, 9, &[0; 1]).await;
    bob.send(0, 10, &[0; 1025]).await;
    for len in [1024, 1023, 1, 1025] {
        assert_eq!(alice.data().await.payload.len(), len);
    }
    let told = json!({ "type": "error", "code": "padding_violation", "ref": 8 });
    assert_eq!(bob.control().await, told);
    bob.tell(&json!({ "type": "ping", "n": 1 })).await;
    bob.control_of("pong").await;
    assert_eq!(relay.count(Count::PaddingViolations), 3);

    alice.send(0, 1, &[0; 2]).await;
    assert_eq!(alice.control().await["ref"], 1, "each connection is told");
    bob.data().await;
    alice.send(0, 2, &[0; 3]).await;
    bob.data().await;
    bob.leave().await;
    alice.control_of("leave").await;
    relay.stop().await;
}

#[tokio::test]
async fn a_frame_that_is_refused_is_no_padding_violation() {
    let relay = TestRelay::start(|config| config.limit.messages_per_10s = 1).await;
    let (mut alice, mut bob) = two_who_pad(&relay, "warn").await;
    bob.send(0, 1, &[0; 256]).await;
    alice.data().await;
    bob.send(0, 2, &[0; 255]).await;
    let refused = bob.control_of("error").await;
    assert_eq!((&refused["code"], &refused["ref"]), (&json!("rate_limited"), &json!(2)));
    alice.send_to("AAAAAAAAAAA", 0, 3, &[0; 1]).await;
    assert_eq!(alice.control_of("error").await["code"], "no_such_member");
    assert_eq!(relay.count(Count::PaddingViolations), 0);
    relay.stop().await;
}

#[tokio::test]
async fn a_room_without_a_policy_delivers_every_size() {
    let relay = TestRelay::start(|_| ()).await;
    let (mut alice, mut bob) = two_who_pad(&relay, "off").await;
    bob.say(&[0; 1023]).await;
    assert_eq!(alice.data().await.payload.len(), 1023);
    bob.tell(&json!({ "type": "ping", "n": 1 })).await;
    bob.control_of("pong").await;
    assert_eq!(relay.count(Count::PaddingViolations), 0);
    relay.stop().await;
}

/// Two members of a room with a padding policy; the first has heard the second come.
async fn two_who_pad(relay: &TestRelay, policy: &str) -> (Member, Member) {
    let room = relay.create_room_with(json!({ "padding": policy })).await;
    let mut alice = relay.join(&room).await;
    let bob = relay.join(&room).await;
    assert_eq!(bob.welcome["padding_policy"], policy);
    alice.control_of("join").await;
    (alice, bob)
}
