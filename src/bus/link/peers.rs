//! Which of the other nodes live, by their leases on one server.

use std::collections::HashMap;
use std::time::Duration;

use crate::core::id::NodeId;
use crate::core::limit::Instant;

/// How long a lease lives. It is renewed with every probe.
pub(super) const LEASE: Duration = Duration::from_secs(8);
/// How long a lease must be absent.
const ABSENT: Duration = Duration::from_secs(3);
/// How long the link must have been up, so that others had the time to come back as well.
const SETTLED: Duration = Duration::from_secs(9);
/// How long a dead node is remembered.
const FORGET: Duration = Duration::from_secs(600);
/// Most nodes whose leases are watched; others count as living.
const WATCHED_MAX: usize = 4096;

/// The nodes that somebody asked for.
#[derive(Default)]
pub(in crate::bus) struct Peers {
    /// Since when the link is up without a break.
    since: Option<Instant>,
    /// Since when each one's lease is absent.
    absent: HashMap<NodeId, Option<Instant>>,
}

impl Peers {
    /// The link came up, or Redis lost what it had: everybody gets time to come back.
    pub(super) fn settle(&mut self, now: Instant) {
        self.since = Some(now);
        for absent in self.absent.values_mut() {
            *absent = None;
        }
    }

    /// The link is down: nothing is known of anybody.
    pub(super) fn cut(&mut self) {
        self.since = None;
    }

    /// Those to look for.
    pub(super) fn watched(&self) -> Vec<NodeId> {
        self.absent.keys().copied().collect()
    }

    /// Whether a node's lease was there at `now`.
    pub(super) fn saw(&mut self, node: NodeId, is_there: bool, now: Instant) {
        let Some(absent) = self.absent.get_mut(&node) else { return };
        match absent {
            _ if is_there => *absent = None,
            None => *absent = Some(now),
            Some(since) if now.since(*since) > FORGET => {
                self.absent.remove(&node);
            }
            Some(_) => {}
        }
    }

    /// A node spoke: it lives, though its lease may not have been looked for since it came back.
    pub(in crate::bus) fn heard(&mut self, node: NodeId) {
        if let Some(absent) = self.absent.get_mut(&node) {
            *absent = None;
        }
    }

    /// Whether a node lives, as far as is known. From the first question on, it is watched.
    pub(in crate::bus) fn is_alive(&mut self, node: NodeId, now: Instant) -> bool {
        self.watch(node);
        let is_settled = self.since.is_some_and(|since| now.since(since) >= SETTLED);
        match self.absent.get(&node) {
            Some(Some(absent)) if is_settled => now.since(*absent) < ABSENT,
            _ => true,
        }
    }

    /// Watches a node's lease.
    pub(in crate::bus) fn watch(&mut self, node: NodeId) {
        if self.absent.len() < WATCHED_MAX {
            self.absent.entry(node).or_default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODE: NodeId = NodeId::from_bytes([1; 16]);

    fn at(seconds: u64) -> Instant {
        Instant::START.after(Duration::from_secs(seconds))
    }

    #[test]
    fn a_node_is_dead_when_its_lease_was_absent_for_long_enough_of_a_settled_link() {
        let mut peers = Peers::default();
        assert!(peers.is_alive(NODE, at(0)), "nothing is known");
        peers.settle(at(0));
        for second in 0..9 {
            peers.saw(NODE, false, at(second));
            assert!(peers.is_alive(NODE, at(second)), "{second}");
        }
        assert!(!peers.is_alive(NODE, at(9)));
        peers.saw(NODE, true, at(10));
        assert!(peers.is_alive(NODE, at(10)), "it is back");
        peers.saw(NODE, false, at(11));
        assert!(peers.is_alive(NODE, at(13)), "not for long enough");
        assert!(!peers.is_alive(NODE, at(14)));
    }

    #[test]
    fn a_break_of_the_link_gives_everybody_time() {
        let mut peers = Peers::default();
        peers.settle(at(0));
        peers.watch(NODE);
        peers.saw(NODE, false, at(1));
        assert!(!peers.is_alive(NODE, at(20)));
        peers.cut();
        assert!(peers.is_alive(NODE, at(21)));
        peers.settle(at(30));
        peers.saw(NODE, false, at(31));
        assert!(peers.is_alive(NODE, at(38)));
        assert!(!peers.is_alive(NODE, at(39)));
    }

    #[test]
    fn who_speaks_lives() {
        let mut peers = Peers::default();
        peers.settle(at(0));
        peers.watch(NODE);
        peers.saw(NODE, false, at(1));
        assert!(!peers.is_alive(NODE, at(20)));
        peers.heard(NODE);
        assert!(peers.is_alive(NODE, at(20)), "what it says now is not taken from it");
        peers.saw(NODE, false, at(21));
        assert!(peers.is_alive(NODE, at(23)), "an answer from before it came back");
        assert!(!peers.is_alive(NODE, at(24)));
    }

    #[test]
    fn those_who_are_long_dead_are_forgotten() {
        let mut peers = Peers::default();
        peers.watch(NODE);
        peers.saw(NODE, false, at(1));
        peers.saw(NODE, false, at(700));
        assert!(peers.watched().is_empty());
    }
}
