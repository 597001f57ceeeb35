//! Other proxies, for `cargo xtask bench --peers`: from the public registries, pinned, below the target folder.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use crate::command::{cargo, program, root, run, target};
use crate::environment::{python, read, refuse_download_addresses, venv, write};

/// One venv each: they want different releases of the same packages.
const PYTHON: [&str; 4] = ["fastmcp", "mcp-policy-gateway", "mcp-proxy", "shugo"];
const RUST: (&str, &str) = ("mcp-proxy", "0.6.0");

/// Installs what is missing, and says where.
pub(crate) fn install() -> Result<PathBuf> {
    let source = root().join("bench/peers");
    let folder = target().join("bench/peers");
    node(&source.join("node"), &folder.join("node"))?;
    for name in PYTHON {
        venv(&mut python(), &source.join(format!("python/{name}.txt")), &folder.join("python").join(name))?;
    }
    rust(&folder.join("rust"))?;
    Ok(folder)
}

fn node(source: &Path, folder: &Path) -> Result<()> {
    let lock = source.join("package-lock.json");
    refuse_download_addresses(&lock)?;
    let marker = folder.join("installed.json");
    let wanted = read(&lock)?;
    if std::fs::read_to_string(&marker).unwrap_or_default() == wanted {
        return Ok(());
    }
    for name in ["package.json", "package-lock.json", ".npmrc"] {
        write(&folder.join(name), &read(&source.join(name))?)?;
    }
    run(program("npm").current_dir(folder).args(["ci", "--no-audit", "--no-fund"]))?;
    write(&marker, &wanted)
}

fn rust(folder: &Path) -> Result<()> {
    let (name, version) = RUST;
    // Cargo keeps count of what it installed, and does nothing a second time.
    let build = target().join("bench/build");
    run(cargo()
        .args(["install", "--locked", "--root"])
        .arg(folder)
        .arg("--target-dir")
        .arg(&build)
        .arg(format!("{name}@{version}")))?;
    if build.exists() {
        std::fs::remove_dir_all(&build).with_context(|| format!("cannot remove {}", build.display()))?;
    }
    Ok(())
}
