//! nats-server's text protocol inside WebSocket frames. A room is a subject; the connection asks not
//! to hear itself. A WebSocket frame carries as many messages as there were, so that frame heads and
//! messages alternate in the input, told apart by their first byte: a message begins with a letter.

use super::plain::close_code;
use super::{Dialect, Frame, Shake, Template, Ticket};
use crate::Fault;
use crate::websocket::{self, BINARY, CLOSE, PING, PONG};

/// See the module's text.
#[derive(Clone, Copy, Debug)]
pub struct Nats;

/// Longest first line of a message, its end included.
const LINE_MAX: usize = 64;

impl Dialect for Nats {
    fn greet(&self, _: &Ticket, out: &mut Vec<u8>) {
        out.extend(websocket::upgrade_request("/", "").into_bytes());
    }

    fn shake(
        &self,
        ticket: &Ticket,
        step: &mut u8,
        input: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<Shake, Fault> {
        if *step == 0 {
            let Some(len) = websocket::upgrade_answer(input)? else { return Ok(Shake::More) };
            *step = 1;
            let words = format!(
                "CONNECT {{\"verbose\":false,\"pedantic\":false,\"echo\":false,\"protocol\":1}}\r\n\
                 SUB {} 1\r\nPING\r\n",
                ticket.room
            );
            websocket::put_frame(out, BINARY, words.as_bytes());
            return Ok(Shake::Took(len));
        }
        if input.first().is_some_and(|first| first & 0x80 != 0) {
            let Some(head) = websocket::head(input)? else { return Ok(Shake::More) };
            if head.opcode == BINARY {
                return Ok(Shake::Took(head.len));
            }
            return Err(format!("opcode {} while coming in", head.opcode).into());
        }
        let Some(end) = input.iter().position(|byte| *byte == b'\n') else {
            return Ok(Shake::More);
        };
        let line = &input[..=end];
        match line {
            b"PONG\r\n" => Ok(Shake::Ready(line.len())),
            _ if line.starts_with(b"-ERR") => Err(String::from_utf8_lossy(line).into()),
            _ => Ok(Shake::Took(line.len())),
        }
    }

    #[inline]
    fn frame(&self, input: &[u8]) -> Result<Option<Frame>, Fault> {
        let Some(first) = input.first() else { return Ok(None) };
        if first & 0x80 != 0 {
            return control(input);
        }
        let line = input.iter().take(LINE_MAX).position(|byte| *byte == b'\n');
        let Some(line) = line.map(|end| &input[..=end]) else {
            let is_long = input.len() >= LINE_MAX;
            return if is_long { Err("a line without an end".into()) } else { Ok(None) };
        };
        if line.starts_with(b"MSG ") {
            let digits = line.rsplit(|byte| *byte == b' ').next().unwrap_or_default();
            let payload = std::str::from_utf8(digits)?.trim_end().parse()?;
            return Ok(Some(Frame::Data { head: line.len(), payload, tail: 2 }));
        }
        match line {
            b"PING\r\n" => Ok(Some(Frame::Ping(line.len()))),
            b"PONG\r\n" | b"+OK\r\n" => Ok(Some(Frame::Skip(line.len()))),
            _ => Err(String::from_utf8_lossy(line).into()),
        }
    }

    fn template(&self, ticket: &Ticket, payload: &[u8]) -> Template {
        let line = format!("PUB {} {}\r\n", ticket.room, payload.len());
        let words = [line.as_bytes(), payload, b"\r\n"].concat();
        let mut bytes = Vec::new();
        let at = websocket::put_frame(&mut bytes, BINARY, &words);
        Template { bytes, payload_at: at + line.len(), masked_from: Some(line.len()) }
    }

    fn pong(&self, ping: &[u8], out: &mut Vec<u8>) {
        if ping.first().is_some_and(|first| first & 0x80 != 0) {
            websocket::put_frame(out, PONG, ping.get(2..).unwrap_or_default());
        } else {
            websocket::put_frame(out, BINARY, b"PONG\r\n");
        }
    }

    fn farewell(&self, out: &mut Vec<u8>) {
        websocket::put_frame(out, CLOSE, &1000_u16.to_be_bytes());
    }
}

/// A WebSocket frame of which the content, if it is binary, is a protocol of its own: of that only
/// the head is skipped.
pub(super) fn control(input: &[u8]) -> Result<Option<Frame>, Fault> {
    let Some(head) = websocket::head(input)? else { return Ok(None) };
    if head.opcode == BINARY {
        return Ok(Some(Frame::Skip(head.len)));
    }
    let Some(body) = input.get(head.len..head.total()) else { return Ok(None) };
    match head.opcode {
        PING => Ok(Some(Frame::Ping(head.total()))),
        PONG => Ok(Some(Frame::Skip(head.total()))),
        CLOSE => Ok(Some(Frame::Close(close_code(body)))),
        other => Err(format!("opcode {other}").into()),
    }
}
