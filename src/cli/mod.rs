//! The command line: one file per command, and what they share.
//!
//! What a command is asked for goes to standard output, everything else to standard error, so that
//! output can be piped. The exit code is 0 for success, 1 for "no" (not ready, not a valid token,
//! cannot listen), 2 for a command line that is not understood and 78 for a configuration that
//! cannot be used.

#![expect(clippy::doc_markdown, reason = "doc comments of arguments are the text of --help")]

mod completions;
mod config;
mod harden;
mod healthcheck;
mod man;
mod probe;
mod remote;
mod serve;
mod token;
mod top;

use std::fmt;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::config::{Environment, Loaded, load};
use crate::telemetry;

/// A relay for end-to-end encrypted rooms that it cannot read and does not keep.
///
/// Without a command it serves. With nothing configured it runs in development mode: on loopback,
/// with a random secret and a page to try it out.
#[derive(Parser)]
#[command(version, propagate_version = true, after_help = AFTER_HELP)]
struct Cli {
    /// A TOML file whose keys override the built-in ones; the environment overrides both.
    #[arg(long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,

    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Run the relay (what happens without a command, too).
    ///
    /// SIGTERM and SIGINT (Ctrl-C) start a drain: /ready turns to 503, members are told to come back
    /// elsewhere, and the process ends with 0 within SHUTDOWN_TIMEOUT seconds. A second signal ends
    /// it at once.
    Serve,
    /// Print the effective configuration as TOML, with secrets left out.
    Config(config::Args),
    /// Make and explain join tokens.
    #[command(subcommand)]
    Token(token::Command),
    /// Ask a running relay on this machine whether it is ready; for containers without a shell.
    Healthcheck(healthcheck::Args),
    /// Join a throw-away room from outside, as members do, and say how long each step took.
    Probe(probe::Args),
    /// Show what a running relay is doing, refreshed in place.
    Top(top::Args),
    /// Print the manual page in roff: `lethewire man | man -l -`.
    Man,
    /// Print a script that completes the command line in a shell.
    Completions(completions::Args),
}

const AFTER_HELP: &str = "\
Examples:
  lethewire                                try it: prints the address to open in a browser
  lethewire config                         what is in effect, and where it came from
  lethewire config --defaults              every key with its meaning, unit, range and default
  lethewire token mint --room new --cap sr
  lethewire healthcheck
  lethewire top                            what a running relay is doing, in place
  lethewire probe https://relay.example    join a throw-away room from outside, and measure

Environment (all variables: .env.production or `lethewire config --defaults`):
  HOST, PORT               where members connect        [127.0.0.1, 8080]
  OPS_LISTEN               health, metrics, admin       [127.0.0.1:9090]
  DEPLOYMENT_ENV           development or production    [development]
  JOIN_TOKEN_SECRET_FILE   file with the secret of join tokens, 32 bytes or more
  PUBLIC_URL               https address of this relay
  CORS_ALLOWED_ORIGINS     origins of the pages that may use it
  LOG_LEVEL, LOG_FORMAT    what is logged, and how      [info, auto]

Exit codes: 0 success, 1 no (not ready, not valid, cannot listen), 2 command line not understood,
78 configuration cannot be used, 130 or 143 ended at once by a second signal.";

/// Runs the command that the process was started with.
pub fn main() -> ExitCode {
    telemetry::withhold_panic_messages();
    let cli = Cli::parse();
    // Before any secret is read.
    let hardened = harden::harden();
    let file = cli.config.as_deref();
    match cli.command.unwrap_or(Command::Serve) {
        Command::Config(args) => config::run(&args, file),
        Command::Healthcheck(args) => healthcheck::run(&args, file),
        Command::Man => written(|out| man::write(out)),
        Command::Completions(args) => written(|out| {
            completions::write(&args, out);
            Ok(())
        }),
        Command::Probe(args) => probe::run(args, file),
        Command::Serve => serve::run(file, &hardened),
        Command::Token(command) => token::run(command, file),
        Command::Top(args) => top::run(&args),
    }
}

/// Loads the configuration, or says what is wrong with it.
fn loaded(file: Option<&std::path::Path>) -> Result<Loaded, ExitCode> {
    load(file, &Environment::of_process()).map_err(|error| {
        complain(error);
        ExitCode::from(UNUSABLE_CONFIGURATION)
    })
}

/// What `sysexits.h` calls `EX_CONFIG`; supervisors can be told not to restart on it.
const UNUSABLE_CONFIGURATION: u8 = 78;

/// Prints a result. A reader that has gone away is no failure.
fn print(text: impl fmt::Display) {
    let _ = writeln!(std::io::stdout(), "{text}");
}

/// Prints what a function writes, as it is.
fn written(write: impl FnOnce(&mut Vec<u8>) -> std::io::Result<()>) -> ExitCode {
    let mut text = Vec::new();
    write(&mut text).expect("writing to a Vec");
    let _ = std::io::stdout().write_all(&text);
    ExitCode::SUCCESS
}

/// Prints something for the person at the terminal.
fn complain(text: impl fmt::Display) {
    let _ = writeln!(std::io::stderr(), "lethewire: {text}");
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn no_command_means_serve_and_the_file_can_stand_anywhere() {
        let parse = |line: &str| Cli::try_parse_from(line.split(' ')).ok();
        assert!(parse("lethewire").unwrap().command.is_none());
        for line in ["lethewire --config x serve", "lethewire serve --config x"] {
            let cli = parse(line).unwrap();
            assert!(matches!(cli.command, Some(Command::Serve)));
            assert_eq!(cli.config.as_deref(), Some(std::path::Path::new("x")));
        }
        assert!(parse("lethewire --confg x").is_none());
        assert!(parse("lethewire srve").is_none());
    }
}
