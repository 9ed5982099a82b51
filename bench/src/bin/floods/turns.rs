//! Rounds of three turns: calm, next door, flooded. What the rooms felt in each is kept by round, so
//! that only what was measured close together is compared.

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use lethewire_bench::Fault;
use lethewire_bench::process::{self, Server};

use crate::healthy::{Delays, Rooms};
use crate::hostile::{Flood, Hostile};
use crate::others::{Others, Stolen};
use crate::pace::Pace;
use crate::relays::Relays;

/// What the rooms felt in one turn.
pub(crate) struct Turn {
    /// Delays of messages in microseconds.
    pub(crate) p50: u64,
    pub(crate) p99: u64,
    /// Attacks per second.
    pub(crate) attacks: u64,
    /// CPU time that the attacked relay used for each, in microseconds.
    pub(crate) attack_us: f64,
    /// Of the machine's CPU time, what its host took meanwhile, in percent.
    pub(crate) stolen: f64,
}

/// The turns of a round.
pub(crate) struct Round {
    pub(crate) calm: Turn,
    pub(crate) next_door: Turn,
    pub(crate) flooded: Turn,
    /// Of the machine's CPU time, what others took meanwhile, in percent.
    others: f64,
}

/// The rounds of a flood.
pub(crate) struct Found {
    pub(crate) flood: &'static Flood,
    rounds: Vec<Round>,
}

/// Some numbers, in short.
pub(crate) struct Spread {
    pub(crate) least: f64,
    pub(crate) median: f64,
    pub(crate) most: f64,
}

impl Found {
    pub(crate) const fn new(flood: &'static Flood) -> Self {
        Self { flood, rounds: Vec::new() }
    }

    /// The p99 of one of a round's turns, in those of another one.
    pub(crate) fn ratio(&self, turns: impl Fn(&Round) -> (&Turn, &Turn)) -> Spread {
        self.spread(|round| {
            let (one, other) = turns(round);
            one.p99 as f64 / other.p99.max(1) as f64
        })
    }

    /// A number of each round.
    pub(crate) fn spread(&self, number: impl Fn(&Round) -> f64) -> Spread {
        Spread::of(self.rounds.iter().map(number).collect())
    }

    /// What the host took of the machine in one of the turns of each round, in percent.
    pub(crate) fn stolen(&self, turn: impl Fn(&Round) -> &Turn) -> impl Iterator<Item = f64> {
        self.rounds.iter().map(move |round| turn(round).stolen)
    }

    /// What others took of the machine in each round, in percent.
    pub(crate) fn others(&self) -> impl Iterator<Item = f64> {
        self.rounds.iter().map(|round| round.others)
    }
}

impl Spread {
    pub(crate) fn of(mut numbers: Vec<f64>) -> Self {
        numbers.sort_by(f64::total_cmp);
        let at = |place: usize| numbers.get(place).copied().unwrap_or(f64::NAN);
        let last = numbers.len().saturating_sub(1);
        Self {
            least: at(0),
            median: f64::midpoint(at(last / 2), at(last.div_ceil(2))),
            most: at(last),
        }
    }
}

/// Rooms that talk, relays that can be attacked, and attackers.
pub(crate) struct Stage<'a> {
    relays: &'a Relays,
    rooms: Rooms,
    /// Descriptors that the relays have open while nobody attacks: own, next door.
    calm: [usize; 2],
    attackers: Attackers<'a>,
    settle: Duration,
    turn: Duration,
    /// How long it may still wait, in all, for others on the machine.
    patience: Duration,
}

/// Who attacks.
pub(crate) struct Attackers<'a> {
    /// Where they run, as `taskset` takes it.
    pub(crate) cores: &'a str,
    /// How many at the same time.
    pub(crate) count: usize,
    /// Attacks per second of all together; as many as they can if it is not said.
    pub(crate) per_s: Option<NonZeroU32>,
}

/// What others may take of the machine's CPU time when a round begins, in percent.
const QUIET: f64 = 10.0;
/// How long relays may take to close what attackers leave.
const PATIENCE: Duration = Duration::from_secs(30);
/// Descriptors that come and go by themselves.
const STRAYS: usize = 4;

impl<'a> Stage<'a> {
    /// Opens the rooms. `turn` counts, and `settle` before it does not.
    /// Waits for so long, in all rounds together, for a moment in which others do little.
    pub(crate) fn new(
        relays: &'a Relays,
        attackers: Attackers<'a>,
        settle: Duration,
        turn: Duration,
        patience: Duration,
    ) -> Result<Self, Fault> {
        let rooms = Rooms::open(relays.own.addr())?;
        let calm = [relays.own.descriptors()?, relays.next_door.descriptors()?];
        Ok(Self { relays, rooms, calm, attackers, settle, turn, patience })
    }

    /// One more round of a flood.
    pub(crate) fn round(&mut self, found: &mut Found) -> Result<(), Fault> {
        let Relays { own, next_door } = self.relays;
        self.rest()?;
        while !self.patience.is_zero() {
            let (begun, others) = (Instant::now(), Others::now(self.relays)?);
            self.rooms.talk(self.settle, Duration::ZERO)?;
            if others.percent(self.relays)? < QUIET {
                break;
            }
            self.patience = self.patience.saturating_sub(begun.elapsed());
        }
        let others = Others::now(self.relays)?;
        let stolen = Stolen::now()?;
        let delays = self.rooms.talk(self.settle, self.turn)?;
        let calm = Turn::of(&delays, 0, 0.0, stolen.percent()?);
        let next_door = self.flooded(found.flood, next_door)?;
        self.rest()?;
        let flooded = self.flooded(found.flood, own)?;
        let others = others.percent(self.relays)?;
        found.rounds.push(Round { calm, next_door, flooded, others });
        Ok(())
    }

    /// Lets the rooms talk until the relays have closed what attackers left.
    fn rest(&mut self) -> Result<(), Fault> {
        let begun = Instant::now();
        loop {
            let [own, next_door] = self.calm;
            if self.relays.own.descriptors()? <= own + STRAYS
                && self.relays.next_door.descriptors()? <= next_door + STRAYS
            {
                return Ok(());
            }
            if begun.elapsed() > PATIENCE {
                return Err("a relay keeps what attackers have left".into());
            }
            self.rooms.talk(self.settle, Duration::ZERO)?;
        }
    }

    /// Lets the rooms talk while attackers attack a relay.
    fn flooded(&mut self, flood: &Flood, relay: &Server) -> Result<Turn, Fault> {
        let (over, attacks) = (AtomicBool::new(false), AtomicU64::new(0));
        let pace = Pace::new(self.attackers.per_s);
        let hostile = Hostile { addr: relay.addr(), pace: &pace, over: &over, attacks: &attacks };
        let (cpu_s, stolen) = (relay.cpu_s()?, Stolen::now()?);
        let (delays, stolen) = std::thread::scope(|scope| {
            for _ in 0..self.attackers.count {
                scope.spawn(|| {
                    // Attackers on the cores of healthy members would be measured too; better none.
                    if process::pin(self.attackers.cores).is_ok() {
                        hostile.attack(flood);
                    }
                });
            }
            let talked = self.rooms.talk(self.settle, self.turn);
            let stolen = stolen.percent();
            over.store(true, Ordering::Relaxed);
            Ok::<_, Fault>((talked?, stolen?))
        })?;
        let attacks = attacks.into_inner();
        if attacks == 0 {
            return Err(format!("nobody attacked with {}", flood.name).into());
        }
        let attack_us = (relay.cpu_s()? - cpu_s) * 1e6 / attacks as f64;
        let time = self.settle + self.turn;
        let per_s = attacks * 1000 / u64::try_from(time.as_millis())?.max(1);
        Ok(Turn::of(&delays, per_s, attack_us, stolen))
    }
}

impl Turn {
    fn of(delays: &Delays, attacks: u64, attack_us: f64, stolen: f64) -> Self {
        let at = |quantile| delays.value_at_quantile(quantile);
        Self { p50: at(0.5), p99: at(0.99), attacks, attack_us, stolen }
    }
}
