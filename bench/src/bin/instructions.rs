//! Compares counted instructions with their bounds, or records them: `bench/instructions.sh`.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, ValueEnum};
use lethewire_bench::Fault;
use lethewire_bench::instructions::{Bounds, Tools, read};

/// Takes gungraun's JSON lines on its standard input.
#[derive(Parser)]
struct Cli {
    /// What to do with the counts.
    deed: Deed,
    /// The file with the bounds.
    bounds: PathBuf,
}

#[derive(Clone, Copy, ValueEnum)]
enum Deed {
    /// Compare them with the bounds; the exit code is the result.
    Check,
    /// Make them the bounds.
    Record,
}

fn main() -> Result<ExitCode, Fault> {
    let Cli { deed, bounds: path } = Cli::parse();
    let bounds: Bounds = serde_json::from_str(&fs::read_to_string(&path)?)?;
    let counts = read(io::stdin().lock())?;
    let tools = Tools::here()?;
    let (text, is_good) = bounds.compare(&counts, &tools);
    if matches!(deed, Deed::Check) {
        print!("{text}");
        return Ok(if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    }
    let recorded = bounds.recorded(&counts, tools);
    fs::write(&path, serde_json::to_string_pretty(&recorded)? + "\n")?;
    print!("{}", recorded.compare(&counts, &recorded.tools).0);
    Ok(ExitCode::SUCCESS)
}
