//! `lethewire top` on a real terminal, and without one.

use std::io::{Read as _, Write as _};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};

use lethewire::clock;
use rustix::process::{Pid, Signal, kill_process};

use crate::{PATIENCE, Relay, SECRET, lethewire, output};

const ENTER: &str = "\x1b[?1049h\x1b[?25l";
const LEAVE: &str = "\x1b[?25h\x1b[?1049l";
/// What each screen begins with.
const HOME: &str = "\x1b[H";

fn started() -> (Relay, String) {
    let relay = Relay::start(&[]);
    let operations = relay.url("Health, metrics").replace("/health", "");
    (relay, operations)
}

/// `top` on a terminal of its own, made by util-linux' `script`, and what it writes there.
struct Terminal {
    process: Child,
    keys: ChildStdin,
    pieces: Receiver<String>,
    seen: String,
}

impl Terminal {
    fn start(url: &str, environment: &[(&str, &str)]) -> Self {
        let program = env!("CARGO_BIN_EXE_lethewire");
        // Ctrl-C is for all on the terminal, and the shell has to outlive it.
        let command = format!(
            "trap : INT; stty rows 20 cols 60; tty; {program} top --url {url} --interval 1; \
             echo \"code $?\"; stty -a"
        );
        let mut script = Command::new("script");
        script.args(["-q", "-e", "-f", "-c", &command, "/dev/null"]).env("SHELL", "/bin/sh");
        script.env_remove("NO_COLOR").envs(environment.iter().copied());
        script.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut process = script.spawn().expect("util-linux");
        let keys = process.stdin.take().unwrap();
        let mut out = process.stdout.take().unwrap();
        let (sender, pieces) = channel();
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(length @ 1..) = out.read(&mut buffer) {
                let text = String::from_utf8_lossy(buffer.get(..length).unwrap()).into_owned();
                if sender.send(text).is_err() {
                    break;
                }
            }
        });
        Self { process, keys, pieces, seen: String::new() }
    }

    /// Reads until something holds for all that was written.
    fn until(&mut self, what: &str, holds: impl Fn(&str) -> bool) {
        let begun = clock::now();
        while !holds(&self.seen) {
            // Screens keep coming, so that a wait for the next one alone would never end.
            let left = PATIENCE.saturating_sub(clock::now().since(begun));
            let piece = self.pieces.recv_timeout(left);
            let piece = piece.unwrap_or_else(|_| panic!("no {what} in {:?}", self.seen));
            self.seen.push_str(&piece);
        }
    }

    fn screens(&self) -> usize {
        self.seen.matches(HOME).count()
    }

    fn press(&mut self, key: &str) {
        self.keys.write_all(key.as_bytes()).unwrap();
        self.keys.flush().unwrap();
    }

    /// Makes the terminal another size, which tells whoever runs on it.
    fn resize(&self, columns: usize) {
        let device = self.seen.lines().next().unwrap().trim();
        let columns = columns.to_string();
        let status = Command::new("stty").args(["-F", device, "cols", &columns]).status();
        assert!(status.unwrap().success());
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // Has usually ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The lines of the last screen that is there in full, without escape sequences.
fn last_screen(seen: &str) -> Vec<String> {
    let screens: Vec<&str> = seen.split(HOME).collect();
    let whole = screens.iter().rev().find_map(|screen| screen.split_once("\x1b[J"));
    let text = whole.unwrap().0.replace("\x1b[K", "");
    text.lines().map(|line| without_colours(line.trim_end_matches('\r'))).collect()
}

fn without_colours(text: &str) -> String {
    let mut pieces = text.split("\x1b[");
    let first = pieces.next().unwrap_or_default().to_owned();
    pieces.fold(first, |all, piece| all + piece.split_once('m').map_or("", |(_, rest)| rest))
}

#[test]
fn a_terminal_is_refreshed_in_place_resized_and_given_back() {
    let (_relay, url) = started();
    for (end, environment) in [("\x03", [("NO_COLOR", "")]), ("q", [("NO_COLOR", "1")])] {
        let mut terminal = Terminal::start(&url, &environment);
        terminal.until("second screen", |seen| seen.matches("\x1b[J").count() >= 2);
        let screen = last_screen(&terminal.seen);
        assert!(screen.first().unwrap().starts_with("lethewire 0.1.0 healthy"), "{screen:?}");
        assert!(screen.iter().any(|line| line.starts_with("messages ")), "{screen:?}");
        assert!(screen.len() <= 20 && screen.iter().all(|line| line.len() <= 60), "{screen:?}");
        let colours = terminal.seen.contains("\x1b[32mhealthy\x1b[0m");
        assert_eq!(colours, environment == [("NO_COLOR", "")]);

        terminal.resize(30);
        let before = terminal.screens();
        terminal.until("screen of another size", |seen| {
            let more = seen.matches("\x1b[J").count() > before;
            more && last_screen(seen).iter().all(|line| line.len() <= 30)
        });
        terminal.press(end);
        terminal.until("end", |seen| seen.contains("-echoprt") || seen.contains("echoke"));
        assert_eq!(terminal.seen.matches(ENTER).count(), 1);
        let (_, after) = terminal.seen.split_once(LEAVE).expect("the screen is given back");
        assert!(after.contains("code 0"), "{after}");
        for mode in [" icanon ", " echo ", "susp = ^Z;"] {
            assert!(after.contains(mode), "{mode}: {after}");
        }
    }
}

#[test]
fn one_look_is_plain_text_and_no_relay_is_a_failure() {
    let relay = Relay::start(&[]);
    let members = relay.url("Open in two browsers");
    let url = relay.url("Health, metrics").replace("/health", "");
    let (code, stdout, stderr) = output(&format!("top --once --url {url}"), &[]);
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
    assert!(stdout.starts_with("lethewire 0.1.0 healthy  up "), "{stdout}");
    for line in ["\nchecks     ", "\ninside     members 0  rooms 0", "\nmessages ", "\nsockets "] {
        assert!(stdout.contains(line), "{line}: {stdout}");
    }
    assert!(!stdout.contains('\x1b') && !stdout.contains("blurred"), "{stdout}");

    let unused = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for (url, words) in [
        (format!("http://{unused}"), "cannot connect: "),
        (members, "is this the operations listener (OPS_LISTEN)?"),
    ] {
        let (code, stdout, stderr) = output(&format!("top --once --url {url}"), &[]);
        assert_eq!((code, stdout.as_str()), (Some(1), ""), "{stderr}");
        assert!(stderr.contains(words), "{stderr}");
    }
    assert_eq!(output("top --url nowhere", &[]).0, Some(2));
}

#[test]
fn that_figures_are_blurred_is_said() {
    let production = [("DEPLOYMENT_ENV", "production"), ("JOIN_TOKEN_SECRET", SECRET)];
    for (privacy, blurred) in [("auto", true), ("blurred", true), ("exact", false)] {
        let [env, secret] = production;
        let relay = Relay::start(&[env, secret, ("METRICS_PRIVACY", privacy)]);
        let line = relay.line_with("\"listening\"");
        let line: serde_json::Value = serde_json::from_str(&line).unwrap();
        let url = format!("http://{}", line["operations"].as_str().unwrap());
        let (code, stdout, _) = output(&format!("top --once --url {url}"), &[]);
        assert_eq!(code, Some(0), "{stdout}");
        assert_eq!(stdout.contains("blurred: multiples of 8"), blurred, "{privacy}: {stdout}");
    }
}

#[test]
fn without_a_terminal_each_look_is_printed_also_that_nobody_answers() {
    let (mut relay, url) = started();
    let top = format!("top --interval 1 --url {url}");
    let mut top = lethewire(&top, &[]).spawn().unwrap();
    let mut out = std::io::BufReader::new(top.stdout.take().unwrap());
    let mut line_with = |part: &str| {
        let mut line = String::new();
        while !line.contains(part) {
            line.clear();
            assert!(std::io::BufRead::read_line(&mut out, &mut line).unwrap() > 0, "no {part}");
            assert!(!line.contains('\x1b'), "{line:?}");
        }
    };
    line_with("lethewire 0.1.0 healthy");
    line_with("process");
    line_with("lethewire 0.1.0 healthy");
    relay.process.kill().unwrap();
    line_with("NO ANSWER: cannot connect");
    kill_process(Pid::from_child(&top), Signal::INT).unwrap();
    assert_eq!(top.wait().unwrap().code(), Some(0));
}
