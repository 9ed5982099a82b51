//! The growth series: a drawing and a table each.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use super::capitalized;
use super::notes::Notes;
use super::numbers::{Spread, of, peers};
use crate::Fault;
use crate::peers::Peer;
use crate::plot::{self, Line, short};
use crate::report::Run;
use crate::workload::{self, Workload};

/// All series that were run.
pub(super) fn growth(runs: &[&Run], notes: &Notes, drawings: &Path) -> Result<String, Fault> {
    let mut page = String::new();
    for (name, points) in workload::growth() {
        let of_it: Vec<&Run> = runs
            .iter()
            .copied()
            .filter(|run| points.iter().any(|(_, point)| point.name == run.workload.name))
            .collect();
        if of_it.is_empty() {
            continue;
        }
        let series: Vec<Line> =
            peers(&of_it).into_iter().map(|peer| line(&of_it, peer, &points)).collect();
        let title = format!("CPU per delivery in µs, against {}", about(name));
        let file = format!("growth-{name}.svg");
        fs::write(drawings.join(&file), plot::lines("CPU per delivery, µs", about(name), &series))?;
        let heading = capitalized(about(name));
        let _ = write!(page, "\n### {heading}\n\n![{title}](docs/bench/{file})\n\n| |");
        for line in &series {
            let _ = write!(page, " {} |", line.label);
        }
        let _ = write!(page, "\n|--:|{}\n", "--:|".repeat(series.len()));
        for (x, _) in &points {
            let _ = write!(page, "| {x} |");
            for line in &series {
                let value = line.points.iter().find(|point| point.0 == f64::from(*x));
                let text = value.map_or_else(|| "–".into(), |(_, y)| short(*y));
                let _ = write!(page, " {text} |");
            }
            page.push('\n');
        }
        page.push_str(&notes.of(&format!("growth-{name}")));
    }
    let head =
        "\n## Growth\n\nThe server's CPU for one delivery, in microseconds, as one thing grows.\n";
    Ok(if page.is_empty() { page } else { format!("{head}{page}") })
}

fn about(series: &str) -> &'static str {
    match series {
        "members" => "members of a room, 1000 in all",
        "rooms" => "rooms of two",
        _ => "bytes of a message, 100 rooms of 10",
    }
}

fn line(runs: &[&Run], peer: Peer, points: &[(u32, Workload)]) -> Line {
    let points = points.iter().filter_map(|(x, workload)| {
        let runs = of(runs, peer).filter(|run| run.workload.name == workload.name);
        let cost = Spread::of(runs.map(|run| run.found.cpu_us_per_delivery).collect())?.median;
        // A clock of hundredths of a second may say that a short run cost nothing.
        (cost > 0.0).then(|| (f64::from(*x), cost))
    });
    Line { label: peer.title().into(), points: points.collect() }
}
