//! Who of a thread's connections speaks when: at a fixed rate, as far as each window allows, or in
//! turns. A connection that cannot be written to is left to whoever reads it.

use std::sync::atomic::Ordering;

use super::conn::{Conn, Sender, State};
use super::message::{self, Head};
use super::{Plan, Shared};

/// See the module's text.
pub(super) struct Speech<'a> {
    plan: &'a Plan,
    shared: &'a Shared,
    is_text: bool,
    /// Per sender: the connection of this thread that is it.
    conn_of: Vec<Option<usize>>,
    /// The connections that speak, and whose turn it is.
    speakers: Vec<usize>,
    turn: usize,
    free_turns: u32,
    pace: Option<Pace>,
}

impl<'a> Speech<'a> {
    pub(super) fn new(plan: &'a Plan, shared: &'a Shared, is_text: bool) -> Self {
        Self {
            plan,
            shared,
            is_text,
            conn_of: vec![None; shared.sent.len()],
            speakers: Vec::new(),
            turn: 0,
            free_turns: 0,
            pace: None,
        }
    }

    /// This connection is this sender.
    pub(super) fn add(&mut self, sender: usize, number: usize) {
        self.conn_of[sender] = Some(number);
        self.speakers.push(number);
    }

    /// Begins.
    pub(super) fn start(&mut self, conns: &mut [Conn]) {
        if self.has_rate() {
            self.pace = Pace::new(self.plan, &self.speakers, self.conn_of.len(), self.shared.now());
        } else {
            self.pump_all(conns);
        }
    }

    /// This sender's messages were received.
    pub(super) fn heard(&mut self, sender: usize, conns: &mut [Conn]) {
        if self.has_rate() || self.plan.is_split() {
            return;
        }
        let Some(conn) = self.conn_of[sender].and_then(|number| conns.get_mut(number)) else {
            return;
        };
        if self.plan.in_flight > 0 {
            self.free_turns += self.newly_done(conn);
        } else {
            self.pump(conn);
        }
    }

    /// Sends what is due, once all that was received is known.
    pub(super) fn go_on(&mut self, conns: &mut [Conn]) {
        if !self.has_rate() {
            if self.plan.is_split() {
                self.pump_all(conns);
            }
            return self.take_turns(conns);
        }
        while let Some((number, due)) =
            self.pace.as_mut().and_then(|pace| pace.next(self.shared.now()))
        {
            self.send(&mut conns[number], 1, due);
        }
    }

    fn has_rate(&self) -> bool {
        self.plan.rate > 0.0
    }

    fn pump_all(&mut self, conns: &mut [Conn]) {
        if self.plan.in_flight > 0 {
            self.free_turns = self.plan.in_flight / self.plan.threads;
            return self.take_turns(conns);
        }
        for number in self.conn_of.iter().flatten() {
            self.pump(&mut conns[*number]);
        }
    }

    /// Lets as many senders speak, one after the other, as messages have arrived everywhere.
    fn take_turns(&mut self, conns: &mut [Conn]) {
        while self.free_turns > 0 && !self.speakers.is_empty() {
            self.free_turns -= 1;
            let number = self.speakers[self.turn % self.speakers.len()];
            self.turn += 1;
            self.send(&mut conns[number], 1, self.shared.now());
        }
    }

    /// How many of a sender's messages have reached everybody.
    fn done(&self, sender: &Sender) -> u32 {
        let received = self.shared.received[sender.index].load(Ordering::Relaxed);
        u32::try_from(received / u64::from(sender.receivers.max(1))).unwrap_or(0)
    }

    /// The same, since this was last asked.
    fn newly_done(&self, conn: &mut Conn) -> u32 {
        let Some(sender) = &mut conn.sender else { return 0 };
        let done = self.done(sender);
        done - std::mem::replace(&mut sender.done, done)
    }

    /// Sends what the window allows.
    fn pump(&self, conn: &mut Conn) {
        let Some(sender) = &conn.sender else { return };
        let under_way = sender.sent.saturating_sub(self.done(sender));
        let free = self.plan.window.saturating_sub(under_way);
        if free > 0 {
            self.send(conn, free, self.shared.now());
        }
    }

    fn send(&self, conn: &mut Conn, count: u32, time: u64) {
        let (room, member) = (conn.ticket.room, conn.member);
        let Some(mut sender) = conn.sender.take() else { return };
        if conn.state == State::In {
            for _ in 0..count {
                let head = Head { room, sender: member, number: sender.sent, time };
                let payload = self.plan.payload;
                message::put(conn.out(), &sender.template, payload, self.is_text, &head);
                sender.sent += 1;
            }
            // Whoever reads the connection sees that it is over.
            let _ = conn.flush();
        }
        conn.sender = Some(sender);
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
    /// None if nobody speaks. `speakers` are this thread's of all.
    fn new(plan: &Plan, speakers: &[usize], all: usize, now: u64) -> Option<Self> {
        let share = speakers.len() as f64 / all.max(1) as f64;
        let interval = 1e9 / (plan.rate * share);
        let due = now as f64 + interval;
        (!speakers.is_empty()).then(|| Self { conns: speakers.to_vec(), turn: 0, interval, due })
    }

    /// Whose turn it is, and since when.
    fn next(&mut self, now: u64) -> Option<(usize, u64)> {
        if self.due > now as f64 {
            return None;
        }
        let due = self.due as u64;
        self.due += self.interval;
        self.turn = (self.turn + 1) % self.conns.len();
        self.conns.get(self.turn).map(|conn| (*conn, due))
    }
}
