//! What nodes tell each other of a room: the operations inside a batch, one behind the other.
//!
//! ```text
//! message  0x01  flags  ref u16  from 8  length u32  payload      direct  0x02  the same, `to` 8 behind `from`
//! join     0x03  hears  member 8                                  leave   0x04  why    member 8
//! changed  0x05  (the room's record: look it up anew)             closed  0x06
//! ```
//!
//! One meaning has one spelling: what parses encodes to the same bytes. Nodes of one cluster run the
//! same version or the next; an entry that is not understood makes the receiver attach anew, which
//! its members see as a gap.

use super::id::MemberId;
use super::wire::{ClientHead, Flags, Gone, Target};

/// One operation on a room.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Entry<'p> {
    /// A member says something.
    Message(Message<'p>),
    /// A member is there from now on.
    Join {
        /// Its name.
        member: MemberId,
        /// Whether it receives what the room says.
        hears: bool,
    },
    /// A member is not there any more.
    Leave {
        /// Its name.
        member: MemberId,
        /// Why.
        why: Gone,
    },
    /// The room's record was changed.
    Changed,
    /// The room is over.
    Closed,
}

/// A message as it came from its sender.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Message<'p> {
    /// Who sent it.
    pub from: MemberId,
    /// For whom it is, what the sender asks for, and its own number for it.
    pub head: ClientHead,
    /// At least one byte, at most 2^32 - 1.
    pub payload: &'p [u8],
}

/// The bytes are not a batch of entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a batch of entries")]
pub struct Malformed;

const MESSAGE: u8 = 1;
const DIRECT: u8 = 2;
const JOIN: u8 = 3;
const LEAVE: u8 = 4;
const CHANGED: u8 = 5;
const CLOSED: u8 = 6;

/// Appends a message but for its payload, which has `len` bytes and comes next.
///
/// # Errors
///
/// When the payload is longer than an entry can say; then nothing was appended.
pub fn put_message_head(
    out: &mut Vec<u8>,
    from: MemberId,
    head: &ClientHead,
    len: usize,
) -> Result<(), Malformed> {
    let len = u32::try_from(len).map_err(|_| Malformed)?;
    out.push(if head.target == Target::Room { MESSAGE } else { DIRECT });
    out.push(head.flags.bits());
    out.extend_from_slice(&head.reference.to_be_bytes());
    out.extend_from_slice(from.as_bytes());
    if let Target::Member(to) = head.target {
        out.extend_from_slice(to.as_bytes());
    }
    out.extend_from_slice(&len.to_be_bytes());
    Ok(())
}

impl<'p> Entry<'p> {
    /// Appends its bytes.
    ///
    /// # Errors
    ///
    /// When a payload is longer than an entry can say; then nothing was appended.
    pub fn put(&self, out: &mut Vec<u8>) -> Result<(), Malformed> {
        match self {
            Self::Message(Message { from, head, payload }) => {
                put_message_head(out, *from, head, payload.len())?;
                out.extend_from_slice(payload);
            }
            Self::Join { member, hears } => {
                out.extend_from_slice(&[JOIN, u8::from(*hears)]);
                out.extend_from_slice(member.as_bytes());
            }
            Self::Leave { member, why } => {
                let why = match why {
                    Gone::Left => 0,
                    Gone::Lost => 1,
                    Gone::Kicked => 2,
                };
                out.extend_from_slice(&[LEAVE, why]);
                out.extend_from_slice(member.as_bytes());
            }
            Self::Changed => out.push(CHANGED),
            Self::Closed => out.push(CLOSED),
        }
        Ok(())
    }

    /// Whether it takes one of the room's numbers.
    pub const fn takes_number(&self) -> bool {
        match self {
            Self::Message(Message { head, .. }) => takes_number(head),
            Self::Join { .. } | Self::Leave { .. } => true,
            Self::Changed | Self::Closed => false,
        }
    }

    /// The first entry of `bytes`, and what is behind it.
    fn parse(bytes: &'p [u8]) -> Result<(Self, &'p [u8]), Malformed> {
        let (kind, rest) = bytes.split_first().ok_or(Malformed)?;
        match *kind {
            MESSAGE | DIRECT => parse_message(*kind == DIRECT, rest),
            JOIN | LEAVE => {
                let (detail, rest) = rest.split_first().ok_or(Malformed)?;
                let (member, rest) = parse_member(rest)?;
                let entry = match (*kind, *detail) {
                    (JOIN, hears @ (0 | 1)) => Self::Join { member, hears: hears == 1 },
                    (LEAVE, 0) => Self::Leave { member, why: Gone::Left },
                    (LEAVE, 1) => Self::Leave { member, why: Gone::Lost },
                    (LEAVE, 2) => Self::Leave { member, why: Gone::Kicked },
                    _ => return Err(Malformed),
                };
                Ok((entry, rest))
            }
            CHANGED => Ok((Self::Changed, rest)),
            CLOSED => Ok((Self::Closed, rest)),
            _ => Err(Malformed),
        }
    }
}

/// Whether a message with this head takes one of the room's numbers.
pub const fn takes_number(head: &ClientHead) -> bool {
    matches!(head.target, Target::Room) && !head.flags.contains(Flags::VOLATILE)
}

fn parse_message(direct: bool, bytes: &[u8]) -> Result<(Entry<'_>, &[u8]), Malformed> {
    let ([flags, reference @ ..], rest) = bytes.split_first_chunk::<3>().ok_or(Malformed)?;
    let flags = Flags::from_bits(*flags).ok_or(Malformed)?;
    let reference = u16::from_be_bytes(*reference);
    let (from, rest) = parse_member(rest)?;
    let (target, rest) = if direct {
        let (to, rest) = parse_member(rest)?;
        (Target::Member(to), rest)
    } else {
        (Target::Room, rest)
    };
    let (len, rest) = rest.split_first_chunk::<4>().ok_or(Malformed)?;
    let len = usize::try_from(u32::from_be_bytes(*len)).map_err(|_| Malformed)?;
    let (payload, rest) = rest.split_at_checked(len).ok_or(Malformed)?;
    if payload.is_empty() {
        return Err(Malformed);
    }
    let head = ClientHead { target, flags, reference };
    Ok((Entry::Message(Message { from, head, payload }), rest))
}

fn parse_member(bytes: &[u8]) -> Result<(MemberId, &[u8]), Malformed> {
    let (member, rest) = bytes.split_first_chunk().ok_or(Malformed)?;
    Ok((MemberId::from_bytes(*member), rest))
}

/// The entries of a batch, in order. Ends behind the first that is malformed.
pub const fn entries(bytes: &[u8]) -> Entries<'_> {
    Entries { rest: bytes }
}

/// See [`entries`].
pub struct Entries<'p> {
    rest: &'p [u8],
}

impl<'p> Iterator for Entries<'p> {
    type Item = Result<Entry<'p>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        match Entry::parse(self.rest) {
            Ok((entry, rest)) => {
                self.rest = rest;
                Some(Ok(entry))
            }
            Err(malformed) => {
                self.rest = &[];
                Some(Err(malformed))
            }
        }
    }
}

/// How many numbers a batch takes. Looks at heads only.
///
/// # Errors
///
/// When the bytes are no batch.
pub fn numbers(bytes: &[u8]) -> Result<u64, Malformed> {
    entries(bytes).try_fold(0, |sum, entry| Ok(sum + u64::from(entry?.takes_number())))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    const A: MemberId = MemberId::from_bytes([1; 8]);
    const B: MemberId = MemberId::from_bytes([2; 8]);

    #[derive(Clone, Debug)]
    pub(crate) struct Plan(u8, u8, u16, [u8; 8], [u8; 8], Vec<u8>);

    impl Plan {
        fn entry(&self) -> Entry<'_> {
            let Self(kind, detail, reference, from, to, payload) = self;
            let (member, to) = (MemberId::from_bytes(*from), MemberId::from_bytes(*to));
            let target = if kind % 6 == 0 { Target::Room } else { Target::Member(to) };
            let flags = Flags::from_bits(detail % 8).unwrap();
            match kind % 6 {
                0 | 1 => Entry::Message(Message {
                    from: member,
                    head: ClientHead { target, flags, reference: *reference },
                    payload,
                }),
                2 => Entry::Join { member, hears: detail % 2 == 0 },
                3 => {
                    let why = [Gone::Left, Gone::Lost, Gone::Kicked][usize::from(detail % 3)];
                    Entry::Leave { member, why }
                }
                4 => Entry::Changed,
                _ => Entry::Closed,
            }
        }
    }

    fn plan() -> impl Strategy<Value = Plan> {
        let payload = prop::collection::vec(any::<u8>(), 1..40);
        (any::<u8>(), any::<u8>(), any::<u16>(), any::<[u8; 8]>(), any::<[u8; 8]>(), payload)
            .prop_map(|(kind, detail, reference, from, to, payload)| {
                Plan(kind, detail, reference, from, to, payload)
            })
    }

    #[test]
    fn entries_have_the_documented_bytes() {
        let bytes = |entry: Entry<'_>| {
            let mut out = Vec::new();
            entry.put(&mut out).unwrap();
            out
        };
        let head = ClientHead { target: Target::Room, flags: Flags::ACK, reference: 258 };
        let said = Entry::Message(Message { from: A, head, payload: b"x" });
        let expected = [1, 1, 1, 2, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 1, b'x'];
        assert_eq!(bytes(said), expected);
        let head = ClientHead { target: Target::Member(B), ..head };
        let said = Entry::Message(Message { from: A, head, payload: b"x" });
        let expected = [&[2, 1, 1, 2][..], &[1; 8], &[2; 8], &[0, 0, 0, 1, b'x']].concat();
        assert_eq!(bytes(said), expected);
        assert_eq!(bytes(Entry::Join { member: A, hears: true }), [&[3, 1][..], &[1; 8]].concat());
        let kicked = Entry::Leave { member: B, why: Gone::Kicked };
        assert_eq!(bytes(kicked), [&[4, 2][..], &[2; 8]].concat());
        assert_eq!((bytes(Entry::Changed), bytes(Entry::Closed)), (vec![5], vec![6]));
    }

    #[test]
    fn anything_else_is_malformed() {
        let member = [0; 8];
        let message = |flags, len: u32, payload: &[u8]| {
            [&[1, flags, 0, 0][..], &member, &len.to_be_bytes(), payload].concat()
        };
        for bad in [
            vec![0],
            vec![7],
            message(8, 1, b"x"),
            message(0, 0, b""),
            message(0, 2, b"x"),
            message(0, u32::MAX, b"x"),
            [&[2, 0, 0, 0][..], &member, &[0, 0, 0, 1, 9]].concat(),
            [&[3, 2][..], &member].concat(),
            [&[4, 3][..], &member].concat(),
            vec![3, 1, 0, 0],
            [&[5, 6, 3][..]].concat(),
        ] {
            assert_eq!(numbers(&bad), Err(Malformed), "{bad:?}");
        }
        assert_eq!(numbers(&[]), Ok(0));
    }

    proptest! {
        #[test]
        fn what_is_put_is_parsed(plans in prop::collection::vec(plan(), 0..12)) {
            let mut bytes = Vec::new();
            let mut count = 0;
            for plan in &plans {
                plan.entry().put(&mut bytes).unwrap();
                count += u64::from(plan.entry().takes_number());
            }
            prop_assert_eq!(numbers(&bytes), Ok(count));
            let parsed: Vec<_> = entries(&bytes).map(Result::unwrap).collect();
            prop_assert!(parsed == plans.iter().map(Plan::entry).collect::<Vec<_>>());
        }
    }
}
