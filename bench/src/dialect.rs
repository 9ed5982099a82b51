//! How a server is spoken to. A dialect knows how to come in, how a message looks on the way to the
//! server and on the way back; the load generator knows nothing else of a server.

pub mod lethewire;
pub mod mqtt;
pub mod nats;
pub mod nchan;
pub mod plain;
pub mod socketio;
pub mod sockudo;

use std::net::SocketAddr;
use std::time::Duration;

use crate::Fault;

/// What a connection needs to come in.
#[derive(Clone, Debug)]
pub struct Ticket {
    /// The room's number.
    pub room: u32,
    /// A token, if the server wants one.
    pub token: String,
}

/// What stands at the front of the input.
#[derive(Clone, Copy, Debug)]
pub enum Frame {
    /// A message: `head` bytes, then its payload, then `tail` bytes.
    Data {
        /// Bytes before the payload.
        head: usize,
        /// Bytes of the payload.
        payload: usize,
        /// Bytes behind it.
        tail: usize,
    },
    /// So many bytes that mean nothing here.
    Skip(usize),
    /// So many bytes that want an answer.
    Ping(usize),
    /// The server says good-bye, for this reason.
    Close(u16),
}

/// What became of a step of coming in.
#[derive(Clone, Copy, Debug)]
pub enum Shake {
    /// More input is needed.
    More,
    /// So many bytes are done with; ask again.
    Took(usize),
    /// So many bytes are done with, and the connection is in its room.
    Ready(usize),
}

/// A message as it goes to the server, to be filled in.
#[derive(Clone, Debug)]
pub struct Template {
    /// All bytes of it.
    pub bytes: Vec<u8>,
    /// Where the payload begins.
    pub payload_at: usize,
    /// How many masked bytes stand before the payload under the same mask; none if it has no mask.
    pub masked_from: Option<usize>,
}

/// See the module's text.
pub trait Dialect: Sync {
    /// Whether payloads travel inside text, where only some characters do.
    const TEXT: bool = false;

    /// Whether a sender hears itself.
    fn echoes(&self) -> bool {
        false
    }

    /// How long to wait after the last connection is in, where the server does not say so itself.
    fn settle(&self) -> Duration {
        Duration::ZERO
    }

    /// Gets tickets: so many for each room.
    ///
    /// # Errors
    ///
    /// The server does not give them.
    fn tickets(&self, rooms: u32, members: u32) -> Result<Vec<Vec<Ticket>>, Fault> {
        Ok((0..rooms)
            .map(|room| vec![Ticket { room, token: String::new() }; members as usize])
            .collect())
    }

    /// Where this member of a room connects, if the server is at several addresses.
    fn addr_of(&self, _member: u32) -> Option<SocketAddr> {
        None
    }

    /// The first bytes of a connection.
    fn greet(&self, ticket: &Ticket, out: &mut Vec<u8>);

    /// One step of coming in; `step` is the dialect's own memory.
    ///
    /// # Errors
    ///
    /// The server does not let it in.
    fn shake(
        &self,
        ticket: &Ticket,
        step: &mut u8,
        input: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<Shake, Fault>;

    /// What stands at the front of `input`; none if that cannot be said yet. Only of data may less
    /// than all be there.
    ///
    /// # Errors
    ///
    /// What a server must not send.
    fn frame(&self, input: &[u8]) -> Result<Option<Frame>, Fault>;

    /// Checks a message's head against the connection's memory.
    fn head_is_fine(&self, _head: &[u8], _memory: &mut u64) -> bool {
        true
    }

    /// A message with this payload.
    fn template(&self, ticket: &Ticket, payload: &[u8]) -> Template;

    /// The answer to a ping.
    fn pong(&self, ping: &[u8], out: &mut Vec<u8>);

    /// The last words of a connection that leaves.
    fn farewell(&self, out: &mut Vec<u8>);
}
