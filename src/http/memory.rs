//! Whether the process has memory left for newcomers.
//!
//! `limit.memory_bytes` against what the system says is resident. Above it the relay is not ready and
//! lets nobody new in; who is in stays, because closing members would bring them all back at once.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::config::Config;

/// Whether the resident memory is above its limit.
pub struct Memory {
    /// In bytes; 0 is no limit.
    limit: u64,
    is_short: AtomicBool,
}

impl Memory {
    pub(super) const fn of(config: &Config) -> Self {
        Self { limit: config.limit.memory_bytes, is_short: AtomicBool::new(false) }
    }

    /// Looks at the resident memory, and says whether it is too much, if that changed. To be called
    /// once a second, by one task.
    pub fn measure(&self) -> Option<bool> {
        if self.limit == 0 {
            return None;
        }
        // What cannot be measured now, for want of a descriptor, is as it was.
        self.judge(resident_bytes()?)
    }

    /// Whether nobody new should come in.
    pub fn is_short(&self) -> bool {
        self.is_short.load(Ordering::Relaxed)
    }

    fn judge(&self, resident: u64) -> Option<bool> {
        let was_short = self.is_short();
        // Memory goes up and down with every message; the gap keeps the answer from doing so too.
        let is_short = if was_short {
            resident >= self.limit - self.limit / 20
        } else {
            resident > self.limit
        };
        self.is_short.store(is_short, Ordering::Relaxed);
        (is_short != was_short).then_some(is_short)
    }
}

/// The resident memory of this process in bytes, where the system tells: Linux does, and reads no
/// disk for it (`proc_pid_statm(5)`).
pub fn resident_bytes() -> Option<u64> {
    let page = u64::try_from(rustix::param::page_size()).ok()?;
    resident_pages(&std::fs::read_to_string("/proc/self/statm").ok()?)?.checked_mul(page)
}

/// The second number of `statm`.
fn resident_pages(statm: &str) -> Option<u64> {
    statm.split_ascii_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limited(bytes: u64) -> Memory {
        let mut config = Config::default();
        config.limit.memory_bytes = bytes;
        Memory::of(&config)
    }

    #[test]
    fn it_is_short_above_the_limit_and_until_below_nineteen_twentieths() {
        let memory = limited(1000);
        for (resident, change, is_short) in [
            (1000, None, false),
            (1001, Some(true), true),
            (2000, None, true),
            (1000, None, true),
            (950, None, true),
            (949, Some(false), false),
            (1000, None, false),
            (1001, Some(true), true),
            (0, Some(false), false),
        ] {
            assert_eq!(memory.judge(resident), change, "{resident}");
            assert_eq!(memory.is_short(), is_short, "{resident}");
        }
    }

    #[test]
    fn the_least_limit_can_be_kept_too() {
        let memory = limited(1);
        assert_eq!(memory.judge(2), Some(true));
        assert_eq!(memory.judge(1), None);
        assert_eq!(memory.judge(0), Some(false));
    }

    #[test]
    fn without_a_limit_nothing_is_too_much() {
        let memory = limited(0);
        assert_eq!(memory.measure(), None);
        assert!(!memory.is_short());
    }

    #[test]
    fn the_second_number_counts_pages() {
        assert_eq!(resident_pages("5093 642 519 5 0 264 0\n"), Some(642));
        for bad in ["", "5093", "5093 x 1", "5093 -1 1"] {
            assert_eq!(resident_pages(bad), None, "{bad}");
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn linux_tells_how_much_is_resident() {
        let bytes = resident_bytes().unwrap();
        let page = rustix::param::page_size() as u64;
        assert!(bytes >= 100 * page && bytes.is_multiple_of(page), "{bytes}");
        let memory = limited(1);
        assert_eq!((memory.measure(), memory.is_short()), (Some(true), true));
    }
}
