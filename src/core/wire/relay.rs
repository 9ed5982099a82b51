//! The control frames that the relay sends.

use crate::core::admission::PaddingPolicy;
use crate::core::id::{Epoch, MemberId};
use crate::core::token::Cap;
use crate::core::wire::text::{
    Buffer, List, NAME_IN_LIST, Object, SHORT_MAX, Text, Value, long, short,
};

/// What a welcome takes at most beside its lists, in bytes.
const WELCOME_MAX: usize = 420;
/// What a size in a list takes at most, in bytes: ten digits and a comma.
const SIZE_IN_LIST: usize = 11;

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

/// The limits that concern a client, as `welcome` tells them.
#[derive(Clone, Copy, Debug)]
pub struct WelcomeLimits {
    /// Longest payload, in bytes.
    pub payload_bytes: u32,
    /// Most members of the room.
    pub members: u32,
    /// Messages, per so many seconds.
    pub messages: (u64, u32),
    /// Payload bytes, per so many seconds.
    pub bytes: (u64, u32),
    /// Payload bytes times their receivers, per so many seconds.
    pub fanout: (u64, u32),
    /// How often the relay pings, in seconds.
    pub heartbeat_s: u32,
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
    /// The limits that concern a client.
    pub limits: WelcomeLimits,
    /// The sizes that payloads should be padded to.
    pub padding: &'a [u32],
    /// What is done with other sizes.
    pub padding_policy: PaddingPolicy,
}

impl Welcome<'_> {
    /// `{"type":"welcome",…}`
    pub fn encode(self) -> Vec<u8> {
        let lists = names_len(self.members) + SIZE_IN_LIST * self.padding.len();
        long(WELCOME_MAX + lists, "welcome", |text| {
            text.with("v", 1_u64)
                .with("member", self.member)
                .with("epoch", self.epoch)
                .with("seq", self.seq)
                .with("members", List(self.members))
                .with("cap", self.cap)
                .with("locked", self.locked)
                .with("ttl_s", self.ttl_s)
                .with("limits", self.limits)
                .with("padding", List(self.padding.iter().copied()))
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

impl Value for WelcomeLimits {
    fn put(self, out: &mut impl Buffer) {
        Object::begin(out, "payload_bytes", self.payload_bytes)
            .with("members", self.members)
            .with("messages", rate(self.messages))
            .with("bytes", rate(self.bytes))
            .with("fanout", rate(self.fanout))
            .with("heartbeat_s", self.heartbeat_s)
            .end();
    }
}

/// So much, per so many seconds.
fn rate((amount, seconds): (u64, u32)) -> List<[u64; 2]> {
    List([amount, seconds.into()])
}

#[cfg(test)]
mod tests;
