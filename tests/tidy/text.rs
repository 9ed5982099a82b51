//! The project's files, and what can be read from them without a parser.
//!
//! Only as exact as the rules of `tests/tidy.rs` need it; `rustfmt` has made the code regular.

#![expect(clippy::panic, reason = "a test's way to fail")]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// One text file of the project.
pub(crate) struct File {
    /// Path from the root, with slashes.
    pub(crate) name: String,
    /// The whole content.
    pub(crate) text: String,
}

impl File {
    /// The top-level module that a source file belongs to.
    pub(crate) fn module(&self) -> String {
        let inside = self.name.trim_start_matches("src/");
        stem(inside.split('/').next().unwrap_or(inside)).to_owned()
    }

    /// Whether `super` is the crate here.
    pub(crate) fn is_top_level(&self) -> bool {
        let inside = self.name.trim_start_matches("src/");
        !inside.contains('/') || inside.ends_with("/mod.rs") && inside.matches('/').count() == 1
    }

    /// Lines of code: without unit tests, comments and empty lines. `tests.rs` has none.
    pub(crate) fn code(&self) -> impl Iterator<Item = &str> {
        let text = if self.name.ends_with("/tests.rs") { "" } else { &self.text };
        // Tests in a file of their own are named at the top, and the code comes behind.
        let in_place =
            |(at, mark): &(usize, &str)| !text[at + mark.len()..].starts_with("mod tests;");
        let end = text.match_indices("\n#[cfg(test)]\n").find(in_place);
        text[..end.map_or(text.len(), |(at, _)| at)]
            .lines()
            .map(|line| line.split(" // ").next().unwrap_or(line))
            .filter(|line| !line.trim().is_empty() && !line.trim_start().starts_with("//"))
    }

    /// The names that follow `prefix` in the code, also those of `prefix{a, b::c}`.
    pub(crate) fn uses_of(&self, prefix: &str) -> BTreeSet<String> {
        let code: Vec<&str> = self.code().collect();
        let code = code.join("\n");
        let mut names = BTreeSet::new();
        for (at, _) in code.match_indices(prefix) {
            if code[..at].ends_with(|c: char| c.is_alphanumeric() || "_:$".contains(c)) {
                continue;
            }
            let rest = &code[at + prefix.len()..];
            if rest.starts_with('{') {
                names.extend(heads_of_group(rest));
            } else {
                names.insert(leading_name(rest).to_owned());
            }
        }
        names.remove("");
        names
    }
}

/// The first names of the branches of `{a, b::{c, d}, e as f}`.
fn heads_of_group(text: &str) -> Vec<String> {
    let (mut depth, mut heads, mut at_head) = (0, Vec::new(), false);
    for (at, c) in text.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            break;
        }
        if depth == 1 && "{,".contains(c) {
            at_head = true;
        } else if at_head && !c.is_whitespace() {
            heads.push(leading_name(&text[at..]).to_owned());
            at_head = false;
        }
    }
    heads
}

fn leading_name(text: &str) -> &str {
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
    &text[..end]
}

/// Targets of `[text](target)` that are not on the web.
pub(crate) fn links(text: &str) -> impl Iterator<Item = &str> {
    text.split("](")
        .skip(1)
        .filter_map(|rest| rest.split([')', ' ']).next())
        .filter(|target| !target.contains("://") && !target.starts_with("mailto:"))
}

/// What stands in backticks, has no blank or pattern in it and starts with a folder of the project.
pub(crate) fn paths_in_backticks(text: &str) -> impl Iterator<Item = &str> {
    const FOLDERS: &[&str] =
        &["src/", "tests/", "sdk/", "web/", "docs/", "config/", "fuzz/", "examples/", ".ci/"];
    text.lines()
        .flat_map(|line| line.split('`').skip(1).step_by(2))
        .filter(|path| FOLDERS.iter().any(|folder| path.starts_with(folder)))
        .filter(|path| !path.contains([' ', '*', '<', '{', '…', ':']))
}

/// The anchors that a Markdown page gives to its headings.
pub(crate) fn anchors(document: &Path) -> BTreeSet<String> {
    let text = read(&document.to_string_lossy());
    let slug = |heading: &str| -> String {
        let kept = |c: &char| c.is_alphanumeric() || " -_".contains(*c);
        heading
            .to_lowercase()
            .chars()
            .filter(kept)
            .map(|c| if c == ' ' { '-' } else { c })
            .collect()
    };
    text.lines()
        .filter(|line| line.starts_with('#'))
        .map(|line| slug(line.trim_start_matches('#').trim()))
        .collect()
}

/// The first part of a path, without its extension.
pub(crate) fn stem(path: &str) -> &str {
    path.split(['/', '.']).next().unwrap_or(path)
}

/// The Rust files of a folder.
pub(crate) fn sources(folder: &str) -> Vec<File> {
    files(folder, &["rs"])
}

/// The project's files with one of these extensions; not what is built, fetched or hidden.
pub(crate) fn files(folder: &str, extensions: &[&str]) -> Vec<File> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(each) = folders.pop() {
        let Ok(entries) = fs::read_dir(&each) else { continue };
        for path in entries.flatten().map(|entry| entry.path()) {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if path.is_dir() {
                if !name.starts_with('.') && !["target", "node_modules"].contains(&&*name) {
                    folders.push(path);
                }
            } else if extensions.iter().any(|ext| path.extension().is_some_and(|e| e == *ext)) {
                found.push(File { name: from_root(&path), text: read_at(&path) });
            }
        }
    }
    assert!(!found.is_empty(), "{folder}: nothing to check");
    found.sort_by(|a, b| a.name.cmp(&b.name));
    found
}

/// Whether the project has a file or folder of this name.
pub(crate) fn exists(name: &Path) -> bool {
    root().join(name).exists()
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn from_root(path: &Path) -> String {
    path.strip_prefix(root()).unwrap_or(path).to_string_lossy().trim_start_matches("./").to_owned()
}

/// The text of one file.
pub(crate) fn read(name: &str) -> String {
    read_at(&root().join(name))
}

fn read_at(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
