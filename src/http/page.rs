//! The built-in page and the SDK that it uses, compiled in and served from memory.
//!
//! A file that is listed here and missing does not compile; a test compares the folders with the
//! list, so a file that is there and not listed fails too. Everything is `no-store`: a page that
//! keeps secrets from the relay should always be the one that this relay was built with.

use hyper::StatusCode;

use super::{Answer, answer};

/// A file of the page.
#[derive(Clone, Copy)]
pub(super) struct File {
    name: &'static str,
    bytes: &'static [u8],
}

/// The file at a path, if there is one.
pub(super) fn file(path: &str) -> Option<File> {
    let name = path.strip_prefix('/')?;
    let (folder, name) = match name.strip_prefix("sdk/") {
        Some(name) => (SDK, name),
        None if name.is_empty() => (WEB, "index.html"),
        None => (WEB, name),
    };
    folder.iter().find(|file| file.name == name).copied()
}

impl File {
    pub(super) fn answer(self) -> Answer {
        answer(StatusCode::OK, media_type(self.name).unwrap_or("text/plain"), self.bytes)
    }
}

/// The type of a file, by its ending. Only these endings are served.
fn media_type(name: &str) -> Option<&'static str> {
    Some(match name.rsplit_once('.')?.1 {
        "html" => "text/html; charset=utf-8",
        "js" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "ico" => "image/x-icon",
        "woff2" => "font/woff2",
        "webmanifest" => "application/manifest+json",
        _ => return None,
    })
}

/// Lists the files of a folder of this package.
macro_rules! folder {
    ($folder:literal: $($name:literal)+) => {
        &[$(File {
            name: $name,
            bytes: include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/", $folder, "/", $name)),
        },)+]
    };
}

const WEB: &[File] = folder!(
    "web":
    "app.js"
    "chat.js"
    "dialogs.js"
    "icon.svg"
    "index.html"
    "names.js"
    "qr.js"
    "start.js"
    "stay.js"
    "style.css"
    "theme.js"
    "view.js"
    "words.js"
);

const SDK: &[File] = folder!(
    "sdk/src":
    "api.js"
    "bytes.js"
    "close.js"
    "connection.js"
    "errors.js"
    "events.js"
    "frame.js"
    "hello.js"
    "inbox.js"
    "index.js"
    "keys.js"
    "link.js"
    "message.js"
    "open.js"
    "outbox.js"
    "pace.js"
    "padding.js"
    "peer.js"
    "quarantine.js"
    "reconnect.js"
    "replay.js"
    "room.js"
    "roster.js"
    "sender.js"
    "session.js"
    "socket.js"
    "stream.js"
    "timers.js"
    "verify.js"
    "visit.js"
    "wire.js"
);

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use std::path::Path;

    #[test]
    fn the_lists_are_what_the_folders_hold() {
        for (folder, files) in [("web", WEB), ("sdk/src", SDK)] {
            let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
            let entries = std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap());
            let names = entries.map(|entry| entry.file_name().into_string().unwrap());
            let there: BTreeSet<_> = names.filter(|name| media_type(name).is_some()).collect();
            let listed: BTreeSet<_> = files.iter().map(|file| file.name.to_owned()).collect();
            assert_eq!(listed, there, "{folder}");
        }
    }

    #[test]
    fn only_the_files_of_the_page_are_found() {
        assert!(file("/").is_some_and(|file| file.name == "index.html"));
        assert!(file("/sdk/index.js").is_some_and(|file| file.name == "index.js"));
        for other in ["", "index.html", "/sdk", "/sdk/", "//", "/../Cargo.toml", "/package.json"] {
            assert!(file(other).is_none(), "{other}");
        }
    }

    /// What a page refers to: the text between one of `openings` and the next quote.
    fn references(text: &str, openings: &[&str]) -> Vec<String> {
        let found = openings.iter().flat_map(|opening| text.split(opening).skip(1));
        found.filter_map(|rest| rest.split(['\'', '"']).next()).map(str::to_owned).collect()
    }

    #[test]
    fn whatever_a_file_refers_to_is_served() {
        let mut checked = 0;
        for (base, files) in [("/", WEB), ("/sdk/", SDK)] {
            for from in files {
                let openings: &[_] = match from.name.rsplit_once('.') {
                    Some((_, "js")) => &["from '", "import '"],
                    Some((_, "html")) => &["src=\"", "href=\""],
                    _ => continue,
                };
                let text = std::str::from_utf8(from.bytes).unwrap();
                for reference in references(text, openings) {
                    if reference.starts_with('#') {
                        continue;
                    }
                    let path = format!("{base}{}", reference.trim_start_matches("./"));
                    assert!(file(&path).is_some(), "{}: {reference}", from.name);
                    checked += 1;
                }
            }
        }
        assert!(checked > 20, "{checked}");
    }

    #[test]
    fn every_file_has_a_type() {
        for file in WEB.iter().chain(SDK) {
            assert!(media_type(file.name).is_some(), "{}", file.name);
        }
    }
}
