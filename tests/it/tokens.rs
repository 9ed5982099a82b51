//! Tokens as the relay hands them out and as a backend mints them: what they allow, and how long.

use serde_json::json;

use crate::harness::{TestRelay, unix_now};

#[tokio::test]
async fn a_token_says_what_the_call_promised() {
    let relay = TestRelay::start(|config| config.token.ttl_s = 30).await;
    let room = relay.create_room().await;
    let answer = relay.post("/v1/tokens", &room.ask()).await;
    let body = answer.json();
    assert_eq!(body["expires_in_s"], 30);
    assert_eq!(body.as_object().unwrap().len(), 3, "token, expires_in_s, ws");
    let token = body["token"].as_str().unwrap();
    assert!(token.len() <= 1024);
    let claims = token.split('.').nth(1).unwrap();
    let claims = lethewire::core::id::from_base64url(claims, 1024).unwrap();
    let claims: serde_json::Value = serde_json::from_slice(&claims).unwrap();
    assert_eq!(claims["room"], room.id.to_base64url());
    assert_eq!(claims["cap"], "sr");
    let lifetime = claims["exp"].as_u64().unwrap() - claims["iat"].as_u64().unwrap();
    assert_eq!(lifetime, 30);
    relay.stop().await;
}

#[tokio::test]
async fn capabilities_are_those_of_the_token() {
    let relay = TestRelay::start(|_| ()).await;
    let room = relay.create_room().await;
    for cap in ["s", "r", "sr", "sro", "src"] {
        let member = relay.join_with(&relay.mint(&room.id, cap)).await;
        assert_eq!(member.welcome["cap"], cap);
    }
    let owner = relay.join_as_owner(&room).await;
    assert_eq!(owner.welcome["cap"], "sro");
    relay.stop().await;
}

#[tokio::test]
async fn a_member_without_the_capability_is_no_owner() {
    let relay = TestRelay::start(|_| ()).await;
    let room = relay.create_room().await;
    let mut member = relay.join(&room).await;
    member.tell(&json!({ "type": "owner", "op": "lock" })).await;
    let answer = member.control_of("error").await;
    assert_eq!(answer["code"], "not_permitted");
    assert_eq!(relay.post("/v1/tokens", &room.ask()).await.status, 200, "nothing was locked");
    relay.stop().await;
}

#[tokio::test]
async fn a_session_lasts_as_long_as_the_token_says() {
    let relay = TestRelay::start(|_| ()).await;
    let room = relay.create_room().await;
    let token = relay.mint_at(&room.id, "sr", unix_now(), Some(1));
    let mut member = relay.join_with(&token).await;
    assert_eq!(member.closed().await, (4103, "session_expired".to_owned()));
    relay.stop().await;
}

#[tokio::test]
async fn a_token_from_the_future_is_good_within_the_skew_and_not_beyond() {
    let relay = TestRelay::start(|config| config.token.skew_s = 30).await;
    let room = relay.create_room().await;
    let at = |offset: i64| {
        let mut at = unix_now();
        at.0 = at.0.saturating_add_signed(offset);
        relay.mint_at(&room.id, "sr", at, None)
    };
    relay.join_with(&at(15)).await;
    assert_eq!(relay.refused_with(&at(120)).await.0, 4101);
    // Issued 75 s ago for 60 s: over, but not by more than the clocks may differ.
    relay.join_with(&at(-75)).await;
    assert_eq!(relay.refused_with(&at(-120)).await.0, 4102);
    relay.stop().await;
}

#[tokio::test]
async fn a_token_of_another_relay_is_not_good_here() {
    let (one, two) = (TestRelay::start(|_| ()).await, TestRelay::start(|_| ()).await);
    let room = one.create_room().await;
    let made = two.post("/v1/rooms", &room.creation(serde_json::Value::Null)).await;
    assert_eq!(made.status, 201);
    let token = one.token(&room).await;
    assert_eq!(two.refused_with(&token).await.0, 4101);
    one.join_with(&token).await;
    one.stop().await;
    two.stop().await;
}
