//! The servers that are measured, and what each speaks. How they are started is `start`'s.

mod start;

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::Fault;
use crate::dialect::lethewire::{Lethewire, RELAY_HEAD};
use crate::dialect::mqtt::Mqtt;
use crate::dialect::nats::Nats;
use crate::dialect::nchan::Nchan;
use crate::dialect::plain::Plain;
use crate::dialect::socketio::SocketIo;
use crate::dialect::sockudo::Sockudo;
use crate::load::{self, Moment, Outcome, Plan, churn};
use crate::process::said_by;

pub use start::relay;

pub(crate) use start::SLOW_MIB;

/// A server that is measured.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, ValueEnum, Serialize, Deserialize,
)]
#[serde(rename_all = "lowercase")]
#[value(rename_all = "lowercase")]
pub enum Peer {
    /// The relay.
    Lethewire,
    /// A bare server on epoll, one thread: the physical limit.
    Epoll,
    /// The same with frames as long as the relay's, which says [`RELAY_HEAD`] bytes of who spoke.
    EpollHeads,
    /// The bare server on io_uring.
    Uring,
    /// uWebSockets, driven through its C interface.
    Uws,
    /// Bun's own WebSocket server.
    Bun,
    /// `ws` on Node.
    Ws,
    /// nginx with nchan.
    Nchan,
    /// nats-server.
    Nats,
    /// mosquitto.
    Mosquitto,
    /// socket.io on Node.
    SocketIo,
    /// sockudo.
    Sockudo,
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

impl Peer {
    /// Its name in tables.
    pub const fn title(self) -> &'static str {
        match self {
            Self::Lethewire => "Lethewire",
            Self::Epoll => "bare epoll",
            Self::EpollHeads => "epoll, +20 B",
            Self::Uring => "bare io_uring",
            Self::Uws => "uWebSockets",
            Self::Bun => "Bun",
            Self::Ws => "ws (Node)",
            Self::Nchan => "nchan (nginx)",
            Self::Nats => "nats-server",
            Self::Mosquitto => "mosquitto",
            Self::SocketIo => "socket.io (Node)",
            Self::Sockudo => "sockudo",
        }
    }

    /// Whether it is one of those that show what the kernel allows.
    pub const fn is_bare(self) -> bool {
        matches!(self, Self::Epoll | Self::EpollHeads | Self::Uring)
    }

    /// What it says of its version, and what of it is used.
    pub fn version(self, places: &Places) -> String {
        let text = |path: PathBuf| path.to_string_lossy().into_owned();
        let module = |name: &str| {
            let file = places.tools.join("node_modules").join(name).join("package.json");
            let file = std::fs::read_to_string(file).unwrap_or_default();
            let package: serde_json::Value = serde_json::from_str(&file).unwrap_or_default();
            package["version"].as_str().unwrap_or_default().to_owned()
        };
        let node = || said_by("node", &["--version"]);
        let debian = |name: &str| said_by("dpkg-query", &["-f", "${Version}", "-W", name]);
        match self {
            Self::Lethewire => said_by(&text(places.programs.join("lethewire")), &["--version"]),
            Self::Epoll => "bench/src/bin/epoll.rs".into(),
            Self::EpollHeads => format!(
                "bare epoll with {RELAY_HEAD} bytes in front of each payload, as many as the relay says of \
                 its sender and its number"
            ),
            Self::Uring => "bench/src/bin/uring.rs".into(),
            Self::Uws => {
                let listed = said_by(
                    &text(places.tools.join("py/bin/python")),
                    &["-c", "from importlib.metadata import version; print(version('socketify'))"],
                );
                format!("in socketify {listed}, on libuv")
            }
            Self::Bun => module("bun"),
            Self::Ws => format!("{} on Node {}", module("ws"), node()),
            Self::Nchan => {
                format!("{} in {}", debian("libnginx-mod-nchan"), said_by("nginx", &["-v"]))
            }
            Self::Nats => {
                format!("{}, its own protocol over WebSocket, without echo", debian("nats-server"))
            }
            Self::Mosquitto => {
                let version = debian("mosquitto");
                format!("{version}, MQTT 3.1.1 over WebSocket, QoS 0, senders hear themselves")
            }
            Self::SocketIo => format!(
                "{} on Node {}, WebSocket transport alone, binary attachments",
                module("socket.io"),
                node()
            ),
            Self::Sockudo => {
                let said =
                    said_by(&text(places.tools.join("../cargo/bin/sockudo")), &["--version"]);
                format!("{said}, client events in private channels, payloads as text")
            }
        }
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
            Self::EpollHeads => load::run(&Plain { extra: RELAY_HEAD }, addr, plan, watch),
            Self::Epoll | Self::Uring | Self::Uws | Self::Bun | Self::Ws => {
                load::run(&Plain::default(), addr, plan, watch)
            }
            Self::Nchan => load::run(&Nchan, addr, plan, watch),
            Self::Nats => load::run(&Nats, addr, plan, watch),
            Self::Mosquitto => load::run(&Mqtt, addr, plan, watch),
            Self::SocketIo => load::run(&SocketIo, addr, plan, watch),
            Self::Sockudo => load::run(&Sockudo, addr, plan, watch),
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
            Self::EpollHeads => churn::run(&Plain { extra: RELAY_HEAD }, addr, plan, watch),
            Self::Epoll | Self::Uring | Self::Uws | Self::Bun | Self::Ws => {
                churn::run(&Plain::default(), addr, plan, watch)
            }
            Self::Nchan => churn::run(&Nchan, addr, plan, watch),
            Self::Nats => churn::run(&Nats, addr, plan, watch),
            Self::Mosquitto => churn::run(&Mqtt, addr, plan, watch),
            Self::SocketIo => churn::run(&SocketIo, addr, plan, watch),
            Self::Sockudo => churn::run(&Sockudo, addr, plan, watch),
        }
    }
}
