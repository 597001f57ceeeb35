//! `cargo xtask test`: the steps, in the order in which they fail fastest.

use std::time::{Duration, Instant};

use anyhow::Result;

use crate::command::{self, cargo};
use crate::environment::{self, Need};
use crate::{generate, snapshots};

/// How much to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    /// What a change has to pass.
    Everything,
    /// Without the licence check, the end-to-end tests and what these need installed.
    Quick,
}

struct Step {
    name: &'static str,
    run: fn(Scope) -> Result<()>,
    only_everything: bool,
}

const STEPS: &[Step] = &[
    Step { name: "install", run: install, only_everything: false },
    Step { name: "format", run: format, only_everything: false },
    Step { name: "licences and layers", run: deny, only_everything: true },
    Step { name: "lints", run: lints, only_everything: false },
    Step { name: "build", run: build, only_everything: false },
    Step { name: "generated files", run: generated, only_everything: false },
    Step { name: "tests", run: tests, only_everything: false },
    Step { name: "documentation examples", run: doc_tests, only_everything: false },
    Step { name: "snapshots", run: snapshot_files, only_everything: false },
];

/// Runs the steps and ends with a table of what each took.
pub(crate) fn run(scope: Scope) -> Result<()> {
    let mut taken = Vec::new();
    let mut result = Ok(());
    for step in STEPS {
        if step.only_everything && scope == Scope::Quick {
            continue;
        }
        eprintln!("\n== {} ==", step.name);
        let start = Instant::now();
        result = (step.run)(scope);
        taken.push((step.name, start.elapsed(), result.is_ok()));
        if result.is_err() {
            break;
        }
    }
    print_table(&taken);
    result?;
    match scope {
        Scope::Everything => println!("all tests passed"),
        Scope::Quick => {
            println!("quick tests passed (end-to-end tests and the licence check were left out)");
        }
    }
    Ok(())
}

fn print_table(taken: &[(&str, Duration, bool)]) {
    println!();
    for (name, duration, passed) in taken {
        let verdict = if *passed { "ok" } else { "FAILED" };
        println!("{name:<24} {:>7.1} s  {verdict}", duration.as_secs_f64());
    }
    let total: Duration = taken.iter().map(|(_, duration, _)| *duration).sum();
    println!("{:<24} {:>7.1} s", "total", total.as_secs_f64());
}

fn install(scope: Scope) -> Result<()> {
    environment::install(match scope {
        Scope::Everything => Need::EndToEnd,
        Scope::Quick => Need::Runner,
    })
}

fn format(_: Scope) -> Result<()> {
    command::run(cargo().args(["fmt", "--all", "--check"]))
}

fn deny(_: Scope) -> Result<()> {
    command::run(cargo().args([
        "deny",
        "--locked",
        "check",
        "--hide-inclusion-graph",
        "bans",
        "licenses",
        "sources",
    ]))
}

fn lints(_: Scope) -> Result<()> {
    command::run(
        cargo()
            .args(["clippy", "--locked", "--workspace", "--all-targets"])
            // The doors for fuzz targets are no part of any build.
            .args(["--features", "holdpoint-mcp/fuzzing", "--", "-D", "warnings"]),
    )
}

fn build(_: Scope) -> Result<()> {
    command::run(cargo().args(["build", "--locked", "--workspace"]))
}

fn generated(_: Scope) -> Result<()> {
    generate::check()
}

fn tests(scope: Scope) -> Result<()> {
    let references = snapshots::start()?;
    let mut command = cargo();
    command
        .args(["nextest", "run", "--locked", "--workspace", "--no-fail-fast"])
        .env("INSTA_UPDATE", "no")
        .env("INSTA_SNAPSHOT_REFERENCES_FILE", references);
    if scope == Scope::Quick {
        command.args(["--exclude", "holdpoint-e2e"]);
    }
    command::run(&mut command)
}

fn doc_tests(_: Scope) -> Result<()> {
    command::run(cargo().args(["test", "--locked", "--workspace", "--doc", "--quiet"]))
}

fn snapshot_files(scope: Scope) -> Result<()> {
    snapshots::check(scope)
}
