//! What this node has to publish in a shared room: whole operations, in order, bounded by whoever
//! adds to it.
//!
//! Pure data. A batch takes as many operations as fit. The bus refuses a batch as a whole, so after
//! a refusal its operations come back and go out one by one, until it is known which was at fault.

use std::collections::VecDeque;

use crate::bus::Batch;
use crate::core::entry::{self, Entry, entries};
use crate::core::frame::Payload;
use crate::core::id::MemberId;
use crate::core::wire::{ClientHead, Gone};

/// Operations that are not published yet.
#[derive(Default)]
pub(super) struct Outgoing {
    bytes: Vec<u8>,
    ops: VecDeque<Op>,
    /// So many from the front go out alone.
    one_by_one: usize,
}

/// An operation's share of the bytes, and what the bus has to know of it.
#[derive(Clone, Copy)]
struct Op {
    len: usize,
    numbers: u32,
    changes: Changes,
}

/// What an operation does to the roster.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Changes {
    Nothing,
    Joins(MemberId, bool),
    Leaves(MemberId),
}

/// Most bytes of a batch, unless one operation alone has more.
const BATCH_BYTES_MAX: usize = 256 * 1024;

impl Outgoing {
    /// Bytes that wait.
    pub(super) const fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.ops.is_empty()
    }

    /// Appends a message whose payload begins at `skip`.
    pub(super) fn say(
        &mut self,
        from: MemberId,
        head: &ClientHead,
        payload: &Payload<'_>,
        skip: usize,
    ) {
        let before = self.bytes.len();
        let len = payload.len() - skip;
        if entry::put_message_head(&mut self.bytes, from, head, len).is_err() {
            // Longer than any limit that can be configured.
            return;
        }
        payload.append_to(skip, &mut self.bytes);
        let numbers = u32::from(entry::takes_number(head));
        self.ops.push_back(Op {
            len: self.bytes.len() - before,
            numbers,
            changes: Changes::Nothing,
        });
    }

    pub(super) fn join(&mut self, member: MemberId, hears: bool) {
        self.push(&Entry::Join { member, hears });
    }

    pub(super) fn leave(&mut self, member: MemberId, why: Gone) {
        self.push(&Entry::Leave { member, why });
    }

    /// Appends what is no message.
    pub(super) fn push(&mut self, entry: &Entry<'_>) {
        let before = self.bytes.len();
        if entry.put(&mut self.bytes).is_ok() {
            let len = self.bytes.len() - before;
            self.ops.push_back(Op::of(entry, len));
        }
    }

    /// Puts operations in front of all others.
    pub(super) fn put_back<'e>(&mut self, back: impl Iterator<Item = Entry<'e>>) {
        let mut front = Self::default();
        for entry in back {
            front.push(&entry);
        }
        front.bytes.append(&mut self.bytes);
        front.ops.append(&mut self.ops);
        front.one_by_one = self.one_by_one;
        *self = front;
    }

    /// Puts a refused batch in front of all others, to go out one by one.
    pub(super) fn put_back_one_by_one(&mut self, batch: &[u8]) {
        let before = self.ops.len();
        self.put_back(entries(batch).filter_map(Result::ok));
        self.one_by_one += self.ops.len() - before;
    }

    /// Whether a join of this member waits.
    pub(super) fn joins(&self, member: MemberId) -> bool {
        self.ops.iter().any(|op| matches!(op.changes, Changes::Joins(who, _) if who == member))
    }

    /// Whether a leave of this member waits.
    pub(super) fn leaves(&self, member: MemberId) -> bool {
        self.ops.iter().any(|op| op.changes == Changes::Leaves(member))
    }

    /// Takes a waiting join back; false if there is none.
    pub(super) fn cancel_join(&mut self, member: MemberId) -> bool {
        let mut at = 0;
        for (index, op) in self.ops.iter().enumerate() {
            if matches!(op.changes, Changes::Joins(who, _) if who == member) {
                self.bytes.drain(at..at + op.len);
                self.ops.remove(index);
                if index < self.one_by_one {
                    self.one_by_one -= 1;
                }
                return true;
            }
            at += op.len;
        }
        false
    }

    /// The next batch.
    pub(super) fn take(&mut self, members_max: u32) -> Option<Batch> {
        let mut batch = Batch { members_max, ..Batch::default() };
        let mut len = 0;
        let count_max = if self.one_by_one > 0 { 1 } else { usize::MAX };
        let mut count = 0;
        while let Some(op) = self.ops.front()
            && count < count_max
            && (count == 0 || len + op.len <= BATCH_BYTES_MAX)
        {
            len += op.len;
            count += 1;
            batch.numbers += op.numbers;
            match op.changes {
                Changes::Nothing => {}
                Changes::Joins(member, hears) => batch.joins.push((member, hears)),
                Changes::Leaves(member) => batch.leaves.push(member),
            }
            self.ops.pop_front();
        }
        if count == 0 {
            return None;
        }
        self.one_by_one = self.one_by_one.saturating_sub(count);
        let rest = self.bytes.split_off(len);
        batch.entries = std::mem::replace(&mut self.bytes, rest);
        Some(batch)
    }
}

impl Op {
    const fn of(entry: &Entry<'_>, len: usize) -> Self {
        let changes = match entry {
            Entry::Join { member, hears } => Changes::Joins(*member, *hears),
            Entry::Leave { member, .. } => Changes::Leaves(*member),
            Entry::Message(_) | Entry::Changed | Entry::Closed => Changes::Nothing,
        };
        Self { len, numbers: if entry.takes_number() { 1 } else { 0 }, changes }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::entry::numbers;
    use crate::core::wire::{Flags, Target};

    const A: MemberId = MemberId::from_bytes([1; 8]);
    const B: MemberId = MemberId::from_bytes([2; 8]);

    fn say(outgoing: &mut Outgoing, bytes: usize, flags: Flags) {
        let head = ClientHead { target: Target::Room, flags, reference: 0 };
        outgoing.say(A, &head, &Payload::Joined(vec![7; bytes + 2]), 2);
    }

    #[test]
    fn a_batch_says_what_is_in_it() {
        let mut outgoing = Outgoing::default();
        assert!(outgoing.take(5).is_none());
        outgoing.join(A, true);
        say(&mut outgoing, 3, Flags::default());
        say(&mut outgoing, 3, Flags::VOLATILE);
        outgoing.leave(B, Gone::Lost);
        outgoing.push(&Entry::Changed);
        let batch = outgoing.take(5).unwrap();
        assert!((batch.numbers, batch.members_max) == (3, 5));
        assert!(batch.joins == [(A, true)] && batch.leaves == [B]);
        assert_eq!(numbers(&batch.entries), Ok(3));
        assert!(outgoing.is_empty() && outgoing.bytes.is_empty() && outgoing.take(5).is_none());
    }

    #[test]
    fn a_batch_has_a_size_and_an_operation_is_never_cut() {
        let mut outgoing = Outgoing::default();
        for _ in 0..3 {
            say(&mut outgoing, BATCH_BYTES_MAX / 2, Flags::default());
        }
        say(&mut outgoing, BATCH_BYTES_MAX * 2, Flags::default());
        let mut sizes = Vec::new();
        while let Some(batch) = outgoing.take(9) {
            assert_eq!(numbers(&batch.entries), Ok(u64::from(batch.numbers)));
            sizes.push(batch.numbers);
        }
        assert_eq!(sizes, [1, 1, 1, 1]);
        assert_eq!(outgoing.len(), 0);
    }

    #[test]
    fn what_was_refused_goes_out_one_by_one_before_all_others() {
        let mut outgoing = Outgoing::default();
        outgoing.join(A, true);
        say(&mut outgoing, 3, Flags::default());
        outgoing.leave(B, Gone::Left);
        let refused = outgoing.take(9).unwrap();
        outgoing.push(&Entry::Closed);
        say(&mut outgoing, 3, Flags::default());
        outgoing.put_back_one_by_one(&refused.entries);
        assert!(outgoing.joins(A) && outgoing.leaves(B) && !outgoing.leaves(A));
        let sizes: Vec<usize> = std::iter::from_fn(|| outgoing.take(9))
            .map(|batch| entries(&batch.entries).count())
            .collect();
        assert_eq!(sizes, [1, 1, 1, 2]);
    }

    #[test]
    fn a_join_is_taken_back_whole() {
        let mut outgoing = Outgoing::default();
        say(&mut outgoing, 3, Flags::default());
        outgoing.join(A, true);
        outgoing.leave(B, Gone::Left);
        assert!(outgoing.cancel_join(A) && !outgoing.cancel_join(A) && !outgoing.cancel_join(B));
        let batch = outgoing.take(9).unwrap();
        assert!(batch.joins.is_empty() && batch.leaves == [B]);
        assert_eq!(numbers(&batch.entries), Ok(2));
    }
}
