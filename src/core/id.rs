//! Names: of rooms, members, epochs, tokens and keys.
//!
//! Every identifier is its own type, so that two of them cannot be swapped, and none of them can be
//! printed: there is no `Debug`, `Display` or `Serialize` here, only the explicit text form for the
//! wire. A name is parsed once, strictly, where it comes in: base64url without padding, and only
//! the one canonical spelling of each value.

use std::hash::{Hash, Hasher};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// Decodes canonical base64url: no padding, no foreign characters, no non-zero trailing bits.
///
/// Returns `None` for every other spelling and for more than `max` bytes.
pub fn from_base64url(text: &str, max: usize) -> Option<Vec<u8>> {
    if text.len() > max.div_ceil(3) * 4 {
        return None;
    }
    URL_SAFE_NO_PAD.decode(text).ok().filter(|bytes| bytes.len() <= max)
}

/// Decodes canonical base64url of exactly `N` bytes, without an allocation.
pub fn array_from_base64url<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    (slice_from_base64url(text, &mut bytes)? == N).then_some(bytes)
}

/// Decodes canonical base64url of at most as many bytes as fit; says how many they are.
fn slice_from_base64url(text: &str, bytes: &mut [u8]) -> Option<usize> {
    URL_SAFE_NO_PAD.decode_slice(text, bytes).ok()
}

/// Encodes as base64url without padding.
pub fn to_base64url(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The same of eight bytes, without an allocation.
pub fn eight_to_base64url(bytes: [u8; 8]) -> [u8; 11] {
    let mut text = [0; 11];
    let written = URL_SAFE_NO_PAD.encode_slice(bytes, &mut text);
    debug_assert_eq!(written, Ok(text.len()));
    text
}

/// A room, named by 16 to 32 bytes.
///
/// In open rooms the name is a hash of the room's certificate (16 bytes); in backend mode the
/// application picks it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct RoomId {
    /// Zero behind `len`.
    bytes: [u8; Self::LEN_MAX],
    len: u8,
}

impl RoomId {
    /// Shortest name, in bytes.
    pub const LEN_MIN: usize = 16;
    /// Longest name, in bytes.
    pub const LEN_MAX: usize = 32;

    /// Wraps the binary form, if it is 16 to 32 bytes long.
    pub fn new(name: &[u8]) -> Option<Self> {
        if name.len() < Self::LEN_MIN {
            return None;
        }
        let mut bytes = [0; Self::LEN_MAX];
        bytes.get_mut(..name.len())?.copy_from_slice(name);
        Some(Self { bytes, len: u8::try_from(name.len()).ok()? })
    }

    /// Parses the text form.
    pub fn from_base64url(text: &str) -> Option<Self> {
        let mut bytes = [0; Self::LEN_MAX];
        let len = slice_from_base64url(text, &mut bytes)?;
        Self::new(bytes.get(..len)?)
    }

    /// The text form, for the wire only.
    pub fn to_base64url(&self) -> String {
        to_base64url(self.as_bytes())
    }

    /// The binary form.
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or(&self.bytes)
    }
}

/// In one piece, and nothing but the name: a hash is most of what looking for a room costs.
impl Hash for RoomId {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write(self.as_bytes());
    }
}

/// Declares an identifier of a fixed number of bytes.
macro_rules! fixed_id {
    ($(#[$doc:meta])* $name:ident, $len:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        #[repr(align(8))] // So that it is moved as words, also within something else.
        pub struct $name([u8; Self::LEN]);

        impl Hash for $name {
            fn hash<H: Hasher>(&self, state: &mut H) {
                state.write(&self.0);
            }
        }

        impl $name {
            /// Length of the binary form, in bytes.
            pub const LEN: usize = $len;

            /// Wraps the binary form.
            pub const fn from_bytes(bytes: [u8; Self::LEN]) -> Self {
                Self(bytes)
            }

            /// Parses the text form.
            pub fn from_base64url(text: &str) -> Option<Self> {
                array_from_base64url(text).map(Self)
            }

            /// The text form, for the wire only.
            pub fn to_base64url(&self) -> String {
                to_base64url(&self.0)
            }

            /// The binary form.
            pub const fn as_bytes(&self) -> &[u8; Self::LEN] {
                &self.0
            }
        }
    };
}

fixed_id!(
    /// One connection's place in a room: 64 random bits, never a counter and never used again.
    MemberId, 8
);
fixed_id!(
    /// One unbroken order of a room's messages: 64 random bits, fresh whenever order is broken.
    Epoch, 8
);
fixed_id!(
    /// One process among those that share rooms: 128 random bits, fresh at every start.
    NodeId, 16
);
fixed_id!(
    /// A join token's name, by which it is recognised when it is used a second time.
    Jti, 16
);

/// The name of a signing key: 1 to 16 characters of `[A-Za-z0-9_-]`.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Kid(Box<str>);

impl Kid {
    /// Longest name, in characters.
    pub const LEN_MAX: usize = 16;

    /// Parses a name.
    pub fn new(text: &str) -> Option<Self> {
        let fits = (1..=Self::LEN_MAX).contains(&text.len());
        let plain = text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
        (fits && plain).then(|| Self(text.into()))
    }

    /// The name; it is the operator's choice and not a secret.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_room_name_has_16_to_32_bytes() {
        for (len, fits) in [(0, false), (15, false), (16, true), (32, true), (33, false)] {
            assert_eq!(RoomId::new(&vec![7; len]).is_some(), fits, "{len}");
            let text = to_base64url(&vec![7; len]);
            assert_eq!(RoomId::from_base64url(&text).is_some(), fits, "{len}");
        }
    }

    #[test]
    fn names_of_different_lengths_differ_even_with_zeros_behind() {
        assert!(RoomId::new(&[0; 16]) != RoomId::new(&[0; 17]));
    }

    #[test]
    fn one_value_has_one_spelling() {
        assert!(MemberId::from_base64url("AAAAAAAAAAA").is_some());
        for other in
            ["AAAAAAAAAAB", "AAAAAAAAAAA=", "AAAAAAAAAA", "AAAAAAAAAA+", "AAAAAAAAAAA\n", ""]
        {
            assert!(MemberId::from_base64url(other).is_none(), "{other}");
        }
    }

    #[test]
    fn a_kid_is_a_short_plain_word() {
        for good in ["a", "k1", "2026-11_A", "0123456789abcdef"] {
            assert!(Kid::new(good).is_some(), "{good}");
        }
        for bad in ["", "0123456789abcdefg", "a b", "../k1", "k\u{e9}"] {
            assert!(Kid::new(bad).is_none(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn text_and_bytes_are_one_to_one(bytes in prop::collection::vec(any::<u8>(), 16..=32)) {
            let id = RoomId::new(&bytes).unwrap();
            prop_assert_eq!(id.as_bytes(), &bytes[..]);
            prop_assert!(RoomId::from_base64url(&id.to_base64url()) == Some(id));
        }

        #[test]
        fn what_decodes_encodes_to_the_same_text(text in "[A-Za-z0-9_=+/-]{0,48}") {
            if let Some(bytes) = from_base64url(&text, 64) {
                prop_assert_eq!(to_base64url(&bytes), text);
            }
        }
    }
}
