//! `lethewire man`: the manual, made from the same definition as `--help`.

use std::io::{self, Write};

use clap::{Command, CommandFactory as _};
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};

use super::{AFTER_HELP, Cli};

/// Writes one page in roff: the command, then each of its subcommands with all its options.
pub(super) fn write(out: &mut dyn Write) -> io::Result<()> {
    let mut command = Cli::command();
    // Fills in what subcommands inherit, and their full names.
    command.build();
    let page = Man::new(command.clone());
    // No date, so that one source makes one page.
    writeln!(out, ".TH LETHEWIRE 1 \"\" \"lethewire {}\"", env!("CARGO_PKG_VERSION"))?;
    page.render_name_section(out)?;
    page.render_synopsis_section(out)?;
    page.render_description_section(out)?;
    page.render_options_section(out)?;
    let mut commands = Vec::new();
    gather(&command, &mut commands);
    section(out, "COMMANDS")?;
    for command in commands {
        one(out, command)?;
    }
    section(out, "EXAMPLES, ENVIRONMENT, EXIT CODES")?;
    verbatim(out, AFTER_HELP)?;
    section(out, "SEE ALSO")?;
    let mut roff = Roff::new();
    let see =
        "lethewire config \\-\\-defaults prints every setting with its meaning, unit and range.";
    roff.text([roman(see.replace('\\', ""))]);
    roff.to_writer(out)
}

/// The commands that can be run, in the order of `--help`.
fn gather<'a>(command: &'a Command, found: &mut Vec<&'a Command>) {
    for each in command.get_subcommands().filter(|each| each.get_name() != "help") {
        if each.has_subcommands() {
            gather(each, found);
        } else {
            found.push(each);
        }
    }
}

/// One command: its name, what it does, its options, and its examples as they are.
fn one(out: &mut dyn Write, command: &Command) -> io::Result<()> {
    let name = command.get_bin_name().unwrap_or_else(|| command.get_name());
    let mut roff = Roff::new();
    roff.control("SS", [name]);
    let about = command.get_long_about().or_else(|| command.get_about());
    let about = about.map(ToString::to_string).unwrap_or_default();
    for (number, paragraph) in about.split("\n\n").enumerate() {
        if number > 0 {
            roff.control("PP", []);
        }
        roff.text([roman(paragraph)]);
    }
    for argument in command.get_arguments().filter(|argument| !inherited(argument)) {
        roff.control("TP", []);
        roff.text([bold(spelling(argument))]);
        let help = argument.get_long_help().or_else(|| argument.get_help());
        let mut help = help.map(ToString::to_string).unwrap_or_default().replace("\n\n", " ");
        if let [default] = argument.get_default_values()
            && !argument.is_hide_default_value_set()
        {
            help = format!("{help} [default: {}]", default.to_string_lossy());
        }
        roff.text([roman(help)]);
    }
    roff.to_writer(out)?;
    match command.get_after_help() {
        Some(text) => {
            Roff::new().control("PP", []).to_writer(out)?;
            verbatim(out, &text.to_string())
        }
        None => Ok(()),
    }
}

/// Whether an option is that of every command, and told once.
fn inherited(argument: &clap::Arg) -> bool {
    ["help", "version", "config"].contains(&argument.get_id().as_str())
}

/// An argument as it is written on a command line.
fn spelling(argument: &clap::Arg) -> String {
    let values = argument.get_num_args().filter(clap::builder::ValueRange::takes_values);
    let value = values.and_then(|_| argument.get_value_names()).and_then(|names| names.first());
    match (argument.get_long(), value) {
        (Some(long), Some(value)) => format!("--{long} <{value}>"),
        (Some(long), None) => format!("--{long}"),
        (None, value) => {
            format!("<{}>", value.map_or_else(|| argument.get_id().as_str(), |v| v.as_str()))
        }
    }
}

fn section(out: &mut dyn Write, title: &str) -> io::Result<()> {
    Roff::new().control("SH", [title]).to_writer(out)
}

/// Text whose lines stay as they are.
fn verbatim(out: &mut dyn Write, text: &str) -> io::Result<()> {
    let mut roff = Roff::new();
    roff.control("nf", []);
    for line in text.lines() {
        if line.is_empty() {
            roff.control("sp", [])
        } else {
            roff.text([roman(line)])
        };
    }
    roff.control("fi", []);
    roff.to_writer(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_and_option_is_in_the_manual() {
        let mut page = Vec::new();
        write(&mut page).unwrap();
        let page = String::from_utf8(page).unwrap().replace("\\-", "-");
        let mut command = Cli::command();
        command.build();
        let mut commands = Vec::new();
        gather(&command, &mut commands);
        assert!(commands.len() >= 8, "{}", commands.len());
        for command in commands {
            let name = command.get_bin_name().unwrap();
            assert!(page.contains(&format!(".SS \"{name}\"")), "{name}: {page}");
            for long in command.get_arguments().filter_map(clap::Arg::get_long) {
                assert!(page.contains(&format!("--{long}")), "{name}: --{long}");
            }
        }
    }
}
