//! Healthy rooms of two, whose members speak at a steady pace and below every limit: each room
//! on a thread of its own, so that one which waits delays no other.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use lethewire_bench::Fault;
use lethewire_bench::dialect::lethewire::Lethewire;
use lethewire_bench::dialect::{Dialect as _, Ticket};
use lethewire_bench::websocket::{self, BINARY, CLOSE, PING, PONG, TEXT};

/// How many rooms.
pub(crate) const ROOMS: u32 = 40;
/// What they say together.
pub(crate) const MESSAGES_PER_S: u32 = 1000;
/// Between two messages of a room.
const BEAT: Duration = Duration::from_micros(1_000_000 * ROOMS as u64 / MESSAGES_PER_S as u64);

/// Who waits longer is not slow but lost.
const PATIENCE: Duration = Duration::from_secs(10);
/// Bytes that the relay puts before a payload.
const RELAY_HEAD: usize = 20;

/// How long messages took, in microseconds.
pub(crate) type Delays = Histogram<u64>;

/// When the rooms talk, and from when on it counts.
struct Span {
    begun: Instant,
    before: Duration,
    end: Duration,
}

/// Rooms of two.
pub(crate) struct Rooms(Vec<Room>);

struct Room {
    members: [Member; 2],
    /// How many messages were said in it.
    said: u64,
}

/// A member of a room, on a socket that blocks.
pub(crate) struct Member {
    stream: TcpStream,
    unread: Vec<u8>,
}

impl Rooms {
    pub(crate) fn open(addr: SocketAddr) -> Result<Self, Fault> {
        let mut rooms = Vec::new();
        let relay = Lethewire { addr };
        for tickets in relay.tickets(ROOMS, 2)? {
            let [one, other] = &tickets[..] else { return Err("no pair of tickets".into()) };
            let members = [Member::join(addr, one)?, Member::join(addr, other)?];
            rooms.push(Room { members, said: 0 });
        }
        Ok(Self(rooms))
    }

    /// Lets each room talk at its own beat, first for a while that does not count, and says how long
    /// each message took after that, in microseconds.
    pub(crate) fn talk(&mut self, before: Duration, time: Duration) -> Result<Delays, Fault> {
        let span = &Span { begun: Instant::now(), before, end: before + time };
        std::thread::scope(|scope| {
            let rooms: Vec<_> = (0..)
                .zip(&mut self.0)
                .map(|(place, room)| {
                    // One after the other, so that they are spread over the beat.
                    let first = BEAT * place / ROOMS;
                    scope.spawn(move || room.talk(span, first))
                })
                .collect();
            let mut delays = Delays::new(3)?;
            for room in rooms {
                delays.add(&room.join().map_err(|_| "a room panicked")??)?;
            }
            Ok(delays)
        })
    }
}

impl Room {
    /// Says a message at each beat, each member in turn, and notes how long it took to the other one.
    fn talk(&mut self, span: &Span, mut due: Duration) -> Result<Delays, Fault> {
        let mut delays = Delays::new(3)?;
        while due < span.end {
            if let Some(wait) = due.checked_sub(span.begun.elapsed()) {
                std::thread::sleep(wait);
            }
            let [one, other] = &mut self.members;
            let swapped = self.said % 2 == 1;
            let (speaker, listener) = if swapped { (other, one) } else { (one, other) };
            let sent = Instant::now();
            speaker.say(&self.said.to_be_bytes())?;
            if listener.hear()? != self.said.to_be_bytes() {
                return Err("a healthy member heard something else".into());
            }
            if due >= span.before {
                delays.record(u64::try_from(sent.elapsed().as_micros())?)?;
            }
            self.said += 1;
            due += BEAT;
        }
        Ok(delays)
    }
}

impl Member {
    /// Joins, and waits for the welcome.
    pub(crate) fn join(addr: SocketAddr, ticket: &Ticket) -> Result<Self, Fault> {
        let stream = TcpStream::connect(addr)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let mut member = Self { stream, unread: Vec::new() };
        let mut request = Vec::new();
        Lethewire { addr }.greet(ticket, &mut request);
        member.stream.write_all(&request)?;
        let len = loop {
            match websocket::upgrade_answer(&member.unread)? {
                Some(len) => break len,
                None => member.read()?,
            }
        };
        member.unread.drain(..len);
        while member.frame()?.0 != TEXT {}
        Ok(member)
    }

    /// SEND.
    pub(crate) fn say(&mut self, payload: &[u8]) -> Result<(), Fault> {
        let mut out = Vec::new();
        websocket::put_frame(&mut out, BINARY, &[&[1, 0, 0, 0], payload].concat());
        Ok(self.stream.write_all(&out)?)
    }

    /// The next message, past joins and pings.
    fn hear(&mut self) -> Result<Vec<u8>, Fault> {
        loop {
            match self.frame()? {
                (BINARY, payload) => {
                    return Ok(payload.get(RELAY_HEAD..).ok_or("a short frame")?.to_vec());
                }
                (PING, payload) => {
                    let mut out = Vec::new();
                    websocket::put_frame(&mut out, PONG, &payload);
                    self.stream.write_all(&out)?;
                }
                (CLOSE, _) => return Err("a healthy member was closed".into()),
                _ => {}
            }
        }
    }

    /// The socket, to misbehave on.
    pub(crate) fn into_stream(self) -> TcpStream {
        self.stream
    }

    fn frame(&mut self) -> Result<(u8, Vec<u8>), Fault> {
        loop {
            if let Some(head) = websocket::head(&self.unread)?
                && let Some(payload) = self.unread.get(head.len..head.total())
            {
                let payload = payload.to_vec();
                self.unread.drain(..head.total());
                return Ok((head.opcode, payload));
            }
            self.read()?;
        }
    }

    fn read(&mut self) -> Result<(), Fault> {
        let mut buffer = [0; 4096];
        match self.stream.read(&mut buffer) {
            Ok(0) => Err("the relay ended a connection".into()),
            Ok(count) => {
                self.unread.extend_from_slice(&buffer[..count]);
                Ok(())
            }
            Err(e) if e.kind() == ErrorKind::WouldBlock => Err("waited too long".into()),
            Err(e) => Err(e.into()),
        }
    }
}
