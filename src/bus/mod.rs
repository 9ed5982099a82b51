//! The bus: what several nodes share over Redis, so that a room has one order on all of them.
//!
//! It knows rooms' and members' names, and neither sockets nor what an entry of a batch says. A
//! node publishes a room's batches through one atomic script that gives them their place, and takes
//! as said only what comes back; so every node sees one order, its own members included. What Redis
//! holds and carries has blinded names and is sealed per node. The bus never tries to hide a loss:
//! whoever was cut off is attached anew, and is told where the order is by then.

mod settings;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use self::settings::{BusSettings, Servers};
use crate::core::id::{Epoch, MemberId, NodeId, RoomId};
use crate::core::secret::SecretBytes;
use crate::metrics::Metrics;

/// A room of this node, as the bus sees it.
///
/// Calls for one topic never overlap, except [`Topic::take`] and [`Topic::room`], which come from
/// another task at any moment. All are short: none may block or call back into the bus and wait.
/// `Bus::speak`, `Bus::again` and `Bus::detach` may be called from within.
pub trait Topic: Send + Sync + 'static {
    /// The room's name; always the same.
    fn room(&self) -> &RoomId;

    /// The next batch, if there is something to say. Called only while attached and while no batch
    /// of this topic is under way, so that batches grow meanwhile.
    fn take(&self) -> Option<Batch>;

    /// Why nothing in a batch happened. For [`Refused::Void`], [`Topic::attached`] with another
    /// epoch follows at once.
    fn refused(&self, batch: Batch, why: Refused);

    /// Where this node is in the room's order, and its own members: for attaching, again and again.
    /// Until `attached` follows, nothing is delivered.
    fn standing(&self) -> Standing;

    /// The room's state. What is delivered after it, and has the same epoch, has higher positions.
    fn attached(&self, state: Attached);

    /// One batch that was published, by this node or by another. When its epoch is not that of
    /// `attached`, or its position is not the one that comes next, call [`Bus::again`] and ignore
    /// what comes until attached.
    fn deliver(&self, delivery: Delivery);

    /// The order is interrupted; `attached` follows when it can be had again. Nothing is taken
    /// until then; a batch that was under way is either done or refused after it.
    fn detached(&self);
}

/// Operations that are published together and take effect together, or not at all.
#[derive(Default)]
pub struct Batch {
    /// What the members of all nodes are told; the bus does not look at it.
    pub entries: Vec<u8>,
    /// How many of the entries take a number of the room.
    pub numbers: u32,
    /// Members of this node that come into the roster, and whether they hear messages.
    pub joins: Vec<(MemberId, bool)>,
    /// Members that go out of the roster, of any node; none may be absent.
    pub leaves: Vec<MemberId>,
    /// Most members that the roster may have after it; looked at only when somebody joins.
    pub members_max: u32,
}

/// Why a batch was not published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// A member that should leave is not in the roster.
    Absent,
    /// The roster is full.
    Full,
    /// The epoch in which it was meant is over.
    Void,
}

/// Where a node is in a room's order.
#[derive(Default)]
pub struct Standing {
    /// The epoch, and the position of the last batch that was applied in it.
    pub at: Option<(Epoch, u64)>,
    /// This node's own members, and whether they hear messages.
    pub members: Vec<(MemberId, bool)>,
}

/// A room's state at one moment of its order.
pub struct Attached {
    /// The order's name.
    pub epoch: Epoch,
    /// The position of the last batch; 0 when there was none.
    pub position: u64,
    /// The last number that was given; 0 when there was none.
    pub seq: u64,
    /// All members, this node's too, in no order.
    pub roster: Vec<Peer>,
}

/// A member in the roster.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    /// Its name.
    pub member: MemberId,
    /// The node that it is connected to.
    pub node: NodeId,
    /// Whether it hears messages.
    pub hears: bool,
}

/// A batch that came back from the bus.
pub struct Delivery {
    /// The node that published it.
    pub origin: NodeId,
    /// Whether that is this node.
    pub is_own: bool,
    /// The order in which it has its place.
    pub epoch: Epoch,
    /// Its place, counted in batches; the first has 1.
    pub position: u64,
    /// The last number that was given before it.
    pub seq_before: u64,
    /// As in [`Batch::entries`].
    pub entries: Vec<u8>,
}

/// What is kept of a room while nobody needs to be in it.
pub struct Stored {
    /// What was given to [`Bus::create`] or [`Bus::replace`].
    pub value: Vec<u8>,
    /// The time that is left, by Redis' clock.
    pub left: Duration,
    /// Rises with every change.
    pub version: u64,
}

/// The bus cannot be reached, or did not answer in time. What was asked may have happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the bus is down")]
pub struct Down;

/// This node's connection to all the others.
pub struct Bus {}

#[expect(unused_variables, clippy::todo, reason = "signatures")]
impl Bus {
    /// Makes the bus; nothing is connected before [`Bus::run`]. Fails on an address that cannot be
    /// read.
    pub fn connect(
        settings: BusSettings,
        secret: &SecretBytes,
        metrics: Arc<Metrics>,
    ) -> io::Result<Arc<Self>> {
        todo!()
    }

    /// Keeps the bus connected until `stop`. Everything that it spawns is on `tasks`.
    pub async fn run(self: Arc<Self>, tasks: TaskTracker, stop: CancellationToken) {
        todo!()
    }

    /// This process, among the nodes.
    pub fn node(&self) -> NodeId {
        todo!()
    }

    /// Subscribes to a room; when it returns `Ok`, `attached` has been called. After `Err` the
    /// topic is not attached, and need not be detached. Cancelled, it is as if detached.
    pub async fn attach(&self, topic: Arc<dyn Topic>) -> Result<(), Down> {
        todo!()
    }

    /// Asks for [`Topic::attached`] once more.
    pub fn again(&self, topic: &Arc<dyn Topic>) {
        todo!()
    }

    /// Unsubscribes. What was not taken yet is still taken and published if the link is up; call
    /// it when the last leave has come back.
    pub fn detach(&self, topic: &Arc<dyn Topic>) {
        todo!()
    }

    /// There is something to take. Cheap, and may be called under a room's lock.
    pub fn speak(&self, topic: &Arc<dyn Topic>) {
        todo!()
    }

    /// Publishes for a room that this node need not have attached. Where no node has it attached
    /// and nobody should leave, there is nobody to tell, which is fine.
    pub async fn announce(&self, room: &RoomId, batch: Batch) -> Result<Result<(), Refused>, Down> {
        todo!()
    }

    /// The record of a room.
    pub async fn load(&self, room: &RoomId) -> Result<Option<Stored>, Down> {
        todo!()
    }

    /// Makes a record if there is none. Returns what is there then, and whether it is this one.
    pub async fn create(
        &self,
        room: &RoomId,
        value: &[u8],
        life: Duration,
    ) -> Result<(Stored, bool), Down> {
        todo!()
    }

    /// Replaces the record if it still has this version; `life` of `None` leaves its end as it is.
    pub async fn replace(
        &self,
        room: &RoomId,
        version: u64,
        value: &[u8],
        life: Option<Duration>,
    ) -> Result<bool, Down> {
        todo!()
    }

    /// Gives the record at least this much time; false if there is none.
    pub async fn extend(&self, room: &RoomId, life: Duration) -> Result<bool, Down> {
        todo!()
    }

    /// Uses up a name for `life`: true for the first that does, on all nodes.
    pub async fn burn(&self, name: &[u8], life: Duration) -> Result<bool, Down> {
        todo!()
    }

    /// Whether every link is up and its last probe came back through the publish path.
    pub fn is_up(&self) -> bool {
        todo!()
    }

    /// How long the slowest link's last probe took; `None` while one is down.
    pub fn round_trip(&self) -> Option<Duration> {
        todo!()
    }

    /// Whether a node that shares this room lives, as far as this one knows: false only after its
    /// lease was absent for some seconds of an uninterrupted link. Whoever shares a room with it
    /// publishes then that its members left.
    pub fn is_alive(&self, room: &RoomId, node: NodeId) -> bool {
        todo!()
    }

    /// Waits until all that was to be taken is answered, for a time limit of its own, and gives
    /// the lease back.
    pub async fn finish(&self) {
        todo!()
    }
}
