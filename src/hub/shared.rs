//! A room that several nodes share: between its members' sockets and the bus.
//!
//! What members want is appended to the replica's outgoing operations, and the bus is told that there
//! is something. What the bus delivers is applied to the room's log and flushed, once per delivery.
//! The replica's lock comes before the log's; neither is held while sockets are written to.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::{OnceCell, oneshot};

use crate::bus::{Attached, Batch, Bus, Delivery, Down, Refused, Standing, Topic};
use crate::clock;
use crate::core::close::Close;
use crate::core::entry::entries;
use crate::core::frame::Payload;
use crate::core::id::{MemberId, RoomId};
use crate::core::limit::Instant;
use crate::core::order::Missed;
use crate::core::wire::{ClientHead, Gone};
use crate::hub::batch::SeatIndex;
use crate::hub::log::{Charge, Duty, Unsent};
use crate::hub::replica::{BACK_WITHIN, Demand, Greeting, Joiner, Receipt, Replica};
use crate::hub::room::Room;
use crate::hub::session::Session;
use crate::metrics::{Count, LimitHit};

/// What a room has more when it is shared.
pub(super) struct Shared {
    bus: Arc<Bus>,
    me: Weak<Room>,
    replica: Mutex<Replica<Arc<Session>>>,
    attached: OnceCell<()>,
    /// Handshakes between finding the room and being promised a seat.
    holds: AtomicUsize,
}

/// When a member should come back that this node's absence has cost its place.
const COME_BACK_AFTER: Duration = Duration::from_secs(1);

impl Shared {
    pub(super) fn new(bus: Arc<Bus>, outgoing_bytes_max: usize, me: Weak<Room>) -> Self {
        let replica = Mutex::new(Replica::new(bus.node(), outgoing_bytes_max));
        Self { bus, me, replica, attached: OnceCell::new(), holds: AtomicUsize::new(0) }
    }

    pub(super) fn replica(&self) -> MutexGuard<'_, Replica<Arc<Session>>> {
        self.replica.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Attaches the room to the bus, once.
    pub(super) async fn attach(&self) -> Result<(), Down> {
        let topic = self.topic().ok_or(Down)?;
        self.attached.get_or_try_init(|| self.bus.attach(topic)).await.copied()
    }

    /// Whether it was attached.
    pub(super) fn is_attached(&self) -> bool {
        self.attached.initialized()
    }

    /// Lets go of it; the room is not used any more.
    pub(super) fn detach(&self) {
        if self.is_attached()
            && let Some(topic) = self.topic()
        {
            self.bus.detach(&topic);
        }
    }

    /// Lets the bus know that there is something to publish.
    pub(super) fn speak(&self) {
        if let Some(topic) = self.topic() {
            self.bus.speak(&topic);
        }
    }

    pub(super) fn hold(&self) {
        self.holds.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn let_go(&self) {
        self.holds.fetch_sub(1, Ordering::Relaxed);
    }

    pub(super) fn is_vacant(&self) -> bool {
        self.holds.load(Ordering::Relaxed) == 0 && self.replica().is_vacant()
    }

    fn topic(&self) -> Option<Arc<dyn Topic>> {
        self.me.upgrade().map(|room| room as Arc<dyn Topic>)
    }
}

/// The first half of sitting down in a shared room. Dropped before [`Seating::done`], it takes the
/// join back, wherever that is by then.
pub(super) struct Seating {
    room: Arc<Room>,
    member: MemberId,
    seated: oneshot::Receiver<Result<SeatIndex, Close>>,
    is_done: bool,
}

impl Seating {
    /// Publishes the join.
    pub(super) fn begin(
        room: &Arc<Room>,
        shared: &Shared,
        member: MemberId,
        session: &Arc<Session>,
        hears: bool,
        welcome: Greeting,
    ) -> Result<Self, Close> {
        let (tell, seated) = oneshot::channel();
        let joiner = Joiner { handle: Arc::clone(session), hears, welcome, seated: tell };
        // Whether or not somebody else has the duty: a handshake does not wait for it.
        let _ = shared.replica().join(member, joiner)?;
        shared.speak();
        Ok(Self { room: Arc::clone(room), member, seated, is_done: false })
    }

    /// Waits until the join came back: an answer of the bus, or the loss of its link. Seldom neither
    /// comes, because others removed the member before this node saw it.
    pub(super) async fn done(mut self) -> Result<SeatIndex, Close> {
        let answer = tokio::time::timeout(BACK_WITHIN, &mut self.seated).await;
        let Ok(Ok(seated)) = answer else { return Err(Close::Overload) };
        self.is_done = true;
        seated
    }
}

impl Drop for Seating {
    fn drop(&mut self) {
        if !self.is_done {
            self.room.give_up(self.member);
        }
    }
}

/// Of shared rooms only.
impl Room {
    /// Takes in one message, to be published. `None` if it was not accepted, because the speaker is
    /// being closed.
    pub(super) fn publish(
        &self,
        shared: &Shared,
        from: MemberId,
        head: &ClientHead,
        payload: (&Payload<'_>, usize),
        charge: Charge<'_>,
    ) -> Result<Option<Duty>, Unsent> {
        let mut replica = shared.replica();
        let log = self.log();
        let said = replica.say(&log, from, head, payload, charge);
        if matches!(said, Err(Unsent::Unavailable(_))) && !replica.is_down() {
            self.common().metrics.limit_hit(LimitHit::BusOutgoing);
        }
        said
    }

    /// Frees the member's seat, if it still has it, and publishes that it is gone.
    pub(super) fn publish_leave(&self, shared: &Shared, member: MemberId, why: Gone) -> Duty {
        let left = shared.replica().leave(&mut self.log(), member, why);
        if left.is_some() {
            self.common().metrics.add(Count::Leaves, 1);
        }
        left.unwrap_or(Duty::None)
    }

    /// What time does: the members of dead nodes are gone, and nothing is left lying.
    pub(super) fn tend(&self, shared: &Shared, now: Instant) {
        let mut replica = shared.replica();
        let closed = replica.give_up_absent(&mut self.log(), now);
        replica.reap(|node| shared.bus.is_alive(&self.id, node));
        let is_busy = replica.is_busy();
        drop(replica);
        self.close_members(closed, now);
        if is_busy {
            shared.speak();
        }
    }

    fn give_up(&self, member: MemberId) {
        if let Some(shared) = self.shared() {
            let _ = shared.replica().leave(&mut self.log(), member, Gone::Lost);
            shared.speak();
        }
    }

    /// Publishes that a member is removed by its owner; false if there is no such member.
    pub(super) fn publish_kick(&self, shared: &Shared, member: MemberId) -> Result<bool, Unsent> {
        let kicked = shared.replica().kick(member)?;
        if kicked {
            self.common().metrics.add(Count::Kicks, 1);
            shared.speak();
        }
        Ok(kicked)
    }

    fn apply(&self, shared: &Shared, delivery: &Delivery, numbers: u64, now: Instant) {
        let mut is_over = false;
        let mut replica = shared.replica();
        for entry in entries(&delivery.entries).filter_map(Result::ok) {
            let is_full = self.log().batched() >= self.common().batch_bytes;
            if is_full || replica.unseats(&entry) {
                drop(replica);
                self.flush_surely(now);
                replica = shared.replica();
            }
            let limit = &self.common().fanout.room;
            let demand = replica.apply(&mut self.log(), delivery.origin, &entry, limit, now);
            match demand {
                None => {}
                Some(Demand::Close(members)) => self.close_members(members, now),
                Some(Demand::LookUp) => self.common().errands.look_up(self.id),
                Some(Demand::End) => is_over = true,
            }
        }
        replica.applied(numbers);
        drop(replica);
        self.flush(now);
        if is_over {
            self.common().errands.look_up(self.id);
            self.end(now);
        }
    }

    fn close_members(&self, members: Vec<(Arc<Session>, Close)>, now: Instant) {
        for (session, close) in members {
            let hint = (close == Close::OrderLost).then_some(COME_BACK_AFTER);
            session.outbox().close(close, hint, now);
            self.common().metrics.add(Count::Leaves, 1);
        }
    }
}

impl Topic for Room {
    fn room(&self) -> &RoomId {
        &self.id
    }

    fn take(&self) -> Option<Batch> {
        self.shared()?.replica().take()
    }

    fn refused(&self, batch: Batch, why: Refused) {
        let Some(shared) = self.shared() else { return };
        let now = clock::now();
        let (lost, closed) = shared.replica().refused(&mut self.log(), &batch, why);
        self.common().metrics.add(Count::BusMessagesVoided, lost);
        self.close_members(closed.into_iter().collect(), now);
        shared.speak();
    }

    fn standing(&self) -> Standing {
        self.shared().map(|shared| shared.replica().standing()).unwrap_or_default()
    }

    fn attached(&self, state: Attached) {
        let Some(shared) = self.shared() else { return };
        let now = clock::now();
        let (missed, closed) = shared.replica().attached(&mut self.log(), &state, now);
        match missed {
            Missed::Nothing => {}
            Missed::Numbers { .. } => self.common().metrics.add(Count::BusGaps, 1),
            Missed::Order => self.common().metrics.add(Count::BusResets, 1),
        }
        self.flush_surely(now);
        self.close_members(closed, now);
        if self.members() > 0 {
            // What was missed may have been a change of the record.
            self.common().errands.look_up(self.id);
        }
        shared.speak();
    }

    fn deliver(&self, delivery: Delivery) {
        let Some(shared) = self.shared() else { return };
        let receipt = shared.replica().receive(&delivery);
        match receipt {
            Receipt::Ignore => {}
            Receipt::Again => {
                if let Some(topic) = shared.topic() {
                    shared.bus.again(&topic);
                }
            }
            Receipt::Apply { numbers } => self.apply(shared, &delivery, numbers, clock::now()),
        }
    }

    fn detached(&self) {
        let Some(shared) = self.shared() else { return };
        let now = clock::now();
        shared.replica().detached(&mut self.log(), now);
        self.flush(now);
    }
}
