//! The command line of the benchmark. `bench/run.sh` installs what it needs and calls this.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use lethewire_bench::pages;
use lethewire_bench::peers::{Peer, Places};
use lethewire_bench::report::{self, Run, Session};
use lethewire_bench::workload::{self, Size, Workload};
use lethewire_bench::{Fault, process};

/// Measures the relay beside its peers, and checks every delivery.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Runs workloads and adds what was found to a file.
    Run(RunArguments),
    /// Writes BENCHMARKS.md and its drawings from such a file.
    Report {
        /// The file of results.
        #[arg(long)]
        results: PathBuf,
        /// The project's root, where BENCHMARKS.md is.
        #[arg(long, default_value = ".")]
        root: PathBuf,
    },
}

#[derive(clap::Args)]
struct RunArguments {
    /// Workloads by name (W1, W2-short …), `growth`, or all of the tables.
    workloads: Vec<String>,
    /// Which servers.
    #[arg(long, value_delimiter = ',', default_value = "lethewire,epoll,uws,bun")]
    peers: Vec<Peer>,
    /// How often each; the servers take turns.
    #[arg(long, default_value_t = 3)]
    runs: u32,
    /// How long and how large.
    #[arg(long, default_value = "full")]
    size: Size,
    /// Cores of the server.
    #[arg(long, default_value = "0")]
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
    let arguments = Arguments::parse();
    let done = match arguments.what {
        What::Run(arguments) => run(&arguments),
        What::Report { results, root } => {
            report::read(&results).and_then(|runs| pages::write(&runs, &root)).map(|()| true)
        }
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
fn run(arguments: &RunArguments) -> Result<bool, Fault> {
    let own = std::env::current_exe()?;
    let beside = own.parent().ok_or("a program in no folder")?.to_path_buf();
    let places = Places {
        root: arguments.root.canonicalize()?,
        tools: arguments.tools.canonicalize()?,
        programs: arguments.programs.clone().unwrap_or(beside),
        wrapper: arguments.wrap.clone(),
    };
    let threads = process::pin(&arguments.generator_cores)?;
    let mut all_right = true;
    let versions = arguments.peers.iter().map(|peer| (*peer, peer.version(&places))).collect();
    let session = Session::now(&arguments.cores, &arguments.generator_cores, versions);
    for workload in chosen(arguments)? {
        for number in 0..arguments.runs {
            for peer in &arguments.peers {
                let cores = &arguments.cores;
                match workload.run(*peer, &places, cores, threads, arguments.size) {
                    Ok(found) => {
                        let run = Run {
                            session: session.clone(),
                            workload: workload.clone(),
                            peer: *peer,
                            number,
                            found,
                        };
                        println!("{}", run.line());
                        if let Some(file) = &arguments.results {
                            run.append_to(file)?;
                        }
                    }
                    Err(e) => {
                        all_right = false;
                        eprintln!("FAILED {} {}: {e}", workload.name, peer.title());
                    }
                }
            }
        }
    }
    Ok(all_right)
}

fn chosen(arguments: &RunArguments) -> Result<Vec<Workload>, Fault> {
    let all = workload::all(arguments.size);
    if arguments.workloads.is_empty() {
        return Ok(all);
    }
    let growth =
        || workload::growth().into_iter().flat_map(|(_, points)| points).map(|(_, point)| point);
    let mut chosen = Vec::new();
    for name in &arguments.workloads {
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
