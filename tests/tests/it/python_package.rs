//! `python/`, built and installed as a stranger would, against the real bridge and the real agent frameworks.

use crate::bridge::Office;
use anyhow::{Context as _, Result, ensure};
use holdpoint_e2e::{Ran, here, holdpoint, target};
use std::path::{Path, PathBuf};
use std::process::Command;

fn package() -> PathBuf {
    here().join("../python")
}

/// The Python that has the agent frameworks, and what builds a package.
fn python() -> PathBuf {
    target().join("tools/python-agents/bin/python")
}

/// The package as `pip install` builds it, in a folder of its own. Built from a copy: nothing is left in the repository.
fn installed(folder: &Path) -> Result<PathBuf> {
    let (source, site) = (folder.join("source"), folder.join("site"));
    let copied = Command::new("cp").arg("-r").arg(package()).arg(&source).status().context("cannot copy")?;
    ensure!(copied.success(), "cannot copy the package");
    let mut install = Command::new(python());
    install.args(["-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--no-build-isolation"]);
    install.args(["--disable-pip-version-check", "--target"]).arg(&site).arg(&source);
    Ran::to_end(&mut install)?.success()?;
    ensure!(site.join("holdpoint/py.typed").exists(), "the types are not in the package");
    Ok(site)
}

fn passes(module: &str) -> Result<()> {
    let (office, key) = Office::open_to_callers()?;
    let (_server, bridge) = office.bridge()?;
    let site = installed(office.house().path())?;
    let mut tests = Command::new(python());
    tests.args(["-B", "-m", "unittest", module]).current_dir(package().join("tests"));
    tests.env_clear().envs(office.house().environment()).env("PYTHONPATH", site);
    tests.env("HOLDPOINT_TEST_BINARY", holdpoint()).env("HOLDPOINT_BRIDGE_URL", bridge.url());
    tests.env("HOLDPOINT_BRIDGE_KEY", key);
    // Nothing leaves this machine.
    tests.env("OPENAI_AGENTS_DISABLE_TRACING", "1").env("LANGSMITH_TRACING", "false");
    let ran = Ran::to_end(&mut tests)?;
    ensure!(ran.code == Some(0), "{module} fails:\n{}", ran.stderr);
    let count =
        ran.stderr.split_once("Ran ").and_then(|(_, rest)| rest.split(' ').next()?.parse::<u32>().ok());
    ensure!(count.is_some_and(|count| count > 3), "too few tests ran:\n{}", ran.stderr);
    ensure!(!ran.stderr.contains("skipped"), "a test skipped itself:\n{}", ran.stderr);
    Ok(())
}

#[test]
fn client_and_decorator() -> Result<()> {
    passes("test_client")
}

#[test]
fn langgraph() -> Result<()> {
    passes("test_langgraph")
}

#[test]
fn openai_agents() -> Result<()> {
    passes("test_openai_agents")
}

/// The README's own example, as it stands there.
#[test]
fn the_example_of_the_readme() -> Result<()> {
    let office = Office::open()?;
    let (_server, bridge) = office.bridge()?;
    let site = installed(office.house().path())?;
    let readme = std::fs::read_to_string(package().join("README.md")).context("no README")?;
    let (_, rest) = readme.split_once("```python\n").context("no example")?;
    let (example, _) = rest.split_once("```").context("no end of the example")?;
    let mut command = Command::new(python());
    command.args(["-B", "-c", example]).env_clear().envs(office.house().environment());
    command.env("PYTHONPATH", site).env("HOLDPOINT_BRIDGE_URL", bridge.url());
    let ran = std::thread::scope(|scope| -> Result<Ran> {
        let running = scope.spawn(|| Ran::to_end(&mut command));
        let thread = office.house().inbox_of(1)?;
        ensure!(thread[0]["subject"] == "Refund 12.5 to C-7", "{thread:?}");
        office.house().approve(thread[0]["thread_id"].as_str().context("no thread")?, "fine")?;
        running.join().map_err(|_panic| anyhow::anyhow!("it panicked"))?
    })?;
    ensure!(ran.code == Some(0) && ran.stdout == "refunded 12.5 to C-7\n", "{ran:?}");
    Ok(())
}
