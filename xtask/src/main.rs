//! The commands of this repository, run as `cargo xtask COMMAND`.
//!
//! - `test`: everything a change has to pass; installs what the tests need.
//! - `generate`: writes the generated files, or with `--check` says which are stale.
//! - `mutants`: breaks the kernel in every way that `cargo mutants` knows, and says which breakages no test notices.
//! - `fuzz`: lets a fuzzer at every parser that reads what a stranger wrote.
//! - `bench`: measures a tool call direct, through a bare relay, through Holdpoint and through other proxies.

use std::process::ExitCode;

use anyhow::{Result, bail};

mod bench;
mod command;
mod environment;
mod fuzz;
mod generate;
#[cfg(test)]
mod layering;
mod peers;
mod snapshots;
mod test;

const USAGE: &str = "\
usage: cargo xtask COMMAND

  test [--quick | --long]
                        format, lints, generated files, licences, every test; --quick leaves out
                        the licence check and the end-to-end tests, --long adds clients that
                        wait for minutes, and prints what each of them saw
  install               only what the tests need: packages, tool servers, clients
  generate [--check]    write the generated files, or fail if one is stale
  mutants [ARGUMENTS]   break the kernel and see that its tests notice (hours); arguments go to
                        `cargo mutants`, say `-F reconcile`
  fuzz [--minutes N] [TARGET…]
                        fuzz the parsers, 10 minutes each
  bench [ARGUMENTS]     measure what a gate in the path costs, with `--peers` beside other proxies;
                        `cargo xtask bench --help` lists the arguments
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[&str]) -> Result<()> {
    match arguments {
        ["test"] => test::run(test::Scope::Everything),
        ["test", "--quick"] => test::run(test::Scope::Quick),
        ["test", "--long"] => test::run(test::Scope::Long),
        ["install"] => environment::install(environment::Need::EndToEnd),
        ["generate"] => generate::write(),
        ["generate", "--check"] => generate::check(),
        ["mutants", rest @ ..] => mutants(rest),
        ["fuzz", rest @ ..] => fuzz::run(rest),
        ["bench", rest @ ..] => bench::run(rest),
        ["help" | "--help" | "-h"] => {
            println!("{USAGE}");
            Ok(())
        }
        _ => bail!("unknown command\n\n{USAGE}"),
    }
}

/// The tests of the types are left out: they compile for a minute, and what they hold cannot be broken at run time.
fn mutants(arguments: &[&str]) -> Result<()> {
    environment::install_mutants()?;
    command::run(
        command::cargo()
            .args(["mutants", "-p", "holdpoint-core", "--test-package", "holdpoint-core,holdpoint-tower"])
            .args(["--test-tool", "nextest", "--timeout", "60", "--output", "target"])
            .args(arguments)
            .args(["--", "--fail-fast", "-E", "not test(types::)"]),
    )
}
