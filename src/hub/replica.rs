//! One node's copy of a room that several nodes share: where it is in the order, who is there, and
//! what it has to publish.
//!
//! Nothing takes effect when a member asks for it, but when the bus returns it: on all nodes alike,
//! in one order. What came back goes into the room's [`Log`], which has this node's seats. Plain data
//! with rules; the lock around it is `shared`'s, and the bus behind it is not seen here.

mod breaks;
mod effects;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::time::Duration;

use tokio::sync::oneshot;

use crate::bus::{Batch, Delivery, Standing};
use crate::core::close::Close;
use crate::core::entry;
use crate::core::frame::Payload;
use crate::core::id::{Epoch, MemberId, NodeId};
use crate::core::limit::Instant;
use crate::core::order::{Place, Verdict};
use crate::core::wire::{ClientHead, Flags, Gone, Target};
use crate::hub::batch::SeatIndex;
use crate::hub::log::{Charge, Duty, Log, Speaker, Unsent};
use crate::hub::outgoing::Outgoing;

/// See the module's text. `S` is what a seat's member is reached through.
pub(super) struct Replica<S> {
    node: NodeId,
    /// Absent before the bus attached the room for the first time.
    place: Option<Place>,
    link: Link,
    /// Everybody who is there at `place`.
    members: HashMap<MemberId, Member>,
    /// Who waits for its join to come back.
    joiners: HashMap<MemberId, Joiner<S>>,
    outgoing: Outgoing,
    outgoing_bytes_max: usize,
    is_under_way: bool,
    /// Most members of the room, on all nodes together.
    pub(super) members_max: u32,
    is_over: bool,
    /// When it was last known that this node is in order: it stands still while the process does, so
    /// that a node that slept does not take itself for one that was away for a moment.
    sure_at: Option<Instant>,
}

/// How it stands with the bus.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Link {
    /// What is delivered is applied if it comes next.
    Attached,
    /// Something was missed: nothing is applied before it is known where the order is.
    Waiting,
    /// The order is interrupted, since then.
    Down(Instant),
}

#[derive(Clone, Copy)]
struct Member {
    home: Home,
    hears: bool,
}

/// Where a member is connected.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Home {
    /// Here. After the order was broken it is absent since then, until its join in the new one comes
    /// back.
    Here { seat: SeatIndex, absent: Option<Instant> },
    /// It was here, and its leave is on the way.
    Gone,
    /// At another node.
    There(NodeId),
}

/// Makes the welcome from the epoch, the number of the join, and everybody's name.
pub(super) type Greeting =
    Box<dyn FnOnce(Epoch, u64, &mut dyn Iterator<Item = MemberId>) -> Vec<u8> + Send>;

/// Who waits for its join to come back.
pub(super) struct Joiner<S> {
    pub(super) handle: S,
    pub(super) hears: bool,
    pub(super) welcome: Greeting,
    /// Is told the seat, or why there is none.
    pub(super) seated: oneshot::Sender<Result<SeatIndex, Close>>,
}

/// What to do with a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Receipt {
    /// Apply its entries, then [`Replica::applied`].
    Apply { numbers: u64 },
    /// Nothing.
    Ignore,
    /// Ask the bus where the order is.
    Again,
}

/// What an entry or an attachment demands of the sockets.
pub(super) enum Demand<S> {
    /// Close these members' connections, behind what they were told.
    Close(Vec<(S, Close)>),
    /// The record was changed elsewhere.
    LookUp,
    /// The room is over.
    End,
}

/// When to try again what was refused as unavailable.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Longest time that a join may take. The bus notices earlier than that when it is cut off.
pub(super) const BACK_WITHIN: Duration = Duration::from_secs(10);

/// A node that was away for a shorter time cannot have been given up by the others, whose rule needs
/// its lease to run out first: if one of its members is missing then, somebody removed it.
const GIVEN_UP_AFTER: Duration = Duration::from_secs(9);

impl<S: Clone> Replica<S> {
    pub(super) fn new(node: NodeId, outgoing_bytes_max: usize) -> Self {
        Self {
            node,
            place: None,
            link: Link::Waiting,
            members: HashMap::new(),
            joiners: HashMap::new(),
            outgoing: Outgoing::default(),
            outgoing_bytes_max,
            is_under_way: false,
            members_max: u32::MAX,
            is_over: false,
            sure_at: None,
        }
    }

    /// Takes in a message. `None` if its sender is no member any more.
    pub(super) fn say(
        &mut self,
        log: &Log<S>,
        from: MemberId,
        head: &ClientHead,
        (payload, skip): (&Payload<'_>, usize),
        charge: Charge<'_>,
    ) -> Result<Option<Duty>, Unsent> {
        let is_here = self.members.get(&from).is_some_and(Member::is_here);
        if self.is_over || !is_here {
            return Ok(None);
        }
        if let Target::Member(to) = head.target {
            let to = self.members.get(&to).filter(|to| to.hears && to.home != Home::Gone);
            to.ok_or(Unsent::NoSuchMember)?;
        }
        let waiting = self.outgoing.len() + payload.len();
        if self.is_down() || waiting > self.outgoing_bytes_max {
            return Err(Unsent::Unavailable(RETRY_AFTER));
        }
        log.ask(charge, self.copies(head))?;
        let duty = self.duty();
        self.outgoing.say(from, head, payload, skip);
        Ok(Some(duty))
    }

    /// Publishes that a member comes in.
    pub(super) fn join(&mut self, member: MemberId, joiner: Joiner<S>) -> Result<Duty, Close> {
        if self.is_over {
            return Err(Close::RoomClosed);
        }
        if self.is_down() || self.is_full_of_bytes() {
            return Err(Close::Overload);
        }
        let duty = self.duty();
        self.outgoing.join(member, joiner.hears);
        self.joiners.insert(member, joiner);
        Ok(duty)
    }

    /// Publishes that a member of this node goes, and frees its seat at once: what is left to be
    /// ordered needs no socket. Also for one whose join is still on the way.
    pub(super) fn leave(&mut self, log: &mut Log<S>, member: MemberId, why: Gone) -> Option<Duty> {
        if self.joiners.remove(&member).is_some() {
            let duty = self.duty();
            if !self.outgoing.cancel_join(member) {
                self.outgoing.leave(member, why);
            }
            return Some(duty);
        }
        let known = self.members.get_mut(&member)?;
        let Home::Here { seat, absent } = known.home else { return None };
        known.home = Home::Gone;
        log.vacate(Speaker { seat, member });
        if self.is_over || absent.is_some() && self.outgoing.cancel_join(member) {
            self.members.remove(&member);
            return Some(Duty::None);
        }
        let duty = self.duty();
        self.outgoing.leave(member, why);
        Some(duty)
    }

    /// Publishes that a member is removed by its owner; false if there is no such member.
    pub(super) fn kick(&mut self, member: MemberId) -> Result<bool, Unsent> {
        if !self.members.get(&member).is_some_and(|known| known.home != Home::Gone) {
            return Ok(false);
        }
        if self.is_down() || self.is_full_of_bytes() {
            return Err(Unsent::Unavailable(RETRY_AFTER));
        }
        if !self.outgoing.leaves(member) {
            self.outgoing.leave(member, Gone::Kicked);
        }
        Ok(true)
    }

    /// Publishes that the members of nodes that are dead are gone.
    pub(super) fn reap(&mut self, mut is_alive: impl FnMut(NodeId) -> bool) {
        if self.is_over || self.link != Link::Attached {
            return;
        }
        let mut nodes = HashMap::new();
        let mut lost = Vec::new();
        for (member, known) in &self.members {
            if let Home::There(node) = known.home
                && !*nodes.entry(node).or_insert_with(|| is_alive(node))
                && !self.outgoing.leaves(*member)
            {
                lost.push(*member);
            }
        }
        lost.sort_unstable();
        for member in &lost {
            self.outgoing.leave(*member, Gone::Lost);
        }
    }

    /// Lets go of members here whose join in a new order does not come back: others removed them
    /// before this node saw it. Returns whose connections are to be closed.
    pub(super) fn give_up_absent(&mut self, log: &mut Log<S>, now: Instant) -> Vec<(S, Close)> {
        if self.link != Link::Attached {
            return Vec::new();
        }
        if self.sure_at.is_none_or(|at| now.since(at) < GIVEN_UP_AFTER) {
            self.sure_at = Some(now);
        }
        let is_lost = |since: Instant| now.since(since) >= BACK_WITHIN;
        let lost = self.members.iter().filter_map(|(member, known)| match known.home {
            Home::Here { seat, absent: Some(since) } if is_lost(since) => Some((*member, seat)),
            _ => None,
        });
        let lost: Vec<_> = lost.collect();
        let mut closed = Vec::new();
        for (member, seat) in lost {
            let handle = log.vacate(Speaker { seat, member });
            closed.extend(handle.map(|handle| (handle, Close::OrderLost)));
            self.members.remove(&member);
            if !self.outgoing.cancel_join(member) {
                self.outgoing.leave(member, Gone::Lost);
            }
        }
        closed
    }

    /// The next batch for the bus, which asks only when none is under way.
    pub(super) fn take(&mut self) -> Option<Batch> {
        let batch = self.outgoing.take(self.members_max);
        self.is_under_way = batch.is_some();
        batch
    }

    /// Where this node is, for attaching.
    pub(super) fn standing(&self) -> Standing {
        let here = self.members.iter().filter(|(_, known)| known.is_here());
        Standing {
            at: self.place.map(|place| (place.epoch, place.position)),
            members: here.map(|(member, known)| (*member, known.hears)).collect(),
        }
    }

    /// What to do with a delivery. Whoever is told [`Receipt::Again`] is not told so twice.
    pub(super) fn receive(&mut self, delivery: &Delivery) -> Receipt {
        let (Some(place), Link::Attached) = (&self.place, self.link) else {
            return Receipt::Ignore;
        };
        let Delivery { epoch, position, seq_before, .. } = *delivery;
        let numbers = entry::numbers(&delivery.entries).ok();
        match (place.judge(epoch, position, seq_before), numbers) {
            (Verdict::Apply, Some(numbers)) => {
                if delivery.is_own {
                    self.is_under_way = false;
                }
                Receipt::Apply { numbers }
            }
            (Verdict::Old, _) => Receipt::Ignore,
            (Verdict::Apply | Verdict::Jump | Verdict::OtherEpoch, _) => {
                self.link = Link::Waiting;
                Receipt::Again
            }
        }
    }

    /// All entries of a delivery are applied.
    pub(super) const fn applied(&mut self, numbers: u64) {
        if let Some(place) = &mut self.place {
            place.advance(numbers);
        }
    }

    /// Gives a newcomer its seat and its welcome, at the last number.
    fn seat(&mut self, log: &mut Log<S>, member: MemberId, joiner: Joiner<S>) {
        let Joiner { handle, hears, welcome, seated } = joiner;
        let seat = log.seat(member, handle, hears);
        let home = Home::Here { seat, absent: None };
        self.members.insert(member, Member { home, hears });
        let epoch = self.place.map_or(Epoch::from_bytes([0; Epoch::LEN]), |place| place.epoch);
        let present = self.members.iter().filter(|(_, known)| !known.is_absent());
        let text = welcome(epoch, log.seq(), &mut present.map(|(member, _)| *member));
        log.batch().0.tell_one(&text, seat);
        // Whoever does not wait any more gives the seat back itself.
        let _ = seated.send(Ok(seat));
    }

    /// Nobody comes in or speaks any more.
    pub(super) fn end(&mut self) {
        self.is_over = true;
        self.turn_away(Close::RoomClosed);
    }

    fn turn_away(&mut self, why: Close) {
        for (member, joiner) in self.joiners.drain() {
            let _ = joiner.seated.send(Err(why));
            if !self.outgoing.cancel_join(member) {
                self.outgoing.leave(member, Gone::Lost);
            }
        }
    }

    /// How many members there are, on all nodes, and will be soon.
    pub(super) fn taken(&self) -> usize {
        self.members.len() + self.joiners.len()
    }

    /// Bytes that wait to be published.
    pub(super) const fn waiting(&self) -> usize {
        self.outgoing.len()
    }

    /// Whether nothing here needs the bus any more.
    pub(super) fn is_vacant(&self) -> bool {
        let needs = |known: &Member| match known.home {
            Home::Here { .. } => true,
            Home::Gone => !self.is_over,
            Home::There(_) => false,
        };
        let has_said_all = self.is_over || (self.outgoing.is_empty() && !self.is_under_way);
        has_said_all && self.joiners.is_empty() && !self.members.values().any(needs)
    }

    /// Whether something waits that the bus may not know of, or is under way.
    pub(super) fn is_busy(&self) -> bool {
        self.is_under_way || !self.outgoing.is_empty()
    }

    pub(super) const fn is_down(&self) -> bool {
        matches!(self.link, Link::Down(_))
    }

    const fn is_full_of_bytes(&self) -> bool {
        self.outgoing.len() > self.outgoing_bytes_max
    }

    /// Whoever adds the first operation lets the bus know.
    fn duty(&self) -> Duty {
        if self.outgoing.is_empty() { Duty::Flush } else { Duty::None }
    }

    fn copies(&self, head: &ClientHead) -> usize {
        let receivers = match head.target {
            Target::Room => self.members.len().saturating_sub(1),
            Target::Member(_) => 1,
        };
        receivers + usize::from(head.flags.contains(Flags::ECHO))
    }
}

impl Member {
    /// Whether it is not in the roster of the bus, or not yet again.
    const fn is_absent(&self) -> bool {
        matches!(self.home, Home::Here { absent: Some(_), .. })
    }

    const fn is_here(&self) -> bool {
        matches!(self.home, Home::Here { .. })
    }
}

/// Tells the members here, if there are any.
fn tell<S: Clone>(log: &mut Log<S>, text: &[u8]) {
    if log.members() > 0 {
        log.batch().0.tell(text);
    }
}
