//! What somebody has to say about a workload, kept in `bench/notes.md`: a heading with its name, and
//! below it the text, which the report puts under the workload's table.

use std::fs;
use std::path::Path;

/// See the module's text.
pub(super) struct Notes(Vec<(String, String)>);

impl Notes {
    /// Reads the file; without one there is nothing to say.
    pub(super) fn read(root: &Path) -> Self {
        Self::parse(&fs::read_to_string(root.join("bench/notes.md")).unwrap_or_default())
    }

    fn parse(text: &str) -> Self {
        let sections = text.split("\n## ").skip(1);
        let split = sections.filter_map(|section| section.split_once('\n'));
        Self(split.map(|(name, text)| (name.trim().into(), text.trim().into())).collect())
    }

    /// What there is to say about this, as a paragraph of its own.
    pub(super) fn of(&self, name: &str) -> String {
        let said = self.0.iter().find(|(of, text)| of == name && !text.is_empty());
        said.map_or_else(String::new, |(_, text)| format!("\n{text}\n"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_is_found_by_its_heading() {
        let notes =
            Notes::parse("# Notes\n\n## W1\n\nfirst\n\nsecond\n\n## W2\n\n## growth-rooms\nlast\n");
        assert_eq!(notes.of("W1"), "\nfirst\n\nsecond\n");
        assert_eq!(notes.of("W2"), "");
        assert_eq!(notes.of("growth-rooms"), "\nlast\n");
        assert_eq!(notes.of("W"), "");
    }
}
