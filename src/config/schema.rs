//! The shape of the configuration: one struct per table of `config/default.toml`, one field per
//! key, with the same names.
//!
//! What a key means, its unit, range and default are in that file. What follows from several keys
//! together is a method here, so that no caller combines them in its own way.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::origin::Origins;
use super::proxies::TrustProxy;
use super::values::{self, Switch};
use crate::core::admission::PaddingPolicy;
use crate::core::token::Policy;
use crate::metrics::Privacy;

/// Everything that can be set, secrets excepted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the tables are explained in config/default.toml")]
pub struct Config {
    pub server: Server,
    pub log: Log,
    pub health: Health,
    pub metrics: Metrics,
    pub feature: Feature,
    pub cors: Cors,
    pub headers: Headers,
    pub token: Token,
    pub room: Room,
    pub limit: Limits,
    pub http: Http,
    pub heartbeat: Heartbeat,
    pub bus: Bus,
    pub info: Info,
    /// Which values are not the built-in ones; for [`Config::redacted`] only.
    #[serde(skip)]
    pub origins: Origins,
}

impl Config {
    /// Whether this is `DEPLOYMENT_ENV=production`.
    pub fn is_production(&self) -> bool {
        self.server.deployment_env == Deployment::Production
    }

    /// Whether the built-in page is served.
    pub fn demo_page(&self) -> bool {
        self.feature.demo_page.is_on(!self.is_production())
    }

    /// Whether error answers say what was wrong with a request.
    pub fn detailed_errors(&self) -> bool {
        self.feature.detailed_errors.is_on(!self.is_production())
    }

    /// How closely what is shown follows what people do.
    pub fn privacy(&self) -> Privacy {
        let is_blurred = match self.metrics.privacy {
            MetricsPrivacy::Auto => self.is_production(),
            MetricsPrivacy::Blurred => true,
            MetricsPrivacy::Exact => false,
        };
        let every = Duration::from_millis(self.metrics.interval_ms.into());
        if is_blurred { Privacy::Blurred(every) } else { Privacy::Exact }
    }

    /// Whether log lines are JSON.
    pub fn json_logs(&self) -> bool {
        match self.log.format {
            LogFormat::Auto => self.is_production(),
            LogFormat::Json => true,
            LogFormat::Pretty => false,
        }
    }
}

/// Where the relay listens, what it is called and how it starts and ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the keys are explained in config/default.toml")]
pub struct Server {
    pub host: IpAddr,
    pub port: u16,
    #[serde(with = "values::optional_socket")]
    pub ops_listen: Option<SocketAddr>,
    pub deployment_env: Deployment,
    pub instance_id: String,
    pub public_url: String,
    pub trust_proxy: TrustProxy,
    pub trust_proxy_from: Vec<IpNet>,
    pub worker_threads: u32,
    pub front_threads: u32,
    pub listen_backlog: u32,
    pub defer_accept_s: u32,
    pub reuse_port: bool,
    pub shutdown_timeout_s: u32,
    pub drain_rate_per_s: u32,
    pub drain_notice_ms: u32,
}

impl Server {
    /// Where members connect.
    pub const fn listen(&self) -> SocketAddr {
        SocketAddr::new(self.host, self.port)
    }

    /// Whether what this peer says about its clients is believed. An empty list is every peer behind
    /// `X-Forwarded-For`, and nobody where the PROXY protocol is spoken.
    pub fn trusts(&self, peer: IpAddr) -> bool {
        let from = &self.trust_proxy_from;
        let peer = peer.to_canonical();
        let listed = from.iter().any(|network| network.contains(&peer));
        match self.trust_proxy {
            TrustProxy::Nobody => false,
            TrustProxy::Forwarded(_) => listed || from.is_empty(),
            TrustProxy::ProxyProtocol => listed,
        }
    }

    /// How long a drain may take.
    pub fn shutdown_timeout(&self) -> Duration {
        seconds(self.shutdown_timeout_s)
    }

    /// How long newcomers are let in after it was said that none should be sent here.
    pub fn drain_notice(&self) -> Duration {
        milliseconds(self.drain_notice_ms)
    }

    /// The WebSocket scheme, host and port of `public_url` (`wss://relay.example.org`), if it is
    /// set.
    pub fn public_ws(&self) -> Option<String> {
        match self.public_url.split_once("://")? {
            ("https", host) => Some(format!("wss://{host}")),
            ("http", host) => Some(format!("ws://{host}")),
            _ => None,
        }
    }
}

/// What kind of deployment this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Deployment {
    /// A first try or a developer's machine: what is missing is made up, and said so.
    Development,
    /// Real users: what is missing or weak is an error.
    Production,
}

/// What is logged, and how.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the keys are explained in config/default.toml")]
pub struct Log {
    pub level: String,
    pub format: LogFormat,
    pub aggregate_interval_s: u32,
    pub health_check_failures: bool,
    pub repeats_per_min: u32,
}

impl Log {
    /// Time between two lines with totals; `None` writes none.
    pub fn aggregate_interval(&self) -> Option<Duration> {
        (self.aggregate_interval_s > 0).then(|| seconds(self.aggregate_interval_s))
    }
}

/// From when on the relay calls itself not quite well.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the keys are explained in config/default.toml")]
pub struct Health {
    pub warn_percent: u32,
    pub loop_lag_warn_ms: u32,
    pub loop_lag_fail_ms: u32,
}

impl Health {
    /// How late a turn of the event loop may be until it is worth a warning.
    pub fn loop_lag_warn(&self) -> Duration {
        milliseconds(self.loop_lag_warn_ms)
    }

    /// How late it may be until it is a failure.
    pub fn loop_lag_fail(&self) -> Duration {
        milliseconds(self.loop_lag_fail_ms)
    }
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// JSON in production, readable in development.
    Auto,
    /// One JSON object per line.
    Json,
    /// For eyes.
    Pretty,
}

/// How the numbers of the operations listener are shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the keys are explained in config/default.toml")]
pub struct Metrics {
    pub privacy: MetricsPrivacy,
    pub interval_ms: u32,
    pub prometheus: bool,
}

/// How closely numbers follow what people do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MetricsPrivacy {
    /// Blurred in production, exact in development.
    Auto,
    /// Snapshots in multiples of eight.
    Blurred,
    /// Every number is that of the moment.
    Exact,
}

/// What is switched on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the keys are explained in config/default.toml")]
pub struct Feature {
    pub demo_page: Switch,
    pub health_endpoint: bool,
    pub metrics_endpoint: bool,
    pub readiness_endpoint: bool,
    pub graceful_shutdown: bool,
    pub cors: bool,
    pub security_headers: bool,
    pub request_id: bool,
    pub detailed_errors: Switch,
    pub ip_tracking: bool,
    pub token_replay_protection: bool,
    pub auto_room_cleanup: bool,
}

/// Whose pages may use this relay.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the keys are explained in config/default.toml")]
pub struct Cors {
    pub allowed_origins: Vec<String>,
    pub max_age_s: u32,
}

/// Security headers that depend on the deployment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the keys are explained in config/default.toml")]
pub struct Headers {
    pub csp: String,
    pub hsts_max_age_s: u32,
    pub hsts_include_subdomains: bool,
    pub hsts_preload: bool,
}

/// Join tokens, their keys' secrets excepted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the keys are explained in config/default.toml")]
pub struct Token {
    pub kid: String,
    pub issuer: String,
    pub audience: String,
    pub ttl_s: u32,
    pub ttl_max_s: u32,
    pub skew_s: u32,
    pub previous_kid: String,
    pub replay_entries_max: u32,
}

impl Token {
    /// What this relay expects of every token.
    pub fn policy(&self) -> Policy {
        Policy {
            audience: self.audience.clone(),
            lifetime_max_s: u64::from(self.ttl_max_s),
            skew_s: u64::from(self.skew_s),
        }
    }
}

/// How large rooms are and how long they live.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the keys are explained in config/default.toml")]
pub struct Room {
    pub admission: Admission,
    pub members_max: u32,
    pub ttl_s: u32,
    pub idle_s: u32,
    pub rooms_max: u32,
    pub batch_bytes: u32,
    pub batch_wait_ns: u32,
    pub padding: Vec<u32>,
    pub padding_policy: PaddingPolicy,
}

impl Room {
    /// How long a message waits for others, for each member.
    pub fn batch_wait(&self) -> Duration {
        Duration::from_nanos(u64::from(self.batch_wait_ns))
    }

    /// How long a room may live at most.
    pub fn ttl(&self) -> Duration {
        seconds(self.ttl_s)
    }

    /// How long an empty room is remembered.
    pub fn idle(&self) -> Duration {
        seconds(self.idle_s)
    }
}

/// Who may create rooms.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Admission {
    /// Anyone; rooms certify themselves.
    Open,
    /// The application's backend, by the tokens that it mints.
    Backend,
}

/// What one member, one socket, one address and all together may use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the keys are explained in config/default.toml")]
pub struct Limits {
    pub payload_bytes: u32,
    pub messages_per_10s: u32,
    pub bytes_per_10s: u32,
    pub frames_per_10s: u32,
    pub raw_bytes_per_10s: u32,
    pub fragments_per_message: u32,
    pub fanout_bytes_per_10s: u64,
    pub room_fanout_bytes_per_10s: u64,
    pub pings_per_10s: u32,
    pub strikes: u32,
    pub strike_window_s: u32,
    pub outbox_bytes: u32,
    pub outbox_frames: u32,
    pub outbox_age_ms: u32,
    pub buffered_bytes: u64,
    pub write_stall_ms: u32,
    pub user_timeout_ms: u32,
    pub memory_bytes: u64,
    pub connections: u32,
    pub refusals_at_once: u32,
    pub connections_per_address: u32,
    pub handshakes_per_10s: u32,
    pub requests_per_min: u32,
    pub room_creates_per_min: u32,
    pub tokens_per_min: u32,
    pub slow_after_percent: u32,
    pub slow_max_ms: u32,
    pub failed_admissions_per_min: u32,
    pub faults: u32,
    pub penalty_s: u32,
    pub penalty_max_s: u32,
    pub penalty_memory_s: u32,
    pub ipv6_56_factor: u32,
    pub ipv6_48_factor: u32,
    pub addresses: u32,
}

impl Limits {
    /// How long a member's socket may take nothing while something waits for it.
    pub fn write_stall(&self) -> Duration {
        milliseconds(self.write_stall_ms)
    }

    /// How long a frame may wait for a member's socket.
    pub fn outbox_age(&self) -> Duration {
        milliseconds(self.outbox_age_ms)
    }

    /// How long the kernel lets sent bytes stay without an acknowledgement; `None` is its own limit.
    pub fn user_timeout(&self) -> Option<Duration> {
        (self.user_timeout_ms > 0).then(|| milliseconds(self.user_timeout_ms))
    }

    /// How long a refused message counts.
    pub fn strike_window(&self) -> Duration {
        seconds(self.strike_window_s)
    }
}

/// How large and how slow an HTTP request may be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the keys are explained in config/default.toml")]
pub struct Http {
    pub header_timeout_ms: u32,
    pub header_bytes: u32,
    pub headers: u32,
    pub body_bytes: u32,
    pub body_timeout_ms: u32,
    pub keep_alive_ms: u32,
}

impl Http {
    /// How long the head of a request may take to arrive.
    pub fn header_timeout(&self) -> Duration {
        milliseconds(self.header_timeout_ms)
    }

    /// How long the body of a request may take to arrive.
    pub fn body_timeout(&self) -> Duration {
        milliseconds(self.body_timeout_ms)
    }

    /// How long a connection may carry requests before the one under way is the last one.
    pub fn keep_alive(&self) -> Duration {
        milliseconds(self.keep_alive_ms)
    }
}

/// How lost members are noticed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the keys are explained in config/default.toml")]
pub struct Heartbeat {
    pub ping_interval_ms: u32,
    pub misses: u32,
    pub close_timeout_ms: u32,
}

impl Heartbeat {
    /// Time between two pings, give or take a fifth.
    pub fn ping_interval(&self) -> Duration {
        milliseconds(self.ping_interval_ms)
    }

    /// How long a closing handshake may take.
    pub fn close_timeout(&self) -> Duration {
        milliseconds(self.close_timeout_ms)
    }
}

/// How rooms are shared with other nodes, the way to Redis excepted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the keys are explained in config/default.toml")]
pub struct Bus {
    pub mode: BusMode,
    pub sentinel_master: String,
    pub connect_timeout_ms: u32,
    pub timeout_ms: u32,
    pub retries: u32,
    pub ready_check: bool,
    pub inbox_bytes: u32,
    pub outgoing_bytes: u32,
    pub warm_up_s: u32,
}

impl Bus {
    /// How long connecting to one Redis server may take.
    pub fn connect_timeout(&self) -> Duration {
        milliseconds(self.connect_timeout_ms)
    }

    /// How long an answer of Redis may take.
    pub fn timeout(&self) -> Duration {
        milliseconds(self.timeout_ms)
    }

    /// How long a node that has just started takes fewer handshakes; `None` is no time at all.
    pub fn warm_up(&self) -> Option<Duration> {
        (self.warm_up_s > 0).then(|| seconds(self.warm_up_s))
    }
}

/// What kind of Redis there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BusMode {
    /// What the addresses suggest.
    Auto,
    /// One server.
    Single,
    /// A Redis Cluster.
    Cluster,
    /// One master that sentinels know.
    Sentinel,
    /// Servers that know nothing of each other.
    Shards,
}

/// What `/v1/info` says about this deployment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the keys are explained in config/default.toml")]
pub struct Info {
    pub source_url: String,
    pub operator: String,
    pub abuse_contact: String,
}

fn seconds(count: u32) -> Duration {
    Duration::from_secs(u64::from(count))
}

fn milliseconds(count: u32) -> Duration {
    Duration::from_millis(u64::from(count))
}
