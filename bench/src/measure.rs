//! One run of a workload on a server of its own, and what it found.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::Fault;
use crate::load::{Faults, Moment, Outcome, Plan, churn};
use crate::peers::{Peer, Places, SLOW_MIB};
use crate::process::Server;
use crate::workload::{Kind, Size, Talk, Workload};

const MIB: f64 = 1024.0 * 1024.0;

/// What one run found. What a workload does not have is zero.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "the names say it, with their units")]
pub struct Found {
    pub deliveries_per_s: f64,
    pub megabytes_per_s: f64,
    pub p50_us: f64,
    pub p99_us: f64,
    pub p999_us: f64,
    pub cpu_us_per_delivery: f64,
    pub cpu_cores: f64,
    pub resident_mib: f64,
    pub bytes_per_connection: f64,
    pub joins_per_s: f64,
    pub cpu_us_per_join: f64,
    pub checked: u64,
    pub deaf_closed: u64,
    /// Most memory, in a run with some that do not read.
    pub peak_mib: f64,
    /// The same load right before or behind, with nobody who does not read.
    pub p99_us_without: f64,
    pub peak_mib_without: f64,
    /// What memory may grow to, where the server's configuration bounds it.
    pub bound_mib: f64,
}

/// Where a run is made.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// The server.
    pub peer: Peer,
    /// Where its program is.
    pub places: &'a Places,
    /// The server's cores.
    pub cores: &'a str,
    /// Threads of the generator.
    pub threads: u32,
    /// Whether some members will not read, which a server may have to be told.
    pub has_slow: bool,
}

impl Workload {
    /// Runs it once, on a server of its own. With members that do not read, the same is run without
    /// them, on a server of its own too, right before, or right behind if `is_turned`.
    ///
    /// # Errors
    ///
    /// The server does not start or breaks the protocol, or a delivery was not right.
    pub fn run(&self, place: Place<'_>, size: Size, is_turned: bool) -> Result<Found, Fault> {
        let threads = place.threads;
        match self.kind {
            Kind::Talk(load) => {
                let plan = Plan { threads, ..plan_of(load, self.millis(size)) };
                if self.has_slow() {
                    with_slow(place, &plan, is_turned)
                } else {
                    talk(place, &plan)
                }
            }
            Kind::Idle(rooms, members) => {
                let load = Talk { rooms, members, ..Talk::default() };
                let plan = Plan { threads, ..plan_of(load, (0, 0)) };
                idle(place, &plan)
            }
            Kind::Churn(rooms, visits) => {
                let plan = churn::Plan { rooms, visits, payload: 128, threads };
                come_and_go(place, &plan)
            }
        }
    }

    /// Milliseconds before the measurement, and of it. Many short runs beside each other say more than
    /// few long ones; the kernel counts CPU in hundredths of a second.
    fn millis(&self, size: Size) -> (u64, u64) {
        match (size, self.name.as_str()) {
            (Size::Quick, _) => (200, 600),
            // Time for a queue to fill.
            (Size::Full, "W6-flood") => (500, 5000),
            (Size::Full, "W5") => (200, 800),
            (Size::Full, _) if self.is_growth() => (250, 750),
            (Size::Full, _) => (400, 1500),
        }
    }
}

/// The same load with and without members that do not read, one after the other.
fn with_slow(place: Place<'_>, plan: &Plan, is_turned: bool) -> Result<Found, Fault> {
    let nobody = Plan { deaf_one_in: 0, ..plan.clone() };
    let (with, without) = if is_turned {
        let with = talk(place, plan)?;
        (with, talk(place, &nobody)?)
    } else {
        let without = talk(place, &nobody)?;
        (talk(place, plan)?, without)
    };
    let slow = f64::from(plan.rooms * plan.members / plan.deaf_one_in);
    let has_bound = place.peer == Peer::Lethewire;
    Ok(Found {
        p99_us_without: without.p99_us,
        peak_mib_without: without.peak_mib,
        bound_mib: if has_bound { without.peak_mib + slow * SLOW_MIB } else { 0.0 },
        checked: with.checked + without.checked,
        ..with
    })
}

fn plan_of(load: Talk, millis: (u64, u64)) -> Plan {
    let receivers = load.members.saturating_sub(1).max(1);
    Plan {
        rooms: load.rooms,
        members: load.members,
        senders: load.senders,
        payload: load.payload as usize,
        window: load.window,
        in_flight: load.in_flight,
        rate: f64::from(load.deliveries_per_s) / f64::from(receivers),
        deaf_one_in: load.deaf_one_in,
        warm: Duration::from_millis(millis.0),
        measure: Duration::from_millis(millis.1),
        threads: 1,
    }
}

fn talk(place: Place<'_>, plan: &Plan) -> Result<Found, Fault> {
    let (outcome, meter) = load(place, plan)?;
    no_faults(&outcome.faults)?;
    if outcome.delivered == 0 {
        return Err("nothing was delivered".into());
    }
    let (from, to) = (meter.at(Moment::Begin)?, meter.at(Moment::End)?);
    let delivered = outcome.delivered as f64;
    let cpu_s = to.cpu_s - from.cpu_s;
    let micros = |quantile: f64| outcome.latency.value_at_quantile(quantile) as f64 / 1e3;
    Ok(Found {
        deliveries_per_s: delivered / outcome.seconds,
        megabytes_per_s: delivered * plan.payload as f64 / outcome.seconds / 1e6,
        p50_us: micros(0.5),
        p99_us: micros(0.99),
        p999_us: micros(0.999),
        cpu_us_per_delivery: 1e6 * cpu_s / delivered,
        cpu_cores: cpu_s / outcome.seconds,
        resident_mib: to.resident / MIB,
        peak_mib: to.peak / MIB,
        checked: outcome.checked,
        deaf_closed: outcome.deaf_closed.values().sum(),
        ..Found::default()
    })
}

fn idle(place: Place<'_>, plan: &Plan) -> Result<Found, Fault> {
    let (outcome, meter) = load(place, plan)?;
    let connections = f64::from(plan.rooms) * f64::from(plan.members);
    let (from, to) = (meter.at(Moment::BeforeConnect)?, meter.at(Moment::Connected)?);
    let cpu_s = to.cpu_s - from.cpu_s;
    Ok(Found {
        joins_per_s: connections / outcome.connect_s,
        cpu_us_per_join: 1e6 * cpu_s / connections,
        cpu_cores: cpu_s / outcome.connect_s,
        resident_mib: to.resident / MIB,
        bytes_per_connection: (to.resident - from.resident) / connections,
        ..Found::default()
    })
}

fn load(place: Place<'_>, plan: &Plan) -> Result<(Outcome, Meter), Fault> {
    let Place { peer, places, cores, has_slow, .. } = place;
    let server = peer.start(places, cores, has_slow)?;
    let mut meter = Meter::default();
    let outcome = peer.load(server.addr(), plan, &mut |moment| meter.look(&server, moment))?;
    Ok((outcome, meter))
}

fn come_and_go(place: Place<'_>, plan: &churn::Plan) -> Result<Found, Fault> {
    let server = place.peer.start(place.places, place.cores, place.has_slow)?;
    let mut meter = Meter::default();
    let mut look = |moment| meter.look(&server, moment);
    let outcome = place.peer.churn(server.addr(), plan, &mut look)?;
    no_faults(&outcome.faults)?;
    let (from, to) = (meter.at(Moment::Begin)?, meter.at(Moment::End)?);
    let count = outcome.visits as f64;
    Ok(Found {
        joins_per_s: count / outcome.seconds,
        cpu_us_per_join: 1e6 * (to.cpu_s - from.cpu_s) / count,
        resident_mib: to.resident / MIB,
        checked: outcome.visits,
        ..Found::default()
    })
}

fn no_faults(faults: &Faults) -> Result<(), Fault> {
    if faults.is_none() { Ok(()) } else { Err(faults.summary().into()) }
}

/// What a server had cost at each moment.
#[derive(Default)]
struct Meter {
    seen: Vec<(Moment, Cost)>,
}

#[derive(Clone, Copy)]
struct Cost {
    cpu_s: f64,
    resident: f64,
    peak: f64,
}

impl Meter {
    fn look(&mut self, server: &Server, moment: Moment) -> Result<(), Fault> {
        let cpu_s = server.cpu_s()?;
        let resident = server.resident_bytes()? as f64;
        let peak = server.peak_bytes()? as f64;
        self.seen.push((moment, Cost { cpu_s, resident, peak }));
        Ok(())
    }

    fn at(&self, moment: Moment) -> Result<Cost, Fault> {
        let seen = self.seen.iter().find(|(seen, _)| *seen == moment);
        seen.map(|(_, cost)| *cost).ok_or_else(|| "a moment was missed".into())
    }
}
