//! `lethewire serve`: the relay, from its start to the end of its drain.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::process::ExitCode;

use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;
use tracing::{info, warn};

use super::{complain, harden, loaded};
use crate::config::{Config, Loaded, Note, Summary};
use crate::http::resident_bytes;
use crate::server::{Passed, Server};
use crate::telemetry;

/// Serves until a signal or an operator asks it to stop.
///
/// `hardened` is how hardening the process went, for the log.
pub(super) fn run(file: Option<&Path>, hardened: &io::Result<()>) -> ExitCode {
    let mut loaded = match loaded(file) {
        Ok(loaded) => loaded,
        Err(code) => return code,
    };
    telemetry::init(&loaded.config);
    loaded.notes.extend(notes(&loaded.config, hardened, files_for(&loaded.config)));
    let passed = match Passed::take() {
        Ok(passed) => passed,
        Err(error) => {
            complain(format_args!("cannot take the sockets that were passed: {error}"));
            return ExitCode::FAILURE;
        }
    };
    let runtime = match runtime(loaded.config.server.worker_threads) {
        Ok(runtime) => runtime,
        Err(error) => {
            complain(format_args!("cannot start the threads: {error}"));
            return ExitCode::FAILURE;
        }
    };
    let code = runtime.block_on(Box::pin(serve(loaded, passed)));
    // After a second signal connections may still be there; nobody waits for them.
    runtime.shutdown_background();
    code
}

/// Prepares for as many open files as there may be. Returns how many that is where it is less than the
/// configured connections take.
fn files_for(config: &Config) -> Option<u64> {
    let wanted = u64::from(config.limit.connections) + FILES_BESIDE_CONNECTIONS;
    let few = harden::raise_file_limit().filter(|limit| *limit < wanted);
    // Without, they are made room for as they come.
    let _ = harden::make_room_for_files(few.unwrap_or(wanted));
    few
}

/// What this process was not allowed to do.
fn notes(config: &Config, hardened: &io::Result<()>, few_files: Option<u64>) -> Vec<Note> {
    let connections = config.limit.connections;
    let few = few_files.map(|limit| Note::FewFiles { limit, connections });
    let exposed = hardened.is_err().then_some(Note::NotHardened);
    let blind = no_memory_reading(config, resident_bytes());
    few.into_iter().chain(exposed).chain(blind).collect()
}

/// A limit on memory that has no effect, because the system does not say how much is `resident`.
fn no_memory_reading(config: &Config, resident: Option<u64>) -> Option<Note> {
    (config.limit.memory_bytes > 0 && resident.is_none()).then_some(Note::NoMemoryReading)
}

/// Sockets that a worker takes from the kernel at once. What it takes goes to its own queue of 256
/// tasks, and the oldest that do not fit wait behind all others; what it leaves keeps its turn in
/// the kernel.
const SOCKETS_PER_POLL: u8 = 64;

/// Tasks that a worker runs before it looks for more sockets: a socket's message is read, waits a
/// turn for others and is written, so three for each lets the queue end before it grows.
const TASKS_PER_POLL: u8 = 3 * SOCKETS_PER_POLL;

fn runtime(worker_threads: u32) -> io::Result<Runtime> {
    let mut builder = Builder::new_multi_thread();
    if let Some(threads) = usize::try_from(worker_threads).ok().filter(|threads| *threads > 0) {
        builder.worker_threads(threads);
    }
    builder.max_io_events_per_tick(SOCKETS_PER_POLL.into()).event_interval(TASKS_PER_POLL.into());
    builder.thread_name("lethewire").enable_all().build()
}

/// Binds, says so, and runs until it is stopped. A second signal ends it at once.
async fn serve(loaded: Loaded, passed: Passed) -> ExitCode {
    let about = About::of(&loaded);
    let (server, mut signals) =
        match Server::bind_with(loaded, passed).and_then(|s| Ok((s, Signals::new()?))) {
            Ok(both) => both,
            Err(error) => {
                complain(format_args!("cannot listen on {}: {error}", about.wanted));
                return ExitCode::FAILURE;
            }
        };
    let members = match server.local_addr() {
        Ok(address) => address,
        Err(error) => {
            complain(error);
            return ExitCode::FAILURE;
        }
    };
    about.announce(members, server.ops_addr());

    let (stop, stopped) = oneshot::channel::<()>();
    let ended = async {
        let first = signals.next().await;
        info!(signal = first.name(), "stopping; a second signal ends at once");
        drop(stop);
        signals.next().await
    };
    let stopped = async {
        // The other end is only ever dropped, and that is the message.
        let _ = stopped.await;
    };
    tokio::select! {
        () = Box::pin(server.run(stopped)) => {
            info!("stopped");
            ExitCode::SUCCESS
        }
        second = ended => {
            warn!(signal = second.name(), "ending at once");
            ExitCode::from(second.exit_code())
        }
    }
}

/// What there is to say about a relay once it listens.
struct About {
    /// The addresses of the configuration, with the variables that set them.
    wanted: String,
    notes: Vec<Note>,
    demo_page: bool,
    production: bool,
    json_logs: bool,
    summary: Summary,
}

impl About {
    fn of(loaded: &Loaded) -> Self {
        let Config { server, .. } = &loaded.config;
        let mut wanted = format!("{} (HOST, PORT)", server.listen());
        if let Some(operations) = server.ops_listen {
            append(&mut wanted, format_args!(" and {operations} (OPS_LISTEN)"));
        }
        Self {
            wanted,
            notes: loaded.notes.clone(),
            demo_page: loaded.config.demo_page(),
            production: loaded.config.is_production(),
            json_logs: loaded.config.json_logs(),
            summary: loaded.config.summary(),
        }
    }

    /// Tells a developer at a terminal, or the log.
    fn announce(&self, members: SocketAddr, operations: Option<SocketAddr>) {
        if !self.production {
            // A terminal that has gone away is no failure.
            let _ = io::stderr().write_all(self.banner(members, operations).as_bytes());
        }
        if self.production || self.json_logs {
            let operations = operations.map(tracing::field::display);
            let version = env!("CARGO_PKG_VERSION");
            info!(version, members = %members, operations, "listening");
            let Summary { changed, secrets } = &self.summary;
            info!(changed, secrets, "configuration");
            for note in &self.notes {
                warn!("{note}");
            }
        }
    }

    fn banner(&self, members: SocketAddr, operations: Option<SocketAddr>) -> String {
        let mut text = format!("\nLethewire {} is listening.\n\n", env!("CARGO_PKG_VERSION"));
        let what = if self.demo_page { "Open in two browsers" } else { "Members connect to" };
        append(&mut text, format_args!("  {what:<21} http://{}/\n", reachable(members)));
        if let Some(operations) = operations {
            let operations = reachable(operations);
            append(
                &mut text,
                format_args!("  {:<21} http://{operations}/health\n", "Health, metrics"),
            );
        }
        append(&mut text, format_args!("  {:<21} Ctrl-C, twice to end at once\n\n", "Stop"));
        for note in &self.notes {
            append(&mut text, format_args!("  Note: {note}\n"));
        }
        if !self.notes.is_empty() {
            text.push('\n');
        }
        text
    }
}

/// An address that a browser on this machine can open.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(match address {
            SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
            SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::LOCALHOST),
        });
    }
    address
}

fn append(text: &mut String, more: std::fmt::Arguments<'_>) {
    text.write_fmt(more).expect("writing to a String");
}

/// The two signals that stop a relay.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

/// One of them, with its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stop {
    Interrupt = 2,
    Terminate = 15,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    /// Waits for the next one.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses no signal that has not been returned.
    async fn next(&mut self) -> Stop {
        tokio::select! {
            _ = self.interrupt.recv() => Stop::Interrupt,
            _ = self.terminate.recv() => Stop::Terminate,
        }
    }
}

impl Stop {
    const fn name(self) -> &'static str {
        match self {
            Self::Interrupt => "SIGINT",
            Self::Terminate => "SIGTERM",
        }
    }

    /// What a shell reports for a process that this signal has killed.
    const fn exit_code(self) -> u8 {
        128 + self as u8
    }
}

/// Listeners, standard streams, the runtime's own, and some to spare for the system's libraries.
const FILES_BESIDE_CONNECTIONS: u64 = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Environment, load};

    fn about(pairs: &[(&'static str, &'static str)]) -> About {
        About::of(&load(None, &Environment::of(pairs.iter().copied())).unwrap())
    }

    #[test]
    fn the_banner_says_where_to_go_what_to_know_and_how_to_stop() {
        let members = "0.0.0.0:8080".parse().unwrap();
        let operations = "[::]:9090".parse().ok();
        let banner = about(&[("HOST", "0.0.0.0")]).banner(members, operations);
        for part in [
            "Open in two browsers  http://127.0.0.1:8080/\n",
            "http://[::1]:9090/health\n",
            "Ctrl-C",
            "Note: JOIN_TOKEN_SECRET is not set: ",
            "Note: development mode listens on more than this machine",
        ] {
            assert!(banner.contains(part), "{part}: {banner}");
        }
        let banner = about(&[("FEATURE_DEMO_PAGE", "0")]).banner(members, None);
        assert!(banner.contains("Members connect to    http://127.0.0.1:8080/\n"), "{banner}");
        assert!(!banner.contains("metrics"), "{banner}");
    }

    #[test]
    fn what_cannot_be_listened_on_is_named_with_its_variable() {
        assert_eq!(
            about(&[("PORT", "1")]).wanted,
            "127.0.0.1:1 (HOST, PORT) and 127.0.0.1:9090 (OPS_LISTEN)"
        );
        assert_eq!(about(&[("OPS_LISTEN", "")]).wanted, "127.0.0.1:8080 (HOST, PORT)");
    }

    #[test]
    fn what_the_process_may_not_do_is_noted() {
        let mut config = Config::default();
        config.limit.connections = 1;
        assert_eq!(files_for(&config), None);
        assert_eq!(notes(&config, &Ok(()), None), []);
        let denied = Err(io::ErrorKind::PermissionDenied.into());
        assert_eq!(notes(&config, &denied, None), [Note::NotHardened]);
        let few = Note::FewFiles { connections: 1, limit: 2 };
        assert_eq!(notes(&config, &Ok(()), Some(2)), [few]);
        if let Some(limit) = harden::raise_file_limit().filter(|limit| *limit <= 1 << 20) {
            config.limit.connections = u32::try_from(limit).unwrap();
            assert_eq!(files_for(&config), Some(limit), "there are others beside connections");
        }
    }

    #[test]
    fn a_limit_on_memory_that_cannot_be_kept_is_noted() {
        let mut config = Config::default();
        assert_eq!(no_memory_reading(&config, None), None, "there is none");
        config.limit.memory_bytes = 1;
        assert_eq!(no_memory_reading(&config, None), Some(Note::NoMemoryReading));
        assert_eq!(no_memory_reading(&config, Some(2)), None);
    }

    #[test]
    fn a_second_signal_ends_with_the_code_that_shells_expect() {
        assert_eq!((Stop::Interrupt.exit_code(), Stop::Interrupt.name()), (130, "SIGINT"));
        assert_eq!((Stop::Terminate.exit_code(), Stop::Terminate.name()), (143, "SIGTERM"));
    }
}
