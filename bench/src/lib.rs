//! The load generator behind BENCHMARKS.md: it starts the relay and its peers one after the other on
//! the same cores, puts the same load on each, checks every delivery and writes what it found.
//!
//! * [`websocket`]: the client's side of RFC 6455;
//! * [`dialect`]: how each server is spoken to;
//! * [`load`]: the load itself, and the check of every delivery;
//! * [`bare`]: what our own two bare servers have in common;
//! * [`peers`] and [`process`]: starting servers, and what they cost;
//! * [`workload`]: W1 to W7 and the growth series, and [`measure`]: one run;
//! * [`schedule`]: which runs are made, one after the other;
//! * [`report`]: what was found, in a file, and [`built`]: of which commit;
//! * [`pages`] and [`plot`]: BENCHMARKS.md and its drawings.
//!
//! Beside that, [`instructions`] compares what `benches/instructions` counts with its bounds.

pub mod bare;
pub mod built;
pub mod dialect;
pub mod instructions;
pub mod load;
pub mod measure;
pub mod pages;
pub mod peers;
pub mod plot;
pub mod process;
pub mod report;
pub mod schedule;
pub mod websocket;
pub mod workload;

/// What went wrong, for whoever reads it.
pub type Fault = Box<dyn std::error::Error + Send + Sync>;
