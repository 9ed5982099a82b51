//! The way to Redis: its addresses, which may hold a password, and the secret that all nodes share.
//!
//! Both are secrets, so they are in no [`Config`] and can be neither printed nor compared. What is
//! wrong with an address is told by the name of its variable and its place in the list.

use zeroize::Zeroizing;

use super::environment::Environment;
use super::error::{Note, Problems};
use super::schema::{BusMode, Config};
use super::secrets::{self, Given, Names};
use crate::core::secret::SecretBytes;

const URL: Names = Names { plain: "REDIS_URL", file: "REDIS_URL_FILE" };
const SHARDS: Names = Names { plain: "REDIS_SHARDS", file: "REDIS_SHARDS_FILE" };
const SECRET: Names = Names { plain: "CLUSTER_SECRET", file: "CLUSTER_SECRET_FILE" };

/// The secrets of this module, in the order in which they are shown.
pub(super) const NAMES: [Names; 3] = [URL, SHARDS, SECRET];

/// What a node needs in order to share its rooms with other nodes. There is none without Redis.
pub struct BusAccess {
    /// What is behind the addresses.
    pub topology: Topology,
    /// Where Redis is: one address, the seeds of a cluster, the sentinels, or the shards. At least
    /// one, at most 64, all different.
    pub urls: Vec<RedisUrl>,
    /// What all nodes share and Redis does not know, at least 32 bytes: names are blinded and values
    /// sealed with keys that are made from it.
    pub secret: SecretBytes,
}

/// How the Redis servers belong together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Topology {
    /// One server.
    Single,
    /// A Redis Cluster; the addresses are its seeds.
    Cluster,
    /// One master that sentinels know; the addresses are the sentinels.
    Sentinel,
    /// Servers that know nothing of each other, each with a part of the rooms.
    Shards,
}

/// The address of a Redis server, with the password if there is one. Wiped when dropped.
pub struct RedisUrl(Zeroizing<String>);

impl RedisUrl {
    /// Takes `redis://`, `rediss://` (TLS), `unix://` and `redis+unix://` (the same) with something behind it, and no spaces and
    /// commas. What else is wrong is found when it is used.
    pub fn parse(text: &str) -> Option<Self> {
        let (scheme, rest) = text.split_once("://")?;
        let known = ["redis", "rediss", "unix", "redis+unix"].contains(&scheme);
        let visible = text.bytes().all(|b| b.is_ascii_graphic() && b != b',');
        (known && visible && !rest.trim_matches('/').is_empty() && !rest.ends_with('@'))
            .then(|| Self(Zeroizing::new(text.to_owned())))
    }

    /// The address, for the library that connects and nothing else.
    pub fn expose(&self) -> &str {
        &self.0
    }

    fn is_socket_file(&self) -> bool {
        self.0.starts_with("unix://") || self.0.starts_with("redis+unix://")
    }

    /// The number of a database other than the first one is behind the host.
    fn has_database(&self) -> bool {
        let rest = self.0.split_once("://").map_or("", |(_, rest)| rest);
        let path = rest.split_once('/').map_or("", |(_, path)| path);
        let number = path.split('?').next();
        !self.is_socket_file() && !matches!(number, None | Some("" | "0"))
    }

    /// Whether somebody on the way to another machine can read along.
    fn is_in_the_clear(&self) -> bool {
        let Some(authority) = self.0.strip_prefix("redis://") else { return false };
        let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
        !["localhost", "127.0.0.1", "[::1]"].iter().any(|local| {
            host.strip_prefix(local)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with([':', '/', '?']))
        })
    }
}

/// Reads how to reach Redis. `None` is a relay of one node, or a problem that was reported.
///
/// `join` is the secret of join tokens, if one is set.
pub(super) fn access(
    config: &mut Config,
    environment: &Environment,
    join: Option<&SecretBytes>,
    problems: &mut Problems,
    notes: &mut Vec<Note>,
) -> Option<BusAccess> {
    let given = NAMES.map(|names| secrets::read(&names, environment, problems));
    for (given, names) in given.iter().zip(NAMES) {
        let given = given.as_ref().ok().and_then(Option::as_ref);
        config.origins.secrets.push((names.plain, secrets::state(given, false)));
    }
    let [Ok(url), Ok(shards), Ok(secret)] = given else { return None };
    if let Some(given) = &secret {
        secrets::check_strength(given, &SECRET, config.is_production(), problems, notes);
        if join.is_some_and(|join| *join == given.secret) {
            problems.add(given.by, "it is the secret of join tokens as well; make another one");
        }
    }
    if url.is_none() && shards.is_none() {
        alone(config, secret.as_ref(), problems, notes);
        return None;
    }
    if join.is_none() {
        problems.add(
            "JOIN_TOKEN_SECRET",
            "nodes that share rooms share it, or none takes a token of another; set it on each",
        );
    }
    if secret.is_none() {
        let how = secrets::how_to_make_one(&SECRET);
        problems.add(SECRET.plain, format_args!("nodes that share rooms need it; {how}"));
    }
    let (topology, urls) = servers(config, url, shards, problems)?;
    if config.is_production() && urls.iter().any(RedisUrl::is_in_the_clear) {
        notes.push(Note::RedisInTheClear);
    }
    Some(BusAccess { topology, urls, secret: secret?.secret })
}

/// Looks for settings that have no effect without Redis.
fn alone(config: &Config, secret: Option<&Given>, problems: &mut Problems, notes: &mut Vec<Note>) {
    let bus = &config.bus;
    if bus.mode != BusMode::Auto {
        problems.add("REDIS_MODE", "there is no Redis; set REDIS_URL or REDIS_SHARDS as well");
    }
    if !bus.sentinel_master.is_empty() {
        problems.add("REDIS_SENTINEL_MASTER", "there is no Redis; set REDIS_URL as well");
    }
    if secret.is_some() {
        notes.push(Note::ClusterOfOne);
    }
}

/// The servers and how they belong together.
fn servers(
    config: &Config,
    url: Option<Given>,
    shards: Option<Given>,
    problems: &mut Problems,
) -> Option<(Topology, Vec<RedisUrl>)> {
    let bus = &config.bus;
    let (given, in_shards) = match (url, shards) {
        (Some(_), Some(shards)) => {
            problems.add(shards.by, "REDIS_URL is set as well; keep one");
            return None;
        }
        (Some(given), None) => (given, false),
        (None, given) => (given?, true),
    };
    let urls = urls(&given, problems)?;
    let topology = match (bus.mode, in_shards) {
        (BusMode::Auto | BusMode::Shards, true) => Topology::Shards,
        (BusMode::Shards, false) | (_, true) => {
            problems.add("REDIS_MODE", "REDIS_SHARDS is for shards, REDIS_URL for all else");
            return None;
        }
        (BusMode::Cluster, false) => Topology::Cluster,
        (BusMode::Sentinel, false) => Topology::Sentinel,
        (BusMode::Auto, false) if !bus.sentinel_master.is_empty() => Topology::Sentinel,
        (BusMode::Auto, false) if urls.len() > 1 => Topology::Cluster,
        (BusMode::Single | BusMode::Auto, false) => Topology::Single,
    };
    fit(topology, &bus.sentinel_master, &urls, given.by, problems);
    Some((topology, urls))
}

/// The addresses of a list, none twice.
fn urls(given: &Given, problems: &mut Problems) -> Option<Vec<RedisUrl>> {
    let text = std::str::from_utf8(given.secret.expose()).unwrap_or("?");
    let mut urls: Vec<RedisUrl> = Vec::new();
    for (place, item) in (1..).zip(text.split(',').map(str::trim_ascii)) {
        let Some(url) = RedisUrl::parse(item) else {
            problems.add(
                given.by,
                format_args!(
                    "address {place} is none; expected redis://host:port, rediss://host:port for \
                     TLS or unix:///path, with user:password@ before the host if need be"
                ),
            );
            return None;
        };
        if urls.iter().any(|other| other.0 == url.0) {
            problems.add(given.by, format_args!("address {place} is there twice; leave one out"));
            return None;
        }
        urls.push(url);
    }
    if urls.len() > URLS_MAX {
        problems.add(given.by, format_args!("{URLS_MAX} addresses are the most"));
        return None;
    }
    Some(urls)
}

/// Whether addresses and master fit what is behind them.
fn fit(topology: Topology, master: &str, urls: &[RedisUrl], by: &str, problems: &mut Problems) {
    use Topology::{Cluster, Sentinel, Shards, Single};
    if topology == Single && urls.len() > 1 {
        problems.add(by, "a single Redis has one address; REDIS_MODE says what several are");
    }
    if matches!(topology, Cluster | Sentinel) && urls.iter().any(RedisUrl::is_socket_file) {
        problems.add(by, "a cluster and sentinels are reached by redis:// or rediss:// only");
    }
    if matches!(topology, Cluster | Shards) && urls.iter().any(RedisUrl::has_database) {
        problems.add(by, "a cluster and shards have no numbered databases; leave the number out");
    }
    match topology {
        Sentinel if master.is_empty() => problems.add(
            "REDIS_SENTINEL_MASTER",
            "sentinels are asked for a master by its name; set it as in their configuration",
        ),
        Single | Cluster | Shards if !master.is_empty() => problems.add(
            "REDIS_SENTINEL_MASTER",
            "only sentinels know masters by a name; leave it out or set REDIS_MODE to sentinel",
        ),
        _ => {}
    }
}

/// Most addresses in a list.
const URLS_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_have_a_scheme_that_is_known_and_something_behind_it() {
        for good in [
            "redis://localhost",
            "redis://:p%40ss@10.0.0.1:6379/3",
            "rediss://user:p@redis.example:6380",
            "unix:///run/redis/redis.sock",
        ] {
            assert!(RedisUrl::parse(good).is_some_and(|url| url.expose() == good), "{good}");
        }
        for bad in ["", "localhost:6379", "http://localhost", "redis://", "redis:///", "unix://"] {
            assert!(RedisUrl::parse(bad).is_none(), "{bad}");
        }
        for bad in ["redis://a b", "redis://a,b", "redis://u:p@", "REDIS://a", "redis://\u{e4}"] {
            assert!(RedisUrl::parse(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn a_password_can_be_read_on_the_way_to_another_machine_only() {
        for (url, clear) in [
            ("redis://10.0.0.1", true),
            ("redis://localhost@10.0.0.1", true),
            ("redis://127.0.0.1.example:1", true),
            ("redis://:p@127.0.0.1:6379/0", false),
            ("redis://localhost", false),
            ("redis://[::1]:1", false),
            ("rediss://10.0.0.1", false),
            ("unix:///run/redis.sock", false),
        ] {
            assert_eq!(RedisUrl::parse(url).unwrap().is_in_the_clear(), clear, "{url}");
        }
    }

    #[test]
    fn a_database_is_a_number_behind_the_host() {
        for (url, database) in [
            ("redis://a", false),
            ("redis://a/", false),
            ("redis://a/0", false),
            ("redis://a/?protocol=resp3", false),
            ("redis://a:1/3", true),
            ("rediss://u:p@a/15?x=y", true),
        ] {
            assert_eq!(RedisUrl::parse(url).unwrap().has_database(), database, "{url}");
        }
    }
}
