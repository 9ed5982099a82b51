//! What was found, as a section of a page in Markdown.

use crate::Arguments;
use crate::healthy::{MESSAGES_PER_S, ROOMS};
use crate::turns::{Found, Round, Spread, Turn};

/// Prints it to standard output.
pub(crate) fn print(arguments: &Arguments, commit: &str, found: &[Found]) {
    let (title, limits) = if arguments.one_address {
        ("Attackers with one address", "all come from one address")
    } else {
        ("Attackers with as many addresses as they like", "those per address are off")
    };
    let others = Spread::of(found.iter().flat_map(Found::others).collect());
    let pace = arguments.attacks_per_s.map_or_else(
        || "as fast as they can".to_owned(),
        |per_s| format!("with {per_s} attacks per second together"),
    );
    println!(
        "## {title}\n\n\
         Written by `bench-floods` (see its `--help`), relay built from {commit}. {} rounds with turns of {} ms;\n\
         {ROOMS} rooms of two that say {MESSAGES_PER_S} messages per second together, on a core of their own; {}\n\
         attackers at a time, {pace}. Limits are the defaults; {limits}. Others took {:.0} % of the\n\
         machine's processors meanwhile, {:.0} % at most. The host took\n\
         {:.1} % of them in calm turns, {:.1} % in those next door, {:.1} % in flooded ones.\n\n\
         | flood | attacks per s | CPU (µs) for each | calm p50 / p99 (µs) | next door p50 / p99 (µs) | flooded p50 / p99 (µs) \
         | next door, times calm | flooded, times calm | flooded, times next door |\n\
         |---|--:|--:|--:|--:|--:|--:|--:|--:|",
        arguments.rounds,
        arguments.turn_ms,
        arguments.attackers,
        others.median,
        others.most,
        stolen(found, |round| &round.calm),
        stolen(found, |round| &round.next_door),
        stolen(found, |round| &round.flooded),
    );
    for found in found {
        println!(
            "| {}: {} | {:.0} | {:.0} | {} | {} | {} | {} | {} | {} |",
            found.flood.name,
            found.flood.what,
            found.spread(|round| round.flooded.attacks as f64).median,
            found.spread(|round| round.next_door.attack_us).median,
            delays(found, |round| &round.calm),
            delays(found, |round| &round.next_door),
            delays(found, |round| &round.flooded),
            ratio(&found.ratio(|round| (&round.next_door, &round.calm))),
            ratio(&found.ratio(|round| (&round.flooded, &round.calm))),
            ratio(&found.ratio(|round| (&round.flooded, &round.next_door))),
        );
    }
}

/// What the host took in such turns, in percent: the mean, because one turn has few clock ticks.
fn stolen(found: &[Found], turn: impl Fn(&Round) -> &Turn) -> f64 {
    let shares: Vec<f64> = found.iter().flat_map(|found| found.stolen(&turn)).collect();
    shares.iter().sum::<f64>() / shares.len().max(1) as f64
}

fn delays(found: &Found, turn: impl Fn(&Round) -> &Turn) -> String {
    let p50 = found.spread(|round| turn(round).p50 as f64).median;
    let p99 = found.spread(|round| turn(round).p99 as f64).median;
    format!("{p50:.0} / {p99:.0}")
}

fn ratio(Spread { least, median, most }: &Spread) -> String {
    format!("**{median:.2}** ({least:.2} to {most:.2})")
}
