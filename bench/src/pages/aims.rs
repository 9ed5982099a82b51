//! What was aimed at, in one table, and whether it was reached.

use super::columns::{
    CPU, Column, DELIVERIES, JOIN_CPU, JOINS, MEGABYTES, MEMORY, P50, P99, P99_TIMES, PEAK_OF_BOUND,
};
use super::numbers::{Spread, of, peers, ratio, ratios, values};
use super::tables::{number, of_workload, times};
use crate::peers::Peer;
use crate::report::Run;

/// One thing that was aimed at.
struct Aim {
    workload: &'static str,
    what: &'static str,
    column: Column,
    of: Measure,
    wanted: Wanted,
}

/// What is measured of the column.
#[derive(Clone, Copy)]
enum Measure {
    /// The relay's own number.
    Own,
    /// The relay's as a multiple of a peer's.
    Against(Peer),
    /// The same with the best of the peers. The bare servers are none: they show what the kernel allows.
    AgainstTheBest,
    /// The relay's on two cores as a multiple of its own on one.
    OnTwoCores,
}

/// See [`Aim`].
#[derive(Clone, Copy)]
enum Wanted {
    AtLeast(f64),
    AtMost(f64),
}

const fn aim(
    (workload, what): (&'static str, &'static str),
    column: Column,
    of: Measure,
    wanted: Wanted,
) -> Aim {
    Aim { workload, what, column, of, wanted }
}

/// All that was aimed at before the relay was written. Where the length of a frame decides, the relay is
/// also compared with a bare server whose frames are as long.
const AIMS: [Aim; 24] = {
    use Measure::{Against, AgainstTheBest, OnTwoCores, Own};
    use Peer::{Bun, Epoll, EpollHeads, Uws};
    use Wanted::{AtLeast, AtMost};
    const MEMBER: &str = "bytes per idle member";
    const HEALTHY: &str = "p99 of those that read, against that without slow ones";
    const BOUND: &str = "most memory, against its bound";
    [
        aim(("W2", "deliveries/s"), DELIVERIES, Against(Bun), AtLeast(1.8)),
        aim(("W2", "deliveries/s"), DELIVERIES, Against(Uws), AtLeast(1.2)),
        aim(("W2", "deliveries/s"), DELIVERIES, Against(Epoll), AtLeast(1.0)),
        aim(("W2", "deliveries/s"), DELIVERIES, Against(EpollHeads), AtLeast(1.0)),
        aim(("W1", "deliveries/s"), DELIVERIES, OnTwoCores, AtLeast(1.7)),
        aim(("W1", "deliveries/s"), DELIVERIES, Against(Uws), AtLeast(1.0)),
        aim(("W1", "deliveries/s"), DELIVERIES, Against(Bun), AtLeast(1.0)),
        aim(("W1", "p99 meanwhile, µs"), P99, Own, AtMost(50_000.0)),
        aim(("W1-middle", "CPU per delivery"), CPU, Against(Uws), AtMost(1.05)),
        aim(("W1b", "deliveries/s"), DELIVERIES, Against(Epoll), AtLeast(1.0)),
        aim(("W1b", "deliveries/s"), DELIVERIES, Against(EpollHeads), AtLeast(1.0)),
        aim(("W3", "MB/s"), MEGABYTES, Against(Bun), AtLeast(2.0)),
        aim(("W3", "MB/s"), MEGABYTES, Against(Epoll), AtLeast(0.9)),
        aim(("W5", "p50"), P50, AgainstTheBest, AtMost(1.1)),
        aim(("W5", "p99"), P99, AgainstTheBest, AtMost(1.1)),
        aim(("W4", MEMBER), MEMORY, Own, AtMost(2048.0)),
        aim(("W4-pairs", MEMBER), MEMORY, Own, AtMost(2048.0)),
        aim(("W4-alone", MEMBER), MEMORY, Own, AtMost(2048.0)),
        aim(("W4-alone", "joins/s"), JOINS, Against(Bun), AtLeast(1.0)),
        aim(("W4-alone", "joins per second of CPU"), JOIN_CPU, Against(Bun), AtLeast(1.0)),
        aim(("W6", HEALTHY), P99_TIMES, Own, AtMost(1.2)),
        aim(("W6", BOUND), PEAK_OF_BOUND, Own, AtMost(1.0)),
        aim(("W6-flood", HEALTHY), P99_TIMES, Own, AtMost(1.2)),
        aim(("W6-flood", BOUND), PEAK_OF_BOUND, Own, AtMost(1.0)),
    ]
};

impl Wanted {
    /// "At least" is how many times better, "at most" is how many times as much.
    fn seen_from(self, better: Spread) -> Spread {
        match self {
            Self::AtLeast(_) => better,
            Self::AtMost(_) => Spread {
                median: better.median.recip(),
                low: better.high.recip(),
                high: better.low.recip(),
                ..better
            },
        }
    }

    fn text(self) -> String {
        match self {
            Self::AtLeast(bound) => format!("≥ {bound}"),
            Self::AtMost(bound) => format!("≤ {bound}"),
        }
    }

    /// The median decides. Where the bound is among the middle half of what was found, it might as well
    /// have come out the other way.
    fn verdict(self, found: Spread) -> &'static str {
        let (kept, bound) = match self {
            Self::AtLeast(bound) => (found.median >= bound, bound),
            Self::AtMost(bound) => (found.median <= bound, bound),
        };
        match (kept, found.low < bound && bound < found.high) {
            (true, false) => "kept",
            (true, true) => "kept, narrowly",
            (false, false) => "**missed**",
            (false, true) => "**missed**, narrowly",
        }
    }
}

impl Aim {
    /// What was found, and against whom if that is not known before.
    fn found(&self, one: &[&Run], two: &[&Run]) -> Option<(Spread, Option<Peer>)> {
        let (one, two) = (of_workload(one, self.workload), of_workload(two, self.workload));
        let against = |peer: Peer| ratio(&one, peer, &self.column);
        let (better, best) = match self.of {
            Measure::Own => {
                return Some((Spread::of(values(&one, Peer::Lethewire, &self.column))?, None));
            }
            Measure::Against(peer) => (against(peer)?, None),
            Measure::AgainstTheBest => {
                let peers = peers(&one).into_iter().filter(|peer| !peer.is_bare());
                let all = peers.filter_map(|peer| Some((against(peer)?, Some(peer))));
                all.min_by(|(one, _), (other, _)| one.median.total_cmp(&other.median))?
            }
            Measure::OnTwoCores => {
                let own = |runs| of(runs, Peer::Lethewire).collect::<Vec<_>>();
                (Spread::of(ratios(&own(&two), &own(&one), &self.column))?, None)
            }
        };
        Some((self.wanted.seen_from(better), best))
    }

    fn line(&self, one: &[&Run], two: &[&Run]) -> String {
        let found = self.found(one, two);
        let best = found.and_then(|(_, best)| best);
        let against = match self.of {
            Measure::Own => String::new(),
            Measure::Against(peer) => format!(", against {}", peer.title()),
            Measure::AgainstTheBest => {
                let name = best.map_or_else(String::new, |peer| format!(" ({})", peer.title()));
                format!(", against the best peer{name}")
            }
            Measure::OnTwoCores => ", two cores against one".into(),
        };
        let (text, count, verdict) = match found {
            None => ("–".into(), 0, "not measured"),
            Some((found, _)) => {
                let is_number = matches!(self.of, Measure::Own) && !self.column.is_times;
                let text = if is_number { number(found) } else { times(Some(found)) };
                (text, found.count, self.wanted.verdict(found))
            }
        };
        let Self { workload, what, wanted, .. } = self;
        format!(
            "| {workload} | {what}{against} | {} | {text} | {count} | {verdict} |\n",
            wanted.text()
        )
    }
}

/// The table of all that was aimed at.
pub(super) fn aims(one: &[&Run], two: &[&Run]) -> String {
    let lines: String = AIMS.iter().map(|aim| aim.line(one, two)).collect();
    format!(
        "\n## What was aimed at, and what was found\n\nOn one core of the server's unless two are \
         named. Where something is *against* something else, the numbers\nare multiples of it, over \
         pairs of runs made one after the other. *Narrowly*: what was wanted is within\nthe \
         brackets, so that another day may decide otherwise.\n\n\
         | | what | wanted | found | of | |\n|---|---|--:|--:|--:|---|\n{lines}"
    )
}

#[cfg(test)]
mod tests {
    use super::super::tests::run;
    use super::*;
    use crate::workload::{self, Size};

    fn line(runs: &[Run], workload: &str, part: &str) -> String {
        let (one, two): (Vec<&Run>, Vec<&Run>) =
            runs.iter().partition(|run| run.session.cores == "0");
        let page = aims(&one, &two);
        let found = page
            .lines()
            .find(|line| line.starts_with(&format!("| {workload} |")) && line.contains(part));
        found.unwrap().to_owned()
    }

    #[test]
    fn each_is_about_a_workload_of_those_that_are_run_and_a_peer_that_takes_part() {
        let all = workload::all(Size::Full);
        for aim in &AIMS {
            let workload = all.iter().find(|workload| workload.name == aim.workload).unwrap();
            match aim.of {
                Measure::Against(peer) => {
                    assert!(workload.peers().contains(&peer), "{}", aim.workload);
                }
                Measure::OnTwoCores => assert!(workload.has_two_cores(), "{}", aim.workload),
                Measure::Own | Measure::AgainstTheBest => {}
            }
        }
    }

    #[test]
    fn kept_missed_and_neither() {
        let pair = |number, own, other| {
            [run("W2", Peer::Lethewire, number, own), run("W2", Peer::Bun, number, other)]
        };
        let kept = [pair(0, 200.0, 100.0), pair(16, 95.0, 50.0), pair(32, 400.0, 200.0)].concat();
        let found = line(&kept, "W2", "against Bun");
        assert_eq!(
            found,
            "| W2 | deliveries/s, against Bun | ≥ 1.8 | 2.00 (1.90–2.00) | 3 | kept |"
        );
        let missed = [pair(0, 170.0, 100.0), pair(16, 95.0, 50.0), pair(32, 100.0, 100.0)].concat();
        let found = line(&missed, "W2", "against Bun");
        assert!(found.ends_with("| 1.70 (1.00–1.90) | 3 | **missed**, narrowly |"), "{found}");
        assert!(line(&missed, "W2", "uWebSockets").ends_with("| – | 0 | not measured |"));
    }

    #[test]
    fn at_most_counts_the_other_way_round() {
        // `run` says that a delivery costs as much as there are of them.
        let runs =
            [run("W1-middle", Peer::Lethewire, 0, 110.0), run("W1-middle", Peer::Uws, 0, 100.0)];
        let found = line(&runs, "W1-middle", "CPU");
        assert!(found.ends_with("| ≤ 1.05 | 1.10 | 1 | **missed** |"), "{found}");
    }

    #[test]
    fn the_best_peer_is_no_bare_server() {
        let runs = [
            run("W5", Peer::Lethewire, 0, 30.0),
            run("W5", Peer::Epoll, 0, 10.0),
            run("W5", Peer::Bun, 0, 25.0),
            run("W5", Peer::Uws, 0, 29.0),
        ];
        let found = line(&runs, "W5", "p50");
        assert!(found.contains("the best peer (Bun) | ≤ 1.1 | 1.20 | 1 | **missed**"), "{found}");
    }

    #[test]
    fn two_cores_are_held_against_one() {
        let mut runs =
            vec![run("W1", Peer::Lethewire, 0, 100.0), run("W1", Peer::Lethewire, 0, 180.0)];
        runs[1].session.cores = "0,1".into();
        let found = line(&runs, "W1", "two cores");
        assert!(found.ends_with("| ≥ 1.7 | 1.80 | 1 | kept |"), "{found}");
    }

    #[test]
    fn slow_ones_are_held_against_the_same_run_without_them() {
        let mut runs =
            [run("W6", Peer::Lethewire, 0, 300.0), run("W6", Peer::Lethewire, 16, 110.0)];
        // The machine was three times as slow in the first pair.
        (runs[0].found.p99_us_without, runs[1].found.p99_us_without) = (300.0, 100.0);
        let found = line(&runs, "W6", "p99");
        assert!(found.ends_with("| ≤ 1.2 | 1.05 (1.00–1.10) | 2 | kept |"), "{found}");
    }
}
