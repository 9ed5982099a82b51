//! What travels inside WebSocket messages: binary data frames and JSON control frames.
//!
//! This module knows every byte of `docs/protocol.md`, sections 6 and 7, and nothing of what the
//! frames are for. The heads of data frames are parsed from and written to fixed arrays, so that a
//! payload is never touched here.

use serde::ser::Error as _;
use serde::{Deserialize, Serialize, Serializer};

use crate::core::admission::PaddingPolicy;
use crate::core::close::Close;
use crate::core::id::{Epoch, MemberId, eight_to_base64url};

/// Longest control frame that a client may send, in bytes.
pub const CONTROL_BYTES_MAX: usize = 1024;
/// Longest head of a client's data frame, in bytes (that of a DIRECT).
pub const CLIENT_HEAD_MAX: usize = DIRECT_HEAD;
/// Head of every data frame that the relay sends, in bytes.
pub const RELAY_HEAD: usize = 20;

const SEND_HEAD: usize = 4;
const DIRECT_HEAD: usize = 12;
const SEND: u8 = 0x01;
const DIRECT: u8 = 0x02;
const FROM_RELAY: u8 = 0x80;

/// The flags of a data frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags(u8);

impl Flags {
    /// The sender wants to be told the number that the message got.
    pub const ACK: Self = Self(0x01);
    /// From a client: deliver it to the sender too. From the relay: this is that copy.
    pub const ECHO: Self = Self(0x02);
    /// May be dropped first; has no number.
    pub const VOLATILE: Self = Self(0x04);

    const ALL: u8 = 0x07;

    /// Whether all of `other` is set.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Both.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The flags as one byte.
    pub const fn bits(self) -> u8 {
        self.0
    }

    /// The flags that a byte stands for, if it has no other bits.
    pub const fn from_bits(bits: u8) -> Option<Self> {
        if bits & !Self::ALL == 0 { Some(Self(bits)) } else { None }
    }
}

/// Whom a data frame is for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// Every other member.
    Room,
    /// One member.
    Member(MemberId),
}

/// The head of a data frame from a client.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ClientHead {
    /// Whom it is for.
    pub target: Target,
    /// What the sender asks for.
    pub flags: Flags,
    /// The client's own number for it, returned in `ack` and `error`.
    pub reference: u16,
}

impl ClientHead {
    /// Parses the head of a message of `message_len` bytes from its first [`CLIENT_HEAD_MAX`] bytes
    /// (or all, if it has fewer), and says how long the head is.
    ///
    /// # Errors
    ///
    /// `BadFrame` for an unknown operation or flag and for a message with no payload behind it.
    pub fn parse(first: &[u8], message_len: usize) -> Result<(Self, usize), Close> {
        let Some(([op, flags, reference @ ..], rest)) = first.split_first_chunk::<SEND_HEAD>()
        else {
            return Err(Close::BadFrame);
        };
        let (target, len) = match (*op, rest.first_chunk()) {
            (SEND, _) => (Target::Room, SEND_HEAD),
            (DIRECT, Some(dest)) => (Target::Member(MemberId::from_bytes(*dest)), DIRECT_HEAD),
            _ => return Err(Close::BadFrame),
        };
        if flags & !Flags::ALL != 0 || message_len <= len {
            return Err(Close::BadFrame);
        }
        let reference = u16::from_be_bytes(*reference);
        Ok((Self { target, flags: Flags(*flags), reference }, len))
    }

    /// The head as a client writes it.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![SEND, self.flags.0];
        out.extend_from_slice(&self.reference.to_be_bytes());
        if let (Target::Member(member), Some(op)) = (self.target, out.first_mut()) {
            *op = DIRECT;
            out.extend_from_slice(member.as_bytes());
        }
        out
    }
}

/// The head of a data frame to a client.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct RelayHead {
    /// Whether it was for this member alone.
    pub direct: bool,
    /// `ECHO` for the sender's own copy, `VOLATILE` as it was sent.
    pub flags: Flags,
    /// Who sent it.
    pub from: MemberId,
    /// Its number in the room, below 2^53; 0 if volatile.
    pub seq: u64,
}

impl RelayHead {
    /// The bytes on the wire.
    pub fn encode(&self) -> [u8; RELAY_HEAD] {
        let op = FROM_RELAY | if self.direct { DIRECT } else { SEND };
        let [f0, f1, f2, f3, f4, f5, f6, f7] = *self.from.as_bytes();
        let [s0, s1, s2, s3, s4, s5, s6, s7] = self.seq.to_be_bytes();
        [op, self.flags.0, 0, 0, f0, f1, f2, f3, f4, f5, f6, f7, s0, s1, s2, s3, s4, s5, s6, s7]
    }

    /// Parses what [`RelayHead::encode`] wrote; for clients and tests.
    pub fn parse(frame: &[u8]) -> Option<(Self, &[u8])> {
        let (head, payload) = frame.split_first_chunk::<RELAY_HEAD>()?;
        let [op, flags, 0, 0, rest @ ..] = head else { return None };
        let (from, seq) = rest.split_first_chunk::<8>()?;
        let direct = match op ^ FROM_RELAY {
            SEND => false,
            DIRECT => true,
            _ => return None,
        };
        let seq = u64::from_be_bytes(*seq.first_chunk()?);
        let from = MemberId::from_bytes(*from);
        Some((Self { direct, flags: Flags(*flags), from, seq }, payload))
    }
}

/// A control frame from a client.
#[derive(Debug, PartialEq, Eq, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase", deny_unknown_fields)]
pub enum ClientControl {
    /// A sign of life above the WebSocket layer, answered by `pong`.
    Ping {
        /// Returned as it came.
        n: u64,
    },
    /// The member says goodbye; the relay closes with 1000.
    Leave {},
    /// Something that only the owner may do.
    Owner(OwnerRequest),
}

/// What an owner asks for, over the WebSocket or over HTTP.
#[derive(Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OwnerRequest {
    /// The operation.
    pub op: OwnerOp,
    /// Whom to kick, in text form; for `kick` only.
    #[serde(default)]
    pub member: Option<String>,
}

/// The operations of a room's owner.
///
/// Read from a text, because serde would take `{"lock":null}` for `"lock"` as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum OwnerOp {
    /// End the room for everybody.
    Close,
    /// Let nobody in any more.
    Lock,
    /// Let members in again.
    Unlock,
    /// Remove one member.
    Kick,
}

impl TryFrom<String> for OwnerOp {
    type Error = &'static str;

    fn try_from(word: String) -> Result<Self, Self::Error> {
        Ok(match word.as_str() {
            "close" => Self::Close,
            "lock" => Self::Lock,
            "unlock" => Self::Unlock,
            "kick" => Self::Kick,
            _ => return Err("unknown operation"),
        })
    }
}

impl ClientControl {
    /// Parses a text message.
    ///
    /// # Errors
    ///
    /// `BadFrame` for what is not exactly one of the known frames.
    pub fn parse(text: &[u8]) -> Result<Self, Close> {
        // Serde would take an array of the members in order as well.
        if text.trim_ascii_start().first() != Some(&b'{') {
            return Err(Close::BadFrame);
        }
        serde_json::from_slice(text).map_err(|_| Close::BadFrame)
    }
}

/// Why a member is gone, as `leave` says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Gone {
    /// It said so.
    Left,
    /// Its connection broke or was closed by the relay.
    Lost,
    /// The owner removed it.
    Kicked,
}

/// What is wrong with a frame, as `error` says it. But for the last, the frame was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
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
#[derive(Clone, Copy, Debug, Serialize)]
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
    /// What its token allows, as letters.
    pub cap: &'a str,
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

/// The name of a member or an epoch, as text without an allocation: a welcome has many.
struct Name([u8; 8]);

impl Serialize for Name {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let text = eight_to_base64url(self.0);
        serializer.serialize_str(str::from_utf8(&text).map_err(S::Error::custom)?)
    }
}

/// A control frame to a client; [`RelayControl::encode`] gives its text.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
enum RelayControl<'a> {
    Welcome {
        v: u8,
        member: Name,
        epoch: Name,
        seq: u64,
        members: Vec<Name>,
        cap: &'a str,
        locked: bool,
        ttl_s: u64,
        limits: WelcomeLimits,
        padding: &'a [u32],
        padding_policy: PaddingPolicy,
    },
    Join {
        member: Name,
        seq: u64,
    },
    Leave {
        member: Name,
        seq: u64,
        why: Gone,
    },
    Ack {
        #[serde(rename = "ref")]
        reference: u16,
        seq: u64,
    },
    Error {
        code: Refused,
        #[serde(rename = "ref", skip_serializing_if = "Option::is_none")]
        reference: Option<u16>,
        #[serde(skip_serializing_if = "Option::is_none")]
        retry_after_ms: Option<u64>,
    },
    Room {
        locked: bool,
        ttl_s: u64,
    },
    Closed,
    Drain {
        reconnect_after_ms: u64,
    },
    Pong {
        n: u64,
    },
    Paused,
    Resumed,
    Gap {
        from: u64,
        to: u64,
        members: Vec<Name>,
    },
    Reset {
        epoch: Name,
        seq: u64,
        members: Vec<Name>,
    },
}

/// What a control frame's text has at most beside its lists; it only saves growing.
const TEXT_BYTES: usize = 448;

impl RelayControl<'_> {
    fn encode(&self) -> Vec<u8> {
        let lists = match self {
            // A name in quotes and a comma; a size of up to seven digits and a comma.
            Self::Welcome { members, padding, .. } => 14 * members.len() + 8 * padding.len(),
            Self::Gap { members, .. } | Self::Reset { members, .. } => 14 * members.len(),
            _ => 0,
        };
        let mut text = Vec::with_capacity(TEXT_BYTES + lists);
        serde_json::to_writer(&mut text, self)
            .expect("strings and numbers always have a JSON form");
        text
    }
}

impl Welcome<'_> {
    /// `{"type":"welcome",…}`
    pub fn encode(self) -> Vec<u8> {
        RelayControl::Welcome {
            v: 1,
            member: Name(*self.member.as_bytes()),
            epoch: Name(*self.epoch.as_bytes()),
            seq: self.seq,
            members: names(self.members),
            cap: self.cap,
            locked: self.locked,
            ttl_s: self.ttl_s,
            limits: self.limits,
            padding: self.padding,
            padding_policy: self.padding_policy,
        }
        .encode()
    }
}

/// `{"type":"join",…}`
pub fn join(member: MemberId, seq: u64) -> Vec<u8> {
    RelayControl::Join { member: Name(*member.as_bytes()), seq }.encode()
}

/// `{"type":"leave",…}`
pub fn leave(member: MemberId, seq: u64, why: Gone) -> Vec<u8> {
    RelayControl::Leave { member: Name(*member.as_bytes()), seq, why }.encode()
}

/// `{"type":"ack",…}`
pub fn ack(reference: u16, seq: u64) -> Vec<u8> {
    RelayControl::Ack { reference, seq }.encode()
}

/// `{"type":"error",…}`; with a wait in milliseconds where waiting helps.
pub fn error(code: Refused, reference: Option<u16>, retry_after_ms: Option<u64>) -> Vec<u8> {
    RelayControl::Error { code, reference, retry_after_ms }.encode()
}

/// `{"type":"room",…}`
pub fn room(locked: bool, ttl_s: u64) -> Vec<u8> {
    RelayControl::Room { locked, ttl_s }.encode()
}

/// `{"type":"closed"}`
pub fn closed() -> Vec<u8> {
    RelayControl::Closed.encode()
}

/// `{"type":"drain",…}`
pub fn drain(reconnect_after_ms: u64) -> Vec<u8> {
    RelayControl::Drain { reconnect_after_ms }.encode()
}

/// `{"type":"pong",…}`
pub fn pong(n: u64) -> Vec<u8> {
    RelayControl::Pong { n }.encode()
}

/// `{"type":"paused"}`
pub fn paused() -> Vec<u8> {
    RelayControl::Paused.encode()
}

/// `{"type":"resumed"}`
pub fn resumed() -> Vec<u8> {
    RelayControl::Resumed.encode()
}

/// `{"type":"gap",…}`, with everybody who is there behind it. `to` is the number before `from` when
/// only something without a number is missing.
pub fn gap(from: u64, to: u64, members: &mut dyn Iterator<Item = MemberId>) -> Vec<u8> {
    RelayControl::Gap { from, to, members: names(members) }.encode()
}

/// `{"type":"reset",…}`, with everybody who is there at this number.
pub fn reset(epoch: Epoch, seq: u64, members: &mut dyn Iterator<Item = MemberId>) -> Vec<u8> {
    let epoch = Name(*epoch.as_bytes());
    RelayControl::Reset { epoch, seq, members: names(members) }.encode()
}

fn names(members: &mut dyn Iterator<Item = MemberId>) -> Vec<Name> {
    members.map(|member| Name(*member.as_bytes())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MEMBER: MemberId = MemberId::from_bytes([1, 2, 3, 4, 5, 6, 7, 8]);

    fn parse(message: &[u8]) -> Result<(ClientHead, usize), Close> {
        ClientHead::parse(&message[..message.len().min(CLIENT_HEAD_MAX)], message.len())
    }

    #[test]
    fn heads_of_clients_have_the_documented_bytes() {
        let send = [1, 5, 0, 7, b'x'];
        let (head, len) = parse(&send).ok().unwrap();
        assert!(head.target == Target::Room && head.reference == 7 && len == 4);
        assert_eq!(head.flags, Flags::ACK.with(Flags::VOLATILE));

        let direct = [2, 0, 1, 0, 1, 2, 3, 4, 5, 6, 7, 8, b'x'];
        let (head, len) = parse(&direct).ok().unwrap();
        assert!(head.target == Target::Member(MEMBER) && head.reference == 256 && len == 12);
    }

    #[test]
    fn anything_else_is_a_bad_frame() {
        for bad in [
            &[][..],
            &[1, 0, 0],
            &[1, 0, 0, 0],
            &[1, 8, 0, 0, b'x'],
            &[0, 0, 0, 0, b'x'],
            &[3, 0, 0, 0, b'x'],
            &[0x81, 0, 0, 0, b'x'],
            &[2, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7],
            &[2, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8],
        ] {
            assert!(parse(bad).err() == Some(Close::BadFrame), "{bad:?}");
        }
    }

    #[test]
    fn heads_of_the_relay_have_the_documented_bytes() {
        let head = RelayHead { direct: false, flags: Flags::ECHO, from: MEMBER, seq: 258 };
        let bytes = [0x81, 2, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 0, 0, 0, 0, 0, 0, 1, 2];
        assert_eq!(head.encode(), bytes);
        assert!(RelayHead::parse(&bytes).unwrap().0 == head);
        let direct = RelayHead { direct: true, ..head }.encode();
        assert_eq!(direct[0], 0x82);
    }

    #[test]
    fn control_frames_of_clients_are_exact() {
        let parse = |text: &str| ClientControl::parse(text.as_bytes());
        assert_eq!(parse(r#"{"type":"ping","n":3}"#), Ok(ClientControl::Ping { n: 3 }));
        assert_eq!(parse(r#"{"type":"leave"}"#), Ok(ClientControl::Leave {}));
        let kick = r#"{"type":"owner","op":"kick","member":"AQIDBAUGBwg"}"#;
        let member = Some("AQIDBAUGBwg".to_owned());
        let request = OwnerRequest { op: OwnerOp::Kick, member };
        assert_eq!(parse(kick), Ok(ClientControl::Owner(request)));
        for bad in [
            "",
            "{}",
            "null",
            r#"{"type":"leave"} x"#,
            r#"{"type":"leave","why":"x"}"#,
            r#"{"type":"ping"}"#,
            r#"{"type":"ping","n":-1}"#,
            r#"{"type":"ping","n":1.5}"#,
            r#"{"type":"ping","n":1,"n":2}"#,
            r#"{"type":"ping","type":"ping","n":1}"#,
            r#"{"type":"Leave"}"#,
            r#"{"type":"owner","op":"rename"}"#,
            r#"{"type":"owner","op":"lock","extra":1}"#,
            r#"{"type":"owner","op":{"lock":null}}"#,
            r#"["ping",1]"#,
        ] {
            assert_eq!(parse(bad), Err(Close::BadFrame), "{bad}");
        }
    }

    #[test]
    fn control_frames_of_the_relay_read_as_documented() {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        assert_eq!(text(join(MEMBER, 42)), r#"{"type":"join","member":"AQIDBAUGBwg","seq":42}"#);
        assert_eq!(
            text(leave(MEMBER, 43, Gone::Lost)),
            r#"{"type":"leave","member":"AQIDBAUGBwg","seq":43,"why":"lost"}"#
        );
        assert_eq!(text(ack(7, 44)), r#"{"type":"ack","ref":7,"seq":44}"#);
        assert_eq!(
            text(error(Refused::RateLimited, Some(7), Some(1200))),
            r#"{"type":"error","code":"rate_limited","ref":7,"retry_after_ms":1200}"#
        );
        assert_eq!(
            text(error(Refused::PaddingViolation, Some(7), None)),
            r#"{"type":"error","code":"padding_violation","ref":7}"#
        );
        assert_eq!(text(room(true, 9)), r#"{"type":"room","locked":true,"ttl_s":9}"#);
        assert_eq!(text(closed()), r#"{"type":"closed"}"#);
        assert_eq!(text(drain(3400)), r#"{"type":"drain","reconnect_after_ms":3400}"#);
        assert_eq!(text(pong(1)), r#"{"type":"pong","n":1}"#);
        assert_eq!(text(paused()), r#"{"type":"paused"}"#);
        assert_eq!(text(resumed()), r#"{"type":"resumed"}"#);
        assert_eq!(
            text(gap(45, 47, &mut std::iter::once(MEMBER))),
            r#"{"type":"gap","from":45,"to":47,"members":["AQIDBAUGBwg"]}"#
        );
        assert_eq!(
            text(reset(Epoch::from_bytes([0; 8]), 3, &mut std::iter::empty())),
            r#"{"type":"reset","epoch":"AAAAAAAAAAA","seq":3,"members":[]}"#
        );
        assert_eq!(
            text(error(Refused::Unavailable, Some(7), Some(1000))),
            r#"{"type":"error","code":"unavailable","ref":7,"retry_after_ms":1000}"#
        );
        let welcome = Welcome {
            member: MEMBER,
            epoch: Epoch::from_bytes([0; 8]),
            seq: 41,
            members: &mut std::iter::once(MEMBER),
            cap: "sr",
            locked: false,
            ttl_s: 86000,
            limits: WelcomeLimits {
                payload_bytes: 65536,
                members: 64,
                messages: (300, 10),
                bytes: (16_777_216, 10),
                fanout: (33_554_432, 10),
                heartbeat_s: 25,
            },
            padding: &[256, 1024],
            padding_policy: PaddingPolicy::Warn,
        };
        assert_eq!(
            text(welcome.encode()),
            concat!(
                r#"{"type":"welcome","v":1,"member":"AQIDBAUGBwg","epoch":"AAAAAAAAAAA","seq":41,"#,
                r#""members":["AQIDBAUGBwg"],"cap":"sr","locked":false,"ttl_s":86000,"#,
                r#""limits":{"payload_bytes":65536,"members":64,"messages":[300,10],"#,
                r#""bytes":[16777216,10],"fanout":[33554432,10],"heartbeat_s":25},"#,
                r#""padding":[256,1024],"padding_policy":"warn"}"#,
            )
        );
    }

    proptest! {
        #[test]
        fn what_parses_encodes_to_the_same_bytes(
            mut message in prop::collection::vec(any::<u8>(), 0..40),
            op in 0..4_u8,
            flags in 0..9_u8,
        ) {
            if let [o, f, ..] = &mut message[..] {
                (*o, *f) = (op, flags);
            }
            if let Ok((head, len)) = parse(&message) {
                prop_assert_eq!(head.encode(), &message[..len]);
            }
        }
    }
}
