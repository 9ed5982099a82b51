//! Configuration: whatever is taken fits together and can be printed and read again; whatever is
//! refused is refused without repeating a value.

use crate::config::{Config, Environment, load};

/// A configuration that is taken keeps the rules between its values, and what
/// [`Config::redacted`] prints of it gives the same configuration. Of an environment, no value is in
/// an error or a note, and no secret is in anything that is printed.
///
/// The first byte chooses between a file and an environment of lines `NAME=value`.
///
/// # Panics
///
/// When the property does not hold.
pub fn config(data: &[u8]) {
    let Some((variant, input)) = data.split_first() else { return };
    let Ok(text) = std::str::from_utf8(input) else { return };
    if variant % 2 == 0 { of_file(text) } else { of_environment(text) }
}

fn of_file(text: &str) {
    match Config::from_toml(text) {
        Ok(config) => fits(&config),
        Err(error) => assert!(!error.problems().is_empty(), "refused without a reason"),
    }
}

fn of_environment(text: &str) {
    let pairs = text.lines().filter_map(|line| line.split_once('='));
    // The name of a secret's file would make this read any file of the machine.
    let pairs: Vec<_> =
        pairs.filter(|(name, _)| !name.ends_with("_FILE") && !name.contains(MARK)).collect();
    match load(None, &Environment::of(pairs.iter().copied())) {
        Err(error) => {
            assert!(!error.problems().is_empty(), "refused without a reason");
            assert!(!error.to_string().contains(MARK), "an error repeats a value");
        }
        Ok(loaded) => {
            let notes: String = loaded.notes.iter().map(ToString::to_string).collect();
            assert!(!notes.contains(MARK), "a note repeats a value");
            let shown = loaded.config.redacted();
            let is_secret = |name: &str| name.starts_with("JOIN_TOKEN_SECRET");
            let elsewhere = pairs.iter().any(|(name, v)| !is_secret(name) && v.contains(MARK));
            assert!(elsewhere || !shown.contains(MARK), "a secret is printed");
            fits(&loaded.config);
        }
    }
}

fn fits(config: &Config) {
    let Config { limit, room, token, .. } = config;
    assert!(limit.payload_bytes <= limit.bytes_per_10s, "the largest message can never be sent");
    assert!(limit.payload_bytes < limit.outbox_bytes, "the largest message can never be queued");
    assert!(limit.bytes_per_10s <= limit.raw_bytes_per_10s, "the meter is below the quota");
    assert!(limit.messages_per_10s <= limit.frames_per_10s, "the meter is below the quota");
    assert!(room.idle_s <= room.ttl_s, "idles longer than it lives");
    assert!(!room.padding.is_empty() && room.padding.is_sorted(), "buckets are not in order");
    assert!(room.padding.iter().all(|size| *size <= limit.payload_bytes), "a bucket is too large");
    assert!(token.ttl_s <= token.ttl_max_s, "mints what it refuses");
    if config.is_production() {
        assert!(!config.demo_page(), "the demo page in production");
        assert!(!config.cors.allowed_origins.iter().any(|o| o == "*"), "any origin in production");
    }
    let mut again = Config::from_toml(&config.redacted()).expect("what is printed can be read");
    again.origins = config.origins.clone();
    assert_eq!(again, *config, "what is printed is something else");
}

/// A character that no text of ours has, so that finding it means finding a value.
const MARK: char = '§';
