//! A member that comes back, as the SDK does, whatever sends it away.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::client::{Client, Ended, LEFT, Plan, join};
use super::crowd::Seen;
use super::{Room, Watch, random};
use crate::checker::{Event, Log};

/// What those who come back have met with.
#[derive(Clone, Debug, Default)]
pub(crate) struct Journeys {
    /// From the end of a connection to the next welcome, in seconds.
    pub(crate) pauses: Vec<f64>,
    /// How connections ended: close codes, and 1000 for who went when it was told to.
    pub(crate) ends: BTreeMap<u16, usize>,
    /// Connections that ended without having been told so before.
    pub(crate) untold: usize,
    /// Attempts that failed: HTTP status or close code; 0 is a connection that was refused or reset.
    pub(crate) refusals: BTreeMap<u16, usize>,
}

impl Journeys {
    /// The longest time that anybody was away, in seconds.
    pub(crate) fn longest_pause(&self) -> f64 {
        self.pauses.iter().copied().fold(0.0, f64::max)
    }
}

/// A member, over all of its connections.
pub(super) struct Traveller {
    pub(super) room: Room,
    pub(super) number: usize,
    pub(super) addr: SocketAddr,
    /// Whether it goes when it is told to, or waits to be closed.
    pub(super) moves: bool,
    pub(super) plan: watch::Receiver<Plan>,
    pub(super) seen: Seen,
    pub(super) journeys: Arc<Mutex<Journeys>>,
}

impl Traveller {
    /// Lives until the plan ends it; returns what it wrote down in each of its connections.
    pub(super) async fn travel(self) -> Vec<(usize, Log)> {
        let mut logs = Vec::new();
        let mut left: Option<Watch> = None;
        let (mut failures, mut fresh) = (0, false);
        loop {
            let (number, client) = match self.come_in().await {
                Ok(come) => come,
                Err(code) => {
                    *self.journeys.lock().unwrap().refusals.entry(code).or_default() += 1;
                    // 41xx: at once with a fresh token, and as all others after that.
                    if fresh || !(4100..4200).contains(&code) {
                        wait(Duration::ZERO, failures).await;
                        failures += 1;
                    }
                    fresh = true;
                    continue;
                }
            };
            if let Some(away) = left.take() {
                self.journeys.lock().unwrap().pauses.push(away.seconds());
            }
            let lived = Watch::start();
            let (log, ended) = client.live_and_end(self.plan.clone()).await;
            let is_over = log.events.contains(&Event::Quiet);
            logs.push((number, log));
            if is_over {
                return logs;
            }
            left = Some(Watch::start());
            self.note(ended);
            if lived.seconds() >= GOOD_S {
                failures = 0;
            }
            fresh = false;
            wait(ended.hint, failures).await;
            failures += 1;
        }
    }

    async fn come_in(&self) -> Result<(usize, Client), u16> {
        let token = self.room.restore(self.addr).await?;
        let number = self.seen.count();
        let client = join(self.addr, &token, (self.number, 0, number)).await?;
        let client = if self.moves { client.moving() } else { client };
        self.seen.push(client.seen());
        Ok((number, client))
    }

    fn note(&self, ended: Ended) {
        let mut journeys = self.journeys.lock().unwrap();
        *journeys.ends.entry(ended.code).or_default() += 1;
        if ended.told.is_none() || (ended.code == LEFT && !self.moves) {
            journeys.untold += 1;
        }
    }
}

/// A connection that lived this long was a good one: the SDK begins to count anew.
const GOOD_S: f64 = 10.0;

/// As the SDK does: the hint, and a random part of a time that doubles.
async fn wait(hint: Duration, failures: u32) {
    let span = 500 << failures.min(6);
    let part = u64::from(u16::from_le_bytes(random())) * span / (1 << 16);
    let due = Instant::now() + hint + Duration::from_millis(part);
    let _ = tokio::time::timeout_at(due, std::future::pending::<()>()).await;
}
