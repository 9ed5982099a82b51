//! mosquitto's MQTT 3.1.1 inside WebSocket frames, quality of service 0. A room is a topic of five
//! digits; whoever publishes hears itself. Frame heads and packets alternate in the input, told apart
//! by their first byte: those of the packets that a client gets have no 8 as their upper half.

use super::nats::control;
use super::{Dialect, Frame, Shake, Template, Ticket};
use crate::Fault;
use crate::websocket::{self, BINARY, CLOSE, PONG};

/// See the module's text.
#[derive(Clone, Copy, Debug)]
pub struct Mqtt;

/// First bytes of packets (MQTT 3.1.1, section 2.2).
const CONNECT: u8 = 0x10;
const CONNACK: u8 = 0x20;
const PUBLISH: u8 = 0x30;
const SUBSCRIBE: u8 = 0x82;
const SUBACK: u8 = 0x90;
const PINGRESP: u8 = 0xd0;

impl Dialect for Mqtt {
    fn echoes(&self) -> bool {
        true
    }

    fn greet(&self, _: &Ticket, out: &mut Vec<u8>) {
        let protocol = "Sec-WebSocket-Protocol: mqtt\r\n";
        out.extend(websocket::upgrade_request("/mqtt", protocol).into_bytes());
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
            // A clean session, no keep-alive, no name.
            let connect = packet(CONNECT, &[&field(b"MQTT"), &[4, 2, 0, 0], &field(b"")]);
            websocket::put_frame(out, BINARY, &connect);
            return Ok(Shake::Took(len));
        }
        let Some(first) = input.first() else { return Ok(Shake::More) };
        if first & 0xf0 == 0x80 {
            let Some(head) = websocket::head(input)? else { return Ok(Shake::More) };
            if head.opcode == BINARY {
                return Ok(Shake::Took(head.len));
            }
            return Err(format!("opcode {} while coming in", head.opcode).into());
        }
        let Some((head, len)) = packet_head(input)? else { return Ok(Shake::More) };
        let Some(body) = input.get(head..head + len) else { return Ok(Shake::More) };
        match (*first, body) {
            (CONNACK, [_, 0]) => {
                let subscribe = packet(SUBSCRIBE, &[&[0, 1], &field(&topic(ticket)), &[0]]);
                websocket::put_frame(out, BINARY, &subscribe);
                Ok(Shake::Took(head + len))
            }
            (SUBACK, [0, 1, 0]) => Ok(Shake::Ready(head + len)),
            // Others speak already.
            (PUBLISH, _) => Ok(Shake::Took(head + len)),
            _ => Err(format!("refused: packet {first:#x}, {body:?}").into()),
        }
    }

    #[inline]
    fn frame(&self, input: &[u8]) -> Result<Option<Frame>, Fault> {
        let Some(first) = input.first() else { return Ok(None) };
        if first & 0xf0 == 0x80 {
            return control(input);
        }
        let Some((head, len)) = packet_head(input)? else { return Ok(None) };
        match *first {
            PUBLISH => {
                let head = head + 2 + TOPIC_LEN;
                let payload = len.checked_sub(2 + TOPIC_LEN).ok_or("a message without a topic")?;
                Ok(Some(Frame::Data { head, payload, tail: 0 }))
            }
            PINGRESP => Ok(Some(Frame::Skip(head + len))),
            other => Err(format!("packet {other:#x}").into()),
        }
    }

    fn template(&self, ticket: &Ticket, payload: &[u8]) -> Template {
        let packet = packet(PUBLISH, &[&field(&topic(ticket)), payload]);
        let before = packet.len() - payload.len();
        let mut bytes = Vec::new();
        let at = websocket::put_frame(&mut bytes, BINARY, &packet);
        Template { bytes, payload_at: at + before, masked_from: Some(before) }
    }

    fn pong(&self, ping: &[u8], out: &mut Vec<u8>) {
        websocket::put_frame(out, PONG, ping.get(2..).unwrap_or_default());
    }

    fn farewell(&self, out: &mut Vec<u8>) {
        websocket::put_frame(out, CLOSE, &1000_u16.to_be_bytes());
    }
}

const TOPIC_LEN: usize = 5;

fn topic(ticket: &Ticket) -> Vec<u8> {
    format!("{:0TOPIC_LEN$}", ticket.room).into_bytes()
}

/// Bytes with their length before them.
fn field(bytes: &[u8]) -> Vec<u8> {
    let len = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
    [&len.to_be_bytes(), bytes].concat()
}

fn packet(first: u8, parts: &[&[u8]]) -> Vec<u8> {
    let body = parts.concat();
    let mut out = vec![first];
    let mut len = body.len();
    // Seven bits a byte, the lowest first.
    while len > 127 {
        out.push(u8::try_from(len & 127).unwrap_or(0) | 128);
        len >>= 7;
    }
    out.push(u8::try_from(len).unwrap_or(0));
    out.extend(body);
    out
}

/// Length of a packet's head, and of what is behind it.
#[inline]
fn packet_head(input: &[u8]) -> Result<Option<(usize, usize)>, Fault> {
    let mut len = 0;
    for (i, byte) in input.iter().enumerate().skip(1) {
        if i > 4 {
            return Err("a length of more than four bytes".into());
        }
        len |= usize::from(byte & 127) << (7 * (i - 1));
        if byte & 128 == 0 {
            return Ok(Some((i + 1, len)));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_says_how_long_it_is() {
        for len in [0, 127, 128, 16_383, 16_384, 70_000] {
            let packet = packet(PUBLISH, &[&vec![0; len]]);
            let (head, body) = packet_head(&packet).unwrap().unwrap();
            assert_eq!((body, head + body), (len, packet.len()));
        }
        assert_eq!(packet_head(&[PUBLISH, 0x80]).unwrap(), None);
    }
}
