//! One thread of the load generator.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::time::Duration;

use hdrhistogram::Histogram;
use mio::{Events, Interest, Poll, Token};

use super::conn::{Conn, Partial, Sender, State, connect};
use super::message::{self, HEAD, Head};
use super::{DRAIN, EXIT, Faults, Outcome, Plan, RUN, Shared, histogram};
use crate::Fault;
use crate::dialect::{Dialect, Frame, Shake, Ticket};

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
    /// Per sender: the connection of this thread that is it.
    conn_of: Vec<Option<usize>>,
    scratch: Vec<u8>,
    filling: Vec<u8>,
    tally: Tally,
    /// The connections that speak, and whose turn it is.
    speakers: Vec<usize>,
    turn: usize,
    free_turns: u32,
    closed: u64,
    deaf_closed: BTreeMap<u16, u64>,
}

/// What was received since the shared counters were last told.
struct Tally {
    received: Vec<u32>,
    touched: Vec<usize>,
    deliveries: u64,
    latency: Histogram<u64>,
    now: u64,
    from: u64,
    to: u64,
}

impl<'a, D: Dialect> Worker<'a, D> {
    fn new(
        dialect: &'a D,
        addr: SocketAddr,
        plan: &'a Plan,
        shared: &'a Shared,
        thread: u32,
    ) -> Result<Self, Fault> {
        let senders = shared.sent.len();
        Ok(Self {
            dialect,
            addr,
            plan,
            shared,
            thread,
            poll: Poll::new()?,
            conns: Vec::new(),
            conn_of: vec![None; senders],
            scratch: vec![0; SCRATCH_BYTES],
            filling: message::filling(plan.payload),
            tally: Tally {
                received: vec![0; senders],
                touched: Vec::new(),
                deliveries: 0,
                latency: histogram()?,
                now: 0,
                from: u64::MAX,
                to: u64::MAX,
            },
            speakers: Vec::new(),
            turn: 0,
            free_turns: 0,
            closed: 0,
            deaf_closed: BTreeMap::new(),
        })
    }

    fn run(mut self, own: Vec<(u32, Ticket)>) -> Result<Report, Fault> {
        let mut events = Events::with_capacity(1024);
        self.come_in(own, &mut events)?;
        let mut pace = Pace::new(self.plan, &self.speakers, self.conn_of.len());
        let (mut is_running, mut is_silent) = (false, false);
        let mut again: Vec<usize> = Vec::new();
        loop {
            let phase = self.shared.phase();
            if phase == EXIT {
                break;
            }
            if phase == RUN && !is_running {
                is_running = true;
                pace.start(self.shared.now());
                if self.plan.rate <= 0.0 {
                    self.pump_all();
                }
            }
            if phase == DRAIN && !is_silent {
                is_silent = true;
                self.fall_silent();
            }
            // Never asleep while it runs: a server that has to wake its clients pays for that.
            let is_busy = !again.is_empty() || phase == RUN;
            self.poll_events(&mut events, if is_busy { Duration::ZERO } else { NAP })?;
            self.tally.now = self.shared.now();
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
            self.publish(phase);
            if phase == RUN {
                while let Some((conn, due)) = pace.next(self.shared.now()) {
                    self.send(conn, 1, due);
                    self.flush(conn);
                }
            }
        }
        Ok(self.report())
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
            self.poll_events(events, NAP)?;
            for event in events.iter() {
                let number = event.token().0;
                self.greet_if_open(number, event.is_writable())?;
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
        // Threads do not share addresses, as long as none has very many connections.
        let mut stream = connect(self.addr, 10 * 2000 * self.thread as usize + number)?;
        let interest = Interest::READABLE | Interest::WRITABLE;
        self.poll.registry().register(&mut stream, Token(number), interest)?;
        let plan = self.plan;
        let is_deaf = plan.is_deaf(ticket.room, member);
        let sender = (member < plan.senders && !is_deaf).then(|| {
            let index = plan.sender(ticket.room, member);
            self.conn_of[index] = Some(number);
            self.speakers.push(number);
            Sender {
                index,
                sent: 0,
                done: 0,
                template: self.dialect.template(&ticket, &self.filling),
                receivers: plan.receivers(ticket.room, self.dialect.echoes()),
            }
        });
        self.conns.push(Conn::new(stream, ticket, member, is_deaf, plan.senders, sender));
        Ok(())
    }

    fn greet_if_open(&mut self, number: usize, is_writable: bool) -> Result<(), Fault> {
        let conn = &mut self.conns[number];
        if !is_writable {
            return Ok(());
        }
        if conn.state == State::Opening {
            if let Some(e) = conn.stream.take_error()? {
                return Err(e.into());
            }
            conn.stream.set_nodelay(true)?;
            conn.state = State::Shaking(0);
            let ticket = conn.ticket.clone();
            self.dialect.greet(&ticket, conn.out());
        }
        conn.flush()?;
        Ok(())
    }

    /// Reads what a connection has, but not for ever: it comes to `again` if there may be more.
    fn read(&mut self, number: usize, again: &mut Vec<usize>) -> Result<(), Fault> {
        let conn = &mut self.conns[number];
        let stays_deaf = conn.is_deaf && conn.state == State::In;
        if conn.state == State::Closed || stays_deaf {
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
        if self.take(number, len)? && is_more {
            again.push(number);
        }
        Ok(())
    }

    /// Takes in the scratch's first `len` bytes; false if the connection is over.
    fn take(&mut self, number: usize, len: usize) -> Result<bool, Fault> {
        let conn = &mut self.conns[number];
        let mut rest = &self.scratch[..len];
        while !rest.is_empty() {
            if let State::Shaking(mut step) = conn.state {
                let mut out = Vec::new();
                let shake = self.dialect.shake(&conn.ticket, &mut step, rest, &mut out)?;
                conn.out().extend(out);
                conn.flush()?;
                let (took, state) = match shake {
                    Shake::More => break,
                    Shake::Took(len) => (len, State::Shaking(step)),
                    Shake::Ready(len) => (len, State::In),
                };
                conn.state = state;
                rest = &rest[took..];
                continue;
            }
            if let Some(partial) = conn.partial.take() {
                rest = self.tally.take_body(conn, self.plan, &self.filling, partial, rest);
                continue;
            }
            match self.dialect.frame(rest)? {
                None => break,
                Some(Frame::Data { head, payload, tail }) => {
                    let front = payload.min(HEAD);
                    let Some(begin) = rest.get(head..head + front) else { break };
                    if !self.dialect.head_is_fine(&rest[..head], &mut conn.memory) {
                        conn.ledger.faults.corrupted += 1;
                    }
                    let head_found = head_of(conn, self.plan, begin, payload);
                    rest = &rest[head + front..];
                    let partial = Partial { head: head_found, done: front, payload, tail };
                    rest = self.tally.take_body(conn, self.plan, &self.filling, partial, rest);
                }
                Some(Frame::Skip(len)) => rest = &rest[len..],
                Some(Frame::Ping(len)) => {
                    self.dialect.pong(&rest[..len], conn.out());
                    conn.flush()?;
                    rest = &rest[len..];
                }
                Some(Frame::Close(code)) => {
                    self.over(number, code);
                    return Ok(false);
                }
            }
        }
        conn.kept.extend_from_slice(rest);
        Ok(true)
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

    /// Tells the shared counters what was received, and sends what the windows then allow.
    fn publish(&mut self, phase: u8) {
        let shared = self.shared;
        self.tally.from = shared.measured_from.load(Ordering::Relaxed);
        self.tally.to = shared.measured_to.load(Ordering::Relaxed);
        shared.deliveries[self.thread as usize].store(self.tally.deliveries, Ordering::Relaxed);
        let mut touched = std::mem::take(&mut self.tally.touched);
        let is_pumping = phase == RUN && self.plan.rate <= 0.0;
        for index in touched.drain(..) {
            let count = std::mem::take(&mut self.tally.received[index]);
            shared.received[index].fetch_add(u64::from(count), Ordering::Relaxed);
            if is_pumping
                && !self.plan.is_split()
                && let Some(number) = self.conn_of[index]
            {
                if self.plan.in_flight > 0 {
                    self.free_turns += self.newly_done(number);
                } else {
                    self.pump(number);
                }
            }
        }
        self.tally.touched = touched;
        if is_pumping && self.plan.is_split() {
            self.pump_all();
        }
        if is_pumping {
            self.take_turns();
        }
    }

    fn pump_all(&mut self) {
        if self.plan.in_flight > 0 {
            self.free_turns = self.plan.in_flight / self.plan.threads;
            return self.take_turns();
        }
        for index in 0..self.conn_of.len() {
            if let Some(number) = self.conn_of[index] {
                self.pump(number);
            }
        }
    }

    /// Lets as many senders speak, one after the other, as messages have arrived everywhere.
    fn take_turns(&mut self) {
        while self.free_turns > 0 && !self.speakers.is_empty() {
            self.free_turns -= 1;
            let number = self.speakers[self.turn % self.speakers.len()];
            self.turn += 1;
            self.send(number, 1, self.shared.now());
            self.flush(number);
        }
    }

    /// How many messages of this sender have reached everybody since this was last asked.
    fn newly_done(&mut self, number: usize) -> u32 {
        let Some(sender) = &mut self.conns[number].sender else { return 0 };
        let received = self.shared.received[sender.index].load(Ordering::Relaxed);
        let done = u32::try_from(received / u64::from(sender.receivers.max(1))).unwrap_or(0);
        done - std::mem::replace(&mut sender.done, done)
    }

    /// Sends what the window allows.
    fn pump(&mut self, number: usize) {
        let Some(sender) = &self.conns[number].sender else { return };
        let received = self.shared.received[sender.index].load(Ordering::Relaxed);
        let done = u32::try_from(received / u64::from(sender.receivers.max(1))).unwrap_or(0);
        let under_way = sender.sent.saturating_sub(done);
        let free = self.plan.window.saturating_sub(under_way);
        if free > 0 {
            self.send(number, free, self.shared.now());
            self.flush(number);
        }
    }

    fn send(&mut self, number: usize, count: u32, time: u64) {
        let conn = &mut self.conns[number];
        let (room, member) = (conn.ticket.room, conn.member);
        let Some(mut sender) = conn.sender.take() else { return };
        if conn.state == State::In {
            for _ in 0..count {
                let head = Head { room, sender: member, number: sender.sent, time };
                message::put(conn.out(), &sender.template, self.plan.payload, &head);
                sender.sent += 1;
            }
        }
        conn.sender = Some(sender);
    }

    fn fall_silent(&mut self) {
        for sender in self.conns.iter().filter_map(|conn| conn.sender.as_ref()) {
            self.shared.sent[sender.index].store(sender.sent, Ordering::Relaxed);
        }
        for number in 0..self.conns.len() {
            if self.conns[number].is_deaf {
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
        let latency = Some(self.tally.latency);
        Report { latency, faults, deaf_closed: self.deaf_closed }
    }
}

/// Whose message it is. One that does not say so is entered where it will not fit.
#[inline]
fn head_of(conn: &mut Conn, plan: &Plan, begin: &[u8], payload: usize) -> Head {
    let room = conn.ticket.room;
    let nobody = Head { room, sender: u32::MAX, number: 0, time: u64::MAX };
    if payload != plan.payload {
        return nobody;
    }
    if payload >= HEAD {
        return Head::parse(begin).filter(|head| head.room == room).unwrap_or(nobody);
    }
    // Short messages come from a room's first member only.
    let due = conn.ledger.due(0).unwrap_or(0);
    let is_due = message::short(due, payload) == message::parse_short(begin);
    if is_due { Head { room, sender: 0, number: due, time: u64::MAX } } else { nobody }
}

impl Tally {
    /// Takes as much of a message's body as there is; returns what is behind it.
    #[inline]
    fn take_body<'r>(
        &mut self,
        conn: &mut Conn,
        plan: &Plan,
        filling: &[u8],
        mut partial: Partial,
        rest: &'r [u8],
    ) -> &'r [u8] {
        let left = partial.payload + partial.tail - partial.done;
        let (body, rest) = rest.split_at(left.min(rest.len()));
        let in_payload = body.len().min(partial.payload.saturating_sub(partial.done));
        let expected = filling.get(partial.done..partial.done + in_payload);
        if expected != body.get(..in_payload) {
            conn.ledger.faults.corrupted += 1;
        }
        partial.done += body.len();
        if body.len() == left {
            self.deliver(conn, plan, &partial.head);
        } else {
            conn.partial = Some(partial);
        }
        rest
    }

    #[inline]
    fn deliver(&mut self, conn: &mut Conn, plan: &Plan, head: &Head) {
        conn.ledger.enter(head.sender, head.number);
        self.deliveries += 1;
        if head.sender >= plan.senders {
            return;
        }
        let index = plan.sender(head.room, head.sender);
        if let Some(count) = self.received.get_mut(index) {
            if *count == 0 {
                self.touched.push(index);
            }
            *count += 1;
        }
        if self.from <= head.time && head.time < self.to {
            self.latency.saturating_record(self.now.saturating_sub(head.time));
        }
    }
}

/// Who sends when, at a fixed rate.
struct Pace {
    conns: Vec<usize>,
    turn: usize,
    interval: f64,
    due: f64,
}

impl Pace {
    fn new(plan: &Plan, speakers: &[usize], all: usize) -> Self {
        let conns = speakers.to_vec();
        let share = conns.len() as f64 / all.max(1) as f64;
        let rate = plan.rate * share;
        let interval = if rate > 0.0 { 1e9 / rate } else { 0.0 };
        Self { conns, turn: 0, interval, due: 0.0 }
    }

    fn start(&mut self, now: u64) {
        self.due = now as f64 + self.interval;
    }

    /// Whose turn it is, and since when.
    fn next(&mut self, now: u64) -> Option<(usize, u64)> {
        if self.interval <= 0.0 || self.due > now as f64 {
            return None;
        }
        let due = self.due as u64;
        self.due += self.interval;
        self.turn = (self.turn + 1) % self.conns.len().max(1);
        self.conns.get(self.turn).map(|conn| (*conn, due))
    }
}
