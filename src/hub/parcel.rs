//! What one member gets of a flush that not everybody gets: its own runs of the batch, and its copies
//! of the large messages behind it.
//!
//! A large message is not copied into the room's batch: every member's write takes it from where it
//! was read. Those that were read one behind the other go out in one write.
//!
//! Pure data; whoever flushes writes it.

use std::io::IoSlice;

use crate::core::frame::{HEAD_MAX, Opcode, Payload, put_head};
use crate::core::id::MemberId;
use crate::core::wire::{ClientHead, Flags, RELAY_HEAD, RelayHead};
use crate::hub::batch::{Batch, Run, SeatIndex};
use crate::hub::log::{Accepted, Listener, Speaker};
use crate::outbox::{FrameKind, Mark};

/// What a member says, where it was read.
pub struct Message<'p> {
    /// What stands before its payload.
    pub head: ClientHead,
    /// The head and, from `skip` on, what the others hear.
    pub payload: Payload<'p>,
    /// Length of the head, in bytes.
    pub skip: usize,
}

impl Message<'_> {
    /// Length of what the others hear, in bytes.
    pub fn payload_len(&self) -> usize {
        self.payload.len() - self.skip
    }
}

/// What one member gets that not everybody gets; its buffers serve for all of a flush.
#[derive(Default)]
pub(super) struct Parcel<'b> {
    runs: Vec<Run<'b>>,
    /// Its bytes.
    pub(super) parts: Vec<IoSlice<'b>>,
    /// The large messages behind the runs.
    large: Vec<Mark>,
}

impl<'b> Parcel<'b> {
    /// Forgets what it had, and takes in this member's stream and its copies of the large messages.
    pub(super) fn fill<S>(
        &mut self,
        batch: &'b Batch,
        listener: &Listener<S>,
        from: u32,
        large: &'b [Large<'_>],
    ) {
        self.runs.clear();
        self.parts.clear();
        self.large.clear();
        batch.stream(listener.seat, from, listener.hears, &mut self.runs);
        self.parts.extend(self.runs.iter().map(|run| IoSlice::new(run.bytes())));
        for large in large {
            if let Some(head) = large.head_for(listener) {
                self.parts.extend([IoSlice::new(head), IoSlice::new(large.payload)]);
                let len = head.len() + large.payload.len();
                self.large.push(Mark { len, kind: large.kind });
            }
        }
    }

    /// Each of its frames.
    pub(super) fn marks(&self) -> impl Iterator<Item = Mark> {
        self.runs.iter().flat_map(Run::marks).chain(self.large.iter().copied())
    }

    /// How many of them are messages.
    pub(super) fn messages(&self) -> u64 {
        let batched = self.runs.iter().map(|run| u64::from(run.messages())).sum::<u64>();
        batched + self.large.len() as u64
    }
}

/// A large message that has its place in the order.
pub(super) struct Large<'p> {
    head: Vec<u8>,
    /// The head of the sender's own copy, if it wants one.
    echo: Option<Vec<u8>>,
    sender: SeatIndex,
    /// The one seat it is for, or the room.
    target: Option<SeatIndex>,
    payload: &'p [u8],
    kind: FrameKind,
}

impl<'p> Large<'p> {
    /// Unmasks its payload, where it is.
    pub(super) fn of(speaker: Speaker, message: &'p mut Message<'_>, accepted: &Accepted) -> Self {
        let head = head_of(speaker.member, &message.head, accepted);
        let has_echo = message.head.flags.contains(Flags::ECHO);
        let payload = message.payload.unmask().get(message.skip..).unwrap_or_default();
        Self {
            head: encode_head(&head, payload.len()),
            echo: has_echo.then(|| encode_head(&echo_of(&head), payload.len())),
            sender: speaker.seat,
            target: accepted.target,
            payload,
            kind: kind_of(&message.head),
        }
    }

    /// The head of this listener's copy, if it gets one.
    fn head_for<S>(&self, listener: &Listener<S>) -> Option<&[u8]> {
        if listener.seat == self.sender && self.target != Some(self.sender) {
            return self.echo.as_deref();
        }
        let hears = match self.target {
            Some(target) => listener.seat == target,
            None => listener.hears,
        };
        hears.then_some(&self.head[..])
    }
}

fn encode_head(head: &RelayHead, payload_len: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(HEAD_MAX + RELAY_HEAD);
    put_head(&mut out, Opcode::Binary, RELAY_HEAD + payload_len);
    out.extend_from_slice(&head.encode());
    out
}

/// How the frames of a message are treated that has this head.
pub(super) const fn kind_of(head: &ClientHead) -> FrameKind {
    if head.flags.contains(Flags::VOLATILE) { FrameKind::Volatile } else { FrameKind::Data }
}

/// What the members read in front of a message.
pub(super) fn head_of(from: MemberId, head: &ClientHead, accepted: &Accepted) -> RelayHead {
    let is_volatile = head.flags.contains(Flags::VOLATILE);
    let flags = if is_volatile { Flags::VOLATILE } else { Flags::default() };
    RelayHead { direct: accepted.target.is_some(), flags, from, seq: accepted.seq }
}

/// What its sender reads in front of its own copy.
pub(super) const fn echo_of(head: &RelayHead) -> RelayHead {
    RelayHead { flags: head.flags.with(Flags::ECHO), ..*head }
}
