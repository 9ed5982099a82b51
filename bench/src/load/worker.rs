//! One thread of the load generator: its connections, and the loop that tends them.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::time::Duration;

use hdrhistogram::Histogram;
use mio::{Events, Interest, Poll, Token};
use socket2::SockRef;

use super::conn::{Conn, Sender, State, connect};
use super::intake::{Intake, Taken};
use super::speech::Speech;
use super::{DRAIN, EXIT, Faults, Outcome, Plan, RUN, Shared};
use crate::Fault;
use crate::dialect::{Dialect, Ticket};

/// Connections of a thread that come in side by side.
const SHAKING_MAX: usize = 64;
/// What one read can bring.
const SCRATCH_BYTES: usize = 256 * 1024;
/// How long to sleep while nothing happens; a phase may end meanwhile.
const NAP: Duration = Duration::from_millis(2);

/// What a thread found.
pub(super) struct Report {
    latency: Option<Histogram<u64>>,
    faults: Faults,
    deaf_closed: BTreeMap<u16, u64>,
}

impl Report {
    pub(super) fn add_to(self, outcome: &mut Outcome) -> Result<(), Fault> {
        if let Some(latency) = self.latency {
            outcome.latency.add(latency)?;
        }
        outcome.faults.add(&self.faults);
        for (code, count) in self.deaf_closed {
            *outcome.deaf_closed.entry(code).or_default() += count;
        }
        Ok(())
    }
}

/// Runs a thread to the end of the plan. What goes wrong ends the plan.
pub(super) fn run(
    dialect: &impl Dialect,
    addr: SocketAddr,
    plan: &Plan,
    shared: &Shared,
    thread: u32,
    own: Vec<(u32, Ticket)>,
) -> Report {
    let worker = Worker::new(dialect, addr, plan, shared, thread);
    worker.and_then(|worker| worker.run(own)).unwrap_or_else(|e| {
        shared.fail(e.to_string());
        Report { latency: None, faults: Faults::default(), deaf_closed: BTreeMap::new() }
    })
}

struct Worker<'a, D> {
    dialect: &'a D,
    addr: SocketAddr,
    plan: &'a Plan,
    shared: &'a Shared,
    thread: u32,
    poll: Poll,
    conns: Vec<Conn>,
    scratch: Vec<u8>,
    intake: Intake<'a, D>,
    speech: Speech<'a>,
    closed: u64,
    deaf_closed: BTreeMap<u16, u64>,
}

impl<'a, D: Dialect> Worker<'a, D> {
    fn new(
        dialect: &'a D,
        addr: SocketAddr,
        plan: &'a Plan,
        shared: &'a Shared,
        thread: u32,
    ) -> Result<Self, Fault> {
        Ok(Self {
            dialect,
            addr,
            plan,
            shared,
            thread,
            poll: Poll::new()?,
            conns: Vec::new(),
            scratch: vec![0; SCRATCH_BYTES],
            intake: Intake::new(dialect, plan, shared.sent.len())?,
            speech: Speech::new(plan, shared, D::TEXT),
            closed: 0,
            deaf_closed: BTreeMap::new(),
        })
    }

    fn run(mut self, own: Vec<(u32, Ticket)>) -> Result<Report, Fault> {
        let mut events = Events::with_capacity(1024);
        self.come_in(own, &mut events)?;
        let (mut is_running, mut is_silent) = (false, false);
        let mut again: Vec<usize> = Vec::new();
        loop {
            let phase = self.shared.phase();
            if phase == EXIT {
                break;
            }
            if phase == RUN && !is_running {
                is_running = true;
                self.speech.start(&mut self.conns);
            }
            if phase == DRAIN && !is_silent {
                is_silent = true;
                self.fall_silent();
            }
            // Never asleep while it runs: a server that has to wake its clients pays for that.
            let is_busy = !again.is_empty() || phase == RUN;
            self.poll_events(&mut events, if is_busy { Duration::ZERO } else { NAP })?;
            self.intake.set_time(self.shared);
            for number in std::mem::take(&mut again) {
                self.read(number, &mut again)?;
            }
            for event in &events {
                let number = event.token().0;
                if event.is_writable() {
                    self.flush(number);
                }
                if event.is_readable() || event.is_read_closed() {
                    self.read(number, &mut again)?;
                }
            }
            let Self { intake, speech, conns, shared, thread, .. } = &mut self;
            intake.publish(shared, *thread, |sender| {
                if phase == RUN {
                    speech.heard(sender, conns);
                }
            });
            if phase == RUN {
                speech.go_on(conns);
            }
        }
        self.vanish()?;
        Ok(self.report())
    }

    /// Has all connections end without a trace. Closed as usual, each would occupy its port for a minute,
    /// and the next run looks for ports among those of the last ones.
    fn vanish(&self) -> io::Result<()> {
        for conn in self.conns.iter().filter(|conn| conn.state != State::Closed) {
            SockRef::from(&conn.stream).set_linger(Some(Duration::ZERO))?;
        }
        Ok(())
    }

    fn poll_events(&mut self, events: &mut Events, timeout: Duration) -> Result<(), Fault> {
        match self.poll.poll(events, Some(timeout)) {
            Err(e) if e.kind() != io::ErrorKind::Interrupted => Err(e.into()),
            _ => Ok(()),
        }
    }

    /// Brings all connections into their rooms.
    fn come_in(&mut self, own: Vec<(u32, Ticket)>, events: &mut Events) -> Result<(), Fault> {
        let mut waiting = own.into_iter();
        let (mut opened, mut inside) = (0, 0);
        let mut again = Vec::new();
        loop {
            while opened - inside < SHAKING_MAX
                && let Some((member, ticket)) = waiting.next()
            {
                self.open(member, ticket)?;
                opened += 1;
            }
            if inside == opened || self.shared.phase() == EXIT {
                return Ok(());
            }
            // Never asleep here either: a server pays for waking its clients.
            self.poll_events(events, Duration::ZERO)?;
            for event in events.iter() {
                let number = event.token().0;
                if event.is_writable() {
                    let conn = &mut self.conns[number];
                    conn.greet_if_open(self.dialect)?;
                    conn.flush()?;
                }
                let was_in = self.is_in(number);
                if event.is_readable() || event.is_read_closed() {
                    self.read(number, &mut again)?;
                }
                if !was_in && self.is_in(number) {
                    inside += 1;
                    self.shared.connected.fetch_add(1, Ordering::Release);
                }
            }
            for number in std::mem::take(&mut again) {
                self.read(number, &mut again)?;
            }
        }
    }

    fn is_in(&self, number: usize) -> bool {
        self.conns[number].state == State::In
    }

    fn open(&mut self, member: u32, ticket: Ticket) -> Result<(), Fault> {
        let number = self.conns.len();
        let plan = self.plan;
        let is_deaf = plan.is_deaf(ticket.room, member);
        // Threads do not share addresses, as long as none has very many connections.
        let place = 10 * 2000 * self.thread as usize + number;
        let addr = self.dialect.addr_of(member).unwrap_or(self.addr);
        let mut stream = connect(addr, place, is_deaf)?;
        let interest = Interest::READABLE | Interest::WRITABLE;
        self.poll.registry().register(&mut stream, Token(number), interest)?;
        let sender = (member < plan.senders && !is_deaf).then(|| {
            let index = plan.sender(ticket.room, member);
            self.speech.add(index, number);
            Sender {
                index,
                sent: 0,
                done: 0,
                template: self.dialect.template(&ticket, self.intake.filling()),
                receivers: plan.receivers(ticket.room, self.dialect.echoes()),
            }
        });
        self.conns.push(Conn::new(stream, ticket, member, is_deaf, plan.senders, sender));
        Ok(())
    }

    /// Reads what a connection has, but not for ever: it comes to `again` if there may be more.
    fn read(&mut self, number: usize, again: &mut Vec<usize>) -> Result<(), Fault> {
        let conn = &mut self.conns[number];
        if conn.state == State::Closed {
            return Ok(());
        }
        if conn.is_deaf && conn.state == State::In {
            if self.shared.phase() == DRAIN {
                self.see_whether_ended(number);
            }
            return Ok(());
        }
        let (len, is_more) = match conn.read(&mut self.scratch) {
            Ok(Some(got)) => got,
            Ok(None) => return Ok(()),
            Err(_) => {
                self.over(number, 0);
                return Ok(());
            }
        };
        match self.intake.take(conn, &self.scratch[..len])? {
            Taken::Closed(code) => self.over(number, code),
            Taken::All if is_more => again.push(number),
            Taken::All => {}
        }
        Ok(())
    }

    /// The server ended a connection.
    fn over(&mut self, number: usize, code: u16) {
        let conn = &mut self.conns[number];
        if conn.state != State::In {
            self.shared.fail(format!("a connection was ended while it came in (code {code})"));
        }
        conn.state = State::Closed;
        if conn.is_deaf {
            *self.deaf_closed.entry(code).or_default() += 1;
            self.shared.deaf_over.fetch_add(1, Ordering::Relaxed);
        } else {
            self.closed += 1;
        }
    }

    fn flush(&mut self, number: usize) {
        let conn = &mut self.conns[number];
        if conn.state == State::In && conn.flush().is_err() {
            self.over(number, 0);
        }
    }

    fn fall_silent(&mut self) {
        for sender in self.conns.iter().filter_map(|conn| conn.sender.as_ref()) {
            self.shared.sent[sender.index].store(sender.sent, Ordering::Relaxed);
        }
        for number in 0..self.conns.len() {
            if self.conns[number].is_deaf {
                self.conns[number].hear();
                self.see_whether_ended(number);
            }
        }
        self.shared.silent.fetch_add(1, Ordering::Release);
    }

    /// Empties the socket of somebody who did not read, to see whether its end is behind that.
    fn see_whether_ended(&mut self, number: usize) {
        loop {
            match self.conns[number].read(&mut self.scratch) {
                Ok(Some(_)) => {}
                Ok(None) => return,
                Err(_) => return self.over(number, 0),
            }
        }
    }

    fn report(self) -> Report {
        let mut faults = Faults { closed: self.closed, ..Faults::default() };
        for mut conn in self.conns {
            if conn.is_deaf {
                continue;
            }
            for other in 0..self.plan.senders {
                let hears = other != conn.member || self.dialect.echoes();
                let index = self.plan.sender(conn.ticket.room, other);
                if hears && !self.plan.is_deaf(conn.ticket.room, other) {
                    conn.ledger.settle(other, self.shared.sent[index].load(Ordering::Relaxed));
                }
            }
            faults.add(&conn.ledger.close());
        }
        let latency = Some(self.intake.into_latency());
        Report { latency, faults, deaf_closed: self.deaf_closed }
    }
}
