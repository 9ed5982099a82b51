//! What an upgrade was like for members and visitors, as a line of the table in `docs/upgrades.md`.

use std::path::PathBuf;

use crate::checker::Verdict;
use crate::harness::{Journeys, Visits};

/// One line of the table.
pub(crate) fn report(
    order: u32,
    what: &str,
    verdict: &Verdict,
    journeys: &Journeys,
    visits: &Visits,
) {
    let mut pauses = journeys.pauses.clone();
    pauses.sort_by(f64::total_cmp);
    let median = pauses.get(pauses.len() / 2).copied().unwrap_or(0.0);
    let refused =
        |refusals: &std::collections::BTreeMap<u16, usize>| refusals.values().sum::<usize>();
    let line = format!(
        "| {what} | {} | {} | {} | {} | {median:.2} | {:.2} | {} | {:.2} | {} | {} |",
        verdict.sent,
        verdict.deliveries,
        pauses.len(),
        visits.welcomed,
        journeys.longest_pause(),
        refused(&journeys.refusals) + refused(&visits.refusals),
        visits.longest_wait,
        verdict.gaps + verdict.resets,
        verdict.undetected(),
    );
    println!("upgrade: {line}");
    println!(
        "upgrade: {what}: ends {:?}, refused {:?} and {:?}",
        journeys.ends, journeys.refusals, visits.refusals
    );
    if let Some(folder) = std::env::var_os("CLUSTER_RESULTS").map(PathBuf::from) {
        std::fs::create_dir_all(&folder).expect("a folder for the results");
        std::fs::write(folder.join(format!("{order:02}.upgrade")), line + "\n").expect("a result");
    }
}

/// Everybody was told before, and went by itself or was closed with 1012.
#[track_caller]
pub(crate) fn assert_documented(journeys: &Journeys) {
    assert_eq!(journeys.untold, 0, "{journeys:?}");
    assert!(journeys.ends.keys().all(|code| [1000, 1012].contains(code)), "{:?}", journeys.ends);
    assert_eq!(journeys.ends.len(), 2, "both ways: {:?}", journeys.ends);
}
