//! The least that a correct WebSocket fan-out can be on epoll: one thread, no limits, no tokens, no
//! heartbeat. It stands for the physical limit in BENCHMARKS.md. `bench-epoll <port> [<bytes>]`: so many
//! stand in front of each payload on its way to the members, none if it is not said.
//!
//! All messages of one round of epoll are gathered per room and written to each member at once,
//! without the member's own.

use std::error::Error;
use std::io::{self, ErrorKind, IoSlice, Read as _, Write as _};

use lethewire_bench::bare::{LARGE_BYTES, Rooms, Wire};
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};

const LISTENER: Token = Token(usize::MAX);
const SCRATCH_BYTES: usize = 256 * 1024;

struct Conn {
    stream: TcpStream,
    room: Option<usize>,
    kept: Vec<u8>,
    waiting: Vec<u8>,
    waiting_at: usize,
}

#[derive(Default)]
struct Conns {
    all: Vec<Option<Conn>>,
    free: Vec<usize>,
}

struct Server {
    conns: Conns,
    rooms: Rooms,
}

impl Wire for Conns {
    fn send(&mut self, member: usize, parts: &[IoSlice<'_>]) {
        if let Some(conn) = &mut self.all[member] {
            conn.send(parts);
        }
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    const USAGE: &str = "usage: bench-epoll <port> [<bytes in front of each payload>]";
    let mut arguments = std::env::args().skip(1);
    let port: u16 = arguments.next().ok_or(USAGE)?.parse()?;
    let extra = arguments.next().map_or(Ok(0), |bytes| bytes.parse())?;
    let mut listener = TcpListener::bind(([127, 0, 0, 1], port).into())?;
    let mut poll = Poll::new()?;
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    let mut events = Events::with_capacity(1024);
    let mut server = Server { conns: Conns::default(), rooms: Rooms::with_extra(extra) };
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
        server.rooms.flush_all(&mut server.conns);
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
            let id = self.conns.free.pop().unwrap_or_else(|| {
                self.conns.all.push(None);
                self.conns.all.len() - 1
            });
            let interest = Interest::READABLE | Interest::WRITABLE;
            poll.registry().register(&mut stream, Token(id), interest)?;
            self.conns.all[id] = Some(Conn {
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
            let Some(conn) = &mut self.conns.all[id] else { return };
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
        let Some(conn) = &self.conns.all[id] else { return };
        let mut room = conn.room;
        let took = self.rooms.take(id, &mut room, input, &mut self.conns);
        if let Some(conn) = &mut self.conns.all[id] {
            conn.room = room;
            match took {
                Some(took) => conn.kept.extend_from_slice(&input[took..]),
                None => self.leave(id),
            }
        }
    }

    fn drain(&mut self, id: usize) {
        if let Some(conn) = &mut self.conns.all[id] {
            conn.drain();
        }
    }

    fn leave(&mut self, id: usize) {
        let Some(conn) = &self.conns.all[id] else { return };
        if let Some(room) = conn.room {
            self.rooms.leave(id, room, &mut self.conns);
        }
        self.conns.all[id] = None;
        self.conns.free.push(id);
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
