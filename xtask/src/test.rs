//! `cargo xtask test`: the steps, in the order in which they fail fastest.

use std::time::{Duration, Instant};

use anyhow::Result;

use crate::command::{self, cargo};
use crate::environment::{self, DifyEngine, Need};
use crate::{generate, snapshots};

const NO_DIFY_ENGINE: &str = "\
NOT RUN: the tests of examples/dify on Dify's own engine
         It needs Python 3.12 or 3.13, and there is none on the path or in ~/.pyenv/versions.
         Install one, and run `cargo xtask test` again.";

/// How much to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    /// What a change has to pass.
    Everything,
    /// Without the licence check, the end-to-end tests and what these need installed.
    Quick,
    /// Everything, and the tests that wait for minutes.
    Long,
}

struct Step {
    name: &'static str,
    run: fn(Scope) -> Result<()>,
    from: Scope,
}

impl Scope {
    /// Whether a step that begins with `from` is part of it.
    const fn has(self, from: Self) -> bool {
        match from {
            Self::Quick => true,
            Self::Everything => matches!(self, Self::Everything | Self::Long),
            Self::Long => matches!(self, Self::Long),
        }
    }
}

const STEPS: &[Step] = &[
    Step { name: "install", run: install, from: Scope::Quick },
    Step { name: "format", run: format, from: Scope::Quick },
    Step { name: "licences and layers", run: deny, from: Scope::Everything },
    Step { name: "lints", run: lints, from: Scope::Quick },
    Step { name: "build", run: build, from: Scope::Quick },
    Step { name: "generated files", run: generated, from: Scope::Quick },
    Step { name: "tests", run: tests, from: Scope::Quick },
    Step { name: "tests on Dify's engine", run: dify_tests, from: Scope::Everything },
    Step { name: "long tests", run: long_tests, from: Scope::Long },
    Step { name: "documentation examples", run: doc_tests, from: Scope::Quick },
    Step { name: "snapshots", run: snapshot_files, from: Scope::Quick },
];

/// Runs the steps and ends with a table of what each took.
pub(crate) fn run(scope: Scope) -> Result<()> {
    let mut taken = Vec::new();
    let mut result = Ok(());
    for step in STEPS {
        if !scope.has(step.from) {
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
    let dify_is_left_out = scope != Scope::Quick && environment::dify_engine()? == DifyEngine::NoPython;
    match scope {
        Scope::Everything | Scope::Long => println!("all tests passed"),
        Scope::Quick => {
            println!("quick tests passed (end-to-end tests and the licence check were left out)");
        }
    }
    if dify_is_left_out {
        println!("{NO_DIFY_ENGINE}");
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
        Scope::Everything | Scope::Long => Need::EndToEnd,
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

/// Ignored by name, so that they are never counted where they did not run.
fn dify_tests(_: Scope) -> Result<()> {
    match environment::dify_engine()? {
        DifyEngine::Here => command::run(
            cargo().args(["nextest", "run", "--locked", "-p", "holdpoint-e2e", "--no-fail-fast"]).args([
                "--run-ignored",
                "only",
                "example_dify::engine::",
            ]),
        ),
        DifyEngine::NoPython => {
            eprintln!("{NO_DIFY_ENGINE}");
            Ok(())
        }
    }
}

fn long_tests(_: Scope) -> Result<()> {
    command::run(
        cargo().args(["nextest", "run", "--locked", "-p", "holdpoint-e2e", "--no-fail-fast"]).args([
            "--run-ignored",
            "only",
            "--success-output",
            "immediate",
            "::long_",
        ]),
    )
}

fn doc_tests(_: Scope) -> Result<()> {
    command::run(cargo().args(["test", "--locked", "--workspace", "--doc", "--quiet"]))
}

fn snapshot_files(scope: Scope) -> Result<()> {
    snapshots::check(scope)
}
