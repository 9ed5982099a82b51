//! What a room has to say since its last flush: one ordered log, and per member what differs.
//!
//! The *shared* frames stand in order in one buffer, encoded once. What one member does not hear
//! (its own messages) or hears alone (a DIRECT, an ack, its welcome) is a *cut* at a place in that
//! order. So the cost of a batch is its frames plus the cuts, not frames times members, and a
//! member's stream is a few contiguous runs: the parts of one vectored write.
//!
//! Pure data; the lock around it and the sockets behind it are the room's. Buffers are kept per
//! worker thread and handed to whichever room speaks next, so a silent room holds none.

use std::cell::RefCell;

use crate::core::frame::{HEAD_MAX, Opcode, Payload, put_head};
use crate::core::limit::Instant;
use crate::core::wire::{RELAY_HEAD, RelayHead};
use crate::metrics::Spread;
use crate::outbox::{FrameKind, Mark};

/// A seat's place in its room.
pub(super) type SeatIndex = u32;

/// Encoded frames, one behind the other.
#[derive(Default)]
struct Frames {
    bytes: Vec<u8>,
    ends: Vec<End>,
}

/// Where a frame ends, and how many data frames there are up to it.
#[derive(Clone, Copy)]
struct End {
    at: usize,
    kind: FrameKind,
    data: u32,
}

/// A place in the order at which one seat's stream differs from the shared one.
#[derive(Clone, Copy)]
struct Cut {
    seat: SeatIndex,
    /// The number of the shared frame that it stands before.
    at: u32,
    what: What,
}

#[derive(Clone, Copy)]
enum What {
    /// So many shared frames are not for this seat.
    Skip(u32),
    /// The private frame of this number is for this seat alone.
    Insert(u32),
}

/// A room's unsent frames. See the module's text.
#[derive(Default)]
pub(super) struct Batch {
    shared: Frames,
    private: Frames,
    cuts: Vec<Cut>,
    /// The cuts seat by seat; made by [`Batch::seal`].
    sorted: Vec<Cut>,
    /// Where in `sorted` each seat's begin, and behind the last one where they end.
    starts: Vec<u32>,
    /// To how many members each message is addressed.
    spread: Spread,
    /// When the first message was read.
    begun: Option<Instant>,
}

impl Batch {
    /// Bytes of all frames together.
    pub(super) const fn len(&self) -> usize {
        self.shared.bytes.len() + self.private.bytes.len()
    }

    /// The place of the next shared frame: where a newcomer's stream begins.
    pub(super) fn position(&self) -> u32 {
        self.shared.count()
    }

    /// Notes to how many members the message that was just added is addressed, and when it was
    /// read.
    pub(super) fn address(&mut self, receivers: u64, read_at: Instant) {
        self.spread.add(receivers);
        self.begun.get_or_insert(read_at);
    }

    /// To how many members each message is addressed, and when the first of them was read.
    pub(super) const fn addressed(&self) -> (&Spread, Option<Instant>) {
        (&self.spread, self.begun)
    }

    /// A message for everybody but its sender.
    pub(super) fn say(
        &mut self,
        kind: FrameKind,
        head: &RelayHead,
        payload: &Payload<'_>,
        skip: usize,
        sender: SeatIndex,
    ) {
        self.skip(sender);
        self.shared.push_data(kind, head, payload, skip);
    }

    /// A message for one seat.
    pub(super) fn say_to(
        &mut self,
        kind: FrameKind,
        head: &RelayHead,
        payload: &Payload<'_>,
        skip: usize,
        seat: SeatIndex,
    ) {
        self.cut(seat, What::Insert(self.private.count()));
        self.private.push_data(kind, head, payload, skip);
    }

    /// A message that came from the bus, for everybody but its sender if that one has a seat here.
    pub(super) fn say_plain(
        &mut self,
        kind: FrameKind,
        head: &RelayHead,
        payload: &[u8],
        sender: Option<SeatIndex>,
    ) {
        if let Some(sender) = sender {
            self.skip(sender);
        }
        self.shared.push_plain(kind, head, payload);
    }

    /// A message that came from the bus, for one seat.
    pub(super) fn say_plain_to(
        &mut self,
        kind: FrameKind,
        head: &RelayHead,
        payload: &[u8],
        seat: SeatIndex,
    ) {
        self.cut(seat, What::Insert(self.private.count()));
        self.private.push_plain(kind, head, payload);
    }

    /// A control frame for everybody.
    pub(super) fn tell(&mut self, text: &[u8]) {
        self.shared.push_text(text);
    }

    /// A control frame for one seat.
    pub(super) fn tell_one(&mut self, text: &[u8], seat: SeatIndex) {
        self.cut(seat, What::Insert(self.private.count()));
        self.private.push_text(text);
    }

    /// Forgets what differs for a seat whose member is gone: it may be somebody else's next.
    pub(super) fn forget(&mut self, seat: SeatIndex) {
        self.cuts.retain(|cut| cut.seat != seat);
    }

    /// The next shared frame is not for this seat. What a member says in one go is one cut.
    fn skip(&mut self, seat: SeatIndex) {
        let at = self.shared.count();
        if let Some(Cut { seat: last, at: from, what: What::Skip(frames) }) = self.cuts.last_mut()
            && *last == seat
            && *from + *frames == at
        {
            *frames += 1;
        } else {
            self.cut(seat, What::Skip(1));
        }
    }

    fn cut(&mut self, seat: SeatIndex, what: What) {
        self.cuts.push(Cut { seat, at: self.shared.count(), what });
    }

    /// Brings the cuts into the order of seats; [`Batch::stream`] wants that. Counting beats
    /// comparing: a flush looks at every seat anyway.
    pub(super) fn seal(&mut self) {
        self.starts.clear();
        self.sorted.clear();
        self.sorted.extend_from_slice(&self.cuts);
        for cut in &self.cuts {
            let count = cut.seat as usize + 2;
            if self.starts.len() <= count {
                self.starts.resize(count + 1, 0);
            }
            if let Some(count) = self.starts.get_mut(count) {
                *count += 1;
            }
        }
        let mut sum = 0;
        for start in &mut self.starts {
            sum += *start;
            *start = sum;
        }
        // A seat's beginning stands one place too far behind, and moves to its end as it is filled.
        for cut in &self.cuts {
            if let Some(next) = self.starts.get_mut(cut.seat as usize + 1) {
                if let Some(place) = self.sorted.get_mut(*next as usize) {
                    *place = *cut;
                }
                *next += 1;
            }
        }
    }

    /// The cuts of one seat, in order.
    fn cuts_of(&self, seat: SeatIndex) -> &[Cut] {
        let seat = seat as usize;
        match self.starts.get(seat..seat + 2) {
            Some([begin, end]) => self.sorted.get(*begin as usize..*end as usize),
            _ => None,
        }
        .unwrap_or_default()
    }

    /// What everybody hears for whom nothing differs: all shared frames.
    pub(super) fn common(&self) -> Run<'_> {
        Run { frames: &self.shared, from: 0, to: self.shared.count() }
    }

    /// Whether something differs for this seat.
    pub(super) fn is_cut(&self, seat: SeatIndex) -> bool {
        !self.cuts_of(seat).is_empty()
    }

    fn clear(&mut self) {
        self.shared.clear();
        self.private.clear();
        self.cuts.clear();
        self.spread = Spread::default();
        self.begun = None;
    }

    /// Appends to `runs` what a seat of a sealed batch hears from place `from` on: of the shared
    /// frames all but the cuts if it `hears` the room, and the private ones that are its own.
    pub(super) fn stream<'b>(
        &'b self,
        seat: SeatIndex,
        from: u32,
        hears: bool,
        runs: &mut Vec<Run<'b>>,
    ) {
        let mut run = |frames: &'b Frames, from: u32, to: u32| {
            if from < to {
                runs.push(Run { frames, from, to });
            }
        };
        let mut at = from;
        for cut in self.cuts_of(seat) {
            if hears {
                run(&self.shared, at, cut.at);
            }
            at = cut.at;
            match cut.what {
                What::Skip(frames) => at += frames,
                What::Insert(number) => run(&self.private, number, number + 1),
            }
        }
        if hears {
            run(&self.shared, at, self.shared.count());
        }
    }
}

/// Contiguous frames.
#[derive(Clone, Copy)]
pub(super) struct Run<'b> {
    frames: &'b Frames,
    from: u32,
    to: u32,
}

impl<'b> Run<'b> {
    /// Their bytes.
    pub(super) fn bytes(&self) -> &'b [u8] {
        let (from, to) = (self.frames.before(self.from).at, self.frames.before(self.to).at);
        self.frames.bytes.get(from..to).unwrap_or_default()
    }

    /// How many of them are messages.
    pub(super) fn messages(&self) -> u32 {
        self.frames.before(self.to).data - self.frames.before(self.from).data
    }

    /// Each of them.
    pub(super) fn marks(&self) -> impl Iterator<Item = Mark> + use<'b> {
        let frames = self.frames;
        let mut at = frames.before(self.from).at;
        let ends = frames.ends.get(self.from as usize..self.to as usize).unwrap_or_default();
        ends.iter().map(move |end| {
            let len = end.at - std::mem::replace(&mut at, end.at);
            Mark { len, kind: end.kind }
        })
    }
}

impl Frames {
    fn count(&self) -> u32 {
        u32::try_from(self.ends.len()).unwrap_or(u32::MAX)
    }

    /// The end of the frame in front of this number.
    fn before(&self, number: u32) -> End {
        let start = End { at: 0, kind: FrameKind::Control, data: 0 };
        let last = (number as usize).checked_sub(1).and_then(|last| self.ends.get(last));
        last.copied().unwrap_or(start)
    }

    fn push_data(&mut self, kind: FrameKind, head: &RelayHead, payload: &Payload<'_>, skip: usize) {
        let len = payload.len() - skip;
        self.bytes.reserve(HEAD_MAX + RELAY_HEAD + len);
        put_head(&mut self.bytes, Opcode::Binary, RELAY_HEAD + len);
        self.bytes.extend_from_slice(&head.encode());
        payload.append_to(skip, &mut self.bytes);
        self.end(kind);
    }

    fn push_plain(&mut self, kind: FrameKind, head: &RelayHead, payload: &[u8]) {
        self.bytes.reserve(HEAD_MAX + RELAY_HEAD + payload.len());
        put_head(&mut self.bytes, Opcode::Binary, RELAY_HEAD + payload.len());
        self.bytes.extend_from_slice(&head.encode());
        self.bytes.extend_from_slice(payload);
        self.end(kind);
    }

    fn push_text(&mut self, text: &[u8]) {
        put_head(&mut self.bytes, Opcode::Text, text.len());
        self.bytes.extend_from_slice(text);
        self.end(FrameKind::Control);
    }

    fn end(&mut self, kind: FrameKind) {
        let data = self.ends.last().map_or(0, |end| end.data);
        let data = data + u32::from(kind != FrameKind::Control);
        self.ends.push(End { at: self.bytes.len(), kind, data });
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
    }
}

thread_local! {
    #[expect(clippy::vec_box, reason = "a room holds a box, so that a silent one costs 8 bytes")]
    /// Empty batches with their buffers, for the next room that speaks on this worker.
    static SPARE: RefCell<Vec<Box<Batch>>> = const { RefCell::new(Vec::new()) };
}

/// Most spare batches that a worker keeps: as many rooms can be between two flushes for free.
const SPARE_MAX: usize = 64;

/// An empty batch, with the buffers of an earlier one where there are any.
pub(super) fn take_spare() -> Box<Batch> {
    SPARE.with_borrow_mut(Vec::pop).unwrap_or_default()
}

/// Returns a batch that was sent. Its buffers are kept, up to `bytes_max` of capacity.
pub(super) fn give_back(mut batch: Box<Batch>, bytes_max: usize) {
    batch.clear();
    let capacity = batch.shared.bytes.capacity() + batch.private.bytes.capacity();
    SPARE.with_borrow_mut(|spare| {
        if spare.len() < SPARE_MAX && capacity <= bytes_max {
            spare.push(batch);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::id::MemberId;
    use crate::core::wire::Flags;
    use proptest::prelude::*;

    #[derive(Clone, Debug)]
    enum Op {
        Say(SeatIndex, u8),
        SayTo(SeatIndex, u8),
        Tell(u8),
        TellOne(SeatIndex, u8),
    }

    fn op() -> impl Strategy<Value = Op> {
        let seat = 0..4_u32;
        prop_oneof![
            (seat.clone(), any::<u8>()).prop_map(|(seat, byte)| Op::Say(seat, byte)),
            (seat.clone(), any::<u8>()).prop_map(|(seat, byte)| Op::SayTo(seat, byte)),
            any::<u8>().prop_map(Op::Tell),
            (seat, any::<u8>()).prop_map(|(seat, byte)| Op::TellOne(seat, byte)),
        ]
    }

    fn data_frame(head: &RelayHead, byte: u8) -> Vec<u8> {
        let mut frame = vec![0x82, 21];
        frame.extend_from_slice(&head.encode());
        frame.push(byte);
        frame
    }

    proptest! {
        /// Against a model that keeps a list of frames per seat.
        #[test]
        fn each_seat_hears_its_own_stream_in_order(
            history in prop::collection::vec(op(), 0..40),
            joins_at in 0..40_usize,
        ) {
            let head = RelayHead {
                direct: false,
                flags: Flags::default(),
                from: MemberId::from_bytes([9; 8]),
                seq: 7,
            };
            let mut batch = Batch::default();
            let mut model = vec![Vec::<Vec<u8>>::new(); 4];
            let mut from = [0; 4];
            for (i, op) in history.into_iter().enumerate() {
                if i == joins_at {
                    // Somebody leaves seat 3, which nobody hears, and somebody else gets it.
                    batch.forget(3);
                    from[3] = batch.position();
                    model[3].clear();
                }
                match op {
                    Op::Say(seat, byte) => {
                        let payload = Payload::Joined(vec![byte]);
                        batch.say(FrameKind::Data, &head, &payload, 0, seat);
                        for (other, heard) in (0..).zip(&mut model) {
                            if other != seat {
                                heard.push(data_frame(&head, byte));
                            }
                        }
                    }
                    Op::SayTo(seat, byte) => {
                        let payload = Payload::Joined(vec![1, 2, byte]);
                        batch.say_to(FrameKind::Volatile, &head, &payload, 2, seat);
                        model[seat as usize].push(data_frame(&head, byte));
                    }
                    Op::Tell(byte) => {
                        batch.tell(&[byte]);
                        for heard in &mut model {
                            heard.push(vec![0x81, 1, byte]);
                        }
                    }
                    Op::TellOne(seat, byte) => {
                        batch.tell_one(&[byte], seat);
                        model[seat as usize].push(vec![0x81, 1, byte]);
                    }
                }
            }
            batch.seal();
            for (seat, heard) in (0..).zip(&model) {
                let mut runs = Vec::new();
                batch.stream(seat, from[seat as usize], true, &mut runs);
                let bytes: Vec<u8> = runs.iter().flat_map(|run| run.bytes().to_vec()).collect();
                prop_assert_eq!(bytes, heard.concat());
                let lens: Vec<usize> = runs.iter().flat_map(Run::marks).map(|m| m.len).collect();
                prop_assert_eq!(lens, heard.iter().map(Vec::len).collect::<Vec<_>>());
                let messages: u32 = runs.iter().map(Run::messages).sum();
                let expected = heard.iter().filter(|frame| frame[0] == 0x82).count();
                prop_assert_eq!(messages as usize, expected);
            }
            for seat in 0..4 {
                let mut runs = Vec::new();
                batch.stream(seat, 0, false, &mut runs);
                for run in &runs {
                    prop_assert!(std::ptr::eq(run.frames, &raw const batch.private), "deaf to the room");
                }
            }
        }
    }

    #[test]
    fn buffers_are_used_again_but_not_hoarded() {
        let mut batch = take_spare();
        batch.tell(&[0; 100]);
        let buffer = batch.shared.bytes.as_ptr();
        give_back(batch, 1000);
        let batch = take_spare();
        assert!(batch.len() == 0 && std::ptr::eq(batch.shared.bytes.as_ptr(), buffer));
        give_back(batch, 10);
        assert_eq!(take_spare().shared.bytes.capacity(), 0);
    }
}
