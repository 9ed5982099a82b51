//! What the bus shows to whoever reads Redis, or an error: nothing.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use lethewire::bus::{Batch, Bus, BusSettings, Servers};
use lethewire::core::id::MemberId;
use lethewire::core::secret::SecretBytes;
use lethewire::metrics::Metrics;

use super::node::Node;
use super::redis::Redis;
use super::room;

#[tokio::test(flavor = "multi_thread")]
async fn everything_in_redis_ends_by_itself_and_nothing_there_can_be_read() {
    let redis = Redis::start();
    let mut monitor = redis.monitor();
    let (one, two) = (Node::start(&redis.url()).await, Node::start(&redis.url()).await);
    let (here, there) = (one.room(0xa7).await, two.room(0xa7).await);
    let canary = b"a canary that sings of gold";
    here.publish(Batch {
        entries: canary.to_vec(),
        numbers: 1,
        joins: vec![(MemberId::from_bytes(*b"Serinus!"), true)],
        members_max: 9,
        ..Batch::default()
    });
    there.until(|state| state.heard.len() == 1).await;
    let life = Duration::from_secs(60);
    two.bus.create(&room(0xa7), canary, life).await.unwrap();
    two.bus.burn(canary, life).await.unwrap();
    let keys: Vec<String> = redis.ask(&["KEYS", "*"]).await;
    assert!(keys.len() >= 6, "{}", keys.len());
    for key in &keys {
        let left: i64 = redis.ask(&["PTTL", key]).await;
        assert!((1..=120_000).contains(&left), "{key} {left}");
    }
    let () = redis.ask(&["SET", "the-end", "x", "PX", "1000"]).await;
    let seen = monitor.read_to(b"the-end");
    assert!(find(&seen, b"EVALSHA"), "the monitor saw the traffic");
    for secret in [&canary[..], b"Serinus!", &[0xa7; 16]] {
        for spelling in spellings(secret) {
            assert!(!find(&seen, &spelling), "{spelling:?}");
        }
    }
}

/// How something may look in what a monitor prints.
fn spellings(secret: &[u8]) -> Vec<Vec<u8>> {
    let each = |prefix: &str| {
        let bytes = secret.iter().map(|byte| format!("{prefix}{byte:02x}"));
        bytes.collect::<Vec<_>>().concat()
    };
    let (hex, escaped) = (each(""), each("\\x"));
    // Without the last characters, which depend on what follows.
    let cut = |text: String| text.as_bytes()[..text.len() - 3].to_vec();
    vec![
        secret.to_vec(),
        hex.to_uppercase().into_bytes(),
        hex.into_bytes(),
        escaped.into_bytes(),
        cut(STANDARD.encode(secret)),
        cut(URL_SAFE_NO_PAD.encode(secret)),
    ]
}

fn find(text: &[u8], word: &[u8]) -> bool {
    text.windows(word.len()).any(|window| window == word)
}

#[test]
fn an_address_that_cannot_be_read_is_an_error_that_does_not_say_it() {
    let secret = SecretBytes::new(vec![7; 32]);
    for url in ["", "http://user:pass@host", "redis://", "redis://:pass@host:port"] {
        let settings = BusSettings::new(Servers::Single(url.to_owned()));
        let error = Bus::connect(settings, &secret, Arc::new(Metrics::new())).err();
        let error = error.unwrap_or_else(|| panic!("{url} is taken")).to_string();
        assert!(!error.contains("pass"), "{error}");
    }
}
