//! Which runs are made in which order, one after the other, and what is written of each. A server
//! that fails is written down as such, and the others go on.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Instant;

use crate::Fault;
use crate::measure::Found;
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
    /// Runs of one number are made one after the other.
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

/// Workloads in turns over these servers.
pub fn turns(workloads: &[Workload], peers: &[Peer], cores: &str, runs: u32) -> Vec<Step> {
    let mut steps = Vec::new();
    for workload in workloads {
        for number in 0..runs {
            steps.extend(peers.iter().map(|peer| Step {
                workload: workload.clone(),
                peer: *peer,
                cores: cores.into(),
                number,
            }));
        }
    }
    steps
}

/// All of BENCHMARKS.md: each workload on the servers that take part in it, the relay on two cores
/// right behind the relay on one, and the growth series. All of it once, then all of it again, so that
/// the runs of one workload are far apart and what is there after any round is whole.
pub fn full(peers: &[Peer], cores: &Cores, runs: u32) -> Vec<Step> {
    let growth = workload::growth().into_iter().flat_map(|(_, points)| points).map(|(_, it)| it);
    let mut steps = Vec::new();
    for workload in workload::all(Size::Full).into_iter().chain(growth) {
        let taking_part: Vec<Peer> =
            workload.peers().iter().copied().filter(|peer| peers.contains(peer)).collect();
        for step in turns(&[workload], &taking_part, &cores.one, runs) {
            let has_two = step.peer == Peer::Lethewire && step.workload.has_two_cores();
            steps.push(step.clone());
            if has_two {
                steps.push(Step { cores: cores.two.clone(), ..step });
            }
        }
    }
    steps.sort_by_key(|step| step.number);
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
        let made = step.workload.run(step.peer, self.places, &step.cores, self.threads, self.size);
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

    #[test]
    fn the_relay_on_two_cores_comes_right_behind_the_relay_on_one() {
        let cores = Cores { one: "0".into(), two: "0,1".into() };
        let steps = full(&[Peer::Lethewire, Peer::Epoll], &cores, 2);
        let of_w1: Vec<_> = steps
            .iter()
            .filter(|step| step.workload.name == "W1")
            .map(|step| (step.number, step.peer, step.cores.as_str()))
            .collect();
        let turn = |number| {
            [
                (number, Peer::Lethewire, "0"),
                (number, Peer::Lethewire, "0,1"),
                (number, Peer::Epoll, "0"),
            ]
        };
        assert_eq!(of_w1, [turn(0), turn(1)].concat());
        assert!(steps.iter().any(|step| step.workload.name == "G-rooms-9000"));
        assert!(steps.iter().all(|step| step.peer != Peer::Bun));
    }
}
