//! BENCHMARKS.md and its drawings, made from runs.

mod aims;
mod columns;
mod growth;
mod notes;
mod numbers;
mod tables;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use self::columns::DELIVERIES;
use self::notes::Notes;
use self::numbers::of;
use crate::Fault;
use crate::peers::Peer;
use crate::plot::short;
use crate::report::{Run, commits};

/// Writes BENCHMARKS.md and the drawings in `docs/bench/`. Runs of several commits are refused unless
/// `mixed`, and then the page says so.
///
/// # Errors
///
/// A file's, there are no runs, or they are of several commits.
pub fn write(runs: &[Run], root: &Path, mixed: bool) -> Result<(), Fault> {
    let commits: Vec<&str> = commits(runs).into_iter().collect();
    if commits.len() > 1 && !mixed {
        let commits = commits.join(", ");
        return Err(format!("results of several commits ({commits}); --mixed takes them").into());
    }
    let drawings = root.join("docs/bench");
    fs::create_dir_all(&drawings)?;
    // Drawings of what was not run this time must not stay; other pages may.
    for file in fs::read_dir(&drawings)? {
        let file = file?.path();
        if file.extension().is_some_and(|kind| kind == "svg") {
            fs::remove_file(file)?;
        }
    }
    let notes = Notes::read(root);
    let (one, two) = (by_cores(runs, 1), by_cores(runs, 2));
    let mut page = String::from(INTRODUCTION);
    page.push_str(&aims::aims(&one, &two));
    page.push_str(METHOD);
    page.push_str(&setting(runs, &commits)?);
    let tables = tables::tables(&one, &notes, &drawings)?;
    if !tables.is_empty() {
        let _ = write!(page, "\n## On one core\n{tables}");
    }
    page.push_str(&tables::scaling(&one, &two));
    page.push_str(&growth::growth(&one, &notes, &drawings)?);
    fs::write(root.join("BENCHMARKS.md"), page)?;
    Ok(())
}

fn by_cores(runs: &[Run], cores: usize) -> Vec<&Run> {
    runs.iter().filter(|run| run.session.cores.split(',').count() == cores).collect()
}

const INTRODUCTION: &str = "\
# Benchmarks

Written by `bench/run.sh`, which installs the peers, runs them and the relay in turns on the
same cores, and checks every delivery: its sender, its number, its room and its bytes. A run
in which one was lost, repeated, out of order or changed has failed: it is named below its
table, and no number of it is in here.
";

const METHOD: &str = "
## How it is measured

* `bench/run.sh` repeats all of it in about half an hour (`bench/run.sh resume` goes on where it
  was stopped), `bench/run.sh W2 --peers uws,bun` a part, `bench/run.sh quick` only the checks.
* The relay is built as it is released, with jemalloc (`--features jemalloc`), and runs with all
  checks and quotas on, set high enough not to bind. The peers only fan out: they know no tokens,
  no quotas, no roster and no order of a room.
* All are spoken to over WebSocket, each in its own protocol. Their queues for slow members are
  as long as the load needs.
* The machine may be a shared one, half as fast in one half minute as in the next, so that
  only what was made one after the other can be compared. The runs are short and many: in a
  round each of the others runs right before or right behind the relay, another one begins
  each time, and a round of all is over before the next begins.
* A cell is the median of the runs, and in brackets where the middle half of them is; of fewer
  than five, the least and the most. *Ratio* says how many times better the relay is (above 1)
  or worse (below 1): the median over pairs of neighbours, and the same of it in brackets.
  The relay runs between two others, so that it has more runs than they.
* CPU is the server's, from the kernel, system calls included. When the machine does other
  things too, *cores busy* is below the cores given, deliveries per second is about the
  machine, and CPU per delivery is about the server.
* The generator checks at least 3 million small frames a second on two cores, so that it does
  not hold a server up: `bench/run.sh capacity` shows it with the bare epoll server.

";

/// When, where and with what.
fn setting(runs: &[Run], commits: &[&str]) -> Result<String, Fault> {
    let session = &runs.last().ok_or("there are no runs")?.session;
    let mut page = String::new();
    let (mut versions, mut checked, mut failed) = (BTreeMap::new(), 0, 0);
    for run in runs {
        versions.extend(run.session.versions.clone());
        checked += run.found.checked;
        failed += u32::from(run.failure.is_some());
    }
    let _ = writeln!(page, "| what | |\n|---|---|");
    let _ = writeln!(page, "| date | {} |", session.date);
    let commits_text: Vec<String> = commits.iter().map(|commit| format!("`{commit}`")).collect();
    let mixed = if commits.len() > 1 {
        ": **mixed, numbers of one are not comparable with those of another**"
    } else {
        ""
    };
    let _ = writeln!(page, "| the relay's commit | {}{mixed} |", commits_text.join(", "));
    let _ = writeln!(page, "| machine | {}, Linux {} |", session.machine, session.kernel);
    if !session.busy.is_empty() {
        let _ = writeln!(page, "| load average when the last part began | {} |", session.busy);
    }
    let _ = writeln!(page, "| cores of the generator | {} |", session.generator_cores);
    let all: Vec<&Run> = runs.iter().collect();
    let most = of(&all, Peer::Epoll).map(|run| (DELIVERIES.value)(&run.found)).fold(0.0, f64::max);
    if most > 0.0 {
        let _ = writeln!(page, "| most that it took in and checked | {}/s |", short(most));
    }
    let _ = writeln!(page, "| deliveries checked | {checked}, all of them right |");
    if failed > 0 {
        let _ = writeln!(page, "| runs that failed, and are not in here | {failed} |");
    }
    for (peer, version) in versions {
        let _ = writeln!(page, "| {} | {version} |", peer.title());
    }
    Ok(page)
}

fn capitalized(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::Found;
    use crate::report::Session;
    use crate::workload::{self, Size};

    /// A run on one core that found this number wherever it looked.
    pub(super) fn run(workload: &str, peer: Peer, number: u32, found: f64) -> Run {
        let all = workload::all(Size::Full);
        Run {
            session: Session::now(String::new(), "0", "2,3"),
            workload: all.into_iter().find(|known| known.name == workload).unwrap(),
            peer,
            number,
            found: Found {
                deliveries_per_s: found,
                p50_us: found,
                p99_us: found,
                cpu_us_per_delivery: found,
                ..Found::default()
            },
            failure: None,
        }
    }
}
