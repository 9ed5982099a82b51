//! What healthy rooms feel while a relay is flooded: the delay of their messages in calm, while the
//! relay next door is flooded, and while their own is. `bench-floods --help` says how it is called.
//!
//! * [`relays`]: the two relays, and what is set for them;
//! * [`healthy`]: the rooms;
//! * [`hostile`]: the floods;
//! * [`pace`]: how fast they come;
//! * [`others`]: who else is busy on the machine;
//! * [`turns`]: who is attacked when, and what is noted;
//! * [`table`]: what is made of it.
//!
//! `tests/it/floods/` has the same attacks one by one, with how each has to end.

mod healthy;
mod hostile;
mod others;
mod pace;
mod relays;
mod table;
mod turns;

use std::num::NonZeroU32;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use lethewire_bench::{Fault, built, process};

use crate::hostile::{FLOODS, Flood};
use crate::relays::Relays;
use crate::turns::{Attackers, Found, Stage};

/// Measures healthy rooms in calm and under floods, in turns, and prints a section in Markdown.
///
/// A round has three turns for each flood. In the first nobody attacks. In the second a relay next door is
/// flooded, a process with the same settings on the same cores: what is felt of that is felt by any
/// process beside a flooded relay. In the third the rooms' own relay is flooded. Before each turn the
/// rooms talk for a moment that is not counted: until the relays have closed what the attackers left, or
/// until the attack is well under way.
///
/// Each round compares its own turns, which are close together, so that a change of the host's load
/// spoils few comparisons; the table has the median of the rounds, with the least and the most. An
/// attacker that keeps a core busy may slow down others on a shared host.
///
/// For the page of the project, `docs/bench/floods.md`, on a machine that does nothing else, after
/// `cargo build --release`:
/// `cargo run --release -p lethewire-bench --bin bench-floods`, and once more with each of
/// `-- --attacks-per-s 500` and `-- --one-address`.
#[derive(Parser)]
#[command(version, about, verbatim_doc_comment)]
struct Arguments {
    /// Floods by name; all of them if none is named.
    floods: Vec<String>,
    /// How many rounds.
    #[arg(long, default_value_t = 9, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Milliseconds of each turn.
    #[arg(long, default_value_t = 1000)]
    turn_ms: u64,
    /// Milliseconds that the rooms talk before each turn.
    #[arg(long, default_value_t = 300)]
    settle_ms: u64,
    /// Seconds to wait, in all, for moments in which others on the machine do little.
    #[arg(long, default_value_t = 300)]
    patience_s: u64,
    /// Cores of the relays, as `taskset` takes them.
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
    /// Attacks per second that they begin together, evenly spaced; as many as they can if it is not
    /// said. One that lasts keeps its attacker, so fewer may come: see the table.
    #[arg(long)]
    attacks_per_s: Option<NonZeroU32>,
    /// Where the relay's program is, if not beside this one.
    #[arg(long)]
    programs: Option<PathBuf>,
    /// All come from one address, and the limits per address are on; else they are off, as for
    /// attackers who have as many addresses as they like.
    #[arg(long)]
    one_address: bool,
    /// Fails if the p99 of flooded rooms is more than this many times its calm value, in the median.
    #[arg(long)]
    at_most: Option<f64>,
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
    let mut found: Vec<_> = chosen(&arguments.floods)?.into_iter().map(Found::new).collect();
    let own = std::env::current_exe()?;
    let beside = own.parent().ok_or("a program in no folder")?;
    let program = arguments.programs.as_deref().unwrap_or(beside).join("lethewire");
    let relays = Relays::start(&program, &arguments.cores, arguments.one_address)?;
    process::pin(&arguments.healthy_cores)?;
    let mut stage = Stage::new(
        &relays,
        Attackers {
            cores: &arguments.hostile_cores,
            count: arguments.attackers,
            per_s: arguments.attacks_per_s,
        },
        Duration::from_millis(arguments.settle_ms),
        Duration::from_millis(arguments.turn_ms),
        Duration::from_secs(arguments.patience_s),
    )?;
    for _ in 0..arguments.rounds {
        for found in &mut found {
            stage.round(found)?;
        }
    }
    table::print(arguments, &built::commit_of(&program), &found);
    let ratio = |found: &Found| found.ratio(|round| (&round.flooded, &round.calm)).median;
    let kept = |most| found.iter().all(|found| ratio(found) <= most);
    Ok(arguments.at_most.is_none_or(kept))
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
