//! What the bus is told about its servers and its bounds.

use std::time::Duration;

use crate::config::{BusAccess, Config, Topology};

/// Where and how to reach Redis.
#[derive(Clone)]
pub struct BusSettings {
    /// The servers.
    pub servers: Servers,
    /// Longest time to connect to a server, greeting included.
    pub connect_timeout: Duration,
    /// Longest time to wait for an answer or a probe, and for attaching.
    pub timeout: Duration,
    /// Most bytes that wait for one room to be delivered; over it they are dropped and the room is
    /// attached anew.
    pub inbox_bytes_max: usize,
    /// How many workers deliver.
    pub workers: usize,
}

/// The servers of a bus, by URL: `redis://`, `rediss://`, `unix:`.
#[derive(Clone)]
pub enum Servers {
    /// One server.
    Single(String),
    /// Independent servers; a room is on the one that its name picks.
    Shards(Vec<String>),
    /// The master that these sentinels name.
    Sentinel {
        /// The sentinels.
        sentinels: Vec<String>,
        /// The master's name among them.
        master: String,
        /// How to log in to the master: a URL whose host and port do not matter.
        login: Option<String>,
    },
    /// A Redis Cluster, known by some of its nodes.
    Cluster(Vec<String>),
}

impl BusSettings {
    /// What a configuration says.
    pub fn of(config: &Config, access: &BusAccess) -> Self {
        let urls = || access.urls.iter().map(|url| url.expose().to_owned());
        let first = || urls().next().unwrap_or_default();
        let servers = match access.topology {
            Topology::Single => Servers::Single(first()),
            Topology::Cluster => Servers::Cluster(urls().collect()),
            Topology::Shards => Servers::Shards(urls().collect()),
            Topology::Sentinel => Servers::Sentinel {
                sentinels: urls().collect(),
                master: config.bus.sentinel_master.clone(),
                login: Some(first()),
            },
        };
        let mut settings = Self::new(servers);
        settings.connect_timeout = config.bus.connect_timeout();
        settings.timeout = config.bus.timeout();
        settings.inbox_bytes_max = config.bus.inbox_bytes as usize;
        if let Some(workers) = usize::try_from(config.server.worker_threads).ok().filter(|n| *n > 0)
        {
            settings.workers = workers;
        }
        settings
    }

    /// The built-in bounds.
    pub fn new(servers: Servers) -> Self {
        Self {
            servers,
            connect_timeout: Duration::from_secs(1),
            timeout: Duration::from_secs(2),
            inbox_bytes_max: 4 << 20,
            workers: std::thread::available_parallelism().map_or(1, usize::from),
        }
    }
}
