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
    let mut findings = Findings::default();
    for top in ["bench", "crates", "examples", "tests", "xtask"] {
        if scope == Scope::Quick && top == "tests" {
            continue;
        }
        visit(&root().join(top), &mut |file| findings.look_at(file, &compared))?;
    }
    match findings.complaint() {
        None => Ok(()),
        Some(complaint) => bail!(complaint),
    }
}

#[derive(Debug, Default)]
struct Findings {
    pending: Vec<PathBuf>,
    unreferenced: Vec<PathBuf>,
}

impl Findings {
    fn look_at(&mut self, file: &Path, compared: &BTreeSet<PathBuf>) {
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        if name.ends_with(".snap.new") || name.ends_with(".pending-snap") {
            self.pending.push(file.to_path_buf());
        } else if name.ends_with(".snap") && !compared.contains(file) {
            self.unreferenced.push(file.to_path_buf());
        }
    }

    fn complaint(&self) -> Option<String> {
        let complaint = [
            list("snapshots that nobody accepted yet", &self.pending),
            list("snapshots that no test compares", &self.unreferenced),
        ]
        .concat();
        (!complaint.is_empty()).then_some(complaint)
    }
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
    Ok(text.lines().filter_map(|line| root().join(line).canonicalize().ok()).collect())
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

#[test]
fn a_snapshot_that_is_compared_is_fine() {
    let file = PathBuf::from("/x/snapshots/it__help.snap");
    let mut findings = Findings::default();
    findings.look_at(&file, &BTreeSet::from([file.clone()]));
    findings.look_at(Path::new("/x/src/lib.rs"), &BTreeSet::new());
    assert_eq!(findings.complaint(), None);
}

#[test]
fn a_snapshot_that_is_stale_or_waits_is_named() {
    let mut findings = Findings::default();
    findings.look_at(Path::new("/x/old.snap"), &BTreeSet::new());
    findings.look_at(Path::new("/x/it.snap.new"), &BTreeSet::new());
    let complaint = findings.complaint().unwrap();
    assert!(complaint.contains("nobody accepted yet:\n  /x/it.snap.new"), "{complaint}");
    assert!(complaint.contains("no test compares:\n  /x/old.snap"), "{complaint}");
}
