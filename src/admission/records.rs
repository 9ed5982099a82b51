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
mod tests;
