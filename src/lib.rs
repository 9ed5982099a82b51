//! A zero-knowledge relay for end-to-end encrypted, ephemeral rooms.
//!
//! Members of a room connect over WebSocket; whatever one of them sends, the others receive. The
//! relay cannot read it, does not store it, and forgets the room when its time is over.
//!
//! # Life of a message
//!
//! 1. [`conn`] reads what a member's socket has into its worker's scratch buffer and charges bytes,
//!    frames and fragments to the connection's meter,
//! 2. [`core::frame`] yields one strict WebSocket message, [`core::wire`] its header, and
//!    [`core::limit`] takes the member's quotas,
//! 3. [`hub`] appends it to the room's batch under the room's lock: the next number, and the frame
//!    encoded once,
//! 4. the room's flush takes the batch and finds, per member, the runs that it hears,
//! 5. [`outbox`] makes one vectored write straight to that member's socket; what the socket does not
//!    take waits in a bounded backlog, and over the bound the member is closed as slow consumer,
//! 6. [`conn`] drains a backlog when its socket is writable again.
//!
//! # Modules, in dependency order
//!
//! A module uses only modules above it; `tests/tidy.rs` checks that.
//!
//! | module | what it owns |
//! |---|---|
//! | [`core`] | every decision, none of the I/O |
//! | [`clock`] | the two functions that read a clock |
//! | [`outbox`] | one member's socket, for writing |
//! | [`metrics`] | every number the relay exports |
//! | [`config`] | every knob, with its unit and default |
//! | [`telemetry`] | log lines |
//! | [`bus`] | what several nodes share over Redis: order, rosters, records, used tokens |
//! | [`admission`] | who may come in: rooms' records, used tokens, addresses |
//! | [`hub`] | the rooms on this node: seats, order, fan-out, owner operations |
//! | [`conn`] | one connection: reading, metering, draining |
//! | [`http`] | routes, errors, headers, the handshake |
//! | [`server`] | listening, sweeping, draining |
//! | [`fuzzing`] | the properties that fuzzers check |
//! | [`cli`] | the command line |

pub mod core;

pub mod admission;
pub mod bus;
pub mod cli;
pub mod clock;
pub mod config;
pub mod conn;
pub mod fuzzing;
pub mod http;
pub mod hub;
pub mod metrics;
pub mod outbox;
pub mod server;
pub mod telemetry;
