//! W1 to W7 and the growth series: what is asked of a server, and of which.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::peers::Peer;

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

/// A load of messages. Fields as in [`crate::load::Plan`].
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
        (
            "W4-alone",
            "18,000 idle members, each in a room of its own, so that nobody hears of a join",
            Kind::Idle(pick(18_000, 400), 1),
        ),
        ("W4-pairs", "18,000 idle members in rooms of 2", Kind::Idle(pick(9000, 200), 2)),
        ("W5", "two members, 128 B, one message at a time", Kind::Talk(talk(1, 2, 1, 128, 1))),
        (
            "W6",
            "W1-middle with one member in 100 that does not read",
            Kind::Talk(Talk { deaf_one_in: 100, ..middle }),
        ),
        (
            "W6-flood",
            "2 rooms of 100, 4 KiB, 10 speak, 100,000 deliveries/s, one member in 100 does not read",
            Kind::Talk(Talk {
                deliveries_per_s: pick(100_000, 10_000),
                deaf_one_in: 100,
                ..talk(2, 100, 10, 4096, 1)
            }),
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

/// The relay, what the kernel allows, and the fastest.
const FAST: &[Peer] = &[Peer::Lethewire, Peer::Epoll, Peer::Uring, Peer::Uws, Peer::Bun];
/// The same where so much is under way that what a frame weighs can be told.
const DEEP: &[Peer] =
    &[Peer::Lethewire, Peer::Epoll, Peer::EpollHeads, Peer::Uring, Peer::Uws, Peer::Bun];
/// The same where one bare server says enough.
const USUAL: &[Peer] = &[Peer::Lethewire, Peer::Epoll, Peer::Uws, Peer::Bun];
/// All.
const ALL: &[Peer] = &[
    Peer::Lethewire,
    Peer::Epoll,
    Peer::Uring,
    Peer::Uws,
    Peer::Bun,
    Peer::Ws,
    Peer::Nchan,
    Peer::Nats,
    Peer::Mosquitto,
    Peer::SocketIo,
    Peer::Sockudo,
];

impl Workload {
    /// Whether it is a point of the growth series.
    pub fn is_growth(&self) -> bool {
        self.name.starts_with("G-")
    }

    /// Whether some members do not read.
    pub const fn has_slow(&self) -> bool {
        matches!(self.kind, Kind::Talk(Talk { deaf_one_in: 1.., .. }))
    }

    /// The servers that take part when all of BENCHMARKS.md is made. Those that are slow by a factor
    /// stay out of what would take them minutes: a million deliveries under way in W2.
    pub fn peers(&self) -> &'static [Peer] {
        match self.name.as_str() {
            "W1" | "W1-middle" | "W2-short" | "W4" | "W5" => ALL,
            "W1b" | "W2" => DEEP,
            "W3" => FAST,
            "W6" | "W6-flood" => &[Peer::Lethewire, Peer::Uws, Peer::Bun],
            _ if self.is_growth() => &[Peer::Lethewire, Peer::Epoll],
            _ => USUAL,
        }
    }

    /// In how many of so many rounds a server takes part: in all, where something was aimed at, in a
    /// third of them where not, and in the first alone if it is not one of those that are close. In W5,
    /// which is short, the best of all is looked for.
    pub fn rounds(&self, peer: Peer, rounds: u32) -> u32 {
        const AIMED_AT: [&str; 8] = ["W1", "W1-middle", "W1b", "W2", "W3", "W4-alone", "W5", "W6"];
        let is_close = USUAL.contains(&peer) || peer == Peer::EpollHeads;
        if !is_close && self.name != "W5" {
            1
        } else if AIMED_AT.contains(&self.name.as_str()) {
            rounds
        } else {
            rounds.div_ceil(3)
        }
    }

    /// Whether the relay runs it on two cores too.
    pub fn has_two_cores(&self) -> bool {
        ["W1", "W1b", "W2", "W3", "W7"].contains(&self.name.as_str())
    }
}
