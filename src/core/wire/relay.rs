//! The control frames that the relay sends.

use crate::core::admission::PaddingPolicy;
use crate::core::id::{Epoch, MemberId};
use crate::core::token::Cap;
use crate::core::wire::text::{
    Buffer, List, NAME_IN_LIST, Object, SHORT_MAX, Text, Value, long, short,
};

/// What a welcome takes at most beside its names and the relay's terms, in bytes.
const WELCOME_MAX: usize = 235;

/// Why a member is gone, as `leave` says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gone {
    /// It said so.
    Left,
    /// Its connection broke or was closed by the relay.
    Lost,
    /// The owner removed it.
    Kicked,
}

/// What is wrong with a frame, as `error` says it. But for the last, the frame was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// The member's quota is used up; the frame was not delivered.
    RateLimited,
    /// The receiver is not in the room.
    NoSuchMember,
    /// The operation is not for this member.
    NotPermitted,
    /// The order is interrupted, or too much waits for it: the frame was not taken.
    Unavailable,
    /// The payload's size is no announced bucket, and the room warns: the frame was delivered.
    PaddingViolation,
}

/// The limits of a relay that concern its clients.
#[derive(Clone, Copy, Debug)]
pub struct WelcomeLimits {
    /// Longest payload, in bytes.
    pub payload_bytes: u32,
    /// Messages, per so many seconds.
    pub messages: (u64, u32),
    /// Payload bytes, per so many seconds.
    pub bytes: (u64, u32),
    /// Payload bytes times their receivers, per so many seconds.
    pub fanout: (u64, u32),
    /// How often the relay pings, in seconds.
    pub heartbeat_s: u32,
}

/// What all welcomes of a relay say in the same words, which are made once.
pub struct Terms {
    /// The limits in front of the room's own.
    limits: Vec<u8>,
    /// Those behind it.
    limits_behind: Vec<u8>,
    /// The sizes that payloads should be padded to.
    padding: Vec<u8>,
}

impl Terms {
    /// Of a relay with these limits, which wants payloads padded to these sizes.
    pub fn new(limits: &WelcomeLimits, padding: &[u32]) -> Self {
        let mut terms = Self { limits: Vec::new(), limits_behind: Vec::new(), padding: Vec::new() };
        Object::begin(&mut terms.limits, "payload_bytes", limits.payload_bytes);
        Object::begun(&mut terms.limits_behind)
            .with("messages", rate(limits.messages))
            .with("bytes", rate(limits.bytes))
            .with("fanout", rate(limits.fanout))
            .with("heartbeat_s", limits.heartbeat_s)
            .end();
        List(padding.iter().copied()).put(&mut terms.padding);
        terms
    }

    const fn len(&self) -> usize {
        self.limits.len() + self.limits_behind.len() + self.padding.len()
    }
}

/// What a member is told when it is seated.
pub struct Welcome<'a> {
    /// Its own name.
    pub member: MemberId,
    /// The order that the numbers belong to.
    pub epoch: Epoch,
    /// The number of its own join.
    pub seq: u64,
    /// Who is there, itself included.
    pub members: &'a mut dyn Iterator<Item = MemberId>,
    /// What its token allows.
    pub cap: Cap,
    /// Whether the room takes no new members.
    pub locked: bool,
    /// How long the room will live, in seconds.
    pub ttl_s: u64,
    /// What this relay tells everybody.
    pub terms: &'a Terms,
    /// Most members of the room.
    pub members_max: u32,
    /// What is done with payloads of sizes that they should not be padded to.
    pub padding_policy: PaddingPolicy,
}

impl Welcome<'_> {
    /// `{"type":"welcome",…}`
    pub fn encode(self) -> Vec<u8> {
        let Self { terms, members_max, .. } = self;
        let bytes_max = WELCOME_MAX + names_len(self.members) + terms.len();
        long(bytes_max, "welcome", |text| {
            text.with("v", 1_u64)
                .with("member", self.member)
                .with("epoch", self.epoch)
                .with("seq", self.seq)
                .with("members", List(self.members))
                .with("cap", self.cap)
                .with("locked", self.locked)
                .with("ttl_s", self.ttl_s)
                .with("limits", Limits { terms, members_max })
                .with("padding", Made(&terms.padding))
                .with("padding_policy", self.padding_policy)
        })
    }
}

/// `{"type":"join",…}`
pub fn join(member: MemberId, seq: u64) -> Text {
    short("join", |text| text.with("member", member).with("seq", seq))
}

/// `{"type":"leave",…}`
pub fn leave(member: MemberId, seq: u64, why: Gone) -> Text {
    short("leave", |text| text.with("member", member).with("seq", seq).with("why", why))
}

/// `{"type":"ack",…}`
pub fn ack(reference: u16, seq: u64) -> Text {
    short("ack", |text| text.with("ref", reference).with("seq", seq))
}

/// `{"type":"error",…}`; with a wait in milliseconds where waiting helps.
pub fn error(code: Refused, reference: Option<u16>, retry_after_ms: Option<u64>) -> Text {
    short("error", |text| {
        text.with("code", code)
            .with_some("ref", reference)
            .with_some("retry_after_ms", retry_after_ms)
    })
}

/// `{"type":"room",…}`
pub fn room(locked: bool, ttl_s: u64) -> Text {
    short("room", |text| text.with("locked", locked).with("ttl_s", ttl_s))
}

/// `{"type":"closed"}`
pub fn closed() -> Text {
    short("closed", |text| text)
}

/// `{"type":"drain",…}`
pub fn drain(reconnect_after_ms: u64) -> Text {
    short("drain", |text| text.with("reconnect_after_ms", reconnect_after_ms))
}

/// `{"type":"pong",…}`
pub fn pong(n: u64) -> Text {
    short("pong", |text| text.with("n", n))
}

/// `{"type":"paused"}`
pub fn paused() -> Text {
    short("paused", |text| text)
}

/// `{"type":"resumed"}`
pub fn resumed() -> Text {
    short("resumed", |text| text)
}

/// `{"type":"gap",…}`, with everybody who is there behind it. `to` is the number before `from` when
/// only something without a number is missing.
pub fn gap(from: u64, to: u64, members: &mut dyn Iterator<Item = MemberId>) -> Vec<u8> {
    long(SHORT_MAX + names_len(members), "gap", |text| {
        text.with("from", from).with("to", to).with("members", List(members))
    })
}

/// `{"type":"reset",…}`, with everybody who is there at this number.
pub fn reset(epoch: Epoch, seq: u64, members: &mut dyn Iterator<Item = MemberId>) -> Vec<u8> {
    long(SHORT_MAX + names_len(members), "reset", |text| {
        text.with("epoch", epoch).with("seq", seq).with("members", List(members))
    })
}

/// What the names of these members take at most, in bytes.
fn names_len(members: &dyn Iterator<Item = MemberId>) -> usize {
    let (least, most) = members.size_hint();
    NAME_IN_LIST * most.unwrap_or(least)
}

impl Value for Gone {
    fn put(self, out: &mut impl Buffer) {
        match self {
            Self::Left => "left",
            Self::Lost => "lost",
            Self::Kicked => "kicked",
        }
        .put(out);
    }
}

impl Value for Refused {
    fn put(self, out: &mut impl Buffer) {
        match self {
            Self::RateLimited => "rate_limited",
            Self::NoSuchMember => "no_such_member",
            Self::NotPermitted => "not_permitted",
            Self::Unavailable => "unavailable",
            Self::PaddingViolation => "padding_violation",
        }
        .put(out);
    }
}

impl Value for PaddingPolicy {
    fn put(self, out: &mut impl Buffer) {
        match self {
            Self::Off => "off",
            Self::Warn => "warn",
            Self::Enforce => "enforce",
        }
        .put(out);
    }
}

/// The limits of a room: the relay's, and its own among them.
struct Limits<'a> {
    terms: &'a Terms,
    members_max: u32,
}

impl Value for Limits<'_> {
    fn put(self, out: &mut impl Buffer) {
        out.put(&self.terms.limits);
        Object::begun(out).with("members", self.members_max);
        out.put(&self.terms.limits_behind);
    }
}

/// A value that is made already.
struct Made<'a>(&'a [u8]);

impl Value for Made<'_> {
    fn put(self, out: &mut impl Buffer) {
        out.put(self.0);
    }
}

/// So much, per so many seconds.
fn rate((amount, seconds): (u64, u32)) -> List<[u64; 2]> {
    List([amount, seconds.into()])
}

#[cfg(test)]
mod tests;
