//! What the bare servers have in common: rooms, the protocol of `bench/peers/`, and messages gathered
//! per room until a turn of the event loop ends. How bytes travel is the server's.

use std::io::IoSlice;

use crate::websocket::accept;

/// A room's gathered messages are sent from this size on, within a turn too.
const BATCH_BYTES: usize = 256 * 1024;
/// A message of this size is sent from where it was read.
pub const LARGE_BYTES: usize = 8 * 1024;

/// The sending half of a server's connections.
pub trait Wire {
    /// Sends these parts to a member, or keeps what cannot be sent yet.
    fn send(&mut self, member: usize, parts: &[IoSlice<'_>]);
}

#[derive(Default)]
struct Room {
    members: Vec<usize>,
    batch: Vec<u8>,
    /// Who said what: member, from, to.
    own: Vec<(usize, usize, usize)>,
}

/// All rooms.
#[derive(Default)]
pub struct Rooms {
    /// Bytes that stand in front of each payload on its way to the members.
    extra: usize,
    rooms: Vec<Room>,
    marked: Vec<usize>,
}

impl Rooms {
    /// Rooms in which so many bytes stand in front of each payload on its way to the members.
    #[must_use]
    pub fn with_extra(extra: usize) -> Self {
        Self { extra, ..Self::default() }
    }

    /// Takes whole requests and frames off a connection's input, and says how many bytes those were;
    /// none if the connection is over. `room` is none until the connection is in one.
    pub fn take(
        &mut self,
        id: usize,
        room: &mut Option<usize>,
        input: &mut [u8],
        wire: &mut impl Wire,
    ) -> Option<usize> {
        let mut at = 0;
        while at < input.len() {
            let took = match *room {
                None => {
                    let (took, number) = self.upgrade(id, &input[at..], wire)?;
                    *room = number;
                    took
                }
                Some(room) => self.frame(id, room, &mut input[at..], wire)?,
            };
            if took == 0 {
                break;
            }
            at += took;
        }
        Some(at)
    }

    /// Zero if more is needed, none if it is no upgrade.
    fn upgrade(
        &mut self,
        id: usize,
        input: &[u8],
        wire: &mut impl Wire,
    ) -> Option<(usize, Option<usize>)> {
        let Some(end) = input.windows(4).position(|four| four == b"\r\n\r\n") else {
            return Some((0, None));
        };
        let head = std::str::from_utf8(&input[..end]).ok()?;
        let number: usize = head.strip_prefix("GET /")?.split(' ').next()?.parse().ok()?;
        let (_, key) = head
            .lines()
            .filter_map(|line| line.split_once(':'))
            .find(|(name, _)| name.eq_ignore_ascii_case("sec-websocket-key"))?;
        let answer = format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: {}\r\n\r\n\x01\x05hello",
            accept(key.trim())
        );
        let mut answer = answer.into_bytes();
        let hello = answer.len() - 7;
        answer[hello] = 0x81;
        if self.rooms.len() <= number {
            self.rooms.resize_with(number + 1, Room::default);
        }
        // What was said before is not for the newcomer.
        self.flush(number, None, wire);
        self.rooms[number].members.push(id);
        wire.send(id, &[IoSlice::new(&answer)]);
        Some((end + 4, Some(number)))
    }

    /// Zero if more is needed, none if the connection is over.
    fn frame(
        &mut self,
        id: usize,
        room: usize,
        input: &mut [u8],
        wire: &mut impl Wire,
    ) -> Option<usize> {
        let [first, second, ..] = *input else { return Some(0) };
        let (mask_at, len) = match second & 0x7f {
            126 if input.len() < 4 => return Some(0),
            126 => (4, usize::from(u16::from_be_bytes([input[2], input[3]]))),
            127 if input.len() < 10 => return Some(0),
            127 => (10, usize::try_from(u64::from_be_bytes(input[2..10].try_into().ok()?)).ok()?),
            short => (2, usize::from(short)),
        };
        if first & 0x70 != 0 || second & 0x80 == 0 || len > 1 << 24 {
            return None;
        }
        let total = mask_at + 4 + len;
        if input.len() < total {
            return Some(0);
        }
        if first != 0x82 {
            return if first & 0x0f == 8 { None } else { Some(total) };
        }
        let mask: [u8; 4] = input[mask_at..mask_at + 4].try_into().ok()?;
        let payload = &mut input[mask_at + 4..total];
        unmask(payload, mask);
        if len >= LARGE_BYTES {
            self.flush(room, Some((id, payload)), wire);
            return Some(total);
        }
        let Room { batch, own, .. } = &mut self.rooms[room];
        if batch.is_empty() {
            self.marked.push(room);
        }
        let from = batch.len();
        put_head(batch, len, self.extra);
        batch.extend_from_slice(payload);
        own.push((id, from, batch.len()));
        if batch.len() >= BATCH_BYTES {
            self.flush(room, None, wire);
        }
        Some(total)
    }

    /// Sends what all rooms have gathered.
    pub fn flush_all(&mut self, wire: &mut impl Wire) {
        for room in std::mem::take(&mut self.marked) {
            self.flush(room, None, wire);
        }
    }

    /// Sends what a room has gathered, and a large message behind it.
    fn flush(&mut self, room: usize, large: Option<(usize, &[u8])>, wire: &mut impl Wire) {
        let Room { members, batch, own } = &mut self.rooms[room];
        if batch.is_empty() && large.is_none() {
            return;
        }
        own.sort_unstable();
        let mut own_rest = &own[..];
        let mut head = Vec::new();
        if let Some((_, payload)) = large {
            put_head(&mut head, payload.len(), self.extra);
        }
        members.sort_unstable();
        let mut parts = Vec::new();
        for member in members.iter() {
            parts.clear();
            let mut at = 0;
            while let Some(((id, from, to), rest)) = own_rest.split_first() {
                if id > member {
                    break;
                }
                own_rest = rest;
                if id == member {
                    parts.push(IoSlice::new(&batch[at..*from]));
                    at = *to;
                }
            }
            parts.push(IoSlice::new(&batch[at..]));
            if let Some((sender, payload)) = large
                && sender != *member
            {
                parts.extend([IoSlice::new(&head), IoSlice::new(payload)]);
            }
            wire.send(*member, &parts);
        }
        batch.clear();
        own.clear();
    }

    /// Takes a connection out of its room.
    pub fn leave(&mut self, id: usize, room: usize, wire: &mut impl Wire) {
        // What it said goes to the others first.
        self.flush(room, None, wire);
        self.rooms[room].members.retain(|member| *member != id);
    }
}

/// In pieces of a size that the compiler knows and makes vectors of.
fn unmask(payload: &mut [u8], mask: [u8; 4]) {
    let wide: [u8; 32] = std::array::from_fn(|i| mask[i % 4]);
    let apply = |piece: &mut [u8]| piece.iter_mut().zip(wide).for_each(|(byte, key)| *byte ^= key);
    let (pieces, rest) = payload.as_chunks_mut::<32>();
    pieces.iter_mut().for_each(|piece| apply(piece));
    apply(rest);
}

fn put_head(out: &mut Vec<u8>, payload: usize, extra: usize) {
    let len = payload + extra;
    out.push(0x82);
    match (u8::try_from(len), u16::try_from(len)) {
        (Ok(short), _) if short < 126 => out.push(short),
        (_, Ok(medium)) => {
            out.push(126);
            out.extend_from_slice(&medium.to_be_bytes());
        }
        _ => {
            out.push(127);
            out.extend_from_slice(&(len as u64).to_be_bytes());
        }
    }
    out.resize(out.len() + extra, 0);
}
