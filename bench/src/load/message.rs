//! What stands in a message: whose it is, its number, when it was sent, and bytes that can be
//! checked. A payload too short for that carries the low bytes of its number. Servers that carry text
//! only get the same in hexadecimal digits, and letters behind it.

use crate::dialect::Template;
use crate::websocket;

/// Bytes of a full head before it is written as text.
const HEAD: usize = 24;
const DIGITS: &[u8; 16] = b"0123456789abcdef";

/// Bytes that a full head takes of a payload.
pub(super) const fn head_len(is_text: bool) -> usize {
    if is_text { 2 * HEAD } else { HEAD }
}

/// The beginning of a payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) room: u32,
    /// The sender's number in its room.
    pub(super) sender: u32,
    /// The sender's messages are counted from zero.
    pub(super) number: u32,
    /// Nanoseconds since the run's epoch.
    pub(super) time: u64,
}

/// Guards against bytes that happen to look like a head.
const MARK: u32 = 0x6c65_7468;

impl Head {
    /// Reads it off the front of a payload, if it is one.
    #[inline]
    pub(super) fn parse(payload: &[u8], is_text: bool) -> Option<Self> {
        if is_text {
            let mut bytes = [0; HEAD];
            for (byte, pair) in bytes.iter_mut().zip(payload.get(..2 * HEAD)?.chunks_exact(2)) {
                let digit = |at: usize| char::from(pair[at]).to_digit(16);
                *byte = u8::try_from(digit(0)? << 4 | digit(1)?).ok()?;
            }
            return Self::decode(&bytes);
        }
        Self::decode(payload)
    }

    #[inline]
    fn decode(payload: &[u8]) -> Option<Self> {
        let word = |at: usize| {
            payload.get(at..at + 4).and_then(|four| four.try_into().ok()).map(u32::from_le_bytes)
        };
        let time = payload.get(16..HEAD)?.try_into().ok().map(u64::from_le_bytes)?;
        let head = Self { room: word(0)?, sender: word(4)?, number: word(8)?, time };
        (word(12)? == MARK).then_some(head)
    }

    fn encode(&self) -> [u8; HEAD] {
        let mut out = [0; HEAD];
        out[0..4].copy_from_slice(&self.room.to_le_bytes());
        out[4..8].copy_from_slice(&self.sender.to_le_bytes());
        out[8..12].copy_from_slice(&self.number.to_le_bytes());
        out[12..16].copy_from_slice(&MARK.to_le_bytes());
        out[16..24].copy_from_slice(&self.time.to_le_bytes());
        out
    }
}

/// The low bytes of a number, as a short payload carries them.
#[inline]
pub(super) fn short(number: u32, len: usize) -> u64 {
    u64::from(number) & (u64::MAX >> (64 - 8 * len.clamp(1, 4)))
}

/// Reads what [`short`] wrote.
#[inline]
pub(super) fn parse_short(payload: &[u8]) -> u64 {
    let low = payload.iter().take(4).rev();
    low.fold(0, |value, byte| value << 8 | u64::from(*byte))
}

/// The bytes behind the head: each says where it stands.
pub(super) fn filling(len: usize, is_text: bool) -> Vec<u8> {
    let all = if is_text { b'a'..=b'z' } else { 0..=250 };
    all.cycle().take(len).collect()
}

/// Appends a message to what a connection has to send.
#[inline]
pub(super) fn put(
    out: &mut Vec<u8>,
    template: &Template,
    payload: usize,
    is_text: bool,
    head: &Head,
) {
    let at = out.len() + template.payload_at;
    out.extend_from_slice(&template.bytes);
    let head_bytes = head.encode();
    let mut bytes = [0; 2 * HEAD];
    let len = if payload < head_len(is_text) {
        let len = payload.min(4);
        bytes[..len].copy_from_slice(&head.number.to_le_bytes()[..len]);
        len
    } else if is_text {
        for (pair, byte) in bytes.chunks_exact_mut(2).zip(head_bytes) {
            pair[0] = DIGITS[usize::from(byte >> 4)];
            pair[1] = DIGITS[usize::from(byte & 15)];
        }
        bytes.len()
    } else {
        bytes[..HEAD].copy_from_slice(&head_bytes);
        HEAD
    };
    if let Some(masked_from) = template.masked_from {
        websocket::mask(&mut bytes[..len], masked_from);
    }
    out[at..at + len].copy_from_slice(&bytes[..len]);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(is_text: bool, masked_from: Option<usize>) -> Vec<u8> {
        let template = Template { bytes: vec![0; 60], payload_at: 3, masked_from };
        let head = Head { room: 7, sender: 0xfe, number: 70_000, time: u64::MAX - 1 };
        let mut out = vec![9];
        put(&mut out, &template, 57, is_text, &head);
        out.split_off(4)
    }

    #[test]
    fn a_head_is_read_as_it_was_written() {
        for is_text in [false, true] {
            let head = Head::parse(&written(is_text, None), is_text).unwrap();
            assert_eq!((head.room, head.sender, head.number), (7, 0xfe, 70_000));
            assert_eq!(head.time, u64::MAX - 1);
        }
        assert!(Head::parse(&written(true, None), false).is_none());
        assert!(written(true, None)[..48].iter().all(u8::is_ascii_hexdigit));
    }

    #[test]
    fn a_mask_goes_on_from_where_the_payload_begins() {
        let mut masked = written(false, Some(3));
        websocket::mask(&mut masked[..HEAD], 3);
        assert_eq!(masked, written(false, None));
    }
}
