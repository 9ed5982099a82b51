//! What travels inside WebSocket messages: binary data frames and JSON control frames.
//!
//! This module knows every byte of `docs/protocol.md`, sections 6 and 7, and nothing of what the
//! frames are for.
//!
//! * `head`: the heads of data frames, both ways;
//! * `control`: the control frames that clients send;
//! * `relay`: those that the relay sends, put together by `text`.

mod control;
mod head;
mod relay;
mod text;

pub use self::control::{CONTROL_BYTES_MAX, ClientControl, OwnerOp, OwnerRequest};
pub use self::head::{CLIENT_HEAD_MAX, ClientHead, Flags, RELAY_HEAD, RelayHead, Target};
pub use self::relay::{
    Gone, Refused, Terms, Welcome, WelcomeLimits, ack, closed, drain, error, gap, join, leave,
    paused, pong, reset, resumed, room,
};
pub use self::text::Text;
