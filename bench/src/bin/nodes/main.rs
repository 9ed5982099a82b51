//! What it costs that rooms span nodes: deliveries per second, delay and what Redis does for a message,
//! for one, two and three nodes on one Redis and on three shards, beside one node without Redis, in
//! turns and in the same run, as a page in Markdown. `bench-nodes --help` says how it is called.

mod cluster;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use lethewire_bench::dialect::lethewire::Nodes;
use lethewire_bench::load::{self, Moment, Outcome, Plan};
use lethewire_bench::{Fault, built, process};

use crate::cluster::{Cluster, Cost, Shape};

/// Measures nodes that share their rooms, and prints a page in Markdown.
///
/// For the page of the project, on a machine that does nothing else:
/// `cargo run --release -p lethewire-bench --bin bench-nodes > docs/bench/nodes.md`,
/// after `cargo build --release`. Redis must be installed.
#[derive(Parser)]
#[command(version, about, verbatim_doc_comment)]
struct Arguments {
    /// How often each; the shapes take turns.
    #[arg(long, default_value_t = 3)]
    runs: usize,
    /// Milliseconds of each measurement.
    #[arg(long, default_value_t = 2000)]
    millis: u64,
    /// Cores of the relays, which share them, as `taskset` takes them.
    #[arg(long, default_value = "0,1")]
    node_cores: String,
    /// Core of Redis; shards share it.
    #[arg(long, default_value = "2")]
    redis_cores: String,
    /// Cores of the generator, which has a thread for each.
    #[arg(long, default_value = "3")]
    generator_cores: String,
    /// Where the relay's program is, if not beside this one.
    #[arg(long)]
    programs: Option<PathBuf>,
}

/// Nodes and Redis servers, as they are measured; the first one is the measure of the others.
const SHAPES: [(usize, usize); 7] = [(1, 0), (1, 1), (2, 1), (3, 1), (1, 3), (2, 3), (3, 3)];

/// What is asked of them.
const LOADS: [(&str, Load); 3] = [
    (
        "low load: 50 rooms of 4, 500 messages per second",
        Load { rooms: 50, members: 4, in_flight: 0, per_s: 500.0 },
    ),
    (
        "many rooms: 300 rooms of 10, all speak, 2000 messages under way",
        Load { rooms: 300, members: 10, in_flight: 2000, per_s: 0.0 },
    ),
    (
        "pairs: 500 rooms of 2, both speak, 4000 messages under way",
        Load { rooms: 500, members: 2, in_flight: 4000, per_s: 0.0 },
    ),
];

/// A load, as the generator takes it.
#[derive(Clone, Copy)]
struct Load {
    rooms: u32,
    members: u32,
    in_flight: u32,
    per_s: f64,
}

/// What one run found.
#[derive(Clone, Copy, Default)]
struct Found {
    deliveries_per_s: f64,
    messages_per_s: f64,
    p50_us: f64,
    p99_us: f64,
    node_us: f64,
    redis_us: f64,
    script_us: f64,
    calls: f64,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("error: {e}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<(), Fault> {
    let own = std::env::current_exe()?;
    let beside = own.parent().ok_or("a program in no folder")?;
    let program = arguments.programs.as_deref().unwrap_or(beside).join("lethewire");
    let threads = process::pin(&arguments.generator_cores)?;
    let mut found = vec![vec![Vec::new(); SHAPES.len()]; LOADS.len()];
    for _ in 0..arguments.runs {
        for (place, &(nodes, shards)) in SHAPES.iter().enumerate() {
            let (node_cores, redis_cores) = (&*arguments.node_cores, &*arguments.redis_cores);
            for (table, (_, load)) in LOADS.iter().enumerate() {
                let shape = Shape { nodes, shards, node_cores, redis_cores };
                let cluster = Cluster::start(shape, &program)?;
                let one = measure(&cluster, *load, threads, arguments.millis)
                    .map_err(|e| format!("{nodes} nodes, {shards} Redis: {e}"))?;
                found[table][place].push(one);
            }
        }
    }
    let redis = process::said_by("redis-server", &["--version"]);
    print(arguments, &built::commit_of(&program), &redis, &found);
    Ok(())
}

/// One run on servers of its own.
fn measure(cluster: &Cluster, load: Load, threads: u32, millis: u64) -> Result<Found, Fault> {
    let plan = Plan {
        rooms: load.rooms,
        members: load.members,
        senders: load.members,
        payload: 128,
        window: if load.in_flight > 0 {
            load.in_flight.div_ceil(load.rooms * load.members)
        } else {
            1
        },
        in_flight: load.in_flight,
        rate: load.per_s,
        deaf_one_in: 0,
        warm: Duration::from_millis(500),
        measure: Duration::from_millis(millis),
        threads,
    };
    let dialect = Nodes { addrs: cluster.addrs() };
    let (mut begin, mut end) = (Cost::default(), Cost::default());
    let mut look = |moment| {
        match moment {
            Moment::Begin => begin = cluster.cost()?,
            Moment::End => end = cluster.cost()?,
            _ => {}
        }
        Ok(())
    };
    let outcome = load::run(&dialect, dialect.addrs[0], &plan, &mut look)?;
    if !outcome.faults.is_none() || outcome.delivered == 0 {
        return Err(format!("not all was right: {}", outcome.faults.summary()).into());
    }
    Ok(found(&outcome, load, end.since(begin)))
}

fn found(outcome: &Outcome, load: Load, cost: Cost) -> Found {
    let delivered = outcome.delivered as f64;
    let messages = delivered / f64::from(load.members - 1);
    let micros = |quantile: f64| outcome.latency.value_at_quantile(quantile) as f64 / 1e3;
    Found {
        deliveries_per_s: delivered / outcome.seconds,
        messages_per_s: messages / outcome.seconds,
        p50_us: micros(0.5),
        p99_us: micros(0.99),
        node_us: 1e6 * cost.nodes_s / delivered,
        redis_us: 1e6 * cost.redis_s / messages,
        script_us: cost.script_us / messages,
        calls: cost.calls / messages,
    }
}

/// The median over the runs of one of the figures.
fn median(runs: &[Found], figure: impl Fn(&Found) -> f64) -> f64 {
    let mut all: Vec<_> = runs.iter().map(figure).collect();
    all.sort_by(f64::total_cmp);
    all.get(all.len() / 2).copied().unwrap_or(f64::NAN)
}

fn print(arguments: &Arguments, commit: &str, redis: &str, found: &[Vec<Vec<Found>>]) {
    println!(
        "# Nodes that share their rooms\n\n\
         Written by `bench-nodes` (see its `--help`), relay built from {commit}; {redis}.\n\
         Load average when it ended: {}.\n\
         Medians of {} runs of {} ms, in turns. 128-byte messages; the members of each room take turns\n\
         with the nodes. All nodes together have cores {}, all Redis servers core {}, the generator\n\
         core {}: more nodes or shards have no more cores here, so a row shows what the next node\n\
         *costs*, and not what it would bring on a machine of its own. Every delivery was checked.\n\n\
         *Added* is beside one node without Redis, in the same run. *Redis* is its CPU time for a message,\n\
         system calls included; one core of it would be full at *full at*. *Calls* is how many scripts\n\
         ran for a message: below one, messages travelled together.",
        load_average(),
        arguments.runs,
        arguments.millis,
        arguments.node_cores,
        arguments.redis_cores,
        arguments.generator_cores,
    );
    for ((name, _), shapes) in LOADS.iter().zip(found) {
        println!(
            "\n## {name}\n\n\
             | nodes | Redis | deliveries/s | messages/s | p50 / p99 (µs) | added p50 / p99 (µs) \
             | relays, µs a delivery | Redis, µs a message | script, µs a message | calls a message | full at |\n\
             |--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|"
        );
        let alone = shapes.first().map_or(&[][..], Vec::as_slice);
        let base = (median(alone, |run| run.p50_us), median(alone, |run| run.p99_us));
        for ((nodes, shards), runs) in SHAPES.iter().zip(shapes) {
            println!("{}", row(*nodes, *shards, runs, base));
        }
    }
}

/// How busy the machine was: above a few, the figures are about something else.
fn load_average() -> String {
    let said = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    said.split(' ').next().unwrap_or_default().to_owned()
}

fn row(nodes: usize, shards: usize, runs: &[Found], base: (f64, f64)) -> String {
    let of = |figure: fn(&Found) -> f64| median(runs, figure);
    let (p50, p99) = (of(|run| run.p50_us), of(|run| run.p99_us));
    let head = format!(
        "| {nodes} | {shards} | {:.0} | {:.0} | {p50:.0} / {p99:.0} | ",
        of(|run| run.deliveries_per_s),
        of(|run| run.messages_per_s),
    );
    let node_us = of(|run| run.node_us);
    if shards == 0 {
        return format!("{head}– | {node_us:.2} | – | – | – | – |");
    }
    let redis_us = of(|run| run.redis_us);
    format!(
        "{head}{:.0} / {:.0} | {node_us:.2} | {redis_us:.2} | {:.2} | {:.2} | {:.0}/s |",
        p50 - base.0,
        p99 - base.1,
        of(|run| run.script_us),
        of(|run| run.calls),
        1e6 / redis_us,
    )
}
