//! Checks of values that follow rules of their own, and of values against each other.
//!
//! Each check says what is wrong and what to do next. All of them run, so that an operator sees
//! every problem at once.

use tracing_subscriber::EnvFilter;

use super::error::{Note, Problems};
use super::proxies::TrustProxy;
use super::schema::Config;
use super::values::Switch;
use crate::core::id::Kid;
use crate::core::token::{NAME_LEN_MAX, is_plain_name};
use crate::metrics::Privacy;

/// Adds whatever does not fit together to `problems`.
pub(super) fn check(config: &Config, problems: &mut Problems) {
    listeners(config, problems);
    proxies(config, problems);
    texts(config, problems);
    tokens(config, problems);
    rooms(config, problems);
    limits(config, problems);
    health(config, problems);
    bus(config, problems);
    hsts(config, problems);
    if config.is_production() {
        production(config, problems);
    }
}

/// What is allowed, but worth saying.
pub(super) fn notes(config: &Config) -> Vec<Note> {
    let production = config.is_production();
    let https = config.server.public_url.starts_with("https://");
    let nobody = config.server.trust_proxy == TrustProxy::Nobody;
    let forwarded = matches!(config.server.trust_proxy, TrustProxy::Forwarded(_));
    let anybody = forwarded && config.server.trust_proxy_from.is_empty();
    let no_origins = config.feature.cors && config.cors.allowed_origins.is_empty();
    [
        (!production && !config.server.host.is_loopback(), Note::DevelopmentExposed),
        (production && no_origins, Note::NoOrigins),
        (production && config.server.public_url.is_empty(), Note::NoPublicUrl),
        (production && https && config.headers.hsts_max_age_s == 0, Note::NoHsts),
        (production && https && nobody, Note::NoTrustedProxy),
        (production && anybody && !config.server.host.is_loopback(), Note::AnyForwarder),
        (!config.feature.token_replay_protection, Note::NoReplayProtection),
    ]
    .into_iter()
    .filter_map(|(applies, note)| applies.then_some(note))
    .collect()
}

fn listeners(config: &Config, problems: &mut Problems) {
    let server = &config.server;
    let Some(ops) = server.ops_listen else { return };
    let same_ip =
        ops.ip() == server.host || ops.ip().is_unspecified() || server.host.is_unspecified();
    if same_ip && ops.port() == server.port && server.port != 0 {
        problems.add("OPS_LISTEN", "HOST and PORT already listen there; take another port");
    }
}

fn proxies(config: &Config, problems: &mut Problems) {
    let none = config.server.trust_proxy_from.is_empty();
    match config.server.trust_proxy {
        TrustProxy::Nobody if !none => problems.add(
            "TRUST_PROXY_FROM",
            "TRUST_PROXY is 0, so that no proxy is trusted; set it as well or leave this out",
        ),
        TrustProxy::ProxyProtocol if none => problems.add(
            "TRUST_PROXY_FROM",
            "TRUST_PROXY is proxy-protocol, where whoever connects says who it is; list the \
             networks of your proxies",
        ),
        _ => {}
    }
}

fn texts(config: &Config, problems: &mut Problems) {
    let server = &config.server;
    if !server.public_url.is_empty() && !is_origin(&server.public_url) {
        problems.add(
            "PUBLIC_URL",
            "expected https:// and a host, with a port if it is not the usual one, and no path",
        );
    }
    let named = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
    if server.instance_id.len() > 64 || !server.instance_id.bytes().all(named) {
        problems.add("INSTANCE_ID", "expected at most 64 characters of A-Z a-z 0-9 . _ -");
    }
    if !is_log_level(&config.log.level) {
        problems.add(
            "LOG_LEVEL",
            "expected error, warn, info, debug or trace, or directives such as \
             info,lethewire::hub=debug",
        );
    }
    let visible = |b: u8| b == b' ' || b.is_ascii_graphic();
    if config.headers.csp.is_empty() || !config.headers.csp.bytes().all(visible) {
        problems.add("CSP_DIRECTIVES", "expected the printable text of a header, and not nothing");
    }
    for (place, origin) in (1..).zip(&config.cors.allowed_origins) {
        if origin != "*" && !is_origin(origin) {
            problems.add(
                "CORS_ALLOWED_ORIGINS",
                format_args!(
                    "entry {place} is not an origin as browsers write it: https:// and a host in \
                     lower case, with a port if it is not the usual one, and nothing behind"
                ),
            );
        }
    }
    let info = &config.info;
    for (name, text) in [
        ("INFO_SOURCE_URL", &info.source_url),
        ("INFO_OPERATOR", &info.operator),
        ("INFO_ABUSE_CONTACT", &info.abuse_contact),
    ] {
        if text.chars().count() > 256 || text.chars().any(char::is_control) {
            problems.add(name, "expected at most 256 characters on one line");
        }
    }
}

fn tokens(config: &Config, problems: &mut Problems) {
    let token = &config.token;
    if Kid::new(&token.kid).is_none() {
        problems.add("TOKEN_KID", "expected 1 to 16 characters of A-Z a-z 0-9 _ -");
    }
    if !token.previous_kid.is_empty() && Kid::new(&token.previous_kid).is_none() {
        problems.add("TOKEN_PREVIOUS_KID", "expected 1 to 16 characters of A-Z a-z 0-9 _ -");
    }
    if token.kid == token.previous_kid && !token.kid.is_empty() {
        problems.add("TOKEN_KID", "the previous key has this name; give the new key another one");
    }
    for (name, text) in [("TOKEN_ISSUER", &token.issuer), ("TOKEN_AUDIENCE", &token.audience)] {
        if !is_plain_name(text) {
            problems.add(
                name,
                format_args!(
                    "expected 1 to {NAME_LEN_MAX} printable characters without spaces, quotes and \
                     backslashes"
                ),
            );
        }
    }
    if token.ttl_s > token.ttl_max_s {
        problems.add("TOKEN_TTL_S", "it is above TOKEN_TTL_MAX_S; lower it or raise the other");
    }
}

fn rooms(config: &Config, problems: &mut Problems) {
    let room = &config.room;
    if room.idle_s > room.ttl_s {
        problems.add("ROOM_IDLE_S", "it is above ROOM_TTL_S; lower it or raise the other");
    }
    let padding = &room.padding;
    if padding.is_empty() || padding.len() > PADDING_LEN_MAX || !padding.is_sorted_by(|a, b| a < b)
    {
        problems.add(
            "ROOM_PADDING_BUCKETS",
            format_args!("expected 1 to {PADDING_LEN_MAX} sizes, each above the one before"),
        );
    }
    if padding.iter().any(|size| *size > config.limit.payload_bytes) {
        problems.add(
            "ROOM_PADDING_BUCKETS",
            "a size is above MAX_PAYLOAD_BYTES and could not be sent; leave it out or raise the \
             other",
        );
    }
}

fn limits(config: &Config, problems: &mut Problems) {
    let limit = &config.limit;
    let frame = limit.payload_bytes.saturating_add(FRAME_OVERHEAD);
    for (too_small, name, problem) in [
        (
            limit.bytes_per_10s < limit.payload_bytes,
            "MAX_BYTES_PER_10S",
            "it is below MAX_PAYLOAD_BYTES, so that a message of that size could never be sent",
        ),
        (
            limit.raw_bytes_per_10s < limit.bytes_per_10s,
            "MAX_RAW_BYTES_PER_10S",
            "it is below MAX_BYTES_PER_10S, which would close members that keep to the rules",
        ),
        (
            limit.raw_bytes_per_10s < frame,
            "MAX_RAW_BYTES_PER_10S",
            "it is below the longest message with its frame; it takes MAX_PAYLOAD_BYTES and 64 more",
        ),
        (
            limit.frames_per_10s < limit.messages_per_10s,
            "MAX_FRAMES_PER_10S",
            "it is below MAX_MSGS_PER_10S, which would close members that keep to the rules",
        ),
        (
            limit.outbox_bytes < frame,
            "SLOW_CONSUMER_BUFFER_THRESHOLD",
            "it is below the longest message with its frame; it takes MAX_PAYLOAD_BYTES and 64 more",
        ),
        (
            limit.buffered_bytes < u64::from(limit.outbox_bytes),
            "MAX_BUFFERED_BYTES",
            "it is below SLOW_CONSUMER_BUFFER_THRESHOLD, which one member may use up alone",
        ),
        (
            limit.room_fanout_bytes_per_10s < limit.fanout_bytes_per_10s,
            "MAX_ROOM_FANOUT_BYTES_PER_10S",
            "it is below MAX_FANOUT_BYTES_PER_10S, which one member may cause alone",
        ),
        (
            limit.penalty_max_s < limit.penalty_s,
            "PENALTY_MAX_S",
            "it is below PENALTY_S, the first penalty; raise it or lower the other",
        ),
        (
            limit.ipv6_48_factor < limit.ipv6_56_factor,
            "IPV6_48_FACTOR",
            "it is below IPV6_56_FACTOR, though a /48 holds 256 of those; raise it or lower the other",
        ),
    ] {
        if too_small {
            problems.add(name, problem);
        }
    }
}

fn health(config: &Config, problems: &mut Problems) {
    if config.health.loop_lag_fail_ms < config.health.loop_lag_warn_ms {
        let problem = "it is below HEALTH_LOOP_LAG_WARN_MS; raise it or lower the other";
        problems.add("HEALTH_LOOP_LAG_FAIL_MS", problem);
    }
}

fn bus(config: &Config, problems: &mut Problems) {
    let Config { bus, limit, .. } = config;
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
    if bus.sentinel_master.len() > 128 || !bus.sentinel_master.bytes().all(plain) {
        let expected = "expected at most 128 characters of A-Z a-z 0-9 . _ -";
        problems.add("REDIS_SENTINEL_MASTER", expected);
    }
    if bus.outgoing_bytes < limit.payload_bytes.saturating_add(FRAME_OVERHEAD) {
        problems.add(
            "BUS_OUTGOING_BYTES",
            "it is below the longest message with its head; it takes MAX_PAYLOAD_BYTES and 64 more",
        );
    }
    if bus.inbox_bytes < bus.outgoing_bytes.saturating_mul(2) {
        problems.add(
            "BUS_INBOX_BYTES",
            "it is below twice BUS_OUTGOING_BYTES, which one node may publish at once, padded",
        );
    }
}

fn hsts(config: &Config, problems: &mut Problems) {
    let headers = &config.headers;
    let long = headers.hsts_max_age_s >= YEAR_S;
    if headers.hsts_preload && !(long && headers.hsts_include_subdomains) {
        problems.add(
            "HSTS_PRELOAD",
            format_args!(
                "the preload lists want HSTS_INCLUDE_SUBDOMAINS and an HSTS_MAX_AGE of {YEAR_S} or \
                 more"
            ),
        );
    }
}

fn production(config: &Config, problems: &mut Problems) {
    if config.cors.allowed_origins.iter().any(|origin| origin == "*") {
        problems.add(
            "CORS_ALLOWED_ORIGINS",
            "production does not take *; list the origins of your application's pages",
        );
    }
    if config.feature.demo_page == Switch::On {
        problems.add(
            "FEATURE_DEMO_PAGE",
            "production does not serve the page from the relay that it must not trust; host it \
             elsewhere and leave this on auto",
        );
    }
    let url = &config.server.public_url;
    if url.starts_with("http://") && !is_local(url) {
        problems.add("PUBLIC_URL", "production is reached over TLS; expected https://");
    }
    let ops_shown = config.server.ops_listen.is_some_and(|ops| !ops.ip().is_loopback());
    if ops_shown && config.privacy() == Privacy::Exact {
        problems.add(
            "METRICS_PRIVACY",
            "production does not show exact figures to other machines, because single people's acts \
             can be read from them; leave this on auto, or put OPS_LISTEN on loopback",
        );
    }
}

/// Whether a text is an origin in the form that browsers send.
fn is_origin(text: &str) -> bool {
    let (authority, usual_port) = match text.split_once("://") {
        Some(("https", authority)) => (authority, ":443"),
        Some(("http", authority)) => (authority, ":80"),
        _ => return false,
    };
    let (host, port) = match authority.rsplit_once(':') {
        // The last colon of [::1] is inside the brackets.
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (authority, None),
    };
    let port_fits = port.is_none_or(|port| {
        let canonical = !port.starts_with(['0', '+']);
        canonical && port.parse::<u16>().is_ok()
    });
    port_fits && is_host(host) && !authority.ends_with(usual_port)
}

fn is_host(host: &str) -> bool {
    if let Some(v6) = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        return v6.parse::<std::net::Ipv6Addr>().is_ok();
    }
    let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-._".contains(&b);
    !host.is_empty() && host.len() <= 253 && host.bytes().all(fits)
}

/// Whether an origin is this machine.
fn is_local(origin: &str) -> bool {
    let host = origin.split_once("://").map_or(origin, |(_, host)| host);
    let host = host.strip_prefix('[').unwrap_or(host);
    ["localhost", "127.0.0.1", "::1]"].iter().any(|local| {
        host.strip_prefix(local).is_some_and(|rest| rest.is_empty() || rest.starts_with(':'))
    })
}

/// Whether a text is what `EnvFilter` takes, and is not a misspelt level, which it would take for
/// the name of a module.
fn is_log_level(text: &str) -> bool {
    let known = |part: &str| {
        let level = part.parse::<tracing_subscriber::filter::LevelFilter>().is_ok();
        (level && !part.is_empty()) || part.contains(['=', '['])
    };
    !text.is_empty() && text.split(',').all(known) && EnvFilter::builder().parse(text).is_ok()
}

/// What the frame head and our header add to a payload at most, in bytes, rounded up.
const FRAME_OVERHEAD: u32 = 64;

/// Most padding buckets.
const PADDING_LEN_MAX: usize = 16;

const YEAR_S: u32 = 31_536_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_as_browsers_write_them() {
        for good in [
            "https://chat.example.org",
            "http://localhost:8080",
            "http://127.0.0.1",
            "https://[::1]:8443",
            "https://a-b.c_d:1",
            "http://[2001:db8::1]",
        ] {
            assert!(is_origin(good), "{good}");
        }
        for bad in [
            "",
            "*",
            "null",
            "chat.example.org",
            "https://",
            "https://a/",
            "https://a/b",
            "https://A",
            "https://a:",
            "https://a:443",
            "http://a:80",
            "https://a:0443",
            "https://a:65536",
            "https://u@a",
            "https://a b",
            "wss://a",
            "https://*.a",
            "https://a?b",
            "https://[::1",
            "https://::1",
            "https://a:b:1",
            "https://[::1]:+1",
            "file:///x",
        ] {
            assert!(!is_origin(bad), "{bad}");
        }
    }

    #[test]
    fn a_misspelt_log_level_is_not_a_module() {
        for good in ["info", "WARN", "off", "info,lethewire::hub=debug", "lethewire=trace"] {
            assert!(is_log_level(good), "{good}");
        }
        for bad in ["", "verbose", "infoo", "info,", "lethewire=loud", "info,hyper"] {
            assert!(!is_log_level(bad), "{bad}");
        }
    }

    #[test]
    fn local_addresses_are_this_machine() {
        for local in
            ["http://localhost", "http://localhost:8080", "http://[::1]:1", "http://127.0.0.1"]
        {
            assert!(is_local(local), "{local}");
        }
        for other in ["http://localhost.example.org", "http://127.0.0.12", "http://10.0.0.1"] {
            assert!(!is_local(other), "{other}");
        }
    }
}
