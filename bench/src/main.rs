//! The command line of the benchmark. `bench/run.sh` installs what it needs and calls this.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use lethewire_bench::peers::{Peer, Places};
use lethewire_bench::report::{self, Run, Session};
use lethewire_bench::schedule::{self, Cores, Maker, Step};
use lethewire_bench::workload::{self, Size, Workload};
use lethewire_bench::{Fault, built, pages, process};

/// Measures the relay beside its peers, and checks every delivery.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Runs workloads and prints what was found; fails if anything did.
    Run {
        /// Workloads by name (W1, W2-short …), `growth`, or all of the tables.
        workloads: Vec<String>,
        /// How long and how large.
        #[arg(long, default_value = "full")]
        size: Size,
        /// Fails runs with fewer deliveries per second.
        #[arg(long)]
        at_least: Option<f64>,
        #[command(flatten)]
        setting: Setting,
    },
    /// Makes all runs of BENCHMARKS.md. A server that fails is written down as such.
    Full {
        /// The cores of the relay where it has two.
        #[arg(long, default_value = "0,1")]
        two_cores: String,
        /// Goes on behind the results that are there.
        #[arg(long)]
        resume: bool,
        #[command(flatten)]
        setting: Setting,
    },
    /// Writes BENCHMARKS.md and its drawings from a file of results.
    Report {
        /// The file of results.
        #[arg(long)]
        results: PathBuf,
        /// The project's root, where BENCHMARKS.md is.
        #[arg(long, default_value = ".")]
        root: PathBuf,
        /// Takes results of several commits, and says so in the page.
        #[arg(long)]
        mixed: bool,
    },
    /// Notes beside the relay's program which commit it was built from: the tree's, as it is.
    Note {
        /// Where the program is, if not beside this one.
        #[arg(long)]
        programs: Option<PathBuf>,
    },
}

#[derive(clap::Args)]
struct Setting {
    /// Which servers.
    #[arg(long, value_delimiter = ',', default_value = "lethewire,epoll,uws,bun")]
    peers: Vec<Peer>,
    /// How many rounds, in which the servers take turns.
    #[arg(long, default_value_t = 3)]
    runs: u32,
    /// Cores of the server.
    #[arg(long, default_value = "0", overrides_with = "cores")]
    cores: String,
    /// Cores of the generator, which has a thread for each.
    #[arg(long, default_value = "2,3")]
    generator_cores: String,
    /// Where results are added, one JSON object per line.
    #[arg(long)]
    results: Option<PathBuf>,
    /// The project's root.
    #[arg(long, default_value = ".")]
    root: PathBuf,
    /// What was installed for the benchmark.
    #[arg(long, default_value = ".test/bench")]
    tools: PathBuf,
    /// Where the relay's program is; the peers' of this package are beside this program.
    #[arg(long)]
    programs: Option<PathBuf>,
    /// Words before the relay's command, such as `valgrind --tool=callgrind`.
    #[arg(long, value_delimiter = ' ')]
    wrap: Vec<String>,
}

fn main() -> ExitCode {
    let done = match Arguments::parse().what {
        What::Run { workloads, size, at_least, setting } => {
            run(&workloads, size, at_least, &setting)
        }
        What::Full { two_cores, resume, setting } => full(two_cores, resume, &setting),
        What::Report { results, root, mixed } => {
            report::read(&results).and_then(|runs| pages::write(&runs, &root, mixed)).map(|()| true)
        }
        What::Note { programs } => programs_in(programs.as_ref())
            .and_then(|programs| built::note(&programs.join("lethewire")))
            .map(|()| true),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(e) => {
            eprintln!("error: {e}");
            ExitCode::FAILURE
        }
    }
}

/// Runs what was asked for; whether all of it was right.
fn run(
    workloads: &[String],
    size: Size,
    at_least: Option<f64>,
    setting: &Setting,
) -> Result<bool, Fault> {
    let steps =
        schedule::turns(&chosen(workloads, size)?, &setting.peers, &setting.cores, setting.runs);
    make(steps, &[], size, at_least, setting).map(|failed| failed.is_empty())
}

/// Makes all runs of BENCHMARKS.md; whether the relay's were right.
fn full(two_cores: String, resume: bool, setting: &Setting) -> Result<bool, Fault> {
    let file = setting.results.as_ref().ok_or("full wants a file for its --results")?;
    let mut done = Vec::new();
    if resume && file.exists() {
        done = report::read(file)?;
        let own = built::commit_of(&programs_in(setting.programs.as_ref())?.join("lethewire"));
        if let Some(other) = report::commits(&done).into_iter().find(|commit| *commit != own) {
            return Err(format!("results of {other} cannot be gone on with at {own}").into());
        }
    } else {
        std::fs::write(file, "")?;
    }
    let cores = Cores { one: setting.cores.clone(), two: two_cores };
    let steps = schedule::full(&setting.peers, &cores, setting.runs);
    make(steps, &done, Size::Full, None, setting).map(|failed| !failed.contains(&Peer::Lethewire))
}

fn make(
    steps: Vec<Step>,
    done: &[Run],
    size: Size,
    at_least: Option<f64>,
    setting: &Setting,
) -> Result<BTreeSet<Peer>, Fault> {
    let places = Places {
        root: setting.root.canonicalize()?,
        tools: setting.tools.canonicalize()?,
        programs: programs_in(setting.programs.as_ref())?,
        wrapper: setting.wrap.clone(),
    };
    let commit = built::commit_of(&places.programs.join("lethewire"));
    process::make_room_for_files()?;
    let maker = Maker {
        session: Session::now(commit, &setting.cores, &setting.generator_cores),
        threads: process::pin(&setting.generator_cores)?,
        places: &places,
        size,
        at_least: at_least.unwrap_or(0.0),
        results: setting.results.as_deref(),
    };
    maker.make(steps, done)
}

/// The folder of the programs: the one that was given, or this program's.
fn programs_in(given: Option<&PathBuf>) -> Result<PathBuf, Fault> {
    let own = std::env::current_exe()?;
    let beside = || own.parent().map(Path::to_path_buf);
    given.cloned().or_else(beside).ok_or_else(|| "a program in no folder".into())
}

fn chosen(names: &[String], size: Size) -> Result<Vec<Workload>, Fault> {
    let all = workload::all(size);
    if names.is_empty() {
        return Ok(all);
    }
    let growth =
        || workload::growth().into_iter().flat_map(|(_, points)| points).map(|(_, point)| point);
    let mut chosen = Vec::new();
    for name in names {
        if name == "growth" {
            chosen.extend(growth());
            continue;
        }
        let known = all.iter().cloned().chain(growth());
        let found = known.into_iter().find(|workload| workload.name.eq_ignore_ascii_case(name));
        chosen.push(found.ok_or_else(|| format!("no workload is called {name}"))?);
    }
    Ok(chosen)
}
