//! Puts a load on a server and checks every single delivery.
//!
//! Each thread has an epoll set and the connections of some rooms (or, if there are fewer rooms
//! than threads, some members of each). Senders either have a window, which counts a message as
//! under way until all receivers together have received that many, or send at a fixed rate, where
//! the time in a message is when it should have been sent.

pub mod churn;
mod conn;
mod drain;
mod intake;
mod ledger;
mod message;
mod speech;
mod worker;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use crate::Fault;
use crate::dialect::{Dialect, Ticket};

/// What load to put on a server.
#[derive(Clone, Debug)]
pub struct Plan {
    /// How many rooms.
    pub rooms: u32,
    /// Members of each.
    pub members: u32,
    /// How many of a room's members speak.
    pub senders: u32,
    /// Bytes of a message.
    pub payload: usize,
    /// Messages that a sender may have under way; with a rate, nothing bounds it.
    pub window: u32,
    /// Messages that all senders together may have under way, who then take turns; zero is as many
    /// as their windows allow. Not for rooms that are split over threads.
    pub in_flight: u32,
    /// Messages per second of all senders together; zero is as fast as the windows allow.
    pub rate: f64,
    /// One in so many members stops reading once it is in; zero is nobody.
    pub deaf_one_in: u32,
    /// Time before the measurement.
    pub warm: Duration,
    /// Time of the measurement; zero only connects.
    pub measure: Duration,
    /// Threads that make the load.
    pub threads: u32,
}

/// Moments at which the caller looks at the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// Tickets are there, connections are not.
    BeforeConnect,
    /// All are in their rooms.
    Connected,
    /// The measurement begins.
    Begin,
    /// The measurement ends.
    End,
}

/// Deliveries that were not right.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// Accepted from a sender and not received.
    pub lost: u64,
    /// Received twice.
    pub duplicated: u64,
    /// Received after a later one of the same sender.
    pub reordered: u64,
    /// With other bytes than were sent, or in the wrong room.
    pub corrupted: u64,
    /// Connections that the server ended.
    pub closed: u64,
}

impl Faults {
    /// Whether there are none.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }

    /// What went wrong, in words.
    pub fn summary(&self) -> String {
        let all = [
            (self.lost, "lost"),
            (self.duplicated, "duplicated"),
            (self.reordered, "out of order"),
            (self.corrupted, "changed"),
            (self.closed, "connections closed"),
        ];
        let said = all.iter().filter(|(count, _)| *count > 0);
        said.map(|(count, what)| format!("{count} {what}")).collect::<Vec<_>>().join(", ")
    }

    fn add(&mut self, other: &Self) {
        self.lost += other.lost;
        self.duplicated += other.duplicated;
        self.reordered += other.reordered;
        self.corrupted += other.corrupted;
        self.closed += other.closed;
    }
}

/// What came of it.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Seconds from the first connect to the last welcome.
    pub connect_s: f64,
    /// Length of the measurement in seconds.
    pub seconds: f64,
    /// Deliveries within it.
    pub delivered: u64,
    /// Deliveries over the whole run, each of which was checked.
    pub checked: u64,
    /// Nanoseconds from sending to receiving, of messages that were sent within it.
    pub latency: Histogram<u64>,
    /// What was wrong.
    pub faults: Faults,
    /// Deaf connections that the server ended, by close code (0: without one).
    pub deaf_closed: BTreeMap<u16, u64>,
}

/// Phases of a run; every thread follows them.
const CONNECT: u8 = 0;
const RUN: u8 = 1;
const DRAIN: u8 = 2;
const EXIT: u8 = 3;

/// How long all may take to come in.
const CONNECT_PATIENCE: Duration = Duration::from_secs(60);

/// What the threads and the controller share.
struct Shared {
    epoch: Instant,
    phase: AtomicU8,
    connected: AtomicUsize,
    failed: std::sync::Mutex<Option<String>>,
    /// Per sender: how often its messages were received.
    received: Vec<AtomicU64>,
    /// Per sender: how many messages it sent; final once the phase is DRAIN and its thread said so.
    sent: Vec<AtomicU32>,
    /// Threads that will send no more.
    silent: AtomicUsize,
    /// Deaf connections that are over.
    deaf_over: AtomicUsize,
    /// Messages sent from here to there are measured, in nanoseconds since the epoch.
    measured_from: AtomicU64,
    measured_to: AtomicU64,
    /// Per thread: deliveries so far.
    deliveries: Vec<AtomicU64>,
}

impl Shared {
    fn now(&self) -> u64 {
        u64::try_from(self.epoch.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    fn phase(&self) -> u8 {
        self.phase.load(Ordering::Acquire)
    }

    fn enter(&self, phase: u8) {
        self.phase.store(phase, Ordering::Release);
    }

    fn fail(&self, why: String) {
        self.failed.lock().expect("nobody panics with it").get_or_insert(why);
        self.enter(EXIT);
    }

    fn delivered(&self) -> u64 {
        self.deliveries.iter().map(|count| count.load(Ordering::Relaxed)).sum()
    }
}

impl Plan {
    /// The sender's number over all rooms.
    const fn sender(&self, room: u32, member: u32) -> usize {
        (room * self.senders + member) as usize
    }

    /// Whether this member stops reading. Senders that are deaf do not speak.
    const fn is_deaf(&self, room: u32, member: u32) -> bool {
        let number = room * self.members + member;
        self.deaf_one_in > 0 && number % self.deaf_one_in == self.deaf_one_in - 1
    }

    /// Which thread has this member.
    const fn thread_of(&self, room: u32, member: u32) -> u32 {
        if self.is_split() { member % self.threads } else { room % self.threads }
    }

    /// Whether a room's members are on several threads.
    const fn is_split(&self) -> bool {
        self.rooms < self.threads
    }

    /// How many receive each message of this room.
    fn receivers(&self, room: u32, echoes: bool) -> u32 {
        let hearing = (0..self.members).filter(|member| !self.is_deaf(room, *member)).count();
        u32::try_from(hearing).unwrap_or(u32::MAX) - u32::from(!echoes)
    }
}

/// Runs a plan, and lets `watch` look at the server at each moment.
///
/// # Errors
///
/// The server did not let all come in, or broke the protocol.
pub fn run(
    dialect: &impl Dialect,
    addr: SocketAddr,
    plan: &Plan,
    watch: &mut dyn FnMut(Moment) -> Result<(), Fault>,
) -> Result<Outcome, Fault> {
    let mut tickets = dialect.tickets(plan.rooms, plan.members)?;
    let senders = (plan.rooms * plan.senders) as usize;
    let shared = Shared {
        epoch: Instant::now(),
        phase: AtomicU8::new(CONNECT),
        connected: AtomicUsize::new(0),
        failed: std::sync::Mutex::default(),
        received: (0..senders).map(|_| AtomicU64::new(0)).collect(),
        sent: (0..senders).map(|_| AtomicU32::new(0)).collect(),
        silent: AtomicUsize::new(0),
        deaf_over: AtomicUsize::new(0),
        measured_from: AtomicU64::new(u64::MAX),
        measured_to: AtomicU64::new(u64::MAX),
        deliveries: (0..plan.threads).map(|_| AtomicU64::new(0)).collect(),
    };
    watch(Moment::BeforeConnect)?;
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..plan.threads)
            .map(|thread| {
                let own = take_own(plan, thread, &mut tickets);
                let shared = &shared;
                scope.spawn(move || worker::run(dialect, addr, plan, shared, thread, own))
            })
            .collect();
        let mut outcome = control(dialect, plan, &shared, watch).inspect_err(|e| {
            shared.fail(e.to_string());
        });
        shared.enter(EXIT);
        for worker in workers {
            let report = worker.join().map_err(|_| "a thread of the generator panicked")?;
            if let Ok(outcome) = &mut outcome {
                report.add_to(outcome)?;
            }
        }
        if let Some(why) = shared.failed.lock().expect("nobody panics with it").take() {
            return Err(why.into());
        }
        outcome
    })
}

/// The tickets of one thread's connections.
fn take_own(plan: &Plan, thread: u32, tickets: &mut [Vec<Ticket>]) -> Vec<(u32, Ticket)> {
    let mut own = Vec::new();
    for member in 0..plan.members {
        for (room, tickets) in (0..).zip(tickets.iter_mut()) {
            if plan.thread_of(room, member) == thread
                && let Some(ticket) = tickets.get_mut(member as usize)
            {
                own.push((member, ticket.clone()));
            }
        }
    }
    own
}

fn control(
    dialect: &impl Dialect,
    plan: &Plan,
    shared: &Shared,
    watch: &mut dyn FnMut(Moment) -> Result<(), Fault>,
) -> Result<Outcome, Fault> {
    let all = (plan.rooms * plan.members) as usize;
    let begun = Instant::now();
    while shared.connected.load(Ordering::Acquire) < all {
        if shared.phase() == EXIT {
            return Err("gave up".into());
        }
        if begun.elapsed() > CONNECT_PATIENCE {
            return Err("not all connections came in".into());
        }
        std::thread::sleep(Duration::from_micros(200));
    }
    let connect_s = begun.elapsed().as_secs_f64();
    watch(Moment::Connected)?;
    std::thread::sleep(dialect.settle());
    let mut outcome = Outcome {
        connect_s,
        seconds: 0.0,
        delivered: 0,
        checked: 0,
        latency: histogram()?,
        faults: Faults::default(),
        deaf_closed: BTreeMap::new(),
    };
    if plan.measure.is_zero() {
        return Ok(outcome);
    }
    shared.enter(RUN);
    pause(shared, plan.warm)?;
    watch(Moment::Begin)?;
    let (from, before) = (shared.now(), shared.delivered());
    shared.measured_from.store(from, Ordering::Relaxed);
    pause(shared, plan.measure)?;
    let (to, after) = (shared.now(), shared.delivered());
    shared.measured_to.store(to, Ordering::Relaxed);
    watch(Moment::End)?;
    outcome.seconds = Duration::from_nanos(to - from).as_secs_f64();
    outcome.delivered = after - before;
    shared.enter(DRAIN);
    drain::drain(plan, shared, dialect.echoes())?;
    outcome.checked = shared.delivered();
    Ok(outcome)
}

fn pause(shared: &Shared, time: Duration) -> Result<(), Fault> {
    let until = Instant::now() + time;
    while let Some(left) = until.checked_duration_since(Instant::now()) {
        if shared.phase() == EXIT {
            return Err("gave up".into());
        }
        std::thread::sleep(left.min(Duration::from_millis(20)));
    }
    Ok(())
}

/// From a microsecond to a minute, with three digits.
fn histogram() -> Result<Histogram<u64>, Fault> {
    Ok(Histogram::new_with_bounds(1000, 60_000_000_000, 3)?)
}
