//! How long what a room has to say waits for more.
//!
//! To write to a member costs the kernel some microseconds, whether it is one message or a hundred. So
//! before all members are written to, those who are about to speak may add theirs: while they do, as
//! many turns of the scheduler as it takes to hear everybody, and in a large room, even while nobody
//! does, for a small part of the time that the writing will take.
//!
//! Pure: whoever waits says what there is and what time it is.

use std::time::Duration;

use crate::core::limit::Instant;

/// Most turns that a batch grows for in a small room. A member that speaks alone waits for one; under
/// load each turn fills the batch further, until its size or this ends it.
const TURNS: u32 = 4;

/// As many more members have a turn more: in one turn the scheduler hears about as many sockets.
const MEMBERS_A_TURN: u32 = 64;

/// What is known of the batch that waits.
pub(super) struct Patience {
    /// Until then it waits in any case.
    until: Instant,
    turns_left: u32,
    bytes: usize,
}

impl Patience {
    /// For a batch of so many bytes that was begun at `since` in a room of so many members, for each of
    /// whom it waits for `wait`.
    pub(super) fn new(members: usize, wait: Duration, bytes: usize, since: Instant) -> Self {
        let members = u32::try_from(members).unwrap_or(u32::MAX);
        let until = since.after(wait.saturating_mul(members));
        Self { until, turns_left: TURNS + members / MEMBERS_A_TURN, bytes }
    }

    /// Whether to wait for another turn, after one: now the batch has so many bytes.
    pub(super) fn lasts(&mut self, bytes: usize, now: Instant) -> bool {
        let grew = bytes > std::mem::replace(&mut self.bytes, bytes);
        self.turns_left = self.turns_left.saturating_sub(1);
        now < self.until || (grew && self.turns_left > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WAIT: Duration = Duration::from_nanos(250);

    fn begun(members: usize, bytes: usize) -> Patience {
        Patience::new(members, WAIT, bytes, Instant::START)
    }

    fn ns(ns: u64) -> Instant {
        Instant::START.after(Duration::from_nanos(ns))
    }

    fn late() -> Instant {
        ns(1_000_000_000)
    }

    /// How many turns a batch waits for that grows with every one.
    fn turns_while_growing(members: usize) -> usize {
        let mut patience = begun(members, 1);
        1 + (2..=1000).take_while(|bytes| patience.lasts(*bytes, late())).count()
    }

    #[test]
    fn who_speaks_alone_in_a_small_room_waits_for_one_turn() {
        assert!(!begun(2, 100).lasts(100, ns(500)));
        assert!(!begun(10, 100).lasts(100, ns(2_500)));
    }

    #[test]
    fn a_batch_waits_while_it_grows_but_not_for_ever() {
        assert_eq!(turns_while_growing(2), 4);
        assert_eq!(turns_while_growing(63), 4);
        assert_eq!(turns_while_growing(1000), 19);
        let mut patience = begun(1000, 1);
        assert!(patience.lasts(2, late()) && patience.lasts(3, late()));
        assert!(!patience.lasts(3, late()));
    }

    #[test]
    fn in_a_large_room_it_waits_for_a_moment_in_any_case() {
        let mut patience = begun(1000, 100);
        assert!((0..1000).all(|_| patience.lasts(100, ns(249_999))));
        assert!(!patience.lasts(200, ns(250_000)), "so many turns were enough");
    }

    #[test]
    fn a_batch_that_somebody_else_sent_is_not_waited_for() {
        let mut patience = begun(10, 100);
        assert!(patience.lasts(200, late()) && !patience.lasts(0, late()));
    }
}
