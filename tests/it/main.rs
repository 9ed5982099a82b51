//! A real relay on a free port, and real sockets: one binary, one file per subject.
//!
//! No test sleeps. What should happen is waited for; what should not happen is shown by a later
//! event that is the first one seen.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test's way to fail"
)]

mod harness;

mod addresses;
mod at_once;
#[cfg(target_os = "linux")]
mod bus;
mod drain;
mod floods;
mod handshake;
mod heartbeat;
mod http;
mod limits;
mod lives;
#[cfg(target_os = "linux")]
mod memory;
mod metrics;
#[cfg(target_os = "linux")]
mod nodes;
mod ops;
mod padding;
mod pages;
mod proxy_protocol;
#[cfg(target_os = "linux")]
mod readiness;
mod relay;
mod rooms;
mod smuggling;
mod together;
mod tokens;
mod turns;
