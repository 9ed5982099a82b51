//! What is made of several runs: medians, ranges, ratios of runs that were made one after the other.

use super::columns::Column;
use crate::peers::Peer;
use crate::report::Run;

/// The servers of these runs.
pub(super) fn peers(runs: &[&Run]) -> Vec<Peer> {
    let mut peers: Vec<Peer> = runs.iter().map(|run| run.peer).collect();
    peers.sort_unstable();
    peers.dedup();
    peers
}

/// The runs of one server that did not fail.
pub(super) fn of<'r>(runs: &'r [&Run], peer: Peer) -> impl Iterator<Item = &'r Run> {
    runs.iter().copied().filter(move |run| run.peer == peer && run.failure.is_none())
}

/// A column's numbers of one server.
pub(super) fn values(runs: &[&Run], peer: Peer, column: &Column) -> Vec<f64> {
    of(runs, peer).map(|run| (column.value)(&run.found)).collect()
}

/// The middle of some numbers, and where most of them are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Spread {
    pub(super) median: f64,
    /// The quartiles, between which the middle half is; of fewer than [`FEW`], the least and the most.
    pub(super) low: f64,
    pub(super) high: f64,
    pub(super) count: usize,
}

/// Of fewer numbers than this, quartiles would hide most.
const FEW: usize = 5;

impl Spread {
    /// Of these numbers; none if there are none.
    pub(super) fn of(mut values: Vec<f64>) -> Option<Self> {
        values.sort_unstable_by(f64::total_cmp);
        let (least, most) = (*values.first()?, *values.last()?);
        let is_few = values.len() < FEW;
        Some(Self {
            median: quantile(&values, 0.5),
            low: if is_few { least } else { quantile(&values, 0.25) },
            high: if is_few { most } else { quantile(&values, 0.75) },
            count: values.len(),
        })
    }
}

/// A quantile of sorted numbers, between two of them in proportion; zero if there are none.
fn quantile(sorted: &[f64], at: f64) -> f64 {
    let place = at * sorted.len().saturating_sub(1) as f64;
    let number = |place: f64| sorted.get(place as usize).copied().unwrap_or_default();
    let (below, above) = (number(place.floor()), number(place.ceil()));
    below + (above - below) * place.fract()
}

/// How many times better the relay is than this peer, over pairs of neighbours.
pub(super) fn ratio(runs: &[&Run], peer: Peer, column: &Column) -> Option<Spread> {
    if peer == Peer::Lethewire {
        return None;
    }
    let own: Vec<&Run> = of(runs, Peer::Lethewire).collect();
    let other: Vec<&Run> = of(runs, peer).collect();
    Spread::of(ratios(&own, &other, column))
}

/// How many times better some runs are than others, for each pair of one number.
pub(super) fn ratios(own: &[&Run], other: &[&Run], column: &Column) -> Vec<f64> {
    let ratio = |other: &&Run| {
        let own = own.iter().find(|run| run.number == other.number)?;
        let (own, other) = ((column.value)(&own.found), (column.value)(&other.found));
        let (better, worse) = if column.more_is_better { (own, other) } else { (other, own) };
        // A clock of hundredths of a second may say that a run cost nothing, which is no ratio.
        (better > 0.0 && worse > 0.0).then(|| better / worse)
    };
    other.iter().filter_map(ratio).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_median_is_in_the_middle() {
        let median = |values: &[f64]| Spread::of(values.into()).unwrap().median;
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
        assert_eq!(median(&[1.0]), 1.0);
        assert_eq!(Spread::of(vec![]), None);
    }

    #[test]
    fn around_it_are_quartiles_or_all_where_there_are_few() {
        let around = |values: &[f64]| {
            let spread = Spread::of(values.into()).unwrap();
            assert_eq!(spread.count, values.len());
            (spread.low, spread.high)
        };
        assert_eq!(around(&[5.0, 1.0, 2.0, 3.0, 4.0]), (2.0, 4.0));
        assert_eq!(around(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]), (2.25, 4.75));
        // One that the machine spoilt changes nothing.
        assert_eq!(around(&[900.0, 1.0, 2.0, 3.0, 4.0]), (2.0, 4.0));
        assert_eq!(around(&[4.0, 1.0, 2.0, 3.0]), (1.0, 4.0));
        assert_eq!(around(&[7.0]), (7.0, 7.0));
    }

    #[test]
    fn ratios_are_of_neighbours_and_above_one_where_the_relay_is_better() {
        use super::super::columns::{CPU, DELIVERIES};
        use super::super::tests::run;
        // The machine is half as fast in the second pair; each ratio is 2 all the same.
        let runs = [
            run("W1", Peer::Lethewire, 0, 200.0),
            run("W1", Peer::Bun, 0, 100.0),
            run("W1", Peer::Bun, 16, 50.0),
            run("W1", Peer::Lethewire, 16, 100.0),
            run("W1", Peer::Bun, 48, 0.0),
            run("W1", Peer::Lethewire, 48, 100.0),
            // No neighbours.
            run("W1", Peer::Bun, 32, 1.0),
            run("W1", Peer::Lethewire, 33, 900.0),
        ];
        let runs: Vec<&Run> = runs.iter().collect();
        let faster = ratio(&runs, Peer::Bun, &DELIVERIES).unwrap();
        assert_eq!((faster.median, faster.low, faster.high, faster.count), (2.0, 2.0, 2.0, 2));
        // `run` says that a delivery costs as much as there are of them.
        assert_eq!(ratio(&runs, Peer::Bun, &CPU).unwrap().median, 0.5);
        assert_eq!(ratio(&runs, Peer::Lethewire, &CPU), None);
        assert_eq!(ratio(&runs, Peer::Uws, &CPU), None);
    }
}
