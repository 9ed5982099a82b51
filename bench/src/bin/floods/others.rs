//! What everybody but us takes of the machine meanwhile: other programs, and the machine's own host.

use std::time::{Duration, Instant};

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
        share(now.cpu_s - self.cpu_s, now.at - self.at)
    }
}

/// What the machine's own host has taken so far: time in which a processor had work and was not let
/// run. The others have it too.
pub(crate) struct Stolen {
    at: Instant,
    cpu_s: f64,
}

impl Stolen {
    pub(crate) fn now() -> Result<Self, Fault> {
        Ok(Self { at: Instant::now(), cpu_s: process::machine_stolen_s()? })
    }

    /// What it has taken of the machine's CPU time since then, in percent.
    pub(crate) fn percent(&self) -> Result<f64, Fault> {
        let now = Self::now()?;
        share(now.cpu_s - self.cpu_s, now.at - self.at)
    }
}

/// So many seconds of CPU time, of all that the machine has in `time`, in percent.
fn share(cpu_s: f64, time: Duration) -> Result<f64, Fault> {
    let cores = std::fs::read_to_string("/proc/stat")?
        .lines()
        .filter(|line| line.starts_with("cpu") && !line.starts_with("cpu "))
        .count();
    Ok(cpu_s.max(0.0) * 100.0 / (time.as_secs_f64() * cores as f64))
}
