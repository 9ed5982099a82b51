//! The rooms on this node: seats, order, fan-out, owner operations, drain.
//!
//! A room exists here while it has members or handshakes that are promised a seat; what is known of
//! it between (options, lock, tombstone) is `admission::records`. Joining gives a [`Seat`], a guard:
//! dropping it leaves, so that there is no way to hold a place and forget it. `room` has the fan-out,
//! `log` the order, `batch` what a room has to say, `session` the table of connections.

mod batch;
mod errands;
mod log;
mod outgoing;
mod parcel;
mod random;
mod replica;
mod room;
mod seat;
mod session;
mod shared;
mod tally;
#[cfg(test)]
mod tests;
mod turnstile;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use dashmap::DashMap;
use tokio::net::TcpStream;

use crate::admission::records::{Records, View};
use crate::bus::Bus;
use crate::config::Config;
use crate::core::close::Close;
use crate::core::id::{Epoch, MemberId, RoomId};
use crate::core::limit::{Instant, Limit};
use crate::core::token::Cap;
use crate::core::wire::{self, OwnerOp, Refused, Terms, Welcome, WelcomeLimits};
use crate::metrics::{Count, Metrics, RoomOperation};
use crate::outbox::{Bounds, Outbox};
use errands::Errands;
use log::FanoutLimits;
use random::Random;
use room::{Common, Room};
use session::{Periods, Sessions};

pub use errands::Errand;
pub use log::Unsent;
pub use parcel::Message;
pub use seat::{Connected, Door, Reservation, Seat};
pub use session::{Session, Sweep};

/// All rooms and connections of this node.
pub struct Hub {
    config: Arc<Config>,
    /// What every welcome says.
    terms: Terms,
    metrics: Arc<Metrics>,
    records: Arc<Records>,
    rooms: DashMap<RoomId, Arc<Room>>,
    /// What all rooms share.
    common: Arc<Common>,
    sessions: Arc<Sessions>,
    random: Mutex<Random>,
    draining: AtomicBool,
    /// When the last step of the drain was.
    drained_at: Mutex<Option<Instant>>,
}

/// What fan-out is limited per.
const FANOUT_PERIOD: Duration = Duration::from_secs(10);

/// What a token allows its holder.
#[derive(Clone, Copy)]
pub struct Grant {
    /// The capabilities.
    pub cap: Cap,
    /// How long the session may last, in seconds from its handshake.
    pub session_s: Option<u32>,
}

impl Hub {
    /// Creates a hub without rooms, whose rooms are on this node alone.
    pub fn new(config: Arc<Config>, metrics: Arc<Metrics>, records: Arc<Records>) -> Arc<Self> {
        Self::with(config, metrics, records, None)
    }

    /// Creates a hub without rooms, whose rooms are shared with other nodes over this bus if there is
    /// one; so many bytes may wait for it in each.
    pub fn with(
        config: Arc<Config>,
        metrics: Arc<Metrics>,
        records: Arc<Records>,
        bus: Option<(Arc<Bus>, usize)>,
    ) -> Arc<Self> {
        let heartbeat = &config.heartbeat;
        let periods = Periods {
            ping: heartbeat.ping_interval(),
            misses: u8::try_from(heartbeat.misses).unwrap_or(u8::MAX),
            stall: config.limit.write_stall(),
            age: config.limit.outbox_age(),
            close: heartbeat.close_timeout(),
        };
        let limit = &config.limit;
        let bounds = Bounds::new(
            limit.outbox_bytes as usize,
            limit.outbox_frames as usize,
            usize::try_from(limit.buffered_bytes).unwrap_or(usize::MAX),
        );
        let sessions = Arc::new(Sessions::new(periods, bounds));
        metrics.watch_queues(Arc::clone(sessions.bounds()));
        let common = Arc::new(Common {
            sessions: Arc::clone(&sessions),
            metrics: Arc::clone(&metrics),
            batch_bytes: config.room.batch_bytes as usize,
            fanout: FanoutLimits {
                sender: Limit::new(limit.fanout_bytes_per_10s, FANOUT_PERIOD),
                room: Limit::new(limit.room_fanout_bytes_per_10s, FANOUT_PERIOD),
            },
            errands: Errands::default(),
            bus,
        });
        Arc::new(Self {
            terms: terms(&config),
            config,
            metrics,
            records,
            rooms: DashMap::new(),
            common,
            sessions,
            random: Mutex::new(Random::new()),
            draining: AtomicBool::new(false),
            drained_at: Mutex::new(None),
        })
    }

    /// Makes sure, before [`Hub::reserve`], that a room is attached to the bus. The door is kept until
    /// a seat is promised. Without a bus there is nothing to do.
    ///
    /// # Errors
    ///
    /// `Overload` if the bus is down.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future lets the room go.
    pub async fn enter(self: &Arc<Self>, room: &RoomId) -> Result<Option<Door>, Close> {
        if self.common.bus.is_none() {
            return Ok(None);
        }
        let door = self.door(room);
        match door.room().shared() {
            Some(shared) => shared.attach().await.map_err(|_| Close::Overload)?,
            None => return Ok(None),
        }
        Ok(Some(door))
    }

    /// The door of a room that is attached already: whatever changes in its record from now on is heard here.
    pub fn enter_if_attached(self: &Arc<Self>, room: &RoomId) -> Option<Door> {
        let room = self.rooms.get(room)?;
        let shared = room.shared().filter(|shared| shared.is_attached())?;
        shared.hold();
        Some(Door::new(Arc::clone(self), Arc::clone(&room)))
    }

    fn door(self: &Arc<Self>, room: &RoomId) -> Door {
        let entry = self.rooms.entry(*room).or_insert_with(|| self.open(room));
        if let Some(shared) = entry.shared() {
            shared.hold();
        }
        Door::new(Arc::clone(self), Arc::clone(&entry))
    }

    fn open(&self, room: &RoomId) -> Arc<Room> {
        self.records.occupied(room);
        self.metrics.add(Count::RoomsOpened, 1);
        Room::new(*room, Arc::clone(&self.common))
    }

    /// Promises a seat to a handshake, before it is answered. With a bus [`Hub::enter`] comes first.
    ///
    /// # Errors
    ///
    /// `Overload` if the bus is down, `Restart` while draining, `TokenInvalid` for a room that is not here (a fresh token comes
    /// with restoring it), `RoomClosed`, `RoomLocked` unless the grant is an owner's, `RoomFull`.
    pub fn reserve(self: &Arc<Self>, room: &RoomId, grant: Grant) -> Result<Reservation, Close> {
        if self.is_draining() {
            return Err(Close::Restart);
        }
        // The entry's lock is held from before the record is looked at until the seat is promised: nobody
        // opens a room once it is closed, and none is retired between being found and being entered.
        let entry = self.rooms.entry(*room);
        let view = self.records.view(room).ok_or(Close::TokenInvalid)?;
        if view.closed {
            return Err(Close::RoomClosed);
        }
        if view.locked && !grant.cap.contains(Cap::OWNER) {
            return Err(Close::RoomLocked);
        }
        let entry = entry.or_insert_with(|| self.open(room));
        entry.reserve(view.options.members_max)?;
        let room = Arc::clone(&entry);
        drop(entry);
        Ok(Reservation::new(Arc::clone(self), room, grant))
    }

    /// Enters an upgraded socket into the table of connections. `answer` is written in front of
    /// everything else; `session_s` is how long it may last.
    pub fn connect(
        self: &Arc<Self>,
        stream: TcpStream,
        answer: Vec<u8>,
        session_s: Option<u32>,
        now: Instant,
    ) -> Connected {
        let bounds = Arc::clone(self.sessions.bounds());
        let session = Arc::new(Session::new(Outbox::behind(answer, stream, bounds, now)));
        let ends_at = session_s.map(|s| now.after(Duration::from_secs(u64::from(s))));
        let entered = self.sessions.enter(Arc::clone(&session), ends_at, &mut self.random(), now);
        Connected::new(Arc::clone(self), session, entered)
    }

    /// Whether so much waits for slow members that new ones had better come later: three quarters
    /// of what may. Above all of it, those with the most waiting are closed.
    pub fn is_short_of_memory(&self) -> bool {
        let (queued, limit) = self.queued_bytes();
        queued >= limit
    }

    /// How many bytes wait for slow members, and from how many on new ones had better come later.
    pub fn queued_bytes(&self) -> (usize, usize) {
        let bounds = self.sessions.bounds();
        (bounds.queued(), bounds.bytes_in_all.div_ceil(4).saturating_mul(3))
    }

    /// How many members a room has on this node.
    pub fn members(&self, room: &RoomId) -> usize {
        self.room(room).map_or(0, |room| room.members())
    }

    /// Whether a room would take nobody now.
    pub fn room_full(&self, room: &RoomId) -> bool {
        let Some(view) = self.records.view(room) else { return false };
        let taken = self.room(room).map_or(0, |room| room.taken());
        taken >= view.options.members_max as usize
    }

    /// Does what an owner asked for; the caller has checked that it is the owner.
    ///
    /// # Errors
    ///
    /// `NoSuchMember` when there is nobody to kick.
    pub fn act(
        &self,
        room: &RoomId,
        op: OwnerOp,
        member: Option<MemberId>,
        now: Instant,
    ) -> Result<(), Refused> {
        match op {
            OwnerOp::Close => self.close_room(room, now),
            OwnerOp::Lock => self.set_locked(room, true, now),
            OwnerOp::Unlock => self.set_locked(room, false, now),
            OwnerOp::Kick => {
                if !member.is_some_and(|member| self.kick(room, member, now)) {
                    return Err(Refused::NoSuchMember);
                }
            }
        }
        Ok(())
    }

    /// Ends a room for everybody and keeps it from being made again until its time is over.
    pub fn close_room(&self, room: &RoomId, now: Instant) {
        if self.records.close(room).is_ok() {
            self.metrics.add(Count::RoomsClosed, 1);
            self.metrics.room_did(RoomOperation::Close);
        }
        self.end_room(room, now);
    }

    /// Keeps new members out, or lets them in again, and tells the members.
    pub fn set_locked(&self, room: &RoomId, locked: bool, now: Instant) {
        if self.records.set_locked(room, locked, now).is_ok() {
            self.options_changed(room, now);
        }
    }

    /// Removes a member; false if it is not there.
    pub fn kick(&self, room: &RoomId, member: MemberId, now: Instant) -> bool {
        self.room(room).is_some_and(|room| room.kick(member, now))
    }

    /// The next thing that a shared room needs done by somebody who may wait; for one task of the
    /// server, which tells the members with [`Hub::options_changed`] or [`Hub::end_here`].
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing.
    pub async fn next_errand(&self) -> Errand {
        self.common.errands.next().await
    }

    /// Whether a room's record says that it is not closed; `None` without a record.
    pub fn is_open(&self, room: &RoomId) -> Option<bool> {
        self.records.view(room).map(|view| !view.closed)
    }

    /// Ends a room for the members of this node: its record is closed or gone.
    pub fn end_here(&self, room: &RoomId, now: Instant) {
        self.end_room(room, now);
    }

    /// Tells the members how their room is now.
    pub fn options_changed(&self, room: &RoomId, now: Instant) {
        if let (Some(room), Some(view)) = (self.room(room), self.records.view(room)) {
            room.tell(&wire::room(view.locked, ttl_s(&view, now)), now);
        }
    }

    /// One step of what time does, to be begun once a second: heartbeats, stalled sockets, sessions and rooms
    /// whose time is over. Returns whether there is more of it, before which others have their turn.
    #[must_use = "what time does is done when there is no more of it"]
    pub fn sweep(&self, at: &mut Sweep, now: Instant) -> bool {
        if self.sessions.sweep(at, &mut self.random(), &self.metrics, now) {
            return true;
        }
        for room in self.records.expire(now) {
            self.metrics.add(Count::RecordsExpired, 1);
            self.metrics.room_did(RoomOperation::Expire);
            self.end_room(&room, now);
        }
        if self.common.bus.is_some() {
            self.tend_shared(now);
        }
        false
    }

    fn tend_shared(&self, now: Instant) {
        let mut vacant = Vec::new();
        for room in &self.rooms {
            if room.is_vacant() {
                vacant.push(Arc::clone(&room));
            } else if let Some(shared) = room.shared() {
                room.tend(shared, now);
            }
        }
        for room in vacant {
            self.retire(&room, now);
        }
    }

    /// Lets nobody in any more; [`Hub::drain_step`] does the rest.
    pub fn start_drain(&self, now: Instant) {
        self.draining.store(true, Ordering::Relaxed);
        *self.drained_at.lock().unwrap_or_else(PoisonError::into_inner) = Some(now);
    }

    /// One step of the drain: tells as many members to reconnect as the configured rate gives since
    /// the last step, each after another time, and closes those that were told a second ago.
    pub fn drain_step(&self, now: Instant) {
        let rate = u64::from(self.config.server.drain_rate_per_s).max(1);
        let mut drained_at = self.drained_at.lock().unwrap_or_else(PoisonError::into_inner);
        let since = drained_at.replace(now).map_or(Duration::ZERO, |at| now.since(at));
        let budget = rate.saturating_mul(u64::try_from(since.as_millis()).unwrap_or(0)) / 1000;
        let spread = Duration::from_secs(1 + self.connections() as u64 / rate);
        self.sessions.drain(budget.max(1), spread, &mut self.random(), now);
    }

    /// Whether [`Hub::start_drain`] was called.
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// How many upgraded connections there are.
    pub fn connections(&self) -> usize {
        self.sessions.count()
    }

    /// The configuration that all connections share.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The counters.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    fn room(&self, room: &RoomId) -> Option<Arc<Room>> {
        self.rooms.get(room).map(|entry| Arc::clone(&entry))
    }

    /// A room as its record has it; without one it is about to end.
    fn view(&self, room: &RoomId, now: Instant) -> View {
        let ending = || View {
            options: *self.records.ceilings(),
            locked: true,
            closed: true,
            expires_at: now,
        };
        self.records.view(room).unwrap_or_else(ending)
    }

    fn end_room(&self, room: &RoomId, now: Instant) {
        if let Some((_, room)) = self.rooms.remove(room) {
            room.end(now);
            if let Some(shared) = room.shared() {
                shared.detach();
            }
        }
    }

    /// Forgets a room that has nobody in it and nobody on the way.
    fn retire(&self, room: &Arc<Room>, now: Instant) {
        self.rooms.remove_if(&room.id, |_, here| {
            let is_vacant = Arc::ptr_eq(here, room) && here.is_vacant();
            if is_vacant {
                // Under the entry's lock, as its counterpart is: the next one may be at the door.
                self.records.emptied(&room.id, now);
                if let Some(shared) = here.shared() {
                    shared.detach();
                }
            }
            is_vacant
        });
    }

    fn random(&self) -> MutexGuard<'_, Random> {
        self.random.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a newcomer is told.
    #[expect(clippy::too_many_arguments, reason = "a welcome has many parts, from two places")]
    fn welcome(
        &self,
        member: MemberId,
        epoch: Epoch,
        seq: u64,
        members: &mut dyn Iterator<Item = MemberId>,
        cap: Cap,
        view: &View,
        now: Instant,
    ) -> Vec<u8> {
        Welcome {
            member,
            epoch,
            seq,
            members,
            cap,
            locked: view.locked,
            ttl_s: ttl_s(view, now),
            terms: &self.terms,
            members_max: view.options.members_max,
            padding_policy: view.options.padding,
        }
        .encode()
    }
}

/// What every welcome says.
fn terms(config: &Config) -> Terms {
    let limit = &config.limit;
    let limits = WelcomeLimits {
        payload_bytes: limit.payload_bytes,
        messages: (u64::from(limit.messages_per_10s), 10),
        bytes: (u64::from(limit.bytes_per_10s), 10),
        fanout: (limit.fanout_bytes_per_10s, 10),
        heartbeat_s: config.heartbeat.ping_interval_ms.div_ceil(1000),
    };
    Terms::new(&limits, &config.room.padding)
}

/// How long the room will live, in whole seconds.
const fn ttl_s(view: &View, now: Instant) -> u64 {
    view.expires_at.since(now).as_secs()
}
