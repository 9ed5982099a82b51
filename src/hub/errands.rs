//! What a room needs that only somebody who may wait can do: looking its record up, and changing it.
//!
//! Rooms leave it here, from under their locks, and one task of the server fetches it.

use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::core::id::RoomId;
use crate::core::wire::OwnerOp;
use crate::hub::session::Session;

/// Something to be done for a room that is shared with other nodes.
pub enum Errand {
    /// The room's record was changed by another node, or may have been.
    LookUp(RoomId),
    /// A member that is the room's owner wants this done: `Close`, `Lock` or `Unlock`.
    Rule {
        /// The room.
        room: RoomId,
        /// The operation.
        op: OwnerOp,
        /// Who is told if it cannot be done.
        session: Arc<Session>,
    },
}

/// Errands that nobody has fetched yet.
#[derive(Default)]
pub(super) struct Errands {
    waiting: Mutex<Waiting>,
    some: Notify,
}

#[derive(Default)]
struct Waiting {
    /// At most one for each room that has members here.
    look_up: HashSet<RoomId>,
    rule: VecDeque<Errand>,
}

/// Most wishes of owners that wait: each is a round to the bus, and whoever finds it full is told.
const RULES_MAX: usize = 1024;

impl Errands {
    pub(super) fn look_up(&self, room: RoomId) {
        self.lock().look_up.insert(room);
        self.some.notify_one();
    }

    /// False if too many wait.
    pub(super) fn rule(&self, room: RoomId, op: OwnerOp, session: &Arc<Session>) -> bool {
        let mut waiting = self.lock();
        if waiting.rule.len() >= RULES_MAX {
            return false;
        }
        waiting.rule.push_back(Errand::Rule { room, op, session: Arc::clone(session) });
        drop(waiting);
        self.some.notify_one();
        true
    }

    /// The next one. Cancelled, it loses nothing.
    pub(super) async fn next(&self) -> Errand {
        loop {
            if let Some(errand) = self.take() {
                return errand;
            }
            self.some.notified().await;
        }
    }

    fn take(&self) -> Option<Errand> {
        let mut waiting = self.lock();
        if let Some(rule) = waiting.rule.pop_front() {
            return Some(rule);
        }
        let room = waiting.look_up.iter().next().copied()?;
        waiting.look_up.remove(&room);
        Some(Errand::LookUp(room))
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
