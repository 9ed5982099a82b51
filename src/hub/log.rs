//! The order of one room: the next number, who is there at it, and what is not sent yet.
//!
//! Plain data with rules; the lock around it is the room's.

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::time::Duration;

use slab::Slab;

use crate::core::close::Close;
use crate::core::id::MemberId;
use crate::core::limit::{Bucket, Instant, Limit};
use crate::core::wire::{self, ClientHead, Flags, Gone, Target};
use crate::hub::batch::{self, Batch, SeatIndex};

/// What remains to be done after something was appended to a room's batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a batch that nobody flushes is not sent before its speaker leaves"]
pub(super) enum Duty {
    /// Somebody else flushes.
    None,
    /// The caller has begun the batch and flushes it.
    Flush,
}

/// Who speaks.
#[derive(Clone, Copy)]
pub(super) struct Speaker {
    pub(super) seat: SeatIndex,
    pub(super) member: MemberId,
}

/// How many bytes of payload may be delivered: what one sender causes, and what a room does.
#[derive(Clone, Copy)]
pub(super) struct FanoutLimits {
    pub(super) sender: Limit,
    pub(super) room: Limit,
}

/// What a message costs, and who pays.
pub(super) struct Charge<'c> {
    /// What the sender may still cause.
    pub(super) sender: &'c mut Bucket,
    pub(super) limits: &'c FanoutLimits,
    /// Of one copy, in bytes.
    pub(super) payload: usize,
    pub(super) now: Instant,
}

/// A message that is charged: its number, zero if it is volatile, and the one seat that it is for, or
/// the room.
pub(super) struct Accepted {
    pub(super) seq: u64,
    pub(super) target: Option<SeatIndex>,
}

/// Why a message is not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unsent {
    /// The member that it is for is not in the room.
    NoSuchMember,
    /// The sender has caused as many deliveries as it may; it may again after this time.
    SenderOver(Duration),
    /// The room has, and this sender need not be the one to blame.
    RoomOver(Duration),
    /// The order is interrupted, or too much waits for it; trying again makes sense after this time.
    Unavailable(Duration),
}

/// The order of a room whose members are reached through handles `S`, which are never called here.
pub(super) struct Log<S> {
    seats: Slab<Seat<S>>,
    #[expect(clippy::box_collection, reason = "small rooms are many, and have none")]
    /// Where members sit, once there are too many to look through their seats.
    by_member: Option<Box<HashMap<MemberId, SeatIndex>>>,
    /// Seats promised to handshakes that are under way.
    reserved: usize,
    /// The last number that was given.
    seq: u64,
    pending: Option<Box<Batch>>,
    /// What the room may still deliver.
    fanout: Bucket,
    /// Counts joins and leaves, for the audience to be brought up to date.
    changes: u64,
    /// Members who hear what the room says.
    hearing: u64,
    ended: bool,
}

struct Seat<S> {
    member: MemberId,
    handle: S,
    /// Whether it may receive what the room says.
    hears: bool,
    /// Where its stream begins in the pending batch.
    from: u32,
}

/// Rooms with so many members find one by looking through them. A map would cost each room as much
/// as its seats.
const SEARCHED_MAX: usize = 16;

/// Up to so many, memory is taken for one member after the other: most rooms are small.
const ONE_BY_ONE_MAX: usize = 4;

/// The members as of the last time the pending batch was taken.
pub(super) struct Audience<S> {
    pub(super) listeners: Vec<Listener<S>>,
    changes: u64,
}

/// A member, as a flush sees it.
pub(super) struct Listener<S> {
    pub(super) seat: SeatIndex,
    pub(super) hears: bool,
    /// Where its stream begins in the batch that was taken; then zero.
    pub(super) from: u32,
    pub(super) handle: S,
}

impl Charge<'_> {
    /// Pays for so many copies, from the sender's bucket and the room's, or from neither. A message
    /// that costs more than a bucket ever holds pays with all of it, so that it can be sent at all.
    fn pay(self, room: &mut Bucket, copies: usize) -> Result<(), Unsent> {
        let Self { sender, limits, payload, now } = self;
        let bytes = payload as u64 * copies as u64;
        let (mut after_sender, mut after_room) = (*sender, *room);
        let cost = bytes.min(limits.sender.amount());
        after_sender.take(&limits.sender, cost, now).map_err(Unsent::SenderOver)?;
        let cost = bytes.min(limits.room.amount());
        after_room.take(&limits.room, cost, now).map_err(Unsent::RoomOver)?;
        (*sender, *room) = (after_sender, after_room);
        Ok(())
    }
}

impl<S> Default for Log<S> {
    fn default() -> Self {
        Self {
            seats: Slab::new(),
            by_member: None,
            reserved: 0,
            seq: 0,
            pending: None,
            fanout: Bucket::default(),
            changes: 0,
            hearing: 0,
            ended: false,
        }
    }
}

impl<S> Default for Audience<S> {
    fn default() -> Self {
        Self { listeners: Vec::new(), changes: 0 }
    }
}

impl<S: Clone> Log<S> {
    /// Promises a seat, if there are fewer than `members_max` taken and promised.
    pub(super) fn reserve(&mut self, members_max: usize) -> Result<(), Close> {
        if self.ended {
            return Err(Close::RoomClosed);
        }
        if self.taken() >= members_max {
            return Err(Close::RoomFull);
        }
        self.reserved += 1;
        Ok(())
    }

    /// Takes a promise back.
    pub(super) const fn release(&mut self) {
        self.reserved -= 1;
    }

    /// Turns a promise into a seat: the others hear `join`, the newcomer its welcome, which
    /// `welcome` makes of its number and everybody's name.
    pub(super) fn join(
        &mut self,
        member: MemberId,
        handle: S,
        hears: bool,
        welcome: impl FnOnce(u64, &mut dyn Iterator<Item = MemberId>) -> Vec<u8>,
    ) -> Result<(SeatIndex, Duty), Close> {
        self.reserved -= 1;
        if self.ended {
            return Err(Close::RoomClosed);
        }
        let seq = self.next_seq();
        let (batch, duty) = self.batch();
        batch.tell(&wire::join(member, seq));
        let seat = self.seat(member, handle, hears);
        let text = welcome(seq, &mut self.seats.iter().map(|(_, seat)| seat.member));
        self.batch().0.tell_one(&text, seat);
        Ok((seat, duty))
    }

    /// Frees a seat and tells the others why; `None` if the member does not have it any more.
    pub(super) fn leave(&mut self, speaker: Speaker, why: Gone) -> Option<(S, Duty)> {
        let handle = self.vacate(speaker)?;
        let seq = self.next_seq();
        let mut duty = Duty::None;
        if !self.seats.is_empty() {
            let (batch, begun) = self.batch();
            batch.tell(&wire::leave(speaker.member, seq, why));
            duty = begun;
        }
        Some((handle, duty))
    }

    /// Gives a seat to whoever came with the order that is shared with other nodes, and tells nobody.
    pub(super) fn seat(&mut self, member: MemberId, handle: S, hears: bool) -> SeatIndex {
        let from = self.batch().0.position();
        if self.seats.len() < ONE_BY_ONE_MAX {
            self.seats.reserve_exact(1);
        }
        let key = self.seats.insert(Seat { member, handle, hears, from });
        let seat = index(key);
        if let Some(map) = &mut self.by_member {
            map.insert(member, seat);
        } else if self.seats.len() > SEARCHED_MAX {
            let map = self.seats.iter().map(|(key, seat)| (seat.member, index(key)));
            self.by_member = Some(Box::new(map.collect()));
        }
        self.changes += 1;
        self.hearing += u64::from(hears);
        seat
    }

    /// Frees a seat and tells nobody; `None` if the member does not have it any more.
    pub(super) fn vacate(&mut self, speaker: Speaker) -> Option<S> {
        if !self.holds(speaker) {
            return None;
        }
        let seat = self.seats.try_remove(speaker.seat as usize)?;
        // Whoever gets the seat before the batch goes out must not hear what was for this member.
        if let Some(batch) = &mut self.pending {
            batch.forget(speaker.seat);
        }
        if let Some(map) = &mut self.by_member {
            map.remove(&speaker.member);
        }
        self.changes += 1;
        self.hearing -= u64::from(seat.hears);
        Some(seat.handle)
    }

    /// The last number that was given.
    pub(super) const fn seq(&self) -> u64 {
        self.seq
    }

    /// Goes on behind this number.
    pub(super) const fn go_on_behind(&mut self, seq: u64) {
        self.seq = seq;
    }

    /// Takes what a message costs from its sender, if the room could pay too. The room pays when the
    /// message comes back from the bus, on every node: see [`Log::pay`].
    pub(super) fn ask(&self, charge: Charge<'_>, copies: usize) -> Result<(), Unsent> {
        let mut room = self.fanout;
        charge.pay(&mut room, copies)
    }

    /// Takes from the room what a message costs that is already in its order.
    pub(super) fn pay(&mut self, limit: &Limit, payload: usize, copies: usize, now: Instant) {
        let bytes = payload as u64 * copies as u64;
        self.fanout.charge(limit, bytes.min(limit.amount()), now);
    }

    /// Lets nobody in or speak any more, and says who is to be told; `None` the second time.
    pub(super) fn end(&mut self) -> Option<Vec<S>> {
        if std::mem::replace(&mut self.ended, true) {
            return None;
        }
        self.batch().0.tell(&wire::closed());
        Some(self.seats.iter().map(|(_, seat)| seat.handle.clone()).collect())
    }

    /// Where a member sits.
    pub(super) fn find(&self, member: MemberId) -> Option<Speaker> {
        let seat = match &self.by_member {
            Some(map) => *map.get(&member)?,
            None => index(self.seats.iter().find(|(_, seat)| seat.member == member)?.0),
        };
        Some(Speaker { seat, member })
    }

    /// How many seats are taken or promised.
    pub(super) fn taken(&self) -> usize {
        self.seats.len() + self.reserved
    }

    /// Bytes of the pending batch.
    pub(super) fn batched(&self) -> usize {
        self.pending.as_ref().map_or(0, |batch| batch.len())
    }

    /// How many members there are.
    pub(super) fn members(&self) -> usize {
        self.seats.len()
    }

    pub(super) const fn next_seq(&mut self) -> u64 {
        self.seq += 1;
        self.seq
    }

    /// The pending batch; a new one comes with the duty to flush it.
    pub(super) fn batch(&mut self) -> (&mut Batch, Duty) {
        let duty = if self.pending.is_none() { Duty::Flush } else { Duty::None };
        (self.pending.get_or_insert_with(batch::take_spare), duty)
    }

    /// Charges a message and gives it its number. `None` if the speaker is no member any more: it is
    /// being closed.
    pub(super) fn accept(
        &mut self,
        speaker: Speaker,
        head: &ClientHead,
        charge: Charge<'_>,
    ) -> Result<Option<Accepted>, Unsent> {
        if self.ended || !self.holds(speaker) {
            return Ok(None);
        }
        let target = match head.target {
            Target::Room => None,
            Target::Member(member) => {
                let seat = self.find(member).map(|found| found.seat);
                let hears =
                    |seat: &SeatIndex| self.seats.get(*seat as usize).is_some_and(|s| s.hears);
                Some(seat.filter(hears).ok_or(Unsent::NoSuchMember)?)
            }
        };
        let receivers = if target.is_some() { 1 } else { self.seats.len() - 1 };
        let copies = receivers + usize::from(head.flags.contains(Flags::ECHO));
        charge.pay(&mut self.fanout, copies)?;
        let seq = match target {
            _ if head.flags.contains(Flags::VOLATILE) => 0,
            None => self.next_seq(),
            Some(_) => self.seq,
        };
        Ok(Some(Accepted { seq, target }))
    }

    /// To how many members here a message goes: to one, or to all that hear but its sender.
    pub(super) fn receivers(&self, sender: Option<SeatIndex>, is_direct: bool) -> u64 {
        if is_direct {
            return 1;
        }
        let sender = sender.and_then(|seat| self.seats.get(seat as usize));
        self.hearing - u64::from(sender.is_some_and(|sender| sender.hears))
    }

    /// Whether this member still has this seat.
    fn holds(&self, speaker: Speaker) -> bool {
        self.seats.get(speaker.seat as usize).is_some_and(|seat| seat.member == speaker.member)
    }

    /// Takes the pending batch, and brings the audience up to it.
    pub(super) fn take_for(&mut self, audience: &mut Audience<S>) -> Option<Box<Batch>> {
        if audience.changes != self.changes {
            audience.changes = self.changes;
            audience.listeners.clear();
            if self.seats.len() <= ONE_BY_ONE_MAX {
                audience.listeners.reserve_exact(self.seats.len());
            }
            audience.listeners.extend(self.seats.iter_mut().map(|(key, seat)| Listener {
                seat: index(key),
                hears: seat.hears,
                from: std::mem::take(&mut seat.from),
                handle: seat.handle.clone(),
            }));
        }
        self.pending.take()
    }
}

/// A seat's number, as batches keep it.
fn index(key: usize) -> SeatIndex {
    SeatIndex::try_from(key).expect("a room has fewer members than that")
}
