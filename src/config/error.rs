//! What keeps the relay from starting, and what is merely worth saying at its start.
//!
//! Every text here is for the operator's eyes. It names variables, keys and files and says what to
//! do next; it never repeats a value, because any value may turn out to be a secret in the wrong
//! place.

use std::fmt;

use thiserror::Error;

/// Everything that is wrong with a configuration, all at once.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub struct ConfigError {
    problems: Vec<String>,
}

impl ConfigError {
    /// What is wrong, one text for each problem, in no particular order.
    pub fn problems(&self) -> &[String] {
        &self.problems
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.problems.len();
        let s = if count == 1 { "" } else { "s" };
        write!(f, "the configuration has {count} problem{s}:")?;
        self.problems.iter().try_for_each(|problem| write!(f, "\n  - {problem}"))
    }
}

/// Gathers problems while a configuration is put together.
#[derive(Default)]
pub(super) struct Problems(Vec<String>);

impl Problems {
    /// Notes that `subject` (a variable, a key) has a problem.
    pub(super) fn add(&mut self, subject: impl fmt::Display, problem: impl fmt::Display) {
        self.0.push(format!("{subject}: {problem}"));
    }

    /// Whether there is none.
    pub(super) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All of them.
    pub(super) fn into_error(self) -> ConfigError {
        ConfigError { problems: self.0 }
    }
}

/// Something that does not keep the relay from starting, but that its operator should know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Note {
    /// No secret was given, so one was made for this run.
    RandomSecret,
    /// The secret looks like one from a manual; production would refuse it.
    WeakSecret(&'static str),
    /// Development mode listens on more than loopback.
    DevelopmentExposed,
    /// Production lists no origin, so no browser can connect.
    NoOrigins,
    /// Production does not know its own address.
    NoPublicUrl,
    /// Members use TLS and browsers are not told to insist on it.
    NoHsts,
    /// TLS ends at a proxy, and no proxy is trusted.
    NoTrustedProxy,
    /// `X-Forwarded-For` is believed of everybody who can connect.
    AnyForwarder,
    /// The replay protection is off.
    NoReplayProtection,
    /// There is a secret for several nodes, and no Redis through which they would find each other.
    ClusterOfOne,
    /// What goes to Redis can be read on the way.
    RedisInTheClear,
    /// The process may not open a file for every connection that it is configured for.
    FewFiles {
        /// The files that it may open.
        limit: u64,
        /// The connections that it is configured for.
        connections: u32,
    },
    /// There is a limit on memory, and the system does not tell how much is used.
    NoMemoryReading,
    /// Core dumps could not be switched off.
    NotHardened,
    /// A variable of the environment is not known, but looks as if it was meant for the relay.
    UnknownVariable {
        /// Its name.
        name: String,
        /// The most similar name that is known.
        nearest: Option<&'static str>,
    },
    /// A variable that similar programs read and this one does not.
    ForeignVariable {
        /// Its name.
        name: &'static str,
        /// What to do about it.
        advice: &'static str,
    },
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RandomSecret => f.write_str(
                "JOIN_TOKEN_SECRET is not set: a random secret was made, and tokens end with this \
                 process",
            ),
            Self::WeakSecret(name) => {
                write!(f, "{name} is a placeholder that anyone can guess; production refuses it")
            }
            Self::DevelopmentExposed => f.write_str(
                "development mode listens on more than this machine; set DEPLOYMENT_ENV=production \
                 for real users",
            ),
            Self::NoOrigins => f.write_str(
                "CORS_ALLOWED_ORIGINS is empty: no page of a browser can connect, only native \
                 clients",
            ),
            Self::NoPublicUrl => f.write_str(
                "PUBLIC_URL is not set: the ws address in answers follows the Host header",
            ),
            Self::NoHsts => f.write_str(
                "PUBLIC_URL is https and HSTS_MAX_AGE is 0: browsers are not told to insist on TLS",
            ),
            Self::NoTrustedProxy => f.write_str(
                "PUBLIC_URL is https and TRUST_PROXY is 0: whoever comes through the proxy counts as \
                 one address (docs/proxies/README.md)",
            ),
            Self::AnyForwarder => f.write_str(
                "TRUST_PROXY_FROM is empty: whoever reaches HOST and PORT past the proxies makes up \
                 its own address",
            ),
            Self::NoReplayProtection => f.write_str(
                "FEATURE_TOKEN_REPLAY_PROTECTION is off: a join token can be used until it expires",
            ),
            Self::ClusterOfOne => f.write_str(
                "CLUSTER_SECRET is set and REDIS_URL is not: this node shares its rooms with no other",
            ),
            Self::RedisInTheClear => f.write_str(
                "Redis is on another machine and not reached over TLS (rediss://): whoever is on the \
                 way reads its password and sees how busy rooms are",
            ),
            Self::FewFiles { limit, connections } => write!(
                f,
                "MAX_TOTAL_CONNECTIONS is {connections}, but only {limit} files may be open; raise \
                 the limit (ulimit -n, LimitNOFILE=) or lower the number"
            ),
            Self::NoMemoryReading => f.write_str(
                "MAX_MEMORY_BYTES has no effect: this system has no /proc/self/statm to read the \
                 resident memory from",
            ),
            Self::NotHardened => f.write_str(
                "core dumps could not be switched off: a crash may write memory to disk",
            ),
            Self::UnknownVariable { name, nearest: Some(nearest) } => {
                write!(f, "{name} is not a variable of the relay; did you mean {nearest}?")
            }
            Self::UnknownVariable { name, nearest: None } => {
                write!(f, "{name} is not a variable of the relay, and nothing is named like it")
            }
            Self::ForeignVariable { name, advice } => write!(f, "{name} is not read: {advice}"),
        }
    }
}
