//! `lethewire probe` against real relays, and against what stands in their place when they are not
//! well.

#![expect(clippy::indexing_slicing, reason = "a test's way to fail")]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::Child;

use lethewire::clock;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::front::{Certificate, Front};
use crate::{PATIENCE, Relay, SECRET, lethewire, output};

/// Another secret than the relay's.
const FOREIGN: &str = "qN7uZr2MyC5dLh9TpX4oHf1KjE8tBgVw3kSi6xRz0aF=";

fn started(environment: &[(&str, &str)]) -> (Relay, String) {
    let relay = Relay::start(environment);
    let url = relay.url("Open in two browsers").trim_end_matches('/').to_owned();
    (relay, url)
}

/// A probe's exit code and report; nothing secret is in it, nor anything on the other stream.
fn probed(args: &str, environment: &[(&str, &str)]) -> (Option<i32>, Value) {
    let (code, stdout, stderr) = output(&format!("probe --json {args}"), environment);
    assert_eq!(stderr, "", "{stdout}");
    // Tokens begin with {" in base64url.
    assert!(!stdout.contains("eyJ") && !stdout.contains(SECRET), "{stdout}");
    let report: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(report["ok"], code == Some(0), "{report}");
    (code, report)
}

/// Where a probe failed, why, and whether that was for a lack of time.
fn failure(args: &str, environment: &[(&str, &str)]) -> (String, String, bool) {
    let (code, report) = probed(args, environment);
    assert_eq!(code, Some(1), "{report}");
    let failure = &report["failure"];
    assert!(failure["next"].as_str().unwrap().len() > 10, "{failure}");
    let text = |name: &str| failure[name].as_str().unwrap().to_owned();
    (text("stage"), text("what"), failure["timeout"].as_bool().unwrap())
}

fn address(url: &str) -> SocketAddr {
    url.trim_start_matches("http://").parse().unwrap()
}

#[test]
fn a_healthy_relay_is_measured_stage_by_stage_and_its_room_is_closed() {
    let (relay, url) = started(&[]);
    let (code, stdout, stderr) = output(&format!("probe {url}"), &[]);
    assert_eq!((code, stderr.as_str()), (Some(0), ""), "{stdout}");
    let stages: Vec<_> = stdout.lines().filter_map(|l| l.split_whitespace().next()).collect();
    let ws = url.replace("http", "ws");
    let expected = [&ws, "resolve", "connect", "token", "handshake", "join", "message", "ok,"];
    assert_eq!(stages, expected, "{stdout}");
    assert!(stdout.contains("256 bytes, as they were sent"), "{stdout}");
    assert!(!stdout.contains("was not closed"), "{stdout}");

    let (_, report) = probed(&format!("--url {url}/"), &[]);
    assert_eq!(report["room_closed"], true, "{report}");
    assert_eq!(report["members_sent_to"], Value::Null, "{report}");
    assert_eq!(report["stages_ms"].as_object().unwrap().len(), 6, "{report}");

    let operations = relay.url("Health, metrics").replace("/health", "");
    let ended = |metrics: &str, reason| {
        let series = format!("lethewire_websockets_closed_total{{reason=\"{reason}\"}}");
        value(metrics, &series) == "2"
    };
    let begun = clock::now();
    loop {
        let metrics = get(&operations, "/metrics");
        if ended(&metrics, "left") && ended(&metrics, "room_closed") {
            break;
        }
        assert!(clock::now().since(begun) < PATIENCE, "{metrics}");
        std::thread::yield_now();
    }
}

#[test]
fn a_relay_of_a_backend_is_probed_with_its_secret() {
    let backend = [("ROOM_ADMISSION", "backend"), ("JOIN_TOKEN_SECRET", SECRET)];
    let (_relay, url) = started(&backend);
    let folder = tempfile::TempDir::new().unwrap();
    let file = folder.path().join("secret");
    std::fs::write(&file, SECRET).unwrap();
    let (code, report) = probed(&url, &[("JOIN_TOKEN_SECRET_FILE", file.to_str().unwrap())]);
    assert_eq!(code, Some(0), "{report}");
    assert_eq!(report["room_closed"], true, "{report}");

    let (stage, what, _) = failure(&url, &[]);
    assert_eq!(stage, "token");
    assert!(what.ends_with("there is no secret here to make one"), "{what}");
    let (stage, what, _) = failure(&url, &[("JOIN_TOKEN_SECRET", FOREIGN)]);
    assert_eq!((stage.as_str(), what.as_str()), ("join", "closed with 4101 token_invalid"));
    let (stage, what, _) = failure(&url, &[("JOIN_TOKEN_SECRET", "short")]);
    assert_eq!(stage, "token");
    assert!(what.contains("JOIN_TOKEN_SECRET") && !what.contains("short\""), "{what}");
}

#[test]
fn tls_is_spoken_and_the_end_of_the_certificate_is_told() {
    let certificate = Certificate::until(2061);
    let front = Front::new();
    let url = format!("https://localhost:{}", front.port());
    let (_relay, inside) = started(&[("PUBLIC_URL", &url)]);
    front.end_tls(&certificate, address(&inside));

    let trusting = format!("--ca-file {}", certificate.ca_file().display());
    let (code, report) = probed(&format!("{trusting} {url}"), &[]);
    assert_eq!(code, Some(0), "{report}");
    assert_eq!(report["tls_not_after"], 2_874_614_400_u64);
    assert_eq!(report["members_sent_to"], Value::Null, "{report}");
    assert!(report["stages_ms"]["tls"].as_f64().unwrap() > 0.0, "{report}");
    let (code, stdout, _) = output(&format!("probe {trusting} {url}"), &[]);
    assert_eq!(code, Some(0));
    assert!(stdout.contains("certificate until 2061-02-03T00:00:00Z, "), "{stdout}");

    // Whoever asks the relay itself is sent to where members go, unless told not to be.
    let (code, report) = probed(&format!("{trusting} {inside}"), &[]);
    assert_eq!(code, Some(0), "{report}");
    assert_eq!(report["members_sent_to"], url.replace("https", "wss"), "{report}");
    let (_, report) = probed(&format!("{trusting} --direct {inside}"), &[]);
    assert_eq!(report["members_sent_to"], Value::Null, "{report}");

    let elsewhere = Certificate::until(2061);
    for (trusted, url, what) in [
        (&elsewhere, url.clone(), "the certificate's issuer is not trusted here"),
        (
            &certificate,
            url.replace("localhost", "127.0.0.1"),
            "the certificate is for another name",
        ),
        (&certificate, inside.replace("http", "https"), "what answers does not speak TLS"),
    ] {
        let args = format!("--ca-file {} {url}", trusted.ca_file().display());
        assert_eq!(failure(&args, &[]), ("tls".to_owned(), what.to_owned(), false));
    }
}

#[test]
fn a_certificate_that_has_expired_is_a_failure_of_tls() {
    let certificate = Certificate::until(2020);
    let front = Front::new();
    front.end_tls(&certificate, SocketAddr::from(([127, 0, 0, 1], 1)));
    let args =
        format!("--ca-file {} https://localhost:{}", certificate.ca_file().display(), front.port());
    let (stage, what, _) = failure(&args, &[]);
    assert_eq!((stage.as_str(), what.as_str()), ("tls", "the certificate has expired"));
}

#[test]
fn nobody_there_and_nobody_who_answers_are_told_apart() {
    let front = Front::new();
    let port = front.port();
    for (url, stage) in [("http", "token"), ("https", "tls")] {
        let (found, what, timeout) = failure(&format!("--timeout 1 {url}://127.0.0.1:{port}"), &[]);
        assert_eq!((found.as_str(), timeout), (stage, true), "{what}");
        assert_eq!(what, "no answer within the 1 s of --timeout");
    }
    drop(front);
    let (stage, what, timeout) = failure(&format!("http://127.0.0.1:{port}"), &[]);
    assert_eq!((stage.as_str(), timeout), ("connect", false));
    assert!(what.starts_with("cannot connect: "), "{what}");
    let (stage, _, _) = failure("http://nowhere.invalid", &[]);
    assert_eq!(stage, "resolve");
}

#[test]
fn a_way_that_ends_at_the_upgrade_is_a_failure_of_the_handshake() {
    let (_relay, url) = started(&[]);
    let front = Front::new();
    front.answer_first(1, address(&url));
    let through = format!("--timeout 2 --direct http://127.0.0.1:{}", front.port());
    let (stage, what, timeout) = failure(&through, &[]);
    assert_eq!((stage.as_str(), timeout), ("handshake", true), "{what}");
}

#[test]
fn members_who_do_not_hear_each_other_are_a_failure_of_the_message() {
    let (_relay, url) = started(&[]);
    let front = Front::new();
    front.mute_second(address(&url));
    let through = format!("--timeout 3 --direct http://127.0.0.1:{}", front.port());
    let (stage, what, timeout) = failure(&through, &[]);
    assert_eq!((stage.as_str(), timeout), ("message", true), "{what}");
}

#[test]
fn a_relay_that_is_full_or_drains_says_so_and_another_server_is_no_relay() {
    let (_full, url) = started(&[("MAX_TOTAL_CONNECTIONS", "1")]);
    let (stage, what, _) = failure(&url, &[]);
    assert_eq!(stage, "handshake", "{what}");
    assert!(what.starts_with("status 503, come back in "), "{what}");

    let (draining, url) =
        started(&[("HTTP_HEADER_TIMEOUT_MS", "60000"), ("SHUTDOWN_TIMEOUT", "60")]);
    let operations = draining.url("Health, metrics").replace("/health", "");
    // A request that does not end keeps the drain waiting.
    let mut unfinished = TcpStream::connect(address(&url)).unwrap();
    unfinished.write_all(b"GET /live HTTP/1.1\r\n").unwrap();
    assert_eq!(output(&format!("healthcheck --url {url}"), &[]).0, Some(0));
    draining.signal(Signal::TERM);
    draining.line_with("draining");
    let (stage, what, _) = failure(&url, &[]);
    assert_eq!(stage, "token", "{what}");
    assert!(what.starts_with("status 503"), "{what}");

    let (stage, what, _) = failure(&operations, &[]);
    assert_eq!((stage.as_str(), what.as_str()), ("token", "status 404"));
}

#[test]
fn what_cannot_be_probed_is_a_matter_of_the_command_line() {
    for (args, words) in [
        ("probe relay.example", "expected an address like https://"),
        (
            "probe https://relay.example --ca-file no-such-file.pem",
            "cannot read the file of --ca-file",
        ),
        ("probe", "required"),
        ("probe http://a --interval 1s --listen 127.0.0.1:0", "expected 10s to 1h"),
        ("probe http://a --interval 30s", "--listen"),
        ("probe http://a --json --listen 127.0.0.1:0", "cannot be used with"),
    ] {
        let (code, stdout, stderr) = output(args, &[]);
        assert_eq!((code, stdout.as_str()), (Some(2), ""), "{args}: {stderr}");
        assert!(stderr.contains(words), "{args}: {stderr}");
    }
}

/// A prober that exports; ended with the test.
struct Exporter {
    process: Child,
    address: String,
}

impl Exporter {
    fn start(target: &str) -> Self {
        let args = format!("probe {target} --listen 127.0.0.1:0 --interval 1h");
        let mut process = lethewire(&args, &[]).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(process.stderr.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim_end().strip_suffix("/metrics").unwrap();
        let address = address.rsplit_once(' ').unwrap().1.to_owned();
        Self { process, address }
    }

    /// The figures, once a probe has ended.
    fn figures(&self) -> String {
        let begun = clock::now();
        loop {
            let figures = get(&self.address, "/metrics");
            let ended = |line: &&str| line.contains("_total") && line.ends_with(" 1");
            if figures.lines().any(|line| ended(&line)) {
                return figures;
            }
            assert!(clock::now().since(begun) < PATIENCE, "{figures}");
            std::thread::yield_now();
        }
    }
}

impl Drop for Exporter {
    fn drop(&mut self) {
        // Has usually ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The body of an answer.
fn get(base: &str, path: &str) -> String {
    let authority = base.trim_start_matches("http://");
    let mut stream = TcpStream::connect(authority).unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: {authority}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    body.to_owned()
}

/// The value of a series, as it is written.
fn value<'a>(figures: &'a str, series: &str) -> &'a str {
    let value = figures.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    value.unwrap_or_else(|| panic!("no {series} in {figures}"))
}

const SECONDS: [&str; 3] = ["handshake", "join", "message"];

#[test]
fn an_exporter_shows_what_it_measured_and_ends_when_it_is_told_to() {
    let (_relay, url) = started(&[]);
    let mut exporter = Exporter::start(&url);
    let figures = exporter.figures();
    assert!(figures.ends_with("# EOF\n"), "{figures}");
    assert_eq!(value(&figures, "lethewire_probe_up"), "1");
    assert_eq!(value(&figures, "lethewire_probe_success_total"), "1");
    for stage in SECONDS {
        let seconds = value(&figures, &format!("lethewire_probe_{stage}_seconds"));
        let seconds: f64 = seconds.parse().unwrap();
        assert!(seconds > 0.0 && seconds < 10.0, "{stage}: {seconds}");
    }
    assert_eq!(value(&figures, "lethewire_probe_tls_not_after_seconds"), "NaN");
    let live: Value = serde_json::from_str(&get(&exporter.address, "/live")).unwrap();
    assert_eq!(live, json!({ "alive": true }));
    kill_process(Pid::from_child(&exporter.process), Signal::TERM).unwrap();
    assert_eq!(exporter.process.wait().unwrap().code(), Some(0));
}

#[test]
fn an_exporter_counts_failures_by_stage_and_shows_no_old_figures() {
    let unused = Front::new().port();
    let silent = Front::new();
    for (target, failed) in [
        (format!("http://127.0.0.1:{unused}"), "connect"),
        (format!("http://127.0.0.1:{} --timeout 1", silent.port()), "timeout"),
    ] {
        let figures = Exporter::start(&target).figures();
        assert_eq!(value(&figures, "lethewire_probe_up"), "0");
        for stage in
            ["resolve", "connect", "tls", "token", "handshake", "join", "message", "timeout"]
        {
            let series = format!("lethewire_probe_failures_total{{stage=\"{stage}\"}}");
            assert_eq!(value(&figures, &series) != "0", stage == failed, "{target}: {stage}");
        }
        for stage in SECONDS {
            assert_eq!(value(&figures, &format!("lethewire_probe_{stage}_seconds")), "NaN");
        }
    }
}
