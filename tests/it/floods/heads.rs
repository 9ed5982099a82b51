//! What a stranger can send before there is a member: the table of attacks on HTTP and TCP.

use super::{by_stranger, floods};
use crate::harness::{JSON, handshake};
use lethewire::config::Config;

floods! {
    // Too much.
    a_huge_header_block:
        by_stranger(format!("{GET}X: {}\r\n\r\n", "x".repeat(1 << 20))).answered(431),
    an_endless_header_block: by_stranger(format!("{GET}{}", "X: y\r\n".repeat(100_000))).answered(431),
    too_many_headers: by_stranger(format!("{GET}{}\r\n", "X: y\r\n".repeat(80))).answered(431),
    an_endless_request_line:
        by_stranger(format!("GET /{} HTTP/1.1\r\n", "x".repeat(1 << 20))).answered(431),
    a_body_that_says_it_is_too_large:
        by_stranger(post("Content-Length: 1000000000", &"x".repeat(1 << 20))).answered(413),
    a_body_in_chunks_that_turns_out_too_large: by_stranger(post(
        "Transfer-Encoding: chunked",
        &format!("400\r\n{}\r\n", "x".repeat(1024)).repeat(1000),
    )).answered(411),
    a_body_of_one_byte_chunks: by_stranger(post(
        "Transfer-Encoding: chunked",
        &"1\r\nx\r\n".repeat(100_000),
    )).answered(411),
    a_chunk_with_an_endless_extension: by_stranger(post(
        "Transfer-Encoding: chunked",
        &format!("1;{}", "x".repeat(1 << 20)),
    )).answered(411),

    // Too slow.
    no_request_at_all: by_stranger("").with(hurried).cut(),
    an_empty_line_and_nothing_else: by_stranger("\r\n").with(hurried).cut(),
    a_head_that_stops: by_stranger(format!("{GET}X: ")).with(hurried).cut(),
    a_slow_head:
        by_stranger(format!("{GET}X: {}", "x".repeat(8000))).byte_by_byte().with(hurried).cut(),
    a_slow_handshake: by_stranger(handshake(&"x".repeat(6000))).byte_by_byte().with(hurried).cut(),
    a_slow_body: by_stranger(post("Content-Length: 2000", &"x".repeat(1999)))
        .byte_by_byte()
        .with(|config| config.http.body_timeout_ms = 200)
        .answered(408),
    a_body_that_does_not_come: by_stranger(post("Content-Length: 2000", ""))
        .with(|config| config.http.body_timeout_ms = 200)
        .answered(408),

    // Something else.
    garbage_bytes: by_stranger([0xFF; 10_000]).answered(400),
    zero_bytes: by_stranger([0; 10_000]).answered(400),
    a_tls_hello: by_stranger(tls_hello()).answered(400),
    a_tls_hello_that_stops: by_stranger(&tls_hello()[..40]).answered(400),
    the_preface_of_http_2: by_stranger("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").cut(),
    frames_instead_of_a_handshake: by_stranger([0x82, 0x85, 0, 0, 0, 0, 1, 0, 0, 0, 1].repeat(1000))
        .answered(400),
}

const GET: &str = "GET /live HTTP/1.1\r\nHost: a\r\n";

/// The beginning of a request with a body.
fn post(line: &str, body: &str) -> String {
    format!("POST /v1/rooms HTTP/1.1\r\nHost: a\r\n{JSON}{line}\r\n\r\n{body}")
}

fn hurried(config: &mut Config) {
    config.http.header_timeout_ms = 200;
}

/// A `ClientHello` (RFC 8446, section 4.1.2) as far as a plain port has to look at one: the record's
/// head, the handshake's head, a version, a random number, and an endless list of ciphers.
fn tls_hello() -> Vec<u8> {
    [&[22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3][..], &[7; 32], &[0, 1, 216], &[0x13; 472]].concat()
}
