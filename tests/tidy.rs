//! Rules about the project that no lint knows: the order of the modules, a pure core, documents
//! that say what the code says.
//!
//! Everything is read as text, so that a rule is one function of a few lines. A rule gathers all it
//! has to say before it fails.

#![expect(clippy::panic, reason = "a test's way to fail")]

#[path = "tidy/text.rs"]
mod text;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::text::{anchors, exists, files, links, paths_in_backticks, read, sources, stem};

/// The library's modules; each uses only those of the groups before its own.
const GROUPS: &[&[&str]] = &[
    &["core"],
    &["clock"],
    &["outbox"],
    &["metrics"],
    &["config"],
    &["bus"],
    &["telemetry", "admission"],
    &["hub"],
    &["conn"],
    &["http"],
    &["server"],
    &["fuzzing", "cli"],
    &["lib", "main"],
];

/// The same inside `core`: each uses only those before it.
const CORE: &[&str] = &[
    "id",
    "secret",
    "limit",
    "close",
    "token",
    "upgrade",
    "admission",
    "record",
    "frame",
    "wire",
    "entry",
    "order",
    "room",
    "cost",
];

/// What the core must not mention: the runtime, the network, the clock, randomness, locks, logs.
const NOT_IN_CORE: &[&str] = &[
    "tokio",
    "hyper",
    "fastwebsockets",
    "std::env",
    "std::fs",
    "std::net",
    "std::sync",
    "std::thread",
    "Instant::now",
    "SystemTime",
    "rand::",
    "getrandom",
    "tracing",
    "println!",
    "async ",
    ".await",
];

/// Crates that only some modules may name, so that replacing one is a change in one place.
const ONLY_IN: &[(&str, &[&str])] = &[
    ("fastwebsockets", &["cli"]),
    ("hyper", &["http", "server", "cli"]),
    ("hyper_util", &["http", "server", "cli"]),
    ("figment", &["config"]),
    ("clap", &["cli"]),
    ("prometheus_client", &["metrics", "cli"]),
    ("redis", &["bus"]),
    ("aes_gcm", &["bus"]),
    ("tracing_subscriber", &["config", "telemetry"]),
];

/// Longest file, in lines of code. Above this, a file has two subjects.
const CODE_LINES_MAX: usize = 400;

#[test]
fn modules_use_only_what_is_before_them() {
    let mut problems = Vec::new();
    for file in sources("src") {
        let module = file.module();
        let own = group_of(&module).unwrap_or_else(|| panic!("`{module}` has no place in GROUPS"));
        let library = if module == "main" { "lethewire::" } else { "crate::" };
        for used in file.uses_of(library) {
            let allowed = used == module || group_of(&used).is_some_and(|group| group < own);
            if !allowed && module != "lib" {
                problems.push(format!("{}: uses `{used}`", file.name));
            }
        }
        if file.is_top_level() && file.code().any(|line| line.contains("super::")) {
            problems.push(format!("{}: climbs out with `super::`; say `crate::`", file.name));
        }
        if file.code().any(|line| line.contains("super::super")) {
            problems.push(format!("{}: climbs twice; say `crate::`", file.name));
        }
    }
    none(&problems);
}

#[test]
fn the_parts_of_the_core_use_only_what_is_before_them() {
    let mut problems = Vec::new();
    for file in sources("src/core").iter().filter(|file| file.name != "src/core/mod.rs") {
        let part = stem(file.name.trim_start_matches("src/core/"));
        let own = CORE.iter().position(|&name| name == part);
        let own = own.unwrap_or_else(|| panic!("`core::{part}` has no place in CORE"));
        let up = if file.name.matches('/').count() == 2 { "super::" } else { "super::super::" };
        for used in file.uses_of("crate::core::").into_iter().chain(file.uses_of(up)) {
            if let Some(place) = CORE.iter().position(|&name| name == used)
                && place > own
            {
                problems.push(format!("{}: uses `{used}`", file.name));
            }
        }
    }
    none(&problems);
}

#[test]
fn the_core_is_pure() {
    let mut problems = Vec::new();
    for file in sources("src/core") {
        for line in file.code() {
            for banned in NOT_IN_CORE.iter().filter(|&&banned| line.contains(banned)) {
                problems.push(format!("{}: `{banned}` in: {line}", file.name));
            }
        }
    }
    none(&problems);
}

#[test]
fn a_crate_is_named_only_where_it_belongs() {
    let mut problems = Vec::new();
    for file in sources("src") {
        for (name, modules) in ONLY_IN.iter().filter(|(_, m)| !m.contains(&&*file.module())) {
            let names_it = |line: &str| {
                let paths = [format!("{name}::"), format!("use {name};"), format!("{name} as ")];
                paths.iter().any(|path| starts_a_word(line, path))
            };
            if let Some(line) = file.code().find(|line| names_it(line)) {
                problems.push(format!("{}: only {modules:?} may say: {line}", file.name));
            }
        }
    }
    none(&problems);
}

#[test]
fn every_module_explains_itself_and_has_one_subject() {
    let mut problems = Vec::new();
    for file in ["src", "tests", "examples", "fuzz"].into_iter().flat_map(sources) {
        if !file.text.starts_with("//! ") {
            problems.push(format!("{}: does not start with a module comment", file.name));
        }
        let lines = file.code().count();
        if lines > CODE_LINES_MAX {
            problems.push(format!("{}: {lines} lines of code", file.name));
        }
    }
    none(&problems);
}

#[test]
fn no_test_waits_by_the_clock() {
    // Taken apart, so that this file does not find itself.
    let calls = [concat!("sle", "ep("), concat!("sle", "ep_until("), concat!("waitFor", "Timeout")];
    let command = concat!("sle", "ep ");
    let mut problems = Vec::new();
    for folder in ["tests", "sdk/test", "web/test"] {
        for file in files(folder, &["rs", "js", "py", "sh"]) {
            for (line, number) in file.text.lines().map(str::trim).zip(1..) {
                if line.starts_with(command) || calls.iter().any(|call| line.contains(call)) {
                    problems.push(format!("{}:{number}: {line}", file.name));
                }
            }
        }
    }
    none(&problems);
}

#[test]
fn every_dependency_has_its_reason() {
    let mut problems = Vec::new();
    for manifest in files(".", &["toml"]).iter().filter(|f| f.name.ends_with("Cargo.toml")) {
        let (mut inside, mut count) = (false, 0);
        for line in manifest.text.lines() {
            if line.starts_with('[') {
                inside = line.contains("dependencies");
            } else if inside && line.contains('=') {
                count += 1;
                let reason = line.rsplit_once(" # ").map_or("", |(_, reason)| reason);
                if !reason.ends_with('.') {
                    problems.push(format!("{}: no reason in a sentence: {line}", manifest.name));
                }
            }
        }
        assert!(count > 0, "{}: no dependency found", manifest.name);
    }
    none(&problems);
}

#[test]
fn code_document_and_sdk_list_the_same_close_codes() {
    let code = close_codes_of_the_relay();
    assert!(code.len() > 20, "the relay's close codes were not found");
    assert_eq!(close_codes_in_tables(&read("docs/protocol.md")), code, "docs/protocol.md");
    assert_eq!(close_codes_of_the_sdk(&read("sdk/src/close.js")), code, "sdk/src/close.js");
}

/// Variables that bring in secrets are in no file of settings.
const SECRETS: [&str; 4] = ["JOIN_TOKEN_SECRET", "CLUSTER_SECRET", "REDIS_URL", "REDIS_SHARDS"];

#[test]
fn the_production_template_names_every_variable() {
    let known = variables(&read("config/default.toml"));
    assert!(known.len() > 50, "variables were not found in config/default.toml");
    let template = read(".env.production");
    let (secrets, named): (BTreeSet<_>, BTreeSet<_>) = template
        .lines()
        .filter_map(|line| line.trim_start_matches(['#', ' ']).split_once('='))
        .map(|(name, _)| name.to_owned())
        .filter(|name| is_variable(name))
        .partition(|name| SECRETS.iter().any(|secret| name.starts_with(secret)));
    assert_eq!(named, known);
    for secret in SECRETS {
        assert!(secrets.contains(&format!("{secret}_FILE")), "how {secret} gets in");
    }
}

#[test]
fn links_and_paths_in_documents_lead_somewhere() {
    let mut problems = Vec::new();
    let documents = files(".", &["md"]);
    assert!(!documents.is_empty(), "no document found");
    for document in &documents {
        let folder = Path::new(&document.name).parent().unwrap_or_else(|| Path::new(""));
        for target in links(&document.text) {
            let (path, anchor) = target.split_once('#').unwrap_or((target, ""));
            let linked =
                if path.is_empty() { document.name.clone().into() } else { folder.join(path) };
            if !exists(&linked) {
                problems.push(format!("{}: no such file: {target}", document.name));
            } else if !anchor.is_empty() && !anchors(&linked).contains(anchor) {
                problems.push(format!("{}: no such heading: {target}", document.name));
            }
        }
        for path in paths_in_backticks(&document.text) {
            if !exists(Path::new(path)) {
                problems.push(format!("{}: no such file: `{path}`", document.name));
            }
        }
    }
    none(&problems);
}

fn group_of(module: &str) -> Option<usize> {
    GROUPS.iter().position(|group| group.contains(&module))
}

/// Whether `word` stands in the line and is not the end of a longer name.
fn starts_a_word(line: &str, word: &str) -> bool {
    line.match_indices(word)
        .any(|(at, _)| !line[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_'))
}

fn close_codes_of_the_relay() -> BTreeMap<u16, String> {
    let text = read("src/core/close.rs");
    let mut numbers = BTreeMap::new();
    let mut names = BTreeMap::new();
    for line in text.lines().map(str::trim) {
        if let Some((variant, number)) = line.trim_end_matches(',').split_once(" = ")
            && let Ok(number) = number.parse::<u16>()
        {
            numbers.insert(variant.to_owned(), number);
        } else if let Some((variant, name)) = line.split_once(" => \"") {
            names.insert(variant.trim_start_matches("Self::").to_owned(), name.to_owned());
        }
    }
    let name_of = |variant: &String| match names.get(variant) {
        Some(name) => name.trim_end_matches("\",").to_owned(),
        None => panic!("Close::{variant} has no name"),
    };
    for variant in numbers.keys() {
        assert!(text.contains(&format!("        Self::{variant},\n")), "{variant} is not in ALL");
    }
    numbers.iter().map(|(variant, &number)| (number, name_of(variant))).collect()
}

/// Codes of a Markdown table whose rows start with `| 4000 | bad_frame |`.
fn close_codes_in_tables(text: &str) -> BTreeMap<u16, String> {
    let cell = |cell: &str| cell.trim().trim_matches(['`', '*']).to_owned();
    text.lines()
        .filter(|line| line.starts_with('|'))
        .filter_map(|line| {
            let mut cells = line.split('|').skip(1).map(cell);
            let number = cells.next()?.parse().ok().filter(|n| (1000..5000).contains(n))?;
            Some((number, cells.next()?))
        })
        .collect()
}

/// Codes of a `Map` whose entries look like `[4000, 'bad_frame'],`.
fn close_codes_of_the_sdk(text: &str) -> BTreeMap<u16, String> {
    text.lines()
        .filter_map(|line| {
            let (number, name) = line.trim().strip_prefix('[')?.split_once(", '")?;
            Some((number.parse().ok()?, name.strip_suffix("'],")?.to_owned()))
        })
        .collect()
}

/// The variables that comments name in brackets.
fn variables(text: &str) -> BTreeSet<String> {
    text.lines()
        .filter(|line| line.starts_with('#'))
        .filter_map(|line| line.trim_end().strip_suffix(']')?.rsplit_once('['))
        .map(|(_, name)| name.to_owned())
        .filter(|name| is_variable(name))
        .collect()
}

fn is_variable(name: &str) -> bool {
    name.len() > 3 && name.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_')
}

fn none(problems: &[String]) {
    assert!(problems.is_empty(), "\n{}", problems.join("\n"));
}
