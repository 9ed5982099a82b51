//! Histories of rooms, against a model that looks at everything every time.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crate::admission::records::{Made, RecordLimits, Records, Refused, View};
use crate::config::Config;
use crate::core::admission::{
    AdmissionKey, OwnerHash, OwnerSecret, PaddingPolicy, RoomOptions, WantedOptions, owner_hash,
    room_id,
};
use crate::core::close::Close;
use crate::core::id::RoomId;
use crate::core::limit::Instant;
use crate::core::secret::Secret32;
use crate::core::token::Cap;
use crate::hub::{Grant, Hub, Reservation, Sweep};
use crate::metrics::Metrics;

/// Whatever happens to rooms in whatever order, records and seats are what the model says.
///
/// The first byte chooses between the records alone and a hub with reservations of seats; every
/// three bytes behind it are one step: what, which room, and how much.
///
/// # Panics
///
/// When the property does not hold.
pub fn rooms(data: &[u8]) {
    let Some((variant, input)) = data.split_first() else { return };
    let (steps, _) = input.as_chunks::<3>();
    let mut history = History::new(variant % 2 == 0);
    for [what, which, how] in steps.iter().take(STEPS_MAX) {
        let room = which % ROOMS;
        match what % 12 {
            0 => history.create(room, Some(room), *how),
            1 => history.create(room, None, *how),
            2 => history.create(room, Some(how % ROOMS), *how),
            3 => history.lock(room, how % 2 == 0),
            4 => history.close(room),
            5 => history.change(room, &wanted(*how)),
            6 => history.wait(u64::from(*how)),
            7 => history.prove(room, how % ROOMS),
            8 | 9 if history.hub.is_some() => history.reserve(room, how % 2 == 0),
            8 => history.occupy(room),
            9 => history.empty(room),
            10 => history.give_back(usize::from(*how)),
            _ => history.drain(*how),
        }
        history.compare();
    }
}

/// A record as one would write it down on paper.
#[derive(Clone, Copy)]
struct Paper {
    owner: Option<u8>,
    options: RoomOptions,
    made: u64,
    empty_since: Option<u64>,
    locked: bool,
    closed: bool,
}

impl Paper {
    fn is_over(&self, now: u64, ends_idle: bool) -> bool {
        let idles = ends_idle && !self.locked && !self.closed;
        let since = |since| now >= since + u64::from(self.options.idle_s);
        now >= self.made + u64::from(self.options.ttl_s)
            || idles && self.empty_since.is_some_and(since)
    }
}

/// The real thing, and the model of it.
struct History {
    records: Arc<Records>,
    /// With a hub, records do not end idle: it reads the clock when a reservation is dropped.
    hub: Option<Arc<Hub>>,
    reservations: Vec<(u8, u64, Reservation)>,
    papers: BTreeMap<u8, Paper>,
    /// How often each room was ended; what was promised before counts no more.
    endings: BTreeMap<u8, u64>,
    draining: bool,
    now: u64,
}

impl History {
    fn new(records_alone: bool) -> Self {
        let limits = RecordLimits {
            rooms_max: usize::from(ROOMS) - 1,
            ceilings: CEILINGS,
            ends_idle: records_alone,
        };
        let records = Arc::new(Records::new(limits));
        let hub = (!records_alone)
            .then(|| Hub::new(config(), Arc::new(Metrics::new()), Arc::clone(&records)));
        Self {
            records,
            hub,
            reservations: Vec::new(),
            papers: BTreeMap::new(),
            endings: BTreeMap::new(),
            draining: false,
            now: 0,
        }
    }

    fn create(&mut self, room: u8, owner: Option<u8>, how: u8) {
        let chosen = CEILINGS.changed(&wanted(how), &CEILINGS);
        let options = chosen.unwrap_or(CEILINGS);
        let full = self.papers.len() + 1 == usize::from(ROOMS);
        let expected = match self.papers.get_mut(&room) {
            Some(paper) if paper.closed => Err(Refused::Closed),
            Some(paper) => {
                paper.owner = paper.owner.or(owner);
                Ok(Made { new: false })
            }
            None if full => Err(Refused::Full),
            None => {
                let (made, empty_since) = (self.now, Some(self.now));
                let (locked, closed) = (false, false);
                let paper = Paper { owner, options, made, empty_since, locked, closed };
                self.papers.insert(room, paper);
                Ok(Made { new: true })
            }
        };
        let made = self.records.create(&name(room), owner.map(owned_by), options, at(self.now));
        assert_eq!(made, expected, "create");
    }

    /// The paper of a room that is not closed.
    fn open(&mut self, room: u8) -> Option<&mut Paper> {
        self.papers.get_mut(&room).filter(|paper| !paper.closed)
    }

    fn lock(&mut self, room: u8, locked: bool) {
        let now = self.now;
        let open = self.open(room);
        let is_open = open.is_some();
        if let Some(paper) = open {
            paper.locked = locked;
            paper.empty_since = paper.empty_since.map(|_| now);
        }
        if let Some(hub) = &self.hub {
            hub.set_locked(&name(room), locked, at(now));
        } else {
            let done = self.records.set_locked(&name(room), locked, at(now));
            assert_eq!(done.is_ok(), is_open, "lock");
        }
    }

    fn close(&mut self, room: u8) {
        let is_open = self.open(room).is_some();
        if let Some(paper) = self.papers.get_mut(&room) {
            paper.closed = true;
        }
        match &self.hub {
            Some(hub) => hub.close_room(&name(room), at(self.now)),
            None => assert_eq!(self.records.close(&name(room)).is_ok(), is_open, "close"),
        }
        *self.endings.entry(room).or_default() += 1;
    }

    fn change(&mut self, room: u8, wanted: &WantedOptions) {
        let done = self.records.set_options(&name(room), wanted);
        let changed = self.open(room).map(|paper| {
            paper.options = paper.options.changed(wanted, &CEILINGS).ok()?;
            Some(paper.options)
        });
        assert_eq!(done.ok().map(|view| view.options), changed.flatten(), "options");
    }

    fn wait(&mut self, seconds: u64) {
        self.now += seconds;
        let over = |paper: &Paper| paper.is_over(self.now, self.hub.is_none());
        let ended: Vec<u8> =
            self.papers.iter().filter(|(_, paper)| over(paper)).map(|(room, _)| *room).collect();
        if let Some(hub) = &self.hub {
            let mut sweep = Sweep::default();
            while hub.sweep(&mut sweep, at(self.now)) {}
        } else {
            let expired = self.records.expire(at(self.now));
            assert_eq!(expired.len(), ended.len(), "expire");
            assert!(ended.iter().all(|room| expired.contains(&name(*room))), "expire");
        }
        for room in ended {
            self.papers.remove(&room);
            *self.endings.entry(room).or_default() += 1;
        }
    }

    /// Shows the key and the secret of `other` for `room`.
    fn prove(&self, room: u8, other: u8) {
        let owner = self.papers.get(&room).and_then(|paper| paper.owner);
        let opens = self.records.authorize(&name(room), &key(other)).is_some();
        assert_eq!(opens, other == room && owner == Some(room), "authorize");
        let rules = self.records.owner_matches(&name(room), &secret(other));
        assert_eq!(rules, owner == Some(other), "owner_matches");
    }

    fn occupy(&mut self, room: u8) {
        self.records.occupied(&name(room));
        if let Some(paper) = self.papers.get_mut(&room) {
            paper.empty_since = None;
        }
    }

    fn empty(&mut self, room: u8) {
        self.records.emptied(&name(room), at(self.now));
        if let Some(paper) = self.papers.get_mut(&room) {
            paper.empty_since = Some(self.now);
        }
    }

    fn reserve(&mut self, room: u8, is_owner: bool) {
        let Some(hub) = &self.hub else { return };
        let cap = if is_owner { Cap::SEND.with(Cap::OWNER) } else { Cap::SEND };
        let expected = match self.papers.get(&room) {
            _ if self.draining => Some(Close::Restart),
            None => Some(Close::TokenInvalid),
            Some(paper) if paper.closed => Some(Close::RoomClosed),
            Some(paper) if paper.locked && !is_owner => Some(Close::RoomLocked),
            Some(paper) if self.taken(room) >= paper.options.members_max => Some(Close::RoomFull),
            Some(_) => None,
        };
        let ending = self.endings.get(&room).copied().unwrap_or_default();
        match hub.reserve(&name(room), Grant { cap, session_s: None }) {
            Ok(reservation) => {
                assert_eq!(expected, None, "reserved");
                self.reservations.push((room, ending, reservation));
            }
            Err(close) => assert_eq!(Some(close), expected, "refused"),
        }
    }

    /// Seats that are promised in the room as it is now.
    fn taken(&self, room: u8) -> u32 {
        let ending = self.endings.get(&room).copied().unwrap_or_default();
        let counts = |(of, when, _): &&(u8, u64, Reservation)| *of == room && *when == ending;
        u32::try_from(self.reservations.iter().filter(counts).count()).unwrap_or(u32::MAX)
    }

    fn give_back(&mut self, which: usize) {
        if let Some(index) = which.checked_rem(self.reservations.len()) {
            self.reservations.swap_remove(index);
        }
    }

    fn drain(&mut self, how: u8) {
        // Seldom, because little happens afterwards.
        if let Some(hub) = &self.hub
            && how == 255
        {
            hub.start_drain(at(self.now));
            self.draining = true;
        }
    }

    fn compare(&self) {
        assert_eq!(self.records.len(), self.papers.len(), "number of records");
        for room in 0..ROOMS {
            let paper = self.papers.get(&room);
            let expected = paper.map(|paper| {
                let expires_at = at(paper.made + u64::from(paper.options.ttl_s));
                (paper.options, paper.locked, paper.closed, expires_at)
            });
            let view = self.records.view(&name(room));
            let seen = view.map(|view| (view.options, view.locked, view.closed, view.expires_at));
            assert_eq!(seen, expected, "view");
            let is_allowed = |view: View| {
                let RoomOptions { ttl_s, idle_s, members_max, padding } = view.options;
                ttl_s <= CEILINGS.ttl_s
                    && idle_s <= CEILINGS.idle_s
                    && members_max <= CEILINGS.members_max
                    && padding >= CEILINGS.padding
            };
            assert!(view.is_none_or(is_allowed), "an option beyond what the relay allows");
            if let Some(hub) = &self.hub {
                let full = paper.is_some_and(|p| self.taken(room) >= p.options.members_max);
                assert_eq!(hub.room_full(&name(room)), full, "room_full");
                assert_eq!(hub.members(&name(room)), 0, "nobody ever sat down");
            }
        }
    }
}

/// Options to ask for: some in range, some above the ceilings, some none at all.
fn wanted(how: u8) -> WantedOptions {
    let part = |shift: u8| u32::from(how >> shift & 3);
    let pick = |part: u32, unit: u32| (part < 3).then(|| part * unit);
    WantedOptions {
        ttl_s: pick(part(0), CEILINGS.ttl_s / 2 + u32::from(how & 1)),
        idle_s: pick(part(2), CEILINGS.idle_s / 2),
        members_max: pick(part(4), CEILINGS.members_max / 2),
        padding: match part(6) {
            0 => None,
            1 => Some(PaddingPolicy::Off),
            2 => Some(PaddingPolicy::Warn),
            _ => Some(PaddingPolicy::Enforce),
        },
    }
}

fn at(seconds: u64) -> Instant {
    Instant::START.after(Duration::from_secs(seconds))
}

fn key(n: u8) -> AdmissionKey {
    AdmissionKey::new(Secret32::new([n; 32]))
}

fn secret(n: u8) -> OwnerSecret {
    OwnerSecret::new(Secret32::new([n; 32]))
}

fn owned_by(n: u8) -> OwnerHash {
    owner_hash(&secret(n))
}

/// The room of key `n`, owned by whoever has secret `n`.
fn name(n: u8) -> RoomId {
    room_id(&key(n), &owned_by(n))
}

/// Reading the built-in configuration takes longer than most histories.
fn config() -> Arc<Config> {
    static CONFIG: OnceLock<Arc<Config>> = OnceLock::new();
    Arc::clone(CONFIG.get_or_init(Arc::default))
}

const ROOMS: u8 = 4;
const STEPS_MAX: usize = 400;
const CEILINGS: RoomOptions =
    RoomOptions { ttl_s: 1000, idle_s: 100, members_max: 4, padding: PaddingPolicy::Warn };
