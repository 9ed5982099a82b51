//! Not the same line over and over: how often each place in the source may write within a minute.
//!
//! Places are those of the program, so there are as many as it has log calls and no peer can make
//! another one. What is left out is counted here, and told by whoever asks from time to time, because
//! a line about left out lines must come also when no other line comes any more.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tracing::Metadata;

use crate::core::limit::Instant;

/// Counts the lines of each place.
pub(super) struct Throttle {
    /// Lines per minute and place; 0 is no limit.
    limit: u32,
    places: Mutex<BTreeMap<Place, Window>>,
}

/// A place in the source: its file and line.
pub(super) type Place = (&'static str, u32);

/// A minute of a place.
#[derive(Clone, Copy)]
struct Window {
    since: Instant,
    lines: u32,
    suppressed: u64,
}

const WINDOW: Duration = Duration::from_secs(60);

impl Throttle {
    pub(super) const fn new(limit: u32) -> Self {
        Self { limit, places: Mutex::new(BTreeMap::new()) }
    }

    /// Whether a line of this place is written.
    pub(super) fn takes(&self, metadata: &'static Metadata<'static>, now: Instant) -> bool {
        self.takes_from((metadata.file().unwrap_or("?"), metadata.line().unwrap_or(0)), now)
    }

    fn takes_from(&self, place: Place, now: Instant) -> bool {
        if self.limit == 0 {
            return true;
        }
        let mut places = self.places();
        let new = Window { since: now, lines: 0, suppressed: 0 };
        let window = places.entry(place).or_insert(new);
        // What was left out in a minute that is over is still to be told, and is carried along.
        if now.since(window.since) >= WINDOW {
            *window = Window { suppressed: window.suppressed, ..new };
        }
        if window.lines < self.limit {
            window.lines += 1;
            return true;
        }
        window.suppressed += 1;
        false
    }

    /// The places that left lines out in a minute that is over, and how many; each is told once.
    pub(super) fn suppressed(&self, now: Instant) -> Vec<(Place, u64)> {
        let mut told = Vec::new();
        for (place, window) in self.places().iter_mut() {
            let over = now.since(window.since) >= WINDOW;
            if window.suppressed > 0 && (over || window.lines < self.limit) {
                told.push((*place, std::mem::take(&mut window.suppressed)));
            }
        }
        told
    }

    fn places(&self) -> MutexGuard<'_, BTreeMap<Place, Window>> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(s: u64) -> Instant {
        Instant::START.after(Duration::from_secs(s))
    }

    #[test]
    fn a_place_has_so_many_lines_a_minute_and_tells_once_what_it_left_out() {
        let throttle = Throttle::new(3);
        let (one, other) = (("a.rs", 1), ("a.rs", 2));
        let taken = |place, s| (0..10).filter(|_| throttle.takes_from(place, at(s))).count();
        assert_eq!((taken(one, 5), taken(one, 64)), (3, 0));
        assert_eq!(taken(other, 64), 3, "another place is another matter");
        assert_eq!(throttle.suppressed(at(64)), [], "the minute is not over");
        assert_eq!(throttle.suppressed(at(65)), [(one, 17)]);
        assert_eq!(throttle.suppressed(at(65)), []);
        assert_eq!(taken(one, 66), 3, "a new minute");
        assert_eq!(throttle.suppressed(at(200)), [(one, 7), (other, 7)]);
    }

    #[test]
    fn what_a_minute_left_out_is_told_also_if_the_next_one_has_begun() {
        let throttle = Throttle::new(1);
        let place = ("a.rs", 1);
        assert!(throttle.takes_from(place, at(0)));
        assert!(!throttle.takes_from(place, at(1)));
        assert!(throttle.takes_from(place, at(60)));
        assert!(!throttle.takes_from(place, at(61)));
        assert_eq!(throttle.suppressed(at(61)), [], "there will be more");
        assert_eq!(throttle.suppressed(at(120)), [(place, 2)]);
    }

    #[test]
    fn there_may_be_no_limit() {
        let throttle = Throttle::new(0);
        assert!((0..1000).all(|_| throttle.takes_from(("a.rs", 1), at(0))));
        assert_eq!(throttle.suppressed(at(1000)), []);
    }
}
