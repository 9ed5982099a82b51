//! What stands in a message: whose it is, its number, when it was sent, and bytes that can be
//! checked. A payload too short for that carries the low bytes of its number.

use crate::dialect::Template;
use crate::websocket;

/// Bytes of a full head.
pub(super) const HEAD: usize = 24;

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
    pub(super) fn parse(payload: &[u8]) -> Option<Self> {
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
pub(super) fn filling(len: usize) -> Vec<u8> {
    (0..=250).cycle().take(len).collect()
}

/// Appends a message to what a connection has to send.
#[inline]
pub(super) fn put(out: &mut Vec<u8>, template: &Template, payload: usize, head: &Head) {
    let at = out.len() + template.payload_at;
    out.extend_from_slice(&template.bytes);
    let mut bytes = head.encode();
    let low = head.number.to_le_bytes();
    let bytes: &mut [u8] = if payload < HEAD {
        let len = payload.min(4);
        bytes[..len].copy_from_slice(&low[..len]);
        &mut bytes[..len]
    } else {
        &mut bytes
    };
    if template.is_masked {
        // The mask began with the WebSocket payload, before the dialect's own head of 0 or 4 bytes,
        // which does not shift it.
        websocket::mask(bytes, 0);
    }
    let len = bytes.len();
    out[at..at + len].copy_from_slice(bytes);
}
