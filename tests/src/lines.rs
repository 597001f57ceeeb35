//! A child that prints JSON lines.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Instant;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

/// More lines than any test makes a child print before it reads them.
const UNREAD_MAX: usize = 10_000;

/// Killed when dropped.
#[derive(Debug)]
pub(crate) struct Lines {
    child: Child,
    stdin: Option<ChildStdin>,
    received: Receiver<String>,
}

impl Lines {
    pub(crate) fn start(command: &mut Command) -> Result<Self> {
        let program = command.get_program().to_string_lossy().into_owned();
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start `{program}`; `cargo xtask install` brings it"))?;
        let stdin = child.stdin.take();
        let stdout = child.stdout.take().context("a child without standard output")?;
        let (sender, received) = sync_channel(UNREAD_MAX);
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Ok(Self { child, stdin, received })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn send(&mut self, line: &Value) -> Result<()> {
        let stdin = self.stdin.as_mut().context("standard input is closed")?;
        writeln!(stdin, "{line}").context("the child reads no more")
    }

    pub(crate) fn close_input(&mut self) {
        self.stdin = None;
    }

    /// The next line, or an error once `deadline` has passed or the child has closed its output.
    pub(crate) fn next(&mut self, deadline: Instant) -> Result<Value> {
        let left = deadline.saturating_duration_since(Instant::now());
        let Ok(line) = self.received.recv_timeout(left) else {
            bail!("the child printed nothing more (it {})", self.state());
        };
        serde_json::from_str(&line).with_context(|| format!("not JSON: {line}"))
    }

    fn state(&mut self) -> String {
        match self.child.try_wait() {
            Ok(Some(status)) => format!("ended: {status}"),
            Ok(None) => "still runs".to_owned(),
            Err(error) => format!("is gone: {error}"),
        }
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        // Already gone is as good as killed.
        let _killed = self.child.kill();
        let _reaped = self.child.wait();
    }
}
