//! `lethewire config`: what is in effect.

use std::path::Path;
use std::process::ExitCode;

use super::{complain, loaded, print};
use crate::config::DEFAULT_TOML;

#[derive(clap::Args)]
pub(super) struct Args {
    /// Print the built-in configuration instead, with the meaning, unit and range of every key.
    #[arg(long)]
    defaults: bool,
}

pub(super) fn run(args: &Args, file: Option<&Path>) -> ExitCode {
    if args.defaults {
        print(DEFAULT_TOML.trim_end());
        return ExitCode::SUCCESS;
    }
    match loaded(file) {
        Ok(loaded) => {
            print(loaded.config.redacted().trim_end());
            loaded.notes.iter().for_each(complain);
            ExitCode::SUCCESS
        }
        Err(code) => code,
    }
}
