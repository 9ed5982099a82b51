//! Which commit a program was built from. `bench/run.sh` writes it down beside the program right
//! after the build, together with the program's SHA-256, so that neither a later commit nor a later
//! build by somebody else can pass for it.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use crate::Fault;
use crate::process::said_by;

/// What stands for a commit that nobody wrote down.
pub const UNKNOWN: &str = "unknown";

/// Writes down that this program was built from the tree as it is.
///
/// # Errors
///
/// The program cannot be read, or its note cannot be written.
pub fn note(program: &Path) -> Result<(), Fault> {
    let commit = said_by("git", &["rev-parse", "--short=12", "HEAD"]);
    // What the report writes is no part of the program.
    let changed = said_by(
        "git",
        &["status", "--porcelain", "--", ".", ":!BENCHMARKS.md", ":!docs", ":!bench/notes.md"],
    );
    let dirty = if changed.is_empty() { "" } else { "-dirty" };
    fs::write(file_of(program), format!("{} {commit}{dirty}\n", hash(program)?))?;
    Ok(())
}

/// The commit that this program was built from; [`UNKNOWN`] if nobody wrote it down, or wrote it down
/// of another program.
pub fn commit_of(program: &Path) -> String {
    let note = fs::read_to_string(file_of(program)).unwrap_or_default();
    let noted = note.trim().split_once(' ').filter(|(noted, commit)| {
        hash(program).is_ok_and(|hash| hash == **noted) && !commit.is_empty()
    });
    noted.map_or(UNKNOWN, |(_, commit)| commit).to_owned()
}

fn file_of(program: &Path) -> PathBuf {
    program.with_extension("built")
}

fn hash(program: &Path) -> Result<String, Fault> {
    let mut text = String::new();
    for byte in Sha256::digest(fs::read(program)?) {
        let _ = write!(text, "{byte:02x}");
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_is_about_one_build_only() {
        let folder = std::env::temp_dir().join(format!("lethewire-built-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let program = folder.join("program");
        fs::write(&program, "first").unwrap();
        assert_eq!(commit_of(&program), UNKNOWN);
        note(&program).unwrap();
        assert_ne!(commit_of(&program), UNKNOWN);
        fs::write(&program, "second").unwrap();
        assert_eq!(commit_of(&program), UNKNOWN);
        fs::remove_dir_all(&folder).unwrap();
    }
}
