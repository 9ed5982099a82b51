//! Every interleaving of sending, draining and closing one member's outbox.
//!
//! Runs only with `RUSTFLAGS="--cfg lethewire_loom"`; see `check.sh`.

#![cfg(lethewire_loom)]
#![expect(clippy::unwrap_used, clippy::tests_outside_test_module, reason = "a model, not a server")]

use std::io::{self, IoSlice};
use std::task::{Context, Poll, Waker};

use lethewire::core::close::Close;
use lethewire::core::frame::close_frame;
use lethewire::core::limit::Instant;
use lethewire::outbox::{Bounds, Fate, FrameKind, Mark, Outbox, Outlook, Socket};
use loom::sync::{Arc, Mutex};
use loom::thread;

/// A socket whose kernel buffer takes `room` bytes until its peer reads them.
struct Pipe(Mutex<PipeState>);

struct PipeState {
    room: usize,
    taken: Vec<u8>,
    writer: Option<Waker>,
}

impl Pipe {
    fn with_room(room: usize) -> Self {
        Self(Mutex::new(PipeState { room, taken: Vec::new(), writer: None }))
    }

    fn open(&self, room: usize) {
        let mut state = self.0.lock().unwrap();
        state.room += room;
        let writer = state.writer.take();
        drop(state);
        if let Some(writer) = writer {
            writer.wake();
        }
    }
}

impl Socket for Pipe {
    fn try_write_vectored(&self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut state = self.0.lock().unwrap();
        let mut written = 0;
        for byte in parts.iter().flat_map(|part| part.iter()).take(state.room) {
            state.taken.push(*byte);
            written += 1;
        }
        state.room -= written;
        if written == 0 { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(written) }
    }

    fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut state = self.0.lock().unwrap();
        if state.room > 0 {
            return Poll::Ready(Ok(()));
        }
        state.writer = Some(cx.waker().clone());
        Poll::Pending
    }
}

fn send(outbox: &Outbox<Pipe>, frame: &[u8]) -> bool {
    let mark = Mark { len: frame.len(), kind: FrameKind::Data };
    let sent = outbox.send(&[IoSlice::new(frame)], std::iter::once(mark), Instant::START);
    matches!(sent.fate, Fate::Written | Fate::Waiting)
}

/// The member's task: drains until the close frame is written.
async fn drain_to_the_end(outbox: &Outbox<Pipe>) -> Outlook {
    std::future::poll_fn(|cx| match outbox.poll_drain(cx, Instant::START) {
        Outlook::Open | Outlook::Closing(_) => Poll::Pending,
        end => Poll::Ready(end),
    })
    .await
}

/// Explores every schedule with up to three preemptions; bugs need fewer, and all would take hours.
fn bounded(model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(model);
}

/// Two senders and a closer against the member's task: no wake-up is lost (or the model would
/// deadlock), no frame is cut or doubled, and the close frame comes last.
#[test]
fn loom_accepted_frames_arrive_whole_and_then_the_end() {
    bounded(|| {
        let outbox = Arc::new(Outbox::new(
            Pipe::with_room(3),
            std::sync::Arc::new(Bounds::new(64, 8, 1000)),
        ));
        let task = {
            let outbox = Arc::clone(&outbox);
            thread::spawn(move || loom::future::block_on(drain_to_the_end(&outbox)))
        };
        let sender = {
            let outbox = Arc::clone(&outbox);
            thread::spawn(move || send(&outbox, b"AA"))
        };
        let accepted = send(&outbox, b"BB");
        outbox.close(Close::Restart, None, Instant::START);
        outbox.socket().open(100);

        let a_accepted = sender.join().unwrap();
        assert_eq!(task.join().unwrap(), Outlook::Closed(Close::Restart));
        let taken = outbox.socket().0.lock().unwrap().taken.clone();
        let body = taken.strip_suffix(&close_frame(1012, "restart")[..]).unwrap();
        let whole: &[&[u8]] = match (a_accepted, accepted) {
            (true, true) => &[b"AABB", b"BBAA"],
            (true, false) => &[b"AA"],
            (false, true) => &[b"BB"],
            (false, false) => &[b""],
        };
        assert!(whole.contains(&body));
    });
}

/// A slow consumer is closed by whoever sends, while its task drains.
#[test]
fn loom_a_slow_consumer_ends_whoever_is_ahead() {
    bounded(|| {
        let bounds = std::sync::Arc::new(Bounds::new(4, 2, 1000));
        let outbox = Arc::new(Outbox::new(Pipe::with_room(1), bounds));
        let task = {
            let outbox = Arc::clone(&outbox);
            thread::spawn(move || loom::future::block_on(drain_to_the_end(&outbox)))
        };
        let first = send(&outbox, b"AAA");
        let second = send(&outbox, b"BBB");
        outbox.close(Close::Left, None, Instant::START);
        outbox.socket().open(100);

        let why = if first && second { Close::Left } else { Close::SlowConsumer };
        assert_eq!(task.join().unwrap(), Outlook::Closed(why));
    });
}
