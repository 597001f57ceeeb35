//! What a run leaves behind: every sample as a line of JSON, and the report as Markdown.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde_json::json;

use super::measured::Route;
use crate::load::{Sample, Shape};

/// The two files of a run.
pub(crate) struct Log {
    samples: File,
    report: File,
    folder: PathBuf,
}

impl Log {
    /// `samples.jsonl` and `report.md`, of this run only.
    pub(crate) fn create(folder: &Path) -> Result<Self> {
        std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let file = |name: &str| {
            let path = folder.join(name);
            File::create(&path).with_context(|| format!("cannot write {}", path.display()))
        };
        Ok(Self { samples: file("samples.jsonl")?, report: file("report.md")?, folder: folder.to_path_buf() })
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(crate) fn sample(
        &mut self,
        route: Route,
        path: &str,
        round: u64,
        shape: Shape,
        sample: &Sample,
    ) -> Result<()> {
        self.line(&json!({ "route": route, "path": path, "round": round, "shape": shape, "sample": sample }))
    }

    pub(crate) fn failure(
        &mut self,
        route: Route,
        path: &str,
        round: u64,
        shape: Shape,
        error: &anyhow::Error,
    ) -> Result<()> {
        let failure = format!("{error:#}");
        self.line(
            &json!({ "route": route, "path": path, "round": round, "shape": shape, "failure": failure }),
        )
    }

    fn line(&mut self, line: &serde_json::Value) -> Result<()> {
        writeln!(self.samples, "{line}").context("cannot write a sample")
    }

    /// A part of the report, on the screen as well.
    pub(crate) fn say(&mut self, text: &str) -> Result<()> {
        println!("{text}");
        writeln!(self.report, "{text}").context("cannot write the report")
    }
}
