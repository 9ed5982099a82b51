//! What time does to a relay, once a second, and what its log says of how it is.

use std::cmp::Ordering;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::MissedTickBehavior;
use tracing::{info, warn};

use crate::clock;
use crate::core::limit::Instant;
use crate::http::{self, App, Status};
use crate::hub::Sweep;
use crate::metrics::{Count, Level};
use crate::telemetry;

/// Does once a second what is due: heartbeats, endings, expiry, and the levels of bounded tables.
pub(super) async fn sweep(app: Arc<App>) {
    let App { hub, records, replay, addresses, metrics, .. } = &*app;
    let mut tick = tokio::time::interval(SWEEP_INTERVAL);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut down_for = None;
    let mut turns = Turns::new();
    let mut swept = Sweep::default();
    loop {
        tick.tick().await;
        while hub.sweep(&mut swept, clock::now()) {
            tokio::task::yield_now().await;
        }
        let now = clock::now();
        watch_memory(&app);
        watch_bus(&app, &mut down_for);
        turns.watch(&app, now);
        metrics.add(Count::LogLinesSuppressed, telemetry::tell_suppressed(now));
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

/// Says when a check of `/health` or the answer of `/ready` turns, by name and without numbers.
struct Turns {
    checks: Vec<(&'static str, Status)>,
    failed: Option<&'static str>,
}

impl Turns {
    /// Everything is well until it is seen not to be.
    const fn new() -> Self {
        Self { checks: Vec::new(), failed: None }
    }

    fn watch(&mut self, app: &App, now: Instant) {
        if !app.config.log.health_check_failures {
            return;
        }
        for check in http::checks(app, now) {
            self.check(check.name, check.status);
        }
        self.ready(app.not_ready().map(|failed| failed.check));
    }

    fn check(&mut self, check: &'static str, status: Status) {
        let known = self.checks.iter_mut().find(|(name, _)| *name == check);
        let was = if let Some((_, known)) = known {
            std::mem::replace(known, status)
        } else {
            self.checks.push((check, status));
            Status::Pass
        };
        let (was_word, word) = (was.word(), status.word());
        match status.cmp(&was) {
            Ordering::Greater => warn!(check, was = was_word, status = word, "a check turned"),
            Ordering::Less => info!(check, was = was_word, status = word, "a check turned"),
            Ordering::Equal => {}
        }
    }

    fn ready(&mut self, failed: Option<&'static str>) {
        let was = std::mem::replace(&mut self.failed, failed);
        match failed {
            Some(check) if was != Some(check) => warn!(check, "not ready"),
            None if was.is_some() => info!("ready again"),
            _ => {}
        }
    }
}

/// How many members there are, as it may be shown.
pub(super) fn shown_members(app: &App) -> u64 {
    app.shown(app.hub.connections() as u64)
}

/// Says how far a drain has come, from time to time.
pub(super) struct DrainLines {
    next: Instant,
}

impl DrainLines {
    /// For a drain that begins now.
    pub(super) fn since(now: Instant) -> Self {
        Self { next: now.after(DRAIN_LINES) }
    }

    /// After each step.
    pub(super) fn step(&mut self, app: &App, now: Instant) {
        if self.is_due(now) {
            info!(left = shown_members(app), "still draining");
        }
    }

    fn is_due(&mut self, now: Instant) -> bool {
        let is_due = now >= self.next;
        if is_due {
            self.next = now.after(DRAIN_LINES);
        }
        is_due
    }
}

/// Between two lines of a drain: it usually takes a few seconds, and half a minute at most.
const DRAIN_LINES: Duration = Duration::from_secs(5);

/// How often time does what it does.
pub(super) const SWEEP_INTERVAL: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::tests::json_lines;

    #[test]
    fn a_check_is_told_of_when_it_turns_and_not_while_it_stays() {
        let lines = json_lines(|| {
            let mut turns = Turns::new();
            for status in [
                Status::Pass,
                Status::Warn,
                Status::Warn,
                Status::Fail,
                Status::Fail,
                Status::Warn,
                Status::Pass,
                Status::Pass,
            ] {
                turns.check("rooms", status);
                turns.check("queue", Status::Pass);
            }
        });
        let told: Vec<_> = lines
            .iter()
            .map(|line| {
                assert_eq!(
                    (&line["check"], &line["message"]),
                    (&"rooms".into(), &"a check turned".into())
                );
                ["level", "was", "status"].map(|field| line[field].as_str().unwrap())
            })
            .collect();
        assert_eq!(
            told,
            [
                ["WARN", "pass", "warn"],
                ["WARN", "warn", "fail"],
                ["INFO", "fail", "warn"],
                ["INFO", "warn", "pass"],
            ]
        );
    }

    #[test]
    fn a_drain_is_told_of_every_few_seconds_however_many_steps_it_takes() {
        let at = |ms| Instant::START.after(Duration::from_millis(ms));
        let mut lines = DrainLines::since(at(1000));
        let told: Vec<_> =
            (0..140).map(|step| 1000 + step * 100).filter(|ms| lines.is_due(at(*ms))).collect();
        assert_eq!(told, [6000, 11_000]);
        assert!(lines.is_due(at(60_000)), "a step that was late");
        assert!(!lines.is_due(at(60_100)));
    }

    #[test]
    fn what_keeps_a_relay_from_being_ready_is_named_once() {
        let lines = json_lines(|| {
            let mut turns = Turns::new();
            for failed in [None, Some("memory"), Some("memory"), Some("queues"), None, None] {
                turns.ready(failed);
            }
        });
        let told: Vec<_> =
            lines.iter().map(|line| (line["message"].as_str(), line["check"].as_str())).collect();
        let expected = [
            (Some("not ready"), Some("memory")),
            (Some("not ready"), Some("queues")),
            (Some("ready again"), None),
        ];
        assert_eq!(told, expected);
    }
}
