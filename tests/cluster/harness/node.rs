//! One relay, as a process: it can be killed, stopped and started again.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::Signal;
use serde_json::Value;

use super::process::{Process, Sockets};
use super::raw::call;
use super::{PATIENCE, until};

/// Nobody here is a flood.
const ROOMY: [&str; 15] = [
    "MAX_MSGS_PER_10S=1000000",
    "MAX_BYTES_PER_10S=1073741824",
    "MAX_FRAMES_PER_10S=10000000",
    "MAX_RAW_BYTES_PER_10S=2147483648",
    "MAX_FANOUT_BYTES_PER_10S=1099511627776",
    "MAX_ROOM_FANOUT_BYTES_PER_10S=1099511627776",
    "MAX_CONNS_PER_IP=10000",
    "MAX_HANDSHAKES_PER_IP_PER_10S=100000",
    "MAX_HTTP_REQUESTS_PER_IP_PER_MIN=1000000",
    "MAX_ROOM_CREATES_PER_IP_PER_MIN=100000",
    "MAX_TOKENS_PER_IP_PER_MIN=1000000",
    "MAX_FAILED_ADMISSIONS_PER_IP_PER_MIN=1000000",
    "SLOW_DOWN_MAX_MS=0",
    "MAX_FAULTS_PER_IP=1000",
    "WARM_UP_S=0",
];

/// A running relay.
pub(crate) struct Node {
    /// The public listener.
    pub(crate) addr: SocketAddr,
    /// The operations listener.
    pub(crate) ops: SocketAddr,
    process: Process,
    command: Command,
    sockets: Option<Sockets>,
    folder: PathBuf,
    name: String,
}

impl Node {
    /// Starts a relay with this environment on free ports.
    pub(crate) async fn start(folder: &Path, name: &str, environment: &[(String, String)]) -> Self {
        let command = Self::command(environment);
        Self::run(command, None, folder, name.to_owned()).await
    }

    /// The same, with sockets that are passed to it, and to its successors.
    pub(crate) async fn start_passed(
        folder: &Path,
        name: &str,
        environment: &[(String, String)],
    ) -> Self {
        let command = Self::command(environment);
        Self::run(command, Some(Sockets::open()), folder, name.to_owned()).await
    }

    fn command(environment: &[(String, String)]) -> Command {
        // The released one, where a step of check.sh has built it.
        let binary = std::env::var_os("LETHEWIRE_BIN")
            .unwrap_or_else(|| env!("CARGO_BIN_EXE_lethewire").into());
        let mut command = Command::new(binary);
        command.envs([("PORT", "0"), ("OPS_LISTEN", "127.0.0.1:0"), ("LOG_FORMAT", "json")]);
        command.envs([("WORKER_THREADS", "2"), ("LOG_AGGREGATE_INTERVAL_S", "0")]);
        command.envs(ROOMY.iter().filter_map(|pair| pair.split_once('=')));
        command.envs(environment.iter().map(|(name, value)| (name, value)));
        command
    }

    async fn run(command: Command, sockets: Option<Sockets>, folder: &Path, name: String) -> Self {
        let (process, addr, ops) = run(&command, sockets.as_ref(), folder, &name).await;
        Self { addr, ops, process, command, sockets, folder: folder.to_owned(), name }
    }

    /// Ends it without a word.
    pub(crate) fn kill(&mut self) {
        self.process.kill();
    }

    /// Starts it again, on other ports.
    pub(crate) async fn restart(&mut self) {
        self.process.kill();
        self.name += "-again";
        (self.process, self.addr, self.ops) =
            run(&self.command, self.sockets.as_ref(), &self.folder, &self.name).await;
    }

    /// Waits until it has ended by itself, as it should.
    pub(crate) async fn ended(&mut self) {
        let limit = PATIENCE;
        until(limit, "a relay to end", async || self.process.has_ended_well()).await;
    }

    /// Starts its successor, on the same ports.
    pub(crate) async fn successor(&self) -> Self {
        let mut command = Command::new(self.command.get_program());
        command.envs(self.command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command.env("PORT", self.addr.port().to_string()).env("OPS_LISTEN", self.ops.to_string());
        let sockets = self.sockets.clone();
        Self::run(command, sockets, &self.folder, format!("{}-next", self.name)).await
    }

    /// Stops it, without ending it.
    pub(crate) fn freeze(&self) {
        self.process.signal(Signal::STOP);
    }

    /// Lets it go on.
    pub(crate) fn thaw(&self) {
        self.process.signal(Signal::CONT);
    }

    /// Asks it to drain.
    pub(crate) fn drain(&self) {
        self.process.signal(Signal::TERM);
    }

    /// Its log.
    pub(crate) fn said(&self) -> String {
        self.process.said()
    }

    /// The status of a `GET` on the public listener.
    pub(crate) async fn status_of(&self, path: &str) -> u16 {
        call(self.addr, "GET", path, "", "").await.status
    }

    /// Waits until it is ready.
    pub(crate) async fn ready(&self) {
        until(PATIENCE, "/ready", async || self.status_of("/ready").await == 200).await;
    }
}

/// Starts the process and waits until it says where it listens.
async fn run(
    command: &Command,
    sockets: Option<&Sockets>,
    folder: &Path,
    name: &str,
) -> (Process, SocketAddr, SocketAddr) {
    let mut process = match sockets {
        Some(sockets) => Process::start_passed(command, sockets, folder, name),
        None => Process::start(command, folder, name),
    };
    let mut found = None;
    until(PATIENCE, "a relay to listen", async || {
        process.assert_running();
        found = process.said().lines().find_map(addresses);
        found.is_some()
    })
    .await;
    let (addr, ops) = found.expect("it listens");
    (process, addr, ops)
}

/// Both addresses, if this line of the log says them.
fn addresses(line: &str) -> Option<(SocketAddr, SocketAddr)> {
    let line: Value = serde_json::from_str(line).ok()?;
    let address = |name: &str| line.get(name)?.as_str()?.parse().ok();
    Some((address("members")?, address("operations")?))
}
