//! Replays the committed corpus of every fuzz target: a crash, once found, stays found.

#![expect(clippy::print_stdout, reason = "tells which file it was when a property fails")]

use std::fs;
use std::path::Path;

use lethewire::fuzzing;

#[test]
fn config() {
    replay("config", fuzzing::config);
}

#[test]
fn control() {
    replay("control", fuzzing::control);
}

#[test]
fn entry() {
    replay("entry", fuzzing::entry);
}

#[test]
fn frame() {
    replay("frame", fuzzing::frame);
}

#[test]
fn proxy() {
    replay("proxy", fuzzing::proxy);
}

#[test]
fn rooms() {
    replay("rooms", fuzzing::rooms);
}

#[test]
fn token() {
    replay("token", fuzzing::token);
}

#[test]
fn wire() {
    replay("wire", fuzzing::wire);
}

#[test]
fn every_target_is_replayed() {
    let here = include_str!("corpus.rs");
    for entry in fs::read_dir(root().join("fuzz/fuzz_targets")).expect("the targets are there") {
        let path = entry.expect("a readable folder").path();
        let target = path.file_stem().expect("a file has a name").to_string_lossy().into_owned();
        assert!(here.contains(&format!("replay(\"{target}\"")), "{target} is not replayed");
    }
}

/// Runs the property over each file.
fn replay(target: &str, property: fn(&[u8])) {
    let mut files = 0;
    for entry in fs::read_dir(root().join("fuzz/corpus").join(target)).expect("a corpus is there") {
        let path = entry.expect("a readable folder").path();
        println!("{}", path.display());
        property(&fs::read(path).expect("a readable file"));
        files += 1;
    }
    assert!(files > 0, "the corpus of {target} is empty");
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
