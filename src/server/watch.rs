//! What time does to a relay, once a second, and what its log says of how it is.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::MissedTickBehavior;
use tracing::{info, warn};

use crate::clock;
use crate::http::App;
use crate::metrics::{Aggregate, Count, Level};

/// Does once a second what is due: heartbeats, endings, expiry, and the levels of bounded tables.
pub(super) async fn sweep(app: Arc<App>) {
    let App { hub, records, replay, addresses, metrics, .. } = &*app;
    let mut tick = tokio::time::interval(SWEEP_INTERVAL);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut down_for = None;
    loop {
        tick.tick().await;
        let now = clock::now();
        hub.sweep(now);
        watch_memory(&app);
        watch_bus(&app, &mut down_for);
        metrics.set_level(Level::Records, records.len() as u64);
        if let Some(replay) = replay {
            replay.rotate(now);
            metrics.set_level(Level::ReplayEntries, replay.len() as u64);
        }
        if let Some(addresses) = addresses {
            addresses.tend(now);
            metrics.set_level(Level::Addresses, addresses.len() as u64);
        }
    }
}

/// Looks whether there is memory for newcomers.
pub(super) fn watch_memory(app: &App) {
    match app.memory.measure() {
        Some(true) => warn!("more memory is resident than limit.memory_bytes: nobody new gets in"),
        Some(false) => info!("there is memory again: ready"),
        None => {}
    }
}

/// Says when the way to Redis is lost, again each minute, and when it is there. `down_for` is how
/// many looks in a row found it down; nothing is known at first.
fn watch_bus(app: &App, down_for: &mut Option<u32>) {
    let Some(bus) = app.bus() else { return };
    if bus.is_up() {
        if !matches!(down_for, Some(0 | 1)) {
            info!("Redis is reached: rooms are shared with other nodes");
        }
        *down_for = Some(0);
        return;
    }
    let looks = down_for.map_or(1, |looks| looks + 1);
    *down_for = Some(looks);
    // One look may have come in the middle of a reconnection.
    if looks % 60 == 2 {
        let cause = bus.fault().unwrap_or("the link broke");
        warn!(cause, "Redis is not reached: shared rooms are paused, and nobody new gets in");
    }
}

/// Writes a line with the totals of the time since the line before. It names nobody.
pub(super) async fn log_totals(app: Arc<App>, interval: Duration) {
    let mut tick = tokio::time::interval(interval);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    tick.tick().await;
    let mut before = app.metrics.aggregate();
    loop {
        tick.tick().await;
        let now = app.metrics.aggregate();
        log_total(&now.since(&before));
        before = now;
    }
}

fn log_total(total: &Aggregate) {
    info!(
        connections = total.connections,
        members = total.members,
        rooms = total.rooms,
        joins = total.count(Count::Joins),
        messages = total.accepted_in_all(),
        deliveries = total.count(Count::CopiesDelivered),
        refused = total.refused_in_all(),
        closed = total.closed_in_all(),
        panics = total.count(Count::Panics),
        "totals"
    );
}

/// How often time does what it does.
pub(super) const SWEEP_INTERVAL: Duration = Duration::from_secs(1);
