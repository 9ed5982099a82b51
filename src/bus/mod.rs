//! The bus: what several nodes share over Redis, so that a room has one order on all of them.
//!
//! It knows rooms' and members' names, and neither sockets nor what an entry of a batch says. A
//! node publishes a room's batches through one atomic script that gives them their place, and takes
//! as said only what comes back; so every node sees one order, its own members included. What Redis
//! holds and carries has blinded names and is sealed per node. The bus never tries to hide a loss:
//! whoever was cut off is attached anew, and is told where the order is by then.
//!
//! # Life of a batch
//!
//! 1. [`Bus::speak`] puts the room into its link's queue,
//! 2. the link's session takes the [`Batch`], seals it, and sends it with those of other rooms,
//! 3. the script `publish.lua` gives it its position and publishes it in the room's channel,
//! 4. the subscriber's task sorts it into the room's inbox,
//! 5. a worker opens it and calls [`Topic::deliver`],
//! 6. the script's answer comes, and the room's next batch is taken.

mod delivery;
mod link;
mod names;
mod room;
mod rooms;
mod route;
mod scripts;
mod seal;
mod settings;
mod slots;
mod topic;
mod truth;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use redis::Value;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::delivery::Ready;
use self::link::Announcement;
use self::names::Names;
use self::room::{Room, Sealed};
use self::rooms::Rooms;
use self::route::Route;
use self::scripts::integer;
use self::seal::{Sealer, Voice};
pub use self::settings::{BusSettings, Servers};
pub use self::topic::{Attached, Batch, Delivery, Peer, Refused, Standing, Stored, Topic};
use crate::clock;
use crate::core::id::{Epoch, MemberId, NodeId, RoomId};
use crate::core::secret::SecretBytes;
use crate::metrics::Metrics;

/// How long an order and a roster live without any node that has the room attached.
const ROOM_LIFE: Duration = Duration::from_secs(120);

/// The bus cannot be reached, or did not answer in time. What was asked may have happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the bus is down")]
pub struct Down;

/// This node's connection to all the others.
pub struct Bus {
    settings: BusSettings,
    metrics: Arc<Metrics>,
    names: Names,
    sealer: Sealer,
    /// What rooms of this node say.
    voice: Voice,
    /// What is said from outside a room.
    outside: Voice,
    rooms: Rooms,
    ready: Ready,
    route: Route,
    /// Whether the lease is given back, and so not renewed.
    finished: AtomicBool,
    /// How many sessions there were, on all links.
    sessions: AtomicU64,
}

impl Bus {
    /// Makes the bus; nothing is connected before [`Bus::run`]. Fails on an address that cannot be
    /// read.
    pub fn connect(
        settings: BusSettings,
        secret: &SecretBytes,
        metrics: Arc<Metrics>,
    ) -> io::Result<Arc<Self>> {
        // Whoever was here before has installed one that does as well.
        drop(rustls::crypto::ring::default_provider().install_default());
        let names = Names::new(secret);
        let sealer = Sealer::new(secret);
        let voice = sealer.voice(NodeId::from_bytes(random()));
        let outside = sealer.voice(NodeId::from_bytes(random()));
        let route = Route::new(&settings, &names)?;
        Ok(Arc::new(Self {
            settings,
            metrics,
            names,
            sealer,
            voice,
            outside,
            rooms: Rooms::new(),
            ready: Ready::default(),
            route,
            finished: AtomicBool::new(false),
            sessions: AtomicU64::new(0),
        }))
    }

    /// Keeps the bus connected until `stop`. Everything that it spawns is on `tasks`.
    pub async fn run(self: Arc<Self>, tasks: TaskTracker, stop: CancellationToken) {
        for _ in 0..self.settings.workers.max(1) {
            tasks.spawn(Arc::clone(&self).deliver(stop.clone()));
        }
        self.drive(&tasks, &stop).await;
    }

    /// This process, among the nodes.
    pub const fn node(&self) -> NodeId {
        self.voice.node()
    }

    /// Subscribes to a room; when it returns `Ok`, `attached` has been called. After `Err` the
    /// topic is not attached, and need not be detached. Cancelled, it is as if detached.
    pub async fn attach(&self, topic: Arc<dyn Topic>) -> Result<(), Down> {
        let names = self.names.room(topic.room());
        let link = self.route.link(names.partition).ok_or(Down)?;
        let room = Arc::new(Room::new(topic, names));
        self.rooms.insert(&room);
        let mut guard = Attaching { bus: self, topic: Some(&room.topic) };
        if link.session() == 0 {
            return Err(Down);
        }
        link.subscribe(Arc::clone(&room));
        let entered = tokio::time::timeout(self.settings.timeout, room.entered.notified()).await;
        // It may have come at the last moment.
        if entered.is_err() && !room.is_in.load(Ordering::Acquire) {
            return Err(Down);
        }
        guard.topic = None;
        Ok(())
    }

    /// Asks for [`Topic::attached`] once more.
    pub fn again(&self, topic: &Arc<dyn Topic>) {
        if let Some(room) = self.rooms.by_name(topic.room()) {
            self.ask(&room);
        }
    }

    /// Unsubscribes. What was not taken yet is still taken and published if the link is up; call
    /// it when the last leave has come back.
    pub fn detach(&self, topic: &Arc<dyn Topic>) {
        if let Some(room) = self.rooms.remove(topic)
            && let Some(link) = self.route.link(room.names.partition)
        {
            link.unsubscribe(room.names.order.clone());
            link.speak(room);
        }
    }

    /// There is something to take. Cheap, and may be called under a room's lock.
    pub fn speak(&self, topic: &Arc<dyn Topic>) {
        if let Some(room) = self.rooms.by_name(topic.room()) {
            self.queue(&room);
        }
    }

    /// Publishes for a room that this node need not have attached. Where no node has it attached
    /// and nobody should leave, there is nobody to tell, which is fine.
    ///
    /// Cancelled, it may have happened.
    pub async fn announce(&self, room: &RoomId, batch: Batch) -> Result<Result<(), Refused>, Down> {
        let names = self.names.room(room);
        let link = self.route.link(names.partition).ok_or(Down)?;
        let sealed = Sealed::new(self, room, &names, &batch, true);
        let (answer, answered) = oneshot::channel();
        link.announce(Announcement { names, sealed, answer })?;
        match tokio::time::timeout(self.settings.timeout, answered).await {
            Ok(Ok(answer)) => Ok(answer),
            _ => Err(Down),
        }
    }

    /// Whether every link is up and its last probe came back through the publish path.
    pub fn is_up(&self) -> bool {
        self.round_trip().is_some()
    }

    /// Why a server cannot be reached, if one cannot.
    pub fn fault(&self) -> Option<&'static str> {
        self.route.links().iter().find_map(|link| link.fault())
    }

    /// How long the slowest link's last probe took; `None` while one is down.
    pub fn round_trip(&self) -> Option<Duration> {
        let links = self.route.links();
        let times: Option<Vec<Duration>> = links.iter().map(|link| link.round_trip()).collect();
        times?.into_iter().max()
    }

    /// Whether a node that shares this room lives, as far as this one knows: false only after its
    /// lease was absent for some seconds of an uninterrupted link. Whoever shares a room with it
    /// publishes then that its members left.
    pub fn is_alive(&self, room: &RoomId, node: NodeId) -> bool {
        if node == self.node() {
            return true;
        }
        let known = self.rooms.by_name(room).map(|room| room.names.partition);
        let partition = known.unwrap_or_else(|| self.names.room(room).partition);
        let link = self.route.lease_link(partition);
        link.is_none_or(|link| link.peers().is_alive(node, clock::now()))
    }

    /// Waits until all that was to be taken is answered, as long as an answer may take, and gives
    /// the lease back.
    pub async fn finish(&self) {
        let limit = self.settings.timeout;
        let links = self.route.links();
        for link in &links {
            // What is not answered by then is lost with the process, and its members are told.
            drop(tokio::time::timeout(limit, link.until_quiet()).await);
        }
        self.finished.store(true, Ordering::Release);
        for link in &links {
            let home = self.route.partitions(link).first().copied().unwrap_or(0);
            self.give_back(link, &self.names.lease(home, self.node())).await;
        }
    }

    /// Notes how the links are.
    fn note(&self) {
        let links = self.route.links();
        let up = links.iter().filter(|link| link.round_trip().is_some()).count();
        self.metrics.set_links(up, links.len() - up);
        self.metrics.set_round_trip(self.round_trip());
    }

    /// There is something to take from a room.
    fn queue(&self, room: &Arc<Room>) {
        if let Some(link) = self.route.link(room.names.partition) {
            link.speak(Arc::clone(room));
        }
    }
}

/// Detaches a topic, unless it was attached.
struct Attaching<'a> {
    bus: &'a Bus,
    topic: Option<&'a Arc<dyn Topic>>,
}

impl Drop for Attaching<'_> {
    fn drop(&mut self) {
        if let Some(topic) = self.topic {
            self.bus.detach(topic);
        }
    }
}

/// Reads the answer of `attach.lua`. Members whose value does not open are left out.
fn read_attached(bus: &Bus, room: &Room, answer: Value) -> Option<Attached> {
    let Value::Array(parts) = answer else { return None };
    let [Value::BulkString(epoch), position, seq, Value::Array(fields)] = parts.as_slice() else {
        return None;
    };
    let number = |value: &Value| u64::try_from(integer(value)?).ok();
    let (pairs, _) = fields.as_chunks::<2>();
    let roster = pairs.iter().filter_map(|[field, value]| read_peer(bus, room, field, value));
    Some(Attached {
        epoch: Epoch::from_bytes(epoch.as_slice().try_into().ok()?),
        position: number(position)?,
        seq: number(seq)?,
        roster: roster.collect(),
    })
}

fn read_peer(bus: &Bus, room: &Room, field: &Value, value: &Value) -> Option<Peer> {
    let (Value::BulkString(field), Value::BulkString(value)) = (field, value) else { return None };
    let opened = bus.sealer.open(room.names.roster.as_bytes(), value.clone(), 0)?;
    let (hears, member) = opened.content.split_first()?;
    let member = MemberId::from_bytes(member.try_into().ok()?);
    let is_its_own = bus.names.member(room.topic.room(), member)[..] == field[..];
    is_its_own.then_some(Peer { member, node: opened.node, hears: *hears == 1 })
}

/// Fills an array with bytes of the kernel's generator.
fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the kernel gives random bytes");
    bytes
}
