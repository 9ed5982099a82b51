//! One room on this node: who has a seat, one order for everything said, and the fan-out.
//!
//! Two locks, taken in this order when both are needed:
//!
//! * the *flusher* is held by whoever writes to the members' sockets, so that there is one flush at
//!   a time and no member sees two batches crossed;
//! * the *log* is held for a few instructions to take the next number and append to the batch, so
//!   members go on speaking while a flush is under way.
//!
//! Whoever starts a batch has the duty to flush it, after letting those who are about to speak add
//! theirs. Who finds a flush under way leaves its duty to that one.

use std::io::IoSlice;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use crate::bus::Bus;
use crate::clock;
use crate::core::close::Close;
use crate::core::frame::Payload;
use crate::core::id::{Epoch, MemberId, RoomId};
use crate::core::limit::{Bucket, Instant};
use crate::core::wire::{self, ClientHead, Flags, Gone};
use crate::hub::batch::{self, Batch};
use crate::hub::errands::Errands;
use crate::hub::log::{Accepted, Audience, Charge, Duty, FanoutLimits, Log, Speaker, Unsent};
use crate::hub::parcel::{Large, Message, Parcel, echo_of, head_of, kind_of};
use crate::hub::random;
use crate::hub::session::{Session, Sessions};
use crate::hub::shared::Shared;
use crate::hub::tally::Tally;
use crate::hub::turnstile::Turnstile;
use crate::metrics::{Count, Metrics, RoomGauge};

/// A room that has, or is about to have, members on this node.
pub(super) struct Room {
    pub(super) id: RoomId,
    pub(super) epoch: Epoch,
    common: Arc<Common>,
    log: Mutex<Log<Arc<Session>>>,
    flusher: Turnstile<Audience<Arc<Session>>>,
    /// What it has more if other nodes share it.
    shared: Option<Box<Shared>>,
    _gauge: RoomGauge,
}

/// What all rooms share.
pub(super) struct Common {
    pub(super) sessions: Arc<Sessions>,
    pub(super) metrics: Arc<Metrics>,
    /// A batch of this size is flushed at once.
    pub(super) batch_bytes: usize,
    pub(super) fanout: FanoutLimits,
    pub(super) errands: Errands,
    /// Where rooms are shared with other nodes: the bus, and what may wait for it in each room.
    pub(super) bus: Option<(Arc<Bus>, usize)>,
}

/// Who sends a message, and from what it is paid.
pub(super) struct Sender<'s> {
    pub(super) speaker: Speaker,
    /// What the sender may still cause.
    pub(super) fanout: &'s mut Bucket,
}

impl Room {
    pub(super) fn new(id: RoomId, common: Arc<Common>) -> Arc<Self> {
        Arc::new_cyclic(|me| Self {
            id,
            epoch: Epoch::from_bytes(random::bytes()),
            log: Mutex::default(),
            flusher: Turnstile::default(),
            shared: common.bus.as_ref().map(|(bus, bytes)| {
                Box::new(Shared::new(Arc::clone(bus), *bytes, Weak::clone(me)))
            }),
            _gauge: common.metrics.room_opened(),
            common,
        })
    }

    /// What it has more if other nodes share it.
    pub(super) fn shared(&self) -> Option<&Shared> {
        self.shared.as_deref()
    }

    pub(super) fn common(&self) -> &Common {
        &self.common
    }

    /// Promises a seat, if there are fewer than `members_max` taken and promised.
    pub(super) fn reserve(&self, members_max: u32) -> Result<(), Close> {
        let Some(shared) = self.shared() else { return self.log().reserve(members_max as usize) };
        let mut replica = shared.replica();
        replica.members_max = members_max;
        if replica.is_down() {
            return Err(Close::Overload);
        }
        let mut log = self.log();
        let elsewhere = replica.taken().saturating_sub(log.members());
        log.reserve((members_max as usize).saturating_sub(elsewhere))
    }

    /// Takes a promise back.
    pub(super) fn release(&self) {
        self.log().release();
    }

    /// Turns a promise into a seat, and appends what everybody hears of it; see [`Log::join`].
    pub(super) fn join(
        &self,
        member: MemberId,
        session: &Arc<Session>,
        hears: bool,
        welcome: impl FnOnce(u64, &mut dyn Iterator<Item = MemberId>) -> Vec<u8>,
        now: Instant,
    ) -> Result<(Speaker, Duty), Close> {
        let mut log = self.log();
        let (seat, duty) = log.join(member, Arc::clone(session), hears, welcome)?;
        self.common.metrics.add(Count::Joins, 1);
        Ok((Speaker { seat, member }, self.unless_full(log, duty, now)))
    }

    /// Frees the seat, if the member still has it, and appends what the others hear of it.
    pub(super) fn leave(&self, speaker: Speaker, why: Gone, now: Instant) -> Duty {
        if let Some(shared) = self.shared() {
            return self.publish_leave(shared, speaker.member, why);
        }
        let mut log = self.log();
        let Some((_, duty)) = log.leave(speaker, why) else { return Duty::None };
        self.common.metrics.add(Count::Leaves, 1);
        self.unless_full(log, duty, now)
    }

    /// Removes a member for its owner; false if there is no such member.
    pub(super) fn kick(&self, member: MemberId, now: Instant) -> bool {
        // What was said before is still for the kicked member.
        self.flush_surely(now);
        let mut log = self.log();
        let left = log.find(member).and_then(|speaker| log.leave(speaker, Gone::Kicked));
        drop(log);
        let Some((session, _)) = left else { return false };
        session.outbox().close(Close::Kicked, None, now);
        self.common.metrics.add(Count::Kicks, 1);
        self.common.metrics.add(Count::Leaves, 1);
        self.flush(now);
        true
    }

    /// Tells everybody something that has no number.
    pub(super) fn tell(&self, text: &[u8], now: Instant) {
        self.log().batch().0.tell(text);
        self.flush(now);
    }

    /// Ends the room for everybody.
    pub(super) fn end(&self, now: Instant) {
        if let Some(shared) = self.shared() {
            shared.replica().end();
        }
        let Some(sessions) = self.log().end() else { return };
        // Not left to a flush that may be under way: the close must come behind everything said.
        self.flush_surely(now);
        for session in sessions {
            session.outbox().close(Close::RoomClosed, None, now);
        }
    }

    /// Takes in one message: gives it its number and appends it. `payload` begins at `skip` of the
    /// WebSocket message. `None` if it was not accepted, because the speaker is being closed.
    pub(super) fn send(
        &self,
        Sender { speaker, fanout }: Sender<'_>,
        head: &ClientHead,
        payload: &Payload<'_>,
        skip: usize,
        now: Instant,
    ) -> Result<Option<Duty>, Unsent> {
        let charge = self.charge(fanout, payload.len() - skip, now);
        if let Some(shared) = self.shared() {
            return self.publish(shared, speaker.member, head, (payload, skip), charge);
        }
        let mut log = self.log();
        let Some(accepted) = log.accept(speaker, head, charge)? else { return Ok(None) };
        let (relay_head, target) = (head_of(speaker.member, head, &accepted), accepted.target);
        let kind = kind_of(head);
        let echo = head.flags.contains(Flags::ECHO);
        let receivers = log.receivers(Some(speaker.seat), target.is_some()) + u64::from(echo);
        let (batch, duty) = log.batch();
        batch.address(receivers, now);
        match target {
            None => batch.say(kind, &relay_head, payload, skip, speaker.seat),
            Some(seat) => batch.say_to(kind, &relay_head, payload, skip, seat),
        }
        if echo {
            batch.say_to(kind, &echo_of(&relay_head), payload, skip, speaker.seat);
        }
        if head.flags.contains(Flags::ACK) {
            batch.tell_one(&wire::ack(head.reference, relay_head.seq), speaker.seat);
        }
        Ok(Some(self.unless_full(log, duty, now)))
    }

    /// Sends out what is pending and then these messages, from where they were read. For each of
    /// them whether it was accepted. `None`, and nothing is done, where they have to wait: while a
    /// flush is under way, and for the bus.
    pub(super) fn send_large(
        &self,
        Sender { speaker, fanout }: Sender<'_>,
        messages: &mut [Message<'_>],
        now: Instant,
    ) -> Option<(Vec<Result<bool, Unsent>>, Duty)> {
        if self.shared.is_some() {
            return None;
        }
        self.flusher.try_instead(
            |audience| self.write_large(audience, Sender { speaker, fanout }, messages, now),
            |audience| self.flush_to(audience, now),
        )
    }

    fn charge<'c>(&'c self, sender: &'c mut Bucket, payload: usize, now: Instant) -> Charge<'c> {
        Charge { sender, limits: &self.common.fanout, payload, now }
    }

    /// The duty to flush, unless the batch is full and sent at once.
    fn unless_full(
        &self,
        log: MutexGuard<'_, Log<Arc<Session>>>,
        duty: Duty,
        now: Instant,
    ) -> Duty {
        if log.batched() < self.common.batch_bytes {
            return duty;
        }
        drop(log);
        self.flush_surely(now);
        Duty::None
    }

    /// Gives each its number, or says why not, and writes those that have one behind what is pending.
    fn write_large(
        &self,
        audience: &mut Audience<Arc<Session>>,
        Sender { speaker, fanout }: Sender<'_>,
        messages: &mut [Message<'_>],
        now: Instant,
    ) -> (Vec<Result<bool, Unsent>>, Duty) {
        let (mut fates, mut acks) = (Vec::with_capacity(messages.len()), Vec::new());
        let mut accepted = Vec::with_capacity(messages.len());
        let mut log = self.log();
        for message in messages {
            let charge = self.charge(fanout, message.payload_len(), now);
            match log.accept(speaker, &message.head, charge) {
                Ok(None) => fates.push(Ok(false)),
                Err(unsent) => fates.push(Err(unsent)),
                Ok(Some(place)) => {
                    fates.push(Ok(true));
                    accepted.push((message, place));
                }
            }
        }
        if accepted.is_empty() {
            return (fates, Duty::None);
        }
        let mut batch = log.take_for(audience).unwrap_or_else(batch::take_spare);
        for (Message { head, .. }, Accepted { target, seq }) in &accepted {
            let echo = head.flags.contains(Flags::ECHO) && *target != Some(speaker.seat);
            let receivers = log.receivers(Some(speaker.seat), target.is_some()) + u64::from(echo);
            batch.address(receivers, now);
            if head.flags.contains(Flags::ACK) {
                acks.push(wire::ack(head.reference, *seq));
            }
        }
        drop(log);
        let large = |(message, accepted)| Large::of(speaker, message, &accepted);
        let large: Vec<_> = accepted.into_iter().map(large).collect();
        self.write(audience, batch, &large, now);
        if acks.is_empty() {
            return (fates, Duty::None);
        }
        let mut log = self.log();
        let (batch, duty) = log.batch();
        for ack in acks {
            batch.tell_one(&ack, speaker.seat);
        }
        (fates, duty)
    }

    /// Sends the pending batch to everybody, unless a flush is under way, which then does it.
    pub(super) fn flush(&self, now: Instant) {
        self.flusher.pass(|audience| self.flush_to(audience, now));
    }

    /// Does what whoever began a batch has to do in the end.
    pub(super) fn discharge(&self, now: Instant) {
        match self.shared() {
            Some(shared) => shared.speak(),
            None => self.flush(now),
        }
    }

    /// Sends the pending batch, after waiting for a flush that is under way.
    pub(super) fn flush_surely(&self, now: Instant) {
        self.flusher.pass_surely(|audience| self.flush_to(audience, now));
    }

    fn flush_to(&self, audience: &mut Audience<Arc<Session>>, now: Instant) {
        let pending = self.log().take_for(audience);
        if let Some(batch) = pending {
            self.write(audience, batch, &[], now);
        }
    }

    /// Writes to every member what it hears of the batch and of the large messages behind it: one
    /// vectored write each.
    fn write(
        &self,
        audience: &mut Audience<Arc<Session>>,
        mut batch: Box<Batch>,
        large: &[Large<'_>],
        now: Instant,
    ) {
        batch.seal();
        // Members who were silent have left the processor's caches: asked for together, all of them
        // come in the time of one.
        for listener in &audience.listeners {
            listener.handle.prefetch();
        }
        let mut tally = Tally::default();
        {
            let common = batch.common();
            let bytes = [IoSlice::new(common.bytes())];
            let mut parcel = Parcel::default();
            let has_large = !large.is_empty();
            for listener in &mut audience.listeners {
                let from = std::mem::take(&mut listener.from);
                let differs = from > 0 || !listener.hears || batch.is_cut(listener.seat);
                let outbox = listener.handle.outbox();
                if differs || has_large {
                    parcel.fill(&batch, listener, from, large);
                    if !parcel.parts.is_empty() {
                        let sent = outbox.send(&parcel.parts, parcel.marks(), now);
                        tally.add(sent, parcel.messages());
                    }
                } else if !common.bytes().is_empty() {
                    let sent = outbox.send(&bytes, common.marks(), now);
                    tally.add(sent, u64::from(common.messages()));
                }
            }
        }
        let Common { sessions, metrics, batch_bytes, .. } = &*self.common;
        // One look at the clock for all that was written: the flush is an event of its own.
        let (spread, begun) = batch.addressed();
        tally.report(spread, begun.map(|begun| clock::now().since(begun)), metrics);
        batch::give_back(batch, batch_bytes * 2);
        sessions.keep_within_bounds(metrics, now);
    }

    /// Bytes that are appended and not sent, or not published.
    pub(super) fn batched(&self) -> usize {
        self.shared().map_or_else(|| self.log().batched(), |shared| shared.replica().waiting())
    }

    /// How many members there are.
    pub(super) fn members(&self) -> usize {
        self.log().members()
    }

    /// How many seats are taken or promised, on all nodes as far as this one knows.
    pub(super) fn taken(&self) -> usize {
        let Some(shared) = self.shared() else { return self.log().taken() };
        let replica = shared.replica();
        let log = self.log();
        replica.taken() + log.taken() - log.members()
    }

    /// Whether nobody is here or on the way, and nothing is left to be said.
    pub(super) fn is_vacant(&self) -> bool {
        let taken = self.log().taken();
        taken == 0 && self.shared().is_none_or(Shared::is_vacant)
    }

    pub(super) fn log(&self) -> MutexGuard<'_, Log<Arc<Session>>> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
