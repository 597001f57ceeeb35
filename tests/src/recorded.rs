//! The reference tool servers, with every tool call that reaches them written down.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context as _, Result};
use serde_json::Value;
use tempfile::TempDir;

use crate::lines::{Lines, PATIENCE};
use crate::{ToolServer, here, jsonl};

/// The record of one server. It is written before the server sees a call, so an empty one proves that nothing ran.
#[derive(Debug)]
pub struct Recorded {
    folder: TempDir,
}

impl Recorded {
    /// An empty one.
    pub fn new() -> Result<Self> {
        Ok(Self { folder: tempfile::tempdir().context("cannot make a folder")? })
    }

    /// The server over stdio, as a command line.
    #[must_use]
    pub fn command(&self, server: ToolServer<'_>) -> Vec<String> {
        self.preloaded(server.command(), "")
    }

    /// `server-everything` over HTTP, on a free port; it ends when dropped.
    pub fn serve_everything(&self) -> Result<RecordedServer> {
        let command = self.preloaded(ToolServer::Everything.command(), "&listen=1");
        let (program, arguments) = command.split_first().context("an empty command")?;
        let mut arguments = arguments.to_vec();
        arguments.pop();
        arguments.push("streamableHttp".to_owned());
        let mut lines = Lines::start(Command::new(program).args(arguments))?;
        let ready = lines.next(Instant::now() + PATIENCE)?;
        let url = ready["url"].as_str().context("a ready line without `url`")?.to_owned();
        Ok(RecordedServer { _lines: lines, url })
    }

    fn preloaded(&self, mut command: Vec<String>, options: &str) -> Vec<String> {
        let (script, log) = (here().join("node/record.mjs"), self.log());
        let module = format!("file://{}?log={}{options}", script.display(), log.display());
        command.splice(1..1, ["--import".to_owned(), module]);
        command
    }

    /// Every call that reached the server: `{"tool": …, "arguments": …}`.
    pub fn runs(&self) -> Result<Vec<Value>> {
        jsonl(&self.log())
    }

    /// A folder that is the test's to use.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    fn log(&self) -> PathBuf {
        self.folder.path().join(".runs.jsonl")
    }
}

/// A recorded server over HTTP.
#[derive(Debug)]
pub struct RecordedServer {
    _lines: Lines,
    url: String,
}

impl RecordedServer {
    /// Its MCP endpoint.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }
}
