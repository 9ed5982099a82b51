//! The workers that tell rooms what came. A room is served by one worker at a time.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::Bus;
use super::room::{Place, Received, Room, Told};
use super::topic::{Attached, Delivery, Refused};
use crate::core::id::Epoch;
use crate::metrics::{BusRefusal, Count, LimitHit};

/// Rooms with something in their inbox, each once.
#[derive(Default)]
pub(super) struct Ready {
    queue: Mutex<VecDeque<Arc<Room>>>,
    wake: Notify,
}

impl Ready {
    fn push(&self, room: Arc<Room>) {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner).push_back(room);
        self.wake.notify_one();
    }

    /// The next, and a hint to another worker if there are more.
    fn pop(&self) -> Option<Arc<Room>> {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        let room = queue.pop_front();
        if !queue.is_empty() {
            self.wake.notify_one();
        }
        room
    }
}

/// What comes first in an inbox.
enum Next {
    Published(VecDeque<Vec<u8>>),
    Told(Told),
}

/// How often a worker looks into one room's inbox before it is another room's turn.
const TURNS: usize = 16;

/// Bytes that the script puts in front of an envelope: epoch, position, last number before.
const PREFIX: usize = 24;

impl Bus {
    /// Serves rooms until `stop`. Spawned once per worker.
    pub(super) async fn deliver(self: Arc<Self>, stop: CancellationToken) {
        loop {
            while let Some(room) = self.ready.pop() {
                self.serve(&room);
                // Others of this thread come to their turn, sockets among them.
                tokio::task::yield_now().await;
            }
            tokio::select! {
                () = self.ready.wake.notified() => {}
                () = stop.cancelled() => return,
            }
        }
    }

    /// Tells a room something, in order with what was published before.
    pub(super) fn tell(&self, room: &Arc<Room>, told: Told) {
        let mut inbox = room.inbox();
        inbox.told.push_back(told);
        let is_new = !std::mem::replace(&mut inbox.scheduled, true);
        drop(inbox);
        if is_new {
            self.ready.push(Arc::clone(room));
        }
    }

    /// Takes in what was published to a room's channel.
    pub(super) fn receive(&self, room: &Arc<Room>, payload: Vec<u8>) {
        match room.receive(payload, self.settings.inbox_bytes_max) {
            Received::Held => {}
            Received::Ready => self.schedule(room),
            Received::Dropped => {
                self.metrics.add(Count::BusInboxesDropped, 1);
                self.metrics.limit_hit(LimitHit::BusInbox);
                self.ask(room);
            }
        }
    }

    /// Attaches a room anew, unless that is under way, or its channel is not subscribed to: then it
    /// will be attached when it is.
    pub(super) fn ask(&self, room: &Arc<Room>) {
        let session = self.route.link(room.names.partition).map_or(0, |link| link.session());
        let mut inbox = room.inbox();
        if session == 0 || inbox.subscribed != session || inbox.asked == session {
            return;
        }
        inbox.asked = session;
        drop(inbox);
        self.tell(room, Told::Stand(session));
    }

    /// The link to a room's server is down.
    pub(super) fn cut(&self, room: &Arc<Room>) {
        let mut line = room.line();
        line.epoch = None;
        line.flying = 0;
        drop(line);
        let mut inbox = room.inbox();
        inbox.subscribed = 0;
        inbox.asked = 0;
        drop(inbox);
        self.tell(room, Told::Detached);
    }

    fn schedule(&self, room: &Arc<Room>) {
        let is_new = !std::mem::replace(&mut room.inbox().scheduled, true);
        if is_new {
            self.ready.push(Arc::clone(room));
        }
    }

    fn serve(&self, room: &Arc<Room>) {
        let mut place = room.place();
        for _ in 0..TURNS {
            let Some(next) = next(room) else { return };
            if room.is_gone() {
                continue;
            }
            match next {
                Next::Published(payloads) => {
                    for payload in payloads {
                        self.hand_over(room, &mut place, payload);
                    }
                }
                Next::Told(told) => self.told(room, &mut place, told),
            }
        }
        drop(place);
        self.ready.push(Arc::clone(room));
    }

    fn told(&self, room: &Arc<Room>, place: &mut Place, told: Told) {
        match told {
            Told::Stand(session) => {
                let standing = room.topic.standing();
                if let Some(link) = self.route.link(room.names.partition) {
                    link.attach(session, room, standing);
                }
            }
            Told::Attached(state) => self.attached(room, place, state),
            Told::Detached => {
                room.line().epoch = None;
                if std::mem::take(&mut place.attached) {
                    room.topic.detached();
                }
            }
            Told::Refused(batch, why) => room.topic.refused(batch, why),
        }
    }

    fn attached(&self, room: &Arc<Room>, place: &mut Place, state: Attached) {
        place.floor = Some((state.epoch, state.position));
        place.attached = true;
        let epoch = state.epoch;
        let mut line = room.line();
        let void = |pending: &mut super::room::Pending| pending.epoch != epoch;
        if line.flying == 0
            && let Some(pending) = line.pending.take_if(void)
        {
            self.metrics.bus_refused(BusRefusal::Void);
            room.topic.refused(pending.batch, Refused::Void);
        }
        room.topic.attached(state);
        line.epoch = Some(epoch);
        drop(line);
        let mut inbox = room.inbox();
        inbox.hold = false;
        inbox.asked = 0;
        let lost = std::mem::take(&mut inbox.lost);
        drop(inbox);
        room.is_in.store(true, std::sync::atomic::Ordering::Release);
        room.entered.notify_one();
        self.queue(room);
        if lost {
            self.ask(room);
        }
    }

    /// Opens what was published and hands it to the topic. What does not open, or comes a second
    /// time, leaves a hole, and so the room is attached anew.
    fn hand_over(&self, room: &Arc<Room>, place: &mut Place, payload: Vec<u8>) {
        let Some((epoch, position, seq_before)) = prefix(&payload) else {
            self.metrics.bus_refused(BusRefusal::Unsealed);
            return self.ask(room);
        };
        let floor = place.floor;
        if floor.is_some_and(|(known, above)| known == epoch && position <= above) {
            return;
        }
        if payload.len() == PREFIX {
            // A notice that a new order began.
            if floor.is_none_or(|(known, _)| known != epoch) {
                self.ask(room);
            }
            return;
        }
        let opened = self.sealer.open(room.names.order.as_bytes(), payload, PREFIX);
        let Some(opened) = opened else {
            self.metrics.bus_refused(BusRefusal::Unsealed);
            return self.ask(room);
        };
        if !place.is_new(opened.node, opened.counter) {
            self.metrics.bus_refused(BusRefusal::Replayed);
            return self.ask(room);
        }
        let is_own = opened.node == self.voice.node() || opened.node == self.outside.node();
        if !is_own && let Some(link) = self.route.lease_link(room.names.partition) {
            link.peers().heard(opened.node);
        }
        room.topic.deliver(Delivery {
            origin: opened.node,
            is_own,
            epoch,
            position,
            seq_before,
            entries: opened.content,
        });
    }
}

/// What is next: what was published before it was told something, unless that has to wait.
fn next(room: &Room) -> Option<Next> {
    let mut inbox = room.inbox();
    if !inbox.hold && !inbox.published.is_empty() {
        return Some(Next::Published(inbox.take_published()));
    }
    let told = inbox.told.pop_front();
    match told {
        Some(Told::Stand(_)) => {
            // From here on nothing is delivered, so that the standing stays true. What is dropped
            // meanwhile is not in it.
            inbox.hold = true;
            inbox.lost = false;
        }
        Some(Told::Detached) => inbox.hold = true,
        Some(_) => {}
        None => inbox.scheduled = false,
    }
    told.map(Next::Told)
}

fn prefix(payload: &[u8]) -> Option<(Epoch, u64, u64)> {
    let eight = |at: usize| payload.get(at..at + 8)?.try_into().ok();
    let epoch = Epoch::from_bytes(eight(0)?);
    Some((epoch, u64::from_be_bytes(eight(8)?), u64::from_be_bytes(eight(16)?)))
}
