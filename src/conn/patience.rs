//! How long what a room has to say waits for more.
//!
//! To write to a member costs the kernel some microseconds, whether it is one message or a hundred. So
//! before all members are written to, those who are about to speak may add theirs: while they do, as
//! many turns of the scheduler as it takes to hear everybody, and in a large room, even while nobody
//! does, for a small part of the time that the writing will take.
//!
//! Pure: whoever waits says what there is and how much time went by.

use std::time::Duration;

/// Most turns that a batch grows for in a small room. A member that speaks alone waits for one; under
/// load each turn fills the batch further, until its size or this ends it.
const TURNS: u32 = 4;

/// As many more members have a turn more: in one turn the scheduler hears about as many sockets.
const MEMBERS_A_TURN: u32 = 64;

/// What a member adds to the time that is waited in any case: a thirtieth of what it takes to write to
/// it.
const A_MEMBER: Duration = Duration::from_nanos(250);

/// What is known of the batch that waits.
pub(super) struct Patience {
    members: u32,
    turns: u32,
    bytes: usize,
}

impl Patience {
    /// For a batch of so many bytes in a room of so many members.
    pub(super) fn new(members: usize, bytes: usize) -> Self {
        Self { members: u32::try_from(members).unwrap_or(u32::MAX), turns: 0, bytes }
    }

    /// Whether to wait for another turn, after one: now the batch has so many bytes, and `waited` has
    /// gone by since it was begun.
    pub(super) fn lasts(&mut self, bytes: usize, waited: Duration) -> bool {
        let grew = bytes > std::mem::replace(&mut self.bytes, bytes);
        self.turns = self.turns.saturating_add(1);
        let turns_max = TURNS + self.members / MEMBERS_A_TURN;
        waited < A_MEMBER.saturating_mul(self.members) || (grew && self.turns < turns_max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(1);

    /// How many turns a batch waits for that grows with every one.
    fn turns_while_growing(members: usize) -> usize {
        let mut patience = Patience::new(members, 1);
        1 + (2..=1000).take_while(|bytes| patience.lasts(*bytes, LONG)).count()
    }

    #[test]
    fn who_speaks_alone_in_a_small_room_waits_for_one_turn() {
        assert!(!Patience::new(2, 100).lasts(100, Duration::from_nanos(500)));
        assert!(!Patience::new(10, 100).lasts(100, Duration::from_nanos(2_500)));
    }

    #[test]
    fn a_batch_waits_while_it_grows_but_not_for_ever() {
        assert_eq!(turns_while_growing(2), 4);
        assert_eq!(turns_while_growing(63), 4);
        assert_eq!(turns_while_growing(1000), 19);
        let mut patience = Patience::new(1000, 1);
        assert!(patience.lasts(2, LONG) && patience.lasts(3, LONG) && !patience.lasts(3, LONG));
    }

    #[test]
    fn in_a_large_room_it_waits_for_a_moment_in_any_case() {
        let mut patience = Patience::new(1000, 100);
        let nearly = Duration::from_nanos(249_999);
        assert!((0..1000).all(|_| patience.lasts(100, nearly)));
        assert!(!patience.lasts(200, Duration::from_micros(250)), "so many turns were enough");
    }

    #[test]
    fn a_batch_that_somebody_else_sent_is_not_waited_for() {
        let mut patience = Patience::new(10, 100);
        assert!(patience.lasts(200, LONG) && !patience.lasts(0, LONG));
    }
}
