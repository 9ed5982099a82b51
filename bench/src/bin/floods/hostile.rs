//! The attackers: each does the same thing again and again, at their common pace.

use std::collections::VecDeque;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use lethewire_bench::Fault;
use lethewire_bench::dialect::Dialect as _;
use lethewire_bench::dialect::lethewire::Lethewire;
use lethewire_bench::websocket::{BINARY, PING, PONG, TEXT};

use crate::healthy::Member;
use crate::pace::Pace;

/// Something that is done to the relay.
pub(crate) struct Flood {
    pub(crate) name: &'static str,
    pub(crate) what: &'static str,
    attack: Attack,
}

enum Attack {
    /// A member sends this until it is closed.
    Member(fn() -> Vec<u8>),
    /// Somebody who has just connected sends this until it is cut.
    Stranger(fn() -> Vec<u8>),
    /// Many send this and wait; the oldest goes when there are more than [`CROWD`].
    Crowd(fn() -> Vec<u8>),
    /// A member says large messages to another one, who never reads.
    Slow,
}

/// All floods.
pub(crate) const FLOODS: &[Flood] = &[
    flood("pings", "members that ping", Attack::Member(|| frames(0x80 | PING, &[7; 100]))),
    flood("pongs", "members that pong", Attack::Member(|| frames(0x80 | PONG, b""))),
    flood("fragments", "empty fragments", Attack::Member(|| frames(0, b""))),
    flood("texts", "empty texts", Attack::Member(|| frames(0x80 | TEXT, b""))),
    flood(
        "tiny",
        "messages of one byte",
        Attack::Member(|| frames(0x80 | BINARY, &[1, 0, 0, 0, 7])),
    ),
    flood("garbage", "bytes that are no frames", Attack::Member(|| vec![0xFF; 100_000])),
    flood("heads", "heads of a megabyte", Attack::Stranger(|| head(1 << 20))),
    flood("noise", "bytes that are no request", Attack::Stranger(|| vec![0xFF; 100_000])),
    flood("half-open", "requests that stop in their head", Attack::Crowd(|| head(4000))),
    flood("churn", "connections that say nothing", Attack::Crowd(Vec::new)),
    flood("upgrades", "handshakes with a bad token, never read", Attack::Crowd(upgrade)),
    flood("slow", "members that do not read 60 kB messages", Attack::Slow),
];

const fn flood(name: &'static str, what: &'static str, attack: Attack) -> Flood {
    Flood { name, what, attack }
}

/// Connections that one attacker holds.
const CROWD: usize = 500;
/// Who waits longer goes on to the next connection.
const PATIENCE: Duration = Duration::from_secs(2);

/// An attacker's view of the relay.
pub(crate) struct Hostile<'a> {
    pub(crate) addr: SocketAddr,
    /// When to begin each attack.
    pub(crate) pace: &'a Pace,
    /// When to stop.
    pub(crate) over: &'a AtomicBool,
    /// Connections that were tried for it.
    pub(crate) attacks: &'a AtomicU64,
}

impl Hostile<'_> {
    /// Attacks until it is over. What the relay does about it is its own business.
    pub(crate) fn attack(&self, flood: &Flood) {
        let mut crowd = VecDeque::new();
        while self.pace.wait(self.over) {
            let attacked = match flood.attack {
                Attack::Member(bytes) => self.as_member(&bytes()),
                Attack::Stranger(bytes) => self.connect().map(|stream| strike(stream, &bytes())),
                Attack::Crowd(bytes) => self.connect().map(|mut stream| {
                    let _ = stream.write_all(&bytes());
                    crowd.push_back(stream);
                    if crowd.len() > CROWD {
                        crowd.pop_front();
                    }
                }),
                Attack::Slow => self.slowly(),
            };
            // One that is refused is an attack as well.
            drop(attacked);
            self.attacks.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn connect(&self) -> Result<TcpStream, Fault> {
        let stream = TcpStream::connect(self.addr)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(stream)
    }

    fn as_member(&self, bytes: &[u8]) -> Result<(), Fault> {
        let tickets = Lethewire { addr: self.addr }.tickets(1, 1)?;
        let ticket = tickets.first().and_then(|room| room.first()).ok_or("no ticket")?;
        strike(Member::join(self.addr, ticket)?.into_stream(), bytes);
        Ok(())
    }

    fn slowly(&self) -> Result<(), Fault> {
        let tickets = Lethewire { addr: self.addr }.tickets(1, 2)?;
        let Some([one, other]) = tickets.first().map(Vec::as_slice) else {
            return Err("no pair of tickets".into());
        };
        let mut talker = Member::join(self.addr, one)?;
        let _deaf = Member::join(self.addr, other)?;
        for _ in 0..100 {
            if self.over.load(Ordering::Relaxed) || talker.say(&[7; 60_000]).is_err() {
                break;
            }
        }
        Ok(())
    }
}

/// Writes all of it and reads to the end.
fn strike(mut stream: TcpStream, bytes: &[u8]) {
    let _ = stream.write_all(bytes);
    let mut buffer = [0; 4096];
    loop {
        match stream.read(&mut buffer) {
            // A close frame by itself: nobody answers it, so the rest would be waiting.
            Ok(count) if count > 0 && buffer[..count].contains(&0x88) => return,
            Ok(count) if count > 0 => {}
            _ => return,
        }
    }
}

/// Two thousand client's frames, more than a member may send in ten seconds.
fn frames(first: u8, payload: &[u8]) -> Vec<u8> {
    let len = u8::try_from(payload.len()).unwrap_or(125).min(125);
    let frame = [&[first, 0x80 | len, 0, 0, 0, 0], payload].concat();
    // A message begins before its fragments.
    let begin: &[u8] = if first == 0 { &[BINARY, 0x80, 0, 0, 0, 0] } else { &[] };
    [begin, &frame.repeat(2000)].concat()
}

fn head(len: usize) -> Vec<u8> {
    format!("GET /live HTTP/1.1\r\nHost: a\r\nX: {}", "x".repeat(len)).into_bytes()
}

fn upgrade() -> Vec<u8> {
    let ticket = lethewire_bench::dialect::Ticket { room: 0, token: "x".to_owned() };
    let mut request = Vec::new();
    Lethewire { addr: SocketAddr::from(([127, 0, 0, 1], 0)) }.greet(&ticket, &mut request);
    request
}
