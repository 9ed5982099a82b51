//! `lethewire completions`: what a shell needs to complete a command line.

use std::io::Write;

use clap::CommandFactory as _;
use clap_complete::Shell;

use super::Cli;

#[derive(clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct Args {
    /// The shell that is to complete.
    shell: Shell,
}

const AFTER_HELP: &str = "\
Examples:
  lethewire completions bash > /etc/bash_completion.d/lethewire
  lethewire completions zsh > /usr/local/share/zsh/site-functions/_lethewire
  lethewire completions fish > ~/.config/fish/completions/lethewire.fish";

/// Writes the script for a shell.
pub(super) fn write(args: &Args, out: &mut dyn Write) {
    clap_complete::generate(args.shell, &mut Cli::command(), env!("CARGO_PKG_NAME"), out);
}
