//! A relay somewhere else: its address, the way there, and one request after the other.
//!
//! Shared by the commands that look at a relay from outside. Nothing here waits for longer than its
//! caller allows, reads more than its caller asked for, or starts a task: whoever drops a future
//! here has ended everything that it began.

mod call;
mod certificate;
mod dial;
mod url;

pub(super) use self::call::{Call, Caller, Reply, explained};
pub(super) use self::dial::{Fault, Leg, Link, Trust, connect, dial, resolve, secure};
pub(super) use self::url::Url;
