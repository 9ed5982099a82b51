//! Relays, Redis and members, as processes and sockets of their own, and what may happen to them.

mod client;
mod cluster;
mod crowd;
mod journey;
mod node;
mod process;
mod proxy;
#[path = "../it/harness/raw.rs"]
#[expect(dead_code, reason = "the other tests' requests; not all of it is needed here")]
mod raw;
mod redis;
mod resp;
mod room;
mod tests;
mod visitors;

use std::time::Duration;

pub(crate) use self::client::{MARK, Standing, join, open};
pub(crate) use self::cluster::{Cluster, Setup};
pub(crate) use self::crowd::Crowd;
pub(crate) use self::journey::Journeys;
pub(crate) use self::node::Node;
pub(crate) use self::process::{Process, free_port};
pub(crate) use self::proxy::{Link, State};
pub(crate) use self::resp::Resp;
pub(crate) use self::room::Room;
pub(crate) use self::visitors::{Visitors, Visits};

/// Longest wait for anything that should happen, and that has no limit of its own.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Waits for something that should happen.
pub(crate) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    within(PATIENCE, what, future).await
}

/// Waits for something that should happen within a time that matters.
pub(crate) async fn within<T>(limit: Duration, what: &str, future: impl Future<Output = T>) -> T {
    let waited = tokio::time::timeout(limit, future).await;
    waited.unwrap_or_else(|_late| panic!("waited longer than {limit:?} for {what}"))
}

/// Asks again and again, for what no event announces.
pub(crate) async fn until(limit: Duration, what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    within(limit, what, async {
        let mut again = tokio::time::interval(Duration::from_millis(10));
        loop {
            again.tick().await;
            if is_so().await {
                return;
            }
        }
    })
    .await;
}

/// Random bytes.
pub(crate) fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).unwrap();
    bytes
}

/// How long something took.
#[derive(Clone, Copy)]
pub(crate) struct Watch(lethewire::core::limit::Instant);

impl Watch {
    /// From now on.
    pub(crate) fn start() -> Self {
        Self(lethewire::clock::now())
    }

    /// Until now.
    pub(crate) fn seconds(self) -> f64 {
        lethewire::clock::now().since(self.0).as_secs_f64()
    }
}
