//! What healthy rooms feel while the relay is flooded: the delay of their messages in calm and under
//! each flood, in turns on one relay, as a table. `bench-floods --help` says how it is called.
//!
//! The limits are those of `config/default.toml`, but for the ones per address, which are off: the
//! attacker is taken to have as many addresses as it likes. `tests/it/floods/` has the same attacks
//! one by one, with how each has to end.

mod healthy;
mod hostile;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use clap::Parser;
use hdrhistogram::Histogram;
use lethewire_bench::process::{self, Server};
use lethewire_bench::{Fault, built};

use crate::healthy::Rooms;
use crate::hostile::{FLOODS, Flood, Hostile};

/// Measures healthy rooms in calm and under each flood, in turns, and prints a table in Markdown.
///
/// For the page of the project, on a machine that does nothing else:
/// `cargo run --release -p lethewire-bench --bin bench-floods > docs/bench/floods.md`,
/// after `cargo build --release`.
#[derive(Parser)]
#[command(version, about, verbatim_doc_comment)]
struct Arguments {
    /// Floods by name; all of them if none is named.
    floods: Vec<String>,
    /// How often each; calm and floods take turns.
    #[arg(long, default_value_t = 3)]
    runs: u32,
    /// Seconds of each turn.
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// Cores of the relay, as `taskset` takes them.
    #[arg(long, default_value = "0,1")]
    cores: String,
    /// Core of the healthy members.
    #[arg(long, default_value = "2")]
    healthy_cores: String,
    /// Core of the attackers.
    #[arg(long, default_value = "3")]
    hostile_cores: String,
    /// Attackers at the same time.
    #[arg(long, default_value_t = 4)]
    attackers: usize,
    /// Where the relay's program is, if not beside this one.
    #[arg(long)]
    programs: Option<PathBuf>,
    /// All come from one address, and the limits per address are on; else they are off, as for
    /// attackers who have as many addresses as they like.
    #[arg(long)]
    one_address: bool,
    /// Fails if the p99 of a flooded room is more than this many times its calm value.
    #[arg(long)]
    at_most: Option<f64>,
}

/// Delays in microseconds, in calm and flooded, and how many attacks there were.
struct Turns {
    calm: Histogram<u64>,
    flooded: Histogram<u64>,
    attacks: u64,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(e) => {
            eprintln!("error: {e}");
            ExitCode::FAILURE
        }
    }
}

/// Runs and prints; whether all ratios are as low as was asked for.
fn run(arguments: &Arguments) -> Result<bool, Fault> {
    let floods = chosen(&arguments.floods)?;
    let own = std::env::current_exe()?;
    let beside = own.parent().ok_or("a program in no folder")?;
    let program = arguments.programs.as_deref().unwrap_or(beside).join("lethewire");
    let port = process::free_port()?;
    let log = std::env::temp_dir().join("lethewire-floods.log");
    let command = command(&program, port, arguments.one_address);
    let relay = Server::start(&command, &arguments.cores, port, &log)?;
    let mut rooms = Rooms::open(relay.addr())?;
    process::pin(&arguments.healthy_cores)?;
    let mut found = BTreeMap::new();
    for _ in 0..arguments.runs {
        for (place, flood) in floods.iter().enumerate() {
            let turns = found.entry(place).or_insert(Turns {
                calm: Histogram::new(3)?,
                flooded: Histogram::new(3)?,
                attacks: 0,
            });
            rooms.talk(Duration::from_secs(arguments.seconds), &mut turns.calm)?;
            turns.attacks += flooded(arguments, &relay, flood, &mut rooms, &mut turns.flooded)?;
        }
    }
    print(arguments, &program, &floods, &found);
    let ratios = found.values().map(Turns::ratio);
    Ok(arguments.at_most.is_none_or(|most| ratios.into_iter().all(|ratio| ratio <= most)))
}

fn chosen(names: &[String]) -> Result<Vec<&'static Flood>, Fault> {
    if names.is_empty() {
        return Ok(FLOODS.iter().collect());
    }
    let find = |name: &String| FLOODS.iter().find(|flood| flood.name == name);
    let known = || FLOODS.iter().map(|flood| flood.name).collect::<Vec<_>>().join(", ");
    names
        .iter()
        .map(|name| {
            find(name).ok_or_else(|| format!("no flood {name}; there are {}", known()).into())
        })
        .collect()
}

/// The healthy members come from the attackers' address, if there is only one: so it may have as many
/// more connections as they are, and make their rooms.
const ONE_ADDRESS: [(&str, &str); 4] = [
    ("MAX_CONNS_PER_IP", "144"),
    ("MAX_ROOM_CREATES_PER_IP_PER_MIN", "50"),
    ("MAX_TOKENS_PER_IP_PER_MIN", "300"),
    ("SLOW_DOWN_MAX_MS", "0"),
];

fn command(program: &Path, port: u16, one_address: bool) -> Command {
    let mut command = Command::new(program);
    command.env("PORT", port.to_string()).env("OPS_LISTEN", "").env("LOG_LEVEL", "error");
    command.env("FEATURE_GRACEFUL_SHUTDOWN", "false");
    if one_address {
        command.envs(ONE_ADDRESS);
    } else {
        command.env("FEATURE_IP_TRACKING", "false");
    }
    command
}

/// Lets the rooms talk while attackers attack, and says how many attacks there were.
fn flooded(
    arguments: &Arguments,
    relay: &Server,
    flood: &Flood,
    rooms: &mut Rooms,
    delays: &mut Histogram<u64>,
) -> Result<u64, Fault> {
    let (over, attacks) = (AtomicBool::new(false), AtomicU64::new(0));
    let hostile = Hostile { addr: relay.addr(), over: &over, attacks: &attacks };
    std::thread::scope(|scope| {
        for _ in 0..arguments.attackers {
            scope.spawn(|| {
                // Attackers on the cores of healthy members would be measured too; better none.
                if process::pin(&arguments.hostile_cores).is_ok() {
                    hostile.attack(flood);
                }
            });
        }
        let talked = rooms.talk(Duration::from_secs(arguments.seconds), delays);
        over.store(true, Ordering::Relaxed);
        talked
    })?;
    let attacks = attacks.into_inner();
    if attacks == 0 {
        return Err(format!("nobody attacked with {}", flood.name).into());
    }
    Ok(attacks)
}

impl Turns {
    /// The p99 under the flood, in calm ones.
    fn ratio(&self) -> f64 {
        self.flooded.value_at_quantile(0.99) as f64
            / self.calm.value_at_quantile(0.99).max(1) as f64
    }
}

fn print(arguments: &Arguments, program: &Path, floods: &[&Flood], found: &BTreeMap<usize, Turns>) {
    println!(
        "# Healthy rooms under floods\n\n\
         Written by `bench-floods` (see its `--help`), relay built from {}. {} runs of {} s each, calm and\n\
         flooded in turns; {} rooms of two that say {} messages per second together, on a core of\n\
         their own; {} attackers at a time. Limits are the defaults; {}.\n\n\
         | flood | attacks | calm p50 / p99 (µs) | flooded p50 / p99 (µs) | p99, times calm |\n\
         |---|--:|--:|--:|--:|",
        built::commit_of(program),
        arguments.runs,
        arguments.seconds,
        healthy::ROOMS,
        healthy::MESSAGES_PER_S,
        arguments.attackers,
        if arguments.one_address {
            "all come from one address"
        } else {
            "those per address are off, as if attackers had as many as they like"
        },
    );
    for (flood, turns) in floods.iter().zip(found.values()) {
        let both = |delays: &Histogram<u64>| {
            let at = |quantile| delays.value_at_quantile(quantile);
            format!("{} / {}", at(0.5), at(0.99))
        };
        println!(
            "| {}: {} | {} | {} | {} | {:.2} |",
            flood.name,
            flood.what,
            turns.attacks,
            both(&turns.calm),
            both(&turns.flooded),
            turns.ratio()
        );
    }
}
