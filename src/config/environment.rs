//! The environment: the values of known variables, and names that look like misspelt ones.
//!
//! figment's own provider is not used: it guesses types from text, prints values in errors and
//! cannot tell a misspelt variable from somebody else's.

use std::collections::BTreeMap;

use strsim::damerau_levenshtein;
use zeroize::Zeroizing;

use super::error::{Note, Problems};
use super::layer::Layer;
use super::secrets;
use super::variables::VARIABLES;

/// A copy of the environment, taken once. It holds secrets, so it is wiped when dropped and cannot
/// be printed.
#[derive(Default)]
pub struct Environment(BTreeMap<String, Zeroizing<Vec<u8>>>);

impl Environment {
    /// The environment of this process. Names that are not UTF-8 are nobody's here.
    pub fn of_process() -> Self {
        let pair = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
            let value = Zeroizing::new(value.into_encoded_bytes());
            name.into_string().ok().map(|name| (name, value))
        };
        Self(std::env::vars_os().filter_map(pair).collect())
    }

    /// An environment of exactly these names and values.
    pub fn of<'a, V: AsRef<[u8]>>(pairs: impl IntoIterator<Item = (&'a str, V)>) -> Self {
        let pair =
            |(name, value): (&str, V)| (name.to_owned(), Zeroizing::new(value.as_ref().to_vec()));
        Self(pairs.into_iter().map(pair).collect())
    }

    /// The bytes of a variable; an empty one counts as well.
    pub(super) fn bytes(&self, name: &str) -> Option<&[u8]> {
        self.0.get(name).map(|value| value.as_slice())
    }
}

/// Reads all variables that set a key.
pub(super) fn read(environment: &Environment, problems: &mut Problems) -> Layer {
    let mut layer = Layer::new(Layer::ENVIRONMENT);
    for variable in VARIABLES {
        let Some(bytes) = environment.bytes(variable.name) else { continue };
        if bytes.trim_ascii().is_empty() && variable.kind.empty_is_unset() {
            continue;
        }
        let text = std::str::from_utf8(bytes).ok();
        match text.and_then(|text| variable.kind.parse(text)) {
            Some(value) => layer.set(variable, value),
            None => problems.add(variable.name, format_args!("expected {}", variable.kind)),
        }
    }
    layer
}

/// Finds variables that were probably meant for the relay and that it does not read.
pub(super) fn suspicious(environment: &Environment) -> Vec<Note> {
    let foreign = FOREIGN.iter().filter(|(name, _)| environment.0.contains_key(*name));
    let foreign = foreign.map(|&(name, advice)| Note::ForeignVariable { name, advice });
    let unknown = environment.0.keys().filter(|name| !is_known(name)).filter_map(|name| {
        let (nearest, close) = nearest(name)?;
        let ours = name.starts_with(PREFIX);
        let nearest = close.then_some(nearest);
        (ours || close).then(|| Note::UnknownVariable { name: name.clone(), nearest })
    });
    foreign.chain(unknown).collect()
}

fn names() -> impl Iterator<Item = &'static str> {
    VARIABLES.iter().map(|variable| variable.name).chain(secrets::names())
}

fn is_known(name: &str) -> bool {
    names().any(|known| known == name) || FOREIGN.iter().any(|(foreign, _)| *foreign == name)
}

/// The known name that is most like `name`, and whether it is so much alike that it was meant.
fn nearest(name: &str) -> Option<(&'static str, bool)> {
    let upper = name.to_ascii_uppercase();
    let bare = upper.strip_prefix(PREFIX).unwrap_or(&upper);
    let distance = |known: &&'static str| damerau_levenshtein(bare, known);
    let nearest = names().min_by_key(distance)?;
    let distance = distance(&nearest);
    // The same letters with another case or our prefix are meant however short they are. A short
    // name that differs (HOME and HOST) is more likely somebody else's.
    let long = bare.len() >= MISSPELT_LEN_MIN || name.starts_with(PREFIX);
    let close = distance == 0 || (long && distance <= (bare.len() / 4).clamp(1, 3));
    Some((nearest, close))
}

/// Names that start like this can only be meant for the relay.
const PREFIX: &str = "LETHEWIRE_";

/// Shorter names must be exact to be taken for a misspelt one.
const MISSPELT_LEN_MIN: usize = 6;

/// Variables that programs of this kind often read, and what to use with this one.
const FOREIGN: &[(&str, &str)] = &[
    ("CORS_ALLOW_CREDENTIALS", "the relay has no cookies and no other credentials of browsers"),
    ("FEATURE_SLOW_CONSUMER_PROTECTION", "it is always on"),
    ("HTTP_KEEP_ALIVE_TIMEOUT_MS", "use HTTP_KEEP_ALIVE_MS"),
    ("SERVICE_VERSION", "the version is built in"),
    ("WS_PING_TIMEOUT_MS", "use WS_PING_MISSES, in pings"),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn notes(names: &[&str]) -> Vec<String> {
        let environment = Environment::of(names.iter().map(|name| (*name, "1")));
        suspicious(&environment).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn misspelt_names_are_matched_to_what_was_meant() {
        for (name, meant) in [
            ("MAX_PAYLOAD_BYTE", "MAX_PAYLOAD_BYTES"),
            ("MAX_MESSGS_PER_10S", "MAX_MSGS_PER_10S"),
            ("DEPLOYMENT_EVN", "DEPLOYMENT_ENV"),
            ("JION_TOKEN_SECRET", "JOIN_TOKEN_SECRET"),
            ("JOIN_TOKEN_SECRET_FIEL", "JOIN_TOKEN_SECRET_FILE"),
            ("FEATURE_DEMOPAGE", "FEATURE_DEMO_PAGE"),
            ("CORS_ALLOWED_ORIGIN", "CORS_ALLOWED_ORIGINS"),
            ("TRUST_PROXIES", "TRUST_PROXY"),
            ("log_level", "LOG_LEVEL"),
            ("port", "PORT"),
            ("LETHEWIRE_PORT", "PORT"),
            ("LETHEWIRE_MAX_ROOM", "MAX_ROOMS"),
        ] {
            let expected = format!("{name} is not a variable of the relay; did you mean {meant}?");
            assert_eq!(notes(&[name]), [expected]);
        }
        let unlike =
            "LETHEWIRE_COLOUR is not a variable of the relay, and nothing is named like it";
        assert_eq!(notes(&["LETHEWIRE_COLOUR"]), [unlike]);
    }

    #[test]
    fn other_programs_variables_are_left_alone() {
        let others = [
            "HTTP_PROXY",
            "HTTPS_PROXY",
            "NO_PROXY",
            "http_proxy",
            "HOME",
            "HOSTNAME",
            "PATH",
            "PWD",
            "RUST_LOG",
            "TERM",
            "USER",
            "LOGNAME",
            "LANG",
            "MAX_JOBS",
            "TOKEN",
            "ROOM",
            "LOG_DIR",
            "FEATURE_X",
            "POST",
            "SHELL",
            "SSH_AUTH_SOCK",
            "XDG_RUNTIME_DIR",
            "KUBERNETES_PORT",
            "NODE_ENV",
            "CARGO_HOME",
            "INFOPATH",
            "WS",
            "HTTP_HOST",
            "_",
        ];
        assert_eq!(notes(&others), [""; 0]);
    }

    #[test]
    fn switches_that_relays_of_this_kind_have_are_read_or_explained() {
        for name in [
            "FEATURE_HEALTH_ENDPOINT",
            "FEATURE_METRICS_ENDPOINT",
            "FEATURE_READINESS_ENDPOINT",
            "FEATURE_GRACEFUL_SHUTDOWN",
            "FEATURE_CORS",
            "FEATURE_SECURITY_HEADERS",
            "FEATURE_REQUEST_ID",
            "FEATURE_DETAILED_ERRORS",
            "FEATURE_IP_TRACKING",
            "FEATURE_TOKEN_REPLAY_PROTECTION",
            "FEATURE_SLOW_CONSUMER_PROTECTION",
            "FEATURE_AUTO_ROOM_CLEANUP",
            "LOG_LEVEL",
            "LOG_FORMAT",
            "LOG_HEALTH_CHECK_FAILURES",
            "METRICS_EXPORT_PROMETHEUS",
            "METRICS_COLLECTION_INTERVAL_MS",
            "HTTP_KEEP_ALIVE_TIMEOUT_MS",
            "WS_PING_INTERVAL_MS",
            "WS_PING_TIMEOUT_MS",
            "SERVICE_VERSION",
            "DEPLOYMENT_ENV",
            "INSTANCE_ID",
        ] {
            assert!(is_known(name), "{name}");
            let template = include_str!("../../.env.production");
            assert!(template.contains(name), "{name} is not in .env.production");
        }
    }

    #[test]
    fn known_names_are_not_suspicious() {
        let all: Vec<_> = names().collect();
        assert_eq!(notes(&all), [""; 0]);
        let expected = "WS_PING_TIMEOUT_MS is not read: use WS_PING_MISSES, in pings";
        assert_eq!(notes(&["WS_PING_TIMEOUT_MS"]), [expected]);
    }
}
