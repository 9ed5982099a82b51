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

/// How many times better the relay is than this peer, over pairs of runs of one number.
pub(super) fn ratio(runs: &[&Run], peer: Peer, column: &Column) -> Option<f64> {
    if peer == Peer::Lethewire {
        return None;
    }
    let own: Vec<&Run> = of(runs, Peer::Lethewire).collect();
    let other: Vec<&Run> = of(runs, peer).collect();
    ratio_of(&own, &other, column)
}

/// How many times better some runs are than others, over pairs of one number.
pub(super) fn ratio_of(own: &[&Run], other: &[&Run], column: &Column) -> Option<f64> {
    let mut ratios: Vec<f64> = other
        .iter()
        .filter_map(|other| {
            let own = own.iter().find(|run| run.number == other.number)?;
            let (own, other) = ((column.value)(&own.found), (column.value)(&other.found));
            let (better, worse) = if column.more_is_better { (own, other) } else { (other, own) };
            (worse > 0.0).then(|| better / worse)
        })
        .collect();
    (!ratios.is_empty()).then(|| median(&mut ratios))
}

pub(super) fn median(values: &mut [f64]) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.get(middle.saturating_sub(1)..=middle) {
        Some([low, high]) if values.len().is_multiple_of(2) => f64::midpoint(*low, *high),
        _ => values.get(middle).copied().unwrap_or(0.0),
    }
}

pub(super) fn range(values: &[f64]) -> (f64, f64) {
    (values.iter().copied().fold(f64::MAX, f64::min), values.iter().copied().fold(0.0, f64::max))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_median_is_in_the_middle() {
        assert_eq!(median(&mut [3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&mut [4.0, 1.0, 2.0, 3.0]), 2.5);
        assert_eq!(median(&mut [1.0]), 1.0);
    }
}
