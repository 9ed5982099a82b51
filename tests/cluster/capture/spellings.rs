//! The ways in which a program may print some bytes; the same as in `tests/canary.py`, and Redis' own.

use std::collections::HashMap;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};

/// Every spelling, with its name. All are at least eight bytes long.
pub(super) fn spellings(value: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let backwards: Vec<u8> = value.iter().rev().copied().collect();
    let mut all = vec![("raw", value.to_vec())];
    for order in [value, &backwards] {
        let joined = |glue: &str| {
            let numbers: Vec<_> = order.iter().map(u8::to_string).collect();
            numbers.join(glue).into_bytes()
        };
        all.push(("hex", each(order, |byte| format!("{byte:02x}"))));
        all.push(("HEX", each(order, |byte| format!("{byte:02X}"))));
        all.push(("numbers", joined(", ")));
        all.push(("numbers, close", joined(",")));
    }
    // In the middle of something longer, base64 has three alignments; the ends depend on neighbours.
    for shift in 0..3 {
        let shifted = [&[0; 3][..shift], value].concat();
        let whole = if shift == 0 { 0 } else { shift + 1 }..shifted.len() / 3 * 4;
        let standard = STANDARD_NO_PAD.encode(&shifted).into_bytes();
        let url_safe = URL_SAFE_NO_PAD.encode(&shifted).into_bytes();
        all.push(("base64", standard[whole.clone()].to_vec()));
        all.push(("base64url", url_safe[whole].to_vec()));
    }
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~/".contains(&byte);
    all.push(("percent", each(value, |byte| format!("%{byte:02X}"))));
    all.push((
        "percent where needed",
        each(value, |byte| {
            if is_plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }
        }),
    ));
    all.push(("escaped", each(value, |byte| format!("\\x{byte:02x}"))));
    all.push(("escaped where needed", value.escape_ascii().to_string().into_bytes()));
    all.push(("as MONITOR has it", each(value, as_redis_prints)));
    if let Ok(eight) = <[u8; 8]>::try_from(value) {
        all.push(("number", u64::from_be_bytes(eight).to_string().into_bytes()));
        all.push(("number from behind", u64::from_le_bytes(eight).to_string().into_bytes()));
    }
    all
}

fn each(value: &[u8], spell: impl Fn(u8) -> String) -> Vec<u8> {
    value.iter().map(|&byte| spell(byte)).collect::<String>().into_bytes()
}

fn as_redis_prints(byte: u8) -> String {
    match byte {
        b'\\' | b'"' => format!("\\{}", char::from(byte)),
        b'\n' => "\\n".to_owned(),
        b'\r' => "\\r".to_owned(),
        b'\t' => "\\t".to_owned(),
        0x07 => "\\a".to_owned(),
        0x08 => "\\b".to_owned(),
        0x20..=0x7E => char::from(byte).to_string(),
        _ => format!("\\x{byte:02x}"),
    }
}

/// Everything to look for, by its first bytes, so that one pass finds all.
pub(super) struct Needles {
    by_start: HashMap<[u8; 4], Vec<(String, Vec<u8>)>>,
}

impl Needles {
    /// All spellings of these.
    pub(super) fn of(canaries: &[(&'static str, Vec<u8>)]) -> Self {
        let mut by_start = HashMap::<_, Vec<_>>::new();
        for (field, canary) in canaries {
            for (how, needle) in spellings(canary) {
                let start = *needle.first_chunk().expect("eight bytes at least");
                by_start.entry(start).or_default().push((format!("{field}, {how}"), needle));
            }
        }
        Self { by_start }
    }

    /// Those that are there.
    pub(super) fn found_in(&self, bytes: &[u8]) -> Vec<String> {
        let mut found = Vec::new();
        for (at, start) in bytes.windows(4).enumerate() {
            let start: [u8; 4] = start.try_into().expect("four");
            for (name, needle) in self.by_start.get(&start).into_iter().flatten() {
                if bytes[at..].starts_with(needle) {
                    found.push(name.clone());
                }
            }
        }
        found
    }
}
