//! Runs the suite, and reads what it found.

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context as _, Result, ensure};
use holdpoint_e2e::{Ran, here, node};
use serde_json::Value;

use super::text;

/// How long one scenario may take: with every call held some take twenty seconds.
const SCENARIO_MS: &str = "90000";

/// What a revision requires, frozen at its release.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Requirements {
    /// 2025-11-25.
    Handshake,
    /// 2026-07-28.
    Stateless,
}

impl Requirements {
    const fn revision(self) -> &'static str {
        match self {
            Self::Handshake => "2025-11-25",
            Self::Stateless => "2026-07-28",
        }
    }
}

/// What came of each check, by scenario and check; a check may be made several times.
#[derive(Debug, Default)]
pub(super) struct Checks(BTreeMap<(String, String), Vec<String>>);

/// A check that cannot come out alike.
pub(super) struct Difference {
    pub(super) scenario: &'static str,
    pub(super) check: &'static str,
    /// Of a check that succeeds without us; nothing: it has nothing to say, which counts neither for nor against.
    pub(super) instead: &'static [&'static str],
}

impl Difference {
    pub(super) fn as_found(&self) -> ((String, String), (Vec<String>, Vec<String>)) {
        let key = (self.scenario.to_owned(), self.check.to_owned());
        let instead = self.instead.iter().map(|&status| status.to_owned());
        (key, (vec!["SUCCESS".to_owned()], instead.collect()))
    }
}

/// What one side found of a check, and the other side.
pub(super) type Found = BTreeMap<(String, String), (Vec<String>, Vec<String>)>;

impl Checks {
    /// How many passed and failed.
    pub(super) fn score(&self) -> (usize, usize) {
        let count = |status: &str| self.0.values().flatten().filter(|found| *found == status).count();
        (count("SUCCESS"), count("FAILURE"))
    }

    /// The checks that did not pass, each with what came of it.
    pub(super) fn others(&self) -> Vec<(&(String, String), &Vec<String>)> {
        self.0.iter().filter(|(_, found)| found.iter().any(|found| found != "SUCCESS")).collect()
    }

    /// The checks that came out otherwise on the other side.
    pub(super) fn differences(&self, other: &Self) -> Found {
        let none = Vec::new();
        let keys = self.0.keys().chain(other.0.keys());
        let both = keys.map(|key| (key, self.0.get(key).unwrap_or(&none), other.0.get(key).unwrap_or(&none)));
        both.filter(|(_, ours, theirs)| ours != theirs)
            .map(|(key, ours, theirs)| (key.clone(), (ours.clone(), theirs.clone())))
            .collect()
    }

    /// Reads the results of every scenario in `folder`.
    fn read(folder: &Path) -> Result<Self> {
        let mut checks = Self::default();
        for scenario in std::fs::read_dir(folder).context("the suite left no results")? {
            let path = scenario?.path();
            let name = path.file_name().and_then(|name| name.to_str()).context("no name")?;
            // `server-NAME-2026-11-23T03-22-03-050Z`
            let name = name.strip_prefix("server-").and_then(|name| name.get(..name.len().checked_sub(25)?));
            let name = name.context("not a scenario")?.to_owned();
            let found: Vec<Value> =
                serde_json::from_str(&std::fs::read_to_string(path.join("checks.json"))?)?;
            for check in found.iter().filter(|check| check["status"] != "INFO") {
                let key = (name.clone(), format!("{} {}", text(check, "id"), text(check, "name")));
                checks.0.entry(key).or_default().push(text(check, "status"));
            }
        }
        Ok(checks)
    }
}

/// The whole set, one scenario after another.
pub(super) fn in_one_go(set: Requirements, url: &str) -> Result<Checks> {
    let folder = tempfile::tempdir()?;
    run(folder.path(), &["--url", url, "--requirements", set.revision()])?;
    Checks::read(folder.path())
}

/// The same scenarios, each by itself, several at once.
pub(super) fn each_apart(set: Requirements, urls: &[&str]) -> Result<Checks> {
    let folder = tempfile::tempdir()?;
    let left = Mutex::new(scenarios(set)?);
    let next = || left.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
    let work = |url: &str| -> Result<()> {
        while let Some(scenario) = next() {
            let which = ["--scenario", &scenario, "--spec-version", set.revision(), "--force"];
            run(folder.path(), &[&["--url", url][..], &which].concat())?;
        }
        Ok(())
    };
    std::thread::scope(|scope| -> Result<()> {
        let workers: Vec<_> = urls.iter().map(|url| scope.spawn(|| work(url))).collect();
        workers.into_iter().try_for_each(|worker| {
            worker.join().unwrap_or_else(|_| Err(anyhow::anyhow!("a worker panicked")))
        })
    })?;
    Checks::read(folder.path())
}

/// The scenarios that a set is made of, scored or not; the longest first.
fn scenarios(set: Requirements) -> Result<VecDeque<String>> {
    let listed = suite(&["list", "--server", "--requirements", set.revision()])?.success()?;
    let mut scenarios = Vec::new();
    let mut scored = false;
    for line in listed.lines() {
        scored = match line.split_once(" scenarios (") {
            Some((side, _)) => side == "Server",
            None => scored && !line.starts_with("Run and reported"),
        };
        let Some(name) = line.trim_start().strip_prefix("- ") else {
            continue;
        };
        match name.strip_suffix(" [server]") {
            Some(name) => scenarios.push(name.to_owned()),
            None if scored => scenarios.push(name.to_owned()),
            None => {}
        }
    }
    ensure!(scenarios.len() > 30, "the suite lists {} scenarios", scenarios.len());
    scenarios.sort_by_key(|name| !(name.starts_with("tasks-") || name.starts_with("server-stateless")));
    Ok(scenarios.into())
}

/// The suite ends with 1 where a check failed: what it found is in its results.
fn run(folder: &Path, arguments: &[&str]) -> Result<()> {
    let folder = folder.display().to_string();
    let ran = suite(&[&["server", "-o", &folder, "--timeout", SCENARIO_MS][..], arguments].concat())?;
    ensure!(matches!(ran.code, Some(0 | 1)), "the suite ended with {:?}: {}", ran.code, ran.stderr);
    Ok(())
}

fn suite(arguments: &[&str]) -> Result<Ran> {
    let script = here().join("node/node_modules/@modelcontextprotocol/conformance/dist/index.js");
    let mut command = Command::new(node());
    command.arg(script).args(arguments).stderr(Stdio::piped());
    Ran::to_end(&mut command)
}
