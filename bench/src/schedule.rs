//! Which runs are made in which order, one after the other, and what is written of each. A server
//! that fails is written down as such, and the others go on.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Instant;

use crate::Fault;
use crate::measure::{Found, Place};
use crate::peers::{Peer, Places};
use crate::report::{Run, Session, key};
use crate::workload::{self, Size, Workload};

/// One run to make.
#[derive(Clone, Debug)]
pub struct Step {
    /// What is asked.
    pub workload: Workload,
    /// Of whom.
    pub peer: Peer,
    /// On which cores.
    pub cores: String,
    /// Runs of one number were made one after the other: see [`Round`].
    pub number: u32,
}

/// Cores of one run, and of those that have two.
#[derive(Clone, Debug)]
pub struct Cores {
    /// One.
    pub one: String,
    /// Two.
    pub two: String,
}

/// How many groups a round can have at most; what numbers are made of.
const GROUPS_MAX: u32 = 16;

/// Those that the relay is compared with in one round of a workload, each with its cores.
///
/// A machine that others use too is faster in one half minute and slower in the next, so that only
/// neighbours can be compared. A round is made of groups of three, the relay in the middle, each with a
/// number of its own. From round to round another one begins, and once all have begun it goes the other
/// way round, so that nobody is always the one that runs before the relay, or behind it.
struct Round<'a> {
    workload: &'a Workload,
    /// The relay's cores, if it takes part.
    relay: Option<&'a str>,
    rivals: Vec<(Peer, &'a str)>,
    round: u32,
}

impl Round<'_> {
    fn steps(mut self) -> Vec<Step> {
        let count = self.rivals.len().max(1);
        let (begin, is_turned) =
            (self.round as usize % count, self.round as usize / count % 2 == 1);
        self.rivals.rotate_left(begin);
        let Some(relay) = self.relay else {
            return self.rivals.iter().map(|rival| self.step(*rival, 0)).collect();
        };
        let own = (Peer::Lethewire, relay);
        if self.rivals.is_empty() {
            return vec![self.step(own, 0)];
        }
        let mut steps = Vec::new();
        for (group, rivals) in (0..).zip(self.rivals.chunks(2)) {
            let mut of_it = match *rivals {
                [before, behind] => vec![before, own, behind],
                _ => [&[own], rivals].concat(),
            };
            if is_turned {
                of_it.reverse();
            }
            steps.extend(of_it.into_iter().map(|one| self.step(one, group)));
        }
        steps
    }

    fn step(&self, (peer, cores): (Peer, &str), group: u32) -> Step {
        Step {
            workload: self.workload.clone(),
            peer,
            cores: cores.into(),
            number: self.round * GROUPS_MAX + group,
        }
    }
}

impl Step {
    /// Whether it is of every other round, where a step of two runs makes them the other way round.
    const fn is_turned(&self) -> bool {
        self.number / GROUPS_MAX % 2 == 1
    }
}

/// Workloads in turns over these servers.
pub fn turns(workloads: &[Workload], peers: &[Peer], cores: &str, rounds: u32) -> Vec<Step> {
    let relay = peers.contains(&Peer::Lethewire).then_some(cores);
    let rivals = peers.iter().filter(|peer| **peer != Peer::Lethewire);
    let rivals: Vec<(Peer, &str)> = rivals.map(|peer| (*peer, cores)).collect();
    let mut steps = Vec::new();
    for workload in workloads {
        for round in 0..rounds {
            steps.extend(Round { workload, relay, rivals: rivals.clone(), round }.steps());
        }
    }
    steps
}

/// All of BENCHMARKS.md: each workload on the servers that take part in it, the relay on two cores as
/// one of those that the relay on one is compared with, and the growth series. A round of all of it,
/// then the next, so that the rounds of one workload are far apart and what is there after any round is
/// whole.
pub fn full(peers: &[Peer], cores: &Cores, rounds: u32) -> Vec<Step> {
    let growth = workload::growth().into_iter().flat_map(|(_, points)| points).map(|(_, it)| it);
    let all: Vec<Workload> = workload::all(Size::Full).into_iter().chain(growth).collect();
    let relay = peers.contains(&Peer::Lethewire).then_some(cores.one.as_str());
    let mut steps = Vec::new();
    for round in 0..rounds {
        for workload in &all {
            let takes_part = |peer: &&Peer| {
                peers.contains(peer)
                    && **peer != Peer::Lethewire
                    && round < workload.rounds(**peer, rounds)
            };
            let mut rivals: Vec<(Peer, &str)> = workload
                .peers()
                .iter()
                .filter(takes_part)
                .map(|peer| (*peer, cores.one.as_str()))
                .collect();
            if relay.is_some() && workload.has_two_cores() {
                rivals.push((Peer::Lethewire, &cores.two));
            }
            let relay = relay.filter(|_| round < workload.rounds(Peer::Lethewire, rounds));
            if relay.is_some() || !rivals.is_empty() {
                steps.extend(Round { workload, relay, rivals, round }.steps());
            }
        }
    }
    steps
}

/// What is needed to make runs.
#[derive(Debug)]
pub struct Maker<'a> {
    /// Where things are.
    pub places: &'a Places,
    /// When and where; the cores are each step's.
    pub session: Session,
    /// Threads of the generator.
    pub threads: u32,
    /// How long and how large.
    pub size: Size,
    /// Runs with fewer deliveries per second fail.
    pub at_least: f64,
    /// Where results are added.
    pub results: Option<&'a Path>,
}

impl Maker<'_> {
    /// Makes all runs but those that `done` has, and says which servers failed.
    ///
    /// # Errors
    ///
    /// The file of results cannot be written.
    pub fn make(&self, mut steps: Vec<Step>, done: &[Run]) -> Result<BTreeSet<Peer>, Fault> {
        let done: BTreeSet<_> = done.iter().filter(|run| run.failure.is_none()).map(key).collect();
        let missing = self.missing(&steps);
        steps.retain(|step| !missing.contains_key(&step.peer));
        steps.retain(|step| {
            let name = step.workload.name.clone();
            !done.contains(&(name, step.cores.clone(), step.peer, step.number))
        });
        let mut session = self.session.clone();
        session.versions =
            steps.iter().map(|step| (step.peer, step.peer.version(self.places))).collect();
        session
            .versions
            .extend(missing.iter().map(|(peer, why)| (*peer, format!("left out: {why}"))));
        let mut failed = BTreeSet::new();
        let begun = Instant::now();
        for (i, step) in steps.iter().enumerate() {
            let run = self.run(step, &session);
            let left =
                begun.elapsed().as_secs_f64() / (i + 1) as f64 * (steps.len() - i - 1) as f64;
            println!("[{}/{}, {:.0} min left] {}", i + 1, steps.len(), left / 60.0, run.line());
            if run.failure.is_some() {
                failed.insert(step.peer);
            }
            if let Some(file) = self.results {
                run.append_to(file)?;
            }
        }
        Ok(failed)
    }

    /// The servers that cannot be measured here, and why.
    fn missing(&self, steps: &[Step]) -> BTreeMap<Peer, String> {
        let peers: BTreeSet<Peer> = steps.iter().map(|step| step.peer).collect();
        let missing: BTreeMap<Peer, String> =
            peers.into_iter().filter_map(|peer| Some((peer, peer.missing(self.places)?))).collect();
        for (peer, why) in &missing {
            println!("left out: {}: {why}", peer.title());
        }
        missing
    }

    fn run(&self, step: &Step, session: &Session) -> Run {
        let place = Place {
            peer: step.peer,
            places: self.places,
            cores: &step.cores,
            threads: self.threads,
            has_slow: step.workload.has_slow(),
        };
        let made = step.workload.run(place, self.size, step.is_turned());
        let (found, failure) = match made {
            Ok(found) if found.deliveries_per_s < self.at_least => {
                let got = found.deliveries_per_s;
                (found, Some(format!("{got:.0} deliveries/s are too few")))
            }
            Ok(found) => (found, None),
            Err(e) => (Found::default(), Some(e.to_string())),
        };
        Run {
            session: Session { cores: step.cores.clone(), ..session.clone() },
            workload: step.workload.clone(),
            peer: step.peer,
            number: step.number,
            found,
            failure,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(steps: &[Step], workload: &str) -> Vec<(u32, Peer, String)> {
        let of_it = steps.iter().filter(|step| step.workload.name == workload);
        of_it.map(|step| (step.number, step.peer, step.cores.clone())).collect()
    }

    #[test]
    fn each_is_a_neighbour_of_the_relay_and_nobody_always_begins() {
        use Peer::{Bun, Epoll, Lethewire, Uws};
        let cores = Cores { one: "0".into(), two: "0,1".into() };
        let steps = full(&[Lethewire, Epoll, Uws, Bun], &cores, 9);
        let w1 = order(&steps, "W1");
        let first: Vec<_> = w1.iter().take(12).map(|(at, peer, on)| (*at, *peer, &**on)).collect();
        assert_eq!(
            first,
            [
                (0, Epoll, "0"),
                (0, Lethewire, "0"),
                (0, Uws, "0"),
                (1, Bun, "0"),
                (1, Lethewire, "0"),
                (1, Lethewire, "0,1"),
                (16, Uws, "0"),
                (16, Lethewire, "0"),
                (16, Bun, "0"),
                (17, Lethewire, "0,1"),
                (17, Lethewire, "0"),
                (17, Epoll, "0"),
            ]
        );
        let places = |workload: &str, peer: Peer| {
            let steps = order(&steps, workload);
            let relay = |at: u32| {
                let mut steps = steps.iter();
                steps.position(|(number, peer, on)| {
                    *number == at && *peer == Lethewire && *on == cores.one
                })
            };
            let of_it = steps.iter().enumerate().filter(|(_, step)| step.1 == peer);
            of_it.map(|(i, step)| (i, relay(step.0).unwrap())).collect::<Vec<_>>()
        };
        for (workload, peer) in [("W1", Epoll), ("W1", Bun), ("W5", Epoll), ("W6", Uws)] {
            let places = places(workload, peer);
            assert_eq!(places.len(), 9, "{workload}");
            assert!(places.iter().all(|(own, relay)| own.abs_diff(*relay) == 1), "{workload}");
            let before = places.iter().filter(|(own, relay)| own < relay).count();
            assert!((3..=6).contains(&before), "{workload}: {before} of 9 before the relay");
        }
    }

    #[test]
    fn what_nothing_was_aimed_at_is_run_less_often() {
        let cores = Cores { one: "0".into(), two: "0,1".into() };
        let steps = full(&[Peer::Lethewire, Peer::Epoll, Peer::Ws], &cores, 9);
        let count = |name: &str, peer: Peer| {
            order(&steps, name).iter().filter(|(_, of, on)| *of == peer && *on == "0").count()
        };
        assert_eq!(count("W1-middle", Peer::Epoll), 9);
        assert_eq!(count("W1-middle", Peer::Ws), 1);
        assert_eq!(count("W5", Peer::Ws), 9);
        assert_eq!(count("W2-all", Peer::Epoll), 3);
        assert_eq!(count("G-rooms-9000", Peer::Epoll), 3);
        assert!(steps.iter().all(|step| step.peer != Peer::Bun));
        assert!(steps.is_sorted_by_key(|step| step.number / GROUPS_MAX));
    }

    #[test]
    fn without_the_relay_the_others_take_turns() {
        let w1 = &workload::all(Size::Full)[..1];
        let steps = turns(w1, &[Peer::Epoll, Peer::Bun], "0", 2);
        let peers: Vec<Peer> = steps.iter().map(|step| step.peer).collect();
        assert_eq!(peers, [Peer::Epoll, Peer::Bun, Peer::Bun, Peer::Epoll]);
        assert_eq!(turns(w1, &[Peer::Lethewire], "0", 3).len(), 3);
    }
}
