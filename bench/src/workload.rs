//! W1 to W7 and the growth series: what is asked of a server, and one run of it.

use std::time::Duration;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::Fault;
use crate::load::{Faults, Moment, Plan, churn};
use crate::peers::{Peer, Places};
use crate::process::Server;

/// What is asked of a server.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Workload {
    /// Its name in tables and on the command line.
    pub name: String,
    /// What it is.
    pub about: String,
    /// The load, or the churn.
    pub kind: Kind,
}

/// See [`Workload`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Kind {
    /// Messages.
    Talk(Talk),
    /// Connections that do nothing: rooms, members.
    Idle(u32, u32),
    /// Rooms, visits to each.
    Churn(u32, u32),
}

/// A load of messages. Fields as in [`Plan`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "each is explained where the plan is")]
pub struct Talk {
    pub rooms: u32,
    pub members: u32,
    pub senders: u32,
    pub payload: u32,
    pub window: u32,
    pub in_flight: u32,
    pub deliveries_per_s: u32,
    pub deaf_one_in: u32,
}

/// How long and how large.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Size {
    /// As BENCHMARKS.md has it.
    Full,
    /// A second each and fewer connections: to see that every delivery is right.
    Quick,
}

/// What one run found.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
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
}

const fn talk(rooms: u32, members: u32, senders: u32, payload: u32, window: u32) -> Talk {
    Talk {
        rooms,
        members,
        senders,
        payload,
        window,
        in_flight: 0,
        deliveries_per_s: 0,
        deaf_one_in: 0,
    }
}

/// All workloads of the tables.
pub fn all(size: Size) -> Vec<Workload> {
    let full = size == Size::Full;
    let pick = |full_size: u32, quick: u32| if full { full_size } else { quick };
    let w1_rooms = pick(1000, 50);
    let crowd = pick(1000, 100);
    let w1 = Talk { in_flight: 400, ..talk(w1_rooms, 10, 10, 128, 1) };
    let middle = Talk { deliveries_per_s: pick(50_000, 10_000), ..w1 };
    let list = [
        ("W1", "1000 rooms of 10, 128 B, all speak, 400 messages under way", Kind::Talk(w1)),
        ("W1-middle", "the same at 50,000 deliveries/s", Kind::Talk(middle)),
        (
            "W1b",
            "10 rooms of 10, 128 B, all speak, 10 messages each under way",
            Kind::Talk(talk(10, 10, 10, 128, 10)),
        ),
        (
            "W2",
            "one room of 1000, 128 B, 50 speak, 20 messages each under way",
            Kind::Talk(talk(1, crowd, 50, 128, 20)),
        ),
        (
            "W2-short",
            "one room of 1000, 128 B, 50 speak, one message each under way",
            Kind::Talk(talk(1, crowd, 50, 128, 1)),
        ),
        (
            "W2-all",
            "one room of 1000, 128 B, all speak, one message each under way",
            Kind::Talk(talk(1, crowd, crowd, 128, 1)),
        ),
        (
            "W2-4k",
            "one room of 1000, 4 KiB, 10 speak, 4 messages each under way",
            Kind::Talk(talk(1, crowd, 10, 4096, 4)),
        ),
        (
            "W3-16k",
            "100 rooms of 2, 16 KiB, both speak, 4 messages each under way",
            Kind::Talk(talk(pick(100, 20), 2, 2, 16 * 1024, 4)),
        ),
        (
            "W3",
            "100 rooms of 2, 64 KiB, both speak, 2 messages each under way",
            Kind::Talk(talk(pick(100, 20), 2, 2, 64 * 1024, 2)),
        ),
        ("W4", "18,000 idle members in rooms of 10", Kind::Idle(pick(1800, 50), 10)),
        ("W4-pairs", "18,000 idle members in rooms of 2", Kind::Idle(pick(9000, 200), 2)),
        ("W5", "two members, 128 B, one message at a time", Kind::Talk(talk(1, 2, 1, 128, 1))),
        (
            "W6",
            "W1-middle with one member in 100 that does not read",
            Kind::Talk(Talk { deaf_one_in: 100, ..middle }),
        ),
        (
            "W7",
            "churn in 100 rooms: join, say 128 B, leave",
            Kind::Churn(pick(100, 20), pick(100, 20)),
        ),
    ];
    list.map(|(name, about, kind)| Workload { name: name.into(), about: about.into(), kind }).into()
}

/// A series that changes one thing, to see how the cost of a delivery grows with it.
pub fn growth() -> Vec<(&'static str, Vec<(u32, Workload)>)> {
    let point = |name: &str, x: u32, talk: Talk| {
        let name = format!("G-{name}-{x}");
        (x, Workload { name, about: String::new(), kind: Kind::Talk(talk) })
    };
    // As many messages under way as make 20,000 deliveries, so that every server is saturated.
    let under_way = |receivers: u32| (20_000 / receivers).clamp(20, 1000);
    vec![
        (
            "members",
            [2, 5, 10, 20, 50, 100, 200, 500, 1000]
                .map(|n| {
                    let rooms = 1000 / n;
                    let window = (under_way(n - 1) / (rooms * n.min(10))).max(1);
                    point("members", n, talk(rooms, n, n.min(10), 128, window))
                })
                .into(),
        ),
        (
            "rooms",
            [1, 10, 100, 1000, 3000, 9000]
                .map(|n| {
                    let load = Talk { in_flight: 1000, ..talk(n, 2, 2, 128, 1) };
                    let window = if n < 500 { 1000 / (2 * n) } else { 1 };
                    let in_flight = if n < 500 { 0 } else { load.in_flight };
                    point("rooms", n, Talk { window, in_flight, ..load })
                })
                .into(),
        ),
        (
            "payload",
            [1, 16, 64, 128, 512, 1024, 4096, 8191, 8192, 16_384, 32_768, 65_536]
                .map(|n| point("payload", n, talk(100, 10, 1, n, 4)))
                .into(),
        ),
    ]
}

impl Workload {
    /// Whether some members do not read.
    const fn has_slow(&self) -> bool {
        matches!(self.kind, Kind::Talk(Talk { deaf_one_in: 1.., .. }))
    }

    /// Runs it once, on a server of its own.
    ///
    /// # Errors
    ///
    /// The server does not start or breaks the protocol, or a delivery was not right.
    pub fn run(
        &self,
        peer: Peer,
        places: &Places,
        cores: &str,
        threads: u32,
        size: Size,
    ) -> Result<Found, Fault> {
        let server = peer.start(places, cores, self.has_slow())?;
        let mut meter = Meter { server: &server, seen: Vec::new() };
        match self.kind {
            Kind::Talk(talk) => self.talk(peer, &server, &mut meter, talk, threads, size),
            Kind::Idle(rooms, members) => {
                let plan = Plan { threads, ..plan_of(talk(rooms, members, 0, 0, 0), size) };
                let plan = Plan { measure: Duration::ZERO, ..plan };
                let outcome = peer.load(server.addr(), &plan, &mut |moment| meter.look(moment))?;
                let connections = f64::from(rooms) * f64::from(members);
                let (from, to) = (meter.at(Moment::BeforeConnect)?, meter.at(Moment::Connected)?);
                Ok(Found {
                    joins_per_s: connections / outcome.connect_s,
                    cpu_us_per_join: 1e6 * (to.cpu_s - from.cpu_s) / connections,
                    resident_mib: to.resident / MIB,
                    bytes_per_connection: (to.resident - from.resident) / connections,
                    ..Found::default()
                })
            }
            Kind::Churn(rooms, visits) => {
                let plan = churn::Plan { rooms, visits, payload: 128, threads };
                let outcome = peer.churn(server.addr(), &plan, &mut |moment| meter.look(moment))?;
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
        }
    }

    fn talk(
        &self,
        peer: Peer,
        server: &Server,
        meter: &mut Meter<'_>,
        talk: Talk,
        threads: u32,
        size: Size,
    ) -> Result<Found, Fault> {
        let plan = Plan { threads, ..plan_of(talk, size) };
        let outcome = peer.load(server.addr(), &plan, &mut |moment| meter.look(moment))?;
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
            megabytes_per_s: delivered * f64::from(talk.payload) / outcome.seconds / 1e6,
            p50_us: micros(0.5),
            p99_us: micros(0.99),
            p999_us: micros(0.999),
            cpu_us_per_delivery: 1e6 * cpu_s / delivered,
            cpu_cores: cpu_s / outcome.seconds,
            resident_mib: to.resident / MIB,
            checked: outcome.checked,
            deaf_closed: outcome.deaf_closed.values().sum(),
            ..Found::default()
        })
    }
}

const MIB: f64 = 1024.0 * 1024.0;

fn plan_of(talk: Talk, size: Size) -> Plan {
    let millis = match size {
        Size::Full => (1000, 3000),
        Size::Quick => (200, 800),
    };
    let receivers = talk.members.saturating_sub(1).max(1);
    Plan {
        rooms: talk.rooms,
        members: talk.members,
        senders: talk.senders,
        payload: talk.payload as usize,
        window: talk.window,
        in_flight: talk.in_flight,
        rate: f64::from(talk.deliveries_per_s) / f64::from(receivers),
        deaf_one_in: talk.deaf_one_in,
        warm: Duration::from_millis(millis.0),
        measure: Duration::from_millis(millis.1),
        threads: 1,
    }
}

fn no_faults(faults: &Faults) -> Result<(), Fault> {
    if faults.is_none() { Ok(()) } else { Err(format!("deliveries went wrong: {faults:?}").into()) }
}

/// Looks at a server at each moment.
struct Meter<'s> {
    server: &'s Server,
    seen: Vec<(Moment, Cost)>,
}

#[derive(Clone, Copy)]
struct Cost {
    cpu_s: f64,
    resident: f64,
}

impl Meter<'_> {
    fn look(&mut self, moment: Moment) -> Result<(), Fault> {
        let cpu_s = self.server.cpu_s()?;
        let resident = self.server.resident_bytes()? as f64;
        self.seen.push((moment, Cost { cpu_s, resident }));
        Ok(())
    }

    fn at(&self, moment: Moment) -> Result<Cost, Fault> {
        let seen = self.seen.iter().find(|(seen, _)| *seen == moment);
        seen.map(|(_, cost)| *cost).ok_or_else(|| "a moment was missed".into())
    }
}
