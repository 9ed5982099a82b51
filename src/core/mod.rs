//! The pure half of the relay: what it decides, separated from how it does I/O.
//!
//! Nothing here reads a clock, rolls a die, takes a lock, touches a socket or awaits. Time comes in
//! as an argument, randomness comes in as bytes, and what should happen comes out as a value. That
//! is what lets every rule of the relay be checked by a unit test, a property test and a fuzzer
//! without a runtime, and `tests/tidy.rs` enforces it.
//!
//! Leaves first: [`id`] (names), [`limit`] (token bucket), [`close`] (why a connection ends),
//! [`upgrade`] and [`frame`] (RFC 6455, both ways), [`wire`] (data and control frames), [`entry`]
//! (what nodes tell each other), [`order`] (what comes next in an order that nodes share), [`record`]
//! (what they share of an empty room).

pub mod admission;
pub mod close;
pub mod entry;
pub mod frame;
pub mod id;
pub mod limit;
pub mod order;
pub mod record;
pub mod secret;
pub mod token;
pub mod upgrade;
pub mod wire;
