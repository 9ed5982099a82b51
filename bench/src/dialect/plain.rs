//! The protocol of the small servers in `bench/peers/`: a WebSocket at `/<room>`, one text frame
//! that says hello once the connection is in its room, and then every binary message goes to all
//! others in the room as it is, or behind so many bytes as the server was told to put there.

use super::{Dialect, Frame, Shake, Template, Ticket};
use crate::Fault;
use crate::websocket::{self, BINARY, CLOSE, PING, PONG, TEXT};

/// See the module's text.
#[derive(Clone, Copy, Debug, Default)]
pub struct Plain {
    /// Bytes in front of each payload that comes from the server.
    pub extra: usize,
}

impl Dialect for Plain {
    fn greet(&self, ticket: &Ticket, out: &mut Vec<u8>) {
        out.extend(websocket::upgrade_request(&format!("/{}", ticket.room), "").into_bytes());
    }

    fn shake(
        &self,
        _: &Ticket,
        step: &mut u8,
        input: &[u8],
        _: &mut Vec<u8>,
    ) -> Result<Shake, Fault> {
        upgrade_and(step, input, |text| text == b"hello")
    }

    #[inline]
    fn frame(&self, input: &[u8]) -> Result<Option<Frame>, Fault> {
        frame(input, self.extra)
    }

    fn template(&self, _: &Ticket, payload: &[u8]) -> Template {
        template(&[], payload)
    }

    fn pong(&self, ping: &[u8], out: &mut Vec<u8>) {
        pong(ping, out);
    }

    fn farewell(&self, out: &mut Vec<u8>) {
        websocket::put_frame(out, CLOSE, &1000_u16.to_be_bytes());
    }
}

/// The upgrade, and then a text frame that is a welcome.
pub(super) fn upgrade_and(
    step: &mut u8,
    input: &[u8],
    is_welcome: impl Fn(&[u8]) -> bool,
) -> Result<Shake, Fault> {
    if *step == 0 {
        let Some(len) = websocket::upgrade_answer(input)? else { return Ok(Shake::More) };
        *step = 1;
        return Ok(Shake::Took(len));
    }
    let Some(head) = websocket::head(input)? else { return Ok(Shake::More) };
    let Some(body) = input.get(head.len..head.total()) else { return Ok(Shake::More) };
    match head.opcode {
        TEXT if is_welcome(body) => Ok(Shake::Ready(head.total())),
        CLOSE => Err(format!("closed at once: {}", close_code(body)).into()),
        _ => Ok(Shake::Took(head.total())),
    }
}

/// A frame of which the first `extra` bytes of the payload belong to the dialect.
#[inline]
pub(super) fn frame(input: &[u8], extra: usize) -> Result<Option<Frame>, Fault> {
    let Some(head) = websocket::head(input)? else { return Ok(None) };
    if head.opcode == BINARY {
        let payload = head.payload.checked_sub(extra).ok_or("a message without its head")?;
        return Ok(Some(Frame::Data { head: head.len + extra, payload, tail: 0 }));
    }
    let Some(body) = input.get(head.len..head.total()) else { return Ok(None) };
    match head.opcode {
        TEXT | PONG => Ok(Some(Frame::Skip(head.total()))),
        PING => Ok(Some(Frame::Ping(head.total()))),
        CLOSE => Ok(Some(Frame::Close(close_code(body)))),
        other => Err(format!("opcode {other}").into()),
    }
}

/// A masked binary message: the dialect's head and the payload.
pub(super) fn template(head: &[u8], payload: &[u8]) -> Template {
    let mut bytes = Vec::new();
    let at = websocket::put_frame(&mut bytes, BINARY, &[head, payload].concat());
    Template { bytes, payload_at: at + head.len(), masked_from: Some(head.len()) }
}

/// The answer to a ping.
pub(super) fn pong(ping: &[u8], out: &mut Vec<u8>) {
    // A ping's payload is short, so that its head has two bytes.
    websocket::put_frame(out, PONG, ping.get(2..).unwrap_or_default());
}

pub(super) fn close_code(body: &[u8]) -> u16 {
    body.first_chunk::<2>().map_or(1005, |code| u16::from_be_bytes(*code))
}
