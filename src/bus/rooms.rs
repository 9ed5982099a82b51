//! Which rooms are attached: by name for those who speak, by channel for what comes.

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use dashmap::DashMap;

use super::names::{PARTITIONS, partition_of};
use super::room::Room;
use super::topic::Topic;
use crate::core::id::RoomId;

type Part = HashMap<Box<str>, Arc<Room>>;

/// All attached rooms.
pub(super) struct Rooms {
    by_name: DashMap<RoomId, Arc<Room>>,
    parts: Vec<Mutex<Part>>,
}

impl Rooms {
    pub(super) fn new() -> Self {
        let parts = (0..PARTITIONS).map(|_| Mutex::default()).collect();
        Self { by_name: DashMap::new(), parts }
    }

    /// Puts a room in; one with its name that was there is gone.
    pub(super) fn insert(&self, room: &Arc<Room>) {
        if let Some(before) = self.by_name.insert(*room.topic.room(), Arc::clone(room)) {
            before.gone.store(true, Ordering::Release);
        }
        if let Some(mut part) = self.part(room.names.partition) {
            part.insert(room.names.order.clone(), Arc::clone(room));
        }
    }

    /// Takes a room out if it is this topic's.
    pub(super) fn remove(&self, topic: &Arc<dyn Topic>) -> Option<Arc<Room>> {
        let same = |_: &RoomId, room: &Arc<Room>| {
            std::ptr::addr_eq(Arc::as_ptr(&room.topic), Arc::as_ptr(topic))
        };
        let (_, room) = self.by_name.remove_if(topic.room(), same)?;
        room.gone.store(true, Ordering::Release);
        if let Some(mut part) = self.part(room.names.partition)
            && part.get(&room.names.order).is_some_and(|there| Arc::ptr_eq(there, &room))
        {
            part.remove(&room.names.order);
        }
        Some(room)
    }

    pub(super) fn by_name(&self, room: &RoomId) -> Option<Arc<Room>> {
        self.by_name.get(room).map(|room| Arc::clone(&room))
    }

    pub(super) fn by_channel(&self, channel: &[u8]) -> Option<Arc<Room>> {
        let part = self.part(partition_of(channel)?)?;
        part.get(std::str::from_utf8(channel).ok()?).cloned()
    }

    /// All rooms of a partition.
    pub(super) fn of_partition(&self, partition: usize) -> Vec<Arc<Room>> {
        self.part(partition).map_or_else(Vec::new, |part| part.values().cloned().collect())
    }

    fn part(&self, partition: usize) -> Option<MutexGuard<'_, Part>> {
        let part = self.parts.get(partition)?;
        Some(part.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
