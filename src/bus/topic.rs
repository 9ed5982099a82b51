//! What the bus and a room say to each other.

use std::time::Duration;

use crate::core::id::{Epoch, MemberId, NodeId, RoomId};
use crate::metrics::BusRefusal;

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
    /// `attached`, or its position is not the one that comes next, call [`super::Bus::again`] and ignore
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

impl From<Refused> for BusRefusal {
    fn from(why: Refused) -> Self {
        match why {
            Refused::Absent => Self::Absent,
            Refused::Full => Self::Full,
            Refused::Void => Self::Void,
        }
    }
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
    /// What was given to [`super::Bus::create`] or [`super::Bus::replace`].
    pub value: Vec<u8>,
    /// The time that is left, by Redis' clock.
    pub left: Duration,
    /// Rises with every change.
    pub version: u64,
}
