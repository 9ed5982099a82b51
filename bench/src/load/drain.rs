//! The end of a load: whether all that was sent has come, and what became of those that did not read.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::{EXIT, Plan, Shared};
use crate::Fault;

/// Time without a delivery after which what has not come is lost.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long all that was sent may take to come.
const DRAIN_PATIENCE: Duration = Duration::from_secs(60);
/// How long it may take to read what was not read, if a server has ended it. Half a second
/// without anything is no sign that there is no end: it came later in every run of W6-flood.
const END_PATIENCE: Duration = Duration::from_secs(3);

/// Waits until everything that was sent has come, or nothing has come for a while.
pub(super) fn drain(plan: &Plan, shared: &Shared, echoes: bool) -> Result<(), Fault> {
    let begun = Instant::now();
    let (mut last, mut moved) = (0, begun);
    loop {
        if begun.elapsed() > DRAIN_PATIENCE {
            return Err("what was sent does not all come within a minute".into());
        }
        if shared.phase() == EXIT {
            return Err("gave up".into());
        }
        let delivered = shared.delivered();
        if shared.silent.load(Ordering::Acquire) == plan.threads as usize {
            let expected: u64 = (0..plan.rooms)
                .map(|room| {
                    let sent = (0..plan.senders).map(|member| {
                        let sent = shared.sent.get(plan.sender(room, member));
                        sent.map_or(0, |sent| u64::from(sent.load(Ordering::Relaxed)))
                    });
                    sent.sum::<u64>() * u64::from(plan.receivers(room, echoes))
                })
                .sum();
            if delivered >= expected {
                // A moment more, in which a duplicate would come.
                std::thread::sleep(Duration::from_millis(50));
                await_ends(plan, shared);
                return Ok(());
            }
        }
        if delivered != last {
            (last, moved) = (delivered, Instant::now());
        }
        if moved.elapsed() > PATIENCE {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Waits a while for deaf connections, which read now, to reach the end that a server made them.
fn await_ends(plan: &Plan, shared: &Shared) {
    let numbers = 0..plan.members;
    let deaf = (0..plan.rooms)
        .map(|room| numbers.clone().filter(|member| plan.is_deaf(room, *member)).count())
        .sum();
    let begun = Instant::now();
    while shared.deaf_over.load(Ordering::Relaxed) < deaf && begun.elapsed() < END_PATIENCE {
        std::thread::sleep(Duration::from_millis(5));
    }
}
