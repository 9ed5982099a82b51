//! How each server is started.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Peer, Places};
use crate::Fault;
use crate::dialect::lethewire::RELAY_HEAD;
use crate::process::{Server, free_port, is_there};

/// How much may wait for one member at the relay. The load's window decides what does.
const OUTBOX: &[(&str, &str)] =
    &[("SLOW_CONSUMER_BUFFER_THRESHOLD", "268435456"), ("MAX_OUTBOX_FRAMES", "65536")];
/// The same where some members do not read: the default bytes, but frames enough for all of them.
const OUTBOX_WITH_SLOW: &[(&str, &str)] =
    &[("SLOW_CONSUMER_BUFFER_THRESHOLD", "1048576"), ("MAX_OUTBOX_FRAMES", "65536")];
/// What a member that does not read may cost, in MiB: what may wait for it, and a batch, which is put
/// behind that before it is too much.
pub(crate) const SLOW_MIB: f64 = 1.25;
/// All checks and quotas are on, and high enough not to bind.
const LIMITS: &[(&str, &str)] = &[
    ("HOST", "127.0.0.1"),
    ("OPS_LISTEN", ""),
    ("LOG_LEVEL", "warn"),
    ("LOG_AGGREGATE_INTERVAL_S", "0"),
    ("ROOM_MEMBERS_MAX", "10000"),
    ("MAX_MSGS_PER_10S", "10000000"),
    ("MAX_BYTES_PER_10S", "1073741824"),
    ("MAX_FRAMES_PER_10S", "10000000"),
    ("MAX_RAW_BYTES_PER_10S", "2147483648"),
    ("MAX_FANOUT_BYTES_PER_10S", "1125899906842624"),
    ("MAX_ROOM_FANOUT_BYTES_PER_10S", "1125899906842624"),
    ("MAX_BUFFERED_BYTES", "8589934592"),
    ("MAX_OUTBOX_AGE_MS", "3600000"),
    ("MAX_TOTAL_CONNECTIONS", "1000000"),
    ("MAX_CONNS_PER_IP", "1000000"),
    ("MAX_ROOM_CREATES_PER_IP_PER_MIN", "100000"),
    ("MAX_HANDSHAKES_PER_IP_PER_10S", "1000000"),
    ("MAX_HTTP_REQUESTS_PER_IP_PER_MIN", "1000000"),
    ("MAX_TOKENS_PER_IP_PER_MIN", "1000000"),
    ("SLOW_DOWN_MAX_MS", "0"),
    ("MAX_FAULTS_PER_IP", "1000"),
];

/// The relay as it is measured: all checks and quotas on, and high enough not to bind.
#[must_use]
pub fn relay(program: &Path, port: u16) -> Command {
    let mut command = Command::new(program);
    command.envs(LIMITS.iter().chain(OUTBOX).copied()).env("PORT", port.to_string());
    command
}

impl Peer {
    /// Why it cannot be measured here, if it cannot.
    pub fn missing(self, places: &Places) -> Option<String> {
        if self == Self::Uring {
            // Kernels and containers may refuse it.
            let said = Command::new(places.programs.join("bench-uring")).arg("check").output();
            let said = said.map(|said| String::from_utf8_lossy(&said.stderr).trim().to_owned());
            return said
                .map_or_else(|e| Some(e.to_string()), |said| (!said.is_empty()).then_some(said));
        }
        let program = self.program(places);
        (!is_there(&program)).then(|| format!("{} is not installed", self.title()))
    }

    fn program(self, places: &Places) -> PathBuf {
        match self {
            Self::Lethewire => places.programs.join("lethewire"),
            Self::Epoll | Self::EpollHeads => places.programs.join("bench-epoll"),
            Self::Uring => places.programs.join("bench-uring"),
            Self::Uws => places.tools.join("uws"),
            Self::Bun => places.tools.join("node_modules/.bin/bun"),
            Self::Ws | Self::SocketIo => "node".into(),
            Self::Nchan => "nginx".into(),
            Self::Nats => "nats-server".into(),
            Self::Mosquitto => "mosquitto".into(),
            Self::Sockudo => places.tools.join("../cargo/bin/sockudo"),
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
        let mut command = Command::new(self.program(places));
        match self {
            Self::Lethewire => {
                command = wrapped(self.program(places), &places.wrapper);
                let outbox = if has_slow { OUTBOX_WITH_SLOW } else { OUTBOX };
                command.envs(LIMITS.iter().chain(outbox).copied());
                command.env("PORT", &text).env("WORKER_THREADS", threads);
            }
            Self::Epoll | Self::Uring | Self::Uws => {
                command.arg(text);
            }
            Self::EpollHeads => {
                command.arg(text).arg(RELAY_HEAD.to_string());
            }
            Self::Bun => {
                command.arg(script("bun.js")).arg(text);
            }
            Self::Ws | Self::SocketIo => {
                let name = if self == Self::Ws { "ws.js" } else { "socketio.js" };
                command.arg(script(name)).arg(text);
                command.env("NODE_PATH", places.tools.join("node_modules"));
            }
            Self::Nchan => {
                let folder = places.tools.join("nginx");
                let file = filled(&script("nginx.conf"), &folder, port, &threads)?;
                command.arg("-p").arg(folder).arg("-c").arg(file).args(["-e", "error.log"]);
            }
            Self::Nats => {
                let file = filled(&script("nats.conf"), &places.tools, port, &threads)?;
                command.arg("-c").arg(file);
            }
            Self::Mosquitto => {
                let file = filled(&script("mosquitto.conf"), &places.tools, port, &threads)?;
                command.arg("-c").arg(file);
            }
            Self::Sockudo => {
                let file = filled(&script("sockudo.toml"), &places.tools, port, &threads)?;
                command.arg("-c").arg(file).env("RUST_LOG", "error");
            }
        }
        command.current_dir(&places.tools);
        let log = places.tools.join(format!("{}.log", self.title()));
        Server::start(&command, cores, port, &log)
    }
}

/// A program behind the words of a wrapper.
fn wrapped(program: PathBuf, wrapper: &[String]) -> Command {
    let Some((first, rest)) = wrapper.split_first() else { return Command::new(program) };
    let mut command = Command::new(first);
    command.args(rest).arg(program);
    command
}

/// A copy of a peer's configuration with the port and the number of workers filled in.
fn filled(template: &Path, folder: &Path, port: u16, workers: &str) -> Result<PathBuf, Fault> {
    let text = std::fs::read_to_string(template)?
        .replace("@PORT@", &port.to_string())
        .replace("@WORKERS@", workers);
    std::fs::create_dir_all(folder)?;
    let file = folder.join(template.file_name().ok_or("a template without a name")?);
    std::fs::write(&file, text)?;
    Ok(file)
}
