//! The properties that fuzzers check, as ordinary functions.
//!
//! A target in `fuzz/` is one line that calls one of these, and `tests/corpus.rs` runs them over the
//! committed corpus with every `cargo test`, on stable. So a crash, once found, stays found. They are
//! part of the library only because a fuzzer links it; nothing else calls them.
//!
//! Each takes any bytes and panics when its property does not hold. The first bytes usually choose
//! among variants, the others are the input.

mod config;
mod entry;
mod frame;
mod proxy;
mod rooms;
mod token;
mod wire;

pub use config::config;
pub use entry::entry;
pub use frame::frame;
pub use proxy::proxy;
pub use rooms::rooms;
pub use token::token;
pub use wire::{control, wire};
