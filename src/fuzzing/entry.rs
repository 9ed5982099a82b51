//! Batches of what nodes tell each other: one meaning has one spelling.

use crate::core::entry::{Entry, entries, numbers};

/// What parses encodes back to the same bytes and has the numbers that are counted; what does not
/// parse does so for all who look at it.
///
/// # Panics
///
/// When the property does not hold.
pub fn entry(data: &[u8]) {
    let mut parsed = Vec::new();
    let mut is_whole = true;
    for entry in entries(data) {
        match entry {
            Ok(entry) => parsed.push(entry),
            Err(_) => is_whole = false,
        }
    }
    let mut bytes = Vec::new();
    for entry in &parsed {
        entry.put(&mut bytes).expect("what was parsed fits");
    }
    assert!(data.starts_with(&bytes), "encodes back");
    assert_eq!(is_whole, bytes.len() == data.len(), "nothing is left over");
    let counted = parsed.iter().filter(|entry| Entry::takes_number(entry)).count();
    assert_eq!(numbers(data).ok(), is_whole.then_some(counted as u64), "numbers");
}
