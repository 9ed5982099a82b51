//! The JSON of what the relay says, put together piece by piece.
//!
//! Only numbers, booleans, names and words of our own can be put into it, so that nothing ever needs
//! escaping, and every piece is written at once to where it stays.

use std::ops::Deref;

use crate::core::id::{Epoch, MemberId, eight_to_base64url};
use crate::core::token::Cap;

/// Longest text without a list, in bytes: an `error` with all that it can say.
pub(super) const SHORT_MAX: usize = 93;

/// What a name in a list takes, in bytes: eleven letters, two quotes and a comma.
pub(super) const NAME_IN_LIST: usize = 14;

/// The text of a control frame that has no list, where it is: it takes no memory elsewhere.
pub struct Text {
    bytes: [u8; SHORT_MAX],
    len: usize,
}

impl Deref for Text {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}

/// What pieces of text are appended to.
pub(super) trait Buffer {
    fn put(&mut self, piece: &[u8]);
}

impl Buffer for Text {
    fn put(&mut self, piece: &[u8]) {
        let end = self.len + piece.len();
        let space = self.bytes.get_mut(self.len..end);
        space.expect("no short text is longer").copy_from_slice(piece);
        self.len = end;
    }
}

impl Buffer for Vec<u8> {
    fn put(&mut self, piece: &[u8]) {
        self.extend_from_slice(piece);
    }
}

/// What stands behind a member's key.
pub(super) trait Value {
    fn put(self, out: &mut impl Buffer);
}

/// A JSON object that is begun.
pub(super) struct Object<'b, B>(&'b mut B);

impl<'b, B: Buffer> Object<'b, B> {
    /// Begins one with its first member.
    pub(super) fn begin(out: &'b mut B, key: &'static str, value: impl Value) -> Self {
        out.put(br#"{""#);
        Self(out).put(key, value)
    }

    /// Goes on with one that has a member at least.
    pub(super) fn begun(out: &'b mut B) -> Self {
        Self(out)
    }

    /// Adds a member.
    pub(super) fn with(self, key: &'static str, value: impl Value) -> Self {
        self.0.put(br#",""#);
        self.put(key, value)
    }

    /// Adds a member, if it has a value.
    pub(super) fn with_some(self, key: &'static str, value: Option<impl Value>) -> Self {
        match value {
            Some(value) => self.with(key, value),
            None => self,
        }
    }

    /// Ends it.
    pub(super) fn end(self) {
        self.0.put(b"}");
    }

    /// Puts a member, whose quote is open.
    fn put(self, key: &'static str, value: impl Value) -> Self {
        put_word(key, self.0);
        self.0.put(br#"":"#);
        value.put(self.0);
        self
    }
}

/// A text without a list: `say` adds the members behind `type`.
pub(super) fn short(
    kind: &'static str,
    say: impl FnOnce(Object<'_, Text>) -> Object<'_, Text>,
) -> Text {
    let mut text = Text { bytes: [0; SHORT_MAX], len: 0 };
    say(Object::begin(&mut text, "type", kind)).end();
    text
}

/// A text of at most so many bytes: `say` adds the members behind `type`.
pub(super) fn long(
    bytes_max: usize,
    kind: &'static str,
    say: impl FnOnce(Object<'_, Vec<u8>>) -> Object<'_, Vec<u8>>,
) -> Vec<u8> {
    let mut text = Vec::with_capacity(bytes_max);
    say(Object::begin(&mut text, "type", kind)).end();
    text
}

/// A word of ours, which needs no escaping.
impl Value for &'static str {
    fn put(self, out: &mut impl Buffer) {
        out.put(b"\"");
        put_word(self, out);
        out.put(b"\"");
    }
}

fn put_word(word: &'static str, out: &mut impl Buffer) {
    debug_assert!(
        word.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'),
        "a word has small letters only"
    );
    out.put(word.as_bytes());
}

impl Value for bool {
    fn put(self, out: &mut impl Buffer) {
        out.put(if self { b"true" } else { b"false" });
    }
}

impl Value for u64 {
    fn put(self, out: &mut impl Buffer) {
        out.put(itoa::Buffer::new().format(self).as_bytes());
    }
}

macro_rules! smaller_number {
    ($($number:ty)*) => {$(
        impl Value for $number {
            fn put(self, out: &mut impl Buffer) {
                u64::from(self).put(out);
            }
        }
    )*};
}

smaller_number!(u16 u32);

/// A name, in text form.
impl Value for MemberId {
    fn put(self, out: &mut impl Buffer) {
        put_name(*self.as_bytes(), out);
    }
}

/// A name, in text form.
impl Value for Epoch {
    fn put(self, out: &mut impl Buffer) {
        put_name(*self.as_bytes(), out);
    }
}

fn put_name(name: [u8; 8], out: &mut impl Buffer) {
    let mut quoted = [b'"'; 13];
    let [_, letters @ .., _] = &mut quoted;
    *letters = eight_to_base64url(name);
    out.put(&quoted);
}

/// What is allowed, as letters.
impl Value for Cap {
    fn put(self, out: &mut impl Buffer) {
        out.put(b"\"");
        for letter in self.letters() {
            out.put(&[letter]);
        }
        out.put(b"\"");
    }
}

/// A list of values.
pub(super) struct List<I>(pub(super) I);

impl<V: Value, I: IntoIterator<Item = V>> Value for List<I> {
    fn put(self, out: &mut impl Buffer) {
        out.put(b"[");
        for (at, value) in self.0.into_iter().enumerate() {
            if at > 0 {
                out.put(b",");
            }
            value.put(out);
        }
        out.put(b"]");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(values: &[u64]) -> String {
        let mut out = Vec::new();
        List(values.iter().copied()).put(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn commas_stand_between_values_only() {
        assert_eq!(list(&[]), "[]");
        assert_eq!(list(&[0]), "[0]");
        assert_eq!(list(&[1, u64::MAX, 3]), "[1,18446744073709551615,3]");
        let text = short("a", |text| text.with_some("b", None::<u64>).with_some("c", Some(true)));
        assert_eq!(&*text, br#"{"type":"a","c":true}"#);
    }

    #[test]
    #[should_panic(expected = "small letters only")]
    fn what_would_need_escaping_is_no_word() {
        "a\"b".put(&mut Vec::new());
    }
}
