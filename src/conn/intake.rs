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
    /// What is read after `rest`. A frame stands in one of them, never in both.
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

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::io::AsyncWriteExt as _;
    use tokio::net::TcpListener;

    use super::*;
    use crate::core::close::Close;

    const LIMITS: Limits = Limits { binary_bytes: 1 << 20, text_bytes: 1024, fragments: 1 };

    /// Counts what came, and has enough after each message.
    #[derive(Default)]
    struct Taken {
        bytes: usize,
        messages: Vec<usize>,
        pings: usize,
    }

    impl Receiver for Taken {
        fn bytes(&mut self, count: usize) -> Result<(), End> {
            self.bytes += count;
            Ok(())
        }

        fn events(&mut self, events: &mut Events<'_, '_>) -> Result<(), End> {
            events.each(|event| {
                match event {
                    Event::Message(_, payload) => {
                        self.messages.push(payload.len());
                        return Err(End::told(Close::Kicked));
                    }
                    Event::Ping(_) => self.pings += 1,
                    _ => {}
                }
                Ok(())
            })
        }
    }

    /// A connection, from both ends.
    struct Both {
        client: TcpStream,
        stream: TcpStream,
        intake: Intake,
        taken: Taken,
    }

    impl Both {
        async fn new() -> Self {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
            let stream = listener.accept().await.unwrap().0;
            Self { client, stream, intake: Intake::new(&[]), taken: Taken::default() }
        }

        async fn turn(&mut self) -> Result<(), End> {
            let Self { stream, intake, taken, .. } = self;
            poll_fn(|cx| intake.poll_turn(stream, cx, &LIMITS, taken)).await
        }

        /// Sends a part of a message, in pieces that a socket holds, and has it read.
        async fn send(&mut self, part: &[u8]) {
            for piece in part.chunks(LARGE_BYTES) {
                let all = self.taken.bytes + piece.len();
                self.client.write_all(piece).await.unwrap();
                while self.taken.bytes < all {
                    assert_eq!(self.turn().await, Ok(()));
                }
            }
        }

        /// The same with the end of the message, after which its receiver has enough.
        async fn send_end(&mut self, part: &[u8]) {
            self.client.write_all(part).await.unwrap();
            assert_eq!(self.turn().await, Err(End::told(Close::Kicked)));
        }
    }

    /// A length from which on eight bytes say it.
    const LONG: usize = 1 << 16;

    /// A long binary frame whose mask changes nothing.
    fn message(len: usize) -> Vec<u8> {
        let mut frame = vec![0x82, 0xFF];
        frame.extend((len as u64).to_be_bytes());
        frame.resize(frame.len() + 4 + len, 0);
        frame
    }

    #[tokio::test]
    async fn no_more_is_set_aside_than_came_twice() {
        let mut both = Both::new().await;
        let (frame, mut from) = (message(16 * LONG), 0);
        for to in [20, 40, 1000, 10_000, 11_000, 100_000, 300_000, frame.len() - 1] {
            both.send(&frame[from..to]).await;
            from = to;
            let kept = &both.intake.kept;
            assert_eq!(kept.len(), to);
            assert!(kept.capacity() <= (2 * to).min(frame.len()), "{} of {to}", kept.capacity());
        }
        both.send_end(&frame[from..]).await;
        assert_eq!(both.taken.messages, [16 * LONG]);
        assert_eq!(both.intake.kept.capacity(), 0);
    }

    #[tokio::test]
    async fn what_stands_behind_a_message_that_was_cut_is_kept_when_its_receiver_has_enough() {
        let mut both = Both::new().await;
        let ping = [0x89, 0x80, 0, 0, 0, 0];
        let bytes = [message(LONG), ping.to_vec()].concat();
        let (cut, rest) = bytes.split_at(LONG);
        both.send(cut).await;
        both.send_end(rest).await;
        assert_eq!(both.taken.pings, 0);
        // Nothing else comes.
        both.client.shutdown().await.unwrap();
        assert_eq!(both.turn().await, Ok(()));
        assert_eq!((both.taken.messages.len(), both.taken.pings), (1, 1));
    }
}
