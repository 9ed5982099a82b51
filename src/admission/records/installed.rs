//! Records that nodes share: what one node knows of them, and when it says that they are in use.
//!
//! Where nodes share rooms, a record here is what this node was last told. It is looked up anew
//! before it decides anything, so that being told late does no harm; and it is what can be put back
//! if whoever keeps it has lost it.

use std::time::Duration;

use super::{Kept, Record, Records, Refused};
use crate::core::id::RoomId;
use crate::core::limit::Instant;
use crate::core::record::{self, KEPT_MIN};

/// A shared record as this node knows it.
pub struct Known {
    /// What it says; its `spare` has no meaning here.
    pub record: record::Record,
    /// Which version that was.
    pub version: u64,
    /// How long the room lives yet.
    pub life: Duration,
    /// Whether somebody is in the room on this node.
    pub occupied: bool,
}

impl Records {
    /// Takes over what nodes share of a room that lives for `life` yet, unless a later answer was here
    /// before. Who is in it stays.
    ///
    /// # Errors
    ///
    /// `Full` when this node knows as many rooms as it may.
    pub fn install(
        &self,
        room: &RoomId,
        shared: &record::Record,
        version: u64,
        life: Duration,
        now: Instant,
    ) -> Result<(), Refused> {
        let ends_idle = self.limits.ends_idle;
        let mut kept = self.lock();
        let known = kept.records.get(room);
        if known.is_none() && kept.records.len() >= self.limits.rooms_max {
            return Err(Refused::Full);
        }
        if known.is_some_and(|known| is_overtaken(version, known.version)) {
            return Ok(());
        }
        let told = Record {
            owner: shared.owner,
            options: shared.options,
            expires_at: now.after(life),
            empty_since: known.is_none_or(|known| known.empty_since.is_some()).then_some(now),
            looked_at: known.map_or(now, |known| known.looked_at),
            locked: shared.locked,
            closed: shared.closed,
            version,
            refresh_at: known.and_then(|known| known.refresh_at),
        };
        let is_occupied = told.empty_since.is_none();
        let idle = Duration::from_secs(told.options.idle_s.into());
        kept.records.insert(*room, told);
        kept.look_at_end(room, ends_idle);
        kept.schedule(room, is_occupied.then(|| now.after(refresh_period(idle))));
        Ok(())
    }

    /// What this node knows of a room.
    pub fn known(&self, room: &RoomId, now: Instant) -> Option<Known> {
        let kept = self.lock();
        let known = kept.records.get(room)?;
        let record = record::Record {
            owner: known.owner,
            options: known.options,
            locked: known.locked,
            closed: known.closed,
            spare: Duration::ZERO,
        };
        let (version, life) = (known.version, known.expires_at.since(now));
        Some(Known { record, version, life, occupied: known.empty_since.is_none() })
    }

    /// Forgets a room that nobody is in on this node.
    pub fn forget(&self, room: &RoomId) {
        let mut kept = self.lock();
        if kept.records.get(room).is_some_and(|known| known.empty_since.is_some()) {
            kept.remove(room);
        }
    }

    /// The shared rooms for which it is time to say whether somebody is in them: at most `most`.
    pub fn due(&self, now: Instant, most: usize) -> Vec<RoomId> {
        let mut kept = self.lock();
        let mut due = Vec::new();
        while due.len() < most
            && let Some((at, room)) = kept.refreshes.first().copied()
            && at <= now
        {
            // Again soon, unless it is said until then.
            kept.schedule(&room, Some(now.after(REFRESH_AGAIN)));
            due.push(room);
        }
        due
    }
}

impl Kept {
    /// Sets when a room's record is to be refreshed; `None` is never.
    pub(super) fn schedule(&mut self, room: &RoomId, at: Option<Instant>) {
        let Some(record) = self.records.get_mut(room) else { return };
        if let Some(before) = std::mem::replace(&mut record.refresh_at, at) {
            self.refreshes.remove(&(before, *room));
        }
        if let Some(at) = at {
            self.refreshes.insert((at, *room));
        }
    }
}

/// Whether an answer with this version is older than what is known. Answers come in order, but those who wait
/// for them are not woken in order. A version begins as the time in microseconds and grows by one with each
/// change, so what is much lower is no earlier state of the record: it was lost, and made anew where the clock is behind.
const fn is_overtaken(version: u64, known: u64) -> bool {
    version < known && known - version <= CHANGES_UNDER_WAY_MAX
}

/// More changes than one record sees while an answer is on its way to whoever waits for it.
const CHANGES_UNDER_WAY_MAX: u64 = 1000;

/// A third of the time that a record is kept for without a word, and not so rarely that a loss would
/// go unnoticed for long.
fn refresh_period(idle: Duration) -> Duration {
    (idle.max(KEPT_MIN) / 3).min(REFRESH_MAX)
}

/// Longest time between two refreshes.
const REFRESH_MAX: Duration = Duration::from_secs(180);

/// When a refresh that was not answered is tried again.
const REFRESH_AGAIN: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::super::RecordLimits;
    use super::*;
    use crate::core::admission::{PaddingPolicy, RoomOptions};

    const OPTIONS: RoomOptions =
        RoomOptions { ttl_s: 1000, idle_s: 90, members_max: 8, padding: PaddingPolicy::Off };

    fn at(seconds: u64) -> Instant {
        Instant::START.after(Duration::from_secs(seconds))
    }

    fn records() -> Records {
        Records::new(RecordLimits { rooms_max: 2, ceilings: OPTIONS, ends_idle: true })
    }

    fn room(n: u8) -> RoomId {
        RoomId::new(&[n; 16]).unwrap()
    }

    fn install(records: &Records, n: u8, life: u64, now: u64) -> Result<(), Refused> {
        let shared = record::Record::new(None, OPTIONS);
        records.install(&room(n), &shared, 7, Duration::from_secs(life), at(now))
    }

    #[test]
    fn what_is_installed_is_known_until_it_ends_and_replaces_what_was_known() {
        let records = records();
        assert_eq!(install(&records, 1, 500, 10), Ok(()));
        assert_eq!(records.view(&room(1)).unwrap().expires_at, at(510));
        let mut closed = record::Record::new(None, OPTIONS);
        closed.closed = true;
        records.install(&room(1), &closed, 8, Duration::from_secs(400), at(20)).unwrap();
        let known = records.known(&room(1), at(30)).unwrap();
        assert_eq!((known.version, known.life), (8, Duration::from_secs(390)));
        assert!(known.record.closed && !known.occupied);
        assert!(records.expire(at(419)).is_empty());
        assert!(records.expire(at(420)) == [room(1)]);
        assert!(records.known(&room(1), at(420)).is_none());
    }

    #[test]
    fn an_answer_that_was_overtaken_changes_nothing() {
        let records = records();
        let mut shared = record::Record::new(None, OPTIONS);
        let mut install = |locked, version| {
            shared.locked = locked;
            records.install(&room(1), &shared, version, Duration::from_secs(500), at(0)).unwrap();
            records.view(&room(1)).unwrap().locked
        };
        assert!(install(true, 5_000_001));
        assert!(install(false, 5_000_000), "as it was before");
        assert!(!install(false, 5_000_001), "the same again");
        assert!(install(true, 5_000_002));
        assert!(!install(false, 4_000_000), "another record, of a clock that is behind");
    }

    #[test]
    fn a_full_node_takes_over_nothing_new() {
        let records = records();
        for n in 1..3 {
            assert_eq!(install(&records, n, 500, 0), Ok(()));
        }
        assert_eq!(install(&records, 3, 500, 0), Err(Refused::Full));
        assert_eq!(install(&records, 2, 500, 0), Ok(()), "it is known");
        records.forget(&room(1));
        assert_eq!(install(&records, 3, 500, 0), Ok(()));
    }

    #[test]
    fn a_room_with_members_stays_and_is_refreshed_in_time() {
        let records = records();
        install(&records, 1, 500, 0).unwrap();
        assert!(records.due(at(400), 9).is_empty(), "nobody is in it");
        records.occupied(&room(1));
        assert!(records.due(at(0), 9) == [room(1)], "at once");
        assert!(records.due(at(9), 9).is_empty());
        assert!(records.due(at(10), 9) == [room(1)], "again, as nobody answered");
        install(&records, 1, 490, 10).unwrap();
        assert!(records.due(at(39), 9).is_empty());
        assert!(records.due(at(40), 9) == [room(1)], "after a third of the idle time");
        records.forget(&room(1));
        assert!(records.known(&room(1), at(40)).unwrap().occupied);
        records.emptied(&room(1), at(41));
        assert!(records.due(at(41), 9) == [room(1)], "its idle time begins");
        install(&records, 1, 459, 41).unwrap();
        assert!(records.due(at(130), 9).is_empty(), "it is said");
        assert!(records.expire(at(131)) == [room(1)]);
        assert!(records.due(at(500), 9).is_empty());
    }

    #[test]
    fn a_room_of_this_node_alone_is_never_refreshed() {
        let records = records();
        records.create(&room(1), None, OPTIONS, at(0)).unwrap();
        records.occupied(&room(1));
        assert!(records.due(at(999), 9).is_empty());
    }
}
