//! Churn: connections that join, say one thing and leave, again and again, while somebody in each
//! room listens. Every message must reach the listener once and in order.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use mio::{Events, Interest, Poll, Token};

use super::conn::{Conn, State, connect};
use super::message::{self, Head, head_len};
use super::{Faults, Moment};
use crate::Fault;
use crate::dialect::{Dialect, Frame, Ticket};

/// What churn to make.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Rooms, each with one listener.
    pub rooms: u32,
    /// How often somebody comes into each room, one after the other.
    pub visits: u32,
    /// Bytes of what a visitor says.
    pub payload: usize,
    /// Threads that make the load.
    pub threads: u32,
}

/// What came of it.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Seconds that all visits took.
    pub seconds: f64,
    /// How many visits there were.
    pub visits: u64,
    /// What was wrong.
    pub faults: Faults,
}

/// Longest silence before what has not come is lost.
const PATIENCE: Duration = Duration::from_secs(5);
const SCRATCH_BYTES: usize = 64 * 1024;

struct Shared {
    ready: AtomicUsize,
    go: AtomicU32,
    done: AtomicUsize,
    quit: AtomicU32,
}

/// Runs the churn, and lets `watch` look at the server at each moment.
///
/// # Errors
///
/// The server did not let somebody in, or broke the protocol.
pub fn run(
    dialect: &impl Dialect,
    addr: SocketAddr,
    plan: &Plan,
    watch: &mut dyn FnMut(Moment) -> Result<(), Fault>,
) -> Result<Outcome, Fault> {
    let mut tickets = dialect.tickets(plan.rooms, plan.visits + 1)?;
    let shared = Shared {
        ready: AtomicUsize::new(0),
        go: AtomicU32::new(0),
        done: AtomicUsize::new(0),
        quit: AtomicU32::new(0),
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..plan.threads)
            .map(|thread| {
                let own: Vec<Vec<Ticket>> = (0..)
                    .zip(&mut tickets)
                    .filter(|(room, _)| room % plan.threads == thread)
                    .map(|(_, tickets)| std::mem::take(tickets))
                    .collect();
                let shared = &shared;
                scope.spawn(move || {
                    let worker = Worker::new(dialect, addr, plan, own);
                    let faults = worker.and_then(|worker| worker.run(shared));
                    if faults.is_err() {
                        shared.quit.store(1, Ordering::Release);
                    }
                    faults
                })
            })
            .collect();
        let threads = plan.threads as usize;
        wait(&shared, &shared.ready, threads);
        watch(Moment::Connected)?;
        watch(Moment::Begin)?;
        let begun = Instant::now();
        shared.go.store(1, Ordering::Release);
        wait(&shared, &shared.done, threads);
        let seconds = begun.elapsed().as_secs_f64();
        watch(Moment::End)?;
        let mut faults = Faults::default();
        for worker in workers {
            faults.add(&worker.join().map_err(|_| "a thread of the generator panicked")??);
        }
        let visits = u64::from(plan.rooms) * u64::from(plan.visits);
        Ok(Outcome { seconds, visits, faults })
    })
}

fn wait(shared: &Shared, count: &AtomicUsize, all: usize) {
    while count.load(Ordering::Acquire) < all && shared.quit.load(Ordering::Acquire) == 0 {
        std::thread::sleep(Duration::from_micros(200));
    }
}

/// A room of this thread: its listener, its visitor and the tickets of those to come.
struct Lobby {
    listener: Option<Conn>,
    visitor: Option<Conn>,
    tickets: VecDeque<Ticket>,
    visits: u32,
}

impl Lobby {
    fn is_attended(&self) -> bool {
        self.listener.as_ref().is_some_and(|listener| listener.state == State::In)
    }
}

struct Worker<'a, D> {
    dialect: &'a D,
    addr: SocketAddr,
    plan: &'a Plan,
    poll: Poll,
    lobbies: Vec<Lobby>,
    filling: Vec<u8>,
    scratch: Vec<u8>,
    heard: u64,
}

impl<'a, D: Dialect> Worker<'a, D> {
    fn new(
        dialect: &'a D,
        addr: SocketAddr,
        plan: &'a Plan,
        own: Vec<Vec<Ticket>>,
    ) -> Result<Self, Fault> {
        let mut worker = Self {
            dialect,
            addr,
            plan,
            poll: Poll::new()?,
            lobbies: Vec::new(),
            filling: message::filling(plan.payload, D::TEXT),
            scratch: vec![0; SCRATCH_BYTES],
            heard: 0,
        };
        for (lobby, tickets) in own.into_iter().enumerate() {
            let mut tickets = VecDeque::from(tickets);
            let first = tickets.pop_front().ok_or("no tickets")?;
            let listener = worker.open(2 * lobby, first)?;
            worker.lobbies.push(Lobby {
                listener: Some(listener),
                visitor: None,
                tickets,
                visits: 0,
            });
        }
        Ok(worker)
    }

    /// Listeners have even tokens, visitors odd ones.
    fn open(&self, token: usize, ticket: Ticket) -> Result<Conn, Fault> {
        let mut stream = connect(self.addr, token, false)?;
        let interest = Interest::READABLE | Interest::WRITABLE;
        self.poll.registry().register(&mut stream, Token(token), interest)?;
        Ok(Conn::new(stream, ticket, 0, false, 1, None))
    }

    fn run(mut self, shared: &Shared) -> Result<Faults, Fault> {
        let mut events = Events::with_capacity(256);
        while !self.lobbies.iter().all(Lobby::is_attended) {
            self.turn(&mut events, shared)?;
        }
        std::thread::sleep(self.dialect.settle());
        shared.ready.fetch_add(1, Ordering::Release);
        wait_for_go(shared);
        for lobby in 0..self.lobbies.len() {
            self.next_visit(lobby)?;
        }
        let expected = self.lobbies.len() as u64 * u64::from(self.plan.visits);
        let (mut last, mut moved) = (0, Instant::now());
        while self.heard < expected || self.lobbies.iter().any(|lobby| lobby.visitor.is_some()) {
            self.turn(&mut events, shared)?;
            if self.heard != last {
                (last, moved) = (self.heard, Instant::now());
            }
            if moved.elapsed() > PATIENCE {
                break;
            }
        }
        shared.done.fetch_add(1, Ordering::Release);
        let mut faults = Faults::default();
        for Lobby { listener, visits, .. } in self.lobbies {
            let Some(mut listener) = listener else { continue };
            listener.ledger.settle(0, visits);
            faults.add(&listener.ledger.close());
        }
        Ok(faults)
    }

    fn turn(&mut self, events: &mut Events, shared: &Shared) -> Result<(), Fault> {
        if shared.quit.load(Ordering::Acquire) == 1 {
            return Err("gave up".into());
        }
        match self.poll.poll(events, Some(Duration::from_millis(5))) {
            Err(e) if e.kind() != io::ErrorKind::Interrupted => return Err(e.into()),
            _ => {}
        }
        for event in events.iter() {
            let (lobby, is_visitor) = (event.token().0 / 2, event.token().0 % 2 == 1);
            let place = &mut self.lobbies[lobby];
            // Taken out, so that the worker is free to act on it.
            let conn = if is_visitor { place.visitor.take() } else { place.listener.take() };
            let Some(mut conn) = conn else { continue };
            if event.is_writable() {
                conn.greet_if_open(self.dialect)?;
                // A peer that has gone is seen when it is read.
                let _ = conn.flush();
            }
            if !is_visitor {
                self.tend_listener(&mut conn)?;
                self.lobbies[lobby].listener = Some(conn);
            } else if self.tend_visitor(&mut conn, lobby)? {
                self.lobbies[lobby].visitor = Some(conn);
            } else {
                drop(conn);
                self.next_visit(lobby)?;
            }
        }
        Ok(())
    }

    fn next_visit(&mut self, lobby: usize) -> Result<(), Fault> {
        let Some(ticket) = self.lobbies[lobby].tickets.pop_front() else { return Ok(()) };
        let visitor = self.open(2 * lobby + 1, ticket)?;
        self.lobbies[lobby].visitor = Some(visitor);
        Ok(())
    }

    /// Comes in, speaks and leaves; false once the server has closed the connection.
    fn tend_visitor(&mut self, conn: &mut Conn, lobby: usize) -> Result<bool, Fault> {
        loop {
            let len = match conn.read(&mut self.scratch) {
                Ok(Some((len, _))) => len,
                Ok(None) => return Ok(true),
                Err(_) if conn.state == State::Closed => return Ok(false),
                Err(e) => return Err(format!("a visitor was thrown out: {e}").into()),
            };
            if conn.state == State::Closed {
                continue;
            }
            let took = conn.come_in(self.dialect, &self.scratch[..len])?;
            if conn.state != State::In {
                conn.kept.extend_from_slice(&self.scratch[took..len]);
                continue;
            }
            // What others say is not for the visitor, who leaves at once.
            let number = self.lobbies[lobby].visits;
            self.lobbies[lobby].visits += 1;
            let head = Head { room: conn.ticket.room, sender: 0, number, time: 0 };
            let template = self.dialect.template(&conn.ticket, &self.filling);
            message::put(conn.out(), &template, self.plan.payload, D::TEXT, &head);
            self.dialect.farewell(conn.out());
            conn.flush()?;
            conn.state = State::Closed;
        }
    }

    /// Reads what a listener hears, and enters it.
    fn tend_listener(&mut self, conn: &mut Conn) -> Result<(), Fault> {
        loop {
            let len = match conn.read(&mut self.scratch) {
                Ok(Some((len, _))) => len,
                Ok(None) => return Ok(()),
                Err(e) => return Err(format!("a listener was thrown out: {e}").into()),
            };
            let mut left = len - conn.come_in(self.dialect, &self.scratch[..len])?;
            while conn.state == State::In && left > 0 {
                let rest = &self.scratch[len - left..len];
                let took = match self.dialect.frame(rest)? {
                    None => break,
                    Some(Frame::Close(code)) => {
                        return Err(format!("a listener was closed: {code}").into());
                    }
                    Some(Frame::Skip(len)) => len,
                    Some(Frame::Ping(len)) => {
                        self.dialect.pong(&rest[..len], conn.out());
                        conn.flush()?;
                        len
                    }
                    Some(Frame::Data { head, payload, tail }) => {
                        let Some(body) = rest.get(head..head + payload + tail) else { break };
                        self.heard += 1;
                        let begin = head_len(D::TEXT);
                        let is_same = body.get(begin..payload) == self.filling.get(begin..);
                        match Head::parse(body, D::TEXT) {
                            Some(head) if is_same && head.room == conn.ticket.room => {
                                conn.ledger.enter(head.sender, head.number);
                            }
                            _ => conn.ledger.faults.corrupted += 1,
                        }
                        head + payload + tail
                    }
                };
                left -= took;
            }
            conn.kept.extend_from_slice(&self.scratch[len - left..len]);
        }
    }
}

fn wait_for_go(shared: &Shared) {
    while shared.go.load(Ordering::Acquire) == 0 && shared.quit.load(Ordering::Acquire) == 0 {
        std::thread::sleep(Duration::from_micros(100));
    }
}
