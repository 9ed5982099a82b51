//! Tests of the frame reader: every rule of RFC 6455 section 5 that a client can break.

use super::*;
use proptest::prelude::*;

const LIMITS: Limits = Limits { binary_bytes: 1000, text_bytes: 200, fragments: 4 };
const KEY: [u8; 4] = [0x11, 0x22, 0x33, 0x44];

/// A client's frame, as it should be.
fn client(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    put_head(&mut out, Opcode::Binary, payload.len());
    out[0] = first;
    out[1] |= 0x80;
    out.extend_from_slice(&KEY);
    let start = out.len();
    out.extend_from_slice(payload);
    Mask(KEY).apply(&mut out[start..]);
    out
}

/// Everything a reader says about a stream, with payloads copied out.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Seen {
    Message(Kind, Vec<u8>),
    Fragment,
    Ping(Vec<u8>),
    Pong,
    Close(Option<u16>),
    Failed(Close),
}

fn read(stream: &[u8], chunks: &mut dyn Iterator<Item = usize>) -> Vec<Seen> {
    let mut reader = Reader::default();
    let mut seen = Vec::new();
    let mut buffer = Vec::new();
    let mut rest = stream;
    loop {
        let len = buffer.len();
        let mut left = &mut buffer[..];
        loop {
            let before = left.len();
            left = match reader.next(left, &LIMITS) {
                Ok(Step::Frame(event, behind)) => {
                    seen.push(match event {
                        Event::Message(kind, mut payload) => {
                            Seen::Message(kind, payload.unmask().to_vec())
                        }
                        Event::Fragment => Seen::Fragment,
                        Event::Ping(payload) => Seen::Ping(payload.to_vec()),
                        Event::Pong => Seen::Pong,
                        Event::Close(code) => Seen::Close(code),
                    });
                    behind
                }
                Ok(Step::Need(need, all)) => {
                    assert!(need > all.len(), "needs no more than there is");
                    assert_eq!(all.len(), before, "bytes were lost");
                    left = all;
                    break;
                }
                Err(close) => {
                    seen.push(Seen::Failed(close));
                    return seen;
                }
            }
        }
        let taken = len - left.len();
        buffer.drain(..taken);
        if rest.is_empty() {
            return seen;
        }
        let (now, later) = rest.split_at(chunks.next().unwrap_or(rest.len()).clamp(1, rest.len()));
        buffer.extend_from_slice(now);
        rest = later;
    }
}

fn read_whole(stream: &[u8]) -> Vec<Seen> {
    read(stream, &mut std::iter::empty())
}

#[test]
fn a_message_comes_out_as_it_was_sent() {
    for len in [0, 1, 7, 8, 125, 126, 200, 1000] {
        let payload: Vec<u8> = (0..len).map(|i| u8::try_from(i % 251).unwrap()).collect();
        let seen = read_whole(&client(0x82, &payload));
        assert_eq!(seen, [Seen::Message(Kind::Binary, payload)]);
    }
}

#[test]
fn control_frames_may_stand_between_fragments() {
    let mut stream = client(0x01, b"he");
    stream.extend(client(0x89, b"ping"));
    stream.extend(client(0x00, b"l"));
    stream.extend(client(0x8A, b""));
    stream.extend(client(0x80, b"lo"));
    let hello = Seen::Message(Kind::Text, b"hello".to_vec());
    let ping = Seen::Ping(b"ping".to_vec());
    assert_eq!(read_whole(&stream), [Seen::Fragment, ping, Seen::Fragment, Seen::Pong, hello]);
}

#[test]
fn what_the_rfc_forbids_is_a_protocol_error() {
    let unmasked = frame(Opcode::Binary, b"x");
    let mut long_form_of_125 = vec![0x82, 0xFE, 0, 125];
    long_form_of_125.extend_from_slice(&KEY);
    let mut long_form_of_65535 = vec![0x82, 0xFF, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF];
    long_form_of_65535.extend_from_slice(&KEY);
    let top_bit = vec![0x82, 0xFF, 0x80, 0, 0, 0, 0, 1, 0, 0];
    for (why, stream) in [
        ("unmasked", unmasked),
        ("RSV1", client(0xC2, b"x")),
        ("RSV2", client(0xA2, b"x")),
        ("RSV3", client(0x92, b"x")),
        ("opcode 3", client(0x83, b"x")),
        ("opcode 7", client(0x87, b"x")),
        ("opcode 11", client(0x8B, b"x")),
        ("opcode 15", client(0x8F, b"x")),
        ("fragmented ping", client(0x09, b"x")),
        ("fragmented close", client(0x08, b"")),
        ("long ping", client(0x89, &[0; 126])),
        ("long pong", client(0x8A, &[0; 126])),
        ("long close", client(0x88, &[3; 126])),
        ("continuation of nothing", client(0x80, b"x")),
        ("fragment of nothing", client(0x00, b"x")),
        ("length 125 in two bytes", long_form_of_125),
        ("length 65535 in eight bytes", long_form_of_65535),
        ("length with its top bit set", top_bit),
        ("close with one byte", client(0x88, b"\x03")),
    ] {
        assert_eq!(read_whole(&stream).last(), Some(&Seen::Failed(Close::Protocol)), "{why}");
    }
}

#[test]
fn a_new_message_within_a_fragmented_one_is_a_protocol_error() {
    for second in [0x81, 0x82, 0x01, 0x02] {
        let mut stream = client(0x02, b"part");
        stream.extend(client(second, b"other"));
        assert_eq!(read_whole(&stream), [Seen::Fragment, Seen::Failed(Close::Protocol)]);
    }
}

#[test]
fn sizes_are_refused_from_the_head_alone() {
    let head = |first, len: usize| client(first, &vec![0; len])[..10].to_vec();
    assert_eq!(read_whole(&head(0x82, 1001)), [Seen::Failed(Close::TooLarge)]);
    assert_eq!(read_whole(&head(0x81, 201)), [Seen::Failed(Close::TooLarge)]);
    assert_eq!(read_whole(&head(0x82, 1000)), []);
    let huge = [0x82, 0xFF, 0x7F, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF];
    assert_eq!(read_whole(&huge), [Seen::Failed(Close::TooLarge)]);
}

#[test]
fn a_fragmented_message_has_the_same_limit_in_all() {
    let mut stream = client(0x02, &[1; 600]);
    stream.extend(client(0x80, &[2; 400]));
    assert!(matches!(&read_whole(&stream)[1], Seen::Message(_, payload) if payload.len() == 1000));

    let mut stream = client(0x02, &[1; 600]);
    stream.extend(client(0x80, &[2; 401]));
    assert_eq!(read_whole(&stream)[1], Seen::Failed(Close::TooLarge));
}

#[test]
fn fragments_are_counted_even_when_they_are_empty() {
    let mut stream = client(0x02, b"");
    for _ in 0..3 {
        stream.extend(client(0x00, b""));
    }
    assert_eq!(read_whole(&stream), vec![Seen::Fragment; 4]);
    stream.extend(client(0x80, b""));
    assert_eq!(read_whole(&stream)[4], Seen::Failed(Close::TooLarge));
}

#[test]
fn text_must_be_utf8_in_one_frame_or_in_many() {
    assert_eq!(read_whole(&client(0x81, b"\xFF")), [Seen::Failed(Close::BadUtf8)]);
    let mut split = client(0x01, &[0xC3]);
    split.extend(client(0x80, &[0xA9]));
    assert_eq!(read_whole(&split)[1], Seen::Message(Kind::Text, "é".as_bytes().to_vec()));
    let mut broken = client(0x01, &[0xC3]);
    broken.extend(client(0x80, b"x"));
    assert_eq!(read_whole(&broken)[1], Seen::Failed(Close::BadUtf8));
}

#[test]
fn close_codes_are_those_of_the_registry() {
    for code in [0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535_u16] {
        let frame = client(0x88, &code.to_be_bytes());
        assert_eq!(read_whole(&frame), [Seen::Failed(Close::Protocol)], "{code}");
    }
    for code in [1000, 1003, 1007, 1011, 1014, 3000, 4999_u16] {
        let frame = client(0x88, &code.to_be_bytes());
        assert_eq!(read_whole(&frame), [Seen::Close(Some(code))]);
    }
    assert_eq!(read_whole(&client(0x88, b"")), [Seen::Close(None)]);
    assert_eq!(read_whole(&client(0x88, b"\x03\xE8\xFF")), [Seen::Failed(Close::BadUtf8)]);
}

#[test]
fn our_frames_have_minimal_heads() {
    for (len, head) in [
        (0, vec![0x82, 0]),
        (125, vec![0x82, 125]),
        (126, vec![0x82, 126, 0, 126]),
        (65535, vec![0x82, 126, 0xFF, 0xFF]),
        (65536, vec![0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
    ] {
        let mut out = Vec::new();
        put_head(&mut out, Opcode::Binary, len);
        assert_eq!(out, head);
    }
    assert_eq!(close_frame(1000, "left"), b"\x88\x06\x03\xE8left");
}

#[test]
fn a_payload_can_be_copied_from_any_offset() {
    let plain: Vec<u8> = (0..64).collect();
    for skip in 0..64 {
        let mut bytes = client(0x82, &plain);
        let mut reader = Reader::default();
        let Ok(Step::Frame(Event::Message(_, payload), _)) = reader.next(&mut bytes, &LIMITS)
        else {
            panic!("a whole frame")
        };
        assert_eq!(payload.peek(&mut [0; 12]), &plain[..12]);
        let mut out = b"before".to_vec();
        payload.append_to(skip, &mut out);
        assert_eq!(out, [b"before", &plain[skip..]].concat());
    }
}

/// Streams that are mostly well-formed, so that the interesting states are reached.
fn stream() -> impl Strategy<Value = Vec<u8>> {
    let first = prop_oneof![
        8 => prop::sample::select(vec![0x82_u8, 0x81, 0x02, 0x01, 0x00, 0x80, 0x89, 0x8A, 0x88]),
        1 => any::<u8>(),
    ];
    let payload = prop_oneof![
        prop::collection::vec(b'a'..=b'z', 0..20),
        prop::collection::vec(any::<u8>(), 0..300),
    ];
    let frame = (first, payload).prop_map(|(first, payload)| client(first, &payload));
    prop::collection::vec(frame, 0..8).prop_map(|frames| frames.concat())
}

proptest! {
    #[test]
    fn any_chunking_gives_the_same_events(
        stream in stream(),
        noise in prop::collection::vec(any::<u8>(), 0..20),
        chunks in prop::collection::vec(1..40_usize, 0..400),
    ) {
        let stream = [stream, noise].concat();
        prop_assert_eq!(read(&stream, &mut chunks.into_iter()), read_whole(&stream));
    }

    #[test]
    fn masking_twice_changes_nothing(
        key: [u8; 4],
        bytes in prop::collection::vec(any::<u8>(), 0..100),
    ) {
        let mut twice = bytes.clone();
        Mask(key).apply(&mut twice);
        for (i, (masked, plain)) in twice.iter().zip(&bytes).enumerate() {
            prop_assert_eq!(masked ^ key[i % 4], *plain);
        }
        Mask(key).apply(&mut twice);
        prop_assert_eq!(twice, bytes);
    }
}
