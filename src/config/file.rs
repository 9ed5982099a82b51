//! The operator's file: every key must be known, and every value of its kind.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use figment::providers::{Format as _, Toml};
use figment::value::{Dict, Value};
use strsim::damerau_levenshtein;

use super::error::Problems;
use super::layer::Layer;
use super::variables::{VARIABLES, Variable};

/// Reads a file. One that is not there is a problem: whoever names a file wants it.
pub(super) fn read(path: &Path, problems: &mut Problems) -> Layer {
    let name = path.display().to_string();
    let mut text = String::new();
    let read = File::open(path).and_then(|file| file.take(FILE_LEN_MAX).read_to_string(&mut text));
    match read {
        Err(error) => {
            problems.add(name, format_args!("cannot read the configuration file: {error}"));
            Layer::new(Layer::FILE)
        }
        Ok(len) if len as u64 == FILE_LEN_MAX => {
            problems.add(name, "a configuration file has less than 1 MiB");
            Layer::new(Layer::FILE)
        }
        Ok(_) => parse(&text, &name, problems),
    }
}

/// Reads TOML; `name` is what problems call it.
pub(super) fn parse(text: &str, name: &str, problems: &mut Problems) -> Layer {
    let mut layer = Layer::new(Layer::FILE);
    let tables: Dict = match Toml::from_str(text) {
        Ok(tables) => tables,
        Err(error) => {
            // The error's own text would quote the line, whatever is on it.
            let line = error.span().and_then(|span| text.get(..span.start));
            let line = line.map_or(0, |before| before.matches('\n').count()) + 1;
            problems.add(name, format_args!("line {line} is not TOML: {}", error.message()));
            return layer;
        }
    };
    for (table, value) in &tables {
        match value {
            Value::Dict(_, keys) if is_table(table) => {
                for pair in keys {
                    set(&mut layer, table, pair, name, problems);
                }
            }
            Value::Dict(..) => unknown_table(table, name, problems),
            _ => unknown(table, name, problems),
        }
    }
    layer
}

fn set(
    layer: &mut Layer,
    table: &str,
    (key, value): (&String, &Value),
    name: &str,
    problems: &mut Problems,
) {
    match Variable::of_key(table, key) {
        None => unknown(&format!("{table}.{key}"), name, problems),
        Some(variable) if variable.kind.takes(value) => layer.set(variable, value.clone()),
        Some(variable) => problems.add(
            format_args!("{} in {name}", variable.key),
            format_args!("expected {}", variable.kind),
        ),
    }
}

fn is_table(name: &str) -> bool {
    VARIABLES.iter().any(|variable| variable.path().0 == name)
}

fn unknown_table(table: &str, name: &str, problems: &mut Problems) {
    let subject = format!("[{}] in {name}", table.escape_debug());
    let mut known = VARIABLES.iter().map(|variable| variable.path().0);
    match known.find(|known| damerau_levenshtein(table, known) <= 2) {
        Some(known) => {
            problems.add(subject, format_args!("unknown table; did you mean [{known}]?"));
        }
        None => problems.add(subject, "unknown table; config/default.toml has them all"),
    }
}

fn unknown(key: &str, name: &str, problems: &mut Problems) {
    // A key may hold anything; it must not be able to write to the operator's terminal.
    let subject = format!("{} in {name}", key.escape_debug());
    if is_table(key) {
        return problems.add(subject, format_args!("this is a table, as in [{key}]"));
    }
    if let Some((_, use_this)) = SECRETS.iter().find(|(part, _)| key.contains(part)) {
        let problem = format_args!("secrets are not read from here; use {use_this}");
        return problems.add(subject, problem);
    }
    match nearest(key) {
        Some(known) => problems.add(subject, format_args!("unknown key; did you mean {known}?")),
        None => problems.add(subject, "unknown key; config/default.toml has them all"),
    }
}

/// The known key most like `key`, if it is enough alike: the same key in another table, or a few
/// letters off.
fn nearest(key: &str) -> Option<&'static str> {
    let bare = key.rsplit('.').next().unwrap_or(key);
    let distance = |variable: &&Variable| {
        let (_, known) = variable.path();
        damerau_levenshtein(key, variable.key).min(damerau_levenshtein(bare, known))
    };
    let nearest = VARIABLES.iter().min_by_key(distance)?;
    (distance(&nearest) <= bare.len().div_ceil(3)).then_some(nearest.key)
}

/// Parts of keys that somebody may take for the place of a secret, and where that belongs.
const SECRETS: &[(&str, &str)] = &[
    ("cluster_secret", "CLUSTER_SECRET_FILE or CLUSTER_SECRET"),
    ("bus.secret", "CLUSTER_SECRET_FILE or CLUSTER_SECRET"),
    ("secret", "JOIN_TOKEN_SECRET_FILE or JOIN_TOKEN_SECRET"),
    ("redis_url", "REDIS_URL_FILE or REDIS_URL"),
    ("bus.url", "REDIS_URL_FILE or REDIS_URL"),
    ("shards", "REDIS_SHARDS_FILE or REDIS_SHARDS"),
];

/// Longest file that is read, in bytes.
const FILE_LEN_MAX: u64 = 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn problems_of(text: &str) -> Vec<String> {
        let mut problems = Problems::default();
        parse(text, "x.toml", &mut problems);
        problems.into_error().problems().to_vec()
    }

    #[test]
    fn an_unknown_key_names_itself_its_file_and_the_nearest_known_one() {
        for (text, problem) in [
            (
                "[server]\nportt = 1",
                "server.portt in x.toml: unknown key; did you mean server.port?",
            ),
            ("port = 1", "port in x.toml: unknown key; did you mean server.port?"),
            (
                "[room]\npayload_bytes = 1",
                "room.payload_bytes in x.toml: unknown key; did you mean limit.payload_bytes?",
            ),
            ("[limits]\nstrikes = 1", "[limits] in x.toml: unknown table; did you mean [limit]?"),
            ("[colours]", "[colours] in x.toml: unknown table; config/default.toml has them all"),
            (
                "[server]\ncolour = 1",
                "server.colour in x.toml: unknown key; config/default.toml has them all",
            ),
            ("server = 1", "server in x.toml: this is a table, as in [server]"),
            (
                "[token]\nsecret = 'hunter2'",
                "token.secret in x.toml: secrets are not read from here; use \
                 JOIN_TOKEN_SECRET_FILE or JOIN_TOKEN_SECRET",
            ),
            (
                "[bus]\nsecret = 'hunter2'",
                "bus.secret in x.toml: secrets are not read from here; use CLUSTER_SECRET_FILE or \
                 CLUSTER_SECRET",
            ),
            (
                "[bus]\nurl = 'redis://:hunter2@a'",
                "bus.url in x.toml: secrets are not read from here; use REDIS_URL_FILE or REDIS_URL",
            ),
        ] {
            assert_eq!(problems_of(text), [problem]);
        }
    }

    #[test]
    fn every_wrong_value_is_reported_at_once() {
        let text = "[server]\nport = '80'\nhost = 'localhost'\ntrust_proxy = true\n\
                    [limit]\nstrikes = 0\n[feature]\ncors = 1\ndemo_page = 'on'";
        let problems = problems_of(text);
        assert_eq!(problems.len(), 6, "{problems:?}");
        let expected = "server.port in x.toml: expected a whole number from 0 to 65535";
        assert!(problems.contains(&expected.to_owned()), "{problems:?}");
    }

    #[test]
    fn a_syntax_error_says_where_and_quotes_nothing() {
        let problems = problems_of("[server]\nport = 1\nsecret = hunter2\n");
        assert_eq!(problems.len(), 1);
        assert!(problems[0].starts_with("x.toml: line 3 is not TOML: "), "{problems:?}");
        assert!(!problems[0].contains("hunter2"), "{problems:?}");
    }

    #[test]
    fn a_key_cannot_write_to_the_terminal() {
        let problems = problems_of("[server]\n\"\\u001b[2J\" = 1");
        assert_eq!(problems.len(), 1);
        assert!(!problems[0].contains('\u{1b}'), "{problems:?}");
    }
}
