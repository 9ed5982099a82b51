//! Tests of the outbox over a socket with a small, countable buffer.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test's way to fail")]

use super::*;
use crate::core::frame::close_frame;
use proptest::prelude::*;
use std::sync::Mutex as StdMutex;

/// Most bytes for one.
const BYTES: usize = 100;

fn bounds() -> Arc<Bounds> {
    Arc::new(Bounds::new(BYTES, 8, 1000))
}
const NOW: Instant = Instant::START;

/// A socket whose kernel buffer takes `room` more bytes.
struct Pipe(StdMutex<(usize, Vec<u8>)>);

impl Pipe {
    fn with_room(room: usize) -> Self {
        Self(StdMutex::new((room, Vec::new())))
    }

    fn open(&self, room: usize) {
        self.0.lock().unwrap().0 += room;
    }

    fn taken(&self) -> Vec<u8> {
        self.0.lock().unwrap().1.clone()
    }
}

impl Socket for Pipe {
    fn try_write_vectored(&self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        let (room, taken) = &mut *self.0.lock().unwrap();
        let before = *room;
        for byte in parts.iter().flat_map(|part| part.iter()).take(before) {
            taken.push(*byte);
            *room -= 1;
        }
        if before == 0 { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(before - *room) }
    }

    fn poll_writable(&self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.0.lock().unwrap().0 == 0 { Poll::Pending } else { Poll::Ready(Ok(())) }
    }
}

/// A frame is its length, `len` times.
fn send(outbox: &Outbox<Pipe>, frames: &[(u8, FrameKind)]) -> Sent {
    let bytes: Vec<Vec<u8>> = frames.iter().map(|(len, _)| vec![*len; usize::from(*len)]).collect();
    let parts: Vec<IoSlice<'_>> = bytes.iter().map(|bytes| IoSlice::new(bytes)).collect();
    let marks = frames.iter().map(|(len, kind)| Mark { len: usize::from(*len), kind: *kind });
    outbox.send(&parts, marks, NOW)
}

fn drain(outbox: &Outbox<Pipe>) -> Outlook {
    outbox.poll_drain(&mut Context::from_waker(Waker::noop()), NOW)
}

use FrameKind::{Control, Data, Volatile};

#[test]
fn a_socket_that_takes_all_needs_no_backlog() {
    let outbox = Outbox::new(Pipe::with_room(1000), bounds());
    let sent = send(&outbox, &[(3, Data), (2, Control)]);
    assert_eq!(sent, Sent { fate: Fate::Written, written: 5, queued: 0 });
    assert_eq!(outbox.socket().taken(), [3, 3, 3, 2, 2]);
    assert!(outbox.lock().backlog.is_none());
}

#[test]
fn what_has_to_go_first_goes_in_one_write_with_the_next() {
    let outbox = Outbox::behind(vec![9; 9], Pipe::with_room(1000), bounds(), NOW);
    assert!(outbox.socket().taken().is_empty());
    let sent = send(&outbox, &[(3, Data), (2, Control)]);
    assert_eq!(sent, Sent { fate: Fate::Waiting, written: 5, queued: 0 });
    assert_eq!(outbox.socket().taken(), [vec![9; 9], vec![3, 3, 3, 2, 2]].concat());
    assert!(outbox.lock().backlog.is_none());
}

#[test]
fn what_has_to_go_first_is_never_overtaken() {
    for room in 0..14 {
        let outbox = Outbox::behind(vec![9; 9], Pipe::with_room(room), bounds(), NOW);
        assert_eq!(send(&outbox, &[(3, Data), (2, Control)]).queued, 5, "{room}");
        outbox.socket().open(1);
        send(&outbox, &[(1, Data)]);
        outbox.socket().open(1000);
        assert_eq!(drain(&outbox), Outlook::Open);
        let expected = [vec![9; 9], vec![3, 3, 3, 2, 2, 1]].concat();
        assert_eq!(outbox.socket().taken(), expected, "{room}");
    }
    let alone = Outbox::behind(vec![9; 9], Pipe::with_room(1000), bounds(), NOW);
    assert_eq!(drain(&alone), Outlook::Open);
    assert_eq!(alone.socket().taken(), [9; 9]);
    let closed = Outbox::behind(vec![9; 9], Pipe::with_room(1000), bounds(), NOW);
    assert!(closed.close(Close::Restart, None, NOW));
    assert_eq!(drain(&closed), Outlook::Closed(Close::Restart));
    assert!(closed.socket().taken().starts_with(&[9; 9]));
}

#[test]
fn what_the_socket_does_not_take_waits_in_order() {
    let outbox = Outbox::new(Pipe::with_room(4), bounds());
    assert_eq!(send(&outbox, &[(3, Data), (2, Data)]).queued, 1);
    assert_eq!(send(&outbox, &[(1, Data)]).queued, 1);
    assert_eq!(drain(&outbox), Outlook::Open);
    outbox.socket().open(100);
    assert_eq!(drain(&outbox), Outlook::Open);
    assert_eq!(outbox.socket().taken(), [3, 3, 3, 2, 2, 1]);
    assert!(outbox.lock().backlog.is_none(), "an idle member holds no buffer");
}

#[test]
fn volatile_frames_go_first_but_never_one_that_was_begun() {
    let outbox = Outbox::new(Pipe::with_room(5), bounds());
    send(&outbox, &[(10, Volatile), (40, Volatile), (30, Data)]);
    let sent = send(&outbox, &[(50, Data)]);
    assert_eq!(sent.fate, Fate::Waiting);
    let CopyCounts { queued, volatile, .. } = outbox.bounds.copies();
    assert_eq!((queued, volatile), (3, 1));
    outbox.socket().open(1000);
    drain(&outbox);
    let expected = [vec![10; 10], vec![30; 30], vec![50; 50]].concat();
    assert_eq!(outbox.socket().taken(), expected);
}

#[test]
fn over_the_bound_the_member_is_closed_as_slow_consumer() {
    for last in [(101, Data), (100, Volatile)] {
        let outbox = Outbox::new(Pipe::with_room(2), bounds());
        send(&outbox, &[(5, Data), (6, Data)]);
        let sent = send(&outbox, &[last]);
        let copies = outbox.bounds.copies();
        if last.1 == Volatile {
            assert_eq!((sent.fate, copies.volatile), (Fate::Waiting, 1));
            continue;
        }
        assert_eq!(sent.fate, Fate::GivenUp);
        assert_eq!(
            (copies.given_up, copies.queued),
            (2, 1),
            "the frame that was begun is finished"
        );
        assert_eq!(drain(&outbox), Outlook::Closing(Close::SlowConsumer));
        outbox.socket().open(1000);
        assert_eq!(drain(&outbox), Outlook::Closed(Close::SlowConsumer));
        let close = close_frame(4200, "slow_consumer");
        assert_eq!(outbox.socket().taken(), [vec![5; 5], close].concat());
        assert_eq!(send(&outbox, &[(1, Data)]), Sent::default());
        let counts = CopyCounts { delivered: 1, given_up: 2, ..CopyCounts::default() };
        assert_eq!(outbox.bounds.copies(), counts, "who is refused counts elsewhere");
    }
}

#[test]
fn frames_are_bounded_as_well_as_bytes() {
    let outbox = Outbox::new(Pipe::with_room(0), bounds());
    assert_eq!(send(&outbox, &[(1, Data); 8]).fate, Fate::Waiting);
    assert_eq!(send(&outbox, &[(1, Data)]).fate, Fate::GivenUp);
    assert!(outbox.is_ending());
}

#[test]
fn the_first_reason_wins_and_comes_after_what_was_accepted() {
    let outbox = Outbox::new(Pipe::with_room(1), bounds());
    send(&outbox, &[(3, Data)]);
    assert!(outbox.close(Close::Restart, Some(Duration::from_millis(9)), NOW));
    assert!(!outbox.close(Close::Kicked, None, NOW));
    outbox.socket().open(1000);
    assert_eq!(drain(&outbox), Outlook::Closed(Close::Restart));
    let close = close_frame(1012, "restart;r=9");
    assert_eq!(outbox.socket().taken(), [vec![3; 3], close].concat());
}

#[test]
fn who_is_evicted_gets_the_close_frame_and_no_more() {
    let bounds = bounds();
    let outbox = Outbox::new(Pipe::with_room(2), Arc::clone(&bounds));
    assert!(!outbox.evict(NOW), "nothing waits");
    assert!(!outbox.is_ending());
    send(&outbox, &[(5, Data), (6, Data), (7, Control)]);
    assert_eq!((outbox.queued(), bounds.queued()), (16, 16));
    assert!(outbox.evict(NOW));
    assert_eq!(bounds.copies().given_up, 1, "the frame that was begun is finished");
    assert_eq!(outbox.queued(), 0, "it is on its way out already");
    outbox.socket().open(1000);
    assert_eq!(drain(&outbox), Outlook::Closed(Close::SlowConsumer));
    let close = close_frame(4200, "slow_consumer");
    assert_eq!(outbox.socket().taken(), [vec![5; 5], close].concat());
    assert_eq!(bounds.queued(), 0);
}

#[test]
fn what_waits_for_all_is_counted_to_the_end() {
    let bounds = Arc::new(Bounds::new(BYTES, 8, 20));
    let [one, other] = [0, 0].map(|room| Outbox::new(Pipe::with_room(room), Arc::clone(&bounds)));
    send(&one, &[(20, Data)]);
    assert!(!bounds.is_exceeded());
    send(&other, &[(1, Data)]);
    assert!(bounds.is_exceeded());
    drop(one);
    assert_eq!(bounds.queued(), 1);
    other.abandon();
    assert_eq!(bounds.queued(), 0);
}

#[test]
fn late_is_who_takes_nothing_or_too_slowly() {
    const SECOND: Duration = Duration::from_secs(1);
    let outbox = Outbox::new(Pipe::with_room(0), bounds());
    let late = |at| outbox.is_late(10 * SECOND, 30 * SECOND, NOW.after(at * SECOND));
    assert!(!late(100), "nothing waits");
    send(&outbox, &[(3, Data), (60, Data)]);
    assert!(!late(9) && late(10), "nothing moves");
    // A byte now and then is not nothing, but the frames get old.
    for at in (5..40).step_by(5) {
        outbox.socket().open(1);
        let now = NOW.after(at * SECOND);
        outbox.poll_drain(&mut Context::from_waker(Waker::noop()), now);
        assert_eq!(late(at), at >= 30, "{at}");
    }
}

#[derive(Clone, Debug)]
enum Op {
    Send(Vec<(u8, FrameKind)>),
    Open(usize),
    Drain,
    Close,
    Evict,
}

/// Copies that are counted in the bounds, whatever became of them.
const fn in_all(copies: CopyCounts) -> u64 {
    let CopyCounts { queued, delivered, volatile, given_up, closed } = copies;
    queued + delivered + volatile + given_up + closed
}

fn op() -> impl Strategy<Value = Op> {
    let kind = prop::sample::select(vec![Data, Volatile, Control]);
    prop_oneof![
        4 => prop::collection::vec((2..30_u8, kind), 1..5).prop_map(Op::Send),
        2 => (0..60_usize).prop_map(Op::Open),
        2 => Just(Op::Drain),
        1 => Just(Op::Close),
        1 => Just(Op::Evict),
    ]
}

/// Splits what a socket took into frames, each its length and then its number over and over.
fn numbers(mut taken: &[u8]) -> Vec<u8> {
    let mut numbers = Vec::new();
    while let [len, number, ..] = taken {
        let (frame, rest) = taken.split_at(usize::from(*len));
        assert!(frame[1..].iter().all(|byte| byte == number), "a frame was cut");
        numbers.push(*number);
        taken = rest;
    }
    numbers
}

proptest! {
    /// Whatever happens, the socket sees whole frames in order: all that was accepted and is not
    /// volatile, unless the close frame says why not, and nothing behind the close frame.
    #[test]
    fn the_stream_is_whole_frames_in_order_and_every_message_is_counted_once(
        history in prop::collection::vec(op(), 0..60),
        finishes in prop::bool::weighted(0.8),
    ) {
        let bounds = bounds();
        let outbox = Outbox::new(Pipe::with_room(0), Arc::clone(&bounds));
        let mut accepted = Vec::new();
        let mut number = 0_u8;
        let mut sent_kinds = Vec::new();
        let (mut addressed, mut written, mut refused) = (0, 0, 0);
        for op in history {
            match op {
                Op::Send(frames) => {
                    let mut bytes = Vec::new();
                    for (len, kind) in &frames {
                        let mut frame = vec![number; usize::from(*len)];
                        frame[0] = *len;
                        bytes.push((frame, *kind, number));
                        sent_kinds.push(*kind);
                        number += 1;
                    }
                    let parts: Vec<_> = bytes.iter().map(|(b, ..)| IoSlice::new(b)).collect();
                    let marks = bytes.iter().map(|(b, k, _)| Mark { len: b.len(), kind: *k });
                    let sent = outbox.send(&parts, marks, NOW);
                    let messages = frames.iter().filter(|(_, k)| *k != Control).count() as u64;
                    addressed += messages;
                    match sent.fate {
                        Fate::Written => written += messages,
                        Fate::Refused => refused += messages,
                        Fate::Waiting | Fate::GivenUp => {}
                    }
                    if matches!(sent.fate, Fate::Written | Fate::Waiting) {
                        accepted.extend(bytes.iter().map(|(_, kind, number)| (*number, *kind)));
                    }
                    let state = outbox.lock();
                    let waiting = state.backlog.as_ref().map_or(0, |b| b.len());
                    prop_assert_eq!(bounds.queued(), waiting);
                    prop_assert!(waiting <= BYTES + 20, "the bound and a close frame");
                }
                Op::Open(room) => outbox.socket().open(room),
                Op::Drain => _ = drain(&outbox),
                Op::Close => _ = outbox.close(Close::Kicked, None, NOW),
                Op::Evict => _ = outbox.evict(NOW),
            }
            let copies = bounds.copies();
            prop_assert_eq!(written + refused + in_all(copies), addressed, "none is forgotten");
        }
        if !finishes {
            outbox.abandon();
            let copies = bounds.copies();
            prop_assert_eq!((copies.queued, bounds.queued()), (0, 0));
            prop_assert_eq!(written + refused + in_all(copies), addressed, "none is forgotten");
            return Ok(());
        }
        outbox.close(Close::Left, None, NOW);
        outbox.socket().open(100_000);
        let Outlook::Closed(why) = drain(&outbox) else { panic!("everything was taken") };
        prop_assert_eq!(bounds.queued(), 0);

        let taken = outbox.socket().taken();
        let close = close_frame(why.code(), why.name());
        let seen = numbers(taken.strip_suffix(&close[..]).unwrap());
        prop_assert!(seen.is_sorted(), "in order");
        let copies = bounds.copies();
        let is_data = |n: &u8| sent_kinds[usize::from(*n)] != Control;
        let heard = seen.iter().filter(|n| is_data(n)).count() as u64;
        prop_assert_eq!((written + copies.delivered, copies.queued, copies.closed), (heard, 0, 0));
        let missing: Vec<_> = accepted.iter().filter(|(n, _)| !seen.contains(n)).collect();
        if why == Close::SlowConsumer {
            let is_behind = |n| seen.last().is_none_or(|last| n > last);
            prop_assert!(missing.iter().all(|(n, kind)| *kind == Volatile || is_behind(n)));
        } else {
            prop_assert_eq!(missing.len() as u64, copies.volatile);
            prop_assert!(missing.iter().all(|(_, kind)| *kind == Volatile));
        }
    }
}
