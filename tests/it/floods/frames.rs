//! What a member can send: the table of attacks that are frames.

use super::{BINARY, MESSAGES, TEXT, by_member, by_owner, floods};
use crate::harness::masked;

floods! {
    // Frames that are no messages, which limits on messages never see.
    empty_fragments: by_member(begun(vec![0; 16], b"")).closed(1009, "too_large"),
    one_byte_fragments: by_member(begun(vec![0; 16], b"x")).closed(1009, "too_large"),
    empty_fragments_with_pings_in_between:
        by_member(begun([0, PONG].repeat(16), b"")).closed(1009, "too_large"),
    messages_cut_in_two: by_member(message(b"x", 2).repeat(too_many(2))).closed(4201, "rate_limited"),
    a_ping_flood: by_member(masked(PING, b"x").repeat(11)).closed(4201, "rate_limited"),
    a_ping_flood_with_payload: by_member(masked(PING, &[7; 125]).repeat(1000)).closed(4201, "rate_limited"),
    a_flood_of_ping_messages:
        by_member(masked(TEXT, br#"{"type":"ping","n":1}"#).repeat(11)).closed(4201, "rate_limited"),
    a_pong_flood: by_member(masked(PONG, b"").repeat(too_many(1))).closed(4201, "rate_limited"),
    an_empty_text_flood: by_member(masked(TEXT, b"").repeat(1000)).closed(4000, "bad_frame"),
    an_empty_binary_flood: by_member(masked(BINARY, b"").repeat(1000)).closed(4000, "bad_frame"),

    // Messages, too many or too large.
    tiny_binaries: by_member(message(b"x", 1).repeat(too_many(1)))
        .with(|config| config.limit.frames_per_10s = 2 * MESSAGES)
        .closed(4201, "rate_limited"),
    raw_bytes: by_member(message(&vec![0; 60_000], 1).repeat(40))
        .with(|config| config.limit.raw_bytes_per_10s = 2_000_000)
        .closed(4201, "rate_limited"),
    an_oversized_message: by_member(message(&vec![0; 65_537], 1)).closed(1009, "too_large"),
    a_head_that_claims_a_gigabyte: by_member(claims(1 << 30)).closed(1009, "too_large"),
    a_head_that_claims_more_than_there_is: by_member(claims(1 << 63)).closed(1002, "protocol"),
    fragments_beyond_the_maximum:
        by_member(begun(vec![0; 15], &vec![1; 60_000])).closed(1009, "too_large"),
    a_text_of_a_megabyte: by_member(masked(TEXT, &vec![b' '; 1 << 20])).closed(1009, "too_large"),

    // What RFC 6455 forbids.
    reserved_bit_1: by_member(masked(0x40 | BINARY, &SEND)).closed(1002, "protocol"),
    reserved_bit_2: by_member(masked(0x20 | BINARY, &SEND)).closed(1002, "protocol"),
    reserved_bit_3: by_member(masked(0x10 | BINARY, &SEND)).closed(1002, "protocol"),
    a_reserved_data_opcode: by_member(masked(0x83, &SEND)).closed(1002, "protocol"),
    a_reserved_control_opcode: by_member(masked(0x8B, b"")).closed(1002, "protocol"),
    an_unmasked_frame: by_member([&[BINARY, 5][..], &SEND].concat()).closed(1002, "protocol"),
    a_fragmented_ping: by_member(masked(0x09, b"")).closed(1002, "protocol"),
    a_fragmented_close: by_member(masked(0x08, b"")).closed(1002, "protocol"),
    a_ping_of_126_bytes: by_member(masked(PING, &[0; 126])).closed(1002, "protocol"),
    a_pong_of_65536_bytes: by_member(masked(PONG, &vec![0; 65_536])).closed(1002, "protocol"),
    a_length_that_is_not_the_shortest:
        by_member([&[BINARY, 0xFE, 0, 5, 0, 0, 0, 0][..], &SEND].concat()).closed(1002, "protocol"),
    a_continuation_of_nothing: by_member(masked(0x80, b"x")).closed(1002, "protocol"),
    a_message_within_a_message:
        by_member([masked(0x02, &SEND), masked(BINARY, &SEND)].concat()).closed(1002, "protocol"),
    a_close_of_one_byte: by_member(masked(CLOSE, b"x")).closed(1002, "protocol"),
    a_close_code_that_is_never_sent: by_member(masked(CLOSE, &[3, 237])).closed(1002, "protocol"),
    a_close_reason_that_is_no_text: by_member(masked(CLOSE, b"\x03\xE8\xFF")).closed(1007, "bad_utf8"),
    text_that_is_not_utf_8: by_member(masked(TEXT, b"{\"type\":\"\xC3\x28\"}")).closed(1007, "bad_utf8"),
    text_whose_fragments_are_not_utf_8:
        by_member([masked(0x01, b"\"\xC3"), masked(0x80, b"\x28\"")].concat()).closed(1007, "bad_utf8"),
    garbage_instead_of_frames: by_member([0xFF; 10_000]).closed(1002, "protocol"),
    text_of_http_instead_of_frames:
        by_member("GET / HTTP/1.1\r\nHost: a\r\n\r\n".repeat(100)).closed(1002, "protocol"),

    // The end, and what comes behind it.
    a_close_flood: by_member(masked(CLOSE, b"\x03\xE8").repeat(10_000)).closed(1000, "left"),
    data_after_a_close: by_member(
        [masked(CLOSE, b""), message(&vec![0; 60_000], 1).repeat(20)].concat()
    ).closed(1000, "left"),
    data_after_a_leave: by_member(
        [masked(TEXT, br#"{"type":"leave"}"#), message(&vec![0; 60_000], 1).repeat(20)].concat()
    ).closed(1000, "left"),

    // An owner's operations, which each member hears of.
    a_flood_of_owner_operations_by_nobody:
        by_member(lock_and_unlock().repeat(too_many(2))).closed(4201, "rate_limited"),
    a_flood_of_owner_operations:
        by_owner(lock_and_unlock().repeat(too_many(2))).closed(4201, "rate_limited"),
    a_flood_of_kicks_of_nobody: by_owner(
        masked(TEXT, br#"{"type":"owner","op":"kick","member":"AAAAAAAAAAA"}"#).repeat(too_many(1))
    ).closed(4201, "rate_limited"),
}

const PING: u8 = 0x89;
const PONG: u8 = 0x8A;
const CLOSE: u8 = 0x88;
/// SEND of one byte.
const SEND: [u8; 5] = [1, 0, 0, 0, b'x'];

/// So many times this many frames is over every limit, also if the relay takes seconds for them.
const fn too_many(frames: u32) -> usize {
    (2 * MESSAGES / frames) as usize
}

/// A SEND with this payload, in one frame or two.
fn message(payload: &[u8], frames: usize) -> Vec<u8> {
    let whole = [&SEND[..4], payload].concat();
    match frames {
        1 => masked(BINARY, &whole),
        _ => [masked(0x02, &whole[..1]), masked(0x80, &whole[1..])].concat(),
    }
}

/// A binary message that begins, and goes on with frames of these first bytes and this payload.
fn begun(firsts: Vec<u8>, payload: &[u8]) -> Vec<u8> {
    let more = firsts.into_iter().flat_map(|first| match first {
        PONG => masked(PONG, b""),
        first => masked(first, payload),
    });
    masked(0x02, &SEND).into_iter().chain(more).collect()
}

/// The head of a binary frame that claims this length.
fn claims(length: u64) -> Vec<u8> {
    [&[BINARY, 0xFF][..], &length.to_be_bytes(), &[0; 4]].concat()
}

fn lock_and_unlock() -> Vec<u8> {
    let op = |op: &str| masked(TEXT, format!(r#"{{"type":"owner","op":"{op}"}}"#).as_bytes());
    [op("lock"), op("unlock")].concat()
}
