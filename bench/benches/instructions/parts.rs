//! Single steps of the hot path, by themselves.

use std::hint::black_box;
use std::io::{self, IoSlice};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use gungraun::{library_benchmark, library_benchmark_group};
use lethewire::admission::replay::Replay;
use lethewire::core::admission::PaddingPolicy;
use lethewire::core::frame::{Event, Limits, Opcode, Reader, Step, frame};
use lethewire::core::id::{Epoch, Jti, MemberId};
use lethewire::core::limit::Instant;
use lethewire::core::token::{Cap, Claims, Keys, KidIndex, Policy};
use lethewire::core::wire::{CLIENT_HEAD_MAX, ClientHead, Terms, Welcome, WelcomeLimits};
use lethewire::metrics::{Count, Metrics};
use lethewire::outbox::{Bounds, Fate, FrameKind, Mark, Outbox, Outlook, Sent, Socket};

use crate::stage::{self, Minted, NOW};

library_benchmark_group!(
    name = parts_group,
    benchmarks = [
        read_and_copy,
        read_in_place,
        client_head,
        token_mint,
        token_verify,
        replay_burn,
        outbox_send,
        outbox_backlog,
        metrics_add,
        metrics_page,
        welcome
    ]
);

/// A frame as it came from a socket, and what takes it.
struct Read {
    reader: Reader,
    input: Vec<u8>,
    out: Vec<u8>,
}

fn input(payload: usize) -> Read {
    let input = stage::client_frame(payload);
    Read { reader: Reader::default(), out: Vec::with_capacity(input.len()), input }
}

const LIMITS: Limits = Limits { binary_bytes: 70_000, text_bytes: 1024, fragments: 16 };

// A small message: read, and unmasked while it is copied.
#[library_benchmark]
#[bench::payload_128(args = (128), setup = input)]
fn read_and_copy(mut read: Read) -> Read {
    if let Ok(Step::Frame(Event::Message(_, payload), _)) =
        read.reader.next(black_box(&mut read.input), &LIMITS)
    {
        payload.append_to(stage::HEAD, &mut read.out);
    }
    read
}

// A large message: read, and unmasked where it is.
#[library_benchmark]
#[bench::payload_65536(args = (65_536), setup = input)]
fn read_in_place(mut read: Read) -> Read {
    if let Ok(Step::Frame(Event::Message(_, mut payload), _)) =
        read.reader.next(black_box(&mut read.input), &LIMITS)
    {
        black_box(payload.unmask());
    }
    read
}

// The heads of messages from a client.
#[library_benchmark]
#[bench::a_hundred(args = ([1, 0, 0, 7, 9, 9, 9, 9, 9, 9, 9, 9]))]
fn client_head(first: [u8; CLIENT_HEAD_MAX]) {
    for _ in 0..100 {
        let _ = black_box(ClientHead::parse(black_box(&first), black_box(132)));
    }
}

// A join token, made.
#[library_benchmark]
#[bench::plain(setup = stage::minted)]
fn token_mint(minted: Minted) -> impl Sized {
    let Minted { keys, policy, .. } = &minted;
    let token = stage::mint(keys, policy);
    (minted, token)
}

// A join token, checked.
#[library_benchmark]
#[bench::plain(setup = stage::minted)]
fn token_verify(minted: Minted) -> (Minted, Claims) {
    let Minted { keys, policy, token } = &minted;
    let claims = verify(keys, policy, token);
    (minted, claims)
}

fn verify(keys: &Keys, policy: &Policy, token: &str) -> Claims {
    keys.verify(policy, token, NOW).unwrap_or_else(|_| unreachable!("it was just minted"))
}

/// A thousand used tokens, and a hundred new ones: the table's hash has random keys, so that one
/// alone would not cost the same in every run.
fn used() -> (Replay, Vec<Jti>) {
    let replay = Replay::new(Duration::from_secs(120), 1_000_000);
    let name = |number: u32| {
        let mut name = [0; Jti::LEN];
        name.iter_mut().zip(number.to_be_bytes()).for_each(|(to, byte)| *to = byte);
        Jti::from_bytes(name)
    };
    for number in 0..1000 {
        let _ = replay.burn(KidIndex(0), name(number), Instant::START);
    }
    (replay, (1000..1100).map(name).collect())
}

// Join tokens, used up.
#[library_benchmark]
#[bench::a_hundred(setup = used)]
fn replay_burn((replay, names): (Replay, Vec<Jti>)) -> Replay {
    for name in names {
        assert!(replay.burn(KidIndex(0), name, Instant::START).is_ok(), "it is new");
    }
    replay
}

/// A socket that takes everything, or nothing until it is opened.
struct Gate(AtomicBool);

impl Socket for Gate {
    fn try_write_vectored(&self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        if self.0.load(Ordering::Relaxed) {
            Ok(parts.iter().map(|part| part.len()).sum())
        } else {
            Err(io::ErrorKind::WouldBlock.into())
        }
    }

    fn poll_writable(&self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.0.load(Ordering::Relaxed) { Poll::Ready(Ok(())) } else { Poll::Pending }
    }
}

fn outbox(open: bool) -> (Outbox<Gate>, Vec<u8>) {
    let bounds = Arc::new(Bounds::new(1 << 20, 512, 1 << 30));
    (Outbox::new(Gate(AtomicBool::new(open)), bounds), frame(Opcode::Binary, &[7; 148]))
}

fn send(outbox: &Outbox<Gate>, bytes: &[u8]) -> Sent {
    let mark = Mark { len: bytes.len(), kind: FrameKind::Data };
    outbox.send(&[IoSlice::new(bytes)], std::iter::once(mark), Instant::START)
}

// Frames that the member's socket takes.
#[library_benchmark]
#[bench::a_hundred(args = (true), setup = outbox)]
fn outbox_send((outbox, bytes): (Outbox<Gate>, Vec<u8>)) -> Outbox<Gate> {
    for _ in 0..100 {
        assert_eq!(send(&outbox, black_box(&bytes)).fate, Fate::Written, "its socket takes it");
    }
    outbox
}

// A hundred frames that wait, and are drained at once when the socket is writable again.
#[library_benchmark]
#[bench::a_hundred(args = (false), setup = outbox)]
fn outbox_backlog((outbox, bytes): (Outbox<Gate>, Vec<u8>)) -> Outbox<Gate> {
    for _ in 0..100 {
        assert_eq!(send(&outbox, black_box(&bytes)).fate, Fate::Waiting, "it is below the bounds");
    }
    outbox.socket().0.store(true, Ordering::Relaxed);
    let outlook = outbox.poll_drain(&mut Context::from_waker(Waker::noop()), Instant::START);
    assert!(outlook == Outlook::Open, "it is drained");
    outbox
}

fn metrics() -> Metrics {
    let metrics = Metrics::new();
    // The first time, a thread chooses its stripe.
    metrics.add(Count::CopiesDelivered, 1);
    metrics
}

// A number added to a counter.
#[library_benchmark]
#[bench::a_hundred(setup = metrics)]
fn metrics_add(metrics: Metrics) -> Metrics {
    for _ in 0..100 {
        metrics.add(black_box(Count::CopiesDelivered), black_box(1));
    }
    metrics
}

// What a scrape is given. It is made at the front door, so it takes nothing from the members' threads.
#[library_benchmark]
#[bench::whole(setup = metrics)]
fn metrics_page(metrics: Metrics) -> (Metrics, String) {
    let page = metrics.encode(black_box(Instant::START));
    (metrics, page)
}

/// So many members, and the default terms.
fn seated(count: u64) -> (Vec<MemberId>, Terms) {
    let name = |member: u64| MemberId::from_bytes((member << 40 | 77).to_be_bytes());
    let limits = WelcomeLimits {
        payload_bytes: 65_536,
        messages: (300, 10),
        bytes: (16_777_216, 10),
        fanout: (33_554_432, 10),
        heartbeat_s: 25,
    };
    let terms = Terms::new(&limits, &[256, 1024, 4096, 16_384, 65_536]);
    ((0..count).map(name).collect(), terms)
}

// What a newcomer is told.
#[library_benchmark]
#[bench::room_of_10(args = (10), setup = seated)]
#[bench::room_of_1000(args = (1000), setup = seated)]
fn welcome((members, terms): (Vec<MemberId>, Terms)) -> impl Sized {
    let text = Welcome {
        member: MemberId::from_bytes([1; 8]),
        epoch: Epoch::from_bytes([2; 8]),
        seq: 1,
        members: &mut members.iter().copied(),
        cap: Cap::SEND.with(Cap::RECEIVE),
        locked: false,
        ttl_s: 86_400,
        terms: &terms,
        members_max: 64,
        padding_policy: PaddingPolicy::Off,
    }
    .encode();
    (members, terms, text)
}
