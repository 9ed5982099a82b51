//! One member's socket, for writing: in place while it takes all, a bounded backlog when it does not.
//!
//! Whoever has bytes for the member calls [`Outbox::send`], which makes one vectored write straight
//! to the socket. Only what the socket does not take is copied into the backlog, and the member's
//! own task drains that when the socket is writable again. Both hold the same lock while they
//! write, so there is one writer at any moment and a frame is never cut by another.
//!
//! The backlog is bounded in bytes, in frames and in age, because memory is what a slow reader costs
//! the relay. Over the bound, frames that their sender called volatile go first; if that is not
//! enough the member is closed as slow consumer: a member of an encrypted group that misses a message
//! unawares is broken, while one that is disconnected knows to ask. What waits for all members
//! together is counted in one place, so that whoever looks after them can evict the worst.
//!
//! Closing carries the reason, so the outbox is also how any part of the relay ends a connection.
//! The first reason wins; what was accepted before it is still sent, then the close frame.
//!
//! The lock is held for one system call at most and never across an await; `tests/loom_outbox.rs`
//! runs every interleaving of send, drain and close.

mod backlog;

use std::io::{self, IoSlice};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::SendFlags;

use crate::core::close::Close;
use crate::core::limit::Instant;

use backlog::{Backlog, is_transient};

pub use backlog::{Bounds, CopyCounts, FrameKind, Mark};

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
        // The kernel has less to do for one part than for a list of one. What tokio knows of the
        // socket lies elsewhere in memory, so it is only asked, and told, when the socket is full.
        let written = match parts {
            [part] => rustix::net::send(self, part, SendFlags::NOSIGNAL),
            parts => rustix::io::writev(self, parts),
        };
        match written {
            Err(Errno::WOULDBLOCK) => Self::try_write_vectored(self, parts),
            written => Ok(written?),
        }
    }

    fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_write_ready(cx)
    }
}

/// What became of frames that were sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sent {
    /// What became of them as a whole.
    pub fate: Fate,
    /// Bytes that the socket took at once.
    pub written: usize,
    /// Bytes that wait.
    pub queued: usize,
}

/// What became of frames as a whole. The messages among them are counted in the bounds' copies if
/// they are [`Fate::Waiting`] or [`Fate::GivenUp`], and nowhere else.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fate {
    /// Nothing was taken: the connection is closing, or the socket broke.
    #[default]
    Refused,
    /// The socket took all at once.
    Written,
    /// The socket took some or nothing; the rest waits, or gave way to it if it was volatile.
    Waiting,
    /// Too much would have waited: the member is closed as slow consumer.
    GivenUp,
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
    bounds: Arc<Bounds>,
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
    pub fn new(socket: S, bounds: Arc<Bounds>) -> Self {
        let state = State { backlog: None, ending: Ending::No, task: None };
        Self { socket, bounds, state: Mutex::new(state) }
    }

    /// Takes a socket to which `first` has to be written before anything else: together with what is
    /// sent next, or by [`Outbox::poll_drain`].
    pub fn behind(first: Vec<u8>, socket: S, bounds: Arc<Bounds>, now: Instant) -> Self {
        let outbox = Self::new(socket, bounds);
        if !first.is_empty() {
            outbox.lock().backlog = Some(Box::new(Backlog::of(first, &outbox.bounds, now)));
        }
        outbox
    }

    /// The socket, for reading.
    pub const fn socket(&self) -> &S {
        &self.socket
    }

    /// Has the processor fetch what [`Outbox::send`] will look at first, and does not wait for it.
    #[inline]
    pub fn prefetch(&self) {
        #[cfg(not(lethewire_loom))]
        std::hint::black_box(self.state.is_poisoned());
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
        let mut written = 0;
        if state.backlog.is_none() {
            match self.socket.try_write_vectored(parts) {
                Ok(all) if all == total => {
                    return Sent { fate: Fate::Written, written: all, queued: 0 };
                }
                Ok(some) => written = some,
                Err(e) if is_transient(&e) => {}
                Err(_) => {
                    state.ending = Ending::Failed;
                    wake(state);
                    return Sent::default();
                }
            }
        }
        self.keep(state, parts, frames, total, written, now)
    }

    /// Puts all but the first `written` of `total` bytes behind what waits, for the member's task to
    /// send; if that was never tried, it is now, together with these.
    // A function of its own: what is seldom needed costs the loop over a room's members nothing.
    #[inline(never)]
    fn keep(
        &self,
        mut state: MutexGuard<'_, State>,
        parts: &[IoSlice<'_>],
        frames: impl Iterator<Item = Mark>,
        total: usize,
        written: usize,
        now: Instant,
    ) -> Sent {
        if state.backlog.as_ref().is_some_and(|backlog| backlog.is_untried()) {
            return self.send_first(state, parts, frames, now);
        }
        let was_empty = state.backlog.is_none();
        let backlog = state.backlog_or_new(&self.bounds, now);
        backlog.push(parts, frames, written, now);
        backlog.make_room();
        if backlog.fits() {
            if was_empty {
                wake(state);
            }
            let queued = total - written;
            return Sent { fate: Fate::Waiting, written, queued };
        }
        give_up(state, now);
        Sent { fate: Fate::GivenUp, written, queued: 0 }
    }

    /// Closes the member as slow consumer without sending what waits for it. Does nothing, and says
    /// so, to a member that is closing already or for whom nothing waits.
    pub fn evict(&self, now: Instant) -> bool {
        let state = self.lock();
        let waits = matches!((state.ending, &state.backlog), (Ending::No, Some(_)));
        if waits {
            give_up(state, now);
        }
        waits
    }

    /// Sends what waited from the beginning together with the first frames.
    fn send_first(
        &self,
        mut state: MutexGuard<'_, State>,
        parts: &[IoSlice<'_>],
        frames: impl Iterator<Item = Mark>,
        now: Instant,
    ) -> Sent {
        let backlog = state.backlog_or_new(&self.bounds, now);
        let before = backlog.len();
        backlog.push(parts, frames, 0, now);
        let total = backlog.len() - before;
        match backlog.write(&self.socket, now) {
            Ok(()) if backlog.is_empty() => {
                state.backlog = None;
                Sent { fate: Fate::Waiting, written: total, queued: 0 }
            }
            Err(e) if !is_transient(&e) => {
                // They are in the backlog, and counted with it.
                state.ending = Ending::Failed;
                wake(state);
                Sent { fate: Fate::Waiting, ..Sent::default() }
            }
            Ok(()) | Err(_) => {
                wake(state);
                Sent { fate: Fate::Waiting, written: 0, queued: total }
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
        state.backlog_or_new(&self.bounds, now).push_close(why, retry_after, now);
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

    /// Whether something has waited for `stall` without a single byte moving, or one frame for
    /// `age` even so.
    pub fn is_late(&self, stall: Duration, age: Duration, now: Instant) -> bool {
        let state = self.lock();
        state.backlog.as_ref().is_some_and(|backlog| backlog.is_late(stall, age, now))
    }

    /// Bytes that wait, unless the member is closing already.
    pub fn queued(&self) -> usize {
        let state = self.lock();
        match (state.ending, &state.backlog) {
            (Ending::No, Some(backlog)) => backlog.len(),
            _ => 0,
        }
    }

    /// Whether a reason to end has been set, or the socket failed.
    pub fn is_ending(&self) -> bool {
        !matches!(self.lock().ending, Ending::No)
    }

    /// Forgets what still waits.
    pub fn abandon(&self) {
        let mut state = self.lock();
        state.ending = Ending::Failed;
        state.task = None;
        state.backlog = None;
    }

    /// Since when the oldest frame waits, if one does.
    pub fn oldest(&self) -> Option<Instant> {
        self.lock().backlog.as_ref()?.oldest()
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

impl State {
    fn backlog_or_new(&mut self, bounds: &Arc<Bounds>, now: Instant) -> &mut Backlog {
        self.backlog.get_or_insert_with(|| Box::new(Backlog::new(bounds, now)))
    }
}

/// Puts the close of a slow consumer in the place of what waits.
fn give_up(mut state: MutexGuard<'_, State>, now: Instant) {
    if let Some(backlog) = &mut state.backlog {
        backlog.give_up();
        backlog.push_close(Close::SlowConsumer, None, now);
    }
    state.ending = Ending::Closing(Close::SlowConsumer);
    wake(state);
}

/// Wakes the member's task with the lock released.
fn wake(state: MutexGuard<'_, State>) {
    let task = state.task.clone();
    drop(state);
    if let Some(task) = task {
        task.wake();
    }
}

#[cfg(all(test, not(lethewire_loom)))]
mod tests;
