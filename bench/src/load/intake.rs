//! What a thread of the generator does with bytes: it takes messages off them, checks each against
//! the receiver's ledger, and counts.

use std::sync::atomic::Ordering;

use hdrhistogram::Histogram;

use super::conn::{Conn, Partial, State};
use super::message::{self, Head, head_len};
use super::{Plan, Shared, histogram};
use crate::Fault;
use crate::dialect::{Dialect, Frame};

/// See the module's text.
pub(super) struct Intake<'a, D> {
    dialect: &'a D,
    plan: &'a Plan,
    filling: Vec<u8>,
    tally: Tally,
}

/// What became of some bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// They are taken in, or kept for when there are more.
    All,
    /// The server ended the connection, for this reason.
    Closed(u16),
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

impl<'a, D: Dialect> Intake<'a, D> {
    pub(super) fn new(dialect: &'a D, plan: &'a Plan, senders: usize) -> Result<Self, Fault> {
        let tally = Tally {
            received: vec![0; senders],
            touched: Vec::new(),
            deliveries: 0,
            latency: histogram()?,
            now: 0,
            from: u64::MAX,
            to: u64::MAX,
        };
        let filling = message::filling(plan.payload, D::TEXT);
        Ok(Self { dialect, plan, filling, tally })
    }

    /// What stands behind a message's head.
    pub(super) fn filling(&self) -> &[u8] {
        &self.filling
    }

    /// What comes from now on came at this time.
    pub(super) fn set_time(&mut self, shared: &Shared) {
        self.tally.now = shared.now();
    }

    /// Takes in what a connection has read.
    ///
    /// # Errors
    ///
    /// The server broke the protocol.
    pub(super) fn take(&mut self, conn: &mut Conn, input: &[u8]) -> Result<Taken, Fault> {
        let took = conn.come_in(self.dialect, input)?;
        let mut rest = &input[took..];
        while conn.state == State::In && !rest.is_empty() {
            if let Some(partial) = conn.partial.take() {
                rest = self.tally.take_body(conn, self.plan, &self.filling, partial, rest);
                continue;
            }
            match self.dialect.frame(rest)? {
                None => break,
                Some(Frame::Data { head, payload, tail }) => {
                    let front = payload.min(head_len(D::TEXT));
                    let Some(begin) = rest.get(head..head + front) else { break };
                    if !self.dialect.head_is_fine(&rest[..head], &mut conn.memory) {
                        conn.ledger.faults.corrupted += 1;
                    }
                    let found = head_of(conn, self.plan, begin, payload, D::TEXT);
                    rest = &rest[head + front..];
                    let partial = Partial { head: found, done: front, payload, tail };
                    rest = self.tally.take_body(conn, self.plan, &self.filling, partial, rest);
                }
                Some(Frame::Skip(len)) => rest = &rest[len..],
                Some(Frame::Ping(len)) => {
                    self.dialect.pong(&rest[..len], conn.out());
                    conn.flush()?;
                    rest = &rest[len..];
                }
                Some(Frame::Close(code)) => return Ok(Taken::Closed(code)),
            }
        }
        conn.kept.extend_from_slice(rest);
        Ok(Taken::All)
    }

    /// Adds what was received to the shared counters, calls `touched` with each sender that it was
    /// from, and looks up what is measured.
    pub(super) fn publish(&mut self, shared: &Shared, thread: u32, mut touched: impl FnMut(usize)) {
        let tally = &mut self.tally;
        tally.from = shared.measured_from.load(Ordering::Relaxed);
        tally.to = shared.measured_to.load(Ordering::Relaxed);
        shared.deliveries[thread as usize].store(tally.deliveries, Ordering::Relaxed);
        for index in tally.touched.drain(..) {
            let count = std::mem::take(&mut tally.received[index]);
            shared.received[index].fetch_add(u64::from(count), Ordering::Relaxed);
            touched(index);
        }
    }

    /// The latencies of what was measured.
    pub(super) fn into_latency(self) -> Histogram<u64> {
        self.tally.latency
    }
}

/// Whose message it is. One that does not say so is entered where it will not fit.
#[inline]
fn head_of(conn: &mut Conn, plan: &Plan, begin: &[u8], payload: usize, is_text: bool) -> Head {
    let room = conn.ticket.room;
    let nobody = Head { room, sender: u32::MAX, number: 0, time: u64::MAX };
    if payload != plan.payload {
        return nobody;
    }
    if payload >= head_len(is_text) {
        return Head::parse(begin, is_text).filter(|head| head.room == room).unwrap_or(nobody);
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
