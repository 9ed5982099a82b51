//! What everybody but us takes of the machine meanwhile: other programs, and the machine's own host.

use std::time::Instant;

use lethewire_bench::{Fault, process};

use crate::relays::Relays;

/// What others on the machine have used so far.
pub(crate) struct Others {
    at: Instant,
    cpu_s: f64,
}

impl Others {
    pub(crate) fn now(relays: &Relays) -> Result<Self, Fault> {
        let ours = relays.own.cpu_s()? + relays.next_door.cpu_s()? + process::own_cpu_s()?;
        Ok(Self { at: Instant::now(), cpu_s: process::machine_cpu_s()? - ours })
    }

    /// What they have taken of the machine's CPU time since then, in percent.
    pub(crate) fn percent(&self, relays: &Relays) -> Result<f64, Fault> {
        let now = Self::now(relays)?;
        let cores = std::fs::read_to_string("/proc/stat")?
            .lines()
            .filter(|line| line.starts_with("cpu") && !line.starts_with("cpu "))
            .count();
        let all = now.at.duration_since(self.at).as_secs_f64() * cores as f64;
        Ok((now.cpu_s - self.cpu_s).max(0.0) * 100.0 / all)
    }
}
