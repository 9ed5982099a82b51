//! Pages: those of other origins, which must be listed, and the built-in one.

use lethewire::metrics::Refusal;

use crate::harness::TestRelay;

const LISTED: &str = "https://chat.example";

#[tokio::test]
async fn listed_origins_may_read_answers_and_nobody_elses_page_may_ask() {
    let relay =
        TestRelay::start(|config| config.cors.allowed_origins = vec![LISTED.to_owned()]).await;
    for path in ["/v1/info", "/nothing"] {
        let answer = relay.call("GET", path, &format!("Origin: {LISTED}\r\n"), "").await;
        assert_eq!(answer.header("access-control-allow-origin"), Some(LISTED), "{path}");
        assert_eq!(answer.header("access-control-allow-credentials"), None);
        assert_eq!(answer.header("vary"), Some("origin"));
        let exposed = answer.header("access-control-expose-headers").unwrap();
        assert!(exposed.contains("retry-after"), "{exposed}");
    }
    assert_eq!(relay.get("/v1/info").await.header("access-control-allow-origin"), None);

    for origin in ["https://evil.example", "https://chat.example.evil", "null", ""] {
        for (method, path) in [("GET", "/v1/info"), ("POST", "/v1/rooms"), ("GET", "/v1/ws")] {
            let answer = relay.call(method, path, &format!("Origin: {origin}\r\n"), "").await;
            answer.assert_problem(403, "origin-denied");
            assert_eq!(answer.header("access-control-allow-origin"), None);
        }
    }
    assert_eq!(relay.totals().refused(Refusal::Origin), 12);
    relay.stop().await;
}

#[tokio::test]
async fn a_preflight_says_what_a_path_takes() {
    let relay =
        TestRelay::start(|config| config.cors.allowed_origins = vec![LISTED.to_owned()]).await;
    let ask = |origin: &str| {
        format!(
            "Origin: {origin}\r\nAccess-Control-Request-Method: POST\r\n\
             Access-Control-Request-Headers: content-type\r\n"
        )
    };
    let answer = relay.call("OPTIONS", "/v1/rooms", &ask(LISTED), "").await;
    assert_eq!(answer.status, 204);
    for (name, value) in [
        ("access-control-allow-origin", LISTED),
        ("access-control-allow-methods", "POST"),
        ("access-control-allow-headers", "content-type"),
        ("access-control-max-age", "600"),
    ] {
        assert_eq!(answer.header(name), Some(value));
    }
    let answer = relay.call("OPTIONS", "/v1/rooms", &ask("https://evil.example"), "").await;
    answer.assert_problem(403, "origin-denied");
    let bare = relay.call("OPTIONS", "/v1/rooms", "", "").await;
    bare.assert_problem(405, "about:blank");
    relay.stop().await;
}

#[tokio::test]
async fn the_page_and_its_sdk_are_served_with_their_own_policy() {
    let relay = TestRelay::start(|_| ()).await;
    for (path, kind) in [
        ("/", "text/html; charset=utf-8"),
        ("/index.html", "text/html; charset=utf-8"),
        ("/app.js", "text/javascript; charset=utf-8"),
        ("/sdk/index.js", "text/javascript; charset=utf-8"),
        ("/style.css", "text/css; charset=utf-8"),
        ("/icon.svg", "image/svg+xml"),
    ] {
        let answer = relay.get(path).await;
        assert_eq!(answer.status, 200, "{path}");
        assert_eq!(answer.header("content-type"), Some(kind), "{path}");
        let policy = answer.header("content-security-policy").unwrap();
        assert!(policy.contains("; script-src 'self'; "), "{policy}");
        assert!(policy.ends_with("require-trusted-types-for 'script'; trusted-types 'none'"));
        assert!(!policy.contains("unsafe"), "{policy}");
        assert!(!answer.body.is_empty());
    }
    relay.get("/package.json").await.assert_problem(404, "about:blank");
    relay.get("/sdk/../Cargo.toml").await.assert_problem(404, "about:blank");
    relay.stop().await;
}
