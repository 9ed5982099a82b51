//! Where a node stands in a room's order that it shares with other nodes, and what comes next.
//!
//! The bus counts what is published in a room: its *position*. A room's *numbers* are those of its
//! messages, joins and leaves; one publication takes any number of them, also none. A node applies a
//! publication only directly behind what it has applied, so that it can miss nothing unawares.

use super::id::Epoch;

/// A place in a room's order.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The unbroken order that the other two belong to.
    pub epoch: Epoch,
    /// How much was published.
    pub position: u64,
    /// The last number that was given.
    pub seq: u64,
}

/// What to do with a publication.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It comes next.
    Apply,
    /// It was applied before.
    Old,
    /// Something before it was missed.
    Jump,
    /// The order was broken.
    OtherEpoch,
}

/// What happened between two places.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missed {
    /// Nothing.
    Nothing,
    /// These numbers, both included. If `to` is the one before `from`, only something without a number.
    Numbers {
        /// The first.
        from: u64,
        /// The last.
        to: u64,
    },
    /// The order was broken.
    Order,
}

impl Place {
    /// What to do with the publication at `position` of `epoch`, before which `seq_before` was the
    /// last number.
    pub fn judge(&self, epoch: Epoch, position: u64, seq_before: u64) -> Verdict {
        if epoch != self.epoch {
            Verdict::OtherEpoch
        } else if position <= self.position {
            Verdict::Old
        } else if self.position.checked_add(1) == Some(position) && seq_before == self.seq {
            Verdict::Apply
        } else {
            Verdict::Jump
        }
    }

    /// Goes behind a publication that is applied and took so many numbers.
    pub const fn advance(&mut self, numbers: u64) {
        self.position = self.position.saturating_add(1);
        self.seq = self.seq.saturating_add(numbers);
    }

    /// Goes to the place that the bus says, and tells what was missed on the way. What goes backwards
    /// is another order, whatever it calls itself.
    pub fn go_to(&mut self, there: Self) -> Missed {
        let here = std::mem::replace(self, there);
        if there.epoch != here.epoch || there.position < here.position || there.seq < here.seq {
            return Missed::Order;
        }
        if there.position == here.position {
            return if there.seq == here.seq { Missed::Nothing } else { Missed::Order };
        }
        Missed::Numbers { from: here.seq + 1, to: there.seq }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ONE: Epoch = Epoch::from_bytes([1; 8]);
    const TWO: Epoch = Epoch::from_bytes([2; 8]);

    fn place(position: u64, seq: u64) -> Place {
        Place { epoch: ONE, position, seq }
    }

    #[test]
    fn only_what_comes_next_is_applied() {
        let here = place(4, 10);
        for (epoch, position, seq, verdict) in [
            (ONE, 5, 10, Verdict::Apply),
            (ONE, 4, 10, Verdict::Old),
            (ONE, 1, 99, Verdict::Old),
            (ONE, 6, 10, Verdict::Jump),
            (ONE, 5, 11, Verdict::Jump),
            (ONE, 5, 9, Verdict::Jump),
            (TWO, 5, 10, Verdict::OtherEpoch),
            (TWO, 0, 0, Verdict::OtherEpoch),
        ] {
            assert_eq!(here.judge(epoch, position, seq), verdict, "{position} {seq}");
        }
        assert_eq!(place(u64::MAX, 0).judge(ONE, u64::MAX, 0), Verdict::Old);
    }

    #[test]
    fn what_was_missed_is_told() {
        for (position, seq, missed) in [
            (4, 10, Missed::Nothing),
            (6, 13, Missed::Numbers { from: 11, to: 13 }),
            (5, 10, Missed::Numbers { from: 11, to: 10 }),
            (3, 10, Missed::Order),
            (5, 9, Missed::Order),
            (4, 11, Missed::Order),
        ] {
            let mut here = place(4, 10);
            assert_eq!(here.go_to(place(position, seq)), missed, "{position} {seq}");
            assert!(here == place(position, seq));
        }
        let mut here = place(4, 10);
        assert_eq!(here.go_to(Place { epoch: TWO, position: 9, seq: 99 }), Missed::Order);
    }

    proptest! {
        /// Whoever applies only what it may, and goes where it is told else, has each number applied
        /// or announced as missed, once.
        #[test]
        fn each_number_is_applied_or_announced(
            published in prop::collection::vec(0..3_u64, 1..40),
            arrives in prop::collection::vec(0..4_u8, 40),
        ) {
            let mut here = place(0, 0);
            let (mut there, mut known) = (place(0, 0), Vec::new());
            for (numbers, arrives) in published.iter().zip(arrives) {
                let before = there;
                there.advance(*numbers);
                // Lost, once, twice, or once and then the bus is asked where it stands.
                for _ in 0..arrives {
                    match here.judge(ONE, there.position, before.seq) {
                        Verdict::Apply => {
                            known.extend(here.seq + 1..=here.seq + numbers);
                            here.advance(*numbers);
                        }
                        Verdict::Old => {}
                        Verdict::Jump => match here.go_to(there) {
                            Missed::Numbers { from, to } => known.extend(from..=to),
                            other => prop_assert!(false, "{:?}", other),
                        },
                        Verdict::OtherEpoch => prop_assert!(false, "there is one"),
                    }
                }
            }
            prop_assert_eq!(known, (1..=here.seq).collect::<Vec<_>>());
        }
    }
}
