//! What a hostile connection costs the relay in memory, measured on the binary in a process of its
//! own.
//!
//! Each kind of attack is made by many connections at once. The process may grow by less than
//! [`EACH_MAX`] for each of them, and afterwards holds none of them any more. Where the configuration
//! lets a member have more than that (a backlog of a megabyte, half a message of 64 KiB), it is
//! lowered here, to what an operator would set who expects this many attackers.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use crate::harness::{JSON, Rogue, TestRoom, call, handshake, masked, soon};

/// No limit that a test reaches.
const FREE: &str = "1125899906842624";
/// Most that the process may grow for one hostile connection.
const EACH_MAX: u64 = 64 * 1024;
/// The same for one that says nothing: the library has two buffers of 8 KiB for a connection, which are not
/// taken before its first byte.
const SILENT_MAX: u64 = 8 * 1024;
/// Hostile connections of a kind.
const CROWD: usize = 300;
/// Made before measuring, so that what every worker has once is there.
const WARM_UP: usize = 20;
/// Largest payload here.
const PAYLOAD_BYTES: usize = 16_384;

/// The relay as it is released, as a child.
struct Process {
    child: Child,
    members: SocketAddr,
    ops: SocketAddr,
}

impl Process {
    fn start() -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_lethewire"))
            .env_clear()
            .envs([("PORT", "0"), ("OPS_LISTEN", "127.0.0.1:0"), ("LOG_FORMAT", "json")])
            .envs([("WORKER_THREADS", "2"), ("FEATURE_IP_TRACKING", "false")])
            .envs([("MAX_MSGS_PER_10S", "1000000"), ("MAX_FRAMES_PER_10S", "1000000")])
            .envs([("MAX_BYTES_PER_10S", "1073741824"), ("MAX_RAW_BYTES_PER_10S", "2147483648")])
            .envs([("MAX_FANOUT_BYTES_PER_10S", FREE), ("MAX_ROOM_FANOUT_BYTES_PER_10S", FREE)])
            .envs([("ROOM_MEMBERS_MAX", "1000"), ("HTTP_HEADER_TIMEOUT_MS", "60000")])
            // What an operator lowers who expects many attackers.
            .env("MAX_PAYLOAD_BYTES", PAYLOAD_BYTES.to_string())
            .env("ROOM_PADDING_BUCKETS", "256,1024,4096,16384")
            .env("ROOM_BATCH_BYTES", "16384")
            .env("SLOW_CONSUMER_BUFFER_THRESHOLD", "32768")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the binary starts");
        let log = BufReader::new(child.stdout.take().expect("piped"));
        let mut entries = log.lines().map(|line| line.expect("text"));
        let listening = entries
            .find_map(|line| {
                let entry: Value = serde_json::from_str(&line).expect("JSON");
                (entry["message"] == "listening").then_some(entry)
            })
            .expect("it listens");
        let address = |name: &str| listening[name].as_str().expect("an address").parse().unwrap();
        Self { child, members: address("members"), ops: address("operations") }
    }

    /// Resident memory, in bytes.
    fn resident(&self) -> u64 {
        let line = self.status("VmRSS:");
        line.strip_suffix(" kB").expect("in kB").parse::<u64>().unwrap() * 1024
    }

    /// What the kernel says of it in this line.
    fn status(&self, name: &str) -> String {
        let path = format!("/proc/{}/status", self.child.id());
        let status = std::fs::read_to_string(path).expect("a process");
        let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("a line");
        line.trim().to_owned()
    }

    /// A metric at this moment.
    async fn metric(&self, name: &str) -> u64 {
        let answer = call(self.ops, "GET", "/metrics", "Accept: application/json\r\n", "").await;
        answer.json()["metrics"][name]["value"].as_u64().expect("a metric")
    }

    /// Waits until a metric is as wanted.
    async fn until(&self, name: &str, wanted: impl Fn(u64) -> bool) {
        soon(name, async { while !wanted(self.metric(name).await) {} }).await;
    }

    async fn is_empty(&self) {
        for gauge in ["lethewire_connections", "lethewire_members", "lethewire_rooms"] {
            self.until(gauge, |value| value == 0).await;
        }
    }

    /// Tokens for a new room.
    async fn tokens(&self, count: usize) -> Vec<String> {
        let room = TestRoom::new();
        let made = json!({ "key": room.key(), "owner": room.owner() });
        let mut tokens = Vec::new();
        for ask in std::iter::once(("/v1/rooms", made))
            .chain(std::iter::repeat_n(("/v1/tokens", room.ask()), count - 1))
        {
            let answer = call(self.members, "POST", ask.0, JSON, &ask.1.to_string()).await;
            tokens.push(answer.json()["token"].as_str().expect("a token").to_owned());
        }
        tokens
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
#[cfg(target_os = "linux")]
fn nobody_waits_for_a_larger_table_of_files() {
    // A process begins with 64 or 256, and the relay has some thirty files open.
    let size = Process::start().status("FDSize:").parse::<u32>().unwrap();
    assert!(size >= 1024, "{size}");
}

/// Lets a few and then a crowd make an attack, and looks at what each of the crowd costs.
async fn each_costs_little(attack: impl AsyncFn(&Process, usize) -> Vec<Rogue>) {
    let each = cost_of_each(attack).await;
    assert!(each < EACH_MAX, "{each} bytes for each connection");
}

/// What each of a crowd costs that makes an attack, in bytes.
async fn cost_of_each(attack: impl AsyncFn(&Process, usize) -> Vec<Rogue>) -> u64 {
    let relay = Process::start();
    drop(attack(&relay, WARM_UP).await);
    relay.is_empty().await;
    let before = relay.resident();
    let crowd = attack(&relay, CROWD).await;
    let held = relay.metric("lethewire_connections").await;
    assert!(held >= CROWD as u64, "only {held} are there to be measured");
    let each = relay.resident().saturating_sub(before) / CROWD as u64;
    drop(crowd);
    relay.is_empty().await;
    each
}

/// Strangers who have sent this.
async fn strangers(relay: &Process, count: usize, bytes: &[u8]) -> Vec<Rogue> {
    let mut crowd = Vec::new();
    for _ in 0..count {
        let mut rogue = Rogue::connect(relay.members).await;
        rogue.write(bytes).await;
        crowd.push(rogue);
    }
    // What was sent has been read as soon as somebody who came later has an answer.
    relay.until("lethewire_connections", |open| open >= count as u64).await;
    call(relay.members, "GET", "/live", "", "").await;
    crowd
}

#[tokio::test]
async fn connections_that_never_say_anything() {
    let each = cost_of_each(async |relay, count| strangers(relay, count, b"").await).await;
    assert!(each < SILENT_MAX, "{each} bytes for each connection");
}

#[tokio::test]
async fn heads_that_do_not_end() {
    let head = format!("GET /live HTTP/1.1\r\nHost: a\r\nX: {}", "x".repeat(8000));
    each_costs_little(async |relay, count| strangers(relay, count, head.as_bytes()).await).await;
}

#[tokio::test]
async fn heads_of_many_fields_that_do_not_end() {
    let head = format!("GET /live HTTP/1.1\r\nHost: a\r\n{}", "X: y\r\n".repeat(60));
    each_costs_little(async |relay, count| strangers(relay, count, head.as_bytes()).await).await;
}

#[tokio::test]
async fn upgrades_that_are_not_read() {
    each_costs_little(async |relay, count| {
        let mut crowd = Vec::new();
        for token in relay.tokens(count).await {
            let mut rogue = Rogue::connect_narrow(relay.members).await;
            rogue.write(handshake(&token).as_bytes()).await;
            crowd.push(rogue);
        }
        relay.until("lethewire_members", |members| members == count as u64).await;
        crowd
    })
    .await;
}

#[tokio::test]
async fn halves_of_messages() {
    // One frame that lacks its last byte.
    let mut frame = masked(0x82, &[&[1, 0, 0, 0][..], &vec![7; PAYLOAD_BYTES]].concat());
    frame.pop();
    each_costs_little(async |relay, count| halves(relay, count, &frame).await).await;
}

#[tokio::test]
async fn halves_of_fragmented_messages() {
    // Fifteen fragments, and none that is the last, and a frame that lacks its last byte.
    let fragment = masked(0x00, &vec![7; PAYLOAD_BYTES / 16]);
    let begun = [masked(0x02, &[1, 0, 0, 0]), fragment.repeat(14)].concat();
    let frame = &fragment[..fragment.len() - 1];
    let bytes = [&begun[..], frame].concat();
    each_costs_little(async |relay, count| halves(relay, count, &bytes).await).await;
}

/// Members who have sent half of something.
async fn halves(relay: &Process, count: usize, bytes: &[u8]) -> Vec<Rogue> {
    let mut crowd = Vec::new();
    for token in relay.tokens(count).await {
        let mut rogue = Rogue::join(relay.members, &token).await;
        // What comes behind a ping that was answered has been read, or will be read next.
        rogue.write(&[&masked(0x89, b"x")[..], bytes].concat()).await;
        rogue.frame(0x8A).await;
        crowd.push(rogue);
    }
    crowd
}

#[tokio::test]
async fn members_that_do_not_read_in_a_room_that_talks() {
    each_costs_little(async |relay, count| {
        let mut tokens = relay.tokens(count + 1).await;
        let mut talker = Rogue::join(relay.members, &tokens.pop().unwrap()).await;
        let mut crowd = Vec::new();
        for token in tokens {
            let rogue = Rogue::connect_narrow(relay.members).await;
            crowd.push(rogue.upgraded(&token).await);
        }
        // Until their sockets are full, and something waits for each of them in the relay.
        let message = masked(0x82, &[&[1, 1, 0, 0][..], &vec![7; 4000]].concat());
        let wanted = relay.metric("lethewire_backlog_queued_bytes_total").await;
        let wanted = wanted + 8000 * count as u64;
        while relay.metric("lethewire_backlog_queued_bytes_total").await < wanted {
            talker.write(&message).await;
            talker.acked().await;
        }
        crowd.push(talker);
        crowd
    })
    .await;
}
