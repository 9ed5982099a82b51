//! A connection with a seat: what its frames mean.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use super::intake::{Events, Intake, Receiver};
use super::meter::{Exceeded, Meter};
use super::patience::Patience;
use super::{End, frame_limits};
use crate::clock;
use crate::core::admission::PaddingPolicy;
use crate::core::close::Close;
use crate::core::frame::{Event, Kind, Opcode, Payload};
use crate::core::id::MemberId;
use crate::core::limit::Instant;
use crate::core::token::Cap;
use crate::core::wire::{
    self, CLIENT_HEAD_MAX, ClientControl, ClientHead, Flags, OwnerOp, OwnerRequest, Refused, Target,
};
use crate::hub::{Hub, Message, Seat, Session, Unsent};
use crate::metrics::{Count, LimitHit, MessageClass, OwnerOperation};
use crate::outbox::Outlook;

/// A connection with a seat.
pub(super) struct Member<'a> {
    seat: Seat,
    session: &'a Arc<Session>,
    hub: &'a Arc<Hub>,
    meter: Meter,
    /// When the current turn began.
    now: Instant,
    taken: Taken,
    /// Bytes read since the others on this thread had their turn.
    since_yield: u32,
}

/// What a turn took in, told to the counters at its end.
#[derive(Default)]
struct Taken {
    /// Messages of each class, and the bytes of their payloads.
    messages: [(u32, u32); MessageClass::ALL.len()],
    /// Bytes that came from the socket.
    read: u32,
}

impl Taken {
    fn message(&mut self, class: MessageClass, bytes: usize) {
        if let Some((messages, sum)) = self.messages.get_mut(class as usize) {
            *messages += 1;
            *sum += count_of(bytes);
        }
    }
}

impl<'a> Member<'a> {
    pub(super) fn new(
        seat: Seat,
        session: &'a Arc<Session>,
        hub: &'a Arc<Hub>,
        now: Instant,
    ) -> Self {
        Self {
            seat,
            session,
            hub,
            meter: Meter::default(),
            now,
            taken: Taken::default(),
            since_yield: 0,
        }
    }

    /// Reads and drains until something ends the connection, and leaves the room.
    pub(super) async fn run(&mut self, intake: &mut Intake) -> End {
        // Nobody could add to this welcome. What it says later waits as usual, so that others have their turn.
        if self.seat.owes_flush() && self.seat.is_alone() {
            self.seat.flush(self.now);
        }
        let end = loop {
            self.flush_if_owed().await;
            let turn = poll_fn(|cx| self.poll_turn(intake, cx)).await;
            self.since_yield += self.taken.read;
            self.report();
            if let Err(end) = turn {
                break end;
            }
            if self.since_yield >= YIELD_BYTES {
                self.since_yield = 0;
                tokio::task::yield_now().await;
            }
        };
        self.flush_if_owed().await;
        self.seat.leave(end.gone(), self.now);
        self.flush_if_owed().await;
        end
    }

    /// Does its duty to flush, after letting those who are about to speak add to the batch.
    async fn flush_if_owed(&mut self) {
        if !self.seat.owes_flush() {
            return;
        }
        let (members, bytes) = (self.seat.members(), self.seat.batched());
        let wait = self.hub.config().room.batch_wait();
        let mut patience = Patience::new(members, wait, bytes, self.now);
        loop {
            tokio::task::yield_now().await;
            if !patience.lasts(self.seat.batched(), clock::now()) {
                break;
            }
        }
        self.seat.flush(self.now);
    }

    fn poll_turn(&mut self, intake: &mut Intake, cx: &mut Context<'_>) -> Poll<Result<(), End>> {
        self.now = clock::now();
        match self.session.outbox().poll_drain(cx, self.now) {
            Outlook::Open => {}
            Outlook::Closing(why) | Outlook::Closed(why) => {
                return Poll::Ready(Err(End::told(why)));
            }
            Outlook::Failed => return Poll::Ready(Err(End::Lost)),
        }
        let limits = frame_limits(self.hub.config());
        let session = self.session;
        let turn = intake.poll_turn(session.outbox().socket(), cx, &limits, self);
        if turn.is_pending() {
            // The others have their turn now.
            self.since_yield = 0;
        }
        turn
    }

    fn report(&mut self) {
        let taken = std::mem::take(&mut self.taken);
        let metrics = self.hub.metrics();
        for (class, (messages, bytes)) in MessageClass::ALL.into_iter().zip(taken.messages) {
            if messages > 0 {
                metrics.accepted(class, u64::from(messages), u64::from(bytes));
            }
        }
        if taken.read > 0 {
            metrics.add(Count::BytesRead, u64::from(taken.read));
        }
    }

    #[inline]
    fn on_event<'i>(&mut self, event: Event<'i>, large: &mut Vec<Message<'i>>) -> Result<(), End> {
        let limits = &self.hub.config().limit;
        let taken = self.meter.frame(limits, self.now);
        self.unless_over(taken, LimitHit::Frames)?;
        match event {
            Event::Message(Kind::Binary, payload) => return self.on_data(payload, large),
            Event::Message(Kind::Text, mut payload) => {
                self.send_large(large)?;
                self.on_control(payload.unmask())?;
            }
            Event::Ping(payload) => {
                let taken = self.meter.ping(limits, self.now);
                self.unless_over(taken, LimitHit::Pings)?;
                self.session.send_frame(Opcode::Pong, payload, self.now);
            }
            Event::Pong => self.hub.metrics().add(Count::PongsReceived, 1),
            Event::Fragment => {}
            Event::Close(_) => return Err(End::PeerClosed),
        }
        Ok(())
    }

    /// Takes one message in, or keeps it with others that are `large`.
    #[inline]
    fn on_data<'i>(
        &mut self,
        payload: Payload<'i>,
        large: &mut Vec<Message<'i>>,
    ) -> Result<(), End> {
        let mut first = [0; CLIENT_HEAD_MAX];
        let (head, skip) =
            ClientHead::parse(payload.peek(&mut first), payload.len()).map_err(End::told)?;
        let config = self.hub.config();
        let len = payload.len() - skip;
        if len > config.limit.payload_bytes as usize {
            return Err(End::told(Close::TooLarge));
        }
        if !self.seat.cap().contains(Cap::SEND) {
            return Err(End::told(Close::NotPermitted));
        }
        if self.seat.padding() == PaddingPolicy::Enforce && self.violates_padding(len) {
            return Err(End::told(Close::PaddingViolation));
        }
        if let Err((limit, exceeded)) = self.meter.message(&config.limit, len, self.now) {
            self.hub.metrics().limit_hit(limit);
            let wait = self.unless_out(exceeded)?;
            self.refuse(Refused::RateLimited, Some(head.reference), Some(wait));
            return Ok(());
        }
        if len >= LARGE_BYTES {
            large.push(Message { head, payload, skip });
            return Ok(());
        }
        // Almost always there are none, and then there is no call.
        if !large.is_empty() {
            self.send_large(large)?;
        }
        let sent = self.seat.send(&head, &payload, skip, self.now);
        self.on_sent(&head, len, sent)
    }

    /// Sends messages that were read one behind the other, all of them with one write to each member.
    fn send_large(&mut self, large: &mut Vec<Message<'_>>) -> Result<(), End> {
        if large.is_empty() {
            return Ok(());
        }
        let sent = self.seat.send_large(large, self.now);
        let mut end = Ok(());
        for (message, sent) in large.drain(..).zip(sent) {
            let told = self.on_sent(&message.head, message.payload_len(), sent);
            end = end.and(told);
        }
        end
    }

    /// Counts a message, or tells its sender why it was not taken in.
    #[inline]
    fn on_sent(
        &mut self,
        head: &ClientHead,
        len: usize,
        sent: Result<bool, Unsent>,
    ) -> Result<(), End> {
        match sent {
            Ok(false) => {}
            Ok(true) => {
                self.taken.message(class_of(head), len);
                if self.violates_padding(len) {
                    self.warn_of_padding(head.reference);
                }
            }
            Err(Unsent::NoSuchMember) => {
                self.refuse(Refused::NoSuchMember, Some(head.reference), None);
            }
            Err(Unsent::SenderOver(wait)) => {
                self.hub.metrics().limit_hit(LimitHit::Fanout);
                let exceeded = self.meter.over(&self.hub.config().limit, wait, self.now);
                let wait = self.unless_out(exceeded)?;
                self.refuse(Refused::RateLimited, Some(head.reference), Some(wait));
            }
            Err(Unsent::RoomOver(wait)) => {
                self.hub.metrics().limit_hit(LimitHit::RoomFanout);
                self.refuse(Refused::RateLimited, Some(head.reference), Some(wait));
            }
            Err(Unsent::Unavailable(wait)) => {
                self.refuse(Refused::Unavailable, Some(head.reference), Some(wait));
            }
        }
        Ok(())
    }

    /// Whether a payload of this length has a size that is not announced, where somebody minds.
    fn violates_padding(&self, len: usize) -> bool {
        self.seat.padding() != PaddingPolicy::Off
            && !self.hub.config().room.padding.iter().any(|size| *size as usize == len)
    }

    /// Counts a message that was delivered though its size is not announced, and tells its sender
    /// of the first.
    fn warn_of_padding(&mut self, reference: u16) {
        self.hub.metrics().add(Count::PaddingViolations, 1);
        if self.seat.warns_for_the_first_time() {
            self.session
                .tell(&wire::error(Refused::PaddingViolation, Some(reference), None), self.now);
        }
    }

    fn on_control(&mut self, text: &[u8]) -> Result<(), End> {
        match ClientControl::parse(text).map_err(End::told)? {
            ClientControl::Ping { n } => {
                let taken = self.meter.ping(&self.hub.config().limit, self.now);
                self.unless_over(taken, LimitHit::Pings)?;
                self.session.tell(&wire::pong(n), self.now);
            }
            ClientControl::Leave {} => return Err(End::told(Close::Left)),
            ClientControl::Owner(request) => self.on_owner(&request)?,
        }
        Ok(())
    }

    fn on_owner(&mut self, request: &OwnerRequest) -> Result<(), End> {
        if !self.seat.cap().contains(Cap::OWNER) {
            self.refuse(Refused::NotPermitted, None, None);
            return Ok(());
        }
        let member = match (request.op, request.member.as_deref()) {
            (OwnerOp::Kick, Some(text)) => {
                Some(MemberId::from_base64url(text).ok_or(End::told(Close::BadFrame))?)
            }
            (OwnerOp::Close | OwnerOp::Lock | OwnerOp::Unlock, None) => None,
            _ => return Err(End::told(Close::BadFrame)),
        };
        match self.seat.act(request.op, member, self.session, self.now) {
            Ok(()) => self.hub.metrics().owner_did(match request.op {
                OwnerOp::Close => OwnerOperation::Close,
                OwnerOp::Lock => OwnerOperation::Lock,
                OwnerOp::Unlock => OwnerOperation::Unlock,
                OwnerOp::Kick => OwnerOperation::Kick,
            }),
            Err(refused) => self.refuse(refused, None, None),
        }
        Ok(())
    }

    /// Counts the limit, if it was exceeded, and ends the connection then.
    fn unless_over(&self, taken: Result<(), Exceeded>, limit: LimitHit) -> Result<(), End> {
        let Err(exceeded) = taken else { return Ok(()) };
        self.hub.metrics().limit_hit(limit);
        unless_over(exceeded).map(|_| ())
    }

    /// The wait, unless it was one refusal too many.
    fn unless_out(&self, exceeded: Exceeded) -> Result<Duration, End> {
        unless_over(exceeded).inspect_err(|_| self.hub.metrics().limit_hit(LimitHit::Strikes))
    }

    fn refuse(&self, why: Refused, reference: Option<u16>, wait: Option<Duration>) {
        if why == Refused::RateLimited {
            self.hub.metrics().add(Count::FramesRefused, 1);
        }
        let wait_ms = wait.map(|wait| u64::try_from(wait.as_millis()).unwrap_or(u64::MAX) + 1);
        self.session.tell(&wire::error(why, reference, wait_ms), self.now);
    }
}

/// From this size on a payload is written to the members from where it was read, together with those
/// behind it: copying it into the room's batch costs more than the system calls that a batch saves.
const LARGE_BYTES: usize = 8 * 1024;

/// Who has sent so many bytes waits for the others on its thread, as many as one read can bring: large
/// messages go out when they are read, and a stream of them would keep the thread for milliseconds.
const YIELD_BYTES: u32 = 256 * 1024;

/// Bytes of one turn, which reads no more than a scratch buffer.
fn count_of(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

/// How a message is counted.
const fn class_of(head: &ClientHead) -> MessageClass {
    match head.target {
        _ if head.flags.contains(Flags::VOLATILE) => MessageClass::Volatile,
        Target::Room => MessageClass::Room,
        Target::Member(_) => MessageClass::Direct,
    }
}

/// The wait, unless the limit ends the connection.
const fn unless_over(exceeded: Exceeded) -> Result<Duration, End> {
    match exceeded {
        Exceeded::Refuse(wait) => Ok(wait),
        Exceeded::End(wait) => Err(End::Told(Close::RateLimited, Some(wait))),
    }
}

impl Receiver for Member<'_> {
    fn bytes(&mut self, count: usize) -> Result<(), End> {
        self.session.heard();
        self.taken.read += count_of(count);
        let limits = &self.hub.config().limit;
        let taken = self.meter.raw(limits, count, self.now);
        self.unless_over(taken, LimitHit::RawBytes)
    }

    fn events(&mut self, events: &mut Events<'_, '_>) -> Result<(), End> {
        let mut large = Vec::new();
        let end = events.each(|event| self.on_event(event, &mut large));
        // They came before whatever ends the connection.
        self.send_large(&mut large).and(end)
    }
}
