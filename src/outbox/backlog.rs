//! What waits for one member's socket, and the bounds that it has alone and together with others.
//!
//! Plain data; the lock around it is the outbox'. What it holds is counted in the bounds that all
//! members share, from its beginning to its end, by a guard.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use super::Socket;
use crate::core::close::Close;
use crate::core::frame::close_frame;
use crate::core::limit::Instant;

/// What kind of frame it is, for the backlog's choice and for the counters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameKind {
    /// A message that must arrive or be announced as lost.
    Data,
    /// A message that may be dropped first.
    Volatile,
    /// A frame of the relay's own.
    Control,
}

impl FrameKind {
    const fn is_message(self) -> bool {
        !matches!(self, Self::Control)
    }
}

/// One frame of a run of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// Length in bytes, head included.
    pub len: usize,
    /// What it is.
    pub kind: FrameKind,
}

/// How much may wait: for one member, and for all that share these bounds.
#[derive(Debug)]
pub struct Bounds {
    /// Most bytes for one.
    pub bytes: usize,
    /// Most frames for one.
    pub frames: usize,
    /// Most bytes for all together; kept by whoever evicts when [`Bounds::is_exceeded`].
    pub bytes_in_all: usize,
    /// Bytes that wait now, for all together.
    queued: AtomicUsize,
    /// What became of messages that did not go out at once, for all together.
    copies: Copies,
}

/// Copies of messages that a socket did not take at once. Each is queued until it is one of the
/// others. What a socket took at once, and what was refused, is for the caller to count, from
/// [`Sent::fate`](super::Sent::fate).
#[derive(Debug, Default)]
struct Copies {
    queued: AtomicU64,
    delivered: AtomicU64,
    volatile: AtomicU64,
    given_up: AtomicU64,
    closed: AtomicU64,
}

/// The values of `Copies` at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CopyCounts {
    /// They wait now.
    pub queued: u64,
    /// The socket has taken them since.
    pub delivered: u64,
    /// They were volatile, and gave way.
    pub volatile: u64,
    /// They waited, or were about to, when their member was closed as slow consumer.
    pub given_up: u64,
    /// They still waited when the connection was over.
    pub closed: u64,
}

impl Copies {
    const fn new() -> Self {
        Self {
            queued: AtomicU64::new(0),
            delivered: AtomicU64::new(0),
            volatile: AtomicU64::new(0),
            given_up: AtomicU64::new(0),
            closed: AtomicU64::new(0),
        }
    }

    /// So many begin to wait.
    fn wait(&self, copies: u64) {
        if copies > 0 {
            self.queued.fetch_add(copies, Ordering::Relaxed);
        }
    }

    /// So many of those that wait wait no more: they are this instead.
    fn settle(&self, copies: u64, as_what: &AtomicU64) {
        if copies > 0 {
            self.queued.fetch_sub(copies, Ordering::Relaxed);
            as_what.fetch_add(copies, Ordering::Relaxed);
        }
    }
}

impl Bounds {
    /// Bounds with nothing waiting.
    pub const fn new(bytes: usize, frames: usize, bytes_in_all: usize) -> Self {
        let (queued, copies) = (AtomicUsize::new(0), Copies::new());
        Self { bytes, frames, bytes_in_all, queued, copies }
    }

    /// What became of messages that did not go out at once.
    pub fn copies(&self) -> CopyCounts {
        let Copies { queued, delivered, volatile, given_up, closed } = &self.copies;
        let load = |count: &AtomicU64| count.load(Ordering::Relaxed);
        CopyCounts {
            queued: load(queued),
            delivered: load(delivered),
            volatile: load(volatile),
            given_up: load(given_up),
            closed: load(closed),
        }
    }

    /// Bytes that wait for all members together.
    pub fn queued(&self) -> usize {
        self.queued.load(Ordering::Relaxed)
    }

    /// Whether more waits than may.
    pub fn is_exceeded(&self) -> bool {
        self.queued() > self.bytes_in_all
    }
}

/// Frames that wait for the socket. Only the first may have been begun.
pub(super) struct Backlog {
    bytes: VecDeque<u8>,
    /// The frames of `bytes`, in order; a first one that was begun counts what is left of it.
    frames: VecDeque<Waiting>,
    begun: bool,
    /// The socket was not asked to take any of it.
    is_untried: bool,
    /// When the socket last took something, or the backlog began.
    moved_at: Instant,
    bounds: Arc<Bounds>,
    /// How many of `bytes` are counted in the bounds.
    counted: usize,
}

/// A frame that waits.
struct Waiting {
    mark: Mark,
    since: Instant,
}

impl Drop for Backlog {
    fn drop(&mut self) {
        self.bounds.queued.fetch_sub(self.counted, Ordering::Relaxed);
        let copies = &self.bounds.copies;
        copies.settle(self.messages(), &copies.closed);
    }
}

impl Backlog {
    pub(super) fn new(bounds: &Arc<Bounds>, now: Instant) -> Self {
        Self {
            bytes: VecDeque::new(),
            frames: VecDeque::new(),
            begun: false,
            is_untried: false,
            moved_at: now,
            bounds: Arc::clone(bounds),
            counted: 0,
        }
    }

    /// Begins with bytes that count as one frame, to be tried with what comes next.
    pub(super) fn of(bytes: Vec<u8>, bounds: &Arc<Bounds>, now: Instant) -> Self {
        let mut backlog = Self::new(bounds, now);
        backlog.is_untried = true;
        let mark = Mark { len: bytes.len(), kind: FrameKind::Control };
        backlog.bytes = bytes.into();
        backlog.frames.push_back(Waiting { mark, since: now });
        backlog.recount();
        backlog
    }

    /// Bytes that wait.
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Whether the socket was not asked to take any of it.
    pub(super) const fn is_untried(&self) -> bool {
        self.is_untried
    }

    /// Whether nothing has moved for `stall`, or the oldest frame has waited for `age`.
    pub(super) fn is_late(&self, stall: Duration, age: Duration, now: Instant) -> bool {
        let oldest = self.frames.front().map_or(now, |oldest| oldest.since);
        now.since(self.moved_at) >= stall || now.since(oldest) >= age
    }

    /// Brings the count of what waits for all up to date.
    fn recount(&mut self) {
        let before = std::mem::replace(&mut self.counted, self.bytes.len());
        let queued = &self.bounds.queued;
        if self.counted > before {
            queued.fetch_add(self.counted - before, Ordering::Relaxed);
        } else {
            queued.fetch_sub(before - self.counted, Ordering::Relaxed);
        }
    }

    /// Appends the frames of `parts`, of which the socket has taken `written` bytes.
    pub(super) fn push(
        &mut self,
        parts: &[IoSlice<'_>],
        frames: impl Iterator<Item = Mark>,
        mut written: usize,
        now: Instant,
    ) {
        let len: usize = parts.iter().map(|part| part.len()).sum();
        self.grow(len.saturating_sub(written));
        let mut skip = written;
        for part in parts {
            let rest = part.get(skip.min(part.len())..).unwrap_or_default();
            skip = skip.saturating_sub(part.len());
            self.bytes.extend(rest);
        }
        let (mut delivered, mut waiting) = (0, 0);
        for mut mark in frames {
            if written >= mark.len {
                written -= mark.len;
                delivered += u64::from(mark.kind.is_message());
                continue;
            }
            waiting += u64::from(mark.kind.is_message());
            self.begun |= written > 0;
            mark.len -= written;
            written = 0;
            self.frames.push_back(Waiting { mark, since: now });
        }
        let copies = &self.bounds.copies;
        copies.wait(delivered + waiting);
        copies.settle(delivered, &copies.delivered);
        self.recount();
    }

    /// Makes place for more bytes: twice of what there is, as buffers grow, but no more than may wait.
    fn grow(&mut self, more: usize) {
        let len = self.bytes.len();
        if self.bytes.capacity() - len < more {
            let spare = self.bounds.bytes.saturating_sub(len).min(len);
            self.bytes.reserve_exact(more.max(spare));
        }
    }

    fn push_frame(&mut self, frame: &[u8], kind: FrameKind, now: Instant) {
        let mark = Mark { len: frame.len(), kind };
        self.push(&[IoSlice::new(frame)], std::iter::once(mark), 0, now);
    }

    pub(super) fn push_close(&mut self, why: Close, retry_after: Option<Duration>, now: Instant) {
        let frame = close_frame(why.code(), &why.reason(retry_after));
        self.push_frame(&frame, FrameKind::Control, now);
    }

    pub(super) fn fits(&self) -> bool {
        self.bytes.len() <= self.bounds.bytes && self.frames.len() <= self.bounds.frames
    }

    /// Drops the oldest volatile frames until the rest fits.
    pub(super) fn make_room(&mut self) {
        if self.fits() || !self.frames.iter().any(|f| f.mark.kind == FrameKind::Volatile) {
            return;
        }
        let bounds = &self.bounds;
        let mut dropped = 0;
        let (mut bytes, mut frames) = (self.bytes.len(), self.frames.len());
        let mut kept = VecDeque::with_capacity(bytes);
        let mut at = 0;
        let mut first = self.begun;
        self.frames.retain(|Waiting { mark, .. }| {
            let begun = std::mem::take(&mut first);
            let over = bytes > bounds.bytes || frames > bounds.frames;
            let keep = begun || !over || mark.kind != FrameKind::Volatile;
            if keep {
                kept.extend(self.bytes.range(at..at + mark.len));
            } else {
                bytes -= mark.len;
                frames -= 1;
                dropped += 1;
            }
            at += mark.len;
            keep
        });
        self.bytes = kept;
        let copies = &self.bounds.copies;
        copies.settle(dropped, &copies.volatile);
        self.recount();
    }

    /// Drops all but what is left of a frame that was begun.
    pub(super) fn give_up(&mut self) {
        let keep = usize::from(self.begun);
        let before = self.messages();
        self.frames.truncate(keep);
        self.bytes.truncate(self.frames.front().map_or(0, |begun| begun.mark.len));
        self.bytes.shrink_to_fit();
        let copies = &self.bounds.copies;
        copies.settle(before - self.messages(), &copies.given_up);
        self.recount();
    }

    /// How many messages wait.
    fn messages(&self) -> u64 {
        self.frames.iter().filter(|waiting| waiting.mark.kind.is_message()).count() as u64
    }

    /// Since when the oldest frame waits.
    pub(super) fn oldest(&self) -> Option<Instant> {
        self.frames.front().map(|oldest| oldest.since)
    }

    /// Writes until nothing is left (ready) or the socket takes no more (pending).
    pub(super) fn drain<S: Socket>(
        &mut self,
        socket: &S,
        cx: &mut Context<'_>,
        now: Instant,
    ) -> Poll<io::Result<()>> {
        while !self.bytes.is_empty() {
            match socket.poll_writable(cx) {
                Poll::Ready(Ok(())) => {}
                other => return other,
            }
            if let Err(e) = self.write(socket, now)
                && !is_transient(&e)
            {
                return Poll::Ready(Err(e));
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Writes once.
    pub(super) fn write<S: Socket>(&mut self, socket: &S, now: Instant) -> io::Result<()> {
        self.is_untried = false;
        let (front, back) = self.bytes.as_slices();
        let parts = [IoSlice::new(front), IoSlice::new(back)];
        let count = if back.is_empty() { 1 } else { 2 };
        match socket.try_write_vectored(parts.get(..count).unwrap_or_default())? {
            0 => Err(io::ErrorKind::WriteZero.into()),
            written => {
                self.advance(written, now);
                Ok(())
            }
        }
    }

    fn advance(&mut self, written: usize, now: Instant) {
        self.moved_at = now;
        self.bytes.drain(..written);
        self.recount();
        let (mut left, mut delivered) = (written, 0);
        while let Some(Waiting { mark: first, .. }) = self.frames.front_mut() {
            if left < first.len {
                first.len -= left;
                self.begun |= left > 0;
                break;
            }
            left -= first.len;
            delivered += u64::from(first.kind.is_message());
            self.begun = false;
            self.frames.pop_front();
        }
        let copies = &self.bounds.copies;
        copies.settle(delivered, &copies.delivered);
    }
}

pub(super) fn is_transient(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_takes_no_more_memory_than_may_wait() {
        let bounds = Arc::new(Bounds::new(1000, 1000, 1000));
        let mut backlog = Backlog::new(&bounds, Instant::START);
        let frame = [0; 7];
        while backlog.len() + frame.len() <= bounds.bytes {
            backlog.push_frame(&frame, FrameKind::Data, Instant::START);
        }
        assert!(backlog.bytes.capacity() <= bounds.bytes, "{}", backlog.bytes.capacity());
    }
}
