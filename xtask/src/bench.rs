//! `cargo xtask bench`: builds what it measures in release, then hands over to the measuring program.

use anyhow::Result;

use crate::command::{self, cargo, program, target};

/// Builds and measures; `arguments` go to the measuring program.
pub(crate) fn run(arguments: &[&str]) -> Result<()> {
    command::run(cargo().args([
        "build",
        "--release",
        "--locked",
        "--package",
        "holdpoint",
        "--package",
        "holdpoint-bench",
    ]))?;
    let folder = target().join("release");
    command::run(
        program(folder.join("holdpoint-bench"))
            .args(["run", "--ours"])
            .arg(folder.join("holdpoint"))
            .args(arguments),
    )
}
