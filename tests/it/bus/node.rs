//! A node that is nothing but a bus, and a room on it that keeps what it is told.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::time::Duration;

use lethewire::bus::{
    Attached, Batch, Bus, BusSettings, Delivery, Peer, Refused, Servers, Standing, Topic,
};
use lethewire::core::id::{Epoch, MemberId, RoomId};
use lethewire::core::secret::SecretBytes;
use lethewire::metrics::Metrics;
use tokio::sync::Notify;
use tokio::time::error::Elapsed;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How long anything may take; Redis' return is to be felt within it.
const PATIENCE: Duration = Duration::from_secs(10);

/// A node.
pub(crate) struct Node {
    pub(crate) bus: Arc<Bus>,
    pub(super) metrics: Arc<Metrics>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Node {
    /// Starts a node and waits until its bus is up.
    pub(super) async fn start(url: &str) -> Self {
        Self::with(BusSettings::new(Servers::Single(url.to_owned()))).await
    }

    /// The same with other settings.
    pub(super) async fn with(settings: BusSettings) -> Self {
        Self::knowing(&SecretBytes::new(vec![7; 32]), settings).await
    }

    /// The same with the secret of other nodes.
    pub(crate) async fn knowing(secret: &SecretBytes, settings: BusSettings) -> Self {
        let metrics = Arc::new(Metrics::new());
        let bus = Bus::connect(settings, secret, Arc::clone(&metrics)).unwrap();
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        tasks.spawn(Arc::clone(&bus).run(tasks.clone(), stop.clone()));
        let node = Self { bus, metrics, tasks, stop };
        node.until_up().await;
        node
    }

    /// The same with other servers.
    pub(super) async fn on(servers: Servers) -> Self {
        Self::with(BusSettings::new(servers)).await
    }

    /// Waits until the bus is up.
    pub(super) async fn until_up(&self) {
        until(|| self.bus.is_up()).await;
    }

    /// Attaches a room.
    pub(super) async fn room(&self, name: u8) -> Arc<Room> {
        let room = Room::new(&self.bus, RoomId::new(&[name; 16]).unwrap());
        self.bus.attach(Arc::clone(&room) as Arc<dyn Topic>).await.unwrap();
        room
    }

    /// Ends the node without a goodbye.
    pub(crate) async fn die(self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Waits for a condition that nobody announces.
pub(super) async fn until(condition: impl Fn() -> bool) {
    let mut ticks = tokio::time::interval(Duration::from_millis(5));
    let wait = async {
        while !condition() {
            ticks.tick().await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.expect("what is waited for comes in time");
}

/// A room.
pub(super) struct Room {
    me: Weak<Self>,
    bus: Weak<Bus>,
    id: RoomId,
    state: Mutex<State>,
    changed: Notify,
    /// Deliveries wait until somebody unlocks it.
    pub(super) gate: Mutex<()>,
}

/// What a room was told.
#[derive(Default)]
pub(super) struct State {
    pub(super) outgoing: VecDeque<Batch>,
    pub(super) at: Option<(Epoch, u64)>,
    pub(super) members: Vec<(MemberId, bool)>,
    /// What was said, with the epoch, the position and the last number before.
    pub(super) heard: Vec<(Epoch, u64, u64, Vec<u8>)>,
    pub(super) own: usize,
    pub(super) refused: Vec<Refused>,
    pub(super) attached: usize,
    pub(super) detached: usize,
    pub(super) is_attached: bool,
    pub(super) roster: Vec<Peer>,
    pub(super) seq: u64,
}

impl Room {
    pub(super) fn new(bus: &Arc<Bus>, id: RoomId) -> Arc<Self> {
        Arc::new_cyclic(|me| Self {
            me: Weak::clone(me),
            bus: Arc::downgrade(bus),
            id,
            state: Mutex::default(),
            changed: Notify::new(),
            gate: Mutex::new(()),
        })
    }

    /// Says something that takes a number.
    pub(super) fn say(&self, what: &[u8]) {
        self.publish(Batch { entries: what.to_vec(), numbers: 1, ..Batch::default() });
    }

    /// Publishes a batch.
    pub(super) fn publish(&self, batch: Batch) {
        self.state().outgoing.push_back(batch);
        self.bus.upgrade().unwrap().speak(&self.topic());
    }

    /// A member joins or leaves.
    pub(super) fn changes(&self, joins: &[u8], leaves: &[u8], members_max: u32) {
        let member = |name: &u8| MemberId::from_bytes([*name; 8]);
        self.publish(Batch {
            joins: joins.iter().map(|name| (member(name), true)).collect(),
            leaves: leaves.iter().map(member).collect(),
            members_max,
            ..Batch::default()
        });
    }

    /// Waits until what the room was told fulfils a condition.
    pub(super) async fn until(&self, condition: impl Fn(&State) -> bool) {
        self.in_time(condition).await.expect("the room is told in time");
    }

    /// The same for what may take longer.
    pub(super) async fn in_time(&self, condition: impl Fn(&State) -> bool) -> Result<(), Elapsed> {
        let wait = async {
            loop {
                let mut changed = std::pin::pin!(self.changed.notified());
                changed.as_mut().enable();
                if condition(&self.state()) {
                    return;
                }
                changed.await;
            }
        };
        tokio::time::timeout(PATIENCE, wait).await
    }

    pub(super) fn topic(&self) -> Arc<dyn Topic> {
        self.me.upgrade().unwrap()
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state());
        self.changed.notify_waiters();
    }
}

impl Topic for Room {
    fn room(&self) -> &RoomId {
        &self.id
    }

    fn take(&self) -> Option<Batch> {
        self.state().outgoing.pop_front()
    }

    fn refused(&self, _: Batch, why: Refused) {
        self.change(|state| state.refused.push(why));
    }

    fn standing(&self) -> Standing {
        let state = self.state();
        Standing { at: state.at, members: state.members.clone() }
    }

    fn attached(&self, attached: Attached) {
        self.change(|state| {
            state.at = Some((attached.epoch, attached.position));
            state.roster = attached.roster;
            state.seq = attached.seq;
            state.attached += 1;
            state.is_attached = true;
        });
    }

    fn deliver(&self, delivery: Delivery) {
        // Whoever waits gives its thread away: what else is due on it, timers and sockets among it,
        // may be known to nobody else.
        if self.gate.try_lock().is_err() {
            tokio::task::block_in_place(|| drop(self.gate.lock().unwrap()));
        }
        let Delivery { epoch, position, seq_before, entries, is_own, .. } = delivery;
        let comes_next = self.state().at == Some((epoch, position - 1));
        if !comes_next {
            return self.bus.upgrade().unwrap().again(&self.topic());
        }
        self.change(|state| {
            state.at = Some((epoch, position));
            state.own += usize::from(is_own);
            state.heard.push((epoch, position, seq_before, entries));
        });
    }

    fn detached(&self) {
        self.change(|state| {
            state.detached += 1;
            state.is_attached = false;
        });
    }
}
