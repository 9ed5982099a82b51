//! `lethewire probe`: what a member would find at the public address, measured from outside.
//!
//! Two members join a room of their own and one says something to the other: that is all, so it is
//! cheap for the relay, and nothing less shows that it works. Nobody else's room is touched, and
//! neither tokens nor names are printed.

mod exporter;
mod journey;
mod member;
mod refused;
mod report;
mod room;
mod stage;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{SignalKind, signal};

use self::journey::Plan;
use self::stage::{Failure, Stage};
use super::remote::{Trust, Url};
use super::{complain, print};
use crate::clock;

#[derive(clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct Args {
    /// The relay's address as members have it: https://, wss://, http:// or ws://.
    #[arg(value_name = "URL", required_unless_present = "url")]
    address: Option<String>,

    /// The same, for those who like options.
    #[arg(long, value_name = "URL", conflicts_with = "address")]
    url: Option<String>,

    /// Seconds that a whole probe may take.
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=120))]
    timeout: u64,

    /// Certificates in PEM of the authorities to believe, instead of those that this system trusts.
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,

    /// Connect members to URL also where the relay sends them elsewhere (PUBLIC_URL): for one node
    /// behind a balancer.
    #[arg(long)]
    direct: bool,

    /// Print one JSON object.
    #[arg(long, conflicts_with = "listen")]
    json: bool,

    /// Do not end: probe again and again, and serve the figures on this address as /metrics
    /// (OpenMetrics), and /live.
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<SocketAddr>,

    /// Time between two probes of --listen, from 10s to 1h: seconds, or a number with s, m or h. A
    /// relay allows 10 new rooms per minute and address, unless it was told otherwise.
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = interval, requires = "listen")]
    interval: Duration,
}

const AFTER_HELP: &str = "\
What it does: makes a room that nobody else knows, joins it twice, sends one padded message from one
member to the other, leaves and closes the room. Where the application's backend mints the tokens,
it mints two with the JOIN_TOKEN_SECRET or JOIN_TOKEN_SECRET_FILE of this environment.

Stages: resolve, connect, tls, token, handshake, join, message. A failure says its stage and what
to do next. handshake is a member's own connection, TLS and upgrade; join lasts until the welcome;
of two members the slower one counts.

Examples:
  lethewire probe https://relay.example
  lethewire probe http://127.0.0.1:8080 --json
  lethewire probe https://localhost:8443 --ca-file ca.pem
  JOIN_TOKEN_SECRET_FILE=/run/secrets/join lethewire probe wss://relay.example
  lethewire probe https://relay.example --listen 127.0.0.1:9115 --interval 30s

Exit codes: 0 it works, 1 it does not, 2 command line not understood.";

pub(super) fn run(args: Args, file: Option<&Path>) -> ExitCode {
    let listen = args.listen.map(|address| (address, args.interval));
    let json = args.json;
    let plan = match plan(args, file) {
        Ok(plan) => plan,
        Err(what) => {
            complain(what);
            return ExitCode::from(2);
        }
    };
    let runtime = match runtime() {
        Ok(runtime) => runtime,
        Err(error) => {
            complain(format_args!("cannot start: {error}"));
            return ExitCode::FAILURE;
        }
    };
    let code = runtime.block_on(Box::pin(async {
        match listen {
            Some((address, interval)) => export(&plan, address, interval).await,
            None => once(&plan, json).await,
        }
    }));
    // A name server that never answers keeps a thread; nobody waits for it.
    runtime.shutdown_background();
    code
}

fn plan(args: Args, file: Option<&Path>) -> Result<Plan<'_>, String> {
    let address = args.address.or(args.url).unwrap_or_default();
    let url = Url::parse(&address)?;
    let trust = match (url.secure, Trust::new(args.ca_file.as_deref())) {
        (_, Ok(trust)) => Some(trust),
        (false, Err(_)) if args.ca_file.is_none() => None,
        (_, Err(what)) => return Err(what),
    };
    let limit = Duration::from_secs(args.timeout);
    Ok(Plan { url, trust, direct: args.direct, limit, file })
}

/// One thread does: nothing here happens at the same time.
fn runtime() -> std::io::Result<Runtime> {
    Builder::new_current_thread().enable_all().build()
}

async fn once(plan: &Plan<'_>, json: bool) -> ExitCode {
    let outcome = Box::pin(plan.run()).await;
    let target = plan.url.to_ws();
    print(if json {
        report::json(&target, &outcome)
    } else {
        report::text(&target, &outcome, clock::unix_now())
    });
    match outcome.failure {
        None => ExitCode::SUCCESS,
        Some(_) => ExitCode::FAILURE,
    }
}

async fn export(plan: &Plan<'_>, address: SocketAddr, interval: Duration) -> ExitCode {
    let announce = |address| {
        complain(format_args!("probing {}; figures: http://{address}/metrics", plan.url.to_ws()));
    };
    let served = async {
        let (mut terminate, mut interrupt) =
            (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        let stop = async {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        };
        exporter::run(plan, address, interval, announce, stop).await
    };
    match served.await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(format_args!("cannot listen on {address} (--listen): {error}"));
            ExitCode::FAILURE
        }
    }
}

/// A time as people write it.
fn interval(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(['s', 'm', 'h']);
    let factor = match text.get(digits.len()..) {
        Some("" | "s") => 1,
        Some("m") => 60,
        Some("h") => 3600,
        _ => 0,
    };
    let seconds = digits.parse::<u64>().ok().and_then(|number| number.checked_mul(factor));
    match seconds {
        Some(seconds @ 10..=3600) => Ok(Duration::from_secs(seconds)),
        _ => Err("expected 10s to 1h, as in 30, 30s or 5m".to_owned()),
    }
}

/// Bytes that nobody can guess.
fn random<const N: usize>() -> Result<[u8; N], Failure> {
    let mut bytes = [0; N];
    if getrandom::fill(&mut bytes).is_err() {
        let next = "the kernel of this machine should have some";
        return Err(Failure::new(Stage::Token, "the system has no random bytes", next));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_between_probes_are_polite() {
        for (text, seconds) in [("30", 30), ("30s", 30), ("5m", 300), ("1h", 3600), ("10s", 10)] {
            assert_eq!(interval(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for text in ["", "s", "9s", "2h", "1d", "-30s", "30 s", "30ss", "99999999999999999999h"] {
            assert!(interval(text).is_err(), "{text}");
        }
    }
}
