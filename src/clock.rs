//! The two functions that read a clock. Everything else takes the time as an argument.
//!
//! An event reads the clock once, at its start, and hands the value down: so decisions that belong
//! together see one moment, and every rule can be tested at any moment.

use std::sync::OnceLock;
use std::time::SystemTime;

use crate::core::limit::{Instant, UnixSeconds};

/// The time since the first call in this process; never goes back.
#[expect(clippy::disallowed_methods, reason = "this is the monotonic clock")]
pub fn now() -> Instant {
    static START: OnceLock<std::time::Instant> = OnceLock::new();
    let elapsed = START.get_or_init(std::time::Instant::now).elapsed();
    Instant::START.after(elapsed)
}

/// The time of day, for tokens only: it can jump, and nothing else may depend on it.
#[expect(clippy::disallowed_methods, reason = "this is the clock of the day")]
pub fn unix_now() -> UnixSeconds {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    UnixSeconds(since.map_or(0, |d| d.as_secs()))
}
