//! One connection of the load generator: bytes in, bytes out.

use std::io::{self, Read as _, Write as _};
use std::net::SocketAddr;

use mio::net::TcpStream;
use rustix::io::Errno;
use socket2::{Domain, Protocol, SockRef, Socket, Type};

use super::ledger::Ledger;
use super::message::Head;
use crate::Fault;
use crate::dialect::{Dialect, Shake, Template, Ticket};

/// How far a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// The socket is not connected yet.
    Opening,
    /// Coming in, at this step of the dialect's.
    Shaking(u8),
    /// In its room.
    In,
    /// Over.
    Closed,
}

/// A message of which the end has not come yet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Partial {
    pub(super) head: Head,
    /// How much of the payload was checked.
    pub(super) done: usize,
    pub(super) payload: usize,
    pub(super) tail: usize,
}

/// See the module's text.
pub(super) struct Conn {
    pub(super) stream: TcpStream,
    pub(super) ticket: Ticket,
    pub(super) member: u32,
    pub(super) state: State,
    pub(super) is_deaf: bool,
    /// Bytes of an incomplete head.
    pub(super) kept: Vec<u8>,
    pub(super) partial: Option<Partial>,
    /// The dialect's memory.
    pub(super) memory: u64,
    pub(super) ledger: Ledger,
    out: Vec<u8>,
    out_at: usize,
    pub(super) sender: Option<Sender>,
}

/// A connection that speaks.
pub(super) struct Sender {
    /// Its number over all rooms.
    pub(super) index: usize,
    pub(super) sent: u32,
    /// How many of those have reached everybody.
    pub(super) done: u32,
    pub(super) template: Template,
    /// How many receive each of its messages.
    pub(super) receivers: u32,
}

/// Connections that share an address of the generator's. Finding a free port takes long once most
/// are taken, and loopback has addresses enough.
const PER_ADDRESS: usize = 2000;

/// What the kernel keeps for a connection that will not read: little, so that what it does not take
/// is the server's to keep.
const DEAF_BYTES: usize = 4096;

/// Begins to connect; `number` is the connection's.
pub(super) fn connect(to: SocketAddr, number: usize, is_deaf: bool) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
    if is_deaf {
        socket.set_recv_buffer_size(DEAF_BYTES)?;
    }
    socket.set_nonblocking(true)?;
    let host = u8::try_from(2 + number / PER_ADDRESS).unwrap_or(u8::MAX);
    socket.bind(&SocketAddr::from(([127, 0, 0, host], 0)).into())?;
    match socket.connect(&to.into()) {
        // No error of a socket that does not block.
        Err(e) if e.raw_os_error() != Some(Errno::INPROGRESS.raw_os_error()) => Err(e),
        _ => Ok(TcpStream::from_std(socket.into())),
    }
}

impl Conn {
    pub(super) fn new(
        stream: TcpStream,
        ticket: Ticket,
        member: u32,
        is_deaf: bool,
        senders: u32,
        sender: Option<Sender>,
    ) -> Self {
        Self {
            stream,
            ticket,
            member,
            state: State::Opening,
            is_deaf,
            kept: Vec::new(),
            partial: None,
            memory: 0,
            ledger: Ledger::new(if is_deaf { 0 } else { senders }),
            out: Vec::new(),
            out_at: 0,
            sender,
        }
    }

    /// Says the first words once the socket is connected; [`Conn::flush`] sends them.
    ///
    /// # Errors
    ///
    /// It could not be connected.
    pub(super) fn greet_if_open(&mut self, dialect: &impl Dialect) -> io::Result<()> {
        if self.state != State::Opening {
            return Ok(());
        }
        if let Some(e) = self.stream.take_error()? {
            return Err(e);
        }
        self.stream.set_nodelay(true)?;
        self.state = State::Shaking(0);
        dialect.greet(&self.ticket, &mut self.out);
        Ok(())
    }

    /// Takes the steps of coming in; returns how many bytes of `input` are done with.
    ///
    /// # Errors
    ///
    /// The server does not let it in.
    pub(super) fn come_in(&mut self, dialect: &impl Dialect, input: &[u8]) -> Result<usize, Fault> {
        let mut at = 0;
        while let State::Shaking(mut step) = self.state {
            let shake = dialect.shake(&self.ticket, &mut step, &input[at..], &mut self.out)?;
            self.flush()?;
            let (took, state) = match shake {
                Shake::More => break,
                Shake::Took(took) => (took, State::Shaking(step)),
                Shake::Ready(took) => (took, State::In),
            };
            self.state = state;
            at += took;
        }
        Ok(at)
    }

    /// What is to be sent; [`Conn::flush`] sends it.
    pub(super) fn out(&mut self) -> &mut Vec<u8> {
        &mut self.out
    }

    /// Sends what the socket takes.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        while let Some(rest) = self.out.get(self.out_at..).filter(|rest| !rest.is_empty()) {
            match self.stream.write(rest) {
                Ok(count) => self.out_at += count,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        self.out.clear();
        self.out_at = 0;
        Ok(())
    }

    /// Makes room for what a deaf connection did not read.
    pub(super) fn hear(&self) {
        // With less room it only takes longer.
        let _ = SockRef::from(&self.stream).set_recv_buffer_size(1 << 20);
    }

    /// Reads behind what was kept. Returns how many bytes `scratch` has then, and whether there may
    /// be more; none if the socket has nothing.
    ///
    /// # Errors
    ///
    /// The socket's; its end is `UnexpectedEof`.
    pub(super) fn read(&mut self, scratch: &mut [u8]) -> io::Result<Option<(usize, bool)>> {
        let kept = self.kept.len();
        loop {
            match self.stream.read(&mut scratch[kept..]) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => {
                    scratch[..kept].copy_from_slice(&self.kept);
                    self.kept.clear();
                    return Ok(Some((kept + count, kept + count == scratch.len())));
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
    }
}
