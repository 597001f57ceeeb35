//! The outputs of a step of GitHub Actions.

use anyhow::{Context as _, Result};
use serde_json::{Map, Value};
use std::{io::Write as _, path::PathBuf};

/// The members of the answer, and what the outputs are called.
const NAMES: [(&str, &str); 3] = [("decision", "decision"), ("status", "status"), ("thread_id", "thread-id")];

/// The file that takes them.
pub(super) struct Outputs(PathBuf);

impl Outputs {
    /// Looked for before anything is asked: an approval is not to be lost to a variable that is not set.
    pub(super) fn find() -> Result<Self> {
        let path = std::env::var_os("GITHUB_OUTPUT").filter(|path| !path.is_empty());
        let path =
            path.context("GITHUB_OUTPUT is not set\n  hint: --github-output is for steps of GitHub Actions")?;
        Ok(Self(path.into()))
    }

    /// One line each. A value of more than plain words is left out: it could be read as another line.
    pub(super) fn write(&self, members: &Map<String, Value>) -> Result<()> {
        let Self(path) = self;
        let mut lines = String::new();
        for (member, output) in NAMES {
            let value = members.get(member).and_then(Value::as_str).unwrap_or_default();
            let is_plain = |char: char| char.is_ascii_alphanumeric() || matches!(char, '-' | '_');
            if value.chars().all(is_plain) {
                lines.extend([output, "=", value, "\n"]);
            }
        }
        let file = std::fs::OpenOptions::new().append(true).create(true).open(path);
        let written = file.and_then(|mut file| file.write_all(lines.as_bytes()));
        written.with_context(|| format!("cannot write {}", path.display()))
    }
}
