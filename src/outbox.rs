//! One member's socket, for writing: in place while it takes all, a bounded backlog when it does not.
//!
//! Whoever has bytes for the member calls [`Outbox::send`], which makes one vectored write straight
//! to the socket. Only what the socket does not take is copied into the backlog, and the member's
//! own task drains that when the socket is writable again. Both hold the same lock while they
//! write, so there is one writer at any moment and a frame is never cut by another.
//!
//! The backlog is bounded in bytes and in frames, because memory is what a slow reader costs the
//! relay. Over the bound, frames that their sender called volatile go first; if that is not enough
//! the member is closed as slow consumer: a member of an encrypted group that misses a message
//! unawares is broken, while one that is disconnected knows to ask.
//!
//! Closing carries the reason, so the outbox is also how any part of the relay ends a connection.
//! The first reason wins; what was accepted before it is still sent, then the close frame.
//!
//! The lock is held for one system call at most and never across an await; `tests/loom_outbox.rs`
//! runs every interleaving of send, drain and close.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use crate::core::close::Close;
use crate::core::frame::close_frame;
use crate::core::limit::Instant;

#[cfg(lethewire_loom)]
use loom::sync::{Mutex, MutexGuard};
#[cfg(not(lethewire_loom))]
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A non-blocking byte stream, as far as writing to it goes.
pub trait Socket {
    /// Writes what fits, or fails with `WouldBlock`.
    fn try_write_vectored(&self, parts: &[IoSlice<'_>]) -> io::Result<usize>;

    /// Arranges that the task is woken when a write may succeed.
    fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;
}

impl Socket for tokio::net::TcpStream {
    fn try_write_vectored(&self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        // The kernel has less to do for one part than for a list of one.
        match parts {
            [part] => self.try_write(part),
            parts => Self::try_write_vectored(self, parts),
        }
    }

    fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_write_ready(cx)
    }
}

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

/// How much may wait for one member.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Most bytes.
    pub bytes: usize,
    /// Most frames.
    pub frames: usize,
}

/// What became of frames that were sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sent {
    /// Whether the outbox took them: they are written or wait for the socket.
    pub accepted: bool,
    /// Bytes that the socket took at once.
    pub written: usize,
    /// Bytes that wait.
    pub queued: usize,
    /// Volatile frames that were dropped to make room.
    pub dropped_volatile: u64,
    /// Data frames that were waiting and will not be sent, because the member is now closed.
    pub dropped: u64,
}

/// How things stand after [`Outbox::poll_drain`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outlook {
    /// The member can be sent to; the task will be woken when there is something to do.
    Open,
    /// The reason is set, and the close frame is still on its way.
    Closing(Close),
    /// The close frame is written.
    Closed(Close),
    /// The socket is broken, or was given up.
    Failed,
}

/// One member's socket, for writing. See the module's text.
pub struct Outbox<S> {
    socket: S,
    bounds: Bounds,
    state: Mutex<State>,
}

struct State {
    /// Boxed, because most members never have one.
    backlog: Option<Box<Backlog>>,
    ending: Ending,
    /// The member's task, if it waits.
    task: Option<Waker>,
}

#[derive(Clone, Copy)]
enum Ending {
    No,
    Closing(Close),
    Failed,
}

impl<S: Socket> Outbox<S> {
    /// Takes a socket that nobody else writes to.
    pub fn new(socket: S, bounds: Bounds) -> Self {
        let state = State { backlog: None, ending: Ending::No, task: None };
        Self { socket, bounds, state: Mutex::new(state) }
    }

    /// Takes a socket to which `first` has to be written before anything else: together with what is
    /// sent next, or by [`Outbox::poll_drain`].
    pub fn behind(first: Vec<u8>, socket: S, bounds: Bounds, now: Instant) -> Self {
        let outbox = Self::new(socket, bounds);
        if !first.is_empty() {
            outbox.lock().backlog = Some(Box::new(Backlog::of(first, now)));
        }
        outbox
    }

    /// The socket, for reading.
    pub const fn socket(&self) -> &S {
        &self.socket
    }

    /// Sends whole frames: `parts` are their bytes in order, `frames` says where each ends.
    ///
    /// Never waits. `frames` is only asked when the socket does not take everything. Nothing is
    /// accepted once the connection is closing.
    pub fn send(
        &self,
        parts: &[IoSlice<'_>],
        frames: impl Iterator<Item = Mark>,
        now: Instant,
    ) -> Sent {
        let mut state = self.lock();
        if !matches!(state.ending, Ending::No) {
            return Sent::default();
        }
        let total: usize = parts.iter().map(|part| part.len()).sum();
        if state.backlog.as_ref().is_some_and(|backlog| backlog.is_untried) {
            return self.send_first(state, parts, frames, now);
        }
        let written = match &state.backlog {
            Some(_) => 0,
            None => match self.socket.try_write_vectored(parts) {
                Ok(written) => written,
                Err(e) if is_transient(&e) => 0,
                Err(_) => {
                    state.ending = Ending::Failed;
                    wake(state);
                    return Sent::default();
                }
            },
        };
        if written == total {
            return Sent { accepted: true, written, ..Sent::default() };
        }
        let was_empty = state.backlog.is_none();
        let backlog = state.backlog.get_or_insert_with(|| Box::new(Backlog::new(now)));
        backlog.push(parts, frames, written);
        let dropped_volatile = backlog.make_room(self.bounds);
        if backlog.fits(self.bounds) {
            if was_empty {
                wake(state);
            }
            let queued = total - written;
            return Sent { accepted: true, written, queued, dropped_volatile, dropped: 0 };
        }
        let dropped = backlog.give_up();
        backlog.push_close(Close::SlowConsumer, None);
        state.ending = Ending::Closing(Close::SlowConsumer);
        wake(state);
        Sent { accepted: false, written, queued: 0, dropped_volatile, dropped }
    }

    /// Sends what waited from the beginning together with the first frames.
    fn send_first(
        &self,
        mut state: MutexGuard<'_, State>,
        parts: &[IoSlice<'_>],
        frames: impl Iterator<Item = Mark>,
        now: Instant,
    ) -> Sent {
        let backlog = state.backlog.get_or_insert_with(|| Box::new(Backlog::new(now)));
        let before = backlog.bytes.len();
        backlog.push(parts, frames, 0);
        let total = backlog.bytes.len() - before;
        match backlog.write(&self.socket, now) {
            Ok(()) if backlog.bytes.is_empty() => {
                state.backlog = None;
                Sent { accepted: true, written: total, ..Sent::default() }
            }
            Err(e) if !is_transient(&e) => {
                state.ending = Ending::Failed;
                wake(state);
                Sent::default()
            }
            Ok(()) | Err(_) => {
                wake(state);
                Sent { accepted: true, queued: total, ..Sent::default() }
            }
        }
    }

    /// Ends the connection: what was accepted is still sent, then the close frame, with a hint of
    /// when to come back. The first reason wins; returns whether it was this one.
    pub fn close(&self, why: Close, retry_after: Option<Duration>, now: Instant) -> bool {
        let mut state = self.lock();
        if !matches!(state.ending, Ending::No) {
            return false;
        }
        let backlog = state.backlog.get_or_insert_with(|| Box::new(Backlog::new(now)));
        backlog.push_close(why, retry_after);
        state.ending = Ending::Closing(why);
        wake(state);
        true
    }

    /// Gives the socket up without a word; for a peer that does not take its close frame.
    pub fn abort(&self) {
        let mut state = self.lock();
        state.ending = Ending::Failed;
        wake(state);
    }

    /// Writes what waits, as far as the socket takes it, and says how things stand.
    ///
    /// For the member's own task only: it is woken when there is more to write, when a reason to
    /// close is set and when the socket is writable again.
    pub fn poll_drain(&self, cx: &mut Context<'_>, now: Instant) -> Outlook {
        let mut state = self.lock();
        if !state.task.as_ref().is_some_and(|task| task.will_wake(cx.waker())) {
            state.task = Some(cx.waker().clone());
        }
        if matches!(state.ending, Ending::Failed) {
            return Outlook::Failed;
        }
        let drained = match &mut state.backlog {
            None => Poll::Ready(Ok(())),
            Some(backlog) => backlog.drain(&self.socket, cx, now),
        };
        match (drained, state.ending) {
            (Poll::Ready(Err(_)), _) | (_, Ending::Failed) => {
                state.ending = Ending::Failed;
                Outlook::Failed
            }
            (Poll::Pending, Ending::No) => Outlook::Open,
            (Poll::Pending, Ending::Closing(why)) => Outlook::Closing(why),
            (Poll::Ready(Ok(())), ending) => {
                state.backlog = None;
                match ending {
                    Ending::Closing(why) => Outlook::Closed(why),
                    Ending::No | Ending::Failed => Outlook::Open,
                }
            }
        }
    }

    /// Whether something has waited for `limit` without a single byte moving.
    pub fn is_stalled(&self, limit: Duration, now: Instant) -> bool {
        let state = self.lock();
        state.backlog.as_ref().is_some_and(|backlog| now.since(backlog.moved_at) >= limit)
    }

    /// Whether a reason to end has been set, or the socket failed.
    pub fn is_ending(&self) -> bool {
        !matches!(self.lock().ending, Ending::No)
    }

    /// Forgets what still waits, and says how many data frames that were.
    pub fn abandon(&self) -> u64 {
        let mut state = self.lock();
        state.ending = Ending::Failed;
        state.task = None;
        state.backlog.take().map_or(0, |backlog| backlog.count(FrameKind::Data))
    }

    #[cfg(not(lethewire_loom))]
    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic elsewhere leaves the state whole: every change here is finished before a call out.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[cfg(lethewire_loom)]
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no model panics with the lock")
    }
}

/// Wakes the member's task with the lock released.
fn wake(state: MutexGuard<'_, State>) {
    let task = state.task.clone();
    drop(state);
    if let Some(task) = task {
        task.wake();
    }
}

fn is_transient(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

/// Frames that wait for the socket. Only the first may have been begun.
struct Backlog {
    bytes: VecDeque<u8>,
    /// The frames of `bytes`, in order; a first one that was begun counts what is left of it.
    frames: VecDeque<Mark>,
    begun: bool,
    /// The socket was not asked to take any of it.
    is_untried: bool,
    /// When the socket last took something, or the backlog began.
    moved_at: Instant,
}

impl Backlog {
    const fn new(now: Instant) -> Self {
        Self {
            bytes: VecDeque::new(),
            frames: VecDeque::new(),
            begun: false,
            is_untried: false,
            moved_at: now,
        }
    }

    /// Begins with bytes that count as one frame, to be tried with what comes next.
    fn of(bytes: Vec<u8>, now: Instant) -> Self {
        let mark = Mark { len: bytes.len(), kind: FrameKind::Control };
        Self { bytes: bytes.into(), frames: [mark].into(), is_untried: true, ..Self::new(now) }
    }

    /// Appends the frames of `parts`, of which the socket has taken `written` bytes.
    fn push(
        &mut self,
        parts: &[IoSlice<'_>],
        frames: impl Iterator<Item = Mark>,
        mut written: usize,
    ) {
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
            self.frames.push_back(mark);
        }
    }

    fn push_close(&mut self, why: Close, retry_after: Option<Duration>) {
        let frame = close_frame(why.code(), &why.reason(retry_after));
        self.frames.push_back(Mark { len: frame.len(), kind: FrameKind::Control });
        self.bytes.extend(frame);
    }

    fn fits(&self, bounds: Bounds) -> bool {
        self.bytes.len() <= bounds.bytes && self.frames.len() <= bounds.frames
    }

    /// Drops the oldest volatile frames until the rest fits; says how many went.
    fn make_room(&mut self, bounds: Bounds) -> u64 {
        if self.fits(bounds) || self.count(FrameKind::Volatile) == 0 {
            return 0;
        }
        let mut dropped = 0;
        let (mut bytes, mut frames) = (self.bytes.len(), self.frames.len());
        let mut kept = VecDeque::with_capacity(bytes);
        let mut at = 0;
        let mut first = self.begun;
        self.frames.retain(|mark| {
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
        dropped
    }

    /// Drops all but what is left of a frame that was begun; says how many data frames went.
    fn give_up(&mut self) -> u64 {
        let keep = usize::from(self.begun);
        let before = self.count(FrameKind::Data);
        self.frames.truncate(keep);
        self.bytes.truncate(self.frames.front().map_or(0, |mark| mark.len));
        self.bytes.shrink_to_fit();
        before - self.count(FrameKind::Data)
    }

    fn count(&self, kind: FrameKind) -> u64 {
        self.frames.iter().filter(|mark| mark.kind == kind).count() as u64
    }

    /// Writes until nothing is left (ready) or the socket takes no more (pending).
    fn drain<S: Socket>(
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
    fn write<S: Socket>(&mut self, socket: &S, now: Instant) -> io::Result<()> {
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
        let mut left = written;
        while let Some(first) = self.frames.front_mut() {
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

#[cfg(all(test, not(lethewire_loom)))]
mod tests;
