//! Snapshot files must be in use: a stale one looks like a test and is none.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use crate::command::{root, target};
use crate::test::Scope;

/// The file in which insta notes every snapshot that a test compared, emptied.
pub(crate) fn start() -> Result<PathBuf> {
    let file = references();
    std::fs::create_dir_all(target()).context("cannot create the target folder")?;
    std::fs::write(&file, "").with_context(|| format!("cannot write {}", file.display()))?;
    Ok(file)
}

/// Fails on snapshots that wait for review and on those no test compared.
pub(crate) fn check(scope: Scope) -> Result<()> {
    let compared = read_references()?;
    let mut pending = Vec::new();
    let mut unreferenced = Vec::new();
    for top in ["crates", "examples", "tests", "xtask"] {
        if scope == Scope::Quick && top == "tests" {
            continue;
        }
        visit(&root().join(top), &mut |file| {
            let name = file.file_name().unwrap_or_default().to_string_lossy();
            if name.ends_with(".snap.new") || name.ends_with(".pending-snap") {
                pending.push(file.to_path_buf());
            } else if name.ends_with(".snap") && !compared.contains(file) {
                unreferenced.push(file.to_path_buf());
            }
        })?;
    }
    if pending.is_empty() && unreferenced.is_empty() {
        return Ok(());
    }
    bail!(
        "{}{}",
        list("snapshots that nobody accepted yet", &pending),
        list("snapshots that no test compares", &unreferenced)
    )
}

fn list(title: &str, files: &[PathBuf]) -> String {
    if files.is_empty() {
        return String::new();
    }
    let files: Vec<String> = files.iter().map(|file| format!("\n  {}", file.display())).collect();
    format!("{title}:{}\n", files.concat())
}

fn references() -> PathBuf {
    target().join("snapshot-references.txt")
}

fn read_references() -> Result<BTreeSet<PathBuf>> {
    let file = references();
    let text = std::fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
    Ok(text.lines().filter_map(|line| Path::new(line).canonicalize().ok()).collect())
}

fn visit(folder: &Path, seen: &mut impl FnMut(&Path)) -> Result<()> {
    let Ok(folder) = folder.canonicalize() else {
        return Ok(());
    };
    let entries = std::fs::read_dir(&folder).with_context(|| format!("cannot list {}", folder.display()))?;
    for entry in entries {
        let entry = entry.with_context(|| format!("cannot list {}", folder.display()))?;
        let kind = entry.file_type().with_context(|| format!("cannot list {}", folder.display()))?;
        if kind.is_file() {
            seen(&entry.path());
        } else if kind.is_dir() && entry.file_name() != "node_modules" {
            visit(&entry.path(), seen)?;
        }
    }
    Ok(())
}
