//! The stages of a probe, how long each took, and what a failure says.

use std::time::Duration;

use crate::cli::remote::{Fault, Leg};
use crate::clock;
use crate::core::limit::Instant;

/// What a member goes through, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Stage {
    /// Finding the host's addresses.
    Resolve,
    /// Connecting to one of them.
    Connect,
    /// Speaking TLS.
    Tls,
    /// Making a room, and getting permission to join it twice.
    Token,
    /// A member's own connection, TLS and upgrade; the slower of two members.
    Handshake,
    /// From the upgrade to the welcome; the slower of two members.
    Join,
    /// From sending a message to its arrival at the other member.
    Message,
}

impl Stage {
    /// Every stage, in order.
    pub(super) const ALL: [Self; 7] = [
        Self::Resolve,
        Self::Connect,
        Self::Tls,
        Self::Token,
        Self::Handshake,
        Self::Join,
        Self::Message,
    ];

    /// As in reports and labels.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Resolve => "resolve",
            Self::Connect => "connect",
            Self::Tls => "tls",
            Self::Token => "token",
            Self::Handshake => "handshake",
            Self::Join => "join",
            Self::Message => "message",
        }
    }

    /// What to do when time runs out here.
    const fn when_silent(self) -> &'static str {
        match self {
            Self::Resolve => "the name server does not answer: getent hosts <name>",
            Self::Connect => "a firewall drops packets, or the backlog of the listener is full",
            Self::Tls => "whatever listens there says nothing: is it the proxy that ends TLS?",
            Self::Token => {
                "something listens there and does not answer: look at the relay's \
                            /health, and at the proxy's log"
            }
            Self::Handshake => {
                "requests are answered and the upgrade is not: does the proxy pass \
                                Connection and Upgrade on? see docs/proxies/README.md"
            }
            Self::Join => {
                "the upgrade came and no welcome: does the proxy buffer answers? see \
                           docs/proxies/README.md; with several nodes, look at the bus in /health"
            }
            Self::Message => {
                "members join and do not hear each other: with several nodes, look at \
                              the bus in /health"
            }
        }
    }
}

/// Why a probe failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failure {
    /// Where.
    pub(super) stage: Stage,
    /// Whether time ran out; the label is then `timeout`.
    pub(super) timed_out: bool,
    /// What is the matter, without anything that a peer chose.
    pub(super) what: String,
    /// What to do next.
    pub(super) next: &'static str,
}

impl Failure {
    pub(super) fn new(stage: Stage, what: impl Into<String>, next: &'static str) -> Self {
        Self { stage, timed_out: false, what: what.into(), next }
    }

    /// Nothing came within the limit.
    pub(super) fn silent(stage: Stage, limit: Duration) -> Self {
        let what = format!("no answer within the {} s of --timeout", limit.as_secs());
        Self { stage, timed_out: true, what, next: stage.when_silent() }
    }

    /// The label by which it is counted.
    pub(super) const fn label(&self) -> &'static str {
        if self.timed_out { TIMEOUT } else { self.stage.name() }
    }
}

/// The label of a failure by time.
pub(super) const TIMEOUT: &str = "timeout";

impl From<Fault> for Failure {
    fn from(fault: Fault) -> Self {
        let stage = match fault.leg {
            Leg::Resolve => Stage::Resolve,
            Leg::Connect => Stage::Connect,
            Leg::Tls => Stage::Tls,
        };
        Self::new(stage, fault.what, fault.next)
    }
}

/// Where a probe is, and how long it took to get there. Outlives a probe that is cut off.
pub(super) struct Journal {
    now: Stage,
    since: Instant,
    took: [Option<Duration>; Stage::ALL.len()],
}

impl Journal {
    /// Starts at the first stage.
    pub(super) fn new() -> Self {
        Self { now: Stage::Resolve, since: clock::now(), took: [None; Stage::ALL.len()] }
    }

    /// Goes on to a stage.
    pub(super) fn enter(&mut self, stage: Stage) {
        self.now = stage;
        self.since = clock::now();
    }

    /// Notes that the stage is done. Of two passes through it the slower one counts.
    pub(super) fn done(&mut self) {
        self.done_at(clock::now());
    }

    /// The same, for a moment that has passed.
    pub(super) fn done_at(&mut self, moment: Instant) {
        let took = moment.since(self.since);
        if let Some(slowest) = self.took.get_mut(self.now as usize) {
            *slowest = (*slowest).max(Some(took));
        }
    }

    /// The stage that was entered last.
    pub(super) const fn now(&self) -> Stage {
        self.now
    }

    /// How long a stage took, if it was passed.
    pub(super) fn took(&self, stage: Stage) -> Option<Duration> {
        self.took.get(stage as usize).copied().flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slower_of_two_passes_counts_and_a_stage_that_is_not_done_took_nothing() {
        let mut journal = Journal::new();
        let after = |journal: &Journal, ms| journal.since.after(Duration::from_millis(ms));
        for ms in [3, 7, 5] {
            journal.enter(Stage::Join);
            let moment = after(&journal, ms);
            journal.done_at(moment);
        }
        journal.enter(Stage::Message);
        assert_eq!(journal.took(Stage::Join), Some(Duration::from_millis(7)));
        assert_eq!(journal.took(Stage::Message), None);
        assert_eq!(journal.now(), Stage::Message);
        for (at, stage) in Stage::ALL.into_iter().enumerate() {
            assert_eq!(stage as usize, at, "the order of ALL is that of the stages");
        }
    }

    #[test]
    fn a_failure_by_time_is_counted_as_such_and_says_where() {
        let failure = Failure::silent(Stage::Tls, Duration::from_secs(3));
        assert_eq!((failure.label(), failure.stage), ("timeout", Stage::Tls));
        assert_eq!(Failure::new(Stage::Tls, "", "").label(), "tls");
    }
}
