//! From the socket to frames: one read at a time into the worker's scratch buffer.
//!
//! A connection keeps only the bytes of an incomplete frame, and gives them back as soon as the
//! frame is whole. Of a large frame each piece is put behind those that are kept, and what stands
//! behind the frame is taken from where it was read: a peer which sends it in a thousand pieces
//! costs a thousand reads, and every byte is copied once.

use std::cell::RefCell;
use std::io::{self, Read as _};
use std::task::{Context, Poll, ready};

use socket2::SockRef;
use tokio::io::Interest;
use tokio::net::TcpStream;

use super::End;
use crate::core::frame::{Event, Limits, Reader, Step};

/// Takes what an [`Intake`] finds. The first error ends the connection.
pub(super) trait Receiver {
    /// So many bytes came from the socket.
    fn bytes(&mut self, count: usize) -> Result<(), End>;
    /// Whole frames came: all that one read completed. After an error the rest is not looked at.
    fn events(&mut self, events: &mut Events<'_, '_>) -> Result<(), End>;
}

/// The whole frames that stand in two buffers, one after the other.
pub(super) struct Events<'i, 'r> {
    reader: &'r mut Reader,
    limits: &'r Limits,
    rest: &'i mut [u8],
    /// What is read after `rest`; no frame begins in that one and ends here.
    behind: &'i mut [u8],
    need: usize,
    broken: bool,
}

impl<'i> Events<'i, '_> {
    /// Gives `take` what each frame brought, which may be kept until all have been looked at.
    #[inline]
    pub(super) fn each(
        &mut self,
        mut take: impl FnMut(Event<'i>) -> Result<(), End>,
    ) -> Result<(), End> {
        loop {
            if self.rest.is_empty() {
                self.rest = std::mem::take(&mut self.behind);
                if self.rest.is_empty() {
                    return Ok(());
                }
            }
            match self.reader.next(std::mem::take(&mut self.rest), self.limits) {
                Ok(Step::Frame(event, rest)) => {
                    self.rest = rest;
                    take(event)?;
                }
                Ok(Step::Need(need, rest)) => {
                    self.need = need;
                    self.rest = rest;
                    return Ok(());
                }
                Err(close) => {
                    self.broken = true;
                    return Err(End::told(close));
                }
            }
        }
    }
}

/// What was read and is not yet a whole frame.
pub(super) struct Intake {
    reader: Reader,
    kept: Vec<u8>,
    /// Nothing can be said before `kept` has this many bytes; zero if that was not tried yet.
    need: usize,
    /// The stream broke the framing: nothing in it has a meaning any more.
    broken: bool,
}

/// Size of a worker's scratch buffer: what one read can bring. Several of the largest messages that are
/// allowed by default: whatever is cut off at its end is copied, in two parts.
const SCRATCH_BYTES: usize = 256 * 1024;
/// From this size on what comes is put behind what is kept of an incomplete frame; until then what is
/// kept is put in front of what comes.
const LARGE_BYTES: usize = 8 * 1024;

thread_local! {
    static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

impl Intake {
    /// Begins with the bytes that came behind the handshake, copied: even none of them would hold
    /// the 8 KiB that they were read into.
    pub(super) fn new(early: &[u8]) -> Self {
        Self { reader: Reader::default(), kept: early.to_vec(), need: 0, broken: false }
    }

    /// Whether the stream broke the framing, so that no frame can be found in it any more.
    pub(super) const fn is_broken(&self) -> bool {
        self.broken
    }

    /// Reads once and gives `receiver` all whole frames; pending while the socket has nothing.
    pub(super) fn poll_turn(
        &mut self,
        stream: &TcpStream,
        cx: &mut Context<'_>,
        limits: &Limits,
        receiver: &mut impl Receiver,
    ) -> Poll<Result<(), End>> {
        if self.need == 0 && !self.kept.is_empty() {
            let mut early = std::mem::take(&mut self.kept);
            return Poll::Ready(self.take(early.len(), (&mut early, &mut []), limits, receiver));
        }
        loop {
            ready!(stream.poll_read_ready(cx)).map_err(|_| End::Lost)?;
            let turn = if self.need >= LARGE_BYTES && !self.broken {
                self.read_behind(stream, limits, receiver)
            } else {
                self.read_to_scratch(stream, limits, receiver)
            };
            match turn {
                Ok(turn) => return Poll::Ready(turn),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return Poll::Ready(Err(End::Lost)),
            }
        }
    }

    /// For all else: what is kept, and what comes behind it.
    fn read_to_scratch(
        &mut self,
        stream: &TcpStream,
        limits: &Limits,
        receiver: &mut impl Receiver,
    ) -> io::Result<Result<(), End>> {
        SCRATCH.with_borrow_mut(|scratch| {
            scratch.resize(SCRATCH_BYTES, 0);
            if self.broken {
                self.kept = Vec::new();
            }
            let kept = self.kept.len();
            // Fewer than `LARGE_BYTES`, which is less than the scratch.
            let (front, free) = scratch.split_at_mut(kept);
            let count = read_once(stream, free)?;
            front.copy_from_slice(&self.kept);
            let Some(input) = scratch.get_mut(..kept + count) else { return Ok(Ok(())) };
            Ok(self.take(count, (input, &mut []), limits, receiver))
        })
    }

    /// For a large frame of which something is kept: its next piece, and what stands behind it.
    fn read_behind(
        &mut self,
        stream: &TcpStream,
        limits: &Limits,
        receiver: &mut impl Receiver,
    ) -> io::Result<Result<(), End>> {
        SCRATCH.with_borrow_mut(|scratch| {
            scratch.resize(SCRATCH_BYTES, 0);
            let count = read_once(stream, scratch)?;
            let missing = self.need - self.kept.len();
            let (piece, rest) = scratch.split_at_mut(missing.min(count));
            if self.kept.capacity() - self.kept.len() < piece.len() {
                // Twice of what there is, as buffers grow, but no more than was announced.
                self.kept.reserve_exact(missing.min(self.kept.len().max(piece.len())));
            }
            self.kept.extend_from_slice(piece);
            if piece.len() < missing {
                return Ok(if count == 0 { Err(End::Lost) } else { receiver.bytes(count) });
            }
            let behind = rest.get_mut(..count - missing).unwrap_or_default();
            let mut whole = std::mem::take(&mut self.kept);
            Ok(self.take(count, (&mut whole, behind), limits, receiver))
        })
    }

    fn take(
        &mut self,
        count: usize,
        input: (&mut [u8], &mut [u8]),
        limits: &Limits,
        receiver: &mut impl Receiver,
    ) -> Result<(), End> {
        if count == 0 {
            return Err(End::Lost);
        }
        receiver.bytes(count)?;
        if self.broken { Ok(()) } else { self.parse(input, limits, receiver) }
    }

    /// Takes the whole frames off `input` and keeps the rest, also when the receiver has enough.
    fn parse<'i>(
        &mut self,
        (rest, behind): (&'i mut [u8], &'i mut [u8]),
        limits: &Limits,
        receiver: &mut impl Receiver,
    ) -> Result<(), End> {
        let reader = &mut self.reader;
        let mut events = Events { reader, limits, rest, behind, need: 0, broken: false };
        let end = receiver.events(&mut events);
        let Events { rest, behind, need, broken, .. } = events;
        // A new vector rather than a cleared one: an idle connection holds no buffer.
        self.kept = [&*rest, behind].concat();
        (self.need, self.broken) = (need, broken);
        end
    }
}

/// Reads what there is. A read that does not fill the buffer has emptied the socket (epoll(7)), so
/// the readiness is taken back at once, which saves the read that would only say "would block".
fn read_once(stream: &TcpStream, buffer: &mut [u8]) -> io::Result<usize> {
    let mut count = 0;
    let read = stream.try_io(Interest::READABLE, || {
        count = (&*SockRef::from(stream)).read(buffer)?;
        let emptied = 0 < count && count < buffer.len();
        if emptied { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(()) }
    });
    match read {
        Err(e) if count == 0 => Err(e),
        _ => Ok(count),
    }
}
