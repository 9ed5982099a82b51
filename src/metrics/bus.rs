//! What is counted about the bus, by which several nodes share rooms.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use prometheus_client::registry::Unit;

use super::closed::closed_enum;

closed_enum!(
    /// Why a batch or an envelope did not take effect; the label `reason`.
    BusRefusal {
        Absent: ("absent", None) => "A member that should leave was not in the roster.",
        Full: ("full", None) => "The room has as many members as it takes, on all nodes together.",
        Void: ("void", None) => "The order that it was meant for is over.",
        Unsealed: ("unsealed", None) => "An envelope that no node of the cluster can have sealed.",
        Replayed: ("replayed", None) => "An envelope that came a second time.",
    }
);

closed_enum!(
    /// How the link to a Redis server is; the label `state`.
    LinkState {
        Up: ("up", None) => "What is published through it comes back.",
        Down: ("down", None) => "It is being connected, for the first time or again.",
    }
);

/// How the bus is at this moment.
#[derive(Default)]
pub(super) struct BusGauges {
    links: [AtomicU64; LinkState::ALL.len()],
    round_trip_us: AtomicU64,
}

impl BusGauges {
    pub(super) fn set_links(&self, up: usize, down: usize) {
        for (cell, links) in self.links.iter().zip([up, down]) {
            cell.store(links as u64, Ordering::Relaxed);
        }
    }

    pub(super) fn set_round_trip(&self, round_trip: Option<Duration>) {
        let micros = round_trip.map_or(0, |time| time.as_micros().max(1));
        self.round_trip_us.store(u64::try_from(micros).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Links in each state of [`LinkState::ALL`].
    pub(super) fn links(&self) -> [u64; LinkState::ALL.len()] {
        self.links.each_ref().map(|links| links.load(Ordering::Relaxed))
    }

    pub(super) fn round_trip_us(&self) -> u64 {
        self.round_trip_us.load(Ordering::Relaxed)
    }
}
