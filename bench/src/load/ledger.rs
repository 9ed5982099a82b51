//! What one receiver has heard: per sender the next number, and what was skipped.

use std::collections::HashSet;

use super::Faults;

/// See the module's text.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    next: Vec<u32>,
    /// Numbers that later ones of the same sender overtook.
    skipped: HashSet<(u32, u32)>,
    pub(super) faults: Faults,
}

impl Ledger {
    pub(super) fn new(senders: u32) -> Self {
        Self { next: vec![0; senders as usize], ..Self::default() }
    }

    /// The number that is due from this sender.
    #[inline]
    pub(super) fn due(&self, sender: u32) -> Option<u32> {
        self.next.get(sender as usize).copied()
    }

    /// Enters a message.
    #[inline]
    pub(super) fn enter(&mut self, sender: u32, number: u32) {
        match self.next.get_mut(sender as usize) {
            Some(next) if *next == number => *next += 1,
            Some(_) => self.enter_out_of_turn(sender, number),
            None => self.faults.corrupted += 1,
        }
    }

    #[cold]
    fn enter_out_of_turn(&mut self, sender: u32, number: u32) {
        let Some(next) = self.next.get_mut(sender as usize) else { return };
        if number < *next {
            if self.skipped.remove(&(sender, number)) {
                self.faults.reordered += 1;
            } else {
                self.faults.duplicated += 1;
            }
            return;
        }
        // A number out of all bounds is not a gap but a broken message.
        if number - *next > 1 << 20 {
            self.faults.corrupted += 1;
            return;
        }
        self.skipped.extend((*next..number).map(|missing| (sender, missing)));
        *next = number + 1;
    }

    /// Closes the account with a sender that has sent so many: what is missing is lost.
    pub(super) fn settle(&mut self, sender: u32, sent: u32) {
        let Some(next) = self.next.get(sender as usize) else { return };
        self.faults.lost += u64::from(sent.saturating_sub(*next));
        self.faults.corrupted += u64::from(next.saturating_sub(sent));
    }

    /// What was wrong, once all accounts are closed.
    pub(super) fn close(mut self) -> Faults {
        self.faults.lost += self.skipped.len() as u64;
        self.faults
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hear(numbers: &[u32], sent: u32) -> Faults {
        let mut ledger = Ledger::new(1);
        numbers.iter().for_each(|number| ledger.enter(0, *number));
        ledger.settle(0, sent);
        ledger.close()
    }

    #[test]
    fn in_turn_is_right() {
        assert!(hear(&[0, 1, 2], 3).is_none());
    }

    #[test]
    fn each_fault_is_told_from_the_others() {
        assert_eq!(hear(&[0, 2], 3), Faults { lost: 1, ..Faults::default() });
        assert_eq!(hear(&[0, 1], 3), Faults { lost: 1, ..Faults::default() });
        assert_eq!(hear(&[0, 1, 1], 2), Faults { duplicated: 1, ..Faults::default() });
        assert_eq!(hear(&[0, 2, 1], 3), Faults { reordered: 1, ..Faults::default() });
        assert_eq!(hear(&[0, 1], 1), Faults { corrupted: 1, ..Faults::default() });
    }
}
