//! `cargo xtask bench`: builds what it measures in release, then hands over to the measuring program.

use anyhow::Result;

use crate::command::{self, cargo, program, target};
use crate::peers;

/// Builds and measures; `arguments` go to the measuring program.
pub(crate) fn run(arguments: &[&str]) -> Result<()> {
    let without_ours = ["--floor", "--help"].iter().any(|argument| arguments.contains(argument));
    let mut build = cargo();
    build.args(["build", "--release", "--locked", "--package", "holdpoint-bench"]);
    if !without_ours {
        build.args(["--package", "holdpoint"]);
    }
    command::run(&mut build)?;
    let folder = target().join("release");
    let mut bench = program(folder.join("holdpoint-bench"));
    bench.args(["run", "--results"]).arg(target().join("bench")).arg("--ours").arg(folder.join("holdpoint"));
    if arguments.contains(&"--peers") {
        bench.arg("--peers-in").arg(peers::install()?);
    }
    command::run(bench.args(arguments.iter().filter(|argument| **argument != "--peers")))
}
