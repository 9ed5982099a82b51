//! A table and a drawing for each workload, and the relay on two cores beside the relay on one.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use super::capitalized;
use super::columns::{BUSY, CPU, Column, DELIVERIES, JOIN_CPU, JOINS, columns};
use super::notes::Notes;
use super::numbers::{Spread, of, peers, ratio, ratios, values};
use crate::Fault;
use crate::peers::Peer;
use crate::plot::{self, Bar, short};
use crate::report::Run;
use crate::workload::{self, Kind, Size};

/// All workloads that were run on one core.
pub(super) fn tables(runs: &[&Run], notes: &Notes, drawings: &Path) -> Result<String, Fault> {
    let mut page = String::new();
    for workload in workload::all(Size::Full) {
        let of_it = of_workload(runs, &workload.name);
        if of_it.is_empty() {
            continue;
        }
        let columns = columns(&workload);
        let file = format!("{}.svg", workload.name.to_lowercase());
        let _ = write!(page, "\n### {}\n\n{}.\n\n", workload.name, capitalized(&workload.about));
        page.push_str(&table(&of_it, &columns));
        page.push_str(&failures(&of_it));
        if let Some(main) = columns.first() {
            let title = format!("{}: {}", workload.name, main.title);
            fs::write(drawings.join(&file), plot::bars(&title, &bars(&of_it, main)))?;
            let _ = write!(page, "\n![{title}](docs/bench/{file})\n");
        }
        page.push_str(&notes.of(&workload.name));
    }
    Ok(page)
}

pub(super) fn of_workload<'r>(runs: &[&'r Run], workload: &str) -> Vec<&'r Run> {
    runs.iter().filter(|run| run.workload.name == workload).copied().collect()
}

fn table(runs: &[&Run], columns: &[Column]) -> String {
    let mut page = String::from("| server |");
    for column in columns {
        let _ = write!(page, " {} |", column.title);
        if column.has_ratio {
            page.push_str(" ratio |");
        }
    }
    page.push_str("\n|---|");
    for column in columns {
        page.push_str(if column.has_ratio { "--:|--:|" } else { "--:|" });
    }
    page.push('\n');
    for peer in peers(runs) {
        let _ = write!(page, "| {} |", peer.title());
        for column in columns {
            let _ = write!(page, " {} |", cell(values(runs, peer, column), column));
            if column.has_ratio {
                let _ = write!(page, " {} |", times(ratio(runs, peer, column)));
            }
        }
        page.push('\n');
    }
    page
}

/// The median, and what is around it.
fn cell(values: Vec<f64>, column: &Column) -> String {
    let is_zero = values.iter().all(|value| *value <= 0.0);
    match Spread::of(values) {
        None => "–".into(),
        Some(_) if is_zero => column.zero.into(),
        spread if column.is_times => times(spread),
        Some(spread) => number(spread),
    }
}

/// A number of its own, and what is around it.
pub(super) fn number(Spread { median, low, high, count }: Spread) -> String {
    if count == 1 {
        return short(median);
    }
    format!("{} ({}–{})", short(median), short(low), short(high))
}

/// A multiple of something else, and what is around it.
pub(super) fn times(ratio: Option<Spread>) -> String {
    match ratio {
        None => "–".into(),
        Some(Spread { median, count: 1, .. }) => format!("{median:.2}"),
        Some(Spread { median, low, high, .. }) => format!("{median:.2} ({low:.2}–{high:.2})"),
    }
}

/// A line for each server that failed, with the last reason.
fn failures(runs: &[&Run]) -> String {
    let mut page = String::new();
    for peer in peers(runs) {
        let all: Vec<_> = runs.iter().filter(|run| run.peer == peer).collect();
        let failed: Vec<&String> = all.iter().filter_map(|run| run.failure.as_ref()).collect();
        if let Some(why) = failed.last() {
            let (title, failed, all) = (peer.title(), failed.len(), all.len());
            // What a server says must not become part of the page's own text.
            let why = why.replace(['`', '\n', '\r'], " ");
            let _ = write!(page, "\n{title} failed in {failed} of {all} runs: `{why}`.\n");
        }
    }
    page
}

fn bars(runs: &[&Run], column: &Column) -> Vec<Bar> {
    let bar = |peer: Peer| {
        let Spread { median, low, high, .. } = Spread::of(values(runs, peer, column))?;
        Some(Bar { label: peer.title().into(), range: (low, high), median })
    };
    peers(runs).into_iter().filter_map(bar).collect()
}

/// The relay on two cores, and how many times better that is than one.
pub(super) fn scaling(one: &[&Run], two: &[&Run]) -> String {
    let mut page = String::new();
    for workload in workload::all(Size::Full) {
        let (one, two) = (of_workload(one, &workload.name), of_workload(two, &workload.name));
        let own =
            |runs: &[&Run], column: &Column| cell(values(runs, Peer::Lethewire, column), column);
        let (speed, cost) = match workload.kind {
            Kind::Talk(_) => (&DELIVERIES, &CPU),
            _ => (&JOINS, &JOIN_CPU),
        };
        if of(&one, Peer::Lethewire).count() == 0 || of(&two, Peer::Lethewire).count() == 0 {
            continue;
        }
        let better = |column: &Column| {
            let own: Vec<&Run> = of(&two, Peer::Lethewire).collect();
            let other: Vec<&Run> = of(&one, Peer::Lethewire).collect();
            times(Spread::of(ratios(&own, &other, column)))
        };
        let _ = writeln!(
            page,
            "| {} | {} | {} | {} | {} | {} | {} | {} |",
            workload.name,
            own(&one, speed),
            own(&two, speed),
            better(speed),
            own(&one, cost),
            own(&two, cost),
            better(cost),
            own(&two, &BUSY)
        );
    }
    if page.is_empty() {
        return page;
    }
    format!(
        "\n## Two cores against one\n\nThe relay alone; per second and each are deliveries, in W7 \
         joins. *Times* is how many times better two\ncores are, over pairs of runs made one after \
         the other.\n\n\
         | | per second, one core | two cores | times | CPU each, one core, µs | two cores | times | \
         cores busy of two |\n|---|--:|--:|--:|--:|--:|--:|--:|\n{page}"
    )
}
