//! Where numbers are kept: a stripe of cells per worker thread, summed when somebody asks.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use super::bus::{BusGauges, BusRefusal};
use super::count::{Count, Level};
use super::refusal::Refusal;
use crate::core::close::Close;
use crate::core::limit::Instant;

/// The classes of HTTP answers.
pub(super) const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

/// Where the labelled counters begin in a stripe, behind those of [`Count`].
pub(super) const CLOSED: usize = Count::ALL.len();
pub(super) const REFUSED: usize = CLOSED + Close::ALL.len();
pub(super) const ANSWERED: usize = REFUSED + Refusal::ALL.len();
pub(super) const BUS_REFUSED: usize = ANSWERED + CLASSES.len();
/// Cells of a stripe.
pub(super) const CELLS: usize = BUS_REFUSED + BusRefusal::ALL.len();

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
    pub(super) uptime_s: AtomicU64,
}

/// 64 stripes are about 70 KiB; more workers share, which is slower and still right.
const STRIPES_MAX: usize = 64;

impl Source {
    pub(super) fn new() -> Self {
        let workers = std::thread::available_parallelism().map_or(1, usize::from);
        let stripes = workers.min(STRIPES_MAX).next_power_of_two();
        let stripe = |_| Stripe([const { AtomicU64::new(0) }; CELLS]);
        Self {
            stripes: (0..stripes).map(stripe).collect(),
            connections: Arc::default(),
            members: Arc::default(),
            rooms: Arc::default(),
            levels: [const { AtomicU64::new(0) }; Level::ALL.len()],
            bus: BusGauges::default(),
            uptime_s: AtomicU64::new(0),
        }
    }

    pub(super) fn add(&self, cell: usize, n: u64) {
        let stripe = stripe_of_thread() & (self.stripes.len() - 1);
        if let Some(cell) = self.stripes.get(stripe).and_then(|stripe| stripe.0.get(cell)) {
            cell.fetch_add(n, Ordering::Relaxed);
        }
    }

    pub(super) fn sums(&self) -> [u64; CELLS] {
        let mut sums = [0_u64; CELLS];
        for stripe in &self.stripes {
            for (sum, cell) in sums.iter_mut().zip(&stripe.0) {
                *sum = sum.wrapping_add(cell.load(Ordering::Relaxed));
            }
        }
        sums
    }

    pub(super) fn set_uptime(&self, now: Instant) {
        let seconds = now.since(Instant::START).as_secs();
        self.uptime_s.store(seconds, Ordering::Relaxed);
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
