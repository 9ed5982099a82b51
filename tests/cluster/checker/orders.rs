//! What stands under each number of each epoch, put together from all logs.

use std::collections::{HashMap, HashSet};

use super::{Epoch, Event, Fault, Finding, Hash, Kind, Log, Name, Sending, Sendings};

/// What has a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Thing {
    Message(Hash),
    Join(Name),
    Leave(Name),
}

/// One epoch of one room.
#[derive(Default)]
pub(super) struct Order {
    things: HashMap<u64, Thing>,
    /// The highest number of a message.
    last_message: u64,
}

impl Order {
    /// What has this number, if anybody knows.
    pub(super) fn at(&self, seq: u64) -> Option<Thing> {
        self.things.get(&seq).copied()
    }

    /// The highest number of a message that anybody knows of.
    pub(super) const fn last_message(&self) -> u64 {
        self.last_message
    }
}

/// All epochs of all rooms.
#[derive(Default)]
pub(super) struct Orders {
    by_epoch: HashMap<(usize, Epoch), Order>,
}

impl Orders {
    /// Puts the logs together, and finds where they contradict each other.
    pub(super) fn of(logs: &[Log], sendings: &Sendings, findings: &mut Vec<Finding>) -> Self {
        let mut orders = Self::default();
        for (index, log) in logs.iter().enumerate() {
            orders.read(index, log, sendings, findings);
        }
        epochs_in_one_order(logs, findings);
        orders
    }

    /// The order of this room and epoch, which somebody has seen.
    pub(super) fn of_epoch(&self, room: usize, epoch: Epoch) -> Option<&Order> {
        self.by_epoch.get(&(room, epoch))
    }

    fn read(&mut self, index: usize, log: &Log, sendings: &Sendings, findings: &mut Vec<Finding>) {
        let mut now = 0;
        for event in &log.events {
            let (seq, thing) = match *event {
                Event::Welcome(ref welcome) => {
                    now = welcome.epoch;
                    (welcome.seq, Thing::Join(welcome.me))
                }
                Event::Reset { epoch, .. } => {
                    now = epoch;
                    self.by_epoch.entry((log.room, now)).or_default();
                    continue;
                }
                Event::Join { member, seq } => (seq, Thing::Join(member)),
                Event::Leave { member, seq } => (seq, Thing::Leave(member)),
                Event::Message { seq, hash, .. } => (seq, Thing::Message(hash)),
                // What its sender was told counts as much as what others heard.
                Event::Ack { hash, seq } if is_numbered(sendings, hash) => {
                    (seq, Thing::Message(hash))
                }
                _ => continue,
            };
            let order = self.by_epoch.entry((log.room, now)).or_default();
            if *order.things.entry(seq).or_insert(thing) != thing {
                findings.push(Finding { fault: Fault::Disagree, log: index, room: log.room, seq });
            }
            if matches!(thing, Thing::Message(_)) {
                order.last_message = order.last_message.max(seq);
            }
        }
    }
}

/// Whether this was sent in a way that takes a number.
fn is_numbered(sendings: &Sendings, hash: Hash) -> bool {
    matches!(sendings.by_hash.get(&hash), Some(Sending { kind: Kind::Plain | Kind::Echo, .. }))
}

/// No member sees an epoch again, and no two members see two epochs in different orders.
fn epochs_in_one_order(logs: &[Log], findings: &mut Vec<Finding>) {
    let mut follows = HashSet::<(usize, Epoch, Epoch)>::new();
    for (index, log) in logs.iter().enumerate() {
        let mut seen = Vec::new();
        for event in &log.events {
            let epoch = match *event {
                Event::Welcome(ref welcome) => welcome.epoch,
                Event::Reset { epoch, .. } => epoch,
                _ => continue,
            };
            let contradicts =
                |&before: &Epoch| before == epoch || follows.contains(&(log.room, epoch, before));
            if seen.iter().any(contradicts) {
                findings.push(Finding { fault: Fault::Epochs, log: index, room: log.room, seq: 0 });
            }
            for before in &seen {
                follows.insert((log.room, *before, epoch));
            }
            seen.push(epoch);
        }
    }
}
