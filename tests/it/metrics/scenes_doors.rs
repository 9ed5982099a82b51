//! Scenes at the doors: requests, handshakes and tokens that are refused.

use serde_json::json;

use super::scenes::{ends_with, free};
use super::seen::Seen;
use crate::harness::{JSON, TestRelay, TestRoom, call, unix_now};
use lethewire::config::{Config, TrustProxy};
use lethewire::core::id::{from_base64url, to_base64url};

/// A request to each route, and some that are none.
pub(super) async fn requests(seen: &Seen) {
    let relay = TestRelay::start(free).await;
    for path in ["/", "/live", "/ready", "/v1/info", "/v1/ws", "/v1/tokens", "/v1/owner", "/x"] {
        relay.get(path).await;
    }
    for path in ["/live", "/ready", "/health", "/metrics", "/admin/config"] {
        call(relay.ops, "GET", path, "", "").await;
    }
    let odd = "Origin: http://elsewhere.example\r\n";
    relay.call("POST", "/v1/rooms", &format!("{odd}{JSON}"), "{}").await;
    relay.call("GET", "/v1/ws", odd, "").await;
    assert_eq!(relay.call("POST", "/v1/rooms", JSON, "{").await.status, 400);
    assert_eq!(relay.post("/v1/tokens", &TestRoom::new().ask()).await.status, 403);
    seen.look(&relay).await;
    relay.stop().await;
}

/// Rooms that let nobody in any more.
pub(super) async fn rooms(seen: &Seen) {
    let relay = TestRelay::start(free).await;
    let room = relay.create_room_with(json!({ "members_max": 2 })).await;
    let early = [relay.token(&room).await, relay.token(&room).await, relay.token(&room).await];
    let _members = (relay.join(&room).await, relay.join(&room).await);
    assert_eq!(relay.post("/v1/tokens", &room.ask()).await.status, 409);
    assert_eq!(relay.refused_with(&early[0]).await.0, 4204);
    let other = relay.create_room().await;
    let early = [relay.token(&other).await, relay.token(&other).await];
    assert_eq!(relay.post("/v1/owner", &other.rule("lock")).await.status, 204);
    assert_eq!(relay.refused_with(&early[0]).await.0, 4003);
    assert_eq!(relay.post("/v1/owner", &other.rule("close")).await.status, 204);
    assert_eq!(relay.refused_with(&early[1]).await.0, 4002);
    seen.until(&relay, &["websockets_closed_total{reason=\"room_locked\"}"]).await;
    seen.until(&relay, &["websockets_closed_total{reason=\"room_full\"}"]).await;
    relay.stop().await;
}

/// A token with another header.
fn with_header(token: &str, change: impl FnOnce(String) -> String) -> String {
    let (header, rest) = token.split_once('.').unwrap();
    let header = String::from_utf8(from_base64url(header, 1024).unwrap()).unwrap();
    format!("{}.{rest}", to_base64url(change(header).as_bytes()))
}

/// Tokens of every verdict but that of another audience, which needs two relays with one secret.
pub(super) async fn tokens(seen: &Seen) {
    let relay = TestRelay::start(free).await;
    let room = relay.create_room().await;
    let good = relay.mint(&room.id, "sr");
    let _member = relay.join_with(&good).await;
    let at = |offset: i64| {
        let mut at = unix_now();
        at.0 = at.0.saturating_add_signed(offset);
        relay.mint_at(&room.id, "sr", at, None)
    };
    let fresh = relay.mint(&room.id, "sr");
    let mut changed = fresh.clone().into_bytes();
    let middle = fresh.rfind('.').unwrap() + 5;
    changed[middle] = if changed[middle] == b'A' { b'B' } else { b'A' };
    for (token, code) in [
        (good.clone(), 4104),
        ("rubbish".to_owned(), 4101),
        (with_header(&fresh, |header| header.replace("HS256", "HS512")), 4101),
        (with_header(&fresh, |header| header.replace("k1", "k9")), 4101),
        (String::from_utf8(changed).unwrap(), 4101),
        (at(3600), 4101),
        (at(-3600), 4102),
    ] {
        assert_eq!(relay.refused_with(&token).await.0, code, "{token}");
    }
    let several = format!("lethewire.v1, lethewire.bearer.{fresh}, lethewire.bearer.{good}");
    for protocols in ["lethewire.v1", &several, "lethewire.v9"] {
        // Told by a close, or by an answer.
        if let Ok((mut member, _)) = relay.handshake(&[("sec-websocket-protocol", protocols)]).await
        {
            let _told = member.hear().await;
        }
    }
    let bearer = format!("Bearer {fresh}");
    if let Ok((mut member, _)) = relay.handshake(&[("authorization", &bearer)]).await {
        let _told = member.hear().await;
    }
    relay.until("all of them gone", |now| now.connections == 1).await;
    seen.look(&relay).await;
    relay.stop().await;
}

/// Who comes by a proxy that is none.
pub(super) async fn proxies(seen: &Seen) {
    let proxied = async |trusted: &str| {
        let trusted = trusted.parse().unwrap();
        TestRelay::start(|config: &mut Config| {
            config.server.trust_proxy = TrustProxy::ProxyProtocol;
            config.server.trust_proxy_from = vec![trusted];
            config.server.ops_listen = Some(([127, 0, 0, 1], 0).into());
        })
        .await
    };
    for (trusted, reason) in [("127.0.0.0/8", "proxy_header"), ("192.0.2.0/24", "untrusted_proxy")]
    {
        let relay = proxied(trusted).await;
        let mut talk = relay.talk().await;
        talk.try_say("GET /live HTTP/1.1\r\nHost: a\r\n\r\n").await;
        assert_eq!(talk.ended().await, b"");
        seen.until(&relay, &[&format!("refusals_total{{reason=\"{reason}\"}}")]).await;
        relay.stop().await;
    }
    // What is left of the handshake's own refusals.
    let relay = TestRelay::start(free).await;
    let mut member = relay.connect("rubbish").await;
    ends_with(&mut member, 4101).await;
    seen.look(&relay).await;
    relay.stop().await;
}
