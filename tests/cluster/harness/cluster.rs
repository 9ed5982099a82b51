//! Relays that share a Redis, each behind a link of its own where the address can be chosen.

use std::net::SocketAddr;
use std::path::Path;

use lethewire::core::id::to_base64url;
use tempfile::TempDir;

use super::node::Node;
use super::process::Clock;
use super::proxy::Link;
use super::random;
use super::redis::{self, Redis, Sentinel};

/// What is behind the relays.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Setup {
    /// Nothing: one relay that keeps its rooms for itself.
    Alone,
    /// One server, and a link between it and each relay.
    Single,
    /// One server that is reached over TLS, with a certificate of an authority of our own.
    Tls,
    /// Three masters of a Redis Cluster.
    Cluster,
    /// A master with a replica, and a sentinel.
    Sentinel,
    /// Three servers that know nothing of each other.
    Shards,
}

/// Relays and their Redis. Dropping it ends all of them.
pub(crate) struct Cluster {
    // Relays end before what they are connected to.
    pub(crate) nodes: Vec<Node>,
    /// Of each node, where libfaketime is installed.
    pub(crate) clocks: Vec<Option<Clock>>,
    /// Between each node and the single server.
    pub(crate) links: Vec<Link>,
    /// The servers; none with a sentinel.
    pub(crate) redis: Vec<Redis>,
    pub(crate) sentinel: Option<Sentinel>,
    folder: TempDir,
}

impl Cluster {
    /// Starts so many relays that share this kind of Redis, and waits until they are ready.
    pub(crate) async fn start(setup: Setup, nodes: usize) -> Self {
        Self::start_with(setup, nodes, &[]).await
    }

    /// The same, with more in the relays' environment.
    pub(crate) async fn start_with(setup: Setup, nodes: usize, more: &[(&str, &str)]) -> Self {
        let folder = tempfile::Builder::new().prefix("lw").tempdir().unwrap();
        let mut redis = Vec::new();
        let mut sentinel = None;
        match setup {
            Setup::Alone => assert_eq!(nodes, 1, "they would know nothing of each other"),
            Setup::Single => redis.push(Redis::start(folder.path(), &[]).await),
            Setup::Tls => {
                let more = redis::tls(folder.path());
                let more: Vec<&str> = more.iter().map(String::as_str).collect();
                redis.push(Redis::start(folder.path(), &more).await);
            }
            Setup::Cluster => redis = redis::cluster(folder.path()).await,
            Setup::Sentinel => sentinel = Some(Sentinel::start(folder.path()).await),
            Setup::Shards => {
                for _ in 0..3 {
                    redis.push(Redis::start(folder.path(), &[]).await);
                }
            }
        }
        let mut cluster = Self {
            nodes: Vec::new(),
            clocks: Vec::new(),
            links: Vec::new(),
            redis,
            sentinel,
            folder,
        };
        let mut common = secrets();
        if setup == Setup::Alone {
            common.retain(|(name, _)| name != "CLUSTER_SECRET");
        }
        common.extend(more.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())));
        for number in 0..nodes {
            cluster.add(setup, number, &common).await;
        }
        for node in &cluster.nodes {
            node.ready().await;
        }
        cluster
    }

    async fn add(&mut self, setup: Setup, number: usize, common: &[(String, String)]) {
        let folder = self.folder.path().to_owned();
        let mut environment = common.to_vec();
        if setup == Setup::Single {
            self.links.push(Link::to(self.redis[0].port).await);
        }
        let clock = Clock::new(&folder, &format!("node-{number}"));
        environment.extend(clock.iter().flat_map(Clock::environment));
        environment.extend(self.way(setup, number));
        self.nodes.push(start(&folder, number, &environment).await);
        self.clocks.push(clock);
    }

    /// How a node finds Redis.
    fn way(&self, setup: Setup, number: usize) -> Vec<(String, String)> {
        let url = |port: u16| format!("redis://127.0.0.1:{port}");
        let all = || self.redis.iter().map(|redis| url(redis.port)).collect::<Vec<_>>().join(",");
        let pair = |name: &str, value: String| (name.to_owned(), value);
        match setup {
            Setup::Alone => Vec::new(),
            Setup::Single => vec![pair("REDIS_URL", url(self.links[number].port))],
            Setup::Tls => {
                let authority = self.folder.path().join("ca.pem").display().to_string();
                let url = format!("rediss://localhost:{}", redis::tls_port(self.folder.path()));
                vec![pair("REDIS_URL", url), pair("SSL_CERT_FILE", authority)]
            }
            Setup::Cluster => {
                vec![pair("REDIS_URL", all()), pair("REDIS_MODE", "cluster".to_owned())]
            }
            Setup::Shards => vec![pair("REDIS_SHARDS", all())],
            Setup::Sentinel => {
                let port = self.sentinel.as_ref().expect("started").port;
                let name = pair("REDIS_SENTINEL_MASTER", Sentinel::NAME.to_owned());
                vec![pair("REDIS_URL", url(port)), name]
            }
        }
    }

    /// Where members reach the relays.
    pub(crate) fn addrs(&self) -> Vec<SocketAddr> {
        self.nodes.iter().map(|node| node.addr).collect()
    }
}

async fn start(folder: &Path, number: usize, environment: &[(String, String)]) -> Node {
    Node::start(folder, &format!("node-{number}"), environment).await
}

/// What all relays know and Redis does not.
fn secrets() -> Vec<(String, String)> {
    let names = ["JOIN_TOKEN_SECRET", "CLUSTER_SECRET"];
    names.into_iter().map(|name| (name.to_owned(), to_base64url(&random::<32>()))).collect()
}
