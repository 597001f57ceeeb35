//! `cargo xtask fuzz`: every parser that reads what a stranger wrote, for some minutes each.

use std::path::Path;

use anyhow::{Context as _, Result, bail};

use crate::command::{self, cargo, root, target};
use crate::environment;

const MINUTES: u64 = 10;

/// A target, and the files of `name<TAB>message` lines that it starts from.
struct Target {
    name: &'static str,
    seeds: &'static [&'static str],
}

const TARGETS: &[Target] = &[
    Target { name: "client_lines", seeds: &["client.tsv"] },
    Target { name: "server_lines", seeds: &["server.tsv"] },
    Target { name: "events", seeds: &[] },
    Target { name: "arguments", seeds: &[] },
    Target { name: "configuration", seeds: &[] },
];

/// Runs the named targets, or all.
pub(crate) fn run(arguments: &[&str]) -> Result<()> {
    let (minutes, names) = match arguments {
        ["--minutes", minutes, names @ ..] => (minutes.parse().context("--minutes takes a number")?, names),
        names => (MINUTES, names),
    };
    if let Some(unknown) = names.iter().find(|name| TARGETS.iter().all(|target| target.name != **name)) {
        let known: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
        bail!("no fuzz target `{unknown}`\nhint: there are {}", known.join(", "));
    }
    environment::install_fuzzer()?;
    for fuzzed in TARGETS.iter().filter(|target| names.is_empty() || names.contains(&target.name)) {
        let corpus = seeded(fuzzed)?;
        command::run(
            cargo()
                // Without a sanitizer it builds with the toolchain of the house: there is no unsafe code to watch.
                .args(["fuzz", "run", "--sanitizer", "none", "--fuzz-dir", "fuzz", "--target-dir"])
                .arg(target().join("fuzz"))
                .args([fuzzed.name])
                .arg(corpus)
                .args(["--", &format!("-max_total_time={}", minutes * 60), "-timeout=20"]),
        )?;
    }
    Ok(())
}

fn seeded(fuzzed: &Target) -> Result<std::path::PathBuf> {
    let folder = target().join("fuzz-corpus").join(fuzzed.name);
    std::fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    for file in fuzzed.seeds {
        let path = root().join("crates/holdpoint-mcp/tests/it/corpus").join(file);
        let text =
            std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        for (number, line) in text.lines().enumerate() {
            if let Some((_, message)) = line.split_once('\t') {
                write(&folder.join(format!("{number}-{file}")), message)?;
            }
        }
    }
    Ok(folder)
}

fn write(path: &Path, message: &str) -> Result<()> {
    std::fs::write(path, format!("{message}\n")).with_context(|| format!("cannot write {}", path.display()))
}
