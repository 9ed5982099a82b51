//! The PROXY protocol: whom a header makes a client, and what anything else gets.

use std::net::Ipv4Addr;

use lethewire::config::{Config, TrustProxy};
use lethewire::metrics::{Aggregate, Refusal};

use crate::harness::{Answered, Talk, TestRelay};

const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
const LIVE: &str = "GET /live HTTP/1.1\r\nHost: a\r\n\r\n";
const INFO: &str = "GET /v1/info HTTP/1.1\r\nHost: a\r\n\r\n";

/// A relay that takes the PROXY protocol from loopback, and one connection per address.
async fn relay(adjust: impl FnOnce(&mut Config)) -> TestRelay {
    TestRelay::start(|config| {
        config.server.trust_proxy = TrustProxy::ProxyProtocol;
        config.server.trust_proxy_from = vec!["127.0.0.0/8".parse().unwrap()];
        config.limit.connections_per_address = 1;
        adjust(config);
    })
    .await
}

fn header(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let len = u16::try_from(rest.len()).unwrap().to_be_bytes();
    [SIGNATURE, &[command, family], &len, rest].concat()
}

/// The header of a client with this address.
fn from(client: [u8; 4]) -> Vec<u8> {
    header(0x21, 0x11, &[&client[..], &[127, 0, 0, 1, 0x12, 0x34, 0, 80]].concat())
}

/// A connection that says this first and then sends a request.
async fn ask(relay: &TestRelay, first: &[u8], request: &str) -> (Talk, Answered) {
    let mut talk = relay.talk().await;
    talk.say([first, request.as_bytes()].concat()).await;
    let answer = talk.answer().await;
    (talk, answer)
}

#[tokio::test]
async fn each_client_has_limits_of_its_own() {
    let relay = relay(|_| ()).await;
    let (one, answer) = ask(&relay, &from([203, 0, 113, 1]), INFO).await;
    assert_eq!(answer.status, 200);
    let (_, refused) = ask(&relay, &from([203, 0, 113, 1]), INFO).await;
    refused.assert_problem(429, "quota-exceeded");
    let (_two, other) = ask(&relay, &from([203, 0, 113, 2]), INFO).await;
    assert_eq!(other.status, 200, "another client of the same proxy");
    assert_eq!(relay.totals().refused(Refusal::AddressConnections), 1);
    drop(one);
    relay.until("the first place to be free", |now| now.connections == 1).await;
    let (_, again) = ask(&relay, &from([203, 0, 113, 1]), INFO).await;
    assert_eq!(again.status, 200);
    relay.stop().await;
}

#[tokio::test]
async fn a_member_counts_for_the_client_that_the_header_names() {
    let relay = relay(|_| ()).await;
    let room = crate::harness::TestRoom::new();
    let connect = async |client: [u8; 4]| {
        let token = relay.mint(&room.id, "src");
        let head = format!(
            "GET /v1/ws HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
             X-Forwarded-For: 198.51.100.7\r\n\
             Sec-WebSocket-Protocol: lethewire.v1, lethewire.bearer.{token}\r\n\r\n"
        );
        let mut talk = relay.talk().await;
        talk.say([&from(client)[..], head.as_bytes()].concat()).await;
        let status = talk.head().await.status;
        (talk, status)
    };
    let (one, status) = connect([203, 0, 113, 1]).await;
    assert_eq!(status, 101);
    assert_eq!(connect([203, 0, 113, 1]).await.1, 429, "the header's address, and no other");
    let (_two, status) = connect([203, 0, 113, 2]).await;
    assert_eq!(status, 101);
    drop(one);
    relay.until("the first place to be free", |now| now.connections == 1).await;
    assert_eq!(connect([203, 0, 113, 1]).await.1, 101);
    relay.stop().await;
}

#[tokio::test]
async fn who_has_no_address_counts_as_the_proxy() {
    let relay = relay(|_| ()).await;
    let mut unix = vec![0; 216];
    unix[0] = b'/';
    for first in [
        header(0x20, 0x00, &[]),
        header(0x20, 0x11, &[203, 0, 113, 1, 0, 0, 0, 0, 0, 0, 0, 0]),
        header(0x20, 0x77, &[1, 2, 3]),
        header(0x21, 0x00, &[]),
        header(0x21, 0x31, &unix),
    ] {
        let (one, answer) = ask(&relay, &first, LIVE).await;
        assert_eq!(answer.status, 200);
        let (_, refused) = ask(&relay, &header(0x20, 0x00, &[]), INFO).await;
        assert_eq!(refused.status, 429, "the socket's address has its connection already");
        let (other, answer) = ask(&relay, &from([203, 0, 113, 1]), INFO).await;
        assert_eq!(answer.status, 200, "no client of the proxy is the proxy");
        drop((one, other));
        relay.until("free places", |now| now.connections == 0).await;
    }
    relay.stop().await;
}

#[tokio::test]
async fn extensions_are_skipped_and_a_header_may_come_in_pieces() {
    let relay = relay(|_| ()).await;
    let mut v6 = vec![0; 36];
    v6[..4].copy_from_slice(&[0x20, 1, 0x0d, 0xb8]);
    for (family, addresses) in [(0x11, vec![1; 12]), (0x21, v6)] {
        for extensions in [0, 1, 35, 36, 37, 300] {
            let rest = [&addresses[..], &vec![0xee; extensions]].concat();
            let (_, answer) = ask(&relay, &header(0x21, family, &rest), LIVE).await;
            assert_eq!(answer.status, 200, "{extensions}");
            relay.until("a free place", |now| now.connections == 0).await;
        }
    }
    let mut talk = relay.talk().await;
    let bytes = [&from([203, 0, 113, 1])[..], LIVE.as_bytes()].concat();
    for byte in bytes.chunks(1) {
        talk.say(byte).await;
    }
    assert_eq!(talk.answer().await.status, 200);
    relay.stop().await;
}

#[tokio::test]
async fn a_connection_without_the_header_is_dropped_without_an_answer() {
    let relay = relay(|config| config.http.header_timeout_ms = 200).await;
    let (_healthy, answer) = ask(&relay, &from([203, 0, 113, 9]), LIVE).await;
    assert_eq!(answer.status, 200);
    let v4 = from([203, 0, 113, 1]);
    let cases: [Vec<u8>; 12] = [
        LIVE.into(),
        format!("PROXY TCP4 203.0.113.1 127.0.0.1 4660 80\r\n{LIVE}").into(),
        b"PROXY UNKNOWN\r\n".to_vec(),
        [b"\r\n", &v4[..], LIVE.as_bytes()].concat(),
        header(0x31, 0x11, &v4[16..]),
        header(0x21, 0x12, &v4[16..]),
        header(0x21, 0x11, &[0; 11]),
        header(0x21, 0x11, &[0; 1025]),
        vec![0; 4096],
        // These wait for the rest until the time is over.
        Vec::new(),
        v4[..15].to_vec(),
        v4[..27].to_vec(),
    ];
    for (count, bytes) in (1_u64..).zip(&cases) {
        let mut talk = relay.talk().await;
        talk.say(bytes).await;
        assert_eq!(talk.ended().await, b"", "{bytes:x?}");
        let refused = |now: &Aggregate| now.refused(Refusal::ProxyHeader) == count;
        relay.until("a count", refused).await;
    }
    assert_eq!(relay.totals().refused_in_all(), cases.len() as u64);
    let (_other, answer) = ask(&relay, &v4, INFO).await;
    assert_eq!(answer.status, 200, "nobody was counted for what was dropped");
    relay.stop().await;
}

#[tokio::test]
async fn who_is_no_trusted_proxy_is_dropped_whatever_it_says() {
    let relay = relay(|config| {
        config.server.trust_proxy_from = vec!["192.0.2.0/24".parse().unwrap()];
    })
    .await;
    let version_1 = b"PROXY TCP4 203.0.113.1 127.0.0.1 4660 80\r\n".to_vec();
    for first in [from([203, 0, 113, 1]), header(0x20, 0x00, &[]), version_1, Vec::new()] {
        let mut talk = relay.talk().await;
        // It may be gone before this is sent.
        talk.try_say([&first[..], LIVE.as_bytes()].concat()).await;
        assert_eq!(talk.ended().await, b"");
    }
    relay.until("four refusals", |now| now.refused(Refusal::UntrustedProxy) == 4).await;
    assert_eq!(relay.totals().refused_in_all(), 4);
    relay.stop().await;
}

#[tokio::test]
async fn one_client_cannot_take_the_places_of_all() {
    let relay = relay(|config| {
        config.limit.connections = 200;
        config.limit.refusals_at_once = 20;
        config.http.header_timeout_ms = 60_000;
    })
    .await;
    // They are over their limit, never send a request, and so wait to be told.
    let mut greedy = Vec::new();
    for _ in 0..100 {
        let mut talk = relay.talk().await;
        talk.try_say(from([203, 0, 113, 1])).await;
        greedy.push(talk);
    }
    // One has the place, 20 wait to be told, and the rest was dropped.
    relay.until("the rest to be dropped", |now| now.connections == 21).await;
    let (_other, answer) = ask(&relay, &from([203, 0, 113, 2]), INFO).await;
    assert_eq!(answer.status, 200);
    assert_eq!(relay.totals().refused(Refusal::Capacity), 0);
    drop(greedy);
    relay.stop().await;
}

#[tokio::test]
async fn the_total_is_counted_before_the_header_and_still_told() {
    let relay = relay(|config| config.limit.connections = 1).await;
    let (_one, answer) = ask(&relay, &from([203, 0, 113, 1]), INFO).await;
    assert_eq!(answer.status, 200);
    let (_, refused) = ask(&relay, &from([203, 0, 113, 2]), INFO).await;
    refused.assert_problem(503, "temporary-reduced-capacity");
    relay.stop().await;
}

/// `MAX_CONNS_PER_IP` is not the only one: rooms are made per client, too.
#[tokio::test]
async fn rooms_are_made_at_the_clients_own_rate() {
    let relay = relay(|config| config.limit.room_creates_per_min = 1).await;
    let create = async |client: [u8; 4]| {
        let body = crate::harness::TestRoom::new().creation(serde_json::Value::Null).to_string();
        let length = body.len();
        let request = format!(
            "POST /v1/rooms HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\
             Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
        );
        let (talk, answer) = ask(&relay, &from(client), &request).await;
        talk.ended().await;
        relay.until("a free place", |now| now.connections == 0).await;
        answer.status
    };
    assert_eq!(create([203, 0, 113, 1]).await, 201);
    assert_eq!(create([203, 0, 113, 1]).await, 429);
    assert_eq!(create([203, 0, 113, 2]).await, 201);
    assert_eq!(create(Ipv4Addr::LOCALHOST.octets()).await, 201);
    relay.stop().await;
}
