//! The least that a correct WebSocket fan-out can be on epoll: one thread, no limits, no tokens, no
//! heartbeat. It stands for the physical limit in BENCHMARKS.md. `bench-epoll <port>`.
//!
//! All messages of one round of epoll are gathered per room and written to each member at once,
//! without the member's own. Speaks the protocol of `bench/peers/`.

use std::error::Error;
use std::io::{self, ErrorKind, IoSlice, Read as _, Write as _};

use lethewire_bench::websocket::accept;
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};

const LISTENER: Token = Token(usize::MAX);
const SCRATCH_BYTES: usize = 256 * 1024;
/// A room's gathered messages are written out from this size on, within a round too.
const BATCH_BYTES: usize = 256 * 1024;
/// A message of this size is written from where it was read.
const LARGE_BYTES: usize = 8 * 1024;

struct Conn {
    stream: TcpStream,
    room: Option<usize>,
    kept: Vec<u8>,
    waiting: Vec<u8>,
    waiting_at: usize,
}

#[derive(Default)]
struct Room {
    members: Vec<usize>,
    batch: Vec<u8>,
    /// Who said what: member, from, to.
    own: Vec<(usize, usize, usize)>,
}

struct Server {
    conns: Vec<Option<Conn>>,
    free: Vec<usize>,
    rooms: Vec<Room>,
    marked: Vec<usize>,
}

fn main() -> Result<(), Box<dyn Error>> {
    let port: u16 = std::env::args().nth(1).ok_or("usage: bench-epoll <port>")?.parse()?;
    let mut listener = TcpListener::bind(([127, 0, 0, 1], port).into())?;
    let mut poll = Poll::new()?;
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    let mut events = Events::with_capacity(1024);
    let mut server =
        Server { conns: Vec::new(), free: Vec::new(), rooms: Vec::new(), marked: Vec::new() };
    let mut scratch = vec![0; SCRATCH_BYTES];
    loop {
        match poll.poll(&mut events, None) {
            Err(e) if e.kind() != ErrorKind::Interrupted => return Err(e.into()),
            _ => {}
        }
        for event in &events {
            if event.token() == LISTENER {
                server.accept(&listener, &poll)?;
                continue;
            }
            let id = event.token().0;
            if event.is_writable() {
                server.drain(id);
            }
            if event.is_readable() || event.is_read_closed() {
                server.read(id, &mut scratch);
            }
        }
        for room in std::mem::take(&mut server.marked) {
            server.flush(room, None);
        }
    }
}

impl Server {
    fn accept(&mut self, listener: &TcpListener, poll: &Poll) -> io::Result<()> {
        loop {
            let mut stream = match listener.accept() {
                Ok((stream, _)) => stream,
                Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(_) => continue,
            };
            stream.set_nodelay(true)?;
            let id = self.free.pop().unwrap_or_else(|| {
                self.conns.push(None);
                self.conns.len() - 1
            });
            let interest = Interest::READABLE | Interest::WRITABLE;
            poll.registry().register(&mut stream, Token(id), interest)?;
            self.conns[id] = Some(Conn {
                stream,
                room: None,
                kept: Vec::new(),
                waiting: Vec::new(),
                waiting_at: 0,
            });
        }
    }

    fn read(&mut self, id: usize, scratch: &mut [u8]) {
        loop {
            let Some(conn) = &mut self.conns[id] else { return };
            let kept = conn.kept.len();
            let got = if kept >= LARGE_BYTES {
                // The rest of a large frame, behind what is there.
                conn.kept.resize(kept + SCRATCH_BYTES, 0);
                let got = conn.stream.read(&mut conn.kept[kept..]);
                conn.kept.truncate(kept + got.as_ref().map_or(0, |count| *count));
                got
            } else {
                conn.stream.read(&mut scratch[kept..])
            };
            let count = match got {
                Ok(0) => return self.leave(id),
                Ok(count) => count,
                Err(e) if e.kind() == ErrorKind::WouldBlock => return,
                Err(e) if e.kind() == ErrorKind::Interrupted => continue,
                Err(_) => return self.leave(id),
            };
            let full = if kept >= LARGE_BYTES {
                let mut whole = std::mem::take(&mut conn.kept);
                self.take(id, &mut whole);
                count == SCRATCH_BYTES
            } else {
                scratch[..kept].copy_from_slice(&conn.kept);
                conn.kept.clear();
                self.take(id, &mut scratch[..kept + count]);
                kept + count == SCRATCH_BYTES
            };
            if !full {
                return;
            }
        }
    }

    /// Takes whole requests and frames off the input and keeps the rest.
    fn take(&mut self, id: usize, input: &mut [u8]) {
        let mut at = 0;
        while at < input.len() {
            let Some(conn) = &mut self.conns[id] else { return };
            let took = match conn.room {
                None => self.upgrade(id, &input[at..]),
                Some(room) => self.frame(id, room, &mut input[at..]),
            };
            match took {
                Some(0) => break,
                Some(len) => at += len,
                None => return self.leave(id),
            }
        }
        if let Some(conn) = &mut self.conns[id] {
            conn.kept.extend_from_slice(&input[at..]);
        }
    }

    /// Zero if more is needed, none if it is no upgrade.
    fn upgrade(&mut self, id: usize, input: &[u8]) -> Option<usize> {
        let Some(end) = input.windows(4).position(|four| four == b"\r\n\r\n") else {
            return Some(0);
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
        self.flush(number, None);
        self.rooms[number].members.push(id);
        let conn = self.conns[id].as_mut()?;
        conn.room = Some(number);
        conn.send(&[IoSlice::new(&answer)]);
        Some(end + 4)
    }

    /// Zero if more is needed, none if the connection is over.
    fn frame(&mut self, id: usize, room: usize, input: &mut [u8]) -> Option<usize> {
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
            self.flush(room, Some((id, payload)));
            return Some(total);
        }
        let Room { batch, own, .. } = &mut self.rooms[room];
        if batch.is_empty() {
            self.marked.push(room);
        }
        let from = batch.len();
        put_head(batch, len);
        batch.extend_from_slice(payload);
        own.push((id, from, batch.len()));
        if batch.len() >= BATCH_BYTES {
            self.flush(room, None);
        }
        Some(total)
    }

    /// Writes what a room has gathered, and a large message behind it.
    fn flush(&mut self, room: usize, large: Option<(usize, &[u8])>) {
        let Room { members, batch, own } = &mut self.rooms[room];
        if batch.is_empty() && large.is_none() {
            return;
        }
        own.sort_unstable();
        let mut own_rest = &own[..];
        let mut head = Vec::new();
        if let Some((_, payload)) = large {
            put_head(&mut head, payload.len());
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
            if let Some(conn) = &mut self.conns[*member] {
                conn.send(&parts);
            }
        }
        batch.clear();
        own.clear();
    }

    fn drain(&mut self, id: usize) {
        if let Some(conn) = &mut self.conns[id] {
            conn.drain();
        }
    }

    fn leave(&mut self, id: usize) {
        let Some(conn) = &self.conns[id] else { return };
        if let Some(room) = conn.room {
            // What it said goes to the others first.
            self.flush(room, None);
            self.rooms[room].members.retain(|member| *member != id);
        }
        self.conns[id] = None;
        self.free.push(id);
    }
}

impl Conn {
    /// Writes what the socket takes and keeps the rest.
    fn send(&mut self, parts: &[IoSlice<'_>]) {
        let total: usize = parts.iter().map(|part| part.len()).sum();
        if total == 0 {
            return;
        }
        let mut written = 0;
        if self.waiting.is_empty() {
            // No more than one call takes; the rest waits for the next round.
            let first = parts.get(..1024).unwrap_or(parts);
            written = self.stream.write_vectored(first).unwrap_or(0);
        }
        for part in parts {
            let skip = written.min(part.len());
            written -= skip;
            self.waiting.extend_from_slice(&part[skip..]);
        }
        if parts.len() > 1024 {
            self.drain();
        }
    }

    fn drain(&mut self) {
        while self.waiting_at < self.waiting.len() {
            match self.stream.write(&self.waiting[self.waiting_at..]) {
                Ok(count) => self.waiting_at += count,
                Err(_) => return,
            }
        }
        self.waiting = Vec::new();
        self.waiting_at = 0;
    }
}

/// In pieces that the compiler makes vectors of.
fn unmask(payload: &mut [u8], mask: [u8; 4]) {
    let wide: [u8; 32] = std::array::from_fn(|i| mask[i % 4]);
    for piece in payload.chunks_mut(32) {
        for (byte, key) in piece.iter_mut().zip(wide) {
            *byte ^= key;
        }
    }
}

fn put_head(out: &mut Vec<u8>, len: usize) {
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
}
