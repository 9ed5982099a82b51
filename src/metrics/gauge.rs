//! Gauges that move only by guards, so that what was counted in is counted out.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Keeps one in a gauge for as long as it lives.
#[must_use = "dropping the guard counts it out"]
pub struct GaugeGuard(Arc<AtomicU64>);

/// Keeps one connection in the `connections` gauge.
pub type ConnectionGauge = GaugeGuard;
/// Keeps one member in the `members` gauge.
pub type MemberGauge = GaugeGuard;
/// Keeps one room in the `rooms` gauge.
pub type RoomGauge = GaugeGuard;

impl GaugeGuard {
    pub(super) fn new(gauge: &Arc<AtomicU64>) -> Self {
        gauge.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(gauge))
    }
}

impl Drop for GaugeGuard {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
