//! Files of the repository that are made by this binary: the JSON Schemas of the configuration, the reference of the
//! command line. `cargo xtask generate` writes them, the test command compares them.

use crate::{cli::Cli, cli::GenerateArgs, print};
use anyhow::{Result, bail};
use clap::{Arg, Command, CommandFactory as _};
use std::{fmt::Write as _, process::ExitCode};

const REFERENCE: &str = "docs/cli.md";

pub(crate) fn run(args: &GenerateArgs) -> Result<ExitCode> {
    let schemas = holdpoint_config::schemas();
    let path = |name: &str| format!("config/schema/{name}");
    match args.file.as_deref() {
        None => {
            print::text(REFERENCE)?;
            for (name, _) in &schemas {
                print::text(&path(name))?;
            }
        }
        Some(REFERENCE) => print::text(&reference())?,
        Some(file) => match schemas.iter().find(|(name, _)| path(name) == file) {
            Some((_, text)) => print::text(text)?,
            None => bail!("`{file}` is not a generated file\n  hint: `holdpoint generate` lists them"),
        },
    }
    Ok(ExitCode::SUCCESS)
}

fn reference() -> String {
    let mut out = String::from("# Command line\n\nGenerated from `holdpoint --help`; do not edit.\n");
    let command = Cli::command();
    command_reference(&command, "holdpoint", &mut out);
    out
}

fn command_reference(command: &Command, name: &str, out: &mut String) {
    if command.is_hide_set() {
        return;
    }
    let about = command.get_long_about().or_else(|| command.get_about());
    let _infallible = write!(out, "\n## `{name}`\n\n");
    if let Some(about) = about {
        let _infallible = writeln!(out, "{about}");
    }
    let arguments: Vec<&Arg> = command.get_arguments().filter(|arg| !arg.is_hide_set()).collect();
    if !arguments.is_empty() {
        out.push('\n');
    }
    for arg in arguments {
        let _infallible = writeln!(out, "- `{}`: {}", usage(arg), help(arg));
    }
    for child in command.get_subcommands() {
        command_reference(child, &format!("{name} {}", child.get_name()), out);
    }
}

fn usage(arg: &Arg) -> String {
    let names = arg.get_value_names().unwrap_or_default();
    let values: Vec<&str> = names.iter().map(clap::builder::Str::as_str).collect();
    let values = if arg.get_action().takes_values() { values.join(" ") } else { String::new() };
    match arg.get_long() {
        None => values,
        Some(long) if values.is_empty() => format!("--{long}"),
        Some(long) => format!("--{long} {values}"),
    }
}

fn help(arg: &Arg) -> String {
    let mut help = arg.get_help().map(ToString::to_string).unwrap_or_default();
    let defaults: Vec<_> = arg.get_default_values().iter().map(|value| value.to_string_lossy()).collect();
    // The data folder's default is this machine's.
    if !defaults.is_empty() && arg.get_id() != "data" && arg.get_action().takes_values() {
        let _infallible = write!(help, " (default `{}`)", defaults.join(" "));
    }
    help
}
