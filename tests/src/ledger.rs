//! A tool server that writes down every run, so that a test can say *once* and *not at all*.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context as _, Result};
use serde_json::Value;
use tempfile::TempDir;

use crate::lines::{Lines, PATIENCE};
use crate::{here, jsonl, python};

/// The record of a server with the tools `append`, `refund`, `fail` and `slow`. It speaks both eras.
#[derive(Debug)]
pub struct Ledger {
    folder: TempDir,
}

impl Ledger {
    /// An empty one.
    pub fn new() -> Result<Self> {
        Ok(Self { folder: tempfile::tempdir().context("cannot make a folder")? })
    }

    /// The server over stdio, as a command line.
    #[must_use]
    pub fn command(&self) -> Vec<String> {
        let script = here().join("python/ledger.py");
        [python().as_path(), &script, &self.path(), Path::new("stdio")]
            .map(|part| part.display().to_string())
            .into()
    }

    /// The server over HTTP, on a free port; it ends when dropped.
    pub fn serve(&self) -> Result<LedgerServer> {
        let mut command = Command::new(python());
        command.arg(here().join("python/ledger.py")).arg(self.path()).arg("http");
        let mut lines = Lines::start(&mut command)?;
        let ready = lines.next(Instant::now() + PATIENCE)?;
        let url = ready["url"].as_str().context("a ready line without `url`")?.to_owned();
        Ok(LedgerServer { _lines: lines, url })
    }

    /// Every call that reached the server: `{"tool": …, "arguments": …}`.
    pub fn runs(&self) -> Result<Vec<Value>> {
        jsonl(&self.path())
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("runs.jsonl")
    }
}

/// A ledger's server over HTTP.
#[derive(Debug)]
pub struct LedgerServer {
    _lines: Lines,
    url: String,
}

impl LedgerServer {
    /// Its MCP endpoint.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }
}
