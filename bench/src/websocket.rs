//! The client's side of RFC 6455, as far as a load generator needs it: the upgrade, frame heads,
//! masked frames. Strict about what a server may send, because a wrong frame is a finding.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest as _, Sha1};

use crate::Fault;

/// The key that every connection sends. The server's answer to it is known.
const KEY: &str = "bGV0aGV3aXJlIGJlbmNoIQ==";
const MAGIC: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
/// The mask of every frame. A server cannot know that it is always the same one.
const MASK: [u8; 4] = [0x5a, 0x17, 0xc3, 0x9e];

/// A text frame's opcode.
pub const TEXT: u8 = 1;
/// A binary frame's opcode.
pub const BINARY: u8 = 2;
/// A close frame's opcode.
pub const CLOSE: u8 = 8;
/// A ping's opcode.
pub const PING: u8 = 9;
/// A pong's opcode.
pub const PONG: u8 = 10;

/// The answer to a handshake's key.
pub fn accept(key: &str) -> String {
    STANDARD.encode(Sha1::new().chain_update(key).chain_update(MAGIC).finalize())
}

/// The request that asks for an upgrade; `extra` are whole header lines.
pub fn upgrade_request(path: &str, extra: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n{extra}\r\n"
    )
}

/// Length of the answer's head once it is there, if it accepts the upgrade.
///
/// # Errors
///
/// Anything but a 101 with the right answer to the key.
pub fn upgrade_answer(input: &[u8]) -> Result<Option<usize>, Fault> {
    let Some(end) = input.windows(4).position(|four| four == b"\r\n\r\n") else { return Ok(None) };
    let head = std::str::from_utf8(&input[..end])?;
    let mut lines = head.split("\r\n");
    let status = lines.next().unwrap_or_default();
    if !status.starts_with("HTTP/1.1 101") {
        return Err(format!("no upgrade: {status}").into());
    }
    let answer = lines
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("sec-websocket-accept"));
    if answer.is_none_or(|(_, value)| value.trim() != accept(KEY)) {
        return Err("the upgrade's answer does not fit the key".into());
    }
    Ok(Some(end + 4))
}

/// The head of a frame from the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// What kind of frame.
    pub opcode: u8,
    /// Length of the head.
    pub len: usize,
    /// Length of the payload.
    pub payload: usize,
}

impl Head {
    /// Length of the frame.
    pub const fn total(self) -> usize {
        self.len + self.payload
    }
}

/// Parses the head at the front of `input`; none if it is not all there.
///
/// # Errors
///
/// Reserved bits, fragments, masks and lengths that are not minimal.
#[inline]
pub fn head(input: &[u8]) -> Result<Option<Head>, Fault> {
    let [first, second, rest @ ..] = input else { return Ok(None) };
    if first & 0xf0 != 0x80 || second & 0x80 != 0 {
        return Err("a fragment, a reserved bit or a mask from the server".into());
    }
    let opcode = first & 0x0f;
    let (len, payload) = match second {
        126 => {
            let Some(bytes) = rest.first_chunk::<2>() else { return Ok(None) };
            (4, usize::from(u16::from_be_bytes(*bytes)))
        }
        127 => {
            let Some(bytes) = rest.first_chunk::<8>() else { return Ok(None) };
            (10, usize::try_from(u64::from_be_bytes(*bytes))?)
        }
        short => (2, usize::from(*short)),
    };
    if (len == 4 && payload < 126) || (len == 10 && payload < 1 << 16) || payload > 1 << 24 {
        return Err("a length that is not minimal, or absurd".into());
    }
    Ok(Some(Head { opcode, len, payload }))
}

/// Appends a masked frame and says where its payload begins.
pub fn put_frame(out: &mut Vec<u8>, opcode: u8, payload: &[u8]) -> usize {
    let head_at = out.len();
    out.push(0x80 | opcode);
    let len = payload.len();
    match (u8::try_from(len), u16::try_from(len)) {
        (Ok(short), _) if short < 126 => out.push(0x80 | short),
        (_, Ok(medium)) => {
            out.push(0x80 | 126);
            out.extend_from_slice(&medium.to_be_bytes());
        }
        _ => {
            out.push(0x80 | 127);
            out.extend_from_slice(&(len as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(&MASK);
    let at = out.len();
    out.extend_from_slice(payload);
    mask(&mut out[at..], 0);
    at - head_at
}

/// Masks bytes that stand at offset `at` of a frame's payload.
pub fn mask(bytes: &mut [u8], at: usize) {
    for (i, byte) in bytes.iter_mut().enumerate() {
        *byte ^= MASK[(at + i) % 4];
    }
}
