//! What `GET /ready` answers: whether new members should be sent here, and check by check why not.

use serde::Serialize;

use super::App;
use crate::clock;

/// The answer.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Readiness {
    ready: bool,
    /// Whole seconds since 1970.
    timestamp: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    checks: Option<Checks>,
}

/// True is good.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Checks {
    /// Without a configuration that fits, no relay starts.
    config_loaded: bool,
    /// Absent where no rooms are shared.
    #[serde(skip_serializing_if = "Option::is_none")]
    redis: Option<bool>,
    /// No drain is on.
    accepting: bool,
    /// Less is resident than may be.
    memory: bool,
    /// Not too much waits for slow members.
    queues: bool,
}

/// A check that fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failed {
    /// The check's name, one of a few.
    pub check: &'static str,
    /// The name and a sentence, for an operator.
    pub(super) detail: &'static str,
}

impl Readiness {
    /// How it is now, and the first check that fails.
    pub(super) fn of(app: &App) -> (Self, Option<Failed>) {
        // Where it does not matter for readiness, it says how it is all the same.
        let redis = app.shared.is_some().then(|| !app.is_cut_off());
        let checks = Checks {
            config_loaded: true,
            redis,
            accepting: !app.is_draining() && !app.is_leaving(),
            memory: !app.memory.is_short(),
            queues: !app.hub.is_short_of_memory(),
        };
        let failed = checks.first_failed(app.config.bus.ready_check);
        let timestamp = clock::unix_now().0;
        (Self { ready: failed.is_none(), timestamp, checks: Some(checks) }, failed)
    }

    /// The same for everybody: what exactly is the matter is not everybody's business.
    #[must_use]
    pub(super) const fn without_checks(self) -> Self {
        Self { checks: None, ..self }
    }
}

impl Checks {
    fn first_failed(self, needs_redis: bool) -> Option<Failed> {
        [
            (self.accepting, "accepting", "draining: the relay is about to stop"),
            (self.memory, "memory", "memory: more is resident than limit.memory_bytes"),
            (self.queues, "queues", "queues: three quarters of limit.buffered_bytes are waiting"),
            (
                !needs_redis || self.redis != Some(false),
                "redis",
                "bus: what this node publishes does not come back",
            ),
        ]
        .into_iter()
        .find_map(|(holds, check, detail)| (!holds).then_some(Failed { check, detail }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_check_that_fails_is_named() {
        let good = Checks {
            config_loaded: true,
            redis: Some(true),
            accepting: true,
            memory: true,
            queues: true,
        };
        let name = |checks: Checks, needs_redis| checks.first_failed(needs_redis).map(|f| f.check);
        assert_eq!(name(good, true), None);
        assert_eq!(name(Checks { redis: None, ..good }, true), None);
        let cut_off = Checks { redis: Some(false), ..good };
        assert_eq!(name(cut_off, true), Some("redis"));
        assert_eq!(name(cut_off, false), None, "the operator wants it so");
        let queues = Checks { queues: false, ..cut_off };
        assert_eq!(name(queues, true), Some("queues"));
        let memory = Checks { memory: false, ..queues };
        assert_eq!(name(memory, true), Some("memory"));
        assert_eq!(name(Checks { accepting: false, ..memory }, true), Some("accepting"));
    }
}
