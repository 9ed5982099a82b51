//! The binary as an operator meets it: what it prints, its exit codes, and signals.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test's way to fail")]

#[path = "cli/front.rs"]
mod front;
#[path = "cli/probe.rs"]
mod probe;
#[path = "cli/top.rs"]
mod top;

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

const SECRET: &str = "pV3tWq9LzX0bKf7RmY2nGc8JhD5sAeUu1iTo4wQx6vE=";

/// Longest wait for anything that should happen.
const PATIENCE: Duration = Duration::from_secs(20);

/// The binary with exactly this environment.
fn lethewire(args: &str, environment: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lethewire"));
    command.args(args.split_whitespace()).env_clear().envs(environment.iter().copied());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn output(args: &str, environment: &[(&str, &str)]) -> (Option<i32>, String, String) {
    texts(&lethewire(args, environment).output().unwrap())
}

fn texts(output: &Output) -> (Option<i32>, String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

/// A running relay and the lines that it prints on either stream.
struct Relay {
    process: Child,
    lines: Receiver<String>,
}

impl Relay {
    fn start(environment: &[(&str, &str)]) -> Self {
        let free_ports = [("PORT", "0"), ("OPS_LISTEN", "127.0.0.1:0")];
        let environment: Vec<_> =
            free_ports.into_iter().chain(environment.iter().copied()).collect();
        let mut process = lethewire("", &environment).spawn().unwrap();
        let (sender, lines) = channel();
        let streams: [Box<dyn std::io::Read + Send>; 2] =
            [Box::new(process.stdout.take().unwrap()), Box::new(process.stderr.take().unwrap())];
        for stream in streams {
            let sender = sender.clone();
            std::thread::spawn(move || {
                for line in BufReader::new(stream).lines().map_while(Result::ok) {
                    // Nobody may be listening any more.
                    let _ = sender.send(line);
                }
            });
        }
        Self { process, lines }
    }

    /// The next line that contains `part`.
    fn line_with(&self, part: &str) -> String {
        let mut seen = Vec::new();
        while let Ok(line) = self.lines.recv_timeout(PATIENCE) {
            if line.contains(part) {
                return line;
            }
            seen.push(line);
        }
        panic!("no line with {part:?} after {seen:#?}");
    }

    /// The address at the end of the next line that starts with `label`.
    fn url(&self, label: &str) -> String {
        let line = self.line_with(label);
        line.split_whitespace().last().unwrap().to_owned()
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.process)
    }

    fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).unwrap();
    }

    fn exit_code(mut self) -> Option<i32> {
        self.process.wait().unwrap().code()
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        // Has usually ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn with_nothing_configured_it_says_where_to_go_and_stops_cleanly() {
    let relay = Relay::start(&[]);
    let members = relay.url("Open in two browsers");
    let operations = relay.url("Health, metrics");
    relay.line_with("Note: JOIN_TOKEN_SECRET is not set");

    for url in [members.trim_end_matches('/').to_owned(), operations.replace("/health", "/ready")] {
        let (code, stdout, stderr) = output(&format!("healthcheck --url {url}"), &[]);
        assert_eq!((code, stdout.as_str()), (Some(0), "ready\n"), "{url}: {stderr}");
    }
    let (code, _, stderr) = output(&format!("healthcheck --url {members}nothing-here"), &[]);
    assert_eq!((code, stderr.as_str()), (Some(1), "lethewire: not ready: status 404\n"));

    relay.signal(Signal::TERM);
    relay.line_with("stopping; a second signal ends at once");
    relay.line_with("stopped");
    assert_eq!(relay.exit_code(), Some(0));
}

#[test]
fn production_logs_json_and_nothing_else() {
    let relay = Relay::start(&[("DEPLOYMENT_ENV", "production"), ("JOIN_TOKEN_SECRET", SECRET)]);
    let mut logged = Vec::new();
    while let Ok(line) = relay.lines.recv_timeout(PATIENCE) {
        let event: serde_json::Value = serde_json::from_str(&line).unwrap();
        let message = event["message"].as_str().unwrap().to_owned();
        if message == "listening" {
            assert!(event["members"].as_str().unwrap().starts_with("127.0.0.1:"), "{line}");
            assert_eq!(event["version"], env!("CARGO_PKG_VERSION"));
        }
        if message == "configuration" {
            let changed = "PORT=0 OPS_LISTEN=(set) DEPLOYMENT_ENV=production";
            assert_eq!(event["changed"], changed, "{line}");
            let secrets = event["secrets"].as_str().unwrap();
            assert!(secrets.starts_with("JOIN_TOKEN_SECRET=(set) "), "{line}");
            assert!(!line.contains(SECRET), "{line}");
        }
        if message.starts_with("PUBLIC_URL is not set") {
            relay.signal(Signal::INT);
        }
        logged.push(message);
    }
    for message in
        ["listening", "configuration", "stopping; a second signal ends at once", "stopped"]
    {
        assert!(logged.iter().any(|other| other == message), "{message}: {logged:#?}");
    }
    assert_eq!(relay.exit_code(), Some(0));
}

/// `.env.production` as Docker and systemd read it, after these lines were filled in.
fn production_template(secrets: &[(&str, &str)]) -> Vec<(String, String)> {
    let mut text = include_str!("../.env.production").to_owned();
    for (name, value) in secrets {
        let empty = format!("\n#{name}=\n");
        assert!(text.contains(&empty), "no line for {name}");
        text = text.replace(&empty, &format!("\n{name}={value}\n"));
    }
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let pairs = lines.filter_map(|line| line.split_once('='));
    // A test listens on loopback only.
    let pairs = pairs.filter(|(name, _)| *name != "HOST");
    pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

#[test]
fn the_production_template_is_ready_once_two_secrets_are_filled_in() {
    let other: String = SECRET.chars().rev().collect();
    let filled = production_template(&[("JOIN_TOKEN_SECRET", SECRET), ("CLUSTER_SECRET", &other)]);
    let filled: Vec<_> =
        filled.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert!(filled.contains(&("DEPLOYMENT_ENV", "production")), "{filled:?}");
    let relay = Relay::start(&filled);
    let line: serde_json::Value = serde_json::from_str(&relay.line_with("listening")).unwrap();
    for listener in ["members", "operations"] {
        let url = format!("http://{}/ready", line[listener].as_str().unwrap());
        let (code, stdout, stderr) = output(&format!("healthcheck --url {url}"), &[]);
        assert_eq!((code, stdout.as_str()), (Some(0), "ready\n"), "{url}: {stderr}");
    }
    relay.signal(Signal::TERM);
    assert_eq!(relay.exit_code(), Some(0));

    let empty = production_template(&[]);
    let empty: Vec<_> = empty.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let (code, _, stderr) = output("serve", &empty);
    assert_eq!(code, Some(78), "{stderr}");
    assert!(stderr.contains("JOIN_TOKEN_SECRET"), "{stderr}");
}

#[test]
fn the_log_says_which_check_turned_and_that_nobody_new_should_come_unless_told_not_to() {
    let environment = [("LOG_FORMAT", "json"), ("MAX_MEMORY_BYTES", "1")];
    let relay = Relay::start(&environment);
    let turned = relay.line_with("a check turned");
    let line: serde_json::Value = serde_json::from_str(&turned).unwrap();
    let said = ["level", "check", "was", "status"].map(|field| line[field].as_str().unwrap());
    assert_eq!(said, ["WARN", "memory", "pass", "fail"]);
    let not_ready = relay.line_with("not ready");
    let line: serde_json::Value = serde_json::from_str(&not_ready).unwrap();
    assert_eq!((line["level"].as_str(), line["check"].as_str()), (Some("WARN"), Some("memory")));

    let relay = Relay::start(&[
        ("LOG_HEALTH_CHECK_FAILURES", "false"),
        ("LOG_AGGREGATE_INTERVAL_S", "1"),
        environment[0],
        environment[1],
    ]);
    let mut said = String::new();
    // Two rounds of the totals are a round of the checks at least.
    for _ in 0..2 {
        while let Ok(line) = relay.lines.recv_timeout(PATIENCE) {
            said.push_str(&line);
            if line.contains("\"totals\"") {
                break;
            }
        }
    }
    assert!(said.contains("totals") && !said.contains("turned"), "{said}");
    assert!(!said.contains("\"not ready\""), "{said}");
}

#[test]
fn a_second_signal_ends_at_once() {
    for (second, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let relay =
            Relay::start(&[("HTTP_HEADER_TIMEOUT_MS", "60000"), ("SHUTDOWN_TIMEOUT", "60")]);
        let url = relay.url("Open in two browsers");
        let address = url.trim_start_matches("http://").trim_end_matches('/');
        // A request that does not end keeps the drain waiting.
        let mut unfinished = TcpStream::connect(address).unwrap();
        unfinished.write_all(b"GET /live HTTP/1.1\r\n").unwrap();
        // Connections are accepted in order, so that once this one is answered the other is in.
        let (ready, _, _) = output(&format!("healthcheck --url {url}"), &[]);
        assert_eq!(ready, Some(0));

        relay.signal(Signal::TERM);
        relay.line_with("stopping; a second signal ends at once");
        relay.line_with("draining");
        relay.signal(second);
        relay.line_with("ending at once");
        assert_eq!(relay.exit_code(), Some(code));
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_relay_leaves_no_core_and_may_open_as_many_files_as_it_is_allowed() {
    let relay = Relay::start(&[]);
    relay.line_with("Open in two browsers");
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", relay.pid().as_raw_nonzero()));
    let limits = limits.unwrap();
    let limit = |name: &str| {
        let line = limits.lines().find(|line| line.starts_with(name)).unwrap();
        let values: Vec<_> = line.trim_start_matches(name).split_whitespace().collect();
        (values[0].to_owned(), values[1].to_owned())
    };
    assert_eq!(limit("Max core file size"), ("0".to_owned(), "0".to_owned()));
    let (soft, hard) = limit("Max open files");
    assert_eq!(soft, hard);
}

#[test]
fn a_configuration_that_cannot_be_used_is_one_exit_code_and_every_reason() {
    for command in ["", "serve", "config", "token mint --room new"] {
        let environment = [("DEPLOYMENT_ENV", "production"), ("PORT", "http")];
        let (code, stdout, stderr) = output(command, &environment);
        assert_eq!(code, Some(78), "{command}: {stderr}");
        assert_eq!(stdout, "", "{command}");
        for line in [
            "lethewire: the configuration has 2 problems:\n",
            "\n  - PORT: expected a whole number from 0 to 65535\n",
            "\n  - JOIN_TOKEN_SECRET: production needs a secret of its own; ",
        ] {
            assert!(stderr.contains(line), "{command}: {line}: {stderr}");
        }
    }
    let (code, _, stderr) = output("--config no-such-file.toml config", &[]);
    assert_eq!(code, Some(78));
    assert!(stderr.contains("no-such-file.toml: cannot read the configuration file"), "{stderr}");
    let (code, _, _) = output("srve", &[]);
    assert_eq!(code, Some(2));
}

#[test]
fn an_address_in_use_is_named_with_its_variable() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let (code, _, stderr) = output("serve", &[("PORT", &port), ("OPS_LISTEN", "")]);
    assert_eq!(code, Some(1));
    let expected = format!("lethewire: cannot listen on 127.0.0.1:{port} (HOST, PORT): ");
    assert!(stderr.starts_with(&expected), "{stderr}");
}

#[test]
fn config_shows_what_is_in_effect_and_no_secret() {
    let environment = [("PORT", "7"), ("JOIN_TOKEN_SECRET", SECRET), ("MAX_ROMS", "5")];
    let (code, stdout, stderr) = output("config", &environment);
    assert_eq!(code, Some(0), "{stderr}");
    assert!(stdout.contains("port = 7  # from PORT\n"), "{stdout}");
    assert!(stdout.contains("# JOIN_TOKEN_SECRET: (set, 44 bytes)\n"), "{stdout}");
    assert!(!stdout.contains(SECRET) && !stderr.contains(SECRET));
    let note = "lethewire: MAX_ROMS is not a variable of the relay; did you mean MAX_ROOMS?\n";
    assert_eq!(stderr, note);
    let (code, stdout, _) = output("config --defaults", &[]);
    assert_eq!(code, Some(0));
    assert_eq!(stdout, lethewire::config::DEFAULT_TOML);
}

#[test]
fn a_token_is_minted_on_one_line_and_inspected_from_standard_input() {
    let secret = [("JOIN_TOKEN_SECRET", SECRET)];
    let (code, token, stderr) = output("token mint --room new --cap sr --ttl 30", &secret);
    assert_eq!(code, Some(0), "{stderr}");
    assert_eq!(token.lines().count(), 1);
    assert!(stderr.starts_with("lethewire: the new room is "), "{stderr}");

    let inspect = |args: &str, input: &str, environment: &[(&str, &str)]| {
        let mut command = lethewire(args, environment);
        let mut process = command.stdin(Stdio::piped()).spawn().unwrap();
        process.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        texts(&process.wait_with_output().unwrap())
    };
    for args in ["token inspect", "token inspect -"] {
        let (code, stdout, stderr) = inspect(args, &token, &secret);
        assert_eq!(code, Some(0), "{stdout}{stderr}");
        assert!(stdout.contains("\nValid for this configuration. "), "{stdout}");
    }
    let (code, stdout, _) = inspect("token inspect", &token, &[("TOKEN_AUDIENCE", "x"), secret[0]]);
    assert_eq!(code, Some(1));
    assert!(stdout.contains("\nRefused: aud is not this relay's audience. "), "{stdout}");
    let (code, stdout, _) = output(&format!("token inspect {token}"), &[]);
    assert_eq!(code, Some(1));
    assert!(stdout.contains("\nNot verified: JOIN_TOKEN_SECRET is not set."), "{stdout}");
}

#[test]
fn output_that_nobody_reads_is_no_failure() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = lethewire("config --defaults", &[]).stdout(writer).output().unwrap();
    assert_eq!(texts(&output), (Some(0), String::new(), String::new()));
}

/// A relay that takes these sockets from whoever starts it, as systemd passes them.
#[cfg(unix)]
fn with_sockets(sockets: [&std::net::TcpListener; 2], environment: &[(&str, &str)]) -> Command {
    use std::os::fd::AsFd as _;
    let copy = |socket: &std::net::TcpListener| socket.as_fd().try_clone_to_owned().unwrap();
    let mut command = Command::new("sh");
    command.arg("-c").arg(concat!(
        "exec 3<&0 4<&1 0</dev/null 1>&2; ",
        "LISTEN_FDS=2 LISTEN_FDNAMES=operations:members LISTEN_PID=$$ exec \"$0\""
    ));
    command.arg(env!("CARGO_BIN_EXE_lethewire")).env_clear().envs(environment.iter().copied());
    // Its log is not read here, so it goes where that of the tests goes.
    command.stdin(copy(sockets[1])).stdout(copy(sockets[0])).stderr(Stdio::inherit());
    command
}

#[cfg(unix)]
#[test]
fn what_comes_between_two_relays_waits_in_the_passed_socket() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("notify");
    let supervisor = std::os::unix::net::UnixDatagram::bind(&path).unwrap();
    supervisor.set_read_timeout(Some(PATIENCE)).unwrap();
    let hear = || {
        let mut told = [0; 64];
        let length = supervisor.recv(&mut told).expect("it tells");
        String::from_utf8(told[..length].to_vec()).unwrap()
    };
    let environment =
        [("NOTIFY_SOCKET", path.to_str().unwrap()), ("PORT", "1"), ("LOG_LEVEL", "error")];
    let [members, operations] =
        [(); 2].map(|()| std::net::TcpListener::bind("127.0.0.1:0").unwrap());
    let relay = || with_sockets([&members, &operations], &environment).spawn().unwrap();
    let address = members.local_addr().unwrap();
    let ready = |address: &str| output(&format!("healthcheck --url http://{address}"), &[]);

    let mut first = relay();
    assert_eq!(hear(), "READY=1\n");
    assert_eq!(ready(&address.to_string()).0, Some(0), "not PORT, but what was passed");
    let health = format!("{}/health", operations.local_addr().unwrap());
    assert_eq!(ready(&health).0, Some(0), "by its name");
    kill_process(Pid::from_child(&first), Signal::TERM).unwrap();
    assert_eq!(hear(), "STOPPING=1\n");
    assert_eq!(first.wait().unwrap().code(), Some(0));

    let mut early = TcpStream::connect(address).expect("the socket is open all the time");
    early.set_read_timeout(Some(PATIENCE)).unwrap();
    early.write_all(b"GET /ready HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").unwrap();
    let mut second = relay();
    let mut answer = String::new();
    std::io::Read::read_to_string(&mut early, &mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert_eq!(hear(), "READY=1\n");
    second.kill().unwrap();
    second.wait().unwrap();
}

#[test]
fn two_relays_share_a_port_only_if_both_are_told_to() {
    let first = Relay::start(&[("REUSE_PORT", "1")]);
    let url = first.url("Open in two browsers");
    let port = url.trim_end_matches('/').rsplit(':').next().unwrap();
    let (code, _, stderr) = output("serve", &[("PORT", port), ("OPS_LISTEN", "")]);
    assert_eq!(code, Some(1), "{stderr}");
    let second = Relay::start(&[("REUSE_PORT", "1"), ("PORT", port), ("OPS_LISTEN", "")]);
    assert_eq!(second.url("Open in two browsers"), url);
    first.signal(Signal::TERM);
    first.line_with("leaving new connections to others");
    first.line_with("stopped");
    assert_eq!(first.exit_code(), Some(0));
    assert_eq!(output(&format!("healthcheck --url {url}"), &[]).0, Some(0));
}

#[test]
fn the_manual_and_completions_go_to_standard_output() {
    let (code, page, stderr) = output("man", &[]);
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
    assert!(page.starts_with(".TH LETHEWIRE 1 "), "{page}");
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let (code, script, stderr) = output(&format!("completions {shell}"), &[]);
        assert_eq!((code, stderr.as_str()), (Some(0), ""), "{shell}");
        assert!(script.contains("healthcheck") && script.contains("ca-file"), "{shell}");
    }
    assert_eq!(output("completions csh", &[]).0, Some(2));
}
