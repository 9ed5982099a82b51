//! The servers that are measured, and how each is started.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::Fault;
use crate::dialect::lethewire::Lethewire;
use crate::dialect::nchan::Nchan;
use crate::dialect::plain::Plain;
use crate::load::{self, Moment, Outcome, Plan, churn};
use crate::process::{Server, free_port, said_by};

/// A server that is measured.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, ValueEnum, Serialize, Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Peer {
    /// The relay.
    Lethewire,
    /// A bare server on epoll, one thread: the physical limit.
    Epoll,
    /// uWebSockets, driven through its C interface.
    Uws,
    /// Bun's own WebSocket server.
    Bun,
    /// `ws` on Node.
    Ws,
    /// nginx with nchan.
    Nchan,
}

/// Where things are.
#[derive(Clone, Debug)]
pub struct Places {
    /// The project.
    pub root: PathBuf,
    /// What was installed for the benchmark.
    pub tools: PathBuf,
    /// Built programs: the relay and our own peers.
    pub programs: PathBuf,
    /// Words before the relay's command, such as a profiler's.
    pub wrapper: Vec<String>,
}

/// How much may wait for one member at the relay. The load's window decides what does.
const OUTBOX: &[(&str, &str)] =
    &[("SLOW_CONSUMER_BUFFER_THRESHOLD", "268435456"), ("MAX_OUTBOX_FRAMES", "65536")];
/// The same where some members do not read: the default bytes, but frames enough for all of them.
const OUTBOX_WITH_SLOW: &[(&str, &str)] =
    &[("SLOW_CONSUMER_BUFFER_THRESHOLD", "1048576"), ("MAX_OUTBOX_FRAMES", "65536")];
/// All checks and quotas are on, and high enough not to bind.
const LIMITS: &[(&str, &str)] = &[
    ("HOST", "127.0.0.1"),
    ("OPS_LISTEN", ""),
    ("LOG_LEVEL", "warn"),
    ("LOG_AGGREGATE_INTERVAL_S", "0"),
    ("ROOM_MEMBERS_MAX", "10000"),
    ("MAX_MSGS_PER_10S", "1000000"),
    ("MAX_BYTES_PER_10S", "1073741824"),
    ("MAX_FRAMES_PER_10S", "10000000"),
    ("MAX_RAW_BYTES_PER_10S", "2147483648"),
    ("MAX_TOTAL_CONNECTIONS", "1000000"),
    ("MAX_CONNS_PER_IP", "1000000"),
    ("MAX_ROOM_CREATES_PER_IP_PER_MIN", "100000"),
    ("MAX_HANDSHAKES_PER_IP_PER_10S", "1000000"),
    ("MAX_HTTP_REQUESTS_PER_IP_PER_MIN", "1000000"),
    ("MAX_TOKENS_PER_IP_PER_MIN", "1000000"),
    ("SLOW_DOWN_MAX_MS", "0"),
    ("MAX_FAULTS_PER_IP", "1000"),
];

impl Peer {
    /// Its name in tables.
    pub const fn title(self) -> &'static str {
        match self {
            Self::Lethewire => "Lethewire",
            Self::Epoll => "bare epoll",
            Self::Uws => "uWebSockets",
            Self::Bun => "Bun",
            Self::Ws => "ws (Node)",
            Self::Nchan => "nchan (nginx)",
        }
    }

    /// What it says of its version.
    pub fn version(self, places: &Places) -> String {
        let text = |path: PathBuf| path.to_string_lossy().into_owned();
        let module = |name: &str| {
            let file = places.tools.join("node_modules").join(name).join("package.json");
            let file = std::fs::read_to_string(file).unwrap_or_default();
            let package: serde_json::Value = serde_json::from_str(&file).unwrap_or_default();
            package["version"].as_str().unwrap_or_default().to_owned()
        };
        match self {
            Self::Lethewire => said_by(&text(places.programs.join("lethewire")), &["--version"]),
            Self::Epoll => "bench/src/bin/epoll.rs".into(),
            Self::Uws => {
                let listed = said_by(
                    &text(places.tools.join("py/bin/python")),
                    &["-c", "from importlib.metadata import version; print(version('socketify'))"],
                );
                format!("in socketify {listed}, on libuv")
            }
            Self::Bun => module("bun"),
            Self::Ws => format!("{} on Node {}", module("ws"), said_by("node", &["--version"])),
            Self::Nchan => {
                let nchan = ["-f", "${Version}", "-W", "libnginx-mod-nchan"];
                format!("{} in {}", said_by("dpkg-query", &nchan), said_by("nginx", &["-v"]))
            }
        }
    }

    /// Starts it on these cores. `has_slow` says that some members will not read.
    ///
    /// # Errors
    ///
    /// It is not installed, or does not start.
    pub fn start(self, places: &Places, cores: &str, has_slow: bool) -> Result<Server, Fault> {
        let port = free_port()?;
        let text = port.to_string();
        let script = |name: &str| places.root.join("bench/peers").join(name);
        let threads = cores.split(',').count().to_string();
        let mut command = match self {
            Self::Lethewire => {
                let mut command = wrapped(places.programs.join("lethewire"), &places.wrapper);
                let outbox = if has_slow { OUTBOX_WITH_SLOW } else { OUTBOX };
                command.envs(LIMITS.iter().chain(outbox).copied());
                command.env("PORT", &text).env("WORKER_THREADS", threads);
                command
            }
            Self::Epoll => {
                let mut command = Command::new(places.programs.join("bench-epoll"));
                command.arg(text);
                command
            }
            Self::Uws => {
                let mut command = Command::new(places.tools.join("uws"));
                command.arg(text);
                command
            }
            Self::Bun => {
                let mut command = Command::new(places.tools.join("node_modules/.bin/bun"));
                command.arg(script("bun.js")).arg(text);
                command
            }
            Self::Ws => {
                let mut command = Command::new("node");
                command.arg(script("ws.js")).arg(text);
                command.env("NODE_PATH", places.tools.join("node_modules"));
                command
            }
            Self::Nchan => nginx(places, &script("nginx.conf"), port, &threads)?,
        };
        command.current_dir(&places.tools);
        let log = places.tools.join(format!("{}.log", self.title()));
        Server::start(&command, cores, port, &log)
    }

    /// Runs a load against it.
    ///
    /// # Errors
    ///
    /// As [`load::run`].
    pub fn load(
        self,
        addr: SocketAddr,
        plan: &Plan,
        watch: &mut dyn FnMut(Moment) -> Result<(), Fault>,
    ) -> Result<Outcome, Fault> {
        match self {
            Self::Lethewire => load::run(&Lethewire { addr }, addr, plan, watch),
            Self::Nchan => load::run(&Nchan, addr, plan, watch),
            Self::Epoll | Self::Uws | Self::Bun | Self::Ws => load::run(&Plain, addr, plan, watch),
        }
    }

    /// Runs churn against it.
    ///
    /// # Errors
    ///
    /// As [`churn::run`].
    pub fn churn(
        self,
        addr: SocketAddr,
        plan: &churn::Plan,
        watch: &mut dyn FnMut(Moment) -> Result<(), Fault>,
    ) -> Result<churn::Outcome, Fault> {
        match self {
            Self::Lethewire => churn::run(&Lethewire { addr }, addr, plan, watch),
            Self::Nchan => churn::run(&Nchan, addr, plan, watch),
            Self::Epoll | Self::Uws | Self::Bun | Self::Ws => churn::run(&Plain, addr, plan, watch),
        }
    }
}

/// A program behind the words of a wrapper.
fn wrapped(program: PathBuf, wrapper: &[String]) -> Command {
    let Some((first, rest)) = wrapper.split_first() else { return Command::new(program) };
    let mut command = Command::new(first);
    command.args(rest).arg(program);
    command
}

/// nginx wants a file: ours with the port and the number of workers filled in.
fn nginx(places: &Places, template: &Path, port: u16, workers: &str) -> Result<Command, Fault> {
    let text = std::fs::read_to_string(template)?
        .replace("@PORT@", &port.to_string())
        .replace("@WORKERS@", workers);
    let folder = places.tools.join("nginx");
    std::fs::create_dir_all(&folder)?;
    let file = folder.join("nginx.conf");
    std::fs::write(&file, text)?;
    let mut command = Command::new("nginx");
    command.arg("-p").arg(&folder).arg("-c").arg(&file).args(["-e", "error.log"]);
    Ok(command)
}
