//! HTTP: what every answer carries, who may ask, and what malformed requests get.

use lethewire::config::{Admission, Switch};
use lethewire::metrics::{Count, Refusal};
use serde_json::json;

use crate::harness::{Answered, JSON, Talk, TestRelay, call};

const LISTED: &str = "https://chat.example";

/// What an answer of any kind and status must carry, and must not.
#[track_caller]
fn assert_dressed(answer: &Answered) {
    let status = answer.status;
    for (name, value) in [
        ("cache-control", "no-store"),
        ("x-content-type-options", "nosniff"),
        ("x-frame-options", "DENY"),
        ("referrer-policy", "no-referrer"),
        ("cross-origin-resource-policy", "same-origin"),
    ] {
        assert_eq!(answer.header(name), Some(value), "{status} {name}");
    }
    let policy = answer.header("content-security-policy").expect("a policy");
    assert!(policy.starts_with("default-src 'none'; "), "{status} {policy}");
    for denied in ["frame-ancestors 'none'", "base-uri 'none'"] {
        assert!(policy.contains(denied), "{status} {policy}");
    }
    let permissions = answer.header("permissions-policy").expect("permissions");
    assert!(permissions.contains("camera=()") && permissions.contains("clipboard-write=(self)"));
    assert_eq!(answer.header("x-request-id").map(str::len), Some(22), "{status}");
    for absent in ["server", "x-powered-by", "etag", "last-modified", "set-cookie"] {
        assert_eq!(answer.header(absent), None, "{status}");
    }
}

#[tokio::test]
async fn every_answer_of_both_listeners_is_dressed() {
    let relay = TestRelay::start(|config| {
        config.headers.hsts_max_age_s = 600;
        config.cors.allowed_origins = vec![LISTED.to_owned()];
    })
    .await;
    let listed = format!("Origin: {LISTED}\r\n");
    let preflight = format!("{listed}Access-Control-Request-Method: POST\r\n");
    let long = "x".repeat(3000);
    for (status, method, path, extra, body) in [
        (200, "GET", "/v1/info", "", ""),
        (200, "GET", "/live", "", ""),
        (200, "GET", "/ready", "", ""),
        (200, "GET", "/", "", ""),
        (200, "GET", "/style.css", "", ""),
        (204, "OPTIONS", "/v1/rooms", &preflight, ""),
        (400, "POST", "/v1/rooms", JSON, "{}"),
        (400, "GET", "/v1/info?a", "", ""),
        (403, "GET", "/v1/info", "Origin: https://evil.example\r\n", ""),
        (404, "GET", "/health", "", ""),
        (405, "GET", "/v1/rooms", "", ""),
        (413, "POST", "/v1/rooms", JSON, &long),
        (415, "POST", "/v1/rooms", "", "{}"),
        (426, "GET", "/v1/ws", "", ""),
    ] {
        let answer = relay.call(method, path, extra, body).await;
        assert_eq!(answer.status, status, "{method} {path}");
        assert_dressed(&answer);
        assert_eq!(answer.header("strict-transport-security"), Some("max-age=600"));
    }
    for path in ["/live", "/health", "/metrics", "/nothing"] {
        assert_dressed(&call(relay.ops, "GET", path, "", "").await);
    }
    relay.stop().await;
}

#[tokio::test]
async fn a_request_id_is_ours_and_fresh() {
    let relay = TestRelay::start(|_| ()).await;
    let one = relay.call("GET", "/live", "X-Request-Id: mine\r\n", "").await;
    let two = relay.call("GET", "/live", "X-Request-Id: mine\r\n", "").await;
    assert_ne!(one.header("x-request-id"), Some("mine"));
    assert_ne!(one.header("x-request-id"), two.header("x-request-id"));
    relay.stop().await;
}

#[tokio::test]
async fn toggles_take_things_away() {
    let relay = TestRelay::start(|config| {
        config.feature.security_headers = false;
        config.feature.request_id = false;
        config.feature.readiness_endpoint = false;
        config.feature.demo_page = Switch::Off;
        config.feature.detailed_errors = Switch::Off;
    })
    .await;
    let answer = relay.get("/v1/info").await;
    assert_eq!(answer.status, 200);
    for gone in ["x-request-id", "content-security-policy", "x-frame-options"] {
        assert_eq!(answer.header(gone), None);
    }
    assert_eq!(answer.header("cache-control"), Some("no-store"), "is no toggle");
    for path in ["/ready", "/", "/index.html", "/sdk/index.js"] {
        relay.get(path).await.assert_problem(404, "about:blank");
    }
    let bad = relay.post("/v1/rooms", &json!({})).await;
    bad.assert_problem(400, "bad-request");
    assert!(bad.json().get("detail").is_none());
    relay.stop().await;
}

#[tokio::test]
async fn each_path_takes_its_methods_and_no_query() {
    let relay = TestRelay::start(|_| ()).await;
    for (path, allow) in [
        ("/v1/rooms", "POST"),
        ("/v1/tokens", "POST"),
        ("/v1/owner", "POST"),
        ("/v1/ws", "GET"),
        ("/v1/info", "GET, HEAD"),
        ("/live", "GET, HEAD"),
        ("/ready", "GET, HEAD"),
        ("/", "GET, HEAD"),
        ("/sdk/index.js", "GET, HEAD"),
    ] {
        for method in ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "TRACE", "LETHE"] {
            if allow.split(", ").any(|allowed| allowed == method) {
                continue;
            }
            let answer = relay.call(method, path, "", "").await;
            assert_eq!(answer.status, 405, "{method} {path}");
            assert_eq!(answer.header("allow"), Some(allow), "{method} {path}");
        }
        if path.starts_with("/v1/") {
            let method = allow.split(',').next().unwrap();
            let answer = relay.call(method, &format!("{path}?token=x"), JSON, "").await;
            answer.assert_problem(400, "bad-request");
        }
    }
    for path in ["/v1", "/v1/", "/v1/rooms/", "/V1/rooms", "//v1/rooms", "/v1/ws/x", "/metrics"] {
        relay.get(path).await.assert_problem(404, "about:blank");
    }
    let head = relay.call("HEAD", "/v1/info", "", "").await;
    let get = relay.get("/v1/info").await;
    assert_eq!((head.status, head.header("content-length")), (200, get.header("content-length")));
    relay.stop().await;
}

#[tokio::test]
async fn probes_say_booleans_and_the_second_and_nothing_else() {
    let relay = TestRelay::start(|_| ()).await;
    for addr in [relay.addr, relay.ops] {
        for (path, expected) in [
            ("/live", json!({ "alive": true })),
            (
                "/ready",
                json!({
                    "ready": true,
                    "checks": {
                        "configLoaded": true,
                        "accepting": true,
                        "memory": true,
                        "queues": true,
                    },
                }),
            ),
        ] {
            let mut said = call(addr, "GET", path, "", "").await.json();
            let timestamp = said.as_object_mut().unwrap().remove("timestamp").unwrap();
            assert!(timestamp.as_u64().unwrap() > 1_700_000_000, "{path}: {timestamp}");
            assert_eq!(said, expected, "{path}");
        }
    }
    relay.stop().await;
}

#[tokio::test]
async fn in_backend_mode_there_are_no_calls_that_make_rooms() {
    let relay = TestRelay::start(|config| config.room.admission = Admission::Backend).await;
    for path in ["/v1/rooms", "/v1/tokens", "/v1/owner"] {
        relay.post(path, &json!({})).await.assert_problem(404, "about:blank");
    }
    assert_eq!(relay.get("/v1/info").await.json()["admission"], "backend");
    relay.stop().await;
}

#[tokio::test]
async fn exactly_one_host_is_needed() {
    let relay = TestRelay::start(|_| ()).await;
    for (head, status) in [
        ("GET /live HTTP/1.1\r\n\r\n", 400),
        ("GET /live HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400),
        ("GET /live HTTP/1.1\r\nHost: a\r\n\r\n", 200),
        ("GET /live HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n", 400),
    ] {
        for addr in [relay.addr, relay.ops] {
            let mut talk = Talk::to(addr).await;
            talk.say(head).await;
            assert_eq!(talk.answer().await.status, status, "{head}");
        }
    }
    relay.stop().await;
}

#[tokio::test]
async fn a_connection_carries_several_requests_and_ends_after_a_bad_one() {
    let relay = TestRelay::start(|_| ()).await;
    let mut talk = relay.talk().await;
    let live = "GET /live HTTP/1.1\r\nHost: a\r\n\r\n";
    talk.say(live.repeat(3)).await;
    for _ in 0..3 {
        assert_eq!(talk.answer().await.status, 200);
    }
    talk.say(format!("GET /live HTTP/1.1\r\n\r\n{live}")).await;
    let bad = talk.answer().await;
    assert_eq!((bad.status, bad.header("connection")), (400, Some("close")));
    assert_eq!(talk.ended().await, b"", "the request behind it is not served");
    relay.stop().await;
}

#[tokio::test]
async fn heads_have_limits_of_size_number_and_time() {
    let relay = TestRelay::start(|config| config.http.header_timeout_ms = 200).await;
    let mut talk = relay.talk().await;
    talk.say(format!("GET /live HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(9000))).await;
    assert_eq!(talk.answer().await.status, 431);

    let mut talk = relay.talk().await;
    talk.say(format!("GET /live HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: y\r\n".repeat(80))).await;
    assert_eq!(talk.answer().await.status, 431);

    for beginning in ["", "GET /live HTTP/1.1\r\nHost: a\r\nX"] {
        let mut talk = relay.talk().await;
        talk.say(beginning).await;
        let answered = talk.ended().await;
        assert!(!answered.starts_with(b"HTTP/1.1 2"), "{beginning}");
    }
    relay.until("four refusals", |now| now.refused(Refusal::Request) == 4).await;
    relay.stop().await;
}

#[tokio::test]
async fn a_connection_that_waits_between_requests_ends_without_a_fuss() {
    let relay = TestRelay::start(|config| config.http.header_timeout_ms = 200).await;
    let mut talk = relay.talk().await;
    talk.say("GET /live HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(talk.answer().await.status, 200);
    assert_eq!(talk.ended().await, b"");
    relay.until("the end of the connection", |now| now.connections == 0).await;
    assert_eq!(relay.totals().refused(Refusal::Request), 0);
    relay.stop().await;
}

#[tokio::test]
async fn no_connection_is_kept_for_ever() {
    let relay = TestRelay::start(|config| {
        config.http.keep_alive_ms = 1000;
        config.http.header_timeout_ms = 60_000;
    })
    .await;
    let mut talk = relay.talk().await;
    talk.say("GET /live HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(talk.answer().await.status, 200);
    assert_eq!(talk.ended().await, b"", "though it might wait a minute for the next request");
    assert_eq!(relay.talk().await.ended().await, b"", "nor one that never says anything");
    relay.stop().await;
}

#[tokio::test]
async fn bodies_have_limits_of_type_size_and_time() {
    let relay = TestRelay::start(|config| config.http.body_timeout_ms = 200).await;
    let long = format!("{{\"key\":\"{}\"}}", "x".repeat(2048));
    let answer = relay.call("POST", "/v1/rooms", JSON, &long).await;
    answer.assert_problem(413, "about:blank");
    let exact = format!("{{\"key\":\"{}\"}}", "x".repeat(2048 - 10));
    assert_eq!(exact.len(), 2048);
    let answer = relay.call("POST", "/v1/rooms", JSON, &exact).await;
    answer.assert_problem(400, "bad-request");

    let chunked = "POST /v1/rooms HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n";
    let mut talk = relay.talk().await;
    talk.say(format!("{chunked}{JSON}\r\n2\r\n{{}}\r\n0\r\n\r\n")).await;
    talk.answer().await.assert_problem(411, "about:blank");
    assert_eq!(talk.ended().await, b"", "where it ends is not looked for");

    let mut talk = relay.talk().await;
    talk.say(format!("POST /v1/rooms HTTP/1.1\r\nHost: a\r\n{JSON}Content-Length: 9\r\n\r\n{{"))
        .await;
    let late = talk.answer().await;
    late.assert_problem(408, "about:blank");
    assert_eq!(late.header("connection"), Some("close"));
    assert_eq!(talk.ended().await, b"");

    for kind in ["", "Content-Type: text/plain\r\n", "Content-Type: application/jsonx\r\n"] {
        let answer = relay.call("POST", "/v1/rooms", kind, "{}").await;
        answer.assert_problem(415, "about:blank");
    }
    let gzip = format!("{JSON}Content-Encoding: gzip\r\n");
    relay.call("POST", "/v1/rooms", &gzip, "{}").await.assert_problem(415, "about:blank");
    relay.stop().await;
}

#[tokio::test]
async fn above_the_limit_of_connections_probes_are_answered_and_all_else_waits() {
    let relay = TestRelay::start(|config| config.limit.connections = 1).await;
    let mut first = relay.talk().await;
    let live = "GET /live HTTP/1.1\r\nHost: a\r\n\r\n";
    first.say(live).await;
    assert_eq!(first.answer().await.status, 200);

    assert_eq!(relay.get("/live").await.status, 200);
    for (method, path) in
        [("GET", "/v1/info"), ("GET", "/"), ("GET", "/v1/ws"), ("POST", "/v1/rooms")]
    {
        let answer = relay.call(method, path, "", "").await;
        answer.assert_problem(503, "temporary-reduced-capacity");
        assert!(answer.header("retry-after").is_some());
        assert!(answer.json()["retry_after_ms"].as_u64().unwrap() >= 1000);
        assert_eq!(answer.header("ratelimit"), None);
        assert_dressed(&answer);
    }
    assert_eq!(relay.totals().refused(Refusal::Capacity), 4);
    drop(first);
    relay.until("the end of all connections", |now| now.connections == 0).await;
    assert_eq!(relay.get("/v1/info").await.status, 200);
    relay.stop().await;
}

#[tokio::test]
async fn above_the_limit_of_an_address_the_answer_says_so() {
    let relay = TestRelay::start(|config| config.limit.connections_per_address = 1).await;
    let mut first = relay.talk().await;
    first.say("GET /live HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(first.answer().await.status, 200);
    let answer = relay.get("/v1/info").await;
    answer.assert_problem(429, "quota-exceeded");
    assert_eq!(answer.header("ratelimit-policy"), Some("\"connections\";q=1;w=5"));
    assert!(answer.header("ratelimit").unwrap().starts_with("\"connections\";r=0;t="));
    assert!(answer.header("retry-after").is_some());
    drop(first);
    relay.until("the end of all connections", |now| now.connections == 0).await;
    assert_eq!(relay.get("/v1/info").await.status, 200);
    relay.stop().await;
}

#[tokio::test]
async fn without_tracking_of_addresses_there_is_no_limit_per_address() {
    let relay = TestRelay::start(|config| {
        config.limit.connections_per_address = 1;
        config.limit.room_creates_per_min = 1;
        config.feature.ip_tracking = false;
    })
    .await;
    let mut first = relay.talk().await;
    first.say("GET /live HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(first.answer().await.status, 200);
    for _ in 0..3 {
        relay.create_room().await;
    }
    relay.stop().await;
}

#[tokio::test]
async fn nothing_that_was_sent_comes_back_in_an_error() {
    let relay = TestRelay::start(|_| ()).await;
    let canary = "Q0FOQVJZ";
    let body = format!("{{\"key\":\"{canary}\",\"{canary}\":1}}");
    for (method, path, extra, body) in [
        ("GET", format!("/{canary}?{canary}"), String::new(), String::new()),
        ("GET", format!("/v1/info?{canary}"), String::new(), String::new()),
        (canary, "/v1/info".to_owned(), String::new(), String::new()),
        ("POST", "/v1/rooms".to_owned(), JSON.to_owned(), body),
        ("POST", "/v1/rooms".to_owned(), format!("Content-Type: {canary}\r\n"), "{}".to_owned()),
        ("GET", "/live".to_owned(), format!("Origin: http://{canary}\r\n"), String::new()),
        ("GET", "/v1/ws".to_owned(), format!("Sec-WebSocket-Key: {canary}\r\n"), String::new()),
    ] {
        let answer = relay.call(method, &path, &extra, &body).await;
        assert!(answer.status >= 400, "{method} {path}");
        assert!(!format!("{answer:?}{}", answer.text()).contains(canary), "{answer:?}");
    }
    relay.stop().await;
}

#[tokio::test]
async fn answers_are_counted_by_route_and_class() {
    let relay = TestRelay::start(|_| ()).await;
    relay.get("/live").await;
    relay.get("/nothing").await;
    let metrics = call(relay.ops, "GET", "/metrics", "", "").await.text();
    for (route, class, count) in
        [("live", "2xx", 1), ("other", "4xx", 1), ("live", "4xx", 0), ("metrics", "2xx", 0)]
    {
        let labels = format!("{{route=\"{route}\",class=\"{class}\"}}");
        let line = format!("lethewire_http_answers_total{labels} {count}\n");
        assert!(metrics.contains(&line), "{line}");
    }
    assert_eq!(relay.count(Count::ConnectionsAccepted), 2);
    relay.stop().await;
}
