//! A command that was run to its end.

use std::process::{Command, Stdio};

use anyhow::{Context as _, Result};
use serde_json::Value;

/// What a command said, and how it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ran {
    /// The exit code; `None`: a signal ended it.
    pub code: Option<i32>,
    /// Data.
    pub stdout: String,
    /// Talk.
    pub stderr: String,
}

impl Ran {
    /// Runs a command whose input stays open until it has ended by itself.
    pub fn to_end(command: &mut Command) -> Result<Self> {
        let program = command.get_program().to_string_lossy().into_owned();
        let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let mut child = child.with_context(|| format!("cannot start `{program}`"))?;
        let open = child.stdin.take();
        let output = child.wait_with_output().with_context(|| format!("cannot wait for `{program}`"))?;
        drop(open);
        Ok(Self {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).context("standard output is not UTF-8")?,
            stderr: String::from_utf8(output.stderr).context("standard error is not UTF-8")?,
        })
    }

    /// Standard output, of a command that went well.
    pub fn success(self) -> Result<String> {
        anyhow::ensure!(self.code == Some(0), "ended with {:?}: {}{}", self.code, self.stdout, self.stderr);
        Ok(self.stdout)
    }

    /// The same as JSON.
    pub fn json(self) -> Result<Value> {
        let text = self.success()?;
        serde_json::from_str(&text).with_context(|| format!("not JSON: {text}"))
    }
}
