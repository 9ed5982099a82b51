//! The binary: everything is in [`lethewire::cli`].

use std::process::ExitCode;

fn main() -> ExitCode {
    lethewire::cli::main()
}
