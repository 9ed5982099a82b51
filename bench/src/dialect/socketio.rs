//! socket.io, on engine.io's WebSocket transport alone. A message is an event with one binary
//! attachment, which is two frames: `451-["m",{"_placeholder":true,"num":0}]` and the payload. The
//! server of `bench/peers/socketio.js` says hello once the connection is in the room that its query
//! names.

use super::plain::{close_code, frame};
use super::{Dialect, Frame, Shake, Template, Ticket};
use crate::Fault;
use crate::websocket::{self, BINARY, CLOSE, TEXT};

/// See the module's text.
#[derive(Clone, Copy, Debug)]
pub struct SocketIo;

/// engine.io's open, ping and pong, socket.io's connect and its answer.
const OPEN: &[u8] = b"0";
const PING: &[u8] = b"2";
const PONG: &[u8] = b"3";
const CONNECT: &[u8] = b"40";
const HELLO: &[u8] = br#"42["hello"]"#;
const EVENT: &[u8] = br#"451-["m",{"_placeholder":true,"num":0}]"#;

impl Dialect for SocketIo {
    fn greet(&self, ticket: &Ticket, out: &mut Vec<u8>) {
        let path = format!("/socket.io/?EIO=4&transport=websocket&room={}", ticket.room);
        out.extend(websocket::upgrade_request(&path, "").into_bytes());
    }

    fn shake(
        &self,
        _: &Ticket,
        step: &mut u8,
        input: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<Shake, Fault> {
        if *step == 0 {
            let Some(len) = websocket::upgrade_answer(input)? else { return Ok(Shake::More) };
            *step = 1;
            return Ok(Shake::Took(len));
        }
        let Some(head) = websocket::head(input)? else { return Ok(Shake::More) };
        let Some(body) = input.get(head.len..head.total()) else { return Ok(Shake::More) };
        match head.opcode {
            TEXT if body == HELLO => return Ok(Shake::Ready(head.total())),
            TEXT if body.starts_with(OPEN) => {
                websocket::put_frame(out, TEXT, CONNECT);
            }
            TEXT if body == PING => {
                websocket::put_frame(out, TEXT, PONG);
            }
            CLOSE => return Err(format!("closed at once: {}", close_code(body)).into()),
            _ => {}
        }
        Ok(Shake::Took(head.total()))
    }

    #[inline]
    fn frame(&self, input: &[u8]) -> Result<Option<Frame>, Fault> {
        // engine.io's ping is a text of one byte.
        if let [0x81, 1, b'2', ..] = input {
            return Ok(Some(Frame::Ping(3)));
        }
        frame(input, 0)
    }

    fn template(&self, _: &Ticket, payload: &[u8]) -> Template {
        let mut bytes = Vec::new();
        websocket::put_frame(&mut bytes, TEXT, EVENT);
        let first = bytes.len();
        let at = websocket::put_frame(&mut bytes, BINARY, payload);
        Template { bytes, payload_at: first + at, masked_from: Some(0) }
    }

    fn pong(&self, ping: &[u8], out: &mut Vec<u8>) {
        if let [0x81, ..] = ping {
            websocket::put_frame(out, TEXT, PONG);
        } else {
            websocket::put_frame(out, websocket::PONG, ping.get(2..).unwrap_or_default());
        }
    }

    fn farewell(&self, out: &mut Vec<u8>) {
        websocket::put_frame(out, CLOSE, &1000_u16.to_be_bytes());
    }
}
