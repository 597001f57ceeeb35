//! Everything that can be told about a configuration before it is used.

use crate::{
    cases::{self, Ran},
    env::Env,
    mistake::{Mistake, Note},
    policy::PolicySet,
    read::{Read, Reader, is_cases},
    secret::FingerprintKey,
    written::CasesFile,
};
use std::{
    fmt,
    path::{Path, PathBuf},
};

/// What a check found.
#[derive(Debug, Default)]
pub struct Report {
    /// What is wrong with the files.
    pub mistakes: Vec<Mistake>,
    /// What may not be meant.
    pub notes: Vec<Note>,
    /// The cases that were run: none if the files have mistakes.
    pub cases: Vec<CaseResult>,
    /// The files that were read.
    pub files: Vec<PathBuf>,
}

/// A case and what came of it.
#[derive(Debug)]
pub struct CaseResult {
    /// Its name.
    pub name: String,
    /// The file it is in.
    pub path: PathBuf,
    /// Where in it, from 1.
    pub line: usize,
    /// What was not as expected; empty if the case holds.
    pub failures: Vec<Mistake>,
}

/// Reads the configuration at `path` and runs its cases. `path` may be a `holdpoint.yaml`, a folder with one, or a
/// single tools file, whose cases are beside it.
#[must_use]
pub fn check(path: &Path, env: &dyn Env) -> Report {
    let mut reader = Reader::new(env);
    let path = of_cases(path);
    let stem = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    if stem == "gate" && path.is_file() {
        reader.gate_alone(&path);
        return report(reader, None, &[]);
    }
    let is_main = path.is_dir() || stem == "holdpoint" || !Reader::is_tools_file(&path);
    let read = if is_main { reader.config(&path) } else { Some(reader.tools_alone(&path)) };
    let Some(Read { config, tools, servers }) = read else { return report(reader, None, &[]) };
    let servers: Option<Vec<&str>> =
        servers.as_ref().map(|servers| servers.iter().map(String::as_str).collect());
    let mut files = Vec::new();
    for file in tools.map(|tools| reader.list(&tools)).unwrap_or_default() {
        if is_cases(&file) && (is_main || belongs(&file, &stem)) {
            files.extend(cases::read(&mut reader, &file, servers.as_deref()));
        }
    }
    let policy = config.policy(FingerprintKey::for_checks());
    report(reader, Some(&policy), &files)
}

fn report(reader: Reader<'_>, policy: Option<&PolicySet>, files: &[CasesFile]) -> Report {
    let Reader { sources, findings, notes, .. } = reader;
    let mistakes = findings.into_mistakes(&sources);
    let notes = notes.into_mistakes(&sources).into_iter().map(Note).collect();
    let mut report = Report { mistakes, notes, cases: Vec::new(), files: sources.paths() };
    let Some(policy) = policy.filter(|_| report.mistakes.is_empty()) else { return report };
    for Ran { name, span, failures } in files.iter().flat_map(|file| cases::run(file, policy)) {
        report.cases.push(CaseResult {
            name,
            path: sources.path(span.file).to_owned(),
            line: sources.line(span),
            failures: failures.into_iter().map(|failure| failure.settle(&sources)).collect(),
        });
    }
    report
}

/// The tools file that a cases file belongs to; any other path as it is.
fn of_cases(path: &Path) -> PathBuf {
    if !is_cases(path) {
        return path.to_owned();
    }
    let stem = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    let stem = stem.strip_suffix(".cases").unwrap_or(&stem);
    path.with_file_name(stem).with_extension(path.extension().unwrap_or_default())
}

fn belongs(cases: &Path, stem: &str) -> bool {
    cases.file_stem().is_some_and(|name| name.to_string_lossy() == format!("{stem}.cases"))
}

impl Report {
    /// Whether the configuration may be used.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.mistakes.is_empty() && self.cases.iter().all(|case| case.failures.is_empty())
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for mistake in &self.mistakes {
            writeln!(f, "{mistake}\n")?;
        }
        for note in &self.notes {
            writeln!(f, "{note}\n")?;
        }
        let failed = self.cases.iter().filter(|case| !case.failures.is_empty());
        for case in failed.clone() {
            writeln!(f, "case failed: {} ({}:{})", case.name, case.path.display(), case.line)?;
            for failure in &case.failures {
                writeln!(f, "{failure}\n")?;
            }
        }
        let plural =
            |count: usize, word: &str| format!("{count} {word}{}", if count == 1 { "" } else { "s" });
        let (mistakes, cases, failed) = (self.mistakes.len(), self.cases.len(), failed.count());
        write!(f, "{}: {}", plural(self.files.len(), "file"), plural(mistakes, "mistake"))?;
        match (mistakes, cases) {
            (0, 0) => write!(f, ", no cases"),
            (0, _) => write!(f, ", {}, {failed} failed", plural(cases, "case")),
            (_, _) => write!(f, "; cases were not run"),
        }
    }
}
