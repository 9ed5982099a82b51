//! Several relays on one Redis: that there is one order and no silent loss, calm and under chaos.
//!
//! Run by `./check.sh cluster`, because it needs Redis. No test sleeps: a fault lasts until members
//! have seen it, and what should happen afterwards is waited for.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test's way to fail, and to say what it saw"
)]

mod calm;
mod capture;
mod chaos;
mod checker;
mod handover;
mod harness;
mod replay;
mod rolling;
mod size;
mod upgrades;
mod verdicts;
