//! The relay's own protocol (`docs/protocol.md`): rooms and tokens over HTTP, a bearer subprotocol,
//! a 4-byte head to the relay and a 20-byte head from it.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::plain::{frame, pong, template, upgrade_and};
use super::{Dialect, Frame, Shake, Template, Ticket};
use crate::Fault;
use crate::websocket::{self, CLOSE};

/// Bytes that the relay puts before every payload.
pub const RELAY_HEAD: usize = 20;
/// SEND, no flags, reference 0.
const SEND: [u8; 4] = [0x01, 0, 0, 0];
/// Connections that get tokens side by side.
const CLERKS: u32 = 4;

/// See the module's text.
#[derive(Clone, Copy, Debug)]
pub struct Lethewire {
    /// Where the relay listens.
    pub addr: SocketAddr,
}

/// Several relays that share their rooms: the members of each room take turns with them.
#[derive(Clone, Debug)]
pub struct Nodes {
    /// Where the relays listen, at least one.
    pub addrs: Vec<SocketAddr>,
}

impl Nodes {
    fn first(&self) -> Lethewire {
        Lethewire { addr: self.addrs[0] }
    }
}

impl Dialect for Nodes {
    fn tickets(&self, rooms: u32, members: u32) -> Result<Vec<Vec<Ticket>>, Fault> {
        self.first().tickets(rooms, members)
    }

    fn addr_of(&self, member: u32) -> Option<SocketAddr> {
        self.addrs.get(member as usize % self.addrs.len()).copied()
    }

    fn greet(&self, ticket: &Ticket, out: &mut Vec<u8>) {
        self.first().greet(ticket, out);
    }

    fn shake(
        &self,
        ticket: &Ticket,
        step: &mut u8,
        input: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<Shake, Fault> {
        self.first().shake(ticket, step, input, out)
    }

    #[inline]
    fn frame(&self, input: &[u8]) -> Result<Option<Frame>, Fault> {
        self.first().frame(input)
    }

    #[inline]
    fn head_is_fine(&self, head: &[u8], memory: &mut u64) -> bool {
        self.first().head_is_fine(head, memory)
    }

    fn template(&self, ticket: &Ticket, payload: &[u8]) -> Template {
        self.first().template(ticket, payload)
    }

    fn pong(&self, ping: &[u8], out: &mut Vec<u8>) {
        self.first().pong(ping, out);
    }

    fn farewell(&self, out: &mut Vec<u8>) {
        self.first().farewell(out);
    }
}

impl Dialect for Lethewire {
    fn tickets(&self, rooms: u32, members: u32) -> Result<Vec<Vec<Ticket>>, Fault> {
        let mut tickets = Vec::new();
        std::thread::scope(|scope| {
            let clerks: Vec<_> = (0..CLERKS)
                .map(|clerk| {
                    let range = rooms * clerk / CLERKS..rooms * (clerk + 1) / CLERKS;
                    scope.spawn(move || -> Result<Vec<Vec<Ticket>>, Fault> {
                        let mut desk = Desk::open(self.addr)?;
                        range.map(|room| desk.tickets(room, members)).collect()
                    })
                })
                .collect();
            for clerk in clerks {
                tickets.extend(clerk.join().map_err(|_| "a clerk panicked")??);
            }
            Ok(tickets)
        })
    }

    fn greet(&self, ticket: &Ticket, out: &mut Vec<u8>) {
        let protocols =
            format!("Sec-WebSocket-Protocol: lethewire.v1, lethewire.bearer.{}\r\n", ticket.token);
        out.extend(websocket::upgrade_request("/v1/ws", &protocols).into_bytes());
    }

    fn shake(
        &self,
        _: &Ticket,
        step: &mut u8,
        input: &[u8],
        _: &mut Vec<u8>,
    ) -> Result<Shake, Fault> {
        upgrade_and(step, input, |text| text.starts_with(br#"{"type":"welcome""#))
    }

    #[inline]
    fn frame(&self, input: &[u8]) -> Result<Option<Frame>, Fault> {
        frame(input, RELAY_HEAD)
    }

    #[inline]
    fn head_is_fine(&self, head: &[u8], memory: &mut u64) -> bool {
        let Some((rest, seq)) = head.split_last_chunk::<8>() else { return false };
        let Some(from) = rest.len().checked_sub(12) else { return false };
        // The room's numbers rise: joins and leaves have some, and so has one's own message.
        let seq = u64::from_be_bytes(*seq);
        rest.get(from..from + 4) == Some(&[0x81, 0, 0, 0]) && seq > std::mem::replace(memory, seq)
    }

    fn template(&self, _: &Ticket, payload: &[u8]) -> Template {
        template(&SEND, payload)
    }

    fn pong(&self, ping: &[u8], out: &mut Vec<u8>) {
        pong(ping, out);
    }

    fn farewell(&self, out: &mut Vec<u8>) {
        websocket::put_frame(out, CLOSE, &1000_u16.to_be_bytes());
    }
}

/// A keep-alive connection that makes rooms and gets tokens.
struct Desk {
    stream: BufReader<TcpStream>,
}

impl Desk {
    fn open(addr: SocketAddr) -> Result<Self, Fault> {
        let stream = TcpStream::connect(addr)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(20)))?;
        Ok(Self { stream: BufReader::new(stream) })
    }

    fn tickets(&mut self, room: u32, members: u32) -> Result<Vec<Ticket>, Fault> {
        let key = random::<32>()?;
        let made = self.post("/v1/rooms", &json!({"key": key, "owner": random::<16>()?}))?;
        let ask = json!({"room": made["room"], "key": key});
        (0..members)
            .map(|_| {
                let answer = self.post("/v1/tokens", &ask)?;
                let token = answer["token"].as_str().ok_or("no token")?.to_owned();
                Ok(Ticket { room, token })
            })
            .collect()
    }

    fn post(&mut self, path: &str, body: &Value) -> Result<Value, Fault> {
        let body = body.to_string();
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n",
            body.len()
        );
        self.stream.get_mut().write_all((head + &body).as_bytes())?;
        let mut status = String::new();
        self.stream.read_line(&mut status)?;
        let mut length = 0;
        loop {
            let mut line = String::new();
            self.stream.read_line(&mut line)?;
            match line.trim_end().split_once(':') {
                Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                    length = value.trim().parse()?;
                }
                Some(_) => {}
                None => break,
            }
        }
        let mut answer = vec![0; length];
        self.stream.read_exact(&mut answer)?;
        if !status.starts_with("HTTP/1.1 20") {
            return Err(
                format!("{path}: {} {}", status.trim(), String::from_utf8_lossy(&answer)).into()
            );
        }
        Ok(serde_json::from_slice(&answer)?)
    }
}

fn random<const N: usize>() -> Result<String, Fault> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes)?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}
