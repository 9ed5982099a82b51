//! What only the hub as a whole can get wrong: the moment between a record and its room.

use std::sync::Barrier;

use super::*;
use crate::admission::records::RecordLimits;

/// Whoever is let in at the same moment is let into a room that is closed behind them.
#[test]
fn no_room_is_opened_once_it_is_closed() {
    let config = Arc::new(Config::default());
    let limits = RecordLimits::from(&*config);
    let options = limits.ceilings;
    let records = Arc::new(Records::new(limits));
    let hub = Hub::new(config, Arc::new(Metrics::new()), Arc::clone(&records));
    let both = Barrier::new(2);
    let room = |n: u32| RoomId::new(&[n.to_be_bytes(); 4].concat()).unwrap();
    let mut left_open = 0;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for n in 0..ROUNDS {
                both.wait();
                hub.close_room(&room(n), Instant::START);
                both.wait();
            }
        });
        for n in 0..ROUNDS {
            records.create(&room(n), None, options, Instant::START).unwrap();
            both.wait();
            let _seat = hub.reserve(&room(n), Grant { cap: Cap::SEND, session_s: None });
            both.wait();
            left_open += u32::from(hub.room(&room(n)).is_some());
        }
    });
    assert_eq!(left_open, 0, "of {ROUNDS}");
}

/// A second or two; with fewer the two do not surely meet in the moment that matters.
const ROUNDS: u32 = 20_000;
