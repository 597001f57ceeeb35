//! `holdpoint up` or `holdpoint serve`, running.

use std::process::{Command, ExitStatus};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::lines::{Lines, PATIENCE};
use crate::signal::{Kill, kill};

/// Killed when dropped.
#[derive(Debug)]
pub struct Server {
    lines: Lines,
    /// The line that scripts wait for.
    pub ready: Value,
}

impl Server {
    /// Starts a command whose first line says that it is ready.
    pub fn start(command: &mut Command) -> Result<Self> {
        let mut lines = Lines::start(command)?;
        let ready = lines.next(Instant::now() + PATIENCE).context("no ready line")?;
        anyhow::ensure!(ready["event"] == "ready", "not a ready line: {ready}");
        Ok(Self { lines, ready })
    }

    /// Where agents find Gate.
    pub fn gate_url(&self) -> Result<&str> {
        self.text("/gate_url")
    }

    /// The link that signs the operator in, once.
    pub fn sign_in_url(&self) -> Result<&str> {
        self.text("/sign_in_url")
    }

    /// Where MCP clients find a server.
    pub fn mcp_url(&self, server: &str) -> Result<&str> {
        self.text(&format!("/servers/{server}/mcp_url"))
    }

    fn text(&self, pointer: &str) -> Result<&str> {
        let value = self.ready.pointer(pointer).and_then(Value::as_str);
        value.with_context(|| format!("no `{pointer}` in {}", self.ready))
    }

    /// The process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.lines.pid()
    }

    /// How it ended; `None`: it still runs after `patience`.
    pub fn ended_within(&mut self, patience: Duration) -> Result<Option<ExitStatus>> {
        self.lines.ended_within(patience)
    }

    /// Asks it to end, and waits until it has.
    pub fn stop(mut self) -> Result<ExitStatus> {
        kill(self.lines.pid(), Kill::Term)?;
        self.lines.wait()
    }

    /// Ends it at this very instruction.
    pub fn kill_9(mut self) -> Result<ExitStatus> {
        kill(self.lines.pid(), Kill::Nine)?;
        self.lines.wait()
    }
}
