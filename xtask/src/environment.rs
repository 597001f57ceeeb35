//! Installs what the tests need and the machine lacks, from the public registries only.
//!
//! Nothing is skipped: what cannot be installed ends the run.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::command::{cargo, output, probe, program, root, run, target};

const NEXTEST: &str = "0.9.143";
const DENY: &str = "0.20.2";
const MUTANTS: &str = "27.1.0";
const FUZZ: &str = "0.13.1";

/// How much of the environment a run uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    /// The test runner, and the database of the other back end.
    Runner,
    /// Also tool servers, clients, a browser and the licence check.
    EndToEnd,
}

/// Makes sure that everything is there; does nothing on a machine that has it all.
pub(crate) fn install(need: Need) -> Result<()> {
    cargo_tool("nextest", NEXTEST)?;
    match need {
        Need::Runner => debian_packages(&[POSTGRES]),
        Need::EndToEnd => {
            cargo_tool("deny", DENY)?;
            debian_packages(&[POSTGRES, CHROMIUM, NODE, PYTHON, CURL, JQ])?;
            node_packages()?;
            python_packages()?;
            dify_engine().map(drop)
        }
    }
}

/// What breaking the kernel on purpose needs.
pub(crate) fn install_mutants() -> Result<()> {
    cargo_tool("nextest", NEXTEST)?;
    cargo_tool("mutants", MUTANTS)
}

/// What fuzzing needs.
pub(crate) fn install_fuzzer() -> Result<()> {
    cargo_tool("fuzz", FUZZ)
}

/// Any release of the same minor line will do; else the pinned one is built into the target folder.
fn cargo_tool(name: &str, version: &str) -> Result<()> {
    let line = version.rsplit_once('.').map_or(version, |(line, _)| line);
    let found = probe(cargo().args([name, "--version"])).unwrap_or_default();
    let found = found.split_whitespace().nth(1).unwrap_or_default();
    if found.starts_with(line) {
        return Ok(());
    }
    run(cargo()
        .args(["install", "--locked", "--root"])
        .arg(target().join("tools"))
        .arg(format!("cargo-{name}@{version}")))
}

/// A program and the Debian packages that bring it.
struct Program {
    present: fn() -> bool,
    packages: &'static [&'static str],
}

const POSTGRES: Program = Program { present: has_postgres, packages: &["postgresql"] };

const CHROMIUM: Program = Program {
    present: || Path::new("/usr/bin/chromium").exists(),
    packages: &["chromium", "fonts-dejavu-core"],
};

const NODE: Program = Program {
    present: || runs("node", "--version") && runs("npm", "--version"),
    packages: &["nodejs", "npm"],
};

const PYTHON: Program = Program {
    present: || probe(python().args(["-c", "import venv, ensurepip"])).is_some(),
    packages: &["python3", "python3-venv"],
};

/// For the example of a client in a shell.
const CURL: Program = Program { present: || runs("curl", "--version"), packages: &["curl"] };
const JQ: Program = Program { present: || runs("jq", "--version"), packages: &["jq"] };

/// Debian keeps the server's programs out of the way.
fn has_postgres() -> bool {
    let mut folders = vec![PathBuf::from("/usr/local/bin")];
    if let Ok(versions) = std::fs::read_dir("/usr/lib/postgresql") {
        folders.extend(versions.flatten().map(|version| version.path().join("bin")));
    }
    folders.iter().any(|folder| folder.join("initdb").exists() && folder.join("postgres").exists())
}

fn debian_packages(programs: &[Program]) -> Result<()> {
    let missing: Vec<&str> = programs
        .iter()
        .filter(|program| !(program.present)())
        .flat_map(|program| program.packages.iter().copied())
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    if !runs("apt-get", "--version") {
        bail!(
            "the tests need {}\n\
             hint: install them with the package manager of this machine; \
             `cargo xtask test --quick` needs only `postgresql`",
            missing.join(", ")
        );
    }
    run(as_root("apt-get")?.args(["update", "-q"]))?;
    run(as_root("apt-get")?
        .env("DEBIAN_FRONTEND", "noninteractive")
        .args(["install", "-q", "-y", "--no-install-recommends"])
        .args(missing))
}

/// Tool servers, SDK clients, the browser driver and the Node.js that runs them, as the lock file says.
fn node_packages() -> Result<()> {
    let folder = root().join("tests/node");
    refuse_download_addresses(&folder.join("package-lock.json"))?;
    let marker = target().join("tools/node-packages.json");
    let wanted = read(&folder.join("package-lock.json"))?;
    let installed = std::fs::read_to_string(&marker).unwrap_or_default();
    // Not through `.bin`: npm 9 makes no link to an optional package.
    let machine = if cfg!(target_arch = "aarch64") { "arm64" } else { "x64" };
    let node = folder.join(format!("node_modules/node-linux-{machine}/bin/node"));
    if wanted == installed && node.exists() {
        return Ok(());
    }
    run(program("npm").current_dir(&folder).args(["ci", "--no-audit", "--no-fund"]))?;
    if !node.exists() {
        bail!(
            "the npm registry has no Node.js for this machine: tests/node/package.json knows x64 and arm64 Linux"
        );
    }
    write(&marker, &wanted)
}

/// A lock file written behind a mirror names the mirror, and fails everywhere else.
pub(crate) fn refuse_download_addresses(lock: &Path) -> Result<()> {
    if read(lock)?.contains("\"resolved\"") {
        bail!(
            "{} names download addresses\n\
             hint: run `npm install` in its folder; the .npmrc there leaves them out",
            lock.display()
        );
    }
    Ok(())
}

/// See [`dify_engine`].
const DIFY: &str = "dify";

/// What the tests run in: `requirements.txt` in `tools/python`, and each `requirements-NAME.txt` in `tools/python-NAME`.
fn python_packages() -> Result<()> {
    let folder = root().join("tests/python");
    venv(&mut python(), &folder.join("requirements.txt"), &target().join("tools/python"))?;
    let listed = std::fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))?;
    for file in listed {
        let file = file.with_context(|| format!("cannot read {}", folder.display()))?.file_name();
        let name = file.to_str().and_then(|file| file.strip_prefix("requirements-")?.strip_suffix(".txt"));
        // Dify's engine needs a Python of its own.
        if let Some(name) = name.filter(|name| *name != DIFY) {
            venv(&mut python(), &folder.join(&file), &target().join(format!("tools/python-{name}")))?;
        }
    }
    Ok(())
}

/// The engine that Dify runs workflows on, where this machine has a Python for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DifyEngine {
    Here,
    /// It is made for Python 3.12 and 3.13, and there is neither.
    NoPython,
}

/// Installs it, if it can be.
pub(crate) fn dify_engine() -> Result<DifyEngine> {
    let Some(interpreter) = python_for_dify() else {
        return Ok(DifyEngine::NoPython);
    };
    let requirements = root().join("tests/python/requirements-dify.txt");
    venv(&mut program(interpreter), &requirements, &target().join("tools/python-dify"))?;
    Ok(DifyEngine::Here)
}

/// On the path, or where pyenv puts it.
fn python_for_dify() -> Option<PathBuf> {
    let mut candidates: Vec<PathBuf> = ["python3", "python3.13", "python3.12"].map(PathBuf::from).to_vec();
    if let Some(home) = std::env::var_os("HOME") {
        let versions = std::fs::read_dir(Path::new(&home).join(".pyenv/versions"));
        candidates.extend(
            versions.into_iter().flatten().flatten().map(|version| version.path().join("bin/python")),
        );
    }
    let does = "import sys, venv, ensurepip; sys.exit(not (3, 12) <= sys.version_info[:2] <= (3, 13))";
    candidates.into_iter().find(|candidate| probe(program(candidate).args(["-c", does])).is_some())
}

/// A virtual environment of `python` with exactly what a file names.
pub(crate) fn venv(python: &mut Command, requirements: &Path, folder: &Path) -> Result<()> {
    let marker = folder.join("requirements.txt");
    let wanted = read(requirements)?;
    if std::fs::read_to_string(&marker).unwrap_or_default() == wanted {
        return Ok(());
    }
    run(python.args(["-m", "venv", "--clear"]).arg(folder))?;
    run(program(folder.join("bin/python"))
        .args(["-m", "pip", "install", "--quiet", "--no-deps", "--disable-pip-version-check", "-r"])
        .arg(requirements))?;
    write(&marker, &wanted)
}

pub(crate) fn python() -> Command {
    program("python3")
}

fn runs(name: &str, argument: &str) -> bool {
    probe(program(name).arg(argument)).is_some()
}

fn as_root(name: &str) -> Result<Command> {
    if output(program("id").arg("-u"))?.trim() == "0" {
        return Ok(program(name));
    }
    let mut sudo = program("sudo");
    sudo.args(["--non-interactive", "--preserve-env=DEBIAN_FRONTEND"]).arg(name);
    Ok(sudo)
}

pub(crate) fn read(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

pub(crate) fn write(path: &Path, text: &str) -> Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    }
    std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}
