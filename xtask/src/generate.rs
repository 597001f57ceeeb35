//! `cargo xtask generate`: files that the binary prints and the repository keeps, so what is published is what runs.
//!
//! `holdpoint generate` lists their paths, one a line; `holdpoint generate PATH` prints one.

use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::command::{self, cargo, output, program, root, target};

/// Writes them all.
pub(crate) fn write() -> Result<()> {
    for path in paths()? {
        let file = root().join(&path);
        if let Some(folder) = file.parent() {
            std::fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
        }
        std::fs::write(&file, printed(&path)?).with_context(|| format!("cannot write {}", file.display()))?;
        println!("wrote {path}");
    }
    Ok(())
}

/// Fails when one differs from what the binary prints.
pub(crate) fn check() -> Result<()> {
    let paths = paths()?;
    let mut stale = Vec::new();
    for path in &paths {
        let kept = std::fs::read_to_string(root().join(path)).unwrap_or_default();
        if kept != printed(path)? {
            stale.push(path.as_str());
        }
    }
    if !stale.is_empty() {
        bail!("stale: {}\nhint: run `cargo xtask generate` and commit the result", stale.join(", "));
    }
    println!("{} generated files are up to date", paths.len());
    Ok(())
}

fn paths() -> Result<Vec<String>> {
    command::run(cargo().args(["build", "--locked", "--package", "holdpoint"]))?;
    let list = output(holdpoint().arg("generate"))?;
    let paths: Vec<String> = list.lines().map(str::to_owned).collect();
    if paths.is_empty() {
        bail!("`holdpoint generate` lists no file");
    }
    Ok(paths)
}

fn printed(path: &str) -> Result<String> {
    output(holdpoint().args(["generate", path]))
}

fn holdpoint() -> Command {
    program(target().join("debug/holdpoint"))
}
