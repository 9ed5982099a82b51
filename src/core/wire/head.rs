//! The heads of data frames: parsed from and written to fixed arrays, so that a payload is never
//! touched here.

use crate::core::close::Close;
use crate::core::id::MemberId;

/// Longest head of a client's data frame, in bytes (that of a DIRECT).
pub const CLIENT_HEAD_MAX: usize = DIRECT_HEAD;
/// Head of every data frame that the relay sends, in bytes.
pub const RELAY_HEAD: usize = 20;

const SEND_HEAD: usize = 4;
const DIRECT_HEAD: usize = 12;
const SEND: u8 = 0x01;
const DIRECT: u8 = 0x02;
const FROM_RELAY: u8 = 0x80;

/// The flags of a data frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags(u8);

impl Flags {
    /// The sender wants to be told the number that the message got.
    pub const ACK: Self = Self(0x01);
    /// From a client: deliver it to the sender too. From the relay: this is that copy.
    pub const ECHO: Self = Self(0x02);
    /// May be dropped first; has no number.
    pub const VOLATILE: Self = Self(0x04);

    const ALL: u8 = 0x07;

    /// Whether all of `other` is set.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Both.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The flags as one byte.
    pub const fn bits(self) -> u8 {
        self.0
    }

    /// The flags that a byte stands for, if it has no other bits.
    pub const fn from_bits(bits: u8) -> Option<Self> {
        if bits & !Self::ALL == 0 { Some(Self(bits)) } else { None }
    }
}

/// Whom a data frame is for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// Every other member.
    Room,
    /// One member.
    Member(MemberId),
}

/// The head of a data frame from a client.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ClientHead {
    /// Whom it is for.
    pub target: Target,
    /// What the sender asks for.
    pub flags: Flags,
    /// The client's own number for it, returned in `ack` and `error`.
    pub reference: u16,
}

impl ClientHead {
    /// Parses the head of a message of `message_len` bytes from its first [`CLIENT_HEAD_MAX`] bytes
    /// (or all, if it has fewer), and says how long the head is.
    ///
    /// # Errors
    ///
    /// `BadFrame` for an unknown operation or flag and for a message with no payload behind it.
    pub fn parse(first: &[u8], message_len: usize) -> Result<(Self, usize), Close> {
        let Some(([op, flags, reference @ ..], rest)) = first.split_first_chunk::<SEND_HEAD>()
        else {
            return Err(Close::BadFrame);
        };
        let (target, len) = match (*op, rest.first_chunk()) {
            (SEND, _) => (Target::Room, SEND_HEAD),
            (DIRECT, Some(dest)) => (Target::Member(MemberId::from_bytes(*dest)), DIRECT_HEAD),
            _ => return Err(Close::BadFrame),
        };
        if flags & !Flags::ALL != 0 || message_len <= len {
            return Err(Close::BadFrame);
        }
        let reference = u16::from_be_bytes(*reference);
        Ok((Self { target, flags: Flags(*flags), reference }, len))
    }

    /// The head as a client writes it.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![SEND, self.flags.0];
        out.extend_from_slice(&self.reference.to_be_bytes());
        if let (Target::Member(member), Some(op)) = (self.target, out.first_mut()) {
            *op = DIRECT;
            out.extend_from_slice(member.as_bytes());
        }
        out
    }
}

/// The head of a data frame to a client.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct RelayHead {
    /// Whether it was for this member alone.
    pub direct: bool,
    /// `ECHO` for the sender's own copy, `VOLATILE` as it was sent.
    pub flags: Flags,
    /// Who sent it.
    pub from: MemberId,
    /// Its number in the room, below 2^53; 0 if volatile.
    pub seq: u64,
}

impl RelayHead {
    /// The bytes on the wire.
    pub fn encode(&self) -> [u8; RELAY_HEAD] {
        let op = FROM_RELAY | if self.direct { DIRECT } else { SEND };
        let [f0, f1, f2, f3, f4, f5, f6, f7] = *self.from.as_bytes();
        let [s0, s1, s2, s3, s4, s5, s6, s7] = self.seq.to_be_bytes();
        [op, self.flags.0, 0, 0, f0, f1, f2, f3, f4, f5, f6, f7, s0, s1, s2, s3, s4, s5, s6, s7]
    }

    /// Parses what [`RelayHead::encode`] wrote; for clients and tests.
    pub fn parse(frame: &[u8]) -> Option<(Self, &[u8])> {
        let (head, payload) = frame.split_first_chunk::<RELAY_HEAD>()?;
        let [op, flags, 0, 0, rest @ ..] = head else { return None };
        let (from, seq) = rest.split_first_chunk::<8>()?;
        let direct = match op ^ FROM_RELAY {
            SEND => false,
            DIRECT => true,
            _ => return None,
        };
        let seq = u64::from_be_bytes(*seq.first_chunk()?);
        let from = MemberId::from_bytes(*from);
        Some((Self { direct, flags: Flags(*flags), from, seq }, payload))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MEMBER: MemberId = MemberId::from_bytes([1, 2, 3, 4, 5, 6, 7, 8]);

    fn parse(message: &[u8]) -> Result<(ClientHead, usize), Close> {
        ClientHead::parse(&message[..message.len().min(CLIENT_HEAD_MAX)], message.len())
    }

    #[test]
    fn heads_of_clients_have_the_documented_bytes() {
        let send = [1, 5, 0, 7, b'x'];
        let (head, len) = parse(&send).ok().unwrap();
        assert!(head.target == Target::Room && head.reference == 7 && len == 4);
        assert_eq!(head.flags, Flags::ACK.with(Flags::VOLATILE));

        let direct = [2, 0, 1, 0, 1, 2, 3, 4, 5, 6, 7, 8, b'x'];
        let (head, len) = parse(&direct).ok().unwrap();
        assert!(head.target == Target::Member(MEMBER) && head.reference == 256 && len == 12);
    }

    #[test]
    fn anything_else_is_a_bad_frame() {
        for bad in [
            &[][..],
            &[1, 0, 0],
            &[1, 0, 0, 0],
            &[1, 8, 0, 0, b'x'],
            &[0, 0, 0, 0, b'x'],
            &[3, 0, 0, 0, b'x'],
            &[0x81, 0, 0, 0, b'x'],
            &[2, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7],
            &[2, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8],
        ] {
            assert!(parse(bad).err() == Some(Close::BadFrame), "{bad:?}");
        }
    }

    #[test]
    fn heads_of_the_relay_have_the_documented_bytes() {
        let head = RelayHead { direct: false, flags: Flags::ECHO, from: MEMBER, seq: 258 };
        let bytes = [0x81, 2, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 0, 0, 0, 0, 0, 0, 1, 2];
        assert_eq!(head.encode(), bytes);
        assert!(RelayHead::parse(&bytes).unwrap().0 == head);
        let direct = RelayHead { direct: true, ..head }.encode();
        assert_eq!(direct[0], 0x82);
    }

    proptest! {
        #[test]
        fn what_parses_encodes_to_the_same_bytes(
            mut message in prop::collection::vec(any::<u8>(), 0..40),
            op in 0..4_u8,
            flags in 0..9_u8,
        ) {
            if let [o, f, ..] = &mut message[..] {
                (*o, *f) = (op, flags);
            }
            if let Ok((head, len)) = parse(&message) {
                prop_assert_eq!(head.encode(), &message[..len]);
            }
        }
    }
}
