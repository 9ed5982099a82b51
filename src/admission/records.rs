//! The rooms that this relay knows: their owner, options and time, but not their members.
//!
//! A record is made by whoever shows the room's certificate, and ends when its time to live is over
//! or when the room has been empty for its idle time; then the relay has forgotten it and a member
//! may restore it. A room that was closed stays as a tombstone until its time to live would have
//! ended, so that a restore cannot undo the closing; a locked room does not idle out, because
//! forgetting it would unlock it. The queue of endings holds exactly one entry per record, at its end or
//! before: an end that moves away is looked for when its entry comes up, so that those who come and go
//! cost no search, and nothing ends late.

mod installed;

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::config::Config;
use crate::core::admission::{
    AdmissionKey, OwnerHash, OwnerSecret, RoomOptions, WantedOptions, opens, owner_hash,
};
use crate::core::id::RoomId;
use crate::core::limit::Instant;

pub use self::installed::Known;

/// How many rooms are kept, and what their owners may choose.
#[derive(Clone, Copy, Debug)]
pub struct RecordLimits {
    /// Records kept at the same time, tombstones included.
    pub rooms_max: usize,
    /// The options of a room whose owner chooses nothing, and the most that can be chosen.
    pub ceilings: RoomOptions,
    /// Whether empty rooms end after their idle time. Without it they live for their whole time.
    pub ends_idle: bool,
}

impl From<&Config> for RecordLimits {
    fn from(config: &Config) -> Self {
        let Config { room, feature, .. } = config;
        let ceilings = RoomOptions {
            ttl_s: room.ttl_s,
            idle_s: room.idle_s,
            members_max: room.members_max,
            padding: room.padding_policy,
        };
        let rooms_max = usize::try_from(room.rooms_max).unwrap_or(usize::MAX);
        Self { rooms_max, ceilings, ends_idle: feature.auto_room_cleanup }
    }
}

/// All room records of this node.
pub struct Records {
    limits: RecordLimits,
    kept: Mutex<Kept>,
}

/// What others may know about a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct View {
    /// The room's options.
    pub options: RoomOptions,
    /// Whether only owners may come in.
    pub locked: bool,
    /// Whether this is a tombstone.
    pub closed: bool,
    /// When the room's time to live is over.
    pub expires_at: Instant,
}

/// A record exists after [`Records::create`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Made {
    /// Whether it did not exist before.
    pub new: bool,
}

/// Why a record cannot be made or changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The room was closed by its owner or operator.
    #[error("the room is closed")]
    Closed,
    /// As many records as the relay keeps.
    #[error("too many rooms")]
    Full,
    /// An option is out of range.
    #[error("a room option is out of range")]
    Options,
    /// There is no such room.
    #[error("no such room")]
    Unknown,
}

#[derive(Default)]
struct Kept {
    records: HashMap<RoomId, Record>,
    /// When to look whether a record ends; with the name, because two can be due at one moment.
    endings: BTreeSet<(Instant, RoomId)>,
    /// When to tell other nodes again that somebody is in a room; at most one entry per record, and
    /// none without other nodes.
    refreshes: BTreeSet<(Instant, RoomId)>,
}

struct Record {
    /// Absent where an application's backend admits: then nobody can show an owner's secret.
    owner: Option<OwnerHash>,
    options: RoomOptions,
    /// When the room's time to live is over.
    expires_at: Instant,
    /// Since when nobody is in the room; `None` while somebody is.
    empty_since: Option<Instant>,
    /// Where its entry in the queue of endings is.
    looked_at: Instant,
    locked: bool,
    closed: bool,
    /// The version that nodes share; 0 if this node alone knows the record.
    version: u64,
    /// When to tell other nodes again that somebody is in the room.
    refresh_at: Option<Instant>,
}

impl Records {
    /// Creates an empty set of records.
    pub fn new(limits: RecordLimits) -> Self {
        Self { limits, kept: Mutex::default() }
    }

    /// The most that an owner may choose, and the default.
    pub const fn ceilings(&self) -> &RoomOptions {
        &self.limits.ceilings
    }

    /// Makes a record, or finds the one that is there; `options` count only for a new one.
    ///
    /// The caller has checked that the room's name belongs to `owner`, or trusts who asks. A record
    /// without an owner takes over the first one that is shown.
    pub fn create(
        &self,
        room: &RoomId,
        owner: impl Into<Option<OwnerHash>>,
        options: RoomOptions,
        now: Instant,
    ) -> Result<Made, Refused> {
        let owner = owner.into();
        let mut kept = self.lock();
        if let Some(record) = kept.records.get_mut(room) {
            if record.closed {
                return Err(Refused::Closed);
            }
            record.owner = record.owner.or(owner);
            return Ok(Made { new: false });
        }
        if kept.records.len() >= self.limits.rooms_max {
            return Err(Refused::Full);
        }
        let record = Record {
            owner,
            options,
            expires_at: now.after(Duration::from_secs(options.ttl_s.into())),
            empty_since: Some(now),
            looked_at: now,
            locked: false,
            closed: false,
            version: 0,
            refresh_at: None,
        };
        kept.records.insert(*room, record);
        kept.look_at_end(room, self.limits.ends_idle);
        Ok(Made { new: true })
    }

    /// The record of a room, if `key` opens it. An unknown room and a wrong key are one answer,
    /// and it takes the same hashing and comparing to find out.
    pub fn authorize(&self, room: &RoomId, key: &AdmissionKey) -> Option<View> {
        let known = self.lock().records.get(room).map(|record| (record.owner, record.view()));
        let owner = known.and_then(|(owner, _)| owner).unwrap_or(NOBODY);
        let opens = opens(room, key, &owner);
        known.map(|(_, view)| view).filter(|_| opens)
    }

    /// Whether `secret` is that of the room's owner; false for an unknown room after the same work.
    pub fn owner_matches(&self, room: &RoomId, secret: &OwnerSecret) -> bool {
        let known = self.lock().records.get(room).and_then(|record| record.owner);
        let matches = owner_hash(secret).matches(&known.unwrap_or(NOBODY));
        known.is_some() && matches
    }

    /// What is known about a room, for callers that have checked who asks.
    pub fn view(&self, room: &RoomId) -> Option<View> {
        self.lock().records.get(room).map(Record::view)
    }

    /// Keeps new members out, or lets them in again; the idle time of an empty room begins anew.
    pub fn set_locked(&self, room: &RoomId, locked: bool, now: Instant) -> Result<(), Refused> {
        self.change(room, |record| {
            record.locked = locked;
            record.empty_since = record.empty_since.map(|_| now);
            Ok(())
        })
    }

    /// Changes the options; the time to live counts from when the room was made.
    pub fn set_options(&self, room: &RoomId, wanted: &WantedOptions) -> Result<View, Refused> {
        self.change(room, |record| {
            let changed = record.options.changed(wanted, &self.limits.ceilings);
            record.set_options(changed.map_err(|_| Refused::Options)?);
            Ok(record.view())
        })
    }

    /// Turns the record into a tombstone that keeps the room from being made again until its time
    /// to live is over.
    pub fn close(&self, room: &RoomId) -> Result<(), Refused> {
        self.change(room, |record| {
            record.closed = true;
            Ok(())
        })
    }

    /// Notes that somebody is in the room.
    pub fn occupied(&self, room: &RoomId) {
        self.set_empty_since(room, None);
    }

    /// Notes that the last member left: the idle time begins.
    pub fn emptied(&self, room: &RoomId, now: Instant) {
        self.set_empty_since(room, Some(now));
    }

    /// Forgets the records whose end has come, and returns their names. At most [`EXPIRED_AT_ONCE_MAX`] are
    /// looked at, so that the lock is short; the rest comes with the next call.
    pub fn expire(&self, now: Instant) -> Vec<RoomId> {
        let mut kept = self.lock();
        let mut ended = Vec::new();
        for _ in 0..EXPIRED_AT_ONCE_MAX {
            let Some((_, room)) = kept.endings.first().copied().filter(|(at, _)| *at <= now) else {
                break;
            };
            let record = kept.records.get(&room);
            if record.is_some_and(|record| record.ends_at(self.limits.ends_idle) > now) {
                kept.look_at_end(&room, self.limits.ends_idle);
            } else {
                kept.remove(&room);
                ended.push(room);
            }
        }
        if !ended.is_empty() {
            let room_for = kept.records.len() * 2;
            kept.records.shrink_to(room_for);
        }
        ended
    }

    /// How many records are kept, tombstones included.
    pub fn len(&self) -> usize {
        self.lock().records.len()
    }

    /// Whether none is kept.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether no further room can be made.
    pub fn is_full(&self) -> bool {
        self.len() >= self.limits.rooms_max
    }

    fn set_empty_since(&self, room: &RoomId, empty_since: Option<Instant>) {
        let mut kept = self.lock();
        let version = kept.change(room, self.limits.ends_idle, |record| {
            record.empty_since = empty_since;
            record.version
        });
        if version.is_some_and(|version| version > 0) {
            // At the next sweep: whoever keeps the record counts its idle time from there.
            kept.schedule(room, Some(Instant::START));
        }
    }

    /// Changes a record that is not a tombstone.
    fn change<T>(
        &self,
        room: &RoomId,
        change: impl FnOnce(&mut Record) -> Result<T, Refused>,
    ) -> Result<T, Refused> {
        let mut kept = self.lock();
        let unless_closed = |record: &mut Record| {
            if record.closed { Err(Refused::Closed) } else { change(record) }
        };
        let changed = kept.change(room, self.limits.ends_idle, unless_closed);
        changed.unwrap_or(Err(Refused::Unknown))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    /// Changes a record, and sees to it that its end is not missed. `None` if there is no record.
    fn change<T>(
        &mut self,
        room: &RoomId,
        ends_idle: bool,
        change: impl FnOnce(&mut Record) -> T,
    ) -> Option<T> {
        let record = self.records.get_mut(room)?;
        let changed = change(record);
        if record.ends_at(ends_idle) < record.looked_at {
            self.look_at_end(room, ends_idle);
        }
        Some(changed)
    }

    /// Puts a record's entry in the queue of endings at its end.
    fn look_at_end(&mut self, room: &RoomId, ends_idle: bool) {
        let Some(record) = self.records.get_mut(room) else { return };
        let ends_at = record.ends_at(ends_idle);
        let before = std::mem::replace(&mut record.looked_at, ends_at);
        self.endings.remove(&(before, *room));
        self.endings.insert((ends_at, *room));
    }

    /// Removes a record and its entries.
    fn remove(&mut self, room: &RoomId) {
        self.schedule(room, None);
        if let Some(record) = self.records.remove(room) {
            self.endings.remove(&(record.looked_at, *room));
        }
    }
}

impl Record {
    fn ends_at(&self, ends_idle: bool) -> Instant {
        let lives_until = self.expires_at;
        match self.empty_since {
            Some(since) if ends_idle && !self.locked && !self.closed => {
                lives_until.min(since.after(Duration::from_secs(self.options.idle_s.into())))
            }
            _ => lives_until,
        }
    }

    /// Changes the options; the time to live counts from when the room was made.
    fn set_options(&mut self, options: RoomOptions) {
        let seconds = |count: u32| Duration::from_secs(count.into());
        let ends = self.expires_at.since(Instant::START) + seconds(options.ttl_s);
        let ends = ends.saturating_sub(seconds(self.options.ttl_s));
        self.expires_at = Instant::START.after(ends);
        self.options = options;
    }

    fn view(&self) -> View {
        View {
            options: self.options,
            locked: self.locked,
            closed: self.closed,
            expires_at: self.expires_at,
        }
    }
}

/// Stands in where there is no owner, so that the same hashing is done.
const NOBODY: OwnerHash = OwnerHash::from_bytes([0; OwnerHash::LEN]);

/// About a millisecond of work under the lock.
pub const EXPIRED_AT_ONCE_MAX: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::admission::{PaddingPolicy, room_id};
    use crate::core::secret::Secret32;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    const MOST: RoomOptions =
        RoomOptions { ttl_s: 1000, idle_s: 100, members_max: 8, padding: PaddingPolicy::Off };

    fn at(seconds: u64) -> Instant {
        Instant::START.after(Duration::from_secs(seconds))
    }

    fn records(rooms_max: usize) -> Records {
        Records::new(RecordLimits { rooms_max, ceilings: MOST, ends_idle: true })
    }

    fn key(n: u8) -> AdmissionKey {
        AdmissionKey::new(Secret32::new([n; 32]))
    }

    fn secret(n: u8) -> OwnerSecret {
        OwnerSecret::new(Secret32::new([n; 32]))
    }

    /// The room of key `n`, owned by whoever has secret `n`.
    fn room(n: u8) -> RoomId {
        room_id(&key(n), &owner_hash(&secret(n)))
    }

    fn create(records: &Records, n: u8, now: Instant) -> Result<Made, Refused> {
        records.create(&room(n), owner_hash(&secret(n)), MOST, now)
    }

    #[test]
    fn only_the_key_opens_and_only_the_owner_rules() {
        let records = records(10);
        assert_eq!(create(&records, 1, at(0)), Ok(Made { new: true }));
        assert_eq!(create(&records, 1, at(5)), Ok(Made { new: false }));
        assert!(records.authorize(&room(1), &key(1)).is_some());
        assert!(records.authorize(&room(1), &key(2)).is_none());
        assert!(records.authorize(&room(2), &key(2)).is_none(), "never made");
        assert!(records.owner_matches(&room(1), &secret(1)));
        assert!(!records.owner_matches(&room(1), &secret(2)));
        assert!(!records.owner_matches(&room(2), &secret(2)), "never made");
    }

    #[test]
    fn a_room_without_an_owner_obeys_nobody_until_its_certificate_is_shown() {
        let records = records(10);
        assert_eq!(records.create(&room(1), None, MOST, at(0)), Ok(Made { new: true }));
        assert!(!records.owner_matches(&room(1), &secret(1)));
        assert!(records.authorize(&room(1), &key(1)).is_none());
        assert_eq!(create(&records, 1, at(0)), Ok(Made { new: false }));
        assert!(records.owner_matches(&room(1), &secret(1)));
        assert!(records.authorize(&room(1), &key(1)).is_some());
        let other = owner_hash(&secret(2));
        assert_eq!(records.create(&room(1), other, MOST, at(0)), Ok(Made { new: false }));
        assert!(!records.owner_matches(&room(1), &secret(2)), "the first owner stays");
    }

    #[test]
    fn a_closed_room_stays_closed_until_its_time_to_live_would_have_ended() {
        let records = records(10);
        assert_eq!(records.close(&room(1)), Err(Refused::Unknown));
        create(&records, 1, at(0)).unwrap();
        assert_eq!(records.close(&room(1)), Ok(()));
        assert_eq!(create(&records, 1, at(1)), Err(Refused::Closed));
        assert_eq!(records.set_locked(&room(1), true, at(1)), Err(Refused::Closed));
        assert_eq!(records.close(&room(1)), Err(Refused::Closed));
        assert!(records.view(&room(1)).unwrap().closed);
        assert!(records.expire(at(999)).is_empty(), "a tombstone does not idle out");
        assert_eq!(records.expire(at(1000)).len(), 1);
        assert_eq!(create(&records, 1, at(1000)), Ok(Made { new: true }));
    }

    #[test]
    fn a_locked_room_does_not_idle_out_and_an_unlocked_one_idles_anew() {
        let records = records(10);
        create(&records, 1, at(0)).unwrap();
        records.set_locked(&room(1), true, at(0)).unwrap();
        assert!(records.expire(at(500)).is_empty());
        records.set_locked(&room(1), false, at(500)).unwrap();
        assert!(records.expire(at(599)).is_empty());
        assert!(records.expire(at(600)) == [room(1)]);
    }

    #[test]
    fn shorter_options_end_a_room_sooner() {
        let records = records(10);
        create(&records, 1, at(0)).unwrap();
        let shorter = |ttl_s, idle_s| WantedOptions { ttl_s, idle_s, ..WantedOptions::default() };
        records.set_options(&room(1), &shorter(None, Some(10))).unwrap();
        let too_long = records.set_options(&room(1), &shorter(Some(1001), None));
        assert_eq!(too_long, Err(Refused::Options));
        assert!(records.expire(at(9)).is_empty());
        records.occupied(&room(1));
        assert!(records.expire(at(10)).is_empty(), "somebody is there");
        let view = records.set_options(&room(1), &shorter(Some(20), None)).unwrap();
        assert_eq!(view.expires_at, at(20));
        assert!(records.expire(at(20)) == [room(1)], "the time to live ends it all the same");
        assert_eq!(records.set_options(&room(1), &shorter(None, None)), Err(Refused::Unknown));
    }

    #[test]
    fn without_idle_ending_a_room_lives_for_its_whole_time() {
        let limits = RecordLimits { rooms_max: 1, ceilings: MOST, ends_idle: false };
        let records = Records::new(limits);
        create(&records, 1, at(0)).unwrap();
        assert!(!records.is_empty() && records.is_full());
        assert!(records.expire(at(999)).is_empty());
        assert_eq!(records.expire(at(1000)).len(), 1);
    }

    #[test]
    fn so_many_rooms_and_no_more() {
        let records = records(2);
        create(&records, 1, at(0)).unwrap();
        create(&records, 2, at(0)).unwrap();
        assert_eq!(create(&records, 3, at(0)), Err(Refused::Full));
        assert_eq!(create(&records, 2, at(0)), Ok(Made { new: false }));
        assert_eq!(records.expire(at(100)).len(), 2);
        assert_eq!(create(&records, 3, at(100)), Ok(Made { new: true }));
    }

    #[derive(Clone, Debug)]
    enum Step {
        Create(u8),
        Occupied(u8),
        Emptied(u8),
        Lock(u8, bool),
        Close(u8),
        Options(u8, u32, u32),
        Wait(u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        let n = || 0..4_u8;
        prop_oneof![
            n().prop_map(Step::Create),
            n().prop_map(Step::Occupied),
            n().prop_map(Step::Emptied),
            (n(), any::<bool>()).prop_map(|(n, locked)| Step::Lock(n, locked)),
            n().prop_map(Step::Close),
            (n(), 1..1000_u32, 1..100_u32).prop_map(|(n, ttl, idle)| Step::Options(n, ttl, idle)),
            (0..120_u64).prop_map(Step::Wait),
        ]
    }

    /// A record as one would write it down on paper.
    #[derive(Clone, Copy)]
    struct Paper {
        made: u64,
        ttl: u64,
        idle: u64,
        empty_since: Option<u64>,
        locked: bool,
        closed: bool,
    }

    impl Paper {
        fn is_over(&self, now: u64) -> bool {
            let idles = !self.locked && !self.closed;
            let idle = self.empty_since.is_some_and(|since| now >= since + self.idle);
            now >= self.made + self.ttl || idles && idle
        }
    }

    proptest! {
        /// The life cycle against a model that looks at every record every time.
        #[test]
        fn records_live_as_the_model_says(history in prop::collection::vec(step(), 0..120)) {
            let records = records(3);
            let mut model = BTreeMap::<u8, Paper>::new();
            let mut now = 0_u64;
            for step in history {
                match step {
                    Step::Create(n) => {
                        let expected = match model.get(&n) {
                            Some(paper) if paper.closed => Err(Refused::Closed),
                            Some(_) => Ok(Made { new: false }),
                            None if model.len() == 3 => Err(Refused::Full),
                            None => Ok(Made { new: true }),
                        };
                        prop_assert_eq!(create(&records, n, at(now)), expected);
                        if expected == Ok(Made { new: true }) {
                            let (locked, closed, empty_since) = (false, false, Some(now));
                            let (ttl, idle) = (1000, 100);
                            let paper =
                                Paper { made: now, ttl, idle, empty_since, locked, closed };
                            model.insert(n, paper);
                        }
                    }
                    Step::Occupied(n) => {
                        records.occupied(&room(n));
                        if let Some(paper) = model.get_mut(&n) { paper.empty_since = None }
                    }
                    Step::Emptied(n) => {
                        records.emptied(&room(n), at(now));
                        if let Some(paper) = model.get_mut(&n) { paper.empty_since = Some(now) }
                    }
                    Step::Lock(n, locked) => {
                        let open = model.get_mut(&n).filter(|paper| !paper.closed);
                        let done = records.set_locked(&room(n), locked, at(now));
                        prop_assert_eq!(done.is_ok(), open.is_some());
                        if let Some(paper) = open {
                            paper.locked = locked;
                            paper.empty_since = paper.empty_since.map(|_| now);
                        }
                    }
                    Step::Close(n) => {
                        let open = model.get_mut(&n).filter(|paper| !paper.closed);
                        prop_assert_eq!(records.close(&room(n)).is_ok(), open.is_some());
                        if let Some(paper) = open { paper.closed = true }
                    }
                    Step::Options(n, ttl, idle) => {
                        let open = model.get_mut(&n).filter(|paper| !paper.closed);
                        let wanted = WantedOptions {
                            ttl_s: Some(ttl), idle_s: Some(idle), ..WantedOptions::default()
                        };
                        let done = records.set_options(&room(n), &wanted);
                        prop_assert_eq!(done.is_ok(), open.is_some());
                        if let Some(paper) = open {
                            (paper.ttl, paper.idle) = (ttl.into(), idle.into());
                        }
                    }
                    Step::Wait(seconds) => now += seconds,
                }
                let ended: Vec<_> = records.expire(at(now));
                let over: Vec<_> =
                    model.iter().filter(|(_, paper)| paper.is_over(now)).map(|(n, _)| *n).collect();
                prop_assert_eq!(ended.len(), over.len());
                for n in over {
                    prop_assert!(ended.contains(&room(n)));
                    model.remove(&n);
                }
                prop_assert_eq!(records.len(), model.len());
                prop_assert_eq!(records.lock().endings.len(), model.len(), "one entry per record");
                for (n, paper) in &model {
                    let view = records.view(&room(*n)).expect("as in the model");
                    prop_assert_eq!((view.locked, view.closed), (paper.locked, paper.closed));
                    prop_assert_eq!(view.expires_at, at(paper.made + paper.ttl));
                }
            }
        }
    }
}
