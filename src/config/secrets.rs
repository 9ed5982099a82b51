//! Secrets: from the environment or from files that it names, straight into key material.
//!
//! They never pass through figment, whose values are copied, kept and printed in errors. A problem
//! with a secret names its variable and says nothing of its value; not even the path of a secret's
//! file is repeated, because a secret may have been put there by mistake.

use std::fs::File;
use std::io::Read as _;

use zeroize::Zeroizing;

use super::bus::{self, BusAccess};
use super::environment::Environment;
use super::error::{Note, Problems};
use super::origin::SecretState;
use super::schema::Config;
use crate::core::id::Kid;
use crate::core::secret::SecretBytes;
use crate::core::token::{Keys, SECRET_LEN_MIN, SigningKey};

/// A secret's two variables.
#[derive(Clone, Copy)]
pub(super) struct Names {
    /// Holds the secret itself.
    pub(super) plain: &'static str,
    /// Holds the path of a file with the secret.
    pub(super) file: &'static str,
}

const CURRENT: Names = Names { plain: "JOIN_TOKEN_SECRET", file: "JOIN_TOKEN_SECRET_FILE" };
const PREVIOUS: Names =
    Names { plain: "JOIN_TOKEN_SECRET_PREVIOUS", file: "JOIN_TOKEN_SECRET_PREVIOUS_FILE" };

/// Every variable that brings in a secret.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    [CURRENT, PREVIOUS].into_iter().chain(bus::NAMES).flat_map(|names| [names.plain, names.file])
}

/// A secret, and the variable that gave it.
pub(super) struct Given {
    pub(super) secret: SecretBytes,
    pub(super) by: &'static str,
}

/// Reads the secrets of join tokens and makes the keys from them, the current one first; and what it
/// takes to share rooms with other nodes, if that is configured.
///
/// Returns `None` when there is a problem with the keys, which is then among `problems`.
pub(super) fn all(
    config: &mut Config,
    environment: &Environment,
    problems: &mut Problems,
    notes: &mut Vec<Note>,
) -> Option<(Keys, Option<BusAccess>)> {
    let production = config.is_production();
    let current = read(&CURRENT, environment, problems);
    let previous = read(&PREVIOUS, environment, problems);
    for (given, names) in [(&current, CURRENT), (&previous, PREVIOUS)] {
        if let Ok(Some(given)) = given {
            check_strength(given, &names, production, problems, notes);
        }
    }
    let (current, previous) = (current.ok()?, previous.ok()?);
    config.origins.secrets = vec![
        (CURRENT.plain, state(current.as_ref(), !production)),
        (PREVIOUS.plain, state(previous.as_ref(), false)),
    ];
    check_rotation(config, current.as_ref(), previous.as_ref(), problems);
    let join = current.as_ref().map(|given| &given.secret);
    let access = bus::access(config, environment, join, problems, notes);
    Some((keys(config, current, previous, problems, notes)?, access))
}

/// Makes the keys of join tokens from their secrets.
fn keys(
    config: &Config,
    current: Option<Given>,
    previous: Option<Given>,
    problems: &mut Problems,
    notes: &mut Vec<Note>,
) -> Option<Keys> {
    let current = match current {
        Some(given) => given.secret,
        None if config.is_production() => {
            let how = how_to_make_one(&CURRENT);
            problems
                .add(CURRENT.plain, format_args!("production needs a secret of its own; {how}"));
            return None;
        }
        None => {
            notes.push(Note::RandomSecret);
            random(problems)?
        }
    };
    let key = |kid: &str, secret| {
        Kid::new(kid).map(|kid| SigningKey { kid, issuer: config.token.issuer.clone(), secret })
    };
    let mut list = vec![key(&config.token.kid, current)?];
    if let Some(given) = previous {
        list.push(key(&config.token.previous_kid, given.secret)?);
    }
    let keys = Keys::new(list);
    if let Err(error) = &keys
        && problems.is_empty()
    {
        // All that can be refused has been reported by name; this is for what that forgot.
        problems.add("join tokens", error);
    }
    keys.ok()
}

/// Reads one secret. `Ok(None)` is none; `Err` is a problem that was reported.
pub(super) fn read(
    names: &Names,
    environment: &Environment,
    problems: &mut Problems,
) -> Result<Option<Given>, ()> {
    let set = |name| environment.bytes(name).filter(|bytes| !bytes.is_empty());
    match (set(names.plain), set(names.file)) {
        (None, None) => Ok(None),
        (Some(bytes), None) => {
            Ok(Some(Given { secret: SecretBytes::new(bytes.to_vec()), by: names.plain }))
        }
        (None, Some(path)) => match read_file(path) {
            Ok(secret) => Ok(Some(Given { secret, by: names.file })),
            Err(problem) => {
                problems.add(names.file, problem);
                Err(())
            }
        },
        (Some(_), Some(_)) => {
            problems.add(names.plain, format_args!("{} is set as well; keep one", names.file));
            Err(())
        }
    }
}

fn read_file(path: &[u8]) -> Result<SecretBytes, String> {
    let path = std::str::from_utf8(path).map_err(|_| "the path is not UTF-8".to_owned())?;
    let read = |error| format!("cannot read the file that it names: {error}");
    let file = File::open(path).map_err(read)?;
    // Never grows, so that no copy is left behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(FILE_LEN_MAX * 2));
    let limit = u64::try_from(FILE_LEN_MAX + 1).expect("a few KiB");
    file.take(limit).read_to_end(&mut bytes).map_err(read)?;
    if bytes.len() > FILE_LEN_MAX {
        return Err(format!("the file that it names has more than {FILE_LEN_MAX} bytes"));
    }
    let line = bytes.strip_suffix(b"\n").map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let len = line.map_or(bytes.len(), <[u8]>::len);
    bytes.truncate(len);
    if bytes.is_empty() {
        return Err("the file that it names is empty".to_owned());
    }
    Ok(SecretBytes::new(std::mem::take(&mut *bytes)))
}

/// Refuses a secret that is too short or, in production, a placeholder.
pub(super) fn check_strength(
    given: &Given,
    names: &Names,
    production: bool,
    problems: &mut Problems,
    notes: &mut Vec<Note>,
) {
    let len = given.secret.len();
    let how = || how_to_make_one(names);
    if len < SECRET_LEN_MIN {
        problems.add(
            given.by,
            format_args!("{len} bytes are too few, it takes {SECRET_LEN_MIN}; {}", how()),
        );
    } else if !is_placeholder(given.secret.expose()) {
    } else if production {
        problems
            .add(given.by, format_args!("this is a placeholder that anyone can guess; {}", how()));
    } else {
        notes.push(Note::WeakSecret(given.by));
    }
}

fn check_rotation(
    config: &Config,
    current: Option<&Given>,
    previous: Option<&Given>,
    problems: &mut Problems,
) {
    match (config.token.previous_kid.is_empty(), previous) {
        (true, Some(given)) => problems.add(
            given.by,
            "it needs a name; set TOKEN_PREVIOUS_KID to the TOKEN_KID that it was used with",
        ),
        (false, None) => problems.add(
            "TOKEN_PREVIOUS_KID",
            format_args!("it needs a secret; set {} or {}", PREVIOUS.plain, PREVIOUS.file),
        ),
        (true, None) | (false, Some(_)) => {}
    }
    if let (Some(current), Some(previous)) = (current, previous)
        && current.secret == previous.secret
    {
        problems.add(previous.by, "it is the current secret; a rotation needs a new one");
    }
}

/// What may be said about a secret; `random` is whether one is made where none is set.
pub(super) fn state(given: Option<&Given>, random: bool) -> SecretState {
    match given {
        Some(given) => SecretState::Set(given.secret.len(), given.by),
        None if random => SecretState::Random,
        None => SecretState::None,
    }
}

fn random(problems: &mut Problems) -> Option<SecretBytes> {
    let mut bytes = vec![0; SECRET_LEN_MIN];
    if getrandom::fill(&mut bytes).is_err() {
        problems.add(CURRENT.plain, "the system has no random bytes to make one");
        return None;
    }
    Some(SecretBytes::new(bytes))
}

/// Whether a secret is an example text, a pattern or a keyboard walk.
///
/// Random secrets, as bytes, hexadecimal or base64, pass but for a chance of less than one in a
/// million.
fn is_placeholder(secret: &[u8]) -> bool {
    let lower = Zeroizing::new(secret.to_ascii_lowercase());
    let says = |word: &&str| lower.windows(word.len()).any(|window| window == word.as_bytes());
    let distinct = (0..=u8::MAX).filter(|byte| secret.contains(byte)).count();
    // Neighbours that are equal or one apart: "aaaa", "abcdefgh", "98765432".
    let steps = secret.iter().zip(secret.iter().skip(1));
    let steps = steps.filter(|(a, b)| a.abs_diff(**b) <= 1).count();
    // The same text again and again.
    let repeats = |period: usize| secret.iter().skip(period).zip(secret).all(|(a, b)| a == b);
    PLACEHOLDERS.iter().any(says)
        || distinct < DISTINCT_MIN
        || steps * 2 > secret.len()
        || (1..=secret.len() / 2).any(repeats)
}

/// Words that manuals put where a secret belongs. Shorter ones could be in a random secret.
const PLACEHOLDERS: &[&str] = &[
    "changeme",
    "change-me",
    "change_me",
    "change this",
    "change-this",
    "change_this",
    "default",
    "example",
    "generate",
    "insecure",
    "lethewire",
    "password",
    "placeholder",
    "replace",
    "secret",
    "your-key",
    "your_key",
    "qwerty",
    "letmein",
    "development",
    "production",
];

/// Fewer different bytes than this are a pattern.
const DISTINCT_MIN: usize = 6;

/// What to do about a secret that is missing or weak.
pub(super) fn how_to_make_one(Names { plain, file }: &Names) -> String {
    format!("make one with `openssl rand -base64 32` and set {file} or {plain}")
}

/// Longest file with a secret, in bytes.
const FILE_LEN_MAX: usize = 4096;

#[cfg(test)]
mod tests {
    use sha2::{Digest as _, Sha256};

    use super::*;
    use crate::core::id::to_base64url;

    #[test]
    fn placeholders_are_recognised() {
        for text in [
            "changeme-changeme-changeme-changeme",
            "please-CHANGE-ME-before-you-go-live!",
            "your-256-bit-secret-goes-here-1234567",
            "this_is_an_example_value_do_not_use_it",
            "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
            "00000000000000000000000000000000",
            "abababababababababababababababab",
            "0123456789abcdef0123456789abcdef",
            "abcdefghijklmnopqrstuvwxyz012345",
            "k3y!Wq9ZpLmk3y!Wq9ZpLmk3y!Wq9ZpLm",
        ] {
            assert!(is_placeholder(text.as_bytes()), "{text}");
        }
    }

    #[test]
    fn random_secrets_are_not() {
        // Hashes look random and are the same in every run.
        for seed in 0..10_000_u32 {
            let bytes: [u8; 32] = Sha256::digest(seed.to_be_bytes()).into();
            let hex = bytes.map(|b| format!("{b:02x}")).concat();
            let base64 = to_base64url(&bytes);
            assert!(!is_placeholder(&bytes), "{seed}");
            assert!(!is_placeholder(hex.as_bytes()), "{seed}");
            assert!(!is_placeholder(base64.as_bytes()), "{seed}");
        }
    }
}
