//! sockudo's Pusher protocol: JSON in text frames. A room is a private channel, joined with a
//! signature, and a message is a client event, which goes to all others in the channel. Payloads are
//! text here.

use std::fmt::Write as _;

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use super::plain::{close_code, pong};
use super::{Dialect, Frame, Shake, Template, Ticket};
use crate::Fault;
use crate::websocket::{self, CLOSE, PING, PONG, TEXT};

/// See the module's text.
#[derive(Clone, Copy, Debug)]
pub struct Sockudo;

/// The application's key and secret, as the server is started with.
pub const KEY: &str = "bench";
/// See [`KEY`].
pub const SECRET: &str = "bench-secret";

const PONG_EVENT: &[u8] = br#"{"event":"pusher:pong","data":{}}"#;

impl Dialect for Sockudo {
    const TEXT: bool = true;

    fn greet(&self, _: &Ticket, out: &mut Vec<u8>) {
        let path = format!("/app/{KEY}?protocol=7&client=bench&version=1");
        out.extend(websocket::upgrade_request(&path, "").into_bytes());
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
            return Ok(Shake::Took(len));
        }
        let Some(head) = websocket::head(input)? else { return Ok(Shake::More) };
        let Some(body) = input.get(head.len..head.total()) else { return Ok(Shake::More) };
        if head.opcode == CLOSE {
            return Err(format!("closed at once: {}", close_code(body)).into());
        }
        let words: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
        match words["event"].as_str().unwrap_or_default() {
            "pusher:connection_established" => {
                let data = words["data"].as_str().ok_or("no data")?;
                let data: serde_json::Value = serde_json::from_str(data)?;
                let socket = data["socket_id"].as_str().ok_or("no socket_id")?;
                websocket::put_frame(out, TEXT, subscribe(socket, ticket).as_bytes());
            }
            "pusher_internal:subscription_succeeded" => return Ok(Shake::Ready(head.total())),
            "pusher:error" | "pusher:subscription_error" => {
                return Err(String::from_utf8_lossy(body).into());
            }
            _ => {}
        }
        Ok(Shake::Took(head.total()))
    }

    fn frame(&self, input: &[u8]) -> Result<Option<Frame>, Fault> {
        const MARK: &[u8] = br#""data":""#;
        let Some(head) = websocket::head(input)? else { return Ok(None) };
        let Some(body) = input.get(head.len..head.total()) else { return Ok(None) };
        let all = head.total();
        match head.opcode {
            TEXT => {}
            PING => return Ok(Some(Frame::Ping(all))),
            PONG => return Ok(Some(Frame::Skip(all))),
            CLOSE => return Ok(Some(Frame::Close(close_code(body)))),
            other => return Err(format!("opcode {other}").into()),
        }
        if !contains(body, br#""client-m""#) {
            if contains(body, b"pusher:error") {
                return Err(String::from_utf8_lossy(body).into());
            }
            let is_ping = contains(body, b"pusher:ping");
            return Ok(Some(if is_ping { Frame::Ping(all) } else { Frame::Skip(all) }));
        }
        let at = body.windows(MARK.len()).position(|window| window == MARK);
        let at = head.len + at.ok_or("an event without data")? + MARK.len();
        // There are no quotes in a payload.
        let payload = input[at..all].iter().position(|byte| *byte == b'"');
        let payload = payload.ok_or("data without an end")?;
        Ok(Some(Frame::Data { head: at, payload, tail: all - at - payload }))
    }

    fn template(&self, ticket: &Ticket, payload: &[u8]) -> Template {
        let front = format!(r#"{{"event":"client-m","channel":"{}","data":""#, channel(ticket));
        let words = [front.as_bytes(), payload, br#""}"#].concat();
        let mut bytes = Vec::new();
        let at = websocket::put_frame(&mut bytes, TEXT, &words);
        Template { bytes, payload_at: at + front.len(), masked_from: Some(front.len()) }
    }

    fn pong(&self, ping: &[u8], out: &mut Vec<u8>) {
        if let [0x81, ..] = ping {
            websocket::put_frame(out, TEXT, PONG_EVENT);
        } else {
            pong(ping, out);
        }
    }

    fn farewell(&self, out: &mut Vec<u8>) {
        websocket::put_frame(out, CLOSE, &1000_u16.to_be_bytes());
    }
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

fn channel(ticket: &Ticket) -> String {
    format!("private-{}", ticket.room)
}

fn subscribe(socket: &str, ticket: &Ticket) -> String {
    let channel = channel(ticket);
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).expect("any length will do");
    mac.update(format!("{socket}:{channel}").as_bytes());
    let mut signature = String::new();
    for byte in mac.finalize().into_bytes() {
        let _ = write!(signature, "{byte:02x}");
    }
    format!(
        r#"{{"event":"pusher:subscribe","data":{{"channel":"{channel}","auth":"{KEY}:{signature}"}}}}"#
    )
}
