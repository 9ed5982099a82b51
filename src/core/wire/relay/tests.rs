//! Tests of the relay's control frames: as documented, and as serde would write them.

use proptest::prelude::*;
use serde::Serialize;

use super::*;
use crate::core::id::to_base64url;

const MEMBER: MemberId = MemberId::from_bytes([1, 2, 3, 4, 5, 6, 7, 8]);

/// Those of the documented example.
const LIMITS: WelcomeLimits = WelcomeLimits {
    payload_bytes: 65536,
    messages: (300, 10),
    bytes: (16_777_216, 10),
    fanout: (33_554_432, 10),
    heartbeat_s: 25,
};

#[test]
fn control_frames_of_the_relay_read_as_documented() {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    assert_eq!(text(&join(MEMBER, 42)), r#"{"type":"join","member":"AQIDBAUGBwg","seq":42}"#);
    assert_eq!(
        text(&leave(MEMBER, 43, Gone::Lost)),
        r#"{"type":"leave","member":"AQIDBAUGBwg","seq":43,"why":"lost"}"#
    );
    assert_eq!(text(&ack(7, 44)), r#"{"type":"ack","ref":7,"seq":44}"#);
    assert_eq!(
        text(&error(Refused::RateLimited, Some(7), Some(1200))),
        r#"{"type":"error","code":"rate_limited","ref":7,"retry_after_ms":1200}"#
    );
    assert_eq!(
        text(&error(Refused::PaddingViolation, Some(7), None)),
        r#"{"type":"error","code":"padding_violation","ref":7}"#
    );
    assert_eq!(text(&room(true, 9)), r#"{"type":"room","locked":true,"ttl_s":9}"#);
    assert_eq!(text(&closed()), r#"{"type":"closed"}"#);
    assert_eq!(text(&drain(3400)), r#"{"type":"drain","reconnect_after_ms":3400}"#);
    assert_eq!(text(&pong(1)), r#"{"type":"pong","n":1}"#);
    assert_eq!(text(&paused()), r#"{"type":"paused"}"#);
    assert_eq!(text(&resumed()), r#"{"type":"resumed"}"#);
    assert_eq!(
        text(&gap(45, 47, &mut std::iter::once(MEMBER))),
        r#"{"type":"gap","from":45,"to":47,"members":["AQIDBAUGBwg"]}"#
    );
    assert_eq!(
        text(&reset(Epoch::from_bytes([0; 8]), 3, &mut std::iter::empty())),
        r#"{"type":"reset","epoch":"AAAAAAAAAAA","seq":3,"members":[]}"#
    );
    assert_eq!(
        text(&error(Refused::Unavailable, Some(7), Some(1000))),
        r#"{"type":"error","code":"unavailable","ref":7,"retry_after_ms":1000}"#
    );
    let welcome = Welcome {
        member: MEMBER,
        epoch: Epoch::from_bytes([0; 8]),
        seq: 41,
        members: &mut std::iter::once(MEMBER),
        cap: Cap::SEND.with(Cap::RECEIVE),
        locked: false,
        ttl_s: 86000,
        terms: &Terms::new(&LIMITS, &[256, 1024]),
        members_max: 64,
        padding_policy: PaddingPolicy::Warn,
    };
    assert_eq!(
        text(&welcome.encode()),
        concat!(
            r#"{"type":"welcome","v":1,"member":"AQIDBAUGBwg","epoch":"AAAAAAAAAAA","seq":41,"#,
            r#""members":["AQIDBAUGBwg"],"cap":"sr","locked":false,"ttl_s":86000,"#,
            r#""limits":{"payload_bytes":65536,"members":64,"messages":[300,10],"#,
            r#""bytes":[16777216,10],"fanout":[33554432,10],"heartbeat_s":25},"#,
            r#""padding":[256,1024],"padding_policy":"warn"}"#,
        )
    );
}

#[test]
fn the_longest_text_without_a_list_just_fits() {
    let most = error(Refused::PaddingViolation, Some(u16::MAX), Some(u64::MAX));
    assert_eq!(most.len(), SHORT_MAX);
    let others = [
        join(MEMBER, u64::MAX),
        leave(MEMBER, u64::MAX, Gone::Kicked),
        ack(u16::MAX, u64::MAX),
        room(false, u64::MAX),
        drain(u64::MAX),
        pong(u64::MAX),
    ];
    assert!(others.iter().all(|text| text.len() < SHORT_MAX && text.ends_with(b"}")));
}

#[test]
fn texts_with_lists_do_not_grow() {
    let terms = Terms::new(&LIMITS, &[9]);
    for count in [0, 100] {
        let members = || (0..count).map(|n| MemberId::from_bytes([n; 8]));
        let names = usize::from(count) * NAME_IN_LIST;
        let text = gap(u64::MAX, u64::MAX, &mut members());
        assert_eq!(text.capacity(), SHORT_MAX + names);
        let text = reset(Epoch::from_bytes([9; 8]), u64::MAX, &mut members());
        assert_eq!(text.capacity(), SHORT_MAX + names);
        let text = Welcome {
            member: MEMBER,
            epoch: Epoch::from_bytes([255; 8]),
            seq: u64::MAX,
            members: &mut members(),
            cap: Cap::parse("sroc").unwrap(),
            locked: false,
            ttl_s: u64::MAX,
            terms: &terms,
            members_max: u32::MAX,
            padding_policy: PaddingPolicy::Enforce,
        }
        .encode();
        assert_eq!(text.capacity(), WELCOME_MAX + names + terms.len());
        // The last name has no comma behind it.
        assert_eq!(text.len(), text.capacity() - usize::from(count > 0));
    }
}

/// The same frames, as serde knows them.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
enum Model {
    Welcome {
        v: u8,
        member: String,
        epoch: String,
        seq: u64,
        members: Vec<String>,
        cap: String,
        locked: bool,
        ttl_s: u64,
        limits: LimitsModel,
        padding: Vec<u32>,
        padding_policy: PaddingPolicy,
    },
    Join {
        member: String,
        seq: u64,
    },
    Leave {
        member: String,
        seq: u64,
        #[serde(with = "GoneModel")]
        why: Gone,
    },
    Ack {
        #[serde(rename = "ref")]
        reference: u16,
        seq: u64,
    },
    Error {
        #[serde(with = "RefusedModel")]
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
        members: Vec<String>,
    },
    Reset {
        epoch: String,
        seq: u64,
        members: Vec<String>,
    },
}

#[derive(Serialize)]
#[serde(remote = "Gone", rename_all = "lowercase")]
enum GoneModel {
    Left,
    Lost,
    Kicked,
}

#[derive(Serialize)]
#[serde(remote = "Refused", rename_all = "snake_case")]
enum RefusedModel {
    RateLimited,
    NoSuchMember,
    NotPermitted,
    Unavailable,
    PaddingViolation,
}

#[derive(Clone, Copy, Debug, Serialize)]
struct LimitsModel {
    payload_bytes: u32,
    members: u32,
    messages: (u64, u32),
    bytes: (u64, u32),
    fanout: (u64, u32),
    heartbeat_s: u32,
}

impl Model {
    fn encode(&self) -> String {
        serde_json::to_string(self).unwrap()
    }
}

/// Numbers of every length.
fn number() -> impl Strategy<Value = u64> {
    (any::<u64>(), 0..64_u32).prop_map(|(number, shift)| number >> shift)
}

fn size() -> impl Strategy<Value = u32> {
    (any::<u32>(), 0..32_u32).prop_map(|(size, shift)| size >> shift)
}

fn gone() -> impl Strategy<Value = Gone> {
    prop::sample::select(vec![Gone::Left, Gone::Lost, Gone::Kicked])
}

fn refused() -> impl Strategy<Value = Refused> {
    use Refused::{NoSuchMember, NotPermitted, PaddingViolation, RateLimited, Unavailable};
    prop::sample::select(vec![
        RateLimited,
        NoSuchMember,
        NotPermitted,
        Unavailable,
        PaddingViolation,
    ])
}

fn policy() -> impl Strategy<Value = PaddingPolicy> {
    use PaddingPolicy::{Enforce, Off, Warn};
    prop::sample::select(vec![Off, Warn, Enforce])
}

fn limits() -> impl Strategy<Value = LimitsModel> {
    let rate = || (number(), size());
    (size(), size(), rate(), rate(), rate(), size()).prop_map(
        |(payload_bytes, members, messages, bytes, fanout, heartbeat_s)| LimitsModel {
            payload_bytes,
            members,
            messages,
            bytes,
            fanout,
            heartbeat_s,
        },
    )
}

fn names(members: &[[u8; 8]]) -> Vec<String> {
    members.iter().map(|name| to_base64url(name)).collect()
}

proptest! {
    #[test]
    fn short_texts_are_what_serde_writes(
        name in any::<[u8; 8]>(),
        (n, seq) in (number(), number()),
        reference in any::<u16>(),
        (with_reference, wait) in (any::<bool>(), prop::option::of(number())),
        locked in any::<bool>(),
        (why, code) in (gone(), refused()),
    ) {
        let (id, member) = (MemberId::from_bytes(name), || to_base64url(&name));
        let some = with_reference.then_some(reference);
        let pairs = [
            (join(id, seq), Model::Join { member: member(), seq }),
            (leave(id, seq, why), Model::Leave { member: member(), seq, why }),
            (ack(reference, seq), Model::Ack { reference, seq }),
            (error(code, some, wait), Model::Error { code, reference: some, retry_after_ms: wait }),
            (room(locked, n), Model::Room { locked, ttl_s: n }),
            (closed(), Model::Closed),
            (drain(n), Model::Drain { reconnect_after_ms: n }),
            (pong(n), Model::Pong { n }),
            (paused(), Model::Paused),
            (resumed(), Model::Resumed),
        ];
        for (text, model) in pairs {
            prop_assert_eq!(str::from_utf8(&text).unwrap(), model.encode());
        }
    }

    #[test]
    fn texts_with_lists_are_what_serde_writes(
        members in prop::collection::vec(any::<[u8; 8]>(), 0..20),
        (epoch, from, to) in (any::<[u8; 8]>(), number(), number()),
    ) {
        let ids = || members.iter().copied().map(MemberId::from_bytes);
        let text = gap(from, to, &mut ids());
        let model = Model::Gap { from, to, members: names(&members) };
        prop_assert_eq!(str::from_utf8(&text).unwrap(), model.encode());

        let text = reset(Epoch::from_bytes(epoch), from, &mut ids());
        let epoch = to_base64url(&epoch);
        let model = Model::Reset { epoch, seq: from, members: names(&members) };
        prop_assert_eq!(str::from_utf8(&text).unwrap(), model.encode());
    }

    #[test]
    fn a_welcome_is_what_serde_writes(
        (member, epoch, seq) in (any::<[u8; 8]>(), any::<[u8; 8]>(), number()),
        members in prop::collection::vec(any::<[u8; 8]>(), 0..20),
        cap in "s?r?o?c?".prop_filter("some letter", |letters| !letters.is_empty()),
        (locked, ttl_s, limits) in (any::<bool>(), number(), limits()),
        (padding, policy) in (prop::collection::vec(size(), 0..10), policy()),
    ) {
        let LimitsModel { payload_bytes, members: members_max, .. } = limits;
        let LimitsModel { messages, bytes, fanout, heartbeat_s, .. } = limits;
        let of_relay = WelcomeLimits { payload_bytes, messages, bytes, fanout, heartbeat_s };
        let text = Welcome {
            member: MemberId::from_bytes(member),
            epoch: Epoch::from_bytes(epoch),
            seq,
            members: &mut members.iter().copied().map(MemberId::from_bytes),
            cap: Cap::parse(&cap).unwrap(),
            locked,
            ttl_s,
            terms: &Terms::new(&of_relay, &padding),
            members_max,
            padding_policy: policy,
        }
        .encode();
        let model = Model::Welcome {
            v: 1,
            member: to_base64url(&member),
            epoch: to_base64url(&epoch),
            seq,
            members: names(&members),
            cap,
            locked,
            ttl_s,
            limits,
            padding,
            padding_policy: policy,
        };
        prop_assert_eq!(str::from_utf8(&text).unwrap(), model.encode());
    }
}
