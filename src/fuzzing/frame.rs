//! The frame reader against a second one that is as plain as the RFC.

use crate::core::close::Close;
use crate::core::frame::{Event, Kind, Limits, Payload, Reader, Step};

/// However a stream is cut into pieces, the reader sees in it what a reader of the whole stream sees,
/// asks for no more bytes than a message may have, and agrees with a reader that takes no shortcut.
///
/// # Panics
///
/// When the property does not hold.
pub fn frame(data: &[u8]) {
    let Some(([binary, text, fragments, seed], stream)) = data.split_first_chunk() else { return };
    let limits = Limits {
        binary_bytes: usize::from(*binary) * 4,
        text_bytes: usize::from(*text),
        fragments: u32::from(fragments % 8) + 1,
    };
    let expected = read_plainly(stream, &limits);
    assert_eq!(read(stream, &limits, || usize::MAX), expected, "at once");
    assert_eq!(read(stream, &limits, || 1), expected, "byte by byte");
    let mut state = u32::from(*seed);
    let some = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as usize % 20 + 1
    };
    assert_eq!(read(stream, &limits, some), expected, "in pieces");
}

/// What a reader says, with its payloads copied out.
#[derive(Debug, PartialEq, Eq)]
enum Seen {
    Message(Kind, Vec<u8>),
    Fragment,
    Ping(Vec<u8>),
    Pong,
    Close(Option<u16>),
    Failed(Close),
}

/// Feeds the relay's reader with pieces of the sizes that `piece` gives.
fn read(stream: &[u8], limits: &Limits, mut piece: impl FnMut() -> usize) -> Vec<Seen> {
    let need_max = 14 + limits.binary_bytes.max(limits.text_bytes).max(125);
    let (mut reader, mut seen) = (Reader::default(), Vec::new());
    let (mut buffer, mut rest) = (Vec::new(), stream);
    loop {
        let have = buffer.len();
        match reader.next(&mut buffer, limits) {
            Ok(Step::Frame(event, behind)) => {
                let len = have - behind.len();
                assert!((2..=have).contains(&len), "a frame of {len} in {have} bytes");
                seen.push(seen_of(event));
                buffer.drain(..len);
            }
            Ok(Step::Need(need, all)) => {
                assert_eq!(all.len(), have, "bytes were lost");
                assert!(need > have, "needs {need}, has {have}");
                assert!(need <= need_max, "needs {need}, more than any message takes");
                if rest.is_empty() {
                    return seen;
                }
                let (now, later) = rest.split_at(piece().min(rest.len()));
                buffer.extend_from_slice(now);
                rest = later;
            }
            Err(close) => {
                seen.push(Seen::Failed(close));
                return seen;
            }
        }
    }
}

fn seen_of(event: Event<'_>) -> Seen {
    match event {
        Event::Message(kind, payload) => Seen::Message(kind, plain(payload)),
        Event::Fragment => Seen::Fragment,
        Event::Ping(payload) => Seen::Ping(payload.to_vec()),
        Event::Pong => Seen::Pong,
        Event::Close(code) => Seen::Close(code),
    }
}

/// A payload by each of the three ways to get at it.
fn plain(mut payload: Payload<'_>) -> Vec<u8> {
    let mut head = [0; 12];
    let head = payload.peek(&mut head).to_vec();
    let skip = payload.len() / 3;
    let mut tail = Vec::new();
    payload.append_to(skip, &mut tail);
    let whole = payload.unmask().to_vec();
    assert!(whole.starts_with(&head) && head.len() == whole.len().min(12), "peek");
    assert_eq!(whole.split_at(skip).1, tail, "append_to");
    whole
}

/// RFC 6455 section 5 as it reads, over the whole stream, byte by byte.
fn read_plainly(stream: &[u8], limits: &Limits) -> Vec<Seen> {
    let mut seen = Vec::new();
    let mut partial = None;
    let mut rest = stream;
    loop {
        match one_plainly(rest, &mut partial, limits) {
            Ok(Some((event, behind))) => {
                seen.push(event);
                rest = behind;
            }
            Ok(None) => return seen,
            Err(close) => {
                seen.push(Seen::Failed(close));
                return seen;
            }
        }
    }
}

/// The kind, the bytes so far and the number of fragments of an unfinished message.
type Partial = Option<(Kind, Vec<u8>, u32)>;

/// One frame and what stands behind it; `None` while there is no whole frame.
fn one_plainly<'a>(
    stream: &'a [u8],
    partial: &mut Partial,
    limits: &Limits,
) -> Result<Option<(Seen, &'a [u8])>, Close> {
    let [first, second, rest @ ..] = stream else { return Ok(None) };
    let (fin, opcode, short) = (first >> 7 == 1, first & 15, usize::from(second & 127));
    let control = opcode >= 8;
    let known = [0, 1, 2, 8, 9, 10].contains(&opcode);
    if !known || first & 0x70 != 0 || second >> 7 == 0 || (control && (!fin || short > 125)) {
        return Err(Close::Protocol);
    }
    let (bytes_of_len, least) = match short {
        126 => (2, 126),
        127 => (8, 65_536),
        _ => (0, 0),
    };
    let Some((len_bytes, rest)) = rest.split_at_checked(bytes_of_len) else { return Ok(None) };
    let long = len_bytes.iter().fold(0_u64, |sum, byte| sum << 8 | u64::from(*byte));
    if bytes_of_len > 0 && (long < least || long >> 63 == 1) {
        return Err(Close::Protocol);
    }
    let len = if bytes_of_len == 0 { short } else { usize::try_from(long).unwrap_or(usize::MAX) };
    let begun = partial.clone();
    let (kind, mut bytes, count) = match (opcode, begun) {
        (0, Some((kind, bytes, count))) => (kind, bytes, count + 1),
        (1, None) => (Kind::Text, Vec::new(), 1),
        (2, None) => (Kind::Binary, Vec::new(), 1),
        (8.., _) => (Kind::Binary, Vec::new(), 0),
        _ => return Err(Close::Protocol),
    };
    let most = if kind == Kind::Text { limits.text_bytes } else { limits.binary_bytes };
    if !control && (count > limits.fragments || bytes.len().saturating_add(len) > most) {
        return Err(Close::TooLarge);
    }
    let Some((key, rest)) = rest.split_at_checked(4) else { return Ok(None) };
    let Some((payload, behind)) = rest.split_at_checked(len) else { return Ok(None) };
    bytes.extend(payload.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key));
    let event = match opcode {
        8 => Seen::Close(close_code_plainly(&bytes)?),
        9 => Seen::Ping(bytes),
        10 => Seen::Pong,
        _ if !fin => {
            *partial = Some((kind, bytes, count));
            Seen::Fragment
        }
        _ if kind == Kind::Text && String::from_utf8(bytes.clone()).is_err() => {
            return Err(Close::BadUtf8);
        }
        _ => {
            *partial = None;
            Seen::Message(kind, bytes)
        }
    };
    Ok(Some((event, behind)))
}

fn close_code_plainly(payload: &[u8]) -> Result<Option<u16>, Close> {
    let Some(([high, low], reason)) = payload.split_first_chunk() else {
        return if payload.is_empty() { Ok(None) } else { Err(Close::Protocol) };
    };
    let code = u16::from(*high) * 256 + u16::from(*low);
    // Section 7.4 and the registry: neither reserved for local use nor without a meaning.
    let unassigned = [1004, 1005, 1006].contains(&code) || (1015..3000).contains(&code);
    if !(1000..5000).contains(&code) || unassigned {
        return Err(Close::Protocol);
    }
    match String::from_utf8(reason.to_vec()) {
        Ok(_) => Ok(Some(code)),
        Err(_) => Err(Close::BadUtf8),
    }
}
