//! The guards of joining: a promised seat, a seat, an entry in the table of connections.
//!
//! Each is given back when it is dropped, so that there is no way to hold a place and forget it,
//! even as the code around changes or panics.

use std::sync::Arc;

use crate::clock;
use crate::core::admission::PaddingPolicy;
use crate::core::close::Close;
use crate::core::frame::Payload;
use crate::core::id::MemberId;
use crate::core::limit::{Bucket, Instant};
use crate::core::token::Cap;
use crate::core::wire::{ClientHead, Gone, OwnerOp, Refused};
use crate::hub::log::{Duty, Speaker, Unsent};
use crate::hub::parcel::Message;
use crate::hub::replica::Greeting;
use crate::hub::room::{Room, Sender};
use crate::hub::session::{Registered, Session};
use crate::hub::shared::Seating;
use crate::hub::{Grant, Hub, random};
use crate::metrics::{Count, MemberGauge};

/// A promised seat. Dropping it gives the promise back.
pub struct Reservation {
    hub: Arc<Hub>,
    room: Arc<Room>,
    grant: Grant,
    /// The promise is spent: there is a seat, or the room would not have it.
    is_spent: bool,
    /// A seat came of it, which looks after the room.
    is_seated: bool,
}

impl Reservation {
    pub(super) const fn new(hub: Arc<Hub>, room: Arc<Room>, grant: Grant) -> Self {
        Self { hub, room, grant, is_spent: false, is_seated: false }
    }

    /// How long the session may last, in seconds.
    pub const fn session_s(&self) -> Option<u32> {
        self.grant.session_s
    }

    /// Takes the seat. With the next flush the members hear of it and the newcomer is welcomed. In a
    /// room that is shared with other nodes it waits for the bus, else it is ready at once.
    ///
    /// # Errors
    ///
    /// `RoomClosed` if the room ended since it was reserved; in a shared room also `RoomFull`, when
    /// another node was faster, and `Overload`, when the bus is down.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future takes the join back; who has heard of it hears that the member left.
    pub async fn sit(mut self, session: &Arc<Session>, now: Instant) -> Result<Seat, Close> {
        let member = MemberId::from_bytes(random::bytes());
        if self.room.shared().is_some() {
            // Boxed, so that a connection's state does not grow where there is no bus.
            return Box::pin(self.sit_in_shared(member, session, now)).await;
        }
        let Self { hub, room, grant, .. } = &self;
        let mut padding = hub.records.ceilings().padding;
        let welcome = |seq, members: &mut dyn Iterator<Item = MemberId>| {
            // Looked at by whoever has the room's order: what changes later is told behind the welcome.
            let view = hub.view(&room.id, now);
            padding = view.options.padding;
            hub.welcome(member, room.epoch, seq, members, grant.cap, &view, now)
        };
        let hears = grant.cap.contains(Cap::RECEIVE);
        let joined = room.join(member, session, hears, welcome, now);
        self.is_spent = true;
        let (speaker, duty) = joined?;
        self.is_seated = true;
        Ok(self.seat(speaker, duty, padding))
    }

    async fn sit_in_shared(
        mut self,
        member: MemberId,
        session: &Arc<Session>,
        now: Instant,
    ) -> Result<Seat, Close> {
        let shared = self.room.shared().ok_or(Close::Bug)?;
        let (hub, id, cap) = (Arc::clone(&self.hub), self.room.id, self.grant.cap);
        let welcome: Greeting = Box::new(move |epoch, seq, members| {
            let view = hub.view(&id, now);
            hub.welcome(member, epoch, seq, members, cap, &view, now)
        });
        let hears = cap.contains(Cap::RECEIVE);
        // Not given back before the join counts, so that nobody takes the place in between.
        let seating = Seating::begin(&self.room, shared, member, session, hears, welcome);
        self.room.release();
        self.is_spent = true;
        let seat = seating?.done().await?;
        self.is_seated = true;
        self.hub.metrics.add(Count::Joins, 1);
        let padding = self.hub.view(&self.room.id, now).options.padding;
        Ok(self.seat(Speaker { seat, member }, Duty::None, padding))
    }

    fn seat(&self, speaker: Speaker, duty: Duty, padding: PaddingPolicy) -> Seat {
        Seat {
            hub: Arc::clone(&self.hub),
            room: Arc::clone(&self.room),
            speaker,
            duty,
            fanout: Bucket::default(),
            cap: self.grant.cap,
            padding,
            is_warned: false,
            _gauge: self.hub.metrics.member_joined(),
        }
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if self.is_seated {
            return;
        }
        if !self.is_spent {
            self.room.release();
        }
        self.hub.retire(&self.room, clock::now());
    }
}

/// A member's place in its room. Dropping it leaves, as lost unless [`Seat::leave`] did already.
///
/// Whoever appends the first thing to a room's batch, here by joining, sending or leaving, has the
/// duty to flush it: it lets those who are ready add theirs, and then calls [`Seat::flush`]. A seat
/// that is dropped with the duty flushes, so the duty cannot be lost.
pub struct Seat {
    hub: Arc<Hub>,
    room: Arc<Room>,
    speaker: Speaker,
    duty: Duty,
    /// What the member may still cause to be delivered.
    fanout: Bucket,
    cap: Cap,
    padding: PaddingPolicy,
    /// Whether its member was told that its payloads have sizes that are not announced.
    is_warned: bool,
    _gauge: MemberGauge,
}

impl Seat {
    /// What the member's token allows.
    pub const fn cap(&self) -> Cap {
        self.cap
    }

    /// What the room does with payload sizes that are not announced; as it was when the seat was
    /// taken.
    pub const fn padding(&self) -> PaddingPolicy {
        self.padding
    }

    /// Whether the member is yet to be told of a size that is not announced; from now on it is not.
    pub const fn warns_for_the_first_time(&mut self) -> bool {
        !std::mem::replace(&mut self.is_warned, true)
    }

    /// Hands a message to the room; its payload begins at `skip`. Returns whether it was accepted:
    /// from a member that is being closed nothing is.
    ///
    /// # Errors
    ///
    /// When nothing was sent, why: [`Unsent`].
    pub fn send(
        &mut self,
        head: &ClientHead,
        payload: &Payload<'_>,
        skip: usize,
        now: Instant,
    ) -> Result<bool, Unsent> {
        let sender = Sender { speaker: self.speaker, fanout: &mut self.fanout };
        let sent = self.room.send(sender, head, payload, skip, now)?;
        if let Some(duty) = sent {
            self.take_on(duty);
        }
        Ok(sent.is_some())
    }

    /// Sends large messages at once, from where they are. For each of them, in order, what
    /// [`Seat::send`] returns.
    pub fn send_large(
        &mut self,
        messages: &mut [Message<'_>],
        now: Instant,
    ) -> Vec<Result<bool, Unsent>> {
        let sender = Sender { speaker: self.speaker, fanout: &mut self.fanout };
        if let Some((sent, duty)) = self.room.send_large(sender, messages, now) {
            self.take_on(duty);
            return sent;
        }
        let one = |message: &mut Message<'_>| {
            self.send(&message.head, &message.payload, message.skip, now)
        };
        messages.iter_mut().map(one).collect()
    }

    /// Whether it has the duty to flush.
    pub fn owes_flush(&self) -> bool {
        self.duty == Duty::Flush
    }

    /// Whether nobody else is in the room or on the way to it.
    pub fn is_alone(&self) -> bool {
        self.room.taken() == 1
    }

    /// How many members the room has on this node.
    pub fn members(&self) -> usize {
        self.room.members()
    }

    /// Bytes that the room has to say and has not sent.
    pub fn batched(&self) -> usize {
        self.room.batched()
    }

    /// Sends out what the room has to say.
    pub fn flush(&mut self, now: Instant) {
        self.duty = Duty::None;
        self.room.discharge(now);
    }

    /// Does what an owner asked for. The caller has checked the capability.
    ///
    /// # Errors
    ///
    /// `NoSuchMember` when there is nobody to kick. In a room that is shared with other nodes also
    /// `Unavailable`; `session` is told so too when that turns out later.
    pub fn act(
        &self,
        op: OwnerOp,
        member: Option<MemberId>,
        session: &Arc<Session>,
        now: Instant,
    ) -> Result<(), Refused> {
        let Some(shared) = self.room.shared() else {
            return self.hub.act(&self.room.id, op, member, now);
        };
        let taken = match (op, member) {
            (OwnerOp::Kick, Some(member)) => match self.room.publish_kick(shared, member) {
                Ok(true) => true,
                Ok(false) => return Err(Refused::NoSuchMember),
                Err(_) => false,
            },
            (OwnerOp::Kick, None) => return Err(Refused::NoSuchMember),
            (OwnerOp::Close | OwnerOp::Lock | OwnerOp::Unlock, _) => {
                !shared.replica().is_down()
                    && self.room.common().errands.rule(self.room.id, op, session)
            }
        };
        if taken { Ok(()) } else { Err(Refused::Unavailable) }
    }

    /// Leaves, for this reason; whoever is still there hears it with the next flush.
    pub fn leave(&mut self, why: Gone, now: Instant) {
        let duty = self.room.leave(self.speaker, why, now);
        self.take_on(duty);
    }

    fn take_on(&mut self, duty: Duty) {
        if duty == Duty::Flush {
            self.duty = duty;
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let now = clock::now();
        self.leave(Gone::Lost, now);
        if self.owes_flush() {
            self.flush(now);
        }
        self.hub.retire(&self.room, now);
    }
}

/// Holds a room so that it stays attached to the bus until a seat in it is promised; from
/// [`Hub::enter`].
pub struct Door {
    hub: Arc<Hub>,
    room: Arc<Room>,
}

impl Door {
    /// The caller has the room held already.
    pub(super) const fn new(hub: Arc<Hub>, room: Arc<Room>) -> Self {
        Self { hub, room }
    }

    pub(super) const fn room(&self) -> &Arc<Room> {
        &self.room
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        if let Some(shared) = self.room.shared() {
            shared.let_go();
        }
        self.hub.retire(&self.room, clock::now());
    }
}

/// An upgraded connection's entry in the table. Dropping it takes it out.
pub struct Connected {
    hub: Arc<Hub>,
    session: Arc<Session>,
    entered: Registered,
}

impl Connected {
    pub(super) const fn new(hub: Arc<Hub>, session: Arc<Session>, entered: Registered) -> Self {
        Self { hub, session, entered }
    }

    /// The connection itself.
    pub const fn session(&self) -> &Arc<Session> {
        &self.session
    }
}

impl Drop for Connected {
    fn drop(&mut self) {
        self.hub.sessions.remove(&self.entered);
        self.session.outbox().abandon();
    }
}
