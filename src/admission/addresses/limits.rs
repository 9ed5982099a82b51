//! What addresses may do: the configured limits, for each width of a prefix.

use std::time::Duration;

use super::penalty::Ladder;
use super::prefix::Width;
use crate::config::Config;
use crate::core::limit::Limit;

/// What every address may do, and how many prefixes are kept.
#[derive(Clone, Copy, Debug)]
pub struct AddressLimits {
    narrow: Ceilings,
    wide: Ceilings,
    widest: Ceilings,
    /// How failed admissions and closes for cause are priced.
    pub(super) ladder: Ladder,
    /// Prefixes kept at the same time.
    pub(super) entries_max: usize,
}

/// What one prefix may do.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ceilings {
    /// Connections at the same time.
    pub(super) connections: u32,
    /// WebSocket handshakes.
    pub(super) handshakes: Limit,
    /// HTTP requests.
    pub(super) requests: Limit,
    /// Rooms made.
    pub(super) rooms: Limit,
    /// Tokens asked for.
    pub(super) tokens: Limit,
    /// Admissions that failed.
    pub(super) failures: Limit,
    /// Closes for cause that are free.
    pub(super) faults: u32,
    /// The part of `rooms` and `tokens` that can be used at once, in percent.
    pub(super) free_percent: u32,
    /// The longest gap between two of the others, just below the limit.
    pub(super) gap_max: Duration,
}

impl AddressLimits {
    /// What a prefix of this width may do.
    pub(super) const fn of(&self, width: Width) -> &Ceilings {
        match width {
            Width::Narrow => &self.narrow,
            Width::Wide => &self.wide,
            Width::Widest => &self.widest,
        }
    }
}

impl Ceilings {
    /// What a wider prefix may do: so many times as much.
    fn times(&self, factor: u32) -> Self {
        Self {
            connections: self.connections.saturating_mul(factor),
            handshakes: self.handshakes.times(factor),
            requests: self.requests.times(factor),
            rooms: self.rooms.times(factor),
            tokens: self.tokens.times(factor),
            failures: self.failures.times(factor),
            faults: self.faults.saturating_mul(factor),
            free_percent: self.free_percent,
            gap_max: self.gap_max / factor,
        }
    }
}

impl From<&Config> for AddressLimits {
    fn from(config: &Config) -> Self {
        let limit = &config.limit;
        let per = |amount: u32, period| Limit::new(u64::from(amount), period);
        let narrow = Ceilings {
            connections: limit.connections_per_address,
            handshakes: per(limit.handshakes_per_10s, TEN_SECONDS),
            requests: per(limit.requests_per_min, MINUTE),
            rooms: per(limit.room_creates_per_min, MINUTE),
            tokens: per(limit.tokens_per_min, MINUTE),
            failures: per(limit.failed_admissions_per_min, MINUTE),
            faults: limit.faults,
            free_percent: limit.slow_after_percent,
            gap_max: Duration::from_millis(u64::from(limit.slow_max_ms)),
        };
        Self {
            wide: narrow.times(limit.ipv6_56_factor.max(1)),
            widest: narrow.times(limit.ipv6_48_factor.max(1)),
            narrow,
            ladder: Ladder {
                first: limit.penalty_s,
                most: limit.penalty_max_s,
                memory: limit.penalty_memory_s,
            },
            entries_max: usize::try_from(limit.addresses).unwrap_or(usize::MAX),
        }
    }
}

const TEN_SECONDS: Duration = Duration::from_secs(10);
const MINUTE: Duration = Duration::from_secs(60);
