//! Where the entries are: a bounded table that forgets what it can do best without.
//!
//! Entries stay at one place as long as they have connections, so that a connection's end finds its
//! own; the maps from keys to places are per salt. The generation before stays for as long as a
//! salt lives, and an address that comes again meanwhile moves to the current one with all that it
//! used. What does not come again is forgotten with its salt.
//!
//! A full table never refuses because of what others used: of a few entries, picked by the new
//! key's own hash, the one goes that would have been forgotten soonest. Entries with connections
//! never go. So a million addresses that ask once each push out each other, not those who are here.

use std::collections::HashMap;
use std::net::IpAddr;

use slab::Slab;

use super::entry::{Entry, Quota, Refused};
use super::limits::{AddressLimits, Ceilings};
use super::prefix::{Key, Salt, Width};
use crate::core::limit::Instant;

/// Where the entries of an address are, one per width; [`NOWHERE`] where it has none.
pub(super) type Places = [u32; Width::COUNT];

/// No place.
pub(super) const NOWHERE: u32 = u32::MAX;

/// All entries.
pub(super) struct Table {
    slots: Slab<Slot>,
    current: Generation,
    previous: Option<Generation>,
    /// Where the sweep goes on.
    hand: usize,
}

struct Slot {
    entry: Entry,
    key: Key,
    /// Whether it has connections and no key any more.
    forgotten: bool,
}

/// Everything under one salt.
struct Generation {
    salt: Salt,
    places: HashMap<Key, u32>,
}

impl Table {
    /// An empty table with a random salt.
    pub(super) fn new() -> Result<Self, getrandom::Error> {
        let current = Generation::new()?;
        Ok(Self { slots: Slab::new(), current, previous: None, hand: 0 })
    }

    /// Does something to the entries of an address: to all of them, or to none if one refuses.
    pub(super) fn apply(
        &mut self,
        ip: IpAddr,
        limits: &AddressLimits,
        now: Instant,
        act: impl Fn(&mut Entry, &Ceilings) -> Result<(), Refused>,
    ) -> Result<Places, Refused> {
        let mut places = [NOWHERE; Width::COUNT];
        let mut changed = [Entry::default(); Width::COUNT];
        let widths = Width::all_of(ip);
        for (nth, width) in widths.iter().enumerate() {
            let place = self.place(ip, *width, &places, limits, now)?;
            let mut entry = self.slots.get(place as usize).map_or_else(Entry::default, |s| s.entry);
            act(&mut entry, limits.of(*width))?;
            if let (Some(at), Some(to)) = (places.get_mut(nth), changed.get_mut(nth)) {
                (*at, *to) = (place, entry);
            }
        }
        self.put(&places, changed);
        Ok(places)
    }

    /// The same to the entries of a connection, which need not be looked for.
    pub(super) fn apply_at(
        &mut self,
        places: &Places,
        limits: &AddressLimits,
        act: impl Fn(&mut Entry, &Ceilings) -> Result<(), Refused>,
    ) -> Result<(), Refused> {
        let mut changed = [Entry::default(); Width::COUNT];
        for ((place, width), entry) in places.iter().zip(widths(places)).zip(&mut changed) {
            let Some(slot) = self.slots.get(*place as usize) else { continue };
            *entry = slot.entry;
            act(entry, limits.of(*width))?;
        }
        self.put(places, changed);
        Ok(())
    }

    /// Does something to each entry of an address that there is a place for.
    pub(super) fn each(
        &mut self,
        ip: IpAddr,
        limits: &AddressLimits,
        now: Instant,
        mut act: impl FnMut(&mut Entry, &Ceilings),
    ) -> Result<(), Refused> {
        let mut places = [NOWHERE; Width::COUNT];
        for (at, width) in (0..).zip(Width::all_of(ip)) {
            let place = self.place(ip, *width, &places, limits, now)?;
            if let Some(slot) = self.slots.get_mut(place as usize) {
                act(&mut slot.entry, limits.of(*width));
            }
            if let Some(kept) = places.get_mut::<usize>(at) {
                *kept = place;
            }
        }
        Ok(())
    }

    /// Does something to the entries of a connection.
    pub(super) fn at(&mut self, places: &Places, mut act: impl FnMut(&mut Entry, Width)) {
        for (place, width) in places.iter().zip(widths(places)) {
            let Some(slot) = self.slots.get_mut(*place as usize) else { continue };
            act(&mut slot.entry, *width);
            if slot.forgotten && !slot.entry.is_connected() {
                self.slots.remove(*place as usize);
            }
        }
    }

    /// Begins a new generation and forgets the one before the last.
    pub(super) fn rotate(&mut self) -> Result<(), getrandom::Error> {
        let fresh = Generation::new()?;
        let last = std::mem::replace(&mut self.current, fresh);
        let Some(oldest) = self.previous.replace(last) else { return Ok(()) };
        for place in oldest.places.into_values() {
            let Some(slot) = self.slots.get_mut(place as usize) else { continue };
            if slot.entry.is_connected() {
                slot.forgotten = true;
            } else {
                self.slots.remove(place as usize);
            }
        }
        Ok(())
    }

    /// Looks at some more entries and drops those that have nothing left to limit.
    pub(super) fn sweep(&mut self, limits: &AddressLimits, now: Instant) {
        let end = self.hand.saturating_add(SWEPT_AT_ONCE).min(self.slots.capacity());
        for place in self.hand..end {
            let idle = self
                .slots
                .get(place)
                .is_some_and(|slot| !slot.forgotten && slot.entry.is_idle(&limits.ladder, now));
            if idle {
                self.remove(place);
            }
        }
        self.hand = end;
        if end == self.slots.capacity() {
            self.hand = 0;
            self.shrink();
        }
    }

    /// How many entries there are.
    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    /// Where the entry of a prefix is. Makes one if need be, and room for it, but not where `kept`
    /// are.
    fn place(
        &mut self,
        ip: IpAddr,
        width: Width,
        kept: &Places,
        limits: &AddressLimits,
        now: Instant,
    ) -> Result<u32, Refused> {
        let key = self.current.salt.key(ip, width);
        if let Some(place) = self.current.places.get(&key) {
            return Ok(*place);
        }
        if let Some(previous) = &mut self.previous
            && let Some(place) = previous.places.remove(&previous.salt.key(ip, width))
            && let Some(slot) = self.slots.get_mut(place as usize)
        {
            slot.key = key;
            self.current.places.insert(key, place);
            return Ok(place);
        }
        if self.slots.len() >= limits.entries_max {
            self.make_room(key, kept, limits, now)?;
        }
        let slot = Slot { entry: Entry::default(), key, forgotten: false };
        let place = u32::try_from(self.slots.insert(slot)).unwrap_or(NOWHERE);
        self.current.places.insert(key, place);
        Ok(place)
    }

    /// Drops the entry that would be forgotten soonest, among some.
    fn make_room(
        &mut self,
        key: Key,
        kept: &Places,
        limits: &AddressLimits,
        now: Instant,
    ) -> Result<(), Refused> {
        let mut random = u64::from_be_bytes(key);
        let mut worst: Option<(Instant, usize)> = None;
        for _ in 0..SAMPLE {
            let place = next(&mut random, self.slots.len());
            let Some(slot) = self.slots.get(place) else { continue };
            let is_kept = kept.iter().any(|kept| *kept as usize == place);
            if is_kept || slot.entry.is_connected() {
                continue;
            }
            let idle_at = slot.entry.idle_at(&limits.ladder);
            if worst.is_none_or(|(soonest, _)| idle_at < soonest) {
                worst = Some((idle_at, place));
            }
            if idle_at <= now {
                break;
            }
        }
        let (_, place) = worst.ok_or_else(|| Quota::Addresses.refused())?;
        self.remove(place);
        Ok(())
    }

    fn put(&mut self, places: &Places, changed: [Entry; Width::COUNT]) {
        for (place, entry) in places.iter().zip(changed) {
            if let Some(slot) = self.slots.get_mut(*place as usize) {
                slot.entry = entry;
            }
        }
    }

    fn remove(&mut self, place: usize) {
        let Some(slot) = self.slots.try_remove(place) else { return };
        for kept in std::iter::once(&mut self.current).chain(&mut self.previous) {
            if kept.places.get(&slot.key).is_some_and(|known| *known as usize == place) {
                kept.places.remove(&slot.key);
            }
        }
    }

    fn shrink(&mut self) {
        self.slots.shrink_to_fit();
        for kept in std::iter::once(&mut self.current).chain(&mut self.previous) {
            if kept.places.capacity() / 4 > kept.places.len() {
                kept.places.shrink_to(kept.places.len() * 2);
            }
        }
    }
}

/// The widths of these entries: an address with one is narrow; three are in the order of [`Width::all_of`].
const fn widths(places: &Places) -> &'static [Width] {
    match places {
        [_, NOWHERE, _] => &[Width::Narrow],
        _ => &[Width::Widest, Width::Wide, Width::Narrow],
    }
}

impl Generation {
    fn new() -> Result<Self, getrandom::Error> {
        Ok(Self { salt: Salt::new()?, places: HashMap::new() })
    }
}

/// The next of a row of places below `below`, which only whoever knows the salt could foresee.
fn next(state: &mut u64, below: usize) -> usize {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    let place = (u128::from(mixed ^ (mixed >> 31)) * below as u128) >> 64;
    usize::try_from(place).unwrap_or_default()
}

/// Entries that are looked at to make room for one. With half the table connected, a new address is
/// turned away once in four billion times.
const SAMPLE: usize = 32;

/// Entries that one sweep looks at: less than a millisecond.
const SWEPT_AT_ONCE: usize = 65_536;
