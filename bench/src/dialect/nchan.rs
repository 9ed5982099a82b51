//! nchan's `nchan_pubsub`: a WebSocket at `/<room>` on which whatever a client sends goes to all,
//! itself included. It says nothing once the subscription stands.

use std::time::Duration;

use super::plain::{frame, pong, template};
use super::{Dialect, Frame, Shake, Template, Ticket};
use crate::Fault;
use crate::websocket::{self, CLOSE};

/// See the module's text.
#[derive(Clone, Copy, Debug)]
pub struct Nchan;

impl Dialect for Nchan {
    fn echoes(&self) -> bool {
        true
    }

    fn settle(&self) -> Duration {
        Duration::from_millis(500)
    }

    fn greet(&self, ticket: &Ticket, out: &mut Vec<u8>) {
        out.extend(websocket::upgrade_request(&format!("/{}", ticket.room), "").into_bytes());
    }

    fn shake(&self, _: &Ticket, _: &mut u8, input: &[u8], _: &mut Vec<u8>) -> Result<Shake, Fault> {
        Ok(websocket::upgrade_answer(input)?.map_or(Shake::More, Shake::Ready))
    }

    #[inline]
    fn frame(&self, input: &[u8]) -> Result<Option<Frame>, Fault> {
        frame(input, 0)
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
