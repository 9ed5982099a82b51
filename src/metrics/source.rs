//! Where numbers are kept: a stripe of cells per worker thread, summed when somebody asks.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::runtime::Handle;

use super::bus::{BusGauges, BusRefusal};
use super::count::{Count, Level};
use super::histogram::{CELLS_EACH, HISTOGRAMS};
use super::labels::{
    Dropped, LimitHit, MessageClass, OwnerOperation, RoomOperation, Route, Verdict,
};
use super::process::{Process, Runtime};
use super::refusal::Refusal;
use crate::core::close::Close;
use crate::core::limit::Instant;
use crate::outbox::{Bounds, CopyCounts};

/// The classes of HTTP answers.
pub(super) const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

/// Where the labelled counters begin in a stripe, behind those of [`Count`].
pub(super) const CLOSED: usize = Count::ALL.len();
pub(super) const REFUSED: usize = CLOSED + Close::ALL.len();
pub(super) const ANSWERED: usize = REFUSED + Refusal::ALL.len();
pub(super) const BUS_REFUSED: usize = ANSWERED + Route::ALL.len() * CLASSES.len();
pub(super) const ACCEPTED: usize = BUS_REFUSED + BusRefusal::ALL.len();
pub(super) const ACCEPTED_BYTES: usize = ACCEPTED + MessageClass::ALL.len();
pub(super) const DROPPED: usize = ACCEPTED_BYTES + MessageClass::ALL.len();
pub(super) const VERDICTS: usize = DROPPED + Dropped::ALL.len();
pub(super) const LIMITS: usize = VERDICTS + Verdict::ALL.len();
pub(super) const OWNER: usize = LIMITS + LimitHit::ALL.len();
pub(super) const ROOM: usize = OWNER + OwnerOperation::ALL.len();
/// The fan-out, then those of times.
pub(super) const SPREAD: usize = ROOM + RoomOperation::ALL.len();
pub(super) const TIMED: usize = SPREAD + CELLS_EACH;
/// Cells of a stripe.
pub(super) const CELLS: usize = SPREAD + HISTOGRAMS * CELLS_EACH;

/// A thread's own counters. 128 bytes, because processors fetch lines in pairs.
#[repr(align(128))]
struct Stripe([AtomicU64; CELLS]);

/// All numbers.
pub(super) struct Source {
    /// A power of two of them, at least one per worker thread up to [`STRIPES_MAX`].
    stripes: Box<[Stripe]>,
    pub(super) connections: Arc<AtomicU64>,
    pub(super) members: Arc<AtomicU64>,
    pub(super) rooms: Arc<AtomicU64>,
    pub(super) levels: [AtomicU64; Level::ALL.len()],
    pub(super) bus: BusGauges,
    /// What waits for members, and what became of it.
    pub(super) bounds: OnceLock<Arc<Bounds>>,
    pub(super) queue_oldest_ms: AtomicU64,
    /// When the drain began.
    pub(super) drain_began: OnceLock<Instant>,
    /// What the connections run on.
    pub(super) runtime: OnceLock<Handle>,
}

/// All numbers of one moment.
#[derive(Clone)]
pub(super) struct Reading {
    pub(super) cells: [u64; CELLS],
    pub(super) connections: u64,
    pub(super) members: u64,
    pub(super) rooms: u64,
    pub(super) levels: [u64; Level::ALL.len()],
    pub(super) links: [u64; 2],
    pub(super) round_trip_us: u64,
    pub(super) queued_bytes: u64,
    pub(super) copies_queued: u64,
    pub(super) queue_oldest_ms: u64,
    pub(super) uptime_s: u64,
    /// Since the drain began; `None` when there is none.
    pub(super) drain: Option<Duration>,
    pub(super) process: Process,
    pub(super) runtime: Runtime,
}

/// 64 stripes are about 130 KiB; more workers share, which is slower and still right.
const STRIPES_MAX: usize = 64;

impl Source {
    pub(super) fn new() -> Self {
        let workers = std::thread::available_parallelism().map_or(1, usize::from);
        let stripes = workers.min(STRIPES_MAX).next_power_of_two();
        let stripe = |_| Stripe([const { AtomicU64::new(0) }; CELLS]);
        let source = Self {
            stripes: (0..stripes).map(stripe).collect(),
            connections: Arc::default(),
            members: Arc::default(),
            rooms: Arc::default(),
            levels: [const { AtomicU64::new(0) }; Level::ALL.len()],
            bus: BusGauges::default(),
            bounds: OnceLock::new(),
            queue_oldest_ms: AtomicU64::new(0),
            drain_began: OnceLock::new(),
            runtime: OnceLock::new(),
        };
        source.set_level(Level::BusUp, 1);
        source
    }

    pub(super) fn add(&self, cell: usize, n: u64) {
        let stripe = stripe_of_thread() & (self.stripes.len() - 1);
        if let Some(cell) = self.stripes.get(stripe).and_then(|stripe| stripe.0.get(cell)) {
            cell.fetch_add(n, Ordering::Relaxed);
        }
    }

    pub(super) fn set_level(&self, level: Level, value: u64) {
        if let Some(cell) = self.levels.get(level as usize) {
            cell.store(value, Ordering::Relaxed);
        }
    }

    /// The counters of this moment, those of the outboxes included.
    pub(super) fn sums(&self) -> [u64; CELLS] {
        let mut sums = self.stripes_summed();
        let copies = self.copies();
        for (at, copies) in [
            (Count::CopiesDelivered as usize, copies.delivered),
            (DROPPED + Dropped::Volatile as usize, copies.volatile),
            (DROPPED + Dropped::SlowConsumer as usize, copies.given_up),
            (DROPPED + Dropped::Closed as usize, copies.closed),
        ] {
            if let Some(sum) = sums.get_mut(at) {
                *sum += copies;
            }
        }
        sums
    }

    /// What became of copies that did not go out at once.
    pub(super) fn copies(&self) -> CopyCounts {
        self.bounds.get().map_or_else(CopyCounts::default, |bounds| bounds.copies())
    }

    fn stripes_summed(&self) -> [u64; CELLS] {
        let mut sums = [0_u64; CELLS];
        for stripe in &self.stripes {
            for (sum, cell) in sums.iter_mut().zip(&stripe.0) {
                *sum = sum.wrapping_add(cell.load(Ordering::Relaxed));
            }
        }
        sums
    }

    /// The counters and the gauges that move with them; `now` gives the times since the start and
    /// the beginning of the drain.
    pub(super) fn read(&self, now: Instant) -> Reading {
        let load = |value: &AtomicU64| value.load(Ordering::Relaxed);
        let queued = self.bounds.get().map_or(0, |bounds| bounds.queued());
        Reading {
            cells: self.sums(),
            connections: load(&self.connections),
            members: load(&self.members),
            rooms: load(&self.rooms),
            levels: self.levels.each_ref().map(load),
            links: self.bus.links(),
            round_trip_us: self.bus.round_trip_us(),
            queued_bytes: queued as u64,
            copies_queued: self.copies().queued,
            queue_oldest_ms: load(&self.queue_oldest_ms),
            uptime_s: now.since(Instant::START).as_secs(),
            drain: self.drain_began.get().map(|began| now.since(*began)),
            process: Process::default(),
            runtime: Runtime::default(),
        }
    }
}

/// The stripe that this thread adds to: given out in turn, so that workers get one each.
fn stripe_of_thread() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local!(static MINE: Cell<usize> = const { Cell::new(usize::MAX) });
    MINE.with(|mine| {
        if mine.get() == usize::MAX {
            mine.set(NEXT.fetch_add(1, Ordering::Relaxed) & (STRIPES_MAX - 1));
        }
        mine.get()
    })
}
