//! Every environment variable: its name, the key that it sets, and what it takes.
//!
//! The table is complete in both directions: a key without a variable, or a variable without a key,
//! fails a test. Names of secrets are in `secrets`, because those have no key.

use super::values::Kind::{
    self, Bool, Integer, Integers, Ip, Networks, Proxies, Socket, Switch, Text, Texts, Word,
};
use crate::core::token::LIFETIME_HARD_MAX_S;

/// One environment variable.
pub(super) struct Variable {
    /// Its name.
    pub(super) name: &'static str,
    /// The key that it sets, as `table.key`.
    pub(super) key: &'static str,
    /// What it takes.
    pub(super) kind: Kind,
}

impl Variable {
    /// The table and the key in it.
    pub(super) fn path(&self) -> (&'static str, &'static str) {
        self.key.split_once('.').expect("every key of VARIABLES is in a table")
    }

    /// The variable of a key.
    pub(super) fn of_key(table: &str, key: &str) -> Option<&'static Self> {
        VARIABLES.iter().find(|variable| variable.path() == (table, key))
    }
}

const fn variable(name: &'static str, key: &'static str, kind: Kind) -> Variable {
    Variable { name, key, kind }
}

/// All variables, in the order of `config/default.toml`.
pub(super) const VARIABLES: &[Variable] = &[
    variable("HOST", "server.host", Ip),
    variable("PORT", "server.port", Integer(0, 65_535)),
    variable("OPS_LISTEN", "server.ops_listen", Socket),
    variable("DEPLOYMENT_ENV", "server.deployment_env", Word(&["development", "production"])),
    variable("INSTANCE_ID", "server.instance_id", Text),
    variable("PUBLIC_URL", "server.public_url", Text),
    variable("TRUST_PROXY", "server.trust_proxy", Proxies),
    variable("TRUST_PROXY_FROM", "server.trust_proxy_from", Networks),
    variable("WORKER_THREADS", "server.worker_threads", Integer(0, 1024)),
    variable("FRONT_THREADS", "server.front_threads", Integer(0, 1024)),
    variable("LISTEN_BACKLOG", "server.listen_backlog", Integer(1, 65_535)),
    variable("DEFER_ACCEPT_S", "server.defer_accept_s", Integer(0, 60)),
    variable("REUSE_PORT", "server.reuse_port", Bool),
    variable("SHUTDOWN_TIMEOUT", "server.shutdown_timeout_s", Integer(1, 3600)),
    variable("DRAIN_RATE_PER_S", "server.drain_rate_per_s", Integer(1, 1_000_000)),
    variable("DRAIN_NOTICE_MS", "server.drain_notice_ms", Integer(0, 600_000)),
    variable("LOG_LEVEL", "log.level", Text),
    variable("LOG_FORMAT", "log.format", Word(&["auto", "json", "pretty"])),
    variable("LOG_AGGREGATE_INTERVAL_S", "log.aggregate_interval_s", Integer(0, 86_400)),
    variable("LOG_HEALTH_CHECK_FAILURES", "log.health_check_failures", Bool),
    variable("LOG_REPEATS_PER_MIN", "log.repeats_per_min", Integer(0, 1_000_000)),
    variable("HEALTH_WARN_PERCENT", "health.warn_percent", Integer(1, 100)),
    variable("HEALTH_LOOP_LAG_WARN_MS", "health.loop_lag_warn_ms", Integer(1, 60_000)),
    variable("HEALTH_LOOP_LAG_FAIL_MS", "health.loop_lag_fail_ms", Integer(1, 60_000)),
    variable("METRICS_PRIVACY", "metrics.privacy", Word(&["auto", "blurred", "exact"])),
    variable("METRICS_COLLECTION_INTERVAL_MS", "metrics.interval_ms", Integer(60_000, 3_600_000)),
    variable("METRICS_EXPORT_PROMETHEUS", "metrics.prometheus", Bool),
    variable("FEATURE_DEMO_PAGE", "feature.demo_page", Switch),
    variable("FEATURE_HEALTH_ENDPOINT", "feature.health_endpoint", Bool),
    variable("FEATURE_METRICS_ENDPOINT", "feature.metrics_endpoint", Bool),
    variable("FEATURE_READINESS_ENDPOINT", "feature.readiness_endpoint", Bool),
    variable("FEATURE_GRACEFUL_SHUTDOWN", "feature.graceful_shutdown", Bool),
    variable("FEATURE_CORS", "feature.cors", Bool),
    variable("FEATURE_SECURITY_HEADERS", "feature.security_headers", Bool),
    variable("FEATURE_REQUEST_ID", "feature.request_id", Bool),
    variable("FEATURE_DETAILED_ERRORS", "feature.detailed_errors", Switch),
    variable("FEATURE_IP_TRACKING", "feature.ip_tracking", Bool),
    variable("FEATURE_TOKEN_REPLAY_PROTECTION", "feature.token_replay_protection", Bool),
    variable("FEATURE_AUTO_ROOM_CLEANUP", "feature.auto_room_cleanup", Bool),
    variable("CORS_ALLOWED_ORIGINS", "cors.allowed_origins", Texts),
    variable("CORS_MAX_AGE_S", "cors.max_age_s", Integer(0, 86_400)),
    variable("CSP_DIRECTIVES", "headers.csp", Text),
    variable("HSTS_MAX_AGE", "headers.hsts_max_age_s", Integer(0, 63_072_000)),
    variable("HSTS_INCLUDE_SUBDOMAINS", "headers.hsts_include_subdomains", Bool),
    variable("HSTS_PRELOAD", "headers.hsts_preload", Bool),
    variable("TOKEN_KID", "token.kid", Text),
    variable("TOKEN_ISSUER", "token.issuer", Text),
    variable("TOKEN_AUDIENCE", "token.audience", Text),
    variable("TOKEN_TTL_S", "token.ttl_s", Integer(1, LIFETIME_HARD_MAX_S)),
    variable("TOKEN_TTL_MAX_S", "token.ttl_max_s", Integer(1, LIFETIME_HARD_MAX_S)),
    variable("TOKEN_SKEW_S", "token.skew_s", Integer(0, 60)),
    variable("TOKEN_PREVIOUS_KID", "token.previous_kid", Text),
    variable("TOKEN_REPLAY_ENTRIES_MAX", "token.replay_entries_max", Integer(1, 100_000_000)),
    variable("ROOM_ADMISSION", "room.admission", Word(&["open", "backend"])),
    variable("ROOM_MEMBERS_MAX", "room.members_max", Integer(2, 10_000)),
    variable("ROOM_TTL_S", "room.ttl_s", Integer(1, 2_592_000)),
    variable("ROOM_IDLE_S", "room.idle_s", Integer(1, 86_400)),
    variable("MAX_ROOMS", "room.rooms_max", Integer(1, 10_000_000)),
    variable("ROOM_BATCH_BYTES", "room.batch_bytes", Integer(4096, 16_777_216)),
    variable("ROOM_BATCH_WAIT_NS", "room.batch_wait_ns", Integer(0, 10_000)),
    variable("ROOM_PADDING_BUCKETS", "room.padding", Integers(1, PAYLOAD_BYTES_MAX)),
    variable("ROOM_PADDING_POLICY", "room.padding_policy", Word(&["off", "warn", "enforce"])),
    variable("MAX_PAYLOAD_BYTES", "limit.payload_bytes", Integer(1, PAYLOAD_BYTES_MAX)),
    variable("MAX_MSGS_PER_10S", "limit.messages_per_10s", Integer(1, 10_000_000)),
    variable("MAX_BYTES_PER_10S", "limit.bytes_per_10s", Integer(1, 1_073_741_824)),
    variable("MAX_FRAMES_PER_10S", "limit.frames_per_10s", Integer(1, 10_000_000)),
    variable("MAX_RAW_BYTES_PER_10S", "limit.raw_bytes_per_10s", Integer(1, 2_147_483_648)),
    variable("MAX_FRAGMENTS_PER_MESSAGE", "limit.fragments_per_message", Integer(1, 1024)),
    variable("MAX_FANOUT_BYTES_PER_10S", "limit.fanout_bytes_per_10s", Integer(1, 1 << 50)),
    variable(
        "MAX_ROOM_FANOUT_BYTES_PER_10S",
        "limit.room_fanout_bytes_per_10s",
        Integer(1, 1 << 50),
    ),
    variable("MAX_PINGS_PER_10S", "limit.pings_per_10s", Integer(1, 1000)),
    variable("MAX_STRIKES", "limit.strikes", Integer(1, 100)),
    variable("STRIKE_WINDOW_S", "limit.strike_window_s", Integer(1, 3600)),
    variable("SLOW_CONSUMER_BUFFER_THRESHOLD", "limit.outbox_bytes", Integer(4096, 268_435_456)),
    variable("MAX_OUTBOX_FRAMES", "limit.outbox_frames", Integer(8, 65_536)),
    variable("MAX_OUTBOX_AGE_MS", "limit.outbox_age_ms", Integer(1000, 3_600_000)),
    variable("MAX_BUFFERED_BYTES", "limit.buffered_bytes", Integer(65_536, 1 << 40)),
    variable("WRITE_STALL_TIMEOUT_MS", "limit.write_stall_ms", Integer(100, 600_000)),
    variable("TCP_USER_TIMEOUT_MS", "limit.user_timeout_ms", Integer(0, 3_600_000)),
    variable("MAX_MEMORY_BYTES", "limit.memory_bytes", Integer(0, 1_099_511_627_776)),
    variable("MAX_TOTAL_CONNECTIONS", "limit.connections", Integer(1, 1_000_000)),
    variable("MAX_REFUSALS_AT_ONCE", "limit.refusals_at_once", Integer(1, 65_536)),
    variable("MAX_CONNS_PER_IP", "limit.connections_per_address", Integer(1, 1_000_000)),
    variable("MAX_HANDSHAKES_PER_IP_PER_10S", "limit.handshakes_per_10s", Integer(1, 1_000_000)),
    variable("MAX_HTTP_REQUESTS_PER_IP_PER_MIN", "limit.requests_per_min", Integer(1, 1_000_000)),
    variable("MAX_ROOM_CREATES_PER_IP_PER_MIN", "limit.room_creates_per_min", Integer(1, 100_000)),
    variable("MAX_TOKENS_PER_IP_PER_MIN", "limit.tokens_per_min", Integer(1, 1_000_000)),
    variable("SLOW_DOWN_AFTER_PERCENT", "limit.slow_after_percent", Integer(1, 100)),
    variable("SLOW_DOWN_MAX_MS", "limit.slow_max_ms", Integer(0, 60_000)),
    variable(
        "MAX_FAILED_ADMISSIONS_PER_IP_PER_MIN",
        "limit.failed_admissions_per_min",
        Integer(1, 1_000_000),
    ),
    variable("MAX_FAULTS_PER_IP", "limit.faults", Integer(0, 1000)),
    variable("PENALTY_S", "limit.penalty_s", Integer(1, 86_400)),
    variable("PENALTY_MAX_S", "limit.penalty_max_s", Integer(1, 86_400)),
    variable("PENALTY_MEMORY_S", "limit.penalty_memory_s", Integer(1, 86_400)),
    variable("IPV6_56_FACTOR", "limit.ipv6_56_factor", Integer(1, 64)),
    variable("IPV6_48_FACTOR", "limit.ipv6_48_factor", Integer(1, 64)),
    variable("MAX_TRACKED_ADDRESSES", "limit.addresses", Integer(1, 10_000_000)),
    variable("HTTP_HEADER_TIMEOUT_MS", "http.header_timeout_ms", Integer(100, 60_000)),
    variable("HTTP_MAX_HEADER_BYTES", "http.header_bytes", Integer(1024, 65_536)),
    variable("HTTP_MAX_HEADERS", "http.headers", Integer(8, 256)),
    variable("HTTP_MAX_BODY_BYTES", "http.body_bytes", Integer(512, 65_536)),
    variable("HTTP_BODY_TIMEOUT_MS", "http.body_timeout_ms", Integer(100, 60_000)),
    variable("HTTP_KEEP_ALIVE_MS", "http.keep_alive_ms", Integer(1000, 3_600_000)),
    variable("WS_PING_INTERVAL_MS", "heartbeat.ping_interval_ms", Integer(100, 3_600_000)),
    variable("WS_PING_MISSES", "heartbeat.misses", Integer(1, 10)),
    variable("WS_CLOSE_TIMEOUT_MS", "heartbeat.close_timeout_ms", Integer(100, 60_000)),
    variable("REDIS_MODE", "bus.mode", Word(&["auto", "single", "cluster", "sentinel", "shards"])),
    variable("REDIS_SENTINEL_MASTER", "bus.sentinel_master", Text),
    variable("REDIS_CONNECT_TIMEOUT", "bus.connect_timeout_ms", Integer(100, 60_000)),
    variable("BUS_TIMEOUT_MS", "bus.timeout_ms", Integer(100, 60_000)),
    variable("REDIS_MAX_RETRIES_PER_REQUEST", "bus.retries", Integer(0, 20)),
    variable("REDIS_ENABLE_READY_CHECK", "bus.ready_check", Bool),
    variable("BUS_INBOX_BYTES", "bus.inbox_bytes", Integer(65_536, 1_073_741_824)),
    variable("BUS_OUTGOING_BYTES", "bus.outgoing_bytes", Integer(4096, 268_435_456)),
    variable("WARM_UP_S", "bus.warm_up_s", Integer(0, 3600)),
    variable("INFO_SOURCE_URL", "info.source_url", Text),
    variable("INFO_OPERATOR", "info.operator", Text),
    variable("INFO_ABUSE_CONTACT", "info.abuse_contact", Text),
];

/// Longest payload that can be configured, in bytes.
const PAYLOAD_BYTES_MAX: u64 = 1_048_576;
