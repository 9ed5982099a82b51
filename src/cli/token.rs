//! `lethewire token`: makes join tokens, and explains them.

use std::fmt::{self, Write as _};
use std::io::Read as _;
use std::path::Path;
use std::process::ExitCode;

use serde_json::{Map, Value};
use zeroize::Zeroizing;

use super::{UNUSABLE_CONFIGURATION, complain, loaded, print};
use crate::clock;
use crate::config::{Loaded, Note};
use crate::core::id::{Jti, RoomId};
use crate::core::limit::UnixSeconds;
use crate::core::token::{Cap, LIFETIME_HARD_MAX_S, SESSION_MAX_S, TokenError, explain};
use crate::telemetry::rfc3339;

#[derive(clap::Subcommand)]
pub(super) enum Command {
    /// Make a join token with the configured secret and print it.
    ///
    /// The token works once, until it expires. In open mode the room must exist, as the relay alone
    /// makes rooms there; with ROOM_ADMISSION=backend capability c makes it.
    Mint(Mint),
    /// Explain a token: its header, claims and times, and the first check that it fails.
    ///
    /// Exits with 0 if this relay's configuration would accept it now, and with 1 if not. Whether it
    /// was used before only a running relay knows.
    Inspect(Inspect),
}

#[derive(clap::Args)]
pub(super) struct Mint {
    /// The room: base64url of 16 to 32 bytes, or "new" for a random one, which is then printed on
    /// standard error.
    #[arg(long)]
    room: String,

    /// What the bearer may do: letters of s (send), r (receive), o (owner), c (create).
    #[arg(long, default_value = "sr")]
    cap: String,

    /// Seconds until it expires; TOKEN_TTL_S if left out, TOKEN_TTL_MAX_S at most.
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=LIFETIME_HARD_MAX_S))]
    ttl: Option<u64>,

    /// Seconds that the session may last; as long as the room if left out.
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..=i64::from(SESSION_MAX_S)))]
    session: Option<u32>,
}

#[derive(clap::Args)]
pub(super) struct Inspect {
    /// The token, or "-" to read it from standard input, where other users of this machine cannot
    /// see it.
    #[arg(default_value = "-", hide_default_value = true)]
    token: String,
}

pub(super) fn run(command: Command, file: Option<&Path>) -> ExitCode {
    let loaded = match loaded(file) {
        Ok(loaded) => loaded,
        Err(code) => return code,
    };
    match command {
        Command::Mint(args) => match mint(&args, &loaded) {
            Ok(token) => {
                print(&*token);
                ExitCode::SUCCESS
            }
            Err(refusal) => {
                complain(refusal.text);
                ExitCode::from(refusal.code)
            }
        },
        Command::Inspect(Inspect { token }) => {
            let token = if token == "-" { read_token() } else { Ok(Zeroizing::new(token)) };
            match token {
                Ok(token) => {
                    let report = inspect(token.trim(), &loaded, clock::unix_now());
                    print(report.text.trim_end());
                    if report.accepted { ExitCode::SUCCESS } else { ExitCode::FAILURE }
                }
                Err(error) => {
                    complain(format_args!("cannot read a token from standard input: {error}"));
                    ExitCode::FAILURE
                }
            }
        }
    }
}

/// Why no token was made.
struct Refusal {
    text: String,
    code: u8,
}

impl Refusal {
    fn usage(text: impl Into<String>) -> Self {
        Self { text: text.into(), code: 2 }
    }
}

fn mint(args: &Mint, loaded: &Loaded) -> Result<Zeroizing<String>, Refusal> {
    let Loaded { config, keys, .. } = loaded;
    if has_random_secret(loaded) {
        let text = "JOIN_TOKEN_SECRET is not set, so no relay would accept the token; set it, or \
                    JOIN_TOKEN_SECRET_FILE, to what the relay has";
        return Err(Refusal { text: text.to_owned(), code: UNUSABLE_CONFIGURATION });
    }
    let cap = Cap::parse(&args.cap)
        .ok_or_else(|| Refusal::usage("--cap: expected distinct letters of s, r, o and c"))?;
    let longest = u64::from(config.token.ttl_max_s);
    let ttl_s = args.ttl.unwrap_or_else(|| u64::from(config.token.ttl_s));
    if ttl_s > longest {
        return Err(Refusal::usage(format!("--ttl: TOKEN_TTL_MAX_S allows {longest} at most")));
    }
    let room = if args.room == "new" {
        let room = RoomId::new(&random::<16>()?).expect("16 bytes are a room's name");
        complain(format_args!("the new room is {}", room.to_base64url()));
        room
    } else {
        RoomId::from_base64url(&args.room)
            .ok_or_else(|| Refusal::usage("--room: expected base64url of 16 to 32 bytes, or new"))?
    };
    let jti = Jti::from_bytes(random()?);
    let policy = config.token.policy();
    Ok(keys.mint(&policy, &room, cap, ttl_s, args.session, jti, clock::unix_now()))
}

fn random<const N: usize>() -> Result<[u8; N], Refusal> {
    let mut bytes = [0; N];
    match getrandom::fill(&mut bytes) {
        Ok(()) => Ok(bytes),
        Err(_) => Err(Refusal { text: "the system has no random bytes".to_owned(), code: 1 }),
    }
}

fn has_random_secret(loaded: &Loaded) -> bool {
    loaded.notes.contains(&Note::RandomSecret)
}

fn read_token() -> std::io::Result<Zeroizing<String>> {
    let mut token = Zeroizing::new(String::new());
    std::io::stdin().take(INPUT_LEN_MAX).read_to_string(&mut token)?;
    Ok(token)
}

/// Longest input that is explained, in bytes.
const INPUT_LEN_MAX: u64 = 64 * 1024;

/// What there is to say about a token.
struct Report {
    text: String,
    accepted: bool,
}

/// Explains a token, which may be anything at all.
fn inspect(token: &str, loaded: &Loaded, now: UnixSeconds) -> Report {
    let explained = explain(token);
    let mut text = String::new();
    section(&mut text, "Header", explained.header.as_deref(), |_, _| None);
    section(&mut text, "Claims", explained.claims.as_deref(), |name, value| {
        gloss(name, value, now)
    });
    match explained.signature_bytes {
        Some(bytes) => append(&mut text, format_args!("Signature\n  {bytes} bytes\n")),
        None => append(&mut text, format_args!("Signature\n  none, or not base64url\n")),
    }
    let verdict = loaded.keys.verify(&loaded.config.token.policy(), token, now);
    let accepted = verdict.is_ok();
    append(&mut text, format_args!("\n{}\n", Verdict(verdict.err(), has_random_secret(loaded))));
    Report { text, accepted }
}

/// The outcome in words; the flag is that there is no secret to verify with.
struct Verdict(Option<TokenError>, bool);

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(error, no_secret) = *self;
        match error {
            _ if no_secret => f.write_str(
                "Not verified: JOIN_TOKEN_SECRET is not set. Set it, or JOIN_TOKEN_SECRET_FILE, to \
                 what the relay has.",
            ),
            None => f.write_str(
                "Valid for this configuration. A relay also checks that the room takes members and \
                 that the token was not used before.",
            ),
            Some(error) => {
                let close = error.close();
                write!(f, "Refused: {error}. ")?;
                write!(f, "A relay would close with {} {}.", close.code(), close.name())
            }
        }
    }
}

/// Prints the members of a JSON object, one on a line, each with what `gloss` adds.
fn section(
    text: &mut String,
    title: &str,
    json: Option<&str>,
    gloss: impl Fn(&str, &Value) -> Option<String>,
) {
    append(text, format_args!("{title}\n"));
    let Some(json) = json else {
        return append(text, format_args!("  none, or not base64url of text\n"));
    };
    let Ok(members) = serde_json::from_str::<Map<String, Value>>(json) else {
        return append(text, format_args!("  not a JSON object: {}\n", printable(json)));
    };
    for (name, value) in &members {
        let (shown, value_text) = (printable(name), printable(&value.to_string()));
        append(text, format_args!("  {shown:<5} {value_text}"));
        if let Some(gloss) = gloss(name, value) {
            append(text, format_args!("  ({gloss})"));
        }
        text.push('\n');
    }
}

/// What a claim means.
fn gloss(name: &str, value: &Value, now: UnixSeconds) -> Option<String> {
    match name {
        "iss" => Some("who made it".to_owned()),
        "aud" => Some("which relay it is for".to_owned()),
        "room" => {
            let room = RoomId::from_base64url(value.as_str()?);
            Some(room.map_or_else(
                || "not a room's name".to_owned(),
                |room| format!("a room's name of {} bytes", room.as_bytes().len()),
            ))
        }
        "cap" => Some(cap_in_words(value.as_str()?)),
        "iat" => Some(format!("made {}", moment(value.as_u64()?, now))),
        "exp" => Some(format!("expires {}", moment(value.as_u64()?, now))),
        "jti" => Some("its own name, by which it is used once".to_owned()),
        "ses" => Some("seconds that the session may last".to_owned()),
        _ => Some("not a claim of a join token".to_owned()),
    }
}

fn cap_in_words(letters: &str) -> String {
    let Some(cap) = Cap::parse(letters) else {
        return "not distinct letters of s, r, o, c".to_owned();
    };
    let words = [
        (Cap::SEND, "may send"),
        (Cap::RECEIVE, "receives"),
        (Cap::OWNER, "is an owner"),
        (Cap::CREATE, "may create the room"),
    ];
    let held = words.into_iter().filter(|(one, _)| cap.contains(*one)).map(|(_, word)| word);
    held.collect::<Vec<_>>().join(", ")
}

/// A time, and how far away it is.
fn moment(at: u64, now: UnixSeconds) -> String {
    let time = rfc3339(UnixSeconds(at));
    match at.checked_sub(now.0) {
        Some(0) => format!("{time}, just now"),
        Some(ahead) => format!("{time}, {ahead} s from now"),
        None => format!("{time}, {} s ago", now.0 - at),
    }
}

/// Text of a stranger, made harmless for a terminal and cut to a line's length.
fn printable(text: &str) -> String {
    let mut shown: String = text.chars().take(SHOWN_LEN_MAX).map(visible).collect();
    if text.chars().nth(SHOWN_LEN_MAX).is_some() {
        shown.push('\u{2026}');
    }
    shown
}

/// Control and invisible characters could move the cursor, change colours or turn text around.
fn visible(c: char) -> char {
    if c.is_ascii_graphic() || c == ' ' || c.is_alphanumeric() { c } else { '\u{fffd}' }
}

/// Most characters of one value that are shown.
const SHOWN_LEN_MAX: usize = 200;

fn append(text: &mut String, more: fmt::Arguments<'_>) {
    text.write_fmt(more).expect("writing to a String");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Environment, load};
    use crate::core::id::to_base64url;

    const SECRET: (&str, &str) =
        ("JOIN_TOKEN_SECRET", "pV3tWq9LzX0bKf7RmY2nGc8JhD5sAeUu1iTo4wQx6vE=");

    fn configured(pairs: &[(&'static str, &'static str)]) -> Loaded {
        load(None, &Environment::of(pairs.iter().copied())).unwrap()
    }

    fn args(room: &str, cap: &str) -> Mint {
        Mint { room: room.to_owned(), cap: cap.to_owned(), ttl: None, session: None }
    }

    fn minted(args: &Mint, loaded: &Loaded) -> Result<String, (String, u8)> {
        mint(args, loaded).map(|token| token.to_string()).map_err(|r| (r.text, r.code))
    }

    #[test]
    fn what_is_minted_is_accepted_and_explained() {
        let loaded = configured(&[SECRET]);
        let room = to_base64url(&[7; 16]);
        let token = minted(&Mint { session: Some(90), ..args(&room, "so") }, &loaded).unwrap();
        let claims = loaded.keys.verify(&loaded.config.token.policy(), &token, clock::unix_now());
        let claims = claims.unwrap();
        assert_eq!(claims.cap, Cap::SEND.with(Cap::OWNER));
        assert_eq!(claims.session, Some(90));
        let report = inspect(&token, &loaded, claims.iat);
        assert!(report.accepted);
        for line in [
            "  alg   \"HS256\"\n".to_owned(),
            format!("  room  \"{room}\"  (a room's name of 16 bytes)\n"),
            "  cap   \"so\"  (may send, is an owner)\n".to_owned(),
            format!("  iat   {}  (made {}, just now)\n", claims.iat.0, rfc3339(claims.iat)),
            format!("  exp   {}  (expires {}, 60 s from now)\n", claims.exp.0, rfc3339(claims.exp)),
            "  ses   90  (seconds that the session may last)\n".to_owned(),
            "\nValid for this configuration. ".to_owned(),
        ] {
            assert!(report.text.contains(&line), "{line}{}", report.text);
        }
    }

    #[test]
    fn two_new_rooms_are_different_rooms() {
        let loaded = configured(&[SECRET]);
        let room = || {
            let token = minted(&args("new", "sr"), &loaded).unwrap();
            let claims =
                loaded.keys.verify(&loaded.config.token.policy(), &token, clock::unix_now());
            claims.unwrap().room.to_base64url()
        };
        assert_ne!(room(), room());
    }

    #[test]
    fn what_cannot_be_minted_is_refused_with_the_option_to_change() {
        let loaded = configured(&[SECRET]);
        let room = to_base64url(&[7; 16]);
        for (args, option, code) in [
            (args("short", "sr"), "--room: ", 2),
            (args(&room, "ss"), "--cap: ", 2),
            (args(&room, ""), "--cap: ", 2),
            (Mint { ttl: Some(61), ..args(&room, "s") }, "--ttl: TOKEN_TTL_MAX_S allows 60", 2),
        ] {
            let (text, found) = minted(&args, &loaded).unwrap_err();
            assert!(text.starts_with(option) && found == code, "{text}");
        }
        let (text, code) = minted(&args(&room, "sr"), &configured(&[])).unwrap_err();
        assert!(text.starts_with("JOIN_TOKEN_SECRET is not set"), "{text}");
        assert_eq!(code, UNUSABLE_CONFIGURATION);
    }

    #[test]
    fn a_refused_token_is_explained_with_the_check_that_it_fails() {
        let loaded = configured(&[SECRET]);
        let room = to_base64url(&[7; 16]);
        let token = minted(&args(&room, "sr"), &loaded).unwrap();
        let later = UnixSeconds(clock::unix_now().0 + 600);
        let foreign =
            configured(&[("JOIN_TOKEN_SECRET", "qN7uZr2MyC5dLh9TpX4oHf1KjE8tBgVw3kSi6xRz0aF=")]);
        for (token, loaded, now, words) in [
            (
                token.as_str(),
                &loaded,
                later,
                "Refused: its time is over. A relay would close with 4102 token_expired.",
            ),
            (
                &token,
                &foreign,
                clock::unix_now(),
                "Refused: the signature does not match. A relay would close with 4101",
            ),
            ("", &loaded, later, "Refused: no token. A relay would close with 4100 token_missing."),
            ("a.b", &loaded, later, "Refused: not three segments separated by dots."),
            (
                &token,
                &configured(&[]),
                clock::unix_now(),
                "Not verified: JOIN_TOKEN_SECRET is not set.",
            ),
        ] {
            let report = inspect(token, loaded, now);
            assert!(!report.accepted);
            assert!(report.text.contains(words), "{words}: {}", report.text);
        }
        let report = inspect(&token, &loaded, later);
        assert!(report.text.contains(" s ago)"), "{}", report.text);
    }

    #[test]
    fn a_foreign_token_cannot_write_to_the_terminal() {
        let claims = "{\"sub\":\"a\\u001b[2Jb\u{202e}\",\"\u{9b}x\":1}";
        let token =
            format!("{}.{}.AA", to_base64url(b"\x1b]0;x\x07"), to_base64url(claims.as_bytes()));
        let report = inspect(&token, &configured(&[SECRET]), UnixSeconds(0));
        let harmless = |c: char| c == '\n' || (!c.is_control() && c != '\u{202e}');
        assert!(report.text.chars().all(harmless), "{:?}", report.text);
        assert!(report.text.contains("not a JSON object: "), "{}", report.text);
        assert!(report.text.contains("(not a claim of a join token)"), "{}", report.text);
    }

    #[test]
    fn long_values_are_cut() {
        let claims = format!("{{\"sub\":\"{}\"}}", "x".repeat(5000));
        let token = format!("e30.{}.AA", to_base64url(claims.as_bytes()));
        let report = inspect(&token, &configured(&[SECRET]), UnixSeconds(0));
        assert!(report.text.len() < 1000, "{}", report.text.len());
        assert!(report.text.contains('\u{2026}'));
    }
}
