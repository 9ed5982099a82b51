//! Nothing is counted in that is not counted out: random lives of connections, and at their end every
//! gauge at zero and every place of the address free.

use std::time::Duration;

use futures_util::StreamExt as _;
use proptest::prelude::*;
use proptest::test_runner::{Config as Cases, TestCaseError, TestRunner};
use serde_json::{Value, json};

use crate::harness::{Heard, JSON, Rogue, TestRelay, TestRoom, call, handshake, masked};

/// How a connection lives, and how it ends.
#[derive(Clone, Copy, Debug)]
enum Life {
    /// Connects, and goes.
    Silent,
    /// Sends so much of a request, in 256ths.
    HalfRequest(u8),
    /// Sends so much of a handshake, in 256ths.
    HalfHandshake(u8),
    /// Sends a body that never ends.
    HalfBody,
    /// Asks for an upgrade that is none.
    NoUpgrade,
    /// Brings a token that is none.
    BadToken,
    /// Brings a token that somebody used before.
    UsedToken,
    /// Sends a handshake, and does not wait for the answer.
    Hasty,
    /// Sends a handshake with a frame right behind it.
    Eager,
    /// Joins, and goes without a word.
    Member,
    /// Joins, and sends so much of a message, in 256ths.
    HalfMessage(u8),
    /// Joins, and says that it leaves.
    Leaver,
    /// Joins, and sends a close frame.
    Closer,
    /// Joins, and breaks the protocol.
    Breaker,
    /// Joins, and pings too much.
    Pinger,
    /// Joins, and is kicked.
    Kicked,
    /// Joins, and the room is closed.
    RoomClosed,
    /// Joins, and does not read what somebody says.
    Slow,
}

fn lives() -> impl Strategy<Value = Vec<(Life, bool)>> {
    use Life::*;
    let plain = [
        Silent, HalfBody, NoUpgrade, BadToken, UsedToken, Hasty, Eager, Member, Leaver, Closer,
        Breaker, Pinger, Kicked, RoomClosed, Slow,
    ];
    let life = prop_oneof![
        5 => proptest::sample::select(plain.to_vec()),
        1 => any::<u8>().prop_map(HalfRequest),
        1 => any::<u8>().prop_map(HalfHandshake),
        1 => any::<u8>().prop_map(HalfMessage),
    ];
    proptest::collection::vec((life, any::<bool>()), 1..LIVES_MAX)
}

/// The lives of one relay.
const LIVES_MAX: usize = 80;
/// Lives at the same time.
const TOGETHER: usize = 8;
/// How long it may take until all is zero: a few sweeps.
const ZERO_WITHIN: Duration = Duration::from_secs(15);
/// More than ever are open at the same time, those included that nobody takes down yet.
const PER_ADDRESS: u32 = 100;

#[test]
fn every_gauge_is_zero_after_any_lives() {
    // Each case is a relay of its own. What fails is made smaller, and printed.
    let cases =
        Cases { cases: 2, max_shrink_iters: 4, failure_persistence: None, ..Cases::default() };
    TestRunner::new(cases)
        .run(&lives(), |lives| {
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .worker_threads(2)
                .enable_all()
                .build()
                .expect("a runtime");
            runtime.block_on(live_all(lives)).map_err(TestCaseError::fail)
        })
        .unwrap_or_else(|failure| panic!("{failure}"));
}

async fn live_all(lives: Vec<(Life, bool)>) -> Result<(), String> {
    let relay = TestRelay::start(|config| {
        config.limit.connections_per_address = PER_ADDRESS;
        config.limit.room_creates_per_min = 100_000;
        config.limit.penalty_memory_s = 1;
        config.limit.outbox_bytes = 70_000;
        config.limit.bytes_per_10s = 1 << 30;
        config.limit.raw_bytes_per_10s = 1 << 31;
    })
    .await;
    let living = lives.into_iter().map(|(life, reset)| life.live(&relay, reset));
    futures_util::stream::iter(living).for_each_concurrent(TOGETHER, |life| life).await;
    let mut left = Vec::new();
    let all_zero = async {
        loop {
            left = gauges(&relay).await;
            if left.is_empty() {
                break;
            }
        }
    };
    if tokio::time::timeout(ZERO_WITHIN, all_zero).await.is_err() {
        return Err(format!("not zero: {left:?}"));
    }
    every_place_is_free(&relay).await;
    relay.stop().await;
    Ok(())
}

/// The gauges that are not zero.
async fn gauges(relay: &TestRelay) -> Vec<(String, f64)> {
    let answer = call(relay.ops, "GET", "/metrics", "Accept: application/json\r\n", "").await;
    let shown = answer.json();
    let metrics = shown["metrics"].as_object().expect("an object");
    assert!(metrics.contains_key("lethewire_connections"), "the gauges have other names");
    let is_held = |name: &str, value: &Value| {
        let kept = KEPT.iter().any(|kept| name.starts_with(kept)) || name.ends_with("_max");
        value["type"] == "gauge" && !kept
    };
    metrics
        .iter()
        .filter(|(name, value)| is_held(name, value))
        .map(|(name, value)| (name.clone(), value["value"].as_f64().expect("a number")))
        .filter(|(_, value)| *value > 0.0)
        .collect()
}

/// What stays for a while after whoever it is about: time, rooms that were closed and tokens that
/// were used, neither of which must come back. And what is about nobody.
const KEPT: [&str; 7] = [
    "lethewire_uptime_seconds",
    "lethewire_room_records",
    "lethewire_replay_entries",
    "lethewire_ready",
    "lethewire_bus_up",
    "lethewire_runtime_",
    "process_",
];

/// As many connections as the address may have all get an answer, and one more is refused.
async fn every_place_is_free(relay: &TestRelay) {
    let mut crowd = Vec::new();
    for place in 0..=PER_ADDRESS {
        let mut talk = relay.talk().await;
        talk.say("GET /v1/info HTTP/1.1\r\nHost: a\r\n\r\n").await;
        let expected = if place < PER_ADDRESS { 200 } else { 429 };
        assert_eq!(talk.answer().await.status, expected, "place {place} of {PER_ADDRESS}");
        crowd.push(talk);
    }
}

impl Life {
    /// Lives it. What the relay answers is not looked at: it may also refuse.
    async fn live(self, relay: &TestRelay, reset: bool) {
        let room = TestRoom::new();
        let token = relay.mint(&room.id, "src");
        let owner = || relay.mint(&room.id, "sroc");
        let mut rogue = Rogue::connect(relay.addr).await;
        let whole = handshake(&token);
        match self {
            Self::Silent => {}
            Self::HalfRequest(part) => {
                rogue.write(part_of(b"GET /v1/info HTTP/1.1\r\nHost: a\r\n\r\n", part)).await;
            }
            Self::HalfHandshake(part) => rogue.write(part_of(whole.as_bytes(), part)).await,
            Self::HalfBody => {
                let head = "POST /v1/rooms HTTP/1.1\r\nHost: a\r\nContent-Length: 99\r\n";
                rogue.write(format!("{head}{JSON}\r\n{{").as_bytes()).await;
            }
            Self::NoUpgrade => rogue.write(whole.replace("13", "12").as_bytes()).await,
            Self::BadToken => {
                rogue = rogue.upgraded("x").await;
                rogue.ending().await;
            }
            Self::UsedToken => {
                let _first = Rogue::join(relay.addr, &token).await;
                rogue = rogue.upgraded(&token).await;
                rogue.ending().await;
            }
            Self::Hasty => rogue.write(whole.as_bytes()).await,
            Self::Eager => {
                let early = [whole.as_bytes(), &masked(0x82, &[1, 0, 0, 0, 7])].concat();
                rogue.write(&early).await;
            }
            Self::Member | Self::HalfMessage(_) | Self::Leaver | Self::Closer => {
                rogue = rogue.upgraded(&token).await;
                rogue.write(&self.last_words()).await;
            }
            Self::Breaker | Self::Pinger => {
                rogue = rogue.upgraded(&token).await;
                rogue.strikes(&self.last_words()).await;
            }
            Self::Kicked | Self::RoomClosed => {
                rogue = rogue.upgraded(&owner()).await;
                let mut guest = relay.join_with(&token).await;
                let op = match self {
                    Self::Kicked => json!({ "type": "owner", "op": "kick", "member": guest.id() }),
                    _ => json!({ "type": "owner", "op": "close" }),
                };
                rogue.write(&masked(0x81, op.to_string().as_bytes())).await;
                while guest.hear().await != Heard::Lost {}
            }
            Self::Slow => {
                let mut talker = Rogue::join(relay.addr, &owner()).await;
                rogue = Rogue::connect_narrow(relay.addr).await.upgraded(&token).await;
                talker.talks_until_a_leave(async || ()).await;
            }
        }
        if reset { rogue.reset() } else { drop(rogue) }
    }

    /// What a member sends last.
    fn last_words(self) -> Vec<u8> {
        match self {
            Self::HalfMessage(part) => part_of(&masked(0x82, &[1; 100]), part).to_vec(),
            Self::Leaver => masked(0x81, br#"{"type":"leave"}"#),
            Self::Closer => masked(0x88, b"\x03\xE8"),
            Self::Breaker => vec![0xFF; 100],
            Self::Pinger => masked(0x89, b"x").repeat(11),
            _ => Vec::new(),
        }
    }
}

/// The first so many 256ths.
fn part_of(bytes: &[u8], part: u8) -> &[u8] {
    &bytes[..bytes.len() * usize::from(part) / 256]
}
