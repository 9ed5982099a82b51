//! Tests of who sits where, and of what a small room takes.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;

use super::*;

type TestLog = Log<Arc<()>>;

fn member(n: u8) -> MemberId {
    MemberId::from_bytes([n; 8])
}

fn seat(log: &mut TestLog, n: u8) -> SeatIndex {
    log.seat(member(n), Arc::default(), true)
}

/// Ten thousand rooms of one are ten thousand of these.
#[test]
fn a_room_of_one_takes_memory_for_one() {
    let (mut log, mut audience) = (TestLog::default(), Audience::default());
    seat(&mut log, 1);
    let _ = log.take_for(&mut audience);
    assert_eq!((log.seats.capacity(), audience.listeners.capacity()), (1, 1));
    assert!(log.by_member.is_none());
    let own = size_of::<TestLog>() + size_of::<Audience<Arc<()>>>();
    let for_one = size_of::<Seat<Arc<()>>>() + size_of::<Listener<Arc<()>>>();
    assert!(own <= 144 && for_one <= 48, "{own} and {for_one}");
}

#[test]
fn nobody_is_searched_for_in_a_large_room() {
    let mut log = TestLog::default();
    for n in 0..200 {
        seat(&mut log, n);
        let known = log.by_member.as_ref().map_or(0, |map| map.len());
        let members = usize::from(n) + 1;
        assert_eq!(known, if members > SEARCHED_MAX { members } else { 0 });
    }
}

proptest! {
    /// Against a map, while the room grows beyond what is searched and shrinks again.
    #[test]
    fn members_are_found_where_they_sit(
        steps in prop::collection::vec((any::<bool>(), 0..40_u8), 0..200),
    ) {
        let (mut log, mut audience) = (TestLog::default(), Audience::default());
        let mut model = BTreeMap::new();
        for (joins, n) in steps {
            match (joins, model.get(&n).copied()) {
                (true, None) => {
                    model.insert(n, seat(&mut log, n));
                }
                (false, Some(seat)) => {
                    let speaker = Speaker { seat, member: member(n) };
                    prop_assert!(log.vacate(speaker).is_some() && log.vacate(speaker).is_none());
                    model.remove(&n);
                }
                (true, Some(_)) | (false, None) => {}
            }
            for n in 0..40 {
                let found = log.find(member(n));
                prop_assert_eq!(found.map(|found| found.seat), model.get(&n).copied());
                prop_assert!(found.is_none_or(|found| found.member == member(n)));
            }
            prop_assert_eq!(log.members(), model.len());
            let _ = log.take_for(&mut audience);
            let mut seats: Vec<_> = model.values().copied().collect();
            seats.sort_unstable();
            let listeners: Vec<_> = audience.listeners.iter().map(|one| one.seat).collect();
            prop_assert_eq!(listeners, seats);
        }
    }
}
