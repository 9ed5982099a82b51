//! What waits for one member's socket, and the bounds that it has alone and together with others.
//!
//! Plain data; the lock around it is the outbox'. What it holds is counted in the bounds that all
//! members share, from its beginning to its end, by a guard.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
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
}

impl Bounds {
    /// Bounds with nothing waiting.
    pub const fn new(bytes: usize, frames: usize, bytes_in_all: usize) -> Self {
        Self { bytes, frames, bytes_in_all, queued: AtomicUsize::new(0) }
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
        for mut mark in frames {
            if written >= mark.len {
                written -= mark.len;
                continue;
            }
            self.begun |= written > 0;
            mark.len -= written;
            written = 0;
            self.frames.push_back(Waiting { mark, since: now });
        }
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

    /// Drops the oldest volatile frames until the rest fits; says how many went.
    pub(super) fn make_room(&mut self) -> u64 {
        if self.fits() || self.count(FrameKind::Volatile) == 0 {
            return 0;
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
        self.recount();
        dropped
    }

    /// Drops all but what is left of a frame that was begun; says how many data frames went.
    pub(super) fn give_up(&mut self) -> u64 {
        let keep = usize::from(self.begun);
        let before = self.count(FrameKind::Data);
        self.frames.truncate(keep);
        self.bytes.truncate(self.frames.front().map_or(0, |begun| begun.mark.len));
        self.bytes.shrink_to_fit();
        self.recount();
        before - self.count(FrameKind::Data)
    }

    pub(super) fn count(&self, kind: FrameKind) -> u64 {
        self.frames.iter().filter(|waiting| waiting.mark.kind == kind).count() as u64
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
        let mut left = written;
        while let Some(Waiting { mark: first, .. }) = self.frames.front_mut() {
            if left < first.len {
                first.len -= left;
                self.begun |= left > 0;
                return;
            }
            left -= first.len;
            self.begun = false;
            self.frames.pop_front();
        }
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
