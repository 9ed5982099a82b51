//! Requests that hide a second one, straight to the relay: each has one documented answer, the hidden
//! request never acts, and the connection ends.
//!
//! The cases are in `tests/smuggling/cases.json`, because `tests/proxies.py` sends the same ones
//! through proxies. `alone` is the status of each answer here; `proxied` is `upgraded` where a proxy may
//! mend the handshake, so that it is a good one.

use lethewire::metrics::Count;
use serde_json::{Value, json};

use crate::harness::{TestRelay, TestRoom};

/// A case's bytes: each character is one, and the placeholders are filled in.
fn request(case: &Value, hidden: &str) -> Vec<u8> {
    let text = case["request"].as_str().unwrap();
    let after = text.split_once("\r\n\r\n").map_or("", |(_, after)| after);
    let filled = |text: &str| {
        text.replace("{hidden}", hidden)
            .replace("{hidden_len}", &hidden.len().to_string())
            .replace("{hidden_hex}", &format!("{:x}", hidden.len()))
            .replace("{long}", &"x".repeat(70_000))
    };
    let after = filled(after).len().to_string();
    filled(&text.replace("{after}", &after)).chars().map(|c| u8::try_from(c).unwrap()).collect()
}

/// A whole request that makes a room, so that it can be seen whether it acted.
fn hidden() -> String {
    let body = TestRoom::new().creation(json!(null)).to_string();
    let length = body.len();
    format!(
        "POST /v1/rooms HTTP/1.1\r\nHost: relay.example\r\nX-Forwarded-For: 203.0.113.66\r\n\
         Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
    )
}

fn statuses(answers: &[u8]) -> Vec<u16> {
    let text = String::from_utf8_lossy(answers);
    let heads = text.match_indices("HTTP/1.").filter_map(|(at, _)| text.get(at + 9..at + 12));
    // Our own words in an error may say the version as well, but no status behind it.
    heads.filter_map(|status| status.parse().ok()).collect()
}

/// A reset could overtake the answer: through a proxy it does.
#[tokio::test]
async fn an_answer_is_not_lost_to_what_was_not_read() {
    let relay = TestRelay::start(|_| ()).await;
    for addr in [relay.addr, relay.ops] {
        for head in ["POST /v1/rooms HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n", "GET"]
        {
            let mut talk = crate::harness::Talk::to(addr).await;
            talk.say(format!("{head}\r\n{}", "x".repeat(100_000))).await;
            let answer = talk.answer().await;
            assert!(answer.status >= 400, "{head}");
            // The connection takes more, which a reset one does not.
            talk.say("x".repeat(10_000)).await;
            talk.say("x".repeat(10_000)).await;
            assert_eq!(talk.ended_well().await, b"", "{head}");
        }
    }
    relay.stop().await;
}

#[tokio::test]
async fn the_operations_listener_is_as_strict() {
    let relay = TestRelay::start(|config| config.http.header_timeout_ms = 60_000).await;
    let live = "GET /live HTTP/1.1\r\nHost: a\r\n\r\n";
    for (status, head) in [
        (
            411,
            "POST /admin/rooms/close HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        ),
        (400, "GET /live HTTP/1.1\r\nHost: a\r\nContent-Length: 37\r\n\r\n"),
        (400, "GET http://b/live HTTP/1.1\r\nHost: a\r\n\r\n"),
        (400, "CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n"),
    ] {
        let mut talk = crate::harness::Talk::to(relay.ops).await;
        talk.try_say(format!("{head}{live}")).await;
        assert_eq!(statuses(&talk.ended().await), [status], "{head}");
    }
    relay.stop().await;
}

#[tokio::test]
async fn each_case_has_its_answer_and_nothing_that_it_hides_acts() {
    let relay = TestRelay::start(|config| {
        // The connection has to end by itself, not because the time is over.
        config.http.header_timeout_ms = 60_000;
        config.limit.room_creates_per_min = 1000;
    })
    .await;
    let cases: Vec<Value> = serde_json::from_str(include_str!("../smuggling/cases.json")).unwrap();
    let mut wrong = Vec::new();
    for case in &cases {
        let before = relay.totals();
        let mut talk = relay.talk().await;
        talk.try_say(request(case, &hidden())).await;
        let answers = talk.ended().await;
        let statuses = statuses(&answers);
        let made = relay.totals().since(&before).count(Count::RecordsMade);
        if json!(statuses) != case["alone"] || made != 0 {
            wrong.push(format!("{}: {statuses:?}, {made} rooms", case["name"]));
        }
        assert!(!statuses.contains(&101), "{case}");
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert_eq!(relay.count(Count::Upgrades), 0);

    let mut talk = relay.talk().await;
    talk.say(hidden()).await;
    assert_eq!(talk.answer().await.status, 201, "what is hidden is good when it is not");
    assert_eq!(relay.count(Count::RecordsMade), 1);
    relay.stop().await;
}
