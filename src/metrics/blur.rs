//! What is shown where single acts must not show: a snapshot a minute, in multiples of eight.
//!
//! Rounding alone does not hide one message: the one that crosses a multiple of eight shows, and
//! one of 64 KiB to a thousand members crosses many. So a figure that people's acts move also stays
//! as it was shown until at least eight more acts are behind it: a counter until it has grown by
//! eight, a gauge until it has moved by eight, and bytes, copies and distributions, of which one
//! message moves many, until eight more messages have passed. What is left to see is that there
//! were eight acts or more in at least a minute, by however many people.
//!
//! States, ceilings and what only the relay's own parts move (links, panics) are shown as they are.

use std::time::Duration;

use super::bus::BusRefusal;
use super::count::{Count, Level};
use super::histogram::{BUCKETS, CELLS_EACH, SUM};
use super::labels::{Dropped, MessageClass};
use super::source::{
    ACCEPTED, ACCEPTED_BYTES, BUS_REFUSED, CELLS, DROPPED, Reading, SPREAD, TIMED,
};
use crate::core::limit::Instant;

/// What all that is moved by people is a multiple of, and how many acts are behind each change.
pub(super) const STEP: u64 = 8;

/// How finely sums of times are shown, in nanoseconds: eight milliseconds.
const TIME_STEP_NS: u64 = STEP * 1_000_000;

/// How finely memory is shown, in bytes.
const MEMORY_STEP: u64 = 1 << 20;

/// The last snapshot: what was shown, and what it was made of.
pub(super) struct Blur {
    every: Duration,
    last: Option<Snapshot>,
}

struct Snapshot {
    taken_at: Instant,
    /// The true value of each figure when the shown one last changed.
    seen: Reading,
    shown: Reading,
    /// True sums of messages when the figures that depend on them last changed.
    seen_messages: Messages,
}

/// How many messages there were: taken in here, and sent out here.
#[derive(Clone, Copy, Default)]
struct Messages {
    accepted: u64,
    relayed: u64,
}

/// What is behind a counter.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Behind {
    /// No act of anybody.
    Nobody,
    /// One act for each.
    Acts,
    /// Messages that were taken in.
    Accepted,
    /// Messages that were sent out.
    Relayed,
}

impl Blur {
    /// Shows a new snapshot no more often than this.
    pub(super) const fn new(every: Duration) -> Self {
        Self { every, last: None }
    }

    /// What is shown of `real` at this moment.
    pub(super) fn show(&mut self, real: &Reading, now: Instant) -> Reading {
        let last = match self.last.take() {
            Some(last) if now.since(last.taken_at) < self.every => last,
            Some(last) => last.then(real, now),
            None => Snapshot::empty(real, now).then(real, now),
        };
        let mut shown = last.shown.clone();
        self.last = Some(last);
        shown.with_states_of(real);
        shown
    }
}

impl Snapshot {
    /// Before anything was shown.
    fn empty(like: &Reading, now: Instant) -> Self {
        let nothing = Reading {
            cells: [0; CELLS],
            connections: 0,
            members: 0,
            rooms: 0,
            queued_bytes: 0,
            copies_queued: 0,
            queue_oldest_ms: 0,
            levels: [0; Level::ALL.len()],
            ..like.clone()
        };
        Self {
            taken_at: now,
            seen: nothing.clone(),
            shown: nothing,
            seen_messages: Messages::default(),
        }
    }

    /// The next one.
    fn then(mut self, real: &Reading, now: Instant) -> Self {
        self.taken_at = now;
        let messages = Messages::of(real);
        let before = self.seen_messages;
        let accepted = messages.accepted - before.accepted >= STEP;
        let relayed = messages.relayed - before.relayed >= STEP;
        if accepted {
            self.seen_messages.accepted = messages.accepted;
        }
        if relayed {
            self.seen_messages.relayed = messages.relayed;
        }
        let cells = self.seen.cells.iter_mut().zip(&mut self.shown.cells).zip(real.cells);
        for (at, ((seen, shown), real)) in cells.enumerate() {
            let is_enough = match behind(at) {
                Behind::Nobody => {
                    (*seen, *shown) = (real, real);
                    continue;
                }
                Behind::Acts => real.saturating_sub(*seen) >= STEP,
                Behind::Accepted => accepted,
                Behind::Relayed => relayed,
            };
            if is_enough {
                (*seen, *shown) = (real, real.next_multiple_of(step_of(at)));
            }
        }
        self.gauges(real, relayed);
        self.figures(real);
        self
    }

    fn gauges(&mut self, real: &Reading, relayed: bool) {
        let Self { seen, shown, .. } = self;
        gauge(&mut seen.connections, &mut shown.connections, real.connections);
        gauge(&mut seen.members, &mut shown.members, real.members);
        gauge(&mut seen.rooms, &mut shown.rooms, real.rooms);
        for (at, level) in Level::ALL.into_iter().enumerate() {
            let cells = (seen.levels.get_mut(at), shown.levels.get_mut(at), real.levels.get(at));
            let (Some(seen), Some(shown), Some(real)) = cells else { continue };
            match level {
                Level::Records | Level::Addresses | Level::ReplayEntries => {
                    gauge(seen, shown, *real);
                }
                _ => {}
            }
        }
        // A queue that gets shorter tells of no message, and has to be seen to.
        if relayed || real.copies_queued < seen.copies_queued {
            seen.copies_queued = real.copies_queued;
            shown.copies_queued = real.copies_queued.next_multiple_of(STEP);
            shown.queued_bytes = real.queued_bytes.next_multiple_of(STEP);
            let whole_steps = STEP * 1000;
            shown.queue_oldest_ms = real.queue_oldest_ms.next_multiple_of(whole_steps);
        }
    }

    /// The figures of the process and the runtime, which move with everything.
    fn figures(&mut self, real: &Reading) {
        let (seen, shown) = (&mut self.seen, &mut self.shown);
        let (open, tasks) = (shown.process.open_fds, shown.runtime.tasks);
        shown.process = real.process;
        shown.runtime = real.runtime;
        (shown.process.open_fds, shown.runtime.tasks) = (open, tasks);
        gauge(&mut seen.process.open_fds, &mut shown.process.open_fds, real.process.open_fds);
        gauge(&mut seen.runtime.tasks, &mut shown.runtime.tasks, real.runtime.tasks);
        for (figure, step) in [
            (&mut shown.process.cpu_centis, STEP),
            (&mut shown.process.resident_bytes, MEMORY_STEP),
            (&mut shown.process.virtual_bytes, MEMORY_STEP),
            (&mut shown.runtime.global_queue, STEP),
            (&mut shown.runtime.busy_us, TIME_STEP_NS / 1000),
        ] {
            *figure = figure.next_multiple_of(step);
        }
    }
}

impl Reading {
    /// Brings states, ceilings and times up to this moment: nobody's act moves them.
    fn with_states_of(&mut self, real: &Self) {
        for (at, level) in Level::ALL.into_iter().enumerate() {
            let is_moved =
                matches!(level, Level::Records | Level::Addresses | Level::ReplayEntries);
            let cells = self.levels.get_mut(at).zip(real.levels.get(at));
            if let Some((shown, real)) = cells.filter(|_| !is_moved) {
                *shown = *real;
            }
        }
        self.links = real.links;
        self.round_trip_us = real.round_trip_us;
        self.uptime_s = real.uptime_s;
        self.drain = real.drain;
    }
}

/// A gauge that people move, one act for each.
fn gauge(seen: &mut u64, shown: &mut u64, real: u64) {
    if real.abs_diff(*seen) >= STEP {
        (*seen, *shown) = (real, real.next_multiple_of(STEP));
    }
}

impl Messages {
    fn of(reading: &Reading) -> Self {
        let sum = |first: usize, count: usize| -> u64 {
            reading.cells.iter().skip(first).take(count).sum()
        };
        Self { accepted: sum(ACCEPTED, MessageClass::ALL.len()), relayed: sum(SPREAD, BUCKETS + 1) }
    }
}

/// How finely a counter is shown.
fn step_of(cell: usize) -> u64 {
    let is_sum_of_times = cell >= TIMED && (cell - TIMED) % CELLS_EACH == SUM;
    if is_sum_of_times { TIME_STEP_NS } else { STEP }
}

/// What is behind a counter.
fn behind(cell: usize) -> Behind {
    if cell >= TIMED + CELLS_EACH {
        // The bus' answers, and how late a task of the relay's own was.
        return if cell < TIMED + 2 * CELLS_EACH { Behind::Accepted } else { Behind::Nobody };
    }
    if cell >= SPREAD {
        return Behind::Relayed;
    }
    if (BUS_REFUSED..BUS_REFUSED + BusRefusal::ALL.len()).contains(&cell) {
        return Behind::Nobody;
    }
    if (ACCEPTED_BYTES..DROPPED).contains(&cell) {
        return Behind::Accepted;
    }
    if (DROPPED..DROPPED + Dropped::ALL.len()).contains(&cell) {
        return Behind::Relayed;
    }
    Count::ALL.get(cell).map_or(Behind::Acts, |count| behind_count(*count))
}

const fn behind_count(count: Count) -> Behind {
    match count {
        Count::CopiesAddressed
        | Count::CopiesDelivered
        | Count::BytesWritten
        | Count::Writes
        | Count::Flushes
        | Count::BacklogBytesQueued => Behind::Relayed,
        Count::BytesRead | Count::BusPublished => Behind::Accepted,
        Count::AcceptErrors
        | Count::BusRetried
        | Count::BusLinksLost
        | Count::BusReconnects
        | Count::LogLinesSuppressed
        | Count::Panics => Behind::Nobody,
        _ => Behind::Acts,
    }
}

#[cfg(test)]
mod tests;
