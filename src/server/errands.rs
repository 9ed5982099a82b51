//! What shared rooms need done by somebody who may wait: one task, one errand at a time.

use std::sync::Arc;

use crate::admission::shared::{Failure, Shared};
use crate::clock;
use crate::core::id::RoomId;
use crate::core::wire::{self, OwnerOp, Refused};
use crate::hub::{Errand, Hub};

/// Runs errands for ever.
pub(super) async fn run(hub: Arc<Hub>, other_nodes: Arc<Shared>) {
    loop {
        match hub.next_errand().await {
            Errand::LookUp(room) => look_up(&hub, &other_nodes, &room).await,
            Errand::Rule { room, op, session } => {
                let done = match op {
                    OwnerOp::Close => other_nodes.close(&room).await,
                    OwnerOp::Lock => other_nodes.set_locked(&room, true).await,
                    OwnerOp::Unlock => other_nodes.set_locked(&room, false).await,
                    OwnerOp::Kick => Ok(()),
                };
                if let Err(Failure::Down) = done {
                    let text = wire::error(Refused::Unavailable, None, Some(RETRY_AFTER_MS));
                    session.tell(&text, clock::now());
                }
            }
        }
    }
}

/// Brings this node up to a record that was changed, and tells the members here.
async fn look_up(hub: &Hub, other_nodes: &Shared, room: &RoomId) {
    if let Err(Failure::Down) = other_nodes.load(room).await {
        // It is looked up again when the room is attached again.
        return;
    }
    let now = clock::now();
    match hub.is_open(room) {
        Some(true) => hub.options_changed(room, now),
        Some(false) | None => hub.end_here(room, now),
    }
}

/// When an owner should try again.
const RETRY_AFTER_MS: u64 = 1000;
