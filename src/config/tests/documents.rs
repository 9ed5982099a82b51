//! The two documents of the configuration, `config/default.toml` and `.env.production`, say the same
//! as the table of variables.

use std::collections::BTreeMap;

use super::*;

const ENV_PRODUCTION: &str = include_str!("../../../.env.production");

#[test]
fn the_table_of_variables_has_every_key_in_the_order_of_the_document() {
    let keys: Vec<_> = default_toml().into_iter().map(|entry| entry.key).collect();
    let table: Vec<_> = VARIABLES.iter().map(|variable| variable.key).collect();
    assert_eq!(keys, table);
    let mut names: Vec<_> = VARIABLES.iter().map(|variable| variable.name).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), VARIABLES.len(), "a name is used twice");
}

#[test]
fn every_key_says_what_it_is_its_variable_and_its_range() {
    for (entry, variable) in default_toml().into_iter().zip(VARIABLES) {
        let key = variable.key;
        let comment = entry.comment.strip_suffix(&format!(" [{}]", variable.name));
        let comment = comment.unwrap_or_else(|| panic!("{key}: its variable comes last"));
        assert!(comment.len() > 20 && comment.ends_with('.'), "{key}: {comment}");
        if let Kind::Integer(min, max) = variable.kind {
            assert!(comment.contains(&format!("{min} to {max}")), "{key}: {comment}");
        }
        let unit = [
            ("_s", "econds"),
            ("_ms", "illiseconds"),
            ("bytes", "ytes"),
            ("per_10s", "per 10 seconds"),
            ("per_min", "per minute"),
        ];
        for (ending, unit) in unit {
            let rate = key.ends_with("per_s");
            assert!(!key.ends_with(ending) || rate || comment.contains(unit), "{key}: {comment}");
        }
    }
}

#[test]
fn the_production_template_lists_every_variable_with_its_default_and_its_meaning() {
    let default = shown(&Config::default());
    let mut template = env_production();
    for (entry, variable) in default_toml().into_iter().zip(VARIABLES) {
        let name = variable.name;
        let line = template.remove(name).unwrap_or_else(|| panic!("{name} is missing"));
        let default = to_env(default.find_ref(variable.key).unwrap());
        let meaning = entry.comment.strip_suffix(&format!(" [{name}]")).unwrap();
        if line.active {
            assert_ne!(line.value, default, "{name}: a default needs no line of its own");
            assert_eq!(line.comment, format!("{meaning} Default: {default}"), "{name}");
        } else {
            assert_eq!(line.value, default, "{name}");
            assert_eq!(line.comment, meaning, "{name}");
        }
    }
    for name in secrets::names() {
        let line = template.remove(name).unwrap_or_else(|| panic!("{name} is missing"));
        assert!(!line.active && line.value.is_empty() && line.comment.len() > 20, "{name}");
    }
    assert!(template.is_empty(), "not variables: {:?}", template.keys());
}

#[test]
fn the_production_template_starts_as_soon_as_there_is_a_secret_and_not_before() {
    let template = env_production();
    let pairs = template.iter().filter(|(_, line)| line.active);
    let mut pairs: Vec<_> =
        pairs.map(|(name, line)| (name.as_str(), line.value.as_str())).collect();
    let problems = problems_of(load(None, &Environment::of(pairs.iter().copied())));
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert!(problems[0].starts_with("JOIN_TOKEN_SECRET: "), "{problems:?}");
    pairs.push(("JOIN_TOKEN_SECRET", SECRET));
    let config = load(None, &Environment::of(pairs)).unwrap().config;
    assert!(config.is_production());
}

/// A key of `config/default.toml` and the words above it.
struct Entry {
    key: String,
    comment: String,
}

fn default_toml() -> Vec<Entry> {
    let (mut table, mut comment, mut entries) = (String::new(), Vec::new(), Vec::new());
    for line in DEFAULT_TOML.lines() {
        if let Some(words) = line.strip_prefix("# ") {
            comment.push(words);
            continue;
        }
        if let Some((key, _)) = line.split_once(" = ") {
            entries.push(Entry { key: format!("{table}.{key}"), comment: comment.join(" ") });
        } else if let Some(name) = line.strip_prefix('[') {
            name.trim_end_matches(']').clone_into(&mut table);
        }
        comment.clear();
    }
    entries
}

/// A variable of `.env.production`.
struct Line {
    active: bool,
    value: String,
    comment: String,
}

fn env_production() -> BTreeMap<String, Line> {
    let (mut comment, mut lines) = (Vec::new(), BTreeMap::new());
    for line in ENV_PRODUCTION.lines() {
        if let Some(words) = line.strip_prefix("# ") {
            comment.push(words);
            continue;
        }
        let active = !line.starts_with('#');
        if let Some((name, value)) = line.trim_start_matches('#').split_once('=') {
            let line = Line { active, value: value.to_owned(), comment: comment.join(" ") };
            assert!(lines.insert(name.to_owned(), line).is_none(), "{name} is there twice");
        }
        comment.clear();
    }
    lines
}

/// A value as the environment spells it.
fn to_env(value: &Value) -> String {
    match value {
        Value::String(_, text) => text.clone(),
        Value::Array(_, items) => items.iter().map(to_env).collect::<Vec<_>>().join(","),
        other => show::to_toml(other),
    }
}
