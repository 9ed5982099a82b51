//! BENCHMARKS.md and its drawings, made from runs.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use crate::Fault;
use crate::peers::Peer;
use crate::plot::{self, Bar, Line, short};
use crate::report::{Run, Session};
use crate::workload::{self, Found, Kind, Talk, Workload};

/// A column of a table: its heading, where its value is, and whether more is better, which decides
/// which way round a ratio is.
struct Column {
    title: &'static str,
    value: fn(&Found) -> f64,
    more_is_better: bool,
    has_ratio: bool,
}

const fn column(title: &'static str, value: fn(&Found) -> f64, more_is_better: bool) -> Column {
    Column { title, value, more_is_better, has_ratio: true }
}

const fn without_ratio(column: Column) -> Column {
    Column { has_ratio: false, ..column }
}

const DELIVERIES: Column = column("deliveries/s", |found| found.deliveries_per_s, true);
const MEGABYTES: Column = column("MB/s", |found| found.megabytes_per_s, true);
const CPU: Column = column("CPU per delivery, µs", |found| found.cpu_us_per_delivery, false);
const BUSY: Column = without_ratio(column("cores busy", |found| found.cpu_cores, false));
const P50: Column = column("p50, µs", |found| found.p50_us, false);
const P99: Column = column("p99, µs", |found| found.p99_us, false);
const JOINS: Column = column("joins/s", |found| found.joins_per_s, true);
const JOIN_CPU: Column = column("CPU per join, µs", |found| found.cpu_us_per_join, false);
const MEMORY: Column = column("bytes per member", |found| found.bytes_per_connection, false);
const RESIDENT: Column = without_ratio(column("resident, MiB", |found| found.resident_mib, false));
const DEAF: Column =
    without_ratio(column("slow ones closed", |found| found.deaf_closed as f64, true));

fn columns(workload: &Workload) -> Vec<Column> {
    match workload.kind {
        Kind::Idle(..) => vec![MEMORY, JOINS, JOIN_CPU, RESIDENT],
        Kind::Churn(..) => vec![JOINS, JOIN_CPU, RESIDENT],
        Kind::Talk(Talk { rooms: 1, senders: 1, .. }) => vec![P50, P99, CPU],
        Kind::Talk(Talk { deaf_one_in: 1.., .. }) => vec![P50, P99, CPU, RESIDENT, DEAF],
        Kind::Talk(Talk { deliveries_per_s: 1.., .. }) => vec![CPU, P50, P99],
        Kind::Talk(Talk { payload: 4096.., .. }) => vec![MEGABYTES, CPU, BUSY, P99],
        Kind::Talk(_) => vec![DELIVERIES, CPU, BUSY, P99],
    }
}

/// Writes BENCHMARKS.md and the drawings in `docs/bench/`.
///
/// # Errors
///
/// A file's, or there are no runs.
pub fn write(runs: &[Run], root: &Path) -> Result<(), Fault> {
    let last = &runs.last().ok_or("there are no runs")?.session;
    let drawings = root.join("docs/bench");
    fs::create_dir_all(&drawings)?;
    let mut page = introduction(last, runs);
    for (set, title) in
        [(by_cores(runs, 1), "## On one core"), (by_cores(runs, 2), "## On two cores")]
    {
        let tables = tables(&set, &drawings)?;
        if !tables.is_empty() {
            let _ = write!(page, "\n{title}\n{tables}");
        }
    }
    page.push_str(&growth(runs, &drawings)?);
    fs::write(root.join("BENCHMARKS.md"), page)?;
    Ok(())
}

fn by_cores(runs: &[Run], cores: usize) -> Vec<&Run> {
    runs.iter().filter(|run| run.session.cores.split(',').count() == cores).collect()
}

fn introduction(session: &Session, runs: &[Run]) -> String {
    let mut page = String::from(
        "# Benchmarks\n\n\
         Written by `bench/run.sh`, which installs the peers, runs them and the relay in turns on the\n\
         same cores, and checks every delivery: its sender, its number, its room and its bytes. A run\n\
         in which one was lost, repeated, out of order or changed is a failure and is not in here.\n\n\
         * `bench/run.sh` repeats all of it, `bench/run.sh W2 --peers uws,bun` a part,\n  \
           `bench/run.sh quick` only the checks.\n\
         * The relay runs with all checks and quotas on, set high enough not to bind. The peers only\n  \
           fan out: they know no tokens, no quotas, no roster and no order of a room.\n\
         * A cell is the median of the runs, and their least and most in brackets. *Ratio* says how\n  \
           many times better the relay is (above 1) or worse (below 1): the median over pairs of\n  \
           runs that were made one after the other.\n\
         * CPU is the server's, from the kernel, system calls included. When the machine does other\n  \
           things too, *cores busy* is below the cores given, deliveries per second is about the\n  \
           machine, and CPU per delivery is about the server.\n\n",
    );
    let checked: u64 = runs.iter().map(|run| run.found.checked).sum();
    let mut versions = BTreeMap::new();
    for run in runs {
        versions.extend(run.session.versions.clone());
    }
    let _ = writeln!(page, "| what | |\n|---|---|");
    let _ = writeln!(page, "| date, commit | {}, `{}` |", session.date, session.commit);
    let _ = writeln!(page, "| machine | {}, Linux {} |", session.machine, session.kernel);
    if !session.busy.is_empty() {
        let _ = writeln!(page, "| load average when the last part began | {} |", session.busy);
    }
    let generator = &session.generator_cores;
    let _ = writeln!(page, "| cores of the generator | {generator} |");
    let _ = writeln!(page, "| deliveries checked | {checked}, all of them right |");
    for (peer, version) in versions {
        let _ = writeln!(page, "| {} | {version} |", peer.title());
    }
    page
}

/// A table and a drawing for each workload that was run.
fn tables(runs: &[&Run], drawings: &Path) -> Result<String, Fault> {
    let mut page = String::new();
    for workload in workload::all(workload::Size::Full) {
        let of_it: Vec<&Run> =
            runs.iter().filter(|run| run.workload.name == workload.name).copied().collect();
        let Some(first) = of_it.first() else { continue };
        let cores = first.session.cores.split(',').count();
        let columns = columns(&workload);
        let file = format!("{}-{cores}.svg", workload.name.to_lowercase());
        let _ = write!(page, "\n### {}\n\n{}.\n\n", workload.name, capitalized(&workload.about));
        page.push_str(&table(&of_it, &columns));
        if let Some(main) = columns.first() {
            let title = format!("{}: {}", workload.name, main.title);
            fs::write(drawings.join(&file), plot::bars(&title, &bars(&of_it, main)))?;
            let _ = write!(page, "\n![{title}](docs/bench/{file})\n");
        }
    }
    Ok(page)
}

fn capitalized(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

fn peers(runs: &[&Run]) -> Vec<Peer> {
    let mut peers: Vec<Peer> = runs.iter().map(|run| run.peer).collect();
    peers.sort_unstable();
    peers.dedup();
    peers
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
            let mut values: Vec<f64> =
                of(runs, peer).map(|run| (column.value)(&run.found)).collect();
            let (least, most) = range(&values);
            let _ = write!(
                page,
                " {} ({}–{}) |",
                short(median(&mut values)),
                short(least),
                short(most)
            );
            if column.has_ratio {
                let ratio = ratio(runs, peer, column);
                let text = ratio.map_or_else(|| "–".into(), |ratio| format!("{ratio:.2}"));
                let _ = write!(page, " {text} |");
            }
        }
        page.push('\n');
    }
    page
}

fn of<'r>(runs: &'r [&Run], peer: Peer) -> impl Iterator<Item = &'r Run> {
    runs.iter().copied().filter(move |run| run.peer == peer)
}

/// How many times better the relay is than this peer, over pairs of runs of one number.
fn ratio(runs: &[&Run], peer: Peer, column: &Column) -> Option<f64> {
    if peer == Peer::Lethewire {
        return None;
    }
    let mut ratios: Vec<f64> = of(runs, peer)
        .filter_map(|other| {
            let own = of(runs, Peer::Lethewire).find(|run| run.number == other.number)?;
            let (own, other) = ((column.value)(&own.found), (column.value)(&other.found));
            let (better, worse) = if column.more_is_better { (own, other) } else { (other, own) };
            (worse > 0.0).then(|| better / worse)
        })
        .collect();
    (!ratios.is_empty()).then(|| median(&mut ratios))
}

fn bars(runs: &[&Run], column: &Column) -> Vec<Bar> {
    let bar = |peer: Peer| {
        let mut values: Vec<f64> = of(runs, peer).map(|run| (column.value)(&run.found)).collect();
        Bar { label: peer.title().into(), range: range(&values), median: median(&mut values) }
    };
    peers(runs).into_iter().map(bar).collect()
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.get(middle.saturating_sub(1)..=middle) {
        Some([low, high]) if values.len().is_multiple_of(2) => f64::midpoint(*low, *high),
        _ => values.get(middle).copied().unwrap_or(0.0),
    }
}

fn range(values: &[f64]) -> (f64, f64) {
    (values.iter().copied().fold(f64::MAX, f64::min), values.iter().copied().fold(0.0, f64::max))
}

/// The growth series: a drawing and a table each.
fn growth(runs: &[Run], drawings: &Path) -> Result<String, Fault> {
    let mut page = String::new();
    for (name, points) in workload::growth() {
        let of_it: Vec<&Run> = runs
            .iter()
            .filter(|run| points.iter().any(|(_, point)| point.name == run.workload.name))
            .collect();
        if of_it.is_empty() {
            continue;
        }
        let series: Vec<Line> =
            peers(&of_it).into_iter().map(|peer| line(&of_it, peer, &points)).collect();
        let title = format!("CPU per delivery in µs, against {}", about(name));
        let file = format!("growth-{name}.svg");
        fs::write(drawings.join(&file), plot::lines(&title, about(name), &series))?;
        let _ = write!(
            page,
            "\n### {}\n\n![{title}](docs/bench/{file})\n\n| |",
            capitalized(about(name))
        );
        for (x, _) in &points {
            let _ = write!(page, " {x} |");
        }
        let _ = write!(page, "\n|---|{}\n", "--:|".repeat(points.len()));
        for line in series {
            let _ = write!(page, "| {} |", line.label);
            for (x, _) in &points {
                let value = line.points.iter().find(|point| point.0 == f64::from(*x));
                let text = value.map_or_else(|| "–".into(), |(_, y)| short(*y));
                let _ = write!(page, " {text} |");
            }
            page.push('\n');
        }
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
        let mut costs: Vec<f64> = runs.map(|run| run.found.cpu_us_per_delivery).collect();
        (!costs.is_empty()).then(|| (f64::from(*x), median(&mut costs)))
    });
    Line { label: peer.title().into(), points: points.collect() }
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
