//! What an entry does when it comes back from the bus: on all nodes alike, in one order.

use super::{Demand, Home, Member, Replica, tell};
use crate::core::close::Close;
use crate::core::entry::{Entry, Message};
use crate::core::id::{MemberId, NodeId};
use crate::core::limit::{Instant, Limit};
use crate::core::wire::{self, Flags, Gone, RelayHead, Target};
use crate::hub::batch::SeatIndex;
use crate::hub::log::{Log, Speaker};
use crate::outbox::FrameKind;

impl<S: Clone> Replica<S> {
    /// Whether applying this will take a seat away here, so that what was said before has to be sent
    /// first.
    pub(in crate::hub) fn unseats(&self, entry: &Entry<'_>) -> bool {
        match entry {
            Entry::Leave { member, .. } => self.members.get(member).is_some_and(Member::is_here),
            _ => false,
        }
    }

    /// Applies one entry of a delivery that comes next.
    pub(in crate::hub) fn apply(
        &mut self,
        log: &mut Log<S>,
        origin: NodeId,
        entry: &Entry<'_>,
        room: &Limit,
        now: Instant,
    ) -> Option<Demand<S>> {
        match entry {
            Entry::Message(message) => self.hear(log, message, room, now),
            Entry::Join { member, hears } => self.come(log, origin, *member, *hears),
            Entry::Leave { member, why } => return self.go(log, *member, *why),
            Entry::Changed => return Some(Demand::LookUp),
            Entry::Closed => return Some(Demand::End),
        }
        None
    }

    fn hear(&self, log: &mut Log<S>, message: &Message<'_>, room: &Limit, now: Instant) {
        let Message { from, head, payload } = *message;
        if self.members.get(&from).is_none_or(Member::is_absent) {
            // Its node was away, and the others removed it before this was published. All nodes see
            // that here and none delivers it; whoever sent it is told by the end of its connection.
            if !head.flags.contains(Flags::VOLATILE) && head.target == Target::Room {
                let seq = log.next_seq();
                let present = self.members.iter().filter(|(_, known)| !known.is_absent());
                tell(log, &wire::gap(seq, seq, &mut present.map(|(member, _)| *member)));
            }
            return;
        }
        log.pay(room, payload.len(), self.copies(&head), now);
        let volatile = head.flags.contains(Flags::VOLATILE);
        let seq = match head.target {
            _ if volatile => 0,
            Target::Room => log.next_seq(),
            Target::Member(_) => log.seq(),
        };
        if log.members() == 0 {
            return;
        }
        let flags = if volatile { Flags::VOLATILE } else { Flags::default() };
        let kind = if volatile { FrameKind::Volatile } else { FrameKind::Data };
        let direct = head.target != Target::Room;
        let relayed = RelayHead { direct, flags, from, seq };
        let sender = self.seat_of(from);
        let echo = sender.filter(|_| head.flags.contains(Flags::ECHO));
        let mut receivers = u64::from(echo.is_some());
        match head.target {
            Target::Room => {
                receivers += log.receivers(sender, false);
                log.batch().0.say_plain(kind, &relayed, payload, sender);
            }
            Target::Member(to) => {
                if let Some(seat) = self.seat_of(to) {
                    receivers += 1;
                    log.batch().0.say_plain_to(kind, &relayed, payload, seat);
                }
            }
        }
        if receivers > 0 {
            log.batch().0.address(receivers, now);
        }
        let Some(sender) = sender else { return };
        let batch = log.batch().0;
        if echo.is_some() {
            let echo = RelayHead { flags: flags.with(Flags::ECHO), ..relayed };
            batch.say_plain_to(kind, &echo, payload, sender);
        }
        if head.flags.contains(Flags::ACK) {
            batch.tell_one(&wire::ack(head.reference, seq), sender);
        }
    }

    fn come(&mut self, log: &mut Log<S>, origin: NodeId, member: MemberId, hears: bool) {
        let seq = log.next_seq();
        tell(log, &wire::join(member, seq));
        if origin != self.node {
            self.members.insert(member, Member { home: Home::There(origin), hears });
        } else if let Some(joiner) = self.joiners.remove(&member) {
            self.seat(log, member, joiner);
        } else if let Some(Member { home: Home::Here { absent, .. }, .. }) =
            self.members.get_mut(&member)
        {
            *absent = None;
        } else {
            // Nobody waits for it any more, and its leave is on the way.
            self.members.insert(member, Member { home: Home::Gone, hears });
        }
    }

    fn go(&mut self, log: &mut Log<S>, member: MemberId, why: Gone) -> Option<Demand<S>> {
        let seq = log.next_seq();
        let known = self.members.remove(&member);
        let mut demand = None;
        if let Some(Member { home: Home::Here { seat, .. }, .. }) = known
            && let Some(handle) = log.vacate(Speaker { seat, member })
        {
            // Others gave this node up while it was away: for them the member's name is used up.
            let close = if why == Gone::Kicked { Close::Kicked } else { Close::OrderLost };
            demand = Some(Demand::Close(vec![(handle, close)]));
        }
        tell(log, &wire::leave(member, seq, why));
        demand
    }

    fn seat_of(&self, member: MemberId) -> Option<SeatIndex> {
        match self.members.get(&member)?.home {
            Home::Here { seat, .. } => Some(seat),
            Home::Gone | Home::There(_) => None,
        }
    }
}
