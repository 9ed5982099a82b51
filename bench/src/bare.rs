//! What the bare servers have in common: rooms, the protocol of `bench/peers/`, and messages gathered
//! per room until a turn of the event loop ends. How bytes travel is the server's.

use std::io::IoSlice;
use std::ops::Range;

use crate::websocket::accept;

/// A room's gathered messages are sent from this size on, within a turn too.
const BATCH_BYTES: usize = 256 * 1024;
/// A message of this size is sent from where it was read, together with those like it behind it.
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
        let mut large = Vec::new();
        while at < input.len() {
            let Some(number) = *room else {
                let (took, number) = self.upgrade(id, &input[at..], wire)?;
                if number.is_none() {
                    return Some(at);
                }
                *room = number;
                at += took;
                continue;
            };
            let frame = match find(&input[at..]) {
                Ok(frame) => frame,
                Err(End::Incomplete) => break,
                Err(End::Over) => {
                    self.send_large(id, number, input, &mut large, wire);
                    return None;
                }
            };
            let payload = at + frame.payload.start..at + frame.payload.end;
            if frame.is_message {
                unmask(&mut input[payload.clone()], frame.mask);
                if payload.len() >= LARGE_BYTES {
                    large.push(payload.clone());
                } else {
                    self.send_large(id, number, input, &mut large, wire);
                    self.append(id, number, &input[payload.clone()], wire);
                }
            }
            at = payload.end;
        }
        if let Some(number) = *room {
            self.send_large(id, number, input, &mut large, wire);
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
        self.flush(number, 0, &[], wire);
        self.rooms[number].members.push(id);
        wire.send(id, &[IoSlice::new(&answer)]);
        Some((end + 4, Some(number)))
    }

    fn append(&mut self, id: usize, room: usize, payload: &[u8], wire: &mut impl Wire) {
        let Room { batch, own, .. } = &mut self.rooms[room];
        if batch.is_empty() {
            self.marked.push(room);
        }
        let from = batch.len();
        put_head(batch, payload.len(), self.extra);
        batch.extend_from_slice(payload);
        own.push((id, from, batch.len()));
        if batch.len() >= BATCH_BYTES {
            self.flush(room, id, &[], wire);
        }
    }

    /// Sends large messages of one sender, and forgets them.
    fn send_large(
        &mut self,
        id: usize,
        room: usize,
        input: &[u8],
        large: &mut Vec<Range<usize>>,
        wire: &mut impl Wire,
    ) {
        if !large.is_empty() {
            let payloads: Vec<_> = large.drain(..).map(|payload| &input[payload]).collect();
            self.flush(room, id, &payloads, wire);
        }
    }

    /// Sends what all rooms have gathered.
    pub fn flush_all(&mut self, wire: &mut impl Wire) {
        for room in std::mem::take(&mut self.marked) {
            self.flush(room, 0, &[], wire);
        }
    }

    /// Sends what a room has gathered, and large messages of one sender behind it. Without any, who
    /// that is does not matter.
    fn flush(&mut self, room: usize, sender: usize, large: &[&[u8]], wire: &mut impl Wire) {
        let Room { members, batch, own } = &mut self.rooms[room];
        if batch.is_empty() && large.is_empty() {
            return;
        }
        own.sort_unstable();
        let mut own_rest = &own[..];
        let head = |payload: &&[u8]| {
            let mut head = Vec::new();
            put_head(&mut head, payload.len(), self.extra);
            head
        };
        let heads: Vec<_> = large.iter().map(head).collect();
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
            if *member != sender {
                for (head, payload) in heads.iter().zip(large) {
                    parts.extend([IoSlice::new(head), IoSlice::new(payload)]);
                }
            }
            wire.send(*member, &parts);
        }
        batch.clear();
        own.clear();
    }

    /// Takes a connection out of its room.
    pub fn leave(&mut self, id: usize, room: usize, wire: &mut impl Wire) {
        // What it said goes to the others first.
        self.flush(room, 0, &[], wire);
        self.rooms[room].members.retain(|member| *member != id);
    }
}

/// A frame at the front of a connection's input.
struct Found {
    is_message: bool,
    mask: [u8; 4],
    payload: Range<usize>,
}

/// Why there is none.
enum End {
    /// More is needed.
    Incomplete,
    /// The connection is over.
    Over,
}

/// Looks at the front of a connection's input.
fn find(input: &[u8]) -> Result<Found, End> {
    let [first, second, ..] = *input else { return Err(End::Incomplete) };
    let long = |bytes: usize| input.get(2..2 + bytes).ok_or(End::Incomplete);
    let number = |bytes: &[u8]| bytes.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte));
    let (mask_at, len) = match second & 0x7f {
        126 => (4, number(long(2)?)),
        127 => (10, number(long(8)?)),
        short => (2, usize::from(short)),
    };
    if first & 0x70 != 0 || second & 0x80 == 0 || len > 1 << 24 || first & 0x0f == 8 {
        return Err(End::Over);
    }
    let payload = mask_at + 4..mask_at + 4 + len;
    let Some([a, b, c, d]) = input.get(mask_at..payload.start) else {
        return Err(End::Incomplete);
    };
    if input.len() < payload.end {
        return Err(End::Incomplete);
    }
    Ok(Found { is_message: first == 0x82, mask: [*a, *b, *c, *d], payload })
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
