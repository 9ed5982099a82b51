//! An attached room: what waits to be delivered to it, and the one batch of it that is under way.
//!
//! Two locks, never taken together. *Line* is the way out: it is held while the topic is asked for
//! a batch and while it is told that it is attached, so that a batch belongs to one epoch for
//! certain. *Inbox* is the way in: what came, in order, and what the link has to tell the topic.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use redis::Pipeline;
use tokio::sync::Notify;

use super::names::{Field, RoomNames};
use super::scripts::{Script, Scripts};
use super::topic::{Attached, Batch, Refused, Topic};
use super::{Bus, ROOM_LIFE};
use crate::core::id::{Epoch, MemberId, NodeId, RoomId};
use crate::metrics::Count;

/// A room that this node has attached, or is attaching.
pub(super) struct Room {
    pub(super) topic: Arc<dyn Topic>,
    pub(super) names: RoomNames,
    /// Whether it is in the link's queue of those that have something to say.
    pub(super) queued: AtomicBool,
    /// Whether it is detached, and nothing may be told to its topic.
    pub(super) gone: AtomicBool,
    /// Whether `attached` was called at all; `entered` wakes the one who waits for that.
    pub(super) is_in: AtomicBool,
    pub(super) entered: Notify,
    line: Mutex<Line>,
    inbox: Mutex<Inbox>,
    /// Touched only by the worker that serves the room.
    place: Mutex<Place>,
}

/// The way out.
#[derive(Default)]
pub(super) struct Line {
    /// Set while the topic is attached and the link is up.
    pub(super) epoch: Option<Epoch>,
    /// What was taken and is not answered for certain.
    pub(super) pending: Option<Pending>,
    /// The link's session in which `pending` was sent and can still be answered; 0 for none.
    pub(super) flying: u64,
}

/// A batch that was sealed.
pub(super) struct Pending {
    pub(super) batch: Batch,
    pub(super) epoch: Epoch,
    pub(super) sealed: Sealed,
}

/// A batch as Redis gets it; sent again, it is the same, and so recognised.
pub(super) struct Sealed {
    node: NodeId,
    counter: u64,
    numbers: u32,
    members_max: u32,
    envelope: Vec<u8>,
    joins: Vec<(Field, Vec<u8>)>,
    leaves: Vec<Field>,
}

/// The way in.
pub(super) struct Inbox {
    pub(super) published: VecDeque<Vec<u8>>,
    bytes: usize,
    pub(super) told: VecDeque<Told>,
    /// Nothing is delivered until `attached`.
    pub(super) hold: bool,
    /// Something was dropped since the last standing.
    pub(super) lost: bool,
    /// The link's session in which the channel is subscribed to; 0 for none.
    pub(super) subscribed: u64,
    /// The link's session in which attaching is under way; 0 for none.
    pub(super) asked: u64,
    /// Whether a worker serves the room, or will.
    pub(super) scheduled: bool,
}

/// What the link tells a room, besides what is published.
pub(super) enum Told {
    /// Say where you are; for the link's session.
    Stand(u64),
    Attached(Attached),
    Detached,
    Refused(Batch, Refused),
}

/// Where delivery is.
#[derive(Default)]
pub(super) struct Place {
    /// What `attached` told; nothing of this epoch up to this position is delivered.
    pub(super) floor: Option<(Epoch, u64)>,
    /// The last counter of each node.
    heard: VecDeque<(NodeId, u64)>,
    /// Whether the topic was told that it is attached, and not yet that it is not.
    pub(super) attached: bool,
}

/// How many nodes' counters a room keeps; whoever has not spoken for longest gives way.
const HEARD_MAX: usize = 1024;

impl Room {
    pub(super) fn new(topic: Arc<dyn Topic>, names: RoomNames) -> Self {
        Self {
            topic,
            names,
            queued: AtomicBool::new(false),
            gone: AtomicBool::new(false),
            is_in: AtomicBool::new(false),
            entered: Notify::new(),
            line: Mutex::default(),
            inbox: Mutex::new(Inbox {
                published: VecDeque::new(),
                bytes: 0,
                told: VecDeque::new(),
                hold: true,
                lost: false,
                subscribed: 0,
                asked: 0,
                scheduled: false,
            }),
            place: Mutex::default(),
        }
    }

    pub(super) fn line(&self) -> MutexGuard<'_, Line> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn inbox(&self) -> MutexGuard<'_, Inbox> {
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn place(&self) -> MutexGuard<'_, Place> {
        self.place.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Acquire)
    }

    /// Takes the next batch, or the one that has to be sent again, and adds it to the pipeline.
    pub(super) fn send(
        &self,
        bus: &Bus,
        session: u64,
        scripts: &Scripts,
        by_text: bool,
        pipe: &mut Pipeline,
    ) -> bool {
        let mut line = self.line();
        let Some(epoch) = line.epoch.filter(|_| line.flying == 0) else { return false };
        if line.pending.is_none() {
            let Some(batch) = self.topic.take() else { return false };
            let sealed = Sealed::new(bus, self.topic.room(), &self.names, &batch, false);
            line.pending = Some(Pending { batch, epoch, sealed });
        } else {
            bus.metrics.add(Count::BusRetried, 1);
        }
        let Some(pending) = &line.pending else { return false };
        pending.sealed.pack(Some(pending.epoch), &self.names, scripts, by_text, pipe);
        line.flying = session;
        true
    }

    /// Takes in what was published, unless too much waits: then all of it is dropped.
    pub(super) fn receive(&self, payload: Vec<u8>, bytes_max: usize) -> Received {
        let mut inbox = self.inbox();
        inbox.bytes += payload.len();
        if inbox.bytes > bytes_max {
            inbox.published = VecDeque::new();
            inbox.bytes = 0;
            inbox.lost = true;
            return Received::Dropped;
        }
        inbox.published.push_back(payload);
        if inbox.hold { Received::Held } else { Received::Ready }
    }
}

/// What became of something that was published.
pub(super) enum Received {
    /// It is to be delivered.
    Ready,
    /// It waits until the room is attached.
    Held,
    /// It is lost, with all that waited.
    Dropped,
}

impl Inbox {
    /// All that waits.
    pub(super) fn take_published(&mut self) -> VecDeque<Vec<u8>> {
        self.bytes = 0;
        std::mem::take(&mut self.published)
    }
}

impl Place {
    /// Whether this counter is above all that the node had, and then it is kept.
    pub(super) fn is_new(&mut self, node: NodeId, counter: u64) -> bool {
        if let Some(at) = self.heard.iter().position(|(known, _)| *known == node) {
            let Some((_, last)) = self.heard.get_mut(at) else { return false };
            let is_new = counter > *last;
            *last = counter.max(*last);
            return is_new;
        }
        if self.heard.len() >= HEARD_MAX {
            self.heard.pop_front();
        }
        self.heard.push_back((node, counter));
        true
    }
}

impl Sealed {
    /// Seals a batch; `announced` with the voice of those that are said from outside a room, whose
    /// counters must not stand in the way of the room's own.
    pub(super) fn new(
        bus: &Bus,
        room: &RoomId,
        names: &RoomNames,
        batch: &Batch,
        announced: bool,
    ) -> Self {
        let voice = if announced { &bus.outside } else { &bus.voice };
        let member = |member: MemberId| bus.names.member(room, member);
        let value = |(name, hears): &(MemberId, bool)| {
            (member(*name), seal_peer(bus, &names.roster, *name, *hears))
        };
        let joins = batch.joins.iter().map(value).collect();
        let leaves = batch.leaves.iter().map(|name| member(*name)).collect();
        let counter = voice.count();
        Self {
            node: voice.node(),
            counter,
            numbers: batch.numbers,
            members_max: batch.members_max,
            envelope: voice.seal(counter, names.order.as_bytes(), &batch.entries),
            joins,
            leaves,
        }
    }

    /// Adds the call that publishes it.
    pub(super) fn pack(
        &self,
        epoch: Option<Epoch>,
        names: &RoomNames,
        scripts: &Scripts,
        by_text: bool,
        pipe: &mut Pipeline,
    ) {
        let mut cmd = scripts.call(Script::Publish, by_text, &[&names.order, &names.roster]);
        let mut field = [b'd'; 1 + NodeId::LEN];
        let (_, name) = field.split_at_mut(1);
        name.copy_from_slice(self.node.as_bytes());
        let epoch = epoch.as_ref().map_or(&[][..], |epoch| &epoch.as_bytes()[..]);
        cmd.arg(epoch).arg(&field[..]).arg(self.counter).arg(self.numbers).arg(&self.envelope);
        if !self.joins.is_empty() || !self.leaves.is_empty() {
            cmd.arg(ROOM_LIFE.as_secs() * 1000).arg(self.members_max).arg(self.joins.len());
            for (field, value) in &self.joins {
                cmd.arg(&field[..]).arg(value);
            }
            for field in &self.leaves {
                cmd.arg(&field[..]);
            }
        }
        pipe.add_command(cmd);
    }
}

/// A member's value in a roster.
pub(super) fn seal_peer(bus: &Bus, roster: &str, member: MemberId, hears: bool) -> Vec<u8> {
    let mut plain = [u8::from(hears); 1 + MemberId::LEN];
    let (_, name) = plain.split_at_mut(1);
    name.copy_from_slice(member.as_bytes());
    bus.voice.seal(bus.voice.count(), roster.as_bytes(), &plain)
}
